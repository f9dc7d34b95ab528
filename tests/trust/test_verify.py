import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders.operator import (
    AGENT,
    DAY,
    MINUTE,
    NOW,
    TRUST_ID,
    approval,
    digest,
    key,
    person,
    plan,
    sha,
    signed_standing,
    standing,
    trust,
)
from trust import checkpoint, envelope, statements, verify
from trust.document import PersonKey, TrustedAgent
from trust.errors import Reason, RefusedError
from trust.policy import Action, Channel, RiskClass, Role, UnknownRequester, preset
from trust.seal import SealingKey
from trust.statements import (
    Approval,
    Cancel,
    Decision,
    Enroll,
    Freeze,
    FreezeScope,
    Intent,
    OnFailure,
    OnStale,
    Outcome,
    OutcomeState,
    Pause,
    Receipt,
    ReceiptResult,
    Resume,
    Saw,
    SealKey,
    SeenHeads,
    StandingEvidence,
    Unfreeze,
    View,
)
from trust.verify import Circumstances

TRUST = trust()
PLAN = plan()


def result(p, approvals, t=TRUST, now=NOW, requester="maria", **circumstances):
    return verify.get_approval_result(
        p, digest(p), approvals, t, now, requester=requester, circumstances=Circumstances(**circumstances)
    )


def not_counted(*args, **kwargs):
    found = result(*args, **kwargs)
    assert not found.approved
    return [n.reason for n in found.not_counted]


def blocked(*args, **kwargs):
    found = result(*args, **kwargs)
    assert (found.approved, found.people) == (False, ())
    return found.reason


def with_policy(risk_class, t=TRUST, **changes):
    entries = tuple(dataclasses.replace(c, **changes) if c.risk_class is risk_class else c for c in t.policy)
    return dataclasses.replace(t, policy=entries)


def test_one_other_person_is_enough_for_a_low_plan():
    found = result(PLAN, [approval(PLAN, "joseph")])
    assert (found.approved, found.people, found.need, found.have, found.missing) == (True, ("joseph",), 1, 1, 0)
    assert found.message == "approved by joseph"
    assert found.reason is None


def test_nobody_is_not_enough():
    found = result(PLAN, [])
    assert (found.approved, found.reason, found.missing) == (False, Reason.THRESHOLD, 1)
    assert found.message.startswith("expected 1 people to approve, got 0")


def test_A1_the_requester_never_counts():
    assert not_counted(PLAN, [approval(PLAN, "maria")]) == [Reason.REQUESTER_APPROVES]
    # whoever the agent's own record names, and whoever the plan names
    assert not_counted(plan(requester="joseph"), [approval(plan(requester="joseph"), "joseph")]) == [
        Reason.REQUESTER_APPROVES
    ]
    assert not_counted(PLAN, [approval(PLAN, "joseph")], requester="joseph") == [Reason.REQUESTER_APPROVES]


def test_A2_a_removed_approver_does_not_count():
    without = trust(people=tuple(p for p in TRUST.people if p.handle != "joseph"))
    assert not_counted(PLAN, [approval(PLAN, "joseph")], without) == [Reason.UNKNOWN_SIGNER]


def test_A3_an_approval_is_for_these_very_bytes():
    other = plan(run_until=PLAN.run_until + 1)
    assert not_counted(PLAN, [approval(other, "joseph")]) == [Reason.OTHER_PLAN]
    data = digest(PLAN)
    for near in (data[:-1] + bytes([data[-1] ^ 1]), bytes(32)):
        found = verify.get_approval_result(PLAN, near, [approval(PLAN, "joseph")], TRUST, NOW, requester="maria")
        assert found.not_counted[0].reason is Reason.OTHER_PLAN


def test_one_approval_may_name_several_plans():
    second = plan(plan_id="23" * 16)
    both = approval(PLAN, "joseph", plans=(digest(second).hex(), digest(PLAN).hex()))
    assert result(PLAN, [both]).approved
    assert result(second, [both]).approved


def test_A4_too_early_and_too_late():
    early = approval(PLAN, "joseph", not_before=MINUTE + 1)
    assert not_counted(PLAN, [early]) == [Reason.NOT_YET_VALID]
    assert result(PLAN, [early], now=(MINUTE + 1) * 60).approved
    short = approval(PLAN, "joseph", not_after=MINUTE + 5)
    assert result(PLAN, [short], now=(MINUTE + 5) * 60).approved
    assert not_counted(PLAN, [short], now=(MINUTE + 5) * 60 + 1) == [Reason.EXPIRED]
    long = plan(start_by=MINUTE + 600, run_until=MINUTE + 600)
    later = approval(long, "joseph", not_after=MINUTE + 600)
    hour4 = long.made * 60 + 4 * 3600
    assert result(long, [later], now=hour4).approved
    assert not_counted(long, [later], now=hour4 + 1) == [Reason.EXPIRED]


def test_A9_A11_claim_of_newer_trust_refuses_that_approval_only():
    ahead = approval(PLAN, "joseph", seen=SeenHeads(2, "ab" * 32))
    assert not_counted(PLAN, [ahead]) == [Reason.NEWER_TRUST]
    assert result(PLAN, [ahead, approval(PLAN, "lena")]).approved
    other = approval(PLAN, "joseph", seen=SeenHeads(1, "ab" * 32))
    assert result(PLAN, [other]).approved
    assert not_counted(PLAN, [other], trust_sha256=sha(TRUST)) == [Reason.FORKED]
    assert result(PLAN, [approval(PLAN, "joseph")], trust_sha256=sha(TRUST)).approved


def test_A13_one_person_may_not_approve_by_a_second_handle():
    assert not_counted(PLAN, [approval(PLAN, "maria", "maria-2")]) == [Reason.REQUESTER_APPROVES]


def test_A14_the_summary_is_not_the_detail():
    summary = approval(PLAN, "joseph", saw=Saw.SUMMARY)
    assert not_counted(PLAN, [summary]) == [Reason.SUMMARY_ONLY]
    assert result(PLAN, [summary], with_policy(RiskClass.LOW, needs_detail=False)).approved


