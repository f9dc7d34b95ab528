"""Connections to the database that FreeRADIUS reads: PostgreSQL, MariaDB or SQLite, behind the same few methods.

Blocking, for threads: psycopg's asynchronous half is asyncio's. `SqlFault` is the meaning of a driver's error for a
transaction; `sql_errors` tells it to people. `Pool` lends connections to bounded threads; `Guard` gives up one that
hangs without losing track of its sent statements.

The errors of `Pool` beside the drivers', which its callers tell as the target's absence:

* OSError
  x NoThreadError: no thread could be started on this machine
"""

from __future__ import annotations

import contextlib
import enum
import functools
import math
import socket
import sqlite3
import threading
from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, TypeVar

import psycopg
import pymysql
import trio

from agent.connectors.radius.schema import Database
from agent.connectors.radius.sql_errors import PORTS
from agent.connectors.radius.sql_postgresql import Statements

if TYPE_CHECKING:
    from agent.connectors.radius.schema import SqlTarget

DRIVER_ERRORS: Final = (psycopg.Error, pymysql.err.MySQLError, sqlite3.Error, OSError)
"""Everything that the drivers raise for a server, a network or a statement."""

_T = TypeVar("_T")
Query = tuple[str, Sequence[object]]
"""A statement with `%s` for its parameters, and the parameters."""
Rows = list[tuple[Any, ...]]


class Answer(NamedTuple):
    """The rows of a statement, and how many rows it changed."""

    rows: Rows
    changed: int


Talk = Generator[Query, Answer, _T]
"""Gives statements, takes the answer to each, and returns their meaning: the same in a thread and in a task."""

_NO_THREAD: Final = "can't start new thread"
"""CPython's words; it has no class of its own for that."""


class SqlFault(enum.Enum):
    """The meaning of a driver's error.

    CONFLICT: the transaction was rolled back for another's sake, and may be run again. BUSY: it took longer than
    allowed, and is rolled back. GONE: the connection broke, the server may have done the last statement. REFUSED: the
    server will not do it (password, permission, a missing table).
    """

    CONFLICT = "conflict"
    BUSY = "busy"
    GONE = "unreachable"
    REFUSED = "refused"


_POSTGRESQL_FAULTS: Final = {
    "40001": SqlFault.CONFLICT,  # serialization_failure
    "40P01": SqlFault.CONFLICT,  # deadlock_detected
    "55P03": SqlFault.BUSY,  # lock_not_available
    "57014": SqlFault.BUSY,  # query_canceled: statement_timeout
}
_POSTGRESQL_REFUSALS: Final = ("authentication failed", "pg_hba.conf", "does not exist", "not permitted to log in")
_MARIADB_FAULTS: Final = {
    1213: SqlFault.CONFLICT,  # ER_LOCK_DEADLOCK
    1205: SqlFault.CONFLICT,  # ER_LOCK_WAIT_TIMEOUT
    1969: SqlFault.BUSY,  # ER_STATEMENT_TIMEOUT
    1044: SqlFault.REFUSED,  # ER_DBACCESS_DENIED_ERROR
    1045: SqlFault.REFUSED,  # ER_ACCESS_DENIED_ERROR
    1053: SqlFault.GONE,  # ER_SERVER_SHUTDOWN
    1040: SqlFault.GONE,  # ER_CON_COUNT_ERROR
    1927: SqlFault.GONE,  # ER_CONNECTION_KILLED
}
_SQLITE_BUSY: Final = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


def fault(err: BaseException) -> SqlFault:
    """Return the meaning of an error of DRIVER_ERRORS."""
    match err:
        case psycopg.Error():
            return _postgresql_fault(err)
        case pymysql.err.MySQLError():
            code = err.args[0] if err.args and isinstance(err.args[0], int) else 0
            # 2000 to 2999 are the client's own: it lost the server. 0: used after that.
            return _MARIADB_FAULTS.get(code, SqlFault.REFUSED if 1000 <= code < 2000 else SqlFault.GONE)
        case sqlite3.Error():
            return SqlFault.CONFLICT if getattr(err, "sqlite_errorcode", 0) & 0xFF in _SQLITE_BUSY else SqlFault.REFUSED
        case _:
            return SqlFault.GONE


