"""`ispcloud serve`: the composition root of the control plane. Ports, health, housekeeping, and a graceful end.

Two ports: one for members, with certificates of ours both ways, and one for strangers with a token. Metrics are plain
HTTP on loopback. SIGTERM drains: health says NOT_SERVING, new calls and open streams are told to come back later, and
calls under way have `grace_s` to finish.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import resource
import signal
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc  # type: ignore[import-untyped] # no types are published with it
from grpc_health.v1.health import aio as health_aio  # type: ignore[import-untyped] # no types are published with it

from control_plane import limits
from control_plane.auth import Auth, EnrolmentServicer, server_credentials
from control_plane.broker import Quotas
from control_plane.calls import CallGuard, LogEvent, silence_libraries, write_event
from control_plane.clock import SYSTEM, CloudClock
from control_plane.config import Address, DataDir
from control_plane.errors import LocalFailureError
from control_plane.live import Live
from control_plane.members import IdentityKind
from control_plane.metrics import Metrics
from control_plane.queues import Forget
from control_plane.service import AgentService, DeskService, Parts
from control_plane.store import CloudStore, refuse_damaged
from control_plane.witness import CloudWitness
from durable.service_manager import ServiceManager
from durable.writer import AnswerCall
from protos import message_pb2 as pb
from protos.agent_pb2_grpc import add_AgentCloudServicer_to_server
from protos.desk_pb2_grpc import add_DeskCloudServicer_to_server
from protos.enrolment_pb2_grpc import add_EnrolmentServicer_to_server
from protos.limits import MESSAGE_BYTES

GRACE_S: Final = 10.0
"""How long a drain waits for calls under way; they have 20 s at most, and rarely need one."""

CLOSE_S: Final = 0.5
"""Then, for last bytes to leave; a peer that watches health, or does not read, is cut off."""

OPTIONS: Final = (
    ("grpc.max_send_message_length", MESSAGE_BYTES),
    # One connection carries one member's calls; above it calls fail (REFUSED_STREAM), they do not wait
    ("grpc.max_concurrent_streams", 1024),
    # A second server on the port is a mistake, not a way to share load: views meet in one process
    ("grpc.so_reuseport", 0),
    # Clients ping every 15 s; a stricter server would send them away for it (too_many_pings)
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    # Ours, to find half-open connections: ping_timeout_ms decides, not keepalive_timeout_ms alone
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.ping_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
)


@dataclass(frozen=True, slots=True)
class Bound:
    """Where a server listens, with real ports."""

    members: Address
    enrolment: Address
    metrics: Address | None

    def line(self) -> str:
        """Return the line that `serve` prints when it is ready."""
        metrics = f", metrics on {self.metrics}" if self.metrics else ""
        return f"ispcloud: listening on {self.members}, enrolment on {self.enrolment}{metrics}"


class CloudServer:
    """A control plane on one data directory: `start`, then `run` until `stop` is set, which drains and closes."""

    def __init__(
        self,
        data: DataDir,
        *,
        interceptors: Sequence[grpc.aio.ServerInterceptor] = (),
        manager: ServiceManager | None = None,
        clock: CloudClock = SYSTEM,
    ) -> None:
        """Open the database; nothing listens yet.

        Raises:
            LocalFailureError: it cannot be opened, or another server has the directory.
            ServerConfigError: a key of it is not here.
        """
        data.authority.need_key()
        data.need_witness_key()
        self.stop = asyncio.Event()
        self.metrics = Metrics()
        self._data = data
        self._manager = manager or ServiceManager()
        self._live = Live()
        self._clock = clock
        self._guard = CallGuard(self.metrics, clock)
        self._health = health_aio.HealthServicer()
        self._interceptors = (*interceptors, self._guard)
        with ExitStack() as undo:
            undo.callback(os.close, _take_lock(data))
            self._store = CloudStore(data.need_database())
            undo.callback(self._store.close)
            self._auth = Auth(self._store, data.authority, clock.wall_s, clock.monotonic_s)
            undo.callback(self._auth.close)
            self._closing = undo.pop_all()

    async def start(self) -> Bound:
        """Listen.

        Raises:
            LocalFailureError: a port cannot be had.
            ServerConfigError: the database is damaged, or the server's certificate file holds something else.
        """
        await asyncio.to_thread(refuse_damaged, self._data.need_database())
        config, wall_s = self._data.config, self._clock.wall_s
        parts = Parts(
            self._store,
            self._auth,
            Quotas(config.quotas),
            self._live,
            CloudWitness(
                self._store, self._data.config.witness_name, self._data.need_witness_key(), self._clock.wall_s
            ),
            self._clock,
        )
        self._members = self._server(MESSAGE_BYTES)
        add_AgentCloudServicer_to_server(AgentService(parts), self._members)
        add_DeskCloudServicer_to_server(DeskService(parts), self._members)
        self._strangers = self._server(limits.ENROLMENT_BYTES)
        add_EnrolmentServicer_to_server(EnrolmentServicer(self._auth), self._strangers)
        bound = Bound(
            _listen(self._members, config.listen, server_credentials(self._data, clients=True, wall_s=wall_s)),
            _listen(
                self._strangers,
                config.enrolment_listen,
                server_credentials(self._data, clients=False, wall_s=wall_s),
            ),
            self._serve_metrics(config.metrics_listen),
        )
        await self._members.start()
        await self._strangers.start()
        write_event(LogEvent.STARTED)
        return bound

    def _server(self, largest_bytes: int) -> grpc.aio.Server:
        options = (("grpc.max_receive_message_length", largest_bytes), *OPTIONS)
        server = grpc.aio.server(interceptors=self._interceptors, options=options)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        return server

    def _serve_metrics(self, address: Address | None) -> Address | None:
        if address is None:
            return None
        real, close = self.metrics.serve(address)
        self._closing.callback(close)
        return real

    async def run(self, grace_s: float = GRACE_S) -> None:
        """Work until `stop` is set, or nothing can be written any more; then drain.

        Raises:
            LocalFailureError: a commit failed.
        """
        work = [
            asyncio.create_task(self.stop.wait()),
            asyncio.create_task(self._store.broken.wait()),
            asyncio.create_task(self._look_after_streams()),
            asyncio.create_task(self._forget()),
            asyncio.create_task(self._judge_health()),
        ]
        if self._manager.watchdog_s:
            work.append(asyncio.create_task(self._answer_watchdog()))
        await asyncio.wait(work, return_when=asyncio.FIRST_COMPLETED)
        done = [task for task in work if task.done()]
        pending = [task for task in work if not task.done()]
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        await self._drain(grace_s)
        self.close()
        if self._store.failed is not None:
            write_event(LogEvent.STORE_FAILED)
            raise LocalFailureError(self._store.failed)
        for task in done:
            task.result()
        write_event(LogEvent.STOPPED)

    def close(self) -> None:
        """Close everything that is no server: once."""
        self._closing.close()

    async def _drain(self, grace_s: float) -> None:
        self._manager.stopping()
        write_event(LogEvent.DRAINING, streams=sum(1 for _ in self._live))
        await self._health.enter_graceful_shutdown()
        self._guard.draining = True
        self._end(pb.REFUSAL_DRAINING)
        if self._guard.running:
            await asyncio.wait(self._guard.running, timeout=grace_s)
        await asyncio.gather(self._members.stop(CLOSE_S), self._strangers.stop(CLOSE_S))

    def _end(self, why: pb.Refusal, which: Callable[..., bool] = lambda _: True) -> None:
        ended = self._live.end(why, which)
        if ended:
            self.metrics.ended.labels(pb.Refusal.Name(why)).inc(ended)
            write_event(LogEvent.STREAMS_ENDED, refusal=pb.Refusal.Name(why), streams=ended)

    async def _answer_watchdog(self) -> None:
        """Tell systemd that the server works: after each answer of the store's writer, by a task of the loop."""
        while True:
            await self._store.run(AnswerCall())
            self._manager.alive()
            await asyncio.sleep(self._manager.feed_s)

    async def _judge_health(self) -> None:
        """Let health say whether the store's writer answers: in a container, no watchdog of systemd asks it."""
        while True:
            try:
                async with asyncio.timeout(limits.WRITER_ANSWERS_S):
                    await self._store.run(AnswerCall())
                status = health_pb2.HealthCheckResponse.SERVING
            except TimeoutError:
                status = health_pb2.HealthCheckResponse.NOT_SERVING
            await self._health.set("", status)
            await asyncio.sleep(limits.HEALTH_EVERY_S)

    async def _look_after_streams(self) -> None:
        told = ""
        while True:
            self._end(pb.REFUSAL_REVOKED, self._auth.revoked)
            kinds = Counter(stream.peer.kind for stream in self._live)
            if (line := status_line(kinds)) != told:
                self._manager.status(line)
                told = line
            for kind in IdentityKind:
                self.metrics.streams.labels(kind.value).set(kinds[kind])
            self.metrics.commits.set(self._store.commits)
            await asyncio.sleep(limits.REVOKED_EVERY_S)

    async def _forget(self) -> None:
        while True:
            forgotten = await self._store.run(Forget(int(self._clock.wall_s())))
            self.metrics.forgotten.inc(forgotten)
            if forgotten:
                write_event(LogEvent.FORGOT, messages=forgotten)
            if forgotten < limits.FORGET_MAX:
                await asyncio.sleep(limits.FORGET_EVERY_S)


