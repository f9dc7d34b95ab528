"""The ACS' HTTP server over real sockets: who is let in, which session a post is of, and clients that behave badly."""

from __future__ import annotations

import contextlib
import gzip
import socket
import ssl
import struct
import zlib
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.connectors.base import LostError, NotSentError
from agent.connectors.cwmp import limits
from agent.connectors.cwmp import messages as m
from agent.connectors.cwmp.acs_session import CpeAsks, Ended, EndReason, Informed, SessionEvent
from agent.connectors.cwmp.cwmp_session import CwmpSession
from agent.connectors.cwmp.digest import DigestInput, response_of
from agent.connectors.cwmp.faults import AcsFault, refusal
from agent.connectors.cwmp.fields import Value
from agent.connectors.cwmp.listener import Acs, Proof, tls_context
from agent.connectors.cwmp.schema import CwmpConfig
from agent.connectors.cwmp.structs import ParameterValue, TransferFault
from lab.cpe.auth import basic
from lab.router.certificate import Certificate, make_certificate
from tests.agent.connectors.cwmp.http_rig import (
    CONFIG,
    GET,
    GOT,
    INFORM,
    PASSWORD,
    USER,
    Answer,
    Caller,
    Desk,
    HungUpError,
    Site,
    acs,
    inform,
    inform_of,
    no_files,
    said,
    until,
)
from tests.builders.clock import FakeClock

LONG = ParameterValue("Device.X", Value("x" * 100, "string"))
DONE = m.TransferComplete("k", TransferFault(0, ""), "2026-11-24T22:49:33Z", "2026-11-24T22:49:40Z")


async def ends(cpe: Caller) -> bool:
    """Tell whether the ACS closes the connection without a word."""
    return await cpe.rest() == b""


# --- a session, as it should be ---------------------------------------------------------------------------------------


@pytest.fixture
async def holding() -> AsyncIterator[Site]:
    """Return an ACS whose desk keeps a CPE in its session."""
    async with acs(Desk(holds=True)) as made:
        yield made


@pytest.fixture
async def at() -> AsyncIterator[Site]:
    async with acs() as made:
        yield made


async def test_a_challenge_then_a_session_on_one_connection(at: Site) -> None:
    cpe = await at.connect()
    challenged = await cpe.post(INFORM)
    assert challenged.status == 401
    assert challenged.get("www-authenticate").startswith("Digest ")
    assert 'qop="auth"' in challenged.get("www-authenticate")
    assert not challenged.cookie
    assert at.desk.informs == []
    assert at.acs.sessions == 0
    answer = await cpe.log_in()
    assert answer.status == 200
    assert answer.get("content-type").startswith("text/xml")
    assert answer.message == m.InformResponse(1)
    assert at.acs.sessions == 1
    over = await cpe.post()
    assert (over.status, over.body) == (204, b"")
    assert over.get("content-length") == ""
    assert at.acs.sessions == 0
    assert [e.reason for e in at.desk.of(Ended)] == [EndReason.DONE]
    assert at.desk.informs[0][2] == Proof(USER, None, "127.0.0.1")


async def test_the_connection_of_a_session_that_is_over_is_closed(at: Site) -> None:
    cpe = await at.logged_in()
    assert (await cpe.post()).get("connection") == "close"
    assert await ends(cpe)


async def test_a_transfer_is_told_before_the_floor_is_ours(holding: Site) -> None:
    cpe = await holding.logged_in()
    asking = []

    async def ask() -> None:
        asking.append(await holding.desk.call.ask(GET))

    holding.nursery.start_soon(ask)
    told = await cpe.post(said(DONE, "t1"))
    assert (told.status, told.message, told.id) == (200, m.TransferCompleteResponse(), "t1")
    assert holding.desk.of(CpeAsks) == [CpeAsks(DONE)]
    asked = await cpe.post()
    assert asked.message == GET
    holding.desk.call.release()
    assert (await cpe.post(said(GOT, asked.id))).status == 204
    assert asking == [GOT]


async def test_without_cookies_the_connection_is_the_session(holding: Site) -> None:
    cpe = await holding.logged_in()
    cpe.cookie = ""
    holding.desk.call.release()
    assert (await cpe.post()).status == 204
    assert [e.reason for e in holding.desk.of(Ended)] == [EndReason.DONE]


async def test_a_cookie_takes_a_session_to_another_connection(holding: Site) -> None:
    one, two = await holding.logged_in(), await holding.connect()
    two.cookie = one.cookie
    await trio.aclose_forcefully(one.stream)
    told = await two.post(said(DONE))
    assert told.status == 200, "no second challenge"
    assert not told.cookie, "set once"
    holding.desk.call.release()
    assert (await two.post()).status == 204
    assert len(holding.desk.informs) == 1


async def test_a_cookie_as_rfc_2965_has_it(at: Site) -> None:
    one, two = await at.logged_in(), await at.connect()
    name, _, token = one.cookie.partition("=")
    two.cookie = f'$Version="1"; other=x; {name}="{token}"; $Path="/"'
    assert (await two.post()).status == 204


