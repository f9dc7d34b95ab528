"""Histories of several sessions on one database, played on the simulated server and on real ones, and told as text.

A history is lines: `A> statement` lets session A begin it, `A~` says that it waits now, `A< answer` is what it gets.
Answers: `[amina home20 1]` for each row, `=1` for changed rows, `ok`, or `!conflict 40001`: the connector's meaning of
the error, and its code. `A! killed` ends A's connection from the server's side.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, Final, Protocol

import psycopg
import pymysql
import trio
import trio.testing

from agent.connectors.radius.schema import Database
from agent.connectors.radius.sql_connection import (
    BEGIN_READING,
    BEGIN_WRITING,
    DRIVER_ERRORS,
    Answer,
    Connection,
    Talk,
    fault,
)
from tests.servers import RadiusDatabase
from tests.sim.sql.server import SqlClient, SqlServer, lost

PATIENCE_S: Final = 60.0
FILLERS: Final = 80
"""Other subscribers in each table, so that a real server uses its indexes."""
_DATA: Final = (
    """INSERT INTO radusergroup (username, groupname, priority) VALUES
    ('amina', 'home20', 1), ('amina', 'vip', 5), ('bob', 'home50', 1), ('dora', 'home20', 1)""",
    """INSERT INTO radcheck (username, attribute, op, value) VALUES
    ('amina', 'Cleartext-Password', ':=', 'wonder'), ('bob', 'Cleartext-Password', ':=', 'builder')""",
    """INSERT INTO radreply (username, attribute, op, value) VALUES
    ('amina', 'Framed-IP-Address', ':=', '100.64.1.7'), ('bob', 'Framed-IP-Address', ':=', '100.64.1.8')""",
)


def data(kind: Database, *, whole: bool) -> Iterator[str]:
    """Yield the statements that make what every history begins with. `whole`: few rows, so that they are read whole."""
    yield from _DATA
    for table, columns, rest in (
        ()
        if whole
        else (
            ("radusergroup", "username, groupname, priority", "'home20', 1"),
            ("radcheck", "username, attribute, op, value", "'Cleartext-Password', ':=', 'x'"),
            ("radreply", "username, attribute, op, value", "'Framed-Pool', ':=', 'x'"),
        )
    ):
        rows = ", ".join(f"('f{n:02}', {rest})" for n in range(FILLERS))
        yield f"INSERT INTO {table} ({columns}) VALUES {rows}"
    time = {Database.POSTGRESQL: "to_timestamp({})", Database.MARIADB: "from_unixtime({})"}[kind].format
    yield (
        "INSERT INTO radacct (acctsessionid, acctuniqueid, username, nasipaddress, acctstarttime, acctupdatetime,"
        f" acctstoptime) VALUES ('s1', 'u1', 'amina', '10.0.0.1', {time(1000)}, {time(1600)}, NULL),"
        f" ('s2', 'u2', 'amina', '10.0.0.1', {time(500)}, {time(600)}, {time(700)})"
    )


class Sessions(Protocol):
    """Some sessions on a database."""

    async def ask(self, name: str, sql: str) -> Answer:
        """Run a statement in a session; raises as the driver does."""
        ...

    async def is_blocked(self, name: str) -> bool:
        """Tell whether the session's statement waits for another transaction now."""
        ...

    async def kill(self, name: str) -> None:
        """End a session's connection from the server's side."""
        ...


def _one(sql: str) -> Talk[Answer]:
    return (yield sql, ())


def told(verb: str, answer: Answer) -> str:
    """Return an answer as text."""
    if verb == "SELECT":
        return " ".join("[" + " ".join(_text(c) for c in row) + "]" for row in answer.rows) or "[]"
    return f"={answer.changed}" if verb in ("INSERT", "UPDATE", "DELETE") else "ok"


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def told_error(err: BaseException) -> str:
    """Return a driver's error as text: its meaning for the connector, and its code."""
    code: Any = getattr(err, "sqlstate", None) if isinstance(err, psycopg.Error) else None
    if isinstance(err, pymysql.err.MySQLError) and err.args:
        code = err.args[0]
    return f"!{fault(err).value}" + (f" {code}" if code else "")


