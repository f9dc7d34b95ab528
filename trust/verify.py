"""Whether a statement may be acted on: its signers, their roles, its time, and whether enough distinct people agree.

`verify_*` raises; `get_approval_result` and `get_standing_result` explain and never raise. What holds here:

* Keys are looked up in the trust document, never in the message.
* Bytes are verified before they are parsed.
* People are counted, not signatures, keys or key ids: one person with two keys is one.
* The requester never counts, nor the person that runs the program that asked, but in class *alone* (ADR 27).
* Statements that stop (cancel, pause, freeze) hold under an expired trust document; those that let go on do not.
* A plan is judged by the stricter of two policies: that of its preview, and that of now.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC
from typing import Final, TypeVar

from trust import chain, seal, statements
from trust import envelope as _envelope
from trust.checkpoint import parse_vkey_untrusted
from trust.document import ED25519, EVERYWHERE, UNKNOWN, Person, Trust, key_in_force
from trust.envelope import Envelope
from trust.errors import (
    MalformedError,
    MalformedKeyError,
    MalformedStatementError,
    NotUnderstoodError,
    Reason,
    RefusedError,
)
from trust.limits import VIEW_SECONDS_MAX
from trust.moments import moment_text
from trust.policy import (
    BY_SIGHT,
    Channel,
    PolicyClass,
    RiskClass,
    Role,
    ServiceRequester,
    UnknownRequester,
    preset,
    stricter,
)
from trust.statements import (
    Approval,
    Cancel,
    Decision,
    Enroll,
    Freeze,
    FreezeScope,
    Intent,
    Outcome,
    Pause,
    Plan,
    Receipt,
    Resume,
    Saw,
    SealKey,
    Standing,
    StandingEvidence,
    Unfreeze,
    View,
)

CLOCK_SLACK_S: Final = 300
"""How far two clocks may be apart before a statement is called one from the future."""

UNFREEZE_PEOPLE: Final = 2
FRESH_S: Final = 86_400
"""For how long a lift, pause or resume is taken after it was signed."""
STANDING_PEOPLE: Final = 2
BY_STANDING: Final = frozenset({RiskClass.RESTORE, RiskClass.PROVISION, RiskClass.SUPPORT})
"""Classes of plans that a standing authority may approve."""
_APPROVING: Final = frozenset({Role.OWNER, Role.APPROVER})
_REVIEWED: Final = replace(
    next(c for c in preset() if c.risk_class is RiskClass.ALONE), roles=(Role.OWNER, Role.APPROVER, Role.AUDITOR)
)
"""The policy of reviews, of which only the roles count: no owner can take away that somebody looks."""
_S = TypeVar("_S")


def _open(envelope: Envelope, kind: type[_S], known: Collection[bytes], trust: Trust) -> tuple[_S, set[bytes]]:
    """Return the statement and its known signers; signatures first, then the bytes that were signed."""
    if envelope.payload_type != statements.payload_type(kind):
        raise RefusedError(Reason.WRONG_TYPE, f"expected {statements.kind_of(kind)}, got another payload type")
    # Before the first parse: two parsers that disagree about the same bytes are an attack (ADR 3)
    signers = _envelope.signed_by(envelope, known)
    if not signers:
        raise RefusedError(Reason.UNKNOWN_SIGNER, f"nobody whom the trust document knows signed this {kind.__name__}")
    try:
        statement = statements.decode_as_untrusted(kind, envelope)
    except NotUnderstoodError as err:
        raise RefusedError(Reason.NOT_UNDERSTOOD, str(err)) from err
    except MalformedStatementError as err:
        raise RefusedError(Reason.MALFORMED, str(err)) from err
    if getattr(statement, "trust_id", None) != trust.trust_id:
        raise RefusedError(Reason.WRONG_TRUST, f"this {statements.kind_of(kind)} belongs to another trust chain")
    return statement, set(signers)


# --- what agents sign -----------------------------------------------------------------------------------------------


def _open_agents(envelope: Envelope, kind: type[_S], trust: Trust) -> _S:
    keys = {bytes.fromhex(a.plan_key): a.agent for a in trust.agents}
    statement, signers = _open(envelope, kind, keys, trust)
    if getattr(statement, "agent", None) not in {keys[public] for public in signers}:
        raise RefusedError(Reason.SIGNER_IS_ANOTHER, f"another agent signed this {statements.kind_of(kind)}")
    return statement


def verify_plan(envelope: Envelope, trust: Trust) -> Plan:
    """Return the plan that its agent signed.

    Raises:
        RefusedError: of another type, chain or signer, or malformed.
    """
    return _open_agents(envelope, Plan, trust)


def verify_receipt(envelope: Envelope, trust: Trust) -> Receipt:
    """Return the receipt that its agent signed.

    Raises:
        RefusedError: of another type, chain or signer, or malformed.
    """
    return _open_agents(envelope, Receipt, trust)


def verify_outcome(envelope: Envelope, trust: Trust) -> Outcome:
    """Return the outcome that its agent signed.

    Raises:
        RefusedError: of another type, chain or signer, or malformed.
    """
    return _open_agents(envelope, Outcome, trust)


def verify_sealkey(envelope: Envelope, trust: Trust, now_s: int) -> SealKey:
    """Return the sealing key that its agent signed, within its dates.

    Raises:
        RefusedError: of another type, chain or signer, malformed, a key that hides nothing, not valid yet or any more.
    """
    named = _open_agents(envelope, SealKey, trust)
    _check_sealing(named.x25519)
    if now_s + CLOCK_SLACK_S < named.not_before * 60:
        raise RefusedError(Reason.NOT_YET_VALID, "the sealing key is not valid yet")
    if now_s > named.not_after * 60:
        raise RefusedError(Reason.EXPIRED, "the sealing key is past its date")
    return named


def _check_sealing(public: str) -> None:
    try:
        seal.check_sealing_public_untrusted(bytes.fromhex(public))
    except MalformedKeyError as err:
        raise RefusedError(Reason.MALFORMED, str(err)) from err


def verify_enroll(envelope: Envelope) -> Enroll:
    """Return the enrolment that both of its own keys signed; only the typed words can say to whom they belong.

    Raises:
        RefusedError: of another type, malformed, or a key did not sign.
    """
    try:
        named = statements.decode_as_untrusted(Enroll, envelope)
        keys = {bytes.fromhex(named.plan_key), parse_vkey_untrusted(named.log_key).public}
    except NotUnderstoodError as err:
        raise RefusedError(Reason.NOT_UNDERSTOOD, str(err)) from err
    except MalformedError as err:
        raise RefusedError(Reason.MALFORMED, str(err)) from err
    # One key in both places would prove the possession of one only
    if len(keys) != 2 or _envelope.signed_by(envelope, keys) != keys:
        raise RefusedError(Reason.UNKNOWN_SIGNER, "expected signatures by both of the agent's keys")
    return named


# --- what people sign -----------------------------------------------------------------------------------------------


def _open_persons(envelope: Envelope, kind: type[_S], trust: Trust, now_s: int) -> tuple[_S, Person, list[Person]]:
    """Return the statement, the person that it names, and all people with keys in force that signed it."""
    people = trust.people_by_key()
    statement, signers = _open(envelope, kind, people, trust)
    handle = getattr(statement, "person", None)
    keys = [public for public in signers if people[public].handle == handle]
    if not keys:
        raise RefusedError(Reason.SIGNER_IS_ANOTHER, f"another person signed this {statements.kind_of(kind)}")
    person = people[keys[0]]
    # One key in force will do: while a person changes keys, their tool may sign with the old and the new one
    if not any(key_in_force(person.keys, public, now_s) for public in keys):
        raise RefusedError(Reason.SIGNER_EXPIRED, f"the key of {person.handle} is past its date")
    in_force = {who.handle: who for p, who in people.items() if p in signers and key_in_force(who.keys, p, now_s)}
    return statement, person, list(in_force.values())


def verify_intent(envelope: Envelope, trust: Trust, now_s: int) -> Intent:
    """Return the intent that its requester, a person or a service, signed. It gives no authority.

    Raises:
        RefusedError: of another type, chain or signer, malformed, by a person that may not act on its agent, or past
            its `expires`.
    """
    owners = {public: (person.handle, person.keys) for public, person in trust.people_by_key().items()}
    owners |= {bytes.fromhex(k.pub): (s.service, s.keys) for s in trust.services for k in s.keys if k.kind == ED25519}
    intent, signers = _open(envelope, Intent, owners, trust)
    mine = [public for public in signers if owners[public][0] == intent.requester]
    if not mine:
        raise RefusedError(Reason.SIGNER_IS_ANOTHER, "another one than the requester signed this intent")
    if not any(key_in_force(owners[public][1], public, now_s) for public in mine):
        raise RefusedError(Reason.SIGNER_EXPIRED, f"the key of {intent.requester} is past its date")
    person = trust.person(intent.requester)
    if person is not None and not _covers(person.scope, [intent.agent]):
        raise RefusedError(Reason.OUT_OF_SCOPE, f"{person.handle} may not act on this agent")
    if now_s > intent.expires:
        raise RefusedError(Reason.EXPIRED, "the intent is past its date")
    return intent


def verify_cancel(envelope: Envelope, trust: Trust, now_s: int) -> Cancel:
    """Return the cancel that a person of the trust document signed. An expired document may still stop things.

    Raises:
        RefusedError: of another type, chain or signer, or malformed.
    """
    return _open_persons(envelope, Cancel, trust, now_s)[0]


def verify_pause(envelope: Envelope, trust: Trust, now_s: int, agent: str) -> Pause:
    """Return the pause that a requester or approver of this agent signed within the last day.

    An expired document may still stop things.

    Raises:
        RefusedError: of another type, chain or signer, malformed, too old, or by a person with neither role here.
    """
    pause, person, _ = _open_persons(envelope, Pause, trust, now_s)
    _check_fresh("pause", pause.at, now_s)
    if why := pause_problem(person, agent):
        raise why
    return pause


def pause_problem(person: Person, agent: str) -> RefusedError | None:
    """Return why a person may not pause changes of an agent, or None: whoever may ask for them or decide them may."""
    if not _covers(person.scope, [agent]):
        return RefusedError(Reason.OUT_OF_SCOPE, f"{person.handle} may not act on this agent")
    if not {*_APPROVING, Role.REQUESTER} & set(person.roles):
        return RefusedError(Reason.NOT_AN_APPROVER, f"{person.handle} may neither ask for changes nor approve them")
    return None


def verify_resume(
    envelope: Envelope,
    trust: Trust,
    now_s: int,
    agent: str,
    paused_by: str,
    *,
    frozen_people: Collection[str] = (),
    frozen_keys: Collection[bytes] = (),
) -> Resume:
    """Return the resume that a person signed within the last day: the one that paused it, an approver or an owner.

    Args:
        envelope: the resume.
        trust: the document in force.
        now_s: unix seconds.
        agent: the agent of the plan, where the person may act.
        paused_by: the handle of the person that paused it.
        frozen_people: handles of frozen people, which may let nothing go on.
        frozen_keys: 32 bytes each, likewise.

    Raises:
        RefusedError: of another type, chain or signer, malformed, too old, by another person or a frozen one, or the
            document expired.
    """
    chain.verify_not_expired(trust, now_s)
    resume, person, _ = _open_persons(envelope, Resume, trust, now_s)
    _check_fresh("resume", resume.at, now_s)
    if why := resume_problem(person, agent, paused_by):
        raise why
    if person.handle in frozen_people or _signed_by_any(envelope, person, frozen_keys):
        raise RefusedError(Reason.FROZEN, f"{person.handle} or the key is frozen")
    return resume


def resume_problem(person: Person, agent: str, paused_by: str) -> RefusedError | None:
    """Return why a person may not let a paused change go on, or None: the one that paused it, an approver or an owner
    may.
    """
    if why := pause_problem(person, agent):
        return why
    if person.handle != paused_by and not _APPROVING & set(person.roles):
        text = f"{person.handle} did not pause it: {paused_by}, an approver or an owner lets it go on"
        return RefusedError(Reason.NOT_AN_APPROVER, text)
    return None


def _check_fresh(kind: str, at: int, now_s: int) -> None:
    """Refuse a statement, made at a unix minute, of the future or older than a day.

    Raises:
        RefusedError: it is.
    """
    if at * 60 > now_s + CLOCK_SLACK_S:
        raise RefusedError(Reason.FROM_THE_FUTURE, f"the {kind} was made later than now")
    if now_s > at * 60 + FRESH_S:
        raise RefusedError(Reason.EXPIRED, f"the {kind} is older than a day")


def verify_freeze(envelope: Envelope, trust: Trust, now_s: int) -> Freeze:
    """Return the freeze that a person of the trust document signed. An expired document may still stop things.

    Raises:
        RefusedError: of another type, chain or signer, malformed, or past its `expires`.
    """
    freeze = _open_persons(envelope, Freeze, trust, now_s)[0]
    if freeze.expires and now_s > freeze.expires * 60:
        raise RefusedError(Reason.EXPIRED, "the freeze is past its date")
    return freeze


@dataclass(frozen=True, slots=True)
class CannotLift:
    """People (handles) and public keys (32 bytes each) with signatures that help to lift no such freeze."""

    people: frozenset[str] = frozenset()
    keys: frozenset[bytes] = frozenset()


def cannot_lift(lifted: Collection[tuple[FreezeScope, str]], held: Iterable[tuple[FreezeScope, str]]) -> CannotLift:
    """Return the signers that cannot help to lift freezes: those that one of them freezes, and for a freeze of all
    every frozen one.

    Args:
        lifted: scope and target of each freeze to lift; they are lifted together or not at all.
        held: those of all that hold now.
    """
    stops_all = any(scope in (FreezeScope.ALL, FreezeScope.AGENT) for scope, _ in lifted)
    # Else a frozen person lifts the freeze of all that stands beside theirs, and everything goes on
    bearing = [*lifted, *(held if stops_all else ())]
    return CannotLift(
        frozenset(target for scope, target in bearing if scope is FreezeScope.PERSON),
        frozenset(bytes.fromhex(target) for scope, target in bearing if scope is FreezeScope.KEY),
    )


def verify_unfreeze(
    envelope: Envelope, trust: Trust, now_s: int, agent: str | None = None, but: CannotLift = CannotLift()
) -> Unfreeze:
    """Return the unfreeze that two people, owners or approvers, signed within the last day.

    Args:
        envelope: the unfreeze.
        trust: the document in force.
        now_s: unix seconds.
        agent: the agent at which it is lifted: people count that may act there; None: anywhere.
        but: people and keys that do not count for these freezes.

    Raises:
        RefusedError: of another type, chain or signer, malformed, too few people, too old, or the document expired.
    """
    chain.verify_not_expired(trust, now_s)
    unfreeze, _, signers = _open_persons(envelope, Unfreeze, trust, now_s)
    _check_fresh("unfreeze", unfreeze.at, now_s)
    may = [p for p in signers if _APPROVING & set(p.roles) and (agent is None or _covers(p.scope, [agent]))]
    have = [p for p in may if p.handle not in but.people and not _signed_by_any(envelope, p, but.keys)]
    if len(have) < UNFREEZE_PEOPLE:
        frozen = f"; frozen: {', '.join(p.handle for p in may if p not in have)}" if len(have) < len(may) else ""
        raise RefusedError(
            Reason.THRESHOLD, f"expected {UNFREEZE_PEOPLE} people to lift a freeze, got {len(have)}{frozen}"
        )
    return unfreeze


def _signed_by_any(envelope: Envelope, person: Person, keys: Collection[bytes]) -> bool:
    """Return whether a person signed with one of `keys`."""
    mine = {bytes.fromhex(k.pub) for k in person.keys if k.kind == ED25519}
    return bool(_envelope.signed_by(envelope, mine.intersection(keys)))


def _covers(scope: Collection[str], agents: Collection[str]) -> bool:
    return EVERYWHERE in scope or set(agents) <= set(scope)


def verify_view(envelope: Envelope, trust: Trust, now_s: int) -> tuple[View, Person]:
    """Return the view and the person, which may see that agent's subscribers by today's trust document.

    Raises:
        RefusedError: of another type, chain or signer, malformed, a key that hides nothing, the person may not see,
            past its date or valid for too long, or the document expired.
    """
    chain.verify_not_expired(trust, now_s)
    view, person, _ = _open_persons(envelope, View, trust, now_s)
    if trust.agent(view.agent) is None:
        raise RefusedError(Reason.WRONG_AGENT, "the trust document does not know the view's agent")
    if not person.sees_subscribers:
        raise RefusedError(Reason.NOT_ALLOWED_TO_SEE, f"{person.handle} may not see subscribers")
    if not _covers(person.scope, [view.agent]):
        raise RefusedError(Reason.OUT_OF_SCOPE, f"{person.handle} may not act on this agent")
    if now_s > view.expires * 60:
        raise RefusedError(Reason.EXPIRED, "the view is past its date")
    if view.expires * 60 > now_s + VIEW_SECONDS_MAX + CLOCK_SLACK_S:
        raise RefusedError(Reason.FROM_THE_FUTURE, f"expected a view valid for {VIEW_SECONDS_MAX} s at most, got more")
    _check_sealing(view.eph_pub)
    return view, person


def verify_standing(envelope: Envelope, trust: Trust, now_s: int) -> tuple[Standing, tuple[Person, ...]]:
    """Return the standing authority and the two people or more behind it; it may begin later than now.

    Owners and approvers everywhere that it reaches count, with keys in force.

    Raises:
        RefusedError: of another type, chain or signer, malformed, too few people, past its date, or the document
            expired.
    """
    chain.verify_not_expired(trust, now_s)
    standing, _, signers = _open_persons(envelope, Standing, trust, now_s)
    if now_s > standing.not_after * 60:
        raise RefusedError(Reason.EXPIRED, "the standing authority is past its date")
    people = tuple(p for p in signers if _APPROVING & set(p.roles) and _covers(p.scope, standing.scope))
    if len(people) < STANDING_PEOPLE:
        raise RefusedError(
            Reason.THRESHOLD, f"expected {STANDING_PEOPLE} people to sign a standing authority, got {len(people)}"
        )
    return standing, people


# --- is this plan approved? -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Circumstances:
    """Circumstances that bear on approvals, as the agent knows them.

    `then`: the trust document when the plan was made: the stricter policy holds. `trust_sha256`: the digest of ours.
    `older_sha256`: the digests of the versions before it, as far as they are known. `items`: how many items the plan
    would change. `from_cloud`: which approvals (by position) the cloud delivered. `frozen_people` (handles) and
    `frozen_keys` (32 bytes each) do not count. `recorded`: it was consumed long ago, so a document that says nothing of
    requests of programs is taken at its word; an agent asks for one person more.
    """

    then: Trust | None = None
    trust_sha256: str | None = None
    older_sha256: Mapping[int, str] = field(default_factory=dict)
    items: int | None = None
    from_cloud: frozenset[int] = frozenset()
    frozen_people: frozenset[str] = frozenset()
    frozen_keys: frozenset[bytes] = frozenset()
    recorded: bool = False


@dataclass(frozen=True, slots=True)
class NotCounted:
    """An approval that did not count: its position, the person that it names (empty: unreadable), and why."""

    index: int
    person: str
    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class VerificationResult:
    """Whether a plan may be consumed now, and all that was found.

    `approved`: it may. `need` people must approve; `people` are those that count. `reason` is why it may not;
    `rejected_by` the people that said no; `not_counted` the approvals that were passed over.
    """

    approved: bool
    need: int
    people: tuple[str, ...]
    reason: Reason | None
    message: str
    rejected_by: tuple[str, ...] = ()
    not_counted: tuple[NotCounted, ...] = ()

    @property
    def have(self) -> int:
        """How many people count."""
        return len(self.people)

    @property
    def missing(self) -> int:
        """How many people are missing."""
        return max(0, self.need - self.have)


@dataclass(slots=True)
class _Count:
    people: dict[str, Person] = field(default_factory=dict)
    rejected: list[str] = field(default_factory=list)
    not_counted: list[NotCounted] = field(default_factory=list)


def policy_for(plan: Plan, trust: Trust, then: Trust | None = None) -> PolicyClass | None:
    """Return the needs of the plan's class: the stricter of the policy now and `then`; None where either lacks it."""
    now = trust.policy_class(plan.risk_class)
    if then is None or then is trust or now is None:
        return now
    before = then.policy_class(plan.risk_class)
    return None if before is None else stricter(before, now)


