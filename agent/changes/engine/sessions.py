"""Sessions by target: those that we dial are held open; those that arrive are lent to whoever waits for them.

* Reads of a dialed session are shared: while one bulk read is under way, later readers join the next one. So 300
  items that poll their sessions cost the database one query a round, not 300; a lone reader waits for nothing.
* An item may act on several targets, one that called in among them: `ItemSessions` finds the session of each.
* `WindowSlot` is an item's place among the steps in flight, at one target at a time.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Self

import trio

from agent.connectors.base import (
    NOTHING_EARLIER,
    Answers,
    Busy,
    Changes,
    Check,
    Checks,
    ConnectionRequests,
    Earlier,
    FinishesEffects,
    KnowsAbsence,
    LostError,
    NotSentError,
    Reach,
    ReadsToBind,
    Reply,
    Session,
    TellsByItself,
    UnreadableError,
)
from agent.model import Address, Effect, EffectKind, Seen, Target, Ticket, by_target
from agent.reasons import TargetReason
from agent.runtime.notifier import Notifier

BULK_MAX = 500
"""Addresses in one read; keeps a query under the databases' parameter limits."""


def _closed(target: str) -> UnreadableError:
    """Return the error for a request to a target whose session is closed."""
    return UnreadableError(f"the session of {target} is closed", reason=TargetReason.STOPPED)


class _SharedRead:
    """One bulk read, shared by its readers. `turn`: its leader must read now; `finished`: it was read."""

    def __init__(self) -> None:
        self.addresses: dict[Address, None] = {}
        self.led = False
        self.turn = trio.Event()
        self.finished = trio.Event()
        self.seen: dict[Address, Seen] = {}
        self.error: UnreadableError | None = None


class CoalescedSession:
    """A session that shares its reads. Everything else passes through."""

    def __init__(self, session: Session, trouble: Notifier | None = None) -> None:
        """Take the session, and a bell that is rung when the target leaves something unanswered."""
        self._session = session
        self._knows_absence = session if isinstance(session, KnowsAbsence) else None
        self.target: Target = session.target
        self._trouble = trouble or Notifier()
        self.closed = False
        """Whether it is being closed. A read under way can then open no connection any more."""
        self._reading = False
        self._next = _SharedRead()
        if isinstance(session, ReadsToBind):
            session.read_through(self.read)

    async def read(self, addresses: Collection[Address]) -> Mapping[Address, Seen]:
        """Return the value of each address, from a bulk read that began after this call."""
        mine = self._next
        mine.addresses.update(dict.fromkeys(addresses))
        if mine.led:
            await mine.finished.wait()
        else:
            await self._lead(mine)
        if mine.error is not None:
            self._trouble.ring()
            raise UnreadableError(str(mine.error), reason=mine.error.reason) from mine.error
        return {a: mine.seen[a] for a in addresses}

    async def _lead(self, mine: _SharedRead) -> None:
        """Read once for all its readers, after the read that is under way. Not cancellable: the others depend on it."""
        mine.led = True
        with trio.CancelScope(shield=True):
            if self._reading:
                await mine.turn.wait()
            self._reading, self._next = True, _SharedRead()
            wanted = list(mine.addresses)
            try:
                for start in range(0, len(wanted), BULK_MAX):
                    mine.seen.update(await self._session.read(wanted[start : start + BULK_MAX]))
            except UnreadableError as err:
                mine.error = err
            except RuntimeError as err:  # as trio's of a nursery that is closed
                if not self.closed:
                    raise
                mine.error = _closed(self.target.id)
                mine.error.__cause__ = err
            finally:
                self._reading = self._next.led
                mine.finished.set()
                self._next.turn.set()

    async def bind(self, effect: Effect, earlier: Earlier = NOTHING_EARLIER) -> Mapping[Address, Seen]:
        """Pass through."""
        return await self._session.bind(effect, earlier)

    async def send(self, ticket: Ticket) -> Reply:
        """Pass through."""
        try:
            return await self._session.send(ticket)
        except (LostError, NotSentError):
            self._trouble.ring()
            raise

    async def finish(self, ticket: Ticket) -> None:
        """Pass through; a session has nothing to finish where each effect is one command."""
        if isinstance(self._session, FinishesEffects):
            await self._session.finish(ticket)

    async def check(self, secret: str = "") -> Sequence[Check]:
        """Pass through; empty where the session has no checks."""
        return await self._session.check(secret) if isinstance(self._session, Checks) else ()

    async def answering(self) -> Mapping[str, str]:
        """Pass through; empty where the session cannot tell."""
        return await self._session.answering() if isinstance(self._session, Answers) else {}

    async def settle(self) -> None:
        """Pass through."""
        await self._session.settle()

    async def busy(self) -> Busy | None:
        """Pass through."""
        return await self._session.busy()

    async def missing(self, effect: Effect) -> Busy | None:
        """Pass through; a session that knows of no devices behind its target misses none."""
        return None if self._knows_absence is None else await self._knows_absence.missing(effect)

    def notes(self) -> Sequence[str]:
        """Pass through."""
        return self._session.notes()


