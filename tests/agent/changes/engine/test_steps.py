"""The commands that an item needs, and the outcome that it owes meanwhile: when it is durable, whatever comes next."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio

from agent.changes.authority import stops
from agent.changes.journal import plans
from agent.connectors.base import Busy, NotSentError, Reach
from agent.model import Address, Effect, Item, ItemState, ProofKind, Seen, Ticket, Verdict
from agent.reasons import TargetReason
from agent.store.db import Command
from tests.builders.clock import FakeClock
from tests.builders.job import CrashingStore, Rig, item
from tests.builders.world import FakeSession, World
from trust.leaf import LeafKind
from trust.statements import Cancel, Freeze, FreezeScope

pytestmark = pytest.mark.virtual_time

S = ItemState


class ListingStore(CrashingStore):
    """Keeps the names of the commands that it was given."""

    def now(self, command: Command[Any]) -> Any:
        self.names = [*getattr(self, "names", []), type(command).__name__]
        return super().now(command)


def whole(world: World) -> Item:
    return item(1, "u0", world)


def write_alone(world: World) -> Item:
    one = whole(world)
    return replace(one, steps=one.steps[:1], enforce=None)


def disconnect_alone(world: World) -> Item:
    one = whole(world)
    return replace(one, steps=(replace(one.steps[1], n=1, after=()),), enforce=None, desired=())


def reboot_alone(world: World) -> Item:
    """Return an item with one effect that nothing proves but a change that has to be seen."""
    (step,) = disconnect_alone(world).steps
    assert isinstance(step.do, Effect)
    reboot = replace(step, do=replace(step.do, proof=ProofKind.CHANGED))
    return replace(disconnect_alone(world), steps=(reboot,))


def world_with(*faults: str, online: bool = True, redials: bool = True) -> World:
    world = World()
    world.add("u0", online=online)
    world.faults["u0"] = list(faults)
    if not redials:
        world.no_redial.add("u0")
    return world


async def listed(folder: Path, world: World, one: Item, reach: Reach = Reach.DIAL) -> tuple[list[str], S]:
    """Run an item; return the names of the commands of its run, and its state."""
    rig = Rig(folder, world, FakeClock(), reach, store_type=ListingStore)
    plan_id = await rig.consumed([one])
    rig.store.names = []  # type: ignore[attr-defined]  # the store's type is the listing one

    async def calls_in() -> None:
        while True:
            await trio.sleep(1)
            rig.connector.calls_in.set()

    await rig.apply(plan_id, calls_in)
    assert plans.locked(rig.store.reader, plan_id) == []
    names, state = list(rig.store.names), rig.states(plan_id)[0]  # type: ignore[attr-defined]  # as above
    rig.close()
    return names, state


WAYS: Mapping[str, tuple[Callable[[World], Item], World, list[str], S]] = {
    "suspension": (whole, world_with(), ["AboutTo", "NextStep", "EndItem"], S.APPLIED),
    "offline": (whole, world_with(online=False), ["AboutTo", "EndItem"], S.SET_AT_NEXT_LOGIN),
    "write": (write_alone, world_with(), ["AboutTo", "EndItem"], S.APPLIED),
    "disconnect": (disconnect_alone, world_with(), ["Lock", "AboutTo", "EndItem"], S.APPLIED),
    # What only the reply says, and what is waited for, is made durable at once
    "refused": (whole, world_with("", "nak"), ["AboutTo", "NextStep", "StepDone", "EndItem"], S.SET_NOT_ENFORCED),
    "no redial": (
        whole,
        world_with(redials=False),
        ["AboutTo", "NextStep", "StepDone", "EndItem"],
        S.SET_AT_NEXT_LOGIN,
    ),
    "lost": (
        write_alone,
        world_with("command-lost"),
        ["AboutTo", "MoveItem", "StepDone", "AboutTo", "EndItem"],
        S.APPLIED,
    ),
}


@pytest.mark.parametrize("way", WAYS)
async def test_commands_of_an_item(tmp_path: Path, way: str) -> None:
    make, world, names, state = WAYS[way]
    assert await listed(tmp_path, world, make(world)) == (names, state)


async def test_an_item_of_a_device_that_calls_in_owes_nothing(tmp_path: Path) -> None:
    """It may be away for days: its outcome is durable before anything else is asked of it."""
    world = world_with()
    names, state = await listed(tmp_path, world, whole(world), Reach.ARRIVE)
    assert names == ["MoveItem", "Lock", "AboutTo", "StepDone", "AboutTo", "StepDone", "EndItem"]
    assert state is S.APPLIED


# --- what is owed ---


async def begun(folder: Path) -> tuple[Rig, bytes]:
    rig = Rig(folder, world_with(), FakeClock())
    plan_id = await rig.consumed([whole(rig.world)])
    return rig, plan_id


def verdicts(rig: Rig, plan_id: bytes) -> list[tuple[int, Verdict | None]]:
    return [(row.n, row.verdict) for row in plans.steps(rig.store.reader, plan_id)]


async def test_a_refused_next_step_leaves_the_outcome_before_it(tmp_path: Path) -> None:
    rig, plan_id = await begun(tmp_path)
    rig.world.on_took = lambda _: cancel_it(rig, plan_id)
    await rig.apply(plan_id)
    assert verdicts(rig, plan_id) == [(1, Verdict.APPLIED)]
    row = rig.loaded(plan_id).rows[1]
    assert (row.state, row.reason, rig.world.kicks) == (S.SET_NOT_ENFORCED, "cancelled", [])
    assert plans.locked(rig.store.reader, plan_id) == []
    rig.evidence.verify()
    rig.close()


def cancel_it(rig: Rig, plan_id: bytes) -> None:
    cancel = Cancel("1" * 32, "4" * 32, (rig.loaded(plan_id).row.digest.hex(),), "joseph", 0)
    rig.store.now(stops.RecordCancel(cancel, b"e", rig.recorder.record(None, {})))


@pytest.mark.parametrize("reason", ["drifted", "expired", "refused", "unreachable", "cancelled"])
async def test_a_refused_second_try_hides_no_lost_first(tmp_path: Path, reason: str) -> None:
    """`stale` says that nothing was sent; and the first try may have done its work, though nobody saw it."""
    rig = Rig(tmp_path, world_with("command-lost"), FakeClock())
    plan_id = await rig.consumed([reboot_alone(rig.world)])

    def sent(ticket: Ticket) -> None:
        if ticket.attempt > 1:
            raise NotSentError("it was not sent again", reason=TargetReason(reason))
        if reason == "cancelled":
            cancel_it(rig, plan_id)

    rig.world.on_send = sent
    await rig.apply(plan_id)
    row = rig.loaded(plan_id).rows[1]
    assert (row.state, row.reason) == (S.NOT_APPLIED, "lost-timeout")
    begins, _, rest = row.detail.partition(" · ")
    assert begins == "lost on the way, and it reads as before"
    assert ("cancelled" if reason == "cancelled" else "it was not sent again") in rest
    assert plans.locked(rig.store.reader, plan_id) == []
    rig.close()


async def test_a_lost_try_at_what_is_there_still_did_nothing(tmp_path: Path) -> None:
    """The session that was to end goes on: the reason why it was not tried again counts."""
    rig = Rig(tmp_path, world_with("command-lost"), FakeClock())
    plan_id = await rig.consumed([disconnect_alone(rig.world)])
    rig.world.on_send = lambda _: cancel_it(rig, plan_id)
    await rig.apply(plan_id)
    row = rig.loaded(plan_id).rows[1]
    assert (row.state, row.reason) == (S.NOT_APPLIED, "cancelled")
    rig.close()


async def test_outcome_is_durable_before_busy_target_is_waited_for(tmp_path: Path) -> None:
    rig, plan_id = await begun(tmp_path)

    def busy_from_now_on(ticket: Ticket) -> None:
        rig.world.busy = [Busy("busy-cpu", "CPU at 93 %")] * 2

    async def look() -> None:
        await trio.sleep(3)
        assert verdicts(rig, plan_id) == [(1, Verdict.APPLIED)]

    rig.world.on_send = busy_from_now_on
    await rig.apply(plan_id, look)
    assert verdicts(rig, plan_id) == [(1, Verdict.APPLIED), (2, Verdict.APPLIED)]
    rig.close()


async def test_an_outcome_is_durable_if_stopped_before_the_next_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hangs(session: FakeSession, effect: Effect, earlier: object) -> Mapping[Address, Seen]:
        await trio.sleep_forever()
        raise AssertionError

    rig, plan_id = await begun(tmp_path)
    monkeypatch.setattr(FakeSession, "bind", hangs)
    with trio.move_on_after(5) as agent:
        await rig.apply(plan_id)
    assert agent.cancelled_caught
    assert verdicts(rig, plan_id) == [(1, Verdict.APPLIED)]
    assert rig.states(plan_id) == [S.RUNNING]
    rig.close()


async def test_an_item_frozen_before_it_began_holds_no_address(tmp_path: Path) -> None:
    rig, plan_id = await begun(tmp_path)
    freeze = Freeze("1" * 32, "5" * 32, FreezeScope.ALL, "", "joseph", 0)
    await rig.store.run(stops.RecordFreeze(freeze, bytes(32), b"e", rig.recorder.record(None, {})))
    with trio.move_on_after(20):
        await rig.apply(plan_id)
    assert (rig.states(plan_id), plans.locked(rig.store.reader, plan_id)) == ([S.PLANNED], [])
    rig.close()


async def test_addresses_are_held_from_first_about_to_to_last_move(tmp_path: Path) -> None:
    rig, plan_id = await begun(tmp_path)
    seen: Counter[tuple[S, int]] = Counter()

    def look(n: int) -> None:
        held = rig.store.query("SELECT count(*) AS n FROM address_lock")[0]["n"]
        seen[rig.states(plan_id)[0], held] += 1

    rig.store.between = look
    await rig.apply(plan_id)
    look(0)
    assert seen == {(S.PLANNED, 0): 1, (S.RUNNING, 2): 2, (S.APPLIED, 0): 1}
    rig.close()


async def test_the_log_has_what_was_read_at_each_step(tmp_path: Path) -> None:
    rig, plan_id = await begun(tmp_path)
    await rig.apply(plan_id)
    rows = rig.store.query("SELECT subject, record FROM event WHERE kind = ? ORDER BY seq", (LeafKind.STEP_OUTCOME,))
    opened = [rig.vault.open_record(bytes(row["subject"]), bytes(row["record"])) for row in rows]
    first, last = [json.loads(one[1])["observed"] for one in opened if one is not None]
    assert first[rig.world.user("u0")]["value"] == {"plan": "20M", "suspended": "yes"}
    assert last == {"fake/d/session/u0#1": {"value": None, "at_s": 1_767_225_600, "live": True}}
    rig.close()


@pytest.mark.parametrize(("online", "state"), [(False, S.APPLIED), (True, S.STALE)])
async def test_a_reason_is_recorded_only_while_its_login_is_as_wanted(tmp_path: Path, online: bool, state: S) -> None:
    """Previewed as rejected and offline; somebody is online when it runs: that is not what was approved."""
    world = world_with(online=online)
    one = whole(world)
    assert one.enforce is not None
    told = replace(one, steps=(), enforce=replace(one.enforce, expect={"method": "fake", "why": "never online"}))
    _, ended = await listed(tmp_path, world, told)
    assert ended is state
