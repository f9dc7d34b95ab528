"""A bell, and rings between a look and the wait."""

from __future__ import annotations

import trio
import trio.testing

from agent.runtime.notifier import Notifier


async def test_a_ring_wakes_those_who_wait_and_no_later_one(autojump_clock: trio.testing.MockClock) -> None:
    bell = Notifier()
    async with trio.open_nursery() as nursery:
        for _ in range(2):
            nursery.start_soon(bell.wait)
        await trio.testing.wait_all_tasks_blocked()
        bell.ring()
    with trio.move_on_after(3600) as scope:
        await bell.wait()
    assert scope.cancelled_caught


async def test_ring_during_look_is_heard_by_who_took_its_event_before() -> None:
    bell = Notifier()
    rung = bell.next_ring()
    bell.ring()
    await rung.wait()
    assert not bell.next_ring().is_set()
