"""The trust document as text, for the person that signs it or asks for the one in force."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from control_plane.desk.trust_sign import Count, Signatures
from trust import checkpoint, keys
from trust.document import ED25519, Person, PersonKey, ServiceAccount, Trust, TrustedAgent, Witness
from trust.errors import MalformedError
from trust.moments import moment_text
from trust.policy import PolicyClass, Window
from trust.terminal import neutralize
from trust.verify import runs

EXPIRES_SOON_S: Final = 14 * 86_400
_DAY_S: Final = 86_400
_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def render_trust(trust: Trust, fingerprint_words: str | None, signatures: Signatures, now_s: int) -> str:
    """Return the whole document for a terminal.

    Args:
        trust: the document.
        fingerprint_words: its head's words; None: a draft, which has none.
        signatures: how they stand.
        now_s: unix seconds.
    """
    title = f"TRUST version {trust.version}" + (
        " · DRAFT, nobody signed it" if fingerprint_words is None else f" · {fingerprint_words}"
    )
    lines = [
        title,
        f"chain  {trust.trust_id} · until {moment_text(trust.expires)} ({_remaining(trust, now_s)})",
        *_signatures(signatures),
        *_paragraph("PEOPLE", (_person(p, trust) for p in trust.people)),
        *_paragraph("AGENTS", map(agent_text, trust.agents)),
        *_paragraph("PROGRAMS that may request", (_program(s, trust) for s in trust.services)),
        *_paragraph(_quorum(trust), map(_witness, trust.witnesses)),
        *_paragraph("POLICY", map(_policy_class, trust.policy)),
    ]
    return "".join(line + "\n" for line in lines)


def warning(trust: Trust, now_s: int) -> str | None:
    """Return a sentence where the document has expired or soon will."""
    if now_s > trust.expires:
        when = moment_text(trust.expires)
        return f"trust version {trust.version} EXPIRED on {when}: nothing can be approved under it"
    if trust.expires - now_s <= EXPIRES_SOON_S:
        left = _remaining(trust, now_s)
        return f"trust version {trust.version} expires {left}: its owners make the next one (ispcloud trust next)"
    return None


def signatures_text(signatures: Signatures) -> str:
    """Return how the signatures stand, one line for each root."""
    return "\n".join(f"  {line}" for line in _signatures(signatures))


def _remaining(trust: Trust, now_s: int) -> str:
    left_s = trust.expires - now_s
    return f"in {left_s // _DAY_S} days" if left_s >= 0 else f"{-left_s // _DAY_S} days ago"


def _signatures(signatures: Signatures) -> list[str]:
    lines = [_count("ROOT", signatures.own)]
    if signatures.previous is not None:
        lines.append(_count("ROOT of the version before", signatures.previous))
    return lines


def _count(label: str, count: Count) -> str:
    have = ", ".join(count.have) or "nobody"
    missing = f"{count.missing} missing of {', '.join(count.others) or 'nobody'}" if count.missing else "complete"
    return f"{label}  {count.need} must sign · signed: {have} · {missing}"


def _paragraph(label: str, lines: Iterator[str] | map[str]) -> list[str]:
    found = [f"  {line}" for line in lines]
    return [label, *found] if found else [f"{label}: none"]


def _keys(owned: tuple[PersonKey, ...]) -> str:
    return " ".join(f"{k.pub[:16]}…" if k.kind == ED25519 else f"({k.kind}, not counted)" for k in owned)


def _person(person: Person, trust: Trust) -> str:
    handles = {a.agent: a.handle for a in trust.agents}
    scope = ", ".join(neutralize(handles.get(s, s)) for s in person.scope) or "nowhere"
    sees = "sees subscribers" if person.sees_subscribers else "sees no subscribers"
    root = " · root key" if any(k.person == person.handle for k in trust.root.keys) else ""
    roles = ", ".join(r.value for r in person.roles)
    return f"{person.handle}  {roles} · agents: {scope} · {sees}{root} · {_keys(person.keys)}"


def _program(service: ServiceAccount, trust: Trust) -> str:
    by = runs(service.service, trust)
    who = (
        f"run by {by}, who approves nothing that it asks for"
        if by
        else "nobody is named who runs it: one more approves"
    )
    return f"{service.service}  {who} · {_keys(service.keys)}"


def agent_text(agent: TrustedAgent) -> str:
    """Return an agent on one line, with the words of its keys."""
    try:
        log_key = checkpoint.parse_vkey_untrusted(agent.log_key).public
    except MalformedError:
        return f"{agent.handle}  {agent.agent} · its log key is malformed"
    return f"{agent.handle}  {agent.agent} · {keys.fingerprint(bytes.fromhex(agent.plan_key), log_key)}"


def _quorum(trust: Trust) -> str:
    if not trust.quorum.n:
        return "WITNESSES (quorum 0: nothing needs them)"
    return f"WITNESSES ({trust.quorum.n} must confirm, {trust.quorum.non_cloud} of them not run by the cloud)"


def _witness(witness: Witness) -> str:
    return f"{witness.name}  run by {witness.operated_by.value} · {neutralize(' '.join(witness.vkeys))}"


def _policy_class(c: PolicyClass) -> str:
    who = " or ".join(r.value for r in c.roles)
    parts = [
        f"{c.risk_class.value:<9} {c.approvals} of {who}",
        "an owner among them" if c.owner_required else "",
        "must see the items" if c.needs_detail else "",
        f"at most {c.max_items}, {c.budget_per_hour}/h",
        f"within {c.max_ttl_s // 60} min",
        windows_text(c.windows),
        "local socket only" if c.channel.value == "local" else "",
        f"unknown requester: {c.unknown_requester.value}",
        f"program: {'not said, one-more' if c.service_requester is None else c.service_requester.value}",
    ]
    return " · ".join(p for p in parts if p)


def windows_text(windows: tuple[Window, ...]) -> str:
    """Return windows of the week as people write them: `Mon Tue Wed 09:00-16:00`."""
    hours: dict[tuple[int, int], list[str]] = {}
    for w in windows:
        day, start = divmod(w.start, 1440)
        hours.setdefault((start, w.end - day * 1440), []).append(_DAYS[day % 7])
    return ", ".join(f"{' '.join(days)} {_hour(start)}-{_hour(end)}" for (start, end), days in hours.items())


def _hour(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"
