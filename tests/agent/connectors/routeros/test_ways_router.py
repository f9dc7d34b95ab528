"""Ways out on the lab's router: its packets really leave there, and the plan refuses or names it until it is mended."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from agent.connectors.base import AccessMethod, AccessPlan, CannotEnforce, Session
from agent.connectors.routeros.access_methods import access_method_of
from agent.connectors.routeros.addresses import rows_of
from agent.connectors.routeros.schema import DhcpMethod, HotspotMethod, PppMethod, RouterMethod, StaticMethod
from agent.connectors.routeros.ways_out import MENUS, Way, way_at
from agent.model import Access, Address, Effect, Seen, Service, ServiceState
from lab.router.device import Router
from lab.tests.router.routers import logged_in
from tests.agent.connectors.routeros.sessions import PASSWORD, opened

ROUTER, TARIFF, MAC = "routeros/edge-1", "Home 20M", "02:00:00:00:00:01"
SUSPEND = ServiceState(Access.SUSPENDED, TARIFF)
CDN = ["142.250.0.0/15", "172.217.0.0/16", "104.16.0.0/12", "13.32.0.0/12", "52.84.0.0/14"]
FILTER, LIST = "/ip/firewall/filter", "/ip/firewall/address-list"
PPP = PppMethod("ppp", ROUTER, "suspended", {TARIFF: "home20"}, only_these_routers=True)
STATIC = StaticMethod("static", ROUTER, {TARIFF: ""}, suspended_list="suspended", only_these_routers=True)
DHCP = DhcpMethod("dhcp", ROUTER, {TARIFF: ""}, suspended_list="suspended", only_these_routers=True)
HOTSPOT = HotspotMethod("hotspot", ROUTER, {TARIFF: "home20"}, only_these_routers=True)


def make_router(version: str = "7.20.8") -> Router:
    router = Router(version, serial="HFG09ABCDEF")
    router.add("/user", name="ispagents", password=PASSWORD.decode(), group="full")
    router.add(FILTER, chain="forward", action="drop", src_address_list="suspended")
    return router


@asynccontextmanager
async def plans(router: Router, method: RouterMethod, login: str) -> AsyncIterator[Callable[[], object]]:
    """What a suspension is planned as, each time from a fresh read: a plan, or a refusal."""
    service, made = Service("C-1/home", "C-1", "Amina Hassan", "home", login, "m", TARIFF), access_method_of(method)
    async with opened(router) as session:
        yield lambda: _planned(session, made, service)


async def _planned(session: Session, method: AccessMethod, service: Service) -> AccessPlan | CannotEnforce:
    seen: dict[Address, Seen] = {}
    while missing := method.reads(service, seen):
        seen.update(await session.read(missing))
    return method.plan(SUSPEND, service, seen)


def opens(found: object) -> str:
    assert isinstance(found, AccessPlan), found
    return found.display.get("open", "")


def refusal(found: object, reason: str = "way-out") -> str:
    assert isinstance(found, CannotEnforce), found
    assert found.reason == reason
    return found.detail


@pytest.mark.assumed("routeros-offload-shown")
async def test_e3_the_switch_carries_a_suspended_host_past_the_rule() -> None:
    router = make_router()
    router.add("/interface/list", name="WAN")
    router.add("/interface/list/member", list="WAN", interface="ether1")
    router.add(LIST, list="suspended", address="10.0.0.5")
    router.plug_in_host(("10.0.0.5",), MAC, interface="ether3")
    assert not router.gets_out("10.0.0.5").out
    router.add("/interface/ethernet/switch", name="switch1", l3_hw_offloading="yes")
    verdict = router.gets_out("10.0.0.5")
    assert (verdict.out, verdict.menu) == (True, "/interface/ethernet/switch")
    async with plans(router, STATIC, "10.0.0.5") as planned:
        assert "L3 hardware offload is on (switch1)" in refusal(await planned())
        router.add("/interface/ethernet/switch/port", name="ether1", l3_hw_offloading="no")
        assert "not checked: L3 hardware offload is on (switch1), and off on ether1" in opens(await planned())
        assert not router.gets_out("10.0.0.5").out
        router.set("/interface/ethernet/switch", "switch1", l3_hw_offloading="no")
        assert opens(await planned()) == ""


def ppp_router() -> Router:
    router = make_router()
    router.add("/ppp/profile", name="home20", local_address="10.0.0.1", remote_address="10.0.0.2")
    router.add(
        "/ppp/profile", name="suspended", local_address="10.0.0.1", remote_address="10.0.0.3", address_list="suspended"
    )
    router.add("/ppp/secret", name="amina", password="x", profile="home20")
    return router


async def test_e4_and_e5_a_garden_of_cdns_and_dns_to_anywhere() -> None:
    router = ppp_router()
    first = router.rows(FILTER)[0][".id"]
    router.add(FILTER, chain="forward", action="accept", dst_address_list="pay", place_before=first)
    router.add(FILTER, chain="forward", action="accept", protocol="udp", dst_port="53", place_before=first)
    for place in CDN:
        router.add(LIST, list="pay", address=place)
    async with plans(router, PPP, "amina") as planned:
        text = opens(await planned())
        router.set("/ppp/secret", "amina", profile="suspended")
        router.plug_in("amina", "x")
        assert router.gets_out("amina", destination="142.250.1.1").out
        assert router.gets_out("amina", destination="198.51.100.9", protocol="udp", port=53).out
        assert not router.gets_out("amina").out
    assert "open: garden list pay holds 2,555,904 addresses (rule 0)" in text
    assert "open: DNS to any server (rule 1)" in text
    small = PppMethod("ppp", ROUTER, "suspended", {TARIFF: "home20"}, garden_most=1000)
    async with plans(router, small, "amina") as planned:
        router.set("/ppp/secret", "amina", profile="home20")
        assert "garden list pay" in refusal(await planned())


async def test_e4_gardens_count_together() -> None:
    """As rules see them, and as the configured size of a garden has it."""
    router = ppp_router()
    drop = router.rows(FILTER)[0][".id"]
    for n in range(5):
        router.add(FILTER, chain="forward", action="accept", dst_address_list=f"part{n}", place_before=drop)
        router.add(LIST, list=f"part{n}", address=f"{11 + n}.0.0.0/10")
    async with plans(router, PPP, "amina") as planned:
        found = await planned()
        assert isinstance(found, CannotEnforce)
        assert found.reason == "list-without-rule"
        router.set(LIST, router.rows(LIST)[4][".id"], address="10.9.9.9")
        assert "open: garden list part0 holds 4,194,304 addresses (rule 0)" in opens(await planned())
    small = PppMethod("ppp", ROUTER, "suspended", {TARIFF: "home20"}, garden_most=5_000_000)
    async with plans(router, small, "amina") as planned:
        assert "gardens hold 16,777,216 addresses together" in refusal(await planned())


async def test_an_ipsec_policy_to_everywhere_is_where_accepts_lead() -> None:
    router = ppp_router()
    first = router.rows(FILTER)[0][".id"]
    router.add(FILTER, chain="forward", action="accept", ipsec_policy="out,ipsec", place_before=first)
    policy = "/ip/ipsec/policy"
    router.add("/ip/ipsec/peer", name="office", address="203.0.113.7/32")
    ends = {"src_address": "10.0.0.0/16", "peer": "office", "tunnel": "yes"}
    router.add(policy, **{**ends, "dst_address": "0.0.0.0/0", "template": "yes"})  # as every router has one
    office = router.add(policy, dst_address="10.77.0.0/16", **ends)
    async with plans(router, PPP, "amina") as planned:
        assert isinstance(await planned(), AccessPlan)
        router.set(policy, office, dst_address="0.0.0.0/0")
        found = await planned()
        assert isinstance(found, CannotEnforce)
        assert "rule 0 (action=accept ipsec-policy=out,ipsec)" in found.detail
        router.set(policy, office, disabled="yes")
        assert isinstance(await planned(), AccessPlan)


async def test_e6_a_disabled_user_gets_out_by_a_wide_walled_garden() -> None:
    router = make_router()
    router.add("/ip/pool", name="hs", ranges="10.5.50.2-10.5.50.250")
    router.add("/ip/hotspot/profile", name="hsprof1", login_by="http-chap")
    router.add("/ip/hotspot", name="hs1", interface="ether4", address_pool="hs", profile="hsprof1", disabled="no")
    router.add("/ip/hotspot/user/profile", name="home20")
    router.add("/ip/hotspot/user", name="amina", password="x", profile="home20", disabled="yes")
    router.plug_in_hotspot(MAC, "amina", "x")
    assert not router.gets_out(MAC).out
    garden = router.add("/ip/hotspot/walled-garden/ip", action="accept", dst_address="0.0.0.0/0")
    assert router.gets_out(MAC).out
    router.set("/ip/hotspot/user", "amina", disabled="no")
    async with plans(router, HOTSPOT, "amina") as planned:
        assert "walled-garden ip entry 0 accepts 0.0.0.0/0" in refusal(await planned())
        router.set("/ip/hotspot/walled-garden/ip", garden, dst_address="198.51.100.7")
        assert opens(await planned()) == ""
        router.add("/ip/hotspot/walled-garden", action="allow", dst_host="*.example.net")
        assert "web hosts pass: *.example.net" in opens(await planned())


async def test_e7_another_mac_of_the_household_gets_an_address() -> None:
    router = make_router()
    router.add("/ip/pool", name="lan", ranges="10.6.0.10-10.6.0.250")
    router.add("/ip/dhcp-server", name="d1", interface="ether3", address_pool="lan", lease_time="1h", disabled="no")
    router.add("/ip/dhcp-server/lease", address="10.6.0.5", mac_address=MAC, server="d1")
    router.plug_in_dhcp(MAC, server="d1")
    other = router.plug_in_dhcp(server="d1")
    assert router.gets_out(other.mac).out
    async with plans(router, DHCP, MAC) as planned:
        text = opens(await planned())
        assert "open: another MAC gets an address of pool lan (DHCP server d1)" in text
        assert "an address set by hand works on ether3" in text
        router.set("/ip/dhcp-server", "d1", address_pool="static-only")
        router.set("/interface/ethernet", "ether3", arp="reply-only")
        assert opens(await planned()) == ""
    third = router.plug_in_dhcp(server="d1")
    assert not third.online


async def test_e8_a_bridged_session_never_meets_the_rule() -> None:
    router = ppp_router()
    router.add("/interface/bridge", name="br-lan")
    router.set("/ppp/profile", "suspended", bridge="br-lan")
    async with plans(router, PPP, "amina") as planned:
        assert "bridges its sessions into br-lan" in refusal(await planned())
        router.set("/ppp/profile", "suspended", **{"!bridge": ""})
        router.set("/ppp/profile", "suspended", on_up=":log info x")
        assert opens(await planned()) == "not checked: the scripts of profile suspended (on-up)"
        router.set("/ppp/profile", "suspended", bridge="br-lan")
    router.set("/ppp/secret", "amina", profile="suspended")
    router.plug_in("amina", "x")
    assert router.gets_out("amina").menu == "/interface/bridge"


async def test_e9_e10_e12_servers_proxy_and_a_colleagues_safe_mode() -> None:
    router = ppp_router()
    router.set("/ip/socks", enabled="yes")
    router.set("/interface/l2tp-server/server", enabled="yes")
    router.set("/ip/proxy", enabled="yes")
    joe = logged_in(router)
    joe.ask("/safe-mode/take")
    joe.ask("/ip/dns/set", "=servers=192.0.2.53")
    async with plans(router, PPP, "amina") as planned:
        text = opens(await planned())
        assert "not checked: the router's own SOCKS, L2TP servers" in text
        assert "open: the router's web proxy, which no access rule closes" in text
        assert "open: a safe mode is open (changes by admin)" in text
        joe.ask("/safe-mode/release")
        router.add("/ip/proxy/access", action="deny")
        assert opens(await planned()) == "not checked: the router's own SOCKS, L2TP servers (chain input is not judged)"


async def test_e16_ipv6_routes_of_a_session_refuse_of_an_address_warn() -> None:
    router = ppp_router()
    async with plans(router, PPP, "amina") as planned:
        for prop, value in (
            ("routes", "203.0.113.0/29"),
            ("remote-ipv6-prefix", "2001:db8:9::/64"),
            ("ipv6-routes", "2001:db8:9::/56"),
        ):
            router.set("/ppp/secret", "amina", **{prop: value})
            assert f"its PPP secret has {prop}" in refusal(await planned(), "routes-not-held")
            router.set("/ppp/secret", "amina", **{f"!{prop}": ""})
        router.set("/ppp/profile", "suspended", dhcpv6_pd_pool="v6")
        assert "hands out IPv6 (dhcpv6-pd-pool)" in refusal(await planned(), "ipv6-not-held")
    router.plug_in_host(("10.0.0.5", "2001:db8::5"), MAC, interface="ether3")
    router.add(LIST, list="suspended", address="10.0.0.5")
    assert [router.gets_out(place).out for place in ("10.0.0.5", "2001:db8::5")] == [False, True]
    async with plans(router, STATIC, "10.0.0.5") as planned:
        found = await planned()
        assert isinstance(found, AccessPlan)
        assert "IPv4 only: the login names no other address" in found.display["after"]


async def test_e18_a_trial_is_named_and_a_transparent_proxy_refused() -> None:
    router = make_router()
    router.add("/ip/hotspot/profile", name="hsprof1", login_by="http-chap,trial")
    router.add("/ip/hotspot", name="h1", interface="ether3", profile="hsprof1", disabled="no")
    router.add("/ip/hotspot/user/profile", name="suspended", address_list="suspended")
    router.add("/ip/hotspot/user", name="amina", password="x")
    method = HotspotMethod("hotspot", ROUTER, {TARIFF: "default"}, suspended_profile="suspended")
    async with plans(router, method, "amina") as planned:
        found = await planned()
        assert isinstance(found, AccessPlan), found
        assert "a trial is open to anybody (hotspot profile hsprof1)" in found.display["after"]
        router.set("/ip/hotspot/user/profile", "suspended", transparent_proxy="yes")
        assert "has transparent-proxy" in refusal(await planned(), "proxy-not-held")


async def test_e19_both_sessions_of_one_login_are_ended() -> None:
    router = ppp_router()
    router.add("/ip/pool", name="lan", ranges="10.8.0.2-10.8.0.9")
    router.set("/ppp/profile", "home20", remote_address="lan", only_one="no")
    for _ in range(2):
        router.plug_in("amina", "x")
    async with plans(router, PPP, "amina") as planned, opened(router) as session:
        found = await planned()
        assert isinstance(found, AccessPlan)
        assert found.display["sessions"] == "2"
        (end,) = (s.do for s in found.steps if isinstance(s.do, Effect) and s.do.verb == "disconnect")
        assert {where.rpartition("/")[2] for where in await session.bind(end)} == {
            row["session-id"] for row in router.rows("/ppp/active")
        }


@pytest.mark.parametrize("version", ["6.49.18", "7.15.3", "7.20.8", "7.24"])
async def test_every_way_reads_on_every_release_by_one_command_a_menu(version: str) -> None:
    """A menu that a release lacks is no error. A batch asks for the same addresses: they are read once."""
    router = make_router(version)
    router.set("/ip/socks", enabled="yes")
    async with opened(router) as session:
        seen = await session.read([way_at(ROUTER, way) for way in Way])
        assert rows_of(seen[way_at(ROUTER, Way.SERVERS)].value)["/ip/socks 0"] == {"enabled": "true"}
        assert bool(rows_of(seen[way_at(ROUTER, Way.SAFE_MODE)].value)) is (version in ("7.20.8", "7.24"))
    assert len({menu.path for menus in MENUS.values() for menu in menus}) == sum(map(len, MENUS.values()))


async def test_a_menu_that_may_not_be_read_is_said_so() -> None:
    router = make_router()
    router.faults.inject("trap:not enough permissions (9)", match="/ip/socks/print")
    async with opened(router) as session:
        seen = await session.read([way_at(ROUTER, Way.SERVERS)])
        rows = rows_of(seen[way_at(ROUTER, Way.SERVERS)].value)
        assert rows["/ip/socks 0"] == {"unread": "not enough permissions (9)"}
