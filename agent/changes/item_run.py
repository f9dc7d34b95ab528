"""One item of a plan: its steps in order, the enforcement check, what became of it; and its declared revert."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import trio

from agent.changes.audit import Recorder
from agent.changes.journal import Doing, Journal, Unmet, inverse
from agent.changes.machine import Event, StepFact, settle
from agent.changes.perform import Patience, perform_step, recover_step
from agent.changes.plans import ItemRow, StepRow
from agent.changes.sessions import Lines, Sessions, Turn
from agent.connectors.base import AccessRecipe, Enforced, Judgement, Session, UnreadableError
from agent.inventory.book import opposite
from agent.model import (
    ABSENT,
    Address,
    Direction,
    Effect,
    Item,
    ItemState,
    ProofKind,
    Replay,
    Seen,
    Step,
    StepOutcome,
    Ticket,
    Transition,
    Verdict,
)
from agent.runtime.clock import Clock
from agent.store.db import Store
from agent.store.errors import RefusedCommandError

S = ItemState
MAX_ATTEMPTS = 2
"""How often a step is sent when the first try proved to have had no effect at all; a crash of ours allows one more."""
PAUSE_S = 1.0
"""How often a frozen or halted item looks whether it may go on."""
PAUSE_MAX_S = 30.0
"""How long an item that was begun waits for that; then it ends as what it is: set, not enforced."""
SPARE_S = 5.0
"""How soon a target that is to be spared is asked again; then twice as long each time, up to `SPARE_MAX_S`."""
SPARE_MAX_S = 30.0
_STOPS = {
    "cancelled": Event.CANCEL,
    "expired": Event.EXPIRE,
    "not-required": Event.SKIP,
    "stale": Event.DRIFT,
}
_SAID = {"ack-without-effect": "the NAS answered ACK"}
_FOLLOW = frozenset({"restore", "revert"})
"""Actions that wait for a change which holds their addresses: a restore follows a suspension, it is never lost."""
_PAUSES = frozenset({"frozen", "clock-halt"})
_UNSENT = frozenset({S.PLANNED, S.WAITING})
MOST_VISITS = 20
"""How often a step is begun at a device that hangs up before anything was sent."""
CRASHED = "lost-crash"
RETRIED = "retry"
"""Reason of an item whose disconnects a person asked to do once more (`retry.py`)."""


@dataclass(frozen=True, slots=True)
class RunParts:
    """What a run needs of the agent. `recipes` by method name; `census` names each target's who-is-online address."""

    store: Store
    recorder: Recorder
    sessions: Sessions
    recipes: Mapping[str, AccessRecipe]
    clock: Clock
    unmet: Unmet
    patience: Patience = field(default_factory=Patience)
    census: Mapping[str, Address] = field(default_factory=dict)
    paced: bool = True
    check_clock: Callable[[], Awaitable[None]] = trio.lowlevel.checkpoint
    """Halts applying, durably, if the clock jumped."""
    refresh_facts: Callable[[], Awaitable[object]] = trio.lowlevel.checkpoint
    """Reads the billing file again if it changed."""


@dataclass(frozen=True, slots=True)
class Stopped:
    """Why an item's next step was not sent."""

    event: Event
    reason: str
    detail: str


_HUNG_UP = frozenset({"session-ended", "not-on-the-line"})
"""Why nothing was sent to a device that calls in when it likes: it will call in again."""
AWAY = Stopped(Event.WAIT, "not-on-the-line", "until the device calls in again")
"""Nothing was sent yet: the item waits as one that was not begun, and holds no address meanwhile."""
EXPIRED = Stopped(Event.EXPIRE, "expired", "the device did not call in before the deadline")
CANCELLED = Stopped(Event.CANCEL, "cancelled", "cancelled while it waited")


