"""The meaning of a database driver's error as a sentence for people: the fault, the place and the remedy.

The drivers' own messages may quote SQL and values, so none of them goes on. Recognized parts are taken out of them by
pattern: names of tables and columns of the stock schema, which are no secret. An unknown error is told by its number.
"""

from __future__ import annotations

import re
import socket
import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import psycopg
import pymysql

from agent.connectors.radius.schema import Database

if TYPE_CHECKING:
    from agent.connectors.radius.schema import SqlTarget

PORTS: Final = {Database.POSTGRESQL: 5432, Database.MARIADB: 3306}

_NAME: Final = r"[A-Za-z_][A-Za-z0-9_]{0,62}"
_POSTGRESQL_PRIVILEGE: Final = re.compile(rf"permission denied for (table|relation|sequence|schema) ({_NAME})")
_POSTGRESQL_COLUMN: Final = re.compile(rf'column "?(?:{_NAME}\.)?({_NAME})"?(?: of relation "{_NAME}")? does not exist')
_POSTGRESQL_TABLE: Final = re.compile(rf'relation "({_NAME})" does not exist')
_MARIADB_PRIVILEGE: Final = re.compile(rf"^([A-Z]{{3,8}})(?:, [A-Z, ]+)? command denied .* for table .*?({_NAME})`?'?$")
_MARIADB_COLUMN: Final = re.compile(rf"^Unknown column '(?:{_NAME}\.)?({_NAME})'")
_MARIADB_TABLE: Final = re.compile(rf"^Table '(?:{_NAME}\.)?({_NAME})' doesn't exist")
_SQLITE_MISSING: Final = re.compile(rf"no such (table|column): (?:{_NAME}\.)?({_NAME})")

_ACCESS_DENIED, _DATABASE_DENIED, _HOST_DENIED, _NO_DATABASE = 1045, 1044, 1130, 1049
_TABLE_DENIED, _COLUMN_DENIED, _NO_TABLE, _NO_COLUMN = 1142, 1143, 1146, 1054
_TOO_MANY, _TLS_WANTED, _LOCK_TIMEOUT, _STATEMENT_TIMEOUT, _READ_ONLY = 1040, 3159, 1205, 1969, 1290


def code(err: BaseException) -> str:
    """Return the database's own number of an error, which manuals list and which is no secret; "": it has none."""
    match err:
        case psycopg.Error() if err.sqlstate:
            return f"SQLSTATE {err.sqlstate}"
        case pymysql.err.MySQLError() if err.args and isinstance(err.args[0], int) and err.args[0]:
            return f"MariaDB error {err.args[0]}"
        case sqlite3.Error():
            return str(getattr(err, "sqlite_errorname", ""))  # errors of Python's own module have none
        case _:
            return ""


@dataclass(frozen=True, slots=True)
class SqlMeaning:
    """The meaning of a driver's error: a sentence, and the command or statement that mends it ("" if none is known)."""

    text: str
    mend: str = ""


def explained(err: BaseException, target: SqlTarget, verb: str = "SELECT") -> str:
    """Return the meaning of a driver's error, its remedy and its number as one line; arguments as of `meaning`."""
    found, number = meaning(err, target, verb), code(err)
    known = f"{found.text}: {found.mend}" if found.mend else found.text
    return known if number in known else f"{known} ({number})"


def meaning(err: BaseException, target: SqlTarget, verb: str = "SELECT") -> SqlMeaning:
    """Return the meaning of a driver's error.

    Args:
        err: one of `sql_connection.DRIVER_ERRORS`.
        target: the database that it came from.
        verb: of the statement that failed; PostgreSQL does not say which privilege it wanted.
    """
    match err:
        case psycopg.Error():
            found = _postgresql_state(err, target, verb) if err.sqlstate else _postgresql_connect(str(err), target)
        case pymysql.err.MySQLError():
            found = _mariadb(err, target)
        case sqlite3.Error():
            found = _sqlite(err, target)
        case _:
            found = _network(err, target)
    if isinstance(found, SqlMeaning):
        return found
    unknown = f"{place(target)} refuses the {verb or 'statement'} with {code(err) or 'an unknown error'}"
    return SqlMeaning(found or f"{unknown}: the database's own log says why")


