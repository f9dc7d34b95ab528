"""A list of services into those that are known: new ones are added, known ones changed, none removed.

A service that a list leaves out stays: half a file, or one district's, must not delete the rest. Reasons of suspension
are ours and never come from a list.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from agent.inventory.subscribers_csv import SubscriberRow
from agent.model import ENTRY_FIELDS, Service

EXTRA: Final = "extra."
"""Begins the name of a further column."""
FIELDS: Final = ("name", "login", "method", "tariff", "protected", "feeds")


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One field of a service, before and after the merge, as text. The name of a further column begins with `EXTRA`."""

    field: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Changed:
    """A known service with its new values, and which of them differ."""

    service: Service
    fields: tuple[FieldChange, ...]


@dataclass(frozen=True, slots=True)
class Edit:
    """A service that a list gives other fields out of `ENTRY_FIELDS`, or a new one with the login of a known one.

    Either decides whether a change reaches the service, so it is a change of its own, with a preview and an approval.
    `service`: as the list has it.
    """

    service: Service
    fields: tuple[FieldChange, ...]


@dataclass(frozen=True, slots=True)
class MergeResult:
    """The effect of a list. `unchanged` and `untouched_by_omission` are refs; the latter stand in no line.

    `added` and `changed` are stored by the import, `edits` by a change that people approve.
    """

    added: tuple[Service, ...]
    changed: tuple[Changed, ...]
    edits: tuple[Edit, ...]
    unchanged: tuple[str, ...]
    untouched_by_omission: tuple[str, ...]

    @property
    def to_write(self) -> tuple[Service, ...]:
        """The services to be stored: added and changed."""
        return (*self.added, *(changed.service for changed in self.changed))


def merge(existing: Mapping[str, Service], rows: Iterable[SubscriberRow]) -> MergeResult:
    """Return the additions and changes of the rows to `existing` (by ref); reasons and columns left out are kept."""
    added: list[Service] = []
    changed: list[Changed] = []
    edits: list[Edit] = []
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
        fields = _differences(old, new)
        if not fields:
            unchanged.append(ref)
        if edited := tuple(f for f in fields if f.field in ENTRY_FIELDS):
            edits.append(Edit(new, edited))
        if stored := tuple(f for f in fields if f.field not in ENTRY_FIELDS):
            same = replace(new, login=old.login, method=old.method, protected=old.protected, feeds=old.feeds)
            changed.append(Changed(same, stored))
    left_out = tuple(ref for ref in existing if ref not in named)
    return MergeResult(tuple(added), tuple(changed), tuple(edits), tuple(unchanged), left_out)


def with_claims(merged: MergeResult, claiming: Mapping[str, Sequence[str]]) -> MergeResult:
    """Return the effect of a list where some of the services that it adds are edits: their login is a known service's.

    Args:
        merged: the effect of the list.
        claiming: new services by ref, each with the known ones that have its login.
    """
    found = [s for s in merged.added if s.ref in claiming]
    edits = [Edit(s, (FieldChange("login", f"that of {', '.join(claiming[s.ref])}", s.login),)) for s in found]
    added = tuple(s for s in merged.added if s.ref not in claiming)
    return replace(merged, added=added, edits=(*merged.edits, *edits))


def with_approval(merged: MergeResult) -> MergeResult:
    """Return the effect of a list where every service that it adds is an edit."""
    edits = [Edit(s, (FieldChange("entry", "", s.login),)) for s in merged.added]
    return replace(merged, added=(), edits=(*merged.edits, *edits))


def _differences(old: Service, new: Service) -> tuple[FieldChange, ...]:
    was, is_ = _fields(old), _fields(new)
    return tuple(
        FieldChange(name, was.get(name, ""), value) for name, value in is_.items() if was.get(name, "") != value
    )


def _fields(service: Service) -> dict[str, str]:
    fields = {name: str(getattr(service, name)) for name in FIELDS}
    return fields | {f"{EXTRA}{name}": value for name, value in (service.extra or {}).items()}
