"""Reads plans back: the signed document, its items, and where each item stands.

* Items are proven against the signed root and decoded once; later loads of a plan that is not over share them. They are
  immutable; rows of state are read each time.
* Shared items are plain in memory, as the keys are that open them: erasing a subscriber ends with a restart.
"""

from __future__ import annotations

import functools
import logging
import re
import sqlite3
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, TypeVar
from weakref import WeakKeyDictionary

from agent.changes.journal.commands import PlanRow, read_plan_row
from agent.changes.journal.item_commands import decode_bound
from agent.changes.journal.machine import MAY_STAND, TOUCHED, ChangeState, Gate, fold
from agent.model import Address, Direction, Item, Items, ItemState, Seen, Verdict
from agent.reasons import RefusalReason
from agent.runtime.slices import MANY
from agent.store.db import Store
from agent.store.errors import LogCorruptError, RefusedCommandError
from agent.store.stored import members
from agent.store.vault import Vault
from trust import envelope as envelopes
from trust import statements
from trust.errors import TrustError
from trust.items import ErasedDocument, decode_item_untrusted, open_items_untrusted
from trust.leaf import ITEM_STATE_CODES, LeafKind
from trust.short_id import SHORT_CHARS_MAX, SHORT_CHARS_MIN, names
from trust.statements import Plan

T = TypeVar("T")
_log = logging.getLogger("agent.changes")
_ID = re.compile(r"[0-9A-Fa-f]{32}", re.ASCII)
_NAMED_MAX = 8
"""Changes that are named where one word means several; chosen arbitrarily."""
ITEMS_KEPT = 10_000
"""Decoded items that later loads may share; some 10 KB each."""


@dataclass(frozen=True, slots=True)
class ItemRow:
    """Where an item stands."""

    n: int
    service: str | None
    state: ItemState
    reason: str
    detail: str
    state_seq: int


@dataclass(frozen=True, slots=True)
class StepRow:
    """One attempt at a step. `verdict` None: about to, no outcome yet. `outcome_s`: of that outcome, unix seconds."""

    item: int
    n: int
    direction: Direction
    attempt: int
    bound: dict[Address, Seen]
    verdict: Verdict | None
    reason: str
    detail: str
    outcome_seq: int | None
    outcome_s: float | None


@dataclass(frozen=True, slots=True)
class Loaded:
    """A plan with its row, its items and their states."""

    row: PlanRow
    plan: Plan
    items: Items
    rows: dict[int, ItemRow]

    def state(self) -> ChangeState:
        """Return the state of the change, folded over its items."""
        return state_of(self.row, Counter(r.state for r in self.rows.values()))


@dataclass(frozen=True, slots=True)
class DoneAgain:
    """An item that a later change did or took back. `state`: the item's own still.

    `change`: the later one. `reverted`: it took back the standing writes of the item; else nothing was sent of the
    item, and the later change did its service, or its part of a device.
    """

    state: ItemState
    change: str
    reverted: bool = False


NONE_AGAIN: Final[Mapping[int, DoneAgain]] = MappingProxyType({})


_ALIKE: Final = """i.rowid IN (
        SELECT rowid FROM item WHERE service = j.service AND (j.part IS NULL OR part IS NULL) AND +plan_id = {plan}
        UNION ALL SELECT rowid FROM item WHERE j.part IS NOT NULL AND part = j.part AND plan_id = {plan})"""
"""Item `i` of a plan is of the same part as item `j`; or of the same service, where one of them names no part.

The plus keeps SQLite from comparing each item with each of the plan. CROSS JOIN, where it stands, keeps it from
beginning with the items of all plans.
"""


