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
    with closing(files.open_database(path, [V1], 1)) as con:
        con.execute("INSERT INTO a VALUES (1)")
    for _ in range(2):
        with closing(files.open_database(path, [V1, V2], 1)) as con:
            assert [tuple(row) for row in con.execute("SELECT n, m FROM a")] == [(1, None)]
    assert version(path) == 2


def test_a_migration_tells_that_it_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "one.db"
    told: list[int] = []
    with closing(files.open_database(path, [V1, V2], 1, told.append)) as con:
        con.executemany("INSERT INTO a VALUES (?, ?)", ((n, n) for n in range(1000)))
    assert not told, "a short one"
    monkeypatch.setattr(files, "MIGRATION_STEPS", 1000)
    copied = "CREATE TABLE b (n INTEGER) STRICT; INSERT INTO b SELECT n FROM a ORDER BY -n;"
    with closing(files.open_database(path, [V1, V2, copied], 1, told.append)) as con:
        assert len(told) > 5
        assert set(told) == {3}
        told.clear()
        con.execute("SELECT sum(n) FROM b").fetchone()
        assert not told, "the migration is over"
    assert version(path) == 3


def test_a_newer_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "one.db"
    files.open_database(path, [V1, V2], 2).close()
    with pytest.raises(
        NewerDatabaseError, match="version 1 or older, got 2, to which programs of version 2 or newer may write"
    ):
        files.open_database(path, [V1], 1)
    assert version(path) == 2


def test_a_program_goes_on_with_a_newer_database_that_lets_it(tmp_path: Path) -> None:
    path = tmp_path / "one.db"
    files.open_database(path, [V1], 1).close()
    files.open_database(path, [V1, V2], 1).close()
    with closing(files.open_database(path, [V1], 1)) as con:
        con.execute("INSERT INTO a (n) VALUES (1)")
    assert version(path) == 2, "the older program leaves the version as it is"
    with closing(files.open_database(path, [V1, V2], 1)) as con:
        assert [tuple(row) for row in con.execute("SELECT n, m FROM a")] == [(1, None)]


@pytest.mark.parametrize(
    "said", ["DROP TABLE schema_writers", "DELETE FROM schema_writers", "UPDATE schema_writers SET oldest = 2"]
)
def test_a_newer_database_that_does_not_let_it_refuses(tmp_path: Path, said: str) -> None:
    path = tmp_path / "one.db"
    with closing(files.open_database(path, [V1, V2], 1)) as con:
        con.execute(said)
    with pytest.raises(NewerDatabaseError, match="got 2, to which programs of version 2"):
        files.open_database(path, [V1], 1)


def test_who_may_write_changes_with_the_version_or_not_at_all(tmp_path: Path) -> None:
    """A power cut between a migration and its word would let an older program write to what it does not know."""
    path = tmp_path / "one.db"
    files.open_database(path, [V1, V2], 1).close()
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        files.open_database(path, [V1, V2, "INSERT INTO nowhere VALUES (1);"], 3)
    files.open_database(path, [V1], 1).close()
    files.open_database(path, [V1, V2, "DROP TABLE a;"], 3).close()
    with pytest.raises(NewerDatabaseError, match="got 3, to which programs of version 3"):
        files.open_database(path, [V1, V2], 1)


def test_a_migration_that_fails_leaves_the_version_before_it(tmp_path: Path) -> None:
    path = tmp_path / "one.db"
    files.open_database(path, [V1], 1).close()
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        files.open_database(path, [V1, f"{V2} INSERT INTO nowhere VALUES (1);"], 1)
    assert version(path) == 1
    with closing(files.open_database(path, [V1, V2], 1)) as con:
        assert con.execute("SELECT m FROM a").fetchall() == []


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(sqlite3.OperationalError, match="unable to open"):
        files.open_database(tmp_path / "none" / "one.db", [V1], 1)


def test_a_reader_cannot_write(tmp_path: Path) -> None:
    path = tmp_path / "one.db"
    files.open_database(path, [V1], 1).close()
    with closing(files.connect(path, readonly=True)) as con, pytest.raises(sqlite3.OperationalError, match="readonly"):
        con.execute("INSERT INTO a VALUES (1)")