def test_C6_approvers_of_different_plans_meet_no_threshold():
    mine, other = plan(risk_class=RiskClass.BATCH), plan(risk_class=RiskClass.BATCH, items_root="ab" * 32)
    approvals = [approval(mine, "joseph"), approval(other, "lena")]
    assert [result(p, approvals).reason for p in (mine, other)] == [Reason.THRESHOLD] * 2


def test_T3_T5_people_are_counted_not_keys():
    batch = plan(risk_class=RiskClass.BATCH)
    twice = [
        approval(batch, "joseph"),
        approval(batch, "joseph", "joseph-2"),
        approval(batch, "joseph", "joseph", "joseph-2"),
    ]
    found = result(batch, twice)
    assert (found.approved, found.people) == (False, ("joseph",))
    assert [n.reason for n in found.not_counted] == [Reason.DUPLICATE_PERSON] * 2
    assert result(batch, [*twice, approval(batch, "lena")]).people == ("joseph", "lena")


def test_signing_for_another_does_not_count():
    assert not_counted(PLAN, [approval(PLAN, "joseph", "lena")]) == [Reason.SIGNER_IS_ANOTHER]


def test_T14_the_kind_of_a_key_comes_from_trust():
    as_webauthn = tuple(
        dataclasses.replace(p, keys=(PersonKey("webauthn", p.keys[0].pub),)) if p.handle == "joseph" else p
        for p in TRUST.people
    )
    assert not_counted(PLAN, [approval(PLAN, "joseph")], trust(people=as_webauthn)) == [Reason.UNKNOWN_SIGNER]


def test_E4_E5_E7_envelopes_that_are_not_approvals():
    as_plan = statements.sign(PLAN, [key("joseph")])
    bad = approval(PLAN, "joseph", "joseph", "lena")
    bad = dataclasses.replace(
        bad, signatures=(bad.signatures[0], dataclasses.replace(bad.signatures[1], sig=bytes(64)))
    )
    rubbish = envelope.sign(statements.payload_type(Approval), b"{}", [key("joseph")])
    later = envelope.sign(statements.payload_type(Approval), b'{"crit":["x"]}', [key("joseph")])
    foreign = approval(PLAN, "joseph", trust_id="99" * 16)
    assert not_counted(PLAN, [as_plan, bad, approval(PLAN, "eve"), rubbish, later, foreign]) == [
        Reason.WRONG_TYPE,
        Reason.BAD_SIGNATURE,
        Reason.UNKNOWN_SIGNER,
        Reason.MALFORMED,
        Reason.NOT_UNDERSTOOD,
        Reason.WRONG_TRUST,
    ]


def test_roles_and_scope():
    mine = plan(requester="lena")
    found = not_counted(mine, [approval(mine, "tech4"), approval(mine, "far")], requester="lena")
    assert found == [Reason.NOT_AN_APPROVER, Reason.OUT_OF_SCOPE]
    here = dataclasses.replace(TRUST.people[-1], scope=("bb" * 16, AGENT))
    assert result(PLAN, [approval(PLAN, "far")], trust(people=(*TRUST.people[:-1], here))).approved


def test_a_key_past_its_date():
    def until(not_after):
        joseph = TRUST.person("joseph")
        first = dataclasses.replace(joseph.keys[0], not_after=not_after)
        others = tuple(p for p in TRUST.people if p.handle != "joseph")
        return trust(people=(dataclasses.replace(joseph, keys=(first, joseph.keys[1])), *others))

    assert not_counted(PLAN, [approval(PLAN, "joseph")], until(NOW - 1)) == [Reason.SIGNER_EXPIRED]
    assert result(PLAN, [approval(PLAN, "joseph", "joseph-2")], until(NOW - 1)).approved
    assert result(PLAN, [approval(PLAN, "joseph")], until(NOW)).approved


def test_frozen_people_and_keys_do_not_count():
    assert not_counted(PLAN, [approval(PLAN, "joseph")], frozen_people=frozenset({"joseph"})) == [Reason.FROZEN]
    frozen = frozenset({key("joseph").public, key("eve").public})
    assert not_counted(PLAN, [approval(PLAN, "joseph")], frozen_keys=frozen) == [Reason.FROZEN]
    assert result(PLAN, [approval(PLAN, "lena")], frozen_keys=frozen).approved


def test_a_rejection_wins_however_many_approve():
    no = approval(PLAN, "lena", decision=Decision.REJECT, not_after=MINUTE, saw=Saw.SUMMARY)
    found = result(PLAN, [approval(PLAN, "joseph"), no, no], now=NOW + 600)
    assert (found.approved, found.reason, found.rejected_by) == (False, Reason.REJECTED, ("lena",))
    assert result(PLAN, [approval(PLAN, "maria", decision=Decision.REJECT)]).reason is Reason.REJECTED
    assert not_counted(PLAN, [approval(PLAN, "tech4", decision=Decision.REJECT)]) == [Reason.NOT_AN_APPROVER]


def test_large_needs_an_owner():
    large = plan(risk_class=RiskClass.LARGE)
    second = dataclasses.replace(TRUST.people[-1], scope=("all",))
    t = trust(people=(*TRUST.people[:-1], second))
    assert result(large, [approval(large, "joseph"), approval(large, "far")], t).reason is Reason.OWNER_MISSING
    assert result(large, [approval(large, "joseph"), approval(large, "lena")], t).approved


def test_class_alone_counts_the_requester_only():
    alone = plan(risk_class=RiskClass.ALONE, action=Action.RESTORE)
    assert result(alone, [approval(alone, "maria")]).approved
    assert not_counted(alone, [approval(alone, "lena")]) == [Reason.SIGNER_IS_ANOTHER]
    assert not_counted(alone, [approval(alone, "maria")], from_cloud=frozenset({0})) == [Reason.WRONG_CHANNEL]
    nobody = plan(risk_class=RiskClass.ALONE, action=Action.RESTORE, requester="unknown")
    assert blocked(nobody, [], requester="unknown") is Reason.UNKNOWN_REQUESTER


