import asyncio
import contextlib
import sqlite3
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from control_plane import limits
from control_plane.errors import InputError, LocalFailureError, ServerConfigError
from control_plane.queues import (
    Forget,
    Keep,
    QueuedMessage,
    RecordSeen,
    Stored,
    newest,
    own_statements,
    read_queue,
    scan_end,
    seen_minutes,
)
from control_plane.store import MIGRATIONS, CloudStore, CloudTx, open_reader, prepare, renew_epoch
from durable import files
from protos import message_pb2 as pb

QUEUE, OTHER_QUEUE = b"a" * 33, b"b" * 17


def keep(ref: int, **changes: object) -> Keep:
    fields: dict[str, object] = {
        "operator": b"o" * 16,
        "sender": "person/lena",
        "ref": ref.to_bytes(16, "big"),
        "sha256": b"d" * 32,
        "kind": pb.KIND_PLAN,
        "message": b"m%d" % ref,
        "queues": (QUEUE,),
        "now_s": 6000,
        "expires_s": 9000,
        "operator_max": 10_000,
        "sender_max": 10_000,
    }
    return Keep(**(fields | changes))


@dataclass(frozen=True, slots=True)
class Meta:
    """Writes a row, then raises."""

    key: str
    error: BaseException | None = None

    def run(self, tx: CloudTx) -> str:
        tx.run("INSERT INTO meta VALUES (?, x'00')", (self.key,))
        if self.error is not None:
            raise self.error
        return self.key


def with_store(path: Path, work: Callable[[CloudStore], Awaitable[None]]) -> None:
    async def main() -> None:
        store = CloudStore(path)
        try:
            await asyncio.wait_for(work(store), 20)
        finally:
            store.close()

    asyncio.run(main())


def outside(path: Path, sql: str, *args: object) -> list[tuple[object, ...]]:
    with contextlib.closing(sqlite3.connect(path)) as con:
        return con.execute(sql, args).fetchall()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cloud.db"


# --- the writer -----------------------------------------------------------------------------------------------------


def test_what_returned_is_on_the_disk(path: Path) -> None:
    async def work(store: CloudStore) -> None:
        for n in range(3):
            assert await store.run(Meta(f"k{n}")) == f"k{n}"
            assert outside(path, "SELECT 1 FROM meta WHERE key = ?", f"k{n}") == [(1,)]

    with_store(path, work)
    assert outside(path, "PRAGMA journal_mode") == [("wal",)]


def test_commands_that_wait_together_share_commits(path: Path) -> None:
    async def work(store: CloudStore) -> None:
        blocker = files.connect(path, readonly=False)
        blocker.execute("BEGIN IMMEDIATE")  # the writer waits for this with the first one
        waiting = [asyncio.ensure_future(store.run(Meta(f"k{n}"))) for n in range(300)]
        await asyncio.sleep(0)
        blocker.execute("ROLLBACK")
        blocker.close()
        assert await asyncio.gather(*waiting) == [f"k{n}" for n in range(300)]
        assert store.commits < 10

    with_store(path, work)


def test_one_that_refuses_leaves_its_neighbors(path: Path) -> None:
    async def work(store: CloudStore) -> None:
        bad = [Meta("no", InputError("not this")), Meta("epoch")]  # the second breaks a constraint
        results = await asyncio.gather(
            *(store.run(c) for c in (Meta("one"), *bad, Meta("two"))), return_exceptions=True
        )
        assert [type(r) for r in results] == [str, InputError, sqlite3.IntegrityError, str]

    with_store(path, work)
    assert outside(path, "SELECT key FROM meta ORDER BY key") == [("epoch",), ("one",), ("two",)]


def test_a_cancelled_caller_does_not_undo_what_was_queued(path: Path) -> None:
    async def work(store: CloudStore) -> None:
        task = asyncio.ensure_future(store.run(Meta("kept")))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await store.run(Meta("later"))  # one writer: what was queued before is done before

    with_store(path, work)
    assert ("kept",) in outside(path, "SELECT key FROM meta")


def test_posted_commands_are_done_and_nobody_waits(path: Path) -> None:
    async def work(store: CloudStore) -> None:
        store.post(Meta("epoch"))  # breaks a constraint: nobody hears of it
        store.post(Meta("posted"))
        await store.run(Meta("later"))

    with_store(path, work)
    assert ("posted",) in outside(path, "SELECT key FROM meta")


def test_a_commit_that_fails_ends_the_writer(path: Path) -> None:
    async def work(store: CloudStore) -> None:
        full = sqlite3.OperationalError("database or disk is full")
        results = await asyncio.gather(store.run(Meta("one")), store.run(Meta("two", full)), return_exceptions=True)
        assert isinstance(results[1], LocalFailureError)
        await store.broken.wait()
        with pytest.raises(LocalFailureError, match="disk is full"):
            await store.run(Meta("three"))

    with_store(path, work)
    assert not {("two",), ("three",)} & set(outside(path, "SELECT key FROM meta"))


