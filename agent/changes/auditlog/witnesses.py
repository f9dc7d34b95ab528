"""Witnesses of this agent's log: they are asked for cosignatures on a fixed cadence, and their quorum starts the agent.

A witness remembers the largest tree of this log that it has seen and cosigns only trees that extend it (C2SP
tlog-witness). So a database that was restored from a backup, or a second agent on the same state, meets a witness that
has seen more or other leaves than these: a contradiction. Then unconsumed plans are void, and nothing starts until that
witness cosigns a later tree. At start a fresh answer of the quorum must cover the leaf of that very start, since an
older cosignature can be replayed by whoever carries it; without it every unconsumed plan is void as well.

A witness's answer comes by others' hands. A cosignature speaks for itself; that there is a conflict is only said,
and whoever carries it can say it too: it stops, it starts nothing.

With quorum 0 nobody is asked, the rule is off, and everything says "not witnessed".
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from dataclasses import dataclass
from typing import Final

import trio

from agent.changes.auditlog.evidence import Evidence
from agent.changes.auditlog.recovery import give_up_unfinished, void_unconsumed
from agent.changes.journal.audit import Json, Recorder
from agent.changes.journal.trust_state import TrustState, stored_doubt, witnesses_end_doubt
from agent.runtime.clock import Clock
from agent.runtime.notifier import Notifier
from agent.store.db import Store, Tx
from agent.store.log_store import Entry, Sealed
from agent.store.mail import Post, post
from trust import limits
from trust.checkpoint import VerifierKey, parse_witness_vkey_untrusted, verify_cosignature_untrusted
from trust.document import Trust, Witness, WitnessOperator
from trust.errors import MalformedNoteError
from trust.leaf import LeafKind
from trust.witness import AddCheckpoint, encode_request, note_text

_log = logging.getLogger(__name__)

CADENCE_S: Final = 60.0
"""Time between checkpoints: fixed, whatever happened, so that their times tell nothing of the volume."""
TIME_SLACK_S: Final = 3600
"""How far a witness's time may be from ours before it is an alarm; it never stops anything. Chosen arbitrarily."""
NOTES_TRIED: Final = 64
"""Newest checkpoints for which a cosignature may still come: an hour of them."""
LINES_TRIED: Final = 2
"""Signature lines of an answer that are tried, each on each open checkpoint: a witness answers with one."""
UNFIT_MAX: Final = 30
"""Answers that fit no checkpoint, between two of ours, after which only the newest checkpoint is tried."""
AGAIN_MAX: Final = 8
"""How often a witness is asked again between two checkpoints: whoever carries answers could have us ask without end."""
REPEATED: Final = 3
"""So many conflicts in a row that name the size asked from, and the witness has another tree of that size than ours.

One or two may be answers to older requests: which request an answer belongs to it does not say, and after an outage the
same was asked several times.
"""
NOT_WITNESSED: Final = "not witnessed"
_CONFLICT: Final = re.compile(rb"conflict (0|[1-9][0-9]{0,18})\n?")


@dataclass(frozen=True, slots=True)
class AskWitness:
    """Post a request for a cosignature; one that was not sent yet is replaced."""

    key_id: bytes
    body: bytes
    life_s: int

    def run(self, tx: Tx) -> None:
        tx.run("DELETE FROM outbox WHERE kind = 'checkpoint' AND witness = ?", (self.key_id,))
        post(tx, Post("checkpoint", self.body, witness=self.key_id, expires_s=int(tx.now_s) + self.life_s))


@dataclass(frozen=True, slots=True)
class KeepCosignature:
    """Keep a witness's cosignature of a larger tree than before. `clears`: its contradiction stands no more."""

    name: str
    size: int
    note: bytes
    line: str
    clears: bool

    def run(self, tx: Tx) -> None:
        row = tx.one("SELECT size, conflict FROM witness_seen WHERE name = ?", (self.name,))
        if row is not None and row["size"] > self.size:
            return
        conflict = 0 if row is None or self.clears else row["conflict"]
        tx.run(
            "INSERT OR REPLACE INTO witness_seen (name, size, note, line, at_s, conflict) VALUES (?,?,?,?,?,?)",
            (self.name, self.size, self.note, self.line, int(tx.now_s), conflict),
        )


