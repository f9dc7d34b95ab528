"""Rules of the judge that said too much, or were new: each with a case that it must tell, and its excuse."""

from __future__ import annotations

import hashlib
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from lab.truth import LineState, NextLogin, OnlineSession
from tests.builders.clock import FakeClock
from tests.sim.cloud.ledger import Ledger
from tests.sim.judge import Asked, Evidence, judge
from tests.sim.machine import MachineClock
from tests.sim.parts import cloud_rules, disk_rules, radius_rules
from tests.sim.parts.clock import ClockPart, jumps_of
from tests.sim.parts.cloud_people import FreezeAsked, IntentSent
from tests.sim.parts.radius_logins import Logins
from tests.sim.parts.record_rules import forgotten, let_in, wants_suspended
from tests.sim.witness import ORIGINAL, Deed, Lost, Move, OpenStep, Seen
from trust.statements import ReceiptResult

SERVICE = "C-1/home"
WALLED = LineState((), NextLogin(True, walled=True))
NOBODY = LineState((), NextLogin(False))


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


@pytest.mark.parametrize(
    ("state", "reason", "detail", "fits_since", "rules"),
    [
        ("set-not-enforced", "still-online", "1 session carries on as before", 49.0, []),
        ("set-not-enforced", "still-online", "1 session carries on as before", 45.0, []),
        ("set-not-enforced", "still-online", "1 session carries on as before", 30.0, ["claim"]),
        ("applied", "garden", "", 51.0, ["claim"]),
        ("applied", "recorded", "", 51.0, []),
        ("applied", "overtaken", "", 51.0, []),
    ],
)
def test_a_claim_was_so_when_it_was_read(
    state: str, reason: str, detail: str, fits_since: float, rules: list[str]
) -> None:
    """A slow database is read seconds before the leaf; and whoever only records a reason looks at no session."""
    sessions = [OnlineSession("bng-1", "s1", "192.0.2.1", walled, "", 0.0) for walled in (False, True)]
    at_large, fits = (LineState((one,), WALLED.next) for one in sessions)

    def during(login: str, start: float, end: float) -> list[LineState]:
        return [fits] * (end >= fits_since) + [at_large] * (start < fits_since)

    asked = {"aa": Asked("aa", "suspend", frozenset({SERVICE}), 0)}
    evidence = Evidence(
        Seen(moves=[replace(move(state, reason), detail=detail, suspended=True)]), asked, (), (), {}, "", 99.0
    )
    history = SimpleNamespace(during=during)
    clock = MachineClock(FakeClock())
    found = radius_rules.judge(evidence, history, Logins({SERVICE: "a"}), (), clock)  # type: ignore[arg-type]  # as far as it asks
    assert [one.rule for one in found] == rules


@pytest.mark.parametrize(
    ("refused_at", "item", "rules"),
    [(None, 1, ["claim"]), (41.0, 1, []), (41.0, 2, ["claim"]), (43.0, 1, ["claim"]), (39.0, 1, ["claim"])],
)
def test_a_nas_that_has_a_session_is_believed(refused_at: float | None, item: int, rules: list[str]) -> None:
    """It refused to end it, and lost it unnoticed at 42.0, while the item still waited for its end."""
    at_large = LineState((OnlineSession("bng-1", "s1", "192.0.2.1", False, "", 0.0),), WALLED.next)

    def during(login: str, start: float, end: float) -> list[LineState]:
        return [WALLED] * (end >= 42.0) + [at_large] * (start < 42.0)

    step = OpenStep("aa", item, 1, 1, 40.0, effect=True, service=SERVICE, component="", do={})
    refused = [] if refused_at is None else [Deed(refused_at, SERVICE, "nas", "not ended on bng-1", (step,))]
    claimed = replace(move("set-not-enforced", "still-online", at=60.0), detail="1 session carries on as before")
    evidence = Evidence(
        Seen(moves=[replace(claimed, suspended=True)], refused=refused),
        {"aa": Asked("aa", "suspend", frozenset({SERVICE}), 0)},
        (),
        (),
        {},
        "",
        99.0,
    )
    history, clock = SimpleNamespace(during=during), MachineClock(FakeClock())
    found = radius_rules.judge(evidence, history, Logins({SERVICE: "a"}), (), clock)  # type: ignore[arg-type]  # as far as it asks
    assert [one.rule for one in found] == rules


