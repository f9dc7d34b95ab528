"""At start: is this log ours and whole, was the database restored, which runs are unfinished.

A database that is older than a mark was restored from a backup: a plan that it believes to be unused may have been
used, so every plan that it has not consumed is void and is previewed again, and no run that it believes to be
unfinished goes on: its items that have not ended need a person, since any of them may have been sent. There are two
marks: in `keys.db`, which a copy of the state directory brings along, and in the mark file, which it does not.

* A mark file that was lost says nothing, so the log may be an old one: the same happens, unless witnesses can tell.
* Where a mark knows a newer trust version than the one that is pinned, or the mark file was lost, the trust is in
  doubt: nothing starts and nobody approves until that version is installed, or a person types the words of this one.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Final

from agent.changes.journal import item_commands
from agent.changes.journal.audit import Json, Recorder
from agent.changes.journal.machine import Gate
from agent.changes.journal.trust_state import keep_number, stored_doubt
from agent.store import log_store, mail
from agent.store.db import Store, Tx
from agent.store.errors import LogCorruptError, MissingKeyError
from agent.store.log_store import Entry, Sealed
from agent.store.mark_file import BOARD_DOUBT, BOARD_JUDGED, DOUBT, MARKED, LogMark, MarkFile
from agent.store.vault import Vault
from trust import merkle
from trust.leaf import LeafKind

BUILD: Final = "build"
"""The row of `meta` that says which build started last."""
LEAVES_KEPT: Final = "leaves-kept"
"""The row of `meta` that says that the items of versions before V14 were gone through."""
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
    """Give up plans that were consumed and are not finished; return how many.

    When the log lost its end, they may have run to their own end, and been taken back, since. So each of their items
    that has not ended needs a person, also one that was not begun in this log.
    """
    rows = tx.all("SELECT plan_id FROM plan WHERE consumed_seq IS NOT NULL AND finished_seq IS NULL")
    for row in rows:
        item_commands.GiveUp(bytes(row["plan_id"]), "it may have been sent since the backup", record, lost=True).run(tx)
    return len(rows)


@dataclass(frozen=True, slots=True)
class MarksVerdict:
    """Whether the marks show, at the start, that the log or the trust document is an older copy.

    `older`: None when it extends them, or (leaves, leaves expected), 0 where nobody knows. `lost`: the mark file was
    lost. `doubt`: as in `LogMark`.
    """

    older: tuple[int, int] | None = None
    lost: bool = False
    doubt: int | None = None


@dataclass(frozen=True, slots=True)
class VoidUnconsumed:
    """Void every plan that was not consumed: the database is older than the agent's own memory, or may be.

    `board_until`: the unix minute of the newest statement on the control plane's board that says so; None: a mark says
    so. `running`: runs go on in this process, and are left to it.
    """

    judged: MarksVerdict
    sealed: Sealed
    _: KW_ONLY
    board_until: int | None = None
    running: bool = False

    def run(self, tx: Tx) -> int:
        """Return how many plans are void, or given up."""
        tx.append(Entry(LeafKind.RESTORED_DATABASE, sealed=self.sealed))
        tx.raise_high_water = True
        if self.judged.doubt is not None:
            keep_number(tx, DOUBT, self.judged.doubt)
            if self.board_until is not None:
                keep_number(tx, BOARD_DOUBT, 1)
        if self.judged.older is None:
            return 0
        # A life that is gone may have had a clock that was ahead of this one's
        keep_number(tx, BOARD_JUDGED, max(int(tx.now_s) // 60, self.board_until or 0))
        mail.RenewSealKey().run(tx)  # desks may know one that was made since: its private half is lost with `keys.db`
        return void_unconsumed(tx) + (0 if self.running else give_up_unfinished(tx, self.sealed))


def refuse_without_keys(store: Store, vault: Vault) -> None:
    """Refuse a log without its keys: no record in it could be read, and whether it is old could not be told.

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
    return None if mark is None else older_than(store, *mark)


def older_than(store: Store, size: int, root: bytes) -> tuple[int, int] | None:
    """Return None when the log extends one of `size` leaves with this root, or (leaves, leaves expected).

    Raises:
        LogCorruptError: the tree lacks nodes.
    """
    if store.size < size:
        return store.size, size
    try:
        if merkle.root_at(size, log_store.stored_nodes(store.reader)) != root:
            return store.size, size
    except LookupError as err:
        raise LogCorruptError(f"the tree cannot be read: {err}") from err
    return None


def judge(store: Store, vault: Vault, mark_file: MarkFile | None, *, witnessed: bool) -> MarksVerdict:
    """Compare the log with its high-water marks, and return the verdict.

    Args:
        store: with the log.
        vault: with the mark beside the keys.
        mark_file: the mark outside of the state directory; None: there is to be none.
        witnessed: whether witnesses will say that the log is old, where the file cannot.

    Raises:
        LogCorruptError: the tree lacks nodes.
    """
    older, outside = check_mark(store, vault), None if mark_file is None else mark_file.mark
    if outside is not None:
        older = older or older_than(store, outside.size, outside.root)
        return MarksVerdict(older, doubt=_doubt_of(outside, store.trust_version))
    lost = mark_file is not None and (mark_file.written or _was_marked(store))
    if not lost:
        return MarksVerdict(older)
    if older is None and not witnessed:
        older = store.size, 0
    return MarksVerdict(older, lost=True, doubt=0 if store.trust_version else None)


