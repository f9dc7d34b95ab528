"""Freezes one thread of a process, as a deadlock or an endless loop would, by ptrace(2); the others go on.

The program under test needs no hook for it, and cannot know. Whoever seized a thread holds it: the tracer has to live.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_SEIZE, _INTERRUPT, _DETACH = 0x4206, 0x4207, 17
_WALL = 0x40000000


def thread_named(pid: int, name: str) -> int:
    """Return the thread of a process that has this name, 15 bytes at most."""
    found = [
        int(task.name) for task in Path(f"/proc/{pid}/task").iterdir() if (task / "comm").read_text() == f"{name}\n"
    ]
    if len(found) != 1:
        raise AssertionError(f"expected one thread {name} of process {pid}, got {len(found)}")
    return found[0]


@dataclass(slots=True)
class FrozenThread:
    """A thread that does not run. Of a process that was killed, the tracer has to see the end: `is_gone` looks."""

    thread: int
    gone: bool = False

    def is_gone(self) -> bool:
        """Return whether it was killed."""
        if not self.gone:
            seen, status = os.waitpid(self.thread, _WALL | os.WNOHANG)
            self.gone = seen == self.thread and not os.WIFSTOPPED(status)
        return self.gone


@contextmanager
def frozen(thread: int) -> Iterator[FrozenThread]:
    """Keep a thread from running, by the thread that calls this; if it was not killed meanwhile it goes on then."""
    _ptrace(_SEIZE, thread)
    _ptrace(_INTERRUPT, thread)
    os.waitpid(thread, _WALL)  # it has stopped
    held = FrozenThread(thread)
    try:
        yield held
    finally:
        if not held.is_gone():
            _ptrace(_DETACH, thread)


def _ptrace(request: int, thread: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.ptrace(request, thread, None, None) != 0:
        raise OSError(ctypes.get_errno(), f"ptrace({request:#x}, {thread})")
