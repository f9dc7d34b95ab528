"""Lets code take a simulated listening socket over by its descriptor, as the ACS' door does.

The kernel's `accept` takes many connections in one pass of the event loop; trio's own takes one, so the door detaches
the socket and calls the kernel. Here it gets a stand-in: `accept` that does not wait, and trio's functions for
sockets of the system that know it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self
from unittest import mock

import trio

from tests.sim.streams import StreamSocket


class ListeningSocket:
    """A listening socket of the simulated network that does not block, as `socket.socket` is used for one."""

    def __init__(self, sock: StreamSocket) -> None:
        self.sock = sock

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def getsockname(self) -> Any:
        """Return where it listens."""
        return self.sock.getsockname()

    def accept(self) -> tuple[StreamSocket, Any]:
        """Return a connection that waits, and its peer. Raises BlockingIOError: none does. OSError: it is closed."""
        return self.sock.accept_now()


def listening(listener: trio.SocketListener) -> ListeningSocket:
    """Return the stand-in for a listener's socket."""
    assert isinstance(listener.socket, StreamSocket)
    return ListeningSocket(listener.socket)


@contextmanager
def taken_over(where: str) -> Iterator[None]:
    """Let a function give stand-ins for the block, by its place (`module.name`); it takes a listener's socket over."""
    wait_readable, from_stdlib = trio.lowlevel.wait_readable, trio.socket.from_stdlib_socket

    async def wait(found: Any) -> None:
        await (found.sock.wait_connection() if isinstance(found, ListeningSocket) else wait_readable(found))

    def wrap(sock: Any) -> Any:
        return sock if isinstance(sock, StreamSocket) else from_stdlib(sock)

    with (
        mock.patch(where, listening),
        mock.patch.object(trio.lowlevel, "wait_readable", wait),
        mock.patch.object(trio.socket, "from_stdlib_socket", wrap),
    ):
        yield
