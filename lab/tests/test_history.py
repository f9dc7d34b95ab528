"""Books at a moment, and whose books changed between two moments."""

from __future__ import annotations

from datetime import date
from itertools import pairwise
from zoneinfo import ZoneInfo

from lab.history import NEVER, ChangedLives, books_at, changes_of
from lab.payers import payers

LIVES = payers(3, 12, ZoneInfo("Asia/Beirut"), date(2025, 1, 1), 24)


def test_books_stay_between_two_changes() -> None:
    for life in LIVES:
        changes = sorted({*changes_of(life)} - {NEVER})
        for begin_s, end_s in pairwise(changes):
            assert books_at(life, begin_s) == books_at(life, end_s - 0.001)


def test_each_life_whose_books_changed_is_found() -> None:
    changed, at_s = ChangedLives(LIVES), 1_735_700_000.0
    assert changed.go_to(at_s) == LIVES
    for next_s in (at_s + 86_400, at_s + 90 * 86_400, at_s + 90 * 86_400 - 600, at_s + 30 * 86_400, at_s, at_s):
        differ = [life for life in LIVES if books_at(life, next_s) != books_at(life, at_s)]
        found = changed.go_to(next_s)
        assert all(life in found for life in differ)
        at_s = next_s
    assert not changed.go_to(at_s)


def test_a_change_at_a_moment_belongs_to_it() -> None:
    changed = ChangedLives(LIVES)
    at_s = min(changes_of(LIVES[0]))
    changed.go_to(at_s - 1)
    assert LIVES[0] in changed.go_to(at_s)
