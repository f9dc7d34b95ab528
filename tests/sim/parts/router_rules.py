"""Judges subscribers of routers, by the routers' own record and packet view. It imports nothing of the agent.

| rule | what must hold |
|---|---|
| `claim` | each state that an item came into was true at some instant between its evidence and its leaf |
| `already` | who is said to be suspended already was so at some instant while it was asked |
| `touched` | a command of the agent changes no row but those of the subscriber that its step names |
| `unmeant` | a row has after a write what the step says |
| `overwrote` | a row had before a write what the step says, unless somebody changed it after it was read last |
| `kicked` | no session was ended that began some seconds after the change was proven and had what it wants |
| `spared` | of a session that is said to carry on since before a write, the end was asked for |
| `denied` | where nothing is said to have been changed, nothing stays changed |
| `forgotten`, `let-in` | as in `tests.sim.parts.record_rules` |
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from lab.truth import LineState
from tests.sim.judge import Asked, Evidence, Verdict
from tests.sim.parts.record_rules import claims_of, forgotten, is_rejected, let_in, text_of, wants_suspended
from tests.sim.parts.router_access import ACTIVE, LOGGED_IN, SECRETS, TARIFFS, bits
from tests.sim.witness import Deed, Move
from tests.year.claims import CARRIES_ON, STAYS_REJECTED, ItemFact, Wanted, false_already, false_at_end

if TYPE_CHECKING:
    from tests.sim.parts.routers import Line, RouterPart, Written

FRESH_S: Final = 180.0
"""How old the evidence of a claim may be: the agent reads again for a minute, and waits 40 s for a session."""
LAST_S: Final = 10.0
"""How long the last reading of a claim may take, with its leaf: a router that is far takes seconds for each answer."""
ALIKE_S: Final = 6.0
"""Within how many seconds of each other two sessions begin that the agent cannot tell apart: 5 s, and a rounded one."""
UPTIME_S: Final = 7.0
"""Within 5 s after its writes the agent does not ask when a session began. RouterOS tells an age in whole seconds, and
the agent has the moments of its writes and of its question in whole seconds too.
"""
READ_S: Final = 15.0
"""How long before a write its row may have been read: an answer may take its time."""
LOOKED_UP_S: Final = 130.0
"""How long before an item begins its sessions may have been looked up: two answers of its store that take a minute."""
CLAIMS: Final = ("applied", "set-at-next-login", "set-not-enforced")
DENIES: Final = ("not-applied", "stale", "skipped", "cancelled", "expired", "superseded", "reverted")
UNANSWERED: Final = ("unreachable", "timeout", "hung-up", "cut", "lost-")
"""How reasons begin that say that the router did not answer when the end of a session was asked for, or looked up."""


def judge(evidence: Evidence, part: RouterPart) -> Iterable[Verdict]:
    """Return everything that must not be."""
    yield from _claims(evidence, part)
    yield from _already(part)
    yield from _writes(evidence, part)
    yield from _kicked(evidence, part)
    yield from _spared(evidence, part)
    yield from _denied(evidence, part)

    def now(service: str, suspended: bool) -> list[LineState] | None:
        line, at = part.lines.get(service), evidence.ended_at
        return None if line is None else list(line.during(at, at, suspended=suspended))

    yield from forgotten(evidence, now)


# --- claims -----------------------------------------------------------------------------------------------------------


def _rates(e: Evidence, part: RouterPart, line: Line, asked: Asked) -> frozenset[str]:
    """Return the rates of which a service must have one after a change; empty: any."""
    if asked.plan in part.tariffs:
        return frozenset({line.access.rate(part.tariffs[asked.plan])})
    if any(not w.by and w.subject == line.service for w in e.seen.writes):
        return frozenset()
    plans = [
        part.tariffs[plan] for plan, one in e.asked.items() if line.service in one.subjects and plan in part.tariffs
    ]
    return frozenset(line.access.rate(tariff) for tariff in (TARIFFS[0], *plans))


def _claims(e: Evidence, part: RouterPart) -> Iterable[Verdict]:
    began: dict[tuple[str, str, int], float] = {}
    for move in e.seen.moves:
        asked, line = e.asked.get(move.plan), part.lines.get(move.service)
        if move.state == "running":
            began.setdefault((move.machine, move.plan, move.item), move.at)
        if move.state not in CLAIMS or asked is None or line is None:
            continue
        since = max(move.before_at, move.at - FRESH_S)
        run = list(line.during(since, move.at, suspended=move.suspended))
        last = list(line.during(move.at - LAST_S, move.at, suspended=move.suspended))
        if asked.action == "disconnect":
            yield from _disconnected(move, line, began.get((move.machine, move.plan, move.item), since), last)
            continue
        reason = STAYS_REJECTED if is_rejected(move) else move.reason
        wanted = Wanted(move.suspended, _rates(e, part, line, asked))
        if false := false_at_end(ItemFact(move.state, reason, move.detail), wanted, run, last):
            old = began.get((move.machine, move.plan, move.item), since)
            known = _mistaken(move, run) or _untold(move, asked, last, old)
            known = known or _of_another_row(part, move, asked, wanted, last)
            said = f"{false} ({move.reason}: {move.detail})"
            yield Verdict("claim", move.at, move.service, said, text_of(run), move.seq, known)


def _already(part: RouterPart) -> Iterable[Verdict]:
    for told in part.already:
        run = list(part.lines[told.service].during(told.asked_at, told.at, suspended=True))
        if false := false_already("suspend", Wanted(suspended=True), run, told.words):
            yield Verdict("already", told.at, told.service, f"{false} ({told.words})", text_of(run))


def _mistaken(move: Move, run: Iterable[LineState]) -> str:
    """Return that a session may be taken for the one before it: a hotspot's sessions have no id, and two of a user at
    one address are told apart by their beginnings, which are known to within seconds.
    """
    begun = sorted({s.began for state in run for s in state.sessions if s.began})
    near = any(two - one <= ALIKE_S for one, two in pairwise(begun))
    return f"two sessions began within {ALIKE_S:g} s" if near and move.reason == "still-online" else ""


def _untold(move: Move, asked: Asked, last: Iterable[LineState], began: float) -> str:
    """Return that no list of sessions tells a rate: one from before a tariff was set again may have it already.

    Args:
        move: into what the item came.
        asked: its change.
        last: the states then.
        began: when the item did.
    """
    rate = move.state == "set-not-enforced" and not move.suspended and asked.action in ("set-plan", "revert")
    old = any(s.began < began for state in last for s in state.sessions)
    return "no router tells a session's rate" if rate and old else ""


def _of_another_row(part: RouterPart, move: Move, asked: Asked, wanted: Wanted, last: list[LineState]) -> str:
    """Return that sessions have their rate from a row that others set otherwise and back, since the item's write.

    Such a session is new, no list tells its rate, and the row reads as the item left it.
    """
    wrote = _written_by(part, move.machine, move.plan, move.item)
    wrong = [s for state in last for s in state.sessions if s.walled or s.rate not in wanted.rates]
    if move.state != "applied" or asked.action != "set-plan" or not wrote or not wrong:
        return ""
    others = [at for at in _by_others(part, wrote[-1]) if wrote[-1].at < at <= move.at]
    of_theirs = len(others) > 1 and all(not s.walled and others[0] <= s.began <= others[-1] for s in wrong)
    back = any(map(wanted.next_fits, last))
    return "no router tells a session's rate, and its row was another one meanwhile" if of_theirs and back else ""


def _disconnected(move: Move, line: Line, began: float, last: list[LineState]) -> Iterable[Verdict]:
    """A session that is said to have been ended was not there at some instant.

    Nobody sees when it was looked up: one that began shortly before the item is not known to be the one.
    """
    if move.state != "applied" or not line.access.logs_in:
        return
    first = [_ids(state) for state in line.during(began - LOOKED_UP_S, began, suspended=True)]
    if first and all(ids & _ids(state) for state in last for ids in first):
        yield Verdict("claim", move.at, move.service, "disconnected: the session carries on", text_of(last), move.seq)


def _ids(state: LineState) -> set[str]:
    return {s.session_id for s in state.sessions}


# --- rows -------------------------------------------------------------------------------------------------------------


def _writes(e: Evidence, part: RouterPart) -> Iterable[Verdict]:
    for deed in e.acted:
        if deed.subject.partition(" ")[0] in part.routers:
            yield Verdict("touched", deed.at, deed.subject, f"{deed.what}: a row that is no subscriber's of ours")
    for one in part.written:
        if (line := part.lines.get(one.service)) is not None and not any(at == one.at for at in _by_others(part, one)):
            states = list(line.during(one.at - 1e-9, one.at, suspended=True))
            yield from let_in(one.at, one.service, one.open, states)
        step = next((s for s in one.open if not s.effect), None)
        if step is None:
            continue  # unannounced, which is told already
        meant = [w for w in step.do if _is_about(w["address"], one)]
        if len(meant) != 1:
            yield Verdict("touched", one.at, one.service, f"{one.change.path}: not the row of its step: {step.do}")
            continue
        yield from _as_meant(part, one, meant[0])


def _is_about(address: str, one: Written) -> bool:
    """Tell whether a step's address is of the row: its router and its key."""
    props = one.change.after or one.change.before
    keys = [props[name] for name in ("name", "mac-address", "address") if props.get(name)]
    return address.startswith(f"routeros/{one.router}/") and any(f"/{key}" in address for key in keys)