def grant_text(target: SqlTarget, privilege: str, name: str) -> str:
    """Return the statement that gives the agent's user a privilege on a table or sequence."""
    if target.database is Database.MARIADB:
        return f"GRANT {privilege} ON {target.dbname}.{name} TO {target.user}@'%'"
    kind = "SEQUENCE " if name.endswith("_seq") else ""
    return f"GRANT {privilege} ON {kind}{name} TO {target.user}"


def place(target: SqlTarget) -> str:
    """Return where a database is, for people."""
    if target.database is Database.SQLITE:
        return target.path
    return f"{target.host}:{target.port or PORTS[target.database]}"


def _wrong_password(target: SqlTarget) -> SqlMeaning:
    mend = f"ispagent secret set {target.secret}" if target.secret else ""
    return SqlMeaning(f"wrong password for user {target.user} at {place(target)}", mend)


def _no_database(target: SqlTarget) -> str:
    return f"there is no database {target.dbname} at {place(target)}"


def _no_privilege(target: SqlTarget, privilege: str, name: str) -> SqlMeaning:
    text = f"user {target.user} has no privilege {privilege} on {name}"
    return SqlMeaning(text, grant_text(target, privilege, name))


def _no_column(name: str) -> SqlMeaning:
    mend = "bring the tables to FreeRADIUS 3.2's schema.sql"
    return SqlMeaning(f"the column {name} is missing: the tables are not those of FreeRADIUS 3.2", mend)


def _no_table(name: str) -> str:
    return f"the table {name} is missing: is this FreeRADIUS' database?"


def _postgresql_connect(text: str, target: SqlTarget) -> SqlMeaning | str:
    """Return the meaning of a failed connection: libpq gives no code for it, only words."""
    words = text.lower()
    known: tuple[tuple[str, SqlMeaning | str], ...] = (
        ("password authentication failed", _wrong_password(target)),
        ("no password supplied", f"a password is wanted for user {target.user} at {place(target)}"),
        ("pg_hba.conf", f"pg_hba.conf at {place(target)} lets in no user {target.user} from this machine"),
        ("role ", f"there is no user {target.user} at {place(target)}"),
        ("not permitted to log in", f"user {target.user} may not log in at {place(target)}"),
        ("database ", _no_database(target)),
        ("certificate", f"the TLS certificate of {place(target)} is not the expected one"),
        ("server does not support ssl", f"TLS is wanted, and {place(target)} has none"),
        ("ssl", f"TLS with {place(target)} failed"),
        ("could not translate host name", _no_host(target)),
        ("name or service not known", _no_host(target)),
        ("failed to resolve host", _no_host(target)),
        ("connection refused", _refused(target)),
        ("no such file", _refused(target)),
        ("no route to host", f"there is no route to {place(target)}"),
        ("unreachable", f"there is no route to {place(target)}"),
        ("timeout expired", f"no answer from {place(target)} in {target.timeout_s:g} s"),
        ("timed out", f"no answer from {place(target)} in {target.timeout_s:g} s"),
        ("starting up", f"{place(target)} is starting up"),
        ("shutting down", f"{place(target)} is shutting down"),
        ("too many", f"{place(target)} has no free connection"),
        ("connection slots", f"{place(target)} has no free connection"),
    )
    for part, found in known:
        if part in words and (part not in ("role ", "database ") or "does not exist" in words):
            return found
    return f"the connection to {place(target)} broke"


