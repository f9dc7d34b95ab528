"""A transactional SQL engine in memory, as PostgreSQL or MariaDB would do it: versions of rows, locks, isolation.

No I/O and no clock: a statement is a generator that yields each time it has to wait for another transaction, and looks
again when it is resumed. `server` runs these generators in tasks. Expressions, conditions and order are SQLite's: each
table is a view on its rows' versions, and a view shows what the transaction may see.

* PostgreSQL: READ COMMITTED looks again at a row that another changed; REPEATABLE READ and SERIALIZABLE give way
  (40001); `serializable` finds the rest. A deadlock is found by whoever waited for `DEADLOCK_S`.
* MariaDB: REPEATABLE READ; changes and FOR UPDATE act on what is committed now, lock what they pass, and the gaps where
  rows could be inserted. Where the transaction has read before, a row changed since ends it (1020, as of 11.6). A
  deadlock is found at once, and the transaction that did less gives way.
"""

from __future__ import annotations

import functools
import math
import sqlite3
import unicodedata
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Any, Final

from agent.connectors.radius.schema import Database
from agent.connectors.radius.sql_connection import Answer
from tests.sim.sql.serializable import Conflicts, Serializable, SerializationFailure
from tests.sim.sql.statements import Level, Scan, SqlStatement, UnknownStatementError, Verb, is_indexed, parsed

KEPT_COMMITS: Final = 64
"""Commits that a failover can forget."""
DEADLOCK_S: Final = 1.0
"""PostgreSQL's deadlock_timeout."""
_NEVER: Final = math.inf
NOW: Final = 2.0**62
"""A snapshot that sees whatever is committed, and nothing else."""

Waits = Generator[None, None, Any]
"""A statement at work: yields while it has to wait."""


class SqlRefusal(Exception):
    """The server's error: PostgreSQL's SQLSTATE or MariaDB's number, and a text.

    `ends`: the whole transaction is rolled back (MariaDB; with PostgreSQL every error does that).
    """

    def __init__(self, code: str | int, text: str, *, ends: bool = False) -> None:
        super().__init__(code, text)
        self.code, self.text, self.ends = code, text, ends


@dataclass(slots=True, eq=False)
class SqlTransaction:
    """A running transaction."""

    number: int
    level: Level
    read_only: bool
    implicit: bool
    snapshot: float | None = None
    undo: list[tuple[str, str, int]] = field(default_factory=list)
    rows: list[tuple[str, Any]] = field(default_factory=list)
    changes: int = 0
    locks: set[tuple[str, str, str]] = field(default_factory=set)
    """Table, index and mode of what it locked: InnoDB keeps one structure for a page's records."""
    doom: SqlRefusal | None = None
    """Ends the wait of a statement: it is raised there."""
    blockers: Callable[[], set[SqlTransaction]] | None = None
    """The transactions that it waits for now; None: it does not wait."""
    since: tuple[float, int] = (0.0, 0)
    """When the wait began, and which of all waits it is."""
    conflicts: Serializable | None = None
    is_over: bool = False
    began: float = math.inf
    """When it began, by the clock of whoever runs the engine."""


@dataclass(slots=True)
class EngineSession:
    """One client's state on the server. `matched`: MariaDB counts the rows that matched, not those that changed."""

    matched: bool = False
    transaction: SqlTransaction | None = None
    failed: bool = False
    working: SqlTransaction | None = None
    """Of the statement that is at work."""


@dataclass(slots=True)
class _Row:
    owner: SqlTransaction | None = None
    queue: deque[SqlTransaction] = field(default_factory=deque)


@dataclass(frozen=True, slots=True)
class _Gap:
    """Places between two index records, both excluded, in which `holder` lets nobody insert."""

    table: str
    column: str
    low: tuple[Any, ...]
    high: tuple[Any, ...]
    holder: SqlTransaction


@dataclass(frozen=True, slots=True)
class _Table:
    name: str
    key: str
    columns: tuple[str, ...]
    unique: tuple[str, ...]


