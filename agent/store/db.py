"""One writer, many readers, one SQLite file.

The writer is one thread that owns one connection and takes typed commands. Commands that wait together share one
commit (group commit), each inside a savepoint of its own, so that one that fails leaves its neighbours whole. A caller
resumes only when its command is durable, and cannot be cancelled while it waits: a written "about to" is never lost
between the disk and the task that asked for it. A failed commit stops the writer for good.
"""

from __future__ import annotations

import fcntl
import os
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar, cast

import outcome
import sqlite_utils
import trio

from agent.store import log_store, schema
from agent.store.errors import StoreFailedError, StoreInUseError, StoreVersionError
from agent.store.log_store import Entry, Tail
from trust import merkle

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

BATCH_MAX = 512
"""Commands in one commit; chosen so that a commit stays under some 50 ms."""


class Tx:
    """What a command may do inside its savepoint."""

    def __init__(self, con: sqlite3.Connection, tail: Tail, now_s: float, trust_version: int) -> None:
        self._con = con
        self._tail = tail
        self.now_s = now_s
        self.trust_version = trust_version
        self.raise_high_water = False
        """Set by a command after whose commit the log head must be durable in a file of its own as well."""
        self.posted = False
        """Set when something was put into the outbox: who waits for that is told once it is durable."""

    def append(self, entry: Entry) -> int:
        """Append one event with its leaf; return its sequence number."""
        return log_store.append(self._con, self._tail, entry, self.now_s, self.trust_version)

    def run(self, sql: str, args: Sequence[object] = ()) -> int:
        """Execute one statement; return the number of rows changed."""
        return self._con.execute(sql, args).rowcount

    def many(self, sql: str, rows: Iterable[Sequence[object]]) -> int:
        """Execute one statement for each row; return the number of rows changed."""
        return self._con.executemany(sql, rows).rowcount

    def one(self, sql: str, args: Sequence[object] = ()) -> sqlite3.Row | None:
        """Return the first row, or None."""
        return cast("sqlite3.Row | None", self._con.execute(sql, args).fetchone())

    def all(self, sql: str, args: Sequence[object] = ()) -> list[sqlite3.Row]:
        """Return all rows."""
        return self._con.execute(sql, args).fetchall()


class Command(Protocol[T_co]):
    """A typed command: everything it needs is in its fields; `run` is its one transaction."""

    def run(self, tx: Tx) -> T_co:
        """Do it. Any StoreError raised undoes this command alone."""
        ...


@dataclass(slots=True)
class _Job(Generic[T]):
    command: Command[T]
    task: trio.lowlevel.Task
    result: outcome.Outcome[T] | None = None
    posted: bool = False


def _connect(path: Path, *, readonly: bool) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}{'?mode=ro' if readonly else ''}"
    con = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, timeout=5)
    con.row_factory = sqlite3.Row
    con.execute("PRAGMA foreign_keys = ON")
    return con


def _prepare(path: Path, transitions: Iterable[tuple[str, str]]) -> sqlite3.Connection:
    with ExitStack() as undo:
        con = undo.enter_context(closing(_connect(path, readonly=False)))
        _bring_up_to_date(con, path.name, transitions)
        undo.pop_all()
    return con


def _bring_up_to_date(con: sqlite3.Connection, name: str, transitions: Iterable[tuple[str, str]]) -> None:
    con.execute("PRAGMA journal_mode = WAL")
    con.execute("PRAGMA synchronous = FULL")
    con.execute("PRAGMA secure_delete = ON")
    version = con.execute("PRAGMA user_version").fetchone()[0]
    if version > schema.VERSION:
        raise StoreVersionError(
            f"{name}: expected database version {schema.VERSION} or older, got {version}: "
            "it was written by a newer ispagent"
        )
    for number, script in enumerate(schema.MIGRATIONS[version:], start=version + 1):
        con.executescript(f"BEGIN IMMEDIATE;\n{script}\nPRAGMA user_version = {number};\nCOMMIT;")
    db = sqlite_utils.Database(con)
    with con:
        con.execute("BEGIN IMMEDIATE")
        db.table("transition").delete_where()
        rows = [{"old": old, "new": new} for old, new in schema.transition_rows(transitions)]
        db.table("transition").insert_all(rows)


