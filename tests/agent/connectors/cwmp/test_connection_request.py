"""Where a connection request may go, what is sent, what an answer means, and when it is tried again."""

from __future__ import annotations

import hmac
import ipaddress
import re
from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.connectors.cwmp import limits
from agent.connectors.cwmp.connection_request import (
    HttpTarget,
    RequestOutcome,
    RequestReach,
    RequestResult,
    RequestSchedule,
    UdpTarget,
    http_target_untrusted,
    judge_untrusted,
    udp_message,
    udp_target_untrusted,
    unmapped,
    way,
)
from agent.connectors.cwmp.errors import LocalCwmpError
from agent.cpe_model.errors import BadCredentialsError
from agent.cpe_model.known import Credentials
from tests.builders.expect import expect, present

CALLED_FROM = ipaddress.ip_address("203.0.113.7")
REACH = RequestReach(CALLED_FROM, (ipaddress.ip_network("10.20.0.0/16"), ipaddress.ip_network("2001:db8::/32")))
CREDENTIALS = Credentials("acs", "s3cret-canary")
CNONCE = "0a1b2c3d"


def target(url: str = "http://203.0.113.7:7547/cr", reach: RequestReach = REACH) -> HttpTarget:
    return expect(HttpTarget, http_target_untrusted(url, reach))


def refused(url: str, reach: RequestReach = REACH) -> RequestResult:
    return expect(RequestResult, http_target_untrusted(url, reach))


# --- where it may go --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "host", "port", "resource", "authority"),
    [
        ("http://203.0.113.7:7547/cr", "203.0.113.7", 7547, "/cr", "203.0.113.7:7547"),
        ("HTTP://203.0.113.7", "203.0.113.7", 80, "/", "203.0.113.7"),
        (" http://203.0.113.7:80/\n", "203.0.113.7", 80, "/", "203.0.113.7"),
        ("http://203.0.113.7:?a=b", "203.0.113.7", 80, "/?a=b", "203.0.113.7"),
        ("https://203.0.113.7/x#y", "203.0.113.7", 443, "/x", "203.0.113.7"),
        ("http://10.20.30.40:5431/a/b?c=d@e:f", "10.20.30.40", 5431, "/a/b?c=d@e:f", "10.20.30.40:5431"),
        ("http://[2001:DB8::0:1]:7547/", "2001:db8::1", 7547, "/", "[2001:db8::1]:7547"),
        ("http://[::ffff:203.0.113.7]:7547/", "203.0.113.7", 7547, "/", "203.0.113.7:7547"),
        ("http://CPE-7.isp.example.:7547/", "cpe-7.isp.example", 7547, "/", "cpe-7.isp.example:7547"),
    ],
)
def test_urls_that_are_asked(url: str, host: str, port: int, resource: str, authority: str) -> None:
    got = target(url)
    assert (got.host, got.port, got.resource, got.authority) == (host, port, resource, authority)
    assert (got.address is None) == host.startswith("cpe")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "no ConnectionRequestURL"),
        ("  ", "no ConnectionRequestURL"),
        ("ftp://203.0.113.7/", "http://"),
        ("file:///etc/passwd", "http://"),
        ("203.0.113.7:7547", "http://"),
        ("http://203.0.113.7:7547/a b", "visible"),
        ("http://203.0.113.7:7547/\r\nX: y", "visible"),
        ("http://203.0.113.7/é", "visible"),
        ("http://user:pass@203.0.113.7/", "no user"),
        ("http://203.0.113.7:0/", "port 0"),
        ("http://203.0.113.7:65536/", "port 65536"),
        ("http://203.0.113.7:655360/", "host and a port"),
        ("http://203.0.113.7:-1/", "host and a port"),
        ("http:///cr", "host and a port"),
        ("http://:7547/", "host and a port"),
        ("http://[203.0.113.7]x/", "host and a port"),
        ("http://[1:2]/", "as host"),
        ("http://2130706433/", "as host"),
        ("http://127.0x1/", "as host"),
        ("http://0177.0.0.1/", "as host"),
        ("http://a_b.example/", "as host"),
        ("http://-a.example/", "as host"),
        ("http://a..example/", "as host"),
        ("http://fe80::1%25eth0/", "host and a port"),
        ("http://0.0.0.0:7547/", "had none itself"),
        ("http://[::]:7547/", "had none itself"),
        ("http://239.1.2.3:7547/", "had none itself"),
        ("http://203.0.113.7/" + "a" * 240, "259 characters"),
    ],
)
def test_urls_that_cannot_be_used(url: str, words: str) -> None:
    got = refused(url)
    assert got.outcome is RequestOutcome.NO_WAY
    assert words in got.detail


