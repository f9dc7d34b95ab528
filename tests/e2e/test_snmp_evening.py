"""A radio fades, its neighbor restarts, an ONU loses its light; each subscriber is answered by one command."""

from __future__ import annotations

import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import trio

from lab.isp import Isp
from lab.snmp.messages import Version
from lab.snmp.network import CORE, OLT, Access, Line, Network
from lab.snmp.notifications import Sink
from lab.snmp.notifier import Notifier
from lab.snmp.usm import USERS
from tests.builders.answers import unix_of
from tests.e2e.files import Files, Typed, lab_mapping, lab_secrets, make_files, small_isp
from tests.e2e.site import AgentProgram, Office
from tests.servers import free_port

pytestmark = pytest.mark.slow

FED, TOWER = "tower-1", "tower-2"
USER = USERS[0]
WITHIN_S = 60.0
FRESH_S = 60
"""An answer is from a reading no older: the device was just read, and a machine of tests may be slow."""
TOLD = f"""
[snmp-credential.told]
version = "3"
user = "{USER.name}"
auth = "{USER.auth}"
auth_secret = "snmp/told-auth"
priv = "AES"
priv_secret = "snmp/told-priv"
"""
Json = dict[str, Any]


@dataclass
class LabClock:
    """The time of the lab, which a test moves; the agent's is the machine's."""

    moved_s: float = 0.0

    def __call__(self) -> float:
        return time.time() + self.moved_s


@dataclass
class Evening:
    """A lab with its agent, and people at the command line."""

    isp: Isp
    clock: LabClock
    files: Files
    port: int

    @property
    def office(self) -> Office:
        return Office(self.files)

    @property
    def network(self) -> Network:
        assert self.isp.network is not None
        return self.isp.network

    def ref(self, line: Line) -> str:
        """Return the service whose line it is."""
        return next(ref for ref, row in self.files.billing.rows.items() if row["login"] == line.login)

    async def typed(self, *args: str) -> Typed:
        """Type a command, and print how long its answer took."""
        began = time.monotonic()
        done = await self.files.type(*args)
        print(f"{time.monotonic() - began:.2f} s: ispagent {' '.join(args)}")
        assert done.sentence == ""
        return done

    async def line(self, line: Line) -> Json:
        """Return what the agent says of a subscriber's line; it is certain."""
        (service,) = (await self.office.call("GET", f"/v1/subscribers/{quote(self.ref(line), safe='')}"))["services"]
        found: Json = service["line"]
        told = [f"{c['kind']} {c['name']} {c['device']['name']}: {c['how']}" for c in found["candidates"]]
        assert (told, found["notes"]) == ([], [])
        assert found["line"] is not None, found
        return dict(found["line"])

    async def page(self, line: Line) -> str:
        """Return what one command says of a subscriber, without its line feeds."""
        return " ".join((await self.typed("subscriber", "show", self.ref(line))).out.split())

    async def causes(self) -> list[Json]:
        """Return what `ispagent outage` says."""
        found: list[Json] = (await self.office.call("GET", "/v1/outage"))["causes"]
        return found

    async def caused(self, holds: Callable[[list[Json]], bool]) -> list[Json]:
        """Return the causes once they are so: on a busy machine they are some seconds old."""
        with trio.fail_after(WITHIN_S):
            while not holds(found := await self.causes()):  # noqa: ASYNC110  the agent is asked as a person does
                await trio.sleep(0.05)
        return found

    async def all_read(self) -> bool:
        """Return whether every device was read since the agent started."""
        return {one["state"] for one in await self.office.call("GET", "/v1/devices")} == {"reachable"}

    async def read(self, *names: str, times: int = 1) -> None:
        """Have devices read now, as their schedule would."""
        for name in names:
            for _ in range(times):
                await self.office.call("POST", f"/v1/devices/{name}/probe", {})

    async def pass_s(self, seconds: float) -> None:
        """Let time pass in the lab."""
        self.clock.moved_s += seconds
        for device in self.network.devices:
            device.run_due()

    async def shown(self, line: Line, holds: Callable[[Json], bool]) -> Json:
        """Return a subscriber's line once it is shown so."""
        with trio.fail_after(WITHIN_S):
            while not holds(found := await self.line(line)):  # noqa: ASYNC110  the agent is asked as a person does
                await trio.sleep(0.05)
        return found


def columns_of(network: Network, files: Files) -> None:
    """Let billing know each subscriber by the MAC address of the CPE, and one by fiber by the ONU's serial number."""
    for row in files.billing.rows.values():
        line = network.lines.get(row["login"])
        if line is not None:
            row["mac"] = "" if line.onu else line.mac.upper()
            row["onu"] = line.onu.serial if line.onu else ""
    files.billing.write()


