"""The commands of plans, each one transaction with its leaf: saved, approved, used once, finished.

* `Consume` is durable before anything else of the plan: it checks everything that may have changed since the approval.
* A plan is consumed once, and one that was consumed is never rejected, cancelled or void: its items are.
* A deadline holds by the wall clock and by the boot-time clock: setting the one back prolongs nothing.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from agent.changes.journal import budget
from agent.changes.journal.machine import Gate
from agent.changes.journal.trust_state import doubt_text, freezes, stored_doubt, version_of
from agent.model import (
    ItemState,
    ReasonChange,
    SuspensionReason,
)
from agent.reasons import RefusalReason
from agent.runtime.clock import Now
from agent.store.db import Tx
from agent.store.errors import RefusedCommandError
from agent.store.log_store import Entry, Sealed
from agent.store.mail import Post, post
from agent.store.stored import MISREAD, misread
from trust import envelope as envelopes
from trust.document import ED25519
from trust.errors import TrustError
from trust.keys import key_id
from trust.leaf import LeafKind
from trust.policy import RiskClass

HALT = "clock_halt"


@dataclass(frozen=True, slots=True)
class Deadline:
    """A deadline on both clocks; passed when either says so."""

    wall_s: float
    boot_s: float
    boot_id: str

    def passed(self, now: Now) -> bool:
        """Return whether either clock says that it has passed."""
        return now.wall_s >= self.wall_s or (now.boot_id == self.boot_id and now.boot_s >= self.boot_s)

    def clock_set_s(self, now: Now) -> float:
        """Return by how many seconds the wall clock was set since the deadline was made; 0 in another boot.

        There nothing tells it.
        """
        if not self.boot_id or now.boot_id != self.boot_id:
            return 0.0
        return (now.wall_s - now.boot_s) - (self.wall_s - self.boot_s)


@dataclass(frozen=True, slots=True)
class NewItem:
    """An item as the preview saves it. `doc` is sealed under its subject's key; `part`: see `preview.part_of`."""

    n: int
    doc: bytes
    leaf: bytes
    subject: bytes
    service: str | None
    state: ItemState
    reason: str
    part: str | None = None


@dataclass(frozen=True, slots=True)
class SavePlan:
    """Save intent, plan and items: the preview, durable. The intent id is the replay guard."""

    plan_id: bytes
    short: str
    digest: bytes
    envelope: bytes
    intent_id: bytes
    intent_digest: bytes
    intent_envelope: bytes | None
    action: str
    risk: str
    reason: str
    requester: str
    made_s: int
    start_by: Deadline
    run_until: Deadline
    reverts: bytes | None
    head: bytes
    hold: bool
    items: tuple[NewItem, ...]
    intent_record: Sealed
    plan_record: Sealed
    again_of: bytes | None = None

    def run(self, tx: Tx) -> bool:
        """Return whether it is saved. False: another plan has that short id, and nothing was written."""
        if tx.one("SELECT 1 FROM intent WHERE intent_id = ?", (self.intent_id,)):
            raise RefusedCommandError(
                RefusalReason.REPLAYED_INTENT,
                "this intent was already answered with a plan: see ispagent change list, or sign a new one",
            )
        if tx.one("SELECT 1 FROM plan WHERE short = ?", (self.short,)):
            return False
        intent_seq = tx.append(Entry(LeafKind.INTENT, sealed=self.intent_record))
        tx.run(
            "INSERT INTO intent (intent_id, digest, requester, envelope, seq) VALUES (?,?,?,?,?)",
            (self.intent_id, self.intent_digest, self.requester, self.intent_envelope, intent_seq),
        )
        seq = tx.append(Entry(LeafKind.PLAN, self.plan_id, self.digest, sealed=self.plan_record))
        tx.run(
            "INSERT INTO plan (plan_id, short, digest, envelope, intent_id, action, risk, reason, requester, made_s,"
            " start_by_s, run_until_s, boot_id, start_by_boot, run_until_boot, reverts, again_of, head, hold, gate,"
            " gate_seq) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
            (
                self.plan_id,
                self.short,
                self.digest,
                self.envelope,
                self.intent_id,
                self.action,
                self.risk,
                self.reason,
                self.requester,
                self.made_s,
                int(self.start_by.wall_s),
                int(self.run_until.wall_s),
                self.start_by.boot_id,
                self.start_by.boot_s,
                self.run_until.boot_s,
                self.reverts,
                self.again_of,
                self.head,
                self.hold,
                Gate.OPEN.value,
                seq,
            ),
        )
        tx.many(
            "INSERT INTO item (plan_id, n, doc, leaf, subject, service, state, state_seq, reason, part)"
            " VALUES (?,?,?,?,?,?,?,?,?,?)",
            [
                (self.plan_id, i.n, i.doc, i.leaf, i.subject, i.service, i.state.value, seq, i.reason, i.part)
                for i in self.items
            ],
        )
        post(tx, Post("plan", self.envelope))
        return True


