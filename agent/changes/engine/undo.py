"""The declared revert of an item, inside the run (`--on-failure revert`): all of it, or the half that stands."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import trio

from agent.changes.engine.item import PAUSE_S, Stopped, Then, refused
from agent.changes.engine.perform import OutcomeKind, absent, hung_up, kind_of
from agent.changes.engine.sessions import ItemSessions, WindowSlot
from agent.changes.engine.steps import MOST_VISITS, Steps, inverse_of
from agent.changes.engine.tickets import StepAction
from agent.changes.journal.machine import TOUCHED, Event
from agent.connectors.base import Session, UnreadableError
from agent.inventory.book import AS_READ, opposite
from agent.model import Address, Direction, Effect, Item, Seen, Step, StepOutcome, Verdict
from agent.reasons import ItemReason, RefusalReason, TargetReason
from agent.services.network import as_read
from agent.store.errors import RefusedCommandError


def can_be_undone(item: Item) -> bool:
    """Tell whether anything of an item can be: of one that only had effects which have no inverse, nothing is."""
    return not item.steps or any(inverse_of(step) is not None for step in item.steps)


def fallbacks(steps: Collection[Step]) -> list[list[Step]]:
    """Return the effects among the steps, each first one together with its fallbacks, in their order."""
    found: dict[int, list[Step]] = {}
    for step in steps:
        if isinstance(step.do, Effect):
            found.setdefault(min((*step.fallback_for, step.n)), []).append(step)
    return list(found.values())


class Undo:
    """Takes one item back, in a task of its own."""

    def __init__(self, steps: Steps) -> None:
        """Take the item's steps, with their known outcomes."""
        self._steps, self._item = steps, steps.item
        self._tickets, self._clock = steps.tickets, steps.parts.clock
        self.waiting = False
        """Whether it waits for the item's device to call in."""

    async def run(self) -> None:
        """Take back an item of which all writes stand, or half: writes last first, then the declared effects."""
        item, stands = self._item, self._tickets.states[self._item.n] in TOUCHED
        desired = opposite(item.desired) if stands else ()
        await self._steps.resolve_doubts()
        revert = self._revert_steps if item.steps else self._revert_record
        try:
            while (failed := await revert()) is not None and failed.then is Then.PAUSE:
                await self._steps.leave()  # frozen: the applied writes stand, and hold no address meanwhile
                await self._clock.sleep(PAUSE_S)
            if failed is None:
                await self._steps.end(Event.REVERT, ItemReason.REVERTED, desired=desired)
            else:
                await self._steps.end(Event.ESCALATE, ItemReason.REVERT.numbered(failed.reason), failed.detail)
        finally:
            await self._steps.leave()

    async def _revert_record(self) -> Stopped | None:
        """Return why an item without steps may not be taken back now, or None: it holds its addresses then."""
        try:
            await self._lock()
        except RefusedCommandError as err:
            return refused(err)
        return None

    async def _revert_steps(self) -> Stopped | None:
        """Revert the steps that are not reverted yet; return None, or why it stopped.

        The item's addresses stay its own: nobody may act on a resource that was taken back before that is recorded.
        """
        sessions, within_s = self._steps.parts.sessions, self._within_s()
        self.waiting = True
        try:
            with trio.move_on_after(within_s) as waiting:
                async with sessions.for_item(self._item.steps[0].target) as own:
                    await self._lock()
                    async with WindowSlot(sessions) as slot:
                        waiting.deadline = float("inf")
                        self.waiting = False
                        if (why := await self._undone_again(own)) is not None:
                            return why
                        failed = await self._revert_each(own, slot)
                        return None if failed is None else Stopped(Event.ESCALATE, failed.reason, failed.detail)
        except UnreadableError as err:
            comes_again = self._steps.arrives() and hung_up(err.reason)
            return Stopped(Event.ESCALATE, err.reason, str(err), Then.PAUSE if comes_again else Then.END)
        except RefusedCommandError as err:
            return refused(err)
        finally:
            self.waiting = False
        late = f"the device did not call in for {within_s:.0f} s to be given back what it was"
        return Stopped(Event.ESCALATE, ItemReason.NOT_ON_THE_LINE, late)

    async def _undone_again(self, sessions: ItemSessions) -> Stopped | None:
        """Return why a device's own configuration is not taken back yet: that may be undone in its turn."""
        session = await sessions.at(self._item.steps[0].target)
        self._steps.spared = ""
        if self._item.subject is not None or (busy := await session.busy()) is None or not busy.undoes:
            return None
        self._steps.spared = f"to be taken back: {busy.detail}"
        return Stopped(Event.ESCALATE, busy.reason, busy.detail, Then.PAUSE)

    async def _revert_each(self, sessions: ItemSessions, slot: WindowSlot) -> StepOutcome | None:
        """Revert writes, last first, then effects; return the outcome of the first that failed, or None."""
        for step in reversed(self._item.steps):
            if isinstance(step.do, Effect) or not self._steps.stands(step.n):
                continue
            outcome = await self._revert_step(step, sessions, slot)
            if outcome is not None and outcome.verdict is not Verdict.APPLIED:
                return outcome
        for effects in fallbacks(self._item.steps):
            outcome = await self._revert_effect(effects, sessions, slot)
            # One that never took effect left the sessions as they were, so nothing of it is left behind
            if outcome is not None and any(self._steps.stands(step.n) for step in effects):
                return outcome
        return None

    def _within_s(self) -> float:
        """Return how long a revert waits for the item's device: one that we dial says at once whether it is there."""
        if not self._steps.arrives():
            return float("inf")
        return self._steps.patience_with(self._item.steps[0].target).reread_s

    async def _revert_effect(
        self, effects: Collection[Step], sessions: ItemSessions, slot: WindowSlot
    ) -> StepOutcome | None:
        """Take an effect back by the first of its ways that can; return the outcome of the last if none could."""
        outcome: StepOutcome | None = None
        for step in effects:
            if inverse_of(step) is None:
                continue
            outcome = await self._revert_step(step, sessions, slot)
            if outcome is None or outcome.verdict is Verdict.APPLIED:
                return None
        return outcome

    async def _lock(self) -> None:
        """Take the item's addresses, waiting while another change has them.

        Raises:
            RefusedCommandError: the item may not be taken back now, or another change acted on its service since.
        """
        while True:
            try:
                await self._steps.lock_to_revert()
            except RefusedCommandError as err:
                if err.reason != RefusalReason.BUSY:
                    raise
                await self._clock.sleep(PAUSE_S)
            else:
                return

    async def _revert_step(self, step: Step, sessions: ItemSessions, slot: WindowSlot) -> StepOutcome | None:
        do = inverse_of(step)
        if do is None:
            return None
        steps, key = self._steps, (step.n, Direction.REVERT)
        outcome = steps.outcomes.get(key)
        while outcome is None or steps.try_again(step, Direction.REVERT, outcome):
            await slot.at(step.target)
            await self._refuse_another(step.target, sessions)
            bound = await steps.bind(step, Direction.REVERT, do, sessions) if isinstance(do, Effect) else {}
            if isinstance(do, Effect) and not bound:
                return None
            outcome = await steps.send(StepAction(step.n, step.target, Direction.REVERT, do, bound), sessions, slot)
            steps.note_outcome(key, outcome)
            if kind_of(outcome) is OutcomeKind.HUNG_UP and steps.try_again(step, Direction.REVERT, outcome):
                # Its session is over, and the next try is for the next one: it may be here for seconds, or in a day
                raise UnreadableError(outcome.detail, reason=TargetReason.SESSION_ENDED)
        return outcome

    async def _refuse_another(self, target: str, sessions: ItemSessions) -> None:
        """Read the marks of a device again, where the item rests on them.

        Raises:
            RefusedCommandError: another device is behind its address, whose resources have the same names.
            UnreadableError: it cannot be asked.
        """
        where = Address(f"{target}/{self._steps.parts.sessions.connector(target).traits.marks}")
        wanted = next((r for r in self._item.requires if r.test == AS_READ and r.address == where), None)
        if wanted is None:
            return
        seen = await self._read_patiently(await sessions.at(target), where)
        if as_read(where, seen[where].value) != wanted:
            raise RefusedCommandError(RefusalReason.STALE, f"another device is at the address of {target} since")

    async def _read_patiently(self, session: Session, where: Address) -> Mapping[Address, Seen]:
        """Return what an address reads; a target that does not answer is asked as often as a step is begun there.

        Raises:
            UnreadableError: it cannot be asked.
        """
        visits = 1
        while True:
            try:
                return await session.read([where])
            except UnreadableError as err:
                if not absent(err.reason) or visits >= MOST_VISITS:
                    raise
            visits += 1
            await self._clock.sleep(PAUSE_S)
