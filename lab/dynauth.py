"""The judging half of a Dynamic Authorization Server: the meaning of a Disconnect- or CoA-Request. RFC 5176, pure.

All attributes are mandatory to understand (section 3.3): one that is not supported makes a NAK 401. All identifying
ones must match (section 3): a session that differs in one is another session. Several that match are all meant.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from lab.errors import AttributeValueError
from lab.radius_codec import Code, Packet
from lab.sessions import Session

UNSUPPORTED_ATTRIBUTE: Final = 401
MISSING_ATTRIBUTE: Final = 402
NAS_MISMATCH: Final = 403
UNSUPPORTED_SERVICE: Final = 405
INVALID_VALUE: Final = 407
NO_SESSION: Final = 503
NOT_REMOVABLE: Final = 504
"""Only of a session that the NAS has (RFC 5176 section 3.5)."""

NAS_IDENTITY: Final = ("NAS-IP-Address", "NAS-Identifier")
SESSION_IDENTITY: Final = (
    "User-Name",
    "Acct-Session-Id",
    "Framed-IP-Address",
    "Framed-IPv6-Prefix",
    "NAS-Port",
    "Calling-Station-Id",
)
_NEUTRAL: Final = ("Message-Authenticator", "Event-Timestamp", "Proxy-State", "State", "Acct-Terminate-Cause")
CHANGEABLE: Final = ("Mikrotik-Rate-Limit", "Mikrotik-Group", "Session-Timeout", "Idle-Timeout", "Filter-Id")


@dataclass(frozen=True, slots=True)
class Judged:
    """The meaning of a request: a NAK's Error-Cause, or the sessions meant and the changes in them."""

    error_cause: int = 0
    sessions: tuple[Session, ...] = ()
    changes: tuple[tuple[str, str], ...] = ()


def answer_code(request_code: int, ack: bool) -> Code:
    """ACK or NAK of a request's kind (RFC 5176 section 2.3)."""
    if request_code == Code.DISCONNECT_REQUEST:
        return Code.DISCONNECT_ACK if ack else Code.DISCONNECT_NAK
    return Code.COA_ACK if ack else Code.COA_NAK


def _supported(request: Packet, changeable: Collection[str]) -> bool:
    known = {*NAS_IDENTITY, *SESSION_IDENTITY, *_NEUTRAL, "Service-Type"}
    if request.code == Code.COA_REQUEST:
        known |= {*changeable}
    return all(a.name in known for a in request.attributes)


def judge(
    request: Packet, nas: Mapping[str, str], sessions: Iterable[Session], changeable: Collection[str] = CHANGEABLE
) -> Judged:
    """Return the meaning of a verified request on a NAS that is called `nas` (NAS-IP-Address, NAS-Identifier)."""
    if not _supported(request, changeable):
        return Judged(UNSUPPORTED_ATTRIBUTE)
    try:
        values = [(a.name, a.text()) for a in request.attributes if a.name not in _NEUTRAL]
    except AttributeValueError:
        return Judged(INVALID_VALUE)
    if ("Service-Type", "Authorize-Only") in values:
        return Judged(UNSUPPORTED_SERVICE)
    if any(value != nas[name] for name, value in values if name in NAS_IDENTITY):
        return Judged(NAS_MISMATCH)
    wanted = [(name, value) for name, value in values if name in SESSION_IDENTITY]
    changes = tuple((name, value) for name, value in values if name in changeable)
    if not wanted or (request.code == Code.COA_REQUEST and not changes):
        return Judged(MISSING_ATTRIBUTE)
    found = tuple(s for s in sessions if all(s.identifying()[name] == value for name, value in wanted))
    return Judged(sessions=found, changes=changes) if found else Judged(NO_SESSION)
