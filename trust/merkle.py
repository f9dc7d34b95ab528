"""The Merkle tree of logs and items: RFC 6962 section 2.1, with the verifiers of RFC 9162 section 2.1.

A tree of any size is a row of complete subtrees. A store keeps the root of every complete subtree under
`(level, index)`: it covers the leaves from `index << level` on, `1 << level` of them. All roots and proofs of all
earlier sizes come from those nodes, O(log size) of them each.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Sequence
from typing import Final

from trust import limits
from trust.errors import MalformedProofError

Nodes = Callable[[int, int], bytes]
"""`(level, index)` of a complete subtree to its root, 32 bytes."""

HASH_BYTES: Final = 32
EMPTY_ROOT: Final = hashlib.sha256(b"").digest()


def leaf_hash(data: bytes) -> bytes:
    """Return SHA-256(0x00 || data), 32 bytes (RFC 6962 section 2.1)."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return SHA-256(0x01 || left || right), 32 bytes (RFC 6962 section 2.1)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def root(hashes: Sequence[bytes]) -> bytes:
    """Return the root over leaf hashes, in memory; of none, SHA-256 of nothing."""
    if not hashes:
        return EMPTY_ROOT
    stack: list[tuple[int, bytes]] = []
    for value in hashes:
        level, node = 0, value
        while stack and stack[-1][0] == level:
            node = node_hash(stack.pop()[1], node)
            level += 1
        stack.append((level, node))
    return _fold([node for _, node in stack])


def _fold(row: Sequence[bytes]) -> bytes:
    """Join a row of complete subtrees, left to right and largest first, from its right end."""
    result = row[-1]
    for node in reversed(row[:-1]):
        result = node_hash(node, result)
    return result


def _row(start: int, end: int) -> list[tuple[int, int]]:
    """Return the complete subtrees (level, index) that make up leaves start to end-1, where start is aligned."""
    row = []
    while start < end:
        level = (end - start).bit_length() - 1
        row.append((level, start >> level))
        start += 1 << level
    return row


def _range_root(start: int, end: int, nodes: Nodes) -> bytes:
    return _fold([nodes(level, index) for level, index in _row(start, end)])


# --- a growing tree over stored nodes -------------------------------------------------------------------------------


def appended(size: int, leaf: bytes, nodes: Nodes) -> list[tuple[int, int, bytes]]:
    """Return the nodes (level, index, hash) that become complete when leaf hash `leaf` is put at index `size`.

    Args:
        size: leaves of the tree before, >= 0.
        leaf: leaf hash, 32 bytes.
        nodes: complete subtrees of the tree before.
    """
    level, index, node = 0, size, leaf
    created = [(level, index, node)]
    # As a binary counter carries: each trailing 1 of the index is a complete left subtree that waits for its right half
    while index & 1:
        node = node_hash(nodes(level, index - 1), node)
        level, index = level + 1, index >> 1
        created.append((level, index, node))
    return created


def root_at(size: int, nodes: Nodes) -> bytes:
    """Return the root of the tree's first `size` leaves, 32 bytes."""
    return _range_root(0, size, nodes) if size else EMPTY_ROOT


def inclusion(index: int, size: int, nodes: Nodes) -> tuple[bytes, ...]:
    """Return the proof that leaf `index` is in the tree of `size` leaves (RFC 6962 section 2.1.1).

    Raises:
        MalformedProofError: not 0 <= index < size.
    """
    if not 0 <= index < size:
        raise MalformedProofError(f"expected 0 <= index < size, got index {index} and size {size}")
    start, end, proof = 0, size, []
    while end - start > 1:
        split = start + _largest_power_below(end - start)
        if index < split:
            proof.append(_range_root(split, end, nodes))
            end = split
        else:
            proof.append(_range_root(start, split, nodes))
            start = split
    return tuple(reversed(proof))


def consistency(old: int, new: int, nodes: Nodes) -> tuple[bytes, ...]:
    """Return the proof that the tree of `new` leaves begins with that of `old` (RFC 6962 section 2.1.2).

    An empty tree begins every tree, and a tree itself: their proof is empty.

    Raises:
        MalformedProofError: not 0 <= old <= new.
    """
    if not 0 <= old <= new:
        raise MalformedProofError(f"expected 0 <= old <= new, got old {old} and new {new}")
    if old in {0, new}:
        return ()
    start, end, proof = 0, new, []
    while end > old or start > 0:
        if end == old:  # SUBPROOF(m, D[m], false)
            proof.append(_range_root(start, end, nodes))
            break
        split = start + _largest_power_below(end - start)
        if old <= split:
            proof.append(_range_root(split, end, nodes))
            end = split
        else:
            proof.append(_range_root(start, split, nodes))
            start = split
    return tuple(reversed(proof))


