"""A paused change sends nothing more, keeps its waves over the pause and over a restart, and goes on as approved."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from agent.changes.authority import pauses
from agent.changes.authority.pauses import PauseChange, ResumeChange
from agent.changes.journal.commands import PlanRow, SetGate
from agent.changes.journal.machine import Gate
from agent.changes.journal.moments import SendWindow
from agent.connectors.base import Reach
from agent.model import ItemState, ReasonChange, SuspensionReason, Wave
from agent.reasons import RefusalReason
from agent.store.errors import RefusedCommandError
from tests.builders.clock import FakeClock
from tests.builders.job import Rig, apply, item
from tests.builders.world import World
from trust.leaf import LeafKind

S = ItemState
WAVES = (Wave(1, 1, 5), Wave(2, 3, 5), Wave(4, 6, 0))


@pytest.fixture(params=[Reach.DIAL, Reach.ARRIVE])
def rig(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Rig]:
    world = World.of(*(f"u{n}" for n in range(6)))
    rig = Rig(tmp_path, world, FakeClock(), request.param)
    rig.without_fsync()

    def send_window(row: PlanRow) -> SendWindow:
        found = pauses.paused(rig.store.query).get(row.plan_id)
        return SendWindow(None, f"paused by {found.by}", RefusalReason.PAUSED) if found else SendWindow(0)

    rig.send_window = send_window
    yield rig
    rig.close()


async def campaign(rig: Rig, **plan: object) -> bytes:
    items = [item(k, f"u{k - 1}", rig.world) for k in range(1, 7)]
    plan_id = await rig.save_plan(items, waves=WAVES, **plan)  # type: ignore[arg-type]  # a stand-in of the test
    await rig.consume(plan_id)
    return plan_id


async def pause(rig: Rig, plan_id: bytes) -> None:
    await rig.store.run(PauseChange(plan_id, "maria", rig.recorder.record(None, {"what": "paused", "by": "maria"})))


async def resume(rig: Rig, plan_id: bytes) -> None:
    record = rig.recorder.record(None, {"what": "resumed", "by": "maria"})
    await rig.store.run(ResumeChange(plan_id, lambda _: None, record))


def sent(rig: Rig) -> list[int]:
    """Return the items of which something was sent, in that order."""
    return [r["item"] for r in rig.store.reader.execute("SELECT item FROM step GROUP BY item ORDER BY min(about_seq)")]


async def until_sent(rig: Rig, items: int) -> None:
    while len(sent(rig)) < items:  # noqa: ASYNC110  the database is looked at, which tells nobody
        await trio.sleep(0.1)


async def test_pause_in_middle_keeps_rings_that_come_after_it(rig: Rig, autojump_clock: MockClock) -> None:
    plan_id = await campaign(rig)
    seen: list[list[int]] = []

    async def pause_and_resume() -> None:
        await until_sent(rig, 1)
        await pause(rig, plan_id)
        await trio.sleep(600)
        seen.append(sent(rig))
        assert rig.states(plan_id)[0] is S.APPLIED, "the item that was begun is finished"
        assert all(state in (S.PLANNED, S.WAITING) for state in rig.states(plan_id)[1:])
        await resume(rig, plan_id)
        await until_sent(rig, 3)
        seen.append(sent(rig))

    assert await apply(rig, plan_id, pause_and_resume) == ""
    assert seen[0] == [1]
    assert set(seen[1]) == {1, 2, 3}, "the last ring waits for the soak of the one before"
    assert rig.states(plan_id) == [S.APPLIED] * 6


async def test_what_looked_before_the_pause_is_refused_by_the_writer(rig: Rig, autojump_clock: MockClock) -> None:
    rig.send_window = lambda _: SendWindow(0)
    plan_id = await campaign(rig)
    await pause(rig, plan_id)
    seen: list[object] = []

    async def look() -> None:
        await trio.sleep(300)
        seen.append((sent(rig), list(rig.world.writes)))
        await resume(rig, plan_id)

    assert await apply(rig, plan_id, look) == ""
    assert seen == [([], [])], "the run waited for the resume"
    assert rig.states(plan_id) == [S.APPLIED] * 6


async def test_a_restart_forgets_no_pause_and_no_ring(rig: Rig, autojump_clock: MockClock) -> None:
    plan_id = await campaign(rig)

    async def pause_it() -> None:
        await until_sent(rig, 1)
        await pause(rig, plan_id)

    with trio.move_on_after(60):
        await apply(rig, plan_id, pause_it)
    assert sent(rig) == [1]
    seen: list[int] = []

    async def resume_it() -> None:
        await trio.sleep(120)
        assert sent(rig) == [1]
        await resume(rig, plan_id)
        await until_sent(rig, 3)
        seen.extend(sent(rig))

    assert await apply(rig, plan_id, resume_it) == ""
    assert set(seen) == {1, 2, 3}
    assert rig.states(plan_id) == [S.APPLIED] * 6


async def test_what_only_records_waits_for_the_resume_too(rig: Rig, autojump_clock: MockClock) -> None:
    """Such as the acceptance of a fleet of CPE, of which nothing is sent: the writer refuses it as it does a step."""
    rig.send_window = lambda _: SendWindow(0)
    records = (ReasonChange(SuspensionReason.ABUSE, added=True),)
    items = [replace(item(k, f"u{k - 1}", rig.world), steps=(), enforce=None, desired=records) for k in range(1, 3)]
    plan_id = await rig.consumed(items)
    await pause(rig, plan_id)
    seen: list[list[ItemState]] = []

    async def look() -> None:
        await trio.sleep(300)
        seen.append(rig.states(plan_id))
        await resume(rig, plan_id)

    assert await apply(rig, plan_id, look) == ""
    assert seen == [[S.WAITING] * 2], "the run waited for the resume"
    assert rig.states(plan_id) == [S.APPLIED] * 2
    assert {row["reason"] for row in rig.store.query("SELECT reason FROM reason", ())} == {"abuse"}


async def test_what_stays_paused_until_the_deadline_expires(rig: Rig, autojump_clock: MockClock) -> None:
    plan_id = await campaign(rig, run_for_s=120)
    await pause(rig, plan_id)

    async def nothing() -> None:
        pass

    await apply(rig, plan_id, nothing)
    rows = rig.loaded(plan_id).rows.values()
    assert {(r.state, r.reason, r.detail) for r in rows} == {
        (S.EXPIRED, RefusalReason.PAUSED, "the change was paused until its deadline")
    }
    assert sent(rig) == []


async def test_a_paused_plan_is_not_consumed(rig: Rig) -> None:
    plan_id = await rig.save_plan([item(1, "u0", rig.world)])
    await pause(rig, plan_id)
    with pytest.raises(RefusedCommandError, match="paused by maria"):
        await rig.consume(plan_id)
    await resume(rig, plan_id)


async def test_both_stand_in_the_log_once(rig: Rig) -> None:
    plan_id = await rig.save_plan([item(1, "u0", rig.world)])
    with pytest.raises(RefusedCommandError, match="is not paused"):
        await resume(rig, plan_id)
    await pause(rig, plan_id)
    await pause(rig, plan_id)
    await resume(rig, plan_id)
    kinds = [r["kind"] for r in rig.store.reader.execute("SELECT kind FROM event WHERE plan = ?", (plan_id,))]
    assert (kinds.count(LeafKind.PAUSED), kinds.count(LeafKind.RESUMED)) == (1, 1)
    assert pauses.paused(rig.store.query) == {}


async def test_a_change_that_is_over_is_not_paused(rig: Rig) -> None:
    plan_id = await rig.save_plan([item(1, "u0", rig.world)])
    await rig.store.run(SetGate(plan_id, Gate.REJECTED, LeafKind.REJECTION, rig.recorder.record(None, {})))
    with pytest.raises(RefusedCommandError, match="is rejected: there is nothing to pause or resume"):
        await pause(rig, plan_id)
