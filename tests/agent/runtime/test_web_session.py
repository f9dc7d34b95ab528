"""HTTP out, against a server that answers as each test wrote it."""

from __future__ import annotations

import io
import logging
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from agent.runtime import redacting_log
from agent.runtime.errors import (
    LocalWebError,
    MalformedWebError,
    WebCertificateError,
    WebError,
    WebRefusedError,
    WebUnreachableError,
)
from agent.runtime.web_address import web_address
from agent.runtime.web_session import (
    WebClient,
    WebLimits,
    WebPeer,
    WebPost,
    WebReading,
    retry_after_untrusted,
)
from agent.runtime.web_tls import fingerprint
from tests.agent.runtime.web_server import Scripted, certificate, ok, reply, scripted

KEY = "k-4711-secret"


class Naps:
    """A clock on which every sleep is over at once."""

    boot_id = ""

    def __init__(self) -> None:
        self.slept: list[float] = []
        self.now_s = 1000.0

    def wall_s(self) -> float:
        return 1_795_000_000.0 + self.now_s

    def boot_s(self) -> float:
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        await trio.lowlevel.checkpoint()
        self.slept.append(seconds)
        self.now_s += seconds

    async def sleep_until_boot(self, boot_s: float) -> None:
        await self.sleep(boot_s - self.now_s)


async def key() -> Mapping[str, str]:
    return {"x-auth-app-key": KEY}


def client(server: Scripted, clock: Naps | None = None, **given: Any) -> WebClient:
    scheme = "https" if "ca_file" in given or "pin" in given else "http"
    peer = {name: given.pop(name) for name in ("ca_file", "pin", "one_at_a_time") if name in given}
    limits = WebLimits(**{"call_s": 60, "attempts": 1, **given.pop("limits", {})})
    given = {"authorize": key, "dice": lambda: 0.5, **given}
    address = web_address(f"{scheme}://127.0.0.1:{server.port}/api/v1.0")
    return WebClient(WebPeer(address, **peer), clock or Naps(), limits=limits, **given)


@asynccontextmanager
async def asked(*replies: Any, **given: Any) -> AsyncIterator[tuple[WebReading, Scripted]]:
    tls = given.pop("tls", None)
    async with scripted(*replies, tls=tls) as server, client(server, **given).reading() as reading:
        yield reading, server


async def test_an_answer_and_its_request() -> None:
    async with asked(ok(b'{"balance": 12.10, "n": 3}', more="X-Total: 9\r\n")) as (reading, server):
        answer = await reading.get("/clients/{}", {"query": "Amina & Hassan", "limit": "2"}, ids=("C/1?",))
    assert answer.status == 200
    assert answer.json == {"balance": Decimal("12.10"), "n": 3}
    assert answer.headers["x-total"] == "9"
    assert answer.began_s == 1_795_001_000.0
    (head,) = server.heads
    assert head.startswith("GET /api/v1.0/clients/C%2F1%3F?query=Amina%20%26%20Hassan&limit=2 HTTP/1.1\r\n")
    fields = dict(line.split(": ", 1) for line in head.lower().split("\r\n")[1:])
    assert fields == {
        "host": f"127.0.0.1:{server.port}",
        "accept": "application/json",
        "accept-encoding": "identity",
        "user-agent": "ispagent",
        "x-auth-app-key": KEY,
    }


async def test_a_post_is_sent_once() -> None:
    async with asked(reply(503), limits={"attempts": 5}) as (reading, server):
        with pytest.raises(WebUnreachableError, match="POST /pull: status 503"):
            await reading.post("/pull", WebPost(b"{}", "application/json"))
        assert server.bodies == [b"{}"]
        assert "content-type: application/json" in server.heads[0].lower()


