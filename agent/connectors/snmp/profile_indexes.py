"""Indexes of the rows of a device's tables: their parts, and the index of a row of another table. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from agent.connectors.snmp import conversions, values
from agent.connectors.snmp.conversions import Result
from agent.connectors.snmp.profile import IndexPart, IndexType

Results = dict[bytes, Result]
"""The value of one name in each row: index -> value."""


def indexed(parts: tuple[IndexPart, ...], subs: tuple[int, ...]) -> list[tuple[Result, tuple[int, ...]]] | None:
    """Return each part of a row's index, with its sub-identifiers; None where it is not written as they say."""
    found: list[tuple[Result, tuple[int, ...]]] = []
    for part in parts:
        taken = _taken(part.type, subs)
        if taken is None:
            return None
        value, count = taken
        found.append((value, subs[:count]))
        subs = subs[count:]
    return None if subs else found


def _taken(kind: IndexType, subs: tuple[int, ...]) -> tuple[Result, int] | None:
    """Return the value at the beginning of sub-identifiers, and how many of them it is."""
    if kind is IndexType.INT:
        return (subs[0], 1) if subs else None
    if kind is IndexType.ANY:
        return ".".join(map(str, subs)), len(subs)
    if kind is IndexType.REST:
        octets, count = octets_of(subs), len(subs)
    elif kind is IndexType.TEXT:
        count = subs[0] + 1 if subs else 0
        octets = octets_of(subs[1:count]) if subs and len(subs) >= count else None
    elif kind is IndexType.INET:
        count = subs[1] + 2 if len(subs) > 1 else 0
        octets = octets_of(subs[2:count]) if len(subs) > 1 and len(subs) >= count else None
        if octets is not None:
            shown = conversions.address((values.OCTET_STRING, octets[:16]))  # behind an address may come its zone
            return (shown or "", count)
    else:
        count = _LENGTHS[kind]
        octets = octets_of(subs[:count]) if len(subs) >= count else None
        if octets is not None:
            return _FIXED[kind]((values.OCTET_STRING, octets)) or "", count
    return (conversions.decoded(octets), count) if octets is not None else None


_LENGTHS: Final = {IndexType.MAC: 6, IndexType.IP: 4, IndexType.SERIAL: 8}
_FIXED: Final = {
    IndexType.MAC: conversions.mac,
    IndexType.IP: conversions.address,
    IndexType.SERIAL: conversions.serial,
}


def octets_of(subs: tuple[int, ...]) -> bytes | None:
    """Return sub-identifiers as octets; None: one of them is none."""
    return bytes(subs) if all(sub < 256 for sub in subs) else None


def index_at(
    at: Sequence[str | int], tail: bytes, env: Mapping[str, Results], raw: Mapping[str, Mapping[bytes, bytes]]
) -> bytes:
    """Return the index of the row of another table."""
    found = b""
    for one in at:
        if isinstance(one, int):
            found += values.suffix((one,))
        elif one in raw:
            found += raw[one].get(tail, b"")
        else:
            value = env[one].get(tail)
            if isinstance(value, str):
                octets = value.encode("utf-8", "replace")
                found += values.suffix((len(octets), *octets))
            elif isinstance(value, int) and 0 <= value <= values.PART_MAX:
                found += values.suffix((value,))
            else:
                return b"\xff"  # no row has such an index
    return found
