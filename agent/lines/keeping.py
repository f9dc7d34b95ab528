"""Writes the readings of polls into the state tables."""

from __future__ import annotations

from agent.line_model.reading import DeviceReading
from agent.lines import states
from agent.lines.states import RecordDeviceReading, RecordListed, RecordTwins, RecordUnread
from agent.polling.poller import Keeper
from agent.store.db import Store


class LineKeeper:
    """A `Keeper` of the poller."""

    def __init__(self, store: Store) -> None:
        """Take the agent's own store."""
        self._store = store

    async def keep(self, reading: DeviceReading) -> None:
        """Keep a reading. One of the agent's own that was hidden is compared with the others again."""
        await self._store.run(RecordDeviceReading(reading))
        if not reading.source and reading.target in states.hidden(self._store.query):
            await self._store.run(RecordTwins(reading.read_s))

    async def failed(self, target: str, why: str, at_s: int, *, silent: bool) -> None:
        """Note that a target could not be read, and why; unix seconds. `silent`: it did not answer."""
        await self._store.run(RecordUnread(target, why, at_s, silent))
        known = states.device(self._store.query, target)
        if known is not None and not known.source and states.is_any_told(self._store.query):
            await self._store.run(RecordTwins(at_s))

    async def listed(self, target: str, devices: frozenset[str], at_s: int) -> None:
        """Forget the devices that a system no longer knows, and find those that other targets know too."""
        await self._store.run(RecordListed(target, devices))
        await self._store.run(RecordTwins(at_s))


class ShownKeeper:
    """A `Keeper` that hands on the readings of shown devices alone: no device has two series of one value."""

    def __init__(self, store: Store, inner: Keeper) -> None:
        """Take the agent's own store, which was told of the readings before, and the keeper of shown ones."""
        self._store, self._inner = store, inner

    async def keep(self, reading: DeviceReading) -> None:
        """Hand on a reading, unless another target answers for its device."""
        if not reading.source or reading.target not in states.hidden(self._store.query):
            await self._inner.keep(reading)

    async def failed(self, target: str, why: str, at_s: int, *, silent: bool) -> None:
        """Hand on a failure."""
        await self._inner.failed(target, why, at_s, silent=silent)

    async def listed(self, target: str, devices: frozenset[str], at_s: int) -> None:
        """Hand on the devices that a system knows."""
        await self._inner.listed(target, devices, at_s)
