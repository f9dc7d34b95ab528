"""`start_ready`: how long `ispagent run` takes until it says READY to systemd, with a million events.

The program is the real one, with the notification socket of a service manager. Its state directory holds plans with
items and steps as finished runs leave them, keys of subscribers, a billing file that was read before, and a mark file.
Modules are compiled, as the package brings them. Starts and the reference take turns. Cold: the kernel was told to
forget the pages of all files of the state directory.
"""

from __future__ import annotations

import os
import secrets
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import trio

from agent.changes.journal.commands import Deadline, NewItem, SavePlan
from agent.changes.journal.machine import Gate
from agent.model import ItemState
from agent.store.db import Store, Tx
from agent.store.identity import create_identity
from agent.store.log_store import Entry, Sealed
from agent.store.mark_file import LogMark, MarkFile
from agent.store.vault import NOBODY, Vault
from durable import files
from tests.bench.processes import REPO, WAIT_S, BenchError, cpu_s, peak_mb
from tests.bench.result import Result, stopwatch
from tests.builders.store import STORE_KEY, TRANSITIONS
from trust import merkle
from trust.leaf import LeafKind

EVENTS: Final = 1_000_000
SERVICES: Final = 6_500
ROUNDS: Final = 5
LIMIT_S: Final = 3.0
ITEMS, STEPS = 50, 2
"""Of each plan, and of each item."""
_RECORD_BYTES, _DOCUMENT_BYTES = 240, 600
_RULES = """
[billing]
file = "billing.csv"

[radius.main]
database = "postgresql"
host = "127.0.0.1"
secret = "radius/main"

[nas.bng-1]
accounting = "127.0.0.1"
secret = "nas/bng-1"

[method.pppoe]
target = "radius/main"
garden4 = ["100.99.0.0/16"]

[method.pppoe.suspended_reply]
Mikrotik-Address-List = "suspended"

[method.pppoe.tariffs]
"Home 20M" = "home-20m"
"""
_HEAD = "subscriber,name,service,login,method,tariff,protected,feeds,balance,due,paid_at,as_of\n"
_READ = (
    "import sqlite3, sys; con = sqlite3.connect(f'file:{sys.argv[1]}?mode=ro', uri=True);"
    " print(con.execute('SELECT count(*), max(seq) FROM event').fetchone()[0])"
)
REFERENCE: Final = "python -c, sqlite3: count the events of the same file"


@dataclass(frozen=True, slots=True)
class FinishedPlan:
    """Append a plan that ran to its end: each item about to, sent, read back and applied."""

    saved: SavePlan
    sealed: Sealed

    def run(self, tx: Tx) -> None:
        plan, digest = self.saved.plan_id, self.saved.digest
        if not self.saved.run(tx):
            raise BenchError("expected a short id of its own for each plan")
        tx.append(Entry(LeafKind.APPROVAL, plan, digest, sealed=self.sealed))
        consumed = tx.append(Entry(LeafKind.CONSUMED, plan, digest, sealed=self.sealed))
        steps = []
        for item in self.saved.items:
            for step in range(STEPS):
                code = 0 if step else 5
                about = tx.append(Entry(LeafKind.ABOUT_TO, plan, digest, item.n, step, code, sealed=self.sealed))
                if step == 0:
                    self._state(tx, item.n, ItemState.RUNNING, about)
                done = tx.append(Entry(LeafKind.STEP_OUTCOME, plan, digest, item.n, step, 1, sealed=self.sealed))
                steps.append((plan, item.n, step, "do", 1, about, b"{}", b"[]", done, "applied", "", ""))
            self._state(tx, item.n, ItemState.APPLIED, tx.append(Entry(LeafKind.ITEM_STATE, plan, digest, item.n)))
        tx.many(
            "INSERT INTO step (plan_id, item, n, direction, attempt, about_seq, do, bound, outcome_seq, verdict,"
            " reason, detail) VALUES (?,?,?,?,?,?,?,?,?,?,?,?)",
            steps,
        )
        finished = tx.append(Entry(LeafKind.CHANGE_FINISHED, plan, digest, sealed=self.sealed))
        tx.run(
            "UPDATE plan SET gate = ?, gate_seq = ?, consumed_seq = ?, finished_seq = ?, outcome = x'00'"
            " WHERE plan_id = ?",
            (Gate.CONSUMED.value, consumed, consumed, finished, plan),
        )
        tx.raise_high_water = True

    def _state(self, tx: Tx, item: int, state: ItemState, seq: int) -> None:
        tx.run(
            "UPDATE item SET state = ?, state_seq = ? WHERE plan_id = ? AND n = ?",
            (state.value, seq, self.saved.plan_id, item),
        )


