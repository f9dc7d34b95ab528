"""Evidence: checkpoints of the log, proofs of its leaves, exports that anybody can verify offline."""

from __future__ import annotations

import functools
import json
import sqlite3
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from agent.changes.auditlog.stored import check_stored
from agent.changes.journal.audit import Json, Recorder
from agent.changes.journal.commands import PlanRow
from agent.store import log_store
from agent.store.db import Store, Tx
from agent.store.errors import LogCorruptError, MissingKeyError
from agent.store.log_store import Entry, Sealed
from agent.store.vault import Vault
from trust import chance, merkle, proof
from trust import envelope as envelopes
from trust import leaf as leaves
from trust.checkpoint import (
    Checkpoint,
    encode_vkey,
    read_checkpoint_untrusted,
    sign_checkpoint,
    split_note_untrusted,
)
from trust.errors import TrustError
from trust.keys import SigningKey
from trust.leaf import Leaf, LeafKind
from trust.moments import moments_json

NO_END = 1 << 62
"""Above every sequence number."""
PAD_SMALLEST = 128
"""Leaves by which the log grows at least between two signed checkpoints, if it grows at all.

A change of ten services has some 60 leaves, one of two some 18: all of one size bucket must look alike.
"""
PAD_LEAVES = 256
"""Padding leaves of one command, so that a commit stays short."""
NODES_KEPT = 1 << 16
"""Nodes of the tree that are kept while an export is written, some 10 MB: each is read once, not for every leaf."""


def padded(grown: int) -> int:
    """Return the size that a growth of the log is padded to before it is signed: tree sizes would tell how much goes
    on.
    """
    return max(PAD_SMALLEST, 1 << (grown - 1).bit_length()) if grown else 0


@dataclass(frozen=True, slots=True)
class SignHead:
    """Pad the log and sign its state, in one transaction: a checkpoint is stored before it is shown to anybody.

    A padding leaf holds 16 random bytes where others have the actor: its hash cannot be guessed in a proof. `grow`: pad
    even if nothing happened since the last checkpoint.
    """

    origin: str
    key: SigningKey
    grow: bool = False

    def run(self, tx: Tx) -> bytes | None:
        """Return the signed note, or None: the log needs more padding than one command adds.

        Raises:
            LogCorruptError: the last checkpoint was of the same size, and of another tree.
        """
        size, last = _count(tx), tx.one("SELECT size, note FROM checkpoint ORDER BY size DESC LIMIT 1")
        grown = size - (last["size"] if last else 0)
        missing = padded(max(grown, 1) if self.grow else grown) - grown
        for _ in range(min(missing, PAD_LEAVES)):
            tx.append(Entry(LeafKind.PADDING, actor=chance.token_bytes(leaves.ACTOR_BYTES)))
        if missing > PAD_LEAVES:
            return None
        size += missing
        checkpoint = Checkpoint(self.origin, size, merkle.root_at(size, tx.nodes()))
        if last is not None and last["size"] == size and _said(bytes(last["note"])) != (size, checkpoint.root):
            raise LogCorruptError(f"the log's first {size} leaves are not those that were signed")
        note = sign_checkpoint(checkpoint, self.key, self.origin)
        tx.run("INSERT OR REPLACE INTO checkpoint (size, note, at_s) VALUES (?,?,?)", (size, note, int(tx.now_s)))
        tx.raise_high_water = True
        return note


def _count(tx: Tx) -> int:
    return int(tx.all("SELECT coalesce(max(seq), 0) AS n FROM event")[0]["n"])


def _said(note: bytes) -> tuple[int, bytes]:
    """Return size and root of a checkpoint of our own; the key and the origin may have been renewed since."""
    try:
        checkpoint = read_checkpoint_untrusted(split_note_untrusted(note)[0])
    except TrustError as err:
        raise LogCorruptError(f"a stored checkpoint is malformed: {err}") from err
    return checkpoint.size, checkpoint.root


