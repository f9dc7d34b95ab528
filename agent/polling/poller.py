"""Asks each target of the connectors that play `Polls`, at the pace that its connector wants.

Each target has a task of its own: one that is silent holds up no other, and a crash ends no other.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

import trio

from agent.connectors.base import Connector, DeviceFacts, DeviceReport, DeviceState, Polls, UnreadableError
from agent.model import Target
from agent.polling.samples import RecordSamples
from agent.reasons import TargetReason
from agent.runtime.clock import Clock
from agent.runtime.supervise import supervise
from agent.store.db import Store
from agent.store.errors import StoreFailedError

_log = logging.getLogger("agent.polling")
ANSWER_S: Final = 60.0
"""A target that takes longer did not answer. Chosen arbitrarily."""


class Poller:
    """Implements `agent.connectors.base.DeviceFacts` too, for polled devices that no connector reports on."""

    def __init__(self, connectors: Mapping[str, Connector], store: Store, clock: Clock) -> None:
        """Take all connectors by name; nothing is asked before `run`."""
        self._polled: dict[str, tuple[Polls, Target]] = {
            target.id: (connector, target)
            for connector in connectors.values()
            if isinstance(connector, Polls)
            for target in connector.targets
        }
        self.targets: Sequence[Target] = tuple(
            target for connector, target in self._polled.values() if not isinstance(connector, DeviceFacts)
        )
        self._reports = {target.id: DeviceReport(target.id, "") for target in self.targets}
        self._store, self._clock = store, clock

    async def run(self) -> None:
        """Poll until cancelled; returns at once when nothing is polled.

        Raises:
            StoreFailedError: the answers cannot be recorded.
        """
        async with trio.open_nursery() as nursery:
            for connector, target in self._polled.values():
                again = partial(self._again, connector, target)
                nursery.start_soon(partial(supervise, "poll", again, log=_log, fatal=(StoreFailedError,)))

    def reports(self) -> Sequence[DeviceReport]:
        """Return how the last poll of each device went; nothing is sent."""
        return list(self._reports.values())

    async def probe(self, target: str) -> DeviceReport:
        """Poll a device now, and return how that went.

        Raises:
            UnreadableError: no such device is polled.
        """
        if target not in self._reports:
            raise UnreadableError(f"no target {target} is polled", reason=TargetReason.UNKNOWN_TARGET)
        await self._poll(*self._polled[target])
        return self._reports[target]

    async def _again(self, connector: Polls, target: Target) -> None:
        while True:
            await self._poll(connector, target)
            await self._clock.sleep(connector.poll_every_s)

    async def _poll(self, connector: Polls, target: Target) -> None:
        try:
            with trio.fail_after(ANSWER_S):
                samples = await connector.poll(target)
        except UnreadableError as err:
            self._note(target, str(err))
        except trio.TooSlowError:
            self._note(target, f"{target.id}: expected an answer in {ANSWER_S:g} s, got none")
        else:
            await self._store.run(RecordSamples(target.id, tuple(samples)))
            self._note(target, "")

    def _note(self, target: Target, problem: str) -> None:
        if target.id not in self._reports:
            return  # its connector reports on it
        now_s, before = int(self._clock.wall_s()), self._reports[target.id]
        state, read_s = (DeviceState.UNREACHABLE, before.read_s) if problem else (DeviceState.REACHABLE, now_s)
        self._reports[target.id] = DeviceReport(target.id, "", state, problem, now_s, read_s)
