"""Vectors of the RFCs, a CPE's side computed here by hand, and what must not pass."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.connectors.cwmp import auth, digest
from agent.connectors.cwmp.digest import DigestAccepted, DigestGate, DigestInput, DigestRejected, response_of
from agent.connectors.cwmp.errors import LocalCwmpError, MalformedAuthError
from tests.builders.expect import expect

KEY = bytes(range(32))
RANDOM = b"12345678"
NOW = 1_700_000_000.0
USERS = {"cpe-1": "s3cret-canary", "empty": "", "ümlaut": "pässword"}


def gate(**options: object) -> DigestGate:
    return DigestGate("acs", KEY, **{"algorithms": ("SHA-256", "MD5"), **options})


# --- vectors ----------------------------------------------------------------------------------------------------------

RFC_7616 = DigestInput(
    "http-auth@example.org", "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", "GET", "/dir/index.html", qop="auth",
    cnonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ", count="00000001",
)  # fmt: skip


def test_rfc_7616_section_3_9_1() -> None:
    assert response_of("Mufasa", "Circle of Life", RFC_7616) == "8ca523f5e9506fed4657c9700eebdbec"
    sha = DigestInput(
        RFC_7616.realm, RFC_7616.nonce, "GET", RFC_7616.uri, "SHA-256", "auth", RFC_7616.cnonce, "00000001"
    )
    want = "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"
    assert response_of("Mufasa", "Circle of Life", sha) == want


def test_rfc_2617_section_3_5() -> None:
    asked = DigestInput(
        "testrealm@host.com", "dcd98b7102dd2f0e8b11d0f600bfb0c093", "GET", "/dir/index.html", qop="auth",
        cnonce="0a4f113b", count="00000001",
    )  # fmt: skip
    assert response_of("Mufasa", "Circle Of Life", asked) == "6629fae49393a05397450978507c4ef1"


def test_rfc_2069_section_2_4_as_corrected() -> None:
    """The RFC prints e966c932a9242554e42c8ee200cec7f6; erratum 749 has what its formula gives."""
    asked = DigestInput("testrealm@host.com", "dcd98b7102dd2f0e8b11d0f600bfb0c093", "GET", "/dir/index.html")
    assert response_of("Mufasa", "CircleOfLife", asked) == "1949323746fe6a43ef61f9606e7febea"


def h(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()


def test_auth_int_and_sess_by_the_formulas() -> None:
    ha1 = h("u:r:p")
    body = hashlib.md5(b"<xml/>").hexdigest()
    asked = DigestInput("r", "n", "POST", "/acs", qop="auth-int", cnonce="c", count="00000002", body=b"<xml/>")
    assert response_of("u", "p", asked) == h(f"{ha1}:n:00000002:c:auth-int:" + h(f"POST:/acs:{body}"))
    sess = DigestInput("r", "n", "POST", "/acs", "MD5-sess", "auth", "c", "00000001")
    assert response_of("u", "p", sess) == h(h(f"{ha1}:n:c") + ":n:00000001:c:auth:" + h("POST:/acs"))


@pytest.mark.parametrize(("algorithm", "qop"), [("SHA-512", "auth"), ("MD5", "other"), ("MD5-sess-sess", None)])
def test_what_is_not_known_is_not_computed(algorithm: str, qop: str | None) -> None:
    with pytest.raises(LocalCwmpError):
        response_of("u", "p", DigestInput("r", "n", "GET", "/", algorithm, qop))


# --- the CPE proves itself --------------------------------------------------------------------------------------------


def nonce_of(field: str) -> str:
    return auth.read_untrusted(field)[0].parameters["nonce"]


def credentials(
    user: str = "cpe-1", password: str = "s3cret-canary", nonce: str | None = None, **changes: str | None
) -> str:
    """An Authorization field of a CPE, MD5 with qop unless changed; a change to None leaves a parameter out."""
    given: dict[str, str | None] = {
        "realm": "acs", "nonce": nonce or nonce_of(gate().challenges(NOW, RANDOM)[0]), "uri": "/acs", "qop": "auth",
        "nc": "00000001", "cnonce": "0a4f113b", "algorithm": "MD5",
    }  # fmt: skip
    given.update(changes)
    ha1 = h(f"{user}:{given['realm']}:{password}")
    ha2 = h(f"POST:{given['uri']}")
    middle = f":{given['nc']}:{given['cnonce']}:{given['qop']}" if given["qop"] else ""
    given["username"] = user
    given.setdefault("response", h(f"{ha1}:{given['nonce']}{middle}:{ha2}"))
    return "Digest " + ", ".join(f'{name}="{value}"' for name, value in given.items() if value is not None)


def judge(
    header: str, g: DigestGate | None = None, now: float = NOW, body: bytes = b""
) -> DigestAccepted | DigestRejected:
    return (g or gate()).judge_untrusted(header, "POST", "/acs", USERS.get, now, body)


def test_a_right_password_with_qop() -> None:
    got = expect(DigestAccepted, judge(credentials()))
    assert (got.user, got.count) == ("cpe-1", 1)


def test_a_right_password_without_qop() -> None:
    header = credentials(qop=None, nc=None, cnonce=None)
    assert judge(header) == DigestAccepted("cpe-1", nonce_of(gate().challenges(NOW, RANDOM)[0]))
    assert judge(header, gate(without_qop=False)) == DigestRejected()


def test_no_algorithm_is_md5() -> None:
    assert isinstance(judge(credentials(algorithm=None)), DigestAccepted)
    assert judge(credentials(algorithm=None), gate(algorithms=("SHA-256",))) == DigestRejected()


def test_auth_int_covers_the_body() -> None:
    nonce = nonce_of(gate().challenges(NOW, RANDOM)[0])
    asked = DigestInput("acs", nonce, "POST", "/acs", "SHA-256", "auth-int", "c0", "00000001", b"<a/>")
    header = credentials(
        qop="auth-int", algorithm="SHA-256", cnonce="c0", response=response_of("cpe-1", USERS["cpe-1"], asked)
    )
    assert isinstance(judge(header, body=b"<a/>"), DigestAccepted)
    assert judge(header, body=b"<b/>") == DigestRejected()


def test_users_and_passwords_in_utf_8() -> None:
    assert isinstance(judge(credentials("ümlaut", "pässword")), DigestAccepted)
    assert isinstance(judge(credentials("empty", "")), DigestAccepted)


def test_a_realm_that_is_said_is_ours() -> None:
    """Though the response is right over our own."""
    assert judge(credentials().replace('realm="acs"', 'realm="other"')) == DigestRejected()


def test_the_whole_url_is_this_request_too() -> None:
    assert isinstance(judge(credentials(uri="http://acs.example:7547/acs")), DigestAccepted)


WRONG: dict[str, dict[str, str | None]] = {
    "password": {"password": "other"},
    "user": {"user": "nobody"},
    "user without a password": {"user": "nobody", "password": ""},
    "realm": {"realm": "other"},
    "uri": {"uri": "/other"},
    "uri of another": {"uri": "http://acs.example/other"},
    "no uri": {"uri": None},
    "no response": {"response": None},
    "empty response": {"response": ""},
    "qop": {"qop": "auth-conf"},
    "no cnonce": {"cnonce": None},
    "no count": {"nc": None},
    "count": {"nc": "1x"},
    "algorithm": {"algorithm": "SHA-512-256"},
    "session of nothing": {"algorithm": "MD5-sess", "qop": None, "cnonce": None},
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_rejected(what: str) -> None:
    assert judge(credentials(**WRONG[what])) == DigestRejected()


@pytest.mark.parametrize(
    "header", ["", "Digest", "Bearer abc", "Basic QUJD", "Basic !", "Digest a=1, Digest b=2", "\ud83d"]
)
def test_what_is_no_credentials_is_rejected(header: str) -> None:
    assert judge(header) == DigestRejected()


def test_only_an_old_nonce_with_the_right_password_is_stale() -> None:
    assert isinstance(judge(credentials(), now=NOW + 300), DigestAccepted)
    assert judge(credentials(), now=NOW + 301) == DigestRejected(stale=True)
    assert judge(credentials(), now=NOW - 1) == DigestRejected(stale=True)
    assert judge(credentials(password="other"), now=NOW + 301) == DigestRejected()
    assert all("stale=true" in field for field in gate().challenges(NOW, RANDOM, stale=True))


def test_a_nonce_is_of_its_key_and_realm() -> None:
    own = nonce_of(gate().challenges(NOW, RANDOM)[0])
    others = [
        nonce_of(DigestGate("acs", bytes(32), algorithms=("MD5",)).challenges(NOW, RANDOM)[0]),
        nonce_of(DigestGate("other", KEY, algorithms=("MD5",)).challenges(NOW, RANDOM)[0]),
        own.upper(), own + "00", own[:-2], "0" * 64, "zz", f" {own}",
        own[:15] + ("0" if own[15] != "0" else "1") + own[16:],  # another time, the same MAC
    ]  # fmt: skip
    assert [judge(credentials(nonce=nonce)) for nonce in others] == [DigestRejected(stale=True)] * len(others)


def test_a_nonce_can_be_judged_by_another_process() -> None:
    assert isinstance(judge(credentials(), gate()), DigestAccepted)


def test_basic_only_where_it_is_offered() -> None:
    header = auth.basic_credentials("cpe-1", USERS["cpe-1"])
    assert judge(header, gate(basic=True)) == DigestAccepted("cpe-1")
    assert judge(header) == DigestRejected()
    assert judge(auth.basic_credentials("cpe-1", "other"), gate(basic=True)) == DigestRejected()
    assert judge(auth.basic_credentials("nobody", ""), gate(basic=True)) == DigestRejected()
    assert gate(basic=True).challenges(NOW, RANDOM)[-1] == 'Basic realm="acs"'


def test_a_gate_is_not_made_wrong() -> None:
    for key, algorithms in [(b"short", ("MD5",)), (KEY, ()), (KEY, ("SHA-512",))]:
        with pytest.raises(LocalCwmpError):
            DigestGate("acs", key, algorithms=algorithms)
    with pytest.raises(LocalCwmpError):
        gate().challenges(NOW, b"few")


@given(st.text(max_size=300) | st.builds(lambda a, b: f"Digest {a}={b}", st.text(), st.text()), st.binary(max_size=9))
def test_anything_is_judged(header: str, body: bytes) -> None:
    assert judge(header, gate(basic=True), body=body) == DigestRejected()


# --- we prove ourselves -----------------------------------------------------------------------------------------------


def ask(*challenges: str, **options: object) -> str:
    return digest.credentials_untrusted(
        challenges,
        "GET",
        "/cr",
        "acs-user",
        "pa55",
        "0a4f113b",
        **options,
    )


def test_both_sides_agree() -> None:
    for options in ({}, {"algorithms": ("MD5",)}, {"algorithms": ("SHA-256",)}, {"without_qop": False}):
        g = gate(**options)
        header = ask(*g.challenges(NOW, RANDOM), count=3)
        got = expect(DigestAccepted, g.judge_untrusted(header, "GET", "/cr", {"acs-user": "pa55"}.get, NOW))
        assert got.count == 3


def test_the_strongest_that_is_offered() -> None:
    both = ['Digest realm="r", nonce="n", algorithm=MD5, qop="auth"', "Digest realm=r, nonce=n, algorithm=SHA-256"]
    assert "algorithm=SHA-256" in ask(*both)
    assert "algorithm=SHA-256" in ask(", ".join(both))
    assert "algorithm=MD5" in ask(both[0], "Digest realm=r, nonce=n, algorithm=SHA-512-256")


def test_without_qop_as_of_old() -> None:
    got = auth.read_untrusted(ask('Digest realm="r", nonce="n", opaque="o"'))[0].parameters
    assert got == {
        "username": "acs-user", "realm": "r", "nonce": "n", "uri": "/cr", "opaque": "o",
        "response": h(h("acs-user:r:pa55") + ":n:" + h("GET:/cr")),
    }  # fmt: skip


def test_auth_int_where_nothing_else_is_offered() -> None:
    got = auth.read_untrusted(ask('Digest realm="r", nonce="n", qop="auth-int"'))[0].parameters
    ha2 = h(f"GET:/cr:{h('')}")
    assert got["response"] == h(h("acs-user:r:pa55") + f":n:00000001:0a4f113b:auth-int:{ha2}")
    assert got["qop"] == "auth-int"
    assert "qop=auth," in ask('Digest realm="r", nonce="n", qop="auth-int,auth"')


def test_sess_sends_its_cnonce_even_without_qop() -> None:
    got = auth.read_untrusted(ask('Digest realm="r", nonce="n", algorithm=MD5-sess'))[0].parameters
    assert got["cnonce"] == "0a4f113b"
    assert got["response"] == h(h(h("acs-user:r:pa55") + ":n:0a4f113b") + ":n:" + h("GET:/cr"))


def test_the_password_goes_out_only_where_that_is_allowed() -> None:
    with pytest.raises(MalformedAuthError):
        ask('Basic realm="r"')
    assert ask('Basic realm="r"', basic=True) == auth.basic_credentials("acs-user", "pa55")
    assert ask('Basic realm="r"', 'Digest realm="r", nonce="n"', basic=True).startswith("Digest ")


@pytest.mark.parametrize(
    "challenge",
    [
        "",
        'Digest realm="r", nonce="n\n"',
        "Digest",
        'Digest realm="r"',
        'Digest realm="r", nonce="n", qop="other"',
        "Negotiate",
    ],
)
def test_what_cannot_be_answered(challenge: str) -> None:
    with pytest.raises(MalformedAuthError):
        ask(challenge)


def test_what_no_header_holds_is_not_sent() -> None:
    with pytest.raises(LocalCwmpError):
        ask('Digest realm="r", nonce="n"', count=0)
    with pytest.raises(LocalCwmpError):
        digest.credentials_untrusted(['Digest realm="r", nonce="n"'], "GET", "/", "u", "p", 'x"')
    with pytest.raises(LocalCwmpError):
        digest.credentials_untrusted(['Digest realm="r", nonce="n"'], "GET", "/\r\n", "u", "p", "00")
