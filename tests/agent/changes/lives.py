"""An agent's run as a process of its own: `python -m tests.agent.changes.lives FOLDER MODE`.

MODE `kill WHEN WHAT N` ends it with SIGKILL at a boundary; `send PORT` tells each first byte to a UDP port. The device
is a small SQLite file beside the agent's, so that it outlives the process.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio

from agent.changes.journal import commands
from agent.model import Address, Ticket
from agent.runtime.clock import Clock
from agent.store.db import Command, Job, Store
from tests.builders.job import CrashingStore, Rig, item
from tests.builders.world import World


@dataclass
class DeviceFile(World):
    """A world that stands in a SQLite file: what the device took is there before anybody learns it."""

    path: Path = Path()

    def load(self) -> None:
        with closing(sqlite3.connect(self.path)) as con, con:
            con.execute("CREATE TABLE IF NOT EXISTS device (one INTEGER PRIMARY KEY, state TEXT)")
            row = con.execute("SELECT state FROM device").fetchone()
        if row is not None:
            values, self.sessions, writes, self.kicks = json.loads(row[0])
            self.values = {Address(a): v for a, v in values.items()}
            self.writes = [(login, value) for login, value in writes]

    def save(self, ticket: Ticket | None = None) -> None:
        state = json.dumps([self.values, self.sessions, self.writes, self.kicks])
        with closing(sqlite3.connect(self.path)) as con, con:
            con.execute("INSERT OR REPLACE INTO device VALUES (1, ?)", (state,))


@dataclass(frozen=True, slots=True)
class RealClock:
    """The machine's pace from a fixed moment; the writer's thread may ask it too."""

    boot_id: str = "11111111-2222-3333-4444-555555555555"
    start_s: float = field(default_factory=time.monotonic)

    def wall_s(self) -> float:
        return 1_767_225_600.0 + self.boot_s()

    def boot_s(self) -> float:
        return time.monotonic() - self.start_s

    async def sleep(self, seconds: float) -> None:
        await trio.sleep(seconds)

    async def sleep_until_boot(self, boot_s: float) -> None:
        await trio.sleep(max(0.0, boot_s - self.boot_s()))


class RealStore(CrashingStore):
    """The store as the daemon has it: commits are the writer thread's. Dies where it is told to."""

    dies: Callable[[str, str], None] = staticmethod(lambda when, what: None)

    async def run(self, command: Command[Any]) -> Any:
        return await Store.run(self, command)

    def _commit(self, jobs: list[Job]) -> None:
        for job in jobs:
            self.dies("before", type(job.command).__name__)
        super()._commit(jobs)
        for job in jobs:
            self.dies("after", type(job.command).__name__)


class Killer:
    """Ends this very process at the n-th time that something happens."""

    def __init__(self, when: str, what: str, n: int) -> None:
        self._at, self._left = (when, what), n

    def __call__(self, when: str, what: str) -> None:
        if (when, what) == self._at:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)


async def run_whole(rig: Rig, plan_id: bytes) -> None:
    """Run a plan and finish it, as the worker does."""
    await rig.apply(plan_id)
    record = rig.recorder.record(None, {"what": "finished"})
    await rig.store.run(commands.Finish(plan_id, b"outcome", lambda _: record))


def open_rig(folder: Path, clock: Clock, store_type: type[CrashingStore]) -> tuple[Rig, DeviceFile]:
    world = DeviceFile(path=folder / "device.db")
    world.load()
    world.on_took = world.save
    return Rig(folder, world, clock, store_type=store_type), world


async def first_life(folder: Path, mode: list[str]) -> None:
    rig, world = open_rig(folder, RealClock(), RealStore)
    world.add("u0")
    world.save()
    plan_id = await rig.consumed([item(1, "u0", world)])
    if mode[0] == "kill":
        killer = Killer(mode[1], mode[2], int(mode[3]))
        RealStore.dies = staticmethod(killer)
        world.on_send = lambda ticket: killer("before", "send")

        def took(ticket: Ticket) -> None:
            world.save()
            killer("after", "send")

        world.on_took = took
    else:
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        text = "STEP {0.item} {0.step} {0.attempt}"

        def sent(ticket: Ticket) -> None:
            udp.sendto(text.format(ticket).encode(), ("127.0.0.1", int(mode[1])))

        world.on_send = sent
    await run_whole(rig, plan_id)
    rig.close()


if __name__ == "__main__":
    trio.run(first_life, Path(sys.argv[1]), sys.argv[2:])


ROOT = Path(__file__).parents[3]


BOUNDARIES = [
    *((when, "AboutTo", 1) for when in ("before", "after")),
    *((when, "send", n) for n in (1, 2) for when in ("before", "after")),
    *((when, "NextStep", 1) for when in ("before", "after")),
    *((when, "EndItem", 1) for when in ("before", "after")),
    ("before", "Finish", 1),
]


def sent(boundary: tuple[str, str, int]) -> bool:
    """Choose the instant that the quick suite has: a command is on its way, and nothing is known of it."""
    return boundary == ("after", "send", 1)
