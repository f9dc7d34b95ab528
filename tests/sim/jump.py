"""Virtual time that jumps to the next deadline as soon as no task can go on."""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar
from unittest import mock

import trio
import trio._timeouts as timeouts
from trio._core._instrumentation import Instruments
from trio._core._run import GLOBAL_RUN_CONTEXT, Cancelled

T = TypeVar("T")
STILL: Final = 1_000_000
"""After how many passes of trio at one instant a task surely goes round in a circle: a world makes some ten thousand
in a whole virtual minute.
"""


_Event = list[Any]
"""When, a number that orders those of one moment, and the act; None in its place: it was taken back."""


class TimeStandsStillError(Exception):
    """A task goes on and on at one instant."""


class JumpingClock(trio.abc.Clock):
    """A clock for `trio.run`: where every task waits, it is the next deadline at once, and exactly.

    `trio.testing.MockClock` asks the kernel in vain before each jump, adds up differences, and makes statistics of the
    whole run to learn the deadline. No kernel's socket and no thread may be waited for in the run. `on_still`: called
    once time has been asked for `STILL` times at one instant.

    A packet on its way is no task: a task that slept until each arrival made a fifth of all steps of a world.
    """

    def __init__(self, on_still: Callable[[], None] = lambda: None) -> None:
        self.on_still = on_still
        self._now, self._asked = 0.0, 0
        self._events: list[_Event] = []
        self._numbers = itertools.count()

    def at(self, when: float, act: Callable[[], None]) -> _Event:
        """Let something happen at a moment to come, before any task goes on then. `act` does not wait."""
        event: _Event = [when, next(self._numbers), act]
        heapq.heappush(self._events, event)
        return event

    async def sleep_until(self, deadline: float) -> None:
        """Return at a moment, as `trio.sleep_until` does, without a scope that is made, cancelled and caught for it.

        A third of all scopes of a world were made for that. Where the task's own scope is cancelled at the same moment
        the task is cancelled, as it is by trio.
        """
        task = trio.lowlevel.current_task()
        if deadline <= self._now:
            await trio.lowlevel.cancel_shielded_checkpoint()
        else:
            event = self.at(deadline, lambda: trio.lowlevel.reschedule(task))

            def abort(_: object) -> trio.lowlevel.Abort:
                event[2] = None
                return trio.lowlevel.Abort.SUCCEEDED

            await trio.lowlevel.wait_task_rescheduled(abort)
        if (status := task._cancel_status).effectively_cancelled:
            reason = status._scope._cancel_reason
            raise Cancelled._create(source="unknown" if reason is None else reason.source)

    def start_clock(self) -> None:
        """Begin at 0."""

    def current_time(self) -> float:
        """Return virtual seconds since the run began."""
        self._asked += 1
        if self._asked == STILL:
            self.on_still()
        return self._now

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """Jump to a deadline, or to what happens before it, and return 0; trio asks only where no task can go on."""
        events = self._events
        while events and events[0][2] is None:
            heapq.heappop(events)
        when = min(deadline, events[0][0]) if events else deadline
        if when == math.inf:
            return math.inf
        if GLOBAL_RUN_CONTEXT.runner.entry_queue.queue:
            return 0.0
        if when > self._now:
            self._now, self._asked = when, 0
        while events and events[0][0] <= self._now:
            if (act := heapq.heappop(events)[2]) is not None:
                act()
        return 0.0


async def wait_until(event: trio.Event, deadline: float) -> None:
    """Return once an event is set that only the caller needs, or at a moment; here that sets it, too."""
    clock = trio.lowlevel.current_clock()
    if not isinstance(clock, JumpingClock) or deadline <= clock.current_time():
        with trio.move_on_at(deadline):
            await event.wait()
        return
    alarm = clock.at(deadline, event.set)
    try:
        await event.wait()
    finally:
        alarm[2] = None


class _Kernel:
    """Asks the kernel for events only while something waits in trio's entry queue, and once more after that.

    Nothing else comes from outside: no kernel's socket is waited for. Each pass of trio asked it in vain.
    """

    def __init__(self, real: Any) -> None:
        self._real, self._queue, self._asks = real, GLOBAL_RUN_CONTEXT.runner.entry_queue, True
        self.process_events = real.process_events

    def get_events(self, timeout: float) -> Any:
        """Return what the kernel has, as trio's own class does."""
        waits = bool(self._queue.queue or self._queue.idempotent_queue)
        if not (timeout or waits or self._asks):
            return ()
        self._asks = waits
        return self._real.get_events(timeout)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


class _MayChangeDeadline:
    """Registers the deadline of a scope anew after the block, as trio's own generator does: three times for each."""

    __slots__ = ("_scope",)

    def __init__(self, scope: Any) -> None:
        self._scope = scope

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        scope = self._scope
        old = scope._registered_deadline
        new = math.inf if scope._cancel_status is None or scope._cancel_called else scope._deadline
        if old != new:
            scope._registered_deadline = new
            deadlines = GLOBAL_RUN_CONTEXT.runner.deadlines
            if old != math.inf:
                deadlines.remove(old, scope)
            if new != math.inf:
                deadlines.add(new, scope)


class _Instruments(dict[str, Any]):
    """trio's `Instruments`, as a dictionary: trio asks it five times in each step of a task."""

    def __init__(self, data: dict[str, Any]) -> None:
        super().__init__(data)
        self.data = self

    add_instrument, remove_instrument = Instruments.add_instrument, Instruments.remove_instrument
    call = Instruments.call


def _may_change_deadline(scope: trio.CancelScope) -> _MayChangeDeadline:
    return _MayChangeDeadline(scope)


def run(main: Callable[[], Awaitable[T]]) -> T:
    """Return what `main` returns when it runs in virtual time.

    Raises:
        TimeStandsStillError: a task never waits, so that it would never return.
    """
    clock = JumpingClock()

    async def whole() -> T:
        runner = GLOBAL_RUN_CONTEXT.runner
        runner.io_manager = _Kernel(runner.io_manager)
        runner.instruments = _Instruments(runner.instruments.data)
        with trio.CancelScope() as scope:
            clock.on_still = scope.cancel
            return await main()
        raise TimeStandsStillError(f"virtual time stands still at {trio.current_time()} s: a task never waits")

    with (
        mock.patch.object(trio.CancelScope, "_might_change_registered_deadline", _may_change_deadline),
        mock.patch.object(timeouts, "sleep_until", clock.sleep_until),
        mock.patch.object(trio, "sleep_until", clock.sleep_until),
    ):
        return trio.run(whole, clock=clock)
