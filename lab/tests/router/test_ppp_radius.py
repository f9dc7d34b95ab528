"""PPPoE logins that RADIUS decides: whom the router asks about, and what it makes of the answer. Without RADIUS."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from lab.router.ppp import Accepted
from lab.tests.router.routers import access_bench, logged_in

LISTS = "/ip/firewall/address-list"


@dataclass
class Asked:
    """The RADIUS side, played by the test."""

    logins: list = field(default_factory=list)
    ends: list = field(default_factory=list)

    def ask(self, cpe, number):
        self.logins.append((cpe, number))

    def ended(self, cpe, session, reason):
        self.ends.append((cpe.login, session.session_id, reason))


def radius_bench(version="7.20.8"):
    """An access router whose server's profile is home20, and which asks RADIUS."""
    b = access_bench(version)
    r = b.router
    r.set("/interface/pppoe-server/server", "*1", default_profile="home20")
    r.set("/ppp/aaa", use_radius="yes")
    r.add("/radius", service="ppp", address="127.0.0.1", secret="secret-of-radius")
    asked = r.access.aaa = Asked()
    return b, asked


def accept(b, asked, **said):
    cpe, number = asked.logins[-1]
    return b.router.access.admit(cpe, number, Accepted(**said))


def dynamic(router, path):
    return [row for row in router.rows(path) if row.get("dynamic") == "true"]


@pytest.mark.parametrize("version", ["6.49.18", "7.20.8"])
def test_what_radius_says_shapes_the_session(version):
    b, asked = radius_bench(version)
    r = b.router
    cpe = r.plug_in("rad1", "pw", mac="02:00:00:00:AA:01", redial_s=5)
    assert not cpe.online
    assert r.rows("/ppp/active") == []
    session = accept(
        b, asked, address="192.0.2.7", pool="walled", rate_limit="1M/2M", address_lists=("vip", "suspended"),
        group="home50", timeout_s=60,
    )  # fmt: skip
    (active,) = r.rows("/ppp/active")
    assert (active["radius"], active["address"], active["name"]) == ("true", "192.0.2.7", "rad1")
    assert active["session-id"] == f"0x{session.session_id}"
    assert session.session_id.startswith("8101")
    assert session.profile == "home50"
    (queue,) = dynamic(r, "/queue/simple")
    assert (queue["name"], queue["max-limit"]) == ("<pppoe-rad1>", "1000000/2000000")
    assert [(e["list"], e["address"]) for e in dynamic(r, LISTS)] == [
        ("vip", "192.0.2.7"),
        ("suspended", "192.0.2.7"),
    ]
    verdict = r.gets_out("rad1")
    assert (verdict.online, verdict.out, verdict.action) == (True, False, "drop")
    b.after(60)
    assert not cpe.online
    assert asked.ends == [("rad1", session.session_id, "session timeout")]
    assert not any(dynamic(r, path) for path in ("/queue/simple", LISTS, "/interface", "/ip/address"))
    b.after(5)
    assert len(asked.logins) == 2


def test_what_radius_leaves_out_is_the_profiles():
    b, asked = radius_bench()
    r = b.router
    r.set("/ppp/profile", "home20", address_list="subs")
    r.plug_in("rad1", "pw")
    session = accept(b, asked)
    assert (session.profile, session.address) == ("home20", "100.64.0.10")
    assert dynamic(r, "/queue/simple")[0]["max-limit"] == "5000000/20000000"
    assert [e["list"] for e in dynamic(r, LISTS)] == ["subs"]
    assert r.gets_out("rad1").out


def test_a_pool_that_radius_names():
    b, asked = radius_bench()
    b.router.plug_in("rad1", "pw")
    assert accept(b, asked, pool="walled").address == "10.255.0.10"


def test_a_local_secret_hides_radius():
    b, asked = radius_bench()
    r = b.router
    assert r.plug_in("home1", "pw1").online
    assert r.rows("/ppp/active")[0]["radius"] == "false"
    assert r.plug_in("home2", "wrong").refused == "wrong password"
    assert asked.logins == []
    r.set("/ppp/secret", "home3", disabled="yes")
    cpe = r.plug_in("home3", "pw3")
    assert [one for one, _ in asked.logins] == [cpe]
    r.set("/ppp/aaa", use_radius="no")
    assert r.plug_in("home3", "pw3").refused == "the secret is disabled"
    r.remove("/ppp/active", r.rows("/ppp/active")[0][".id"])
    assert asked.ends == []


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda r: r.set("/ppp/aaa", use_radius="no"), "use-radius=no"),
        (lambda r: r.set("/radius", "*1", disabled="yes"), "no enabled /radius row"),
        (lambda r: r.set("/radius", "*1", service="hotspot,login"), "no enabled /radius row"),
        (lambda r: setattr(r.access, "aaa", None), "nobody speaks RADIUS"),
        (lambda r: r.set("/interface/pppoe-server/server", "*1", disabled="yes"), "no PPPoE server"),
    ],
)
def test_when_radius_is_not_asked(change, why):
    b, asked = radius_bench()
    change(b.router)
    cpe = b.router.plug_in("rad1", "pw")
    assert why in cpe.refused
    assert why in b.router.gets_out("rad1").reason
    assert asked.logins == []


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"group": "gone"}, "no profile gone"),
        ({"pool": "gone"}, "no pool gone"),
        ({"group": "default"}, "remote-address"),
    ],
)
def test_an_answer_that_makes_no_session(said, why):
    b, asked = radius_bench()
    cpe = b.router.plug_in("rad1", "pw", retry_s=2)
    assert accept(b, asked, **said) is None
    assert why in cpe.refused
    assert b.router.rows("/ppp/active") == []
    b.after(2)
    assert len(asked.logins) == 2


