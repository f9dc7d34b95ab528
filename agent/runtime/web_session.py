"""HTTP out: readings of web APIs, over the only module that imports httpx.

* A reading is a few calls that belong together, such as all pages of a list. It has one allowance of bytes, calls and
  time, and connections of its own, which are closed at its end.
* Reads (GET) are tried again when no connection or no whole answer came, and after 5xx and 429; `Retry-After` is
  honored as far as the reading's time goes, by all readings of the client. A POST is sent once.
* Only the lowest layer of httpx is used: no redirects, cookies, proxies, `.netrc` and credentials of the environment
  are in it, nor the client that logs URLs. Compressed answers are not asked for, so a byte that comes is a byte that
  is counted.
* No message holds a path's query, a header, or anything of an answer's body: there are subscribers in them.
"""

from __future__ import annotations

import errno
import math
import os
import re
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from functools import cached_property
from http import HTTPStatus
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlencode

import httpx
import trio

from agent.runtime import json_text
from agent.runtime.clock import Clock
from agent.runtime.errors import (
    LocalWebError,
    MalformedJsonError,
    MalformedWebError,
    WebCertificateError,
    WebError,
    WebRefusedError,
    WebStatusError,
    WebUnreachableError,
)
from agent.runtime.web_address import WebAddress
from agent.runtime.web_tls import tls_context
from trust import chance

MEBI: Final = 1 << 20
_DECODED_AT_ONCE: Final = 256 << 10
"""Bytes of JSON that are decoded in between; more is decoded in a thread, since a megabyte takes some 50 ms."""
_JSON: Final = re.compile(r"application/(?:[a-z0-9.+-]+\+)?json(?:\s*;.*)?", re.ASCII | re.IGNORECASE)
_HEADER: Final = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?", re.ASCII)
_SECONDS: Final = re.compile(r"[0-9]{1,9}", re.ASCII)
QUIET_MOST_S: Final = 86_400.0
"""A longer `Retry-After` counts as this one: a wrong one must not silence a peer until the agent is started anew."""
_REFUSING: Final = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)

Headers = Mapping[str, str]
Query = Mapping[str, str] | Sequence[tuple[str, str]]
"""Parameters of a URL; a name may stand in it several times."""
Authorize = Callable[[], Awaitable[Headers]]
"""Makes the headers by which one attempt proves itself. It is called anew for each attempt, inside the turn."""


@dataclass(frozen=True, slots=True)
class WebLimits:
    """Bounds of one reading. Times are seconds, sizes bytes.

    `call_s`: one attempt, from the connection to the last byte. `reading_s`: all calls, attempts and pauses.
    `calls`: how many calls, such as pages; attempts do not count. `attempts`: of one read. `pause_s`: before the
    second attempt, about; it doubles.
    """

    call_s: float = 30.0
    reading_s: float = 600.0
    answer_bytes: int = 16 * MEBI
    reading_bytes: int = 64 * MEBI
    calls: int = 2_000
    attempts: int = 4
    pause_s: float = 0.5


@dataclass(frozen=True, slots=True)
class WebPeer:
    """The other end: where it is and how it is verified (see `web_tls.tls_context`).

    `one_at_a_time`: it takes the next request only after the answer to the one before.
    """

    address: WebAddress
    ca_file: Path | None = None
    pin: str = ""
    one_at_a_time: bool = False


@dataclass(frozen=True, slots=True)
class WebAnswer:
    """A whole answer. `headers`: names in small letters. `json`: numbers with a fraction are `Decimal`.

    `began_s`: when the attempt that it answers began, unix seconds: its facts were true then or later.
    """

    status: int
    headers: Headers
    json: object
    began_s: float


@dataclass(frozen=True, slots=True)
class WebPost:
    """The body of a POST."""

    body: bytes
    content_type: str


