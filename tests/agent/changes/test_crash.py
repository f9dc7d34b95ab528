"""The agent dies at every durable command of a run, before it and after it, under every fault; then it starts again.

What must hold afterwards: nothing was sent twice with effect, nothing is missing, the log verifies.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from agent.changes import commands, plans
from agent.connectors.base import Reach
from agent.model import ABSENT, Item, ItemState, Wave
from tests.agent.changes.rig import CrashedError, Rig, item
from tests.agent.connectors.fake import World
from tests.fakes import FakeClock
from trust.statements import OnFailure

S = ItemState


@dataclass(frozen=True, slots=True)
class Case:
    """A plan and its fault. `faults` are those of u0's sends, in order."""

    faults: tuple[str, ...] = ()
    reach: Reach = Reach.DIAL
    items: int = 1
    on_failure: OnFailure = OnFailure.STOP
    refused: str = ""
    reason_only: bool = False
    canary: bool = False
    offline: bool = False


@dataclass(frozen=True, slots=True)
class End:
    """What is left when it is over."""

    states: tuple[ItemState, ...]
    reasons: frozenset[tuple[str, str]]
    writes: tuple[tuple[str, str], ...]
    values: tuple[str, ...]


def new(path: Path) -> Path:
    path.mkdir()
    return path


def make_world(case: Case) -> World:
    world = World()
    for n in range(case.items):
        world.add(f"u{n}", online=not case.offline)
    world.faults["u0"] = list(case.faults)
    if case.refused:
        world.faults[case.refused] = ["refused"] * 10
    return world


def make_items(case: Case, world: World) -> list[Item]:
    items = [item(n + 1, f"u{n}", world) for n in range(case.items)]
    if case.reason_only:
        last = items[-1]
        items[-1] = replace(last, steps=(), enforce=None, desired=("+abuse",))
    return items


async def live(rig: Rig, plan_id: bytes) -> None:
    """Run the plan to its end, as the worker does."""

    async def devices_call_in() -> None:
        while True:
            await trio.sleep(5)
            rig.connector.calls_in.set()

    await rig.apply(plan_id, devices_call_in)
    if plans.find(rig.store.reader, plan_id.hex()).finished_seq is None:
        record = rig.recorder.record(None, {"what": "finished"})
        await rig.store.run(commands.Finish(plan_id, b"outcome", record))


async def run_case(folder: Path, case: Case, *, die_at: int | None, die_after: bool) -> tuple[End, bool]:
    """Return how it ends, and whether it died on the way."""
    world, clock = make_world(case), FakeClock()
    rig = Rig(folder, world, clock, case.reach)
    rig.without_fsync()  # what is killed here is no process, so the disk need not be waited for
    items = make_items(case, world)
    waves = [Wave(1, 1, 30), Wave(2, case.items, 0)] if case.canary else None
    plan_id = await rig.save_plan(items, on_failure=case.on_failure, waves=waves)
    await rig.consume(plan_id)
    rig.store.seen, rig.store.die_at, rig.store.die_after = 0, die_at, die_after
    died = False
    try:
        await live(rig, plan_id)
    except* CrashedError:
        died = True
    rig.close()
    rig = Rig(folder, world, clock, case.reach)
    if died:
        rig.without_fsync()
        rig.evidence.verify()
        await live(rig, plan_id)
    end = check(rig, plan_id, world, case)
    rig.close()
    return end, died


def check(rig: Rig, plan_id: bytes, world: World, case: Case) -> End:
    reader = rig.store.reader
    rig.evidence.verify()
    assert reader.execute("SELECT count(*) FROM address_lock").fetchone()[0] == 0
    assert reader.execute("SELECT count(*) FROM step WHERE outcome_seq IS NULL").fetchone()[0] == 0
    states = rig.states(plan_id)
    assert not {S.PLANNED, S.WAITING, S.RUNNING, S.UNKNOWN} & set(states)
    writes = [(login, "absent" if v is ABSENT else str(sorted(v))) for login, v in world.writes]
    assert max(Counter(writes).values(), default=0) <= 1, f"written twice: {writes}"
    ways = 2 if case.on_failure is OnFailure.REVERT else 1
    assert max(Counter(world.kicks).values(), default=0) <= ways, f"disconnected twice: {world.kicks}"
    rows = reader.execute("SELECT service, reason FROM reason").fetchall()
    reasons = frozenset((r["service"], r["reason"]) for r in rows)
    values = tuple(str(world.values[world.user(f"u{n}")]) for n in range(case.items))
    return End(tuple(states), reasons, tuple(sorted(writes)), values)


FAULTS: tuple[tuple[str, ...], ...] = (
    (),
    ("command-lost",),
    ("reply-lost",),
    ("third-value",),
    ("no-effect",),
    ("", "command-lost"),
    ("", "reply-lost"),
    ("", "nak"),
    ("", "ack-without-effect"),
)


def cases() -> Iterator[Case]:
    for faults, reach in itertools.product(FAULTS, (Reach.DIAL, Reach.ARRIVE)):
        yield Case(faults, reach)
    for faults, reach in itertools.product(((), ("command-lost",), ("reply-lost",), ("third-value",)), Reach):
        yield Case(faults, reach, items=3, reason_only=reach is Reach.DIAL)
    later = (("", "", "reply-lost"), ("", "", "", "reply-lost"))
    for faults in ((), ("command-lost",), ("reply-lost",), ("third-value",), *later):
        yield Case(faults, items=2, on_failure=OnFailure.REVERT, refused="u1")
    yield Case(items=3, reason_only=True, on_failure=OnFailure.REVERT, refused="u1")
    yield Case(items=2, reach=Reach.ARRIVE, on_failure=OnFailure.REVERT, refused="u1")
    yield Case(items=3, canary=True)
    yield Case(items=3, canary=True, refused="u0")
    yield Case(offline=True)


def name(case: Case) -> str:
    fault = "+".join(f or "ok" for f in case.faults) or "no-fault"
    marks = [m for m in ("refused", "reason_only", "canary", "offline") if getattr(case, m)]
    return "-".join([case.reach.value, str(case.items), case.on_failure.value, fault, *marks])


SAID = frozenset({"no-effect", "nak", "ack-without-effect"})
"""Faults that only the reply tells: a crash that loses it leaves a proven "nothing happened": sent once more."""


@pytest.mark.parametrize("case", list(cases()), ids=name)
async def test_dies_at_every_boundary(case: Case, tmp_path: Path, autojump_clock: MockClock) -> None:
    expected, died = await run_case(new(tmp_path / "whole"), case, die_at=None, die_after=False)
    assert not died
    allowed = {expected}
    if SAID & set(case.faults):
        allowed.add(
            (await run_case(new(tmp_path / "healthy"), replace(case, faults=()), die_at=None, die_after=False))[0]
        )
    for at in itertools.count(1):
        died_before = True
        for after in (False, True):
            end, died = await run_case(new(tmp_path / f"{at}-{after}"), case, die_at=at, die_after=after)
            assert end in allowed, f"died {'after' if after else 'before'} command {at}"
            died_before = died_before and died
        if not died_before:
            assert at > 3, "too few boundaries: nothing was tested"
            return
