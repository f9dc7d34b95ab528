"""The state of a LibreNMS, and its answers."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from typing import Any, Final
from zoneinfo import ZoneInfo

from lab.billing.server import WebReply, WebRequest

PREFIX: Final = "/api/v0"
TOKEN: Final = "0123456789abcdef0123456789abcdef"
COMMUNITY: Final = "Lab-Community-7f3a"
"""It stands in every device's row. Whoever reads the API must not keep it."""
PERIOD_S: Final = 300


@dataclass
class LabPort:
    """A port as LibreNMS knows it. `extra`: other columns of its table."""

    id: int
    index: int
    name: str
    alias: str = ""
    oper: str = "up"
    admin: str = "up"
    mac: str = ""
    speed: int = 1_000_000_000
    in_octets: int = 0
    out_octets: int = 0
    in_errors: int = 0
    disabled: int = 0
    deleted: int = 0
    poll_time: int | None = None
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass
class LabSensor:
    """A sensor. `wireless`: of the table of wireless sensors. `port_index`: ifIndex of the measured port."""

    id: int
    kind: str
    label: str
    value: float | None
    index: str = "1"
    wireless: bool = False
    port_index: int | None = None


@dataclass
class LabDevice:
    """A device as LibreNMS knows it.

    `booted`: when it started, unix seconds. `fdb`: MAC address, port id, VLAN number, seen; `arp`: MAC, address, port.
    """

    id: int
    hostname: str
    ip: str
    name: str = ""
    os: str = "linux"
    hardware: str = "Model"
    serial: str = ""
    object_id: str = ".1.3.6.1.4.1.8072.3.2.10"
    port: int = 161
    status: int = 1
    reason: str = ""
    ignore: int = 0
    disabled: int = 0
    booted: int | None = None
    polled: int | None = None
    outages: list[dict[str, int | None]] = field(default_factory=list)
    ports: dict[int, LabPort] = field(default_factory=dict)
    sensors: dict[int, LabSensor] = field(default_factory=dict)
    fdb: list[tuple[str, int, int, int]] = field(default_factory=list)
    arp: list[tuple[str, str, int]] = field(default_factory=list)
    links: list[dict[str, Any]] = field(default_factory=list)