def people_more(policy: PolicyClass, requester: str, trusts: Iterable[Trust], *, recorded: bool = False) -> int:
    """Return how many people more than the class says must approve: 1 where nobody can say which person asked.

    Args:
        policy: the needs of the class.
        requester: of the plan.
        trusts: the documents that bear on it: the one in force, and the one when the plan was made.
        recorded: as in `Circumstances`.
    """
    if requester == UNKNOWN:
        return 1
    held = [t for t in trusts if t.program(requester) is not None]
    # What was consumed was approved by the rules of its day, and must not become a lie afterwards (ADR 27)
    if not held or (recorded and policy.service_requester is None):
        return 0
    return int(policy.service_requester is ServiceRequester.ONE_MORE or any(not runs(requester, t) for t in held))


def runs(requester: str, trust: Trust) -> str:
    """Return the handle of the person that runs this program; empty: it is none, or nobody known runs it."""
    program = trust.program(requester)
    return "" if program is None or trust.person(program.run_by) is None else program.run_by


def get_approval_result(
    plan: Plan,
    plan_digest: bytes,
    approvals: Sequence[Envelope],
    trust: Trust,
    now_s: int,
    *,
    requester: str,
    circumstances: Circumstances = Circumstances(),
) -> VerificationResult:
    """Return whether enough distinct people approve the plan now, and why not. Never raises.

    Args:
        plan: the agent's own plan.
        plan_digest: its digest, 32 bytes.
        approvals: envelopes as they came, in any order.
        trust: the document in force.
        now_s: unix seconds.
        requester: who asked, as the agent knows it; never counts, and neither does the one whom the plan names.
        circumstances: further facts that bear on it.
    """
    policy = policy_for(plan, trust, circumstances.then)
    blocked = _plan_blocked(plan, policy, trust, now_s, requester, circumstances)
    if policy is None or blocked is not None:
        reason, message = blocked or (Reason.NO_SUCH_CLASS, f"the policy has no class {plan.risk_class.value}")
        return VerificationResult(False, 0, (), reason, message)
    # Both: a plan that names another requester than the agent knows must not make either of them count
    judge = _Judge(plan, plan_digest.hex(), policy, trust, now_s, {requester, plan.requester}, circumstances)
    more = people_more(policy, requester, judge.trusts(), recorded=circumstances.recorded)
    count = _Count()
    for index, envelope in enumerate(approvals):
        _judge_one(judge, index, envelope, count)
    return _conclude(count, policy.approvals + more, policy)


