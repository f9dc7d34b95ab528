"""FreeRADIUS' SQL database: bulk reads of users, groups and open sessions, and conditional writes of a user's rows.

Logins and groups are compared as the database compares them (MariaDB: without case, without trailing blanks): every
look-up is `username = <literal>` in SQL, as FreeRADIUS does it, and the rows are sorted by the login asked for. A
collation may hold two people's logins equal (jose, josé): rows of a spelling that differs by more than case are told,
and never written.

A write is one transaction: read the rows, compare with *before*, change the fewest rows, count them, commit. Until
COMMIT is sent nothing has happened (NotSentError); when its answer is lost, it may have (LostError).

The statements stand first: each look-up compares a key as the database compares it with a literal, as FreeRADIUS' own
queries do, and tells how the database spells a found key.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import trio

from agent.connectors.base import LostError, NotSentError, UnreadableError
from agent.connectors.radius import rowset
from agent.connectors.radius.addresses import (
    SAME_AS,
    Accounted,
    OpenSession,
    merged,
    other_spellings,
    session_fields,
    session_value,
    without_places,
)
from agent.connectors.radius.beginnings import CUT_S
from agent.connectors.radius.reasons import RadiusReason
from agent.connectors.radius.rowset import BoundChange, ChangeKind, RowChange, Table, UserRow
from agent.connectors.radius.schema import Database
from agent.connectors.radius.sql_connection import (
    BEGIN_WRITING,
    COMMIT,
    DRIVER_ERRORS,
    Connection,
    Guard,
    NoThreadError,
    Pool,
    Pools,
    Query,
    Rows,
    SqlFault,
    Talk,
    fault,
    in_one_state,
)
from agent.connectors.radius.sql_errors import explained
from agent.model import ABSENT
from agent.reasons import AnyReason, TargetReason
from trust import chance

if TYPE_CHECKING:
    from agent.connectors.radius.schema import SqlTarget
    from agent.model import Value

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


def _seconds(column: str) -> str:
    """Return SQLite's seconds of a datetime column: FreeRADIUS writes seconds into it, other programs text."""
    text = f"CAST(round((julianday({column}) - 2440587.5) * 86400) AS INTEGER)"
    return f"CASE typeof({column}) WHEN 'text' THEN {text} ELSE {column} END"


SESSION_COLUMNS: Final = {
    Database.POSTGRESQL: "acctuniqueid, acctsessionid, username, host(nasipaddress), host(framedipaddress), "
    "framedipv6prefix::text, delegatedipv6prefix::text, host(framedipv6address), callingstationid, "
    "extract(epoch FROM acctstarttime)::bigint, extract(epoch FROM acctupdatetime)::bigint, acctsessiontime",
    Database.MARIADB: "acctuniqueid, acctsessionid, username, nasipaddress, framedipaddress, "
    "framedipv6prefix, delegatedipv6prefix, framedipv6address, callingstationid, unix_timestamp(acctstarttime), "
    "unix_timestamp(acctupdatetime), acctsessiontime",
    Database.SQLITE: "acctuniqueid, acctsessionid, username, nasipaddress, framedipaddress, "
    "framedipv6prefix, delegatedipv6prefix, framedipv6address, callingstationid, "
    + ", ".join((*map(_seconds, ("acctstarttime", "acctupdatetime")), "acctsessiontime")),
}
ACCOUNTED_COLUMNS: Final = {
    Database.POSTGRESQL: "acctuniqueid, host(nasipaddress), extract(epoch FROM acctstoptime)::bigint, acctsessiontime",
    Database.MARIADB: "acctuniqueid, nasipaddress, unix_timestamp(acctstoptime), acctsessiontime",
    Database.SQLITE: f"acctuniqueid, nasipaddress, {_seconds('acctstoptime')}, acctsessiontime",
}
"""Columns with a session's end and length, as its NAS told them."""
NOW: Final = {
    Database.POSTGRESQL: "SELECT extract(epoch FROM clock_timestamp())::text,"
    " extract(timezone FROM clock_timestamp())::int",
    Database.MARIADB: "SELECT unix_timestamp(now(3)), timestampdiff(SECOND, utc_timestamp(), now())",
    Database.SQLITE: "",
}
"""Unix time by the database's server, and its zone's offset from UTC in seconds; "": it has no clock of its own."""
STALE: Final = "Stale-Session"
"""The acctterminatecause of a session that was closed here."""
OPEN: Final = {
    Database.POSTGRESQL: "acctstoptime IS NULL",
    # A zero date is how old schemas say "still open".
    Database.MARIADB: "(acctstoptime IS NULL OR acctstoptime = 0)",
    Database.SQLITE: "acctstoptime IS NULL",
}


