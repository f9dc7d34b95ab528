"""The hooks listener: durable before it answers, silent about reasons, and cheap to those who are not its senders."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import logging
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from ipaddress import ip_network
from pathlib import Path

import pytest
import trio

from agent.billing import hooks_listener
from agent.billing.hook_callers import CallBudget, CallerPlaces, RefusedCalls
from agent.billing.hooks_listener import HooksListener, HookWay, hook_url, token_of
from agent.billing_model.hmac_hooks import HmacScheme, HmacStyle, HookHash
from agent.billing_model.hooks import Heard, HookCall, HookScheme
from agent.config import HooksConfig
from agent.connectors.base import UnreadableError
from agent.reasons import HookReason, TargetReason
from agent.runtime.errors import BindError
from agent.store.errors import StoreFailedError
from lab.router.certificate import make_certificate
from tests.builders.clock import FakeClock
from tests.builders.connector import commit

SECRET, TOKEN = b"whsec", "ab" * 20
STYLE = HmacStyle("x-signature", HookHash.SHA256)
PLAIN = HooksConfig("127.0.0.1", 0, "", "", "", "", 0)
LOCAL = (ip_network("127.0.0.1/32"),)


@dataclass
class Desk:
    """What is kept, how often the bell rang, how often a call was verified; may be made to wait or to fail."""

    kept: list[tuple[str, str]] = field(default_factory=list)
    rings: int = 0
    verified: int = 0
    missing: bool = False
    broken: bool = False
    gate: trio.Event | None = None
    arrived: trio.Event = field(default_factory=trio.Event)
    peers: list[str] = field(default_factory=list)

    async def keep(self, source: str, heard: Heard) -> bool:
        self.arrived.set()
        if self.gate is not None:
            await self.gate.wait()
        if self.broken:
            raise StoreFailedError("disk full")
        if (source, heard.event_id) in self.kept:
            return False
        self.kept.append((source, heard.event_id))
        return True

    def ring(self) -> None:
        self.rings += 1

    def scheme(self) -> HookScheme:
        if self.missing:
            raise UnreadableError("secret is not set", reason=TargetReason.MISSING_SECRET)
        return CountingScheme(STYLE, [SECRET], 1000, desk=self)

    def way(self, source: str = "main", senders: Sequence[hooks_listener.Network] = ()) -> HookWay:
        return HookWay(source, TOKEN, tuple(senders), self.scheme)


@dataclass(frozen=True)
class CountingScheme(HmacScheme):
    desk: Desk = field(default_factory=Desk)

    def hear_untrusted(self, call: HookCall, now_s: float) -> Heard:
        self.desk.verified += 1
        self.desk.peers.append(call.peer)
        heard = super().hear_untrusted(call, now_s)
        return replace(heard, answer=b'{"ok":1}')


@dataclass
class Site:
    desk: Desk
    listener: HooksListener

    async def call(
        self,
        body: bytes = b"{}",
        *,
        path: str = f"/hook/main/{TOKEN}",
        secret: bytes = SECRET,
        method: str = "POST",
        fields: str = "",
        local: str = "127.0.0.1",
    ) -> tuple[int, dict[str, str], bytes]:
        """Return status, fields and body of the answer; status 0: closed without a word."""
        signed = hmac.new(secret, body, hashlib.sha256).hexdigest()
        head = f"{method} {path} HTTP/1.1\r\nHost: a\r\nX-Signature: {signed}\r\n{fields}"
        return await self.send(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body, local)

    async def send(self, data: bytes, local: str = "127.0.0.1") -> tuple[int, dict[str, str], bytes]:
        stream = await trio.open_tcp_stream("127.0.0.1", self.listener.port, local_address=local)
        async with stream:
            return await exchange(stream, data)

    @property
    def refused(self) -> dict[str, dict[str, int]]:
        return {source: dict(counts) for source, counts in self.listener.refused.shown().items()}


async def exchange(stream: trio.abc.Stream, data: bytes) -> tuple[int, dict[str, str], bytes]:
    came = b""
    with trio.fail_after(60), contextlib.suppress(trio.BrokenResourceError):
        await stream.send_all(data)
        while b"\r\n\r\n" not in came or len(came.partition(b"\r\n\r\n")[2]) < length(came):
            more = await stream.receive_some(4096)
            if not more:
                break
            came += bytes(more)
    if not came:
        return 0, {}, b""
    head, _, rest = came.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    return int(first.split()[1]), dict(line.lower().split(": ", 1) for line in lines), rest


def length(came: bytes) -> int:
    fields = dict(line.split(b": ", 1) for line in came.partition(b"\r\n\r\n")[0].lower().split(b"\r\n")[1:])
    return int(fields.get(b"content-length", b"0"))


@asynccontextmanager
async def listening(
    desk: Desk | None = None, config: HooksConfig = PLAIN, ways: Sequence[HookWay] | None = None
) -> AsyncIterator[Site]:
    desk = desk or Desk()
    listener = HooksListener(config, [desk.way()] if ways is None else ways, desk.keep, desk.ring, FakeClock())
    async with trio.open_nursery() as nursery:
        await nursery.start(listener.serve)
        yield Site(desk, listener)
        nursery.cancel_scope.cancel()


async def until(seen: Callable[[], bool]) -> None:
    with trio.fail_after(60):
        while not seen():  # noqa: ASYNC110  it is the listener's own state, which tells nobody
            await trio.sleep(0.01)


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with listening() as made:
        yield made


async def test_a_call_is_durable_before_it_is_answered() -> None:
    desk = Desk(gate=trio.Event())
    async with listening(desk) as site, trio.open_nursery() as nursery:
        answers: list[tuple[int, dict[str, str], bytes]] = []

        async def call() -> None:
            answers.append(await site.call())

        nursery.start_soon(call)
        await desk.arrived.wait()
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert answers == []
        assert desk.gate is not None
        desk.gate.set()
        await until(lambda: bool(answers))
        assert (answers[0][0], answers[0][2], desk.rings) == (200, b'{"ok":1}', 1)
    assert [source for source, _ in desk.kept] == ["main"]


async def test_one_that_comes_again_is_kept_once_and_answered_alike(site: Site) -> None:
    assert await site.call() == await site.call()
    assert len(site.desk.kept) == 1


async def test_several_calls_on_one_connection(site: Site) -> None:
    signed = hmac.new(SECRET, b"{}", hashlib.sha256).hexdigest()
    head = f"POST /hook/main/{TOKEN} HTTP/1.1\r\nHost: a\r\nX-Signature: {signed}\r\nContent-Length: 2\r\n\r\n"
    async with await trio.open_tcp_stream("127.0.0.1", site.listener.port) as stream:
        for _ in range(3):
            assert (await exchange(stream, head.encode() + b"{}"))[0] == 200


async def test_a_call_that_was_forged_is_not_told_why(site: Site) -> None:
    answers = [
        await site.call(path=path, method=method)
        for path, method in [
            (f"/hook/main/{TOKEN[:-1]}", "POST"),
            (f"/hook/main/{TOKEN}x", "POST"),
            (f"/hook/other/{TOKEN}", "POST"),
            ("/hook/main/", "POST"),
            ("/", "POST"),
            (f"/hooks/main/{TOKEN}", "POST"),
            (f"/hook/main/{TOKEN}", "GET"),
        ]
    ]
    assert {(status, body) for status, _, body in answers} == {(404, b"")}
    assert all(answer == answers[0] for answer in answers)
    status, fields, body = await site.call(secret=b"other")
    assert (status, body, set(fields)) == (401, b"", set(answers[0][1]))
    assert site.desk.verified == 1
    assert site.refused == {"": {"unknown-path": 7}, "main": {"forged": 1}}
    assert (site.desk.kept, site.desk.rings) == ([], 0)


async def test_a_query_behind_the_path_changes_nothing(site: Site) -> None:
    assert (await site.call(path=f"/hook/main/{TOKEN}?a=1"))[0] == 200


async def test_senders_of_one_source_are_not_those_of_another() -> None:
    desk = Desk()
    ways = [desk.way("main", [ip_network("127.0.0.2/32")]), desk.way("till")]
    async with listening(desk, ways=ways) as site:
        assert (await site.call())[0] == 404
        assert (await site.call(local="127.0.0.2"))[0] == 200
        assert (await site.call(path=f"/hook/till/{TOKEN}"))[0] == 200
        assert site.refused == {"main": {"address": 1}}


async def test_where_all_senders_are_named_nobody_else_is_let_in() -> None:
    desk = Desk()
    async with listening(desk, ways=[desk.way("main", [ip_network("127.0.0.2/32")])]) as site:
        assert (await site.call())[0] == 0
        assert (await site.call(local="127.0.0.2"))[0] == 200
        assert site.refused == {"": {"address": 1}}


async def test_a_sender_that_is_named_may_fail_often() -> None:
    desk = Desk()
    async with listening(desk, ways=[desk.way("main", LOCAL)]) as site:
        for _ in range(int(hooks_listener.VAIN) + 5):
            assert (await site.call(secret=b"other"))[0] == 401
        assert (await site.call())[0] == 200


async def test_a_store_that_fails_has_the_sender_call_again() -> None:
    async with listening(Desk(broken=True)) as site:
        status, fields, _ = await site.call()
        assert (status, fields["retry-after"]) == (503, "30")
        assert site.refused == {"main": {"not-kept": 1}}
        site.desk.broken = False
        assert (await site.call())[0] == 200


async def test_a_secret_that_is_set_later_is_used_at_once() -> None:
    async with listening(Desk(missing=True)) as site:
        assert (await site.call())[0] == 503
        site.desk.missing = False
        assert (await site.call())[0] == 200
        assert site.refused == {"main": {"no-secret": 1}}


async def test_a_body_is_bounded(site: Site) -> None:
    assert (await site.call(b"x" * 1000))[0] == 200
    assert (await site.call(b"x" * 1001))[0] == 413
    chunked = f"POST /hook/main/{TOKEN} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    assert (await site.send(chunked + b"3e9\r\n" + b"x" * 1001 + b"\r\n0\r\n\r\n"))[0] == 413
    assert site.refused == {"main": {"too-large": 2}}


async def test_all_bodies_together_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hooks_listener, "BODIES_BYTES", 1500)
    desk = Desk(gate=trio.Event())
    async with listening(desk) as site, trio.open_nursery() as nursery:
        nursery.start_soon(site.call)
        await desk.arrived.wait()
        assert (await site.call())[0] == 503
        assert desk.gate is not None
        desk.gate.set()
        await until(lambda: len(desk.kept) == 1)
        assert (await site.call())[0] == 200


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01" + bytes(200),
        b"POST /hook HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n",
        f"POST /hook/main/{TOKEN} HTTP/1.1\nHost: a\nContent-Length: 2\n\n{{}}".encode(),
    ],
)
async def test_what_is_no_http_is_refused(site: Site, data: bytes) -> None:
    assert (await site.send(data))[0] == 400
    assert site.refused == {"": {"no-http": 1}}
    assert (await site.call())[0] == 200


# --- a proxy ----------------------------------------------------------------------------------------------------------

PROXIED = replace(PLAIN, proxy="127.0.0.2")


async def test_behind_a_proxy_the_caller_is_its_client() -> None:
    desk = Desk()
    ways = [desk.way("main", [ip_network("192.0.2.0/24"), ip_network("2001:db8::/32")])]
    async with listening(desk, PROXIED, ways) as site:
        for client, status in [
            ("192.0.2.7", 200),
            ("203.0.113.1, 192.0.2.7", 200),
            ("192.0.2.7, 203.0.113.1", 404),
            ("[2001:db8::1]", 200),
            ("::ffff:192.0.2.7", 200),
            ("nobody", 400),
            ("", 400),
        ]:
            fields = f"X-Forwarded-For: {client}\r\n"
            assert (await site.call(fields=fields, local="127.0.0.2"))[0] == status, client
        twice = "X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-For: 203.0.113.1\r\n"
        assert (await site.call(fields=twice, local="127.0.0.2"))[0] == 404
        assert desk.peers == ["192.0.2.7", "192.0.2.7", "2001:db8::1", "192.0.2.7"]


async def test_nobody_but_the_proxy_may_connect() -> None:
    async with listening(config=PROXIED) as site:
        assert (await site.call(fields="X-Forwarded-For: 127.0.0.2\r\n"))[0] == 0
        assert site.refused == {"": {"address": 1}}


async def test_client_of_proxy_that_fails_too_often_is_not_looked_at() -> None:
    async with listening(config=PROXIED) as site:
        for n in range(int(hooks_listener.VAIN) + 3):
            fields = "X-Forwarded-For: 203.0.113.9\r\n"
            status = (await site.call(fields=fields, local="127.0.0.2", secret=b"other"))[0]
            assert status == (401 if n < hooks_listener.VAIN else 404)
        assert site.desk.verified == hooks_listener.VAIN
        assert (await site.call(fields="X-Forwarded-For: 203.0.113.8\r\n", local="127.0.0.2"))[0] == 200


# --- floods -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "calls"),
    [
        ("/hook/main/guess", 500),
        pytest.param(f"/hook/main/{TOKEN}", 10_000, marks=pytest.mark.slow),
    ],
    ids=["token-guessed", "token-known"],
)
async def test_10_000_forged_calls_cost_little_and_a_real_one_passes(site: Site, path: str, calls: int) -> None:
    """Most are closed at the door: neither HTTP nor a signature is looked at."""
    statuses: list[int] = []
    half = trio.Event()

    async def forge() -> None:
        for _ in range(calls // 20):
            statuses.append((await site.call(path=path, secret=b"other", local="127.0.0.2"))[0])
            if len(statuses) == calls // 2:
                half.set()

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(forge)
        await half.wait()
        assert (await site.call())[0] == 200
    assert len(statuses) == calls
    assert 200 not in statuses
    answered = sum(1 for status in statuses if status)
    assert answered < 200, "the rest was closed at the door"
    assert site.desk.verified <= answered + 1
    assert site.refused[""]["rate"] >= calls - 200
    assert len(site.desk.kept) == 1


async def test_strangers_together_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hooks_listener, "STRANGERS", 3.0)
    monkeypatch.setattr(hooks_listener, "STRANGERS_PER_S", 0.0)
    desk = Desk()
    ways = [desk.way("main"), desk.way("till", [ip_network("127.0.0.9/32")])]
    async with listening(desk, ways=ways) as site:
        answers = [(await site.call(local=f"127.0.0.{n}"))[0] for n in range(2, 7)]
        assert answers == [200, 200, 200, 0, 0]
        assert (await site.call(local="127.0.0.3"))[0] == 200, "a call of its was verified before"
        assert (await site.call(path=f"/hook/till/{TOKEN}", local="127.0.0.9"))[0] == 200


async def test_whoever_holds_connections_has_to_give_one_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hooks_listener, "CONNECTIONS", 4)
    async with listening() as site, contextlib.AsyncExitStack() as held:
        for _ in range(10):
            stream = await trio.open_tcp_stream("127.0.0.1", site.listener.port, local_address="127.0.0.2")
            await held.enter_async_context(stream)
        assert (await site.call())[0] == 200
        await until(lambda: site.refused.get("", {}).get("full", 0) == 7)


async def test_at_most_one_line_a_minute_and_nothing_of_a_path_in_it(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with listening() as site:
        for n in range(9):
            await site.call(path=f"/hook/main/secret{n}")
    assert [r.getMessage() for r in caplog.records if r.name == hooks_listener.__name__] == ["hooks-refused"]
    assert TOKEN not in caplog.text
    assert "secret" not in caplog.text


# --- TLS --------------------------------------------------------------------------------------------------------------


def write_certificate(folder: Path, name: str) -> HooksConfig:
    made = make_certificate(name)
    (folder / "hooks.pem").write_bytes(made.pem)
    (folder / "hooks.key").write_bytes(made.key_pem)
    return replace(PLAIN, certificate=str(folder / "hooks.pem"), key=str(folder / "hooks.key"))


async def over_tls(site: Site, pem: Path) -> int:
    context = ssl.create_default_context(cafile=pem)
    stream = await trio.open_tcp_stream("127.0.0.1", site.listener.port)
    tls = trio.SSLStream(stream, context, server_hostname="localhost", https_compatible=True)
    signed = hmac.new(SECRET, b"{}", hashlib.sha256).hexdigest()
    head = f"POST /hook/main/{TOKEN} HTTP/1.1\r\nHost: a\r\nX-Signature: {signed}\r\nContent-Length: 2\r\n\r\n"
    try:
        return (await exchange(tls, head.encode() + b"{}"))[0]
    finally:
        await trio.aclose_forcefully(tls)


async def test_over_tls(tmp_path: Path) -> None:
    config = write_certificate(tmp_path, "hooks")
    async with listening(config=config) as site:
        assert await over_tls(site, tmp_path / "hooks.pem") == 200
        assert (await site.call())[0] == 0
        await until(lambda: site.refused == {"": {"no-tls": 1}})


async def test_a_renewed_certificate_is_taken_without_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hooks_listener, "LOG_S", 0.01)
    config = write_certificate(tmp_path, "hooks")
    async with listening(config=config) as site:
        assert await over_tls(site, tmp_path / "hooks.pem") == 200
        (tmp_path / "hooks.key").write_bytes(b"half written")
        await trio.sleep(0.05)
        write_certificate(tmp_path, "renewed")
        status = 0
        with trio.fail_after(60):
            while status != 200:
                with contextlib.suppress(trio.BrokenResourceError):
                    status = await over_tls(site, tmp_path / "hooks.pem")
                await trio.sleep(0.01)


@pytest.mark.parametrize("config", [replace(PLAIN, certificate="/none", key="/none"), replace(PLAIN, host="192.0.2.1")])
async def test_a_place_that_cannot_be_used_is_told(config: HooksConfig) -> None:
    with pytest.raises(BindError, match=r"hooks\.listen: "):
        await HooksListener(config, [], Desk().keep, Desk().ring, FakeClock()).serve()


# --- the parts --------------------------------------------------------------------------------------------------------


def test_a_token_is_long_and_of_its_source_and_turn() -> None:
    tokens = {token_of(commit, source, turn) for source in ("a", "b") for turn in (0, 1)}
    assert len(tokens) == 4
    assert {len(token) for token in tokens} == {40}
    assert token_of(commit, "a", 0) in tokens


@pytest.mark.parametrize(
    ("config", "url"),
    [
        (PLAIN, "http://127.0.0.1:0/hook/main/"),
        (replace(PLAIN, host="::1", port=8443, certificate="a"), "https://[::1]:8443/hook/main/"),
        (replace(PLAIN, url="https://hooks.isp.example/x/"), "https://hooks.isp.example/x/hook/main/"),
    ],
)
def test_urls(config: HooksConfig, url: str) -> None:
    assert hook_url(config, Desk().way(), config.port) == url + TOKEN


def test_a_budget_comes_back_with_time() -> None:
    budget = CallBudget(2, 0.5)
    budget.spend("a", 0)
    assert not budget.used_up("a", 0)
    budget.spend("a", 0)
    assert budget.used_up("a", 1.9)
    assert not budget.used_up("a", 2)
    assert not budget.used_up("b", 0)
    budget.spend("a", 1000)
    assert not budget.used_up("a", 1000), "it never has more than at first"
    budget.spend("a", 1000)
    assert budget.used_up("a", 1000)


def test_the_oldest_of_the_peer_with_most_has_to_go() -> None:
    places: CallerPlaces[int] = CallerPlaces(3, 2)
    assert [places.enter(p, g) for p, g in [("a", 1), ("a", 2), ("b", 3)]] == [None] * 3
    assert places.enter("b", 4) == 1
    assert places.enter("b", 5) == 3
    places.leave("a", 2)
    places.leave("a", 2)
    assert places.enter("c", 6) is None
    assert places.enter("d", 7) == 4


def test_news_are_told_once_and_not_too_often() -> None:
    refused = RefusedCalls()
    assert refused.news(0, 60) == 0
    refused.add("a", HookReason.FORGED)
    refused.add("a", HookReason.FORGED)
    assert [refused.news(at, 60) for at in (0, 30, 60)] == [2, 0, 0]
    refused.add("", HookReason.RATE)
    assert [refused.news(at, 60) for at in (59, 60)] == [0, 1]
    assert refused.shown() == {"": {"rate": 1}, "a": {"forged": 2}}
