"""Connection requests over sockets: one TCP connection and two or three exchanges, or a few datagrams. trio and h11.

The request, and the meaning of an answer, are in `connection_request`. A result is no error: the caller asks whether a
CPE is away, refuses or talks nonsense. Nothing here logs.
"""

from __future__ import annotations

import ipaddress
import os
import socket as stdlib_socket
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import h11
import trio

from agent.connectors.cwmp import limits
from agent.connectors.cwmp.connection_request import (
    HttpTarget,
    RequestOutcome,
    RequestResult,
    UdpTarget,
    judge_untrusted,
    udp_message,
    unreachable,
)
from agent.cpe_model.known import Credentials
from trust import chance

_READ_BYTES: Final = 4096
_CNONCE_BYTES: Final = 16

Send = Callable[[bytes, tuple[str, int]], Awaitable[None]]
"""Sends a datagram; `stun_listener.StunSocket.send`: a NAT lets datagrams pass from the address that its CPE sent to.
"""


class _NoAnswerError(Exception):
    """There is a connection, and the bytes over it are no answer; the message says how."""


# --- HTTP -------------------------------------------------------------------------------------------------------------


async def request_http(
    target: HttpTarget,
    credentials: Credentials,
    *,
    timeout_s: float,
    ssl_context: ssl.SSLContext | None = None,
    basic: bool = False,
) -> RequestResult:
    """Return how a CPE took a connection request (TR-069 section 3.2.2). Redirects are not followed.

    Args:
        target: of `http_target_untrusted`: a URL that was checked.
        credentials: for this CPE.
        timeout_s: for all of it.
        ssl_context: for a https URL, which is not asked without.
        basic: whether the password may go out as it is, to a CPE that asks for Basic.
    """
    if target.scheme == "https" and ssl_context is None:
        return RequestResult(
            RequestOutcome.NO_WAY, f"{target.place} is https, and no TLS is set up for connection requests"
        )
    asking = _Asking(target, credentials, ssl_context, basic)
    with trio.move_on_after(timeout_s):
        return await asking.run()
    how = "took the connection and gave no answer" if asking.connected else "did not take the connection"
    return unreachable(target, f"{how} within {timeout_s:g} s")


