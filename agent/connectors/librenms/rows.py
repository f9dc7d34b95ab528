"""Rows of LibreNMS' API (v0), each field in the form that its documentation says. Pure.

* Numbers come as numbers or as texts of digits, and flags as 0 and 1, "0" and "1", or true and false: releases differ.
* A field that is another thing makes the whole answer malformed; null and a missing field are absent.
* Of a device the API tells the SNMP community and keys too. They are never taken.
* Times of `devices` have no zone: they are of LibreNMS' database. `poll_time` of `ports` is unix seconds.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from decimal import Decimal
from typing import Final, NoReturn

from agent.connectors.librenms.errors import MalformedLibrenmsError
from agent.line_model.reading import COUNTERS

_WHOLE: Final = re.compile(r"-?[0-9]{1,20}", re.ASCII)
_DECIMAL: Final = re.compile(r"-?[0-9]{1,20}(?:\.[0-9]{1,20})?(?:[eE][+-]?[0-9]{1,2})?", re.ASCII)
_MOMENT: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?Z?", re.ASCII)
_HEX_MAC: Final = re.compile(r"[0-9a-f]{12}", re.ASCII)
_TEXT_MOST: Final = 2000
_NUMBER_MOST: Final = 1 << 64
ROWS_MOST: Final = 50_000
"""Rows of one list. The ports of one device, or the sensors of all devices."""
COUNTER_COLUMNS: Final = {
    "in_octets": "ifInOctets",
    "out_octets": "ifOutOctets",
    "in_packets": "ifInUcastPkts",
    "out_packets": "ifOutUcastPkts",
    "in_errors": "ifInErrors",
    "out_errors": "ifOutErrors",
}
"""Counter of a part -> column of `ports`. Discards are in a table of its own, which the API does not list."""
PORT_COLUMNS: Final = (
    "port_id", "ifIndex", "ifName", "ifDescr", "ifAlias", "ifType", "ifMtu", "ifAdminStatus", "ifOperStatus",
    "ifPhysAddress", "ifSpeed", "disabled", "deleted", "poll_time", "poll_period", *COUNTER_COLUMNS.values(),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ApiRow:
    """A row of an answer. `where`: the question and the row, for messages."""

    where: str
    fields: Mapping[str, object]

    def text(self, name: str) -> str:
        """Return a text, a number as it is written; "" where there is none.

        Raises:
            MalformedLibrenmsError: it is another thing.
        """
        value = self.fields.get(name)
        if value is None:
            return ""
        if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
            return self._wrong(name, "a text")
        return " ".join(str(value)[:_TEXT_MOST].split())

    def whole(self, name: str) -> int | None:
        """Return a whole number; None where there is none.

        Raises:
            MalformedLibrenmsError: it is another thing.
        """
        value = self.fields.get(name)
        if value is None or value == "":
            return None
        if isinstance(value, str) and _WHOLE.fullmatch(value):
            value = int(value)
        if isinstance(value, Decimal) and value == value.to_integral_value():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not -_NUMBER_MOST < value < _NUMBER_MOST:
            return self._wrong(name, "a whole number")
        return value

    def number(self, name: str) -> float | None:
        """Return a number; None where there is none.

        Raises:
            MalformedLibrenmsError: it is another thing.
        """
        value = self.fields.get(name)
        if value is None or value == "":
            return None
        if isinstance(value, bool) or not isinstance(value, str | int | Decimal) or not _DECIMAL.fullmatch(str(value)):
            return self._wrong(name, "a number")
        found = float(value)
        return found if math.isfinite(found) else None

    def flag(self, name: str) -> bool:
        """Return true or false, also of 1 and 0; false where there is none.

        Raises:
            MalformedLibrenmsError: it is another thing.
        """
        value = self.fields.get(name)
        if value is None or isinstance(value, bool):
            return bool(value)
        if str(value) not in ("0", "1"):
            return self._wrong(name, "0 or 1")
        return str(value) == "1"

    def id(self, name: str) -> int:
        """Return an id, which is a whole number.

        Raises:
            MalformedLibrenmsError: it is missing or another thing.
        """
        found = self.whole(name)
        return found if found is not None and found >= 0 else self._wrong(name, "an id")

    def moment_s(self, name: str, zone: tzinfo) -> int | None:
        """Return a time as unix seconds; None where there is none.

        Raises:
            MalformedLibrenmsError: it is another thing.
        """
        value = self.fields.get(name)
        if value is None or value in ("", "0000-00-00 00:00:00"):
            return None
        if not isinstance(value, str) or not _MOMENT.fullmatch(value):
            return self._wrong(name, "a time such as 2026-11-28 10:15:00")
        try:
            at = datetime.fromisoformat(value)
            return int((at if at.tzinfo else at.replace(tzinfo=zone)).timestamp())
        except (ValueError, OverflowError):
            return self._wrong(name, "a time such as 2026-11-28 10:15:00")

    def mac(self, name: str) -> str:
        """Return a MAC address in lower case with colons; "" where there is none, or something else of hardware."""
        digits = re.sub(r"[:.-]", "", self.text(name)).lower()
        return ":".join(digits[n : n + 2] for n in range(0, 12, 2)) if _HEX_MAC.fullmatch(digits) else ""

    def _wrong(self, name: str, expected: str) -> NoReturn:
        raise MalformedLibrenmsError(f"{self.where}: expected {expected} in {name}, got something else")


def list_untrusted(answer: object, name: str, where: str) -> list[ApiRow]:
    """Return the rows of an answer.

    Args:
        answer: as JSON.
        name: of the list in it.
        where: the question, for messages.

    Raises:
        MalformedLibrenmsError: it has no such list of objects.
    """
    found = answer.get(name) if isinstance(answer, dict) else None
    if isinstance(found, dict):
        found = list(found.values())  # PHP writes a list with gaps in its numbers as an object
    if not isinstance(found, list) or len(found) > ROWS_MOST:
        raise MalformedLibrenmsError(f"{where}: expected a list {name} of at most {ROWS_MOST} rows, got something else")
    rows = []
    for number, row in enumerate(found, 1):
        if not isinstance(row, dict):
            raise MalformedLibrenmsError(f"{where}: expected an object in row {number} of {name}, got something else")
        rows.append(ApiRow(f"{where}, row {number}", row))
    return rows


# --- devices ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DeviceRow:
    """A device. `polled`: the time of the last whole poll as it is written; `polled_s`: unix seconds, None: never."""

    id: int
    hostname: str
    name: str
    address: str
    port: int
    object_id: str
    description: str
    hardware: str
    version: str
    serial: str
    os: str
    up: bool
    down_by: str
    ignored: bool
    disabled: bool
    uptime_s: float | None
    polled: str
    polled_s: int | None


def device_untrusted(row: ApiRow, zone: tzinfo) -> DeviceRow:
    """Return a device from LibreNMS' row of it.

    Raises:
        MalformedLibrenmsError: a field is not as documented.
    """
    hostname = row.text("hostname")
    return DeviceRow(
        row.id("device_id"),
        hostname,
        row.text("sysName"),
        row.text("overwrite_ip") or row.text("ip") or hostname,
        row.whole("port") or 161,
        _object_id(row.text("sysObjectID")),
        row.text("sysDescr"),
        row.text("hardware"),
        row.text("version"),
        row.text("serial"),
        row.text("os"),
        row.flag("status"),
        row.text("status_reason"),
        row.flag("ignore"),
        row.flag("disabled"),
        row.number("uptime"),
        row.text("last_polled"),
        row.moment_s("last_polled", zone),
    )


def _object_id(text: str) -> str:
    """Return sysObjectID in dots; LibreNMS keeps it with a dot in front, and did as net-snmp prints it."""
    return re.sub(r"^\.|^(?:SNMPv2-SMI::)?enterprises\.", lambda m: "" if m[0] == "." else "1.3.6.1.4.1.", text)


def down_since_untrusted(rows: Sequence[ApiRow]) -> int | None:
    """Return when the outage began that is not over, unix seconds; None: there is none.

    Raises:
        MalformedLibrenmsError: a field is not as documented.
    """
    running = [row.whole("going_down") for row in rows if not row.whole("up_again")]
    return max((at_s for at_s in running if at_s is not None), default=None)


# --- what is on a device ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PortRow:
    """A port. `polled_s`: when it was polled, unix seconds; None: it never was."""

    id: int
    index: int | None
    name: str
    description: str
    alias: str
    type: str
    mtu: int | None
    admin: str
    oper: str
    mac: str
    speed_bps: float | None
    left_out: bool
    polled_s: int | None
    period_s: float | None
    counters: Mapping[str, int]


def port_untrusted(row: ApiRow) -> PortRow:
    """Return a port from LibreNMS' row of it.

    Raises:
        MalformedLibrenmsError: a field is not as documented.
    """
    found = {counter: row.whole(column) for counter, column in COUNTER_COLUMNS.items() if counter in COUNTERS}
    name, description = row.text("ifName"), row.text("ifDescr")
    alias = row.text("ifAlias")
    return PortRow(
        row.id("port_id"),
        row.whole("ifIndex"),
        name or description or row.text("ifIndex"),
        description,
        "" if alias in (name, description) else alias,  # LibreNMS writes the name where a device has no description
        row.text("ifType"),
        row.whole("ifMtu"),
        row.text("ifAdminStatus"),
        row.text("ifOperStatus"),
        row.mac("ifPhysAddress"),
        row.number("ifSpeed"),
        row.flag("disabled") or row.flag("deleted"),
        row.whole("poll_time"),
        row.number("poll_period"),
        {counter: count for counter, count in found.items() if count is not None and count >= 0},
    )


@dataclass(frozen=True, slots=True)
class MacRow:
    """A MAC address of a bridge table or, with `address`, of an ARP table. `seen_s`: by LibreNMS' own clock."""

    mac: str
    port_id: int | None
    vlan_id: int | None = None
    address: str = ""
    seen_s: int | None = None


