"""The interfaces that rules mean: the members of interface lists, those of the default routes, and those that lead to
subscribers.

All are read where rules name interfaces, and None stands for doubt.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from ipaddress import ip_address
from typing import Final, Protocol

from agent.connectors.routeros.addresses import networks
from agent.connectors.routeros.arrivals import spelt
from agent.connectors.routeros.matching import ALL_PPP, DYNAMIC, session_of

OUT: Final = frozenset({"out-interface", "out-interface-list", "connection-nat-state"})
"""Matchers for which the ways out are to be known."""
BY_NAME: Final = OUT | {"in-interface", "in-interface-list"}
"""Matchers for which the interface lists are to be known."""
ROUTES_MAX: Final = 500
"""Routes, and own addresses, that are read to find a subscriber's interface: chosen arbitrarily, far below a full table
of the internet."""
_BUILT_IN: Final = frozenset({"all", "none", "dynamic", "static"})
_DEFAULT: Final = {"/ip": ("0.0.0.0/0", "0.0.0.0/1", "128.0.0.0/1"), "/ipv6": ("::/0", "::/1", "8000::/1", "2000::/3")}
"""Destinations of default routes, also of those in two halves, as VPN clients make them."""
_ROUTE: Final = ("dst-address", "gateway", "immediate-gw", "gateway-status", "disabled", "blackhole", "type", "bgp")

_PLACE: Final = ("address", "network", "interface", "actual-interface", "disabled")
_VRF: Final = ("name", "interfaces", "disabled")

Row = Mapping[str, str]


class AsksMenu(Protocol):
    """Prints a menu of one router; no rows where the router has no such menu."""

    async def rows(self, path: str, proplist: Collection[str], *query: str) -> Sequence[Row]:
        """Return the rows that a query chooses; all without one."""
        ...

    async def count(self, path: str, *query: str) -> int:
        """Return how many rows a query chooses."""
        ...


async def lists(router: AsksMenu) -> Mapping[str, frozenset[str]]:
    """Return the interfaces of each list, and as `all-ppp` those that PPP servers always have.

    A list that a PPP profile puts its sessions in has the interface `session_of` it too, and so has one that includes
    it. A list made of built-in ones is left out.
    """
    named = await router.rows("/interface/list", ("name", "include", "exclude"))
    members = await router.rows("/interface/list/member", ("list", "interface", "disabled"))
    profiles = await router.rows("/ppp/profile", ("name", "interface-list"))
    known = await router.rows("/interface", ("name", "type"), "?dynamic=false")
    own: dict[str, set[str]] = {row.get("name", ""): set() for row in named if row.get("name") not in _BUILT_IN}
    for row in members:
        if row.get("disabled") != "true":
            own.setdefault(row.get("list", ""), set()).add(row.get("interface", ""))
    for row in profiles:
        if row.get("interface-list"):
            own.setdefault(row["interface-list"], set()).add(session_of(row["interface-list"]))
    made = {row.get("name", ""): (_words(row, "include"), _words(row, "exclude")) for row in named}
    found = {name: held for name in own if (held := _resolved(name, own, made, ())) is not None}
    fixed = (row.get("name", "") for row in known if row.get("type", "").endswith("-in"))
    return {**found, ALL_PPP: frozenset(name for name in fixed if not name.startswith(DYNAMIC))}


async def ways_out(router: AsksMenu, path: str) -> frozenset[str] | None:
    """Return the interfaces of the default routes of a family; None: some cannot be told, or BGP knows other ways."""
    family = path[: path.index("/", 1)]
    places_of = [f"?dst-address={place}" for place in _DEFAULT[family]]
    found_routes = await router.rows(f"{family}/route", _ROUTE, *places_of, *["?#|"] * (len(places_of) - 1))
    rows = [row for row in found_routes if row.get("disabled") != "true"]
    if await router.count(f"{family}/route", "?bgp=true") > sum(row.get("bgp") == "true" for row in rows):
        return None
    defaults = [row for row in rows if not _goes_nowhere(row)]
    places = await router.rows(f"{family}/address", _PLACE) if defaults else ()
    found = [name for row in defaults for name in _interfaces(row, places)]
    return frozenset(found) if found and all(found) else None


async def routes(router: AsksMenu, path: str) -> Mapping[str, frozenset[str]] | None:
    """Return the interfaces that lead to each network of a family, by its routes and the router's own addresses.

    "" among them: that one cannot be told. None: there are more than `ROUTES_MAX`, or interfaces are in a VRF, for
    which rules name the VRF instead.
    """
    family = path[: path.index("/", 1)]
    vrfs = [*await router.rows("/ip/vrf", _VRF), *await router.rows("/ip/route/vrf", _VRF)]
    if any(row.get("disabled") != "true" and row.get("interfaces", "none") not in ("", "none") for row in vrfs):
        return None
    beside = ("?connect=true", "?#!")  # the connected ones follow from the addresses
    many = await router.count(f"{family}/route", *beside), await router.count(f"{family}/address")
    if max(many) > ROUTES_MAX:
        return None
    places = await router.rows(f"{family}/address", _PLACE)
    found = [
        (place, row.get("actual-interface") or row.get("interface", ""))
        for row in places
        if row.get("disabled") != "true" and (place := _network_of(row))
    ]
    for row in await router.rows(f"{family}/route", (*_ROUTE, "active"), *beside):
        if row.get("disabled") != "true":
            leads = [""] if _goes_nowhere(row) or row.get("active") == "false" else [*_interfaces(row, places)]
            found += [(row.get("dst-address", ""), one) for one in leads or [""]]
    return spelt(found)


def _network_of(place: Row) -> str:
    """Return the network that an own address is on; of a point-to-point one the other end."""
    text, other = place.get("address", ""), place.get("network", "")
    alone = "/" not in text or text.endswith("/32")
    return other if alone and other else str(networks(text)[0]) if networks(text) else ""


def _resolved(
    name: str,
    own: Mapping[str, set[str]],
    made: Mapping[str, tuple[Sequence[str], Sequence[str]]],
    above: tuple[str, ...],
) -> frozenset[str] | None:
    """Return the interfaces of a list; None: they cannot be told.

    First those of the included lists, without those of the excluded ones; then its own members (RouterOS manual,
    "Lists").
    """
    include, exclude = made.get(name, ((), ()))
    if name in above or _BUILT_IN & {*include, *exclude}:
        return None
    held = set[str]()
    for other in include:
        more = _resolved(other, own, made, (*above, name))
        if more is None:
            return None
        held |= more
    for other in exclude:
        less = _resolved(other, own, made, (*above, name))
        if less is None:
            return None
        held -= {one for one in less if not one.startswith(DYNAMIC)}  # another session's, perhaps
    return frozenset(held | own.get(name, set()))


def _words(row: Row, prop: str) -> Sequence[str]:
    return tuple(filter(None, row.get(prop, "").split(",")))


def _goes_nowhere(route: Row) -> bool:
    return ("blackhole" in route and route["blackhole"] != "false") or route.get("type", "unicast") != "unicast"


def _interfaces(route: Row, places: Sequence[Row]) -> Iterator[str]:
    """Yield the interface of each gateway of a route; "": it cannot be told."""
    told = [text for prop in ("immediate-gw", "gateway-status") for text in _words(route, prop)]
    for text in told or _words(route, "gateway"):
        # 192.0.2.1%ether1, `192.0.2.1 reachable via  ether1`, `9.9.9.9 recursive via 192.0.2.1 ether1`,
        # `pppoe-out1 reachable`, pppoe-out1, 192.0.2.1
        via = re.search(r"(?:%| via +)(\S+)(?: +(\S+))?", text)
        gateway = via[2] or via[1] if via else text.split(" ")[0]
        yield _connected(gateway, places) if _is_address(gateway) else gateway


def _connected(gateway: str, places: Sequence[Row]) -> str:
    """Return the interface that has a gateway on its network; "": none has."""
    inside = networks(gateway)
    for place in places:
        net = networks(place.get("address", ""))
        if place.get("disabled") != "true" and net and inside and net[0].overlaps(inside[0]):
            return place.get("interface", "")
    return ""


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
