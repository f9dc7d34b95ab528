"""Targets that do not answer: their items wait until the plan's deadline, all others go on."""

from __future__ import annotations

from dataclasses import replace

import pytest
import trio

from agent.changes.journal import item_commands
from agent.changes.journal.machine import Event
from agent.model import Address, Effect, Item, ItemState, Pace, Step, Wave
from agent.reasons import ItemReason
from tests.builders.job import Rig, item
from tests.builders.world import World
from trust.statements import OnFailure

pytestmark = pytest.mark.virtual_time

S = ItemState
STRICT = Pace(0, 1, 0)
"""Stops with the first failure."""


@pytest.fixture
def world() -> World:
    return World.of(*(f"u{n}" for n in range(60)))


def on_the_other(one: Item) -> Item:
    """Return an item that acts on the world's second target, `fake/r`."""
    steps = []
    for step in one.steps:
        do = step.do
        if isinstance(do, Effect):
            do = replace(do, address=Address(do.address.replace("fake/d", "fake/r")))
        else:
            do = tuple(replace(t, address=Address(t.address.replace("fake/d", "fake/r"))) for t in do)
        steps.append(replace(step, target="fake/r", do=do, on_revert=()))
    return replace(one, steps=tuple(steps), enforce=None, display={**one.display, "nas": "other"})


def other_items(world: World, first: int, count: int) -> list[Item]:
    found = []
    for n in range(first, first + count):
        login = f"u{n - 1}"
        world.values[Address(f"fake/r/user/{login}")] = world.values[world.user(login)]
        found.append(on_the_other(item(n, login, world)))
    return found


async def test_P22_a_target_that_stays_away_holds_up_nobody_else(rig: Rig, world: World) -> None:
    items = [*[item(n, f"u{n - 1}", world) for n in range(1, 39)], *other_items(world, 39, 3)]
    world.dead.add("fake/r")
    waves = [Wave(1, 5, 30), Wave(6, 41, 0)]
    plan_id = await rig.consumed(items, pace=STRICT, waves=waves, run_for_s=60)

    seen: list[list[ItemState]] = []

    async def look() -> None:
        await trio.sleep(120)
        seen.append(rig.states(plan_id))
        row = rig.loaded(plan_id).rows[39]
        assert row.reason == ItemReason.TARGET_AWAY
        assert "fake/r is dead" in row.detail
        assert rig.store.reader.execute("SELECT count(*) FROM address_lock").fetchone()[0] == 0

    assert await rig.apply(plan_id, look) == ""
    assert seen == [[S.APPLIED] * 38 + [S.WAITING] * 3]
    assert rig.states(plan_id) == [S.APPLIED] * 38 + [S.EXPIRED] * 3
    row = rig.loaded(plan_id).rows[39]
    assert (row.reason, "stayed away until the deadline" in row.detail) == (ItemReason.TARGET_AWAY, True)
    attempts = rig.store.reader.execute("SELECT attempt, verdict FROM step WHERE item > 38").fetchall()
    assert [tuple(a) for a in attempts] == [(1, "not-applied")] * 3, "a read says that it is away, not the next attempt"


async def test_what_waited_is_done_when_its_target_is_back(rig: Rig, world: World) -> None:
    items = [*[item(n, f"u{n - 1}", world) for n in range(1, 5)], *other_items(world, 5, 3)]
    world.dead.add("fake/r")
    plan_id = await rig.consumed(items, pace=STRICT)

    async def mend() -> None:
        await trio.sleep(300)
        world.dead.discard("fake/r")

    assert await rig.apply(plan_id, mend) == ""
    assert rig.states(plan_id) == [S.APPLIED] * 7
    assert len(world.writes) == 7


async def test_the_only_database_away_for_a_moment_ends_nothing(rig: Rig, world: World) -> None:
    """A restart of 3 s in the middle of 60 suspensions: nothing fails, nothing is cancelled, nothing is sent twice."""
    plan_id = await rig.consumed(
        [item(n, f"u{n - 1}", world) for n in range(1, 61)],
        pace=Pace(8, 1, 0),
        waves=[Wave(1, 5, 2), Wave(6, 60, 0)],
    )

    async def restart() -> None:
        await trio.sleep(6)
        world.dead.add("fake/d")
        await trio.sleep(3)
        world.dead.discard("fake/d")

    assert await rig.apply(plan_id, restart) == ""
    assert rig.states(plan_id) == [S.APPLIED] * 60
    assert len(world.writes) == 60


