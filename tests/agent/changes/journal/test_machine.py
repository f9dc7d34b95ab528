"""The table of states, how a run is judged, and what a change is as a fold over its items."""

from __future__ import annotations

from collections import Counter

import pytest

from agent.changes.journal.machine import (
    EXIT_CODES,
    FAILED,
    FINAL,
    LATER,
    TOUCHED,
    TRANSITIONS,
    ChangeState,
    Event,
    Gate,
    ImpossibleTransitionError,
    StepFact,
    first_state,
    fold,
    next_state,
    settle,
    settle_later,
)
from agent.connectors.base import Enforced, Judgment
from agent.model import ItemState, Listed, Verdict
from agent.reasons import ProofReason
from trust.leaf import ITEM_STATE_CODES

S = ItemState
E = Event
V = Verdict
C = ChangeState


# --- the table ---


def test_every_state_is_reachable_from_a_preview() -> None:
    reached = {first_state(listed) for listed in Listed}
    while more := {new for (old, _), new in TRANSITIONS.items() if old in reached} - reached:
        reached |= more
    assert reached == set(S)


def test_every_event_is_in_the_table() -> None:
    assert {event for _, event in TRANSITIONS} == set(E)


def test_every_state_has_a_leaf_code() -> None:
    assert {s.value for s in S} == set(ITEM_STATE_CODES)


CLOSED = [
    S.BLOCKED, S.EXCLUDED, S.SKIPPED, S.STALE, S.SUPERSEDED, S.CANCELLED, S.EXPIRED, S.NOT_APPLIED, S.REVERTED,
]  # fmt: skip


@pytest.mark.parametrize("state", CLOSED, ids=lambda s: s.value)
def test_there_is_no_way_out_of(state: S) -> None:
    assert [event for (old, event) in TRANSITIONS if old is state] == []
    for event in E:
        with pytest.raises(ImpossibleTransitionError, match=f"{state.value} cannot {event.value}"):
            next_state(state, event)


def test_what_is_open_is_not_final() -> None:
    assert set(S) - FINAL == {S.PLANNED, S.WAITING, S.RUNNING, S.UNKNOWN}
    for state in set(S) - FINAL:
        assert any(old is state for old, _ in TRANSITIONS)


def test_only_what_was_never_sent_can_be_skipped_or_superseded() -> None:
    for event in (E.SKIP, E.SUPERSEDE):
        assert {old for old, e in TRANSITIONS if e is event} == {S.PLANNED, S.WAITING}
    assert {old for old, e in TRANSITIONS if e is E.WAIT} == {S.PLANNED, S.RUNNING}  # it hung up before the first byte


def test_what_is_in_doubt_is_never_called_cancelled_or_expired() -> None:
    for event in (E.CANCEL, E.EXPIRE):
        assert (S.UNKNOWN, event) not in TRANSITIONS


def test_only_what_stands_can_be_reverted() -> None:
    half = S.NEEDS_A_PERSON  # some of its writes may stand
    assert {old for old, e in TRANSITIONS if e is E.REVERT} == {*TOUCHED, half}
    assert not set(TOUCHED) & {S.NOT_APPLIED, S.DIVERGED}


def test_what_stands_may_be_seen_to_read_otherwise_later() -> None:
    assert {old for old, e in TRANSITIONS if e is E.DIVERGE} == {S.RUNNING, S.UNKNOWN, *TOUCHED}


def test_judging_again_moves_only_what_is_not_proven() -> None:
    for state in LATER:
        assert next_state(state, E.PROVE) is S.APPLIED
        assert next_state(state, E.LEAVE) is state
    assert {old for old, e in TRANSITIONS if e is E.LEAVE} == set(LATER)
    assert set(TOUCHED) - set(LATER) == {S.APPLIED, S.ACCEPTED}


@pytest.mark.parametrize("state", LATER, ids=lambda s: s.value)
@pytest.mark.parametrize("how", ProofReason, ids=lambda how: how.value)
@pytest.mark.parametrize("enforced", Enforced, ids=lambda e: e.value)
def test_settle_later(state: S, how: ProofReason, enforced: Enforced) -> None:
    event = settle_later(state, Judgment(enforced, how))
    if event is not None:
        assert next_state(state, event) is not state
    assert (event is E.PROVE) == (enforced is Enforced.YES)
    unknown = (ProofReason.UNREADABLE, ProofReason.UNMAPPED_METHOD, ProofReason.AGE_NOT_CERTAIN)
    if how in unknown and enforced is Enforced.NO:
        assert event is None  # what could not be read or dated disproves nothing
    elif enforced is Enforced.NO:
        assert (event is E.SET_UNENFORCED) == (state is S.SET_AT_NEXT_LOGIN)
    elif enforced is Enforced.PENDING:
        assert (event is E.SET_OFFLINE) == (state is S.SET_NOT_ENFORCED)