def done_again(reader: sqlite3.Connection, plan_ids: Sequence[bytes]) -> dict[bytes, dict[int, DoneAgain]]:
    """Return the items of plans that a later change did or took back, by plan and number.

    Done by one that asked for their rest (`change again`); taken back by a revert that was not reverted itself.
    """
    marks = ",".join("?" * len(plan_ids))
    query = f"""
    WITH RECURSIVE later (first, plan_id) AS (
        SELECT again_of, plan_id FROM plan WHERE again_of IN ({marks})
        UNION SELECT l.first, p.plan_id FROM plan p JOIN later l ON p.again_of = l.plan_id
    )
    SELECT l.first, i.n, i.state, p.short FROM later l
    CROSS JOIN plan p ON p.plan_id = l.plan_id
    CROSS JOIN item j ON j.plan_id = l.plan_id AND j.state IN ('applied', 'set-at-next-login')
    CROSS JOIN item i ON {_ALIKE.format(plan="l.first")}
    WHERE i.state IN ('stale', 'cancelled', 'expired', 'not-applied')
    """  # noqa: S608  # only question marks
    found: dict[bytes, dict[int, DoneAgain]] = {}
    for r in reader.execute(query, list(plan_ids)):
        found.setdefault(bytes(r["first"]), {})[r["n"]] = DoneAgain(members(ItemState, "item")[r["state"]], r["short"])
    for plan_id, taken_back in _taken_back(reader, plan_ids).items():
        found.setdefault(plan_id, {}).update(taken_back)
    return found


def _taken_back(reader: sqlite3.Connection, plan_ids: Sequence[bytes]) -> dict[bytes, dict[int, DoneAgain]]:
    """Return the items that reverts took back. Of several items of one service without parts, all of them or none."""
    marks = ",".join("?" * len(plan_ids))
    query = f"""
    SELECT i.plan_id, i.n, i.state, p.short, j.plan_id AS by_plan, j.n AS by_n FROM plan p
    CROSS JOIN item j ON j.plan_id = p.plan_id AND j.state IN ('applied', 'set-at-next-login')
    CROSS JOIN item i ON {_ALIKE.format(plan="p.reverts")}
    WHERE p.reverts IN ({marks}) AND i.state IN ({",".join("?" * len(MAY_STAND))})
    AND (i.part = j.part OR (SELECT count(*) FROM item WHERE plan_id = i.plan_id AND service = i.service) = (
        SELECT count(*) FROM item
        WHERE plan_id = j.plan_id AND service = j.service AND state IN ('applied', 'set-at-next-login')))
    """  # noqa: S608  # only question marks
    rows = reader.execute(query, [*plan_ids, *(state.value for state in MAY_STAND)]).fetchall()
    reverts = list({bytes(r["by_plan"]) for r in rows})
    again = _taken_back(reader, reverts) if reverts else {}
    found: dict[bytes, dict[int, DoneAgain]] = {}
    for r in rows:
        if r["by_n"] not in again.get(bytes(r["by_plan"]), {}):
            found.setdefault(bytes(r["plan_id"]), {})[r["n"]] = DoneAgain(
                members(ItemState, "item")[r["state"]], r["short"], True
            )
    return found


def state_of(row: PlanRow, items: Counter[ItemState], again: Mapping[int, DoneAgain] = NONE_AGAIN) -> ChangeState:
    """Return the state of a change: running until its run is over, since items may be taken back.

    Args:
        row: its plan.
        items: how many are in each state.
        again: those that a later change did or took back: they are open no more.
    """
    reverted = Counter({ItemState.REVERTED: sum(one.reverted for one in again.values())})
    state = fold(row.gate, items - Counter(one.state for one in again.values()) + reverted)
    goes_on = row.gate is Gate.CONSUMED and row.finished_seq is None
    return ChangeState.RUNNING if goes_on and state is not ChangeState.WAITING_FOR_DEVICE else state


def find(reader: sqlite3.Connection, ref: str) -> PlanRow:
    """Return the plan that `ref` names: its short id, the beginning of that (in any case), or its 32 hex digits.

    Raises:
        RefusedCommandError: no such change, or several.
    """
    if _ID.fullmatch(ref):
        rows = reader.execute("SELECT * FROM plan WHERE plan_id = ?", (bytes.fromhex(ref),)).fetchall()
    else:
        rows = reader.execute("SELECT * FROM plan WHERE short = ?", (ref.upper(),)).fetchall()
        rows = rows or _beginning_with(reader, ref)
    if not rows:
        raise RefusedCommandError(
            RefusalReason.UNKNOWN_CHANGE, f"there is no change {ref}: ispagent change list shows them"
        )
    if len(rows) > 1:
        shorts = ", ".join(sorted(row["short"] for row in rows))
        raise RefusedCommandError(
            RefusalReason.UNKNOWN_CHANGE, f"expected the id of one change, {len(rows)} begin with {ref}: {shorts}"
        )
    return read_plan_row(rows[0])


