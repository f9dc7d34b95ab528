"""Work on many things, in slices: other tasks get their turn after each slice, so that no API call waits for all."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Generic, Self, TypeVar

import trio

SLICE: Final = 10
"""Things handled between two turns of others. A preview costs 1 ms an item, and an API call needs four turns."""
MANY: Final = 50
"""Things up to which a piece of work is done at once; more are done in a thread, or encoded in pieces of so many."""

_T = TypeVar("_T")


class InSlices(Generic[_T]):
    """Gives each of the things; lets other tasks run after every `most` of them.

    No generator: one that an error or `break` leaves behind has to be closed, this need not be.
    """

    def __init__(self, things: Iterable[_T], most: int = SLICE) -> None:
        """Take the things, and how many may be handled between two turns of other tasks."""
        self._things = iter(things)
        self._most = self._left = most

    def __aiter__(self) -> Self:
        """Return itself."""
        return self

    async def __anext__(self) -> _T:
        """Return the next thing."""
        if self._left == 0:
            await trio.lowlevel.checkpoint()
            self._left = self._most
        self._left -= 1
        try:
            return next(self._things)
        except StopIteration:
            raise StopAsyncIteration from None
