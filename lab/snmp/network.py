"""A small network: a switch, three towers with a radio each, an OLT, and the lines of subscribers behind them. Pure.

    core-1 ─┬─ port 48:   whoever asks
            ├─ port 1..3: tower-1 (airOS), tower-2 (RouterOS), tower-3 (ePMP): radios, their stations
            ├─ port 4:    olt-1: two PON ports, ONUs
            └─ port 5...: subscribers by Ethernet

The switch feeds tower-1 with power: it restarts with the port, or with the switch. The switch has the MAC addresses of
all CPE in its bridge table, a tower those of its own stations. On tower-3 stations have MAC addresses of their own,
which are not the CPE's; elsewhere the station is the CPE. An OLT knows an ONU's serial number and description alone.
"""

from __future__ import annotations

import enum
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Final

from lab.population import LabService
from lab.snmp import olt, tables, values
from lab.snmp.device import POE_ADMIN, Clock, Device
from lab.snmp.errors import NoSuchPartError, SnmpValueError
from lab.snmp.links import UP, Port
from lab.snmp.olt import Onu, pon_index
from lab.snmp.radios import MAKERS, WLAN, Maker, Rows, Station
from lab.snmp.tables import Heard, Tables

CORE: Final = "core-1"
OLT: Final = "olt-1"
TOWERS: Final = tuple(f"tower-{n}" for n in range(1, len(MAKERS) + 1))
OLT_PORT: Final = len(TOWERS) + 1
PORTS: Final = 48
WAY_PORT: Final = PORTS
"""The port of the switch by which whoever asks reaches it."""
AGENT_MAC: Final = "02:4c:ff:ff:00:01"
AGENT: Final = "127.0.0.1"
PONS: Final = 2
LINES_MAX: Final = 200
FED_PORT: Final = 1
"""The port of the switch that feeds the devices on it."""
_UPLINK: Final = 1
_BOOT_S: Final = 2.0
_PON_SLOT: Final = 1
_MANAGEMENT: Final = 1000  # ifIndex of the interface with its address, which it does not list
_BRIDGED: Final = 2  # of the towers: its stations have MAC addresses of their own
_UPLINK_NAMES: Final = {"tower-1": "eth0", "tower-2": "ether1", "tower-3": "LAN interface 1", OLT: "ethernet0/8/0"}
_WLAN_NAMES: Final = {"tower-1": "ath0", "tower-2": "wlan1", "tower-3": "WLAN interface"}


class Access(enum.Enum):
    """How a subscriber is connected."""

    ETHERNET = "ethernet"
    RADIO = "radio"
    FIBER = "fiber"


@dataclass(frozen=True, slots=True)
class Customer:
    """Somebody to connect: login, and the MAC address of the CPE, which the BNG sees too."""

    login: str
    mac: str


@dataclass(frozen=True, slots=True)
class Line:
    """Where a subscriber really is.

    Args:
        login: the subscriber's.
        mac: of the CPE, in lower case.
        access: how it is connected.
        device: the device's name.
        port: ifIndex of the port, radio or PON port.
        station: of a radio line.
        onu: of a fiber line.
    """

    login: str
    mac: str
    access: Access
    device: str
    port: int
    station: Station | None = None
    onu: Onu | None = None


def customers_of(services: Iterable[LabService]) -> list[Customer]:
    """Return the subscribers of the lab's ISP with CPE that dial in."""
    return [Customer(s.login, s.mac) for s in services if s.mapped and s.online][:LINES_MAX]