def _beginning_with(reader: sqlite3.Connection, ref: str) -> list[sqlite3.Row]:
    """Return the plans with a short id that begins with `ref`, or with which `ref` begins, as that of a desk may."""
    word = ref.strip().upper()
    if not SHORT_CHARS_MIN <= len(word) <= SHORT_CHARS_MAX:
        return []
    rows = reader.execute(
        "SELECT * FROM plan WHERE substr(short, 1, ?) = ? OR short = substr(?, 1, length(short)) LIMIT ?",
        (len(word), word, word, _NAMED_MAX),
    )
    return [row for row in rows if row["short"].startswith(word) or names(word, bytes(row["plan_id"]))]


def signed(row: PlanRow) -> Plan:
    """Return the plan in a row's envelope.

    Raises:
        LogCorruptError: the stored envelope is no plan.
    """
    try:
        return _plan_in(row.envelope)
    except TrustError as err:
        raise LogCorruptError(f"{row.short}: the stored envelope is no plan: {err}") from err


@functools.lru_cache(maxsize=64)
def _plan_in(envelope: bytes) -> Plan:
    """Return the plan in an envelope, kept by its bytes: each look at a change asks for it again."""
    return statements.decode_as_untrusted(Plan, envelopes.decode_untrusted(envelope))


def state_now(reader: sqlite3.Connection, row: PlanRow) -> ChangeState:
    """Return the state of a change, as the database has its items."""
    return state_of(row, counts(reader, row), done_again(reader, [row.plan_id]).get(row.plan_id, NONE_AGAIN))


@dataclass(frozen=True, slots=True)
class ChangeLook:
    """How a change stands: its row, its state, and whether its end is in the log."""

    row: PlanRow
    state: ChangeState
    over: bool


def look(reader: sqlite3.Connection, ref: str) -> ChangeLook:
    """Return how the change that `ref` names stands, as the database has it.

    Raises:
        RefusedCommandError: as for `find`.
    """
    row = find(reader, ref)
    return ChangeLook(row, state_now(reader, row), _is_over(reader, row))


def counts(reader: sqlite3.Connection, row: PlanRow) -> Counter[ItemState]:
    """Return how many of a plan's items are in each state."""
    found = reader.execute("SELECT state, count(*) AS n FROM item WHERE plan_id = ? GROUP BY state", (row.plan_id,))
    return Counter({members(ItemState, "item")[r["state"]]: r["n"] for r in found})


def load(reader: sqlite3.Connection, vault: Vault, row: PlanRow) -> Loaded:
    """Return the plan with its items, proven to be the signed ones.

    Raises:
        LogCorruptError: the stored items do not hash to the plan's items_root; or a subject was erased, and the plan is
            from before leaf hashes were kept.
    """
    kept = _kept.setdefault(vault, _Kept())
    opened = kept.get(row)
    if opened is None:
        opened = _open(reader, vault, row)
        kept.put(row, opened)
    found = reader.execute(
        "SELECT n, service, state, reason, detail, state_seq FROM item WHERE plan_id = ? ORDER BY n", (row.plan_id,)
    )
    rows = {n: ItemRow(n, service, members(ItemState, "item")[state], *rest) for n, service, state, *rest in found}
    return Loaded(row, opened.plan, opened.items, rows)


async def load_aside(store: Store, vault: Vault, row: PlanRow) -> Loaded:
    """Return the same as `load`; a plan of many items is opened in a thread, while other tasks go on.

    Raises:
        LogCorruptError: as for `load`.
    """
    return await with_items(store, row, lambda reader: load(reader, vault, row))


async def with_items(store: Store, row: PlanRow, read: Callable[[sqlite3.Connection], T]) -> T:
    """Return the result of `read` on the database; for a plan with many items it runs in a thread."""
    count = store.reader.execute("SELECT count(*) FROM item WHERE plan_id = ?", (row.plan_id,)).fetchone()[0]
    return read(store.reader) if count <= MANY else await store.aside(read)


def forget(vault: Vault, plan_id: bytes) -> None:
    """Share the items of a plan no more: its run is over."""
    if (kept := _kept.get(vault)) is not None:
        kept.drop(plan_id)


