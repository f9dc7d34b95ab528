"""HTTP/1.1 with JSON on a unix socket, the server side: h11 on trio.

An application is `async (Request) -> Response | TextResponse | StreamResponse`. It may raise `HttpError` to refuse;
whatever else it raises is logged by `supervise.contain` and answered with 500, on that connection only. A client that
is slow, silent or writes nonsense costs its own connection and nothing else: heads and bodies have sizes and deadlines,
answers too, and nobody can hold all connections (a cap for everybody and one per uid).
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass
from functools import partial
from typing import Final
from urllib.parse import parse_qsl, unquote

import h11
import trio

from agent.reasons import HttpReason
from agent.runtime import json_text
from agent.runtime.errors import HttpError, MalformedJsonError, MalformedRequestError
from agent.runtime.http_wire import GONE, RequestHead, Wire, WireLimits
from agent.runtime.json_slices import encode_in_slices
from agent.runtime.supervise import Crash, contain
from agent.runtime.unix_socket import Peer, peer_of

_log = logging.getLogger(__name__)
_READ_BYTES: Final = 65_536
_QUERY_FIELDS: Final = 32
DRAIN_S: Final = 5.0
"""The time limit of requests in flight when the daemon ends. Chosen arbitrarily: most take milliseconds."""


@dataclass(frozen=True, slots=True)
class Limits(WireLimits):
    """The cost of one client, and the number of clients, at most."""

    connections: int = 64
    connections_per_uid: int = 24
    """So that one user's forgotten watches do not shut the others out."""


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One request. `path` is still percent-encoded (`C-1%2Fhome`), `segments` are not. Header names are lower case."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    peer_uid: int
    peer_pid: int

    @property
    def segments(self) -> tuple[str, ...]:
        """The path's parts, each percent-decoded: `/v1/service/C-1%2Fhome` is `("v1", "service", "C-1/home")`."""
        return tuple(unquote(part, errors="strict") for part in self.path.split("/")[1:])

    def json(self) -> object:
        """Return the body read as strict JSON.

        Raises:
            MalformedRequestError: it is not.
        """
        try:
            return json_text.decode_untrusted(self.body)
        except MalformedJsonError as err:
            raise MalformedRequestError(f"request body: {err}", code=HttpReason.BAD_JSON) from err


@dataclass(frozen=True, slots=True)
class Response:
    """A whole answer; `json` is any JSON value."""

    status: int
    json: object


@dataclass(frozen=True, slots=True)
class TextResponse:
    """A whole answer that is no JSON."""

    status: int
    text: str
    content_type: str


@dataclass(frozen=True, slots=True)
class StreamResponse:
    """An answer in JSON lines, one chunk each, until `lines` ends or the client goes away.

    `lines` is an async generator; it is closed with the connection. It must not yield inside a nursery or a cancel
    scope (trio allows that nowhere), nor refuse: the status is sent before its first line.
    """

    lines: AsyncGenerator[object, None]
    status: int = 200


App = Callable[[HttpRequest], Awaitable[Response | TextResponse | StreamResponse]]


