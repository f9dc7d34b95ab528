"""The file of series: `series.db` beside the agent's database.

* A row has the values of 128 series of one device in one bucket (`series_rows`). Rows of a resolution are in order of
  time, so that writing appends and the oldest are dropped as a range.
* 5 minutes come from polls; hours are made of the 5 minutes on disk, days of hours. A crash loses the bucket that was
  running, and nothing else.
* WAL without an fsync for each commit: after a power cut the file is whole, and the last seconds may lack.
* The size has a bound. Beyond it the oldest rows go, of the resolution that has most beyond its share.
* A file that cannot be opened is set aside, and a new one begins: no agent stays down for its plots.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Final

from agent.polling.series_rows import Bucket, merged, packed, unpacked

_log = logging.getLogger("agent.polling")
STEPS: Final[Mapping[int, float]] = {300: 0.45, 3600: 0.45, 86_400: 0.10}
"""Seconds of a bucket -> its share of the bound. 45 % are 5 minutes of 11 days where 2 GiB serve 144,000 series."""
FINEST: Final = min(STEPS)
DAY_S: Final = 86_400
MADE_OF: Final = {3600: 300, 86_400: 3600}
ROW_BYTES: Final = 24
"""What SQLite adds to the bytes of a row, about."""
SEEN_DAYS: Final = 60
"""A block of series that had no value for so long is forgotten: clients and ONUs come and go. Chosen arbitrarily."""
VERSION: Final = 1
_TABLES: Final = """
CREATE TABLE block (id INTEGER PRIMARY KEY, target TEXT NOT NULL, names TEXT NOT NULL, seen_day INTEGER NOT NULL);
CREATE TABLE step (step INTEGER PRIMARY KEY, bytes INTEGER NOT NULL, rolled_s INTEGER NOT NULL);
INSERT INTO step (step, bytes, rolled_s) VALUES (300, 0, 0), (3600, 0, 0), (86400, 0, 0);
CREATE TABLE bucket (step INTEGER NOT NULL, at_s INTEGER NOT NULL, block INTEGER NOT NULL, count INTEGER NOT NULL,
    data BLOB NOT NULL, PRIMARY KEY (step, at_s, block)) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class BlockRow:
    """Names of the series of one block, in the order of their slots: (key of a part or sensor, name of the value)."""

    id: int
    target: str
    names: tuple[tuple[str, str], ...]
    seen_day: int


@dataclass(frozen=True, slots=True)
class BucketRow:
    """The values of a block in the bucket of 5 minutes that begins at a time, unix seconds."""

    block: int
    at_s: int
    bucket: Bucket


