"""DHCP: who gets which lease, what it brings while it is bound, and when a change of it takes hold."""

from __future__ import annotations

import pytest

from lab.tests.router.routers import Bench, bench, logged_in, row_of

LEASES = "/ip/dhcp-server/lease"
ENTRIES = "/ip/firewall/address-list"
QUEUES = "/queue/simple"
MAC = "02:00:00:00:AA:01"


def dhcp_bench(version: str = "7.20.8", lease_time: str = "10m") -> Bench:
    b = bench(version)
    r = b.router
    r.add("/ip/address", address="10.1.0.1/24", interface="ether3")
    r.add("/ip/pool", name="lan", ranges="10.1.0.10-10.1.0.13")
    r.add("/ip/dhcp-server", name="d1", interface="ether3", address_pool="lan", lease_time=lease_time, disabled="no")
    r.add("/ip/firewall/filter", chain="forward", action="drop", src_address_list="suspended", comment="SUSPENDED")
    return b


def static_lease(r, **props):
    return r.add(LEASES, mac_address=MAC, address="10.1.0.50", server="d1", **props)


@pytest.mark.parametrize("version", ["6.49.18", "7.15.3", "7.20.8", "7.24"])
def test_a_dynamic_lease(version):
    b = dhcp_bench(version)
    r = b.router
    client = r.plug_in_dhcp(MAC, host_name="tv")
    b.after(61)
    (lease,) = logged_in(r).rows(f"{LEASES}/print")
    assert (
        lease.items()
        >= {
            "address": "10.1.0.10",
            "active-address": "10.1.0.10",
            "mac-address": MAC,
            "active-mac-address": MAC,
            "active-server": "d1",
            "client-id": "1:2:0:0:0:aa:1",
            "host-name": "tv",
            "status": "bound",
            "dynamic": "true",
            "expires-after": "8m59s",
            "last-seen": "1m1s",
        }.items()
    )
    assert (client.address, client.interface, r.gets_out(MAC).out) == ("10.1.0.10", "ether3", True)
    b.after(240)  # at half the lease time it renews
    assert r.rows(LEASES)[0]["expires-after"] == "9m59s"
    assert client.asks == 2
    b.after(299)  # when it would have ended but for that
    (kept,) = r.rows(LEASES)
    assert (kept[".id"], kept["expires-after"]) == (lease[".id"], "10m")


def test_a_gone_client_loses_its_lease_a_static_one_waits():
    b = dhcp_bench()
    r = b.router
    static_lease(r)
    known, guest = r.plug_in_dhcp(MAC), r.plug_in_dhcp()
    assert [lease["status"] for lease in r.rows(LEASES)] == ["bound", "bound"]
    r.dhcp.unplug(known)
    r.dhcp.unplug(guest)
    b.after(599)
    assert len(r.rows(LEASES)) == 2
    b.after(1)
    (lease,) = r.rows(LEASES)
    assert (lease["status"], lease["address"]) == ("waiting", "10.1.0.50")
    assert "active-address" not in lease
    assert "expires-after" not in lease
    assert r.get_timer() is None
    assert len(r.rows("/ip/firewall/connection")) == 2  # they outlive the leases


def test_a_listener_hears_of_a_static_lease_bound_and_waiting():
    b = dhcp_bench()
    r = b.router
    static_lease(r)
    c = logged_in(r)
    c.ask(f"{LEASES}/listen")
    client = r.plug_in_dhcp(MAC)
    assert [row_of(said)["status"] for said in c.heard()] == ["bound"]
    r.dhcp.unplug(client)
    b.after(600)
    assert [row_of(said)["status"] for said in c.heard()] == ["waiting"]


def test_make_static_then_lists_and_a_rate_limit_by_the_api():
    b = dhcp_bench()
    r = b.router
    r.plug_in_dhcp(MAC, host_name="tv")
    r.add(QUEUES, name="all", target="10.1.0.0/24", max_limit="100M/100M")
    c = logged_in(r)
    (lease,) = c.rows(f"{LEASES}/print")
    which = f"=.id={lease['.id']}"
    assert c.trap(f"{LEASES}/set", which, "=rate-limit=5M/20M") == "failure: cannot change dynamic"
    assert c.ask(f"{LEASES}/make-static", which) == [["!done"]]
    assert c.ask(f"{LEASES}/set", which, "=rate-limit=5M/20M", "=address-lists=suspended,late") == [["!done"]]
    # the more pessimistic of what a router may do: a bound lease keeps what it had
    assert r.rows(ENTRIES) == []
    assert r.gets_out("10.1.0.10").out
    b.after(300)
    assert [(e["list"], e["address"], e["dynamic"]) for e in r.rows(ENTRIES)] == [
        ("suspended", "10.1.0.10", "true"),
        ("late", "10.1.0.10", "true"),
    ]
    verdict = r.gets_out(MAC)
    assert (verdict.out, verdict.lingers, verdict.reason) == (False, False, "SUSPENDED")
    queue, _ = r.rows(QUEUES)  # at the top, as the manual says
    assert (
        queue.items()
        >= {
            "name": f"dhcp-ds<tv/{MAC}>",
            "target": "10.1.0.10/32",
            "max-limit": "5000000/20000000",
            "limit-at": "5000000/20000000",
            "dynamic": "true",
        }.items()
    )
    c.ask(f"{LEASES}/set", which, "=rate-limit=", "=address-lists=")
    b.after(300)
    assert r.rows(ENTRIES) == []
    assert [q["name"] for q in r.rows(QUEUES)] == ["all"]
    assert r.gets_out(MAC).out


