"""Where a subscriber without a session comes in: by its route, or not known."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_network

import pytest

from agent.connectors.routeros.arrivals import arriving, interface_to
from agent.connectors.routeros.firewall import KeptIn, LetOut, keeps_in
from agent.connectors.routeros.interfaces import ROUTES_MAX, routes, ways_out
from agent.connectors.routeros.matching import PPP, Confined, Ruleset
from tests.agent.connectors.routeros.fakes import Menus

Row = Mapping[str, str]
LISTED = frozenset({"suspended"})
HOST = Confined(LISTED, ("192.0.2.7",))
DROP = {"chain": "forward", "action": "drop", "src-address-list": "suspended"}
OTHER = {"chain": "forward", "action": "accept", "in-interface": "ether3"}


@pytest.mark.parametrize(
    ("known", "network", "expected"),
    [
        ({"192.0.2.0/24": {"ether5"}}, "192.0.2.7/32", "ether5"),
        ({"192.0.2.0/24": {"ether5"}, "192.0.2.7": {"tunnel1"}}, "192.0.2.7/32", "tunnel1"),
        ({"192.0.2.0/24": {"ether5", "ether6"}}, "192.0.2.7/32", ""),
        ({"192.0.2.0/24": {"ether5"}, "192.0.0.0/16": {"ether6"}}, "192.0.2.7/32", "ether5"),
        ({"192.0.2.0/24": {"ether5"}, "192.0.2.64/26": {"ether6"}}, "192.0.2.0/24", ""),
        ({"192.0.2.0/24": {"ether5"}, "192.0.2.64/26": {"ether5"}}, "192.0.2.0/24", "ether5"),
        ({"0.0.0.0/0": {"ether1"}}, "192.0.2.7/32", ""),
        ({"0.0.0.0/0": {"ether1"}, "192.0.2.0/24": {""}}, "192.0.2.7/32", ""),
        ({"2001:db8:7::/48": {"ether5"}}, "2001:db8:7:100::/56", "ether5"),
        ({"2001:db8:7::/48": {"ether5"}}, "192.0.2.7/32", ""),
        ({"pay.example": {"ether5"}}, "192.0.2.7/32", ""),
    ],
)
def test_the_longest_route_leads_to_a_subscriber(known: dict[str, set[str]], network: str, expected: str) -> None:
    assert interface_to(known, ip_network(network)) == expected


def test_a_rule_of_another_interface_is_not_about_a_known_route() -> None:
    lead = {"192.0.2.0/24": frozenset({"ether5"})}
    assert isinstance(keeps_in(Ruleset([OTHER, DROP]), HOST), LetOut)
    assert isinstance(keeps_in(Ruleset([OTHER, DROP], routes=lead), HOST), KeptIn)
    assert isinstance(keeps_in(Ruleset([{**OTHER, "in-interface": "ether5"}, DROP], routes=lead), HOST), LetOut)
    of_lan = [{**DROP, "in-interface-list": "LAN"}]
    for held, kept in (({"ether5"}, True), ({"ether6"}, False)):
        found = keeps_in(Ruleset(of_lan, interface_lists={"LAN": frozenset(held)}, routes=lead), HOST)
        assert isinstance(found, KeptIn) is kept
    two = Confined(LISTED, ("192.0.2.7", "198.18.0.7"))
    assert isinstance(keeps_in(Ruleset([OTHER, DROP], routes=lead), two), LetOut)


def test_what_comes_in_without_an_address_is_left_as_it_is() -> None:
    lead = {"192.0.2.0/24": frozenset({"ether5"})}
    for one in (Confined(LISTED, ("192.0.2.7",), PPP), Confined(LISTED)):
        assert arriving(Ruleset([OTHER], routes=lead), one) == one
    assert arriving(Ruleset([DROP], routes=lead), HOST) == HOST  # no rule asks
    assert arriving(Ruleset([OTHER]), HOST) == HOST


class Router(Menus):
    """The menus of a router that counts its routes as it is told."""

    def __init__(self, menus: Mapping[str, list[Row]], many: int = 0) -> None:
        super().__init__(menus)
        self._many = many

    async def count(self, path: str, *query: str) -> int:
        return 0 if "?bgp=true" in query else self._many or await super().count(path, *query)


ADDRESSES = [
    {"address": "192.0.2.1/24", "network": "192.0.2.0", "interface": "ether5", "actual-interface": "bridge1"},
    {"address": "203.0.113.2/30", "network": "203.0.113.0", "interface": "ether1"},
    {"address": "100.64.0.1/32", "network": "100.64.3.9", "interface": "<pppoe-bob>"},
    {"address": "198.18.0.1/24", "network": "198.18.0.0", "interface": "ether9", "disabled": "true"},
]


async def test_routes_are_those_of_own_addresses_and_of_gateways() -> None:
    table = [
        {"dst-address": "10.7.0.0/16", "gateway": "192.0.2.9"},
        {"dst-address": "10.8.0.0/16", "gateway": "192.0.2.9", "immediate-gw": "192.0.2.9%bridge1"},
        {"dst-address": "10.9.0.0/16", "gateway": "gre1", "active": "false"},
        {"dst-address": "10.10.0.0/16", "blackhole": "true"},
        {"dst-address": "10.11.0.0/16", "gateway": "gre1", "disabled": "true"},
    ]
    found = await routes(Router({"/ip/address": ADDRESSES, "/ip/route": table}), "/ip/firewall/filter")
    assert found == {
        "192.0.2.0/24": {"bridge1"},
        "203.0.113.0/30": {"ether1"},
        "100.64.3.9": {"<pppoe-bob>"},
        "10.7.0.0/16": {"ether5"},
        "10.8.0.0/16": {"bridge1"},
        "10.9.0.0/16": {""},
        "10.10.0.0/16": {""},
    }


async def test_with_a_full_table_or_a_vrf_no_route_is_known() -> None:
    many = Router({"/ip/address": ADDRESSES}, ROUTES_MAX + 1)
    assert await routes(many, "/ip/firewall/filter") is None
    for path in ("/ip/vrf", "/ip/route/vrf"):
        row = {"name": "garden", "interfaces": "ether5"}
        assert await routes(Router({"/ip/address": ADDRESSES, path: [row]}), "/ip/firewall/filter") is None
        none = Router({"/ip/address": ADDRESSES, path: [{"name": "main", "interfaces": "none"}]})
        assert await routes(none, "/ip/firewall/filter")


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({"gateway-status": "203.0.113.1 reachable via  ether1"}, "ether1"),
        ({"gateway-status": "9.9.9.9 recursive via 203.0.113.1 ether1"}, "ether1"),
        ({"gateway-status": "9.9.9.9 recursive via 203.0.113.1"}, "ether1"),
        ({"gateway-status": "pppoe-out1 reachable"}, "pppoe-out1"),
        ({"immediate-gw": "203.0.113.1%ether1", "gateway": "9.9.9.9"}, "ether1"),
        ({"immediate-gw": "pppoe-out1", "gateway": "pppoe-out1"}, "pppoe-out1"),
        ({"gateway": "203.0.113.1"}, "ether1"),
        ({"gateway": "fe80::1%ether1"}, "ether1"),
    ],
)
async def test_the_way_out_of_a_recursive_route_is_an_interface(told: Row, expected: str) -> None:
    """Release 6 tells the next hop's address before its interface: that address once passed for the way out."""
    menus = {"/ip/address": ADDRESSES, "/ip/route": [{"dst-address": "0.0.0.0/0", **told}]}
    assert await ways_out(Router(menus), "/ip/firewall/filter") == {expected}