def test_an_address_inside_a_house_is_behind_nat() -> None:
    got = refused("http://192.168.1.5:7547/")
    assert got.outcome is RequestOutcome.BEHIND_NAT
    assert got.detail == "behind NAT: its URL says 192.168.1.5, it called from 203.0.113.7"
    for host in ("10.0.0.1", "100.64.3.4", "169.254.1.1", "127.0.0.1", "[fe80::1]", "[fd00::1]", "[::1]"):
        assert refused(f"http://{host}/").outcome is RequestOutcome.BEHIND_NAT, host


def test_another_public_address_is_elsewhere() -> None:
    got = refused("http://8.8.8.8:53/")
    assert got.outcome is RequestOutcome.ELSEWHERE
    assert got.detail == "its URL leads to 8.8.8.8, it called from 203.0.113.7; no allowed network has that address"


def test_with_no_known_caller_only_allowed_networks_are_asked() -> None:
    reach = RequestReach(None, REACH.allowed)
    assert target("http://10.20.0.1/", reach).port == 80
    for host in ("203.0.113.7", "192.168.1.5"):
        got = refused(f"http://{host}/", reach)
        assert got.outcome is RequestOutcome.ELSEWHERE
        assert "not known" in got.detail


def test_an_ipv4_address_in_ipv6_s_clothes_is_the_same() -> None:
    mapped = ipaddress.ip_address("::ffff:203.0.113.7")
    assert unmapped(mapped) == CALLED_FROM
    assert target(reach=RequestReach(mapped)).host == "203.0.113.7"
    assert REACH.refusal(mapped) is None
    assert REACH.refusal(ipaddress.ip_address("::ffff:127.0.0.1")) is not None


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/", "http://[::ffff:127.0.0.1]/", "http://[::1]/", "http://0/", "http://2130706433/",
        "http://0x7f000001/", "http://0177.0.0.1/", "http://127.1/", "http://203.0.113.7@127.0.0.1/",
        "http://203.0.113.7:80@evil/", "http://[fe80::1%25eth0]/", "http://[64:ff9b::7f00:1]/", "http://203.0.113.7./x",
        "http://203.0.113.7:0/", "http://203.0.113.7:65536/", "http://203.0.113.7/a b", "http://203.0.113.7/\r\nX: y",
        "ftp://203.0.113.7/", "file:///etc/passwd", "http://203.0.113.7\\@127.0.0.1/", "http://１２７.0.0.1/",
        "http://203.0.113.7:٨٠/",
    ],
)  # fmt: skip
def test_urls_that_lead_elsewhere_or_nowhere_are_not_asked(url: str) -> None:
    """Attack x22."""
    assert isinstance(http_target_untrusted(url, RequestReach(CALLED_FROM)), RequestResult)


@pytest.mark.parametrize(
    "url",
    [
        "http://203.0.113.7#@127.0.0.1/", "http://203.0.113.7?@127.0.0.1/", "http://[::ffff:203.0.113.7]:22/",
        "HTTP://203.0.113.7:22/", "http://203.0.113.7/%0d%0aX:y",
    ],
)  # fmt: skip
def test_urls_with_another_address_lead_to_where_it_called_from(url: str) -> None:
    got = target(url, RequestReach(CALLED_FROM))
    assert got.address == CALLED_FROM
    assert "\r" not in got.resource


