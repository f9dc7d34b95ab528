"""Switches by SNMP: the agent polls them, hears their traps and informs, and changes their ports as people ask.

The judge goes by the switches' own record (`snmp_device`): what each port was, and what a SET brought to it.
"""

from __future__ import annotations

import random
import re
import socket
import sqlite3
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any, ClassVar, Final
from unittest import mock
from urllib.parse import urlencode

import trio

from agent.connectors.snmp import way_reading_session
from agent.connectors.snmp.connector import SnmpConnector
from lab.snmp import notifier as lab_notifier
from lab.snmp import server as lab_server
from lab.snmp.messages import Version
from lab.snmp.notifications import Sink
from lab.snmp.notifier import Notifier
from lab.snmp.server import Layout, SnmpLab, open_snmp_lab
from lab.snmp.usm import USERS
from tests.e2e.files import COLUMNS
from tests.e2e.site import ApiRefusedError, Json
from tests.sim.judge import Evidence, Verdict
from tests.sim.part import Declared, Part, WorldFault
from tests.sim.parts import snmp_rules
from tests.sim.parts.snmp_device import (
    AGENT,
    AGENT_MAC,
    DOWNLINKS,
    LEAF,
    MIDDLE,
    PORTS,
    ROOT,
    UPLINK,
    WAY,
    Sent,
    WatchedSwitch,
    mac_of,
    make_switches,
)
from tests.sim.parts.snmp_faults import FAULTS, LISTEN_PORT
from tests.sim.people import Desk
from tests.sim.witness import OpenStep
from tests.sim.world import AgentAwayError, World

POLL_S: Final = 60
SELDOM_S: Final = 21_600.0
"""How often switches are polled once all is at rest: days may follow."""
QUIET_AFTER_S: Final = 550.0
LINKS: Final = 4
"""How often staff look meanwhile whether a switch is cut off."""
TICK_S: Final = 0.25
ASKS: Final = 10
LOOK_S: Final = 7.0
_TITLE: Final = re.compile(r"port (\S+) of (\S+)")
CREDENTIALS: Final = """
[snmp]
listen = ["127.0.0.1:{port}"]
[snmp-credential.read-2]
version = "2c"
community = "snmp/look"
[snmp-credential.write-2]
version = "2c"
community = "snmp/touch"
[snmp-credential.read-3]
version = "3"
user = "labpriv"
auth = "SHA-256"
auth_secret = "snmp/auth"
priv = "AES"
priv_secret = "snmp/priv"
[snmp-credential.write-3]
version = "3"
user = "labwrite"
auth = "SHA-256"
auth_secret = "snmp/write-auth"
priv = "AES"
priv_secret = "snmp/write-priv"
[lines]
roots = ["{root}"]
"""
SECRETS: Final = {
    "snmp/look": "look",
    "snmp/touch": "touch",
    "snmp/auth": "labauthpass",
    "snmp/priv": "labprivpass",
    "snmp/write-auth": "labwriteauth",
    "snmp/write-priv": "labwritepriv",
}


@dataclass(frozen=True, slots=True)
class Told:
    """The agent has on record, first seen at `at`, that a port is so. `state`: its word for it."""

    at: float
    switch: str
    port: str
    state: str


