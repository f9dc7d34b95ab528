"""How many inputs and histories a run of the fuzzers judged, over all of its processes."""

from __future__ import annotations

from collections import Counter

INPUTS, HISTORIES, LIVES = "malformed inputs", "histories of plans", "lives of an agent"
judged: Counter[str] = Counter()
"""By what they are. Of this process; `conftest` adds up those of the others."""


def add(what: str, count: int) -> None:
    """Count so many more."""
    judged[what] += count