class WebClient:
    """Reads one web API. Nothing is opened before a reading."""

    def __init__(
        self,
        peer: WebPeer,
        clock: Clock,
        authorize: Authorize,
        limits: WebLimits = WebLimits(),
        dice: Callable[[], float] = chance.fraction,
    ) -> None:
        """Take the other end.

        Args:
            peer: the other end.
            clock: for pauses and the time of a reading.
            authorize: makes the headers that hold the credentials.
            limits: of each reading.
            dice: a number from 0 to 1, for the jitter of pauses.
        """
        self.peer = peer
        self.clock = clock
        self.authorize = authorize
        self.limits = limits
        self.dice = dice
        self.turn: trio.Semaphore = trio.Semaphore(1 if peer.one_at_a_time else 8)
        self.quiet_until_boot_s = float("-inf")
        """The other end asked to be left alone until then."""

    @cached_property
    def tls(self) -> ssl.SSLContext:
        """How the other end is verified.

        Raises:
            LocalWebError: its file of authorities cannot be used.
        """
        return tls_context(self.peer.ca_file, self.peer.pin)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[WebReading]:
        """Lend a reading; leaving the block closes its connections.

        Raises:
            LocalWebError: on entering, the file of authorities cannot be used.
        """
        limits = httpx.Limits(max_connections=8, max_keepalive_connections=8, keepalive_expiry=15.0)
        transport = httpx.AsyncHTTPTransport(verify=self.tls, trust_env=False, http2=False, limits=limits)
        try:
            yield WebReading(self, transport)
        finally:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + 2):
                await transport.aclose()


@dataclass(slots=True)
class _Allowance:
    """The rest of a reading's limits."""

    calls: int
    bytes: int
    until_boot_s: float


