"""The sockets of a Dynamic Authorization Client: UDP on trio, connected, so that the kernel drops strangers.

An ICMP port unreachable is no answer: the NAS may still have the datagram, and anybody can forge one.
"""

from __future__ import annotations

import errno
import socket as stdlib_socket
from collections.abc import Callable, Mapping, MutableMapping
from typing import TYPE_CHECKING, Final, Self

import trio

from agent.connectors.radius.codec import PACKET_BYTES_MAX
from agent.connectors.radius.dynauth import DynAuthAnswer, Ignored, Send, Silence
from agent.connectors.radius.errors import NasUnreachableError

if TYPE_CHECKING:
    from agent.connectors.radius.codec import PacketKind
    from agent.connectors.radius.dynauth import DynAuthClient, Key, Output
    from agent.connectors.radius.schema import Nas

Learned = MutableMapping[str, frozenset[str]]
"""NAS name -> attributes that it does not support."""

_SEND_TRIES: Final = 2
"""A send may report the ICMP error of an earlier datagram instead of sending: once more then sends."""
_PASSING: Final = frozenset(
    {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN, errno.ENOBUFS, stdlib_socket.EAI_AGAIN}
)
"""Errors of a send that are over once a route, a link, a queue or a name server is back: such a datagram counts as lost
on the way, and is sent again at its time (RFC 5080 section 2.2.1). All others are of the configuration, and stay.
"""


class DynAuthSession:
    """Requests to one NAS, any number at once. Made by `DynAuths`."""

    def __init__(self, nas: Nas, client: DynAuthClient, nursery: trio.Nursery, wall_s: Callable[[], float]) -> None:
        self._nas, self._client, self._nursery, self._wall_s = nas, client, nursery, wall_s
        self._sockets: list[trio.socket.SocketType] = []
        self._opening = trio.Lock()
        self._results: dict[Key, DynAuthAnswer | Silence] = {}
        self._done: dict[Key, trio.Event] = {}
        self._unsent: dict[Key, OSError] = {}
        """Requests of which no datagram could be sent so far, and why."""
        self._wake, self._wakes_at = trio.Event(), float("inf")
        """The bell of the timers' task, and when it wakes by itself."""

    async def exchange(
        self, kind: PacketKind, attributes: Mapping[str, str], deadline: float
    ) -> DynAuthAnswer | Silence:
        """Send a request until it is answered, its retries are used up or `deadline` (trio's clock) is there.

        Raises:
            UnencodableRequestError: the attributes cannot be sent.
            NoIdentifierError: too many requests to this NAS within 300 s.
            NasUnreachableError: none of its datagrams could be sent (no route, no such host).
        """
        key, first = self._client.request(
            kind, attributes, now=trio.current_time(), at_s=int(self._wall_s()), deadline=deadline
        )
        done = self._done[key] = trio.Event()
        try:
            try:
                await self._send(first)
            except OSError as err:
                if err.errno not in _PASSING:
                    raise self._unreachable(err) from err
                self._unsent[key] = err
            self._wake_earlier()
            await done.wait()
            if (failed := self._unsent.get(key)) is not None:
                raise self._unreachable(failed) from failed
            return self._results.pop(key)
        finally:
            del self._done[key]
            self._results.pop(key, None)
            self._unsent.pop(key, None)
            self._client.abandon(key, trio.current_time())

    def _unreachable(self, err: OSError) -> NasUnreachableError:
        return NasUnreachableError(f"NAS {self._nas.name}: nothing could be sent: {err.strerror}")

    async def run_timers(self) -> None:
        """Send due datagrams again, for ever."""
        while True:
            self._wake = trio.Event()
            due = self._client.get_timer()
            self._wakes_at = float("inf") if due is None else due
            with trio.move_on_at(self._wakes_at):
                await self._wake.wait()
            await self._take(self._client.handle_timer(trio.current_time()))

    def _wake_earlier(self) -> None:
        """Wake the timers' task if something is due before it wakes by itself; waking it for nothing is harmless."""
        due = self._client.get_timer()
        if due is not None and due < self._wakes_at:
            self._wake.set()

    async def _receive(self, number: int) -> None:
        sock = self._sockets[number]
        while True:
            try:
                # One octet more than allowed: a longer datagram is then seen to be too long.
                data = await sock.recv(PACKET_BYTES_MAX + 1)
            except OSError:
                continue
            await self._take(self._client.receive_untrusted(number, data, trio.current_time()))
            self._wake_earlier()

    async def _take(self, outputs: tuple[Output, ...]) -> None:
        for output in outputs:
            match output:
                case Send():
                    try:
                        await self._send(output)
                    except OSError:
                        # A retransmission that could not be sent is a datagram lost on the way.
                        continue
                    self._unsent.pop(output.key, None)
                case DynAuthAnswer() | Silence():
                    if output.key in self._done:
                        self._results[output.key] = output
                        self._done[output.key].set()
                case Ignored():
                    continue

    async def _send(self, command: Send) -> None:
        if len(self._sockets) <= command.socket:
            async with self._opening:
                while len(self._sockets) <= command.socket:
                    self._sockets.append(await self._open())
                    self._nursery.start_soon(self._receive, len(self._sockets) - 1)
        for tries_left in reversed(range(_SEND_TRIES)):
            try:
                await self._sockets[command.socket].send(command.data)
            except OSError:
                if not tries_left:
                    raise
            else:
                return

    async def _open(self) -> trio.socket.SocketType:
        found = await trio.socket.getaddrinfo(
            self._nas.dynauth_host, self._nas.dynauth_port, type=stdlib_socket.SOCK_DGRAM
        )
        family, kind, protocol, _, address = found[0]
        sock = trio.socket.socket(family, kind, protocol)
        try:
            if self._nas.source:
                await sock.bind((self._nas.source, 0))
            await sock.connect(address)
        except BaseException:
            sock.close()
            raise
        return sock

    def close(self) -> None:
        """Close the sockets: the kernel drops later datagrams."""
        for sock in self._sockets:
            sock.close()


