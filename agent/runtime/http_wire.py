"""One HTTP/1.1 connection, the server's side: h11 on a trio stream. Requests one after another, each read whole.

What comes is bounded in size and time: a client that is slow, silent or writes nonsense costs its own connection and
nothing else. Who answers, and in what form, is the caller's: `http` has JSON on a unix socket, the ACS SOAP over TCP.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import h11
import trio

from agent.reasons import HttpReason
from agent.runtime.errors import MalformedRequestError, SlowError

_READ_BYTES: Final = 65_536


@dataclass(frozen=True, slots=True)
class WireLimits:
    """What one client may cost. Sizes in bytes, times in seconds."""

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
"""What ends a connection without a word: the client is gone, or too slow to be told so."""

Headers = Sequence[tuple[str, str]]


class Wire:
    """One connection. Methods raise what is in `GONE`, and h11.RemoteProtocolError for what is no HTTP."""

    def __init__(self, stream: trio.abc.Stream, limits: WireLimits) -> None:
        """Take a stream that was just accepted; closing it is the caller's."""
        self.stream = stream
        self.limits = limits
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=limits.head_bytes)

    @property
    def may_answer(self) -> bool:
        """Whether an answer, also a refusal, can still be sent."""
        return self._http.our_state in {h11.IDLE, h11.SEND_RESPONSE}

    async def head(self, idle_s: float | None = None) -> h11.Request | None:
        """Return the head of the next request; None: the client closed. `idle_s`: to wait; None: as limits say."""
        head = await self._next_event(trio.current_time() + (self.limits.idle_s if idle_s is None else idle_s))
        return head if isinstance(head, h11.Request) else None

    async def body(self, most: int | None = None) -> bytes:
        """Return the whole body of the request whose head was read. `most`: bytes; None: what the limits say.

        Raises:
            MalformedRequestError: it is too large.
        """
        most = self.limits.body_bytes if most is None else most
        deadline = trio.current_time() + self.limits.body_s
        if self._http.they_are_waiting_for_100_continue:
            await self.send(h11.InformationalResponse(status_code=100, headers=[]))
        body = bytearray()
        while isinstance(event := await self._next_event(deadline), h11.Data):
            body += event.data
            if len(body) > most:
                message = f"request body of at most {most} bytes expected"
                raise MalformedRequestError(message, status=413, code=HttpReason.TOO_LARGE)
        return bytes(body)

    async def _next_event(self, deadline: float) -> h11.Event | None:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            with trio.move_on_at(deadline) as scope:
                self._take(bytes(await self.stream.receive_some(_READ_BYTES)))
            if scope.cancelled_caught:
                raise SlowError
        return event if not isinstance(event, type) else None

    def _take(self, data: bytes) -> None:
        """Give h11 what came. Empty lines before a request are dropped (RFC 9112 section 2.2): old clients send one."""
        if data and self._http.their_state is h11.IDLE and not self._http.trailing_data[0]:
            data = data.lstrip(b"\r\n")
            if not data:
                return  # nothing, which h11 would take for the end
        self._http.receive_data(data)

    async def gone(self) -> None:
        """Return once the client closed, also only its sending half, while its request is worked on.

        What it sends meanwhile is kept for the next request; cancelled, nothing is lost.
        """
        kept = 0
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            while kept < _READ_BYTES:
                data = bytes(await self.stream.receive_some(_READ_BYTES))
                self._take(data)
                if not data:
                    return
                kept += len(data)
            await trio.sleep_forever()  # it sends without end: it will be seen to be gone by the answer

    async def linger(self, most: int) -> None:
        """Drop what a client that was refused still sends, up to so many bytes, before its connection is closed.

        A socket that is closed with something unread is reset, and the client may never read why (RFC 9112 9.6). Nor
        one that sent an empty line too many after its request, as old clients do: so each is waited for.
        """
        dropped = 0
        with trio.move_on_after(self.limits.linger_s), contextlib.suppress(*GONE):
            if isinstance(self.stream, trio.SocketStream):
                await self.stream.send_eof()
            while dropped < most and (data := await self.stream.receive_some(_READ_BYTES)):
                dropped += len(data)

    async def answer(self, status: int, headers: Headers, body: bytes = b"", *, close: bool = False) -> None:
        """Send a whole answer. Its length is added, but to a 204, which has none (RFC 9110 section 8.6)."""
        every = [*headers, *([] if status == 204 else [("content-length", str(len(body)))])]
        head = h11.Response(status_code=status, headers=every + ([("connection", "close")] if close else []))
        await self.send(head, h11.Data(data=body), h11.EndOfMessage())

    async def send(self, *events: h11.Event) -> None:
        """Send what h11 makes of some events, in one piece."""
        data = b"".join(part for event in events if (part := self._http.send(event)))
        with trio.move_on_after(self.limits.write_s) as scope:
            await self.stream.send_all(data)
        if scope.cancelled_caught:
            raise SlowError

    def next_request(self) -> bool:
        """Tell whether the connection goes on after an answer, and make it ready for the next request if so."""
        if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
            return False
        self._http.start_next_cycle()
        left, closed = self._http.trailing_data
        if left[:1] in (b"\r", b"\n"):
            self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=self.limits.head_bytes)
            self._take(bytes(left))
            if closed:
                self._http.receive_data(b"")
        return True
