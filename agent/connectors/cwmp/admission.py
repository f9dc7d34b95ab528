"""Shares of connections, sessions, bytes and work, for strangers and for accepted CPE. Pure.

A peer is a network: an IPv4 address, or a /64 of IPv6, which one customer has whole. A peer that wants more than there
is displaces another one, so that nobody shuts the ACS by holding the free rest:

* `Guests`: of one network, the one that has been silent longest goes; of all, the oldest of the network with most.
* `Holdings`: bytes; the largest holder goes.
* `Allowances`: work, or connections, in time; a peer that used up its own waits.
* `Regulars`: networks that accepted CPE called from. The places of strangers are not theirs.

Many CPE may share one address (carrier-grade NAT), so the shares of an address bind only peers that have not proved to
be an accepted CPE; from then on a CPE has a share by its own name.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from agent.connectors.cwmp import limits

_T = TypeVar("_T", bound=Hashable)


class Guests(Generic[_T]):
    """Connections or sessions of strangers, by network, each with the time of its last activity."""

    def __init__(self, most: int, most_each: int, patience_s: float = 0.0) -> None:
        """Take how many there may be, and how many of one network.

        Args:
            most: at once.
            most_each: of one network, at once.
            patience_s: so long one is left in peace when its own network wants its place.
        """
        self._most, self._most_each, self._patience_s = most, most_each, patience_s
        self._networks: dict[str, OrderedDict[_T, float]] = {}
        self._where: dict[_T, str] = {}

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._where)

    def __contains__(self, guest: _T) -> bool:
        """Tell whether one is among them."""
        return guest in self._where

    def enter(self, guest: _T, network: str, now: float) -> tuple[bool, _T | None]:
        """Let a guest in, or not.

        Returns: whether it is in, and the peers that have to go for it.
        """
        goes: _T | None = None
        own = self._networks.get(network)
        if own is not None and len(own) >= self._most_each:
            goes, at = next(iter(own.items()))
            if now < at + self._patience_s:
                return False, None
        elif len(self) >= self._most:
            goes = self.oldest()
            if goes is None or self._where[goes] == network:
                return False, None
        if goes is not None:
            self.leave(goes)
        self._networks.setdefault(network, OrderedDict())[guest] = now
        self._where[guest] = network
        return True, goes

    def oldest(self) -> _T | None:
        """Return the one that goes first when there are too many: the most silent one of the network with most."""
        if not self._networks:
            return None
        largest: OrderedDict[_T, float] = max(self._networks.values(), key=len)
        return next(iter(largest))

    def seen(self, guest: _T, now: float) -> None:
        """Record the activity of a guest; ignore anybody else."""
        if (network := self._where.get(guest)) is not None:
            own = self._networks[network]
            own[guest] = now
            own.move_to_end(guest)

    def leave(self, guest: _T) -> None:
        """Take note that one is a guest no more, if it was."""
        if (network := self._where.pop(guest, None)) is not None:
            own = self._networks[network]
            del own[guest]
            if not own:
                del self._networks[network]


class Holdings(Generic[_T]):
    """Bytes of bodies in memory, and their holders."""

    def __init__(self, most: int) -> None:
        """Take how many bytes there may be, of all together."""
        self._most, self.total = most, 0
        self._held: dict[_T, int] = {}

    def take(self, holder: _T, size: int) -> list[_T]:
        """Have a holder hold so many bytes more; return the holders that have to go: itself, if it holds most."""
        self._held[holder] = self._held.get(holder, 0) + size
        self.total += size
        go: list[_T] = []
        while self.total > self._most:
            largest = max(self._held, key=self._held.__getitem__)
            self.release(largest)
            go.append(largest)
        return go

    def release(self, holder: _T) -> None:
        """Take note that a holder holds nothing any more."""
        self.total -= self._held.pop(holder, 0)


@dataclass(slots=True)
class _Account:
    left: float
    at: float


class Allowances:
    """Work that each peer may cause: so much at once, and so much in a second after that."""

    def __init__(self, burst: float, per_s: float) -> None:
        """Take a peer's allowance at first, which is the most it can have, and its gain in a second."""
        self._burst, self._per_s = burst, per_s
        self._accounts: OrderedDict[str, _Account] = OrderedDict()

    def wait_s(self, peer: str, now: float) -> float:
        """Return how long a peer has to wait until it may cause work again; 0: not at all."""
        account = self._accounts.get(peer)
        if account is None:
            return 0.0
        left = min(self._burst, account.left + (now - account.at) * self._per_s)
        return max(0.0, -left / self._per_s)

    def spend(self, peer: str, work: float, now: float) -> None:
        """Take note of work that a peer caused; less than 0: it is given back."""
        account = self._accounts.pop(peer, None)
        left = self._burst if account is None else min(self._burst, account.left + (now - account.at) * self._per_s)
        left = min(self._burst, left - work)
        if account is None:
            account = _Account(left, now)
        else:
            account.left, account.at = left, now
        self._accounts[peer] = account
        if len(self._accounts) > limits.PEERS:
            self._accounts.popitem(last=False)


class Regulars:
    """Networks that accepted CPE called from, so many of them: those that did last."""

    def __init__(self, most: int) -> None:
        """Take how many are remembered."""
        self._most = most
        self._networks: OrderedDict[str, None] = OrderedDict()

    def __contains__(self, network: str) -> bool:
        """Tell whether an accepted CPE called from a network."""
        return network in self._networks

    def add(self, network: str) -> None:
        """Take note that an accepted CPE calls from a network."""
        self._networks[network] = None
        self._networks.move_to_end(network)
        if len(self._networks) > self._most:
            self._networks.popitem(last=False)
