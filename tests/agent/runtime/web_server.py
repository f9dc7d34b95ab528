"""A web server of one test: it answers each request with raw bytes that the test wrote."""

from __future__ import annotations

import datetime as dt
import ipaddress
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import trio
import trio.testing
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

Reply = bytes | Callable[[trio.abc.Stream], Awaitable[None]]


@dataclass
class Scripted:
    """Replies in their order, the last one again and again; `heads` are the requests that came."""

    replies: Sequence[Reply]
    port: int = 0
    heads: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0

    async def serve(self, stream: trio.abc.Stream) -> None:
        try:
            await self._requests(stream)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            await trio.aclose_forcefully(stream)

    async def _requests(self, stream: trio.abc.Stream) -> None:
        got = b""
        while True:
            while b"\r\n\r\n" not in got:
                piece = await stream.receive_some(65536)
                if not piece:
                    return
                got += piece
            head, _, got = got.partition(b"\r\n\r\n")
            length = next(
                (
                    int(line.split(b":")[1])
                    for line in head.lower().split(b"\r\n")
                    if line.startswith(b"content-length")
                ),
                0,
            )
            while len(got) < length:
                got += await stream.receive_some(65536)
            self.bodies.append(got[:length])
            got = got[length:]
            self.heads.append(head.decode("latin-1"))
            reply = self.replies[min(len(self.heads), len(self.replies)) - 1]
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            try:
                await trio.testing.wait_all_tasks_blocked()
                if isinstance(reply, bytes):
                    await stream.send_all(reply)
                    if b"connection: close" in reply:
                        return
                else:
                    await reply(stream)
                    return
            finally:
                self.at_once -= 1


def ok(body: bytes = b"{}", kind: str = "application/json", more: str = "") -> bytes:
    return reply(200, body, kind, more)


def reply(status: int, body: bytes = b"{}", kind: str = "application/json", more: str = "") -> bytes:
    head = f"HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n{more}\r\n"
    return head.encode() + body


@asynccontextmanager
async def scripted(*replies: Reply, tls: ssl.SSLContext | None = None) -> AsyncIterator[Scripted]:
    server = Scripted(replies)

    async def handle(stream: trio.SocketStream) -> None:
        if tls is None:
            await server.serve(stream)
            return
        try:
            await server.serve(trio.SSLStream(stream, tls, server_side=True))
        except ssl.SSLError:
            pass

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, handle, 0)
        # IPv4 and IPv6 listeners have ports of their own
        at = next(each for each in listeners if each.socket.family == trio.socket.AF_INET)
        server.port = at.socket.getsockname()[1]
        yield server
        nursery.cancel_scope.cancel()


@dataclass(frozen=True)
class Certificate:
    """A self-signed certificate of 127.0.0.1: its PEM file, a server's context, and its fingerprint."""

    file: Path
    context: ssl.SSLContext
    pin: str


def certificate(folder: Path, name: str, *, days: int = 30) -> Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    begin = dt.datetime.now(dt.UTC) - dt.timedelta(days=60)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + dt.timedelta(days=60 + days))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    file, both = folder / f"{name}.pem", folder / f"{name}-both.pem"
    file.write_bytes(made.public_bytes(Encoding.PEM))
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    both.write_bytes(made.public_bytes(Encoding.PEM) + private)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(both)
    return Certificate(file, context, sha256(made.public_bytes(Encoding.DER)).hexdigest())