@pytest.mark.parametrize(
    ("state", "at", "walled", "rules"),
    [
        ("set-not-enforced", 30.0, False, ["unproven"]),
        ("set-not-enforced", 30.0, True, []),
        ("set-not-enforced", 45.0, False, []),
        ("set-at-next-login", 30.0, False, []),
    ],
)
def test_the_record_vouches_for_no_unproven_suspension(state: str, at: float, walled: bool, rules: list[str]) -> None:
    """It was previewed at 40.0: what comes to light later is another matter."""
    earlier = replace(move(state, "not-proven", at), plan="bb", suspended=True)
    evidence = Evidence(
        Seen(moves=[earlier, replace(move("applied", "recorded"), before_at=40.0, suspended=True)]),
        {plan: Asked(plan, "suspend", frozenset({SERVICE}), 0) for plan in ("aa", "bb")},
        (),
        (),
        {},
        "",
        99.0,
    )
    now = LineState((OnlineSession("bng-1", "s1", "192.0.2.1", walled, "", 0.0),), WALLED.next)
    history = SimpleNamespace(during=lambda *_: [now])
    clock = MachineClock(FakeClock())
    found = radius_rules.judge(evidence, history, Logins({SERVICE: "a"}), (), clock)  # type: ignore[arg-type]  # as far as it asks
    assert [one.rule for one in found] == rules


@pytest.mark.parametrize(("reason", "rules"), [("none-known", ["forgotten"]), ("overtaken", [])])
def test_an_item_no_longer_judged_vouches_for_nothing(reason: str, rules: list[str]) -> None:
    """A later change wrote the row and needs a person; then an older one is left in the state that it had."""
    moves = [
        replace(move("needs-a-person"), plan="bb"),
        replace(move("set-at-next-login", reason, 70.0), before_at=60.0),
    ]
    evidence = Evidence(Seen(moves=moves), {}, (), (), {SERVICE: False}, "", 100.0)
    assert [one.rule for one in forgotten(evidence, lambda *_: [WALLED])] == rules


def test_a_login_is_that_of_the_list_that_is_there() -> None:
    """A directory was put back of before an edit: from then on the agent works at the former login again."""
    logins = Logins({SERVICE: "a", "C-2/home": "b"})
    logins.edits["aa"] = {SERVICE: "b"}
    lost = (Lost(30.0, 60.0, 9), Lost(65.0, 80.0, 2))
    logins.follow([move("applied")], ())
    logins.follow([move("applied")], lost)
    assert [logins.at(SERVICE, when) for when in (40.0, 55.0, 70.0, 90.0)] == ["a", "b", "a", "a"]
    assert logins.owner("a") == SERVICE


@pytest.mark.parametrize("busy", [SERVICE, "C-2/home"])
def test_of_half_an_exchange_one_login_is_acted_on(busy: str) -> None:
    """The second of two that were to have each other's login was just acted on, and kept its own: both have it."""
    other = "C-2/home" if busy == SERVICE else SERVICE
    logins = Logins({SERVICE: "a", "C-2/home": "b"})
    kept = logins.now(busy)
    logins.edits["aa"] = {SERVICE: "b", "C-2/home": "a"}
    logins.follow([replace(move("applied"), service=other), replace(move("not-applied"), service=busy)], ())
    assert logins.shared() == {busy, other}
    assert logins.owner(kept, lambda: {busy}) == busy
    assert logins.owner(kept, lambda: {other}) == other


@pytest.mark.parametrize(
    ("action", "before", "after", "rules"),
    [
        ("suspend", NextLogin(False), NextLogin(True, walled=True), ["let-in"]),
        ("suspend", NextLogin(False), NextLogin(False), []),
        ("suspend", NextLogin(True), NextLogin(True, walled=True), []),
        ("restore", NextLogin(False), NextLogin(True), []),
    ],
)
def test_a_suspension_lets_nobody_in(action: str, before: NextLogin, after: NextLogin, rules: list[str]) -> None:
    step = OpenStep("aa", 1, 1, 1, 45.0, False, SERVICE, "", {}, action=action)
    states = [LineState((), after), LineState((), before)]
    assert [one.rule for one in let_in(46.0, SERVICE, [step], states)] == rules


