"""A connection: both logins, tags, cancel, listen, intervals; whatever bytes come, only our own end."""

from __future__ import annotations

import hashlib
import random

import pytest

from lab.router.limits import OUTPUT_BYTES_MAX
from lab.router.session import ApiSession
from lab.router.words import encode_sentence
from lab.tests.router.routers import Client, access_bench, bench, connected, logged_in, row_of


def response(password: str, challenge: str) -> str:
    return "00" + hashlib.md5(b"\0" + password.encode() + bytes.fromhex(challenge)).hexdigest()


def test_login_by_password():
    r = bench().router
    c = connected(r)
    assert c.ask("/login", "=name=admin", "=password=wrong") == [
        ["!trap", "=message=invalid user name or password (6)"],
        ["!done"],
    ]
    assert c.ask("/login", "=name=nobody", "=password=")[0][0] == "!trap"
    assert r.rows("/user/active") == []
    assert c.ask("/login", "=name=admin", "=password=", ".tag=9") == [["!done", ".tag=9"]]
    assert [(u["name"], u["via"]) for u in r.rows("/user/active")] == [("admin", "api")]


@pytest.mark.parametrize("version", ["6.42.1", "6.49.18", "7.20.8"])
def test_login_by_challenge(version):
    r = bench(version).router
    r.add("/user", name="bot", password="pässword", group="full")
    c = connected(r)
    challenge = c.ret("/login")
    assert len(challenge) == 32
    assert c.ask("/login", "=name=bot", f"=response={response('pässword', challenge)}") == [["!done"]]
    c = connected(r)
    wrong = response("other", c.ret("/login"))
    said = c.ask("/login", "=name=bot", f"=response={wrong}")
    text = "cannot log in" if version.startswith("6") else "invalid user name or password (6)"
    assert said[0] == ["!trap", f"=message={text}"]


def test_a_challenge_serves_once():
    r = bench().router
    c = connected(r)
    answer = response("", c.ret("/login"))
    c.ask("/login", "=name=nobody", f"=response={answer}")
    assert c.ask("/login", "=name=admin", f"=response={answer}")[0] != ["!done"]


def test_before_6_43_a_password_is_answered_with_a_challenge():
    assert len(connected(bench("6.42.1").router).ret("/login", "=name=admin", "=password=")) == 32


def test_no_api_policy_no_disabled_user():
    r = bench().router
    r.add("/user/group", name="noapi", policy="read,write")
    r.add("/user", name="a", password="", group="noapi")
    r.add("/user", name="b", password="", group="full", disabled="yes")
    for name in "ab":
        assert connected(r).ask("/login", f"=name={name}", "=password=")[0][0] == "!trap"


def test_commands_before_login_end_the_connection():
    c = connected(bench().router)
    assert c.ask("/ppp/secret/print") == [["!fatal", "not logged in"]]
    assert c.session.closed


def test_quit():
    r = bench().router
    c = logged_in(r)
    assert c.ask("/quit") == [["!fatal", "session terminated on request"]]
    assert c.session.closed
    assert r.rows("/user/active") == []


def test_tags_come_back_and_values_with_line_ends_survive():
    c = logged_in(bench().router)
    said = c.ask("/ppp/secret/add", "=name=x", "=comment=a=b\nñ\t", ".tag=t 1")
    assert said == [["!done", "=ret=*1", ".tag=t 1"]]
    said = c.ask("/ppp/secret/print", ".tag=2", "=.proplist=comment")
    assert said == [["!re", "=comment=a=b\nñ\t", ".tag=2"], ["!done", ".tag=2"]]


def test_listen_tells_of_rows_added_changed_and_removed():
    b = access_bench()
    c, other = logged_in(b.router), logged_in(b.router)
    assert c.ask("/ppp/secret/listen", "=.proplist=.id,name,comment", ".tag=L") == []
    made = other.ret("/ppp/secret/add", "=name=zoe")
    assert c.heard() == [["!re", f"=.id={made}", "=name=zoe", ".tag=L"]]
    other.ask("/ppp/secret/set", f"=.id={made}", "=comment=x")
    assert c.heard() == [["!re", f"=.id={made}", "=name=zoe", "=comment=x", ".tag=L"]]
    assert c.ask("/ppp/profile/print", "?name=none", ".tag=2") == [["!empty", ".tag=2"], ["!done", ".tag=2"]]
    other.ask("/ppp/secret/remove", f"=.id={made}")
    assert c.heard() == [["!re", f"=.id={made}", "=.dead=true", ".tag=L"]]
    assert c.ask("/cancel", "=tag=L", ".tag=c") == [
        ["!trap", "=category=2", "=message=interrupted", ".tag=L"],
        ["!done", ".tag=c"],
        ["!done", ".tag=L"],
    ]
    other.ask("/ppp/secret/add", "=name=after")
    assert c.heard() == []


