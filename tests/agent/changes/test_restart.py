"""Runs that are stopped, overtaken or started again: what they say is true, and nothing is sent that should not be."""

from __future__ import annotations

import sqlite3
from contextlib import AbstractAsyncContextManager, closing
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from agent.changes.auditlog import recovery
from agent.changes.authority import stops
from agent.changes.engine.apply import Run
from agent.changes.engine.tickets import addresses_of
from agent.changes.journal import commands, item_commands, plans
from agent.changes.journal.machine import Event
from agent.changes.retry import ReopenRun
from agent.connectors.base import Busy, Reach, Session, UnreadableError
from agent.model import Effect, ItemState, Pace, ProofKind, Target, Ticket, Wave
from agent.reasons import RefusalReason
from agent.runtime.clock import now_of
from agent.store.errors import LogCorruptError, RefusedCommandError
from tests.builders.clock import FakeClock
from tests.builders.job import CrashedError, Rig, item
from tests.builders.office import Office, approval
from tests.builders.store import AddService
from tests.builders.world import World
from trust.items import ReasonChange, SuspensionReason
from trust.leaf import LeafKind
from trust.policy import Action
from trust.statements import Cancel, Freeze, FreezeScope, OnFailure

pytestmark = pytest.mark.virtual_time

S = ItemState


def nobody_there(target: Target) -> AbstractAsyncContextManager[Session]:
    raise UnreadableError("no route", reason="unreachable")


def reborn(rig: Rig) -> None:
    """Nothing of the process is left but its files."""
    rig.store.dead, rig.store.die_at, rig.store.between = False, None, None


async def crash_after(rig: Rig, plan_id: bytes, about: int) -> None:
    """Run until the outcome of the `about`-th step is durable, then die before the next command.

    The device is busy after that step: an outcome that could wait for the next "about to" is made durable at once.
    """

    def busy_after_it(ticket: Ticket) -> None:
        if ticket.step == about:
            rig.world.busy = [Busy("busy-cpu", "CPU at 93 %")] * 100

    def between(n: int) -> None:
        steps = rig.store.reader.execute("SELECT count(*) FROM step WHERE outcome_seq IS NOT NULL").fetchone()[0]
        if steps >= about:
            rig.store.dead = True
            raise CrashedError

    rig.store.between, rig.world.on_send = between, busy_after_it
    with pytest.raises(BaseExceptionGroup):
        await rig.apply(plan_id)
    rig.world.on_send, rig.world.busy = lambda ticket: None, []
    reborn(rig)


# --- an erased subscriber ---


def erased(rig: Rig, subscriber: str) -> Rig:
    """Return the agent's next life, after a subscriber's key was deleted."""
    gone = rig.vault.subject_id(subscriber)
    rig.close()
    with closing(sqlite3.connect(rig.folder / "keys.db")) as con, con:
        con.execute("DELETE FROM subject WHERE id = ?", (gone,))
    return Rig(rig.folder, rig.world, FakeClock())


async def test_an_erased_subscriber_ends_its_own_item_only(tmp_path: Path, world: World) -> None:
    rig = Rig(tmp_path, world, FakeClock())
    plan_id = await rig.consumed([item(n + 1, f"u{n}", world) for n in range(3)], on_failure=OnFailure.CONTINUE)
    rig = erased(rig, "C-u1")
    await rig.apply(plan_id)
    assert rig.states(plan_id) == [S.APPLIED, S.CANCELLED, S.APPLIED]
    (told,) = rig.store.query("SELECT reason, detail FROM item WHERE n = 2")
    assert tuple(told) == ("erased", "subject key missing: its subscriber was erased")
    assert {login for login, _ in world.writes} == {"u0", "u2"}
    rig.evidence.verify()
    rig.close()