_FROZE_MEANWHILE = (
    "SELECT envelope, seq FROM freeze WHERE seq <= ? AND coalesce(lifted_seq >= ?, 1) ORDER BY freeze.seq"
)
"""Freezes that held while a plan was in the log, between its last leaf and its first; bound in that order."""
_LIFTED_MEANWHILE = (
    "SELECT lifted_by AS envelope, lifted_seq AS seq FROM freeze WHERE lifted_seq BETWEEN ? AND ? ORDER BY 2"
)
"""Unfreeze statements between a plan's first leaf and its last; bound in that order."""


def _evidence_of(reader: sqlite3.Connection, plan: PlanRow) -> tuple[list[bytes], set[int]]:
    """Return the envelopes that a change's evidence has, and the sequence numbers of its leaves."""
    found = [bytes(r["envelope"]) for r in reader.execute("SELECT envelope FROM trust ORDER BY version")]
    found.append(plan.envelope)
    seqs = {r["seq"] for r in reader.execute("SELECT seq FROM event WHERE plan = ?", (plan.plan_id,))}
    first, last = min(seqs), max(seqs)
    for sql, args in (
        ("SELECT envelope, NULL AS seq FROM approval WHERE plan_id = ? ORDER BY approval.seq", (plan.plan_id,)),
        ("SELECT envelope, NULL AS seq FROM review WHERE plan_id = ? AND envelope IS NOT NULL", (plan.plan_id,)),
        (
            "SELECT envelope, seq FROM standing_use JOIN standing USING (standing_id) WHERE plan_id = ?",
            (plan.plan_id,),
        ),
        ("SELECT envelope, seq FROM cancelled WHERE plan_digest = ?", (plan.digest,)),
        ("SELECT envelope, NULL AS seq FROM pause_statement WHERE plan_id = ? ORDER BY digest", (plan.plan_id,)),
        (_FROZE_MEANWHILE, (last, first)),
        (_LIFTED_MEANWHILE, (first, last)),
        (
            "SELECT outcome AS envelope, NULL AS seq FROM plan WHERE plan_id = ? AND outcome IS NOT NULL",
            (plan.plan_id,),
        ),
    ):
        rows = reader.execute(sql, args).fetchall()
        found += [bytes(r["envelope"]) for r in rows if bytes(r["envelope"]) not in found]  # a version may end one
        seqs.update(r["seq"] for r in rows if r["seq"] is not None)
    return found, seqs


@dataclass(frozen=True, slots=True)
class NoteExport:
    """Record an export: a plan's items or, with `plan_id` None, the opened record of one event, or a backup."""

    plan_id: bytes | None
    plan_digest: bytes
    sealed: Sealed

    def run(self, tx: Tx) -> int:
        """Return the sequence number of the event."""
        return tx.append(Entry(LeafKind.EXPORTED, self.plan_id, self.plan_digest, sealed=self.sealed))


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    """One event as people and programs see it. `record` None: it has none, or its subscriber was erased."""

    seq: int
    kind: str
    at_s: int
    short: str
    item: int
    step: int
    what: str
    record: object | None

    def as_json(self) -> dict[str, object]:
        """Return it for a program. Its record is given as it was logged, moments included: the log signed it so."""
        return moments_json(asdict(self), at_s="at")