@dataclass(slots=True)
class _Asking:
    """One connection request. `connected`: whether anything listens there, for the words of a timeout."""

    target: HttpTarget
    credentials: Credentials
    ssl_context: ssl.SSLContext | None
    basic: bool
    connected: bool = False

    async def run(self) -> RequestResult:
        addresses = await self._addresses()
        if isinstance(addresses, RequestResult):
            return addresses
        connection: _Connection | None = None
        authorization: str | None = None
        answered = 0
        try:
            while True:
                again = connection is not None
                if connection is None:
                    connection = await self._connect(addresses)
                try:
                    head = await connection.ask(self._fields(authorization))
                except _NoAnswerError:
                    if not again:
                        raise
                    # It hung up after its challenge, whatever that said of the connection: once more on a new one
                    await connection.close()
                    connection = None
                    continue
                status, challenges = _status_untrusted(head)
                verdict = judge_untrusted(
                    self.target,
                    self.credentials,
                    status,
                    challenges,
                    chance.token_hex(_CNONCE_BYTES),
                    answered=answered,
                    basic=self.basic,
                )
                usable = await connection.drain()
                if isinstance(verdict, RequestResult):
                    return verdict
                authorization, answered = verdict, answered + 1
                if not usable:
                    await connection.close()
                    connection = None
        except OSError as err:
            return unreachable(self.target, f"cannot be reached: {_words(err)}")
        except _NoAnswerError as err:
            return unreachable(self.target, str(err))
        finally:
            if connection is not None:
                await connection.close()

    async def _addresses(self) -> tuple[str, ...] | RequestResult:
        """Return the addresses that may be connected to: the one that was checked, or those of a name, checked now."""
        target = self.target
        if target.address is not None:
            return (str(target.address),)
        try:
            found = await trio.socket.getaddrinfo(target.host, target.port, type=stdlib_socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            return unreachable(target, "cannot be reached: no address is known of that name")
        hosts = [str(each[4][0]) for each in found][: limits.CONNECTION_ADDRESSES]
        refusals = {host: target.reach.refusal(ipaddress.ip_address(host)) for host in hosts}
        # Connected to as they are: asked for once more, the name could lead elsewhere
        good = tuple(host for host, refusal in refusals.items() if refusal is None)
        return good or next((refusal for refusal in refusals.values() if refusal), unreachable(target, "is nowhere"))

    async def _connect(self, addresses: tuple[str, ...]) -> _Connection:
        stream = await self._open(addresses)
        self.connected = True
        if self.target.scheme != "https" or self.ssl_context is None:
            return _Connection(stream)
        tls = trio.SSLStream(stream, self.ssl_context, server_hostname=self.target.host, https_compatible=True)
        try:
            await tls.do_handshake()
        except trio.BrokenResourceError as err:
            await trio.aclose_forcefully(stream)
            reason = err.__cause__.reason if isinstance(err.__cause__, ssl.SSLError) else None
            raise _NoAnswerError(f"and we found no TLS together: {reason or 'it hung up'}") from err
        except BaseException:
            await trio.aclose_forcefully(stream)
            raise
        return _Connection(tls)

    async def _open(self, addresses: tuple[str, ...]) -> trio.SocketStream:
        for host in addresses[:-1]:
            try:
                return await trio.open_tcp_stream(host, self.target.port)
            except OSError:
                continue
        return await trio.open_tcp_stream(addresses[-1], self.target.port)

    def _fields(self, authorization: str | None) -> h11.Request:
        headers = [(b"Host", self.target.authority.encode("ascii"))]
        if authorization is not None:
            # As it came: a nonce may hold bytes that are no UTF-8
            headers.append((b"Authorization", authorization.encode("utf-8", "surrogateescape")))
        return h11.Request(method=b"GET", target=self.target.resource.encode("ascii"), headers=headers)


def _words(err: OSError) -> str:
    """Return the system's words for why there is no connection: trio puts them into the cause, or a group of them."""
    causes = err.__cause__.exceptions if isinstance(err.__cause__, BaseExceptionGroup) else (err.__cause__,)
    numbers = (each.errno for each in (err, *causes) if isinstance(each, OSError))
    return next((os.strerror(each) for each in numbers if each), "no connection")


def _status_untrusted(head: h11.Response) -> tuple[int, list[str]]:
    """Return the status and the WWW-Authenticate fields."""
    fields = [value.decode("utf-8", "surrogateescape") for name, value in head.headers if name == b"www-authenticate"]
    return head.status_code, fields


class _Connection:
    """One connection to a CPE, one request after another."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=limits.CONNECTION_HEAD_BYTES)
        self._body_bytes = 0

    async def ask(self, request: h11.Request) -> h11.Response:
        """Send a request and return the head of its answer.

        Raises:
            _NoAnswerError: it hung up, or sent no such head.
        """
        if self._http.our_state is h11.DONE:
            self._http.start_next_cycle()
        try:
            await self._stream.send_all(self._http.send(request) or b"")
            self._http.send(h11.EndOfMessage())
            return await self._head_untrusted()
        except (trio.BrokenResourceError, trio.ClosedResourceError) as err:
            raise _NoAnswerError("took the connection and hung up") from err
        except h11.RemoteProtocolError as err:
            raise _NoAnswerError("sent something that is no HTTP") from err

    async def _head_untrusted(self) -> h11.Response:
        read_bytes = 0
        while True:
            event = self._http.next_event()
            if isinstance(event, h11.Response):
                return event
            if event is not h11.NEED_DATA:
                continue  # 100 and the like
            if read_bytes >= limits.CONNECTION_HEAD_BYTES:
                raise _NoAnswerError(f"sent {read_bytes} bytes, and no answer among them")
            data = await self._receive()
            if not data:
                raise _NoAnswerError("hung up amid its answer" if read_bytes else "took the connection and hung up")
            read_bytes += len(data)
            self._http.receive_data(data)

    async def _receive(self) -> bytes:
        return bytes(await self._stream.receive_some(_READ_BYTES))

    async def drain(self) -> bool:
        """Drop an answer's body, within limits, and return whether the connection can be used again."""
        dropped = 0
        try:
            with trio.move_on_after(limits.CONNECTION_DRAIN_S):
                while dropped < limits.CONNECTION_BODY_BYTES:
                    event = self._http.next_event()
                    if event is h11.NEED_DATA:
                        self._http.receive_data(await self._receive())
                    elif isinstance(event, h11.Data):
                        dropped += len(event.data)
                    else:
                        break
        except (trio.BrokenResourceError, trio.ClosedResourceError, h11.RemoteProtocolError):
            return False
        return self._http.our_state is h11.DONE and self._http.their_state is h11.DONE

    async def close(self) -> None:
        """Close it without a word: a CPE must not hold us by a goodbye that it does not answer."""
        await trio.aclose_forcefully(self._stream)


# --- UDP --------------------------------------------------------------------------------------------------------------


async def send_datagram(data: bytes, to: tuple[str, int]) -> None:
    """Send a datagram from a port of its own: a CPE that learned its place of another server than ours knows no better.

    Raises:
        OSError: it could not be sent.
    """
    family = stdlib_socket.AF_INET6 if ipaddress.ip_address(to[0]).version == 6 else stdlib_socket.AF_INET
    with trio.socket.socket(family, stdlib_socket.SOCK_DGRAM) as sock:
        await sock.sendto(data, to)


async def request_udp(
    target: UdpTarget,
    credentials: Credentials,
    send: Send,
    at_s: float,
    *,
    copies: int = limits.UDP_COPIES,
    gap_s: float = limits.UDP_GAP_S,
) -> RequestResult:
    """Return that a UDP connection request was sent: a few copies, that the CPE takes for one (TR-069 Annex G).

    Two requests to a CPE within a second have the same time, and it may take the second for an old one.

    Args:
        target: where it listens: the binding that the STUN server saw last, or the place that the CPE told.
        credentials: for this CPE, the same as for HTTP.
        send: from the STUN server's own address and port where it is ours, or a NAT drops it.
        at_s: now, unix seconds.
        copies: 1 or more.
        gap_s: between two of them.
    """
    message = udp_message(
        target,
        credentials,
        at_s=int(at_s),
        number=chance.randbits(32),
        cnonce=chance.token_hex(_CNONCE_BYTES),
    )
    sent = 0
    for number in range(copies):
        if number:
            await trio.sleep(gap_s)
        try:
            await send(message, (str(target.address), target.port))
        except OSError as err:
            failure = err.strerror or "not sent"
        else:
            sent += 1
    if not sent:
        return RequestResult(RequestOutcome.UNREACHABLE, f"{target.place} by UDP: nothing could be sent: {failure}")
    return RequestResult(
        RequestOutcome.SENT, f"sent to {target.place} by UDP, which is never answered: it calls in, or it does not"
    )
