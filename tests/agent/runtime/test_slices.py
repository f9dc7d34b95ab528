"""Slices: every thing once, in order, and a turn for others after each slice."""

from __future__ import annotations

import itertools

import pytest
import trio

from agent.runtime.slices import SLICE, InSlices


@pytest.mark.parametrize("n", [0, 1, SLICE - 1, SLICE, SLICE + 1, 5 * SLICE])
async def test_others_get_their_turn_after_each_slice(n: int) -> None:
    handled: list[int] = []
    seen = [0]

    async def other() -> None:
        while True:
            seen.append(len(handled))
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        await trio.lowlevel.checkpoint()
        async for thing in InSlices(range(n)):
            handled.append(thing)
        nursery.cancel_scope.cancel()
    assert handled == list(range(n))
    # Twice: of two tasks that are ready trio runs either first
    assert max(later - earlier for earlier, later in itertools.pairwise([*seen, n])) <= 2 * SLICE
