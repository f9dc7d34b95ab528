"""A revert and a retry rest on today's record too: others may have changed the service since."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import trio

from agent.changes.journal import commands
from agent.changes.journal.item_commands import Lock, MoveItem
from agent.changes.journal.machine import Event
from agent.changes.journal.moments import SendWindow
from agent.inventory import book
from agent.inventory.billing import BillingReader
from agent.inventory.facts import fact_address
from agent.model import EntryChange, Item, ItemState, Pace, Requirement, Seen, Ticket, Wave
from agent.store.db import Tx
from agent.store.errors import RefusedCommandError
from tests.builders.job import Rig, item
from tests.builders.record import (
    ADD_ABUSE,
    ADD_DEBT,
    NO_ABUSE,
    NO_DEBT,
    asked,
    know,
    reopen,
    service_of,
    suspended,
    unenforced,
)
from tests.builders.world import World, steps_for
from trust.items import ReasonChange, TariffChange
from trust.policy import Action
from trust.statements import OnFailure

pytestmark = pytest.mark.virtual_time
S = ItemState
SOAK_S = 60


# --- the declared revert ---


@pytest.mark.parametrize(
    ("before", "batch", "meanwhile", "left"),
    [
        ((), ADD_DEBT, ADD_ABUSE, (True, ["abuse", "debt"])),
        ((ADD_ABUSE,), ADD_DEBT, NO_ABUSE, (True, ["debt"])),
        ((ADD_ABUSE, ADD_DEBT), NO_DEBT, NO_ABUSE, (False, [])),
        ((ADD_DEBT,), NO_DEBT, ADD_ABUSE, (True, ["abuse"])),
    ],
)
async def test_a_batch_takes_back_nothing_another_change_rests_on(
    rig: Rig,
    world: World,
    before: tuple[ReasonChange, ...],
    batch: ReasonChange,
    meanwhile: ReasonChange,
    left: tuple[bool, list[str]],
) -> None:
    know(rig, "u0", "u1")
    for one in before:
        await rig.applied([asked(rig, 1, "u0", one)])
    world.faults["u1"] = ["refused"]
    items = [asked(rig, 1, "u0", batch), asked(rig, 2, "u1", ADD_DEBT)]
    waves = [Wave(1, 1, SOAK_S), Wave(2, 2, 0)]
    plan_id = await rig.consumed(items, on_failure=OnFailure.REVERT, waves=waves)

    async def another() -> None:
        await trio.sleep(SOAK_S / 2)
        assert rig.states(await rig.applied([asked(rig, 1, "u0", meanwhile)])) == [S.APPLIED]

    await rig.apply(plan_id, another)
    assert suspended(rig, "u0") == left
    assert rig.states(plan_id) == [S.NEEDS_A_PERSON, S.NOT_APPLIED]


async def test_what_was_done_again_since_is_not_taken_back(rig: Rig, world: World) -> None:
    """Lifted and suspended for debt again in the soak: that is another change's by now, though it reads the same."""
    know(rig, "u0", "u1")
    world.faults["u1"] = ["refused"]
    items = [asked(rig, 1, "u0", ADD_DEBT), asked(rig, 2, "u1", ADD_DEBT)]
    plan_id = await rig.consumed(items, on_failure=OnFailure.REVERT, waves=[Wave(1, 1, SOAK_S), Wave(2, 2, 0)])
    again: list[bytes] = []

    async def others() -> None:
        await trio.sleep(SOAK_S / 2)
        await rig.applied([asked(rig, 1, "u0", NO_DEBT)], action=Action.RESTORE)
        again.append(await rig.applied([asked(rig, 1, "u0", ADD_DEBT)]))

    await rig.apply(plan_id, others)
    assert (suspended(rig, "u0"), rig.states(again[0])) == ((True, ["debt"]), [S.APPLIED])
    row = rig.loaded(plan_id).rows[1]
    assert (row.state, row.detail) == (
        S.NEEDS_A_PERSON,
        f"change {rig.loaded(again[0]).row.short} did the same to the service since",
    )


async def test_a_record_alone_is_taken_back_where_nothing_changed(rig: Rig, world: World) -> None:
    know(rig, "u0", "u1")
    await rig.applied([asked(rig, 1, "u0", ADD_ABUSE)])
    world.faults["u1"] = ["refused"]
    items = [asked(rig, 1, "u0", ADD_DEBT), asked(rig, 2, "u1", ADD_DEBT)]
    plan_id = await rig.applied(items, on_failure=OnFailure.REVERT)
    assert (rig.states(plan_id), suspended(rig, "u0")) == ([S.REVERTED, S.NOT_APPLIED], (True, ["abuse"]))


async def test_an_entry_that_was_removed_is_put_back(rig: Rig, world: World) -> None:
    know(rig, "u0", "u1")
    world.faults["u1"] = ["refused"]
    service = service_of(rig, "u0")
    removed = replace(asked(rig, 1, "u0"), desired=(EntryChange(book.entry_text(service), added=False),))
    plan_id = await rig.applied([removed, asked(rig, 2, "u1", ADD_DEBT)], on_failure=OnFailure.REVERT)
    assert (rig.states(plan_id), service_of(rig, "u0")) == ([S.REVERTED, S.NOT_APPLIED], service)


# --- retry ---


