"""When a router that turned us away may be asked again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.connectors.routeros.backoff import FIRST_S, LOGIN_S, LONGEST_S, Attempts, Turned

OLD, NEW = b"old", b"new"


def test_a_router_that_is_full_is_tried_less_and_less_often() -> None:
    attempts, now, waits = Attempts(lambda: 0.0), 100.0, []
    for _ in range(9):
        attempts.failed(Turned.BACK, now, OLD)
        waits.append(attempts.wait_s(now, OLD))
        now += waits[-1]
        assert attempts.wait_s(now, OLD) == 0
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]


@given(st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=12))
def test_the_pause_is_left_to_chance_within_bounds(dice: list[float]) -> None:
    rolls = iter(dice)
    attempts, now = Attempts(lambda: next(rolls)), 0.0
    for n in range(len(dice)):
        attempts.failed(Turned.BACK, now, OLD)
        whole = min(FIRST_S * 2**n, LONGEST_S)
        assert whole * 0.75 <= attempts.wait_s(now, OLD) <= whole


def test_a_refused_login_is_tried_once_a_minute() -> None:
    attempts = Attempts(lambda: 0.0)
    for now in (0.0, 60.0, 120.0):
        attempts.failed(Turned.LOGIN, now, OLD)
        assert attempts.wait_s(now, OLD) == LOGIN_S
        assert attempts.wait_s(now + 59, OLD) == pytest.approx(1)


def test_another_password_waits_for_nothing() -> None:
    attempts = Attempts(lambda: 0.0)
    attempts.failed(Turned.LOGIN, 0.0, OLD)
    assert attempts.wait_s(1.0, NEW) == 0
    assert attempts.wait_s(1.0, OLD) == 0  # whoever changed it, and changed it back, looked at it


def test_another_password_makes_no_room_on_a_full_router() -> None:
    attempts = Attempts(lambda: 0.0)
    attempts.failed(Turned.BACK, 0.0, OLD)
    assert attempts.wait_s(0.0, NEW) == FIRST_S


@pytest.mark.parametrize("before", [Turned.BACK, Turned.LOGIN])
def test_a_router_that_is_away_is_tried_whenever_it_is_needed(before: Turned) -> None:
    attempts = Attempts(lambda: 0.0)
    attempts.failed(before, 0.0, OLD)
    attempts.failed(Turned.AWAY, 0.0, OLD)
    assert attempts.wait_s(0.0, OLD) == 0


def test_what_went_well_is_forgotten() -> None:
    attempts = Attempts(lambda: 0.0)
    for _ in range(5):
        attempts.failed(Turned.BACK, 0.0, OLD)
    attempts.reset()
    attempts.failed(Turned.BACK, 0.0, OLD)
    assert attempts.wait_s(0.0, OLD) == FIRST_S
