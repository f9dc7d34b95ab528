"""A number and what it counts."""

from __future__ import annotations

import pytest

from trust.plural import counted


@pytest.mark.parametrize(
    ("number", "words", "text"),
    [
        (0, ("session",), "0 sessions"),
        (1, ("session",), "1 session"),
        (2, ("session",), "2 sessions"),
        (1, ("session carries", "sessions carry"), "1 session carries"),
        (3, ("session carries", "sessions carry"), "3 sessions carry"),
    ],
)
def test_it_is_counted(number: int, words: tuple[str, ...], text: str) -> None:
    assert counted(number, *words) == text