def _plan_blocked(
    plan: Plan, policy: PolicyClass | None, trust: Trust, now_s: int, requester: str, c: Circumstances
) -> tuple[Reason, str] | None:
    if now_s > trust.expires:
        return Reason.TRUST_EXPIRED, f"trust version {trust.version} expired: its owners sign a new one"
    if plan.trust_id != trust.trust_id:
        return Reason.WRONG_TRUST, "the plan belongs to another trust chain"
    if trust.agent(plan.agent) is None:
        return Reason.WRONG_AGENT, "the trust document does not know the plan's agent"
    if plan.trust_version > trust.version:
        return (
            Reason.NEWER_TRUST,
            f"the plan was made under trust version {plan.trust_version}, ours is {trust.version}",
        )
    if policy is None:
        return Reason.NO_SUCH_CLASS, f"the policy has no class {plan.risk_class.value}: refused"
    if plan.action not in policy.actions:
        return Reason.CLASS_REFUSED, f"the policy does not allow {plan.action.value} in class {plan.risk_class.value}"
    if c.items is not None and c.items > policy.max_items:
        return Reason.TOO_MANY_ITEMS, f"expected at most {policy.max_items} items in this class, got {c.items}"
    alone = plan.risk_class is RiskClass.ALONE
    if requester == UNKNOWN and (alone or policy.unknown_requester is UnknownRequester.REFUSE):
        return Reason.UNKNOWN_REQUESTER, "nobody knows who asked, and this class needs to know"
    if plan.made * 60 > now_s + CLOCK_SLACK_S:
        return Reason.FROM_THE_FUTURE, "the plan was made later than now: a clock is wrong"
    if now_s > plan.start_by * 60:
        return Reason.EXPIRED, "the plan was not started in time: preview it again"
    return None


