"""gRPC without gRPC: what the generated stubs and servicers stand on, in memory and in virtual time.

`Wire.open_channel` stands for `protos.channel.open_channel`, and `Wire.server` for `grpc.aio.server`: everything above
them, on both sides, is the product's own code. Messages pass as encoded bytes. The cases of `test_cloud_wire` hold on
this wire and over gRPC.

A member reaches the server by a `Path`: it may be slow, cut (both sides know it) or half-open (nobody does, until
keepalive's time is over).
"""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Self

import grpc
import trio

from protos.channel import DEFAULT, Keepalive
from protos.limits import MESSAGE_BYTES
from tests.sim.cloud import program
from tests.sim.cloud.virtual_loop import VirtualLoop
from tests.sim.cloud.wire_server import CallFailedError, ServerCall, SimulatedServer
from tests.sim.inline import Waiting

DIAL_S: Final = 20.0
"""After how long a connection that nobody answers is given up."""
SERVER_KEEPALIVE_S: Final = 40.0
"""After how long the server knows that a silent peer is gone: `control_plane.server.OPTIONS`."""


@dataclass(frozen=True, slots=True)
class Passed:
    """A message that arrived at its other end: `to_server`, or from it. `who`: the member, as the path is called."""

    at: float
    call: int
    who: str
    method: str
    to_server: bool
    data: bytes


class Path:
    """The way between a member and the server. `delay_s`: of each message, one way; `rate`: bytes per second."""

    def __init__(self, who: str) -> None:
        self.who = who
        self.delay_s: Callable[[], float] = lambda: 0.001
        self.rate = math.inf
        self.up = True
        """False: who dials is refused, as by a router that says so."""
        self.flows = trio.Event()
        self.flows.set()
        self.stalls = trio.Event()
        self.connections: dict[_Connection, None] = {}

    def cut(self) -> None:
        """Break every connection, and refuse new ones."""
        self.up = False
        for one in list(self.connections):
            one.broken("reset")

    def stall(self) -> None:
        """Let nothing pass, and tell nobody."""
        if self.flows.is_set():
            self.flows = trio.Event()
            self.stalls.set()

    def mend(self) -> None:
        """Let everything pass again."""
        self.up = True
        self.flows.set()
        self.stalls = trio.Event()

    async def carry(self, size_bytes: int) -> None:
        """Return when so many bytes are at the other end."""
        await trio.sleep(self.delay_s() + size_bytes / self.rate)
        while not self.flows.is_set():
            await self.flows.wait()


# --- the client -------------------------------------------------------------------------------------------------------


class _Connection:
    """A connection between a channel and a server, while it lasts."""

    def __init__(self, path: Path, server: SimulatedServer) -> None:
        self.path, self.server = path, server
        self.calls: dict[SimulatedCall, None] = {}
        self.dead = False
        path.connections[self] = None

    def broken(self, details: str) -> None:
        """Take note that it is gone: both sides see it."""
        self.lost(details)
        self.hung_up()

    def lost(self, details: str) -> None:
        """Let the client's calls fail."""
        self.dead = True
        self.path.connections.pop(self, None)
        for call in list(self.calls):
            call.fail(CallFailedError(grpc.StatusCode.UNAVAILABLE, details))

    def hung_up(self) -> None:
        """Let the server's calls be cancelled."""
        for call in list(self.calls):
            call.cancel_at_server()
        self.calls.clear()


