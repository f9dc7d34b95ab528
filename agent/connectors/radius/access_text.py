"""Texts of the access method: the present state, the state after the change, and why it would not hold."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Final

from agent.age import age_text
from agent.connectors.radius.addresses import MAY_BE_OVER, SAME_AS
from agent.connectors.radius.evaluator import SECRET
from agent.connectors.radius.garden import addresses_text
from agent.connectors.radius.rowset import fields_of, holds_secret
from agent.model import Access

if TYPE_CHECKING:
    from agent.connectors.radius.evaluator import Accepted, Unmet
    from agent.connectors.radius.schema import Method, NasPlaces
    from agent.model import Value


NO_ADDRESS: Final = "a NAS without an address"
"""Name of a session's NAS where accounting has none: FreeRADIUS' queries for MariaDB write no IPv6 address of it."""


def now_text(sessions: Collection[Mapping[str, str]], at_s: int, nas_names: Mapping[str, str]) -> str:
    """Return `online 6d on bng-2 · 100.64.12.9 · 2001:db8::/56` for each session, or `offline by accounting`."""
    return "; ".join(_session_text(s, at_s, nas_names) for s in sessions) or "offline by accounting"


def none_known_text(asked: Mapping[str, int], unasked: Collection[str] = ()) -> str:
    """Return the evidence of no session.

    Args:
        asked: the age of each NAS' denial, seconds; empty where the old session's end is the evidence.
        unasked: names of the NAS that were not asked for a session that accounting does not know.
    """
    if not asked:
        known = "its old session is gone, and accounting has no other: it holds at the next login"
        names = ", ".join(unasked)
        return f"{known}; not proven: {names} {'was' if len(unasked) == 1 else 'were'} not asked" if names else known
    names, ago = ", ".join(asked), age_text(max(asked.values()))
    return f"no session on {names} when asked {ago} ago, and none by accounting: it holds at the next login"


def left_text(left: Collection[Mapping[str, str]], at_s: int) -> str:
    """Return which open rows of accounting on no configured NAS are not checked; empty for none."""
    told = "; ".join(_session_text(s, at_s, {}) for s in left)
    return f"not checked, since on no configured NAS: {told}" if told else ""


def ghosts_text(ghosts: Collection[Mapping[str, str]], nas_names: Mapping[str, str]) -> str:
    """Return which open rows of accounting are ghosts, since their NAS denied the session; empty for none."""
    told = ", ".join(f"{s.get('sid', '?')} on {nas_names.get(s.get('nas', ''), s.get('nas', '?'))}" for s in ghosts)
    return f"open in accounting, and denied by its NAS: {told}" if told else ""


def ghost_rows_text(rows: Collection[Mapping[str, str]], at_s: int, nas_names: Mapping[str, str]) -> str:
    """Return the text on closed rows, and on sessions that go on after all; empty for none."""
    told = "; ".join(_session_text(s, at_s, nas_names).removeprefix("online ") for s in rows)
    kept = "the row stays in radacct, with a stop time and the cause Stale-Session"
    return f"closed where the NAS denies it, ended where it does not ({kept}): {told}" if told else ""


def may_live_text(rows: Collection[Mapping[str, str]], nas_names: Mapping[str, str]) -> str:
    """Return a warning of rows without an update since their start: their sessions may be alive."""
    never = [s for s in rows if not s.get("heard") or s.get("heard") == s.get("since")]
    names = ", ".join(sorted({nas_names.get(s.get("nas", ""), "?") for s in never}))
    if not never:
        return ""
    return (
        f"accounting got no update of a session on {names} since it began: if that NAS sends none, the session may be"
        " alive, and the question ENDS it"
    )


def _session_text(session: Mapping[str, str], at_s: int, nas_names: Mapping[str, str]) -> str:
    since = session.get("since", "")
    age = f" {age_text(at_s - int(since))}" if since.isdecimal() else ""
    nas = session.get("nas", "")
    asked = session.get(MAY_BE_OVER, "")
    over = f"may be over: its end was asked for {age_text(at_s - int(asked))} ago" if asked.isdecimal() else ""
    parts = (addresses_text(session), over)
    return " · ".join((f"online{age} on {nas_names.get(nas, nas) or NO_ADDRESS}", *filter(None, parts)))


def after_text(access: Access, outcome: Accepted, method: Method) -> str:
    """Return the reply to the subscriber's router, as text."""
    got = " · ".join(f"{name}={value}" for name, value in outcome.reply) or "no attributes"
    groups = f"groups {', '.join(outcome.groups)}" if outcome.groups else "no group"
    if access is Access.ACTIVE:
        return f"{got} ({groups})"
    families = "+".join(f for f, nets in (("v4", method.garden4), ("v6", method.garden6)) if nets)
    return f"pay page only{f', {families}' if families else ''}: {got} ({groups})"


