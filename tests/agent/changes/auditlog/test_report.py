"""The report: each item that was asked for stands in the one column that its result has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from zoneinfo import ZoneInfo

import pytest

from agent.changes.auditlog import report
from agent.changes.auditlog.history import ALWAYS
from agent.changes.auditlog.report import ReportColumn as Column
from agent.changes.journal.commands import SetGate
from agent.changes.journal.machine import Gate
from agent.model import Listed
from tests.builders.job import Rig, item
from tests.builders.world import World
from trust.leaf import LeafKind
from trust.statements import OnFailure

pytestmark = pytest.mark.virtual_time


async def counted(rig: Rig) -> Mapping[Column, int]:
    (row,) = await report.report(rig.store.reader, rig.vault, ZoneInfo("UTC"), ALWAYS, ())
    return row.counts


async def test_what_a_run_came_to(rig: Rig, world: World) -> None:
    items = [item(n + 1, f"u{n}", world) for n in range(4)]
    items.append(replace(item(5, "u4", world), steps=(), enforce=None))
    items.append(item(6, "u5", world, listed=Listed.BLOCKED))
    plan_id = await rig.consumed(items, on_failure=OnFailure.CONTINUE)
    del world.sessions["u1"]
    world.faults["u2"] = ["refused"]
    world.values[world.user("u3")] = {"plan": "another"}
    await rig.apply(plan_id)
    rig.store._con.execute("UPDATE plan SET reason = '+debt'")
    columns = (Column.SUSPENDED, Column.AT_NEXT_LOGIN, Column.FAILED, Column.NOTHING_SENT, Column.RECORDED)
    assert await counted(rig) == dict.fromkeys((*columns, Column.CANNOT), 1)


async def test_what_was_taken_back(rig: Rig, world: World) -> None:
    world.faults["u1"] = ["refused"]
    await rig.applied([item(n + 1, f"u{n}", world) for n in range(2)], on_failure=OnFailure.REVERT)
    assert await counted(rig) == {Column.TAKEN_BACK: 1, Column.FAILED: 1}


@pytest.mark.parametrize(
    ("gate", "column"),
    [
        (None, Column.PENDING),
        (Gate.APPROVED, Column.PENDING),
        (Gate.REJECTED, Column.NOTHING_SENT),
        (Gate.EXPIRED, Column.NOTHING_SENT),
    ],
)
async def test_what_has_not_begun(rig: Rig, world: World, gate: Gate | None, column: Column) -> None:
    plan_id = await rig.save_plan([item(1, "u0", world)])
    if gate is not None:
        await rig.store.run(SetGate(plan_id, gate, LeafKind.APPROVAL, rig.recorder.record(None, {})))
    assert await counted(rig) == {column: 1}
