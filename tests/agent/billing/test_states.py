"""How far a source's word counts: sizes, ages, errors, and what a person may accept."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.billing import states
from agent.billing.states import FEW, FRESH, NEVER, ReadingSize
from agent.billing_model.errors import BillingState, SourceError

COUNTS = st.integers(0, 20_000)
SIZES = st.builds(ReadingSize, st.integers(1, 20_000), COUNTS)
NOW_S = 1_800_000_000.0


@pytest.mark.parametrize(
    ("before", "now", "state"),
    [
        (None, ReadingSize(9000, 300), BillingState.FRESH),
        (ReadingSize(9012, 300), ReadingSize(214, 7), BillingState.SHRUNK),
        (ReadingSize(9012, 300), ReadingSize(4506, 300), BillingState.FRESH),
        (ReadingSize(9012, 300), ReadingSize(4505, 300), BillingState.SHRUNK),
        (ReadingSize(9012, 300), ReadingSize(9012, 601), BillingState.SWOLLEN),
        (ReadingSize(9012, 300), ReadingSize(9012, 600), BillingState.FRESH),
        (ReadingSize(9012, 300), ReadingSize(9012, 100), BillingState.SHRUNK),
        (ReadingSize(100, 0), ReadingSize(201, 0), BillingState.SWOLLEN),
        (ReadingSize(9012, 300), ReadingSize(0, 0), BillingState.EMPTY),
        (None, ReadingSize(0, 0), BillingState.EMPTY),
        (ReadingSize(0, 0), ReadingSize(9000, 300), BillingState.FRESH),
        (ReadingSize(3, 1), ReadingSize(3, 0), BillingState.FRESH),
        (ReadingSize(3, 0), ReadingSize(4, 3), BillingState.FRESH),
    ],
)
def test_size(before: ReadingSize | None, now: ReadingSize, state: BillingState) -> None:
    judged = states.of_reading(before, now)
    assert judged.state is state
    assert bool(judged.detail) is (state is not BillingState.FRESH)


def test_size_says_both_counts() -> None:
    judged = states.of_reading(ReadingSize(9012, 300), ReadingSize(214, 7))
    assert judged.detail == "accounts: 9012 before, 214 now: less than half"


@given(SIZES)
def test_an_accepted_size_is_fresh(size: ReadingSize) -> None:
    # `billing accept` has the next reading compared with what the person saw
    assert states.of_reading(size, size) == FRESH


@given(st.integers(1, 20_000), st.integers(1, 20_000), COUNTS)
def test_shrinking_is_swelling_backwards(was: int, has: int, overdue: int) -> None:
    before, now = ReadingSize(was, overdue), ReadingSize(has, overdue)
    there, back = states.of_reading(before, now).state, states.of_reading(now, before).state
    assert (there is BillingState.SHRUNK) is (back is BillingState.SWOLLEN)


@given(SIZES, SIZES)
def test_fresh_sizes_are_alike(before: ReadingSize, now: ReadingSize) -> None:
    if states.of_reading(before, now) == FRESH:
        for was, has in ((before.accounts, now.accounts), (before.overdue, now.overdue)):
            assert abs(was - has) <= FEW or was / 2 <= has <= was * 2


@pytest.mark.parametrize("state", [BillingState.PARTIAL, BillingState.REFUSED, BillingState.UNREACHABLE])
def test_error(state: BillingState) -> None:
    judged = states.of_error(SourceError("main: page 4 of 9 did not come", state=state))
    assert (judged.state, judged.detail) == (state, "main: page 4 of 9 did not come")
    assert states.at(judged, NOW_S, 7200, NOW_S) == judged


@given(age_s=st.floats(0, 1e6), most_s=st.integers(60, 604_800))
def test_age(age_s: float, most_s: int) -> None:
    read_s = NOW_S - age_s
    judged = states.at(FRESH, read_s, most_s, NOW_S)
    assert (judged == FRESH) is (NOW_S - read_s <= most_s)
    assert judged.state in (BillingState.FRESH, BillingState.STALE)


def test_age_says_both() -> None:
    judged = states.at(FRESH, NOW_S - 3 * 3600, 7200, NOW_S)
    assert judged.detail == "it was read 3h ago, at most 2h is configured"
    assert states.at(FRESH, None, 7200, NOW_S) == NEVER


def test_only_sizes_are_accepted() -> None:
    accepted = {state for state in BillingState if states.acceptable(state)}
    assert accepted == {BillingState.SHRUNK, BillingState.SWOLLEN}


def test_accounts_without_a_name_are_not_taken_for_none() -> None:
    judged = states.of_reading(None, ReadingSize(0, 0), 70)
    assert judged.state is BillingState.EMPTY
    assert judged.detail == "none of its 70 accounts has a subscriber's name: see `subscriber` in its section"
