"""What the run of an item needs, and what is known of the item meanwhile."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field

import trio

from agent.changes.engine.journal import Unmet, inverse
from agent.changes.engine.perform import Patience
from agent.changes.engine.sessions import Sessions
from agent.changes.journal.audit import Recorder
from agent.changes.journal.machine import Event, StepFact
from agent.connectors.base import AccessMethod
from agent.model import (
    Address,
    Direction,
    Effect,
    Item,
    ItemState,
    ProofKind,
    Step,
    StepOutcome,
    Transition,
    Verdict,
)
from agent.runtime.clock import Clock
from agent.store.db import Store

UNSENT = frozenset({ItemState.PLANNED, ItemState.WAITING})
"""States of an item of which nothing was sent."""
PAUSES = frozenset({"frozen", "clock-halt"})
"""Why a step is refused for now: the item looks again every `PAUSE_S` seconds whether it may go on."""
PAUSE_S = 1.0


@dataclass(frozen=True, slots=True)
class RunParts:
    """Everything that a run needs. `census`: where a target lists everybody who is online, by target."""

    store: Store
    recorder: Recorder
    sessions: Sessions
    access_methods: Mapping[str, AccessMethod]
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


HUNG_UP = frozenset({"session-ended", "not-on-the-line"})
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

    def stands(self, n: int) -> bool:
        """Tell whether step `n` was applied as planned."""
        done = self.done(n)
        return done is not None and done.verdict is Verdict.APPLIED

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
