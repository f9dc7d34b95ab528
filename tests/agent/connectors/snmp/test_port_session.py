"""Ports of the lab's switch: read by one secret, written by another one, and what a bad device or a bad moment does."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import pytest
import trio

from agent.connectors.base import (
    CannotEnforce,
    DriftedError,
    KeptAnswer,
    LostError,
    NotSentError,
    PortChange,
    PortPlan,
    PortWish,
    Reply,
    UnreadableError,
)
from agent.connectors.snmp import port_session
from agent.connectors.snmp.configuration import SnmpAccess, SnmpConfig, SnmpDevice
from agent.connectors.snmp.connector import SnmpConnector
from agent.connectors.snmp.credential import AuthProtocol, PrivProtocol, SnmpVersion
from agent.connectors.snmp.port_session import PortSession
from agent.model import ABSENT, Address, Direction, Effect, Seen, Step, Ticket, Transition
from agent.runtime.clock import Clock, SystemClock
from lab.snmp import values
from lab.snmp.answers import Asked
from lab.snmp.device import POE_ADMIN, Device
from lab.snmp.links import IF_ADMIN, IF_ALIAS
from lab.snmp.messages import Kind, Pdu, Status
from lab.snmp.server import Layout, open_snmp_lab
from lab.snmp.usm import USERS
from lab.tests.snmp.devices import IF, IFX, POE, switch
from tests.builders.expect import present
from tests.builders.web import QuickClock

DOWN, UP = PortWish(PortChange.ADMIN, "down"), PortWish(PortChange.ADMIN, "up")
WRITER = next(user for user in USERS if user.writes)
SECRETS = {
    "read": b"sw-1",
    "write": b"sw-1-write",
    "wrong": b"nobody-has-this",
    "auth": WRITER.auth_password.encode(),
    "priv": WRITER.priv_password.encode(),
    "bad-auth": b"not-the-passphrase",
}
READ = SnmpAccess("read", SnmpVersion.V2C, "read")
WRITE = SnmpAccess("write", SnmpVersion.V2C, "write")
V3 = SnmpAccess(
    "v3", SnmpVersion.V3, "", WRITER.name, AuthProtocol.SHA_256, "auth", PrivProtocol.AES_128, "priv", "sw-1"
)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SETTLE_S", "LOOKS_S", "DELIVERS_S"):
        monkeypatch.setattr(port_session, name, 0.4)
    monkeypatch.setattr(port_session, "POWER_TRIES", 2)


class Book:
    """An `AnswerBook` in memory."""

    def __init__(self) -> None:
        self.answers: dict[str, KeptAnswer] = {}

    def kept(self, of: str) -> Sequence[KeptAnswer]:
        return list(self.answers.values())

    async def keep(self, of: str, answers: Sequence[KeptAnswer]) -> None:
        await trio.lowlevel.checkpoint()
        self.answers.update({one.key: one for one in answers})


@dataclass
class Ground:
    switch: Device
    connector: SnmpConnector
    session: PortSession

    def number(self, column: str, row: int | str) -> int:
        value = present(self.switch.get(f"{column}.{row}"))
        return value.number()

    async def planned(self, port: str, wish: PortWish) -> tuple[PortPlan | CannotEnforce, Mapping[Address, Seen]]:
        seen: dict[Address, Seen] = {}
        while missing := self.connector.port_reads("snmp/sw-1", port, wish, seen):
            seen |= await self.session.read(missing)
        return self.connector.port_plan("snmp/sw-1", port, wish, seen), seen

    async def step(self, port: str, wish: PortWish) -> Step:
        found, _ = await self.planned(port, wish)
        assert isinstance(found, PortPlan), found
        (step,) = found.steps
        return step

    async def sent(self, step: Step, bound: Mapping[Address, Seen] | None = None) -> Reply:
        return await self.session.send(ticket(step, bound or {}))

    async def value(self, port: str, what: str) -> object:
        where = Address(f"snmp/sw-1/if/{port}/{what}")
        return (await self.session.read([where]))[where].value


def ticket(step: Step, bound: Mapping[Address, Seen]) -> Ticket:
    return Ticket("0" * 32, 1, 1, Direction.FORWARD, 1, step.target, step.do, bound, float("inf"))


@asynccontextmanager
async def ground(
    device: Device | None = None,
    *,
    read: SnmpAccess = READ,
    write: SnmpAccess | None = WRITE,
    book: Book | None = None,
    timeout_s: float = 2.0,
    clock: Clock | None = None,
) -> AsyncIterator[Ground]:
    made = device or switch("sw-1", clock=time.time)  # type: ignore[arg-type]  # a clock that goes
    async with open_snmp_lab([made], layout=Layout.SHARED) as lab:
        configured = SnmpDevice("sw-1", lab.address, lab.port, read, timeout_s=timeout_s, retries=5, write=write)
        accesses = tuple(filter(None, (read, write)))
        connector = SnmpConnector(
            SnmpConfig((configured,), accesses), SECRETS.__getitem__, clock or SystemClock(), answers=book or Book()
        )
        async with connector.dial(connector.targets[0]) as session:
            assert isinstance(session, PortSession)
            yield Ground(made, connector, session)


# --- plans ---


@pytest.fixture
async def net() -> AsyncIterator[Ground]:
    async with ground() as made:
        yield made


async def test_a_port_is_found_by_its_names_a_wrong_one_lists_all(net: Ground) -> None:
    for name in ("ge-2", "GE-2", "port 2"):
        step = await net.step(name, DOWN)
        assert isinstance(step.do, tuple)
        assert step.do[0].address == "snmp/sw-1/if/ge-2/admin"
    found, _ = await net.planned("ge-9", DOWN)
    assert isinstance(found, CannotEnforce)
    assert (found.reason, found.detail) == (
        "no-such-port",
        "there is no port ge-9; it has port 1, port 2, port 3, port 4",
    )


async def test_two_ports_of_one_name_are_neither_read_nor_written() -> None:
    device = switch("sw-1", clock=time.time)  # type: ignore[arg-type]  # a clock that goes
    device.put(f"{IFX}.1.3", values.string("ge-2"))
    async with ground(device) as net:
        found, _ = await net.planned("ge-2", DOWN)
        assert isinstance(found, CannotEnforce)
        assert found.reason == "ambiguous-port"
        assert await net.value("ge-2~3", "admin") is ABSENT
        by_number = Address("snmp/sw-1/if/ge-2~3/admin")
        write = Transition(by_number, Seen({"admin": "up"}, 0), {"admin": "down"})
        with pytest.raises(DriftedError):
            await net.sent(Step(1, "snmp/sw-1", (write,)))
        assert net.number(IF_ADMIN, 3) == 1


async def test_without_a_writing_credential_there_are_no_changes() -> None:
    async with ground(write=None) as net:
        found, _ = await net.planned("ge-2", DOWN)
        assert isinstance(found, CannotEnforce)
        assert found.reason == "no-write-credential"
        value = Seen({"admin": "up"}, 0)
        write = Transition(Address("snmp/sw-1/if/ge-2/admin"), value, {"admin": "down"})
        with pytest.raises(NotSentError, match="it is only read"):
            await net.sent(Step(1, "snmp/sw-1", (write,)))
    same = SnmpAccess("other", SnmpVersion.V2C, "read")
    async with ground(write=same) as net:
        found, _ = await net.planned("ge-2", DOWN)
        assert isinstance(found, CannotEnforce)
        assert found.reason == "same-secret"
    assert net.number(IF_ADMIN, 2) == 1


@pytest.mark.parametrize("text", ["x" * 65, "two\nlines", "ü" * 33])
async def test_descriptions_that_no_device_takes_are_refused(net: Ground, text: str) -> None:
    found, _ = await net.planned("ge-2", PortWish(PortChange.ALIAS, text))
    assert isinstance(found, CannotEnforce)
    assert found.reason == "unwritable"


@pytest.mark.parametrize(("wish", "why"), [("0", "1 to 60"), ("61", "1 to 60"), ("-1", "1 to 60"), ("x", "1 to 60")])
async def test_seconds_without_power_have_bounds(net: Ground, wish: str, why: str) -> None:
    found, _ = await net.planned("ge-2", PortWish(PortChange.POWER_CYCLE, wish))
    assert isinstance(found, CannotEnforce)
    assert why in found.detail


async def test_what_the_device_does_not_show_is_not_written() -> None:
    device = switch("sw-1", clock=time.time)  # type: ignore[arg-type]  # a clock that goes
    for oid in (f"{IFX}.18.2", f"{POE}.3.1.2"):
        device.drop(oid)
    async with ground(device) as net:
        for wish in (PortWish(PortChange.ALIAS, "x"), PortWish(PortChange.POWER_CYCLE, "")):
            found, _ = await net.planned("ge-2", wish)
            assert isinstance(found, CannotEnforce)
            assert found.reason == "not-shown"
        net.switch.put(f"{POE}.3.1.3", values.integer(2))
        found, _ = await net.planned("ge-3", PortWish(PortChange.POWER_CYCLE, ""))
        assert isinstance(found, CannotEnforce)
        assert found.reason == "power-off"


# --- writing ---


async def test_interfaces_numbered_anew_are_written_at_right_place(net: Ground) -> None:
    step = await net.step("ge-2", DOWN)
    cycle = await net.step("ge-3", PortWish(PortChange.POWER_CYCLE, "1"))
    net.switch.renumber(10)
    assert (await net.sent(step)).accepted
    assert {n: net.number(IF_ADMIN, n) for n in (11, 12, 13, 14)} == {11: 1, 12: 2, 13: 1, 14: 1}
    seen: list[tuple[str, int]] = []
    watch(net.switch, lambda index, value: seen.append((index, value)))
    with pytest.raises(NotSentError, match="its outlet is 1"):  # nothing tells whether it is the same outlet
        await net.sent(cycle)
    assert seen == []
    step, bound = await cycle_of(net)
    assert (await net.sent(step, bound)).accepted
    assert seen == [("1.13", 2), ("1.13", 1)]


async def test_description_that_is_no_text_is_put_back_octet_by_octet() -> None:
    latin = b"Caf\xe9 \x07"
    device = switch("sw-1", clock=time.time)  # type: ignore[arg-type]  # a clock that goes
    device.put(f"{IF_ALIAS}.2", values.string(latin))
    async with ground(device) as net:
        step = await net.step("ge-2", PortWish(PortChange.ALIAS, "Café 7"))
        assert isinstance(step.do, tuple)
        (write,) = step.do
        assert write.before.value == {"octets": latin.hex()}
        assert (await net.sent(step)).accepted
        now = (await net.session.read([write.address]))[write.address]
        assert now.value == {"alias": "Café 7"}
        back = Transition(write.address, now, write.before.value)
        assert (await net.sent(replace(step, do=(back,)))).accepted
        value = present(net.switch.get(f"{IF_ALIAS}.2"))
        assert value.content == latin


@pytest.mark.parametrize(
    ("status", "says"),
    [
        (Status.NO_ACCESS, "has no right to write it"),
        (Status.AUTHORIZATION_ERROR, "has no right to write it"),
        (Status.NOT_WRITABLE, "the device does not let it be written"),
        (Status.READ_ONLY, "may not write it"),
        (Status.WRONG_VALUE, "does not take this value now"),
        (Status.INCONSISTENT_VALUE, "does not take this value now"),
        (Status.RESOURCE_UNAVAILABLE, "ask again later"),
        (Status.COMMIT_FAILED, "ask again later"),
        (Status.TOO_BIG, "nothing was set"),
    ],
)
async def test_each_refusal_of_a_device_is_told_by_its_name(net: Ground, status: Status, says: str) -> None:
    step = await net.step("ge-2", DOWN)
    net.switch.faults.set_error = int(status)
    reply = await net.sent(step)
    assert not reply.accepted
    assert reply.reason.startswith("set-refused-")
    assert says in reply.detail
    assert net.number(IF_ADMIN, 2) == 1


async def test_version_1_and_version_3_write_too() -> None:
    v1 = SnmpAccess("write", SnmpVersion.V1, "write")
    for write in (v1, V3):
        async with ground(write=write) as net:
            assert (await net.sent(await net.step("ge-2", DOWN))).accepted
            assert net.number(IF_ADMIN, 2) == 2
    async with ground(read=SnmpAccess("read", SnmpVersion.V1, "read"), write=v1) as net:
        assert (await net.sent(await net.step("ge-2", PortWish(PortChange.ALIAS, "v1")))).accepted
        net.switch.faults.set_error = int(Status.NOT_WRITABLE)
        reply = await net.sent(await net.step("ge-2", DOWN))
        assert (reply.accepted, reply.reason) == (False, "set-refused-noSuchName")
        assert "may not write it, or the device does not let it be written" in reply.detail


async def test_a_wrong_write_secret_is_told_and_nothing_is_written() -> None:
    async with ground(write=replace(WRITE, community="wrong")) as net:
        with pytest.raises(LostError, match="its write community is wrong, or may not write") as caught:
            await net.sent(await net.step("ge-2", DOWN))
        assert b"nobody-has-this".decode() not in str(caught.value)
    async with ground(write=replace(V3, auth_secret="bad-auth")) as net:
        reply = await net.sent(await net.step("ge-2", DOWN))
        assert (reply.accepted, reply.reason) == (False, "set-refused-usmStatsWrongDigests")
    assert net.number(IF_ADMIN, 2) == 1


async def test_a_switched_off_port_that_stays_up_contradicts_itself(net: Ground) -> None:
    step = await net.step("ge-2", DOWN)
    net.switch.writable = {
        **net.switch.writable,
        IF_ADMIN: replace(
            net.switch.writable[IF_ADMIN], wrote=lambda index, value, now: net.switch.put(f"{IF}.7.{index}", value)
        ),
    }
    assert (await net.sent(step)).detail == "ifOperStatus reads up"
    assert await net.value("ge-2", "admin") == {"admin": "down", "oper": "up"}
    net.switch.drop(f"{IF}.8")
    assert await net.value("ge-2", "admin") == {"admin": "down"}


async def test_what_takes_effect_after_its_answer_is_waited_for(net: Ground) -> None:
    step = await net.step("ge-3", PortWish(PortChange.ALIAS, "Amina"))
    net.switch.faults.set_ignored = True

    async def applies() -> None:
        await trio.sleep(0.2)
        net.switch.put(f"{IF_ALIAS}.3", values.string("Amina"))

    async with trio.open_nursery() as nursery:
        assert (await net.sent(step)).accepted
        nursery.start_soon(applies)
        assert await net.value("ge-3", "alias") != {"alias": "Amina"}
        await net.session.settle()  # as before each "not applied"
        assert await net.value("ge-3", "alias") == {"alias": "Amina"}


# --- power ---


def watch(device: Device, told: Callable[[str, int], None]) -> None:
    """Call `told` with each write of a port's power."""
    column = device.writable[POE_ADMIN]

    def wrote(index: str, value: values.Value, now: float) -> None:
        column.wrote(index, value, now)
        told(index, value.number())

    device.writable = {**device.writable, POE_ADMIN: replace(column, wrote=wrote)}