def text_of(value: Any) -> str:
    """Return a column as text; binary collations give bytes, inet and numbers their own types."""
    if type(value) is str:  # nearly always
        return value
    if value is None:
        return ""
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value)


def open_session(columns: Sequence[Any]) -> OpenSession:
    """Return a session from the columns of `SESSION_COLUMNS`.

    A Start with the unique id of an open row dates that anew, and leaves its addresses and its length as they were.
    """
    *texts, since, heard, lasted = columns
    unique, session, login, nas, ip, ip6, delegated, address6, mac = map(text_of, texts)
    since_s, heard_s = int(since or 0), int(heard or 0)
    found = OpenSession(unique, session, login, nas, ip, ip6, delegated, mac, since_s, heard_s, address6)
    return without_places(found) if int(lasted or 0) > CUT_S and since_s == heard_s else found


def user_rows(kind: Database, login: str) -> Talk[Rows]:
    """Return (table, id, login as it is spelled, name, op, value) of a user's rows, locked where that needs words."""
    if kind is Database.POSTGRESQL:
        answer = yield _USER_IN_ONE, (login,) * len(USER_TABLES)
        return [(list(USER_TABLES)[number], *rest) for number, *rest in answer.rows]
    found: Rows = []
    lock = " FOR UPDATE" if kind is Database.MARIADB else ""
    for table, (sql_table, columns) in USER_TABLES.items():
        words = ("SELECT id, username,", columns, "FROM", sql_table, "WHERE username = %s ORDER BY id")
        found += [(table, *row) for row in (yield " ".join(words) + lock, (login,)).rows]
    return found


def keyed_rows(kind: Database, tables: Mapping[Table, tuple[str, str]], key: str, keys: Sequence[str]) -> Talk[Rows]:
    """Return (table, index of the key, id, key as it is spelled, name, op, value) of each row, by table and id."""
    order = list(tables)
    found: Rows = []
    if kind is not Database.POSTGRESQL:
        for table, (sql_table, columns) in tables.items():
            for row in (yield look_up(kind, f"id, {key}, {columns}", sql_table, key, "", keys)).rows:
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
    for number, *rest in (yield named + " UNION ALL ".join(parts) + " ORDER BY t, id", (list(keys),)).rows:
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


INSERT: Final = {
    Table.CHECK: "INSERT INTO radcheck (username, attribute, op, value) VALUES (%s, %s, %s, %s)",
    Table.REPLY: "INSERT INTO radreply (username, attribute, op, value) VALUES (%s, %s, %s, %s)",
    Table.GROUP: "INSERT INTO radusergroup (username, groupname, priority) VALUES (%s, %s, %s)",
}
UPDATE: Final = {
    Table.CHECK: "UPDATE radcheck SET op = %s, value = %s WHERE id = %s",
    Table.REPLY: "UPDATE radreply SET op = %s, value = %s WHERE id = %s",
    Table.GROUP: "UPDATE radusergroup SET priority = %s WHERE id = %s",
}
DELETE: Final = {
    Table.CHECK: "DELETE FROM radcheck WHERE id = %s",
    Table.REPLY: "DELETE FROM radreply WHERE id = %s",
    Table.GROUP: "DELETE FROM radusergroup WHERE id = %s",
}


def row_change(login: str, bound: BoundChange) -> Query:
    """Return the statement that makes one row change."""
    change = bound.change
    new: tuple[object, ...] = (int(change.value),) if change.table is Table.GROUP else (change.op, change.value)
    match change.kind:
        case ChangeKind.INSERT:
            return INSERT[change.table], (login, change.name, *new)
        case ChangeKind.UPDATE:
            return UPDATE[change.table], (*new, bound.id)
        case ChangeKind.DELETE:
            return DELETE[change.table], (bound.id,)


