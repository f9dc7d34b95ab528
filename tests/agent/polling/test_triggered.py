"""Polls that notifications trigger: at once, once for many, and no more than a device's budget."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from agent.polling.triggered import AT_ONCE, EACH_S, TOGETHER, TriggeredPolls
from tests.builders.clock import FakeClock

pytestmark = pytest.mark.virtual_time


class Polled:
    """Notes when each target was polled; a poll takes a while."""

    def __init__(self, takes_s: float = 1.0) -> None:
        self.takes_s = takes_s
        self.began: list[tuple[str, float]] = []
        self.most = self._now = 0

    async def __call__(self, target: str) -> None:
        self.began.append((target, trio.current_time()))
        self._now += 1
        self.most = max(self.most, self._now)
        await trio.sleep(self.takes_s)
        self._now -= 1


@asynccontextmanager
async def running(polled: Polled) -> AsyncIterator[TriggeredPolls]:
    polls = TriggeredPolls(polled, FakeClock())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(polls.run)
        yield polls
        nursery.cancel_scope.cancel()


async def test_a_device_is_polled_at_once() -> None:
    polled = Polled()
    async with running(polled) as polls:
        began_s = trio.current_time()
        polls.ask("snmp/a")
        polls.ask("snmp/a")
        polls.ask("snmp/b")
        await trio.sleep(10)
    assert sorted(polled.began) == [("snmp/a", began_s), ("snmp/b", began_s)]


async def test_what_is_heard_during_a_poll_is_asked_again() -> None:
    polled = Polled(takes_s=5.0)
    async with running(polled) as polls:
        began_s = trio.current_time()
        polls.ask("snmp/a")
        await trio.sleep(2)
        polls.ask("snmp/a")
        await trio.sleep(30)
    assert [at_s - began_s for _, at_s in polled.began] == [0.0, 5.0]


async def test_a_storm_of_forged_notifications_causes_bounded_polls() -> None:
    polled = Polled(takes_s=0.1)
    async with running(polled) as polls:
        for _ in range(3600 * 2):
            polls.ask("snmp/a")
            await trio.sleep(0.5)
    assert AT_ONCE + 3600 / EACH_S - 1 <= len(polled.began) <= AT_ONCE + 3600 / EACH_S + 1


async def test_a_device_that_was_left_alone_has_its_budget_again() -> None:
    polled = Polled(takes_s=0.0)
    async with running(polled) as polls:
        for _ in range(50):
            polls.ask("snmp/a")
            await trio.sleep(0.5)
        await trio.sleep((AT_ONCE + 1) * EACH_S)
        polled.began.clear()
        for _ in range(AT_ONCE):
            polls.ask("snmp/a")
            await trio.sleep(0.5)
    assert len(polled.began) == AT_ONCE


async def test_notifications_of_all_devices_at_once_poll_few_at_time() -> None:
    polled = Polled()
    async with running(polled) as polls:
        for n in range(100):
            polls.ask(f"snmp/{n}")
        await trio.sleep(60)
    assert (len(polled.began), polled.most) == (100, TOGETHER)
