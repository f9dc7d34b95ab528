"""A clock that jumped halts applying, durably, until a person clears it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from agent.changes.clock_watch import EVERY_S, ClockWatch
from agent.changes.engine.apply import Run
from agent.inventory import book
from agent.model import ItemState
from tests.builders.clock import FakeClock
from tests.builders.job import Rig, item
from tests.builders.store import AddService
from tests.builders.world import World

pytestmark = pytest.mark.virtual_time


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    world = World.of("u0")
    rig = Rig(tmp_path, world, FakeClock())
    yield rig
    rig.close()


def watch(rig: Rig) -> ClockWatch:
    return ClockWatch(rig.store, rig.recorder, rig.clock)


def kinds(rig: Rig) -> list[str]:
    return [e.kind for e in rig.evidence.events()]


def step(rig: Rig, seconds: float) -> None:
    assert isinstance(rig.clock, FakeClock)
    rig.clock.step_wall(seconds)


@pytest.mark.parametrize("jump_s", [3600, -3600, 301, -301])
async def test_P14_a_jump_halts_and_accept_clears(rig: Rig, jump_s: float, caplog: pytest.LogCaptureFixture) -> None:
    watched = watch(rig)
    await watched.check()
    assert watched.halted() is None
    step(rig, jump_s)
    await watched.check()
    assert watched.halted() == pytest.approx(jump_s, abs=1)
    await watched.check()
    assert kinds(rig) == ["clock-halt"]  # said once
    assert [r.message for r in caplog.records if r.levelname == "ERROR"] == ["the clock jumped, nothing is sent"]
    await watched.accept("maria")
    assert watched.halted() is None
    await watched.check()
    assert kinds(rig) == ["clock-halt", "clock-accept"]
    assert list(rig.evidence.events())[1].record == {"what": "clock-accept", "person": "maria"}
    rig.evidence.verify()


async def test_a_small_step_does_not_halt(rig: Rig) -> None:
    watched = watch(rig)
    await watched.check()
    step(rig, 200)
    await watched.check()
    assert watched.halted() is None
    assert kinds(rig) == []


async def test_a_halt_outlives_a_restart(rig: Rig) -> None:
    watched = watch(rig)
    await watched.check()
    step(rig, 3600)
    await watched.check()
    again = watch(rig)
    assert again.halted() == pytest.approx(3600, abs=1)
    step(rig, -3600)
    await again.check()
    assert again.halted() is not None  # back is no better: a person has to look
    await again.accept("maria")
    assert watch(rig).halted() is None


async def test_a_jump_while_the_agent_was_off_is_noticed(rig: Rig) -> None:
    watched = watch(rig)
    with trio.move_on_after(EVERY_S * 3):
        await watched.run()
    step(rig, -3600)
    again = watch(rig)
    await again.check()
    assert again.halted() == pytest.approx(-3600, abs=1)


async def test_watching_keeps_looking(rig: Rig) -> None:
    watched = watch(rig)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watched.run)
        await trio.sleep(12)
        step(rig, 3600)
        await trio.sleep(EVERY_S + 1)
        assert watched.halted() is not None
        mark = rig.store.reader.execute("SELECT value FROM meta WHERE key = 'clock_mark'").fetchone()["value"]
        await trio.sleep(60)
        later = rig.store.reader.execute("SELECT value FROM meta WHERE key = 'clock_mark'").fetchone()["value"]
        assert later == mark  # it does not move while halted
        nursery.cancel_scope.cancel()


async def test_nothing_is_sent_while_halted_until_it_is_accepted(rig: Rig) -> None:
    watched = watch(rig)
    await watched.check()
    plan_id = await rig.consumed([item(1, "u0", rig.world)])
    step(rig, -3600)

    async with rig.parts() as made, trio.open_nursery() as nursery:

        async def person() -> None:
            await trio.sleep(100)
            assert rig.world.writes == []
            assert rig.states(plan_id) == [ItemState.PLANNED]
            await watched.accept("maria")

        nursery.start_soon(person)
        await Run(replace(made, check_clock=watched.check), rig.loaded(plan_id)).run()
    assert rig.states(plan_id) == [ItemState.APPLIED]


async def test_a_clock_that_jumps_while_billing_is_read_is_seen(rig: Rig) -> None:
    watched = watch(rig)
    await watched.check()
    await rig.store.run(AddService("C-u0/home"))
    requires = (book.as_previewed(book.services(rig.store.reader)["C-u0/home"]),)
    plan_id = await rig.consumed([replace(item(1, "u0", rig.world), requires=requires)])

    async def read_billing(_: object) -> None:
        if watched.halted() is None:
            step(rig, -3600)

    async with rig.parts() as made, trio.open_nursery() as nursery:
        made = replace(made, check_clock=watched.check, refresh_facts=read_billing)
        nursery.start_soon(Run(made, rig.loaded(plan_id)).run)
        await trio.sleep(20)
        nursery.cancel_scope.cancel()
    assert (rig.world.writes, rig.states(plan_id)) == ([], [ItemState.PLANNED])
