"""What lets a suspended subscriber out beside the rules: named, refused, or said not to be checked. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.connectors.base import AccessPlan, CannotEnforce, Enforced, WayOut
from agent.connectors.routeros.access_methods import access_method_of
from agent.connectors.routeros.addresses import RouterResource, address
from agent.connectors.routeros.matching import Ruleset
from agent.connectors.routeros.rulesets import ruleset_value
from agent.connectors.routeros.ways_out import (
    MENUS,
    UNREAD,
    RouterWays,
    RulesSeen,
    SubscriberKind,
    Suspended,
    Way,
    reads,
    refusal_reads,
    way_at,
    ways_out,
)
from agent.model import ABSENT, Access, Address, Seen, Value
from tests.agent.connectors.answers import refused
from tests.agent.connectors.routeros.ppp_recipe import (
    METHOD,
    NOW_S,
    ONLINE,
    PROFILES,
    RESTORE,
    SERVICE,
    SUSPEND,
    SUSPENDED,
    planned,
    seen_of,
)
from tests.agent.connectors.routeros.ways import SAFE, Rows, closed_ways, way_value

ROUTER = "routeros/edge-1"
PPP = Suspended(ROUTER, SubscriberKind.PPP, ("suspended",), "suspended")
STATIC = Suspended(ROUTER, SubscriberKind.STATIC, ("suspended",))
DHCP = Suspended(ROUTER, SubscriberKind.DHCP, ("suspended",))
HOTSPOT = Suspended(ROUTER, SubscriberKind.HOTSPOT, ("suspended",), "suspended")
DISABLED = Suspended(ROUTER, SubscriberKind.HOTSPOT)
DROP = {"chain": "forward", "action": "drop", "src-address-list": "suspended"}
CDN = ["142.250.0.0/15", "172.217.0.0/16", "104.16.0.0/12", "13.32.0.0/12", "52.84.0.0/14", "3.160.0.0/12"]

_Rules = list[dict[str, str]]


def seen_with(rows: Mapping[Way, Rows], rules: _Rules | None = None, **values: Value) -> dict[Address, Seen]:
    """What is read where only these ways are open. `values`: the members of address lists, by name."""
    seen = closed_ways(NOW_S) | {way_at(ROUTER, way): Seen(way_value(found), NOW_S) for way, found in rows.items()}
    if rules is not None:
        value = ruleset_value(Ruleset(rules, raw=(), members={"staff": {}}))
        seen[address(ROUTER, RouterResource.FILTER, "all")] = Seen(value, NOW_S)
    for name, value in values.items():
        seen[address(ROUTER, RouterResource.MEMBERS, name)] = Seen(value, NOW_S)
    return seen


def found(
    suspended: Suspended,
    rows: Mapping[Way, Rows] | None = None,
    rules: _Rules | None = None,
    lease: dict[str, str] | None = None,
    **members: Value,
) -> tuple[WayOut, ...]:
    return ways_out(suspended, seen_with(rows or {}, rules, **members), RulesSeen(), lease=lease)


def told(ways: tuple[WayOut, ...]) -> list[tuple[str, bool]]:
    return [(way.told, way.refuses) for way in ways]


@pytest.mark.parametrize("suspended", [PPP, STATIC, DHCP, HOTSPOT, DISABLED])
def test_a_router_with_none_of_them_open_has_nothing_to_say(suspended: Suspended) -> None:
    assert found(suspended) == ()


@pytest.mark.parametrize("suspended", [PPP, STATIC, DHCP, HOTSPOT, DISABLED])
def test_what_was_not_read_is_named(suspended: Suspended) -> None:
    """Silence means checked."""
    assert [way.text.partition(":")[0] for way in ways_out(suspended, {}, RulesSeen())] == [
        way.value for way in suspended.ways
    ]
    assert not any(way.refuses for way in ways_out(suspended, {}, RulesSeen()))


def test_a_menu_that_the_router_refuses_to_show_is_not_checked() -> None:
    """One that it has not is no way out; a refusal of any other kind says nothing about it."""
    rows = {Way.SERVERS: {"/ip/socks": [{UNREAD: "not enough permissions (9)"}]}}
    assert told(found(PPP, rows)) == [("not checked: /ip/socks: not enough permissions (9)", False)]


# --- E3: L3 hardware offload ---

_SWITCH = "/interface/ethernet/switch"


@pytest.mark.assumed("routeros-offload-shown")
@pytest.mark.parametrize("suspended", [STATIC, DHCP, HOTSPOT, DISABLED, replace(STATIC, lists=(), by_queue=True)])
def test_e3_what_the_switch_routes_meets_no_rule(suspended: Suspended) -> None:
    on = {Way.OFFLOAD: {_SWITCH: [{"name": "switch1", "l3-hw-offloading": "true"}]}}
    (way,) = found(suspended, on)
    assert way.refuses
    assert way.text.startswith("L3 hardware offload is on (switch1)")
    assert "l3-hw-offloading=no" in way.mend
    off = {Way.OFFLOAD: {_SWITCH: [{"name": "switch1", "l3-hw-offloading": "false"}, {"name": "switch2"}]}}
    assert found(suspended, off) == ()


def test_e3_a_port_left_out_may_or_may_not_be_a_way_out() -> None:
    rows = {
        Way.OFFLOAD: {
            _SWITCH: [{"name": "switch1", "l3-hw-offloading": "yes"}],
            f"{_SWITCH}/port": [
                {"name": "sfp1", "l3-hw-offloading": "false"},
                {"name": "ether2", "l3-hw-offloading": "true"},
            ],
        }
    }
    ((text, refuses),) = told(found(STATIC, rows))
    assert (refuses, text.startswith("not checked: "), "sfp1" in text, "ether2" in text) == (False, True, True, False)


def test_e3_ppp_is_not_offloaded_a_blocked_lease_has_no_address() -> None:
    assert Way.OFFLOAD not in PPP.ways
    assert Way.OFFLOAD not in replace(DHCP, lists=()).ways


# --- E4: gardens that hold the internet ---


def garden(*places: str) -> Value:
    return dict.fromkeys(places, "static")


def test_e4_the_size_of_a_garden_is_shown_and_a_limit_refuses() -> None:
    rules = [{"chain": "forward", "action": "accept", "dst-address-list": "pay"}, DROP]
    (way,) = found(PPP, rules=rules, pay=garden(*CDN))
    assert (way.text, way.refuses) == ("garden list pay holds 3,604,480 addresses (rule 0)", False)
    (way,) = found(replace(PPP, garden_most=1_000_000), rules=rules, pay=garden(*CDN))
    assert way.refuses


def test_e4_a_pay_page_and_a_private_network_are_no_way_out() -> None:
    rules = [
        {"chain": "forward", "action": "accept", "dst-address-list": "pay"},
        {"chain": "forward", "action": "accept", "dst-address": "10.0.0.0/8"},
        DROP,
    ]
    assert found(PPP, rules=rules, pay=garden("198.18.0.7", "10.0.0.0/8", "8.8.8.8")) == ()


def test_e4_lists_that_gardens_name_are_read_in_second_round() -> None:
    rules = [
        {"chain": "forward", "action": "accept", "dst-address-list": "pay"},
        {"chain": "forward", "action": "accept", "dst-address-list": "vips", "src-address-list": "vip"},
        {"chain": "input", "action": "accept", "dst-address-list": "own"},
        DROP,
        {"chain": "forward", "action": "accept", "dst-address-list": "later"},
    ]
    seen = seen_with({}, rules)
    assert reads(PPP, seen, RulesSeen()) == [address(ROUTER, RouterResource.MEMBERS, "pay")]
    assert [a.rpartition("/")[2] for a in reads(PPP, {}, RulesSeen())] == ["servers", "redirects", "safe-mode"]


# --- E5: DNS and ICMP to anywhere ---

_DNS = {"chain": "forward", "action": "accept", "protocol": "udp", "dst-port": "53"}
_PING = {"chain": "forward", "action": "accept", "protocol": "icmp"}


def test_e5_dns_and_icmp_to_anywhere_are_open() -> None:
    texts = [text for text, _ in told(found(PPP, rules=[_DNS, _PING, DROP]))]
    assert texts == [
        "open: DNS to any server (rule 0), and so a tunnel through port 53",
        "open: ping (ICMP) to anywhere (rule 1)",
    ]
    assert found(PPP, rules=[{**_DNS, "dst-port": "53,853"}, DROP])


@pytest.mark.parametrize(
    "rule",
    [
        {**_DNS, "dst-address-list": "resolvers"},
        {**_DNS, "dst-address": "9.9.9.9"},
        {**_DNS, "src-address-list": "staff"},
        {**_DNS, "src-address-list": "!suspended"},
        {**_DNS, "chain": "input"},
        {**_DNS, "disabled": "true"},
        {**_PING, "dst-address": "10.0.0.1"},
    ],
)
def test_e5_own_resolvers_and_what_is_about_others_are_not(rule: dict[str, str]) -> None:
    assert found(PPP, rules=[rule, DROP], resolvers=garden("9.9.9.9")) == ()


def test_e5_a_drop_that_leaves_dns_out_leaves_it_open() -> None:
    """No rule accepts it: it comes out at the end of the chain."""
    rules = [{**DROP, "protocol": "tcp"}, {**DROP, "protocol": "udp", "dst-port": "!53"}, {**DROP, "protocol": "!udp"}]
    texts = [text for text, _ in told(found(PPP, rules=rules))]
    assert texts == ["open: DNS to any server (the end of chain forward), and so a tunnel through port 53"]


def test_e5_what_stands_below_the_drop_lets_nobody_out() -> None:
    assert found(PPP, rules=[DROP, _DNS, _PING]) == ()


def test_e5_a_drop_by_its_interface_drops_dns_too() -> None:
    """Its route names the interface; of a PPP session the profile's list or chain is the sign."""
    lead = {"192.0.2.0/24": frozenset({"ether5"})}
    rules = Ruleset([{**DROP, "in-interface": "ether5"}], raw=(), interface_lists={}, routes=lead)
    where = address(ROUTER, RouterResource.FILTER, "all")
    seen = seen_with({}) | {where: Seen(ruleset_value(rules), NOW_S)}
    assert ways_out(STATIC, seen, RulesSeen(), mine=["192.0.2.7", "2001:db8::7"]) == ()
    open_to = "open: DNS to any server (the end of chain forward), and so a tunnel through port 53"
    assert open_to in [text for text, _ in told(ways_out(STATIC, seen, RulesSeen(), mine=["198.51.100.7"]))]
    amina = replace(SERVICE, login="192.0.2.7, 2001:db8::7")
    assert RouterWays(STATIC).out(amina, seen) == ()


