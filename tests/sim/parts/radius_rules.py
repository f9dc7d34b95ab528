"""Judges lines by RADIUS. It imports nothing of the agent.

| rule | what must hold |
|---|---|
| `claim` | each state that an item came into was true at some instant between its evidence and its leaf |
| `unasked` | no session goes on of which an item says that no NAS was asked |
| `unproven` | no suspension is recorded alone over one that was not seen enforced, while a session is at large |
| `kicked` | no session was ended that began after the change and already had what it wants |
| `blind` | rows are written only where they read as the step had announced, and then read as it announced |
| `impatient` | no item ends, of which nothing was sent, because its database does not answer before its deadline |
| `lost` | a batch whose rows a failover forgot while it was at work says so at its end |
| `forgotten`, `let-in` | as in `tests.sim.parts.record_rules` |
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lab.truth import History, LineState
from tests.sim.judge import Evidence, Verdict
from tests.sim.parts.radius_logins import Logins
from tests.sim.parts.record_rules import claims_of, forgotten, is_rejected, let_in, text_of, wants_suspended
from tests.sim.witness import Deed, Move, OpenStep
from tests.year.claims import RECORDED, STAYS_REJECTED, ItemFact, Wanted, false_at_end

if TYPE_CHECKING:
    from tests.sim.machine import MachineClock

FRESH_S = 180.0
"""How old the evidence of a claim may be: the agent reads again for a minute, and waits 40 s for a session."""
LAST_S = 10.0
"""How long the last reading of a claim may take, with its leaf: a slow database takes seconds for each statement."""
CLOCKS_S = 60.0
"""How far the clocks of accounting and of the agent may be apart, by its word."""
CLAIMS = ("applied", "set-at-next-login", "set-not-enforced")


Rows = tuple[tuple[object, ...], ...]
"""Rows of a login: table, attribute or group, operator or priority, value."""
_TABLES = {"check": "radcheck", "reply": "radreply", "group": "radusergroup"}
NO_ANSWER = ("unreachable", "timeout", "target-away")
"""Reasons that say that a database did not answer."""
EDIT = "subscriber-edit"
"""A change of the list alone: it says nothing of the network."""
NO_ACCESS = (EDIT, "disconnect")
"""Changes that set nobody's access."""
FORGOTTEN = "rows that a failover forgot"
STANDS = ("applied", "set-at-next-login", "set-not-enforced")
"""States of an item whose rows are written."""
READ_S = 20.0
"""How long after its last item has ended a batch has read again what it set."""
UNSENT = ("planned", "waiting", "running")


@dataclass(frozen=True, slots=True)
class WrittenRows:
    """A change of a login's rows. `before`: what they were since its transaction began (`began`), at any instant."""

    deed: Deed
    login: str
    before: tuple[Rows, ...]
    after: Rows
    began: float


def judge(
    evidence: Evidence, history: History, logins: Logins, written: Iterable[WrittenRows], clock: MachineClock
) -> Iterable[Verdict]:
    """Return everything that must not be.

    Args:
        evidence: of the world.
        history: of each line.
        logins: of each service; what is about others is not judged here.
        written: the rows that were written.
        clock: of the agent's machine.
    """
    written = list(written)
    yield from _blind(written)
    for one in (one for one in written if one.deed.by):
        states = list(history.during(one.login, one.began, one.deed.at))
        # What others insert in the meantime a transaction of PostgreSQL neither sees nor conflicts with
        if not any(state.next.accepted for state in states[1:]):
            yield from let_in(one.deed.at, one.deed.subject, one.deed.open, states)
    yield from _impatient(evidence, logins)
    yield from _claims(evidence, history, logins)
    yield from _unproven(evidence, history, logins)
    yield from _kicked(evidence, history, logins, clock)

    shared = logins.shared()

    def now(service: str, suspended: bool) -> list[LineState] | None:
        at = evidence.ended_at
        if service not in logins or logins.changed(service):  # its last change may be one of another login's rows
            return None
        if service in shared:  # what somebody else wrote is noted for one of them
            return None
        return list(history.during(logins.now(service), at, at))

    yield from forgotten(evidence, now)


