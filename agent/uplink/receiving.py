"""From the stream to the inbox: order, pace and room.

A control plane that is hostile can at most waste a little: events are taken at a bounded pace, nothing is taken while
too much waits to be handled (the stream then stands still, and flow control holds the sender), and whoever breaks the
stream's order is hung up on. An accepted message is durable, with the cursor, before the next event is asked for.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

import trio

from agent.store import mail
from agent.store.db import Store
from agent.store.errors import RefusedCommandError
from agent.store.mail import Incoming, MailBells, NewEpoch, PassOver, TakeIn
from agent.uplink import limits, wire
from agent.uplink.client import CloudClient, Stream
from agent.uplink.errors import RemoteMisbehavedError, UnreachableError
from agent.uplink.wire import Unusable
from protos import message_pb2 as pb

ROOM_S: Final = 0.25
"""How often it is looked whether the inbox has room again."""

_log = logging.getLogger("agent.uplink")


class ReceivePace:
    """A token bucket. Pure: it takes the time.

    `burst` may be spent at once; `per_s` come back each second.
    """

    def __init__(self, burst: float, per_s: float) -> None:
        self._burst = burst
        self._per_s = per_s
        self._left = burst
        self._at = 0.0

    def wait_s(self, cost: float, now: float) -> float:
        """Spend `cost`; return how many seconds to wait first. `now`: monotonic seconds."""
        if self._at:
            self._left = min(self._burst, self._left + (now - self._at) * self._per_s)
        self._at = now
        self._left -= cost
        return max(0.0, -self._left / self._per_s)


async def take_in(store: Store, bells: MailBells, message: Incoming, epoch: bytes) -> bool:
    """Put a message into the inbox, once it has room; return whether it is new.

    Raises:
        StoreFailedError: the store cannot be written.
    """
    while True:
        if _has_room(store):
            try:
                new = await store.run(TakeIn([message], epoch))
            except RefusedCommandError as err:
                if err.reason != "inbox-full":
                    raise
            else:
                break
        await trio.sleep(ROOM_S)
    if new:
        bells.inbox.ring()
    return new > 0


def _has_room(store: Store) -> bool:
    rows, size_bytes = store.reader.execute(
        "SELECT count(*), coalesce(sum(length(body) + length(links)), 0) FROM inbox WHERE done_s IS NULL"
    ).fetchone()
    return bool(rows < limits.INBOX_ROWS and size_bytes < limits.INBOX_BYTES)


@dataclass(slots=True)
class Receiver:
    """Reads the stream into the inbox. `passed_over` counts useless messages since the start."""

    store: Store
    bells: MailBells
    agent: bytes
    passed_over: int = 0
    _pace: ReceivePace = field(default_factory=lambda: ReceivePace(limits.BURST, limits.COST_PER_S))

    async def run(self, connection: CloudClient, greeted: Callable[[], Awaitable[None]]) -> bool:
        """Receive until the stream ends; return whether it did so because it was open for long enough.

        `greeted` is called when the control plane has answered; nothing is taken in before it returns.

        Raises:
            RemoteUplinkError: it broke, no Hello came in time, or it goes against the protocol.
            StoreFailedError: the store cannot be written.
        """
        (known_epoch, after), ref = mail.cursor(self.store.reader), mail.last_ref(self.store.reader)
        asked = after - 1 if ref else after  # the last one again: under its number there may be another by now
        async with connection.watch(known_epoch, asked) as stream:
            hello = await self._hello(stream)
            epoch, last = hello.epoch, asked
            if epoch != known_epoch or hello.newest < after:
                goes_on = epoch == known_epoch and hello.newest >= asked > 0
                await self._begin_anew(epoch, hello.newest, elsewhere=goes_on)
                last = after = 0
            await greeted()
            while (event := await stream.receive()) is not None:
                wait_s = self._pace.wait_s(1 + event.ByteSize() // limits.COST_BYTES, trio.current_time())
                await trio.sleep(wait_s)
                number = event.delivery.number
                is_last = last < after == number
                # Our last one expired there meanwhile, or was lost with others: refs tell which ones are new
                gone = last < after < number <= hello.newest
                if gone or (is_last and event.delivery.message.ref != ref):
                    await self._begin_anew(epoch, after - 1, elsewhere=True, tells=not gone)
                last = after if is_last else await self._event(event, epoch, last)
            return stream.expired

    async def _begin_anew(self, epoch: bytes, newest: int, *, elsewhere: bool, tells: bool = True) -> None:
        """Read the control plane from its first message on.

        Args:
            epoch: of the control plane.
            newest: the number up to which it may be as we know it.
            elsewhere: this stream goes on from another message.
            tells: what it may lack is told again: it was put back.

        Raises:
            UnreachableError: it needs another stream for that.
        """
        await self.store.run(NewEpoch(epoch, newest, tells))
        if elsewhere:
            raise UnreachableError("put-back")

    async def _hello(self, stream: Stream) -> pb.Hello:
        with trio.move_on_after(limits.HELLO_S):
            event = await stream.receive()
            if event is None or event.WhichOneof("event") != "hello":
                raise RemoteMisbehavedError("no-hello", "expected a stream to begin with Hello, got another event")
            if len(event.hello.epoch) != limits.EPOCH_BYTES:
                got = len(event.hello.epoch)
                raise RemoteMisbehavedError("epoch", f"expected an epoch of {limits.EPOCH_BYTES} bytes, got {got}")
            return event.hello
        raise UnreachableError("no-hello")

    async def _event(self, event: pb.WatchEvent, epoch: bytes, last: int) -> int:
        """Take one event; return the number of the last delivery."""
        match event.WhichOneof("event"):
            case "delivery":
                number = event.delivery.number
                if not last < number < 2**63:
                    raise RemoteMisbehavedError("order", f"expected a number above {last}, got {number}")
                await self._message(event.delivery.message, number, epoch)
                return number
            case "live":
                await self._message(event.live, 0, epoch)
            case "hello":
                raise RemoteMisbehavedError("hello", "expected one Hello, got a second one")
            case _:  # of a later version
                self._note(Unusable(0, "event"))
        return last

    async def _message(self, message: pb.Message, number: int, epoch: bytes) -> None:
        match wire.incoming_untrusted(message, number, self.agent):
            case Unusable() as unusable:
                self._note(unusable)
                if number:
                    await self.store.run(PassOver(number, epoch, message.ref))
            case incoming:
                await take_in(self.store, self.bells, incoming, epoch)

    def _note(self, unusable: Unusable) -> None:
        self.passed_over += 1
        if self.passed_over & (self.passed_over - 1) == 0:  # the 1st, 2nd, 4th, 8th…: a flood fills no log
            _log.warning("a message was passed over", extra={"reason": unusable.why, "count": self.passed_over})
