"""Reads the programs' logs for tasks that crashed: the only word of a program that the judge takes against it.

A crash that is contained may leave no other trace: the item is over anyhow, the loop starts again. The error of a
program that was killed is none: its sockets and files fail under it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import trio

from tests.sim.sockets import PROCESS

PROGRAMS: Final = ("agent", "control_plane")
CRASHED: Final = "a task crashed"


@dataclass(frozen=True, slots=True)
class Crashed:
    """A task that crashed, at trio's time `at`. `by`: its program; `task`: its name; `error`: what ended it."""

    at: float
    by: str
    task: str
    error: str


class CrashReader(logging.Handler):
    """Keeps the crashes of programs that live. `found`: in order."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[Crashed] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Take note of a record that tells of a crash."""
        if record.getMessage() != CRASHED or not record.exc_info:
            return
        process = PROCESS.get()
        if process is not None and process.dead:
            return
        by = record.name.partition(".")[0] if process is None else process.name
        error = record.exc_info[1]
        self.found.append(Crashed(trio.current_time(), by, str(record.__dict__.get("task", "")), repr(error)[:300]))


@contextmanager
def crashes_read() -> Iterator[CrashReader]:
    """Read the programs' logs for the block, whatever level others want to see."""
    reader = CrashReader()
    before = {name: logging.getLogger(name).level for name in PROGRAMS}
    for name in PROGRAMS:
        logger = logging.getLogger(name)
        logger.setLevel(min(logger.getEffectiveLevel(), logging.ERROR))
        logger.addHandler(reader)
    try:
        yield reader
    finally:
        for name, level in before.items():
            logging.getLogger(name).removeHandler(reader)
            logging.getLogger(name).setLevel(level)
