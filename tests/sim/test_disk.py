"""The simulated disk: what SQLite keeps on it when the power is cut, when it lies, and when it is full."""

from __future__ import annotations

import logging
import random
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

import pytest

from agent.runtime.supervise import is_unreadable
from agent.store.mark_file import LogMark, MarkFile
from durable import files
from tests.sim.all_parts import PARTS
from tests.sim.disk import Rot, SimulatedDisk
from tests.sim.faults import FAULTS
from tests.sim.parts.disk import PAGE, rows_of
from tests.sim.run import run_seed
from tests.sim.witness import beside_the_disk

GARBAGE = (b"\xff" * PAGE, b"\xff" * 16 + b"\x02" + bytes(PAGE - 17))
"""Of a first page; the second names a page size that SQLite knows."""
MIGRATIONS = ("CREATE TABLE kept (n INTEGER PRIMARY KEY, data BLOB NOT NULL);",)


def disk_at(folder: Path, seed: int = 1) -> SimulatedDisk:
    return SimulatedDisk((folder,), random.Random(seed))


def write(con: sqlite3.Connection, commits: int) -> int:
    """Commit again and again; return how many commits returned."""
    for n in range(commits):
        try:
            con.execute("INSERT INTO kept VALUES (?, randomblob(3000))", (n,))
        except sqlite3.OperationalError:
            return n
    return commits


def kept(path: Path) -> int:
    """Return how many rows are there; they are the first ones, and the file is in order."""
    with closing(sqlite3.connect(path)) as con:
        assert con.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        rows = [n for (n,) in con.execute("SELECT n FROM kept ORDER BY n")]
    assert rows == list(range(len(rows)))
    return len(rows)


def written_and_kept(folder: Path, cut_at: int, synchronous: str = "FULL") -> tuple[int, int]:
    """Cut the power at an operation of the disk; return how many commits returned, and how many are there."""
    disk = disk_at(folder, cut_at)
    path = folder / "some.db"
    with disk.attached():
        con = files.open_database(path, MIGRATIONS, 1)
        con.execute(f"PRAGMA synchronous = {synchronous}")
        con.execute("PRAGMA wal_autocheckpoint = 12")
        disk.after_operations(cut_at, disk.cut)
        returned = write(con, 60)
        with suppress(sqlite3.Error):
            con.close()
        if not disk.powered:
            disk.put(disk.left)
        return returned, kept(path)


@pytest.mark.parametrize("seed", range(4))
def test_a_power_cut_takes_no_commit_that_returned(tmp_path: Path, seed: int) -> None:
    lost_in_flight = 0
    for n in range(40):
        folder = tmp_path / str(n)
        folder.mkdir()
        returned, there = written_and_kept(folder, 1 + seed + n * 4)
        assert returned <= there <= returned + 1
        lost_in_flight += there == returned < 60
    assert lost_in_flight > 10


def test_a_commit_without_a_sync_may_be_lost(tmp_path: Path) -> None:
    lost = 0
    for n in range(20):
        folder = tmp_path / str(n)
        folder.mkdir()
        returned, there = written_and_kept(folder, 30 + n * 5, "NORMAL")
        lost += there < returned
    assert lost > 5


def test_a_disk_that_lies_loses_commits_that_returned(tmp_path: Path) -> None:
    disk = disk_at(tmp_path)
    with disk.attached():
        con = files.open_database(tmp_path / "some.db", MIGRATIONS, 1)
        write(con, 10)
        disk.lies = lambda path: True
        con.executemany("INSERT INTO kept VALUES (?, '')", [(n,) for n in range(10, 20)])
        disk.cut()
        with suppress(sqlite3.Error):
            con.close()
        disk.put(disk.left)
        assert 10 <= kept(tmp_path / "some.db") < 20


def test_zeros_in_a_long_row_alter_it_and_sqlite_finds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "some.db"
    with closing(sqlite3.connect(path)) as con:
        con.execute("CREATE TABLE kept (long TEXT, state TEXT)")
        con.execute("INSERT INTO kept VALUES (?, 'planned')", ("x" * 2 * PAGE,))
        con.commit()
    whole = path.read_bytes()
    last, leaf = (whole[:-PAGE] + bytes(PAGE), whole[:PAGE] + bytes(PAGE) + whole[2 * PAGE :])
    assert rows_of({path: whole}, path) == rows_of({path: whole}, path)
    assert rows_of({path: last}, path) not in (None, rows_of({path: whole}, path))
    assert rows_of({path: leaf}, path) is None


