"""A plan is used once, and never after its cancel, whoever comes first at the writer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Protocol

import pytest
import trio

from agent.changes.authority import stops
from agent.changes.journal import commands
from agent.changes.journal.machine import Gate
from agent.model import ItemState
from agent.runtime.clock import Now, now_of
from agent.store.db import Tx
from agent.store.errors import RefusedCommandError
from tests.builders import job as rigs
from tests.builders.clock import FakeClock
from tests.builders.job import Rig, item
from tests.builders.world import World
from trust.leaf import LeafKind
from trust.statements import Cancel


class Command(Protocol):
    def run(self, tx: Tx) -> object: ...


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path, World(), FakeClock())
    rig.world.add("u0")
    yield rig
    rig.close()


def test_how_far_a_clock_was_set_is_known_within_a_boot() -> None:
    until = commands.Deadline(5000.0, 1500.0, "boot-1")
    assert until.clock_set_s(Now(4000.0, 500.0, "boot-1")) == 0.0
    assert until.clock_set_s(Now(3600.0, 500.0, "boot-1")) == -400.0
    assert until.clock_set_s(Now(4000.0, 20.0, "boot-2")) == 0.0
    unnamed = commands.Deadline(5000.0, 1500.0, "")
    assert unnamed.clock_set_s(Now(4000.0, 20.0, "")) == 0.0, "maybe another boot"


async def approved(rig: Rig) -> bytes:
    plan_id = await rig.save_plan([item(1, "u0", rig.world)])
    record = rig.recorder.record(None, {"what": "x"})
    await rig.store.run(commands.SetGate(plan_id, Gate.APPROVED, LeafKind.APPROVAL, record))
    return plan_id


def consume(rig: Rig, plan_id: bytes) -> Command:
    record = rig.recorder.record(None, {"what": "x"})
    return commands.Consume(plan_id, now_of(rig.clock), lambda tx, kept: None, lambda tx: None, 99, record)


def cancel(rig: Rig, digest: bytes) -> Command:
    return stops.RecordCancel(
        Cancel("1" * 32, "4" * 32, (digest.hex(),), "joseph", 0), b"e", rig.recorder.record(None, {})
    )


async def together(rig: Rig, *asked: Command) -> list[str]:
    """Hand commands to the writer at once, in this order; return what each came to: done, or why not."""
    said = [""] * len(asked)

    async def one(n: int, command: Command, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        try:
            await rig.store.run(command)
            said[n] = "done"
        except RefusedCommandError as err:
            said[n] = err.reason

    async with trio.open_nursery() as nursery:
        for n, command in enumerate(asked):
            await nursery.start(one, n, command)
    return said


def leaves(rig: Rig, kind: LeafKind) -> list[int]:
    rows = rig.store.reader.execute("SELECT seq FROM event WHERE kind = ? ORDER BY seq", (kind.value,))
    return [row["seq"] for row in rows]


async def test_A10_of_many_workers_one_uses_the_plan(rig: Rig) -> None:
    plan_id = await approved(rig)
    said = await together(rig, *(consume(rig, plan_id) for _ in range(6)))
    assert sorted(said) == ["consumed"] * 5 + ["done"]
    assert len(leaves(rig, LeafKind.CONSUMED)) == 1
    rig.evidence.verify()


@pytest.mark.parametrize("first", ["cancel", "consume", "both"])
async def test_A5_a_cancel_that_races_the_start(rig: Rig, autojump_clock: object, first: str) -> None:
    """The order at the writer decides, and the log shows it: nothing is sent either way."""
    plan_id = await approved(rig)
    asked = {"cancel": cancel(rig, rig.loaded(plan_id).row.digest), "consume": consume(rig, plan_id)}
    if first == "both":
        said = await together(rig, *asked.values())
    else:
        said = [*await together(rig, asked.pop(first)), *await together(rig, *asked.values())]
    (cancelled,), used = leaves(rig, LeafKind.CANCEL), leaves(rig, LeafKind.CONSUMED)
    assert first == "both" or bool(used) == (first == "consume")
    if used:
        assert (said, rig.loaded(plan_id).row.gate) == (["done", "done"], Gate.CONSUMED)
        assert used[0] < cancelled
        await rig.apply(plan_id)
        assert rig.states(plan_id) == [ItemState.CANCELLED]
    else:
        assert (sorted(said), rig.loaded(plan_id).row.gate) == (["done", "not-approved"], Gate.CANCELLED)
    assert rig.world.writes == rig.world.kicks == []


async def test_J11_a_cancel_before_its_plan(rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same plan is made in a second place, so its digest is known before it is saved here."""
    drawn = SimpleNamespace(token_bytes=lambda n: b"\7" * n, token_hex=lambda n: "07" * n)
    monkeypatch.setattr(rigs, "secrets", drawn)
    (tmp_path / "elsewhere").mkdir()
    elsewhere = Rig(tmp_path / "elsewhere", rig.world, FakeClock())
    digest = elsewhere.loaded(await approved(elsewhere)).row.digest
    elsewhere.close()
    await rig.store.run(cancel(rig, digest))
    plan_id = await approved(rig)
    assert rig.loaded(plan_id).row.digest == digest
    assert await together(rig, consume(rig, plan_id)) == ["cancelled"]
    assert leaves(rig, LeafKind.CONSUMED) == []