class Player:
    """Plays a history on some sessions."""

    def __init__(self, kind: Database, sessions: Sessions, nursery: trio.Nursery) -> None:
        self._kind, self._sessions, self._nursery = kind, sessions, nursery
        self._running: dict[str, trio.Event] = {}
        self._answers: dict[str, str] = {}

    def begin(self, name: str, sql: str) -> None:
        """Let a session begin a statement."""
        if name in self._running:
            raise ValueError(f"expected {name} to be idle at {sql}")
        self._running[name] = trio.Event()
        self._nursery.start_soon(self._run, name, sql)

    async def _run(self, name: str, sql: str) -> None:
        words = {"WRITE": BEGIN_WRITING, "READ": BEGIN_READING}.get(sql)
        sql = words[self._kind] if words else sql
        try:
            answer = told(sql.partition(" ")[0], await self._sessions.ask(name, sql))
        except DRIVER_ERRORS as err:
            answer = told_error(err)
        self._answers[name] = answer
        self._running[name].set()

    async def settle(self) -> None:
        """Return once each session is idle or waits for one that is."""
        with trio.fail_after(PATIENCE_S):
            while True:
                busy = [name for name in self._running if name not in self._answers]
                blocked = [name for name in busy if await self._sessions.is_blocked(name)]
                if not busy or (len(blocked) == len(busy) == 1):
                    return
                await trio.sleep(0.02)

    async def answer(self, name: str) -> str:
        """Return a session's answer once it has come."""
        with trio.fail_after(PATIENCE_S):
            await self._running[name].wait()
        del self._running[name]
        return self._answers.pop(name)

    def came(self) -> list[str]:
        """Return the sessions whose answers have come."""
        return sorted(self._answers)

    async def line(self, text: str) -> str:
        """Play one line of a history and return it with what really happened."""
        name, sign, rest = text[0], text[1], text[3:]
        match sign:
            case ">":
                self.begin(name, rest)
            case "~":
                with trio.fail_after(PATIENCE_S):
                    while name not in self._answers and not await self._sessions.is_blocked(name):  # noqa: ASYNC110  the server sets no event
                        await trio.sleep(0.02)
                if name in self._answers:
                    return f"{name}< {await self.answer(name)}"
            case "<":
                return f"{name}< {await self.answer(name)}"
            case "!":
                await self._sessions.kill(name)
        return text


class SimulatedSessions:
    """Sessions on a simulated server."""

    def __init__(self, server: SqlServer, timeout_s: float) -> None:
        self._server, self._timeout_s = server, timeout_s
        self._clients: dict[str, SqlClient] = {}

    async def ask(self, name: str, sql: str) -> Answer:
        if name not in self._clients:
            self._clients[name] = self._server.agents_client(self._timeout_s)
        return await self._clients[name].ask(sql)

    async def is_blocked(self, name: str) -> bool:
        await trio.testing.wait_all_tasks_blocked()
        return name in self._clients and self._clients[name].is_waiting

    async def kill(self, name: str) -> None:
        self._clients[name].break_off(lost(self._server.kind, told=True))


@asynccontextmanager
async def simulated(
    kind: Database, *, whole: bool, timeout_s: float, other_victim: frozenset[int] = frozenset()
) -> AsyncIterator[Player]:
    """Yield a player on a new simulated server. `other_victim`: of `SqlEngine`."""
    server = SqlServer(kind, whole=whole)
    server.engine.other_victim = other_victim
    await server.write([(sql, ()) for sql in data(kind, whole=whole)])
    async with trio.open_nursery() as nursery:
        yield Player(kind, SimulatedSessions(server, timeout_s), nursery)
        nursery.cancel_scope.cancel()


