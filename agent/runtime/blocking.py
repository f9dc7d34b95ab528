"""Blocking calls (database drivers, SQLite, argon2) in threads, as many at once as their purpose allows.

A thread cannot be stopped. So a call is either waited for even when its task is cancelled (`run`: the default, right
for whatever has an effect or holds something), or left behind (`run_abandonable`: only for calls that read, whose
result nobody needs and whose resources nobody touches afterwards). A call left behind keeps its place in the limit
until it ends: a database that hangs costs `limit` threads, never more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, TypeVarTuple

import trio

T = TypeVar("T")
Args = TypeVarTuple("Args")


class Threads:
    """The threads for one purpose (`sql radius/main`); two purposes never wait for each other."""

    def __init__(self, purpose: str, limit: int) -> None:
        self._purpose = purpose
        self._limiter = trio.CapacityLimiter(limit)

    @property
    def busy(self) -> int:
        """How many calls are running, those left behind included."""
        return self._limiter.statistics().borrowed_tokens

    async def run(self, fn: Callable[[*Args], T], *args: *Args) -> T:
        """Return `fn(*args)`; cancellation waits for it, and its result is then lost to the caller."""
        return await trio.to_thread.run_sync(fn, *args, thread_name=self._purpose, limiter=self._limiter)

    async def run_abandonable(self, fn: Callable[[*Args], T], *args: *Args) -> T:
        """Return `fn(*args)`; cancellation (a timeout) returns at once and leaves the thread behind."""
        return await trio.to_thread.run_sync(
            fn, *args, thread_name=self._purpose, limiter=self._limiter, abandon_on_cancel=True
        )
