"""The mail in the database: queues, and the commands that fill and empty them.

Queues: an agent's is `b"a" + operator + agent`, an operator's shared feed `b"b" + operator`. Each numbers its messages
from 1 on, without gaps, and never a number twice: `box.newest` outlives expired messages. A message for many queues is
kept once.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection
from contextlib import closing
from dataclasses import dataclass
from typing import Final

from control_plane import limits
from control_plane.store import CloudTx
from protos import message_pb2 as pb

NUMBER_MAX: Final = 2**63 - 1
"""SQLite's integers."""


STANDING_ORDERS: Final = (pb.KIND_FREEZE, pb.KIND_UNFREEZE, pb.KIND_TRUST, pb.KIND_STANDING)
"""Messages to all agents, which hold for later ones too."""

STOPS: Final = frozenset({pb.KIND_CANCEL, pb.KIND_FREEZE, pb.KIND_PAUSE})
"""For these there is room when there is none for anything else."""


def agent_queue(operator: bytes, agent: bytes) -> bytes:
    """Return the name of an agent's queue; both ids have 16 bytes."""
    return b"a" + operator + agent


def feed(operator: bytes) -> bytes:
    """Return the name of an operator's shared feed."""
    return b"b" + operator


@dataclass(frozen=True, slots=True)
class QueuedMessage:
    """A message in a queue: its number there, its bytes as the sender's protobuf, and the unix minute it came."""

    number: int
    message: bytes
    minute: int


@dataclass(frozen=True, slots=True)
class Stored:
    """The fate of a message: `again`, its ref was taken before; `reused`, for other bytes; `full`, no room."""

    again: bool = False
    reused: bool = False
    full: bool = False


# One statement for what three could read: the writer asks for the interpreter's lock at each
_LOOK: Final = """
SELECT (SELECT sha256 FROM ref_seen WHERE operator = ?1 AND sender = ?2 AND ref = ?3),
    coalesce((SELECT bytes FROM usage WHERE operator = ?1 AND sender = ''), 0),
    coalesce((SELECT bytes FROM usage WHERE operator = ?1 AND sender = ?2), 0)
"""


