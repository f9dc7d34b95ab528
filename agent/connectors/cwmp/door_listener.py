"""The door of the ACS: connections that wait in the kernel's queue are taken many at a time, in the order they came.

Whoever connects stands in that one queue, attackers and accepted CPE alike. One connection in a pass of the event loop
is some 400 a second: 200 attackers then make everybody wait for seconds. So all that wait are taken in one pass, up to
`limits.ARRIVALS_AT_ONCE`, and whoever is not let in is closed right there: no task, no TLS, no HTTP, some 20 µs.
"""

from __future__ import annotations

import errno
import logging
import socket
from collections.abc import Awaitable, Callable
from typing import Final, NoReturn, TypeVar

import trio

from agent.connectors.cwmp import limits

_log = logging.getLogger(__name__)
_T = TypeVar("_T")
_FULL: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})
"""Errors of accept(2): no file descriptor or memory is left for a connection."""
_BROKEN: Final = frozenset({errno.EBADF, errno.EINVAL, errno.ENOTSOCK, errno.EOPNOTSUPP})
"""Errors of accept(2): the listening socket is unusable. Every other error concerns one connection, which is lost."""
_FULL_S: Final = 0.1


def listening(listener: trio.SocketListener) -> socket.socket:
    """Return the socket of a listener, which is the caller's from now on."""
    sock = socket.socket(fileno=listener.socket.detach())
    sock.setblocking(False)
    return sock


async def take_connections(
    sock: socket.socket,
    let_in: Callable[[str], _T | None],
    serve: Callable[[trio.SocketStream, _T], Awaitable[None]],
    nursery: trio.Nursery,
) -> NoReturn:
    """Take connections until cancelled.

    Args:
        sock: listens, and does not block.
        let_in: peer's address -> the argument of `serve` for it; None: its connection is closed without a word.
        serve: has a task of its own for each connection that is let in; closes it.
        nursery: of these tasks.

    Raises:
        OSError: the socket does not listen any more.
    """
    while True:
        await trio.lowlevel.wait_readable(sock)
        room = limits.LET_IN_AT_ONCE
        for _ in range(limits.ARRIVALS_AT_ONCE):
            try:
                taken, peer = sock.accept()
            except BlockingIOError:
                break
            except OSError as err:
                if err.errno in _BROKEN:
                    raise
                if err.errno in _FULL:
                    _log.error("acs-no-room", extra={"reason": errno.errorcode[err.errno]})
                    await trio.sleep(_FULL_S)
                    break
                continue
            found = let_in(str(peer[0]))
            if found is None:
                taken.close()
                continue
            taken.setblocking(False)
            room -= 1
            nursery.start_soon(serve, trio.SocketStream(trio.socket.from_stdlib_socket(taken)), found)
            if not room:
                break
