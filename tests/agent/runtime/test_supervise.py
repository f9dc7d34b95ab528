"""Crashes are contained and logged, tasks start again, cancellation passes."""

from __future__ import annotations

import itertools
import logging
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from agent.runtime.errors import UncontainedError
from agent.runtime.supervise import Backoff, Crash, contain, supervise
from tests.builders.expect import expect

LOG = logging.getLogger("agent.test")


class FatalError(Exception):
    pass


async def test_contain_returns_what_comes(caplog: pytest.LogCaptureFixture) -> None:
    async def fine() -> int:
        return 7

    assert await contain("t", fine, log=LOG) == 7
    assert not caplog.records


async def test_contain_takes_a_crash_and_logs_it(caplog: pytest.LogCaptureFixture) -> None:
    error = KeyError("x")

    async def crash() -> None:
        raise error

    assert await contain("reader", crash, log=LOG) == Crash(error)
    (record,) = caplog.records
    assert record.__dict__["task"] == "reader"
    assert record.exc_info is not None
    assert record.exc_info[1] is error


async def test_contain_lets_the_fatal_through_alone_or_in_a_group() -> None:
    async def alone() -> None:
        raise FatalError

    async def grouped() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(alone)

    with pytest.raises(FatalError):
        await contain("t", alone, log=LOG, fatal=(FatalError,))
    with pytest.raises(ExceptionGroup) as caught:
        await contain("t", grouped, log=LOG, fatal=(FatalError,))
    assert caught.group_contains(FatalError)


async def test_a_database_that_cannot_be_read_is_no_crash(tmp_path: Path) -> None:
    """A task that starts again reads the same page: the agent ends, and its next start looks at all of them."""
    path = tmp_path / "some.db"
    with closing(sqlite3.connect(path)) as con:
        con.executescript("CREATE TABLE t (x); INSERT INTO t VALUES ('readable')")
    data = path.read_bytes()
    path.write_bytes(data[:4096] + bytes(4096))

    async def read() -> None:
        with closing(sqlite3.connect(path)) as con:
            con.execute("SELECT x FROM t").fetchall()

    async def grouped() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)

    with pytest.raises(sqlite3.DatabaseError, match="malformed"):
        await contain("t", read, log=LOG)
    with pytest.raises(ExceptionGroup) as caught:
        await contain("t", grouped, log=LOG)
    assert caught.group_contains(sqlite3.DatabaseError)

    path.write_bytes(data.replace(b"readable", b"\xff" * 8))
    with pytest.raises(sqlite3.OperationalError, match="UTF-8"):
        await contain("t", read, log=LOG)

    async def mistaken() -> None:
        with closing(sqlite3.connect(":memory:")) as con:
            con.execute("SELECT x FROM t")

    assert isinstance(await contain("t", mistaken, log=LOG), Crash)


async def test_a_stored_value_that_no_program_writes_is_no_crash() -> None:
    async def read() -> None:
        raise UncontainedError("table item: expected a state, got zeros")

    async def grouped() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)

    with pytest.raises(UncontainedError):
        await contain("t", read, log=LOG)
    with pytest.raises(ExceptionGroup) as caught:
        await supervise("t", grouped, log=LOG)
    assert caught.group_contains(UncontainedError)


async def test_a_group_of_crashes_is_one_crash(caplog: pytest.LogCaptureFixture) -> None:
    async def grouped() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            raise KeyError

    got = expect(Crash, await contain("t", grouped, log=LOG))
    assert isinstance(got.error, ExceptionGroup)
    assert len(caplog.records) == 1


async def test_cancelled_passes_even_beside_a_crash(caplog: pytest.LogCaptureFixture) -> None:
    async def crash_when_cancelled() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise KeyError("while closing")

    async def both() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(crash_when_cancelled)
            nursery.start_soon(trio.sleep_forever)

    with trio.CancelScope() as scope:
        scope.cancel()
        await contain("t", both, log=LOG)
        pytest.fail("Cancelled was swallowed")
    assert scope.cancelled_caught
    assert [r.getMessage() for r in caplog.records] == ["a task crashed"]


async def test_keyboard_interrupt_passes() -> None:
    async def interrupted() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await contain("t", interrupted, log=LOG)


async def test_supervise_starts_again_with_growing_pauses(autojump_clock: trio.testing.MockClock) -> None:
    starts: list[float] = []

    async def task() -> None:
        starts.append(trio.current_time())
        if len(starts) == 5:  # steady for long: the pauses begin anew
            await trio.sleep(200)
        if len(starts) < 7:
            raise OSError

    await supervise("t", task, log=LOG, backoff=Backoff(1, 5, 120), dice=lambda: 1.0)
    gaps = [after - before for before, after in itertools.pairwise(starts)]
    assert gaps == pytest.approx([1, 2, 4, 5, 200 + 1, 2])


async def test_supervise_ends_with_its_scope_and_with_the_fatal(autojump_clock: trio.testing.MockClock) -> None:
    async def crash() -> None:
        raise OSError

    with trio.move_on_after(100) as scope:
        await supervise("t", crash, log=LOG)
    assert scope.cancelled_caught

    async def fatal() -> None:
        raise FatalError

    with pytest.raises(FatalError):
        await supervise("t", fatal, log=LOG, fatal=(FatalError,))


@given(st.integers(1, 10**6), st.floats(0, 1, exclude_max=True))
def test_pauses_stay_in_their_bounds(crashes: int, dice: float) -> None:
    backoff = Backoff()
    whole = min(backoff.most_s, backoff.first_s * 2 ** min(crashes - 1, 30))
    assert whole / 2 <= backoff.pause_s(crashes, dice) <= whole
