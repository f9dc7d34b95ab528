"""Judges items again after their run: those that are set and not proven yet, until true, false, or out of time.

* An item that waits for a next login, or with sessions that carried on, is judged at a steady pace by the reads and the
  access method of its run. Each move is one of `machine.TRANSITIONS`, with its leaf; the change's state follows.
* Nothing is sent, and nothing here lasts in memory only: a restart goes on with the items that the database has.
* An item on which another change acted since is left: reads of today say nothing of it.
* A change with moved items owes its later outcome (`plan.outcome_due`) until that is posted, through any crash.
"""

from __future__ import annotations

import logging
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import trio

from agent.changes.engine.reads import read_targets
from agent.changes.engine.steps import RunParts, ends_of
from agent.changes.engine.tickets import with_clock, with_writes
from agent.changes.journal import commands, plans
from agent.changes.journal.commands import Deadline, read_plan_row
from agent.changes.journal.item_commands import MoveItem, MoveStanding, acted_on_since, decode_bound, written_by
from agent.changes.journal.machine import Event, Gate, fold, settle_later
from agent.changes.journal.signing import Signer, outcome_number
from agent.connectors.base import AccessMethod, Judgment
from agent.model import Address, Direction, Effect, Enforcement, Item, ItemState, ProofKind, Seen, Verdict, target_of
from agent.reasons import ItemReason
from agent.runtime.clock import now_of
from agent.runtime.notifier import Notifier
from agent.store.stored import members
from agent.store.vault import Vault

_log = logging.getLogger("agent.changes")
SLICE: Final = 100
"""Items that are read together; between two slices everything else of the agent has its turn."""
ROUNDS_MAX: Final = 8
"""Reads of an access method in a row; each may name resources that the last one made necessary."""
SOON_S: Final = 10.0
"""How often an item is judged after its sessions were ended a short while ago: their CPE come back one after the other.
"""
DAY_S: Final = 86_400
_LEFT: Final = (ItemReason.OVERTAKEN, ItemReason.NOT_PROVEN_IN_TIME)


@dataclass(frozen=True, slots=True)
class JudgeTempo:
    """How often items are judged again, and for how long after their run began; seconds."""

    every_s: float
    for_s: float


@dataclass(frozen=True, slots=True)
class JudgedItems:
    """Result of one round: the number of items that were judged, that moved, and that could not be judged now."""

    judged: int = 0
    moved: int = 0
    unread: int = 0


@dataclass(frozen=True, slots=True)
class _Watched:
    """The parts of an item's document and steps that judging needs; they never change after its run.

    `enforce` None: it has no enforcement check. `ended`: the sessions that it set out to end. `unlooked_s`: as
    `Steps.unlooked_s` has it; sessions that were looked up, and not there, count as not looked up.
    """

    item: Item
    enforce: Enforcement | None
    wrote: tuple[Address, ...]
    ended: Mapping[Address, Seen]
    unlooked_s: float | None


@dataclass(frozen=True, slots=True)
class _Later:
    """An item that is to be judged again, as the database has it.

    `set_s`: when its last step was done, unix seconds. `enforce`: its enforcement check, as it is judged now.
    """

    plan_id: bytes
    n: int
    state: ItemState
    seq: int
    set_s: int
    enforce: Enforcement | None
    watched: _Watched