async def cycle_of(net: Ground) -> tuple[Step, Mapping[Address, Seen]]:
    step = await net.step("ge-3", PortWish(PortChange.POWER_CYCLE, "1"))
    assert isinstance(step.do, Effect)
    return step, await net.session.bind(step.do)


async def test_cycle_is_proven_by_port_that_was_read_off_and_is_on() -> None:
    book = Book()
    async with ground(book=book) as net:
        step, bound = await cycle_of(net)
        (before,) = bound.values()
        assert before.value == {"last-off": "never"}
        reply = await net.sent(step, bound)
        assert (reply.accepted, reply.detail) == (True, "seen off, then on again: deliveringPower")
        after = await net.value("ge-3", "power-cycle")
        assert after != before.value
        net.switch.put(f"{POE}.3.1.3", values.integer(2))
        with pytest.raises(UnreadableError, match="without power now"):
            await net.value("ge-3", "power-cycle")
    async with ground(book=book) as net:  # it outlives a restart
        assert await net.value("ge-3", "power-cycle") == after


async def test_a_cycle_and_what_settles_last_by_the_clock_given() -> None:
    clock = QuickClock()
    given = switch("sw-1", clock=clock.wall_s)  # type: ignore[arg-type]  # a clock that goes
    async with ground(given, clock=clock) as net:
        began_s = clock.boot_s()
        await net.session.settle()
        assert clock.boot_s() - began_s == pytest.approx(port_session.SETTLE_S)
        step = await net.step("ge-3", PortWish(PortChange.POWER_CYCLE, "30"))
        assert isinstance(step.do, Effect)
        bound = await net.session.bind(step.do)
        off: list[float] = []
        watch(given, lambda _, __: off.append(clock.boot_s()))
        reply = await net.sent(step, bound)
        assert (reply.accepted, reply.detail) == (True, "seen off, then on again: deliveringPower")
        assert off[1] - off[0] >= 30
        assert 30 in clock.slept