class KeepingNotifier(Notifier):
    """Keeps what it sent. `kept`: each datagram, once a sending."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.kept: list[bytes] = []

    async def _send(self, datagram: bytes) -> None:
        self.kept.append(datagram)
        await super()._send(datagram)


class SnmpPart(Part):
    """The switches. `ways`: by which port of the root the agent reaches it, and since when; `told`: see `Told`."""

    name = "snmp"
    faults: ClassVar[tuple[WorldFault, ...]] = FAULTS
    percent: ClassVar[int] = 20
    lab: SnmpLab

    async def open(self, world: World, nursery: trio.Nursery) -> Declared:
        """Start the switches, each on an address of its own."""
        self.world, self._nursery = world, nursery
        self._stack = ExitStack()
        self._stack.enter_context(mock.patch.object(lab_server, "TICK_S", TICK_S))
        self._stack.enter_context(mock.patch.object(lab_notifier, "_numbers", count(1)))
        self._stack.enter_context(mock.patch.object(way_reading_session, "_own_macs", _own_macs))
        dice = random.Random(f"snmp {world.options.seed}")
        self.switches = make_switches(world.clock.wall_s)
        self.ways: list[tuple[float, str]] = [(0.0, WAY)]
        self.told: list[Told] = []
        self.told_at_rest: list[Told] = []
        """The state on record of each port, once all is at rest; "": there is none."""
        self._file: sqlite3.Connection | None = None
        """The agent's file, as it was looked at last: another one may be a copy, or have lost something."""
        self.unchecked: set[str] = set()
        """Plans of which the preview named something that was not checked; nobody approves these."""
        self._known: dict[tuple[str, str], str] = {}
        self.rates: dict[tuple[str, str], float] = {}
        """The highest rate that the agent has kept of each port, once all is at rest."""
        self.notifiers: dict[str, KeepingNotifier] = {}
        self.lab = await nursery.start(self._serve)
        config = CREDENTIALS.format(port=LISTEN_PORT, root=ROOT)
        for name, switch in self.switches.items():
            switch.on_sent = partial(self._sent, switch)
            version = dice.choice((2, 3))
            host, port = self.lab.where(name)
            config += (
                f'[snmp.{name}]\naddress = "{host}"\nport = {port}\ncredential = "read-{version}"\n'
                f'write_credential = "write-{version}"\nevery_s = {POLL_S}\ntimeout_s = 1\n'
            )
            await nursery.start(self._notify, switch, _sink(switch, version, inform=dice.random() < 0.5), host)
        return Declared(config, SECRETS, {f"C-{n}-{p}/home": _billing(n, p) for n, p in self._houses()})

    def _houses(self) -> list[tuple[str, str]]:
        """Return the ports of subscribers."""
        ports = [(name, f"ge-{n}") for name in self.switches for n in range(2, PORTS + 1)]
        return [at for at in ports if at not in ((ROOT, WAY), (MIDDLE, "ge-2"))]

    async def _serve(self, task_status: trio.TaskStatus[SnmpLab]) -> None:
        async with open_snmp_lab(
            self.switches.values(),
            layout=Layout.ADDRESSES,
            clock=self.world.clock.wall_s,
            seed=self.world.options.seed,
        ) as lab:
            task_status.started(lab)
            await trio.sleep_forever()

    async def _notify(self, switch: WatchedSwitch, sink: Sink, host: str, task_status: trio.TaskStatus[None]) -> None:
        with trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            await udp.bind((host, 0))
            made = self.notifiers[switch.name] = KeepingNotifier(switch, sink, udp)
            switch.notify.append(made.notify)
            task_status.started()
            await made.run()

    def close(self) -> None:
        """Give the lab its own pace back."""
        self._stack.close()

    # --- what happens -------------------------------------------------------------------------------------------------

    def move_way(self, to: str) -> None:
        """Have the agent's way to the root lead over another of its ports."""
        self.switches[ROOT].move_way(to)
        self.ways.append((trio.current_time(), to))
        self.world.trace(f"the agent's way leads over {to} of {ROOT}")

    def ways_during(self, since: float, until: float) -> set[str]:
        """Return the ports of the root that were the agent's way during some of that time."""
        ends = [at for at, _ in self.ways[1:]] + [float("inf")]
        return {port for (at, port), end in zip(self.ways, ends, strict=True) if at <= until and end >= since}

    def is_uplink(self, switch: str, port: str, since: float, until: float) -> bool:
        """Tell whether the agent reached a switch by one of its ports all the time."""
        if switch == ROOT:
            return self.ways_during(since, until) == {port}
        return port == UPLINK

    def _sent(self, switch: WatchedSwitch, sent: Sent) -> None:
        """Take note of a SET, at the instant at which the port has its value. Only the agent may send one."""
        world, where = self.world, f"snmp/{switch.name}/if/{sent.port}/"
        seen, by = world.witness.seen, f"agent {world.machine.lives}"
        power = sent.what == "power"

        def about(step: OpenStep) -> bool:
            return where + ("power-cycle" if power else sent.what) in str(step.do)

        subject = f"{switch.name}/{sent.port}"
        what = f"{sent.what} {sent.value}"
        world.witness.note(seen.sent if power else seen.writes, subject, by, what, about)
        if power and sent.value == "off":
            world.witness.note(seen.ended, subject, by, what, about)

    # --- people -------------------------------------------------------------------------------------------------------

    async def work(self, world: World, desk: Desk, within_s: float) -> None:
        """Ask for changes of ports, and look at what the agent says of them."""
        self._nursery.start_soon(self._watch)
        async with trio.open_nursery() as nursery:
            for n in range(ASKS):
                dice = random.Random(f"{world.options.seed} snmp ask {n}")
                if world.is_busy(f"snmp ask {n}"):
                    nursery.start_soon(self._ask, desk, dice, within_s)

    async def _ask(self, desk: Desk, dice: random.Random, within_s: float) -> None:
        await trio.sleep(dice.uniform(20, within_s))
        ports = [f"{name}/{port}" for name, port in dice.sample(self._houses(), dice.choice((1, 1, 1, 2)))]
        if dice.random() < 0.25:  # somebody mistakes a port
            ports = [dice.choice((f"{ROOT}/{WAY}", f"{MIDDLE}/{UPLINK}", f"{LEAF}/{UPLINK}", f"{ROOT}/ge-1"))]
        action, fields = _wanted(dice)
        change = await self._change(desk, dice, lambda: desk.world.office.ask(action, *ports, **fields))
        if change is not None and action == "port-set" and dice.random() < 0.5:
            await trio.sleep(dice.uniform(5, 60))
            await self._change(desk, dice, lambda: desk.world.office.ask("revert", change=change["id"]))

    async def _change(self, desk: Desk, dice: random.Random, ask: Any) -> Json | None:
        """Have a change previewed, and see it through where everything was checked."""
        try:
            change: Json | None = await desk.patiently(ask)
        except ApiRefusedError as err:
            desk.refused.append(err.code)
            self.world.trace(f"people: a change of ports is refused: {err}")
            return None
        if change is None:
            return None
        if change["class"] == "unguarded":
            self.unchecked.add(change["plan_id"])
            self.world.trace(f"people: leave {change['id']}, of which something was not checked")
            return None
        await desk.see_through(change, change["action"], _subjects(change), dice)
        return change

    async def settle(self, world: World) -> None:
        """Have all switches well and within reach, and every cable in."""
        self.move_way(WAY)
        self._link()
        for switch in self.switches.values():
            switch.faults.clear()
            switch.dark_until = 0.0
            for port in list(switch.states):
                switch.set_link(port, up=True)
        self._nursery.start_soon(self._be_quiet)

    def _link(self) -> None:
        """Put the links between switches on again, as staff do who find a switch cut off."""
        for above, port in DOWNLINKS.values():
            switch = self.switches[above]
            if not switch.states[port][-1].on:
                switch.by_hand(port, on=True)

    async def _be_quiet(self) -> None:
        for _ in range(LINKS):  # a change that was frozen, or waited, may cut a link only now
            await trio.sleep(QUIET_AFTER_S / (LINKS + 1))
            self._link()
        await trio.sleep(QUIET_AFTER_S / (LINKS + 1))
        self._look_at_told()
        self.rates = await self._rates()
        ports = [(name, port) for name, switch in self.switches.items() for port in switch.states]
        self.told_at_rest = [Told(trio.current_time(), *at, self._known.get(at, "")) for at in ports]
        self._stack.enter_context(mock.patch.object(SnmpConnector, "poll_every_s", return_value=SELDOM_S))

    # --- what is told -------------------------------------------------------------------------------------------------

    async def _watch(self) -> None:
        """Look at what the agent has on record of ports, until all is at rest."""
        with trio.move_on_after(2500):
            while not self.told_at_rest:
                await trio.sleep(LOOK_S)
                self._look_at_told()

    def _look_at_told(self) -> None:
        """Note what came on record since the last look; not what a file brought that the agent did not have then."""
        log = self.world.witness.agent_log.log()
        if log is None:
            return
        try:
            rows = log.execute("SELECT target, name, state FROM line_part WHERE kind = 'port' AND gone = 0").fetchall()
        except sqlite3.OperationalError:
            return  # its tables are being made
        is_news, self._file = self._file in (None, log), log
        for target, port, state in rows:
            at = (target.partition("/")[2], port)
            if at[0] in self.switches and self._known.get(at) != state:
                self._known[at] = state
                if is_news:
                    self.told.append(Told(trio.current_time(), *at, state))

    async def _rates(self) -> dict[tuple[str, str], float]:
        """Return the highest rate of traffic that the agent has kept of each port, bits a second."""
        office, found = self.world.office, dict[tuple[str, str], float]()
        with suppress(ApiRefusedError, AgentAwayError):
            for name in self.switches:
                path = f"/v1/devices/{name}/series"
                for one in (await office.call("GET", path))["series"]:
                    if one["name"] not in ("in_bps", "out_bps"):
                        continue
                    port = one["of"].removeprefix("port/")
                    shown = await office.call("GET", f"{path}?{urlencode({'of': one['of'], 'name': one['name']})}")
                    high = max((point["high"] for point in shown["points"]), default=0.0)
                    found[name, port] = max(found.get((name, port), 0.0), high)
        return found

    def judge(self, evidence: Evidence) -> Iterable[Verdict]:
        """Return what must not be of ports."""
        log = self.world.witness.agent_log.log()
        assert log is not None
        return snmp_rules.judge(evidence, self, log, self.world.witness.agent_log.at_of)


