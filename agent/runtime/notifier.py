"""A bell: wakes the tasks that wait now, and means nothing to later ones."""

from __future__ import annotations

import trio


class Notifier:
    """Wakes all waiting tasks. A woken task must look again at its condition: a ring carries nothing."""

    def __init__(self) -> None:
        self._event = trio.Event()

    def ring(self) -> None:
        """Wake all waiters."""
        self._event.set()
        self._event = trio.Event()

    async def wait(self) -> None:
        """Return at the next ring."""
        await self._event.wait()

    def next_ring(self) -> trio.Event:
        """Return the event of the next ring: taken before a look that awaits, it tells of a ring during the look."""
        return self._event
