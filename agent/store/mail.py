"""Mail between the main job and the uplink: the outbox and the inbox, two tables in which the two meet.

A message that leaves is written in the transaction of the event that it tells of (`post`), and only while this agent is
enrolled with a control plane. A message that comes is written together with the cursor that says how far was read
(`TakeIn`), so that nothing is lost or taken twice; a `ref` seen before is passed over, whatever the cursor says.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Final

from agent.reasons import RefusalReason
from agent.runtime.notifier import Notifier
from agent.store.db import Tx
from agent.store.errors import RefusedCommandError
from agent.store.stored import reads_row_of
from trust import chance
from trust.leaf import LeafKind

CLOUD: Final = "cloud"
"""Key in `meta` that stands while this agent is enrolled; its value is new with each enrolment."""
CURSOR: Final = "cloud-cursor"
SENT: Final = "cloud-sent"
RECEIVED: Final = "cloud-received"
LAST: Final = "cloud-last-kept"
"""Key in `meta`: the last message that the control plane took and keeps, by which one that was put back is known."""
ASKED: Final = "cloud-last-asked"
"""Key in `meta` that stands from before that message goes again until its answer is known."""
SEALKEY: Final = "sealkey-posted"
"""Key in `meta`: which sealing key was posted under this enrolment."""
RENEW: Final = "sealkey-renew"
"""Key in `meta` that stands until a new sealing key is posted: a restored database may have lost the one that desks
know.
"""

REF_BYTES: Final = 16
EPOCH_BYTES: Final = 16
KEPT_S: Final = {"plan": 7 * 86_400, "receipt": 7 * 86_400, "outcome": 7 * 86_400, "sealkey": 90 * 86_400}
"""How long a control plane keeps some kinds, and knows their refs."""
LOOKED_LEAVES: Final = 20_000
"""The newest leaves of the log in which outcomes are looked for to tell them again: some 50 ms. Chosen arbitrarily."""
TOLD_MAX: Final = 500
"""Outcomes that are told again at most, the newest. With their plans they are fewer than a control plane takes at once:
receipts of today wait behind them.
"""
INBOX_MAX: Final = 1000
"""Messages that wait in the inbox: more are not taken, so that an endless stream fills no disk. Chosen arbitrarily."""
LIVES_S: Final = {"checkpoint": 3600, "receipt": 7 * 86_400, "sealkey": 7 * 86_400}
"""How long some kinds wait to be sent: later nobody would read them."""
ASKS_MAX: Final = 400
"""Intents, and views, that wait: more are passed over, so that a sender of too many never holds up a stop."""
_ASKS: Final = ("intent", "view")
RECEIPTS_MAX: Final = 10_000
"""Length of the outbox at which receipts are not posted any more: a control plane that asks the same thing again and
again, and takes no answer, fills no disk. Chosen arbitrarily."""
REFS_KEPT: Final = 100_000
"""Handled messages to remember the refs of; a ref that is forgotten costs a second look, nothing more."""
REFS_KEPT_S: Final = 100 * 86_400
"""How long a handled message's ref is remembered: the control plane keeps none for more than 90 days."""


# --- out --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Post:
    """A message to send. `kind` is the word of a `Kind`: `plan`, `receipt`, `outcome`, `sealkey`, `checkpoint`,
    `view-page`.

    `answers`, `last`: of a view's page, the view's ref, and whether no more follow. `witness`: the key id (4 bytes)
    of the witness that is asked. `expires_s`: unix seconds after which it is not sent any more.
    """

    kind: str
    body: bytes = field(repr=False)
    _: KW_ONLY
    answers: bytes = b""
    last: bool = False
    witness: bytes = b""
    expires_s: int | None = None


