"""Many small reads become few large ones.

While one bulk read is on its way, those who want to read wait together and share the next. So 300 items that poll their
sessions cost the database one query a round, not 300; a lone reader waits for nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import trio

from agent.connectors.base import Busy, Reply, Session, UnreadableError
from agent.model import Address, Effect, Seen, Target, Ticket

BULK_MAX = 2000
"""Addresses in one read; keeps a query under the databases' parameter limits."""


class _Round:
    """One bulk read and those who wait for it. `ready`: somebody must lead it now; `finished`: it was read."""

    def __init__(self) -> None:
        self.addresses: dict[Address, None] = {}
        self.ready = trio.Event()
        self.led = False
        self.finished = trio.Event()
        self.seen: Mapping[Address, Seen] = {}
        self.error: UnreadableError | None = None


class CoalescedSession:
    """A session whose reads are shared. Everything else passes through."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.target: Target = session.target
        self._reading = False
        self._next = _Round()

    async def read(self, addresses: Collection[Address]) -> Mapping[Address, Seen]:
        """Return what each address reads, from a bulk read that began after this call."""
        mine = self._next
        mine.addresses.update(dict.fromkeys(addresses))
        if self._reading:
            await mine.ready.wait()
        if mine.led:
            await mine.finished.wait()
        else:
            await self._lead(mine)
        if mine.error is not None:
            raise UnreadableError(str(mine.error), reason=mine.error.reason) from mine.error
        return {a: mine.seen[a] for a in addresses}

    async def _lead(self, mine: _Round) -> None:
        """Read one round for all who joined it. Not cancellable: the others depend on it."""
        mine.led, self._reading, self._next = True, True, _Round()
        try:
            with trio.CancelScope(shield=True):
                mine.seen = await self._read_bulk(list(mine.addresses))
        except UnreadableError as err:
            mine.error = err
        finally:
            self._reading = False
            mine.finished.set()
            self._next.ready.set()  # the first of its waiters to wake leads; with none, the next caller does

    async def _read_bulk(self, wanted: list[Address]) -> Mapping[Address, Seen]:
        seen: dict[Address, Seen] = {}
        for start in range(0, len(wanted), BULK_MAX):
            seen.update(await self._session.read(wanted[start : start + BULK_MAX]))
        return seen

    async def bind(self, effect: Effect) -> Mapping[Address, Seen]:
        """Pass through."""
        return await self._session.bind(effect)

    async def send(self, ticket: Ticket) -> Reply:
        """Pass through."""
        return await self._session.send(ticket)

    async def settle(self) -> None:
        """Pass through."""
        await self._session.settle()

    async def busy(self) -> Busy | None:
        """Pass through."""
        return await self._session.busy()

    def notes(self) -> Sequence[str]:
        """Pass through."""
        return self._session.notes()
