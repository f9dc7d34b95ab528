import base64
import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders.operator import ORIGIN, key, trust
from trust import checkpoint, limits, merkle, witness
from trust.checkpoint import Checkpoint, VerifierKey
from trust.document import Quorum, Witness, WitnessOperator
from trust.errors import MalformedNoteError
from trust.witness import AddCheckpoint, Refusal, WitnessResult

LOG = VerifierKey(ORIGIN, key("agent-log").public)
HASHES = [merkle.leaf_hash(b"%d" % n) for n in range(80)]
NODES = {}
for _size, _leaf in enumerate(HASHES):
    for _level, _index, _value in merkle.appended(_size, _leaf, lambda lv, i: NODES[lv, i]):
        NODES[_level, _index] = _value


def cp(size, origin=ORIGIN):
    return Checkpoint(origin, size, merkle.root(HASHES[:size]))


def note(checkpoint_, signer="agent-log", name=ORIGIN):
    return checkpoint.sign_checkpoint(checkpoint_, key(signer), name)


def ask(old, new, **changes):
    proof = merkle.consistency(old, new, lambda lv, i: NODES[lv, i])
    return dataclasses.replace(AddCheckpoint(old, proof, note(cp(new))), **changes)


# --- bytes ----------------------------------------------------------------------------------------------------------


def test_requests_are_the_lines_of_the_specification():
    request = ask(3, 64)
    data = witness.encode_request(request)
    head, _, tail = data.partition(b"\n\n")
    assert head.split(b"\n") == [b"old 3", *(base64.b64encode(h) for h in request.proof)]
    assert tail == request.note
    assert witness.decode_request_untrusted(data) == request
    assert witness.encode_request(ask(0, 1)).startswith(b"old 0\n\n" + ORIGIN.encode())


@given(st.integers(0, limits.TREE_SIZE_MAX), st.lists(st.binary(min_size=32, max_size=32), max_size=63), st.binary())
def test_requests_round_trip(old, proof, tail):
    request = AddCheckpoint(old, tuple(proof), tail)
    assert witness.decode_request_untrusted(witness.encode_request(request)) == request


HASH = base64.b64encode(HASHES[0])
BAD = {
    "empty": b"",
    "no empty line": b"old 3\n" + HASH + b"\n",
    "leading zero": b"old 03\n\nnote",
    "negative": b"old -1\n\nnote",
    "over the limit": b"old 9223372036854775808\n\nnote",
    "no old": b"size 3\n\nnote",
    "crlf": b"old 3\r\n\r\nnote",
    "not ascii": "old ３\n\nnote".encode(),
    "L4 a short hash": b"old 3\nAAAA\n\nnote",
    "L4 not base64": b"old 3\n***\n\nnote",
    "L4 64 hashes": b"old 3\n" + (HASH + b"\n") * 64 + b"\nnote",
    "too long": b"old 3\n\n" + b"x" * limits.NOTE_BYTES * 2,
}


@pytest.mark.parametrize("data", BAD.values(), ids=BAD.keys())
def test_malformed_requests(data):
    with pytest.raises(MalformedNoteError):
        witness.decode_request_untrusted(data)


@given(st.binary() | st.binary().map(lambda b: b"old 3\n" + b))
def test_any_bytes_are_a_request_or_malformed(data):
    try:
        request = witness.decode_request_untrusted(data)
    except MalformedNoteError:
        return
    assert witness.encode_request(request) == data
    assert witness.judge(request, LOG, None) == Refusal(400)


# --- judging --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("old", "new"), [(0, 0), (0, 1), (0, 64), (1, 64), (3, 64), (64, 80), (64, 64)])
def test_a_log_that_grows_is_cosigned(old, new):
    known = cp(old) if old else None
    assert witness.judge(ask(old, new), LOG, known) == cp(new)
    assert witness.judge(ask(old, new), LOG, cp(old)) == cp(new)


def test_404_no_such_log():
    assert witness.judge(ask(0, 3), None, None) == Refusal(404)
    other = VerifierKey("isp.example/agent/other", LOG.public)
    assert witness.judge(ask(0, 3), other, None) == Refusal(404)


def test_403_E7_not_signed_by_the_log():
    for signer, name in (("eve", ORIGIN), ("agent-log", "elsewhere")):
        assert witness.judge(ask(0, 3, note=note(cp(3), signer, name)), LOG, None) == Refusal(403)
    # a good signature of another text
    swapped = note(cp(3)).replace(b"\n3\n", b"\n4\n")
    assert witness.judge(ask(0, 3, note=swapped), LOG, None) == Refusal(403)


def test_400_not_a_checkpoint_or_backwards():
    extension = checkpoint.sign_note(cp(3).text() + "more\n", ORIGIN, key("agent-log"))
    for bad in (b"", b"rubbish", b"\xff\n\n\n", extension, note(cp(3))[:-1]):
        assert witness.judge(ask(0, 3, note=bad), LOG, None) == Refusal(400)
    assert witness.judge(dataclasses.replace(ask(3, 64), old=65), LOG, cp(64)) == Refusal(400)


