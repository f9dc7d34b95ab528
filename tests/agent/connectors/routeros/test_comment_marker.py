"""Marks are appended and taken off again to the letter, whatever people wrote before and behind them."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agent.connectors.routeros.comment_marker import (
    COMMENT_MAX_BYTES,
    CommentTooLongError,
    MalformedMarkError,
    mark,
    marked,
    marks_in,
    unmark,
)

WORDS = "ABCXYZabcxyz0189_"
whats = st.one_of(st.sampled_from(["K7QF", "K7", "X"]), st.text(WORDS, min_size=1, max_size=24))
# Any text, lone surrogates too (a comment that is no UTF-8), and texts made of what marks are made of.
comments = st.one_of(
    st.text(st.characters(), max_size=60),
    st.lists(st.sampled_from(["isp:K7QF", "isp:K7", "isp:", "xisp:X", "isp:X", " ", "\n", "Av. Ñ 12", "id:1001"])).map(
        "".join
    ),
)


@given(comments, whats)
@example("", "K7QF")
@example("isp:K7", "K7QF")
@example(" ", "K7QF")
@example("casa ", "K7QF")
def test_what_was_marked_comes_back_to_the_letter(comment: str, what: str) -> None:
    marked = mark(comment, what)
    assert marked.startswith(comment)
    assert unmark(marked, what) == unmark(comment, what)
    if what not in marks_in(comment):
        assert unmark(marked, what) == comment


@given(comments, whats)
@example("isp:K7QF isp:K7QF ", "K7QF")
@example("isp:K7QF isp:isp:K7QF K7QF", "K7QF")
def test_a_mark_is_set_once_and_none_of_it_is_left(comment: str, what: str) -> None:
    """A colleague's edit doubled it, or left it when the suspension was lifted by hand."""
    once = mark(comment, what)
    assert mark(once, what) == once
    assert what not in marks_in(unmark(once, what))
    assert unmark(unmark(once, what), what) == unmark(once, what)


@given(comments, whats)
def test_a_mark_is_found_beside_those_that_were_there(comment: str, what: str) -> None:
    more = () if what in marks_in(comment) else (what,)
    assert marks_in(mark(comment, what)) == (*marks_in(comment), *more)


@given(comments, st.lists(whats, max_size=4))
def test_marks_come_off_in_any_order_that_is_the_reverse(comment: str, many: list[str]) -> None:
    marked = comment
    for what in many:
        marked = mark(marked, what)
    for what in reversed(many):
        marked = unmark(marked, what)
    if not {*many} & {*marks_in(comment)}:
        assert marked == comment


@given(comments, st.lists(st.sampled_from(["K7QF", "B", "C_1"]), unique=True, min_size=2, max_size=3))
def test_marks_of_others_stay_where_they_are(comment: str, many: list[str]) -> None:
    first, *others = many
    marked = mark(comment, first)
    for what in others:
        marked = mark(marked, what)
    left = [what for what in marks_in(marked) if what != first]
    assert set(others) <= set(left)
    assert list(marks_in(unmark(marked, first))) == left


@given(comments, whats)
def test_a_comment_without_the_mark_stays_as_it_is(comment: str, what: str) -> None:
    if what not in marks_in(comment):
        assert unmark(comment, what) == comment


@pytest.mark.parametrize(
    ("comment", "left"),
    [
        ("casa 12 isp:K7QF pago", "casa 12 pago"),
        ("isp:K7QF pago", "pago"),
        ("isp:K7QF  pago", " pago"),
        ("a isp:K7QF b isp:K7QF c", "a b c"),
        ("casa isp:K7QF isp:K7QF", "casa"),
        ("a\nisp:K7QF b", "a\nb"),
        ("isp:K7QFX isp:K7Q xisp:K7QF isp:K7QF.", "isp:K7QFX isp:K7Q xisp:K7QF isp:K7QF."),
    ],
)
def test_what_was_written_behind_a_mark_stays(comment: str, left: str) -> None:
    assert unmark(comment, "K7QF") == left


@given(st.text(max_size=30))
@example("")
@example("K7QF\n")
@example("K7 QF")
@example("Ñ")
@example("A" * 25)
def test_other_marks_than_words_are_refused(what: str) -> None:
    if 1 <= len(what) <= 24 and all(c.isascii() and (c.isalnum() or c == "_") for c in what):
        assert unmark(mark("x", what), what) == "x"
        return
    for refused in (mark, unmark):
        with pytest.raises(MalformedMarkError, match="expected 1 to 24"):
            refused("x", what)


def test_a_comment_does_not_become_longer_than_the_limit() -> None:
    room = COMMENT_MAX_BYTES - len(" isp:K7QF")
    assert len(mark("ñ" * (room // 2), "K7QF").encode()) <= COMMENT_MAX_BYTES
    with pytest.raises(CommentTooLongError, match=f"at most {COMMENT_MAX_BYTES} bytes, got"):
        mark("ñ" * (room // 2 + 1), "K7QF")


@given(comments, whats)
def test_a_row_that_was_marked_comes_back_to_the_letter(comment: str, what: str) -> None:
    """RouterOS prints no empty comment, so a row that was read has none."""
    row = {"name": "amina.h", **({"comment": comment} if comment else {})}
    suspended = marked(row, suspended=True, what=what)
    assert suspended == {**row, "comment": mark(comment, what)}
    left = unmark(comment, what)
    assert marked(suspended, suspended=False, what=what) == {"name": "amina.h", **({"comment": left} if left else {})}


def test_a_row_whose_comment_has_no_room_stays_as_it_is() -> None:
    row = {"name": "amina.h", "comment": "é" * (COMMENT_MAX_BYTES // 2)}
    assert marked(row, suspended=True) == row
    assert marked(row, suspended=False) == row


def test_a_row_is_marked_with_words_only() -> None:
    with pytest.raises(MalformedMarkError):
        marked({}, suspended=True, what="two words")
