"""Every lie of the corpus is refused for its own reason; what is true verifies, and what shows too little says so."""

import dataclasses
from collections import Counter

import pytest

from tests.builders.operator import MINUTE, TRUST_ID, approval, key, plan, sha, signed_standing, trust
from tests.trust.lying import HONEST, IN_PART, LYING, honest
from tests.trust.tales import Tale
from trust import envelope, life, proof, statements
from trust.leaf import LeafKind
from trust.life import StoryFault
from trust.statements import Approval, Freeze, FreezeScope, Standing
from trust.story import Named, read_record_untrusted

HEAD = sha(trust())


def judged(export):
    return proof.verify_export_untrusted(proof.encode_export(export), head=HEAD)


@pytest.mark.parametrize("name", LYING)
def test_a_lie_is_refused_for_its_own_reason(name):
    make, fault = LYING[name]
    report = judged(make())
    assert report.faults[:1] == (fault,), [line for line in report.lines if not line.ok]
    assert not report.ok


def test_every_reason_has_a_lie():
    assert {fault for _, fault in LYING.values()} == set(StoryFault) - {StoryFault.BAD_KEY, StoryFault.OTHER_LOG}


@pytest.mark.parametrize("file", [{"whole": True}, {}, {"without": [0]}], ids=["whole", "proofs", "of-one-plan"])
@pytest.mark.parametrize("name", HONEST)
def test_the_truth_verifies(name, file):
    report = judged(HONEST[name]().export(**file))
    assert report.ok, [line for line in report.lines if not line.ok]
    assert report.whole, [line for line in report.lines if line.part]
    complete = [line.text for line in report.lines if line.text.startswith("complete up to its outcome")]
    assert bool(complete) == ("without" in file)


@pytest.mark.parametrize("name", HONEST)
def test_the_truth_with_any_line_left_out_does_not_verify(name):
    tale = HONEST[name]()
    last = max(n for n, one in enumerate(tale.log) if one.leaf.kind is LeafKind.CHANGE_FINISHED)
    of_plan = [n for n, one in enumerate(tale.log[: last + 1]) if one.leaf.plan == tale.sha256]
    for gone in of_plan:
        report = judged(tale.export(without=[0, gone]))
        assert not (report.ok and report.whole), gone


def test_unreadable_or_foreign_statements_do_not_count():
    tale = honest()
    broken = [envelope.sign(statements.payload_type(kind), b"{}", [key("joseph")]) for kind in (Approval, Standing)]
    other = approval(plan(plan_id="99" * 16), "lena")
    report = judged(tale.export(statements_=[*tale.statements, *broken, other]))
    assert report.ok, [line for line in report.lines if not line.ok]


def test_of_standing_authorities_only_the_used_one_counts():
    tale = HONEST["restored"]()
    (used,) = [n for n, e in enumerate(tale.statements) if "standing" in e.payload_type][:1]
    others = [
        signed_standing(standing_id="99" * 16),
        envelope.sign(statements.payload_type(Standing), b"{}", [key("lena")]),
    ]
    tale.statements[used:used] = others
    assert judged(tale.export()).ok
    closed = judged(tale.export(opened=False))
    assert closed.ok, [line for line in closed.lines if not line.ok]


def test_a_frozen_key_that_is_named_by_a_bad_signature_stops():
    tale = HONEST["suspended"]()
    tale.log.clear()
    tale.mine = 0
    del tale.statements[2:]
    tale.begin().approve()
    good = approval(tale.plan, "lena")
    bad = dataclasses.replace(good, signatures=(dataclasses.replace(good.signatures[0], sig=bytes(64)),))
    tale.tell(LeafKind.APPROVAL, bad).freeze(FreezeScope.KEY, key("lena").public.hex()).consume()
    assert judged(tale.export()).faults == (StoryFault.CONSUMED_FROZEN,)


@pytest.mark.parametrize("signer", ["eve", "maria"])
def test_a_freeze_that_nobody_may_make_or_lift_is_not_shown(signer):
    """The leaf is there: what it froze cannot be told from a statement by a stranger."""
    tale = Tale().begin().approve()
    frozen = statements.sign(Freeze(TRUST_ID, "02" * 16, FreezeScope.ALL, "", "maria", MINUTE), [key(signer)])
    tale.tell(LeafKind.FREEZE, frozen, of_plan=False).unfreeze(lifts=frozen).consume().apply().end()
    report = judged(tale.export())
    assert report.ok
    assert report.whole == (signer == "maria")


def test_a_record_of_another_form_names_nothing():
    for record in (b"", b"[]", b'{"statement_sha256": "x"}', b'{"plan_leaves": 0}'):
        assert read_record_untrusted(LeafKind.APPROVAL, record) == Named("", None)
    assert read_record_untrusted(LeafKind.START, b'{"statement_sha256": 7}') == Named("", None)


@pytest.mark.parametrize(
    ("states", "outcome"),
    [
        ("running", "mixed"),
        ("", "done"),
        ("blocked excluded", "done"),
        ("applied set-at-next-login skipped superseded", "done"),
        ("applied accepted", "accepted"),
        ("stale", "nothing-done"),
        ("cancelled", "cancelled"),
        ("expired", "expired"),
        ("stale expired not-applied", "nothing-done"),
        ("reverted cancelled", "reverted"),
        ("applied diverged", "needs-a-person"),
        ("applied cancelled", "mixed"),
    ],
)
def test_an_outcome_folds_the_states_of_items(states, outcome):
    assert life.outcome_of(Counter(states.split())).value == outcome


@pytest.mark.parametrize("name", IN_PART)
def test_a_file_that_shows_too_little_says_so(name):
    report = judged(IN_PART[name]())
    assert report.ok, [line for line in report.lines if not line.ok]
    assert not report.whole
    assert all("NOT JUDGED" in line.text for line in report.lines if line.part)
    assert not any(": not consumed" in line.text for line in report.lines)


def test_what_lifts_a_freeze_that_is_not_there_lifts_nothing():
    tale = Tale().begin().approve()
    tale.unfreeze(lifts=approval(tale.plan, "lena")).consume().apply().end()
    assert judged(tale.export()).ok
