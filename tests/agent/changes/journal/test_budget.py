"""The rolling budget of a class, as the journal tells it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.changes.engine.tickets import now_of
from agent.changes.journal import budget, commands
from agent.changes.journal.machine import Gate
from tests.builders.clock import FakeClock
from tests.builders.job import Rig, item
from tests.builders.world import World
from trust.leaf import LeafKind


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path, World(), FakeClock())
    for name in ("u0", "u1", "u2"):
        rig.world.add(name)
    yield rig
    rig.close()


async def start(rig: Rig, *logins: str) -> float:
    plan_id = await rig.save_plan([item(n, login, rig.world) for n, login in enumerate(logins, 1)])
    record = rig.recorder.record(None, {"what": "x"})
    await rig.store.run(commands.SetGate(plan_id, Gate.APPROVED, LeafKind.APPROVAL, record))
    await rig.store.run(
        commands.Consume(plan_id, now_of(rig.clock), lambda tx, kept: None, lambda tx: None, 99, record)
    )
    return rig.clock.wall_s()


async def test_plans_count_for_an_hour_after_their_start(rig: Rig, autojump_clock: object) -> None:
    began_s = int(await start(rig, "u0", "u1"))
    rig.clock.pass_s(1800)
    later_s = int(await start(rig, "u2"))
    assert sorted(budget.uses_of(rig.store.query, "low", later_s)) == [(began_s, 2), (later_s, 1)]
    assert budget.uses_of(rig.store.query, "low", began_s + budget.HOUR_S) == [(later_s, 1)]
    assert budget.uses_of(rig.store.query, "restore", later_s) == []


async def test_a_budget_is_read_by_indexes(rig: Rig) -> None:
    """It is read for each payer, and plans are kept for ever."""
    asked, reader = list[str](), rig.store.reader
    reader.set_trace_callback(asked.append)
    budget.uses_of(rig.store.query, "low", rig.clock.wall_s())
    budget.waiting_of(rig.store.query, "low", rig.clock.wall_s())
    reader.set_trace_callback(None)
    found = [str(r["detail"]) for sql in asked for r in reader.execute(f"EXPLAIN QUERY PLAN {sql}")]
    assert found
    assert not [step for step in found if step.startswith("SCAN")]
