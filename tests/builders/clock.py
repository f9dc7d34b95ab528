"""Clocks of tests: virtual time, and wall clocks that are set by hand."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import trio
import trio.testing

from agent.runtime.clock import SystemClock

THREADS_S = 20.0
"""How long a thread may keep virtual time waiting, real seconds; one that itself waits for it would do so for ever."""


def virtual_clock() -> trio.testing.MockClock:
    """Return a clock that jumps to the next deadline when nothing goes on, in no thread either.

    Trio's own jumps while a task waits for a thread: on a busy machine hours passed during one read of the database.
    """
    clock, waited_s = trio.testing.MockClock(autojump_threshold=0), 0.0
    jump = clock._autojump

    def wait_for_threads() -> None:
        nonlocal waited_s
        if trio.to_thread.current_default_thread_limiter().borrowed_tokens and waited_s < THREADS_S:
            began_s = time.monotonic()
            time.sleep(0.0005)  # gives the thread the interpreter
            waited_s += time.monotonic() - began_s
            return
        waited_s = 0.0
        jump()

    clock._autojump = wait_for_threads  # type: ignore[method-assign]  # MockClock is final, and has no hook
    return clock


@dataclass
class FakeClock:
    """A `Clock` on trio's own time: with the `autojump_clock` fixture, hours pass at once.

    The wall clock starts at `start_wall_s`; `step_wall` sets it forward or back, as a person or NTP would.
    `pass_s` lets time pass on both clocks, in which the machine was asleep.
    """

    start_wall_s: float = 1_767_225_600.0  # 2026-01-01T00:00:00Z
    boot_id: str = "11111111-2222-3333-4444-555555555555"
    start_boot_s: float = 1000.0
    _zero: float | None = field(default=None, repr=False)

    def _passed_s(self) -> float:
        now = trio.current_time()
        if self._zero is None:
            self._zero = now
        return now - self._zero

    def wall_s(self) -> float:
        return self.start_wall_s + self._passed_s()

    def boot_s(self) -> float:
        return self.start_boot_s + self._passed_s()

    def cpu_s(self) -> float:
        return 0.0  # in virtual time work takes none

    def step_wall(self, seconds: float) -> None:
        self.start_wall_s += seconds

    def pass_s(self, seconds: float) -> None:
        self.start_wall_s += seconds
        self.start_boot_s += seconds

    def reboot(self, boot_id: str, off_s: float = 60.0) -> None:
        """The machine was off for `off_s` and booted anew; the boot-time clock starts again at zero."""
        passed_s = self._passed_s()
        self.start_wall_s += off_s
        self.start_boot_s = -passed_s
        self.boot_id = boot_id

    async def sleep(self, seconds: float) -> None:
        await trio.sleep(seconds)

    async def sleep_until_boot(self, boot_s: float) -> None:
        await trio.sleep(max(0.0, boot_s - self.boot_s()))


class LifeClock(FakeClock):
    """Stands still between scenes, each of which is a run of trio."""

    def _passed_s(self) -> float:
        try:
            return super()._passed_s()
        except RuntimeError:
            return 0.0

    def stop(self) -> None:
        passed_s = self._passed_s()
        self.pass_s(passed_s)
        self._zero = None


START = 20_000 * 86_400


class HandClock(SystemClock):
    """The wall clock is set by hand."""

    now_s = float(START)

    def wall_s(self) -> float:
        return HandClock.now_s
