"""The codec, four ways: the manual's vectors; whole, byte by byte and with more behind; round trip; any bytes."""

from __future__ import annotations

import json
import os
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agent.connectors.routeros import limits
from agent.connectors.routeros.errors import LocalRouterError, MalformedRouterReplyError
from agent.connectors.routeros.wire import ReplyReader, ReplyWord, WireReply, encode_sentence
from tests.agent.connectors.routeros.fakes import length, sentence

VECTORS = Path(__file__).parents[5] / "shared/data/mikrotik/api-length-vectors.json"

TALK = (
    sentence("!re", ".tag=7", "=.id=*1A", "=name=alice", "=comment=Zoë = true", "=disabled=false")
    + b"\0"
    + sentence("!re", "=.id=*1B", "=name=" + "x" * 200, ".tag=7", "=limit=")
    + sentence("!empty", ".tag=8")
    + sentence("!trap", ".tag=8", "=category=2", "=message=interrupted")
    + sentence("!done", "=ret=*1C", ".tag=7")
    + sentence("!fatal", "session terminated on request")
)


def read(*pieces: bytes, reader: ReplyReader | None = None) -> tuple[list[WireReply], str]:
    """Return the replies and, where the bytes turned out malformed, why."""
    reader = reader or ReplyReader()
    found: list[WireReply] = []
    try:
        for piece in pieces:
            found.extend(reader.receive_untrusted(piece))  # keeps those before a malformed place
    except MalformedRouterReplyError as err:
        return found, str(err)
    return found, ""


def test_a_talk() -> None:
    replies, why = read(TALK)
    assert why == ""
    assert [(r.word, r.tag) for r in replies] == [
        (ReplyWord.RE, "7"),
        (ReplyWord.RE, "7"),
        (ReplyWord.EMPTY, "8"),
        (ReplyWord.TRAP, "8"),
        (ReplyWord.DONE, "7"),
        (ReplyWord.FATAL, None),
    ]
    assert replies[0].values == {".id": "*1A", "name": "alice", "comment": "Zoë = true", "disabled": "false"}
    assert replies[1].values == {".id": "*1B", "name": "x" * 200, "limit": ""}
    assert replies[3].values == {"category": "2", "message": "interrupted"}
    assert replies[3].text == "interrupted"
    assert replies[4].values == {"ret": "*1C"}
    assert replies[5].text == "session terminated on request"


# --- lengths ---------------------------------------------------------------------------------------------------------


def vectors() -> list[tuple[int, bytes]]:
    if not VECTORS.exists():
        if os.environ.get("CI") == "true":
            pytest.fail("CI needs ../shared/data/mikrotik")
        pytest.skip("no ../shared/data here: the recorded lengths are not compared")
    return [(v["length"], bytes.fromhex(v["hex"])) for v in json.loads(VECTORS.read_text())]


def test_lengths_are_written_as_recorded() -> None:
    for size, coded in vectors():
        assert length(size) == coded, "the test's own codec"
        if 2 < size <= limits.COMMAND_WORD_BYTES:
            word = "=" + "x" * (size - 1)
            assert encode_sentence(["/x", word])[3 : 3 + len(coded)] == coded


def test_lengths_are_read_as_recorded() -> None:
    for size, coded in vectors():
        if 5 < size <= limits.WORD_BYTES:
            word = b"=a=" + b"x" * (size - 3)
            (reply,), why = read(sentence("!re")[:-1] + coded + word + b"\0")
            assert why == ""
            assert len(reply.values["a"]) == size - 3
        elif size > limits.WORD_BYTES:
            replies, why = read(sentence("!re")[:-1] + coded)
            assert replies == []
            assert "word" in why


@pytest.mark.parametrize("size", [0x7F, 0x80, 0x81, 0x3FFF, 0x4000, 0xFFFF])
def test_words_at_the_edges_go_round(size: int) -> None:
    word = "=a=" + "x" * (size - 3)
    data = encode_sentence(["/x", word])
    assert data == sentence("/x", word)
    (reply,), _ = read(sentence("!re", word))
    assert reply.values == {"a": "x" * (size - 3)}


@pytest.mark.parametrize(
    "coded",
    [b"\x80\x00", b"\x80\x7f", b"\xc0\x00\x80", b"\xc0\x3f\xff", b"\xe0\x00\x40\x00", b"\xe0\x1f\xff\xff"],
)
def test_a_length_in_a_longer_form_than_it_needs_is_refused(coded: bytes) -> None:
    assert "shortest form" in read(sentence("!re")[:-1] + coded)[1]


@pytest.mark.parametrize("first", [0xF0, 0xF1, 0xF7, 0xF8, 0xFE, 0xFF])
def test_control_bytes_and_lengths_from_256_mib_end_it(first: int) -> None:
    reader = ReplyReader()
    replies, why = read(sentence("!done", ".tag=1") + bytes([first]), reader=reader)
    assert [r.tag for r in replies] == ["1"], "what came before it is given"
    assert f"0x{first:02x}" in why
    with pytest.raises(MalformedRouterReplyError):
        list(reader.receive_untrusted(sentence("!done", ".tag=2")))


# --- whole, in pieces, with more behind ------------------------------------------------------------------------------


@given(cuts=st.lists(st.integers(0, len(TALK)), max_size=12))
@example(cuts=list(range(len(TALK))))
def test_pieces_make_no_difference(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(TALK)]
    reader = ReplyReader()
    assert read(*(TALK[a:b] for a, b in pairwise(edges)), reader=reader) == read(TALK)
    assert not reader.unfinished


