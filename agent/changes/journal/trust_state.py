"""The trust in force: which version of the chain this agent pins, and its installation.

Nothing is trusted on first use: the head's words are typed at the console, and each later version must follow from the
one that is pinned, by file or as a link that an approval carries.
"""

from __future__ import annotations

import functools
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import trio

from agent.changes.journal.audit import Json, Recorder
from agent.changes.journal.request import RequestError
from agent.model import ItemState
from agent.reasons import RefusalReason
from agent.store.db import Store, Tx
from agent.store.errors import RefusedCommandError
from agent.store.log_store import Entry, Sealed
from agent.store.mark_file import BOARD_DOUBT, DOUBT, TRUST_ACCEPTED
from agent.store.stored import damaged, members
from trust import chain, statements, verify
from trust import envelope as envelopes
from trust.document import Trust
from trust.envelope import Envelope
from trust.errors import MalformedEnvelopeError, Reason, RefusedError, TrustError
from trust.leaf import LeafKind
from trust.policy import PolicyClass, RiskClass
from trust.statements import FreezeScope, Plan
from trust.verify import CannotLift, Circumstances

WARN_S = 14 * 86_400
"""How long before its end a trust document's expiry is warned of."""
_FORKS = (Reason.FORKED, Reason.WRONG_PREVIOUS, Reason.VERSION_OLD)
"""Why a document does not follow ours that enough of our own owners signed: then there are two chains."""
Query = Callable[[str, Sequence[object]], list[sqlite3.Row]]
"""Runs a query and returns its rows: on the read-only connection, or inside a command's transaction."""


@dataclass(frozen=True, slots=True)
class Pinned:
    """The trust document in force and the digest (32 bytes) that names it."""

    trust: Trust
    sha256: bytes


@dataclass(frozen=True, slots=True)
class InstallTrust:
    """Pin a version. `after` is the version pinned so far (0: none): two installs cannot race."""

    version: int
    after: int
    sha256: bytes
    envelope: bytes
    witnesses: tuple[str, ...]
    people: tuple[str, ...]
    sealed: Sealed

    def run(self, tx: Tx) -> int:
        """Return the sequence number of the event."""
        row = tx.one("SELECT coalesce(max(version), 0) AS v FROM trust")
        if row is None or row["v"] != self.after:
            raise RefusedCommandError(RefusalReason.TRUST_MOVED, "another trust version was installed meanwhile")
        kind = LeafKind.TRUST_CHANGED if self.after else LeafKind.TRUST_INSTALLED
        tx.trust_version = self.version
        seq = tx.append(Entry(kind, sealed=self.sealed))
        tx.run(
            "INSERT INTO trust (version, sha256, envelope, seq) VALUES (?,?,?,?)",
            (self.version, self.sha256, self.envelope, seq),
        )
        for row in tx.all("SELECT name FROM witness_seen"):
            if row["name"] not in self.witnesses:  # what it says means nothing any more
                tx.run("DELETE FROM witness_seen WHERE name = ?", (row["name"],))
        if self.after:
            self._lapse(tx, seq)
        doubt = stored_doubt(tx.all)
        if not self.after or (doubt and doubt <= self.version):  # its words were typed, or it is the one that was had
            _end_doubt(tx)
        tx.raise_high_water = True
        return seq

    def _lapse(self, tx: Tx, seq: int) -> None:
        """End the freezes of people that are not in the document any more: they stop nothing."""
        for row in tx.all("SELECT freeze_id, person FROM freeze WHERE lifted_seq IS NULL"):
            if row["person"] not in self.people:
                lapsed = (seq, self.envelope, row["freeze_id"])
                tx.run("UPDATE freeze SET lifted_seq = ?, lifted_by = ? WHERE freeze_id = ?", lapsed)


