"""The SQL statements of `sql`: what is read of users, groups and sessions, by many keys at once, and row changes.

Each look-up compares a key as the database compares it with a literal, as FreeRADIUS' own queries do, and tells how the
database spells what it found.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from agent.connectors.radius.rowset import BoundChange, ChangeKind, Table
from agent.connectors.radius.schema import Database

if TYPE_CHECKING:
    from agent.connectors.radius.sql_connection import Connection, Query, Reading, Rows

USER_TABLES: Final = {
    Table.CHECK: ("radcheck", "attribute, op, value"),
    Table.REPLY: ("radreply", "attribute, op, value"),
    Table.GROUP: ("radusergroup", "groupname, '', priority"),
}
_USER_IN_ONE: Final = (
    "SELECT 0 AS t, id, username, attribute, op, value FROM radcheck WHERE username = %s"
    " UNION ALL SELECT 1, id, username, attribute, op, value FROM radreply WHERE username = %s"
    " UNION ALL SELECT 2, id, username, groupname, '', priority::text FROM radusergroup WHERE username = %s"
    " ORDER BY t, id"
)
"""PostgreSQL: the three user tables in one round trip, in the order of `USER_TABLES`."""
GROUP_TABLES: Final = {
    Table.CHECK: ("radgroupcheck", "attribute, op, value"),
    Table.REPLY: ("radgroupreply", "attribute, op, value"),
}
SESSION_COLUMNS: Final = {
    Database.POSTGRESQL: "acctuniqueid, acctsessionid, username, host(nasipaddress), host(framedipaddress), "
    "framedipv6prefix::text, delegatedipv6prefix::text, callingstationid, extract(epoch FROM acctstarttime)::bigint",
    Database.MARIADB: "acctuniqueid, acctsessionid, username, nasipaddress, framedipaddress, "
    "framedipv6prefix, delegatedipv6prefix, callingstationid, unix_timestamp(acctstarttime)",
    # FreeRADIUS writes seconds into SQLite's datetime columns; other programs write text.
    Database.SQLITE: "acctuniqueid, acctsessionid, username, nasipaddress, framedipaddress, "
    "framedipv6prefix, delegatedipv6prefix, callingstationid, CASE typeof(acctstarttime) WHEN 'text' "
    "THEN CAST(round((julianday(acctstarttime) - 2440587.5) * 86400) AS INTEGER) ELSE acctstarttime END",
}
OPEN: Final = {
    Database.POSTGRESQL: "acctstoptime IS NULL",
    # A zero date is how old schemas say "still open".
    Database.MARIADB: "(acctstoptime IS NULL OR acctstoptime = 0)",
    Database.SQLITE: "acctstoptime IS NULL",
}


def text_of(value: Any) -> str:
    """Return a column as text; binary collations give bytes, inet and numbers their own types."""
    if value is None:
        return ""
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value)


def user_rows(connection: Connection, login: str) -> Iterable[tuple[Any, ...]]:
    """Return (table, id, login as it is spelled, name, op, value) of a user's rows, locked where that needs words."""
    if connection.kind is Database.POSTGRESQL:
        for number, *rest in connection.run(_USER_IN_ONE, (login,) * len(USER_TABLES)):
            yield list(USER_TABLES)[number], *rest
        return
    lock = " FOR UPDATE" if connection.kind is Database.MARIADB else ""
    for table, (sql_table, columns) in USER_TABLES.items():
        words = ("SELECT id, username,", columns, "FROM", sql_table, "WHERE username = %s ORDER BY id")
        for row in connection.run(" ".join(words) + lock, (login,)):
            yield table, *row


def keyed_rows(kind: Database, tables: Mapping[Table, tuple[str, str]], key: str, keys: Sequence[str]) -> Reading[Rows]:
    """Return (table, index of the key, id, key as it is spelled, name, op, value) of each row, by table and id."""
    order = list(tables)
    found: Rows = []
    if kind is not Database.POSTGRESQL:
        for table, (sql_table, columns) in tables.items():
            for row in (yield look_up(kind, f"id, {key}, {columns}", sql_table, key, "", keys)):
                found.append((table, *row))
        return found
    # One statement: one state of the database in one round trip. Where it reads rows of a table, it reads only those.
    parts = []
    for number, (sql_table, columns) in enumerate(tables.values()):
        *first, value = columns.split(", ")
        words = (
            f"SELECT {number} AS t, (w.n - 1)::int AS n, id, {key},",
            *(f"{c}," for c in first),
            f"{value}::text FROM k w",
        )
        parts.append(" ".join((*words, "JOIN", sql_table, "ON", key, "= w.k")))
    named = "WITH k AS MATERIALIZED (SELECT * FROM unnest(%s::text[]) WITH ORDINALITY AS u(k, n)) "
    for number, *rest in (yield named + " UNION ALL ".join(parts) + " ORDER BY t, id", (list(keys),)):
        found.append((order[number], *rest))
    return found


def look_up(kind: Database, columns: str, table: str, key: str, condition: str, keys: Sequence[str]) -> Query:
    """Return a statement that finds rows by many keys, each compared as the database compares it with a literal.

    Its first column is the index of the key, its second is named `id`, by which the rows are ordered.
    """
    also = f"AND {condition}" if condition else ""
    if kind is Database.POSTGRESQL:
        words = ("SELECT (w.n - 1)::int,", columns, "FROM unnest(%s::text[]) WITH ORDINALITY AS w(k, n) JOIN", table)
        return " ".join((*words, "ON", key, "= w.k", also, "ORDER BY id")), (list(keys),)
    # A derived table of the keys would bring a collation of its own into the comparison; literals do not.
    parts = (columns, "FROM", table, "WHERE", key, "= %s", also)
    one = " ".join(parts)
    return " UNION ALL ".join(f"SELECT {n} AS n, {one}" for n in range(len(keys))) + " ORDER BY id", tuple(keys)


_INSERT: Final = {
    Table.CHECK: "INSERT INTO radcheck (username, attribute, op, value) VALUES (%s, %s, %s, %s)",
    Table.REPLY: "INSERT INTO radreply (username, attribute, op, value) VALUES (%s, %s, %s, %s)",
    Table.GROUP: "INSERT INTO radusergroup (username, groupname, priority) VALUES (%s, %s, %s)",
}
_UPDATE: Final = {
    Table.CHECK: "UPDATE radcheck SET op = %s, value = %s WHERE id = %s",
    Table.REPLY: "UPDATE radreply SET op = %s, value = %s WHERE id = %s",
    Table.GROUP: "UPDATE radusergroup SET priority = %s WHERE id = %s",
}
_DELETE: Final = {
    Table.CHECK: "DELETE FROM radcheck WHERE id = %s",
    Table.REPLY: "DELETE FROM radreply WHERE id = %s",
    Table.GROUP: "DELETE FROM radusergroup WHERE id = %s",
}


def change_row(connection: Connection, login: str, bound: BoundChange) -> int:
    """Make one row change and return how many rows the database says it changed."""
    change = bound.change
    new: tuple[object, ...] = (int(change.value),) if change.table is Table.GROUP else (change.op, change.value)
    match change.kind:
        case ChangeKind.INSERT:
            return connection.change(_INSERT[change.table], (login, change.name, *new))
        case ChangeKind.UPDATE:
            return connection.change(_UPDATE[change.table], (*new, bound.id))
        case ChangeKind.DELETE:
            return connection.change(_DELETE[change.table], (bound.id,))
