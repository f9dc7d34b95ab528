"""What datagram and stream sockets of the simulated network have in common."""

from __future__ import annotations

import errno
import os
import socket as stdlib
from collections import OrderedDict
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Protocol, Self, TypeVar

import trio

from tests.sim.weather import Place

NOWHERE: Place = ("", 0)
SockT = TypeVar("SockT", bound="SimulatedSocket")


class Wire(Protocol):
    """What a socket asks of its network; see `tests.sim.network.Network`."""

    on_datagram: Callable[[SimulatedSocket, Place, bytes], None]
    unplugged: str

    def resolve(self, address: Any) -> Place: ...
    def bind(self, sock: SimulatedSocket, place: Place) -> Place: ...
    def bind_for(self, sock: SimulatedSocket, target: Place) -> Place: ...
    def join(self, sock: SockT) -> SockT: ...
    def release(self, sock: SimulatedSocket) -> None: ...
    def at(self, kind: str, place: Place) -> list[SimulatedSocket]: ...
    def fates(self, kind: str, source: Place, target: Place, size: int) -> tuple[float, ...]: ...
    def after(self, delay_s: float, act: Callable[[], None]) -> None: ...


def fault(number: int) -> OSError:
    """Return the system's error of that number."""
    return OSError(number, os.strerror(number))


class ProcessKilledError(BaseException):
    """The process that does this is dead. No code catches it, as none outlives SIGKILL."""


class Closes(Protocol):
    """Something open."""

    def close(self) -> None:
        """Close it; also where it is closed already."""
        ...


@dataclass(eq=False)
class Process:
    """A program in the simulation: the tasks that were started with it in their context, and their sockets.

    `sockets`: those, and what else the kernel closes when it dies.
    """

    name: str
    dead: bool = False
    sockets: dict[Closes, None] = field(default_factory=dict)

    @property
    def machine(self) -> str:
        """Return the name of the machine on which it runs: a program's name begins with it."""
        return self.name.partition(" ")[0]

    def kill(self) -> None:
        """End it at this instant: the kernel closes its sockets, and its tasks can do nothing any more."""
        self.dead = True
        for sock in list(self.sockets):
            sock.close()

    def check_alive(self) -> None:
        """Raise ProcessKilledError where it is dead."""
        if self.dead:
            raise ProcessKilledError(self.name)


PROCESS: ContextVar[Process | None] = ContextVar("process", default=None)
"""Which program a task belongs to; None: the world."""

CLIENT: ContextVar[Process | None] = ContextVar("client", default=None)
"""Which program opened the connection that a task serves; None: the world, or it serves none."""


class Line:
    """Tasks that wait for one thing of a socket, in their order."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[int, trio.Event] = OrderedDict()
        self._number = 0

    async def wait(self) -> None:
        self._number += 1
        number, event = self._number, trio.Event()
        self._waiting[number] = event
        try:
            await event.wait()
        finally:
            self._waiting.pop(number, None)

    def wake(self) -> None:
        for event in self._waiting.values():
            event.set()


class SimulatedSocket(trio.socket.SocketType):
    """A socket. `place`: where it is bound; `other`: whom it is connected to."""

    kind = ""
    number_of_type = stdlib.SOCK_STREAM

    def __init__(self, network: Wire, family: stdlib.AddressFamily, proto: int) -> None:
        super().__init__()
        self.network = network
        self.place: Place = NOWHERE
        self.other: Place = NOWHERE
        self.closed = False
        self.error = 0
        self.readable, self.writable = Line(), Line()
        self._family, self._proto = family, proto
        self._options: dict[tuple[int, int], Any] = {}
        self.owner = PROCESS.get()
        if self.owner is not None:
            self.owner.check_alive()
            self.owner.sockets[self] = None

    # --- what it is ---------------------------------------------------------------------------------------------------

    @property
    def family(self) -> stdlib.AddressFamily:
        return self._family

    @property
    def type(self) -> stdlib.SocketKind:
        return self.number_of_type

    @property
    def proto(self) -> int:
        return self._proto

    def fileno(self) -> int:
        """Return -1: there is no descriptor, and what would use one must not work by chance."""
        return -1

    def __repr__(self) -> str:
        return f"<simulated {self.kind} {self.place} to {self.other}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _address(self, place: Place) -> Any:
        host, port = place
        if self._family == stdlib.AF_INET6:
            return (host or "::", port, 0, 0)
        return (host or "0.0.0.0", port)

    def getsockname(self) -> Any:
        self._check_open()
        return self._address(self.place)

    def getpeername(self) -> Any:
        self._check_open()
        if self.other == NOWHERE:
            raise fault(errno.ENOTCONN)
        return self._address(self.other)

    def setsockopt(self, level: int, optname: int, value: Any = None, optlen: int | None = None) -> None:
        self._check_open()
        self._options[level, optname] = value

    def getsockopt(self, level: int, optname: int, buflen: int | None = None) -> Any:
        self._check_open()
        if (level, optname) == (stdlib.SOL_SOCKET, stdlib.SO_ERROR):
            found, self.error = self.error, 0
            return found
        return self._options.get((level, optname), 0 if buflen is None else bytes(buflen))

    def option(self, optname: int) -> Any:
        """Return an option of the socket's own level."""
        return self._options.get((stdlib.SOL_SOCKET, optname), 0)

    def shares(self, other: SimulatedSocket) -> bool:
        """Tell whether this socket may have a place that another one has already."""
        return bool(self.option(stdlib.SO_REUSEADDR) and other.option(stdlib.SO_REUSEADDR))

    @property
    def is_unplugged(self) -> bool:
        """Whether its machine has no network now: the kernel has no route, and nothing comes in."""
        return bool(self.network.unplugged) and self.owner is not None and self.owner.machine == self.network.unplugged

    def _check_route(self) -> None:
        """Raise OSError where its machine has no network."""
        if self.is_unplugged:
            raise fault(errno.ENETUNREACH)

    # --- its life -----------------------------------------------------------------------------------------------------

    async def bind(self, address: Any) -> None:
        await trio.lowlevel.checkpoint()
        self._check_open()
        if self.place != NOWHERE:
            raise fault(errno.EINVAL)
        self.place = self.network.bind(self, self.network.resolve(address))

    def close(self) -> None:
        if not self.closed:
            self._end()
            self._leave()

    def vanish(self) -> None:
        """Be gone without a word to anybody, as when the machine loses its power."""
        self._leave()

    def _end(self) -> None:
        """Tell the other side, before the socket is gone."""

    def _leave(self) -> None:
        self.closed = True
        self.network.release(self)
        if self.owner is not None:
            self.owner.sockets.pop(self, None)
        self.readable.wake()
        self.writable.wake()

    def _check_open(self) -> None:
        if self.owner is not None:
            self.owner.check_alive()
        if self.closed:
            raise fault(errno.EBADF)

    def _raise_error(self) -> None:
        """Raise the error that came in meanwhile, once."""
        if self.error:
            found, self.error = self.error, 0
            raise fault(found)

    async def _wait(self, line: Line) -> None:
        """Wait until something may have changed. Raises ClosedResourceError where the socket was closed meanwhile."""
        await line.wait()
        if self.owner is not None:
            self.owner.check_alive()
        if self.closed:
            raise trio.ClosedResourceError("another task closed this socket")
