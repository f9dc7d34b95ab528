"""A retried item at its turn, which may come minutes after it was asked for: others acted meanwhile."""

from __future__ import annotations

from dataclasses import replace

import pytest
import trio

from agent.changes.authority.pauses import PauseChange, ResumeChange
from agent.changes.journal import commands
from agent.changes.journal.item_commands import MoveItem
from agent.changes.journal.machine import Event
from agent.changes.journal.moments import SendWindow
from agent.inventory import book
from agent.inventory.billing import BillingReader
from agent.inventory.facts import fact_address
from agent.model import ItemState, Pace, Requirement, Step
from agent.reasons import RefusalReason
from agent.store.errors import RefusedCommandError
from tests.builders.job import Rig, item
from tests.builders.record import (
    ADD_ABUSE,
    ADD_DEBT,
    NO_DEBT,
    asked,
    know,
    reopen,
    suspended,
    unenforced,
)
from tests.builders.world import World, disconnect
from trust.policy import Action

pytestmark = pytest.mark.virtual_time
S = ItemState


async def test_its_addresses_are_busy_with_a_restore(rig: Rig, world: World) -> None:
    """The restore ends while the retry is judged: no debt is recorded of a subscriber with full service."""
    know(rig, "u0", "u1")
    plan_id = await unenforced(rig, "u0", "u1", pace=Pace(1, 100, 0))
    await reopen(rig, plan_id)
    world.faults["u1"] = ["", "ack-without-effect"]

    async def restore() -> None:
        await trio.sleep(0.2)
        assert rig.states(await rig.applied([asked(rig, 1, "u1", NO_DEBT)], action=Action.RESTORE)) == [S.APPLIED]

    async with trio.open_nursery() as nursery:
        nursery.start_soon(rig.apply, plan_id)
        nursery.start_soon(restore)
    assert suspended(rig, "u1") == (False, [])
    assert rig.states(plan_id) == [S.APPLIED, S.SET_NOT_ENFORCED]


async def test_its_target_is_away_and_it_only_ends_a_session(rig: Rig, world: World) -> None:
    """It recorded its reason: it is not unsent, nor stale once its target is back."""
    know(rig, "u0")
    await rig.applied([asked(rig, 1, "u0", ADD_ABUSE)])
    kick = replace(asked(rig, 1, "u0", ADD_DEBT), steps=(Step(1, "fake/d", disconnect("u0")),))
    world.faults["u0"] = ["nak"]
    plan_id = await rig.applied([replace(kick, enforce=item(1, "u0", world).enforce)])
    assert (rig.states(plan_id), suspended(rig, "u0")) == ([S.SET_NOT_ENFORCED], (True, ["abuse", "debt"]))
    await rig.store.run(commands.Finish(plan_id, b"outcome", lambda _: rig.recorder.record(None, {})))
    await reopen(rig, plan_id)
    world.dead.add("fake/d")

    async def back() -> None:
        await trio.sleep(3)
        world.dead.clear()

    await rig.apply(plan_id, back)
    assert (rig.states(plan_id), suspended(rig, "u0")) == ([S.SET_NOT_ENFORCED], (True, ["abuse", "debt"]))


@pytest.mark.parametrize("code", [RefusalReason.PAUSED, RefusalReason.WINDOW_CLOSED])
async def test_its_plan_may_not_send_when_its_turn_comes(rig: Rig, world: World, code: RefusalReason) -> None:
    know(rig, "u0", "u1")
    plan_id = await unenforced(rig, "u0", "u1", pace=Pace(1, 100, 0))
    await reopen(rig, plan_id)

    async def close() -> None:
        await trio.sleep(0.5)
        world.kicks.clear()
        rig.send_window = lambda _: SendWindow(None, "not now", code)
        if code is RefusalReason.PAUSED:
            rig.store._con.execute("UPDATE plan SET paused_by = 'lena', paused_s = 1")

    await rig.apply(plan_id, close)
    assert world.kicks == []
    assert rig.states(plan_id) == [S.APPLIED, S.SET_NOT_ENFORCED]
    assert (rig.loaded(plan_id).rows[2].reason, suspended(rig, "u1")) == (code, (True, ["debt"]))