KEYS_PER_READ: Final = 100
"""Look-ups in one statement; SQLite allows 500 parts of a compound SELECT."""

TRIES_MAX: Final = 12
"""Runs of a transaction that loses to others, with a growing random pause between; chosen arbitrarily.

Many: PostgreSQL reads a small table whole, and then every concurrent write to it looks like a conflict.
"""

_PAUSE_S: Final = 0.02
_PAUSE_MAX_S: Final = 0.3
_PAUSES_S: Final = TRIES_MAX * _PAUSE_MAX_S
_T = TypeVar("_T")


_REASONS: Final[Mapping[SqlFault, AnyReason]] = {
    SqlFault.CONFLICT: RadiusReason.CONFLICT,
    SqlFault.BUSY: TargetReason.TIMEOUT,
    SqlFault.GONE: TargetReason.UNREACHABLE,
    SqlFault.REFUSED: TargetReason.REFUSED,
}
"""The reason code for each meaning of a driver's error."""


@dataclass(frozen=True, slots=True)
class UserRows:
    """A login's rows in database order.

    `same_as`: others that the database holds equal to it: other logins of the same call, and spellings of the rows that
    are another login or stand beside each other.
    """

    rows: tuple[UserRow, ...]
    same_as: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Drift:
    """The rows no longer read *before*, or are another login's too (`SAME_AS`); nothing was written."""

    observed: Value


