"""Makes a `DeviceReading` of a device's answers, by its profile.

* Nothing here raises on data of a device: a value that does not fit is absent, a row that has no key is left out.
* `profile_choice` chooses the questions, `profile_columns` computes a table, `profile_tables` keeps its rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from agent.connectors.snmp.conversions import Result
from agent.connectors.snmp.profile import SnmpProfile
from agent.connectors.snmp.profile_columns import Columns, as_float, whole
from agent.connectors.snmp.profile_tables import TableReader
from agent.connectors.snmp.values import Oid, Value
from agent.line_model.reading import DeviceReading, LinkState, Part, PartKind, SeenMac

_WRAP: Final = 1 << 32
_NEAR_S: Final = 60.0
"""Between sysUpTime and snmpEngineTime, which are read at two moments and start at two."""


def read(
    of: SnmpProfile,
    target: str,
    read_s: int,
    scalars: Mapping[Oid, Value],
    columns: Columns,
    not_read: tuple[str, ...] = (),
) -> DeviceReading:
    """Return the reading of a device by its profile.

    Args:
        of: its profile.
        target: id of the target.
        read_s: unix seconds at the end of the reading.
        scalars: the answers to `wanted(of).scalars`.
        columns: column -> index of a row -> value.
        not_read: questions that it did not answer.
    """
    reader = TableReader(read_s, scalars, columns)
    device = reader.device(of.device)
    for table in of.tables:
        reader.table(table)
    for name, found in reader.rest.items():
        device.setdefault(name, found)
    uptime_s = _uptime_s(device)
    return DeviceReading(
        target=target,
        read_s=read_s,
        profile=of.name,
        identity=str(device.get("identity", "")),
        description=str(device.get("description", "")),
        object_id=str(device.get("object_id", "")),
        hardware=str(device.get("hardware", "")),
        version=str(device.get("version", "")),
        serial=str(device.get("serial", "")),
        uptime_s=uptime_s,
        boots=whole(device.get("boots")),
        parts=_counted(reader.parts),
        sensors=tuple(reader.sensors.values()),
        neighbors=tuple(dict.fromkeys(reader.neighbors)),
        macs=_joined(reader.macs),
        not_read=not_read,
        every_s=of.every_s,
    )


@dataclass(frozen=True, slots=True)
class PartRows:
    """Parts by key, by table the key of the part that each of its rows makes or adds to, and the device's serial."""

    parts: Mapping[str, Part]
    keys: Mapping[str, Mapping[bytes, str]]
    serial: str


def part_rows(of: SnmpProfile, read_s: int, scalars: Mapping[Oid, Value], columns: Columns) -> PartRows:
    """Return the parts of a reading with the rows of the device that they are made of."""
    reader = TableReader(read_s, scalars, columns)
    device = reader.device(of.device)
    for table in of.tables:
        reader.table(table)
    return PartRows(reader.parts, reader.keys, str(device.get("serial", reader.rest.get("serial", ""))))


def _uptime_s(device: Mapping[str, Result]) -> float | None:
    """Return how long the device's management runs: sysUpTime wraps after 497 days, snmpEngineTime after 68 years."""
    uptime, engine = as_float(device.get("uptime_s")), as_float(device.get("engine_s"))
    if uptime is None or engine is None or engine <= uptime:
        return uptime
    behind = (engine - uptime) % (_WRAP / 100)
    return engine if min(behind, _WRAP / 100 - behind) <= _NEAR_S else uptime


def _counted(parts: Mapping[str, Part]) -> tuple[Part, ...]:
    """Return the parts; a radio or PON port that does not say how many hang on it has those that are up counted.

    A radio below a radio, such as one of its networks, counts as its own clients.
    """
    below: Counter[str] = Counter()
    for part in parts.values():
        if part.kind in (PartKind.CLIENT, PartKind.ONU):
            below[part.parent] += part.state not in (LinkState.DOWN, LinkState.DISABLED)
        elif part.kind is PartKind.RADIO and part.parent and "clients" in part.measures:
            below[part.parent] += int(part.measures["clients"])
    return tuple(
        replace(part, measures={**part.measures, "clients": below[part.key]})
        if part.key in below and part.kind in (PartKind.RADIO, PartKind.PON) and "clients" not in part.measures
        else part
        for part in parts.values()
    )


def _joined(found: Sequence[SeenMac]) -> tuple[SeenMac, ...]:
    """Return MAC addresses, each IP address with the place where its MAC address was learned.

    A place that comes with a VLAN and without, of the two bridge tables, comes with it.
    """
    addresses: dict[str, list[SeenMac]] = {}
    for seen in found:
        if seen.address:
            addresses.setdefault(seen.mac, []).append(seen)
    joined: dict[SeenMac, None] = {}
    learned = set()
    tagged = {(seen.mac, seen.part) for seen in found if seen.vlan and not seen.address}
    for seen in found:
        if not seen.address and (seen.vlan or (seen.mac, seen.part) not in tagged):
            learned.add(seen.mac)
            with_ip = addresses.get(seen.mac)
            for other in with_ip or (seen,):
                joined[replace(seen, address=other.address)] = None
    for seen in found:
        if seen.address and seen.mac not in learned:
            joined[seen] = None
    return tuple(joined)
