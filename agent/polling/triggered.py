"""Polls at once of devices: after notifications that only a reading can prove, and once their secret is another.

* Anybody can send a notification, so each device has a budget of such polls. Beyond it, the next one waits for the
  budget, and answers all notifications until then.
* A poll that began before a notification does not answer it: another one follows.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import Final

import trio

from agent.runtime.clock import Clock

AT_ONCE: Final = 4
"""Polls of one device that come at once: a port that goes down and up again twice. Chosen arbitrarily."""
EACH_S: Final = 60.0
"""Seconds for each further poll of a device: forged notifications make it at most five times the usual pace."""
TOGETHER: Final = 16
"""Triggered polls that run at the same time: notifications of all devices at once must not crowd out the schedule."""


class TriggeredPolls:
    """Polls devices when it is asked to, within their budgets."""

    def __init__(self, poll: Callable[[str], Awaitable[object]], clock: Clock) -> None:
        """Take the function that polls a target now; nothing is polled before `run`."""
        self._poll, self._clock = poll, clock
        self._asked: set[str] = set()
        self._under_way: set[str] = set()
        self._budgets: dict[str, tuple[float, float]] = {}
        """By target: polls left in its budget at a time."""
        self._wake = trio.Event()

    def ask(self, target: str) -> None:
        """Ask for a poll of a configured target that begins after now."""
        self._asked.add(target)
        self._wake.set()

    async def run(self) -> None:
        """Poll until cancelled.

        Raises:
            StoreFailedError: the answers cannot be recorded.
        """
        self._under_way.clear()
        together = trio.CapacityLimiter(TOGETHER)
        async with trio.open_nursery() as nursery:
            while True:
                self._wake = trio.Event()
                for target in sorted(self._asked - self._under_way):
                    self._under_way.add(target)
                    nursery.start_soon(self._of, target, together)
                await self._wake.wait()

    async def _of(self, target: str, together: trio.CapacityLimiter) -> None:
        """Poll a target until no notification is newer than the last poll."""
        while target in self._asked:
            await self._clock.sleep(self._spend(target))
            async with together:
                self._asked.discard(target)
                await self._poll(target)
        self._under_way.discard(target)

    def _spend(self, target: str) -> float:
        """Take one poll from the budget of a target; return the seconds until it may begin."""
        now_s = self._clock.boot_s()
        left, at_s = self._budgets.get(target, (float(AT_ONCE), now_s))
        left = min(AT_ONCE, left + (now_s - at_s) / EACH_S) - 1.0
        self._budgets[target] = (left, now_s)
        return max(0.0, -left * EACH_S) if not math.isclose(left, 0.0, abs_tol=1e-9) else 0.0
