"""A client of one device: UDP on trio, connected sockets, so that datagrams from other addresses do not count.

Each request in flight has a socket of its own and reads it by itself: no task runs between requests, and cancellation
needs no care. An ICMP port unreachable is no answer (anybody can forge one): it is named, and the wait goes on.
"""

from __future__ import annotations

import math
import socket as stdlib_socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, nullcontext
from typing import Final

import trio

from agent.connectors.snmp.credential import SnmpCredential, SnmpVersion
from agent.connectors.snmp.errors import AgentFaultError, SilentError, UnsentRequestError
from agent.connectors.snmp.exchange import Dice, SnmpExchange
from agent.connectors.snmp.limits import ALIVE_S, DATAGRAM_BYTES_MAX, SnmpLimits
from agent.connectors.snmp.pdu import Pdu
from agent.connectors.snmp.questions import GetQuestion, SetQuestion, SnmpQuestion
from agent.connectors.snmp.security import AGAIN, CommunitySecurity, Security
from agent.connectors.snmp.usm import EngineTime
from agent.connectors.snmp.usm_client import UsmSecurity
from agent.connectors.snmp.values import Oid, Value
from agent.connectors.snmp.walk import Sizes, TableWalk
from trust import chance

_WAIT_GROWTH: Final = 1.5
_WAIT_MOST: Final = 2.25
"""Times `timeout_s`: a retry waits half as long again, twice."""
_SEND_TRIES: Final = 2
"""A send may report the ICMP error of an earlier datagram instead of sending: once more then sends."""


