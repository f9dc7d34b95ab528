"""When the power of ports was seen off: the proof of a power cycle, kept over a restart.

A port that was cycled reads as before. The proof of a cycle is that it was read off, and is read on now. So the
address of a cycle reads when its port was last read off, and cannot be read while it is off.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from agent.connectors.base import AnswerBook, KeptAnswer

KIND: Final = "power-off"
NEVER: Final = "never"


class PortCuts:
    """The ports of all devices."""

    def __init__(self, book: AnswerBook, of: str, wall_s: Callable[[], float]) -> None:
        """Take the book in which they are kept, the name of the connector there, and the clock."""
        self._book, self._of, self._wall_s = book, of, wall_s
        self._off: dict[str, str] | None = None

    def _known(self) -> dict[str, str]:
        if self._off is None:
            self._off = {one.key: one.told for one in self._book.kept(self._of) if one.kind == KIND}
        return self._off

    def last(self, where: str) -> str:
        """Return when a port was last read off, unix milliseconds, or `NEVER`. `where`: its address."""
        return self._known().get(where, NEVER)

    async def read_off(self, where: str, target: str) -> None:
        """Note that a port of a device reads off now, durably."""
        now_s = self._wall_s()
        told = self._known()[where] = str(int(now_s * 1000))
        await self._book.keep(self._of, [KeptAnswer(KIND, where, told, target, int(now_s))])
