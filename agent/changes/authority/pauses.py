"""Pause and resume of one change, by a person at the agent's socket or by a statement that they signed.

* While a change is paused nothing of it begins: `Consume` and the first "about to" of each item are refused.
* A begun item goes on to its end, as declared: a pause leaves nothing half done.
* A pause takes nothing from the approval and adds nothing to it: the plan's deadline stays as it was signed.
* Whoever may ask for changes of this agent or decide them may pause one. The person that paused it lets it go on, an
  approver or an owner (`trust.verify.pause_problem`, `resume_problem`).
* A statement acts once: it may come by file and by the control plane, now and again later.
"""

from __future__ import annotations

from collections.abc import Callable
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


@dataclass(frozen=True, slots=True)
class Stated:
    """A signed pause or resume: its digest, and the envelope's bytes."""

    digest: bytes
    envelope: bytes


def paused(query: Query) -> dict[bytes, Paused]:
    """Return the pauses in force, by plan, as the database has them now."""
    found = query("SELECT plan_id, paused_by, paused_s FROM plan WHERE paused_by IS NOT NULL", ())
    return {bytes(row["plan_id"]): Paused(row["paused_by"], row["paused_s"]) for row in found}


def _unfinished(tx: Tx, plan_id: bytes) -> PlanRow:
    row = plan_row(tx, plan_id)
    # One that ended while it was paused is retried once a person lets it go on
    ended = row.finished_seq is not None and row.paused_by is None
    if ended or row.gate not in (Gate.OPEN, Gate.APPROVED, Gate.CONSUMED):
        over = "over" if row.gate is Gate.CONSUMED else row.gate.value
        raise RefusedCommandError(RefusalReason.CLOSED, f"{row.short} is {over}: there is nothing to pause or resume")
    return row


def _is_taken(tx: Tx, stated: Stated | None) -> bool:
    return stated is not None and bool(tx.one("SELECT 1 FROM pause_statement WHERE digest = ?", (stated.digest,)))


def _keep(tx: Tx, plan_id: bytes, stated: Stated | None) -> None:
    if stated is not None:
        tx.run(
            "INSERT INTO pause_statement (digest, plan_id, envelope) VALUES (?,?,?)",
            (stated.digest, plan_id, stated.envelope),
        )


@dataclass(frozen=True, slots=True)
class PauseChange:
    """Pause a change: nothing more of it is begun until a person resumes it. A second pause changes nothing."""

    plan_id: bytes
    by: str
    sealed: Sealed
    stated: Stated | None = None

    def run(self, tx: Tx) -> bool:
        """Return whether it was paused by this; raises RefusedCommandError where the change is over."""
        if _is_taken(tx, self.stated):
            return False
        row = _unfinished(tx, self.plan_id)
        _keep(tx, self.plan_id, self.stated)
        if row.paused_by is not None:
            return False
        tx.raise_high_water = True  # a restored older copy does not know this pause
        tx.append(Entry(LeafKind.PAUSED, self.plan_id, row.digest, sealed=self.sealed))
        tx.run("UPDATE plan SET paused_by = ?, paused_s = ? WHERE plan_id = ?", (self.by, int(tx.now_s), self.plan_id))
        return True


@dataclass(frozen=True, slots=True)
class ResumeChange:
    """Let a paused change go on, under the approval and the deadline that it had.

    `judge` refuses the person, by the pause that is in force.
    """

    plan_id: bytes
    judge: Callable[[Paused], None]
    sealed: Sealed
    stated: Stated | None = None

    def run(self, tx: Tx) -> bool:
        """Return whether it goes on by this; raises RefusedCommandError: it is over, not paused, or not theirs."""
        if _is_taken(tx, self.stated):
            return False
        row = _unfinished(tx, self.plan_id)
        if row.paused_by is None or row.paused_s is None:
            raise RefusedCommandError(RefusalReason.NOT_PAUSED, f"{row.short} is not paused: it goes on by itself")
        self.judge(Paused(row.paused_by, row.paused_s))
        _keep(tx, self.plan_id, self.stated)
        tx.append(Entry(LeafKind.RESUMED, self.plan_id, row.digest, sealed=self.sealed))
        tx.run("UPDATE plan SET paused_by = NULL, paused_s = NULL WHERE plan_id = ?", (self.plan_id,))
        return True