def _reads_as(rows: Rows, announced: Any) -> bool:
    """Tell whether rows are as a leaf has them: `TABLE:NAME` -> one value or several; of a secret only that it is."""
    fields = announced if isinstance(announced, dict) else {}
    found: dict[str, list[str]] = {}
    for table, name, one, other in rows:
        word = next(word for word, sql in _TABLES.items() if sql == table)
        found.setdefault(f"{word}:{name}", []).append(str(one) if word == "group" else f"{one} {other}")
    if found.keys() != fields.keys():
        return False
    return all(
        isinstance(v, dict) or sorted([v] if isinstance(v, str) else v) == sorted(found[k]) for k, v in fields.items()
    )


def _blind(written: Iterable[WrittenRows]) -> Iterable[Verdict]:
    for one in written:
        if not one.deed.by:
            continue
        announced = [w for step in one.deed.open if not step.effect for w in step.do]
        for write in (w for w in announced if w["address"].endswith(f"/user/{one.login}")):
            if not any(_reads_as(rows, write["before"]["value"]) for rows in one.before):
                said = f"rows were written that read otherwise than announced: {one.before[-1]}"
                yield Verdict("blind", one.deed.at, one.deed.subject, said, str(write["before"]["value"]))
            elif len(one.before) == 1 and not _reads_as(one.after, write["after"]):
                said = f"rows were written otherwise than announced: {one.after}"
                yield Verdict("blind", one.deed.at, one.deed.subject, said, str(write["after"]))


def _impatient(e: Evidence, logins: Logins) -> Iterable[Verdict]:
    """No outage here is as long as a change may take."""
    for move in e.seen.moves:
        if move.service not in logins or move.before not in UNSENT or move.state not in ("not-applied", "cancelled"):
            continue
        acted = any(step.plan == move.plan and step.item == move.item for deed in e.acted for step in deed.open)
        if move.reason in NO_ANSWER and not acted:
            yield Verdict(
                "impatient", move.at, move.service, f"{move.state}: {move.reason}: {move.detail}", leaf=move.seq
            )


def lost(e: Evidence, written: Sequence[WrittenRows], troubles: Sequence[tuple[float, float]]) -> Iterable[Verdict]:
    """A batch that is still at work when a failover forgets its rows says so at its end, where it can read."""
    batches = defaultdict[tuple[str, str], list[Move]](list)
    for move in e.seen.moves:
        batches[move.plan, move.machine].append(move)
    for one in (w for w in written if w.deed.what == FORGOTTEN):
        at, service = one.deed.at, one.deed.subject
        for (plan, _), moves in batches.items():
            over_at = _over_at(moves)
            item = [m for m in moves if m.service == service and m.at <= at]
            if over_at is None or over_at < at + 1 or not item or item[-1].state not in STANDS:
                continue
            standing = {m.item for m in moves if m.at <= over_at and m.state in STANDS}
            ours = [w for w in written if w.deed.subject == service and w.deed.at < at]
            by_plan = bool(ours) and any(step.plan == plan for step in ours[-1].deed.open)
            again = any(w.deed.subject == service and at < w.deed.at <= over_at + READ_S for w in written)
            trouble = any(begins <= over_at + READ_S and ends >= over_at - READ_S for begins, ends in troubles)
            if len(standing) < 2 or not by_plan or again or trouble:
                continue
            later = [m for m in moves if m.service == service and at < m.at <= over_at + READ_S]
            if all(m.state in STANDS for m in later):
                said = f"{item[-1].state}, and a failover had forgotten its rows at {at:.1f}, before its batch ended"
                yield Verdict("lost", over_at, service, said, leaf=item[-1].seq)


def _over_at(moves: Sequence[Move]) -> float | None:
    """Return when the last item of a change first was in a final state; None: never."""
    left: dict[int, bool] = {}
    for move in moves:
        if move.state in UNSENT or move.state == "unknown":
            left.setdefault(move.item, True)
        elif left.get(move.item):
            left[move.item] = False
            if not any(left.values()):
                return move.at
    return None


