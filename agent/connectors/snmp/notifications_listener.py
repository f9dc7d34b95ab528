"""The listener for traps and informs: UDP on trio.

* `heard` gets each notification once, in the order of its sender; an inform is acknowledged only after it returned.
* A retry of an inform that is still being heard is dropped: the first one is acknowledged. One that was heard is
  acknowledged again.
* The queue and budgets are bounded, and fair to each sender. A notification without room is dropped and counted: a
  device sends an inform again. Proven ones wait in turns of their own: forged messages of the same address do not
  delay them.
"""

from __future__ import annotations

import math
import socket as stdlib_socket
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from typing import Protocol

import trio

from agent.connectors.snmp import notification_events
from agent.connectors.snmp.budgets import Budgets
from agent.connectors.snmp.credential import SnmpCredential, SnmpVersion
from agent.connectors.snmp.errors import MalformedSnmpError, UncountedMessageError, UnsentRequestError
from agent.connectors.snmp.fair_queue import FairQueue
from agent.connectors.snmp.limits import DATAGRAM_BYTES_MAX, HEARD_AT_ONCE, QUEUED_MAX, REMEMBERED_MAX, REPEATED_S
from agent.connectors.snmp.messages import version_untrusted
from agent.connectors.snmp.notifications import NotificationReceiver, Reported
from agent.line_model.reading import LineEvent

