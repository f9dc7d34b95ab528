"""A simulated server in the form in which tests know real databases, so that their tests run on it too."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from agent.connectors.radius.schema import Database, TableSet
from agent.connectors.radius.sql_connection import Pool, Pools
from tests.servers import RadiusDatabase
from tests.sim.sql.pool import pools
from tests.sim.sql.server import SqlServer


@dataclass(frozen=True, slots=True)
class SimulatedDatabase(RadiusDatabase):
    """A database with FreeRADIUS' tables on a simulated server; statements of a test wait for nobody."""

    server: SqlServer | None = None

    def connect(self, *, autocommit: bool = True) -> Any:
        raise NotImplementedError("a simulated server has no driver")

    def run(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        with contextlib.closing(self._server.client()) as client:
            return client.ask_now(sql, parameters).rows

    def run_many(self, sql: str, rows: Iterable[Sequence[object]]) -> None:
        with contextlib.closing(self._server.client()) as client:
            client.ask_now("BEGIN")
            for row in rows:
                client.ask_now(sql, row)
            client.ask_now("COMMIT")

    @property
    def _server(self) -> SqlServer:
        if self.server is None:
            raise ValueError("expected a server")
        return self.server


def simulated_database(kind: Database, server: SqlServer | None = None) -> SimulatedDatabase:
    """Return an empty database on a new simulated server, or on a given one."""
    return SimulatedDatabase(kind, TableSet.STOCK, "radius", server=server or SqlServer(kind))


def pools_of(database: RadiusDatabase) -> Pools:
    """Return how connections to a database are made, be it real or simulated."""
    return pools(database._server) if isinstance(database, SimulatedDatabase) else Pool
