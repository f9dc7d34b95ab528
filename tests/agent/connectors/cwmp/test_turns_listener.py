"""Turns on the event loop: how much is begun in one pass, and who waits for the next."""

from __future__ import annotations

import trio

from agent.connectors.cwmp.turns_listener import Turns


async def test_where_nobody_waits_a_turn_costs_no_switch_of_tasks() -> None:
    turns = Turns(10)
    with turns.running():
        await trio.lowlevel.checkpoint()
        done = 0

        async def other() -> None:
            nonlocal done
            done += 1

        async with trio.open_nursery() as nursery:
            nursery.start_soon(other)
            for _ in range(9):
                await turns.take()
            assert done == 0


async def test_many_that_are_ready_at_once_take_several_passes_in_the_order_they_came() -> None:
    turns, passes, order = Turns(4), 0, []
    begun: list[int] = []

    async def work(number: int) -> None:
        order.append(number)
        await turns.take(2)
        begun.append(passes)
        order.append(-number)

    with turns.running():
        async with trio.open_nursery() as nursery:
            for number in range(1, 21):
                nursery.start_soon(work, number)
            while len(begun) < 20:
                await trio.lowlevel.checkpoint()
                passes += 1
    assert max(begun.count(each) for each in begun) <= 4, "two a pass, and the count may be a pass late"
    assert max(begun) >= 8
    waited = [n for n in order if n > 0]
    assert [-n for n in order if n < 0][2:] == waited[2:]


async def test_a_large_piece_in_slices_lets_others_in() -> None:
    turns, others = Turns(4), 0

    async def other() -> None:
        nonlocal others
        while True:
            await trio.lowlevel.checkpoint()
            others += 1

    with turns.running():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(other)
            await trio.lowlevel.checkpoint()
            before = others
            for _ in range(50):
                await turns.go_on(4)
            nursery.cancel_scope.cancel()
    assert others - before >= 49


async def test_who_is_cancelled_in_the_line_holds_nobody_up() -> None:
    turns = Turns(1)
    with turns.running():
        await turns.take()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(turns.take)
            nursery.cancel_scope.cancel()
        with trio.fail_after(60):
            await turns.take()