async def test_no_cookie_redirect_or_proxy_is_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    moved = reply(302, more="Location: http://127.0.0.1:9/\r\nSet-Cookie: a=b\r\n")
    async with asked(ok(more="Set-Cookie: a=b\r\n"), moved) as (reading, server):
        await reading.get("/clients")
        with pytest.raises(MalformedWebError, match="expected status 200, got 302"):
            await reading.get("/clients")
        assert "cookie" not in server.heads[1].lower()
        assert len(server.heads) == 2


@pytest.mark.parametrize(
    ("status", "error", "says"),
    [
        (401, WebRefusedError, "the credentials are refused"),
        (403, WebRefusedError, "their right is missing"),
        (404, MalformedWebError, "expected status 200, got 404"),
        (500, WebUnreachableError, "status 500"),
        (204, MalformedWebError, "got 204"),
    ],
)
async def test_a_status(status: int, error: type[WebError], says: str) -> None:
    async with asked(reply(status, b'{"message": "Amina Hassan"}')) as (reading, _):
        with pytest.raises(error, match=says) as caught:
            await reading.get("/clients", {"query": "Amina"})
    assert "Amina" not in str(caught.value)


async def test_an_expected_status_has_no_value() -> None:
    async with asked(reply(404)) as (reading, _):
        answer = await reading.get("/clients/{}", ids=("7",), expected=(200, 404))
    assert (answer.status, answer.json) == (404, None)


async def test_an_expected_404_of_a_proxy_is_none_of_the_api() -> None:
    """While an API is updated, whoever stands in front of it says that nothing is there: it is asked again."""
    proxy = reply(404, b"<html>404 Not Found", kind="text/html")
    async with asked(proxy, ok(b'{"id": 7}'), limits={"attempts": 2}) as (reading, _):
        answer = await reading.get("/clients/{}", ids=("7",), expected=(200, 404))
    assert answer.json == {"id": 7}
    async with asked(proxy) as (reading, _):
        with pytest.raises(WebUnreachableError, match="expected status 404 of the API, got one without JSON"):
            await reading.get("/clients/{}", ids=("7",), expected=(200, 404))


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (ok(b"<html>", "text/html"), "expected JSON"),
        (ok(b'{"a": 1, "a": 2}'), "strict JSON"),
        (ok(b'{"a": "\xe9"}'), "strict JSON"),
        (ok(b"[" * 40 + b"]" * 40), "strict JSON"),
        (ok(b'{"a": NaN}'), "strict JSON"),
        (ok(b'{"a": 0.' + b"1" * 90 + b"}"), "strict JSON"),
        (ok(b"\x1f\x8b", more="Content-Encoding: gzip\r\n"), "not compressed"),
        (ok(b" " * 1001), "at most 1000 bytes"),
    ],
)
async def test_an_answer_of_another_form(raw: bytes, says: str) -> None:
    async with asked(raw, limits={"answer_bytes": 1000}) as (reading, _):
        with pytest.raises(MalformedWebError, match=says):
            await reading.get("/clients")


@pytest.mark.parametrize(
    "raw", [b"", b"HTTP/1.1 200 X\r\ncontent-len", ok(b"x" * 99)[:-50], b"SSH-2.0-OpenSSH\r\n\r\n"]
)
async def test_an_answer_that_is_cut(raw: bytes) -> None:
    async def cut(stream: trio.abc.Stream) -> None:
        await stream.send_all(raw)

    async with asked(cut, limits={"attempts": 3}) as (reading, server):
        with pytest.raises(WebUnreachableError, match="middle of the answer"):
            await reading.get("/clients")
        assert len(server.heads) == 3


async def test_an_endless_answer_ends_at_the_limit() -> None:
    sent = 0

    async def endless(stream: trio.abc.Stream) -> None:
        nonlocal sent
        await stream.send_all(b"HTTP/1.1 200 X\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n")
        while True:
            await stream.send_all(b"10000\r\n" + b" " * 65536 + b"\r\n")
            sent += 65536

    async with asked(endless, limits={"answer_bytes": 1 << 20}) as (reading, server):
        with pytest.raises(MalformedWebError, match="at most 1048576 bytes"):
            await reading.get("/clients")
        assert len(server.heads) == 1  # more of it would not help
    assert sent < 16 << 20


