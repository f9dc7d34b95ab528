"""Hotspot: logging in, what a session brings, cookies, ip-bindings, and what unauthenticated hosts get: nothing."""

from __future__ import annotations

import pytest

from lab.tests.router.routers import Bench, bench, logged_in

ACTIVE = "/ip/hotspot/active"
COOKIES = "/ip/hotspot/cookie"
BINDINGS = "/ip/hotspot/ip-binding"
HOSTS = "/ip/hotspot/host"
USERS = "/ip/hotspot/user"
MAC = "02:00:00:00:CC:01"


def hotspot_bench(version: str = "7.20.8", login_by: str = "cookie,http-chap") -> Bench:
    b = bench(version)
    r = b.router
    r.add("/ip/pool", name="hs", ranges="10.5.50.2-10.5.50.9")
    r.add("/ip/hotspot/profile", name="hsprof1", login_by=login_by)
    r.add("/ip/hotspot", name="hs1", interface="ether4", address_pool="hs", profile="hsprof1", disabled="no")
    r.add("/ip/hotspot/user/profile", name="day", rate_limit="1M/2M", address_list="guests", shared_users="2")
    r.add(USERS, name="ann", password="pw", profile="day")
    return b


@pytest.mark.parametrize("version", ["6.49.18", "7.15.3", "7.20.8", "7.24"])
def test_a_login_and_what_comes_with_it(version):
    b = hotspot_bench(version)
    r = b.router
    client = r.plug_in_hotspot(MAC, "ann", "pw")
    b.after(61)
    c = logged_in(r)
    (active,) = c.rows(f"{ACTIVE}/print")
    assert (
        active.items()
        >= {
            ".id": "*A053202",
            "server": "hs1",
            "user": "ann",
            "address": "10.5.50.2",
            "mac-address": MAC,
            "login-by": "http-chap",
            "uptime": "1m1s",
            "radius": "false",
        }.items()
    )
    (host,) = c.rows(f"{HOSTS}/print")
    assert (host["address"], host["authorized"], host["bypassed"], host["uptime"]) == (
        "10.5.50.2",
        "true",
        "false",
        "1m1s",
    )
    (cookie,) = c.rows(f"{COOKIES}/print")
    assert (cookie["user"], cookie["mac-address"], cookie["expires-in"]) == ("ann", MAC, "2d23h58m59s")
    (queue,) = r.rows("/queue/simple")
    assert (queue["name"], queue["target"], queue["max-limit"], queue["dynamic"]) == (
        "<hotspot-ann>",
        "10.5.50.2/32",
        "1000000/2000000",
        "true",
    )
    assert [(e["list"], e["address"]) for e in r.rows("/ip/firewall/address-list")] == [("guests", "10.5.50.2")]
    assert r.rows(USERS)[-1]["uptime"] == "1m1s"
    assert (client.online, r.gets_out("ann").out, r.speed_of(MAC)) == (True, True, (1_000_000, 2_000_000))


def test_removing_the_active_row_ends_it_and_a_cookie_reopens():
    b = hotspot_bench()
    r = b.router
    r.plug_in_hotspot(MAC, "ann", "pw", redial_s=2)
    first = r.rows(ACTIVE)[0]
    r.set(USERS, "ann", password="other")
    c = logged_in(r)
    assert c.ask(f"{ACTIVE}/remove", f"=.id={first['.id']}") == [["!done"]]
    assert r.rows(ACTIVE) + r.rows("/queue/simple") + r.rows("/ip/firewall/address-list") == []
    verdict = r.gets_out("ann")
    assert (verdict.out, verdict.lingers, verdict.reason) == (False, False, "not logged in to hotspot hs1")
    b.after(2)
    # nobody was asked for a password; and as the .id is the address, the new session has the old one's
    (second,) = r.rows(ACTIVE)
    assert (second["login-by"], second[".id"], second["uptime"]) == ("cookie", first[".id"], "0s")
    c.ask(f"{COOKIES}/remove", f"=.id={r.rows(COOKIES)[0]['.id']}")
    c.ask(f"{ACTIVE}/remove", f"=.id={second['.id']}")
    b.after(10)
    assert r.rows(ACTIVE) == []
    assert r.gets_out("ann").reason == "not logged in to hotspot hs1: wrong password"


