"""A day of polls of a whole network: memory stays flat, and a value costs what ADR 34 says."""

from __future__ import annotations

import gc
import random
import resource
from contextlib import closing
from pathlib import Path

import pytest

from agent.line_model.reading import DeviceReading, Part, PartKind
from agent.polling.series import SeriesStore
from agent.polling.series_sql import DAY_S
from tests.builders.clock import START, HandClock

DEVICES, PORTS = 8, 48
COUNTERS = ("in_octets", "out_octets", "in_packets", "out_packets", "in_errors", "out_errors", "in_discards")


class Network:
    """Ports with traffic that varies; a third of them are idle."""

    def __init__(self) -> None:
        self.dice = random.Random(7)
        self.counts = {(d, p, name): 0 for d in range(DEVICES) for p in range(PORTS) for name in COUNTERS}

    def reading(self, device: int, at_s: int) -> DeviceReading:
        """Return the next reading of a device."""
        parts = []
        for port in range(PORTS):
            counters = {}
            for name in COUNTERS:
                busy = port % 3 and not name.endswith(("errors", "discards"))
                at = (device, port, name)
                self.counts[at] += self.dice.randrange(500_000_000) if busy else 0
                counters[name] = self.counts[at]
            parts.append(Part(f"port/{port}", PartKind.PORT, "", counters=counters, measures={"speed_bps": 1e9}))
        return DeviceReading(f"snmp/{device}", at_s, parts=tuple(parts))


def resident_bytes() -> int:
    """Return the memory that this process has: tracemalloc would take ten times as long as the day."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize()


@pytest.mark.slow
async def test_memory_is_flat_over_a_day(tmp_path: Path) -> None:
    network, held = Network(), []
    with closing(SeriesStore(tmp_path / "series.db", 1 << 30, HandClock())) as store:
        for n in range(DAY_S // 300):
            at_s = START + 300 * n
            HandClock.now_s = at_s + 60.0
            for device in range(DEVICES):
                await store.keep(network.reading(device, at_s))
            await store.flush(at_s)
            if n % 72 == 71:
                gc.collect()
                held.append(resident_bytes())
        HandClock.now_s = START + DAY_S + 1200.0
        await store.flush(None)
        _, points = await store.read("snmp/0", "port/1", "in_bps", START, START + DAY_S)
        assert len(points) == DAY_S // 300 - 1, "the first reading has no rate"
    # Counters outgrow small integers in the first hours: the growth after a quarter of the day counts
    assert held[-1] - held[0] < 8 << 20
    values = DEVICES * PORTS * (len(COUNTERS) + 1) * (DAY_S // 300) * (1 + 3 / 12)
    assert (tmp_path / "series.db").stat().st_size / values < 2.5, "bytes of a value, those of hours and days with it"