def test_an_offline_setting_may_come_true_later() -> None:
    assert next_state(S.SET_AT_NEXT_LOGIN, E.PROVE) is S.APPLIED
    assert next_state(S.SET_NOT_ENFORCED, E.RETRY) is S.RUNNING


def test_failed_states_do_not_count_what_was_never_tried() -> None:
    assert not FAILED & {S.SKIPPED, S.STALE, S.SUPERSEDED, S.CANCELLED, S.EXPIRED, S.APPLIED, S.SET_AT_NEXT_LOGIN}


# --- how a run is judged ---


def write(verdict: V | None, *, drifted: bool = False) -> StepFact:
    return StepFact(verdict, effect=False, drifted=drifted)


def kick(verdict: V | None) -> StepFact:
    return StepFact(verdict, effect=True)


YES, PENDING, NO = (Judgment(e, "seen") for e in (Enforced.YES, Enforced.PENDING, Enforced.NO))
ENDED = StepFact(V.APPLIED, effect=True, acted=True)
TAKEN = StepFact(V.APPLIED, effect=False, accepted=True)
UNPROVEN = StepFact(V.APPLIED, effect=True, provable=False, accepted=True)
DRIFTED = write(V.NOT_APPLIED, drifted=True)
A, N, D, U = V.APPLIED, V.NOT_APPLIED, V.DIVERGED, V.UNKNOWN


@pytest.mark.parametrize(
    ("steps", "judgment", "stopped", "event"),
    [
        # all stand: enforcement decides
        ([write(A), kick(A)], YES, None, E.PROVE),
        ([write(A), kick(A)], PENDING, None, E.SET_OFFLINE),
        ([write(A), kick(A)], NO, None, E.SET_UNENFORCED),
        ([write(A), kick(N)], YES, None, E.PROVE),  # the session went by itself
        ([write(A), kick(N)], NO, None, E.SET_UNENFORCED),
        ([write(A), kick(None)], NO, None, E.SET_UNENFORCED),
        # nothing to enforce
        ([write(A)], None, None, E.PROVE),
        ([write(A), write(A)], None, None, E.PROVE),
        ([write(A), kick(N)], None, None, E.SET_UNENFORCED),
        ([kick(A)], None, None, E.PROVE),
        ([kick(N)], None, None, E.FAIL),
        ([kick(None)], None, E.CANCEL, E.CANCEL),
        ([kick(N)], None, E.CANCEL, E.FAIL),
        ([], None, None, E.PROVE),
        # the weakest write decides; effects without a proof, where there is nothing else
        ([TAKEN], None, None, E.ACCEPT),
        ([write(A), TAKEN], None, None, E.ACCEPT),
        ([TAKEN, kick(A)], None, None, E.ACCEPT),
        ([write(A), UNPROVEN], None, None, E.PROVE),
        ([kick(A), UNPROVEN], None, None, E.PROVE),
        ([UNPROVEN], None, None, E.ACCEPT),
        ([TAKEN, write(N)], None, None, E.ESCALATE),
        ([TAKEN], YES, None, E.PROVE),  # what is enforced was seen
        # nothing stands
        ([write(N), kick(None)], None, None, E.FAIL),
        ([DRIFTED, kick(None)], None, None, E.DRIFT),
        ([write(None), kick(None)], None, E.CANCEL, E.CANCEL),
        ([write(None), kick(None)], None, E.EXPIRE, E.EXPIRE),
        ([write(None), kick(None)], None, None, E.FAIL),
        ([write(N), kick(None)], None, E.CANCEL, E.FAIL),  # something was tried: it is not "cancelled, nothing sent"
        # stopped between the write and the disconnect: the write stands
        ([write(A), kick(None)], NO, E.CANCEL, E.SET_UNENFORCED),
        ([write(A), kick(None)], YES, E.EXPIRE, E.PROVE),
        # half
        ([write(A), write(N)], None, None, E.ESCALATE),
        # a session was ended before the write that failed: that is not "nothing changed"
        ([ENDED, write(N)], None, None, E.ESCALATE),
        ([ENDED, DRIFTED], None, None, E.ESCALATE),
        ([ENDED, write(None)], None, E.CANCEL, E.ESCALATE),
        ([kick(A), write(N)], None, None, E.FAIL),  # there was none to end
        ([write(A), write(None)], None, E.CANCEL, E.ESCALATE),
        ([write(A), DRIFTED], None, None, E.ESCALATE),
        # in doubt comes first, then a third value
        ([write(U), kick(None)], None, None, E.LOSE),
        ([write(A), kick(U)], YES, None, E.LOSE),
        ([write(D), kick(None)], None, None, E.DIVERGE),
        ([write(A), write(D)], None, None, E.DIVERGE),
        ([write(D), write(U)], None, None, E.LOSE),
        ([DRIFTED, write(D)], None, None, E.DIVERGE),
    ],
)  # fmt: skip
def test_settle(steps: list[StepFact], judgment: Judgment | None, stopped: E | None, event: E) -> None:
    assert settle(steps, judgment, stopped) is event


