"""Times as people type them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
import typer

from agent.cli.when import clock_text, moment, period, query, said, unix_of, when_text
from trust.moments import rfc3339

EAT = timezone(timedelta(hours=3))
NOW = datetime(2026, 11, 27, 14, 45, 12, tzinfo=EAT)


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("2026-11-26", datetime(2026, 11, 26, tzinfo=EAT)),
        ("2026-11-26T20:59", datetime(2026, 11, 26, 20, 59, tzinfo=EAT)),
        ("2026-11-26t17:59:00Z", datetime(2026, 11, 26, 20, 59, tzinfo=EAT)),
        ("09:30", datetime(2026, 11, 27, 9, 30, tzinfo=EAT)),
        ("today", datetime(2026, 11, 27, tzinfo=EAT)),
        (" Yesterday ", datetime(2026, 11, 26, tzinfo=EAT)),
        ("45m", NOW - timedelta(minutes=45)),
        ("3d", NOW - timedelta(days=3)),
        ("2w", NOW - timedelta(weeks=2)),
    ],
)
def test_moments(text: str, means: datetime) -> None:
    assert moment(text, NOW) == means


def test_the_end_of_a_day_alone_is_its_last_moment() -> None:
    assert moment("2026-11-26", NOW, end=True) == datetime(2026, 11, 27, tzinfo=EAT)
    assert moment("today", NOW, end=True) == datetime(2026, 11, 28, tzinfo=EAT)
    assert moment("2026-11-26T20:59", NOW, end=True) == datetime(2026, 11, 26, 20, 59, tzinfo=EAT)


@pytest.mark.parametrize("text", ["", "soon", "25:99", "2026-13-01", "99999999w", "3 days"])
def test_no_time(text: str) -> None:
    with pytest.raises((ValueError, OverflowError)):
        moment(text, NOW)


def test_what_is_no_time_is_said_with_the_forms(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as info:
        period("soon", "")
    assert info.value.exit_code == 2
    assert capsys.readouterr().err.startswith("--since: expected 2026-11-27, ")
    assert period("", "") == {}
    assert list(period("1970-01-02", "")) == ["since"]


def test_a_query_has_what_is_said() -> None:
    assert query({"for": "C-1/home", "by": "", "limit": "2"}) == "?for=C-1%2Fhome&limit=2"
    assert query({"by": ""}) == ""


def test_a_moment_is_eleven_columns_wide() -> None:
    now = datetime(2026, 11, 27, 12, tzinfo=UTC).astimezone()
    shown = [when_text(rfc3339((now - timedelta(days=d)).timestamp()), now) for d in (0, 20, 400)]
    assert {len(text) for text in shown} == {11}
    assert shown[0].startswith("      ")
    assert shown[2] == "2025-10-23 "


def test_no_moment_is_never_and_zero() -> None:
    assert (said(None), unix_of(None)) == ("never", 0)
    assert unix_of("2026-11-27T14:45:12+03:00") == NOW.timestamp()
    assert clock_text(rfc3339(NOW.timestamp()), NOW) == f"{NOW.astimezone():%H:%M:%S}"