@dataclass(frozen=True, slots=True)
class RefuseIntent:
    """Record that a signed intent was refused: whoever carries it cannot have it tried again in a better hour.

    `until_s`: when it is out of date, unix seconds.
    """

    intent_id: bytes
    until_s: int

    def run(self, tx: Tx) -> None:
        """Delete refusals that are out of date as well."""
        tx.run("DELETE FROM refused_intent WHERE until_s < ?", (int(tx.now_s),))
        tx.run("INSERT OR IGNORE INTO refused_intent (intent_id, until_s) VALUES (?,?)", (self.intent_id, self.until_s))


@dataclass(frozen=True, slots=True)
class SetGate:
    """Move a plan's gate (approved, held, rejected, cancelled, expired, void) while it is not consumed."""

    plan_id: bytes
    gate: Gate
    kind: LeafKind
    sealed: Sealed | None = None

    def run(self, tx: Tx) -> int:
        """Return the sequence number of the event."""
        row = plan_row(tx, self.plan_id)
        if row.gate is Gate.CONSUMED:
            raise RefusedCommandError(RefusalReason.CONSUMED, f"{row.short} has already started: pause or cancel it")
        seq = tx.append(Entry(self.kind, self.plan_id, row.digest, sealed=self.sealed))
        tx.run("UPDATE plan SET gate = ?, gate_seq = ? WHERE plan_id = ?", (self.gate.value, seq, self.plan_id))
        return seq


@dataclass(frozen=True, slots=True)
class Release:
    """Let a held plan start by itself."""

    plan_id: bytes

    def run(self, tx: Tx) -> None:
        row = plan_row(tx, self.plan_id)
        if row.gate not in (Gate.OPEN, Gate.APPROVED):
            raise RefusedCommandError(
                RefusalReason.CLOSED, f"{row.short} is {row.gate.value}: nothing is left to start"
            )
        tx.run("UPDATE plan SET hold = 0 WHERE plan_id = ?", (self.plan_id,))


@dataclass(frozen=True, slots=True)
class Kept:
    """An approval as it is kept. `from_cloud`: it came by the control plane, so a class *local* does not count it."""

    envelope: bytes
    from_cloud: bool


def kept_approvals(tx: Tx, plan_id: bytes, but: str = "") -> list[Kept]:
    """Return the approvals of a plan in the order in which they came, without those of the person `but`."""
    rows = tx.all(
        "SELECT envelope, from_cloud FROM approval WHERE plan_id = ? AND person <> ? ORDER BY seq", (plan_id, but)
    )
    return [Kept(bytes(r["envelope"]), bool(r["from_cloud"])) for r in rows]


@dataclass(frozen=True, slots=True)
class AddApproval:
    """Keep an approval or rejection; one a person (a later one replaces the earlier).

    `judge` is given the kept approvals of the others and says where the plan stands with this one, inside the
    transaction: two that arrive together both count. `key` is the signer's public key, hex.
    """

    plan_id: bytes
    person: str
    key: str
    decision: str
    envelope: bytes
    judge: Callable[[Tx, Sequence[Kept], Kept], Gate]
    sealed: Sealed
    from_cloud: bool = False

    def run(self, tx: Tx) -> Gate:
        """Return where the plan stands now."""
        row = plan_row(tx, self.plan_id)
        if row.gate not in (Gate.OPEN, Gate.APPROVED):
            over = "started" if row.gate is Gate.CONSUMED else row.gate.value
            raise RefusedCommandError(RefusalReason.CLOSED, f"{row.short} is {over} already: it takes no approvals")
        mine = Kept(self.envelope, self.from_cloud and not self._came_by_hand(tx))
        gate = self.judge(tx, kept_approvals(tx, self.plan_id, self.person), mine)
        kind = LeafKind.APPROVAL if self.decision == "approve" else LeafKind.REJECTION
        if kind is LeafKind.REJECTION:
            tx.raise_high_water = True  # a restored older copy does not know this rejection
        seq = tx.append(Entry(kind, self.plan_id, row.digest, sealed=self.sealed))
        tx.run(
            "INSERT OR REPLACE INTO approval (plan_id, person, key, decision, envelope, seq, from_cloud)"
            " VALUES (?,?,?,?,?,?,?)",
            (self.plan_id, self.person, self.key, self.decision, self.envelope, seq, mine.from_cloud),
        )
        if gate is not row.gate:  # else one approval more would cost a plan its place in the queue
            tx.run("UPDATE plan SET gate = ?, gate_seq = ? WHERE plan_id = ?", (gate.value, seq, self.plan_id))
        return gate

    def _came_by_hand(self, tx: Tx) -> bool:
        """Return whether this very approval came by the local socket already: the cloud does not make it weaker."""
        query = "SELECT 1 FROM approval WHERE plan_id = ? AND envelope = ? AND from_cloud = 0"
        return tx.one(query, (self.plan_id, self.envelope)) is not None


