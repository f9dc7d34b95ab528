"""One seed for everything that a run draws."""

from __future__ import annotations

import random


class SeededChance:
    """A `trust.chance.Chance` that gives the same bytes to whoever asks in the same order."""

    def __init__(self, seed: int | str) -> None:
        self._seed, self._random = seed, random.Random(str(seed))

    def draw(self, size_bytes: int) -> bytes:
        return self._random.randbytes(size_bytes)

    def part(self, name: str) -> SeededChance:
        """Return the source of one part of a run: what it gives depends on the name, and not on what others draw."""
        return SeededChance(f"{self._seed}/{name}")