@pytest.mark.parametrize("verdict", [None, *V])
@pytest.mark.parametrize("effect", [None, *V])
@pytest.mark.parametrize("judgment", [None, YES, PENDING, NO], ids=str)
@pytest.mark.parametrize("stopped", [None, E.CANCEL, E.EXPIRE])
def test_settle_never_says_done_without_a_proof(
    verdict: V | None, effect: V | None, judgment: Judgment | None, stopped: E | None
) -> None:
    reached = judgment if verdict is A else None  # enforcement is judged only once the writes stand
    event = settle([write(verdict), kick(effect)], reached, stopped)
    if event in (E.PROVE, E.SET_OFFLINE, E.SET_UNENFORCED):
        assert verdict is A
    if event in (E.CANCEL, E.EXPIRE):
        assert verdict is None
    if event == E.PROVE:
        assert effect is A or (reached is not None and reached.enforced is Enforced.YES)
    assert (S.RUNNING, event) in TRANSITIONS


# --- the fold ---


@pytest.mark.parametrize(
    ("states", "change"),
    [
        ([], C.DONE),
        ([S.APPLIED], C.DONE),
        ([S.APPLIED, S.SET_AT_NEXT_LOGIN, S.EXCLUDED, S.BLOCKED], C.DONE),
        ([S.APPLIED, S.SKIPPED], C.DONE),
        ([S.SUPERSEDED], C.DONE),
        ([S.APPLIED, S.RUNNING], C.RUNNING),
        ([S.APPLIED, S.UNKNOWN], C.RUNNING),
        ([S.PLANNED, S.WAITING], C.RUNNING),
        ([S.WAITING, S.APPLIED], C.WAITING_FOR_DEVICE),
        ([S.STALE, S.STALE], C.STALE),
        ([S.STALE, S.CANCELLED], C.NOTHING_CHANGED),
        ([S.CANCELLED], C.CANCELLED),
        ([S.EXPIRED, S.EXCLUDED], C.EXPIRED),
        ([S.NOT_APPLIED], C.NOTHING_CHANGED),
        ([S.NOT_APPLIED, S.REVERTED], C.REVERTED),
        ([S.REVERTED], C.REVERTED),
        ([S.APPLIED, S.NOT_APPLIED], C.NEEDS_YOU),
        ([S.APPLIED, S.STALE], C.DONE_IN_PART),
        ([S.APPLIED, S.CANCELLED], C.DONE_IN_PART),
        ([S.REVERTED, S.APPLIED], C.DONE_IN_PART),
        ([S.APPLIED, S.STALE, S.DIVERGED], C.NEEDS_YOU),
        ([S.DIVERGED], C.NEEDS_YOU),
        ([S.SET_NOT_ENFORCED], C.NEEDS_YOU),
        ([S.NEEDS_A_PERSON, S.REVERTED], C.NEEDS_YOU),
    ],
)
def test_fold(states: list[S], change: C) -> None:
    assert fold(Gate.CONSUMED, Counter(states)) is change
    assert fold(Gate.CONSUMED, Counter({**Counter(states), S.DIVERGED: Counter(states)[S.DIVERGED]})) is change


@pytest.mark.parametrize("gate", [g for g in Gate if g is not Gate.CONSUMED], ids=lambda g: g.value)
def test_before_the_start_the_gate_alone_counts(gate: Gate) -> None:
    assert len({fold(gate, Counter([state])) for state in S}) == 1


def test_every_change_state_folds_something_and_has_an_exit() -> None:
    folded = {fold(gate, Counter()) for gate in Gate}
    folded |= {fold(Gate.CONSUMED, Counter([a, b])) for a in S for b in S}
    assert folded == set(C)
    assert set(EXIT_CODES) == set(C)
    assert set(EXIT_CODES.values()) == {0, 1, 3, 4}


@pytest.mark.parametrize("state", list(C), ids=lambda c: c.value)
def test_exit_code_zero_promises_nothing_false(state: C) -> None:
    """0: done or on its way; 1: nothing stands; 3: refused; 4: a person or a device is needed (docs/cli.md)."""
    bad = [Counter([S.APPLIED, s]) for s in FAILED - {S.UNKNOWN}]
    if EXIT_CODES[state] == 0:
        assert all(fold(Gate.CONSUMED, items) is not state for items in bad)
