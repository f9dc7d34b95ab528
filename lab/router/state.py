"""A router's rows, clock and timers: all that each kind of access stands on. Pure: the clock comes from outside.

The kinds of access (`ppp`, `dhcp`, `hotspot`, `hosts`) are given this and `flows`, and know neither one another nor the
router that they are parts of.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from lab.router.facts import facts_of
from lab.router.firewall import AddressLists, Firewall
from lab.router.pools import Pools
from lab.router.store import Store

_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


class RouterState:
    """The state of one router. `boots`: how often it came up; `on_change`: called when a timer or a session changed.

    Args:
        version: of RouterOS, as `facts_of` takes it.
        clock: seconds since 1970.
    """

    def __init__(self, version: str, clock: Callable[[], float]) -> None:
        self.boots = 1
        self.on_change: list[Callable[[], None]] = []
        self.store = Store(facts_of(version))
        self.lists = AddressLists()
        self.firewall = Firewall(self.store, self.lists)
        self.pools = Pools(self.store)
        self._clock = clock
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def now(self) -> float:
        """The router's clock."""
        return self._clock()

    def date_time(self, ahead_s: float = 0.0) -> str:
        """The time as this version writes it: version 7.10 and later as ISO 8601 does. `ahead_s`: of UTC."""
        at = datetime.fromtimestamp(self.now() + ahead_s, UTC)
        if self.store.facts.version >= (7, 10, 0):
            return f"{at:%Y-%m-%d %H:%M:%S}"
        return f"{_MONTHS[at.month - 1]}/{at:%d/%Y %H:%M:%S}"

    def schedule(self, due: float, act: Callable[[], None]) -> None:
        """Have something done at a time of the router's clock."""
        heapq.heappush(self._timers, (due, next(self._order), act))
        self.tell_change()

    def get_timer(self) -> float | None:
        """When `handle_timer` is to be called next, by the router's clock."""
        return self._timers[0][0] if self._timers else None

    def handle_timer(self, now: float | None = None) -> None:
        """Do due work: CPE redial, clients renew, timeouts run out."""
        at = self.now() if now is None else now
        while self._timers and self._timers[0][0] <= at:
            heapq.heappop(self._timers)[2]()

    def tell_change(self) -> None:
        """Let whoever runs the router ask for its timer again."""
        for act in tuple(self.on_change):
            act()
