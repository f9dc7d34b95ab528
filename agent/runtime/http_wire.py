"""One HTTP/1.1 connection, the server's side: h11 on a trio stream. Requests one after another, each read whole.

Input is bounded in size and time: a client that is slow, silent or writes nonsense costs its own connection and
nothing else. The caller decides the answer and its form: `http` has JSON on a unix socket, the ACS SOAP over TCP.

* A plain request is read and answered without h11 (`http_quick`), which costs a tenth. Any other goes to h11 from its
  first byte on, and so does an answer in parts.
* Inside `one_deadline` a connection has one cancel scope with a deadline that is moved; outside, each wait has its own.
* A request with both Content-Length and Transfer-Encoding is refused and its connection closed: a proxy in between may
  have taken the other one (RFC 9112 section 6.1). Where `strict_lines` is set, so is a head with lines that end in LF
  alone, which RFC 9112 section 2.2 lets a server take and which two servers in a row may take for different heads.
"""

from __future__ import annotations

import contextlib
import enum
import http
import math
import re
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import h11
import trio

from agent.reasons import HttpReason
from agent.runtime.errors import MalformedRequestError, SlowError
from agent.runtime.http_quick import Quick, QuickHead, quick_head

_READ_BYTES: Final = 65_536


@dataclass(frozen=True, slots=True)
class WireLimits:
    """The cost of one client, at most. Sizes in bytes, times in seconds."""

    head_bytes: int = 16_384
    """Held while a head is incomplete (h11's rule: one that arrives whole in one read may be larger)."""
    body_bytes: int = 4 * 1024 * 1024
    """An import of 10,000 subscribers is about 1 MB of CSV."""
    idle_s: float = 60.0
    """From an answer (or connecting) to the next whole request head."""
    body_s: float = 20.0
    """From a head to the whole body."""
    write_s: float = 20.0
    """For an answer, or one line of a stream, to be taken."""
    linger_s: float = 2.0
    """For a client that is refused to stop sending (`Wire.linger`)."""


GONE: Final = (trio.BrokenResourceError, trio.ClosedResourceError, SlowError)
"""Errors that end a connection without a word: the client is gone, or too slow to be told so."""

Headers = Sequence[tuple[str, str]]
RequestHead = h11.Request | QuickHead
"""Method, target and headers are bytes in both, names of fields in small letters."""


_BARE_LF: Final = re.compile(rb"(?<!\r)\n")
_NO_FIELD: Final = re.compile(r"[^\t -~]")
"""Characters that no field of ours has: they would end the field, and begin another."""
_STATUS_LINES: Final = {s.value: f"HTTP/1.1 {s.value} \r\n".encode() for s in http.HTTPStatus if s.value >= 200}


class _State(enum.Enum):
    """Of a connection that h11 has no part in."""

    IDLE = enum.auto()
    HEAD = enum.auto()
    BODY = enum.auto()
    ANSWERED = enum.auto()
    """In the middle of a request, or with the word that it is closed: nothing comes after it."""
    DONE = enum.auto()