def test_a_mac_cookie_goes_with_its_session_if_reachable():
    b = hotspot_bench(login_by="http-chap,mac-cookie")
    r = b.router
    client = r.plug_in_hotspot(MAC, "ann", "pw")
    assert [x["mac-cookie"] for x in r.rows(COOKIES)] == ["true"]
    r.hotspot.unplug(client)
    r.plug_in_hotspot(MAC, "ann", "forgotten")
    assert r.rows(ACTIVE)[0]["login-by"] == "mac-cookie"
    r.remove(ACTIVE, r.rows(ACTIVE)[0][".id"])
    assert r.rows(COOKIES) == []
    b.after(5)
    assert r.rows(ACTIVE) == []
    # a profile that keeps none
    r.set("/ip/hotspot/user/profile", "day", add_mac_cookie="no")
    r.plug_in_hotspot(MAC, "ann", "pw")
    assert (len(r.rows(ACTIVE)), r.rows(COOKIES)) == (1, [])


def test_a_mac_cookie_whose_password_changed_is_thrown_away():
    b = hotspot_bench(login_by="http-chap,mac-cookie")
    r = b.router
    client = r.plug_in_hotspot(MAC, "ann", "pw")
    r.hotspot.unplug(client)
    r.set(USERS, "ann", password="new")
    assert r.plug_in_hotspot(MAC, "ann", "pw").refused == "wrong password"
    assert r.rows(COOKIES) == []


def test_cookies_run_out():
    b = hotspot_bench()
    r = b.router
    r.plug_in_hotspot(MAC, "ann", "pw")
    b.after(3 * 86400 - 1)
    assert r.rows(COOKIES)[0]["expires-in"] == "1s"
    b.after(1)
    assert r.rows(COOKIES) == []
    assert len(r.rows(ACTIVE)) == 1


def test_a_disabled_user_keeps_its_session_until_removed():
    b = hotspot_bench()
    r = b.router
    client = r.plug_in_hotspot(MAC, "ann", "pw", redial_s=1, retry_s=5)
    logged_in(r).ask(f"{USERS}/set", "=numbers=ann", "=disabled=yes")
    assert client.online
    r.remove(ACTIVE, r.rows(ACTIVE)[0][".id"])
    b.after(20)
    assert (client.online, client.refused) == (False, "the user is disabled")
    assert not r.gets_out(MAC).out
    r.set(USERS, "ann", disabled="no")
    b.after(5)
    assert client.online
    assert client.refused == ""


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda r: r.set(USERS, "ann", password="x"), "wrong password"),
        (lambda r: r.set(USERS, "ann", mac_address="02:00:00:00:00:99"), "another MAC"),
        (lambda r: r.set(USERS, "ann", server="hs2"), "another hotspot"),
        (lambda r: r.remove(USERS, "ann"), "no such user"),
        (lambda r: r.set("/ip/hotspot/profile", "hsprof1", login_by="mac"), "no passwords"),
        (lambda r: r.set("/ip/hotspot", "hs1", address_pool="none"), "no address"),
        (lambda r: r.set("/ip/hotspot", "hs1", disabled="yes"), "no hotspot is enabled"),
        (lambda r: r.add(BINDINGS, mac_address=MAC, type="blocked"), "blocked by an ip-binding"),
    ],
)
def test_refusals(change, why):
    b = hotspot_bench()
    r = b.router
    r.add("/ip/hotspot", name="hs2", interface="ether5", disabled="yes")
    change(r)
    client = r.plug_in_hotspot(MAC, "ann", "pw", server="hs1")
    assert not client.online
    assert why in client.refused
    assert why in r.gets_out("ann").reason


def test_shared_users():
    b = hotspot_bench()
    r = b.router
    clients = [r.plug_in_hotspot("", "ann", "pw", retry_s=1) for _ in range(3)]
    assert [c.online for c in clients] == [True, True, False]
    assert clients[2].refused == "no more sessions are allowed for the user"
    assert [q["name"] for q in r.rows("/queue/simple")] == ["<hotspot-ann>", "<hotspot-ann-1>"]
    assert r.gets_out("ann").out  # of a user's hosts, one that is in
    assert not r.gets_out(clients[2].mac).out
    r.hotspot.unplug(clients[0])
    b.after(1)
    assert clients[2].online
    r.set("/ip/hotspot/user/profile", "day", shared_users="unlimited")
    assert r.plug_in_hotspot("", "ann", "pw").online


