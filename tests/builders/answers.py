"""A check of every answer that tests get from the API: a moment in it is RFC 3339, and `_s` ends names of numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, TypeVar

from trust.moments import unix_of_rfc3339_untrusted

T = TypeVar("T")
NOT_OURS: Final = frozenset({"record", "disk", "measures", "usual"})
"""Fields with other large numbers: text as it was signed, bytes, and measured values."""
EARLIEST_S: Final = 1_600_000_000
LATEST_S: Final = 2_200_000_000
"""A number from 2020 to 2039 in unix seconds looks like a moment."""


def moment_problems(answer: object, at: str = "") -> Iterator[str]:
    """Yield the fields that hold a moment as a number, or a text where their name promises seconds."""
    if isinstance(answer, dict):
        for name, value in answer.items():
            if name in NOT_OURS:
                continue
            if name.endswith("_s") and isinstance(value, str):
                yield f"{at}.{name} {value!r}"
            yield from moment_problems(value, f"{at}.{name}")
    elif isinstance(answer, list | tuple):
        for value in answer:
            yield from moment_problems(value, f"{at}[]")
    elif isinstance(answer, int | float) and EARLIEST_S < answer < LATEST_S:
        yield f"{at} {answer!r}"


def checked(answer: T) -> T:
    """Return an answer, in which each moment must be RFC 3339."""
    assert not (found := list(moment_problems(answer))), f"expected moments as RFC 3339, got {found}"
    return answer


def unix_of(moment: object) -> int:
    """Return a moment of an answer in unix seconds."""
    assert isinstance(moment, str), f"expected RFC 3339, got {moment!r}"
    return unix_of_rfc3339_untrusted(moment)
