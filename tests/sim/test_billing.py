"""The billing system in the simulated world: its rules of judgment, and some seeds."""

from __future__ import annotations

import logging
import sqlite3
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.sim.all_parts import PARTS
from tests.sim.judge import Asked, Evidence
from tests.sim.parts import billing_rules
from tests.sim.parts.billing import BillingPart
from tests.sim.parts.billing_rules import Books
from tests.sim.parts.radius import RadiusPart
from tests.sim.parts.radius_logins import Logins
from tests.sim.parts.routers import RouterPart
from tests.sim.run import run_seed
from tests.sim.witness import Deed, Move, OpenStep, Seen

SERVICE, SUBSCRIBER, PLAN = "C-1/home", "C-1", "aa"
WITH_BILLING = tuple(part for part in PARTS if part.name in ("radius", "sql", "billing"))


def books(*moments: tuple[float, bool]) -> Books:
    """Return books in which a subscriber owed from each of these times on, or no longer."""
    made = Books({SERVICE: SUBSCRIBER})
    for at, owes in moments:
        made.note(at, SUBSCRIBER, owes=owes)
    return made


def rules_seen(kept: Books, action: str, at: float, *, own: bool = False, debt: bool = False) -> list[str]:
    """Return the rules that a write at a time breaks, for a change of debt; the world ends at 5,000."""
    step = OpenStep(PLAN, 1, 1, 1, 0, False, SERVICE, "", None)
    seen = Seen(writes=[Deed(at, SERVICE, "agent 1", "rows", (step,))])
    asked = {PLAN: Asked(PLAN, action, frozenset({SERVICE}), 0, reason="debt")}
    evidence = Evidence(seen, asked, (), (), {}, "", 5000.0)
    found = billing_rules.judge(evidence, kept, {PLAN} if own else set(), {SERVICE} if debt else set())
    return [verdict.rule for verdict in found]


def test_a_debtor_may_be_cut_and_a_payer_may_not() -> None:
    assert rules_seen(books((0, True)), "suspend", 1000) == []
    assert rules_seen(books((0, True), (900, False)), "suspend", 1000) == [], "paid a moment ago: nobody could know"
    assert rules_seen(books((0, True), (500, False)), "suspend", 1000) == ["cut-payer"]
    assert rules_seen(books((0, True), (500, False)), "restore", 1000) == []


def test_the_agent_restores_payers_only() -> None:
    assert rules_seen(books((0, True)), "restore", 1000, own=True) == ["unpaid"]
    assert rules_seen(books((0, True)), "restore", 1000) == [], "people may restore whom they like"
    assert rules_seen(books((0, True), (950, False)), "restore", 1000, own=True) == []
    assert rules_seen(books((0, False), (950, True)), "restore", 1000, own=True) == [], "bounced a moment ago"


def test_a_payer_does_not_wait_for_ever() -> None:
    assert rules_seen(books((0, True), (2000, False)), "suspend", 1000, debt=True) == ["payer-waits"]
    assert rules_seen(books((0, True)), "suspend", 1000, debt=True) == []
    assert rules_seen(books((0, True), (4500, False)), "suspend", 1000, debt=True) == [], "paid just now"


@pytest.mark.parametrize(
    ("action", "reason", "cancelled_at", "ended_at", "rules"),
    [
        ("restore", "debt", 2100.0, 5000.0, []),
        ("restore", "", 2100.0, 5000.0, []),
        ("restore", "debt", 2100.0, 100_000.0, ["payer-waits"]),
        ("restore", "debt", 1900.0, 5000.0, ["payer-waits"]),
        ("restore", "debt", float("inf"), 5000.0, ["payer-waits"]),
        ("restore", "abuse", 2100.0, 5000.0, ["payer-waits"]),
        ("suspend", "debt", 2100.0, 5000.0, ["payer-waits"]),
    ],
)
def test_a_payer_whose_restore_is_cancelled_waits(
    action: str, reason: str, cancelled_at: float, ended_at: float, rules: list[str]
) -> None:
    """A freeze kept a person's restore from its start. The agent took it for the payer's, and its requester cancelled
    it: the agent asks again a day later.
    """
    seen = Seen(writes=[Deed(1000, SERVICE, "agent 1", "rows", ())])
    asked = Asked(PLAN, action, frozenset({SERVICE}), 0, cancel_sent_at=cancelled_at, reason=reason)
    evidence = Evidence(seen, {PLAN: asked}, (), (), {}, "", ended_at)
    found = billing_rules.judge(evidence, books((0, True), (2000, False)), set(), {SERVICE})
    assert [one.rule for one in found] == rules


