"""A consumed plan against a fake connector: what is sent, what is said of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, replace
from datetime import UTC
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from agent.billing_model.account import Payment, PaymentState
from agent.billing_model.days import when_untrusted
from agent.changes.authority import stops
from agent.changes.engine.apply import Run
from agent.changes.engine.tickets import addresses_of
from agent.changes.journal import item_commands
from agent.changes.journal.item_commands import Lock, MoveItem, move_item
from agent.changes.journal.machine import ChangeState, Event
from agent.changes.journal.moments import SendWindow
from agent.connectors.base import (
    CLOCK_SET,
    IN_FORCE,
    NOTHING_EARLIER,
    Busy,
    Earlier,
    Enforced,
    Judgment,
    Reach,
    Reply,
    Session,
)
from agent.inventory.book import Broken
from agent.inventory.ledger import RecordPayments
from agent.model import Address, Direction, Effect, Enforcement, GuardKind, Item, Pace, Seen, Step, Ticket, Wave
from agent.model import ItemState as S
from agent.reasons import ProofReason
from agent.services.network import as_read
from agent.store.db import Tx
from agent.store.errors import RefusedCommandError
from tests.builders.clock import FakeClock
from tests.builders.expect import expect
from tests.builders.job import Rig, item
from tests.builders.store import WALL_S, AddService
from tests.builders.world import FakeMethod, FakeSession, World, disconnect
from trust.policy import Action
from trust.statements import Cancel, Freeze, FreezeScope, OnFailure, Unfreeze

pytestmark = pytest.mark.virtual_time


async def run_one(rig: Rig, login: str = "u0", **plan: object) -> S:
    plan_id = await rig.save_plan([item(1, login, rig.world)], **plan)  # type: ignore[arg-type]  # keywords are for the test to choose
    await rig.consume(plan_id)
    await rig.apply(plan_id)
    rig.evidence.verify()
    return rig.states(plan_id)[0]


async def test_one_item_is_applied_and_enforced(rig: Rig, world: World) -> None:
    assert await run_one(rig) is S.APPLIED
    assert world.values[world.user("u0")] == {"plan": "20M", "suspended": "yes"}
    assert world.kicks == ["u0"]


async def test_reason_is_recorded_with_applied(rig: Rig) -> None:
    await run_one(rig)
    rows = rig.store.reader.execute("SELECT service, reason FROM reason").fetchall()
    assert [tuple(r) for r in rows] == [("C-u0/home", "debt")]


async def test_offline_is_set_at_next_login_at_once(rig: Rig, world: World) -> None:
    del world.sessions["u0"]
    started = trio.current_time()
    assert await run_one(rig) is S.SET_AT_NEXT_LOGIN
    assert trio.current_time() - started < 1
    assert world.kicks == []


@pytest.mark.parametrize(("polls", "state"), [(3, S.APPLIED), (1000, S.SET_NOT_ENFORCED)])
async def test_what_takes_hold_a_while_later_is_waited_for(
    rig: Rig, world: World, monkeypatch: pytest.MonkeyPatch, polls: int, state: S
) -> None:
    """Also where there was no session to end."""
    del world.sessions["u0"]
    answers = [Judgment(Enforced.NO, "not-in-effect")] * polls
    monkeypatch.setattr(FakeMethod, "judge", lambda *_: answers.pop() if answers else Judgment(Enforced.YES, "seen"))
    started = trio.current_time()
    assert await run_one(rig) is state
    within_s = 10  # the fake's
    waited_s = trio.current_time() - started
    assert waited_s < within_s if state is S.APPLIED else within_s <= waited_s < within_s + 5


@pytest.mark.parametrize(("set_s", "told"), [(-400, "-400"), (60, "60"), (0, None)])
async def test_an_enforcement_is_judged_by_how_far_our_clock_was_set(
    rig: Rig, world: World, monkeypatch: pytest.MonkeyPatch, set_s: float, told: str | None
) -> None:
    """The reads of a judgment rest on the same facts."""
    clock, expected, read = rig.clock, [], []
    assert isinstance(clock, FakeClock)
    real = FakeMethod.enforcement_reads

    def reads(self: FakeMethod, enforce: Enforcement, *more: Any) -> Collection[Address]:
        read.append(enforce.expect.get(CLOCK_SET))
        return real(self, enforce, *more)

    def judge(_: object, enforce: Enforcement, *__: object) -> Judgment:
        if not expected:
            clock.step_wall(set_s)
        expected.append(enforce.expect.get(CLOCK_SET))
        return Judgment(Enforced.YES if len(expected) > 1 else Enforced.NO, "seen")

    monkeypatch.setattr(FakeMethod, "judge", judge)
    monkeypatch.setattr(FakeMethod, "enforcement_reads", reads)
    assert await run_one(rig) is S.APPLIED
    assert expected == [None, told]
    assert set(read) == set(expected)


async def test_no_redial_in_time_is_set_at_next_login(rig: Rig, world: World) -> None:
    world.no_redial.add("u0")
    assert await run_one(rig) is S.SET_AT_NEXT_LOGIN


@pytest.mark.parametrize(
    ("faults", "state", "writes", "kicks"),
    [
        (["command-lost"], S.APPLIED, 1, 1),  # proven without effect, sent once more
        (["command-lost", "command-lost"], S.NOT_APPLIED, 0, 0),
        (["reply-lost"], S.APPLIED, 1, 1),
        (["third-value"], S.DIVERGED, 1, 0),
        (["no-effect"], S.NOT_APPLIED, 0, 0),
        (["refused"], S.NOT_APPLIED, 0, 0),
        (["", "nak"], S.SET_NOT_ENFORCED, 1, 0),
        (["", "ack-without-effect"], S.APPLIED, 1, 1),  # asked once more: the device may deny having it by now
        (["", "ack-without-effect", "ack-without-effect"], S.SET_NOT_ENFORCED, 1, 0),
        (["", "command-lost"], S.APPLIED, 1, 1),
        (["", "reply-lost"], S.APPLIED, 1, 1),
    ],
)
async def test_faults(rig: Rig, world: World, faults: list[str], state: S, writes: int, kicks: int) -> None:
    world.faults["u0"] = faults
    assert await run_one(rig) is state
    assert (len(world.writes), len(world.kicks)) == (writes, kicks)


async def test_P1_drift_is_stale_and_nothing_is_sent(rig: Rig, world: World) -> None:
    plan_id = await rig.consumed([item(1, "u0", world)])
    world.values[world.user("u0")] = {"plan": "50M"}
    await rig.apply(plan_id)
    assert rig.states(plan_id) == [S.STALE]
    assert world.writes == []


BUSY = Busy("busy-cpu", "CPU at 93 %")


async def test_a_try_in_vain_is_no_beginning(rig: Rig, world: World) -> None:
    """By the second one another service may have the login: after a restart of the agent that comes hours later."""
    begun: list[bool] = []
    rig.unmet = lambda tx, _, item, already: begun.append(already)
    world.faults["u0"] = ["command-lost"]
    assert await run_one(rig) is S.APPLIED
    assert (begun, world.kicks) == ([False, False, True], ["u0"])


async def test_what_it_rests_on_is_read_at_its_place(rig: Rig, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow router has a long queue: what an item rests on was read when the item joined that."""
    rig.connector.traits = replace(rig.connector.traits, window=1)
    other, send = world.user("u2"), FakeSession.send
    one = replace(item(2, "u1", world), requires=(as_read(other, world.values[other]),))
    plan_id = await rig.consumed([item(1, "u0", world), one], pace=Pace(1, 100, 0))

    async def slowly(session: FakeSession, ticket: Ticket) -> Reply:
        await trio.sleep(10)
        world.values[other] = {"plan": "50M"}
        return await send(session, ticket)

    monkeypatch.setattr(FakeSession, "send", slowly)
    await rig.apply(plan_id)
    assert (rig.states(plan_id), [login for login, _ in world.writes]) == ([S.APPLIED, S.STALE], ["u0"])


