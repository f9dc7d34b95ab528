"""How a router is asked for the connections of a few addresses, by its API's query words. Pure.

A connection's ends are printed with their ports, `src-address=100.64.12.9:50000` (RouterOS 6, and 7 as far as seen),
or without. A query word compares a whole property, and there is no regular expression (manual, "API", Queries). But `<`
and `>` compare texts: its own example asks for comments that are greater than nothing (`?>comment=`). All ends that
begin with `100.64.12.9:` lie between `100.64.12.9:` and `100.64.12.9;`.

That ends are compared as texts is not known of any real router. So each question also asks for connections that must be
there: those of the API sessions themselves. Where none comes, the answer proves nothing, and the whole table is read.

Addresses of IPv6 are taken to be written as RFC 5952 says, with brackets where a port follows, or without. Which run of
zeros is left out depends on the rest of an address, so each way is asked for in which those of a network may begin. The
API session may have no connection there: so it is counted first whether all ends of the table begin as an address may
(`BEGINNINGS_6`), and none otherwise.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from ipaddress import IPv6Network
from itertools import takewhile
from typing import Final

from agent.connectors.routeros.addresses import networks

SIDES: Final = ("src-address", "dst-address", "reply-src-address")
"""Ends by which a connection is a subscriber's: its opener's, or its destination's, behind a dst-nat too."""
EACH_MAX: Final = 8
"""Addresses of a network that are asked for one by one; a larger one is asked for by the beginnings of its addresses.
"""
_SHORTEST: Final = {4: 8, 6: 32}
"""Networks up to so large are asked for, by IP version: a larger one has too little in common."""
PLACES_MAX: Final = {4: 32, 6: 8}
"""Addresses in one question, by IP version, and so in one walk of the router through its table; chosen arbitrarily."""
BEGINNINGS_6: Final = (("0", ";"), ("a", "g"), ("[", "\\"))
"""Runs of texts that an IPv6 address begins with: a digit or colon, a letter, a bracket. First, and the one behind."""
_NO_BEGINNING: Final = ("g", "~")


def can_be_asked(place: str, version: int = 4) -> bool:
    """Tell whether connections of an address or network of that IP version can be asked for."""
    found = networks(place)
    return bool(found) and all(one.version == version and one.prefixlen >= _SHORTEST[version] for one in found)


def words_of(places: Collection[str], known: Collection[str]) -> list[str]:
    """Return the query words that ask for the connections of addresses or networks, and for those that must be there.

    Args:
        places: addresses and networks; the answer may have more than theirs.
        known: addresses from which API sessions are open.
    """
    words: list[str] = []
    many = 0
    for start in sorted({start for place in places for start in _starts(place, 6)}):
        for side in SIDES:
            words += [f"?{side}={start}", *_between(side, start), "?#|", *_between(side, f"[{start}"), "?#|"]
            many += 1
    for start in sorted({start for place in places for start in _starts(place, 4)}):
        for side in SIDES:
            words += [*([f"?{side}={start[:-1]}", *_between(side, start), "?#|"] if start.endswith(":") else ())]
            words += () if start.endswith(":") else _between(side, start)
            many += 1
    for place in sorted(known):
        words += [*_between("src-address", f"{place}:"), "?protocol=tcp", "?#&"]
        many += 1
    return words + ["?#|"] * (many - 1)


def counted_words(*, outside: bool = False, never: bool = False) -> list[str]:
    """Return the query words that count connections by how their opener's IPv6 address begins.

    Args:
        outside: those that begin with anything else than an address may.
        never: those that begin as no address does.
    """
    if never:
        return _run("src-address", *_NO_BEGINNING)
    words = [word for first, behind in BEGINNINGS_6 for word in _run("src-address", first, behind)]
    return [*words, *["?#|"] * (len(BEGINNINGS_6) - 1), *(["?#!"] if outside else [])]


def ids_words(ids: Collection[str]) -> list[str]:
    """Return the query words that ask for rows by their `.id`."""
    return [*(f"?.id={id_}" for id_ in ids), *["?#|"] * (len(ids) - 1)]


def _between(side: str, start: str) -> list[str]:
    """Return the words that ask for ends that begin so."""
    return _run(side, start, f"{start[:-1]}{chr(ord(start[-1]) + 1)}")


def _run(side: str, first: str, behind: str) -> list[str]:
    return [f"?>{side}={first}", f"?<{side}={behind}", "?#&"]


def _starts(place: str, version: int) -> Iterator[str]:
    """Return the beginnings of the ends of an address or network: `100.64.12.9:`, or `100.64.12.` of a larger one."""
    for network in networks(place):
        if network.version != version:
            continue
        if isinstance(network, IPv6Network):
            yield from _starts_6(network)
        elif network.num_addresses <= EACH_MAX:
            yield from (f"{one}:" for one in network)
        else:
            octets = str(network.network_address).split(".")
            yield ".".join(octets[: network.prefixlen // 8]) + "."


def _starts_6(network: IPv6Network) -> Iterator[str]:
    """Return the beginnings that addresses of a network may have: with its zeros, and without each run of them."""
    whole, rest = divmod(network.prefixlen, 16)
    numbers = [int(network.network_address) >> 112 - 16 * n & 0xFFFF for n in range(8)]
    fixed = [f"{number:x}" for number in numbers[:whole]]
    tail = "" if whole == 8 else f":{_common(numbers[whole], rest)}"
    yield ":".join(fixed) + tail
    start = 0
    while start < whole:
        end = start
        while end < whole and not numbers[end]:
            end += 1
        if end > start:
            behind = f"{':'.join(fixed[end:])}{tail}" if end < whole else ""
            yield f"{':'.join(fixed[:start])}::{behind}"
        start = end + 1


def _common(number: int, bits: int) -> str:
    """Return the common digits of all groups of a network that have the first `bits` of a number."""
    last = number | 0xFFFF >> bits
    if not number or not bits or len(f"{number:x}") != len(f"{last:x}"):
        return ""
    alike = takewhile(lambda pair: pair[0] == pair[1], zip(f"{number:x}", f"{last:x}", strict=True))
    return "".join(digit for digit, _ in alike)
