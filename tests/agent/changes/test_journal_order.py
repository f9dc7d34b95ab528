"""Nothing is sent before its "about to" is on the disk; nothing follows a step whose outcome is not."""

from __future__ import annotations

import os
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from agent.model import Direction, ItemState, Ticket, Wave
from tests.agent.changes.lives import RealClock, RealStore
from tests.builders.job import Rig, item
from tests.builders.world import World
from trust.statements import OnFailure

ROOT = Path(__file__).parents[3]


class Witness:
    """Looks at the database from a connection of its own at each first byte: only what is committed is there."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.saw: Counter[tuple[int, int, str]] = Counter()

    def __call__(self, ticket: Ticket) -> None:
        with closing(sqlite3.connect(f"file:{self._path}?mode=ro", uri=True)) as con:
            con.row_factory = sqlite3.Row
            rows = con.execute("SELECT * FROM step WHERE item = ?", (ticket.item,)).fetchall()
            leaves = {r["seq"] for r in con.execute("SELECT seq FROM event")}
            state = con.execute("SELECT state FROM item WHERE n = ?", (ticket.item,)).fetchone()["state"]
        mine = {(r["n"], r["direction"], r["attempt"]): r for r in rows}
        about = mine.pop((ticket.step, ticket.direction.value, ticket.attempt))
        assert about["outcome_seq"] is None
        assert about["about_seq"] in leaves
        assert all(r["outcome_seq"] in leaves for r in mine.values()), "an earlier step has no outcome"
        if ticket.direction is Direction.FORWARD:
            assert state in ("running", "unknown")
            before = {r["n"] for r in mine.values() if r["direction"] == "forward" and r["verdict"] == "applied"}
            assert before == set(range(1, ticket.step))
        self.saw[ticket.item, ticket.step, ticket.direction.value] += 1


async def test_about_to_is_durable_at_the_first_byte(tmp_path: Path) -> None:
    world = World.of(*(f"u{n}" for n in range(12)))
    rig = Rig(tmp_path, world, RealClock(), store_type=RealStore)
    world.on_send = witness = Witness(rig.store.path)
    plan_id = await rig.applied([item(n + 1, f"u{n}", world) for n in range(12)])
    assert set(rig.states(plan_id)) == {ItemState.APPLIED}
    assert witness.saw == Counter({(n, step, "forward"): 1 for n in range(1, 13) for step in (1, 2)})
    rig.close()


async def test_reverts_and_second_attempts_keep_the_order(tmp_path: Path) -> None:
    world = World.of(*(f"u{n}" for n in range(3)))
    world.faults = {"u0": ["command-lost"], "u2": ["refused"] * 3}
    rig = Rig(tmp_path, world, RealClock(), store_type=RealStore)
    world.on_send = witness = Witness(rig.store.path)
    items = [item(n + 1, f"u{n}", world) for n in range(3)]
    plan_id = await rig.applied(items, waves=[Wave(1, 2, 0), Wave(3, 3, 0)], on_failure=OnFailure.REVERT)
    assert rig.states(plan_id) == [ItemState.REVERTED, ItemState.REVERTED, ItemState.NOT_APPLIED]
    assert witness.saw[1, 1, "forward"] == 2
    assert witness.saw[1, 1, "revert"] == witness.saw[1, 2, "revert"] == 1
    rig.close()


# --- what the kernel saw ---

CALL = re.compile(r"^(\d+) +(?:<\.\.\. )?(\w+)(\(| resumed)(.*)$")


def calls(trace: str) -> list[tuple[str, str]]:
    """Return (system call, arguments) in the order in which they ended, from what `strace -f -y` wrote."""
    begun: dict[tuple[str, str], str] = {}
    ended = []
    for line in trace.splitlines():
        found = CALL.match(line)
        if found is None:
            continue
        pid, name, opener, rest = found.groups()
        if rest.endswith("<unfinished ...>"):
            begun[pid, name] = rest
        else:
            ended.append((name, begun.pop((pid, name), "") + rest if opener != "(" else rest))
    return ended


def test_fdatasync_before_each_send(tmp_path: Path) -> None:
    strace = shutil.which("strace")
    if strace is None:
        if os.environ.get("CI") == "true":
            pytest.fail("CI needs strace (package strace)", pytrace=False)
        pytest.skip("strace is not installed")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind(("127.0.0.1", 0))
        run = [sys.executable, "-m", "tests.agent.changes.lives", str(tmp_path), "send", str(peer.getsockname()[1])]
        trace = tmp_path / "trace"
        traced = [strace, "-f", "-y", "-o", str(trace), "-e", "trace=fdatasync,fsync,pwrite64,sendto"]
        done = subprocess.run([*traced, *run], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    sends, unsynced, syncs, written = [], 0, 0, 0
    for name, arguments in calls(trace.read_text()):
        if "agent.db-wal" in arguments:
            if name == "pwrite64":
                unsynced, written = unsynced + 1, written + 1
            elif name in ("fdatasync", "fsync"):
                unsynced, syncs = 0, syncs + 1
        elif name == "sendto" and '"STEP ' in arguments:
            sends.append(arguments)
            assert written, "nothing was journalled for this send"
            assert syncs, "no fdatasync since the send before"
            assert not unsynced, f"{unsynced} writes to the journal were not on the disk at {arguments}"
            syncs = written = 0
    assert [re.findall(r"STEP \d \d \d", s) for s in sends] == [["STEP 1 1 1"], ["STEP 1 2 1"]]