@dataclass(slots=True)
class Known:
    """What is known of an item while it runs: the last outcome of each step, each way. `ended`: what is to be gone."""

    outcomes: dict[tuple[int, Direction], StepOutcome] = field(default_factory=dict)
    ended: set[Address] = field(default_factory=set)
    attempts: dict[tuple[int, Direction], int] = field(default_factory=dict)
    crashed: set[tuple[int, Direction]] = field(default_factory=set)
    in_doubt: set[tuple[int, Direction]] = field(default_factory=set)
    """What was about to be sent and has no outcome yet: until it has, the item's addresses stay its own."""
    last: StepOutcome | None = None

    def done(self, n: int) -> StepOutcome | None:
        """Return the outcome of step `n` as planned, or None."""
        return self.outcomes.get((n, Direction.FORWARD))

    def fact(self, step: Step) -> StepFact:
        """Return what the machine needs to know of a step."""
        outcome = self.done(step.n)
        return StepFact(
            None if outcome is None else outcome.verdict,
            effect=isinstance(step.do, Effect),
            drifted=outcome is not None and outcome.reason == "drifted",
            unless=step.unless,
            provable=not isinstance(step.do, Effect) or step.do.proof is not None,
        )

    def note_bound(self, step: Step, bound: Collection[Address]) -> None:
        """Take note of what a step acts on: what it is to end must be gone in the end."""
        if isinstance(step.do, Effect) and step.do.proof is ProofKind.GONE:
            self.ended.update(bound)


def ladders(steps: Collection[Step]) -> list[list[Step]]:
    """Return the effects among the steps, those that stand in for each other together, in their order."""
    found: dict[int, list[Step]] = {}
    for step in steps:
        if isinstance(step.do, Effect):
            found.setdefault(min((*step.unless, step.n)), []).append(step)
    return list(found.values())


def can_be_taken_back(item: Item) -> bool:
    """Tell whether anything of an item can be: of one that only had effects which have no inverse, nothing is."""
    return not item.steps or any(inverse_of(step) is not None for step in item.steps)


def inverse_of(step: Step) -> tuple[Transition, ...] | Effect | None:
    """Return what takes a step back: inverted transitions; for an effect, its declared `on_revert` effect or None."""
    if isinstance(step.do, Effect):
        return step.on_revert[0] if step.on_revert else None
    return inverse(step.do)


