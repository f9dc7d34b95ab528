"""The heads that a person's tool has seen: the newest trust document of each chain, and the largest log of each agent.

An approver that remembers is a witness: a trust document that goes back or forks, or a log that shrinks, is refused.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from trust import chain, limits, merkle, statements
from trust import envelope as envelopes
from trust.checkpoint import Checkpoint
from trust.document import Trust
from trust.envelope import Envelope
from trust.errors import MalformedProofError, MalformedStatementError, Reason, RefusedError
from trust.statements import SeenLog
from trust.strict_json import Reader, read_object_untrusted

FILE_BYTES: Final = 32 << 20
"""The file of remembered checkpoints: an envelope of each chain, a line of each agent. Chosen arbitrarily."""

_FORMAT: Final = "ispcloud-heads-v0"


@dataclass(frozen=True, slots=True)
class SeenTrust:
    """The newest document that was seen of a chain. `envelope` was verified when it was remembered."""

    trust_id: str
    envelope: Envelope

    @property
    def sha256(self) -> str:
        """The document's digest, hex."""
        return chain.head_sha256(self.envelope)


@dataclass(frozen=True, slots=True)
class LogKey:
    """The key of an agent's log (C2SP vkey). `version`: the trust version that put it in another's place, or 0."""

    agent: str
    vkey: str
    version: int


@dataclass(frozen=True, slots=True)
class RememberedCheckpoints:
    """Everything that was seen. `cosigned`: the heads that this desk signed as a witness, which it must never undo.

    Heads of a log count while the trust document names the same key for it (`log_keys`): after a restored backup an
    agent's log goes on under a new key, which owners sign, and is another log.
    """

    trusts: tuple[SeenTrust, ...] = ()
    logs: tuple[SeenLog, ...] = ()
    cosigned: tuple[SeenLog, ...] = ()
    log_keys: tuple[LogKey, ...] = ()

    def trust(self, trust_id: str) -> SeenTrust | None:
        """Return the newest document seen of a chain."""
        return next((t for t in self.trusts if t.trust_id == trust_id), None)

    def log(self, agent: str) -> SeenLog | None:
        """Return the largest log seen of an agent."""
        return next((seen for seen in self.logs if seen.agent == agent), None)

    def last_cosigned(self, agent: str) -> SeenLog | None:
        """Return the log head of an agent that this desk cosigned last."""
        return next((signed for signed in self.cosigned if signed.agent == agent), None)


# --- the file -------------------------------------------------------------------------------------------------------


def encode(remembered: RememberedCheckpoints) -> bytes:
    """Return the file of remembered checkpoints, JSON."""
    document: dict[str, object] = {
        "format": _FORMAT,
        "trusts": [
            {"trust_id": t.trust_id, "envelope": base64.b64encode(envelopes.encode(t.envelope)).decode()}
            for t in remembered.trusts
        ],
        "logs": list(map(_log_json, remembered.logs)),
    }
    if remembered.cosigned:
        document["cosigned"] = list(map(_log_json, remembered.cosigned))
    if remembered.log_keys:
        document["log_keys"] = [{"agent": k.agent, "vkey": k.vkey, "version": k.version} for k in remembered.log_keys]
    return json.dumps(document, indent=1).encode() + b"\n"


def _log_json(seen: SeenLog) -> dict[str, object]:
    return {"agent": seen.agent, "size": seen.size, "root": seen.root}


def decode_untrusted(data: bytes) -> RememberedCheckpoints:
    """Read the output of `encode`.

    Raises:
        MalformedStatementError: not such a file.
        MalformedEnvelopeError: it holds bytes that are no envelope.
    """
    r = read_object_untrusted(data, FILE_BYTES, "heads")
    if r.text("format") != _FORMAT:
        raise r.error("format", f"should be {_FORMAT}")
    remembered = RememberedCheckpoints(
        trusts=tuple(map(_seen_trust, r.objects("trusts"))),
        logs=tuple(map(_seen_log, r.objects("logs"))),
        cosigned=tuple(map(_seen_log, r.objects("cosigned"))) if r.has("cosigned") else (),
        log_keys=tuple(map(_log_key, r.objects("log_keys"))) if r.has("log_keys") else (),
    )
    r.done()
    return remembered


