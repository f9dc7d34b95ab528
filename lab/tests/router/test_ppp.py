"""PPPoE: what a session takes from secret and profile, what it brings and takes away, redials."""

from __future__ import annotations

import pytest

from lab.tests.router.routers import access_bench, bench, logged_in


def brought(router):
    return {
        path: [r for r in router.rows(path) if r.get("dynamic") == "true"]
        for path in (
            "/queue/simple",
            "/ip/firewall/address-list",
            "/interface",
            "/ip/address",
            "/interface/pppoe-server",
        )
    }


@pytest.mark.parametrize("version", ["6.49.18", "7.15.3", "7.20.8", "7.24"])
def test_a_session_and_what_comes_with_it(version):
    b = access_bench(version)
    r = b.router
    cpe = r.plug_in("home1", "pw1", mac="02:00:00:00:AA:01")
    assert cpe.online
    b.after(61)
    (active,) = r.rows("/ppp/active")
    assert active["name"] == "home1"
    assert active["address"] == "100.64.0.10"
    assert active["caller-id"] == "02:00:00:00:AA:01"
    assert active["uptime"] == "1m1s"
    assert active["session-id"].startswith("0x81")
    queue = brought(r)["/queue/simple"][0]
    assert (queue["name"], queue["target"], queue["max-limit"]) == (
        "<pppoe-home1>",
        "<pppoe-home1>",
        "5000000/20000000",
    )
    (interface,) = brought(r)["/interface"]
    assert (interface["name"], interface["type"]) == ("<pppoe-home1>", "pppoe-in")
    assert brought(r)["/ip/address"][0]["network"] == "100.64.0.10"
    assert brought(r)["/ip/firewall/address-list"] == []


def test_removing_the_active_row_ends_it_and_takes_the_profile():
    b = access_bench()
    r = b.router
    r.plug_in("home1", "pw1", redial_s=2)
    first = r.rows("/ppp/active")[0]
    c = logged_in(r)
    c.ask("/ppp/secret/set", "=numbers=home1", "=profile=suspended")
    assert r.rows("/ppp/active") == [first]  # a running session keeps what it had
    assert brought(r)["/queue/simple"][0]["max-limit"] == "5000000/20000000"
    assert c.ask("/ppp/active/remove", f"=.id={first['.id']}") == [["!done"]]
    assert r.rows("/ppp/active") == []
    assert not any(brought(r).values())
    assert r.rows("/ppp/secret")[0]["last-disconnect-reason"] == "admin-request"
    b.after(1.9)
    assert r.rows("/ppp/active") == []
    b.after(0.2)
    (second,) = r.rows("/ppp/active")
    assert second["session-id"] != first["session-id"]
    assert second["address"].startswith("10.255.0.")
    assert brought(r)["/queue/simple"][0]["max-limit"] == "64000/64000"
    assert [(e["list"], e["address"]) for e in brought(r)["/ip/firewall/address-list"]] == [
        ("suspended", second["address"])
    ]
    assert c.trap("/ppp/active/remove", f"=.id={first['.id']}") == "no such item"


def test_redial_gets_same_address_and_its_connection_carries_on():
    """MikroTik's manual, "IP Pools"; and a connection belongs to no session."""
    b = access_bench()
    r = b.router
    r.plug_in("home1", "pw1", redial_s=1)
    one = r.rows("/ppp/active")[0]
    flows = r.rows("/ip/firewall/connection")
    assert len(flows) == 1
    r.remove("/ppp/active", one[".id"])
    assert r.rows("/ip/firewall/connection") == flows
    b.after(1)
    (two,) = r.rows("/ppp/active")
    assert (two["address"], two["session-id"] == one["session-id"]) == (one["address"], False)
    assert r.rows("/ip/firewall/connection") == flows


def test_redial_gets_another_address_where_somebody_has_its_own():
    b = access_bench()
    r = b.router
    r.plug_in("home1", "pw1", redial_s=1)
    (one,) = r.rows("/ppp/active")
    r.set("/ppp/secret", "home2", remote_address=one["address"])
    r.remove("/ppp/active", one[".id"])
    r.plug_in("home2", "pw2")
    b.after(1)
    places = {row["name"]: row["address"] for row in r.rows("/ppp/active")}
    assert places["home2"] == one["address"] != places["home1"]
    # what home1 had open is in the table still, from an address that is home2's: it is neither's
    assert [f["src-address"] for f in r.rows("/ip/firewall/connection")].count(f"{one['address']}:50000") == 2