async def test_the_cookie_is_for_http_alone_and_not_to_be_guessed(at: Site) -> None:
    seen = set()
    for _ in range(3):
        cpe = await at.connect()
        answer = await cpe.log_in()
        assert "httponly" in answer.get("set-cookie").lower()
        assert "secure" not in answer.get("set-cookie").lower()
        token = cpe.cookie.partition("=")[2]
        assert len(token) >= 22
        seen.add(token)
    assert len(seen) == 3


async def test_a_cookie_of_the_cpes_own_making_is_never_taken(at: Site) -> None:
    """Nobody fixes another's cookie: a session gets a new one whatever the CPE brought."""
    cpe = await at.connect()
    cpe.cookie = "ispagent-session=chosen-by-somebody-else"
    answer = await cpe.log_in()
    assert answer.status == 200
    assert "chosen" not in answer.cookie
    other = await at.connect()
    other.cookie = "ispagent-session=chosen-by-somebody-else"
    assert (await other.post()).status == 401


async def test_another_connection_without_the_cookie_is_nobody(at: Site) -> None:
    one, two = await at.logged_in(), await at.connect()
    assert (await two.post()).status == 401
    assert (await one.post()).status == 204


async def test_the_cookie_of_a_session_that_is_over_opens_nothing(at: Site) -> None:
    one, two = await at.logged_in(), await at.connect()
    await one.post()
    two.cookie = one.cookie
    assert (await two.post(said(DONE))).status == 401


async def test_chunks_and_bytes_one_at_a_time(at: Site) -> None:
    cpe = await at.connect()
    answer = await cpe.log_in()
    told = await cpe.post(pieces=[said(DONE)[i : i + 7] for i in range(0, len(said(DONE)), 7)])
    assert told.message == m.TransferCompleteResponse()
    slow = await at.connect()
    head = f"POST /acs HTTP/1.1\r\nHost: acs\r\nCookie: {answer.cookie}\r\nContent-Length: 0\r\n\r\n"
    for byte in head.encode():
        await slow.send(bytes([byte]))
    assert b" 204 " in await slow.rest()


@pytest.mark.parametrize("coding", ["gzip", "x-gzip", "GZIP", "deflate"])
async def test_coded_bodies(coding: str) -> None:
    pack = zlib.compress if coding == "deflate" else gzip.compress
    async with acs() as at:
        cpe = await at.connect()
        answer = await cpe.log_in(pack(INFORM), headers=[("Content-Encoding", coding)])
        assert answer.message == m.InformResponse(1)
        assert (await cpe.post(headers=[("Content-Encoding", coding)])).status == 204, "an empty post stays empty"


async def test_100_continue(at: Site) -> None:
    cpe = await at.connect()
    await cpe.send(b"POST /acs HTTP/1.1\r\nHost: acs\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n")
    assert (await cpe.stream.receive_some()).startswith(b"HTTP/1.1 100 ")
    await cpe.send(b"x")
    assert (await cpe.stream.receive_some()).startswith(b"HTTP/1.1 401 ")


async def test_an_empty_line_after_a_post_is_no_request(at: Site) -> None:
    """RFC 9112 section 2.2: old clients send one."""
    cpe = await at.logged_in()
    await cpe.send(b"\r\n")
    assert (await cpe.post(said(DONE))).status == 200
    body = said(DONE, "t2")
    await cpe.send(
        b"POST /acs HTTP/1.1\r\nHost: acs\r\nContent-Length: %d\r\n\r\n%b\r\n" % (len(body), body)
        + b"POST /acs HTTP/1.1\r\nHost: acs\r\nContent-Length: 0\r\n\r\n"
    )
    got = await cpe.rest()
    assert got.count(b"HTTP/1.1 200 ") == 1
    assert got.count(b"HTTP/1.1 204 ") == 1


# --- who is let in ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("no_qop", [False, True])
async def test_digest_with_and_without_qop(at: Site, no_qop: bool) -> None:
    cpe = await at.connect()
    assert (await cpe.log_in(no_qop=no_qop)).status == 200


@pytest.mark.parametrize("target", ["http://acs:7547/acs", "http://acs/acs"])
async def test_a_whole_url_as_target(at: Site, target: str) -> None:
    """RFC 9112 section 3.2.2: a server must take it."""
    cpe = await at.connect()
    assert (await cpe.post(INFORM, target=target)).status == 401
    assert (await cpe.post(INFORM, target="http://acs/other")).status == 404


@pytest.mark.parametrize(("user", "password"), [(USER, "wrong"), ("nobody", PASSWORD), ("nobody", ""), ("", "")])
async def test_a_wrong_password_is_challenged_again(at: Site, user: str, password: str) -> None:
    cpe = await at.connect()
    challenge = (await cpe.post(INFORM)).get("www-authenticate")
    answer = await cpe.post(INFORM, [("Authorization", digest(challenge, user, password))])
    assert answer.status == 401
    assert "stale" not in answer.get("www-authenticate")
    assert at.acs.sessions == 0
    assert at.desk.informs == []