class SqlAuthority:
    """The database of one target. At most `window` calls at once use it; each has a connection of its own."""

    def __init__(self, target: SqlTarget, password: Callable[[], bytes], window: int, *, pools: Pools = Pool) -> None:
        """Take the target, a way to its password (asked for at each new connection) and the number of connections.

        `pools` makes the pool of connections.
        """
        self._pool = pools(target, password, window)
        self._kind = target.database
        self._limit_s = 2 * target.timeout_s

    async def read_users(self, logins: Collection[str]) -> Mapping[str, UserRows]:
        """Return the rows of each login, none for one that the database does not have.

        Raises:
            UnreadableError: the database cannot be asked.
        """
        found = await self._read_keyed(USER_TABLES, "username", logins)
        by_row: dict[tuple[Table, int], list[str]] = {}
        for login, rows in found.items():
            for row in rows:
                by_row.setdefault((row.table, row.id), []).append(login)
        asked = {login: {o for r in rows for o in by_row[r.table, r.id]} - {login} for login, rows in found.items()}
        return {
            login: UserRows(rows, tuple(sorted(asked[login].union(other_spellings(login, (r.spelled for r in rows))))))
            for login, rows in found.items()
        }

    async def read_groups(self, names: Collection[str]) -> Mapping[str, tuple[UserRow, ...]]:
        """Return the check and reply rows of each group, none for one that has no rows.

        Raises:
            UnreadableError: the database cannot be asked.
        """
        return await self._read_keyed(GROUP_TABLES, "groupname", names)

    async def read_sessions(self, logins: Collection[str]) -> Mapping[str, tuple[OpenSession, ...]]:
        """Return the open sessions of each login, oldest first.

        Raises:
            UnreadableError: the database cannot be asked.
        """
        return await self._read_open("username", logins)

    async def read_session(self, unique_ids: Collection[str]) -> Mapping[str, OpenSession | None]:
        """Return each session while it is open, None once it is not.

        Raises:
            UnreadableError: the database cannot be asked.
        """
        found = await self._read_open("acctuniqueid", unique_ids)
        return {key: rows[0] if rows else None for key, rows in found.items()}

    async def read_accounted(self, unique_ids: Collection[str]) -> Mapping[str, Accounted | None]:
        """Return what the NAS of each session said of its end and length, None where accounting has no row of it.

        Raises:
            UnreadableError: the database cannot be asked.
        """

        def read(chunk: Sequence[str]) -> Talk[dict[str, list[Accounted]]]:
            found: dict[str, list[Accounted]] = {value: [] for value in chunk}
            columns = f"radacctid AS id, {ACCOUNTED_COLUMNS[self._kind]}"
            answer = yield look_up(self._kind, columns, "radacct", "acctuniqueid", "", chunk)
            for n, _, _, nas, stopped, lasted in answer.rows:
                found[chunk[n]].append(Accounted(text_of(nas), int(stopped or 0), int(lasted or 0)))
            return found

        chunks = await self._read_chunks(unique_ids, read, alone=True)
        return {key: rows[-1] if rows else None for key, rows in chunks.items()}

    async def read_holders(self, addresses: Collection[str]) -> Mapping[str, tuple[OpenSession, ...]]:
        """Return the open sessions that have each IPv4 address, oldest first.

        Raises:
            UnreadableError: the database cannot be asked.
        """
        text = {Database.POSTGRESQL: "host(framedipaddress)"}  # an inet is no text there
        return await self._read_open(text.get(self._kind, "framedipaddress"), addresses)

    async def read_online(self) -> Mapping[str, int]:
        """Return how many open sessions each login has that has any, as accounting spells it.

        Raises:
            UnreadableError: the database cannot be asked.
        """

        def read() -> Talk[dict[str, int]]:
            words = (
                "SELECT username, count(DISTINCT acctuniqueid) FROM radacct WHERE",
                OPEN[self._kind],
                "GROUP BY username",
            )
            return {text_of(login): int(n) for login, n in (yield " ".join(words), ()).rows}

        return await self._read_in_thread(read, alone=True)  # its rows are many: other tasks go on meanwhile

    async def read_clock(self) -> tuple[float, int] | None:
        """Return unix time and offset from UTC, seconds, by the database's server; None: it has no clock of its own.

        Raises:
            UnreadableError: the database cannot be asked.
        """
        sql = NOW[self._kind]
        if not sql:
            return None

        def read() -> Talk[tuple[float, int]]:
            ((now_s, zone_s),) = (yield sql, ()).rows
            return float(now_s), int(zone_s)

        return await (self._read_here if self._pool.in_task else self._read_in_thread)(read, alone=True)

    async def answer(self) -> None:
        """Return when the database answers.

        Raises:
            UnreadableError: it does not; the message says why and names nobody.
        """

        def read() -> Talk[Rows]:
            return (yield "SELECT 1", ()).rows

        if self._pool.in_task:
            await self._read_here(read, alone=True)
        else:
            await self._read_in_thread(read, alone=True)

    async def work(self, work: Callable[[Connection], _T], *, fresh: bool = False) -> _T:
        """Return the result of blocking work on a connection that nobody else uses meanwhile. It writes nothing.

        Args:
            work: with the connection.
            fresh: on a connection of its own, for which the password is asked for anew.

        Raises:
            DRIVER_ERRORS: the connection broke, or there is none.
            UnreadableError: no answer in time, or the password is not known.
        """
        done, found = await self._pool.lend(work, 2 * self._limit_s, fresh=fresh)
        if not done:
            raise self._late()
        return cast("_T", found)

    async def write_user(
        self, login: str, before: Value, changes: Sequence[RowChange], to_value: Callable[[Iterable[UserRow]], Value]
    ) -> Drift | None:
        """Make the row changes if the user's rows still read `before`, in one transaction.

        Args:
            login: of the rows.
            before: their expected content.
            changes: from `rowset.changes(before, ...)`.
            to_value: turns rows into a value, as `before` was made.

        Raises:
            NotSentError: nothing was written; reason `unreachable`, `refused`, `busy` or `timeout`.
            LostError: COMMIT was sent and its answer lost.
        """
        guard = Guard()
        return await self._do(_Write(self._pool, guard, login, before, tuple(changes), to_value), guard)

    async def write_session(self, unique_id: str, session: Mapping[str, str], *, closes: bool) -> Drift | None:
        """Close a session's row at the time when accounting last heard of it, or take that back; in one transaction.

        Args:
            unique_id: its acctuniqueid.
            session: the expected row while it is open (`addresses.session_value`).
            closes: whether it is closed; else it is opened again, if it was closed here.

        Raises:
            NotSentError, LostError: as `write_user`.
        """
        guard = Guard()
        return await self._do(_SessionWrite(self._pool, guard, unique_id, session, closes), guard)

    async def _do(self, work: _Transaction, guard: Guard) -> Drift | None:
        limit_s = 2 * self._pool.target.timeout_s + _PAUSES_S
        try:
            if self._pool.in_task:
                done, result = False, None
                with trio.move_on_after(limit_s):
                    done, result = True, await work.run_here(limit_s)
            else:
                done, result = await self._pool.in_thread(work.run, guard, limit_s)
        except NoThreadError as err:
            target = self._pool.target.id
            raise NotSentError(f"{target}: nothing was written: {err}", reason=TargetReason.UNREACHABLE) from err
        if done:
            return result
        if guard.committing:
            raise LostError(f"{self._pool.target.id}: no answer to COMMIT in time", reason=TargetReason.TIMEOUT)
        raise work.given_up()

    async def aclose(self) -> None:
        """Close the connections that are not in use."""
        self._pool.close_idle()

    # --- reading ---

    async def _read_keyed(
        self, tables: Mapping[Table, tuple[str, str]], key: str, names: Collection[str]
    ) -> dict[str, tuple[UserRow, ...]]:
        def read(chunk: Sequence[str]) -> Talk[dict[str, list[UserRow]]]:
            found: dict[str, list[UserRow]] = {name: [] for name in chunk}
            for table, n, row_id, *texts in (yield from keyed_rows(self._kind, tables, key, chunk)):
                spelled, name, op, value = map(text_of, texts)
                found[chunk[n]].append(UserRow(table, name, op, value, int(row_id), spelled))
            return found

        chunks = await self._read_chunks(names, read, alone=len(tables) == 1)
        return {name: tuple(rows) for name, rows in chunks.items()}

    async def _read_open(self, key: str, values: Collection[str]) -> dict[str, tuple[OpenSession, ...]]:
        def read(chunk: Sequence[str]) -> Talk[dict[str, list[OpenSession]]]:
            found: dict[str, list[OpenSession]] = {value: [] for value in chunk}
            columns = f"radacctid AS id, {SESSION_COLUMNS[self._kind]}"
            answer = yield look_up(self._kind, columns, "radacct", key, OPEN[self._kind], chunk)
            for n, _, *told in answer.rows:
                found[chunk[n]].append(open_session(told))
            return found

        return {
            value: tuple(merged(rows)) for value, rows in (await self._read_chunks(values, read, alone=True)).items()
        }

    async def _read_chunks(
        self, keys: Collection[str], read: Callable[[Sequence[str]], Talk[dict[str, list[_T]]]], *, alone: bool
    ) -> dict[str, list[_T]]:
        """Read by chunks of keys. `alone`: one statement a chunk; more read one state of the database together."""
        wanted, found = list(dict.fromkeys(keys)), dict[str, list[_T]]()
        for start in range(0, len(wanted), KEYS_PER_READ):
            reading = functools.partial(read, wanted[start : start + KEYS_PER_READ])
            if self._pool.in_task:
                found |= await self._read_here(reading, alone=alone or self._kind is Database.POSTGRESQL)
            else:
                found |= await self._read_in_thread(reading, alone=alone)
        return found

    async def _read_here(self, reading: Callable[[], Talk[_T]], *, alone: bool) -> _T:
        """Read in this task: a thread to wait in costs twice the CPU of the query.

        `alone`: it is one statement, as always with PostgreSQL; more read one state of the database together.
        """
        with trio.move_on_after(self._limit_s):
            while True:
                connection = self._pool.kept()
                stale = connection is not None
                try:
                    connection = connection or await self._pool.open(self._limit_s)
                    if connection is None:
                        break
                    talk = reading() if alone else in_one_state(self._kind, reading())
                    found = await connection.follow_here(talk)
                except DRIVER_ERRORS as err:
                    self._pool.drop(connection, Guard())
                    if stale and fault(err) is SqlFault.GONE:
                        continue  # the server was restarted since: that connection is no news about it now
                    raise self.unreadable(err) from None
                except BaseException:  # cancelled: the answer would be taken for the next question's
                    self._pool.drop(connection, Guard())
                    raise
                self._pool.give_back(connection, Guard())
                return found
        raise self._late()

    async def _read_in_thread(self, reading: Callable[[], Talk[_T]], *, alone: bool) -> _T:
        try:
            done, found = await self._pool.read(reading, self._limit_s, alone=alone)
        except NoThreadError as err:
            text = f"{self._pool.target.id}: cannot be read: {err}"
            raise UnreadableError(text, reason=TargetReason.UNREACHABLE) from err
        except DRIVER_ERRORS as err:
            raise self.unreadable(err) from None
        if not done or found is None:
            raise self._late()
        return found

    def unreadable(self, err: BaseException) -> UnreadableError:
        """Return the main job's error for one of DRIVER_ERRORS."""
        reason = TargetReason.TIMEOUT if fault(err) in (SqlFault.BUSY, SqlFault.CONFLICT) else _REASONS[fault(err)]
        why = explained(err, self._pool.target)
        return UnreadableError(f"{self._pool.target.id}: cannot be read: {why}", reason=reason)

    def _late(self) -> UnreadableError:
        return UnreadableError(f"{self._pool.target.id}: no answer in time", reason=TargetReason.TIMEOUT)


