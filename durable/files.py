"""Opening a database: the settings that make a commit durable, and the migrations that bring it up to date.

* A commit returns after its fsync (WAL, synchronous FULL).
* Deleted content is overwritten (secure_delete): an erased record must not be left in free pages.
* Migrations only go forward, each in a transaction of its own. The newest version says which older programs may still
  write to it, and the database keeps that: such a program goes on with a newer database, any other refuses it.
"""

from __future__ import annotations

import functools
import re
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Final

from durable.errors import NewerDatabaseError

LOCKED_S: Final = 5.0
"""How long to wait for the transaction of another process, such as a command at the shell. Chosen arbitrarily."""

STATEMENTS: Final = 512
"""Prepared statements that a connection keeps: more than either program has. The default, 128, is fewer."""


def connect(path: Path, *, readonly: bool) -> sqlite3.Connection:
    """Return a connection in autocommit mode, with `sqlite3.Row` rows and foreign keys enforced.

    Raises:
        sqlite3.Error: the file cannot be opened.
    """
    con = _open(path, "?mode=ro" if readonly else "")
    con.execute("PRAGMA foreign_keys = ON")
    return con


def connect_to_check(path: Path) -> sqlite3.Connection:
    """Return a connection that writes nothing, but could: on another one SQLite forgets tables' CHECK constraints.

    Raises:
        sqlite3.Error: the file cannot be opened.
    """
    con = _open(path, "?mode=rw")
    con.execute("PRAGMA query_only = ON")
    return con


def _open(path: Path, query: str) -> sqlite3.Connection:
    con = sqlite3.connect(
        f"{path.absolute().as_uri()}{query}",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        timeout=LOCKED_S,
        cached_statements=STATEMENTS,
    )
    con.row_factory = sqlite3.Row
    return con


MIGRATION_STEPS: Final = 2_000_000
"""Instructions of SQLite between two calls that tell of a migration's progress: 0.1 s and more."""

UNREADABLE_SCHEMA: Final = "malformed database schema"


def damage(path: Path) -> str:
    """Return the first damage in a database that may be in use; "": it is in order. For threads, as `first_damage`."""
    try:
        with closing(connect_to_check(path)) as con:
            return first_damage(con)
    except sqlite3.Error as err:
        return " ".join(str(err).split())
    except UnicodeDecodeError:
        return UNREADABLE_SCHEMA


def first_damage(con: sqlite3.Connection) -> str:
    """Return the first finding of `PRAGMA integrity_check`, or else the first index that is unlike its table; "": none.

    It reads the whole file, so it is for a thread. `quick_check` takes a third of the time and compares no index with
    its table: text that changed in a page of a long row went unnoticed.

    Args:
        con: a connection by `connect_to_check`. Without a transaction it gets one, so that all looks see one state.

    Raises:
        sqlite3.Error: it cannot be read. UnicodeDecodeError: its schema is damaged.
    """
    begun = not con.in_transaction
    if begun:
        con.execute("BEGIN")
    try:
        return _first_damage(con)
    finally:
        if begun and con.in_transaction:  # some errors of a disk end it
            con.execute("ROLLBACK")


def _first_damage(con: sqlite3.Connection) -> str:
    found = str(con.execute("PRAGMA integrity_check(1)").fetchone()[0])
    return _index_unlike_its_table(con) if found == "ok" else " ".join(found.split())


_INDEXES: Final = """
SELECT t.name, i.name, l.partial, i.sql FROM sqlite_master AS t, pragma_index_list(t.name) AS l
JOIN sqlite_master AS i ON i.type = 'index' AND i.name = l.name WHERE t.type = 'table' ORDER BY t.name, i.name
"""


