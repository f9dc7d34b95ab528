"""The picture of a series: round levels and times, the whole time that was asked for, and words that fit."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.cli.plot import short
from agent.cli.plot_file import plot_bytes, unit_of
from agent.cli.plot_layout import (
    HEIGHT,
    NOTHING,
    WIDTH,
    Caption,
    Patch,
    PlotPoint,
    Plotted,
    levels,
    shapes,
    times,
    with_unit,
)

HOUR = 3600
NOON = 1_795_867_200  # 2026-11-28T12:00:00Z


@pytest.fixture(autouse=True)
def kampala(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    yield from clock_of("Africa/Kampala", monkeypatch)


def clock_of(zone: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", zone)
        time.tzset()
        yield
    time.tzset()


def hourly(count: int, without: range = range(0)) -> list[PlotPoint]:
    return [(NOON + n * 300, 1.0, 2.0, 3.0) for n in range(count) if n not in without]


def captions(plotted: Plotted) -> list[str]:
    return [shape.text for shape in shapes(plotted) if isinstance(shape, Caption)]


def gaps(plotted: Plotted) -> list[tuple[float, float]]:
    """Return the gray times, as parts of the whole width."""
    found = [shape.spots for shape in shapes(plotted) if isinstance(shape, Patch) and shape.color == NOTHING]
    return [(round((s[0][0] - 92) / (WIDTH - 116), 2), round((s[1][0] - 92) / (WIDTH - 116), 2)) for s in found]


def test_what_was_asked_for_and_not_read_is_gray() -> None:
    whole = Plotted("t", hourly(96, range(24, 48)), 300)
    assert gaps(whole) == [(0.25, 0.5)]
    asked = Plotted("t", hourly(96), 300, since_s=NOON - 8 * HOUR, until_s=NOON + 16 * HOUR)
    assert gaps(asked) == [(0.0, 0.33), (0.67, 1.0)]
    assert captions(asked).count("not read") == 2
    assert gaps(Plotted("t", hourly(96, range(24, 25)), 300)) == []


def test_texts_say_what_is_seen() -> None:
    found = captions(Plotted("ap-7 · radio/1", hourly(48), 300, "dBm"))
    assert {"ap-7 · radio/1", "dBm", "mean of 5 minutes", "lowest to highest"} <= set(found)
    assert "last 2 dBm at 28 Nov 18:55, times in EAT" in found
    assert "Sat 28 Nov 2026" in found
    assert [text for text in found if len(text) == 5 and text[2] == ":"] == ["15:00", "15:30", "16:00", "16:30",
        "17:00", "17:30", "18:00", "18:30", "19:00"]  # fmt: skip


def test_a_series_of_single_values_has_no_band() -> None:
    assert "lowest to highest" not in captions(Plotted("t", [(NOON, 1.0, 1.0, 1.0)], 300))


def test_a_long_title_keeps_both_ends_and_stays_on_the_page() -> None:
    title = f"a-device-{'x' * 200} · port/ge-0-0-12 · in_bps"
    (shown,) = [text for text in captions(Plotted(title, hourly(9), 300)) if text.startswith("a-device")]
    assert shown.endswith("· port/ge-0-0-12 · in_bps")
    assert " … " in shown
    assert len(shown) * 15 * 0.58 < WIDTH - 116


@given(st.floats(-1e15, 1e15), st.floats(0, 1e15))
def test_levels_are_round_few_and_hold_every_value(low: float, more: float) -> None:
    found, high = levels(low, low + more), low + more
    near = 1e-6 * max(abs(low), abs(high))
    assert found[0] <= low + near
    assert found[-1] >= high - near
    assert 2 <= len(found) <= 9
    assert found == sorted(set(found))


@given(st.integers(0, 4 * 10**9), st.integers(60, 10**8))
def test_times_are_few_in_order_and_within(since_s: int, span_s: int) -> None:
    found = [at_s for at_s, _ in times(since_s, since_s + span_s)]
    assert len(found) <= 10
    assert found == sorted(set(found))
    assert all(since_s <= at_s <= since_s + span_s for at_s in found)


def test_days_begin_at_the_readers_midnight_also_when_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in clock_of("Europe/Berlin", monkeypatch):
        begin = 1_792_792_800  # 2026-10-24T00:00+02:00; the clock goes back on the 25th
        found = [at_s for at_s, _ in times(begin, begin + 5 * 86_400)]
        midnights = [at_s for at_s in found if time.localtime(at_s).tm_hour == 0]
        assert len(midnights) >= 5
        assert midnights[2] - midnights[1] == 25 * HOUR


@given(st.lists(st.tuples(st.integers(0, 4 * 10**9), st.floats(-1e12, 1e12)), min_size=1, max_size=20).map(sorted))
def test_everything_is_on_the_page(values: list[tuple[int, float]]) -> None:
    for shape in shapes(Plotted("t", [(at_s, value, value, value) for at_s, value in values], 300)):
        spots = (shape.spot,) if hasattr(shape, "spot") else shape.spots
        assert all(-1 <= x <= WIDTH + 1 and -1 <= y <= HEIGHT + 1 for x, y in spots)


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0"), (-67.5, "-67.5"), (1234.0, "1.234 k"), (2.5e6, "2.5 M"), (9.4e9, "9.4 G")]
)
def test_short_numbers(value: float, text: str) -> None:
    assert short(value) == text


@pytest.mark.parametrize(
    ("value", "unit", "text"), [(2.5e6, "bit/s", "2.5 Mbit/s"), (-61.0, "dBm", "-61 dBm"), (5.0, "", "5")]
)
def test_numbers_with_their_unit(value: float, unit: str, text: str) -> None:
    assert with_unit(value, unit) == text


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("signal_dbm", "dBm"),
        ("in_bps", "bit/s"),
        ("tx_rate_bps", "bit/s"),
        ("temperature_c", "°C"),
        ("in_packets_per_s", "packets/s"),
        ("fec_corrected_per_s", "corrected/s"),
        ("clients", ""),
        ("value", ""),
    ],
)
def test_units_are_in_the_names_of_measures(name: str, unit: str) -> None:
    assert unit_of(name) == unit


@pytest.mark.parametrize(("file", "begin"), [("a.svg", b"<svg "), ("a.SVG", b"<svg "), ("a.png", b"\x89PNG")])
def test_the_name_of_a_file_says_which_kind_it_is(file: str, begin: bytes) -> None:
    assert plot_bytes(Plotted("t", hourly(3), 300), Path(file)).startswith(begin)
