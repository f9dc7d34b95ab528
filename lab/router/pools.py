"""Addresses out of /ip/pool, for PPP, DHCP and hotspot. Pure.

MikroTik's manual ("IP Pools"): "Whenever possible, the same ip address is given out to each client (OWNER/INFO pair)."
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator
from typing import Final

from lab.router.firewall import address_range, covers
from lab.router.store import Store

POOLS: Final = "/ip/pool"


class Pools:
    """The pools of one router.

    A pool gives an owner the address that it gave them last, as long as nobody else has it. To a new one it gives the
    free address after the one that it gave last; where all were given once, that is one which others had before.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._last: dict[str, int] = {}
        self._given: dict[tuple[str, str], str] = {}

    def forget(self) -> None:
        """Begin at the first address again, and know no owner, as after a restart."""
        self._last.clear()
        self._given.clear()

    def holds(self, name: str, address: str) -> bool:
        """Tell whether a pool, or one that follows it, has an address."""
        return any(covers(part, address) for _, ranges in self._chain(name) for part in ranges.split(","))

    def take(self, name: str, taken: Callable[[str], bool], owner: str) -> str:
        """Return a free address of a pool, or of those that follow it, and reserve it for an owner; "": there is none.

        `owner`: the receiver, as `/ip/pool/used` tells: `ppp NAME`, `dhcp MAC`.
        """
        before = self._given.get((name, owner), "")
        if before and self.holds(name, before) and not taken(before):
            return before
        found = next(filter(None, (self._free(pool, ranges, taken) for pool, ranges in self._chain(name))), "")
        if found:
            self._given[name, owner] = found
        return found

    def _chain(self, name: str) -> Iterator[tuple[str, str]]:
        seen: set[str] = set()
        while name and name != "none" and name not in seen:
            seen.add(name)
            pool = self._store.named(POOLS, name)
            if pool is None:
                return
            yield name, pool.props.get("ranges", "")
            name = pool.props.get("next-pool", "")

    def _free(self, pool: str, ranges: str, taken: Callable[[str], bool]) -> str:
        spans = [(low, high) for part in ranges.split(",") if (span := address_range(part)) for _, low, high in [span]]
        size = sum(high - low + 1 for low, high in spans)
        start = self._last.get(pool, -1) + 1
        for step in range(size):
            place = (start + step) % size
            address = _nth(spans, place)
            if not taken(address):
                self._last[pool] = place
                return address
        return ""


def _nth(spans: list[tuple[int, int]], place: int) -> str:
    for low, high in spans:
        if place <= high - low:
            return str(ipaddress.IPv4Address(low + place))
        place -= high - low + 1
    raise IndexError(place)
