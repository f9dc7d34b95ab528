"""Series of the values that polls return: measures, rates and sensors of each device, in buckets of time.

A series is named by the target, the key of a part or a sensor, and the name of its value (`value` of a sensor). The
running buckets are in memory; ended ones are written by one task, in a thread, so that a slow disk holds up no poll.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import isfinite
from pathlib import Path
from typing import Final

import trio

from agent.line_model.rates import Mark, rates
from agent.line_model.reading import DeviceReading
from agent.polling.series_rows import FLOAT_MOST, WIDTH, Bucket, Gathered, decimal, merged, one_of
from agent.polling.series_sql import DAY_S, FINEST, BlockRow, BucketRow, SeriesFile
from agent.runtime.clock import Clock

_log = logging.getLogger("agent.polling")
FLUSH_S: Final = 20.0
"""How often ended buckets are written."""
LAST_FLUSH_S: Final = 10.0
"""How long the end of the agent waits for the running buckets to be written."""
TARGET_SERIES_MOST: Final = 50_000
"""Series of one target: an OLT with 4,096 ONUs of 12 values. The oldest ended ones go for new ones: stations with
made-up MAC addresses come without end."""
LIVING_MOST: Final = WIDTH // 4
"""Series with values that are dropped with a block of ended ones: they begin anew. A fuller block stays."""
SERIES_MOST: Final = 1_000_000
"""Series in all; each costs about 120 bytes of memory."""
PENDING_MOST: Final = 100_000
"""Rows that wait for the disk; when it takes none, the oldest are lost."""
POINTS_MOST: Final = 400
"""Points of a plot, for which the resolution is chosen."""
SENSOR_VALUE: Final = "value"
"""The name of a sensor's value."""
_NO_SLOTS: Final[Mapping[str, int]] = {}
OUTAGE: Final = "series"


@dataclass(frozen=True, slots=True)
class Point:
    """The values of a series in one bucket that begins at a time, unix seconds."""

    at_s: int
    low: float
    mean: float
    high: float


@dataclass(frozen=True, slots=True)
class Newest:
    """A series of a target, with its last value."""

    key: str
    name: str
    value: float


@dataclass(slots=True)
class _Device:
    """The series of one target. `slots`: key -> name -> number; a block is `WIDTH` numbers in a row."""

    slots: dict[str, dict[str, int]] = field(default_factory=dict)
    blocks: list[BlockRow] = field(default_factory=list)
    gathered: Gathered = field(default_factory=Gathered)
    bucket_s: int = 0
    read_s: int = 0
    mark: Mark | None = None
    open: int = -1
    """The block that takes new series."""
    free: list[int] = field(default_factory=list)
    """Blocks whose series were dropped."""
    endable: list[int] | None = None
    """Blocks that may be dropped in this bucket, the oldest last; None: not worked out yet."""
    dropped: int = 0
    refused: bool = False


