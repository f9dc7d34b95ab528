"""The loop of simulations takes the same steps as trio's own, in the same order and at the same moments."""

from __future__ import annotations

import random
from contextlib import nullcontext

import pytest
import trio
import trio._core._run as scheduler

from tests.seeded import deterministic
from tests.sim.jump import JumpingClock
from tests.sim.passes import own_passes


class Steps(trio.abc.Instrument):
    """Notes each step and each pass."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, float]] = []

    def before_io_wait(self, timeout: float) -> None:
        self.seen.append(("pass", timeout))

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        self.seen.append((task.name, trio.current_time()))


class Broken(trio.abc.Instrument):
    """Fails when it is told something."""

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        raise ValueError


async def tasks(seed: int) -> list[object]:
    """Do some of everything that tasks do; return what came of it."""
    dice, told, rang = random.Random(seed), list[object](), trio.Event()
    send, receive = trio.open_memory_channel[int](1)
    limiter = trio.CapacityLimiter(2)

    async def one(n: int) -> None:
        for _ in range(6):
            match dice.randrange(9):
                case 0:
                    await trio.sleep(dice.choice((0, 0.5, 1, 1.25)))
                case 1:
                    with trio.move_on_after(dice.choice((0, 0.5, 1))) as scope:
                        await rang.wait()
                    told.append((n, "late", scope.cancelled_caught, trio.current_time()))
                case 2:
                    with trio.move_on_after(1):
                        await send.send(n)
                case 3:
                    with trio.move_on_after(1):
                        told.append((n, "got", await receive.receive()))
                case 4:
                    await trio.lowlevel.checkpoint()
                case 5:
                    rang.set()
                case 6:
                    async with limiter:
                        await trio.sleep(0.25)
                case 7:
                    with trio.CancelScope(shield=True) as outer:
                        outer.cancel()
                        with trio.CancelScope(), trio.move_on_at(trio.current_time() + 2):
                            await trio.sleep(1)
                case 8:
                    trio.lowlevel.current_trio_token().run_sync_soon(told.append, (n, "soon"))
                    await child(n)

    async def child(n: int) -> None:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep, 5)
                nursery.start_soon(fail, n)
        except* ValueError as group:
            told.append((n, [str(one) for one in group.exceptions], trio.current_time()))

    async def fail(n: int) -> None:
        await trio.sleep(0.1 * n)
        raise ValueError(n)

    async with trio.open_nursery() as nursery:
        for n in range(8):
            nursery.start_soon(one, n, name=f"one {n}")
    return told


def played(seed: int, *, own: bool) -> tuple[list[object], list[tuple[str, float]], float]:
    """Return what came of the tasks, each step of each, and the next draw of the scheduler's dice."""
    clock, steps = JumpingClock(), Steps()
    with deterministic(seed), own_passes(clock) if own else nullcontext():
        told = trio.run(tasks, seed, clock=clock, instruments=[steps])
        return told, steps.seen, scheduler._r.random()


@pytest.mark.parametrize("seed", range(20))
def test_same_steps_as_trio(seed: int) -> None:
    assert played(seed, own=True) == played(seed, own=False)


def test_instrument_that_fails_is_removed_as_by_trio(caplog: pytest.LogCaptureFixture) -> None:
    clock = JumpingClock()
    with own_passes(clock):
        trio.run(trio.sleep, 5, clock=clock, instruments=[Broken()])
    (record,) = caplog.records
    assert "Broken" in record.getMessage()
    assert record.exc_info is not None
    assert record.exc_info[0] is ValueError


def test_scope_is_entered_once() -> None:
    async def main() -> None:
        scope = trio.CancelScope()
        with scope:
            await trio.lowlevel.checkpoint()
        with pytest.raises(RuntimeError, match="single 'with' block"), scope:
            await trio.lowlevel.checkpoint()

    clock = JumpingClock()
    with own_passes(clock):
        trio.run(main, clock=clock)