@pytest.mark.parametrize("accepts_dns", [True, False])
def test_e5_dns_is_followed_through_the_chain_of_a_profile(accepts_dns: bool) -> None:
    chain = [{"chain": "forward", "action": "jump", "jump-target": "ppp"}]
    chain += [{**_DNS, "chain": "held"}] if accepts_dns else []
    profile = address(ROUTER, RouterResource.PROFILE, "suspended")
    seen = seen_with({}, [*chain, {"chain": "held", "action": "drop"}])
    seen |= {profile: Seen({"name": "suspended", "incoming-filter": "held"}, NOW_S)}
    texts = [text for text, _ in told(ways_out(replace(PPP, lists=()), seen, RulesSeen()))]
    expected = ["open: DNS to any server (rule 1), and so a tunnel through port 53"] if accepts_dns else []
    assert texts == expected


# --- E6: the hotspot's walled garden ---

_WALL = "/ip/hotspot/walled-garden"


@pytest.mark.parametrize(
    "row",
    [{"dst-address": "0.0.0.0/0"}, {}, {"dst-address": "!10.0.0.1"}, {"dst-address": "0.0.0.0/1"}, {"protocol": "tcp"}],
)
@pytest.mark.parametrize("suspended", [HOTSPOT, DISABLED])
def test_e6_a_walled_garden_that_is_the_internet_refuses(suspended: Suspended, row: dict[str, str]) -> None:
    """Nobody needs a session for it, so a disabled user gets out as well."""
    rows = {Way.WALLED_GARDEN: {f"{_WALL}/ip": [{"action": "accept", "disabled": "false", **row}]}}
    (way,) = found(suspended, rows)
    assert way.refuses, way