def test_no_two_hosts_have_one_address():
    b = hotspot_bench()
    r = b.router
    r.set("/ip/pool", "hs", ranges="10.5.50.2-10.5.50.3")
    r.set("/ip/hotspot/user/profile", "day", shared_users="9")
    clients = [r.plug_in_hotspot("", "ann", "pw", retry_s=1) for _ in range(3)]
    assert [c.address for c in clients] == ["10.5.50.2", "10.5.50.3", ""]
    assert clients[2].refused == "the host has no address"
    r.hotspot.unplug(clients[0])
    b.after(1)
    assert clients[2].address == "10.5.50.2"


def test_time_limits():
    b = hotspot_bench()
    r = b.router
    r.set("/ip/hotspot/user/profile", "day", session_timeout="1h")
    r.set(USERS, "ann", limit_uptime="90m")
    client = r.plug_in_hotspot(MAC, "ann", "pw", redial_s=60)
    b.after(60)
    assert r.rows(ACTIVE)[0]["session-time-left"] == "59m"
    b.after(3540)
    assert not client.online
    b.after(60)
    assert r.rows(ACTIVE)[0]["session-time-left"] == "30m"
    b.after(1800 + 60)
    assert (client.online, client.refused) == (False, "uptime limit reached")


def test_an_ip_binding_lets_by_and_blocks_and_is_taken_back():
    b = hotspot_bench()
    r = b.router
    client = r.plug_in_hotspot(MAC, "nobody", "", retry_s=3600)
    assert not r.gets_out(MAC).out
    c = logged_in(r)
    made = c.ret(f"{BINDINGS}/add", f"=mac-address={MAC}", "=type=bypassed")
    verdict = r.gets_out(MAC)
    assert (verdict.out, verdict.lingers, client.online, client.refused) == (True, True, False, "")
    assert r.rows(HOSTS)[0]["bypassed"] == "true"
    assert (r.rows(BINDINGS)[0]["bypassed"], r.rows(BINDINGS)[0]["blocked"]) == ("true", "false")
    assert r.rows(ACTIVE) == []
    c.ask(f"{BINDINGS}/set", f"=numbers={made}", "=type=blocked")
    verdict = r.gets_out(MAC)
    assert (verdict.out, verdict.lingers, verdict.rule, verdict.menu) == (False, False, made, BINDINGS)
    c.ask(f"{BINDINGS}/disable", f"=numbers={made}")
    assert "no such user" in r.gets_out(MAC).reason
    r.add(USERS, name="nobody")
    c.ask(f"{BINDINGS}/remove", f"=numbers={made}")
    assert client.online


def test_of_several_ip_bindings_the_first_counts():
    b = hotspot_bench()
    r = b.router
    r.plug_in_hotspot(MAC, "ann", "pw", address="10.5.50.77")
    r.add(BINDINGS, address="10.5.50.64/26", type="blocked")
    assert not r.gets_out("ann").out
    mine = r.add(BINDINGS, mac_address=MAC, address="10.5.50.77", type="bypassed", server="hs1")
    assert not r.gets_out("ann").out
    logged_in(r).ask(f"{BINDINGS}/move", f"=numbers={mine}", "=destination=*1")
    assert r.gets_out("ann").out
    r.set(BINDINGS, mine, address="10.5.50.78")
    assert not r.gets_out("ann").out


def test_ip_binding_of_prefix_is_noticed_by_whom_it_is_about():
    r = hotspot_bench().router
    inside = r.plug_in_hotspot("", "nobody", address="10.5.50.77", retry_s=3600)
    outside = r.plug_in_hotspot("", "nobody", address="10.5.50.7", retry_s=3600)
    r.add(BINDINGS, address="10.5.50.64/26", type="bypassed")
    assert (inside.refused, outside.refused != "") == ("", True)
    assert (r.gets_out(inside.mac).out, r.gets_out(outside.mac).out) == (True, False)


