"""The story of one plan by an export: whether its leaves are a possible life, and the signatures behind its use.

* The leaves are taken in the order of the log, never of the file.
* A statement counts from the leaf on that names it. Leaves from before leaves named theirs, and closed ones, leave
  something open: it is said to be not judged, and nothing is claimed instead.
* That something did not happen is said only where the file shows that it holds all leaves of the plan.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from trust import envelope as _envelope
from trust import statements, verify
from trust.document import ED25519, Trust
from trust.envelope import Envelope
from trust.errors import MalformedStatementError, RefusedError
from trust.items import Items, Listed
from trust.leaf import NO_PLAN, PLAN_LEAVES, SIGNED_OR_NOT, STATEMENT, STATEMENT_KINDS, Leaf, LeafKind
from trust.life import LifeOfPlan, PlanEnding, Stage, StoryFault, buckets_of, outcome_of, replay
from trust.limits import RECORD_BYTES, TREE_SIZE_MAX
from trust.plural import counted
from trust.statements import (
    Approval,
    Decision,
    Freeze,
    FreezeScope,
    OnFailure,
    Outcome,
    Plan,
    SizeBucket,
    Standing,
    StandingEvidence,
    Unfreeze,
)
from trust.strict_json import read_object_untrusted

NOT_JUDGED: Final = "NOT JUDGED"
ALWAYS_OPEN: Final = (
    f"{NOT_JUDGED}: hours, budgets of an hour, the way by which an approval came, and who asked by the local socket:"
    " they are the agent's word"
)
_BEHIND: Final = frozenset(statements.payload_type(kind) for kind in (Approval, Standing, Freeze, Unfreeze))
_LEAST: Final[Mapping[SizeBucket, int]] = {
    SizeBucket.NONE: 0,
    SizeBucket.ONE: 1,
    SizeBucket.TO_10: 2,
    SizeBucket.TO_100: 11,
    SizeBucket.TO_1000: 101,
    SizeBucket.TO_10000: 1001,
    SizeBucket.MORE: 10_001,
}


@dataclass(frozen=True, slots=True)
class Named:
    """The fields of a leaf's record that judge: the statement for which it was written, and how many leaves there are.

    `statement` is a digest in hex, "" where the record is open and names none.
    """

    statement: str
    leaves: int | None


@dataclass(frozen=True, slots=True)
class LogLeaf:
    """A leaf that was proven to be in the log. `named` is None where its record is closed."""

    index: int
    leaf: Leaf
    named: Named | None


@dataclass(frozen=True, slots=True)
class Log:
    """The proven leaves of a file in the order of the log. `whole`: it holds every leaf under its checkpoint."""

    leaves: tuple[LogLeaf, ...]
    whole: bool
    of_plan: Mapping[bytes, Sequence[LogLeaf]] = field(init=False, repr=False)
    freezing: Sequence[LogLeaf] = field(init=False, repr=False)
    """The leaves of freezes and of their ends."""

    def __post_init__(self) -> None:
        """Sort the leaves by their plan, once: a log has many."""
        of_plan: dict[bytes, list[LogLeaf]] = {}
        for entry in self.leaves:
            if entry.leaf.plan != NO_PLAN:
                of_plan.setdefault(entry.leaf.plan, []).append(entry)
        freezing = [e for e in self.leaves if e.leaf.kind in (LeafKind.FREEZE, LeafKind.UNFREEZE)]
        object.__setattr__(self, "of_plan", of_plan)
        object.__setattr__(self, "freezing", freezing)


@dataclass(frozen=True, slots=True)
class Signed:
    """A statement as it was signed, and its digest in hex."""

    envelope: Envelope
    sha256: str


class Behind:
    """The statements of a file that may stand behind plans or against them, by their keys of look-up.

    Nothing of them is verified yet; an unreadable one stands behind nothing.
    """

    def __init__(self, envelopes: Iterable[Envelope]) -> None:
        """Sort them, once: a file has many."""
        self.approvals: dict[str, list[tuple[Signed, Decision]]] = {}
        """By the digest of a plan that they name."""
        self.standings: dict[str, list[Signed]] = {}
        """By their id."""
        self.freezing: dict[str, Envelope] = {}
        """Freezes and their ends, by their digest."""
        for envelope in envelopes:
            if envelope.payload_type in _BEHIND:
                with contextlib.suppress(MalformedStatementError):
                    self._take(envelope)

    def _take(self, envelope: Envelope) -> None:
        signed = Signed(envelope, _envelope.digest(envelope).hex())
        match statements.decode_untrusted(envelope.payload_type, envelope.payload):
            case Approval() as approval:
                for plan in approval.plans:
                    self.approvals.setdefault(plan, []).append((signed, approval.decision))
            case Standing() as standing:
                self.standings.setdefault(standing.standing_id, []).append(signed)
            case _:  # a freeze, or what lifts one
                self.freezing[signed.sha256] = envelope


@dataclass(frozen=True, slots=True)
class StoryLine:
    """One thing that was looked at. `fault`: why it is refused; `part`: the file does not show enough to judge it."""

    text: str
    fault: StoryFault | None = None
    part: bool = False


@dataclass(frozen=True, slots=True)
class Case:
    """A plan and everything in its file that may bear on it. `items`: its items, where the file has them."""

    plan: Plan
    digest: bytes
    log: Log
    trusts: Mapping[int, Trust]
    behind: Behind
    outcomes: Sequence[tuple[Outcome, bytes]]
    items: Items | None


def read_record_untrusted(kind: LeafKind, record: bytes) -> Named:
    """Return the fields of a leaf's record that judge; a record of another form names nothing."""
    if kind not in STATEMENT_KINDS | SIGNED_OR_NOT:
        return Named("", None)
    try:
        r = read_object_untrusted(record, RECORD_BYTES, "record")
        statement = r.hex(STATEMENT, 32) if r.has(STATEMENT) else ""
        leaves = r.integer(PLAN_LEAVES, 1, TREE_SIZE_MAX) if r.has(PLAN_LEAVES) else None
    except MalformedStatementError:
        return Named("", None)
    return Named(statement, leaves)


