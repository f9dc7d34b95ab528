"""Differences between the record and the network, in the database: the last round, and since when each is seen."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from agent.model import SuspensionReason
from agent.store.db import Tx
from agent.store.stored import members, reads_row_of

ROUNDS_KEPT: Final = 100
"""Rounds of which the counts are kept. Chosen arbitrarily."""
Query = Callable[[str, Sequence[object]], Sequence[sqlite3.Row]]


@dataclass(frozen=True, slots=True)
class RecordedReason:
    """A suspension that is recorded: since when (unix seconds), by the change of which person. `change` "": by none."""

    reason: SuspensionReason
    at_s: int
    person: str
    change: str


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference between the record and the network.

    `subject`: a service's ref, or a login that no service has. `code`: a `DriftReason`. `wanted`, `reads`, `known`:
    sentences on the record, on the network, and on the right one of both as far as is known. `where`: the source of the
    reading, at `read_s` (unix seconds). `asks`: commands that settle it, each with its meaning.
    """

    subject: str
    code: str
    wanted: str
    reads: str
    where: str
    read_s: int
    known: str
    asks: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Unread:
    """A service, a CPE or a target's logins that a round could not check, and why."""

    subject: str
    why: str


@dataclass(frozen=True, slots=True)
class DriftRound:
    """Counts of one round; times in unix seconds. `busy`: services that a running change touched. `id`: once kept.

    `checked`: services, logins that no service has, and CPE. `differ`: those of them that differ.

    `alarm`: more services differ than the configuration allows. `notes`: parts of the network that no service was
    checked by. `ways_out`: settings that were read and may let suspended subscribers out.
    """

    began_s: int
    ended_s: int
    services: int
    checked: int
    differ: int
    unread: int
    busy: int
    alarm: bool
    notes: tuple[str, ...] = ()
    ways_out: tuple[str, ...] = ()
    id: int = 0


@dataclass(frozen=True, slots=True)
class SeenDifference:
    """A difference of the last round, and when it was seen first, unix seconds."""

    difference: Difference
    first_s: int


@dataclass(frozen=True, slots=True)
class SaveRound:
    """Keep a round: its differences take the place of those of the round before, and keep their first time."""

    round: DriftRound
    found: tuple[Difference, ...]
    unread: tuple[Unread, ...]

    def run(self, tx: Tx) -> None:
        r = self.round
        tx.run(
            "INSERT INTO drift_round (began_s, ended_s, services, checked, differ, unread, busy, alarm, notes,"
            " ways_out) VALUES (?,?,?,?,?,?,?,?,?,?)",
            (
                *(r.began_s, r.ended_s, r.services, r.checked, r.differ, r.unread, r.busy, r.alarm),
                *(json.dumps(r.notes), json.dumps(r.ways_out)),
            ),
        )
        tx.run("DELETE FROM drift_round WHERE id <= (SELECT max(id) FROM drift_round) - ?", (ROUNDS_KEPT,))
        first = {(x["subject"], x["code"]): x["first_s"] for x in tx.all("SELECT subject, code, first_s FROM drift")}
        tx.run("DELETE FROM drift")
        tx.many(
            "INSERT OR REPLACE INTO drift (subject, code, first_s, read_s, told) VALUES (?,?,?,?,?)",
            [(d.subject, d.code, first.get((d.subject, d.code), d.read_s), d.read_s, _told(d)) for d in self.found],
        )
        since = {x["subject"]: x["first_s"] for x in tx.all("SELECT subject, first_s FROM drift_unread")}
        tx.run("DELETE FROM drift_unread")
        tx.many(
            "INSERT OR REPLACE INTO drift_unread (subject, why, first_s) VALUES (?,?,?)",
            [(u.subject, u.why, since.get(u.subject, r.ended_s)) for u in self.unread],
        )


def _told(d: Difference) -> str:
    return json.dumps([d.wanted, d.reads, d.where, d.known, d.asks], ensure_ascii=False)


def last_round(query: Query) -> DriftRound | None:
    """Return the counts of the last round; None: there was none yet."""
    rows = query("SELECT * FROM drift_round ORDER BY id DESC LIMIT 1", ())
    return _round(rows[0]) if rows else None


@reads_row_of("drift_round")
def _round(r: sqlite3.Row) -> DriftRound:
    return DriftRound(
        began_s=r["began_s"],
        ended_s=r["ended_s"],
        services=r["services"],
        checked=r["checked"],
        differ=r["differ"],
        unread=r["unread"],
        busy=r["busy"],
        alarm=bool(r["alarm"]),
        notes=tuple(json.loads(r["notes"])),
        ways_out=tuple(json.loads(r["ways_out"])),
        id=r["id"],
    )


def differences(query: Query) -> list[SeenDifference]:
    """Return the differences of the last round, those seen first at the top."""
    return [_difference(r) for r in query("SELECT * FROM drift ORDER BY first_s, subject, code", ())]


@reads_row_of("drift")
def _difference(r: sqlite3.Row) -> SeenDifference:
    wanted, reads, where, known, asks = json.loads(r["told"])
    asked = tuple((command, meaning) for command, meaning in asks)
    told = Difference(r["subject"], r["code"], wanted, reads, where, r["read_s"], known, asked)
    return SeenDifference(told, r["first_s"])


def unread(query: Query) -> list[Unread]:
    """Return the services that the last round could not check."""
    return [Unread(r["subject"], r["why"]) for r in query("SELECT * FROM drift_unread ORDER BY subject", ())]


def recorded_reasons(query: Query, service: str) -> list[RecordedReason]:
    """Return the recorded suspensions of a service, with their time and the person that asked for each."""
    rows = query(
        "SELECT r.reason, e.at_s, p.short, p.requester FROM reason r JOIN event e ON e.seq = r.seq"
        " LEFT JOIN plan p ON p.plan_id = r.plan_id WHERE r.service = ? ORDER BY r.reason",
        (service,),
    )
    return [
        RecordedReason(
            members(SuspensionReason, "reason")[r["reason"]], r["at_s"], r["requester"] or "", r["short"] or ""
        )
        for r in rows
    ]


def touched(query: Query, services: Sequence[str], after_seq: int) -> frozenset[str]:
    """Return those of the services that a change is acting on, or acted on after an event of the log.

    Args:
        query: reads the database.
        services: refs, at most some hundreds.
        after_seq: sequence number of the event.
    """
    marks = ",".join("?" * len(services))
    rows = query(
        "SELECT DISTINCT i.service FROM item i JOIN plan p USING (plan_id) WHERE p.consumed_seq IS NOT NULL"  # noqa: S608  # only question marks
        " AND (i.state_seq > ? OR (p.finished_seq IS NULL AND i.state IN ('planned', 'waiting', 'running', 'unknown')))"
        f" AND i.service IN ({marks})",
        (after_seq, *services),
    )
    return frozenset(r["service"] for r in rows)