async def test_a_device_that_answers_and_cuts_nothing_has_not_done_it(net: Ground) -> None:
    step, bound = await cycle_of(net)
    net.switch.faults.set_ignored = True
    reply = await net.sent(step, bound)
    assert (reply.accepted, reply.reason) == (False, "accepted-without-effect")
    assert await net.value("ge-3", "power-cycle") == {"last-off": "never"}


async def test_an_agent_that_errs_and_cuts_all_is_switched_on_again(net: Ground) -> None:
    step, bound = await cycle_of(net)
    net.switch.faults.set_error, net.switch.faults.set_done = int(Status.GEN_ERR), True
    assert (await net.sent(step, bound)).accepted
    assert net.number(POE_ADMIN, "1.3") == 1


async def test_a_refused_cycle_sends_nothing_more(net: Ground) -> None:
    step, bound = await cycle_of(net)
    seen: list[int] = []
    watch(net.switch, lambda _, value: seen.append(value))
    net.switch.faults.set_error = int(Status.NO_ACCESS)
    reply = await net.sent(step, bound)
    assert (reply.accepted, reply.reason, seen) == (False, "set-refused-noAccess", [])


def silent_after_off(net: Ground, seconds: float, *, answers: bool = True, forgets: bool = False) -> None:
    """Let the device be silent for a while once it was told to switch power off, and did.

    `answers`: that SET. `forgets`: it has the power on again by then, as one that restarts with what was saved.
    """
    answer, until = net.switch.answer, [0.0]

    def answered(pdu: Pdu, asked: Asked) -> bytes | None:
        if time.time() < until[0]:
            return None
        found = answer(pdu, asked)
        if pdu.kind == Kind.SET and not until[0]:
            until[0] = time.time() + seconds
            if forgets:
                net.switch.put(f"{POE}.3.1.3", values.integer(1))
            return found if answers else None
        return found

    net.switch.answer = answered  # type: ignore[method-assign]  # of this device alone


