"""Words and reason code for the end of a session: for changes, `cpe show` and the log. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from agent.connectors.cwmp.acs_session import Ended, EndReason
from agent.connectors.cwmp.errors import RemoteCwmpError
from agent.connectors.cwmp.reasons import CwmpReason
from agent.reasons import ExplainedReason, TargetReason


@dataclass(frozen=True, slots=True)
class Ending:
    """The cause of a session's end. `text` is a predicate: the CPE `hung up`."""

    text: str
    reason: ExplainedReason


HUNG_UP = Ending("hung up", TargetReason.SESSION_ENDED)


def ending(ended: Ended | None) -> Ending:
    """Return the cause of a session's end. `ended`: None where its connection is gone, or a person ended it."""
    if ended is None:
        return HUNG_UP
    match ended.reason:
        case EndReason.UNREADABLE:
            why = f": {ended.error}" if ended.error is not None else ""
            return Ending(f"sent what cannot be read, and its session was ended{why}", CwmpReason.UNREADABLE)
        case EndReason.UNEXPECTED:
            return Ending("sent something else than was due, and its session was ended", CwmpReason.UNEXPECTED)
        case EndReason.REPEATED:
            return Ending("sent the same message again and again, and its session was ended", CwmpReason.UNEXPECTED)
        case EndReason.TOO_LONG:
            return Ending("sent more messages than a session has, and its session was ended", CwmpReason.UNEXPECTED)
        case EndReason.INFORMED_AGAIN:
            return Ending("began another session", TargetReason.SESSION_ENDED)
        case EndReason.TIMEOUT:
            return Ending("hung up, or said nothing for too long", TargetReason.SESSION_ENDED)
        case _:
            return HUNG_UP


def trouble(ended: Ended) -> str:
    """Return a sentence on the trouble in a session that is over; "": there was none."""
    found = ending(ended)
    if found.reason is not TargetReason.SESSION_ENDED:
        return f"it {found.text}"
    if ended.unanswered is not None:
        return f"it {found.text} before it answered {type(ended.unanswered).__name__}"
    return ""


def refusal_text(error: RemoteCwmpError | None, code: int) -> str:
    """Return a sentence on a CPE's own request that was refused by a fault."""
    return f"a request of its own was refused with fault {code}: {error or 'it had no place there'}"
