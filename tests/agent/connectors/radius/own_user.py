"""A database user of the agent's own, made by the statements that the documents show."""

from __future__ import annotations

import contextlib
import itertools
import re
from dataclasses import replace
from pathlib import Path

from agent.connectors.radius.schema import Database
from tests.servers import MariaDB, PostgreSQL, RadiusDatabase

DOCUMENT = Path(__file__).parents[4] / "docs" / "connectors" / "radius.md"
PASSWORD = "a long one"
_names = itertools.count(1)
Server = PostgreSQL | MariaDB


def shown_sql(kind: Database, user: str, dbname: str) -> list[str]:
    """Return the statements for a user that the document shows, for another user and database."""
    blocks = re.findall(r"```sql\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    first = {Database.POSTGRESQL: "CREATE ROLE", Database.MARIADB: "CREATE USER"}[kind]
    (block,) = [b for b in blocks if b.startswith(first)]
    block = block.replace("ispagent", user).replace("radius.", f"{dbname}.")
    return [statement for statement in block.split(";\n") if statement.strip()]


def marker_group_sql() -> list[str]:
    """Return the statement that the document shows for the rows of the marker group."""
    blocks = re.findall(r"```sql\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    (block,) = [b for b in blocks if b.startswith("INSERT INTO radgroupreply")]
    return [block.strip().rstrip(";")]


def as_superuser(server: Server, database: RadiusDatabase, *statements: str) -> None:
    """Execute statements in a database as its superuser."""
    if isinstance(server, PostgreSQL):
        with server._superuser(database.dbname) as db:
            for statement in statements:
                db.execute(statement)
        return
    with contextlib.closing(server._superuser()) as db, contextlib.closing(db.cursor()) as cursor:
        cursor.execute(f"USE {database.dbname}")
        for statement in statements:
            cursor.execute(statement)


def own_user(server: Server, database: RadiusDatabase) -> RadiusDatabase:
    """Return the database as a new user of the agent's own sees it."""
    user = f"isp_{next(_names)}"
    as_superuser(server, database, *shown_sql(database.kind, user, database.dbname))
    return replace(database, user=user, password=PASSWORD)
