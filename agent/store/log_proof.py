"""Proves the log of a database that is not open: its tree is computed anew from its leaves."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from agent.store import log_store
from agent.store.errors import LogCorruptError
from agent.store.log_store import Tail
from trust import merkle
from trust.checkpoint import Checkpoint, VerifierKey, open_checkpoint_untrusted
from trust.errors import TrustError


@dataclass(frozen=True, slots=True)
class LogProof:
    """A log that holds. `signed`: how many of its leaves the newest signed checkpoint covers, 0: there is none yet."""

    size: int
    root: bytes
    signed: int


def head(con: sqlite3.Connection) -> tuple[int, bytes]:
    """Return the log's size and root hash, as its stored tree has them.

    Raises:
        LogCorruptError: events or nodes are missing.
    """
    log_store.refuse_gaps(con)
    tail = log_store.load_tail(con)
    return tail.size, merkle.root_at(tail.size, log_store.stored_nodes(con))


def prove(con: sqlite3.Connection, vkey: VerifierKey) -> LogProof:
    """Return the proof of a log: every leaf hashes into its stored tree, and into the newest signed checkpoint.

    Raises:
        LogCorruptError: they do not, or the log's key did not sign the checkpoint.
    """
    size, root = head(con)
    checkpoint = _newest(con, vkey)
    tail, at_checkpoint = Tail(), b""
    for expected, (seq, leaf) in enumerate(con.execute("SELECT seq, leaf FROM event ORDER BY seq"), start=1):
        if seq != expected:
            raise LogCorruptError(f"expected event {expected}, got {seq}")
        tail.append(merkle.leaf_hash(bytes(leaf)))
        if checkpoint is not None and checkpoint.size == seq:
            at_checkpoint = _root(tail)
    if _root(tail) != root:
        raise LogCorruptError(f"the {size} leaves do not hash to the root of the stored tree")
    if checkpoint is not None and checkpoint.size and at_checkpoint != checkpoint.root:
        raise LogCorruptError(f"the first {checkpoint.size} leaves do not hash to the root of the signed checkpoint")
    return LogProof(size, root, 0 if checkpoint is None else checkpoint.size)


def _newest(con: sqlite3.Connection, vkey: VerifierKey) -> Checkpoint | None:
    """Return the newest checkpoint of this log; one that a log had before it got a new key is of another."""
    for (note,) in con.execute("SELECT note FROM checkpoint ORDER BY size DESC"):
        if bytes(note).startswith(f"{vkey.name}\n".encode()):
            try:
                return open_checkpoint_untrusted(bytes(note), vkey)
            except TrustError as err:
                raise LogCorruptError(f"the newest checkpoint is not signed by the log's key: {err}") from err
    return None


def _root(tail: Tail) -> bytes:
    return merkle.root_at(tail.size, lambda level, index: tail.edge[level, index])
