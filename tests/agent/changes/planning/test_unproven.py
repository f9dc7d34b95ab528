"""A suspension that was set and not seen enforced is not "already" there: asked again, its rest is done and judged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from agent.changes.journal import plans
from agent.changes.planning.preview import NothingToDoError
from agent.changes.planning.unproven import UnprovenSuspension
from agent.connectors.base import AccessPlan
from agent.model import Address, Effect, Enforcement, Item, ItemState, Step, SuspensionReason
from tests.builders import world as worlds
from tests.builders.office import Desk, Office, approved, finished, office_in, work
from tests.builders.world import disconnect as of_sessions
from trust.policy import Action


def cut(login: str) -> Effect:
    """Return an effect on what no preview reads."""
    return replace(of_sessions(login), address=Address(f"fake/d/flows/{login}"))


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worlds, "WITHIN_S", 0)
    monkeypatch.setattr(worlds, "disconnect", cut)


def items_of(office: Office, row: plans.PlanRow) -> list[Item]:
    return list(plans.load(office.store.reader, office.daemon.files.vault, row).items.items)


def states(office: Office, row: plans.PlanRow) -> list[str]:
    found = office.store.reader.execute("SELECT state FROM item WHERE plan_id = ?", (row.plan_id,))
    return [r["state"] for r in found]


async def suspended_in_vain(office: Office, desk: Desk) -> plans.PlanRow:
    """Return a change that suspended a service whose session went on, as it was said; now it has none."""
    desk.world.faults["u1"] = ["", "nak"]
    row = await approved(office, await office.plan("C-2/home"))
    await work(office, lambda: finished(office) == 1)
    assert states(office, row) == ["set-not-enforced"]
    del desk.world.sessions["u1"]
    return row


async def test_what_was_not_seen_enforced_is_done_again(tmp_path: Path) -> None:
    desk = Desk()
    async with office_in(tmp_path, desk) as office:
        old = await suspended_in_vain(office, desk)
        (before,) = items_of(office, old)
        row = await office.plan("C-2/home")
        (item,) = items_of(office, row)
        assert [step.do for step in item.steps] == [step.do for step in before.steps if isinstance(step.do, Effect)]
        assert (item.enforce, item.steps[0].after, item.steps[0].on_revert) == (before.enforce, (), ())
        assert f"change {old.short} is set-not-enforced for it" in item.display["why"]
        await approved(office, row)
        await work(office, lambda: finished(office) == 2)
        assert states(office, row) == ["set-at-next-login"]
        with pytest.raises(NothingToDoError):
            await office.plan("C-2/home")


def test_a_fallback_is_taken_over_with_its_effect_only() -> None:
    """Alone it would be sent like any other, and end a session that is as wanted."""
    sessions, flows = of_sessions("u1"), cut("u1")
    user = Address("fake/d/user/u1")
    check = Enforcement("fake/d", user, {"method": "fake"}, 0)
    fallback = replace(flows, address=Address("fake/d/other/u1"))
    ends = (Step(2, "fake/d", sessions), Step(3, "fake/d", fallback, fallback_for=(2,)), Step(4, "fake/d", flows))
    left = UnprovenSuspension("K7QF2", ItemState.SET_NOT_ENFORCED, ends, check)
    nothing = AccessPlan((), None, {})
    with_all, without = left.after(nothing, {user}), left.after(nothing, {user, sessions.address})
    assert left.after(nothing, ()) is None, "the service has another login by now"
    assert with_all is not None
    assert [(step.n, step.fallback_for) for step in with_all.steps] == [(1, ()), (2, (1,)), (3, ())]
    assert without is not None
    assert [(step.n, step.do) for step in without.steps] == [(1, flows)]


async def test_another_reason_is_added_and_judged_too(tmp_path: Path) -> None:
    desk = Desk()
    async with office_in(tmp_path, desk) as office:
        await suspended_in_vain(office, desk)
        row = await office.plan("C-2/home", reason=SuspensionReason.ABUSE)
        (item,) = items_of(office, row)
        assert (len(item.steps), len(item.desired), item.enforce is not None) == (1, 1, True)


async def test_sessions_that_are_read_are_left_to_the_new_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of a suspended subscriber may be as wanted: simulated seed 28000000 saw such a one ended."""
    monkeypatch.setattr(worlds, "disconnect", of_sessions)
    desk = Desk()
    async with office_in(tmp_path, desk) as office:
        await suspended_in_vain(office, desk)
        with pytest.raises(NothingToDoError):
            await office.plan("C-2/home")


async def test_a_write_is_judged_by_its_own_check_and_ends_the_same(tmp_path: Path) -> None:
    desk = Desk()
    async with office_in(tmp_path, desk) as office:
        await suspended_in_vain(office, desk)
        desk.world.values[desk.world.user("u1")] = {"plan": "20M"}  # by staff
        (item,) = items_of(office, await office.plan("C-2/home"))
        assert [type(step.do).__name__ for step in item.steps] == ["tuple", "Effect"], "its own effect is the same one"


async def test_a_restore_in_between_ends_it(tmp_path: Path) -> None:
    desk = Desk()
    async with office_in(tmp_path, desk) as office:
        await suspended_in_vain(office, desk)
        await approved(office, await office.plan("C-2/home", verb=Action.RESTORE))
        await work(office, lambda: finished(office) == 2)
        desk.world.values[desk.world.user("u1")] = {"plan": "20M", "suspended": "yes"}  # by staff
        (item,) = items_of(office, await office.plan("C-2/home"))
        assert (item.steps, item.enforce) == ((), None)
