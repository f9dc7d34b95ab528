"""One writer, many readers, one SQLite file.

The writer is one thread that owns one connection and takes typed commands. Commands that wait together share one
commit (group commit). A caller resumes only when its command is durable. A program subclasses `SqliteWriter`: it wakes
the callers, makes the transaction object of each command, and names the error for a failed store.

A batch first runs without savepoints: under one, SQLite copies each page that a command touches, which is a fifth of a
small command's cost. When a command fails after it wrote something, the whole batch is rolled back and runs once more,
each command inside a savepoint of its own. So a command may run twice before its commit: its `run` must change nothing
but the database.

The error policy, the same for both programs:

1. A command that raises the program's own error class (a refusal), or breaks a constraint (`IntegrityError`), is
   undone alone: its caller gets that error, its neighbors in the batch are kept.
2. Any other error of SQLite in a command, and any error of the commit itself, fails the whole batch and stops the
   writer for good: the disk is full, the file is damaged or locked, or the code and the schema do not fit. Every
   caller of the batch, and every later one, gets the program's "store failed" error, nothing of the batch is kept,
   and the program ends.
3. Any other error that a command raises is a bug in its code. It is undone alone, like a refusal, and its caller gets
   the bug itself. A command can only change the database, and all of that is taken back. Stopping the
   writer instead would let one malformed message that reaches such a bug end the whole program, freezes included.
4. Work after the commit (`_committed`) must succeed too: an error there stops the writer as in rule 2, though the
   batch is already on the disk. The next start finds it there.
5. Nobody waits for ever. Each job that was accepted gets a value or an error, and is woken; after a failure or after
   `close`, a new one is refused at once.
"""

from __future__ import annotations

import contextvars
import queue
import sqlite3
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Generic, Protocol, Self, TypeVar, cast

from durable import files
from durable.process import name_this_thread

WRITER: Final = "store-writer"
"""The thread's name, in `ps -L` and debuggers."""
BATCH_MAX: Final = 512
"""Commands in one commit; chosen so that a commit stays under some 50 ms."""


class Transaction:
    """The database as a command uses it, inside the transaction of its batch."""

    def __init__(self, con: sqlite3.Connection) -> None:
        self._con = con

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


T_co = TypeVar("T_co", covariant=True)
Tx_contra = TypeVar("Tx_contra", bound=Transaction, contravariant=True)
TxT = TypeVar("TxT", bound=Transaction)
WaiterT = TypeVar("WaiterT")


class Command(Protocol[Tx_contra, T_co]):
    """A typed command: everything it needs is in its fields; `run` is its one transaction."""

    def run(self, tx: Tx_contra) -> T_co:
        """Do it. An error undoes this command alone, unless SQLite itself failed. It may be called a second time."""
        ...


@dataclass(frozen=True, slots=True)
class AnswerCall:
    """A command that changes nothing: its caller resumes once the writer has locked the database and committed."""

    def run(self, tx: Transaction) -> None:
        """Do nothing."""


@dataclass(slots=True, eq=False)
class Job(Generic[TxT, WaiterT]):
    """A command that waits, and afterwards its value or its error."""

    command: Command[TxT, Any]
    waiter: WaiterT
    value: Any = None
    error: BaseException | None = None


