"""A leaf's minute reads as a time, also the last one that a leaf holds."""

from __future__ import annotations

import pytest

from trust.leaf_text import minute_text


@pytest.mark.parametrize(
    ("minute", "text"),
    [
        (0, "1970-01-01 00:00 UTC"),
        (29_894_629, "2026-11-03 03:49 UTC"),
        (2**32 - 1, "minute 4294967295 since 1970"),
    ],
)
def test_minute_text(minute: int, text: str) -> None:
    assert minute_text(minute) == text