@given(behind=st.binary(max_size=40))
def test_what_is_behind_changes_nothing_before_it(behind: bytes) -> None:
    replies, _ = read(TALK + behind)
    assert replies[:6] == read(TALK)[0]


@given(data=st.binary(max_size=300), cut=st.integers(0, 300))
@example(data=sentence("!re", "=a=b") + b"\xff", cut=9)
def test_P16_any_bytes_are_replies_or_malformed_in_pieces_too(data: bytes, cut: int) -> None:
    assert read(data[:cut], data[cut:]) == read(data) == read(*(data[n : n + 1] for n in range(len(data))))


def test_a_half_sentence_is_seen_to_be_one() -> None:
    for cut in range(1, len(sentence("!re", "=a=b"))):
        reader = ReplyReader()
        assert read(sentence("!re", "=a=b")[:cut], reader=reader) == ([], "")
        assert reader.unfinished


# --- round trip ------------------------------------------------------------------------------------------------------

NAMES = st.text("abcdefghijklmnopqrstuvwxyz-.0123456789", min_size=1, max_size=20)
RAW = st.binary(max_size=200).filter(lambda b: b"\0" not in b)


@given(values=st.dictionaries(NAMES, RAW, max_size=8))
@example(values={"comment": b"\xcf\xf0\xe8\xe2\xe5\xf2"})  # windows-1251, as on many a router
def test_what_is_read_goes_back_as_the_same_bytes(values: dict[str, bytes]) -> None:
    words = [b"=" + name.encode() + b"=" + raw for name, raw in values.items()]
    (reply,), _ = read(sentence("!re", *words))
    again = [f"={name}={value}" for name, value in reply.values.items()]
    assert encode_sentence(["/x/set", *again]) == sentence("/x/set", *words)


@pytest.mark.parametrize("value", ["true", "yes", "no", "007", "1", "", "=", "a=b", "*1", "0x10", " x "])
def test_values_are_the_devices_own_strings(value: str) -> None:
    (reply,), _ = read(sentence("!re", f"=v={value}"))
    assert reply.values == {"v": value}


def test_an_attribute_without_a_value_has_an_empty_one() -> None:
    """The manual: "It is possible that the attribute does not have a value"."""
    (reply,), why = read(sentence("!re", "=flag"))
    assert (reply.values, why) == ({"flag": ""}, "")


def test_of_two_with_one_name_the_last_counts() -> None:
    (reply,), _ = read(sentence("!re", "=a=1", "=a=2"))
    assert reply.values == {"a": "2"}


def test_an_empty_tag_is_none_of_ours() -> None:
    (reply,), _ = read(sentence("!re", ".tag="))
    assert reply.tag == ""


# --- malformed and too much ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["re", "=a=b"], "first word"),
        (["!odd"], "first word"),
        (["=a=b"], "first word"),
        (["!re", "==b"], "empty one"),
        (["!re", "="], "empty one"),
        (["!re", "a=b"], "another word"),
        (["!re", ".other=1"], "another word"),
        (["!done", ".tag=1", ".tag=1"], "second one"),
    ],
)
def test_sentences_that_are_none(words: list[str], why: str) -> None:
    replies, said = read(sentence(*words))
    assert replies == []
    assert why in said
    assert "a=b" not in said, "no payload in an error"


def test_limits_hold_before_a_word_has_come() -> None:
    reader = ReplyReader()
    _, why = read(sentence("!re")[:-1] + length(limits.WORD_BYTES + 1), reader=reader)
    assert str(limits.WORD_BYTES) in why


def test_a_sentence_without_end_is_cut_off_by_bytes() -> None:
    word = sentence("=a=" + "x" * 1_000_000)[:-1]
    pieces = [sentence("!re")[:-1], *[word] * 10]
    assert str(limits.SENTENCE_BYTES) in read(*pieces)[1]


def test_a_sentence_without_end_is_cut_off_by_words() -> None:
    pieces = [sentence("!re")[:-1], *(sentence(f"=a{n}=")[:-1] for n in range(limits.SENTENCE_WORDS))]
    assert str(limits.SENTENCE_WORDS) in read(*pieces)[1]


def test_a_million_names_do_not_stay() -> None:
    reader = ReplyReader()
    for n in range(limits.NAMES_KNOWN * 2):
        read(sentence("!re", f"=a{n}=x"), reader=reader)
    assert len(reader._names) == limits.NAMES_KNOWN
    (reply,), _ = read(sentence("!re", "=a-new-one=x", "=a1=y"), reader=reader)
    assert reply.values == {"a-new-one": "x", "a1": "y"}


# --- out -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        [],
        [""],
        ["print"],
        ["/x", ""],
        ["/x", "name=canary"],
        ["/x", ".tag=canary"],
        ["/x", "/canary"],
        ["/x", "=name=canary\0"],
        ["/x\0canary"],
        ["/x", "=name=canary\ud800"],
        ["/x", "=name=canary" + "x" * limits.COMMAND_WORD_BYTES],
        ["/x", *["=name=canary" + "x" * 60_000] * 5],
    ],
)
def test_words_that_cannot_be_sent(words: list[str]) -> None:
    with pytest.raises(LocalRouterError) as caught:
        encode_sentence(words)
    assert "canary" not in str(caught.value).replace("/x\0canary", "")
    assert caught.value.__cause__ is None


def test_queries_and_tags_are_words_too() -> None:
    words = ["/ppp/secret/print", "=.proplist=name", "?name=a", "?>n=1", "?#|"]
    assert encode_sentence(words, "3") == sentence(*words, ".tag=3")