def test_a_disabled_secret_keeps_its_session_until_removed():
    b = access_bench()
    r = b.router
    cpe = r.plug_in("home1", "pw1", redial_s=1, retry_s=5)
    r.set("/ppp/secret", "home1", disabled="yes")
    assert cpe.online
    r.remove("/ppp/active", r.rows("/ppp/active")[0][".id"])
    b.after(20)
    assert not cpe.online
    assert cpe.refused == "the secret is disabled"
    assert cpe.dials == 1 + 4  # at 1, 6, 11 and 16 seconds
    r.set("/ppp/secret", "home1", disabled="no")
    b.after(5)
    assert cpe.online
    assert cpe.refused == ""


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda r: r.set("/ppp/secret", "home1", password="x"), "wrong password"),
        (lambda r: r.set("/ppp/secret", "home1", service="l2tp"), "another service"),
        (lambda r: r.set("/ppp/secret", "home1", caller_id="02:00:00:00:00:99"), "another caller-id"),
        (lambda r: r.remove("/ppp/secret", "home1"), "no such secret"),
        (lambda r: r.remove("/ip/pool", "homes"), "no pool"),
        (lambda r: r.remove("/ppp/profile", "home20"), "no profile"),
        (lambda r: r.set("/ppp/secret", "home1", profile="default"), "remote-address"),
        (lambda r: r.set("/interface/pppoe-server/server", "*1", disabled="yes"), "no PPPoE server"),
        (lambda r: r.set("/ip/pool", "homes", ranges="100.64.0.10"), "no address is free"),
    ],
)
def test_refusals(change, why):
    b = access_bench()
    b.router.plug_in("home2", "pw2")
    change(b.router)
    cpe = b.router.plug_in("home1", "pw1")
    assert not cpe.online
    assert why in cpe.refused
    assert why in b.router.gets_out("home1").reason


def test_a_profile_that_is_gone_is_refused_by_its_id():
    b = access_bench()
    b.router.remove("/ppp/profile", "home20")
    assert b.router.rows("/ppp/secret")[0]["profile"].startswith("*")


def test_only_one():
    b = access_bench()
    r = b.router
    r.set("/ppp/profile", "home20", only_one="yes")
    first = r.plug_in("home1", "pw1", mac="02:00:00:00:00:A1")
    second = r.plug_in("home1", "pw1", mac="02:00:00:00:00:A2", retry_s=1)
    assert (first.online, second.online) == (True, False)
    r.set("/ppp/profile", "home20", only_one="no")
    b.after(1)
    assert second.online
    assert {i["name"] for i in brought(r)["/interface"]} == {"<pppoe-home1>", "<pppoe-home1-1>"}


def test_session_timeout_pools_in_a_chain_and_a_fixed_address():
    b = access_bench()
    r = b.router
    r.set("/ip/pool", "homes", ranges="100.64.0.10", next_pool="walled")
    r.set("/ppp/profile", "home20", session_timeout="1h")
    r.set("/ppp/secret", "home3", remote_address="192.0.2.33")
    cpes = [r.plug_in(f"home{n}", f"pw{n}", redial_s=30) for n in (1, 2, 3)]
    assert [c.session.address for c in cpes] == ["100.64.0.10", "10.255.0.10", "192.0.2.33"]
    b.after(3600)
    assert not any(c.online for c in cpes)
    b.after(30)
    assert all(c.online for c in cpes)


def test_removing_the_dynamic_interface_ends_the_session_too():
    b = access_bench()
    r = b.router
    cpe = r.plug_in("home1", "pw1", redial_s=1)
    logged_in(r).ask("/interface/pppoe-server/remove", "=numbers=<pppoe-home1>")
    assert not cpe.online
    assert not any(brought(r).values())


def test_dynamic_rows_are_not_changed_by_hand():
    r = access_bench().router
    r.plug_in("home1", "pw1")
    c = logged_in(r)
    assert c.trap("/queue/simple/set", "=numbers=<pppoe-home1>", "=max-limit=1G/1G") == "failure: cannot change dynamic"
    assert c.trap("/queue/simple/remove", "=numbers=<pppoe-home1>") == "failure: cannot remove dynamic"


def test_unplugged_is_gone():
    b = access_bench()
    cpe = b.router.plug_in("home1", "pw1", redial_s=1)
    b.router.access.unplug(cpe)
    b.after(100)
    assert b.router.rows("/ppp/active") == []
    assert b.router.get_timer() is None


def test_many_sessions_and_redials_leave_nothing_behind():
    b = bench()
    r = b.router
    r.add("/ip/pool", name="p", ranges="100.64.0.2-100.64.3.254")
    r.add("/ppp/profile", name="plan", remote_address="p", rate_limit="1M/2M", address_list="all-ppp")
    for n in range(200):
        r.add("/ppp/secret", name=f"s{n}", profile="plan")
        assert r.plug_in(f"s{n}", redial_s=1).online
    for _ in range(3):
        for row in r.rows("/ppp/active"):
            r.remove("/ppp/active", row[".id"])
        assert not any(brought(r).values())
        b.after(1)
        addresses = {row["address"] for row in r.rows("/ppp/active")}
        assert len(addresses) == 200
        assert {e["address"] for e in r.rows("/ip/firewall/address-list")} == addresses