def _seen_trust(r: Reader) -> SeenTrust:
    trust_id, text = r.hex("trust_id", 16), r.text("envelope", FILE_BYTES)
    r.done()
    try:
        return SeenTrust(trust_id, envelopes.decode_untrusted(base64.b64decode(text, validate=True)))
    except (binascii.Error, ValueError) as err:
        raise MalformedStatementError("heads: an envelope is not base64") from err


def _seen_log(r: Reader) -> SeenLog:
    log = SeenLog(r.hex("agent", 16), r.integer("size", 0, limits.TREE_SIZE_MAX), r.hex("root", 32))
    r.done()
    return log


def _log_key(r: Reader) -> LogKey:
    key = LogKey(r.hex("agent", 16), r.text("vkey"), r.integer("version", 0, limits.SECONDS_MAX))
    r.done()
    return key


# --- what may follow ------------------------------------------------------------------------------------------------


def accept_trust(remembered: RememberedCheckpoints, envelope: Envelope) -> tuple[Trust, RememberedCheckpoints]:
    """Return the document and the heads then seen, once it is the remembered one or follows from it.

    Raises:
        MalformedError: not a trust document.
        RefusedError: too few people signed, or it is older, forked, or not the next version.
    """
    digest = chain.head_sha256(envelope)
    trust = chain.verify_first(envelope, digest)
    seen = remembered.trust(trust.trust_id)
    if seen is not None and seen.sha256 != digest:
        before = statements.decode_as_untrusted(Trust, seen.envelope)
        remembered = _under(remembered, before)
        try:
            chain.verify_next(before, seen.sha256, envelope)
        except RefusedError as err:
            if err.reason is not Reason.VERSION_SKIPPED:
                raise
            message = f"{err}: first show the versions between (ispcloud trust show FILE --remember), oldest first"
            raise RefusedError(err.reason, message) from err
    others = tuple(t for t in remembered.trusts if t.trust_id != trust.trust_id)
    return trust, _under(replace(remembered, trusts=(*others, SeenTrust(trust.trust_id, envelope))), trust)


def _under(remembered: RememberedCheckpoints, trust: Trust) -> RememberedCheckpoints:
    known = {k.agent: k for k in remembered.log_keys}
    for agent in trust.agents:
        before = known.setdefault(agent.agent, LogKey(agent.agent, agent.log_key, 0))
        if before.vkey != agent.log_key:
            known[agent.agent] = LogKey(agent.agent, agent.log_key, trust.version)
    return _with_keys(remembered, known)


def _with_keys(remembered: RememberedCheckpoints, keys: Mapping[str, LogKey]) -> RememberedCheckpoints:
    """Return the remembered checkpoints without those of logs that have another key now."""
    gone = {k.agent for k in remembered.log_keys if keys[k.agent].vkey != k.vkey}
    return replace(
        remembered,
        logs=tuple(log for log in remembered.logs if log.agent not in gone),
        cosigned=tuple(log for log in remembered.cosigned if log.agent not in gone),
        log_keys=tuple(keys.values()),
    )


def accept_log(remembered: RememberedCheckpoints, agent: str, checkpoint: Checkpoint) -> RememberedCheckpoints:
    """Return the heads then seen, once the log did not shrink and kept its root at an equal size.

    Raises:
        RefusedError: `version-old` where it shrank, `forked` where it holds other leaves.
    """
    seen = remembered.log(agent)
    if seen is not None and checkpoint.size < seen.size:
        raise RefusedError(
            Reason.VERSION_OLD,
            f"the agent's log shrank: expected at least the {seen.size} entries seen before, got {checkpoint.size}",
        )
    check_root(remembered, agent, checkpoint.size, checkpoint.root.hex())
    return _with_log(remembered, agent, checkpoint)


