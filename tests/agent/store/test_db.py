"""The writer: group commits, failures, locks, versions."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest
import trio

from agent.store import schema
from agent.store.db import Store, Tx
from agent.store.errors import (
    DamagedStateError,
    RefusedCommandError,
    StoreFailedError,
    StoreInUseError,
    StoreVersionError,
)
from agent.store.mark_file import LogMark
from durable import files
from durable.writer import BATCH_MAX
from tests.builders.store import TRANSITIONS, WALL_S, Put, keys, open_store


async def together(store: Store, *commands: Put) -> list[object]:
    """Run commands at once; return each result or error."""
    results: list[object] = [None] * len(commands)

    async def one(n: int, command: Put) -> None:
        try:
            results[n] = await store.run(command)
        except (RefusedCommandError, StoreFailedError, sqlite3.Error, ValueError) as err:
            results[n] = err

    async with trio.open_nursery() as nursery:
        for n, command in enumerate(commands):
            nursery.start_soon(one, n, command)
    return results


async def test_a_command_is_durable_when_run_returns(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    assert await store.run(Put("a")) == 1
    with closing(sqlite3.connect(tmp_path / "agent.db")) as other:
        assert other.execute("SELECT key FROM meta").fetchall() == [("a",)]
        assert other.execute("SELECT count(*) FROM event").fetchone() == (1,)
    store.close()


async def test_commands_that_wait_share_commits(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    results = await together(store, *(Put(f"k{n:03}") for n in range(200)))
    assert sorted(r for r in results if isinstance(r, int)) == list(range(1, 201))
    assert store.commits < 100
    store.close()


async def test_commands_of_one_turn_of_the_loop_share_a_commit(tmp_path: Path) -> None:
    """A writer that took the first at once made a commit for it, and one more for all others."""
    store = open_store(tmp_path)
    begun = threading.Event()
    seen: list[bool] = []

    async def ask(key: str) -> None:
        seen.append(begun.wait(0.1 if seen else 0))
        await store.run(Put(key, also=lambda tx: begun.set()))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, "a")
        nursery.start_soon(ask, "b")
    assert seen == [False, False], "the writer began before all tasks of the turn had asked"
    assert store.commits == 1
    store.close()


async def test_a_command_asked_in_the_turn_of_the_close_is_done(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    trio.lowlevel.current_trio_token().run_sync_soon(store.close)  # before the turn's commands are handed over
    with trio.fail_after(20):
        assert await store.run(Put("a")) == 1


async def test_a_command_asked_in_the_turn_of_a_failure_fails(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    trio.lowlevel.current_trio_token().run_sync_soon(setattr, store, "failed", "no disk")
    with trio.fail_after(20), pytest.raises(StoreFailedError, match="no disk"):
        await store.run(Put("a"))
    store.close()


async def test_more_than_a_batch(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    await together(store, *(Put(f"k{n:04}") for n in range(2 * BATCH_MAX + 3)))
    assert store.size == 2 * BATCH_MAX + 3
    assert store.commits >= 3
    store.close()


@pytest.mark.parametrize(
    "wrong", [RefusedCommandError("no", "no"), ValueError("a bug"), sqlite3.IntegrityError("a constraint")], ids=repr
)
async def test_a_failing_command_leaves_its_neighbors_whole(tmp_path: Path, wrong: Exception) -> None:
    store = open_store(tmp_path)
    results = await together(store, Put("a"), Put("b", wrong=wrong), Put("c"))
    assert {results[0], results[2]} == {1, 2}
    assert results[1] is wrong
    assert keys(store) == ["a", "c"]
    assert store.size == 2
    assert store.failed is None
    store.close()
    again = open_store(tmp_path)
    assert again.size == 2
    again.close()


async def test_a_duplicate_row_undoes_its_event_too(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    await store.run(Put("a"))
    with pytest.raises(sqlite3.IntegrityError):
        await store.run(Put("a"))
    assert store.size == store.reader.execute("SELECT count(*) FROM event").fetchone()[0] == 1
    store.close()


async def test_a_caller_cannot_be_cancelled_while_it_waits(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    got: list[int] = []

    async def write() -> None:
        got.append(await store.run(Put("a")))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write)
        await trio.lowlevel.checkpoint()
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert got == [1]
    store.close()


async def test_a_cancelled_caller_does_not_begin(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    with trio.CancelScope() as scope:
        scope.cancel()
        await store.run(Put("a"))
    assert scope.cancelled_caught
    assert keys(store) == []
    store.close()


@pytest.mark.parametrize(
    "error", [sqlite3.OperationalError("disk I/O error"), sqlite3.OperationalError("full")], ids=str
)
async def test_a_failed_disk_stops_the_writer_for_good(tmp_path: Path, error: Exception) -> None:
    store = open_store(tmp_path)
    await store.run(Put("before"))
    results = await together(store, Put("a"), Put("b", wrong=error), Put("c"))
    assert any(isinstance(r, StoreFailedError) for r in results)
    assert isinstance(results[1], StoreFailedError)
    with pytest.raises(StoreFailedError, match="cannot be written"):
        await store.run(Put("later"))
    store.close()
    again = open_store(tmp_path)
    written = [k for k, r in zip("abc", results, strict=True) if isinstance(r, int)]
    assert keys(again) == sorted(["before", *written])  # what was called durable is, and nothing else
    assert again.size == 1 + len(written)
    await again.run(Put("later"))
    again.close()


async def test_high_water_mark_that_cannot_be_written_stops_writer(tmp_path: Path) -> None:
    def refuse(mark: LogMark) -> None:
        raise OSError("no space left")

    store = open_store(tmp_path, refuse)
    assert await store.run(Put("a")) == 1
    with pytest.raises(StoreFailedError, match="no space left"):
        await store.run(Put("b", high=True))
    store.close()


async def test_the_mark_is_raised_before_the_caller_knows(tmp_path: Path) -> None:
    marks: list[LogMark] = []
    store = open_store(tmp_path, marks.append)
    await store.run(Put("a"))
    assert marks == []
    await store.run(Put("b", high=True))
    assert [mark.size for mark in marks] == [2]
    with pytest.raises(RefusedCommandError):
        await store.run(Put("c", high=True, wrong=RefusedCommandError("no", "no")))
    assert len(marks) == 1
    store.close()


FULL = """
import resource, signal, sys, trio
from pathlib import Path
from agent.store.errors import StoreFailedError
from tests.builders.store import Put, open_store

