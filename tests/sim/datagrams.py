"""UDP on the simulated network."""

from __future__ import annotations

import errno
import socket as stdlib
from collections import deque
from typing import Any, Final

import trio

from tests.sim.sockets import NOWHERE, SimulatedSocket, fault
from tests.sim.weather import Place

DATAGRAM_BYTES: Final = 65_507
BUFFER_BYTES: Final = 212_992
"""The room for datagrams that nobody has read yet: Linux' `net.core.rmem_default`."""
OVERHEAD_BYTES: Final = 768
"""What a small datagram takes of it beside its content, about as Linux counts."""


class DatagramSocket(SimulatedSocket):
    """A UDP socket: what arrives while its buffer is full is lost, and where nobody listens, the sender is told."""

    kind = "udp"
    number_of_type = stdlib.SOCK_DGRAM

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._inbox: deque[tuple[bytes, Place]] = deque()

    async def connect(self, address: Any) -> None:
        await trio.lowlevel.checkpoint()
        self._check_open()
        self._check_route()
        target = self.network.resolve(address)
        if self.place == NOWHERE:
            self.place = self.network.bind_for(self, target)
        self.other = target

    async def send(self, data: Any, flags: int = 0) -> int:
        await trio.lowlevel.checkpoint()
        if self.other == NOWHERE:
            self._check_open()
            raise fault(errno.EDESTADDRREQ)
        return self._transmit(bytes(data), self.other)

    async def sendto(self, data: Any, *rest: Any) -> int:
        await trio.lowlevel.checkpoint()
        return self._transmit(bytes(data), self.network.resolve(rest[-1]))

    def _transmit(self, data: bytes, target: Place) -> int:
        self._check_open()
        self._raise_error()
        if len(data) > DATAGRAM_BYTES:
            raise fault(errno.EMSGSIZE)
        self._check_route()
        if self.place == NOWHERE:
            self.place = self.network.bind(self, ("", 0))
        source = self._source(target)
        self.network.on_datagram(self, target, data)
        for delay_s in self.network.fates(self.kind, source, target, len(data)):
            self.network.after(delay_s, lambda: self._arrive(data, source, target))
        return len(data)

    def _source(self, target: Place) -> Place:
        host, port = self.place
        if host in ("0.0.0.0", "::"):
            host = "127.0.0.1" if target[0].startswith("127.") else target[0]
        return host, port

    def _arrive(self, data: bytes, source: Place, target: Place) -> None:
        found = [s for s in self.network.at(self.kind, target) if isinstance(s, DatagramSocket)]
        # One that is connected to the sender goes before one that is not
        for sock in sorted(found, key=lambda s: s.other != source):
            if sock.is_unplugged:
                return
            if sock.other in (NOWHERE, source):
                sock.receive(data, source)
                return
        for delay_s in self.network.fates("icmp", target, source, 0):
            self.network.after(delay_s, lambda: self._refused(target))

    def receive(self, data: bytes, source: Place) -> None:
        """Take a datagram in, or lose it where too many wait."""
        if sum(len(d) + OVERHEAD_BYTES for d, _ in self._inbox) < BUFFER_BYTES:
            self._inbox.append((data, source))
            self.readable.wake()

    def _refused(self, target: Place) -> None:
        """Hear by ICMP that nobody listens; only a connected socket is told."""
        if self.other == target and not self.closed:
            self.error = errno.ECONNREFUSED
            self.readable.wake()

    async def recv(self, buflen: int, flags: int = 0) -> bytes:
        return (await self.recvfrom(buflen, flags))[0]

    async def recvfrom(self, buflen: int, flags: int = 0) -> tuple[bytes, Any]:
        await trio.lowlevel.checkpoint_if_cancelled()
        while True:
            self._check_open()
            self._raise_error()
            if self._inbox:
                break
            await self._wait(self.readable)
        data, source = self._inbox.popleft()
        await trio.lowlevel.cancel_shielded_checkpoint()
        return data[:buflen], self._address(source)

    def is_readable(self) -> bool:
        return bool(self._inbox or self.error)

    async def wait_writable(self) -> None:
        await trio.lowlevel.checkpoint()
