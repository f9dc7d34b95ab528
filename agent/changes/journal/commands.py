"""The journal of changes: every command that moves a plan, an item or a step, each one transaction with its leaf.

Order is the safety:

* `Consume` before anything else of the plan.
* `AboutTo` is durable before the step's first byte. It checks, in its own transaction, everything that may have changed
  since: cancel, freeze, clock halt, deadlines, addresses that another change holds, the facts that the item requires.
  It refuses before it writes. The first one of an item takes the item's addresses.
* `StepDone` is durable before any step whose `after` names it: before the next `AboutTo`, or with it (`NextStep`).
* The item's addresses are given back with its last move (`EndItem`), which brings the outcome that is still owed.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from agent.changes.journal.machine import FINAL, UNSENT, Event, Gate, next_state
from agent.changes.journal.trust_state import freezes, version_of
from agent.inventory.book import Broken
from agent.model import (
    Address,
    DesiredChange,
    Direction,
    ItemState,
    ReasonChange,
    Seen,
    StepOutcome,
    SuspensionReason,
    TariffChange,
)
from agent.reasons import ItemReason, RefusalReason
from agent.store.db import Tx
from agent.store.errors import RefusedCommandError
from agent.store.log_store import Entry, Sealed
from agent.store.mail import Post, post
from trust import envelope as envelopes
from trust.document import ED25519
from trust.errors import TrustError
from trust.items import decode_value_untrusted, encode_value
from trust.keys import key_id
from trust.leaf import ITEM_STATE_CODES, VERDICT_CODES, LeafKind
from trust.policy import RiskClass

HALT = "clock_halt"
HOUR_S = 3600


@dataclass(frozen=True, slots=True)
class Now:
    """The moment by both clocks: wall (unix seconds), and boot-time seconds with the boot they count from."""

    wall_s: float
    boot_s: float
    boot_id: str


@dataclass(frozen=True, slots=True)
class Deadline:
    """A deadline on both clocks; passed when either says so."""

    wall_s: float
    boot_s: float
    boot_id: str

    def passed(self, now: Now) -> bool:
        """Return whether either clock says that it has passed."""
        return now.wall_s >= self.wall_s or (now.boot_id == self.boot_id and now.boot_s >= self.boot_s)


@dataclass(frozen=True, slots=True)
class NewItem:
    """An item as the preview saves it. `doc` is sealed under its subject's key."""

    n: int
    doc: bytes
    subject: bytes
    service: str | None
    state: ItemState
    reason: str


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

    def run(self, tx: Tx) -> int:
        """Return the sequence number of the plan's event."""
        if tx.one("SELECT 1 FROM intent WHERE intent_id = ?", (self.intent_id,)):
            raise RefusedCommandError(RefusalReason.REPLAYED_INTENT, "this intent was already answered with a plan")
        intent_seq = tx.append(Entry(LeafKind.INTENT, sealed=self.intent_record))
        tx.run(
            "INSERT INTO intent (intent_id, digest, requester, envelope, seq) VALUES (?,?,?,?,?)",
            (self.intent_id, self.intent_digest, self.requester, self.intent_envelope, intent_seq),
        )
        seq = tx.append(Entry(LeafKind.PLAN, self.plan_id, self.digest, sealed=self.plan_record))
        tx.run(
            "INSERT INTO plan (plan_id, short, digest, envelope, intent_id, action, risk, reason, requester, made_s,"
            " start_by_s, run_until_s, boot_id, start_by_boot, run_until_boot, reverts, head, hold, gate, gate_seq)"
            " VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
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
                self.head,
                self.hold,
                Gate.OPEN.value,
                seq,
            ),
        )
        tx.many(
            "INSERT INTO item (plan_id, n, doc, subject, service, state, state_seq, reason) VALUES (?,?,?,?,?,?,?,?)",
            [(self.plan_id, i.n, i.doc, i.subject, i.service, i.state.value, seq, i.reason) for i in self.items],
        )
        post(tx, Post("plan", self.envelope))
        return seq


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
            raise RefusedCommandError(RefusalReason.CONSUMED, "the change has already started")
        seq = tx.append(Entry(self.kind, self.plan_id, row.digest, sealed=self.sealed))
        tx.run("UPDATE plan SET gate = ?, gate_seq = ? WHERE plan_id = ?", (self.gate.value, seq, self.plan_id))
        return seq