async def test_what_was_begun_of_an_erased_subscriber_needs_a_person(tmp_path: Path, world: World) -> None:
    """Nothing of it is sent or taken back any more."""
    rig = Rig(tmp_path, world, FakeClock())
    items = [item(n + 1, f"u{n}", world) for n in range(2)]
    plan_id = await rig.consumed(items, waves=[Wave(1, 1, 0), Wave(2, 2, 0)], on_failure=OnFailure.REVERT)
    await crash_after(rig, plan_id, 1)
    sent = list(world.writes)
    rig = erased(rig, "C-u0")
    await rig.apply(plan_id)
    assert rig.states(plan_id)[0] is S.NEEDS_A_PERSON
    assert [login for login, _ in world.writes if login == "u0"] == [login for login, _ in sent]
    assert rig.loaded(plan_id).rows[1].detail == "subject key missing: its subscriber was erased"
    rig.close()


async def test_an_older_versions_plan_goes_on_after_an_erasure(tmp_path: Path, world: World) -> None:
    rig = Rig(tmp_path, world, FakeClock())
    items = [item(n + 1, f"u{n}", world) for n in range(3)]
    plan_id = await rig.consumed(items, on_failure=OnFailure.CONTINUE)
    rig.store._con.execute("UPDATE item SET leaf = NULL")
    assert await recovery.keep_leaves(rig.store, rig.vault) == 3
    rig.store._con.execute("UPDATE item SET leaf = NULL WHERE n = 1")
    assert await recovery.keep_leaves(rig.store, rig.vault) == 0, "no start looks at all items again"
    rig.store._con.execute("DELETE FROM meta WHERE key = ?", (recovery.LEAVES_KEPT,))
    assert await recovery.keep_leaves(rig.store, rig.vault) == 1
    rig = erased(rig, "C-u0")
    await rig.apply(plan_id)
    assert rig.states(plan_id) == [S.CANCELLED, S.APPLIED, S.APPLIED]
    rig.close()


async def test_a_plan_of_one_erased_before_leaf_hashes_does_not_open(tmp_path: Path, world: World) -> None:
    rig = Rig(tmp_path, world, FakeClock())
    plan_id = await rig.consumed([item(1, "u0", world), item(2, "u1", world)])
    rig.store._con.execute("UPDATE item SET leaf = NULL")
    rig = erased(rig, "C-u0")
    assert await recovery.keep_leaves(rig.store, rig.vault) == 1
    with pytest.raises(LogCorruptError, match="item 1 cannot be opened: its subscriber was erased"):
        rig.loaded(plan_id)
    rig.close()


# --- a restore takes the place of what is unsent, also of what is already running ---


async def test_what_a_restore_superseded_is_not_sent(rig: Rig, world: World) -> None:
    plan_id = await rig.consumed([item(1, "u0", world)])
    sealed = rig.recorder.record("C-u0/home", {})

    def between(n: int) -> None:
        rig.store.between = None
        move = item_commands.MoveItem(plan_id, 1, Event.SUPERSEDE, "superseded", "by K7QF", sealed)
        rig.store.now(move)

    rig.store.between = between
    await rig.apply(plan_id)
    assert rig.states(plan_id) == [S.SUPERSEDED]
    assert not world.writes
    assert not world.kicks
    assert rig.store.reader.execute("SELECT count(*) FROM address_lock").fetchone()[0] == 0


async def test_a_reason_that_a_restore_superseded_is_not_recorded(rig: Rig, world: World) -> None:
    alone = replace(item(1, "u0", world), steps=(), enforce=None)
    plan_id = await rig.consumed([alone, item(2, "u1", world)])
    sealed = rig.recorder.record("C-u0/home", {})

    def between(n: int) -> None:
        rig.store.between = None
        move = item_commands.MoveItem(plan_id, 1, Event.SUPERSEDE, "superseded", "by K7QF", sealed)
        rig.store.now(move)

    rig.store.between = between
    await rig.apply(plan_id)
    assert rig.states(plan_id) == [S.SUPERSEDED, S.APPLIED]
    assert [r["service"] for r in rig.store.query("SELECT service FROM reason")] == ["C-u1/home"]


