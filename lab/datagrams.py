"""UDP sockets on loopback, and the memory of answers by which a server meets retransmissions."""

from __future__ import annotations

import socket
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

import trio

RECEIVE_BUFFER_BYTES: Final = 4 * 1024 * 1024
DATAGRAM_BYTES_MAX: Final = 65535
KEEP_S: Final = 5.0  # FreeRADIUS' cleanup_delay
KEEP_MAX: Final = 65536

Peer = tuple[str, int]
Key = tuple[str, int, int, bytes]


async def bound_socket(host: str, port: int = 0) -> trio.socket.SocketType:
    """Return a UDP socket bound to `host` on a free port (or `port`)."""
    udp = trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    # A whole network logs in at once here: ask for room, the kernel gives what it allows
    udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
    await udp.bind((host, port))
    return udp


def port_of(udp: trio.socket.SocketType) -> int:
    """The port that the socket is bound to."""
    return int(udp.getsockname()[1])


@dataclass(slots=True)
class Answered:
    """Requests seen, by source address, source port, identifier and authenticator, and the answer once there is one.

    RFC 2865 section 2.5, RFC 5080 section 2.2.2: a duplicate gets the very same answer, or silence while the first is
    being worked on.
    """

    keep_s: float = KEEP_S
    _seen: OrderedDict[Key, tuple[float, bytes]] = field(default_factory=OrderedDict)

    def first(self, key: Key, now: float) -> bool:
        """Remember a request; return False if it was known already."""
        while self._seen:
            oldest = next(iter(self._seen))
            if len(self._seen) < KEEP_MAX and self._seen[oldest][0] + self.keep_s > now:
                break
            del self._seen[oldest]
        if key in self._seen:
            return False
        self._seen[key] = (now, b"")
        return True

    def keep(self, key: Key, answer: bytes) -> None:
        """Remember the answer of a noted request."""
        if key in self._seen:
            self._seen[key] = (self._seen[key][0], answer)

    def forget(self, key: Key) -> None:
        """Drop a noted request that could not be worked on: the next copy is a first one again."""
        self._seen.pop(key, None)

    def answer(self, key: Key) -> bytes:
        """The answer of a noted request, empty when there is none yet."""
        return self._seen[key][1]
