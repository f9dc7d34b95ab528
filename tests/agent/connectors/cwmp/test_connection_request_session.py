"""Connection requests over real sockets: a small CPE on loopback, of h11 and of plain bytes, and the STUN server."""

from __future__ import annotations

import datetime as dt
import errno
import hashlib
import hmac
import ipaddress
import re
import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs

import h11
import pytest
import trio
import trio.testing
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from agent.connectors.cwmp import limits
from agent.connectors.cwmp.connection_request import (
    HttpTarget,
    RequestOutcome,
    RequestReach,
    RequestResult,
    UdpTarget,
    http_target_untrusted,
)
from agent.connectors.cwmp.connection_request_session import request_http, request_udp
from agent.connectors.cwmp.stun import Binding, StunServer
from agent.connectors.cwmp.stun_listener import StunSocket, serve_stun
from agent.cpe_model.known import Credentials
from tests.builders.expect import expect

LOOPBACK = ipaddress.ip_address("127.0.0.1")
REACH = RequestReach(LOOPBACK)
CREDENTIALS = Credentials("acs-üser", "s3cret-canary")
HASHES = {"MD5": "md5", "SHA-256": "sha256"}


# --- a CPE ------------------------------------------------------------------------------------------------------------


@dataclass
class Cpe:
    """Answers like a CPE: challenges by Digest, computed here by hand."""

    algorithm: str = "MD5"
    qop: str | None = "auth"
    password: str = CREDENTIALS.password
    status: int = 200
    body: bytes = b""
    headers: list[tuple[str, str]] = field(default_factory=list)
    keep: bool = True
    """Whether a connection lives on after an answer."""
    silent_end: bool = False
    """Whether it hangs up after an answer without having said so."""
    requests: list[h11.Request] = field(default_factory=list)
    connections: int = 0

    async def handle(self, stream: trio.abc.Stream) -> None:
        self.connections += 1
        http = h11.Connection(h11.SERVER)
        try:
            while True:
                while (event := http.next_event()) is h11.NEED_DATA:
                    http.receive_data(bytes(await stream.receive_some()))
                if not isinstance(event, h11.Request):
                    return
                self.requests.append(event)
                while not isinstance(http.next_event(), h11.EndOfMessage):
                    pass
                head = self.answer(event)
                parts = [http.send(head), http.send(h11.Data(data=self.body)), http.send(h11.EndOfMessage())]
                await stream.send_all(b"".join(part for part in parts if part))
                if self.silent_end or http.our_state is not h11.DONE:
                    return
                http.start_next_cycle()
        except trio.BrokenResourceError:
            return
        finally:
            await trio.aclose_forcefully(stream)

    def answer(self, request: h11.Request) -> h11.Response:
        headers = [("Content-Length", str(len(self.body))), *self.headers]
        if not self.keep:
            headers.append(("Connection", "close"))
        given = dict(request.headers).get(b"authorization", b"").decode()
        if not given:
            qop = f', qop="{self.qop}"' if self.qop else ""
            challenge = f'Digest realm="the cpe", nonce="n0nce", algorithm={self.algorithm}, opaque="o"{qop}'
            return h11.Response(status_code=401, headers=[*headers, ("WWW-Authenticate", challenge)])
        right = self.right(given, request.target.decode())
        return h11.Response(status_code=self.status if right else 401, headers=headers)

    def right(self, given: str, target: str) -> bool:
        pairs = re.findall(r'(\w+)=(?:"([^"]*)"|([^",\s]+))', given.removeprefix("Digest "))
        fields = {name: quoted or bare for name, quoted, bare in pairs}

        def h(text: str) -> str:
            return hashlib.new(HASHES[self.algorithm], text.encode()).hexdigest()

        assert (fields["realm"], fields["nonce"], fields["opaque"]) == ("the cpe", "n0nce", "o")
        assert fields["uri"] == target
        ha1, ha2 = h(f"{CREDENTIALS.user}:the cpe:{self.password}"), h(f"GET:{target}")
        middle = f"{fields['nc']}:{fields['cnonce']}:{fields['qop']}:" if self.qop else ""
        assert (fields.get("qop") or None) == self.qop
        return (fields["username"], fields["response"]) == (CREDENTIALS.user, h(f"{ha1}:n0nce:{middle}{ha2}"))


Handler = Callable[[trio.abc.Stream], Awaitable[None]]


@asynccontextmanager
async def listening(handle: Handler) -> AsyncIterator[HttpTarget]:
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, handle, [listener])
        yield target(listener.socket.getsockname()[1])
        nursery.cancel_scope.cancel()