@dataclass(frozen=True, slots=True)
class _Judge:
    plan: Plan
    digest: str
    policy: PolicyClass
    trust: Trust
    now_s: int
    requesters: set[str]
    circumstances: Circumstances

    def trusts(self) -> list[Trust]:
        """Return the documents that bear on it; mostly the plan was made under the one in force."""
        then = self.circumstances.then
        return [self.trust] if then is None or then is self.trust else [self.trust, then]

    def run_by(self) -> dict[str, str]:
        """Return the people that run a program that asked for the plan, each with the program."""
        return {runs(each, trust): each for trust in self.trusts() for each in sorted(self.requesters)}


def _judge_one(judge: _Judge, index: int, envelope: Envelope, count: _Count) -> None:
    person = ""
    try:
        approval, signer, _ = _open_persons(envelope, Approval, judge.trust, judge.now_s)
        person = signer.handle
        _check_person(judge, approval, signer, envelope)
        # A no skips what only a yes must meet: it stops the plan also from the requester, and past its date
        if approval.decision is Decision.REJECT:
            if person not in count.rejected:
                count.rejected.append(person)
            return
        _check_counts(judge, approval, index, count)
    except RefusedError as err:
        count.not_counted.append(NotCounted(index, person, err.reason, str(err)))
    else:
        count.people[person] = signer


