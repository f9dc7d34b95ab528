"""Every state of an item, every way from one to another, and the state of a change as a fold over its items.

Rule 1: nobody else assigns a state. The journal asks `next_state`, the database refuses moves that this table does not
have (its triggers are made from `TRANSITIONS`), the docs draw it, the property tests walk it. Rule 2: this file does no
I/O and knows no connector.

The life of an item::

    planned ──begin──▶ running ──prove──▶ applied ──revert──▶ reverted
       │  └─wait─▶ waiting ◀─▶ ─────┤ └─lose──▶ unknown ─(re-read)─▶ applied, not-applied, diverged …
       └─skip, drift, supersede, cancel, expire, fail ─▶ skipped, stale, superseded, cancelled, expired, not-applied

A half applied item needs a person, or is reverted by the plan's own declaration.

A value that a target accepted and nobody can read back (a secret) ends as `accepted`, never as `applied`.

After its run an item that stands is judged again until its settings are proven to be so or not (`LATER`), and read once
more at the end of a batch (`diverge`). `leave` ends the judging; the state stays as it was judged last.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agent.connectors.base import Enforced, Judgment
from agent.model import ItemState, Listed, Verdict
from agent.reasons import ProofReason

S = ItemState


class Event(enum.Enum):
    """The events of an item."""

    WAIT = "wait"
    BEGIN = "begin"
    SKIP = "skip"
    DRIFT = "drift"
    SUPERSEDE = "supersede"
    CANCEL = "cancel"
    EXPIRE = "expire"
    FAIL = "fail"
    LOSE = "lose"
    PROVE = "prove"
    ACCEPT = "accept"
    SET_OFFLINE = "set-offline"
    SET_UNENFORCED = "set-unenforced"
    DIVERGE = "diverge"
    ESCALATE = "escalate"
    RETRY = "retry"
    REVERT = "revert"
    LEAVE = "leave"


UNSENT = (S.PLANNED, S.WAITING)
"""States of an item of which nothing was sent."""
_IN_DOUBT = (S.RUNNING, S.UNKNOWN)
TOUCHED = (S.APPLIED, S.ACCEPTED, S.SET_AT_NEXT_LOGIN, S.SET_NOT_ENFORCED)
"""States in which the item's writes stand."""
MAY_STAND = (*TOUCHED, S.NEEDS_A_PERSON)
"""States in which the item's writes may stand: a revert reads which of them do."""
LATER = (S.SET_AT_NEXT_LOGIN, S.SET_NOT_ENFORCED)
"""States of an item with standing writes, while it is not known yet whether they are enforced."""

TRANSITIONS: Mapping[tuple[ItemState, Event], ItemState] = {
    **dict.fromkeys([(s, Event.WAIT) for s in (S.PLANNED, S.RUNNING)], S.WAITING),
    **dict.fromkeys([(s, Event.BEGIN) for s in UNSENT], S.RUNNING),
    **dict.fromkeys([(s, Event.SKIP) for s in UNSENT], S.SKIPPED),
    **dict.fromkeys([(s, Event.DRIFT) for s in (*UNSENT, *_IN_DOUBT)], S.STALE),
    **dict.fromkeys([(s, Event.SUPERSEDE) for s in UNSENT], S.SUPERSEDED),
    **dict.fromkeys([(s, Event.CANCEL) for s in (*UNSENT, S.RUNNING)], S.CANCELLED),
    **dict.fromkeys([(s, Event.EXPIRE) for s in (*UNSENT, S.RUNNING)], S.EXPIRED),
    **dict.fromkeys([(s, Event.FAIL) for s in (*UNSENT, *_IN_DOUBT)], S.NOT_APPLIED),
    (S.RUNNING, Event.LOSE): S.UNKNOWN,
    **dict.fromkeys([(s, Event.PROVE) for s in (*_IN_DOUBT, *LATER)], S.APPLIED),
    **dict.fromkeys([(s, Event.ACCEPT) for s in _IN_DOUBT], S.ACCEPTED),
    **dict.fromkeys([(s, Event.SET_OFFLINE) for s in (*_IN_DOUBT, S.SET_NOT_ENFORCED)], S.SET_AT_NEXT_LOGIN),
    **dict.fromkeys([(s, Event.SET_UNENFORCED) for s in (*_IN_DOUBT, S.SET_AT_NEXT_LOGIN)], S.SET_NOT_ENFORCED),
    **dict.fromkeys([(s, Event.DIVERGE) for s in (*_IN_DOUBT, *TOUCHED)], S.DIVERGED),
    **{(s, Event.LEAVE): s for s in LATER},
    **dict.fromkeys(
        [(s, Event.ESCALATE) for s in (*UNSENT, *_IN_DOUBT, S.DIVERGED, S.NEEDS_A_PERSON, *TOUCHED)], S.NEEDS_A_PERSON
    ),
    (S.SET_NOT_ENFORCED, Event.RETRY): S.RUNNING,
    **dict.fromkeys([(s, Event.REVERT) for s in (*TOUCHED, S.NEEDS_A_PERSON)], S.REVERTED),
}
"""The one table. A pair that is not in it is a bug in the caller."""