def test_an_unknown_requester():
    p = plan(requester="unknown")
    assert result(p, [approval(p, "joseph")], requester="unknown").need == 2
    assert result(p, [approval(p, "joseph"), approval(p, "lena")], requester="unknown").approved
    refuse = with_policy(RiskClass.LOW, unknown_requester=UnknownRequester.REFUSE)
    assert blocked(p, [approval(p, "joseph")], refuse, requester="unknown") is Reason.UNKNOWN_REQUESTER


def test_A1_a_program_is_no_second_person():
    p = plan(requester="billing")
    one, two = approval(p, "joseph"), approval(p, "lena")
    assert (result(p, [one], requester="billing").need, result(p, [one, two], requester="billing").approved) == (
        2,
        True,
    )
    assert not result(p, [one], requester="billing").approved
    batch = plan(risk_class=RiskClass.BATCH, requester="portal")
    assert result(batch, [], requester="portal").need == 3


def test_A1_who_runs_program_approves_nothing_that_it_asks_for():
    p = plan(requester="portal")
    assert not_counted(p, [approval(p, "joseph")], requester="portal") == [Reason.REQUESTER_APPROVES]
    found = result(p, [approval(p, "lena")], requester="portal")
    assert (found.approved, found.need) == (True, 1)
    alone = plan(risk_class=RiskClass.ALONE, action=Action.RESTORE, requester="portal")
    assert not_counted(alone, [approval(alone, "joseph")], requester="portal") == [Reason.REQUESTER_APPROVES]
    rejects = approval(p, "joseph", decision=Decision.REJECT)
    assert result(p, [rejects], requester="portal").rejected_by == ("joseph",)


def test_who_ran_a_program_when_it_asked_is_not_forgotten():
    p = plan(requester="portal")
    runs = {who: trust(services=(dataclasses.replace(TRUST.services[1], run_by=who),)) for who in ("lena", "", "gone")}
    handed_on = result(p, [approval(p, "joseph"), approval(p, "lena")], runs["lena"], requester="portal", then=TRUST)
    assert [n.reason for n in handed_on.not_counted] == [Reason.REQUESTER_APPROVES] * 2
    for nobody in ("", "gone"):
        assert result(p, [], runs[nobody], requester="portal").need == 2
        assert result(p, [], TRUST, requester="portal", then=runs[nobody]).need == 2
    assert result(p, [], trust(services=()), requester="portal", then=TRUST).need == 1
    assert verify.runs("portal", TRUST) == "joseph"
    assert {verify.runs("portal", t) for t in (runs[""], runs["gone"], trust(services=()))} == {""}


def test_a_document_that_says_nothing_of_programs():
    """An agent asks for one more, and nobody calls what was consumed under it before unapproved."""
    p = plan(risk_class=RiskClass.CONFIG, requester="billing")
    both = [approval(p, "joseph"), approval(p, "lena")]
    assert (result(p, both, requester="billing").approved, result(p, both, requester="billing").need) == (False, 3)
    assert result(p, both, requester="billing", recorded=True).approved
    low = plan(requester="billing")
    assert not result(low, [approval(low, "joseph")], requester="billing", recorded=True).approved


def test_A1_who_runs_a_program_does_not_back_its_standing():
    night = plan(risk_class=RiskClass.RESTORE, action=Action.RESTORE, requester="portal")
    for signers, approved in ((("joseph", "lena"), False), (("lena", "maria"), True)):
        signed = signed_standing(*signers, person=signers[0])
        found = verify.get_standing_result(
            night,
            [(signed, 0)],
            TRUST,
            NOW,
            requester="portal",
            evidence=frozenset(StandingEvidence),
            circumstances=Circumstances(items=1),
        )
        assert (found.approved, found.need) == (approved, 2)


def test_what_blocks_a_plan_whoever_approves():
    yes = [approval(PLAN, "joseph")]
    assert blocked(PLAN, yes, now=TRUST.expires + 1) is Reason.TRUST_EXPIRED
    assert blocked(plan(trust_id="99" * 16), yes) is Reason.WRONG_TRUST
    assert blocked(plan(agent="cc" * 16), yes) is Reason.WRONG_AGENT
    assert blocked(plan(trust_version=2), yes) is Reason.NEWER_TRUST
    assert blocked(PLAN, yes, trust(policy=())) is Reason.NO_SUCH_CLASS
    assert blocked(plan(risk_class=RiskClass.ALONE), yes) is Reason.CLASS_REFUSED
    assert blocked(PLAN, yes, items=11) is Reason.TOO_MANY_ITEMS
    assert result(PLAN, yes, items=10).approved
    assert blocked(PLAN, yes, now=PLAN.start_by * 60 + 1) is Reason.EXPIRED
    assert blocked(plan(made=MINUTE + 6), yes) is Reason.FROM_THE_FUTURE
    assert "no class low" in result(PLAN, yes, trust(policy=())).message


def test_the_stricter_of_two_policies_holds():
    lax, strict = TRUST, with_policy(RiskClass.LOW, approvals=2)
    for now, then in ((lax, strict), (strict, lax)):
        assert result(PLAN, [approval(PLAN, "joseph")], now, then=then).need == 2
    assert blocked(PLAN, [], lax, then=trust(policy=())) is Reason.NO_SUCH_CLASS
    assert verify.policy_for(PLAN, lax) == lax.policy_class(RiskClass.LOW)
    local = with_policy(RiskClass.LOW, channel=Channel.LOCAL)
    assert not_counted(PLAN, [approval(PLAN, "joseph")], local, from_cloud=frozenset({0})) == [Reason.WRONG_CHANNEL]


people = ["maria", "joseph", "lena", "tech4", "far", "eve"]


@given(st.lists(st.tuples(st.sampled_from(people), st.sampled_from(people), st.sampled_from(Decision))), st.randoms())
def test_order_does_not_matter_and_nothing_raises(entries, random):
    approvals = [approval(PLAN, who, signer, decision=decision) for who, signer, decision in entries]
    found = result(PLAN, approvals)
    random.shuffle(approvals)
    again = result(PLAN, approvals)
    assert (found.approved, set(found.people), set(found.rejected_by)) == (
        again.approved, set(again.people), set(again.rejected_by),
    )  # fmt: skip
    honest = {who for who, signer, decision in entries if who == signer and decision is Decision.APPROVE}
    assert set(found.people) <= honest & {"joseph", "lena"}