def _check_person(judge: _Judge, approval: Approval, signer: Person, envelope: Envelope) -> None:
    """The conditions that an approval and a rejection share."""
    c = judge.circumstances
    if judge.digest not in approval.plans:
        raise RefusedError(Reason.OTHER_PLAN, "the approval is for another plan")
    if not set(signer.roles) & set(judge.policy.roles):
        raise RefusedError(Reason.NOT_AN_APPROVER, f"{signer.handle} has no role that approves this class")
    if EVERYWHERE not in signer.scope and judge.plan.agent not in signer.scope:
        raise RefusedError(Reason.OUT_OF_SCOPE, f"{signer.handle} may not act on this agent")
    frozen = {public for public in c.frozen_keys if _envelope.signed_by(envelope, [public])}
    if signer.handle in c.frozen_people or frozen:
        raise RefusedError(Reason.FROZEN, f"{signer.handle} or the key is frozen")
    if approval.seen.trust_version > judge.trust.version:
        raise RefusedError(
            Reason.NEWER_TRUST,
            f"{signer.handle} has seen trust version {approval.seen.trust_version}, ours is {judge.trust.version}",
        )
    seen = approval.seen.trust_version
    # None: a version from before the pin of this agent, of which it keeps nothing to compare
    known = c.trust_sha256 if seen == judge.trust.version else c.older_sha256.get(seen)
    if known is not None and approval.seen.trust_sha256 != known:
        raise RefusedError(Reason.FORKED, f"{signer.handle} has seen another trust version {seen}")


