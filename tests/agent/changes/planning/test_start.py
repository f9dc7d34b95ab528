"""When a plan may start: turns in a budget, windows, deadlines; what cannot be met is refused at the preview."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.changes.journal.budget import HOUR_S, next_turn
from agent.changes.journal.request import RequestError
from agent.changes.planning.start import start_times
from tests.builders.expect import present
from trust.policy import PolicyClass, RiskClass, Window, preset

NAIROBI = ZoneInfo("Africa/Nairobi")
BATCH = next(p for p in preset() if p.risk_class is RiskClass.BATCH)
RESTORE = next(p for p in preset() if p.risk_class is RiskClass.RESTORE)
TTL_S = 1800


def local(day: int, hour: int, minute: int = 0) -> float:
    """Return a moment of the week from Monday, 23 November 2026, on the operator's clock."""
    return datetime(2026, 11, 22 + day, hour, minute, tzinfo=NAIROBI).astimezone(UTC).timestamp()


# --- turns ---


@pytest.mark.parametrize(
    ("uses", "ahead", "mine", "most", "turn"),
    [
        ([], [], 1, 60, 0),
        ([(-10, 59)], [], 1, 60, 0),
        ([(-10, 60)], [], 1, 60, 3590),
        ([(-3600, 60)], [], 1, 60, 0),
        ([(-3000, 30), (-10, 30)], [], 30, 60, 600),
        ([(-3000, 30), (-10, 30)], [], 31, 60, 3590),
        ([(-10, 60)], [60], 1, 60, 3590 + 3600),
        ([], [60, 60], 1, 60, 7200),
        ([], [61], 1, 60, 0),  # what never can start holds up nobody
        ([], [], 61, 60, None),
    ],
)
def test_a_turn_in_a_rolling_budget(
    uses: Sequence[tuple[float, int]], ahead: Sequence[int], mine: int, most: int, turn: float | None
) -> None:
    assert next_turn(uses, ahead, mine, most, 0.0) == turn


sizes = st.integers(1, 20)


@given(st.lists(st.tuples(st.integers(-3599, 0), sizes), max_size=8), st.lists(sizes, max_size=8), st.integers(20, 40))
def test_turns_never_break_budget_and_are_as_early_as_can_be(
    used: list[tuple[int, int]], queue: list[int], most: int
) -> None:
    kept: list[tuple[float, int]] = []  # uses that a budget of `most` allowed
    for at, n in sorted(used):
        if sum(k for t, k in kept if t > at - HOUR_S) + n <= most:
            kept.append((float(at), n))
    started = list(kept)
    for place, n in enumerate(queue):
        turn = present(next_turn(kept, queue[:place], n, most, 0.0))
        in_force = sum(k for t, k in started if turn - HOUR_S < t <= turn)
        assert in_force + n <= most
        if turn > max([0.0, *(t for t, _ in started)]):
            assert sum(k for t, k in started if turn - 1 - HOUR_S < t) + n > most, "a second before, it did not fit"
        started.append((turn, n))


# --- windows and deadlines ---


def test_outside_its_window_it_is_refused_with_the_next_time() -> None:
    with pytest.raises(RequestError) as refused:
        start_times(BATCH, local(1, 20, 59), TTL_S, local(1, 20, 59), NAIROBI)
    assert refused.value.refused
    assert str(refused.value) == (
        "policy: class batch starts only Mon-Fri 09:00-16:00 EAT, and this would have to start by 21:29 EAT:"
        " ask from 2026-11-24 08:31 EAT on"
    )
    start = start_times(BATCH, local(2, 8, 31), TTL_S, local(2, 8, 31), NAIROBI)
    assert (start.first_s, start.by * 60) == (local(2, 9), local(2, 9, 1))


def test_on_friday_evening_the_next_window_is_on_monday() -> None:
    with pytest.raises(RequestError, match="ask from 2026-11-30 08:31 EAT on"):
        start_times(BATCH, local(5, 20), TTL_S, local(5, 20), NAIROBI)


def test_inside_of_its_window_it_starts_now() -> None:
    start = start_times(BATCH, local(1, 10), TTL_S, local(1, 10), NAIROBI)
    assert (start.first_s, start.by * 60) == (local(1, 10), local(1, 10, 30))


def test_a_restore_after_payment_starts_at_any_hour() -> None:
    assert start_times(RESTORE, local(6, 20, 59), TTL_S, local(6, 20, 59), NAIROBI).first_s == local(6, 20, 59)


def test_a_turn_extends_the_deadline_within_the_approvals() -> None:
    made = local(1, 20)
    start = start_times(RESTORE, made, TTL_S, made + 3600, NAIROBI)
    assert (start.first_s, start.by * 60) == (made + 3600, made + 3600 + TTL_S)
    late = start_times(RESTORE, made, TTL_S, made + 4 * 3600 - 60, NAIROBI)
    assert late.by * 60 == made + 4 * 3600
    with pytest.raises(RequestError, match="could start at 2026-11-24 00:00 EAT only; approvals count for 240 min"):
        start_times(RESTORE, made, TTL_S, made + 4 * 3600, NAIROBI)


def test_more_than_a_budget_ever_allows_is_refused() -> None:
    with pytest.raises(RequestError, match="class restore may change 1000 services an hour: ask for fewer"):
        start_times(RESTORE, local(1, 10), TTL_S, None, NAIROBI)


def never(policy: PolicyClass) -> PolicyClass:
    return replace(policy, windows=(Window(0, 0),))


def test_a_class_that_never_starts_says_so() -> None:
    with pytest.raises(RequestError, match="class batch never starts"):
        start_times(never(BATCH), local(1, 10), TTL_S, local(1, 10), NAIROBI)