@given(st.binary())
def test_any_signed_rubbish_is_not_counted(payload):
    rubbish = envelope.sign(statements.payload_type(Approval), payload, [key("joseph")])
    assert not_counted(PLAN, [rubbish]) == [Reason.MALFORMED]


# --- other statements -----------------------------------------------------------------------------------------------


def refused(reason, call, *args):
    with pytest.raises(RefusedError) as err:
        call(*args)
    assert err.value.reason is reason


def test_plans_are_their_agents():
    assert verify.verify_plan(statements.sign(PLAN, [key("agent-plan")]), TRUST) == PLAN
    refused(Reason.UNKNOWN_SIGNER, verify.verify_plan, statements.sign(PLAN, [key("agent-log")]), TRUST)
    refused(Reason.WRONG_TYPE, verify.verify_plan, approval(PLAN, "joseph"), TRUST)
    foreign = statements.sign(plan(trust_id="99" * 16), [key("agent-plan")])
    refused(Reason.WRONG_TRUST, verify.verify_plan, foreign, TRUST)
    south = TrustedAgent("cc" * 16, "south", key("p2").public.hex(), checkpoint.encode_vkey("o2", key("l2").public))
    two = trust(agents=(*TRUST.agents, south))
    refused(Reason.SIGNER_IS_ANOTHER, verify.verify_plan, statements.sign(PLAN, [key("p2")]), two)


def test_receipts_and_outcomes():
    receipt = Receipt(
        TRUST_ID, AGENT, "approval", "ab" * 32, ReceiptResult.REFUSED, Reason.EXPIRED, 0, 1, 1, 3, "cd" * 32, MINUTE
    )
    outcome = Outcome(TRUST_ID, AGENT, "ab" * 32, 1, True, OutcomeState.DONE, {}, "cd" * 32, 3, "ef" * 32, MINUTE)
    assert verify.verify_receipt(statements.sign(receipt, [key("agent-plan")]), TRUST) == receipt
    assert verify.verify_outcome(statements.sign(outcome, [key("agent-plan")]), TRUST) == outcome
    refused(Reason.UNKNOWN_SIGNER, verify.verify_outcome, statements.sign(outcome, [key("joseph")]), TRUST)


def enroll(**changes):
    vkey = checkpoint.encode_vkey("o", key("log").public)
    base = Enroll(AGENT, "north", key("plan").public.hex(), vkey, "00" * 16)
    return dataclasses.replace(base, **changes)


def test_an_enrolment_proves_possession_of_both_keys():
    assert verify.verify_enroll(statements.sign(enroll(), [key("plan"), key("log")])) == enroll()
    for signers in ([key("plan")], [key("log")], [key("eve"), key("log")]):
        refused(Reason.UNKNOWN_SIGNER, verify.verify_enroll, statements.sign(enroll(), signers))
    one_key = enroll(log_key=checkpoint.encode_vkey("o", key("plan").public))
    refused(Reason.UNKNOWN_SIGNER, verify.verify_enroll, statements.sign(one_key, [key("plan")]))
    refused(Reason.MALFORMED, verify.verify_enroll, statements.sign(enroll(log_key="x"), [key("plan")]))
    refused(Reason.NOT_UNDERSTOOD, verify.verify_enroll, statements.sign(PLAN, [key("plan")]))


def intent(**changes):
    base = Intent(
        TRUST_ID,
        "01" * 16,
        "02" * 16,
        AGENT,
        "maria",
        Action.SUSPEND,
        {},
        (),
        (),
        OnFailure.STOP,
        OnStale.SKIP,
        0,
        NOW,
        "",
    )
    return dataclasses.replace(base, **changes)


def test_intents_are_their_requesters():
    assert verify.verify_intent(statements.sign(intent(), [key("maria")]), TRUST, NOW) == intent()
    billing = intent(requester="billing")
    assert verify.verify_intent(statements.sign(billing, [key("billing")]), TRUST, NOW) == billing
    refused(Reason.SIGNER_IS_ANOTHER, verify.verify_intent, statements.sign(billing, [key("maria")]), TRUST, NOW)
    refused(Reason.UNKNOWN_SIGNER, verify.verify_intent, statements.sign(intent(), [key("eve")]), TRUST, NOW)
    refused(Reason.EXPIRED, verify.verify_intent, statements.sign(intent(), [key("maria")]), TRUST, NOW + 1)
    old = dataclasses.replace(
        TRUST.services[0], keys=(dataclasses.replace(TRUST.services[0].keys[0], not_after=NOW - 1),)
    )
    signed = statements.sign(billing, [key("billing")])
    refused(Reason.SIGNER_EXPIRED, verify.verify_intent, signed, trust(services=(old,)), NOW)


def test_people_ask_where_they_may_act():
    far = statements.sign(intent(requester="far"), [key("far")])
    refused(Reason.OUT_OF_SCOPE, verify.verify_intent, far, TRUST, NOW)
    there = intent(requester="far", agent="bb" * 16)
    assert verify.verify_intent(statements.sign(there, [key("far")]), TRUST, NOW) == there


def test_anybody_freezes_even_under_an_expired_document():
    cancel = Cancel(TRUST_ID, "01" * 16, (digest(PLAN).hex(),), "tech4", MINUTE)
    freeze = Freeze(TRUST_ID, "01" * 16, FreezeScope.ALL, "", "tech4", MINUTE, MINUTE + 60)
    late = TRUST.expires + DAY
    assert verify.verify_cancel(statements.sign(cancel, [key("tech4")]), TRUST, late) == cancel
    assert verify.verify_freeze(statements.sign(freeze, [key("tech4")]), TRUST, NOW) == freeze
    endless = dataclasses.replace(freeze, expires=0)
    assert verify.verify_freeze(statements.sign(endless, [key("tech4")]), TRUST, late) == endless
    refused(Reason.EXPIRED, verify.verify_freeze, statements.sign(freeze, [key("tech4")]), TRUST, NOW + 3601)
    refused(Reason.UNKNOWN_SIGNER, verify.verify_cancel, statements.sign(cancel, [key("billing")]), TRUST, NOW)
    refused(Reason.SIGNER_IS_ANOTHER, verify.verify_cancel, statements.sign(cancel, [key("lena")]), TRUST, NOW)


