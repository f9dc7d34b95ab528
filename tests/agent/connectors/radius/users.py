"""A user of a RADIUS database, read and written."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from agent.connectors.radius import rowset
from agent.connectors.radius.rowset import UserRow, to_value
from agent.connectors.radius.sql import Drift, SqlAuthority
from agent.model import Value
from tests.builders.connector import commit
from tests.servers import RadiusDatabase
from tests.sim.sql.database import pools_of


def value_of(rows: tuple[UserRow, ...] | list[UserRow]) -> Value:
    return to_value(rows, commit)


@asynccontextmanager
async def authority(
    database: RadiusDatabase, *, port: int = 0, password: str = "", window: int = 8, timeout_s: float = 5.0
) -> AsyncIterator[SqlAuthority]:
    target = replace(database.target(secret="db"), timeout_s=timeout_s)
    if port:
        target = replace(target, port=port)
    secret = (password or database.password).encode()
    sql = SqlAuthority(target, lambda: secret, window, pools=pools_of(database))
    try:
        yield sql
    finally:
        await sql.aclose()


def amina(database: RadiusDatabase, login: str = "amina.h") -> None:
    database.add_user(login, "wonder", {"home20": 1}, [("Framed-IP-Address", ":=", "100.64.1.7")])


async def read(sql: SqlAuthority, login: str = "amina.h") -> Value:
    return value_of((await sql.read_users([login]))[login].rows)


async def write(sql: SqlAuthority, before: Value, after: Value, login: str = "amina.h") -> Drift | None:
    return await sql.write_user(login, before, rowset.changes(before, after), value_of)


def with_marker(value: Value) -> Value:
    return {**rowset.fields_of(value), "group:suspended": "-1"}
