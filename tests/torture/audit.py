"""The database's own account of its rows: triggers note who changed which row of a login, in the same transaction.

The agent logs in as `AGENT`, and a copy of it as `TWIN`; everybody else (FreeRADIUS, the lab, its staff) as `radius`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import trio

from agent.connectors.radius.schema import Database
from tests.servers import MariaDB, PostgreSQL, RadiusDatabase

AGENT, TWIN = "agent", "agent_twin"
TWIN_MARK = "*"
"""Stands at the names of the changes of an agent that is a copy of another."""
_TABLES = {
    "radusergroup": "{row}.groupname, '/', {row}.priority",
    "radcheck": "{row}.attribute, {row}.op, {row}.value",
    "radreply": "{row}.attribute, {row}.op, {row}.value",
}
_POSTGRESQL = """
CREATE TABLE torture_audit (
    id serial PRIMARY KEY, at double precision, who text, tbl text, op text, username text, was text, now_is text
);
"""
_POSTGRESQL_TRIGGER = """
CREATE FUNCTION torture_{table}() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO torture_audit (at, who, tbl, op, username, was, now_is) VALUES (
        extract(epoch FROM clock_timestamp()), session_user, TG_TABLE_NAME, TG_OP,
        CASE WHEN TG_OP = 'DELETE' THEN OLD.username ELSE NEW.username END,
        CASE WHEN TG_OP = 'INSERT' THEN NULL ELSE concat({old}) END,
        CASE WHEN TG_OP = 'DELETE' THEN NULL ELSE concat({new}) END);
    RETURN NULL;
END $$;
CREATE TRIGGER torture AFTER INSERT OR UPDATE OR DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION torture_{table}();
"""
_MARIADB = """
CREATE TABLE torture_audit (
    id int AUTO_INCREMENT PRIMARY KEY, at double, who varchar(80), tbl varchar(40), op varchar(10),
    username varchar(128), was varchar(400), now_is varchar(400))
"""
_MARIADB_TRIGGER = """
CREATE TRIGGER torture_{table}_{op} AFTER {op} ON {table} FOR EACH ROW
INSERT INTO torture_audit (at, who, tbl, op, username, was, now_is)
VALUES (unix_timestamp(now(6)), substring_index(user(), '@', 1), '{table}', '{op}', {row}.username, {was}, {now_is})
"""


@dataclass(frozen=True, slots=True)
class RowChange:
    """A row of a login that somebody changed. `at`: trio's clock; `was`, `now_is`: "" where there is none."""

    id: int
    at: float
    who: str
    table: str
    op: str
    login: str
    was: str
    now_is: str

    @property
    def by_agent(self) -> bool:
        return self.who in (AGENT, TWIN)

    @property
    def mark(self) -> str:
        """Return what stands at the names of its author's changes."""
        return TWIN_MARK if self.who == TWIN else ""

    def text(self) -> str:
        """Return it for people."""
        return f"{self.who}: {self.op} {self.table} {self.was or '-'} > {self.now_is or '-'}"


class Audit:
    """The changes of a database, read so far in `changes`."""

    def __init__(self, server: PostgreSQL | MariaDB, database: RadiusDatabase) -> None:
        self.changes: list[RowChange] = []
        self._database = database
        self._known: set[int] = set()
        # The rows are dated by the database server's clock, which is the machine's
        self._ahead_s = time.time() - trio.current_time()
        self._install()

    def _install(self) -> None:
        run = self._database.run
        if self._database.kind is Database.POSTGRESQL:
            run(_POSTGRESQL)
            for table, row in _TABLES.items():
                run(_POSTGRESQL_TRIGGER.format(table=table, old=row.format(row="OLD"), new=row.format(row="NEW")))
            return
        run(_MARIADB)
        for table, row in _TABLES.items():
            for op in ("INSERT", "UPDATE", "DELETE"):
                was = "NULL" if op == "INSERT" else f"concat({row.format(row='OLD')})"
                now_is = "NULL" if op == "DELETE" else f"concat({row.format(row='NEW')})"
                side = "OLD" if op == "DELETE" else "NEW"
                run(_MARIADB_TRIGGER.format(table=table, op=op, row=side, was=was, now_is=now_is))

    def read(self) -> list[RowChange]:
        """Read on; return what is new, in order. A transaction that ended late may bring an earlier number."""
        after = max(self._known, default=0) - 50
        rows = self._database.run(
            "SELECT id, at, who, tbl, op, username, was, now_is FROM torture_audit WHERE id > %s ORDER BY id", after
        )
        new = [
            RowChange(n, at - self._ahead_s, who, table, op, login, was or "", now_is or "")
            for n, at, who, table, op, login, was, now_is in rows
            if n not in self._known
        ]
        self._known |= {change.id for change in new}
        self.changes = sorted([*self.changes, *new], key=lambda change: change.id)
        return new
