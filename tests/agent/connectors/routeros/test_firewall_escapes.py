"""Ways past the judge that an auditor found: each was called kept in, and let packets out, or took minutes."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from agent.connectors.routeros.firewall import KeptIn, LetOut, keeps_in
from agent.connectors.routeros.interfaces import lists
from agent.connectors.routeros.matching import HELD, PPP, Confined, Ruleset, session_of
from agent.connectors.routeros.rulesets import ruleset_of, ruleset_value
from tests.agent.connectors.routeros.fakes import Menus, Row

LISTED = Confined(frozenset(("suspended",)), ("10.255.0.0/22",), PPP)
WAYS = frozenset(("ether1",))


def rule(action: str, **more: str) -> Row:
    chain = more.pop("chain", "forward")
    return {"chain": chain, "action": action, **{name.replace("_", "-"): text for name, text in more.items()}}


DROP = rule("drop", src_address_list="suspended")


@pytest.mark.parametrize("kind", ["all-ethernet", "all-vlan", "all-wireless", "all-ppp"])
def test_all_interfaces_of_a_kind_may_be_a_way_out(kind: str) -> None:
    rules = [rule("accept", out_interface=kind), DROP]
    assert isinstance(keeps_in(Ruleset(rules, ways_out=WAYS), LISTED), LetOut)
    only = [rule("drop", src_address_list="suspended", out_interface=f"!{kind}")]
    assert isinstance(keeps_in(Ruleset(only, ways_out=WAYS), LISTED), LetOut)
    jump = [rule("jump", jump_target="inet", out_interface=kind), rule("accept", chain="inet"), DROP]
    assert isinstance(keeps_in(Ruleset(jump, ways_out=WAYS), LISTED), LetOut)


def test_all_ethernet_may_be_where_a_sessionless_one_comes_in() -> None:
    rules = [rule("accept", in_interface="all-ethernet"), DROP]
    for interface in ("", "vlan10", "ether2"):
        found = keeps_in(Ruleset(rules, ways_out=WAYS), Confined(LISTED.lists, LISTED.addresses, interface))
        assert isinstance(found, LetOut)
    assert isinstance(keeps_in(Ruleset(rules, ways_out=WAYS), LISTED), KeptIn)  # a session is no ethernet interface


def test_places_that_are_the_internet_together_are_no_places() -> None:
    pieces = [rule("accept", dst_address=f"{n}.0.0.0/8") for n in range(1, 224)]
    assert isinstance(keeps_in(Ruleset([*pieces, DROP]), LISTED), LetOut)
    assert isinstance(keeps_in(Ruleset([pieces[7], DROP]), LISTED), KeptIn)
    others = [{**one, "src-address": "192.0.2.1"} for one in pieces]
    assert isinstance(keeps_in(Ruleset([*others, DROP]), LISTED), KeptIn)


def halves(*, read: bool) -> tuple[list[Row], dict[str, dict[str, str]]]:
    """Return accepts to lists that hold a fourth of the limit each, and two more that hold it together."""
    names = [f"part{n}" for n in range(5)]
    rules = [rule("accept", dst_address_list=name) for name in names]
    if not read:
        rules = [{**one, HELD: f"{2**22} 0"} for one in rules]
    return rules, {name: {f"{n + 11}.0.0.0/10": "static"} for n, name in enumerate(names)} if read else {}


@pytest.mark.parametrize("read", [True, False], ids=["entries", "sizes"])
def test_lists_that_are_the_internet_together_are_no_places(read: bool) -> None:
    """Each alone is below the limit; whoever reads the rules tells the size of a list that is a destination only."""
    rules, members = halves(read=read)
    assert isinstance(keeps_in(Ruleset([*rules[:4], DROP], members=members), LISTED), KeptIn)
    assert isinstance(keeps_in(Ruleset([*rules, DROP], members=members), LISTED), LetOut)
    again = [*rules[:4], rules[0], DROP]  # the same list twice is no more
    assert isinstance(keeps_in(Ruleset(again, members=members), LISTED), KeptIn)
    beside = [*rules[:4], rule("accept", dst_address="203.0.113.0/24"), DROP]
    assert isinstance(keeps_in(Ruleset(beside, members=members), LISTED), LetOut)
    others = [{**one, "src-address": "192.0.2.1"} for one in rules]
    assert isinstance(keeps_in(Ruleset([*others, DROP], members=members), LISTED), KeptIn)
    but = [rule("drop", src_address_list="suspended", dst_address_list=f"!{one['dst-address-list']}") for one in rules]
    with_size = [one | ({} if read else {HELD: f"{2**22} 0"}) for one in but]
    assert isinstance(keeps_in(Ruleset(with_size, members=members), LISTED), LetOut)


TUNNELS = {"none": (), "an office": ("10.77.0.0/16",), "all of it": ("0.0.0.0/0",), "not read": None}


@pytest.mark.parametrize(
    ("matcher", "kept"),
    [
        ("out,ipsec", {"none", "an office"}),
        ("in,ipsec", {"none", "an office", "all of it"}),
        ("out,none", set()),
        ("in,none", set()),
    ],
)
def test_an_ipsec_accept_is_passed_over_without_a_tunnel_out(matcher: str, kept: set[str]) -> None:
    for name, places in TUNNELS.items():
        tunnels = None if places is None else frozenset(places)
        rules = [rule("accept", ipsec_policy=matcher), DROP]
        found = keeps_in(Ruleset(rules, tunnels=tunnels), LISTED)
        assert isinstance(found, KeptIn) is (name in kept), (name, found)


def test_a_drop_of_all_but_ipsec_holds_without_a_tunnel_out() -> None:
    for way in ("out", "in"):
        only = [rule("drop", src_address_list="suspended", ipsec_policy=f"{way},none")]
        assert isinstance(keeps_in(Ruleset(only, tunnels=frozenset(("10.77.0.0/16",))), LISTED), KeptIn)
        assert isinstance(keeps_in(Ruleset(only), LISTED), LetOut)
    out = [rule("drop", src_address_list="suspended", ipsec_policy="out,none")]
    assert isinstance(keeps_in(Ruleset(out, tunnels=frozenset(("0.0.0.0/0",))), LISTED), LetOut)


def test_who_may_come_by_a_tunnel_is_let_out_by_ipsecs_accept() -> None:
    """A subscriber without a session may be behind the other end."""
    rules = [rule("accept", ipsec_policy="in,ipsec"), DROP]
    behind, beside = (frozenset((place,)) for place in ("10.255.0.0/16", "10.77.0.0/16"))
    fixed = Confined(LISTED.lists, LISTED.addresses)
    assert isinstance(keeps_in(Ruleset(rules, tunnels=behind), fixed), LetOut)
    assert isinstance(keeps_in(Ruleset(rules, tunnels=beside), fixed), KeptIn)
    assert isinstance(
        keeps_in(Ruleset(rules, tunnels=beside), Confined(LISTED.lists)), LetOut
    )  # where it is, who knows
    assert isinstance(keeps_in(Ruleset(rules, tunnels=behind), LISTED), KeptIn)  # a session comes in by its own


@pytest.mark.parametrize("place", ["64:ff9b::/96", "64:ff9b:1::/48", "64:ff9b::808:0/112", "2001::/32"])
def test_where_ipv4_is_reached_through_ipv6_is_no_place(place: str) -> None:
    pool = Confined((), ("2001:db8:ff00::/40",), PPP)  # type: ignore[arg-type]  # no list: an empty tuple does as well
    drop = rule("drop", src_address="2001:db8:ff00::/40")
    assert isinstance(keeps_in(Ruleset([rule("accept", dst_address=place), drop]), pool), LetOut)
    assert isinstance(keeps_in(Ruleset([{**drop, "dst-address": f"!{place}"}]), pool), LetOut)


def test_all_that_ipv6_routes_is_everything() -> None:
    pool = Confined(frozenset(), ("2001:db8:ff00::/40",), PPP)
    assert isinstance(
        keeps_in(Ruleset([rule("drop", src_address="2001:db8:ff00::/40", dst_address="2000::/3")]), pool), KeptIn
    )


def test_a_list_that_another_table_fills_is_not_known() -> None:
    for name, way in (("iptv", {"dst_address_list": "iptv"}), ("knocked", {"src_address_list": "knocked"})):
        rules = [rule("accept", **way), DROP]
        members: Mapping[str, Mapping[str, str]] = {"iptv": {}, "knocked": {"192.0.2.9": "static"}}
        assert isinstance(keeps_in(Ruleset(rules, members=members), LISTED), KeptIn)
        filled = Ruleset(rules, members=members, filled=frozenset((name,)))
        assert isinstance(keeps_in(filled, LISTED), LetOut)
        assert ruleset_of(ruleset_value(filled)).filled == {name}


async def test_members_of_a_list_stay_where_another_list_is_excluded() -> None:
    found = await lists(
        Menus(
            {
                "/interface/list": [
                    {"name": "LAN"},
                    {"name": "WAN", "exclude": "LAN"},
                    {"name": "BOTH", "include": "LAN"},
                ],
                "/interface/list/member": [
                    {"list": "LAN", "interface": "ether1"},
                    {"list": "WAN", "interface": "ether1"},
                    {"list": "BOTH", "interface": "ether2"},
                ],
            }
        )
    )
    assert (found["WAN"], found["BOTH"]) == ({"ether1"}, {"ether1", "ether2"})


async def test_a_session_of_another_profile_is_not_excluded() -> None:
    found = await lists(
        Menus(
            {
                "/interface/list": [{"name": "A"}, {"name": "B"}, {"name": "C", "include": "A", "exclude": "B"}],
                "/ppp/profile": [{"name": "cut", "interface-list": "A"}, {"name": "vip", "interface-list": "B"}],
            }
        )
    )
    assert found["C"] == {session_of("A")}
    rules = [rule("accept", in_interface_list="C"), DROP]
    joined = Confined(LISTED.lists, LISTED.addresses, PPP, frozenset(("A",)))
    assert isinstance(keeps_in(Ruleset(rules, interface_lists=found, ways_out=WAYS), joined), LetOut)


@pytest.mark.parametrize("off", ["no", "false"])
def test_without_tracking_a_packet_is_untracked_or_invalid(off: str) -> None:
    tracking = {"enabled": off}
    assert isinstance(
        keeps_in(Ruleset([rule("accept", connection_state="untracked"), DROP], tracking=tracking), LISTED), LetOut
    )
    only = [rule("drop", src_address_list="suspended", connection_state="untracked")]
    assert isinstance(keeps_in(Ruleset(only, tracking=tracking), LISTED), LetOut)


@pytest.mark.parametrize("odd", [{"protocol": "9" * 5000}, {"protocol": "tcp", "dst_port": "9" * 5000}])
def test_a_number_of_any_length_is_read(odd: Mapping[str, str]) -> None:
    assert isinstance(keeps_in(Ruleset([rule("drop", src_address_list="suspended", **odd)]), LISTED), LetOut)


def test_rules_of_too_many_cases_are_refused_quickly() -> None:
    rules: list[Row] = []
    for n in range(500):
        rules += [
            rule("jump", jump_target=f"k{n}"),
            rule("return", chain=f"k{n}", protocol="tcp", dst_port=str(n + 1)),
            rule("drop", chain=f"k{n}", src_address_list=f"o{n}"),
        ]
    found = keeps_in(Ruleset([*rules, DROP]), LISTED)
    assert isinstance(found, LetOut | KeptIn)
    every = [rule("drop", src_address=f"10.255.{n // 128}.{n % 128 * 2}", out_interface="ether1") for n in range(300)]
    refused = keeps_in(Ruleset(every, ways_out=WAYS), Confined(frozenset(), ("10.255.0.0/22",), PPP))
    assert isinstance(refused, LetOut)


def test_a_mend_can_be_typed_and_leaves_the_pay_page() -> None:
    two = Confined(frozenset(), ("10.255.0.0/22", "10.254.0.0/22"), PPP)
    found = keeps_in(Ruleset([]), two)
    assert isinstance(found, LetOut)
    assert found.mend.endswith("src-address=10.255.0.0/22 (and one each for 10.254.0.0/22)")
    loop = [rule("accept", src_address_list="suspended", dst_address="192.0.2.80"), rule("jump", jump_target="forward")]
    served = keeps_in(Ruleset(loop), LISTED)
    assert isinstance(served, LetOut)
    assert "behind what lets it reach the pay page" in served.mend