@pytest.mark.parametrize("seed", [20, 21])
def test_nothing_false_is_seen_of_payers(seed: int, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    lines: list[str] = []
    found = run_seed(seed, tmp_path, parts=WITH_BILLING, trace=lines.append)
    assert not found.wrong, "\n".join([*(v.text() for v in found.wrong), *lines[-40:]])
    assert found.writes > 2, "a world in which nothing is done shows nothing"
    assert any("books: " in line and "owes nothing" in line for line in lines)


def test_a_restore_without_evidence_waits_for_people() -> None:
    """Seed 810000: a payment bounced, and the restore that the agent had asked for stayed open until it expired."""
    kept = books((0, True), (900, False), (2000, True))
    assert [kept.owed_lately([SERVICE], now) for now in (1000, 1900, 2100, 3000)] == [1, 0, 1, 1]


@pytest.mark.parametrize(
    ("by", "other", "rules"), [("", True, []), ("", False, ["payer-waits"]), ("agent 1", True, ["payer-waits"])]
)
def test_a_payer_of_another_row_waits_for_a_person(
    by: str, other: bool, rules: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Staff gave a debtor's lease another limit, which keeps it in the garden, and which no restore overwrites."""
    part = with_debt(tmp_path, monkeypatch, Deed(1500, SERVICE, by, "rows", ()), other=other)
    assert rules_of(part) == rules


@pytest.mark.parametrize(
    ("action", "state", "rules"),
    [
        ("set-plan", "needs-a-person", []),
        ("set-plan", "applied", ["payer-waits"]),
        ("suspend", "needs-a-person", ["payer-waits"]),
    ],
)
def test_a_payer_whose_tariff_a_person_looks_at_waits(
    action: str, state: str, rules: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy was put back while the row had the new tariff already: the log does not know what came of the change."""
    step = OpenStep(PLAN, 1, 1, 1, 0, False, SERVICE, "", None, action=action)
    part = with_debt(tmp_path, monkeypatch, Deed(1500, SERVICE, "agent 1", "rows", (step,)), other=False)
    for n, entered in enumerate(("running", state)):
        part._world.witness.seen.moves.append(Move(1600 + n, PLAN, 1, SERVICE, "", entered, "", 0, "", "", True, n, ""))
    assert rules_of(part) == rules


def rules_of(part: BillingPart) -> list[str]:
    return [one.rule for one in part.judge(Evidence(part._world.witness.seen, {}, (), (), {}, "", 5000.0))]


def with_debt(folder: Path, monkeypatch: pytest.MonkeyPatch, then: Deed, *, other: bool) -> BillingPart:
    """Return the part of a world in which a payer is still on record as cut off, and `then` was the last write."""
    with closing(sqlite3.connect(folder / "agent.db")) as log:
        log.executescript("CREATE TABLE reason (service, reason); CREATE TABLE plan (plan_id, requester, action)")
        log.execute("CREATE TABLE item (plan_id, service)")
        log.execute("INSERT INTO reason VALUES (?, 'debt')", (SERVICE,))
        log.commit()
    routers, radius, part = RouterPart(), RadiusPart(), BillingPart()
    routers.lines, radius.logins = {}, Logins({})
    seen = Seen(writes=[Deed(1000, SERVICE, "agent 1", "rows", ()), then])
    agent = SimpleNamespace(handle="agent")
    files = SimpleNamespace(state=folder, trust=SimpleNamespace(agents=[agent]))
    part.books = books((0, True), (2000, False))
    part._world = SimpleNamespace(  # type: ignore[assignment]  # as far as it asks
        files=files, witness=SimpleNamespace(seen=seen), part=lambda _: radius, find=lambda _: routers
    )
    monkeypatch.setattr(routers, "is_other", lambda service: other)
    return part