def _rollback() -> Talk[None]:
    yield "ROLLBACK", ()


@dataclass(frozen=True, slots=True)
class _Transaction:
    """One conditional write: in a thread, or with PostgreSQL in the task that calls. Each kind has its statements."""

    pool: Pool
    guard: Guard

    def _transaction(self) -> Talk[Drift | None]:
        raise NotImplementedError

    def _commit(self) -> Talk[None]:
        if not self.guard.commit_begins():
            raise self.given_up()
        yield COMMIT, ()

    def run(self) -> Drift | None:
        """Do it in a thread."""
        tries = 0
        while True:
            connection = None
            try:
                connection = self.pool.take(self.guard)
                drift = connection.follow(self._transaction())
            except DRIVER_ERRORS as err:
                whole = connection is not None and fault(err) is SqlFault.CONFLICT and _roll_back(connection)
                self._put_away(connection, whole=whole)
                tries += 0 if _is_stale(err, connection) else 1
                self._judge(err, connection, last=tries >= TRIES_MAX)
                time.sleep(_pause_s(err, tries))
                continue
            except BaseException:
                self._put_away(connection, whole=False)
                raise
            self._put_away(connection, whole=True)
            return drift

    async def run_here(self, limit_s: float) -> Drift | None:
        """Do it in this task, within `limit_s` for a new connection: a thread costs twice the CPU of the statements."""
        tries = 0
        while True:
            connection = None
            try:
                connection = self.pool.kept() or await self.pool.open(limit_s)
                if connection is None:
                    break
                drift = await connection.follow_here(self._transaction())
            except DRIVER_ERRORS as err:
                whole = connection is not None and fault(err) is SqlFault.CONFLICT and await self._roll_back(connection)
                self._put_away(connection, whole=whole)
                tries += 0 if _is_stale(err, connection) else 1
                self._judge(err, connection, last=tries >= TRIES_MAX)
                await trio.sleep(_pause_s(err, tries))
                continue
            except BaseException:  # cancelled: the answer would be taken for the next question's
                self._put_away(connection, whole=False)
                raise
            self._put_away(connection, whole=True)
            return drift
        raise self.given_up()

    async def _roll_back(self, connection: Connection) -> bool:
        """Do as the function of that name, in this task."""
        try:
            await connection.follow_here(_rollback())
        except DRIVER_ERRORS:
            return False
        except BaseException:
            self._put_away(connection, whole=False)
            raise
        return True

    def _put_away(self, connection: Connection | None, *, whole: bool) -> None:
        """Keep a connection that is as good as before for the next call, close any other."""
        if connection is not None and whole:
            self.pool.give_back(connection, self.guard)
        else:
            self.pool.drop(connection, self.guard)

    def given_up(self) -> NotSentError:
        """Return the error of a write that took too long."""
        what = f"{self.pool.target.id}: the write was given up before COMMIT"
        return NotSentError(what, reason=TargetReason.TIMEOUT)

    def _judge(self, err: BaseException, connection: Connection | None, *, last: bool) -> None:
        """Return when the transaction may be run again; raise the known error otherwise."""
        kind, target = fault(err), self.pool.target
        why = explained(err, target, connection.verb if connection else "")
        if kind is SqlFault.CONFLICT:
            # The server says that it rolled back, even in answer to COMMIT.
            self.guard.rolled_back()
            if last or self.guard.aborted:
                raise NotSentError(
                    f"{target.id}: lost to other writers {TRIES_MAX} times", reason=TargetReason.BUSY
                ) from None
        elif self.guard.committing:
            raise LostError(
                f"{target.id}: the answer to COMMIT was lost: {why}", reason=RadiusReason.COMMIT_LOST
            ) from None
        elif not _is_stale(err, connection) or self.guard.aborted:
            raise NotSentError(f"{target.id}: nothing was written: {why}", reason=_REASONS[kind]) from None


