"""Cancel, freeze, unfreeze: signed by a person, ordered by the writer against `Consume` and every "about to"."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from agent.changes.journal.commands import plan_row
from agent.changes.journal.machine import Gate
from agent.reasons import RefusalReason
from agent.store.db import Tx
from agent.store.errors import RefusedCommandError
from agent.store.log_store import Entry, Sealed
from trust.leaf import LeafKind
from trust.statements import Cancel, Freeze, Unfreeze

FREEZES_MAX: Final = 20
"""Freezes that one person may hold: each takes two people to lift, and a stolen key must not halt an agent for good."""


@dataclass(frozen=True, slots=True)
class RecordCancel:
    """Take plans back, by digest; a cancel may come before its plan does."""

    cancel: Cancel
    envelope: bytes
    sealed: Sealed

    def run(self, tx: Tx) -> list[str]:
        """Return the short ids of the plans that were not started and now never will be."""
        stopped = []
        for digest in (bytes.fromhex(p) for p in self.cancel.plans):
            if tx.one("SELECT 1 FROM cancelled WHERE plan_digest = ?", (digest,)):
                continue  # again: it stopped already what it can stop
            tx.raise_high_water = True  # a restored older copy does not know this cancel
            seq = tx.append(Entry(LeafKind.CANCEL, plan_digest=digest, sealed=self.sealed))
            tx.run(
                "INSERT OR IGNORE INTO cancelled (plan_digest, envelope, seq) VALUES (?,?,?)",
                (digest, self.envelope, seq),
            )
            row = tx.one("SELECT plan_id FROM plan WHERE digest = ?", (digest,))
            if row is None:
                continue
            plan = plan_row(tx, bytes(row["plan_id"]))
            if plan.gate in (Gate.OPEN, Gate.APPROVED):
                tx.run(
                    "UPDATE plan SET gate = ?, gate_seq = ? WHERE plan_id = ?",
                    (Gate.CANCELLED.value, seq, plan.plan_id),
                )
                stopped.append(plan.short)
        return stopped


@dataclass(frozen=True, slots=True)
class RecordFreeze:
    """From now on nothing that the freeze covers is sent. A replayed one changes nothing, even once lifted."""

    freeze: Freeze
    digest: bytes
    envelope: bytes
    sealed: Sealed

    def run(self, tx: Tx) -> bool:
        """Return whether it is new; raises RefusedCommandError where its person holds too many."""
        freeze_id = bytes.fromhex(self.freeze.freeze_id)
        if tx.one("SELECT 1 FROM freeze WHERE freeze_id = ?", (freeze_id,)):
            return False
        held = "SELECT 1 FROM freeze WHERE person = ? AND lifted_seq IS NULL AND coalesce(expires_s > ?, 1)"
        if len(tx.all(held, (self.freeze.person, tx.now_s))) >= FREEZES_MAX:
            raise RefusedCommandError(
                RefusalReason.TOO_MANY_FREEZES,
                f"{self.freeze.person} holds {FREEZES_MAX} freezes already: lift some (ispcloud changes unfreeze)",
            )
        tx.raise_high_water = True  # a restored older copy does not know this freeze
        seq = tx.append(Entry(LeafKind.FREEZE, sealed=self.sealed))
        tx.run(
            "INSERT INTO freeze (freeze_id, digest, scope, target, person, expires_s, envelope, seq)"
            " VALUES (?,?,?,?,?,?,?,?)",
            (
                freeze_id,
                self.digest,
                self.freeze.scope.value,
                self.freeze.target,
                self.freeze.person,
                self.freeze.expires * 60 or None,
                self.envelope,
                seq,
            ),
        )
        return True


_BY_DIGEST: Final = "SELECT freeze_id, lifted_seq FROM freeze WHERE digest = ?"


@dataclass(frozen=True, slots=True)
class RecordUnfreeze:
    """Lift freezes: two people signed this envelope. Of several, those that are known here and hold."""

    unfreeze: Unfreeze
    envelope: bytes
    sealed: Sealed

    def run(self, tx: Tx) -> int:
        """Return how many are lifted; raises RefusedCommandError where it is none."""
        named = [bytes.fromhex(sha256) for sha256 in self.unfreeze.freezes]
        known = [row for digest in named if (row := tx.one(_BY_DIGEST, (digest,))) is not None]
        if not known:
            raise RefusedCommandError(
                RefusalReason.UNKNOWN_FREEZE,
                "none of the freezes that it lifts is known here: it is of another agent, or came first",
            )
        held = [row["freeze_id"] for row in known if row["lifted_seq"] is None]
        if not held:
            raise RefusedCommandError(RefusalReason.LIFTED, "this freeze was lifted already")
        seq = tx.append(Entry(LeafKind.UNFREEZE, sealed=self.sealed))
        for freeze_id in held:
            tx.run(
                "UPDATE freeze SET lifted_seq = ?, lifted_by = ? WHERE freeze_id = ?", (seq, self.envelope, freeze_id)
            )
        return len(held)
