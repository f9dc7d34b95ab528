"""One item of a plan, from its beginning to its end: the way forward.

It waits for its device and its place, performs its steps in order, falls back to another way where one did nothing,
waits until its writes are enforced, and moves to the state in which it ends.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import cast

import trio

from agent.changes.engine.perform import OutcomeKind, absent, hung_up, kind_of, plays, still_written
from agent.changes.engine.reads import RecentReads, set_by
from agent.changes.engine.sessions import ItemSessions, WindowSlot
from agent.changes.engine.steps import Steps, guard_problem, subjects
from agent.changes.engine.tickets import StepAction, with_clock, with_writes
from agent.changes.journal import plans
from agent.changes.journal.machine import Event, StepFact, settle
from agent.connectors.base import Busy, Enforced, Judgment, KnowsAbsence, Session, UnreadableError
from agent.model import ABSENT, Address, Direction, Effect, ItemState, Seen, Step, StepOutcome, Verdict, target_of
from agent.reasons import ItemReason, ProofReason, RefusalReason, TargetReason
from agent.runtime.notifier import Notifier
from agent.store.errors import RefusedCommandError
from trust.moments import moment_text
from trust.policy import Action

S = ItemState
PAUSE_S = 1.0
"""How often an item that is frozen, halted or kept out by another change looks whether it may go on."""
PAUSE_MAX_S = 30.0
"""How long an item that was begun waits while it is frozen or halted; then it ends as set and not enforced."""
SPARE_S = 5.0
"""How soon a target that is to be spared is asked again; then twice as long each time, up to `SPARE_MAX_S`."""
SPARE_MAX_S = 30.0
AGAIN_MAX = 3
"""How often an effect is performed again because the judgment found more to end; chosen arbitrarily."""
_FOLLOW = frozenset({Action.RESTORE.value, Action.REVERT.value})
"""Actions that wait for a change which holds their addresses: a restore follows a suspension, it is never lost."""
_NOBODY = (Enforced.PENDING, Enforced.UNPROVEN)
"""Judgments where no session is known: only one that is expected to come is waited for."""


class Then(enum.Enum):
    """How an item goes on when its next step was not sent."""

    END = enum.auto()
    PAUSE = enum.auto()
    """Frozen or halted: look again."""
    FOLLOW = enum.auto()
    """Another change holds an address: wait for it, where the action does that."""
    CALL_AGAIN = enum.auto()
    """The device went away before anything was sent: wait until it calls in again."""
    TRY_AGAIN = enum.auto()
    """A target that we dial does not answer and nothing was sent, or the plan may not send now: tried again later."""


@dataclass(frozen=True, slots=True)
class Stopped:
    """Why an item's next step was not sent."""

    event: Event
    reason: str
    detail: str
    then: Then = Then.END


_REFUSALS: Mapping[str, tuple[Event, Then]] = {
    RefusalReason.CANCELLED: (Event.CANCEL, Then.END),
    RefusalReason.EXPIRED: (Event.EXPIRE, Then.END),
    RefusalReason.NOT_REQUIRED: (Event.SKIP, Then.END),
    RefusalReason.STALE: (Event.DRIFT, Then.END),
    RefusalReason.FROZEN: (Event.FAIL, Then.PAUSE),
    RefusalReason.CLOCK_HALT: (Event.FAIL, Then.PAUSE),
    RefusalReason.BUSY: (Event.FAIL, Then.FOLLOW),
    RefusalReason.WINDOW_CLOSED: (Event.WAIT, Then.TRY_AGAIN),
    RefusalReason.PAUSED: (Event.WAIT, Then.TRY_AGAIN),
}
"""Reasons of the journal's refusals that mean more than a failure."""
AWAY = Stopped(Event.WAIT, ItemReason.NOT_ON_THE_LINE, "until the device calls in again", Then.CALL_AGAIN)
"""Nothing was sent yet: the item waits as one that was not begun, and holds no address meanwhile."""
EXPIRED = Stopped(Event.EXPIRE, RefusalReason.EXPIRED, "the device did not call in before the deadline")
KEPT_OUT: Mapping[str, Stopped] = {
    code: Stopped(Event.EXPIRE, code, why)
    for code, why in (
        (RefusalReason.WINDOW_CLOSED, "its window did not open before the deadline"),
        (RefusalReason.PAUSED, "the change was paused until its deadline"),
    )
}
"""How an item ends when its plan might not send, by the reason, once the deadline has passed."""
CANCELLED = Stopped(Event.CANCEL, RefusalReason.CANCELLED, "cancelled while it waited")


