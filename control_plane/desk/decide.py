"""Statements that a person signs at the desk: approvals, rejections, cancels, freezes and their lifts; and whether they
count.
"""

from __future__ import annotations

from collections.abc import Sequence

from control_plane.desk.exported import Exported
from control_plane.errors import InputError
from trust import envelope as envelopes
from trust import statements, verify
from trust.document import EVERYWHERE, Person, Trust, TrustedAgent, key_in_force
from trust.envelope import Envelope
from trust.errors import Reason, RefusedError
from trust.policy import RiskClass, Role
from trust.statements import (
    Approval,
    Cancel,
    Decision,
    Freeze,
    FreezeScope,
    Pause,
    ReasonCode,
    Resume,
    Saw,
    SeenHeads,
    Unfreeze,
)
from trust.verify import Circumstances, VerificationResult

_WARN_ONLY = frozenset({Reason.SUMMARY_ONLY})
"""Why an approval may not count and is signed all the same: the person is told, and the agent judges."""

_REVIEW_MINUTES = 1440
"""How long a signed review may take to the agent, by its own word; the agent goes by when it was signed."""

_NOT_ENOUGH = frozenset({Reason.THRESHOLD, Reason.OWNER_MISSING})


def signer(trust: Trust, public: bytes, now_s: int) -> Person:
    """Return the person that has this key in force.

    Raises:
        RefusedError: nobody's key (`unknown-signer`), or past its date (`signer-expired`).
    """
    person = trust.people_by_key().get(public)
    if person is None:
        raise RefusedError(
            Reason.UNKNOWN_SIGNER,
            f"trust version {trust.version} knows nobody with the key {public.hex()}: an owner adds"
            " it (ispcloud trust)",
        )
    if not key_in_force(person.keys, public, now_s):
        raise RefusedError(
            Reason.SIGNER_EXPIRED,
            f"the key of {person.handle} is past its date: make one with ispcloud keys new, and have an owner add it",
        )
    return person


def requester(trust: Trust, public: bytes, now_s: int) -> str:
    """Return the handle of the person or service that has this key in force.

    Raises:
        RefusedError: nobody's key (`unknown-signer`), or past its date (`signer-expired`).
    """
    for service in trust.services:
        if key_in_force(service.keys, public, now_s):
            return service.service
    return signer(trust, public, now_s).handle


def saw_of(exported: Exported) -> Saw:
    """Return the part of an export that a person can have seen."""
    return Saw.SUMMARY if exported.items is None else Saw.DETAIL


def verify_may_approve(exported: Exported, person: Person, trust: Trust, now_s: int) -> None:
    """Refuse, before anybody reads or types, an approval that the agent would refuse.

    Raises:
        RefusedError: the plan is blocked by policy, time or trust; the person asked for it (but in class *alone*) or
            runs the program that did, has no role that approves its class, or may not act on its agent.
    """
    plan = exported.plan
    result = judge(exported, (), trust, None, now_s)
    if result.reason is not None and result.reason not in _NOT_ENOUGH:
        raise RefusedError(result.reason, result.message)
    asked = person.handle == plan.requester
    if plan.risk_class is RiskClass.ALONE and not asked:
        raise RefusedError(Reason.SIGNER_IS_ANOTHER, f"class alone: only {plan.requester}, who asked, signs")
    if plan.risk_class is not RiskClass.ALONE and asked:
        raise RefusedError(
            Reason.REQUESTER_APPROVES, f"{person.handle} asked for this change, so another person must approve it"
        )
    if person.handle == verify.runs(plan.requester, trust):
        raise RefusedError(
            Reason.REQUESTER_APPROVES,
            f"{person.handle} runs {plan.requester}, which asked for this change, so another person must approve it",
        )
    verify_may_reject(exported, person, trust)


def verify_may_reject(exported: Exported, person: Person, trust: Trust) -> None:
    """Refuse a rejection that the agent would pass over.

    Raises:
        RefusedError: the person has no role that approves the plan's class, or may not act on its agent.
    """
    plan = exported.plan
    policy = trust.policy_class(plan.risk_class)
    if policy is None or not set(policy.roles) & set(person.roles):
        raise RefusedError(
            Reason.NOT_AN_APPROVER,
            f"{person.handle} has no role that approves class {plan.risk_class.value}: ispcloud"
            " trust show names who has",
        )
    if EVERYWHERE not in person.scope and plan.agent not in person.scope:
        raise RefusedError(
            Reason.OUT_OF_SCOPE,
            f"{person.handle} may not act on agent {exported.agent.handle}: its owners give scopes"
            " in the trust document",
        )


