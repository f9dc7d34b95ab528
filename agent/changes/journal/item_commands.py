"""The commands of a plan's items and their steps, each one transaction with its leaf. Order is the safety:

* `AboutTo` is durable before the step's first byte. It checks, in its own transaction, everything that may have changed
  since: cancel, freeze, clock halt, deadlines, addresses that another change holds, the facts that the item requires.
  It refuses before it writes. The first one of an item takes the item's addresses.
* `StepDone` is durable before any step that names it in `after`: before the next `AboutTo`, or with it (`NextStep`).
* The item's addresses are given back with its last move (`EndItem`), which brings the outcome that is still owed.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from agent.changes.journal.commands import Deadline, refuse_if_stopped
from agent.changes.journal.machine import FINAL, TOUCHED, UNSENT, Event, next_state
from agent.changes.journal.moments import SendWindow
from agent.connectors.base import access_of
from agent.inventory import authorship, book
from agent.inventory.book import Broken
from agent.inventory.ledger import Query
from agent.model import (
    Access,
    Address,
    DesiredChange,
    Direction,
    Effect,
    EntryChange,
    Item,
    ItemState,
    ReasonChange,
    Seen,
    StepOutcome,
    TariffChange,
    Verdict,
)
from agent.reasons import ItemReason, RefusalReason
from agent.runtime.clock import Now
from agent.store.db import Tx
from agent.store.errors import RefusedCommandError
from agent.store.log_store import Entry, Sealed
from agent.store.stored import MISREAD, damaged, members
from trust.errors import TrustError
from trust.items import decode_value_untrusted, encode_value
from trust.leaf import ITEM_STATE_CODES, VERDICT_CODES, LeafKind
from trust.policy import Action

_ENCODER: Final = json.JSONEncoder(separators=(",", ":"))


class DesiredRecorder(Protocol):
    """Records desired changes of one kind, for the domain that keeps them."""

    def record(self, tx: Tx, subject: str | None, change: DesiredChange, seq: int) -> None:
        """Record a change in the transaction that says so. `subject`: of its item; `seq`: the event's number.

        Raises:
            RefusedCommandError: it cannot be recorded any more; nothing was written then.
        """
        ...

    def recorded(self) -> None:
        """Take note that such changes are durable."""
        ...


ItemUnmet = Callable[[Tx, bool], Broken | None]
"""Reads the facts that an item requires, and returns the first one that no longer holds. Of one that was begun, so that
something of it may stand, some hold as the item leaves them, or count no more.
"""


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
    recorders: Mapping[type, DesiredRecorder] = field(default_factory=dict)
    """The recorder of each kind of desired change that belongs to no service."""

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


def overtaken_by(query: Query, plan_id: bytes, n: int, service: str | None, wrote: Sequence[Address]) -> str:
    """Return the short id of the newest other change that acted on an item's resources since its write; "": none.

    Args:
        query: reads the database.
        plan_id: of the item's plan.
        n: the item's number.
        service: the item's service; None: it has none, and all changes are looked through.
        wrote: the addresses that the item wrote, or judges by.
    """
    if not wrote:
        return ""
    named = " OR ".join("instr(s.do, ?)" for _ in wrote)
    of_service = "i.service = ?" if service is not None else "? IS NULL"
    rows = query(
        "SELECT p.short FROM item i JOIN plan p USING (plan_id) JOIN step s ON s.plan_id = i.plan_id AND s.item = i.n"  # noqa: S608  # only question marks
        f" WHERE {of_service} AND i.plan_id <> ? AND s.about_seq >"
        " (SELECT coalesce(max(about_seq), 0) FROM step WHERE plan_id = ? AND item = ?)"
        f" AND p.action <> ? AND s.verdict IS NOT ? AND ({named}) ORDER BY s.about_seq DESC LIMIT 1",
        (service, plan_id, plan_id, n, *_DID_NOTHING, *(json.dumps(a).encode() for a in wrote)),
    )
    return str(rows[0]["short"]) if rows else ""


_DID_NOTHING: Final = (Action.DISCONNECT.value, Verdict.NOT_APPLIED.value)
"""An action that changes no setting, and the verdict on a step that had no effect."""


def written_by(item: Item) -> tuple[Address, ...]:
    """Return the addresses that an item writes; of one that writes none, the one that it is judged by."""
    wrote = [write.address for step in item.steps if not isinstance(step.do, Effect) for write in step.do]
    if item.enforce is not None and not wrote:
        wrote = [item.enforce.address]
    return tuple(dict.fromkeys(wrote))


def acted_on_since(query: Query, plan_id: bytes, item: Item) -> str:
    """Return why reads of today say nothing of an item with standing writes; "": they do."""
    if item.subject is None:
        return ""
    if by := overtaken_by(query, plan_id, item.n, item.subject, written_by(item)):
        return f"change {by} acted on the service since"
    if not book.stands(query, item.subject, item.desired):
        return "what it recorded of the service was changed since"
    if book.has_another_login(query, item):
        return "the service has another login or access method since"
    wanted = None if item.enforce is None else access_of(item.enforce)
    # Where the network was so already the other change wrote nothing; and a reason that was lifted stays lifted by it
    if wanted is None or wanted is book.access_of(query, item.subject):
        return ""
    return f"the service was {'restored' if wanted is Access.SUSPENDED else 'suspended'} since"


def repeated_by(query: Query, plan_id: bytes, service: str | None, desired: Sequence[DesiredChange]) -> str:
    """Return the short id of the newest other change that did to a service since what a plan did to it; "": none.

    Lifted and suspended again for the same reason, all reads as the plan left it. To take it back would undo the other
    change, which says that it was applied. A step tells when an item acted: later it is judged again, and moves.

    Args:
        query: reads the database.
        plan_id: of the plan.
        service: the one that it acted on.
        desired: the changes that it recorded of the service, or their opposite.
    """
    reasons = [change.reason for change in desired if isinstance(change, ReasonChange)]
    wanted = [str(ReasonChange(reason, added=added)) for reason in reasons for added in (True, False)]
    acted = [text for kind, text in _ACTS_ON.items() if any(isinstance(change, kind) for change in desired)]
    fields = book.fields_of(desired)
    if fields and (by := authorship.by_another(query, service, fields, plan_id)):
        return by
    if not wanted and not acted:
        return ""
    marks = ",".join("?" * len(wanted))
    rows = query(
        _REPEATED.format(acted=" OR ".join((f"p.reason IN ({marks})", *acted))),
        (service, plan_id, *wanted, *(state.value for state in TOUCHED), plan_id, service),
    )
    return str(rows[0]["short"]) if rows else ""


_ACTED = """coalesce(
    (SELECT max(about_seq) FROM step s WHERE s.plan_id = i.plan_id AND s.item = i.n AND direction = 'forward'),
    i.state_seq)"""
_REVERTS = """p.action = 'revert' AND p.reason = '' AND EXISTS (
    WITH RECURSIVE of AS (
        SELECT r.action, r.reverts FROM plan r WHERE r.plan_id = p.reverts
        UNION ALL SELECT r.action, r.reverts FROM of JOIN plan r ON r.plan_id = of.reverts
    ) SELECT 1 FROM of WHERE action IN ({}))"""
"""A plan that takes one of these actions back, or its revert. Those of a suspension or a restore have a reason."""
_ACTS_ON: Final[Mapping[type, str]] = {
    TariffChange: "p.action = 'set-plan' OR " + _REVERTS.format("'set-plan', 'adopt'"),
    EntryChange: "p.action = 'remove' OR " + _REVERTS.format("'remove', 'subscriber-edit'"),
}
"""The plans that record a kind of change. A service that is removed leaves no author of its entry behind."""
_REPEATED = f"""
SELECT p.short, {_ACTED} AS acted FROM item i JOIN plan p USING (plan_id)
WHERE i.service = ? AND i.plan_id <> ? AND ({{acted}}) AND i.state IN (?,?,?,?)
AND acted > (SELECT max({_ACTED}) FROM item i WHERE +i.plan_id = ? AND i.service = ?) ORDER BY acted DESC LIMIT 1
"""  # noqa: S608  only our own texts
"""The plus: an index of the plan would lead through all items of a batch."""


_SETS_VALUES: Final = (*(action.value for action in Action if action.on_cpe or action.on_ports), Action.REVERT.value)


def set_since(query: Query, plan_id: bytes, item: Item) -> str:
    """Return the short id of the newest other change of CPE or ports that set an item's values since a plan; "": none.

    Set back and set again, all reads as the plan left it: to take it back would undo the other change. A change that
    was taken back does not count, nor does its revert.

    Args:
        query: reads the database.
        plan_id: of the plan.
        item: of the plan, or one that takes it back.
    """
    wrote = [write.address for step in item.steps if not isinstance(step.do, Effect) for write in step.do]
    if not wrote:
        return ""
    marks, named = ",".join("?" * len(_SETS_VALUES)), " OR ".join("instr(do, ?)" for _ in wrote)
    sought = tuple(json.dumps(address).encode() for address in wrote)
    last = query(f"SELECT max(about_seq) AS seq FROM step WHERE plan_id = ? AND ({named})", (plan_id, *sought))  # noqa: S608  # only question marks
    if (seq := last[0]["seq"]) is None:
        return ""
    rows = query(
        "SELECT plan_id, p.short, p.reverts, s.direction FROM plan p JOIN step s USING (plan_id)"  # noqa: S608  # only question marks
        f" WHERE plan_id <> ? AND p.action IN ({marks}) AND (p.finished_seq IS NULL OR p.finished_seq > ?)"
        f" AND s.about_seq > ? AND s.verdict IS NOT ? AND ({named}) ORDER BY s.about_seq DESC",
        (plan_id, *_SETS_VALUES, seq, seq, Verdict.NOT_APPLIED.value, *sought),
    )
    others, undone = {row["plan_id"] for row in rows}, set()
    for row in rows:
        if row["plan_id"] in undone:
            continue
        if row["direction"] == Direction.REVERT.value:
            undone.add(row["plan_id"])
        elif row["reverts"] in others:
            undone.add(row["reverts"])
        else:
            return str(row["short"])
    return ""


@dataclass(frozen=True, slots=True)
class MoveStanding:
    """Move an item with standing writes to the state that the last read shows, unless another change acted on it since.

    `seq`: of the item's state when it was read. `wrote`: the addresses that it wrote, or judges by. `over`: its run is
    over, so that the change owes a later outcome.
    """

    move: MoveItem
    seq: int
    wrote: tuple[Address, ...]
    over: bool

    def run(self, tx: Tx) -> ItemState | None:
        """Return the new state; None: it moved meanwhile, its run goes on, or another change acts or acted on it."""
        plan_id, n, service = self.move.plan_id, self.move.n, self.move.service
        row = tx.one(
            "SELECT i.state, i.state_seq, p.digest, p.finished_seq FROM item i JOIN plan p USING (plan_id)"
            " WHERE plan_id = ? AND n = ?",
            (plan_id, n),
        )
        if row is None or row["state_seq"] != self.seq or (row["finished_seq"] is not None) is not self.over:
            return None
        overtaken = overtaken_by(tx.all, plan_id, n, service, self.wrote)
        if overtaken and self.move.event is not Event.LEAVE:
            return None
        try:
            refuse_if_held(tx, plan_id, self.wrote)
        except RefusedCommandError:
            return None
        if self.over:
            tx.run("UPDATE plan SET outcome_due = 1 WHERE plan_id = ?", (plan_id,))
        return _moved(tx, self.move, members(ItemState, "item")[row["state"]], bytes(row["digest"]))


def _standing(tx: Tx, plan_id: bytes, n: int) -> tuple[ItemState, bytes]:
    """Return an item's state and its plan's digest."""
    row = tx.one(
        "SELECT i.state, p.digest FROM item i JOIN plan p USING (plan_id) WHERE plan_id = ? AND n = ?", (plan_id, n)
    )
    if row is None:
        raise RefusedCommandError(RefusalReason.UNKNOWN_ITEM, f"there is no item {n}")
    return members(ItemState, "item")[row["state"]], bytes(row["digest"])


def _moved(tx: Tx, move: MoveItem, before: ItemState, digest: bytes) -> ItemState:
    state = next_state(before, move.event)
    code = ITEM_STATE_CODES[state.value]
    entry = Entry(LeafKind.ITEM_STATE, move.plan_id, digest, item=move.n, code=code, sealed=move.sealed)
    seq = tx.append(entry)
    _set_state(tx, move.plan_id, move.n, state, seq, move.reason, move.detail)
    for change in move.desired:
        if (recorder := move.recorders.get(type(change))) is not None:
            recorder.record(tx, move.service, change, seq)
        elif move.service is not None:
            book.record_desired(tx, move.service, change, move.plan_id, seq)
    return state


def _set_state(tx: Tx, plan_id: bytes, n: int, state: ItemState, seq: int, reason: str = "", detail: str = "") -> None:
    """Set an item's state with the event, by its number, that moved it there."""
    tx.run(
        "UPDATE item SET state = ?, state_seq = ?, reason = ?, detail = ? WHERE plan_id = ? AND n = ?",
        (state.value, seq, reason, detail, plan_id, n),
    )