def test_damage_is_said_of_a_database_that_is_in_use(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with closing(files.open_database(path, ["CREATE TABLE t (x BLOB);"], 1)) as con:
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


def test_text_that_changed_below_its_index_is_damage(tmp_path: Path) -> None:
    """The simulation's page-flipped, seed 6: a page that held the end of a row read as zeros."""
    path = tmp_path / "a.db"
    with closing(files.open_database(path, ["CREATE TABLE t (x BLOB, y TEXT); CREATE INDEX i ON t (y);"], 1)) as con:
        con.execute("INSERT INTO t VALUES (zeroblob(5000), 'the text at the end of the row')")
        con.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    assert files.damage(path) == ""
    data = path.read_bytes()
    assert data.count(b"the text at") == 2, "in the row and in the index"
    places = [data.index(b"the text at"), data.rindex(b"the text at")]
    found = []
    for place in places:
        path.write_bytes(data[:place] + bytes(8) + data[place + 8 :])
        found.append(files.damage(path))
    assert all(found), found


def test_a_row_that_breaks_its_table_is_damage(tmp_path: Path) -> None:
    """The simulation's page-flipped, seed 29420230: a page that read as a good one of another table."""
    path = tmp_path / "a.db"
    with closing(files.open_database(path, ["CREATE TABLE t (one INTEGER PRIMARY KEY CHECK (one = 1));"], 1)) as con:
        con.execute("PRAGMA ignore_check_constraints = ON")
        con.execute("INSERT INTO t VALUES (2)")
        before = path.read_bytes()
        assert "CHECK constraint failed" in files.damage(path)
        assert path.read_bytes() == before
    assert "unable to open" in files.damage(tmp_path / "none.db")
    assert not (tmp_path / "none.db").exists()


PARTIAL = """
CREATE TABLE t (x INTEGER PRIMARY KEY, done INTEGER, y TEXT){};
CREATE INDEX waiting ON t (x) WHERE done IS NULL;
CREATE INDEX texts ON t (y);
CREATE INDEX late ON t (done)
    WHERE done > 10;
"""


def page_of(path: Path, name: str) -> tuple[int, int]:
    """Return where the first page of a table or an index begins in its file, and where it ends."""
    with closing(files.connect(path, readonly=True)) as con:
        (root,) = con.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (name,)).fetchone()
        (size,) = con.execute("PRAGMA page_size").fetchone()
    return (root - 1) * size, root * size


def put_page(path: Path, name: str, page: bytes) -> None:
    """Let the first page of a table or an index be another one."""
    start, end = page_of(path, name)
    data = path.read_bytes()
    path.write_bytes(data[:start] + page + data[end:])


@pytest.mark.parametrize("kind", ["", " WITHOUT ROWID"])
def test_an_older_page_of_a_partial_index_is_damage(kind: str, tmp_path: Path) -> None:
    """SQLite's check counts no entries of a partial index: rows that were done would be given out as waiting ones."""
    path = tmp_path / "a.db"
    with closing(files.open_database(path, [PARTIAL.format(kind)], 1)) as con:
        con.executemany("INSERT INTO t VALUES (?,?,?)", [(1, None, "a"), (2, None, "b"), (3, 11, "c")])
        con.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        start, end = page_of(path, "waiting")
        older = path.read_bytes()[start:end]
        con.execute("UPDATE t SET done = 1 WHERE x = 1")
    assert files.damage(path) == ""
    put_page(path, "waiting", older)
    assert files.damage(path) == "index waiting of table t: expected 1 entries, by the table's rows, got 2"


@pytest.mark.parametrize("kind", ["", " WITHOUT ROWID"])
@pytest.mark.parametrize("index", ["waiting", "texts", "late"])
@pytest.mark.parametrize("rows", [0, 1])
def test_a_table_s_page_in_place_of_an_index_is_damage(kind: str, index: str, rows: int, tmp_path: Path) -> None:
    """The simulation's page-flipped, seed 29921515: SQLite's check found nothing, and the first use failed."""
    path = tmp_path / "a.db"
    with closing(files.open_database(path, [f"{PARTIAL.format(kind)} CREATE TABLE u (z TEXT);"], 1)) as con:
        con.executemany("INSERT INTO u VALUES (?)", [("z",)] * rows)
    assert files.damage(path) == ""
    start, end = page_of(path, "u")
    put_page(path, index, path.read_bytes()[start:end])
    assert files.damage(path)


def test_a_check_in_use_compares_one_state(tmp_path: Path) -> None:
    """Rows that are written between two looks are no damage."""
    path = tmp_path / "a.db"
    with (
        closing(files.open_database(path, [PARTIAL.format("")], 1)) as con,
        closing(files.connect_to_check(path)) as reader,
    ):
        asked: list[str] = []

        def write_more(statement: str) -> None:
            asked.append(statement)
            con.execute("INSERT INTO t VALUES (NULL, NULL, 'a')")

        reader.set_trace_callback(write_more)
        assert files.first_damage(reader) == ""
        reader.set_trace_callback(None)
        assert len(asked) > 4
        assert not reader.in_transaction
        reader.execute("BEGIN")
        assert files.first_damage(reader) == ""
        assert reader.in_transaction, "it was the caller's"


def test_a_damaged_schema_that_is_no_text_is_damage(tmp_path: Path) -> None:
    """SQLite quotes the schema in its message, and Python cannot decode it."""
    path = tmp_path / "one.db"
    files.open_database(path, [V1], 1).close()
    data = path.read_bytes()
    assert data.count(b"CREATE TABLE a") == 1
    path.write_bytes(data.replace(b"CREATE TABLE a", b"\xa8REATE TABLE a"))
    with pytest.raises(sqlite3.DatabaseError, match="malformed database schema") as caught:
        files.open_database(path, [V1], 1)
    assert caught.value.sqlite_errorcode == sqlite3.SQLITE_CORRUPT
    assert "malformed database schema" in files.damage(path)
