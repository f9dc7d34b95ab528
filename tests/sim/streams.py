"""TCP on the simulated network: what is lost is sent again, in the times of Linux, so that a loss is a delay.

Not modeled: congestion, keepalives, TIME_WAIT, and the order in which two tasks of one socket are served.
"""

from __future__ import annotations

import errno
import os
import socket as stdlib
import struct
from collections import deque
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, Final

import trio

from tests.sim.sockets import CLIENT, NOWHERE, Process, SimulatedSocket, fault
from tests.sim.weather import Place

SYN_PAUSES_S: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
"""Between the tries to connect: Linux' `tcp_syn_retries` of 6, 127 s in all."""
PAUSES_S: Final = tuple(min(0.2 * 2**n, 120.0) for n in range(16))
"""Between the tries to send data: Linux' `tcp_retries2` of 15, 924 s in all."""
WINDOW_BYTES: Final = 262_144
"""What may be under way and unread; Linux gives loopback more, and lets a sender wait the same way."""
SEGMENT_BYTES: Final = 65_483


@dataclass(eq=False, slots=True)
class _Segment:
    """Something that is delivered in its order: data, or `end` (FIN), `reset`, `opened` (the last ACK of three).

    `on_its_way`: it was sent and will arrive.
    """

    data: bytes = b""
    end: bool = False
    reset: bool = False
    opened: bool = False
    on_its_way: bool = False
    arrived: bool = False


class _Way:
    """One direction of a connection."""

    def __init__(self, sender: StreamSocket, receiver: StreamSocket) -> None:
        self._sender, self._receiver = sender, receiver
        self._places = sender.place, receiver.place
        self._queue: deque[_Segment] = deque()
        self.broken = False

    @property
    def size_bytes(self) -> int:
        """How much is under way."""
        return sum(len(s.data) for s in self._queue)

    def put(self, segment: _Segment) -> None:
        if not self.broken:
            self._queue.append(segment)
            self._attempt(segment, 0)

    def reset(self) -> None:
        """Send a reset after the segments that are on their way. The kernel sends no lost segment again."""
        on_their_way = list(takewhile(lambda s: s.on_its_way, self._queue))
        self._queue.clear()
        self._queue.extend(on_their_way)
        self.put(_Segment(reset=True))

    def _attempt(self, segment: _Segment, tries: int) -> None:
        if self.broken or segment not in self._queue:
            return
        network = self._sender.network
        unplugged = self._sender.is_unplugged or self._receiver.is_unplugged
        fates = () if unplugged else network.fates("tcp", *self._places, len(segment.data))
        if fates:
            segment.on_its_way = True
            network.after(fates[0], lambda: self._arrive(segment))
        elif segment.reset:
            self._queue.remove(segment)  # nobody acknowledges a reset, so nobody sends it again
        elif tries == len(PAUSES_S):
            self.broken = True
            self._sender.lose(errno.ETIMEDOUT)
        else:
            network.after(PAUSES_S[tries], lambda: self._attempt(segment, tries + 1))

    def _arrive(self, segment: _Segment) -> None:
        segment.arrived = True
        while self._queue and self._queue[0].arrived and not self.broken:
            self._receiver.deliver(self._queue.popleft())
        if not self._sender.closed:
            self._sender.writable.wake()


