"""Policy windows as moments: whether a plan may send now, and for when it waits."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from agent.changes.journal.moments import SendWindow, send_window
from trust.policy import Window, daily

NAIROBI = ZoneInfo("Africa/Nairobi")
NIGHT = daily(0, 6, 2, 5)
FRIDAY_NOON_S = datetime(2026, 11, 27, 12, 0, 30, tzinfo=NAIROBI).timestamp()
MUCH_LATER_S = FRIDAY_NOON_S + 30 * 86_400


def test_without_windows_it_is_always_open() -> None:
    assert send_window((), FRIDAY_NOON_S, MUCH_LATER_S, NAIROBI) == SendWindow(FRIDAY_NOON_S)


def test_it_says_when_the_window_opens_next() -> None:
    """For when a change waits, in the operator's time zone."""
    found = send_window(NIGHT, FRIDAY_NOON_S, MUCH_LATER_S, NAIROBI)
    assert found.closed == "waits for the window: Sat 02:00 EAT"
    assert found.opens_s == datetime(2026, 11, 28, 2, 0, tzinfo=NAIROBI).timestamp()
    assert send_window(NIGHT, found.opens_s, MUCH_LATER_S, NAIROBI).closed == ""
    assert send_window(NIGHT, found.opens_s - 1, MUCH_LATER_S, NAIROBI).closed == found.closed
    assert send_window(NIGHT, found.opens_s + 3 * 3600, MUCH_LATER_S, NAIROBI).closed.endswith("Sun 02:00 EAT")


@pytest.mark.parametrize(
    ("windows", "until_s", "said"),
    [
        (NIGHT, FRIDAY_NOON_S + 3600, "after its deadline: nothing will be sent"),
        ((Window(0, 0),), MUCH_LATER_S, "never opens"),
    ],
)
def test_it_says_when_nothing_will_be_sent_any_more(windows: tuple[Window, ...], until_s: float, said: str) -> None:
    """The window opens after the deadline, or never."""
    assert said in send_window(windows, FRIDAY_NOON_S, until_s, NAIROBI).closed
