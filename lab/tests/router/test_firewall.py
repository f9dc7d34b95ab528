"""Who gets out, by which rule: lists, fasttrack, order, redirects, connections from before."""

from __future__ import annotations

import ipaddress

from hypothesis import given
from hypothesis import strategies as st

from lab.router.firewall import AddressLists, Packet
from lab.router.table import Row
from lab.tests.router.routers import access_bench, bench, logged_in

RULES = "/ip/firewall/filter"
ENTRIES = "/ip/firewall/address-list"


def one_online():
    b = access_bench()
    cpe = b.router.plug_in("home1", "pw1")
    return b.router, cpe.session.address


def test_an_address_list_with_its_rule_holds_back_new_and_old():
    r, address = one_online()
    verdict = r.gets_out("home1")
    assert (verdict.online, verdict.out, verdict.lingers) == (True, True, True)
    r.add(ENTRIES, list="suspended", address=address)
    verdict = r.gets_out("home1")
    assert (verdict.out, verdict.lingers, verdict.action, verdict.reason) == (False, False, "drop", "SUSPENDED")
    assert verdict.rule == r.rows(RULES)[0][".id"]
    r.remove(ENTRIES, r.rows(ENTRIES)[0][".id"])
    assert r.gets_out("home1").out


def test_a_list_without_a_rule_and_a_disabled_entry_do_nothing():
    r, address = one_online()
    r.add(ENTRIES, list="debtors", address=address)
    assert r.gets_out("home1").out
    made = r.add(ENTRIES, list="suspended", address=address, disabled="yes")
    assert r.gets_out("home1").out
    r.set(ENTRIES, made, disabled="no")
    assert not r.gets_out("home1").out


def fasttracked():
    """Fasttrack above the rule, as in many a router."""
    b = access_bench()
    r = b.router
    r.add(
        RULES, chain="forward", action="fasttrack-connection", connection_state="established,related", place_before="*1"
    )
    cpe = r.plug_in("home1", "pw1")
    return r, cpe.session.address


def test_fasttrack_lets_what_was_open_flow_on():
    r, address = fasttracked()
    (flow,) = r.rows("/ip/firewall/connection")
    assert flow["fasttrack"] == "true"
    r.add(ENTRIES, list="suspended", address=address)
    verdict = r.gets_out("home1")
    assert (verdict.out, verdict.lingers, verdict.fasttracked) == (False, True, True)
    # only taking the connection away ends it
    logged_in(r).ask("/ip/firewall/connection/remove", f"=.id={flow['.id']}")
    verdict = r.gets_out("home1")
    assert (verdict.out, verdict.lingers) == (False, False)


def test_a_fasttrack_that_spares_the_list_stops_no_old_flow():
    r, _ = fasttracked()
    r.set(RULES, r.rows(RULES)[0][".id"], src_address_list="!suspended")
    r.add(ENTRIES, list="suspended", address=r.rows("/ppp/active")[0]["address"])
    assert r.gets_out("home1").lingers
    r.remove("/ppp/active", r.rows("/ppp/active")[0][".id"])
    r.access.dial(next(iter(r.access.cpes.values())))
    # it outlives the session, and carries on from the same address
    assert r.gets_out("home1").fasttracked


def test_an_accept_of_established_lingers_without_fasttrack():
    b = access_bench()
    r = b.router
    first = r.add(RULES, chain="forward", action="accept", connection_state="established,related", place_before="*1")
    address = r.plug_in("home1", "pw1").session.address
    r.add(ENTRIES, list="suspended", address=address)
    verdict = r.gets_out("home1")
    assert (verdict.out, verdict.lingers, verdict.lingers_by, verdict.fasttracked) == (False, True, first, False)
    c = logged_in(r)
    c.ask(f"{RULES}/move", f"=numbers={first}")
    verdict = r.gets_out("home1")
    assert (verdict.out, verdict.lingers) == (False, False)


def test_jump_return_negation_and_disabled_rules():
    r, _ = one_online()
    r.set(RULES, "*1", disabled="yes")
    r.add(RULES, chain="forward", action="jump", jump_target="subs", src_address="100.64.0.0/10")
    r.add(RULES, chain="subs", action="return", src_address_list="!suspended")
    drop = r.add(RULES, chain="subs", action="reject")
    assert r.gets_out("home1").out
    r.add(ENTRIES, list="suspended", address="100.64.0.0/24")
    verdict = r.gets_out("home1")
    assert (verdict.out, verdict.rule, verdict.action) == (False, drop, "reject")
    r.add("/interface/list", name="WAN")
    r.add("/interface/list/member", list="WAN", interface="ether1")
    r.set(RULES, drop, out_interface_list="!WAN")
    assert r.gets_out("home1").out


