"""A desk's own memory, in a file beside its remembered checkpoints: sent messages, expected receipts, signed documents.

Nothing here is believed where something is signed or approved: it only tells which receipt belongs to which message.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Final

from trust import limits
from trust.strict_json import Reader, read_object_untrusted

FILE_BYTES: Final = 8 << 20
"""Chosen arbitrarily; an entry older than `_KEPT_S` is forgotten."""

_KEPT_S: Final = 7 * 86_400
_SIGNED_KEPT: Final = 100
"""Trust documents: 25 years of one each quarter."""

_FORMAT: Final = "ispcloud-memory-v0"


@dataclass(frozen=True, slots=True)
class Sent:
    """A statement that this desk sent: its digest (hex), its word (`approve`, `freeze`…), its plan's digest or empty.

    `agents` (ids, hex) are expected to answer with a receipt each; `at_s` is unix seconds. `sealed`: the digest (hex)
    of the sealed body that traveled in its place, empty where none did.
    """

    sha256: str
    what: str
    plan: str
    agents: tuple[str, ...]
    at_s: int
    sealed: str = ""

    @property
    def digests(self) -> tuple[str, ...]:
        """The digests that a receipt may name: an agent that cannot open a sealed body knows only the body's."""
        return (self.sha256, self.sealed) if self.sealed else (self.sha256,)


@dataclass(frozen=True, slots=True)
class SignedTrust:
    """A trust document that was signed here: of two different ones of one version, agents take one or the other."""

    trust_id: str
    version: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Memory:
    """The statements and trust documents that this desk sent and signed."""

    sent: tuple[Sent, ...] = ()
    signed: tuple[SignedTrust, ...] = ()

    def with_sent(self, sent: Sent) -> Memory:
        """Return the memory with one more statement, without old ones."""
        kept = tuple(s for s in self.sent if s.sha256 != sent.sha256 and sent.at_s - s.at_s <= _KEPT_S)
        return replace(self, sent=(*kept, sent))

    def without(self, sent: Sent) -> Memory:
        """Return the memory without a statement that was not taken."""
        return replace(self, sent=tuple(s for s in self.sent if s != sent))

    def signed_another(self, trust: SignedTrust) -> bool:
        """Return whether another document of this version was signed here."""
        return any(
            (s.trust_id, s.version) == (trust.trust_id, trust.version) and s.sha256 != trust.sha256 for s in self.signed
        )

    def with_signed(self, trust: SignedTrust) -> Memory:
        """Return the memory with one more signed trust document, without the oldest ones."""
        others = tuple(s for s in self.signed if s != trust)
        return replace(self, signed=(*others[1 - _SIGNED_KEPT :], trust))


def encode(memory: Memory) -> bytes:
    """Return the file, JSON."""
    document = {
        "format": _FORMAT,
        "sent": [
            {"sha256": s.sha256, "what": s.what, "plan": s.plan, "agents": list(s.agents), "at_s": s.at_s}
            | ({"sealed": s.sealed} if s.sealed else {})
            for s in memory.sent
        ],
        "signed": [{"trust_id": s.trust_id, "version": s.version, "sha256": s.sha256} for s in memory.signed],
    }
    return json.dumps(document, indent=1).encode() + b"\n"


def decode_untrusted(data: bytes) -> Memory:
    """Read the output of `encode`.

    Raises:
        MalformedStatementError: not such a file.
    """
    r = read_object_untrusted(data, FILE_BYTES, "memory")
    if r.text("format") != _FORMAT:
        raise r.error("format", f"should be {_FORMAT}")
    signed = r.objects("signed") if r.has("signed") else ()
    memory = Memory(tuple(map(_sent, r.objects("sent"))), tuple(map(_signed, signed)))
    if r.has("shorts"):  # of a release before short ids were the plans' own
        r.objects("shorts")
    r.done()
    return memory


def _sent(r: Reader) -> Sent:
    plan = r.hex("plan", 32) if r.text("plan") else ""
    sealed = r.hex("sealed", 32) if r.has("sealed") else ""
    sent = Sent(r.hex("sha256", 32), r.handle("what"), plan, tuple(r.hexes("agents", 16)), _at(r), sealed)
    r.done()
    return sent


def _signed(r: Reader) -> SignedTrust:
    signed = SignedTrust(r.hex("trust_id", 16), r.integer("version", 1, limits.SECONDS_MAX), r.hex("sha256", 32))
    r.done()
    return signed


def _at(r: Reader) -> int:
    return r.integer("at_s", 0, limits.SECONDS_MAX)
