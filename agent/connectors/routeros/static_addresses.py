"""A subscriber's fixed addresses, as a login says them, and whether they are theirs for good. Pure.

A pool's address is somebody else's after a redial: an address-list entry on it would hold back the wrong household. So
an address in a range of a pool, or that somebody has by a session or a dynamic lease now, is none to write an entry of.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Final

from agent.connectors.base import CannotEnforce
from agent.connectors.routeros.addresses import ALL, Network, RouterResource, address, networks, texts_of
from agent.connectors.routeros.reasons import RouterReason
from agent.connectors.routeros.values import RouterKind, normalize
from agent.model import Address, Seen

ADDRESSES_MAX: Final = 16
"""Addresses and prefixes of one subscriber; chosen arbitrarily, so that one suspension stays a few rows."""

_WIDEST: Final = {4: 24, 6: 32}
"""The shortest prefix of one subscriber, by IP version: a typing error must not hold back a town."""


@dataclass(frozen=True, slots=True)
class Family:
    """IPv4 or IPv6 on a router: the menus that are read and written for it."""

    version: int
    entry: RouterResource
    members: RouterResource
    listed: RouterResource
    rules: RouterResource
    flows: RouterResource
    flow: RouterResource
    pools: RouterResource
    held: RouterResource


FAMILIES: Final[Mapping[int, Family]] = {
    4: Family(
        4,
        RouterResource.LIST,
        RouterResource.MEMBERS,
        RouterResource.LISTED,
        RouterResource.FILTER,
        RouterResource.FLOWS,
        RouterResource.FLOW,
        RouterResource.POOLS,
        RouterResource.HELD,
    ),
    6: Family(
        6,
        RouterResource.LIST6,
        RouterResource.MEMBERS6,
        RouterResource.LISTED6,
        RouterResource.FILTER6,
        RouterResource.FLOWS6,
        RouterResource.FLOW6,
        RouterResource.POOLS6,
        RouterResource.HELD6,
    ),
}


def addresses_of(login: str) -> tuple[Network, ...] | CannotEnforce:
    """Return the addresses and prefixes of a login, `192.0.2.7,2001:db8:7::/56`, in its order; or why it has none."""
    texts = [text.strip() for text in login.split(",")]
    if len(texts) > ADDRESSES_MAX:
        return _refuse(f"expected at most {ADDRESSES_MAX} addresses, got {len(texts)}")
    found: list[Network] = []
    for text in texts:
        one = _network(text)
        if isinstance(one, CannotEnforce):
            return one
        if any(one.overlaps(other) for other in found):
            return _refuse(f"{spelt(one)} is in another of its addresses")
        found.append(one)
    return tuple(found)


def _network(text: str) -> Network | CannotEnforce:
    try:
        # Strictly: 192.0.2.7/24 may be meant as one address, and would be the whole neighborhood
        found = ip_network(text)
    except ValueError:
        return _refuse(f"expected addresses or prefixes such as 192.0.2.7 or 2001:db8:7::/56, got {text[:64]!r}")
    if found.prefixlen < _WIDEST[found.version]:
        return _refuse(f"{found} is wider than one subscriber's /{_WIDEST[found.version]}")
    if found.is_multicast or found.is_loopback or found.is_unspecified or found.is_link_local:
        return _refuse(f"{found} is no subscriber's address")
    return found


def _refuse(detail: str) -> CannotEnforce:
    return CannotEnforce(RouterReason.NOT_AN_ADDRESS, f"its login: {detail}")


def spelt(one: Network) -> str:
    """Return an address or prefix as RouterOS' address lists write it: `192.0.2.7`, `2001:db8::1/128`."""
    return normalize(RouterKind.RANGE, str(one))


def families(mine: Collection[Network]) -> list[Family]:
    """Return the families that the addresses are of."""
    versions = {one.version for one in mine}
    return [family for version, family in FAMILIES.items() if version in versions]


def family_of(one: Network) -> Family:
    """Return the family of an address or prefix."""
    return FAMILIES[one.version]


def of_family(family: Family, mine: Collection[Network]) -> list[Network]:
    """Return the addresses that are of a family."""
    return [one for one in mine if one.version == family.version]


def refuse_moving(target: str, mine: Collection[Network], seen: Mapping[Address, Seen]) -> CannotEnforce | None:
    """Refuse addresses of which one is in a pool, or somebody's for a while."""
    for family in families(mine):
        own = of_family(family, mine)
        for name, ranges in texts_of(seen[address(target, family.pools, ALL)].value).items():
            if hit := _touched(own, ranges.split(",")):
                why = f"{spelt(hit)} is in pool {name}: after a redial it is somebody else's"
                return CannotEnforce(RouterReason.POOL_ADDRESS, why)
        held = texts_of(seen[address(target, family.held, ALL)].value)
        # An address alone is looked up: thousands may be held, and hundreds are asked for at once
        whole = all(one.num_addresses == 1 for one in own)
        among = [text for text in held if "/" in text or not whole]
        among += [text for text in map(str, (one.network_address for one in own)) if text in held]
        for text in among:
            if hit := _touched(own, (text,)):
                why = f"{spelt(hit)} is given out now, by a {held[text]}: after a redial it is somebody else's"
                return CannotEnforce(RouterReason.POOL_ADDRESS, why)
    return None


def _touched(own: Collection[Network], texts: Collection[str]) -> Network | None:
    return next((one for text in texts for other in networks(text) for one in own if one.overlaps(other)), None)