def test_a_cpe_that_radius_refuses_tries_again():
    b, asked = radius_bench()
    cpe = b.router.plug_in("rad1", "pw", retry_s=2)
    b.router.access.refuse(*asked.logins[0], "RADIUS rejects the login")
    b.router.access.dial(cpe)
    assert len(asked.logins) == 2
    b.router.access.dial(cpe)
    assert len(asked.logins) == 2, "one question at a time"
    b.router.access.refuse(*asked.logins[1], "RADIUS rejects the login")
    assert b.router.gets_out("rad1").reason == "RADIUS rejects the login"
    b.after(2)
    assert len(asked.logins) == 3
    accept(b, asked)
    assert (cpe.online, cpe.refused) == (True, "")


def test_an_answer_that_comes_too_late_is_nobodys():
    b, asked = radius_bench()
    r = b.router
    cpe = r.plug_in("rad1", "pw", redial_s=3)
    r.reboot()
    assert accept(b, asked) is None
    assert not cpe.online
    b.after(3)
    assert accept(b, asked).session_id.startswith("8102"), "the second start"
    gone = r.plug_in("rad2", "pw")
    r.access.unplug(gone)
    assert accept(b, asked) is None
    assert [row["name"] for row in r.rows("/ppp/active")] == ["rad1"]
    r.reboot()
    assert [reason for _, _, reason in asked.ends] == ["nas reboot"]


def test_only_one_holds_for_radius_too():
    b, asked = radius_bench()
    b.router.set("/ppp/profile", "home20", only_one="yes")
    b.router.plug_in("rad1", "pw", mac="02:00:00:00:AA:01")
    accept(b, asked)
    second = b.router.plug_in("rad1", "pw", mac="02:00:00:00:AA:02")
    assert accept(b, asked) is None
    assert second.refused == "only one session is allowed"


def test_the_rate_and_the_lists_change_while_it_lasts():
    b, asked = radius_bench()
    r = b.router
    r.plug_in("rad1", "pw")
    session = accept(b, asked, rate_limit="1M/2M 2M/4M 1M/2M 8/8", address_lists=("subs",))
    r.access.change_rate(session, "3M/4M")
    (queue,) = dynamic(r, "/queue/simple")
    assert (queue["max-limit"], queue["burst-limit"], queue["burst-time"]) == ("3000000/4000000", "0/0", "0s/0s")
    r.access.change_rate(session, "nonsense")
    assert dynamic(r, "/queue/simple") == [queue]
    r.access.change_lists(session, ("suspended", "vip"))
    assert [(e["list"], e["address"]) for e in dynamic(r, LISTS)] == [
        ("suspended", session.address),
        ("vip", session.address),
    ]
    assert not r.gets_out("rad1").out
    # an entry that somebody took away by hand is not looked for
    logged_in(r).ask(f"{LISTS}/remove", f"=.id={dynamic(r, LISTS)[0]['.id']}")
    r.access.change_lists(session, ())
    assert dynamic(r, LISTS) == []
    assert r.gets_out("rad1").out
    r.remove("/ppp/active", r.rows("/ppp/active")[0][".id"])
    assert dynamic(r, "/queue/simple") == []


def test_a_session_without_a_rate_gets_a_queue_with_one():
    b, asked = radius_bench()
    b.router.set("/ppp/profile", "home20", rate_limit="")
    b.router.plug_in("rad1", "pw")
    session = accept(b, asked)
    assert dynamic(b.router, "/queue/simple") == []
    b.router.access.change_rate(session, "1M/1M")
    assert [q["name"] for q in dynamic(b.router, "/queue/simple")] == ["<pppoe-rad1>"]


def test_more_than_65535_dials_keep_their_numbers_apart():
    b, asked = radius_bench()
    b.router.access._count = 0xFFFE
    ids = []
    for n in range(3):
        b.router.plug_in(f"rad{n}", "pw")
        ids.append(accept(b, asked).session_id)
    assert ids == ["8101ffff", "810110000", "810110001"]
