"""Faults of a NAS, by name, for one login or for all.

nak:CAUSE               answer with a NAK of that Error-Cause, do nothing
silence                 neither answer nor do anything
reply-lost              do it, answer nothing
ack-without-effect      answer ACK, do nothing
slow:SECONDS            do it and answer that much later
duplicate-replies       send each answer twice
wrong-secret            sign answers with another secret
stale-session           the session is gone and nobody was told: radacct stays open, requests get NAK 503
no-redial               the CPE does not come back after a disconnect
start-lost              no Accounting-Start is sent
interim-lost            no Interim-Update is sent
stop-lost               no Accounting-Stop is sent
accounting-lost:PERCENT that many of the accounting packets (Start, Interim-Update, Stop) get lost
reject-401[:ATTRIBUTE]  NAK 401 where Message-Authenticator or Event-Timestamp (or the one named) is present
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass, field

from lab.errors import UnknownFaultError


class FaultKind(enum.Enum):
    """The names."""

    NAK = "nak"
    SILENCE = "silence"
    REPLY_LOST = "reply-lost"
    ACK_WITHOUT_EFFECT = "ack-without-effect"
    SLOW = "slow"
    DUPLICATE_REPLIES = "duplicate-replies"
    WRONG_SECRET = "wrong-secret"
    STALE_SESSION = "stale-session"
    NO_REDIAL = "no-redial"
    START_LOST = "start-lost"
    INTERIM_LOST = "interim-lost"
    STOP_LOST = "stop-lost"
    ACCOUNTING_LOST = "accounting-lost"
    REJECT_401 = "reject-401"


REJECTABLE = ("message-authenticator", "event-timestamp")


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault.

    `value`: Error-Cause for NAK, seconds for SLOW, per cent for ACCOUNTING_LOST; `attributes` for REJECT_401, in lower
    case.
    """

    kind: FaultKind
    value: float = 0.0
    attributes: tuple[str, ...] = ()


def parse_fault(text: str) -> Fault:
    """Read a fault as written above.

    Raises:
        UnknownFaultError: no such name, or its number is missing or out of range.
    """
    name, _, argument = text.strip().lower().partition(":")
    try:
        kind = FaultKind(name)
    except ValueError as err:
        raise UnknownFaultError(f"expected one of {', '.join(k.value for k in FaultKind)}, got {name!r}") from err
    match kind:
        case FaultKind.NAK if re.fullmatch(r"[45][0-9]{2}", argument):
            return Fault(kind, float(argument))
        case FaultKind.SLOW if re.fullmatch(r"[0-9]{1,4}(\.[0-9]{1,3})?", argument):
            return Fault(kind, float(argument))
        case FaultKind.REJECT_401 if argument in ("", *REJECTABLE):
            return Fault(kind, 401.0, (argument,) if argument else REJECTABLE)
        case FaultKind.ACCOUNTING_LOST if re.fullmatch(r"[0-9]{1,2}|100", argument):
            return Fault(kind, float(argument))
        case FaultKind.NAK | FaultKind.SLOW | FaultKind.REJECT_401 | FaultKind.ACCOUNTING_LOST:
            raise UnknownFaultError(
                f"expected nak:400..599, slow:SECONDS, reject-401[:ATTRIBUTE] or accounting-lost:0..100, got {text!r}"
            )
        case _ if argument:
            raise UnknownFaultError(f"expected {name} alone, got {text!r}")
        case _:
            return Fault(kind)


@dataclass(slots=True)
class FaultBook:
    """The faults in force. A login's own fault of a kind goes before the one for all."""

    _by_login: dict[str, dict[FaultKind, Fault]] = field(default_factory=dict)

    def set(self, fault: Fault, login: str = "") -> None:
        """Put a fault in force for a login, or for all when `login` is empty."""
        self._by_login.setdefault(login, {})[fault.kind] = fault

    def clear(self, login: str | None = None) -> None:
        """Take back the faults of a login ('' for those of all), or every fault when `login` is None."""
        if login is None:
            self._by_login.clear()
        else:
            self._by_login.pop(login, None)

    def get(self, kind: FaultKind, login: str = "") -> Fault | None:
        """The fault of that kind that holds for a login, if any."""
        own = self._by_login.get(login, {}).get(kind)
        return own or self._by_login.get("", {}).get(kind)
