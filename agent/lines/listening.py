"""Hears the notifications of devices: each one is recorded.

One that a secret of the device proves changes the state of its part at once. Another one may be forged: the device is
polled at once, and that decides.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from functools import partial

import trio

from agent.connectors.base import Connector, TellsEvents
from agent.line_model.reading import EventKind, LineEvent
from agent.lines.states import RecordEvent
from agent.runtime.supervise import supervise
from agent.store.db import Store

_log = logging.getLogger("agent.lines")


class Listening:
    """Listens by every connector that plays `TellsEvents`."""

    def __init__(self, connectors: Iterable[Connector], store: Store, poll_soon: Callable[[str], None]) -> None:
        """Take the connectors; nothing is heard before `run`. `poll_soon`: has a target polled at once."""
        self._tellers = [one for one in connectors if isinstance(one, TellsEvents)]
        self._store, self._poll_soon = store, poll_soon

    async def run(self) -> None:
        """Listen until cancelled; returns where nobody tells anything.

        Raises:
            StoreFailedError: a notification cannot be recorded.
        """
        async with trio.open_nursery() as nursery:
            for teller in self._tellers:
                listen = partial(teller.listen, self._heard)
                nursery.start_soon(partial(supervise, "notifications", listen, log=_log))

    async def _heard(self, event: LineEvent) -> None:
        """Record a notification; returns when it is durable."""
        part = await self._store.run(RecordEvent(event))
        if part and not event.authenticated and event.kind in (EventKind.PART_UP, EventKind.PART_DOWN):
            self._poll_soon(event.target)
