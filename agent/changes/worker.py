"""The worker: starts approved plans when their window is open, and goes on with those that a restart interrupted.

* One task a run; runs of different changes go side by side, kept apart by the address locks.
* It decides nothing: whether a plan may start is judged in the transaction that consumes it (`commands.Consume`).
"""

from __future__ import annotations

import functools
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeVar
from zoneinfo import ZoneInfo

import trio

from agent.changes.authority.approval import Approvals
from agent.changes.engine.apply import Run
from agent.changes.engine.steps import RunParts
from agent.changes.journal import budget, commands, item_commands, plans
from agent.changes.journal.audit import Recorder
from agent.changes.journal.commands import PlanRow
from agent.changes.journal.item_commands import MoveItem
from agent.changes.journal.machine import Event, Gate, fold
from agent.changes.journal.plans import Loaded
from agent.changes.journal.signing import Signer, outcome_number
from agent.model import ItemState, ReasonChange, SuspensionReason
from agent.reasons import ItemReason, RefusalReason
from agent.runtime.clock import Now, now_of
from agent.runtime.notifier import Notifier
from agent.runtime.supervise import Crash, contain
from agent.store.db import Tx
from agent.store.errors import RefusedCommandError, StoreError
from agent.store.log_store import Sealed
from agent.store.vault import Vault
from trust.leaf import LeafKind
from trust.moments import moment_text
from trust.policy import RiskClass
from trust.statements import Plan
from trust.verify import BY_STANDING, CLOCK_SLACK_S

_log = logging.getLogger(__name__)
T = TypeVar("T")
LOOK_S = 1.0
"""How often approved plans are looked at (windows open, freezes are lifted, deadlines pass)."""
AGAIN_S: Final = 60.0
"""How often a plan that stays frozen, or halted by the clock, is judged again: whether people must approve it anew."""


@dataclass(frozen=True, slots=True)
class Supersede:
    """A restore supersedes the unsent suspensions of its services for the same reason, whether or not started.

    `services`: those that it would change. `reason`: the one that it lifts; suspensions for another one stay.
    """

    services: tuple[str, ...]
    reason: SuspensionReason
    by: str
    plan_id: bytes
    seals: Mapping[str, Sealed]

    def run(self, tx: Tx) -> list[tuple[str, int]]:
        """Return the superseded items: (short id, item number)."""
        done = []
        for service in self.services:
            rows = tx.all(
                "SELECT i.plan_id, i.n, p.short FROM item i JOIN plan p USING (plan_id) WHERE i.service = ?"
                " AND i.state IN (?, ?) AND p.reason = ? AND i.plan_id <> ? AND p.gate IN (?, ?, ?)",
                (
                    service,
                    ItemState.PLANNED.value,
                    ItemState.WAITING.value,
                    str(ReasonChange(self.reason, added=True)),
                    self.plan_id,
                    Gate.OPEN.value,
                    Gate.APPROVED.value,
                    Gate.CONSUMED.value,
                ),
            )
            for row in rows:
                why, sealed = f"superseded by {self.by}", self.seals[service]
                item_commands.move_item(
                    tx, MoveItem(bytes(row["plan_id"]), row["n"], Event.SUPERSEDE, ItemReason.SUPERSEDED, why, sealed)
                )
                done.append((row["short"], row["n"]))
        return done


