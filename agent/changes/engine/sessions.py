"""Sessions by target: those that we dial are held open; those that arrive are lent to whoever waits for them.

An item may act on several targets, a device that called in among them: `Lines` are its sessions, and `Turn` is its
place among those in flight, at one target at a time.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Self

import trio

from agent.changes.engine.coalesce import CoalescedSession
from agent.connectors.base import Changes, ConnectionRequests, Reach, Session, UnreadableError
from agent.model import Address, Effect, EffectKind, Seen, Target, target_of
from agent.reasons import TargetReason
from agent.runtime.bell import Bell


@dataclass(slots=True)
class _Host:
    """A dialled target with its open session. `kept`: by how many it must not be closed now; `left`: one less."""

    session: CoalescedSession
    limiter: trio.CapacityLimiter
    kept: int = 0
    left: Bell = field(default_factory=Bell)
    over: trio.Event = field(default_factory=trio.Event)


@dataclass(slots=True)
class _Door:
    """Where one device comes in. `wanted`: by how many; who waits at one door is not woken by what comes to another."""

    session: Session | None = None
    wanted: int = 0
    changed: Bell = field(default_factory=Bell)


class Visits:
    """Devices that called in and are on the line now."""

    def __init__(self) -> None:
        self._doors: dict[str, _Door] = {}

    async def arrived(self, session: Session) -> None:
        """Hold a device's session open for as long as somebody has work for it (called by the connector)."""
        door = self._doors.setdefault(session.target.id, _Door())
        door.session = session
        door.changed.ring()
        try:
            while door.wanted:
                await door.changed.wait()
        finally:
            if door.session is session:  # it may have called in again meanwhile
                door.session = None
            self._close(session.target.id, door)

    @asynccontextmanager
    async def visit(self, target: str) -> AsyncIterator[Session]:
        """Wait for the device to call in; its session stays open inside the block."""
        door = self._doors.setdefault(target, _Door())
        door.wanted += 1
        try:
            while door.session is None:
                await door.changed.wait()
            yield door.session
        finally:
            door.wanted -= 1
            door.changed.ring()
            self._close(target, door)

    def _close(self, target: str, door: _Door) -> None:
        if not door.wanted and door.session is None and self._doors.get(target) is door:
            del self._doors[target]


class Sessions:
    """All targets of all connectors. Runs inside the nursery that `host` is given."""

    def __init__(self, connectors: Mapping[str, Changes]) -> None:
        self._by_target: dict[str, tuple[Changes, Target]] = {
            target.id: (connector, target) for connector in connectors.values() for target in connector.targets
        }
        self._connectors = connectors
        self._hosts: dict[str, _Host] = {}
        self._opening: dict[str, trio.Lock] = {}
        self._visits = Visits()
        self._nursery: trio.Nursery | None = None

    async def host(self, nursery: trio.Nursery) -> None:
        """Start listening for devices that call in; sessions opened later live in this nursery."""
        self._nursery = nursery
        for connector in self._connectors.values():
            if connector.traits.reach is Reach.ARRIVE:
                nursery.start_soon(connector.serve, self._visits.arrived)

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

    async def dialled(self, target: str) -> CoalescedSession:
        """Return the shared session of a target that we dial, opening it at first use.

        Raises:
            UnreadableError: it cannot be reached now.
        """
        return (await self._host(target)).session

    async def limiter(self, target: str) -> trio.CapacityLimiter:
        """Return the bound on steps in flight at a target."""
        return (await self._host(target)).limiter

    async def _host(self, target: str) -> _Host:
        if target in self._hosts:
            return self._hosts[target]
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
                host = _Host(CoalescedSession(session), trio.CapacityLimiter(connector.traits.window))
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

    async def _release(self, target: str, host: _Host) -> None:
        """Wait to be cancelled, then for those who keep the session."""
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                while host.kept:
                    await host.left.wait()
            self._forget(target, host)
            host.over.set()

    def _forget(self, target: str, host: _Host) -> None:
        if self._hosts.get(target) is host:
            del self._hosts[target]

    @asynccontextmanager
    async def kept(self, target: str) -> AsyncIterator[None]:
        """Keep the session of a target that we dial open inside the block, also while the agent is being stopped.

        Raises:
            UnreadableError: it is closed.
        """
        host = self._hosts.get(target)
        if host is None:
            if not self.arrives(target):
                await trio.lowlevel.checkpoint()  # being stopped: whoever comes too late is cancelled here
                raise UnreadableError(f"the session of {target} is closed", reason=TargetReason.STOPPED)
            yield  # a device that called in is held by its visit
            return
        host.kept += 1
        try:
            yield
        finally:
            host.kept -= 1
            host.left.ring()

    @asynccontextmanager
    async def use(self, target: str) -> AsyncIterator[Session]:
        """Lend the target's session: at once when it is dialled, when it calls in otherwise."""
        if self.arrives(target):
            async with self._visit(target) as session:
                yield session
        else:
            yield await self.dialled(target)

    @asynccontextmanager
    async def _visit(self, target: str) -> AsyncIterator[Session]:
        """Wait for a device to call in, asking it to if that can be done; its session is lent inside the block."""
        connector = self.connector(target)
        asked = connector.waited_for(target) if isinstance(connector, ConnectionRequests) else nullcontext()
        with asked:
            async with self._visits.visit(target) as session:
                yield session

    @asynccontextmanager
    async def lines(self, target: str) -> AsyncIterator[Lines]:
        """Lend the sessions of an item whose first step is at `target`, waiting for a device that must call in."""
        if self.arrives(target):
            async with self._visit(target) as session:
                yield Lines(self, session)
        else:
            await self.dialled(target)  # what is not configured is found before anything else is done
            yield Lines(self)


class Lines:
    """An item's sessions, by target. `visitor`: of the device that called in for it, if one did."""

    def __init__(self, sessions: Sessions, visitor: Session | None = None) -> None:
        self._sessions, self._visitor = sessions, visitor

    async def at(self, target: str) -> Session:
        """Return the session of a target.

        Raises:
            UnreadableError: it cannot be reached now.
        """
        if self._visitor is not None and self._visitor.target.id == target:
            return self._visitor
        return await self._sessions.dialled(target)

    async def read(self, addresses: Collection[Address]) -> Mapping[Address, Seen]:
        """Return what each address reads now, target by target.

        Raises:
            UnreadableError: a target could not be asked.
        """
        seen: dict[Address, Seen] = {}
        for target, wanted in by_target(addresses).items():
            session = await self.at(target)
            seen.update(await session.read(wanted))
        return seen


def by_target(addresses: Collection[Address]) -> Mapping[str, list[Address]]:
    """Return the addresses by the target that they belong to, each once."""
    found: dict[str, list[Address]] = {}
    for address in dict.fromkeys(addresses):
        found.setdefault(target_of(address), []).append(address)
    return found


class Turn:
    """A place among those in flight, at one target at a time: nobody waits for one place while holding another."""

    def __init__(self, sessions: Sessions) -> None:
        """Hold no place yet."""
        self._sessions = sessions
        self._held: tuple[str, trio.CapacityLimiter] | None = None

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
            limiter = await self._sessions.limiter(target)
            await limiter.acquire_on_behalf_of(self)
            self._held = target, limiter

    def over(self) -> None:
        """Give the place to the next, if one is held."""
        if self._held is not None:
            (_, limiter), self._held = self._held, None
            limiter.release_on_behalf_of(self)
