"""The SQL that reaches the simulated server: PostgreSQL's and MariaDB's words, turned into SQLite's, taken apart.

Only the statements that the product, the lab and the tests use. Anything else raises `UnknownStatementError`, which is
no driver's error: a simulation must stop there and not take it for a fault of the network.
"""

from __future__ import annotations

import enum
import functools
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from agent.connectors.radius.schema import Database


class UnknownStatementError(Exception):
    """The simulated server does not know this statement; teach it, and compare it with the real servers."""


class Verb(enum.Enum):
    """What a statement does."""

    BEGIN = "BEGIN"
    COMMIT = "COMMIT"
    ROLLBACK = "ROLLBACK"
    SELECT = "SELECT"
    INSERT = "INSERT"
    UPDATE = "UPDATE"
    DELETE = "DELETE"
    SET = "SET"
    EXPLAIN = "EXPLAIN"


class Level(enum.Enum):
    """An isolation level."""

    READ_COMMITTED = "READ COMMITTED"
    REPEATABLE_READ = "REPEATABLE READ"
    SERIALIZABLE = "SERIALIZABLE"


@dataclass(frozen=True, slots=True)
class Scan:
    """How a condition finds rows: by one column that an index has, or (`column` empty) by reading the whole table."""

    table: str
    column: str = ""
    value: Any = None


@dataclass(frozen=True, slots=True)
class SqlStatement:
    """A statement in SQLite's words.

    Args:
        verb: what it does.
        sql: SELECT and EXPLAIN: the statement itself.
        parameters: all of them, in order, after the ones of `values`.
        table: INSERT, UPDATE, DELETE: which.
        columns: INSERT, UPDATE: the columns that get values.
        values: INSERT: the expressions of each row; UPDATE: one row of them.
        given: the parameters of `values`.
        where: UPDATE, DELETE, locking SELECT: the condition.
        locks: a SELECT ... FOR UPDATE.
        scans: how the rows are found.
        level, read_only: BEGIN. `snapshot`: it reads the state of now.
    """

    verb: Verb
    sql: str = ""
    parameters: tuple[Any, ...] = ()
    table: str = ""
    columns: tuple[str, ...] = ()
    values: tuple[tuple[str, ...], ...] = ()
    given: tuple[Any, ...] = ()
    where: str = "1"
    locks: bool = False
    scans: tuple[Scan, ...] = ()
    level: Level | None = None
    read_only: bool = False
    snapshot: bool = False


_POSTGRESQL: Final = (
    (r"FROM unnest\(\?::text\[\]\) WITH ORDINALITY AS (\w+)\(k, n\)",
     r"FROM (SELECT value AS k, key + 1 AS n FROM json_each(?)) AS \1"),
    (r"extract\(epoch FROM clock_timestamp\(\)\)", "now_s()"),
    (r"extract\(timezone FROM clock_timestamp\(\)\)", "0"),
    (r"(?i)extract\(epoch FROM (COALESCE\(\w+, \w+\)|\w+)\)", r"\1"),
    (r"\bhost\((\w+)\)", r"\1"),
    (r"to_timestamp\(([^()]+)\)", r"(\1)"),
    (r"\(([\w.]+ - 1)\)::int", r"(\1)"),
    (r"::(text|int|bigint)\b", ""),
    (r"has_sequence_privilege\(s, 'USAGE'\) FROM pg_get_serial_sequence\('(\w+)', 'id'\) AS s",
     r"'t' FROM (SELECT 'public.\1_id_seq' AS s)"),
)  # fmt: skip
_MARIADB: Final = (
    (r"(?i)unix_timestamp\(now\(3\)\)", "now_s()"),
    (r"timestampdiff\(SECOND, utc_timestamp\(\), now\(\)\)", "0"),
    (r"(?i)unix_timestamp\((\w+)\)", r"\1"),
    (r"(?i)from_unixtime\(([^()]+)\)", r"(\1)"),
    (r"CURRENT_USER\(\)", "'radius@%'"),
    (r"\bBINARY (\w+)", r"\1"),
)
_DIALECTS: Final = {Database.POSTGRESQL: _POSTGRESQL, Database.MARIADB: _MARIADB, Database.SQLITE: ()}

INDEXED: Final = frozenset(
    {"id", "radacctid", "username", "groupname", "acctuniqueid", "framedipaddress", "nasipaddress", "acctsessionid"}
)
"""Columns by which rows are found; of radusergroup's, groupname is none."""
_NOT_INDEXED: Final = {("radusergroup", "groupname")}

_BEGIN: Final = re.compile(r"(BEGIN|START TRANSACTION)\b(.*)", re.IGNORECASE)
_UPDATE: Final = re.compile(r"UPDATE (\w+) SET (.*?)(?: WHERE (.*))?$", re.DOTALL)
_DELETE: Final = re.compile(r"DELETE FROM (\w+)(?: WHERE (.*))?$", re.DOTALL)
_INSERT: Final = re.compile(r"INSERT INTO (\w+) \(([^)]*)\) VALUES (.+)$", re.DOTALL)
_FROM: Final = re.compile(r"\bFROM (\w+)(?: WHERE (.*?))?(?: (?:ORDER|GROUP) BY .*)?$", re.DOTALL)
_EQUAL: Final = re.compile(r"(\w+) = (\?|'(?:[^']|'')*'|-?\d+)$")


def is_indexed(table: str, column: str) -> bool:
    """Tell whether rows of a table are found by a column without reading all of them."""
    return column in INDEXED and (table, column) not in _NOT_INDEXED