class Network:
    """The devices, and the lines by login. Made by `build_network`; served by `open_snmp_lab(network.devices)`."""

    def __init__(self, devices: Iterable[Device], lines: Iterable[Line]) -> None:
        self.devices = tuple(devices)
        self.lines = {line.login: line for line in lines}
        self._by_name = {device.name: device for device in self.devices}
        self._cut: set[str] = set()
        self._unpowered = False
        for name in (*TOWERS, OLT):
            self[name].upstream, self[name].upstream_port = self[CORE], _core_port(name)
        self[CORE].on_carrier.append(self._core_port_changed)

    def __getitem__(self, name: str) -> Device:
        try:
            return self._by_name[name]
        except KeyError:
            raise NoSuchPartError(f"expected one of {', '.join(self._by_name)}, got {name!r}") from None

    def line(self, login: str) -> Line:
        """Return where a subscriber is.

        Raises:
            NoSuchPartError: there is no such one.
        """
        try:
            return self.lines[login]
        except KeyError:
            raise NoSuchPartError(f"expected a login of this network, got {login!r}") from None

    def lines_by(self, access: Access) -> list[Line]:
        """Return the lines of one kind."""
        return [line for line in self.lines.values() if line.access is access]

    def works(self, login: str) -> bool:
        """Tell whether a line works: not cut, its port up, its device within reach. Raises as `line` does."""
        line = self.line(login)
        device = self[line.device]
        return login not in self._cut and device.links.ports[line.port].oper == UP and device.reachable()

    # --- what happens -------------------------------------------------------------------------------------------------

    def fade(self, login: str, to_dbm: int, over_s: float) -> None:
        """Let the signal of a radio line, or the light of a fiber line, go to so many dBm within so many seconds.

        Raises:
            NoSuchPartError: no such subscriber, or one by Ethernet.
        """
        line = self.line(login)
        if line.station is not None:
            self[line.device].fade(_maker(line).signal(line.station), to_dbm, over_s)
        elif line.onu is not None:
            self[line.device].fade(olt.rx_power_oid(line.onu), to_dbm * 100, over_s)
        else:
            raise NoSuchPartError(f"{login}: expected a radio or fiber line, got one by Ethernet")

    def cut(self, login: str) -> None:
        """Break a line: the cable is out, the station is gone, or the light is lost. Raises as `line` does."""
        line = self.line(login)
        device = self[line.device]
        self._cut.add(login)
        if line.station is not None:
            for oid in _maker(line).station(line.station) | tables.learned(line.mac, WLAN):
                device.drop(oid)
        elif line.onu is not None:
            _put(device, olt.darkness(line.onu))
        else:
            device.set_link(line.port, up=False)
        self._follow(line)

    def mend(self, login: str) -> None:
        """Let a line work again as it did at first. Raises as `line` does."""
        line = self.line(login)
        device = self[line.device]
        self._cut.discard(login)
        if line.station is not None:
            _put(device, _maker(line).station(line.station) | tables.learned(line.mac, WLAN))
        elif line.onu is not None:
            _put(device, olt.light(line.onu))
        else:
            device.set_link(line.port, up=True)
        self._follow(line)

    def reboot(self, name: str, takes_s: float) -> None:
        """Restart a device. Those behind the switch are out of reach with it, and see their uplinks go down and up.

        Raises:
            NoSuchPartError: there is no such device.
        """
        device, core = self[name], self[CORE]
        device.reboot(takes_s)
        if device is not core:
            core.set_link(_core_port(name), up=False)
            core.later(takes_s, partial(core.set_link, _core_port(name), up=True))
            return
        for behind in (self[name] for name in (*TOWERS, OLT)):
            if _core_port(behind.name) == FED_PORT:
                behind.reboot(takes_s + _BOOT_S)
            behind.set_link(_UPLINK, up=False)
            behind.later(takes_s, partial(behind.set_link, _UPLINK, up=True))

    # --- what follows -------------------------------------------------------------------------------------------------

    def _core_port_changed(self, port: Port, now: float) -> None:
        """Let the bridge table follow a port of the switch, and its device restart when power comes back."""
        if port.index == FED_PORT:
            power = self[CORE].get(f"{POE_ADMIN}.1.{port.index}")
            if port.oper == UP and self._unpowered:
                self[TOWERS[FED_PORT - 1]].reboot(_BOOT_S)
            self._unpowered = port.oper != UP and power is not None and power.number() != UP
        for line in self.lines.values():
            if self._port_at_core(line) == port.index:
                self._show_at_core(line)

    def _follow(self, line: Line) -> None:
        self._show_at_core(line)
        if line.station is not None:
            oid, tag = _maker(line).clients()
            left = [other for other in self.lines.values() if other.device == line.device]
            self[line.device].put(oid, values.number(tag, sum(other.login not in self._cut for other in left)))

    def _port_at_core(self, line: Line) -> int:
        return line.port if line.access is Access.ETHERNET else _core_port(line.device)

    def _show_at_core(self, line: Line) -> None:
        """Let the switch know a CPE's MAC address where frames of it arrive, and nowhere else."""
        core, index = self[CORE], self._port_at_core(line)
        rows = tables.learned(line.mac, index)
        if line.login not in self._cut and core.links.ports[index].oper == UP:
            _put(core, rows)
        else:
            for oid in rows:
                core.drop(oid)


def _put(device: Device, rows: Rows) -> None:
    for oid, value in rows.items():
        device.put(oid, value)


def _core_port(name: str) -> int:
    """Return the port of the switch that leads to a device."""
    return OLT_PORT if name == OLT else TOWERS.index(name) + 1


def _maker(line: Line) -> Maker:
    return MAKERS[TOWERS.index(line.device)]


# --- building ---------------------------------------------------------------------------------------------------------


