"""The audit log inside the database: appending a leaf, and serving the tree's nodes for proofs.

The event row is the leaf row, written in the transaction of the state change that it describes, so that there is no
action without a leaf and no leaf without its action. Complete subtrees are kept (`node`), about one row a leaf.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field
from typing import Final

from agent.store.errors import LogCorruptError
from trust import leaf as leaves
from trust import merkle
from trust.leaf import Leaf, LeafKind

ZERO16 = bytes(16)
ZERO32 = bytes(32)
NODES_MAX: Final = 64
"""Nodes in one statement."""
_INSERT_NODE: Final = "INSERT INTO node (level, idx, hash) VALUES (?,?,?)"
_INSERT_NODES: Final = {1 << n: _INSERT_NODE + ",(?,?,?)" * ((1 << n) - 1) for n in range(NODES_MAX.bit_length())}
"""The same for 1, 2, 4... nodes: few sizes, since each is a prepared statement."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """A record beside the log: sealed under the subject's key, and committed to by the leaf.

    `commitment` is SHA-256(salt ‖ record) over the clear text; the 32-byte salt is sealed with the record. `subject` is
    16 random bytes that name the key, never the subscriber.
    """

    subject: bytes
    ciphertext: bytes
    commitment: bytes


@dataclass(frozen=True, slots=True)
class Entry:
    """One event to append. `code` is an item state or verdict code; zeros where a field has no meaning."""

    kind: LeafKind
    plan_id: bytes | None = None
    plan_digest: bytes = ZERO32
    item: int = 0
    step: int = 0
    code: int = 0
    actor: bytes = ZERO16
    sealed: Sealed | None = None


@dataclass(slots=True)
class Tail:
    """The right edge of the tree: its size and the complete subtrees that appending needs.

    `unstored` are the nodes that were completed since `store_nodes` stored them the last time.
    """

    size: int = 0
    edge: dict[tuple[int, int], bytes] = field(default_factory=dict)
    unstored: list[tuple[int, int, bytes]] = field(default_factory=list)

    def append(self, leaf_hash: bytes) -> list[tuple[int, int, bytes]]:
        """Append a leaf hash; return the nodes to store."""
        made = merkle.appended(self.size, leaf_hash, lambda level, index: self.edge[level, index])
        for level, index, _ in made[:-1]:  # each has a parent now, as has the complete subtree to its left
            del self.edge[level, index - 1]
        level, index, digest = made[-1]
        self.edge[level, index] = digest
        self.size += 1
        return made


def load_tail(con: sqlite3.Connection) -> Tail:
    """Return the log's right edge: a few rows are read, however long the log is. `refuse_gaps` reads the rest.

    Raises:
        LogCorruptError: a node of the edge is missing.
    """
    return tail_at(con, con.execute("SELECT coalesce(max(seq), 0) FROM event").fetchone()[0])


def refuse_gaps(con: sqlite3.Connection) -> None:
    """Count the events, which reads every page of them: half a gigabyte for a million, so it is for a thread.

    Raises:
        LogCorruptError: the events have gaps.
    """
    count, last = con.execute("SELECT count(*), coalesce(max(seq), 0) FROM event").fetchone()
    if count != last:
        raise LogCorruptError(f"expected events 1 to {last}, got {count} of them")


def tail_at(con: sqlite3.Connection, size: int) -> Tail:
    """Return the right edge of the first `size` leaves, `size` being all that the database holds.

    Raises:
        LogCorruptError: a node of the edge is missing.
    """
    tail = Tail(size)
    nodes = stored_nodes(con)
    for level in range(size.bit_length()):
        if size >> level & 1:
            index = (size >> level) - 1
            tail.edge[level, index] = nodes(level, index)
    return tail


def stored_nodes(con: sqlite3.Connection) -> merkle.Nodes:
    """Return the getter of complete subtrees that `trust.merkle` asks for roots and proofs."""

    def get(level: int, index: int) -> bytes:
        row = con.execute("SELECT hash FROM node WHERE level = ? AND idx = ?", (level, index)).fetchone()
        if row is None:
            raise LogCorruptError(f"the tree lacks node {index} of level {level}")
        return bytes(row[0])

    return get


def append(con: sqlite3.Connection, tail: Tail, entry: Entry, now_s: float, trust_version: int) -> int:
    """Append one event with its leaf; return its sequence number (leaf index + 1). `store_nodes` is still to come."""
    commitment = entry.sealed.commitment if entry.sealed else ZERO32
    data = leaves.encode(
        Leaf(
            kind=entry.kind,
            minute=int(now_s) // 60,
            plan=entry.plan_digest,
            trust_version=trust_version,
            item=entry.item,
            step=entry.step,
            code=entry.code,
            actor=entry.actor,
            commitment=commitment,
        )
    )
    seq = tail.size + 1
    sealed = entry.sealed
    con.execute(
        "INSERT INTO event (seq, kind, at_s, plan, item, step, code, leaf, subject, record)"
        " VALUES (?,?,?,?,?,?,?,?,?,?)",
        (
            seq,
            entry.kind.value,
            int(now_s),
            entry.plan_id,
            entry.item,
            entry.step,
            entry.code,
            data,
            sealed.subject if sealed else None,
            sealed.ciphertext if sealed else None,
        ),
    )
    tail.unstored += tail.append(merkle.leaf_hash(data))
    return seq


def store_nodes(con: sqlite3.Connection, tail: Tail) -> None:
    """Store the nodes that were completed since the last time: once a commit, in few statements of many rows."""
    nodes, tail.unstored = tail.unstored, []
    start = 0
    while start < len(nodes):
        rows = min(NODES_MAX, 1 << (len(nodes) - start).bit_length() - 1)
        con.execute(_INSERT_NODES[rows], [field for node in nodes[start : start + rows] for field in node])
        start += rows
