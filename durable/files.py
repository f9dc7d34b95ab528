"""Opening a database: the settings that make a commit durable, and the migrations that bring it up to date.

* A commit returns after its fsync (WAL, synchronous FULL).
* Deleted content is overwritten (secure_delete): an erased record must not be left in free pages.
* Migrations only go forward, each in a transaction of its own. The newest version says which older programs may still
  write to it, and the database keeps that: such a program goes on with a newer database, any other refuses it.
"""

from __future__ import annotations

import functools
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
    """Return the first finding of `PRAGMA integrity_check` on a connection by `connect_to_check`; "": it is in order.

    It reads the whole file, so it is for a thread. `quick_check` takes a third of the time and compares no index with
    its table: text that changed in a page of a long row went unnoticed.

    Raises:
        sqlite3.Error: it cannot be read. UnicodeDecodeError: its schema is damaged.
    """
    found = str(con.execute("PRAGMA integrity_check(1)").fetchone()[0])
    return "" if found == "ok" else " ".join(found.split())


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
