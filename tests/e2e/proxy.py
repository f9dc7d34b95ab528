"""A TCP way to a server, beside the network that both ends believe in: it can be cut, stand still, and come back."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass

import trio


@dataclass(eq=False)
class Link:
    """A connection through a proxy: its two ends. `doomed`: it ends with the next bytes that the server sends."""

    client: trio.SocketStream
    server: trio.SocketStream
    doomed: bool = False


class Proxy:
    """A TCP way to a server, wherever that listens now: it can be cut, freeze, and come back."""

    def __init__(self, to: Callable[[], tuple[str, int]]) -> None:
        self._to = to
        self._scopes: set[trio.CancelScope] = set()
        self._flows = trio.Event()
        self._flows.set()
        self._cut = False
        self.accepted = 0
        self.port = 0

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def cut(self) -> None:
        """Break every connection; new ones end at once."""
        self._cut = True
        for scope in self._scopes:
            scope.cancel()

    def freeze(self) -> None:
        """Let every connection stand and nothing pass, as when a firewall forgot it."""
        if self._flows.is_set():
            self._flows = trio.Event()

    def mend(self) -> None:
        """Let everything pass again."""
        self._cut = False
        self._flows.set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.port = listener.socket.getsockname()[1]
        task_status.started()
        await trio.serve_listeners(self._serve, [listener])

    async def carry(self, link: Link, data: bytes, *, up: bool) -> bool:
        """Carry bytes to the server (`up`) or from it; return whether the connection goes on."""
        await (link.server if up else link.client).send_all(data)
        return True

    async def _serve(self, client: trio.SocketStream) -> None:
        self.accepted += 1
        with trio.CancelScope() as scope:
            self._scopes.add(scope)
            try:
                async with client:
                    if not self._cut:
                        await self._join(client)
            except (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
                pass  # the end of either side ends both
            finally:
                self._scopes.discard(scope)

    async def _join(self, client: trio.SocketStream) -> None:
        host, port = self._to()
        async with await trio.open_tcp_stream(host, port) as server, trio.open_nursery() as nursery:
            link = Link(client, server)

            async def pump(source: trio.SocketStream, *, up: bool) -> None:
                with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                    async for data in source:
                        await self._flows.wait()
                        if not await self.carry(link, bytes(data), up=up):
                            break
                nursery.cancel_scope.cancel()

            nursery.start_soon(lambda: pump(client, up=True))
            nursery.start_soon(lambda: pump(server, up=False))
