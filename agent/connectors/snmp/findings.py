"""A device as people see it: facts of its last reading, and findings worth a look. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from agent.connectors.base import Finding
from agent.connectors.snmp.profile_choice import STANDARD
from agent.connectors.snmp.reasons import SnmpReason
from agent.line_model.reading import DeviceReading, LinkState, PartKind
from trust.plural import counted

_NAMED: Final = 5
"""How many names a sentence lists."""


def facts_of(reading: DeviceReading) -> dict[str, str]:
    """Return labels and texts of a reading."""
    states = {kind: [part.state for part in reading.parts if part.kind is kind] for kind in PartKind}
    counts = [
        f"{counted(len(found), kind.value)} ({found.count(LinkState.UP)} up)" for kind, found in states.items() if found
    ]
    facts = {
        "hardware": reading.hardware,
        "serial": reading.serial,
        "description": reading.description,
        "sysObjectID": reading.object_id,
        "profile": reading.profile,
        "uptime": "" if reading.uptime_s is None else _days(reading.uptime_s),
        "parts": ", ".join(counts),
        "neighbors": str(len(reading.neighbors)) if reading.neighbors else "",
        "MACs": str(len(reading.macs)) if reading.macs else "",
    }
    return {label: text for label, text in facts.items() if text}


def same_name(name: str, others: Sequence[str]) -> tuple[Finding, ...]:
    """Return that other configured devices call themselves by the same name, if any do."""
    if not others:
        return ()
    more = f" and {len(others) - _NAMED} more" if len(others) > _NAMED else ""
    return (Finding(SnmpReason.DUPLICATE_SYSNAME, f"{', '.join(others[:_NAMED])}{more}: called {name} too"),)


def findings_of(first: DeviceReading, last: DeviceReading) -> Iterator[Finding]:
    """Yield the findings of a device's last reading that a person should look at.

    Args:
        first: the device's first reading since the start.
        last: its last one.
    """
    if first.serial and last.serial and first.serial != last.serial:
        yield Finding(SnmpReason.REPLACED, f"its serial number was {first.serial} and is {last.serial}")
    elif first.object_id and last.object_id and first.object_id != last.object_id:
        yield Finding(SnmpReason.REPLACED, f"its sysObjectID was {first.object_id} and is {last.object_id}")
    if first.identity != last.identity:
        yield Finding(
            SnmpReason.RENAMED, f"it called itself {first.identity or 'nothing'}, and now {last.identity or 'nothing'}"
        )
    if last.profile == STANDARD:
        yield Finding(SnmpReason.NO_PROFILE, f"sysObjectID {last.object_id or 'none'}: only the standard MIBs are read")
    if last.not_read:
        more = f"; and {len(last.not_read) - _NAMED} more" if len(last.not_read) > _NAMED else ""
        yield Finding(SnmpReason.NOT_ALL_READ, "; ".join(last.not_read[:_NAMED]) + more)


def _days(seconds: float) -> str:
    days, rest = divmod(int(seconds), 86_400)
    hours, rest = divmod(rest, 3600)
    return f"{days} d {hours:02}:{rest // 60:02}"
