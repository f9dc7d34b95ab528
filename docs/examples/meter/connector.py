"""The connector to meters."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager

import trio

from agent.connectors.base import DeviceReport, DeviceState, UnreadableError
from agent.connectors.meter.configuration import Meter, MeterConfig
from agent.line_model.reading import DeviceReading, Sensor
from agent.model import ABSENT, Address, Seen, Target
from agent.reasons import TargetReason
from agent.runtime.clock import Clock


class MeterConnector:
    """Implements `Reads`, `Polls` and `DeviceFacts` of `agent.connectors.base`."""

    window = 1

    def __init__(self, config: MeterConfig, secrets: Callable[[str], bytes], clock: Clock) -> None:
        """Take the configuration; nothing is opened."""
        self._meters = {f"meter/{meter.name}": meter for meter in config.meters}
        self._secrets, self._clock = secrets, clock
        self._reports = {target: DeviceReport(target, str(m.file)) for target, m in self._meters.items()}
        self.targets: Sequence[Target] = tuple(Target(target, "meter") for target in self._meters)

    @asynccontextmanager
    async def dial(self, target: Target) -> AsyncIterator[MeterSession]:
        """Lend a session; the file is opened at each read."""
        await trio.lowlevel.checkpoint()
        yield MeterSession(target, self)

    def now_s(self) -> int:
        """Return the time, unix seconds, by the clock that was handed down: a simulation has another one."""
        return int(self._clock.wall_s())

    def poll_every_s(self, target: str) -> float:
        """Return how often a meter is to be read."""
        return self._meters[target].every_s

    async def poll(self, target: Target) -> DeviceReading:
        """Read all values of a meter.

        Raises:
            UnreadableError: its file cannot be read, or its password is missing.
        """
        values = await self.values_of(target.id)
        sensors = tuple(_sensor(name, text) for name, text in values.items())
        every_s = self.poll_every_s(target.id)
        return DeviceReading(target.id, self.now_s(), "meter", sensors=sensors, every_s=every_s)

    def reports(self) -> Sequence[DeviceReport]:
        """Return how the last read of each meter went."""
        return list(self._reports.values())

    async def probe(self, target: str) -> DeviceReport:
        """Read a meter now, and return how that went.

        Raises:
            UnreadableError: no such meter is configured.
        """
        if target not in self._meters:
            raise UnreadableError(f"no target {target} is configured", reason=TargetReason.UNKNOWN_TARGET)
        try:
            await self.values_of(target)
        except UnreadableError:
            return self._reports[target]
        return self._reports[target]

    async def values_of(self, target: str) -> Mapping[str, str]:
        """Return the values of a meter by name.

        Raises:
            UnreadableError: its file cannot be read, or its password is missing.
        """
        meter, now_s = self._meters[target], self.now_s()
        try:
            values = await self._read(meter)
        except UnreadableError as err:
            problem = str(err)
            self._reports[target] = DeviceReport(target, str(meter.file), DeviceState.UNREACHABLE, problem, now_s)
            raise
        facts = {"values": str(len(values))}
        self._reports[target] = DeviceReport(
            target, str(meter.file), DeviceState.REACHABLE, "", now_s, now_s, facts=facts
        )
        return values

    async def _read(self, meter: Meter) -> Mapping[str, str]:
        if meter.secret:
            self._secrets(meter.secret)
        try:
            text = await trio.Path(meter.file).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as err:
            raise UnreadableError(f"{meter.name}: cannot be read: {err}", reason=TargetReason.UNREACHABLE) from err
        pairs = (line.partition("=") for line in text.splitlines())
        return {name: value for name, equals, value in pairs if equals}


def _sensor(name: str, text: str) -> Sensor:
    try:
        return Sensor(f"value/{name}", "value", name, float(text))
    except ValueError:
        return Sensor(f"value/{name}", "state", name, text=text)


class MeterSession:
    """Implements `agent.connectors.base.ReadSession`."""

    def __init__(self, target: Target, connector: MeterConnector) -> None:
        """Take the connector that reads."""
        self.target = target
        self._connector = connector

    async def read(self, addresses: Collection[Address]) -> Mapping[Address, Seen]:
        """Return the value of each address `meter/NAME/value/KEY`.

        Raises:
            UnreadableError: the meter cannot be read.
        """
        values, at_s = await self._connector.values_of(self.target.id), self._connector.now_s()
        found = {a: values.get(a.rpartition("/")[2]) for a in addresses}
        return {a: Seen(ABSENT if value is None else {"value": value}, at_s) for a, value in found.items()}

    def notes(self) -> Sequence[str]:
        """Return nothing: no preview is made of a meter."""
        return ()
