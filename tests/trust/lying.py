"""The corpus: files of agents that lie, and of carriers that cut, each with the one reason for which it is refused.

The first ones are those of the findings: all of them verified once. `IN_PART` are files that show too little to judge.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

from tests.trust.helpers import (
    AGENT,
    MINUTE,
    TRUST_ID,
    approval,
    documents,
    key,
    plan,
    sha,
    signed_standing,
    signed_trust,
    trust,
)
from tests.trust.tales import K, Tale, honest
from trust import envelope as envelopes
from trust import statements
from trust.leaf import STATEMENT
from trust.life import StoryFault
from trust.policy import Action, RiskClass
from trust.proof import Export
from trust.statements import (
    Decision,
    FreezeScope,
    OnFailure,
    OutcomeBucket,
    OutcomeState,
    Pause,
    Resume,
    Saw,
    SizeBucket,
)

PAUSE_AT = 3
"""Of `paused_by_statements`: where its pause stands, behind trust, plan and approval."""
MADE: dict[str, tuple[Callable[[], Export], StoryFault]] = {}


def lie(fault: StoryFault) -> Callable[[Callable[[], Export]], Callable[[], Export]]:
    def keep(make: Callable[[], Export]) -> Callable[[], Export]:
        MADE[make.__name__] = make, fault
        return make

    return keep


def begun(*approvers: str, **changes: object) -> Tale:
    tale = Tale(plan(**changes))
    tale.begin()
    for who in approvers or ("joseph",):
        tale.approve(who)
    return tale


def running(*approvers: str, **changes: object) -> Tale:
    tale = begun(*approvers, **changes)
    tale.consume()
    return tale


# --- the findings ---------------------------------------------------------------------------------------------------


@lie(StoryFault.SENT_UNCONSUMED)
def sent_before_consumed() -> Export:
    tale = Tale()
    tale.begin()
    tale.send()
    tale.sent()
    tale.approve()
    tale.consume()
    tale.end()
    return tale.export()


@lie(StoryFault.SENT_UNCONSUMED)
def sent_before_consumed_and_two_lines_of_the_file_swapped() -> Export:
    tale = Tale()
    tale.begin()
    tale.approve()
    about = tale.write(K.ABOUT_TO, 1, 1)
    tale.consume()
    consumed = about + 1
    tale.sent()
    made = tale.export()
    order = list(made.entries)
    order[about], order[consumed] = order[consumed], order[about]
    return dataclasses.replace(made, entries=tuple(order))


@lie(StoryFault.NO_APPROVAL_LEAF)
def no_approval_leaf_and_an_approval_signed_afterwards() -> Export:
    tale = Tale()
    tale.begin()
    tale.consume()
    tale.apply()
    tale.end()
    tale.statements.append(approval(tale.plan, "joseph"))
    return tale.export()


@lie(StoryFault.CONSUMED_TWICE)
def consumed_and_sent_twice() -> Export:
    tale = running()
    tale.apply()
    tale.consume()
    tale.end()
    return tale.export()


@lie(StoryFault.CONSUMED_TWICE)
def consumed_again_after_its_end() -> Export:
    tale = honest()
    tale.consume()
    tale.end(2)
    return tale.export()


@lie(StoryFault.AFTER_CANCEL)
def consumed_after_cancel() -> Export:
    tale = begun()
    tale.cancel()
    tale.consume()
    tale.apply()
    tale.end()
    return tale.export()


@lie(StoryFault.AFTER_CANCEL)
def consumed_after_a_cancel_that_came_before_the_plan() -> Export:
    tale = Tale()
    tale.cancel()
    tale.begin()
    tale.approve()
    tale.consume()
    tale.apply()
    tale.end()
    return tale.export()


@lie(StoryFault.AFTER_REJECTION)
def consumed_after_rejection() -> Export:
    tale = begun()
    tale.tell(K.REJECTION, approval(tale.plan, "lena", decision=Decision.REJECT))
    tale.consume()
    tale.apply()
    tale.end()
    return tale.export()


@lie(StoryFault.AFTER_VOID)
def consumed_after_void() -> Export:
    tale = begun()
    tale.write(K.PLAN_VOID)
    tale.consume()
    tale.apply()
    tale.end()
    return tale.export()


@lie(StoryFault.CONSUMED_FROZEN)
def consumed_while_all_is_frozen() -> Export:
    tale = begun()
    tale.freeze()
    tale.consume()
    tale.apply()
    tale.end()
    return tale.export()


@lie(StoryFault.STEPS_DISAGREE)
def item_applied_though_its_step_diverged() -> Export:
    tale = running()
    tale.move("running")
    tale.send()
    tale.sent("diverged")
    tale.move("applied")
    tale.end()
    return tale.export()


@lie(StoryFault.OUTCOME_DISAGREES)
def outcome_done_though_the_item_diverged() -> Export:
    tale = running()
    tale.move("running")
    tale.send()
    tale.sent("diverged")
    tale.move("diverged")
    tale.end(state=OutcomeState.DONE, buckets={OutcomeBucket.APPLIED: SizeBucket.ONE})
    return tale.export()


@lie(StoryFault.INCOMPLETE)
def the_lines_after_the_approval_deleted_and_the_outcome_kept() -> Export:
    tale = honest()
    return tale.export(without=range(3, len(tale.log)))


@lie(StoryFault.INCOMPLETE)
def a_line_of_a_step_deleted() -> Export:
    tale = running()
    for item in (1, 2):
        tale.apply(item)
    tale.end()
    return tale.export(without=range(4, 7))


# --- the same, from other sides -------------------------------------------------------------------------------------


@lie(StoryFault.NOTHING_SAID)
def a_plan_without_a_leaf() -> Export:
    tale = honest()
    return tale.export(without=range(1, len(tale.log)), statements_=tale.statements[:2])


@lie(StoryFault.NO_PLAN_LEAF)
def the_plans_own_leaf_deleted() -> Export:
    return honest().export(without=[1])


@lie(StoryFault.PLAN_TWICE)
def two_leaves_of_one_plan() -> Export:
    tale = begun()
    tale.write(K.PLAN)
    return tale.export()


@lie(StoryFault.NO_SUCH_LEAF)
def a_leaf_of_padding_with_a_plan() -> Export:
    tale = begun()
    tale.write(K.PADDING)
    return tale.export()


@lie(StoryFault.DECIDED_LATE)
def approved_after_it_was_consumed() -> Export:
    tale = Tale()
    tale.begin()
    tale.consume()
    tale.approve()
    tale.apply()
    tale.end()
    return tale.export()


@lie(StoryFault.NOT_APPROVED)
def approved_by_nobody() -> Export:
    tale = Tale()
    tale.begin()
    tale.consume()
    tale.apply()
    tale.end()
    return tale.export()


@lie(StoryFault.NOT_APPROVED)
def approved_by_who_asked() -> Export:
    tale = running("maria")
    tale.apply()
    tale.end()
    return tale.export()


@lie(StoryFault.NOT_APPROVED)
def approved_by_one_where_two_must() -> Export:
    tale = running(risk_class=RiskClass.BATCH)
    tale.apply()
    tale.end()
    return tale.export()


@lie(StoryFault.NOT_APPROVED)
def more_items_than_the_class_allows() -> Export:
    tale = running(size_bucket=SizeBucket.TO_100)
    tale.apply()
    tale.end()
    return tale.export()


@lie(StoryFault.NO_APPROVAL_LEAF)
def a_second_approval_without_a_leaf() -> Export:
    tale = running(risk_class=RiskClass.BATCH)
    tale.apply()
    tale.end()
    tale.statements.append(approval(tale.plan, "lena"))
    return tale.export()


@lie(StoryFault.NO_APPROVAL_LEAF)
def the_leaf_names_another_approval() -> Export:
    tale = Tale()
    tale.begin()
    tale.write(K.APPROVAL, record={STATEMENT: "ab" * 32})
    tale.statements.append(approval(tale.plan, "joseph"))
    tale.consume()
    tale.apply()
    tale.end()
    return tale.export()


@lie(StoryFault.COMMITMENT_DROPPED)
def a_later_leaf_names_no_statement() -> Export:
    tale = begun("joseph", risk_class=RiskClass.BATCH)
    tale.statements.append(approval(tale.plan, "lena"))
    tale.write(K.APPROVAL)
    tale.consume()
    tale.apply()
    tale.end()
    return tale.export()


@lie(StoryFault.SENT_AFTER_END)
def sent_after_the_end() -> Export:
    tale = honest()
    tale.send(2)
    tale.sent(step=2)
    return tale.export()


@lie(StoryFault.SENT_AFTER_CANCEL)
def a_step_begun_after_the_cancel() -> Export:
    tale = running()
    tale.move("running")
    tale.send()
    tale.sent()
    tale.cancel()
    tale.send(2)
    tale.sent(step=2)
    tale.move("applied")
    tale.end()
    return tale.export()


@lie(StoryFault.SENT_AFTER_CANCEL)
def a_new_step_begun_after_the_cancel_of_a_plan_that_reverts() -> Export:
    tale = running(on_failure=OnFailure.REVERT)
    tale.cancel()
    tale.move("running")
    tale.send()
    return tale.export()


@lie(StoryFault.SENT_UNBEGUN)
def a_step_of_an_item_that_was_not_begun() -> Export:
    tale = running()
    tale.send()
    return tale.export()


@lie(StoryFault.SENT_UNBEGUN)
def a_step_of_an_item_that_is_over() -> Export:
    tale = running()
    tale.apply()
    tale.send(2)
    return tale.export()


@lie(StoryFault.NO_TICKET)
def an_outcome_of_a_step_that_was_not_begun() -> Export:
    tale = running()
    tale.move("running")
    tale.sent()
    return tale.export()


@lie(StoryFault.NO_TICKET)
def two_outcomes_of_one_step() -> Export:
    tale = running()
    tale.move("running")
    tale.send()
    tale.sent("unknown")
    tale.sent()
    return tale.export()


@lie(StoryFault.NO_SUCH_CODE)
def a_verdict_that_there_is_not() -> Export:
    tale = running()
    tale.move("running")
    tale.send()
    tale.write(K.STEP_OUTCOME, 1, 1, 9)
    return tale.export()


@lie(StoryFault.NO_SUCH_CODE)
def a_state_that_there_is_not() -> Export:
    tale = running()
    tale.write(K.ITEM_STATE, 1, code=99)
    return tale.export()


@lie(StoryFault.NO_SUCH_MOVE)
def applied_without_having_begun() -> Export:
    tale = running()
    tale.move("applied")
    tale.end()
    return tale.export()


@lie(StoryFault.NO_SUCH_MOVE)
def an_item_begun_twice() -> Export:
    tale = running()
    tale.send(state="running")
    tale.send(2, state="running")
    return tale.export()


@lie(StoryFault.NO_SUCH_MOVE)
def an_item_begun_again_after_its_end() -> Export:
    tale = running(on_failure=OnFailure.REVERT)
    tale.apply()
    tale.send(state="running")
    return tale.export()


@lie(StoryFault.SENT_AFTER_CANCEL)
def an_item_begun_after_the_cancel() -> Export:
    tale = running()
    tale.cancel()
    tale.send(state="running")
    return tale.export()


@lie(StoryFault.NO_SUCH_CODE)
def a_step_that_moves_its_item_elsewhere() -> Export:
    tale = running()
    tale.send(state="applied")
    return tale.export()


@lie(StoryFault.NO_SUCH_MOVE)
def an_item_that_was_cancelled_is_applied() -> Export:
    tale = running()
    tale.move("cancelled")
    tale.move("running")
    return tale.export()


@lie(StoryFault.OUT_OF_ORDER)
def an_item_moves_before_it_was_consumed() -> Export:
    tale = begun()
    tale.move("skipped")
    return tale.export()


@lie(StoryFault.OUT_OF_ORDER)
def resumed_after_it_was_closed() -> Export:
    tale = begun()
    tale.cancel()
    tale.write(K.RESUMED)
    return tale.export()


@lie(StoryFault.CONSUMED_PAUSED)
def consumed_while_paused() -> Export:
    tale = begun()
    tale.write(K.PAUSED)
    tale.consume()
    tale.write(K.RESUMED)
    tale.apply()
    tale.end()
    return tale.export()


@lie(StoryFault.BEGUN_PAUSED)
def an_item_begun_while_paused() -> Export:
    tale = running()
    tale.write(K.PAUSED)
    tale.apply()
    tale.write(K.RESUMED)
    tale.end()
    return tale.export()


@lie(StoryFault.BEGUN_PAUSED)
def an_item_begun_while_paused_by_a_leaf_of_its_own() -> Export:
    tale = running()
    tale.write(K.PAUSED)
    tale.move("running")
    tale.send()
    tale.sent()
    tale.move("applied")
    tale.end()
    return tale.export()


@lie(StoryFault.BEGUN_PAUSED)
def an_item_that_waited_begun_while_paused_again() -> Export:
    tale = running()
    tale.send(state="running")
    tale.sent("not-applied")
    tale.move("waiting")
    tale.write(K.PAUSED)
    tale.write(K.RESUMED)
    tale.write(K.PAUSED)
    tale.apply()
    tale.end()
    return tale.export()


@lie(StoryFault.ENDED_UNSTARTED)
def an_outcome_of_a_plan_that_waits() -> Export:
    tale = begun()
    tale.end()
    return tale.export()


@lie(StoryFault.OTHER_OUTCOME)
def another_outcome_than_the_one_in_the_log() -> Export:
    tale = honest()
    tale.statements[-1] = tale.outcome(results_sha256="ab" * 32)
    return tale.export()


@lie(StoryFault.OUTCOME_DISAGREES)
def an_outcome_with_another_bucket() -> Export:
    tale = running()
    tale.apply()
    tale.end(buckets={OutcomeBucket.APPLIED: SizeBucket.TO_10})
    return tale.export()


@lie(StoryFault.OUTCOME_DISAGREES)
def an_outcome_expired_of_what_was_cancelled() -> Export:
    tale = begun()
    tale.cancel()
    tale.close(OutcomeState.EXPIRED)
    return tale.export()


@lie(StoryFault.OUTCOME_OF_NONE)
def an_outcome_of_another_plan() -> Export:
    tale = honest()
    tale.statements.append(tale.outcome(plan_sha256="ab" * 32))
    return tale.export()


@lie(StoryFault.INCOMPLETE)
def an_outcome_counts_more_leaves_than_there_are() -> Export:
    tale = running()
    tale.apply()
    tale.end(leaves=tale.mine + 2)
    return tale.export()


@lie(StoryFault.INCOMPLETE)
def a_second_outcome_without_its_leaf() -> Export:
    tale = honest()
    tale.statements.append(tale.outcome(2))
    return tale.export()


@lie(StoryFault.SENT_FROZEN)
def a_step_begun_under_a_freeze_of_its_agent() -> Export:
    tale = running()
    tale.move("running")
    tale.freeze(FreezeScope.AGENT, AGENT)
    tale.send()
    return tale.export()


@lie(StoryFault.CONSUMED_FROZEN)
def consumed_while_who_asked_is_frozen() -> Export:
    tale = begun()
    tale.freeze(FreezeScope.PERSON, "maria", person="lena")
    tale.consume()
    return tale.export()


@lie(StoryFault.SENT_FROZEN)
def sent_while_the_approvers_key_is_frozen() -> Export:
    tale = running()
    tale.move("running")
    tale.freeze(FreezeScope.KEY, key("joseph").public.hex())
    tale.send()
    return tale.export()


@lie(StoryFault.CONSUMED_FROZEN)
def a_freeze_lifted_by_one_person() -> Export:
    tale = begun()
    tale.unfreeze(tale.freeze(), "maria")
    tale.consume()
    return tale.export()


@lie(StoryFault.CONSUMED_FROZEN)
def a_freeze_of_all_lifted_by_a_frozen_person() -> Export:
    tale = begun()
    tale.freeze(FreezeScope.PERSON, "lena")
    tale.unfreeze(tale.freeze(person="joseph"))
    tale.consume()
    return tale.export()


@lie(StoryFault.NOT_APPROVED)
def a_freeze_of_a_key_lifted_with_that_key() -> Export:
    tale = begun()
    tale.unfreeze(tale.freeze(FreezeScope.KEY, key("joseph").public.hex()), "maria", "joseph")
    tale.consume()
    return tale.export()


@lie(StoryFault.NOT_APPROVED)
def approved_by_a_frozen_person() -> Export:
    tale = begun()
    tale.freeze(FreezeScope.PERSON, "joseph")
    tale.consume()
    return tale.export()


@lie(StoryFault.TRUST_MISSING)
def consumed_under_a_trust_version_that_the_file_lacks() -> Export:
    tale = Tale(plan(trust_version=2))
    tale.begin()
    tale.approve()
    tale.consume()
    return tale.export()


@lie(StoryFault.BAD_STATEMENT)
def a_plan_signed_by_somebody_else() -> Export:
    tale = honest()
    tale.statements[1] = statements.sign(tale.plan, [key("eve")])
    return tale.export(statements_=tale.statements[:2])


@lie(StoryFault.BAD_STATEMENT)
def an_outcome_signed_by_somebody_else() -> Export:
    tale = honest()
    outcome = statements.decode_untrusted(tale.statements[-1].payload_type, tale.statements[-1].payload)
    tale.statements[-1] = statements.sign(outcome, [key("eve")])
    return tale.export()


@lie(StoryFault.BAD_STATEMENT)
def a_pause_signed_by_somebody_else() -> Export:
    tale = paused_by_statements()
    pause = statements.decode_as_untrusted(Pause, tale.statements[PAUSE_AT])
    tale.statements[PAUSE_AT] = statements.sign(pause, [key("eve")])
    return tale.export()


@lie(StoryFault.BAD_STATEMENT)
def a_pause_that_is_no_pause() -> Export:
    tale = paused_by_statements()
    tale.statements[PAUSE_AT] = envelopes.sign(statements.payload_type(Pause), b"{}", [key("maria")])
    return tale.export()


@lie(StoryFault.BAD_STATEMENT)
def a_resume_by_one_of_another_agent() -> Export:
    return paused_by_statements("far").export()


@lie(StoryFault.BAD_ITEMS)
def other_items() -> Export:
    made = honest().export(items=True)
    return dataclasses.replace(made, items={d: documents()[:1] for d in made.items})


@lie(StoryFault.BAD_LOG)
def a_leaf_in_the_file_twice() -> Export:
    made = honest().export()
    return dataclasses.replace(made, entries=(*made.entries, made.entries[2]))


@lie(StoryFault.BAD_LOG)
def another_record_than_the_leafs_own() -> Export:
    made = honest().export()
    return dataclasses.replace(
        made, entries=(*made.entries[:2], dataclasses.replace(made.entries[2], record=b"{}"), *made.entries[3:])
    )


@lie(StoryFault.BAD_LOG)
def a_checkpoint_of_another_tree() -> Export:
    other = honest()
    other.write(K.PADDING, of_plan=False)
    return dataclasses.replace(honest().export(), note=other.note())


@lie(StoryFault.BAD_TRUST)
def a_trust_version_skipped() -> Export:
    tale = honest()
    tale.statements.insert(1, signed_trust(trust(version=3, prev=sha(trust()))))
    return tale.export(statements_=tale.statements[:2])


@lie(StoryFault.NOT_APPROVED)
def a_program_asked_and_one_person_approved() -> Export:
    return asked_by("billing", "joseph").export()


@lie(StoryFault.NOT_APPROVED)
def who_runs_the_program_approved() -> Export:
    return asked_by("portal", "joseph").export()


@lie(StoryFault.NOT_APPROVED)
def two_approved_where_a_program_needs_one_more() -> Export:
    return asked_by("portal", "lena", "maria", risk_class=RiskClass.BATCH).export()


@lie(StoryFault.NOT_APPROVED)
def who_runs_the_program_signed_its_standing_authority() -> Export:
    return restored(requester="portal").export()


def asked_by(program: str, *approvers: str, **changes: object) -> Tale:
    tale = running(*approvers, requester=program, **changes)
    tale.apply()
    tale.end()
    return tale


def restored(
    named: bool = True,
    used: bool = True,
    requester: str = "billing",
    action: Action = Action.RESTORE,
    risk_class: RiskClass = RiskClass.RESTORE,
) -> Tale:
    """Return a log of a plan that a standing authority for its verb covers, or seems to."""
    tale = Tale(plan(risk_class=risk_class, action=action, requester=requester))
    tale.begin()
    standing = signed_standing(verb=action)
    if used:
        told = statements.decode_untrusted(standing.payload_type, standing.payload)
        assert isinstance(told, statements.Standing)
        tale.tell(
            K.STANDING_USED, standing if named else signed_standing(rate_per_hour=7), actor=bytes.fromhex("88" * 16)
        )
    tale.statements.append(standing)
    tale.consume()
    tale.apply()
    tale.end()
    return tale


def accepted_a_cpe(saw: Saw = Saw.DETAIL) -> Tale:
    tale = Tale(plan(risk_class=RiskClass.PROVISION, action=Action.CPE_ACCEPT))
    tale.begin()
    tale.approve(saw=saw)
    tale.consume()
    tale.apply()
    tale.end()
    return tale


@lie(StoryFault.NOT_APPROVED)
def an_acceptance_of_a_cpe_that_nobody_looked_at() -> Export:
    return accepted_a_cpe(Saw.SUMMARY).export()


@lie(StoryFault.NOT_APPROVED)
def an_acceptance_of_a_cpe_by_standing_authority() -> Export:
    return restored(action=Action.CPE_ACCEPT, risk_class=RiskClass.PROVISION).export()


@lie(StoryFault.NOT_APPROVED)
def a_standing_authority_that_no_leaf_used() -> Export:
    return restored(used=False).export()


@lie(StoryFault.NOT_APPROVED)
def a_use_of_another_standing_authority() -> Export:
    tale = restored(named=False)
    del tale.statements[2]
    return tale.export()


LYING: Mapping[str, tuple[Callable[[], Export], StoryFault]] = MADE


@lie(StoryFault.NOT_APPROVED)
def a_rejection_that_the_review_does_not_name() -> Export:
    tale = reviewed()
    other = approval(tale.plan, "lena", decision=Decision.REJECT, not_before=MINUTE + 1, not_after=MINUTE + 60)
    tale.statements.append(other)
    return tale.export()


# --- what is true ---------------------------------------------------------------------------------------------------


def cancelled() -> Tale:
    tale = begun()
    tale.cancel()
    tale.write(K.EXPORTED)
    tale.close(OutcomeState.CANCELLED)
    return tale


def reverted() -> Tale:
    """A half that is taken back, also after the cancel."""
    tale = running(on_failure=OnFailure.REVERT)
    tale.move("running")
    tale.send()
    tale.sent()
    tale.send(2)
    tale.sent("not-applied", 2)
    tale.cancel()
    tale.move("needs-a-person")
    tale.send()
    tale.sent()
    tale.move("reverted")
    tale.end()
    return tale


def judged_again() -> Tale:
    """A run that went on twice, and whose item was judged later; a fallback made good what diverged."""
    tale = running()
    tale.move("running")
    tale.send()
    tale.sent()
    tale.send(2)
    tale.sent("diverged", 2)
    tale.send(3)
    tale.sent(step=3)
    tale.move("set-not-enforced")
    tale.end()
    tale.write(K.RESUMED)
    tale.move("running")
    tale.move("set-at-next-login")
    tale.end(2)
    tale.write(K.EXPORTED)
    tale.move("applied")
    tale.end(3)
    return tale


def begun_by_a_leaf_of_its_own() -> Tale:
    """As agents wrote it before the first about-to began its item; and one item that waited in between."""
    tale = running()
    tale.move("running")
    tale.send()
    tale.sent()
    tale.move("applied")
    tale.move("waiting", 2)
    tale.apply(2)
    tale.end()
    return tale


def paused_for_a_while() -> Tale:
    """What was begun goes on, an item that has nothing to send may end, and the rest begins once it is resumed."""
    tale = begun()
    tale.write(K.PAUSED)
    tale.write(K.RESUMED)
    tale.consume()
    tale.send(state="running")
    tale.write(K.PAUSED)
    tale.sent()
    tale.send(2)
    tale.sent(step=2)
    tale.move("applied")
    tale.move("waiting", 2)
    tale.move("running", 3)
    tale.move("applied", 3)
    tale.write(K.RESUMED)
    tale.apply(2)
    tale.end()
    return tale


def with_a_pause_of_another_plan() -> Tale:
    tale = honest()
    pause = Pause(TRUST_ID, "0a" * 16, "ee" * 32, "maria", tale.minute)
    tale.statements.append(statements.sign(pause, [key("maria")]))
    return tale


def paused_by_statements(resumed_by: str = "joseph") -> Tale:
    tale = running()
    plan_sha256 = tale.sha256.hex()
    pause = Pause(TRUST_ID, "0a" * 16, plan_sha256, "maria", tale.minute)
    tale.tell(K.PAUSED, statements.sign(pause, [key("maria")]))
    resume = Resume(TRUST_ID, "0b" * 16, plan_sha256, resumed_by, tale.minute)
    tale.tell(K.RESUMED, statements.sign(resume, [key(resumed_by)]))
    tale.apply()
    tale.end()
    return tale


def frozen_for_a_while() -> Tale:
    tale = begun()
    first, second = tale.freeze(), tale.freeze(FreezeScope.PERSON, "tech4")
    tale.unfreeze(first, also=[second, tale.freeze(FreezeScope.AGENT, AGENT)])
    tale.freeze(FreezeScope.PERSON, "lena")
    tale.freeze(FreezeScope.AGENT, "bb" * 16)
    tale.freeze(expires=MINUTE)
    tale.consume()
    tale.apply()
    tale.end()
    return tale


def reviewed(decision: Decision = Decision.APPROVE) -> Tale:
    """One person did it alone; another one looked, after an outcome that came later too."""
    tale = Tale(plan(risk_class=RiskClass.ALONE, action=Action.RESTORE))
    tale.begin()
    tale.approve("maria")
    tale.consume()
    tale.write(K.REVIEW_OPENED)
    tale.write(K.PAUSED)
    tale.write(K.RESUMED)
    tale.apply()
    tale.end()
    tale.minute += 2
    tale.end(2)
    seen = approval(tale.plan, "joseph", decision=decision, not_before=MINUTE + 1, not_after=MINUTE + 60)
    tale.tell(K.REVIEW_CLOSED, seen)
    return tale


def objected() -> Tale:
    return reviewed(Decision.REJECT)


HONEST: Mapping[str, Callable[[], Tale]] = {
    "reviewed": reviewed,
    "objected": objected,
    "suspended": honest,
    "cancelled": cancelled,
    "reverted": reverted,
    "judged-again": judged_again,
    "begun-by-a-leaf-of-its-own": begun_by_a_leaf_of_its_own,
    "frozen-for-a-while": frozen_for_a_while,
    "paused-for-a-while": paused_for_a_while,
    "paused-by-statements": paused_by_statements,
    "a-pause-of-another-plan": with_a_pause_of_another_plan,
    "restored": restored,
    "a-baseline-was-set": lambda: restored(action=Action.CPE_SET, risk_class=RiskClass.PROVISION),
    "a-cpe-was-accepted": accepted_a_cpe,
    "a-program-asked": lambda: asked_by("billing", "joseph", "lena"),
    "somebody-known-runs-it": lambda: asked_by("portal", "lena"),
    "nothing-is-said-of-programs": lambda: asked_by("billing", "joseph", "lena", risk_class=RiskClass.CONFIG),
}


def closed() -> Export:
    return honest().export(opened=False)


def still_running() -> Export:
    return running().export(without=[0])


def waiting() -> Export:
    return begun().export(without=[0])


def cut_with_its_outcome() -> Export:
    """The findings' second file: without its outcome, nothing in it says what is missing."""
    tale = honest()
    return tale.export(without=range(3, len(tale.log)), statements_=tale.statements[:3])


def written_before() -> Export:
    tale = Tale(names=False)
    tale.begin()
    tale.approve()
    tale.consume()
    tale.apply()
    tale.end()
    return tale.export()


def closed_before_there_was_a_leaf() -> Export:
    tale = begun()
    tale.cancel()
    tale.statements.append(tale.outcome(state=OutcomeState.CANCELLED))
    return tale.export(without=[0])


def a_freeze_that_is_not_shown() -> Export:
    tale = begun()
    tale.freeze()
    tale.consume()
    tale.apply()
    tale.end()
    return tale.export(statements_=[e for e in tale.statements if "freeze" not in e.payload_type])


IN_PART: Mapping[str, Callable[[], Export]] = {
    make.__name__: make
    for make in (
        closed,
        still_running,
        waiting,
        cut_with_its_outcome,
        written_before,
        closed_before_there_was_a_leaf,
        a_freeze_that_is_not_shown,
    )
}
"""Files of which nothing is false, and which show too little."""
