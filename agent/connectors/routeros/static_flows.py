"""Open connections of fixed addresses, and those of them that pass by the firewall and the queues. Pure.

A fasttracked connection does. All others meet each rule with every packet, so where the rules hold they need no more
proof; and they may be back at once with the same two ends, since somebody outside goes on sending. So only those that
are fasttracked, or do not say that they are not, count: but where a rule accepts connections from before, `Passing`
says which do.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from ipaddress import ip_address

from agent.connectors.routeros.addresses import Network, RouterResource, address, parse, rows_of
from agent.connectors.routeros.flows import passes as passes_by
from agent.connectors.routeros.static_addresses import family_of, spelt
from agent.model import Address, Seen, Value

Passing = Callable[[Network, Value], tuple[Collection[str], bool]]
"""Returns the keys of an address' connections that pass by the rules; and whether those of after a cut count too."""


def flows_of(target: str, one: Network) -> Address:
    """Return the address of the connections from and to an address or prefix."""
    return address(target, family_of(one).flows, spelt(one))


@dataclass(frozen=True, slots=True)
class Open:
    """Open connections: `many` in all; `loose` pass by, `left` of them known to be from before, `of` these owners."""

    many: int
    loose: frozenset[Address]
    left: frozenset[Address]
    of: tuple[Address, ...]


def fasttracked(_: Network, connections: Value) -> tuple[Collection[str], bool]:
    """Return the keys of connections that FastTrack took: those of before a cut count."""
    return [key for key, row in rows_of(connections).items() if passes_by(row)], False


def open_now(
    target: str,
    mine: Collection[Network],
    seen: Mapping[Address, Seen],
    ended: Collection[Address] = (),
    passing: Passing = fasttracked,
) -> Open:
    """Return the open connections of the addresses that were read.

    Args:
        target: the router's id.
        mine: a subscriber's addresses.
        seen: the values read.
        ended: the connections that were set out to be cut. A loose one of an address of which nothing is among them
            counts as from before: it may be that they could not be told, since there are too many.
        passing: which connections pass.
    """
    many, loose, left, of = 0, set[Address](), set[Address](), list[Address]()
    for one in mine:
        where, flow = flows_of(target, one), family_of(one).flow
        if where not in seen:
            continue
        many += len(rows_of(seen[where].value))
        keys, later = passing(one, seen[where].value)
        passes = {address(target, flow, key) for key in keys}
        known = not later and any(_is_of(target, flow, one, end) for end in ended)
        loose |= passes
        stays = passes.intersection(ended) if known else passes
        left |= stays
        of += [where] if stays else []
    return Open(many, frozenset(loose), frozenset(left), tuple(of))


def _is_of(target: str, flow: RouterResource, one: Network, ended: Address) -> bool:
    """Tell whether a connection, known by its key alone, has an end among the addresses."""
    resource, key = parse(target, ended) or (None, "")
    return resource is flow and any(_inside(one, end.rpartition(":")[0]) for end in key.split(" ")[1:])


def _inside(one: Network, text: str) -> bool:
    try:
        return ip_address(text) in one
    except ValueError:
        return False
