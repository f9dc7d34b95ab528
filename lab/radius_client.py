"""The NAS's RADIUS client: one UDP socket to a port, identifiers in turn, the same bytes at each retransmission."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import trio

from lab import radius_codec
from lab.datagrams import DATAGRAM_BYTES_MAX, bound_socket
from lab.errors import MalformedPacketError, NoAnswerError
from lab.radius_codec import Attribute, Code, Packet

IN_FLIGHT: Final = 128


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A RADIUS server: two ports on a host, one secret; how long to wait for each answer, seconds."""

    host: str
    auth_port: int
    acct_port: int
    secret: bytes
    timeout_s: float = 2.0


@dataclass(slots=True)
class _Waiting:
    request: Packet
    arrived: trio.Event = field(default_factory=trio.Event)
    reply: Packet | None = None


class RadiusClient:
    """A client of one port; `run` receives until cancelled."""

    def __init__(self, host: str, server: tuple[str, int], secret: bytes, *, timeout_s: float, tries: int) -> None:
        self._host = host
        self._server = server
        self._secret = secret
        self._timeout_s = timeout_s
        self._tries = tries
        self._limit = trio.CapacityLimiter(IN_FLIGHT)
        self._waiting: dict[int, _Waiting] = {}
        self._next = radius_codec.random_octets()[0]
        self._udp: trio.socket.SocketType | None = None

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Receive replies."""
        with await bound_socket(self._host) as udp:
            self._udp = udp
            task_status.started()
            while True:
                datagram, peer = await udp.recvfrom(DATAGRAM_BYTES_MAX)
                if peer == self._server:
                    self._take_untrusted(datagram)

    def _take_untrusted(self, datagram: bytes) -> None:
        try:
            reply = radius_codec.decode_untrusted(datagram)
        except MalformedPacketError:
            return
        waiting = self._waiting.get(reply.id)
        if waiting is None or not radius_codec.reply_is_authentic(reply, waiting.request, self._secret):
            return
        # A BNG of today takes no Access reply without Message-Authenticator (CVE-2024-3596)
        if waiting.request.code == Code.ACCESS_REQUEST and not reply.all("Message-Authenticator"):
            return
        waiting.reply = reply
        waiting.arrived.set()

    def _identifier(self) -> int:
        # IN_FLIGHT is below 256, so a free one is always near
        while self._next in self._waiting:
            self._next = (self._next + 1) % 256
        taken, self._next = self._next, (self._next + 1) % 256
        return taken

    async def ask(self, code: Code, attributes: Sequence[Attribute], password: bytes | None = None) -> Packet:
        """Send a request and return its verified reply; `password` is hidden into User-Password.

        Raises:
            NoAnswerError: no reply after the last try.
        """
        async with self._limit:
            ident = self._identifier()
            authenticator = radius_codec.random_octets()
            if password is not None:
                hidden = radius_codec.hide_password(password, self._secret, authenticator)
                attributes = (*attributes, radius_codec.attribute("User-Password", hidden))
            datagram = radius_codec.encode_request(
                code,
                ident,
                attributes,
                self._secret,
                authenticator=authenticator,
                message_authenticator=code == Code.ACCESS_REQUEST,
            )
            waiting = self._waiting[ident] = _Waiting(radius_codec.decode_untrusted(datagram))
            try:
                return await self._exchange(datagram, waiting)
            finally:
                del self._waiting[ident]

    async def _exchange(self, datagram: bytes, waiting: _Waiting) -> Packet:
        if self._udp is None:
            raise NoAnswerError("expected a client that runs, got one that does not")
        for _ in range(self._tries):
            await self._udp.sendto(datagram, self._server)
            with trio.move_on_after(self._timeout_s):
                await waiting.arrived.wait()
            if waiting.reply is not None:
                return waiting.reply
        raise NoAnswerError(f"expected an answer after {self._tries} tries of {self._timeout_s} s, got none")
