"""Rates from counters: wraps, restarts, gaps and speeds that lie."""

from __future__ import annotations

from typing import Any

import pytest

from agent.line_model.rates import RATES, Mark, rates
from agent.line_model.reading import COUNTERS, DeviceReading, Part, PartKind

GIGABIT = 1e9


def reading(
    at_s: int,
    octets: int,
    *,
    speed: float = GIGABIT,
    narrow: bool = False,
    name: str = "in_octets",
    uptime_s: float | None = None,
    boots: int | None = None,
) -> DeviceReading:
    part = Part(
        "port/1",
        PartKind.PORT,
        "1",
        counters={name: octets},
        measures={"speed_bps": speed} if speed else {},
        narrow=frozenset({name} if narrow else ()),
    )
    return DeviceReading("snmp/a", at_s, uptime_s=uptime_s, boots=boots, parts=(part,), every_s=300)


def between(first: DeviceReading, second: DeviceReading) -> Any:
    _, mark = rates(None, first)
    return rates(mark, second)[0].get("port/1", {})


def test_every_counter_has_a_rate() -> None:
    assert RATES.keys() == COUNTERS.keys()


def test_two_readings_make_a_rate() -> None:
    assert rates(None, reading(1000, 5))[0] == {}
    assert between(reading(1000, 5), reading(1300, 3_000_005)) == {"in_bps": 80_000}
    assert between(reading(1000, 5, name="in_errors"), reading(1300, 35, name="in_errors")) == {"in_errors_per_s": 0.1}


def test_the_devices_own_clock_is_finer() -> None:
    found = between(reading(1000, 0, uptime_s=5.0), reading(1300, 3_000_000, uptime_s=304.5))
    assert found["in_bps"] == pytest.approx(3_000_000 * 8 / 299.5)


def test_a_clock_that_runs_fast_counts_for_nothing() -> None:
    _, mark = rates(None, reading(1000, 0, uptime_s=5.0))
    found, mark = rates(mark, reading(1300, 3_000_000, uptime_s=500.0))
    assert found == {}, "it may be our machine that slept"
    found, mark = rates(mark, reading(1600, 6_000_000, uptime_s=1000.0))
    assert found["port/1"] == {"in_bps": 80_000}


def test_a_machine_that_slept_in_a_reading_makes_no_rate() -> None:
    """Seed 830048: uptime and counters came before the sleep, the end of the reading 1,900 s later."""
    _, mark = rates(None, reading(1000, 0, uptime_s=100.0))
    found, mark = rates(mark, reading(3260, 3_000_000, uptime_s=400.0))
    assert found == {}
    found, mark = rates(mark, reading(3500, 25_000_000, uptime_s=2600.0))
    assert found == {}, "25 million octets in 240 s are far more than there were"
    found, _ = rates(mark, reading(3800, 28_000_000, uptime_s=2900.0))
    assert found["port/1"] == {"in_bps": 80_000}


def test_a_reading_that_took_long_makes_no_rate() -> None:
    """Seed 4000021: the uptime came 25 s before the end of a reading, the counters 22 s, and another one followed."""
    _, mark = rates(None, reading(1719, 1_195_088_834, uptime_s=6519.49))
    found, mark = rates(mark, reading(1804, 1_799_175_112, uptime_s=6579.49))
    assert found == {}, "604 million octets in 85 s are too few"
    found, mark = rates(mark, reading(1808, 2_087_540_812, uptime_s=6608.72))
    assert found == {}, "288 million octets in 4 s are seven times as many as there were"
    found, mark = rates(mark, reading(1839, 2_395_107_061, uptime_s=6639.49))
    assert found["port/1"]["in_bps"] == pytest.approx(80e6, rel=0.01)


