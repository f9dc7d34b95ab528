"""Threads without threads: work runs in the task that asks for it, so that virtual time waits for it.

The time that it takes is the world's to say: before the work and after it, so that an answer may come too late.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

import trio
import trio._path as paths

from tests.sim.sockets import PROCESS


@dataclass(slots=True)
class ThreadPace:
    """How long work in a thread takes that has a limiter of its own, as that of databases: before it, and after it."""

    before_s: Callable[[], float] = lambda: 0.0
    after_s: Callable[[], float] = lambda: 0.0


class Waiting(ABC):
    """Something for which a thread waits: what it waits for is waited for in the task that asks, before the work."""

    @abstractmethod
    async def ready(self) -> None:
        """Return when the work would not wait any more."""


@contextmanager
def inline_threads(pace: ThreadPace) -> Iterator[None]:
    """Let `trio.to_thread.run_sync` run in the calling task, for the block."""

    async def run_sync(
        work: Callable[..., Any],
        *args: Any,
        thread_name: str | None = None,
        abandon_on_cancel: bool = False,
        cancellable: bool | None = None,
        limiter: trio.CapacityLimiter | None = None,
    ) -> Any:
        await trio.lowlevel.checkpoint_if_cancelled()
        process = PROCESS.get()
        if process is not None:
            process.check_alive()
        if args and isinstance(args[0], Waiting):
            await args[0].ready()
        if limiter is None:
            done = work(*args)
            await trio.lowlevel.cancel_shielded_checkpoint()
            return done
        async with limiter:
            # A thread cannot be ended; a caller that may leave it leaves it where it is
            with trio.CancelScope(shield=not abandon_on_cancel):
                await trio.sleep(pace.before_s())
                if process is not None:
                    process.check_alive()
                done = work(*args)
                await trio.sleep(pace.after_s())
        if process is not None:
            process.check_alive()
        return done

    # trio.Path has the function by a name of its own
    with mock.patch.object(trio.to_thread, "run_sync", run_sync), mock.patch.object(paths, "run_sync", run_sync):
        yield
