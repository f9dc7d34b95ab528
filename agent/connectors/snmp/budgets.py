"""Budgets of senders: how many of their datagrams are read. A storm of one costs the others nothing.

Token buckets: each is full at first, and fills at its rate.

* Addresses can be forged, so a storm may come from many configured senders. While the common bucket is less than half
  full, a sender gets the less of it the more it had lately: a quiet sender is read in any storm.
* Messages of version 3 from senders with a user have a common bucket of their own, and an authentic one gives its
  token back: neither a storm of communities nor one of wrong digests costs authentic messages anything.
"""

from __future__ import annotations

from typing import Final

from agent.connectors.snmp import limits

_SCARCE: Final = 0.5
"""Below this share of its burst a common bucket is shared out."""


class _Bucket:
    __slots__ = ("at", "burst", "left", "rate")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self.rate, self.burst, self.left, self.at = rate, burst, burst, now

    def has(self, now: float, reserve: float = 0.0) -> bool:
        self.left = min(self.burst, self.left + (now - self.at) * self.rate)
        self.at = now
        return self.left >= 1.0 + reserve


class _Shared:
    """A common bucket, and how much each sender had of it within the running period."""

    __slots__ = ("_bucket", "_had", "_since")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._bucket = _Bucket(rate, burst, now)
        self._had: dict[str, int] = {}
        self._since = now

    def has(self, sender: str, now: float) -> bool:
        """Return whether a sender may have one more: the first of a period while there is any, later ones less."""
        if now - self._since >= limits.FAIR_S:
            self._had.clear()
            self._since = now
        had = self._had.get(sender, 0)
        return self._bucket.has(now, _SCARCE * self._bucket.burst * (1.0 - 1.0 / (1 + had)))

    def take(self, sender: str) -> None:
        self._bucket.left -= 1.0
        if sender in self._had or len(self._had) < limits.SENDERS_KEPT:
            self._had[sender] = self._had.get(sender, 0) + 1

    def give_back(self, sender: str) -> None:
        self._bucket.left = min(self._bucket.burst, self._bucket.left + 1.0)
        if self._had.get(sender, 0) > 0:
            self._had[sender] -= 1


class Budgets:
    """The budgets of all senders."""

    def __init__(self, now: float) -> None:
        self._communities = _Shared(limits.ALL_RATE, limits.ALL_BURST, now)
        self._users = _Shared(limits.ALL_RATE, limits.ALL_BURST, now)
        self._strangers = _Bucket(limits.STRANGER_RATE, limits.STRANGER_BURST, now)
        self._senders: dict[tuple[str, bool], _Bucket] = {}

    def spend(self, sender: str, now: float, *, known: bool, user: bool = False) -> bool:
        """Return whether a datagram of a sender may be read.

        One that its sender may not spend costs the common budget nothing.

        Args:
            sender: its address.
            now: seconds.
            known: whether it is configured.
            user: whether it is a message of version 3, and the sender has a user.
        """
        own = self._own(sender, user, now) if known else self._strangers
        shared, name = self._users if user else self._communities, sender if known else ""
        if not own.has(now) or not shared.has(name, now):
            return False
        own.left -= 1.0
        shared.take(name)
        return True

    def authentic(self, sender: str) -> None:
        """Give the token of an authentic message back to the common budget; its sender's own rate still bounds it."""
        self._users.give_back(sender)

    def _own(self, sender: str, user: bool, now: float) -> _Bucket:
        place = (sender, user)
        bucket = self._senders.pop(place, None) or _Bucket(limits.SENDER_RATE, limits.SENDER_BURST, now)
        if len(self._senders) >= limits.SENDERS_KEPT:
            del self._senders[next(iter(self._senders))]
        self._senders[place] = bucket
        return bucket