async def test_a_reading_has_an_allowance() -> None:
    async with asked(ok(b" " * 598 + b"{}"), limits={"reading_bytes": 1000}) as (reading, _):
        await reading.get("/clients")
        with pytest.raises(MalformedWebError, match="a reading of at most 1000 bytes"):
            await reading.get("/clients")
    async with asked(ok(), limits={"calls": 2}) as (reading, server):
        await reading.get("/clients")
        await reading.get("/clients")
        with pytest.raises(MalformedWebError, match="at most 2 calls"):
            await reading.get("/clients")
        assert len(server.heads) == 2


async def test_reads_are_tried_again() -> None:
    clock = Naps()
    replies, limits = (reply(500), reply(502), reply(429), ok()), {"attempts": 4, "pause_s": 1.0}
    async with scripted(*replies) as server, client(server, clock, limits=limits).reading() as reading:
        assert (await reading.get("/clients")).status == 200
    assert clock.slept == [1.0, 2.0, 4.0]
    assert len(server.heads) == 4


async def test_retry_after_is_honored_by_all_readings() -> None:
    clock = Naps()
    async with scripted(reply(429, more="Retry-After: 7\r\n"), ok()) as server:
        one = client(server, clock, limits={"attempts": 2})
        async with one.reading() as reading:
            await reading.get("/clients")
        assert clock.slept == [7.0]
    async with scripted(reply(429, more="Retry-After: 7\r\n"), ok()) as server:
        one, clock.slept = client(server, clock), []
        async with one.reading() as reading:
            with pytest.raises(WebUnreachableError) as caught:
                await reading.get("/clients")
        assert caught.value.retry_after_s == 7.0
        async with one.reading() as reading:
            await reading.get("/clients")
        assert clock.slept == [7.0]


async def test_retry_after_longer_than_the_reading_ends_it() -> None:
    clock = Naps()
    async with scripted(reply(503, more="Retry-After: 86400\r\n")) as server:
        one = client(server, clock, limits={"attempts": 4, "reading_s": 600})
        for _ in range(2):
            async with one.reading() as reading:
                with pytest.raises(WebUnreachableError) as caught:
                    await reading.get("/clients")
                assert caught.value.retry_after_s == pytest.approx(86400)
        assert len(server.heads) == 1  # the second reading left it alone
    assert clock.slept == []


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("120", 120), ("0", 0), ("", 0), ("-5", 0), ("Fri, 27 Nov 2026 09:00:00 GMT", 0), ("soon", 0), ("9" * 40, 0)],
)
def test_retry_after(text: str, seconds: float) -> None:
    assert retry_after_untrusted(text, 1_900_000_000.0) == seconds


def test_retry_after_as_a_date() -> None:
    assert retry_after_untrusted("Fri, 27 Nov 2026 09:00:00 GMT", 1_795_769_900.0) == 1_795_770_000 - 1_795_769_900


@pytest.mark.parametrize("asked", ["999999999", "Fri, 31 Dec 9999 23:59:59 GMT"])
async def test_wrong_retry_after_silences_nobody_for_longer_than_day(asked: str) -> None:
    clock = Naps()
    async with scripted(reply(503, more=f"Retry-After: {asked}\r\n"), ok()) as server:
        one = client(server, clock, limits={"reading_s": 600})
        async with one.reading() as reading:
            with pytest.raises(WebUnreachableError):
                await reading.get("/clients")
        await clock.sleep(86_401)
        async with one.reading() as reading:
            assert (await reading.get("/clients")).status == 200


async def test_a_slow_answer_is_given_up(autojump_clock: trio.testing.MockClock) -> None:
    async def drops(stream: trio.abc.Stream) -> None:
        await stream.send_all(b"HTTP/1.1 200 X\r\ncontent-type: application/json\r\ncontent-length: 900\r\n\r\n")
        while True:
            await stream.send_all(b" ")
            await trio.sleep(9)

    async with scripted(drops) as server, client(server, limits={"call_s": 60}).reading() as reading:
        with pytest.raises(WebUnreachableError, match="no whole answer within 60 s"):
            await reading.get("/clients")