def encode_bound(bound: Mapping[Address, Seen]) -> bytes:
    """Return the document of the resources that an effect was bound to."""
    return _ENCODER.encode({a: [encode_value(s.value).decode(), s.at_s] for a, s in bound.items()}).encode()


def decode_bound(data: bytes) -> dict[Address, Seen]:
    """Return the resources in a document of `encode_bound`.

    Raises:
        DamagedValueError: it is none.
    """
    try:
        return {Address(a): Seen(decode_value_untrusted(v.encode()), at) for a, (v, at) in json.loads(data).items()}
    except (*MISREAD, TrustError) as err:
        raise damaged("step", "what an effect was bound to is no document of resources") from err


@dataclass(frozen=True, slots=True)
class AboutTo:
    """About to do a step: durable before its first byte. Moves a planned or waiting item to running as well.

    `unmet` reads the facts that the item requires, in this very transaction, and returns why one no longer holds.
    `take`: the addresses to hold from now on, all or none. `begins`: the item was not begun before, and this event is
    that of its move as well. `window`: whether the plan may send at `now`; None: neither a closed window nor a pause
    keeps it, as the item is only finished, which takes seconds.
    """

    plan_id: bytes
    n: int
    step: int
    direction: Direction
    do: bytes
    bound: Mapping[Address, Seen]
    now: Now
    unmet: ItemUnmet
    take: tuple[Address, ...]
    sealed: Sealed
    begins: bool
    window: SendWindow | None = None

    def run(self, tx: Tx) -> int:
        """Return the attempt's number, from 1.

        Raises:
            RefusedCommandError: `clock-halt`, `frozen`, `cancelled`, `expired`, `paused`, `window-closed`, `over`,
                `busy`, or `not-required` or `stale` with the fact that changed meanwhile. Nothing was written then.
        """
        key = (self.plan_id, self.n, self.step, self.direction.value)
        row = tx.one(_BEFORE_STEP, (*key, self.plan_id, self.n))
        if row is None:
            raise RefusedCommandError(RefusalReason.UNKNOWN_ITEM, f"there is no item {self.n}")
        _refuse(tx, row, self.plan_id, self.now, self.unmet, self.take, direction=self.direction, window=self.window)
        digest = bytes(row["digest"])
        state = members(ItemState, "item")[row["state"]]
        # After all refusals: a command that refuses leaves nothing behind
        take_addresses(tx, self.plan_id, self.n, self.take)
        # This leaf is that of the move as well: two leaves said one thing, and cost a third of a lone step (ADR 26)
        begun = next_state(state, Event.BEGIN) if self.begins and state in UNSENT else None
        code = 0 if begun is None else ITEM_STATE_CODES[begun.value]
        leaf = Entry(LeafKind.ABOUT_TO, self.plan_id, digest, self.n, self.step, code, sealed=self.sealed)
        seq, attempt = tx.append(leaf), 1 + int(row["attempts"])
        if begun is not None:
            _set_state(tx, self.plan_id, self.n, begun, seq)
        tx.run(
            "INSERT INTO step (plan_id, item, n, direction, attempt, about_seq, do, bound) VALUES (?,?,?,?,?,?,?,?)",
            (*key, attempt, seq, self.do, encode_bound(self.bound)),
        )
        return attempt


