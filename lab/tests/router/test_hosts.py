"""Hosts with fixed addresses: both families, their connections, the interface they are on."""

from __future__ import annotations

import pytest

from lab.tests.router.routers import bench, logged_in

FLOWS, FLOWS6 = "/ip/firewall/connection", "/ipv6/firewall/connection"


@pytest.mark.parametrize("version", ["6.49.18", "7.15.3", "7.20.8", "7.24"])
def test_a_host_of_both_families(version):
    r = bench(version).router
    r.add("/ip/address", address="192.0.2.1/24", interface="ether5")
    host = r.plug_in_host(["192.0.2.9", "2001:DB8:0:1::9"], "02-00-00-00-dd-01", name="shop")
    assert (host.interface, host.mac, host.addresses[1]) == ("ether5", "02:00:00:00:DD:01", "2001:db8:0:1::9")
    (flow,), (flow6,) = r.rows(FLOWS), r.rows(FLOWS6)
    assert (flow["src-address"], flow6["src-address"]) == ("192.0.2.9:50000", "[2001:db8:0:1::9]:50000")
    for which in ("shop", host.mac, *host.addresses):
        verdict = r.gets_out(which)
        assert (verdict.online, verdict.out, verdict.lingers) == (True, True, True), which
    c = logged_in(r)
    assert c.ask(f"{FLOWS6}/remove", f"=.id={flow6['.id']}") == [["!done"]]
    assert r.gets_out("shop").lingers
    assert not r.gets_out("2001:db8:0:1::9").lingers
    assert not r.gets_out("shop", destination="2001:db8:5::1").lingers
    c.ask(f"{FLOWS}/remove", f"=.id={flow['.id']}")
    assert not r.gets_out("shop").lingers


def test_a_host_of_ipv6_alone_is_judged_by_it():
    r = bench().router
    r.add("/ipv6/address", address="2001:db8:0:2::1/64", interface="ether5", disabled="yes")
    r.add("/ipv6/address", address="2001:db8:0:2::2/64", interface="ether6")
    host = r.plug_in_host(["2001:db8:0:2::9"], name="six")
    assert host.interface == "ether6"
    rule = r.add("/ipv6/firewall/filter", chain="forward", action="drop", in_interface="ether6")
    verdict = r.gets_out("six")
    assert (verdict.out, verdict.rule, verdict.menu) == (False, rule, "/ipv6/firewall/filter")
    verdict = r.gets_out("six", destination="203.0.113.9")
    assert (verdict.online, verdict.reason) == (False, "six has no address of that family")


def test_a_host_that_may_not_out_opens_nothing():
    r = bench().router
    r.add("/ip/firewall/filter", chain="forward", action="drop", src_address="192.0.2.0/24")
    assert r.plug_in_host(["192.0.2.9", "192.0.2.10"]).flows == []
    assert not r.gets_out("192.0.2.10").out


def test_unplugged_a_restart_and_what_is_no_address():
    r = bench().router
    host = r.plug_in_host(["192.0.2.9"], name="shop")
    other = r.plug_in_host(["192.0.2.10"])
    r.reboot()
    assert (len(r.rows(FLOWS)), r.gets_out("shop").lingers) == (2, True)
    r.hosts.unplug(host)
    assert (len(r.rows(FLOWS)), r.gets_out("shop").online) == (1, False)
    assert host.mac != other.mac
    with pytest.raises(ValueError, match="does not appear"):
        r.plug_in_host(["shop"])
