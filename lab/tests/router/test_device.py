"""The router behind the API's back: its state, clocks and timeouts."""

from __future__ import annotations

from datetime import datetime

import pytest

from lab.router.device import Router
from lab.router.errors import Trap, UnknownVersionError
from lab.router.values import BadValueError
from lab.tests.router.routers import access_bench, bench, logged_in

ENTRIES = "/ip/firewall/address-list"


def test_what_it_says_of_itself():
    r = Router("7.20.8", identity="edge-9", serial="HFA123", software_id="ABCD-0001", board="RB5009")
    r.cpu_load = 88
    assert r.rows("/system/identity")[0]["name"] == "edge-9"
    resource = r.rows("/system/resource")[0]
    assert (resource["version"], resource["cpu-load"], resource["board-name"]) == ("7.20.8 (stable)", "88", "RB5009")
    assert r.rows("/system/routerboard")[0]["serial-number"] == "HFA123"
    assert r.rows("/system/license")[0]["software-id"] == "ABCD-0001"
    assert r.rows("/system/device-mode")[0]["mode"] == "advanced"
    assert r.rows("/safe-mode")[0]["enabled"] == "false"
    with pytest.raises(UnknownVersionError):
        Router("new")


@pytest.mark.parametrize(
    ("version", "date"), [("7.20.8", "2026-11-25"), ("7.9", "nov/25/2026"), ("6.49.18", "nov/25/2026")]
)
def test_the_clock_is_written_as_the_version_does(version, date):
    assert bench(version).router.rows("/system/clock")[0]["date"] == date


def test_the_clock_is_local_time_and_may_be_wrong():
    b = bench("7.20.8")
    utc = b.router.rows("/system/clock")[0]
    b.router.gmt_offset, b.router.clock_off_s = "-03:30", 90
    local = b.router.rows("/system/clock")[0]
    assert (utc["gmt-offset"], local["gmt-offset"]) == ("+00:00", "-03:30")
    shown = [datetime.fromisoformat(f"{row['date']} {row['time']}") for row in (utc, local)]
    assert (shown[1] - shown[0]).total_seconds() == 90 - 3.5 * 3600


def test_what_device_mode_allows_can_be_said():
    router = bench("7.20.8").router
    router.device_mode = {"mode": "home", "scheduler": "false", "flagged": "false"}
    assert router.rows("/system/device-mode")[0]["scheduler"] == "false"


def test_add_set_rows_remove_with_underscores():
    r = bench().router
    made = r.add("/ppp/secret", name="a", remote_address="10.0.0.1")
    r.set("/ppp/secret", "a", comment="x", remote_address="10.0.0.2")
    assert r.rows("/ppp/secret")[0].items() >= {".id": made, "comment": "x", "remote-address": "10.0.0.2"}.items()
    r.remove("/ppp/secret", made)
    assert r.rows("/ppp/secret") == []
    r.set("/ppp/aaa", use_radius="yes")
    assert r.rows("/ppp/aaa")[0]["use-radius"] == "true"
    for bad in (
        lambda: r.add("/ppp/secret", name="a", profile="none"),
        lambda: r.remove("/ppp/secret", "a"),
        lambda: r.rows("/ppp/secrets"),
    ):
        with pytest.raises(Trap):
            bad()


def test_an_entry_with_a_timeout_counts_down_and_goes():
    b = bench()
    r = b.router
    r.add(ENTRIES, list="x", address="10.0.0.1", timeout="00:10:00")
    r.add(ENTRIES, list="x", address="10.0.0.2")
    b.after(60)
    entry, kept = r.rows(ENTRIES)
    assert (entry["timeout"], entry["dynamic"]) == ("9m", "true")
    assert kept["dynamic"] == "false"
    assert "timeout" not in kept
    r.set(ENTRIES, entry[".id"], timeout="1h")
    b.after(1800)
    assert r.rows(ENTRIES)[0]["timeout"] == "30m"
    b.after(1800)
    assert [e["address"] for e in r.rows(ENTRIES)] == ["10.0.0.2"]


def test_a_timeout_is_seen_even_if_nobody_called_the_timer():
    b = bench()
    b.router.add(ENTRIES, list="x", address="10.0.0.1", timeout="10s")
    b.clock.now += 11
    assert logged_in(b.router).rows(f"{ENTRIES}/print") == []


def test_what_nobody_can_add_by_the_api_can_be_put_there():
    r = bench().router
    made = r.add("/ip/hotspot/active", user="guest", address="10.5.50.7", mac_address="02:00:00:00:00:01")
    c = logged_in(r)
    assert c.rows("/ip/hotspot/active/print")[0]["user"] == "guest"
    assert "supout" in c.trap("/ip/hotspot/active/add")
    assert c.ask("/ip/hotspot/active/remove", f"=.id={made}") == [["!done"]]
    flow = r.add("/ip/firewall/connection", src_address="10.5.50.7:4000", dst_address="203.0.113.1:443")
    assert c.ask("/ip/firewall/connection/remove", f"=.id={flow}") == [["!done"]]


def test_subscribers_have_macs_of_their_own():
    r = bench().router
    first, second = r.plug_in_dhcp(), r.plug_in_dhcp()
    r.dhcp.unplug(first)
    third = r.plug_in_dhcp()
    assert len({first.mac, second.mac, third.mac}) == 3
    assert r.dhcp.clients.keys() == {second.mac, third.mac}
    for plug_in in (r.plug_in_dhcp, r.plug_in_hotspot, lambda mac: r.plug_in_host(["192.0.2.9"], mac)):
        with pytest.raises(BadValueError):
            plug_in("02:00:00")


