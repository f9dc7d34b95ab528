"""Errors of `trust`, and the reasons for a refusal.

* TrustError
  x MalformedError: bytes from outside are malformed
    + MalformedStatementError: not strict JSON, or not the fields of its payload type
      - NotUnderstoodError: a `crit` entry or a payload type that this version does not know
    + MalformedEnvelopeError: not a DSSE envelope
    + MalformedKeyError: not a key, not words, not a key file
    + MalformedNoteError: not a signed note, checkpoint or verifier key
    + MalformedProofError: not a Merkle proof, proof file or export, or it does not prove its claim
    + MalformedLeafError: not a log leaf
    + MalformedSealError: not a sealed body or page, or none of the keys opens it
  x RefusedError: well-formed, and not accepted; `reason` says why
  x WrongPassphraseError: the passphrase does not open this key file
"""

from __future__ import annotations

import enum
from typing import Self


class Reason(enum.Enum):
    """Why something was refused or not counted. Codes are stable: they are in receipts, leaves and `--json`.

    `value` is the code; `meaning` and `remedy` are one sentence each.
    """

    meaning: str
    remedy: str

    def __new__(cls, code: str, meaning: str = "", remedy: str = "") -> Self:
        """Return the member of a code."""
        member = object.__new__(cls)
        member._value_ = code
        member.meaning = meaning
        member.remedy = remedy
        return member

    MALFORMED = (
        "malformed",
        "The statement is not strict JSON, or a field is missing, unknown or out of range.",
        "Read the detail, then make the statement anew with the same version of the tools as the agent's.",
    )
    NOT_UNDERSTOOD = (
        "not-understood",
        "The statement demands something that this version does not know.",
        "Update this side, then send the statement again.",
    )
    WRONG_TYPE = (
        "wrong-type",
        "The envelope holds another kind of statement than was expected here.",
        "Give the file of the right kind.",
    )
    BAD_SIGNATURE = (
        "bad-signature",
        "A signature names a key and was not made by it, or the bytes were altered.",
        "Get the file again from its author; if it repeats, find who altered it.",
    )
    UNKNOWN_SIGNER = (
        "unknown-signer",
        "The trust document in force knows none of the signers.",
        "Sign with a key that the trust document lists, or add the key by a new trust version.",
    )
    SIGNER_IS_ANOTHER = (
        "signer-is-another",
        "The statement names one author and was signed by another.",
        "Sign it with the key of the person or agent that it names.",
    )
    SIGNER_EXPIRED = (
        "signer-expired",
        "The signer's key is past its date.",
        "Sign with a valid key; owners renew keys by a new trust version.",
    )
    WRONG_TRUST = (
        "wrong-trust",
        "The statement belongs to another trust chain.",
        "Use the trust chain of this agent's owners.",
    )
    WRONG_HEAD = (
        "wrong-head",
        "The trust document is not the one whose version and hash were given.",
        "Compare the head with the owners by another way than this file.",
    )
    WRONG_AGENT = (
        "wrong-agent",
        "The statement is for another agent, or the trust document does not know this one.",
        "Send it to the agent that it names.",
    )
    WRONG_PREVIOUS = (
        "wrong-previous",
        "The trust version does not follow the one in force.",
        "Compare both trust documents with the owners: one of them is not theirs.",
    )
    VERSION_SKIPPED = (
        "version-skipped",
        "Trust versions between the one in force and this one are missing.",
        "Give the missing versions first, in order.",
    )
    VERSION_OLD = (
        "version-old",
        "The trust version is older than, or the same as, the one in force.",
        "Nothing, if the newer one is known to be the owners'.",
    )
    FORKED = (
        "forked",
        "Two different trust documents carry the same version number.",
        "Stop, and compare both with the owners: one of them is not theirs.",
    )
    TRUST_EXPIRED = ("trust-expired", "The trust document in force is past its date.", "Its owners sign a new version.")
    TRUST_INVALID = (
        "trust-invalid",
        "The trust document breaks one of its own rules, or too few owners signed it.",
        "Read the detail, then have the owners sign a corrected version.",
    )
    THRESHOLD = ("threshold-not-met", "Too few of the people who count have signed.", "Ask more people who may sign.")
    NO_SUCH_CLASS = (
        "no-such-class",
        "The policy has no such risk class.",
        "Owners add the class by a new trust version.",
    )
    CLASS_REFUSED = (
        "class-refused",
        "The policy does not allow this verb in this risk class.",
        "Ask for less at once, or have the owners change the policy.",
    )
    UNKNOWN_REQUESTER = (
        "unknown-requester",
        "The agent does not know who asked, and the risk class needs to know.",
        "Map the requester's uid to a person, or ask by a signed intent.",
    )
    TOO_MANY_ITEMS = (
        "too-many-items",
        "The plan has more items than its risk class, or the way by which it was asked for, allows.",
        "Ask for fewer at once.",
    )
    OTHER_PLAN = (
        "other-plan",
        "The signature is for another plan, or its evidence does not fit this one.",
        "Look at this plan and sign it.",
    )
    NOT_YET_VALID = (
        "not-yet-valid",
        "The statement or key is valid later than now.",
        "Wait until its date, or check the clocks.",
    )
    EXPIRED = ("expired", "The statement or key is past its date.", "Ask for it anew.")
    FROM_THE_FUTURE = (
        "from-the-future",
        "The statement was made later than now, or is valid for longer than allowed.",
        "Check the clocks of both machines.",
    )
    REQUESTER_APPROVES = ("requester-approves", "The person who asked may not approve.", "Another person approves.")
    NOT_AN_APPROVER = (
        "not-an-approver",
        "The signer has no role that may sign this.",
        "Ask somebody who has the role.",
    )
    OUT_OF_SCOPE = (
        "out-of-scope",
        "The signer, or the authority, is for other agents.",
        "Ask somebody whose scope covers this agent.",
    )
    SUMMARY_ONLY = (
        "summary-only",
        "The signer saw the summary only, and the risk class needs the detail.",
        "Look at the items, then sign again.",
    )
    NEWER_TRUST = (
        "newer-trust",
        "The statement rests on a newer trust version than this side has.",
        "Give this side the newer trust versions, then try again.",
    )
    DUPLICATE_PERSON = ("duplicate-person", "This person's signature is counted already.", "Ask another person.")
    OWNER_MISSING = ("owner-missing", "One of those who sign must be an owner, and none is.", "Ask an owner.")
    REJECTED = ("rejected", "Somebody rejected the plan.", "Talk to that person, then ask for the change again.")
    CANCELLED = ("cancelled", "The change was cancelled.", "Ask for it again if it is still wanted.")
    FROZEN = (
        "frozen",
        "The signer, the key, the agent or everything is frozen.",
        "Find out why; two people lift a freeze.",
    )
    CONSUMED = ("consumed", "It was used already, and can be used once.", "Ask anew.")
    OUTSIDE_WINDOW = (
        "outside-window",
        "The policy's hours for this risk class are closed.",
        "Wait for the window, or have an owner approve.",
    )
    OVER_BUDGET = (
        "over-budget",
        "The budget of this class or authority for the last hour or day is used up.",
        "Wait, or have people approve.",
    )
    WRONG_CHANNEL = (
        "wrong-channel",
        "The risk class takes signatures by the agent's local socket only.",
        "Sign on the agent's own host.",
    )
    CLOCK_HALT = (
        "clock-halt",
        "The agent applies nothing: its clock jumped.",
        "Check the clock, then `ispagent clock accept`.",
    )
    NO_STANDING = (
        "no-standing",
        "No standing authority in force covers it.",
        "People approve it, or sign a standing authority that covers it.",
    )
    NOT_ALLOWED_TO_SEE = (
        "may-not-see",
        "The person may not see subscribers.",
        "Ask somebody who may; owners give the right by a new trust version.",
    )
    NOT_TAKEN = (
        "not-taken",
        "The agent did not take it, and tells no more about it through the control plane.",
        "Do the same on the agent's own host: there it says why, such as that nothing would change.",
    )
    RATE_LIMITED = ("rate-limited", "Too many such messages came within the hour.", "Wait, then send it again.")
    NOT_WITNESSED = (
        "not-witnessed",
        "Too few witnesses have confirmed the agent's log since it started.",
        "Check the witnesses; plans from before the start are previewed again.",
    )
    VOID = ("void", "The plan is void: the agent's log or database was put back since.", "Ask for the change again.")


class TrustError(Exception):
    """Anything that `trust` raises."""


class MalformedError(TrustError):
    """Bytes from outside are malformed."""


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
    """Not a Merkle proof, a proof file or an export; or it does not prove its claim."""


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