def site_of(folder: Path, isp: Isp, port: int) -> Files:
    """Write the agent's files: it hears notifications, those of the OLT by version 3."""
    mapping = lab_mapping(isp).replace(f"[snmp.{OLT}]\n", f'[snmp.{OLT}]\nnotify_credential = "told"\n')
    mapping = mapping.replace('credential = "lab"\n', 'credential = "lab"\ntimeout_s = 0.3\nretries = 1\n')
    mapping += f'{TOLD}\n[snmp]\nlisten = ["127.0.0.1:{port}"]\n\n[lines]\nroots = ["{CORE}"]\n'
    told = {"snmp/told-auth": USER.auth_password, "snmp/told-priv": USER.priv_password}
    files = make_files(folder, mapping, isp.services, lab_secrets(isp) | told)
    assert isp.network is not None
    columns_of(isp.network, files)
    return files


@asynccontextmanager
async def running(files: Files) -> AsyncIterator[AgentProgram]:
    """Run the agent as a program for the block."""
    program = AgentProgram(files)
    try:
        await trio.to_thread.run_sync(program.wait_ready)
        yield program
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(program.stop)


@asynccontextmanager
async def evening(folder: Path) -> AsyncIterator[Evening]:
    """Run the lab and the agent, which has read every device, for the block."""
    clock = LabClock()
    async with small_isp(folder, services=24, nas=1, snmp=True, clock=clock) as isp:
        clock.moved_s += 86_400  # everything has run for a day
        port = free_port(socket.SOCK_DGRAM)
        files = site_of(folder, isp, port)
        async with running(files):
            await Office(files).install()
        async with running(files):
            made = Evening(isp, clock, files, port)
            with trio.fail_after(WITHIN_S):
                while not await made.all_read():  # noqa: ASYNC110  the agent is asked as a person does
                    await trio.sleep(0.05)
            yield made  # the next reading of the schedule is minutes away


@asynccontextmanager
async def telling(made: Evening) -> AsyncIterator[dict[str, Notifier]]:
    """Let the switch send traps of version 2c, and the OLT informs of version 3, for the block."""
    assert made.isp.snmp is not None
    trap = Sink("127.0.0.1", made.port, Version.V2C, made.isp.snmp_community)
    inform = Sink("127.0.0.1", made.port, Version.V3, user=USER, inform=True)
    async with made.isp.snmp.notifying(trap, CORE) as traps, made.isp.snmp.notifying(inform, OLT) as informs:
        yield traps | informs


async def acknowledged(notifier: Notifier, number: int) -> None:
    """Return once so many informs were acknowledged."""
    with trio.fail_after(WITHIN_S):
        while len(notifier.acknowledged) < number:  # noqa: ASYNC110  the lab tells nobody
            await trio.sleep(0.05)


def has_cause(device: str, kind: str) -> Callable[[Json], bool]:
    """Return a test of a line: whether its state comes from such a cause."""
    return lambda one: one["cause"] is not None and (one["cause"]["kind"], one["cause"]["device"]) == (kind, device)


def names(device: str, kind: str) -> Callable[[list[Json]], bool]:
    """Return a test of causes: whether there is such a one."""
    return lambda causes: (device, kind) in [(cause["device"], cause["kind"]) for cause in causes]


def cause_at(causes: list[Json], device: str, kind: str) -> Json:
    (one,) = [cause for cause in causes if (cause["device"], cause["kind"]) == (device, kind)]
    return one