@dataclass(frozen=True, slots=True)
class _Opened:
    """A signed plan: proven and decoded."""

    plan: Plan
    items: Items


class _Kept:
    """Opened plans that are not over, the one used last at the end; at most `ITEMS_KEPT` items of all of them."""

    def __init__(self) -> None:
        self._plans: OrderedDict[bytes, _Opened] = OrderedDict()
        self._items = 0
        self._lock = threading.RLock()
        """A large plan is opened in a thread."""

    def get(self, row: PlanRow) -> _Opened | None:
        """Return a plan that is kept, or None."""
        with self._lock:
            opened = self._plans.get(row.plan_id)
            if opened is not None:
                self._plans.move_to_end(row.plan_id)
            return opened

    def put(self, row: PlanRow, opened: _Opened) -> None:
        """Keep a plan that may be run, or is."""
        if row.finished_seq is not None or row.gate not in (Gate.OPEN, Gate.APPROVED, Gate.CONSUMED):
            return
        with self._lock:
            self.drop(row.plan_id)  # another thread may have opened it too
            self._plans[row.plan_id] = opened
            self._items += len(opened.items.items)
            while self._items > ITEMS_KEPT:
                self.drop(next(iter(self._plans)))

    def drop(self, plan_id: bytes) -> None:
        """Keep a plan no more."""
        with self._lock:
            if (opened := self._plans.pop(plan_id, None)) is not None:
                self._items -= len(opened.items.items)


_kept: WeakKeyDictionary[Vault, _Kept] = WeakKeyDictionary()
"""By the vault that opened them: an agent has one."""


def _open(reader: sqlite3.Connection, vault: Vault, row: PlanRow) -> _Opened:
    documents: list[bytes | ErasedDocument] = [row.head]
    for n, subject, doc, leaf in reader.execute(
        "SELECT n, subject, doc, leaf FROM item WHERE plan_id = ? ORDER BY n", (row.plan_id,)
    ):
        opened = vault.open_record(bytes(subject), bytes(doc))
        if opened is None and leaf is None:
            raise LogCorruptError(f"{row.short}: item {n} cannot be opened: its subscriber was erased")
        documents.append(ErasedDocument(bytes(leaf)) if opened is None else opened[1])
    plan = signed(row)
    try:
        items = open_items_untrusted(documents, bytes.fromhex(plan.items_root), plan.plan_id)
    except TrustError as err:
        raise LogCorruptError(f"{row.short}: the stored plan does not verify: {err}") from err
    return _Opened(plan, items)


def steps(reader: sqlite3.Connection, plan_id: bytes) -> list[StepRow]:
    """Return every attempt at every step of a plan, in order."""
    found = reader.execute(
        "SELECT s.*, e.at_s AS outcome_s FROM step s LEFT JOIN event e ON e.seq = s.outcome_seq"
        " WHERE s.plan_id = ? ORDER BY s.item, s.direction, s.n, s.attempt",
        (plan_id,),
    ).fetchall()
    return [
        StepRow(
            item=r["item"],
            n=r["n"],
            direction=members(Direction, "step")[r["direction"]],
            attempt=r["attempt"],
            bound=decode_bound(bytes(r["bound"])),
            verdict=None if r["verdict"] is None else members(Verdict, "step")[r["verdict"]],
            reason=r["reason"] or "",
            detail=r["detail"] or "",
            outcome_seq=r["outcome_seq"],
            outcome_s=r["outcome_s"],
        )
        for r in found
    ]


def open_item(store: Store, vault: Vault, plan_id: bytes, n: int) -> Item | None:
    """Return one item without its plan; None: its subscriber was erased, or it does not decode."""
    (row,) = store.query("SELECT subject, doc FROM item WHERE plan_id = ? AND n = ?", (plan_id, n))
    opened = vault.open_record(bytes(row["subject"]), bytes(row["doc"]))
    try:
        item = None if opened is None else decode_item_untrusted(opened[1])
    except TrustError:
        item = None
    if item is None:
        _log.warning("an item cannot be opened", extra={"plan": plan_id.hex(), "item": n})
    return item


