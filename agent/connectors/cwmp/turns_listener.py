"""Turns on the one event loop: peers' messages are worked on so that everybody else gets their turn in between.

All of the agent runs on one loop: two hundred POSTs that are ready at once would be two hundred pieces of work in one
pass of it, and a freeze waits for several passes. So in each pass so much work is begun and no more; whoever comes
later in it waits for the next pass, first come, first served. Where nobody has to wait a turn costs no switch of tasks.
"""

from __future__ import annotations

from math import ceil

import trio


class Turns(trio.abc.Instrument):
    """How much work is begun in a pass of the loop. It knows of passes as an instrument of trio."""

    def __init__(self, most: float) -> None:
        """Take how much work a pass has room for; the last piece that is begun may go beyond."""
        self._most = self._left = most
        self._line = trio.lowlevel.ParkingLot()
        self._someone = trio.Event()
        """That somebody waits in the line."""

    def before_io_wait(self, timeout: float) -> None:  # noqa: ARG002  of trio
        """Take note that a pass is over."""
        self._left = self._most

    async def run(self) -> None:
        """Let in each pass as many of those that wait go on as it has room for, until cancelled."""
        trio.lowlevel.add_instrument(self)
        try:
            while True:
                await self._someone.wait()
                while self._line:
                    await trio.lowlevel.checkpoint()
                    if self._left > 0:
                        self._line.unpark(count=ceil(self._left))  # they run in the next pass, and are counted there
                self._someone = trio.Event()
        finally:
            trio.lowlevel.remove_instrument(self)

    async def take(self, work: float = 1.0) -> None:
        """Return once this pass has room for a piece of work."""
        if self._left <= 0 or self._line:
            self._someone.set()
            await self._line.park()
        self._left -= work

    async def go_on(self, work: float) -> None:
        """Take note of a piece of work beyond the amount in `take`; return once this pass has room for another."""
        self._left -= work
        if self._left <= 0:
            await self.take(0.0)
