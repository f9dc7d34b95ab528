"""Limits on the peers of the hooks listener: connections, refused calls, and eviction when it is full. Pure.

A peer is a network: an IPv4 address, or a /64 of IPv6.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Mapping
from typing import Final, Generic, TypeVar

from agent.reasons import HookReason

_T = TypeVar("_T")

PEERS_MOST: Final = 10_000
"""Peers to remember the calls of, the last ones."""


class RefusedCalls:
    """Counts of refused calls by source and reason. A call of an unknown source counts under ""."""

    def __init__(self) -> None:
        """Begin with none."""
        self._counts: Counter[tuple[str, HookReason]] = Counter()
        self._told, self._told_at = 0, float("-inf")

    def add(self, source: str, reason: HookReason) -> None:
        """Count one."""
        self._counts[source, reason] += 1

    def shown(self) -> Mapping[str, Mapping[str, int]]:
        """Return the counts: source -> reason -> calls."""
        found: dict[str, dict[str, int]] = {}
        for (source, reason), count in sorted(self._counts.items()):
            found.setdefault(source, {})[reason.value] = count
        return found

    def news(self, now: float, every_s: float) -> int:
        """Return how many calls were refused since the count returned last; 0: none, or `every_s` is not over yet."""
        count = self._counts.total() - self._told
        if not count or now < self._told_at + every_s:
            return 0
        self._told, self._told_at = self._counts.total(), now
        return count


class CallBudget:
    """A token bucket for the calls of each peer: `most` tokens at first and at most, `per_s` more each second."""

    def __init__(self, most: float, per_s: float) -> None:
        """Take a peer's allowance at first, which is the most it can have, and its gain in a second."""
        self._most, self._per_s = most, per_s
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def used_up(self, peer: str, now: float) -> bool:
        """Return whether a peer has no call left."""
        return self._at(peer, now) < 1.0

    def spend(self, peer: str, now: float) -> None:
        """Take note of a call."""
        self._left[peer] = (max(0.0, self._at(peer, now) - 1.0), now)
        self._left.move_to_end(peer)
        if len(self._left) > PEERS_MOST:
            self._left.popitem(last=False)

    def _at(self, peer: str, now: float) -> float:
        left, at = self._left.get(peer, (self._most, now))
        return min(self._most, left + (now - at) * self._per_s)


class CallerPlaces(Generic[_T]):
    """A bounded set of guests. When all places are taken, the peer with most of them loses one."""

    def __init__(self, most: int, most_each: int) -> None:
        """Take how many there may be, and how many of one peer."""
        self._most, self._most_each = most, most_each
        self._guests: dict[str, list[_T]] = {}

    def enter(self, peer: str, guest: _T) -> _T | None:
        """Let a guest in; return the guest that has to go for it, None: nobody.

        The oldest guest of the peer with most goes: whoever calls in earnest is there for less than a second.
        """
        own = self._guests.get(peer, [])
        goes: _T | None = None
        if len(own) >= self._most_each:
            goes = own.pop(0)
        elif sum(map(len, self._guests.values())) >= self._most:
            largest = max(self._guests, key=lambda one: len(self._guests[one]))
            goes = self._guests[largest][0]
            self.leave(largest, goes)
        self._guests.setdefault(peer, own).append(guest)
        return goes

    def leave(self, peer: str, guest: _T) -> None:
        """Take note that a guest left, if it was still there."""
        own = self._guests.get(peer, [])
        if guest in own:
            own.remove(guest)
        if not own:
            self._guests.pop(peer, None)