async def main():
    folder = Path(sys.argv[1])
    store = open_store(folder)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limit = sum((folder / n).stat().st_size for n in ("agent.db", "agent.db-wal")) + 1_000_000
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    durable = refused = 0
    async def one(n):
        nonlocal durable, refused
        try:
            await store.run(Put(f"k{n:05}", bytes(2000)))
            durable += 1
        except StoreFailedError:
            refused += 1
    for start in range(0, 4000, 40):
        async with trio.open_nursery() as nursery:
            for n in range(start, start + 40):
                nursery.start_soon(one, n)
        if store.failed:
            break
    print(durable, refused, store.failed)
trio.run(main)
"""


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9, 0.999])
async def test_J3_torn_wal_leaves_log_that_is_whole_up_to_somewhere(tmp_path: Path, part: float) -> None:
    """What a torn write takes is the end of the log; that it was longer is known by the mark (test_vault, J4)."""
    (tmp_path / "torn").mkdir()
    store = open_store(tmp_path)
    for n in range(12):
        await store.run(Put(f"k{n:02}"))
    shutil.copy(tmp_path / "agent.db", tmp_path / "torn")
    wal = (tmp_path / "agent.db-wal").read_bytes()
    at = int(len(wal) * part)
    (tmp_path / "torn" / "agent.db-wal").write_bytes(wal[:at] + bytes([wal[at] ^ 1]) + wal[at + 1 :])
    store.close()
    torn = open_store(tmp_path / "torn")
    assert torn.size == len(keys(torn)) < 12
    assert keys(torn) == [f"k{n:02}" for n in range(torn.size)]
    before = torn.size
    assert await torn.run(Put("again")) == before + 1
    torn.close()


def test_J2_a_full_disk_loses_nothing_that_was_called_durable(tmp_path: Path) -> None:
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True, cwd=root, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    durable, refused, failed = done.stdout.split(" ", 2)
    assert int(durable) > 0
    assert int(refused) > 0
    assert failed.startswith("the store cannot be written")
    store = open_store(tmp_path)
    assert len(keys(store)) == store.size == int(durable)
    store.close()


async def test_two_daemons_on_one_folder(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    with pytest.raises(StoreInUseError, match="another ispagent"):
        open_store(tmp_path)
    await store.run(Put("a"))
    store.close()
    open_store(tmp_path).close()


def test_a_newer_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    open_store(tmp_path).close()
    with closing(sqlite3.connect(tmp_path / "agent.db")) as con:
        con.execute(f"PRAGMA user_version = {len(schema.MIGRATIONS) + 1}")
        con.execute(f"UPDATE schema_writers SET oldest = {len(schema.MIGRATIONS) + 1}")
        con.commit()
    for _ in range(2):  # the lock is given back
        with pytest.raises(
            StoreVersionError, match=f"version {len(schema.MIGRATIONS)} or older, got {len(schema.MIGRATIONS) + 1}"
        ):
            open_store(tmp_path)


async def test_a_program_goes_on_with_a_newer_database_that_lets_it(tmp_path: Path) -> None:
    """A newer release was tried and taken back: the log goes on, and nothing of it is forgotten."""
    store = open_store(tmp_path)
    await store.run(Put("a"))
    size = store.size
    store.close()
    newer = (*schema.MIGRATIONS, "CREATE TABLE of_the_next_release (n INTEGER); ALTER TABLE plan ADD COLUMN also TEXT;")
    files.open_database(tmp_path / "agent.db", newer, len(schema.MIGRATIONS)).close()
    store = open_store(tmp_path)
    assert store.size == size
    await store.run(Put("b"))
    store.close()
    with closing(files.open_database(tmp_path / "agent.db", newer, len(schema.MIGRATIONS))) as con:
        assert con.execute("PRAGMA user_version").fetchone()[0] == len(newer)
        assert con.execute("SELECT count(*) FROM event").fetchone()[0] == size + 1


def test_an_unusable_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "agent.db").write_bytes(b"this is no database" * 100)
    for _ in range(2):
        with pytest.raises(DamagedStateError, match=r"agent\.db: it is damaged"):
            open_store(tmp_path)
    with pytest.raises(StoreFailedError, match="state directory"):
        open_store(tmp_path / "missing")


def test_migrations_from_nothing_and_again(tmp_path: Path) -> None:
    def layout() -> list[tuple[str, str]]:
        with closing(sqlite3.connect(tmp_path / "agent.db")) as con:
            assert con.execute("PRAGMA user_version").fetchone() == (len(schema.MIGRATIONS),)
            return con.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall()

    open_store(tmp_path).close()
    first = layout()
    assert {"event", "node", "plan", "item", "step", "transition"} <= {name for name, _ in first}
    open_store(tmp_path).close()
    assert layout() == first


def test_transitions_are_made_anew_from_the_machine(tmp_path: Path) -> None:
    open_store(tmp_path).close()
    store = Store(tmp_path, [("planned", "running")], lambda: WALL_S)
    assert [tuple(r) for r in store.reader.execute("SELECT old, new FROM transition")] == [("planned", "running")]
    store.close()
    store = open_store(tmp_path)
    rows = {tuple(r) for r in store.reader.execute("SELECT old, new FROM transition")}
    assert rows == set(TRANSITIONS)
    store.close()


async def test_the_reader_cannot_write(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        store.reader.execute("DELETE FROM meta")
    store.close()


async def test_a_transaction_reads_its_own_writes(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    seen: list[object] = []

    def look(tx: Tx) -> None:
        row = tx.one("SELECT value FROM meta WHERE key = 'a'")
        seen.append(row["value"] if row else None)
        seen.append(len(tx.all("SELECT * FROM event")))
        tx.many("INSERT INTO meta VALUES (?,?)", [("x", b"1"), ("y", b"2")])

    await store.run(Put("a", b"mine", also=look))
    assert seen == [b"mine", 1]
    assert keys(store) == ["a", "x", "y"]
    store.close()


async def test_readers_aside_see_one_moment_and_are_kept(tmp_path: Path) -> None:
    """One that failed is not kept; a reader that is still at work while the store closes is closed after it."""
    store = open_store(tmp_path)

    def found(reader: sqlite3.Connection) -> tuple[int, int]:
        return id(reader), len(reader.execute("SELECT key FROM meta").fetchall())

    first, none = await store.aside(found)
    await store.run(Put("a"))
    second, one = await store.aside(found)
    assert (none, one) == (0, 1)
    assert second == first, "the connection is kept"

    def fails(reader: sqlite3.Connection) -> None:
        raise ValueError(id(reader))

    with pytest.raises(ValueError, match=str(first)):
        await store.aside(fails)
    assert not store._spare
    at_work, close = threading.Event(), threading.Event()
    readers = list[sqlite3.Connection]()

    def waits(reader: sqlite3.Connection) -> int:
        readers.append(reader)
        at_work.set()
        close.wait(60)
        return found(reader)[1]

    async with trio.open_nursery() as nursery:
        nursery.start_soon(store.aside, waits)
        await trio.to_thread.run_sync(at_work.wait)
        store.close()
        close.set()
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        readers[0].execute("SELECT 1")