def judge(
    exported: Exported, approvals: Sequence[Envelope], trust: Trust, trust_sha256: str | None, now_s: int
) -> VerificationResult:
    """Return the agent's verdict on these approvals under the approver's trust document."""
    circumstances = Circumstances(trust_sha256=trust_sha256, items=exported.changing)
    return verify.get_approval_result(
        exported.plan,
        exported.digest,
        approvals,
        trust,
        now_s,
        requester=exported.plan.requester,
        circumstances=circumstances,
    )


def verify_counts(result: VerificationResult) -> tuple[str, ...]:
    """Return warnings about an approval that was judged alone.

    Raises:
        RefusedError: it would not count for a reason that no policy can lift.
    """
    for passed_over in result.not_counted:
        if passed_over.reason not in _WARN_ONLY:
            raise RefusedError(passed_over.reason, passed_over.message)
    return tuple(f"{n.message}: the agent will not count this approval" for n in result.not_counted)


def approval(
    exported: Exported,
    trust: Trust,
    trust_sha256: str,
    person: Person,
    decision: Decision,
    reason_code: ReasonCode = ReasonCode.CHECKED,
) -> Approval:
    """Return a person's decision on an exported plan, valid for as long as the plan may start."""
    plan = exported.plan
    return Approval(
        trust_id=trust.trust_id,
        plans=(exported.digest.hex(),),
        decision=decision,
        person=person.handle,
        saw=saw_of(exported),
        # Not "now": this clock may be ahead of the agent's
        not_before=plan.made,
        not_after=plan.start_by,
        reason_code=reason_code,
        seen=SeenHeads(trust.version, trust_sha256, (exported.log,)),
    )


def verify_may_review(exported: Exported, person: Person) -> None:
    """Refuse, before anybody reads or types, a review that the agent would refuse.

    Raises:
        RefusedError: nobody did the change alone, the person did it, may not review, may not act on its agent, or does
            not see the items.
    """
    plan = exported.plan
    if plan.risk_class is not RiskClass.ALONE:
        raise RefusedError(Reason.OTHER_PLAN, f"class {plan.risk_class.value} needs no review: nobody did it alone")
    if person.handle == plan.requester:
        raise RefusedError(Reason.REQUESTER_APPROVES, f"{person.handle} made this change, so another must review it")
    if not {Role.OWNER, Role.APPROVER, Role.AUDITOR} & set(person.roles):
        raise RefusedError(Reason.NOT_AN_APPROVER, f"{person.handle} has no role that reviews changes")
    if EVERYWHERE not in person.scope and plan.agent not in person.scope:
        raise RefusedError(
            Reason.OUT_OF_SCOPE,
            f"{person.handle} may not act on agent {exported.agent.handle}: its owners give scopes"
            " in the trust document",
        )
    if not person.sees_subscribers:
        raise RefusedError(Reason.SUMMARY_ONLY, f"{person.handle} may not see the items, which a review needs")