async def test_a_canary_that_is_away_proves_nothing(rig: Rig, world: World) -> None:
    """Another target's item stands in; where all are away, nothing goes before one of them was applied."""
    items = [*other_items(world, 1, 2), *[item(n, f"u{n - 1}", world) for n in range(3, 7)]]
    world.dead.add("fake/r")
    plan_id = await rig.consumed(items, pace=STRICT, waves=[Wave(1, 2, 60), Wave(3, 6, 0)])
    order: list[str] = []
    world.on_send = lambda ticket: order.append(f"{trio.current_time():.0f} {ticket.item}")

    async def mend() -> None:
        await trio.sleep(300)
        world.dead.discard("fake/r")

    assert await rig.apply(plan_id, mend) == ""
    assert rig.states(plan_id) == [S.APPLIED] * 6
    assert order[0].endswith(" 3")
    sent = {int(o.split()[1]): int(o.split()[0]) for o in reversed(order)}
    assert sent[4] - sent[3] >= 60, "the soak comes after the one that stood in"
    assert sent[1] >= 300


async def test_where_all_are_away_the_canary_still_goes_first(rig: Rig, world: World) -> None:
    world.dead.add("fake/d")
    world.faults["u0"] = ["refused"]
    items = [item(n, f"u{n - 1}", world) for n in range(1, 5)]
    plan_id = await rig.consumed(items, pace=STRICT, waves=[Wave(1, 1, 60), Wave(2, 4, 0)])

    async def mend() -> None:
        await trio.sleep(100)
        assert rig.states(plan_id) == [S.WAITING, S.PLANNED, S.PLANNED, S.PLANNED]
        world.dead.discard("fake/d")

    assert await rig.apply(plan_id, mend) != ""
    assert rig.states(plan_id) == [S.NOT_APPLIED, S.CANCELLED, S.CANCELLED, S.CANCELLED]


async def test_nothing_is_sent_for_a_missing_device_behind_a_target(rig: Rig, world: World) -> None:
    world.missing = {"u1"}
    plan_id = await rig.consumed([item(n, f"u{n - 1}", world) for n in range(1, 4)], pace=STRICT, run_for_s=600)
    assert await rig.apply(plan_id) == ""
    assert rig.states(plan_id) == [S.APPLIED, S.EXPIRED, S.APPLIED]
    assert "NAS of u1" in rig.loaded(plan_id).rows[2].detail
    assert {login for login, _ in world.writes} == {"u0", "u2"}


async def test_one_gone_missing_half_way_is_named_and_no_failure(rig: Rig, world: World) -> None:
    world.faults["u0"] = ["", "command-lost", "command-lost"]
    world.on_took = lambda ticket: world.missing.add("u0") if ticket.item == 1 else None
    items = [item(n, f"u{n - 1}", world) for n in range(1, 5)]
    plan_id = await rig.consumed(items, pace=STRICT, waves=[Wave(1, 2, 0), Wave(3, 4, 0)])
    assert await rig.apply(plan_id) == ""
    assert rig.states(plan_id) == [S.SET_NOT_ENFORCED, S.APPLIED, S.APPLIED, S.APPLIED]
    row = rig.loaded(plan_id).rows[1]
    assert (row.reason, "NAS of u0" in row.detail) == (ItemReason.TARGET_AWAY, True)


async def test_a_target_that_goes_away_at_each_first_byte_is_given_up(rig: Rig, world: World) -> None:
    """It reads, and never takes a write: it is tried often, and not for ever."""
    world.faults["u0"] = ["away"] * 1000
    plan_id = await rig.consumed([item(1, "u0", world), item(2, "u1", world)], run_for_s=86_000)
    await rig.apply(plan_id)
    assert rig.states(plan_id) == [S.NOT_APPLIED, S.APPLIED]
    assert rig.store.reader.execute("SELECT max(attempt) FROM step WHERE item = 1").fetchone()[0] == 20


async def test_one_refused_connection_is_tried_again(rig: Rig, world: World) -> None:
    world.faults["u0"] = ["away", "away"]
    plan_id = await rig.consumed([item(1, "u0", world), item(2, "u1", world)], pace=STRICT)
    assert await rig.apply(plan_id) == ""
    assert rig.states(plan_id) == [S.APPLIED, S.APPLIED]
    assert len(world.writes) == 2


async def test_a_cancel_ends_the_waiting(rig: Rig, world: World) -> None:
    world.dead.add("fake/d")
    plan_id = await rig.consumed([item(1, "u0", world)])

    async def cancel() -> None:
        await trio.sleep(30)
        await rig.store.run(Cancelled(rig.loaded(plan_id).row.digest))

    with trio.fail_after(60):
        await rig.apply(plan_id, cancel)
    assert rig.states(plan_id) == [S.CANCELLED]