def test_cancel_without_tag_ends_all_and_of_unknown_tag_none():
    c = logged_in(bench().router)
    c.ask("/ppp/secret/listen", ".tag=1")
    c.ask("/ppp/active/listen", ".tag=2")
    assert c.ask("/cancel", "=tag=7", ".tag=c") == [["!done", ".tag=c"]]
    said = c.ask("/cancel", ".tag=c")
    assert [s[0] for s in said if ".tag=1" in s] == ["!trap", "!empty", "!done"]
    assert [s[0] for s in said if ".tag=2" in s] == ["!trap", "!empty", "!done"]


def test_follow_shows_what_is_there_first():
    b = access_bench()
    c = logged_in(b.router)
    said = c.ask("/ppp/secret/print", "=follow=", "?name=home1", "=.proplist=name", ".tag=f")
    assert said == [["!re", "=name=home1", ".tag=f"]]
    b.router.set("/ppp/secret", "home2", comment="x")
    assert c.heard() == []
    b.router.set("/ppp/secret", "home1", comment="x")
    assert c.heard() == [["!re", "=name=home1", ".tag=f"]]
    assert c.ask("/ppp/secret/print", "=follow-only=", ".tag=g") == []
    assert c.trap("/ppp/secret/print", ".tag=g") == "failure: already executing command with this tag"


def test_an_interval_shows_all_again():
    b = bench()
    c = logged_in(b.router)
    assert len(c.ask("/system/resource/print", "=interval=1", "=.proplist=cpu-load", ".tag=i")) == 1
    b.router.cpu_load = 93
    assert c.heard() == []
    assert c.session.get_timer() == b.clock.now + 1
    b.after(1)
    assert c.heard() == [["!re", "=cpu-load=93", ".tag=i"]]


def test_closing_gives_the_session_back_once():
    r = bench().router
    c = logged_in(r)
    watching = len(r.store.watchers)
    c.session.close()
    c.session.close()
    assert len(r.store.watchers) == watching - 1
    for _ in range(r.sessions_max()):
        assert r.connect()
    assert not r.connect()


def test_a_client_that_does_not_read_is_cut():
    r = bench().router
    r.add("/system/script", name="s", source="x" * (3 << 20))
    session = logged_in(r).session
    asked = encode_sentence(["/system/script/print"])
    for _ in range(OUTPUT_BYTES_MAX // (3 << 20) + 2):
        session.receive_untrusted(asked)
    assert session.closed
    assert session.take_output() == b""


def test_any_bytes_give_answers_or_an_end():
    dice = random.Random(11)
    b = access_bench()
    wires = [
        encode_sentence(words)
        for words in (
            ["/ppp/secret/print", "?name=home1", "?#!", ".tag=1"],
            ["/ppp/secret/set", "=.id=*1", "=comment=x"],
            ["/queue/simple/add", "=target=10.0.0.1", "=max-limit=1M/1M"],
            ["/ppp/secret/listen", ".tag=4"],
            ["/cancel", "=tag=4"],
            ["/login", "=name=admin", "=response=00"],
        )
    ]
    ended = 0
    for _ in range(5000):
        assert b.router.connect()
        session = ApiSession(b.router)
        session.receive_untrusted(encode_sentence(["/login", "=name=admin", "=password="]))
        wire = bytearray(b"".join(dice.sample(wires, 3)))
        for _ in range(dice.randint(1, 5)):
            wire[dice.randrange(len(wire))] = dice.randrange(256)
        session.receive_untrusted(bytes(wire))
        Client(session).heard()
        ended += session.closed
        session.close()
    assert 0 < ended < 5000


def test_rows_are_sent_as_attribute_words():
    c = logged_in(access_bench().router)
    said = c.ask("/ppp/secret/print")
    assert all(word.startswith("=") for s in said[:-1] for word in s[1:])
    assert row_of(said[0])[".id"] == "*1"