def test_who_asks_or_decides_pauses_even_under_expired_document():
    pause = Pause(TRUST_ID, "01" * 16, digest(PLAN).hex(), "tech4", MINUTE)
    signed = statements.sign(pause, [key("tech4")])
    assert verify.verify_pause(signed, TRUST, NOW, PLAN.agent) == pause
    expired = dataclasses.replace(TRUST, expires=NOW - 1)
    assert verify.verify_pause(signed, expired, NOW, PLAN.agent) == pause
    refused(Reason.EXPIRED, verify.verify_pause, signed, TRUST, NOW + DAY + 60, PLAN.agent)
    refused(Reason.FROM_THE_FUTURE, verify.verify_pause, signed, TRUST, NOW - 301, PLAN.agent)
    far = statements.sign(dataclasses.replace(pause, person="far"), [key("far")])
    refused(Reason.OUT_OF_SCOPE, verify.verify_pause, far, TRUST, NOW, PLAN.agent)
    people = tuple(dataclasses.replace(p, roles=(Role.AUDITOR,)) if p.handle == "tech4" else p for p in TRUST.people)
    looks = dataclasses.replace(TRUST, people=people)
    refused(Reason.NOT_AN_APPROVER, verify.verify_pause, signed, looks, NOW, PLAN.agent)


def test_who_paused_an_approver_or_an_owner_resumes():
    def resume(who, paused_by="maria", t=TRUST, now=NOW, **frozen):
        made = Resume(TRUST_ID, "01" * 16, digest(PLAN).hex(), who, MINUTE)
        signed = statements.sign(made, [key(who)])
        assert verify.verify_resume(signed, t, now, PLAN.agent, paused_by, **frozen) == made

    resume("tech4", paused_by="tech4")
    resume("joseph")
    resume("lena")
    refused(Reason.NOT_AN_APPROVER, lambda: resume("tech4"))
    refused(Reason.OUT_OF_SCOPE, lambda: resume("far", paused_by="far"))
    refused(Reason.EXPIRED, lambda: resume("joseph", now=NOW + DAY + 60))
    refused(Reason.TRUST_EXPIRED, lambda: resume("joseph", t=dataclasses.replace(TRUST, expires=NOW - 1)))
    refused(Reason.FROZEN, lambda: resume("joseph", frozen_people=["joseph"]))
    refused(Reason.FROZEN, lambda: resume("joseph", frozen_keys=[key("joseph").public]))
    resume("joseph", frozen_people=["lena"], frozen_keys=[key("lena").public])


def test_J10_lifting_a_freeze_takes_two_and_is_not_for_ever():
    unfreeze = Unfreeze(TRUST_ID, "ab" * 32, "joseph", MINUTE)
    both = statements.sign(unfreeze, [key("joseph"), key("lena")])
    assert verify.verify_unfreeze(both, TRUST, NOW) == unfreeze
    for signers in (["joseph"], ["joseph", "joseph-2"], ["joseph", "tech4"], ["joseph", "eve"]):
        alone = statements.sign(unfreeze, [key(s) for s in signers])
        refused(Reason.THRESHOLD, verify.verify_unfreeze, alone, TRUST, NOW)
    refused(Reason.EXPIRED, verify.verify_unfreeze, both, TRUST, NOW + DAY + 60)
    refused(Reason.FROM_THE_FUTURE, verify.verify_unfreeze, both, TRUST, NOW - 301)
    refused(Reason.TRUST_EXPIRED, verify.verify_unfreeze, both, TRUST, TRUST.expires + 1)


def test_who_is_frozen_does_not_help_to_lift_that_freeze():
    unfreeze = Unfreeze(TRUST_ID, "ab" * 32, "joseph", MINUTE)
    both = statements.sign(unfreeze, [key("joseph"), key("lena")])
    joseph, lena = (FreezeScope.PERSON, "joseph"), (FreezeScope.PERSON, "lena")
    stolen, elsewhere = ((FreezeScope.KEY, key(k).public.hex()) for k in ("joseph", "joseph-2"))
    everything, agent = (FreezeScope.ALL, ""), (FreezeScope.AGENT, PLAN.agent)
    for lifted, held in (
        (joseph, []),
        (stolen, []),
        (everything, [joseph]),
        (everything, [stolen]),
        (agent, [everything, lena]),
    ):
        but = verify.cannot_lift([lifted], [lifted, *held])
        with pytest.raises(RefusedError, match=r"got 1; frozen: (joseph|lena)") as err:
            verify.verify_unfreeze(both, TRUST, NOW, but=but)
        assert err.value.reason is Reason.THRESHOLD
    # Of somebody else's freeze they may judge, and another key of theirs is not the frozen one
    for lifted, held in (((FreezeScope.PERSON, "tech4"), [joseph, stolen]), (elsewhere, [stolen])):
        but = verify.cannot_lift([lifted], [lifted, *held])
        assert verify.verify_unfreeze(both, TRUST, NOW, but=but) == unfreeze


def test_who_is_frozen_by_a_frozen_one_helps_to_lift_nothing():
    joseph, tech = (FreezeScope.PERSON, "joseph"), (FreezeScope.PERSON, "tech4")
    several = Unfreeze(TRUST_ID, "ab" * 32, "joseph", MINUTE, ("cd" * 32,))
    both = statements.sign(several, [key("joseph"), key("lena")])
    refused(Reason.THRESHOLD, verify.verify_unfreeze, both, TRUST, NOW, None, verify.cannot_lift([tech, joseph], []))
    assert verify.verify_unfreeze(both, TRUST, NOW, but=verify.cannot_lift([tech], [joseph])) == several
    wide = verify.cannot_lift([tech, (FreezeScope.ALL, "")], [joseph])
    assert wide.people == {"joseph", "tech4"}