@dataclass(slots=True)
class _Dialed:
    """A dialed target with its open session. `kept`: number of steps that need it open; `left`: rung when one ends."""

    session: CoalescedSession
    places: trio.Semaphore
    kept: int = 0
    left: Notifier = field(default_factory=Notifier)
    over: trio.Event = field(default_factory=trio.Event)


class _Keeping:
    """Keeps the session of a target that we dial open inside a block. A device that called in is held by others."""

    def __init__(self, target: str, host: _Dialed | None, arrives: Callable[[str], bool]) -> None:
        self._target, self._host, self._arrives = target, host, arrives

    async def __aenter__(self) -> None:
        if self._host is not None:
            self._host.kept += 1
        elif not self._arrives(self._target):
            await trio.lowlevel.checkpoint()  # being stopped: whoever comes too late is cancelled here
            raise _closed(self._target)

    async def __aexit__(self, *_: object) -> None:
        if self._host is not None:
            self._host.kept -= 1
            self._host.left.ring()


@dataclass(slots=True)
class _Arrival:
    """The session of one device while it is connected, and the number of items that want it (`wanted`).

    One bell for each device: a device that calls in wakes only the items that wait for it.
    """

    session: Session | None = None
    wanted: int = 0
    changed: Notifier = field(default_factory=Notifier)


@dataclass(frozen=True, slots=True)
class Loan:
    """The session of a device that called in, lent to one item.

    `give_back`: the device need not stay on the line for this item any more.
    """

    session: Session
    give_back: Callable[[], None]


class ArrivedSessions:
    """Sessions of devices that called in, for as long as they are connected."""

    def __init__(self) -> None:
        self._arrivals: dict[str, _Arrival] = {}

    async def arrived(self, session: Session) -> None:
        """Hold a device's session open while an item wants it (called by the connector)."""
        arrival = self._arrivals.setdefault(session.target.id, _Arrival())
        arrival.session = session
        arrival.changed.ring()
        try:
            while arrival.wanted:
                await arrival.changed.wait()
        finally:
            if arrival.session is session:  # it may have called in again meanwhile
                arrival.session = None
            self._close(session.target.id, arrival)

    @asynccontextmanager
    async def wait_for(self, target: str) -> AsyncIterator[Loan]:
        """Wait for the device to call in; its session stays open inside the block, or until it is given back."""
        arrival = self._arrivals.setdefault(target, _Arrival())
        arrival.wanted += 1
        lent = True

        def give_back() -> None:
            nonlocal lent
            if lent:
                lent = False
                arrival.wanted -= 1
                arrival.changed.ring()
                self._close(target, arrival)

        try:
            while arrival.session is None:
                await arrival.changed.wait()
            yield Loan(arrival.session, give_back)
        finally:
            give_back()

    def _close(self, target: str, arrival: _Arrival) -> None:
        if not arrival.wanted and arrival.session is None and self._arrivals.get(target) is arrival:
            del self._arrivals[target]


