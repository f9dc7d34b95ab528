"""Switches of the lab that keep a record of their own, by trio's time: how each port was set, and what was sent to it.

    agg-1 ─┬─ ge-6: whoever asks
           ├─ ge-1: sw-2 ─┬─ ge-2: sw-3 ── ge-2...: subscribers
           └─ ge-2...     └─ ge-3...

The record is the judge's truth: the agent cannot write it. A port is known by its name: its ifIndex changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import trio

from lab.snmp import ber, values
from lab.snmp.device import POE_ADMIN, Device
from lab.snmp.links import IF_ALIAS, IF_NAME, IF_X_ENTRY, UP, Port
from lab.snmp.tables import Heard, Tables, learned
from lab.snmp.values import Value

ROOT, MIDDLE, LEAF = "agg-1", "sw-2", "sw-3"
PORTS: Final = 6
AGENT, AGENT_MAC = "127.0.0.1", "02:4c:ff:ff:00:01"
WAY: Final = "ge-6"
"""The port of the root by which whoever asks reaches it, at first."""
OTHER_WAY: Final = "ge-5"
UPLINK: Final = "ge-1"
"""Of each other switch, the port towards the root."""
DOWNLINKS: Final = {MIDDLE: (ROOT, "ge-1"), LEAF: (MIDDLE, "ge-2")}
"""Of each switch, the switch and port above it."""
RATE_BPS: Final = 80_000_000
"""The traffic of each port, each way: its 32-bit counters wrap in seven minutes."""
_MANAGEMENT: Final = 1000


@dataclass(frozen=True, slots=True)
class PortState:
    """How a port is from a moment on. `up`: it carries traffic; `on`: it is switched on; `power`: it feeds."""

    at: float
    up: bool
    on: bool
    alias: str
    power: bool | None

    def reads(self, what: str) -> str:
        """Return what a field of it reads, as addresses name fields."""
        return {"admin": "up" if self.on else "down", "alias": self.alias, "power": "on" if self.power else "off"}[what]


@dataclass(frozen=True, slots=True)
class Sent:
    """A value that a SET brought to a port, at trio's time; `what` as addresses name it."""

    at: float
    port: str
    what: str
    value: str


class WatchedSwitch(Device):
    """A switch with its record. `on_sent`: told each value that a SET brought, once the port has it."""

    def __init__(self, *args: Any, **more: Any) -> None:
        """Begin with the values that it is given."""
        self.states: dict[str, list[PortState]] = {}
        self.sent: list[Sent] = []
        self.on_sent: Callable[[Sent], None] = lambda sent: None
        self.below: WatchedSwitch | None = None
        """The switch on one of its ports."""
        super().__init__(*args, **more)
        self.look()

    # --- its record ---------------------------------------------------------------------------------------------------

    def name_of(self, index: int) -> str:
        """Return the name of a port by its ifIndex now."""
        value = self.get(f"{IF_NAME}.{index}")
        return "" if value is None else value.text()

    def index_of(self, name: str) -> int:
        """Return the ifIndex of a port now."""
        return self.links.find(name).index

    def look(self) -> None:
        """Take note of ports that are otherwise than before."""
        for index, port in self.links.ports.items():
            name = self.name_of(index)
            power, alias = self.get(f"{POE_ADMIN}.1.{index}"), self.get(f"{IF_ALIAS}.{index}")
            state = PortState(
                trio.current_time(),
                port.oper == UP,
                port.switched_on,
                "" if alias is None else alias.text(),
                None if power is None else power.number() == UP,
            )
            past = self.states.setdefault(name, [])
            if not past or (past[-1].up, past[-1].on, past[-1].alias, past[-1].power) != (
                state.up,
                state.on,
                state.alias,
                state.power,
            ):
                past.append(state)

    def during(self, port: str, since: float, until: float) -> Iterator[PortState]:
        """Yield each state in which a port was during a time."""
        past = self.states[port]
        for n, state in enumerate(past):
            over = past[n + 1].at if n + 1 < len(past) else float("inf")
            if state.at <= until and over > since:
                yield state

    # --- what happens -------------------------------------------------------------------------------------------------

    def _link_changed(self, port: Port, now: float) -> None:
        super()._link_changed(port, now)
        self.look()
        for name, (above, by) in DOWNLINKS.items():
            here = (self.name, self.name_of(port.index)) == (above, by)
            if here and self.below is not None and self.below.name == name:
                self.below.set_link(UPLINK, up=port.oper == UP)

    def _wrote_admin(self, index: str, value: Value, now: float) -> None:
        super()._wrote_admin(index, value, now)
        self._took(index, "admin", "up" if value.number() == UP else "down")

    def _wrote_alias(self, index: str, value: Value, now: float) -> None:
        super()._wrote_alias(index, value, now)
        self._took(index, "alias", value.text())

    def _wrote_poe(self, index: str, value: Value, now: float) -> None:
        super()._wrote_poe(index, value, now)
        self._took(index.rpartition(".")[2], "power", "on" if value.number() == UP else "off")

    def _took(self, index: str, what: str, value: str) -> None:
        self.look()
        self.sent.append(Sent(trio.current_time(), self.name_of(int(index)), what, value))
        self.on_sent(self.sent[-1])

    def by_hand(self, port: str, *, alias: str = "", on: bool | None = None) -> None:
        """Be changed by another administrator."""
        index = self.index_of(port)
        if alias:
            self.put(f"{IF_ALIAS}.{index}", values.string(alias))
        if on is not None:
            self.links.switch(self.links.ports[index], on, self.clock())
        self.look()

    def feed_all(self) -> None:
        """Feed power by each port that can, as a switch does that restarts and had not saved what was set."""
        for index in self.links.ports:
            if self.get(where := f"{POE_ADMIN}.1.{index}") is not None:
                self.put(where, values.integer(UP))
        self.look()

    def number_anew(self, by: int) -> None:
        """Give each port another ifIndex."""
        self.renumber(by)
        if self.below is not None:
            self.below.upstream_port += by
        for port in self.links.ports.values():
            self.links.grow(port, RATE_BPS, self.clock())

    def move_way(self, to: str) -> None:
        """Have the way to whoever asks lead over another port of this switch."""
        for oid, value in learned(AGENT_MAC, int(to.removeprefix("ge-"))).items():
            self.put(oid, value)


