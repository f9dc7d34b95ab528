"""The codec: vectors, whole equals byte at a time, round trip, total on any bytes."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.router.errors import MalformedWordsError
from lab.router.limits import SENTENCE_BYTES_MAX, SENTENCE_WORDS_MAX, WORD_BYTES_MAX
from lab.router.words import SentenceReader, encode_length, encode_sentence
from lab.tests.router.data import recorded

words = st.text(min_size=1, max_size=300)
sentences = st.lists(st.lists(words, min_size=1, max_size=8), max_size=5)


def test_length_vectors():
    vectors = json.loads(recorded("api-length-vectors.json").read_text())
    assert len(vectors) >= 12
    for vector in vectors:
        assert encode_length(vector["length"]).hex() == vector["hex"]


@pytest.mark.parametrize("size", [1, 127, 128, 129, 16383, 16384, 2097151, 2097152, WORD_BYTES_MAX])
def test_every_form_of_length_is_read_back(size):
    assert SentenceReader().feed_untrusted(encode_sentence(["x" * size])) == [("x" * size,)]


def test_a_longer_form_than_needed_is_read_as_routeros_does():
    assert SentenceReader().feed_untrusted(b"\xf0\x00\x00\x00\x01x\0") == [("x",)]


@given(sentences)
def test_round_trip_whole_and_byte_by_byte(said):
    wire = b"".join(encode_sentence(s) for s in said)
    expected = [tuple(s) for s in said]
    assert SentenceReader().feed_untrusted(wire) == expected
    slow = SentenceReader()
    assert [s for i in range(len(wire)) for s in slow.feed_untrusted(wire[i : i + 1])] == expected


def test_bytes_that_are_no_utf8_are_kept():
    (sentence,) = SentenceReader().feed_untrusted(b"\x04a\xff\xc3b\0")
    assert encode_sentence(sentence) == b"\x04a\xff\xc3b\0"


@given(st.lists(st.binary(max_size=200), max_size=5))
def test_total_on_any_bytes(chunks):
    reader = SentenceReader()
    try:
        for chunk in chunks:
            reader.feed_untrusted(chunk)
    except MalformedWordsError:
        pass


def test_total_on_damaged_sentences():
    dice = random.Random(7)
    good = encode_sentence(["/ppp/secret/print", "?name=alice", ".tag=5"]) * 3
    for _ in range(20_000):
        wire = bytearray(good)
        for _ in range(dice.randint(1, 4)):
            wire[dice.randrange(len(wire))] = dice.randrange(256)
        try:
            SentenceReader().feed_untrusted(bytes(wire))
        except MalformedWordsError:
            pass


@pytest.mark.parametrize(
    ("wire", "why"),
    [
        (b"\xf8", "control byte"),
        (encode_length(WORD_BYTES_MAX + 1), "word of at most"),
        (b"\xf0\xff\xff\xff\xff", "word of at most"),
        (b"\x01x" * (SENTENCE_WORDS_MAX + 1), "sentence of at most"),
        (
            (encode_length(WORD_BYTES_MAX) + bytes(WORD_BYTES_MAX)) * (SENTENCE_BYTES_MAX // WORD_BYTES_MAX + 1),
            "sentence",
        ),
    ],
)
def test_limits(wire, why):
    with pytest.raises(MalformedWordsError, match=why):
        SentenceReader().feed_untrusted(wire)