async def serve_http(
    listener: trio.SocketListener,
    app: App,
    *,
    limits: Limits | None = None,
    draining: trio.Event | None = None,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until cancelled, or until `draining` is set; closes the listener.

    Cancelling also cancels requests in flight. Draining accepts no more connections and answers requests in flight,
    for `DRAIN_S` at most. On a socket of systemd, later connections wait for the next daemon.
    """
    limits = limits or Limits()
    open_by_uid: Counter[int] = Counter()
    connections: set[_Connection] = set()

    async def handle(stream: trio.SocketStream) -> None:
        peer = peer_of_stream(stream)
        full = open_by_uid.total() >= limits.connections or open_by_uid[peer.uid] >= limits.connections_per_uid
        open_by_uid[peer.uid] += 1
        connection = _Connection(stream, app, limits, peer)
        connections.add(connection)
        try:
            await connection.run(refuse=full)
        except GONE:
            pass  # the client is gone, or too slow to be told so
        finally:
            connections.remove(connection)
            open_by_uid[peer.uid] -= 1
            if not open_by_uid[peer.uid]:
                del open_by_uid[peer.uid]
            with trio.move_on_after(1, shield=True):
                await stream.aclose()

    async with trio.open_nursery() as handlers:
        async with listener, trio.open_nursery() as accepting:
            task_status.started()
            accepting.start_soon(partial(trio.serve_listeners, handle, [listener], handler_nursery=handlers))
            await (trio.Event() if draining is None else draining).wait()
            accepting.cancel_scope.cancel()
        handlers.cancel_scope.deadline = trio.current_time() + DRAIN_S
        for connection in connections:
            connection.drain()


def peer_of_stream(stream: trio.SocketStream) -> Peer:
    """Return the user at the other end of the stream."""
    return peer_of(stream.socket)


class _Connection:
    """One client: requests one after another, each read whole, answered, then the next."""

    def __init__(self, stream: trio.SocketStream, app: App, limits: Limits, peer: Peer) -> None:
        self.wire = Wire(stream, limits)
        self.app, self.peer = app, peer
        self._draining = False
        self._idle: trio.CancelScope | None = None
        """Encloses the wait for a further request and endless answers: draining cancels both."""

    def drain(self) -> None:
        """End the connection now, or after the current answer."""
        self._draining = True
        if self._idle is not None:
            self._idle.cancel()

    async def run(self, *, refuse: bool) -> None:
        if refuse:
            await self._refuse(HttpError(503, HttpReason.BUSY, "too many connections; close a watch or try again"))
            return
        try:
            head = await self.wire.head()
            while head is not None:
                await self._answer(_request_untrusted(head, await self.wire.body(), self.peer))
                if self._draining or not self.wire.next_request():
                    return
                head = None
                with trio.CancelScope() as self._idle:
                    head = await self.wire.head()
                self._idle = None
        except h11.RemoteProtocolError as err:
            # Nothing of the request is repeated: h11's messages name what was expected.
            await self._refuse(MalformedRequestError(f"malformed HTTP: {err}", status=err.error_status_hint))
        except HttpError as err:
            await self._refuse(err)

    async def _answer(self, request: HttpRequest) -> None:
        answer = await contain("http", lambda: _ask(self.app, request), log=_log)
        match answer:
            case Crash():
                body = _error(HttpReason.INTERNAL, "the agent failed at this; its log says where")
                await self._send_whole(500, json_text.encode(body))
            case StreamResponse():
                # A crash ends the connection without the last chunk: the client sees that the stream broke off.
                with trio.CancelScope() as self._idle:
                    await contain("http stream", lambda: self._stream(answer), log=_log)
                self._idle = None
            case TextResponse():
                await self._send_whole(answer.status, answer.text.encode(), answer.content_type)
            case (status, body):
                await self._send_whole(status, body)

    async def _send_whole(
        self, status: int, body: bytes, content_type: str = "application/json", *, close: bool = False
    ) -> None:
        await self.wire.answer(status, [("content-type", content_type)], body, close=close)

    async def _stream(self, answer: StreamResponse) -> None:
        headers = [("content-type", "application/jsonl"), ("transfer-encoding", "chunked"), ("connection", "close")]
        async with aclosing(answer.lines) as lines, trio.open_nursery() as nursery:
            nursery.start_soon(self._until_gone, nursery.cancel_scope)
            try:
                await self.wire.send(h11.Response(status_code=answer.status, headers=headers))
                async for value in lines:
                    await self.wire.send(h11.Data(data=json_text.encode(value) + b"\n"))
                await self.wire.send(h11.EndOfMessage())
            except GONE:
                pass
            nursery.cancel_scope.cancel()

    async def _until_gone(self, scope: trio.CancelScope) -> None:
        """Cancel when the client closes (also only its sending half); its later bytes are dropped."""
        with suppress(trio.BrokenResourceError):
            while await self.wire.stream.receive_some(_READ_BYTES):
                pass
        scope.cancel()

    async def _refuse(self, err: HttpError) -> None:
        if self.wire.may_answer:
            await self._send_whole(err.status, json_text.encode(_error(err.code, str(err))), close=True)


async def _ask(app: App, request: HttpRequest) -> tuple[int, bytes] | TextResponse | StreamResponse:
    try:
        answer = await app(request)
    except HttpError as err:
        return err.status, json_text.encode(_error(err.code, str(err)))
    if isinstance(answer, StreamResponse | TextResponse):
        return answer
    return answer.status, await encode_in_slices(answer.json)


def _error(code: str, message: str) -> object:
    return {"error": {"code": code, "message": message}}


def _request_untrusted(head: RequestHead, body: bytes, peer: Peer) -> HttpRequest:
    """Return the request of a head and a body.

    Raises:
        MalformedRequestError: the target is not a path, not UTF-8 when decoded, or a query field stands twice.
    """
    target = head.target.decode("ascii")  # h11 lets only visible ASCII through
    path, _, query_text = target.partition("?")
    if not path.startswith("/"):
        raise MalformedRequestError("expected a request target that starts with /")
    try:
        unquote(path, errors="strict")
        pairs = parse_qsl(
            query_text,
            keep_blank_values=True,
            strict_parsing=bool(query_text),
            errors="strict",
            max_num_fields=_QUERY_FIELDS,
        )
    except ValueError as err:
        raise MalformedRequestError(f"malformed request target: {err}") from err
    query = dict(pairs)
    if len(query) != len(pairs):
        raise MalformedRequestError("expected each query field once, one stands twice")
    headers = {name.decode("ascii"): value.decode("latin-1") for name, value in head.headers}
    return HttpRequest(head.method.decode("ascii"), path, query, headers, body, peer.uid, peer.pid)