def target(port: int, scheme: str = "http", host: str = "127.0.0.1", reach: RequestReach = REACH) -> HttpTarget:
    return expect(HttpTarget, http_target_untrusted(f"{scheme}://{host}:{port}/cr?a=1", reach))


async def ask(at: HttpTarget, *, timeout_s: float = 10, context: ssl.SSLContext | None = None) -> RequestResult:
    got = await request_http(at, CREDENTIALS, timeout_s=timeout_s, ssl_context=context)
    assert "canary" not in got.detail
    return got


async def request_connection(cpe: Cpe) -> RequestResult:
    async with listening(cpe.handle) as at:
        return await ask(at)


# --- as it should be --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("qop", ["auth", None])
@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256"])
async def test_digest(algorithm: str, qop: str | None) -> None:
    cpe = Cpe(algorithm, qop)
    got = await request_connection(cpe)
    assert (got.outcome, got.status) == (RequestOutcome.ACCEPTED, 200)
    first, second = cpe.requests
    assert (first.method, first.target, second.target) == (b"GET", b"/cr?a=1", b"/cr?a=1")
    assert [name for name, _ in first.headers] == [b"host"]
    assert [name for name, _ in second.headers] == [b"host", b"authorization"]
    assert cpe.connections == 1


@pytest.mark.parametrize(
    "cpe",
    [
        Cpe(keep=False),
        Cpe(silent_end=True),
        Cpe(body=b"x" * (limits.CONNECTION_BODY_BYTES + 1)),
        Cpe(status=204),
        Cpe(body=b"<html>401</html>"),
    ],
    ids=["closes", "closes without a word", "large body", "204", "body"],
)
async def test_a_connection_ended_after_the_challenge_is_opened_again(cpe: Cpe) -> None:
    got = await request_connection(cpe)
    assert (got.outcome, got.status) == (RequestOutcome.ACCEPTED, cpe.status)
    ends = not cpe.keep or cpe.silent_end or len(cpe.body) > 1000
    assert (len(cpe.requests), cpe.connections) == (2, 2 if ends else 1)


# --- refused ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("keep", [True, False])
async def test_a_wrong_password_is_said_after_two_exchanges(keep: bool) -> None:
    cpe = Cpe(password="another", keep=keep)
    got = await request_connection(cpe)
    assert (got.outcome, got.status) == (RequestOutcome.REFUSED, 401)
    assert "ConnectionRequestPassword" in got.detail
    assert len(cpe.requests) == 2


@dataclass
class WithShortNonces(Cpe):
    """Says of so many answers that their nonce is too old, as a CPE with a nonce for each connection does."""

    stale: int = 1

    def answer(self, request: h11.Request) -> h11.Response:
        if self.stale and b"authorization" in dict(request.headers):
            self.stale -= 1
            challenge = 'Digest realm="the cpe", nonce="n0nce", algorithm=MD5, opaque="o", qop="auth", stale=TRUE'
            return h11.Response(status_code=401, headers=[("Content-Length", "0"), ("WWW-Authenticate", challenge)])
        return super().answer(request)


async def test_a_nonce_that_is_too_old_is_no_wrong_password() -> None:
    """RFC 7616 section 3.3: the password may be right, and is sent once more with the new nonce."""
    cpe = WithShortNonces()
    assert (await request_connection(cpe)).outcome is RequestOutcome.ACCEPTED
    assert len(cpe.requests) == 3


async def test_nonces_that_are_all_too_old_end_it() -> None:
    cpe = WithShortNonces(stale=100)
    got = await request_connection(cpe)
    assert (got.outcome, got.status, len(cpe.requests)) == (RequestOutcome.REFUSED, 401, 3)
    assert "too old" in got.detail
    assert "ConnectionRequestPassword" not in got.detail


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (503, RequestOutcome.BUSY),
        (403, RequestOutcome.REFUSED),
        (404, RequestOutcome.REFUSED),
        (500, RequestOutcome.REFUSED),
    ],
)
async def test_other_answers(status: int, outcome: RequestOutcome) -> None:
    got = await request_connection(Cpe(status=status))
    assert (got.outcome, got.status) == (outcome, status)


async def test_redirects_are_not_followed() -> None:
    elsewhere = Cpe()
    async with listening(elsewhere.handle) as other:
        cpe = Cpe(status=302, headers=[("Location", f"http://127.0.0.1:{other.port}/cr")])
        got = await request_connection(cpe)
    assert (got.outcome, got.status) == (RequestOutcome.REFUSED, 302)
    assert elsewhere.connections == 0