def test_reboot_gives_freed_ids_out_again():
    b = access_bench()
    r = b.router
    made = r.add("/ppp/secret", name="last")
    r.remove("/ppp/secret", made)
    assert r.add("/ppp/secret", name="next") != made
    r.remove("/ppp/secret", "next")
    r.reboot()
    assert r.add("/ppp/secret", name="stranger") == made


def test_every_menu_of_every_version_prints():
    for version in ("6.49.18", "7.15.3", "7.20.8", "7.24"):
        r = Router(version)
        c = logged_in(r)
        for path in r.store.facts.paths():
            menu = r.store.facts.menu(path)
            if "print" in menu.verbs:
                said = c.ask(f"{path}/print")
                assert said[-1] == ["!done"], (version, path, said)


def objects(version):
    """A router with something in every menu that matters."""
    b = access_bench(version)
    r = b.router
    r.add("/interface/bridge", name="lan")
    r.add("/interface/vlan", name="v7", vlan_id="7", interface="ether1")
    r.add("/interface/list", name="WAN")
    r.add("/interface/list/member", list="WAN", interface="ether1")
    r.add("/ip/address", address="10.0.0.1/24", interface="lan")
    r.add("/ip/dhcp-server", name="d", interface="lan", address_pool="homes", lease_time="00:30:00", disabled="no")
    r.add("/ip/dhcp-server/lease", mac_address="aabb.ccdd.eeff", address="10.0.0.9", server="d", comment="id:9")
    r.add("/ip/hotspot/user", name="guest", password="x", limit_uptime="3:00:00", limit_bytes_total="1000000")
    r.add("/ip/firewall/address-list", list="suspended", address="10.0.0.0/24")
    r.add("/ip/firewall/address-list", list="suspended", address="10.0.1.1-10.0.1.9", disabled="yes")
    r.add("/queue/simple", name="q1", target="10.0.0.9,10.0.0.10/31", max_limit="5M/20M", burst_time="10/20")
    r.add("/queue/simple", name="q2", target="lan", parent="q1", priority="1")
    r.add("/radius", address="10.0.0.2", service="login,ppp", secret="s", timeout="3s")
    r.add("/system/scheduler", name="s", interval="1d 00:00:00", on_event="/log info x")
    r.add("/ip/firewall/nat", chain="srcnat", action="masquerade", out_interface_list="WAN")
    r.add("/ip/firewall/filter", chain="input", connection_state="related,established", in_interface="!lan")
    r.add("/user/group", name="bots", policy="api,read,write")
    return r


@pytest.mark.parametrize("version", ["6.49.18", "7.15.3", "7.20.8", "7.24"])
def test_setting_what_is_shown_changes_nothing(version):
    """A client that reads, computes no difference and writes all back must find the router as it was."""
    r = objects(version)
    c = logged_in(r)
    rows = 0
    for path in r.store.facts.paths():
        menu = r.store.facts.menu(path)
        if "set" not in menu.verbs or "print" not in menu.verbs:
            continue
        for shown in c.rows(f"{path}/print"):
            if shown.get("dynamic") == "true":
                continue
            settable = {k: x for k, x in shown.items() if k in menu.verbs["set"] and k != "dynamic"}
            # an empty value is no value that every argument takes
            words = [f"={k}={x}" for k, x in settable.items() if x != ""]
            chosen = [f"=.id={shown['.id']}"] if ".id" in shown else []
            assert c.ask(f"{path}/set", *chosen, *words) == [["!done"]], (path, settable)
            rows += 1
            again = c.rows(f"{path}/print", f"?.id={shown['.id']}") if chosen else c.rows(f"{path}/print")
            assert again[0] == shown, path
    assert rows > 120


@pytest.mark.parametrize("version", ["6.49.18", "7.15.3", "7.20.8", "7.24"])
def test_adding_again_what_is_there_is_refused_as_a_duplicate(version):
    r = objects(version)
    c = logged_in(r)
    for path in (
        "/ppp/secret", "/ppp/profile", "/ip/pool", "/queue/simple", "/ip/firewall/address-list", "/ip/hotspot/user",
        "/ip/dhcp-server/lease", "/ip/address", "/user/group", "/system/scheduler", "/interface/vlan",
    ):  # fmt: skip
        menu = r.store.facts.menu(path)
        row = [x for x in c.rows(f"{path}/print") if x.get("builtin") != "true"][-1]
        words = [f"={k}={x}" for k, x in row.items() if k in menu.verbs["add"] and x != "" and k != "dynamic"]
        assert c.trap(f"{path}/add", *words).startswith("failure: "), path


def test_timed_entry_is_duplicate_too_and_sessions_entry_is_not():
    r = access_bench().router
    r.add(ENTRIES, list="x", address="10.0.0.1", timeout="1h")
    with pytest.raises(Trap, match="already have such entry"):
        r.add(ENTRIES, list="x", address="10.0.0.1")
    r.set("/ppp/secret", "home1", profile="suspended")
    address = r.plug_in("home1", "pw1").session.address
    r.add(ENTRIES, list="suspended", address=address)
    assert len([e for e in r.rows(ENTRIES) if e["address"] == address]) == 2