class Sessions:
    """All targets of all connectors. Runs inside the nursery that `host` is given."""

    def __init__(self, connectors: Mapping[str, Changes]) -> None:
        self._by_target: dict[str, tuple[Changes, Target]] = {
            target.id: (connector, target) for connector in connectors.values() for target in connector.targets
        }
        self._connectors = connectors
        self._hosts: dict[str, _Dialed] = {}
        self._opening: dict[str, trio.Lock] = {}
        self._arrived = ArrivedSessions()
        self._nursery: trio.Nursery | None = None
        self.trouble = Notifier()
        """Rings when a target that we dial leaves something unanswered."""

    @property
    def dialed_targets(self) -> Sequence[str]:
        """The ids of all targets that we dial, without those that are polled: their polls tell whether they answer."""
        return [
            target
            for target, (connector, _) in self._by_target.items()
            if connector.traits.reach is Reach.DIAL and connector.traits.watched
        ]

    def is_open(self, target: str) -> bool:
        """Return whether the session of a target that we dial is held open."""
        return target in self._hosts

    async def host(self, nursery: trio.Nursery) -> None:
        """Start listening for devices that call in; sessions opened later live in this nursery."""
        self._nursery = nursery
        for connector in self._connectors.values():
            if connector.traits.reach is Reach.ARRIVE:
                nursery.start_soon(connector.serve, self._arrived.arrived)

    def connector(self, target: str) -> Changes:
        """Return the connector of a target.

        Raises:
            UnreadableError: no such target is configured (any more).
        """
        if target in self._by_target:
            return self._by_target[target][0]
        calling = self._connectors.get(target.partition("/")[0])
        if calling is None or calling.traits.reach is not Reach.ARRIVE:
            raise UnreadableError(f"target {target} is not configured", reason=TargetReason.UNKNOWN_TARGET)
        return calling  # its devices come and go

    def arrives(self, target: str) -> bool:
        """Return whether the target calls in by itself."""
        return self.connector(target).traits.reach is Reach.ARRIVE

    def arrives_later(self, target: str) -> bool:
        """Return whether the target is one that calls in by itself; False, too, where it is not configured any more."""
        try:
            return self.arrives(target)
        except UnreadableError:
            return False

    def kinds_of(self, target: str, effect: Effect) -> frozenset[EffectKind]:
        """Return the kinds of an effect, as its connector declares them; OTHER if it does not know the verb."""
        try:
            known = self.connector(target).traits.effects
        except UnreadableError:
            known = {}
        return known.get(effect.verb, frozenset({EffectKind.OTHER}))

    async def dialed(self, target: str) -> CoalescedSession:
        """Return the shared session of a target that we dial, opening it at first use.

        Raises:
            UnreadableError: it cannot be reached now.
        """
        return (self._hosts.get(target) or await self._open(target)).session

    async def places(self, target: str) -> trio.Semaphore:
        """Return the free places among the steps in flight at a target."""
        return (self._hosts.get(target) or await self._open(target)).places

    async def _open(self, target: str) -> _Dialed:
        connector = self.connector(target)
        lock = self._opening.setdefault(target, trio.Lock())
        async with lock:
            if target not in self._hosts:
                if self._nursery is None:
                    raise UnreadableError("the agent is not running", reason=TargetReason.STOPPED)
                await self._nursery.start(self._hold, connector, self._by_target[target][1], self._nursery)
            return self._hosts[target]

    async def _hold(
        self,
        connector: Changes,
        target: Target,
        nursery: trio.Nursery,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Hold a session open until `_release` says that it is over."""
        with trio.CancelScope() as scope:
            async with connector.dial(target) as session:
                window = connector.traits.window
                places = trio.Semaphore(window, max_value=window)
                host = _Dialed(CoalescedSession(session, self.trouble), places)
                self._hosts[target.id] = host
                task_status.started()
                try:
                    # Else whoever asked for it was cancelled meanwhile, and trio left us in that scope
                    if trio.lowlevel.current_task().parent_nursery is nursery:
                        scope.shield = True  # a step that was sent is read to its end, whoever is cancelled
                        nursery.start_soon(self._release, target.id, host)
                    await host.over.wait()
                finally:
                    scope.shield = False
                    self._forget(target.id, host)

    async def _release(self, target: str, host: _Dialed) -> None:
        """Wait to be cancelled, then for the steps that keep the session."""
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                while host.kept:
                    await host.left.wait()
            self._forget(target, host)
            host.over.set()

    def _forget(self, target: str, host: _Dialed) -> None:
        host.session.closed = True
        if self._hosts.get(target) is host:
            del self._hosts[target]

    def kept(self, target: str) -> _Keeping:
        """Keep the session of a target that we dial open inside the block, also while the agent is being stopped.

        Raises:
            UnreadableError: it is closed.
        """
        return _Keeping(target, self._hosts.get(target), self.arrives)

    @asynccontextmanager
    async def use(self, target: str) -> AsyncIterator[Session]:
        """Lend the target's session: at once when it is dialed, when it calls in otherwise."""
        if self.arrives(target):
            async with self._arriving(target) as loan:
                yield loan.session
        else:
            yield await self.dialed(target)

    @asynccontextmanager
    async def _arriving(self, target: str) -> AsyncIterator[Loan]:
        """Wait for a device to call in, asking it to if that can be done; its session is lent inside the block."""
        connector = self.connector(target)
        asked = connector.requested(target) if isinstance(connector, ConnectionRequests) else nullcontext()
        with asked:
            async with self._arrived.wait_for(target) as loan:
                yield loan

    @asynccontextmanager
    async def for_item(self, target: str) -> AsyncIterator[ItemSessions]:
        """Lend the sessions of an item with its first step at `target`, waiting for a device that must call in."""
        if self.arrives(target):
            async with self._arriving(target) as loan:
                yield ItemSessions(self, loan)
        else:
            await self.dialed(target)  # a target that is not configured is found before any other work
            yield ItemSessions(self)


class ItemSessions:
    """An item's sessions, by target. `arrived`: the session of the device that called in for it, if one did."""

    def __init__(self, sessions: Sessions, arrived: Loan | None = None) -> None:
        self._sessions, self._arrived = sessions, arrived

    def let_go(self, effect: Effect) -> None:
        """Keep the device off the line while an effect's proof is awaited, if it tells the proof by itself."""
        if self._arrived is None:
            return
        session = self._arrived.session
        if isinstance(session, TellsByItself) and session.tells(effect):
            self._arrived.give_back()

    async def at(self, target: str) -> Session:
        """Return the session of a target.

        Raises:
            UnreadableError: it cannot be reached now.
        """
        if self._arrived is not None and self._arrived.session.target.id == target:
            return self._arrived.session
        return await self._sessions.dialed(target)

    async def read(self, addresses: Collection[Address]) -> Mapping[Address, Seen]:
        """Return the value of each address now, target by target.

        Raises:
            UnreadableError: a target could not be asked.
        """
        seen: dict[Address, Seen] = {}
        for target, wanted in by_target(addresses).items():
            session = await self.at(target)
            seen.update(await session.read(wanted))
        return seen


class WindowSlot:
    """A place among the steps in flight at a target, one at a time: an item that holds one waits for no other."""

    def __init__(self, sessions: Sessions) -> None:
        """Hold no place yet."""
        self._sessions = sessions
        self._held: tuple[str, trio.Semaphore] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.over()

    async def at(self, target: str) -> None:
        """Return with a place at `target`; a device that called in has its own."""
        if self._held is not None and self._held[0] == target:
            return
        self.over()
        if not self._sessions.arrives(target):
            places = await self._sessions.places(target)
            if places.value:
                places.acquire_nowait()  # a free place costs no turn of the scheduler
            else:
                await places.acquire()
            self._held = target, places

    def over(self) -> None:
        """Give the place back, if one is held."""
        if self._held is not None:
            (_, places), self._held = self._held, None
            places.release()
