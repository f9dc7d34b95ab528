"""The way to a router: TCP, and TLS with a pinned certificate. A connection that is closed in doubt is reset, so that
it is over.

A router's certificate is its own (or its ISP's), so no authority is asked: the certificate must be the one that was
pinned when the router was enrolled, byte for byte, before anything of a login leaves.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import trio

from agent.connectors.routeros import limits
from agent.connectors.routeros.errors import LocalRouterError, UnreachableRouterError

_FINGERPRINT_BYTES: Final = 32
_LINGER_NONE: Final = struct.pack("ii", 1, 0)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a router's API is.

    `fingerprint`: SHA-256 of the certificate's DER, 32 bytes. `insecure`: plain TCP, where whoever is on the way reads
    the password and every answer, and may change both; then there is no fingerprint.
    """

    host: str
    port: int
    fingerprint: bytes | None
    insecure: bool


class Carrier:
    """A connection to a router."""

    def __init__(
        self, stream: trio.abc.Stream, certificate: bytes | None = None, tcp: trio.SocketStream | None = None
    ) -> None:
        """Take the stream of bytes, the certificate seen (DER), and the socket below."""
        self._stream, self._tcp = stream, tcp
        self.certificate = certificate

    async def send(self, data: bytes) -> None:
        """Hand `data` to the network. Raises BrokenResourceError, ClosedResourceError."""
        await self._stream.send_all(data)

    async def receive(self) -> bytes:
        """Return the bytes that have come, empty at the end. Raises BrokenResourceError, ClosedResourceError."""
        return bytes(await self._stream.receive_some(limits.RECEIVE_BYTES))

    async def close(self, *, in_doubt: bool) -> None:
        """Close at once, whatever scope is cancelled.

        In doubt: bytes that the kernel still holds are thrown away and the router gets a reset. A plain close would go
        on sending it, for minutes where packets are lost, and a command could take effect long after it was given up.
        """
        if in_doubt and self._tcp is not None:
            with suppress(OSError, trio.ClosedResourceError):
                self._tcp.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NONE)
        with trio.CancelScope(shield=True):
            await trio.aclose_forcefully(self._stream)


Dial = Callable[[Endpoint], Awaitable[Carrier]]
"""How a router is reached: `dial`, or without a network."""


def check(endpoint: Endpoint) -> None:
    """Check that it is said how the router is known.

    Raises:
        LocalRouterError: neither a fingerprint of 32 bytes nor `insecure`, or both.
    """
    if endpoint.insecure and endpoint.fingerprint is not None:
        raise LocalRouterError("endpoint: expected a fingerprint or insecure, got both")
    if not endpoint.insecure and (endpoint.fingerprint is None or len(endpoint.fingerprint) != _FINGERPRINT_BYTES):
        got = 0 if endpoint.fingerprint is None else len(endpoint.fingerprint)
        raise LocalRouterError(f"endpoint: expected a fingerprint of {_FINGERPRINT_BYTES} bytes, got {got}")


async def dial(endpoint: Endpoint) -> Carrier:
    """Return a connection to the router that the endpoint names, or none.

    Raises:
        LocalRouterError: see `check`.
        UnreachableRouterError: it cannot be reached, or shows another certificate than the pinned one.
    """
    check(endpoint)
    if endpoint.fingerprint is None:
        tcp = await _open_tcp(endpoint.host, endpoint.port)
        return Carrier(tcp, tcp=tcp)
    carrier = await _open_tls(endpoint.host, endpoint.port)
    seen = hashlib.sha256(carrier.certificate or b"").digest()
    if not hmac.compare_digest(seen, endpoint.fingerprint):
        await carrier.close(in_doubt=False)
        raise UnreachableRouterError(
            f"certificate: expected SHA-256 {endpoint.fingerprint.hex()}, got {seen.hex()}", reason="certificate"
        )
    return carrier


async def fetch_certificate(host: str, port: int, *, timeout_s: float) -> bytes:
    """Return the certificate that a router shows, DER, for a person to compare and pin. Nothing is sent but TLS.

    Raises:
        UnreachableRouterError: there is none to be had.
    """
    with trio.move_on_after(max(timeout_s, 0.0)):
        carrier = await _open_tls(host, port)
        await carrier.close(in_doubt=False)
        return carrier.certificate or b""
    raise UnreachableRouterError(f"no certificate in {timeout_s:g} s", reason="timeout")


async def _open_tcp(host: str, port: int) -> trio.SocketStream:
    try:
        return await trio.open_tcp_stream(host, port)
    except OSError as err:
        refused = all(isinstance(e, ConnectionRefusedError) for e in _causes(err))
        raise UnreachableRouterError(
            "the port is closed" if refused else "no connection", reason="refused" if refused else "unreachable"
        ) from err


def _causes(err: BaseException) -> Iterator[BaseException]:
    """Give the errors of the single attempts: trio names them as the cause, one or a group of them."""
    if isinstance(err, BaseExceptionGroup):
        for inner in err.exceptions:
            yield from _causes(inner)
    elif isinstance(err.__cause__, OSError | BaseExceptionGroup):
        yield from _causes(err.__cause__)
    else:
        yield err


async def _open_tls(host: str, port: int) -> Carrier:
    tcp = await _open_tcp(host, port)
    # https_compatible: routers close without TLS' own goodbye
    stream = trio.SSLStream(tcp, _tls(), https_compatible=True)
    carrier = Carrier(stream, tcp=tcp)
    try:
        await stream.do_handshake()
    except trio.BrokenResourceError as err:
        await carrier.close(in_doubt=False)
        # Without a certificate RouterOS offers anonymous Diffie-Hellman only, which nobody here takes
        cause = err.__cause__
        hung_up = not isinstance(cause, ssl.SSLError) or isinstance(cause, ssl.SSLEOFError)
        raise UnreachableRouterError(
            "TLS: the router hung up in the handshake"
            if hung_up
            else "TLS: no handshake with a certificate (is one set in /ip service?)",
            reason="hung-up" if hung_up else "certificate",
        ) from err
    except BaseException:
        await carrier.close(in_doubt=False)
        raise
    der: object = stream.getpeercert(binary_form=True)
    if not isinstance(der, bytes):  # cannot be with these ciphers; nothing must then be compared with a pin
        await carrier.close(in_doubt=False)
        raise UnreachableRouterError("TLS: the router shows no certificate", reason="certificate")
    carrier.certificate = der
    return carrier


@functools.cache
def _tls() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # the pin says who it is: see `dial`
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
