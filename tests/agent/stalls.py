"""A watch on the event loop: how much CPU a task used without giving others their turn."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager

import trio


class StallWatch(trio.abc.Instrument):
    """Remembers the longest time, in CPU seconds of the loop's thread, that one task held the loop, and which it was.

    CPU, not wall: other programs on the machine take nothing from it.
    """

    def __init__(self) -> None:
        self.longest_s = 0.0
        self.task = ""
        self._begun_s = time.thread_time()

    def leave_out(self, used_s: float) -> None:
        """Leave out what the step that goes on did in the loop's thread, and the agent does in another."""
        self._begun_s += used_s

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._begun_s = time.thread_time()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        used = time.thread_time() - self._begun_s
        if used > self.longest_s:
            self.longest_s, self.task = used, task.name


@contextmanager
def watched() -> Iterator[StallWatch]:
    """Watch the loop for the block.

    The garbage collector leaves out what the test process holds already: all modules of the suite, which cost each
    full collection 0.1 to 0.3 s, and are no part of an agent.
    """
    gc.collect()
    gc.freeze()
    watch = StallWatch()
    trio.lowlevel.add_instrument(watch)
    try:
        yield watch
    finally:
        watch.after_task_step(trio.lowlevel.current_task())  # the step that goes on counts as well
        trio.lowlevel.remove_instrument(watch)
        gc.unfreeze()
