"""Reviews of changes that one person made alone: whether somebody else has looked at them since.

A plan of class *alone* opens one when it starts (`journal.commands.Consume`). It is closed by a second person's signed
decision on that very plan, made after its run ended: an approval says that it is in order, a rejection that it is not.
Neither changes anything in the network.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from agent.changes.journal import plans
from agent.changes.journal.commands import PlanRow, plan_row, read_plan_row
from agent.reasons import RefusalReason
from agent.store.db import Tx
from agent.store.errors import RefusedCommandError
from agent.store.log_store import Entry, Sealed
from trust.leaf import LeafKind


@dataclass(frozen=True, slots=True)
class Review:
    """A review. `opened_s`: when the change started, unix seconds. `person` and `verdict` "": nobody has looked yet."""

    row: PlanRow
    opened_s: int
    person: str
    verdict: str
    closed_s: int | None
    envelope: bytes
    """The second person's statement; empty: there is none yet."""


def reviews(reader: sqlite3.Connection, *, closed: bool = False) -> list[Review]:
    """Return the open reviews, the oldest first; `closed`: the closed ones too."""
    rows = reader.execute(
        "SELECT p.*, r.person, r.verdict, r.envelope AS signed, o.at_s AS opened_s, c.at_s AS closed_s"
        " FROM review r JOIN plan p USING (plan_id) JOIN event o ON o.seq = r.opened_seq"
        " LEFT JOIN event c ON c.seq = r.closed_seq"
        " WHERE r.closed_seq IS NULL OR ? ORDER BY r.opened_seq",
        (closed,),
    )
    return [
        Review(read_plan_row(r), r["opened_s"], r["person"], r["verdict"], r["closed_s"], bytes(r["signed"] or b""))
        for r in rows
    ]


def is_open(reader: sqlite3.Connection, row: PlanRow) -> bool:
    """Return whether a change's review is open."""
    query = "SELECT 1 FROM review WHERE plan_id = ? AND closed_seq IS NULL"
    return reader.execute(query, (row.plan_id,)).fetchone() is not None


def ended_s(reader: sqlite3.Connection, row: PlanRow) -> int:
    """Return when a change under review ended, unix seconds.

    Raises:
        RefusedCommandError: it has not ended.
    """
    at_s = plans.finished_s(reader, row)
    if at_s is None:
        raise RefusedCommandError(RefusalReason.CONSUMED, f"{row.short} still runs: it is reviewed when it has ended")
    return at_s


@dataclass(frozen=True, slots=True)
class CloseReview:
    """Close a review by a person's verified decision."""

    plan_id: bytes
    person: str
    verdict: str
    envelope: bytes
    sealed: Sealed

    def run(self, tx: Tx) -> int:
        """Return the sequence number of the event; raises RefusedCommandError where somebody else closed it."""
        row = plan_row(tx, self.plan_id)
        if not tx.one("SELECT 1 FROM review WHERE plan_id = ? AND closed_seq IS NULL", (self.plan_id,)):
            raise RefusedCommandError(
                RefusalReason.CLOSED, f"{row.short} has no open review: ispagent review list shows those that are open"
            )
        seq = tx.append(Entry(LeafKind.REVIEW_CLOSED, self.plan_id, row.digest, sealed=self.sealed))
        tx.run(
            "UPDATE review SET person = ?, verdict = ?, envelope = ?, closed_seq = ? WHERE plan_id = ?",
            (self.person, self.verdict, self.envelope, seq, self.plan_id),
        )
        return seq
