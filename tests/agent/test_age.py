"""Durations in words."""

from __future__ import annotations

import pytest

from agent.age import age_text


@pytest.mark.parametrize(
    ("seconds", "text"), [(6 * 86400 + 5, "6d"), (3 * 3600, "3h"), (125, "2m"), (40, "40s"), (-3, "0s")]
)
def test_ages(seconds: int, text: str) -> None:
    assert age_text(seconds) == text