class SnmpClient:
    """Questions to one device. Made by `open_client`; several tasks may ask at once."""

    def __init__(
        self,
        name: str,
        address: tuple[int, tuple[object, ...]],
        security: Security,
        limits: SnmpLimits,
        shared: trio.CapacityLimiter | None,
        dice: Dice,
        *,
        bulk: bool,
    ) -> None:
        self._name, self._address, self._security, self._limits = name, address, security, limits
        self._shared, self._dice, self._bulk = shared, dice, bulk
        self._sizes = Sizes(limits)
        self._slots = trio.CapacityLimiter(limits.in_flight)
        self._idle: list[trio.socket.SocketType] = []
        self._answered_at = -math.inf
        """When it last answered, by trio's clock."""
        self.octets = 0
        """Octets of its answers so far."""

    @property
    def boots(self) -> int | None:
        """The number of the device's restarts, once it told it; versions 1 and 2c tell none."""
        return self._security.boots

    @property
    def clock(self) -> tuple[bytes, EngineTime] | None:
        """The id and the time of the device's engine, once authentic answers proved them."""
        if not isinstance(self._security, UsmSecurity) or (clock := self._security.clock) is None:
            return None
        return self._security.engine_id, clock

    async def get(self, oids: Sequence[Oid], unread: dict[Oid, str] | None = None) -> Mapping[Oid, Value]:
        """Return the values of these names. One that the device has not is a value too: see `values.MISSING`.

        Args:
            oids: names of scalars, with their instances.
            unread: gets each name that the device answers an error for, with that error; None: the error is raised.

        Raises:
            RemoteSnmpError: the device is silent, refuses, or contradicts the standard.
            UnsentRequestError: nothing could be sent.
        """
        question = GetQuestion(oids, unread)
        while not question.done:
            question.receive(await self._ask(question))
        return question.found

    async def table(self, columns: Sequence[Oid]) -> Mapping[Oid, Mapping[bytes, Value]]:
        """Return all values of these columns: column -> rest of the name (the index) -> value.

        Raises:
            RemoteSnmpError: the device is silent, refuses, or contradicts the standard.
            UnsentRequestError: nothing could be sent.
        """
        walk, before = TableWalk(columns, self._sizes, self._limits, bulk=self._bulk), self.octets
        while not walk.done:
            walk.receive(await self._ask(walk))
            self._bound(before)
        return walk.result()

    async def walk(self, root: Oid) -> AsyncIterator[tuple[Oid, Value]]:
        """Yield all names and values below a name, in the order of the device.

        Raises:
            RemoteSnmpError: the device is silent, refuses, or contradicts the standard.
            UnsentRequestError: nothing could be sent.
        """
        walk, before = TableWalk((root,), self._sizes, self._limits, bulk=self._bulk), self.octets
        while not walk.done:
            answer = await self._ask(walk)
            self._bound(before)
            for found in answer.varbinds[: walk.receive(answer)]:
                yield found

    async def set(self, values: Mapping[Oid, Value]) -> None:
        """Set these values, all or none. It is sent once: after silence the device may or may not have set them.

        Raises:
            SilentError: no answer came; whether they are set is unknown.
            RequestRefusedError: the device set nothing.
            UnsentRequestError: nothing could be sent.
        """
        question = SetQuestion(values)
        question.receive(await self._ask(question))

    async def ends(self) -> tuple[str, str]:
        """Return the address by which the device is asked, and our own on the way there.

        Raises:
            UnsentRequestError: there is no way.
        """
        sock = self._idle.pop() if self._idle else await self._open()
        try:
            own = str(sock.getsockname()[0])
        finally:
            self._idle.append(sock)
        return str(self._address[1][0]).partition("%")[0], own.partition("%")[0]

    def _bound(self, before: int) -> None:
        if self.octets - before > self._limits.walked_octets:
            raise AgentFaultError(
                f"{self._name}: expected at most {self._limits.walked_octets} octets of one walk, got more: "
                "no end in sight"
            )

    async def _ask(self, question: SnmpQuestion) -> Pdu:
        async with self._slots, self._shared or nullcontext():
            sock = self._idle.pop() if self._idle else await self._open()
            try:
                return await self._exchange(sock, question)
            finally:
                self._idle.append(sock)

    async def _exchange(self, sock: trio.socket.SocketType, question: SnmpQuestion) -> Pdu:
        exchange = SnmpExchange(question, self._security, self._dice)
        began, unreachable = trio.current_time(), False
        left = 1 + self._limits.retries
        wait_s = self._limits.timeout_s
        while True:
            await self._send(sock, exchange.datagram(trio.current_time()))
            # A tenth is left to chance: devices that fell silent together are not all asked again at one instant
            with trio.move_on_after(wait_s * (0.9 + self._dice(16) / 327_680)) as waiting:
                while True:
                    try:
                        data = await sock.recv(DATAGRAM_BYTES_MAX)
                    except OSError:
                        unreachable = True
                        continue
                    answer = exchange.receive_untrusted(data, trio.current_time())
                    if answer is AGAIN:
                        exchange.again()
                        break
                    if answer is not None:
                        self._answered_at = trio.current_time()
                        self.octets += len(data)
                        return answer
                    if exchange.malformed and exchange.shrink():
                        break
            if not waiting.cancelled_caught:
                continue
            # A SET is not sent twice: a copy that arrives late would undo what somebody set meanwhile
            left = 0 if question.once and exchange.asked else left - 1
            # A device that answers otherwise may be too small for this request; a dead one costs no further patience
            smaller = trio.current_time() - self._answered_at < ALIVE_S and exchange.shrink()
            if left <= 0 and not smaller:
                waited_s = trio.current_time() - began
                raise SilentError(await self._silence(exchange, waited_s, question, unreachable=unreachable))
            wait_s = min(wait_s * _WAIT_GROWTH, self._limits.timeout_s * _WAIT_MOST)

    async def _silence(
        self, exchange: SnmpExchange, waited_s: float, question: SnmpQuestion, *, unreachable: bool
    ) -> str:
        """Return the sentence about a device that did not answer."""
        notes = ["unreachable, or wrong secret"]
        if exchange.ignored:
            notes.append(f"{exchange.ignored} answers did not count, the last one: {exchange.why}")
        if unreachable:
            notes.append("its network says that nothing listens on this port")
        if self._limits.other_source and not question.once:
            notes += await self._other_sources(exchange)
        return f"{self._name}: no answer to {exchange.sent} requests in {waited_s:.1f} s: " + "; ".join(notes)

    async def _other_sources(self, exchange: SnmpExchange) -> list[str]:
        """Ask once more from a socket that hears everybody; return a note for each other address that answered.

        A device with several addresses may answer from one that was not asked, which a connected socket drops.
        """
        try:
            with trio.move_on_after(self._limits.timeout_s):
                return [await self._other_source(exchange)]
        except OSError:
            pass  # our own host lost its network meanwhile, or has no more sockets: the silence is told all the same
        return []

    async def _other_source(self, exchange: SnmpExchange) -> str:
        family, address = self._address
        with trio.socket.socket(family, stdlib_socket.SOCK_DGRAM) as sock:
            await sock.sendto(exchange.datagram(trio.current_time()), address)
            while True:
                data, source = await sock.recvfrom(DATAGRAM_BYTES_MAX)
                if source[:2] != address[:2] and isinstance(exchange.receive_untrusted(data, trio.current_time()), Pdu):
                    return f"an answer came from {source[0]} port {source[1]}, which does not count: ask there"

    async def _send(self, sock: trio.socket.SocketType, data: bytes) -> None:
        for tries_left in reversed(range(_SEND_TRIES)):
            try:
                await sock.send(data)
            except OSError as err:
                if not tries_left:
                    raise UnsentRequestError(f"{self._name}: nothing could be sent: {err.strerror}") from err
            else:
                return

    async def _open(self) -> trio.socket.SocketType:
        family, address = self._address
        try:
            sock = trio.socket.socket(family, stdlib_socket.SOCK_DGRAM)
        except OSError as err:
            raise UnsentRequestError(f"{self._name}: our host gives no socket: {err.strerror}") from err
        try:
            await sock.connect(address)
        except OSError as err:
            sock.close()
            raise UnsentRequestError(f"{self._name}: no way there: {err.strerror}") from err
        except BaseException:
            sock.close()
            raise
        return sock

    def close(self) -> None:
        """Close the sockets."""
        for sock in self._idle:
            sock.close()
        self._idle.clear()


@asynccontextmanager
async def open_client(
    address: str,
    port: int,
    credential: SnmpCredential,
    limits: SnmpLimits | None = None,
    *,
    shared: trio.CapacityLimiter | None = None,
    dice: Dice = chance.randbits,
) -> AsyncIterator[SnmpClient]:
    """Open a client of the device at an address (IPv4, IPv6 or a name). Nothing is sent until it is asked.

    Args:
        address: of the device.
        port: of its agent, mostly 161.
        credential: how it is asked.
        limits: how patiently and how much at once.
        shared: one limit for requests in flight to all devices together.
        dice: random bits.

    Raises:
        UnsentRequestError: the name is not known.
    """
    name = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    try:
        found = await trio.socket.getaddrinfo(address, port, type=stdlib_socket.SOCK_DGRAM)
    except OSError as err:
        raise UnsentRequestError(f"{name}: expected an address or the name of a host: {err.strerror}") from err
    family, _, _, _, place = found[0]
    client = SnmpClient(
        name,
        (family, place),
        UsmSecurity(credential, dice) if credential.version is SnmpVersion.V3 else CommunitySecurity(credential),
        limits or SnmpLimits(),
        shared,
        dice,
        bulk=credential.version is not SnmpVersion.V1,
    )
    try:
        yield client
    finally:
        client.close()