def _postgresql_state(err: psycopg.Error, target: SqlTarget, verb: str) -> SqlMeaning | str:
    state, text = err.sqlstate or "", err.diag.message_primary or ""
    match state:
        case "42501":
            found = _POSTGRESQL_PRIVILEGE.search(text)
            if found is None:
                return f"user {target.user} lacks a privilege"
            return _no_privilege(target, verb if found[1] in ("table", "relation") else "USAGE", found[2])
        case "42703":
            found = _POSTGRESQL_COLUMN.search(text)
            return _no_column(found[1]) if found else "a column is missing"
        case "42P01":
            found = _POSTGRESQL_TABLE.search(text)
            return _no_table(found[1]) if found else "a table is missing"
        case "28P01" | "28000":
            return _wrong_password(target)
        case "3D000":
            return _no_database(target)
        case "55P03" | "57014":
            return f"no answer from {place(target)} in {target.timeout_s:g} s: another session may hold the rows"
        case "53300":
            return f"{place(target)} has no free connection"
        case "25006":
            return f"{place(target)} is read-only: is it a standby?"
        case "0A000" if "standby" in str(err) or "recovery" in str(err):  # it refuses our BEGIN, before any write
            return f"{place(target)} is read-only: is it a standby?"
    if state[:2] == "53":
        return f"{place(target)} has no room left: disk, memory or connections"
    if state[:2] == "08" or state[:4] == "57P0":
        return f"the connection to {place(target)} broke"
    return ""


def _mariadb(err: pymysql.err.MySQLError, target: SqlTarget) -> SqlMeaning | str:
    number = err.args[0] if err.args and isinstance(err.args[0], int) else 0
    text = str(err.args[1]) if len(err.args) > 1 else ""
    match number:
        case n if n == _ACCESS_DENIED:
            return _wrong_password(target)
        case n if n == _DATABASE_DENIED:
            return f"user {target.user} has no privilege on database {target.dbname}, or there is none"
        case n if n == _HOST_DENIED:
            return f"{place(target)} lets in no user {target.user} from this machine"
        case n if n == _NO_DATABASE:
            return _no_database(target)
        case n if n in (_TABLE_DENIED, _COLUMN_DENIED):
            found = _MARIADB_PRIVILEGE.search(text)
            return _no_privilege(target, found[1], found[2]) if found else f"user {target.user} lacks a privilege"
        case n if n == _NO_TABLE:
            found = _MARIADB_TABLE.search(text)
            return _no_table(found[1]) if found else "a table is missing"
        case n if n == _NO_COLUMN:
            found = _MARIADB_COLUMN.search(text)
            return _no_column(found[1]) if found else "a column is missing"
        case n if n == _TOO_MANY:
            return f"{place(target)} has no free connection"
        case n if n == _TLS_WANTED:
            return f"{place(target)} wants TLS, which the agent does not speak to MariaDB"
        case n if n == _READ_ONLY:
            return f"{place(target)} is read-only: is it a replica?"
        case n if n in (_LOCK_TIMEOUT, _STATEMENT_TIMEOUT):
            return f"no answer from {place(target)} in {target.timeout_s:g} s: another session may hold the rows"
        case n if n == 0 or 2000 <= n < 3000:
            if "timed out" in text:
                return f"no answer from {place(target)} in {target.timeout_s:g} s"
            return f"the connection to {place(target)} broke"
    return ""


def _sqlite(err: sqlite3.Error, target: SqlTarget) -> SqlMeaning | str:
    text = str(err)
    if found := _SQLITE_MISSING.search(text):
        return _no_table(found[2]) if found[1] == "table" else _no_column(found[2])
    if "unable to open" in text:
        return f"{target.path} cannot be opened: is it there, and may the agent's user read and write it?"
    return f"{target.path} is locked by another program" if "locked" in text else ""


def _network(err: BaseException, target: SqlTarget) -> str:
    match err:
        case socket.gaierror():
            return _no_host(target)
        case ConnectionRefusedError():
            return _refused(target)
        case TimeoutError():
            return f"no answer from {place(target)} in {target.timeout_s:g} s"
        case OSError() if err.errno is not None and "unreachable" in (err.strerror or "").lower():
            return f"there is no route to {place(target)}"
        case OSError() if "route" in (err.strerror or "").lower():
            return f"there is no route to {place(target)}"
    return f"the connection to {place(target)} broke"


def _no_host(target: SqlTarget) -> str:
    return f"there is no host {target.host}: check its name, and this machine's DNS"


def _refused(target: SqlTarget) -> str:
    return (
        f"nothing listens on {place(target)} (connection refused): is the database up, and is this its host and port?"
    )