@pytest.mark.parametrize(
    ("states", "rules"),
    [
        ([WALLED, NOBODY], ["let-in"]),
        ([WALLED, NOBODY, LineState((), NextLogin(True))], []),
        ([WALLED, LineState((), NextLogin(True)), NOBODY], []),
        (
            [WALLED, NOBODY, LineState((OnlineSession("bng-1", "s1", "192.0.2.1", True, "", 0.0),), NOBODY.next)],
            ["let-in"],
        ),
        ([WALLED], []),
    ],
)
def test_staff_may_reject_who_is_being_suspended(states: list[LineState], rules: list[str]) -> None:
    """They inserted the group that rejects while the transaction ran: PostgreSQL lets both commit."""
    step = OpenStep("aa", 1, 1, 1, 45.0, False, SERVICE, "", {}, action="suspend")
    asked_of = []

    def during(login: str, start: float, end: float) -> list[LineState]:
        asked_of.append((login, start, end))
        return states

    wrote = Deed(50.0, SERVICE, "agent 1", "rows", (replace(step, do=[]),))
    written = [radius_rules.WrittenRows(wrote, "a", ((), ()), (), 47.0)]
    evidence = Evidence(Seen([wrote]), {}, (), (), {}, "", 100.0)
    history, clock = SimpleNamespace(during=during), MachineClock(FakeClock())
    found = radius_rules.judge(evidence, history, Logins({SERVICE: "a"}), written, clock)  # type: ignore[arg-type]  # as far as it asks
    assert [one.rule for one in found] == rules
    assert asked_of == [("a", 47.0, 50.0)]


@pytest.mark.parametrize(
    ("by", "way", "rules"),
    [("agent 1", "forward", ["cancelled"]), ("copy-1 1", "forward", []), ("agent 1", "revert", [])],
)
def test_a_cancel_stops_what_goes_on(by: str, way: str, rules: list[str]) -> None:
    """Seed 61006 with machine-cloned: people cancelled at the original, and the copy went on. A declared revert of what
    a cancel left half done goes on.
    """
    step = OpenStep("aa", 1, 1, 1, 60.0, False, SERVICE, "", {}, way)
    asked = Asked("aa", "suspend", frozenset({SERVICE}), 0, cancelled_at=55.0)
    evidence = Evidence(Seen([Deed(61.0, SERVICE, by, "rows", (step,))]), {"aa": asked}, (), (), {}, "", 100.0)
    assert [one.rule for one in judge(evidence, ())] == rules


@pytest.mark.parametrize(("by", "rules"), [("agent 1", ["twice"]), ("agent 2", ["twice"]), ("copy-1 1", [])])
@pytest.mark.parametrize("effect", [False, True])
def test_each_machine_does_what_its_own_log_announces(effect: bool, by: str, rules: list[str]) -> None:
    """A copy wrote a row again that somebody had set back meanwhile; or a NAS acknowledged both, and did nothing."""
    step = OpenStep("aa", 1, 1, 1, 45.0, effect, SERVICE, "", {})
    sent = [Deed(46.0, SERVICE, "agent 1", "", (step,), "s1"), Deed(56.0, SERVICE, by, "", (step,), "s1")]
    seen = Seen(writes=[replace(one, session="") for one in sent])
    if effect:
        seen = Seen(sent=sent, ended=[replace(one, at=one.at + 0.01, by="nas") for one in sent])
    asked = Asked("aa", "suspend", frozenset({SERVICE}), 0)
    evidence = Evidence(seen, {"aa": asked}, (), (), {}, "", 100.0)
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


@pytest.mark.parametrize(
    ("lost", "wanted"), [((), False), ((Lost(20.0, 60.0, 9),), None), ((Lost(20.0, 40.0, 9),), False)]
)
def test_nobody_knows_what_a_lost_restore_wanted(lost: tuple[Lost, ...], wanted: bool | None) -> None:
    """Seed 36500063: its log was put back before its end, and the other reason was known there alone."""
    step = OpenStep("aa", 1, 1, 1, 45.0, True, SERVICE, "", {})
    deed = Deed(46.0, SERVICE, "agent 1", "ended", (step,))
    evidence = Evidence(Seen(moves=[move("running", at=44.0)]), {}, (), (), {}, "", 100.0, lost)
    assert wants_suspended(evidence, "restore", step, deed) is wanted
    assert wants_suspended(evidence, "suspend", step, deed)