def away(why: str) -> Stopped:
    """Return how an unsent item goes on when its target does not answer."""
    return Stopped(Event.WAIT, ItemReason.TARGET_AWAY, why, Then.TRY_AGAIN)


def refused(err: RefusedCommandError) -> Stopped:
    """Return how an item goes on that the journal refused."""
    event, then = _REFUSALS.get(err.reason, (Event.FAIL, Then.END))
    return Stopped(event, err.reason, str(err), then)


@dataclass(slots=True)
class Stopping:
    """Why a run is being stopped, as its items ask for it ("": it is not). An item that waits is then not begun."""

    why: str = ""
    left: Stopped | None = None
    """Why no device is waited for any more."""
    waiting: set[trio.CancelScope] = field(default_factory=set)
    window: Notifier = field(default_factory=Notifier)
    """Rung when it is time to look whether the plan may send."""

    def stop(self, why: str) -> None:
        """Begin no more items; the first reason stays."""
        self.why = self.why or why

    def leave(self, why: Stopped) -> None:
        """Wait no longer for devices that have not called in."""
        self.left = why
        for scope in self.waiting:
            scope.cancel()


class ItemRun:
    """The run of one item, in a task of its own."""

    def __init__(self, steps: Steps, stopping: Stopping, recent: RecentReads) -> None:
        """Take the item's steps, and the run's stop and readings."""
        self._steps, self._item = steps, steps.item
        self._again: dict[int, int] = {}
        """How often a step was performed again because of a judgment, by its number."""
        self._parts, self._tickets, self._clock = steps.parts, steps.tickets, steps.parts.clock
        self._stopping, self._recent = stopping, recent
        self.away: Stopped | None = None
        """Why the item is to be tried again later: its target does not answer, or the plan may not send now."""

    async def run(self) -> None:
        """Run the item to a final state, to a pause that the plan's deadline ends, or until its target is `away`."""
        if not self._item.steps:
            await self._finish_reason_only()
            return
        if why := guard_problem(self._item):
            await self._steps.move(Event.FAIL, ItemReason.GUARD_UNSUPPORTED, why)
            return
        try:
            await self._steps.resolve_doubts()
            while await self._visit():
                await self._clock.sleep(PAUSE_S)
        finally:
            await self._steps.leave()

    # --- waiting for its device, its addresses and its place ---

    async def _visit(self) -> bool:
        """Run the item with the sessions of its targets; return whether its device went away before it was begun.

        While the plan may not send no device is asked to call in, and none is held on the line.
        """
        target = self._item.steps[0].target
        if not self._sends_at_once(target):
            return await self._visit_later(target)
        try:
            return await self._run_with(ItemSessions(self._parts.sessions))
        except UnreadableError as err:
            stopped = self._unreadable(err)
        await self._stop(stopped)
        return False

    async def _visit_later(self, target: str) -> bool:
        """Visit a target that has to call in or to be dialed first, or once the plan may send."""
        hung, kept_out, waiting = False, "", trio.CancelScope()
        stopped: Stopped | None = None
        try:
            waits = self._unsent() or self._parts.sessions.arrives(target)
            if waits:  # one that was begun at a target that we dial is read to its end
                self._stopping.waiting.add(waiting)
            with waiting:
                if waits and self._stopping.left:
                    window = self._tickets.window()
                    kept_out = window.code if window.closed else ""
                    waiting.cancel()
                if self._parts.sessions.arrives(target) and self._state is S.PLANNED:
                    await self._steps.move(Event.WAIT, "", "until the device calls in")
                while waits and (window := self._tickets.window()).closed:
                    if not self._parts.sessions.arrives(target):
                        await self._leave(Stopped(Event.WAIT, window.code, window.closed, Then.TRY_AGAIN))
                        return False
                    kept_out = window.code
                    await self._stopping.window.wait()
                kept_out = ""
                async with self._parts.sessions.for_item(target) as sessions:
                    self._stopping.waiting.discard(waiting)  # from here on each step has its own deadline
                    hung = await self._run_with(sessions)
        except UnreadableError as err:
            stopped = self._unreadable(err)
        finally:
            self._stopping.waiting.discard(waiting)
        if waiting.cancelled_caught:
            stopped = self._stopping.left
            if stopped is EXPIRED:
                stopped = KEPT_OUT.get(kept_out, EXPIRED)
        if stopped is not None:
            await self._stop(stopped)
        return hung

    def _unreadable(self, err: UnreadableError) -> Stopped:
        """Return how the item goes on when a target cannot be read."""
        again = absent(err.reason) and self._may_try_again()
        return away(str(err)) if again else Stopped(Event.FAIL, err.reason, str(err))

    async def _stop(self, stopped: Stopped) -> None:
        if stopped.then is Then.TRY_AGAIN:
            await self._leave(stopped)
        else:
            await self._end(None, stopped)

    def _sends_at_once(self, target: str) -> bool:
        """Tell whether nothing is waited for, as mostly: the target is dialed, and the plan may send."""
        at_hand = self._parts.sessions.is_open(target) and self._stopping.left is None
        return at_hand and not self._tickets.window().closed

    @property
    def _state(self) -> ItemState:
        """The item's state, as the database has it."""
        return self._tickets.states[self._item.n]

    def _unsent(self) -> bool:
        return self._tickets.unsent(self._item)

    async def _run_with(self, sessions: ItemSessions) -> bool:
        if self._tickets.retried(self._item):
            stopped = await self._lock_first() or await self._overwritten(sessions)
            if stopped is not None:
                # Its own judgment would be of others' settings
                overtaken = stopped.reason == RefusalReason.NOTHING_TO_RETRY
                reason = ItemReason.OVERTAKEN if overtaken else stopped.reason
                await self._steps.end(Event.SET_UNENFORCED, reason, stopped.detail)
                return False
        stopped = await self._run_in_window(sessions)
        arrives = self._steps.arrives()
        waits = stopped is not None and stopped.then in (Then.CALL_AGAIN, Then.TRY_AGAIN)
        # Kept out after it was sent in vain: nothing of it stands, so it need not wait for that
        if stopped is None or not waits or not (arrives or self._unsent() or self._steps.nothing_sent()):
            await self._end(sessions, stopped)
            return False
        await self._leave(stopped)
        return stopped.then is Then.CALL_AGAIN or arrives

    async def _leave(self, stopped: Stopped) -> None:
        """Have the item wait; one of which nothing was sent holds no address meanwhile."""
        if self._unsent() or self._steps.nothing_sent():
            self._steps.look_again()
            if self._state is S.WAITING:
                await self._steps.leave()
            else:
                await self._steps.end(stopped.event, stopped.reason, stopped.detail)
        else:
            await self._steps.say()  # kept out of its next step, by the window
        tries = stopped.then is Then.TRY_AGAIN and not self._steps.arrives()
        if tries and self._state is S.WAITING:  # a restore may have superseded it
            self.away = stopped

    def _may_try_again(self) -> bool:
        """Tell whether nothing was sent of an item with targets that we dial: it can wait for them."""
        begun = self._state is S.RUNNING and self._steps.nothing_sent() and not self._tickets.retried(self._item)
        return (self._unsent() or begun) and not self._steps.arrives()

    async def _lock_first(self) -> Stopped | None:
        """Take the addresses of an item that looks at its device before its first "about to"; return why it may not.

        No other change may be the cause of the state that is seen of a device, or of sessions that are to end. An item
        that was begun before, and is retried, rests on its writes: nobody may take them back while it waits.
        """
        arrives = self._steps.arrives()
        if not arrives and self._unsent() and not isinstance(self._item.steps[0].do, Effect):
            return None
        while True:
            try:
                await self._steps.lock()
            except RefusedCommandError as err:
                stopped = refused(err)
            else:
                return None
            if stopped.then is not Then.FOLLOW:
                return stopped
            if self._stopping.left is not None and self._stopping.left.event is Event.CANCEL:
                return self._stopping.left
            in_time = self._tickets.left_s() > 0
            if not (in_time and (arrives or self._follows())):
                return stopped
            await self._clock.sleep(PAUSE_S)

    def _follows(self) -> bool:
        """Tell whether the item waits for a change that holds one of its addresses."""
        return self._tickets.plan.action in _FOLLOW and self._tickets.left_s() > 0

    async def _run_in_window(self, sessions: ItemSessions) -> Stopped | None:
        """Perform the item's steps; while it is frozen, halted or kept out it gives its place to others."""
        give_up = self._clock.boot_s() + PAUSE_MAX_S
        while True:
            async with WindowSlot(self._parts.sessions) as slot:
                stopped = None if self._steps.locked else await self._lock_first()
                if stopped is None:  # a queue of thousands takes minutes
                    await slot.at(self._item.steps[0].target)
                    stopped = await self._changed_since(sessions) or await self._run_steps(sessions, slot)
            if stopped is None:
                return None
            # Half done and frozen: it says so, and gives its addresses back (to a restore)
            pauses = self._unsent() or self._clock.boot_s() < give_up
            if not ((stopped.then is Then.PAUSE and pauses) or (stopped.then is Then.FOLLOW and self._follows())):
                return stopped
            if self._unsent():
                self._steps.look_again()
                await self._steps.leave()
                if self._steps.arrives() and await self._hung_up(sessions):
                    return AWAY
            else:
                await self._steps.say()
            await self._clock.sleep(PAUSE_S)

    async def _changed_since(self, sessions: ItemSessions) -> Stopped | None:
        """Return why nothing is sent: a resource that the item rests on no longer reads as in the preview.

        Of an item that was begun too, as long as nothing of it stands: its device may have been away since, or the
        agent. One that stands in part is finished.
        """
        if not (self._unsent() or self._steps.none_stands()):
            return None
        arrives = self._steps.arrives()
        try:
            if arrives and RecentReads.needed(self._item) and await self._hung_up(sessions):
                return AWAY  # a read would wait for the device to call in, with its addresses held
            why = await self._recent.broken(self._item, sessions, self._clock)
        except UnreadableError as err:
            if arrives and hung_up(err.reason):
                return AWAY
            raise
        return Stopped(Event.DRIFT, RefusalReason.STALE, why) if why else None

    async def _hung_up(self, sessions: ItemSessions) -> bool:
        """Tell whether the device of an item ended its session, and will call in again."""
        session = await sessions.at(self._item.steps[0].target)
        return (busy := await session.busy()) is not None and hung_up(busy.reason)

    async def _overwritten(self, sessions: ItemSessions) -> Stopped | None:
        """Return why a retried item ends no session: a write of it no longer reads as it was set."""
        writes = set_by(self._steps)
        seen = await sessions.read(list(writes)) if writes else {}
        where = next((a for a, write in writes.items() if not still_written(seen[a].value, write)), "")
        detail = f"{where} no longer reads as it was set"
        return Stopped(Event.FAIL, ItemReason.READS_OTHERWISE, detail) if where else None

    async def _spare(self, session: Session, sessions: ItemSessions) -> Stopped | None:
        """Wait while a target is to be spared; return why the item stops then. Hours later others may have acted."""
        if (busy := await session.busy()) is None:
            return None
        try:
            stopped = await self._wait_while_busy(session, busy)
        finally:
            self._steps.spared = ""
        if stopped is None and self._unsent():
            self._steps.look_again()
        return stopped or await self._changed_since(sessions)

    async def _wait_while_busy(self, session: Session, busy: Busy | None) -> Stopped | None:
        """Wait while the target is to be spared, not longer than the plan may run; return why it was not waited out.

        An item that was begun is finished after a short wait: half done it would hold its addresses against a restore.
        One of a device's own configuration holds up no restore, and is not gone on with where that may be undone.
        """
        arrives = self._parts.sessions.arrives(session.target.id)
        pause_s, most_s, patience_s = SPARE_S, SPARE_MAX_S, PAUSE_MAX_S
        if arrives:  # it stays for seconds when it comes, and may come tomorrow
            pause_s, most_s, patience_s = PAUSE_S, PAUSE_S, self._steps.patience_with(session.target.id).reread_s
        go_on = self._clock.boot_s() + patience_s
        since_s = self._clock.wall_s()
        while busy is not None and self._tickets.wanted(self._item):
            self._steps.spared = f"since {moment_text(since_s, seconds=True)}: {busy.detail}"
            await self._steps.say()
            if arrives and hung_up(busy.reason) and self._steps.nothing_sent():
                return AWAY
            begun = not (self._unsent() or (busy.undoes and self._item.subject is None))
            if begun and self._clock.boot_s() >= go_on:
                return None
            if self._unsent() and self._stopping.why:
                return Stopped(Event.CANCEL, ItemReason.STOPPED, self._stopping.why)
            left_s = self._tickets.left_s()
            if left_s <= 0:
                return Stopped(Event.EXPIRE, busy.reason, busy.detail)
            await self._clock.sleep(min(pause_s, left_s))
            pause_s = min(pause_s * 2, most_s)
            busy = await session.busy()
        return None

    # --- its steps ---

    async def _run_steps(self, sessions: ItemSessions, slot: WindowSlot) -> Stopped | None:
        """Perform the item's steps in order; return why it was stopped before its next step, or None."""
        steps = self._steps
        if self._may_try_again() and (missing := await self._missing(sessions)) is not None:
            return away(missing.detail)
        looks = -1
        while looks != steps.looks:  # a step that had to wait made `look_again` forget the others' looks
            looks = steps.looks
            if (stopped := await self._perform_each(sessions, slot)) is not None:
                return stopped
        return await self._begin() if self._unsent() else None

    async def _perform_each(self, sessions: ItemSessions, slot: WindowSlot) -> Stopped | None:
        """Perform the steps that are to be performed still; return why it was stopped before the next, or None."""
        steps = self._steps
        for step in self._item.steps:
            done = steps.done(step.n)
            if done is not None and not steps.try_again(step, Direction.FORWARD, done):
                continue
            after = [outcome for a in step.after if (outcome := steps.done(a)) is not None]
            if any(outcome.verdict is not Verdict.APPLIED for outcome in after):
                break
            if step.fallback_for and await self._stood_in_for(step, sessions):
                continue
            await slot.at(step.target)
            if self._unsent() and self._stopping.why:
                return Stopped(Event.CANCEL, ItemReason.STOPPED, self._stopping.why)
            if (stopped := await self._run_step(step, sessions, slot)) is not None:
                return stopped
        return None

    async def _begin(self) -> Stopped | None:
        """Begin an item with nothing to send; return why it may not be done now."""
        try:
            await self._steps.begin()
        except RefusedCommandError as err:
            return refused(err)
        return None

    async def _missing(self, sessions: ItemSessions) -> Busy | None:
        """Return which device behind a target does not answer that the item's effects need, or None.

        An item that waits is first read: only a target that answers is worth an "about to". Where an effect has
        fallbacks, other ways lead to its sessions: it is missing where none of them can be gone.

        Raises:
            UnreadableError: a target does not answer.
        """
        if self._state is S.WAITING:
            await sessions.read([t.address for s in self._item.steps if not isinstance(s.do, Effect) for t in s.do])
        for step in self._item.steps:
            if isinstance(step.do, Effect) and not step.fallback_for:
                missing = await self._absent(step, sessions)
                others = [other for other in self._item.steps if step.n in other.fallback_for]
                if missing is not None and not [o for o in others if not await self._is_away(o, sessions)]:
                    return missing
        return None

    async def _absent(self, step: Step, sessions: ItemSessions) -> Busy | None:
        """Return which device does not answer that an effect needs, or None."""
        session = await sessions.at(step.target)
        if isinstance(step.do, Effect) and plays(type(session), KnowsAbsence):
            return await cast("KnowsAbsence", session).missing(step.do)
        return None

    async def _is_away(self, step: Step, sessions: ItemSessions) -> bool:
        """Tell whether a fallback cannot be gone either: its target, or the device that it needs, does not answer."""
        try:
            if isinstance(step.do, Effect):
                await sessions.read([step.do.address])
            return await self._absent(step, sessions) is not None
        except UnreadableError as err:
            return absent(err.reason)

    async def _stood_in_for(self, fallback: Step, sessions: ItemSessions) -> bool:
        """Return whether an effect that a step is a fallback for did its work, or may have."""
        for n in fallback.fallback_for:
            effect, outcome = self._item.steps[n - 1].do, self._steps.done(n)
            if outcome is None or outcome.verdict in (Verdict.NOT_APPLIED, Verdict.DIVERGED):
                continue
            if not isinstance(effect, Effect) or (
                effect.proof is not None and kind_of(outcome) is not OutcomeKind.NONE
            ):
                return True
            # Its reply proves nothing, or it ended nothing that was there: the enforcement check decides
            if (await self._enforce(sessions, effect.within_s)).enforced is Enforced.YES:
                return True
        return False

    async def _run_step(self, step: Step, sessions: ItemSessions, slot: WindowSlot) -> Stopped | None:
        steps, go_on = self._steps, self._clock.boot_s() + PAUSE_MAX_S
        while True:
            try:
                await slot.at(step.target)
                if (spared := await self._spare(await sessions.at(step.target), sessions)) is not None:
                    return spared
                outcome = await self._once(step, sessions, slot)
            except RefusedCommandError as err:
                return refused(err)
            except UnreadableError as err:
                if hung_up(err.reason) and steps.arrives() and steps.nothing_sent():
                    return AWAY
                if not steps.outcomes:
                    raise  # nothing of this item was sent
                steps.last = StepOutcome(Verdict.NOT_APPLIED, err.reason, str(err))
                if not absent(err.reason) or self._may_try_again() or self._clock.boot_s() >= go_on:
                    return None
                slot.over()
                await steps.say()
                await self._clock.sleep(PAUSE_S)
                continue
            kind = kind_of(outcome)
            if kind is OutcomeKind.EXPIRED:
                return Stopped(Event.EXPIRE, outcome.reason, outcome.detail)
            steps.note_outcome((step.n, Direction.FORWARD), outcome)
            if kind is OutcomeKind.AWAY and self._may_try_again():
                return away(outcome.detail) if steps.try_again(step, Direction.FORWARD, outcome) else None
            if not steps.try_again(step, Direction.FORWARD, outcome):
                return None
            if (changed := await self._changed_since(sessions)) is not None:
                return changed

    async def _once(self, step: Step, sessions: ItemSessions, slot: WindowSlot) -> StepOutcome:
        bound: Mapping[Address, Seen] = {}
        if isinstance(step.do, Effect):
            bound = await self._steps.bind(step, Direction.FORWARD, step.do, sessions)
            self._steps.note_bound(step, bound)
            if not bound and step.do.proof is not None:
                return StepOutcome(Verdict.APPLIED, TargetReason.NOTHING_TO_DO, "no session now")
        return await self._steps.send(
            StepAction(step.n, step.target, Direction.FORWARD, step.do, bound), sessions, slot
        )

    # --- its end ---

    async def _end(self, sessions: ItemSessions | None, stopped: Stopped | None) -> None:
        """Move the item to the state in which its run ends. `sessions` None: nothing can be read now."""
        if stopped is not None and self._unsent():
            await self._steps.end(stopped.event, stopped.reason, stopped.detail)
        else:
            await self._settle(sessions, stopped)

    async def _settle(self, sessions: ItemSessions | None, stopped: Stopped | None) -> None:
        """Move an item that was begun to the state in which it ends. `stopped` None: it did all its steps."""
        item, steps = self._item, self._steps
        facts = steps.facts()
        writes_stand = all(f.verdict is Verdict.APPLIED for f in facts if not f.effect)
        judgment: Judgment | None = None
        if stopped is not None and self._did_nothing(facts):
            writes_stand = False
        if item.enforce is not None and writes_stand:
            judgment = Judgment(Enforced.NO, ProofReason.UNREADABLE)
            if sessions:
                judgment = await self._enforce(sessions, item.enforce.within_s, redials=steps.ended_one(), mends=True)
        elif item.enforce is None and self._fallbacks_text() and not await self._gone(sessions):
            facts = [
                replace(f, verdict=Verdict.NOT_APPLIED) if f.fallback_for and f.verdict is Verdict.APPLIED else f
                for f in facts
            ]
        event = settle(facts, judgment, None if stopped is None else stopped.event)
        stands = writes_stand and event in (Event.PROVE, Event.ACCEPT, Event.SET_OFFLINE, Event.SET_UNENFORCED)
        reason, detail = self._explain(judgment, stopped)
        if event is Event.LOSE:
            event = Event.ESCALATE  # the time for re-reading is over
            reason, detail = _first(self._unknown(), reason, detail)
        elif event in (Event.DRIFT, Event.FAIL) and (unproven := steps.unproven()) is not None:
            event = Event.FAIL  # `stale` says that nothing was sent
            reason, detail = _first(unproven, reason, detail)
        if event is Event.SET_UNENFORCED and sessions and (missing := await self._missing_now(sessions)):
            reason, detail = ItemReason.TARGET_AWAY, f"{missing} · {detail}"
        records = stands and not self._tickets.retried(item)  # else it did: others may have lifted that since
        await steps.end(event, reason, detail, item.desired if records else ())

    def _did_nothing(self, facts: Collection[StepFact]) -> bool:
        """Tell whether nothing of an item stands that writes nothing: stopped so, it has no reason to record either.

        One that is retried recorded its reason before.
        """
        acts = any(not f.effect or f.verdict is Verdict.APPLIED for f in facts)
        return not acts and self._item.n not in plans.recorded(self._parts.store.reader, self._tickets.plan.plan_id)

    async def _enforce(
        self, sessions: ItemSessions, within_s: float, *, redials: bool = True, mends: bool = False
    ) -> Judgment:
        """Judge until it is enforced or `within_s` seconds are up: some writes take effect a while later.

        Where nobody is online and there was no session to end (`redials` is False) nobody is waited for. `mends`:
        perform the effects again that the judgment names.
        """
        expected = self._item.enforce
        if expected is None:
            return Judgment(Enforced.NO, ProofReason.UNMAPPED_METHOD, "nothing says what must hold")
        method = self._parts.access_methods.get(expected.expect["method"])
        if method is None:
            return Judgment(Enforced.NO, ProofReason.UNMAPPED_METHOD, "its access method is no longer configured")
        until = self._clock.boot_s() + within_s
        pause, rejected = self._parts.patience.poll_s, False
        while True:
            seen: dict[Address, Seen] = {}
            unread, ended = False, dict(self._steps.ended)
            enforce = with_clock(expected, self._tickets.plan.run_until, self._clock)
            enforce = with_writes(enforce, self._steps.unlooked_s(), self._tickets.clock_set_s())
            try:
                first = [a for a in method.enforcement_reads(enforce, seen, ended) if target_of(a) == enforce.target]
                seen.update(await sessions.read([enforce.address, *first]))
                while missing := [a for a in method.enforcement_reads(enforce, seen, ended) if a not in seen]:
                    seen.update(await sessions.read(missing))
                judgment = method.judge(enforce, seen, ended)
            except UnreadableError as err:
                unread, judgment = True, Judgment(Enforced.NO, err.reason, str(err))
                if seen and self._tickets.plan.action in _FOLLOW:  # no router that is away makes a restore a failure
                    judgment = Judgment(Enforced.UNPROVEN, ProofReason.NOT_PROVEN, f"not proven: {err}")
            before, rejected = rejected, judgment.how == ProofReason.STAYS_REJECTED
            if rejected and not before:
                continue  # a row, and whom else its device asks, were read one after the other: both still say so
            nobody = judgment.enforced in _NOBODY and not redials and not unread
            over = judgment.enforced is Enforced.YES or nobody
            if mends and judgment.again:
                await self._steps.say()
                mends = await self._perform_again(judgment.again, sessions)
                if mends:
                    continue
            if over or self._clock.boot_s() >= until:
                return judgment
            await self._steps.say()
            await self._clock.sleep(pause)
            pause = min(pause * 1.5, self._parts.patience.poll_max_s)

    async def _perform_again(self, wanted: Collection[Address], sessions: ItemSessions) -> bool:
        """Perform the item's effects at these addresses once more; return whether any is, and may be, performed.

        Only those that were proven: a step that a device refused or did not answer was tried as often as it may be.
        """
        proven = [step for step in self._item.steps if self._steps.stands(step.n)]
        steps = [step for step in proven if isinstance(step.do, Effect) and step.do.address in wanted]
        for step in steps:
            if self._again.get(step.n, 0) >= AGAIN_MAX:
                return False
            self._again[step.n] = self._again.get(step.n, 0) + 1
            async with WindowSlot(self._parts.sessions) as slot:
                if await self._run_step(step, sessions, slot) is not None:
                    return False
        return bool(steps)

    async def _missing_now(self, sessions: ItemSessions) -> str:
        """Return which device does not answer, "" where all do: the item failed for that, and not for the change."""
        try:
            missing = await self._missing(sessions)
        except UnreadableError as err:
            return str(err) if absent(err.reason) else ""
        return "" if missing is None else missing.detail

    async def _gone(self, sessions: ItemSessions | None) -> bool:
        """Tell whether all that the item was to end is gone: a fallback may have ended something else, or nothing."""
        await self._steps.say()
        until = self._clock.boot_s() + max(s.do.within_s for s in self._item.steps if isinstance(s.do, Effect))
        while sessions is not None:
            try:
                if all(seen.value is ABSENT for seen in (await sessions.read(self._steps.ended)).values()):
                    return True
            except UnreadableError:
                pass  # as long as it cannot be read, it is not known to be gone
            if self._clock.boot_s() >= until:
                break
            await self._clock.sleep(self._parts.patience.poll_max_s)
        return False

    def _explain(self, judgment: Judgment | None, stopped: Stopped | None) -> tuple[str, str]:
        """Return reason and detail of the item's last move."""
        if stopped is not None:
            return stopped.reason, stopped.detail
        last, fallbacks = self._steps.last, self._fallbacks_text()
        if judgment is not None:
            detail = " · ".join(filter(None, (fallbacks, judgment.detail)))
            if judgment.enforced is Enforced.NO and last is not None and last.verdict is not Verdict.APPLIED:
                return last.reason, " · ".join(filter(None, (last.detail, detail)))
            return judgment.how, detail
        return (last.reason, fallbacks or last.detail) if last is not None else ("", "")

    def _unknown(self) -> StepOutcome | None:
        """Return the outcome of the first step whose fate is unknown, or None."""
        done = [one for step in self._item.steps if (one := self._steps.done(step.n)) is not None]
        return next((one for one in done if one.verdict is Verdict.UNKNOWN), None)

    def _fallbacks_text(self) -> str:
        """Return the result of each effect, where the first one did nothing and a fallback was tried."""
        if not any(step.fallback_for and self._steps.done(step.n) for step in self._item.steps):
            return ""
        tried = [
            (s.do.verb, done) for s in self._item.steps if isinstance(s.do, Effect) and (done := self._steps.done(s.n))
        ]
        return ", then ".join(f"{verb}: {done.reason}" for verb, done in tried)

    async def _as_judged(self) -> tuple[ProofReason | ItemReason, str]:
        """Return code and detail of an item without steps: where it has a check, that all is still as wanted.

        Raises:
            RefusedCommandError: `stale`: it is not any more.
            UnreadableError: its target does not answer.
        """
        if self._item.enforce is None:
            return ItemReason.RECORDED, ""
        async with self._parts.sessions.for_item(self._item.enforce.target) as sessions:
            judgment = await self._enforce(sessions, 0, redials=False)
        if judgment.enforced is Enforced.NO and absent(judgment.how):
            raise UnreadableError(judgment.detail, reason=judgment.how)
        if judgment.enforced is Enforced.NO:
            raise RefusedCommandError(RefusalReason.STALE, judgment.detail)
        # Only the record changed, but whoever reads "recorded" after a restore expects the subscriber online
        rejected = judgment.how == ProofReason.STAYS_REJECTED
        return ProofReason.STAYS_REJECTED if rejected else ItemReason.RECORDED, judgment.detail

    async def _finish_reason_only(self) -> None:
        """Record a reason for a service with a network state as wanted, if it still reads so."""
        while self._unsent():
            try:
                if (changed := await self._changed_since(ItemSessions(self._parts.sessions))) is not None:
                    await self._steps.move(changed.event, changed.reason, changed.detail)
                    return
                await self._parts.refresh_facts(subjects(self._item))
                judged = await self._as_judged()
                await self._parts.check_clock()
                await self._tickets.record_reason(self._item, *judged)
                self._steps.changed()
            except RefusedCommandError as err:
                stopped = refused(err)
                waits = stopped.then is Then.PAUSE or (
                    stopped.then is Then.FOLLOW and self._tickets.plan.action in _FOLLOW
                )
                if stopped.then is Then.TRY_AGAIN:  # paused
                    await self._leave(stopped)
                    return
                if not waits:
                    await self._steps.move(stopped.event, stopped.reason, stopped.detail)
                    return
                await self._clock.sleep(PAUSE_S)
            except UnreadableError as err:  # nothing says that the network is as wanted
                if absent(err.reason):
                    await self._leave(away(str(err)))
                else:
                    await self._steps.move(Event.FAIL, err.reason, str(err))
                return


def _first(sent: StepOutcome | None, reason: str, detail: str) -> tuple[str, str]:
    """Return reason and detail of an item, those of a step that may have had an effect first: they count more.

    Args:
        sent: the outcome of that step; None: there is none.
        reason: of the item's last move, by its last step or its stop.
        detail: of the same.
    """
    if sent is None or sent.reason == reason:
        return reason, detail
    return sent.reason, " · ".join(filter(None, (sent.detail, detail)))
