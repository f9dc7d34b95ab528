"""How a router is asked for the connections of a few addresses, by its API's query words. Pure.

A connection's ends are printed with their ports, `src-address=100.64.12.9:50000` (RouterOS 6, and 7 in what was seen),
or without. A query word compares a whole property, and there is no regular expression (manual, "API", Queries). But `<`
and `>` compare texts: its own example asks for comments that are greater than nothing (`?>comment=`). All ends that
begin with `100.64.12.9:` lie between `100.64.12.9:` and `100.64.12.9;`.

That ends are compared as texts is not known of any real router. So each question also asks for connections that must be
there: those of the API sessions themselves. Where none comes, the answer proves nothing, and the whole table is read.
IPv6 addresses are written in too many ways for it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from ipaddress import IPv4Network
from typing import Final

from agent.connectors.routeros.addresses import networks

SIDES: Final = ("src-address", "dst-address", "reply-src-address")
"""Ends by which a connection is a subscriber's: its opener's, or what it was opened to, behind a dst-nat too."""
EACH_MAX: Final = 8
"""Addresses of a network that are asked for one by one; a larger one is asked for by what its addresses begin with."""
_SHORTEST: Final = 8
"""Networks up to so large are asked for: a larger one has not even its first number in common."""
PLACES_MAX: Final = 32
"""Addresses in one question, and so in one walk of the router through its table; chosen arbitrarily."""


def can_be_asked(place: str) -> bool:
    """Tell whether connections of an address or network can be asked for."""
    found = networks(place)
    return bool(found) and all(isinstance(one, IPv4Network) and one.prefixlen >= _SHORTEST for one in found)


def words_of(places: Collection[str], known: Collection[str]) -> list[str]:
    """Return the query words that ask for the connections of addresses or networks, and for those that must be there.

    Args:
        places: addresses and networks of IPv4; the answer may have more than theirs.
        known: addresses from which API sessions are open.
    """
    words: list[str] = []
    many = 0
    for start in sorted({start for place in places for start in _starts(place)}):
        for side in SIDES:
            words += [*([f"?{side}={start[:-1]}", *_between(side, start), "?#|"] if start.endswith(":") else ())]
            words += () if start.endswith(":") else _between(side, start)
            many += 1
    for place in sorted(known):
        words += [*_between("src-address", f"{place}:"), "?protocol=tcp", "?#&"]
        many += 1
    return words + ["?#|"] * (many - 1)


def ids_words(ids: Collection[str]) -> list[str]:
    """Return the query words that ask for rows by their `.id`."""
    return [*(f"?.id={id_}" for id_ in ids), *["?#|"] * (len(ids) - 1)]


def _between(side: str, start: str) -> list[str]:
    """Return the words that ask for ends that begin so."""
    return [f"?>{side}={start}", f"?<{side}={start[:-1]}{chr(ord(start[-1]) + 1)}", "?#&"]


def _starts(place: str) -> Iterator[str]:
    """Return what the ends of an address or network begin with: `100.64.12.9:`, or `100.64.12.` of a larger one."""
    for network in networks(place):
        if network.num_addresses <= EACH_MAX:
            yield from (f"{one}:" for one in network)
        else:
            octets = str(network.network_address).split(".")
            yield ".".join(octets[: network.prefixlen // 8]) + "."
