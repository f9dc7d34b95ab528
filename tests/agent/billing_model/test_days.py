"""A due day is the billing system's, today is the operator's, and in doubt the later day counts."""

from __future__ import annotations

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.billing_model.days import end_of, start_of, today, when_untrusted
from agent.billing_model.errors import MalformedDayError

ZONES = [ZoneInfo(name) for name in ("America/Lima", "Europe/Athens", "Pacific/Auckland", "UTC")]


@pytest.mark.parametrize("zone", ZONES, ids=str)
def test_uisp_midnight_is_its_own_day(zone: ZoneInfo) -> None:
    # F1: two hours east of Greenwich the 27th begins on the 26th in UTC
    assert when_untrusted("2026-11-27T00:00:00+0200", zone).day >= date(2026, 11, 27)


def test_moment_in_utc_is_the_day_of_the_zone() -> None:
    assert when_untrusted("2026-11-26T22:00:00Z", ZoneInfo("Europe/Athens")).day == date(2026, 11, 27)


def test_today_is_local() -> None:
    # F2: at 19:30 in Lima it is the next day in UTC
    at_s = datetime(2026, 11, 28, 0, 30, tzinfo=UTC).timestamp()
    assert today(at_s, ZoneInfo("America/Lima")) == date(2026, 11, 27)


def test_days_have_23_and_25_hours() -> None:
    zone = ZoneInfo("Europe/Athens")
    for day, hours in ((date(2026, 3, 29), 23), (date(2026, 10, 25), 25), (date(2026, 6, 1), 24)):
        assert end_of(day, zone) - start_of(day, zone) == hours * 3600


def test_day_alone_covers_its_day() -> None:
    zone = ZoneInfo("America/Lima")
    when = when_untrusted("2026-11-27", zone)
    assert (when.first_s, when.last_s) == (start_of(when.day, zone), end_of(when.day, zone) - 1)


def test_moment_without_offset_is_in_the_zone() -> None:
    when = when_untrusted("2026-11-27T19:00:00", ZoneInfo("America/Lima"))
    assert when.first_s == when.last_s == datetime(2026, 11, 28, 0, 0, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    "text",
    ["", "27.11.2026", "2026-13-01", "2026-02-30", "2026-11-27 ", "20261127", "0000-00-00", "9999-12-31T23:59:59Z",
     "2026-11-27T25:00:00Z", "2026-11-27T00:00:00+99:00", "１２３４-11-27", "2026-11-27T00:00"],
)  # fmt: skip
def test_no_day(text: str) -> None:
    with pytest.raises(MalformedDayError, match="expected"):
        when_untrusted(text, UTC)


@given(st.text(max_size=40))
def test_total(text: str) -> None:
    try:
        when_untrusted(text, ZONES[0])
    except MalformedDayError:
        pass


@given(st.datetimes(datetime(1971, 1, 1), datetime(9000, 1, 1)), st.integers(-12 * 60, 14 * 60), st.sampled_from(ZONES))  # noqa: DTZ001  a wall clock's
def test_never_before_the_written_day(moment: datetime, minutes: int, zone: ZoneInfo) -> None:
    sign, hours = "-" if minutes < 0 else "+", abs(minutes)
    text = f"{moment.isoformat(timespec='seconds')}{sign}{hours // 60:02d}{hours % 60:02d}"
    assert when_untrusted(text, zone).day >= moment.date()