def get_log_findings(log: Log, plans: Mapping[bytes, Plan]) -> list[StoryLine]:
    """Return the faults of the leaves alone: of the plans in the file, and of all where it holds the whole log."""
    found = []
    for digest, mine in log.of_plan.items():
        plan = plans.get(digest)
        if plan is None and not log.whole:
            continue  # one leaf with its proof tells no story
        reverts = plan is None or plan.on_failure is OnFailure.REVERT
        life = _replayed(mine, reverts=reverts)
        if life.fault is not None:
            found.append(StoryLine(f"plan {digest.hex()[:8]}: {life.fault.meaning} (leaf {life.at})", life.fault))
    named = False
    for entry in log.leaves:
        if entry.leaf.kind in STATEMENT_KINDS and entry.named is not None:
            if named and not entry.named.statement:
                meaning = StoryFault.COMMITMENT_DROPPED.meaning
                found.append(StoryLine(f"leaf {entry.index}: {meaning}", StoryFault.COMMITMENT_DROPPED))
            named = named or bool(entry.named.statement)
    return found


def _replayed(leaves: Sequence[LogLeaf], *, reverts: bool) -> LifeOfPlan:
    return replay(((entry.index, entry.leaf) for entry in leaves), reverts=reverts)


def get_plan_findings(case: Case) -> list[StoryLine]:
    """Return the story that a file tells of a plan. Contradictions within its life alone are in `get_log_findings`."""
    name, mine = f"plan {case.plan.plan_id}", case.log.of_plan.get(case.digest)
    if not mine:
        return [StoryLine(f"{name}: {StoryFault.NOTHING_SAID.meaning}", StoryFault.NOTHING_SAID)]
    life = _replayed(mine, reverts=case.plan.on_failure is OnFailure.REVERT)
    if life.fault is not None:
        return []
    found = [StoryLine(f"{name}: its {life.leaves} leaves are in an order that a plan can have")]
    named = {entry.index: entry.named for entry in mine}
    whole, said = _completeness(case, life, named)
    found += said
    reviews = _reviews(case, mine)
    if any(entry.leaf.kind is LeafKind.REVIEW_OPENED for entry in mine):
        found += _told_reviews(list(reviews.values()), closed=any(e.leaf.kind is LeafKind.REVIEW_CLOSED for e in mine))
    if life.consumed is None:
        return [*found, _not_consumed(name, life, whole=whole)]
    return [*found, *_consumed(case, life, mine, reviews)]