_NOT_JUDGED = frozenset({ProofReason.UNREADABLE, ProofReason.UNMAPPED_METHOD, ProofReason.AGE_NOT_CERTAIN})

FINAL = frozenset(ItemState) - {S.PLANNED, S.WAITING, S.RUNNING, S.UNKNOWN}
"""States in which a run has nothing more to do for the item."""

FAILED = frozenset({S.NOT_APPLIED, S.DIVERGED, S.SET_NOT_ENFORCED, S.UNKNOWN, S.NEEDS_A_PERSON})
"""States that count against the stop rules."""


class ImpossibleTransitionError(Exception):
    """The table has no such way: a bug in the caller, never a device's fault."""


def next_state(state: ItemState, event: Event) -> ItemState:
    """Return the state after `event`.

    Raises:
        ImpossibleTransitionError: the table has no such way.
    """
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise ImpossibleTransitionError(f"an item that is {state.value} cannot {event.value}") from None


def first_state(listed: Listed) -> ItemState:
    """Return the state in which the preview puts an item."""
    return {Listed.CHANGE: S.PLANNED, Listed.EXCLUDED: S.EXCLUDED, Listed.BLOCKED: S.BLOCKED}[listed]


@dataclass(frozen=True, slots=True)
class StepFact:
    """The verdict on one step of an item: None when it was never sent; `effect` tells a disconnect from a write.

    `fallback_for`: numbers of the earlier steps that it is a fallback for. `provable`: it can be read back.
    `acted`: an effect that did something, such as end a session: it found its object. `accepted`: only the
    target's word says that it was applied, of a secret or of an effect without a proof.
    """

    verdict: Verdict | None
    effect: bool
    drifted: bool = False
    fallback_for: tuple[int, ...] = ()
    provable: bool = True
    acted: bool = False
    accepted: bool = False


def settle(steps: Sequence[StepFact], judgment: Judgment | None, stopped: Event | None) -> Event:
    """Return the event that ends an item's run, from the verdicts on its steps and on enforcement.

    Args:
        steps: the item's steps in order, as far as known.
        judgment: of the enforcement check; None when there is nothing to enforce or it was not reached.
        stopped: CANCEL or EXPIRE when the run was stopped before the item's next step.
    """
    steps = _decisive(steps)
    writes = [s for s in steps if not s.effect]
    known = [s.verdict for s in steps if s.verdict is not None]
    if any(s.verdict is Verdict.UNKNOWN and (s.provable or judgment is None) for s in steps):
        return Event.LOSE  # the judgment decides where a value can never be read back
    if Verdict.DIVERGED in known:
        return Event.DIVERGE
    if any(s.drifted for s in steps) and Verdict.APPLIED not in known:
        return Event.DRIFT
    if writes and any(s.acted for s in steps) and any(w.verdict is not Verdict.APPLIED for w in writes):
        return Event.ESCALATE  # it ended a session, and the write after that failed
    if writes and all(w.verdict is not Verdict.APPLIED for w in writes):
        return stopped if stopped is not None and not known else Event.FAIL
    if any(w.verdict is not Verdict.APPLIED for w in writes):
        return Event.ESCALATE  # half of the writes stand: a person, or the plan's declared revert, says what is right
    return _settle_enforcement(steps, judgment, stopped)


def _decisive(steps: Sequence[StepFact]) -> list[StepFact]:
    """Return the steps without fallbacks that were not needed, and without effects that a later fallback made good."""
    moot: set[int] = set()
    for n, step in enumerate(steps, start=1):
        if step.fallback_for and step.verdict is None:
            moot.add(n)
        elif step.verdict is Verdict.APPLIED:
            moot.update(step.fallback_for)
    return [step for n, step in enumerate(steps, start=1) if n not in moot]


def _settle_enforcement(steps: Sequence[StepFact], judgment: Judgment | None, stopped: Event | None) -> Event:
    if judgment is None:
        effects = [s.verdict for s in steps if s.effect]
        if not effects or all(v is Verdict.APPLIED for v in effects):
            return Event.ACCEPT if _only_accepted(steps) else Event.PROVE
        if any(not s.effect for s in steps):
            return Event.SET_UNENFORCED
        return stopped if stopped is not None and not any(effects) else Event.FAIL
    return {
        Enforced.YES: Event.PROVE,
        Enforced.PENDING: Event.SET_OFFLINE,
        Enforced.UNPROVEN: Event.SET_UNENFORCED,
        Enforced.NO: Event.SET_UNENFORCED,
    }[judgment.enforced]


