"""Judges a world that is over, from what the witness saw and what people did. It imports nothing of the agent.

| rule | what must hold |
|---|---|
| `claim` | each state that an item came into was true at some instant between its evidence and its leaf |
| `unannounced` | nothing was written to a line, nor sent to a NAS, that the log had not durably announced |
| `without-effect` | an item that is said to be applied, and had something to write, was written for |
| `twice` | a line's rows are written, and each session ended, at most once for an announced step |
| `kicked` | no session was ended that began after the change and already had what it wants |
| `stranger` | lines that no approved change names are not touched |
| `unapproved` | nothing is done for a change before enough people approved it |
| `cancelled` | nothing is announced of a change after its cancel was taken |
| `crashed` | no change is given up for a fault of the agent's own |
| `restless` | some time after the last fault, every change is over and nothing is held |
| `forgotten` | the reasons on record are those in force, where nobody else wrote the rows since |
| `log` | the log adds up |
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from lab.truth import History, LineState
from tests.sim.witness import Move, Seen
from tests.year.claims import STAYS_REJECTED, ItemFact, Wanted, false_at_end, opened

FRESH_S = 180.0
"""How old the evidence of a claim may be: the agent reads again for a minute, and waits 40 s for a session."""
LAST_S = 1.0
"""How much of the time before a claim counts as its last moment."""
REJECTED = "the login stays rejected"
CLAIMS = ("applied", "set-at-next-login", "set-not-enforced")

OLD_SESSION = "a restore does not count a session from before its preview as active, although it never was walled"
"""Seed 1002: after a suspension that a NAS acknowledged without effect, its restore says that a session carries on."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Something that must not be. `leaf`: the number of the leaf that claims it; 0: none does."""

    rule: str
    at: float
    service: str
    what: str
    truth: str = ""
    leaf: int = 0
    known: str = ""
    """Why it is told and counts as no failure: a weakness that is known, until it is mended or wanted."""

    def text(self) -> str:
        """Return it for people."""
        leaf = f" (leaf {self.leaf})" if self.leaf else ""
        return (
            f"{self.rule} at {self.at:.4f}: {self.service}: {self.what}{leaf}{'; ' if self.truth else ''}{self.truth}"
        )


@dataclass
class Asked:
    """A change that people asked for. `approved_at`: when each of them handed in an approval that was taken."""

    plan: str
    action: str
    services: frozenset[str]
    need: int
    approved_at: list[float] = field(default_factory=list)
    cancelled_s: float = float("inf")
    """When a cancel was taken, unix seconds: nothing is announced after it."""


@dataclass
class Evidence:
    """What a judgement rests on. `logins`: of each service; `foreign`: when somebody else did something to a line."""

    seen: Seen
    history: History
    logins: Mapping[str, str]
    asked: Mapping[str, Asked]
    held: Sequence[str]
    open_changes: Sequence[str]
    recorded: Mapping[str, bool]
    log_says: str
    ended_at: float


def judge(evidence: Evidence) -> list[Verdict]:
    """Return everything that must not be, in the order of time."""
    found = [
        *_claims(evidence),
        *_unannounced(evidence),
        *_approvals(evidence),
        *_twice(evidence),
        *_kicked(evidence),
        *_without_effect(evidence),
        *_crashed(evidence),
        *_rest(evidence),
    ]
    return sorted(found, key=lambda v: v.at)


def _text(states: Iterable[LineState]) -> str:
    return " | ".join(dict.fromkeys(state.text() for state in states)) or "nothing known"


def _claims(e: Evidence) -> Iterable[Verdict]:
    for move in e.seen.moves:
        asked = e.asked.get(move.plan)
        if move.state not in CLAIMS or asked is None:
            continue
        login = e.logins[move.service]
        since = max(move.before_at, move.at - FRESH_S)
        run = list(e.history.during(login, since, move.at))
        last = list(e.history.during(login, move.at - LAST_S, move.at))
        # A restore that only takes a reason off the record says in words alone that staff reject the login
        reason = STAYS_REJECTED if move.detail.startswith(REJECTED) else move.reason
        fact = ItemFact(move.state, reason, move.detail)
        if false := false_at_end(fact, Wanted(move.suspended), run, last):
            said = f"{false} ({move.reason}: {move.detail})"
            known = OLD_SESSION if asked.action == "restore" and false.startswith("set, not enforced") else ""
            yield Verdict("claim", move.at, move.service, said, _text(run), move.seq, known)
        before = list(e.history.during(login, since - 1e-9, since))
        if asked.action == "suspend" and last and before and opened(run, last[0]):
            said = "a suspension let somebody in who was rejected"
            yield Verdict("claim", move.at, move.service, said, _text(run), move.seq)


def _unannounced(e: Evidence) -> Iterable[Verdict]:
    services = {login: service for service, login in e.logins.items()}
    for deed in (*(w for w in e.seen.writes if w.by), *e.seen.sent):
        effect = deed.what == "request"
        if not any(step.effect is effect for step in deed.open):
            kind = "request to a NAS" if effect else "write of rows"
            said = f"a {kind} by {deed.by} that no durable leaf announces"
            yield Verdict("unannounced", deed.at, services[deed.login], said)