@dataclass(frozen=True, slots=True)
class Contradict:
    """A witness has seen another log of ours: unconsumed plans are void, and none is consumed while this stands."""

    name: str
    size: int
    sealed: Sealed

    def run(self, tx: Tx) -> bool:
        """Return whether it is new."""
        row = tx.one("SELECT conflict FROM witness_seen WHERE name = ?", (self.name,))
        if row is None:
            tx.run(
                "INSERT INTO witness_seen (name, size, note, line, at_s, conflict) VALUES (?,0,x'','',?,?)",
                (self.name, int(tx.now_s), self.size),
            )
        else:
            tx.run("UPDATE witness_seen SET conflict = ? WHERE name = ?", (self.size, self.name))
        if row is not None and row["conflict"]:
            return False
        tx.append(Entry(LeafKind.WITNESS_ANOMALY, sealed=self.sealed))
        void_unconsumed(tx)
        return True


@dataclass(frozen=True, slots=True)
class NoteAnomaly:
    """Something is odd about a witness's answer: an alarm in the log, and nothing else."""

    sealed: Sealed

    def run(self, tx: Tx) -> int:
        """Return the sequence number of the event."""
        return tx.append(Entry(LeafKind.WITNESS_ANOMALY, sealed=self.sealed))


@dataclass(frozen=True, slots=True)
class UnwitnessedStart:
    """No quorum confirmed this start: unconsumed plans are void. `lost`: another log than ours was witnessed."""

    lost: bool
    sealed: Sealed

    def run(self, tx: Tx) -> int:
        """Void the plans that were not begun, give up the others if the log was lost; return how many."""
        tx.append(Entry(LeafKind.UNWITNESSED_START, sealed=self.sealed))
        return void_unconsumed(tx) + (give_up_unfinished(tx, self.sealed) if self.lost else 0)