def test_a_bug_in_a_command_is_its_callers_alone(path: Path) -> None:
    async def work(store: CloudStore) -> None:
        with pytest.raises(ZeroDivisionError):
            await store.run(Meta("two", ZeroDivisionError()))
        assert await store.run(Meta("three")) == "three"
        assert not store.broken.is_set()

    with_store(path, work)
    assert outside(path, "SELECT key FROM meta ORDER BY key") == [("epoch",), ("three",)]


def test_own_statements_are_found_by_index_in_an_older_database(path: Path) -> None:
    with contextlib.closing(files.open_database(path, MIGRATIONS[:1], 1)) as con:
        keep = "INSERT INTO letter (operator, sender, kind, message, minute, expires_s) VALUES (?, ?, ?, ?, 0, 0)"
        con.executemany(keep, [(b"o", who, kind, b"%d" % kind) for who in ("agent/a", "agent/b") for kind in (1, 2, 3)])
    with contextlib.closing(prepare(path)) as con:
        assert own_statements(con, b"o", "agent/a", 100) == [b"3", b"2"]
        asked: list[str] = []
        con.set_trace_callback(asked.append)
        own_statements(con, b"o", "agent/a", 1)
        con.set_trace_callback(None)
        (plan,) = con.execute(f"EXPLAIN QUERY PLAN {asked[0]}").fetchall()
        assert "letter_own (operator=? AND sender=?)" in plan["detail"], "no other row is looked at, nothing is sorted"


def test_a_database_of_a_newer_program_is_refused(path: Path) -> None:
    with contextlib.closing(prepare(path)) as con:
        con.execute("PRAGMA user_version = 99")
        con.execute("UPDATE schema_writers SET oldest = 99")
    with pytest.raises(LocalFailureError, match="got 99"):
        prepare(path)


def test_what_is_no_database_is_refused(path: Path) -> None:
    path.write_bytes(b"not a database" * 100)
    with pytest.raises(ServerConfigError, match=r"cloud\.db: it is damaged: .* restore a backup"):
        prepare(path)
    with pytest.raises(LocalFailureError):
        open_reader(path.parent / "none" / "cloud.db")


def test_the_epoch_stays_until_it_is_renewed(path: Path) -> None:
    def epoch() -> bytes:
        with contextlib.closing(prepare(path)) as con:
            return bytes(con.execute("SELECT value FROM meta WHERE key = 'epoch'").fetchone()[0])

    first = epoch()
    assert len(first) == 16
    assert epoch() == first
    with contextlib.closing(prepare(path)) as con:
        renew_epoch(con)
    assert epoch() != first


# --- queues ----------------------------------------------------------------------------------------------------------


def test_a_message_is_kept_once_and_numbered_in_each_queue(path: Path) -> None:
    async def work(store: CloudStore) -> None:
        assert await store.run(keep(1)) == Stored()
        assert await store.run(keep(2, queues=(QUEUE, OTHER_QUEUE))) == Stored()
        assert read_queue(store.reader, QUEUE, 0, (), 10) == [
            QueuedMessage(1, b"m1", 100),
            QueuedMessage(2, b"m2", 100),
        ]
        assert read_queue(store.reader, OTHER_QUEUE, 0, (), 10) == [QueuedMessage(1, b"m2", 100)]
        assert (newest(store.reader, QUEUE), newest(store.reader, OTHER_QUEUE), newest(store.reader, b"c")) == (2, 1, 0)

    with_store(path, work)
    assert outside(path, "SELECT count(*) FROM letter") == [(2,)]


def test_the_same_ref_has_no_second_effect(path: Path) -> None:
    async def work(store: CloudStore) -> None:
        same = [keep(1), keep(1), keep(1, sha256=b"e" * 32), keep(1, sender="agent/north"), keep(1, operator=b"p" * 16)]
        results = await asyncio.gather(*map(store.run, same))
        assert results == [Stored(), Stored(again=True), Stored(reused=True), Stored(), Stored()]
        assert [k.number for k in read_queue(store.reader, QUEUE, 0, (), 10)] == [1, 2, 3]

    with_store(path, work)


def test_reading_goes_on_after_a_number_and_takes_some_kinds(path: Path) -> None:
    async def work(store: CloudStore) -> None:
        for n in range(1, 7):
            await store.run(keep(n, kind=n % 2))
        assert [k.number for k in read_queue(store.reader, QUEUE, 2, (), 3)] == [3, 4, 5]
        assert [k.number for k in read_queue(store.reader, QUEUE, 0, (0,), 10)] == [2, 4, 6]
        assert [k.number for k in read_queue(store.reader, QUEUE, 0, (0, 1, 2), 10)] == [1, 2, 3, 4, 5, 6]
        assert read_queue(store.reader, QUEUE, 6, (), 10) == []

    with_store(path, work)