def parsed(kind: Database, sql: str, parameters: Sequence[object]) -> SqlStatement:
    """Return a statement (parameters as `%s`) taken apart.

    Raises:
        UnknownStatementError: it is none that we know.
    """
    words = _translated(kind, " ".join(sql.split()).removesuffix(";"))
    values = tuple(json.dumps(list(p)) if isinstance(p, list | tuple) else p for p in parameters)
    if words.count("?") != len(values):
        raise UnknownStatementError(f"{words.count('?')} places for {len(values)} parameters: {sql}")
    return _known(words, values, tuple(map(type, values)))


@functools.lru_cache(maxsize=4096)
def _known(sql: str, values: tuple[Any, ...], kinds: tuple[type, ...]) -> SqlStatement:
    """Return a statement taken apart. `kinds`: of the values, since 1 and True are one key."""
    return _taken_apart(sql, values)


@functools.lru_cache(maxsize=512)
def _translated(kind: Database, sql: str) -> str:
    sql = sql.replace("%s", "?").replace("%%", "%")
    for pattern, text in _DIALECTS[kind]:
        sql = re.sub(pattern, text, sql)
    return sql


def _taken_apart(sql: str, values: tuple[Any, ...]) -> SqlStatement:
    verb = sql.partition(" ")[0].upper()
    match verb:
        case "BEGIN" | "START":
            return _begin(sql)
        case "COMMIT" | "ROLLBACK":
            return SqlStatement(Verb(verb))
        case "SET":
            return SqlStatement(Verb.SET, sql=sql, parameters=values)
        case "EXPLAIN":
            _taken_apart(sql.partition(" ")[2], values)
            return SqlStatement(Verb.EXPLAIN, sql=sql.partition(" ")[2], parameters=values)
        case "SELECT" | "WITH":
            return _select(sql, values)
        case "INSERT":
            return _insert(sql, values)
        case "UPDATE" if found := _UPDATE.match(sql):
            pairs = [part.partition("=") for part in _split(found[2])]
            columns = tuple(name.strip().lower() for name, _, _ in pairs)
            given = values[: found[2].count("?")]
            return _where(
                SqlStatement(
                    Verb.UPDATE,
                    table=found[1],
                    columns=columns,
                    values=(tuple(text.strip() for _, _, text in pairs),),
                    given=given,
                    parameters=values[len(given) :],
                ),
                found[3],
            )
        case "DELETE" if found := _DELETE.match(sql):
            return _where(SqlStatement(Verb.DELETE, table=found[1], parameters=values), found[2])
    raise UnknownStatementError(sql)


def _begin(sql: str) -> SqlStatement:
    found = _BEGIN.match(sql)
    words = found[2].upper() if found else ""
    level = next((level for level in Level if level.value in words), None)
    rest = words.replace("ISOLATION LEVEL", "").replace(level.value if level else "", "").replace(",", " ")
    known = ("WITH CONSISTENT SNAPSHOT", "READ ONLY", "READ WRITE")
    for text in known:
        rest = rest.replace(text, "")
    if rest.strip():
        raise UnknownStatementError(sql)
    return SqlStatement(Verb.BEGIN, sql=sql, level=level, read_only="READ ONLY" in words, snapshot=known[0] in words)


def _select(sql: str, values: tuple[Any, ...]) -> SqlStatement:
    locks = sql.endswith(" FOR UPDATE")
    sql = sql.removesuffix(" FOR UPDATE")
    scans, where, table, taken = [], "1", "", 0
    for part in sql.split(" UNION ALL "):
        here = values[taken : taken + part.count("?")]
        taken += len(here)
        found = _FROM.search(part)
        if found is None or found[1] == "json_each":
            continue
        table, where = found[1], found[2] or "1"
        scans.append(_scan(table, where, here[len(here) - where.count("?") :]))
    if locks and len(scans) != 1:
        raise UnknownStatementError(sql)
    return SqlStatement(
        Verb.SELECT, sql=sql, parameters=values, table=table, where=where, locks=locks, scans=tuple(scans)
    )


def _insert(sql: str, values: tuple[Any, ...]) -> SqlStatement:
    found = _INSERT.match(sql)
    if found is None:
        raise UnknownStatementError(sql)
    rows = tuple(tuple(_split(row.strip()[1:-1])) for row in _split(found[3]))
    columns = tuple(name.strip().lower() for name in found[2].split(","))
    if any(len(row) != len(columns) for row in rows):
        raise UnknownStatementError(sql)
    return SqlStatement(Verb.INSERT, table=found[1], columns=columns, values=rows, given=values)


def _where(statement: SqlStatement, where: str | None) -> SqlStatement:
    where = where or "1"
    return replace(statement, where=where, scans=(_scan(statement.table, where, statement.parameters),))


def _scan(table: str, where: str, values: Sequence[Any]) -> Scan:
    taken, best = 0, Scan(table)
    for part in _split(where, " AND "):
        found = _EQUAL.match(part.strip())
        if found and is_indexed(table, found[1].lower()) and best.column not in ("id", "acctuniqueid"):
            text = found[2]
            value = values[taken] if text == "?" else text[1:-1].replace("''", "'") if text[0] == "'" else int(text)
            best = Scan(table, found[1].lower(), value)
        taken += part.count("?")
    return best


@functools.lru_cache(maxsize=2048)
def _split(text: str, at: str = ",") -> tuple[str, ...]:
    """Return the parts between separators that stand in no parenthesis and no literal."""
    parts, depth, quoted, start, n = [], 0, False, 0, 0
    while n < len(text):
        if text[n] == "'":
            quoted = not quoted
        elif not quoted and text[n] in "()":
            depth += 1 if text[n] == "(" else -1
        elif not quoted and depth == 0 and text.startswith(at, n):
            parts.append(text[start:n])
            n += len(at)
            start = n
            continue
        n += 1
    return (*parts, text[start:])