async def test_stopping_the_rest_leaves_what_was_superseded(rig: Rig, world: World) -> None:
    plan_id = await rig.consumed([item(n + 1, f"u{n}", world) for n in range(3)], waves=[Wave(1, 1, 30), Wave(2, 3, 0)])
    world.faults["u0"] = ["refused"]

    async def overtake() -> None:
        move = item_commands.MoveItem(
            plan_id, 3, Event.SUPERSEDE, "superseded", "", rig.recorder.record("C-u2/home", {})
        )
        await rig.store.run(move)

    await rig.apply(plan_id, overtake)
    assert rig.states(plan_id) == [S.NOT_APPLIED, S.CANCELLED, S.SUPERSEDED]


# --- what stands is said, also when the time is over or the device is away ---


async def test_a_write_that_stands_is_not_called_expired(rig: Rig, world: World) -> None:
    plan_id = await rig.consumed([item(1, "u0", world)])
    await crash_after(rig, plan_id, 1)
    assert len(world.writes) == 1
    assert isinstance(rig.clock, FakeClock)
    rig.clock.step_wall(86_400)
    await rig.apply(plan_id)
    assert rig.states(plan_id) == [S.SET_NOT_ENFORCED]
    assert rig.loaded(plan_id).rows[1].reason == "expired"
    assert world.kicks == []


async def test_a_standing_write_has_not_failed_if_the_device_is_away(rig: Rig, world: World) -> None:
    plan_id = await rig.consumed([item(1, "u0", world)])
    await crash_after(rig, plan_id, 1)

    rig.connector.dial = nobody_there  # type: ignore[method-assign, assignment]  # what the device does, not what is tested
    await rig.apply(plan_id)
    assert rig.states(plan_id) == [S.SET_NOT_ENFORCED]
    assert rig.loaded(plan_id).rows[1].reason == "unreachable"


async def test_step_in_doubt_at_device_that_is_gone_needs_person(rig: Rig, world: World) -> None:
    plan_id = await rig.consumed([item(1, "u0", world)])
    rig.store.seen, rig.store.die_at, rig.store.die_after = 0, 1, True  # the about-to
    with pytest.raises(BaseExceptionGroup):
        await rig.apply(plan_id)
    reborn(rig)

    rig.connector.dial = nobody_there  # type: ignore[method-assign, assignment]  # what the device does, not what is tested
    await rig.apply(plan_id)
    assert rig.states(plan_id) == [S.NEEDS_A_PERSON]
    assert rig.store.reader.execute("SELECT count(*) FROM step WHERE outcome_seq IS NULL").fetchone()[0] == 0


async def test_a_try_that_was_lost_before_a_restart_is_told(rig: Rig, world: World) -> None:
    """The next one is refused: that something was sent, and may have been had, is still the item's reason."""
    one = item(1, "u0", world)
    step = one.steps[1]
    assert isinstance(step.do, Effect)
    reboot = replace(step, n=1, after=(), do=replace(step.do, proof=ProofKind.CHANGED))
    world.faults["u0"] = ["command-lost", "refused"]
    plan_id = await rig.consumed([replace(one, steps=(reboot,), enforce=None, desired=())])
    await crash_after(rig, plan_id, 1)
    await rig.apply(plan_id)
    row = rig.loaded(plan_id).rows[1]
    assert (row.state, row.reason) == (S.NOT_APPLIED, "lost-timeout")
    assert row.detail.endswith("· refused before anything was sent")


async def test_accepted_and_never_readable_needs_a_person(rig: Rig, world: World) -> None:
    plan_id = await rig.consumed([item(1, "u0", world)])
    world.on_took = lambda ticket: setattr(world, "unreadable", 10_000)
    await rig.apply(plan_id)
    assert rig.states(plan_id) == [S.NEEDS_A_PERSON]


async def test_a_third_value_stays_diverged_after_a_crash(rig: Rig, world: World) -> None:
    world.faults["u0"] = ["third-value"]
    plan_id = await rig.consumed([item(1, "u0", world)])
    await crash_after(rig, plan_id, 1)
    await rig.apply(plan_id)
    assert rig.states(plan_id) == [S.DIVERGED]
    assert len(world.writes) == 1


