"""The life of a plan as verifiers know it is the life that the machine gives it."""

from __future__ import annotations

from collections import Counter, defaultdict

from hypothesis import given
from hypothesis import strategies as st

from agent.changes.journal.machine import TRANSITIONS, Gate, fold
from agent.changes.journal.signing import STATES
from agent.model import ItemState
from tests.repo.life_page import LIFE_MD, render
from trust import life
from trust.leaf import ITEM_STATE_CODES
from trust.statements import OutcomeState

COUNTS = st.dictionaries(st.sampled_from(ItemState), st.integers(0, 3))


def test_items_move_as_in_the_machine() -> None:
    ways = defaultdict(set)
    for (state, _), after in TRANSITIONS.items():
        ways[state.value].add(after.value)
    assert ways == {state: set(after) for state, after in life.MOVES.items()}


def test_every_state_has_a_bucket_or_was_never_to_be_done() -> None:
    assert set(life.BUCKETS) == set(ITEM_STATE_CODES) - {"blocked", "excluded"}


@given(COUNTS)
def test_an_outcome_is_the_fold_of_its_items(counts: dict[ItemState, int]) -> None:
    folded = fold(Gate.CONSUMED, Counter(counts))
    assert life.outcome_of(Counter({s.value: n for s, n in counts.items()})) is STATES.get(folded, OutcomeState.MIXED)


def test_the_page_is_written_from_the_tables() -> None:
    assert LIFE_MD.read_text(encoding="utf-8") == render(), "run: python -m tests.repo.life_page"