def test_who_may_not_act_on_an_agent_lifts_no_freeze_there():
    unfreeze = Unfreeze(TRUST_ID, "ab" * 32, "joseph", MINUTE)
    near = statements.sign(unfreeze, [key("joseph"), key("lena")])
    assert verify.verify_unfreeze(near, TRUST, NOW, PLAN.agent) == unfreeze
    far = statements.sign(unfreeze, [key("joseph"), key("far")])
    assert verify.verify_unfreeze(far, TRUST, NOW, "bb" * 16) == unfreeze
    refused(Reason.THRESHOLD, verify.verify_unfreeze, far, TRUST, NOW, PLAN.agent)


def test_the_shipped_policy_is_met_by_the_people_who_may():
    for entry in preset():
        p = plan(risk_class=entry.risk_class, action=entry.actions[0])
        t = trust(people=(*TRUST.people, person("olga", Role.APPROVER)))
        approvals = [approval(p, who) for who in ("maria", "joseph", "lena", "olga")]
        assert result(p, approvals, t).approved, entry.risk_class


# --- sealing keys and views -----------------------------------------------------------------------------------------

ONE_TIME = SealingKey(b"1" * 32).public.hex()


def sealkey(signer="agent-plan", **changes):
    base = SealKey(TRUST_ID, AGENT, ONE_TIME, MINUTE, MINUTE + 7 * 1440)
    return statements.sign(dataclasses.replace(base, **changes), [key(signer)])


def test_sealing_keys_are_their_agents_for_a_week():
    named = verify.verify_sealkey(sealkey(), TRUST, NOW)
    assert (named.agent, named.x25519) == (AGENT, ONE_TIME)
    assert verify.verify_sealkey(sealkey(), TRUST, MINUTE * 60 - 300) == named
    assert verify.verify_sealkey(sealkey(), TRUST, named.not_after * 60) == named
    refused(Reason.NOT_YET_VALID, verify.verify_sealkey, sealkey(), TRUST, MINUTE * 60 - 301)
    refused(Reason.EXPIRED, verify.verify_sealkey, sealkey(), TRUST, named.not_after * 60 + 1)


def test_E7_E4_T13_sealing_keys_that_are_refused():
    for signer in ("eve", "agent-log", "lena"):
        refused(Reason.UNKNOWN_SIGNER, verify.verify_sealkey, sealkey(signer), TRUST, NOW)
    refused(Reason.SIGNER_IS_ANOTHER, verify.verify_sealkey, sealkey(agent="cc" * 16), TRUST, NOW)
    refused(Reason.WRONG_TRUST, verify.verify_sealkey, sealkey(trust_id="99" * 16), TRUST, NOW)
    refused(Reason.MALFORMED, verify.verify_sealkey, sealkey(x25519="00" * 32), TRUST, NOW)
    refused(Reason.MALFORMED, verify.verify_sealkey, sealkey(not_after=MINUTE + 7 * 1440 + 1), TRUST, NOW)
    refused(Reason.WRONG_TYPE, verify.verify_sealkey, statements.sign(PLAN, [key("agent-plan")]), TRUST, NOW)


def view(*signers, **changes):
    base = View(
        TRUST_ID, "22" * 16, AGENT, digest(PLAN).hex(), "joseph", ONE_TIME, SeenHeads(1, sha(TRUST)), MINUTE + 5
    )
    made = dataclasses.replace(base, **changes)
    return statements.sign(made, [key(s) for s in signers or (made.person,)])


def test_a_person_who_may_see_asks_to_see():
    asked, who = verify.verify_view(view(), TRUST, NOW)
    assert (asked.plan_sha256, who.handle) == (digest(PLAN).hex(), "joseph")


def test_C16_a_view_by_a_removed_person_or_of_another_day():
    without = trust(people=tuple(p for p in TRUST.people if p.handle != "joseph"))
    refused(Reason.UNKNOWN_SIGNER, verify.verify_view, view(), without, NOW)
    verify.verify_view(view(), TRUST, (MINUTE + 5) * 60)
    refused(Reason.EXPIRED, verify.verify_view, view(), TRUST, (MINUTE + 5) * 60 + 1)
    refused(Reason.TRUST_EXPIRED, verify.verify_view, view(), TRUST, TRUST.expires + 1)
    verify.verify_view(view(expires=MINUTE + 15), TRUST, MINUTE * 60)
    refused(Reason.FROM_THE_FUTURE, verify.verify_view, view(expires=MINUTE + 16), TRUST, MINUTE * 60)
    old_key = dataclasses.replace(TRUST.person("joseph").keys[0], not_after=NOW - 1)
    joseph = dataclasses.replace(TRUST.person("joseph"), keys=(old_key,))
    refused(Reason.SIGNER_EXPIRED, verify.verify_view, view(), trust(people=(joseph,)), NOW)


def test_E7_a_view_by_somebody_who_may_not_see():
    blind = trust(people=(person("joseph", Role.APPROVER, sees=False), *TRUST.people[2:]))
    refused(Reason.NOT_ALLOWED_TO_SEE, verify.verify_view, view(), blind, NOW)
    refused(Reason.OUT_OF_SCOPE, verify.verify_view, view(person="far"), TRUST, NOW)
    refused(Reason.SIGNER_IS_ANOTHER, verify.verify_view, view("lena"), TRUST, NOW)
    refused(Reason.UNKNOWN_SIGNER, verify.verify_view, view("eve"), TRUST, NOW)
    refused(Reason.UNKNOWN_SIGNER, verify.verify_view, view("billing"), TRUST, NOW)
    refused(Reason.WRONG_AGENT, verify.verify_view, view(agent="cc" * 16), TRUST, NOW)
    refused(Reason.WRONG_TRUST, verify.verify_view, view(trust_id="99" * 16), TRUST, NOW)