def digest(challenge: str, user: str = USER, password: str = PASSWORD, uri: str = "/acs") -> str:
    """Answer a challenge of the ACS by hand."""
    nonce = challenge.partition('nonce="')[2].partition('"')[0]
    asked = DigestInput("ispagent", nonce, "POST", uri, qop="auth", cnonce="00ff", count="00000001")
    return (
        f'Digest username="{user}", realm="ispagent", nonce="{nonce}", uri="{uri}", qop=auth, nc=00000001,'
        f' cnonce="00ff", response="{response_of(user, password, asked)}"'
    )


async def test_a_stale_nonce_is_said_to_be_stale(at: Site, autojump_clock: trio.testing.MockClock) -> None:
    cpe = await at.connect()
    challenge = (await cpe.post(INFORM)).get("www-authenticate")
    await trio.sleep(limits.NONCE_LIFE_S + 1)
    cpe = await at.connect()
    stale = await cpe.post(INFORM, [("Authorization", digest(challenge))])
    assert stale.status == 401
    assert "stale=true" in stale.get("www-authenticate")
    assert "stale" not in (await cpe.post(INFORM, [("Authorization", digest(challenge, password="x"))])).get(
        "www-authenticate"
    ), "a wrong password is not told to be right"
    fresh = await cpe.post(INFORM, [("Authorization", digest(stale.get("www-authenticate")))])
    assert fresh.status == 200


async def test_credentials_for_another_place_are_not_taken(at: Site) -> None:
    cpe = await at.connect()
    challenge = (await cpe.post(INFORM)).get("www-authenticate")
    answer = await cpe.post(INFORM, [("Authorization", digest(challenge, uri="/other"))])
    assert answer.status == 401


@pytest.mark.parametrize("allowed", [False, True])
async def test_basic_only_where_it_is_allowed(allowed: bool) -> None:
    async with acs(basic=allowed) as at:
        cpe = await at.connect()
        offered = [c.partition(" ")[0] for c in (await cpe.post(INFORM)).all("www-authenticate")]
        assert offered == (["Digest", "Basic"] if allowed else ["Digest"])
        answer = await cpe.post(INFORM, [("Authorization", basic(USER, PASSWORD))])
        assert answer.status == (200 if allowed else 401)
        wrong = await (await at.connect()).post(INFORM, [("Authorization", basic(USER, PASSWORD + "x"))])
        assert wrong.status == 401


@pytest.mark.parametrize(
    "header",
    ["", "Digest", "Basic", "Basic !!!", "Bearer x", "Digest " + "a=b," * 100, "Digest username=cpe, uri=/acs"],
)
async def test_credentials_that_are_none(at: Site, header: str) -> None:
    assert (await (await at.connect()).post(INFORM, [("Authorization", header)])).status == 401


# --- what is no post of a CPE -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "target", "status", "allow"),
    [
        ("POST", "/", 404, ""),
        ("POST", "/acs/", 404, ""),
        ("GET", "/", 404, ""),
        ("PUT", "/other", 404, ""),
        ("GET", "/acs", 405, "POST"),
        ("PUT", "/acs", 405, "POST"),
        ("OPTIONS", "/acs", 405, "POST"),
        ("GET", "/files/a/b", 404, ""),
        ("POST", "/files/a/b", 405, "GET"),
        ("DELETE", "/files/a/b", 405, "GET"),
    ],
)
async def test_wrong_places_and_methods(at: Site, method: str, target: str, status: int, allow: str) -> None:
    cpe = await at.connect()
    answer = await cpe.post(method=method, target=target)
    assert (answer.status, answer.get("allow"), answer.body) == (status, allow, b"")


async def test_a_query_behind_the_path_is_the_cpes_affair(at: Site) -> None:
    assert (await (await at.connect()).post(INFORM, target="/acs?cpe=1")).status == 401


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 TLS, where there is none\r\n\r\n",
        b"POST /acs HTTP/1.1\r\n\r\n",
        b"POST /acs HTTP/1.1\r\nHost: acs\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"POST /acs HTTP/1.1\r\nHost: acs\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST /acs HTTP/1.1\r\nHost: acs\r\nContent-Length: -1\r\n\r\n",
        b"POST /acs HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 5000,
    ],
)
async def test_what_is_no_http(at: Site, data: bytes) -> None:
    cpe = await at.connect()
    await cpe.send(data)
    got = await cpe.rest()
    assert got.startswith(b"HTTP/1.1 4"), got
    assert (await (await at.connect()).log_in()).status == 200


@settings(max_examples=25)
@given(st.binary(max_size=300) | st.binary(max_size=100).map(lambda b: b"POST /acs HTTP/1.1\r\nHost: x\r\n" + b))
async def test_any_bytes_and_then_an_honest_cpe(data: bytes) -> None:
    async with acs() as at:
        rude = await at.connect()
        await rude.send(data)
        await trio.aclose_forcefully(rude.stream)
        assert (await (await at.connect()).log_in()).status == 200


async def test_who_hangs_up_at_once_hurts_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """A connection that is reset before anybody looked has no peer: nothing of the ACS may fall over it."""
    async with acs() as at:
        for _ in range(3):
            with socket.create_connection(("127.0.0.1", at.port)) as rude:
                rude.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        assert (await (await at.connect()).log_in()).status == 200
        await until(lambda: len(at.acs._clients) == 1)
    assert caplog.records == []