@dataclass(frozen=True, slots=True)
class PlanRow:
    """A plan as it stands in the database."""

    plan_id: bytes
    short: str
    digest: bytes
    envelope: bytes
    intent_id: bytes
    action: str
    risk: str
    reason: str
    requester: str
    made_s: int
    start_by: Deadline
    run_until: Deadline
    reverts: bytes | None
    head: bytes
    hold: bool
    gate: Gate
    consumed_seq: int | None
    finished_seq: int | None
    paused_by: str | None = None
    """The handle of the person that paused it; None: it is not paused."""
    paused_s: int | None = None

    @property
    def lifts(self) -> SuspensionReason | None:
        """The suspension reason that the plan lifts; None where it lifts none."""
        return next((r for r in SuspensionReason if self.reason == str(ReasonChange(r, added=False))), None)


def read_plan_row(row: sqlite3.Row) -> PlanRow:
    """Return a row of the `plan` table, typed.

    Raises:
        DamagedValueError: it holds what no plan has.
    """
    try:
        return PlanRow(
            plan_id=bytes(row["plan_id"]),
            short=row["short"],
            digest=bytes(row["digest"]),
            envelope=bytes(row["envelope"]),
            intent_id=bytes(row["intent_id"]),
            action=row["action"],
            risk=row["risk"],
            reason=row["reason"],
            requester=row["requester"],
            made_s=row["made_s"],
            start_by=Deadline(row["start_by_s"], row["start_by_boot"], row["boot_id"]),
            run_until=Deadline(row["run_until_s"], row["run_until_boot"], row["boot_id"]),
            reverts=None if row["reverts"] is None else bytes(row["reverts"]),
            head=bytes(row["head"]),
            hold=bool(row["hold"]),
            gate=Gate(row["gate"]),
            consumed_seq=row["consumed_seq"],
            finished_seq=row["finished_seq"],
            paused_by=row["paused_by"],
            paused_s=row["paused_s"],
        )
    except MISREAD as err:
        raise misread("plan") from err


def plan_row(tx: Tx, plan_id: bytes) -> PlanRow:
    """Return a plan's row.

    Raises:
        RefusedCommandError: there is no such plan.
    """
    row = tx.one("SELECT * FROM plan WHERE plan_id = ?", (plan_id,))
    if row is None:
        raise RefusedCommandError(
            RefusalReason.UNKNOWN_PLAN, f"there is no change {plan_id.hex()}: ispagent change list shows them"
        )
    return read_plan_row(row)


def frozen_by(tx: Tx, plan_id: bytes, requester: str) -> str | None:
    """Return the person that froze a part of this plan, or None. A freeze of another agent is never stored."""
    approvals = tx.all("SELECT person, key FROM approval WHERE plan_id = ?", (plan_id,))
    people = {requester, *(r["person"] for r in approvals)}
    keys = {r["key"] for r in approvals}
    for scope, target, person in freezes(tx.all, tx.now_s).rows:
        named = {"person": people, "key": keys}.get(scope)
        if named is None or target in named or _stands_on(tx, plan_id, scope, target):
            return person
    return None


