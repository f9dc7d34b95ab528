"""Two clocks and a guard over them.

Deadlines hold on the wall clock, which people and signatures speak of, *and* on the boot-time clock, which nobody can
set and which goes on while the machine is suspended. Where the two disagree, somebody set the wall clock.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

import trio

MAX_JUMP_S: Final = 300.0
"""A wall clock that moved by more than this against the boot-time clock halts applying."""
SLEW: Final = 0.001
"""Disagreement forgiven per second: NTP slews at 500 ppm at most; twice that, so that slewing never adds up."""
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_BOOT_CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""Linux has CLOCK_BOOTTIME; elsewhere CLOCK_MONOTONIC is the best there is (it may miss a suspend)."""
_MAX_NAP_S: Final = 30.0
"""trio sleeps on CLOCK_MONOTONIC, which stands still during suspend; look at the boot-time clock this often."""


class Clock(Protocol):
    """The time, and sleeping. Everything below `daemon` is given one."""

    @property
    def boot_id(self) -> str:
        """Which boot this is; empty where the system does not say."""
        ...

    def wall_s(self) -> float:
        """Return unix seconds."""
        ...

    def boot_s(self) -> float:
        """Return seconds since boot, suspend included; never goes back within one boot."""
        ...

    def cpu_s(self) -> float:
        """Return the CPU time of the calling thread, seconds, by which dear work is done less often."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Sleep so many seconds of the boot-time clock."""
        ...

    async def sleep_until_boot(self, boot_s: float) -> None:
        """Sleep until the boot-time clock reads `boot_s`; returns at once (after a checkpoint) if it does."""
        ...


@dataclass(frozen=True, slots=True)
class Now:
    """The moment by both clocks: wall (unix seconds), and boot-time seconds with the boot they count from."""

    wall_s: float
    boot_s: float
    boot_id: str


def now_of(clock: Clock) -> Now:
    """Return the moment by both clocks."""
    return Now(clock.wall_s(), clock.boot_s(), clock.boot_id)


def _read_boot_id() -> str:
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""


@dataclass(frozen=True, slots=True)
class SystemClock:
    """The machine's clocks."""

    boot_id: str = field(default_factory=_read_boot_id)

    def wall_s(self) -> float:
        return time.time()

    def boot_s(self) -> float:
        return time.clock_gettime(_BOOT_CLOCK)

    def cpu_s(self) -> float:
        return time.thread_time()

    async def sleep(self, seconds: float) -> None:
        await self.sleep_until_boot(self.boot_s() + seconds)

    async def sleep_until_boot(self, boot_s: float) -> None:
        left = boot_s - self.boot_s()
        if left <= 0:
            await trio.lowlevel.checkpoint()
        while left > 0:
            await trio.sleep(min(left, _MAX_NAP_S))
            left = boot_s - self.boot_s()


class SteadyWall:
    """Unix seconds that nobody sets: the wall clock's at the first look, and as many more as passed since."""

    def __init__(self, clock: Clock) -> None:
        """Take the clocks."""
        self._clock = clock
        self._began_s: float | None = None

    def now_s(self) -> float:
        """Return unix seconds."""
        if self._began_s is None:
            self._began_s = self._clock.wall_s() - self._clock.boot_s()
        return self._began_s + self._clock.boot_s()

    def set_s(self) -> float:
        """Return by how many seconds the wall clock was set since the first look."""
        return self._clock.wall_s() - self.now_s()


async def sleep_or(clock: Clock, seconds: float, event: trio.Event) -> None:
    """Sleep so many seconds of a clock, or until an event is set."""
    async with trio.open_nursery() as nursery:

        async def woken() -> None:
            await event.wait()
            nursery.cancel_scope.cancel()

        nursery.start_soon(woken)
        await clock.sleep(seconds)
        nursery.cancel_scope.cancel()


@dataclass(frozen=True, slots=True)
class ClockMark:
    """The values of both clocks at one moment, to be kept across restarts.

    `step_s` is the disagreement seen so far and not yet forgiven, seconds, positive when the wall clock ran ahead.
    """

    wall_s: float
    boot_s: float
    boot_id: str
    step_s: float = 0.0


class ClockGuard:
    """Notices that somebody set the wall clock. Pure: it takes the values of the clocks.

    A jump is latched: it stands, whatever the clocks read next, until a person accepts the present time. Persist `mark`
    after each check; it does not move while halted, so a restart does not forget. Small steps add up (ten of a minute
    are a jump), less the most that NTP may have slewed in the meantime.
    """

    def __init__(self, mark: ClockMark | None = None, *, halted_by_s: float | None = None) -> None:
        self._mark = mark
        self._halted_by_s = halted_by_s

    @property
    def mark(self) -> ClockMark | None:
        """The last accepted reading; None before the first."""
        return self._mark

    @property
    def halted_by_s(self) -> float | None:
        """The jump that halts applying, seconds; None when there is none."""
        return self._halted_by_s

    def check(self, wall_s: float, boot_s: float, boot_id: str) -> float | None:
        """Return the jump in seconds if applying must halt (negative: the wall clock went back), else None."""
        if self._halted_by_s is not None:
            return self._halted_by_s
        last = self._mark
        if last is None:
            self._mark = ClockMark(wall_s, boot_s, boot_id)
        elif not boot_id or boot_id != last.boot_id:
            # Another boot: nothing says how long the machine was off, only that time does not go back.
            if wall_s < last.wall_s:
                self._halted_by_s = wall_s - last.wall_s
            else:
                self._mark = ClockMark(wall_s, boot_s, boot_id)
        else:
            step_s = (wall_s - last.wall_s) - (boot_s - last.boot_s) + last.step_s
            if abs(step_s) > MAX_JUMP_S:
                self._halted_by_s = step_s
            else:
                forgiven_s = min(abs(step_s), max(0.0, boot_s - last.boot_s) * SLEW)
                rest_s = step_s - forgiven_s if step_s > 0 else step_s + forgiven_s
                self._mark = ClockMark(wall_s, boot_s, boot_id, rest_s)
        return self._halted_by_s

    def accept(self, wall_s: float, boot_s: float, boot_id: str) -> None:
        """Take the present reading as right: a person looked at the clock and cleared the halt."""
        self._mark = ClockMark(wall_s, boot_s, boot_id)
        self._halted_by_s = None
