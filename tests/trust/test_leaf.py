import dataclasses
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trust import leaf
from trust.errors import MalformedLeafError
from trust.leaf import Leaf, LeafKind

u8, u16, u32 = (st.integers(0, 2**n - 1) for n in (8, 16, 32))
leaves = st.builds(
    Leaf,
    kind=st.sampled_from(LeafKind),
    minute=u32,
    commitment=st.binary(min_size=32, max_size=32),
    plan=st.binary(min_size=32, max_size=32),
    trust_version=u32,
    item=u32,
    step=u16,
    code=u8,
    actor=st.binary(min_size=16, max_size=16),
)


def test_the_layout_of_docs_spec_leaf():
    value = Leaf(LeafKind.STEP_OUTCOME, 0x01020304, b"c" * 32, b"p" * 32, 5, 6, 7, 1, b"a" * 16)
    expected = "001001020304" + "70" * 32 + "000000050000000600070100" + "61" * 16 + "63" * 32
    assert leaf.encode(value).hex() == expected
    assert leaf.LEAF_BYTES == 98


def test_numbers_of_kinds_never_change():
    words = [k.word for k in LeafKind]
    assert [int(k) for k in LeafKind] == list(range(1, 41))
    assert hashlib.sha256(" ".join(words[:32]).encode()).hexdigest()[:8] == "a21d34ad"
    assert words[32:] == ["standing", "standing-used", "padding", "witness-anomaly", "unwitnessed-start", "sealkey",
        "cpe-decided", "review-closed"]  # fmt: skip
    assert leaf.ITEM_STATE_CODES["needs-a-person"] == 18


@given(leaves)
def test_round_trip(value):
    data = leaf.encode(value)
    assert len(data) == leaf.LEAF_BYTES
    assert leaf.decode_untrusted(data) == value


@given(st.binary(max_size=120) | st.binary(min_size=98, max_size=98))
def test_total_and_one_encoding_only(data):
    try:
        value = leaf.decode_untrusted(data)
    except MalformedLeafError:
        return
    assert leaf.encode(value) == data


GOOD = leaf.encode(Leaf(LeafKind.START, 1, bytes(32)))


@pytest.mark.parametrize(
    "data",
    [GOOD[:-1], GOOD + b"\x00", b"\x01" + GOOD[1:], GOOD[:1] + b"\x00" + GOOD[2:], GOOD[:1] + b"\xff" + GOOD[2:],
     GOOD[:49] + b"\x01" + GOOD[50:]],
    ids=["short", "long", "version", "kind 0", "kind 255", "reserved"],
)  # fmt: skip
def test_malformed_leaves(data):
    with pytest.raises(MalformedLeafError):
        leaf.decode_untrusted(data)


@pytest.mark.parametrize(
    "changes",
    [{"minute": -1}, {"minute": 2**32}, {"step": 2**16}, {"code": 256}, {"plan": b""}, {"actor": bytes(15)},
     {"commitment": bytes(33)}, {"trust_version": 2**32}, {"item": -1}],
    ids=str,
)  # fmt: skip
def test_what_does_not_fit_is_refused(changes):
    with pytest.raises(MalformedLeafError):
        leaf.encode(dataclasses.replace(Leaf(LeafKind.START, 1, bytes(32)), **changes))


def test_L7_a_commitment_needs_its_salt():
    salt = b"s" * 32
    assert leaf.commitment(salt, b"amina") == hashlib.sha256(salt + b"amina").digest()
    assert leaf.commitment(b"t" * 32, b"amina") != leaf.commitment(salt, b"amina")
    with pytest.raises(MalformedLeafError, match="32 bytes"):
        leaf.commitment(salt[:-1], b"samina")


def test_words_of_codes():
    assert Leaf(LeafKind.STEP_OUTCOME, 1, bytes(32), code=2).code_word == "not-applied"
    assert Leaf(LeafKind.ITEM_STATE, 1, bytes(32), code=13).code_word == "applied"
    assert Leaf(LeafKind.ITEM_STATE, 1, bytes(32), code=200).code_word == "200"
    assert Leaf(LeafKind.ABOUT_TO, 1, bytes(32), code=5).code_word == "running"
    assert Leaf(LeafKind.START, 1, bytes(32), code=9).code_word == "9"
    assert Leaf(LeafKind.START, 1, bytes(32)).code_word == ""