class WebReading:
    """Calls that belong together, within one allowance. May be used by several tasks."""

    def __init__(self, client: WebClient, transport: httpx.AsyncBaseTransport) -> None:
        """Take the client with the limits, and the connections."""
        self._client = client
        self._transport = transport
        limits = client.limits
        self._left = _Allowance(limits.calls, limits.reading_bytes, client.clock.boot_s() + limits.reading_s)

    async def get(
        self,
        path: str,
        query: Query | None = None,
        *,
        ids: Sequence[str] = (),
        expected: Collection[int] = (200,),
    ) -> WebAnswer:
        """Return the answer to a read, which is tried again where that may help.

        Args:
            path: below the address of the API, such as `/clients/{}`. Messages show it as it stands here.
            query: parameters.
            ids: take the places of `{}`; they are encoded here.
            expected: statuses that are answers, in JSON as the API writes them; only of 2xx the body is read.

        Raises:
            LocalWebError: it was not sent.
            WebRefusedError: 401 or 403.
            WebUnreachableError: no whole answer in time, 429 or 5xx, each time.
            WebCertificateError: the other end is not the configured one.
            MalformedWebError: an answer of another form, or more than the reading may hold.
        """
        limits = self._client.limits
        request = _Request("GET", self._url(path, ids, query), path, frozenset(expected))
        for attempt in range(limits.attempts):
            try:
                return await self._attempt(request)
            except WebUnreachableError as err:
                pause_s = max(err.retry_after_s, limits.pause_s * 2**attempt * (0.5 + self._client.dice()))
                last = attempt == limits.attempts - 1
                if last or self._client.clock.boot_s() + pause_s >= self._left.until_boot_s:
                    raise
                await self._client.clock.sleep(pause_s)
        raise LocalWebError("expected at least one attempt, none is configured")

    async def post(
        self,
        path: str,
        body: WebPost,
        query: Query | None = None,
        *,
        ids: Sequence[str] = (),
        expected: Collection[int] = (200,),
    ) -> WebAnswer:
        """Return the answer to a POST, which is sent once.

        Raises:
            LocalWebError: it was not sent.
            WebRefusedError: 401 or 403.
            WebUnreachableError: no whole answer in time: it may have been taken. Or 429 or 5xx.
            WebCertificateError: the other end is not the configured one; nothing was sent.
            MalformedWebError: an answer of another form, or more than the reading may hold.
        """
        return await self._attempt(_Request("POST", self._url(path, ids, query), path, frozenset(expected), body))

    def _url(self, path: str, ids: Sequence[str], query: Query | None) -> str:
        most = self._client.limits.calls
        if self._left.calls == 0:
            raise MalformedWebError(f"{path}: expected at most {most} calls in one reading, this is one more")
        if not {"", ".", ".."}.isdisjoint(ids):
            raise LocalWebError(f"{path}: expected an id, got an empty one or dots")  # they would name another path
        self._left.calls -= 1
        address = self._client.peer.address
        asked = f"?{urlencode(query, quote_via=quote)}" if query else ""
        return f"{address.origin}{address.path}{path.format(*(quote(part, safe='') for part in ids))}{asked}"

    async def _attempt(self, request: _Request) -> WebAnswer:
        """Send one request in its turn and return the answer, within the time of a call."""
        client = self._client
        async with client.turn:
            await self._be_quiet()
            left_s = min(client.limits.call_s, self._left.until_boot_s - client.clock.boot_s())
            try:
                with trio.fail_after(max(left_s, 0.0)):
                    return await self._exchange(request)
            except trio.TooSlowError as err:
                raise WebUnreachableError(f"{request.told}: no whole answer within {left_s:.0f} s") from err

    async def _be_quiet(self) -> None:
        left_s = self._client.quiet_until_boot_s - self._client.clock.boot_s()
        if left_s > 0 and self._client.quiet_until_boot_s >= self._left.until_boot_s:
            raise WebUnreachableError(
                f"{self._client.peer.address.host} asked to be left alone for {left_s:.0f} s more", retry_after_s=left_s
            )
        if left_s > 0:
            await self._client.clock.sleep(left_s)

    async def _exchange(self, request: _Request) -> WebAnswer:
        began_s = self._client.clock.wall_s()
        headers = {"accept": "application/json", "accept-encoding": "identity", "user-agent": "ispagent"}
        headers |= _checked(await self._client.authorize())
        if request.post is not None:
            headers["content-type"] = request.post.content_type
        try:
            made = httpx.Request(
                request.method,
                request.url,
                headers=headers,
                content=None if request.post is None else request.post.body,
                extensions={"timeout": {}},  # the whole call has one, in `_attempt`
            )
            answer = await self._transport.handle_async_request(made)
            try:
                found = {name.lower(): value for name, value in answer.headers.items()}
                self._judge(request, answer.status_code, found)
                wanted = _is_ok(answer.status_code)
                body = await self._body(request, answer, found) if wanted else b""
            finally:
                await answer.aclose()
        except httpx.HTTPError as err:
            raise _unreachable(request.told, err) from err
        value = await _decoded(request.told, body) if wanted else None
        return WebAnswer(answer.status_code, found, value, began_s)

    def _judge(self, request: _Request, status: int, headers: Headers) -> None:
        """Raise unless a status is one of the expected ones, and the API's own."""
        if status in request.expected:
            if not _is_ok(status) and not _JSON.fullmatch(headers.get("content-type", "")):
                # a proxy in front of an API that is being updated says that nothing is there
                raise WebUnreachableError(f"{request.told}: expected status {status} of the API, got one without JSON")
            return
        if status in _REFUSING:
            why = "the credentials are refused" if status == HTTPStatus.UNAUTHORIZED else "their right is missing"
            raise WebRefusedError(f"{request.told}: {why} (status {status})", status)
        if status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            wait_s = retry_after_untrusted(headers.get("retry-after", ""), self._client.clock.wall_s())
            self._client.quiet_until_boot_s = max(self._client.quiet_until_boot_s, self._client.clock.boot_s() + wait_s)
            raise WebUnreachableError(f"{request.told}: status {status}", retry_after_s=wait_s)
        raise WebStatusError(f"{request.told}: expected status {_told(request.expected)}, got {status}")

    async def _body(self, request: _Request, answer: httpx.Response, headers: Headers) -> bytes:
        """Return a body that is JSON by its header, counted while it comes."""
        if not _JSON.fullmatch(headers.get("content-type", "")):
            raise MalformedWebError(f"{request.told}: expected JSON (content-type application/json), got another type")
        if headers.get("content-encoding", "identity") != "identity":
            raise MalformedWebError(f"{request.told}: expected an answer that is not compressed, got a compressed one")
        limits, body, too_long = self._client.limits, bytearray(), ""
        # Leaving the loop early would leave httpcore's generators to the garbage collector; a cancel ends them all.
        with trio.CancelScope() as scope:
            async for chunk in answer.aiter_raw():
                self._left.bytes -= len(chunk)
                if len(body) + len(chunk) > limits.answer_bytes:
                    too_long = f"{request.told}: expected at most {limits.answer_bytes} bytes, got more"
                elif self._left.bytes < 0:
                    too_long = f"{request.told}: expected a reading of at most {limits.reading_bytes} bytes, got more"
                else:
                    body += chunk
                    continue
                scope.cancel()
        if too_long:
            raise MalformedWebError(too_long)
        return bytes(body)