def _stands_on(tx: Tx, plan_id: bytes, scope: str, target: str) -> bool:
    """Return whether a frozen key, or a key of a frozen person, signed the plan's intent or its standing authority."""
    trust = version_of(tx.trust_version, tx.all) if scope == "person" else None
    person = trust.person(target) if trust else None
    listed = [k.pub for k in person.keys if k.kind == ED25519] if person else []
    frozen = [bytes.fromhex(key) for key in (listed if scope == "person" else [target])]
    used = "SELECT envelope FROM standing_use JOIN standing USING (standing_id) WHERE plan_id = ?"
    found = [bytes(r["envelope"]) for r in tx.all(used, (plan_id,))]
    asked = tx.one("SELECT i.envelope FROM plan JOIN intent i USING (intent_id) WHERE plan_id = ?", (plan_id,))
    intent = bytes(asked["envelope"] or b"") if asked else b""
    # We wrote it, so a signer's id stands in it as it is: ten thousand subjects are not parsed at each step
    if any(key_id(public).encode() in intent for public in frozen):
        found.append(intent)
    try:
        return any(envelopes.signed_by(envelopes.decode_untrusted(data), frozen) for data in found)
    except TrustError:  # a bad signature that names a frozen key
        return True


def refuse_if_stopped(tx: Tx, plan_id: bytes, requester: str) -> None:
    """Refuse while the agent's clock is halted or a freeze covers the plan.

    Raises:
        RefusedCommandError: `clock-halt` or `frozen`.
    """
    if tx.one("SELECT 1 FROM meta WHERE key = ?", (HALT,)):
        raise RefusedCommandError(
            RefusalReason.CLOCK_HALT,
            "applying is halted: the clock jumped. See ispagent status, set the clock right, then:"
            " ispagent clock accept",
        )
    if (who := frozen_by(tx, plan_id, requester)) is not None:
        raise RefusedCommandError(
            RefusalReason.FROZEN,
            f"frozen by {who}: nothing is sent until two people lift it (ispcloud changes unfreeze)",
        )


def refuse_if_contradicted(tx: Tx) -> None:
    """Refuse to start anything while a witness has seen another log of this agent.

    Raises:
        RefusedCommandError: `not-witnessed`.
    """
    if (witness := tx.one("SELECT name FROM witness_seen WHERE conflict <> 0")) is not None:
        raise RefusedCommandError(
            RefusalReason.NOT_WITNESSED,
            f"the witness {witness['name']} has seen another log of this agent: nothing starts"
            " before people have compared them (docs/operations.md)",
        )


def refuse_in_doubt(tx: Tx) -> None:
    """Refuse to start anything while a newer trust version than the pinned one may have removed its approvers.

    Raises:
        RefusedCommandError: `trust-in-doubt`.
    """
    if problem := doubt_text(stored_doubt(tx.all), tx.trust_version):
        raise RefusedCommandError(RefusalReason.TRUST_IN_DOUBT, f"trust: {problem}")


@dataclass(frozen=True, slots=True)
class Consume:
    """Use a plan, once. `still_approved` judges the kept approvals again; `then` happens in the same transaction."""

    plan_id: bytes
    now: Now
    still_approved: Callable[[Tx, Sequence[Kept]], None]
    then: Callable[[Tx], object]
    budget_per_hour: int
    sealed: Sealed

    def run(self, tx: Tx) -> int:
        """Return the sequence number of the event; raises RefusedCommandError with the reason."""
        row = plan_row(tx, self.plan_id)
        if row.consumed_seq is not None:
            raise RefusedCommandError(
                RefusalReason.CONSUMED, f"the plan of {row.short} was already used: ask for the change anew"
            )
        if row.gate is not Gate.APPROVED:
            raise RefusedCommandError(
                RefusalReason.NOT_APPROVED, f"{row.short} is {row.gate.value}, and starts once it is approved"
            )
        if row.start_by.passed(self.now):
            raise RefusedCommandError(
                RefusalReason.EXPIRED, f"the start-by time of {row.short} has passed: ask for the change anew"
            )
        if tx.one("SELECT 1 FROM cancelled WHERE plan_digest = ?", (row.digest,)):
            raise RefusedCommandError(RefusalReason.CANCELLED, "a cancel arrived before the start")
        if row.paused_by is not None:
            raise RefusedCommandError(RefusalReason.PAUSED, f"paused by {row.paused_by}")
        refuse_if_stopped(tx, self.plan_id, row.requester)
        refuse_if_contradicted(tx)
        refuse_in_doubt(tx)
        self._refuse_over_budget(tx, row)
        self.still_approved(tx, kept_approvals(tx, self.plan_id))
        tx.run("UPDATE standing_use SET at_s = ? WHERE plan_id = ?", (int(tx.now_s), self.plan_id))
        seq = tx.append(Entry(LeafKind.CONSUMED, self.plan_id, row.digest, sealed=self.sealed))
        tx.run(
            "UPDATE plan SET gate = ?, gate_seq = ?, consumed_seq = ? WHERE plan_id = ?",
            (Gate.CONSUMED.value, seq, seq, self.plan_id),
        )
        if row.risk == RiskClass.ALONE.value:
            opened = tx.append(Entry(LeafKind.REVIEW_OPENED, self.plan_id, row.digest, sealed=self.sealed))
            tx.run("INSERT INTO review (plan_id, opened_seq) VALUES (?,?)", (self.plan_id, opened))
        self.then(tx)
        tx.raise_high_water = True
        return seq

    def _refuse_over_budget(self, tx: Tx, row: PlanRow) -> None:
        """Ten thousand plans of one item are not low risk: a class has a rolling budget of items."""
        mine = budget.size_of(tx.all, self.plan_id)
        used = sum(n for _, n in budget.uses_of(tx.all, row.risk, tx.now_s))
        # Counted where it is consumed: two plans that each fit would otherwise start in one moment
        if used + mine > self.budget_per_hour:
            raise RefusedCommandError(
                RefusalReason.OVER_BUDGET,
                f"class {row.risk} may change {self.budget_per_hour} services an hour: {used} were, this adds {mine}",
            )