class Witnesses:
    """Asks witnesses, takes their answers. `bell` is rung when their word changed something."""

    def __init__(
        self,
        store: Store,
        recorder: Recorder,
        evidence: Evidence,
        trust: TrustState,
        clock: Clock,
        bell: Notifier,
        *,
        cadence_s: float = CADENCE_S,
    ) -> None:
        self._store = store
        self._recorder = recorder
        self._evidence = evidence
        self._trust = trust
        self._clock = clock
        self._bell = bell
        self._cadence_s = cadence_s
        self._news = Notifier()
        self._known: dict[bytes, int] = {}
        """The size that each witness key says that it has."""
        self._asked: dict[bytes, tuple[int, int]] = {}
        """Of the last request to each witness key, `old` and the new size."""
        self._repeated: dict[bytes, int] = {}
        """Conflicts in a row of each witness key that name the size asked from."""
        self._again: Counter[bytes] = Counter()
        self._unfit: Counter[bytes] = Counter()
        self._floor: dict[str, int] = {}
        """Our size when a witness contradicted us in this run; before, our size at its beginning."""
        self._before = evidence.published()[0]
        self._start: int | None = None
        self._seen: dict[str, int] = {}
        """The size up to which each witness cosigned in this run."""
        self._odd: set[str] = set()

    async def run(self) -> None:
        """Sign a checkpoint and ask the witnesses, every so often, until cancelled."""
        while True:
            await self._clock.sleep(self._cadence_s)
            await self.publish()

    async def publish(self) -> None:
        """Sign a checkpoint now, and ask each witness to cosign it."""
        await self._evidence.checkpoint()
        await self._ask_all()

    # --- what is in force ---

    def _quorum_trust(self) -> Trust | None:
        pinned = self._trust.pinned
        return None if pinned is None or pinned.trust.quorum.n == 0 else pinned.trust

    @property
    def wanted(self) -> bool:
        """Return whether a quorum of witnesses must confirm each start."""
        return self._quorum_trust() is not None

    def _witness_keys(self) -> list[tuple[Witness, VerifierKey]]:
        trust = self._quorum_trust()
        found = []
        for witness in trust.witnesses if trust else ():
            for text in witness.vkeys:
                try:
                    found.append((witness, parse_witness_vkey_untrusted(text)))
                except MalformedNoteError:
                    _log.warning("witness-key-unknown")  # of a kind that a later version may know
        return found

    @property
    def confirmed(self) -> bool:
        """Return whether the quorum has cosigned the log of this very start, and nobody contradicts it."""
        trust = self._quorum_trust()
        if trust is None:
            return self._trust.pinned is None or self._trust.pinned.trust.quorum.n == 0
        if self._start is None or self.contradicted_by():
            return False
        names = [w for w in trust.witnesses if self._seen.get(w.name, 0) >= self._start]
        non_cloud = sum(w.operated_by is not WitnessOperator.CLOUD for w in names)
        return len(names) >= trust.quorum.n and non_cloud >= trust.quorum.non_cloud

    def contradicted_by(self) -> list[str]:
        """Return the witnesses with a standing contradiction."""
        rows = self._store.reader.execute("SELECT name FROM witness_seen WHERE conflict <> 0 ORDER BY name")
        return [r["name"] for r in rows]

    def witnessed_text(self, seq: int = 1) -> str:
        """Return the witnesses of the log up to event `seq`, for people.

        It is said only with a witness that the cloud does not run.
        """
        trust = self._quorum_trust()
        if trust is None:
            return NOT_WITNESSED
        if against := self.contradicted_by():
            return f"CONTRADICTED by {', '.join(against)}: a witness has seen another log of this agent"
        sizes = dict(self._store.reader.execute("SELECT name, size FROM witness_seen").fetchall())
        found = [w for w in trust.witnesses if sizes.get(w.name, 0) >= max(seq, 1)]
        if all(w.operated_by is WitnessOperator.CLOUD for w in found):
            return NOT_WITNESSED
        return f"witnessed by {', '.join(w.name for w in found)}"

    # --- asking ---

    async def _ask_all(self) -> None:
        self._again.clear()
        self._unfit.clear()
        for witness, vkey in self._witness_keys():
            await self._ask(witness.name, vkey)

    def _cosigned_size(self, name: str) -> int:
        row = self._store.reader.execute("SELECT size FROM witness_seen WHERE name = ?", (name,)).fetchone()
        return int(row["size"]) if row else 0

    async def _ask(self, name: str, vkey: VerifierKey) -> None:
        row = self._store.reader.execute("SELECT size, note FROM checkpoint ORDER BY size DESC LIMIT 1").fetchone()
        size, note = row["size"], bytes(row["note"])
        old = self._known.get(vkey.key_id, self._cosigned_size(name))
        request = AddCheckpoint(old, self._evidence.consistency(old, size), note)
        self._asked[vkey.key_id] = old, size
        await self._store.run(AskWitness(vkey.key_id, encode_request(request), int(2 * self._cadence_s) + 1))

    # --- answers ---

    async def take(self, witness_key_id: bytes, body: bytes) -> None:
        """Take a witness's answer: signature lines, or `conflict N`, the size that it last cosigned.

        Conflicts with the very size that the proof began at, again and again, say that the proof is bad: its tree of
        that size is another one than ours.
        """
        found = next(((w, k) for w, k in self._witness_keys() if k.key_id == witness_key_id), None)
        if found is None:
            self._unfit[b""] += 1
            if self._unfit[b""] <= UNFIT_MAX:
                _log.warning("witness-answer-unknown")
            return
        witness, vkey = found
        conflict = _CONFLICT.fullmatch(body)
        if conflict is None or int(conflict[1]) > limits.TREE_SIZE_MAX:
            await self._cosigned(witness.name, vkey, body)
        else:
            await self._conflict(witness.name, vkey, int(conflict[1]))
        self._news.ring()
        self._bell.ring()

    async def _cosigned(self, name: str, vkey: VerifierKey, body: bytes) -> None:
        tried = NOTES_TRIED if self._unfit[vkey.key_id] < UNFIT_MAX else 1
        lines = body[: limits.NOTE_BYTES].decode(errors="replace").splitlines()[:LINES_TRIED]
        for size, note in self._open_notes(name, tried):
            for line in lines:
                try:
                    time_s = verify_cosignature_untrusted(line, note_text(note), vkey)
                except MalformedNoteError:
                    continue
                clears = size > self._floor.get(name, self._before)
                await self._store.run(KeepCosignature(name, size, note, line, clears))
                self._known[vkey.key_id] = size
                self._repeated[vkey.key_id] = 0
                self._seen[name] = max(size, self._seen.get(name, 0))
                await self._check_time(name, time_s)
                return
        self._unfit[vkey.key_id] += 1
        if self._unfit[vkey.key_id] <= UNFIT_MAX:
            _log.warning("witness-answer-unfit")  # of an older checkpoint, or of another log

    def _open_notes(self, name: str, most: int) -> list[tuple[int, bytes]]:
        """Return the checkpoints that this witness may still cosign, newest first: those that it has not passed."""
        rows = self._store.reader.execute(
            "SELECT size, note FROM checkpoint WHERE size >= ? ORDER BY size DESC LIMIT ?",
            (self._cosigned_size(name), most),
        )
        return [(r["size"], bytes(r["note"])) for r in rows]

    async def _check_time(self, name: str, time_s: int) -> None:
        """A witness's clock may be anywhere: that is told once, and stops nothing."""
        odd = abs(time_s - self._clock.wall_s()) > TIME_SLACK_S
        if odd and name not in self._odd:
            record = self._recorder.record(None, {"what": "witness-time", "witness": name, "time_s": time_s})
            await self._store.run(NoteAnomaly(record))
        (self._odd.add if odd else self._odd.discard)(name)

    async def _conflict(self, name: str, vkey: VerifierKey, has: int) -> None:
        ours = self._evidence.published()[0]
        signed = self._store.reader.execute("SELECT 1 FROM checkpoint WHERE size = ?", (has,)).fetchone() or not has
        old, size = self._asked.get(vkey.key_id, (0, 0))
        doubted = 0 < has == old < size
        self._repeated[vkey.key_id] = self._repeated.get(vkey.key_id, 0) + 1 if doubted else 0
        if has > ours or not signed or self._repeated[vkey.key_id] >= REPEATED:
            await self._contradicted(name, has, ours)
            return
        self._known[vkey.key_id] = has
        if has == self._cosigned_size(name) == old and not doubted:
            return  # it had cosigned meanwhile, as we know: the last request begins there
        self._again[vkey.key_id] += 1
        if self._again[vkey.key_id] > AGAIN_MAX:
            return  # the next checkpoint begins there
        if has == ours:  # then it must look at a proof, and not only at two roots of one size
            await self._evidence.checkpoint(grow=True)
        await self._ask(name, vkey)

    async def _contradicted(self, name: str, has: int, ours: int) -> None:
        fields: dict[str, Json] = {"what": "witness-contradicts", "witness": name, "has": has, "ours": ours}
        new = await self._store.run(Contradict(name, has, self._recorder.record(None, fields)))
        self._floor[name] = ours  # once it is durable: the start goes on by it
        self._seen.pop(name, None)
        if new:
            _log.error("witness-contradicts", extra={"has": has, "ours": ours})

    # --- the start ---

    async def start_rule(self, wait_s: float) -> None:
        """Return once the quorum has confirmed this start; after `wait_s`, or a contradiction, void unconsumed plans.

        To be called after the start's leaf was written and before anything is consumed, while answers can come in.
        """
        if self._quorum_trust() is None:
            return
        await self._evidence.checkpoint()
        self._start = self._evidence.published()[0]
        await self._ask_all()
        with trio.move_on_after(wait_s):
            while not self.confirmed and not self._floor:
                await self._news.wait()
        if self.confirmed and witnesses_end_doubt(self._store.query):  # the log is the newest, and so is its trust
            await self._trust.end_doubt(None)
        if not self.confirmed:
            lost = bool(self._floor or self.contradicted_by() or stored_doubt(self._store.query) is not None)
            what = "contradicted" if self._floor or self.contradicted_by() else "silence"
            record = self._recorder.record(None, {"what": "unwitnessed-start", "why": what})
            voided = await self._store.run(UnwitnessedStart(lost, record))
            _log.warning("unwitnessed-start", extra={"reason": what, "voided": voided})
            self._bell.ring()
