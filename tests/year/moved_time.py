"""A machine on which time can be moved: months pass between two asks, and every clock in the process agrees.

The agent reads the machine's clocks through `agent.runtime.clock`, its RADIUS sessions partly past it; so the two
functions of `time` that all of them end in are moved together. trio's own clock goes on as it does.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from unittest import mock

_time, _clock_gettime = time.time, time.clock_gettime


@dataclass
class MovedTime:
    """How far the machine's clocks were moved, seconds."""

    moved_s: float = 0.0

    def now_s(self) -> float:
        """Return unix seconds."""
        return _time() + self.moved_s


@contextmanager
def moved_time() -> Iterator[MovedTime]:
    """Let `time.time` and `time.clock_gettime` follow what is returned, for the block."""
    moved = MovedTime()

    def boot(clock: int) -> float:
        return _clock_gettime(clock) + moved.moved_s

    with mock.patch.object(time, "time", moved.now_s), mock.patch.object(time, "clock_gettime", boot):
        yield moved
