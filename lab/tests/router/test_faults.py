"""Faults: what the client hears, and what was done all the same."""

from __future__ import annotations

import pytest

from lab.router.errors import UnknownRouterFaultError
from lab.router.faults import FaultKind, Faults, parse_fault
from lab.tests.router.routers import access_bench, logged_in

ADD = ("/ppp/secret/add", "=name=new", ".tag=1")


@pytest.mark.parametrize(
    ("fault", "said", "closed", "done"),
    [
        ("command-lost", [], False, False),
        ("reply-lost", [], False, True),
        ("cut-before", [], True, False),
        ("cut-after", [], True, True),
        ("slow:3", [], False, True),
        (
            "trap:action timed out",
            [["!trap", "=message=action timed out", ".tag=1"], ["!done", ".tag=1"]],
            False,
            False,
        ),
        ("no-effect", [["!done", ".tag=1"]], False, False),
        ("reboot", [], True, False),
    ],
)
def test_each(fault, said, closed, done):
    b = access_bench()
    r = b.router
    c = logged_in(r)
    r.faults.inject(fault, match="/ppp/secret/add")
    assert len(c.rows("/ppp/secret/print")) == 3  # another command is not met
    assert c.ask(*ADD) == said
    assert c.session.closed == closed
    assert any(row["name"] == "new" for row in r.rows("/ppp/secret")) == done
    assert sum(r.faults.met.values()) == 1
    if not closed:
        # it was for one command
        assert c.ret("/ppp/secret/add", "=name=other") != ""


def test_no_effect_meets_no_print():
    """A print without rows would say that nothing is there."""
    b = access_bench()
    c = logged_in(b.router)
    b.router.faults.inject("no-effect", match="/ppp/secret/")
    assert len(c.rows("/ppp/secret/print")) == 3
    assert c.ask(*ADD) == [["!done", ".tag=1"]]
    assert len(c.rows("/ppp/secret/print")) == 3


def test_slow_lets_other_tags_pass():
    b = access_bench()
    c = logged_in(b.router)
    b.router.faults.inject("slow:3", match="/ppp/secret/set")
    assert c.ask("/ppp/secret/set", "=.id=*1", "=comment=x", ".tag=1") == []
    assert c.ask("/ppp/secret/print", "=count-only=", ".tag=2") == [["!done", "=ret=3", ".tag=2"]]
    b.after(2.9)
    assert c.heard() == []
    b.after(0.1)
    assert c.heard() == [["!done", ".tag=1"]]


def test_drift_happens_just_before():
    b = access_bench()
    r = b.router
    c = logged_in(r)
    r.faults.inject("drift", match="/ppp/secret/set", drift=lambda x: x.set("/ppp/secret", "home1", profile="home50"))
    c.ask("/ppp/secret/set", "=.id=*1", "=comment=mine")
    row = r.rows("/ppp/secret")[0]
    assert (row["profile"], row["comment"]) == ("home50", "mine")


def test_several_at_once_and_several_times():
    b = access_bench()
    r = b.router
    c = logged_in(r)
    r.faults.inject("reply-lost", match="/ppp/secret/set", times=2)
    r.faults.inject("drift", match="/ppp/secret", drift=lambda x: x.set("/ppp/secret", "home2", comment="drift"))
    assert c.ask("/ppp/secret/set", "=.id=*1", "=comment=a") == []
    assert r.rows("/ppp/secret")[1]["comment"] == "drift"
    assert c.ask("/ppp/secret/set", "=.id=*1", "=comment=b") == []
    assert c.ask("/ppp/secret/set", "=.id=*1", "=comment=c") == [["!done"]]
    r.faults.inject("trap:x", times=9)
    r.faults.clear()
    assert c.ask("/ppp/secret/set", "=.id=*1", "=comment=d") == [["!done"]]


def test_max_sessions():
    b = access_bench()
    r = b.router
    r.faults.inject("max-sessions")
    assert not r.connect()
    r.faults.clear()
    r.set("/ip/service", "api", max_sessions="2")
    assert [r.connect() for _ in range(3)] == [True, True, False]
    r.disconnect(None)
    assert r.connect()


def test_reuse_ids():
    b = access_bench()
    r = b.router
    c = logged_in(r)
    r.faults.inject("reuse-ids")
    c.ask("/ppp/secret/remove", "=.id=*2")
    assert c.ret("/ppp/secret/add", "=name=stranger") == "*2"


def test_a_reboot():
    b = access_bench()
    r = b.router
    r.down_s = 5
    kept = r.add("/ip/firewall/address-list", list="suspended", address="10.0.0.1")
    r.add("/ip/firewall/address-list", list="suspended", address="10.0.0.2", timeout="1d")
    cpe = r.plug_in("home1", "pw1", redial_s=8)
    c = logged_in(r)
    b.after(100)
    assert r.rows("/system/resource")[0]["uptime"] == "1m40s"
    assert c.ask("/system/reboot") == []
    assert c.session.closed
    assert not cpe.online
    assert [e[".id"] for e in r.rows("/ip/firewall/address-list")] == [kept]
    assert r.rows("/system/history") == []
    assert not r.connect()
    b.after(5)
    assert r.connect()
    assert r.rows("/system/resource")[0]["uptime"] == "0s"
    assert r.boots == 2
    b.after(3)
    assert cpe.online


@pytest.mark.parametrize("text", ["", "gremlins", "slow", "slow:x", "slow:-1", "trap", "trap:", "reboot:now"])
def test_no_fault(text):
    with pytest.raises(UnknownRouterFaultError, match="expected"):
        parse_fault(text)


def test_drift_needs_its_change_and_nothing_else_takes_one():
    with pytest.raises(UnknownRouterFaultError):
        Faults().inject("drift")
    with pytest.raises(UnknownRouterFaultError):
        Faults().inject("reply-lost", drift=lambda r: None)


def test_every_kind_can_be_named():
    for kind in FaultKind:
        argument = {FaultKind.SLOW: ":1.5", FaultKind.TRAP: ":text"}.get(kind, "")
        assert parse_fault(kind.value + argument)[0] is kind