def test_ports_and_destinations():
    r, address = one_online()
    r.set(RULES, "*1", protocol="tcp", dst_port="!53")
    r.add(ENTRIES, list="suspended", address=address)
    assert not r.gets_out("home1").out
    assert r.gets_out("home1", port=53).out
    assert r.gets_out("home1", protocol="udp").out
    r.set(RULES, "*1", dst_address_list="!portal")
    r.add(ENTRIES, list="portal", address="198.51.100.7")
    assert r.gets_out("home1", destination="198.51.100.7").out
    assert not r.gets_out("home1").out


def test_a_redirect_to_the_notice_page_is_not_the_internet():
    r, address = one_online()
    rule = r.add(
        "/ip/firewall/nat",
        chain="dstnat",
        action="redirect",
        to_ports="8081",
        protocol="tcp",
        dst_port="80",
        src_address_list="notice",
    )
    r.add(ENTRIES, list="notice", address=address)
    assert r.gets_out("home1").out
    verdict = r.gets_out("home1", port=80)
    assert (verdict.out, verdict.moved_by) == (False, rule)


def test_a_matcher_that_the_lab_cannot_judge_is_named():
    r, _ = one_online()
    made = r.add(RULES, chain="forward", action="drop", layer7_protocol="x", src_address_list="!nobody")
    verdict = r.gets_out("home1")
    assert verdict.out
    assert verdict.unsure == (f"layer7-protocol in {made}",)


def test_rules_that_jump_in_a_circle_end():
    r, _ = one_online()
    r.add(RULES, chain="forward", action="jump", jump_target="a", place_before="*1")
    r.add(RULES, chain="a", action="jump", jump_target="a")
    r.add(RULES, chain="a", action="jump", jump_target="a")
    verdict = r.gets_out("home1")
    assert verdict.out
    assert any("jumps" in why for why in verdict.unsure)
    # and a CPE that dials meanwhile is not lost
    assert r.plug_in("home2", "pw2").online


def test_an_address_may_be_asked_for_as_well():
    r, address = one_online()
    assert r.gets_out("10.9.9.9").out
    r.add(ENTRIES, list="suspended", address="10.9.9.9")
    verdict = r.gets_out("10.9.9.9")
    assert (verdict.online, verdict.out, verdict.action) == (True, False, "drop")
    assert r.gets_out(address).out


def test_a_flow_of_an_address_that_nobody_of_the_lab_has():
    r = bench().router
    r.add("/ip/firewall/connection", src_address="10.9.9.9:4000", dst_address="203.0.113.1:443")
    r.add("/ipv6/firewall/connection", src_address="2001:db8::7", dst_address="2001:db8:1::1")
    assert r.gets_out("10.9.9.9").lingers
    assert not r.gets_out("10.9.9.8").lingers
    assert r.gets_out("2001:db8::7").lingers


def test_nobody():
    verdict = bench().router.gets_out("nobody")
    assert (verdict.online, verdict.out, verdict.reason) == (False, False, "no CPE of that login")


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 40), st.integers(24, 32), st.booleans()), max_size=8))
def test_lists_against_plain_networks(entries):
    lists = AddressLists()
    model: list[tuple[str, ipaddress.IPv4Network]] = []
    for number, (name, last, length, gone) in enumerate(entries):
        network = ipaddress.IPv4Network((int(ipaddress.IPv4Address("10.0.0.0")) + last, length), strict=False)
        row = Row(f"*{number}", {"list": name, "address": str(network).removesuffix("/32")})
        lists.watch(ENTRIES, row, "added")
        if gone:
            lists.watch(ENTRIES, row, "removed")
        else:
            model.append((name, network))
    for name in "ab":
        for last in range(0, 64, 3):
            address = f"10.0.0.{last}"
            expected = any(n == name and ipaddress.IPv4Address(address) in network for n, network in model)
            assert lists.has(name, address) == expected


