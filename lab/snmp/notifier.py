"""Sends a device's notifications: traps once, informs until somebody acknowledges them; and storms."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import count
from typing import Final

import trio

from lab.snmp import v3, values
from lab.snmp.device import LINK_DOWN, LINK_UP, Device
from lab.snmp.errors import MalformedSnmpError, SnmpValueError
from lab.snmp.links import IF_INDEX, IF_OPER
from lab.snmp.messages import DATAGRAM_BYTES_MAX, Kind, Version, decode_untrusted, version_untrusted
from lab.snmp.notifications import EngineTime, Notification, Sink, Told, discovery, message

STORM_PER_S_MAX: Final = 5000
STORM_S_MAX: Final = 60.0
_BATCH_S: Final = 0.02

_numbers = count(1)


class Notifier:
    """Tells one sink of one device.

    `sent`: datagrams so far; `waiting`: informs that nobody acknowledged yet; `acknowledged`, `given_up`: numbers of
    those that are over.
    """

    def __init__(self, device: Device, sink: Sink, udp: trio.socket.SocketType) -> None:
        self.device, self.sink = device, sink
        self.sent = 0
        self.waiting: dict[int, Notification] = {}
        self.acknowledged: list[int] = []
        self.given_up: list[int] = []
        self._udp = udp
        self._receiver = EngineTime()
        self._receiver_at = 0.0
        self._fresh: trio.MemorySendChannel[Notification]
        self._fresh, self._to_send = trio.open_memory_channel[Notification](100_000)
        self._changed = trio.Event()
        self._unsent = 0

    def notify(self, oid: str, told: Told) -> None:
        """Send a notification as soon as may be."""
        self._fresh.send_nowait(self._note(oid, told))
        self._unsent += 1

    def _note(self, oid: str, told: Told) -> Notification:
        return Notification(oid, self.device.uptime_ticks(), tuple(told), next(_numbers))

    async def send_made_up(self, n: int) -> None:
        """Send linkDown or linkUp, in turns, of one of a thousand ports."""
        index, up = n // 2 % 1000 + 1, n % 2 == 1
        told = [
            (f"{IF_INDEX}.{index}", values.integer(index)),
            (f"{IF_OPER}.{index}", values.integer(1 if up else 2)),
        ]
        await self._send(self._message(self._note(LINK_UP if up else LINK_DOWN, told)))

    async def settle(self) -> None:
        """Wait until every notification so far is sent, and every inform acknowledged or given up."""
        while self.waiting or self._unsent:
            await self._changed.wait()

    async def run(self) -> None:
        """Send until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._receive)
            async for note in self._to_send:
                if self.sink.inform:
                    self.waiting[note.number] = note
                    nursery.start_soon(self._inform, note)
                else:
                    await self._send(self._message(note))
                self._unsent -= 1
                self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    def _message(self, note: Notification) -> bytes:
        engine, now = self.device.engine, self.device.clock()
        sender = EngineTime(engine.engine_id, engine.boots, engine.time(now))
        passed = int(trio.current_time() - self._receiver_at)
        receiver = EngineTime(self._receiver.engine_id, self._receiver.boots, self._receiver.time + passed)
        return message(self.sink, note, sender, receiver, self._udp.getsockname()[0])

    async def _send(self, datagram: bytes) -> None:
        try:
            await self._udp.sendto(datagram, (self.sink.host, self.sink.port))
        except OSError:
            return  # nobody is there: a trap is lost, an inform comes again
        self.sent += 1

    async def _inform(self, note: Notification) -> None:
        for _ in range(self.sink.attempts_max):
            if note.number not in self.waiting:
                return
            if self.sink.version is Version.V3 and not self._receiver.engine_id:
                await self._send(discovery(next(_numbers)))
            else:
                await self._send(self._message(note))
            with trio.move_on_after(self.sink.resend_s):
                while note.number in self.waiting:
                    engine = self._receiver
                    await self._changed.wait()
                    if engine != self._receiver:
                        break  # the receiver says which engine it is: send again at once
        if self.waiting.pop(note.number, None) is not None:
            self.given_up.append(note.number)
            self._wake()

    # --- acknowledgments ----------------------------------------------------------------------------------------------

    async def _receive(self) -> None:
        while True:
            try:
                datagram, _ = await self._udp.recvfrom(DATAGRAM_BYTES_MAX)
                self._take(datagram)
            except (OSError, MalformedSnmpError):
                continue  # nobody is there, or this is no answer

    def _take(self, datagram: bytes) -> None:
        if version_untrusted(datagram) != Version.V3:
            kind, number = decode_untrusted(datagram).pdu[:2]
        else:
            sealed = v3.read_untrusted(datagram)
            pdu = v3.open_untrusted(sealed, self.sink.user).pdu
            kind, number = pdu.kind, pdu.request_id
            if kind == Kind.REPORT:
                self._receiver = EngineTime(sealed.engine_id, sealed.boots, sealed.time)
                self._receiver_at = trio.current_time()
        if kind == Kind.RESPONSE and self.waiting.pop(number, None) is not None:
            self.acknowledged.append(number)
        self._wake()


@asynccontextmanager
async def open_notifier(device: Device, sink: Sink, host: str = "127.0.0.1") -> AsyncIterator[Notifier]:
    """Tell a sink whatever a device tells, for the block; from `host` on a free port."""
    family = socket.AF_INET6 if ":" in sink.host else socket.AF_INET
    with trio.socket.socket(family, socket.SOCK_DGRAM) as udp:
        await udp.bind((host, 0))
        notifier = Notifier(device, sink, udp)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(notifier.run)
            device.notify.append(notifier.notify)
            try:
                yield notifier
            finally:
                device.notify.remove(notifier.notify)
            nursery.cancel_scope.cancel()


async def storm(notifiers: Sequence[Notifier], rate_per_s: int, seconds: float) -> int:
    """Send linkDown and linkUp of made-up ports, in turns, and return how many were sent.

    Args:
        notifiers: of traps; each sends in its turn.
        rate_per_s: 1 to 5,000; the machine may not reach it.
        seconds: 0 to 60.

    Raises:
        SnmpValueError: more than that, or no notifier of traps.
    """
    if not 1 <= rate_per_s <= STORM_PER_S_MAX or not 0 <= seconds <= STORM_S_MAX or not notifiers:
        raise SnmpValueError(
            f"expected notifiers, 1 to {STORM_PER_S_MAX} a second and 0 to {STORM_S_MAX} s, "
            f"got {len(notifiers)}, {rate_per_s} and {seconds}"
        )
    if any(notifier.sink.inform for notifier in notifiers):
        raise SnmpValueError("expected notifiers of traps, got one of informs")
    wanted, sent, begun = int(rate_per_s * seconds), 0, trio.current_time()
    while sent < wanted:
        due = min(wanted, int((trio.current_time() - begun + _BATCH_S) * rate_per_s))
        for n in range(sent, due):
            await notifiers[n % len(notifiers)].send_made_up(n)
        sent = max(sent, due)
        await trio.sleep(_BATCH_S)
    return sent
