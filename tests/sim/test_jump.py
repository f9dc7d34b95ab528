"""Virtual time: it jumps, exactly, and a task that never waits is found."""

from __future__ import annotations

import pytest
import trio

from tests.builders.clock import FakeClock
from tests.sim import jump
from tests.sim.jump import JumpingClock
from tests.sim.machine import MachineClock


def test_time_is_each_deadline_exactly_and_at_once() -> None:
    seen = list[float]()

    async def main() -> None:
        async with trio.open_nursery() as nursery:

            async def at(when: float) -> None:
                await trio.sleep_until(when)
                seen.append(trio.current_time())

            for when in (0.1 + 0.2, 86400.1, 1e-9, 3600.0):
                nursery.start_soon(at, when)

    trio.run(main, clock=JumpingClock())
    assert seen == [1e-9, 0.1 + 0.2, 3600.0, 86400.1]


def test_what_happens_at_a_moment_comes_before_tasks_go_on() -> None:
    seen = list[tuple[str, float]]()

    async def main() -> None:
        woken = trio.Event()

        def happens() -> None:
            seen.append(("event", trio.current_time()))
            woken.set()

        clock.at(2.0, happens)
        clock.at(1.0, happens)
        clock.at(3.0, happens)
        await woken.wait()
        seen.append(("task", trio.current_time()))
        await trio.sleep_until(2.0)
        seen.append(("task", trio.current_time()))

    clock = JumpingClock()
    trio.run(main, clock=clock)
    assert seen == [("event", 1.0), ("task", 1.0), ("event", 2.0), ("task", 2.0)]


def test_what_another_task_of_trio_hands_over_comes_before_jump() -> None:
    seen = list[float]()

    async def main() -> None:
        token = trio.lowlevel.current_trio_token()
        token.run_sync_soon(lambda: seen.append(trio.current_time()))
        await trio.sleep(5)

    trio.run(main, clock=JumpingClock())
    assert seen == [0.0]


def test_a_task_that_never_waits_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jump, "STILL", 100)

    async def main() -> None:
        while True:
            await trio.lowlevel.checkpoint()

    with pytest.raises(jump.TimeStandsStillError, match="virtual time stands still"):
        jump.run(main)


def test_who_sleeps_on_a_machine_never_wakes_early() -> None:
    """A loop of the agent that woke early by a millionth of a second slept for none again, for ever."""

    async def main() -> None:
        clock = MachineClock(FakeClock())
        await trio.sleep(43_200.3)
        clock.boot_anew("second", off_at=trio.current_time())
        await trio.sleep(0.7)
        for seconds in (0.1, 1e-7, 1e-13, 45.0000001):
            due_s = clock.boot_s() + seconds
            await clock.sleep(seconds)
            assert clock.boot_s() >= due_s

    trio.run(main, clock=JumpingClock())


def test_a_sleeper_is_cancelled_as_it_would_wake() -> None:
    """As by trio's own `sleep`, whose scope is inside the one that ends at the same moment."""
    woken = list[float]()

    async def main() -> None:
        with trio.move_on_at(5.0) as scope:
            await trio.sleep(5)
            woken.append(trio.current_time())
        assert scope.cancelled_caught
        with trio.move_on_at(7.0):
            await trio.sleep_until(7.5)
            woken.append(trio.current_time())
        await trio.sleep(2)
        await trio.sleep_until(3.0)  # it is past
        woken.append(trio.current_time())

    jump.run(main)
    assert woken == [9.0]


def test_what_is_handed_over_comes_at_once() -> None:
    seen = list[float]()

    async def main() -> None:
        token = trio.lowlevel.current_trio_token()
        for _ in range(3):
            token.run_sync_soon(lambda: token.run_sync_soon(lambda: seen.append(trio.current_time())))
            await trio.sleep(5)

    jump.run(main)
    assert seen == [0.0, 5.0, 10.0]


def test_an_event_or_a_moment_ends_a_wait() -> None:
    seen = list[float]()

    async def main() -> None:
        event = trio.Event()
        await jump.wait_until(event, 4.0)
        seen.append(trio.current_time())
        event = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(jump.wait_until, event, 60.0)
            await trio.sleep(2)
            event.set()
        seen.append(trio.current_time())

    jump.run(main)
    assert seen == [4.0, 6.0]
