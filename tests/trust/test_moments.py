"""One form of a moment for people, with its zone, and one for programs."""

from __future__ import annotations

import contextlib
import re
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trust.moments import LATEST_S, moment_json, moment_text, moments_json, rfc3339, unix_of_rfc3339_untrusted

NOW_S = datetime(2026, 11, 25, 20, 30, tzinfo=UTC).timestamp()
HOUR = 3600


@pytest.mark.parametrize(
    ("zone", "after_s", "says"),
    [
        ("UTC", 0, "20:30 UTC"),
        ("UTC", 6 * HOUR, "2026-11-26 02:30 UTC"),
        ("Africa/Nairobi", 0, "23:30 EAT"),
        ("Africa/Nairobi", HOUR, "2026-11-26 00:30 EAT"),
        ("America/Sao_Paulo", HOUR, "18:30 UTC-03"),
        ("Asia/Kathmandu", 0, "02:15 UTC+0545"),
        ("UTC", -400 * 24 * HOUR, "2025-10-21 20:30 UTC"),
    ],
)
def test_a_moment_has_its_zone_and_a_date_if_not_today(zone: str, after_s: int, says: str) -> None:
    assert moment_text(NOW_S + after_s, ZoneInfo(zone), NOW_S) == says


def test_without_a_now_the_date_is_always_there() -> None:
    assert moment_text(NOW_S + 1, UTC) == "2026-11-25 20:30 UTC"
    assert moment_text(NOW_S + 1, UTC, seconds=True) == "2026-11-25 20:30:01 UTC"
    assert moment_text(NOW_S + 1.9, UTC, NOW_S, seconds=True) == "20:30:01 UTC"


def test_the_machines_own_zone_knows_summer_from_winter(monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        assert moment_text(NOW_S) == "2026-11-25 21:30 CET"
        assert moment_text(NOW_S - 150 * 24 * HOUR) == "2026-06-28 22:30 CEST"
    finally:
        monkeypatch.undo()
        time.tzset()


@given(st.floats(allow_nan=True))
def test_any_number_has_a_text(unix_s: float) -> None:
    assert moment_text(unix_s, UTC, NOW_S)


def test_what_is_no_year_that_people_write_is_its_number() -> None:
    assert moment_text(LATEST_S, UTC) == "9999-12-31 23:59 UTC"
    assert moment_text(LATEST_S + 1, UTC) == "253402300800 s since 1970"


def test_programs_get_rfc_3339() -> None:
    assert rfc3339(NOW_S + 0.7) == "2026-11-25T20:30:00Z"
    with pytest.raises(ValueError, match="expected a moment of the years 1 to 9999"):
        rfc3339(10**18)


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-25T20:30:00Z",
        "2026-11-25t20:30:00z",
        "2026-11-25 20:30:00Z",
        "2026-11-25T23:30:00+03:00",
        "2026-11-25T20:30:00.999999999999Z",
    ],
)
def test_a_moment_is_read_as_rfc_3339_writes_it(text: str) -> None:
    assert unix_of_rfc3339_untrusted(text) == NOW_S


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("2026-11-25T20:30:00", "expected RFC 3339, such as 2026-11-26T11:05:00Z, got '2026-11-25T20:30:00'"),
        ("2026-11-25", "expected RFC 3339"),
        ("yesterday", "expected RFC 3339"),
        ("2026-02-30T00:00:00Z", "day"),
        ("2026-11-25T20:30:00+99:00", "offset"),
        ("1969-12-31T23:59:59Z", "expected a moment after 1969, got '1969-12-31T23:59:59Z'"),
    ],
)
def test_a_text_that_is_no_moment_is_refused(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)):
        unix_of_rfc3339_untrusted(text)


@given(st.text())
def test_any_text_is_a_moment_or_refused(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert unix_of_rfc3339_untrusted(text) >= 0


@given(st.integers(0, LATEST_S))
def test_a_written_moment_is_read_as_the_same(unix_s: int) -> None:
    assert unix_of_rfc3339_untrusted(rfc3339(unix_s)) == unix_s


@pytest.mark.parametrize("unix_s", [None, 0, -1, 0.5, LATEST_S + 1, float("nan"), float("inf")])
def test_an_answer_has_null_where_no_moment_is_known(unix_s: float | None) -> None:
    assert moment_json(unix_s) is None


def test_an_answer_has_its_moments_in_rfc_3339() -> None:
    assert (moment_json(1), moment_json(LATEST_S)) == ("1970-01-01T00:00:01Z", "9999-12-31T23:59:59Z")
    fields = {"read_s": NOW_S + 0.7, "age_s": 3, "tried_s": None}
    assert moments_json(fields, read_s="read_at", tried_s="tried_at", since_s="since") == {
        "read_at": "2026-11-25T20:30:00Z", "age_s": 3, "tried_at": None,
    }  # fmt: skip
