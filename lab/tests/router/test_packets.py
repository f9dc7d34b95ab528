"""Whose packets: a subscriber asked for by login, MAC or address, however it is connected."""

from __future__ import annotations

import pytest

from lab.router.flows import host_of
from lab.tests.router.routers import access_bench


def test_a_pppoe_subscriber_by_login_mac_and_address():
    b = access_bench()
    r = b.router
    r.add("/interface/list", name="WAN")
    r.add("/interface/list/member", list="WAN", interface="ether1")
    rule = r.add("/ip/firewall/filter", chain="forward", action="drop", in_interface="all-ppp", dst_port="25")
    cpe = r.plug_in("home1", "pw1", mac="02:00:00:00:EE:01")
    address = cpe.session.address
    for which in ("home1", "02:00:00:00:EE:01", address):
        line = r.packets.line(which)
        assert (line.name, line.addresses, line.interface) == ("home1", (address,), "<pppoe-home1>")
        assert r.gets_out(which, port=25).rule == rule
    # the address of nobody comes by no interface that is known
    assert r.gets_out("100.64.0.60", port=25).out
    r.access.unplug(cpe)
    assert r.gets_out("home1").reason == "no CPE of that login"


def test_who_is_online_wins_over_who_is_not():
    b = access_bench()
    r = b.router
    r.plug_in("home1", "wrong")
    assert r.gets_out("home1").reason == "wrong password"
    r.plug_in_host(["192.0.2.9"], name="home1")
    assert r.gets_out("home1").online


@pytest.mark.parametrize(
    ("endpoint", "host"),
    [
        ("10.0.0.1:50000", "10.0.0.1"),
        ("10.0.0.1", "10.0.0.1"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("2001:db8::1", "2001:db8::1"),
        ("", ""),
    ],
)
def test_host_of(endpoint, host):
    assert host_of(endpoint) == host