class DynAuths:
    """The sessions to all NAS of a connection, each opened when it is first asked for.

    A context manager of its own: an error of the body passes as it is, not in a group of the nursery's.
    """

    def __init__(
        self,
        open_client: Callable[[Nas, frozenset[str]], DynAuthClient],
        learned: Learned,
        wall_s: Callable[[], float],
        secret_of: Callable[[Nas], bytes] = lambda _: b"",
    ) -> None:
        """Take the maker of clients, and facts learned about NAS before: they are brought up to date at the end.

        `wall_s`: unix seconds, for the requests' timestamps.
        `secret_of`: a NAS' secret now. When it is another than before, the next request goes through a new client.
        """
        self._open_client, self._learned, self._wall_s, self._secret_of = open_client, learned, wall_s, secret_of
        self._sessions: dict[str, tuple[bytes, DynAuthSession]] = {}
        self._replaced: list[DynAuthSession] = []
        self._clients: dict[str, DynAuthClient] = {}
        self._manager = trio.open_nursery()
        self._nursery: trio.Nursery | None = None

    async def __aenter__(self) -> Self:
        self._nursery = await self._manager.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        for name, client in self._clients.items():
            self._learned[name] = client.learned
        if self._nursery is not None:
            self._nursery.cancel_scope.cancel()
        try:
            await self._manager.__aexit__(None, None, None)
        finally:
            for session in (*self._replaced, *(s for _, s in self._sessions.values())):
                session.close()

    def get(self, nas: Nas) -> DynAuthSession:
        """Return the session to `nas`; its sockets open with its first request.

        Raises:
            UnknownProfileError: its profile is not shipped.
            NasUnreachableError: its secret is not set.
        """
        if self._nursery is None:
            raise NasUnreachableError(f"NAS {nas.name}: the connection is not open")
        secret = self._secret_of(nas)
        made_with, session = self._sessions.get(nas.name, (b"", None))
        if session is None or made_with != secret:
            before = self._clients[nas.name].learned if session else self._learned.get(nas.name, frozenset())
            client = self._clients[nas.name] = self._open_client(nas, before)
            if session is not None:
                self._replaced.append(session)  # what it has in flight is answered under the secret of before
            session = DynAuthSession(nas, client, self._nursery, self._wall_s)
            self._sessions[nas.name] = secret, session
            self._nursery.start_soon(session.run_timers)
        return session