_LOWEST: Final = (-math.inf,)
_HIGHEST: Final = (math.inf,)


@functools.lru_cache(maxsize=4096)
def _plain(text: str) -> str:
    plain = unicodedata.normalize("NFD", text.rstrip(" ").casefold())
    return "".join(c for c in plain if not unicodedata.combining(c))


def same_login(text: Any) -> Any:
    """Return a value as MariaDB's default collation compares it: without case, accents and trailing blanks."""
    return _plain(text) if isinstance(text, str) else text


def _collate(one: str, two: str) -> int:
    a, b = _plain(one), _plain(two)
    return int(a > b) - int(a < b)


class SqlEngine:
    """The tables of FreeRADIUS 3.2, empty at first, and everybody's transactions."""

    def __init__(
        self,
        kind: Database,
        *,
        whole: bool = False,
        now_s: Callable[[], float] = lambda: 0.0,
        woken: Callable[[], None] = lambda: None,
        changed: Callable[[frozenset[str], SqlTransaction | None], None] = lambda tables, by: None,
    ) -> None:
        """Make the tables.

        Args:
            kind: PostgreSQL or MariaDB.
            whole: tables are read from end to end, as the servers do with small ones: more waits and conflicts.
            now_s: the server's clock.
            woken: called when something changed that waiting statements should look at.
            changed: called when committed rows of these tables are others: by a transaction; None: by a failover.
        """
        self.kind, self.whole, self._woken, self._changed = kind, whole, woken, changed
        self.read_only = False
        self.other_victim: frozenset[int] = frozenset()
        """Which of MariaDB's deadlocks (the first is 0) end another transaction than we think: it is a close call."""
        self._deadlocks = 0
        self._sqlite = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        self._sqlite.create_function("seen", 2, self._seen)
        self._sqlite.create_function("now_s", 0, now_s)
        self._sqlite.create_collation("LOGIN", _collate)
        self._view: tuple[int, float, bool] = (0, NOW, False)
        self._tables = dict(_make_tables(self._sqlite, kind))
        self._next_id = dict.fromkeys(self._tables, 1)
        self._numbers = 0
        self._commits = 0
        self._committed: dict[int, int] = {}
        self._history: deque[tuple[int, int, list[tuple[str, str, int]]]] = deque()
        self._active: dict[int, SqlTransaction] = {}
        self._rows: dict[tuple[str, Any], _Row] = {}
        self._gaps: list[_Gap] = []
        self._conflicts = Conflicts()
        self._conflicts_of: dict[int, Serializable] = {}
        """Of committed transactions, by number, while their versions are kept."""

    @property
    def commits(self) -> int:
        """How many transactions that wrote have committed and were not forgotten."""
        return self._commits

    # --- what is seen ---

    def _seen(self, born: int, died: int) -> int:
        me, snapshot, dirty = self._view
        if dirty:
            return int(died == 0 or (died != me and died not in self._committed))
        if born and born != me and self._committed.get(born, _NEVER) > snapshot:
            return 0
        return int(not died or (died != me and self._committed.get(died, _NEVER) > snapshot))

    def _query(
        self, me: SqlTransaction | None, snapshot: float, sql: str, values: Sequence[Any], *, dirty: bool = False
    ) -> list[tuple[Any, ...]]:
        self._view = (me.number if me else -1, snapshot, dirty)
        try:
            return list(self._sqlite.execute(sql, values).fetchall())
        except sqlite3.OperationalError as err:
            raise UnknownStatementError(f"{err}: {sql}") from err

    def look(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Return the committed rows of a query, for a judge: no transaction, nothing waits."""
        statement = parsed(self.kind, sql, parameters)
        return self._query(None, NOW, statement.sql, statement.parameters)

    # --- statements ---

    def execute(self, session: EngineSession, sql: str, parameters: Sequence[object] = ()) -> Waits:
        """Run one statement; its result is an `Answer`.

        Raises:
            SqlRefusal: the server refuses it.
        """
        statement = parsed(self.kind, sql, parameters)
        if session.failed and statement.verb not in (Verb.COMMIT, Verb.ROLLBACK):
            raise SqlRefusal("25P02", "current transaction is aborted, commands ignored until end of transaction block")
        match statement.verb:
            case Verb.BEGIN:
                self._begin(session, statement)
            case Verb.COMMIT:
                self._end(session, commits=True)
            case Verb.ROLLBACK:
                self._end(session, commits=False)
            case Verb.SET:
                pass
            case Verb.EXPLAIN:
                # Parsing has told whether it is a statement of ours: a view of SQLite's cannot be changed
                if statement.sql.startswith("SELECT"):
                    self._query(None, NOW, f"EXPLAIN {statement.sql}", statement.parameters)
            case _:
                return (yield from self._data(session, statement))
        return Answer([], 0)

    def _begin(self, session: EngineSession, statement: SqlStatement) -> None:
        if session.transaction is not None:
            if self.kind is Database.POSTGRESQL:
                return  # a warning; the transaction goes on
            self._end(session, commits=True)
        writes = "READ WRITE" in statement.sql
        if self.kind is Database.MARIADB and self.read_only and writes:
            raise SqlRefusal(1290, "The MariaDB server is running with the --read-only option")
        if self.kind is Database.POSTGRESQL and self.read_only and statement.level is Level.SERIALIZABLE:
            raise SqlRefusal("0A000", "cannot use serializable mode in a hot standby")
        session.transaction = self._start(statement.level, read_only=statement.read_only, implicit=False)
        if statement.snapshot:
            session.transaction.snapshot = self._commits

    def _start(self, level: Level | None, *, read_only: bool, implicit: bool) -> SqlTransaction:
        default = Level.READ_COMMITTED if self.kind is Database.POSTGRESQL else Level.REPEATABLE_READ
        self._numbers += 1
        one = SqlTransaction(self._numbers, level or default, read_only, implicit)
        self._active[one.number] = one
        return one

    def _data(self, session: EngineSession, statement: SqlStatement) -> Waits:
        me = session.transaction or self._start(None, read_only=False, implicit=True)
        session.working = me
        try:
            answer = yield from self._work(me, session, statement)
            if me.implicit:
                self._commit(me)
        except SqlRefusal as err:
            me.doom = None
            if me.implicit or err.ends or self.kind is Database.POSTGRESQL:
                self.abort(me)
                session.failed = self.kind is Database.POSTGRESQL and not me.implicit
                session.transaction = None
            raise
        except GeneratorExit:  # the client is gone
            self.abort(me)
            session.transaction = None
            raise
        finally:
            session.working = None
        return answer

    def refuse(self, session: EngineSession, err: SqlRefusal, *, is_end: bool) -> None:
        """Do to a session what an error of a statement does to it. `is_end`: the statement would have ended it."""
        me = session.transaction
        if me is not None and (err.ends or is_end or self.kind is Database.POSTGRESQL):
            self.abort(me)
            session.transaction = None
            session.failed = self.kind is Database.POSTGRESQL and not is_end

    def _work(self, me: SqlTransaction, session: EngineSession, statement: SqlStatement) -> Waits:
        try:
            return (yield from self._do(me, session, statement))
        except SerializationFailure:
            text = "could not serialize access due to read/write dependencies among transactions"
            raise SqlRefusal("40001", text) from None

    def _do(self, me: SqlTransaction, session: EngineSession, statement: SqlStatement) -> Waits:
        if statement.verb is not Verb.SELECT or statement.locks:
            self._refuse_writes(me, statement)
        self._open_snapshot(me, statement)
        if statement.verb is Verb.SELECT and not statement.locks:
            self._remember_reads(me, statement.scans)
            found = self._query(me, me.snapshot or 0, statement.sql, statement.parameters)
            return Answer(found, len(found))
        if statement.verb is Verb.INSERT:
            return (yield from self._insert(me, statement))
        keys = yield from self._lock_found(me, statement)
        now = me.snapshot if me.conflicts or me.level is Level.REPEATABLE_READ else NOW
        now = NOW if self.kind is Database.MARIADB or now is None else now
        if statement.verb is Verb.SELECT:
            found = self._query(me, now, statement.sql, statement.parameters)
            return Answer(found, len(found))
        return (yield from self._change(me, statement, keys, now, matched=session.matched))

    def _refuse_writes(self, me: SqlTransaction, statement: SqlStatement) -> None:
        if self.kind is Database.POSTGRESQL and (self.read_only or me.read_only):
            word = "SELECT FOR UPDATE" if statement.locks else statement.verb.value
            raise SqlRefusal("25006", f"cannot execute {word} in a read-only transaction")
        if self.kind is Database.MARIADB and self.read_only:
            raise SqlRefusal(1290, "The MariaDB server is running with the --read-only option")
        if self.kind is Database.MARIADB and me.read_only and not statement.locks:
            raise SqlRefusal(1792, "Cannot execute statement in a READ ONLY transaction")

    def _open_snapshot(self, me: SqlTransaction, statement: SqlStatement) -> None:
        plain = statement.verb is Verb.SELECT and not statement.locks
        if self.kind is Database.POSTGRESQL:
            if me.snapshot is None or me.level is Level.READ_COMMITTED:
                me.snapshot = self._commits
            if me.level is Level.SERIALIZABLE and me.conflicts is None:
                me.conflicts = self._conflicts.begin(self._commits)
                me.conflicts.read_only = me.read_only
        elif me.snapshot is None and plain:
            me.snapshot = self._commits

    def _remember_reads(self, me: SqlTransaction, scans: Iterable[Scan]) -> None:
        """Tell what a serializable transaction reads, and past whose changes."""
        if me.conflicts is None:
            return
        for scan in scans:
            table = self._tables[scan.table]
            whole = self.whole or not scan.column
            condition, given = ("1", ()) if whole else (f"{scan.column} = ?", (scan.value,))
            self._view = (me.number, me.snapshot or 0, False)
            sql = f"SELECT {table.key}, _born, _died, seen(_born, _died) FROM _{table.name} WHERE {condition}"
            versions = self._sqlite.execute(sql, given).fetchall()
            me.conflicts.reads(table.name, {row[0] for row in versions if row[3]}, whole=whole)
            for _, born, died, seen in versions:
                writer = self._writer(died if seen else born)
                if writer is not None and writer is not me.conflicts:
                    self._conflicts.read_past(me.conflicts, writer)

    def _writer(self, number: int) -> Serializable | None:
        running = self._active.get(number)
        return running.conflicts if running else self._conflicts_of.get(number)

    # --- locks ---

    def _wait(self, me: SqlTransaction, blockers: Callable[[], set[SqlTransaction]]) -> Waits:
        me.blockers = blockers
        try:
            if self.kind is Database.MARIADB:
                self._give_way(me)
            if me.doom is None:
                yield
        finally:
            me.blockers = None
        if me.doom is not None:
            raise me.doom

    def cycle(self, me: SqlTransaction) -> list[SqlTransaction]:
        """Return the transactions that wait for each other in a ring with `me`; empty: there is none."""

        def follow(path: list[SqlTransaction]) -> list[SqlTransaction]:
            for other in sorted(path[-1].blockers() if path[-1].blockers else (), key=lambda t: t.number):
                if other is me:
                    return path
                if other not in path and (found := follow([*path, other])):
                    return found
            return []

        return follow([me])

    def _give_way(self, me: SqlTransaction) -> None:
        ring = self.cycle(me)
        if ring:
            victim = min(ring, key=lambda one: (one.changes + len(one.locks), one is not me))
            if self._deadlocks in self.other_victim:
                victim = next(one for one in ring if one is not victim)
            self._deadlocks += 1
            victim.doom = SqlRefusal(
                1213, "Deadlock found when trying to get lock; try restarting transaction", ends=True
            )
            self._woken()

    def _take(self, me: SqlTransaction, table: str, key: Any) -> Waits:
        """Lock a row, in the order of asking."""
        row = self._rows.setdefault((table, key), _Row())
        if row.owner is me:
            return
        row.queue.append(me)

        def ahead() -> set[SqlTransaction]:
            before = set(list(row.queue)[: row.queue.index(me)])
            return before | ({row.owner} if row.owner else set())

        try:
            while ahead():
                me.locks.add((table, "", f"waited for {key}"))
                yield from self._wait(me, ahead)
        except BaseException:
            row.queue.remove(me)
            if row.owner is None and not row.queue:
                self._rows.pop((table, key), None)
            raise
        row.queue.remove(me)
        row.owner = me
        me.rows.append((table, key))

    def _take_records(self, me: SqlTransaction, table: _Table, columns: Iterable[str], key: Any) -> Waits:
        """Lock a row's records in indexes beside that of its key; a row's own lock covers the latter."""
        for column in columns:
            if column != table.key:
                yield from self._take(me, table.name, (column, key))

    def _lock_found(self, me: SqlTransaction, statement: SqlStatement) -> Waits:
        """Lock the rows of a condition; return the keys of those that meet it."""
        if self.kind is Database.MARIADB:
            return (yield from self._lock_passed(me, statement))
        self._remember_reads(me, statement.scans)
        table = self._tables[statement.table]
        sql = f"SELECT {table.key} FROM {table.name} WHERE {statement.where}"
        found, keys = self._query(me, me.snapshot or 0, f"{sql} ORDER BY _n", statement.parameters), []
        for (key,) in found:
            yield from self._take(me, table.name, key)
            changed = self._query(me, me.snapshot or 0, f"SELECT _died FROM {table.name} WHERE {table.key} = ?", (key,))
            if changed and changed[0][0] in self._committed:
                if me.level is not Level.READ_COMMITTED:
                    raise SqlRefusal("40001", "could not serialize access due to concurrent update")
                if not self._query(me, NOW, f"{sql} AND {table.key} = ?", (*statement.parameters, key)):
                    continue
            keys.append(key)
        return keys

    def _lock_passed(self, me: SqlTransaction, statement: SqlStatement) -> Waits:
        """Lock all that InnoDB passes on its way: index records, and the gaps beside them."""
        table, scan = self._tables[statement.table], statement.scans[0]
        once = scan.column in (table.key, *table.unique)
        whole = not scan.column or (self.whole and not once and statement.verb is Verb.SELECT)
        column = table.key if whole else scan.column
        condition, given = ("1", ()) if whole else (f"{column} = ?", (scan.value,))
        me.locks.add((table.name, "", "intention"))
        sql = f"SELECT DISTINCT {table.key} FROM {table.name} WHERE {condition} ORDER BY {table.key}"
        passed: list[Any] = []
        while left := [key for (key,) in self._query(me, NOW, sql, given, dirty=True) if key not in passed]:
            key = left[0]
            me.locks.add((table.name, column, "record" if once else "next-key"))
            place = (key if whole else same_login(scan.value), key)
            if not once:
                before = max((r for r in self._records(table, column) if r < place), default=_LOWEST)
                self._hold_gap(_Gap(table.name, column, before, place, me))
            if column != table.key:
                yield from self._take(me, table.name, (column, key))
                me.locks.add((table.name, table.key, "record"))
            yield from self._take(me, table.name, key)
            passed.append(key)
            if me.snapshot is not None and self._changed_since(table, key, me.snapshot):
                text = f"Record has changed since last read in table '{table.name}'; try restarting transaction"
                raise SqlRefusal(1020, text, ends=True)
        if not once or not passed:
            records = self._records(table, column)
            top = math.inf if whole else same_login(scan.value)
            low = max((r for r in records if whole or r[0] <= top), default=_LOWEST)
            high = _HIGHEST if whole else min((r for r in records if r[0] > top), default=_HIGHEST)
            self._hold_gap(_Gap(table.name, column, low, high, me))
            if high is not _HIGHEST:
                me.locks.add((table.name, column, "gap"))
        sql = f"SELECT {table.key} FROM {table.name} WHERE {statement.where} ORDER BY {table.key}"
        return [key for (key,) in self._query(me, NOW, sql, statement.parameters)]

    def _changed_since(self, table: _Table, key: Any, snapshot: float) -> bool:
        sql = f"SELECT _born, _died FROM _{table.name} WHERE {table.key} = ?"
        numbers = {number for row in self._sqlite.execute(sql, (key,)).fetchall() for number in row}
        return any(self._committed.get(number, 0) > snapshot for number in numbers)

    def _hold_gap(self, gap: _Gap) -> None:
        if gap not in self._gaps:
            self._gaps.append(gap)

    def _records(self, table: _Table, column: str) -> list[tuple[Any, Any]]:
        sql = f"SELECT DISTINCT {column}, {table.key} FROM {table.name}"
        return [(same_login(value), key) for value, key in self._query(None, NOW, sql, (), dirty=True)]

    def _pass_gaps(self, me: SqlTransaction, table: _Table, values: dict[str, Any], columns: Iterable[str]) -> Waits:
        """Wait until nobody holds a place at which index records are inserted."""
        places = {column: (same_login(values[column]), values[table.key]) for column in columns}

        def holders() -> set[SqlTransaction]:
            return {
                gap.holder
                for gap in self._gaps
                if gap.table == table.name
                and gap.holder is not me
                and gap.column in places
                and _is_between(gap.low, places[gap.column], gap.high)
            }

        while holders():
            me.locks.add((table.name, "", "insert"))
            yield from self._wait(me, holders)

    # --- changes ---

    def _insert(self, me: SqlTransaction, statement: SqlStatement) -> Waits:
        table = self._tables[statement.table]
        me.locks.add((table.name, "", "intention"))
        taken, added = 0, []
        for row in statement.values:
            count = sum(text.count("?") for text in row)
            given = statement.given[taken : taken + count]
            taken += count
            ((*found,),) = self._query(me, NOW, f"SELECT {', '.join(row)}", given)
            values = dict(zip(statement.columns, found, strict=True))
            if values.get(table.key) is None:
                values[table.key] = self._next_id[table.name]
            self._next_id[table.name] = max(self._next_id[table.name], values[table.key] + 1)
            for column in table.unique:
                yield from self._only_one(me, table, column, values.get(column))
            full = {column: values.get(column, "") for column in table.columns}
            if self.kind is Database.MARIADB:
                indexed = [c for c in table.columns if is_indexed(table.name, c) and c != table.key]
                yield from self._pass_gaps(me, table, full, [table.key])
                me.changes += 1  # it is in the table before it is in the other indexes
                yield from self._pass_gaps(me, table, full, indexed)
            if me.conflicts:
                self._conflicts.writes(me.conflicts, table.name, None)
            added.append(values)
        for values in added:
            yield from self._take(me, table.name, values[table.key])
            if self.kind is Database.MARIADB:
                columns = [c for c in table.columns if is_indexed(table.name, c)]
                yield from self._take_records(me, table, columns, values[table.key])
            self._write(me, table, values)
        return Answer([], len(added))

    def _only_one(self, me: SqlTransaction, table: _Table, column: str, value: Any) -> Waits:
        sql = f"SELECT _born, _died FROM _{table.name} WHERE {column} = ?"

        def writers() -> set[SqlTransaction]:
            rows = self._sqlite.execute(sql, (value,)).fetchall()
            return {self._active[n] for row in rows for n in row if n in self._active} - {me}

        while writers():
            yield from self._wait(me, writers)
        if self._query(me, NOW, f"SELECT 1 FROM {table.name} WHERE {column} = ?", (value,)):
            code: str | int = "23505" if self.kind is Database.POSTGRESQL else 1062
            raise SqlRefusal(code, f"duplicate key value violates unique constraint on {table.name}.{column}")

    def _change(
        self, me: SqlTransaction, statement: SqlStatement, keys: Sequence[Any], now: float, *, matched: bool
    ) -> Waits:
        table, changed = self._tables[statement.table], []
        for key in keys:
            (before,) = self._query(
                me, now, f"SELECT _n, {', '.join(table.columns)} FROM {table.name} WHERE {table.key} = ?", (key,)
            )
            number, old = before[0], dict(zip(table.columns, before[1:], strict=True))
            new = None
            if statement.verb is Verb.UPDATE:
                sql = f"SELECT {', '.join(statement.values[0])} FROM {table.name} WHERE {table.key} = ?"
                (found,) = self._query(me, now, sql, (*statement.given, key))
                new = old | dict(zip(statement.columns, found, strict=True))
            if self.kind is Database.MARIADB:
                moved = [c for c in table.columns if is_indexed(table.name, c) and (new is None or old[c] != new[c])]
                yield from self._take_records(me, table, moved, key)
                if new is not None:
                    yield from self._pass_gaps(me, table, new, moved)
            changed.append((key, number, old, new))
        for key, number, old, new in changed:
            if me.conflicts:
                self._conflicts.writes(me.conflicts, table.name, key)
                if new and (
                    table.name == "radacct" or any(is_indexed(table.name, c) and old[c] != new[c] for c in old)
                ):
                    self._conflicts.writes(me.conflicts, table.name, None)
            if self.kind is Database.MARIADB and new == old:
                continue
            me.changes += 1
            self._sqlite.execute(f"UPDATE _{table.name} SET _died = ? WHERE _n = ?", (me.number, number))
            me.undo.append(("died", table.name, number))
            if new is not None:
                self._write(me, table, new)
        same = sum(new == old for _, _, old, new in changed)
        return Answer([], len(changed) if self.kind is Database.POSTGRESQL or matched else len(changed) - same)

    def _write(self, me: SqlTransaction, table: _Table, values: dict[str, Any]) -> None:
        columns = ", ".join(values)
        marks = ", ".join("?" * len(values))
        sql = f"INSERT INTO _{table.name} (_born, {columns}) VALUES (?, {marks})"
        try:
            number = self._sqlite.execute(sql, (me.number, *values.values())).lastrowid
        except sqlite3.OperationalError as err:
            raise UnknownStatementError(f"{err}: {sql}") from err
        me.undo.append(("born", table.name, int(number or 0)))

    # --- the end of a transaction ---

    def _end(self, session: EngineSession, *, commits: bool) -> None:
        me, session.transaction = session.transaction, None
        session.failed = False  # PostgreSQL says ROLLBACK to the COMMIT of a transaction that failed, and no error
        if me is None:
            return
        if not commits:
            self.abort(me)
            return
        try:
            self._commit(me)
        except SerializationFailure:
            self.abort(me)
            text = "could not serialize access due to read/write dependencies among transactions"
            raise SqlRefusal("40001", text) from None

    def _commit(self, me: SqlTransaction) -> None:
        at = self._commits + (1 if me.undo else 0)
        if me.conflicts:
            self._conflicts.commit(me.conflicts, at, wrote=bool(me.undo))
        if me.undo:
            self._commits = at
            self._committed[me.number] = at
            self._history.append((at, me.number, me.undo))
            if me.conflicts:
                self._conflicts_of[me.number] = me.conflicts
        self._leave(me)
        if me.undo:
            self._changed(frozenset(table for _, table, _ in me.undo), me)

    def abort(self, me: SqlTransaction) -> None:
        """Roll a transaction back; one that is over stays as it is."""
        if me.is_over:
            return
        self._undo(me.undo)
        if me.conflicts:
            self._conflicts.abort(me.conflicts)
        self._leave(me)

    def _undo(self, undo: Sequence[tuple[str, str, int]]) -> None:
        for what, table, number in reversed(undo):
            change = "DELETE FROM _{} WHERE _n = ?" if what == "born" else "UPDATE _{} SET _died = 0 WHERE _n = ?"
            self._sqlite.execute(change.format(table), (number,))

    def _leave(self, me: SqlTransaction) -> None:
        me.is_over = True
        del self._active[me.number]
        for place in me.rows:
            row = self._rows[place]
            row.owner = None
            if not row.queue:
                del self._rows[place]
        self._gaps = [gap for gap in self._gaps if gap.holder is not me]
        self._forget()
        self._woken()

    def _forget(self) -> None:
        """Forget versions of rows that no snapshot and no failover needs."""
        oldest = min((t.snapshot for t in self._active.values() if t.snapshot is not None), default=math.inf)
        while len(self._history) > KEPT_COMMITS and self._history[0][0] <= oldest:
            _, number, undo = self._history.popleft()
            for what, table, version in undo:
                change = "UPDATE _{} SET _born = 0 WHERE _n = ?" if what == "born" else "DELETE FROM _{} WHERE _n = ?"
                self._sqlite.execute(change.format(table), (version,))
            del self._committed[number]
            self._conflicts_of.pop(number, None)

    def fail_over(self, forget: int) -> int:
        """Become a standby that never got the last `forget` commits; returns how many are lost.

        Their row ids are given out again. Every transaction is over; the caller ends the connections.
        """
        for one in list(self._active.values()):
            self.abort(one)
        lost, tables = 0, set[str]()
        while self._history and lost < forget:
            _, number, undo = self._history.pop()
            self._undo(undo)
            tables |= {table for _, table, _ in undo}
            del self._committed[number]
            lost += 1
        for table in self._tables.values() if lost else ():
            ((top,),) = self._query(None, NOW, f"SELECT coalesce(max({table.key}), 0) FROM {table.name}", ())
            self._next_id[table.name] = top + 1
        if lost:
            self._changed(frozenset(tables), None)
        return lost


def _is_between(low: tuple[Any, ...], place: tuple[Any, ...], high: tuple[Any, ...]) -> bool:
    return (low is _LOWEST or low < place) and (high is _HIGHEST or place < high)


def _make_tables(sqlite: sqlite3.Connection, kind: Database) -> Iterable[tuple[str, _Table]]:
    """Make each table of FreeRADIUS' as rows' versions and a view on them; yield its name and form."""
    model = sqlite3.connect(":memory:")
    model.executescript(resources.files("lab").joinpath("schema_sqlite.sql").read_text(encoding="utf-8"))
    names = [
        n for (n,) in model.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
    ]
    for name in names:
        info = model.execute(f"PRAGMA table_info({name})").fetchall()
        indexes = model.execute(f"PRAGMA index_list({name})").fetchall()
        unique = tuple(
            model.execute(f"PRAGMA index_info({index[1]})").fetchall()[0][2]
            for index in indexes
            if index[2] and index[3] == "c"
        )
        key = next(column[1] for column in info if column[5])
        text = "COLLATE LOGIN" if kind is Database.MARIADB else ""
        empty = kind is Database.POSTGRESQL and name == "radacct"  # its columns may be NULL there
        forms = []
        for _, column, form, needed, default, _ in info:
            number = "INT" in form or "DATETIME" in form
            words = [column, "INTEGER" if number else f"TEXT {text}"]
            if not empty and needed:
                words.append("NOT NULL")
            if not empty and default is not None:
                words += ["DEFAULT", default]
            forms.append(" ".join(words))
        columns = tuple(column[1] for column in info)
        sqlite.execute(
            f"CREATE TABLE _{name} (_n INTEGER PRIMARY KEY AUTOINCREMENT, _born INTEGER, _died INTEGER DEFAULT 0, "
            f"{', '.join(forms)})"
        )
        for column in columns:
            if is_indexed(name, column):
                sqlite.execute(f"CREATE INDEX _{name}_{column} ON _{name} ({column})")
        sqlite.execute(
            f"CREATE VIEW {name} AS SELECT _n, _born, _died, {', '.join(columns)} FROM _{name} WHERE seen(_born, _died)"
        )
        yield name, _Table(name, key, columns, unique)
    model.close()
