"""Short ids: the beginning of a plan's id in letters, the same wherever the plan is."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from trust.short_id import SHORT_ALPHABET, SHORT_CHARS, SHORT_CHARS_MAX, SHORT_CHARS_MIN, apart, names, short_id

IDS = st.binary(min_size=16, max_size=16)


def test_vectors() -> None:
    """Kept for ever: people write these words down, and every desk has to come to the same one."""
    assert short_id(bytes(16)) == "22222"
    assert short_id(b"\xff" * 16) == "ZZZZZ"
    assert short_id(bytes.fromhex("22" * 16)) == "5ZZZZ"
    assert short_id(bytes.fromhex("00112233445566778899aabbccddeeff"), 10) == "2293RY93RY"


@given(IDS)
def test_more_letters_begin_with_the_fewer(plan_id: bytes) -> None:
    words = [short_id(plan_id, chars) for chars in range(1, SHORT_CHARS_MAX + 1)]
    assert all(longer.startswith(shorter) for shorter, longer in itertools.pairwise(words))
    assert set(words[-1]) <= set(SHORT_ALPHABET)
    assert len(words[SHORT_CHARS - 1]) == SHORT_CHARS


@given(IDS, st.integers(SHORT_CHARS_MIN, SHORT_CHARS_MAX))
def test_the_beginning_names_it_in_any_case(plan_id: bytes, chars: int) -> None:
    word = short_id(plan_id, chars)
    assert names(word, plan_id)
    assert names(f" {word.lower()}\n", plan_id)
    other = word[:-1] + ("2" if word[-1] != "2" else "3")
    assert not names(other, plan_id)
    assert not names(word[: SHORT_CHARS_MIN - 1], plan_id)


@given(st.lists(IDS, unique=True, max_size=20), st.binary(max_size=8))
def test_changes_that_begin_alike_are_told_apart(plan_ids: list[bytes], alike: bytes) -> None:
    ids = list({(alike + plan_id)[:16] for plan_id in plan_ids})
    found = apart(ids)
    assert sorted(found) == sorted(ids)
    assert len(set(found.values())) == len(ids)
    assert all(names(word, plan_id) and len(word) >= SHORT_CHARS for plan_id, word in found.items())


def test_two_ids_that_no_word_tells_apart_end_the_search() -> None:
    """The last bits of an id are in no letter; two random draws never agree in all others."""
    ids = [bytes(16), bytes(15) + b"\x01"]
    assert set(apart(ids).values()) == {"2" * SHORT_CHARS_MAX}
