"""The server's side of the wire without gRPC: it stands for a `grpc.aio.Server`, under the product's own servicers."""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn, Protocol

import grpc
import grpc.aio
import trio

from protos.limits import MESSAGE_BYTES
from tests.sim.cloud.virtual_loop import VirtualLoop

WINDOW_BYTES: Final = 65_536
"""What a stream holds for a reader that does not read, before its writer waits."""

Metadata = tuple[tuple[str, str | bytes], ...]


class CallFailedError(grpc.RpcError):
    """How a call ended: as gRPC's own, which stubs raise."""

    def __init__(self, code: grpc.StatusCode, details: str = "", trailing: Metadata = ()) -> None:
        super().__init__()
        self._code, self._details, self._trailing = code, details, trailing

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str:
        return self._details

    def trailing_metadata(self) -> Metadata:
        return self._trailing


class ServerCall:
    """A call at the server: the `context` of its handler, and what its client is to be told."""

    def __init__(self, loop: VirtualLoop, pem: bytes) -> None:
        self._loop, self._pem = loop, pem
        self._waiting: deque[bytes] = deque()
        self._held = 0
        self._room: asyncio.Future[None] | None = None
        self._code: grpc.StatusCode | None = None
        self._details, self._trailing = "", ()  # type: tuple[str, Metadata]
        self.task: asyncio.Task[None] | None = None
        self.more = trio.Event()
        self.over = False

    # --- the context ---

    def auth_context(self) -> Mapping[str, Sequence[bytes]]:
        return {"x509_pem_cert": [self._pem]} if self._pem else {}

    def code(self) -> int:
        """Return the status' number, as gRPC's own context does."""
        return 0 if self._code is None else self._code.value[0]

    async def abort(self, code: grpc.StatusCode, details: str = "", trailing_metadata: Metadata = ()) -> NoReturn:
        self._code, self._details, self._trailing = code, details, trailing_metadata
        raise grpc.aio.AbortError("aborted")

    async def write(self, message: Any) -> None:
        """Give one message of a stream to the connection; waits while the client reads nothing."""
        while self._held >= WINDOW_BYTES:
            self._room = self._loop.create_future()
            await self._room
        self.put(message.SerializeToString())

    # --- the connection's side ---

    def put(self, data: bytes) -> None:
        if len(data) > MESSAGE_BYTES:
            self._code = grpc.StatusCode.RESOURCE_EXHAUSTED
            raise grpc.aio.AbortError("too large")
        self._waiting.append(data)
        self._held += len(data)
        self.more.set()

    def take(self) -> bytes | None:
        """Return the next message that leaves; None: there is none now."""
        return self._waiting.popleft() if self._waiting else None

    def was_read(self, size_bytes: int) -> None:
        """Take note that the client read so much: there is room for more."""
        self._held -= size_bytes
        if self._room is not None and not self._room.done() and self._held < WINDOW_BYTES:
            self._room.set_result(None)

    def end(self, error: BaseException | None) -> None:
        """Take note of how the handler ended."""
        if error is not None and self._code is None:
            self._code = grpc.StatusCode.UNKNOWN
        self.over = True
        self.more.set()

    def failure(self) -> CallFailedError | None:
        """Return how it failed, once it is over; None: it did not."""
        return None if self._code is None else CallFailedError(self._code, self._details, self._trailing)


class ServerWire(Protocol):
    """What a server asks of its wire."""

    loop: VirtualLoop
    servers: dict[str, SimulatedServer]


@dataclass(frozen=True, slots=True)
class _Details:
    method: str
    invocation_metadata: Metadata = (("user-agent", "simulated"),)


class SimulatedServer:
    """Stands for a `grpc.aio.Server`; `wire` gives it what comes in."""

    def __init__(self, wire: ServerWire, interceptors: Sequence[Any], options: Sequence[tuple[str, int]]) -> None:
        self._wire, self._interceptors = wire, tuple(interceptors)
        self._largest = dict(options).get("grpc.max_receive_message_length", MESSAGE_BYTES)
        self._handlers: list[grpc.GenericRpcHandler] = []
        self._addresses: list[str] = []
        self.loop = wire.loop
        self.context = contextvars.copy_context()
        self.calls: dict[ServerCall, None] = {}
        self.stopped = False

    def add_generic_rpc_handlers(self, handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        self._handlers += handlers

    def add_registered_method_handlers(self, service: str, handlers: object) -> None:
        """Do nothing: the generic handlers know them."""

    def add_secure_port(self, address: str, credentials: object) -> int:  # gRPC's signature
        self._addresses.append(address)
        return int(address.rpartition(":")[2])

    async def start(self) -> None:
        self._wire.servers |= dict.fromkeys(self._addresses, self)

    async def stop(self, grace: float | None) -> None:
        self.closed()
        loop = asyncio.get_running_loop()
        ends = loop.time() + (grace or 0)
        while self.calls and loop.time() < ends:  # noqa: ASYNC110  # calls end in many places
            await asyncio.sleep(0.05)
        for call in list(self.calls):
            if call.task is not None:
                call.task.cancel()

    def closed(self) -> None:
        """Take no connection any more."""
        self.stopped = True
        for address in self._addresses:
            if self._wire.servers.get(address) is self:
                del self._wire.servers[address]

    def begin(self, method: str, data: bytes, pem: bytes) -> ServerCall:
        """Begin a call, as its request has arrived."""
        call = ServerCall(self.loop, pem)
        self.calls[call] = None
        call.task = self.loop.create_task(self._handle(call, method, data), context=self.context.copy())
        call.task.add_done_callback(lambda task: self._over(call, task))
        return call

    def _over(self, call: ServerCall, task: asyncio.Task[None]) -> None:
        self.calls.pop(call, None)
        if task.cancelled():
            call._code = call._code or grpc.StatusCode.CANCELLED
            call.end(None)
        else:
            call.end(task.exception())

    async def _handle(self, call: ServerCall, method: str, data: bytes) -> None:
        if len(data) > self._largest:
            await call.abort(grpc.StatusCode.RESOURCE_EXHAUSTED)

        async def found(details: Any) -> Any:
            for one in self._handlers:
                if (handler := one.service(details)) is not None:
                    return handler
            return None

        ask = found
        for interceptor in reversed(self._interceptors):
            ask = _intercepted(interceptor, ask)
        handler = await ask(_Details(method))
        if handler is None:
            await call.abort(grpc.StatusCode.UNIMPLEMENTED, "Method not found!")
        try:
            request = handler.request_deserializer(data)
        except Exception:  # noqa: BLE001  # as gRPC does
            await call.abort(grpc.StatusCode.UNKNOWN)
        if handler.response_streaming:
            await handler.unary_stream(request, call)
        else:
            call.put(handler.response_serializer(await handler.unary_unary(request, call)))


def _intercepted(interceptor: Any, ask: Any) -> Any:
    async def asked(details: Any) -> Any:
        return await interceptor.intercept_service(ask, details)

    return asked
