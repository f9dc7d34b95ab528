"""The error policy of the writer, rule by rule, for both programs."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from agent.store import log_store
from durable.writer import BATCH_MAX
from tests.durable.programs import Agent, ControlPlane, Program, Put, program
from tests.seeded import SeededChance
from trust import chance

__all__ = ["program"]


def keys(program: Program) -> list[str]:
    """Return the keys on the disk, as another process sees them."""
    with closing(sqlite3.connect(program.path)) as con:
        return [key for (key,) in con.execute("SELECT key FROM meta WHERE key <> 'epoch' ORDER BY key")]


def log_is_whole(program: Program) -> bool:
    """Return whether the log's right edge in memory is the one on the disk."""
    if isinstance(program, ControlPlane):
        return True
    with closing(sqlite3.connect(program.path)) as con:
        stored = log_store.load_tail(con)
    return stored == program.store._tail and program.store.size == stored.size


def stopped(program: Program, results: list[Any], why: str) -> bool:
    """Return whether all of these, and each later command, got the program's "store failed" error."""
    with pytest.raises(program.failed_error, match=why):
        program.one(Put("later"))
    return all(isinstance(r, program.failed_error) and why in str(r) for r in results)


# --- rule 1: a refusal, or a broken constraint, undoes one command alone --------------------------------------------


@pytest.mark.parametrize("wrong", ["refusal", "constraint"])
def test_a_command_that_refuses_between_two_good_ones(program: Program, wrong: str) -> None:
    program.one(Put("there"))
    bad = Put("bad", program.refusal()) if wrong == "refusal" else Put("there")
    commits = program.store.commits
    results = program.together(Put("a"), bad, Put("c"))
    assert results[0::2] == ["a", "c"]
    assert isinstance(results[1], type(program.refusal()) if wrong == "refusal" else sqlite3.IntegrityError)
    assert program.store.commits == commits + 2, "the three shared one commit"
    assert keys(program) == ["a", "c", "there"]
    assert program.store.failed is None
    assert log_is_whole(program)
    assert program.one(Put("d")) == "d"
    assert log_is_whole(program)


@dataclass(frozen=True, slots=True)
class _Refuse:
    """Refuse, before or after a row is written."""

    error: Exception
    writes: bool

    def run(self, tx: Any) -> None:
        if self.writes:
            tx.run("INSERT INTO meta VALUES ('refused', x'00')")
        raise self.error


@pytest.mark.parametrize(("writes", "times"), [(False, 1), (True, 2)], ids=["wrote-nothing", "wrote-something"])
def test_a_batch_runs_again_only_when_something_must_be_undone(program: Program, writes: bool, times: int) -> None:
    ran: list[str] = []
    commits = program.store.commits
    before = Put("a", also=lambda tx: ran.append("a"))
    after = Put("c", also=lambda tx: ran.append("c"))
    results = program.together(before, _Refuse(program.refusal(), writes), after)
    assert (results[0], type(results[1]), results[2]) == ("a", type(program.refusal()), "c")
    assert ran == (["a", "c"] if times == 1 else ["a", "a", "c"])
    assert keys(program) == ["a", "c"]
    assert program.store.commits == commits + 2
    assert log_is_whole(program)


# --- rule 2: the disk, or the commit, fails the batch and stops the writer ------------------------------------------


def fill(program: Program) -> None:
    """Let the database not grow any more: SQLite then says what it says of a full disk."""
    pages = program.store._con.execute("PRAGMA page_count").fetchone()[0]
    assert program.store._con.execute(f"PRAGMA max_page_count = {pages}").fetchone()[0] == pages


def test_a_full_disk(program: Program) -> None:
    program.one(Put("before"))
    fill(program)
    results = program.together(Put("a"), Put("b", size=1_000_000), Put("c"))
    assert stopped(program, results, "the store cannot be written: database or disk is full")
    assert keys(program) == ["before"]
    program.store.close()
    again = type(program)(program.path.parent)
    assert again.one(Put("later")) == "later"
    assert log_is_whole(again)
    again.store.close()


def test_a_commit_that_fails(program: Program) -> None:
    """A deferred foreign key is judged at the commit: nobody knows then which command broke it."""
    with closing(sqlite3.connect(program.path)) as con:
        con.execute("CREATE TABLE child (of TEXT REFERENCES meta (key) DEFERRABLE INITIALLY DEFERRED)")
    orphan = Put("b", also=lambda tx: tx.run("INSERT INTO child VALUES ('nobody')"))
    results = program.together(Put("a"), orphan, Put("c"))
    assert stopped(program, results, "FOREIGN KEY constraint failed")
    assert keys(program) == []


@pytest.mark.parametrize(
    "error", [sqlite3.OperationalError("disk I/O error"), sqlite3.DatabaseError("malformed")], ids=str
)
def test_an_error_of_sqlite_in_a_command(program: Program, error: sqlite3.Error) -> None:
    results = program.together(Put("a"), Put("b", error), Put("c"))
    assert stopped(program, results, str(error))
    assert keys(program) == []


def test_a_command_that_ended_the_transaction_and_said_nothing(program: Program) -> None:
    results = program.together(Put("a"), Put("b", also=lambda tx: tx.run("ROLLBACK")), Put("c"))
    assert stopped(program, results, "a command ended the transaction")
    assert keys(program) == []


def test_a_refusal_after_sqlites_rollback_stops_the_writer(program: Program) -> None:
    """A full disk may end the whole transaction: then there is no savepoint to go back to."""
    results = program.together(Put("a"), Put("b", program.refusal(), also=lambda tx: tx.run("ROLLBACK")), Put("c"))
    assert stopped(program, results, "a command ended the transaction")
    assert keys(program) == []


