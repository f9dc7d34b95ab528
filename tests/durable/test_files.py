"""Opening a database: migrations, a newer one, and one that fails half-way."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from durable import files
from durable.errors import NewerDatabaseError

V1 = "CREATE TABLE a (n INTEGER) STRICT;"
V2 = "ALTER TABLE a ADD COLUMN m INTEGER;"


def version(path: Path) -> int:
    with closing(sqlite3.connect(path)) as con:
        return int(con.execute("PRAGMA user_version").fetchone()[0])


def test_migrations_go_on_from_where_the_database_is(tmp_path: Path) -> None:
    path = tmp_path / "one.db"
    with closing(files.open_database(path, [V1])) as con:
        con.execute("INSERT INTO a VALUES (1)")
    for _ in range(2):
        with closing(files.open_database(path, [V1, V2])) as con:
            assert [tuple(row) for row in con.execute("SELECT n, m FROM a")] == [(1, None)]
    assert version(path) == 2


def test_a_newer_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "one.db"
    files.open_database(path, [V1, V2]).close()
    with pytest.raises(NewerDatabaseError, match="expected database version 1 or older, got 2"):
        files.open_database(path, [V1])
    assert version(path) == 2


def test_a_migration_that_fails_leaves_the_version_before_it(tmp_path: Path) -> None:
    path = tmp_path / "one.db"
    files.open_database(path, [V1]).close()
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        files.open_database(path, [V1, f"{V2} INSERT INTO nowhere VALUES (1);"])
    assert version(path) == 1
    with closing(files.open_database(path, [V1, V2])) as con:
        assert con.execute("SELECT m FROM a").fetchall() == []


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(sqlite3.OperationalError, match="unable to open"):
        files.open_database(tmp_path / "none" / "one.db", [V1])


def test_a_reader_cannot_write(tmp_path: Path) -> None:
    path = tmp_path / "one.db"
    files.open_database(path, [V1]).close()
    with closing(files.connect(path, readonly=True)) as con, pytest.raises(sqlite3.OperationalError, match="readonly"):
        con.execute("INSERT INTO a VALUES (1)")


def test_damage_is_said_of_a_database_that_is_in_use(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with closing(files.open_database(path, ["CREATE TABLE t (x BLOB);"])) as con:
        con.execute("INSERT INTO t VALUES (randomblob(100000))")
        con.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        assert files.damage(path) == ""
        root = con.execute("SELECT rootpage FROM sqlite_master WHERE name = 't'").fetchone()[0]
        size = con.execute("PRAGMA page_size").fetchone()[0]
        with path.open("r+b") as file:
            file.seek((root - 1) * size)
            file.write(b"\xff" * size)
        assert files.damage(path)
    (tmp_path / "text").write_text("no database at all" * 100)
    assert "not a database" in files.damage(tmp_path / "text")
