"""Stand-ins that several tests share."""

from __future__ import annotations

from dataclasses import dataclass, field

import trio


@dataclass
class FakeClock:
    """A `Clock` on trio's own time: with the `autojump_clock` fixture, hours pass at once.

    The wall clock starts at `start_wall_s`; `step_wall` sets it forward or back, as a person or NTP would.
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

    def step_wall(self, seconds: float) -> None:
        self.start_wall_s += seconds

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