def _as_meant(part: RouterPart, one: Written, write: Any) -> Iterable[Verdict]:
    before, after = write["before"]["value"], write["after"]
    changed = sorted(n for n in {*(before or {}), *(after or {})} if (before or {}).get(n) != (after or {}).get(n))
    shown = part.routers[one.router].store.model(one.change.path).shown
    for what, props, said in (("before", one.change.before, before), ("after", one.change.after, after)):
        if not props and not said:
            continue
        wrong = [n for n in changed if _plain(props.get(n, shown.get(n))) != _plain((said or {}).get(n))]
        if bool(props) is bool(said) and not wrong:
            continue
        told = f"{one.change.path} {what} the write: {_few(props, wrong)}, and the step says {_few(said or {}, wrong)}"
        if what == "after":
            yield Verdict("unmeant", one.at, one.service, told)
            continue
        raced = any(one.read_at <= at <= one.at for at in _by_others(part, one)) and one.at - one.read_at < READ_S
        if not raced:
            yield Verdict("overwrote", one.at, one.service, told, f"read last {one.at - one.read_at:.3f} s before")


def _by_others(part: RouterPart, one: Written) -> list[float]:
    """Return when others changed the row of a write, at any time."""
    changes = part.changed.get((one.router, one.change.path, one.change.row.id), ())
    return [at for at, machine in changes if machine != one.machine]