def _check_counts(judge: _Judge, approval: Approval, index: int, count: _Count) -> None:
    plan, policy = judge.plan, judge.policy
    alone = plan.risk_class is RiskClass.ALONE
    if not alone and approval.person in judge.requesters:
        raise RefusedError(Reason.REQUESTER_APPROVES, f"{approval.person} asked for it, so another must approve")
    if (program := judge.run_by().get(approval.person)) is not None:
        raise RefusedError(
            Reason.REQUESTER_APPROVES, f"{approval.person} runs {program}, which asked for it, so another must approve"
        )
    if alone and approval.person not in judge.requesters:
        raise RefusedError(Reason.SIGNER_IS_ANOTHER, "class alone: only who asked signs; ask for the class above")
    if (policy.needs_detail or plan.action in BY_SIGHT) and approval.saw is not Saw.DETAIL:
        raise RefusedError(Reason.SUMMARY_ONLY, f"{approval.person} saw the summary only, this class needs the detail")
    if policy.channel is Channel.LOCAL and index in judge.circumstances.from_cloud:
        raise RefusedError(Reason.WRONG_CHANNEL, "this class takes approvals by the local socket only")
    if judge.now_s < approval.not_before * 60:
        raise RefusedError(Reason.NOT_YET_VALID, f"the approval of {approval.person} is not valid yet")
    until_s = min(approval.not_after * 60, plan.made * 60 + policy.max_ttl_s)
    if judge.now_s > until_s:
        until = moment_text(until_s, UTC)
        raise RefusedError(
            Reason.EXPIRED, f"the approval of {approval.person} was good until {until}: ask them for another"
        )
    if approval.person in count.people:
        raise RefusedError(Reason.DUPLICATE_PERSON, f"{approval.person} is counted already")


