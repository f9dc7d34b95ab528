"""The life of a plan, as its leaves tell it: which leaf may follow which. `docs/spec/plan-life.md` shows the tables.

An honest agent writes each leaf with the act that it describes, in one transaction, so the leaves of a plan in the
order of the log are a walk through these tables. `replay` takes the walk and stops at the first step that they do not
have.

* The tables hold the open fields of leaves, without their records: kinds, items, steps and codes.
* A step and its declared inverse have the same leaves, so of a plan that reverts failures less is refused.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Self

from trust.leaf import ITEM_STATE_CODES, VERDICT_CODES, Leaf, LeafKind
from trust.statements import OutcomeBucket, OutcomeState, SizeBucket, size_bucket

K = LeafKind


class StoryFault(enum.Enum):
    """Why evidence is refused. `value` is the code; `meaning` is one sentence."""

    meaning: str

    def __new__(cls, code: str, meaning: str = "") -> Self:
        """Return the member of a code."""
        member = object.__new__(cls)
        member._value_ = code
        member.meaning = meaning
        return member

    NOTHING_SAID = "not-in-the-log", "The file has no leaf of the plan."
    NO_PLAN_LEAF = "no-plan-leaf", "A leaf of the plan stands before the plan's own leaf."
    PLAN_TWICE = "plan-twice", "The plan has two leaves of its own."
    NO_SUCH_LEAF = "no-such-leaf", "A leaf of this kind says nothing of a plan."
    DECIDED_LATE = (
        "decided-late",
        "An approval, a rejection or a use of a standing authority came when it was too late.",
    )
    CONSUMED_TWICE = "consumed-twice", "The plan was used twice."
    AFTER_CANCEL = "consumed-after-cancel", "The plan was used after its cancel."
    AFTER_REJECTION = "consumed-after-rejection", "The plan was used after somebody rejected it."
    AFTER_VOID = "consumed-after-void", "The plan was used after it was void or expired."
    CONSUMED_PAUSED = "consumed-while-paused", "The plan was used while it was paused."
    BEGUN_PAUSED = "begun-while-paused", "An item was begun while the plan was paused."
    SENT_UNCONSUMED = "sent-before-consumed", "Something was sent before the plan was used."
    SENT_AFTER_END = "sent-after-end", "Something was sent after the run had ended."
    SENT_AFTER_CANCEL = "sent-after-cancel", "A step was begun after the plan's cancel."
    SENT_UNBEGUN = "sent-unbegun", "A step of an item was begun that was not running."
    NO_TICKET = "outcome-without-step", "A step has an outcome, and was not begun before it."
    NO_SUCH_CODE = "no-such-code", "A leaf's code is no verdict or no state of an item."
    NO_SUCH_MOVE = "no-such-move", "An item went from one state to another that no item goes to from there."
    STEPS_DISAGREE = "item-contradicts-steps", "An item is said to be applied, and its steps say that it is not."
    ENDED_UNSTARTED = "ended-before-start", "The change has an outcome, and had neither started nor been closed."
    OUT_OF_ORDER = "out-of-order", "A leaf stands where no agent writes one of its kind."
    COMMITMENT_DROPPED = "commitment-dropped", "A leaf does not name its statement, and an earlier one does."
    INCOMPLETE = "incomplete", "Leaves of the plan are missing from the file."
    OTHER_OUTCOME = "another-outcome", "The outcome is not the one that its leaf names."
    OUTCOME_DISAGREES = "outcome-contradicts-items", "The outcome says something else than the leaves of the items."
    OUTCOME_OF_NONE = "outcome-of-no-plan", "The outcome is of a plan that is not in the file."
    NO_APPROVAL_LEAF = (
        "no-approval-leaf",
        "Enough people approve, and the log has no leaf of it before the plan was used.",
    )
    NOT_APPROVED = "not-approved", "Too little stood behind the plan when it was used."
    CONSUMED_FROZEN = "consumed-while-frozen", "The plan was used under a freeze."
    SENT_FROZEN = "sent-while-frozen", "A step was begun under a freeze."
    TRUST_MISSING = "trust-version-missing", "The file lacks a trust version that the plan rests on."
    OTHER_LOG = "another-agents-log", "The log is not that of the plan's agent."
    BAD_STATEMENT = "bad-statement", "A statement in the file is not signed as it must be."
    BAD_ITEMS = "bad-items", "The items in the file are not those that the plan signs."
    BAD_LOG = "bad-log", "The checkpoint, a leaf or its place in the log does not hold."
    BAD_TRUST = "bad-trust", "The trust documents are not a chain from the given head."
    BAD_KEY = "bad-key", "The log's key is not the one that you gave."


class Stage(enum.Enum):
    """Where a plan stands, by its leaves."""

    ABSENT = "absent"
    """It has no leaf of its own yet; a cancel may come before it."""
    OPEN = "open"
    CLOSED = "closed"
    """Rejected, cancelled, expired or void before it was used."""
    RUNNING = "running"
    OVER = "over"


_A, _O, _C, _R, _E = Stage.ABSENT, Stage.OPEN, Stage.CLOSED, Stage.RUNNING, Stage.OVER
_KNOWN = {s: s for s in (_O, _C, _R, _E)}

ALLOWED: Final[Mapping[LeafKind, Mapping[Stage, Stage]]] = {
    K.PLAN: {_A: _O},
    K.APPROVAL: {_O: _O},
    K.REJECTION: {_O: _C},
    K.STANDING_USED: {_O: _O},
    K.PLAN_VOID: {_O: _C, _C: _C},
    K.CANCEL: {_A: _A, _O: _C, _C: _C, _R: _R, _E: _E},
    K.CONSUMED: {_O: _R},
    K.ABOUT_TO: {_R: _R},
    K.STEP_OUTCOME: {_R: _R},
    K.ITEM_STATE: {_O: _O, _R: _R, _E: _E},
    K.CHANGE_FINISHED: {_R: _E, _E: _E, _C: _C},
    K.PAUSED: {_O: _O, _R: _R},
    K.RESUMED: {_O: _O, _R: _R, _E: _R},
    K.REVIEW_OPENED: {_R: _R},
    K.REVIEW_CLOSED: {_R: _R, _E: _E},
    K.REFUSED: _KNOWN,
    K.EXPORTED: _KNOWN,
    K.DISCLOSED: _KNOWN,
}
"""Kind of a leaf of a plan -> where the plan stands before it -> where it stands after it."""

MOVES: Final[Mapping[str, tuple[str, ...]]] = {
    "planned": (
        "waiting", "running", "skipped", "stale", "superseded", "cancelled", "expired", "not-applied",
        "needs-a-person",
    ),
    "running": (
        "waiting", "stale", "cancelled", "expired", "not-applied", "unknown", "applied", "accepted",
        "set-at-next-login", "set-not-enforced", "diverged", "needs-a-person",
    ),
    "waiting": (
        "running", "skipped", "stale", "superseded", "cancelled", "expired", "not-applied", "needs-a-person",
    ),
    "unknown": (
        "stale", "not-applied", "applied", "accepted", "set-at-next-login", "set-not-enforced", "diverged",
        "needs-a-person",
    ),
    "set-at-next-login": (
        "applied", "set-not-enforced", "diverged", "set-at-next-login", "needs-a-person", "reverted",
    ),
    "set-not-enforced": (
        "applied", "set-at-next-login", "diverged", "set-not-enforced", "needs-a-person", "running", "reverted",
    ),
    "applied": ("diverged", "needs-a-person", "reverted"),
    "accepted": ("diverged", "needs-a-person", "reverted"),
    "diverged": ("needs-a-person",),
    "needs-a-person": ("needs-a-person", "reverted"),
}  # fmt: skip
"""State of an item -> states that it may go to. An item begins as planned; a state that is not here is the last."""

STANDS: Final = frozenset({"applied", "accepted", "set-at-next-login", "set-not-enforced"})
"""States of an item in which its writes stand."""
_UNSENT: Final = frozenset({"planned", "waiting"})
_LIVE: Final = frozenset({"running", "unknown"})

BUCKETS: Final[Mapping[str, OutcomeBucket]] = {
    "applied": OutcomeBucket.APPLIED,
    "set-at-next-login": OutcomeBucket.APPLIED,
    "accepted": OutcomeBucket.ACCEPTED,
    "not-applied": OutcomeBucket.NOT_APPLIED,
    "skipped": OutcomeBucket.NOT_APPLIED,
    "superseded": OutcomeBucket.NOT_APPLIED,
    "cancelled": OutcomeBucket.NOT_APPLIED,
    "set-not-enforced": OutcomeBucket.DIVERGED,
    "diverged": OutcomeBucket.DIVERGED,
    "needs-a-person": OutcomeBucket.UNKNOWN,
    "unknown": OutcomeBucket.UNKNOWN,
    "running": OutcomeBucket.UNKNOWN,
    "stale": OutcomeBucket.STALE,
    "waiting": OutcomeBucket.WAITING,
    "planned": OutcomeBucket.WAITING,
    "expired": OutcomeBucket.EXPIRED,
    "reverted": OutcomeBucket.REVERTED,
}
"""State of an item -> the bucket of an outcome that counts it. Blocked and excluded items are in none."""

_STATES: Final = {code: word for word, code in ITEM_STATE_CODES.items()}
_VERDICTS: Final = {code: word for word, code in VERDICT_CODES.items()}
_RUNNING: Final = ITEM_STATE_CODES["running"]
_UNDER_WAY: Final = frozenset({"planned", "running", "unknown", "waiting"})
_DONE: Final = frozenset({"applied", "set-at-next-login", "skipped", "superseded"})
_UNTOUCHED: Final = frozenset({"skipped", "stale", "superseded", "cancelled", "expired", "not-applied"})
_NEEDS_A_PERSON: Final = frozenset({"not-applied", "diverged", "set-not-enforced", "needs-a-person"})
_ALL_ONE: Final = {
    "stale": OutcomeState.NOTHING_DONE,
    "cancelled": OutcomeState.CANCELLED,
    "expired": OutcomeState.EXPIRED,
}
_CLOSED_AS: Final = {
    K.REJECTION: (OutcomeState.REJECTED,),
    K.CANCEL: (OutcomeState.CANCELLED,),
    K.PLAN_VOID: (OutcomeState.VOID, OutcomeState.EXPIRED),
}


def outcome_of(items: Counter[str]) -> OutcomeState:
    """Return the state of an outcome over items of these states: blocked and excluded ones do not count."""
    states = {state for state, count in items.items() if count} - {"blocked", "excluded"}
    if states & _UNDER_WAY:
        return OutcomeState.MIXED
    if states <= _DONE:
        return OutcomeState.DONE
    if states <= _DONE | {"accepted"}:
        return OutcomeState.ACCEPTED
    for only, state in _ALL_ONE.items():
        if states == {only}:
            return state
    if states <= _UNTOUCHED:
        return OutcomeState.NOTHING_DONE
    if states <= _UNTOUCHED | {"reverted"}:
        return OutcomeState.REVERTED
    return OutcomeState.NEEDS_A_PERSON if states & _NEEDS_A_PERSON else OutcomeState.MIXED


def buckets_of(items: Counter[str]) -> dict[OutcomeBucket, SizeBucket]:
    """Return how many items an outcome counts in each bucket; the items are those that moved."""
    counts: Counter[OutcomeBucket] = Counter()
    for state, count in items.items():
        counts[BUCKETS[state]] += count
    return {bucket: size_bucket(count) for bucket, count in counts.items()}


@dataclass(frozen=True, slots=True)
class PlanEnding:
    """A change-finished leaf: where it is, how many leaves the plan had with it, and the states of its items then."""

    index: int
    leaves: int
    items: Counter[str]


@dataclass(slots=True)
class LifeOfPlan:
    """How far the leaves of a plan were followed. `fault` is why not further, at the leaf of index `at`.

    `reverts`: the plan takes back its writes when an item fails: then a step that was sent may be begun again, for its
    inverse, after the cancel and after its item's end. `items` are the items that moved, and their states; `steps` the
    verdicts of each step of an item, "" while it has none. `begun_paused` are items that went to running during the
    pause in force.
    """

    reverts: bool
    stage: Stage = Stage.ABSENT
    cancelled: bool = False
    paused: bool = False
    begun_paused: set[int] = field(default_factory=set)
    closed_by: set[LeafKind] = field(default_factory=set)
    consumed: int | None = None
    leaves: int = 0
    items: dict[int, str] = field(default_factory=dict)
    steps: dict[int, dict[int, list[str]]] = field(default_factory=dict)
    endings: list[PlanEnding] = field(default_factory=list)
    sent: list[int] = field(default_factory=list)
    fault: StoryFault | None = None
    at: int = 0

    @property
    def outcome_states(self) -> tuple[OutcomeState, ...]:
        """The states that an outcome of a plan that was closed before its start may have."""
        return tuple(state for kind in K if kind in self.closed_by for state in _CLOSED_AS[kind])


def replay(leaves: Iterable[tuple[int, Leaf]], *, reverts: bool) -> LifeOfPlan:
    """Return the life that a plan's leaves tell, in the order of the log.

    Args:
        leaves: index and leaf of each, in ascending order, all of one plan.
        reverts: whether the plan takes back its writes when an item fails.
    """
    life = LifeOfPlan(reverts)
    for index, leaf in leaves:
        life.fault = _take(life, index, leaf)
        if life.fault is not None:
            life.at = index
            break
    return life


def _take(life: LifeOfPlan, index: int, leaf: Leaf) -> StoryFault | None:
    """Let one more leaf happen; return why it cannot."""
    kind = leaf.kind
    if kind not in ALLOWED:
        return StoryFault.NO_SUCH_LEAF
    after = ALLOWED[kind].get(life.stage)
    if after is None:
        return _why_not(life, kind)
    fault = _allow(life, leaf)
    if fault is not None:
        return fault
    life.leaves += 1
    if kind is K.CANCEL:
        life.cancelled = True
    if kind in (K.PAUSED, K.RESUMED):
        life.paused = kind is K.PAUSED
        life.begun_paused.clear()
    if after is Stage.CLOSED and kind in _CLOSED_AS:
        life.closed_by.add(kind)
    if kind is K.CONSUMED:
        life.consumed = index
    if kind is K.ABOUT_TO:
        life.sent.append(index)
    if kind is K.CHANGE_FINISHED:
        life.endings.append(PlanEnding(index, life.leaves, Counter(life.items.values())))
    life.stage = after
    return None


def _why_not(life: LifeOfPlan, kind: LeafKind) -> StoryFault:
    """Return the contradictions of a leaf that its plan's stage does not allow."""
    stage = life.stage
    if stage is Stage.ABSENT:
        return StoryFault.NO_PLAN_LEAF
    match kind:
        case K.PLAN:
            return StoryFault.PLAN_TWICE
        case K.APPROVAL | K.REJECTION | K.STANDING_USED:
            return StoryFault.DECIDED_LATE
        case K.CONSUMED if stage is Stage.CLOSED:
            return _after_what(life)
        case K.CONSUMED:
            return StoryFault.CONSUMED_TWICE
        case K.ABOUT_TO | K.STEP_OUTCOME:
            return StoryFault.SENT_AFTER_END if stage is Stage.OVER else StoryFault.SENT_UNCONSUMED
        case K.CHANGE_FINISHED:
            return StoryFault.ENDED_UNSTARTED
        case _:
            return StoryFault.OUT_OF_ORDER