@dataclass(frozen=True, slots=True)
class _Request:
    """A request. `path` is without its ids."""

    method: str
    url: str = field(repr=False)
    path: str
    expected: frozenset[int]
    post: WebPost | None = field(default=None, repr=False)

    @property
    def told(self) -> str:
        """The request as a message may name it."""
        return f"{self.method} {self.path}"


def _is_ok(status: int) -> bool:
    return HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES


def _told(statuses: Collection[int]) -> str:
    return " or ".join(str(status) for status in sorted(statuses))


def retry_after_untrusted(text: str, now_s: float) -> float:
    """Return how long a `Retry-After` asks to wait, seconds, a day at most; 0 where it says nothing understandable.

    Args:
        text: seconds or an HTTP date (RFC 9110 section 10.2.3).
        now_s: unix seconds.
    """
    if _SECONDS.fullmatch(text):
        return min(float(text), QUIET_MOST_S)
    try:
        until_s = parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError, OSError):
        return 0.0
    return min(max(until_s - now_s, 0.0), QUIET_MOST_S) if math.isfinite(until_s) else 0.0


def _checked(headers: Headers) -> dict[str, str]:
    """Return headers that can be sent; h11 would quote a bad one, which is a secret, in its error."""
    if any(not _HEADER.fullmatch(value) for value in headers.values()):
        raise LocalWebError("expected a credential of printable ASCII characters, without spaces around it")
    return dict(headers)


async def _decoded(told: str, body: bytes) -> object:
    try:
        if len(body) <= _DECODED_AT_ONCE:
            return json_text.decode_exact_untrusted(body)
        return await trio.to_thread.run_sync(json_text.decode_exact_untrusted, body)
    except MalformedJsonError as err:
        # The parser's message may quote the answer.
        raise MalformedWebError(f"{told}: expected strict JSON in UTF-8, got something else") from err


def _unreachable(told: str, error: httpx.HTTPError) -> WebError:
    """Return our error for one of httpx, by the error of the system that is below it."""
    for cause in _causes(error):
        match cause:
            case ssl.SSLCertVerificationError():
                return WebCertificateError(f"{told}: its certificate is not trusted: {cause.verify_message}")
            case socket.gaierror():
                return WebUnreachableError(f"{told}: the name of its host cannot be resolved")
            case OSError(errno=int(number)) if number in errno.errorcode:
                return WebUnreachableError(f"{told}: {os.strerror(number)}")
            case ssl.SSLError():
                return WebUnreachableError(f"{told}: no TLS 1.2 or 1.3 could be agreed on ({cause.reason})")
    if isinstance(error, httpx.RemoteProtocolError | httpx.ReadError):
        return WebUnreachableError(f"{told}: the connection ended in the middle of the answer, or it is no HTTP")
    return WebUnreachableError(f"{told}: no connection, or it was lost")


def _causes(error: BaseException, depth: int = 12) -> Iterator[BaseException]:
    """Give an error and everything below it."""
    yield error
    inner = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
    for below in (*inner, error.__cause__, error.__context__):
        if below is not None and depth:
            yield from _causes(below, depth - 1)
