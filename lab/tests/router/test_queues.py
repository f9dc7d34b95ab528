"""How fast a subscriber is: the first queue that takes its packets, wherever dynamic ones stand."""

from __future__ import annotations

import pytest

from lab.router.queues import queue_of, speed_limit
from lab.router.table import Row
from lab.tests.router.routers import access_bench, bench, logged_in

QUEUES = "/queue/simple"


def with_host():
    r = bench().router
    r.plug_in_host(["192.0.2.9", "2001:db8:0:1::9"], interface="ether5", name="shop")
    return r


def test_the_first_queue_that_takes_it():
    r = with_host()
    assert r.speed_of("shop") is None
    own = r.add(QUEUES, name="own", target="192.0.2.9", max_limit="5M/20M")
    assert r.speed_of("shop") == r.speed_of("192.0.2.9") == (5_000_000, 20_000_000)
    assert r.speed_of("2001:db8:0:1::9") is None
    wide = r.add(QUEUES, name="wide", target="10.0.0.0/8,192.0.2.0/24", max_limit="1M/1M")
    assert r.speed_of("shop") == (5_000_000, 20_000_000)
    c = logged_in(r)
    c.ask(f"{QUEUES}/move", f"=numbers={wide}", f"=destination={own}")
    assert r.speed_of("shop") == (1_000_000, 1_000_000)
    c.ask(f"{QUEUES}/disable", f"=numbers={wide}")
    assert r.speed_of("shop") == (5_000_000, 20_000_000)
    assert r.speed_of("192.0.2.10") is None
    assert r.speed_of("nobody") is None


def test_targets_of_ipv6_and_interfaces():
    r = with_host()
    r.add(QUEUES, name="six", target="2001:db8:0:1::/64", max_limit="3M/3M")
    assert (r.speed_of("shop"), r.speed_of("2001:db8:0:1::9")) == (None, (3_000_000, 3_000_000))
    r.add(QUEUES, name="port", target="ether5", max_limit="0/7M")
    assert r.speed_of("shop") == (0, 7_000_000)


def test_a_destination_packet_marks_and_a_time_of_day():
    r = with_host()
    r.add(QUEUES, name="marked", target="192.0.2.9", max_limit="1M/1M", packet_marks="video")
    r.add(QUEUES, name="night", target="192.0.2.9", max_limit="2M/2M", time="0s-6h,mon")
    r.add(QUEUES, name="there", target="192.0.2.9", dst="198.51.100.0/24", max_limit="3M/3M")
    r.add(QUEUES, name="rest", target="192.0.2.9", max_limit="4M/4M")
    assert r.speed_of("shop") == (4_000_000, 4_000_000)
    assert r.speed_of("shop", destination="198.51.100.7") == (3_000_000, 3_000_000)


def test_parents_bound_their_children_and_pass_packets_down():
    r = with_host()
    r.add(QUEUES, name="all", target="192.0.2.0/24", max_limit="10M/10M")
    r.add(QUEUES, name="tower", target="192.0.2.0/25", max_limit="0/8M", parent="all")
    r.add(QUEUES, name="shop", target="192.0.2.9", max_limit="20M/5M", parent="tower")
    assert r.speed_of("shop") == (10_000_000, 5_000_000)
    assert r.speed_of("192.0.2.10") == (10_000_000, 8_000_000)
    assert r.speed_of("192.0.2.200") == (10_000_000, 10_000_000)


def test_a_circle_of_parents_ends():
    packet = with_host().flows.packet(with_host().packets.line("192.0.2.9"), "192.0.2.9")
    rows = [
        Row("*1", {"name": "a", "parent": "b", "target": "192.0.2.9/32", "max-limit": "9/9"}),
        Row("*2", {"name": "b", "parent": "a", "target": "192.0.2.9/32", "max-limit": "8/8"}),
    ]
    assert speed_limit(rows, packet) == (8, 8)


def test_a_pppoe_queue_is_below_static_ones_unless_told_first():
    b = access_bench()
    r = b.router
    r.add(QUEUES, name="pool", target="100.64.0.0/24", max_limit="1M/1M")
    cpe = r.plug_in("home1", "pw1")
    assert [q["dynamic"] for q in r.rows(QUEUES)] == ["false", "true"]
    assert r.speed_of("home1") == (1_000_000, 1_000_000)
    r.set("/ppp/profile", "home20", insert_queue_before="first")
    r.remove("/ppp/active", r.rows("/ppp/active")[0][".id"])
    b.after(1)
    assert r.speed_of("home1") == r.speed_of(cpe.mac) == (5_000_000, 20_000_000)
    r.set("/ppp/secret", "home1", disabled="yes")
    r.remove("/ppp/active", r.rows("/ppp/active")[0][".id"])
    assert r.speed_of("home1") is None


def test_fasttracked_packets_pass_by_the_queues():
    r = bench().router
    rule = r.add(
        "/ip/firewall/filter", chain="forward", action="fasttrack-connection", connection_state="established,related"
    )
    r.add(QUEUES, name="q", target="192.0.2.9", max_limit="1M/1M")
    host = r.plug_in_host(["192.0.2.9"], name="shop")
    assert r.speed_of("shop") is None
    r.set("/ip/firewall/filter", rule, disabled="yes")
    assert r.speed_of("shop") is None  # the connection has it still
    r.hosts.open(host)
    assert r.speed_of("shop") == (1_000_000, 1_000_000)


@pytest.mark.parametrize(
    ("text", "limits"),
    [
        ("", {}),
        ("5M", {"max-limit": "5000000/5000000"}),
        (
            "2M/5M 4M/10M 2M/5M 16/16 8 1M/2M",
            {
                "max-limit": "2000000/5000000",
                "burst-limit": "4000000/10000000",
                "burst-threshold": "2000000/5000000",
                "burst-time": "16s/16s",
                "priority": "8/8",
                "limit-at": "1000000/2000000",
            },
        ),
        ("nonsense 4M/4M", {"burst-limit": "4000000/4000000"}),
    ],
)
def test_queue_of(text, limits):
    assert queue_of(text) == limits
