"""The control plane's database: `durable.writer` on asyncio. One file, one writer thread, readers beside it.

The errors follow the policy of `durable.writer`. Where it says that the program ends, `broken` is set: the server waits
for that, and stops.

`operator` to `certificate` are tables of `auth`, `seen` to `ref_seen` of `queues`, `witness` of `witness`.
The tables of `queues` keep their first names, since a migration would gain nothing: `box` is a queue, `letter` a
message, and `message` the place of a message in a queue.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar

from control_plane.config import PUT_BACK
from control_plane.errors import ControlPlaneError, LocalFailureError, ServerConfigError
from durable import files, writer
from durable.errors import NewerDatabaseError
from durable.writer import SqliteWriter, Transaction
from trust import chance

T = TypeVar("T")

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

OWN: Final = """
-- What an agent reads back of its own: receipts (2) and outcomes (3).
CREATE INDEX letter_own ON letter (operator, sender) WHERE kind IN (2, 3);
"""

MIGRATIONS: Final = (SCHEMA, OWN)
WRITERS_FROM: Final = 2
"""The oldest version with a program that may write to the newest one (ADR 41)."""
"""Migration `i` takes version `i` to `i + 1`. A landed one is never edited."""


class CloudTx(Transaction):
    """The database as a command uses it, inside its savepoint."""

    def insert(self, sql: str, args: Sequence[object] = ()) -> int:
        """Execute one INSERT; return the row id."""
        return self._con.execute(sql, args).lastrowid or 0


Command: TypeAlias = writer.Command[CloudTx, T]
Job: TypeAlias = writer.Job[CloudTx, asyncio.Future[Any]]


def open_reader(path: Path) -> sqlite3.Connection:
    """Return a read-only connection in autocommit mode.

    Raises:
        LocalFailureError: the file cannot be opened.
    """
    try:
        return files.connect(path, readonly=True)
    except sqlite3.Error as err:
        raise LocalFailureError(f"{path.name}: cannot be opened: {err}") from err


def refuse_damaged(path: Path) -> None:
    """Read the whole database, for seconds where it is large. SQLite opens one with damaged pages.

    Raises:
        ServerConfigError: it is damaged.
    """
    if found := damage_of(path):
        raise _damaged(path, found)


def damage_of(path: Path) -> str:
    """Return the first damage in a database; "": it is in order. It reads all of it, so it is for a thread."""
    return files.damage(path)


def _damaged(path: Path, found: object) -> ServerConfigError:
    return ServerConfigError(f"{path.name}: it is damaged: {found}: {PUT_BACK}, and look at the disk")


def prepare(path: Path) -> sqlite3.Connection:
    """Return a connection that may write, to a database that exists and is of this version.

    Raises:
        ServerConfigError: it is damaged.
        LocalFailureError: the file cannot be opened or written, or a newer program wrote it.
    """
    try:
        with ExitStack() as undo:
            con = undo.enter_context(closing(files.open_database(path, MIGRATIONS, WRITERS_FROM)))
            con.execute("INSERT OR IGNORE INTO meta VALUES ('epoch', ?)", (chance.token_bytes(16),))
            undo.pop_all()
    except NewerDatabaseError as err:
        raise LocalFailureError(f"{path.name}: {err}: a newer ispcloud wrote it") from err
    except sqlite3.Error as err:
        if getattr(err, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise _damaged(path, err) from err
        raise LocalFailureError(f"{path.name}: cannot be opened: {err}") from err
    return con


def renew_epoch(con: sqlite3.Connection) -> None:
    """Make every reader start again: for a database that was restored from a backup."""
    con.execute("INSERT OR REPLACE INTO meta VALUES ('epoch', ?)", (chance.token_bytes(16),))


class CloudStore(SqliteWriter[CloudTx, asyncio.Future[Any]]):
    """The open database. `run(command)` returns when the command is durable; `reader` is a read-only connection."""

    def __init__(self, path: Path) -> None:
        """Open or create the file, bring its schema up to date, start the writer.

        Raises:
            ServerConfigError: it is damaged.
            LocalFailureError: the file cannot be opened or written, or a newer program wrote it.
        """
        with ExitStack() as undo:
            con = undo.enter_context(closing(prepare(path)))
            self.epoch = bytes(con.execute("SELECT value FROM meta WHERE key = 'epoch'").fetchone()[0])
            try:
                super().__init__(path, con)
            except sqlite3.Error as err:
                raise LocalFailureError(f"{path.name}: cannot be opened: {err}") from err
            undo.pop_all()
        self.broken = asyncio.Event()
        """Set when a commit failed: nothing more will be written."""
        self._loop: asyncio.AbstractEventLoop | None = None

    async def run(self, command: Command[T]) -> T:
        """Return the command's result once it is durable. A queued command runs even if its caller is cancelled.

        Raises:
            LocalFailureError: the commit failed; nothing was written, nor will be.
            ControlPlaneError: the command refused.
        """
        future: asyncio.Future[T] = self._queue(command)
        return await asyncio.shield(future)

    def post(self, command: Command[object]) -> None:
        """Queue a command without waiting for its result. Refusals are dropped; a bug reaches the loop's handler."""
        try:
            self._queue(command).add_done_callback(_drop_refusals)
        except LocalFailureError:
            return  # the server is about to stop, as `broken` says

    def _queue(self, command: Command[T]) -> asyncio.Future[T]:
        self._loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = self._loop.create_future()
        self.submit(writer.Job(command, future))
        return future

    # --- the writer's thread ---

    def _failure(self, why: str) -> LocalFailureError:
        return LocalFailureError(why)

    def _begin(self) -> CloudTx:
        return CloudTx(self._con)

    def _wake(self, jobs: list[Job]) -> None:
        if self._loop is None:
            return
        try:
            self._loop.call_soon_threadsafe(self._resume, jobs)
        except RuntimeError:  # the loop is closed, and its callers are gone
            pass

    # --- the event loop's thread ---

    def _resume(self, jobs: list[Job]) -> None:
        if self.failed is not None:
            self.broken.set()
        for job in jobs:
            if job.waiter.done():  # cancelled, with the loop that ends
                continue
            if job.error is not None:
                job.waiter.set_exception(job.error)
            else:
                job.waiter.set_result(job.value)


def _drop_refusals(done: asyncio.Future[object]) -> None:
    error = None if done.cancelled() else done.exception()
    if error is not None and not isinstance(error, (ControlPlaneError, sqlite3.IntegrityError)):
        done.get_loop().call_exception_handler({"message": "a posted command failed", "exception": error})
