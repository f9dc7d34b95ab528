"""The RADIUS SQL database: SQLite in a file of the lab's own, or PostgreSQL or MariaDB with FreeRADIUS' own tables.

The drivers are synchronous and run in threads, at most `WORKERS` at once; a job is a function of a cursor and is one
transaction. SQL is written with `?` and holds no other question mark; the drivers' marks are put in here.
"""

from __future__ import annotations

import enum
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import parse_qs, unquote, urlsplit

import psycopg
import pymysql
import trio
from pymysql.constants import CLIENT

from lab.errors import LabDatabaseError

WORKERS: Final = 4
BUSY_TIMEOUT_S: Final = 10.0
Row = tuple[Any, ...]
T = TypeVar("T")


class Engine(enum.Enum):
    """The database server's kind."""

    SQLITE = "sqlite"
    POSTGRESQL = "postgresql"
    MARIADB = "mariadb"


@dataclass(frozen=True, slots=True)
class Dsn:
    """Where the database is. `path` is SQLite's file; `socket` a directory (PostgreSQL) or file (MariaDB), or empty."""

    engine: Engine
    path: str = ""
    host: str = "127.0.0.1"
    port: int = 0
    user: str = "radius"
    password: str = ""
    dbname: str = "radius"
    socket: str = ""


_SCHEMES: Final = {
    "sqlite": Engine.SQLITE,
    "postgresql": Engine.POSTGRESQL,
    "postgres": Engine.POSTGRESQL,
    "mariadb": Engine.MARIADB,
    "mysql": Engine.MARIADB,
}


def parse_dsn(text: str) -> Dsn:
    """Read `sqlite:///PATH`, `postgresql://USER:PASSWORD@HOST:PORT/DB[?socket=PATH]` or `mariadb://...`.

    Raises:
        LabDatabaseError: another scheme, or a port that is no number.
    """
    try:
        url = urlsplit(text)
        engine, port = _SCHEMES[url.scheme], url.port
    except (KeyError, ValueError) as err:
        raise LabDatabaseError("expected sqlite:///, postgresql:// or mariadb://, got another address") from err
    if engine is Engine.SQLITE:
        return Dsn(engine, path=unquote(url.path))
    default = 5432 if engine is Engine.POSTGRESQL else 3306
    return Dsn(
        engine,
        host=url.hostname or "127.0.0.1",
        port=port or default,
        user=unquote(url.username or "radius"),
        password=unquote(url.password or ""),
        dbname=unquote(url.path.lstrip("/")) or "radius",
        socket=parse_qs(url.query).get("socket", [""])[0],
    )


class Cursor:
    """One transaction's cursor, the same for the three drivers."""

    def __init__(self, raw: Any, engine: Engine) -> None:
        self._raw = raw
        self.engine = engine

    def _sql(self, sql: str) -> str:
        return sql if self.engine is Engine.SQLITE else sql.replace("?", "%s")

    def execute(self, sql: str, parameters: Sequence[object] = ()) -> int:
        """Run one statement; returns the rows touched, as the database counts them."""
        self._raw.execute(self._sql(sql), tuple(parameters))
        return int(self._raw.rowcount)

    def execute_many(self, sql: str, rows: Iterable[Sequence[object]]) -> None:
        """Run one statement for every row of parameters."""
        self._raw.executemany(self._sql(sql), [tuple(r) for r in rows])

    def fetch(self, sql: str, parameters: Sequence[object] = ()) -> list[Row]:
        """Run one query and return all its rows."""
        self._raw.execute(self._sql(sql), tuple(parameters))
        return [tuple(r) for r in self._raw.fetchall()]

    def time(self) -> str:
        """SQL that turns one parameter, unix seconds, into the column type of radacct's times."""
        return {Engine.SQLITE: "?", Engine.POSTGRESQL: "to_timestamp(?)", Engine.MARIADB: "FROM_UNIXTIME(?)"}[
            self.engine
        ]