@pytest.mark.parametrize(
    ("action", "settings", "rules"),
    [
        ("restore", [], ["kicked"]),
        ("restore", [(30.0, 60.0)], ["kicked"]),
        ("restore", [(30.0, 90.0)], []),
        ("restore", [(42.0, 90.0)], ["kicked"]),
        ("restore", [(30.0, 90.0), (55.0, 0.0)], ["kicked"]),
        ("restore", [(30.0, -90.0)], ["kicked"]),
        ("suspend", [(30.0, 90.0)], ["kicked"]),
    ],
)
def test_by_a_clock_that_is_ahead_a_session_is_old(
    action: str, settings: list[tuple[float, float]], rules: list[str]
) -> None:
    """Its NAS acknowledged the end of another, whose stop was lost: nothing but the clock tells that it is new."""
    clock = MachineClock(FakeClock())
    clock.settings += settings
    step = OpenStep("aa", 1, 2, 2, 58.0, True, SERVICE, "", {}, action=action)
    wrote = Deed(45.0, SERVICE, "agent 1", "rows", (replace(step, effect=False),))
    ended = Deed(60.0, SERVICE, "nas", "ended", (step,), "s2")
    seen = Seen([wrote], ended=[ended], moves=[replace(move("planned"), at=41.0)])
    asked = Asked("aa", action, frozenset({SERVICE}), 0)
    session = OnlineSession("bng-1", "s2", "192.0.2.1", action == "suspend", "", 50.0)
    state = LineState((session,), NextLogin(True, walled=action == "suspend"))
    evidence = Evidence(seen, {"aa": asked}, (), (), {}, "", 100.0)
    history = SimpleNamespace(during=lambda *_: [state])
    found = radius_rules.judge(evidence, history, Logins({SERVICE: "a"}), (), clock)  # type: ignore[arg-type]  # as far as it asks
    assert [one.rule for one in found] == rules


@pytest.mark.parametrize(
    ("settings", "offs", "accepted", "jumps"),
    [
        ([(10.0, 400.0)], [], [], [(10.0, True)]),
        ([(10.0, 400.0), (30.0, 0.0)], [], [30.0], [(10.0, True)]),
        ([(10.0, 120.0), (20.0, -280.0), (40.0, -400.0)], [], [], [(40.0, True)]),
        ([(10.0, 400.0)], [(12.0, 40.0)], [], [(10.0, False)]),
        ([(20.0, 86_400.0)], [(12.0, 40.0)], [], [(20.0, False)]),
        ([(10.0, 400.0)], [(22.0, 40.0)], [], [(10.0, True)]),
        ([(20.0, -3600.0)], [(12.0, 40.0)], [], [(20.0, True)]),
        ([(10.0, -3600.0)], [(12.0, 40.0)], [], [(10.0, True)]),
        ([(20.0, -90.0)], [(12.0, 40.0)], [], [(40.0, True)]),
        ([(20.0, -30.0)], [(12.0, 40.0)], [], [(40.0, False)]),
        ([(20.0, -20.0)], [(12.0, 40.0)], [], []),
        ([(20.0, 120.0), (50.0, -250.0)], [(12.0, 40.0)], [], [(50.0, True)]),
    ],
)
def test_what_a_clock_that_was_set_tells(
    settings: list[tuple[float, float]],
    offs: list[tuple[float, float]],
    accepted: list[float],
    jumps: list[tuple[float, bool]],
) -> None:
    """Settings add up. A boot hides how long the machine was off, and shows that time went back, be it by a minute:
    seed 91101 with clock-nudged and power-cut.
    """
    clock = MachineClock(FakeClock())
    clock.settings += settings
    clock.offs += offs
    assert [(jump.at, jump.seen) for jump in jumps_of(clock, accepted)] == jumps


@pytest.mark.parametrize(("first_at", "at", "forgot"), [(30.0, 30.0, True), (31.0, 30.0, False), (30.0, 29.9, False)])
def test_what_is_lost_may_be_of_the_moment_of_what_is_left(first_at: float, at: float, forgot: bool) -> None:
    """Of leaves of one moment, a disk that lied may keep some."""
    assert Lost(30.0, 40.0, 9, first_at).has(at, 50.0) is forgot


