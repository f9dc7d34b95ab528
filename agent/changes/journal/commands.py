"""The journal of changes: every command that moves a plan, an item or a step, each one transaction with its leaf.

Order is the safety: `Consume` before anything, `AboutTo` durable before the first byte, `StepDone` durable before any
step whose `after` names it. `AboutTo` itself checks, in its own transaction, everything that may have changed since:
cancel, freeze, clock halt, deadlines, the facts that the item requires.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from agent.changes.journal.machine import FINAL, Event, Gate, next_state
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
            raise RefusedCommandError("replayed-intent", "this intent was already answered with a plan")
        intent_seq = tx.append(Entry(LeafKind.INTENT, sealed=self.intent_record))
        tx.run(
            "INSERT INTO intent VALUES (?,?,?,?,?)",
            (self.intent_id, self.intent_digest, self.requester, self.intent_envelope, intent_seq),
        )
        seq = tx.append(Entry(LeafKind.PLAN, self.plan_id, self.digest, sealed=self.plan_record))
        tx.run(
            "INSERT INTO plan VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,NULL,NULL,NULL)",
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
            raise RefusedCommandError("consumed", "the change has already started")
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
            raise RefusedCommandError("closed", f"the change is {row.gate.value}")
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
            raise RefusedCommandError("closed", f"the change is {row.gate.value}: it takes no approvals")
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
        raise RefusedCommandError("unknown-plan", "there is no such change")
    return read_plan_row(row)


def frozen_by(tx: Tx, plan_id: bytes, requester: str) -> str | None:
    """Return who froze what this plan would do, or None. A freeze of another agent is never stored."""
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
        raise RefusedCommandError("clock-halt", "applying is halted: the clock jumped (ispagent clock accept)")
    if (who := frozen_by(tx, plan_id, requester)) is not None:
        raise RefusedCommandError("frozen", f"frozen by {who}: nothing is sent until it is lifted")


def refuse_if_contradicted(tx: Tx) -> None:
    """Refuse to start anything while a witness has seen another log of this agent.

    Raises:
        RefusedCommandError: `not-witnessed`.
    """
    if (witness := tx.one("SELECT name FROM witness_seen WHERE conflict <> 0")) is not None:
        raise RefusedCommandError(
            "not-witnessed", f"the witness {witness['name']} has seen another log of this agent: nothing starts"
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
            raise RefusedCommandError("consumed", "the plan was already used")
        if row.gate is not Gate.APPROVED:
            raise RefusedCommandError("not-approved", f"the change is {row.gate.value}")
        if row.start_by.passed(self.now):
            raise RefusedCommandError("expired", "the plan's start-by time has passed")
        if tx.one("SELECT 1 FROM cancelled WHERE plan_digest = ?", (row.digest,)):
            raise RefusedCommandError("cancelled", "a cancel arrived before the start")
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
                "over-budget",
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
        row = tx.one("SELECT state FROM item WHERE plan_id = ? AND n = ?", (self.plan_id, self.n))
        if row is not None and ItemState(row["state"]) is ItemState.SUPERSEDED:
            return ItemState.SUPERSEDED
        return move_item(tx, self)


def move_item(tx: Tx, move: MoveItem) -> ItemState:
    """Do what `MoveItem` says, inside a larger command.

    Raises:
        RefusedCommandError: there is no such item.
        ImpossibleTransitionError: the table has no such way.
    """
    row = tx.one(
        "SELECT i.state, p.digest FROM item i JOIN plan p USING (plan_id) WHERE plan_id = ? AND n = ?",
        (move.plan_id, move.n),
    )
    if row is None:
        raise RefusedCommandError("unknown-item", f"there is no item {move.n}")
    state = next_state(ItemState(row["state"]), move.event)
    entry = Entry(
        LeafKind.ITEM_STATE,
        move.plan_id,
        bytes(row["digest"]),
        item=move.n,
        code=ITEM_STATE_CODES[state.value],
        sealed=move.sealed,
    )
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
    """Return the document of what an effect was bound to."""
    return json.dumps(
        {a: [encode_value(s.value).decode(), s.at_s] for a, s in bound.items()}, separators=(",", ":")
    ).encode()


def decode_bound(data: bytes) -> dict[Address, Seen]:
    """Read what `encode_bound` wrote (our own database: malformed means corrupt)."""
    return {Address(a): Seen(decode_value_untrusted(v.encode()), at) for a, (v, at) in json.loads(data).items()}


@dataclass(frozen=True, slots=True)
class AboutTo:
    """About to do a step: durable before its first byte. Moves a planned or waiting item to running as well.

    `unmet` reads the facts that the item requires, in this very transaction, and returns why one no longer holds.
    """

    plan_id: bytes
    n: int
    step: int
    direction: Direction
    do: bytes
    bound: Mapping[Address, Seen]
    now: Now
    unmet: Callable[[Tx, bool], Broken | None]
    sealed: Sealed
    began: Sealed

    def run(self, tx: Tx) -> int:
        """Return the attempt's number, from 1.

        Raises:
            RefusedCommandError: `clock-halt`, `frozen`, `cancelled`, `expired`, `over` (nothing is written), or
                `not-required` or `stale` with what changed meanwhile.
        """
        plan = plan_row(tx, self.plan_id)
        forward = self.direction is Direction.FORWARD
        if forward:
            refuse_step(tx, plan, self.now)
        else:  # the plan's declared revert may finish after its deadline, but not against a freeze
            refuse_if_stopped(tx, self.plan_id, plan.requester)
        item = tx.one("SELECT state FROM item WHERE plan_id = ? AND n = ?", (self.plan_id, self.n))
        if item is None:
            raise RefusedCommandError("unknown-item", f"there is no item {self.n}")
        state = ItemState(item["state"])
        if forward and state in FINAL:
            raise RefusedCommandError("over", f"the item is {state.value}")
        begun = state not in (ItemState.PLANNED, ItemState.WAITING)
        if (broken := self.unmet(tx, begun)) is not None:
            raise RefusedCommandError("stale" if broken.stale else "not-required", broken.why)
        if forward and not begun:
            move_item(tx, MoveItem(self.plan_id, self.n, Event.BEGIN, "", "", self.began))
        seq = tx.append(
            Entry(LeafKind.ABOUT_TO, self.plan_id, plan.digest, item=self.n, step=self.step, sealed=self.sealed)
        )
        key = (self.plan_id, self.n, self.step, self.direction.value)
        last = tx.one(
            "SELECT max(attempt) AS n FROM step WHERE plan_id = ? AND item = ? AND n = ? AND direction = ?", key
        )
        attempt = 1 + (last["n"] or 0 if last else 0)
        tx.run(
            "INSERT INTO step (plan_id, item, n, direction, attempt, about_seq, do, bound) VALUES (?,?,?,?,?,?,?,?)",
            (*key, attempt, seq, self.do, encode_bound(self.bound)),
        )
        return attempt


def refuse_step(tx: Tx, plan: PlanRow, now: Now) -> None:
    """Refuse the next step of a plan that was stopped, cancelled, or whose time is over.

    Raises:
        RefusedCommandError: `not-consumed`, `cancelled`, `expired`, `clock-halt` or `frozen`.
    """
    if plan.consumed_seq is None:
        raise RefusedCommandError("not-consumed", "the plan was not consumed")
    if tx.one("SELECT 1 FROM cancelled WHERE plan_digest = ?", (plan.digest,)):
        raise RefusedCommandError("cancelled", "cancelled before this step")
    if plan.run_until.passed(now):
        raise RefusedCommandError("expired", "the plan's run-until time has passed")
    refuse_if_stopped(tx, plan.plan_id, plan.requester)


@dataclass(frozen=True, slots=True)
class RecordReason:
    """An item that only records why a service is suspended: all checks of an about-to, and its end, in one."""

    move: MoveItem
    address: Address
    now: Now
    unmet: Callable[[Tx, bool], Broken | None]
    began: Sealed

    def run(self, tx: Tx) -> ItemState:
        """Return the new state; raises RefusedCommandError as `AboutTo`, or `busy`."""
        plan = plan_row(tx, self.move.plan_id)
        refuse_step(tx, plan, self.now)
        if (holder := holder_of(tx, self.move.plan_id, (self.address,))) is not None:
            raise RefusedCommandError("busy", f"busy with change {holder}")
        if (broken := self.unmet(tx, False)) is not None:
            raise RefusedCommandError("not-required", broken.why)
        move_item(tx, MoveItem(plan.plan_id, self.move.n, Event.BEGIN, "", "", self.began))
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
        plan = plan_row(tx, self.plan_id)
        entry = Entry(
            LeafKind.STEP_OUTCOME,
            self.plan_id,
            plan.digest,
            item=self.n,
            step=self.step,
            code=VERDICT_CODES[self.outcome.verdict.value],
            sealed=self.sealed,
        )
        seq = tx.append(entry)
        changed = tx.run(
            "UPDATE step SET outcome_seq = ?, verdict = ?, reason = ?, detail = ?"
            " WHERE plan_id = ? AND item = ? AND n = ? AND direction = ? AND attempt = ?",
            (
                seq,
                self.outcome.verdict.value,
                self.outcome.reason,
                self.outcome.detail,
                self.plan_id,
                self.n,
                self.step,
                self.direction.value,
                self.attempt,
            ),
        )
        if changed != 1:
            raise RefusedCommandError("no-ticket", f"item {self.n} step {self.step} has no such ticket")
        return seq


@dataclass(frozen=True, slots=True)
class Lock:
    """Take the addresses of an item, all or none."""

    plan_id: bytes
    n: int
    addresses: tuple[Address, ...]

    def run(self, tx: Tx) -> str | None:
        """Return None, or the short id of the change that holds one of them."""
        holder = holder_of(tx, self.plan_id, self.addresses)
        if holder is None:
            rows = [(address, self.plan_id, self.n) for address in self.addresses]
            tx.many("INSERT OR IGNORE INTO address_lock VALUES (?,?,?)", rows)
        return holder


def holder_of(tx: Tx, plan_id: bytes, addresses: Sequence[Address]) -> str | None:
    """Return the short id of another change that holds one of the addresses, or None."""
    for address in addresses:
        row = tx.one(
            "SELECT p.short, p.plan_id FROM address_lock l JOIN plan p USING (plan_id) WHERE address = ?", (address,)
        )
        if row is not None and bytes(row["plan_id"]) != plan_id:
            return str(row["short"])
    return None


@dataclass(frozen=True, slots=True)
class Unlock:
    """Give back an item's addresses, by name: thousands of others are held meanwhile, and none is looked at."""

    plan_id: bytes
    n: int
    addresses: tuple[Address, ...]

    def run(self, tx: Tx) -> None:
        """Do it; what another item holds stays held."""
        rows = [(address, self.plan_id, self.n) for address in self.addresses]
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
    """End a run that cannot go on: what was not sent never is, what was begun needs a person."""

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
                state = move_item(tx, MoveItem(self.plan_id, row["n"], ways[state], "given-up", self.why, self.sealed))
            states[row["n"]] = state
        return states
