"""The seam: the agent's pool of connections, to a simulated server and without a thread.

`RadiusConnector(..., pools=pools(server))` is all that the agent needs. MariaDB's statements, too, run in the task that
calls, as PostgreSQL's do in production; that its real ones run the same statements in threads is what the real servers'
tests hold.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import psycopg
import pymysql
import trio

from agent.connectors.radius.schema import Database, SqlTarget
from agent.connectors.radius.sql_connection import Answer, Connection, Guard, Pool, Pools, Talk, _verb
from tests.sim.sockets import PROCESS
from tests.sim.sql.engine import SqlRefusal
from tests.sim.sql.plan import Mishap, SqlMishap
from tests.sim.sql.server import SqlClient, SqlServer, lost

_T = TypeVar("_T")
READ_TIMEOUT: float = 1.5
"""PyMySQL's read_timeout, in timeouts of the target's."""


class SimulatedConnection(Connection):
    """A connection of the agent's; the faults of the server's plan strike at its statements."""

    def __init__(self, server: SqlServer, target: SqlTarget) -> None:
        """Connect; raises as a driver does."""
        self.kind, self.fresh, self.verb = target.database, True, ""
        self._server, self._timeout_s = server, target.timeout_s
        self._client: SqlClient = server.agents_client(target.timeout_s)
        self._process = PROCESS.get()
        if self._process is not None:
            self._process.sockets[self] = None

    async def follow_here(self, talk: Talk[_T]) -> _T:
        try:
            query = next(talk)
            while True:
                query = talk.send(await self._ask(*query))
        except StopIteration as end:
            found: _T = end.value
        return found

    async def _ask(self, sql: str, parameters: Sequence[object]) -> Answer:
        self.verb = _verb(sql)
        faults = self._server.plan.take(_struck_as(sql))
        if faults:
            self._server.note_trouble(4 * self._timeout_s)
        try:
            for one in faults:
                await self._strike_before(one)
            answer = await self._client.ask(sql, parameters)
            for one in faults:
                await self._strike_after(one)
            await trio.sleep(self._server.latency_s())  # it is done, and its client does not know it yet
        finally:
            if self._process is not None:
                self._process.check_alive()
        return answer

    async def _strike_before(self, one: SqlMishap) -> None:
        server = self._server
        match one.what:
            case Mishap.CUT_BEFORE:
                self._client.break_off(lost(self.kind))
            case Mishap.HANG_BEFORE:
                await self._hang()
            case Mishap.OTHER:
                await _write_as_other(server, one)
            case Mishap.CONFLICT | Mishap.TIMEOUT | Mishap.FULL:
                self._client.refuse(_REFUSALS[self.kind][one.what])
            case Mishap.READ_ONLY:
                server.be_read_only(one.for_s)
            case Mishap.REFUSED:
                server.refuse(one.for_s)
            case Mishap.RESTART | Mishap.FAILOVER if one.at != "COMMIT":
                server.restart(one.for_s, forget=one.forget)

    async def _strike_after(self, one: SqlMishap) -> None:
        """A server that dies at a COMMIT dies after it: this commit may be one of those that are forgotten."""
        match one.what:
            case Mishap.CUT_AFTER:
                self._client.break_off(lost(self.kind))
                raise lost(self.kind)
            case Mishap.HANG_AFTER:
                await self._hang()
            case Mishap.RESTART | Mishap.FAILOVER if one.at == "COMMIT":
                self._server.restart(one.for_s, forget=one.forget)
                raise lost(self.kind, told=not one.forget)

    async def _hang(self) -> None:
        """Hear nothing more: PyMySQL gives up by itself, with PostgreSQL the caller does."""
        self._client.linger()
        if self.kind is Database.MARIADB:
            await trio.sleep(max(1, math.ceil(self._timeout_s * READ_TIMEOUT)))
            raise pymysql.err.OperationalError(2013, "Lost connection to MySQL server during query (timed out)")
        await trio.sleep_forever()

    def run(self, sql: str, parameters: Sequence[object] = ()) -> Answer:
        """Execute one statement that waits for nobody; for `Pool.lend`, whose work only reads."""
        self.verb = _verb(sql)
        return self._client.ask_now(sql, parameters)

    def close(self) -> None:
        self._client.close()
        if self._process is not None:
            self._process.sockets.pop(self, None)

    def kill(self) -> None:
        self.close()


_REFUSALS: Mapping[Database, Mapping[Mishap, SqlRefusal]] = {
    Database.POSTGRESQL: {
        Mishap.CONFLICT: SqlRefusal("40P01", "deadlock detected"),
        Mishap.TIMEOUT: SqlRefusal("57014", "canceling statement due to statement timeout"),
        Mishap.FULL: SqlRefusal("53100", "could not extend file: No space left on device"),
    },
    Database.MARIADB: {
        Mishap.CONFLICT: SqlRefusal(1213, "Deadlock found when trying to get lock", ends=True),
        Mishap.TIMEOUT: SqlRefusal(1969, "Query execution was interrupted (max_statement_time exceeded)"),
        Mishap.FULL: SqlRefusal(1114, "The table is full"),
    },
}


async def _write_as_other(server: SqlServer, one: SqlMishap) -> None:
    token = PROCESS.set(None)  # it is no doing of the agent's
    try:
        with contextlib.suppress(psycopg.Error, pymysql.err.MySQLError, OSError):
            await server.write(one.statements)
    finally:
        PROCESS.reset(token)


def _struck_as(sql: str) -> str:
    return {"START": "BEGIN", "WITH": "SELECT"}.get(sql.partition(" ")[0], sql.partition(" ")[0])


class SimulatedPool(Pool):
    """A pool whose connections go to a simulated server."""

    def __init__(self, server: SqlServer, target: SqlTarget, password: Callable[[], bytes], window: int) -> None:
        super().__init__(target, password, window)
        if target.database is not server.kind:
            raise ValueError(f"expected a target of {server.kind}, got {target.database}")
        self._server, self.in_task = server, True

    async def open(self, limit_s: float) -> Connection | None:
        for one in self._server.plan.take("CONNECT"):
            match one.what:
                case Mishap.RESTART | Mishap.FAILOVER:
                    self._server.restart(one.for_s, forget=one.forget)
                case Mishap.REFUSED:
                    self._server.refuse(one.for_s)
                case Mishap.OTHER:
                    await _write_as_other(self._server, one)
                case _:
                    raise lost(self._server.kind)
        with trio.move_on_after(limit_s):
            await trio.sleep(self._server.latency_s())
            return self._connect()
        return None

    def _connect(self) -> Connection:
        if self.target.secret:
            self._password()  # it may not be known: that is told as in production
        return SimulatedConnection(self._server, self.target)

    async def lend(
        self, work: Callable[[Connection], _T], limit_s: float, *, fresh: bool = False
    ) -> tuple[bool, _T | None]:
        await trio.sleep(self._server.latency_s())
        return True, self._work(work, Guard(), fresh=fresh)


def pools(server: SqlServer) -> Pools:
    """Return what `RadiusConnector` and `SqlAuthority` take for their connections to be the simulated server's."""
    return lambda target, password, window: SimulatedPool(server, target, password, window)
