"""A list of services into those that are known: new ones are added, known ones changed, none removed.

What a list leaves out stays: half a file, or one district's, must not delete the rest. Reasons of suspension are ours
and never come from a list.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from agent.inventory.subscribers_csv import SubscriberRow
from agent.model import Service

FIELDS: Final = ("name", "login", "method", "tariff", "protected", "feeds")


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One field of a service, before and after the merge, as text. Further columns are named `extra.COLUMN`."""

    field: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Changed:
    """A known service with its new values, and which of them differ."""

    service: Service
    fields: tuple[FieldChange, ...]


@dataclass(frozen=True, slots=True)
class MergeResult:
    """What a list would do. `unchanged` and `untouched_by_omission` are refs; the latter stand in no line."""

    added: tuple[Service, ...]
    changed: tuple[Changed, ...]
    unchanged: tuple[str, ...]
    untouched_by_omission: tuple[str, ...]

    @property
    def to_write(self) -> tuple[Service, ...]:
        """The services to be stored: added and changed."""
        return (*self.added, *(changed.service for changed in self.changed))


def merge(existing: Mapping[str, Service], rows: Iterable[SubscriberRow]) -> MergeResult:
    """Return what the rows add to and change in `existing` (by ref); reasons and columns left out are kept."""
    added: list[Service] = []
    changed: list[Changed] = []
    unchanged: list[str] = []
    named: set[str] = set()
    for row in rows:
        ref = row.service.ref
        named.add(ref)
        if (old := existing.get(ref)) is None:
            added.append(replace(row.service, reasons=frozenset()))
            continue
        new = replace(
            row.service, reasons=old.reasons, extra={**(old.extra or {}), **(row.service.extra or {})} or None
        )
        if fields := _differences(old, new):
            changed.append(Changed(new, fields))
        else:
            unchanged.append(ref)
    left_out = tuple(ref for ref in existing if ref not in named)
    return MergeResult(tuple(added), tuple(changed), tuple(unchanged), left_out)


def _differences(old: Service, new: Service) -> tuple[FieldChange, ...]:
    was, is_ = _fields(old), _fields(new)
    return tuple(
        FieldChange(name, was.get(name, ""), value) for name, value in is_.items() if was.get(name, "") != value
    )


def _fields(service: Service) -> dict[str, str]:
    fields = {name: str(getattr(service, name)) for name in FIELDS}
    return fields | {f"extra.{name}": value for name, value in (service.extra or {}).items()}