def test_e6_a_walled_garden_of_a_list_is_as_large_as_the_list() -> None:
    rows = {Way.WALLED_GARDEN: {f"{_WALL}/ip": [{"action": "accept", "dst-address-list": "pay"}]}}
    (way,) = found(DISABLED, rows, pay=garden(*CDN))
    assert (way.text, way.refuses) == ("the hotspot's walled garden holds 3,604,480 addresses", False)
    assert found(replace(DISABLED, garden_most=1000), rows, pay=garden(*CDN))[0].refuses
    assert address(ROUTER, RouterResource.MEMBERS, "pay") in reads(DISABLED, seen_with(rows), RulesSeen())
    assert found(DISABLED, rows, pay=garden("198.18.0.7")) == ()


def test_e6_web_hosts() -> None:
    def web(**row: str) -> list[tuple[str, bool]]:
        name = {key.replace("_", "-"): text for key, text in row.items()}
        return told(found(DISABLED, {Way.WALLED_GARDEN: {_WALL: [{"action": "allow", **name}]}}))

    assert web(dst_host="pay.example.net") == []
    assert web(dst_host="*.whatsapp.net") == [
        ("open: the hotspot's walled garden lets web hosts pass: *.whatsapp.net", False)
    ]
    assert [refuses for _, refuses in web(dst_host="*")] == [True]
    assert [refuses for _, refuses in web()] == [True]
    assert web(disabled="true") == []
    assert web(action="deny") == []