def _conclude(count: _Count, need: int, policy: PolicyClass) -> VerificationResult:
    people, reason, message = tuple(count.people), None, "approved by " + ", ".join(count.people)
    owners = [p for p in count.people.values() if Role.OWNER in p.roles]
    # One no outweighs any number of yes
    if count.rejected:
        reason, message = Reason.REJECTED, "rejected by " + ", ".join(count.rejected)
    elif len(people) < need:
        reason, message = Reason.THRESHOLD, f"expected {need} people to approve, got {len(people)}"
    elif policy.owner_required and not owners:
        reason, message = Reason.OWNER_MISSING, "one of those who approve must be an owner"
    return VerificationResult(
        reason is None, need, people, reason, message, tuple(count.rejected), tuple(count.not_counted)
    )


# --- does a standing authority cover this plan? ---------------------------------------------------------------------


def verify_review(
    envelope: Envelope,
    plan: Plan,
    plan_digest: bytes,
    trust: Trust,
    now_s: int,
    *,
    requester: str,
    since_s: int,
    circumstances: Circumstances = Circumstances(),
) -> Approval:
    """Return the decision by which a second person closes the review of a change that one person made alone.

    It is an approval or a rejection of the plan, signed after the plan's run had ended: it allows nothing any more, and
    says that somebody looked. The requester of the change does not count.

    Args:
        envelope: the decision.
        plan: the agent's own plan.
        plan_digest: its digest, 32 bytes.
        trust: the document in force.
        now_s: unix seconds.
        requester: the requester, as the agent knows it.
        since_s: when the run ended, unix seconds.
        circumstances: frozen people and keys, and the digest of the trust document.

    Raises:
        RefusedError: of another type, chain, plan or signer, malformed, by a person that may not review it or saw the
            summary only, signed before the run ended or later than now, or the document expired.
    """
    chain.verify_not_expired(trust, now_s)
    review, person, _ = _open_persons(envelope, Approval, trust, now_s)
    judge = _Judge(plan, plan_digest.hex(), _REVIEWED, trust, now_s, {requester, plan.requester}, circumstances)
    _check_person(judge, review, person, envelope)
    if person.handle in judge.requesters:
        raise RefusedError(Reason.REQUESTER_APPROVES, f"{person.handle} made the change, so another must review it")
    if review.saw is not Saw.DETAIL:
        raise RefusedError(Reason.SUMMARY_ONLY, f"{person.handle} saw the summary only, a review needs the detail")
    if review.not_before * 60 < since_s:
        raise RefusedError(Reason.NOT_YET_VALID, "it was signed before the change ended: look at the result, then sign")
    if review.not_before * 60 > now_s + CLOCK_SLACK_S:
        raise RefusedError(Reason.FROM_THE_FUTURE, "the review was made later than now")
    return review


