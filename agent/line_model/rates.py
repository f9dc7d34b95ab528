"""Rates from the counters of two readings of a device. Pure.

* A device that restarted in between has no rates: its counters began again.
* A 32-bit counter that fell has wrapped once. Where it could have wrapped twice, there is no rate.
* A 64-bit counter that fell was reset: there is no rate.
* After a gap of several readings there is no rate: one number for hours would look like a steady load.
* Where the device counts less time between two readings than we do, it restarted, or the second reading took long.
  There is no rate: nothing tells when within it the counters were read.
* Where it counts more, the first one took long, as where our machine slept in the middle of it: there is no rate.
  Where it counts more twice in a row, its clock is wrong.
* A rate far over the port's speed is a counter that jumped, and is dropped. Where it comes twice in a row, the
  speed is wrong (tunnels and VLANs tell any number), and it counts. A 32-bit counter that fell may have been cleared:
  no such row begins with it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from operator import gt, sub
from types import MappingProxyType
from typing import Final

from agent.line_model.reading import DeviceReading, Part

RATES: Final[Mapping[str, tuple[str, float]]] = MappingProxyType(
    {
        "in_octets": ("in_bps", 8.0),
        "out_octets": ("out_bps", 8.0),
        "in_packets": ("in_packets_per_s", 1.0),
        "out_packets": ("out_packets_per_s", 1.0),
        "in_errors": ("in_errors_per_s", 1.0),
        "out_errors": ("out_errors_per_s", 1.0),
        "in_discards": ("in_discards_per_s", 1.0),
        "out_discards": ("out_discards_per_s", 1.0),
        "fec_corrected": ("fec_corrected_per_s", 1.0),
        "fec_uncorrected": ("fec_uncorrected_per_s", 1.0),
        "retries": ("retries_per_s", 1.0),
    }
)
"""Counter -> name of its rate, and the worth of one count."""
WRAP: Final = 1 << 32
OVER_SPEED: Final = 1.25
"""A port carries no more than this part of its speed; above 1, since the two readings are not of one moment."""
PACKET_BITS: Final = 512.0
"""Bits of the shortest frame: more packets than speed / 512 no port carries."""
GAP_READINGS: Final = 3.0
"""A gap of more than so many times the pace has no rate."""
SLACK: Final = 0.1
"""The time that a device counts between two readings and ours may differ by this part."""
SLACK_S: Final = 2.0
"""They may differ by so many seconds in any case: we count whole ones, and a lost packet costs one."""


@dataclass(frozen=True, slots=True)
class Mark:
    """The counters from which the rates of the next reading are counted.

    `parts`: the counters by key of the part. `over`: keys of parts whose rates were over their speed, and were dropped
    for it. `fast`: the device counted more time than we did, and nothing was rated for it.
    """

    read_s: int
    uptime_s: float | None
    boots: int | None
    parts: Mapping[str, Mapping[str, int]]
    over: frozenset[str] = frozenset()
    fast: bool = False


@dataclass(frozen=True, slots=True)
class _Shape:
    """The rates of parts with the same counters, widths and speed, in the order of their counters.

    `scales`: the worth of one count in the unit of its rate. `most`: a rate above it is over the speed.
    """

    rates: tuple[str, ...]
    scales: tuple[float, ...]
    most: tuple[float, ...]


def rates(before: Mark | None, reading: DeviceReading) -> tuple[Mapping[str, Mapping[str, float]], Mark]:
    """Return the rates since the mark, by part and by the names of `RATES`, and the next mark.

    Args:
        before: of the reading before this one; None: there was none.
        reading: the newest reading.
    """
    fast = before is not None and _is_fast(before, reading)
    seconds = None if before is None or (fast and not before.fast) else _elapsed_s(before, reading)
    found: dict[str, Mapping[str, float]] = {}
    counted = {part.key: part.counters for part in reading.parts if part.counters}
    over: set[str] = set()
    if before is not None and seconds is not None:
        shapes: dict[tuple[tuple[str, ...], frozenset[str], float], _Shape | None] = {}
        for part in reading.parts:
            earlier = before.parts.get(part.key)
            if earlier is None or not part.counters:
                continue
            rated, is_over, fell = _of_part(earlier, part, seconds, shapes)
            if is_over and (not fell or part.key in before.over):
                over.add(part.key)
            if not is_over or part.key in before.over:
                found[part.key] = rated
    return found, Mark(reading.read_s, reading.uptime_s, reading.boots, counted, frozenset(over), fast)


def _is_fast(before: Mark, reading: DeviceReading) -> bool:
    """Return whether the device counted more time between two readings than we did, beyond the slack."""
    if before.uptime_s is None or reading.uptime_s is None:
        return False
    ours = reading.read_s - before.read_s
    return reading.uptime_s - before.uptime_s > ours + _slack_s(ours)


def _slack_s(ours_s: float) -> float:
    return max(SLACK_S, SLACK * ours_s)


def _elapsed_s(before: Mark, reading: DeviceReading) -> float | None:
    """Return the seconds between two readings in which the counters went on; None: they did not, or too long."""
    ours = float(reading.read_s - before.read_s)
    if not 0 < ours <= GAP_READINGS * max(reading.every_s, 1.0):
        return None
    if before.boots is not None and reading.boots is not None and before.boots != reading.boots:
        return None
    if before.uptime_s is None or reading.uptime_s is None:
        return ours
    theirs = reading.uptime_s - before.uptime_s
    if theirs < 0 or theirs < ours - _slack_s(ours):
        return None
    # The device's own clock counts hundredths, ours whole seconds.
    return theirs if 0 < theirs <= ours + _slack_s(ours) else ours


def _of_part(
    earlier: Mapping[str, int],
    part: Part,
    seconds: float,
    shapes: dict[tuple[tuple[str, ...], frozenset[str], float], _Shape | None],
) -> tuple[Mapping[str, float], bool, bool]:
    """Return the rates of a part, whether one is over its speed, and whether each that is so is of a counter that fell.

    `shapes`: gets those of this reading.

    Nearly all parts have the counters of before, of which none fell: those go the short way.
    """
    names, speed = tuple(part.counters), part.measures.get("speed_bps", 0.0)
    of = (names, part.narrow, speed)
    try:
        shape = shapes[of]
    except KeyError:
        shape = shapes[of] = _shape(names, part.narrow, speed, seconds)
    if shape is not None and tuple(earlier) == names:
        counts = list(map(sub, part.counters.values(), earlier.values()))
        if min(counts) >= 0:
            rated = [count * scale / seconds for count, scale in zip(counts, shape.scales, strict=True)]
            return dict(zip(shape.rates, rated, strict=True)), any(map(gt, rated, shape.most)), False
    found = _one_by_one(earlier, part, seconds, speed)
    over = {name for name, rate in found.items() if rate > _limit(name, speed)}
    fell = {RATES[name][0] for name in names if name in RATES and part.counters[name] < earlier.get(name, 0)}
    return found, bool(over), over <= fell


def _shape(names: tuple[str, ...], narrow: frozenset[str], speed: float, seconds: float) -> _Shape | None:
    """Return the rates of parts of one kind; None: a counter has none, or may have wrapped more than once."""
    known = [RATES.get(name) for name in names]
    there = [rate for rate in known if rate is not None]
    if len(there) < len(known) or any(_wraps_often(name, speed, seconds) for name in narrow):
        return None
    return _Shape(
        tuple(rate for rate, _ in there),
        tuple(scale for _, scale in there),
        tuple(_limit(rate, speed) for rate, _ in there),
    )


def _one_by_one(earlier: Mapping[str, int], part: Part, seconds: float, speed: float) -> dict[str, float]:
    found = {}
    for name, count in part.counters.items():
        before, rate = earlier.get(name), RATES.get(name)
        if before is None or rate is None:
            continue
        counts = count - before
        if name in part.narrow:
            if _wraps_often(name, speed, seconds):
                continue
            if counts < 0:
                if speed <= 0 and (before < WRAP // 2 or count >= WRAP // 2):
                    continue  # a reset, rather than a wrap
                counts += WRAP
        if counts >= 0:
            found[rate[0]] = counts * rate[1] / seconds
    return found


def _wraps_often(counter: str, speed: float, seconds: float) -> bool:
    """Return whether a counter of 32 bits may wrap more than once; nobody knows it of a port without a speed."""
    most = speed / 8.0 if counter.endswith("octets") else speed / PACKET_BITS
    return most * seconds > WRAP


def _limit(rate: str, speed: float) -> float:
    """Return the rate that a port of this speed cannot exceed; none is known without a speed."""
    if speed <= 0:
        return math.inf
    return speed * OVER_SPEED if rate.endswith("_bps") else speed * OVER_SPEED / PACKET_BITS
