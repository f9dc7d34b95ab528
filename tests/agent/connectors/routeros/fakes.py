"""A router's side of the API, written from the manual alone, so that a misreading in our codec shows."""

from __future__ import annotations

import hashlib
import ssl
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from pathlib import Path

import trio
import trio.testing
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from agent.connectors.routeros.api_session import Endpoint, RouterApi
from agent.connectors.routeros.carrier_session import Carrier
from agent.connectors.routeros.wire import ReplyReader

USER, PASSWORD = "ispagent", b"s3cret-canary"


def length(n: int) -> bytes:
    for size, top, mark in ((1, 0x7F, 0), (2, 0x3FFF, 0x8000), (3, 0x1FFFFF, 0xC00000), (4, 0xFFFFFFF, 0xE0000000)):
        if n <= top:
            return (n | mark).to_bytes(size, "big")
    return b"\xf0" + n.to_bytes(4, "big")


def sentence(*words: str | bytes) -> bytes:
    raw = [w if isinstance(w, bytes) else w.encode("utf-8", "surrogateescape") for w in words]
    return b"".join(length(len(w)) + w for w in raw) + b"\0"


class Peer:
    """The router's end of one connection: hears sentences, says sentences or any bytes."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self._had = b""

    async def _exactly(self, n: int) -> bytes:
        while len(self._had) < n:
            more = await self.stream.receive_some(65536)
            if not more:
                raise EOFError
            self._had += more
        taken, self._had = self._had[:n], self._had[n:]
        return taken

    async def hears(self) -> list[str]:
        """Return the words of the next sentence; EOFError when there is none."""
        words = []
        while True:
            first = (await self._exactly(1))[0]
            more = 0 if first < 0x80 else 1 if first < 0xC0 else 2 if first < 0xE0 else 3
            rest = await self._exactly(more)
            marks = (0, 0x8000, 0xC00000, 0xE0000000)
            n = int.from_bytes(bytes([first]) + rest, "big") - marks[more]
            if n == 0:
                return words
            words.append((await self._exactly(n)).decode("utf-8", "surrogateescape"))

    async def says(self, *words: str | bytes) -> None:
        await self.stream.send_all(sentence(*words))

    async def command(self, *want: str) -> str:
        """Hear a command of these words, and return its tag."""
        *words, tag = await self.hears()
        assert tuple(words) == want
        assert tag.startswith(".tag=")
        return tag

    async def lets_in(self) -> None:
        """Hear a login of today, and accept it."""
        assert await self.hears() == ["/login", f"=name={USER}", f"=password={PASSWORD.decode()}"]
        await self.says("!done")


Row = Mapping[str, str]
Script = Callable[[Peer], Awaitable[None]]


@asynccontextmanager
async def talking() -> AsyncIterator[tuple[RouterApi, Peer]]:
    """A logged-in session over memory, and the router's end of it."""
    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        api = RouterApi(Carrier(ours), ReplyReader())
        nursery.start_soon(api._run)
        yield api, Peer(theirs)
        await api.aclose()


async def _answer(script: Script, tls: ssl.SSLContext | None, stream: trio.SocketStream) -> None:
    through: trio.abc.Stream = stream if tls is None else trio.SSLStream(stream, tls, server_side=True)
    try:
        await script(Peer(through))
    except (EOFError, trio.BrokenResourceError):
        pass  # the client went away: what it then says is the test's business
    finally:
        if isinstance(through, trio.SSLStream) and (alert := through._outgoing.read()):
            # trio keeps to itself what OpenSSL would say of a failed handshake; routers say it
            with suppress(trio.BrokenResourceError):
                await stream.send_all(alert)
        await trio.aclose_forcefully(through)


@asynccontextmanager
async def router(script: Script, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Serve `script` to each connection on a port of loopback's."""
    async with trio.open_nursery() as nursery:
        serve = partial(trio.serve_tcp, partial(_answer, script, tls), 0, host="127.0.0.1")
        listeners: Sequence[trio.SocketListener] = await nursery.start(serve)
        yield listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()


def plain(port: int) -> Endpoint:
    return Endpoint("127.0.0.1", port, None, insecure=True)


@dataclass(frozen=True, slots=True)
class Pair:
    """A router's certificate of its own making."""

    context: ssl.SSLContext
    der: bytes

    @property
    def fingerprint(self) -> bytes:
        return hashlib.sha256(self.der).digest()


@cache
def certificate(name: str = "router") -> Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=400))
        .not_valid_after(now - timedelta(days=30))  # long expired, as on many a router: the pin is what counts
        .sign(key, hashes.SHA256())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:
        pem = Path(folder) / "pair.pem"
        pem.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            + made.public_bytes(serialization.Encoding.PEM)
        )
        context.load_cert_chain(pem)
    return Pair(context, made.public_bytes(serialization.Encoding.DER))


class Menus:
    """The menus of a router."""

    def __init__(self, menus: Mapping[str, list[Row]]) -> None:
        self._menus = menus

    async def rows(self, path: str, proplist: object, *query: str) -> list[Row]:
        return self._menus.get(path, [])

    async def count(self, path: str, *query: str) -> int:
        return len(self._menus.get(path, []))
