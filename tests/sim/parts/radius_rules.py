"""Judges lines by RADIUS. It imports nothing of the agent.

| rule | what must hold |
|---|---|
| `claim` | each state that an item came into was true at some instant between its evidence and its leaf |
| `without-effect` | an item that is said to be applied, and had something to write, was written for |
| `kicked` | no session was ended that began after the change and already had what it wants |
| `forgotten` | the reasons on record are those in force, where nobody else wrote the rows since |
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from lab.truth import History, LineState
from tests.sim.judge import Evidence, Verdict
from tests.sim.witness import Move
from tests.year.claims import STAYS_REJECTED, ItemFact, Wanted, false_at_end, opened

FRESH_S = 180.0
"""How old the evidence of a claim may be: the agent reads again for a minute, and waits 40 s for a session."""
LAST_S = 1.0
"""How much of the time before a claim counts as its last moment."""
REJECTED = "the login stays rejected"
CLAIMS = ("applied", "set-at-next-login", "set-not-enforced")


def judge(evidence: Evidence, history: History, logins: Mapping[str, str]) -> Iterable[Verdict]:
    """Return everything that must not be. `logins`: of each service; what is about others is not judged here."""
    yield from _claims(evidence, history, logins)
    yield from _kicked(evidence, history, logins)
    yield from _without_effect(evidence, logins)
    yield from _forgotten(evidence, history, logins)


def _text(states: Iterable[LineState]) -> str:
    return " | ".join(dict.fromkeys(state.text() for state in states)) or "nothing known"


def _claims(e: Evidence, history: History, logins: Mapping[str, str]) -> Iterable[Verdict]:
    for move in e.seen.moves:
        asked = e.asked.get(move.plan)
        if move.state not in CLAIMS or asked is None or move.service not in logins:
            continue
        login = logins[move.service]
        since = max(move.before_at, move.at - FRESH_S)
        run = list(history.during(login, since, move.at))
        last = list(history.during(login, move.at - LAST_S, move.at))
        # A restore that only takes a reason off the record says in words alone that staff reject the login
        reason = STAYS_REJECTED if move.detail.startswith(REJECTED) else move.reason
        fact = ItemFact(move.state, reason, move.detail)
        if false := false_at_end(fact, Wanted(move.suspended), run, last):
            said = f"{false} ({move.reason}: {move.detail})"
            yield Verdict("claim", move.at, move.service, said, _text(run), move.seq)
        before = list(history.during(login, since - 1e-9, since))
        if asked.action == "suspend" and last and before and opened(run, last[0]):
            said = "a suspension let somebody in who was rejected"
            yield Verdict("claim", move.at, move.service, said, _text(run), move.seq)


def _kicked(e: Evidence, history: History, logins: Mapping[str, str]) -> Iterable[Verdict]:
    """A session that began after the rows were written for a change, and has what that wants, is not ended by it."""
    for deed in e.seen.ended:
        step = next((s for s in deed.open if s.effect), None)
        asked = e.asked.get(step.plan) if step is not None else None
        if step is None or asked is None or asked.action not in ("suspend", "restore") or deed.subject not in logins:
            continue
        wrote = [w.at for w in e.seen.writes if w.by and w.subject == deed.subject and w.at <= deed.at]
        before = list(history.during(logins[deed.subject], deed.at - 0.05, deed.at))
        sessions = {s.session_id: s for state in before for s in state.sessions}
        session = sessions.get(deed.session)
        if session is None or not wrote or session.began <= wrote[-1]:
            continue
        if session.walled is (asked.action == "suspend"):
            age_s = deed.at - session.began
            what = f"session {deed.session} was ended although it was as wanted: it began {age_s:.2f} s before"
            yield Verdict("kicked", deed.at, deed.subject, what)


def _without_effect(e: Evidence, logins: Mapping[str, str]) -> Iterable[Verdict]:
    """An item that ran and is applied was written for, or its rows were as wanted without it."""
    for move in e.seen.moves:
        asked = e.asked.get(move.plan)
        if move.state != "applied" or asked is None or asked.action not in ("suspend", "restore"):
            continue
        if move.service not in logins:
            continue
        deeds = [d for d in (*e.seen.writes, *e.seen.sent) if d.subject == move.service and d.at <= move.at]
        announced = any(step.plan == move.plan for deed in deeds for step in deed.open)
        acted = any(deed.by for deed in deeds)
        if announced and not acted:
            yield Verdict("without-effect", move.at, move.service, "applied, and nothing was ever done", leaf=move.seq)


def _forgotten(e: Evidence, history: History, logins: Mapping[str, str]) -> Iterable[Verdict]:
    last: dict[str, Move] = {}
    for move in e.seen.moves:
        last[move.service] = move
    for service, suspended in e.recorded.items():
        if service not in logins:
            continue
        login = logins[service]
        final, wrote = last.get(service), [w for w in e.seen.writes if w.subject == service]
        foreign = [w.at for w in wrote if not w.by]
        if final is None or final.state not in ("applied", "set-at-next-login"):
            continue
        rejected = final.reason == STAYS_REJECTED or final.detail.startswith(REJECTED)
        if rejected or (foreign and foreign[-1] > final.before_at):
            continue
        if any(lost.since < w.at < lost.found_at for w in wrote for lost in e.lost):
            continue  # the record is older than the rows; people compare both with `ispagent drift`
        now = list(history.during(login, e.ended_at, e.ended_at))
        if not any(Wanted(suspended).next_fits(state) for state in now):
            reads = "suspended" if suspended else "active"
            said = f"on record as {reads}, and its next login is not"
            yield Verdict("forgotten", e.ended_at, service, said, _text(now))
