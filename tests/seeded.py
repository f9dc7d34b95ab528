"""One seed for a whole run: what it draws, in which order its tasks run, and when.

    result = run(main, seed=7)

Time is virtual. No thread may run beside trio's: `tests.sim.inline` does the work of threads at once, and an agent's
store is an `InlineStore` (`daemon.open_files(config, clock, InlineStore)`).
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from typing import Any, TypeVar

import trio
import trio._core._run as trio_run
from trio.testing import MockClock

from agent.store.db import Store
from durable.writer import BATCH_MAX
from trust import chance

T = TypeVar("T")


class SeededChance:
    """A `trust.chance.Chance` that gives the same bytes to whoever asks in the same order."""

    def __init__(self, seed: int | str) -> None:
        self._seed, self._random = seed, random.Random(str(seed))

    def draw(self, size_bytes: int) -> bytes:
        return self._random.randbytes(size_bytes)

    def part(self, name: str) -> SeededChance:
        """Return the source of one part of a run: what it gives depends on the name, and not on what others draw."""
        return SeededChance(f"{self._seed}/{name}")


def run(main: Callable[..., Awaitable[T]], *args: object, seed: int) -> T:
    """Return what `main` returns when it runs on virtual time by a seed; a second run by that seed does the same."""
    with deterministic(seed):
        return trio.run(main, *args, clock=MockClock(autojump_threshold=0))


@contextmanager
def deterministic(seed: int) -> Iterator[None]:
    """Have the runs of trio inside the block depend on a seed alone: their draws, and the order of their tasks.

    Where two tasks can go on, trio goes by dice of its own. Its flag for Hypothesis has it sort the tasks first, so
    that the dice alone decide.
    """
    before = trio_run._ALLOW_DETERMINISTIC_SCHEDULING, trio_run._r
    patched: Any = trio_run
    patched._ALLOW_DETERMINISTIC_SCHEDULING = True
    patched._r = random.Random(f"{seed}/order of tasks")
    try:
        with chance.lend(SeededChance(seed)):
            yield
    finally:
        patched._ALLOW_DETERMINISTIC_SCHEDULING, patched._r = before


class InlineStore(Store):
    """Commits in trio's thread all commands that were asked for in one turn of its loop."""

    def __init__(self, *args: Any, **named: Any) -> None:
        self._context = copy_context()
        super().__init__(*args, **named)

    def _hand_over(self) -> None:
        while self._asked:
            jobs, self._asked = self._asked[:BATCH_MAX], self._asked[BATCH_MAX:]
            self._context.run(self._commit, jobs)
            posted, self._posted = self._posted and self.failed is None, False
            self._resume(jobs, posted)