def _mac(number: int) -> str:
    """Return a MAC address of the network's own equipment, which no CPE has."""
    return f"02:4c:{number >> 8:02x}:{number & 255:02x}:00:00"


def build_network(customers: Iterable[Customer], clock: Clock = time.time) -> Network:
    """Return a network with these customers, in turns by radio (three of five), fiber and Ethernet.

    Raises:
        SnmpValueError: more than 200 customers, a login twice, or a MAC address that is none.
    """
    given = list(customers)
    if len(given) > LINES_MAX or len({c.login for c in given}) != len(given):
        raise SnmpValueError(f"expected at most {LINES_MAX} customers, each login once, got {len(given)}")
    lines = [_line(customer, n) for n, customer in enumerate(given)]
    names = (CORE, *TOWERS, OLT)
    addresses = {name: f"127.77.0.{n}" for n, name in enumerate(names, 1)}
    macs = {name: _mac(n) for n, name in enumerate(names, 1)}
    core = Tables(CORE, macs[CORE], "EdgeSwitch 24-Port 250W, 1.9.3, Linux 3.6.5", "1.3.6.1.4.1.4413")
    equipment = [core]
    uplink_at = {name: Heard(CORE, macs[CORE], f"0/{_core_port(name)}", addresses[CORE]) for name in names[1:]}
    for index in range(1, PORTS + 1):
        behind = names[index] if index < len(names) else ""
        line = next((ln for ln in lines if ln.device == CORE and ln.port == index), None)
        alias = line.login if line else behind
        core.port(index, f"0/{index}", alias=alias, up=bool(alias) or index == WAY_PORT)
        core.power(index)
        if behind:
            core.hears(index, Heard(behind, macs[behind], _UPLINK_NAMES[behind], addresses[behind]))
    core.managed(_MANAGEMENT, addresses[CORE], AGENT, AGENT_MAC, WAY_PORT)
    for line in lines:
        core.learned(line.mac, line.port if line.access is Access.ETHERNET else _core_port(line.device))
    for name, maker in zip(TOWERS, MAKERS, strict=True):
        equipment.append(_tower(name, maker, macs[name], [ln for ln in lines if ln.device == name], uplink_at[name]))
    equipment.append(_olt(macs[OLT], [ln for ln in lines if ln.device == OLT], uplink_at[OLT]))
    return Network([each.device(clock) for each in equipment], lines)


def _line(customer: Customer, n: int) -> Line:
    """Return the n-th customer's line."""
    mac, turn, row = customer.mac.lower(), n % 5, n // 5 + 1
    if turn < len(TOWERS):
        own = f"02:4d:{turn:02x}:00:{row >> 8:02x}:{row & 255:02x}" if turn == _BRIDGED else mac
        station = Station(own, customer.login, row, -55 - n % 9)
        return Line(customer.login, mac, Access.RADIO, TOWERS[turn], WLAN, station=station)
    if turn == len(TOWERS):
        pon = pon_index(_PON_SLOT, row % PONS)
        onu = Onu(f"HWTC{0x0A000000 + n:08X}", customer.login, pon, row // PONS, -1900 - 10 * (n % 20), -2150)
        return Line(customer.login, mac, Access.FIBER, OLT, pon, onu=onu)
    return Line(customer.login, mac, Access.ETHERNET, CORE, OLT_PORT + row)


def _tower(name: str, maker: Maker, mac: str, lines: list[Line], uplink: Heard) -> Tables:
    tower = Tables(name, mac, maker.description, maker.object_id)
    tower.port(_UPLINK, _UPLINK_NAMES[name])
    tower.port(WLAN, _WLAN_NAMES[name], kind=tables.WIFI, mbps=300)
    tower.hears(_UPLINK, uplink)
    tower.rows |= maker.radio(f"lab-{name}", 5180 + 100 * TOWERS.index(name), len(lines))
    for line in lines:
        if line.station is not None:
            tower.rows |= maker.station(line.station)
            tower.learned(line.mac, WLAN)
    return tower


def _olt(mac: str, lines: list[Line], uplink: Heard) -> Tables:
    terminal = Tables(OLT, mac, olt.DESCRIPTION, olt.OBJECT_ID)
    terminal.port(_UPLINK, _UPLINK_NAMES[OLT])
    terminal.hears(_UPLINK, uplink)
    for port in range(PONS):
        terminal.port(pon_index(_PON_SLOT, port), f"GPON 0/{_PON_SLOT}/{port}", kind=tables.GPON, mbps=2488)
    for line in lines:
        if line.onu is not None:
            terminal.rows |= olt.rows(line.onu)
    return terminal
