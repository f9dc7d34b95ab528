"""Pause and resume of one change, by a person at the agent's own socket: durable, in the log, ordered by the writer.

* While a change is paused nothing of it begins: `Consume` and the first "about to" of each item are refused.
* What was begun goes on to its end, as declared: a pause leaves nothing half done.
* A pause takes nothing from the approval and adds nothing to it: the plan's deadline stays as it was signed.
"""

from __future__ import annotations

from dataclasses import dataclass

from agent.changes.journal.commands import PlanRow, plan_row
from agent.changes.journal.machine import Gate
from agent.changes.journal.trust_state import Query
from agent.reasons import RefusalReason
from agent.store.db import Tx
from agent.store.errors import RefusedCommandError
from agent.store.log_store import Entry, Sealed
from trust.leaf import LeafKind


@dataclass(frozen=True, slots=True)
class Paused:
    """A pause in force: the person's handle, and its time in unix seconds."""

    by: str
    at_s: int


def paused(query: Query) -> dict[bytes, Paused]:
    """Return the pauses in force, by plan, as the database has them now."""
    found = query("SELECT plan_id, paused_by, paused_s FROM plan WHERE paused_by IS NOT NULL", ())
    return {bytes(row["plan_id"]): Paused(row["paused_by"], row["paused_s"]) for row in found}


def _unfinished(tx: Tx, plan_id: bytes) -> PlanRow:
    row = plan_row(tx, plan_id)
    if row.finished_seq is not None or row.gate not in (Gate.OPEN, Gate.APPROVED, Gate.CONSUMED):
        over = "over" if row.gate is Gate.CONSUMED else row.gate.value
        raise RefusedCommandError(RefusalReason.CLOSED, f"the change is {over}: there is nothing to pause or resume")
    return row


@dataclass(frozen=True, slots=True)
class PauseChange:
    """Pause a change: nothing more of it is begun until a person resumes it. A second pause changes nothing."""

    plan_id: bytes
    by: str
    sealed: Sealed

    def run(self, tx: Tx) -> None:
        """Do it; raises RefusedCommandError where the change is over."""
        row = _unfinished(tx, self.plan_id)
        if row.paused_by is not None:
            return
        tx.append(Entry(LeafKind.PAUSED, self.plan_id, row.digest, sealed=self.sealed))
        tx.run("UPDATE plan SET paused_by = ?, paused_s = ? WHERE plan_id = ?", (self.by, int(tx.now_s), self.plan_id))


@dataclass(frozen=True, slots=True)
class ResumeChange:
    """Let a paused change go on, under the approval and the deadline that it had."""

    plan_id: bytes
    sealed: Sealed

    def run(self, tx: Tx) -> None:
        """Do it; raises RefusedCommandError where the change is over, or is not paused."""
        row = _unfinished(tx, self.plan_id)
        if row.paused_by is None:
            raise RefusedCommandError(RefusalReason.NOT_PAUSED, f"{row.short} is not paused")
        tx.append(Entry(LeafKind.RESUMED, self.plan_id, row.digest, sealed=self.sealed))
        tx.run("UPDATE plan SET paused_by = NULL, paused_s = NULL WHERE plan_id = ?", (self.plan_id,))