def test_the_walled_garden_and_rules_above_and_below_the_gate():
    b = hotspot_bench()
    r = b.router
    r.plug_in_hotspot(MAC, "nobody")
    r.add("/ip/hotspot/walled-garden/ip", action="drop", dst_address="198.51.100.9")
    r.add(
        "/ip/hotspot/walled-garden/ip", action="accept", dst_address="198.51.100.0/24", protocol="tcp", dst_port="443"
    )
    r.add("/ip/hotspot/walled-garden/ip", action="accept", dst_host="pay.example")
    assert r.gets_out(MAC, destination="198.51.100.7").out
    assert not r.gets_out(MAC, destination="198.51.100.7", port=80).out
    assert not r.gets_out(MAC, destination="198.51.100.9").out
    r.add("/ip/hotspot", name="hs2", interface="ether5")
    r.add("/ip/hotspot/walled-garden/ip", action="accept", server="hs2")
    verdict = r.gets_out(MAC)
    assert (verdict.out, verdict.menu) == (False, "/ip/hotspot")
    assert verdict.unsure == ("dst-host in *3",)
    # a rule of the filter's does not open the gate, and one that drops stands behind it
    r.add("/ip/firewall/filter", chain="forward", action="accept")
    assert not r.gets_out(MAC).out
    r.add("/ip/firewall/raw", chain="prerouting", action="drop")
    assert r.gets_out(MAC, destination="198.51.100.7").menu == "/ip/firewall/raw"
    assert r.gets_out(MAC).menu == "/ip/firewall/raw"


def test_who_else_is_on_the_hotspots_interface_is_held_back_too():
    b = hotspot_bench()
    r = b.router
    r.add("/ip/pool", name="lan", ranges="10.5.51.10-10.5.51.20")
    r.add("/ip/dhcp-server", name="d", interface="ether4", address_pool="lan", disabled="no")
    leased = r.plug_in_dhcp(MAC)
    assert not r.gets_out(leased.address).out
    client = r.plug_in_hotspot(MAC, "ann", "pw")
    assert client.address == leased.address
    assert r.gets_out(leased.address).out
    assert r.plug_in_host(["2001:db8::9"], interface="ether4").flows  # hotspots know IPv4 only


def test_a_fasttracked_connection_outlives_the_session():
    b = hotspot_bench()
    r = b.router
    r.add("/ip/firewall/filter", chain="forward", action="fasttrack-connection", connection_state="established")
    r.plug_in_hotspot(MAC, "ann", "pw", redial_s=60)
    assert r.speed_of("ann") is None
    r.remove(ACTIVE, r.rows(ACTIVE)[0][".id"])
    verdict = r.gets_out("ann")
    assert (verdict.out, verdict.lingers, verdict.fasttracked) == (False, True, True)
    (flow,) = r.rows("/ip/firewall/connection")
    logged_in(r).ask("/ip/firewall/connection/remove", f"=.id={flow['.id']}")
    assert not r.gets_out("ann").lingers


def test_removing_the_host_ends_the_session_and_it_comes_again():
    b = hotspot_bench()
    r = b.router
    client = r.plug_in_hotspot(MAC, "ann", "pw", redial_s=1)
    logged_in(r).ask(f"{HOSTS}/remove", f"=.id={r.rows(HOSTS)[0]['.id']}")
    assert r.rows(HOSTS) + r.rows(ACTIVE) == []
    assert not r.gets_out("ann").online
    b.after(1)
    assert (len(r.rows(HOSTS)), client.logins) == (1, 2)


def test_login_by_mac():
    b = hotspot_bench(login_by="mac,http-chap")
    r = b.router
    r.add(USERS, name=MAC)
    r.plug_in_hotspot(MAC)
    assert (r.rows(ACTIVE)[0]["user"], r.rows(ACTIVE)[0]["login-by"]) == (MAC, "mac")
    r.plug_in_hotspot(MAC, "ann", "pw")
    assert r.rows(ACTIVE)[0]["user"] == MAC
    r.set(USERS, MAC, disabled="yes")
    r.plug_in_hotspot(MAC, "ann", "pw")
    assert r.rows(ACTIVE)[0]["login-by"] == "http-chap"


def test_a_restart_and_an_unplugged_host():
    b = hotspot_bench()
    r = b.router
    client = r.plug_in_hotspot(MAC, "ann", "pw", redial_s=1)
    r.reboot()
    assert r.rows(ACTIVE) + r.rows(HOSTS) + r.rows(COOKIES) + r.rows("/queue/simple") == []
    assert not client.online
    b.after(1)
    assert (len(r.rows(ACTIVE)), client.address) == (1, "10.5.50.2")  # the pool began anew as well
    r.hotspot.unplug(client)
    assert r.rows(ACTIVE) + r.rows(HOSTS) == []
    assert len(r.rows("/ip/firewall/connection")) == 1  # it outlives the session
    assert not r.gets_out("ann").online
