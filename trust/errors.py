"""Errors of `trust`, and the reasons for a refusal.

* TrustError
  x MalformedError: bytes from outside are not what they should be
    + MalformedStatementError: not strict JSON, or not the fields of its payload type
      - NotUnderstoodError: a `crit` entry or a payload type that this version does not know
    + MalformedEnvelopeError: not a DSSE envelope
    + MalformedKeyError: not a key, not words, not a key file
    + MalformedNoteError: not a signed note, checkpoint or verifier key
    + MalformedProofError: not a Merkle proof, proof file or export, or it does not prove what it claims
    + MalformedLeafError: not a log leaf
    + MalformedSealError: not a sealed body or page, or none of the keys opens it
  x RefusedError: well-formed, and not accepted; `reason` says why
  x WrongPassphraseError: the passphrase does not open this key file
"""

from __future__ import annotations

import enum


class Reason(enum.Enum):
    """Why something was refused or not counted. Codes are stable: they are in receipts, leaves and `--json`."""

    MALFORMED = "malformed"
    NOT_UNDERSTOOD = "not-understood"
    WRONG_TYPE = "wrong-type"
    BAD_SIGNATURE = "bad-signature"
    UNKNOWN_SIGNER = "unknown-signer"
    SIGNER_IS_ANOTHER = "signer-is-another"
    SIGNER_EXPIRED = "signer-expired"
    WRONG_TRUST = "wrong-trust"
    WRONG_HEAD = "wrong-head"
    WRONG_AGENT = "wrong-agent"
    WRONG_PREVIOUS = "wrong-previous"
    VERSION_SKIPPED = "version-skipped"
    VERSION_OLD = "version-old"
    FORKED = "forked"
    TRUST_EXPIRED = "trust-expired"
    TRUST_INVALID = "trust-invalid"
    THRESHOLD = "threshold-not-met"
    NO_SUCH_CLASS = "no-such-class"
    CLASS_REFUSED = "class-refused"
    UNKNOWN_REQUESTER = "unknown-requester"
    TOO_MANY_ITEMS = "too-many-items"
    OTHER_PLAN = "other-plan"
    NOT_YET_VALID = "not-yet-valid"
    EXPIRED = "expired"
    FROM_THE_FUTURE = "from-the-future"
    REQUESTER_APPROVES = "requester-approves"
    NOT_AN_APPROVER = "not-an-approver"
    OUT_OF_SCOPE = "out-of-scope"
    SUMMARY_ONLY = "summary-only"
    NEWER_TRUST = "newer-trust"
    DUPLICATE_PERSON = "duplicate-person"
    OWNER_MISSING = "owner-missing"
    REJECTED = "rejected"
    CANCELLED = "cancelled"
    FROZEN = "frozen"
    CONSUMED = "consumed"
    OUTSIDE_WINDOW = "outside-window"
    OVER_BUDGET = "over-budget"
    WRONG_CHANNEL = "wrong-channel"
    CLOCK_HALT = "clock-halt"
    NO_STANDING = "no-standing"
    NOT_ALLOWED_TO_SEE = "may-not-see"
    NOT_TAKEN = "not-taken"
    RATE_LIMITED = "rate-limited"
    NOT_WITNESSED = "not-witnessed"
    VOID = "void"


class TrustError(Exception):
    """Anything that `trust` raises."""


class MalformedError(TrustError):
    """Bytes from outside are not what they should be."""


class MalformedStatementError(MalformedError):
    """Not strict JSON, or a field is missing, unknown, of the wrong type or out of range."""


class NotUnderstoodError(MalformedStatementError):
    """Validly built, but it demands (`crit`) or is something that this version does not know: freeze, do not guess."""


class MalformedEnvelopeError(MalformedError):
    """Not a DSSE envelope within our limits."""


class MalformedKeyError(MalformedError):
    """Not an acceptable public key, not fingerprint words, or not a key file."""


class MalformedNoteError(MalformedError):
    """Not a signed note, not a checkpoint, not a verifier key, or a known key's signature on it is bad."""


class MalformedProofError(MalformedError):
    """Not a Merkle proof, a proof file or an export; or it does not prove what it claims."""


class MalformedLeafError(MalformedError):
    """Not a leaf of our log."""


class MalformedSealError(MalformedError):
    """Not a sealed body or its pages, sealed to another key, or altered."""


class RefusedError(TrustError):
    """Well-formed, and not accepted."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class WrongPassphraseError(TrustError):
    """The passphrase does not open this key file (or its sealed part was altered)."""