def _after_what(life: LifeOfPlan) -> StoryFault:
    if life.cancelled:
        return StoryFault.AFTER_CANCEL
    return StoryFault.AFTER_REJECTION if K.REJECTION in life.closed_by else StoryFault.AFTER_VOID


def _allow(life: LifeOfPlan, leaf: Leaf) -> StoryFault | None:
    """Return the contradictions of a leaf that its plan's stage allows; note its items and steps."""
    match leaf.kind:
        case K.CONSUMED if life.cancelled:
            return StoryFault.AFTER_CANCEL
        case K.CONSUMED if life.paused:
            return StoryFault.CONSUMED_PAUSED
        case K.ABOUT_TO:
            return _begin(life, leaf)
        case K.STEP_OUTCOME:
            return _end_step(life, leaf)
        case K.ITEM_STATE:
            return _move(life, leaf)
        case _:
            return None


def _begin(life: LifeOfPlan, leaf: Leaf) -> StoryFault | None:
    """Let a step be begun, and its item as well where the leaf's code says so."""
    begins = leaf.code == _RUNNING
    if leaf.code and not begins:
        return StoryFault.NO_SUCH_CODE
    tickets = life.steps.setdefault(leaf.item, {}).setdefault(leaf.step, [])
    taken_back = life.reverts and bool(tickets)
    if life.cancelled and not taken_back:
        return StoryFault.SENT_AFTER_CANCEL
    if life.paused and (begins or (leaf.item in life.begun_paused and not tickets)):
        return StoryFault.BEGUN_PAUSED
    state = life.items.get(leaf.item, "planned")
    if begins and state not in _UNSENT:
        return StoryFault.NO_SUCH_MOVE
    if not begins and (state in _UNSENT or (state not in _LIVE and not taken_back)):
        return StoryFault.SENT_UNBEGUN
    if begins:
        life.items[leaf.item] = "running"
    tickets.append("")
    return None


