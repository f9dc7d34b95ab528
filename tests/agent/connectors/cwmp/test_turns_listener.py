"""Turns on the event loop: how much is begun in one pass, and who waits for the next."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from agent.connectors.cwmp.turns_listener import Turns


@asynccontextmanager
async def running(turns: Turns) -> AsyncIterator[trio.Nursery]:
    """Have turns dealt out for the block; gives its nursery, which is cancelled at the end."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(turns.run)
        await trio.testing.wait_all_tasks_blocked()
        yield nursery
        nursery.cancel_scope.cancel()


async def test_where_nobody_waits_a_turn_costs_no_switch_of_tasks() -> None:
    turns = Turns(10)
    async with running(turns) as nursery:
        done = 0

        async def other() -> None:
            nonlocal done
            done += 1

        nursery.start_soon(other)
        for _ in range(9):
            await turns.take()
        assert done == 0


async def test_many_ready_at_once_take_several_passes_in_order() -> None:
    turns, passes, order = Turns(4), 0, []
    begun: list[int] = []

    async def work(number: int) -> None:
        order.append(number)
        await turns.take(2)
        begun.append(passes)
        order.append(-number)

    async with running(turns) as nursery:
        for number in range(1, 21):
            nursery.start_soon(work, number)
        while len(begun) < 20:
            await trio.lowlevel.checkpoint()
            passes += 1
    assert max(begun.count(each) for each in begun) <= 8, "four a pass are let go on, and the count may be a pass late"
    assert max(begun) >= 4
    came, went = [n for n in order if n > 0], [-n for n in order if n < 0]
    for one, place in enumerate(went[2:]):  # those of one pass go on in any order
        assert abs(came[2:].index(place) - one) < 4


async def test_line_moves_on_by_what_pass_has_room_for_and_not_by_one() -> None:
    turns, passes, done = Turns(8), 0, 0

    async def work() -> None:
        nonlocal done
        await turns.take()
        done += 1

    async with running(turns) as nursery:
        for _ in range(80):
            nursery.start_soon(work)
        while done < 80:
            await trio.lowlevel.checkpoint()
            passes += 1
    assert 80 / 8 / 2 <= passes <= 30


async def test_a_large_piece_in_slices_lets_others_in() -> None:
    turns, others = Turns(4), 0

    async def other() -> None:
        nonlocal others
        while True:
            await trio.lowlevel.checkpoint()
            others += 1

    async with running(turns) as nursery:
        nursery.start_soon(other)
        await trio.lowlevel.checkpoint()
        before = others
        for _ in range(50):
            await turns.go_on(4)
        assert others - before >= 49


async def test_who_is_cancelled_in_the_line_holds_nobody_up() -> None:
    turns = Turns(1)
    async with running(turns) as nursery:
        await turns.take()
        async with trio.open_nursery() as line:
            line.start_soon(turns.take)
            line.cancel_scope.cancel()
        with trio.fail_after(60):
            await turns.take()
            await turns.take()
        assert not nursery.cancel_scope.cancel_called