class Wire:
    """One connection. Methods raise the errors in `GONE`, and h11.RemoteProtocolError for bytes that are no HTTP."""

    def __init__(self, stream: trio.abc.Stream, limits: WireLimits) -> None:
        """Take a stream that was just accepted; closing it is the caller's."""
        self.stream = stream
        self.limits = limits
        self.strict_lines = False
        """Whether a head with lines that end in LF alone is refused."""
        self._http: h11.Connection | None = None
        """Has the request that is under way; None: it is a plain one, or none is."""
        self._state, self._head, self._body = _State.IDLE, b"", b""
        self._quick: QuickHead | None = None
        self._left, self._closed = b"", False
        """Came, and belongs to no request yet; whether the client closed after it."""
        self._scope: trio.CancelScope | None = None
        self._hung_up = False

    @property
    def may_answer(self) -> bool:
        """Whether an answer, also a refusal, can still be sent."""
        if self._http is None:
            return self._state in (_State.IDLE, _State.HEAD, _State.BODY)
        return self._http.our_state in {h11.IDLE, h11.SEND_RESPONSE}

    # --- time

    @contextmanager
    def one_deadline(self) -> Iterator[None]:
        """Have one cancel scope for all waits inside the block, which ends with SlowError when a client is too slow.

        Work of the block between reading and answering is under no deadline.
        """
        with trio.CancelScope() as scope:
            self._scope = scope
            try:
                yield
            finally:
                self._scope = None
        if scope.cancelled_caught:
            raise SlowError

    def hang_up(self) -> None:
        """End the connection with SlowError at once, or as soon as the client is waited for next."""
        self._hung_up = True
        if self._scope is not None and self._scope.deadline != math.inf:
            self._scope.cancel()

    def go_on(self) -> None:
        """Return unless the connection was hung up. For use before work with an answer that would not be sent.

        Raises:
            SlowError: it was hung up.
        """
        if self._hung_up:
            raise SlowError

    async def waited(self, wait: Callable[[], Awaitable[None]], within_s: float) -> None:
        """Wait for something inside `one_deadline`, as for the client: `hang_up` ends it at once.

        Raises:
            SlowError: the connection was hung up before.
        """
        self.go_on()
        scope = self._scope
        if scope is not None:
            scope.deadline = trio.current_time() + within_s
        await wait()
        if scope is not None:
            scope.deadline = math.inf

    async def _receive(self, deadline: float) -> bytes:
        self.go_on()
        if (scope := self._scope) is not None:
            scope.deadline = deadline
            data = bytes(await self.stream.receive_some(_READ_BYTES))
            scope.deadline = math.inf
            return data
        with trio.move_on_at(deadline):
            return bytes(await self.stream.receive_some(_READ_BYTES))
        raise SlowError

    async def _send(self, data: bytes) -> None:
        self.go_on()
        deadline = trio.current_time() + self.limits.write_s
        if (scope := self._scope) is not None:
            scope.deadline = deadline
            await self.stream.send_all(data)
            return  # with that deadline: the next thing is to wait for the client, or to send more
        with trio.move_on_at(deadline) as own:
            await self.stream.send_all(data)
        if own.cancelled_caught:
            raise SlowError

    # --- requests

    async def head(self, idle_s: float | None = None) -> RequestHead | None:
        """Return the head of the next request; None: the client closed. `idle_s`: to wait; None: as limits say.

        Raises:
            h11.RemoteProtocolError: it is none, or one that two servers may read as two different requests.
        """
        deadline = trio.current_time() + (self.limits.idle_s if idle_s is None else idle_s)
        while True:
            # Empty lines before a request are dropped (RFC 9112 section 2.2): old clients send one
            self._left = self._left.lstrip(b"\r\n")
            found = quick_head(self._left, self.limits.head_bytes) if self._left else Quick.NEEDS_MORE
            if isinstance(found, QuickHead):
                self._head, self._left = self._left[: found.size], self._left[found.size :]
                self._quick, self._state = found, _State.HEAD
                if self._scope is not None and self._scope.deadline != math.inf:
                    self._scope.deadline = math.inf  # of the answer before: this request came along with that one's
                return found
            if found is Quick.FOR_H11 or self._closed:
                break
            data = await self._receive(deadline)
            self._left, self._closed = self._left + data, not data
        if not self._left:
            return None
        end = self._left.find(b"\r\n\r\n", 0, self.limits.head_bytes)
        if self.strict_lines and _BARE_LF.search(self._left, 0, end if end >= 0 else len(self._left)):
            raise h11.RemoteProtocolError("expected lines that end in CR and LF")
        http_ = self._h11()
        http_.receive_data(self._left)
        self._left = b""
        if self._closed:
            http_.receive_data(b"")
        head = await self._next_event(deadline)
        if not isinstance(head, h11.Request):
            return None
        if {b"content-length", b"transfer-encoding"} <= {name for name, _ in head.headers}:
            raise h11.RemoteProtocolError("expected Content-Length or Transfer-Encoding, got both")
        return head

    async def body(self, most: int | None = None, within_s: float | None = None) -> bytes:
        """Return the whole body of the request, after its head.

        Args:
            most: bytes; None: as the limits say.
            within_s: for all of it; None: as the limits say.

        Raises:
            MalformedRequestError: it is too large.
        """
        most = self.limits.body_bytes if most is None else most
        deadline = trio.current_time() + (self.limits.body_s if within_s is None else within_s)
        if self._http is None and self._quick is not None:
            return await self._quick_body(self._quick.length, most, deadline)
        http_ = self._h11()
        if http_.they_are_waiting_for_100_continue:
            await self.send(h11.InformationalResponse(status_code=100, headers=[]))
        body = bytearray()
        while isinstance(event := await self._next_event(deadline), h11.Data):
            body += event.data
            if len(body) > most:
                raise _too_large(most)
        return bytes(body)

    async def _quick_body(self, length: int, most: int, deadline: float) -> bytes:
        parts, came = [self._left], len(self._left)
        while came < length and came <= most:
            data = await self._receive(deadline)
            if not data:
                raise h11.RemoteProtocolError("expected a whole body, and the client closed")
            parts.append(data)
            came += len(data)
        if length > most:  # only now: a client that is still sending does not read why it is refused
            raise _too_large(most)
        data = b"".join(parts) if len(parts) > 1 else parts[0]
        self._body, self._left, self._state = data[:length], data[length:], _State.BODY
        return self._body

    async def _next_event(self, deadline: float) -> h11.Event | None:
        http_ = self._h11()
        while (event := http_.next_event()) is h11.NEED_DATA:
            data = await self._receive(deadline)
            self._closed = not data
            http_.receive_data(data)
        return event if not isinstance(event, type) else None

    async def gone(self) -> None:
        """Return once the client closed, also only its sending half, while its request is worked on.

        Its bytes meanwhile are kept for the next request; cancelled, nothing is lost.
        """
        kept = 0
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            while kept < _READ_BYTES and not self._closed:
                data = bytes(await self.stream.receive_some(_READ_BYTES))
                self._closed = not data
                if self._http is None:
                    self._left += data
                else:
                    self._http.receive_data(data)
                kept += len(data)
            if not self._closed:
                await trio.sleep_forever()  # it sends without end: it will be seen to be gone by the answer

    async def linger(self, most: int) -> None:
        """Drop the later bytes of a refused client, up to so many, before its connection is closed.

        A socket that is closed with something unread is reset, and the client may never read why (RFC 9112 9.6). Nor
        one that sent an empty line too many after its request, as old clients do: so each is waited for.
        """
        dropped = 0
        with trio.move_on_after(self.limits.linger_s) as self._scope, contextlib.suppress(*GONE):
            if isinstance(self.stream, trio.SocketStream):
                await self.stream.send_eof()
            while dropped < most and (data := await self.stream.receive_some(_READ_BYTES)):
                dropped += len(data)

    async def answer(self, status: int, headers: Headers, body: bytes = b"", *, close: bool = False) -> None:
        """Send a whole answer. Its length is added, but to a 204, which has none (RFC 9110 section 8.6)."""
        every = [*headers, *([] if status == 204 else [("content-length", str(len(body)))])]
        every += [("connection", "close")] if close else []
        first = _STATUS_LINES.get(status)
        fields = "".join([f"{name}: {value}\r\n" for name, value in every])
        if self._http is not None or first is None or _NO_FIELD.search(fields.replace("\r\n", "", len(every))):
            head = h11.Response(status_code=status, headers=every)
            await self.send(head, h11.Data(data=body), h11.EndOfMessage())
            return
        self._state = _State.DONE if self._state is _State.BODY and not close else _State.ANSWERED
        await self._send(b"%b%b\r\n%b" % (first, fields.encode("ascii"), body))

    async def send(self, *events: h11.Event) -> None:
        """Send h11's bytes for some events, in one piece."""
        http_ = self._h11()
        await self._send(b"".join(part for event in events if (part := http_.send(event))))

    def _h11(self) -> h11.Connection:
        """Return h11 with the request that is under way, having read as much of it as was read."""
        if self._http is not None:
            return self._http
        http_ = self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=self.limits.head_bytes)
        if self._state is not _State.IDLE:
            http_.receive_data(self._head + self._body)
            http_.next_event()
        while self._state is _State.BODY and not isinstance(http_.next_event(), h11.EndOfMessage):
            pass
        return http_

    def next_request(self) -> bool:
        """Tell whether the connection goes on after an answer, and make it ready for the next request if so."""
        if self._http is None:
            goes_on = self._state is _State.DONE
        else:
            goes_on = self._http.our_state is h11.DONE and self._http.their_state is h11.DONE
            if goes_on:
                left, closed = self._http.trailing_data
                self._left, self._closed = bytes(left) + self._left, self._closed or closed
        if goes_on:
            self._http, self._quick, self._state, self._head, self._body = None, None, _State.IDLE, b"", b""
        return goes_on


def _too_large(most: int) -> MalformedRequestError:
    return MalformedRequestError(
        f"expected a request body of at most {most} bytes", status=413, code=HttpReason.TOO_LARGE
    )