@pytest.mark.parametrize("given", [b"\xff" * PAGE, bytes(PAGE), None], ids=["garbage", "nothing", "error"])
def test_a_page_rots_until_it_is_written_again(tmp_path: Path, given: bytes | None) -> None:
    disk, path = disk_at(tmp_path), tmp_path / "some.db"
    with disk.attached(), closing(files.open_database(path, MIGRATIONS, 1)) as con:
        con.executemany("INSERT INTO kept VALUES (?, '')", [(n,) for n in range(5)])
        con.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (page,) = con.execute("SELECT rootpage FROM sqlite_master WHERE name = 'kept'").fetchone()
        reads = list[int]()
        disk.on_rotten = lambda: reads.append(page)
        disk.let_rot(Rot(path, (page - 1) * PAGE, given, PAGE))
        with (
            closing(files.connect(path, readonly=True)) as reader,
            pytest.raises(sqlite3.Error, match=r"malformed|disk I/O error") as caught,
        ):
            reader.execute("SELECT n FROM kept").fetchall()
        assert is_unreadable(caught.value)
        assert reads
        with closing(sqlite3.connect(beside_the_disk(path), uri=True)) as witness:
            assert len(witness.execute("SELECT n FROM kept").fetchall()) == 5
        con.execute("INSERT INTO kept VALUES (5, '')")
        con.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        assert disk.rot is None
        assert kept(path) == 6


@pytest.mark.parametrize("in_wal", [True, False], ids=["page-in-wal", "page-in-file"])
@pytest.mark.parametrize("given", [*GARBAGE, bytes(PAGE), None], ids=["garbage", "page-size", "nothing", "error"])
def test_a_rotten_header_shows_once_it_is_read_as_a_page(tmp_path: Path, given: bytes | None, in_wal: bool) -> None:
    disk, path = disk_at(tmp_path), tmp_path / "some.db"
    with disk.attached(), closing(files.open_database(path, MIGRATIONS, 1)) as con:
        con.execute("INSERT INTO kept VALUES (0, '')")
        con.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        if in_wal:
            con.execute("PRAGMA user_version = 2")
        told = list[Path]()
        disk.on_rotten = lambda: told.append(path)
        disk.let_rot(Rot(path, 0, given, PAGE))
        failed = False
        try:
            with closing(files.connect(path, readonly=True)) as reader:
                assert reader.execute("SELECT n FROM kept").fetchone()["n"] == 0
        except sqlite3.DatabaseError as err:
            failed = is_unreadable(err)
        assert failed == bool(told) == (given is None or not in_wal)


def test_a_full_disk_refuses_what_grows_until_there_is_room(tmp_path: Path) -> None:
    disk = disk_at(tmp_path)
    with disk.attached(), closing(files.open_database(tmp_path / "some.db", MIGRATIONS, 1)) as con:
        refused = list[Path]()
        disk.full, disk.on_refused = True, refused.append
        with pytest.raises(sqlite3.OperationalError, match="full"):
            con.execute("INSERT INTO kept VALUES (0, randomblob(9000))")
        assert refused == [tmp_path / "some.db-wal"]
        disk.full = False
        assert write(con, 5) == 5


def test_a_mark_that_is_torn_leaves_the_one_before(tmp_path: Path) -> None:
    seen = set[int]()
    for seed in range(30):
        folder = tmp_path / str(seed)
        folder.mkdir()
        disk = disk_at(folder, seed)
        with disk.attached():
            marks = MarkFile(folder / "mark", lambda data: str(sum(data)))
            marks.write(LogMark(1, b"root"))
            marks.write(LogMark(2, b"root"))
            disk.after_operations(2, disk.cut)
            with suppress(Exception):
                marks.write(LogMark(3, b"root"))
            marks.close()
            disk.put(disk.left)
            found = MarkFile(folder / "mark", lambda data: str(sum(data)))
            found.close()
        assert found.mark is not None
        seen.add(found.mark.size)
    assert seen == {2, 3}


@pytest.mark.parametrize(
    ("seed", "damaged"),
    [
        pytest.param(4, 2, id="a-start-ended-with-a-traceback"),
        pytest.param(6, 2, id="rows-changed-below-their-index"),
    ],
)
def test_damaged_pages_end_the_agent(seed: int, damaged: int, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    lines: list[str] = []
    flips = [fault for fault in FAULTS if fault.name == "page-flipped"]
    kinds = [part for part in PARTS if part.name in ("radius", "disk")]
    told = run_seed(seed, tmp_path, faults=flips, parts=kinds, trace=lines.append)
    assert not told.wrong, "\n".join([*(v.text() for v in told.wrong), *lines[-40:]])
    assert sum("which damages it" in line for line in lines) == damaged
    assert sum("ends: " in line and "it is damaged" in line for line in lines) >= damaged


def test_a_page_that_rots_ends_the_agent_that_reads_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    lines: list[str] = []
    rots = [fault for fault in FAULTS if fault.name == "page-rots"]
    kinds = [part for part in PARTS if part.name in ("radius", "disk")]
    told = run_seed(1, tmp_path, faults=rots, parts=kinds, trace=lines.append, size=0.3)
    assert not told.wrong, "\n".join([*(v.text() for v in told.wrong), *lines[-40:]])
    read = [n for n, line in enumerate(lines) if line.endswith("disk: it is read")]
    assert read
    assert all("ends: " in "".join(lines[n + 1 : n + 4]) for n in read), lines