@pytest.mark.parametrize(
    ("speed", "before", "now", "rate"),
    [
        (100e6, (1 << 32) - 1000, 2000, 3000 * 8 / 300),
        (0, (1 << 32) - 1000, 2000, 3000 * 8 / 300),
        (0, 1_000_000, 2000, None),  # from far below the end: a reset
        (GIGABIT, 1000, 2000, None),  # a gigabit wraps 32 bits in 34 s
    ],
)
def test_narrow_counters_wrap(speed: float, before: int, now: int, rate: float | None) -> None:
    found = between(reading(1000, before, speed=speed, narrow=True), reading(1300, now, speed=speed, narrow=True))
    assert found == ({} if rate is None else {"in_bps": rate})


def test_a_wrap_that_the_port_cannot_have_made_is_a_reset() -> None:
    slow = {"speed": 10e6, "narrow": True}
    first, second = reading(1000, 1_000_000, **slow), reading(1300, 2000, **slow)  # type: ignore[arg-type]  # mixed
    assert between(first, second) == {}


def test_counters_that_are_cleared_twice_have_no_rate() -> None:
    """Seed 25000152: the second time counted as a speed that is wrong, and 1,062 Mbit/s were kept."""
    mark: Mark | None = None
    found = []
    for turn, octets in enumerate((1_000_000, 2000, 1500, 1500 + 37_500)):
        rated, mark = rates(mark, reading(1000 + 300 * turn, octets, speed=10e6, narrow=True))
        found.append(rated.get("port/1", {}).get("in_bps"))
    assert found == [None, None, None, 1000]


def test_a_wrap_is_rated_where_the_speed_is_wrong() -> None:
    step = int(10e6 / 8 * 300 * 5)  # five times as fast as the port says to be
    mark: Mark | None = None
    found = []
    for turn in range(5):
        rated, mark = rates(mark, reading(1000 + 300 * turn, step * turn % (1 << 32), speed=10e6, narrow=True))
        found.append(rated.get("port/1", {}).get("in_bps"))
    assert found == [None, None, 50e6, 50e6, 50e6]
    assert step * 3 > 1 << 32 > step * 2


def test_a_wide_counter_that_fell_was_reset() -> None:
    assert between(reading(1000, 1_000_000), reading(1300, 5)) == {}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"boots": 4}, {"boots": 5}),
        ({"uptime_s": 5000.0}, {"uptime_s": 100.0}),
        ({"uptime_s": 10.0}, {"uptime_s": 200.0}),  # younger than it must be
    ],
)
def test_a_restart_has_no_rate(first: Any, second: Any) -> None:
    assert between(reading(1000, 0, **first), reading(1300, 1000, **second)) == {}


def test_a_gap_has_no_rate() -> None:
    assert between(reading(1000, 0), reading(1900, 9000)) == {"in_bps": 80}
    assert between(reading(1000, 0), reading(1901, 9000)) == {}
    assert between(reading(1000, 0), reading(1000, 9000)) == {}
    assert between(reading(1000, 0), reading(900, 9000)) == {}, "the clock was set back"


def test_a_jump_over_the_speed_drops_once_and_is_then_believed() -> None:
    step = int(10e6 / 8 * 300 * 20)  # twenty times as fast as the port says to be
    mark: Mark | None = None
    found = []
    for turn in range(4):
        rated, mark = rates(mark, reading(1000 + 300 * turn, step * turn, speed=10e6))
        found.append(rated.get("port/1", {}).get("in_bps"))
    assert found == [None, None, 200e6, 200e6]
    packets = {"speed": 10e6, "name": "in_packets"}
    assert between(reading(1000, 0, **packets), reading(1300, 10**8, **packets)) == {}  # type: ignore[arg-type]  # mixed


def test_parts_come_and_go() -> None:
    _, mark = rates(None, reading(1000, 0))
    other = Part("port/2", PartKind.PORT, "2", counters={"in_octets": 7})
    bare = Part("port/1", PartKind.PORT, "1")
    found, mark = rates(mark, DeviceReading("snmp/a", 1300, parts=(other, bare)))
    assert (found, set(mark.parts)) == ({}, {"port/2"})