def make_switches(clock: Callable[[], float]) -> dict[str, WatchedSwitch]:
    """Return the switches by name; nobody serves them yet."""
    names = (ROOT, MIDDLE, LEAF)
    macs = {name: f"02:4c:00:00:0{n}:00" for n, name in enumerate(names, 1)}
    addresses = {name: f"127.77.0.{n}" for n, name in enumerate(names, 1)}
    made: dict[str, WatchedSwitch] = {}
    for name in names:
        tables = Tables(name, macs[name], f"Switch, {PORTS} ports", "1.3.6.1.4.1.8072.3.2.10")
        heard = {UPLINK: DOWNLINKS[name]} if name in DOWNLINKS else {}
        heard |= {port: (below, UPLINK) for below, (above, port) in DOWNLINKS.items() if above == name}
        for index in range(1, PORTS + 1):
            port = f"ge-{index}"
            tables.port(index, port, alias=f"{name} {port}")
            if port in heard:
                other, far = heard[port]
                tables.hears(index, Heard(other, macs[other], far, addresses[other]))
            elif (name, port) != (ROOT, WAY):
                tables.power(index)
                tables.learned(mac_of(name, port), index)
        tables.managed(_MANAGEMENT, addresses[name], AGENT, AGENT_MAC, int((WAY if name == ROOT else UPLINK)[3:]))
        made[name] = _served(tables, clock)
    for name, (above, port) in DOWNLINKS.items():
        made[name].upstream, made[name].upstream_port = made[above], int(port.removeprefix("ge-"))
        made[above].below = made[name]
    return made


def mac_of(switch: str, port: str) -> str:
    """Return the MAC address of the CPE on a port."""
    return f"02:5c:00:00:0{switch[-1]}:0{port[-1]}"


def _served(tables: Tables, clock: Callable[[], float]) -> WatchedSwitch:
    given = {ber.oid(oid): value for oid, value in tables.rows.items()}
    switch = WatchedSwitch(tables.name, given, clock=clock, community="look", write_community="touch")
    if tables.name == LEAF:  # an old one: its 64-bit counters are missing
        for column in range(6, 14):
            switch.drop(f"{IF_X_ENTRY}.{column}")
    switch.move(RATE_BPS)
    return switch