class SimulatedCall(Waiting):
    """A call at its client: a future, or an iterator of what comes."""

    def __init__(self, channel: SimulatedChannel, method: _Method, request: Any, timeout: float | None) -> None:
        self._channel, self._method, self._path = channel, method, channel.path
        self.number, self.who, self.method = next(channel.wire.numbers), channel.path.who, method.name
        self._deadline = math.inf if timeout is None else trio.current_time() + timeout
        self._got: deque[bytes] = deque()
        self._failed: CallFailedError | None = None
        self._over = False
        self._change = trio.Event()
        self._told: list[Callable[[Any], None]] = []
        self._scope = trio.CancelScope()
        self._at_server: ServerCall | None = None
        data = method.serialize(request)
        if len(data) > MESSAGE_BYTES:
            self.fail(CallFailedError(grpc.StatusCode.RESOURCE_EXHAUSTED))
        else:
            channel.wire.nursery.start_soon(self._life, data)

    # --- its life ---

    async def _life(self, data: bytes) -> None:
        with self._scope:
            with trio.move_on_at(self._deadline) as late:
                try:
                    await self._talk(data)
                except CallFailedError as err:
                    self.fail(err)
            if late.cancelled_caught:
                self.fail(CallFailedError(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded"))
                self._leave()

    async def _talk(self, data: bytes) -> None:
        connection = await self._channel.connected()
        connection.calls[self] = None
        await self._path.carry(len(data))
        if connection.dead or connection.server.stopped:
            raise CallFailedError(grpc.StatusCode.UNAVAILABLE, "gone")
        wire, path = self._channel.wire, self._path
        wire.passed(self, True, data)
        call = connection.server.begin(self.method, data, self._channel.pem)
        self._at_server = call
        while True:
            while (message := call.take()) is not None:
                await path.carry(len(message))
                self._got.append(message)
                self._changed()
            if call.over:
                break
            call.more = trio.Event()
            await call.more.wait()
        await path.carry(0)
        connection.calls.pop(self, None)
        if (failure := call.failure()) is not None:
            self.fail(failure)
        else:
            self._end()

    def _changed(self) -> None:
        event, self._change = self._change, trio.Event()
        event.set()

    def _end(self) -> None:
        if not self._over:
            self._over = True
            self._changed()
            for tell in self._told:
                tell(self)

    def fail(self, error: CallFailedError) -> None:
        """End it so, unless it is over."""
        if not self._over:
            self._failed = error
            self._end()
            self._scope.cancel()

    def _leave(self) -> None:
        """Tell the server, if it can be reached, that nobody waits for an answer."""
        if self._path.flows.is_set():
            self.cancel_at_server()
            for one in self._path.connections:
                one.calls.pop(self, None)

    def cancel_at_server(self) -> None:
        """Have the handler cancelled."""
        if self._at_server is not None and self._at_server.task is not None:
            self._at_server.task.cancel()

    # --- what stubs give their callers ---

    def add_done_callback(self, tell: Callable[[Any], None]) -> None:
        if self._over:
            tell(self)
        else:
            self._told.append(tell)

    def is_active(self) -> bool:
        return not self._over

    def cancel(self) -> bool:
        return program.in_trio(self._cancelled)

    def _cancelled(self) -> bool:
        if self._over:
            return False
        self.fail(CallFailedError(grpc.StatusCode.CANCELLED, "Locally cancelled by application!"))
        self._leave()
        return True

    def result(self) -> Any:
        """Return the answer of a unary call, once it is over."""
        if not self._over:
            program.wait(self.over)
        if self._failed is not None:
            raise self._failed
        return self._method.deserialize(program.in_trio(self._arrived))

    def _arrived(self) -> bytes:
        data = self._got.popleft()
        if self._at_server is not None:
            self._at_server.was_read(len(data))
        self._channel.wire.passed(self, False, data)
        return data

    async def ready(self) -> None:
        """Return when the next thing can be read without waiting: a message, or the end."""
        while not self._got and not self._over:
            await self._change.wait()

    async def over(self) -> None:
        """Return when it is over."""
        while not self._over:
            await self._change.wait()

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        if not self._got and not self._over:
            program.wait(self.ready)
        if self._failed is not None:  # what came before it is lost, as with gRPC
            raise self._failed
        if self._got:
            return self._method.deserialize(program.in_trio(self._arrived))
        raise StopIteration


@dataclass(frozen=True, slots=True)
class _Method:
    """A stub's method: what a `grpc.UnaryUnaryMultiCallable` or `UnaryStreamMultiCallable` is."""

    channel: SimulatedChannel
    name: str
    serialize: Callable[[Any], bytes]
    deserialize: Callable[[bytes], Any]
    streams: bool

    def __call__(self, request: Any, timeout: float | None = None) -> Any:
        call = self.future(request, timeout)
        if self.streams:
            return call
        program.wait(call.over)
        return call.result()

    def future(self, request: Any, timeout: float | None = None) -> SimulatedCall:
        return program.in_trio(lambda: SimulatedCall(self.channel, self, request, timeout))


class SimulatedChannel:
    """Stands for a `grpc.Channel`; a context manager."""

    def __init__(self, wire: Wire, server: str, path: Path, pem: bytes, keepalive: Keepalive) -> None:
        self.wire, self.path, self.pem = wire, path, pem
        self._server, self._keepalive_s = server, (keepalive.quiet_ms + keepalive.answer_ms) / 1000
        self._connection: _Connection | None = None
        self._dialing = trio.Lock()
        self._closed = False

    def unary_unary(
        self, name: str, request_serializer: Any = bytes, response_deserializer: Any = bytes, **_: object
    ) -> _Method:
        return _Method(self, name, request_serializer, response_deserializer, streams=False)

    def unary_stream(
        self, name: str, request_serializer: Any = bytes, response_deserializer: Any = bytes, **_: object
    ) -> _Method:
        return _Method(self, name, request_serializer, response_deserializer, streams=True)

    async def connected(self) -> _Connection:
        """Return the connection, dialed where there is none. Raises CallFailedError: nobody answers."""
        async with self._dialing:
            if self._connection is None or self._connection.dead:
                self._connection = await self._dial()
            return self._connection

    async def _dial(self) -> _Connection:
        with trio.move_on_after(DIAL_S) as dialed:
            if self.path.up:
                await self.path.carry(4000)  # TCP and TLS
        server = self.wire.servers.get(self._server)
        if self._closed or dialed.cancelled_caught or not self.path.up or server is None:
            raise CallFailedError(grpc.StatusCode.UNAVAILABLE, "failed to connect")
        connection = _Connection(self.path, server)
        self.wire.nursery.start_soon(self._keep_alive, connection)
        return connection

    async def _keep_alive(self, connection: _Connection) -> None:
        while not connection.dead:
            await self.path.stalls.wait()
            with trio.move_on_after(self._keepalive_s) as silent:
                await self.path.flows.wait()
            if silent.cancelled_caught:
                connection.lost("keepalive watchdog timeout")
                with trio.move_on_after(SERVER_KEEPALIVE_S - self._keepalive_s):
                    await self.path.flows.wait()  # then the server is answered that nobody knows this connection
                connection.hung_up()

    def close(self) -> None:
        program.in_trio(self._close)

    def _close(self) -> None:
        self._closed = True
        if self._connection is not None and not self._connection.dead:
            if self.path.flows.is_set():
                self._connection.broken("Channel closed!")
            else:
                self._connection.lost("Channel closed!")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass(eq=False)
class Wire:
    """All channels and servers. `loop`: of the server that is started next; `name_of`: the member of a certificate."""

    nursery: trio.Nursery
    name_of: Callable[[bytes], str] = lambda pem: ""
    on_passed: Callable[[Passed], None] = lambda passed: None
    loop: VirtualLoop = field(default_factory=VirtualLoop)
    servers: dict[str, SimulatedServer] = field(default_factory=dict)
    paths: dict[str, Path] = field(default_factory=dict)
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def server(self, *, interceptors: Sequence[Any] = (), options: Sequence[tuple[str, int]] = ()) -> SimulatedServer:
        """Stand for `grpc.aio.server`."""
        return SimulatedServer(self, interceptors, options)

    def open_channel(
        self,
        server: str,
        ca: bytes,  # TLS is not simulated
        key: bytes | None = None,  # as above
        certificate: bytes | None = None,
        keepalive: Keepalive = DEFAULT,
    ) -> SimulatedChannel:
        """Stand for `protos.channel.open_channel`."""
        pem = certificate or b""
        return SimulatedChannel(self, server, self.path(self.name_of(pem)), pem, keepalive)

    def path(self, who: str) -> Path:
        """Return the way of a member."""
        return self.paths.setdefault(who, Path(who))

    def kill(self, servers: Sequence[SimulatedServer]) -> None:
        """Let the process of these servers die: the kernel resets its connections."""
        for server in servers:
            server.closed()
        for path in self.paths.values():
            for connection in list(path.connections):
                if connection.server in servers:
                    connection.lost("Connection reset by peer")
        for server in servers:
            server.calls.clear()

    def passed(self, call: SimulatedCall, to_server: bool, data: bytes) -> None:
        """Take note of a message that arrived."""
        self.on_passed(Passed(trio.current_time(), call.number, call.who, call.method, to_server, data))