async def test_a_cut_at_a_device_that_falls_silent_is_seen_later() -> None:
    async with ground(timeout_s=0.3) as net:
        step, bound = await cycle_of(net)
        silent_after_off(net, 3.0)
        reply = await net.sent(step, bound)
        assert (reply.accepted, reply.detail) == (True, "seen off, then on again: deliveringPower")


@pytest.mark.parametrize("answers", [True, False])
async def test_a_cut_seen_only_when_it_is_ended_is_proven(monkeypatch: pytest.MonkeyPatch, answers: bool) -> None:
    """Nobody is cut a second time because the device could not be read meanwhile."""
    monkeypatch.setattr(port_session, "UNREAD_S", 0.0)
    async with ground(timeout_s=0.3) as net:
        step, bound = await cycle_of(net)
        silent_after_off(net, 3.0, answers=answers)
        reply = await net.sent(step, bound)
        assert (reply.accepted, reply.detail) == (True, "seen off, then on again: deliveringPower")
        assert await net.value("ge-3", "power-cycle") != {"last-off": "never"}
        assert net.number(POE_ADMIN, "1.3") == 1


@pytest.mark.parametrize("answers", [True, False])
async def test_of_a_cut_nobody_could_see_nothing_is_said(answers: bool) -> None:
    async with ground(timeout_s=0.1) as net:
        step, bound = await cycle_of(net)
        silent_after_off(net, 3.0, answers=answers, forgets=True)
        with pytest.raises(LostError, match="power may have been off"):
            await net.sent(step, bound)
        with trio.fail_after(30):
            await net.session.finish(ticket(step, bound))
        assert net.number(POE_ADMIN, "1.3") == 1