def _approvals(e: Evidence) -> Iterable[Verdict]:
    services = {login: service for service, login in e.logins.items()}
    for deed in (*(w for w in e.seen.writes if w.by), *e.seen.sent):
        service = services[deed.login]
        plans = {step.plan for step in deed.open} & e.asked.keys()
        named = [e.asked[plan] for plan in plans if service in e.asked[plan].services]
        if deed.open and not named:
            yield Verdict("stranger", deed.at, service, f"{deed.what} by {deed.by} for no change that names it")
        for step in deed.open:
            if step.plan in plans and step.about_s > e.asked[step.plan].cancelled_s:
                yield Verdict(
                    "cancelled", deed.at, service, f"{deed.what} of {step.plan[:6]}, announced after its cancel"
                )
        for asked in named:
            if sum(at <= deed.at for at in asked.approved_at) < asked.need:
                yield Verdict("unapproved", deed.at, service, f"{deed.what} of {asked.plan[:6]} before it was approved")


def _twice(e: Evidence) -> Iterable[Verdict]:
    services = {login: service for service, login in e.logins.items()}
    for deeds, what in (([w for w in e.seen.writes if w.by], "rows were written"), (e.seen.ended, "session was ended")):
        done: Counter[tuple[str, ...]] = Counter()
        for deed in deeds:
            step = next((s for s in deed.open if s.effect is (what != "rows were written")), None)
            if step is None:
                continue
            key = (deed.login, step.plan, str(step.item), str(step.n), str(step.attempt), deed.session)
            done[key] += 1
            if done[key] == 2:
                said = f"{what} twice for one announced step {deed.session}"
                yield Verdict("twice", deed.at, services[deed.login], said)


def _kicked(e: Evidence) -> Iterable[Verdict]:
    """A session that began after the rows were written for a change, and has what that wants, is not ended by it."""
    services = {login: service for service, login in e.logins.items()}
    for deed in e.seen.ended:
        step = next((s for s in deed.open if s.effect), None)
        asked = e.asked.get(step.plan) if step is not None else None
        if step is None or asked is None or asked.action not in ("suspend", "restore"):
            continue
        wrote = [w.at for w in e.seen.writes if w.by and w.login == deed.login and w.at <= deed.at]
        before = list(e.history.during(deed.login, deed.at - 0.05, deed.at))
        sessions = {s.session_id: s for state in before for s in state.sessions}
        session = sessions.get(deed.session)
        if session is None or not wrote or session.began <= wrote[-1]:
            continue
        if session.walled is (asked.action == "suspend"):
            age_s = deed.at - session.began
            what = f"session {deed.session} was ended although it was as wanted: it began {age_s:.2f} s before"
            yield Verdict("kicked", deed.at, services[deed.login], what)


def _without_effect(e: Evidence) -> Iterable[Verdict]:
    """An item that ran and is applied was written for, or its rows were as wanted without it."""
    for move in e.seen.moves:
        asked = e.asked.get(move.plan)
        if move.state != "applied" or asked is None or asked.action not in ("suspend", "restore"):
            continue
        login = e.logins[move.service]
        deeds = [d for d in (*e.seen.writes, *e.seen.sent) if d.login == login and d.at <= move.at]
        announced = any(step.plan == move.plan for deed in deeds for step in deed.open)
        acted = any(deed.by for deed in deeds)
        if announced and not acted:
            yield Verdict("without-effect", move.at, move.service, "applied, and nothing was ever done", leaf=move.seq)


def _crashed(e: Evidence) -> Iterable[Verdict]:
    for move in e.seen.moves:
        if move.reason == "given-up":
            yield Verdict("crashed", move.at, move.service, f"{move.state}: {move.detail}", leaf=move.seq)


def _rest(e: Evidence) -> Iterable[Verdict]:
    for change in e.open_changes:
        yield Verdict("restless", e.ended_at, "", f"{change} is not over")
    for address in e.held:
        yield Verdict("restless", e.ended_at, "", f"{address} is still held")
    if e.log_says:
        yield Verdict("log", e.ended_at, "", e.log_says)
    last: dict[str, Move] = {}
    for move in e.seen.moves:
        last[move.service] = move
    for service, suspended in e.recorded.items():
        login = e.logins[service]
        final, wrote = last.get(service), [w for w in e.seen.writes if w.login == login]
        foreign = [w.at for w in wrote if not w.by]
        if final is None or final.state not in ("applied", "set-at-next-login"):
            continue
        rejected = final.reason == STAYS_REJECTED or final.detail.startswith(REJECTED)
        if rejected or (foreign and foreign[-1] > final.before_at):
            continue
        now = list(e.history.during(login, e.ended_at, e.ended_at))
        if not any(Wanted(suspended).next_fits(state) for state in now):
            reads = "suspended" if suspended else "active"
            said = f"on record as {reads}, and its next login is not"
            yield Verdict("forgotten", e.ended_at, service, said, _text(now))
