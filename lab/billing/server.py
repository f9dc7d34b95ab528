"""HTTP for a lab's billing system, on a free port of 127.0.0.1, and the faults of bad days."""

from __future__ import annotations

import datetime as dt
import ipaddress
import json
import ssl
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qsl, urlsplit

import h11
import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat


@dataclass(frozen=True)
class WebRequest:
    """A request as it came. `query`: names and values in their order; `headers`: names in small letters."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...]
    headers: dict[str, str]
    body: bytes

    def one(self, name: str, default: str = "") -> str:
        """Return the last value of a parameter."""
        return next((v for n, v in reversed(self.query) if n == name), default)

    def every(self, name: str) -> list[str]:
        """Return all values of a parameter."""
        return [v for n, v in self.query if n == name]


@dataclass
class WebReply:
    """An answer. `json` None: it has no body."""

    status: int
    json: Any = None


class System(Protocol):
    """A billing system: its books, and its answers from them."""

    def answer(self, request: WebRequest) -> WebReply:
        """Return the answer to a request."""
        ...


@dataclass
class WebFault:
    """A bad day. `where`: a part of the paths that it befalls; `times`: how often, -1 for ever; `value`: of its kind.

    Kinds: `status` (value: 401, 403, 429, 500...; `retry_after`), `cut`, `slow` (value: seconds), `type`, `encoding`,
    `endless`, `empty` (`json`: the answer without rows; None: an empty list), `page-lost` and `page-doubled` (value:
    the offset from which on), `changing` (nothing else), `clock` (value: seconds by which its Date is wrong). With each
    of them `act` runs before the answer.
    """

    kind: str
    where: str = ""
    times: int = -1
    value: float = 0
    retry_after: str = ""
    act: Callable[[int], None] | None = None
    json: Any = None
    hits: int = 0


@dataclass
class BillingServer:
    """A running system. `sent`: bytes of bodies. `faults`: those that are played now."""

    system: System
    port: int = 0
    pin: str = ""
    ca_file: Path | None = None
    faults: list[WebFault] = field(default_factory=list)
    requests: list[WebRequest] = field(default_factory=list)
    sent: int = 0
    folder: Path = Path()
    context: ssl.SSLContext | None = None

    @property
    def url(self) -> str:
        """The origin of its URLs."""
        return f"http{'s' if self.pin else ''}://127.0.0.1:{self.port}"

    def play(self, kind: str, **given: Any) -> WebFault:
        """Play one fault from now on, and no other."""
        self.faults = [WebFault(kind, **given)]
        return self.faults[0]

    def renew(self) -> None:
        """Take a new self-signed certificate for connections from now on; `pin` is its fingerprint."""
        self.context, self.pin, self.ca_file = _certificate(self.folder)

    async def serve(self, stream: trio.abc.Stream) -> None:
        """Answer the requests of one connection."""
        connection = h11.Connection(h11.SERVER)
        try:
            while await self._one(stream, connection):
                connection.start_next_cycle()
        except (trio.BrokenResourceError, trio.ClosedResourceError, h11.ProtocolError, ssl.SSLError):
            pass
        finally:
            await trio.aclose_forcefully(stream)

    async def _one(self, stream: trio.abc.Stream, connection: h11.Connection) -> bool:
        request = await _request(stream, connection)
        if request is None:
            return False
        self.requests.append(request)
        fault = next((f for f in self.faults if f.where in request.path and f.times != 0), None)
        if fault is not None:
            fault.times -= fault.times > 0
            fault.hits += 1
            request = _bent(request, fault)
            if fault.act is not None:
                fault.act(fault.hits)
        reply = self.system.answer(request)
        if fault is None:
            await self._send(stream, connection, reply)
        elif not await self._send_badly(stream, connection, reply, fault):
            return False
        return connection.our_state is h11.DONE

    async def _send(
        self,
        stream: trio.abc.Stream,
        connection: h11.Connection,
        reply: WebReply,
        *,
        kind: str = "application/json",
        body: bytes | None = None,
        more: tuple[tuple[str, str], ...] = (),
        skew_s: float = 0,
    ) -> None:
        if body is None:
            body = b"" if reply.json is None else json.dumps(reply.json).encode()
        date = formatdate(time.time() + skew_s, usegmt=True)
        headers = [("date", date), ("content-type", kind), ("content-length", str(len(body))), *more]
        data = connection.send(h11.Response(status_code=reply.status, headers=headers)) or b""
        data += connection.send(h11.Data(data=body)) or b""
        data += connection.send(h11.EndOfMessage()) or b""
        self.sent += len(body)
        await stream.send_all(data)

    async def _send_badly(
        self, stream: trio.abc.Stream, connection: h11.Connection, reply: WebReply, fault: WebFault
    ) -> bool:
        """Answer with a fault; return whether the connection goes on."""
        match fault.kind:
            case "status":
                more = (("retry-after", fault.retry_after),) if fault.retry_after else ()
                await self._send(stream, connection, WebReply(int(fault.value), {"message": "no"}), more=more)
            case "cut":
                body = json.dumps(reply.json).encode()
                head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
                await stream.send_all(head.encode() + body[: len(body) // 2])
                return False
            case "slow":
                await trio.sleep(fault.value)
                await self._send(stream, connection, reply)
            case "type":
                await self._send(stream, connection, reply, kind="text/html", body=b"<html><body>Please log in")
            case "encoding":
                body = json.dumps(reply.json, ensure_ascii=False).encode("utf-16")
                await self._send(stream, connection, reply, body=body)
            case "endless":
                await self._endless(stream)
                return False
            case "empty":
                nothing = [] if isinstance(reply.json, list) else fault.json or reply.json
                await self._send(stream, connection, WebReply(reply.status, nothing))
            case "clock":
                await self._send(stream, connection, reply, skew_s=fault.value)
            case _:
                await self._send(stream, connection, reply)
        return True

    async def _endless(self, stream: trio.abc.Stream) -> None:
        await stream.send_all(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n1\r\n[\r\n"
        )
        chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
        while True:
            await stream.send_all(chunk)
            self.sent += 65536


def _bent(request: WebRequest, fault: WebFault) -> WebRequest:
    """Return a request as a fault has it understood."""
    offset, limit = int(request.one("offset", "0")), int(request.one("limit", "0"))
    if offset < fault.value or not limit or fault.kind not in ("page-lost", "page-doubled"):
        return request
    moved = offset + limit if fault.kind == "page-lost" else max(offset - limit, 0)
    query = tuple((n, v) for n, v in request.query if n != "offset")
    return WebRequest(request.method, request.path, (*query, ("offset", str(moved))), request.headers, request.body)


async def _request(stream: trio.abc.Stream, connection: h11.Connection) -> WebRequest | None:
    head: h11.Request | None = None
    body = b""
    while True:
        event = connection.next_event()
        match event:
            case h11.NEED_DATA:
                connection.receive_data(bytes(await stream.receive_some(65536)))
            case h11.Request():
                head = event
            case h11.Data():
                body += bytes(event.data)
            case h11.EndOfMessage() if head is not None:
                parts = urlsplit(head.target.decode("ascii"))
                headers = {n.decode(): v.decode("latin-1") for n, v in head.headers}
                query = tuple(parse_qsl(parts.query, keep_blank_values=True))
                return WebRequest(head.method.decode(), parts.path, query, headers, body)
            case _:
                return None


@asynccontextmanager
async def serve_billing(system: System, *, port: int = 0, tls: bool = False) -> AsyncIterator[BillingServer]:
    """Run a system on 127.0.0.1. `tls`: with a new self-signed certificate, `pin` is its fingerprint."""
    server = BillingServer(system)
    with tempfile.TemporaryDirectory(prefix="lab-billing-") as folder:
        if tls:
            server.folder = Path(folder)
            server.renew()

        async def handle(stream: trio.SocketStream) -> None:
            context = server.context
            await server.serve(trio.SSLStream(stream, context, server_side=True) if context else stream)

        async with trio.open_nursery() as nursery:
            listeners = await nursery.start(lambda task_status: _listen(handle, port, task_status))
            server.port = listeners[0].socket.getsockname()[1]
            yield server
            nursery.cancel_scope.cancel()


async def _listen(handle: Callable[[trio.SocketStream], Any], port: int, task_status: Any) -> None:
    listeners = await trio.open_tcp_listeners(port, host="127.0.0.1")
    await trio.serve_listeners(handle, listeners, task_status=task_status)


def _certificate(folder: Path) -> tuple[ssl.SSLContext, str, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "lab billing")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=365))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    public, both = folder / "certificate.pem", folder / "both.pem"
    public.write_bytes(made.public_bytes(Encoding.PEM))
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    both.write_bytes(public.read_bytes() + private)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(both)
    return context, sha256(made.public_bytes(Encoding.DER)).hexdigest(), public
