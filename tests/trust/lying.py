"""The corpus: files of agents that lie, and of carriers that cut, each with the one reason for which it is refused.

The first ones are those of the findings: all of them verified once. `IN_PART` are files that show too little to judge.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial

from tests.builders.expect import expect
from tests.builders.operator import (
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
Make = Callable[[], Tale | Export]
MADE: dict[str, tuple[Callable[[], Export], StoryFault]] = {}


def lie(fault: StoryFault) -> Callable[[Make], Make]:
    """Keep a file, or a log of which all is in the file, with the reason for which it is refused."""

    def keep(make: Make) -> Make:
        MADE[make.__name__] = partial(exported, make), fault
        return make

    return keep


def exported(make: Make) -> Export:
    made = make()
    return made.export() if isinstance(made, Tale) else made


def begun(*approvers: str, **changes: object) -> Tale:
    tale = Tale(plan(**changes)).begin()
    for who in approvers or ("joseph",):
        tale.approve(who)
    return tale


def running(*approvers: str, **changes: object) -> Tale:
    return begun(*approvers, **changes).consume()


# --- the findings ---------------------------------------------------------------------------------------------------


@lie(StoryFault.SENT_UNCONSUMED)
def sent_before_consumed_and_two_lines_of_the_file_swapped() -> Export:
    tale = Tale().begin().approve()
    about = len(tale.log)
    consumed = about + 1
    tale.send().consume().sent()
    made = tale.export()
    order = list(made.entries)
    order[about], order[consumed] = order[consumed], order[about]
    return dataclasses.replace(made, entries=tuple(order))


@lie(StoryFault.NO_APPROVAL_LEAF)
def no_approval_leaf_and_an_approval_signed_afterwards() -> Tale:
    tale = Tale().begin().consume().apply().end()
    tale.statements.append(approval(tale.plan, "joseph"))
    return tale


@lie(StoryFault.AFTER_CANCEL)
def consumed_after_a_cancel_that_came_before_the_plan() -> Tale:
    return Tale().cancel().begin().approve().consume().apply().end()


@lie(StoryFault.AFTER_REJECTION)
def consumed_after_rejection() -> Tale:
    tale = begun()
    tale.tell(K.REJECTION, approval(tale.plan, "lena", decision=Decision.REJECT)).consume().apply().end()
    return tale


@lie(StoryFault.STEPS_DISAGREE)
def item_applied_though_its_step_diverged() -> Tale:
    return running().move("running").send().sent("diverged").move("applied").end()


@lie(StoryFault.OUTCOME_DISAGREES)
def outcome_done_though_the_item_diverged() -> Tale:
    return (
        running()
        .move("running")
        .send()
        .sent("diverged")
        .move("diverged")
        .end(state=OutcomeState.DONE, buckets={OutcomeBucket.APPLIED: SizeBucket.ONE})
    )


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


@lie(StoryFault.NO_APPROVAL_LEAF)
def a_second_approval_without_a_leaf() -> Tale:
    tale = running(risk_class=RiskClass.BATCH).apply().end()
    tale.statements.append(approval(tale.plan, "lena"))
    return tale


@lie(StoryFault.NO_APPROVAL_LEAF)
def the_leaf_names_another_approval() -> Tale:
    tale = Tale().begin().write(K.APPROVAL, record={STATEMENT: "ab" * 32})
    tale.statements.append(approval(tale.plan, "joseph"))
    tale.consume().apply().end()
    return tale


@lie(StoryFault.COMMITMENT_DROPPED)
def a_later_leaf_names_no_statement() -> Tale:
    tale = begun("joseph", risk_class=RiskClass.BATCH)
    tale.statements.append(approval(tale.plan, "lena"))
    tale.write(K.APPROVAL).consume().apply().end()
    return tale


@lie(StoryFault.SENT_AFTER_CANCEL)
def a_step_begun_after_the_cancel() -> Tale:
    return running().move("running").send().sent().cancel().send(2).sent(step=2).move("applied").end()


@lie(StoryFault.SENT_AFTER_CANCEL)
def a_new_step_begun_after_the_cancel_of_a_plan_that_reverts() -> Tale:
    return running(on_failure=OnFailure.REVERT).cancel().move("running").send()


@lie(StoryFault.BEGUN_PAUSED)
def an_item_begun_while_paused_by_a_leaf_of_its_own() -> Tale:
    return running().write(K.PAUSED).move("running").send().sent().move("applied").end()


@lie(StoryFault.BEGUN_PAUSED)
def an_item_that_waited_begun_while_paused_again() -> Tale:
    return (
        running()
        .send(state="running")
        .sent("not-applied")
        .move("waiting")
        .write(K.PAUSED)
        .write(K.RESUMED)
        .write(K.PAUSED)
        .apply()
        .end()
    )


@lie(StoryFault.OTHER_OUTCOME)
def another_outcome_than_the_one_in_the_log() -> Tale:
    tale = honest()
    tale.statements[-1] = tale.outcome(results_sha256="ab" * 32)
    return tale


@lie(StoryFault.OUTCOME_DISAGREES)
def an_outcome_with_another_bucket() -> Tale:
    return running().apply().end(buckets={OutcomeBucket.APPLIED: SizeBucket.TO_10})


@lie(StoryFault.OUTCOME_OF_NONE)
def an_outcome_of_another_plan() -> Tale:
    tale = honest()
    tale.statements.append(tale.outcome(plan_sha256="ab" * 32))
    return tale


@lie(StoryFault.INCOMPLETE)
def an_outcome_counts_more_leaves_than_there_are() -> Tale:
    tale = running().apply()
    tale.end(leaves=tale.mine + 2)
    return tale


@lie(StoryFault.INCOMPLETE)
def a_second_outcome_without_its_leaf() -> Tale:
    tale = honest()
    tale.statements.append(tale.outcome(2))
    return tale


@lie(StoryFault.SENT_FROZEN)
def a_step_begun_under_a_freeze_of_its_agent() -> Tale:
    return running().move("running").freeze(FreezeScope.AGENT, AGENT).send()


@lie(StoryFault.CONSUMED_FROZEN)
def consumed_while_who_asked_is_frozen() -> Tale:
    return begun().freeze(FreezeScope.PERSON, "maria", person="lena").consume()


@lie(StoryFault.SENT_FROZEN)
def sent_while_the_approvers_key_is_frozen() -> Tale:
    return running().move("running").freeze(FreezeScope.KEY, key("joseph").public.hex()).send()


@lie(StoryFault.CONSUMED_FROZEN)
def a_freeze_of_all_lifted_by_a_frozen_person() -> Tale:
    return begun().freeze(FreezeScope.PERSON, "lena").freeze(person="joseph").unfreeze().consume()


@lie(StoryFault.NOT_APPROVED)
def a_freeze_of_a_key_lifted_with_that_key() -> Tale:
    return begun().freeze(FreezeScope.KEY, key("joseph").public.hex()).unfreeze("maria", "joseph").consume()


@lie(StoryFault.TRUST_MISSING)
def consumed_under_a_trust_version_that_the_file_lacks() -> Tale:
    return Tale(plan(trust_version=2)).begin().approve().consume()


@lie(StoryFault.BAD_STATEMENT)
def a_plan_signed_by_somebody_else() -> Export:
    tale = honest()
    tale.statements[1] = statements.sign(tale.plan, [key("eve")])
    return tale.export(statements_=tale.statements[:2])


@lie(StoryFault.BAD_STATEMENT)
def an_outcome_signed_by_somebody_else() -> Tale:
    tale = honest()
    outcome = statements.decode_untrusted(tale.statements[-1].payload_type, tale.statements[-1].payload)
    tale.statements[-1] = statements.sign(outcome, [key("eve")])
    return tale


@lie(StoryFault.BAD_STATEMENT)
def a_pause_signed_by_somebody_else() -> Tale:
    tale = paused_by_statements()
    pause = statements.decode_as_untrusted(Pause, tale.statements[PAUSE_AT])
    tale.statements[PAUSE_AT] = statements.sign(pause, [key("eve")])
    return tale


@lie(StoryFault.BAD_STATEMENT)
def a_pause_that_is_no_pause() -> Tale:
    tale = paused_by_statements()
    tale.statements[PAUSE_AT] = envelopes.sign(statements.payload_type(Pause), b"{}", [key("maria")])
    return tale


@lie(StoryFault.BAD_STATEMENT)
def a_resume_of_somebody_elses_pause() -> Export:
    """Tech4 may ask for changes, and resume what tech4 paused; maria paused this one."""
    return paused_by_statements("tech4").export()


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
    other = honest().write(K.PADDING, of_plan=False)
    return dataclasses.replace(honest().export(), note=other.note())


@lie(StoryFault.BAD_TRUST)
def a_trust_version_skipped() -> Export:
    tale = honest()
    tale.statements.insert(1, signed_trust(trust(version=3, prev=sha(trust()))))
    return tale.export(statements_=tale.statements[:2])


@lie(StoryFault.NOT_APPROVED)
def two_approved_where_a_program_needs_one_more() -> Tale:
    return asked_by("portal", "lena", "maria", risk_class=RiskClass.BATCH)


def asked_by(program: str, *approvers: str, **changes: object) -> Tale:
    return running(*approvers, requester=program, **changes).apply().end()


def restored(
    named: bool = True,
    used: bool = True,
    requester: str = "billing",
    action: Action = Action.RESTORE,
    risk_class: RiskClass = RiskClass.RESTORE,
) -> Tale:
    """Return a log of a plan that a standing authority for its verb covers, or seems to."""
    tale = Tale(plan(risk_class=risk_class, action=action, requester=requester)).begin()
    standing = signed_standing(verb=action)
    if used:
        expect(statements.Standing, statements.decode_untrusted(standing.payload_type, standing.payload))
        tale.tell(
            K.STANDING_USED, standing if named else signed_standing(rate_per_hour=7), actor=bytes.fromhex("88" * 16)
        )
    tale.statements.append(standing)
    tale.consume().apply().end()
    return tale


def accepted_a_cpe(saw: Saw = Saw.DETAIL) -> Tale:
    return (
        Tale(plan(risk_class=RiskClass.PROVISION, action=Action.CPE_ACCEPT))
        .begin()
        .approve(saw=saw)
        .consume()
        .apply()
        .end()
    )


@lie(StoryFault.NOT_APPROVED)
def an_acceptance_of_a_cpe_by_standing_authority() -> Tale:
    return restored(action=Action.CPE_ACCEPT, risk_class=RiskClass.PROVISION)


@lie(StoryFault.NOT_APPROVED)
def a_use_of_another_standing_authority() -> Tale:
    tale = restored(named=False)
    del tale.statements[2]
    return tale


@lie(StoryFault.NOT_APPROVED)
def a_rejection_that_the_review_does_not_name() -> Tale:
    tale = reviewed()
    other = approval(tale.plan, "lena", decision=Decision.REJECT, not_before=MINUTE + 1, not_after=MINUTE + 60)
    tale.statements.append(other)
    return tale


LIES: Mapping[StoryFault, Mapping[str, Make]] = {
    StoryFault.SENT_UNCONSUMED: {
        "sent_before_consumed": lambda: Tale().begin().send().sent().approve().consume().end(),
    },
    StoryFault.CONSUMED_TWICE: {
        "consumed_and_sent_twice": lambda: running().apply().consume().end(),
        "consumed_again_after_its_end": lambda: honest().consume().end(2),
    },
    StoryFault.AFTER_CANCEL: {
        "consumed_after_cancel": lambda: begun().cancel().consume().apply().end(),
    },
    StoryFault.AFTER_VOID: {
        "consumed_after_void": lambda: begun().write(K.PLAN_VOID).consume().apply().end(),
    },
    StoryFault.CONSUMED_FROZEN: {
        "consumed_while_all_is_frozen": lambda: begun().freeze().consume().apply().end(),
        "a_freeze_lifted_by_one_person": lambda: begun().freeze().unfreeze("maria").consume(),
    },
    StoryFault.NO_PLAN_LEAF: {
        "the_plans_own_leaf_deleted": lambda: honest().export(without=[1]),
    },
    StoryFault.PLAN_TWICE: {
        "two_leaves_of_one_plan": lambda: begun().write(K.PLAN),
    },
    StoryFault.NO_SUCH_LEAF: {
        "a_leaf_of_padding_with_a_plan": lambda: begun().write(K.PADDING),
    },
    StoryFault.DECIDED_LATE: {
        "approved_after_it_was_consumed": lambda: Tale().begin().consume().approve().apply().end(),
    },
    StoryFault.NOT_APPROVED: {
        "approved_by_nobody": lambda: Tale().begin().consume().apply().end(),
        "approved_by_who_asked": lambda: running("maria").apply().end(),
        "approved_by_one_where_two_must": lambda: running(risk_class=RiskClass.BATCH).apply().end(),
        "more_items_than_the_class_allows": lambda: running(size_bucket=SizeBucket.TO_100).apply().end(),
        "approved_by_a_frozen_person": lambda: begun().freeze(FreezeScope.PERSON, "joseph").consume(),
        "a_program_asked_and_one_person_approved": lambda: asked_by("billing", "joseph"),
        "who_runs_the_program_approved": lambda: asked_by("portal", "joseph"),
        "who_runs_the_program_signed_its_standing_authority": lambda: restored(requester="portal"),
        "an_acceptance_of_a_cpe_that_nobody_looked_at": lambda: accepted_a_cpe(Saw.SUMMARY),
        "a_standing_authority_that_no_leaf_used": lambda: restored(used=False),
    },
    StoryFault.SENT_AFTER_END: {
        "sent_after_the_end": lambda: honest().send(2).sent(step=2),
    },
    StoryFault.SENT_UNBEGUN: {
        "a_step_of_an_item_that_was_not_begun": lambda: running().send(),
        "a_step_of_an_item_that_is_over": lambda: running().apply().send(2),
    },
    StoryFault.NO_TICKET: {
        "an_outcome_of_a_step_that_was_not_begun": lambda: running().move("running").sent(),
        "two_outcomes_of_one_step": lambda: running().move("running").send().sent("unknown").sent(),
    },
    StoryFault.NO_SUCH_CODE: {
        "a_verdict_that_there_is_not": lambda: running().move("running").send().write(K.STEP_OUTCOME, 1, 1, 9),
        "a_state_that_there_is_not": lambda: running().write(K.ITEM_STATE, 1, code=99),
        "a_step_that_moves_its_item_elsewhere": lambda: running().send(state="applied"),
    },
    StoryFault.NO_SUCH_MOVE: {
        "applied_without_having_begun": lambda: running().move("applied").end(),
        "an_item_begun_twice": lambda: running().send(state="running").send(2, state="running"),
        "an_item_begun_again_after_its_end": lambda: running(on_failure=OnFailure.REVERT).apply().send(state="running"),
        "an_item_that_was_cancelled_is_applied": lambda: running().move("cancelled").move("running"),
    },
    StoryFault.SENT_AFTER_CANCEL: {
        "an_item_begun_after_the_cancel": lambda: running().cancel().send(state="running"),
    },
    StoryFault.OUT_OF_ORDER: {
        "an_item_moves_before_it_was_consumed": lambda: begun().move("skipped"),
        "resumed_after_it_was_closed": lambda: begun().cancel().write(K.RESUMED),
    },
    StoryFault.CONSUMED_PAUSED: {
        "consumed_while_paused": lambda: begun().write(K.PAUSED).consume().write(K.RESUMED).apply().end(),
    },
    StoryFault.BEGUN_PAUSED: {
        "an_item_begun_while_paused": lambda: running().write(K.PAUSED).apply().write(K.RESUMED).end(),
    },
    StoryFault.ENDED_UNSTARTED: {
        "an_outcome_of_a_plan_that_waits": lambda: begun().end(),
    },
    StoryFault.OUTCOME_DISAGREES: {
        "an_outcome_expired_of_what_was_cancelled": lambda: begun().cancel().close(OutcomeState.EXPIRED),
    },
    StoryFault.BAD_STATEMENT: {
        "a_resume_by_one_of_another_agent": lambda: paused_by_statements("far"),
    },
}


for _fault, _lies in LIES.items():
    for _name, _make in _lies.items():
        MADE[_name] = partial(exported, _make), _fault
LYING: Mapping[str, tuple[Callable[[], Export], StoryFault]] = MADE


# --- what is true ---------------------------------------------------------------------------------------------------


def cancelled() -> Tale:
    return begun().cancel().write(K.EXPORTED).close(OutcomeState.CANCELLED)


def reverted() -> Tale:
    """A half that is taken back, also after the cancel."""
    return (
        running(on_failure=OnFailure.REVERT)
        .move("running")
        .send()
        .sent()
        .send(2)
        .sent("not-applied", 2)
        .cancel()
        .move("needs-a-person")
        .send()
        .sent()
        .move("reverted")
        .end()
    )


def judged_again() -> Tale:
    """A run that went on twice, and whose item was judged later; a fallback made good what diverged."""
    return (
        running()
        .move("running")
        .send()
        .sent()
        .send(2)
        .sent("diverged", 2)
        .send(3)
        .sent(step=3)
        .move("set-not-enforced")
        .end()
        .write(K.RESUMED)
        .move("running")
        .move("set-at-next-login")
        .end(2)
        .write(K.EXPORTED)
        .move("applied")
        .end(3)
    )


def begun_by_a_leaf_of_its_own() -> Tale:
    """As agents wrote it before the first about-to began its item; and one item that waited in between."""
    return running().move("running").send().sent().move("applied").move("waiting", 2).apply(2).end()


def paused_for_a_while() -> Tale:
    """What was begun goes on, an item that has nothing to send may end, and the rest begins once it is resumed."""
    return (
        begun()
        .write(K.PAUSED)
        .write(K.RESUMED)
        .consume()
        .send(state="running")
        .write(K.PAUSED)
        .sent()
        .send(2)
        .sent(step=2)
        .move("applied")
        .move("waiting", 2)
        .move("running", 3)
        .move("applied", 3)
        .write(K.RESUMED)
        .apply(2)
        .end()
    )


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
    tale.tell(K.RESUMED, statements.sign(resume, [key(resumed_by)])).apply().end()
    return tale


def frozen_for_a_while() -> Tale:
    tale = begun()
    tale.freeze().freeze(FreezeScope.PERSON, "tech4").freeze(FreezeScope.AGENT, AGENT)
    first, *others = tale.freezes
    tale.unfreeze(lifts=first, also=others).freeze(FreezeScope.PERSON, "lena")
    tale.freeze(FreezeScope.AGENT, "bb" * 16).freeze(expires=MINUTE).consume().apply().end()
    return tale


def reviewed(decision: Decision = Decision.APPROVE) -> Tale:
    """One person did it alone; another one looked, after an outcome that came later too."""
    tale = Tale(plan(risk_class=RiskClass.ALONE, action=Action.RESTORE)).begin().approve("maria").consume()
    tale.write(K.REVIEW_OPENED).write(K.PAUSED).write(K.RESUMED).apply().end()
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
    return Tale(names=False).begin().approve().consume().apply().end().export()


def closed_before_there_was_a_leaf() -> Export:
    tale = begun().cancel()
    tale.statements.append(tale.outcome(state=OutcomeState.CANCELLED))
    return tale.export(without=[0])


def a_freeze_that_is_not_shown() -> Export:
    tale = begun().freeze().consume().apply().end()
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
