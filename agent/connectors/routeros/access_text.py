"""Texts of the access method: the present state, the state after the change, and its proof."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from agent.age import age_text
from agent.model import Access

if TYPE_CHECKING:
    from agent.connectors.routeros.schema import HotspotMethod, PppMethod


def now_text(sessions: Mapping[str, Mapping[str, str]], began: Mapping[str, str], at_s: int, router: str) -> str:
    """Return `online 6d on edge-1 · 100.64.12.9` for each session, or `offline`."""
    texts = []
    for sid, session in sessions.items():
        since = began.get(sid, "")
        age = f" {age_text(at_s - int(since))}" if since.isdecimal() else ""
        by = "by RADIUS" if session.get("radius") == "true" else ""
        texts.append(" · ".join(filter(None, (f"online{age} on {router}", session.get("address", ""), by))))
    return "; ".join(texts) or "offline"


def after_text(access: Access, profile: str, how: str) -> str:
    """Return the subscriber's service: `pay page only: profile suspended, rule 4 (...) drops list suspended`."""
    if access is Access.ACTIVE:
        return f"profile {profile}{f': {how}' if how else ''}"
    return f"pay page only: profile {profile}, {how}"


def rejected_text(why: str, then: str) -> str:
    """Return the state after a change of a login that somebody else's settings reject: `then` is for when that ends."""
    return f"the login stays rejected: {why} · once that ends: {then}"


def beside_text(beside: str, then: str) -> str:
    """Return the state after a change of a row that is disabled and rejects nobody, for `beside`."""
    return f"{beside} · once it is enabled: {then}"


def proof_text(access: Access, method: PppMethod | HotspotMethod, *, new: bool) -> str:
    """Return how enforcement will be judged; `new`: by new sessions alone."""
    written = "written if it reads as planned just before (RouterOS cannot do both at once)"
    wait = f"{written} · judged within {method.redial_within_s} s of the session's end"
    if access is Access.ACTIVE and not new:
        return f"each session in none of the suspended profile's lists; or none yet · {wait}"
    if access is Access.ACTIVE:
        return f"the old session gone; a new one in none of the suspended profile's lists; or none yet · {wait}"
    if not new:
        return f"each session in the suspended profile's lists; or none yet · {wait}"
    return f"the old session gone; a new one in the suspended profile's lists; or none yet · {wait}"


def disabled_text(what: str) -> str:
    """Return the service of a subscriber with a disabled row, as text."""
    return f"login page only: its {what} is disabled and cannot log in"


def disabled_proof(access: Access, method: HotspotMethod, *, new: bool) -> str:
    """Return how a disabled user, or one that is no longer disabled, will be judged; `new`: by new sessions alone."""
    written = "written if it reads as planned just before (RouterOS cannot do both at once)"
    if access is Access.ACTIVE and not new:
        return f"not disabled; an open session, or none yet · {written}"
    if access is Access.ACTIVE:
        within = f"judged within {method.redial_within_s} s of the session's end"
        return f"the old session gone; a new one, or none yet · {written} · {within}"
    return f"disabled; no session, and no cookie that would let it in again · {written}"