@dataclass(frozen=True, slots=True)
class _Write(_Transaction):
    """A change of one user's rows."""

    login: str
    before: Value
    changes: tuple[RowChange, ...]
    to_value: Callable[[Iterable[UserRow]], Value]

    def _transaction(self) -> Talk[Drift | None]:
        kind = self.pool.target.database
        yield BEGIN_WRITING[kind], ()
        rows: list[UserRow] = []
        for table, row_id, *texts in (yield from user_rows(kind, self.login)):  # locked where the database needs it
            spelled, name, op, value = map(text_of, texts)
            rows.append(UserRow(table, name, op, value, int(row_id), spelled))
        observed = self.to_value(rows)
        others = other_spellings(self.login, (row.spelled for row in rows))
        if others:
            observed = {**rowset.fields_of(observed), SAME_AS: others}
        if observed != self.before:
            yield from _rollback()
            return Drift(observed)
        spelling = rows[0].spelled if rows else self.login
        for bound in rowset.bind(rows, self.changes):
            counted = (yield row_change(spelling, bound)).changed
            if counted != 1:
                raise NotSentError(
                    f"row change: expected 1 row, the database changed {counted}", reason=RadiusReason.ROW_COUNT
                )
        yield from self._commit()
        return None


def close_sql(kind: Database) -> str:
    """Return the statement that closes an open row of radacct. Its parameters: the cause, and the acctuniqueid."""
    close = "acctstoptime = COALESCE(acctupdatetime, acctstarttime), acctterminatecause = %s"
    words = ("UPDATE radacct SET", close, "WHERE acctuniqueid = %s AND", OPEN[kind])
    return " ".join(words)