Heard = Callable[[LineEvent], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class NotificationSender:
    """A device that may send notifications.

    Args:
        target: id of its target; "": none is configured for its address.
        credentials: the secrets that count from it.
    """

    target: str
    credentials: Collection[SnmpCredential]


class Senders(Protocol):
    """The configured senders."""

    def __call__(self, address: str) -> NotificationSender:
        """Return the sender at an address."""


@dataclass(slots=True)
class NotificationCounts:
    """Datagrams by their fate."""

    heard: int = 0
    repeated: int = 0
    reported: int = 0
    malformed: int = 0
    refused: int = 0
    """Wrong secret, wrong level, or out of time."""
    over_budget: int = 0
    queue_full: int = 0
    why: dict[str, str] = field(default_factory=dict)
    """The last reason of a refusal by sender; of at most 100 senders."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    event: LineEvent
    answer: bytes | None
    sock: trio.socket.SocketType
    source: tuple[object, ...]


class NotificationsListener:
    """Hears notifications on some sockets.

    Args:
        receiver: parses and authenticates.
        senders: the configured senders.
        heard: takes an event and returns when it is durable. An error of it ends the listener.
        wall_s: unix seconds.
    """

    def __init__(
        self, receiver: NotificationReceiver, senders: Senders, heard: Heard, wall_s: Callable[[], float]
    ) -> None:
        self._receiver, self._senders, self._heard, self._wall_s = receiver, senders, heard, wall_s
        self._known: dict[str, float] = {}
        """By name of a notification: when `heard` returned for it, by trio's clock; infinite: it did not yet."""
        self.counts = NotificationCounts()
        self._queue: FairQueue[_Waiting] = FairQueue(QUEUED_MAX)
        self._changed = trio.Event()

    async def run(
        self,
        addresses: Collection[tuple[str, int]],
        task_status: trio.TaskStatus[list[int]] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Listen at these addresses and ports until cancelled. Started: with the ports.

        Raises:
            UnsentRequestError: an address cannot be bound.
        """
        sockets: list[trio.socket.SocketType] = []
        # Those that were being heard when an earlier run ended are new again
        self._known = {once: at for once, at in self._known.items() if at < math.inf}
        self._queue = FairQueue(QUEUED_MAX)
        try:
            for address, port in addresses:
                sockets.append(await _bound(address, port))
            async with trio.open_nursery() as nursery:
                for _ in range(HEARD_AT_ONCE):
                    nursery.start_soon(self._hear)
                budgets = Budgets(trio.current_time())
                for sock in sockets:
                    nursery.start_soon(self._receive, sock, budgets)
                task_status.started([sock.getsockname()[1] for sock in sockets])
        finally:
            for sock in sockets:
                sock.close()

    async def _receive(self, sock: trio.socket.SocketType, budgets: Budgets) -> None:
        while True:
            try:
                data, source = await sock.recvfrom(DATAGRAM_BYTES_MAX)
            except OSError:
                continue  # the ICMP error of an answer that nobody took
            address = str(source[0]).removeprefix("::ffff:")
            sender = self._senders(address)
            now = trio.current_time()
            try:
                user = _is_of_a_user(data, sender)
                if not budgets.spend(address, now, known=bool(sender.target), user=user):
                    self.counts.over_budget += 1
                    continue
                found = self._receiver.receive_untrusted(data, sender.credentials, now)
            except MalformedSnmpError as err:
                self.counts.malformed += 1
                self._note(address, err)
                continue
            except UncountedMessageError as err:
                self.counts.refused += 1
                self._note(address, err)
                continue
            if isinstance(found, Reported):
                self.counts.reported += 1
                await _answer(sock, found.answer, source)
                continue
            if user and found.authenticated:
                budgets.authentic(address)
            event = notification_events.event(found, sender.target, address, int(self._wall_s()))
            done_at = self._known.get(event.once)
            if done_at is not None and now - done_at <= REPEATED_S:
                self.counts.repeated += 1
                if done_at < math.inf and found.answer:
                    await _answer(sock, found.answer, source)
                continue
            self._remember(event.once, math.inf)
            dropped = self._queue.put((address, event.authenticated), _Waiting(event, found.answer, sock, source))
            if dropped is not None:
                self.counts.queue_full += 1
                self._known.pop(dropped.event.once, None)
            self._wake()

    async def _hear(self) -> None:
        while True:
            taken = self._queue.take()
            if taken is None:
                await self._changed.wait()
                continue
            place, waiting = taken
            await self._heard(waiting.event)
            self._queue.done(place)
            self._wake()
            self.counts.heard += 1
            self._remember(waiting.event.once, trio.current_time())
            if waiting.answer:
                await _answer(waiting.sock, waiting.answer, waiting.source)

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    def _remember(self, once: str, heard_at: float) -> None:
        self._known.pop(once, None)
        if len(self._known) >= REMEMBERED_MAX:
            del self._known[next(iter(self._known))]
        self._known[once] = heard_at

    def _note(self, address: str, err: Exception) -> None:
        why = self.counts.why
        if address in why or len(why) < 100:
            why[address] = str(err)


def _is_of_a_user(data: bytes, sender: NotificationSender) -> bool:
    """Return whether a datagram is of version 3, from a sender with a user.

    Raises:
        MalformedSnmpError: it is no message.
    """
    version = version_untrusted(data)[0]
    return version is SnmpVersion.V3 and any(one.version is SnmpVersion.V3 for one in sender.credentials)


async def _answer(sock: trio.socket.SocketType, data: bytes, source: tuple[object, ...]) -> None:
    try:
        await sock.sendto(data, source)
    except OSError:
        return  # it is lost, as any datagram may be: the device asks again


async def _bound(address: str, port: int) -> trio.socket.SocketType:
    family = stdlib_socket.AF_INET6 if ":" in address else stdlib_socket.AF_INET
    sock = trio.socket.socket(family, stdlib_socket.SOCK_DGRAM)
    try:
        sock.setsockopt(stdlib_socket.SOL_SOCKET, stdlib_socket.SO_RCVBUF, 1 << 20)
        await sock.bind((address, port))
    except OSError as err:
        sock.close()
        raise UnsentRequestError(
            f"notifications: cannot listen at {address} port {port}: {err.strerror}; ports below 1024 need "
            "CAP_NET_BIND_SERVICE"
        ) from err
    except BaseException:
        sock.close()
        raise
    return sock