class Evidence:
    """Reads the log. `origin` names it; `key` signs its checkpoints."""

    def __init__(self, store: Store, vault: Vault, recorder: Recorder, origin: str, key: SigningKey) -> None:
        self._store = store
        self._recorder = recorder
        self._vault = vault
        self.origin = origin
        self._key = key
        self.vkey = encode_vkey(origin, key.public)
        self._signed = b""
        """The note that was signed last in this run, and so by this key."""

    def head(self) -> tuple[int, bytes]:
        """Return size and root of the log as it is durable now."""
        row = self._store.reader.execute("SELECT coalesce(max(seq), 0) AS n FROM event").fetchone()
        return row["n"], merkle.root_at(row["n"], log_store.stored_nodes(self._store.reader))

    def published(self) -> tuple[int, bytes]:
        """Return size and root of the newest signed checkpoint; before the first, of the empty log.

        Only this part of the log leaves the agent: sizes there are padded.
        """
        row = self._store.reader.execute("SELECT note FROM checkpoint ORDER BY size DESC LIMIT 1").fetchone()
        return (0, merkle.EMPTY_ROOT) if row is None else _said(bytes(row["note"]))

    async def checkpoint(self, *, grow: bool = False) -> bytes:
        """Return a signed checkpoint of the log now, padded, stored first; `grow`: larger than the one before.

        Nothing is written where the log did not grow: the same note again would cost three syncs of the disk a minute.

        Raises:
            LogCorruptError: the log is not the one that was signed before.
        """
        if not grow and self._signed and _said(self._signed) == self.head():
            return self._signed
        while (note := await self._store.run(SignHead(self.origin, self._key, grow))) is None:
            pass  # more padding than one command adds
        self._signed = note
        return note

    def consistency(self, old: int, new: int) -> tuple[bytes, ...]:
        """Return the proof that the log's first `new` leaves begin with its first `old` ones."""
        return merkle.consistency(old, new, log_store.stored_nodes(self._store.reader))

    def events(self, plan: PlanRow | None = None, after: int = 0, limit: int = 1000) -> list[LoggedEvent]:
        """Return events after sequence number `after`, at most `limit`, of one plan or of all."""
        where, args = ("e.plan = ?", [plan.plan_id]) if plan else ("1", [])
        return self.select(where, args, (after + 1, NO_END), limit=limit)

    def select(
        self,
        where: str,
        args: Sequence[object],
        span: tuple[int, int],
        *,
        newest_first: bool = False,
        limit: int = 1000,
    ) -> list[LoggedEvent]:
        """Return events, padding left out: it tells nothing.

        Args:
            where: a condition on the event `e`, with question marks for `args`.
            args: the values of those.
            span: sequence numbers, the first and the one after the last.
            newest_first: the other way round.
            limit: how many at most.
        """
        order = "DESC" if newest_first else "ASC"
        rows = self._store.reader.execute(
            "SELECT e.*, coalesce(p.short, (SELECT q.short FROM intent i JOIN plan q USING (intent_id)"  # noqa: S608  # fixed clauses
            " WHERE i.seq = e.seq)) AS short FROM event e LEFT JOIN plan p ON p.plan_id = e.plan"
            f" WHERE e.seq >= ? AND e.seq < ? AND e.kind <> ? AND ({where}) ORDER BY e.seq {order} LIMIT ?",
            (*span, LeafKind.PADDING.value, *args, limit),
        )
        return [self._logged(row) for row in rows]

    def _logged(self, r: sqlite3.Row) -> LoggedEvent:
        kind = LeafKind(r["kind"])
        opened = self._open(r["subject"], r["record"])
        record = None if opened is None else json.loads(opened[1])
        what = leaves.code_word(kind, r["code"])
        return LoggedEvent(r["seq"], kind.word, r["at_s"], r["short"] or "", r["item"], r["step"], what, record)

    def _open(self, subject: bytes | None, record: bytes | None) -> tuple[bytes, bytes] | None:
        return None if subject is None or record is None else self._vault.open_record(bytes(subject), bytes(record))

    def verify(self) -> int:
        """Recompute every leaf, node and commitment from the events; return how many leaves there are. For threads.

        Plans, items, approvals and verdicts, which stand beside the log, are compared with it.

        Raises:
            LogCorruptError: something does not add up; the message names it.
        """
        with self._store.snapshot() as reader:  # one moment of the log: the writer goes on meanwhile
            size = self._verify(reader)
            check_stored(reader, self._vault)
            return size

    def _verify(self, reader: sqlite3.Connection) -> int:
        tail, nodes = log_store.Tail(), _StoredNodes(reader)
        for r in reader.execute(
            "SELECT e.*, p.digest FROM event e LEFT JOIN plan p ON p.plan_id = e.plan ORDER BY seq"
        ):
            if r["seq"] != tail.size + 1:
                raise LogCorruptError(f"expected event {tail.size + 1}, got {r['seq']}")
            self._check_event(r)
            for level, index, digest in tail.append(merkle.leaf_hash(bytes(r["leaf"]))):
                nodes.check(level, index, digest)
        nodes.check_no_more()
        return tail.size

    def _check_event(self, r: sqlite3.Row) -> None:
        """Compare an event's columns and its record with its leaf."""
        seq, leaf = r["seq"], self._leaf(r["seq"], bytes(r["leaf"]))
        columns = (r["kind"], r["item"], r["step"], r["code"], r["at_s"] // 60)
        if (leaf.kind, leaf.item, leaf.step, leaf.code, leaf.minute) != columns:
            raise LogCorruptError(f"event {seq}: its columns are not what its leaf says")
        if r["plan"] is not None and (r["digest"] is None or bytes(r["digest"]) != leaf.plan):
            raise LogCorruptError(f"event {seq}: its plan is not the one of its leaf")
        if (leaf.commitment == log_store.ZERO32) != (r["subject"] is None):
            raise LogCorruptError(f"event {seq}: its leaf and its row do not agree on whether there is a record")
        try:
            opened = self._open(r["subject"], r["record"])
        except MissingKeyError as err:
            raise LogCorruptError(f"event {seq}: {err}") from err
        if opened is not None and leaves.commitment(*opened) != leaf.commitment:
            raise LogCorruptError(f"event {seq}: its record is not the one that its leaf commits to")

    def _leaf(self, seq: int, data: bytes) -> Leaf:
        try:
            return leaves.decode_untrusted(data)
        except TrustError as err:
            raise LogCorruptError(f"event {seq}: {err}") from err

    def _entry(self, seq: int, size: int, *, opened: bool) -> proof.ProvenLeaf:
        return self._proven(self._store.reader, log_store.stored_nodes(self._store.reader), seq, size, opened=opened)

    def _proven(
        self, reader: sqlite3.Connection, nodes: merkle.Nodes, seq: int, size: int, *, opened: bool
    ) -> proof.ProvenLeaf:
        row = reader.execute("SELECT * FROM event WHERE seq = ?", (seq,)).fetchone()
        if row is None or seq > size:
            raise LogCorruptError(f"there is no event {seq}: the log has {size}")
        path = merkle.inclusion(seq - 1, size, nodes)
        opened = opened or row["kind"] in leaves.STATEMENT_KINDS | leaves.SIGNED_OR_NOT
        record = self._open(row["subject"], row["record"]) if opened else None
        salt, clear = (None, None) if record is None else record
        return proof.ProvenLeaf(bytes(row["leaf"]), seq - 1, path, clear, salt)

    async def prove(self, seq: int, *, opened: bool) -> bytes:
        """Return the proof file of one event under a checkpoint, a cosigned one if there is; `opened`: with its record.

        Raises:
            LogCorruptError: there is no such event.
        """
        size, note = await self._note_over(seq)
        return proof.encode(proof.ProofFile(self._entry(seq, size, opened=opened), note, self.vkey))

    async def export(self, plan: PlanRow, *, opened: bool) -> bytes:
        """Return one change's evidence: its leaves with proofs, plan, approvals, review, outcome, trust documents.

        With it go its cancel, its signed pauses, its standing authority, and the freezes that held in its time. Records
        of statements are always open: they say which statement a leaf was written for. `opened` adds the other records
        and the items, which name subscribers. A change may have some ten thousand leaves: all of it is read and proven
        in threads.

        Raises:
            LogCorruptError: a subscriber of the opened items was erased, or the tree lacks a node.
        """
        found, seqs = await self._store.aside(lambda reader: _evidence_of(reader, plan))
        size, note = await self._note_over(max(seqs))

        def written(reader: sqlite3.Connection) -> bytes:
            nodes = functools.lru_cache(NODES_KEPT)(log_store.stored_nodes(reader))  # neighbors share most of a proof
            export = proof.Export(
                vkey=self.vkey,
                note=note,
                entries=tuple(self._proven(reader, nodes, s, size, opened=opened) for s in sorted(seqs)),
                envelopes=tuple(envelopes.decode_untrusted(e) for e in found),
                items={plan.digest.hex(): tuple(self._documents(reader, plan))} if opened else {},
            )
            return proof.encode_export(export)

        return await self._store.aside(written)

    async def _note_over(self, seq: int) -> tuple[int, bytes]:
        """Return size and note of a checkpoint over event `seq`: one that most witnesses cosigned, or a fresh one."""
        cosigned: dict[tuple[int, bytes], list[str]] = {}
        for r in self._store.reader.execute("SELECT * FROM witness_seen WHERE size >= ? AND conflict = 0", (seq,)):
            if bytes(r["note"]).startswith(f"{self.origin}\n".encode()):
                cosigned.setdefault((r["size"], bytes(r["note"])), []).append(r["line"])
        if cosigned:
            size, note = max(cosigned, key=lambda head: (len(cosigned[head]), head[0]))
            return size, note + "".join(f"{line}\n" for line in cosigned[size, note]).encode()
        note = await self.checkpoint()
        return _said(note)[0], note

    async def note_export(self, plan: PlanRow, who: str) -> None:
        """Record that somebody was given a change's items."""
        record = self._recorder.record(None, {"what": "exported", "to": who})
        await self._store.run(NoteExport(plan.plan_id, plan.digest, record))

    async def note_opened(self, seq: int, who: str) -> None:
        """Record that somebody was given the opened record of one event."""
        record = self._recorder.record(None, {"what": "exported", "event": seq, "to": who})
        await self._store.run(NoteExport(None, log_store.ZERO32, record))

    async def note_backup(self, pair: str, leaves: int, recipients: Sequence[str], who: str) -> None:
        """Record that a backup was made: all that there is went into a file that its recipients can open.

        Args:
            pair: hex, in both of its files.
            leaves: how long the log in it is.
            recipients: the public keys.
            who: the caller.
        """
        said: dict[str, Json] = {
            "what": "backup",
            "pair": pair,
            "leaves": leaves,
            "recipients": list(recipients),
            "by": who,
        }
        await self._store.run(NoteExport(None, log_store.ZERO32, self._recorder.record(None, said)))

    def documents(self, plan: PlanRow) -> list[bytes]:
        """Return the documents of a plan's head and items."""
        return self._documents(self._store.reader, plan)

    def _documents(self, reader: sqlite3.Connection, plan: PlanRow) -> list[bytes]:
        documents = [plan.head]
        rows = reader.execute("SELECT subject, doc FROM item WHERE plan_id = ? ORDER BY n", (plan.plan_id,))
        for r in rows:
            opened = self._vault.open_record(bytes(r["subject"]), bytes(r["doc"]))
            if opened is None:
                raise LogCorruptError(f"{plan.short}: an item cannot be opened: its subscriber was erased")
            documents.append(opened[1])
        return documents


class _StoredNodes:
    """The stored tree, read level by level in step with the leaves, so that a long log needs no memory."""

    def __init__(self, reader: sqlite3.Connection) -> None:
        self._reader = reader
        self._levels: dict[int, sqlite3.Cursor] = {}
        self._left: int = reader.execute("SELECT count(*) FROM node").fetchone()[0]

    def check(self, level: int, index: int, digest: bytes) -> None:
        """Compare the next node of a level."""
        if level not in self._levels:
            query = "SELECT idx, hash FROM node WHERE level = ? ORDER BY idx"
            self._levels[level] = self._reader.execute(query, (level,))
        row = self._levels[level].fetchone()
        if row is None or row["idx"] != index or bytes(row["hash"]) != digest:
            raise LogCorruptError(f"the tree's node {index} of level {level} is not the one over its leaves")
        self._left -= 1

    def check_no_more(self) -> None:
        """Expect that every stored node was compared."""
        if self._left:
            raise LogCorruptError(f"the tree has {self._left} nodes over no leaves")
