"""One item of a plan: waiting for its device and its turn, and its steps in order."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import trio

from agent.changes.engine import guards
from agent.changes.engine.item_end import ItemEnd
from agent.changes.engine.item_parts import AWAY, EXPIRED, HUNG_UP, PAUSE_S, PAUSES, UNSENT, Stopped
from agent.changes.engine.item_steps import ItemSteps
from agent.changes.engine.journal import Doing
from agent.changes.engine.sessions import Lines, Turn
from agent.changes.journal.machine import Event
from agent.connectors.base import Enforced, Session, UnreadableError
from agent.model import Address, Direction, Effect, Item, ItemState, Seen, Step, StepOutcome, Verdict
from agent.reasons import ItemReason
from agent.store.errors import RefusedCommandError

S = ItemState
PAUSE_MAX_S = 30.0
"""How long an item that was begun waits while it is frozen or halted; then it ends as what it is: set, not enforced."""
SPARE_S = 5.0
"""How soon a target that is to be spared is asked again; then twice as long each time, up to `SPARE_MAX_S`."""
SPARE_MAX_S = 30.0
_STOPS = {
    "cancelled": Event.CANCEL,
    "expired": Event.EXPIRE,
    "not-required": Event.SKIP,
    "stale": Event.DRIFT,
}
_FOLLOW = frozenset({"restore", "revert"})
"""Actions that wait for a change which holds their addresses: a restore follows a suspension, it is never lost."""


class ItemRunner:
    """Runs items of one plan, each in a task of its own."""

    def __init__(self, steps: ItemSteps, run_until_s: float, stopping: Callable[[], str] = lambda: "") -> None:
        """`stopping` says why the run is being stopped ("": it is not): what waits for its turn is then not begun."""
        self._steps, self._ends = steps, ItemEnd(steps)
        self._parts, self._journal, self._clock = steps.parts, steps.journal, steps.parts.clock
        self._stopping = stopping
        self._run_until_s = run_until_s
        self._waiting: set[trio.CancelScope] = set()
        self._left: Stopped | None = None

    def leave(self, why: Stopped) -> None:
        """Wait no longer for devices that have not called in."""
        self._left = why
        for scope in self._waiting:
            scope.cancel()

    async def run(self, item: Item) -> None:
        """Run one item to a final state (or to a pause that the plan's deadline ends)."""
        if not item.steps:
            await self._finish_reason_only(item)
            return
        if why := guards.refusal(item):
            await self._steps.move(item, Event.FAIL, ItemReason.GUARD_UNSUPPORTED, why)
            return
        await self._steps.resolve_doubts(item)
        while await self._visit(item):
            await self._clock.sleep(PAUSE_S)

    async def _visit(self, item: Item) -> bool:
        """Run an item with the sessions of its targets; return whether its device went away before it was begun."""
        away, stopped = False, None
        waiting = trio.CancelScope()
        try:
            waiting.deadline = trio.current_time() + self._patience_s(item)
            self._waiting.add(waiting)
            with waiting:
                if self._left:
                    waiting.cancel()
                async with self._steps.lines(item) as lines:
                    waiting.deadline = float("inf")  # from here on each step has its own deadline
                    self._waiting.discard(waiting)
                    away = await self._run_locked(item, lines)
        except UnreadableError as err:
            stopped = Stopped(Event.FAIL, err.reason, str(err))
        finally:
            self._waiting.discard(waiting)
        if waiting.cancelled_caught:
            stopped = self._left or EXPIRED
        if stopped is not None:
            await self._end(item, None, stopped)
            await self._steps.unlock(item)
        return away

    def _patience_s(self, item: Item) -> float:
        """Return how long to wait for the item's session. What was begun is read to its end, after the deadline too."""
        if self._journal.states[item.n] not in UNSENT and not self._parts.sessions.arrives(item.steps[0].target):
            return float("inf")
        return max(self._run_until_s - self._clock.wall_s(), 0)

    async def _finish_reason_only(self, item: Item) -> None:
        """Record a reason for a service whose network state stays as it is."""
        while self._journal.states[item.n] in UNSENT:
            try:
                await self._parts.check_clock()
                await self._parts.refresh_facts()
                await self._journal.record_reason(item)
                self._steps.changed()
            except RefusedCommandError as err:
                wait = err.reason in PAUSES or (err.reason == "busy" and self._journal.plan.action in _FOLLOW)
                if not wait:
                    await self._steps.move(item, _STOPS.get(err.reason, Event.FAIL), err.reason, str(err))
                    return
                await self._clock.sleep(PAUSE_S)

    async def _run_locked(self, item: Item, lines: Lines) -> bool:
        arrives = self._steps.arrives(item)
        while (holder := await self._journal.lock(item, whole=arrives)) is not None:
            if self._left is not None and self._left.event is Event.CANCEL:
                await self._end(item, lines, self._left)
                return False
            follows = arrives or self._journal.plan.action in _FOLLOW
            if not follows or self._clock.wall_s() >= self._run_until_s:
                await self._end(item, lines, Stopped(Event.FAIL, "busy", f"busy with change {holder}"))
                return False
            await self._clock.sleep(PAUSE_S)
        try:
            stopped = await self._run_in_turn(item, lines)
            if stopped is not AWAY:
                await self._end(item, lines, stopped)
            elif self._journal.states[item.n] is S.RUNNING:
                await self._steps.move(item, AWAY.event, AWAY.reason, AWAY.detail)
        finally:
            await self._steps.unlock(item)
        return stopped is AWAY

    async def _end(self, item: Item, lines: Lines | None, stopped: Stopped | None) -> None:
        """Move the item to the state in which its run ends. `lines` None: nothing can be read now."""
        if stopped is not None and self._journal.states[item.n] in UNSENT:
            await self._steps.move(item, stopped.event, stopped.reason, stopped.detail)
        else:
            await self._ends.settle(item, lines, stopped)

    async def _run_in_turn(self, item: Item, lines: Lines) -> Stopped | None:
        """Perform the item's steps; while it is frozen or halted it gives its place to others."""
        give_up = self._clock.boot_s() + PAUSE_MAX_S
        while True:
            async with Turn(self._parts.sessions) as turn:
                stopped = await self._run_steps(item, lines, turn)
            if stopped is None or stopped.reason not in PAUSES:
                return stopped
            if self._journal.states[item.n] not in UNSENT and self._clock.boot_s() >= give_up:
                return stopped  # half done and frozen: it says so, and gives its addresses back (to a restore)
            await self._clock.sleep(PAUSE_S)

    async def _run_steps(self, item: Item, lines: Lines, turn: Turn) -> Stopped | None:
        """Perform the item's steps in order; return why it was stopped before its next step, or None."""
        known = self._steps.known(item.n)
        for step in item.steps:
            done = known.done(step.n)
            if done is not None and not self._steps.try_again(item, step, Direction.FORWARD, done):
                continue
            after = [outcome for a in step.after if (outcome := known.done(a)) is not None]
            if any(outcome.verdict is not Verdict.APPLIED for outcome in after):
                break
            if await self._stood_in_for(item, step, lines):
                continue
            await turn.at(step.target)
            if self._journal.states[item.n] in UNSENT and (why := self._stopping()):
                return Stopped(Event.CANCEL, "stopped", why)
            if (stopped := await self._run_step(item, step, lines, turn)) is not None:
                return stopped
        return None

    async def _stood_in_for(self, item: Item, step: Step, lines: Lines) -> bool:
        """Return whether an earlier rung of a step's ladder did what the step is for, or may have."""
        for n in step.unless:
            rung, outcome = item.steps[n - 1].do, self._steps.known(item.n).done(n)
            if outcome is None or outcome.verdict in (Verdict.NOT_APPLIED, Verdict.DIVERGED):
                continue
            if not isinstance(rung, Effect) or rung.proof is not None:
                return True
            # Its reply proves nothing, so a lost one leaves nothing open: what is seen says whether to go on
            if (await self._ends.enforce(item, lines, rung.within_s)).enforced is Enforced.YES:
                return True
        return False

    async def _run_step(self, item: Item, step: Step, lines: Lines, turn: Turn) -> Stopped | None:
        known = self._steps.known(item.n)
        while True:
            try:
                if (spared := await self._spare(item, await lines.at(step.target))) is not None:
                    return spared
                outcome = await self._once(item, step, lines, turn)
            except RefusedCommandError as err:
                return Stopped(_STOPS.get(err.reason, Event.FAIL), err.reason, str(err))
            except UnreadableError as err:
                if err.reason in HUNG_UP and self._steps.arrives(item) and self._steps.nothing_sent(item):
                    return AWAY
                if not known.outcomes:
                    raise  # nothing of this item was sent: it is not applied
                known.last = StepOutcome(Verdict.NOT_APPLIED, err.reason, str(err))
                return None
            if outcome.reason == "expired":
                return Stopped(Event.EXPIRE, "expired", outcome.detail)
            known.last = known.outcomes[step.n, Direction.FORWARD] = outcome
            if not self._steps.try_again(item, step, Direction.FORWARD, outcome):
                return None

    async def _spare(self, item: Item, session: Session) -> Stopped | None:
        """Wait while the target is to be spared, not longer than the plan may run; return why it was not waited out.

        What was begun is finished after a short wait: half done it would hold its addresses against a restore.
        """
        arrives = self._parts.sessions.arrives(session.target.id)
        pause_s, most_s, patience_s = SPARE_S, SPARE_MAX_S, PAUSE_MAX_S
        if arrives:  # it stays for seconds when it comes, and may come tomorrow
            pause_s, most_s, patience_s = PAUSE_S, PAUSE_S, self._steps.patience_with(session.target.id).reread_s
        go_on = self._clock.boot_s() + patience_s
        while (busy := await session.busy()) is not None and self._journal.wanted(item):
            if arrives and busy.reason in HUNG_UP and self._steps.nothing_sent(item):
                return AWAY
            if self._journal.states[item.n] not in UNSENT and self._clock.boot_s() >= go_on:
                return None
            if self._journal.states[item.n] in UNSENT and (why := self._stopping()):
                return Stopped(Event.CANCEL, "stopped", why)
            left_s = self._run_until_s - self._clock.wall_s()
            if left_s <= 0:
                return Stopped(Event.EXPIRE, busy.reason, busy.detail)
            await self._clock.sleep(min(pause_s, left_s))
            pause_s = min(pause_s * 2, most_s)
        return None

    async def _once(self, item: Item, step: Step, lines: Lines, turn: Turn) -> StepOutcome:
        bound: Mapping[Address, Seen] = {}
        if isinstance(step.do, Effect):
            bound = await (await lines.at(step.target)).bind(step.do)
            self._steps.known(item.n).note_bound(step, bound)
            if not bound and step.do.proof is not None:
                return StepOutcome(Verdict.APPLIED, "nothing-to-do", "no session now")
        return await self._steps.send(item, Doing(step.n, step.target, Direction.FORWARD, step.do, bound), lines, turn)
