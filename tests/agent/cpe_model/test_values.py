from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.connectors.cwmp.events import EventCode, event_code
from agent.cpe_model import values
from agent.cpe_model.presentable import presentable


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-24T22:49:33.870Z", datetime(2026, 11, 24, 22, 49, 33, 870000, UTC)),
        ("2026-11-24T22:49:33.1234567Z", datetime(2026, 11, 24, 22, 49, 33, 123456, UTC)),
        ("2019-08-23T11:31:45+02:00", datetime(2019, 8, 23, 9, 31, 45, tzinfo=UTC)),
        (" 2019-08-23T11:31:45-02:30\n", datetime(2019, 8, 23, 14, 1, 45, tzinfo=UTC)),
        ("2015-01-19T23:08:24", None),
        ("0001-01-01T00:00:00Z", None),
        ("0001-01-03T10:00:00", None),
        ("0000-00-00T00:00:00", None),
        ("0000-00-00", None),
        ("9999-12-31T23:59:59-14:00", None),
        ("2026-02-30T00:00:00Z", None),
        ("2026-02-20T00:00:00+14:30", None),
        ("2026-02-20T00:00:00+01:60", None),
        ("2026-02-20T00:00:00" + "." + "1" * 100, None),
        ("foo", None),
        ("", None),
    ],
)
def test_moments(text: str, moment: datetime | None) -> None:
    assert values.moment(text) == moment


def test_a_time_without_a_zone_needs_one() -> None:
    zone = timezone(timedelta(hours=3))
    assert values.moment("2015-01-19T23:08:24", zone) == datetime(2015, 1, 19, 20, 8, 24, tzinfo=UTC)


@given(
    st.text()
    | st.from_regex(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?(Z|[+-][0-9]{2}:[0-9]{2})?")
)
def test_any_text_names_a_moment_or_none(text: str) -> None:
    got = values.moment(text, UTC)
    assert got is None or got.utcoffset() == timedelta(0)


def test_numbers_are_checked_in_their_range() -> None:
    assert values.is_number("4294967295", 0, values.UNSIGNED_INT)
    assert not values.is_number("4294967296", 0, values.UNSIGNED_INT)
    assert not values.is_number(" 1", 0, 9)
    assert not values.is_number("9" * 30, 0, 10**40)


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        ("int", ["-2147483648", "2147483647"], ["2147483648", "", "1.0"]),
        ("unsignedInt", ["0"], ["-1", "x"]),
        ("long", ["-9223372036854775808"], ["9223372036854775808"]),
        ("unsignedLong", ["18446744073709551615"], ["18446744073709551616"]),
        ("boolean", ["0", "true"], ["True", "30", ""]),
        ("dateTime", ["0001-01-01T00:00:00Z"], ["0000-00-00T00:00:00", "2026-01-01"]),
        ("base64", ["", "QQ=="], ["QQ", "é", "Q Q="]),
        ("hexBinary", ["", "0aFF"], ["0", "xx"]),
        ("string", ["anything"], []),
    ],
)
def test_types(kind: str, good: list[str], bad: list[str]) -> None:
    assert [values.TYPES[kind](text) for text in good] == [True] * len(good)
    assert [values.TYPES[kind](text) for text in bad] == [False] * len(bad)


@given(st.text())
def test_a_type_that_is_known_stays_so(text: str) -> None:
    once = values.read_type(text)
    assert values.read_type(once) == once or once not in values.TYPES


@pytest.mark.parametrize("code", EventCode)
def test_event_codes_whatever_their_case_and_blanks(code: EventCode) -> None:
    assert event_code(code.value) is code
    assert event_code(f" {code.value.lower().replace(' ', '  ')}\n") is code


@given(st.text())
def test_other_event_codes_stay_as_they_came(text: str) -> None:
    assert event_code(f"X {text}") == f"X {text}"


@given(st.text())
def test_names_are_short_and_harmless(text: str) -> None:
    shown = presentable(text)
    assert len(shown) <= 60
    assert shown.isprintable()