class SeriesFile:
    """The open file. `write` is for one thread at a time; `read` opens a connection of its own."""

    def __init__(self, path: Path, bytes_most: int) -> None:
        """Open or create the file; one that is damaged or newer is renamed to `….aside`.

        Args:
            path: the file; its folder exists.
            bytes_most: the bound of its size.

        Raises:
            sqlite3.Error: the folder cannot be written.
        """
        self.path, self._bytes_most = path, bytes_most
        try:
            self._con = _opened(path)
        except sqlite3.DatabaseError as err:
            if not path.exists():
                raise
            self._con = self._anew(err)

    def begin_anew(self, cause: Exception) -> None:
        """Set the file aside, which turned out to be damaged, and begin a new one.

        Raises:
            sqlite3.Error: the folder cannot be written.
        """
        self._con.close()
        self._con = self._anew(cause)

    def _anew(self, cause: Exception) -> sqlite3.Connection:
        _log.warning("series-set-aside", extra={"cause": str(cause)})
        for tail in ("", "-wal", "-shm"):
            side = self.path.with_name(f"{self.path.name}{tail}")
            if side.exists():
                side.replace(self.path.with_name(f"{self.path.name}.aside{tail}"))
        return _opened(self.path)

    def close(self) -> None:
        """Close the file."""
        self._con.close()

    def blocks(self, today: int) -> list[BlockRow]:
        """Return the blocks that had values lately, and forget the others."""
        with self._con as con:
            con.execute("BEGIN IMMEDIATE")
            # The last one stays: its number must not be given again while rows of it are on disk.
            forget = "DELETE FROM block WHERE seen_day < ? AND id < (SELECT max(id) FROM block)"
            con.execute(forget, (today - SEEN_DAYS,))
        return [
            BlockRow(row[0], row[1], _names(row[2]), row[3])
            for row in self._con.execute("SELECT id, target, names, seen_day FROM block ORDER BY id")
        ]

    def write(
        self, blocks: Sequence[BlockRow], rows: Sequence[BucketRow], now_s: int, dropped: Sequence[int] = ()
    ) -> None:
        """Write ended buckets, make the hours and days that ended with them, and keep the bound.

        The names of `dropped` blocks go; their rows are nobody's until they go with their time.

        Raises:
            sqlite3.Error: it cannot be written; nothing of it was.
            ValueError: a row on disk is none.
        """
        with self._con as con:
            con.execute("BEGIN IMMEDIATE")
            con.executemany(
                "INSERT OR REPLACE INTO block (id, target, names, seen_day) VALUES (?, ?, ?, ?)",
                [(b.id, b.target, "\n".join("\t".join(name) for name in b.names), b.seen_day) for b in blocks],
            )
            con.executemany("DELETE FROM block WHERE id = ?", [(block,) for block in dropped])
            self._count(FINEST, sum(self._put(FINEST, row.at_s, row.block, row.bucket) for row in rows))
            for step, finer in MADE_OF.items():
                self._roll(step, finer, now_s)
            self._bound()

    def read(self, block: int, since_s: int, until_s: int, points_most: int) -> tuple[int, list[tuple[int, Bucket]]]:
        """Return the buckets of a block in a time, oldest first, with the seconds of each.

        The resolution is the finest that has about `points_most` of them at most, and goes back as far. Hours and days
        that are not made yet are made of finer ones for this answer.
        """
        with closing(sqlite3.connect(f"{self.path.absolute().as_uri()}?mode=ro", uri=True)) as con:
            con.execute("BEGIN")
            step = _step(con, since_s, until_s, points_most)
            return step, list(_rows(con, block, step, since_s // step * step, until_s))

    def _put(self, step: int, at_s: int, block: int, bucket: Bucket) -> int:
        """Write a bucket, merged with one of before a restart; return how many bytes there are more."""
        before = self._con.execute(
            "SELECT count, data FROM bucket WHERE step = ? AND at_s = ? AND block = ?", (step, at_s, block)
        ).fetchone()
        if before is not None:
            bucket = merged([unpacked(*before), bucket])
        data = packed(bucket)
        self._con.execute(
            "INSERT OR REPLACE INTO bucket (step, at_s, block, count, data) VALUES (?, ?, ?, ?, ?)",
            (step, at_s, block, bucket.count, data),
        )
        return len(data) - len(before[1]) if before is not None else len(data) + ROW_BYTES

    def _count(self, step: int, more_bytes: int) -> None:
        self._con.execute("UPDATE step SET bytes = bytes + ? WHERE step = ?", (more_bytes, step))

    def _roll(self, step: int, finer: int, now_s: int) -> None:
        """Make the buckets that ended and are not made yet, each of the finer ones in it."""
        (rolled_s,) = self._con.execute("SELECT rolled_s FROM step WHERE step = ?", (step,)).fetchone()
        ended_s = (now_s - 2 * FINEST) // step * step  # the finest ones are written a little after they ended
        if ended_s <= rolled_s:
            return
        oldest = "SELECT min(at_s) FROM bucket WHERE step = ? AND at_s >= ?"
        first = self._con.execute(oldest, (finer, rolled_s)).fetchone()[0]
        at_s = ended_s if first is None else max(first // step * step, rolled_s)
        while at_s < ended_s:
            rows = self._con.execute(
                "SELECT block, count, data FROM bucket WHERE step = ? AND at_s >= ? AND at_s < ? ORDER BY block",
                (finer, at_s, at_s + step),
            ).fetchall()
            more = 0
            for block, group in groupby(rows, key=lambda row: int(row[0])):
                more += self._put(step, at_s, block, merged([unpacked(count, data) for _, count, data in group]))
            self._count(step, more)
            at_s += step
        self._con.execute("UPDATE step SET rolled_s = ? WHERE step = ?", (ended_s, step))

    def _bound(self) -> None:
        """Drop the oldest rows until the pages in use are within the bound."""
        while self._used() > self._bytes_most:
            sizes = dict(self._con.execute("SELECT step, bytes FROM step"))
            for step in sorted(STEPS, key=lambda step: sizes[step] / STEPS[step], reverse=True):
                if self._drop_oldest(step):
                    break
            else:
                return

    def _drop_oldest(self, step: int) -> bool:
        """Drop the oldest bucket of a resolution; whether there was one."""
        (at_s,) = self._con.execute("SELECT min(at_s) FROM bucket WHERE step = ?", (step,)).fetchone()
        if at_s is None:
            return False
        of = (step, at_s)
        sizes = "SELECT sum(length(data) + ?) FROM bucket WHERE step = ? AND at_s = ?"
        (size,) = self._con.execute(sizes, (ROW_BYTES, *of)).fetchone()
        self._con.execute("DELETE FROM bucket WHERE step = ? AND at_s = ?", of)
        self._con.execute("UPDATE step SET bytes = max(bytes - ?, 0) WHERE step = ?", (size, step))
        return True

    def _used(self) -> int:
        pages, free, size = (
            self._con.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
        )
        return int((pages - free) * size)


def _step(con: sqlite3.Connection, since_s: int, until_s: int, points_most: int) -> int:
    """Return the resolution to read a time by."""
    goes_back_to, reach_s = {}, until_s
    for step in STEPS:
        oldest_s = con.execute("SELECT min(at_s) FROM bucket WHERE step = ?", (step,)).fetchone()[0]
        goes_back_to[step] = reach_s = min(reach_s, until_s if oldest_s is None else oldest_s)
    fine = [step for step in STEPS if (until_s - since_s) / step <= points_most] or [max(STEPS)]
    for step in fine:
        if goes_back_to[step] <= since_s:
            return step
    # None goes back as far: the one that goes back farthest by a day or more, else the finest.
    return min(fine, key=lambda step: (goes_back_to[step] // DAY_S, step))


def _rows(con: sqlite3.Connection, block: int, step: int, since_s: int, until_s: int) -> Iterator[tuple[int, Bucket]]:
    rolled_s = until_s
    if step in MADE_OF:
        (rolled_s,) = con.execute("SELECT rolled_s FROM step WHERE step = ?", (step,)).fetchone()
    for at_s in range(-(-since_s // step) * step, min(until_s, max(rolled_s, since_s)), step):
        # One look-up each: rows of one block do not lie side by side, and a scan would read those of all devices.
        one = "SELECT count, data FROM bucket WHERE step = ? AND at_s = ? AND block = ?"
        row = con.execute(one, (step, at_s, block)).fetchone()
        if row is not None:
            yield at_s, unpacked(*row)
    if step in MADE_OF and rolled_s < until_s:
        finer = _rows(con, block, MADE_OF[step], max(rolled_s, since_s), until_s)
        for begin_s, group in groupby(finer, key=lambda found: found[0] // step * step):
            yield begin_s, merged([bucket for _, bucket in group])


def _names(text: str) -> tuple[tuple[str, str], ...]:
    pairs = (line.partition("\t") for line in text.split("\n") if line)
    return tuple((key, name) for key, _, name in pairs)


def _opened(path: Path) -> sqlite3.Connection:
    con = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5.0)
    try:
        con.execute("PRAGMA journal_mode = WAL")
        con.execute("PRAGMA synchronous = NORMAL")
        con.execute("PRAGMA journal_size_limit = 4194304")
        (version,) = con.execute("PRAGMA user_version").fetchone()
        if version == 0:
            con.executescript(f"BEGIN IMMEDIATE;\n{_TABLES}\nPRAGMA user_version = {VERSION};\nCOMMIT;")
    except BaseException:
        con.close()
        raise
    if version > VERSION:
        con.close()
        raise sqlite3.DatabaseError(f"expected version {VERSION} or older, got {version}")
    return con