def test_T13_a_view_for_a_key_that_hides_nothing():
    refused(Reason.MALFORMED, verify.verify_view, view(eph_pub="01" + "00" * 31), TRUST, NOW)


# --- standing authority ---------------------------------------------------------------------------------------------

RESTORE = plan(risk_class=RiskClass.RESTORE, action=Action.RESTORE, requester="billing")
PAID = frozenset(StandingEvidence)


def test_two_people_sign_by_day_for_the_night():
    given_, people_ = verify.verify_standing(signed_standing(), TRUST, NOW)
    assert (given_, [p.handle for p in people_]) == (standing(), ["joseph", "lena"])
    tomorrow = signed_standing(not_before=MINUTE + 1440, not_after=MINUTE + 2000)
    assert verify.verify_standing(tomorrow, TRUST, NOW)[0].not_before == MINUTE + 1440


def test_T5_T2_E7_a_standing_authority_needs_two_people_who_may():
    for signers in (["joseph"], ["joseph", "joseph-2"], ["joseph", "tech4"], ["joseph", "eve"], ["joseph", "far"]):
        refused(Reason.THRESHOLD, verify.verify_standing, signed_standing(*signers), TRUST, NOW)
    refused(Reason.SIGNER_IS_ANOTHER, verify.verify_standing, signed_standing("maria", "lena"), TRUST, NOW)
    refused(Reason.UNKNOWN_SIGNER, verify.verify_standing, signed_standing("eve", "mallory"), TRUST, NOW)
    refused(Reason.WRONG_TRUST, verify.verify_standing, signed_standing(trust_id="99" * 16), TRUST, NOW)
    refused(Reason.TRUST_EXPIRED, verify.verify_standing, signed_standing(), TRUST, TRUST.expires + 1)
    late = standing().not_after * 60
    assert verify.verify_standing(signed_standing(), TRUST, late)
    refused(Reason.EXPIRED, verify.verify_standing, signed_standing(), TRUST, late + 1)
    both = [person(p, Role.APPROVER, scope=(AGENT,)) for p in ("joseph", "lena")]
    here = trust(people=tuple(both), root=TRUST.root)
    assert verify.verify_standing(signed_standing(), here, NOW)
    refused(Reason.THRESHOLD, verify.verify_standing, signed_standing(scope=("all",)), here, NOW)
    refused(Reason.THRESHOLD, verify.verify_standing, signed_standing(scope=(AGENT, "bb" * 16)), here, NOW)
    no_lena = trust(people=tuple(p for p in TRUST.people if p.handle != "lena"))
    refused(Reason.THRESHOLD, verify.verify_standing, signed_standing(), no_lena, NOW)


def stands(p=RESTORE, given_=None, t=TRUST, now=NOW, requester="billing", evidence=PAID, uses=0, **circumstances):
    envelopes = [(e, uses) for e in ([signed_standing()] if given_ is None else given_)]
    return verify.get_standing_result(
        p,
        envelopes,
        t,
        now,
        requester=requester,
        evidence=evidence,
        circumstances=Circumstances(**{"items": 1} | circumstances),
    )


def falls(*args, **kwargs):
    found = stands(*args, **kwargs)
    assert not found.approved
    assert found.people == ()
    return found.reason, [n.reason for n in found.not_counted]


def test_a_matched_payment_restores_at_night():
    found = stands()
    assert (found.approved, found.people, found.need, found.reason) == (True, ("joseph", "lena"), 2, None)
    assert found.message == "by the standing authority of joseph, lena"


def test_A12_the_rate_holds():
    assert stands(uses=59).approved
    reason, why = falls(uses=60)
    assert (reason, why) == (Reason.OVER_BUDGET, [Reason.OVER_BUDGET])
    two = [signed_standing(rate_per_hour=1), signed_standing(standing_id="99" * 16, rate_per_hour=2)]
    found = stands(given_=two, uses=1)
    assert (found.approved, [n.index for n in found.not_counted]) == (True, [0])
    assert falls(given_=[signed_standing("joseph"), two[0]], uses=1)[0] is Reason.OVER_BUDGET
    assert falls(uses=60, requester="joseph") == (Reason.NO_STANDING, [Reason.THRESHOLD])


def test_a_standing_authority_covers_what_it_says_only():
    none = Reason.NO_STANDING
    assert falls(given_=[]) == (none, [])
    for p, items in ((RESTORE, None), (RESTORE, 0), (plan(action=Action.RESTORE), 1)):
        assert falls(p, items=items) == (none, [])
    assert falls(evidence=frozenset()) == (none, [Reason.OTHER_PLAN])
    assert falls(given_=[signed_standing(verb=Action.SUSPEND)]) == (none, [Reason.OTHER_PLAN])
    everywhere = trust(people=tuple(dataclasses.replace(p, scope=("all",)) for p in TRUST.people))
    assert falls(given_=[signed_standing(scope=("bb" * 16,))], t=everywhere) == (none, [Reason.OUT_OF_SCOPE])
    early = signed_standing(not_before=MINUTE + 1)
    assert falls(given_=[early]) == (none, [Reason.NOT_YET_VALID])
    assert stands(given_=[early], now=(MINUTE + 1) * 60).approved
    late = signed_standing(not_before=MINUTE - 60, not_after=MINUTE - 1)
    assert falls(given_=[late]) == (none, [Reason.EXPIRED])
    rubbish = envelope.sign(statements.payload_type(type(standing())), b"{}", [key("joseph")])
    forged = dataclasses.replace(signed_standing(), payload=statements.encode(standing(rate_per_hour=1000)))
    found = falls(given_=[rubbish, forged, approval(RESTORE, "joseph")])
    assert found == (none, [Reason.MALFORMED, Reason.BAD_SIGNATURE, Reason.WRONG_TYPE])