# --- no answer --------------------------------------------------------------------------------------------------------


def saying(data: bytes, *, repeated: bool = False, hang: bool = False) -> Handler:
    async def handle(stream: trio.abc.Stream) -> None:
        try:
            await stream.receive_some()
            await stream.send_all(data)
            while repeated:
                await stream.send_all(data)
            if hang:
                await trio.sleep_forever()
        except trio.BrokenResourceError:
            pass
        finally:
            await trio.aclose_forcefully(stream)

    return handle


@pytest.mark.parametrize("data", [b"", b"HTTP/1.1 401 Unauth", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n"])
async def test_silence_ends_with_the_time_that_was_given(data: bytes) -> None:
    async with listening(saying(data, hang=True)) as at:
        got = await ask(at, timeout_s=0.1)
    assert (got.outcome, got.status) == (RequestOutcome.UNREACHABLE, None)
    assert got.detail.endswith("took the connection and gave no answer within 0.1 s")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "hung up"),
        (b"HTTP/1.1 200 O", "amid its answer"),
        (b"SSH-2.0-dropbear\r\n", "amid its answer"),
        (b"\x00\xff\r\n\r\n", "no HTTP"),
        (b"HTTP/1.1 401 x\r\nbad header\r\n\r\n", "no HTTP"),
    ],
)
async def test_nonsense(data: bytes, words: str) -> None:
    async with listening(saying(data)) as at:
        got = await ask(at)
    assert (got.outcome, got.status) == (RequestOutcome.UNREACHABLE, None)
    assert words in got.detail


@pytest.mark.parametrize("data", [b"x" * 65_536, b"HTTP/1.1 100 Continue\r\n\r\n" * 100, b"a: b\r\n" * 500])
async def test_a_head_that_never_ends(data: bytes) -> None:
    head = b"" if data[:4] == b"HTTP" else b"HTTP/1.1 200 OK\r\nx: "
    async with listening(saying(head + data, repeated=data[:4] == b"HTTP" or data[:1] == b"x")) as at:
        got = await ask(at, timeout_s=5)
    assert (got.outcome, got.status) == (RequestOutcome.UNREACHABLE, None)
    assert "within" not in got.detail


@pytest.mark.parametrize("chunked", [True, False])
@pytest.mark.parametrize("status", [200, 401])
async def test_a_body_of_megabytes_is_not_read(status: int, chunked: bool) -> None:
    """What is sent until the connection is closed is what both kernels hold, and no answer waits for it."""
    sent = 0

    async def handle(stream: trio.abc.Stream) -> None:
        nonlocal sent
        kind = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: 1000000000"
        challenge = b'WWW-Authenticate: Digest realm="r", nonce="n"'
        chunk = (b"10000\r\n" + b"x" * 65_536 + b"\r\n") if chunked else b"x" * 65_536
        try:
            await stream.receive_some()
            await stream.send_all(b"HTTP/1.1 %d x\r\n%s\r\n%s\r\n\r\n" % (status, kind, challenge))
            for _ in range(1000):
                await stream.send_all(chunk)
                sent += len(chunk)
        except trio.BrokenResourceError:
            pass
        finally:
            await trio.aclose_forcefully(stream)

    async with listening(handle) as at:
        got = await ask(at)
    assert (got.outcome, got.status) == (RequestOutcome.ACCEPTED if status == 200 else RequestOutcome.REFUSED, status)
    assert sent < 40_000_000