async def test_an_item_that_was_proven_meanwhile_is_not_retried(rig: Rig) -> None:
    """It was judged again between the read of the change and the command."""
    know(rig, "u0", "u1")
    plan_id = await unenforced(rig, "u0", "u1")
    await rig.store.run(MoveItem(plan_id, 1, Event.PROVE, "seen", "", rig.recorder.record("C-u0/home", {})))
    await reopen(rig, plan_id)
    assert rig.states(plan_id) == [S.APPLIED, S.RUNNING]


async def test_a_payer_is_not_disconnected(rig: Rig, world: World) -> None:
    """A first run finishes what it began; all of a retried item stands, and the payment is about to lift it."""
    know(rig, "u0")
    plan_id = await unenforced(rig, "u0")
    owes = book.requirement_tests(BillingReader())[book.OWES]
    debt = Requirement(fact_address("file", "C-u0"), book.OWES, "")
    rig.unmet = lambda tx, _, item, begun: owes(tx, item, debt, begun)
    await reopen(rig, plan_id)
    await rig.apply(plan_id)
    row = rig.loaded(plan_id).rows[1]
    assert (world.kicks, row.state, row.reason) == ([], S.SET_NOT_ENFORCED, "not-required")
    assert suspended(rig, "u0") == (True, ["debt"]), "a restore lifts it"


async def test_none_while_the_trust_is_in_doubt(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A newer trust document may have removed the people who approved the change."""
    know(rig, "u0")
    plan_id = await unenforced(rig, "u0")
    monkeypatch.setattr(commands, "doubt_text", lambda *_: "a newer one is pinned elsewhere")
    with pytest.raises(RefusedCommandError, match="trust: a newer one"):
        await reopen(rig, plan_id)


async def test_a_change_that_ended_while_paused_is_let_go_on(rig: Rig) -> None:
    """All was begun when it was paused. Its retry is refused until somebody resumes it, which was refused as well."""
    know(rig, "u0")
    plan_id = await unenforced(rig, "u0")
    record = rig.recorder.record(None, {})
    rig.store._con.execute("UPDATE plan SET paused_by = 'lena', paused_s = 1")
    assert rig.store.now(ResumeChange(plan_id, lambda _: None, record))
    with pytest.raises(RefusedCommandError, match="there is nothing to pause"):
        rig.store.now(PauseChange(plan_id, "lena", record))


async def test_staff_restored_the_subscriber_by_hand(rig: Rig, world: World) -> None:
    """A session that is ended for a row which is no longer there helps nobody."""
    know(rig, "u0")
    plan_id = await unenforced(rig, "u0")
    world.values[world.user("u0")] = {"plan": "20M"}
    await reopen(rig, plan_id)
    await rig.apply(plan_id)
    row = rig.loaded(plan_id).rows[1]
    assert (world.kicks, row.state, row.reason) == ([], S.SET_NOT_ENFORCED, "reads-otherwise")
    assert suspended(rig, "u0") == (False, ["debt"]), "drift tells of it"


async def test_its_device_is_asked_once_more_too(rig: Rig, world: World) -> None:
    """Seed 33000015: the attempts of before the retry counted, so that a session was said to carry on that its NAS had
    ended: the NAS denies it when it is asked again.
    """
    know(rig, "u0")
    world.faults["u0"] = ["", "command-lost", "command-lost"]
    plan_id = await rig.applied([asked(rig, 1, "u0", ADD_DEBT)])
    assert rig.states(plan_id) == [S.SET_NOT_ENFORCED]
    await rig.store.run(commands.Finish(plan_id, b"outcome", lambda _: rig.recorder.record(None, {})))
    await reopen(rig, plan_id)
    world.faults["u0"] = ["ack-without-effect"]
    await rig.apply(plan_id)
    assert (rig.states(plan_id), len(world.kicks)) == ([S.APPLIED], 1)
