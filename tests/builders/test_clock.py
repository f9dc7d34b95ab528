"""The clock of tests on virtual time."""

from __future__ import annotations

import threading

import pytest
import trio
import trio.testing


async def test_virtual_time_stands_still_while_a_thread_works(autojump_clock: trio.testing.MockClock) -> None:
    began, over = trio.current_time(), threading.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep, 3600)
        await trio.to_thread.run_sync(over.wait, 0.05)
        assert trio.current_time() == began
    assert trio.current_time() == began + 3600


@pytest.mark.virtual_time
async def test_a_marked_test_is_on_virtual_time() -> None:
    began = trio.current_time()
    await trio.sleep(366 * 86400)
    assert trio.current_time() == began + 366 * 86400
