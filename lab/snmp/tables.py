"""Standard tables, row by row: system, interfaces, bridge, LLDP, power over Ethernet (RFC 3418, RFC 2863, RFC 4188,
RFC 4363, IEEE 802.1AB, RFC 3621). Pure.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

from lab.snmp import ber, values
from lab.snmp.device import Clock, Device
from lab.snmp.links import DOWN, IF_ENTRY, IF_X_ENTRY, UP
from lab.snmp.mib import Moving
from lab.snmp.values import Value

ETHERNET: Final = 6
WIFI: Final = 71
GPON: Final = 250

_SYSTEM: Final = "1.3.6.1.2.1.1"
_BRIDGE_PORT_IF: Final = "1.3.6.1.2.1.17.1.4.1.2"
_Q_FDB: Final = "1.3.6.1.2.1.17.7.1.2.2.1"
_LEARNED: Final = 3
_IP: Final = "1.3.6.1.2.1.4"
_POE: Final = "1.3.6.1.2.1.105.1.1.1"
_LLDP: Final = "1.0.8802.1.1.2.1"
_MAC_SUBTYPE: Final = 4  # of a chassis
_INTERFACE_SUBTYPE: Final = 5  # of a port: its ifName
_VLAN: Final = 1
_UPTIME_TICKS: Final = 8_640_000  # a day


def numbers(mac: str) -> str:
    """Return a MAC address as it stands in an index."""
    return ".".join(str(int(word, 16)) for word in mac.split(":"))


@dataclass(frozen=True, slots=True)
class Heard:
    """A neighbor as LLDP tells of it: name, MAC address of its chassis, ifName of its end, address for management."""

    name: str
    mac: str
    port: str
    address: str


class Tables:
    """Collects the values of a device."""

    def __init__(self, name: str, mac: str, description: str, object_id: str) -> None:
        self.name, self.mac = name, mac
        self.rows: dict[str, Value | Moving] = {
            f"{_SYSTEM}.1.0": values.string(description),
            f"{_SYSTEM}.2.0": values.oid(object_id),
            f"{_SYSTEM}.3.0": values.ticks(_UPTIME_TICKS),
            f"{_SYSTEM}.4.0": values.string("noc@isp.example"),
            f"{_SYSTEM}.5.0": values.string(name),
            f"{_SYSTEM}.6.0": values.string("lab"),
            f"{_LLDP}.3.1.0": values.integer(_MAC_SUBTYPE),
            f"{_LLDP}.3.2.0": values.mac(mac),
            f"{_LLDP}.3.3.0": values.string(name),
        }
        self._heard = 0

    def port(
        self, index: int, name: str, *, kind: int = ETHERNET, mbps: int = 1000, alias: str = "", up: bool = True
    ) -> None:
        """Add an interface."""
        state = values.integer(UP if up else DOWN)
        # an index above 2**31 is a negative number in the Integer32 columns that hold it
        told = values.integer(index - 2**32 if index >= 2**31 else index)
        mac = f"{self.mac[:-2]}{(int(self.mac[-2:], 16) + index) % 256:02x}"
        self.rows |= {
            f"{IF_ENTRY}.1.{index}": told,
            f"{IF_ENTRY}.2.{index}": values.string(name),
            f"{IF_ENTRY}.3.{index}": values.integer(kind),
            f"{IF_ENTRY}.4.{index}": values.integer(1500),
            f"{IF_ENTRY}.5.{index}": values.gauge(min(mbps * 1_000_000, 4_294_967_295)),
            f"{IF_ENTRY}.6.{index}": values.mac(mac),
            f"{IF_ENTRY}.7.{index}": values.integer(UP),
            f"{IF_ENTRY}.8.{index}": state,
            f"{IF_ENTRY}.9.{index}": values.ticks(3000 + index),
            **{f"{IF_ENTRY}.{c}.{index}": values.counter32(0) for c in (10, 11, 13, 14, 16, 17, 19, 20)},
            f"{IF_X_ENTRY}.1.{index}": values.string(name),
            **{f"{IF_X_ENTRY}.{c}.{index}": values.counter64(0) for c in range(6, 14)},
            f"{IF_X_ENTRY}.15.{index}": values.gauge(mbps),
            f"{IF_X_ENTRY}.18.{index}": values.string(alias),
        }
        if kind != GPON:
            self.rows |= {
                f"{_BRIDGE_PORT_IF}.{index}": values.integer(index),
                f"{_LLDP}.3.7.1.2.{index}": values.integer(_INTERFACE_SUBTYPE),
                f"{_LLDP}.3.7.1.3.{index}": values.string(name),
                f"{_LLDP}.3.7.1.4.{index}": values.string(name),
            }

    def power(self, index: int) -> None:
        """Let a port deliver power."""
        self.rows |= {f"{_POE}.3.1.{index}": values.integer(1), f"{_POE}.6.1.{index}": values.integer(3)}

    def managed(self, index: int, address: str, agent: str, agent_mac: str, port: int) -> None:
        """Have the device's own address at an interface, and the asker's MAC address learned at a port."""
        self.rows |= {
            f"{_IP}.20.1.1.{address}": values.ip(address),
            f"{_IP}.20.1.2.{address}": values.integer(index),
            f"{_IP}.22.1.2.{index}.{agent}": values.mac(agent_mac),
            f"{_IP}.22.1.4.{index}.{agent}": values.integer(_LEARNED),
        }
        self.learned(agent_mac, port)

    def hears(self, index: int, neighbor: Heard) -> None:
        """Add an LLDP neighbor at a port."""
        self._heard += 1
        row = f"0.{index}.{self._heard}"
        self.rows |= {
            f"{_LLDP}.4.1.1.4.{row}": values.integer(_MAC_SUBTYPE),
            f"{_LLDP}.4.1.1.5.{row}": values.mac(neighbor.mac),
            f"{_LLDP}.4.1.1.6.{row}": values.integer(_INTERFACE_SUBTYPE),
            f"{_LLDP}.4.1.1.7.{row}": values.string(neighbor.port),
            f"{_LLDP}.4.1.1.8.{row}": values.string(neighbor.port),
            f"{_LLDP}.4.1.1.9.{row}": values.string(neighbor.name),
            f"{_LLDP}.4.1.1.10.{row}": values.string("lab"),
            f"{_LLDP}.4.2.1.3.{row}.1.4.{neighbor.address}": values.integer(2),
            f"{_LLDP}.4.2.1.4.{row}.1.4.{neighbor.address}": values.integer(1),
        }

    def learned(self, mac: str, index: int) -> None:
        """Add a MAC address that was learned at a port."""
        self.rows |= learned(mac, index)

    def device(self, clock: Clock = time.time) -> Device:
        """Return the device, with uptime and counters in motion."""
        device = Device(self.name, {ber.oid(oid): value for oid, value in self.rows.items()}, clock=clock)
        device.move()
        return device


def access_switch(number: int, ports: int, clock: Clock = time.time) -> Device:
    """Return the switch `sw-NUMBER` with so many ports, all up and carrying traffic."""
    mac = f"02:4e:{number >> 8 & 255:02x}:{number & 255:02x}:00:00"
    switch = Tables(f"sw-{number}", mac, f"Access switch, {ports} ports", "1.3.6.1.4.1.8072.3.2.10")
    for index in range(1, ports + 1):
        switch.port(index, f"ge-{index}", alias=f"customer {number}-{index}")
    return switch.device(clock)


def learned(mac: str, index: int) -> dict[str, Value | Moving]:
    """Return the rows of a MAC address that was learned at a port (dot1qTpFdbTable)."""
    row = f"{_VLAN}.{numbers(mac)}"
    return {f"{_Q_FDB}.2.{row}": values.integer(index), f"{_Q_FDB}.3.{row}": values.integer(_LEARNED)}