class StreamSocket(SimulatedSocket):
    """A TCP socket: it listens, or it is one end of a connection."""

    kind = "tcp"

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.listening = False
        self.dead = False
        self._backlog = 0
        self._waiting: deque[StreamSocket] = deque()
        self._coming = 0
        self._peer: StreamSocket | None = None
        self._out: _Way | None = None
        self._inbox = bytearray()
        self._ended_in = self._ended_out = self._deaf = False
        self._connecting = False

    def shares(self, other: SimulatedSocket) -> bool:
        listening = isinstance(other, StreamSocket) and other.listening
        return super().shares(other) and not listening

    # --- a listener ---------------------------------------------------------------------------------------------------

    def listen(self, backlog: int = 128) -> None:
        self._check_open()
        if self.place == NOWHERE:
            self.place = self.network.bind(self, ("", 0))
        others = self.network.at(self.kind, self.place)
        if any(isinstance(s, StreamSocket) and s.listening and s is not self for s in others):
            raise fault(errno.EADDRINUSE)
        self.listening, self._backlog = True, backlog

    def getsockopt(self, level: int, optname: int, buflen: int | None = None) -> Any:
        if (level, optname) == (stdlib.SOL_SOCKET, stdlib.SO_ACCEPTCONN):
            return int(self.listening)
        return super().getsockopt(level, optname, buflen)

    async def accept(self) -> tuple[StreamSocket, Any]:
        await trio.lowlevel.checkpoint_if_cancelled()
        await self._connection()
        made = self.accept_now()
        await trio.lowlevel.cancel_shielded_checkpoint()
        CLIENT.set(made[0].opened_by)  # the tasks that are started next have it too: those that serve the connection
        return made

    def accept_now(self) -> tuple[StreamSocket, Any]:
        """Return a connection that waits, and its peer, as accept(2) of a socket that does not block.

        Raises:
            BlockingIOError: none waits. OSError: the socket does not listen.
        """
        self._check_listening()
        if not self._waiting:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        made = self._waiting.popleft()
        return made, self._address(made.other)

    async def wait_connection(self) -> None:
        """Return once a connection waits."""
        await trio.lowlevel.checkpoint()
        await self._connection()

    async def _connection(self) -> None:
        self._check_listening()
        while not self._waiting:
            await self._wait(self.readable)
            self._check_listening()

    def _check_listening(self) -> None:
        self._check_open()
        if not self.listening:
            raise fault(errno.EINVAL)

    def setblocking(self, flag: bool) -> None:
        """Do nothing: it never blocks."""

    def greet(self, client: StreamSocket, target: Place) -> StreamSocket | None:
        """Return a new end for a client that asks for a connection; None: too many wait already."""
        if len(self._waiting) + self._coming > self._backlog:
            return None
        made = self.network.join(StreamSocket(self.network, self.family, self.proto))
        made.place, made.other, made._peer = target, client.place, client
        made._listener, made.opened_by = self, client.owner
        made.owner = self.owner
        if self.owner is not None:
            self.owner.sockets[made] = None
        made._out = _Way(made, client)
        self._coming += 1
        return made

    _listener: StreamSocket | None = None
    opened_by: Process | None = None
    """Of a connection that was accepted: the program at its other end."""

    # --- connecting ---------------------------------------------------------------------------------------------------

    async def connect(self, address: Any) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()
        self._check_open()
        if self._peer is not None:
            raise fault(errno.EISCONN)
        self._check_route()
        target = self.network.resolve(address)
        if self.place == NOWHERE:
            self.place = self.network.bind_for(self, target)
        self._connecting = True
        self._ask(target, 0)
        try:
            while self._connecting:
                await self._wait(self.writable)
        except trio.Cancelled:
            self.close()
            raise
        self._raise_error()
        await trio.lowlevel.cancel_shielded_checkpoint()

    def _ask(self, target: Place, tries: int, made: StreamSocket | None = None) -> None:
        """Send a SYN, and again while nothing comes back."""
        if not self._connecting or self.closed:
            return
        if tries == len(SYN_PAUSES_S):
            self._decide(errno.ETIMEDOUT)
            return
        known = [made]

        def arrive() -> None:
            if not self._connecting:
                return
            found = [s for s in self.network.at(self.kind, target) if isinstance(s, StreamSocket) and s.listening]
            if found and found[0].is_unplugged:
                return
            if known[0] is None and found:
                known[0] = found[0].greet(self, target)
                if known[0] is None:
                    return  # its queue is full: it says nothing, and the SYN is sent again
            for back_s in self.network.fates(self.kind, target, self.place, 0)[:1]:
                self.network.after(back_s, lambda: self._answered(target, known[0]))

        for delay_s in self.network.fates(self.kind, self.place, target, 0)[:1]:
            self.network.after(delay_s, arrive)
        if self._connecting:
            self.network.after(SYN_PAUSES_S[tries], lambda: self._ask(target, tries + 1, known[0]))

    def _answered(self, target: Place, made: StreamSocket | None) -> None:
        if not self._connecting or self.closed:
            return
        if made is None:
            self._decide(errno.ECONNREFUSED)
            return
        self.other, self._peer, self._out = target, made, _Way(self, made)
        self._decide(0)
        self._out.put(_Segment(opened=True))

    def _decide(self, error: int) -> None:
        self._connecting, self.error = False, error
        self.writable.wake()

    # --- a connection -------------------------------------------------------------------------------------------------

    async def send(self, data: Any, flags: int = 0) -> int:
        await trio.lowlevel.checkpoint_if_cancelled()
        view = memoryview(data).cast("B")
        while True:
            self._check_open()
            self._raise_error()
            if self._out is None or self._peer is None or self.dead or self._ended_out:
                raise fault(errno.EPIPE)
            if not view or self._room() > 0:
                break
            await self._wait(self.writable)
        sent = min(len(view), self._room(), SEGMENT_BYTES) if view else 0
        if sent:
            self._out.put(_Segment(bytes(view[:sent])))
        await trio.lowlevel.cancel_shielded_checkpoint()
        return sent

    def _room(self) -> int:
        if self._out is None or self._peer is None:
            return 0
        return WINDOW_BYTES - self._out.size_bytes - len(self._peer._inbox)

    async def wait_writable(self) -> None:
        await trio.lowlevel.checkpoint()
        while not (self.closed or self.dead or self._room() > 0):
            await self._wait(self.writable)

    async def recv(self, buflen: int, flags: int = 0) -> bytes:
        await trio.lowlevel.checkpoint_if_cancelled()
        while True:
            self._check_open()
            if self._inbox:
                break
            if not self._ended_in:
                self._raise_error()
            if self._ended_in or self._deaf or self.dead:
                break
            if self._peer is None:
                raise fault(errno.ENOTCONN)
            await self._wait(self.readable)
        data = bytes(self._inbox[:buflen])
        del self._inbox[:buflen]
        if data and self._peer is not None:
            self._peer.writable.wake()
        await trio.lowlevel.cancel_shielded_checkpoint()
        return data

    def is_readable(self) -> bool:
        return bool(self._waiting or self._inbox or self.error or self._ended_in or self.dead)

    def shutdown(self, how: int) -> None:
        self._check_open()
        if self._out is None or self.dead:
            raise fault(errno.ENOTCONN)
        if how in (stdlib.SHUT_WR, stdlib.SHUT_RDWR) and not self._ended_out:
            self._ended_out = True
            self._out.put(_Segment(end=True))
        if how in (stdlib.SHUT_RD, stdlib.SHUT_RDWR):
            self._deaf = True
            self.readable.wake()

    @property
    def did_shutdown_SHUT_WR(self) -> bool:
        return self._ended_out

    def deliver(self, segment: _Segment) -> None:
        """Take a segment in, as the kernel does."""
        if segment.opened:
            self._opened()
        elif segment.reset:
            self.lose(errno.EPIPE if self._ended_in else errno.ECONNRESET)
        elif self.closed or self.dead:
            if segment.data and self._peer is not None:  # nobody will read it: say so
                self._out = self._out or _Way(self, self._peer)
                self._out.reset()
        elif segment.end:
            self._ended_in = True
            self.readable.wake()
        else:
            self._inbox += segment.data
            self.readable.wake()

    def _opened(self) -> None:
        if self._listener is None or self.dead:
            return
        self._listener._coming -= 1
        if self._listener.closed:
            self._reset()
            self.closed = True
            return
        self._listener._waiting.append(self)
        self._listener.readable.wake()

    def lose(self, error: int) -> None:
        """End as the other side is gone: what was read from it may still be taken."""
        if self.closed or self.dead:
            return
        self.dead, self.error = True, error
        if self._out is not None:
            self._out.broken = True
        self.readable.wake()
        self.writable.wake()

    def vanish(self) -> None:
        for made in self._waiting:
            made.vanish()
        if self._out is not None:
            self._out.broken, self._out = True, None
        super().vanish()

    def _reset(self) -> None:
        if self._out is not None and not self.dead:
            self._out.reset()

    def _end(self) -> None:
        if self.listening:
            for made in self._waiting:
                made._reset()
                made.closed = True
        elif self._out is not None and not self.dead:
            if self._inbox or self._lingers_not():
                self._reset()
            elif not self._ended_out:
                self._out.put(_Segment(end=True))

    def _lingers_not(self) -> bool:
        value = self.option(stdlib.SO_LINGER)
        if not isinstance(value, bytes):
            return False
        on, seconds = struct.unpack("ii", value)
        return bool(on) and seconds == 0