# --- E7: another MAC ---

_ASK = "/ip/dhcp-server"
_LAN = {"name": "d1", "interface": "ether3", "address-pool": "lan", "disabled": "false"}
_STRICT = {"/interface/ethernet": [{"name": "ether3"}]}


def test_e7_another_mac_gets_an_address_of_the_pool() -> None:
    texts = [text for text, _ in told(found(DHCP, {Way.LEASES_FOR_ALL: {_ASK: [_LAN]}}))]
    assert texts == [
        "open: another MAC gets an address of pool lan (DHCP server d1)",
        "open: an address set by hand works on ether3 (its arp is not seen to be reply-only)",
    ]


@pytest.mark.parametrize("server", [{"address-pool": "static-only"}, {"address-lists": "new,suspended"}])
def test_e7_static_only_and_reply_only_close_it(server: dict[str, str]) -> None:
    """So does a server that puts whoever it does not know into the list."""
    assert found(DHCP, {Way.LEASES_FOR_ALL: {_ASK: [{**_LAN, **server}], **_STRICT}}) == ()


def test_e7_only_the_server_of_the_lease_counts() -> None:
    rows = {Way.LEASES_FOR_ALL: {_ASK: [_LAN, {**_LAN, "name": "d2"}], **_STRICT}}
    assert len(found(DHCP, rows, lease={"server": "d2"})) == 1
    assert len(found(DHCP, rows, lease={"server": "all"})) == 2
    assert found(DHCP, {Way.LEASES_FOR_ALL: {_ASK: [{**_LAN, "disabled": "true"}]}}) == ()
    radius = found(
        DHCP, {Way.LEASES_FOR_ALL: {_ASK: [{**_LAN, "address-pool": "static-only", "use-radius": "yes"}], **_STRICT}}
    )
    assert [way.known for way in radius] == [False]


# --- E8: what a suspended profile brings ---


