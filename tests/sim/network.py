"""A network in memory, in place of the kernel's: `async with open_network(seed)` gives every trio socket to it.

* It is one machine's: all addresses of `networks` are local, all others lead nowhere. Names are those of `names`.
* Time is trio's: with a clock that jumps, hours of retransmission take no time. Without weather all arrives at once,
  as on the kernel's loopback.
* Only sockets that trio makes are simulated; one made from a descriptor, and a Unix socket, is the kernel's.
* It behaves as Linux: `test_network.py` runs one table of cases on both.
"""

from __future__ import annotations

import errno
import heapq
import os
import socket as stdlib
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from ipaddress import ip_address, ip_network
from typing import Any, Final

import trio
from trio._core._run import GLOBAL_RUN_CONTEXT

from tests.sim.datagrams import DatagramSocket
from tests.sim.jump import JumpingClock
from tests.sim.sockets import SimulatedSocket, SockT
from tests.sim.streams import StreamSocket
from tests.sim.weather import Air, Place

LOOPBACK: Final = ("127.0.0.0/8", "::1/128")
EPHEMERAL: Final = (32768, 60999)
ANY: Final = ("0.0.0.0", "::")


class Network(trio.abc.SocketFactory, trio.abc.HostnameResolver):
    """The network. `air` is its weather, to be changed at any time; `trace` is told each event on it.

    Without a clock that lets things happen, `run` must be running where the weather delays anything, or where anything
    is lost.
    """

    def __init__(self, seed: int = 0, networks: Iterable[str] = LOOPBACK, clock: JumpingClock | None = None) -> None:
        self._clock = clock
        self.air = Air(seed)
        self.names: dict[str, str] = {"localhost": "127.0.0.1"}
        self.trace: Callable[[str], None] = lambda text: None
        self.on_datagram: Callable[[SimulatedSocket, Place, bytes], None] = lambda sock, target, data: None
        """Told each datagram at the instant in which it is sent, whatever becomes of it."""
        self.unplugged = ""
        """The machine that has no network now, by its name; "": each has one."""
        self._networks = [ip_network(text) for text in networks]
        self._local: dict[str, bool] = {}
        """Answers of `is_local`, by address: each packet asks for one."""
        self._bound: dict[tuple[str, int], list[SimulatedSocket]] = {}
        self._alive: dict[SimulatedSocket, None] = {}
        self._next_port = EPHEMERAL[0]
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._number = 0
        self._earlier = trio.Event()

    # --- what trio asks -----------------------------------------------------------------------------------------------

    def socket(self, family: int = stdlib.AF_INET, type: int = stdlib.SOCK_STREAM, proto: int = 0) -> SimulatedSocket:  # noqa: A002  trio's name
        """Return a new socket. Raises OSError for what is not simulated."""
        if family not in (stdlib.AF_INET, stdlib.AF_INET6):
            raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))
        made = DatagramSocket if type == stdlib.SOCK_DGRAM else StreamSocket
        return self.join(made(self, stdlib.AddressFamily(family), proto))

    async def getaddrinfo(
        self,
        host: bytes | None,
        port: bytes | str | int | None,
        family: int = 0,
        type: int = 0,  # noqa: A002  trio's name
        proto: int = 0,
        flags: int = 0,
    ) -> Any:
        """Return the addresses of a name, as the system would. Raises socket.gaierror for one that is not known."""
        await trio.lowlevel.checkpoint()
        name = (host or b"").decode()
        if name not in self.names:
            raise stdlib.gaierror(stdlib.EAI_NONAME, "Name or service not known")
        return stdlib.getaddrinfo(self.names[name], port, family, type, proto, flags | stdlib.AI_NUMERICHOST)

    async def getnameinfo(self, sockaddr: Any, flags: int) -> tuple[str, str]:
        """Return address and port as they are: no address has a name."""
        await trio.lowlevel.checkpoint()
        return str(sockaddr[0]), str(sockaddr[1])

    # --- addresses ----------------------------------------------------------------------------------------------------

    def is_local(self, host: str) -> bool:
        """Tell whether an address is somebody's here."""
        if (known := self._local.get(host)) is None:
            address = ip_address(host)
            found = (address in network for network in self._networks if network.version == address.version)
            known = self._local[host] = any(found)
        return known

    def resolve(self, address: Any) -> Place:
        """Return a socket's address as host and port."""
        host, port = str(address[0]), int(address[1])
        return self.names.get(host, host), port

    def bind(self, sock: SimulatedSocket, place: Place) -> Place:
        """Give a place to a socket. Raises OSError where it is taken, or nobody's here."""
        host, port = place
        host = host or ANY[sock.family == stdlib.AF_INET6]
        if host not in ANY and not self.is_local(host):
            raise OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
        if not port:
            port = self._free_port(sock, host)
        elif any(not sock.shares(other) for other in self._at(sock, host, port)):
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
        self._bound.setdefault((sock.kind, port), []).append(sock)
        return host, port

    def bind_for(self, sock: SimulatedSocket, target: Place) -> Place:
        """Give a free port to a socket that is about to send, on the address from which the system would."""
        host = "127.0.0.1" if ip_address(target[0]).is_loopback and ip_address(target[0]).version == 4 else target[0]
        return self.bind(sock, (host if self.is_local(host) else ANY[sock.family == stdlib.AF_INET6], 0))

    def _free_port(self, sock: SimulatedSocket, host: str) -> int:
        least, most = EPHEMERAL
        for _ in range(most - least + 1):
            port = self._next_port
            self._next_port = least if port == most else port + 1
            if not self._at(sock, host, port):
                return port
        raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))

    def _at(self, sock: SimulatedSocket, host: str, port: int) -> list[SimulatedSocket]:
        """Return the sockets whose place is that one, or contains it, or is in it."""
        found = self._bound.get((sock.kind, port), ())
        return [
            other
            for other in found
            if other is not sock and (other.place[0] == host or host in ANY or other.place[0] in ANY)
        ]

    def join(self, sock: SockT) -> SockT:
        """Take note of a socket that begins; return it."""
        self._alive[sock] = None
        return sock

    def release(self, sock: SimulatedSocket) -> None:
        """Take a socket's place back: it ended."""
        self._alive.pop(sock, None)
        key = sock.kind, sock.place[1]
        if sock in (found := self._bound.get(key, [])):
            found.remove(sock)
            if not found:
                del self._bound[key]

    def at(self, kind: str, place: Place) -> list[SimulatedSocket]:
        """Return the sockets to which a packet may be handed, those of that very address first."""
        found = [s for s in self._bound.get((kind, place[1]), ()) if s.place[0] in (place[0], *ANY)]
        return sorted(found, key=lambda s: s.place[0] in ANY)

    # --- packets ------------------------------------------------------------------------------------------------------

    def fates(self, kind: str, source: Place, target: Place, size: int) -> tuple[float, ...]:
        """Return after how many seconds a packet arrives; never: ()."""
        found = self.air.fates(kind, source, target, size, trio.current_time()) if self.is_local(target[0]) else ()
        self.trace(f"{kind} {source[0]}:{source[1]} > {target[0]}:{target[1]} {size} B {_told(found)}")
        return found

    def after(self, delay_s: float, act: Callable[[], None]) -> None:
        """Let something happen, at once where there is no delay."""
        if delay_s <= 0:
            act()
            return
        if self._clock is not None:
            self._clock.at(trio.current_time() + delay_s, act)
            return
        self._number += 1
        heapq.heappush(self._events, (trio.current_time() + delay_s, self._number, act))
        if self._events[0][1] == self._number:
            self._earlier.set()

    async def run(self) -> None:
        """Carry what is delayed, until cancelled."""
        while True:
            self._earlier = trio.Event()
            with trio.move_on_at(self._events[0][0] if self._events else float("inf")):
                await self._earlier.wait()
            while self._events and self._events[0][0] <= trio.current_time():
                heapq.heappop(self._events)[2]()

    # --- what happens to machines -------------------------------------------------------------------------------------

    def power_cut(self, host: str, port: int = 0) -> int:
        """Let each socket of an address (or of one port on it) be gone without a word; return how many.

        A peer learns of it only by what it sends: then the address answers with a reset, as a machine that is up again.
        """
        gone = [sock for sock in self._alive if sock.place[0] == host and port in (0, sock.place[1])]
        for sock in gone:
            sock.vanish()
        return len(gone)

    def forget_connections(self, host: str) -> int:
        """Let each connection of an address be gone as by `power_cut`, and those who listen stay; return how many."""
        gone = [sock for sock in self._alive if sock.kind == "tcp" and sock.place[0] == host and sock.other[1]]
        for sock in gone:
            sock.vanish()
        return len(gone)


def _told(fates: tuple[float, ...]) -> str:
    return "lost" if not fates else " ".join(f"+{delay:.6f}" for delay in fates)


@asynccontextmanager
async def open_network(
    seed: int = 0, networks: Iterable[str] = LOOPBACK, *, by_clock: bool = True
) -> AsyncIterator[Network]:
    """Give every socket that trio makes to a network in memory, for the block.

    `by_clock`: a clock that jumps carries what is delayed; else a task does, as with any other clock.
    """
    clock = GLOBAL_RUN_CONTEXT.runner.clock
    network = Network(seed, networks, clock if by_clock and isinstance(clock, JumpingClock) else None)
    sockets, names = trio.socket.set_custom_socket_factory(network), trio.socket.set_custom_hostname_resolver(network)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(network.run)
            yield network
            nursery.cancel_scope.cancel()
    finally:
        trio.socket.set_custom_socket_factory(sockets)
        trio.socket.set_custom_hostname_resolver(names)
