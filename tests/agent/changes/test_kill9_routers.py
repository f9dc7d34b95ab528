"""The agent's process is killed with SIGKILL while it talks to a router over TCP, and started again.

The router lives on: in a thread while the process runs, then on the virtual time of the next life.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from agent.changes.journal import plans
from agent.model import ItemState
from lab.router.device import Router
from lab.router.server import RouterThread
from lab.router.store import Event
from lab.router.table import Row
from tests.agent.changes.lives import BOUNDARIES, ROOT, RealClock, run_whole, sent
from tests.agent.changes.router_lives import TARGET
from tests.builders.clock import FakeClock
from tests.builders.router import RouterWorld
from tests.marks import slow_unless

ONLINE = "/user/active"

UNWRITTEN = [("before", "AboutTo", 1), ("after", "AboutTo", 1), ("before", "send", 1)]
NOT_ENDED = [*UNWRITTEN, ("after", "send", 1), *((when, "NextStep", 1) for when in ("before", "after"))]
NOT_ENDED += [("before", "send", 2)]


def first_life(router: Router, folder: Path, boundary: tuple[str, str, int]) -> None:
    """Let the process run to its end at that boundary, and the router take all that it had sent."""
    left = threading.Event()

    def see(path: str, row: Row, event: Event) -> None:
        if path == ONLINE and event == "removed":
            left.set()

    router.store.watchers.append(see)
    when, what, n = boundary
    thread = RouterThread(router)
    with thread as endpoint:
        command = [sys.executable, "-m", "tests.agent.changes.router_lives", str(folder), str(endpoint.port)]
        done = subprocess.run(
            [*command, when, what, str(n)], cwd=ROOT, capture_output=True, text=True, timeout=30, check=False
        )
        assert done.returncode == -signal.SIGKILL, f"it did not come to that boundary: {done.stderr}"
        while thread.call(router.rows, ONLINE):  # a connection ends behind the last of its commands
            assert left.wait(30)
            left.clear()
    router.store.watchers.remove(see)


@pytest.mark.parametrize("boundary", slow_unless(sent, BOUNDARIES), ids=lambda b: "-".join(map(str, b)))
async def test_J1_kill_9_on_routers(tmp_path: Path, autojump_clock: MockClock, boundary: tuple[str, str, int]) -> None:
    world = RouterWorld(RealClock())
    world.add("u0", online=True)
    await trio.to_thread.run_sync(first_life, world.router(TARGET), tmp_path, boundary)
    assert len(world.writes()) == (boundary not in UNWRITTEN)
    assert len(world.kicks()) == (boundary not in NOT_ENDED)

    world.clock = FakeClock(start_wall_s=world.clock.wall_s())
    async with world.running():
        rig = world.rig(tmp_path)
        rig.evidence.verify()
        [row] = plans.unfinished(rig.store.reader)
        await run_whole(rig, row.plan_id)
        assert rig.states(row.plan_id) == [ItemState.APPLIED]
        assert len(world.writes()) == len(world.kicks()) == 1
        assert world.suspended("u0")
        assert not world.at_large("u0")
        reader = rig.store.reader
        assert [tuple(r) for r in reader.execute("SELECT service, reason FROM reason")] == [("C-u0/home", "debt")]
        assert reader.execute("SELECT count(*) FROM address_lock").fetchone()[0] == 0
        assert reader.execute("SELECT count(*) FROM step WHERE outcome_seq IS NULL").fetchone()[0] == 0
        assert plans.unfinished(reader) == []
        rig.evidence.verify()
        rig.close()
