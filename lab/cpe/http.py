"""HTTP/1.1 as a CPE speaks it: one connection that is kept, cookies, authentication, redirects. On h11."""

from __future__ import annotations

import gzip
import ipaddress
import ssl
import zlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, urljoin, urlsplit

import h11
import trio

from lab.cpe.auth import Client
from lab.cpe.errors import HttpError, NotLoopbackError
from lab.cpe.quirks import NONE, Quirks

Connect = Callable[[str, int], Awaitable[trio.abc.Stream]]
_CHUNK_BYTES: Final = 65536
# a firmware image of the lab; what an ACS says is far less
_BODY_BYTES_MAX: Final = 64 << 20
_REDIRECTS_MAX: Final = 5
_CHALLENGES_MAX: Final = 2


async def connect_loopback(host: str, port: int) -> trio.abc.Stream:
    """A TCP connection on this machine.

    Raises:
        NotLoopbackError: the host is another machine.
        HttpError: nobody listens there.
    """
    try:
        here = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        here = False
    if not here:
        raise NotLoopbackError(f"expected an address of this machine, got {host}")
    try:
        return await trio.open_tcp_stream(host, port)
    except OSError as err:
        raise HttpError(f"expected somebody at {host}:{port}, got {err}", connected=False) from err


@dataclass(frozen=True, slots=True)
class Network:
    """How a CPE reaches others. `timeout_s`: of one request and its answer; `ssl_context`: for https."""

    connect: Connect = connect_loopback
    ssl_context: ssl.SSLContext | None = None
    timeout_s: float = 30.0


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer of a server."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def all(self, name: str) -> list[str]:
        """Every value of a header, its name in lower case."""
        return [value for key, value in self.headers if key == name]

    def get(self, name: str) -> str:
        """The first value of a header, empty without one."""
        return next(iter(self.all(name)), "")


class _Connection:
    """One connection, used for one request after another."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._h11 = h11.Connection(h11.CLIENT)
        self.reusable = True

    async def exchange(
        self, method: str, target: str, headers: Sequence[tuple[str, str]], parts: Sequence[bytes]
    ) -> Answer:
        """Send a request and read its answer.

        Raises:
            HttpError: the connection ended, or the bytes are no HTTP.
        """
        try:
            if self._h11.our_state is not h11.IDLE:
                self._h11.start_next_cycle()
            request = h11.Request(method=method, target=target, headers=list(headers))
            events = [request, *(h11.Data(data=part) for part in parts), h11.EndOfMessage()]
            await self._stream.send_all(b"".join(self._h11.send(event) or b"" for event in events))
            answer = await self._read()
        except (trio.BrokenResourceError, trio.ClosedResourceError, h11.ProtocolError, OSError) as err:
            raise HttpError(f"expected an answer, got {type(err).__name__}: {err}") from err
        self.reusable = self._h11.our_state is h11.DONE and self._h11.their_state is h11.DONE
        return answer

    async def _read(self) -> Answer:
        response: h11.Response | None = None
        body = bytearray()
        while True:
            event = self._h11.next_event()
            if event is h11.NEED_DATA:
                self._h11.receive_data(bytes(await self._stream.receive_some(_CHUNK_BYTES)))
            elif isinstance(event, h11.Response):
                response = event
            elif isinstance(event, h11.Data):
                body += event.data
                if len(body) > _BODY_BYTES_MAX:
                    raise HttpError(f"expected at most {_BODY_BYTES_MAX} bytes, got more")
            elif isinstance(event, h11.EndOfMessage) and response is not None:
                break
        headers = tuple((name.decode("ascii"), value.decode("latin-1")) for name, value in response.headers)
        return Answer(response.status_code, headers, _plain(headers, bytes(body)))

    async def aclose(self) -> None:
        await trio.aclose_forcefully(self._stream)


def _plain(headers: Sequence[tuple[str, str]], body: bytes) -> bytes:
    if ("content-encoding", "gzip") not in headers:
        return body
    try:
        return gzip.decompress(body)
    except (OSError, EOFError, zlib.error) as err:
        raise HttpError("expected a gzip body, got none") from err


def _joined(url: str, location: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError as err:
        raise HttpError("expected a Location that is an URL, got something else") from err


def _split(url: str) -> tuple[SplitResult, int]:
    """The parts of an address, and its port."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as err:
        raise HttpError("expected an http URL, got something else", connected=False) from err
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise HttpError("expected an http URL, got something else", connected=False)
    return parts, port or (443 if parts.scheme == "https" else 80)