class Store:
    """The open store. `run(command)` returns when the command is durable; `reader` is a read-only connection."""

    def __init__(
        self,
        state_dir: Path,
        transitions: Iterable[tuple[str, str]],
        wall_s: Callable[[], float],
        *,
        high_water: Callable[[int, bytes], None] | None = None,
    ) -> None:
        """Open or create `state_dir/agent.db`, take the lock, bring the schema up to date, start the writer.

        Raises:
            StoreInUseError: another daemon holds `state_dir`.
            StoreVersionError: the database is newer than this code.
            LogCorruptError: the log and its tree disagree.
            StoreFailedError: the files cannot be written.
        """
        self.path = state_dir / "agent.db"
        self._wall_s = wall_s
        self._high_water = high_water
        with ExitStack() as undo:
            self._lock = _take_lock(state_dir / "lock")
            undo.callback(os.close, self._lock)
            try:
                self._con = undo.enter_context(closing(_prepare(self.path, transitions)))
                self._tail = log_store.load_tail(self._con)
                self.reader = _connect(self.path, readonly=True)
            except sqlite3.Error as err:
                raise StoreFailedError(f"{self.path.name}: cannot be opened: {err}") from err
            undo.pop_all()
        row = self._con.execute("SELECT max(version) FROM trust").fetchone()
        self.trust_version: int = row[0] or 0
        self.failed: str | None = None
        self.commits = 0
        self.on_post: Callable[[], None] = lambda: None
        """Called in trio's thread after a commit that put something into the outbox."""
        self._jobs: queue.SimpleQueue[_Job[Any] | None] = queue.SimpleQueue()
        self._token: trio.lowlevel.TrioToken | None = None
        self._thread = threading.Thread(target=self._write_loop, name="store-writer", daemon=True)
        self._thread.start()

    @property
    def size(self) -> int:
        """Return the number of leaves appended (as seen by the last finished batch or later)."""
        return self._tail.size

    def query(self, sql: str, args: Sequence[object] = ()) -> list[sqlite3.Row]:
        """Return all rows, from the read-only connection: what `Tx.all` is inside a command."""
        return self.reader.execute(sql, args).fetchall()

    async def run(self, command: Command[T]) -> T:
        """Return the command's result once it is durable. Not cancellable while it waits.

        Raises:
            StoreFailedError: the commit failed; nothing was written, nor will be.
            StoreError: the command refused.
        """
        if self.failed is not None:
            raise StoreFailedError(self.failed)
        if self._token is None:
            self._token = trio.lowlevel.current_trio_token()
        await trio.lowlevel.checkpoint_if_cancelled()
        self._jobs.put(_Job(command, trio.lowlevel.current_task()))
        result = await trio.lowlevel.wait_task_rescheduled(lambda _: trio.lowlevel.Abort.FAILED)
        return cast("T", result)

    def close(self) -> None:
        """Stop the writer after what is queued, close the connections, give the lock back."""
        self._jobs.put(None)
        self._thread.join()
        self.reader.close()
        self._con.close()
        os.close(self._lock)

    # --- the writer's thread ---

    def _write_loop(self) -> None:
        while (job := self._jobs.get()) is not None:
            jobs, stop = [job], False
            while len(jobs) < BATCH_MAX:
                try:
                    more = self._jobs.get_nowait()
                except queue.Empty:
                    break
                if more is None:
                    stop = True
                    break
                jobs.append(more)
            self._commit(jobs)
            if self._token is not None:
                self._token.run_sync_soon(self._wake, jobs)
            if stop:
                return

    def _commit(self, jobs: list[_Job[Any]]) -> None:
        before = self._tail.copy()
        if self.failed is not None:
            for job in jobs:
                job.result = outcome.Error(StoreFailedError(self.failed))
            return
        done = outcome.capture(self._commit_batch, jobs)
        if isinstance(done, outcome.Error):  # whatever it was, this thread lives on to say so to those who wait
            self.failed = f"the store cannot be written: {done.error}"
            self._tail = before
            for job in jobs:
                job.result = outcome.Error(StoreFailedError(self.failed))
            if self._con.in_transaction:
                self._con.execute("ROLLBACK")

    def _commit_batch(self, jobs: list[_Job[Any]]) -> None:
        self._con.execute("BEGIN IMMEDIATE")
        marks = [self._run_one(job) for job in jobs]
        self._con.execute("COMMIT")
        self.commits += 1
        if any(marks) and self._high_water is not None:
            root = merkle.root_at(self._tail.size, log_store.stored_nodes(self._con))
            self._high_water(self._tail.size, root)

    def _run_one(self, job: _Job[Any]) -> bool:
        before = self._tail.copy()
        tx = Tx(self._con, self._tail, self._wall_s(), self.trust_version)
        self._con.execute("SAVEPOINT command")
        result = outcome.capture(job.command.run, tx)
        if isinstance(result, outcome.Error):
            if isinstance(result.error, sqlite3.OperationalError):
                raise result.error  # the disk, not the command: the whole batch fails
            self._con.execute("ROLLBACK TO command")
            self._tail = before
        else:
            self.trust_version = tx.trust_version
            job.posted = tx.posted
        self._con.execute("RELEASE command")
        job.result = result
        return tx.raise_high_water and isinstance(result, outcome.Value)

    def _wake(self, jobs: list[_Job[Any]]) -> None:
        for job in jobs:
            if job.result is not None:
                trio.lowlevel.reschedule(job.task, job.result)
        if self.failed is None and any(job.posted for job in jobs):
            self.on_post()


def _take_lock(path: Path) -> int:
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as err:
        raise StoreFailedError(f"{path.parent.name}: the state directory cannot be written: {err.strerror}") from err
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise StoreInUseError("another ispagent is running on the same state directory") from None
    return fd