async def test_a_cancelled_call_leaves_the_reading_usable() -> None:
    async def never(stream: trio.abc.Stream) -> None:
        await trio.sleep_forever()

    async with asked(never, ok(), one_at_a_time=True) as (reading, server):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(reading.get, "/clients")
            while not server.heads:
                await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        assert (await reading.get("/clients")).status == 200


async def test_one_at_a_time() -> None:
    for one_at_a_time, most in ((True, 1), (False, 3)):
        begun, go = [], trio.Event()

        async def held(stream: trio.abc.Stream, begun: list[int] = begun, go: trio.Event = go) -> None:
            begun.append(1)
            await go.wait()
            await stream.send_all(reply(200, more="connection: close\r\n"))

        async with asked(held, one_at_a_time=one_at_a_time) as (reading, server), trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(reading.get, "/clients")
            while len(begun) < most:
                await trio.testing.wait_all_tasks_blocked()
            assert len(begun) == most
            go.set()
        assert len(server.heads) == 3
        assert server.most_at_once == most


async def test_nobody_listens() -> None:
    listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
    server = Scripted((), listener.socket.getsockname()[1])
    await listener.aclose()
    clock = Naps()
    async with client(server, clock, limits={"attempts": 3, "pause_s": 1}).reading() as reading:
        with pytest.raises(WebUnreachableError, match="GET /clients: Connection refused"):
            await reading.get("/clients")
    assert clock.slept == [1.0, 2.0]


async def test_each_attempt_proves_itself_anew() -> None:
    nonces = iter(range(10))

    async def counted() -> Mapping[str, str]:
        return {"x-nonce": str(next(nonces))}

    async with asked(reply(500), ok(), authorize=counted, limits={"attempts": 2}) as (reading, server):
        await reading.get("/clients")
    assert ["x-nonce: 0" in server.heads[0], "x-nonce: 1" in server.heads[1]] == [True, True]


@pytest.mark.parametrize("bad", ["a\r\nx: y", " a", "ä", ""])
async def test_a_credential_that_cannot_be_sent_is_not_shown(bad: str) -> None:
    async def broken() -> Mapping[str, str]:
        return {"x-auth-app-key": f"{bad}"}

    async with asked(ok(), authorize=broken) as (reading, server):
        with pytest.raises(LocalWebError, match="printable ASCII"):
            await reading.get("/clients")
        assert server.heads == []


@pytest.mark.parametrize("bad", ["", ".", ".."])
async def test_an_id_that_would_name_another_path(bad: str) -> None:
    async with asked(ok()) as (reading, server):
        with pytest.raises(LocalWebError, match=r"/clients/\{\}: expected an id"):
            await reading.get("/clients/{}", ids=(bad,))
        assert server.heads == []


async def test_a_certificate_of_a_configured_authority(tmp_path: Path) -> None:
    made, other = certificate(tmp_path, "a"), certificate(tmp_path, "b")
    async with asked(ok(), tls=made.context, ca_file=made.file) as (reading, _):
        assert (await reading.get("/clients")).status == 200
    async with asked(ok(), tls=other.context, ca_file=made.file, limits={"attempts": 3}) as (reading, server):
        with pytest.raises(WebCertificateError, match="GET /clients: its certificate is not trusted: "):
            await reading.get("/clients")
        assert server.heads == []


async def test_an_expired_certificate(tmp_path: Path) -> None:
    made = certificate(tmp_path, "a", days=-1)
    async with asked(ok(), tls=made.context, ca_file=made.file) as (reading, _):
        with pytest.raises(WebCertificateError, match="expired"):
            await reading.get("/clients")