@pytest.mark.parametrize("online", [True, False])
async def test_a_retry_records_no_reason_that_was_lifted_meanwhile(rig: Rig, world: World, *, online: bool) -> None:
    know(rig, "u0", "u1")
    plan_id = await unenforced(rig, "u0", "u1", pace=Pace(1, 100, 0))
    await reopen(rig, plan_id)

    async def restore() -> None:
        await trio.sleep(0.2)
        assert rig.states(plan_id)[1] is S.RUNNING, "it waits for its turn at the NAS"
        assert rig.states(await rig.applied([asked(rig, 1, "u1", NO_DEBT)])) == [S.APPLIED]
        world.kicks.clear()
        if not online:
            del world.sessions["u1"]

    await rig.apply(plan_id, restore)
    assert (suspended(rig, "u1"), "u1" in world.kicks) == ((False, []), False)
    row = rig.loaded(plan_id).rows[2]
    assert (row.state, row.reason) == (S.SET_NOT_ENFORCED, "overtaken")
    assert (rig.states(plan_id)[0], suspended(rig, "u0")) == (S.APPLIED, (True, ["debt"]))


def on_another_tariff(rig: Rig, login: str) -> Item:
    """Return an item that writes to a suspended user, and leaves it suspended."""
    made, service = asked(rig, 1, login), service_of(rig, login)
    before = Seen(rig.world.values[rig.world.user(login)], 0)
    steps = steps_for(login, before, {"plan": "50M", "suspended": "yes"})
    enforce, desired = item(1, login, rig.world).enforce, (TariffChange(service.tariff, "50M"),)
    return replace(made, steps=steps, enforce=enforce, desired=desired)


async def test_no_retry_where_another_change_acted_since(rig: Rig) -> None:
    """It would end a session that is as the other change wants it, and be judged by the settings of before."""
    know(rig, "u0", "u1")
    plan_id = await unenforced(rig, "u0", "u1", pace=Pace(1, 100, 0))
    tariff = await rig.applied([on_another_tariff(rig, "u0")], action=Action.SET_PLAN)
    with pytest.raises(RefusedCommandError, match=f"change {rig.loaded(tariff).row.short} acted") as refused:
        await reopen(rig, plan_id, 1)
    assert refused.value.reason == "nothing-to-retry"
    await reopen(rig, plan_id, 2)
    in_turn = Lock(plan_id, 2, (), (rig.loaded(plan_id).items.items[1], SendWindow(None)))
    rig.store.now(in_turn)
    await rig.applied([on_another_tariff(rig, "u1")], action=Action.SET_PLAN)
    with pytest.raises(RefusedCommandError, match="acted on the service since"):
        rig.store.now(in_turn)


async def test_another_change_that_did_nothing_overtakes_none(rig: Rig, world: World) -> None:
    """Its write was refused. The suspension is as it was, and may be tried again, and judged again."""
    know(rig, "u0")
    plan_id = await unenforced(rig, "u0")
    world.faults["u0"] = ["refused"]
    tariff = await rig.applied([on_another_tariff(rig, "u0")], action=Action.SET_PLAN)
    assert rig.states(tariff) == [S.NOT_APPLIED]
    await reopen(rig, plan_id)
    await rig.apply(plan_id)
    assert (rig.states(plan_id), world.kicks) == ([S.APPLIED], ["u0"])


async def test_a_retry_that_fails_takes_nothing_back(rig: Rig, world: World) -> None:
    """The batch was over, and stood; one session began with full service since."""
    know(rig, "u0", "u1")
    session = world.sessions.pop("u0")
    items = [asked(rig, 1, "u0", ADD_DEBT), asked(rig, 2, "u1", ADD_DEBT)]
    plan_id = await rig.applied(items, on_failure=OnFailure.REVERT)
    assert rig.states(plan_id) == [S.SET_AT_NEXT_LOGIN, S.APPLIED]
    await rig.store.run(commands.Finish(plan_id, b"outcome", lambda _: rig.recorder.record(None, {})))
    at_large = MoveItem(plan_id, 1, Event.SET_UNENFORCED, "still-online", "", rig.recorder.record("C-u0/home", {}))
    await rig.store.run(at_large)
    world.sessions["u0"], world.faults["u0"] = session, ["nak"]
    await reopen(rig, plan_id, 1)
    await rig.apply(plan_id)
    assert rig.states(plan_id) == [S.SET_NOT_ENFORCED, S.APPLIED]
    assert [suspended(rig, login) for login in ("u0", "u1")] == [(True, ["debt"])] * 2


# --- the debt ---


@dataclass(frozen=True)
class Owes:
    """Ask whether a suspension that was begun may go on: nothing is known of the debt."""

    item: Item

    def run(self, tx: Tx) -> book.Broken | None:
        debt = Requirement(fact_address("file", "C-u0"), book.OWES, "")
        return book.requirement_tests(BillingReader())[book.OWES](tx, self.item, debt, True)


@pytest.mark.parametrize(
    ("action", "desired", "goes_on"),
    [
        (Action.SUSPEND, (ADD_DEBT,), True),
        (Action.REVERT, (ADD_DEBT,), True),
        (Action.REVERT, (), False),
        (Action.CPE_SET, (), False),
    ],
)
async def test_only_half_a_suspension_goes_on_without_a_debt(
    rig: Rig, world: World, action: Action, desired: tuple[ReasonChange, ...], *, goes_on: bool
) -> None:
    """Half a change of the subscriber's CPE is none, nor is half a revert of one."""
    know(rig, "u0")
    half, told = replace(asked(rig, 1, "u0", ADD_DEBT), desired=desired), list[bool]()

    def second_step(ticket: Ticket) -> None:
        if ticket.step == 2:
            told.append(rig.store.now(Owes(half)) is None)

    world.on_send = second_step
    await rig.applied([half], action=action)
    assert told == [goes_on]