async def test_what_was_refused_before_a_crash_is_not_sent_again(rig: Rig, world: World) -> None:
    world.faults["u0"] = ["", "nak"]
    plan_id = await rig.consumed([item(1, "u0", world)])
    await crash_after(rig, plan_id, 2)
    await rig.apply(plan_id)
    assert (rig.states(plan_id), world.kicks) == ([S.SET_NOT_ENFORCED], [])
    assert rig.loaded(plan_id).rows[1].reason == "nak-503"


async def test_the_agents_death_costs_a_step_no_attempt(rig: Rig, world: World) -> None:
    """It died before the first byte. Two attempts are the device's own, and it loses the first."""
    world.faults["u0"] = ["command-lost"]
    plan_id = await rig.consumed([item(1, "u0", world)])
    rig.store.seen, rig.store.die_at, rig.store.die_after = 0, 1, True  # the about-to
    with pytest.raises(BaseExceptionGroup):
        await rig.apply(plan_id)
    reborn(rig)
    await rig.apply(plan_id)
    assert (rig.states(plan_id), world.kicks) == ([S.APPLIED], ["u0"])


async def test_an_attempt_that_the_device_lost_counts_after_a_crash(rig: Rig, world: World) -> None:
    world.faults["u0"] = ["command-lost", "command-lost"]
    plan_id = await rig.consumed([item(1, "u0", world)])
    await crash_after(rig, plan_id, 1)
    await rig.apply(plan_id)
    assert (rig.states(plan_id), world.writes) == ([S.NOT_APPLIED], [])


async def test_nothing_to_disconnect_is_done(rig: Rig, world: World) -> None:
    kick = item(1, "u0", world)
    kick = replace(kick, steps=(replace(kick.steps[1], n=1, after=()),), enforce=None, desired=())
    del world.sessions["u0"]
    plan_id = await rig.consumed([kick])
    await rig.apply(plan_id)
    assert rig.states(plan_id) == [S.APPLIED]
    assert rig.loaded(plan_id).rows[1].reason == "nothing-to-do"


async def test_reason_only_items_are_recorded_once_and_taken_back(rig: Rig, world: World) -> None:
    alone = replace(
        item(1, "u0", world), steps=(), enforce=None, desired=(ReasonChange(SuspensionReason.ABUSE, added=True),)
    )
    plan_id = await rig.consumed([alone, item(2, "u1", world)], on_failure=OnFailure.REVERT)
    world.faults["u1"] = ["refused"]
    await rig.apply(plan_id)
    assert rig.states(plan_id) == [S.REVERTED, S.NOT_APPLIED]
    assert rig.store.reader.execute("SELECT count(*) FROM reason").fetchone()[0] == 0


# --- stop rules outlive a restart ---


async def die_when(rig: Rig, plan_id: bytes, sql: str) -> None:
    def between(n: int) -> None:
        if rig.store.reader.execute(sql).fetchone()[0]:
            rig.store.dead = True
            raise CrashedError

    rig.store.between = between
    with pytest.raises(BaseExceptionGroup):
        await rig.apply(plan_id)
    reborn(rig)


async def test_a_failed_canary_still_stops_the_rest_after_a_crash(rig: Rig, world: World) -> None:
    items = [item(n + 1, f"u{n}", world) for n in range(4)]
    world.faults["u0"] = ["refused"]
    plan_id = await rig.consumed(items, waves=[Wave(1, 1, 30), Wave(2, 4, 0)])
    await die_when(rig, plan_id, "SELECT count(*) FROM item WHERE state = 'not-applied'")
    assert (await rig.apply(plan_id)).startswith("canary")
    assert rig.states(plan_id) == [S.NOT_APPLIED, S.CANCELLED, S.CANCELLED, S.CANCELLED]
    assert world.writes == []