async def test_the_system_does_not_trust_a_self_signed_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = certificate(tmp_path, "a")
    monkeypatch.setenv("SSL_CERT_FILE", str(made.file))
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
    async with asked(ok(), tls=made.context, ca_file=None) as (reading, _):
        with pytest.raises(WebCertificateError, match="not trusted"):
            await reading.get("/clients")
    assert not (tmp_path / "keys").exists()


async def test_a_pinned_certificate(tmp_path: Path) -> None:
    made, other = certificate(tmp_path, "a"), certificate(tmp_path, "b")
    async with asked(ok(), tls=made.context, pin=made.pin) as (reading, _):
        assert (await reading.get("/clients")).status == 200
    async with asked(ok(), tls=other.context, pin=made.pin, limits={"attempts": 3}) as (reading, server):
        with pytest.raises(WebCertificateError) as caught:
            await reading.get("/clients")
        assert made.pin in str(caught.value)
        assert other.pin in str(caught.value)
        assert server.heads == []


async def test_old_tls_is_refused(tmp_path: Path) -> None:
    made = certificate(tmp_path, "a")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        made.context.minimum_version = ssl.TLSVersion.TLSv1_1
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        made.context.maximum_version = ssl.TLSVersion.TLSv1_1
    made.context.set_ciphers("ALL:@SECLEVEL=0")
    for given in ({"pin": made.pin}, {"ca_file": made.file}):
        async with asked(ok(), tls=made.context, **given) as (reading, server):
            with pytest.raises(WebUnreachableError):
                await reading.get("/clients")
            assert server.heads == []


async def test_a_file_of_authorities_that_is_none(tmp_path: Path) -> None:
    for content in (None, b"", b"hello"):
        file = tmp_path / "ca.pem"
        if content is not None:
            file.write_bytes(content)
        broken = client(Scripted((), 9), ca_file=file)
        with pytest.raises(LocalWebError, match=r"ca\.pem: expected a file of certificates in PEM"):
            async with broken.reading():
                pass


async def test_nothing_of_a_call_is_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    root = logging.getLogger()
    handlers, level, stream = list(root.handlers), root.level, io.StringIO()
    handler = redacting_log.RedactingHandler(stream)
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        async with asked(ok(b'{"name": "Amina"}'), reply(500)) as (reading, _):
            await reading.get("/clients", {"query": "Amina"})
            with pytest.raises(WebUnreachableError):
                await reading.get("/clients", {"query": "Amina"})
        for name in ("httpx", "httpcore.http11"):
            logging.getLogger(name).critical("Amina")
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
    assert handlers == root.handlers
    assert stream.getvalue() == ""


@pytest.mark.parametrize(
    ("text", "origin", "path"),
    [
        ("https://Billing.example/crm/api/v1.0/", "https://billing.example:443", "/crm/api/v1.0"),
        ("https://10.0.0.9:8443", "https://10.0.0.9:8443", ""),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080", ""),
        ("http://[::1]/x", "http://[::1]:80", "/x"),
    ],
)
def test_an_address(text: str, origin: str, path: str) -> None:
    found = web_address(text)
    assert (found.origin, found.path) == (origin, path)


@pytest.mark.parametrize(
    "text",
    [
        "http://billing.example",
        "http://localhost",
        "https://u:p@billing.example",
        "https://@billing.example",
        "https://billing.example/?a=b",
        "https://billing.example/a#b",
        "https://billing.example/a b",
        "https://billing.example/../x y",
        "https://",
        "https://billing.example:0",
        "https://billing.example:99999",
        "ftp://billing.example",
        "billing.example",
        "",
        7,
        "https://" + "a" * 600,
    ],
)
def test_no_address(text: object) -> None:
    with pytest.raises(ValueError):
        web_address(text)


def test_fingerprints() -> None:
    assert fingerprint("AB:" * 31 + "cd") == "ab" * 31 + "cd"
    for bad in ("ab", "zz" * 32, 7, ""):
        with pytest.raises(ValueError):
            fingerprint(bad)