def _not_consumed(name: str, life: LifeOfPlan, *, whole: bool) -> StoryLine:
    if whole:
        return StoryLine(
            f"{name}: {'not consumed, and never will be' if life.stage is Stage.CLOSED else 'not consumed'}"
        )
    return StoryLine(
        f"{name}: {NOT_JUDGED}: whether it was consumed: no leaf in this file says so, and the file may lack leaves",
        part=True,
    )


# --- is anything missing, and is the outcome the leaves' own? -------------------------------------------------------


def _completeness(case: Case, life: LifeOfPlan, named: Mapping[int, Named | None]) -> tuple[bool, list[StoryLine]]:
    """Return whether the file holds all leaves of the plan, as far as its last outcome, and the findings."""
    found: list[StoryLine] = []
    counted = 0
    for number, ending in enumerate(life.endings, start=1):
        says = named[ending.index]
        counted = ending.leaves if says is not None and says.leaves is not None else 0
        if says is not None and says.leaves is not None and says.leaves != ending.leaves:
            text = f"leaf {ending.index}: expected {says.leaves} leaves of the plan up to here, got {ending.leaves}"
            found.append(StoryLine(text, StoryFault.INCOMPLETE))
        found += _outcomes_of(case, life, number, ending, says)
    for outcome, _ in case.outcomes:
        if outcome.seq > len(life.endings):
            found.append(_without_ending(life, outcome))
    if case.log.whole:
        found.append(StoryLine("the file holds the whole log: nothing of the plan is missing"))
    elif counted and not any(f.fault for f in found):
        found.append(StoryLine(f"complete up to its outcome {len(life.endings)}: all {counted} leaves are there"))
    elif not any(f.fault or f.part for f in found):
        why = "no outcome in this file counts them" if not life.endings else "written before outcomes counted them"
        found.append(StoryLine(f"{NOT_JUDGED}: whether leaves of the plan are missing: {why}", part=True))
    return case.log.whole or bool(counted), found


def _without_ending(life: LifeOfPlan, outcome: Outcome) -> StoryLine:
    """An outcome without its leaf: older agents wrote none for a plan that never started."""
    if life.stage is Stage.CLOSED and outcome.seq == 1 and outcome.state in life.outcome_states:
        return StoryLine(
            f"outcome 1: {outcome.state.value}; {NOT_JUDGED}: whether leaves are missing: written before it had a leaf",
            part=True,
        )
    text = f"outcome {outcome.seq} has no leaf in this file"
    return StoryLine(text, StoryFault.INCOMPLETE)


def _outcomes_of(
    case: Case, life: LifeOfPlan, number: int, ending: PlanEnding, says: Named | None
) -> Iterator[StoryLine]:
    for outcome, digest in case.outcomes:
        if outcome.seq != number:
            continue
        if says is not None and says.statement and says.statement != digest.hex():
            yield StoryLine(f"outcome {number}: {StoryFault.OTHER_OUTCOME.meaning}", StoryFault.OTHER_OUTCOME)
        elif not _agrees(life, ending, outcome):
            yield StoryLine(f"outcome {number}: {StoryFault.OUTCOME_DISAGREES.meaning}", StoryFault.OUTCOME_DISAGREES)
        else:
            yield StoryLine(f"outcome {number}: {outcome.state.value}, as the leaves of its items say")


def _agrees(life: LifeOfPlan, ending: PlanEnding, outcome: Outcome) -> bool:
    if life.consumed is None or ending.index < life.consumed:
        return outcome.state in life.outcome_states
    return outcome.state is outcome_of(ending.items) and dict(outcome.buckets) == buckets_of(ending.items)