@pytest.mark.parametrize(
    ("more", "told_text", "refuses"),
    [
        ({"bridge": "br-lan"}, "open: profile suspended bridges its sessions into br-lan, past the firewall", True),
        ({"on-up": ":log info x"}, "not checked: the scripts of profile suspended (on-up)", False),
        ({"on-down": ":log info x"}, "not checked: the scripts of profile suspended (on-down)", False),
        ({"incoming-filter": "x"}, "not checked: the chains of profile suspended (incoming-filter=x)", False),
        ({"outgoing-filter": "x"}, "not checked: the chains of profile suspended (outgoing-filter=x)", False),
        (
            {"dhcpv6-use-radius": "true"},
            "not checked: whether RADIUS gives sessions of profile suspended an IPv6 prefix",
            False,
        ),
    ],
)
def test_e8_a_profile_that_brings_more_than_its_list(more: dict[str, str], told_text: str, refuses: bool) -> None:
    seen = seen_with({})
    seen[address(ROUTER, RouterResource.PROFILE, "suspended")] = Seen({"address-list": "suspended", **more}, NOW_S)
    ((text, is_refused),) = told(ways_out(replace(PPP, lists=()), seen, RulesSeen()))
    assert (text.startswith(told_text), is_refused) == (True, refuses), text


def test_e8_a_hotspot_profile_runs_scripts_too() -> None:
    seen = seen_with({})
    profile: Value = {"address-list": "suspended", "on-login": ":log info x"}
    seen[address(ROUTER, RouterResource.HOTSPOT_PROFILE, "suspended")] = Seen(profile, NOW_S)
    assert [way.text for way in ways_out(HOTSPOT, seen, RulesSeen())] == ["the scripts of profile suspended (on-login)"]


# --- E9: the router's own servers ---


def test_e9_the_routers_own_servers_are_named_and_not_judged() -> None:
    rows: Rows = {
        "/ip/socks": [{"enabled": "true"}],
        "/interface/pptp-server/server": [{"enabled": "false"}],
        "/interface/l2tp-server/server": [{"enabled": "yes"}],
        "/interface/ovpn-server/server": [{"name": "ovpn1", "disabled": "true"}],
        "/interface/wireguard": [{"name": "wg0", "disabled": "false"}],
    }
    assert [text for text, _ in told(found(PPP, {Way.SERVERS: rows}))] == [
        "not checked: the router's own SOCKS, L2TP, WireGuard servers (chain input is not judged)"
    ]


# --- E10: the web proxy ---

_PROXY_ON: Rows = {"/ip/proxy": [{"enabled": "true", "port": "8080"}]}
_NAT = {"chain": "dstnat", "action": "redirect", "dst-port": "80", "to-ports": "8080", "src-address-list": "suspended"}


def test_e10_a_redirect_to_a_proxy_that_nothing_closes_refuses() -> None:
    (way,) = found(PPP, {Way.REDIRECTS: {**_PROXY_ON, "/ip/firewall/nat": [_NAT]}})
    assert way.refuses
    assert "/ip/proxy/access add action=deny" in way.mend
    (way,) = found(PPP, {Way.REDIRECTS: {**_PROXY_ON, "/ip/firewall/nat": [{**_NAT, "src-address-list": "kids"}]}})
    assert (way.refuses, way.known) == (False, True)
    assert found(PPP, {Way.REDIRECTS: {"/ip/proxy": [{"enabled": "false"}], "/ip/firewall/nat": [_NAT]}}) == ()


@pytest.mark.parametrize(
    ("rule", "closed"),
    [
        ({"action": "deny"}, True),
        ({"action": "deny", "dst-host": "!pay.example.net"}, True),
        ({"action": "redirect", "dst-host": ""}, True),
        ({"action": "deny", "dst-host": "ads.example.net"}, False),
        ({"action": "deny", "src-address": "10.9.0.0/24"}, False),
    ],
)
def test_e10_an_access_rule_closes_it_or_it_is_not_known_to(rule: dict[str, str], closed: bool) -> None:
    ways = found(PPP, {Way.REDIRECTS: {**_PROXY_ON, "/ip/proxy/access": [rule], "/ip/firewall/nat": [_NAT]}})
    assert [way.known for way in ways] == ([] if closed else [False])


# --- E12: a safe mode ---


def test_e12_an_open_safe_mode_is_named_with_its_people() -> None:
    rows: Rows = {"/safe-mode": [{"enabled": "true"}], "/system/history": [{"by": "joe", "floating-undo": "true"}] * 2}
    ((text, refuses),) = told(found(PPP, {Way.SAFE_MODE: rows}))
    assert (text.startswith("open: a safe mode is open (changes by joe)"), refuses) == (True, False)