@dataclass(frozen=True, slots=True)
class _SessionWrite(_Transaction):
    """The end of a session in accounting that nothing told it of; or that end taken back."""

    unique_id: str
    session: Mapping[str, str]
    closes: bool

    def _transaction(self) -> Talk[Drift | None]:
        kind = self.pool.target.database
        yield BEGIN_WRITING[kind], ()
        lock = "" if kind is Database.SQLITE else " FOR UPDATE"
        words = ("SELECT", SESSION_COLUMNS[kind], "FROM radacct WHERE acctuniqueid = %s AND", OPEN[kind])
        rows = (yield " ".join(words) + lock, (self.unique_id,)).rows
        found = session_fields(session_value(merged(map(open_session, rows))[0])) if rows else {}
        if found and found != self.session:
            yield from _rollback()
            return Drift(found)
        if bool(found) is not self.closes:  # it is so already: accounting heard of its end, or of the session
            yield from _rollback()
            return None
        if self.closes:
            change, given = close_sql(kind), (STALE, self.unique_id)
        else:
            cause = "NULL" if kind is Database.POSTGRESQL else repr("")
            opening = ("UPDATE radacct SET acctstoptime = NULL, acctterminatecause =", cause)
            where = "WHERE acctuniqueid = %s AND acctterminatecause = %s"
            change, given = " ".join((*opening, where)), (self.unique_id, STALE)
        counted = (yield change, given).changed
        if not counted or (self.closes and counted != len(rows)):
            yield from _rollback()
            return Drift(found or ABSENT)
        yield from self._commit()
        return None


def _is_stale(err: BaseException, connection: Connection | None) -> bool:
    """Tell whether a kept connection broke: the server was restarted since, which is no news about it now."""
    return connection is not None and not connection.fresh and fault(err) is SqlFault.GONE


def _roll_back(connection: Connection) -> bool:
    """Return whether a transaction that lost to others is over and its connection as good as before."""
    try:
        connection.follow(_rollback())
    except DRIVER_ERRORS:  # SQLite refuses where no transaction had begun
        return False
    return True


def _pause_s(err: BaseException, tries: int) -> float:
    """Return how long to wait before the transaction is run again."""
    if fault(err) is not SqlFault.CONFLICT:
        return 0.0
    most_s: float = min(_PAUSE_S * 2**tries, _PAUSE_MAX_S)
    return chance.fraction() * most_s
