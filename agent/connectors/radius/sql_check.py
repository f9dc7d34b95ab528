"""Whether the database lets the agent do its work: each of its statements is explained, none is executed.

EXPLAIN checks privileges, tables and columns as the statement itself would, and touches no row. On threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from agent.connectors.radius.rowset import Table
from agent.connectors.radius.schema import Database
from agent.connectors.radius.sql import (
    ACCOUNTED_COLUMNS,
    DELETE,
    GROUP_TABLES,
    INSERT,
    NOW,
    OPEN,
    SESSION_COLUMNS,
    STALE,
    UPDATE,
    USER_TABLES,
    close_sql,
)
from agent.connectors.radius.sql_connection import DRIVER_ERRORS, Connection, SqlFault, fault
from agent.connectors.radius.sql_errors import SqlMeaning, grant_text, meaning

if TYPE_CHECKING:
    from agent.connectors.radius.schema import SqlTarget

_WRITES: Final = (
    ("INSERT", INSERT[Table.GROUP], ("", "", 0)),
    ("UPDATE", UPDATE[Table.GROUP], (0, -1)),
    ("DELETE", DELETE[Table.GROUP], (-1,)),
)
"""The writes of a suspension, a restore and a tariff: a user's rows in `radusergroup`, and no other's."""
_Statement = tuple[str, str, tuple[object, ...]]


@dataclass(frozen=True, slots=True)
class Examined:
    """The findings on a database.

    `missing`: tables, columns and privileges that our statements lack. `closing`: those that only closing rows of
    radacct needs. `ahead_s`: how far its clock is ahead of ours;
    None: it has none of its own. `open_at`: number of open sessions by NAS address; None: not read.
    """

    missing: tuple[SqlMeaning, ...] = ()
    closing: tuple[SqlMeaning, ...] = ()
    ahead_s: float | None = None
    open_at: dict[str, int] | None = field(default=None)


def examine(connection: Connection, target: SqlTarget, wall_s: Callable[[], float]) -> Examined:
    """Return the findings on a database. `wall_s`: our clock, unix seconds.

    Raises:
        DRIVER_ERRORS: the connection broke.
    """
    missing = (*_refusals(connection, target, _reads(target.database)), *missing_privileges(connection, target))
    distinct = tuple(dict.fromkeys(missing))
    sessions = None if any("radacct" in m.text for m in distinct) else _open_at(connection)
    closing = () if sessions is None else missing_to_close(connection, target)
    return Examined(missing=distinct, closing=closing, ahead_s=_ahead_s(connection, wall_s), open_at=sessions)


def missing_to_close(connection: Connection, target: SqlTarget) -> tuple[SqlMeaning, ...]:
    """Return the missing privileges to close rows of radacct.

    Raises:
        DRIVER_ERRORS: the connection broke.
    """
    return tuple(_refusals(connection, target, (("UPDATE", close_sql(target.database), (STALE, "")),)))


def missing_privileges(connection: Connection, target: SqlTarget) -> tuple[SqlMeaning, ...]:
    """Return the privileges that the agent lacks to write the rows of a change.

    Raises:
        DRIVER_ERRORS: the connection broke.
    """
    found = [*_refusals(connection, target, _WRITES)]
    if target.database is Database.POSTGRESQL and not found:
        # A plan does not look at the sequence from which the row's id comes
        ((name, usable),) = connection.run(
            "SELECT s, has_sequence_privilege(s, 'USAGE') FROM pg_get_serial_sequence('radusergroup', 'id') AS s"
        ).rows
        if name is not None and str(usable) in ("f", "False"):
            sequence = str(name).rpartition(".")[2]
            text = f"user {target.user} has no privilege USAGE on {sequence}"
            found.append(SqlMeaning(text, grant_text(target, "USAGE", sequence)))
    return tuple(found)


def _reads(kind: Database) -> Iterator[_Statement]:
    for tables, key in ((USER_TABLES, "username"), (GROUP_TABLES, "groupname")):
        for table, columns in tables.values():
            words = ("SELECT id,", key + ",", columns, "FROM", table, "WHERE", key, "= %s")
            yield "SELECT", " ".join(words), ("",)
    accounting = ("SELECT radacctid,", SESSION_COLUMNS[kind], "FROM radacct WHERE username = %s AND", OPEN[kind])
    yield "SELECT", " ".join(accounting), ("",)
    told = ("SELECT radacctid,", ACCOUNTED_COLUMNS[kind], "FROM radacct WHERE acctuniqueid = %s")
    yield "SELECT", " ".join(told), ("",)


def _refusals(connection: Connection, target: SqlTarget, statements: Iterable[_Statement]) -> Iterator[SqlMeaning]:
    for verb, sql, parameters in statements:
        try:
            connection.run(f"EXPLAIN {sql}", parameters)
        except DRIVER_ERRORS as err:
            if fault(err) is not SqlFault.REFUSED:
                raise
            found = meaning(err, target, verb)
            yield replace(found, mend=_for_account(connection, target, found.mend))


def _for_account(connection: Connection, target: SqlTarget, mend: str) -> str:
    """Return a GRANT for the account that MariaDB took our login for: only it knows the host in it."""
    if target.database is not Database.MARIADB or not mend.startswith("GRANT"):
        return mend
    ((account,),) = connection.run("SELECT CURRENT_USER()").rows
    user, _, host = str(account).rpartition("@")
    return mend.replace(f"{target.user}@'%'", f"'{user}'@'{host}'")


def _ahead_s(connection: Connection, wall_s: Callable[[], float]) -> float | None:
    if not NOW[connection.kind]:
        return None
    before_s = wall_s()
    ((now_s, _),) = connection.run(NOW[connection.kind]).rows
    return float(now_s) - (before_s + wall_s()) / 2


def _open_at(connection: Connection) -> dict[str, int]:
    nas = "host(nasipaddress)" if connection.kind is Database.POSTGRESQL else "nasipaddress"
    words = ("SELECT", nas, ", count(*) FROM radacct WHERE", OPEN[connection.kind], "GROUP BY nasipaddress")
    return {str(address): int(n) for address, n in connection.run(" ".join(words)).rows}