def locked(reader: sqlite3.Connection, plan_id: bytes) -> list[int]:
    """Return the items of a plan that hold addresses."""
    rows = reader.execute("SELECT DISTINCT item FROM address_lock WHERE plan_id = ? ORDER BY item", (plan_id,))
    return [r["item"] for r in rows.fetchall()]


def recorded(reader: sqlite3.Connection, plan_id: bytes) -> frozenset[int]:
    """Return the items of a plan that stood at some time, and so recorded their desired changes.

    One that needs a person may be among them: its writes stood, and could not be taken back.
    """
    marks = ",".join("?" * len(TOUCHED))
    rows = reader.execute(
        f"SELECT DISTINCT item FROM event WHERE plan = ? AND kind = ? AND code IN ({marks})",  # noqa: S608  # only question marks
        (plan_id, LeafKind.ITEM_STATE.value, *(ITEM_STATE_CODES[state.value] for state in TOUCHED)),
    )
    return frozenset(r["item"] for r in rows.fetchall())


def reopened(reader: sqlite3.Connection, row: PlanRow) -> bool:
    """Tell whether a plan's run was over, and was opened again for a retry."""
    found = reader.execute(
        "SELECT 1 FROM event WHERE plan = ? AND kind = ? LIMIT 1", (row.plan_id, LeafKind.CHANGE_FINISHED.value)
    )
    return found.fetchone() is not None


def unfinished(reader: sqlite3.Connection) -> list[PlanRow]:
    """Return the plans that were consumed and are not finished, oldest first."""
    found = reader.execute(
        "SELECT * FROM plan WHERE consumed_seq IS NOT NULL AND finished_seq IS NULL ORDER BY consumed_seq"
    ).fetchall()
    return [read_plan_row(r) for r in found]


def item_by_number(items: Items, n: int) -> Item:
    """Return item `n` (1-based)."""
    return items.items[n - 1]


@dataclass(frozen=True, slots=True)
class KeptDecision:
    """A person's kept approval or rejection of a plan."""

    person: str
    decision: str


def decisions(reader: sqlite3.Connection, row: PlanRow) -> list[KeptDecision]:
    """Return the kept approvals and rejections of a plan, in the order in which they came."""
    found = reader.execute("SELECT person, decision FROM approval WHERE plan_id = ? ORDER BY seq", (row.plan_id,))
    return [KeptDecision(r["person"], r["decision"]) for r in found.fetchall()]


def _is_over(reader: sqlite3.Connection, row: PlanRow) -> bool:
    """Return whether the end of a change is in the log. A run that was opened again keeps its earlier outcome."""
    if row.gate is Gate.CONSUMED or row.finished_seq is not None:
        return row.finished_seq is not None
    (found,) = reader.execute("SELECT outcome IS NOT NULL FROM plan WHERE plan_id = ?", (row.plan_id,)).fetchone()
    return bool(found)


def finished_s(reader: sqlite3.Connection, row: PlanRow) -> int | None:
    """Return when a plan's run ended, unix seconds; None while it has not."""
    found = reader.execute("SELECT at_s FROM event WHERE seq = ?", (row.finished_seq,)).fetchone()
    return None if found is None else int(found["at_s"])


def gates(reader: sqlite3.Connection) -> dict[Gate, int]:
    """Return how many plans are at each gate."""
    return {
        members(Gate, "plan")[r["gate"]]: r["n"]
        for r in reader.execute("SELECT gate, count(*) AS n FROM plan GROUP BY gate")
    }


def item_counts(reader: sqlite3.Connection) -> dict[str, int]:
    """Return how many items are in each state, of all plans that are kept."""
    return {r["state"]: r["n"] for r in reader.execute("SELECT state, count(*) AS n FROM item GROUP BY state")}


def last_event_before_end(reader: sqlite3.Connection, row: PlanRow, kinds: Sequence[int]) -> int | None:
    """Return the kind (`LeafKind` value) of the last event out of `kinds` before the plan left its gate; None: none."""
    marks = ",".join("?" * len(kinds))
    found = reader.execute(
        f"SELECT kind FROM event WHERE seq < (SELECT gate_seq FROM plan WHERE plan_id = ?) AND kind IN ({marks})"  # noqa: S608  # only question marks
        " ORDER BY seq DESC LIMIT 1",
        (row.plan_id, *kinds),
    ).fetchone()
    return None if found is None else int(found["kind"])
