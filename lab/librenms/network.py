"""A small network that a LibreNMS polls: a switch, a tower with a radio, and subscribers behind both."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from lab.librenms.system import LabDevice, LabPort, LabSensor, Librenms

CORE: Final = "core-1.example.net"
TOWER: Final = "tower-1.example.net"
FIRST: Final = 5
"""Port of the switch that the first subscriber has."""


@dataclass(frozen=True)
class LabLine:
    """A subscriber's port at the switch."""

    login: str
    mac: str
    port: str


def fill(system: Librenms, customers: Iterable[tuple[str, str]]) -> Sequence[LabLine]:
    """Give a LibreNMS a switch, a tower behind its port 1, and a port of the switch for each customer.

    Args:
        system: an empty one.
        customers: login, and the MAC address of the CPE.
    """
    core = LabDevice(1, CORE, "10.9.0.1", "core-1", hardware="Switch 48", serial="SN-CORE")
    core.object_id = ".1.3.6.1.4.1.99999.1"
    tower = LabDevice(2, TOWER, "10.9.0.11", "tower-1", os="airos", hardware="Rocket", serial="SN-TOWER")
    tower.object_id = ".1.3.6.1.4.1.10002.1"
    system.devices |= {1: core, 2: tower}
    core.booted, tower.booted = int(system.clock()) - 900_000, int(system.clock()) - 86_400
    for n in range(1, FIRST):
        _port(system, core, n, f"ge-0/0/{n}")
    eth0 = _port(system, tower, 1, "eth0")
    _port(system, tower, 2, "ath0")
    now_s = int(system.clock())
    lines = []
    for n, (login, mac) in enumerate(customers, FIRST):
        port = _port(system, core, n, f"ge-0/0/{n}", alias=f"sub {login}")
        core.fdb.append((mac, port.id, 10, now_s))
        core.arp.append((mac, f"10.80.0.{n}", port.id))
        lines.append(LabLine(login, mac, port.name))
    uplink = next(port for port in core.ports.values() if port.index == 1)
    core.links.append(_link(core, uplink, tower, eth0))
    tower.links.append(_link(tower, eth0, core, uplink))
    for kind, label, value in (
        ("power", "Signal Level", -61.0),
        ("power", "Tx Power", 24.0),
        ("noise-floor", "Noise Floor", -96.0),
        ("frequency", "Radio Frequency", 5745.0),
        ("distance", "Distance", 4.4),
        ("clients", "Clients", 7.0),
        ("rate", "Rx Rate", 86_000_000.0),
        ("rate", "Tx Rate", 78_000_000.0),
    ):
        _sensor(system, tower, kind, label, value, wireless=True)
    _sensor(system, core, "temperature", "Chassis", 41.5)
    _sensor(system, core, "dbm", "ge-0/0/1 Receive Power", -7.25, port_index=1)
    _sensor(system, core, "dbm", "ge-0/0/1 Transmit Power", -2.5, port_index=1)
    system.poll()
    return lines


def _port(system: Librenms, device: LabDevice, index: int, name: str, alias: str = "") -> LabPort:
    port = LabPort(system.next_id(), index, name, alias, mac=f"00:00:5e:00:{device.id:02x}:{index:02x}")
    device.ports[port.id] = port
    return port


def _sensor(
    system: Librenms,
    device: LabDevice,
    kind: str,
    label: str,
    value: float,
    *,
    wireless: bool = False,
    port_index: int | None = None,
) -> None:
    number = system.next_id()
    device.sensors[number] = LabSensor(number, kind, label, value, wireless=wireless, port_index=port_index)


def _link(near: LabDevice, port: LabPort, far: LabDevice, far_port: LabPort) -> dict[str, object]:
    return {
        "id": near.id * 100 + port.index,
        "local_port_id": port.id,
        "local_device_id": near.id,
        "remote_port_id": far_port.id,
        "active": 1,
        "protocol": "lldp",
        "remote_hostname": far.name,
        "remote_device_id": far.id,
        "remote_port": far_port.name,
        "remote_platform": None,
        "remote_version": "a device",
    }