async def test_a_stop_outlives_a_crash_while_the_rest_is_cancelled(rig: Rig, world: World) -> None:
    items = [item(n + 1, f"u{n}", world) for n in range(4)]
    world.faults["u0"] = ["refused"]
    plan_id = await rig.consumed(items, waves=[Wave(1, 1, 30), Wave(2, 4, 0)])
    await die_when(rig, plan_id, "SELECT count(*) FROM item WHERE state = 'cancelled'")
    assert (await rig.apply(plan_id)).startswith("canary")
    assert rig.states(plan_id).count(S.CANCELLED) == 3


async def test_steps_whose_fate_a_crash_left_open_are_no_failures(rig: Rig, world: World) -> None:
    items = [item(n + 1, f"u{n}", world) for n in range(4)]
    plan_id = await rig.consumed(items, pace=Pace(0, 20, 0))
    await die_when(rig, plan_id, "SELECT count(*) >= 2 FROM step")
    assert await rig.apply(plan_id) == ""
    assert rig.states(plan_id) == [S.APPLIED] * 4


async def test_a_stop_finishes_what_was_begun_before_a_crash(rig: Rig, world: World) -> None:
    items = [item(n + 1, f"u{n}", world) for n in range(4)]
    plan_id = await rig.consumed(items, pace=Pace(0, 20, 0))
    world.faults["u0"] = ["refused"]
    world.no_redial.add("u3")  # it is waited for
    await die_when(
        rig,
        plan_id,
        "SELECT count(*) = 2 FROM item WHERE state = 'not-applied' OR (state = 'running' AND n = 4)",
    )
    assert rig.states(plan_id)[3] is S.RUNNING
    assert (await rig.apply(plan_id)).startswith("1 of 4 failed")
    assert rig.states(plan_id)[0] is S.NOT_APPLIED
    assert rig.states(plan_id)[3] is S.SET_AT_NEXT_LOGIN
    assert not {S.RUNNING, S.UNKNOWN} & set(rig.states(plan_id))


async def test_a_soak_is_not_skipped_by_a_crash(rig: Rig, world: World) -> None:
    items = [item(n + 1, f"u{n}", world) for n in range(2)]
    plan_id = await rig.consumed(items, waves=[Wave(1, 1, 300), Wave(2, 2, 0)])
    await die_when(rig, plan_id, "SELECT count(*) FROM item WHERE state = 'applied'")
    started = trio.current_time()
    await rig.apply(plan_id)
    assert trio.current_time() - started >= 300
    assert rig.states(plan_id) == [S.APPLIED, S.APPLIED]


async def test_a_stop_reaches_those_who_wait_for_their_turn(rig: Rig, world: World) -> None:
    """Twelve start at once, eight may be in flight: the four behind them are not begun once the run is stopped."""
    for n in range(8):
        world.faults[f"u{n}"] = ["refused"]
    plan_id = await rig.consumed([item(n + 1, f"u{n}", world) for n in range(12)], pace=Pace(0, 10, 0))
    stopped = await rig.apply(plan_id)
    assert "failed (limit 10 %)" in stopped
    assert S.CANCELLED in rig.states(plan_id)


# --- pauses, locks ---


async def test_a_frozen_change_does_not_block_the_target_for_others(rig: Rig, world: World) -> None:
    frozen = await rig.consumed([item(n + 1, f"u{n}", world) for n in range(9)])
    freeze = Freeze("1" * 32, "5" * 32, FreezeScope.ALL, "", "joseph", 0)
    await rig.store.run(stops.RecordFreeze(freeze, bytes(32), b"e", rig.recorder.record(None, {})))
    async with rig.parts() as parts, trio.open_nursery() as nursery:
        nursery.start_soon(Run(parts, rig.loaded(frozen)).run)
        await trio.sleep(30)
        places = await parts.sessions.places("fake/d")
        with trio.fail_after(60):
            async with places:
                pass
        nursery.cancel_scope.cancel()
    assert world.writes == []


async def test_locks_of_what_is_over_are_given_back_at_the_restart(rig: Rig, world: World) -> None:
    """An agent that gave addresses back in a commit of its own may have died before that one."""
    one = item(1, "u0", world)
    plan_id = await rig.consumed([one])
    await rig.apply(plan_id)
    assert plans.locked(rig.store.reader, plan_id) == []
    await rig.store.run(item_commands.Lock(plan_id, 1, addresses_of(one)))
    await rig.apply(plan_id)
    assert plans.locked(rig.store.reader, plan_id) == []