class Librenms:
    """One LibreNMS. `global_read` false: the token's user may see devices and no ARP. `texts`: an older release."""

    def __init__(
        self,
        devices: Iterable[LabDevice] = (),
        *,
        zone: str = "UTC",
        clock: Callable[[], float] = time.time,
        global_read: bool = True,
        texts: bool = False,
    ) -> None:
        self.devices = {device.id: device for device in devices}
        self.token, self.global_read, self.texts = TOKEN, global_read, texts
        self.zone: tzinfo = ZoneInfo(zone)
        self.clock = clock
        self.stopped = False
        """Whether the poller stands still."""
        self._last_id = 1000

    def next_id(self) -> int:
        """Return an id that nothing has."""
        self._last_id += 1
        return self._last_id

    def named(self, hostname: str) -> LabDevice:
        """Return a device."""
        return next(device for device in self.devices.values() if device.hostname == hostname)

    def poll(self, *hostnames: str, ago_s: int = 0) -> None:
        """Poll devices, or all of them, as its poller does: those that are down are tried in vain."""
        if self.stopped:
            return
        now_s = int(self.clock()) - ago_s
        for device in self.devices.values():
            if device.disabled or not device.status or (hostnames and device.hostname not in hostnames):
                continue
            device.polled = now_s
            for port in device.ports.values():
                if not port.disabled and not port.deleted:
                    port.poll_time = now_s

    def goes_down(self, hostname: str, reason: str = "icmp", ago_s: int = 0) -> None:
        """Let a device be down."""
        device = self.named(hostname)
        device.status, device.reason = 0, reason
        device.outages.insert(0, {"going_down": int(self.clock()) - ago_s, "up_again": None})

    def comes_up(self, hostname: str) -> None:
        """Let a device be up, and polled."""
        device = self.named(hostname)
        device.status, device.reason = 1, ""
        for outage in device.outages:
            outage["up_again"] = outage["up_again"] or int(self.clock())
        self.poll(hostname)

    # --- answers ---

    def answer(self, request: WebRequest) -> WebReply:
        """Return the answer to a request."""
        if request.headers.get("x-auth-token") != self.token:
            return WebReply(401, {"message": "Unauthenticated."})
        if request.method != "GET" or not request.path.startswith(f"{PREFIX}/"):
            return _error(404, "This API route doesn't exist.")
        reply = self._route(request.path.removeprefix(f"{PREFIX}/").split("/"), request)
        if self.texts and reply.status == 200:
            reply.json = json.loads(json.dumps(reply.json), parse_int=str, parse_float=str)
        return reply

    def _route(self, path: list[str], request: WebRequest) -> WebReply:
        match path:
            case ["devices"]:
                return _listed("devices", [self._device(device) for device in self.devices.values()])
            case ["devices", key, *rest] if (device := self._by(key)) is not None:
                return self._of_device(device, rest, request)
            case ["devices", key, *_]:
                return _error(404, f"Device {key} does not exist")
            case ["resources", "sensors"]:
                rows = [
                    _sensor(device, one) for device in self.devices.values() for one in device.sensors.values()
                    if not one.wireless
                ]  # fmt: skip
                return _listed("sensors", rows) if rows else _error(404, "Sensors do not exist")
            case ["resources", "vlans"]:
                numbers = sorted({row[2] for device in self.devices.values() for row in device.fdb if row[2]})
                rows = [{"vlan_id": 5000 + number, "vlan_vlan": number, "device_id": 1} for number in numbers]
                return _listed("vlans", rows) if rows else _error(404, "VLANs do not exist")
            case ["resources", "ip", "arp", "all"]:
                found = self._by(request.one("device"))
                if not self.global_read:
                    return _error(403, "This action is unauthorized.")
                if found is None:
                    return _error(400, "Device argument is required when requesting all entries")
                return _listed("arp", [
                    {"port_id": port, "mac_address": mac.replace(":", ""), "ipv4_address": address, "context_name": ""}
                    for mac, address, port in found.arp
                ])  # fmt: skip
        return _error(404, "This API route doesn't exist.")

    def _of_device(self, device: LabDevice, rest: list[str], request: WebRequest) -> WebReply:
        wireless = [one for one in device.sensors.values() if one.wireless]
        match rest:
            case ["ports"]:
                columns = request.one("columns", "ifName").split(",")
                ports = [self._port(port) for port in device.ports.values() if not port.deleted]
                unknown = set(columns) - _COLUMNS
                if unknown:
                    return _error(400, f"Invalid columns: {','.join(sorted(unknown))}")
                return _listed("ports", [{name: port.get(name) for name in columns} for port in ports])
            case ["fdb"]:
                return _listed("ports_fdb", [
                    {
                        "ports_fdb_id": n, "port_id": port, "mac_address": mac.replace(":", ""), "device_id": device.id,
                        "vlan_id": 5000 + vlan if vlan else 0, "created_at": None, "updated_at": self._text(seen),
                    }
                    for n, (mac, port, vlan, seen) in enumerate(device.fdb)
                ])  # fmt: skip
            case ["links"]:
                return _listed("links", device.links) if device.links else _error(404, "Links do not exist")
            case ["outages"]:
                return _listed("outages", device.outages)
            case ["wireless"]:
                kinds = sorted({one.kind for one in wireless})
                return _listed("graphs", [{"desc": k.title(), "name": f"device_wireless_{k}"} for k in kinds])
            case ["wireless", kind]:
                return _listed("graphs", [
                    {"sensor_id": one.id, "desc": one.label} for one in wireless
                    if f"device_wireless_{one.kind}" == kind
                ])  # fmt: skip
            case ["wireless", _, key]:
                return _listed("graphs", [_sensor(device, one) for one in wireless if str(one.id) == key])
        return _error(404, "This API route doesn't exist.")

    def _by(self, key: str) -> LabDevice | None:
        if key.isdigit():
            return self.devices.get(int(key))
        return next((device for device in self.devices.values() if device.hostname == key), None)

    def _text(self, unix_s: int | None) -> str | None:
        return None if unix_s is None else datetime.fromtimestamp(unix_s, self.zone).strftime("%Y-%m-%d %H:%M:%S")

    def _device(self, d: LabDevice) -> dict[str, Any]:
        uptime = None if d.booted is None or d.polled is None else d.polled - d.booted
        return {
            "device_id": d.id, "hostname": d.hostname, "sysName": d.name or d.hostname, "display": None, "ip": d.ip,
            "overwrite_ip": None, "community": COMMUNITY, "authname": None, "authpass": None, "cryptopass": None,
            "snmpver": "v2c", "port": d.port, "transport": "udp", "sysObjectID": d.object_id, "sysDescr": "a device",
            "version": "1.0", "hardware": d.hardware, "os": d.os, "status": d.status, "status_reason": d.reason,
            "ignore": d.ignore, "disabled": d.disabled, "uptime": uptime, "last_polled": self._text(d.polled),
            "last_poll_attempted": None, "last_polled_timetaken": 3.52, "type": "network", "serial": d.serial or None,
            "lat": None, "lng": None, "location": "",
        }  # fmt: skip

    def _port(self, p: LabPort) -> dict[str, Any]:
        return {
            "port_id": p.id, "ifIndex": p.index, "ifName": p.name, "ifDescr": p.name, "ifAlias": p.alias or p.name,
            "ifType": "ethernetCsmacd", "ifMtu": 1500, "ifAdminStatus": p.admin, "ifOperStatus": p.oper,
            "ifPhysAddress": p.mac.replace(":", "") or None, "ifSpeed": p.speed, "disabled": p.disabled,
            "deleted": p.deleted, "poll_time": p.poll_time, "poll_period": PERIOD_S, "ifInOctets": p.in_octets,
            "ifOutOctets": p.out_octets, "ifInUcastPkts": 0, "ifOutUcastPkts": 0, "ifInErrors": p.in_errors,
            "ifOutErrors": 0, **p.extra,
        }  # fmt: skip