def test_a_router_that_applies_changes_at_once():
    b = dhcp_bench()
    r = b.router
    r.dhcp.applies = "at-once"
    made = static_lease(r)
    r.plug_in_dhcp(MAC)
    r.set(LEASES, made, address_lists="suspended", rate_limit="1M/2M")
    assert not r.gets_out(MAC).out
    (queue,) = r.rows(QUEUES)
    r.set(LEASES, made, comment="x")  # nothing of it changed: the rows stay
    assert r.rows(QUEUES) == [queue]
    r.set(LEASES, made, address_lists="", rate_limit="2M/4M")
    assert r.gets_out(MAC).out
    assert r.speed_of(MAC) == (2_000_000, 4_000_000)


def test_the_lists_of_the_server_are_every_leases():
    b = dhcp_bench()
    r = b.router
    r.set("/ip/dhcp-server", "d1", address_lists="lan")
    static_lease(r, address_lists="vip,lan")
    r.plug_in_dhcp(MAC)
    r.plug_in_dhcp()
    assert [(e["list"], e["address"]) for e in r.rows(ENTRIES)] == [
        ("lan", "10.1.0.50"),
        ("vip", "10.1.0.50"),
        ("lan", "10.1.0.10"),
    ]


def test_block_access_gives_no_answer_and_bites_at_the_end():
    b = dhcp_bench()
    r = b.router
    made = static_lease(r)
    client = r.plug_in_dhcp(MAC)
    logged_in(r).ask(f"{LEASES}/set", f"=numbers={made}", "=block-access=yes")
    assert r.rows(LEASES)[0]["blocked"] == "true"
    b.after(599)
    assert client.asks == 1 + 4  # after half the time that is left: at 300, 450, 525, and 60 seconds later
    assert (client.online, client.refused) == (True, "the lease is blocked")
    assert r.gets_out(MAC).out
    b.after(1.1)
    assert not client.online
    assert r.rows(LEASES)[0]["status"] == "waiting"
    assert r.gets_out(MAC).reason == "the lease is blocked"
    r.set(LEASES, made, block_access="no")
    b.after(1)
    assert client.online


def test_a_removed_lease_is_noticed_at_the_next_renewal():
    b = dhcp_bench()
    r = b.router
    made = static_lease(r, address_lists="suspended", rate_limit="1M/1M")
    client = r.plug_in_dhcp(MAC)
    assert not r.gets_out(MAC).out
    assert logged_in(r).ask(f"{LEASES}/remove", f"=.id={made}") == [["!done"]]
    # what it brought goes at once, the client still has its address
    assert r.rows(ENTRIES) + r.rows(QUEUES) == []
    assert (client.address, r.gets_out(MAC).out) == ("10.1.0.50", True)
    b.after(300)
    assert client.address == "10.1.0.10"
    assert [lease["dynamic"] for lease in r.rows(LEASES)] == ["true"]


def test_a_removed_dynamic_lease_is_given_again():
    b = dhcp_bench()
    r = b.router
    client = r.plug_in_dhcp(MAC)
    r.remove(LEASES, r.rows(LEASES)[0][".id"])
    other = r.plug_in_dhcp()  # the address is in use: the server sees that before it offers it
    assert other.address == "10.1.0.11"
    b.after(300)
    assert client.address == "10.1.0.10"


def test_a_changed_address_comes_at_the_renewal_or_a_new_start():
    b = dhcp_bench()
    r = b.router
    made = static_lease(r, address_lists="vip")
    client = r.plug_in_dhcp(MAC)
    r.set(LEASES, made, address="10.1.0.60")
    assert client.address == "10.1.0.50"
    b.after(300)
    assert client.address == "10.1.0.60"
    assert [e["address"] for e in r.rows(ENTRIES)] == ["10.1.0.60"]
    r.set(LEASES, made, address="10.1.0.61")
    r.dhcp.restart(client)
    assert client.address == "10.1.0.61"
    assert len(r.rows("/ip/firewall/connection")) == 3  # those of its former addresses outlive them