_BEFORE_STEP = """
SELECT p.digest, p.requester, p.consumed_seq, p.run_until_s, p.run_until_boot, p.boot_id, p.paused_by, i.state,
    EXISTS (SELECT 1 FROM cancelled WHERE plan_digest = p.digest) AS cancelled,
    EXISTS (SELECT 1 FROM meta WHERE key = 'clock_halt') AS halted,
    EXISTS (SELECT 1 FROM freeze WHERE lifted_seq IS NULL) AS freezes,
    (SELECT coalesce(max(attempt), 0) FROM step WHERE plan_id = ? AND item = ? AND n = ? AND direction = ?) AS attempts,
    i.state NOT IN ('running', 'unknown') OR EXISTS (
        SELECT 1 FROM step s WHERE s.plan_id = i.plan_id AND s.item = i.n AND s.direction = 'forward'
        AND s.verdict IS NOT 'not-applied') AS acted
FROM plan p JOIN item i USING (plan_id) WHERE plan_id = ? AND i.n = ?
"""
"""Everything that one "about to" rests on, but for facts and for freezes in detail, in one statement."""


def _before_step(tx: Tx, plan_id: bytes, n: int) -> sqlite3.Row:
    """Return the row of `_BEFORE_STEP` of an item, where no step of it is meant."""
    row = tx.one(_BEFORE_STEP, (plan_id, n, 0, "", plan_id, n))
    if row is None:
        raise RefusedCommandError(RefusalReason.UNKNOWN_ITEM, f"there is no item {n}")
    return row


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