async def test_a_restore_takes_the_place_of_what_waits(rig: Rig, world: World) -> None:
    world.dead.add("fake/d")
    plan_id = await rig.consumed([item(1, "u0", world), item(2, "u1", world)])

    async def overtake() -> None:
        await trio.sleep(30)
        sealed = rig.recorder.record("C-u0/home", {})
        await rig.store.run(item_commands.MoveItem(plan_id, 1, Event.SUPERSEDE, "superseded", "by K7QF", sealed))
        await trio.sleep(30)
        world.dead.discard("fake/d")

    await rig.apply(plan_id, overtake)
    assert rig.states(plan_id) == [S.SUPERSEDED, S.APPLIED]
    assert {login for login, _ in world.writes} == {"u1"}


async def test_a_restart_goes_on_with_what_waits(rig: Rig, world: World) -> None:
    items = [item(1, "u0", world), *other_items(world, 2, 1), item(3, "u2", world)]
    world.dead.add("fake/r")
    plan_id = await rig.consumed(items, pace=STRICT, waves=[Wave(1, 2, 300), Wave(3, 3, 0)])
    with trio.move_on_after(100):
        await rig.apply(plan_id)
    assert rig.states(plan_id) == [S.APPLIED, S.WAITING, S.PLANNED]
    world.dead.discard("fake/r")
    began = trio.current_time()
    await rig.apply(plan_id)
    assert rig.states(plan_id) == [S.APPLIED] * 3
    assert trio.current_time() - began >= 300, "the soak was not over"


# --- the limit ---


@pytest.mark.parametrize(("failing", "stops"), [(2, False), (3, True)])
async def test_a_share_of_a_small_batch_never_means_one(rig: Rig, world: World, failing: int, stops: bool) -> None:
    for n in range(failing):
        world.faults[f"u{n}"] = ["refused"]
    items = [item(n, f"u{n - 1}", world) for n in range(1, 21)]
    plan_id = await rig.consumed(items, pace=Pace(1, 2, 0, stop_failed_least=3))
    assert (await rig.apply(plan_id) != "") is stops
    assert (S.CANCELLED in rig.states(plan_id)) is stops


async def test_continue_is_not_stopped_by_its_canary(rig: Rig, world: World) -> None:
    world.faults["u0"] = ["refused"]
    items = [item(n, f"u{n - 1}", world) for n in range(1, 5)]
    plan_id = await rig.consumed(items, waves=[Wave(1, 1, 10), Wave(2, 4, 0)], on_failure=OnFailure.CONTINUE)
    assert await rig.apply(plan_id) == ""
    assert rig.states(plan_id) == [S.NOT_APPLIED, S.APPLIED, S.APPLIED, S.APPLIED]


async def test_what_one_item_raises_ends_no_other(rig: Rig, world: World, caplog: pytest.LogCaptureFixture) -> None:
    real = rig.connector.access_methods["fake"].judge

    def judge(enforce, seen, ended):  # type: ignore[no-untyped-def]  # the method's own
        if enforce.address.endswith("/u0"):
            raise ZeroDivisionError
        return real(enforce, seen, ended)

    rig.connector.access_methods["fake"].judge = judge  # type: ignore[method-assign]  # a fault of a connector
    plan_id = await rig.consumed([item(n, f"u{n - 1}", world) for n in range(1, 4)])
    assert await rig.apply(plan_id) == ""
    assert rig.states(plan_id) == [S.NEEDS_A_PERSON, S.APPLIED, S.APPLIED]
    assert rig.loaded(plan_id).rows[1].reason == ItemReason.GIVEN_UP
    assert ["item 1" in r.task for r in caplog.records if hasattr(r, "task")] == [True]
    assert rig.store.reader.execute("SELECT count(*) FROM address_lock").fetchone()[0] == 0


class Cancelled:
    """A cancel of a plan, as it is kept."""

    def __init__(self, digest: bytes) -> None:
        self.digest = digest

    def run(self, tx) -> None:  # type: ignore[no-untyped-def]  # a command's
        tx.run("INSERT INTO cancelled VALUES (?, ?, ?)", (self.digest, b"", 1))


def with_fallback(one: Item, target: str) -> Item:
    """Return an item whose disconnect has another way, at another target."""
    write, kick = one.steps
    assert isinstance(kick.do, Effect)
    where = Address(kick.do.address.replace("fake/d", target))
    other = Step(3, target, replace(kick.do, address=where), kick.after, fallback_for=(2,))
    return replace(one, steps=(write, kick, other))


@pytest.mark.parametrize(
    ("away", "sent"), [(("fake/r",), False), ((), True)], ids=["no way is left", "another way leads there"]
)
async def test_effect_with_fallback_waits_only_where_no_way_is_left(
    rig: Rig, world: World, away: tuple[str, ...], sent: bool
) -> None:
    world.missing = {"u1"}
    world.dead.update(away)
    plan_id = await rig.consumed([with_fallback(item(1, "u1", world), "fake/r")], pace=STRICT, run_for_s=600)
    await rig.apply(plan_id)
    assert bool(world.writes) is sent
    assert (rig.states(plan_id) == [S.EXPIRED]) is not sent