def _index_unlike_its_table(con: sqlite3.Connection) -> str:
    """Return the first index that has other entries than its table has rows for it; "": there is none.

    SQLite's check (3.46) does not count a partial index's entries: with an older page it gives out rows that its
    condition rules out. Nor does it see that an index without entries begins with a page of a table.

    Raises:
        sqlite3.Error: an index cannot be read.
    """
    partial: dict[str, dict[str, str]] = {}
    for table, index, is_partial, made in con.execute(_INDEXES).fetchall():
        if is_partial:
            partial.setdefault(table, {})[index] = re.split(r"\sWHERE\s", made, maxsplit=1)[1]
            continue
        first = f'SELECT 1 FROM "{table}" INDEXED BY "{index}" LIMIT 1'  # noqa: S608  # the schema's own names
        con.execute(first).fetchone()
    for table, conditions in partial.items():
        # Without WHERE: it would be answered from the index that is asked about.
        rows = ", ".join(f"count(CASE WHEN {condition} THEN 1 END)" for condition in conditions.values())
        expected = con.execute(f'SELECT {rows} FROM "{table}"').fetchone()  # noqa: S608  # the schema's own
        for (index, condition), rows_for_it in zip(conditions.items(), expected, strict=True):
            entries = f'SELECT count(*) FROM "{table}" INDEXED BY "{index}" WHERE {condition}'  # noqa: S608  # as above
            (got,) = con.execute(entries).fetchone()
            if got != rows_for_it:
                return f"index {index} of table {table}: expected {rows_for_it} entries, by the table's rows, got {got}"
    return ""


def open_database(
    path: Path,
    migrations: Sequence[str],
    writers_from: int,
    migrating: Callable[[int], None] | None = None,
) -> sqlite3.Connection:
    """Return a connection that may write, to a database that exists and is of version `len(migrations)` or newer.

    Args:
        path: the file; its folder exists.
        migrations: SQL scripts; number `i` takes version `i` to `i + 1`.
        writers_from: version `len(migrations)` may still be written by programs that know this version or a newer one.
        migrating: called with the version that a migration leads to, now and then while it makes progress; not for a
            short one. Copying a large table takes minutes on a slow disk.

    Raises:
        NewerDatabaseError: its version is higher, and does not let a program write that knows `len(migrations)` only.
        sqlite3.Error: it cannot be opened or written, or a migration failed and left the version before it.
    """
    with ExitStack() as undo:
        con = undo.enter_context(closing(connect(path, readonly=False)))
        try:
            con.execute("PRAGMA journal_mode = WAL")
        except UnicodeDecodeError as err:  # SQLite quotes what it does not understand of a damaged schema
            damaged = sqlite3.DatabaseError(UNREADABLE_SCHEMA)
            damaged.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
            raise damaged from err
        con.execute("PRAGMA synchronous = FULL")
        con.execute("PRAGMA secure_delete = ON")
        version = con.execute("PRAGMA user_version").fetchone()[0]
        if version > len(migrations) and (oldest := _oldest_writer(con, version)) > len(migrations):
            raise NewerDatabaseError(len(migrations), version, oldest)
        for number, script in enumerate(migrations[version:], start=version + 1):
            if migrating is not None:
                con.set_progress_handler(functools.partial(migrating, number), MIGRATION_STEPS)
            # Who may write stands in the same transaction: after a crash between two, an older program would go on.
            con.executescript(
                f"BEGIN IMMEDIATE;\n{script}\n{_writers_are(writers_from)}\nPRAGMA user_version = {number};\nCOMMIT;"
            )
        con.set_progress_handler(None, 0)
        undo.pop_all()
    return con


def versions(path: Path) -> tuple[int, int]:
    """Return the version of a database, and the oldest version with a program that may write to it.

    Raises:
        OSError: there is none, or this user may not read it.
        sqlite3.Error: it is none.
    """
    with path.open("rb"), closing(connect(path, readonly=True)) as con:
        version = int(con.execute("PRAGMA user_version").fetchone()[0])
        return version, _oldest_writer(con, version)


def _writers_are(oldest: int) -> str:
    made = "CREATE TABLE IF NOT EXISTS schema_writers (oldest INTEGER NOT NULL); DELETE FROM schema_writers;"
    return f"{made} INSERT INTO schema_writers VALUES ({oldest:d});"  # noqa: S608  # executescript takes no parameters


def _oldest_writer(con: sqlite3.Connection, version: int) -> int:
    """Return the oldest version with a program that may write to a database; a silent one takes its own only."""
    if con.execute("SELECT 1 FROM sqlite_master WHERE name = 'schema_writers'").fetchone() is None:
        return version
    row = con.execute("SELECT max(oldest) FROM schema_writers").fetchone()
    return version if row[0] is None else int(row[0])
