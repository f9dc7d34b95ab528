"""Which profile is for a device, and the questions of a profile. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from agent.connectors.snmp import conversions, values
from agent.connectors.snmp.profile import DeviceMatch, SnmpProfile, Sources
from agent.connectors.snmp.values import Oid, Value

STANDARD: Final = "standard"
"""Name of the profile for gear that no other one is for."""
UPTIME: Final = values.oid("1.3.6.1.2.1.1.3.0")
"""sysUpTime, of which ifLastChange and the like are ticks."""


@dataclass(frozen=True, slots=True)
class WantedValues:
    """The questions to a device: scalars, and groups of columns that have the same rows."""

    scalars: tuple[Oid, ...]
    columns: tuple[tuple[Oid, ...], ...]


def wanted(of: SnmpProfile) -> WantedValues:
    """Return the OIDs that a profile needs of a device."""
    scalars: dict[Oid, None] = {UPTIME: None}
    groups: dict[bytes, dict[Oid, None]] = {}
    known: set[Oid] = set()

    def add(group: bytes, ways: Sources) -> None:
        for way in ways:
            if way.oid is not None:
                scalars[way.oid] = None
            elif way.column is not None and way.column not in known:
                known.add(way.column)
                apart = b"" if way.of_rows else b"\x00" + way.column[:-1]
                groups.setdefault(group + apart, {})[way.column] = None

    for ways in of.device.values():
        add(b"", ways)
    for number, table in enumerate(of.tables):
        for _, ways in table.named():
            add(values.suffix((number + 1,)), ways)
    return WantedValues(tuple(scalars), tuple(tuple(group) for group in groups.values()))


# --- which profile --------------------------------------------------------------------------------------------------


def probes(profiles: Iterable[SnmpProfile], object_id: Oid, description: str) -> tuple[Oid, ...]:
    """Return the scalars to ask before `choose`: those by which profiles for this device are told apart."""
    fits = (match for one in profiles for match in one.matches if _fits(match, object_id, description))
    return tuple(dict.fromkeys(oid for match in fits for oid in match.has))


def choose(
    profiles: Sequence[SnmpProfile], object_id: Oid, description: str, answers: Mapping[Oid, Value] | None = None
) -> SnmpProfile:
    """Return the profile for a device, or the standard MIBs where none is for it.

    The operator's own come first, then the longest beginning of sysObjectID, then a match of `has`, then one of
    sysDescr.

    Args:
        profiles: all of them.
        object_id: sysObjectID, without tag and length; empty: the device says none.
        description: sysDescr.
        answers: to `probes`.

    Raises:
        KeyError: the standard one is missing.
    """
    answers = answers or {}
    best: tuple[tuple[bool, int, bool, bool], SnmpProfile] | None = None
    for one in profiles:
        for match in one.matches:
            if not _fits(match, object_id, description) or not _has(match, answers):
                continue
            longest = max((len(prefix) for prefix in match.object_ids if _below(object_id, prefix)), default=0)
            rank = (one.own, longest, bool(match.has), match.description is not None)
            if best is None or rank > best[0]:
                best = (rank, one)
    return best[1] if best is not None else {one.name: one for one in profiles}[STANDARD]


def _fits(match: DeviceMatch, object_id: Oid, description: str) -> bool:
    if match.object_ids and not any(_below(object_id, prefix) for prefix in match.object_ids):
        return False
    return match.description is None or match.description.search(description) is not None


def _below(object_id: Oid, prefix: Oid) -> bool:
    return object_id.startswith(prefix)


def _has(match: DeviceMatch, answers: Mapping[Oid, Value]) -> bool:
    for oid, pattern in match.has.items():
        value = answers.get(oid)
        found = None if value is None else conversions.plain(value)
        if found is None or pattern.search(str(found)) is None:
            return False
    return True