def test_e12_before_7_18_only_its_changes_are_seen() -> None:
    assert [way.known for way in found(PPP, {Way.SAFE_MODE: {}})] == [False]
    floating: Rows = {"/system/history": [{"by": "joe", "floating-undo": "true"}]}
    assert [way.known for way in found(PPP, {Way.SAFE_MODE: floating})] == [True]


# --- in an access method ---


def plan_with(rows: Mapping[Way, Rows], alone: bool = False, **seen: object) -> AccessPlan | CannotEnforce:
    values = seen_of(sessions=ONLINE, **seen) | seen_with(rows)  # type: ignore[arg-type]  # as seen_of takes them
    return access_method_of(replace(METHOD, only_these_routers=alone)).plan(SUSPEND, SERVICE, values)


def test_a_preview_names_them_beside_what_it_would_do() -> None:
    """E9 and E11: the router's servers, and the routers that nobody configured."""
    plan = plan_with({Way.SERVERS: {"/ip/socks": [{"enabled": "true"}]}})
    assert isinstance(plan, AccessPlan)
    assert plan.display["open"] == (
        "not checked: the router's own SOCKS server (chain input is not judged); "
        "not checked: other routers that serve this login (only edge-1 is looked at)"
    )
    plain = planned(sessions=ONLINE)
    assert isinstance(plain, AccessPlan)
    assert plan.display["after"] == plain.display["after"]


def test_e11_no_others_are_named_where_the_file_says_none() -> None:
    plan = plan_with({}, alone=True)
    assert isinstance(plan, AccessPlan)
    assert "open" not in plan.display


def test_e8_a_bridged_profile_refuses_with_what_mends_it() -> None:
    profiles = {**PROFILES, "suspended": {"name": "suspended", "address-list": "suspended", "bridge": "br-lan"}}
    refused(plan_with({}, profiles=profiles), "way-out", "bridges", "unset suspended")


def test_a_restore_hangs_on_none_of_them() -> None:
    method = access_method_of(METHOD)
    opened = {
        Way.REDIRECTS: {**_PROXY_ON, "/ip/firewall/nat": [_NAT]},
        Way.SAFE_MODE: {"/safe-mode": [{"enabled": "true"}]},
    }
    plan = method.plan(RESTORE, SERVICE, seen_of(secret=SUSPENDED, sessions=ONLINE) | seen_with(opened))
    assert isinstance(plan, AccessPlan)
    assert plan.display["open"].startswith("open: a safe mode is open")
    assert "proxy" not in plan.display["open"]


def test_suspension_does_not_hold_while_sure_way_out_is_there() -> None:
    """Somebody switched it on after the preview: neither the proof nor the plan of today calls it held."""
    method, held = access_method_of(METHOD), {"secret": SUSPENDED, "sessions": ONLINE, "lists": ("suspended",)}
    bridged = {**PROFILES, "suspended": {"name": "suspended", "address-list": "suspended", "bridge": "br-lan"}}
    plan = plan_with({})
    assert isinstance(plan, AccessPlan)
    assert plan.enforce is not None
    for profiles, expected in ((PROFILES, Enforced.YES), (bridged, Enforced.NO)):
        seen = seen_of(**held, profiles=profiles) | closed_ways(NOW_S)  # type: ignore[arg-type]  # as seen_of takes them
        seen[Address(f"{ROUTER}/ppp/began/amina.h")] = Seen({"0x81": str(NOW_S + 9)}, NOW_S)
        assert method.judge(plan.enforce, seen, {}).enforced is expected
        assert isinstance(method.plan(SUSPEND, SERVICE, seen), AccessPlan) is (expected is Enforced.YES)


def test_e12_a_verdict_says_that_a_safe_mode_is_open() -> None:
    method = access_method_of(METHOD)
    plan = plan_with({})
    assert isinstance(plan, AccessPlan)
    assert plan.enforce is not None
    assert way_at(ROUTER, Way.SAFE_MODE) in method.enforcement_reads(plan.enforce, {})
    seen = seen_of(secret=SUSPENDED) | seen_with({Way.SAFE_MODE: {"/safe-mode": [{"enabled": "true"}]}})
    assert "a safe mode is open" in method.judge(plan.enforce, seen, {}).detail
    quiet = seen_of(secret=SUSPENDED) | seen_with({Way.SAFE_MODE: SAFE})
    assert "safe mode" not in method.judge(plan.enforce, quiet, {}).detail