async def test_what_it_rests_on_is_read_again_after_a_wait(rig: Rig, world: World) -> None:
    """Staff changed it while they held the router's safe mode: the item was sent as if it read as in the preview."""
    world.busy, other = [BUSY] * 20, world.user("u1")
    one = replace(item(1, "u0", world), requires=(as_read(other, world.values[other]),))
    plan_id = await rig.consumed([one])

    async def staff() -> None:
        await trio.sleep(60)
        world.values[other] = {"plan": "50M"}

    await rig.apply(plan_id, staff)
    assert (rig.states(plan_id), world.writes, world.busy) == ([S.STALE], [], [])


async def test_a_busy_device_is_spared_and_then_changed(rig: Rig, world: World) -> None:
    world.busy = [BUSY] * 3
    sent: list[float] = []
    world.on_send = lambda _: sent.append(trio.current_time())
    began = trio.current_time()
    assert await run_one(rig) is S.APPLIED
    assert sent[0] - began >= 5 + 10 + 20  # each pause longer than the one before


async def test_a_device_that_stays_busy_is_not_changed(rig: Rig, world: World) -> None:
    world.busy = [BUSY] * 10_000
    plan_id = await rig.applied([item(1, "u0", world)], run_for_s=600)
    assert rig.states(plan_id) == [S.EXPIRED]
    row = rig.store.reader.execute("SELECT reason FROM item WHERE plan_id = ?", (plan_id,)).fetchone()
    assert row["reason"] == "busy-cpu"
    assert (world.writes, world.kicks) == ([], [])


async def test_what_was_begun_is_finished_though_the_device_is_busy(rig: Rig, world: World) -> None:
    """Half done it would hold its addresses, against the restore of who paid meanwhile, until the plan's time is up."""
    sent: list[float] = []

    def busy_from_now_on(_: Ticket) -> None:
        world.busy = [BUSY] * 10_000
        sent.append(trio.current_time())

    world.on_send = busy_from_now_on
    assert await run_one(rig) is S.APPLIED
    assert world.kicks == ["u0"]
    assert 5 <= sent[1] - sent[0] < 60


async def test_a_cancel_ends_the_wait_for_a_busy_device(rig: Rig, world: World) -> None:
    world.busy = [BUSY] * 10_000
    plan_id = await rig.consumed([item(1, "u0", world)])
    cancel = Cancel("1" * 32, "4" * 32, (rig.loaded(plan_id).row.digest.hex(),), "joseph", 0)
    began = trio.current_time()

    async def change_of_mind() -> None:
        await trio.sleep(100)
        await rig.store.run(stops.RecordCancel(cancel, b"e", rig.recorder.record(None, {})))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(change_of_mind)
        await rig.apply(plan_id)
    assert rig.states(plan_id) == [S.CANCELLED]
    assert 100 <= trio.current_time() - began < 100 + 31
    assert world.writes == []


@dataclass(frozen=True)
class Move:
    """An item is moved by somebody else than its run."""

    to: MoveItem

    def run(self, tx: Tx) -> None:
        move_item(tx, self.to)


async def test_a_restore_does_not_wait_behind_a_suspension_that_waits(rig: Rig, world: World) -> None:
    """Who paid while the device was busy: the suspension gives its addresses back."""
    world.busy = [BUSY] * 10_000
    plan_id = await rig.consumed([item(1, "u0", world)])

    async def supersede() -> None:
        await trio.sleep(60)
        sealed = rig.recorder.record("C-u0/home", {})
        await rig.store.run(Move(MoveItem(plan_id, 1, Event.SUPERSEDE, "superseded", "superseded by R", sealed)))

    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(supersede)
        await rig.apply(plan_id)
    assert rig.states(plan_id) == [S.SUPERSEDED]
    assert trio.current_time() - began < 60 + 31
    assert world.writes == []


async def test_paid_meanwhile_is_skipped(rig: Rig, world: World) -> None:
    rig.unmet = lambda tx, _, item, begun: Broken("paid 09:03")
    assert await run_one(rig) is S.SKIPPED
    assert world.writes == []


def nothing_to_end(world: World) -> Item:
    """Return an item that is only to end a session, and there is none."""
    del world.sessions["u0"]
    world.values[world.user("u0")] = {"plan": "20M", "suspended": "yes"}
    return replace(item(1, "u0", world), steps=(Step(1, "fake/d", disconnect("u0")),))


def freezing(rig: Rig, scope: FreezeScope = FreezeScope.ALL, target: str = "") -> stops.RecordFreeze:
    frozen = Freeze("1" * 32, "5" * 32, scope, target, "joseph", 0)
    return stops.RecordFreeze(frozen, bytes(32), b"e", rig.recorder.record(None, {}))


async def freeze(rig: Rig, _: bytes) -> None:
    await rig.store.run(freezing(rig))


async def cancel(rig: Rig, plan_id: bytes) -> None:
    digest = rig.loaded(plan_id).row.digest.hex()
    cancelled = Cancel("1" * 32, "4" * 32, (digest,), "joseph", 0)
    await rig.store.run(stops.RecordCancel(cancelled, b"e", rig.recorder.record(None, {})))


async def pay(rig: Rig, _: bytes) -> None:
    rig.unmet = lambda tx, _, item, begun: Broken("paid 09:03")


async def close_window(rig: Rig, _: bytes) -> None:
    rig.send_window = lambda _: SendWindow(None, "waits for the window")


async def nobody(rig: Rig, plan_id: bytes) -> None:
    del rig, plan_id


@pytest.mark.parametrize(
    ("meanwhile", "state", "recorded"),
    [
        (pay, S.SKIPPED, 0),
        (cancel, S.CANCELLED, 0),
        (freeze, S.EXPIRED, 0),
        (close_window, S.EXPIRED, 0),
        (nobody, S.SET_AT_NEXT_LOGIN, 1),
    ],
)
async def test_an_item_with_nothing_to_send_may_be_stopped_as_others(
    rig: Rig, world: World, meanwhile: Callable[[Rig, bytes], Awaitable[None]], state: S, recorded: int
) -> None:
    plan_id = await rig.consumed([nothing_to_end(world)])
    await meanwhile(rig, plan_id)
    await rig.apply(plan_id)
    assert rig.states(plan_id) == [state]
    assert rig.store.reader.execute("SELECT count(*) FROM reason").fetchone()[0] == recorded
    assert (world.writes, world.kicks) == ([], [])


def only_ends(world: World) -> Item:
    """Return an item that is only to end a session, and there is none. Nothing is judged of it afterwards."""
    return replace(nothing_to_end(world), enforce=None, desired=())


async def lift(rig: Rig) -> None:
    unfreeze = Unfreeze("1" * 32, bytes(32).hex(), "joseph", 0)
    await rig.store.run(stops.RecordUnfreeze(unfreeze, b"e", rig.recorder.record(None, {})))