async def test_an_agent_that_errs_cuts_and_falls_silent_is_mended() -> None:
    async with ground(timeout_s=0.3) as net:
        step, bound = await cycle_of(net)
        net.switch.faults.set_error, net.switch.faults.set_done = int(Status.GEN_ERR), True
        silent_after_off(net, 3.0)
        assert (await net.sent(step, bound)).accepted
        assert net.number(POE_ADMIN, "1.3") == 1


@pytest.mark.parametrize("late_s", [0.5, 0.9])
async def test_a_set_that_arrives_late_leaves_the_power_on(late_s: float) -> None:
    """It switches off while that is looked for, or when it was given up already."""
    async with ground(timeout_s=0.4) as net:
        step, bound = await cycle_of(net)
        seen: list[int] = []
        off = trio.Event()

        def told(_: str, value: int) -> None:
            seen.append(value)
            off.set()
            net.switch.faults.set_late = 0.0

        watch(net.switch, told)
        net.switch.faults.set_late = late_s
        try:
            await net.sent(step, bound)
        except LostError:
            with trio.fail_after(30):
                await off.wait()
            await net.session.finish(ticket(step, bound))
        assert net.number(POE_ADMIN, "1.3") == 1
        assert seen[0] == 2


async def test_a_send_that_is_cut_short_switches_the_power_on_first(net: Ground) -> None:
    step = await net.step("ge-3", PortWish(PortChange.POWER_CYCLE, "60"))
    assert isinstance(step.do, Effect)
    bound = await net.session.bind(step.do)
    off = trio.Event()
    watch(net.switch, lambda _, value: off.set() if value == 2 else None)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(net.sent, step, bound)
        with trio.fail_after(30):
            await off.wait()
        nursery.cancel_scope.cancel()
    assert net.number(POE_ADMIN, "1.3") == 1