def status_line(streams: Counter[IdentityKind]) -> str:
    """Return in one line how the server is, for systemd: the number of open streams of each kind of member."""
    return f"serving · streams: {' · '.join(f'{streams[kind]} {kind.value}' for kind in IdentityKind)}"


def _take_lock(data: DataDir) -> int:
    fd = os.open(data.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise LocalFailureError(f"{data.path}: another ispcloud serves this data directory") from None
    return fd


def _listen(server: grpc.aio.Server, address: Address, credentials: grpc.ServerCredentials) -> Address:
    try:
        port = server.add_secure_port(str(address), credentials)
    except RuntimeError as err:
        raise LocalFailureError(f"{address} cannot be listened on") from err
    return Address(address.host, port)


async def _serve(
    data: DataDir, grace_s: float, interceptors: Sequence[grpc.aio.ServerInterceptor], manager: ServiceManager | None
) -> None:
    manager = manager or ServiceManager()
    server = CloudServer(data, interceptors=interceptors, manager=manager)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, server.stop.set)
    try:
        bound = await server.start()
        sys.stdout.write(bound.line() + "\n")
        sys.stdout.flush()
        manager.ready(status_line(Counter()))
        await server.run(grace_s)
    finally:
        server.close()


def _allow_files() -> None:
    """Take as many open files as the machine's administrator allows: each connection is one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def run(
    data: DataDir,
    *,
    grace_s: float = GRACE_S,
    interceptors: Sequence[grpc.aio.ServerInterceptor] = (),
    manager: ServiceManager | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT; print one line when ready.

    Args:
        data: the data directory.
        grace_s: how long a drain waits for calls under way, seconds.
        interceptors: of an embedder, outside of ours.
        manager: the service manager that started the program; None: none did.

    Raises:
        LocalFailureError: the database or a port cannot be had, or a commit failed.
        ServerConfigError: the database is damaged, or the server's certificate file holds something else.
    """
    _allow_files()
    silence_libraries()
    asyncio.run(_serve(data, grace_s, interceptors, manager))