@dataclass(frozen=True, slots=True)
class Release:
    """Let a held plan start by itself."""

    plan_id: bytes

    def run(self, tx: Tx) -> None:
        """Do it."""
        row = plan_row(tx, self.plan_id)
        if row.gate not in (Gate.OPEN, Gate.APPROVED):
            raise RefusedCommandError(RefusalReason.CLOSED, f"the change is {row.gate.value}")
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
            raise RefusedCommandError(RefusalReason.CLOSED, f"the change is {row.gate.value}: it takes no approvals")
        mine = Kept(self.envelope, self.from_cloud and not self._came_by_hand(tx))
        gate = self.judge(tx, kept_approvals(tx, self.plan_id, self.person), mine)
        kind = LeafKind.APPROVAL if self.decision == "approve" else LeafKind.REJECTION
        seq = tx.append(Entry(kind, self.plan_id, row.digest, sealed=self.sealed))
        tx.run(
            "INSERT OR REPLACE INTO approval (plan_id, person, key, decision, envelope, seq, from_cloud)"
            " VALUES (?,?,?,?,?,?,?)",
            (self.plan_id, self.person, self.key, self.decision, self.envelope, seq, mine.from_cloud),
        )
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

    @property
    def lifts(self) -> SuspensionReason | None:
        """The suspension reason that the plan lifts; None where it lifts none."""
        return next((r for r in SuspensionReason if self.reason == str(ReasonChange(r, added=False))), None)


def read_plan_row(row: sqlite3.Row) -> PlanRow:
    """Return a row of the `plan` table, typed."""
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
    )


def plan_row(tx: Tx, plan_id: bytes) -> PlanRow:
    """Return a plan's row.

    Raises:
        RefusedCommandError: there is no such plan.
    """
    row = tx.one("SELECT * FROM plan WHERE plan_id = ?", (plan_id,))
    if row is None:
        raise RefusedCommandError(RefusalReason.UNKNOWN_PLAN, "there is no such change")
    return read_plan_row(row)


def frozen_by(tx: Tx, plan_id: bytes, requester: str) -> str | None:
    """Return the person who froze a part of this plan, or None. A freeze of another agent is never stored."""
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
            RefusalReason.CLOCK_HALT, "applying is halted: the clock jumped (ispagent clock accept)"
        )
    if (who := frozen_by(tx, plan_id, requester)) is not None:
        raise RefusedCommandError(RefusalReason.FROZEN, f"frozen by {who}: nothing is sent until it is lifted")


def refuse_if_contradicted(tx: Tx) -> None:
    """Refuse to start anything while a witness has seen another log of this agent.

    Raises:
        RefusedCommandError: `not-witnessed`.
    """
    if (witness := tx.one("SELECT name FROM witness_seen WHERE conflict <> 0")) is not None:
        raise RefusedCommandError(
            RefusalReason.NOT_WITNESSED,
            f"the witness {witness['name']} has seen another log of this agent: nothing starts",
        )


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
            raise RefusedCommandError(RefusalReason.CONSUMED, "the plan was already used")
        if row.gate is not Gate.APPROVED:
            raise RefusedCommandError(RefusalReason.NOT_APPROVED, f"the change is {row.gate.value}")
        if row.start_by.passed(self.now):
            raise RefusedCommandError(RefusalReason.EXPIRED, "the plan's start-by time has passed")
        if tx.one("SELECT 1 FROM cancelled WHERE plan_digest = ?", (row.digest,)):
            raise RefusedCommandError(RefusalReason.CANCELLED, "a cancel arrived before the start")
        refuse_if_stopped(tx, self.plan_id, row.requester)
        refuse_if_contradicted(tx)
        self._refuse_over_budget(tx, row)
        self.still_approved(tx, kept_approvals(tx, self.plan_id))
        tx.run("UPDATE standing_use SET at_s = ? WHERE plan_id = ?", (int(tx.now_s), self.plan_id))
        seq = tx.append(Entry(LeafKind.CONSUMED, self.plan_id, row.digest, sealed=self.sealed))
        tx.run(
            "UPDATE plan SET gate = ?, gate_seq = ?, consumed_seq = ? WHERE plan_id = ?",
            (Gate.CONSUMED.value, seq, seq, self.plan_id),
        )
        if row.risk == RiskClass.ALONE.value:
            tx.append(Entry(LeafKind.REVIEW_OPENED, self.plan_id, row.digest, sealed=self.sealed))
        self.then(tx)
        tx.raise_high_water = True
        return seq

    def _refuse_over_budget(self, tx: Tx, row: PlanRow) -> None:
        """Ten thousand plans of one item are not low risk: a class has a rolling budget of items."""
        counted = "SELECT count(*) AS n FROM item WHERE plan_id = ? AND state NOT IN ('blocked', 'excluded')"
        mine = tx.all(counted, (self.plan_id,))[0]["n"]
        used = tx.all(
            "SELECT count(*) AS n FROM plan p JOIN event e ON e.seq = p.consumed_seq JOIN item i USING (plan_id)"
            " WHERE p.risk = ? AND e.at_s > ? AND i.state NOT IN ('blocked', 'excluded')",
            (row.risk, int(tx.now_s) - HOUR_S),
        )[0]["n"]
        if used + mine > self.budget_per_hour:
            raise RefusedCommandError(
                RefusalReason.OVER_BUDGET,
                f"class {row.risk} may change {self.budget_per_hour} services an hour: {used} were, this adds {mine}",
            )


