"""Clocks: the system's, and the guard over jumps."""

from __future__ import annotations

import time

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from agent.runtime.clock import MAX_JUMP_S, ClockGuard, ClockMark, SystemClock, sleep_or
from tests.builders.clock import FakeClock


def test_system_clock_reads_the_machine() -> None:
    clock = SystemClock()
    assert abs(clock.wall_s() - time.time()) < 1
    assert abs(clock.boot_s() - time.clock_gettime(time.CLOCK_BOOTTIME)) < 1
    assert len(clock.boot_id) == 36


async def test_system_clock_sleeps_on_the_boot_clock() -> None:
    clock = SystemClock()
    before = clock.boot_s()
    await clock.sleep(0.02)
    assert clock.boot_s() - before >= 0.02
    await clock.sleep_until_boot(before)  # past: at once


class WakingClock(SystemClock):
    """A machine that is suspended for an hour on the first nap: the boot clock moves on, trio's does not."""

    def boot_s(self) -> float:
        now = trio.current_time()
        return now + (3600 if now - self.zero >= 30 else 0)  # type: ignore[attr-defined]  # set by the test


async def test_a_suspend_shortens_the_sleep(autojump_clock: trio.testing.MockClock) -> None:
    class Clock(WakingClock):
        zero = trio.current_time()

    start = trio.current_time()
    await Clock().sleep(1800)
    assert trio.current_time() - start == pytest.approx(30)


async def test_the_fake_clock_jumps(autojump_clock: trio.testing.MockClock) -> None:
    clock = FakeClock()
    wall, boot = clock.wall_s(), clock.boot_s()
    await clock.sleep(7200)
    assert (clock.wall_s() - wall, clock.boot_s() - boot) == pytest.approx((7200, 7200))
    clock.step_wall(-3600)
    assert clock.wall_s() - wall == pytest.approx(3600)
    clock.reboot("other")
    assert clock.boot_s() == pytest.approx(0)
    assert clock.wall_s() - wall == pytest.approx(3660)


def test_the_first_check_takes_what_it_reads() -> None:
    guard = ClockGuard()
    assert guard.mark is None
    assert guard.check(1000.0, 10.0, "a") is None
    assert guard.mark == ClockMark(1000.0, 10.0, "a")


@pytest.mark.parametrize("jump_s", [MAX_JUMP_S + 1, -MAX_JUMP_S - 1, 3600.0, -3600.0])
def test_a_jump_halts_until_accepted(jump_s: float) -> None:
    guard = ClockGuard(ClockMark(1000.0, 10.0, "a"))
    assert guard.check(1060.0 + jump_s, 70.0, "a") == pytest.approx(jump_s)
    # Setting it right again does not clear it: a person does.
    assert guard.check(1120.0, 130.0, "a") == pytest.approx(jump_s)
    assert guard.mark == ClockMark(1000.0, 10.0, "a")
    guard.accept(1180.0 + jump_s, 190.0, "a")
    assert guard.halted_by_s is None
    assert guard.check(1240.0 + jump_s, 250.0, "a") is None


def test_up_to_five_minutes_is_no_jump() -> None:
    assert ClockGuard(ClockMark(1000.0, 10.0, "a")).check(1060.0 + MAX_JUMP_S, 70.0, "a") is None


def test_small_steps_add_up() -> None:
    guard = ClockGuard(ClockMark(0.0, 0.0, "a"))
    steps = [guard.check(60.0 * n + 50.0 * n, 60.0 * n, "a") for n in range(1, 8)]
    assert steps[:5] == [None] * 5
    assert steps[6] is not None


def test_slewing_never_adds_up() -> None:
    guard = ClockGuard(ClockMark(0.0, 0.0, "a"))
    for hour in range(1, 24 * 60):
        assert guard.check(hour * 3600 * 1.0005, hour * 3600.0, "a") is None


@pytest.mark.parametrize("boot_id", ["b", ""])
def test_after_another_boot_time_must_not_go_back(boot_id: str) -> None:
    mark = ClockMark(5000.0, 900.0, "a")
    assert ClockGuard(mark).check(4999.0, 3.0, boot_id) == pytest.approx(-1.0)
    guard = ClockGuard(mark)
    assert guard.check(99_000.0, 3.0, boot_id) is None  # how long it was off, nobody knows
    assert guard.mark == ClockMark(99_000.0, 3.0, boot_id)


def test_a_halt_survives_a_restart_of_the_daemon() -> None:
    guard = ClockGuard(ClockMark(1000.0, 10.0, "a"), halted_by_s=-3600.0)
    assert guard.check(1010.0, 20.0, "a") == -3600.0


@given(st.lists(st.tuples(st.floats(0, 1000), st.floats(-299, 299)), max_size=20))
def test_halts_exactly_when_the_offset_leaves_the_band(moves: list[tuple[float, float]]) -> None:
    guard, wall, boot, step = ClockGuard(ClockMark(0.0, 0.0, "a")), 0.0, 0.0, 0.0
    for passed, jump in moves:
        wall, boot, step = wall + passed + jump, boot + passed, step + jump
        halted = guard.check(wall, boot, "a")
        if abs(step) > MAX_JUMP_S + 1e-6:
            assert halted == pytest.approx(step)
            return
        if halted is not None:
            assert abs(halted) == pytest.approx(MAX_JUMP_S)
            return
        step = max(0.0, step - passed * 0.001) if step > 0 else min(0.0, step + passed * 0.001)


async def test_sleep_or_ends_with_its_event(autojump_clock: trio.testing.MockClock) -> None:
    clock, event = FakeClock(), trio.Event()
    await sleep_or(clock, 60, event)
    assert trio.current_time() == pytest.approx(60)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sleep_or, clock, 3600, event)
        await trio.sleep(5)
        event.set()
    assert trio.current_time() == pytest.approx(65)