def accept_proven_log(
    remembered: RememberedCheckpoints, agent: str, checkpoint: Checkpoint, old_size: int, proof: Sequence[bytes]
) -> RememberedCheckpoints:
    """Return the heads then seen, once the log proves that it begins with the seen one.

    Args:
        remembered: the heads that were seen.
        agent: of the log.
        checkpoint: the log now, signed by its key.
        old_size: from which size on the proof leads; it must be the size that was seen.
        proof: a consistency proof (RFC 9162 section 2.1.4).

    Raises:
        RefusedError: `version-old` where it shrank, `forked` where it does not prove that it goes on from there.
    """
    seen = remembered.log(agent)
    if seen is None or seen.size == 0:
        return _with_log(remembered, agent, checkpoint)
    after = accept_log(remembered, agent, checkpoint)
    if old_size != seen.size:
        raise RefusedError(
            Reason.FORKED,
            f"the agent's log: expected a proof from the {seen.size} entries seen before, got one from {old_size}",
        )
    try:
        merkle.verify_consistency(old_size, checkpoint.size, bytes.fromhex(seen.root), checkpoint.root, proof)
    except MalformedProofError as err:
        raise RefusedError(
            Reason.FORKED, f"the agent's log does not go on from what was seen before, it was forked: {err}"
        ) from err
    return after


def _with_log(remembered: RememberedCheckpoints, agent: str, checkpoint: Checkpoint) -> RememberedCheckpoints:
    others = tuple(log for log in remembered.logs if log.agent != agent)
    return replace(remembered, logs=(*others, SeenLog(agent, checkpoint.size, checkpoint.root.hex())))


def merge(stored: RememberedCheckpoints, seen: RememberedCheckpoints) -> RememberedCheckpoints:
    """Return the newest of both: two commands of one person run at a time, and neither forgets the other's heads."""
    trusts = {t.trust_id: t for t in stored.trusts}
    for mine in seen.trusts:
        other = trusts.get(mine.trust_id)
        if other is None or _version(other) < _version(mine):
            trusts[mine.trust_id] = mine
    keys = {k.agent: k for k in stored.log_keys}
    keys |= {k.agent: k for k in seen.log_keys if k.agent not in keys or keys[k.agent].version < k.version}
    stored, seen = _with_keys(stored, keys), _with_keys(seen, keys)
    return RememberedCheckpoints(
        tuple(trusts.values()),
        _largest(stored.logs, seen.logs),
        _largest(stored.cosigned, seen.cosigned),
        stored.log_keys,
    )


def _largest(stored: Sequence[SeenLog], seen: Sequence[SeenLog]) -> tuple[SeenLog, ...]:
    logs = {log.agent: log for log in stored}
    for log in seen:
        if log.agent not in logs or logs[log.agent].size < log.size:
            logs[log.agent] = log
    return tuple(logs.values())


def _version(seen: SeenTrust) -> int:
    return statements.decode_as_untrusted(Trust, seen.envelope).version


def with_cosigned(remembered: RememberedCheckpoints, agent: str, checkpoint: Checkpoint) -> RememberedCheckpoints:
    """Return the heads seen once a checkpoint is to be cosigned, which a proof from `last_cosigned` led to.

    The head seen by approvals moves along only where the proof began there: otherwise a later view must still prove it.
    """
    before, seen = remembered.last_cosigned(agent), remembered.log(agent)
    others = tuple(log for log in remembered.cosigned if log.agent != agent)
    after = replace(remembered, cosigned=(*others, SeenLog(agent, checkpoint.size, checkpoint.root.hex())))
    return _with_log(after, agent, checkpoint) if seen is None or seen == before else after


def check_root(remembered: RememberedCheckpoints, agent: str, size: int, root: str) -> None:
    """Refuse another root of a size that was seen.

    Raises:
        RefusedError: `forked`.
    """
    seen = remembered.log(agent)
    if seen is not None and seen.size == size and seen.root != root:
        raise RefusedError(Reason.FORKED, f"the agent's log forked: its {size} entries are not those seen before")
