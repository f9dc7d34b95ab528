"""Rates from the counters of two readings of a device. Pure.

* A device that restarted in between has no rates: its counters began again.
* A 32-bit counter that fell has wrapped once. Where it could have wrapped twice, there is no rate.
* A 64-bit counter that fell was reset: there is no rate.
* After a gap of several readings there is no rate: one number for hours would look like a steady load.
* A rate far over the port's speed is a counter that jumped, and is dropped. Where it comes twice in a row, the speed is
  what is wrong (tunnels and VLANs tell any number), and it counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
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
"""Counter -> name of its rate, and what one count stands for."""
WRAP: Final = 1 << 32
OVER_SPEED: Final = 1.25
"""A port carries no more than this part of its speed; above 1, since the two readings are not of one moment."""
PACKET_BITS: Final = 512.0
"""Bits of the shortest frame: more packets than speed / 512 no port carries."""
GAP_READINGS: Final = 3.0
"""A gap of more than so many times the pace has no rate."""
RESTART_SLACK: Final = 0.1
"""A device's clock and ours may differ by this part of the time between readings."""
RESTART_SLACK_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Counted:
    """The counters of a part at one reading. `over`: its rates were over its speed, and were dropped for it."""

    counters: Mapping[str, int]
    over: bool = False


@dataclass(frozen=True, slots=True)
class Mark:
    """What the rates of the next reading are counted from."""

    read_s: int
    uptime_s: float | None
    boots: int | None
    parts: Mapping[str, Counted]


def rates(before: Mark | None, reading: DeviceReading) -> tuple[Mapping[str, Mapping[str, float]], Mark]:
    """Return the rates since the mark, by part and by the names of `RATES`, and the next mark.

    Args:
        before: of the reading before this one; None: there was none.
        reading: the newest reading.
    """
    seconds = None if before is None else _elapsed_s(before, reading)
    found: dict[str, Mapping[str, float]] = {}
    counted: dict[str, Counted] = {}
    for part in reading.parts:
        if not part.counters:
            continue
        earlier = None if before is None or seconds is None else before.parts.get(part.key)
        over = False
        if earlier is not None and seconds is not None:
            rated = _of_part(earlier.counters, part, seconds)
            if not (over := _over(part, rated)) or earlier.over:
                found[part.key] = rated
        counted[part.key] = Counted(part.counters, over)
    return found, Mark(reading.read_s, reading.uptime_s, reading.boots, counted)


def _elapsed_s(before: Mark, reading: DeviceReading) -> float | None:
    """Return the seconds between two readings in which the counters went on; None: they did not, or too long."""
    ours = float(reading.read_s - before.read_s)
    if not 0 < ours <= GAP_READINGS * max(reading.every_s, 1.0):
        return None
    if before.boots is not None and reading.boots is not None and before.boots != reading.boots:
        return None
    if before.uptime_s is None or reading.uptime_s is None:
        return ours
    slack = max(RESTART_SLACK_S, RESTART_SLACK * ours)
    theirs = reading.uptime_s - before.uptime_s
    if theirs < 0 or theirs < ours - slack:
        return None
    # The device's own clock counts hundredths, ours whole seconds.
    return theirs if theirs > 0 and abs(theirs - ours) <= max(2.0, RESTART_SLACK * ours) else ours


def _of_part(earlier: Mapping[str, int], part: Part, seconds: float) -> dict[str, float]:
    speed = part.measures.get("speed_bps", 0.0)
    found = {}
    for name, count in part.counters.items():
        before, rate = earlier.get(name), RATES.get(name)
        if before is None or rate is None:
            continue
        counts = count - before
        if name in part.narrow:
            most = _most(name, speed)
            if most is not None and most * seconds > WRAP:
                continue  # it may have wrapped more than once
            if counts < 0:
                if most is None and (before < WRAP // 2 or count >= WRAP // 2):
                    continue  # a reset, rather than a wrap
                counts += WRAP
        if counts >= 0:
            found[rate[0]] = counts * rate[1] / seconds
    return found


def _most(counter: str, speed: float) -> float | None:
    """Return how many counts a second a port of this speed can make at most; None: nobody knows."""
    if speed <= 0:
        return None
    return speed / 8.0 if counter.endswith("octets") else speed / PACKET_BITS


def _over(part: Part, rated: Mapping[str, float]) -> bool:
    speed = part.measures.get("speed_bps", 0.0)
    if speed <= 0:
        return False
    most_bps, most_packets = speed * OVER_SPEED, speed * OVER_SPEED / PACKET_BITS
    for name, rate in rated.items():  # noqa: SIM110  a generator for each port takes twice as long
        if rate > (most_bps if name.endswith("_bps") else most_packets):
            return True
    return False
