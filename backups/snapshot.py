"""The pages of a SQLite file that is in use, from one moment of it.

Within a read transaction the virtual table `sqlite_dbpage` gives each page as it was in that moment, whatever is
written meanwhile (`sqlite3_rsync` reads by it too). So no clear copy is made on the disk, and no writer waits: in WAL
mode a reader holds up nobody. SQLite's own backup interface needs a second database, which would be that copy, and
begins anew whenever another connection writes.

Where SQLite was built without that table (Debian's has it), a small database is copied in memory.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from backups.errors import BackupStorageError
from durable import files

PAGES_AT_ONCE: Final = 64
IN_MEMORY_BYTES: Final = 256 * 1024 * 1024
"""The largest database that is copied in memory, where there is no other way."""


class Snapshot:
    """One moment of a database. `con` reads it; `size_bytes` is how large its file would be."""

    def __init__(self, path: Path, con: sqlite3.Connection) -> None:
        self.path, self.con = path, con
        self.size_bytes = int(self._number("PRAGMA page_count")) * int(self._number("PRAGMA page_size"))

    def _number(self, pragma: str) -> int:
        return int(self.con.execute(pragma).fetchone()[0])

    def refuse_damaged(self) -> None:
        """Read all of it, as a start does: a damaged database must not take the place of an older backup that is whole.

        Raises:
            BackupStorageError: it is damaged, or cannot be read.
        """
        try:
            found = files.first_damage(self.con)
        except (sqlite3.Error, UnicodeDecodeError) as err:
            found = " ".join(str(err).split())
        if found:
            raise BackupStorageError(
                f"{self.path.name}: it is damaged, so no backup is made of it: {found}: keep the backups that there"
                " are, and look at the disk"
            )

    def chunks(self) -> Iterator[bytes]:
        """Give the bytes of its file.

        Raises:
            BackupStorageError: it cannot be read, or is too large for a SQLite without `sqlite_dbpage`.
        """
        try:
            yield from self._pages() if self._has_pages() else self._whole()
        except sqlite3.Error as err:
            raise BackupStorageError(f"{self.path.name}: cannot be read: {err}") from err

    def _has_pages(self) -> bool:
        return bool(self.con.execute("SELECT 1 FROM pragma_module_list WHERE name = 'sqlite_dbpage'").fetchone())

    def _pages(self) -> Iterator[bytes]:
        given = 0
        rows = self.con.execute("SELECT data FROM sqlite_dbpage ORDER BY pgno")
        while pages := rows.fetchmany(PAGES_AT_ONCE):
            chunk = b"".join(page[0] for page in pages)
            given += len(chunk)
            yield chunk
        if given != self.size_bytes:
            raise BackupStorageError(f"{self.path.name}: expected {self.size_bytes} bytes of pages, got {given}")

    def _whole(self) -> Iterator[bytes]:
        if self.size_bytes > IN_MEMORY_BYTES:
            raise BackupStorageError(
                f"{self.path.name}: {self.size_bytes} bytes are too many for a Python whose SQLite has no sqlite_dbpage"
                f" ({IN_MEMORY_BYTES} at most): run it with the Python of Debian"
            )
        yield self.con.serialize()


@contextmanager
def snapshot(path: Path) -> Iterator[Snapshot]:
    """Give one moment of a database, until the block ends. Its content is never changed, nor brought up to date.

    Where nobody else has it open, its journal is taken in at the end.

    Raises:
        BackupStorageError: it cannot be read.
    """
    if not path.exists():
        raise BackupStorageError(f"{path}: expected a database, there is none")
    try:
        with closing(files.connect_to_check(path)) as con:
            con.execute("BEGIN")
            con.execute("SELECT count(*) FROM sqlite_schema").fetchone()  # the moment begins with the first read
            yield Snapshot(path, con)
    except sqlite3.Error as err:
        raise BackupStorageError(f"{path.name}: cannot be read: {err}") from err