@dataclass(frozen=True, slots=True)
class MoveItem:
    """Move an item along the machine's table; `desired` is recorded in the same transaction when its writes stand."""

    plan_id: bytes
    n: int
    event: Event
    reason: str
    detail: str
    sealed: Sealed
    desired: tuple[DesiredChange, ...] = ()
    service: str | None = None

    def run(self, tx: Tx) -> ItemState:
        """Return the new state; an item that a restore superseded meanwhile stays so, and the run learns it here."""
        state, digest = _standing(tx, self.plan_id, self.n)
        return state if state is ItemState.SUPERSEDED else _moved(tx, self, state, digest)


def move_item(tx: Tx, move: MoveItem) -> ItemState:
    """Move an item as `MoveItem` does, inside a larger command.

    Raises:
        RefusedCommandError: there is no such item.
        ImpossibleTransitionError: the table has no such way.
    """
    return _moved(tx, move, *_standing(tx, move.plan_id, move.n))


def _standing(tx: Tx, plan_id: bytes, n: int) -> tuple[ItemState, bytes]:
    """Return an item's state and its plan's digest."""
    row = tx.one(
        "SELECT i.state, p.digest FROM item i JOIN plan p USING (plan_id) WHERE plan_id = ? AND n = ?", (plan_id, n)
    )
    if row is None:
        raise RefusedCommandError(RefusalReason.UNKNOWN_ITEM, f"there is no item {n}")
    return ItemState(row["state"]), bytes(row["digest"])


def _moved(tx: Tx, move: MoveItem, before: ItemState, digest: bytes) -> ItemState:
    state = next_state(before, move.event)
    code = ITEM_STATE_CODES[state.value]
    entry = Entry(LeafKind.ITEM_STATE, move.plan_id, digest, item=move.n, code=code, sealed=move.sealed)
    seq = tx.append(entry)
    tx.run(
        "UPDATE item SET state = ?, state_seq = ?, reason = ?, detail = ? WHERE plan_id = ? AND n = ?",
        (state.value, seq, move.reason, move.detail, move.plan_id, move.n),
    )
    if move.service is not None:
        for change in move.desired:
            _record_desired(tx, move.service, change, move.plan_id, seq)
    return state


def _record_desired(tx: Tx, service: str, change: DesiredChange, plan_id: bytes, seq: int) -> None:
    if isinstance(change, TariffChange):
        tx.run("UPDATE service SET tariff = ? WHERE ref = ?", (change.after, service))
    elif change.added:
        tx.run(
            "INSERT OR REPLACE INTO reason (service, reason, plan_id, seq) VALUES (?,?,?,?)",
            (service, change.reason.value, plan_id, seq),
        )
    else:
        tx.run("DELETE FROM reason WHERE service = ? AND reason = ?", (service, change.reason.value))


def encode_bound(bound: Mapping[Address, Seen]) -> bytes:
    """Return the document of the resources that an effect was bound to."""
    return json.dumps(
        {a: [encode_value(s.value).decode(), s.at_s] for a, s in bound.items()}, separators=(",", ":")
    ).encode()