@given(
    st.lists(
        st.tuples(
            st.sampled_from("ab"),
            st.sampled_from(["10.0.0.", "2001:db8::"]),
            st.integers(0, 40),
            st.integers(0, 8),
            st.booleans(),
            st.booleans(),
        ),
        max_size=8,
    )
)
def test_lists_of_both_families_prefixes_and_ranges(entries):
    lists = AddressLists()
    model: list[tuple[str, int, int, int]] = []
    for number, (name, base, first, size, ranged, gone) in enumerate(entries):
        family = 6 if ":" in base else 4
        low = ipaddress.ip_address(f"{base}{first:x}" if family == 6 else f"{base}{first}")
        if ranged and family == 4:
            value, span = f"{low}-{low + size}", (int(low), int(low) + size)
        else:
            network = ipaddress.ip_network((low, (32 if family == 4 else 128) - size), strict=False)
            value, span = str(network), (int(network[0]), int(network[-1]))
        path = ENTRIES if family == 4 else "/ipv6/firewall/address-list"
        row = Row(f"*{number}", {"list": name, "address": value})
        lists.watch(path, row, "added")
        lists.watch(path, row, "changed")  # counted once
        if gone:
            lists.watch(path, row, "removed")
        else:
            model.append((name, family, *span))
    for name in "ab":
        for base in ("10.0.0.", "2001:db8::"):
            for last in range(0, 70, 3):
                address = ipaddress.ip_address(f"{base}{last}" if "." in base else f"{base}{last:x}")
                expected = any(
                    n == name and f == address.version and low <= int(address) <= high for n, f, low, high in model
                )
                assert lists.has(name, str(address)) == expected


def test_an_ipv6_list_with_a_prefix_and_its_rule():
    r = bench().router
    r.plug_in_host(["192.0.2.9", "2001:db8:7::9"], name="shop")
    rule = r.add("/ipv6/firewall/filter", chain="forward", action="drop", src_address_list="suspended", comment="S6")
    r.add(ENTRIES, list="suspended", address="192.0.2.9")  # of the other family, without a rule there
    assert r.gets_out("2001:db8:7::9").out
    assert r.gets_out("shop").out
    c = logged_in(r)
    made = c.ret("/ipv6/firewall/address-list/add", "=list=suspended", "=address=2001:db8:7::/48")
    verdict = r.gets_out("2001:db8:7::9")
    assert (verdict.out, verdict.lingers, verdict.rule, verdict.menu, verdict.reason) == (
        False,
        False,
        rule,
        "/ipv6/firewall/filter",
        "S6",
    )
    assert r.gets_out("shop").out
    assert not r.gets_out("shop", destination="2001:db8:1::1").out
    assert r.gets_out("2001:db8:8::1").out
    c.ask("/ipv6/firewall/address-list/remove", f"=.id={made}")
    assert r.gets_out("2001:db8:7::9").lingers


def test_raw_drops_before_all_else_what_was_open_too():
    r = bench().router
    accept = r.add(RULES, chain="forward", action="accept")
    r.plug_in_host(["192.0.2.9", "2001:db8:7::9"], name="shop", interface="ether5")
    c = logged_in(r)
    rule = c.ret("/ip/firewall/raw/add", "=chain=prerouting", "=action=drop", "=src-address-list=suspended")
    assert r.gets_out("shop").rule == accept
    r.add(ENTRIES, list="suspended", address="192.0.2.0/24")
    verdict = r.gets_out("shop")
    assert (verdict.out, verdict.lingers, verdict.rule, verdict.menu) == (False, False, rule, "/ip/firewall/raw")
    assert r.gets_out("2001:db8:7::9").out
    r.add("/ipv6/firewall/raw", chain="prerouting", action="drop", in_interface="ether5")
    assert not r.gets_out("2001:db8:7::9").out
    r.add("/ip/firewall/raw", chain="prerouting", action="accept", src_address="192.0.2.9", place_before=rule)
    assert r.gets_out("shop").out


def test_raw_does_not_know_yet_where_a_packet_leaves():
    r = bench().router
    r.add("/interface/list", name="WAN")
    r.add("/interface/list/member", list="WAN", interface="ether1")
    made = r.add("/ip/firewall/raw", chain="prerouting", action="drop", out_interface="ether1")
    verdict = r.gets_out("192.0.2.9")
    assert (verdict.out, verdict.unsure) == (True, (f"out-interface in {made}",))


def test_what_raw_does_not_track_is_neither_new_nor_established():
    r = bench().router
    r.add("/ip/firewall/raw", chain="prerouting", action="notrack", src_address="192.0.2.9")
    r.add(RULES, chain="forward", action="accept", connection_state="untracked", comment="loose")
    r.add(RULES, chain="forward", action="drop")
    assert r.gets_out("192.0.2.9").reason == "loose"
    assert not r.gets_out("192.0.2.10").out


def test_ipv6_fasttrack_lingers_as_well():
    r = bench("7.24").router
    r.add("/ipv6/firewall/filter", chain="forward", action="fasttrack-connection", connection_state="established")
    r.plug_in_host(["2001:db8:7::9"], name="shop")
    r.add("/ipv6/firewall/filter", chain="forward", action="drop")
    verdict = r.gets_out("shop")
    assert (verdict.out, verdict.lingers, verdict.fasttracked) == (False, True, True)


def test_a_packet_of_the_export_meets_the_rules_of_the_export():
    r, address = one_online()
    walk = r.firewall.walk(Packet(address, "203.0.113.1"))
    assert walk.out