@pytest.mark.parametrize(
    ("cuts", "put_back", "lost", "rules"),
    [
        ([(10.0, True)], [], [(9.0, 20.0)], []),
        ([(10.0, False)], [], [(9.0, 20.0)], ["lost"]),
        ([(10.0, True), (15.0, False)], [], [(9.0, 20.0)], []),
        ([(10.0, True), (30.0, False)], [], [(9.0, 20.0), (25.0, 40.0)], ["lost"]),
        ([(10.0, False)], [15.0], [(9.0, 20.0)], []),
        ([(30.0, False)], [15.0], [(9.0, 20.0), (25.0, 40.0)], ["lost"]),
    ],
)
def test_a_leaf_is_lost_by_a_lie_or_a_copy(
    cuts: list[tuple[float, bool]], put_back: list[float], lost: list[tuple[float, float]], rules: list[str]
) -> None:
    """The power may be cut once more, honestly, before the agent's next start."""
    part = SimpleNamespace(
        cuts=[disk_rules.Cut(at, lies, (), frozenset()) for at, lies in cuts],
        put_back=[disk_rules.PutBack(at, "directory", 9.0, (), False, False) for at in put_back],
    )
    evidence = Evidence(Seen(), {}, (), (), {}, "", 100.0, [Lost(*one, 3) for one in lost])
    assert [one.rule for one in disk_rules._lost(evidence, part)] == rules  # type: ignore[arg-type]  # as far as it asks


@pytest.mark.parametrize(
    ("marked", "put_back", "noticed"), [(1, [], [True]), (2, [], [True]), (0, [], [False]), (1, [15.0], [])]
)
def test_a_lie_is_not_what_a_copy_lost(marked: int, put_back: list[float], noticed: list[bool]) -> None:
    """The power may go when a leaf is there, and its mark is not yet."""
    part = SimpleNamespace(
        cuts=[disk_rules.Cut(10.0, True, [(1, 12), (2, 15)], frozenset(), marked)],
        put_back=[disk_rules.PutBack(at, "directory", 12.0, (), False, False) for at in put_back],
    )
    evidence = Evidence(Seen(), {}, (), (), {}, "", 100.0, [Lost(9.0, 20.0, 2)])
    found = disk_rules._noticed_losses(evidence, part)  # type: ignore[arg-type]  # as far as it asks
    assert [one.noticed for one in found] == noticed


@pytest.mark.parametrize(
    ("at", "what", "retried", "rules"),
    [
        (30.9, "rows", [], []),
        (31.5, "rows", [], []),
        (32.0, "rows", [], ["again", "untyped"]),
        (45.0, "rows", [], ["again"]),
        (29.0, "rows", [], []),
        (45.0, "rows", [44.0], []),
        (45.0, "rows", [29.0, 46.0], ["again"]),
        (32.0, disk_rules.POWER_BACK, [], []),
    ],
)
def test_who_was_dead_when_a_copy_was_put_back_sent_before(
    at: float, what: str, retried: list[float], rules: list[str], tmp_path: Path
) -> None:
    """On a slow way it arrives when the copy is there, and no agent runs yet. Later a person may retry the change."""
    with closing(sqlite3.connect(tmp_path / "agent.db")) as log:
        log.execute("CREATE TABLE plan (plan_id, gate, consumed_seq)")
    back = disk_rules.PutBack(30.0, "mark-lost", 20.0, ("aa",), True, True, typed_at=40.0)
    step = OpenStep("aa", 1, 1, 1, 19.0, False, SERVICE, "", {})
    part = SimpleNamespace(put_back=[back], cuts=(), state=tmp_path)
    moves = [move("running", "retry", at) for at in retried]
    seen = Seen([Deed(at, SERVICE, "agent 1", what, (step,))], moves=moves)
    evidence = Evidence(seen, {}, (), (), {}, "", 100.0)
    assert [one.rule for one in disk_rules._again(evidence, part)] == rules  # type: ignore[arg-type]  # as far as it asks