def post(tx: Tx, p: Post) -> None:
    """Put it into the outbox, under a random ref, if this agent is enrolled; called inside commands."""
    if not enrolled(tx):
        return
    now_s = int(tx.now_s)
    tx.run("DELETE FROM outbox WHERE expires_s <= ?", (now_s,))
    if p.kind == "receipt" and _is_full(tx):
        return
    expires_s = p.expires_s
    if expires_s is None and p.kind in LIVES_S:
        expires_s = now_s + LIVES_S[p.kind]
    tx.run(
        "INSERT INTO outbox (ref, kind, body, answers, last, witness, expires_s) VALUES (?,?,?,?,?,?,?)",
        (chance.token_bytes(REF_BYTES), p.kind, p.body, p.answers, p.last, p.witness, expires_s),
    )
    tx.posted = True


def _is_full(tx: Tx) -> bool:
    return bool(tx.all("SELECT count(*) AS n FROM outbox")[0]["n"] >= RECEIPTS_MAX)


def enrolled(tx: Tx) -> bool:
    """Return whether this agent has a control plane."""
    return tx.one("SELECT 1 FROM meta WHERE key = ?", (CLOUD,)) is not None


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A row of the outbox."""

    id: int
    ref: bytes
    kind: str
    body: bytes = field(repr=False)
    answers: bytes = b""
    last: bool = False
    witness: bytes = b""


def next_out(reader: sqlite3.Connection, now_s: float, limit: int) -> list[Outgoing]:
    """Return the next messages to send, oldest first; expired ones are passed over."""
    rows = reader.execute(
        "SELECT * FROM outbox WHERE coalesce(expires_s > ?, 1) ORDER BY id LIMIT ?", (int(now_s), limit)
    ).fetchall()
    return [
        Outgoing(
            r["id"],
            bytes(r["ref"]),
            r["kind"],
            bytes(r["body"]),
            bytes(r["answers"]),
            bool(r["last"]),
            bytes(r["witness"]),
        )
        for r in rows
    ]


@dataclass(frozen=True, slots=True)
class MarkSent:
    """Delete a message of the outbox that was taken, or refused for good (not `taken`)."""

    id: int
    taken: bool = True

    def run(self, tx: Tx) -> None:
        out = tx.one("SELECT ref, kind, body FROM outbox WHERE id = ?", (self.id,))
        if self.taken and out is not None and out["kind"] in KEPT_S:
            at, kind = int(tx.now_s).to_bytes(8, "big"), out["kind"].encode()
            value = at + bytes(out["ref"]) + kind + b"\0" + bytes(out["body"])
            tx.run("INSERT OR REPLACE INTO meta (key, value) VALUES (?,?)", (LAST, value))
        tx.run("DELETE FROM outbox WHERE id = ?", (self.id,))
        tx.run("INSERT OR REPLACE INTO meta (key, value) VALUES (?,?)", (SENT, int(tx.now_s)))


def last_kept(reader: sqlite3.Connection, now_s: float) -> Outgoing | None:
    """Return the last message that the control plane took, while it must still know its ref; its `id` is 0."""
    row = reader.execute("SELECT value FROM meta WHERE key = ?", (LAST,)).fetchone()
    if row is None:
        return None
    value = bytes(row["value"])
    kind, _, body = value[8 + REF_BYTES :].partition(b"\0")
    age_s = now_s - int.from_bytes(value[:8], "big")
    known = age_s < KEPT_S.get(kind.decode(), 0) - 3600  # its clock may differ from ours
    return Outgoing(0, value[8 : 8 + REF_BYTES], kind.decode(), body) if known else None


def is_asked(reader: sqlite3.Connection) -> bool:
    """Return whether the last message went again, and nobody knows the answer."""
    return reader.execute("SELECT 1 FROM meta WHERE key = ?", (ASKED,)).fetchone() is not None


@dataclass(frozen=True, slots=True)
class AskLast:
    """The last message goes again now. It is stored first: a control plane that lacked it has it afterwards."""

    def run(self, tx: Tx) -> None:
        """Do it."""
        tx.run("INSERT OR REPLACE INTO meta (key, value) VALUES (?, x'01')", (ASKED,))


@dataclass(frozen=True, slots=True)
class Asked:
    """The control plane answered, or will be asked again."""

    def run(self, tx: Tx) -> None:
        """Do it."""
        tx.run("DELETE FROM meta WHERE key = ?", (ASKED,))


@dataclass(frozen=True, slots=True)
class TellAgain:
    """Post again what a control plane may have lost that was put back, with the sealing key."""

    def run(self, tx: Tx) -> None:
        """Do it; a desk takes a message twice without harm."""
        _tell_again(tx)


# --- in ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Incoming:
    """A message as it came. `number` is its place in this agent's sequence, 0 for one that the cloud does not keep."""

    number: int
    ref: bytes
    kind: str
    body: bytes = field(repr=False)
    links: tuple[bytes, ...] = field(default=(), repr=False)
    answers: bytes = b""
    witness: bytes = b""


