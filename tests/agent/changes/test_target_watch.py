"""Targets are looked at now and then, and at once when one left something unanswered."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import cast

import pytest
import trio

from agent.changes.engine.sessions import Sessions
from agent.changes.target_watch import ANSWER_S, EVERY_S, LOOKS_AT_ONCE, SOONEST_S, TargetWatch
from agent.connectors.base import UnreadableError
from agent.runtime.clock import SystemClock
from agent.runtime.notifier import Notifier
from agent.runtime.outages import Outages, SourceState
from tests.builders.world import FakeConnector, World

pytestmark = pytest.mark.virtual_time


@asynccontextmanager
async def watched(world: World) -> AsyncIterator[tuple[Sessions, Outages]]:
    sessions, outages = Sessions({"fake": FakeConnector(world)}), Outages(lambda: 1.0)
    async with trio.open_nursery() as nursery:
        await sessions.host(nursery)
        watch = TargetWatch(sessions, outages, SystemClock())
        assert {r.state for r in outages.reports()} == {SourceState.NOT_ASKED}
        nursery.start_soon(watch.run)
        yield sessions, outages
        nursery.cancel_scope.cancel()


def state_of(outages: Outages, target: str = "fake/d") -> SourceState:
    return next(r.state for r in outages.reports() if r.name == target)


async def test_an_idle_target_that_leaves_or_returns_is_noticed() -> None:
    world = World()
    async with watched(world) as (_, outages):
        await trio.sleep(EVERY_S - 1)
        assert state_of(outages) is SourceState.NOT_ASKED
        await trio.sleep(2)
        assert state_of(outages) is SourceState.UP
        world.dead.add("fake/d")
        await trio.sleep(EVERY_S + SOONEST_S + 1)
        assert state_of(outages) is SourceState.DOWN
        world.dead.clear()
        await trio.sleep(EVERY_S + SOONEST_S + 1)
        assert state_of(outages) is SourceState.UP


async def test_a_read_that_failed_has_it_looked_at_once() -> None:
    world = World.of("u0")
    async with watched(world) as (sessions, outages):
        world.dead.add("fake/d")
        await trio.sleep(0.1)
        with pytest.raises(UnreadableError):
            await (await sessions.dialed("fake/d")).read([world.user("u0")])
        await trio.sleep(0.1)
        assert state_of(outages) is SourceState.DOWN


class CountingSessions:
    """Sessions of many targets, each of which takes a while to answer."""

    def __init__(self, targets: int) -> None:
        self.dialed_targets = [f"fake/{n}" for n in range(targets)]
        self.trouble = Notifier()
        self.asked, self.most = 0, 0

    def is_open(self, target: str) -> bool:
        return True

    async def dialed(self, target: str) -> CountingSessions:
        return self

    async def answering(self) -> Mapping[str, str]:
        self.asked += 1
        self.most = max(self.most, self.asked)
        await trio.sleep(ANSWER_S / 2)
        self.asked -= 1
        return {}


async def test_many_targets_are_looked_at_in_turn_and_in_time() -> None:
    sessions, outages = CountingSessions(5 * LOOKS_AT_ONCE), Outages(lambda: 1.0)
    watch = TargetWatch(cast("Sessions", sessions), outages, SystemClock())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch.run)
        await trio.sleep(EVERY_S + 6 * ANSWER_S / 2)
        nursery.cancel_scope.cancel()
    assert sessions.most == LOOKS_AT_ONCE
    assert {report.state for report in outages.reports()} == {SourceState.NOT_ASKED}  # none was called silent