class JudgeAgain:
    """The loop that judges items again."""

    def __init__(
        self, parts: RunParts, vault: Vault, signer: Callable[[], Signer], bell: Notifier, tempo: JudgeTempo
    ) -> None:
        """Take the parts of a run: items are judged with its reads and its access methods."""
        self._parts, self._vault, self._signer, self._bell, self._tempo = parts, vault, signer, bell, tempo
        self._watched: dict[tuple[bytes, int], _Watched | None] = {}
        self._idle_at = -1
        """After how many commits of the store no item waited, and no later outcome was due."""

    async def run(self) -> None:
        """Judge until cancelled.

        Raises:
            StoreFailedError: the journal cannot be written.
        """
        passed_s = 0.0
        while True:
            pause_s = min(SOON_S, self._tempo.every_s - passed_s)
            await self._parts.clock.sleep(pause_s)
            passed_s += pause_s
            every = passed_s >= self._tempo.every_s
            passed_s = 0.0 if every else passed_s
            done = await self.round(redialing=not every)
            if done.moved or done.unread:
                _log.info("items were judged again", extra={"count": done.moved})

    async def round(self, *, redialing: bool = False) -> JudgedItems:
        """Judge every item that waits once, and tell the later outcomes that are due.

        Args:
            redialing: judge only items with sessions that were ended less than `every_s` ago, so that they may be
                back.
        """
        total = JudgedItems()
        if (commits := self._parts.store.commits) == self._idle_at:
            return total
        if self._parts.store.query("SELECT 1 FROM meta WHERE key = ?", (commands.HALT,)):
            return total  # the clock jumped: neither ages nor the begin of sessions can be believed
        rows = self._parts.store.query(_WAITING)
        known = {(bytes(r["plan_id"]), r["n"]) for r in rows}
        self._watched = {key: watched for key, watched in self._watched.items() if key in known}
        since_s = self._parts.clock.wall_s() - self._tempo.every_s
        for start in range(0, len(rows), SLICE):
            waiting = [r for r in rows[start : start + SLICE] if not redialing or r["set_s"] > since_s]
            opened = [later for later in self._opened(waiting) if later.watched.ended or not redialing]
            found = await self._judge(opened)
            total = JudgedItems(total.judged + found.judged, total.moved + found.moved, total.unread + found.unread)
            await trio.lowlevel.checkpoint()
        await self._tell()
        self._idle_at = -1 if rows else commits
        if total.moved:
            self._bell.ring()
        return total

    # --- choosing items ---

    def _opened(self, rows: Sequence[sqlite3.Row]) -> Iterator[_Later]:
        for row in rows:
            key = (bytes(row["plan_id"]), row["n"])
            if key not in self._watched:
                self._watched[key] = self._open(*key)
            watched = self._watched[key]
            if watched is not None and row["reason"] not in _LEFT:
                enforce = self._as_of_now(row, watched)
                yield _Later(
                    *key, members(ItemState, "item")[row["state"]], row["state_seq"], row["set_s"], enforce, watched
                )

    def _as_of_now(self, row: sqlite3.Row, watched: _Watched) -> Enforcement | None:
        """Return an enforcement check that says how late it is judged, and how far our clock was set.

        A session that began since its step was done is not one from before the change: judging is late, not the
        session. Nothing tells whether a clock that was set back was so before or after that: the longer time counts.
        One from before the writes may be there still, unless nobody was online by the last judgment.
        """
        enforce = watched.enforce
        if enforce is None:
            return None
        clock, until = self._parts.clock, Deadline(row["run_until_s"], row["run_until_boot"], row["boot_id"])
        set_s = round(until.clock_set_s(now_of(clock)))
        set_back_s = max(-set_s, 0)
        late_s = max(int(clock.wall_s()) + set_back_s - row["set_s"], 0)
        if row["state"] == ItemState.SET_NOT_ENFORCED.value:
            enforce = with_writes(enforce, watched.unlooked_s, set_s)
        return with_clock(replace(enforce, within_s=enforce.within_s + late_s), until, clock)

    def _open(self, plan_id: bytes, n: int) -> _Watched | None:
        """Return the parts of an item that judging needs; None: its subscriber was erased, or it does not decode."""
        item = plans.open_item(self._parts.store, self._vault, plan_id, n)
        if item is None:
            return None
        gone = {
            s.n for s in item.steps if isinstance(s.do, Effect) and s.do.proof is ProofKind.GONE
        }  # as `Steps.note_bound`
        tried = self._parts.store.query(_TRIED, (plan_id, n))
        ended: dict[Address, Seen] = {}
        for r in tried:
            if r["n"] in gone:
                ended |= decode_bound(bytes(r["bound"]))
        return _Watched(item, item.enforce, written_by(item), ended, _unlooked_s(item, tried))

    async def _judge(self, items: Sequence[_Later]) -> JudgedItems:
        seen, unread = await self._read(items)
        moved = judged = 0
        for later in items:
            judgment = self._judgment(later, seen, unread)
            judged += judgment is not None
            move = self._move(later, judgment)
            if move is not None:
                command = MoveStanding(move, later.seq, later.watched.wrote, over=True)
                moved += await self._parts.store.run(command) is not None
        return JudgedItems(judged, moved, len(items) - judged)

    async def _read(self, items: Sequence[_Later]) -> tuple[Mapping[Address, Seen], frozenset[str]]:
        """Return the reads that the access methods need, and the targets that cannot be read."""
        seen: dict[Address, Seen] = {}
        unread: set[str] = set()
        asked = [(method, later) for later in items if (method := self._method(later)) is not None]
        for _ in range(ROUNDS_MAX):
            needed = dict.fromkeys(a for method, later in asked for a in _needed(method, later, seen))
            missing = [a for a in needed if target_of(a) not in unread]
            unread |= {target_of(a) for a in missing if self._parts.sessions.arrives_later(target_of(a))}
            missing = [a for a in missing if target_of(a) not in unread]
            if not missing:
                break
            found, away = await read_targets(self._parts.sessions, missing)
            seen.update(found)
            unread |= away.keys()
        return seen, frozenset(unread)

    def _method(self, later: _Later) -> AccessMethod | None:
        enforce = later.enforce
        return None if enforce is None else self._parts.access_methods.get(enforce.expect.get("method", ""))

    def _judgment(self, later: _Later, seen: Mapping[Address, Seen], unread: frozenset[str]) -> Judgment | None:
        """Return the judgment of an item's enforcement now; None: a read that it needs failed."""
        method, enforce = self._method(later), later.enforce
        if method is None or enforce is None or any(_needed(method, later, seen)):
            return None
        if {target_of(enforce.address)} & unread:
            return None
        return method.judge(enforce, seen, later.watched.ended)

    # --- what follows ---

    def _move(self, later: _Later, judgment: Judgment | None) -> MoveItem | None:
        """Return the move of an item by its judgment, or its last one (`leave`); None: it waits on."""
        if why := acted_on_since(self._parts.store.query, later.plan_id, later.watched.item):
            return self._made(later, Event.LEAVE, ItemReason.OVERTAKEN, f"{why}: no longer judged")
        if judgment is not None and (event := settle_later(later.state, judgment)) is not None:
            return self._made(later, event, judgment.how, judgment.detail)
        age_s = self._parts.clock.wall_s() - later.set_s
        if age_s > self._tempo.for_s:
            told = "could not be read" if judgment is None else judgment.detail
            why = f"judged for {self._tempo.for_s / DAY_S:g} days without a proof: {told}"
            return self._made(later, Event.LEAVE, ItemReason.NOT_PROVEN_IN_TIME, why)
        return None

    def _made(self, later: _Later, event: Event, reason: str, detail: str) -> MoveItem:
        service = later.watched.item.subject
        fields = {"what": "item", "event": event.value, "reason": reason, "detail": detail, "later": True}
        sealed = self._parts.recorder.record(service, fields)
        return MoveItem(later.plan_id, later.n, event, reason, detail, sealed, service=service)

    async def _tell(self) -> None:
        """Sign and post the later outcome of each change with items that moved."""
        due = self._parts.store.query("SELECT * FROM plan WHERE outcome_due = 1 AND finished_seq IS NOT NULL")
        for row in map(read_plan_row, due):
            found = self._parts.store.query("SELECT n, state FROM item WHERE plan_id = ?", (row.plan_id,))
            states = {r["n"]: members(ItemState, "item")[r["state"]] for r in found}
            state = fold(Gate.CONSUMED, Counter(states.values()))
            number = outcome_number(self._parts.store.query, row.plan_id)
            envelope = self._signer().outcome(row.digest, number, state, states, self._parts.clock.wall_s())
            record = self._parts.recorder.ending({"what": "judged-again", "state": state.value}, envelope)
            await self._parts.store.run(commands.TellLater(row.plan_id, envelope, record))


