"""Items are judged again after their run, until they are true, false or out of time; the change's state follows."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.changes.clock_watch import ClockWatch
from agent.changes.journal import commands, plans
from agent.changes.journal.item_commands import Lock, Unlock
from agent.changes.journal.machine import ChangeState
from agent.changes.journal.signing import Signer
from agent.changes.judging import DAY_S, JudgeAgain, JudgedItems, JudgeTempo
from agent.changes.retry import ReopenRun
from agent.connectors.base import CLOCK_SET, IN_FORCE, STATE, Enforced, Judgment, UnreadableError
from agent.inventory import book
from agent.model import Access, Address, Effect, Enforcement, Item, ItemState, Seen
from agent.reasons import ItemReason, TargetReason
from agent.runtime.clock import now_of
from agent.runtime.notifier import Notifier
from agent.store.db import Command, Tx
from tests.builders.clock import FakeClock, virtual_clock
from tests.builders.expect import present
from tests.builders.job import KEY, CrashedError, Rig, item
from tests.builders.store import AddService
from tests.builders.world import FakeMethod, FakeSession, World, steps_for
from trust import envelope as envelopes
from trust import statements
from trust.items import ReasonChange, SuspensionReason
from trust.leaf import LeafKind
from trust.policy import Action
from trust.statements import Outcome, OutcomeState

pytestmark = pytest.mark.virtual_time

S = ItemState
TEMPO = JudgeTempo(300, 14 * DAY_S)
ABUSE = ReasonChange(SuspensionReason.ABUSE, added=True)


@pytest.fixture
def world() -> World:
    world = World()
    world.add("u0", online=False)
    world.add("u1")
    return world


def signer(rig: Rig) -> Signer:
    return Signer("1" * 32, "2" * 32, KEY, rig.evidence.published)


@asynccontextmanager
async def judging(rig: Rig, tempo: JudgeTempo = TEMPO) -> AsyncIterator[JudgeAgain]:
    async with rig.parts() as parts:
        yield JudgeAgain(parts, rig.vault, lambda: signer(rig), Notifier(), tempo)


async def one_round(rig: Rig, tempo: JudgeTempo = TEMPO) -> JudgedItems:
    async with judging(rig, tempo) as again:
        return await again.round()


async def finish(rig: Rig, plan_id: bytes) -> None:
    record = rig.recorder.record(None, {"what": "finished"})
    await rig.store.run(commands.Finish(plan_id, b"outcome", lambda _: record))


async def done(rig: Rig, items: list[Item], action: Action = Action.SUSPEND) -> bytes:
    plan_id = await rig.applied(items, action=action)
    await finish(rig, plan_id)
    return plan_id


async def suspended(rig: Rig, *logins: str) -> bytes:
    for login in logins:
        await rig.store.run(AddService(f"C-{login}/home"))
    return await done(rig, [item(n, login, rig.world) for n, login in enumerate(logins, start=1)])


def row(rig: Rig, plan_id: bytes, n: int = 1) -> plans.ItemRow:
    return rig.loaded(plan_id).rows[n]


def outcomes(rig: Rig) -> list[Outcome]:
    """Return what the cloud was told, but for the rig's own first words."""
    bodies = [bytes(r["body"]) for r in rig.store.query("SELECT body FROM outbox WHERE kind = 'outcome' ORDER BY id")]
    signed = [envelopes.decode_untrusted(b) for b in bodies if b != b"outcome"]
    return [statements.decode_as_untrusted(Outcome, e) for e in signed]


def told(rig: Rig, plan_id: bytes) -> Outcome:
    """Return the outcome that stands in the plan's row."""
    (found,) = rig.store.query("SELECT outcome FROM plan WHERE plan_id = ?", (plan_id,))
    return statements.decode_as_untrusted(Outcome, envelopes.decode_untrusted(bytes(found["outcome"])))


# --- until it is true or false ---