def test_a_later_static_lease_takes_the_dynamic_ones_place():
    b = dhcp_bench()
    r = b.router
    r.plug_in_dhcp(MAC)
    static_lease(r)
    b.after(300)
    (lease,) = r.rows(LEASES)
    assert (lease["dynamic"], lease["active-address"]) == ("false", "10.1.0.50")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda r: r.set("/ip/dhcp-server", "d1", disabled="yes"), "no DHCP server is enabled"),
        (lambda r: r.set("/ip/dhcp-server", "d1", address_pool="static-only"), "static leases only"),
        (lambda r: r.set("/ip/pool", "lan", ranges="10.1.0.50"), "no address is free"),
        (lambda r: r.add(LEASES, mac_address="02:00:00:00:BB:02", server="d1", block_access="yes"), "blocked"),
    ],
)
def test_who_is_not_served(change, why):
    b = dhcp_bench()
    static_lease(b.router)
    change(b.router)
    client = b.router.plug_in_dhcp("02-00-00-00-bb-02", server="d1")
    assert not client.online
    assert why in client.refused
    assert why in b.router.gets_out("02:00:00:00:BB:02").reason
    b.after(10)
    assert client.asks == 11


def test_who_is_refused_its_renewal_loses_address_and_lease():
    b = dhcp_bench()
    r = b.router
    made = static_lease(r, address_lists="vip")
    client = r.plug_in_dhcp(MAC)
    r.set("/ip/dhcp-server", "d1", address_pool="static-only")
    r.set(LEASES, made, disabled="yes")
    b.after(299)
    assert client.online
    b.after(1)
    assert (client.online, client.refused) == (False, "the server has static leases only")
    assert (r.rows(LEASES)[0]["status"], r.rows(ENTRIES)) == ("waiting", [])


def test_leases_by_client_id_for_all_servers_and_disabled():
    b = dhcp_bench()
    r = b.router
    r.add(LEASES, client_id="1:2:0:0:0:aa:1", address="10.1.0.71")
    r.add(LEASES, mac_address=MAC, client_id="1:2:0:0:0:aa:9", address="10.1.0.72")
    off = r.add(LEASES, mac_address=MAC, address="10.1.0.73", server="d1", disabled="yes")
    client = r.plug_in_dhcp(MAC)
    assert client.address == "10.1.0.71"
    r.set(LEASES, off, disabled="no")
    r.dhcp.restart(client)
    assert client.address == "10.1.0.73"


def test_a_static_lease_without_address_uses_the_pool_its_time():
    b = dhcp_bench()
    r = b.router
    made = r.add(LEASES, mac_address=MAC, lease_time="1h")
    client = r.plug_in_dhcp(MAC)
    assert client.address == "10.1.0.10"
    r.dhcp.unplug(client)
    r.set("/ip/pool", "lan", ranges="10.1.0.10")
    assert r.plug_in_dhcp().refused == "no address is free in pool lan"  # it is leased still
    assert next(x for x in r.rows(LEASES) if x[".id"] == made)["expires-after"] == "1h"


def test_where_a_leases_queue_goes():
    b = dhcp_bench()
    r = b.router
    for name in ("a", "b"):
        r.add(QUEUES, name=name, target="10.9.0.0/24")
    made = static_lease(r, rate_limit="1M/1M")
    client = r.plug_in_dhcp(MAC)

    def order():
        return ["*" if q["dynamic"] == "true" else q["name"] for q in r.rows(QUEUES)]

    assert order() == ["*", "a", "b"]
    for before, expected in (("bottom", ["a", "b", "*"]), ("b", ["a", "*", "b"])):
        r.set(LEASES, made, insert_queue_before=before, rate_limit="1M/1M" if before == "b" else "2M/2M")
        r.dhcp.restart(client)
        assert order() == expected


def test_leases_outlive_restart_and_what_they_bring_comes_back():
    b = dhcp_bench()
    r = b.router
    static_lease(r, address_lists="vip", rate_limit="1M/2M")
    known, guest = r.plug_in_dhcp(MAC), r.plug_in_dhcp()
    r.reboot()
    assert [lease["status"] for lease in r.rows(LEASES)] == ["bound", "bound"]
    assert [e["list"] for e in r.rows(ENTRIES)] == ["vip"]
    assert r.speed_of(MAC) == (1_000_000, 2_000_000)
    assert r.gets_out(guest.address).lingers
    b.after(300)
    assert (known.asks, guest.asks) == (2, 2)


def test_many_clients_leave_nothing_behind():
    b = dhcp_bench(lease_time="1m")
    r = b.router
    r.set("/ip/pool", "lan", ranges="10.1.0.10-10.1.0.250")
    r.set("/ip/dhcp-server", "d1", address_lists="lan")
    clients = [r.plug_in_dhcp() for _ in range(200)]
    assert len({c.address for c in clients}) == 200
    b.after(600)
    assert len(r.rows(ENTRIES)) == 200
    for client in clients:
        r.dhcp.unplug(client)
    b.after(60)
    assert r.rows(LEASES) + r.rows(ENTRIES) == []
    assert r.get_timer() is None
