"""`journal_steps` and `log_append`: what it costs to have each step on the disk before its first byte.

Both run on the real store, its writer thread and real files, beside bare SQLite on the same disk in the same minute.
"""

from __future__ import annotations

import gc
import secrets
import sqlite3
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import trio

from agent.changes.engine.tickets import Owed, StepAction, Tickets
from agent.changes.journal.moments import SendWindow
from agent.model import Direction, Item, StepOutcome, Verdict
from agent.runtime.clock import SystemClock
from agent.store.db import Job, Store, Tx
from agent.store.log_store import Entry, Sealed
from agent.store.vault import Vault
from tests.bench.result import Result, stopwatch
from tests.builders.job import STORE_KEY, TRANSITIONS, Rig, item
from tests.builders.world import World
from trust.leaf import LeafKind

IN_FLIGHT = (1, 8, 32)
WAITING = 100
APPEND_AIM = 10.0
_RECORD_BYTES = 200


def bare_steps(folder: Path, steps: int) -> float:
    """Return seconds for so many steps as bare SQLite: two inserts, one commit, one after the other."""
    with closing(sqlite3.connect(folder / "bare.db", isolation_level=None)) as con:
        con.execute("PRAGMA journal_mode = WAL")
        con.execute("PRAGMA synchronous = FULL")
        con.execute("CREATE TABLE step (n INTEGER PRIMARY KEY, body BLOB NOT NULL)")
        body = secrets.token_bytes(_RECORD_BYTES)
        with stopwatch() as watch:
            for _ in range(steps):
                con.execute("BEGIN IMMEDIATE")
                con.execute("INSERT INTO step (body) VALUES (?)", (body,))
                con.execute("INSERT INTO step (body) VALUES (?)", (body,))
                con.execute("COMMIT")
    return watch.wall_s


class ThreadedStoreRig(Rig):
    """The rig with the store that the daemon has: the writer is a thread, commits are grouped."""

    def __init__(self, folder: Path, world: World) -> None:
        super().__init__(folder, world, SystemClock())
        self.store.close()
        self.store = Store(folder, TRANSITIONS, self.clock.wall_s, high_water=self.vault.raise_mark)  # type: ignore[assignment]  # the base class


async def _journal_steps(folder: Path, steps: int, in_flight: int) -> float:
    """Return seconds for about-to and outcome of so many items' first steps, `in_flight` of them at once."""
    world = World()
    for n in range(steps):
        world.add(f"u{n}")
    rig = ThreadedStoreRig(folder, world)
    items = [item(n + 1, f"u{n}", world) for n in range(steps)]
    plan_id = await rig.consumed(items)
    loaded = rig.loaded(plan_id)
    tickets = Tickets(loaded.row, rig.store, rig.recorder, rig.clock, rig.unmet, lambda _: SendWindow(0))
    for i in items:
        tickets.track(i, loaded.rows[i.n].state, "")
    turns = trio.CapacityLimiter(in_flight)

    async def one(i: Item) -> None:
        async with turns:
            step = i.steps[0]
            ticket = await tickets.about_to(i, StepAction(step.n, step.target, Direction.FORWARD, step.do, {}))
            await tickets.outcome(Owed(ticket, StepOutcome(Verdict.APPLIED, "read-back")))

    gc.collect()  # else the garbage of this set-up and of the runs before may be collected within the measured 0.1 s
    with stopwatch() as watch:
        async with trio.open_nursery() as nursery:
            for i in items:
                nursery.start_soon(one, i)
    done = rig.store.reader.execute("SELECT count(*) FROM step WHERE verdict = 'applied'").fetchone()[0]
    rig.close()
    if done != steps:
        raise AssertionError(f"expected {steps} steps in the journal, got {done}")
    return watch.wall_s


def bench_steps(steps: int = 1000) -> list[Result]:
    """Return journal steps per second with 1, 8 and 32 in flight."""
    results = []
    for in_flight in IN_FLIGHT:
        with tempfile.TemporaryDirectory(prefix="isp-bench-") as home:
            bare = steps / bare_steps(Path(home), steps)
            ours = steps / trio.run(_journal_steps, Path(home), steps, in_flight)
        name = f"journal_steps_{in_flight}"
        reference = "bare SQLite, two inserts a commit, one at a time"
        results.append(Result(name, "none", ours, "steps/s", reference, bare, ours / bare))
    return results


@dataclass(frozen=True, slots=True)
class _Append:
    """One event with its leaf and a record."""

    sealed: Sealed

    def run(self, tx: Tx) -> int:
        return tx.append(Entry(LeafKind.INTENT, sealed=self.sealed))


async def _appends(store: Store, commands: list[_Append], waiting: int) -> float:
    turns = trio.CapacityLimiter(waiting)

    async def one(command: _Append) -> None:
        async with turns:
            await store.run(command)

    with stopwatch() as watch:
        async with trio.open_nursery() as nursery:
            for command in commands:
                nursery.start_soon(one, command)
    return watch.wall_s


def _append_rate(appends: int, waiting: int, slow_s: float) -> float:
    """Return leaves per second. `slow_s` more for every commit: a disk that is slower than this one."""
    with tempfile.TemporaryDirectory(prefix="isp-bench-") as home:
        folder = Path(home)
        vault = Vault(STORE_KEY, folder / "keys.db")
        vault.ensure_subjects([""])
        store = _store(folder, slow_s)
        commands = [_Append(vault.seal_record("", secrets.token_bytes(_RECORD_BYTES))) for _ in range(appends)]
        wall_s = trio.run(_appends, store, commands, waiting)
        size = store.size
        store.close()
        vault.close()
    if size != appends:
        raise AssertionError(f"expected {appends} leaves, got {size}")
    return appends / wall_s


class _SlowDiskStore(Store):
    """A store whose commits take so much longer, as on a disk that does not lie about fsync."""

    slow_s = 0.0

    def _commit(self, jobs: list[Job]) -> None:
        super()._commit(jobs)
        time.sleep(self.slow_s)


def _store(folder: Path, slow_s: float) -> Store:
    make: Callable[..., Store] = type("SlowDiskStore", (_SlowDiskStore,), {"slow_s": slow_s}) if slow_s else Store
    return make(folder, TRANSITIONS, time.time)


def bench_append(appends: int = 3000, slow_s: float = 0.002) -> list[Result]:
    """Return leaves per second with 100 waiting against one by one: on this disk, and on one slower by `slow_s`."""
    results = []
    for name, extra in (("log_append", 0.0), (f"log_append_disk_{slow_s * 1000:.0f}ms_slower", slow_s)):
        one = _append_rate(max(appends // 10, 1), 1, extra)
        many = _append_rate(appends, WAITING, extra)
        ratio = many / one
        reference = "one by one"
        aim = f"ratio >= {APPEND_AIM:.0f}"
        results.append(Result(name, aim, many, "leaves/s", reference, one, ratio, ratio >= APPEND_AIM))
    return results