def _only_accepted(steps: Sequence[StepFact]) -> bool:
    """Tell whether a write cannot be read back; or, where there is no write, whether no effect was proven."""
    writes = [s for s in steps if not s.effect]
    return any(s.accepted for s in writes) if writes else bool(steps) and all(s.accepted for s in steps)


def settle_later(state: ItemState, judgment: Judgment) -> Event | None:
    """Return the event by which an item that was judged again moves, or None: nothing new is known.

    Args:
        state: of the item, one of `LATER`.
        judgment: of its enforcement now; a failed read proves nothing.
    """
    match judgment.enforced:
        case Enforced.YES:
            return Event.PROVE
        case Enforced.PENDING if state is S.SET_NOT_ENFORCED:
            return Event.SET_OFFLINE
        case Enforced.NO if state is S.SET_AT_NEXT_LOGIN and judgment.how not in _NOT_JUDGED:
            return Event.SET_UNENFORCED
        case _:
            return None


class Gate(enum.Enum):
    """Where a plan stands before its items move."""

    OPEN = "open"
    APPROVED = "approved"
    CONSUMED = "consumed"
    REJECTED = "rejected"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    VOID = "void"


class ChangeState(enum.Enum):
    """The state of a change, folded over its items."""

    WAITING_FOR_APPROVAL = "waiting for approval"
    APPROVED = "approved"
    RUNNING = "running"
    DONE = "done"
    ACCEPTED = "accepted, not provable"
    WAITING_FOR_DEVICE = "waiting for a device"
    NEEDS_YOU = "finished, needs you"
    DONE_IN_PART = "done in part"
    NOTHING_CHANGED = "nothing changed"
    REVERTED = "reverted"
    REJECTED = "rejected"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    VOID = "void: preview again"
    STALE = "stale: nothing sent"


_GATE_STATES = {
    Gate.OPEN: ChangeState.WAITING_FOR_APPROVAL,
    Gate.APPROVED: ChangeState.APPROVED,
    Gate.REJECTED: ChangeState.REJECTED,
    Gate.CANCELLED: ChangeState.CANCELLED,
    Gate.EXPIRED: ChangeState.EXPIRED,
    Gate.VOID: ChangeState.VOID,
}

EXIT_CODES: Mapping[ChangeState, int] = {
    ChangeState.WAITING_FOR_APPROVAL: 0,
    ChangeState.APPROVED: 0,
    ChangeState.RUNNING: 0,
    ChangeState.DONE: 0,
    ChangeState.ACCEPTED: 0,
    ChangeState.WAITING_FOR_DEVICE: 4,
    ChangeState.NEEDS_YOU: 4,
    ChangeState.DONE_IN_PART: 4,
    ChangeState.NOTHING_CHANGED: 1,
    ChangeState.REVERTED: 1,
    ChangeState.REJECTED: 3,
    ChangeState.CANCELLED: 3,
    ChangeState.EXPIRED: 3,
    ChangeState.VOID: 3,
    ChangeState.STALE: 3,
}
"""The exit code of a command that waits for a change, by the state that the change ends in (docs/cli.md)."""

_QUIET = {S.BLOCKED, S.EXCLUDED}
_DONE = {S.APPLIED, S.SET_AT_NEXT_LOGIN}
_ALL_ONE = {
    S.STALE: ChangeState.STALE,
    S.CANCELLED: ChangeState.CANCELLED,
    S.EXPIRED: ChangeState.EXPIRED,
}
_UNTOUCHED = {S.SKIPPED, S.STALE, S.SUPERSEDED, S.CANCELLED, S.EXPIRED, S.NOT_APPLIED}


_OPEN = FAILED - {S.UNKNOWN}
"""States of ended items that a person has to look at."""


def fold(gate: Gate, items: Counter[ItemState]) -> ChangeState:
    """Return the state of a change, from its gate and the number of its items in each state.

    A change needs a person where one of its items does; where some are done and nothing was sent of the others, or they
    were taken back, it is done in part.
    """
    if gate is not Gate.CONSUMED:
        return _GATE_STATES[gate]
    states = {state for state, count in items.items() if count and state not in _QUIET}
    if states & {S.PLANNED, S.RUNNING, S.UNKNOWN}:
        return ChangeState.RUNNING
    if S.WAITING in states:
        return ChangeState.WAITING_FOR_DEVICE
    if not states or states <= _DONE | {S.SKIPPED, S.SUPERSEDED}:
        return ChangeState.DONE
    if states <= _DONE | {S.ACCEPTED, S.SKIPPED, S.SUPERSEDED}:
        return ChangeState.ACCEPTED
    for only, state in _ALL_ONE.items():
        if states == {only}:
            return state
    if states <= _UNTOUCHED:
        return ChangeState.NOTHING_CHANGED
    if states <= _UNTOUCHED | {S.REVERTED}:
        return ChangeState.REVERTED
    return ChangeState.NEEDS_YOU if states & _OPEN else ChangeState.DONE_IN_PART