def append_ending(tx: Tx, plan_id: bytes, digest: bytes, record: Callable[[int], Sealed]) -> int:
    """Append the leaf of an outcome; its record says how many leaves the plan has, this one included.

    Whoever leaves a line out of an export is found by that number. It stands in the record and not in the outcome: the
    control plane sees outcomes, and it would tell how many services a change was about.
    """
    mine = tx.all("SELECT count(*) AS n FROM event WHERE plan = ?", (plan_id,))[0]["n"]
    cancelled = tx.one("SELECT 1 FROM cancelled WHERE plan_digest = ?", (digest,)) is not None
    return tx.append(Entry(LeafKind.CHANGE_FINISHED, plan_id, digest, sealed=record(mine + cancelled + 1)))


@dataclass(frozen=True, slots=True)
class Finish:
    """The run is over: its outcome envelope is durable, and in the outbox of an agent that has a control plane.

    `record`: returns the leaf's record for the number of the plan's leaves, as in `append_ending`.
    """

    plan_id: bytes
    envelope: bytes
    record: Callable[[int], Sealed]

    def run(self, tx: Tx) -> int:
        """Return the sequence number of the event."""
        plan = plan_row(tx, self.plan_id)
        seq = append_ending(tx, self.plan_id, plan.digest, self.record)
        tx.run(
            "UPDATE plan SET finished_seq = ?, outcome = ?, outcome_due = 0 WHERE plan_id = ?",
            (seq, self.envelope, self.plan_id),
        )
        post(tx, Post("outcome", self.envelope))
        tx.run("DELETE FROM address_lock WHERE plan_id = ?", (self.plan_id,))
        return seq


@dataclass(frozen=True, slots=True)
class TellLater:
    """A later outcome of a run that is over: its items were judged again. In the outbox as the first one was."""

    plan_id: bytes
    envelope: bytes
    record: Callable[[int], Sealed]

    def run(self, tx: Tx) -> bool:
        """Return whether it is told now; a run that was opened again meanwhile tells its own."""
        plan = plan_row(tx, self.plan_id)
        if plan.finished_seq is None:
            return False
        append_ending(tx, self.plan_id, plan.digest, self.record)
        tx.run("UPDATE plan SET outcome = ?, outcome_due = 0 WHERE plan_id = ?", (self.envelope, self.plan_id))
        post(tx, Post("outcome", self.envelope))
        return True


@dataclass(frozen=True, slots=True)
class Conclude:
    """Store once, for all desks, how a change ended before its start: rejected, cancelled, expired or void."""

    plan_id: bytes
    gate: Gate
    envelope: bytes
    record: Callable[[int], Sealed]

    def run(self, tx: Tx) -> bool:
        """Return whether it is told now."""
        told = "UPDATE plan SET outcome = ? WHERE plan_id = ? AND gate = ? AND outcome IS NULL"
        if tx.run(told, (self.envelope, self.plan_id, self.gate.value)) != 1:
            return False
        append_ending(tx, self.plan_id, plan_row(tx, self.plan_id).digest, self.record)
        post(tx, Post("outcome", self.envelope))
        return True