def _refuse_if_stopped(tx: Tx, row: sqlite3.Row, plan_id: bytes) -> None:
    """Refuse a plan that the clock halts or a freeze stops. `row`: of `_BEFORE_STEP`.

    Raises:
        RefusedCommandError: `clock-halt` or `frozen`.
    """
    if row["halted"] or row["freezes"]:
        refuse_if_stopped(tx, plan_id, row["requester"])


def _refuse_if_kept_out(row: sqlite3.Row, window: SendWindow) -> None:
    """Refuse to begin an item of a plan that is paused, or may not send now.

    Raises:
        RefusedCommandError: `paused`, or the window's code.
    """
    if row["paused_by"] is not None:
        raise RefusedCommandError(RefusalReason.PAUSED, f"paused by {row['paused_by']}")
    if window.closed:
        raise RefusedCommandError(window.code, window.closed)


def _refuse(
    tx: Tx,
    row: sqlite3.Row,
    plan_id: bytes,
    now: Now,
    unmet: ItemUnmet,
    addresses: Sequence[Address],
    *,
    direction: Direction,
    window: SendWindow | None,
) -> None:
    """Refuse a step, or the beginning of an item without one. `row`: of `_BEFORE_STEP`.

    Raises:
        RefusedCommandError: as `AboutTo` does.
    """
    state = members(ItemState, "item")[row["state"]]
    if direction is Direction.FORWARD:
        _refuse_if_over(row, now)
    # The plan's declared revert may finish after its deadline, but not against a freeze
    _refuse_if_stopped(tx, row, plan_id)
    if direction is Direction.FORWARD and state in FINAL:
        raise RefusedCommandError(RefusalReason.OVER, f"the item is {state.value}")
    # Begun items are only finished, which a pause or a closed window must not keep half done
    if window is not None:
        _refuse_if_kept_out(row, window)
    refuse_if_held(tx, plan_id, addresses)
    # One that was sent in vain rests on all that a first try does: the agent may have been down since, for hours
    begun = state not in UNSENT and (direction is Direction.REVERT or bool(row["acted"]))
    if (broken := unmet(tx, begun)) is not None:
        raise RefusedCommandError(RefusalReason.STALE if broken.stale else RefusalReason.NOT_REQUIRED, broken.why)