def _end_step(life: LifeOfPlan, leaf: Leaf) -> StoryFault | None:
    tickets = life.steps.get(leaf.item, {}).get(leaf.step, [])
    if "" not in tickets:
        return StoryFault.NO_TICKET
    if leaf.code not in _VERDICTS:
        return StoryFault.NO_SUCH_CODE
    tickets[tickets.index("")] = _VERDICTS[leaf.code]
    return None


def _move(life: LifeOfPlan, leaf: Leaf) -> StoryFault | None:
    state, before = _STATES.get(leaf.code), life.items.get(leaf.item, "planned")
    if state is None:
        return StoryFault.NO_SUCH_CODE
    if state not in MOVES.get(before, ()):
        return StoryFault.NO_SUCH_MOVE
    if life.stage is Stage.OPEN and state != "superseded":
        return StoryFault.OUT_OF_ORDER
    if before in _LIVE and state in STANDS and not _steps_agree(life, leaf.item):
        return StoryFault.STEPS_DISAGREE
    life.items[leaf.item] = state
    if life.paused and state == "running":  # it may send nothing at all; its first step would be the lie
        life.begun_paused.add(leaf.item)
    return None


def _steps_agree(life: LifeOfPlan, item: int) -> bool:
    """Tell whether an item's writes may stand, by the last verdict on each of its steps; it may have none.

    One was applied, and one that diverged has a later one that was applied, as a fallback is.
    """
    last = {step: tickets[-1] for step, tickets in life.steps.get(item, {}).items()}
    applied = [step for step, verdict in last.items() if verdict == "applied"]
    diverged = [step for step, verdict in last.items() if verdict == "diverged"]
    return not last or (bool(applied) and max(diverged, default=-1) < max(applied))