@dataclass(frozen=True, slots=True)
class TakeIn:
    """Put messages into the inbox and move the cursor past them, in one transaction."""

    messages: Sequence[Incoming]
    epoch: bytes

    def run(self, tx: Tx) -> int:
        """Return how many are new.

        Raises:
            RefusedCommandError: `inbox-full`: too many wait; nothing was taken.
        """
        rows = tx.all("SELECT kind, count(*) AS n FROM inbox WHERE done_s IS NULL GROUP BY kind")
        waiting = Counter({r["kind"]: r["n"] for r in rows})
        if waiting.total() + len(self.messages) > INBOX_MAX:
            raise RefusedCommandError(
                RefusalReason.INBOX_FULL, f"expected at most {INBOX_MAX} messages to wait, got {waiting.total()}"
            )
        new = 0
        for m in self.messages:
            passed_over = m.kind in _ASKS and waiting[m.kind] >= ASKS_MAX
            if self._take(tx, m, passed_over) and not passed_over:
                waiting[m.kind] += 1
                new += 1
        for m in sorted(self.messages, key=lambda m: m.number):
            PassOver(m.number, self.epoch, m.ref).run(tx)
        tx.run("INSERT OR REPLACE INTO meta (key, value) VALUES (?,?)", (RECEIVED, int(tx.now_s)))
        return new

    def _take(self, tx: Tx, m: Incoming, passed_over: bool) -> int:
        links = json.dumps([link.hex() for link in m.links]).encode()
        body, links, done_s = (b"", b"", int(tx.now_s)) if passed_over else (m.body, links, None)
        return tx.run(
            "INSERT OR IGNORE INTO inbox (ref, kind, body, links, witness, at_s, done_s) VALUES (?,?,?,?,?,?,?)",
            (m.ref, m.kind, body, links, m.witness, int(tx.now_s), done_s),
        )


@dataclass(frozen=True, slots=True)
class PassOver:
    """Move the cursor past a message that was taken or is of no use, so that it does not come again."""

    number: int
    epoch: bytes
    ref: bytes = b""

    def run(self, tx: Tx) -> None:
        """Move the cursor forward, never back."""
        epoch, after, _ = _read_cursor(tx.one("SELECT value FROM meta WHERE key = ?", (CURSOR,)))
        if epoch != self.epoch or after < self.number:
            _keep_cursor(tx, self.epoch, self.number, self.ref)


@dataclass(frozen=True, slots=True)
class NewEpoch:
    """Record that the control plane was restored: its numbers begin again; refs tell seen messages from new ones.

    `newest`: the number up to which it may be as we know it. Where that is below ours its data directory was put back
    as it was, by a snapshot of the machine or a copied file, with the epoch that it had. `tells`: what it may lack is
    told again.
    """

    epoch: bytes
    newest: int
    tells: bool = True

    def run(self, tx: Tx) -> None:
        """Change nothing for the known epoch with numbers that go on."""
        epoch, after, _ = _read_cursor(tx.one("SELECT value FROM meta WHERE key = ?", (CURSOR,)))
        if epoch != self.epoch or after > self.newest:
            _keep_cursor(tx, self.epoch, 0)
            if epoch and self.tells:
                _tell_again(tx)


@dataclass(frozen=True, slots=True)
class RenewSealKey:
    """Have a new sealing key made and posted."""

    def run(self, tx: Tx) -> None:
        """Do it."""
        tx.run("INSERT OR REPLACE INTO meta (key, value) VALUES (?, x'01')", (RENEW,))


