"""The lab's database on a simulated server: RADIUS server, NAS and staff of the lab write there, without a thread."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, TypeVar

import psycopg
import pymysql
import trio

from agent.connectors.radius.schema import Database
from lab.database import BUSY_TIMEOUT_S, Cursor, Dsn, Engine
from lab.database import Database as LabDatabase
from lab.errors import LabDatabaseError
from tests.sim.sql.server import SqlClient, SqlServer, WouldWaitError

_T = TypeVar("_T")
PASSWORD: Final = "wonder"
"""No simulated server asks for it, and the agent needs one."""
_ENGINES: Final = {Database.POSTGRESQL: Engine.POSTGRESQL, Database.MARIADB: Engine.MARIADB}


class _RawCursor:
    """The part of a driver's cursor that the lab uses."""

    def __init__(self, client: SqlClient) -> None:
        self._client, self._rows, self.rowcount = client, [], -1

    def execute(self, sql: str, parameters: Sequence[object]) -> None:
        self._rows, self.rowcount = self._client.ask_now(sql, parameters)

    def executemany(self, sql: str, rows: Iterable[Sequence[object]]) -> None:
        for row in rows:
            self.execute(sql, row)

    def fetchall(self) -> list[tuple[Any, ...]]:
        return self._rows


class _LookingCursor(_RawCursor):
    """As one of a driver, on the committed rows: it disturbs nobody."""

    def __init__(self, server: SqlServer) -> None:
        self._server, self._rows, self.rowcount = server, [], -1

    def execute(self, sql: str, parameters: Sequence[object]) -> None:
        self._rows = self._server.look(sql, *parameters)


class SimulatedLabDatabase(LabDatabase):
    """A job is one transaction. One that would have to wait is rolled back and run again when another has ended."""

    def __init__(self, server: SqlServer) -> None:
        super().__init__(Dsn(_ENGINES[server.kind], password=PASSWORD))
        self._server = server

    def look(self, job: Callable[[Cursor], _T]) -> _T:
        """Return the result of a job that reads the committed rows, at this instant."""
        return job(Cursor(_LookingCursor(self._server), self.dsn.engine))

    async def read(self, job: Callable[[Cursor], _T]) -> _T:
        return await self._transact(job, "ROLLBACK")

    async def write(self, job: Callable[[Cursor], _T]) -> _T:
        return await self._transact(job, "COMMIT")

    async def _transact(self, job: Callable[[Cursor], _T], end: str) -> _T:
        with trio.move_on_after(BUSY_TIMEOUT_S):
            while True:
                await trio.sleep(self._server.latency_s())
                try:
                    return self._once(job, end)
                except WouldWaitError:
                    await self._server.changed()
                except (psycopg.Error, pymysql.MySQLError, OSError) as err:
                    raise LabDatabaseError(f"{self.dsn.engine.value}: {type(err).__name__}: {err}") from err
        raise LabDatabaseError(f"{self.dsn.engine.value}: locked for {BUSY_TIMEOUT_S:g} s")

    def _once(self, job: Callable[[Cursor], _T], end: str) -> _T:
        client = self._server.client(matched=True)
        try:
            client.ask_now("BEGIN")
            found = job(Cursor(_RawCursor(client), self.dsn.engine))
            client.ask_now(end)
            return found
        finally:
            client.close()