def test_what_is_read_again_for_a_proof_is_what_defeats_it() -> None:
    assert refusal_reads(PPP, {}) == [way_at(ROUTER, Way.SAFE_MODE)]
    assert refusal_reads(DISABLED, {}) == [
        way_at(ROUTER, way) for way in (Way.OFFLOAD, Way.WALLED_GARDEN, Way.SAFE_MODE)
    ]
    assert ABSENT is closed_ways(NOW_S)[way_at(ROUTER, Way.SERVERS)].value


def test_of_several_routers_each_ways_are_told_with_its_name() -> None:
    both = replace(METHOD, also_on=("routeros/edge-2",))
    other = {Address(a.replace("edge-1", "edge-2", 1)): one for a, one in (seen_of() | seen_with({})).items()}
    socks = {Way.SERVERS: {"/ip/socks": [{"enabled": "true"}]}}
    plan = access_method_of(both).plan(SUSPEND, SERVICE, seen_of() | seen_with(socks) | other)
    assert isinstance(plan, AccessPlan)
    assert plan.display["open"] == (
        "not checked: edge-1: the router's own SOCKS server (chain input is not judged); "
        "not checked: other routers that serve this login (only edge-1 and edge-2 are looked at)"
    )


def test_a_state_tells_open_ways_apart_from_unchecked_ones() -> None:
    open_ways = {
        Way.SERVERS: {"/ip/socks": [{"enabled": "true"}]},
        Way.SAFE_MODE: {"/safe-mode": [{"enabled": "true"}]},
    }
    state = access_method_of(METHOD).network_state(SERVICE, seen_of(secret=SUSPENDED) | seen_with(open_ways))
    assert state.access is Access.SUSPENDED
    assert [text for text in state.ways_out if text.startswith("a safe mode is open")]
    assert [text for text in state.not_checked if "SOCKS" in text]
    assert not [text for text in state.not_checked if "open:" in text or "safe mode" in text]


def test_whoever_is_suspended_by_a_pool_meets_the_same_servers() -> None:
    """A profile without a list, or a RADIUS reply without one: its pool is what rules name."""
    pooled = Suspended(ROUTER, SubscriberKind.PPP, profile="suspended")
    by_radius = Suspended(ROUTER, SubscriberKind.PPP, written=False)
    socks = {Way.SERVERS: {"/ip/socks": [{"enabled": "true"}]}}
    for one in (pooled, by_radius):
        texts = [way.told for way in found(one, socks, rules=[_DNS])]
        assert [text.partition(",")[0] for text in texts] == [
            "not checked: the router's own SOCKS server (chain input is not judged)",
            "not checked: whether DNS and ping to anywhere are dropped for its pool",
        ]


_texts = st.one_of(
    st.text(max_size=12), st.sampled_from(["yes", "0.0.0.0/0", "!10.0.0.0/8", "1.2.3.4-9", "*", "suspended"])
)
_props = st.dictionaries(
    st.sampled_from(sorted({p for menus in MENUS.values() for m in menus for p in m.props})), _texts
)


@settings(max_examples=20, deadline=None)
@given(st.data())
def test_any_rows_give_an_answer(data: st.DataObject) -> None:
    """A router prints what it likes: nothing of it raises."""
    rows = {way: {menu.path: data.draw(st.lists(_props, max_size=2)) for menu in MENUS[way]} for way in Way}
    rules = data.draw(
        st.lists(st.dictionaries(st.sampled_from([*DROP, *_DNS, "dst-address", "dst-address-list"]), _texts))
    )
    seen = seen_with(rows, rules, pay=data.draw(st.dictionaries(_texts, st.just("static"))))
    for one in (PPP, STATIC, DHCP, HOTSPOT, DISABLED):
        assert all(way.text for way in ways_out(one, seen, RulesSeen()))
        assert all(isinstance(where, str) for where in reads(one, seen, RulesSeen()))