def cursor(reader: sqlite3.Connection) -> tuple[bytes, int]:
    """Return (epoch, number of the last message taken); (b"", 0) before the first."""
    epoch, after, _ = _read_cursor(_cursor_row(reader))
    return epoch, after


def last_ref(reader: sqlite3.Connection) -> bytes:
    """Return the ref of the last message taken, by which a control plane that was put back is known; b"": not known."""
    return _read_cursor(_cursor_row(reader))[2]


def _cursor_row(reader: sqlite3.Connection) -> sqlite3.Row | None:
    found: sqlite3.Row | None = reader.execute("SELECT value FROM meta WHERE key = ?", (CURSOR,)).fetchone()
    return found


def _read_cursor(row: sqlite3.Row | None) -> tuple[bytes, int, bytes]:
    """Return epoch, number and ref of the last message taken; an earlier version kept no ref."""
    if row is None:
        return b"", 0, b""
    value = bytes(row["value"])
    return value[8 : 8 + EPOCH_BYTES], int.from_bytes(value[:8], "big"), value[8 + EPOCH_BYTES :]


def _keep_cursor(tx: Tx, epoch: bytes, after: int, ref: bytes = b"") -> None:
    value = after.to_bytes(8, "big") + epoch + ref
    tx.run("INSERT OR REPLACE INTO meta (key, value) VALUES (?,?)", (CURSOR, value))


@dataclass(frozen=True, slots=True)
class Inbox:
    """A message that waits to be handled."""

    id: int
    ref: bytes
    kind: str
    body: bytes = field(repr=False)
    links: tuple[bytes, ...] = field(default=(), repr=False)
    witness: bytes = b""
    at_s: int = 0


def next_in(
    reader: sqlite3.Connection, only: Sequence[str] = (), but: Sequence[str] = (), after: int = 0
) -> Inbox | None:
    """Return the oldest message that waits, or None. `only` these kinds (none: any), `but` not those; `after` an id."""
    only_marks, but_marks = (",".join("?" * len(kinds)) for kinds in (only, but))
    which = f"AND kind IN ({only_marks})" if only else ""
    row = reader.execute(
        f"SELECT * FROM inbox WHERE done_s IS NULL AND id > ? {which} AND kind NOT IN ({but_marks})"  # noqa: S608  # only question marks
        " ORDER BY id LIMIT 1",
        (after, *only, *but),
    ).fetchone()
    return None if row is None else _waiting(row)


@reads_row_of("inbox")
def _waiting(row: sqlite3.Row) -> Inbox:
    links = tuple(bytes.fromhex(link) for link in json.loads(bytes(row["links"])))
    return Inbox(
        row["id"], bytes(row["ref"]), row["kind"], bytes(row["body"]), links, bytes(row["witness"]), row["at_s"]
    )


@dataclass(frozen=True, slots=True)
class Done:
    """End a message: it waits no more, its body is forgotten, and its answer is posted."""

    id: int
    posts: Sequence[Post] = ()

    def run(self, tx: Tx) -> None:
        """Store its end.

        Raises:
            RefusedCommandError: it was handled already; it is not answered twice.
        """
        now_s = int(tx.now_s)
        done = "UPDATE inbox SET done_s = ?, body = x'', links = x'' WHERE id = ? AND done_s IS NULL"
        if tx.run(done, (now_s, self.id)) != 1:
            raise RefusedCommandError(RefusalReason.DONE, "this message was handled already")
        tx.run("DELETE FROM inbox WHERE done_s < ?", (now_s - REFS_KEPT_S,))
        tx.run("DELETE FROM inbox WHERE done_s IS NOT NULL AND id <= ?", (self.id - REFS_KEPT,))
        for p in self.posts:
            post(tx, p)


@dataclass(frozen=True, slots=True)
class PostAll:
    """Post the answer to a message that came by another way than the control plane."""

    posts: Sequence[Post]

    def run(self, tx: Tx) -> None:
        for p in self.posts:
            post(tx, p)