def test_a_name_is_judged_by_what_it_leads_to() -> None:
    got = target("http://localhost/", RequestReach(CALLED_FROM))
    assert got.address is None
    assert got.reach.refusal(ipaddress.ip_address("127.0.0.1")) is not None


@given(st.one_of(st.text(), st.text("htp:/.@[]0123456789abcx?#%", max_size=40).map("http://".__add__)))
def test_any_url_gives_a_target_or_a_reason(url: str) -> None:
    got = http_target_untrusted(url, REACH)
    if isinstance(got, RequestResult):
        assert got.outcome in {RequestOutcome.NO_WAY, RequestOutcome.BEHIND_NAT, RequestOutcome.ELSEWHERE}
    else:
        assert re.fullmatch(r"/[!-~]*", got.resource)
        assert got.address is None or got.address == CALLED_FROM or REACH.refusal(got.address) is None
        assert re.fullmatch(r"[a-z0-9.:\[\]-]+", got.authority)


@pytest.mark.parametrize(
    ("told", "place"),
    [
        ("203.0.113.7:51234", "203.0.113.7:51234"),
        (" 203.0.113.7 ", "203.0.113.7:80"),
        ("10.9.0.5:7547", "10.9.0.5:7547"),
        ("198.51.100.9:53", None),
        ("127.0.0.1:53", None),
        ("resolver.example:53", None),
        ("203.0.113.7:0", None),
        ("203.0.113.7:7547/x", None),
        ("", None),
    ],
)
def test_where_a_cpe_tells_that_it_hears_udp(told: str, place: str | None) -> None:
    """Of another STUN server it learned its place; it sends us to its own address or an allowed network alone."""
    reach = RequestReach(CALLED_FROM, (ipaddress.ip_network("10.9.0.0/16"),))
    got = udp_target_untrusted(told, reach)
    assert (None if got is None else got.place) == place


@given(st.text())
def test_any_udp_address_is_a_place_that_may_be_reached_or_none(told: str) -> None:
    """Total, as every reader of a CPE's word."""
    got = udp_target_untrusted(told, REACH)
    assert got is None or REACH.refusal(got.address) is None


# --- HTTP -------------------------------------------------------------------------------------------------------------

CHALLENGE = 'Digest realm="cpe", qop="auth", nonce="abc"'


def judge(status: int, *challenges: str, answered: bool = False, basic: bool = False) -> RequestResult | str:
    return judge_untrusted(target(), CREDENTIALS, status, challenges, CNONCE, answered=answered, basic=basic)


@pytest.mark.parametrize(
    ("status", "answered", "outcome", "words"),
    [
        (200, True, RequestOutcome.ACCEPTED, "accepted it"),
        (204, True, RequestOutcome.ACCEPTED, "accepted it"),
        (200, False, RequestOutcome.ACCEPTED, "asked for no password"),
        (503, False, RequestOutcome.BUSY, "busy (503)"),
        (503, True, RequestOutcome.BUSY, "busy (503)"),
        (401, True, RequestOutcome.REFUSED, "ConnectionRequestPassword is another"),
        (403, True, RequestOutcome.REFUSED, "403"),
        (404, False, RequestOutcome.REFUSED, "ConnectionRequestURL has changed"),
        (302, False, RequestOutcome.REFUSED, "not followed"),
        (500, False, RequestOutcome.REFUSED, "500"),
        (202, True, RequestOutcome.REFUSED, "202"),
    ],
)
def test_what_a_status_means(status: int, answered: bool, outcome: RequestOutcome, words: str) -> None:
    got = expect(RequestResult, judge(status, CHALLENGE, answered=answered))
    assert (got.outcome, got.status) == (outcome, status)
    assert words in got.detail
    assert got.detail.startswith("203.0.113.7:7547 ")


def test_a_challenge_is_answered_once() -> None:
    got = expect(str, judge(401, CHALLENGE))
    assert got.startswith('Digest username="acs", realm="cpe", nonce="abc", uri="/cr", response="')
    assert "canary" not in got