async def test_finish_switches_on_what_was_left_off_only(net: Ground) -> None:
    step, bound = await cycle_of(net)
    seen: list[int] = []
    watch(net.switch, lambda _, value: seen.append(value))
    await net.session.finish(ticket(step, bound))
    assert seen == []
    net.switch.put(f"{POE}.3.1.3", values.integer(2))
    net.switch.faults.set_dropped = True
    with pytest.raises(UnreadableError, match="power is not seen on"):
        await net.session.finish(ticket(step, bound))
    net.switch.faults.clear()
    net.switch.renumber(10)
    await net.session.finish(ticket(step, bound))
    assert (seen, net.number(POE_ADMIN, "1.13")) == ([1], 1)
    assert await net.value("ge-3", "power-cycle") != bound[Address("snmp/sw-1/if/ge-3/power-cycle")].value


async def test_a_port_that_does_not_deliver_as_before_is_told(net: Ground) -> None:
    step, bound = await cycle_of(net)
    watch(net.switch, lambda _, value: net.switch.put(f"{POE}.6.1.3", values.integer(2 if value == 1 else 1)))
    reply = await net.sent(step, bound)
    assert reply.detail == "seen off, then on again; LOOK: it read deliveringPower, and now searching"


async def test_effects_and_addresses_of_others_are_refused(net: Ground) -> None:
    step, bound = await cycle_of(net)
    assert isinstance(step.do, Effect)
    for other in (replace(step.do, verb="reboot"), replace(step.do, address=Address("snmp/sw-1/if/ge-3/admin"))):
        with pytest.raises(UnreadableError, match="no effect"):
            await net.session.bind(other)
        with pytest.raises(NotSentError):
            await net.sent(replace(step, do=other), bound)
    with pytest.raises(UnreadableError, match="none of its addresses"):
        await net.session.read([Address("snmp/sw-2/if/ge-3/admin")])
    gone = replace(step.do, address=Address("snmp/sw-1/if/ge-9/power-cycle"))
    with pytest.raises(UnreadableError, match="no longer there"):
        await net.session.bind(gone)
    with pytest.raises(NotSentError, match="its power is not on"):
        await net.sent(replace(step, do=gone), bound)


# --- identity and the agent's own way ---


async def test_another_device_behind_the_address_reads_otherwise() -> None:
    identity = Address("snmp/sw-1/identity")
    async with ground() as net:
        net.switch.put("1.3.6.1.2.1.17.1.1.0", values.mac("02:00:00:00:00:01"))
        before = (await net.session.read([identity]))[identity].value
        net.switch.put("1.3.6.1.2.1.17.1.1.0", values.mac("02:00:00:00:00:02"))
        after = (await net.session.read([identity]))[identity].value
        assert before != after
        net.switch.drop("1.3.6.1.2.1.17.1.1")
        net.switch.put("1.3.6.1.6.3.10.2.1.1.0", values.string(b"\x80\x00\x01"))
        assert (await net.session.read([identity]))[identity].value == {"engine": "800001"}