class RealSessions:
    """Sessions on a real server: connections of the product's, each statement in a thread."""

    def __init__(self, database: RadiusDatabase, *, whole: bool, timeout_s: float) -> None:
        self._database, self._whole = database, whole
        self._target = replace(database.target(secret="db"), timeout_s=timeout_s)
        self._connections: dict[str, tuple[Connection, int]] = {}

    def _connect(self) -> tuple[Connection, int]:
        connection = Connection(self._target, self._database.password)
        if self._database.kind is Database.MARIADB:
            return connection, int(connection.run("SELECT connection_id()").rows[0][0])
        paths = ("indexscan", "indexonlyscan", "bitmapscan") if self._whole else ("seqscan",)
        for path in paths:
            connection.run(f"SET enable_{path} = off")
        return connection, int(connection.run("SELECT pg_backend_pid()").rows[0][0])

    async def ask(self, name: str, sql: str) -> Answer:
        if name not in self._connections:
            self._connections[name] = await trio.to_thread.run_sync(self._connect)
        connection = self._connections[name][0]
        if self._database.kind is Database.POSTGRESQL:  # each as the product does it
            return await connection.follow_here(_one(sql))
        return await trio.to_thread.run_sync(connection.run, sql, abandon_on_cancel=True)

    async def is_blocked(self, name: str) -> bool:
        if name not in self._connections:
            return False
        number = self._connections[name][1]
        question = {
            Database.POSTGRESQL: "SELECT count(*) FROM pg_locks WHERE NOT granted AND pid = %s",
            Database.MARIADB: "SELECT count(*) FROM information_schema.innodb_trx"
            " WHERE trx_state = 'LOCK WAIT' AND trx_mysql_thread_id = %s",
        }[self._database.kind]
        if self._database.kind is Database.MARIADB:
            await trio.sleep(0.15)  # it tells the same for 0.1 s
        found = await trio.to_thread.run_sync(self._database.run, question, number)
        return bool(found[0][0])

    async def kill(self, name: str) -> None:
        number = self._connections[name][1]
        end, question = {
            Database.POSTGRESQL: ("SELECT pg_terminate_backend(%s)", "SELECT 1 FROM pg_stat_activity WHERE pid = %s"),
            Database.MARIADB: ("KILL %s", "SELECT 1 FROM information_schema.processlist WHERE id = %s"),
        }[self._database.kind]
        await trio.to_thread.run_sync(self._database.run, end, number)
        with trio.fail_after(PATIENCE_S):
            while await trio.to_thread.run_sync(self._database.run, question, number):  # noqa: ASYNC110  the server's
                await trio.sleep(0.02)

    def close(self) -> None:
        for connection, _ in self._connections.values():
            connection.kill()
            connection.close()


@asynccontextmanager
async def real(database: RadiusDatabase, *, whole: bool, timeout_s: float) -> AsyncIterator[Player]:
    """Yield a player on a real database, whose tables are filled anew."""
    await trio.to_thread.run_sync(refill, database, whole)
    sessions = RealSessions(database, whole=whole, timeout_s=timeout_s)
    try:
        async with trio.open_nursery() as nursery:
            yield Player(database.kind, sessions, nursery)
            sessions.close()
            nursery.cancel_scope.cancel()
    finally:
        sessions.close()


def refill(database: RadiusDatabase, whole: bool) -> None:
    """Empty the tables, ids begin at 1 again, and fill them with `data`."""
    tables = ("radusergroup", "radcheck", "radreply", "radacct")
    with contextlib.closing(database.connect()) as connection, contextlib.closing(connection.cursor()) as cursor:
        for table in tables:
            again = " RESTART IDENTITY" if database.kind is Database.POSTGRESQL else ""
            cursor.execute(f"TRUNCATE TABLE {table}{again}")
        for sql in data(database.kind, whole=whole):
            cursor.execute(sql)
        for table in tables:
            cursor.execute(f"ANALYZE {'TABLE ' if database.kind is Database.MARIADB else ''}{table}")


async def play(player: Player, lines: Sequence[str]) -> list[str]:
    """Return a history as it really went."""
    return [await player.line(line) for line in lines]