@dataclass(frozen=True, slots=True)
class EndDoubt:
    """Accept the pinned trust document as the newest, though a mark names a newer one or is missing.

    `by_words`: a person typed its words; else witnesses confirmed the log.
    """

    sealed: Sealed
    by_words: bool = True

    def run(self, tx: Tx) -> int:
        """Return the sequence number of the event."""
        _end_doubt(tx)
        if self.by_words:
            keep_number(tx, TRUST_ACCEPTED, int(tx.now_s) // 60)
        tx.raise_high_water = True
        return tx.append(Entry(LeafKind.TRUST_CHANGED, sealed=self.sealed))


@dataclass(frozen=True, slots=True)
class NoteRefusal:
    """A statement that was refused leaves a leaf as well."""

    plan_id: bytes | None
    plan_digest: bytes
    sealed: Sealed

    def run(self, tx: Tx) -> int:
        """Return the sequence number of the event."""
        return tx.append(Entry(LeafKind.REFUSED, self.plan_id, self.plan_digest, sealed=self.sealed))


class TrustState:
    """Holds the pinned trust document. `agent` is our id (hex), `plan_key` our public plan key."""

    def __init__(self, store: Store, recorder: Recorder, agent: str, plan_key: bytes) -> None:
        self._store = store
        self._recorder = recorder
        self.agent = agent
        self._plan_key = plan_key
        self.pinned = _load(store)
        """The pinned version, whether or not it has expired; None before the first one."""
        self._lock = trio.Lock()

    def envelope(self, pinned: Pinned) -> bytes:
        """Return the signed document of a pinned version, as it was installed."""
        rows = self._store.query("SELECT envelope FROM trust WHERE version = ?", (pinned.trust.version,))
        return bytes(rows[0]["envelope"])

    def doubt(self) -> str:
        """Return why a newer trust version may exist, and how a person ends the doubt; "": there is none."""
        return "" if self.pinned is None else doubt_text(stored_doubt(self._store.query), self.pinned.trust.version)

    def refuse_in_doubt(self) -> None:
        """Refuse the acts of people of the pinned version, while a newer one may have removed them.

        Raises:
            RequestError: the trust is in doubt.
        """
        if problem := self.doubt():
            raise RequestError(f"trust: {problem}", refused=True)

    async def end_doubt(self, typed: str | None) -> None:
        """Go by the version that is pinned. `typed`: the words of its head; None: witnesses confirmed the log.

        Raises:
            RequestError: wrong words, or there is no doubt.
        """
        async with self._lock:
            if self.pinned is None or not self.doubt():
                raise RequestError("trust: it is not in doubt: there is nothing to accept", refused=True)
            if typed is not None:
                try:
                    chain.verify_first(_decoded(self.envelope(self.pinned)), typed)
                except TrustError as err:
                    raise RequestError(f"trust: {err}", refused=True) from err
            how = "witnesses" if typed is None else "words"
            fields: dict[str, Json] = {"what": "trust-accepted", "version": self.pinned.trust.version, "by": how}
            await self._store.run(EndDoubt(self._recorder.record(None, fields), by_words=typed is not None))

    def current(self, now_s: float) -> Pinned:
        """Return the trust in force.

        Raises:
            RequestError: none is installed, it has expired, or a newer one may have been.
        """
        if self.pinned is None:
            raise RequestError("no trust is installed yet: ispagent trust install FILE", refused=True)
        self.refuse_in_doubt()
        try:
            chain.verify_not_expired(self.pinned.trust, int(now_s))
        except TrustError as err:
            raise RequestError(f"trust: {err}", refused=True) from err
        return self.pinned

    def warning(self, now_s: float) -> str | None:
        """Return the sentence on the document's end, when it is near or past; None: neither."""
        if self.pinned is None:
            return None
        left_s = self.pinned.trust.expires - now_s
        if left_s > WARN_S:
            return None
        which = f"trust version {self.pinned.trust.version}"
        if left_s < 0:
            return f"{which} has expired: nothing is approved until its owners sign a new one"
        return f"{which} expires in {int(left_s // 86_400)} days: its owners sign a new one before"

    async def install(self, data: bytes, typed: str, now_s: float) -> Pinned:
        """Pin the document in `data`: the first one against the typed words of its head, later ones by the chain.

        `data` may hold several later versions, one a line, oldest first.

        Raises:
            RequestError: malformed, wrong words, does not follow from the pinned one, expired, or names another key
                for this agent.
        """
        async with self._lock:
            if self.pinned is None:
                return await self._install_first(data, typed, now_s)
            *older, last = split_envelopes(data)
            for document in older:
                await self._follow(document)
            if self._known(_decoded(last)) is not None:
                raise RequestError(f"trust: version {self.pinned.trust.version} is in force already", refused=True)
            return await self._follow(last, now_s)

    async def follow(self, data: bytes, now_s: float) -> Pinned:  # noqa: ARG002  whoever acts on it asks its expiry
        """Pin the next version by the chain alone; one that is known already changes nothing.

        Expiry is not asked here: a version that expired may be the way to the one in force.

        Raises:
            RequestError: nothing is pinned yet, malformed, or it does not follow; a fork leaves an alarm in the log.
        """
        async with self._lock:
            return await self._follow(data)

    async def _install_first(self, data: bytes, typed: str, now_s: float) -> Pinned:
        envelope = _decoded(data)
        try:
            trust = chain.verify_first(envelope, typed)
            chain.verify_not_expired(trust, int(now_s))
        except TrustError as err:
            raise RequestError(f"trust: {err}", refused=True) from err
        return await self._pin(trust, envelope, data)

    async def _follow(self, data: bytes, fresh_s: float | None = None) -> Pinned:
        envelope = _decoded(data)
        pinned = self.pinned
        if pinned is None:
            raise RequestError("no trust is installed yet: ispagent trust install FILE", refused=True)
        if self._known(envelope) is not None:
            return pinned
        try:
            trust = chain.verify_next(pinned.trust, pinned.sha256.hex(), envelope)
            if fresh_s is not None:
                chain.verify_not_expired(trust, int(fresh_s))
        except TrustError as err:
            if isinstance(err, RefusedError) and err.reason in _FORKS:
                await self._alarm(envelope, err.reason)
            raise RequestError(f"trust: {err}", refused=True) from err
        return await self._pin(trust, envelope, data)

    def _known(self, envelope: Envelope) -> int | None:
        query = "SELECT version FROM trust WHERE sha256 = ?"
        row = self._store.reader.execute(query, (envelopes.digest(envelope),)).fetchone()
        return None if row is None else int(row["version"])

    async def _alarm(self, envelope: Envelope, reason: Reason) -> None:
        """Record that enough of our owners signed another chain, unless it is older than the first pin."""
        version = getattr(statements.decode_untrusted(envelope.payload_type, envelope.payload), "version", 0)
        first = self._store.reader.execute("SELECT min(version) FROM trust").fetchone()[0]
        if version >= first:
            digest = envelopes.digest(envelope).hex()
            fields = {"what": "trust-forked", "reason": reason.value, "version": version, "sha256": digest}
            await self._store.run(NoteRefusal(None, bytes(32), self._recorder.record(None, fields)))

    async def _pin(self, trust: Trust, envelope: Envelope, data: bytes) -> Pinned:
        self._check_names_us(trust)
        digest = envelopes.digest(envelope)
        record = self._recorder.record(None, {"what": "trust", "version": trust.version, "sha256": digest.hex()})
        after = 0 if self.pinned is None else self.pinned.trust.version
        witnesses = tuple(w.name for w in trust.witnesses) if trust.quorum.n else ()  # with quorum 0 the rule is off
        people = tuple(person.handle for person in trust.people)
        await self._store.run(InstallTrust(trust.version, after, digest, data, witnesses, people, record))
        self.pinned = Pinned(trust, digest)
        return self.pinned

    def _check_names_us(self, trust: Trust) -> None:
        mine = trust.agent(self.agent)
        if mine is None or mine.plan_key != self._plan_key.hex():
            raise RequestError(
                "trust: expected this agent with its own key in the document, got "
                + ("no such agent" if mine is None else "another key under its id"),
                refused=True,
            )


def keep_number(tx: Tx, key: str, number: int) -> None:
    """Keep a number in `meta`, inside a larger command."""
    tx.run("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", (key, str(number).encode()))


def _end_doubt(tx: Tx) -> None:
    tx.run("DELETE FROM meta WHERE key IN (?, ?)", (DOUBT, BOARD_DOUBT))


def stored_doubt(query: Query) -> int | None:
    """Return the trust version that this agent should have, 0 where nobody knows; None: there is no doubt."""
    rows = query("SELECT value FROM meta WHERE key = ?", (DOUBT,))
    return int(rows[0]["value"]) if rows else None


def witnesses_end_doubt(query: Query) -> bool:
    """Return whether witnesses that confirm the log end the doubt: only where a lost mark file is why there is one."""
    return stored_doubt(query) == 0 and not query("SELECT 1 FROM meta WHERE key = ?", (BOARD_DOUBT,))


def doubt_text(doubt: int | None, pinned: int) -> str:
    """Return why a newer version than the pinned one may exist, and how a person ends the doubt; "": there is none."""
    if doubt is None:
        return ""
    accept = f"an owner reads you the words of version {pinned} and you type them: ispagent trust accept"
    if doubt:
        return (
            f"version {pinned} is pinned, and this agent had version {doubt}: ispagent trust install FILE with that;"
            f" where it is gone for good, {accept}"
        )
    return (
        "the state directory was put back, or the mark file was lost: there may have been a newer version than"
        f" {pinned}: {accept}"
    )


def split_envelopes(data: bytes) -> list[bytes]:
    """Return the envelopes of a file: one, or one a line (at least one; they may still be malformed)."""
    lines = [line for line in data.splitlines() if line.strip()]
    if len(lines) <= 1:
        return lines or [data]
    try:
        envelopes.decode_untrusted(data)
    except MalformedEnvelopeError:
        return lines
    return [data]  # one on several lines


def _decoded(data: bytes) -> Envelope:
    try:
        return envelopes.decode_untrusted(data)
    except TrustError as err:
        raise RequestError(f"trust: {err}", refused=True) from err


def version_of(version: int, query: Query) -> Trust | None:
    """Return a version that was pinned once, or None."""
    rows = query("SELECT envelope FROM trust WHERE version = ?", (version,))
    if not rows:
        return None
    return _trust_in(bytes(rows[0]["envelope"]))


def trust_of(plan: Plan, pinned: Pinned, query: Query) -> Trust | None:
    """Return the trust under which a plan was made, which mostly is the one in force."""
    return pinned.trust if plan.trust_version == pinned.trust.version else version_of(plan.trust_version, query)


@functools.lru_cache(maxsize=4)
def _trust_in(envelope: bytes) -> Trust:
    """Return the trust document in an envelope that was pinned: verified then, and these very bytes since.

    Kept by its bytes: a plan is judged under the same one or two versions a dozen times before it ends.
    """
    return statements.decode_as_untrusted(Trust, envelopes.decode_untrusted(envelope))


@dataclass(frozen=True, slots=True)
class Freezes:
    """The freezes that hold. `rows`: (scope, target, author) of each; `envelopes`: of each, by which it is lifted;
    `people`: handles; `keys`: public keys.
    """

    rows: tuple[tuple[str, str, str], ...]
    envelopes: tuple[bytes, ...]
    people: frozenset[str]
    keys: frozenset[bytes]


def cannot_lift(query: Query, freezes_sha256: Sequence[str], now_s: float) -> CannotLift:
    """Return the people that cannot help to lift freezes, named by their digests; those that do not hold bear on
    nobody.
    """
    held = "SELECT digest, scope, target FROM freeze WHERE lifted_seq IS NULL AND coalesce(expires_s > ?, 1)"
    found = {
        bytes(r["digest"]).hex(): (members(FreezeScope, "freeze")[r["scope"]], r["target"])
        for r in query(held, (now_s,))
    }
    return verify.cannot_lift([found[sha256] for sha256 in freezes_sha256 if sha256 in found], found.values())


def freezes(query: Query, now_s: float) -> Freezes:
    """Return the freezes that hold now."""
    held = "SELECT scope, target, person, envelope FROM freeze WHERE lifted_seq IS NULL AND coalesce(expires_s > ?, 1)"
    found = query(held, (now_s,))
    rows = tuple((r["scope"], r["target"], r["person"]) for r in found)
    return Freezes(
        rows,
        tuple(bytes(r["envelope"]) for r in found),
        people=frozenset(target for scope, target, _ in rows if scope == "person"),
        keys=frozenset(bytes.fromhex(target) for scope, target, _ in rows if scope == "key"),
    )


def circumstances(plan: Plan, plan_id: bytes, pinned: Pinned, query: Query, now_s: float) -> Circumstances:
    """Return the agent's own circumstances for approvals of a plan."""
    quiet = (ItemState.BLOCKED.value, ItemState.EXCLUDED.value)
    counted = "SELECT count(*) FROM item WHERE plan_id = ? AND state NOT IN (?, ?)"
    frozen = freezes(query, now_s)
    return Circumstances(
        then=trust_of(plan, pinned, query),
        trust_sha256=pinned.sha256.hex(),
        older_sha256={r["version"]: bytes(r["sha256"]).hex() for r in query("SELECT version, sha256 FROM trust", ())},
        items=query(counted, (plan_id, *quiet))[0][0],
        frozen_people=frozen.people,
        frozen_keys=frozen.keys,
    )


def policy_for(trust: Trust, risk: RiskClass) -> PolicyClass:
    """Return the policy of a class.

    Raises:
        RequestError: the document has none: refused, not guessed.
    """
    policy = trust.policy_class(risk)
    if policy is not None:
        return policy
    raise RequestError(f"policy: the trust document has no rule for class {risk.value}", refused=True)


def _load(store: Store) -> Pinned | None:
    row = store.reader.execute("SELECT * FROM trust ORDER BY version DESC LIMIT 1").fetchone()
    if row is None:
        return None
    try:
        envelope = bytes(row["envelope"])
        trust, digest = _trust_in(envelope), envelopes.digest(envelopes.decode_untrusted(envelope))
    except TrustError as err:
        raise damaged("trust", f"the stored document is malformed: {err}") from err
    if digest != bytes(row["sha256"]):
        raise damaged("trust", "the stored document is not the one that was pinned")
    return Pinned(trust, digest)
