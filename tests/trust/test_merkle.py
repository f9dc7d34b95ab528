import base64
import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders.operator import data_file
from trust import limits, merkle
from trust.errors import MalformedProofError

LEAVES = [merkle.leaf_hash(str(i).encode()) for i in range(70)]


def slow_root(hashes):
    """RFC 6962 section 2.1, word for word."""
    if not hashes:
        return hashlib.sha256(b"").digest()
    if len(hashes) == 1:
        return hashes[0]
    k = 1
    while k * 2 < len(hashes):
        k *= 2
    return hashlib.sha256(b"\x01" + slow_root(hashes[:k]) + slow_root(hashes[k:])).digest()


def grow(n):
    store = {}

    def nodes(level, index):
        return store[level, index]

    for size in range(n):
        for level, index, value in merkle.appended(size, LEAVES[size], nodes):
            assert (level, index) not in store
            store[level, index] = value
    return nodes


def vector_files(kind):
    folder = data_file(f"vectors/merkle/{kind}")
    return sorted(folder.rglob("*.json"))


def b64s(values):
    return [base64.b64decode(v) for v in values or ()]


def outcome(call, *args):
    try:
        call(*args)
    except MalformedProofError:
        return True
    return False


def test_transparency_dev_inclusion_vectors():
    files = vector_files("inclusion")
    for path in files:
        case = json.loads(path.read_text())
        root, leaf = b64s([case["root"], case["leafHash"]])
        args = (leaf, case["leafIdx"], case["treeSize"], b64s(case["proof"]), root)
        assert outcome(merkle.verify_inclusion, *args) == case["wantErr"], path
    assert len(files) >= 50


def test_transparency_dev_consistency_vectors():
    files = vector_files("consistency")
    for path in files:
        case = json.loads(path.read_text())
        old, new = b64s([case["root1"], case["root2"]])
        args = (case["size1"], case["size2"], old, new, b64s(case["proof"]))
        assert outcome(merkle.verify_consistency, *args) == case["wantErr"], path
    assert len(files) >= 20


def test_roots_are_those_of_the_rfc():
    nodes = grow(70)
    for size in range(71):
        assert merkle.root(LEAVES[:size]) == merkle.root_at(size, nodes) == slow_root(LEAVES[:size])
    assert merkle.root([]) == merkle.EMPTY_ROOT


def test_every_leaf_of_every_tree_is_proven():
    nodes = grow(70)
    for size in range(1, 71):
        root = merkle.root_at(size, nodes)
        for index in range(size):
            merkle.verify_inclusion(LEAVES[index], index, size, merkle.inclusion(index, size, nodes), root)


def test_every_tree_is_consistent_with_every_earlier_one():
    nodes = grow(70)
    roots = [merkle.root_at(size, nodes) for size in range(71)]
    for new in range(1, 71):
        assert merkle.consistency(0, new, nodes) == ()
        for old in range(1, new + 1):
            proof = merkle.consistency(old, new, nodes)
            merkle.verify_consistency(old, new, roots[old], roots[new], proof)


@given(st.data())
def test_L4_L5_proofs_prove_nothing_else(data):
    size = data.draw(st.integers(1, 40))
    index = data.draw(st.integers(0, size - 1))
    nodes = grow(size)
    root, proof = merkle.root_at(size, nodes), merkle.inclusion(index, size, nodes)
    other = data.draw(
        st.integers(0, size - 1).filter(lambda i: LEAVES[i] != LEAVES[index]) if size > 1 else st.just(-1)
    )
    assert outcome(merkle.verify_inclusion, LEAVES[index], other, size, proof, root)
    assert outcome(merkle.verify_inclusion, LEAVES[index], index, size, [*proof, bytes(32)], root)
    assert outcome(merkle.verify_inclusion, LEAVES[index], index, size, proof, bytes(32))
    if proof:
        assert outcome(merkle.verify_inclusion, LEAVES[index], index, size, proof[1:], root)
        flipped = [bytes([proof[0][0] ^ 1]) + proof[0][1:], *proof[1:]]
        assert outcome(merkle.verify_inclusion, LEAVES[index], index, size, flipped, root)


def test_L1_L5_forks_and_swapped_roots_are_found():
    nodes = grow(8)
    roots = [merkle.root_at(size, nodes) for size in range(9)]
    proof = merkle.consistency(5, 8, nodes)
    bad = [
        (5, 8, roots[8], roots[5], proof),
        (5, 8, roots[5], bytes(32), proof),
        (5, 8, bytes(32), roots[8], proof),
        (5, 5, roots[5], roots[6], ()),
        (5, 5, roots[5], roots[5], proof),
        (5, 8, roots[5], roots[8], ()),
        (5, 8, roots[5], roots[8], proof[:-1]),
        (5, 8, roots[5], roots[8], [*proof, bytes(32)]),
        (0, 8, merkle.EMPTY_ROOT, roots[8], ()),
        (8, 5, roots[8], roots[5], proof),
        (5, 8, roots[5], roots[8], [b"short"]),
        (5, limits.TREE_SIZE_MAX + 1, roots[5], roots[8], proof),
    ]
    for case in bad:
        with pytest.raises(MalformedProofError):
            merkle.verify_consistency(*case)


def test_ranges_are_checked_first():
    nodes = grow(4)
    for index, size in ((-1, 4), (4, 4), (0, 0), (0, limits.TREE_SIZE_MAX + 1)):
        with pytest.raises(MalformedProofError):
            merkle.verify_inclusion(LEAVES[0], index, size, [], LEAVES[0])
    for index, size in ((-1, 4), (4, 4), (0, 0)):
        with pytest.raises(MalformedProofError):
            merkle.inclusion(index, size, nodes)
    for old, new in ((-1, 4), (4, 3)):
        with pytest.raises(MalformedProofError):
            merkle.consistency(old, new, nodes)


def test_L4_more_hashes_than_a_proof_can_have():
    with pytest.raises(MalformedProofError, match="at most 63"):
        merkle.verify_inclusion(LEAVES[0], 0, 2**63 - 1, [bytes(32)] * 64, bytes(32))


def test_a_leaf_is_no_node():
    assert merkle.leaf_hash(LEAVES[0] + LEAVES[1]) != merkle.node_hash(LEAVES[0], LEAVES[1])