def _postgresql_fault(err: psycopg.Error) -> SqlFault:
    state = err.sqlstate
    if state is None:
        # A login that fails has no SQLSTATE in libpq; its text is the server's and names no value of ours.
        return SqlFault.REFUSED if any(text in str(err) for text in _POSTGRESQL_REFUSALS) else SqlFault.GONE
    if state[:2] in ("08", "53") or state[:4] == "57P0":
        return SqlFault.GONE
    return _POSTGRESQL_FAULTS.get(state, SqlFault.REFUSED)


class _Cursor(Protocol):
    rowcount: int
    description: Any

    def execute(self, sql: str, parameters: Sequence[object], /) -> object: ...
    def fetchall(self) -> Any: ...
    def close(self) -> object: ...


def _verb(sql: str) -> str:
    """Return the privilege that a statement needs: a SELECT that locks rows needs that to change them."""
    return "UPDATE" if sql.endswith(" FOR UPDATE") else sql.partition(" ")[0]


class Connection:
    """A connection with its timeouts set. Used by one thread at a time; `kill` by any."""

    def __init__(self, target: SqlTarget, password: str) -> None:
        """Connect.

        Args:
            target: the database.
            password: of `target.user`; ignored by SQLite.

        Raises:
            psycopg.Error, pymysql.err.MySQLError, sqlite3.Error, OSError: it cannot be reached, or refuses.
        """
        self.kind = target.database
        self.fresh = True
        self.verb = ""
        """Of the statement that ran last."""
        self._socket: socket.socket | None = None
        self._connection: Any = None
        self._statements: Statements | None = None
        port = target.port or PORTS.get(self.kind, 0)
        match self.kind:
            case Database.POSTGRESQL:
                self._open_postgresql(target, password, port)
            case Database.MARIADB:
                self._open_mariadb(target, password, port)
            case Database.SQLITE:
                # A file that is not there is a wrong path, not a new database.
                self._connection = sqlite3.connect(
                    f"file:{target.path}?mode=rw",
                    uri=True,
                    timeout=target.timeout_s,
                    isolation_level=None,
                    check_same_thread=False,
                )

    def _open_postgresql(self, target: SqlTarget, password: str, port: int) -> None:
        limit_ms = max(1, int(target.timeout_s * 1000))
        connection = psycopg.connect(
            host=target.host,
            port=port,
            dbname=target.dbname,
            user=target.user,
            password=password,
            connect_timeout=max(2, math.ceil(target.timeout_s)),
            options=f"-c statement_timeout={limit_ms} -c lock_timeout={limit_ms}"
            f" -c idle_in_transaction_session_timeout={limit_ms * 4}",
            application_name="ispagent",
            tcp_user_timeout=limit_ms,
            autocommit=True,
        )
        self._connection = connection
        self._socket = socket.socket(fileno=socket.dup(connection.fileno()))
        self._statements = Statements(connection)

    def _open_mariadb(self, target: SqlTarget, password: str, port: int) -> None:
        # Our own socket: PyMySQL leaks the one it makes when the login is refused, and takes it away to wrap it in TLS.
        sock = socket.create_connection((target.host, port), target.timeout_s)
        self._socket = sock.dup()
        limit_s, lock_s = max(1, math.ceil(target.timeout_s * 1.5)), max(1, math.ceil(target.timeout_s))
        try:
            self._connection = pymysql.connect(
                host=target.host,
                user=target.user,
                password=password,
                database=target.dbname,
                charset="utf8mb4",
                read_timeout=limit_s,
                write_timeout=limit_s,
                autocommit=True,
                defer_connect=True,
            )
            self._connection.connect(sock)
            # MariaDB 10.3 on: where the network is lost, our rows are free soon, not once TCP gives up (two hours)
            self.run(
                "SET SESSION innodb_lock_wait_timeout = %s, max_statement_time = %s"
                " /*M!100300 , idle_transaction_timeout = %s */",
                (lock_s, target.timeout_s, math.ceil(target.timeout_s * 4)),
            )
            self.run("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        except BaseException:
            self.close()
            sock.close()
            raise

    def follow(self, talk: Talk[_T]) -> _T:
        """Execute the statements of a talk, one after the other, and return their meaning."""
        try:
            query = next(talk)
            while True:
                query = talk.send(self.run(*query))
        except StopIteration as end:
            found: _T = end.value
        return found

    async def follow_here(self, talk: Talk[_T]) -> _T:
        """Do as `follow`, in the task that calls: only with PostgreSQL, which has a client that need not block.

        Cancelled, it leaves the connection useless.
        """
        if self._statements is None:
            raise TypeError(f"expected a PostgreSQL connection, got {self.kind.value}")
        try:
            sql, parameters = next(talk)
            while True:
                self.verb = _verb(sql)
                sql, parameters = talk.send(Answer(*await self._statements.ask(sql, parameters)))
        except StopIteration as end:
            found: _T = end.value
        return found

    def run(self, sql: str, parameters: Sequence[object] = ()) -> Answer:
        """Execute one statement (parameters are `%s`) and return its answer."""
        self.verb = _verb(sql)
        if self._statements is not None:
            return Answer(*self._statements.run(sql, parameters))
        cursor = self._execute(sql, parameters)
        try:
            return Answer(list(cursor.fetchall()) if cursor.description else [], cursor.rowcount)
        finally:
            cursor.close()

    def _execute(self, sql: str, parameters: Sequence[object]) -> _Cursor:
        cursor: _Cursor = self._connection.cursor()
        try:
            cursor.execute(sql.replace("%s", "?") if self.kind is Database.SQLITE else sql, tuple(parameters))
        except BaseException:
            cursor.close()
            raise
        return cursor

    def close(self) -> None:
        """Close the connection; the server rolls back uncommitted statements."""
        if self._connection is not None:
            with contextlib.suppress(*DRIVER_ERRORS):
                self._connection.close()
        if self._socket is not None:
            self._socket.close()

    def kill(self) -> None:
        """End a conversation that hangs, from another thread: whoever waits for the server gets an error at once."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)


class NoThreadError(OSError):
    """No thread could be started: this machine is short of memory, or a limit is reached."""


BEGIN_READING: Final = {
    Database.POSTGRESQL: "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
    Database.MARIADB: "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
    Database.SQLITE: "BEGIN",
}
"""Starts a transaction that reads one state of the database."""
BEGIN_WRITING: Final = {
    # The rows that were compared and those that are written are one state; a hot standby refuses it here, with 0A000
    Database.POSTGRESQL: "BEGIN ISOLATION LEVEL SERIALIZABLE READ WRITE",
    Database.MARIADB: "START TRANSACTION READ WRITE",
    Database.SQLITE: "BEGIN IMMEDIATE",
}
"""Starts a transaction with reads that still hold when it commits.

MariaDB: only for rows and gaps read with FOR UPDATE. PostgreSQL: against every transaction for rows that exist, against
other serializable ones for rows that do not.
"""
COMMIT: Final = "COMMIT"
"""When this raises, it may or may not have happened."""


def in_one_state(kind: Database, talk: Talk[_T]) -> Talk[_T]:
    """Return the talk in a transaction in which all its statements read one state of the database."""
    yield BEGIN_READING[kind], ()
    found = yield from talk
    yield COMMIT, ()
    return found


class Guard:
    """Whether one call was given up, and whether it sent COMMIT. A waiting task and a working thread share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self.aborted = False
        self.committing = False

    def uses(self, connection: Connection) -> None:
        """Say which connection the thread talks on, so that `abort` can end the talk."""
        with self._lock:
            self._connection = connection
            if self.aborted:
                connection.kill()

    def release(self) -> bool:
        """Let go of the connection; True when the call was given up, and the connection with it."""
        with self._lock:
            self._connection = None
            return self.aborted

    def abort(self) -> None:
        """Give the call up: no COMMIT will be sent that has not been, and a thread that waits gets an error."""
        with self._lock:
            self.aborted = True
            if self._connection is not None:
                self._connection.kill()

    def commit_begins(self) -> bool:
        """Tell whether COMMIT may be sent; from then on its fate is the server's."""
        with self._lock:
            self.committing = not self.aborted
            return self.committing

    def rolled_back(self) -> None:
        """Say that the server rolled back in answer to COMMIT."""
        with self._lock:
            self.committing = False


Pools = Callable[["SqlTarget", Callable[[], bytes], int], "Pool"]
"""Makes the pool of a target, from the arguments of `Pool`: a simulation has one of its own."""


class Pool:
    """Connections to one database: kept when they are good, at most `window` of them.

    `in_task`: whether statements are run in the task that calls, by `Connection.follow_here`, and not in threads.
    """

    def __init__(self, target: SqlTarget, password: Callable[[], bytes], window: int) -> None:
        """Take the target, a way to its password (asked for at each new connection) and the number of connections."""
        self.target = target
        self.in_task = target.database is Database.POSTGRESQL
        self._password, self._window = password, window
        self._idle: list[Connection] = []
        self._lock = threading.Lock()
        # Twice: a thread that was given up holds its token until its connection, just killed, has let it go.
        self._threads = trio.CapacityLimiter(2 * window)

    async def in_thread(self, work: Callable[[], _T], guard: Guard, limit_s: float) -> tuple[bool, _T | None]:
        """Run blocking work and return (True, its result), or (False, None) when it took too long and was given up.

        Raises:
            NoThreadError: the machine gives the agent no thread now; nothing was begun.
        """
        try:
            with trio.move_on_after(limit_s):
                return True, await trio.to_thread.run_sync(work, abandon_on_cancel=True, limiter=self._threads)
        except RuntimeError as err:
            if str(err) != _NO_THREAD:
                raise
            raise NoThreadError(
                "no thread could be started on this machine: its memory or its limit is used up"
            ) from err
        else:
            return False, None
        finally:
            guard.abort()

    async def read(self, reading: Callable[[], Talk[_T]], limit_s: float, *, alone: bool) -> tuple[bool, _T | None]:
        """Follow a talk, as `lend` does. `alone`: it is one statement; more read one state of the database together."""

        def follow(connection: Connection) -> _T:
            talk = reading()
            return connection.follow(talk if alone else in_one_state(connection.kind, talk))

        return await self.lend(follow, limit_s)

    async def lend(
        self, work: Callable[[Connection], _T], limit_s: float, *, fresh: bool = False
    ) -> tuple[bool, _T | None]:
        """Run blocking work that writes nothing on a connection, as `in_thread` does.

        Raises:
            DRIVER_ERRORS: the connection broke, or there is none. NoThreadError: nothing was begun.
        """
        guard = Guard()
        return await self.in_thread(functools.partial(self._work, work, guard, fresh=fresh), guard, limit_s)

    def _work(self, work: Callable[[Connection], _T], guard: Guard, *, fresh: bool) -> _T:
        while True:
            connection = None
            try:
                connection = self.take(guard, fresh=fresh)
                found = work(connection)
            except DRIVER_ERRORS as err:
                stale = connection is not None and not connection.fresh
                self.drop(connection, guard)
                if stale and fault(err) is SqlFault.GONE and not guard.aborted:
                    continue  # the server was restarted since: that connection is no news about it now
                raise
            self.give_back(connection, guard)
            return found

    async def open(self, limit_s: float) -> Connection | None:
        """Return a new connection, or None when it took too long.

        Raises:
            DRIVER_ERRORS: the database cannot be reached, or refuses.
        """
        guard = Guard()

        def connect() -> Connection | None:
            connection = self._connect()
            if guard.release():
                connection.close()
                return None
            return connection

        return (await self.in_thread(connect, guard, limit_s))[1]

    def kept(self) -> Connection | None:
        """Take a connection that was kept, if there is one."""
        with self._lock:
            return self._idle.pop() if self._idle else None

    def take(self, guard: Guard, *, fresh: bool = False) -> Connection:
        """Return a connection, a kept one if there is one (and none has to be `fresh`). For threads.

        Raises:
            DRIVER_ERRORS: the database cannot be reached, or refuses.
        """
        connection = (None if fresh else self.kept()) or self._connect()
        guard.uses(connection)
        return connection

    def _connect(self) -> Connection:
        return Connection(self.target, self._password().decode() if self.target.secret else "")

    def give_back(self, connection: Connection, guard: Guard) -> None:
        """Keep a connection for the next one, unless there are enough or the call was given up."""
        connection.fresh = False
        with self._lock:
            keep = not guard.release() and len(self._idle) < self._window
            if keep:
                self._idle.append(connection)
        if not keep:
            connection.close()

    def drop(self, connection: Connection | None, guard: Guard) -> None:
        """Close a connection that is not to be used again."""
        guard.release()
        if connection is not None:
            connection.close()

    def close_idle(self) -> None:
        """Close the connections that nobody uses."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()