def test_A1_who_asked_is_none_of_the_two():
    assert falls(requester="joseph") == (Reason.NO_STANDING, [Reason.THRESHOLD])
    asked = dataclasses.replace(RESTORE, requester="lena")
    assert falls(asked) == (Reason.NO_STANDING, [Reason.THRESHOLD])
    three = [signed_standing("joseph", "lena", "maria")]
    assert stands(given_=three, requester="joseph").people == ("maria", "lena")
    unknown = dataclasses.replace(RESTORE, requester="unknown")
    assert falls(unknown, requester="unknown") == (Reason.NO_STANDING, [Reason.THRESHOLD])
    assert stands(unknown, three, requester="unknown").need == 3
    assert stands(unknown, three, requester="unknown").approved


def test_frozen_signers_of_a_standing_authority_do_not_count():
    lack = (Reason.NO_STANDING, [Reason.THRESHOLD])
    assert falls(frozen_people=frozenset({"lena"})) == lack
    assert falls(frozen_keys=frozenset({key("lena").public})) == lack
    assert stands(frozen_keys=frozenset({key("joseph-2").public, key("eve").public})).approved
    assert stands(frozen_people=frozenset({"maria"})).approved


def test_the_policy_of_the_class_holds_for_standing_authority():
    def under(**changes):
        return {"t": with_policy(RiskClass.RESTORE, **changes)}

    none = Reason.NO_STANDING
    assert falls(**under(approvals=3)) == (none, [Reason.THRESHOLD])
    assert falls(**under(roles=(Role.OWNER,))) == (none, [Reason.THRESHOLD])
    assert falls(**under(needs_detail=True)) == (none, [Reason.SUMMARY_ONLY])
    assert falls(**under(channel=Channel.LOCAL), from_cloud=frozenset({0})) == (none, [Reason.WRONG_CHANNEL])
    assert stands(**under(channel=Channel.LOCAL)).approved
    assert stands(**under(owner_required=True)).approved
    plain = tuple(dataclasses.replace(p, roles=(Role.APPROVER,)) for p in TRUST.people)
    strict = dataclasses.replace(with_policy(RiskClass.RESTORE, owner_required=True), people=plain)
    assert falls(t=strict) == (none, [Reason.OWNER_MISSING])
    assert falls(then=with_policy(RiskClass.RESTORE, approvals=3))[1] == [Reason.THRESHOLD]


def test_a_blocked_plan_is_blocked_under_standing_authority_too():
    assert falls(now=TRUST.expires + 1) == (Reason.TRUST_EXPIRED, [])
    assert falls(t=trust(policy=())) == (Reason.NO_SUCH_CLASS, [])
    assert falls(now=RESTORE.start_by * 60 + 1) == (Reason.EXPIRED, [])
    assert falls(dataclasses.replace(RESTORE, action=Action.SUSPEND)) == (Reason.CLASS_REFUSED, [])


@given(st.binary())
def test_signed_rubbish_is_no_standing_authority(payload):
    rubbish = envelope.sign(statements.payload_type(type(standing())), payload, [key("joseph"), key("lena")])
    assert falls(given_=[rubbish]) == (Reason.NO_STANDING, [Reason.MALFORMED])


def test_an_acceptance_of_a_cpe_is_approved_by_sight():
    """x23: whatever the policy of class provision says, which baselines under a standing authority are of."""
    accept = plan(risk_class=RiskClass.PROVISION, action=Action.CPE_ACCEPT, requester="tech4")
    assert result(accept, [approval(accept, "joseph")]).approved
    assert not_counted(accept, [approval(accept, "joseph", saw=Saw.SUMMARY)]) == [Reason.SUMMARY_ONLY]
    assert not_counted(accept, [approval(accept, "maria")]) == [Reason.REQUESTER_APPROVES]
    beforehand = signed_standing(verb=Action.CPE_ACCEPT)
    assert falls(accept, given_=[beforehand], requester="tech4") == (Reason.NO_STANDING, [])
    baseline = dataclasses.replace(accept, action=Action.CPE_SET)
    assert stands(baseline, given_=[signed_standing(verb=Action.CPE_SET)], requester="tech4").approved


# --- reviews ----------------------------------------------------------------------------------------------------------

ALONE = plan(risk_class=RiskClass.ALONE, action=Action.RESTORE)


def review(decided, t=TRUST, now=NOW, since_s=NOW - 120, **circumstances):
    return verify.verify_review(
        decided, ALONE, digest(ALONE), t, now, requester="maria", since_s=since_s,
        circumstances=Circumstances(**circumstances),
    )  # fmt: skip


def test_a_second_person_reviews_what_one_did_alone():
    assert review(approval(ALONE, "joseph")).decision is Decision.APPROVE
    assert review(approval(ALONE, "lena", decision=Decision.REJECT)).decision is Decision.REJECT
    auditor = trust(people=(*TRUST.people, person("audit", Role.AUDITOR)))
    assert review(approval(ALONE, "audit"), auditor).person == "audit"
    without = dataclasses.replace(TRUST, policy=tuple(c for c in TRUST.policy if c.risk_class is not RiskClass.ALONE))
    assert review(approval(ALONE, "joseph"), without).person == "joseph"


@pytest.mark.parametrize(
    ("changes", "about", "reason"),
    [
        ({"who": "maria"}, {}, Reason.REQUESTER_APPROVES),
        ({"plans": ("0" * 64,)}, {}, Reason.OTHER_PLAN),
        ({"saw": Saw.SUMMARY}, {}, Reason.SUMMARY_ONLY),
        ({}, {"since_s": NOW + 60}, Reason.NOT_YET_VALID),
        ({"not_before": MINUTE + 10}, {}, Reason.FROM_THE_FUTURE),
        ({}, {"frozen_people": frozenset({"joseph"})}, Reason.FROZEN),
        ({}, {"now": NOW + 400 * DAY}, Reason.TRUST_EXPIRED),
    ],
)
def test_no_review(changes, about, reason):
    with pytest.raises(RefusedError) as info:
        review(approval(ALONE, changes.pop("who", "joseph"), **changes), **about)
    assert info.value.reason is reason


def test_who_only_asks_reviews_nothing():
    asking = trust(people=(*TRUST.people, person("rita", Role.REQUESTER)))
    with pytest.raises(RefusedError) as info:
        review(approval(ALONE, "rita"), asking)
    assert info.value.reason is Reason.NOT_AN_APPROVER
