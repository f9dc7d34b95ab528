"""Queries on connections that only read, each in a thread, within a time, up to so many rows.

The server refuses to write on them, whatever a query holds: the session is read-only, and so is its transaction. A
server that hangs is given up: its connection is shut down under the thread, which then ends.
"""

from __future__ import annotations

import contextlib
import math
import re
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import psycopg
import pymysql
import trio
from pymysql.constants import CR

from agent.billing_model.errors import BillingState, SourceError
from agent.connectors.accounts_sql.query import Statement, limited
from agent.connectors.accounts_sql.schema import AccountsDatabase, QuerySource

DRIVER_ERRORS: Final = (psycopg.Error, pymysql.err.MySQLError, OSError)
_THREADS: Final = 2
"""Of one source: a reading, and one that was given up and has not noticed yet."""
_CONNECT_S: Final = 10
_WRITES: Final = re.compile(r"\b(ALL PRIVILEGES|INSERT|UPDATE|DELETE|DROP|ALTER|CREATE|SUPER)\b")
_REFUSED_LOGIN: Final = ("authentication failed", "pg_hba.conf", "does not exist", "not permitted to log in")
_REFUSED_CODES: Final = frozenset({1044, 1045, 1049, 1130, 1142, 1143, 1698})
"""MariaDB: access denied, for the database, no such database, host, table, column; no password login."""
_CERTIFICATE: Final = "certificate"
"""A word of both drivers for a certificate that does not verify, before any query."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class QueryRows:
    """The result of a query."""

    columns: tuple[str, ...]
    rows: Sequence[tuple[object, ...]]


@dataclass(slots=True)
class _Line:
    """A connection that another thread may shut down, also while it is being made."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    socket: socket.socket | None = None
    is_cut: bool = False

    def hold(self, fileno: int) -> None:
        with self.lock:
            self.socket = socket.socket(fileno=socket.dup(fileno))
        if self.is_cut:
            self.cut()

    def cut(self) -> None:
        with self.lock:
            self.is_cut = True
            if self.socket is not None:
                with contextlib.suppress(OSError):
                    self.socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        with self.lock:
            if self.socket is not None:
                self.socket.close()
                self.socket = None