def _connect(dsn: Dsn) -> Any:
    match dsn.engine:
        case Engine.SQLITE:
            connection = sqlite3.connect(
                dsn.path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
            )
            connection.execute("PRAGMA synchronous = NORMAL")
            return connection
        case Engine.POSTGRESQL:
            return psycopg.connect(
                host=dsn.socket or dsn.host,
                port=dsn.port,
                user=dsn.user,
                password=dsn.password or None,
                dbname=dsn.dbname,
                connect_timeout=10,
            )
        case Engine.MARIADB:
            return pymysql.connect(
                host=dsn.host,
                port=dsn.port,
                user=dsn.user,
                password=dsn.password,
                database=dsn.dbname,
                unix_socket=dsn.socket or None,
                charset="utf8mb4",
                connect_timeout=10,
                client_flag=CLIENT.FOUND_ROWS,  # count the rows that matched, as the others do and as FreeRADIUS asks
            )


_DRIVER_ERRORS: Final = (sqlite3.Error, psycopg.Error, pymysql.MySQLError, OSError)


class Database:
    """Connections to the RADIUS database; made by `open_database`."""

    def __init__(self, dsn: Dsn) -> None:
        self.dsn = dsn
        self._idle: list[Any] = []
        self._workers = trio.CapacityLimiter(WORKERS)
        # SQLite has one writer: queueing here is cheaper than its busy handler, which sleeps
        self._writer = trio.CapacityLimiter(1 if dsn.engine is Engine.SQLITE else WORKERS)

    async def read(self, job: Callable[[Cursor], T]) -> T:
        """Run `job` in a thread, in a transaction of its own that is given up afterwards.

        Raises:
            LabDatabaseError: the database refused or is unreachable.
        """
        return await trio.to_thread.run_sync(self._run, job, False, limiter=self._workers)

    async def write(self, job: Callable[[Cursor], T]) -> T:
        """Run `job` in a thread and commit; an error rolls all of it back.

        Raises:
            LabDatabaseError: the database refused or is unreachable.
        """
        return await trio.to_thread.run_sync(self._run, job, True, limiter=self._writer)

    async def fetch(self, sql: str, parameters: Sequence[object] = ()) -> list[Row]:
        """Read the rows of one query. Raises LabDatabaseError as `read` does."""
        return await self.read(lambda cursor: cursor.fetch(sql, parameters))

    async def execute(self, sql: str, parameters: Sequence[object] = ()) -> int:
        """Write one statement, return the rows touched. Raises LabDatabaseError as `write` does."""
        return await self.write(lambda cursor: cursor.execute(sql, parameters))

    def _run(self, job: Callable[[Cursor], T], writes: bool) -> T:
        # A connection lost meanwhile (the server restarted) shows at its next use: that request fails, it is dropped
        connection = None
        try:
            connection = self._idle.pop() if self._idle else _connect(self.dsn)
            result = self._transaction(connection, job, writes)
        except _DRIVER_ERRORS as err:
            if connection is not None:
                connection.close()
            raise LabDatabaseError(f"{self.dsn.engine.value}: {type(err).__name__}: {err}") from err
        except BaseException:
            if connection is not None:
                connection.close()
            raise
        self._idle.append(connection)
        return result

    def _transaction(self, connection: Any, job: Callable[[Cursor], T], writes: bool) -> T:
        with closing(connection.cursor()) as raw:
            if self.dsn.engine is Engine.SQLITE:
                raw.execute("BEGIN IMMEDIATE" if writes else "BEGIN")
            result = job(Cursor(raw, self.dsn.engine))
        if writes:
            connection.commit()
        else:
            connection.rollback()
        return result

    def close(self) -> None:
        """Close the idle connections; call it when no job runs."""
        while self._idle:
            self._idle.pop().close()


def create_sqlite(path: Path) -> None:
    """Create the lab's SQLite file with the RADIUS tables, in WAL mode, so that other processes may read and write.

    Raises:
        LabDatabaseError: the file exists with other tables, or cannot be written.
    """
    schema = resources.files("lab").joinpath("schema_sqlite.sql").read_text(encoding="utf-8")
    try:
        path.touch(mode=0o600, exist_ok=True)
        with closing(sqlite3.connect(path, timeout=BUSY_TIMEOUT_S)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(schema)
    except (sqlite3.Error, OSError) as err:
        raise LabDatabaseError(f"sqlite: {err}") from err


@asynccontextmanager
async def open_database(dsn: Dsn) -> AsyncIterator[Database]:
    """Open the database for the block. The tables are there already (`create_sqlite`, or FreeRADIUS' own schema).

    Raises:
        LabDatabaseError: it cannot be reached, or has no RADIUS tables.
    """
    database = Database(dsn)
    try:
        await database.fetch("SELECT COUNT(*) FROM radcheck")
        yield database
    finally:
        database.close()