@pytest.mark.parametrize("challenges", [(), ("Bearer x",), ('Basic realm="cpe"',), ("",), ("Digest \x00",)])
def test_a_challenge_that_cannot_be_answered(challenges: tuple[str, ...]) -> None:
    got = expect(RequestResult, judge(401, *challenges))
    assert (got.outcome, got.status) == (RequestOutcome.REFUSED, 401)
    assert "challenge" in got.detail


def test_basic_only_where_allowed_and_where_it_can_say_the_user() -> None:
    assert str(judge(401, 'Basic realm="cpe"', basic=True)).startswith("Basic ")
    expect(
        RequestResult,
        judge_untrusted(
            target(), Credentials("a:b", "p"), 401, ['Basic realm="cpe"'], CNONCE, answered=False, basic=True
        ),
    )


@given(st.integers(200, 999), st.lists(st.text(), max_size=3), st.booleans(), st.booleans())
def test_any_answer_means_something(status: int, challenges: list[str], answered: bool, basic: bool) -> None:
    got = judge(status, *challenges, answered=answered, basic=basic)
    assert isinstance(got, RequestResult | str)
    assert isinstance(got, RequestResult) or (status == 401 and not answered)
    assert not isinstance(got, RequestResult) or "canary" not in got.detail


def test_credentials_do_not_show_the_password() -> None:
    assert "canary" not in repr(CREDENTIALS)


@pytest.mark.parametrize(("user", "password"), [("a\nb", "p"), ("a\ud800", "p"), ("a", "p\ud800")])
def test_credentials_that_no_header_holds(user: str, password: str) -> None:
    with pytest.raises(BadCredentialsError) as caught:
        Credentials(user, password)
    assert caught.value.__cause__ is None


# --- UDP --------------------------------------------------------------------------------------------------------------


def test_the_form_of_annex_g_s_example() -> None:
    """The example prints no password, so its signature (3545F7B5…) cannot be computed: its form is compared alone."""
    example = (
        "GET http://10.1.1.1:8080?ts=1120673700&id=1234&un=CPE57689&cn=XTGRWIPC6D3IPXS3"
        "&sig=3545F7B5820D76A3DF45A3A509DA8D8C38F13512 HTTP/1.1"
    )
    got = udp_message(
        UdpTarget(ipaddress.ip_address("10.1.1.1"), 8080),
        Credentials("CPE57689", "password"),
        at_s=1120673700,
        number=1234,
        cnonce="XTGRWIPC6D3IPXS3",
    ).decode()
    # By `printf 11206737001234CPE57689XTGRWIPC6D3IPXS3 | openssl dgst -sha1 -hmac password`
    signature = "F749EE6D9E3BC469FB709EAD2A75EE7535F58552"
    line = example.replace("3545F7B5820D76A3DF45A3A509DA8D8C38F13512", signature)
    assert got == f"{line}\r\nHost: 10.1.1.1:8080\r\n\r\n"


ANY = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=30), ANY)
def test_a_cpe_can_read_and_verify_it(user: str, password: str) -> None:
    message = udp_message(
        UdpTarget(ipaddress.ip_address("2001:db8::1"), 80), Credentials(user, password), at_s=1, number=7, cnonce="c9"
    )
    line, host, *rest = message.decode("ascii").split("\r\n")
    found = re.fullmatch(r"GET http://\[2001:db8::1\]:80\?(\S+) HTTP/1\.1", line)
    assert found
    assert (host, rest) == ("Host: [2001:db8::1]:80", ["", ""])
    query = {name: values[0] for name, values in parse_qs(found[1], keep_blank_values=True).items()}
    text = query["ts"] + query["id"] + query["un"] + query["cn"]
    assert query["un"] == user
    assert query["sig"] == hmac.new(password.encode(), text.encode(), "sha1").hexdigest().upper()