@dataclass(frozen=True, slots=True)
class Begin:
    """Begin an item of which nothing is sent, as the first "about to" of another would: the same checks, and its move.

    `addresses`: that no other change may hold. `window`: whether the plan may send at `now`.
    """

    plan_id: bytes
    n: int
    now: Now
    unmet: ItemUnmet
    addresses: tuple[Address, ...]
    sealed: Sealed
    window: SendWindow

    def run(self, tx: Tx) -> ItemState:
        """Return the new state; raises RefusedCommandError as `AboutTo` does."""
        row = _before_step(tx, self.plan_id, self.n)
        _refuse(
            tx,
            row,
            self.plan_id,
            self.now,
            self.unmet,
            self.addresses,
            direction=Direction.FORWARD,
            window=self.window,
        )
        return move_item(tx, MoveItem(self.plan_id, self.n, Event.BEGIN, "", "", self.sealed))


@dataclass(frozen=True, slots=True)
class RecordReason:
    """An item that only records, as why a service is suspended: its beginning and its end, in one."""

    begin: Begin
    move: MoveItem

    def run(self, tx: Tx) -> ItemState:
        """Return the new state; raises RefusedCommandError as `AboutTo` does."""
        self.begin.run(tx)
        return move_item(tx, self.move)


@dataclass(frozen=True, slots=True)
class StepDone:
    """The outcome of a ticket; a ticket is used once. `digest`: of its plan."""

    plan_id: bytes
    digest: bytes
    n: int
    step: int
    direction: Direction
    attempt: int
    outcome: StepOutcome
    sealed: Sealed

    def run(self, tx: Tx) -> int:
        """Return the sequence number of the event."""
        entry = Entry(
            LeafKind.STEP_OUTCOME,
            self.plan_id,
            self.digest,
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
    """Take the addresses of an item, all or none, before its first "about to": the item must read them first.

    `begins`: the present moment, where it was not begun yet: one that may not be now, as while it is frozen, holds
    none. `retried`: the item, where a person asked for it once more, and whether the plan may send at its turn. It held
    none while it waited for that.
    """

    plan_id: bytes
    n: int
    addresses: tuple[Address, ...]
    retried: tuple[Item, SendWindow] | None = None
    begins: Now | None = None

    def run(self, tx: Tx) -> None:
        """Take them.

        Raises:
            RefusedCommandError: another item holds one of them (`busy`). One that was not begun: it is frozen, halted,
                cancelled or out of time. A retried one: another change acted on its service since (`nothing-to-retry`);
                or the plan is paused, or may not send now.
        """
        refuse_if_held(tx, self.plan_id, self.addresses)
        if self.begins is not None:
            row = _before_step(tx, self.plan_id, self.n)
            _refuse_if_over(row, self.begins)
            _refuse_if_stopped(tx, row, self.plan_id)
        if self.retried is not None:
            item, window = self.retried
            if why := acted_on_since(tx.all, self.plan_id, item):
                raise RefusedCommandError(RefusalReason.NOTHING_TO_RETRY, f"{why}: ask for the change anew")
            _refuse_if_kept_out(_before_step(tx, self.plan_id, self.n), window)
        take_addresses(tx, self.plan_id, self.n, self.addresses)


@dataclass(frozen=True, slots=True)
class LockToRevert:
    """Take the addresses of an item that is to be taken back, by the checks of an "about to" that does so.

    Nothing may have to be sent for that, as where the item only recorded a reason: no "about to" would check it.
    """

    plan_id: bytes
    item: Item
    now: Now
    unmet: ItemUnmet
    addresses: tuple[Address, ...]

    def run(self, tx: Tx) -> None:
        """Take them; raises RefusedCommandError as `AboutTo` does."""
        n, held = self.item.n, self.addresses
        row = _before_step(tx, self.plan_id, n)
        _refuse(tx, row, self.plan_id, self.now, self.unmet, held, direction=Direction.REVERT, window=None)
        if by := repeated_by(tx.all, self.plan_id, self.item.subject, self.item.desired):
            raise RefusedCommandError(RefusalReason.STALE, f"change {by} did the same to the service since")
        if by := set_since(tx.all, self.plan_id, self.item):
            raise RefusedCommandError(RefusalReason.STALE, f"change {by} set it since")
        take_addresses(tx, self.plan_id, n, held)


@dataclass(frozen=True, slots=True)
class Unlock:
    """Give back an item's addresses, by name: thousands of others are held meanwhile, and none is looked at."""

    plan_id: bytes
    n: int
    addresses: tuple[Address, ...]

    def run(self, tx: Tx) -> None:
        """Leave addresses that another item holds."""
        give_back_addresses(tx, self.plan_id, self.n, self.addresses)


def refuse_if_held(tx: Tx, plan_id: bytes, addresses: Sequence[Address]) -> None:
    """Refuse while another change holds one of the addresses.

    Raises:
        RefusedCommandError: `busy`.
    """
    if not addresses:
        return
    marks = ",".join("?" * len(addresses))
    row = tx.one(
        "SELECT p.short FROM address_lock l JOIN plan p USING (plan_id)"  # noqa: S608  # only question marks
        f" WHERE l.address IN ({marks}) AND l.plan_id <> ?",
        (*addresses, plan_id),
    )
    if row is not None:
        raise RefusedCommandError(RefusalReason.BUSY, f"busy with change {row['short']}")


def take_addresses(tx: Tx, plan_id: bytes, n: int, addresses: Sequence[Address]) -> None:
    """Hold the addresses for an item, beside others of its plan that act on the same ones."""
    if not addresses:
        return
    rows = [(address, plan_id, n) for address in addresses]
    tx.many("INSERT OR IGNORE INTO address_lock (address, plan_id, item) VALUES (?,?,?)", rows)


def give_back_addresses(tx: Tx, plan_id: bytes, n: int, addresses: Sequence[Address]) -> None:
    """Give the addresses back that this item holds."""
    rows = [(address, plan_id, n) for address in addresses]
    tx.many("DELETE FROM address_lock WHERE address = ? AND plan_id = ? AND item = ?", rows)


@dataclass(frozen=True, slots=True)
class GiveUp:
    """End a run that cannot go on: unsent items are cancelled, items that were begun need a person.

    `lost`: the log lost its end, so that an item which was not begun in it may have been begun since: it needs a
    person, too.
    """

    plan_id: bytes
    why: str
    sealed: Sealed
    lost: bool = False

    def run(self, tx: Tx) -> dict[int, ItemState]:
        """Return every item's state afterwards."""
        unsent, reason = Event.CANCEL, ItemReason.GIVEN_UP
        if self.lost:
            unsent, reason = Event.ESCALATE, ItemReason.RESTORED
        ways = {
            ItemState.PLANNED: unsent,
            ItemState.WAITING: unsent,
            ItemState.RUNNING: Event.ESCALATE,
            ItemState.UNKNOWN: Event.ESCALATE,
        }
        states: dict[int, ItemState] = {}
        for row in tx.all("SELECT n, state FROM item WHERE plan_id = ?", (self.plan_id,)):
            state = members(ItemState, "item")[row["state"]]
            if state in ways:
                state = move_item(tx, MoveItem(self.plan_id, row["n"], ways[state], reason, self.why, self.sealed))
            states[row["n"]] = state
        return states
