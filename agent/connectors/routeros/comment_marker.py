"""Our mark in a row's comment: that we made it, or hold it. It is appended, and people's own text stays as it was.

A comment holds an address, a phone number, or another tool's tag, so nothing of it is ever replaced. A mark is set
once, and taken away as often as it is there: a colleague's edit may have doubled it, or left one behind. Of a comment
that had no such mark `unmark` gives back the text before `mark`, to the letter: marks of others, blanks at the end. A
mark is no proof of anything, since anybody may write one: our own records say what we own, and the mark is there for
people that look at the router. `marked` sets it in a row, as every access method does during a suspension.

    comment      = [ text ] *( " " mark )
    mark         = "isp:" what
    what         = 1*24( ALPHA / DIGIT / "_" )

Errors:

* MarkError
  x MalformedMarkError: characters that may not stand in a mark
  x CommentTooLongError: with the mark the comment would be too long
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from agent.model import Field

PREFIX: Final = "isp:"

SUSPENDED: Final = "suspended"
"""The word in the mark of a row while it keeps somebody suspended."""

COMMENT: Final = "comment"

COMMENT_MAX_BYTES: Final = 4096
"""Longest comment that we make. RouterOS states no limit (its command tree says "string value" of a comment, where
log-prefix is "max length 31"), so this is chosen arbitrarily: more than people write, far below an API word's limit."""

WHAT_MAX: Final = 24
"""Longest `what`; chosen arbitrarily, so that a mark stays short beside people's own words."""

_WHAT: Final = re.compile(rf"[A-Za-z0-9_]{{1,{WHAT_MAX}}}")
_MARKS: Final = re.compile(rf"(?<!\S){PREFIX}({_WHAT.pattern})(?!\S)")


class MarkError(Exception):
    """A mark cannot be set."""


class MalformedMarkError(MarkError):
    """The word to mark with has other than letters, digits and `_`, or is too long."""


class CommentTooLongError(MarkError):
    """The comment would become longer than `COMMENT_MAX_BYTES`."""


def mark(comment: str, what: str) -> str:
    """Return the comment with a mark appended; unchanged where it has that mark already.

    Args:
        comment: the row's comment, as RouterOS has it; the empty text for none.
        what: 1 to 24 ASCII letters, digits and `_`.

    Raises:
        MalformedMarkError: `what` is something else.
        CommentTooLongError: with the mark it would be over 4096 bytes of UTF-8.
    """
    text = _text(what)
    if what in marks_in(comment):
        return comment
    marked = f"{comment} {text}" if comment else text
    # Bytes of a router's comment that are no UTF-8 are lone surrogates here: they count as three bytes, not as one.
    size = len(marked.encode("utf-8", "surrogatepass"))
    if size > COMMENT_MAX_BYTES:
        raise CommentTooLongError(f"comment with its mark: expected at most {COMMENT_MAX_BYTES} bytes, got {size}")
    return marked


def unmark(comment: str, what: str) -> str:
    """Return the comment without any mark `what`, as it was before `mark`; unchanged when it has none.

    Somebody may have written on behind a mark: that stays, and only the mark goes, with one blank beside it.

    Raises:
        MalformedMarkError: `what` has other than letters, digits and `_`, or is too long.
    """
    text = _text(what)
    while places := [found.start() for found in _MARKS.finditer(comment) if found.group() == text]:
        before, after = comment[: places[-1]], comment[places[-1] + len(text) :]
        if before.endswith(" "):
            comment = before[:-1] + after
        else:  # at the start, where it was set on an empty comment, or behind a line break that somebody typed
            comment = before + after.removeprefix(" ")
    return comment


def marks_in(comment: str) -> tuple[str, ...]:
    """Return the `what` of every mark in a comment, in their order, as often as each is there."""
    return tuple(found[1] for found in _MARKS.finditer(comment))


def marked(row: Mapping[str, Field], suspended: bool, what: str = SUSPENDED) -> dict[str, Field]:
    """Return a row as it is while somebody is suspended by it, or (False) as it was before: each undoes the other.

    A comment that the mark does not fit in stays as it is: nobody's suspension hangs on a comment. One that becomes
    empty is left out, as RouterOS prints none.

    Args:
        row: a row's properties, as `rows` reads them.
        suspended: whether the mark is to be set, or taken away again.
        what: the mark.

    Raises:
        MalformedMarkError: `what` is no mark.
    """
    comment = row.get(COMMENT, "")
    if not isinstance(comment, str):
        return dict(row)
    try:
        text = mark(comment, what) if suspended else unmark(comment, what)
    except CommentTooLongError:
        text = comment
    return {**{k: v for k, v in row.items() if k != COMMENT}, **({COMMENT: text} if text else {})}


def _text(what: str) -> str:
    if not _WHAT.fullmatch(what):
        raise MalformedMarkError(f"mark: expected 1 to {WHAT_MAX} of A-Z a-z 0-9 _, got {len(what)} characters")
    return PREFIX + what