@dataclass(frozen=True, slots=True)
class Services:
    """Keep so many services, as an import does."""

    count: int

    def run(self, tx: Tx) -> None:
        tx.many(
            "INSERT INTO service (ref, subscriber, name, service, login, method, tariff, protected, feeds, extra)"
            " VALUES (?,?,?,'home',?,'pppoe','Home 20M','',0,'{}')",
            [(f"C-{n}/home", f"C-{n}", f"Name {n}", f"login-{n}") for n in range(self.count)],
        )


def _plan(number: int, subjects: list[bytes], services: int) -> FinishedPlan:
    sealed = Sealed(subjects[number % len(subjects)], secrets.token_bytes(_RECORD_BYTES), secrets.token_bytes(32))
    documents = [secrets.token_bytes(_DOCUMENT_BYTES) for _ in range(ITEMS)]
    items = tuple(
        NewItem(
            n,
            document,
            merkle.leaf_hash(document),
            subjects[(number * ITEMS + n) % len(subjects)],
            f"C-{(number * ITEMS + n) % services}",
            ItemState.PLANNED,
            "",
        )
        for n, document in enumerate(documents)
    )
    day = Deadline(1_767_225_600.0, 0.0, "bench")
    saved = SavePlan(
        plan_id=secrets.token_bytes(16),
        short=f"B{number:06}",
        digest=secrets.token_bytes(32),
        envelope=secrets.token_bytes(1500),
        intent_id=secrets.token_bytes(16),
        intent_digest=secrets.token_bytes(32),
        intent_envelope=None,
        action="suspend",
        risk="service",
        reason="debt",
        requester="maria",
        made_s=1_767_225_600,
        start_by=day,
        run_until=day,
        reverts=None,
        head=secrets.token_bytes(64),
        hold=False,
        items=items,
        intent_record=sealed,
        plan_record=sealed,
    )
    return FinishedPlan(saved, sealed)


