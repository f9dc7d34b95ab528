"""HTTP authentication: the RFCs' own examples, and what a CPE accepts at its door."""

from __future__ import annotations

import base64

import pytest

from lab.cpe.auth import Client, Server, _response, read_challenges_untrusted
from lab.tests.cpe.acs import fields

RFC7616 = {
    "realm": "http-auth@example.org",
    "nonce": "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
    "nc": "00000001",
    "cnonce": "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
    "qop": "auth",
}


def test_the_rfcs_examples():
    said = ("Mufasa", "Circle of Life", "GET", "/dir/index.html", b"")
    assert _response({**RFC7616, "algorithm": "MD5"}, *said) == "8ca523f5e9506fed4657c9700eebdbec"
    sha = "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"
    assert _response({**RFC7616, "algorithm": "SHA-256"}, *said) == sha
    # RFC 2069 section 2.4 as its erratum has it
    old = {"realm": "testrealm@host.com", "nonce": "dcd98b7102dd2f0e8b11d0f600bfb0c093"}
    said = ("Mufasa", "CircleOfLife", "GET", "/dir/index.html", b"")
    assert _response(old, *said) == "1949323746fe6a43ef61f9606e7febea"
    assert _response({**old, "algorithm": "SHA-512"}, *said) is None


def test_challenges_in_one_header_or_in_several():
    one = 'Digest realm="a, \\"b\\"", nonce="n=1", qop="auth,auth-int", Basic realm="c"'
    read = read_challenges_untrusted([one, "Bearer"])
    assert [(c.scheme, c.fields.get("realm")) for c in read] == [("digest", 'a, "b"'), ("basic", "c"), ("bearer", None)]
    assert read[0].fields["nonce"] == "n=1"
    assert read_challenges_untrusted(["", 'x="y"', "\x00"]) == []


def test_the_strongest_challenge_that_it_knows_is_answered():
    client = Client("u", "p")
    assert client.header("POST", "/", b"") is None
    md5, sha = 'Digest realm="r", nonce="1", qop="auth"', 'Digest realm="r", nonce="2", qop="auth", algorithm=SHA-256'
    assert client.take(["Basic realm=x", md5, sha])
    assert fields(client.header("POST", "/acs", b""))["nonce"] == "2"
    assert client.take(["Basic realm=x", md5])
    first, second = (fields(client.header("POST", "/acs", b"")) for _ in range(2))
    assert (first["nonce"], first["nc"], second["nc"]) == ("1", "00000001", "00000002")
    assert client.take(["Basic realm=x", 'Digest realm="r", nonce="3", algorithm=SHA-512-256'])
    assert client.header("POST", "/", b"") == f"Basic {base64.b64encode(b'u:p').decode()}"
    assert not client.take(["Bearer"])
    assert not Client("", "").take([md5])


@pytest.mark.parametrize(
    ("challenge", "options", "qop"),
    [
        ('Digest realm="r", nonce="n"', {}, None),
        ('Digest realm="r", nonce="n", qop="auth"', {"no_qop": True}, None),
        ('Digest realm="r", nonce="n", qop="auth-int"', {}, "auth-int"),
        ('Digest realm="r", nonce="n", qop="auth-int, auth", algorithm=MD5-sess, opaque="o"', {}, "auth"),
        ('Digest realm="r", nonce="n", algorithm=MD5-sess', {}, None),
    ],
)
def test_answers_say_how_they_were_made(challenge, options, qop):
    client = Client('u"', "p", **options)
    assert client.take([challenge])
    header = client.header("POST", "/acs?x=1", b"body")
    found = dict(read_challenges_untrusted([header])[0].fields)
    assert found.get("qop") == qop
    assert ("nc" in found) == (qop is not None)
    assert found["username"] == 'u"'
    assert found.get("opaque") == ("o" if "opaque" in challenge else None)
    wanted = _response(found, 'u"', "p", "POST", "/acs?x=1", b"body")
    assert found["response"] == wanted


def test_basic_before_anybody_asked():
    assert Client("u", "p", preemptive_basic=True).header("POST", "/", b"").startswith("Basic ")


def knock(server: Server, username="u", password="p", uri="/x", method="GET", edit=lambda said: said) -> bool:
    client = Client(username, password)
    client.take([server.challenge()])
    return server.accepts_untrusted(edit(client.header(method, uri, b"")), "GET", "/x", "u", "p")


def test_who_may_ring():
    server = Server("cpe")
    assert knock(server)
    assert not knock(server, password="q")
    assert not knock(server, username="v")
    assert not knock(server, uri="/y")
    assert not knock(server, method="POST")
    assert not knock(server, edit=lambda said: said.replace("nc=00000001", "nc=zz"))
    assert not knock(server, edit=lambda said: said.replace("nonce=", "nonces="))
    assert not knock(server, edit=lambda said: "Basic dTpw")
    assert not knock(server, edit=lambda said: "")
    assert knock(server, edit=lambda said: said.replace("Digest", "digest", 1))


def test_a_nonce_counts_up_and_is_forgotten_in_time():
    server, client = Server("cpe"), Client("u", "p")
    client.take([server.challenge()])
    said = [client.header("GET", "/x", b"") for _ in range(3)]
    accepts = [server.accepts_untrusted(one, "GET", "/x", "u", "p") for one in (said[1], said[0], said[1], said[2])]
    assert accepts == [True, False, False, True]
    for _ in range(64):
        server.challenge()
    assert not server.accepts_untrusted(client.header("GET", "/x", b""), "GET", "/x", "u", "p")
    # RFC 2069's answer has no count: it is good for one request
    old = Client("u", "p", no_qop=True)
    old.take([server.challenge()])
    said = old.header("GET", "/x", b"")
    assert [server.accepts_untrusted(said, "GET", "/x", "u", "p") for _ in range(2)] == [True, False]
