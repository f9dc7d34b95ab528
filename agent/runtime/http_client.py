"""The local API's client for the CLI: blocking, h11 over a plain unix socket.

Synchronous on purpose: a command line tool does one thing at a time and should not pay for an event loop. A connection
per request; in a task, call it through `blocking`.
"""

from __future__ import annotations

import grp
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import h11

from agent.runtime import json_text
from agent.runtime.errors import (
    MalformedAnswerError,
    MalformedJsonError,
    MayNotConnectError,
    NoAnswerError,
    NotRunningError,
)

_HEAD_BYTES: Final = 65_536
ANSWER_BYTES: Final = 256 * 1024 * 1024
"""Largest answer taken; a preview of 10,000 items is about 30 MB."""
LINE_BYTES: Final = 4 * 1024 * 1024
"""Longest line of a stream."""


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """A whole answer; errors of the agent are answers too (`status` 400 and above)."""

    status: int
    json: object


def request(
    socket_path: Path, method: str, path: str, json_body: object = None, *, timeout_s: float | None = 30.0
) -> HttpAnswer:
    """Return the agent's answer.

    Args:
        socket_path: the agent's socket.
        method: `GET`, `POST`.
        path: percent-encoded, with its query.
        json_body: any JSON value; None sends no body.
        timeout_s: for the whole exchange; None waits for ever.

    Raises:
        NotRunningError: nobody listens; nothing was sent.
        MayNotConnectError: the socket is not for this user; nothing was sent.
        NoAnswerError: sent, and no whole answer came in time.
        MalformedAnswerError: the answer is not HTTP with strict JSON, or larger than ANSWER_BYTES.
    """
    with _Exchange(socket_path, timeout_s) as exchange:
        exchange.send(method, path, json_body)
        status = exchange.head()
        body = bytearray()
        for chunk in exchange.body():
            body += chunk
            if len(body) > ANSWER_BYTES:
                raise MalformedAnswerError(f"expected an answer of at most {ANSWER_BYTES} bytes")
    return HttpAnswer(status, _json(bytes(body)))


@contextmanager
def stream(
    socket_path: Path, method: str, path: str, json_body: object = None, *, timeout_s: float | None = 30.0
) -> Iterator[tuple[int, Iterator[object]]]:
    """Give the status and an iterator over the answer's JSON lines; leaving the block closes the connection.

    `timeout_s` is for the answer's head; lines may take for ever. An error's body is one line. The iterator raises as
    `request` does; NoAnswerError when the stream ends before its end.
    """
    with _Exchange(socket_path, timeout_s) as exchange:
        exchange.send(method, path, json_body)
        status = exchange.head()
        exchange.deadline = None
        yield status, _lines(exchange.body())


def _lines(chunks: Iterator[bytes]) -> Iterator[object]:
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        if len(rest) > LINE_BYTES:
            raise MalformedAnswerError(f"expected lines of at most {LINE_BYTES} bytes")
        yield from (_json(line) for line in whole if line)
    if rest:
        yield _json(rest)


def _json(data: bytes) -> object:
    try:
        return json_text.decode_untrusted(data)
    except MalformedJsonError as err:
        raise MalformedAnswerError(f"the agent's answer: {err}") from err


def _who_may(socket_path: Path) -> str:
    """Return why a socket refuses this user, and the advice."""
    try:
        gid = socket_path.stat().st_gid
    except OSError:
        return (
            f"{socket_path}: its directory is closed to this user: agent.socket has to be in one that they may enter, "
            f"such as /run/ispagent"
        )
    try:
        group = grp.getgrgid(gid).gr_name
    except KeyError:
        group = f"gid {gid}"
    return (
        f"{socket_path} is for members of the group {group}, and this user is none: usermod --append --groups {group} "
        f"USER, and a new login"
    )


class _Exchange:
    """One connection, one request, one answer."""

    def __init__(self, socket_path: Path, timeout_s: float | None) -> None:
        self.deadline = None if timeout_s is None else time.monotonic() + timeout_s
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_HEAD_BYTES)
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._set_timeout()
            self._sock.connect(os.fspath(socket_path))
        except PermissionError as err:
            self._sock.close()
            raise MayNotConnectError(_who_may(socket_path)) from err
        except OSError as err:
            self._sock.close()
            reason = err.strerror or str(err)
            raise NotRunningError(f"no agent listens on {socket_path} ({reason})") from err

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._sock.close()

    def _set_timeout(self) -> None:
        if self.deadline is None:
            self._sock.settimeout(None)
            return
        left_s = self.deadline - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("timed out")
        self._sock.settimeout(left_s)

    def send(self, method: str, path: str, json_body: object) -> None:
        """Send the whole request."""
        body = b"" if json_body is None else json_text.encode(json_body)
        headers = [("host", "agent"), ("content-length", str(len(body))), ("connection", "close")]
        if body:
            headers.append(("content-type", "application/json"))
        head = self._http.send(h11.Request(method=method, target=path, headers=headers))
        tail = self._http.send(h11.Data(data=body)), self._http.send(h11.EndOfMessage())
        try:
            self._set_timeout()
            self._sock.sendall(b"".join(part for part in (head, *tail) if part))
        except (BrokenPipeError, ConnectionResetError):
            pass  # refused before it was read whole: the answer says why
        except OSError as err:
            raise NoAnswerError(f"the agent did not take the request: {err.strerror or err}") from err

    def head(self) -> int:
        """Return the answer's status."""
        while isinstance(event := self._next_event(), h11.InformationalResponse):
            pass
        if not isinstance(event, h11.Response):
            raise NoAnswerError("the agent closed the connection before it answered; look up what became of it")
        return event.status_code

    def body(self) -> Iterator[bytes]:
        """Give the answer's body in pieces."""
        while isinstance(event := self._next_event(), h11.Data):
            yield bytes(event.data)
        if not isinstance(event, h11.EndOfMessage):
            raise NoAnswerError("the agent closed the connection in the middle of its answer")

    def _next_event(self) -> h11.Event | None:
        closed = False
        try:
            while (event := self._http.next_event()) is h11.NEED_DATA:
                data = self._receive()
                closed = not data
                self._http.receive_data(data)
        except h11.RemoteProtocolError as err:
            if closed:
                raise NoAnswerError("the agent closed the connection before it had answered; look it up") from err
            raise MalformedAnswerError(f"expected an HTTP answer: {err}") from err
        return None if isinstance(event, type) else event

    def _receive(self) -> bytes:
        try:
            self._set_timeout()
            return self._sock.recv(65_536)
        except ConnectionResetError:
            return b""
        except TimeoutError as err:
            raise NoAnswerError("no answer from the agent in time; what became of the request is unknown") from err
        except OSError as err:
            raise NoAnswerError(f"no answer from the agent: {err.strerror}") from err