def rejected_after(access: Access, why: str, marker: str, *, written: bool) -> str:
    """Return the state afterwards of a login that somebody else's rows reject.

    Args:
        access: the wanted one.
        why: it is rejected.
        marker: the marker group.
        written: whether the marker is written or taken away, which changes nothing of that.
    """
    if access is Access.ACTIVE:
        return f"group {marker} is in no row of it; the login stays rejected: {why}"
    if written:
        return f"the login stays rejected: {why}; group {marker} holds it once that ends"
    return f"the login stays rejected: {why}; group {marker} is not written, since it would let the login in"


def unmet_text(unmet: Iterable[Unmet], outcome: Accepted, marker: str, user: Value) -> str:
    """Return which attributes would not be as wanted, where the others come from, and why the marker is not applied.

    Args:
        unmet: attributes that are not in effect.
        outcome: the reply that would be sent.
        marker: the marker group when it should win and is not even applied, else empty.
        user: the row set that the outcome is of.
    """
    parts = []
    for miss in unmet:
        sources = {
            source
            for (name, _), source in zip(outcome.reply, outcome.found_in, strict=True)
            if name.lower() == miss.attribute.lower()
        }
        got = f"{', '.join(miss.got)} from {', '.join(sorted(sources))}" if miss.got else "nothing"
        wanted = SECRET if holds_secret(miss.attribute, miss.wanted) else miss.wanted
        parts.append(f"{miss.attribute}: {wanted} is wanted, the login would get {got}")
    if marker:
        first = ", ".join(outcome.groups) or "none"
        stops = any(key.lower() == "reply:fall-through" for key in fields_of(user))
        why = "the user's own Fall-Through in radreply" if stops else "an earlier group without Fall-Through = Yes"
        parts.append(f"group {marker} is not applied (groups applied: {first}), because of {why} or its check items")
    return "; ".join(parts)


def proof_text(access: Access, method: Method, places: NasPlaces) -> str:
    """Return how enforcement will be judged."""
    gardens = " ".join(map(str, (*method.garden4, *method.garden6)))
    wait = f"judged within {method.redial_within_s} s of the session's end"
    if places.asked:
        wait += f" · where accounting has none, {', '.join(places.asked)} asked by User-Name"
    if places.not_asked:
        wait += f" · not checked: whether {', '.join(places.not_asked)} has one that accounting has not"
    if access is Access.ACTIVE:
        outside = f", outside {gardens}" if gardens else ""
        return f"the old session gone; a new one whose login gets the above{outside}; or none yet · {wait}"
    inside = f"in {gardens}, or " if gardens else ""
    return f"the old session gone; a new one {inside}whose login gets the above; or none yet · {wait}"


def rejected_proof(access: Access) -> str:
    """Return how it will be judged that a rejected login stays so."""
    gone = "no session is open" if access is Access.SUSPENDED else "the old session gone"
    return f"{gone}; the login is rejected when it is read again"


def mixed_text(login: str, user: Value, others: Collection[str] = ()) -> str:
    """Return which logins the database takes for this one, beside `others`, as a sentence; empty when there is none."""
    found = fields_of(user).get(SAME_AS, ())
    names = sorted({*(found if isinstance(found, tuple) else ()), *others})
    return f"the database holds {login} and {', '.join(names)} to be the same login" if names else ""