def review(
    exported: Exported, trust: Trust, trust_sha256: str, person: Person, decision: Decision, now_s: int
) -> Approval:
    """Return a person's review of a change that another made alone: their decision, dated after the change."""
    in_order = decision is Decision.APPROVE
    minute = -(-now_s // 60)
    return Approval(
        trust_id=trust.trust_id,
        plans=(exported.digest.hex(),),
        decision=decision,
        person=person.handle,
        saw=saw_of(exported),
        not_before=minute,
        not_after=minute + _REVIEW_MINUTES,
        reason_code=ReasonCode.CHECKED if in_order else ReasonCode.OTHER,
        seen=SeenHeads(trust.version, trust_sha256, (exported.log,)),
    )


def cancel(exported: Exported, trust: Trust, person: Person, cancel_id: str, now_s: int) -> Cancel:
    """Return a cancel of an exported plan. `cancel_id` is 128 random bits, hex."""
    return Cancel(trust.trust_id, cancel_id, (exported.digest.hex(),), person.handle, now_s // 60)


def pause(exported: Exported, trust: Trust, person: Person, pause_id: str, now_s: int) -> Pause:
    """Return a pause of an exported plan. `pause_id` is 128 random bits, hex.

    Raises:
        RefusedError: the agent would refuse this person.
    """
    if why := verify.pause_problem(person, exported.plan.agent):
        raise why
    return Pause(trust.trust_id, pause_id, exported.digest.hex(), person.handle, now_s // 60)


def resume(exported: Exported, trust: Trust, person: Person, resume_id: str, now_s: int) -> Resume:
    """Return a resume of an exported plan; only the agent knows the person that paused it. `resume_id` is 128 random
    bits, hex.

    Raises:
        RefusedError: the agent would refuse this person.
    """
    if why := verify.resume_problem(person, exported.plan.agent, person.handle):
        raise why
    return Resume(trust.trust_id, resume_id, exported.digest.hex(), person.handle, -(-now_s // 60))


def freeze(
    trust: Trust, person: Person, scope: FreezeScope, target: str, freeze_id: str, now_s: int, hours: int = 0
) -> Freeze:
    """Return a freeze for its person to sign.

    Args:
        trust: the person's own document.
        person: the signer.
        scope: everything, or an agent, person or key.
        target: empty for all; an agent's handle or id; a person's handle; a public key in hex.
        freeze_id: 128 random bits, hex.
        now_s: unix seconds.
        hours: how long; 0: until it is lifted.

    Raises:
        InputError: the target does not fit the scope, or the trust document does not know it.
    """
    at = now_s // 60
    target = _target(trust, scope, target)
    return Freeze(trust.trust_id, freeze_id, scope, target, person.handle, at, at + hours * 60 if hours else 0)


def _target(trust: Trust, scope: FreezeScope, target: str) -> str:
    match scope:
        case FreezeScope.ALL:
            if target:
                raise InputError("expected no target with scope all, got one")
            return ""
        case FreezeScope.AGENT:
            return find_agent(trust, target).agent
        case FreezeScope.PERSON:
            if trust.person(target) is None:
                raise InputError(f"expected a person of trust version {trust.version}, got {target!r}")
            return target
        case FreezeScope.KEY:
            if len(target) != 64 or target.strip("0123456789abcdef"):
                raise InputError("expected a public key of 64 lower-case hex digits as the target")
            return target


def find_agent(trust: Trust, name: str) -> TrustedAgent:
    """Return an agent by handle or id.

    Raises:
        InputError: the trust document has none such.
    """
    found = next((a for a in trust.agents if name in {a.handle, a.agent}), None)
    if found is None:
        known = ", ".join(a.handle for a in trust.agents) or "none"
        raise InputError(f"expected an agent of the trust document ({known}), got {name!r}")
    return found


def verify_freeze_to_lift(envelope: Envelope, trust: Trust, now_s: int) -> Freeze:
    """Return the freeze that somebody wants lifted.

    Raises:
        RefusedError: of another type, chain or signer, malformed, or past its date anyway.
    """
    return verify.verify_freeze(envelope, trust, now_s)


def unfreeze(trust: Trust, freezes: Sequence[Envelope], person: Person, now_s: int) -> Unfreeze:
    """Return the unfreeze, once two people signed it.

    Raises:
        RefusedError: the person is neither owner nor approver.
    """
    check_may_unfreeze(person)
    first, *also = dict.fromkeys(envelopes.digest(one).hex() for one in freezes)
    return Unfreeze(trust.trust_id, first, person.handle, now_s // 60, tuple(also))


def check_may_unfreeze(person: Person) -> None:
    """Refuse people that have no signature on an unfreeze that counts.

    Raises:
        RefusedError: neither owner nor approver.
    """
    if not {Role.OWNER, Role.APPROVER} & set(person.roles):
        raise RefusedError(
            Reason.NOT_AN_APPROVER, f"expected an owner or approver to lift a freeze, {person.handle} is neither"
        )


def verify_unfreeze_to_join(envelope: Envelope, freezes: Sequence[Envelope], trust: Trust, person: Person) -> Unfreeze:
    """Return the unfreeze that a second person adds their signature to.

    Raises:
        MalformedStatementError: not an unfreeze.
        RefusedError: it lifts other freezes (`other-plan`), nobody known or the same person signed it already, or this
            person's signature would not count.
    """
    check_may_unfreeze(person)
    people = trust.people_by_key()
    signers = {people[public].handle for public in envelopes.signed_by(envelope, people)}
    begun = statements.decode_as_untrusted(Unfreeze, envelope)
    if set(begun.freezes) != {envelopes.digest(one).hex() for one in freezes}:
        raise RefusedError(
            Reason.OTHER_PLAN,
            f"expected an unfreeze of the {len(freezes)} that you name, it lifts another one, or {len(begun.freezes)}",
        )
    if begun.person not in signers:
        raise RefusedError(Reason.SIGNER_IS_ANOTHER, f"expected {begun.person}, who began it, to have signed it")
    if person.handle in signers:
        raise RefusedError(Reason.DUPLICATE_PERSON, f"{person.handle} signed this already: a second person must")
    return begun