class Worker:
    """Runs consumed plans. `poke` makes it look at once."""

    def __init__(
        self,
        parts: RunParts,
        vault: Vault,
        approvals: Approvals,
        signer: Callable[[], Signer],
        recorder: Recorder,
        timezone: ZoneInfo,
        bell: Notifier,
    ) -> None:
        self._parts = parts
        self._vault = vault
        self._approvals = approvals
        self._signer = signer
        self._recorder = recorder
        self._timezone = timezone
        self._bell = bell
        self.waiting: dict[bytes, str] = approvals.standings.waiting
        """Why a plan has not started yet, or waits for a person."""
        self._trust_version: int | None = None
        """Under which approved plans were judged last."""
        self._stopped: dict[bytes, float] = {}
        """Plans that a freeze or the clock stops, and when each is judged again, boot-time clock."""
        self._running: set[bytes] = set()
        self._runs: dict[str, Run] = {}
        """Those that are being applied, by the short id of their plan."""
        self._resumed: list[bytes] = []
        self._full: dict[str, str] = {}
        """Classes at their hourly limit, and the short id of the plan that is next: no later one goes before it."""
        self._crashed: set[bytes] = set()
        """Plans that could not be judged or started for a fault of ours: left alone until the next start."""
        self._waiting_plans: list[PlanRow] = []
        self._read_at = self._concluded_at = -1
        """After how many commits of the store `_waiting_plans` were read, and ends were told."""
        self._poked = trio.Event()

    def waiting_for(self, target: str) -> list[str]:
        """Return the short ids of the changes that wait for a device to call in."""
        return sorted(short for short, run in self._runs.items() if run.waits_for(target))

    def accepted(self, short: str) -> frozenset[tuple[int, int]]:
        """Return the steps of a running change, by item and number, with an effect that its target accepted."""
        run = self._runs.get(short)
        return frozenset() if run is None else run.accepted()

    def spared(self, short: str) -> Mapping[int, str]:
        """Return why items of a running change wait for a target that is spared now, by their numbers."""
        run = self._runs.get(short)
        return {} if run is None else run.spared()

    def resume(self, plan_id: bytes) -> None:
        """Go on with a run that was opened again."""
        self._resumed.append(plan_id)
        self.poke()

    def poke(self) -> None:
        """Look at approved plans now."""
        self._poked.set()

    async def run(self) -> None:
        """Work until cancelled.

        Raises:
            StoreFailedError: the journal cannot be written: the daemon stops.
        """
        await self._approvals.standings.go_on()
        async with trio.open_nursery() as nursery:
            for row in plans.unfinished(self._parts.store.reader):
                self._start(nursery, row)
            while True:
                await self._look(nursery)
                self._go_on(nursery)
                with trio.move_on_after(LOOK_S):
                    await self._poked.wait()
                self._poked = trio.Event()

    def _go_on(self, nursery: trio.Nursery) -> None:
        """Go on with runs that were opened again, each in one task: it may have been begun with the rest already."""
        asked, self._resumed = self._resumed, []
        for plan_id in asked:
            row = plans.find(self._parts.store.reader, plan_id.hex())
            if row.finished_seq is None and plan_id in self._running:
                self._resumed.append(plan_id)  # its last run is just ending, or it is that run
            elif row.finished_seq is None:
                self._start(nursery, row)

    def _start(self, nursery: trio.Nursery, row: PlanRow) -> None:
        self._running.add(row.plan_id)
        _log.info("a change begins", extra={"change": row.short})
        nursery.start_soon(self._contained, row)

    async def _contained(self, row: PlanRow) -> None:
        """Apply a plan; a fault of ours in one change must not keep the others (a restore) from running."""

        async def load_and_apply() -> None:
            await self._apply(await plans.load_aside(self._parts.store, self._vault, row))

        done = await contain(f"change {row.short}", load_and_apply, log=_log)
        if isinstance(done, Crash):
            await self._alone(row, functools.partial(self._give_up, row, done))

    async def _give_up(self, row: PlanRow, crash: Crash) -> None:
        """End the run of a plan that cannot go on: unsent items are cancelled, begun ones need a person."""
        said = str(crash.error) if isinstance(crash.error, StoreError) else f"its log says which: change {row.short}"
        record = self._recorder.record(None, {"what": "item", "event": "given-up"})
        command = item_commands.GiveUp(row.plan_id, f"the agent cannot go on with it: {said}", record)
        await self._finish(row, await self._parts.store.run(command), "given up")

    async def _alone(self, row: PlanRow, work: Callable[[], Awaitable[T]]) -> T | None:
        """Return the result of work on one plan; None where it raised: then this plan is left, and the others go on."""
        done = await contain(f"change {row.short}", work, log=_log)
        if not isinstance(done, Crash):
            return done
        self._crashed.add(row.plan_id)
        self.waiting[row.plan_id] = "it cannot be started for a fault of the agent's own: the agent's log says which"
        return None

    async def _look(self, nursery: trio.Nursery) -> None:
        version = self._approvals.trust_version()
        if version != self._trust_version:
            await self._approvals.rejudge()
            self._trust_version = version
        standings = self._approvals.standings
        if await standings.use_queued() or await standings.use_again():
            self._bell.ring()
        if (commits := self._parts.store.commits) != self._read_at:  # in a quiet hour nothing is new each second
            self._waiting_plans = self._read_waiting()
            self._read_at = commits
        now = now_of(self._parts.clock)
        self._full.clear()
        for row in self._waiting_plans:
            if row.plan_id not in self._crashed:
                await self._alone(row, functools.partial(self._look_at, row, now, nursery))
        if (commits := self._parts.store.commits) != self._concluded_at:
            await self._conclude()
            self._concluded_at = commits

    def _read_waiting(self) -> list[PlanRow]:
        """Return the plans that are not consumed, in the order in which they came to their gate."""
        rows = self._parts.store.reader.execute(
            "SELECT * FROM plan WHERE gate IN (?, ?) ORDER BY gate_seq", (Gate.OPEN.value, Gate.APPROVED.value)
        )
        return [commands.read_plan_row(row) for row in rows]

    async def _look_at(self, row: PlanRow, now: Now, nursery: trio.Nursery) -> None:
        if row.start_by.passed(now) or await self._is_of_the_future(row):
            await self._expire(row)
        elif row.gate is Gate.APPROVED and not row.hold and row.plan_id not in self._running:
            self.waiting.pop(row.plan_id, None)
            if (first := self._full.get(row.risk)) is not None:
                self.waiting[row.plan_id] = f"it waits its turn behind {first}: class {row.risk} is at its hourly limit"
            elif closed := self._approvals.send_window(row).closed:
                self.waiting[row.plan_id] = closed
            elif not self._stays_stopped(row, now) and await self._consume(row):
                self._start(nursery, row)

    async def _is_of_the_future(self, row: PlanRow) -> bool:
        """Return whether a plan was made later than now, by a clock that ran ahead until a person accepted the present.

        It could start at that time only, long after anybody expects it, and held a payer's place until then.
        """
        if row.made_s <= self._parts.clock.wall_s() + CLOCK_SLACK_S:
            return False
        await self._parts.check_clock()
        return not self._parts.store.query("SELECT 1 FROM meta WHERE key = ?", (commands.HALT,))

    def _stays_stopped(self, row: PlanRow, now: Now) -> bool:
        """Return whether a plan was stopped and still is. It takes a read alone: many plans may wait for one lift."""
        if now.boot_s >= self._stopped.get(row.plan_id, 0.0):
            return False
        try:
            commands.refuse_if_stopped(self._parts.store.reading(), row.plan_id, row.requester)
        except RefusedCommandError as err:
            self.waiting[row.plan_id] = str(err)
            return True
        return False

    async def _conclude(self) -> None:
        """Tell the end of plans that were over before they started: an approver elsewhere would see them wait."""
        # By itself SQLite takes the index of consumed_seq, and reads every plan that was ever cancelled or expired
        rows = self._parts.store.reader.execute(
            "SELECT * FROM plan INDEXED BY plan_untold"
            " WHERE outcome IS NULL AND consumed_seq IS NULL AND gate NOT IN (?, ?)",
            (Gate.OPEN.value, Gate.APPROVED.value),
        ).fetchall()
        for row in map(commands.read_plan_row, rows):
            if row.plan_id not in self._crashed:
                await self._alone(row, functools.partial(self._conclude_one, row))

    async def _conclude_one(self, row: PlanRow) -> None:
        never = ItemState.EXPIRED if row.gate is Gate.EXPIRED else ItemState.CANCELLED
        listed = self._parts.store.reader.execute(
            "SELECT n, state FROM item WHERE plan_id = ? AND state NOT IN ('blocked', 'excluded')", (row.plan_id,)
        )
        states = dict.fromkeys((r["n"] for r in listed), never)
        state = fold(row.gate, Counter())
        envelope = self._signer().outcome(row.digest, 1, state, states, self._parts.clock.wall_s())
        record = self._recorder.ending({"what": "concluded", "gate": row.gate.value}, envelope)
        await self._parts.store.run(commands.Conclude(row.plan_id, row.gate, envelope, record))
        self._bell.ring()

    def _turn_text(self, row: PlanRow, plan: Plan) -> str:
        """Return when a plan's turn comes in the rolling budget of its class."""
        query, now_s = self._parts.store.query, self._parts.clock.wall_s()
        uses, size = budget.uses_of(query, row.risk, now_s), budget.size_of(query, row.plan_id)
        turn_s = budget.next_turn(uses, (), size, self._approvals.budget(plan), now_s)
        return "" if turn_s is None else f"; it starts from {moment_text(turn_s, self._timezone, now_s)} on"

    async def _expire(self, row: PlanRow) -> None:
        sealed = self._recorder.record(None, {"what": "expired"})
        try:
            await self._parts.store.run(commands.SetGate(row.plan_id, Gate.EXPIRED, LeafKind.PLAN_VOID, sealed))
        except RefusedCommandError:
            return  # it was consumed meanwhile
        self._bell.ring()

    async def _consume(self, row: PlanRow) -> bool:
        """Use the plan; False when it may not start now (frozen, halted) or ever (then its gate says so)."""
        plan = plans.signed(row)
        if row.risk == RiskClass.RESTORE.value:  # a standing authority rests on what billing says now
            await self._parts.refresh_facts(self._services(row))
        await self._parts.check_clock()
        sealed = self._recorder.record(None, {"what": "consumed"})
        try:
            await self._parts.store.run(
                commands.Consume(
                    row.plan_id,
                    now_of(self._parts.clock),
                    lambda tx, kept: self._approvals.still_approved(tx.all, row, kept),
                    self._supersede(row),
                    self._approvals.budget(plan),
                    sealed,
                )
            )
        except RefusedCommandError as err:
            self.waiting[row.plan_id] = str(err)
            if err.reason in (RefusalReason.FROZEN, RefusalReason.CLOCK_HALT):
                self._stopped[row.plan_id] = self._parts.clock.boot_s() + AGAIN_S
            if err.reason == RefusalReason.OVER_BUDGET:
                self._full[row.risk] = row.short
                self.waiting[row.plan_id] = f"it waits its turn: {err}{self._turn_text(row, plan)}"
            by_standing = RiskClass(row.risk) in BY_STANDING
            if by_standing and await self._approvals.reopen(row):
                self._bell.ring()  # what the standing authority does not cover any more waits for a person
            return False
        self._stopped.pop(row.plan_id, None)
        self._bell.ring()
        return True

    def _services(self, row: PlanRow) -> tuple[str, ...]:
        """Return the services that a plan would change: nothing else of it was approved."""
        query = "SELECT service FROM item WHERE plan_id = ? AND state = ? AND service IS NOT NULL"
        return tuple(r["service"] for r in self._parts.store.query(query, (row.plan_id, ItemState.PLANNED.value)))

    def _supersede(self, row: PlanRow) -> Callable[[Tx], object]:
        """Return the command in the transaction of the start: a restore takes the place of unsent suspensions."""
        lifted = row.lifts
        if lifted is None:
            return lambda _: None
        services = self._services(row)
        seals = {s: self._recorder.move_record(s, {"what": "item", "event": "supersede"}) for s in services}
        return Supersede(services, lifted, row.short, row.plan_id, seals).run

    async def _apply(self, loaded: Loaded) -> None:
        run = self._runs[loaded.row.short] = Run(self._parts, loaded, self._bell.ring)
        try:
            stopped = await run.run()
        finally:
            del self._runs[loaded.row.short]
        await self._finish(loaded.row, run.tickets.states, stopped)

    async def _finish(self, row: PlanRow, states: Mapping[int, ItemState], stopped: str) -> None:
        """Sign and store the outcome of a run; a run that was opened again has a later one."""
        state = fold(Gate.CONSUMED, Counter(states.values()))
        number = outcome_number(self._parts.store.query, row.plan_id)
        envelope = self._signer().outcome(row.digest, number, state, states, self._parts.clock.wall_s())
        record = self._recorder.ending({"what": "finished", "stopped": bool(stopped)}, envelope)
        await self._parts.store.run(commands.Finish(row.plan_id, envelope, record))
        told = {"change": row.short, "state": state.value, "count": len(states)}
        if stopped:
            _log.warning("a change stopped early", extra={**told, "cause": stopped})
        else:
            _log.info("a change ended", extra=told)
        plans.forget(self._vault, row.plan_id)
        self._running.discard(row.plan_id)
        self._bell.ring()
