"""Runs in which the agent dies at a durable command, before it or after it, under a fault; then it starts again.

What must hold afterwards: nothing was sent twice with effect, nothing is missing, the log verifies.
"""

from __future__ import annotations

import itertools
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import trio

from agent.changes.journal import commands, plans
from agent.connectors.base import Reach
from agent.model import Item, ItemState, Wave
from tests.agent.changes.worlds import CrashWorld
from tests.builders.clock import FakeClock
from tests.builders.job import CrashedError, Rig
from trust.items import ReasonChange, SuspensionReason
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
    drifted: bool = False


@dataclass(frozen=True, slots=True)
class End:
    """The state after a run and its recovery: of the items, the records and the devices."""

    states: tuple[ItemState, ...]
    reasons: frozenset[tuple[str, str]]
    writes: tuple[tuple[str, str], ...]
    values: tuple[str, ...]


MakeWorld = Callable[[FakeClock, Case], CrashWorld]


def new(path: Path) -> Path:
    path.mkdir()
    return path


def fill(world: CrashWorld, case: Case) -> None:
    for n in range(case.items):
        world.add(f"u{n}", online=not case.offline)


def meet(world: CrashWorld, case: Case) -> None:
    world.fault("u0", case.faults)
    if case.refused:
        world.fault(case.refused, ["refused"] * 10)
    if case.drifted:
        world.drift("u0")


async def make_items(case: Case, world: CrashWorld) -> list[Item]:
    items = [await world.item(n + 1, f"u{n}") for n in range(case.items)]
    if case.reason_only:
        last = items[-1]
        items[-1] = replace(last, steps=(), enforce=None, desired=(ReasonChange(SuspensionReason.ABUSE, added=True),))
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
        await rig.store.run(commands.Finish(plan_id, b"outcome", lambda _: record))


async def run_case(
    folder: Path, case: Case, make: MakeWorld, *, die_at: int | None, die_after: bool
) -> tuple[End, bool]:
    """Return how it ends, and whether it died on the way."""
    world = make(FakeClock(), case)
    async with world.running():
        fill(world, case)
        items = await make_items(case, world)
        meet(world, case)
        rig = world.rig(folder)
        rig.without_fsync()  # the test kills no process, so the kernel keeps each write
        waves = [Wave(1, 1, 30), Wave(2, case.items, 0)] if case.canary else None
        plan_id = await rig.consumed(items, on_failure=case.on_failure, waves=waves)
        rig.store.seen, rig.store.die_at, rig.store.die_after = 0, die_at, die_after
        died = False
        try:
            await live(rig, plan_id)
        except* CrashedError:
            died = True
        rig.close()
        rig = world.rig(folder)
        if died:
            rig.without_fsync()
            rig.evidence.verify()
            await live(rig, plan_id)
        end = check(rig, plan_id, world, case)
        assert died or case.refused or not world.unmet("u0"), "a fault that nothing met tests nothing"
        rig.close()
    return end, died


def check(rig: Rig, plan_id: bytes, world: CrashWorld, case: Case) -> End:
    reader = rig.store.reader
    rig.evidence.verify()
    assert reader.execute("SELECT count(*) FROM address_lock").fetchone()[0] == 0
    assert reader.execute("SELECT count(*) FROM step WHERE outcome_seq IS NULL").fetchone()[0] == 0
    loaded = rig.loaded(plan_id)
    states = rig.states(plan_id)
    assert not {S.PLANNED, S.WAITING, S.RUNNING, S.UNKNOWN} & set(states)
    assert max(Counter(world.writes()).values(), default=0) <= 1, f"written twice: {world.writes()}"
    ways = 2 if case.on_failure is OnFailure.REVERT else 1
    kicks = world.kicks()
    assert max(Counter(kicks).values(), default=0) <= ways, f"disconnected twice: {kicks}"
    ended = Counter(login for login, _ in kicks)
    assert ended <= to_be_ended(reader, loaded), "disconnected without a word in the journal"
    for item, state in zip(loaded.items.items, states, strict=True):
        check_said(world, item, state)
    rows = reader.execute("SELECT service, reason FROM reason").fetchall()
    reasons = frozenset((r["service"], r["reason"]) for r in rows)
    values = tuple(world.value(f"u{n}") for n in range(case.items))
    return End(tuple(states), reasons, tuple(sorted(world.writes())), values)


