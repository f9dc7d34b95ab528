"""A control plane for tests: its own authority, a synchronous gRPC server that does as it is told, and a proxy."""

from __future__ import annotations

import ssl
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent import futures
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from protos import agent_pb2, agent_pb2_grpc, enrolment_pb2, enrolment_pb2_grpc
from protos import message_pb2 as pb

AGENT = "a1" * 16
OPERATOR = "0b" * 16
TOKEN = bytes(range(32))
NOW = datetime.now(UTC)
NASTY = "\x1b]0;owned\x07\x1b[2J<script>alert(1)</script>\u202egnp.exe secret-canary"
"""What a hostile server would like to see on a terminal."""


def _pem_key(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


class Authority:
    """A certificate authority of the test's."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
        self.name = name
        self.certificate = (
            self._builder(self.key.public_key(), name, timedelta(days=-1), timedelta(days=30))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(self.key, hashes.SHA256())
        )
        self.pem = self.certificate.public_bytes(serialization.Encoding.PEM)

    def _builder(self, public: Any, subject: x509.Name, begins: timedelta, ends: timedelta) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW + begins)
            .not_valid_after(NOW + ends)
        )

    def issue(
        self,
        public: Any,
        name: x509.GeneralName,
        begins: timedelta = timedelta(hours=-1),
        ends: timedelta = timedelta(days=7),
    ) -> x509.Certificate:
        return (
            self._builder(public, x509.Name([]), begins, ends)
            .add_extension(x509.SubjectAlternativeName([name]), critical=True)
            .sign(self.key, hashes.SHA256())
        )

    def server_pair(self, host: str = "ispcloud", ends: timedelta = timedelta(days=7)) -> tuple[bytes, bytes]:
        """Return key and certificate, PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self.issue(key.public_key(), x509.DNSName(host), timedelta(days=-3), ends)
        return _pem_key(key), certificate.public_bytes(serialization.Encoding.PEM)

    def client(self, csr: bytes, uri: str | None = None, **dates: timedelta) -> bytes:
        """Return the certificate for a request, DER."""
        request = x509.load_der_x509_csr(csr)
        name = x509.UniformResourceIdentifier(uri or f"ispagents://{OPERATOR}/agent/{AGENT}")
        return self.issue(request.public_key(), name, **dates).public_bytes(serialization.Encoding.DER)


Script = Callable[[pb.WatchRequest, grpc.ServicerContext], Iterator[pb.WatchEvent]]


def message(kind: int, n: int = 1, body: bytes = b"body", **more: Any) -> pb.Message:
    fields: dict[str, Any] = {"ref": n.to_bytes(16, "big"), "agent": bytes.fromhex(AGENT), "body": body, **more}
    return pb.Message(kind=kind, **fields)  # type: ignore[arg-type]  # any number is a kind on the wire


def hello(epoch: bytes = b"e" * 16, newest: int = 0) -> pb.WatchEvent:
    return pb.WatchEvent(hello=pb.Hello(epoch=epoch, newest=newest, minute=1))


def delivery(number: int, what: pb.Message) -> pb.WatchEvent:
    return pb.WatchEvent(delivery=pb.Delivery(number=number, message=what, minute=1))


def abort(
    context: grpc.ServicerContext,
    refusal: int,
    code: grpc.StatusCode = grpc.StatusCode.FAILED_PRECONDITION,
    retry_after_s: int = 0,
    details: str = NASTY,
) -> None:
    problem = pb.Problem(refusal=refusal, retry_after_s=retry_after_s)  # type: ignore[arg-type]  # any number
    context.set_trailing_metadata((("problem-bin", problem.SerializeToString()),))
    context.abort(code, details)


class Cloud(agent_pb2_grpc.AgentCloudServicer, enrolment_pb2_grpc.EnrolmentServicer):
    """Keeps what is submitted by its ref, delivers what it is told, and misbehaves through its hooks."""

    def __init__(self, authority: Authority) -> None:
        self.authority = authority
        self.epoch = b"e" * 16
        self.kept: list[pb.WatchEvent] = []
        self.expired: set[int] = set()
        self.live: list[pb.WatchEvent] = []
        self.taken: dict[bytes, pb.Message] = {}
        self.again = 0
        self.watches: list[tuple[bytes, int]] = []
        self.checkpoints: list[bytes] = []
        self.renewals = 0
        self.certificate: dict[str, Any] = {}
        self.script: Script | None = None
        self.before_submit: Callable[[pb.Message, grpc.ServicerContext], None] = lambda m, c: None
        self.after_submit: Callable[[pb.Message, grpc.ServicerContext], None] = lambda m, c: None
        self.witness: Callable[[bytes, grpc.ServicerContext], agent_pb2.AddCheckpointReply] = lambda b, c: (
            agent_pb2.AddCheckpointReply(cosignatures=b"line\n")
        )
        self.board: Callable[[grpc.ServicerContext], agent_pb2.BoardReply] = lambda _: agent_pb2.BoardReply()
        self._more = threading.Condition()
        self._stopped = False

    # --- what the test says ---

    def deliver(self, *messages: pb.Message) -> None:
        with self._more:
            for m in messages:
                self.kept.append(delivery(len(self.kept) + 1, m))
            self._more.notify_all()

    def pass_on(self, m: pb.Message) -> None:
        with self._more:
            self.live.append(pb.WatchEvent(live=m))
            self._more.notify_all()

    def stop(self) -> None:
        with self._more:
            self._stopped = True
            self._more.notify_all()

    def start(self) -> None:
        self._stopped = False

    # --- AgentCloud ---

    def Submit(self, request: pb.SubmitRequest, context: grpc.ServicerContext) -> pb.SubmitReply:
        m = request.message
        self.before_submit(m, context)
        again = m.ref in self.taken
        if again:
            self.again += 1
            assert self.taken[m.ref] == m
        self.taken[m.ref] = m
        self.after_submit(m, context)
        return pb.SubmitReply(again=again)

    def Watch(self, request: pb.WatchRequest, context: grpc.ServicerContext) -> Iterator[pb.WatchEvent]:
        self.watches.append((request.cursor.epoch, request.cursor.after))
        if self.script is not None:
            yield from self.script(request, context)
            return
        yield hello(self.epoch, len(self.kept))
        cursor = request.cursor
        at = cursor.after if cursor.epoch == self.epoch and cursor.after <= len(self.kept) else 0
        context.add_callback(self._wake)
        while True:
            with self._more:
                while not (len(self.kept) > at or self.live or self._stopped or not context.is_active()):
                    self._more.wait()
                if self._stopped or not context.is_active():
                    return
                events = [*(m for m in self.kept[at:] if m.delivery.number not in self.expired), *self.live]
                at, self.live = len(self.kept), []
            yield from events

    def _wake(self) -> None:
        with self._more:
            self._more.notify_all()

    def AddCheckpoint(
        self, request: agent_pb2.AddCheckpointRequest, context: grpc.ServicerContext
    ) -> agent_pb2.AddCheckpointReply:
        self.checkpoints.append(request.body)
        return self.witness(request.body, context)

    def Board(self, request: agent_pb2.BoardRequest, context: grpc.ServicerContext) -> agent_pb2.BoardReply:
        return self.board(context)

    def Renew(self, request: pb.RenewRequest, context: grpc.ServicerContext) -> pb.RenewReply:
        self.renewals += 1
        return pb.RenewReply(
            certificate=self.authority.client(request.csr, **self.certificate),
            issuer=self.authority.certificate.public_bytes(serialization.Encoding.DER),
        )

    # --- Enrolment ---

    def Enroll(self, request: enrolment_pb2.EnrollRequest, context: grpc.ServicerContext) -> enrolment_pb2.EnrollReply:
        if request.token != TOKEN:
            abort(context, pb.REFUSAL_BAD_TOKEN, grpc.StatusCode.PERMISSION_DENIED)
        return enrolment_pb2.EnrollReply(certificate=self.authority.client(request.csr, **self.certificate))


@contextmanager
def serving(cloud: Cloud, *, pair: tuple[bytes, bytes] | None = None, client_auth: bool = True) -> Iterator[int]:
    """Serve on a free port of loopback, over TLS; gives the port."""
    pool = futures.ThreadPoolExecutor(max_workers=16)
    options = [
        ("grpc.http2.min_ping_interval_without_data_ms", 10),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.max_send_message_length", -1),
        ("grpc.so_reuseport", 0),
    ]
    server = grpc.server(pool, options=options)
    agent_pb2_grpc.add_AgentCloudServicer_to_server(cloud, server)
    enrolment_pb2_grpc.add_EnrolmentServicer_to_server(cloud, server)
    credentials = grpc.ssl_server_credentials(
        [pair or cloud.authority.server_pair()],
        root_certificates=cloud.authority.pem if client_auth else None,
        require_client_auth=client_auth,
    )
    port = server.add_secure_port("127.0.0.1:0", credentials)
    cloud.start()
    server.start()
    try:
        yield port
    finally:
        cloud.stop()
        server.stop(None).wait()
        pool.shutdown()


@dataclass(slots=True)
class Proxy:
    """Forwards TCP to `target` (a port; 0: refuse). While `frozen`, it forwards nothing and closes nothing."""

    port: int = 0
    target: int = 0
    accepted: int = 0
    frozen: bool = False
    chunk: int = 65536
    _thawed: trio.Event = field(default_factory=trio.Event)
    _streams: set[trio.SocketStream] = field(default_factory=set)

    def freeze(self) -> None:
        self.frozen, self._thawed = True, trio.Event()

    def thaw(self) -> None:
        self.frozen = False
        self._thawed.set()

    async def cut(self) -> None:
        """Close all connections."""
        for stream in list(self._streams):
            await trio.aclose_forcefully(stream)

    async def handle(self, near: trio.SocketStream) -> None:
        self.accepted += 1
        if not self.target:
            return
        try:
            far = await trio.open_tcp_stream("127.0.0.1", self.target)
        except OSError:
            return
        self._streams |= {near, far}
        async with far, trio.open_nursery() as nursery:
            nursery.start_soon(self._pipe, near, far, nursery.cancel_scope)
            nursery.start_soon(self._pipe, far, near, nursery.cancel_scope)
        self._streams -= {near, far}

    async def _pipe(self, source: trio.SocketStream, sink: trio.SocketStream, scope: trio.CancelScope) -> None:
        try:
            while data := await source.receive_some(self.chunk):
                if self.frozen:
                    await self._thawed.wait()
                await sink.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        if self.frozen:  # a dead path tells neither side that the other one is gone
            await self._thawed.wait()
        scope.cancel()


@asynccontextmanager
async def proxied(target: int = 0) -> AsyncIterator[Proxy]:
    proxy = Proxy(target=target)
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, proxy.handle, 0)
        proxy.port = listeners[0].socket.getsockname()[1]
        yield proxy
        nursery.cancel_scope.cancel()


def server_context(authority: Authority, folder: Path) -> ssl.SSLContext:
    """Return what a raw TLS server needs to be taken for the control plane: right certificate, ALPN h2."""
    key, certificate = authority.server_pair()
    chain = folder / "chain.pem"
    chain.write_bytes(key + certificate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    context.set_alpn_protocols(["h2"])
    return context


async def until(condition: Callable[[], object], timeout_s: float = 60.0) -> None:
    """Wait for a state."""
    with trio.fail_after(timeout_s):
        while not condition():  # noqa: ASYNC110 - what is waited for is another thread's
            await trio.sleep(0.01)


class Broken(grpc.RpcError):
    """An error as gRPC raises it."""

    def __init__(self, code: grpc.StatusCode, *metadata: tuple[str, bytes | str]) -> None:
        super().__init__()
        self._code, self._metadata = code, metadata

    def code(self) -> grpc.StatusCode:
        return self._code

    def trailing_metadata(self) -> tuple[tuple[str, bytes | str], ...] | None:
        return self._metadata or None