def _doubt_of(mark: LogMark, pinned: int) -> int | None:
    """Return the trust version that an agent which has `pinned` should have, by its mark; None: no doubt."""
    if mark.doubt is not None and (mark.doubt == 0 or mark.doubt > pinned):
        return mark.doubt
    return mark.trust_version if mark.trust_version > pinned else None


def _was_marked(store: Store) -> bool:
    return bool(store.query("SELECT 1 FROM meta WHERE key = ?", (MARKED,)))


async def void_if_restored(
    store: Store, vault: Vault, recorder: Recorder, mark_file: MarkFile | None = None, *, witnessed: bool = False
) -> int | None:
    """Void the plans that a restored database believes to be unused; return how many, or None when it is not restored.

    `mark_file`, `witnessed`: as in `judge`.
    """
    judged = judge(store, vault, mark_file, witnessed=witnessed)
    if judged.older is None and judged.doubt in (None, stored_doubt(store.query)):
        return None
    had, expected = judged.older or (store.size, store.size)
    fields: dict[str, Json] = {"what": "restored", "leaves": had, "expected": expected, "lost": judged.lost}
    return await store.run(VoidUnconsumed(judged, recorder.record(None, fields)))


@dataclass(frozen=True, slots=True)
class Note:
    """The agent started or stopped."""

    kind: LeafKind
    sealed: Sealed

    def run(self, tx: Tx) -> int:
        """Return the sequence number of the event."""
        tx.raise_high_water = True
        return tx.append(Entry(self.kind, sealed=self.sealed))


@dataclass(frozen=True, slots=True)
class KeepLeaves:
    """Keep the leaf hashes of items' documents: (hash, plan, number)."""

    found: tuple[tuple[bytes, bytes, int], ...]

    def run(self, tx: Tx) -> None:
        tx.many("UPDATE item SET leaf = ? WHERE plan_id = ? AND n = ? AND leaf IS NULL", self.found)


@dataclass(frozen=True, slots=True)
class NoteLeavesKept:
    """The items of versions before V14 were gone through."""

    def run(self, tx: Tx) -> None:
        tx.run("INSERT OR REPLACE INTO meta (key, value) VALUES (?, x'01')", (LEAVES_KEPT,))


async def keep_leaves(store: Store, vault: Vault) -> int:
    """Keep the leaf hashes of the items that a version before V14 stored; return how many.

    By its hash an item proves the others of its plan once its subscriber is erased. For an erased subscriber it cannot
    be computed any more: such a plan ends whole. It is done once: to look again reads every item, and all programs that
    may write to this database keep the hash with the item.
    """
    if store.query("SELECT 1 FROM meta WHERE key = ?", (LEAVES_KEPT,)):
        return 0
    rows = store.query("SELECT plan_id, n, subject, doc FROM item WHERE leaf IS NULL")
    kept = 0
    for start in range(0, len(rows), LEAVES_AT_ONCE):
        opened = [(r, vault.open_record(bytes(r["subject"]), bytes(r["doc"]))) for r in rows[start:][:LEAVES_AT_ONCE]]
        found = [(merkle.leaf_hash(one[1]), bytes(r["plan_id"]), r["n"]) for r, one in opened if one is not None]
        await store.run(KeepLeaves(tuple(found)))
        kept += len(found)
    await store.run(NoteLeavesKept())
    return kept


@dataclass(frozen=True, slots=True)
class NoteMarkFile:
    """Record that the agent has a mark file with a mark in it."""

    def run(self, tx: Tx) -> None:
        tx.run("INSERT OR REPLACE INTO meta (key, value) VALUES (?, x'01')", (MARKED,))


@dataclass(frozen=True, slots=True)
class Build:
    """A program. `sha256`: the digest of its code, 64 hex digits."""

    version: str
    sha256: str


@dataclass(frozen=True, slots=True)
class NoteStart:
    """The agent started, as this build."""

    build: Build
    record: Sealed

    def run(self, tx: Tx) -> None:
        # An earlier run may have died between a commit and its mark. This raises the mark before anything is sent.
        tx.raise_high_water = True
        tx.append(Entry(LeafKind.START, sealed=self.record))
        tx.run("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", (BUILD, _stored(self.build)))


def _stored(build: Build) -> bytes:
    return f"{build.version} {build.sha256}".encode()


def _started_before(store: Store) -> Build | None:
    rows = store.query("SELECT value FROM meta WHERE key = ?", (BUILD,))
    return Build(*bytes(rows[0]["value"]).decode().split(" ")) if rows else None


async def note_start(store: Store, recorder: Recorder, build: Build, mark_file: MarkFile | None = None) -> Build | None:
    """Record that the agent started, by which build, and by which one it did the last time if that was another.

    It also records that the agent has a mark file: only once there is a mark in it.

    Returns:
        The build of the last start, if it was another one.
    """
    fields: dict[str, Json] = {"what": "start", "program": build.version, "build": build.sha256}
    before = _started_before(store)
    changed = before if before != build else None
    if changed is not None:
        fields |= {"program_before": changed.version, "build_before": changed.sha256}
    await store.run(NoteStart(build, recorder.record(None, fields)))
    if mark_file is not None and not _was_marked(store):
        await store.run(NoteMarkFile())
    return changed


async def note_stop(store: Store, recorder: Recorder) -> None:
    """Record that the agent stopped as it should."""
    await store.run(Note(LeafKind.STOP, recorder.record(None, {"what": "stop"})))
