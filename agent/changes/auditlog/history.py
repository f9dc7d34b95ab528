"""History, as people look for it: changes by customer, person and time; events about a customer, or by a person.

All of it is read from the journal and the log. Records are opened only where a person is asked for: the
record names people, the leaf does not.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import trio

from agent.changes.auditlog.evidence import NO_END, Evidence, LoggedEvent
from agent.changes.journal import plans
from agent.changes.journal.audit import subject_of
from agent.changes.journal.commands import PlanRow, read_plan_row
from agent.changes.journal.machine import ChangeState
from agent.changes.journal.plans import NONE_AGAIN, DoneAgain, ItemRow
from agent.model import ItemState, SuspensionReason
from agent.store.stored import members
from agent.store.vault import Vault

LIMIT: Final = 200
"""Changes or events of one answer unless it is asked for another number."""
LIMIT_MAX: Final = 10_000
_SLICE: Final = 200
"""Rows that are looked at before other work gets its turn."""
_WHO: Final = ("person", "by", "requester", "to")
"""Fields of a record that name a person."""


@dataclass(frozen=True, slots=True)
class Period:
    """From `since_s` on and before `until_s`, unix seconds; None: no bound."""

    since_s: int | None = None
    until_s: int | None = None

    def sql(self, column: str) -> tuple[str, list[object]]:
        """Return the condition on a column of unix seconds, with its arguments."""
        bounds = [(f"{column} >= ?", self.since_s), (f"{column} < ?", self.until_s)]
        held = [(text, value) for text, value in bounds if value is not None]
        return " AND ".join(["1", *(text for text, _ in held)]), [value for _, value in held]


ALWAYS: Final = Period()


@dataclass(frozen=True, slots=True)
class ChangeFilter:
    """Which changes: made in `period`, in one of `states`, asked for by `by`, with an item of one of `services`.

    None and "" leave that question out.
    """

    period: Period = ALWAYS
    states: frozenset[ChangeState] | None = None
    by: str = ""
    services: tuple[str, ...] | None = None
    limit: int = LIMIT


@dataclass(frozen=True, slots=True)
class ListedChange:
    """A change in a list. `items`: those of the services that were asked for, none where none were."""

    row: PlanRow
    counts: Counter[ItemState]
    items: tuple[ItemRow, ...] = ()
    again: Mapping[int, DoneAgain] = field(default_factory=dict)

    @property
    def state(self) -> ChangeState:
        """The state of the change, folded over its items."""
        return plans.state_of(self.row, self.counts, self.again)


def changes(reader: sqlite3.Connection, wanted: ChangeFilter) -> list[ListedChange]:
    """Return the changes that fit, those that were asked for last first."""
    found: list[ListedChange] = []
    for rows in _sliced(_plans(reader, wanted)):
        counts, again = _counts(reader, rows), plans.done_again(reader, [row.plan_id for row in rows])
        for row in rows:
            listed = ListedChange(row, counts.get(row.plan_id, Counter()), again=again.get(row.plan_id, NONE_AGAIN))
            if wanted.states is not None and listed.state not in wanted.states:
                continue
            if wanted.services is not None:
                listed = replace(listed, items=_items_of(reader, row.plan_id, wanted.services))
            found.append(listed)
            if len(found) >= wanted.limit:
                return found
    return found


def _plans(reader: sqlite3.Connection, wanted: ChangeFilter) -> Iterator[PlanRow]:
    where, args = wanted.period.sql("p.made_s")
    if wanted.by:
        where, args = f"{where} AND p.requester = ?", [*args, wanted.by]
    if wanted.services is not None:
        marks = ",".join("?" * len(wanted.services))
        where = f"{where} AND p.plan_id IN (SELECT plan_id FROM item WHERE service IN ({marks}))"  # noqa: S608  # only question marks
        args += wanted.services
    query = f"SELECT p.* FROM plan p WHERE {where} ORDER BY p.made_s DESC, p.gate_seq DESC"  # noqa: S608  # fixed clauses
    for row in reader.execute(query, args):
        yield read_plan_row(row)


def _sliced(rows: Iterator[PlanRow]) -> Iterator[list[PlanRow]]:
    some: list[PlanRow] = []
    for row in rows:
        some.append(row)
        if len(some) == _SLICE:
            yield some
            some = []
    if some:
        yield some


def _counts(reader: sqlite3.Connection, rows: Sequence[PlanRow]) -> dict[bytes, Counter[ItemState]]:
    marks = ",".join("?" * len(rows))
    query = f"SELECT plan_id, state, count(*) AS n FROM item WHERE plan_id IN ({marks}) GROUP BY plan_id, state"  # noqa: S608  # only question marks
    found: dict[bytes, Counter[ItemState]] = {}
    for r in reader.execute(query, [row.plan_id for row in rows]):
        found.setdefault(bytes(r["plan_id"]), Counter())[members(ItemState, "item")[r["state"]]] = r["n"]
    return found


def _items_of(reader: sqlite3.Connection, plan_id: bytes, services: Sequence[str]) -> tuple[ItemRow, ...]:
    marks = ",".join("?" * len(services))
    query = (
        "SELECT n, service, state, reason, detail, state_seq FROM item"  # noqa: S608  # only question marks
        f" WHERE plan_id = ? AND service IN ({marks}) ORDER BY n"
    )
    found = reader.execute(query, (plan_id, *services))
    return tuple(ItemRow(n, service, members(ItemState, "item")[state], *rest) for n, service, state, *rest in found)


def services_named(reader: sqlite3.Connection, ref: str) -> tuple[str, ...]:
    """Return the services under a reference that changes were made of, known to the inventory or not any more."""
    query = "SELECT DISTINCT service FROM item WHERE service = ? OR (service >= ? AND service < ?)"
    return tuple(r["service"] for r in reader.execute(query, (ref, f"{ref}/", f"{ref}0")))  # "0" follows "/"


@dataclass(frozen=True, slots=True)
class SuspensionRecord:
    """Why a service is suspended, since when (unix seconds), and by which change ("": by none that is known)."""

    service: str
    reason: SuspensionReason
    since_s: int
    change: str
    asked_by: str
    approved_by: tuple[str, ...]


def reasons(reader: sqlite3.Connection, services: Iterable[str]) -> list[SuspensionRecord]:
    """Return the reasons that are recorded for services, the oldest of each service first."""
    query = (
        "SELECT r.reason, r.plan_id, e.at_s FROM reason r JOIN event e ON e.seq = r.seq WHERE r.service = ?"
        " ORDER BY r.seq"
    )
    found = []
    for service in services:
        for r in reader.execute(query, (service,)).fetchall():
            reason = members(SuspensionReason, "reason")[r["reason"]]
            if r["plan_id"] is None:
                found.append(SuspensionRecord(service, reason, r["at_s"], "", "", ()))
                continue
            row = plans.find(reader, bytes(r["plan_id"]).hex())
            approved = tuple(d.person for d in plans.decisions(reader, row) if d.decision == "approve")
            found.append(SuspensionRecord(service, reason, r["at_s"], row.short, row.requester, approved))
    return found


# --- events -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events: of `plan`, about one of `services`, in `period`, by `by`, after number `after`.

    About a service are the events of its items, and those of the changes that these items are in as a whole: request,
    approvals, end. None and "" leave that question out.
    """

    period: Period = ALWAYS
    plan: PlanRow | None = None
    services: tuple[str, ...] | None = None
    by: str = ""
    after: int = 0
    newest_first: bool = False
    limit: int = 1000


