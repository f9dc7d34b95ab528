"""The agent's process is killed with SIGKILL at each kind of boundary, and started again on the same files."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from trio.testing import MockClock

from agent.changes.journal import plans
from agent.model import ItemState
from tests.agent.changes.lives import BOUNDARIES, ROOT, open_rig, run_whole, sent
from tests.builders.clock import FakeClock
from tests.builders.job import CrashingStore
from tests.marks import slow_unless


def first_life(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)


@pytest.mark.parametrize("boundary", slow_unless(sent, BOUNDARIES), ids=lambda b: "-".join(map(str, b)))
async def test_J1_kill_9(tmp_path: Path, autojump_clock: MockClock, boundary: tuple[str, str, int]) -> None:
    when, what, n = boundary
    command = [sys.executable, "-m", "tests.agent.changes.lives", str(tmp_path), "kill", when, what, str(n)]
    done = first_life(command)
    assert done.returncode == -signal.SIGKILL, f"it did not come to that boundary: {done.stderr}"

    rig, world = open_rig(tmp_path, FakeClock(), CrashingStore)
    writes_before, kicks_before = len(world.writes), len(world.kicks)
    assert writes_before == ((when, what, n) not in [
        ("before", "AboutTo", 1), ("after", "AboutTo", 1), ("before", "send", 1)
    ])  # fmt: skip
    assert kicks_before <= writes_before
    rig.evidence.verify()
    [row] = plans.unfinished(rig.store.reader)
    await run_whole(rig, row.plan_id)

    assert rig.states(row.plan_id) == [ItemState.APPLIED]
    assert len(world.writes) == len(world.kicks) == 1
    assert world.values[world.user("u0")] == {"plan": "20M", "suspended": "yes"}
    reader = rig.store.reader
    assert [tuple(r) for r in reader.execute("SELECT service, reason FROM reason")] == [("C-u0/home", "debt")]
    assert reader.execute("SELECT count(*) FROM address_lock").fetchone()[0] == 0
    assert reader.execute("SELECT count(*) FROM step WHERE outcome_seq IS NULL").fetchone()[0] == 0
    assert plans.unfinished(reader) == []
    rig.evidence.verify()
    rig.close()
