"""At start: is this log ours and whole, was the database restored, which runs are unfinished.

A database that is older than the high-water mark was restored from a backup: what it believes to be unused may have
been used, so every plan that it has not consumed is void and is previewed again, and no run that it believes to be
unfinished goes on: its unsent items are cancelled, its begun ones need a person.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from agent.changes.journal import item_commands
from agent.changes.journal.audit import Recorder
from agent.changes.journal.machine import Gate
from agent.store import log_store
from agent.store.db import Store, Tx
from agent.store.errors import LogCorruptError, MissingKeyError
from agent.store.log_store import Entry, Sealed
from agent.store.vault import Vault
from trust import merkle
from trust.leaf import LeafKind

LEAVES_AT_ONCE: Final = 1000
"""Items of which the hashes are kept in one transaction."""


def void_unconsumed(tx: Tx) -> int:
    """Void every plan that was not consumed, inside a larger command; return how many."""
    rows = tx.all("SELECT plan_id, digest FROM plan WHERE gate IN (?, ?)", (Gate.OPEN.value, Gate.APPROVED.value))
    for row in rows:
        seq = tx.append(Entry(LeafKind.PLAN_VOID, bytes(row["plan_id"]), bytes(row["digest"])))
        tx.run(
            "UPDATE plan SET gate = ?, gate_seq = ? WHERE plan_id = ?",
            (Gate.VOID.value, seq, bytes(row["plan_id"])),
        )
    return len(rows)


def give_up_unfinished(tx: Tx, record: Sealed) -> int:
    """Give up what was consumed and is not finished; return how many.

    When the log lost its end, they may have run to their own end, and been taken back, since.
    """
    rows = tx.all("SELECT plan_id FROM plan WHERE consumed_seq IS NOT NULL AND finished_seq IS NULL")
    for row in rows:
        item_commands.GiveUp(bytes(row["plan_id"]), "the database was restored from a backup", record).run(tx)
    return len(rows)


@dataclass(frozen=True, slots=True)
class VoidUnconsumed:
    """Void every plan that was not consumed: the database is older than the agent's own memory."""

    recorder: Recorder
    had: int
    should: int

    def run(self, tx: Tx) -> int:
        """Return how many plans are void."""
        record = self.recorder.record(None, {"what": "restored", "leaves": self.had, "expected": self.should})
        tx.append(Entry(LeafKind.RESTORED_DATABASE, sealed=record))
        tx.raise_high_water = True
        return void_unconsumed(tx) + give_up_unfinished(tx, record)


def refuse_without_keys(store: Store, vault: Vault) -> None:
    """Refuse a log whose keys are gone: no record in it could be read, and whether it is old could not be told.

    Raises:
        MissingKeyError: `keys.db` is missing or empty, or its mark of the log is, and the log is not.
    """
    lost = "" if vault.has_keys() else "no key of anybody"
    used = store.query("SELECT 1 FROM plan WHERE consumed_seq IS NOT NULL LIMIT 1")  # that raised the mark
    if not lost and used and vault.mark() is None:
        lost = "no mark of the log"
    if store.size and lost:
        raise MissingKeyError(
            f"keys.db: expected the keys and the mark of a log of {store.size} leaves, got {lost}: put keys.db back"
            " from the backup that agent.db is of; without it nothing in agent.db can be read, and an agent begins anew"
            " in an empty state directory"
        )


def check_mark(store: Store, vault: Vault) -> tuple[int, int] | None:
    """Return None when the log extends the high-water mark, or (leaves, leaves expected) when it is older or another.

    Raises:
        LogCorruptError: the tree lacks nodes.
    """
    mark = vault.mark()
    if mark is None:
        return None
    size, root = mark
    if store.size < size:
        return store.size, size
    try:
        if merkle.root_at(size, log_store.stored_nodes(store.reader)) != root:
            return store.size, size
    except LookupError as err:
        raise LogCorruptError(f"the tree cannot be read: {err}") from err
    return None


async def void_if_restored(store: Store, vault: Vault, recorder: Recorder) -> int | None:
    """Void what a restored database believes to be unused; return how many plans, or None when it is not restored."""
    found = check_mark(store, vault)
    if found is None:
        return None
    return await store.run(VoidUnconsumed(recorder, *found))


@dataclass(frozen=True, slots=True)
class Note:
    """The agent started or stopped."""

    kind: LeafKind
    sealed: Sealed

    def run(self, tx: Tx) -> int:
        """Return the sequence number of the event."""
        # A crash between a start's commit and its mark would leave the mark behind what is about to be sent.
        tx.raise_high_water = True
        return tx.append(Entry(self.kind, sealed=self.sealed))


@dataclass(frozen=True, slots=True)
class KeepLeaves:
    """Keep the leaf hashes of items' documents: (hash, plan, number)."""

    found: tuple[tuple[bytes, bytes, int], ...]

    def run(self, tx: Tx) -> None:
        """Do it."""
        tx.many("UPDATE item SET leaf = ? WHERE plan_id = ? AND n = ? AND leaf IS NULL", self.found)


async def keep_leaves(store: Store, vault: Vault) -> int:
    """Keep the leaf hashes of the items that a version before V14 stored; return how many.

    By its hash an item proves the others of its plan once its subscriber is erased. Of one who is erased already it
    cannot be computed any more: such a plan ends whole.
    """
    rows = store.query("SELECT plan_id, n, subject, doc FROM item WHERE leaf IS NULL")
    kept = 0
    for start in range(0, len(rows), LEAVES_AT_ONCE):
        opened = [(r, vault.open_record(bytes(r["subject"]), bytes(r["doc"]))) for r in rows[start:][:LEAVES_AT_ONCE]]
        found = [(merkle.leaf_hash(one[1]), bytes(r["plan_id"]), r["n"]) for r, one in opened if one is not None]
        await store.run(KeepLeaves(tuple(found)))
        kept += len(found)
    return kept


async def note_start(store: Store, recorder: Recorder) -> None:
    """Record that the agent started."""
    await store.run(Note(LeafKind.START, recorder.record(None, {"what": "start"})))


async def note_stop(store: Store, recorder: Recorder) -> None:
    """Record that the agent stopped as it should."""
    await store.run(Note(LeafKind.STOP, recorder.record(None, {"what": "stop"})))