@pytest.mark.parametrize(
    ("ended_at", "deed", "moved", "rules"),
    [
        (50.0, None, None, []),
        (289.9, None, None, []),
        (291.1, None, None, ["damaged"]),
        (None, None, None, ["damaged"]),
        (160.0, (90.0, 1), None, []),
        (160.0, (90.0, 2), None, ["damaged"]),
        (160.0, (50.5, 2), None, []),
        (160.0, (170.0, 2), None, []),
        (160.0, None, (90.0, 1), []),
        (160.0, None, (90.0, 2), ["damaged"]),
    ],
)
def test_an_agent_ends_that_reads_a_damaged_page(
    ended_at: float | None, deed: tuple[float, int] | None, moved: tuple[float, int] | None, rules: list[str]
) -> None:
    """Reads that are under way come to their end first, and those of steps that were begun. It begins nothing more."""

    def step(item: int) -> OpenStep:
        return OpenStep("aa", item, 1, 1, 45.0, False, SERVICE, "", {})

    rot = disk_rules.Rotten(40.0, "page 3 is garbage", True, 50.0, [step(1)])
    part = SimpleNamespace(rotten=[rot], cuts=(), kills=lambda: [] if ended_at is None else [ended_at])
    seen = Seen()
    if deed is not None:
        seen.writes.append(Deed(deed[0], SERVICE, f"{ORIGINAL} 1", "rows", (step(deed[1]),)))
    if moved is not None:
        seen.moves.append(replace(move("unknown", "being re-read", moved[0]), plan="aa", item=moved[1]))
    machine = SimpleNamespace(name=ORIGINAL, exits=())
    evidence = Evidence(seen, {}, (), (), {}, "", 400.0)
    found = disk_rules._rotten(evidence, part, machine)  # type: ignore[arg-type]  # as far as it asks
    assert [one.rule for one in found] == rules


@pytest.mark.parametrize(
    ("came_at", "planned_at", "behind_s", "rules"),
    [
        (50.0, 55.0, 0.0, []),
        (59.0, 90.0, 0.0, []),  # it read devices meanwhile
        (59.0, 190.0, 0.0, ["expired"]),
        (61.0, 62.0, 0.0, ["expired"]),
        (61.0, 62.0, 20.0, []),
        (61.0, 62.0, 0.5, ["expired"]),
    ],
)
def test_an_intent_ends_by_the_agents_clock(
    came_at: float, planned_at: float, behind_s: float, rules: list[str]
) -> None:
    clock = MachineClock(FakeClock())
    clock.settings.append((30.0, -behind_s))
    ledger = Ledger()
    ledger.delivered[b"sealed"] = [came_at, 300.0]
    ledger.plans["aa"] = (planned_at, SimpleNamespace(plan_id="aa", intent_sha256="bb"))  # type: ignore[assignment]  # as far as it asks
    intent = IntentSent("bb", 60.0, frozenset({SERVICE}))
    part = SimpleNamespace(ledger=ledger, intents={hashlib.sha256(b"sealed").hexdigest(): intent})
    evidence = Evidence(Seen(moves=[move("planned", at=planned_at)]), {}, (), (), {}, "", 400.0)
    world = SimpleNamespace(machine=SimpleNamespace(clock=clock))
    assert [one.rule for one in cloud_rules._intents(evidence, part, world)] == rules  # type: ignore[arg-type]  # as far as it asks


@pytest.mark.parametrize(
    ("offs", "lost", "rules"),
    [
        ([], (), ["halted"]),
        ([(20.0, 40.0)], (), ["halted"]),
        ([(20.0, 40.0)], (Lost(9.0, 40.0, 3),), []),
        ([], (Lost(9.0, 40.0, 3),), ["halted"]),
    ],
)
def test_a_halt_that_a_disk_lost_is_not_known(
    offs: list[tuple[float, float]], lost: tuple[Lost, ...], rules: list[str], tmp_path: Path
) -> None:
    """Its clock was set ahead, and the machine booted since. An older log alone shows the jump once more."""
    with closing(sqlite3.connect(tmp_path / "agent.db")) as log:
        log.executescript("CREATE TABLE plan (plan_id, run_until_s, made_s); CREATE TABLE event (kind)")
    clock = MachineClock(FakeClock())
    clock.settings.append((10.0, 86_400.0))
    clock.offs += offs
    part = ClockPart()
    part.accepted, part.leaps, part._began = [], [], 0.0
    machine = SimpleNamespace(clock=clock)
    part._world = SimpleNamespace(files=SimpleNamespace(state=tmp_path), machine=machine)  # type: ignore[assignment]  # as far as it asks
    step = OpenStep("aa", 1, 1, 1, 50.0, False, SERVICE, "", {})
    evidence = Evidence(Seen([Deed(51.0, SERVICE, "agent 2", "rows", (step,))]), {}, (), (), {}, "", 100.0, lost)
    assert [one.rule for one in part.judge(evidence)] == rules