_WAITING: Final = """
SELECT i.plan_id, i.n, i.state, i.state_seq, i.reason, p.run_until_s, p.run_until_boot, p.boot_id, (
    SELECT max(e.at_s) FROM step s JOIN event e ON e.seq = s.outcome_seq WHERE s.plan_id = i.plan_id AND s.item = i.n
) AS set_s
FROM item i JOIN plan p USING (plan_id)
WHERE i.state IN ('set-at-next-login', 'set-not-enforced') AND p.finished_seq IS NOT NULL AND set_s IS NOT NULL
ORDER BY p.consumed_seq, i.n
"""
"""The states of `machine.LATER`, in literals: so the index on just these rows is used."""
_TRIED: Final = """
SELECT s.n, s.direction, s.bound, s.verdict, e.at_s FROM step s LEFT JOIN event e ON e.seq = s.outcome_seq
WHERE s.plan_id = ? AND s.item = ?
"""


def _unlooked_s(item: Item, tried: Sequence[sqlite3.Row]) -> float | None:
    """Return the moment of `Steps.unlooked_s`, as far as the attempts at an item's steps tell it."""
    forward = [r for r in tried if r["direction"] == Direction.FORWARD.value]
    if {step.n for step in ends_of(item)} <= {r["n"] for r in forward}:
        return None
    writes = {step.n for step in item.steps if not isinstance(step.do, Effect)}
    done = [r["at_s"] for r in forward if r["n"] in writes and r["verdict"] == Verdict.APPLIED.value]
    return max(done, default=None)


def _needed(method: AccessMethod, later: _Later, seen: Mapping[Address, Seen]) -> list[Address]:
    enforce = later.enforce
    if enforce is None:
        return []
    if enforce.address not in seen:
        return [enforce.address]
    return [a for a in method.enforcement_reads(enforce, seen, later.watched.ended) if a not in seen]
