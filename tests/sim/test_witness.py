"""The witness looks at the log that is there now."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

from tests.sim.jump import run
from tests.sim.witness import ABOUT_TO, ORIGINAL, AgentLog, Move

TABLES = """
CREATE TABLE event (seq INTEGER PRIMARY KEY, leaf BLOB NOT NULL, kind INTEGER NOT NULL DEFAULT 0);
CREATE TABLE plan (plan_id BLOB, action TEXT, requester TEXT);
CREATE TABLE step (plan_id BLOB, item INTEGER, n INTEGER, direction TEXT, attempt INTEGER, about_seq INTEGER,
    outcome_seq INTEGER, do TEXT);
CREATE TABLE reason (service TEXT NOT NULL);
CREATE TABLE item (plan_id BLOB, n INTEGER, service TEXT, part TEXT, state TEXT, state_seq INTEGER, reason TEXT,
    detail TEXT, PRIMARY KEY (plan_id, n));
"""


def opened(folder: Path) -> sqlite3.Connection:
    con = sqlite3.connect(folder / "agent.db", isolation_level=None)
    con.execute("PRAGMA journal_mode = WAL")
    return con


def moves(con: sqlite3.Connection, seq: int, *items: int) -> None:
    """Let items come into a state, by one leaf."""
    con.execute("BEGIN")
    con.execute("INSERT INTO event (seq, leaf) VALUES (?, ?)", (seq, b"%d" % seq))
    for n in items:
        row = (b"p", n, "C-1/home", "", f"state {seq}", seq, "", "")
        con.execute("INSERT OR REPLACE INTO item VALUES (?,?,?,?,?,?,?,?)", row)
    con.execute("COMMIT")


def test_it_sees_each_move_once_and_at_each_commit(tmp_path: Path) -> None:
    seen = list[Move]()

    async def main() -> None:
        log = AgentLog(ORIGINAL, tmp_path / "agent.db", lambda text: None, seen)
        log.look()
        con = opened(tmp_path)
        con.executescript(TABLES)
        log.look()
        moves(con, 1, 1, 2)
        log.look()
        log.look()
        con.execute("INSERT INTO reason VALUES ('C-1/home')")  # no leaf: nothing moves
        log.look()
        moves(con, 2, 2)
        log.look()
        con.close()
        log.unplug()

    run(main)
    assert [(m.item, m.before, m.state) for m in seen] == [
        (1, "", "state 1"),
        (2, "", "state 1"),
        (2, "state 1", "state 2"),
    ]


def test_after_the_power_was_cut_it_looks_at_what_is_there_then(tmp_path: Path) -> None:
    """It held the file of before, which was gone, and saw no leaf any more."""
    seen = list[Move]()

    async def main() -> None:
        state, kept = tmp_path / "state", tmp_path / "kept"
        state.mkdir()
        log = AgentLog(ORIGINAL, state / "agent.db", lambda text: None, seen)
        con = opened(state)
        con.executescript(TABLES)
        moves(con, 1, 1)
        log.look()
        log.unplug()
        log.look()  # nobody reads it now
        con.close()
        shutil.copytree(state, kept)
        shutil.rmtree(state)
        kept.rename(state)
        con = opened(state)
        assert log.plug_in() is None
        moves(con, 2, 1)
        log.look()
        assert log.size == 2
        con.close()
        log.unplug()

    run(main)
    assert [m.state for m in seen] == ["state 1", "state 2"]


def test_leaves_that_a_copy_brings_back_are_not_told_anew(tmp_path: Path) -> None:
    seen = list[Move]()

    async def main() -> None:
        state, kept, older = tmp_path / "state", tmp_path / "kept", tmp_path / "older"
        state.mkdir()
        log = AgentLog(ORIGINAL, state / "agent.db", lambda text: None, seen)

        def put_back(copy: Path) -> None:
            log.unplug()
            shutil.rmtree(state)
            shutil.copytree(copy, state)

        con = opened(state)
        con.executescript(TABLES)
        for seq, copy in ((1, older), (2, kept), (3, None)):
            moves(con, seq, 1)
            log.look()
            if copy is not None:
                con.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                shutil.copytree(state, copy)
        con.close()
        put_back(older)  # the disk had kept no more
        lost = log.plug_in()
        assert lost is not None
        assert (lost.leaves, lost.first_at) == (2, 0.0)
        put_back(kept)
        lost = log.plug_in()
        assert lost is not None
        assert lost.leaves == 1
        con = opened(state)
        log.look()
        assert log.size == 2
        moves(con, 3, 2)
        log.look()
        con.close()
        log.unplug()

    run(main)
    assert [(m.item, m.seq) for m in seen] == [(1, 1), (1, 2), (1, 3), (2, 3)]


def test_what_arrives_after_a_power_cut_was_announced(tmp_path: Path) -> None:
    """A datagram is on its way for some time, and nobody could read that log then."""

    async def main() -> None:
        log = AgentLog(ORIGINAL, tmp_path / "agent.db", lambda text: None, [])
        con = opened(tmp_path)
        con.executescript(TABLES)
        moves(con, 1, 1)
        con.execute("INSERT INTO plan VALUES (?, 'port-set', 'maria')", (b"p",))
        con.execute("INSERT INTO event VALUES (2, ?, ?)", (b"2", ABOUT_TO))
        con.execute("INSERT INTO step VALUES (?, 1, 1, 'forward', 1, 2, NULL, '[]')", (b"p",))
        log.look()
        log.look_away()
        con.execute("UPDATE step SET outcome_seq = 2")  # what is in the file by then counts for nothing
        assert [(step.item, step.n) for step in log.open_steps()] == [(1, 1)]
        log.unplug()
        assert log.open_steps()
        log.plug_in()
        assert not log.open_steps()
        con.close()
        log.unplug()

    run(main)


def test_what_was_written_as_the_power_went_is_seen(tmp_path: Path) -> None:
    """A disk that lied loses it, and a mark that was written after it knows it."""
    seen = list[Move]()

    async def main() -> None:
        log = AgentLog(ORIGINAL, tmp_path / "agent.db", lambda text: None, seen)
        con = opened(tmp_path)
        con.executescript(TABLES)
        log.look()
        moves(con, 1, 1)
        log.look_away()
        con.execute("DELETE FROM event")
        con.execute("DELETE FROM item")
        lost = log.plug_in()
        assert lost is not None
        assert lost.leaves == 1
        con.close()
        log.unplug()

    run(main)
    assert [m.seq for m in seen] == [1]
