"""The agent's database: `durable.writer` on trio, with the audit log inside.

A command is handed `Tx`, which can also append to the log. Tasks that ask in one turn of trio's loop share a commit. A
caller cannot be cancelled while it waits: a written "about to" is never lost between the disk and the task that asked
for it. The errors follow the policy of `durable.writer`; the log's right edge (`Tail`), which is in memory, is read
again after a command that was undone.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Final, TypeAlias, TypeVar, cast

import outcome
import trio

from agent.runtime.supervise import is_unreadable
from agent.store import log_store, schema
from agent.store.errors import DamagedValueError, LogCorruptError, StoreFailedError, StoreInUseError, StoreVersionError
from agent.store.log_store import Entry, Tail
from agent.store.mark_file import DOUBT, LogMark
from agent.store.state_folder import DATABASE, KEYS, PUT_BACK, opening_error
from agent.store.stored import MISREAD
from durable import files, writer
from durable.errors import NewerDatabaseError
from durable.writer import SqliteWriter, Transaction
from trust import merkle

T = TypeVar("T")


class Tx(Transaction):
    """The database and the log as a command uses them, inside the transaction of its batch."""

    def __init__(self, con: sqlite3.Connection, tail: Tail, now_s: float, trust_version: int) -> None:
        super().__init__(con)
        self._tail = tail
        self.now_s = now_s
        self.trust_version = trust_version
        self.raise_high_water = False
        """Set by a command that needs the log head durable in a file of its own as well, after its commit."""
        self.posted = False
        """Set when something was put into the outbox; `on_post` is called once it is durable."""

    def append(self, entry: Entry) -> int:
        """Append one event with its leaf; return its sequence number."""
        return log_store.append(self._con, self._tail, entry, self.now_s, self.trust_version)

    def nodes(self) -> merkle.Nodes:
        """Return the getter of the log's complete subtrees, of all that was appended until now."""
        log_store.store_nodes(self._con, self._tail)
        return log_store.stored_nodes(self._con)


Command: TypeAlias = writer.Command[Tx, T]
Job: TypeAlias = writer.Job[Tx, trio.lowlevel.Task]


