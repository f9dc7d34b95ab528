"""The control plane's database: one SQLite file, one writer thread, readers beside it.

The writer takes typed commands; those that wait together share one commit (group commit, WAL, synchronous FULL), each
inside a savepoint of its own, so that one that refuses leaves its neighbours whole. A caller goes on when its command
is durable. A commit that fails ends the writer for good: `failed` is set, and the server stops.

`operator` to `certificate` are tables of `auth`, `seen` to `ref_seen` of `boxes`, `witness` of `witness`.
"""

from __future__ import annotations

import asyncio
import queue
import secrets
import sqlite3
import threading
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Generic, Protocol, TypeVar, cast

from control_plane.errors import ControlPlaneError, LocalFailureError

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

BATCH_MAX: Final = 512
"""Commands in one commit; chosen so that a commit stays under some 50 ms."""

VERSION: Final = 1

SCHEMA: Final = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT;

CREATE TABLE operator (id BLOB PRIMARY KEY, handle TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE member (
    operator BLOB NOT NULL REFERENCES operator (id), kind TEXT NOT NULL, name TEXT NOT NULL,
    agent BLOB, identity BLOB, revoked_s INTEGER,
    PRIMARY KEY (operator, kind, name)
) STRICT;
CREATE UNIQUE INDEX member_agent ON member (operator, agent) WHERE agent IS NOT NULL AND length(agent) > 0;
CREATE TABLE token (
    sha256 BLOB PRIMARY KEY, operator BLOB NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL,
    expires_s INTEGER NOT NULL, used_s INTEGER
) STRICT;
CREATE TABLE certificate (
    serial TEXT PRIMARY KEY, operator BLOB NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL,
    not_after_s INTEGER NOT NULL, revoked_s INTEGER
) STRICT;
CREATE TABLE seen (operator BLOB NOT NULL, agent BLOB NOT NULL, minute INTEGER NOT NULL, PRIMARY KEY (operator, agent))
    STRICT, WITHOUT ROWID;

CREATE TABLE box (box BLOB PRIMARY KEY, newest INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE letter (
    id INTEGER PRIMARY KEY, operator BLOB NOT NULL, sender TEXT NOT NULL, kind INTEGER NOT NULL, message BLOB NOT NULL,
    minute INTEGER NOT NULL, expires_s INTEGER NOT NULL
) STRICT;
CREATE INDEX letter_expires ON letter (expires_s);
CREATE TABLE message (
    box BLOB NOT NULL, number INTEGER NOT NULL, letter INTEGER NOT NULL REFERENCES letter (id) ON DELETE CASCADE,
    PRIMARY KEY (box, number)
) STRICT, WITHOUT ROWID;
CREATE INDEX message_letter ON message (letter);
CREATE TABLE usage (
    operator BLOB NOT NULL, sender TEXT NOT NULL, bytes INTEGER NOT NULL, -- sender '': all of the operator's
    PRIMARY KEY (operator, sender)
) STRICT, WITHOUT ROWID;
CREATE TABLE ref_seen (
    operator BLOB NOT NULL, sender TEXT NOT NULL, ref BLOB NOT NULL, sha256 BLOB NOT NULL, expires_s INTEGER NOT NULL,
    PRIMARY KEY (operator, sender, ref)
) STRICT, WITHOUT ROWID;
CREATE INDEX ref_seen_expires ON ref_seen (expires_s);

CREATE TABLE witness (
    operator BLOB NOT NULL, agent BLOB NOT NULL, origin TEXT NOT NULL,
    size INTEGER NOT NULL, root BLOB NOT NULL, note BLOB NOT NULL,
    PRIMARY KEY (operator, agent, origin)
) STRICT, WITHOUT ROWID;
"""


class Tx:
    """What a command may do inside its savepoint."""

    def __init__(self, con: sqlite3.Connection) -> None:
        self._con = con

    def run(self, sql: str, args: Sequence[object] = ()) -> int:
        """Execute one statement; return the number of rows changed."""
        return self._con.execute(sql, args).rowcount

    def insert(self, sql: str, args: Sequence[object] = ()) -> int:
        """Execute one INSERT; return the row id."""
        return self._con.execute(sql, args).lastrowid or 0

    def many(self, sql: str, rows: Iterable[Sequence[object]]) -> None:
        """Execute one statement for each row."""
        self._con.executemany(sql, rows)

    def one(self, sql: str, args: Sequence[object] = ()) -> sqlite3.Row | None:
        """Return the first row, or None."""
        return cast("sqlite3.Row | None", self._con.execute(sql, args).fetchone())

    def all(self, sql: str, args: Sequence[object] = ()) -> list[sqlite3.Row]:
        """Return all rows."""
        return self._con.execute(sql, args).fetchall()


class Command(Protocol[T_co]):
    """A typed command: everything it needs is in its fields; `run` is its one transaction."""

    def run(self, tx: Tx) -> T_co:
        """Do it. Any ControlPlaneError, or broken constraint, undoes this command alone."""
        ...


@dataclass(slots=True)
class _Job(Generic[T]):
    command: Command[T]
    future: asyncio.Future[T]
    value: T | None = None
    error: ControlPlaneError | sqlite3.Error | None = None


def connect(path: Path, *, readonly: bool = False) -> sqlite3.Connection:
    """Return a connection in autocommit mode that waits up to 5 s for another process's transaction.

    Raises:
        LocalFailureError: the file cannot be opened.
    """
    try:
        con = sqlite3.connect(
            f"{path.absolute().as_uri()}{'?mode=ro' if readonly else ''}",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
            timeout=5,
        )
    except sqlite3.Error as err:
        raise LocalFailureError(f"{path.name}: cannot be opened: {err}") from err
    con.row_factory = sqlite3.Row
    con.execute("PRAGMA foreign_keys = ON")
    return con


def prepare(path: Path) -> sqlite3.Connection:
    """Return a connection that may write, to a database that exists and is of this version.

    Raises:
        LocalFailureError: the file cannot be opened or written, or a newer program wrote it.
    """
    with ExitStack() as undo:
        con = undo.enter_context(closing(connect(path)))
        try:
            _bring_up_to_date(con, path.name)
        except sqlite3.Error as err:
            raise LocalFailureError(f"{path.name}: cannot be opened: {err}") from err
        undo.pop_all()
    return con


def _bring_up_to_date(con: sqlite3.Connection, name: str) -> None:
    con.execute("PRAGMA journal_mode = WAL")
    con.execute("PRAGMA synchronous = FULL")
    con.execute("PRAGMA secure_delete = ON")
    version = con.execute("PRAGMA user_version").fetchone()[0]
    if version > VERSION:
        raise LocalFailureError(
            f"{name}: expected database version {VERSION} or older, got {version}: a newer ispcloud wrote it"
        )
    if version == 0:
        con.executescript(f"BEGIN IMMEDIATE;\n{SCHEMA}\nPRAGMA user_version = {VERSION};\nCOMMIT;")
    con.execute("INSERT OR IGNORE INTO meta VALUES ('epoch', ?)", (secrets.token_bytes(16),))


def renew_epoch(con: sqlite3.Connection) -> None:
    """Make every reader start again: for a database that was restored from a backup."""
    con.execute("INSERT OR REPLACE INTO meta VALUES ('epoch', ?)", (secrets.token_bytes(16),))


class CloudStore:
    """The open database. `run(command)` returns when the command is durable; `reader` is a read-only connection."""

    def __init__(self, path: Path) -> None:
        """Open or create the file, bring its schema up to date, start the writer.

        Raises:
            LocalFailureError: the file cannot be opened or written, or a newer program wrote it.
        """
        self.path = path
        with ExitStack() as undo:
            self._con = undo.enter_context(closing(prepare(path)))
            self.reader = connect(path, readonly=True)
            undo.pop_all()
        self.epoch = bytes(self.reader.execute("SELECT value FROM meta WHERE key = 'epoch'").fetchone()[0])
        self.failed: str | None = None
        self.broken = asyncio.Event()
        """Set when a commit failed: nothing more will be written."""
        self.commits = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._jobs: queue.SimpleQueue[_Job[Any] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write_loop, name="store-writer", daemon=True)
        self._thread.start()

    @classmethod
    def open(cls, path: Path) -> CloudStore:
        """Return the open store of this file; see `__init__`."""
        return cls(path)

    async def run(self, command: Command[T]) -> T:
        """Return the command's result once it is durable. What was queued is done even if the caller is cancelled.

        Raises:
            LocalFailureError: the commit failed; nothing was written, nor will be.
            ControlPlaneError: the command refused.
        """
        if self.failed is not None:
            raise LocalFailureError(self.failed)
        self._loop = asyncio.get_running_loop()
        job = _Job(command, self._loop.create_future())
        self._jobs.put(job)
        return await asyncio.shield(job.future)

    def post(self, command: Command[object]) -> None:
        """Queue a command whose result nobody waits for: from an event loop, where a caller may not wait any more."""
        self._loop = asyncio.get_running_loop()
        job = _Job(command, self._loop.create_future())
        job.future.add_done_callback(lambda done: done.exception())
        self._jobs.put(job)

    def close(self) -> None:
        """Stop the writer after what is queued, close the connections."""
        self._jobs.put(None)
        self._thread.join()
        self.reader.close()
        self._con.close()

    # --- the writer's thread ---

    def _write_loop(self) -> None:
        stop = False
        while not stop:
            jobs: list[_Job[Any]] = []
            stop = self._take(jobs)
            try:
                self._commit(jobs)
            finally:
                if self._loop is not None:
                    self._loop.call_soon_threadsafe(self._wake, jobs)

    def _take(self, jobs: list[_Job[Any]]) -> bool:
        """Fill `jobs` with what waits, at least one; return whether the writer should stop after them."""
        job = self._jobs.get()
        while job is not None:
            jobs.append(job)
            if len(jobs) == BATCH_MAX:
                return False
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                return False
        return True

    def _commit(self, jobs: list[_Job[Any]]) -> None:
        if self.failed is None and jobs:
            try:
                self._con.execute("BEGIN IMMEDIATE")
                for job in jobs:
                    self._run_one(job)
                self._con.execute("COMMIT")
                self.commits += 1
            except sqlite3.Error as err:
                self.failed = f"the database cannot be written: {err}"
            except BaseException:  # an error in a command's own code: those who wait must not wait for ever
                self.failed = "the database's writer stopped"
                self._fail(jobs)
                raise
        if self.failed is not None:
            self._fail(jobs)

    def _fail(self, jobs: list[_Job[Any]]) -> None:
        for job in jobs:
            job.value, job.error = None, LocalFailureError(self.failed or "")
        if self._con.in_transaction:
            self._con.execute("ROLLBACK")

    def _run_one(self, job: _Job[Any]) -> None:
        self._con.execute("SAVEPOINT command")
        try:
            job.value = job.command.run(Tx(self._con))
        except (ControlPlaneError, sqlite3.IntegrityError) as err:
            job.error = err
            self._con.execute("ROLLBACK TO command")
        self._con.execute("RELEASE command")

    def _wake(self, jobs: list[_Job[Any]]) -> None:
        if self.failed is not None:
            self.broken.set()
        for job in jobs:
            if job.error is not None:
                job.future.set_exception(job.error)
            else:
                job.future.set_result(job.value)
