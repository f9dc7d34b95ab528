"""Reads each target of the connectors that play `Polls` or `TellsDevices`, at the pace that its connector wants.

* Each target has a task of its own: one that is silent holds up no other, and a crash ends no other.
* Reading a target costs a place of a lane. Those that answered quickly share one lane; those that were slow or silent
  share another one, so that an outage of many delays nobody who is well.
* Where nobody could be asked in time, readings are left out, never made up for: no burst follows a pause.
* A system that tells of devices is a device too: that it cannot be read is kept under its own target, and says nothing
  about the devices that it knows.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Protocol

import trio

from agent.connectors.base import (
    Connector,
    DeviceFacts,
    DeviceReport,
    DeviceState,
    Polls,
    TellsDevices,
    UnreadableError,
)
from agent.line_model.reading import DeviceReading, Sensor, SourceReading
from agent.model import Target
from agent.reasons import TargetReason
from agent.runtime.clock import Clock
from agent.runtime.supervise import supervise
from trust import chance

_log = logging.getLogger("agent.polling")
ANSWER_S: Final = 60.0
"""A target that takes longer did not answer. Chosen arbitrarily."""
ANSWER_MOST_S: Final = 300.0
"""As long as its pace a target may take at least: an OLT has thousands of ONUs. Chosen arbitrarily."""
SLOW_S: Final = 5.0
"""A target that took longer is in the lane of slow ones at its next reading. Chosen arbitrarily."""
QUICK: Final = 64
"""Targets that are read at the same time. Each reading holds its answers in memory; chosen arbitrarily."""
SLOW: Final = 256
"""Slow or silent targets that are read at the same time: to wait for an answer costs next to nothing."""
NOT_SILENT: Final = frozenset({TargetReason.REFUSED, TargetReason.MISSING_SECRET, TargetReason.MALFORMED})
"""Why a target was not read that did answer, or was not asked: none of these says that anybody is cut off."""
FIRST_S: Final = 10.0
"""Within this time after the start every target is asked once, as far as the lanes allow."""


class Keeper(Protocol):
    """Keeps the answers of polls."""

    async def keep(self, reading: DeviceReading) -> None:
        """Keep a reading."""
        ...

    async def failed(self, target: str, why: str, at_s: int, *, silent: bool) -> None:
        """Note that a target could not be read, and why; unix seconds. `silent`: it was asked and did not answer."""
        ...

    async def listed(self, target: str, devices: frozenset[str], at_s: int) -> None:
        """Note which devices a system knows; unix seconds. Its readings were kept before."""
        ...


@dataclass(slots=True)
class _Polled:
    """A target under way. `slow`: it was slow or silent last time."""

    connector: Polls | TellsDevices
    target: Target
    slow: bool = False
    one_at_a_time: trio.Lock = field(default_factory=trio.Lock)


class Poller:
    """Implements `agent.connectors.base.DeviceFacts` too, for polled devices that no connector reports on."""

    def __init__(
        self,
        connectors: Mapping[str, Connector],
        clock: Clock,
        keepers: Sequence[Keeper] = (),
        *,
        dice: Callable[[], float] = chance.fraction,
    ) -> None:
        """Take all connectors by name; nothing is asked before `run`.

        Args:
            connectors: by name.
            clock: for pace and times.
            keepers: each of them gets each reading, one after the other.
            dice: numbers from 0 to 1 that spread the readings over time.
        """
        self._polled: dict[str, _Polled] = {
            target.id: _Polled(connector, target)
            for connector in connectors.values()
            if isinstance(connector, Polls | TellsDevices)
            for target in connector.targets
        }
        self.targets: Sequence[Target] = tuple(
            one.target for one in self._polled.values() if not isinstance(one.connector, DeviceFacts)
        )
        self._reports = {target.id: DeviceReport(target.id, "") for target in self.targets}
        self._newest: dict[str, tuple[tuple[Sensor, ...], int]] = {}
        self._clock, self._keepers, self._dice = clock, tuple(keepers), dice
        self._quick, self._slow = trio.CapacityLimiter(QUICK), trio.CapacityLimiter(SLOW)

    @property
    def polls(self) -> bool:
        """Whether anything is polled."""
        return bool(self._polled)

    async def run(self) -> None:
        """Poll until cancelled; returns at once when nothing is polled.

        Raises:
            StoreFailedError: the answers cannot be recorded.
        """
        async with trio.open_nursery() as nursery:
            for one in self._polled.values():
                again = partial(self._again, one)
                nursery.start_soon(partial(supervise, "poll", again, log=_log))

    def reports(self) -> Sequence[DeviceReport]:
        """Return how the last poll of each device went; nothing is sent."""
        return list(self._reports.values())

    def newest(self, target: str) -> tuple[Sequence[Sensor], int]:
        """Return the newest values of a target, and when they were read; 0: none were since the start."""
        return self._newest.get(target, ((), 0))

    async def probe(self, target: str) -> DeviceReport:
        """Poll a device now, and return how that went.

        Raises:
            UnreadableError: no such device is polled.
        """
        if target not in self._reports:
            raise UnreadableError(f"no target {target} is polled", reason=TargetReason.UNKNOWN_TARGET)
        await self.poll_now(target)
        return self._reports[target]

    async def poll_now(self, target: str) -> bool:
        """Poll a target now, as its schedule would, or the system that tells of it; whether there is one."""
        one = self._polled.get(target) or self._polled.get(target.rpartition("/")[0])
        if one is not None:
            await self._poll(one)
        return one is not None

    async def _again(self, one: _Polled) -> None:
        every_s = one.connector.poll_every_s(one.target.id)
        await self._clock.sleep(self._dice() * min(every_s, FIRST_S))
        await self._in_lane(one)
        # The second reading is at a time of its own in the pace, so that thousands never come due at once.
        due = self._clock.boot_s() + (0.5 + self._dice() / 2) * every_s
        while True:
            await self._clock.sleep_until_boot(due)
            await self._in_lane(one)
            every_s = one.connector.poll_every_s(one.target.id)
            due += every_s
            if (late_s := self._clock.boot_s() - due) > 0:
                due += every_s * (late_s // every_s + 1)

    async def _in_lane(self, one: _Polled) -> None:
        async with self._slow if one.slow else self._quick:
            await self._poll(one)

    async def _poll(self, one: _Polled) -> None:
        async with one.one_at_a_time:
            target, begun = one.target, self._clock.boot_s()
            limit_s = max(ANSWER_S, min(one.connector.poll_every_s(target.id), ANSWER_MOST_S))
            try:
                with trio.fail_after(limit_s):
                    if isinstance(one.connector, TellsDevices):
                        found: SourceReading | DeviceReading = await one.connector.gather(target)
                    else:
                        found = await one.connector.poll(target)
            except UnreadableError as err:
                await self._failed(one, str(err), silent=err.reason not in NOT_SILENT)
            except trio.TooSlowError:
                await self._failed(one, f"{target.id}: expected an answer in {limit_s:g} s, got none", silent=True)
            else:
                one.slow = self._clock.boot_s() - begun > SLOW_S
                await self._keep(found)
                self._note(target, "")

    async def _keep(self, found: SourceReading | DeviceReading) -> None:
        if isinstance(found, DeviceReading):
            for keeper in self._keepers:
                await keeper.keep(found)
            self._newest[found.target] = (found.sensors, found.read_s)
            return
        for keeper in self._keepers:
            await _keep_told(keeper, found)
        self._newest |= {reading.target: (reading.sensors, reading.read_s) for reading in found.readings}
        for target in [t for t in self._newest if t.startswith(f"{found.target}/") and t not in found.devices]:
            del self._newest[target]

    async def _failed(self, one: _Polled, why: str, *, silent: bool) -> None:
        one.slow = True
        silent = silent and not isinstance(one.connector, TellsDevices)
        for keeper in self._keepers:
            await keeper.failed(one.target.id, why, int(self._clock.wall_s()), silent=silent)
        self._note(one.target, why)

    def _note(self, target: Target, problem: str) -> None:
        if target.id not in self._reports:
            return  # its connector reports on it
        now_s, before = int(self._clock.wall_s()), self._reports[target.id]
        state, read_s = (DeviceState.UNREACHABLE, before.read_s) if problem else (DeviceState.REACHABLE, now_s)
        self._reports[target.id] = DeviceReport(target.id, "", state, problem, now_s, read_s)


async def _keep_told(keeper: Keeper, found: SourceReading) -> None:
    """Hand the answers of a system to a keeper. The list comes last: devices are compared by their readings."""
    for reading in found.readings:
        await keeper.keep(reading)
    for down in found.down:
        await keeper.failed(down.target, down.why, down.since_s, silent=down.silent)
    await keeper.keep(DeviceReading(found.target, found.read_s, not_read=found.not_read, every_s=found.every_s))
    await keeper.listed(found.target, found.devices, found.read_s)