class Store(SqliteWriter[Tx, trio.lowlevel.Task]):
    """The open store. `run(command)` returns when the command is durable; `reader` is a read-only connection."""

    def __init__(
        self,
        state_dir: Path,
        transitions: Iterable[tuple[str, str]],
        wall_s: Callable[[], float],
        *,
        high_water: Callable[[LogMark], None] | None = None,
        migrating: Callable[[int], None] | None = None,
    ) -> None:
        """Open or create `state_dir/agent.db`, take the lock, bring the schema up to date, start the writer.

        Raises:
            StoreInUseError: another daemon holds `state_dir`.
            StoreVersionError: the database is newer than this code.
            LogCorruptError: the log and its tree disagree.
            DamagedStateError: the database is damaged.
            StoreFailedError: the files cannot be written.
        """
        path = state_dir / "agent.db"
        self._wall_s = wall_s
        self._high_water = high_water
        with ExitStack() as undo:
            self._lock = _take_lock(state_dir / "lock")
            undo.callback(os.close, self._lock)
            try:
                con = files.open_database(path, schema.MIGRATIONS, schema.WRITERS_FROM, migrating)
                undo.callback(con.close)
                _write_transitions(con, transitions)
                self._tail = log_store.load_tail(con)
                self.trust_version: int = con.execute("SELECT max(version) FROM trust").fetchone()[0] or 0
                super().__init__(path, con)
            except NewerDatabaseError as err:
                raise StoreVersionError(f"{path.name}: {err}: it was written by a newer ispagent") from err
            except sqlite3.Error as err:
                raise opening_error(path.name, err) from err
            undo.pop_all()
        self.size = self._tail.size
        """The number of leaves that are durable."""
        self.on_post: Callable[[], None] = lambda: None
        """Called in trio's thread after a commit that put something into the outbox."""
        self._kept_size = self.size
        self._kept_trust = self.trust_version
        self._raise_mark = self._posted = False
        self._token: trio.lowlevel.TrioToken | None = None
        self._asked: list[Job] = []
        """Commands of this turn of trio's loop. Handed over one by one, the first had a commit of its own."""
        self._failure_seen = trio.Event()
        self._spare: list[sqlite3.Connection] = []
        """Connections for threads that read aside, while none of them reads."""

    async def failure(self) -> str:
        """Wait until the store has failed; return why."""
        await self._failure_seen.wait()
        return self.failed or ""

    def query(self, sql: str, args: Sequence[object] = ()) -> list[sqlite3.Row]:
        """Return all rows, from the read-only connection. Inside a command, use `Tx.all`."""
        return self.reader.execute(sql, args).fetchall()

    def reading(self) -> Tx:
        """Return a transaction object that only reads, so that the checks of a command can be asked without a write."""
        return Tx(self.reader, self._tail, self._wall_s(), self.trust_version)

    @contextmanager
    def snapshot(self) -> Iterator[sqlite3.Connection]:
        """Give the block a connection of its own for a check in a thread: it reads one moment, and writes nothing."""
        with closing(files.connect_to_check(self.path)) as reader:
            reader.execute("BEGIN")
            yield reader

    async def aside(self, read: Callable[[sqlite3.Connection], T]) -> T:
        """Return the result of `read` on one moment of the database, in a thread: no task waits for heavy reading."""

        def work() -> T:
            with self._lent() as reader:
                return read(reader)

        return await trio.to_thread.run_sync(work)

    @contextmanager
    def _lent(self) -> Iterator[sqlite3.Connection]:
        """Give the block a connection as `snapshot` does, and keep it: a new one reads the schema and prepares anew."""
        try:
            reader = self._spare.pop()
        except IndexError:
            reader = files.connect(self.path, readonly=True)
        try:
            reader.execute("BEGIN")
            yield reader
            reader.execute("ROLLBACK")
        except BaseException:
            reader.close()
            raise
        self._spare.append(reader)
        if self._closed:
            self._close_spare()

    def _close_spare(self) -> None:
        while self._spare:
            self._spare.pop().close()

    async def run(self, command: Command[T]) -> T:
        """Return the command's result once it is durable. Not cancellable while it waits.

        Raises:
            StoreFailedError: the commit failed; nothing was written, nor will be.
            StoreError: the command refused.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        self._refuse_after_end()
        if not self._asked:
            self._token = trio.lowlevel.current_trio_token()
            self._token.run_sync_soon(self._hand_over)
        self._asked.append(writer.Job(command, trio.lowlevel.current_task()))
        return cast("T", await trio.lowlevel.wait_task_rescheduled(lambda _: trio.lowlevel.Abort.FAILED))

    def close(self) -> None:
        """Stop the writer after the queued commands, close the connections, give the lock back."""
        self._hand_over()
        super().close()
        self._close_spare()
        os.close(self._lock)

    # --- the writer's thread ---

    def _failure(self, why: str) -> StoreFailedError:
        return StoreFailedError(why)

    def _begin(self) -> Tx:
        return Tx(self._con, self._tail, self._wall_s(), self._kept_trust)

    def _kept(self, tx: Tx) -> None:
        self._kept_trust = tx.trust_version
        self._kept_size = self._tail.size
        self._raise_mark |= tx.raise_high_water
        self._posted |= tx.posted

    def _write_pending(self) -> None:
        log_store.store_nodes(self._con, self._tail)

    def _undone(self) -> None:
        self._tail = log_store.tail_at(self._con, self._kept_size)

    def _batch_undone(self) -> None:
        self._kept_size, self._kept_trust = self.size, self.trust_version
        self._raise_mark = self._posted = False
        self._undone()

    def _committed(self) -> None:
        if self._raise_mark and self._high_water is not None:
            root = merkle.root_at(self._tail.size, log_store.stored_nodes(self._con))
            doubted = self._con.execute("SELECT value FROM meta WHERE key = ?", (DOUBT,)).fetchone()
            doubt = None if doubted is None else int(doubted["value"])
            self._high_water(LogMark(self._tail.size, root, self._kept_trust, doubt))
        self._raise_mark = False
        self.size, self.trust_version = self._kept_size, self._kept_trust

    def _wake(self, jobs: list[Job]) -> None:
        posted, self._posted = self._posted and self.failed is None, False
        if self._token is None:
            return
        try:
            self._token.run_sync_soon(self._resume, jobs, posted)
        except trio.RunFinishedError:  # the callers ended with it
            pass

    # --- trio's thread ---

    def _hand_over(self) -> None:
        for job in self._asked:
            self._jobs.put(job)
        self._asked.clear()

    def _resume(self, jobs: list[Job], posted: bool) -> None:
        for job in jobs:
            ended = outcome.Value(job.value) if job.error is None else outcome.Error(job.error)
            trio.lowlevel.reschedule(job.waiter, ended)
        self._tell_failure()
        if posted:
            self.on_post()

    def _tell_failure(self) -> None:
        if self.failed is not None:
            self._failure_seen.set()


_MALFORMED: Final = "malformed"
"""In SQLite's messages on a damaged page or schema."""