# --- who stood behind it when it was consumed? ----------------------------------------------------------------------


@dataclass(slots=True)
class _Counted:
    """The approvals that the log names before a plan is used, and `late` ones. `open`: leaves that name none."""

    approvals: list[Envelope] = field(default_factory=list)
    late: list[Envelope] = field(default_factory=list)
    open: int = 0


def _consumed(
    case: Case, life: LifeOfPlan, mine: Sequence[LogLeaf], reviews: Mapping[str, Approval]
) -> Iterator[StoryLine]:
    at = next(entry for entry in mine if entry.index == life.consumed)
    trust, then = case.trusts.get(at.leaf.trust_version), case.trusts.get(case.plan.trust_version)
    missing = [v for v, t in ((at.leaf.trust_version, trust), (case.plan.trust_version, then)) if t is None]
    if trust is None or then is None:
        rests = "under which the plan was made or consumed, is not in the file"
        yield StoryLine(f"trust version {missing[0]}, {rests}", StoryFault.TRUST_MISSING)
        return
    freezes, unread = _freezes(case)
    behind = _behind(case, mine, at.index, reviews)
    minute = at.leaf.minute
    held = [f for f in freezes if f.holds(at, case.trusts)]
    items, sized = _items(case)
    circumstances = verify.Circumstances(
        then=then,
        items=items,
        recorded=True,
        frozen_people=frozenset(f.freeze.target for f in held if f.freeze.scope is FreezeScope.PERSON),
        frozen_keys=frozenset(bytes.fromhex(f.freeze.target) for f in held if f.freeze.scope is FreezeScope.KEY),
    )

    def count(approvals: Sequence[Envelope]) -> verify.VerificationResult:
        requester = case.plan.requester
        return verify.get_approval_result(
            case.plan, case.digest, approvals, trust, minute * 60, requester=requester, circumstances=circumstances
        )

    result = count(behind.approvals)
    by: list[Envelope] = behind.approvals
    if result.approved:
        yield StoryLine(f"when it was consumed: {result.message}")
    elif not result.rejected_by and (standing := _by_standing(case, mine, at, trust, circumstances)) is not None:
        by = [standing[0]]
        yield StoryLine(f"when it was consumed: {standing[1]}; the evidence and the rate are the agent's word")
    elif count([*behind.approvals, *behind.late]).approved:
        yield StoryLine(f"when it was consumed: {StoryFault.NO_APPROVAL_LEAF.meaning}", StoryFault.NO_APPROVAL_LEAF)
    else:
        yield StoryLine(f"when it was consumed: {result.message}", StoryFault.NOT_APPROVED)
    if behind.open:
        why = "their leaves are closed, or written before leaves named their statements"
        yield StoryLine(f"{NOT_JUDGED}: which approvals {behind.open} leaves are of: {why}", part=True)
    yield sized
    yield from _frozen(case, mine, freezes, by, unread)
    yield StoryLine(ALWAYS_OPEN)


def _items(case: Case) -> tuple[int, StoryLine]:
    """Return how many items a plan would change, or at least, and the source of that number."""
    if case.items is not None:
        changed = sum(1 for item in case.items.items if item.listed is Listed.CHANGE)
        return changed, StoryLine(f"size: {counted(changed, 'item')}, as its documents say")
    least = _LEAST[case.plan.size_bucket]
    told = f"size: {case.plan.size_bucket.value} items, as the plan says; {NOT_JUDGED}: how many exactly"
    return least, StoryLine(told)


def _behind(case: Case, mine: Sequence[LogLeaf], consumed: int, reviews: Collection[str]) -> _Counted:
    """Return the approvals that the log names before `consumed`, and those that it does not; reviews are neither."""
    before = [e for e in mine if e.index < consumed and e.leaf.kind in (LeafKind.APPROVAL, LeafKind.REJECTION)]
    names = {e.named.statement for e in before if e.named is not None and e.named.statement}
    found = _Counted(open=sum(1 for e in before if e.named is None or not e.named.statement))
    loose = found.open
    for signed, decision in case.behind.approvals.get(case.digest.hex(), ()):
        if signed.sha256 in reviews:
            continue
        if signed.sha256 in names or decision is Decision.REJECT:
            found.approvals.append(signed.envelope)
        elif loose:
            loose -= 1
            found.approvals.append(signed.envelope)
        else:
            found.late.append(signed.envelope)
    return found