class SeriesStore:
    """Implements `agent.polling.poller.Keeper`. Used by one trio thread."""

    def __init__(self, path: Path, bytes_most: int, clock: Clock) -> None:
        """Open the file.

        Args:
            path: of the file; its folder exists.
            bytes_most: the bound of its size.
            clock: for the ends of buckets.

        Raises:
            sqlite3.Error: the folder cannot be written.
        """
        self._clock = clock
        self.note: Callable[[str, str], None] = lambda _name, _cause: None
        """Told of (OUTAGE, why) when the file cannot be written; "": it can."""
        self._file = SeriesFile(path, bytes_most)
        self._devices: dict[str, _Device] = {}
        self._pending: list[BucketRow] = []
        self._writing: list[BucketRow] = []
        self._changed: dict[int, BlockRow] = {}
        self._dropped: list[int] = []
        self._count = self._blocks_made = 0
        for block in self._file.blocks(int(clock.wall_s()) // DAY_S):
            self._take(block)

    def close(self) -> None:
        """Close the file; `run` wrote what there was."""
        self._file.close()

    async def keep(self, reading: DeviceReading) -> None:
        """Add the values of a reading to its running buckets."""
        device = self._devices.setdefault(reading.target, _Device())
        bucket_s = reading.read_s // FINEST * FINEST
        if bucket_s != device.bucket_s:
            self._end(device)
            device.bucket_s, device.endable = bucket_s, None
        rated, device.mark = rates(device.mark, reading)
        for part in reading.parts:
            values = rated.get(part.key)
            self._add(reading.target, device, part.key, {**part.measures, **values} if values else part.measures)
        for sensor in reading.sensors:
            if sensor.value is not None:
                self._add(reading.target, device, sensor.key, {SENSOR_VALUE: sensor.value})
        device.read_s = reading.read_s
        await trio.lowlevel.checkpoint()

    async def failed(self, target: str, why: str, at_s: int, *, silent: bool) -> None:
        """Do nothing: where nothing was read, nothing is drawn."""

    async def listed(self, target: str, devices: frozenset[str], at_s: int) -> None:
        """Do nothing: the series of a device that a system no longer knows grow old by themselves."""

    async def run(self) -> None:
        """Write the buckets that ended until cancelled, and the running ones then."""
        try:
            while True:
                await self._clock.sleep(FLUSH_S)
                await self.flush(int(self._clock.wall_s()) // FINEST * FINEST)
        finally:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + LAST_FLUSH_S):
                await self.flush(None)

    async def flush(self, before_s: int | None) -> None:
        """Write the buckets that ended before a time, unix seconds; None: the running ones too."""
        for device in self._devices.values():
            if before_s is None or device.bucket_s < before_s:
                self._end(device)
        self._writing, self._pending = self._pending, []
        blocks, self._changed = self._changed, {}
        dropped, self._dropped = self._dropped, []
        if not (self._writing or blocks or dropped):
            return
        now_s = int(self._clock.wall_s())
        write = partial(self._file.write, tuple(blocks.values()), tuple(self._writing), now_s, tuple(dropped))
        try:
            await trio.to_thread.run_sync(write)
        except (sqlite3.Error, ValueError) as err:
            self._pending = [*self._writing, *self._pending][-PENDING_MOST:]
            self._changed = {**blocks, **self._changed}
            self._dropped = [*dropped, *self._dropped]
            self.note(OUTAGE, f"series.db cannot be written: {err}")
            if not isinstance(err, sqlite3.OperationalError):
                self._begin_anew(err)
        else:
            self.note(OUTAGE, "")
        self._writing = []

    def _begin_anew(self, cause: Exception) -> None:
        """Begin a new file in place of one that is damaged."""
        try:
            self._file.begin_anew(cause)
        except sqlite3.Error as err:
            self.note(OUTAGE, f"series.db cannot be made: {err}")
            return
        self._changed = {block.id: block for device in self._devices.values() for block in device.blocks}

    def newest(self, target: str) -> tuple[Sequence[Newest], int]:
        """Return the series of a target with the last value of each since the start, and when it was read last."""
        device = self._devices.get(target)
        if device is None or not device.read_s:
            return (), 0
        return [
            Newest(key, name, decimal(device.gathered.newest[slot]))
            for key, names in device.slots.items()
            for name, slot in names.items()
            if isfinite(device.gathered.newest[slot])
        ], device.read_s

    def crowded(self) -> Mapping[str, tuple[int, bool]]:
        """Return the targets with too many series: the number of dropped ones, and whether new ones are refused."""
        return {
            target: (device.dropped, device.refused)
            for target, device in self._devices.items()
            if device.dropped or device.refused
        }

    def names(self, target: str) -> Mapping[str, Sequence[str]]:
        """Return the names of the values that are kept of a target, by key."""
        device = self._devices.get(target)
        return {} if device is None else {key: sorted(names) for key, names in device.slots.items()}

    async def read(self, target: str, key: str, name: str, since_s: int, until_s: int) -> tuple[int, Sequence[Point]]:
        """Return the points of a series in a time, oldest first, with the seconds of a bucket.

        The resolution is the finest that has about `POINTS_MOST` points at most, and goes back as far.

        Raises:
            KeyError: there is no such series.
        """
        device = self._devices[target]
        slot = device.slots[key][name]
        number, within = divmod(slot, WIDTH)
        block = device.blocks[number].id
        read = partial(self._file.read, block, since_s, until_s, POINTS_MOST)
        step, found = await trio.to_thread.run_sync(read)
        buckets = dict(found)
        for at_s, bucket in self._unwritten(device, number, block):
            if since_s - FINEST < at_s < until_s:
                begin = at_s // step * step
                buckets[begin] = merged([buckets[begin], bucket]) if begin in buckets else bucket
        points = ((at_s, one_of(bucket, within)) for at_s, bucket in sorted(buckets.items()))
        return step, [Point(at_s, *values) for at_s, values in points if values is not None]

    def _unwritten(self, device: _Device, number: int, block: int) -> list[tuple[int, Bucket]]:
        rows = [(row.at_s, row.bucket) for row in (*self._writing, *self._pending) if row.block == block]
        running = device.gathered.block(number)
        return rows if running is None else [*rows, (device.bucket_s, running)]

    def _end(self, device: _Device) -> None:
        """Move the running bucket of a device to the rows that wait for the disk."""
        today = device.read_s // DAY_S
        for number, block in enumerate(device.blocks):
            bucket = device.gathered.block(number)
            if bucket is None:
                continue
            self._pending.append(BucketRow(block.id, device.bucket_s, bucket))
            if block.seen_day != today:
                self._change(device, number, BlockRow(block.id, block.target, block.names, today))
        device.gathered.end()

    def _add(self, target: str, device: _Device, key: str, values: Mapping[str, float]) -> None:
        slots = device.slots.get(key, _NO_SLOTS)
        if not device.gathered.add(slots, values):
            return
        for name, value in values.items():
            if name not in slots and -FLOAT_MOST < value < FLOAT_MOST:
                slot = self._new(target, device, key, name)
                if slot is None:
                    return
                device.gathered.add({name: slot}, {name: value})

    def _new(self, target: str, device: _Device, key: str, name: str) -> int | None:
        """Return the number of a new series; None: there are too many."""
        if "\t" in key or "\n" in key:
            return None
        if device.open < 0 or len(device.blocks[device.open].names) == WIDTH:
            number = self._room(target, device)
            if number is None:
                if not device.refused:
                    device.refused = True
                    _log.warning("series-full", extra={"target": target, "count": TARGET_SERIES_MOST})
                return None
            device.open = number
        block = device.blocks[device.open]
        slot = device.open * WIDTH + len(block.names)
        self._change(device, device.open, BlockRow(block.id, target, (*block.names, (key, name)), block.seen_day))
        device.slots.setdefault(key, {})[name] = slot
        if slot >= len(device.gathered):
            device.gathered.grow(slot + 1)
        self._count += 1
        return slot

    def _room(self, target: str, device: _Device) -> int | None:
        """Return the number of an empty block of a device; None: every block has too many living series."""
        if self._count >= SERIES_MOST:
            crowded = max(self._devices, key=lambda one: len(self._devices[one].blocks))
            if not self._drop(crowded, self._devices[crowded]):
                return None
        if not device.free and (len(device.blocks) + 1) * WIDTH > TARGET_SERIES_MOST and not self._drop(target, device):
            return None
        if device.free:
            return device.free.pop()
        device.blocks.append(self._empty(target, device))
        return len(device.blocks) - 1

    def _empty(self, target: str, device: _Device) -> BlockRow:
        self._blocks_made += 1
        return BlockRow(self._blocks_made, target, (), device.read_s // DAY_S)

    def _drop(self, target: str, device: _Device) -> bool:
        """Drop the block of a device with the fewest living series, the oldest first; whether one may be dropped."""
        if device.endable is None:
            living = {number: device.gathered.living(number) for number in range(len(device.blocks))}
            endable = [n for n, alive in living.items() if alive <= LIVING_MOST and device.blocks[n].names]
            endable.sort(key=lambda n: (living[n], device.blocks[n].seen_day, device.blocks[n].id), reverse=True)
            device.endable = endable
        if not device.endable:
            return False
        number = device.endable.pop()
        old = device.blocks[number]
        for key, name in old.names:
            names = device.slots[key]
            del names[name]
            if not names:
                del device.slots[key]
        if not device.dropped:
            _log.warning("series-dropped", extra={"target": target, "count": TARGET_SERIES_MOST})
        device.dropped += len(old.names)
        self._count -= len(old.names)
        self._changed.pop(old.id, None)
        self._dropped.append(old.id)
        device.gathered.clear(number)
        device.blocks[number] = self._empty(target, device)
        device.free.append(number)
        if device.open == number:
            device.open = -1
        return True

    def _take(self, block: BlockRow) -> None:
        """Take a block over from the file."""
        device = self._devices.setdefault(block.target, _Device())
        first = len(device.blocks) * WIDTH
        device.blocks.append(block)
        device.open = len(device.blocks) - 1
        for slot, (key, name) in enumerate(block.names, first):
            device.slots.setdefault(key, {})[name] = slot
        device.gathered.grow(first + WIDTH)
        self._count += len(block.names)
        self._blocks_made = max(self._blocks_made, block.id)

    def _change(self, device: _Device, number: int, block: BlockRow) -> None:
        device.blocks[number] = block
        self._changed[block.id] = block