async def test_a_slow_body_does_not_hold_what_is_decided(monkeypatch: pytest.MonkeyPatch) -> None:
    # Not autojump_clock: its time passes while a socket is waited for
    monkeypatch.setattr(limits, "CONNECTION_DRAIN_S", 0.05)
    async with listening(saying(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nx", hang=True)) as at:
        got = await ask(at)
    assert got.outcome is RequestOutcome.ACCEPTED


@pytest.mark.parametrize("body", [b"Transfer-Encoding: chunked\r\n\r\nnonsense\r\n", b"Content-Length: 9\r\n\r\nx"])
async def test_a_challenge_with_a_broken_body_is_answered(body: bytes) -> None:
    cpe, first = Cpe(), True
    head = b'HTTP/1.1 401 x\r\nWWW-Authenticate: Digest realm="the cpe", nonce="n0nce", opaque="o", qop="auth"\r\n'

    async def handle(stream: trio.abc.Stream) -> None:
        nonlocal first
        if not first:
            return await cpe.handle(stream)
        first = False
        return await saying(head + body)(stream)

    async with listening(handle) as at:
        assert (await ask(at)).outcome is RequestOutcome.ACCEPTED
    assert len(cpe.requests) == 1


async def test_nobody_listens() -> None:
    with trio.socket.socket() as sock:
        await sock.bind(("127.0.0.1", 0))
        got = await ask(target(sock.getsockname()[1]))
    assert (got.outcome, got.status) == (RequestOutcome.UNREACHABLE, None)
    assert got.detail.endswith("cannot be reached: Connection refused")


async def test_a_name_is_judged_by_what_it_leads_to_and_that_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    cpe, names = Cpe(), dict[str, list[str]]()

    async def getaddrinfo(host: str, port: int, **_: object) -> list[object]:
        # In place of DNS, which no test may ask
        if host not in names:
            raise OSError(errno.ENOENT, "no such name")
        return [(2, 1, 6, "", (address, port)) for address in names[host]]

    async with listening(cpe.handle) as at:
        real = trio.socket.getaddrinfo

        async def either(host: str, port: int, *args: object, **options: object) -> object:
            numeric = host.replace(".", "").isdigit()
            return await (real(host, port, *args, **options) if numeric else getaddrinfo(host, port))  # type: ignore[arg-type] # passed on

        monkeypatch.setattr(trio.socket, "getaddrinfo", either)
        named = target(at.port, host="cpe.example")
        got = await ask(named)
        assert got.outcome is RequestOutcome.UNREACHABLE
        assert "no address is known" in got.detail
        names["cpe.example"] = ["8.8.8.8", "10.0.0.1"]
        assert (await ask(named)).outcome is RequestOutcome.ELSEWHERE
        names["cpe.example"] = []
        assert (await ask(named)).outcome is RequestOutcome.UNREACHABLE
        assert cpe.connections == 0
        names["cpe.example"] = ["8.8.8.8", "127.0.0.1"]
        assert (await ask(named)).outcome is RequestOutcome.ACCEPTED
        # The first address of several that may be asked has nobody
        names["cpe.example"] = ["127.0.0.2", "127.0.0.1"]
        wide = RequestReach(None, (ipaddress.ip_network("127.0.0.0/8"),))
        assert (await ask(target(at.port, host="cpe.example", reach=wide))).outcome is RequestOutcome.ACCEPTED
    assert dict(cpe.requests[0].headers)[b"host"] == b"cpe.example:%d" % at.port


# --- TLS --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "cpe")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(LOOPBACK)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "cpe.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return path


async def test_https(certificate: Path) -> None:
    cpe = Cpe()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate)

    async def handle(stream: trio.SocketStream) -> None:
        try:
            await cpe.handle(trio.SSLStream(stream, server, server_side=True))
        finally:
            await trio.aclose_forcefully(stream)

    async with listening(handle) as at:  # type: ignore[arg-type] # a listener of sockets gives socket streams
        secure = target(at.port, "https")
        trusting = ssl.create_default_context(cafile=str(certificate))
        assert (await ask(secure, context=trusting)).outcome is RequestOutcome.ACCEPTED
        strict = ssl.create_default_context()
        got = await ask(secure, context=strict)
        assert got.outcome is RequestOutcome.UNREACHABLE
        assert "CERTIFICATE_VERIFY_FAILED" in got.detail
        assert (await ask(secure)).outcome is RequestOutcome.NO_WAY
    async with listening(saying(b"HTTP/1.1 200 OK\r\n\r\n")) as plain:
        got = await ask(target(plain.port, "https"), context=trusting)
    assert got.outcome is RequestOutcome.UNREACHABLE
    assert "TLS" in got.detail
    async with listening(saying(b"", hang=True)) as silent:
        got = await ask(target(silent.port, "https"), context=trusting, timeout_s=0.1)
    assert got.outcome is RequestOutcome.UNREACHABLE
    assert "gave no answer within" in got.detail


# --- UDP and STUN -----------------------------------------------------------------------------------------------------


@asynccontextmanager
async def stun(
    host: str = "127.0.0.1", server: StunServer | None = None
) -> AsyncIterator[tuple[StunSocket, trio.MemoryReceiveChannel[Binding]]]:
    send, receive = trio.open_memory_channel[Binding](100)
    async with trio.open_nursery() as nursery:
        sock = await nursery.start(serve_stun, server or StunServer(), host, 0, send.send_nowait)
        yield sock, receive
        nursery.cancel_scope.cancel()


REQUEST = b"\0\1\0\x24" + bytes(range(16)) + b"\xc0\1\0\x14dslforum.org/TR-111 " + b"\0\6\0\x05cpe-1\0\0\0"


async def test_cpe_behind_nat_binds_and_is_woken_through_its_binding() -> None:
    with trio.fail_after(60):
        async with stun() as (server, bindings):
            with trio.socket.socket(type=trio.socket.SOCK_DGRAM) as cpe:
                await cpe.bind(("127.0.0.1", 0))
                await cpe.connect((server.host, server.port))
                await cpe.send(b"no STUN")
                await cpe.send(REQUEST)
                reply = await cpe.recv(600)
                own = cpe.getsockname()
                assert reply == b"\1\1\0\x0c" + REQUEST[4:20] + b"\0\1\0\x08\0\1" + own[1].to_bytes(2, "big") + bytes(
                    (127, 0, 0, 1)
                )
                binding = await bindings.receive()
                assert (binding.username, binding.address, binding.port) == ("cpe-1", LOOPBACK, own[1])
                at = UdpTarget(binding.address, binding.port)
                got = await request_udp(at, CREDENTIALS, server.send, time.time(), gap_s=0.001)
                assert got.outcome is RequestOutcome.SENT
                # Connected: what comes from another port, a NAT would drop, and so does this socket
                copies = [await cpe.recv(2000) for _ in range(limits.UDP_COPIES)]
    assert len(set(copies)) == 1
    found = re.fullmatch(rf"GET http://127\.0\.0\.1:{own[1]}\?(\S+) HTTP/1\.1\r\nHost: \S+\r\n\r\n", copies[0].decode())
    assert found
    query = {name: values[0] for name, values in parse_qs(found[1]).items()}
    text = query["ts"] + query["id"] + query["un"] + query["cn"]
    assert query["un"] == CREDENTIALS.user
    assert query["sig"] == hmac.new(b"s3cret-canary", text.encode(), "sha1").hexdigest().upper()


def has_both_kinds() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::", 0))
            return not probe.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
    except OSError:
        return False


@pytest.mark.skipif(not has_both_kinds(), reason="no socket here is of both kinds")
async def test_a_socket_of_both_kinds_speaks_ipv4() -> None:
    with trio.fail_after(60):
        async with stun("::") as (server, bindings):
            with trio.socket.socket(type=trio.socket.SOCK_DGRAM) as cpe:
                await cpe.connect(("127.0.0.1", server.port))
                await cpe.send(REQUEST)
                assert len(await cpe.recv(600)) == 32
                binding = await bindings.receive()
                assert binding.address == LOOPBACK
                await request_udp(UdpTarget(LOOPBACK, binding.port), CREDENTIALS, server.send, time.time(), copies=1)
                assert (await cpe.recv(2000)).startswith(b"GET http://127.0.0.1:")


async def test_who_only_asks_for_his_address_is_nobody_s_place() -> None:
    with trio.fail_after(60):
        async with stun() as (server, bindings):
            with trio.socket.socket(type=trio.socket.SOCK_DGRAM) as cpe:
                await cpe.connect((server.host, server.port))
                await cpe.send(b"\0\1\0\0" + bytes(16))
                assert len(await cpe.recv(600)) == 32
                await cpe.send(REQUEST)
                assert (await bindings.receive()).username == "cpe-1"


async def test_each_request_has_a_number_and_a_cnonce_of_its_own() -> None:
    sent: list[bytes] = []

    async def send(data: bytes, to: tuple[str, int]) -> None:
        assert to == ("127.0.0.1", 9)
        sent.append(data)

    for _ in range(2):
        await request_udp(UdpTarget(LOOPBACK, 9), CREDENTIALS, send, 0.0, copies=2, gap_s=0)
    assert (len(sent), len(set(sent))) == (4, 2)


async def test_what_could_not_be_sent(autojump_clock: trio.testing.MockClock) -> None:
    failures = iter([OSError(errno.ENETUNREACH, "Network is unreachable")] * 4)
    sent: list[bytes] = []

    async def send(data: bytes, to: tuple[str, int]) -> None:
        for failure in failures:
            raise failure
        sent.append(data)

    at = UdpTarget(LOOPBACK, 9)
    started = trio.current_time()
    got = await request_udp(at, CREDENTIALS, send, 0.0)
    assert trio.current_time() - started == pytest.approx(limits.UDP_GAP_S * (limits.UDP_COPIES - 1))
    assert got.outcome is RequestOutcome.UNREACHABLE
    assert got.detail == "127.0.0.1:9 by UDP: nothing could be sent: Network is unreachable"
    got = await request_udp(at, CREDENTIALS, send, 0.0)
    assert (got.outcome, len(sent)) == (RequestOutcome.SENT, 2), "one lost copy is no failure"
