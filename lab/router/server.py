"""The router on the network: TCP or TLS on loopback, its timers on trio's clock.

`serve` runs until cancelled; several may serve one router, as `api` and `api-ssl` do. `RouterThread` runs one for
clients that block.
"""

from __future__ import annotations

import math
import queue
import ssl
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Final, TypeVar

import trio

from lab.router.certificate import Certificate, make_certificate
from lab.router.device import Router
from lab.router.session import ApiSession

_HANDSHAKE_S: Final = 10.0
_CHUNK_BYTES: Final = 65536
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a router listens. `fingerprint`: of its certificate, 64 hex digits; empty without TLS."""

    host: str
    port: int
    fingerprint: str = ""


class _Wake:
    """Something changed: whoever sleeps looks again."""

    def __init__(self) -> None:
        self._event = trio.Event()

    def __call__(self) -> None:
        self._event.set()

    async def wait(self, at_most_s: float) -> None:
        with trio.move_on_after(at_most_s):
            await self._event.wait()
        self._event = trio.Event()


def _delay(due: float | None, router: Router) -> float:
    return math.inf if due is None else max(0.0, due - router.now())


async def pump(router: Router) -> None:
    """Call the router's timers when they are due, until cancelled; `serve` does."""
    wake = _Wake()
    router.on_change.append(wake)
    try:
        while True:
            router.handle_timer()
            await wake.wait(_delay(router.get_timer(), router))
    finally:
        router.on_change.remove(wake)


async def _send(stream: trio.abc.Stream, session: ApiSession, router: Router, wake: _Wake) -> None:
    while True:
        session.handle_timer()
        data = session.take_output()
        if data:
            try:
                await stream.send_all(data)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return  # the client is gone
        elif session.closed:
            return
        else:
            await wake.wait(_delay(session.get_timer(), router))


async def _receive(stream: trio.abc.Stream, session: ApiSession) -> None:
    with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        while data := await stream.receive_some(_CHUNK_BYTES):
            session.receive_untrusted(bytes(data))
            if session.closed:
                return
    session.close()


async def _talk(stream: trio.abc.Stream, router: Router) -> None:
    """Serve one client until either side ends it."""
    if not router.connect():
        await trio.aclose_forcefully(stream)
        return
    client, here = _ends(stream)
    session = ApiSession(router, client[0])
    tracked = router.flows.own(*client, *here)
    wake = _Wake()
    session.on_output = wake
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_receive, stream, session)
            await _send(stream, session, router, wake)
            nursery.cancel_scope.cancel()
    finally:
        session.close()
        router.flows.close(tracked)
        await trio.aclose_forcefully(stream)


def _ends(stream: trio.abc.Stream) -> tuple[tuple[str, int], tuple[str, int]]:
    """Address and port of both ends of a connection: the client's, and the router's."""
    inner = stream.transport_stream if isinstance(stream, trio.SSLStream) else stream
    if not isinstance(inner, trio.SocketStream):
        raise TypeError(f"expected a socket, got {type(inner).__name__}")
    client, here = inner.socket.getpeername(), inner.socket.getsockname()
    return (client[0], client[1]), (here[0], here[1])


async def _accept(stream: trio.SocketStream, router: Router, context: ssl.SSLContext | None) -> None:
    if context is None:
        await _talk(stream, router)
        return
    secured = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
    try:
        with trio.fail_after(_HANDSHAKE_S):
            await secured.do_handshake()
    except (trio.BrokenResourceError, trio.TooSlowError, OSError):
        await trio.aclose_forcefully(stream)
        return
    await _talk(secured, router)


async def serve(
    router: Router,
    *,
    tls: bool = False,
    users: Sequence[tuple[str, str, str]] = (),
    host: str = "127.0.0.1",
    port: int = 0,
    certificate: Certificate | None = None,
    task_status: trio.TaskStatus[Endpoint] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve a router's API until cancelled. Under trio.

    Args:
        router: the router.
        tls: speak TLS, with `certificate` or one made now.
        users: (name, password, group) to be added first.
        host: the address to listen on.
        port: 0 for any free one.
        certificate: the router's own.
        task_status: gets the endpoint once clients may connect.
    """
    for name, password, group in users:
        router.add("/user", name=name, password=password, group=group)
    context, fingerprint = None, ""
    if tls:
        own = certificate or make_certificate(router.rows("/system/identity")[0]["name"])
        context, fingerprint = own.server_context(), own.fingerprint
    listeners = await trio.open_tcp_listeners(port, host=host)
    bound = listeners[0].socket.getsockname()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pump, router)

        async def handler(stream: trio.SocketStream) -> None:
            await _accept(stream, router, context)

        task_status.started(Endpoint(bound[0], bound[1], fingerprint))
        await trio.serve_listeners(handler, listeners)


class RouterThread:
    """A served router in a thread of its own, for clients that block. A context manager that gives the endpoint.

    The router belongs to that thread: use `call` to touch it while the thread runs.
    """

    def __init__(self, router: Router, *, tls: bool = False, users: Sequence[tuple[str, str, str]] = ()) -> None:
        self.router = router
        self._tls = tls
        self._users = users
        self._started: queue.Queue[Endpoint | BaseException] = queue.Queue()
        self._thread = threading.Thread(target=self._run, name="lab-router", daemon=True)
        self._token: trio.lowlevel.TrioToken | None = None
        self._scope = trio.CancelScope()

    def _run(self) -> None:
        try:
            trio.run(self._main)
        except BaseException as err:  # noqa: BLE001 # handed to the thread that waits in __enter__
            self._started.put(err)

    async def _main(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        with self._scope:
            async with trio.open_nursery() as nursery:

                async def start(task_status: trio.TaskStatus[Endpoint] = trio.TASK_STATUS_IGNORED) -> None:
                    await serve(self.router, tls=self._tls, users=self._users, task_status=task_status)

                self._started.put(await nursery.start(start))

    def call(self, function: Callable[..., _T], *args: object) -> _T:
        """Call a function in the router's thread and return its result."""
        return trio.from_thread.run_sync(function, *args, trio_token=self._token)

    def __enter__(self) -> Endpoint:
        self._thread.start()
        started = self._started.get(timeout=30)
        if isinstance(started, BaseException):
            raise started
        return started

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._token is not None and self._thread.is_alive():
            with suppress(trio.RunFinishedError):
                self._token.run_sync_soon(self._scope.cancel)
        self._thread.join(timeout=30)