def _by_standing(
    case: Case, mine: Sequence[LogLeaf], at: LogLeaf, trust: Trust, circumstances: verify.Circumstances
) -> tuple[Envelope, str] | None:
    """Return the standing authority that the log names before the use and that covers the plan, with its content."""
    used = [e for e in mine if e.index < at.index and e.leaf.kind is LeafKind.STANDING_USED]
    if not used or case.plan.size_bucket is not SizeBucket.ONE:
        return None
    named = used[-1].named
    for signed in case.behind.standings.get(used[-1].leaf.actor.hex(), ()):
        if named is not None and named.statement not in ("", signed.sha256):
            continue
        result = verify.get_standing_result(
            case.plan,
            [(signed.envelope, 0)],
            trust,
            at.leaf.minute * 60,
            requester=case.plan.requester,
            evidence=frozenset(StandingEvidence),
            circumstances=dataclasses.replace(circumstances, items=1),
        )
        if result.approved:
            return signed.envelope, result.message
    return None


# --- the review of what one person did alone -------------------------------------------------------------------------


def _reviews(case: Case, mine: Sequence[LogLeaf]) -> dict[str, Approval]:
    """Return, by digest, the reviews of a change that one person made alone, as the agent judged it."""
    ended = closed = None
    for entry in mine:
        match entry.leaf.kind:
            case LeafKind.RESUMED:
                ended = None
            case LeafKind.CHANGE_FINISHED:
                ended = ended or entry  # a later one is of items that were judged again
            case LeafKind.REVIEW_CLOSED:
                closed = entry
                break
            case _:
                pass
    trust = None if closed is None else case.trusts.get(closed.leaf.trust_version)
    if ended is None or closed is None or trust is None:
        return {}
    found = {}
    for signed, _ in case.behind.approvals.get(case.digest.hex(), ()):
        if closed.named is not None and closed.named.statement not in ("", signed.sha256):
            continue
        with contextlib.suppress(RefusedError):  # an approval of before the run, which is judged as such
            found[signed.sha256] = verify.verify_review(
                signed.envelope,
                case.plan,
                case.digest,
                trust,
                closed.leaf.minute * 60 + 59,  # the leaf knows the minute only
                requester=case.plan.requester,
                since_s=ended.leaf.minute * 60,
            )
    return found


def _told_reviews(reviews: Sequence[Approval], *, closed: bool) -> Iterator[StoryLine]:
    """Tell of the review of a change that one person made alone; no verdict of it fails the file."""
    for review in reviews:
        verdict = "in order" if review.decision is Decision.APPROVE else "NOT IN ORDER"
        yield StoryLine(f"one person did it alone; {review.person} reviewed it afterwards: {verdict}")
    if not reviews:
        missing = f"its review is closed, by a statement that is not in the file: {NOT_JUDGED}"
        yield StoryLine(f"one person did it alone; {missing if closed else 'nobody has reviewed it yet, by this file'}")


# --- was anything frozen? -------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Frozen:
    """A freeze, from its leaf (`since`) to the leaf that lifts it."""

    freeze: Freeze
    since: LogLeaf
    lifted: int | None = None

    def holds(self, entry: LogLeaf, trusts: Mapping[int, Trust]) -> bool:
        """Tell whether it holds at a leaf: not past its date, nor once its author left the trust document."""
        span = range(self.since.leaf.trust_version, entry.leaf.trust_version + 1)
        left = any(trusts[v].person(self.freeze.person) is None for v in span if v in trusts)
        expired = bool(self.freeze.expires) and entry.leaf.minute >= self.freeze.expires
        if left or expired or entry.index <= self.since.index:
            return False
        return self.lifted is None or entry.index < self.lifted


