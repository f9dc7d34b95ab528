"""The declared revert of an item, inside the run: `--on-failure revert`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

import trio

from agent.changes.engine.item_parts import PAUSE_S, PAUSES, inverse_of, ladders
from agent.changes.engine.item_steps import ItemSteps
from agent.changes.engine.journal import Doing
from agent.changes.engine.sessions import Lines, Turn
from agent.changes.journal.machine import TOUCHED, Event
from agent.connectors.base import UnreadableError
from agent.inventory.book import opposite
from agent.model import Direction, Effect, Item, Step, StepOutcome, Verdict
from agent.store.errors import RefusedCommandError


class ItemReverter:
    """Takes items of one plan back, each in a task of its own."""

    def __init__(self, steps: ItemSteps) -> None:
        """Go by what is known of their steps."""
        self._steps, self._journal, self._clock = steps, steps.journal, steps.parts.clock
        self.waiting: set[int] = set()
        """Items that wait for their device to call in."""

    async def revert(self, item: Item) -> None:
        """Take back an item whose writes stand, all or half: writes last first, then the declared effects."""
        desired = opposite(item.desired) if self._journal.states[item.n] in TOUCHED else ()
        await self._steps.resolve_doubts(item)
        failed = await self._revert_steps(item)
        while failed is not None and failed[0] in PAUSES:
            await self._clock.sleep(PAUSE_S)  # frozen: what was applied stands until it is lifted, in nobody's way
            failed = await self._revert_steps(item)
        if failed is None:
            await self._steps.move(item, Event.REVERT, "reverted", desired=desired)
        else:
            await self._steps.move(item, Event.ESCALATE, f"revert-{failed[0]}", failed[1])

    async def _revert_steps(self, item: Item) -> tuple[str, str] | None:
        """Revert what is not reverted yet; return None, or why it stopped: reason and detail."""
        known = self._steps.known(item.n)
        writes = [s for s in reversed(item.steps) if not isinstance(s.do, Effect) and known.stands(s.n)]
        if not item.steps:
            return None
        within_s = self._revert_within_s(item)
        self.waiting.add(item.n)
        try:
            with trio.move_on_after(within_s) as waiting:
                async with (
                    self._steps.lines(item) as lines,
                    self._locked(item),
                    Turn(self._steps.parts.sessions) as turn,
                ):
                    waiting.deadline = float("inf")
                    self.waiting.discard(item.n)
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
        finally:
            self.waiting.discard(item.n)
        if waiting.cancelled_caught:
            return "not-on-the-line", f"the device did not call in for {within_s:.0f} s to be given back what it was"
        return None

    def _revert_within_s(self, item: Item) -> float:
        """Return how long a revert waits for the item's device: one that we dial says at once whether it is there."""
        return self._steps.patience_with(item.steps[0].target).reread_s if self._steps.arrives(item) else float("inf")

    def _had_effect(self, item: Item, ladder: Collection[Step]) -> bool:
        """Tell whether a ladder that could not be taken back leaves something behind.

        It does when it had taken effect: the sessions of after it carry on with what was written back since. One that
        never did left the sessions as they were.
        """
        done = [self._steps.known(item.n).done(step.n) for step in ladder]
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
        while await self._journal.lock(item, whole=self._steps.arrives(item)) is not None:
            await self._clock.sleep(PAUSE_S)
        try:
            yield
        finally:
            await self._steps.unlock(item)

    async def _revert_step(self, item: Item, step: Step, lines: Lines, turn: Turn) -> StepOutcome | None:
        do = inverse_of(step)
        if do is None:
            return None
        known, way = self._steps.known(item.n), Direction.REVERT
        outcome = known.outcomes.get((step.n, way))
        while outcome is None or self._steps.try_again(item, step, way, outcome):
            await turn.at(step.target)
            bound = await (await lines.at(step.target)).bind(do) if isinstance(do, Effect) else {}
            if isinstance(do, Effect) and not bound:
                return None
            outcome = await self._steps.send(item, Doing(step.n, step.target, way, do, bound), lines, turn)
            known.outcomes[step.n, way] = outcome
        return outcome
