"""At the end of a batch everything that it set is read once more: a lost commit, a hand in the rows."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import pytest
import trio

from agent.changes.engine.apply import Run
from agent.changes.journal.item_commands import EndItem
from agent.connectors.base import Enforced, Judgment
from agent.model import Item, ItemState, Seen, Wave
from agent.reasons import ItemReason
from agent.runtime import redacting_log
from agent.store.db import Command
from tests.builders.job import Rig, item
from tests.builders.world import FakeMethod, World, steps_for
from trust.items import ReasonChange, SuspensionReason
from trust.policy import Action
from trust.statements import OnFailure

pytestmark = pytest.mark.virtual_time

S = ItemState


async def soaking(rig: Rig, world: World, n: int = 4, on_failure: OnFailure = OnFailure.STOP) -> bytes:
    """Return a consumed plan whose canary soaks for a minute before the rest."""
    items = [item(k, f"u{k - 1}", world) for k in range(1, n + 1)]
    return await rig.consumed(items, waves=[Wave(1, 1, 60), Wave(2, n, 0)], on_failure=on_failure)


async def test_a_database_that_lost_commits_shows_as_diverged(
    rig: Rig, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    plan_id = await soaking(rig, world)

    async def fails_over() -> None:
        await trio.sleep(30)  # while it soaks: u0 was written and read back
        world.values[world.user("u0")] = {"plan": "20M"}

    caplog.set_level(logging.WARNING, "agent.changes")
    assert await rig.apply(plan_id, fails_over) == ""
    assert rig.states(plan_id) == [S.DIVERGED, S.APPLIED, S.APPLIED, S.APPLIED]
    row = rig.loaded(plan_id).rows[1]
    assert (row.reason, row.detail) == (ItemReason.READS_OTHERWISE, "fake/d/user/u0 no longer reads as it was set")
    (said,) = [r for r in caplog.records if r.name == "agent.changes"]
    assert '"count":1' in redacting_log._line(said, ours=True)
    rig.evidence.verify()


async def test_hand_edits_show_and_so_do_rows_that_staff_added_beside(rig: Rig, world: World) -> None:
    plan_id = await soaking(rig, world)

    async def staff() -> None:
        await trio.sleep(30)
        world.values[world.user("u0")] = {"plan": "20M", "suspended": "yes", "pool": "vip"}

    await rig.apply(plan_id, staff)
    assert rig.states(plan_id)[0] is S.DIVERGED


async def test_a_restore_that_followed_meanwhile_is_no_difference(rig: Rig, world: World) -> None:
    plan_id = await soaking(rig, world)

    async def paid() -> None:
        await trio.sleep(20)
        restore = await rig.consumed([restoring(world)], action=Action.RESTORE)
        async with rig.parts() as parts:
            await Run(parts, rig.loaded(restore)).run()
        assert rig.states(restore) == [S.APPLIED]

    await rig.apply(plan_id, paid)
    assert world.values[world.user("u0")] == {"plan": "20M"}
    assert rig.states(plan_id) == [S.APPLIED] * 4


async def test_a_port_that_another_change_set_has_not_diverged(rig: Rig, world: World) -> None:
    """Ports are no service's. The whole batch was taken back, since a colleague's change had set one of them."""
    items = [replace(item(k, f"u{k - 1}", world), subject=None, desired=()) for k in range(1, 4)]
    waves = [Wave(1, 1, 60), Wave(2, 3, 0)]
    plan_id = await rig.consumed(items, waves=waves, on_failure=OnFailure.REVERT, action=Action.PORT_SET)

    async def colleague() -> None:
        await trio.sleep(20)
        other = replace(restoring(world), subject=None, desired=())
        assert rig.states(await rig.applied([other], action=Action.PORT_SET)) == [S.APPLIED]

    await rig.apply(plan_id, colleague)
    assert world.values[world.user("u0")] == {"plan": "20M"}
    assert rig.states(plan_id) == [S.APPLIED] * 3


def restoring(world: World) -> Item:
    before = Seen(world.values[world.user("u0")], 1_767_225_600)
    lifted = (ReasonChange(SuspensionReason.DEBT, added=False),)
    return replace(item(1, "u0", world), steps=steps_for("u0", before, {"plan": "20M"}), desired=lifted)


async def test_what_cannot_be_read_is_logged_and_claims_nothing(
    rig: Rig, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    plan_id = await soaking(rig, world, n=2)
    run = rig.store.run

    async def run_and_go_away(command: Command[Any]) -> Any:
        done = await run(command)
        if isinstance(command, EndItem) and command.move.n == 2:
            world.dead.add("fake/d")
        return done

    rig.store.run = run_and_go_away  # type: ignore[method-assign]  # the moment is that of one command
    caplog.set_level(logging.WARNING, "agent.changes")
    await rig.apply(plan_id)
    assert rig.states(plan_id) == [S.APPLIED, S.APPLIED]
    (said,) = [r for r in caplog.records if r.name == "agent.changes"]
    assert '"target":"fake/d"' in redacting_log._line(said, ours=True)


@pytest.mark.parametrize(
    ("looks", "state"), [(["stays-rejected"] * 2, S.APPLIED), (["stays-rejected", "offline"], S.SET_AT_NEXT_LOGIN)]
)
async def test_a_login_that_stays_rejected_is_seen_so_twice(
    rig: Rig, world: World, looks: list[str], state: ItemState
) -> None:
    """Its row, and whether its router asks RADIUS, are read one after the other: staff may set both in between."""

    class Asks(FakeMethod):
        def judge(self, *_: object) -> Judgment:
            look = looks.pop(0) if looks else "offline"
            return Judgment(Enforced.YES if look == "stays-rejected" else Enforced.PENDING, look)

    rig.connector.access_methods = {"fake": Asks()}
    plan_id = await rig.applied([item(1, "u0", world)])
    assert (rig.states(plan_id), looks) == ([state], [])


async def test_a_single_item_is_not_read_a_third_time(rig: Rig, world: World) -> None:
    plan_id = await rig.applied([item(1, "u0", world)])
    assert rig.states(plan_id) == [S.APPLIED]


async def test_a_plan_that_declares_a_revert_takes_the_others_back(rig: Rig, world: World) -> None:
    plan_id = await soaking(rig, world, n=3, on_failure=OnFailure.REVERT)

    async def fails_over() -> None:
        await trio.sleep(30)
        world.values[world.user("u0")] = {"plan": "20M"}

    await rig.apply(plan_id, fails_over)
    assert rig.states(plan_id) == [S.DIVERGED, S.REVERTED, S.REVERTED]
