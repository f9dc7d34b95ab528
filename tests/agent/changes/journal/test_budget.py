"""The rolling budget of a class, as the journal tells it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from agent.changes.journal import budget, commands
from agent.changes.journal.budget import HOUR_S, Uses, next_turn
from agent.changes.journal.machine import Gate
from agent.runtime.clock import now_of
from tests.builders.agent import Agent
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


NOW_S = 100_000.0


@pytest.mark.parametrize(
    ("uses", "ahead", "mine", "later_s"),
    [
        ([], [], 3, 0),
        ([], [], 4, None),  # it never fits
        ([(NOW_S - HOUR_S, 3)], [], 3, 0),  # an hour ago
        ([(NOW_S - 60, 1)], [], 2, 0),
        ([(NOW_S - 60, 2)], [], 2, HOUR_S - 60),
        ([(NOW_S - 60, 1), (NOW_S - 600, 2)], [], 1, HOUR_S - 600),  # the older one makes room
        ([(NOW_S - 60, 1), (NOW_S - 600, 2)], [], 3, HOUR_S - 60),
        ([], [2], 1, 0),
        ([], [2], 2, HOUR_S),
        ([], [1, 1, 1], 1, HOUR_S),
        ([], [1, 1, 1, 3], 1, 2 * HOUR_S),
        ([], [4], 3, 0),  # what never fits is waited for by nobody
        ([(NOW_S - 600, 3)], [3], 1, 2 * HOUR_S - 600),
    ],
)
def test_a_plan_waits_for_room_after_those_ahead(
    uses: Uses, ahead: Sequence[int], mine: int, later_s: float | None
) -> None:
    assert next_turn(uses, ahead, mine, 3, NOW_S) == (None if later_s is None else NOW_S + later_s)


async def test_an_approval_more_costs_no_place_in_the_queue(agent: Agent) -> None:
    first = await agent.ask("suspend", "C-1", hold=True)
    second = await agent.ask("suspend", "C-2/home", "C-2/shop", hold=True)
    for change, who in ((first, "joseph"), (second, "joseph"), (first, "lena")):
        assert (await agent.approve(change, who))["accepted"]
    parts = agent.daemon.api.parts
    assert budget.waiting_of(parts.store.query, "low", parts.clock.wall_s()) == [1, 2]