def _claims(e: Evidence, history: History, logins: Logins) -> Iterable[Verdict]:
    for move in claims_of(e):
        asked = e.asked.get(move.plan)
        if move.state not in CLAIMS or asked is None or move.service not in logins or asked.action == EDIT:
            continue
        login = logins.at(move.service, move.at)
        since = max(move.before_at, move.at - FRESH_S)
        run = list(history.during(login, since, move.at))
        told_at = max((d.at for d in e.seen.refused if since <= d.at <= move.at and _is_of(d, move)), default=move.at)
        last = list(history.during(login, min(move.at - LAST_S, told_at), move.at))
        reason = STAYS_REJECTED if is_rejected(move) else move.reason
        fact = ItemFact(move.state, reason, move.detail)
        if false := false_at_end(fact, Wanted(move.suspended), run, last):
            said = f"{false} ({move.reason}: {move.detail})"
            yield Verdict("claim", move.at, move.service, said, text_of(run), move.seq)
        now = list(history.during(login, move.at, move.at))
        if "was not asked" in move.detail and all(state.sessions for state in now) and not _asked_a_nas(e, move):
            said = "a session goes on of which no NAS was asked"
            yield Verdict("unasked", move.at, move.service, said, text_of(now))


def _is_of(deed: Deed, move: Move) -> bool:
    """Tell whether a step of the item that moved was open when something was done."""
    return any((step.plan, step.item) == (move.plan, move.item) for step in deed.open)


def _unproven(e: Evidence, history: History, logins: Logins) -> Iterable[Verdict]:
    """Judge suspensions that are only recorded. What came to light after their preview is another matter."""
    last: dict[tuple[str, str], Move] = {}
    for move in claims_of(e):
        asked, of = e.asked.get(move.plan), (move.machine, move.service)
        if move.state not in CLAIMS or asked is None or move.service not in logins or asked.action in NO_ACCESS:
            continue
        if move.reason != RECORDED:
            last[of] = move
            continue
        before = last.get(of)
        if asked.action != "suspend" or before is None or before.at > move.before_at:
            continue
        now = list(history.during(logins.at(move.service, move.at), move.at, move.at))
        at_large = now and not any(Wanted(suspended=True).sessions_fit(state) for state in now)
        if before.state == "set-not-enforced" and before.suspended and at_large:
            said = f"recorded alone, and a session is at large of which it was said: {before.detail}"
            yield Verdict("unproven", move.at, move.service, said, text_of(now), move.seq)


def _asked_a_nas(e: Evidence, move: Move) -> bool:
    sent = (deed for deed in e.seen.sent if deed.by and deed.subject == move.service)
    return any(step.plan == move.plan for deed in sent for step in deed.open)


def _kicked(e: Evidence, history: History, logins: Logins, clock: MachineClock) -> Iterable[Verdict]:
    """A session that began after the rows were written for a change, and has what that wants, is not ended by it."""
    for deed in e.seen.ended:
        step = next((s for s in deed.open if s.effect), None)
        asked = e.asked.get(step.plan) if step is not None else None
        if step is None or asked is None or asked.action not in ("suspend", "restore") or deed.subject not in logins:
            continue
        wrote = [w.at for w in e.seen.writes if w.by and w.subject == deed.subject and w.at <= deed.at]
        before = list(history.during(logins.at(deed.subject, deed.at), deed.at - 0.05, deed.at))
        sessions = {s.session_id: s for state in before for s in state.sessions}
        session = sessions.get(deed.session)
        if session is None or not wrote or session.began <= wrote[-1]:
            continue
        suspended = wants_suspended(e, asked.action, step, deed)
        if suspended is False and min(clock.wrong_during(_planned_at(e, step), deed.at)) > CLOCKS_S:
            continue  # by that clock the session began before the change, and nothing else tells when
        if session.walled is suspended:
            age_s = deed.at - session.began
            what = f"session {deed.session} was ended although it was as wanted: it began {age_s:.2f} s before"
            yield Verdict("kicked", deed.at, deed.subject, what)


def _planned_at(e: Evidence, step: OpenStep) -> float:
    return next((m.at for m in e.seen.moves if (m.plan, m.item) == (step.plan, step.item)), step.about_at)
