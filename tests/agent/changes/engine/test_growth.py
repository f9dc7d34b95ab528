"""The work for one item does not grow with its change: counted, since a clock says nothing on a machine that is busy.

A statement that reads all steps of a plan for each of its items made a suspension of 2,000 take twice the time, and no
other test saw it: with ten items it costs nothing.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import FrameType

from trio.testing import MockClock

from tests.builders.clock import FakeClock
from tests.builders.job import Rig, item
from tests.builders.world import World

SIZES = (20, 60, 100)
STEPS_AT_ONCE = 10
"""Instructions of SQLite's virtual machine that are counted in one call."""
MOST = 1.15
"""How much more the last 40 items may take than the 40 before: a search in a larger tree is a little longer."""


async def _work(folder: Path, count: int) -> tuple[int, int]:
    """Return SQLite's instructions and Python's calls to suspend so many subscribers in one change."""
    world = World()
    for n in range(count):
        world.add(f"u{n}")
    rig = Rig(folder, world, FakeClock())
    try:
        rig.without_fsync()
        plan_id = await rig.consumed([item(n + 1, f"u{n}", world) for n in range(count)])
        instructions, calls = 0, 0

        def executed() -> int:
            nonlocal instructions
            instructions += STEPS_AT_ONCE
            return 0

        def called(_: FrameType, event: str, __: object) -> None:
            nonlocal calls
            calls += event == "call"

        for con in (rig.store._con, rig.store.reader):
            con.set_progress_handler(executed, STEPS_AT_ONCE)
        before = sys.getprofile()
        sys.setprofile(called)
        try:
            await rig.apply(plan_id)
        finally:
            sys.setprofile(before)
        states = rig.states(plan_id)
    finally:
        rig.close()
    assert len(states) == count
    assert {state.value for state in states} == {"applied"}
    return instructions, calls


async def test_an_item_takes_no_more_work_in_a_larger_change(tmp_path: Path, autojump_clock: MockClock) -> None:
    found = []
    for count in SIZES:
        (tmp_path / str(count)).mkdir()
        found.append(await _work(tmp_path / str(count), count))
    for what, (small, middle, large) in zip(("instructions of SQLite", "calls"), zip(*found, strict=True), strict=True):
        assert large - middle <= (middle - small) * MOST, f"{what}: {small}, {middle}, {large} for {SIZES} items"
