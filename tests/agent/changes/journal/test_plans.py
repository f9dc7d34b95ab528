"""A plan is proven and decoded once while it may still run; where its items stand is read each time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.changes.journal import commands, item_commands, plans
from agent.changes.journal.machine import Event, Gate
from agent.model import ItemState
from agent.store.errors import LogCorruptError
from agent.store.vault import Vault
from tests.builders.clock import FakeClock
from tests.builders.job import STORE_KEY, Rig, item
from tests.builders.world import World
from trust.leaf import LeafKind


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    world = World.of(*(f"u{n}" for n in range(3)))
    rig = Rig(tmp_path, world, FakeClock())
    rig.without_fsync()
    yield rig
    rig.close()


async def saved(rig: Rig, items: int = 3) -> bytes:
    return await rig.save_plan([item(n + 1, f"u{n}", rig.world) for n in range(items)])


async def test_loads_of_a_plan_share_its_items_and_read_its_states(rig: Rig) -> None:
    plan_id = await saved(rig)
    first = rig.loaded(plan_id)
    await rig.consume(plan_id)
    record = rig.recorder.record(None, {})
    await rig.store.run(item_commands.MoveItem(plan_id, 2, Event.BEGIN, "", "", record))
    later = rig.loaded(plan_id)
    assert later.items is first.items
    assert (later.row.gate, later.rows[2].state) == (Gate.CONSUMED, ItemState.RUNNING)
    assert first.rows[2].state is ItemState.PLANNED


async def test_a_plan_that_is_over_is_forgotten(rig: Rig) -> None:
    plan_id = await saved(rig)
    first = rig.loaded(plan_id)
    plans.forget(rig.vault, plan_id)
    again = rig.loaded(plan_id)
    assert again.items is not first.items
    assert again.items == first.items
    record = rig.recorder.record(None, {})
    await rig.store.run(commands.SetGate(plan_id, Gate.REJECTED, LeafKind.PLAN_VOID, record))
    plans.forget(rig.vault, plan_id)
    assert rig.loaded(plan_id).items is not rig.loaded(plan_id).items


async def test_another_vault_opens_a_plan_itself(rig: Rig, tmp_path: Path) -> None:
    plan_id = await saved(rig)
    first = rig.loaded(plan_id)
    vault = Vault(STORE_KEY, tmp_path / "keys.db")
    again = plans.load(rig.store.reader, vault, plans.find(rig.store.reader, plan_id.hex()))
    assert again.items is not first.items
    vault.close()


async def test_only_so_many_items_are_kept_those_used_last(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plans, "ITEMS_KEPT", 5)
    old, used, new = [await saved(rig, items) for items in (2, 2, 2)]
    loaded = {plan_id: rig.loaded(plan_id).items for plan_id in (used, old)}
    assert rig.loaded(used).items is loaded[used]
    rig.loaded(new)
    assert rig.loaded(used).items is loaded[used]
    assert rig.loaded(old).items is not loaded[old]


async def test_items_that_do_not_hash_to_the_root_are_refused(rig: Rig) -> None:
    plan_id = await saved(rig)
    rig.store._con.execute("UPDATE plan SET head = ? WHERE plan_id = ?", (b"{}", plan_id))
    with pytest.raises(LogCorruptError, match="does not verify"):
        rig.loaded(plan_id)


def instructions_of_again(rig: Rig, plan_id: bytes) -> tuple[int, int]:
    """Count SQLite's instructions that find the items of a plan that another change did again, and those items."""
    executed: list[None] = []
    reader = rig.store.reader
    plans.done_again(reader, [plan_id])  # the first time it reads the schema
    reader.set_progress_handler(lambda: executed.append(None), 1)
    executed.clear()
    found = plans.done_again(reader, [plan_id]).get(plan_id, {})
    reader.set_progress_handler(None, 1)
    return len(executed), len(found)


async def test_a_changes_rest_is_found_without_other_changes(rig: Rig) -> None:
    plan_id = await saved(rig)
    found = []
    for others in (2, 40):
        for _ in range(others):
            await saved(rig)
        found.append(instructions_of_again(rig, plan_id))
    assert found[0] == found[1]


async def test_items_of_a_revert_are_not_compared_each_with_each(tmp_path: Path) -> None:
    found = []
    for count in (20, 40, 60):
        (tmp_path / str(count)).mkdir()
        rig = Rig(tmp_path / str(count), World.of(*(f"u{n}" for n in range(count))), FakeClock())
        rig.without_fsync()
        first, revert = await saved(rig, count), await saved(rig, count)
        con = rig.store._con
        con.executescript("DROP TRIGGER item_way; DROP TRIGGER item_event; UPDATE item SET state = 'applied'")
        con.execute("UPDATE plan SET reverts = ? WHERE plan_id = ?", (first, revert))
        instructions, items = instructions_of_again(rig, first)
        assert items == count
        found.append(instructions)
        rig.close()
    small, middle, large = found
    assert large - middle <= 1.2 * (middle - small), found