def decode_bound(data: bytes) -> dict[Address, Seen]:
    """Read a document of `encode_bound` (our own database: malformed means corrupt)."""
    return {Address(a): Seen(decode_value_untrusted(v.encode()), at) for a, (v, at) in json.loads(data).items()}


@dataclass(frozen=True, slots=True)
class AboutTo:
    """About to do a step: durable before its first byte. Moves a planned or waiting item to running as well.

    `unmet` reads the facts that the item requires, in this very transaction, and returns why one no longer holds.
    `take`: the addresses to hold from now on, all or none. `began`: the record of the item's first move; None: it was
    begun before.
    """

    plan_id: bytes
    n: int
    step: int
    direction: Direction
    do: bytes
    bound: Mapping[Address, Seen]
    now: Now
    unmet: Callable[[Tx, bool], Broken | None]
    take: tuple[Address, ...]
    sealed: Sealed
    began: Sealed | None

    def run(self, tx: Tx) -> int:
        """Return the attempt's number, from 1.

        Raises:
            RefusedCommandError: `clock-halt`, `frozen`, `cancelled`, `expired`, `over`, `busy`, or `not-required` or
                `stale` with the fact that changed meanwhile. Nothing was written then.
        """
        key = (self.plan_id, self.n, self.step, self.direction.value)
        row = tx.one(_BEFORE_STEP, (*key, self.plan_id, self.n))
        if row is None:
            raise RefusedCommandError(RefusalReason.UNKNOWN_ITEM, f"there is no item {self.n}")
        self._refuse(tx, row)
        digest = bytes(row["digest"])
        state = ItemState(row["state"])
        if self.began is not None and state in UNSENT:
            _moved(tx, MoveItem(self.plan_id, self.n, Event.BEGIN, "", "", self.began), state, digest)
        take_addresses(tx, self.plan_id, self.n, self.take)
        entry = Entry(LeafKind.ABOUT_TO, self.plan_id, digest, item=self.n, step=self.step, sealed=self.sealed)
        seq, attempt = tx.append(entry), 1 + int(row["attempts"])
        tx.run(
            "INSERT INTO step (plan_id, item, n, direction, attempt, about_seq, do, bound) VALUES (?,?,?,?,?,?,?,?)",
            (*key, attempt, seq, self.do, encode_bound(self.bound)),
        )
        return attempt

    def _refuse(self, tx: Tx, row: sqlite3.Row) -> None:
        state = ItemState(row["state"])
        if self.direction is Direction.FORWARD:
            _refuse_if_over(row, self.now)
        # The plan's declared revert may finish after its deadline, but not against a freeze
        if row["halted"] or row["freezes"]:
            refuse_if_stopped(tx, self.plan_id, row["requester"])
        if self.direction is Direction.FORWARD and state in FINAL:
            raise RefusedCommandError(RefusalReason.OVER, f"the item is {state.value}")
        refuse_if_held(tx, self.plan_id, self.take)
        if (broken := self.unmet(tx, state not in UNSENT)) is not None:
            raise RefusedCommandError(RefusalReason.STALE if broken.stale else RefusalReason.NOT_REQUIRED, broken.why)


_BEFORE_STEP = """
SELECT p.digest, p.requester, p.consumed_seq, p.run_until_s, p.run_until_boot, p.boot_id, i.state,
    EXISTS (SELECT 1 FROM cancelled WHERE plan_digest = p.digest) AS cancelled,
    EXISTS (SELECT 1 FROM meta WHERE key = 'clock_halt') AS halted,
    EXISTS (SELECT 1 FROM freeze WHERE lifted_seq IS NULL) AS freezes,
    (SELECT coalesce(max(attempt), 0) FROM step WHERE plan_id = ? AND item = ? AND n = ? AND direction = ?) AS attempts
FROM plan p JOIN item i USING (plan_id) WHERE plan_id = ? AND i.n = ?
"""
"""Everything that one "about to" rests on, but for facts and for freezes in detail, in one statement."""