def bridge_mac_untrusted(row: ApiRow, zone: tzinfo) -> MacRow:
    """Return an address of a bridge table.

    Raises:
        MalformedLibrenmsError: a field is not as documented.
    """
    seen_s = row.moment_s("updated_at", zone)
    return MacRow(row.mac("mac_address"), row.whole("port_id"), row.whole("vlan_id"), seen_s=seen_s)


def arp_mac_untrusted(row: ApiRow) -> MacRow:
    """Return an address of an ARP table.

    Raises:
        MalformedLibrenmsError: a field is not as documented.
    """
    return MacRow(row.mac("mac_address"), row.whole("port_id"), address=row.text("ipv4_address"))


@dataclass(frozen=True, slots=True)
class LinkRow:
    """A neighbor. `device_id`: of the device in the same LibreNMS that it is."""

    port_id: int | None
    device_id: int | None
    hostname: str
    port: str
    platform: str
    version: str


def link_untrusted(row: ApiRow) -> LinkRow | None:
    """Return a neighbor; None: one that is no longer heard.

    Raises:
        MalformedLibrenmsError: a field is not as documented.
    """
    if "active" in row.fields and not row.flag("active"):
        return None
    return LinkRow(
        row.whole("local_port_id"),
        row.whole("remote_device_id"),
        row.text("remote_hostname"),
        row.text("remote_port"),
        row.text("remote_platform"),
        row.text("remote_version"),
    )


@dataclass(frozen=True, slots=True)
class SensorRow:
    """A sensor. `value` is in its class' unit: LibreNMS has scaled it. `port_index`: ifIndex of the measured port."""

    id: int
    device_id: int
    kind: str
    label: str
    index: str
    value: float | None
    port_index: int | None
    seen_s: int | None


def sensor_untrusted(row: ApiRow, zone: tzinfo) -> SensorRow | None:
    """Return a sensor; None: one that is deleted.

    Raises:
        MalformedLibrenmsError: a field is not as documented.
    """
    if row.flag("sensor_deleted"):
        return None
    measured = row.text("entPhysicalIndex_measured") == "ports"
    index = row.text("entPhysicalIndex")
    return SensorRow(
        row.id("sensor_id"),
        row.id("device_id"),
        row.text("sensor_class"),
        row.text("sensor_descr"),
        row.text("sensor_index"),
        row.number("sensor_current"),
        int(index) if measured and index.isdecimal() and len(index) <= 10 else None,
        row.moment_s("lastupdate", zone),
    )