# --- retry ---


async def test_retry_ends_the_session_again_and_writes_nothing(rig: Rig, world: World) -> None:
    await rig.store.run(AddService("C-u0/home"))
    world.faults["u0"] = ["", "nak"]
    plan_id = await rig.consumed([item(1, "u0", world)])
    await rig.apply(plan_id)
    record = rig.recorder.record(None, {})
    await rig.store.run(commands.Finish(plan_id, b"outcome", lambda _: record))
    assert (rig.states(plan_id), world.kicks) == ([S.SET_NOT_ENFORCED], [])
    seals = ((rig.loaded(plan_id).items.items[0], rig.recorder.record("C-u0/home", {})),)
    await rig.store.run(ReopenRun(plan_id, seals, now_of(rig.clock), record))
    await rig.apply(plan_id)
    assert (rig.states(plan_id), world.kicks, len(world.writes)) == ([S.APPLIED], ["u0"], 1)


async def test_a_retry_holds_the_addresses_while_it_waits(rig: Rig, world: World) -> None:
    await rig.store.run(AddService("C-u0/home"))
    world.faults["u0"] = ["", "nak"]
    plan_id = await rig.consumed([item(1, "u0", world)])
    await rig.apply(plan_id)
    await rig.store.run(commands.Finish(plan_id, b"outcome", lambda _: rig.recorder.record(None, {})))
    seals = ((rig.loaded(plan_id).items.items[0], rig.recorder.record("C-u0/home", {})),)
    await rig.store.run(ReopenRun(plan_id, seals, now_of(rig.clock), rig.recorder.record(None, {})))
    restore = await rig.consumed([item(1, "u0", world)], action=Action.RESTORE)
    world.busy = [Busy("busy-cpu", "CPU at 93 %")]

    async def take() -> None:
        await trio.sleep(2)
        assert world.kicks == []
        with pytest.raises(RefusedCommandError, match="busy"):
            await rig.store.run(item_commands.Lock(restore, 1, (world.user("u0"),)))

    await rig.apply(plan_id, take)
    assert (rig.states(plan_id), plans.locked(rig.store.reader, plan_id)) == ([S.APPLIED], [])


async def test_retry_after_a_disconnect_that_worked_disconnects_again(rig: Rig, world: World) -> None:
    await rig.store.run(AddService("C-u0/home"))
    world.faults["u0"] = ["", "ack-without-effect", "ack-without-effect"]
    plan_id = await rig.consumed([item(1, "u0", world)])
    await rig.apply(plan_id)
    await rig.store.run(commands.Finish(plan_id, b"outcome", lambda _: rig.recorder.record(None, {})))
    world.faults["u0"] = ["ack-without-effect", "ack-without-effect"]
    for expected in (S.SET_NOT_ENFORCED, S.APPLIED):
        seals = ((rig.loaded(plan_id).items.items[0], rig.recorder.record("C-u0/home", {})),)
        await rig.store.run(ReopenRun(plan_id, seals, now_of(rig.clock), rig.recorder.record(None, {})))
        await rig.apply(plan_id)
        await rig.store.run(commands.Finish(plan_id, b"outcome", lambda _: rig.recorder.record(None, {})))
        assert rig.states(plan_id) == [expected]
    assert (world.kicks, len(world.writes)) == (["u0"], 1)


async def test_what_was_opened_again_before_anything_ran_is_run_once(office: Office) -> None:
    """Until the witnesses confirmed the start nothing runs, for minutes perhaps; a person can ask for a retry then."""
    await office.plan()
    await office.receive("approval", approval(office))
    worker, plan_id = office.daemon.job.worker, office.row().plan_id
    assert await worker._consume(office.row())
    worker.resume(plan_id)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(worker.run)
        with trio.fail_after(60):
            while office.row().finished_seq is None or worker._resumed:
                worker.poke()
                await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
    assert (office.desk.world.kicks, office.leaves(LeafKind.CHANGE_FINISHED)) == (["u0"], 1)
    assert office.leaves(LeafKind.ABOUT_TO) == 2  # the row, the session