class Place:
    """An agent's files in a folder; `start` runs the program on them."""

    def __init__(self, folder: Path, services: int) -> None:
        self.folder, self.state, self.services = folder, folder / "state", services
        self.state.mkdir(mode=0o700)
        key = self.state / "store.key"
        key.write_bytes(STORE_KEY)
        key.chmod(0o600)
        create_identity(self.state, STORE_KEY)
        self.config = folder / "agent.toml"
        own = f'[agent]\nname = "bench"\nstate_dir = "{self.state}"\nmark_file = "{folder / "mark"}"\n'
        self.config.write_text(f"{own}{_RULES}", encoding="utf-8")
        rows = (f"C-{n},Name {n},home,login-{n},pppoe,Home 20M,,0,0,,,2026-01-01\n" for n in range(services))
        (folder / "billing.csv").write_text(_HEAD + "".join(rows), encoding="utf-8")

    def fill(self, events: int) -> None:
        """Append plans until the log has so many events."""
        with closing(Vault(STORE_KEY, self.state / "keys.db")) as vault:
            names = [NOBODY, *(f"C-{n}" for n in range(self.services))]
            vault.ensure_subjects(names)
            subjects = [found for name in names if (found := vault.subject_id(name)) is not None]
            with closing(MarkFile(self.folder / "mark", vault.authenticate)) as mark_file:

                def raise_marks(mark: LogMark) -> None:
                    vault.raise_mark(mark)
                    mark_file.write(mark)

                with closing(Store(self.state, TRANSITIONS, time.time, high_water=raise_marks)) as store:
                    trio.run(self._fill, store, events, subjects)

    async def _fill(self, store: Store, events: int, subjects: list[bytes]) -> None:
        await store.run(Services(self.services))
        number = 0
        while store.size < events:
            async with trio.open_nursery() as nursery:
                for _ in range(20):  # one commit
                    nursery.start_soon(store.run, _plan(number, subjects, self.services))
                    number += 1

    def check(self) -> None:
        """Raise unless the agent has read the account of each subscriber from the billing file."""
        with closing(files.connect(self.state / "agent.db", readonly=True)) as con:
            found = con.execute("SELECT count(*) FROM account").fetchone()[0]
        if found != self.services:
            raise BenchError(f"expected {self.services} accounts, got {found}")

    def forget_pages(self) -> None:
        """Have the kernel drop the state directory's pages from its cache."""
        for path in self.state.iterdir():
            if path.is_file():
                fd = os.open(path, os.O_RDONLY)
                os.fsync(fd)
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
                os.close(fd)

    def start(self) -> tuple[float, float, float]:
        """Start the agent, stop it once it is ready; return wall and CPU seconds until READY, and its peak in MB."""
        address = self.folder / "notify"
        log = self.folder / "agent.log"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify, log.open("wb") as out:
            notify.bind(str(address))
            env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
            env |= {"NOTIFY_SOCKET": str(address), "ISPAGENT_CONFIG": str(self.config)}
            env["PYTHONPYCACHEPREFIX"] = str(self.folder / "compiled")
            with stopwatch() as watch:
                process = subprocess.Popen(
                    [sys.executable, "-m", "agent", "run"], env=env, cwd=REPO, stdout=out, stderr=out
                )
                try:
                    self._await_ready(process, notify)
                except BaseException:
                    process.kill()
                    process.wait()
                    raise
            used, peak = cpu_s(process.pid), peak_mb(process.pid)
            process.send_signal(signal.SIGTERM)
            if process.wait(WAIT_S):
                raise BenchError(f"ispagent run ended with {process.returncode}: {log.read_text()[-2000:]}")
        address.unlink()
        return watch.wall_s, used, peak

    def _await_ready(self, process: subprocess.Popen[bytes], notify: socket.socket) -> None:
        notify.settimeout(0.2)
        until = time.monotonic() + WAIT_S
        while process.poll() is None and time.monotonic() < until:
            try:
                if "READY=1" in notify.recv(65536).decode().splitlines():
                    return
            except TimeoutError:
                pass
        raise BenchError(f"ispagent run was not ready: {(self.folder / 'agent.log').read_text()[-2000:]}")

    def read(self) -> float:
        """Return how long the reference takes, seconds."""
        with stopwatch() as watch:
            subprocess.run(
                [sys.executable, "-c", _READ, str(self.state / "agent.db")],
                check=True,
                stdout=subprocess.DEVNULL,
                timeout=WAIT_S,
            )
        return watch.wall_s


def bench(events: int = EVENTS, services: int = SERVICES, rounds: int = ROUNDS) -> list[Result]:
    """Return the median time to READY with the files' pages in the cache, and without."""
    with tempfile.TemporaryDirectory(prefix="isp-bench-") as home:
        place = Place(Path(home), services)
        place.fill(events)
        place.start()  # the first start compiles the modules, reads the billing file and notes the build
        place.check()
        size = (place.state / "agent.db").stat().st_size / 2**20
        found = [_turns(place, rounds, cold=cold) for cold in (False, True)]
    return [
        _result(name, size, ours, bare)
        for name, (ours, bare) in zip(("start_ready", "start_ready, cold"), found, strict=True)
    ]


def _turns(place: Place, rounds: int, *, cold: bool) -> tuple[list[tuple[float, float, float]], list[float]]:
    """Start the agent and run the reference in turns; return what each took."""
    ours, bare = [], []
    for _ in range(rounds):
        if cold:
            place.forget_pages()
        bare.append(place.read())
        if cold:
            place.forget_pages()
        ours.append(place.start())
    return ours, bare


def _result(name: str, size: float, ours: list[tuple[float, float, float]], bare: list[float]) -> Result:
    wall, reference = statistics.median(wall for wall, _, _ in ours), statistics.median(bare)
    more = {
        "least s": min(wall for wall, _, _ in ours),
        "CPU s": statistics.median(cpu for _, cpu, _ in ours),
        "MB at most": max(peak for _, _, peak in ours),
        "MiB": size,
        "load": os.getloadavg()[0],
    }
    return Result(name, f"≤ {LIMIT_S:.0f} s", wall, "s", REFERENCE, reference, wall / reference, wall <= LIMIT_S, more)