@dataclass(frozen=True, slots=True)
class Keep:
    """Put a message into queues, unless its sender's ref was taken before. `sha256`: of the sender's bytes."""

    operator: bytes
    sender: str
    ref: bytes
    sha256: bytes
    kind: int
    message: bytes
    queues: tuple[bytes, ...]
    now_s: int
    expires_s: int
    operator_max: int
    sender_max: int

    def run(self, tx: CloudTx) -> Stored:
        """Store ref and message in one transaction: a ref that is taken is a message that is kept."""
        ((taken, of_operator, of_sender),) = tx.all(_LOOK, (self.operator, self.sender, self.ref))
        if taken is not None:
            return Stored(again=True) if taken == self.sha256 else Stored(reused=True)
        room = min(self.operator_max - of_operator, self.sender_max - of_sender)
        if len(self.message) > room + (limits.STOPS_BYTES if self.kind in STOPS else 0):
            return Stored(full=True)
        self._keep(tx)
        return Stored()

    def _keep(self, tx: CloudTx) -> None:
        life_s = self.expires_s - self.now_s
        remembered_s = self.now_s + max(life_s, min(limits.REF_KEEP_S, limits.REF_LIVES * life_s))
        tx.run(
            "INSERT INTO ref_seen VALUES (?, ?, ?, ?, ?)",
            (self.operator, self.sender, self.ref, self.sha256, remembered_s),
        )
        stored = tx.insert(
            "INSERT INTO letter (operator, sender, kind, message, minute, expires_s) VALUES (?, ?, ?, ?, ?, ?)",
            (self.operator, self.sender, self.kind, self.message, self.now_s // 60, self.expires_s),
        )
        for queue in self.queues:
            _put(tx, queue, stored)
        tx.many(
            "INSERT INTO usage VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET bytes = bytes + excluded.bytes",
            [(self.operator, who, len(self.message)) for who in ("", self.sender)],
        )


def _put(tx: CloudTx, queue: bytes, stored: int) -> None:
    ((number,),) = tx.all(
        "INSERT INTO box VALUES (?, 1) ON CONFLICT DO UPDATE SET newest = newest + 1 RETURNING newest", (queue,)
    )
    tx.run("INSERT INTO message VALUES (?, ?, ?)", (queue, number, stored))


def catch_up(tx: CloudTx, operator: bytes, agent: bytes) -> None:
    """Put the messages to all agents into the queue of one that comes later, in order, where it lacks them."""
    queue = agent_queue(operator, agent)
    lacking = tx.all(
        f"SELECT letter FROM message JOIN letter ON letter.id = message.letter WHERE box = ?"  # noqa: S608 # only question marks
        f" AND kind IN ({','.join('?' * len(STANDING_ORDERS))})"
        " AND letter NOT IN (SELECT letter FROM message WHERE box = ?) ORDER BY number",
        (feed(operator), *STANDING_ORDERS, queue),
    )
    for row in lacking:
        _put(tx, queue, row["letter"])


@dataclass(frozen=True, slots=True)
class Forget:
    """Delete expired messages and refs, at most `most` of each; `run` returns how many messages went."""

    now_s: int
    most: int = limits.FORGET_MAX

    def run(self, tx: CloudTx) -> int:
        """Delete them; numbers are not used again."""
        gone = tx.all(
            "SELECT id, operator, sender, length(message) AS bytes FROM letter"
            " WHERE expires_s <= ? ORDER BY expires_s LIMIT ?",
            (self.now_s, self.most),
        )
        tx.many(
            "UPDATE usage SET bytes = bytes - ? WHERE operator = ? AND sender = ?",
            [(r["bytes"], r["operator"], who) for r in gone for who in ("", r["sender"])],
        )
        tx.many("DELETE FROM letter WHERE id = ?", [(r["id"],) for r in gone])
        tx.run(
            "DELETE FROM ref_seen WHERE (operator, sender, ref) IN"
            " (SELECT operator, sender, ref FROM ref_seen WHERE expires_s <= ? LIMIT ?)",
            (self.now_s, self.most),
        )
        return len(gone)


@dataclass(frozen=True, slots=True)
class RecordSeen:
    """An agent is or was connected in this minute."""

    operator: bytes
    agent: bytes
    minute: int

    def run(self, tx: CloudTx) -> None:
        tx.run(
            "INSERT INTO seen VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET minute = excluded.minute",
            (self.operator, self.agent, self.minute),
        )


def read_queue(
    reader: sqlite3.Connection, queue: bytes, after: int, kinds: Collection[int], most: int, until: int = NUMBER_MAX
) -> list[QueuedMessage]:
    """Return the messages of a queue after a number, in order, of these kinds (none: all).

    Args:
        reader: a connection.
        queue: its owner.
        after: the number after which to begin.
        kinds: which; empty: all.
        most: how many at most; fewer when they reach `limits.READ_BYTES`, but one when there is one.
        until: the last number to look at.
    """
    among = f"AND kind IN ({','.join('?' * len(kinds))})" if kinds else ""
    sql = (
        "SELECT number, message, minute FROM message JOIN letter ON letter.id = message.letter "  # noqa: S608 # `among` is question marks
        f"WHERE box = ? AND number > ? AND number <= ? {among} ORDER BY number LIMIT ?"
    )
    found: list[QueuedMessage] = []
    size_bytes = 0
    with closing(reader.execute(sql, (queue, after, until, *kinds, most))) as rows:
        for row in rows:
            size_bytes += len(row["message"])
            if found and size_bytes > limits.READ_BYTES:
                break
            found.append(QueuedMessage(row["number"], row["message"], row["minute"]))
    return found


def own_statements(reader: sqlite3.Connection, operator: bytes, sender: str, most: int) -> list[bytes]:
    """Return the receipts and outcomes that a sender left, each as the message that it sent, newest first."""
    rows = reader.execute(
        # The kinds in the very words of the index, which SQLite needs to use it
        "SELECT message FROM letter WHERE operator = ? AND sender = ? AND kind IN (2, 3) ORDER BY id DESC LIMIT ?",
        (operator, sender, most),
    )
    return [r["message"] for r in rows]


def scan_end(reader: sqlite3.Connection, queue: bytes, after: int) -> int:
    """Return the last number to look at for some kinds: `limits.SCAN_MESSAGES` messages further, or the newest.

    Messages, not numbers: of a queue that is years old, most numbers are of messages that were forgotten.
    """
    sql = "SELECT number FROM message WHERE box = ? AND number > ? ORDER BY number LIMIT 1 OFFSET ?"
    row = reader.execute(sql, (queue, after, limits.SCAN_MESSAGES - 1)).fetchone()
    return row["number"] if row else max(after, newest(reader, queue))


def newest(reader: sqlite3.Connection, queue: bytes) -> int:
    """Return the newest number of a queue, 0 when nothing ever came."""
    row = reader.execute("SELECT newest FROM box WHERE box = ?", (queue,)).fetchone()
    return row["newest"] if row else 0


def seen_minutes(reader: sqlite3.Connection, operator: bytes) -> dict[bytes, int]:
    """Return when each agent of an operator was last connected, by agent."""
    rows = reader.execute("SELECT agent, minute FROM seen WHERE operator = ?", (operator,))
    return {bytes(r["agent"]): r["minute"] for r in rows}