class ItemRunner:
    """Runs items of one plan, each in a task of its own."""

    def __init__(
        self,
        parts: RunParts,
        journal: Journal,
        run_until_s: float,
        changed: Callable[[], None],
        stopping: Callable[[], str] = lambda: "",
    ) -> None:
        """`stopping` says why the run is being stopped ("": it is not): what waits for its turn is then not begun."""
        self._stopping = stopping
        self._parts = parts
        self._journal = journal
        self._run_until_s = run_until_s
        self._changed = changed
        self._clock = parts.clock
        self._known: dict[int, Known] = {}
        self._waiting: set[trio.CancelScope] = set()
        self._left: Stopped | None = None
        self._doubts: dict[int, list[StepRow]] = {}

    def leave(self, why: Stopped) -> None:
        """Wait no longer for devices that have not called in."""
        self._left = why
        for scope in self._waiting:
            scope.cancel()

    def known(self, n: int) -> Known:
        """Return what is known of item `n`."""
        return self._known.setdefault(n, Known())

    async def _move(
        self, item: Item, event: Event, reason: str, detail: str = "", desired: tuple[str, ...] = ()
    ) -> None:
        await self._journal.move(item, event, reason, detail, desired)
        self._changed()

    @asynccontextmanager
    async def _lines(self, item: Item) -> AsyncIterator[Lines]:
        """Lend the sessions of the item's targets; an item whose device must call in is waiting meanwhile."""
        target = item.steps[0].target
        if self._parts.sessions.arrives(target) and self._journal.states[item.n] is S.PLANNED:
            await self._move(item, Event.WAIT, "", "until the device calls in")
        async with self._parts.sessions.lines(target) as lines:
            yield lines

    async def run(self, item: Item) -> None:
        """Run one item to a final state (or to a pause that the plan's deadline ends)."""
        if not item.steps:
            await self._finish_reason_only(item)
            return
        await self._resolve_doubts(item)
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
                async with self._lines(item) as lines:
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
            await self._unlock(item)
        return away

    def _patience_s(self, item: Item) -> float:
        """Return how long to wait for the item's session. What was begun is read to its end, after the deadline too."""
        if self._journal.states[item.n] not in _UNSENT and not self._parts.sessions.arrives(item.steps[0].target):
            return float("inf")
        return max(self._run_until_s - self._clock.wall_s(), 0)

    async def _finish_reason_only(self, item: Item) -> None:
        """Record a reason for a service whose network state stays as it is."""
        while self._journal.states[item.n] in _UNSENT:
            try:
                await self._parts.check_clock()
                await self._parts.refresh_facts()
                await self._journal.record_reason(item)
                self._changed()
            except RefusedCommandError as err:
                wait = err.reason in _PAUSES or (err.reason == "busy" and self._journal.plan.action in _FOLLOW)
                if not wait:
                    await self._move(item, _STOPS.get(err.reason, Event.FAIL), err.reason, str(err))
                    return
                await self._clock.sleep(PAUSE_S)

    async def _run_locked(self, item: Item, lines: Lines) -> bool:
        arrives = self._arrives(item)
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
                await self._move(item, AWAY.event, AWAY.reason, AWAY.detail)
        finally:
            await self._unlock(item)
        return stopped is AWAY

    async def _unlock(self, item: Item) -> None:
        """Give the item's addresses back, unless a step is in doubt: nobody may act on them before that is known."""
        if not self.known(item.n).in_doubt:
            with trio.CancelScope(shield=True):
                await self._journal.unlock(item, whole=self._arrives(item))

    def _arrives(self, item: Item) -> bool:
        """Tell whether the item's device calls in when it likes: then one change at a time acts on it, all of it."""
        return self._parts.sessions.arrives_later(item.steps[0].target)

    async def _end(self, item: Item, lines: Lines | None, stopped: Stopped | None) -> None:
        """Move the item to the state in which its run ends. `lines` None: nothing can be read now."""
        if stopped is not None and self._journal.states[item.n] in _UNSENT:
            await self._move(item, stopped.event, stopped.reason, stopped.detail)
        else:
            await self._settle(item, lines, stopped)

    async def _run_in_turn(self, item: Item, lines: Lines) -> Stopped | None:
        """Perform the item's steps; while it is frozen or halted it gives its place to others."""
        give_up = self._clock.boot_s() + PAUSE_MAX_S
        while True:
            async with Turn(self._parts.sessions) as turn:
                stopped = await self._run_steps(item, lines, turn)
            if stopped is None or stopped.reason not in _PAUSES:
                return stopped
            if self._journal.states[item.n] not in _UNSENT and self._clock.boot_s() >= give_up:
                return stopped  # half done and frozen: it says so, and gives its addresses back (to a restore)
            await self._clock.sleep(PAUSE_S)

    async def _run_steps(self, item: Item, lines: Lines, turn: Turn) -> Stopped | None:
        """Perform the item's steps in order; return why it was stopped before its next step, or None."""
        known = self.known(item.n)
        for step in item.steps:
            done = known.done(step.n)
            if done is not None and not self._try_again(item, step, Direction.FORWARD, done):
                continue
            after = [outcome for a in step.after if (outcome := known.done(a)) is not None]
            if any(outcome.verdict is not Verdict.APPLIED for outcome in after):
                break
            if await self._stood_in_for(item, step, lines):
                continue
            await turn.at(step.target)
            if self._journal.states[item.n] in _UNSENT and (why := self._stopping()):
                return Stopped(Event.CANCEL, "stopped", why)
            if (stopped := await self._run_step(item, step, lines, turn)) is not None:
                return stopped
        return None

    async def _stood_in_for(self, item: Item, step: Step, lines: Lines) -> bool:
        """Return whether an earlier rung of a step's ladder did what the step is for, or may have."""
        for n in step.unless:
            rung, outcome = item.steps[n - 1].do, self.known(item.n).done(n)
            if outcome is None or outcome.verdict in (Verdict.NOT_APPLIED, Verdict.DIVERGED):
                continue
            if not isinstance(rung, Effect) or rung.proof is not None:
                return True
            # Its reply proves nothing, so a lost one leaves nothing open: what is seen says whether to go on
            if (await self._enforce(item, lines, rung.within_s)).enforced is Enforced.YES:
                return True
        return False

    async def _run_step(self, item: Item, step: Step, lines: Lines, turn: Turn) -> Stopped | None:
        known = self.known(item.n)
        while True:
            try:
                if (spared := await self._spare(item, await lines.at(step.target))) is not None:
                    return spared
                outcome = await self._once(item, step, lines, turn)
            except RefusedCommandError as err:
                return Stopped(_STOPS.get(err.reason, Event.FAIL), err.reason, str(err))
            except UnreadableError as err:
                if err.reason in _HUNG_UP and self._arrives(item) and self._nothing_sent(item):
                    return AWAY
                if not known.outcomes:
                    raise  # nothing of this item was sent: it is not applied
                known.last = StepOutcome(Verdict.NOT_APPLIED, err.reason, str(err))
                return None
            if outcome.reason == "expired":
                return Stopped(Event.EXPIRE, "expired", outcome.detail)
            known.last = known.outcomes[step.n, Direction.FORWARD] = outcome
            if not self._try_again(item, step, Direction.FORWARD, outcome):
                return None

    async def _spare(self, item: Item, session: Session) -> Stopped | None:
        """Wait while the target is to be spared, not longer than the plan may run; return why it was not waited out.

        What was begun is finished after a short wait: half done it would hold its addresses against a restore.
        """
        arrives = self._parts.sessions.arrives(session.target.id)
        pause_s, most_s, patience_s = SPARE_S, SPARE_MAX_S, PAUSE_MAX_S
        if arrives:  # it stays for seconds when it comes, and may come tomorrow
            pause_s, most_s, patience_s = PAUSE_S, PAUSE_S, self._patience_with(session.target.id).reread_s
        go_on = self._clock.boot_s() + patience_s
        while (busy := await session.busy()) is not None and self._journal.wanted(item):
            if arrives and busy.reason in _HUNG_UP and self._nothing_sent(item):
                return AWAY
            if self._journal.states[item.n] not in _UNSENT and self._clock.boot_s() >= go_on:
                return None
            if self._journal.states[item.n] in _UNSENT and (why := self._stopping()):
                return Stopped(Event.CANCEL, "stopped", why)
            left_s = self._run_until_s - self._clock.wall_s()
            if left_s <= 0:
                return Stopped(Event.EXPIRE, busy.reason, busy.detail)
            await self._clock.sleep(min(pause_s, left_s))
            pause_s = min(pause_s * 2, most_s)
        return None

    def _nothing_sent(self, item: Item) -> bool:
        """Tell whether an item is as if it had not been begun: its device hung up before each first byte."""
        known = self.known(item.n)
        return not known.in_doubt and all(self._hung_up(done) for done in known.outcomes.values())

    @staticmethod
    def _hung_up(outcome: StepOutcome) -> bool:
        return outcome.verdict is Verdict.NOT_APPLIED and outcome.reason in _HUNG_UP

    def _try_again(self, item: Item, step: Step, direction: Direction, outcome: StepOutcome) -> bool:
        """Return whether a step that proved to have had no effect may be sent once more."""
        if self._hung_up(outcome) and self._parts.sessions.arrives_later(step.target):
            return self.known(item.n).attempts.get((step.n, direction), 0) < MOST_VISITS
        if outcome.verdict is not Verdict.NOT_APPLIED or not outcome.reason.startswith("lost-"):
            return False
        if isinstance(step.do, Effect) and step.do.replay is Replay.NEVER:
            return False
        known, key = self.known(item.n), (step.n, direction)
        return known.attempts.get(key, 0) < MAX_ATTEMPTS + (key in known.crashed)

    async def _resolve_doubts(self, item: Item) -> None:
        """Find the fate of what was about to be sent to a device that calls in when it likes."""
        while rows := self._doubts.get(item.n):
            await self.recover(item, rows[0])
            self.known(item.n).in_doubt.discard((rows[0].n, rows[0].direction))
            del rows[0]
        self._doubts.pop(item.n, None)

    async def _once(self, item: Item, step: Step, lines: Lines, turn: Turn) -> StepOutcome:
        bound: Mapping[Address, Seen] = {}
        if isinstance(step.do, Effect):
            bound = await (await lines.at(step.target)).bind(step.do)
            self.known(item.n).note_bound(step, bound)
            if not bound and step.do.proof is not None:
                return StepOutcome(Verdict.APPLIED, "nothing-to-do", "no session now")
        return await self._send(item, Doing(step.n, step.target, Direction.FORWARD, step.do, bound), lines, turn)

    async def _send(self, item: Item, doing: Doing, lines: Lines, turn: Turn) -> StepOutcome:
        session = await lines.at(doing.target)
        arrives = self._parts.sessions.arrives(doing.target)
        async with self._parts.sessions.kept(doing.target):
            with trio.CancelScope(shield=True) as scope:  # between "about to" and its outcome there is no way out
                await self._parts.check_clock()
                if doing.direction is Direction.FORWARD and item.requires:
                    await self._parts.refresh_facts()
                ticket = await self._journal.about_to(item, doing)
                self._changed()
                known, key = self.known(item.n), (doing.step, doing.direction)
                known.attempts[key] = ticket.attempt
                known.in_doubt.add(key)
                scope.shield = not arrives  # a device that calls in when it likes is not waited for at a stop
                done = await perform_step(
                    session,
                    ticket,
                    self._journal,
                    self._clock,
                    self._patience_with(doing.target),
                    self._last_reply(item, doing, turn),
                    leave=arrives,
                )
                known.in_doubt.discard(key)
        return done

    def _patience_with(self, target: str) -> Patience:
        """Return how long to wait for a target: its connector may know better than for all."""
        traits, patience = self._parts.sessions.connector(target).traits, self._parts.patience
        return replace(
            patience,
            send_s=patience.send_s if traits.send_s is None else traits.send_s,
            reread_s=patience.reread_s if traits.reread_s is None else traits.reread_s,
        )

    def _last_reply(self, item: Item, doing: Doing, turn: Turn) -> Callable[[], None]:
        """Return what to do when an effect is accepted: after its last one an item only reads, in nobody's way."""
        last = all(doing.step in later.unless for later in item.steps[doing.step :])
        return turn.over if last and doing.direction is Direction.FORWARD else lambda: None

    # --- enforcement, and what became of the item ---

    async def _settle(self, item: Item, lines: Lines | None, stopped: Stopped | None) -> None:
        if self._journal.states[item.n] in _UNSENT:
            await self._move(item, Event.BEGIN, "")  # there was nothing to send: no session to end
        facts = [self.known(item.n).fact(step) for step in item.steps]
        writes_stand = all(f.verdict is Verdict.APPLIED for f in facts if not f.effect)
        judgement: Judgement | None = None
        if item.enforce is not None and writes_stand:
            judgement = Judgement(Enforced.NO, "unreadable")
            if lines:
                redials = bool(self.known(item.n).ended)
                judgement = await self._enforce(item, lines, item.enforce.within_s, redials=redials)
        elif item.enforce is None and self._ladder_text(item) and not await self._gone(item, lines):
            facts = [
                replace(f, verdict=Verdict.NOT_APPLIED) if f.unless and f.verdict is Verdict.APPLIED else f
                for f in facts
            ]
        event = settle(facts, judgement, None if stopped is None else stopped.event)
        if event is Event.LOSE:
            event = Event.ESCALATE  # the time for re-reading is over
        stands = writes_stand and event in (Event.PROVE, Event.SET_OFFLINE, Event.SET_UNENFORCED)
        desired = item.desired if stands else ()
        reason, detail = self._explain(item, judgement, stopped)
        await self._move(item, event, reason, detail, desired)

    async def _gone(self, item: Item, lines: Lines | None) -> bool:
        """Tell whether all that an item was to end is gone: a later rung may have ended something else, or nothing."""
        ended = self.known(item.n).ended
        until = self._clock.boot_s() + max(s.do.within_s for s in item.steps if isinstance(s.do, Effect))
        while lines is not None:
            try:
                if all(seen.value is ABSENT for seen in (await lines.read(ended)).values()):
                    return True
            except UnreadableError:
                pass  # as long as it cannot be read, it is not known to be gone
            if self._clock.boot_s() >= until:
                break
            await self._clock.sleep(self._parts.patience.poll_max_s)
        return False

    def _explain(self, item: Item, judgement: Judgement | None, stopped: Stopped | None) -> tuple[str, str]:
        if stopped is not None:
            return stopped.reason, stopped.detail
        last = self.known(item.n).last
        if judgement is not None:
            detail = " · ".join(filter(None, (self._ladder_text(item), judgement.detail)))
            if judgement.enforced is Enforced.NO and last is not None and last.verdict is not Verdict.APPLIED:
                return last.reason, " · ".join(filter(None, (_SAID.get(last.reason, last.detail), detail)))
            return judgement.how, detail
        if last is not None and (ladder := self._ladder_text(item)):
            return last.reason, ladder
        return (last.reason, last.detail) if last is not None else ("", "")

    def _ladder_text(self, item: Item) -> str:
        """Return what became of each rung of a ladder that had to go on to a second one."""
        known = self.known(item.n)
        ran = [
            (step.do.verb, done) for step in item.steps if isinstance(step.do, Effect) and (done := known.done(step.n))
        ]
        climbed = any(step.unless and known.done(step.n) for step in item.steps)
        return ", then ".join(f"{verb}: {done.reason}" for verb, done in ran) if climbed else ""

    async def _enforce(self, item: Item, lines: Lines, within_s: float, *, redials: bool = True) -> Judgement:
        """Judge until it is enforced or `within_s` seconds are up: some writes take effect a while later.

        Where nobody is online and there was no session to end (`redials` is False) nobody is waited for.
        """
        enforce = item.enforce
        if enforce is None:
            return Judgement(Enforced.NO, "unmapped-method", "nothing says what must hold")
        recipe = self._parts.recipes.get(enforce.expect["method"])
        if recipe is None:
            return Judgement(Enforced.NO, "unmapped-method", "its access method is no longer configured")
        ended = self.known(item.n).ended
        until = self._clock.boot_s() + within_s
        pause = self._parts.patience.poll_s
        while True:
            seen: dict[Address, Seen] = {}
            judgement = Judgement(Enforced.NO, "unreadable", "could not be read")
            try:
                seen.update(await lines.read([enforce.address]))
                while missing := [a for a in recipe.enforcement_reads(enforce, seen) if a not in seen]:
                    seen.update(await lines.read(missing))
                judgement = recipe.judge(enforce, seen, list(ended))
            except UnreadableError as err:
                judgement = Judgement(Enforced.NO, err.reason, str(err))
            over = judgement.enforced is Enforced.YES or (judgement.enforced is Enforced.PENDING and not redials)
            if over or self._clock.boot_s() >= until:
                return judgement
            await self._clock.sleep(pause)
            pause = min(pause * 1.5, self._parts.patience.poll_max_s)

    # --- the declared revert, inside the run ---

    async def revert(self, item: Item) -> None:
        """Take back an item whose writes stand: writes last first, then the declared effects."""
        await self._resolve_doubts(item)
        failed = await self._revert_steps(item)
        while failed is not None and failed[0] in _PAUSES:
            await self._clock.sleep(PAUSE_S)  # frozen: what was applied stands until it is lifted, in nobody's way
            failed = await self._revert_steps(item)
        if failed is None:
            await self._move(item, Event.REVERT, "reverted", desired=opposite(item.desired))
        else:
            await self._move(item, Event.ESCALATE, f"revert-{failed[0]}", failed[1])

    async def _revert_steps(self, item: Item) -> tuple[str, str] | None:
        """Revert what is not reverted yet; return None, or why it stopped: reason and detail."""
        writes = [s for s in reversed(item.steps) if not isinstance(s.do, Effect)]
        if not item.steps:
            return None
        within_s = self._revert_within_s(item)
        try:
            with trio.move_on_after(within_s) as waiting:
                async with self._lines(item) as lines, self._locked(item), Turn(self._parts.sessions) as turn:
                    waiting.deadline = float("inf")
                    for step in writes:
                        outcome = await self._revert_step(item, step, lines, turn)
                        if outcome is not None and outcome.verdict is not Verdict.APPLIED:
                            return outcome.reason, outcome.detail
                    for ladder in ladders(item.steps):
                        outcome = await self._revert_ladder(item, ladder, lines, turn)
                        if outcome is not None and self._had_effect(item, ladder):
                            return outcome.reason, outcome.detail
        except (UnreadableError, RefusedCommandError) as err:
            return err.reason, str(err)
        if waiting.cancelled_caught:
            return "not-on-the-line", f"the device did not call in for {within_s:.0f} s to be given back what it was"
        return None

    def _revert_within_s(self, item: Item) -> float:
        """Return how long a revert waits for the item's device: one that we dial says at once whether it is there."""
        return self._patience_with(item.steps[0].target).reread_s if self._arrives(item) else float("inf")

    def _had_effect(self, item: Item, ladder: Collection[Step]) -> bool:
        """Tell whether a ladder that could not be taken back leaves something behind.

        It does when it had taken effect: the sessions of after it carry on with what was written back since. One that
        never did left the sessions as they were.
        """
        done = [self.known(item.n).done(step.n) for step in ladder]
        return any(outcome is not None and outcome.verdict is Verdict.APPLIED for outcome in done)

    async def _revert_ladder(
        self, item: Item, ladder: Collection[Step], lines: Lines, turn: Turn
    ) -> StepOutcome | None:
        """Take an effect back by the first of its rungs that can; return the outcome of the last one if none could."""
        outcome: StepOutcome | None = None
        for step in ladder:
            if inverse_of(step) is None:
                continue
            outcome = await self._revert_step(item, step, lines, turn)
            if outcome is None or outcome.verdict is Verdict.APPLIED:
                return None
        return outcome

    @asynccontextmanager
    async def _locked(self, item: Item) -> AsyncIterator[None]:
        """Hold the item's addresses, waiting for whoever has them."""
        while await self._journal.lock(item, whole=self._arrives(item)) is not None:
            await self._clock.sleep(PAUSE_S)
        try:
            yield
        finally:
            await self._unlock(item)

    async def _revert_step(self, item: Item, step: Step, lines: Lines, turn: Turn) -> StepOutcome | None:
        do = inverse_of(step)
        if do is None:
            return None
        known, way = self.known(item.n), Direction.REVERT
        outcome = known.outcomes.get((step.n, way))
        while outcome is None or self._try_again(item, step, way, outcome):
            await turn.at(step.target)
            bound = await (await lines.at(step.target)).bind(do) if isinstance(do, Effect) else {}
            if isinstance(do, Effect) and not bound:
                return None
            outcome = await self._send(item, Doing(step.n, step.target, way, do, bound), lines, turn)
            known.outcomes[step.n, way] = outcome
        return outcome

    # --- after a crash ---

    def note(self, item: Item, row: StepRow, at: ItemRow) -> None:
        """Take note of an attempt that the journal has. `at` is where the item stands."""
        ended = row.direction is Direction.FORWARD and isinstance(item.steps[row.n - 1].do, Effect)
        if at.reason == RETRIED and ended and row.outcome_seq is not None and row.outcome_seq < at.state_seq:
            return  # a person asked for it once more
        known = self.known(item.n)
        key = (row.n, row.direction)
        known.attempts[key] = max(row.attempt, known.attempts.get(key, 0))
        known.note_bound(item.steps[row.n - 1], row.bound)
        if row.verdict is not None:
            self._note_verdict(item, row, StepOutcome(row.verdict, row.reason, row.detail))

    def _note_verdict(self, item: Item, row: StepRow, outcome: StepOutcome) -> None:
        if outcome.reason == "expired":
            return  # nothing was sent
        self.known(item.n).outcomes[row.n, row.direction] = outcome
        if outcome.reason == CRASHED:
            self.known(item.n).crashed.add((row.n, row.direction))
        if row.direction is Direction.FORWARD:
            self.known(item.n).last = outcome

    def recover_later(self, item: Item, row: StepRow) -> None:
        """Find the fate of a step when its item is gone on with: its device must call in first."""
        self._doubts.setdefault(item.n, []).append(row)
        self.known(item.n).in_doubt.add((row.n, row.direction))

    def in_doubt(self, n: int) -> bool:
        """Tell whether the fate of a step of item `n` is still to be found, from before a restart."""
        return n in self._doubts

    async def recover(self, item: Item, row: StepRow) -> None:
        """Find the fate of a step that was about to be sent when the agent died."""
        step = item.steps[row.n - 1]
        do = step.do if row.direction is Direction.FORWARD else inverse_of(step)
        if do is None:
            raise ValueError(f"item {item.n} step {row.n} has no revert, yet one was journalled")
        ticket = self._journal.ticket(item, Doing(row.n, step.target, row.direction, do, row.bound), row.attempt)
        await self._journal.doubt(ticket, "crash")
        self._changed()
        try:
            outcome = await self._recovered(step.target, ticket)
        except UnreadableError as err:
            outcome = StepOutcome(Verdict.UNKNOWN, err.reason, f"what became of it cannot be read: {err}")
            await self._journal.outcome(ticket, outcome)
        self._note_verdict(item, row, outcome)

    async def _recovered(self, target: str, ticket: Ticket) -> StepOutcome:
        """Read what became of a ticket.

        Raises:
            UnreadableError: the target cannot be read, or does not call in for too long.
        """
        sessions, patience = self._parts.sessions, self._patience_with(target)
        arrives = sessions.arrives(target)
        with trio.move_on_after(patience.reread_s if arrives else float("inf")) as scope:
            async with sessions.use(target) as session, sessions.kept(target):
                scope.deadline = float("inf")
                return await recover_step(session, ticket, self._journal, self._clock, patience, leave=arrives)
        raise UnreadableError(f"{target} did not call in for {patience.reread_s:.0f} s", reason="timeout")
