"""Judges the reasons that are on record, for lines of RADIUS and of routers alike. It imports nothing of the agent.

| rule | what must hold |
|---|---|
| `forgotten` | the reasons on record are those in force, where nobody else wrote the rows since, a copy neither |
| `let-in` | no write of a suspension lets somebody in who was rejected just before |
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from lab.truth import LineState
from tests.sim.judge import Evidence, Verdict
from tests.sim.witness import ORIGINAL, Deed, Move, OpenStep, machine_of
from tests.year.claims import LEFT, STAYS_REJECTED, Wanted, opened

REJECTED: Final = "the login stays rejected"


def claims_of(e: Evidence) -> Iterator[Move]:
    """Yield the moves that claim something: an item that is no longer judged only says so, and stays in its state."""
    return (move for move in e.seen.moves if move.reason not in LEFT)


def is_rejected(move: Move) -> bool:
    """Tell whether an item says that staff reject the login.

    A restore that only takes a reason off the record says so in words alone.
    """
    return move.reason == STAYS_REJECTED or move.detail.startswith(REJECTED)


def wants_suspended(e: Evidence, action: str, step: OpenStep, deed: Deed) -> bool | None:
    """Tell whether a step is to leave its service suspended: a restore lifts one reason, and there may be another.

    What is not enforced of that one is then done by the restore. None: nobody can tell, as the log of then is lost.
    """
    if action == "suspend":
        return True
    ends = (m for m in e.seen.moves if (m.plan, m.item) == (step.plan, step.item) and m.at >= deed.at)
    end = next((m for m in ends if m.state not in ("running", "unknown")), None)
    if end is not None:
        return end.suspended
    return None if e.forgot(deed.at) else False


def forgotten(e: Evidence, now: Callable[[str, bool], Iterable[LineState] | None]) -> Iterable[Verdict]:
    """Judge each service. `now`: its states at the end, by whether it is suspended; None: it is judged elsewhere."""
    # A disconnect and an edit of the list read no row: they cannot vouch for rows that staff wrote before
    blind = {plan for plan, asked in e.asked.items() if asked.action in ("disconnect", "subscriber-edit")}
    last = {m.service: m for m in claims_of(e) if m.machine == ORIGINAL and m.plan not in blind}
    for service, suspended in e.recorded.items():
        final, states = last.get(service), now(service, suspended)
        if final is None or states is None or final.state not in ("applied", "set-at-next-login"):
            continue
        wrote = [w for w in e.seen.writes if w.subject == service]
        foreign = [w.at for w in wrote if machine_of(w.by) != ORIGINAL]
        if is_rejected(final) or (foreign and foreign[-1] > final.before_at):
            continue
        # The record is older than the rows, or lacks a reason that was recorded over rows that read so already; people
        # compare both with `ispagent drift`
        acted = (*(w.at for w in wrote), final.at)
        if any(map(e.forgot, acted)):
            continue
        states = list(states)
        if not any(Wanted(suspended).next_fits(state) for state in states):
            reads = "suspended" if suspended else "active"
            said = f"on record as {reads}, and its next login is not"
            yield Verdict("forgotten", e.ended_at, service, said, text_of(states))


def let_in(at: float, service: str, by: Iterable[OpenStep], states: Sequence[LineState]) -> Iterable[Verdict]:
    """Judge a write. `by`: what the log announced then; `states`: just after it, and before, as `during` has them."""
    suspends = any(step.action == "suspend" and not step.effect for step in by)
    if suspends and states and opened(states[-1:], states[0]):
        yield Verdict("let-in", at, service, "a suspension let somebody in who was rejected", text_of(states))


def text_of(states: Iterable[LineState]) -> str:
    """Return the states of a line for people, each once."""
    return " | ".join(dict.fromkeys(state.text() for state in states)) or "nothing known"