def get_standing_result(
    plan: Plan,
    standing_envelopes: Sequence[tuple[Envelope, int]],
    trust: Trust,
    now_s: int,
    *,
    requester: str,
    evidence: frozenset[StandingEvidence],
    circumstances: Circumstances = Circumstances(),
) -> VerificationResult:
    """Return whether two people or more allowed such a plan beforehand, and why not. Never raises.

    The policy of the plan's class (*restore*, *provision* or *support*) holds here as for approvals: its roles, the
    people it asks for, an owner, the channel; where it asks for the detail, nothing that was signed beforehand can do.

    Args:
        plan: the agent's own plan.
        standing_envelopes: each standing authority, and how often it was used within the last hour.
        trust: the document in force.
        now_s: unix seconds.
        requester: who asked, as the agent knows it; never counts, and neither does the one whom the plan names.
        evidence: the agent's own knowledge of the plan's one subject.
        circumstances: other facts that bear on it; `items` must be 1, `from_cloud` are positions in
            `standing_envelopes`.
    """
    c = circumstances
    policy = policy_for(plan, trust, c.then)
    blocked = _plan_blocked(plan, policy, trust, now_s, requester, c)
    if policy is None or blocked is not None:
        reason, message = blocked or (Reason.NO_SUCH_CLASS, f"the policy has no class {plan.risk_class.value}")
        return VerificationResult(False, 0, (), reason, message)
    judge = _Judge(plan, "", policy, trust, now_s, {requester, plan.requester}, c)
    # Two signed it at least, so the one who runs a program cannot be alone behind it; of nobody known, there may be one
    need = max(
        STANDING_PEOPLE + (requester == UNKNOWN),
        policy.approvals + people_more(policy, requester, judge.trusts(), recorded=c.recorded),
    )
    if plan.risk_class not in BY_STANDING or plan.action in BY_SIGHT or c.items != 1:
        return VerificationResult(
            False,
            need,
            (),
            Reason.NO_STANDING,
            "a standing authority covers one restore, baseline, test or reboot",
        )
    not_counted: list[NotCounted] = []
    for index, (envelope, uses) in enumerate(standing_envelopes):
        try:
            standing, people = _judge_standing(judge, index, envelope, evidence)
            _check_enough(people, need, policy)
            _check_rate(standing, uses)
        except RefusedError as err:
            not_counted.append(NotCounted(index, "", err.reason, str(err)))
        else:
            handles = tuple(p.handle for p in people)
            message = "by the standing authority of " + ", ".join(handles)
            return VerificationResult(True, need, handles, None, message, (), tuple(not_counted))
    reason, message = Reason.NO_STANDING, "no standing authority covers it"
    for passed in not_counted:
        if passed.reason is Reason.OVER_BUDGET:
            reason, message = passed.reason, passed.message
    return VerificationResult(False, need, (), reason, message, (), tuple(not_counted))


def _judge_standing(
    judge: _Judge, index: int, envelope: Envelope, evidence: frozenset[StandingEvidence]
) -> tuple[Standing, list[Person]]:
    """Return it and the people that count, once it covers the plan now."""
    plan, c = judge.plan, judge.circumstances
    standing, people = verify_standing(envelope, judge.trust, judge.now_s)
    if standing.verb is not plan.action or standing.evidence not in evidence:
        raise RefusedError(Reason.OTHER_PLAN, "it is for another verb, or its evidence is not there")
    if not _covers(standing.scope, [plan.agent]):
        raise RefusedError(Reason.OUT_OF_SCOPE, "it is for other agents")
    if judge.now_s < standing.not_before * 60:
        raise RefusedError(Reason.NOT_YET_VALID, "it is not valid yet")
    if judge.policy.needs_detail:
        raise RefusedError(Reason.SUMMARY_ONLY, "this class needs people who saw the detail")
    if judge.policy.channel is Channel.LOCAL and index in c.from_cloud:
        raise RefusedError(Reason.WRONG_CHANNEL, "this class takes authority by the local socket only")
    return standing, [p for p in people if _standing_counts(judge, p, envelope)]


def _standing_counts(judge: _Judge, person: Person, envelope: Envelope) -> bool:
    c = judge.circumstances
    if person.handle in c.frozen_people or person.handle in judge.requesters or person.handle in judge.run_by():
        return False
    if _signed_by_any(envelope, person, c.frozen_keys):
        return False
    return bool(set(person.roles) & set(judge.policy.roles))


def _check_enough(people: Sequence[Person], need: int, policy: PolicyClass) -> None:
    if len(people) < need:
        raise RefusedError(
            Reason.THRESHOLD, f"expected {need} people of whom none asked or is frozen, got {len(people)}"
        )
    if policy.owner_required and not any(Role.OWNER in p.roles for p in people):
        raise RefusedError(Reason.OWNER_MISSING, "one of those who signed must be an owner")


def _check_rate(standing: Standing, uses: int) -> None:
    most = standing.rate_per_hour
    if uses >= most:
        raise RefusedError(Reason.OVER_BUDGET, f"expected at most {most} uses within an hour, got {uses} already")
