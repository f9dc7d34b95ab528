"""The listener with net-snmp's own senders: snmptrap, snmpinform and snmpd."""

from __future__ import annotations

import math
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

import pytest
import trio
import trio.lowlevel
import trio.testing

from agent.connectors.snmp import messages, notifications_listener, pdu
from agent.connectors.snmp.credential import AuthProtocol, PrivProtocol, SnmpCredential, SnmpVersion
from agent.connectors.snmp.errors import UnsentRequestError
from agent.connectors.snmp.limits import SENDER_BURST, SENDER_RATE
from agent.connectors.snmp.notifications import SNMP_TRAP_OID, SYS_UP_TIME, NotificationReceiver, OurEngine
from agent.connectors.snmp.notifications_listener import NotificationSender, NotificationsListener
from agent.connectors.snmp.pdu import Pdu, PduKind
from agent.connectors.snmp.usm import EngineTime
from agent.connectors.snmp.values import INTEGER, OBJECT_IDENTIFIER, TIME_TICKS, oid
from agent.line_model.reading import EventKind, LineEvent
from tests.agent.connectors.snmp.net_snmp import credential, snmpd, tool
from tests.servers import ServerMissingError, missing, program

SHA, AES = AuthProtocol.SHA_256, PrivProtocol.AES_128
COMMUNITIES = [SnmpCredential(version, community=b"trapcomm") for version in (SnmpVersion.V1, SnmpVersion.V2C)]
USERS = [credential(*pair) for pair in [(SHA, AES), (AuthProtocol.MD5, PrivProtocol.DES), (AuthProtocol.SHA, None)]]
LINK_DOWN, IF_INDEX = "1.3.6.1.6.3.1.1.5.3", "1.3.6.1.2.1.2.2.1.1.7"
OURS = bytes.fromhex("80000000010203040506")


@pytest.fixture(autouse=True)
def _tools() -> None:
    try:
        program("snmptrap", "snmp")
    except ServerMissingError as err:
        missing(str(err))


@dataclass
class Rig:
    """A running listener and everything that it heard."""

    listener: NotificationsListener
    receiver: NotificationReceiver
    port: int = 0
    events: list[LineEvent] = field(default_factory=list)
    changed: trio.Condition = field(default_factory=trio.Condition)

    async def until(self, count: int) -> list[LineEvent]:
        with trio.fail_after(60):
            async with self.changed:
                while len(self.events) < count:
                    await self.changed.wait()
        return self.events

    async def send(self, name: str, *arguments: str) -> str:
        """Run snmptrap or snmpinform; a tool's exit says that an inform was acknowledged."""
        return await trio.to_thread.run_sync(partial(tool, name, *arguments))

    async def until_read(self, count: int) -> None:
        counts = self.listener.counts
        while counts.heard + counts.over_budget < count:  # noqa: ASYNC110  a counter rings no bell
            await trio.sleep(0.001)

    async def until_counted(self, name: str, count: int) -> None:
        with trio.fail_after(60):
            while getattr(self.listener.counts, name) < count:  # noqa: ASYNC110  a counter rings no bell
                await trio.sleep(0.01)


@asynccontextmanager
async def listening(
    *credentials: SnmpCredential, held: Callable[[LineEvent], Awaitable[None]] | None = None, target: str = "sw-1"
) -> AsyncIterator[Rig]:
    async def heard(event: LineEvent) -> None:
        if held is not None:
            await held(event)
        rig.events.append(event)
        async with rig.changed:
            rig.changed.notify_all()

    receiver = NotificationReceiver(OurEngine(OURS, 3, trio.current_time() - 1000), lambda bits: 5)
    known = NotificationSender(target, credentials)
    rig = Rig(NotificationsListener(receiver, lambda address: known, heard, time.time), receiver)
    async with trio.open_nursery() as nursery:
        (rig.port,) = await nursery.start(rig.listener.run, [("127.0.0.1", 0)])
        yield rig
        nursery.cancel_scope.cancel()


def words(asked: SnmpCredential, engine_id: str = "") -> list[str]:
    """Return the arguments of net-snmp's tools for a credential."""
    if asked.version is not SnmpVersion.V3:
        return [f"-v{asked.version.value}", "-c", asked.community.decode()]
    level = "authPriv" if asked.priv else "authNoPriv" if asked.auth else "noAuthNoPriv"
    found = ["-v3", "-u", asked.user, "-l", level]
    found += ["-e", f"0x{engine_id}"] if engine_id else []
    found += ["-a", asked.auth.value, "-A", asked.auth_key.decode()] if asked.auth else []
    return found + (["-x", asked.priv.value, "-X", asked.priv_key.decode()] if asked.priv else [])