def test_409_L2_another_size_than_the_one_cosigned_last():
    assert witness.judge(ask(3, 64), LOG, cp(2)) == Refusal(409, 2)
    assert witness.judge(ask(3, 64), LOG, None) == Refusal(409, 0)
    assert witness.judge(ask(0, 64), LOG, cp(64)) == Refusal(409, 64)
    # a log restored from a backup asks with its own, smaller head
    assert witness.judge(ask(2, 3), LOG, cp(64)) == Refusal(409, 64)


def test_422_L1_L4_L5_the_proof_does_not_prove_it():
    proof = ask(3, 64).proof
    fork = Checkpoint(ORIGIN, 64, merkle.leaf_hash(b"fork"))
    for changes in (
        {"proof": ()},
        {"proof": proof[:-1]},
        {"proof": (*proof, proof[0])},
        {"proof": proof[::-1]},
        {"proof": (b"short", *proof[1:])},
        {"note": note(fork)},
    ):
        assert witness.judge(ask(3, 64, **changes), LOG, cp(3)) == Refusal(422), changes
    assert witness.judge(ask(0, 3, proof=proof), LOG, None) == Refusal(422)
    assert witness.judge(ask(64, 64, note=note(fork)), LOG, cp(64)) == Refusal(422)
    assert witness.judge(ask(64, 64, proof=proof), LOG, cp(64)) == Refusal(422)


def test_422_L3_an_empty_tree_has_one_root():
    fake = note(Checkpoint(ORIGIN, 0, HASHES[0]))
    assert witness.judge(ask(0, 0, note=fake), LOG, None) == Refusal(422)
    assert witness.judge(ask(0, 0, note=fake), LOG, cp(0)) == Refusal(422)


@given(st.lists(st.tuples(st.integers(0, 80), st.integers(0, 80))))
def test_L1_L2_whatever_is_asked_witness_only_ever_goes_forward(asked):
    known = None
    for old, new in asked:
        if old > new:
            continue
        answer = witness.judge(ask(old, new), LOG, known)
        before = 0 if known is None else known.size
        if isinstance(answer, Checkpoint):
            assert old == before <= answer.size
            known = answer
        else:
            assert answer == Refusal(409, before)


# --- quorum ---------------------------------------------------------------------------------------------------------


def vkey(name):
    return checkpoint.encode_witness_vkey(name, key(name).public)


W = (
    Witness("cloud", (vkey("cloud"),), WitnessOperator.CLOUD),
    Witness("site-2", (vkey("site-2-old"), vkey("site-2")), WitnessOperator.OWN),
    Witness("desk", (vkey("desk"),), WitnessOperator.THIRD),
)
NOTE = note(cp(64))


def line(name, size=64):
    return checkpoint.cosign(cp(size).text(), name, key(name), 5)


def result(lines, n=2, non_cloud=1, note_=NOTE, witnesses=W):
    return witness.get_witness_result(trust(witnesses=witnesses, quorum=Quorum(n, non_cloud)), note_, lines)


def test_a_quorum_of_distinct_witnesses():
    assert result([line("cloud"), line("desk")]) == WitnessResult(True, ("cloud", "desk"), 1, 2, 1)
    assert result([line("desk"), line("site-2")]).confirmed
    assert not result([line("cloud")]).confirmed
    assert result([line("cloud")], n=1, non_cloud=0).confirmed
    assert result([line("cloud")], n=1, non_cloud=1) == WitnessResult(False, ("cloud",), 0, 1, 1)


def test_T3_one_witness_with_two_keys_or_lines_is_one():
    found = result([line("site-2"), line("site-2-old"), line("site-2")])
    assert (found.confirmed, found.names) == (False, ("site-2",))


def test_cosignatures_of_nobody_or_another_tree_are_passed_over():
    lines = ["", "rubbish", line("eve"), line("desk", 63), line("cloud", 80)]
    assert result(lines).names == ()
    assert result([*lines, line("desk"), line("cloud")]).confirmed
    assert result([line("desk")], witnesses=(Witness("desk", ("rubbish", str(LOG)), WitnessOperator.OWN),)).names == ()
    for bad in (b"", b"rubbish", b"\xff"):
        assert result([line("desk"), line("cloud")], note_=bad) == WitnessResult(False, (), 0, 2, 1)


def test_without_quorum_everything_is_confirmed_by_whoever_did():
    assert result([], n=0, non_cloud=0) == WitnessResult(True, (), 0, 0, 0)
    assert result([line("desk")], n=0, non_cloud=0) == WitnessResult(True, ("desk",), 1, 0, 0)


def test_C17_a_witness_time_in_the_future_halts_nothing():
    far = checkpoint.cosign(cp(64).text(), "desk", key("desk"), 2**62)
    assert result([far], n=1).confirmed
