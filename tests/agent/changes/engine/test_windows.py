"""Policy windows bind each send: also of an item that waited, and of a batch that runs out of its window."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from agent.changes.authority import stops
from agent.changes.journal.moments import SendWindow
from agent.connectors.base import Reach
from agent.model import ItemState, Pace, Step, Wave
from agent.reasons import RefusalReason
from tests.builders.clock import FakeClock
from tests.builders.job import CrashedError, Rig, apply, item
from tests.builders.world import World, disconnect
from trust.statements import Cancel, OnFailure

pytestmark = pytest.mark.virtual_time

S = ItemState
CLOSED = SendWindow(None, "waits for the window: Sat 02:00 EAT")
OPEN = SendWindow(0)


@pytest.fixture(params=[Reach.DIAL, Reach.ARRIVE])
def rig(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Rig]:
    world = World.of(*(f"u{n}" for n in range(6)))
    rig = Rig(tmp_path, world, FakeClock(), request.param)
    rig.without_fsync()
    yield rig
    rig.close()


async def consumed(rig: Rig, n: int, **plan: object) -> bytes:
    items = [item(k, f"u{k - 1}", rig.world) for k in range(1, n + 1)]
    plan_id = await rig.save_plan(items, **plan)  # type: ignore[arg-type]  # a stand-in of the test
    await rig.consume(plan_id)
    return plan_id


async def test_nothing_is_sent_before_the_next_opening(rig: Rig) -> None:
    """An item waits outside the window, holds no address, and is sent once it opens."""
    rig.send_window = lambda _: CLOSED
    plan_id = await consumed(rig, 2)

    async def open_it() -> None:
        await trio.sleep(600)
        assert rig.states(plan_id) == [S.WAITING, S.WAITING]
        assert rig.world.writes == []
        assert rig.store.reader.execute("SELECT count(*) FROM step").fetchone()[0] == 0
        assert rig.store.reader.execute("SELECT count(*) FROM address_lock").fetchone()[0] == 0
        rig.send_window = lambda _: OPEN

    assert await apply(rig, plan_id, open_it) == ""
    assert rig.states(plan_id) == [S.APPLIED, S.APPLIED]


@pytest.mark.parametrize("rig", [Reach.ARRIVE], indirect=True)
async def test_a_window_closed_before_the_call_keeps_it_waiting(rig: Rig) -> None:
    """The window was open when the item began to wait; it is looked at again right before the send."""
    plan_id = await consumed(rig, 1)
    kept: list[object] = []

    async def late() -> None:
        await trio.sleep(60)
        rig.send_window = lambda _: CLOSED
        for _ in range(3):
            rig.connector.calls_in.set()
            await trio.sleep(60)
        kept.extend((*rig.states(plan_id), len(rig.world.writes)))
        rig.send_window = lambda _: OPEN
        while True:
            rig.connector.calls_in.set()
            await trio.sleep(10)

    assert await rig.apply(plan_id, late) == ""
    assert (kept, rig.states(plan_id)) == ([S.WAITING, 0], [S.APPLIED])


async def test_a_window_that_closes_in_the_middle_keeps_the_rest(rig: Rig) -> None:
    """The item that was begun is finished; those after it wait, and the run is not stopped."""
    sent: list[int] = []

    def closes_after_the_first(ticket: object) -> None:
        sent.append(ticket.item)  # type: ignore[attr-defined]  # a ticket
        rig.send_window = lambda _: CLOSED

    rig.world.on_send = closes_after_the_first
    plan_id = await consumed(rig, 3, pace=Pace(1, 1, 0))

    async def open_it() -> None:
        await trio.sleep(600)
        assert sorted(rig.states(plan_id), key=str) == [S.APPLIED, S.WAITING, S.WAITING]
        assert len(set(sent)) == 1
        rig.world.on_send = lambda ticket: None
        rig.send_window = lambda _: OPEN

    assert await apply(rig, plan_id, open_it) == ""
    assert rig.states(plan_id) == [S.APPLIED] * 3


async def test_window_that_does_not_open_before_deadline_ends_it(rig: Rig) -> None:
    """Expired, nothing sent, and the reason is the window."""
    rig.send_window = lambda _: CLOSED
    plan_id = await consumed(rig, 1, run_for_s=60)
    await rig.apply(plan_id)
    row = rig.loaded(plan_id).rows[1]
    assert (row.state, row.reason) == (S.EXPIRED, RefusalReason.WINDOW_CLOSED)
    assert row.detail == "its window did not open before the deadline"
    assert rig.store.reader.execute("SELECT count(*) FROM step").fetchone()[0] == 0


async def test_a_cancel_ends_the_waiting_for_a_window(rig: Rig) -> None:
    """Cancelled while it waits for its window."""
    rig.send_window = lambda _: CLOSED
    plan_id = await consumed(rig, 1)

    async def cancel() -> None:
        await trio.sleep(60)
        cancel = Cancel("1" * 32, "5" * 32, (rig.loaded(plan_id).row.digest.hex(),), "maria", 1)
        await rig.store.run(stops.RecordCancel(cancel, b"e", rig.recorder.record(None, {})))

    await rig.apply(plan_id, cancel)
    assert rig.states(plan_id) == [S.CANCELLED]
    assert rig.world.writes == []


@pytest.mark.parametrize("rig", [Reach.DIAL], indirect=True)
async def test_what_a_window_kept_out_goes_before_the_next_wave(rig: Rig) -> None:
    """Waves show something first: an item that its window kept out of one is not overtaken by those after it."""
    sent: list[int] = []

    def closes_after_the_second(ticket: object) -> None:
        sent.append(ticket.item)  # type: ignore[attr-defined]  # a ticket
        if sent[-1] == 2:
            rig.send_window = lambda _: CLOSED

    rig.world.on_send = closes_after_the_second
    waves = [Wave(1, 1, 0), Wave(2, 3, 0), Wave(4, 4, 0)]
    plan_id = await consumed(rig, 4, waves=waves, pace=Pace(1, 1, 0), on_failure=OnFailure.CONTINUE)

    async def open_it() -> None:
        await trio.sleep(600)
        assert set(sent) == {1, 2}
        rig.world.on_send = lambda ticket: sent.append(ticket.item)
        rig.send_window = lambda _: OPEN

    assert await apply(rig, plan_id, open_it) == ""
    assert rig.states(plan_id) == [S.APPLIED] * 4
    assert list(dict.fromkeys(sent)) == [1, 2, 3, 4]


@pytest.mark.parametrize("rig", [Reach.ARRIVE], indirect=True)
async def test_a_device_away_in_its_window_is_why_it_expired(rig: Rig) -> None:
    rig.send_window = lambda _: CLOSED
    plan_id = await consumed(rig, 1, run_for_s=120)

    async def open_it() -> None:
        await trio.sleep(30)
        rig.send_window = lambda _: OPEN

    await rig.apply(plan_id, open_it)
    row = rig.loaded(plan_id).rows[1]
    assert (row.state, row.reason) == (S.EXPIRED, RefusalReason.EXPIRED)
    assert row.detail == "the device did not call in before the deadline"


@pytest.mark.parametrize("rig", [Reach.ARRIVE], indirect=True)
async def test_item_that_begins_to_wait_at_deadline_names_its_window(rig: Rig) -> None:
    """Of those that began to wait before, each names the window; so does one whose turn comes only then."""
    rig.send_window = lambda _: CLOSED
    plan_id = await consumed(rig, 3, run_for_s=60, waves=[Wave(1, 1, 0), Wave(2, 3, 0)], on_failure=OnFailure.CONTINUE)
    await rig.apply(plan_id)
    found = [(row.state, row.reason) for row in rig.loaded(plan_id).rows.values()]
    assert found == [(S.EXPIRED, RefusalReason.WINDOW_CLOSED)] * 3


@pytest.mark.parametrize("rig", [Reach.DIAL], indirect=True)
@pytest.mark.parametrize("writes", [True, False])
async def test_what_a_crash_left_undone_is_not_begun_outside(rig: Rig, *, writes: bool) -> None:
    """The agent died in the evening, before its command had any effect, and was started again in the night."""
    one = item(1, "u0", rig.world)
    if not writes:
        one = replace(one, steps=(Step(1, "fake/d", disconnect("u0")),), enforce=None, desired=())
    plan_id = await rig.save_plan([one])
    await rig.consume(plan_id)
    rig.world.faults["u0"] = ["command-lost"]

    def die(_: int) -> None:
        if rig.store.query("SELECT 1 FROM step WHERE outcome_seq IS NOT NULL"):
            rig.store.dead = True
            raise CrashedError

    rig.store.between = die
    with pytest.raises(BaseExceptionGroup):
        await rig.apply(plan_id)
    assert rig.states(plan_id) == [S.UNKNOWN]
    rig.store.dead, rig.store.between = False, None
    rig.send_window = lambda _: CLOSED
    await rig.apply(plan_id)
    row = rig.loaded(plan_id).rows[1]
    assert (row.state, row.reason, rig.world.writes, rig.world.kicks) == (S.NOT_APPLIED, "window-closed", [], [])
    assert rig.store.query("SELECT 1 FROM address_lock") == []