@pytest.mark.parametrize(
    ("at_s", "number", "cnonce"),
    [(-1, 1, "a"), (1, -1, "a"), (1, 1 << 32, "a"), (1, 1, ""), (1, 1, "a&b"), (1, 1, "é")],
)
def test_udp_values_that_are_none(at_s: int, number: int, cnonce: str) -> None:
    with pytest.raises(LocalCwmpError):
        udp_message(UdpTarget(CALLED_FROM, 9), CREDENTIALS, at_s=at_s, number=number, cnonce=cnonce)


# --- which way, and when ----------------------------------------------------------------------------------------------


def test_udp_is_for_those_that_http_does_not_reach() -> None:
    udp, away = UdpTarget(CALLED_FROM, 40001), RequestResult(RequestOutcome.UNREACHABLE, "away")
    http, nat = target(), refused("http://192.168.1.5/")
    assert way(http, udp, REACH) is http
    assert way(nat, udp, REACH) is udp
    assert way(away, udp, REACH) is udp
    assert way(away, None, REACH) is away
    got = expect(RequestResult, way(nat, None, REACH))
    assert got.outcome is RequestOutcome.BEHIND_NAT
    assert got.detail.startswith("behind NAT: its URL says 192.168.1.5, it called from 203.0.113.7; no UDP binding")


@pytest.mark.parametrize("place", ["198.51.100.9", "192.168.1.1", "0.0.0.0", "224.0.0.1", "2001:db9::1"])
def test_datagram_goes_nowhere_else_than_where_cpe_called_from(place: str) -> None:
    """The source of a binding request can be forged by whoever knows the CPE's password."""
    got = expect(
        RequestResult, way(refused("http://192.168.1.5/"), UdpTarget(ipaddress.ip_address(place), 40001), REACH)
    )
    assert got.outcome is RequestOutcome.ELSEWHERE
    assert place in got.detail
    inside = UdpTarget(ipaddress.ip_address("10.20.1.1"), 40001)
    assert way(refused("http://192.168.1.5/"), inside, REACH) is inside, "a network that the operator allows"


def test_pauses_grow_to_an_hour_and_stay_there() -> None:
    schedule, now, pauses = RequestSchedule(), 1000.0, []
    assert schedule.wait_s(now) == 0
    for _ in range(8):
        schedule = schedule.noted(RequestResult(RequestOutcome.UNREACHABLE, "away"), now, jitter=0.0)
        wait_s = present(schedule.wait_s(now))
        pauses.append(wait_s)
        now += wait_s
        assert schedule.wait_s(now) == 0
    assert pauses == [10, 30, 60, 300, 900, 3600, 3600, 3600]
    assert schedule.attempts == 8


def test_jitter_shortens_the_pause_and_leaves_time_to_call_in() -> None:
    away, taken, sent = (
        RequestResult(o, "") for o in (RequestOutcome.UNREACHABLE, RequestOutcome.ACCEPTED, RequestOutcome.SENT)
    )
    assert RequestSchedule().noted(away, 0.0, jitter=0.999).wait_s(0.0) == pytest.approx(7.5, abs=0.01)
    assert RequestSchedule().noted(taken, 0.0, jitter=0.5).wait_s(0.0) == limits.CALL_IN_S
    assert RequestSchedule().noted(sent, 0.0, jitter=0.5).wait_s(0.0) == limits.CALL_IN_S


@pytest.mark.parametrize("outcome", list(RequestOutcome))
def test_what_is_hopeless_is_not_tried_again_and_says_why(outcome: RequestOutcome) -> None:
    schedule = RequestSchedule().noted(RequestResult(outcome, "why"), 5.0, jitter=0.0)
    assert schedule.last == RequestResult(outcome, "why")
    hopeless = outcome in {RequestOutcome.BEHIND_NAT, RequestOutcome.ELSEWHERE, RequestOutcome.NO_WAY}
    assert schedule.hopeless is hopeless
    assert (schedule.wait_s(1e9) is None) is hopeless
    assert RequestSchedule().wait_s(5.0) == 0, "a new URL, binding or Inform starts anew"
