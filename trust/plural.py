"""A number and what it counts, for people."""

from __future__ import annotations


def counted(number: object, one: str, many: str = "") -> str:
    """Return a number and what it counts: `1 session`, `2 sessions`.

    Args:
        number: of things, as an answer in JSON has it, too.
        one: the words for one thing, verbs included: `session carries on`.
        many: the words for any other number; "": `one` and an s.
    """
    return f"{number} {one if number == 1 else many or f'{one}s'}"
