"""What a person's tool has seen: the newest trust document of each chain, and the largest log of each agent.

An approver who remembers is a witness: a trust document that goes back or forks, or a log that shrinks, is refused.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass, replace
from typing import Final

from trust import chain, limits, statements
from trust import envelope as envelopes
from trust.checkpoint import Checkpoint
from trust.document import Trust
from trust.envelope import Envelope
from trust.errors import MalformedStatementError, Reason, RefusedError
from trust.statements import SeenLog
from trust.strict_json import Reader, read_object_untrusted

FILE_BYTES: Final = 32 << 20
"""The file of heads: an envelope of each chain, a line of each agent. Chosen arbitrarily."""

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
class Heads:
    """Everything that was seen."""

    trusts: tuple[SeenTrust, ...] = ()
    logs: tuple[SeenLog, ...] = ()

    def trust(self, trust_id: str) -> SeenTrust | None:
        """Return the newest document seen of a chain."""
        return next((t for t in self.trusts if t.trust_id == trust_id), None)

    def log(self, agent: str) -> SeenLog | None:
        """Return the largest log seen of an agent."""
        return next((seen for seen in self.logs if seen.agent == agent), None)


# --- the file -------------------------------------------------------------------------------------------------------


def encode(heads: Heads) -> bytes:
    """Return the file of heads, JSON."""
    document = {
        "format": _FORMAT,
        "trusts": [
            {"trust_id": t.trust_id, "envelope": base64.b64encode(envelopes.encode(t.envelope)).decode()}
            for t in heads.trusts
        ],
        "logs": [{"agent": seen.agent, "size": seen.size, "root": seen.root} for seen in heads.logs],
    }
    return json.dumps(document, indent=1).encode() + b"\n"


def decode_untrusted(data: bytes) -> Heads:
    """Read what `encode` wrote.

    Raises:
        MalformedStatementError: not such a file.
        MalformedEnvelopeError: it holds what is no envelope.
    """
    r = read_object_untrusted(data, FILE_BYTES, "heads")
    if r.text("format") != _FORMAT:
        raise r.error("format", f"should be {_FORMAT}")
    heads = Heads(tuple(map(_seen_trust, r.objects("trusts"))), tuple(map(_seen_log, r.objects("logs"))))
    r.done()
    return heads


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


# --- what may follow ------------------------------------------------------------------------------------------------


def accept_trust(heads: Heads, envelope: Envelope) -> tuple[Trust, Heads]:
    """Return the document and what is then seen, once it is the remembered one or follows from it.

    Raises:
        MalformedError: not a trust document.
        RefusedError: too few people signed, or it is older, forked, or not the next version.
    """
    digest = chain.head_sha256(envelope)
    trust = chain.verify_first(envelope, digest)
    seen = heads.trust(trust.trust_id)
    if seen is not None and seen.sha256 != digest:
        before = statements.decode_as_untrusted(Trust, seen.envelope)
        try:
            chain.verify_next(before, seen.sha256, envelope)
        except RefusedError as err:
            if err.reason is not Reason.VERSION_SKIPPED:
                raise
            message = f"{err}: first show the versions between (ispcloud trust show FILE --remember), oldest first"
            raise RefusedError(err.reason, message) from err
    others = tuple(t for t in heads.trusts if t.trust_id != trust.trust_id)
    return trust, replace(heads, trusts=(*others, SeenTrust(trust.trust_id, envelope)))


def accept_log(heads: Heads, agent: str, checkpoint: Checkpoint) -> Heads:
    """Return what is then seen, once the log did not shrink and kept its root at an equal size.

    Raises:
        RefusedError: `version-old` where it shrank, `forked` where it holds other leaves.
    """
    seen = heads.log(agent)
    if seen is not None and checkpoint.size < seen.size:
        raise RefusedError(
            Reason.VERSION_OLD,
            f"the agent's log shrank: expected at least the {seen.size} entries seen before, got {checkpoint.size}",
        )
    check_root(heads, agent, checkpoint.size, checkpoint.root.hex())
    others = tuple(log for log in heads.logs if log.agent != agent)
    return replace(heads, logs=(*others, SeenLog(agent, checkpoint.size, checkpoint.root.hex())))


def check_root(heads: Heads, agent: str, size: int, root: str) -> None:
    """Refuse another root of a size that was seen.

    Raises:
        RefusedError: `forked`.
    """
    seen = heads.log(agent)
    if seen is not None and seen.size == size and seen.root != root:
        raise RefusedError(Reason.FORKED, f"the agent's log forked: its {size} entries are not those seen before")
