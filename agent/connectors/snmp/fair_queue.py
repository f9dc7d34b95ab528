"""A queue that serves its sources in turns, one item of each at a time.

The order of one source stays. When the queue is full, the newest item of the longest source goes: a source that floods
drops its own.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from typing import Generic, TypeVar

Item = TypeVar("Item")


class FairQueue(Generic[Item]):
    """Items by source, `most` in all."""

    def __init__(self, most: int) -> None:
        """Begin empty."""
        self._most, self._count = most, 0
        self._waiting: dict[Hashable, deque[Item]] = {}
        """In the order in which the sources are served."""
        self._under_way: set[Hashable] = set()

    def __len__(self) -> int:
        """Return how many items wait."""
        return self._count

    def put(self, source: Hashable, item: Item) -> Item | None:
        """Add an item; return the one that is dropped for it: of the source with most of them, so perhaps itself."""
        self._waiting.setdefault(source, deque()).append(item)
        self._count += 1
        if self._count <= self._most:
            return None
        longest = max(self._waiting, key=lambda one: len(self._waiting[one]))
        dropped = self._waiting[longest].pop()
        self._count -= 1
        if not self._waiting[longest]:
            del self._waiting[longest]
        return dropped

    def take(self) -> tuple[Hashable, Item] | None:
        """Return the next item with its source, of which none is given before `done`; None: none is ready."""
        source = next((one for one in self._waiting if one not in self._under_way), None)
        if source is None:
            return None
        items = self._waiting.pop(source)
        item = items.popleft()
        if items:
            self._waiting[source] = items
        self._count -= 1
        self._under_way.add(source)
        return source, item

    def done(self, source: Hashable) -> None:
        """Let the next item of a source be taken."""
        self._under_way.discard(source)