async def events(evidence: Evidence, vault: Vault, wanted: EventFilter) -> list[LoggedEvent]:
    """Return the events that fit, in the order asked for; other work gets its turn between slices of them."""
    where, args = wanted.period.sql("e.at_s")
    if wanted.plan is not None:
        where, args = f"{where} AND e.plan = ?", [*args, wanted.plan.plan_id]
    if wanted.services is not None:
        about, more = _about(vault, wanted.services)
        where, args = f"{where} AND ({about})", [*args, *more]
    found: list[LoggedEvent] = []
    first, end = wanted.after + 1, NO_END
    while True:
        part = evidence.select(where, args, (first, end), newest_first=wanted.newest_first, limit=_SLICE)
        found += [event for event in part if not wanted.by or is_by(event, wanted.by)]
        if len(part) < _SLICE or len(found) >= wanted.limit:
            return found[: wanted.limit]
        first, end = (first, part[-1].seq) if wanted.newest_first else (part[-1].seq + 1, end)
        await trio.lowlevel.checkpoint()


def is_by(event: LoggedEvent, person: str) -> bool:
    """Return whether an event's record names a person as its author."""
    return isinstance(event.record, dict) and person in (event.record.get(name) for name in _WHO)


def _about(vault: Vault, services: Sequence[str]) -> tuple[str, list[object]]:
    marks = ",".join("?" * len(services))
    plan_ids = f"SELECT plan_id FROM item WHERE service IN ({marks})"  # noqa: S608  # only question marks
    item = "SELECT 1 FROM item i WHERE i.plan_id = e.plan AND i.n = e.item"
    known = [vault.subject_id(name) for name in dict.fromkeys(subject_of(service) for service in services)]
    subjects = [subject for subject in known if subject is not None]
    asked = f"SELECT i.seq FROM plan p JOIN intent i USING (intent_id) WHERE p.plan_id IN ({plan_ids})"  # noqa: S608  # only question marks
    about = (
        f"e.seq IN ({asked}) OR (e.plan IN ({plan_ids}) AND (e.item = 0 OR EXISTS ({item} AND i.service IN ({marks}))))"
        f" OR (e.plan IS NULL AND e.subject IN ({','.join('?' * len(subjects))}))"
    )
    return about, [*services, *services, *services, *subjects]
