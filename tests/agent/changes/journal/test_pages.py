"""How many pages of the database a move of items writes: of each, the disk takes 4 KB and the processor a checksum."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from trio.testing import MockClock

from agent.changes.journal import item_commands
from tests.builders.clock import FakeClock
from tests.builders.job import Rig, item
from tests.builders.world import World
from trust.items import encode_item

ITEMS = 60
FRAME_BYTES = 4096 + 24
"""A page in SQLite's log of writes, with its header."""
WHY = "x" * 500
"""Text that makes an item's document as long as those of routers are."""


async def test_a_move_writes_each_page_of_long_documents_once(tmp_path: Path, autojump_clock: MockClock) -> None:
    world = World.of(*(f"u{n}" for n in range(ITEMS)))
    plain = [item(n + 1, f"u{n}", world) for n in range(ITEMS)]
    items = [replace(one, display={**one.display, "why": WHY}) for one in plain]
    assert 1000 < len(encode_item(items[0])) < 1400
    rig = Rig(tmp_path, world, FakeClock())
    try:
        rig.without_fsync()
        plan_id = await rig.consumed(items)
        for setting in ("wal_autocheckpoint = 0", "wal_checkpoint(TRUNCATE)"):
            rig.store._con.execute(f"PRAGMA {setting}").fetchall()
        await rig.store.run(item_commands.GiveUp(plan_id, "", rig.recorder.record(None, {})))
        written = (tmp_path / "agent.db-wal").stat().st_size // FRAME_BYTES
    finally:
        rig.close()
    # Two documents fit in a page. Split in two, each had a page for its second part, which was written as well
    assert written < ITEMS, f"{written} pages for {ITEMS} items"