# --- cancel while a device is waited for ---


async def test_a_cancel_is_met_when_the_device_calls_in(tmp_path: Path, world: World) -> None:
    rig = Rig(tmp_path, world, FakeClock(), Reach.ARRIVE)
    plan_id = await rig.consumed([item(1, "u0", world)])

    async def cancel_then_call() -> None:
        await trio.sleep(60)
        cancel = Cancel("1" * 32, "4" * 32, (rig.loaded(plan_id).row.digest.hex(),), "joseph", 0)
        await rig.store.run(stops.RecordCancel(cancel, b"e", rig.recorder.record(None, {})))
        rig.connector.calls_in.set()

    await rig.apply(plan_id, cancel_then_call)
    assert rig.states(plan_id) == [S.CANCELLED]
    assert world.writes == []
    rig.close()


async def stopped_batch(rig: Rig, world: World) -> bytes:
    """Return a batch of four that stopped by its own limit: one is set and not enforced, the last was never begun."""
    for n in range(4):
        await rig.store.run(AddService(f"C-u{n}/home"))
    world.faults["u0"] = ["", "nak"]
    items = [item(n + 1, f"u{n}", world) for n in range(4)]
    plan_id = await rig.consumed(items, pace=Pace(0, 20, 0), waves=[Wave(1, 2, 30), Wave(3, 4, 0)])
    assert (await rig.apply(plan_id)).startswith("1 of 4 failed")
    assert rig.states(plan_id) == [S.SET_NOT_ENFORCED, S.APPLIED, S.CANCELLED, S.CANCELLED]
    await rig.store.run(commands.Finish(plan_id, b"outcome", lambda _: rig.recorder.record(None, {})))
    return plan_id


async def reopen(rig: Rig, plan_id: bytes) -> None:
    loaded = rig.loaded(plan_id)
    items = [i for i in loaded.items.items if loaded.rows[i.n].state is S.SET_NOT_ENFORCED]
    seals = tuple((i, rig.recorder.record(i.subject, {})) for i in items)
    await rig.store.run(ReopenRun(plan_id, seals, now_of(rig.clock), rig.recorder.record(None, {})))


async def test_retry_after_a_batch_that_stopped_by_its_own_limit(rig: Rig, world: World) -> None:
    plan_id = await stopped_batch(rig, world)
    await reopen(rig, plan_id)
    assert await rig.apply(plan_id) == "", "the stop was that of the first run"
    assert rig.states(plan_id)[0] is S.APPLIED
    assert "u0" in world.kicks
    assert rig.states(plan_id)[-1] is S.CANCELLED, "nothing else of the batch is begun by a retry"


async def test_a_retry_goes_on_after_a_crash(rig: Rig, world: World) -> None:
    plan_id = await stopped_batch(rig, world)
    await reopen(rig, plan_id)
    world.no_redial.add("u0")  # it is waited for
    await die_when(rig, plan_id, "SELECT count(*) FROM step WHERE item = 1 AND n = 2 AND attempt = 2")
    assert await rig.apply(plan_id) == ""
    assert rig.states(plan_id)[0] is S.SET_AT_NEXT_LOGIN


async def test_what_was_lifted_since_is_not_retried(rig: Rig, world: World) -> None:
    plan_id = await stopped_batch(rig, world)
    rig.store._con.execute("DELETE FROM reason")
    with pytest.raises(RefusedCommandError, match="what it recorded of the service was changed since"):
        await reopen(rig, plan_id)
    assert rig.states(plan_id)[0] is S.SET_NOT_ENFORCED


