"""`backup`: a million events backed up and restored beside `sqlite3 .backup`, and appends while it runs.

The appends are the real store's, 100 a second, each waited for by a task of its own; the backup is `ispagent backup` as
a program. Seconds with and without a backup take turns, so that both meet the same disk.
"""

from __future__ import annotations

import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import trio
from pyrage import x25519

from agent.store.backup import BackupPaths, keys_beside
from agent.store.db import Store, Tx
from agent.store.identity import create_identity
from agent.store.log_store import Entry, Sealed
from agent.store.restoring import restore
from agent.store.vault import NOBODY, Vault
from backups.sealing import new_identity, parse_identities_untrusted
from tests.bench.processes import BenchError
from tests.bench.result import Result, compared, stopwatch
from tests.builders.store import STORE_KEY, TRANSITIONS
from trust.leaf import LeafKind

EVENTS = 1_000_000
PER_S = 100
ROUNDS, ROUND_S = 4, 10.0
_RECORD_BYTES = 240
_AT_ONCE = 5000


@dataclass(frozen=True, slots=True)
class Fill:
    """Append so many events with records."""

    count: int
    subject: bytes

    def run(self, tx: Tx) -> None:
        blob = secrets.token_bytes(_RECORD_BYTES + self.count)
        for n in range(self.count):
            sealed = Sealed(self.subject, blob[n : n + _RECORD_BYTES], blob[n : n + 32])
            tx.append(Entry(LeafKind.STEP_OUTCOME, item=n % 50, step=1, code=1, sealed=sealed))


class Place:
    """An agent's files on a folder, with an open store."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.state = folder, folder / "state"
        self.state.mkdir(mode=0o700)
        key = self.state / "store.key"
        key.write_bytes(STORE_KEY)
        key.chmod(0o600)
        create_identity(self.state, STORE_KEY)
        (folder / "agent.toml").write_text(f'[agent]\nname = "bench"\nstate_dir = "{self.state}"\n')
        with closing(Vault(STORE_KEY, self.state / "keys.db")) as vault:
            vault.ensure_subjects([NOBODY])
            subject = vault.subject_id(NOBODY)
        if subject is None:
            raise BenchError("expected the key of nobody")
        self.subject = subject
        self.identity = new_identity()
        self.store = Store(self.state, TRANSITIONS, time.time)
        self._numbers = iter(range(1_000_000))

    def paths(self, name: str) -> BackupPaths:
        data = self.folder / f"{name}.age"
        return BackupPaths(data, keys_beside(data))

    def back_up(self, name: str) -> None:
        """Run `ispagent backup` as a program."""
        recipient = str(x25519.Identity.from_str(self.identity).to_public())
        to = str(self.paths(name).data)
        command = [sys.executable, "-m", "agent", "backup", "--to", to, "--recipient", recipient]
        env = {**os.environ, "ISPAGENT_CONFIG": str(self.folder / "agent.toml")}
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=600, check=False)
        if done.returncode:
            raise BenchError(f"backup: exit code {done.returncode}: {done.stderr[-500:]}")

    async def back_up_again_and_again(self, until: float) -> int:
        """Make backups one after another until a time of trio's clock; return how many."""
        made = 0
        while trio.current_time() < until:
            name = f"turn-{next(self._numbers)}"
            await trio.to_thread.run_sync(self.back_up, name)
            for path in (self.paths(name).data, self.paths(name).keys):
                path.unlink()
            made += 1
        return made

    async def appends(self, until: float) -> list[float]:
        """Append 100 a second until a time of trio's clock; return how long each took, seconds."""
        took: list[float] = []

        async def one() -> None:
            began = time.perf_counter()
            await self.store.run(Fill(1, self.subject))
            took.append(time.perf_counter() - began)

        async with trio.open_nursery() as nursery:
            due = trio.current_time()
            while due < until:
                await trio.sleep_until(due)
                nursery.start_soon(one)
                due += 1 / PER_S
        return took


async def _turns(place: Place, rounds: int, round_s: float) -> tuple[list[float], list[float], int]:
    """Return how long appends took without and with backups, and how many backups were made."""
    alone: list[float] = []
    beside: list[float] = []
    made = 0
    for _ in range(rounds):
        alone += await place.appends(trio.current_time() + round_s)
        until = trio.current_time() + round_s

        async def backups(until: float = until) -> None:
            nonlocal made
            made += await place.back_up_again_and_again(until)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(backups)
            beside += await place.appends(until)
    return alone, beside, made


def percentile(values: list[float], share: float) -> float:
    """Return the value below which this share of the others is."""
    return sorted(values)[min(int(len(values) * share), len(values) - 1)]


async def _measure(place: Place, events: int, rounds: int, round_s: float) -> tuple[list[float], list[float], int]:
    for start in range(0, events, _AT_ONCE):
        await place.store.run(Fill(min(_AT_ONCE, events - start), place.subject))
    return await _turns(place, rounds, round_s)


def bench(events: int = EVENTS, rounds: int = ROUNDS, round_s: float = ROUND_S) -> list[Result]:
    """Return the p99 of appends beside backups, and how long a backup and a restore take."""
    with tempfile.TemporaryDirectory(prefix="isp-bench-") as home:
        place = Place(Path(home))
        with closing(place.store):
            alone, beside, made = trio.run(_measure, place, events, rounds, round_s)
            with stopwatch() as ours:
                place.back_up("one")
            with stopwatch() as bare:
                command = ["sqlite3", str(place.state / "agent.db"), f".backup {place.folder / 'bare.db'}"]
                subprocess.run(command, check=True, timeout=600)
        identities = parse_identities_untrusted(place.identity.encode())
        with stopwatch() as again:
            restore(place.paths("one"), identities, place.folder / "new")
        size = (place.state / "agent.db").stat().st_size / 2**20
    name = ("sqlite3 .backup", bare.wall_s)
    p99, p99_alone = percentile(beside, 0.99) * 1000, percentile(alone, 0.99) * 1000
    more = {
        "median ms": statistics.median(beside) * 1000,
        "median ms without": statistics.median(alone) * 1000,
        "longest ms": max(beside) * 1000,
        "longest ms without": max(alone) * 1000,
        "backups": float(made),
    }
    return [
        compared("backup_appends_p99", "≤ 1.2", p99, "ms", ("without a backup", p99_alone), limit=1.2, more=more),
        Result("backup_write", "none", ours.wall_s, "s", *name, ours.wall_s / bare.wall_s, None, {"MiB": size}),
        Result("backup_restore", "≤ 60 s", again.wall_s, "s", *name, again.wall_s / bare.wall_s, again.wall_s <= 60),
    ]