# --- rule 3: a bug in a command is undone alone, and its caller gets it ---------------------------------------------


class _Strange(BaseException):
    pass


@pytest.mark.parametrize("bug", [ZeroDivisionError("a bug"), RecursionError(), MemoryError(), _Strange()], ids=repr)
def test_a_bug_in_a_command(program: Program, bug: BaseException) -> None:
    results = program.together(Put("a"), Put("b", bug), Put("c"))
    assert results == ["a", bug, "c"]
    assert keys(program) == ["a", "c"]
    assert program.store.failed is None
    assert log_is_whole(program)
    assert program.one(Put("d")) == "d"


def test_a_stop_iteration_is_passed_on_as_what_can_be_raised(program: Program) -> None:
    results = program.together(Put("a"), Put("b", StopIteration()), Put("c"))
    assert [type(r) for r in results] == [str, RuntimeError, str]


def test_a_bug_in_a_posted_command_reaches_the_loops_handler(tmp_path: Path) -> None:
    cloud = ControlPlane(tmp_path)
    told: list[Any] = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.append(context["exception"]))
        bug = ZeroDivisionError()
        for wrong in (cloud.refusal(), sqlite3.IntegrityError(), bug):
            cloud.store.post(Put("b", wrong))
        await cloud.store.run(Put("a"))
        assert told == [bug]

    asyncio.run(main())
    cloud.store.close()
    assert keys(cloud) == ["a"]


# --- rule 4: what follows a commit ----------------------------------------------------------------------------------


def test_an_error_after_a_commit_stops_the_writer_not_the_batch(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise OSError("no space left")

    monkeypatch.setattr(program.store, "_committed", fail)
    with pytest.raises(program.failed_error, match="no space left"):
        program.one(Put("a"))
    assert stopped(program, [], "no space left")
    program.store.close()
    assert keys(program) == ["a"]
    again = type(program)(program.path.parent)
    assert log_is_whole(again)
    again.store.close()


# --- rule 5: nobody waits for ever ----------------------------------------------------------------------------------


class _NoRollback:
    """A connection to a disk that is gone: a rollback fails as well."""

    def __init__(self, con: sqlite3.Connection) -> None:
        self._con = con

    def __getattr__(self, name: str) -> Any:
        return getattr(self._con, name)

    def execute(self, sql: str, *args: Any) -> sqlite3.Cursor:
        if sql in ("COMMIT", "ROLLBACK"):
            raise sqlite3.OperationalError("disk I/O error")
        return self._con.execute(sql, *args)


def test_a_rollback_that_fails_too(program: Program) -> None:
    program.store._con = _NoRollback(program.store._con)
    assert stopped(program, program.together(Put("a"), Put("b")), "disk I/O error")
    program.store.close()
    assert keys(program) == []


def test_whoever_comes_after_the_end_is_refused_at_once(program: Program) -> None:
    program.store.close()
    with pytest.raises(program.failed_error, match="closed"):
        program.one(Put("late"))


def test_jobs_that_wait_at_the_end_are_done(tmp_path: Path) -> None:
    cloud = ControlPlane(tmp_path)
    ended: list[Any] = []

    async def main() -> None:
        waiting = [asyncio.ensure_future(cloud.store.run(Put(f"k{n:04}"))) for n in range(2 * BATCH_MAX)]
        await asyncio.sleep(0)
        cloud.store.close()
        ended.extend(await asyncio.wait_for(asyncio.gather(*waiting), 20))

    asyncio.run(main())
    assert ended == keys(cloud)
    assert len(ended) == 2 * BATCH_MAX


def test_loop_that_ended_while_command_ran_does_not_end_writer(tmp_path: Path) -> None:
    cloud = ControlPlane(tmp_path)
    free = threading.Event()

    async def leave() -> None:
        cloud.store.post(Put("a", also=lambda tx: free.wait(20)))
        await asyncio.sleep(0)

    asyncio.run(leave())
    free.set()
    deadline = time.monotonic() + 60
    while keys(cloud) != ["a"]:
        assert time.monotonic() < deadline
    assert cloud.one(Put("b")) == "b"
    cloud.store.close()


# --- files ----------------------------------------------------------------------------------------------------------


def test_the_settings_that_make_a_commit_durable(program: Program) -> None:
    pragmas = ("journal_mode", "synchronous", "secure_delete", "foreign_keys")
    found = [program.store._con.execute(f"PRAGMA {name}").fetchone()[0] for name in pragmas]
    assert found == ["wal", 2, 1, 1]
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        program.store.reader.execute("DELETE FROM meta")


def test_nothing_is_left_open(program: Program) -> None:
    program.one(Put("a"))
    program.store.close()
    open_files = [
        os.readlink(f"/proc/self/fd/{fd}")
        for fd in os.listdir("/proc/self/fd")
        if os.path.exists(f"/proc/self/fd/{fd}")
    ]
    assert not [path for path in open_files if path.startswith(str(program.path))]


# --- what commands draw from ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Draw:
    def run(self, tx: Any) -> bytes:
        return chance.token_bytes(16)


@pytest.mark.parametrize("kind", [Agent, ControlPlane])
def test_commands_draw_from_the_source_lent_to_the_opener(tmp_path: Path, kind: type[Agent | ControlPlane]) -> None:
    source = SeededChance(5)
    with chance.lend(source.part("store")):
        opened = kind(tmp_path)
    with closing(opened.store):
        expected = source.part("store")
        drawn = [opened.one(_Draw()) for _ in range(2)]
    everything = expected.draw(16 * 8)  # to open a store draws some too
    assert drawn[0] != drawn[1]
    assert all(one in everything for one in drawn)