_COLUMNS: Final = {
    "port_id", "device_id", "ifIndex", "ifName", "ifDescr", "ifAlias", "ifType", "ifMtu", "ifAdminStatus",
    "ifOperStatus", "ifPhysAddress", "ifSpeed", "ifHighSpeed", "ifVlan", "ignore", "disabled", "deleted", "poll_time",
    "poll_period", "poll_prev", "ifInOctets", "ifOutOctets", "ifInUcastPkts", "ifOutUcastPkts", "ifInErrors",
    "ifOutErrors", "ifInOctets_rate", "ifOutOctets_rate", "ifLastChange",
}  # fmt: skip


def _sensor(device: LabDevice, s: LabSensor) -> dict[str, Any]:
    return {
        "sensor_id": s.id, "device_id": device.id, "sensor_deleted": 0, "sensor_class": s.kind, "sensor_type": "lab",
        "sensor_index": s.index, "sensor_descr": s.label, "sensor_divisor": 1, "sensor_multiplier": 1,
        "sensor_current": s.value, "sensor_limit": None, "lastupdate": "2026-11-28 10:00:00",
        "entPhysicalIndex": None if s.port_index is None else str(s.port_index),
        "entPhysicalIndex_measured": None if s.port_index is None else "ports",
    }  # fmt: skip


def _listed(name: str, rows: list[Any]) -> WebReply:
    return WebReply(200, {"status": "ok", name: rows, "count": len(rows)})


def _error(status: int, message: str) -> WebReply:
    return WebReply(status, {"status": "error", "message": message})