def _plain(text: str | None) -> str:
    """Return a property with its absence and "no" alike, and a rate however it is written."""
    return (
        ""
        if text in (None, "false", "no")
        else bits(text)
        if re.fullmatch(r"[0-9]+[kMG]?/[0-9]+[kMG]?", text)
        else text
    )


def _few(props: Any, names: list[str]) -> str:
    return ", ".join(f"{name}={props.get(name, '')}" for name in names) or ("a row" if props else "no row")


def _kicked(e: Evidence, part: RouterPart) -> Iterable[Verdict]:
    for deed in e.seen.ended:
        line = part.lines.get(deed.subject)
        step = next((s for s in deed.open if s.effect), None)
        asked = e.asked.get(step.plan) if step is not None else None
        if line is None or step is None or asked is None or not deed.by or not _of_session(deed):
            continue
        if asked.action not in ("suspend", "restore"):
            continue
        wrote = [w.at for w in part.written if w.service == deed.subject and w.at <= deed.at]
        suspended = wants_suspended(e, asked.action, step, deed)
        if suspended is None:
            continue
        before = list(line.during(deed.at - 0.05, deed.at, suspended=suspended))
        sessions = {s.session_id: s for state in before for s in state.sessions}
        session = sessions.get(deed.session)
        if session is None or not wrote or session.began < max(wrote[-1], step.proven_at) + UPTIME_S:
            continue
        if session.walled is suspended:
            age_s = deed.at - session.began
            what = f"session {deed.session} was ended although it was as wanted: it began {age_s:.2f} s before"
            yield Verdict("kicked", deed.at, deed.subject, what)


def _of_session(deed: Deed) -> bool:
    return deed.what.endswith((f" {ACTIVE}", f" {LOGGED_IN}"))


def _written_by(part: RouterPart, machine: str, plan: str, item: int) -> list[Written]:
    """Return the rows that the agent of a machine changed by the writes of an item."""
    mine = (w for w in part.written if w.machine == machine)
    return [w for w in mine if any((s.plan, s.item) == (plan, item) and not s.effect for s in w.open)]


def _spared(e: Evidence, part: RouterPart) -> Iterable[Verdict]:
    """Nobody may say that a session carries on without having tried to end it."""
    for move in claims_of(e):
        line, asked = part.lines.get(move.service), e.asked.get(move.plan)
        if line is None or asked is None or move.state != "set-not-enforced" or not line.access.logs_in:
            continue
        if not any(words in move.detail for words in CARRIES_ON) or move.reason.startswith(UNANSWERED):
            continue  # one that was stopped before says only why
        wrote = [w.at for w in _written_by(part, move.machine, move.plan, move.item)]
        router, menu = part.routers[line.access.name], {SECRETS: ACTIVE}.get(line.access.own, LOGGED_IN)
        looked = bool(wrote) and router.came(f"{menu}/print", wrote[-1], move.at)
        if not looked or router.came(f"{menu}/remove", wrote[0], move.at):
            continue
        states = line.during(move.at, move.at, suspended=move.suspended)
        if old := [s.session_id for state in states for s in state.sessions if s.began < wrote[0]]:
            said = f"session {', '.join(old)} from before the write carries on, and nobody asked for its end"
            yield Verdict("spared", move.at, move.service, said, leaf=move.seq)


# --- what is said of the end ------------------------------------------------------------------------------------------


def _denied(e: Evidence, part: RouterPart) -> Iterable[Verdict]:
    last: dict[tuple[str, str, int], Move] = {}
    for move in e.seen.moves:
        if move.service in part.lines:
            last[move.machine, move.plan, move.item] = move
    for (machine, plan, item), move in last.items():
        if move.state not in DENIES:
            continue
        wrote = [w for w in _written_by(part, machine, plan, item) if not e.forgot(w.at, move.at)]
        by_row: dict[tuple[str, str], list[Written]] = {}
        for one in wrote:
            by_row.setdefault((one.change.path, one.change.row.id), []).append(one)
        for rows in by_row.values():
            others = any(rows[-1].at < at <= move.at for at in _by_others(part, rows[-1]))
            if rows[0].change.before != rows[-1].change.after and move.at >= rows[-1].at and not others:
                said = f"{move.state} ({move.reason}: {move.detail}), and {rows[0].change.path} stays changed by it"
                yield Verdict("denied", move.at, move.service, said, leaf=move.seq)