async def _own_macs() -> list[str]:
    """Return the MAC addresses of the agent's machine in the world, in place of those of the machine of the test."""
    await trio.lowlevel.checkpoint()
    return [AGENT_MAC]


def _sink(switch: WatchedSwitch, version: int, *, inform: bool) -> Sink:
    if version == 2:
        return Sink(AGENT, LISTEN_PORT, Version.V2C, switch.community, inform=inform)
    return Sink(
        AGENT, LISTEN_PORT, Version.V3, user=next(user for user in USERS if user.name == "labpriv"), inform=inform
    )


def _subjects(change: Json) -> frozenset[str]:
    """Return the ports that a previewed change is about, as `SWITCH/PORT`."""
    found = (_TITLE.search(item["title"]) for item in change["items"] if item["state"] == "planned")
    return frozenset(f"{one[2]}/{one[1]}" for one in found if one is not None)


def _wanted(dice: random.Random) -> tuple[str, dict[str, Any]]:
    """Return what somebody asks of ports."""
    return dice.choice(
        [
            ("port-set", {"settings": {"admin": "down"}}),
            ("port-set", {"settings": {"admin": "down"}}),
            ("port-set", {"settings": {"admin": "up"}}),
            ("port-set", {"settings": {"alias": f"house {dice.randrange(1000)}"}}),
            ("port-power-cycle", {"settings": {"off-s": str(dice.randint(1, 5))}}),
            ("port-power-cycle", {"settings": {"off-s": str(dice.randint(1, 5))}}),
        ]
    )


def _billing(switch: str, port: str) -> dict[str, str]:
    values = {
        "subscriber": f"C-{switch}-{port}",
        "name": f"{switch} {port}",
        "service": "home",
        "login": f"{switch}-{port}@lan",
        "method": "none",
        "tariff": "Home 20M",
        "balance": "34.00",
        "mac": mac_of(switch, port).upper(),
    }
    return {**dict.fromkeys(COLUMNS, ""), **values}