async def check_storage(folder: Path) -> None:
    """Check the pages of both databases and that no event is missing, in a thread: the loop goes on.

    Cancelled, it returns at once and the thread reads on: an agent that is told to stop does not wait for it.

    Raises:
        LogCorruptError: one is damaged.
    """
    await trio.to_thread.run_sync(_refuse_damaged, folder, abandon_on_cancel=True)
    await trio.to_thread.run_sync(_refuse_gaps, folder / "agent.db", abandon_on_cancel=True)


@contextmanager
def damage_named(folder: Path) -> Iterator[None]:
    """Check both databases where an error ends the block that a damage explains, and say so in its place.

    A start reads and writes before `check_storage`, and a page may be damaged while the agent runs.

    Raises:
        LogCorruptError: SQLite finds a damage in one, which explains the error.
        StoreFailedError: SQLite could not read one, and its check finds nothing.
    """
    try:
        yield
    except BaseException as err:
        group = err if isinstance(err, BaseExceptionGroup) else BaseExceptionGroup("", [err])
        if group.subgroup(_may_be_of_a_damage) is not None:
            _refuse_damaged(folder)
        if unread := _leaves(group.subgroup(is_unreadable)):
            why = getattr(unread[0], "sqlite_errorname", "a text is not UTF-8")  # not the text
            hint = f"look at the disk, and if this comes again, {PUT_BACK}"
            raise StoreFailedError(f"a database cannot be read: {why}: {hint}") from err
        raise


def _may_be_of_a_damage(err: BaseException) -> bool:
    if isinstance(err, StoreFailedError):
        return _MALFORMED in str(err)
    return isinstance(err, (sqlite3.Error, DamagedValueError, *MISREAD))


def _leaves(group: BaseExceptionGroup[BaseException] | None) -> list[BaseException]:
    """Return the errors of which a group consists."""
    if group is None:
        return []
    parts = [_leaves(one) if isinstance(one, BaseExceptionGroup) else [one] for one in group.exceptions]
    return [err for part in parts for err in part]


def _refuse_damaged(folder: Path) -> None:
    for name in (DATABASE, KEYS):
        if found := files.damage(folder / name):
            raise LogCorruptError(
                f"{name}: it is damaged, and nothing more is done with it: {found}: {PUT_BACK}, and look at the disk"
            )


def refuse_damage(reader: sqlite3.Connection) -> None:
    """Check the pages and the indexes of the database of a snapshot, as at the start. For threads.

    Raises:
        LogCorruptError: it is damaged.
        sqlite3.Error: it cannot be read.
    """
    if found := files.first_damage(reader):
        raise LogCorruptError(f"{DATABASE} is damaged: {found}")


def _refuse_gaps(path: Path) -> None:
    with closing(files.connect(path, readonly=True)) as con:
        log_store.refuse_gaps(con)


def _write_transitions(con: sqlite3.Connection, transitions: Iterable[tuple[str, str]]) -> None:
    """Make the `transition` table anew: the code decides which there are, not the database."""
    with con:
        con.execute("BEGIN IMMEDIATE")
        con.execute("DELETE FROM transition")
        con.executemany("INSERT INTO transition (old, new) VALUES (?,?)", schema.transition_rows(transitions))


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