async def test_it_is_true_at_the_next_login(rig: Rig, world: World) -> None:
    plan_id = await suspended(rig, "u0")
    assert rig.states(plan_id) == [S.SET_AT_NEXT_LOGIN]
    assert await one_round(rig) == JudgedItems(1, 0, 0)
    assert rig.states(plan_id) == [S.SET_AT_NEXT_LOGIN]
    world.sessions["u0"] = 7
    assert await one_round(rig) == JudgedItems(1, 1, 0)
    assert (rig.states(plan_id), row(rig, plan_id).reason) == ([S.APPLIED], "seen")
    assert await one_round(rig) == JudgedItems(0, 0, 0)
    rig.evidence.verify()


async def test_it_is_judged_by_how_far_our_clock_was_set(
    rig: Rig, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seed 4000025. `within_s`: sessions that began since the step was done, by either clock, are none of before."""
    await suspended(rig, "u0")
    judged: list[Enforcement] = []

    def judge(_: object, enforce: Enforcement, *__: object) -> Judgment:
        judged.append(enforce)
        return Judgment(Enforced.PENDING, "offline")

    monkeypatch.setattr(FakeMethod, "judge", judge)
    await trio.sleep(1000)
    assert isinstance(rig.clock, FakeClock)
    for set_s in (0, -400, 1000):
        rig.clock.step_wall(set_s)
        await one_round(rig)
    assert [one.expect.get(CLOCK_SET) for one in judged] == [None, "-400", "600"]
    assert [one.within_s for one in judged] == [1010, 1010, 1610]


@pytest.mark.parametrize("looked", [True, False])
async def test_sessions_that_nobody_looked_for_may_be_older(
    rig: Rig, world: World, monkeypatch: pytest.MonkeyPatch, looked: bool
) -> None:
    """Stopped between its write and its disconnect, an item has no list of the sessions from before the write."""
    judged: list[Enforcement] = []

    def judge(_: object, enforce: Enforcement, *__: object) -> Judgment:
        judged.append(enforce)
        return Judgment(Enforced.NO, "not-in-effect")

    async def away(_: FakeSession, __: Effect, ___: object) -> Mapping[Address, Seen]:
        await trio.lowlevel.checkpoint()
        raise UnreadableError("fake/d refuses", reason=TargetReason.REFUSED)

    monkeypatch.setattr(FakeMethod, "judge", judge)
    if not looked:
        monkeypatch.setattr(FakeSession, "bind", away)
    wrote_s = rig.clock.wall_s()
    plan_id = await suspended(rig, "u1")
    assert rig.states(plan_id) == [S.SET_NOT_ENFORCED]
    in_run = len(judged)
    await trio.sleep(1000)
    await one_round(rig)
    assert len(judged) == in_run + 1
    told = {one.expect.get(IN_FORCE) for one in judged}
    if looked:
        assert told == {None}
        return
    (at_s,) = told
    assert at_s is not None
    assert 0 <= int(at_s) - wrote_s <= 2


async def test_sessions_are_read_in_the_order_of_their_items(
    rig: Rig, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They were read in a set's order, another one in each process."""
    logins = [f"late-{n}" for n in range(8)]
    for login in logins:
        world.add(login, online=False)
    await suspended(rig, *logins)
    asked: list[str] = []
    read = FakeSession.read

    async def noted(session: FakeSession, addresses: Collection[Address]) -> Mapping[Address, Seen]:
        asked.extend(address.rpartition("/")[2] for address in addresses)
        return await read(session, addresses)

    monkeypatch.setattr(FakeSession, "read", noted)
    await one_round(rig)
    assert asked == logins


async def test_a_session_that_carried_on_and_ended_by_itself(rig: Rig, world: World) -> None:
    world.faults["u1"] = ["", "nak"]
    plan_id = await suspended(rig, "u1")
    assert rig.states(plan_id) == [S.SET_NOT_ENFORCED]
    await one_round(rig)
    assert rig.states(plan_id) == [S.SET_NOT_ENFORCED]  # it still carries on
    del world.sessions["u1"]
    await one_round(rig)
    assert (rig.states(plan_id), row(rig, plan_id).reason) == ([S.SET_AT_NEXT_LOGIN], "offline")
    world.sessions["u1"] = 2
    await one_round(rig)
    assert rig.states(plan_id) == [S.APPLIED]
    assert world.kicks == []  # nothing was sent


async def test_an_old_session_that_accounting_told_late_disproves_it(rig: Rig, world: World) -> None:
    world.faults["u1"] = ["", "nak"]
    plan_id = await suspended(rig, "u1")
    del world.sessions["u1"]
    await one_round(rig)
    world.sessions["u1"] = 1  # the one that was to be ended, after all
    await one_round(rig)
    assert (rig.states(plan_id), row(rig, plan_id).reason) == ([S.SET_NOT_ENFORCED], "still-online")


async def test_what_cannot_be_read_proves_and_disproves_nothing(rig: Rig, world: World) -> None:
    plan_id = await suspended(rig, "u0")
    seq = row(rig, plan_id).state_seq
    world.sessions["u0"] = 7
    world.dead.add("fake/d")
    assert await one_round(rig) == JudgedItems(0, 0, 1)
    assert row(rig, plan_id).state_seq == seq
    world.dead.clear()
    await one_round(rig)
    assert rig.states(plan_id) == [S.APPLIED]


async def test_a_halted_clock_judges_nothing(rig: Rig, world: World) -> None:
    plan_id = await suspended(rig, "u0")
    watch = ClockWatch(rig.store, rig.recorder, rig.clock)
    await watch.check()
    rig.clock.step_wall(20 * DAY_S)  # type: ignore[attr-defined]  # a FakeClock
    await watch.check()
    assert await one_round(rig) == JudgedItems()
    assert (rig.states(plan_id), row(rig, plan_id).reason) == ([S.SET_AT_NEXT_LOGIN], "offline")


# --- the change's state, the log and the cloud follow ---


async def test_the_change_follows_in_the_log_and_in_a_later_outcome(rig: Rig, world: World) -> None:
    world.faults["u1"] = ["", "nak"]
    plan_id = await suspended(rig, "u0", "u1")
    assert rig.loaded(plan_id).state() is ChangeState.NEEDS_YOU
    finished = plans.find(rig.store.reader, plan_id.hex()).finished_seq
    world.sessions.update(u0=3, u1=4)
    assert await one_round(rig) == JudgedItems(2, 2, 0)
    assert rig.loaded(plan_id).state() is ChangeState.DONE
    kinds = [LeafKind(r["kind"]) for r in rig.store.query("SELECT kind FROM event ORDER BY seq")]
    assert kinds[-3:] == [LeafKind.ITEM_STATE, LeafKind.ITEM_STATE, LeafKind.CHANGE_FINISHED]
    last = told(rig, plan_id)
    assert (last.seq, last.state) == (2, OutcomeState.DONE)
    assert plans.find(rig.store.reader, plan_id.hex()).finished_seq == finished  # the run's own end
    await one_round(rig)
    assert told(rig, plan_id) == last  # once
    rig.evidence.verify()


# --- until somebody else changes it, or time is over ---


def lifting(world: World, login: str) -> Item:
    before = Seen(world.values[world.user(login)], 1_767_225_600)
    lifted = (ReasonChange(SuspensionReason.DEBT, added=False),)
    return replace(item(1, login, world), steps=steps_for(login, before, {"plan": "20M"}), desired=lifted)


async def test_a_service_of_another_change_is_no_longer_judged(rig: Rig, world: World) -> None:
    first = await suspended(rig, "u0")
    second = await done(rig, [lifting(world, "u0")], Action.RESTORE)
    world.sessions["u0"] = 9  # full internet, as wanted: no proof of the suspension
    await one_round(rig)
    at = row(rig, first)
    assert (at.state, at.reason) == (S.SET_AT_NEXT_LOGIN, ItemReason.OVERTAKEN)
    assert at.detail == f"change {rig.loaded(second).row.short} acted on the service since: no longer judged"
    assert rig.states(second) == [S.APPLIED]
    assert await one_round(rig) == JudgedItems(0, 0, 0)
    assert row(rig, first) == at


async def test_disconnect_of_same_service_is_no_other_change_of_it(rig: Rig, world: World) -> None:
    world.faults["u1"] = ["", "nak"]
    first = await suspended(rig, "u1")
    kick = item(1, "u1", world)
    kick = replace(kick, steps=(replace(kick.steps[1], n=1, after=()),), enforce=None, desired=())
    await done(rig, [kick], Action.DISCONNECT)
    assert world.kicks == ["u1"]
    await one_round(rig)
    assert rig.states(first) == [S.APPLIED]


def looking_for(access: Access, one: Item) -> Item:
    return replace(one, enforce=replace(present(one.enforce), expect={"method": "fake", STATE: access.value}))


async def test_a_restore_is_not_judged_once_it_is_suspended_again(rig: Rig, world: World) -> None:
    """For another reason, whose suspension wrote nothing: staff had set the rows. The lifted reason stays lifted."""
    await rig.store.run(AddService("C-u0/home"))
    first = await done(rig, [looking_for(Access.ACTIVE, lifting(world, "u0"))], Action.RESTORE)
    again = looking_for(Access.SUSPENDED, item(1, "u0", world))
    again = replace(again, steps=(replace(again.steps[1], n=1, after=()),), desired=(ABUSE,))
    await done(rig, [again])
    world.sessions["u0"] = 9
    await one_round(rig)
    at = row(rig, first)
    assert (at.state, at.reason) == (S.SET_AT_NEXT_LOGIN, ItemReason.OVERTAKEN)
    assert at.detail == "the service was suspended since: no longer judged"


async def test_a_suspension_is_judged_on_beside_another_reason(rig: Rig, world: World) -> None:
    await rig.store.run(AddService("C-u0/home"))
    first = await done(rig, [looking_for(Access.SUSPENDED, item(1, "u0", world))])
    await done(rig, [replace(item(1, "u0", world), steps=(), enforce=None, desired=(ABUSE,))])
    world.sessions["u0"] = 9
    await one_round(rig)
    assert rig.states(first) == [S.APPLIED]


async def test_a_service_that_left_the_inventory_is_no_longer_judged(rig: Rig, world: World) -> None:
    plan_id = await suspended(rig, "u0")

    @dataclass(frozen=True)
    class Lift:
        def run(self, tx: Tx) -> None:
            tx.run("DELETE FROM reason")

    await rig.store.run(Lift())  # by a change that only recorded: its reason is gone
    world.sessions["u0"] = 9
    await one_round(rig)
    assert row(rig, plan_id).reason == ItemReason.OVERTAKEN
    assert row(rig, plan_id).detail == "what it recorded of the service was changed since: no longer judged"


async def test_sessions_of_a_login_given_away_prove_nothing(rig: Rig, world: World) -> None:
    await rig.store.run(AddService("C-u0/home"))
    requires = (book.as_previewed(book.services(rig.store.reader)["C-u0/home"]),)
    plan_id = await done(rig, [replace(item(1, "u0", world), requires=requires)])
    assert await one_round(rig) == JudgedItems(1, 0, 0)

    @dataclass(frozen=True)
    class GiveAway:
        def run(self, tx: Tx) -> None:
            tx.run("UPDATE service SET login = 'u7'")

    await rig.store.run(GiveAway())
    world.sessions["u0"] = 7  # as wanted, but somebody else's by now
    await one_round(rig)
    assert rig.states(plan_id) == [S.SET_AT_NEXT_LOGIN]
    assert row(rig, plan_id).detail == "the service has another login or access method since: no longer judged"


async def test_after_the_limit_it_says_so_and_stops(rig: Rig, world: World) -> None:
    plan_id = await suspended(rig, "u0")
    await rig.clock.sleep(14 * DAY_S - 60)
    await one_round(rig)
    assert row(rig, plan_id).reason == "offline"
    await rig.clock.sleep(120)
    await one_round(rig)
    at = row(rig, plan_id)
    assert (at.state, at.reason) == (S.SET_AT_NEXT_LOGIN, ItemReason.NOT_PROVEN_IN_TIME)
    assert at.detail.startswith("judged for 14 days without a proof")
    world.sessions["u0"] = 9
    assert await one_round(rig) == JudgedItems(0, 0, 0)


async def test_a_proof_after_the_limit_counts_more_than_the_limit(rig: Rig, world: World) -> None:
    plan_id = await suspended(rig, "u0")
    await rig.clock.sleep(30 * DAY_S)  # the agent was off
    world.sessions["u0"] = 9
    await one_round(rig)
    assert rig.states(plan_id) == [S.APPLIED]


# --- beside runs ---


async def test_an_item_whose_run_was_opened_again_is_left_to_it(rig: Rig, world: World) -> None:
    world.faults["u1"] = ["", "nak"]
    plan_id = await suspended(rig, "u1")
    async with judging(rig) as again:
        rows = rig.store.query("SELECT 1 FROM plan WHERE finished_seq IS NOT NULL")
        assert len(rows) == 1
        run, first = rig.store.run, True

        async def reopened_first(command: Command[Any]) -> Any:
            nonlocal first
            if first:
                first = False
                seals = ((rig.loaded(plan_id).items.items[0], rig.recorder.record("C-u1/home", {})),)
                await run(ReopenRun(plan_id, seals, now_of(rig.clock), rig.recorder.record(None, {})))
            return await run(command)

        rig.store.run = reopened_first  # type: ignore[method-assign]  # between the read and the move
        world.sessions["u1"] = 5
        assert (await again.round()).moved == 0
    assert rig.states(plan_id) == [S.RUNNING]


async def test_an_item_whose_address_another_change_holds_waits(rig: Rig, world: World) -> None:
    await suspended(rig, "u0")
    other = await rig.save_plan([lifting(world, "u0")], action=Action.RESTORE)
    await rig.store.run(Lock(other, 1, (world.user("u0"),)))
    world.sessions["u0"] = 9
    assert (await one_round(rig)).moved == 0
    await rig.store.run(Unlock(other, 1, (world.user("u0"),)))
    assert (await one_round(rig)).moved == 1


async def test_the_loop_goes_on_after_a_restart(tmp_path: Path, world: World) -> None:
    clock = FakeClock()
    rig = Rig(tmp_path, world, clock)
    plan_id = await suspended(rig, "u0")
    rig.close()
    rig = Rig(tmp_path, world, clock)
    async with judging(rig) as again, trio.open_nursery() as nursery:
        nursery.start_soon(again.run)
        await trio.sleep(1000)
        assert rig.states(plan_id) == [S.SET_AT_NEXT_LOGIN]
        world.sessions["u0"] = 2
        await trio.sleep(301)
        assert rig.states(plan_id) == [S.APPLIED]
        nursery.cancel_scope.cancel()
    rig.close()


async def test_a_session_that_was_ended_is_looked_for_soon(rig: Rig, world: World) -> None:
    """In an evening of restores the CPE come back after the items' ends; nobody waits minutes to be told."""
    world.no_redial.add("u1")
    plan_id = await suspended(rig, "u0", "u1")
    assert rig.states(plan_id) == [S.SET_AT_NEXT_LOGIN, S.SET_AT_NEXT_LOGIN]
    async with judging(rig) as again, trio.open_nursery() as nursery:
        nursery.start_soon(again.run)
        await trio.sleep(25)
        world.sessions.update(u0=7, u1=8)
        await trio.sleep(11)
        assert rig.states(plan_id) == [S.SET_AT_NEXT_LOGIN, S.APPLIED], "u0 was offline: nobody knows when it dials"
        await trio.sleep(270)
        assert rig.states(plan_id) == [S.APPLIED, S.APPLIED]
        nursery.cancel_scope.cancel()


# --- crashes ---


async def life_with_death(folder: Path, die_at: int, *, die_after: bool) -> tuple[bool, list[S], int]:
    """Return whether it died, the items' states in the end, and how many outcomes were told."""
    world = World()
    for login in ("u0", "u1"):
        world.add(login, online=False)
    clock = FakeClock()
    rig = Rig(folder, world, clock)
    rig.without_fsync()
    plan_id = await suspended(rig, "u0", "u1")
    world.sessions.update(u0=1, u1=1)
    rig.store.seen, rig.store.die_at, rig.store.die_after = 0, die_at, die_after
    died = False
    try:
        await one_round(rig)
    except* CrashedError:
        died = True
    rig.close()
    rig = Rig(folder, world, clock)
    rig.evidence.verify()
    await one_round(rig)
    await one_round(rig)
    rig.evidence.verify()
    told_n = rig.store.query("SELECT count(*) AS n FROM event WHERE kind = ?", (LeafKind.CHANGE_FINISHED.value,))
    assert told(rig, plan_id).state is OutcomeState.DONE
    assert rig.store.query("SELECT 1 FROM plan WHERE outcome_due = 1") == []
    states = rig.states(plan_id)
    rig.close()
    return died, states, int(told_n[0]["n"])


async def test_it_dies_at_every_command_of_a_round(tmp_path: Path) -> None:
    at, died = 0, True
    while died:
        at += 1
        for after in (False, True):
            folder = tmp_path / f"{at}-{after}"
            folder.mkdir()
            died, states, told_n = await life_with_death(folder, at, die_after=after)
            assert states == [S.APPLIED, S.APPLIED]
            assert told_n in (2, 3)  # the run's own, and one or two later ones
    assert at >= 4


# --- any life of two services ---

HAPPENS = ("login", "logout", "old-session", "away", "back", "judge", "judge", "judge", "days", "restore")


@given(st.lists(st.tuples(st.sampled_from(HAPPENS), st.sampled_from(("u0", "u1"))), max_size=14))
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_life_is_said_as_it_was(tmp_path_factory: pytest.TempPathFactory, life: list[tuple[str, str]]) -> None:
    trio.run(play, tmp_path_factory.mktemp("life"), life, clock=virtual_clock())


async def play(folder: Path, life: list[tuple[str, str]]) -> None:
    world = World()
    world.add("u0", online=False)
    world.add("u1")
    world.faults["u1"] = ["", "nak"]
    rig = Rig(folder, world, FakeClock())
    rig.without_fsync()
    plan_id = await suspended(rig, "u0", "u1")
    restored: set[str] = set()
    numbers = iter(range(10, 1000))
    acts: dict[str, Callable[[str], None]] = {
        "login": lambda login: world.sessions.update({login: next(numbers)}),
        "logout": lambda login: world.sessions.pop(login, None) and None,
        "old-session": lambda login: world.sessions.update({login: 1}),
        "away": lambda login: world.dead.add("fake/d"),
        "back": lambda login: world.dead.discard("fake/d"),
    }
    for what, login in life:
        before = dict(zip(("u0", "u1"), rig.loaded(plan_id).rows.values(), strict=True))
        if what in acts:
            acts[what](login)
        elif what == "days":
            await rig.clock.sleep(5 * DAY_S)
        elif what == "restore" and login not in restored and "fake/d" not in world.dead:
            await done(rig, [lifting(world, login)], Action.RESTORE)
            restored.add(login)
        elif what == "judge":
            await one_round(rig)
            for n, who in enumerate(("u0", "u1"), start=1):
                check(world, who, before[who], row(rig, plan_id, n), restored)
    rig.evidence.verify()
    rig.close()


def check(world: World, login: str, before: plans.ItemRow, now: plans.ItemRow, restored: set[str]) -> None:
    """Check that a move of one round is true of the device at that moment."""
    if now.state_seq == before.state_seq:
        return
    assert before.reason not in (ItemReason.OVERTAKEN, ItemReason.NOT_PROVEN_IN_TIME)
    if now.reason == ItemReason.OVERTAKEN:
        assert login in restored
        return
    assert login not in restored
    if now.reason == ItemReason.NOT_PROVEN_IN_TIME:
        assert now.state is before.state
        return
    assert "fake/d" not in world.dead
    session = world.sessions.get(login)
    old = login == "u1" and session == 1  # the one that was to be ended
    if now.state is S.APPLIED:
        assert session is not None
        assert not old
    elif now.state is S.SET_AT_NEXT_LOGIN:
        assert session is None
    else:
        assert now.state is S.SET_NOT_ENFORCED
        assert old