class HttpSession:
    """Requests to one server: over one connection as long as it is kept, with its cookies and its challenge.

    Args:
        url: where to.
        username: for a challenge; empty: none is answered.
        password: for a challenge.
        network: how to get there.
        quirks: those of HTTP.
    """

    def __init__(self, url: str, username: str, password: str, network: Network, quirks: Quirks = NONE) -> None:
        self.url = url
        self._network = network
        self._quirks = quirks
        self._client = Client(username, password, preemptive_basic=quirks.preemptive_basic, no_qop=quirks.no_qop)
        self._cookies: dict[str, str] = {}
        self._connection: _Connection | None = None
        self._server = ("", "", 0)

    async def request(self, method: str, headers: Sequence[tuple[str, str]], body: bytes) -> Answer:
        """Make a request; challenges and redirects on the way are followed.

        Raises:
            HttpError: there is no connection, or it ended, or nothing came in time.
            NotLoopbackError: the server is another machine.
        """
        redirects = challenges = 0
        while True:
            answer = await self._once(method, headers, body)
            challenged = answer.status == 401 and challenges < _CHALLENGES_MAX
            if challenged and self._client.take(answer.all("www-authenticate")):
                challenges += 1
            elif answer.status in (301, 302, 307) and answer.get("location") and redirects < _REDIRECTS_MAX:
                self.url = _joined(self.url, answer.get("location"))
                redirects += 1
            else:
                return answer

    async def _once(self, method: str, headers: Sequence[tuple[str, str]], body: bytes) -> Answer:
        parts, _ = _split(self.url)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        sent = gzip.compress(body) if self._quirks.gzip and body else body
        lines = [("Host", parts.netloc), ("User-Agent", "lab-cpe"), *headers]
        if self._quirks.gzip and body:
            lines.append(("Content-Encoding", "gzip"))
        # RFC 9112: a length of 0 is said too, or a server would wait for nothing
        chunked = self._quirks.chunked and bool(body)
        lines.append(("Transfer-Encoding", "chunked") if chunked else ("Content-Length", str(len(sent))))
        if self._cookies and not self._quirks.no_cookies:
            lines.append(("Cookie", "; ".join(f"{name}={value}" for name, value in self._cookies.items())))
        said = self._client.header(method, target, sent)
        if said is not None:
            lines.append(("Authorization", said))
        pieces = [sent[at : at + 1000] for at in range(0, len(sent), 1000)] if chunked else [sent] if sent else []
        try:
            with trio.fail_after(self._network.timeout_s):
                connection = await self._connected()
                answer = await connection.exchange(method, target, lines, pieces)
        except trio.TooSlowError as err:
            raise HttpError(f"expected an answer within {self._network.timeout_s:g} s, got none") from err
        self._keep_cookies(answer)
        return answer

    async def _connected(self) -> _Connection:
        parts, port = _split(self.url)
        server = (parts.scheme, parts.hostname or "", port)
        if self._connection is not None and self._connection.reusable and server == self._server:
            return self._connection
        await self.aclose()
        stream = await self._network.connect(server[1], port)
        if parts.scheme == "https":
            context = self._network.ssl_context or ssl.create_default_context()
            secured = trio.SSLStream(stream, context, server_hostname=server[1], https_compatible=True)
            try:
                await secured.do_handshake()
            except (trio.BrokenResourceError, OSError) as err:
                await trio.aclose_forcefully(stream)
                raise HttpError(f"expected TLS at {server[1]}:{port}, got {err.__cause__ or err}") from err
            stream = secured
        self._server, self._connection = server, _Connection(stream)
        return self._connection

    def _keep_cookies(self, answer: Answer) -> None:
        for header in answer.all("set-cookie"):
            pair, *attributes = header.split(";")
            name, _, value = pair.strip().partition("=")
            ended = any(one.strip().lower().replace(" ", "") == "max-age=0" for one in attributes)
            self._cookies.pop(name, None)
            if name and not ended:
                self._cookies[name] = value

    async def aclose(self) -> None:
        """Drop the connection."""
        if self._connection is not None:
            connection, self._connection = self._connection, None
            await connection.aclose()