def _freezes(case: Case) -> tuple[list[_Frozen], int]:
    """Return the freezes that the log names, and how many leaves of freezes name none that is in the file."""
    found: dict[str, _Frozen] = {}
    freezes = 0
    for entry in case.log.freezing:
        freezes += entry.leaf.kind is LeafKind.FREEZE
        named = entry.named.statement if entry.named is not None else ""
        envelope, trust = case.behind.freezing.get(named), case.trusts.get(entry.leaf.trust_version)
        if envelope is not None and trust is not None:
            with contextlib.suppress(RefusedError):  # it freezes nothing that is shown, or lifts nothing
                if entry.leaf.kind is LeafKind.FREEZE:
                    freeze = verify.verify_freeze(envelope, trust, 0)  # its date is asked at each leaf
                    found[named] = _Frozen(freeze, entry)
                else:
                    _lift(case, found, entry, envelope, trust)
    return list(found.values()), freezes - len(found)


def _lift(case: Case, found: Mapping[str, _Frozen], entry: LogLeaf, envelope: Envelope, trust: Trust) -> None:
    """Lift freezes as the agent did: a frozen person helps to lift nothing that holds them, nor a freeze of all."""
    unfreeze = verify.verify_unfreeze(envelope, trust, entry.leaf.minute * 60, case.plan.agent)
    held = {sha256: f for sha256, f in found.items() if f.holds(entry, case.trusts)}
    lifted = [held[sha256] for sha256 in unfreeze.freezes if sha256 in held]
    stop = {sha256: (f.freeze.scope, f.freeze.target) for sha256, f in held.items()}
    but = verify.cannot_lift([stop[sha256] for sha256 in unfreeze.freezes if sha256 in held], stop.values())
    verify.verify_unfreeze(envelope, trust, entry.leaf.minute * 60, case.plan.agent, but)
    for freeze in lifted:
        freeze.lifted = entry.index


def _frozen(
    case: Case, mine: Sequence[LogLeaf], freezes: Sequence[_Frozen], by: Sequence[Envelope], unread: int
) -> Iterator[StoryLine]:
    kinds = {LeafKind.CONSUMED: StoryFault.CONSUMED_FROZEN, LeafKind.ABOUT_TO: StoryFault.SENT_FROZEN}
    hit = next(
        (
            (entry, frozen)
            for entry in mine
            if entry.leaf.kind in kinds
            for frozen in freezes
            if frozen.holds(entry, case.trusts) and _covers(case, frozen.freeze, by)
        ),
        None,
    )
    if hit is not None:
        entry, frozen = hit
        fault = kinds[entry.leaf.kind]
        yield StoryLine(f"leaf {entry.index}: {fault.meaning} (leaf {frozen.since.index})", fault)
        return
    yield StoryLine(f"freezes: none of the {len(freezes)} in this file held what was done")
    if unread:
        yield StoryLine(f"{NOT_JUDGED}: {unread} freezes, of which the file does not say what they stop", part=True)
    if not case.log.whole:
        yield StoryLine(f"{NOT_JUDGED}: freezes that are not in this file: it does not hold the whole log")


def _covers(case: Case, freeze: Freeze, by: Sequence[Envelope]) -> bool:
    """Tell whether a freeze stops the plan: all, its agent, its requester, or a person or key behind it."""
    match freeze.scope:
        case FreezeScope.ALL:
            return True
        case FreezeScope.AGENT:
            return freeze.target == case.plan.agent
        case FreezeScope.KEY:
            return _signed(by, [bytes.fromhex(freeze.target)])
        case _:
            people = (trust.person(freeze.target) for trust in case.trusts.values())
            keys = {k.pub for person in people if person is not None for k in person.keys if k.kind == ED25519}
            return freeze.target == case.plan.requester or _signed(by, [bytes.fromhex(k) for k in keys])


def _signed(envelopes: Sequence[Envelope], keys: Sequence[bytes]) -> bool:
    """Tell whether one of the keys signed one of the envelopes, or is said to have."""
    try:
        return any(_envelope.signed_by(envelope, keys) for envelope in envelopes)
    except RefusedError:  # a bad signature that names a frozen key
        return True