async def test_a_retry_of_a_cancelled_change_is_refused(rig: Rig, world: World) -> None:
    """Nothing of it is sent any more: said to be tried again, it only ended as cancelled once more."""
    plan_id = await unenforced(rig, 1, Pace(0, 100, 0))
    cancel = Cancel("1" * 32, "4" * 32, (rig.loaded(plan_id).row.digest.hex(),), "joseph", 0)
    await rig.store.run(stops.RecordCancel(cancel, b"e", rig.recorder.record(None, {})))
    with pytest.raises(RefusedCommandError, match="was cancelled: ask for the change anew") as refused:
        await reopen(rig, plan_id)
    assert refused.value.reason == RefusalReason.CANCELLED
    assert rig.states(plan_id) == [S.SET_NOT_ENFORCED]


async def unenforced(rig: Rig, count: int, pace: Pace) -> bytes:
    """Return a finished batch of which no item is enforced: no session could be ended."""
    for n in range(count):
        await rig.store.run(AddService(f"C-u{n}/home"))
        rig.world.faults[f"u{n}"] = ["", "nak"]
    items = [item(n + 1, f"u{n}", rig.world) for n in range(count)]
    plan_id = await rig.applied(items, pace=pace, on_failure=OnFailure.CONTINUE)
    assert rig.states(plan_id) == [S.SET_NOT_ENFORCED] * count
    await rig.store.run(commands.Finish(plan_id, b"outcome", lambda _: rig.recorder.record(None, {})))
    return plan_id


async def test_a_retry_keeps_the_pace_and_ends_with_its_last_item(rig: Rig, world: World) -> None:
    plan_id = await unenforced(rig, 5, Pace(2, 100, 0))
    await reopen(rig, plan_id)
    kicked: list[float] = []
    world.on_send = lambda ticket: kicked.append(trio.current_time())
    await rig.apply(plan_id)
    assert rig.states(plan_id) == [S.APPLIED] * 5
    assert kicked[-1] - kicked[0] >= 2
    assert trio.current_time() - kicked[-1] < 10, "it watches for nothing once all is done"


async def test_a_cancel_ends_a_retry_that_waits_for_a_device(tmp_path: Path, world: World) -> None:
    rig = Rig(tmp_path, world, FakeClock())
    plan_id = await unenforced(rig, 1, Pace(0, 100, 0))
    await reopen(rig, plan_id)
    rig.close()
    rig = Rig(tmp_path, world, FakeClock(), Reach.ARRIVE)
    cancel = Cancel("1" * 32, "4" * 32, (rig.loaded(plan_id).row.digest.hex(),), "joseph", 0)
    began = trio.current_time()

    async def change_of_mind() -> None:
        await trio.sleep(60)
        await rig.store.run(stops.RecordCancel(cancel, b"e", rig.recorder.record(None, {})))

    await rig.apply(plan_id, change_of_mind)
    assert 60 <= trio.current_time() - began < 90
    assert (rig.states(plan_id), world.kicks) == ([S.SET_NOT_ENFORCED], [])
    rig.close()


# --- a log that lost a part of the run ---


@pytest.mark.parametrize(("put_back", "first"), [(True, S.APPLIED), (False, S.REVERTED)])
async def test_a_revert_that_a_backup_cut_short_is_for_people(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, put_back: bool, first: ItemState
) -> None:
    """All items had ended when the copy was taken: none of them says that the log lost the revert that followed."""

    async def dies(_: Run) -> None:
        await trio.lowlevel.checkpoint()

    rig.world.add("u1")
    rig.world.faults["u1"] = ["refused"] * 3
    with monkeypatch.context() as patch:
        patch.setattr(Run, "_revert_all", dies)
        items = [item(1, "u0", rig.world), item(2, "u1", rig.world)]
        plan_id = await rig.applied(items, on_failure=OnFailure.REVERT, waves=[Wave(1, 2, 0)])
    assert rig.states(plan_id) == [S.APPLIED, S.NOT_APPLIED]
    if put_back:
        sealed = rig.recorder.record(None, {"what": "restored"})
        await rig.store.run(recovery.VoidUnconsumed(recovery.MarksVerdict((9, 12)), sealed))
    await rig.apply(plan_id)
    assert rig.states(plan_id) == [first, S.NOT_APPLIED]