def _largest_power_below(n: int) -> int:
    return 1 << (n - 1).bit_length() - 1


# --- verifiers ------------------------------------------------------------------------------------------------------


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root_hash: bytes) -> None:
    """Check that leaf hash `leaf` is at `index` in the tree of `size` leaves with this root (RFC 9162 section 2.1.3.2).

    Raises:
        MalformedProofError: out of range, a hash that is not 32 bytes, a proof too long or short, or another root.
    """
    if not 0 <= index < size <= limits.TREE_SIZE_MAX:
        raise MalformedProofError(f"expected 0 <= index < size, got index {index} and size {size}")
    _check_hashes(leaf, root_hash, *proof)
    fn, sn, node = index, size - 1, leaf
    for sibling in proof:
        if sn == 0:
            raise MalformedProofError(f"inclusion proof: {len(proof)} hashes are too many for index {index} of {size}")
        # fn == sn: the right edge of the tree, where levels without a sibling put no hash into the proof
        if fn & 1 or fn == sn:
            node = node_hash(sibling, node)
            while fn and not fn & 1:
                fn, sn = fn >> 1, sn >> 1
        else:
            node = node_hash(node, sibling)
        fn, sn = fn >> 1, sn >> 1
    if sn:
        raise MalformedProofError(f"inclusion proof: {len(proof)} hashes are too few for index {index} of {size}")
    if not hmac.compare_digest(node, root_hash):
        raise MalformedProofError(f"inclusion proof: leaf {index} is not in the tree of {size} with this root")


def verify_consistency(old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> None:
    """Check that the tree of `new` leaves begins with the tree of `old` (RFC 9162 section 2.1.4.2).

    `old` 0 is an error here, as in RFC 9162: callers that start from nothing (witnesses) check for an empty proof.

    Raises:
        MalformedProofError: out of range, a hash that is not 32 bytes, a proof too long or short, or another root.
    """
    if not 0 < old <= new <= limits.TREE_SIZE_MAX:
        raise MalformedProofError(f"expected 0 < old <= new, got old {old} and new {new}")
    _check_hashes(old_root, new_root, *proof)
    if old == new:
        if proof:
            raise MalformedProofError("consistency proof: expected none between equal sizes")
        if not hmac.compare_digest(old_root, new_root):
            raise MalformedProofError(f"two different trees of {old} leaves: the log was forked")
        return
    path = list(proof)
    if old & (old - 1) == 0:
        path.insert(0, old_root)
    if not path:
        raise MalformedProofError(f"consistency proof: none given between {old} and {new}")
    got_old, got_new = _climb(old, new, path)
    if not (hmac.compare_digest(got_old, old_root) and hmac.compare_digest(got_new, new_root)):
        raise MalformedProofError(f"consistency proof: the tree of {new} does not begin with that of {old}")


def _climb(old: int, new: int, path: Sequence[bytes]) -> tuple[bytes, bytes]:
    fn, sn = old - 1, new - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    fr = sr = path[0]
    for node in path[1:]:
        if sn == 0:
            raise MalformedProofError(f"consistency proof: too many hashes between {old} and {new}")
        if fn & 1 or fn == sn:
            fr, sr = node_hash(node, fr), node_hash(node, sr)
            while fn and not fn & 1:
                fn, sn = fn >> 1, sn >> 1
        else:
            sr = node_hash(sr, node)
        fn, sn = fn >> 1, sn >> 1
    if sn:
        raise MalformedProofError(f"consistency proof: too few hashes between {old} and {new}")
    return fr, sr


def _check_hashes(*hashes: bytes) -> None:
    if len(hashes) > limits.PROOF_HASHES_MAX + 2:
        raise MalformedProofError(f"expected at most {limits.PROOF_HASHES_MAX} hashes, got more")
    if any(len(h) != HASH_BYTES for h in hashes):
        raise MalformedProofError(f"expected hashes of {HASH_BYTES} bytes")