GATEWAY, MAC = "10.0.0.254", "02:00:00:00:fe:01"
IP = "1.3.6.1.2.1.4"


def managed(device: Device, *, port: int = 4) -> None:
    """Let the device have its address on a VLAN interface, and the agent's gateway behind a port."""
    for n in range(1, 5):
        device.put(f"{IF}.3.{n}", values.integer(6))
        device.put(f"1.3.6.1.2.1.17.1.4.1.2.{n}", values.integer(n))
    device.put(f"{IF}.2.100", values.string("Vlan1"))
    device.put(f"{IF}.3.100", values.integer(136))
    device.put(f"{IF}.7.100", values.integer(1))
    device.put(f"{IF}.8.100", values.integer(1))
    device.put(f"{IP}.20.1.2.127.0.0.1", values.integer(100))
    device.put(f"{IP}.21.1.7.0.0.0.0", values.ip(GATEWAY))
    device.put(f"{IP}.22.1.2.100.{GATEWAY}", values.mac(MAC))
    device.put("1.3.6.1.2.1.17.4.3.1.2.2.0.0.0.254.1", values.integer(port))
    device.links.load()


async def test_the_port_of_the_gateway_is_the_way_and_others_are_not() -> None:
    device = switch("sw-1", clock=time.time)  # type: ignore[arg-type]  # a clock that goes
    managed(device)
    async with ground(device) as net:
        found, _ = await net.planned("ge-4", DOWN)
        assert isinstance(found, CannotEnforce)
        assert found.reason == "own-way"
        assert f"{MAC}, the MAC address of its gateway {GATEWAY}, is learned there" in found.detail
        vlan, _ = await net.planned("Vlan1", DOWN)
        assert isinstance(vlan, CannotEnforce)
        assert "it is no port with a cable (ifType 136)" in vlan.detail
        for wish in (DOWN, PortWish(PortChange.POWER_CYCLE, "")):
            free, _ = await net.planned("ge-2", wish)
            assert isinstance(free, PortPlan)
            assert free.not_checked == ()
        # the same gateway in another VLAN's table, on another port: both are the way
        net.switch.put("1.3.6.1.2.1.17.7.1.2.2.1.2.7.2.0.0.0.254.1", values.integer(2))
        second, _ = await net.planned("ge-2", DOWN)
        assert isinstance(second, CannotEnforce)
        back, _ = await net.planned("ge-4", UP)
        assert isinstance(back, PortPlan)


async def test_members_of_aggregation_and_aggregation_are_refused() -> None:
    device = switch("sw-1", clock=time.time)  # type: ignore[arg-type]  # a clock that goes
    managed(device)
    device.put(f"{IF}.3.1", values.integer(161))
    async with ground(device) as net:
        lag, _ = await net.planned("ge-1", DOWN)
        assert isinstance(lag, CannotEnforce)
        assert "it is a link aggregation, not one port" in lag.detail
        unsaid, _ = await net.planned("ge-2", DOWN)
        assert isinstance(unsaid, PortPlan)
        assert unsaid.not_checked == (
            "whether it is a member of a link aggregation: the device does not tell which ports are",
        )
        net.switch.put("1.2.840.10006.300.43.1.2.1.1.13.2", values.integer(1))
        member, _ = await net.planned("ge-2", DOWN)
        assert isinstance(member, CannotEnforce)
        assert "it is a member of the link aggregation ge-1" in member.detail
        other, _ = await net.planned("ge-3", DOWN)
        assert isinstance(other, PortPlan)
        assert other.not_checked == ()
        net.switch.drop("1.2.840.10006.300.43.1.2.1.1.13")
        net.switch.put("1.3.6.1.2.1.31.1.2.1.3.1.3", values.integer(1))
        stacked, _ = await net.planned("ge-3", DOWN)
        assert isinstance(stacked, CannotEnforce)


