"""The trust in force: which version of the chain this agent pins, and its installation.

Nothing is trusted on first use: the head's words are typed at the console, and each later version must follow from the
one that is pinned.
"""

from __future__ import annotations

from dataclasses import dataclass

from agent.changes.audit import Recorder
from agent.changes.request import RequestError
from agent.store.db import Store, Tx
from agent.store.errors import LogCorruptError, RefusedCommandError
from agent.store.log_store import Entry, Sealed
from trust import chain, statements
from trust import envelope as envelopes
from trust.document import Trust
from trust.errors import TrustError
from trust.leaf import LeafKind
from trust.policy import PolicyClass, RiskClass


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
    sealed: Sealed

    def run(self, tx: Tx) -> int:
        """Return the sequence number of the event."""
        row = tx.one("SELECT coalesce(max(version), 0) AS v FROM trust")
        if row is None or row["v"] != self.after:
            raise RefusedCommandError("trust-moved", "another trust version was installed meanwhile")
        kind = LeafKind.TRUST_CHANGED if self.after else LeafKind.TRUST_INSTALLED
        tx.trust_version = self.version
        seq = tx.append(Entry(kind, sealed=self.sealed))
        tx.run("INSERT INTO trust VALUES (?,?,?,?)", (self.version, self.sha256, self.envelope, seq))
        return seq


class TrustState:
    """Holds what is pinned. `agent` is our id (hex), `plan_key` our public plan key."""

    def __init__(self, store: Store, recorder: Recorder, agent: str, plan_key: bytes) -> None:
        self._store = store
        self._recorder = recorder
        self._agent = agent
        self._plan_key = plan_key
        self._pinned = _load(store)

    @property
    def pinned(self) -> Pinned | None:
        """Return what is pinned, whether or not it has expired."""
        return self._pinned

    def current(self, now_s: float) -> Pinned:
        """Return the trust in force.

        Raises:
            RequestError: none is installed, or it has expired.
        """
        if self._pinned is None:
            raise RequestError("no trust is installed yet: ispagent trust install FILE", refused=True)
        try:
            chain.verify_not_expired(self._pinned.trust, int(now_s))
        except TrustError as err:
            raise RequestError(f"trust: {err}", refused=True) from err
        return self._pinned

    async def install(self, data: bytes, typed: str, now_s: float) -> Pinned:
        """Pin the document in `data`: the first one against the typed words of its head, a later one by the chain.

        Raises:
            RequestError: malformed, wrong words, does not follow from what is pinned, expired, or names another key
                for this agent.
        """
        try:
            envelope = envelopes.decode_untrusted(data)
            digest = envelopes.digest(envelope)
            if self._pinned is None:
                trust = chain.verify_first(envelope, typed)
            else:
                trust = chain.verify_next(self._pinned.trust, self._pinned.sha256.hex(), envelope)
            chain.verify_not_expired(trust, int(now_s))
        except TrustError as err:
            raise RequestError(f"trust: {err}", refused=True) from err
        self._check_names_us(trust)
        record = self._recorder.record(None, {"what": "trust", "version": trust.version, "sha256": digest.hex()})
        after = 0 if self._pinned is None else self._pinned.trust.version
        await self._store.run(InstallTrust(trust.version, after, digest, data, record))
        self._pinned = Pinned(trust, digest)
        return self._pinned

    def _check_names_us(self, trust: Trust) -> None:
        mine = trust.agent(self._agent)
        if mine is None or mine.plan_key != self._plan_key.hex():
            raise RequestError(
                "trust: expected this agent with its own key in the document, got "
                + ("no such agent" if mine is None else "another key under its id"),
                refused=True,
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
        envelope = envelopes.decode_untrusted(bytes(row["envelope"]))
        trust = statements.decode_untrusted(envelope.payload_type, envelope.payload)
    except TrustError as err:
        raise LogCorruptError(f"the stored trust document is malformed: {err}") from err
    digest = envelopes.digest(envelope)
    if not isinstance(trust, Trust) or digest != bytes(row["sha256"]):
        raise LogCorruptError("the stored trust document is not the one that was pinned")
    return Pinned(trust, digest)