class SqlReader:
    """Runs queries of one source."""

    def __init__(self, source: QuerySource, password: Callable[[], bytes]) -> None:
        """Take the source, and its password, which is asked for at each connection."""
        self._source, self._password = source, password
        self._threads = trio.CapacityLimiter(_THREADS)

    async def read(self, statement: Statement) -> QueryRows:
        """Return the rows of a query.

        Raises:
            SourceError: they could not be read whole.
        """
        return await self._talk(lambda connection: self._rows(connection, statement))

    async def may_write(self) -> bool:
        """Return whether the user could change data on another connection.

        Raises:
            SourceError: the server could not be asked.
        """
        return await self._talk(self._could_write)

    async def _talk(self, work: Callable[[Any], T]) -> T:
        line = _Line()
        within_s = self._source.timeout_s
        try:
            with trio.move_on_after(within_s):
                return await trio.to_thread.run_sync(
                    lambda: self._in_thread(line, work), abandon_on_cancel=True, limiter=self._threads
                )
        except DRIVER_ERRORS as err:
            raise self._told(err) from None  # a driver's text may quote the query and values
        finally:
            line.cut()
        raise SourceError(f"{self._id}: no whole answer within {within_s:g} s", state=BillingState.UNREACHABLE)

    @property
    def _id(self) -> str:
        return self._source.terms.target

    def _in_thread(self, line: _Line, work: Callable[[Any], T]) -> T:
        try:
            with contextlib.closing(self._connect(line)) as connection:
                return work(connection)
        finally:
            line.close()

    def _connect(self, line: _Line) -> Any:
        password = self._password().decode() if self._source.terms.secret else ""
        if self._source.database is AccountsDatabase.POSTGRESQL:
            return self._postgresql(line, password)
        return self._mariadb(line, password)

    def _postgresql(self, line: _Line, password: str) -> psycopg.Connection[Any]:
        source, limit_ms = self._source, int(self._source.timeout_s * 1000)
        connection = psycopg.connect(
            host=source.host,
            port=source.port or 5432,
            dbname=source.dbname,
            user=source.user,
            password=password,
            connect_timeout=_CONNECT_S,
            options=f"-c default_transaction_read_only=on -c statement_timeout={limit_ms} -c lock_timeout={limit_ms}"
            f" -c idle_in_transaction_session_timeout={limit_ms}",
            application_name="ispagent",
            sslmode="prefer" if source.ca_file is None else "verify-full",
            sslrootcert=None if source.ca_file is None else str(source.ca_file),
        )
        line.hold(connection.fileno())
        if connection.info.encoding == "ascii":
            # psycopg gives bytes then: each text of the reading would be wrong, and none would say why
            connection.close()
            raise SourceError(
                f"{self._id}: expected texts in an encoding such as UTF8, got SQL_ASCII: PostgreSQL gives bytes"
                f" that may mean anything: if they are UTF-8, ALTER ROLE {source.user} SET client_encoding = 'UTF8'",
                state=BillingState.REFUSED,
            )
        connection.read_only = True
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        return connection

    def _mariadb(self, line: _Line, password: str) -> Any:
        source = self._source
        sock = socket.create_connection((source.host, source.port or 3306), _CONNECT_S)
        line.hold(sock.fileno())
        limit_s = math.ceil(source.timeout_s)
        try:
            connection = pymysql.connect(
                host=source.host,
                user=source.user,
                password=password,
                database=source.dbname,
                charset="utf8mb4",
                read_timeout=limit_s,
                write_timeout=limit_s,
                ssl_ca=None if source.ca_file is None else str(source.ca_file),
                ssl_verify_cert=True if source.ca_file is not None else None,
                ssl_verify_identity=True if source.ca_file is not None else None,
                defer_connect=True,
            )
            connection.connect(sock)
        except BaseException:
            sock.close()
            raise
        with contextlib.closing(connection.cursor()) as cursor:
            cursor.execute("SET SESSION TRANSACTION READ ONLY")
            cursor.execute("SET SESSION max_statement_time = %s", (source.timeout_s,))
            cursor.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
        return connection

    def _rows(self, connection: Any, statement: Statement) -> QueryRows:
        most = self._source.rows_most
        with contextlib.closing(connection.cursor()) as cursor:
            cursor.execute(*limited(statement, most + 1))
            columns = tuple(str(column[0]).lower() for column in cursor.description)
            rows = list(cursor.fetchall())
        if len(rows) > most:
            text = f"{self._id}: expected at most {most} rows (rows_most), got more"
            raise SourceError(text, state=BillingState.UNREACHABLE)
        return QueryRows(columns, rows)

    def _could_write(self, connection: Any) -> bool:
        cursor = connection.cursor()
        with contextlib.closing(cursor):
            if self._source.database is AccountsDatabase.POSTGRESQL:
                cursor.execute(_POSTGRESQL_WRITES)
                return bool(cursor.fetchall()[0][0])
            cursor.execute("SHOW GRANTS")
            return any(_WRITES.search(str(row[0]).partition(" ON ")[0]) for row in cursor.fetchall())

    def _told(self, err: BaseException) -> SourceError:
        """Return the meaning of a driver's error: the database's own number of it, never its text."""
        state, where = BillingState.UNREACHABLE, f"{self._source.host} ({self._source.database.value})"
        untrusted, code = False, ""
        match err:
            case psycopg.Error():
                code = f"SQLSTATE {err.sqlstate}" if err.sqlstate else ""
                untrusted = err.sqlstate is None and _CERTIFICATE in str(err)
                refused = err.sqlstate is None and any(text in str(err) for text in _REFUSED_LOGIN)
                if refused or (err.sqlstate or "")[:2] in ("0A", "25", "28", "42"):
                    state = BillingState.REFUSED
            case pymysql.err.MySQLError():
                number = err.args[0] if err.args and isinstance(err.args[0], int) else 0
                code = f"MariaDB error {number}" if number else ""
                untrusted = number == CR.CR_CONN_HOST_ERROR and _CERTIFICATE in str(err)
                if number in _REFUSED_CODES or number in (1054, 1064, 1146, 1792):
                    state = BillingState.REFUSED
            case OSError():
                code = err.strerror or ""
        meaning = _MEANINGS[state]
        if untrusted:
            meaning = f"its certificate is not trusted: see ca_file in [{self._id.replace('/', '.')}]"
        return SourceError(f"{self._id}: {where}: {meaning}{f' ({code})' if code else ''}", state=state)


_MEANINGS: Final = {
    BillingState.REFUSED: "it refuses the login or the query: expected a user that may read what the query names",
    BillingState.UNREACHABLE: "expected a whole answer, and the connection or the query failed",
}
_POSTGRESQL_WRITES: Final = """
SELECT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = current_user AND rolsuper) OR EXISTS (
    SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p') AND n.nspname NOT IN ('pg_catalog', 'information_schema')
    AND has_table_privilege(c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE'))
"""
