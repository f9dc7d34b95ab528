"""The steps of a plan's items: what is known of each, the one way in which any is sent, and what a crash left open."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import trio

from agent.changes.engine.item_parts import HUNG_UP, Known, RunParts, inverse_of
from agent.changes.engine.journal import Doing, Journal
from agent.changes.engine.perform import Patience, perform_step, recover_step
from agent.changes.engine.sessions import Lines, Turn
from agent.changes.journal.machine import Event
from agent.changes.journal.plans import ItemRow, StepRow
from agent.connectors.base import UnreadableError
from agent.model import DesiredChange, Direction, Effect, Item, ItemState, Replay, Step, StepOutcome, Ticket, Verdict
from agent.reasons import TargetReason

MAX_ATTEMPTS = 2
"""How often a step is sent when the first try proved to have had no effect at all; a crash of ours allows one more."""
MOST_VISITS = 20
"""How often a step is begun at a device that hangs up before anything was sent."""
CRASHED = "lost-crash"
RETRIED = "retry"
"""Reason of an item whose disconnects a person asked to do once more (`retry.py`)."""


class ItemSteps:
    """The steps of all items of one plan. `changed` is called after every move, for those who watch."""

    def __init__(self, parts: RunParts, journal: Journal, changed: Callable[[], None]) -> None:
        """Know nothing of them yet."""
        self.parts, self.journal, self.changed = parts, journal, changed
        self._known: dict[int, Known] = {}
        self._doubts: dict[int, list[StepRow]] = {}

    def known(self, n: int) -> Known:
        """Return what is known of item `n`."""
        return self._known.setdefault(n, Known())

    async def move(
        self, item: Item, event: Event, reason: str, detail: str = "", desired: tuple[DesiredChange, ...] = ()
    ) -> None:
        """Move an item to the state that an event leads to, durably."""
        await self.journal.move(item, event, reason, detail, desired)
        self.changed()

    @asynccontextmanager
    async def lines(self, item: Item) -> AsyncIterator[Lines]:
        """Lend the sessions of the item's targets; an item whose device must call in is waiting meanwhile."""
        target = item.steps[0].target
        if self.parts.sessions.arrives(target) and self.journal.states[item.n] is ItemState.PLANNED:
            await self.move(item, Event.WAIT, "", "until the device calls in")
        async with self.parts.sessions.lines(target) as lines:
            yield lines

    def arrives(self, item: Item) -> bool:
        """Tell whether the item's device calls in when it likes: then one change at a time acts on it, all of it."""
        return self.parts.sessions.arrives_later(item.steps[0].target)

    async def unlock(self, item: Item) -> None:
        """Give the item's addresses back, unless a step is in doubt: nobody may act on them before that is known."""
        if not self.known(item.n).in_doubt:
            with trio.CancelScope(shield=True):
                await self.journal.unlock(item, whole=self.arrives(item))

    def patience_with(self, target: str) -> Patience:
        """Return how long to wait for a target: its connector may know better than for all."""
        traits, patience = self.parts.sessions.connector(target).traits, self.parts.patience
        return replace(
            patience,
            send_s=patience.send_s if traits.send_s is None else traits.send_s,
            reread_s=patience.reread_s if traits.reread_s is None else traits.reread_s,
        )

    def try_again(self, item: Item, step: Step, direction: Direction, outcome: StepOutcome) -> bool:
        """Return whether a step that proved to have had no effect may be sent once more."""
        if self._hung_up(outcome) and self.parts.sessions.arrives_later(step.target):
            return self.known(item.n).attempts.get((step.n, direction), 0) < MOST_VISITS
        if outcome.verdict is not Verdict.NOT_APPLIED or not outcome.reason.startswith("lost-"):
            return False
        if isinstance(step.do, Effect) and step.do.replay is Replay.NEVER:
            return False
        known, key = self.known(item.n), (step.n, direction)
        return known.attempts.get(key, 0) < MAX_ATTEMPTS + (key in known.crashed)

    def half_stands(self, item: Item) -> bool:
        """Tell whether some of an item's writes were applied and all others are proven not to have been."""
        if self.in_doubt(item.n, Direction.FORWARD):
            return False
        done = [self.known(item.n).done(step.n) for step in item.steps if not isinstance(step.do, Effect)]
        verdicts = {Verdict.NOT_APPLIED if each is None else each.verdict for each in done}  # None: never sent
        return verdicts == {Verdict.APPLIED, Verdict.NOT_APPLIED}

    @staticmethod
    def _hung_up(outcome: StepOutcome) -> bool:
        return outcome.verdict is Verdict.NOT_APPLIED and outcome.reason in HUNG_UP

    def nothing_sent(self, item: Item) -> bool:
        """Tell whether an item is as if it had not been begun: its device hung up before each first byte."""
        known = self.known(item.n)
        return not known.in_doubt and all(self._hung_up(done) for done in known.outcomes.values())

    # --- sending ---

    async def send(self, item: Item, doing: Doing, lines: Lines, turn: Turn) -> StepOutcome:
        """Send a step once it is durable that it is about to be; return what was read back of it.

        Raises:
            RefusedCommandError: it may not be sent now. UnreadableError: its device cannot be read before it is.
        """
        session = await lines.at(doing.target)
        arrives = self.parts.sessions.arrives(doing.target)
        async with self.parts.sessions.kept(doing.target):
            with trio.CancelScope(shield=True) as scope:  # between "about to" and its outcome there is no way out
                await self.parts.check_clock()
                if doing.direction is Direction.FORWARD and item.requires:
                    await self.parts.refresh_facts()
                ticket = await self.journal.about_to(item, doing)
                self.changed()
                known, key = self.known(item.n), (doing.step, doing.direction)
                known.attempts[key] = ticket.attempt
                known.in_doubt.add(key)
                scope.shield = not arrives  # a device that calls in when it likes is not waited for at a stop
                done = await perform_step(
                    session,
                    ticket,
                    self.journal,
                    self.parts.clock,
                    self.patience_with(doing.target),
                    self._last_reply(item, doing, turn),
                    leave=arrives,
                )
                known.in_doubt.discard(key)
        return done

    def _last_reply(self, item: Item, doing: Doing, turn: Turn) -> Callable[[], None]:
        """Return what to do when an effect is accepted: after its last one an item only reads, in nobody's way."""
        last = all(doing.step in later.unless for later in item.steps[doing.step :])
        return turn.over if last and doing.direction is Direction.FORWARD else lambda: None

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

    def in_doubt(self, n: int, way: Direction | None = None) -> bool:
        """Tell whether the fate of a step of item `n` is still to be found, from before a restart. `way`: None: any."""
        return any(way in (None, row.direction) for row in self._doubts.get(n, ()))

    async def resolve_doubts(self, item: Item) -> None:
        """Find the fate of what was about to be sent to a device that calls in when it likes."""
        while rows := self._doubts.get(item.n):
            await self.recover(item, rows[0])
            self.known(item.n).in_doubt.discard((rows[0].n, rows[0].direction))
            del rows[0]
        self._doubts.pop(item.n, None)

    async def recover(self, item: Item, row: StepRow) -> None:
        """Find the fate of a step that was about to be sent when the agent died."""
        step = item.steps[row.n - 1]
        do = step.do if row.direction is Direction.FORWARD else inverse_of(step)
        if do is None:
            raise ValueError(f"item {item.n} step {row.n} has no revert, yet one was journalled")
        ticket = self.journal.ticket(item, Doing(row.n, step.target, row.direction, do, row.bound), row.attempt)
        await self.journal.doubt(ticket, "crash")
        self.changed()
        try:
            outcome = await self._recovered(step.target, ticket)
        except UnreadableError as err:
            outcome = StepOutcome(Verdict.UNKNOWN, err.reason, f"what became of it cannot be read: {err}")
            await self.journal.outcome(ticket, outcome)
        self._note_verdict(item, row, outcome)

    async def _recovered(self, target: str, ticket: Ticket) -> StepOutcome:
        """Read what became of a ticket.

        Raises:
            UnreadableError: the target cannot be read, or does not call in for too long.
        """
        sessions, patience = self.parts.sessions, self.patience_with(target)
        arrives = sessions.arrives(target)
        with trio.move_on_after(patience.reread_s if arrives else float("inf")) as scope:
            async with sessions.use(target) as session, sessions.kept(target):
                scope.deadline = float("inf")
                return await recover_step(session, ticket, self.journal, self.parts.clock, patience, leave=arrives)
        raise UnreadableError(f"{target} did not call in for {patience.reread_s:.0f} s", reason=TargetReason.TIMEOUT)