@pytest.mark.parametrize("asked", [COMMUNITIES[1], *USERS], ids=lambda asked: asked.user or asked.version.value)
async def test_traps_of_snmptrap(asked: SnmpCredential) -> None:
    engine_id = "8000000001020304"
    async with listening(asked) as rig:
        at = f"127.0.0.1:{rig.port}"
        await rig.send("snmptrap", *words(asked, engine_id), at, "4710", LINK_DOWN, IF_INDEX, "i", "7")
        (old,) = await rig.until(1)
        assert not old.authenticated, "nothing proves yet that it was not recorded long ago"
        rig.receiver.learn(bytes.fromhex(engine_id), EngineTime(0, 0, trio.current_time()))
        await rig.send("snmptrap", *words(asked, engine_id), at, "4711", LINK_DOWN, IF_INDEX, "i", "7")
        (_, event) = await rig.until(2)
    assert (event.kind, event.index, event.target) == (EventKind.PART_DOWN, 7, "sw-1")
    assert event.told == f"linkDown {IF_INDEX}=7"
    assert event.authenticated is (asked.version is SnmpVersion.V3)


async def test_traps_of_version_1() -> None:
    async with listening(*COMMUNITIES) as rig:
        at = f"127.0.0.1:{rig.port}"
        common = [*words(COMMUNITIES[0]), at, "1.3.6.1.4.1.2021", "192.0.2.1"]
        await rig.send("snmptrap", *common, "3", "0", "17", "1.3.6.1.2.1.2.2.1.8.9", "i", "1")
        await rig.send("snmptrap", *common, "6", "300", "18", "1.3.6.1.4.1.2021.1", "s", "hot")
        link, other = await rig.until(2)
    assert (link.kind, link.index) == (EventKind.PART_UP, 9)
    assert (other.kind, other.told) == (EventKind.OTHER, "1.3.6.1.4.1.2021.0.300 1.3.6.1.4.1.2021.1=hot")


@pytest.mark.parametrize("asked", [COMMUNITIES[1], *USERS], ids=lambda asked: asked.user or asked.version.value)
async def test_informs_are_acknowledged_once_they_are_heard(asked: SnmpCredential) -> None:
    durable, acknowledged = trio.Event(), trio.Event()

    async def held(event: LineEvent) -> None:
        await durable.wait()

    async with listening(asked, held=held) as rig, trio.open_nursery() as nursery:

        async def send() -> None:
            arguments = [*words(asked), "-t", "0.3", "-r", "60", f"127.0.0.1:{rig.port}"]
            await rig.send("snmpinform", *arguments, "4712", LINK_DOWN, IF_INDEX, "i", "7")
            acknowledged.set()

        nursery.start_soon(send)
        await rig.until_counted("repeated", 2)  # the sender tried again twice, and heard nothing
        assert not acknowledged.is_set()
        durable.set()
        with trio.fail_after(60):
            await acknowledged.wait()
        assert [event.kind for event in rig.events] == [EventKind.PART_DOWN]


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        (SnmpCredential(SnmpVersion.V2C, community=b"public"), "expected a community of this sender"),
        (credential(SHA, AES, auth_key=b"wrong-passphrase"), "wrong secret: auth or auth_secret differs"),
        (credential(SHA, None, user=credential(SHA, AES).user), "another authentication or encryption"),
        (credential(None, None, user="nobody"), "no such user is configured"),
    ],
    ids=["community", "key", "level", "user"],
)
async def test_a_trap_with_another_secret_is_not_heard(sent: SnmpCredential, why: str) -> None:
    async with listening(*COMMUNITIES, USERS[0]) as rig:
        at = f"127.0.0.1:{rig.port}"
        await rig.send("snmptrap", *words(sent, "8000000001020304"), at, "1", LINK_DOWN, IF_INDEX, "i", "7")
        await rig.until_counted("refused", 1)
        assert why in rig.listener.counts.why["127.0.0.1"]
        assert rig.events == []


async def test_an_inform_out_of_time_is_reported_and_comes_again() -> None:
    asked = USERS[0]
    async with listening(asked) as rig:
        arguments = [*words(asked, OURS.hex()), "-Z", "1,5", f"127.0.0.1:{rig.port}"]
        await rig.send("snmpinform", *arguments, "1", LINK_DOWN, IF_INDEX, "i", "7")
        assert len(await rig.until(1)) == 1
        assert rig.listener.counts.reported >= 1