async def test_a_way_over_an_aggregation_of_unknown_ports_is_told() -> None:
    """Cisco's is of ifType propVirtual: its members look like any port."""
    device = switch("sw-1", clock=time.time)  # type: ignore[arg-type]  # a clock that goes
    managed(device, port=1)
    device.put(f"{IF}.3.1", values.integer(53))
    async with ground(device) as net:
        found, _ = await net.planned("ge-2", DOWN)
        assert isinstance(found, PortPlan)
        assert found.not_checked == (
            "the agent's own way: it is learned at an interface whose ports the device does not tell",
        )
        net.switch.put("1.2.840.10006.300.43.1.2.1.1.13.3", values.integer(1))
        told, _ = await net.planned("ge-2", DOWN)
        assert isinstance(told, PortPlan)
        assert told.not_checked == ()


async def test_a_bridge_whose_port_numbers_mean_nothing_tells_no_way() -> None:
    device = switch("sw-1", clock=time.time)  # type: ignore[arg-type]  # a clock that goes
    managed(device)
    device.drop("1.3.6.1.2.1.17.1.4.1.2")
    async with ground(device) as net:
        found, _ = await net.planned("ge-2", DOWN)
        assert isinstance(found, PortPlan)
        assert found.not_checked == (f"the agent's own way: the device has learned {MAC} on no port",)


async def test_nothing_known_of_the_way_is_told(net: Ground) -> None:
    found, _ = await net.planned("ge-2", DOWN)
    assert isinstance(found, PortPlan)
    assert found.not_checked == (
        "whether it is a port with a cable: the device tells no ifType of it",
        "the agent's own way: the device does not tell its addresses",
    )


async def test_a_routed_port_with_the_asked_address_is_the_way() -> None:
    device = switch("sw-1", clock=time.time)  # type: ignore[arg-type]  # a clock that goes
    for n in range(1, 5):
        device.put(f"{IF}.3.{n}", values.integer(6))
    device.put(f"{IP}.34.1.3.1.4.127.0.0.1", values.integer(3))
    async with ground(device) as net:
        found, _ = await net.planned("ge-3", DOWN)
        assert isinstance(found, CannotEnforce)
        assert "the device has the address 127.0.0.1 there" in found.detail
        free, _ = await net.planned("ge-2", DOWN)
        assert isinstance(free, PortPlan)
        assert free.not_checked == ()


async def test_a_device_without_a_mark_of_its_own_is_told(net: Ground) -> None:
    found, _ = await net.planned("ge-3", DOWN)
    assert isinstance(found, PortPlan)
    assert "another of its kind at its address would not be noticed" in found.display["now"]
    net.switch.put("1.3.6.1.2.1.17.1.1.0", values.string(bytes.fromhex("024cee000001")))
    found, _ = await net.planned("ge-3", DOWN)
    assert isinstance(found, PortPlan)
    assert "noticed" not in found.display["now"]


async def test_a_cycle_ends_at_no_device_that_replaced_it(net: Ground) -> None:
    bridge = "1.3.6.1.2.1.17.1.1.0"
    net.switch.put(bridge, values.string(bytes.fromhex("024cee000001")))
    step, bound = await cycle_of(net)
    net.switch.put(bridge, values.string(bytes.fromhex("024cee000099")))
    net.switch.put(f"{POE}.3.1.3", values.integer(2))  # it is off there on purpose
    with pytest.raises(UnreadableError, match="another device is at its address"):
        await net.session.finish(ticket(step, bound))
    with pytest.raises(NotSentError, match="another device is at its address"):
        await net.sent(step, bound)
    assert net.number(POE_ADMIN, "1.3") == 2
    net.switch.drop(bridge)  # that it tells no mark now says nothing
    await net.session.finish(ticket(step, bound))
    assert net.number(POE_ADMIN, "1.3") == 1


async def test_a_cycle_is_of_the_outlet_that_was_previewed(net: Ground) -> None:
    """The interfaces were numbered anew since, and the outlets were not."""
    step, bound = await cycle_of(net)
    for number, name in ((2, "ge-3"), (3, "ge-2")):
        net.switch.put(f"{IFX}.1.{number}", values.string(name))
    seen: list[str] = []
    watch(net.switch, lambda row, _: seen.append(row))
    with pytest.raises(NotSentError, match=r"its outlet is 1\.2 now, and was 1\.3 in the preview"):
        await net.sent(step, bound)
    assert seen == []
