"""RADIUS with the ways out of its routers: which are read, refused and named, and of whom none is read. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from agent.connectors.base import AccessPlan, CannotEnforce, ClosesGhosts, OnDevices
from agent.connectors.radius.routed_access import RoutedAccess
from agent.connectors.radius.routed_ways import RoutedWays
from agent.connectors.radius.schema import Method
from agent.connectors.radius.schema import SessionKind as Kind
from agent.connectors.routeros.addresses import rows_value
from agent.connectors.routeros.ways_out import Way, way_at
from agent.model import ABSENT, Address, Seen
from tests.agent.connectors.answers import refused
from tests.agent.connectors.radius.routed import (
    DROP,
    HOSTS,
    METHOD,
    RESTORE,
    ROUTERS,
    SERVICE,
    SUSPEND,
    SUSPENDED_ONE,
    Inner,
    seen_of,
)
from tests.agent.connectors.routeros.ways import Rows, closed_ways, way_value

BNG_1, BNG_2 = "routeros/bng-1", "routeros/bng-2"


def made(method: Method = METHOD) -> RoutedWays:
    routed = RoutedAccess(Inner(), method, ROUTERS, HOSTS)  # type: ignore[arg-type]  # Inner has no example
    return RoutedWays(routed, method, ROUTERS, HOSTS)


def seen_with(ways: Mapping[Way, Rows], on: str = BNG_2) -> dict[Address, Seen]:
    """What both routers read where one has these ways open."""
    opened = {way_at(on, way): Seen(way_value(rows), 1) for way, rows in ways.items()}
    return seen_of() | closed_ways(1, BNG_1) | closed_ways(1, BNG_2) | opened


def open_of(found: AccessPlan | CannotEnforce) -> str:
    assert isinstance(found, AccessPlan), found
    return found.display.get("open", "")


def test_every_router_is_read_to_suspend_and_none_to_restore() -> None:
    wanted = {way_at(router, way) for router in (BNG_1, BNG_2) for way in (Way.SERVERS, Way.REDIRECTS)}
    assert {a for a in made().reads(SERVICE, {}) if "/ways/" in a} == wanted
    assert not [a for a in made().reads(SUSPENDED_ONE, {}) if "/ways/" in a]
    hotspot = made(replace(METHOD, sessions=Kind.HOTSPOT))
    assert way_at(BNG_1, Way.WALLED_GARDEN) in hotspot.reads(SERVICE, {})
    assert not [a for a in made().reads(SERVICE, seen_with({})) if "/ways/" in a]


def test_e9_what_router_serves_itself_is_named_with_router() -> None:
    seen = seen_with({Way.SERVERS: {"/ip/socks": [{"enabled": "true"}]}})
    assert open_of(made().plan(SUSPEND, SERVICE, seen)) == (
        "not checked: bng-2: the router's own SOCKS server (chain input is not judged)"
    )
    assert open_of(made().plan(SUSPEND, SERVICE, seen_with({}))) == ""
    assert open_of(made().plan(RESTORE, SUSPENDED_ONE, seen)) == ""


def test_e10_a_redirect_to_an_open_proxy_on_any_router_refuses() -> None:
    nat = {"chain": "dstnat", "action": "redirect", "to-ports": "8080", "src-address-list": "suspended"}
    rows: Rows = {"/ip/proxy": [{"enabled": "true", "port": "8080"}], "/ip/firewall/nat": [nat]}
    found = made().plan(SUSPEND, SERVICE, seen_with({Way.REDIRECTS: rows}))
    assert refused(found, "way-out").startswith("bng-2: redirect 0 of nat")


@pytest.mark.parametrize(("most", "refuses"), [(1 << 24, False), (1000, True)])
def test_e4_a_garden_that_is_a_cdn(most: int, refuses: bool) -> None:
    rules = [{"chain": "forward", "action": "accept", "dst-address-list": "pay"}, DROP]
    seen = seen_with({})
    for router in (BNG_1, BNG_2):
        seen[Address(f"{router}/ip/filter/all")] = Seen(rows_value((str(n), r) for n, r in enumerate(rules)), 1)
        place = {"104.16.0.0/12": "static"} if router == BNG_2 else ABSENT
        seen[Address(f"{router}/ip/members/pay")] = Seen(place, 1)
    found = made(replace(METHOD, garden_most=most)).plan(SUSPEND, SERVICE, seen)
    if refuses:
        refused(found, "way-out", "bng-2: garden list pay holds 1,048,576 addresses")
    else:
        assert open_of(found) == "open: bng-2: garden list pay holds 1,048,576 addresses (rule 0)"


def test_on_one_router_alone_only_its_ways_count() -> None:
    seen = seen_with({Way.SERVERS: {"/ip/socks": [{"enabled": "true"}]}})
    alone = made().on_devices()
    assert open_of(alone[BNG_1].plan(SUSPEND, SERVICE, seen)) == ""
    assert "SOCKS" in open_of(alone[BNG_2].plan(SUSPEND, SERVICE, seen))


def test_it_plays_every_role_of_the_method_that_it_completes() -> None:
    assert isinstance(made(), OnDevices)
    assert isinstance(made(), ClosesGhosts)
    refused(made().close_ghosts(SERVICE, seen_of(), 24), "unsupported")  # Inner keeps no rows
