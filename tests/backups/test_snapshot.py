"""Pages of a database in use: one moment of it, whatever is written meanwhile."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from backups import snapshot as snapshots
from backups.errors import BackupStorageError
from backups.snapshot import Snapshot, snapshot


@pytest.fixture
def writer(tmp_path: Path) -> sqlite3.Connection:
    con = sqlite3.connect(tmp_path / "a.db", isolation_level=None)
    con.execute("PRAGMA journal_mode = WAL")
    con.execute("CREATE TABLE t (n INTEGER PRIMARY KEY, body BLOB)")
    return con


def fill(con: sqlite3.Connection, start: int, end: int) -> None:
    con.execute("BEGIN")
    con.executemany("INSERT INTO t VALUES (?, ?)", [(n, bytes([n % 256]) * 3000) for n in range(start, end)])
    con.execute("COMMIT")


def numbers(data: bytes, path: Path) -> list[int]:
    path.write_bytes(data)
    with closing(sqlite3.connect(path)) as con:
        assert con.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        return [n for (n,) in con.execute("SELECT n FROM t ORDER BY n")]


def test_it_is_one_moment_while_rows_and_checkpoints_come(tmp_path: Path, writer: sqlite3.Connection) -> None:
    fill(writer, 0, 500)
    with snapshot(tmp_path / "a.db") as taken:
        assert not taken.refuse_damaged()
        chunks = taken.chunks()
        data = next(chunks)
        fill(writer, 500, 900)
        writer.execute("DELETE FROM t WHERE n < 100")
        writer.execute("PRAGMA wal_checkpoint(PASSIVE)")
        data += b"".join(chunks)
        assert len(data) == taken.size_bytes
    assert numbers(data, tmp_path / "copy.db") == list(range(500))
    with snapshot(tmp_path / "a.db") as later:
        assert numbers(b"".join(later.chunks()), tmp_path / "later.db") == list(range(100, 900))


def test_no_writer_waits(tmp_path: Path, writer: sqlite3.Connection) -> None:
    fill(writer, 0, 10)
    writer.execute("PRAGMA busy_timeout = 0")
    with snapshot(tmp_path / "a.db") as taken:
        next(taken.chunks())
        fill(writer, 10, 20)  # raises where it would have to wait
        assert writer.execute("SELECT count(*) FROM t").fetchone()[0] == 20


def test_without_table_of_pages_small_one_is_copied_in_memory(
    tmp_path: Path, writer: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(writer, 0, 50)
    monkeypatch.setattr(Snapshot, "_has_pages", lambda _: False)
    with snapshot(tmp_path / "a.db") as taken:
        assert numbers(b"".join(taken.chunks()), tmp_path / "copy.db") == list(range(50))
        monkeypatch.setattr(snapshots, "IN_MEMORY_BYTES", taken.size_bytes - 1)
        with pytest.raises(BackupStorageError, match="no sqlite_dbpage"):
            next(taken.chunks())


def test_a_damaged_database_is_refused(tmp_path: Path, writer: sqlite3.Connection) -> None:
    fill(writer, 0, 500)
    writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    writer.close()
    with (tmp_path / "a.db").open("r+b") as file:
        file.seek(4096 * 5)
        file.write(b"\xff" * 4096 * 3)
    with (
        snapshot(tmp_path / "a.db") as taken,
        pytest.raises(BackupStorageError, match=r"a\.db: it is damaged, so no backup"),
    ):
        taken.refuse_damaged()


def test_a_row_that_breaks_its_table_is_refused(tmp_path: Path, writer: sqlite3.Connection) -> None:
    writer.execute("CREATE TABLE one (n INTEGER PRIMARY KEY CHECK (n = 1))")
    writer.execute("PRAGMA ignore_check_constraints = ON")
    writer.execute("INSERT INTO one VALUES (2)")
    with snapshot(tmp_path / "a.db") as taken, pytest.raises(BackupStorageError, match="CHECK constraint failed"):
        taken.refuse_damaged()


def test_an_index_of_other_values_is_refused(tmp_path: Path, writer: sqlite3.Connection) -> None:
    fill(writer, 0, 9)
    writer.execute("CREATE INDEX i ON t (n % 5)")
    writer.execute("PRAGMA writable_schema = ON")
    writer.execute("UPDATE sqlite_schema SET sql = 'CREATE INDEX i ON t (n % 7)' WHERE name = 'i'")
    writer.execute("PRAGMA writable_schema = RESET")
    with snapshot(tmp_path / "a.db") as taken, pytest.raises(BackupStorageError, match="missing from index i"):
        taken.refuse_damaged()


def test_a_snapshot_writes_nothing(tmp_path: Path, writer: sqlite3.Connection) -> None:
    with snapshot(tmp_path / "a.db") as taken, pytest.raises(sqlite3.OperationalError, match="readonly"):
        taken.con.execute("INSERT INTO t VALUES (1, x'')")
    assert not writer.execute("SELECT count(*) FROM t").fetchone()[0]


def test_what_is_no_database(tmp_path: Path) -> None:
    with pytest.raises(BackupStorageError, match="there is none"), snapshot(tmp_path / "none.db"):
        pass
    assert not (tmp_path / "none.db").exists()
    (tmp_path / "text").write_text("no database" * 100)
    with pytest.raises(BackupStorageError, match="text: cannot be read"), snapshot(tmp_path / "text"):
        pass
