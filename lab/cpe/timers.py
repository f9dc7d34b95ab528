"""When a CPE does something by itself."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from datetime import datetime

from lab.cpe.tree import Tree
from lab.cpe.values import UNKNOWN_TIME


class Timers:
    """Things to be done at a time."""

    __slots__ = ("_heap", "_order")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def add(self, due: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._heap, (due, next(self._order), act))

    def due(self) -> float | None:
        return self._heap[0][0] if self._heap else None

    def take(self, now: float) -> list[Callable[[], None]]:
        """The due entries, taken out."""
        taken = []
        while self._heap and self._heap[0][0] <= now:
            taken.append(heapq.heappop(self._heap)[2])
        return taken


class Periodic:
    """The periodic inform: PeriodicInformEnable, PeriodicInformInterval, PeriodicInformTime.

    Without a PeriodicInformTime the CPE chooses its phase: whole intervals since its boot, or since they were set.
    """

    __slots__ = ("_due", "_set_to", "_tree")

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._due: float | None = None
        self._set_to: tuple[str, ...] = ()

    def _settings(self) -> tuple[str, ...]:
        names = ("PeriodicInformEnable", "PeriodicInformInterval", "PeriodicInformTime")
        return tuple(self._tree.get(f"{self._tree.model.prefix}ManagementServer.{name}") for name in names)

    def due(self) -> float | None:
        return self._due

    def look(self, now: float) -> None:
        """Begin anew when the settings changed."""
        if self._settings() != self._set_to:
            self.restart(now)

    def restart(self, now: float) -> None:
        """Begin anew: after a boot, or when the settings changed."""
        self._set_to = enabled, interval, reference = self._settings()
        self._due = None if enabled == "0" else _next(now, int(interval), reference)

    def take(self, now: float) -> bool:
        """Tell whether it was due, and set the next time."""
        if self._due is None or self._due > now:
            return False
        interval = int(self._set_to[1])
        self._due += interval * (1 + (now - self._due) // interval)
        return True


def _next(now: float, interval_s: int, reference: str) -> float:
    """The next time after now that is a whole number of intervals from the reference."""
    if reference == UNKNOWN_TIME or reference.startswith("0"):
        return now + interval_s
    zero = datetime.fromisoformat(reference if reference[-1] == "Z" or "+" in reference[10:] else f"{reference}Z")
    return now + interval_s - (now - zero.timestamp()) % interval_s