def _refuse_if_over(row: sqlite3.Row, now: Now) -> None:
    """Refuse the next step of a plan that was cancelled, or is out of time.

    Raises:
        RefusedCommandError: `not-consumed`, `cancelled` or `expired`.
    """
    if row["consumed_seq"] is None:
        raise RefusedCommandError(RefusalReason.NOT_CONSUMED, "the plan was not consumed")
    if row["cancelled"]:
        raise RefusedCommandError(RefusalReason.CANCELLED, "cancelled before this step")
    if Deadline(row["run_until_s"], row["run_until_boot"], row["boot_id"]).passed(now):
        raise RefusedCommandError(RefusalReason.EXPIRED, "the plan's run-until time has passed")


@dataclass(frozen=True, slots=True)
class RecordReason:
    """An item that only records why a service is suspended: all checks of an about-to, and its end, in one."""

    move: MoveItem
    address: Address
    now: Now
    unmet: Callable[[Tx, bool], Broken | None]
    began: Sealed

    def run(self, tx: Tx) -> ItemState:
        """Return the new state; raises RefusedCommandError as `AboutTo` does."""
        plan_id = self.move.plan_id
        row = tx.one(_BEFORE_STEP, (plan_id, self.move.n, 0, "", plan_id, self.move.n))
        if row is None:
            raise RefusedCommandError(RefusalReason.UNKNOWN_ITEM, f"there is no item {self.move.n}")
        _refuse_if_over(row, self.now)
        refuse_if_stopped(tx, plan_id, row["requester"])
        refuse_if_held(tx, plan_id, (self.address,))
        if (broken := self.unmet(tx, False)) is not None:
            raise RefusedCommandError(RefusalReason.NOT_REQUIRED, broken.why)
        move_item(tx, MoveItem(plan_id, self.move.n, Event.BEGIN, "", "", self.began))
        return move_item(tx, self.move)


@dataclass(frozen=True, slots=True)
class StepDone:
    """The outcome of a ticket; a ticket is used once."""

    plan_id: bytes
    n: int
    step: int
    direction: Direction
    attempt: int
    outcome: StepOutcome
    sealed: Sealed

    def run(self, tx: Tx) -> int:
        """Return the sequence number of the event."""
        plan = tx.one("SELECT digest FROM plan WHERE plan_id = ?", (self.plan_id,))
        if plan is None:
            raise RefusedCommandError(RefusalReason.UNKNOWN_PLAN, "there is no such change")
        entry = Entry(
            LeafKind.STEP_OUTCOME,
            self.plan_id,
            bytes(plan["digest"]),
            item=self.n,
            step=self.step,
            code=VERDICT_CODES[self.outcome.verdict.value],
            sealed=self.sealed,
        )
        seq = tx.append(entry)
        said = (seq, self.outcome.verdict.value, self.outcome.reason, self.outcome.detail)
        changed = tx.run(
            "UPDATE step SET outcome_seq = ?, verdict = ?, reason = ?, detail = ?"
            " WHERE plan_id = ? AND item = ? AND n = ? AND direction = ? AND attempt = ?",
            (*said, self.plan_id, self.n, self.step, self.direction.value, self.attempt),
        )
        if changed != 1:
            raise RefusedCommandError(RefusalReason.NO_TICKET, f"item {self.n} step {self.step} has no such ticket")
        return seq


@dataclass(frozen=True, slots=True)
class NextStep:
    """The outcome of one step, and "about to" of the next, in one commit."""

    done: StepDone
    about: AboutTo

    def run(self, tx: Tx) -> int | RefusedCommandError:
        """Return the attempt's number, or why the next step is refused: the outcome stands in either case."""
        self.done.run(tx)
        try:
            return self.about.run(tx)
        except RefusedCommandError as refused:  # it refuses before it writes
            return refused


@dataclass(frozen=True, slots=True)
class EndItem:
    """The last move of an item's run, in one commit with its addresses given back and the outcome that is owed."""

    move: MoveItem
    done: StepDone | None
    give_back: tuple[Address, ...]

    def run(self, tx: Tx) -> ItemState:
        """Return the new state, as `MoveItem` does."""
        if self.done is not None:
            self.done.run(tx)
        give_back_addresses(tx, self.move.plan_id, self.move.n, self.give_back)
        return self.move.run(tx)


@dataclass(frozen=True, slots=True)
class Lock:
    """Take the addresses of an item, all or none, before its first "about to": the item must read them first."""

    plan_id: bytes
    n: int
    addresses: tuple[Address, ...]

    def run(self, tx: Tx) -> None:
        """Do it; raises RefusedCommandError, `busy`."""
        refuse_if_held(tx, self.plan_id, self.addresses)
        take_addresses(tx, self.plan_id, self.n, self.addresses)