def to_be_ended(reader: sqlite3.Connection, loaded: plans.Loaded) -> Counter[str]:
    """Return by login how many sessions the journal was about to end."""
    found: Counter[str] = Counter()
    for row in plans.steps(reader, loaded.row.plan_id):
        found[plans.item_by_number(loaded.items, row.item).display["login"]] += len(row.bound)
    return found


STANDS = (S.APPLIED, S.SET_AT_NEXT_LOGIN, S.SET_NOT_ENFORCED)
DOES_NOT = (S.NOT_APPLIED, S.REVERTED, S.CANCELLED, S.SKIPPED, S.STALE, S.EXPIRED)


def check_said(world: CrashWorld, item: Item, state: ItemState) -> None:
    """Assert that the final state of an item agrees with the devices."""
    login, suspended = item.display["login"], world.suspended(item.display["login"])
    if not item.steps:
        assert suspended is False
    elif state in STANDS:
        assert suspended is True, f"{login} is said to be {state.value}"
        assert not (state is S.APPLIED and world.at_large(login)), f"{login} is said to be {state.value}"
    elif state in DOES_NOT:
        assert suspended is False, f"{login} is said to be {state.value}"


FAULTS: tuple[tuple[str, ...], ...] = (
    (),
    ("command-lost",),
    ("reply-lost",),
    ("third-value",),
    ("no-effect",),
    ("", "command-lost"),
    ("", "reply-lost"),
    ("", "nak"),
    ("", "ack-without-effect", "ack-without-effect"),
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
    yield Case(drifted=True)


def name(case: Case) -> str:
    fault = "+".join(f or "ok" for f in case.faults) or "no-fault"
    marks = [m for m in ("refused", "reason_only", "canary", "offline", "drifted") if getattr(case, m)]
    return "-".join([case.reach.value, str(case.items), case.on_failure.value, fault, *marks])


ENDS = {
    "third-value": S.DIVERGED,
    "no-effect": S.NOT_APPLIED,
    "nak": S.SET_NOT_ENFORCED,
    "ack-without-effect": S.SET_NOT_ENFORCED,
}


def becomes(case: Case) -> ItemState:
    """Return what becomes of u0 where nobody dies."""
    if case.drifted:
        return S.STALE
    if case.refused == "u0":
        return S.NOT_APPLIED
    for fault in case.faults:
        if fault in ENDS:
            return ENDS[fault]
    if case.on_failure is OnFailure.REVERT:
        return S.REVERTED
    return S.SET_AT_NEXT_LOGIN if case.offline else S.APPLIED


SAID = frozenset({"no-effect", "nak", "ack-without-effect"})
"""Faults that only the reply tells: a crash that loses it leaves a proven "nothing happened": sent once more."""


async def die_everywhere(folder: Path, case: Case, make: MakeWorld) -> End:
    """Run a case whole, then once for each boundary at which it dies: the end is the same, and is returned."""
    expected, died = await run_case(new(folder / "whole"), case, make, die_at=None, die_after=False)
    assert not died
    allowed = {expected}
    if SAID & set(case.faults):
        healthy = replace(case, faults=())
        allowed.add((await run_case(new(folder / "healthy"), healthy, make, die_at=None, die_after=False))[0])
    if case.drifted:  # a crash loses that it drifted before we wrote: it may have been after
        allowed.add(replace(expected, states=(S.DIVERGED,)))
    at, dies = 0, True
    while dies:
        at += 1
        for after in (False, True):
            end, died = await run_case(new(folder / f"{at}-{after}"), case, make, die_at=at, die_after=after)
            assert end in allowed, f"died {'after' if after else 'before'} command {at}"
            dies = dies and died
    assert at > 3, "too few boundaries: nothing was tested"
    return expected
