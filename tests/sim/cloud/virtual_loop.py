"""An asyncio loop inside trio: the control plane's tasks run in virtual time, on the thread and in the order of trio.

It has what asyncio's own tasks, timeouts, events and queues ask of a loop, and nothing of sockets, signals or threads:
what would go to a thread runs at once.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import itertools
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import trio

from tests.sim.jump import wait_until

T = TypeVar("T")


class VirtualLoop(asyncio.AbstractEventLoop):
    """The loop of one process. `run` lets it go on until it is cancelled; `kill` ends it at this instant.

    `failed`: what a task raised that nobody waited for.
    """

    def __init__(self) -> None:
        self.failed: list[BaseException] = []
        self.dead = False
        self._ready: deque[asyncio.Handle] = deque()
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._numbers = itertools.count()
        self._wake = trio.Event()
        self._tasks: list[asyncio.Task[Any]] = []

    async def run(self) -> None:
        """Run what is due, for ever."""
        while not self.dead:
            for _ in range(len(self._ready)):
                if self.dead:
                    return
                self._step(self._ready.popleft())
            if self._ready:
                await trio.lowlevel.checkpoint()
                continue
            self._wake = trio.Event()
            await wait_until(self._wake, self._timers[0][0] if self._timers else float("inf"))
            while self._timers and self._timers[0][0] <= trio.current_time():
                self._ready.append(heapq.heappop(self._timers)[2])

    def kill(self) -> None:
        """Let nothing of it run any more; its tasks stay where they are, and never see an end."""
        self.dead = True
        self._wake.set()
        for task in self._tasks:
            task._log_destroy_pending = False  # type: ignore[attr-defined]  # nobody is to hear of it

    def bury(self) -> None:
        """End the tasks of a loop that was killed, once nothing that they do can matter any more."""
        self.dead = False
        for task in self._tasks:
            task.cancel()
        for _ in range(1000):
            if not self._ready:
                break
            self._step(self._ready.popleft())
        self.dead = True

    async def call(self, coro: Coroutine[Any, Any, T]) -> T:
        """Return what a coroutine of asyncio returns, to a task of trio, once the loop ran it."""
        task, over = self.create_task(coro), trio.Event()
        task.add_done_callback(lambda _: over.set())
        await over.wait()
        return task.result()

    def _step(self, handle: asyncio.Handle) -> None:
        if handle.cancelled():
            return
        asyncio._set_running_loop(self)
        try:
            handle._run()
        finally:
            asyncio._set_running_loop(None)

    # --- what asyncio asks of a loop ----------------------------------------------------------------------------------

    def call_soon(  # type: ignore[override]  # typeshed's is generic in the arguments
        self, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        if not self.dead:
            self._ready.append(handle)
            self._wake.set()
        return handle

    call_soon_threadsafe = call_soon  # type: ignore[assignment]  # as above: there is one thread

    def call_later(  # type: ignore[override]  # as above
        self, delay: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]  # as above
        self, when: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        if not self.dead:
            heapq.heappush(self._timers, (when, next(self._numbers), handle))
            self._wake.set()
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Take note of a timer that is not needed; it is passed over when its time comes."""

    def time(self) -> float:
        return trio.current_time()

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(  # type: ignore[override]  # typeshed's names what we pass on
        self, coro: Coroutine[Any, Any, T], *, context: contextvars.Context | None = None, **named: Any
    ) -> asyncio.Task[T]:
        task = asyncio.Task(coro, loop=self, context=context, **named)
        self._tasks = [t for t in self._tasks if not t.done()]
        self._tasks.append(task)
        return task

    def run_in_executor(  # type: ignore[override]  # as above
        self, executor: object, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        done = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as err:  # noqa: BLE001  # handed to whoever waits
            done.set_exception(err)
        return done

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        if isinstance(error := context.get("exception"), BaseException):
            self.failed.append(error)

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return not self.dead

    def is_closed(self) -> bool:
        return self.dead