@dataclass(frozen=True, slots=True)
class Unlock:
    """Give back an item's addresses, by name: thousands of others are held meanwhile, and none is looked at."""

    plan_id: bytes
    n: int
    addresses: tuple[Address, ...]

    def run(self, tx: Tx) -> None:
        """Do it; addresses that another item holds stay held."""
        give_back_addresses(tx, self.plan_id, self.n, self.addresses)


def refuse_if_held(tx: Tx, plan_id: bytes, addresses: Sequence[Address]) -> None:
    """Refuse while another change holds one of the addresses.

    Raises:
        RefusedCommandError: `busy`.
    """
    for address in addresses:
        row = tx.one(
            "SELECT p.short, p.plan_id FROM address_lock l JOIN plan p USING (plan_id) WHERE address = ?", (address,)
        )
        if row is not None and bytes(row["plan_id"]) != plan_id:
            raise RefusedCommandError(RefusalReason.BUSY, f"busy with change {row['short']}")


def take_addresses(tx: Tx, plan_id: bytes, n: int, addresses: Sequence[Address]) -> None:
    """Hold the addresses for an item; those that its plan holds already stay as they are."""
    rows = [(address, plan_id, n) for address in addresses]
    tx.many("INSERT OR IGNORE INTO address_lock (address, plan_id, item) VALUES (?,?,?)", rows)


def give_back_addresses(tx: Tx, plan_id: bytes, n: int, addresses: Sequence[Address]) -> None:
    """Give the addresses back that this item holds."""
    rows = [(address, plan_id, n) for address in addresses]
    tx.many("DELETE FROM address_lock WHERE address = ? AND plan_id = ? AND item = ?", rows)


@dataclass(frozen=True, slots=True)
class Finish:
    """The run is over: its outcome envelope is durable, and in the outbox of an agent that has a control plane."""

    plan_id: bytes
    envelope: bytes
    sealed: Sealed

    def run(self, tx: Tx) -> int:
        """Return the sequence number of the event."""
        plan = plan_row(tx, self.plan_id)
        seq = tx.append(Entry(LeafKind.CHANGE_FINISHED, self.plan_id, plan.digest, sealed=self.sealed))
        tx.run("UPDATE plan SET finished_seq = ?, outcome = ? WHERE plan_id = ?", (seq, self.envelope, self.plan_id))
        post(tx, Post("outcome", self.envelope))
        tx.run("DELETE FROM address_lock WHERE plan_id = ?", (self.plan_id,))
        return seq


@dataclass(frozen=True, slots=True)
class Conclude:
    """A change was over before it started (rejected, cancelled, expired, void): its outcome, once, for all desks."""

    plan_id: bytes
    gate: Gate
    envelope: bytes

    def run(self, tx: Tx) -> bool:
        """Return whether it is told now."""
        told = "UPDATE plan SET outcome = ? WHERE plan_id = ? AND gate = ? AND outcome IS NULL"
        if tx.run(told, (self.envelope, self.plan_id, self.gate.value)) != 1:
            return False
        post(tx, Post("outcome", self.envelope))
        return True


@dataclass(frozen=True, slots=True)
class GiveUp:
    """End a run that cannot go on: unsent items are cancelled, items that were begun need a person."""

    plan_id: bytes
    why: str
    sealed: Sealed

    def run(self, tx: Tx) -> dict[int, ItemState]:
        """Return every item's state afterwards."""
        ways = {
            ItemState.PLANNED: Event.CANCEL,
            ItemState.WAITING: Event.CANCEL,
            ItemState.RUNNING: Event.ESCALATE,
            ItemState.UNKNOWN: Event.ESCALATE,
        }
        states: dict[int, ItemState] = {}
        for row in tx.all("SELECT n, state FROM item WHERE plan_id = ?", (self.plan_id,)):
            state = ItemState(row["state"])
            if state in ways:
                state = move_item(
                    tx, MoveItem(self.plan_id, row["n"], ways[state], ItemReason.GIVEN_UP, self.why, self.sealed)
                )
            states[row["n"]] = state
        return states