@pytest.mark.parametrize("online", [False, True])
async def test_a_session_that_came_in_a_freeze_is_ended(
    rig: Rig, world: World, told: list[frozenset[Address]], *, online: bool
) -> None:
    """There was none before, and then it was not looked again: the change said that there was no session now."""
    plan_id = await rig.consumed([only_ends(world)], action=Action.DISCONNECT)
    world.sessions.update({"u0": 1} if online else {})

    def between(_: int) -> None:
        if told and not rig.store.query("SELECT 1 FROM freeze"):
            rig.store.now(freezing(rig))

    async def come() -> None:
        await trio.sleep(100)
        world.sessions["u0"] = 7
        await trio.sleep(100)
        await lift(rig)

    rig.store.between = between
    await rig.apply(plan_id, come)
    assert (rig.states(plan_id), rig.loaded(plan_id).rows[1].detail, world.kicks) == ([S.APPLIED], "", ["u0"])
    assert told == [frozenset(), frozenset()]


async def test_a_session_that_came_while_a_router_was_spared_is_ended(
    rig: Rig, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The subscriber went to the first of two routers while staff held the safe mode of the second one."""
    one = only_ends(world)
    second = replace(disconnect("u0"), address=Address("fake/r/sessions/u0"))
    both = replace(one, steps=(*one.steps, Step(2, "fake/r", second)))
    plan_id = await rig.consumed([both], action=Action.DISCONNECT)
    busy, bind = FakeSession.busy, FakeSession.bind

    async def spared(session: FakeSession) -> Busy | None:
        held = session.target.id == "fake/r" and "u0" not in world.sessions
        return Busy("safe-mode", "staff hold its safe mode") if held else await busy(session)

    async def on_the_first(session: FakeSession, effect: Effect, earlier: Earlier = NOTHING_EARLIER) -> Earlier:
        return await bind(session, effect, earlier) if session.target.id == "fake/d" else {}

    async def move() -> None:
        await trio.sleep(600)
        world.sessions["u0"] = 7

    monkeypatch.setattr(FakeSession, "busy", spared)
    monkeypatch.setattr(FakeSession, "bind", on_the_first)
    await rig.apply(plan_id, move)
    assert (rig.states(plan_id), world.kicks) == ([S.APPLIED], ["u0"])


async def test_a_window_that_closes_at_the_look_loses_no_item(rig: Rig, world: World) -> None:
    """Between the look for sessions and the item's beginning: the run was over then, and the item planned for ever."""
    plan_id = await rig.consumed([only_ends(world)], action=Action.DISCONNECT)
    closed = SendWindow(None, "waits for the window")

    def close(_: int) -> None:
        rig.send_window = lambda _: closed

    async def come() -> None:
        await trio.sleep(100)
        assert rig.states(plan_id) == [S.WAITING]
        world.sessions["u0"] = 7
        rig.store.between, rig.send_window = None, lambda _: SendWindow(0)

    rig.store.between = close
    await rig.apply(plan_id, come)
    assert (rig.states(plan_id), world.kicks) == ([S.APPLIED], ["u0"])


async def test_an_item_that_is_frozen_holds_no_address(rig: Rig, world: World) -> None:
    """It looks for sessions under its lock. Its requester was frozen, and another person's restore waited for it."""
    one = replace(item(1, "u0", world), steps=(Step(1, "fake/d", disconnect("u0")),))
    plan_id = await rig.consumed([one], action=Action.DISCONNECT)
    held: list[int] = []

    def begin(_: int) -> None:
        (count,) = rig.store.reader.execute("SELECT count(*) FROM address_lock").fetchone()
        if count and not held:  # between its lock and its first "about to"
            held.append(count)
            rig.store.now(freezing(rig, FreezeScope.PERSON, "maria"))

    async def look() -> None:
        await trio.sleep(100)
        held.append(rig.store.reader.execute("SELECT count(*) FROM address_lock").fetchone()[0])
        await lift(rig)

    rig.store.between = begin
    await rig.apply(plan_id, look)
    assert (held, rig.states(plan_id), world.kicks) == ([1, 0], [S.APPLIED], ["u0"])


async def test_a_payment_counts_from_the_last_look_at_billing(rig: Rig, world: World) -> None:
    """Nothing had to be sent, and the judgment took a while: a payment in that time is news to the suspension."""
    plan_id = await rig.consumed([nothing_to_end(world)])
    world.unreadable, began = 20, rig.clock.wall_s()
    await rig.apply(plan_id)
    (row,) = rig.store.query("SELECT r.looked_s, e.at_s FROM reason r JOIN event e USING (seq)")
    assert row["looked_s"] == began < row["at_s"]


@pytest.mark.parametrize("writes", [True, False])
async def test_who_pays_in_a_suspension_of_a_fast_clock_paid_after(rig: Rig, world: World, writes: bool) -> None:
    """It looked at the account by a clock that ran ahead, and its reason was recorded after the payment."""
    await rig.store.run(AddService("C-u0/home"))
    plan_id = await rig.consumed([item(1, "u0", world) if writes else nothing_to_end(world)])
    world.unreadable, clock = 0 if writes else 20, expect(FakeClock, rig.clock)
    world.on_send = lambda ticket: setattr(world, "unreadable", 4) if ticket.step == 1 else None
    told = Payment("p-1", "u0", "C-u0", Decimal(1), "KES", when_untrusted("2026-02-01", UTC), PaymentState.SETTLED)

    async def pay() -> None:
        await trio.sleep(1)
        clock.step_wall(-60)
        assert rig.store.query("SELECT 1 FROM reason") == []
        await rig.store.run(RecordPayments("main", [told]))

    await rig.apply(plan_id, pay)
    (row,) = rig.store.query("SELECT r.looked_s, p.settled_s FROM reason r, payment p")
    assert row["settled_s"] == WALL_S >= row["looked_s"]


async def pay_once_begun(rig: Rig, _: bytes) -> None:
    rig.unmet = lambda tx, _, item, begun: Broken("paid 09:03") if tx.one("SELECT 1 FROM step") else None


@pytest.mark.parametrize("meanwhile", [cancel, freeze, pay_once_begun])
async def test_what_was_stopped_before_anything_stood_records_nothing(
    rig: Rig, world: World, meanwhile: Callable[[Rig, bytes], Awaitable[None]]
) -> None:
    """It writes nothing, its one disconnect is lost, and the second try is refused."""
    world.values[world.user("u0")] = {"plan": "20M", "suspended": "yes"}
    world.faults["u0"] = ["command-lost"]
    plan_id = await rig.consumed([replace(item(1, "u0", world), steps=(Step(1, "fake/d", disconnect("u0")),))])
    if meanwhile is pay_once_begun:
        await meanwhile(rig, plan_id)
    sent = trio.Event()
    world.on_send = lambda _: sent.set()

    async def stop() -> None:
        await sent.wait()
        await meanwhile(rig, plan_id)

    await rig.apply(plan_id, stop)
    assert (rig.states(plan_id), world.kicks) == ([S.NOT_APPLIED], [])
    assert rig.store.reader.execute("SELECT count(*) FROM reason").fetchone()[0] == 0


async def test_unreadable_while_reading_back_is_read_again(rig: Rig, world: World) -> None:
    plan_id = await rig.consumed([item(1, "u0", world)])
    world.unreadable = 4
    await rig.apply(plan_id)
    assert rig.states(plan_id) == [S.APPLIED]


async def test_unreadable_for_ever_needs_a_person(rig: Rig, world: World) -> None:
    world.faults["u0"] = ["reply-lost"]
    plan_id = await rig.consumed([item(1, "u0", world)])
    world.unreadable = 10_000
    await rig.apply(plan_id)
    assert rig.states(plan_id) == [S.NEEDS_A_PERSON]


async def test_canary_failure_stops_the_rest(rig: Rig, world: World) -> None:
    items = [item(n + 1, f"u{n}", world) for n in range(6)]
    world.faults["u1"] = ["refused"]
    plan_id = await rig.consumed(items, waves=[Wave(1, 2, 30), Wave(3, 6, 0)])
    stopped = await rig.apply(plan_id)
    assert stopped.startswith("canary")
    assert rig.states(plan_id) == [S.APPLIED, S.NOT_APPLIED, S.CANCELLED, S.CANCELLED, S.CANCELLED, S.CANCELLED]


async def test_soak_between_waves(rig: Rig, world: World) -> None:
    items = [item(n + 1, f"u{n}", world) for n in range(4)]
    plan_id = await rig.consumed(items, waves=[Wave(1, 1, 120), Wave(2, 4, 0)])
    started = trio.current_time()
    await rig.apply(plan_id)
    assert trio.current_time() - started >= 120
    assert set(rig.states(plan_id)) == {S.APPLIED}


@pytest.mark.parametrize("stale", [1, 2])
async def test_restart_does_not_end_soak_of_what_stood_in_for_canary(tmp_path: Path, world: World, stale: int) -> None:
    rig = Rig(tmp_path, world, FakeClock())
    items = [item(n + 1, f"u{n}", world) for n in range(stale + 2)]
    plan_id = await rig.consumed(items, waves=[Wave(1, 1, 600), Wave(2, len(items), 0)])
    for n in range(stale):  # the canary is stale, or the next too: one after the other stands in for it
        world.values[world.user(f"u{n}")] = {"plan": "another"}
    with trio.move_on_after(100):
        await rig.apply(plan_id)
    assert rig.states(plan_id) == [*[S.STALE] * stale, S.APPLIED, S.PLANNED]
    rig.close()
    rig = Rig(tmp_path, world, FakeClock())
    started = trio.current_time()
    await rig.apply(plan_id)
    assert rig.states(plan_id) == [*[S.STALE] * stale, S.APPLIED, S.APPLIED]
    assert trio.current_time() - started >= 600
    rig.close()


async def test_pace_spaces_the_starts(rig: Rig, world: World) -> None:
    items = [item(n + 1, f"u{n}", world) for n in range(8)]
    plan_id = await rig.consumed(items, pace=Pace(2, 100, 0))
    started = trio.current_time()
    await rig.apply(plan_id)
    assert trio.current_time() - started >= 3.5


async def test_percent_stops(rig: Rig, world: World) -> None:
    items = [item(n + 1, f"u{n}", world) for n in range(8)]
    for n in range(3):
        world.faults[f"u{n}"] = ["refused"]
    plan_id = await rig.consumed(items, pace=Pace(1, 20, 0))
    stopped = await rig.apply(plan_id)
    assert "2 of 8 failed (limit 20 %)" in stopped
    assert rig.states(plan_id).count(S.CANCELLED) >= 5


class Unproven(FakeMethod):
    """Nobody can tell of u0 and u1."""

    def judge(self, enforce: Enforcement, seen: Mapping[Address, Seen], ended: Collection[Address]) -> Judgment:
        if enforce.address.endswith(("u0", "u1")):
            return Judgment(Enforced.UNPROVEN, ProofReason.NOT_PROVEN, "not proven: bng-2 did not answer")
        return super().judge(enforce, seen, ended)


async def test_what_is_not_proven_is_no_failure_that_stops_a_batch(tmp_path: Path, world: World) -> None:
    rig = Rig(tmp_path, world, FakeClock())
    rig.connector.access_methods = {"fake": Unproven()}
    items = [item(n + 1, f"u{n}", world) for n in range(8)]
    plan_id = await rig.consumed(items, waves=[Wave(1, 2, 0), Wave(3, 8, 0)], pace=Pace(1, 10, 0))
    assert await rig.apply(plan_id) == ""
    assert rig.states(plan_id) == [*[S.SET_NOT_ENFORCED] * 2, *[S.APPLIED] * 6]
    assert rig.loaded(plan_id).state() is ChangeState.RUNNING or rig.loaded(plan_id).state() is ChangeState.NEEDS_YOU
    assert [rig.loaded(plan_id).rows[n].reason for n in (1, 2, 3)] == ["not-proven", "not-proven", "seen"]
    assert await rig.apply(plan_id) == "", "nor after a restart"
    rig.close()


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[frozenset[Address]]:
    """Return the sessions that earlier attempts were bound to, as each attempt is told."""
    told: list[frozenset[Address]] = []
    bind = FakeSession.bind

    async def telling(session: FakeSession, effect: Effect, earlier: Earlier = NOTHING_EARLIER) -> Earlier:
        told.append(frozenset(earlier))
        return await bind(session, effect, earlier)

    monkeypatch.setattr(FakeSession, "bind", telling)
    return told


async def test_a_second_attempt_is_told_what_the_first_was_bound_to(
    rig: Rig, world: World, told: list[frozenset[Address]]
) -> None:
    world.faults["u0"] = ["", "command-lost"]
    assert await run_one(rig) is S.APPLIED
    assert told == [frozenset(), frozenset({Address("fake/d/session/u0#1")})]


@pytest.mark.parametrize("dies", [False, True])
async def test_an_attempt_of_which_nothing_was_sent_is_none(
    rig: Rig, world: World, told: list[frozenset[Address]], *, dies: bool
) -> None:
    """Its router restarted: the session of then was over, and the new one seemed to be from after the attempt."""
    one = replace(item(1, "u0", world), steps=(Step(1, "fake/d", disconnect("u0")),), enforce=None, desired=())
    plan_id = await rig.consumed([one], action=Action.DISCONNECT)
    world.faults["u0"] = ["away"]
    stop = trio.CancelScope()

    async def redial() -> None:
        await trio.sleep(1)
        assert rig.states(plan_id) == [S.WAITING]
        world.sessions["u0"] = 2
        if dies:
            stop.cancel()

    with stop:
        await rig.apply(plan_id, redial)
    await rig.apply(plan_id)
    assert (rig.states(plan_id), world.kicks) == ([S.APPLIED], ["u0"])
    assert told == [frozenset(), frozenset()]


async def test_a_clock_that_is_set_moves_no_earlier_attempt(
    tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = FakeClock()
    rig = Rig(tmp_path, world, clock)
    told: list[tuple[int, str | None]] = []
    bind = FakeSession.bind

    async def telling(session: FakeSession, effect: Effect, earlier: Earlier = NOTHING_EARLIER) -> Earlier:
        told.extend((round(clock.wall_s()) - seen.at_s, effect.args.get(CLOCK_SET)) for seen in earlier.values())
        found = await bind(session, effect, earlier)
        if not earlier:
            clock.step_wall(-100)
        return {where: replace(seen, at_s=round(clock.wall_s()) + 100) for where, seen in found.items()}

    monkeypatch.setattr(FakeSession, "bind", telling)
    world.faults["u0"] = ["", "command-lost"]
    assert await run_one(rig) is S.APPLIED
    ((ago_s, set_s),) = told
    assert 0 <= ago_s < 60
    assert set_s == "-100"
    rig.close()


async def test_after_a_restart_it_is_known_when_the_writes_were(
    tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seed 29450240 of the simulation: a session that had begun after the write, in the garden, was ended."""
    clock = FakeClock()
    rig = Rig(tmp_path, world, clock)
    stop = trio.CancelScope()
    told: list[float] = []
    bind = FakeSession.bind

    async def stopping(session: FakeSession, effect: Effect, earlier: Earlier = NOTHING_EARLIER) -> Earlier:
        told.append(float(effect.args[IN_FORCE]) - clock.wall_s())
        if len(told) == 1:
            stop.cancel()
            await trio.sleep_forever()
        return await bind(session, effect, earlier)

    monkeypatch.setattr(FakeSession, "bind", stopping)
    plan_id = await rig.consumed([item(1, "u0", world)])
    with stop:
        await rig.apply(plan_id)
    clock.pass_s(600)
    assert await rig.apply(plan_id) == ""
    assert rig.states(plan_id) == [S.APPLIED]
    at_once, later = told
    assert abs(at_once) < 60
    assert later == pytest.approx(at_once - 600, abs=60)
    rig.close()


async def test_a_second_attempt_to_take_back_is_told_so_too(
    rig: Rig, world: World, told: list[frozenset[Address]]
) -> None:
    world.faults.update(u0=["", "", "", "command-lost"], u1=["refused"])
    plan_id = await rig.applied([item(n + 1, f"u{n}", world) for n in range(2)], on_failure=OnFailure.REVERT)
    assert rig.states(plan_id) == [S.REVERTED, S.NOT_APPLIED]
    assert told[-2:] == [frozenset(), frozenset({Address("fake/d/session/u0#2")})]


async def test_on_failure_revert_takes_back_what_stands(rig: Rig, world: World) -> None:
    items = [item(n + 1, f"u{n}", world) for n in range(3)]
    world.faults["u2"] = ["refused"]
    plan_id = await rig.applied(items, on_failure=OnFailure.REVERT)
    assert rig.states(plan_id) == [S.REVERTED, S.REVERTED, S.NOT_APPLIED]
    assert all(world.values[world.user(f"u{n}")] == {"plan": "20M"} for n in range(3))
    assert world.kicks.count("u0") == 2
    assert rig.store.reader.execute("SELECT count(*) FROM reason").fetchone()[0] == 0


@pytest.mark.parametrize(
    ("faults", "state"),
    [
        (["", "", "", *["nak"] * 20], S.NEEDS_A_PERSON),  # suspended and ended; the row is back, the session is not
        (["", "", "", "", *["nak"] * 20], S.REVERTED),
    ],
)
async def test_session_that_cannot_be_ended_on_way_back_needs_person(
    rig: Rig, world: World, faults: list[str], state: S
) -> None:
    world.faults["u0"], world.faults["u1"] = faults, ["refused"]
    items = [item(n + 1, f"u{n}", world) for n in range(2)]
    plan_id = await rig.applied(items, on_failure=OnFailure.REVERT)
    assert rig.states(plan_id) == [state, S.NOT_APPLIED]
    assert world.values[world.user("u0")] == {"plan": "20M"}


def two_writes(world: World) -> Item:
    """Return an item of two steps, each of which writes one resource."""
    first, second = item(1, "u0", world), item(2, "u1", world)
    steps = (first.steps[0], Step(2, second.steps[0].target, second.steps[0].do))
    return replace(first, steps=steps, enforce=None)


SAFE_MODE = Busy("safe-mode", "a safe mode is open", undoes=True)


def of_device(world: World) -> Item:
    """Return an item of two writes that belongs to no service, as a device's preparation does."""
    return replace(two_writes(world), subject=None, desired=())


async def test_e12_half_a_change_waits_while_it_would_be_undone(rig: Rig, world: World) -> None:
    world.on_send = lambda _: setattr(world, "busy", [SAFE_MODE] * 10_000)
    plan_id = await rig.applied([of_device(world)], run_for_s=600)
    assert [login for login, _ in world.writes] == ["u0"]
    assert rig.states(plan_id) == [S.NEEDS_A_PERSON]
    assert rig.loaded(plan_id).rows[1].reason == "safe-mode"


async def test_e12_devices_change_goes_on_once_nothing_would_undo_it(rig: Rig, world: World) -> None:
    sent: list[float] = []

    def opened(_: Ticket) -> None:
        world.busy = [] if sent else [SAFE_MODE] * 20
        sent.append(trio.current_time())

    world.on_send = opened
    plan_id = await rig.applied([of_device(world)])
    assert rig.states(plan_id) == [S.APPLIED]
    assert sent[1] - sent[0] > 300


async def test_e12_a_change_stays_while_its_revert_would_be_undone(rig: Rig, world: World) -> None:
    still: list[int] = []
    world.faults["u1"] = ["refused"]

    def opened(ticket: Ticket) -> None:
        if ticket.direction is Direction.REVERT:
            still.append(len(world.busy))
        elif ticket.step == 2:
            world.busy = [SAFE_MODE] * 40

    world.on_send = opened
    plan_id = await rig.applied([of_device(world)], on_failure=OnFailure.REVERT)
    assert (rig.states(plan_id), still) == ([S.REVERTED], [0])


async def test_on_failure_revert_takes_back_half_an_item(rig: Rig, world: World) -> None:
    world.faults["u1"] = ["refused"]
    plan_id = await rig.applied([two_writes(world)], on_failure=OnFailure.REVERT)
    assert rig.states(plan_id) == [S.REVERTED]
    assert [world.values[world.user(u)] for u in ("u0", "u1")] == [{"plan": "20M"}] * 2
    assert [login for login, _ in world.writes] == ["u0", "u0"]  # there and back; nothing of the other
    assert rig.store.reader.execute("SELECT count(*) FROM reason").fetchone()[0] == 0


async def test_what_another_change_holds_is_taken_back_after_it(rig: Rig, world: World) -> None:
    world.faults["u1"] = ["refused"]
    items = [item(n + 1, f"u{n}", world) for n in range(2)]
    plan_id = await rig.consumed(items, on_failure=OnFailure.REVERT, waves=[Wave(1, 1, 60), Wave(2, 2, 0)])
    other = await rig.consumed([item(1, "u0", world)])

    async def hold() -> None:
        await trio.sleep(30)
        await rig.store.run(Lock(other, 1, (world.user("u0"),)))
        await trio.sleep(200)
        assert rig.states(plan_id) == [S.APPLIED, S.NOT_APPLIED]
        await rig.store.run(item_commands.Unlock(other, 1, (world.user("u0"),)))

    await rig.apply(plan_id, hold)
    assert rig.states(plan_id) == [S.REVERTED, S.NOT_APPLIED]


async def test_what_was_taken_back_before_a_freeze_is_not_again(rig: Rig, world: World) -> None:
    world.faults["u2"] = ["refused"]
    items = [two_writes(world), replace(item(2, "u2", world), enforce=None)]
    plan_id = await rig.consumed(items, on_failure=OnFailure.REVERT)
    freeze = Freeze("1" * 32, "5" * 32, FreezeScope.ALL, "", "joseph", 0)

    def frozen_half_way(ticket: Ticket) -> None:
        if ticket.direction is Direction.REVERT:
            world.on_send = lambda ticket: None
            rig.store.now(stops.RecordFreeze(freeze, bytes(32), b"e", rig.recorder.record(None, {})))

    world.on_send = frozen_half_way

    async def lift() -> None:
        await trio.sleep(200)
        assert [login for login, _ in world.writes] == ["u0", "u1", "u1"]
        unfreeze = Unfreeze("1" * 32, bytes(32).hex(), "joseph", 0)
        await rig.store.run(stops.RecordUnfreeze(unfreeze, b"e", rig.recorder.record(None, {})))

    await rig.apply(plan_id, lift)
    assert rig.states(plan_id) == [S.REVERTED, S.NOT_APPLIED]
    assert [login for login, _ in world.writes] == ["u0", "u1", "u1", "u0"]
    assert len(rig.store.query("SELECT 1 FROM step WHERE direction = 'revert'")) == 2


async def test_each_way_no_more_steps_are_in_flight_than_allowed(
    rig: Rig, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.connector.traits = replace(rig.connector.traits, window=2)
    flying, most = Counter[Direction](), Counter[Direction]()
    send = FakeSession.send

    async def counted(session: FakeSession, ticket: Ticket) -> Reply:
        way = ticket.direction
        flying[way] += 1
        most[way] = max(most[way], flying[way])
        await trio.sleep(1)
        try:
            return await send(session, ticket)
        finally:
            flying[way] -= 1

    monkeypatch.setattr(FakeSession, "send", counted)
    world.faults["u5"] = ["refused"]
    plan_id = await rig.applied([item(n + 1, f"u{n}", world) for n in range(6)], on_failure=OnFailure.REVERT)
    assert rig.states(plan_id) == [*[S.REVERTED] * 5, S.NOT_APPLIED]
    assert most == {Direction.FORWARD: 2, Direction.REVERT: 2}


async def about_to_be_half(folder: Path, world: World) -> tuple[Rig, bytes]:
    """Return a plan that is to be taken back on failure, whose device calls in and refuses its second write."""
    rig = Rig(folder, world, FakeClock(), Reach.ARRIVE)
    world.faults["u1"] = ["refused"] * 10
    plan_id = await rig.consumed([two_writes(world)], on_failure=OnFailure.REVERT)
    return rig, plan_id


async def test_a_half_being_taken_back_at_a_stop_is_read_back_later(tmp_path: Path, world: World) -> None:
    rig, plan_id = await about_to_be_half(tmp_path, world)
    with trio.CancelScope() as stop:

        def hung_up(ticket: Ticket) -> None:
            if ticket.direction is Direction.REVERT:
                world.unreadable = 3
                stop.cancel()

        world.on_took = hung_up
        await rig.apply(plan_id, partial(calls_in, rig))
    assert stop.cancelled_caught
    assert rig.states(plan_id) == [S.NEEDS_A_PERSON]
    rig.close()
    world.on_took, world.unreadable = lambda ticket: None, 0
    rig = Rig(tmp_path, world, FakeClock(), Reach.ARRIVE)
    await rig.apply(plan_id, partial(calls_in, rig))
    assert rig.states(plan_id) == [S.REVERTED]
    assert rig.store.query("SELECT * FROM step WHERE outcome_seq IS NULL") == []
    rig.close()


async def test_a_half_whose_device_stays_away_is_left_to_a_person(tmp_path: Path, world: World) -> None:
    rig, plan_id = await about_to_be_half(tmp_path, world)

    async def calls_in_once() -> None:
        await trio.sleep(5)
        rig.connector.calls_in.set()

    await rig.apply(plan_id, calls_in_once)
    row = rig.loaded(plan_id).rows[1]
    assert (row.state, row.detail) == (
        S.NEEDS_A_PERSON,
        "the device did not call in for 30 s to be given back what it was",
    )
    assert world.values[world.user("u0")] == {"plan": "20M", "suspended": "yes"}
    rig.close()


async def test_a_half_that_waits_to_be_taken_back_is_not_finished(tmp_path: Path, world: World) -> None:
    rig, plan_id = await about_to_be_half(tmp_path, world)
    async with rig.parts() as parts, trio.open_nursery() as nursery:
        run = Run(parts, rig.loaded(plan_id))
        nursery.start_soon(run.run)
        await trio.sleep(2)
        assert run.waits_for("fake/d")
        rig.connector.calls_in.set()
        await becomes(rig, plan_id, S.NEEDS_A_PERSON)
        await trio.sleep(5)
        assert run.waits_for("fake/d")
        assert rig.loaded(plan_id).state() is ChangeState.RUNNING
        nursery.start_soon(calls_in, rig)
        await becomes(rig, plan_id, S.REVERTED)
        assert not run.waits_for("fake/d")
        nursery.cancel_scope.cancel()
    rig.close()


async def becomes(rig: Rig, plan_id: bytes, state: S) -> None:
    while rig.states(plan_id) != [state]:  # noqa: ASYNC110  the store tells nobody
        await trio.sleep(1)


async def calls_in(rig: Rig) -> None:
    while True:
        await trio.sleep(5)
        rig.connector.calls_in.set()


async def test_half_item_of_which_step_is_in_doubt_is_left_to_person(rig: Rig, world: World) -> None:
    world.faults["u1"] = ["reply-lost"]
    plan_id = await rig.consumed([two_writes(world)], on_failure=OnFailure.REVERT)
    world.on_took = lambda ticket: setattr(world, "unreadable", 10_000) if ticket.step == 2 else None
    await rig.apply(plan_id)
    assert rig.states(plan_id) == [S.NEEDS_A_PERSON]
    assert world.values[world.user("u0")] == {"plan": "20M", "suspended": "yes"}


async def test_P20_busy_address_is_refused_for_a_suspension(rig: Rig, world: World) -> None:
    first = await rig.consumed([item(1, "u0", world)])
    async with rig.parts() as parts:
        run = Run(parts, rig.loaded(first))
        held = rig.loaded(first).items.items[0]
        await run.tickets.lock(held, addresses_of(held))
        second = await rig.consumed([item(1, "u0", world)])
        await Run(parts, rig.loaded(second)).run()
    assert rig.states(second) == [S.NOT_APPLIED]
    assert rig.loaded(second).rows[1].reason == "busy"


async def test_cancel_before_the_step_sends_nothing(rig: Rig, world: World) -> None:
    plan_id = await rig.consumed([item(1, "u0", world)])
    digest = rig.loaded(plan_id).row.digest.hex()
    cancel = Cancel("1" * 32, "4" * 32, (digest,), "joseph", 0)
    await rig.store.run(stops.RecordCancel(cancel, b"e", rig.recorder.record(None, {})))
    await rig.apply(plan_id)
    assert rig.states(plan_id) == [S.CANCELLED]
    assert world.writes == []


async def test_freeze_pauses_and_unfreeze_goes_on(rig: Rig, world: World) -> None:
    plan_id = await rig.consumed([item(1, "u0", world)])
    freeze = Freeze("1" * 32, "5" * 32, FreezeScope.ALL, "", "joseph", 0)
    await rig.store.run(stops.RecordFreeze(freeze, bytes(32), b"e", rig.recorder.record(None, {})))

    async def go_on() -> None:
        await trio.sleep(100)
        assert world.writes == []
        await lift(rig)

    await rig.apply(plan_id, go_on)
    assert rig.states(plan_id) == [S.APPLIED]


async def test_frozen_until_the_deadline_is_expired(rig: Rig, world: World) -> None:
    plan_id = await rig.consumed([item(1, "u0", world)])
    freeze = Freeze("1" * 32, "5" * 32, FreezeScope.PERSON, "maria", "joseph", 0)
    await rig.store.run(stops.RecordFreeze(freeze, bytes(32), b"e", rig.recorder.record(None, {})))
    await rig.apply(plan_id)
    assert rig.states(plan_id) == [S.EXPIRED]
    assert world.writes == []


async def test_device_that_calls_in_is_waited_for(tmp_path: Path, world: World) -> None:
    rig = Rig(tmp_path, world, FakeClock(), Reach.ARRIVE)
    plan_id = await rig.consumed([item(1, "u0", world)])

    async def call_in() -> None:
        await trio.sleep(600)
        assert rig.states(plan_id) == [S.WAITING]
        assert rig.store.reader.execute("SELECT count(*) FROM address_lock").fetchone()[0] == 0
        rig.connector.calls_in.set()

    await rig.apply(plan_id, call_in)
    assert rig.states(plan_id) == [S.APPLIED]
    rig.close()


async def test_device_that_never_calls_in_expires(tmp_path: Path, world: World) -> None:
    rig = Rig(tmp_path, world, FakeClock(), Reach.ARRIVE)
    plan_id = await rig.applied([item(1, "u0", world)])
    assert rig.states(plan_id) == [S.EXPIRED]
    assert world.writes == []
    rig.close()


@pytest.mark.parametrize("reach", list(Reach))
async def test_a_clock_that_is_set_back_puts_off_no_deadline(tmp_path: Path, world: World, reach: Reach) -> None:
    clock = FakeClock()
    rig = Rig(tmp_path, world, clock, reach)
    world.dead.add("fake/d")
    plan_id = await rig.consumed([item(1, "u0", world)], run_for_s=60)
    left_s = rig.loaded(plan_id).row.run_until.wall_s - clock.wall_s()
    clock.step_wall(-250)
    began = trio.current_time()
    await rig.apply(plan_id)
    assert rig.states(plan_id) == [S.EXPIRED]
    assert left_s <= trio.current_time() - began < left_s + 5
    rig.close()


@pytest.mark.parametrize("end", ["cancelled", "deadline"])
async def test_what_was_begun_is_judged_past_a_stop(
    tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    rig = Rig(tmp_path, world, FakeClock(), Reach.ARRIVE)
    one = item(1, "u0", world)
    assert one.enforce is not None
    plan_id = await rig.consumed([replace(one, enforce=replace(one.enforce, within_s=30))], run_for_s=60)
    row = rig.loaded(plan_id).row
    cancel = Cancel("1" * 32, "4" * 32, (row.digest.hex(),), "joseph", 0)
    until_s = trio.current_time() + row.run_until.wall_s - rig.clock.wall_s()
    monkeypatch.setattr(
        FakeMethod,
        "judge",
        lambda *_: Judgment(Enforced.YES if trio.current_time() > until_s + 10 else Enforced.NO, "seen"),
    )

    async def call_in() -> None:
        await trio.sleep_until(until_s - 5)
        rig.connector.calls_in.set()
        await trio.sleep(2)
        if end == "cancelled":
            await rig.store.run(stops.RecordCancel(cancel, b"e", rig.recorder.record(None, {})))

    await rig.apply(plan_id, call_in)
    assert rig.states(plan_id) == [S.APPLIED]
    assert trio.current_time() > until_s + 10
    rig.close()


async def test_a_device_held_by_another_change_is_waited_for(tmp_path: Path, world: World) -> None:
    rig = Rig(tmp_path, world, FakeClock(), Reach.ARRIVE)
    other = await rig.consumed([item(1, "u0", world)], run_for_s=36_000)
    await rig.store.run(Lock(other, 1, (world.user("u0"),)))
    plan_id = await rig.consumed([item(1, "u0", world)], run_for_s=60)

    async def call_in() -> None:
        await trio.sleep(5)
        rig.connector.calls_in.set()

    with trio.move_on_after(7_200) as patience:
        await rig.apply(plan_id, call_in)
    assert not patience.cancelled_caught
    assert (rig.states(plan_id), rig.loaded(plan_id).rows[1].reason) == ([S.NOT_APPLIED], "busy")
    assert world.writes == []
    rig.close()


async def test_restore_follows_a_suspension_that_holds_the_address(rig: Rig, world: World) -> None:
    first = await rig.consumed([item(1, "u0", world)])
    second = await rig.consumed([item(1, "u0", world)], action=Action.RESTORE)
    address = world.user("u0")
    await rig.store.run(item_commands.Lock(first, 1, (address,)))

    async def give_back() -> None:
        await trio.sleep(20)
        await rig.store.run(item_commands.Unlock(first, 1, (address,)))

    await rig.apply(second, give_back)
    assert rig.states(second) == [S.APPLIED]


async def test_giving_back_leaves_what_others_hold(rig: Rig, world: World) -> None:
    plan_id = await rig.save_plan([item(1, "u0", world), item(2, "u1", world)])
    mine, shared, theirs = (Address(f"fake/d/user/{name}") for name in ("mine", "shared", "theirs"))
    await rig.store.run(item_commands.Lock(plan_id, 1, (mine, shared)))
    await rig.store.run(item_commands.Lock(plan_id, 2, (shared, theirs)))
    await rig.store.run(item_commands.Unlock(plan_id, 2, (shared, theirs, mine)))
    held = rig.store.query("SELECT address FROM address_lock ORDER BY address")
    assert [row["address"] for row in held] == [mine, shared]


async def test_what_two_items_hold_is_held_until_both_have_ended(rig: Rig, world: World) -> None:
    plan_id = await rig.save_plan([item(1, "u0", world), item(2, "u0", world)])
    other = await rig.save_plan([item(1, "u0", world)])
    shared = (world.user("u0"),)
    for n in (1, 2):
        await rig.store.run(item_commands.Lock(plan_id, n, shared))
    for n in (1, 2):
        with pytest.raises(RefusedCommandError, match="busy with change"):
            await rig.store.run(item_commands.Lock(other, 1, shared))
        await rig.store.run(item_commands.Unlock(plan_id, n, shared))
    await rig.store.run(item_commands.Lock(other, 1, shared))


async def test_what_was_taken_back_is_held_until_it_is_recorded_so(rig: Rig, world: World) -> None:
    """In between, another change would rest on a reason that stands no more in the network."""
    items = [item(n + 1, f"u{n}", world) for n in range(2)]
    world.faults["u1"] = ["refused"]
    plan_id = await rig.consumed(items, on_failure=OnFailure.REVERT, waves=[Wave(1, 1, 5), Wave(2, 2, 0)])
    began, unheld = [], []
    run = rig.store.run

    async def looked_at(command: Any) -> Any:
        done = await run(command)
        reasons = rig.store.query("SELECT 1 FROM reason")
        if isinstance(command, item_commands.AboutTo) and command.direction is Direction.REVERT:
            began.append(command)
        if began and reasons and not rig.store.query("SELECT 1 FROM address_lock WHERE item = 1"):
            unheld.append(command)
        return done

    rig.store.run = looked_at  # type: ignore[method-assign] # to look at what is durable after each command
    await rig.apply(plan_id)
    assert rig.states(plan_id) == [S.REVERTED, S.NOT_APPLIED]
    assert began
    assert unheld == []
    assert rig.store.query("SELECT 1 FROM address_lock") == []


async def test_the_fate_of_a_step_is_found_though_its_item_crashed(rig: Rig, world: World) -> None:
    """The run is over, and its addresses free, only once it is known what the step did."""
    plan_id = await rig.consumed([item(1, "u0", world), item(2, "u1", world)], on_failure=OnFailure.CONTINUE)
    faults = ["once"]

    def crash(ticket: Ticket) -> None:
        if ticket.item == 1 and faults:
            faults.pop()
            raise RuntimeError("a fault of ours, after the device took it")

    world.on_took = crash
    await rig.apply(plan_id)
    assert rig.states(plan_id) == [S.NEEDS_A_PERSON, S.APPLIED]
    assert world.writes.count(("u0", {"plan": "20M", "suspended": "yes"})) == 1
    (step,) = rig.store.query("SELECT verdict FROM step WHERE item = 1")
    assert step["verdict"] == "applied"
    assert rig.store.query("SELECT 1 FROM address_lock") == []


async def test_a_step_whose_fate_cannot_be_found_is_called_unknown(rig: Rig, world: World) -> None:
    plan_id = await rig.consumed([item(1, "u0", world)])

    def crash(ticket: Ticket) -> None:
        world.unreadable = 10**6
        raise RuntimeError("a fault of ours, after the device took it")

    world.on_took = crash
    await rig.apply(plan_id)
    assert rig.states(plan_id) == [S.NEEDS_A_PERSON]
    assert [r["verdict"] for r in rig.store.query("SELECT verdict FROM step")] == ["unknown"]
    assert rig.store.query("SELECT 1 FROM address_lock") == []


async def test_a_step_whose_look_crashes_too_is_called_unknown(
    rig: Rig, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan_id = await rig.consumed([item(1, "u0", world)])

    async def no_look(session: FakeSession, addresses: Collection[Address]) -> Mapping[Address, Seen]:
        raise RuntimeError("a fault of ours, when it looks")

    def crash(ticket: Ticket) -> None:
        monkeypatch.setattr(FakeSession, "read", no_look)
        raise RuntimeError("a fault of ours, after the device took it")

    world.on_took = crash
    await rig.apply(plan_id)
    assert rig.states(plan_id) == [S.NEEDS_A_PERSON]
    (step,) = rig.store.query("SELECT verdict, reason, detail FROM step")
    assert tuple(step) == ("unknown", "given-up", "a fault of the agent's own, also when it looked what became of it")
    assert rig.store.query("SELECT 1 FROM address_lock") == []


@pytest.mark.parametrize(("lost", "stops"), [(2, False), (3, True)])
async def test_lost_sessions_that_are_not_on_the_list_stop_it(rig: Rig, world: World, lost: int, stops: bool) -> None:
    rig.census = {"fake/d": Address("fake/d/online/all")}
    items = [item(n + 1, f"u{n}", world) for n in range(4)]
    plan_id = await rig.consumed(items, waves=[Wave(1, 1, 60), Wave(2, 4, 0)], pace=Pace(0, 100, 2))

    async def outage() -> None:
        await trio.sleep(30)
        for n in range(lost):
            del world.sessions[f"u{7 - n}"]

    stopped = await rig.apply(plan_id, outage)
    assert stopped == ("3 sessions lost at fake/d that are not on the list" if stops else "")
    assert rig.states(plan_id).count(S.CANCELLED) == (3 if stops else 0)


@pytest.mark.parametrize(("count", "most", "reads"), [(1, 10, False), (3, 0, False), (3, 10, True)])
async def test_sessions_are_listed_where_lost_ones_could_stop_it(
    rig: Rig, world: World, count: int, most: int, reads: bool
) -> None:
    rig.census = {"fake/d": Address("fake/d/online/all")}
    items = [item(n + 1, f"u{n}", world) for n in range(count)]
    plan_id = await rig.consumed(items, pace=Pace(0, 100, most))
    await rig.apply(plan_id)
    assert rig.states(plan_id) == [S.APPLIED] * count
    assert (world.censuses > 0) is reads


async def test_freeze_holds_declared_revert_and_keeps_nothing_locked(rig: Rig, world: World) -> None:
    items = [item(n + 1, f"u{n}", world) for n in range(2)]
    world.faults["u1"] = ["refused"]
    plan_id = await rig.consumed(items, on_failure=OnFailure.REVERT, waves=[Wave(1, 1, 5), Wave(2, 2, 0)])
    freeze = Freeze("1" * 32, "5" * 32, FreezeScope.ALL, "", "joseph", 0)

    def frozen_while_the_second_fails(ticket: Ticket) -> None:
        if ticket.item == 2:
            rig.store.now(stops.RecordFreeze(freeze, bytes(32), b"e", rig.recorder.record(None, {})))

    world.on_send = frozen_while_the_second_fails

    async def lift() -> None:
        await trio.sleep(200)
        assert rig.states(plan_id) == [S.APPLIED, S.NOT_APPLIED]
        assert len(world.writes) == 1
        assert rig.store.reader.execute("SELECT count(*) FROM address_lock").fetchone()[0] == 0
        unfreeze = Unfreeze("1" * 32, bytes(32).hex(), "joseph", 0)
        await rig.store.run(stops.RecordUnfreeze(unfreeze, b"e", rig.recorder.record(None, {})))

    await rig.apply(plan_id, lift)
    assert rig.states(plan_id) == [S.REVERTED, S.NOT_APPLIED]
    assert world.values[world.user("u0")] == {"plan": "20M"}


# --- guards ---


def guarded(n: int, login: str, world: World) -> Item:
    """Return an item whose last write asks for a confirmed commit."""
    plain = item(n, login, world)
    write, drop = plain.steps
    return replace(plain, steps=(write, drop, replace(write, n=3, after=(2,), guard=GuardKind.CONFIRMED_COMMIT)))


async def test_guard_that_no_connector_has_sends_nothing_of_its_item(rig: Rig, world: World) -> None:
    plan_id = await rig.applied([guarded(1, "u0", world), item(2, "u1", world)], on_failure=OnFailure.CONTINUE)
    assert rig.states(plan_id) == [S.NOT_APPLIED, S.APPLIED]
    row = rig.loaded(plan_id).rows[1]
    assert row.reason == "guard-unsupported"
    assert "step 3 on fake/d asks for confirmed-commit" in row.detail
    assert [login for login, _ in world.writes] == ["u1"]


class TellingSession(FakeSession):
    """A device whose effects prove themselves by what it tells when it calls in."""

    def tells(self, effect: Effect) -> bool:
        return effect.verb == "disconnect"


@pytest.mark.parametrize("made", [TellingSession, FakeSession])
async def test_d6_a_device_is_let_go_once_it_accepted_the_last_effect(
    tmp_path: Path, world: World, made: type[FakeSession]
) -> None:
    """As a CPE with new firmware: what it does now it tells at its next call, and it begins when the session ends."""
    rig = Rig(tmp_path, world, FakeClock(), Reach.ARRIVE)
    left: list[S] = []

    async def serve(arrived: Callable[[Session], Awaitable[None]]) -> None:
        while True:
            await rig.connector.calls_in.wait()
            rig.connector.calls_in = trio.Event()
            await arrived(made(world, rig.connector.targets[0]))
            left.append(rig.states(plan_id)[0])

    rig.connector.serve = serve  # type: ignore[method-assign]  # a stand-in of the test
    world.faults["u0"] = ["", "ack-without-effect"]
    plan_id = await rig.consumed([item(1, "u0", world)])

    async def calls() -> None:
        await trio.sleep(60)
        rig.connector.calls_in.set()
        await trio.sleep(2)
        assert rig.states(plan_id) == [S.RUNNING]
        assert left == ([S.RUNNING] if made is TellingSession else [])
        world.sessions["u0"] += 1  # what it was told to do
        world.values[world.user("u0")] = {"plan": "20M", "suspended": "yes"}

    await rig.apply(plan_id, calls)
    assert rig.states(plan_id) == [S.APPLIED]
    rig.close()
