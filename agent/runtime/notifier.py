"""A bell: wakes the tasks that wait now, and means nothing to later ones."""

from __future__ import annotations

import trio


class Notifier:
    """Wakes all waiting tasks. A woken task must look again at its condition: a ring carries nothing."""

    def __init__(self) -> None:
        self._event: trio.Event | None = None
        """Of those who wait now; None: nobody does. A bell is rung far more often than it is waited for."""

    def ring(self) -> None:
        """Wake all waiters."""
        event, self._event = self._event, None
        if event is not None:
            event.set()

    async def wait(self) -> None:
        """Return at the next ring."""
        await self.next_ring().wait()

    def next_ring(self) -> trio.Event:
        """Return the event of the next ring: taken before a look that awaits, it tells of a ring during the look."""
        if self._event is None:
            self._event = trio.Event()
        return self._event
