"""Values that follow the lab's clock, in seconds: counters that grow, numbers that fade, uptime. Pure."""

from __future__ import annotations

from typing import Final

from lab.snmp import values
from lab.snmp.values import COUNTER64, Value

_TICKS: Final = 1 << 32


class Growing:
    """A counter that grows by a rate and wraps at its width."""

    __slots__ = ("_at", "_base", "_wrap", "rate_per_s", "tag")

    def __init__(self, tag: int, value: int, rate_per_s: float, now: float) -> None:
        self.tag = tag
        self.rate_per_s = rate_per_s
        self._wrap = 1 << (64 if tag == COUNTER64 else 32)
        self._base, self._at = float(value), now
        self.put(value, now)

    def put(self, value: int, now: float) -> None:
        """Let it go on from a value."""
        self._base, self._at = value, now

    def change_rate(self, rate_per_s: float, now: float) -> None:
        """Let it grow faster or slower from now on."""
        self.put(self.count(now), now)
        self.rate_per_s = rate_per_s

    def count(self, now: float) -> int:
        """Return the count at a time."""
        return (int(self._base) + int(self.rate_per_s * max(0.0, now - self._at))) % self._wrap

    def near_wrap(self, now: float, within_s: float) -> None:
        """Put it so close to its end that it wraps within so many seconds (at once where it stands still)."""
        self.put(self._wrap - 1 - int(self.rate_per_s * within_s), now)

    def __call__(self, now: float) -> Value:
        return values.number(self.tag, self.count(now))


class Uptime:
    """Hundredths of a second since a moment; wraps after 497 days, as sysUpTime does."""

    __slots__ = ("since",)

    def __init__(self, since: float) -> None:
        self.since = since

    def ticks(self, now: float) -> int:
        """Return the count at a time."""
        return int(max(0.0, now - self.since) * 100) % _TICKS

    def __call__(self, now: float) -> Value:
        return values.ticks(self.ticks(now))


class Fading:
    """A number that goes evenly from one value to another, and stays there."""

    __slots__ = ("_first", "_last", "_over_s", "_start", "tag")

    def __init__(self, tag: int, first: int, last: int, start: float, over_s: float) -> None:
        self.tag = tag
        self._first, self._last, self._start, self._over_s = first, last, start, over_s

    def __call__(self, now: float) -> Value:
        share = 1.0 if self._over_s <= 0 else min(1.0, max(0.0, (now - self._start) / self._over_s))
        return values.number(self.tag, round(self._first + (self._last - self._first) * share))