def test_what_was_forgotten_is_not_scanned(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a feed that is years old, a reader from the beginning takes as many steps as there are messages left."""
    monkeypatch.setattr(limits, "SCAN_MESSAGES", 2)

    async def work(store: CloudStore) -> None:
        for n in range(1, 9):
            await store.run(keep(n, expires_s=6001 if n < 5 or n == 8 else 7000))
        await store.run(Forget(6010))
        assert [k.number for k in read_queue(store.reader, QUEUE, 0, (), 10)] == [5, 6, 7]
        assert scan_end(store.reader, QUEUE, 0) == 6
        assert scan_end(store.reader, QUEUE, 6) == 8
        assert scan_end(store.reader, QUEUE, 8) == 8
        assert scan_end(store.reader, b"nobody's", 3) == 3

    with_store(path, work)


def test_one_page_is_bounded_in_bytes_and_never_empty(path: Path) -> None:
    large = b"x" * (limits.READ_BYTES * 2 // 3)

    async def work(store: CloudStore) -> None:
        for n in range(1, 4):
            await store.run(keep(n, message=large * n, operator_max=1 << 30, sender_max=1 << 30))
        assert [k.number for k in read_queue(store.reader, QUEUE, 0, (), 10)] == [1]
        assert [k.number for k in read_queue(store.reader, QUEUE, 1, (), 10)] == [2], "larger than a page, alone"

    with_store(path, work)


def test_room_is_limited_for_a_member_and_its_operator(path: Path) -> None:
    async def work(store: CloudStore) -> None:
        def add(ref: int, **changes: object) -> Keep:
            return keep(ref, message=b"x" * 10, operator_max=30, sender_max=20, **changes)

        assert [await store.run(add(n)) for n in (1, 2, 3)] == [Stored(), Stored(), Stored(full=True)]
        for kind in (pb.KIND_CANCEL, pb.KIND_FREEZE):
            huge = b"x" * (limits.STOPS_BYTES + 1)
            assert await store.run(keep(7, kind=kind, message=huge, sender_max=20)) == Stored(full=True)
        assert await store.run(add(4, sender="person/joseph")) == Stored()
        assert await store.run(add(5, sender="person/maria")) == Stored(full=True)
        assert await store.run(add(6, operator=b"p" * 16)) == Stored()
        assert await store.run(add(1)) == Stored(again=True), "what is kept already needs no room"
        assert await store.run(Forget(9000)) == 4
        assert await store.run(add(3)) == Stored(), "a ref that was refused was not taken"

    with_store(path, work)
    assert outside(path, "SELECT sender, bytes FROM usage WHERE operator = ? ORDER BY sender", b"o" * 16) == [
        ("", 10), ("person/joseph", 0), ("person/lena", 10),
    ]  # fmt: skip


def test_what_expired_is_forgotten_but_its_numbers_and_refs(path: Path) -> None:
    async def work(store: CloudStore) -> None:
        for n in range(1, 6):
            await store.run(keep(n, expires_s=9000 if n < 5 else 9001, queues=(QUEUE, OTHER_QUEUE)))
        assert await store.run(Forget(8999)) == 0
        assert [await store.run(Forget(9000, most=3)) for _ in range(3)] == [3, 1, 0]
        assert [k.number for k in read_queue(store.reader, QUEUE, 0, (), 10)] == [5]
        assert await store.run(keep(1)) == Stored(again=True)
        assert await store.run(Forget(9001)) == 1
        assert await store.run(keep(6)) == Stored()
        assert [k.number for k in read_queue(store.reader, QUEUE, 0, (), 10)] == [6], "numbers are used once"
        assert await store.run(Forget(6000 + limits.REF_KEEP_S)) == 1
        assert await store.run(keep(1)) == Stored(), "a week later the ref is new"

    with_store(path, work)


def test_refs_of_what_is_kept_for_hour_do_not_pile_up_for_week(path: Path) -> None:
    async def work(store: CloudStore) -> None:
        for n, life_s in enumerate((limits.HOUR_S, limits.DAY_S, 90 * limits.DAY_S)):
            await store.run(keep(n, expires_s=6000 + life_s))

    with_store(path, work)
    kept = [until_s - 6000 for (until_s,) in outside(path, "SELECT expires_s FROM ref_seen ORDER BY expires_s")]
    assert kept == [limits.REF_LIVES * limits.HOUR_S, limits.REF_KEEP_S, 90 * limits.DAY_S]


def test_when_an_agent_was_seen(path: Path) -> None:
    async def work(store: CloudStore) -> None:
        for minute in (5, 7):
            await store.run(RecordSeen(b"o" * 16, b"1" * 16, minute))
        await store.run(RecordSeen(b"p" * 16, b"1" * 16, 9))
        assert seen_minutes(store.reader, b"o" * 16) == {b"1" * 16: 7}

    with_store(path, work)
