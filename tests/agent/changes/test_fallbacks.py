"""Fallbacks: an effect that runs only if none before it worked; the result of each is kept."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent.changes.engine.undo import fallbacks
from agent.changes.journal import plans
from agent.changes.journal.machine import Event, StepFact, settle
from agent.connectors.base import Enforced, Judgment
from agent.model import (
    Direction,
    Item,
    ItemState,
    ProofKind,
    Step,
    Verdict,
)
from tests.builders.job import Rig, SeenRecipe, effect, item, told_first, with_fallback
from tests.builders.world import World
from trust import render
from trust.errors import MalformedStatementError
from trust.items import decode_item_untrusted, encode_item
from trust.statements import OnFailure

pytestmark = pytest.mark.virtual_time

S = ItemState


@pytest.fixture
def world() -> World:
    return World.of("alice")


async def run(rig: Rig, one: Item, on_failure: OnFailure = OnFailure.STOP) -> plans.Loaded:
    plan_id = await rig.applied([one], on_failure=on_failure)
    return rig.loaded(plan_id)


def sent(rig: Rig, loaded: plans.Loaded, way: Direction = Direction.FORWARD) -> list[tuple[int, str]]:
    found = plans.steps(rig.store.reader, loaded.row.plan_id)
    return [(row.n, row.reason) for row in found if row.direction is way]


async def test_fallback_is_left_alone_when_the_first_worked(rig: Rig, world: World) -> None:
    loaded = await run(rig, with_fallback("alice", world))
    assert loaded.rows[1].state is S.APPLIED
    assert sent(rig, loaded) == [(1, "read-back"), (2, "ack")]
    assert world.kicks == ["alice"]


@pytest.mark.parametrize("fault", ["nak", "ack-without-effect", "refused"])
async def test_fallback_when_the_first_did_not(rig: Rig, world: World, fault: str) -> None:
    world.faults["alice"] = ["", fault, fault]
    loaded = await run(rig, with_fallback("alice", world))
    assert loaded.rows[1].state is S.APPLIED
    ran = sent(rig, loaded)
    assert [n for n, _ in ran] == ([1, 2, 2, 3] if fault == "ack-without-effect" else [1, 2, 3])
    assert ran[1][1] != "ack"
    assert ran[-1][1] == "ack"
    assert loaded.rows[1].detail.startswith("disconnect: ")
    assert "then disconnect: ack" in loaded.rows[1].detail
    assert world.kicks == ["alice"]


async def test_command_that_is_lost_twice_then_the_fallback(rig: Rig, world: World) -> None:
    world.faults["alice"] = ["", "command-lost", "command-lost"]
    loaded = await run(rig, with_fallback("alice", world))
    assert loaded.rows[1].state is S.APPLIED
    assert [n for n, _ in sent(rig, loaded)] == [1, 2, 2, 3]


async def test_no_effect_worked_is_set_and_not_enforced(rig: Rig, world: World) -> None:
    world.faults = {"alice": ["", "nak"], "alice@fake/r": ["nak"]}
    loaded = await run(rig, with_fallback("alice", world))
    assert loaded.rows[1].state is S.SET_NOT_ENFORCED
    assert "disconnect: nak-503, then disconnect: nak-503" in loaded.rows[1].detail


async def test_lost_reply_of_effect_that_worked_is_no_reason_for_next(rig: Rig, world: World) -> None:
    world.faults["alice"] = ["", "reply-lost"]
    loaded = await run(rig, with_fallback("alice", world))
    assert [n for n, _ in sent(rig, loaded)] == [1, 2]
    assert world.kicks == ["alice"]


async def test_what_proves_nothing_is_judged_before_the_fallback(rig: Rig, world: World) -> None:
    rig.connector.access_methods = {"fake": SeenRecipe()}
    loaded = await run(rig, told_first("alice", world))
    assert loaded.rows[1].state is S.APPLIED
    assert sent(rig, loaded) == [(1, "read-back"), (2, "ack")]
    assert world.kicks == []  # the session goes on, with what it is to have


async def test_what_is_not_seen_to_hold_goes_on_to_the_fallback(rig: Rig, world: World) -> None:
    rig.connector.access_methods = {"fake": SeenRecipe()}
    world.faults["alice"] = ["", "ack-without-effect"]
    loaded = await run(rig, told_first("alice", world))
    assert loaded.rows[1].state is S.APPLIED
    assert sent(rig, loaded) == [(1, "read-back"), (2, "ack"), (3, "ack")]
    assert world.kicks == ["alice"]


async def test_revert_goes_up_the_same_fallbacks(rig: Rig, world: World) -> None:
    world.add("bob")
    world.faults = {"alice": ["", "nak", "", "nak"], "bob": ["command-lost", "command-lost"]}
    items = [with_fallback("alice", world), item(2, "bob", world)]
    plan_id = await rig.applied(items, on_failure=OnFailure.REVERT)
    loaded = rig.loaded(plan_id)
    assert loaded.rows[1].state is S.REVERTED
    assert [n for n, _ in sent(rig, loaded, Direction.REVERT)] == [1, 2, 3]
    assert world.kicks == ["alice", "alice"]


async def test_P19_revert_that_nothing_takes_back_needs_a_person(rig: Rig, world: World) -> None:
    world.add("bob")
    world.faults = {
        "alice": ["", "nak", "", "nak"],
        "alice@fake/r": ["", "nak"],
        "bob": ["command-lost", "command-lost"],
    }
    items = [with_fallback("alice", world), item(2, "bob", world)]
    plan_id = await rig.applied(items, on_failure=OnFailure.REVERT)
    assert rig.states(plan_id)[0] is S.NEEDS_A_PERSON


A, N, U = Verdict.APPLIED, Verdict.NOT_APPLIED, Verdict.UNKNOWN
WRITE = StepFact(A, effect=False)
FALLBACKS: list[tuple[list[StepFact], Event]] = [
    ([StepFact(A, effect=True), StepFact(None, effect=True, fallback_for=(1,))], Event.PROVE),
    ([StepFact(N, effect=True), StepFact(A, effect=True, fallback_for=(1,))], Event.PROVE),
    ([StepFact(N, effect=True), StepFact(N, effect=True, fallback_for=(1,))], Event.FAIL),
    ([StepFact(U, effect=True), StepFact(None, effect=True, fallback_for=(1,))], Event.LOSE),
    ([WRITE, StepFact(N, effect=True), StepFact(N, effect=True, fallback_for=(2,))], Event.SET_UNENFORCED),
    ([WRITE, StepFact(N, effect=True), StepFact(A, effect=True, fallback_for=(2,))], Event.PROVE),
]


@pytest.mark.parametrize(("fault", "kicks"), [("reply-lost", 0), ("command-lost", 1)])
async def test_lost_reply_of_what_proves_nothing_is_judged_too(rig: Rig, world: World, fault: str, kicks: int) -> None:
    rig.connector.access_methods = {"fake": SeenRecipe()}
    world.faults["alice"] = ["", fault]
    loaded = await run(rig, told_first("alice", world))
    assert loaded.rows[1].state is S.APPLIED
    assert len(world.kicks) == kicks


@pytest.mark.parametrize(
    ("enforced", "event"),
    [
        (Enforced.YES, Event.PROVE),
        (Enforced.PENDING, Event.SET_OFFLINE),
        (Enforced.NO, Event.SET_UNENFORCED),
        (None, Event.LOSE),
    ],
)
def test_lost_and_not_provable_is_what_is_seen(enforced: Enforced | None, event: Event) -> None:
    judgment = None if enforced is None else Judgment(enforced, "seen")
    facts = [WRITE, StepFact(U, effect=True, provable=False)]
    assert settle(facts, judgment, None) is event
    assert settle([*facts, StepFact(U, effect=True, fallback_for=(2,))], judgment, None) is Event.LOSE


def kick_of(login: str, world: World, second: str) -> Item:
    """A disconnect that changes nothing else, and one of `second` at another target in case the first does not work."""
    steps = (
        Step(1, "fake/d", effect(login, "fake/d", "disconnect", ProofKind.GONE)),
        Step(2, "fake/r", effect(second, "fake/r", "disconnect", ProofKind.GONE), fallback_for=(1,)),
    )
    return replace(item(1, login, world), steps=steps, enforce=None, desired=())


@pytest.mark.parametrize("second", ["nobody", "bob"])
async def test_a_fallback_for_another_end_stands_in_for_no_failure(rig: Rig, world: World, second: str) -> None:
    """The session is not where the fallback looks, which finds none there, or another one: it goes on."""
    world.add("bob")
    world.faults["alice"] = ["nak"]
    loaded = await run(rig, kick_of("alice", world, second))
    assert "alice" not in world.kicks
    assert loaded.rows[1].state is S.NOT_APPLIED
    assert loaded.rows[1].detail.startswith("disconnect: nak-503, then disconnect: ")


async def test_a_fallback_of_a_kick_that_worked(rig: Rig, world: World) -> None:
    world.faults["alice"] = ["nak"]
    loaded = await run(rig, kick_of("alice", world, "alice"))
    assert world.kicks == ["alice"]
    assert loaded.rows[1].state is S.APPLIED


@pytest.mark.parametrize(("facts", "event"), FALLBACKS)
def test_fallbacks_count_as_the_best_of_them(facts: list[StepFact], event: Event) -> None:
    assert settle(facts, None, None) is event


def test_the_preview_says_that_a_fallback_may_come_to_nothing(world: World) -> None:
    lines = list(render._effect_lines(with_fallback("alice", world)))
    assert lines[0].startswith("! disconnect fake/d/")
    assert lines[1].startswith("only if that fails: ! disconnect fake/r/")
    assert "only if that fails: ! up to 1 × disconnect (irreversible)" in render._effect_many(
        [with_fallback("alice", world)]
    )


def test_the_undo_of_a_fallback_whose_first_effect_has_none(world: World) -> None:
    """Nothing undoes a CoA, so the disconnect is what an undo begins with: no "only if"."""
    told = told_first("alice", world)
    again = told.steps[2].on_revert
    assert again
    third = Step(4, "fake/r", again[0], after=(1,), on_revert=again, fallback_for=(2, 3))
    one = replace(told, steps=(*told.steps, third))
    assert list(render._undo_lines(one)) == [
        f"on undo: {render._effect(again[0])}",
        f"on undo: only if that fails: {render._effect(again[0])}",
    ]
    assert "on undo: ! 2 × disconnect (irreversible)" in render._effect_many([one, one])


def test_an_item_without_a_fallback_is_written_as_ever(world: World) -> None:
    """Plans of an earlier version are opened and taken back, and an older tool reads those that have no fallback."""
    assert b"unless" not in encode_item(item(1, "alice", world))
    assert b'"unless":[2]' in encode_item(with_fallback("alice", world))


def test_fallbacks_of_an_item(world: World) -> None:
    assert [[s.n for s in group] for group in fallbacks(with_fallback("alice", world).steps)] == [[2, 3]]
    assert [[s.n for s in group] for group in fallbacks(item(1, "alice", world).steps)] == [[2]]


@pytest.mark.parametrize("fallback_for", [(3,), (4,), (1,)])
def test_a_fallback_stands_behind_effects_only(world: World, fallback_for: tuple[int, ...]) -> None:
    one = with_fallback("alice", world)
    broken = replace(one, steps=(*one.steps[:2], replace(one.steps[2], fallback_for=fallback_for)))
    with pytest.raises(MalformedStatementError, match="expected a fallback for earlier effects"):
        decode_item_untrusted(encode_item(broken))
    assert decode_item_untrusted(encode_item(one)) == one