@pytest.mark.assumed("snmp-epmp-stations", "snmp-huawei-negative-ifindex", "snmp-mac-forgotten-at-once")
async def test_each_of_three_subscribers_is_answered_by_one_command(tmp_path: Path) -> None:
    async with evening(tmp_path) as made:
        network, began = made.network, int(time.time())
        radio = next(line for line in network.lines_by(Access.RADIO) if line.device == TOWER)
        beside = next(line for line in network.lines_by(Access.RADIO) if line.device == FED)
        fiber, cable = network.lines_by(Access.FIBER)[0], network.lines_by(Access.ETHERNET)[0]
        assert fiber.onu is not None
        for line, kind, by in (
            (radio, "client", "mac"),
            (beside, "client", "mac"),
            (fiber, "onu", "serial"),
            (cable, "port", "mac"),
        ):
            found = await made.line(line)
            assert (found["kind"], found["found_by"]) == (kind, by)
            assert (found["device"]["name"], found["state"], found["cause"]) == (line.device, "up", None)
        assert await made.causes() == []

        network.fade(radio.login, -88, over_s=600)
        network.reboot(FED, takes_s=3600)
        await made.isp.break_line(fiber.login)
        await made.pass_s(600)
        await made.read(CORE, TOWER, OLT)
        await made.read(FED, times=2)

        found = await made.line(radio)
        assert (found["state"], found["fading"], found["measures"]["signal_dbm"]) == ("up", "signal_dbm", -88)
        assert found["age_s"] < FRESH_S
        text = await made.page(radio)
        print(text)
        assert "FADING: usually -" in text
        assert "signal -88.0 dBm" in text

        found = await made.shown(beside, has_cause(FED, "silent"))
        assert unix_of(found["device"]["unread_since"]) >= began
        assert (found["cause"]["upstream"], found["cause"]["upstream_port"]) == (CORE, "0/1")
        assert "0/1 towards it is down" in found["cause"]["detail"]
        text = await made.page(beside)
        print(text)
        assert "unreachable, or wrong secret since" in text

        found = await made.line(fiber)
        assert (found["state"], unix_of(found["since"]) >= began, found["age_s"] < FRESH_S) == ("down", True, True)
        assert (found["serial"], found["cause"]) == (fiber.onu.serial, None)
        text = await made.page(fiber)
        print(text)
        assert "DOWN since" in text

        causes = await made.caused(lambda causes: len(causes) == 3)
        assert cause_at(causes, TOWER, "fading")["services"] == [made.ref(radio)]
        assert cause_at(causes, OLT, "down")["services"] == [made.ref(fiber)]
        on_tower = [line for line in network.lines.values() if line.device == FED]
        assert sorted(cause_at(causes, FED, "silent")["services"]) == sorted(map(made.ref, on_tower))
        shown = (await made.typed("outage")).out
        print(shown)
        assert f"{FED}: unreachable, or wrong secret since" in shown
        assert f"behind {CORE} 0/{network[FED].upstream_port}" in shown

        await made.pass_s(3000)
        await made.read(CORE, FED)
        found = await made.shown(beside, has_cause(FED, "restarted"))
        assert (found["state"], found["device"]["unread_since"]) == ("up", None)
        assert unix_of(cause_at(await made.caused(names(FED, "restarted")), FED, "restarted")["since"]) >= began - 2


async def test_reboot_of_switch_is_cause_for_everybody_behind_it(tmp_path: Path) -> None:
    async with evening(tmp_path) as made:
        network = made.network
        lines = [network.lines_by(access)[0] for access in Access]
        network.reboot(CORE, takes_s=3600)
        await made.read(*(device.name for device in network.devices), times=2)
        for line in lines:
            found = await made.shown(line, has_cause(CORE, "silent"))
            assert found["device"]["unread_since"]
            assert found["cause"]["behind"] == sorted({d.name for d in network.devices} - {CORE})
        (cause,) = await made.caused(lambda causes: len(causes) == 1)
        assert (cause["device"], cause["kind"]) == (CORE, "silent")
        assert sorted(cause["services"]) == sorted(map(made.ref, network.lines.values()))


async def test_notifications_change_what_is_shown_between_readings(tmp_path: Path) -> None:
    async with evening(tmp_path) as made, telling(made) as notifiers:
        network = made.network
        cable, fiber = network.lines_by(Access.ETHERNET)[0], network.lines_by(Access.FIBER)[0]
        before = {line.login: await made.line(line) for line in (cable, fiber)}

        network.cut(cable.login)
        found = await made.shown(cable, lambda one: one["state"] == "down")
        assert found["state_by"] == "read", "a community proves nothing: the device was asked at once"
        assert cause_at(await made.caused(names(CORE, "down")), CORE, "down")["services"] == [made.ref(cable)]

        network[OLT].set_link(fiber.port, up=False)
        await acknowledged(notifiers[OLT], 1)
        found = await made.shown(fiber, has_cause(OLT, "down"))  # what was acknowledged is durable, and is shown
        assert found["cause"]["part_kind"] == "pon"
        assert found["read_at"] == before[fiber.login]["read_at"]
        on_pon = [line for line in network.lines_by(Access.FIBER) if line.port == fiber.port]
        causes = await made.caused(names(OLT, "down"))
        assert sorted(cause_at(causes, OLT, "down")["services"]) == sorted(map(made.ref, on_pon))

        network.mend(cable.login)
        network[OLT].set_link(fiber.port, up=True)
        assert (await made.shown(cable, lambda one: one["state"] == "up"))["state_by"] == "read"
        await acknowledged(notifiers[OLT], 2)
        await made.shown(fiber, lambda one: one["cause"] is None)
        await made.caused(lambda causes: causes == [])