# --- enrolment --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class JoinCloud:
    """Record that the agent is enrolled. `enrolment`: 32 bytes; another one than before begins all queues anew."""

    enrolment: bytes

    def run(self, tx: Tx) -> bool:
        """Return whether it is a new enrolment."""
        row = tx.one("SELECT value FROM meta WHERE key = ?", (CLOUD,))
        if row is not None and bytes(row["value"]) == self.enrolment:
            return False
        _forget(tx)
        tx.run("INSERT OR REPLACE INTO meta (key, value) VALUES (?,?)", (CLOUD, self.enrolment))
        _tell_open(tx)
        return True


@dataclass(frozen=True, slots=True)
class LeaveCloud:
    """Record that this agent has no control plane: messages to send are dropped."""

    def run(self, tx: Tx) -> None:
        tx.run("DELETE FROM meta WHERE key = ?", (CLOUD,))
        _forget(tx)


def _tell_open(tx: Tx) -> None:
    """Post the plans that wait, for a control plane which may not know them: a desk takes one twice without harm."""
    _post_anew(tx, tx.all("SELECT envelope FROM plan WHERE gate IN ('open', 'approved') ORDER BY gate_seq"))


def _tell_again(tx: Tx) -> None:
    # The copy may be older than our sealing key, without which nobody can ask anything
    tx.run("DELETE FROM meta WHERE key IN (?,?,?)", (SEALKEY, LAST, ASKED))
    _tell_open(tx)
    runs = "SELECT envelope FROM plan WHERE gate = 'consumed' AND finished_seq IS NULL ORDER BY gate_seq"
    over = tx.all(
        "SELECT plan.envelope, plan.outcome FROM (SELECT plan AS id, max(seq) AS told FROM event"
        " WHERE seq > (SELECT max(seq) FROM event) - ? AND kind = ? AND at_s > ?"
        " GROUP BY plan ORDER BY told DESC LIMIT ?)"
        " JOIN plan ON plan_id = id WHERE outcome IS NOT NULL ORDER BY told DESC",
        (LOOKED_LEAVES, LeafKind.CHANGE_FINISHED.value, int(tx.now_s) - KEPT_S["outcome"], TOLD_MAX),
    )
    _post_anew(tx, [*tx.all(runs), *over])


def _post_anew(tx: Tx, rows: Sequence[sqlite3.Row]) -> None:
    """Post the plans of rows, each with its outcome where the row has one, but those that wait to be sent."""
    waiting = {bytes(r["body"]) for r in tx.all("SELECT body FROM outbox WHERE kind IN ('plan', 'outcome')")}
    for row in rows:
        for kind, body in zip(("plan", "outcome"), map(bytes, row), strict=False):
            if body not in waiting:
                post(tx, Post(kind, body))


def _forget(tx: Tx) -> None:
    tx.run("DELETE FROM outbox")
    tx.run("DELETE FROM meta WHERE key IN (?,?,?,?,?,?)", (CURSOR, SENT, RECEIVED, SEALKEY, LAST, ASKED))


@dataclass(frozen=True, slots=True)
class MailState:
    """How the mail stands. `sent_s`, `received_s`: unix seconds of the last of each, None: none yet."""

    enrolled: bool
    outbox: int
    inbox: int
    sent_s: int | None
    received_s: int | None


def state(reader: sqlite3.Connection) -> MailState:
    """Return how the mail stands."""
    meta = {
        r["key"]: r["value"]
        for r in reader.execute("SELECT key, value FROM meta WHERE key IN (?,?,?)", (CLOUD, SENT, RECEIVED))
    }
    out = reader.execute("SELECT count(*) FROM outbox").fetchone()[0]
    waiting = reader.execute("SELECT count(*) FROM inbox WHERE done_s IS NULL").fetchone()[0]
    return MailState(CLOUD in meta, out, waiting, meta.get(SENT), meta.get(RECEIVED))


@dataclass(frozen=True, slots=True)
class MailBells:
    """Rung when something came (by the uplink) and when something is to leave (by the store, once it is durable)."""

    inbox: Notifier = field(default_factory=Notifier)
    outbox: Notifier = field(default_factory=Notifier)