async def test_what_snmpd_sends() -> None:
    """The same coldStart three ways, heard once or as often as its uptime differs; its inform is acknowledged."""
    asked = USERS[0]
    async with listening(*COMMUNITIES, asked) as rig:
        at = f"127.0.0.1:{rig.port}"
        sinks = [
            f"trapsess -v 2c -c trapcomm {at}",
            f"trapsess -Ci -v 2c -c trapcomm {at}",
            f"trapsess {' '.join(words(asked))} {at}",
            "authtrapenable 1",
        ]
        with snmpd("\n".join(sinks)) as agent:
            await rig.until(1)
            assert rig.events[0].kind is EventKind.RESTARTED
            wrong = ["-v2c", "-c", "wrong", "-t", "0.2", "-r", "0", f"127.0.0.1:{agent.port}"]
            await rig.send("snmpget", *wrong, "1.3.6.1.2.1.1.5.0")
            with trio.fail_after(60):
                while not any(event.kind is EventKind.REFUSED for event in rig.events):
                    await rig.until(len(rig.events) + 1)
            await rig.until_counted("repeated", 1)
    assert rig.listener.counts.refused == rig.listener.counts.malformed == 0


def link_trap(ticks: int) -> bytes:
    found = (
        (SYS_UP_TIME, (TIME_TICKS, ticks)),
        (SNMP_TRAP_OID, (OBJECT_IDENTIFIER, oid(LINK_DOWN))),
        (oid(IF_INDEX), (INTEGER, 7)),
    )
    return messages.encode(SnmpVersion.V2C, b"trapcomm", pdu.encode(Pdu(PduKind.TRAP, 1, 0, 0, found)))


async def test_a_trap_without_a_time_counts_again_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    async with listening(*COMMUNITIES) as rig:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            for _ in range(2):
                sock.sendto(link_trap(0), ("127.0.0.1", rig.port))
            await rig.until_counted("repeated", 1)
            await rig.until(1)
            monkeypatch.setattr(notifications_listener, "REPEATED_S", -1.0)
            sock.sendto(link_trap(0), ("127.0.0.1", rig.port))
            await rig.until(2)


async def test_a_storm_is_dropped_beyond_its_budget_and_counted() -> None:
    began = time.monotonic()
    async with listening(*COMMUNITIES) as rig:
        counts = rig.listener.counts
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock, trio.fail_after(60):
            for n in range(3_000):
                sock.sendto(link_trap(n), ("127.0.0.1", rig.port))
                if n % 100 == 99:  # the kernel drops none that the listener has read
                    await rig.until_read(n + 1)
        took_s = time.monotonic() - began
    assert SENDER_BURST <= counts.heard <= SENDER_BURST + math.ceil(took_s * SENDER_RATE)
    assert counts.queue_full == 0


async def test_a_hanging_store_bounds_the_queue_and_keeps_the_quiet(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(notifications_listener, "QUEUED_MAX", 100)
    alike, per_sender = ("127.0.0.2", "127.0.0.3", "127.0.0.4"), int(SENDER_BURST)
    async with listening(*COMMUNITIES, held=hang) as rig:
        counts = rig.listener.counts
        for number, address in enumerate(alike):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.bind((address, 0))
                for n in range(per_sender):
                    sock.sendto(link_trap(number * per_sender + n), ("127.0.0.1", rig.port))
                    if n % 50 == 49:
                        await trio.testing.wait_all_tasks_blocked()
        dropped = len(alike) * per_sender - 100 - len(alike)  # one of each is with the store
        await rig.until_counted("queue_full", dropped)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind(("127.0.0.5", 0))
            sock.sendto(link_trap(1_000_001), ("127.0.0.1", rig.port))
            with trio.fail_after(60):
                while ("127.0.0.5", False) not in rig.listener._queue._under_way:  # noqa: ASYNC110  no bell rings
                    await trio.sleep(0.01)
        assert (counts.heard, counts.over_budget, counts.queue_full) == (0, 0, dropped + 1), "of a storm's"


async def hang(event: LineEvent) -> None:
    await trio.sleep_forever()


async def test_a_port_that_is_taken_is_named() -> None:
    async with listening() as rig:
        with pytest.raises(UnsentRequestError, match=rf"cannot listen at 127\.0\.0\.1 port {rig.port}: Address al"):
            await rig.listener.run([("127.0.0.1", rig.port)])
