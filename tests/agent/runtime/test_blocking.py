"""Bounded threads, and what cancellation does to them."""

from __future__ import annotations

import threading

import pytest
import trio

from agent.runtime.blocking import Threads


async def test_returns_and_raises_as_the_function_does() -> None:
    threads = Threads("sql test", 2)
    assert await threads.run(divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        await threads.run(divmod, 1, 0)


async def test_never_more_than_the_limit() -> None:
    threads, lock = Threads("sql test", 3), threading.Lock()
    together = threading.Barrier(3, timeout=10)
    running = most = 0

    def call() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        together.wait()  # three at once do happen
        with lock:
            running -= 1

    async with trio.open_nursery() as nursery:
        for _ in range(9):
            nursery.start_soon(threads.run, call)
    assert most == 3
    assert threads.busy == 0


async def test_run_is_waited_for_when_cancelled() -> None:
    threads, go, done = Threads("t", 1), threading.Event(), threading.Event()

    def call() -> None:
        go.wait(10)
        done.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(threads.run, call)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
        go.set()
    assert done.is_set()


async def test_an_abandoned_call_returns_at_once_and_keeps_its_place() -> None:
    threads, go = Threads("t", 1), threading.Event()
    with trio.move_on_after(0.01) as scope:
        await threads.run_abandonable(go.wait, 10)
    assert scope.cancelled_caught
    assert threads.busy == 1
    with trio.move_on_after(0.01) as scope:
        await threads.run(divmod, 1, 1)
    assert scope.cancelled_caught  # no second thread while the first still hangs
    go.set()
    assert await threads.run(divmod, 1, 1) == (1, 0)