class SqliteWriter(ABC, Generic[TxT, WaiterT]):
    """An open database with its writer thread. `reader` is a read-only connection.

    `submit` and `close` belong to one thread, the program's own; the methods below `the writer's thread` to the other.
    """

    def __init__(self, path: Path, con: sqlite3.Connection) -> None:
        """Start the writer on an open connection, which it owns from now on, with a reader beside it.

        Raises:
            sqlite3.Error: the file cannot be opened for reading; `con` is still the caller's to close.
        """
        self.path = path
        self.reader = files.connect(path, readonly=True)
        self.failed: str | None = None
        """The reason why the writer stopped; None while it works."""
        self.commits = 0
        self._con = con
        self._closed = False
        self._jobs: queue.SimpleQueue[Job[TxT, WaiterT] | None] = queue.SimpleQueue()
        # Commands draw from the source of randomness that was lent to whoever opens the store.
        run = contextvars.copy_context().run
        self._thread = threading.Thread(target=run, args=(self._write_loop,), name=WRITER, daemon=True)
        self._thread.start()

    def submit(self, job: Job[TxT, WaiterT]) -> None:
        """Queue a job: its waiter is woken when the job is durable, or has failed.

        Raises:
            Exception: the program's "store failed" error, as `_failure` makes it.
        """
        self._refuse_after_end()
        self._jobs.put(job)

    def close(self) -> None:
        """Stop the writer after the jobs that are queued; close the connections."""
        self._closed = True
        self._jobs.put(None)
        self._thread.join()
        self.reader.close()
        self._con.close()

    def _refuse_after_end(self) -> None:
        if self.failed is not None or self._closed:
            raise self._failure(self.failed or "the store is closed")

    # --- what a program says ---

    @abstractmethod
    def _failure(self, why: str) -> Exception:
        """Return the program's error for a job that fails with the store."""

    @abstractmethod
    def _begin(self) -> TxT:
        """Return the transaction object for the next command. The writer's thread."""

    def _kept(self, tx: TxT) -> None:
        """Take over the flags that a successful command set on its transaction object. The writer's thread."""

    def _write_pending(self) -> None:
        """Write the rows that successful commands left for the end of the batch. The writer's thread."""

    def _undone(self) -> None:
        """Reset the state outside the database after a command was undone. The writer's thread."""

    def _batch_undone(self) -> None:
        """Reset the state outside the database to before this batch: it was rolled back. The writer's thread."""

    def _committed(self) -> None:
        """Finish a commit before its callers wake. The writer's thread; an error stops the writer."""

    @abstractmethod
    def _wake(self, jobs: list[Job[TxT, WaiterT]]) -> None:
        """Wake the waiters of these jobs, once for the batch. The writer's thread; it must not raise."""

    # --- the writer's thread ---

    def _write_loop(self) -> None:
        name_this_thread(WRITER)
        stop = False
        while not stop:
            jobs: list[Job[TxT, WaiterT]] = []
            stop = self._take(jobs)
            if jobs:
                self._commit(jobs)
                self._wake(jobs)

    def _take(self, jobs: list[Job[TxT, WaiterT]]) -> bool:
        """Move the waiting jobs, at least one, into `jobs`; return whether the writer should stop after them."""
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

    def _commit(self, jobs: list[Job[TxT, WaiterT]]) -> None:
        """Do these in one transaction; afterwards each has its value or its error."""
        if self.failed is None:
            with _Attempt() as batch:
                self._commit_batch(jobs)
            if batch.error is not None:
                self.failed = f"the store cannot be written: {batch.error}"
                with suppress(sqlite3.Error):  # nothing rests on it: what is never committed has no effect
                    self._con.execute("ROLLBACK")
        if self.failed is not None:
            for job in jobs:
                job.value, job.error = None, self._failure(self.failed)

    def _commit_batch(self, jobs: list[Job[TxT, WaiterT]]) -> None:
        self._con.execute("BEGIN IMMEDIATE")
        if not self._run_together(jobs):
            self._con.execute("ROLLBACK")
            self._batch_undone()
            self._con.execute("BEGIN IMMEDIATE")
            for job in jobs:
                self._run_alone(job)
        self._con.execute("COMMIT")
        self.commits += 1
        self._committed()

    def _run_together(self, jobs: list[Job[TxT, WaiterT]]) -> bool:
        """Run these without savepoints; return False when one failed that had written something."""
        for job in jobs:
            tx, written = self._begin(), self._con.total_changes
            if not self._failed(_run(job, tx)):
                self._kept(tx)
            elif self._con.total_changes != written:
                return False
        with _Attempt() as pending:
            self._write_pending()
        return not self._failed(pending)

    def _run_alone(self, job: Job[TxT, WaiterT]) -> None:
        """Run a command inside a savepoint, with all that it leaves for the end of the batch."""
        self._con.execute("SAVEPOINT command")
        tx = self._begin()
        attempt = _run(job, tx)
        if attempt.error is None:
            with attempt:
                self._write_pending()
        if self._failed(attempt):
            job.value, job.error = None, attempt.error
            self._con.execute("ROLLBACK TO command")
            self._undone()
        else:
            self._kept(tx)
        self._con.execute("RELEASE command")

    def _failed(self, attempt: _Attempt) -> bool:
        """Return whether a command failed.

        Raises:
            BaseException: the store itself failed.
        """
        if attempt.error is not None and _is_the_store(attempt.error):
            raise attempt.error
        if not self._con.in_transaction:  # a full disk may end the whole transaction, and a command may not say so
            raise sqlite3.OperationalError("a command ended the transaction")
        return attempt.error is not None


class _Attempt:
    """Catches everything that its block raises, into `error`.

    Only the writer may do this: an error that ended its thread would leave the callers waiting for ever.
    """

    __slots__ = ("error",)

    def __init__(self) -> None:
        self.error: BaseException | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if isinstance(error, StopIteration):  # neither a future nor a coroutine can raise it
            error = RuntimeError("a command raised StopIteration")
        self.error = error
        return True


def _run(job: Job[TxT, WaiterT], tx: TxT) -> _Attempt:
    """Run a job's command; the job has its value or its error."""
    job.value = job.error = None
    with _Attempt() as attempt:
        job.value = job.command.run(tx)
    job.error = attempt.error
    return attempt


def _is_the_store(error: BaseException) -> bool:
    return isinstance(error, sqlite3.Error) and not isinstance(error, sqlite3.IntegrityError)