# --- bodies -----------------------------------------------------------------------------------------------------------


async def test_who_is_not_in_a_session_may_send_little(at: Site) -> None:
    most = limits.STRANGER_BODY_BYTES
    for authorization in ([], [("Authorization", basic("x", "y"))]):
        for pieces in (None, [bytes(30_000)] * (most // 30_000 + 1)):
            cpe = await at.connect()
            body = b"" if pieces else bytes(most + 30_000)
            answer = await cpe.post(body, authorization, pieces=pieces)
            assert answer.status == 413


async def test_who_still_sends_too_much_reads_why_it_was_refused(at: Site) -> None:
    cpe = await at.connect()
    await cpe.send(b"POST /acs HTTP/1.1\r\nHost: acs\r\nContent-Length: %d\r\n\r\n" % (1 << 20))
    await cpe.send(bytes(limits.STRANGER_BODY_BYTES + 1))
    await trio.testing.wait_all_tasks_blocked(0.02)
    for _ in range(3):
        await cpe.send(bytes(15_000))
        await trio.testing.wait_all_tasks_blocked(0.02)
    assert (await cpe.rest()).startswith(b"HTTP/1.1 413 ")


async def test_an_answer_may_be_large_and_not_larger(holding: Site) -> None:
    cpe = await holding.logged_in()

    async def ask() -> None:
        with contextlib.suppress(LostError):
            await holding.desk.call.ask(GET)

    holding.nursery.start_soon(ask)
    asked = await cpe.post()
    fitting = said(m.GetParameterValuesResponse((LONG,) * (limits.STRANGER_BODY_BYTES // 100)), asked.id)
    assert len(fitting) > limits.STRANGER_BODY_BYTES
    holding.nursery.start_soon(ask)
    assert (await cpe.post(fitting)).message == GET
    head = f"POST /acs HTTP/1.1\r\nHost: acs\r\nCookie: {cpe.cookie}\r\nContent-Length: {1 << 40}\r\n\r\n"
    await cpe.send(head.encode())
    got = bytearray()

    async def send() -> None:
        try:
            for _ in range(400):
                await cpe.send(bytes(65536))
        except trio.BrokenResourceError:
            pass

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        got += await cpe.rest()
    assert got.startswith(b"HTTP/1.1 413 ")


async def test_a_bomb_ends_its_session_alone() -> None:
    bomb = gzip.compress(bytes(limits.BODY_BYTES + 1))
    async with acs(Desk(holds=True)) as at:
        good, bad = await at.connect(), await at.connect()
        await good.log_in(inform_of(1))
        await bad.log_in(inform_of(2))
        assert at.acs.sessions == 2
        assert (await bad.post(bomb, [("Content-Encoding", "gzip")])).status == 400
        assert at.acs.sessions == 1
        assert [e.reason for e in at.desk.of(Ended)] == [EndReason.UNREADABLE]
        assert (await good.post(said(DONE))).status == 200


async def test_another_coding_ends_the_session(at: Site) -> None:
    cpe = await at.connect()
    assert (await cpe.log_in(headers=[("Content-Encoding", "br")])).status == 400
    assert at.acs.sessions == 0


# --- time -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "within_s"),
    [
        (b"", limits.FIRST_HEAD_S),
        (b"POST /acs HT", limits.FIRST_HEAD_S),
        (b"POST /acs HTTP/1.1\r\nHost: acs\r\nContent-Length: 9\r\n\r\n<", limits.STRANGER_BODY_S),
    ],
)
async def test_a_slow_client_is_dropped(
    at: Site, sent: bytes, within_s: float, autojump_clock: trio.testing.MockClock
) -> None:
    cpe = await at.connect()
    await cpe.send(sent)
    start = trio.current_time()
    assert await ends(cpe)
    assert trio.current_time() - start == pytest.approx(within_s, abs=0.1)


async def test_a_session_that_is_silent_ends_and_frees_its_memory(
    at: Site, autojump_clock: trio.testing.MockClock
) -> None:
    cpe = await at.logged_in()
    await trio.sleep(limits.TIMEOUT_S - 1)
    assert at.acs.sessions == 1
    await trio.sleep(10)
    assert at.acs.sessions == 0
    assert [e.reason for e in at.desk.of(Ended)] == [EndReason.TIMEOUT]
    assert at.desk.call.over.is_set()
    late = await at.connect()
    late.cookie = cpe.cookie
    assert (await late.post()).status == 401


async def test_a_handler_that_waits_is_not_swept(holding: Site, autojump_clock: trio.testing.MockClock) -> None:
    cpe = await holding.logged_in()
    start = trio.current_time()
    assert (await cpe.post()).status == 204
    assert trio.current_time() - start == pytest.approx(limits.HOLD_S)
    assert [e.reason for e in holding.desk.of(Ended)] == [EndReason.DONE]


async def test_a_slow_desk_is_waited_for(autojump_clock: trio.testing.MockClock) -> None:
    class Slow(Desk):
        async def informed(self, call: CwmpSession, informed: Informed, proof: Proof) -> None:
            await super().informed(call, informed, proof)
            await trio.sleep(100)

    async with acs(Slow()) as at:
        assert (await (await at.connect()).log_in()).status == 200


async def test_a_sweep_whose_desk_crashes_goes_on(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    def crash(_call: CwmpSession, _event: SessionEvent) -> None:
        raise KeyError("amina")

    async with acs(Desk(on_event=crash)) as at:
        await (await at.connect()).log_in()
        await trio.sleep(100)
        await (await at.connect()).log_in()
        await trio.sleep(100)
        assert at.acs.sessions == 0
    assert {record.getMessage() for record in caplog.records} == {"a task crashed"}


# --- admission --------------------------------------------------------------------------------------------------------


async def test_more_sessions_than_there_may_be_are_told_to_come_again() -> None:
    async with acs(Desk(holds=True), sessions=2) as at:
        inside = [await at.connect() for _ in range(2)]
        for number, cpe in enumerate(inside):
            assert (await cpe.log_in(inform_of(number))).status == 200
        waits = set()
        for _ in range(20):
            turned_away = await at.connect()
            answer = await turned_away.post(INFORM)
            await trio.aclose_forcefully(turned_away.stream)
            assert answer.status == 503
            assert answer.get("connection") == "close"
            waits.add(int(answer.get("retry-after")))
        assert at.acs.refused == 20
        assert len(waits) > 5, "not all at once"
        assert min(waits) >= limits.RETRY_AFTER_S
        assert max(waits) <= 2 * limits.RETRY_AFTER_S
        assert (await inside[0].post(said(DONE))).status == 200, "who is in goes on"
        other = await at.connect()
        other.cookie = inside[1].cookie
        assert (await other.post(said(DONE))).status == 200, "also on another connection"
        assert len(at.desk.informs) == 2
        at.desk.informs[0][0].release()
        assert (await inside[0].post()).status == 204
        assert (await (await at.connect()).log_in()).status == 200


async def test_those_of_the_same_moment_are_no_more_than_allowed() -> None:
    """Each is read before its session begins, and others begin meanwhile."""
    async with acs(Desk(holds=True), sessions=4) as at:
        at.acs._turns._most = 0.5  # a pass of the loop has room for one piece of work: they are read side by side
        cpes = [await at.connect(f"127.0.0.{number + 1}") for number in range(8)]
        answers: list[int] = []

        async def log_in(number: int) -> None:
            answers.append((await cpes[number].log_in(inform_of(number))).status)

        async with trio.open_nursery() as nursery:
            for number in range(len(cpes)):
                nursery.start_soon(log_in, number)
        assert sorted(answers) == [200] * 4 + [503] * 4
        assert at.acs.sessions == 4


async def test_who_sends_its_body_after_its_head_reads_the_503_too() -> None:
    """A socket that is closed with something unread is reset, and the answer may be lost with it."""
    async with acs(Desk(holds=True), sessions=1) as at:
        await (await at.connect()).log_in()
        cpe = await at.connect()
        await cpe.send(b"POST /acs HTTP/1.1\r\nHost: acs\r\nContent-Length: %d\r\n\r\n" % len(INFORM))
        await trio.testing.wait_all_tasks_blocked(0.02)
        await cpe.send(INFORM)
        await trio.testing.wait_all_tasks_blocked(0.02)
        assert b"503" in await cpe.rest()


# --- crashes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["inform", "event"])
async def test_a_crash_costs_that_session_alone(where: str, caplog: pytest.LogCaptureFixture) -> None:
    desk = Desk()
    async with acs(desk) as at:
        good, bad = await at.logged_in(), await at.connect()

        def crash(_call: CwmpSession, _what: object) -> None:
            raise KeyError("amina")

        if where == "inform":
            desk.on_inform = crash
            answer = await bad.log_in(inform_of(2))
        else:
            await bad.log_in(inform_of(2))
            desk.on_event = crash
            answer = await bad.post(said(DONE))
        assert (answer.status, answer.body) == (500, b"")
        assert at.acs.sessions == 1
        assert desk.call.over.is_set()
        desk.on_event = desk.on_inform = lambda _call, _what: None
        assert (await good.post()).status == 204
        bad = await at.connect()
        assert (await bad.log_in()).status == 200, "and it may come again"
    assert all("amina" not in record.getMessage() for record in caplog.records)


async def test_a_post_that_waited_for_a_crash_is_refused(holding: Site) -> None:
    one, two = await holding.logged_in(), await holding.connect()
    two.cookie = one.cookie
    answers: list[Answer] = []

    async def post(cpe: Caller, body: bytes) -> None:
        answers.append(await cpe.post(body))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(post, one, b"")
        await until(lambda: holding.desk.call.session.idle)
        nursery.start_soon(post, two, said(DONE))
        await trio.testing.wait_all_tasks_blocked(0.02)
        holding.desk.call.hang_up()
    assert [a.status for a in answers] == [400, 400]
    assert holding.acs.sessions == 0
    assert holding.desk.of(CpeAsks) == [], "what is not answered is not taken note of"


async def test_posts_that_overlap_are_taken_one_by_one(holding: Site) -> None:
    one, two = await holding.logged_in(), await holding.connect()
    two.cookie = one.cookie
    got: dict[str, Answer] = {}

    async def post(name: str, cpe: Caller, body: bytes) -> None:
        got[name] = await cpe.post(body)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(post, "empty", one, b"")
        await until(lambda: holding.desk.call.session.idle)
        nursery.start_soon(post, "again", two, b"")
        await trio.testing.wait_all_tasks_blocked(0.02)
        assert got == {}
        holding.desk.call.release()
    assert got["empty"].status == 204
    assert got["again"].status == 204, "the same post again is given the same answer"
    assert [e.reason for e in holding.desk.of(Ended)] == [EndReason.DONE]


# --- a CPE that begins anew, or goes ----------------------------------------------------------------------------------


async def test_another_inform_in_a_session_begins_the_next_one(holding: Site) -> None:
    cpe = await holding.logged_in()
    first = holding.desk.call
    lost: list[BaseException] = []

    async def ask() -> None:
        try:
            await first.ask(GET)
        except LostError as err:
            lost.append(err)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        assert (await cpe.post()).message == GET
        answer = await cpe.post(said(inform("1 BOOT")))
    assert answer.message == m.InformResponse(1), "an Inform is answered, or the CPE says again that it booted"
    assert len(lost) == 1
    second = holding.desk.call
    assert second is not first
    assert first.over.is_set()
    assert not second.over.is_set()
    with pytest.raises(NotSentError):
        await first.ask(GET)
    got = []

    async def ask_again() -> None:
        got.append(await second.ask(GET))
        second.release()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask_again)
        asked = await cpe.post()
        assert asked.message == GET
        assert (await cpe.post(said(GOT, asked.id))).status == 204
    assert got == [GOT]
    assert [e.reason for e in holding.desk.of(Ended)] == [EndReason.INFORMED_AGAIN, EndReason.DONE]
    assert holding.acs.sessions == 0


async def test_another_inform_may_be_refused(at: Site) -> None:
    cpe = await at.logged_in()
    at.desk.on_inform = lambda call, _: call.session.answer(refusal(AcsFault.REQUEST_DENIED, "no"))
    answer = await cpe.post(said(inform("1 BOOT")))
    assert isinstance(answer.message, m.Fault)
    assert answer.message.fault_code == AcsFault.REQUEST_DENIED
    assert at.acs.sessions == 0
    assert at.desk.call.over.is_set()


async def test_who_hangs_up_while_we_hold_the_floor_is_missed_at_once(holding: Site) -> None:
    """Nothing is sent to a connection that is gone: it would be unknown what became of it."""
    cpe = await holding.logged_in()
    await cpe.send(b"POST /acs HTTP/1.1\r\nHost: acs\r\nContent-Length: 0\r\n\r\n")
    await until(lambda: holding.desk.call.session.idle)
    await trio.aclose_forcefully(cpe.stream)
    with trio.fail_after(60):
        await holding.desk.call.over.wait()
    await until(lambda: holding.acs.sessions == 0)
    with pytest.raises(NotSentError):
        await holding.desk.call.ask(GET)


async def test_what_is_sent_while_we_hold_floor_is_read_afterwards(holding: Site) -> None:
    cpe = await holding.logged_in()
    post = b"POST /acs HTTP/1.1\r\nHost: acs\r\nContent-Length: %d\r\n\r\n"
    await cpe.send(post % 0)
    await until(lambda: holding.desk.call.session.idle)
    answer = said(GOT, f"{holding.desk.call.session._name}-1")
    for byte in post % len(answer) + answer:
        await cpe.send(bytes([byte]))
    await trio.testing.wait_all_tasks_blocked(0.02)
    assert await holding.desk.call.ask(GET) == GOT


async def test_who_keeps_no_cookie_and_hangs_up_cannot_come_back(holding: Site) -> None:
    cpe = await holding.logged_in()
    cpe.cookie = ""
    lost: list[LostError] = []
    start = trio.current_time()

    async def ask() -> None:
        try:
            await holding.desk.call.ask(GET)
        except LostError as err:
            lost.append(err)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        assert (await cpe.post()).message == GET
        await trio.aclose_forcefully(cpe.stream)
    assert len(lost) == 1
    assert trio.current_time() - start < 2, "at once"
    assert holding.acs.sessions == 0


async def test_who_keeps_the_cookie_may_answer_on_another_connection(
    holding: Site, autojump_clock: trio.testing.MockClock
) -> None:
    one, two = await holding.logged_in(), await holding.connect()
    two.cookie = one.cookie
    got = []

    async def ask() -> None:
        got.append(await holding.desk.call.ask(GET))
        got.append(await holding.desk.call.ask(GET))
        holding.desk.call.release()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        asked = await one.post()
        await trio.aclose_forcefully(one.stream)
        await trio.sleep(limits.GONE_S - 6)
        asked = await two.post(said(GOT, asked.id))
        assert asked.message == GET
        await trio.sleep(30)  # on a connection that is there it may take its time
        assert (await two.post(said(GOT, asked.id))).status == 204
    assert got == [GOT, GOT]


async def test_the_end_of_an_older_connection_ends_nothing(
    holding: Site, autojump_clock: trio.testing.MockClock
) -> None:
    one, two = await holding.logged_in(), await holding.connect()
    two.cookie = one.cookie
    got = []

    async def ask() -> None:
        got.append(await holding.desk.call.ask(GET))
        holding.desk.call.release()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        asked = await two.post()
        await trio.aclose_forcefully(one.stream)
        await trio.sleep(30)
        assert (await two.post(said(GOT, asked.id))).status == 204
    assert got == [GOT]


async def test_who_hangs_up_and_does_not_come_back_is_lost_soon(
    holding: Site, autojump_clock: trio.testing.MockClock
) -> None:
    """Its place is free within ten seconds."""
    cpe = await holding.logged_in()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(lost_within, holding, limits.GONE_S + 6))
        assert (await cpe.post()).message == GET
        await trio.aclose_forcefully(cpe.stream)
    assert holding.acs.sessions == 0


@pytest.mark.parametrize("told", [False, True])
async def test_d8_who_hangs_up_after_its_inform_frees_its_place(
    told: bool, autojump_clock: trio.testing.MockClock
) -> None:
    """After an Inform, when nothing is asked of it."""
    async with acs(Desk(holds=told), sessions=3) as at:
        for number in range(3):
            cpe = await at.connect()
            await cpe.log_in(inform_of(number))
            if told:
                await cpe.post(said(DONE))
            await trio.aclose_forcefully(cpe.stream)
        assert (await (await at.connect()).post(INFORM)).status == 503
        assert at.acs.sessions == 3
        await trio.sleep(5)
        assert at.acs.sessions == 3, "each may come back on another connection"
        await trio.sleep(5)
        assert at.acs.sessions == 0
        assert [e.reason for e in at.desk.of(Ended)] == [EndReason.TIMEOUT] * 3
        assert (await (await at.connect()).log_in()).status == 200


async def test_who_comes_back_after_its_inform_keeps_its_place(
    at: Site, autojump_clock: trio.testing.MockClock
) -> None:
    one, two = await at.logged_in(), await at.connect()
    two.cookie = one.cookie
    await trio.aclose_forcefully(one.stream)
    await trio.sleep(5)
    assert (await two.post(said(DONE))).status == 200
    await trio.sleep(30)  # on a connection that is there it may take its time
    assert (await two.post()).status == 204
    assert len(at.desk.informs) == 1


async def lost_within(at: Site, seconds: float) -> None:
    with trio.fail_after(seconds), pytest.raises(LostError):
        await at.desk.call.ask(GET)


async def test_nothing_is_left_of_many_sessions(at: Site) -> None:
    for _ in range(30):
        cpe = await at.logged_in()
        await cpe.post()
        await trio.aclose_forcefully(cpe.stream)
    assert at.acs._open == {}
    await until(lambda: not at.acs._clients)
    assert all(call.over.is_set() for call, _, _ in at.desk.informs)


# --- TLS --------------------------------------------------------------------------------------------------------------


def written(folder: Path, name: str, made: Certificate) -> tuple[Path, Path]:
    (folder / f"{name}.pem").write_bytes(made.pem)
    (folder / f"{name}.key").write_bytes(made.key_pem)
    return folder / f"{name}.pem", folder / f"{name}.key"


@pytest.fixture
def server(tmp_path: Path) -> tuple[Path, Path]:
    return written(tmp_path, "acs", make_certificate("acs"))


def trusting(certificate: Path, own: tuple[Path, Path] | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=certificate)
    if own is not None:
        context.load_cert_chain(*own)
    return context


async def secured(at: Site, context: ssl.SSLContext) -> Caller:
    tls = trio.SSLStream(await at.dial(), context, server_hostname="localhost", https_compatible=True)
    await tls.do_handshake()
    return Caller(tls)


async def test_tls_with_basic(server: tuple[Path, Path]) -> None:
    async with acs(certificate=server[0], key=server[1]) as at:
        cpe = await secured(at, trusting(server[0]))
        challenged = await cpe.post(INFORM)
        assert [c.partition(" ")[0] for c in challenged.all("www-authenticate")] == ["Digest", "Basic"]
        answer = await cpe.post(INFORM, [("Authorization", basic(USER, PASSWORD))])
        assert answer.status == 200
        assert "; Secure" in answer.get("set-cookie")
        cpe.cookie = answer.cookie
        assert (await cpe.post()).status == 204
        assert at.desk.informs[0][2].certificate is None


async def test_who_hangs_up_over_tls_is_missed_as_well(server: tuple[Path, Path]) -> None:
    async with acs(Desk(holds=True), certificate=server[0], key=server[1]) as at:
        cpe = await secured(at, trusting(server[0]))
        await cpe.log_in()
        await cpe.send(b"POST /acs HTTP/1.1\r\nHost: acs\r\nContent-Length: 0\r\n\r\n")
        await until(lambda: at.desk.call.session.idle)
        await trio.aclose_forcefully(cpe.stream)
        with trio.fail_after(60):
            await at.desk.call.over.wait()


async def test_the_floor_is_held_over_tls_and_nothing_is_lost(server: tuple[Path, Path]) -> None:
    async with acs(Desk(holds=True), certificate=server[0], key=server[1]) as at:
        cpe = await secured(at, trusting(server[0]))
        await cpe.log_in()
        got = []

        async def ask() -> None:
            for _ in range(3):
                await until(lambda: at.desk.call.session.idle)
                got.append(await at.desk.call.ask(GET))
            at.desk.call.release()

        at.nursery.start_soon(ask)
        answer = await cpe.post()
        while answer.status == 200:
            answer = await cpe.post(said(GOT, answer.id))
        assert (answer.status, got) == (204, [GOT] * 3)


@pytest.mark.parametrize("data", [b"", b"POST /acs HTTP/1.1\r\n\r\n", bytes(200)])
async def test_what_is_no_tls_is_dropped(
    data: bytes, server: tuple[Path, Path], autojump_clock: trio.testing.MockClock
) -> None:
    async with acs(certificate=server[0], key=server[1]) as at:
        cpe = await at.connect()
        await cpe.send(data)
        await cpe.rest()
        await until(lambda: not at.acs._clients)


async def test_a_clients_certificate_is_told(tmp_path: Path, server: tuple[Path, Path]) -> None:
    own = written(tmp_path, "cpe", make_certificate("02AC5F-Box-S1"))
    async with acs(certificate=server[0], key=server[1], client_ca=own[0]) as at:
        cpe = await secured(at, trusting(server[0], own))
        assert (await cpe.log_in()).status == 200
        assert at.desk.informs[0][2] == Proof(USER, "02AC5F-Box-S1", "127.0.0.1")


async def test_a_certificate_is_enough_where_no_user_is_configured(tmp_path: Path, server: tuple[Path, Path]) -> None:
    own = written(tmp_path, "cpe", make_certificate("02AC5F-Box-S1"))
    async with acs(certificate=server[0], key=server[1], client_ca=own[0], user="", secret="") as at:
        for wrong in ([], [("Authorization", basic("nobody", "x"))]):
            cpe = await secured(at, trusting(server[0], own))
            answer = await cpe.post(INFORM, wrong)
            assert (answer.status, answer.message) == (200, m.InformResponse(1))
            cpe.cookie = answer.cookie
            assert (await cpe.post()).status == 204
        cpe = await secured(at, trusting(server[0], own))
        assert (await cpe.post(INFORM, [("Authorization", basic(USER, PASSWORD))])).status == 200  # looked at as before
        assert [proof.user for _, _, proof in at.desk.informs] == ["", "", USER]


@pytest.mark.parametrize("name", ["model of the year", "02AC5F-Box-S2"])
async def test_a_certificate_of_another_name_leaves_the_password(
    name: str, tmp_path: Path, server: tuple[Path, Path]
) -> None:
    own = written(tmp_path, "cpe", make_certificate(name))
    async with acs(certificate=server[0], key=server[1], client_ca=own[0], user="", secret="") as at:
        cpe = await secured(at, trusting(server[0], own))
        for body in (b"", b"<nonsense", gzip.compress(INFORM)[:40], INFORM):
            assert (await cpe.post(body)).status == 401
        assert (await cpe.log_in()).status == 200
        assert [proof.user for _, _, proof in at.desk.informs] == [USER]


async def test_a_certificate_is_not_enough_where_a_user_is_configured(
    tmp_path: Path, server: tuple[Path, Path]
) -> None:
    own = written(tmp_path, "cpe", make_certificate("02AC5F-Box-S1"))
    async with acs(certificate=server[0], key=server[1], client_ca=own[0]) as at:
        cpe = await secured(at, trusting(server[0], own))
        assert (await cpe.post(INFORM)).status == 401
        assert at.desk.informs == []


async def test_without_user_and_without_certificate_nobody_comes_in(server: tuple[Path, Path]) -> None:
    async with acs(certificate=server[0], key=server[1], user="", secret="") as at:
        cpe = await secured(at, trusting(server[0]))
        assert (await cpe.post(INFORM)).status == 401
        assert at.desk.informs == []


async def test_without_certificate_of_that_authority_nobody_comes_in(tmp_path: Path, server: tuple[Path, Path]) -> None:
    authority = written(tmp_path, "ca", make_certificate("ca"))
    strange = written(tmp_path, "strange", make_certificate("02AC5F-Box-S1"))
    async with acs(certificate=server[0], key=server[1], client_ca=authority[0]) as at:
        for own in (None, strange):
            with pytest.raises((trio.BrokenResourceError, HungUpError)):
                await (await secured(at, trusting(server[0], own))).log_in()
        assert at.desk.informs == []


def test_tls_that_cannot_be(tmp_path: Path, server: tuple[Path, Path]) -> None:
    assert tls_context(CwmpConfig()) is None
    with pytest.raises(OSError, match="No such file"):
        tls_context(CwmpConfig(certificate=tmp_path / "none.pem", key=server[1]))
    (tmp_path / "bad.pem").write_text("nothing")
    with pytest.raises(ssl.SSLError):
        tls_context(CwmpConfig(certificate=tmp_path / "bad.pem", key=server[1]))


async def test_it_cannot_listen_where_somebody_does(at: Site) -> None:
    again = Acs(replace(CONFIG, port=at.port), FakeClock(), {}.get, Desk(), no_files)
    with pytest.raises(OSError, match="in use"):
        await again.serve()
