"""Rules of the judge that said too much, or were new: each with a case that it must tell, and its excuse."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest

from lab.truth import LineState, NextLogin
from tests.sim.cloud.ledger import Ledger
from tests.sim.judge import Asked, Evidence, judge
from tests.sim.parts import cloud_rules
from tests.sim.parts.cloud_people import FreezeAsked
from tests.sim.parts.record_rules import forgotten, wants_suspended
from tests.sim.witness import ORIGINAL, Deed, Lost, Move, OpenStep, Seen
from trust.statements import ReceiptResult

SERVICE = "C-1/home"
WALLED = LineState((), NextLogin(True, walled=True))


def move(state: str, reason: str = "", at: float = 50.0) -> Move:
    return Move(at, "aa", 1, SERVICE, "", state, "running", 40.0, reason, "", False, 7, ORIGINAL)


@pytest.mark.parametrize(
    ("lost", "rules"),
    [((), ["forgotten"]), ((Lost(30.0, 60.0, 9),), []), ((Lost(50.0, 60.0, 9),), ["forgotten"])],
)
def test_a_record_is_older_than_rows_after_a_loss(lost: tuple[Lost, ...], rules: list[str]) -> None:
    """Seed 3000082: a copy was put back of before a router's row was written, and the rule of routers did not know."""
    wrote = Deed(45.0, SERVICE, "agent", "changed", ())
    evidence = Evidence(Seen([wrote], moves=[move("applied")]), {}, (), (), {SERVICE: False}, "", 100.0, lost)
    assert [one.rule for one in forgotten(evidence, lambda *_: [WALLED])] == rules
    assert not list(forgotten(evidence, lambda *_: None)), "it is judged elsewhere"


@pytest.mark.parametrize("action", ["disconnect", "subscriber-edit"])
@pytest.mark.parametrize(("by", "rules"), [("", []), ("agent 1", ["forgotten"])])
def test_a_disconnect_reads_no_row(by: str, rules: list[str], action: str) -> None:
    """Seeds 7000073, 33004013: staff changed a row after a suspension, and people asked for a disconnect since, or gave
    the login to another customer.
    """
    wrote = Deed(55.0, SERVICE, by, "changed", ())
    moves = [move("applied"), replace(move("applied", at=70.0), plan="bb", before_at=60.0)]
    asked = {"bb": Asked("bb", action, frozenset({SERVICE}), 0)}
    evidence = Evidence(Seen([wrote], moves=moves), asked, (), (), {SERVICE: False}, "", 100.0)
    assert [one.rule for one in forgotten(evidence, lambda *_: [WALLED])] == rules


@pytest.mark.parametrize(("by", "rules"), [("agent 1", ["cancelled"]), ("copy-1 1", [])])
def test_a_copy_took_no_cancel(by: str, rules: list[str]) -> None:
    """Seed 61006 with machine-cloned: people cancelled at the original, and the copy went on."""
    step = OpenStep("aa", 1, 1, 1, 60.0, False, SERVICE, "", {})
    asked = Asked("aa", "suspend", frozenset({SERVICE}), 0, cancelled_at=55.0)
    evidence = Evidence(Seen([Deed(61.0, SERVICE, by, "rows", (step,))]), {"aa": asked}, (), (), {}, "", 100.0)
    assert [one.rule for one in judge(evidence, ())] == rules


@pytest.mark.parametrize(("sent_at", "rules"), [(45.0, []), (55.0, ["uncancelled"]), (float("inf"), ["uncancelled"])])
def test_an_item_is_cancelled_by_a_cancel(sent_at: float, rules: list[str]) -> None:
    """It may have been taken although its answer was lost."""
    asked = Asked("aa", "restore", frozenset({SERVICE}), 0, cancel_sent_at=sent_at)
    evidence = Evidence(Seen(moves=[move("set-not-enforced", "cancelled")]), {"aa": asked}, (), (), {}, "", 100.0)
    assert [one.rule for one in judge(evidence, ())] == rules


@pytest.mark.parametrize(("came", "rules"), [([20.0], []), ([55.0], ["no-freeze"]), ([], ["no-freeze"])])
def test_an_item_is_frozen_by_a_freeze(came: list[float], rules: list[str]) -> None:
    ledger, freeze = Ledger(), FreezeAsked("bb", "joseph", 15.0, b"envelope")
    ledger.delivered[freeze.envelope] = came
    part = SimpleNamespace(freezes=[freeze], ledger=ledger)
    evidence = Evidence(Seen(moves=[move("set-not-enforced", "frozen")]), {}, (), (), {}, "", 100.0)
    assert [one.rule for one in cloud_rules.no_freeze(evidence, part)] == rules  # type: ignore[arg-type]  # as far as it asks


@pytest.mark.parametrize(
    ("lost", "rules"),
    [
        ((), ["frozen"]),
        ((Lost(20.0, 40.0, 9),), []),
        ((Lost(31.0, 40.0, 9),), ["frozen"]),
        ((Lost(20.0, 60.0, 9),), ["frozen"]),
    ],
)
def test_a_freeze_binds_a_log_that_knows_it(lost: tuple[Lost, ...], rules: list[str]) -> None:
    """A copy was put back from before the freeze, from after it, or after the deed."""
    ledger, freeze = Ledger(), FreezeAsked("bb", "joseph", 15.0, b"envelope")
    ledger.receipts["bb"] = [(30.0, SimpleNamespace(result=ReceiptResult.ACCEPTED))]  # type: ignore[list-item]  # as far as it asks
    step = OpenStep("aa", 1, 1, 1, 50.0, False, SERVICE, "", {})
    evidence = Evidence(Seen([Deed(51.0, SERVICE, "agent 1", "rows", (step,))]), {}, (), (), {}, "", 100.0, lost)
    part = SimpleNamespace(freezes=[freeze], ledger=ledger)
    assert [one.rule for one in cloud_rules.frozen(evidence, part, SimpleNamespace())] == rules  # type: ignore[arg-type]  # as far as it asks


@pytest.mark.parametrize(("suspended", "wanted"), [(True, True), (False, False)])
def test_a_restore_may_leave_another_reason(suspended: bool, wanted: bool) -> None:
    """Seed 33000017: a restore of a debt ended the session that a suspension for abuse had not ended."""
    step = OpenStep("aa", 1, 1, 1, 45.0, True, SERVICE, "", {})
    moves = [move("running", at=44.0), move("running", at=46.0), replace(move("applied"), suspended=suspended)]
    deed = Deed(46.0, SERVICE, "agent 1", "ended", (step,))
    evidence = Evidence(Seen(moves=moves), {}, (), (), {}, "", 100.0)
    assert wants_suspended(evidence, "restore", step, deed) is wanted
    assert wants_suspended(evidence, "suspend", step, deed)
