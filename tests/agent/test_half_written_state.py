"""A state directory that is not whole: each start ends with one sentence, exit code 2, and nothing is made anew."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import typer

from agent.cli import client, local
from agent.store.errors import DamagedStateError
from agent.store.state_folder import UNPACKING, refuse_half_written
from tests.agent.units import WAIT_S, Unit
from tests.marks import slow_unless

PUT_BACK = "put the state directory back from a backup (docs/operations.md, Back up and restore)"
Damage = Callable[[Path], object]


def _gone(name: str) -> Damage:
    return lambda state: (state / name).unlink()


def _emptied(name: str) -> Damage:
    return lambda state: (state / name).write_bytes(b"")


def _cut(name: str) -> Damage:
    def cut(state: Path) -> None:
        data = (state / name).read_bytes()
        (state / name).write_bytes(data[: len(data) // 2])

    return cut


def _zeroed(table: str) -> Damage:
    """Return what zeroes the first page of a table in keys.db."""

    def zero(state: Path) -> None:
        with closing(sqlite3.connect(state / "keys.db")) as con:
            (page,) = con.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()
            (size,) = con.execute("PRAGMA page_size").fetchone()
        with (state / "keys.db").open("r+b") as file:
            file.seek((page - 1) * size)
            file.write(bytes(size))

    return zero


def _restore_killed(*moved: str) -> Damage:
    """Leave what a restore leaves that is killed when only these files have got their places."""

    def leave(state: Path) -> None:
        unpacking = state / UNPACKING
        unpacking.mkdir()
        for path in [path for path in state.iterdir() if path != unpacking and path.name not in moved]:
            path.rename(unpacking / path.name)

    return leave


def _folder(name: str) -> Damage:
    def replace(state: Path) -> None:
        (state / name).unlink()
        (state / name).mkdir()

    return replace


DAMAGES: dict[str, tuple[Damage, str, str]] = {
    "keys.db missing": (_gone("keys.db"), "keys.db: expected the keys and the mark of a log", "put keys.db back"),
    "keys.db empty": (_emptied("keys.db"), "keys.db: expected the keys and the mark of a log", "put keys.db back"),
    "keys.db cut": (_cut("keys.db"), "keys.db: it is damaged: ", f"{PUT_BACK}, and look at the disk"),
    "keys.db with a page of zeros": (
        _zeroed("sealing"),
        "keys.db: it is damaged, and nothing more is done with it",
        f"{PUT_BACK}, and look at the disk",
    ),
    "keys.db a folder": (_folder("keys.db"), "keys.db: expected a file, got something else", PUT_BACK),
    "journal missing": (_gone("agent.db"), "agent.db: expected the database that keys.db has the keys of", PUT_BACK),
    "journal empty": (_emptied("agent.db"), "that keys.db has the keys of, got an empty file", PUT_BACK),
    "journal cut": (_cut("agent.db"), "agent.db: it is damaged: ", f"{PUT_BACK}, and look at the disk"),
    "identity missing": (_gone("identity"), "expected the keys of the agent whose keys.db lies there", PUT_BACK),
    "identity empty": (_emptied("identity"), "the store key does not open this agent's identity", PUT_BACK),
    "identity cut": (_cut("identity"), "the store key does not open this agent's identity", PUT_BACK),
    "store key missing": (
        _gone("store.key"),
        "store key store.key: cannot be read",
        "docs/operations.md, Seal the keys",
    ),
    "store key empty": (_emptied("store.key"), "store key store.key: expected 32 bytes, got 0", PUT_BACK),
    "store key cut": (_cut("store.key"), "store key store.key: expected 32 bytes, got 16", PUT_BACK),
    "restore killed early": (_restore_killed(), "a restore into it was ended", "type ispagent restore again"),
    "restore killed late": (
        _restore_killed("agent.db", "keys.db", "series.db", "store.key"),
        "a restore into it was ended before its end",
        "type ispagent restore again",
    ),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Unit]:
    """An agent that ran once and ended as it should; a copy of its state directory lies beside it."""
    unit = Unit(tmp_path_factory.mktemp("whole"))
    with unit.started(passed=unit.api.fileno()) as process:
        unit.told("READY=1")
        process.send_signal(signal.SIGTERM)
        assert process.wait(WAIT_S) == 0
    for name in ("state", "state-mark"):
        shutil.copytree(unit.folder / name, unit.folder / f"copy-of-{name}")
    yield unit
    unit.close()


@pytest.fixture
def unit(whole: Unit) -> Unit:
    """The agent with its state directory as it was."""
    for name in ("state", "state-mark"):
        shutil.rmtree(whole.folder / name)
        shutil.copytree(whole.folder / f"copy-of-{name}", whole.folder / name)
    return whole


def _start(unit: Unit) -> tuple[int, str]:
    """Return the exit code of a start that does not come to serve, and its words for people."""
    with unit.started(passed=unit.api.fileno()) as process:
        _, errors = process.communicate(timeout=WAIT_S)
    return process.returncode, "\n".join(line for line in errors.splitlines() if not line.startswith("{"))


@pytest.mark.parametrize("name", slow_unless(lambda name: name in ("journal missing", "restore killed late"), DAMAGES))
def test_a_start_on_half_a_state_ends_with_one_sentence(name: str, unit: Unit) -> None:
    damage, said, remedy = DAMAGES[name]
    state = unit.folder / "state"
    damage(state)
    before = {path.relative_to(state) for path in state.rglob("*")}
    code, words = _start(unit)
    assert (code, len(words.splitlines())) == (2, 1), words
    assert said in words
    assert remedy in words
    made = {str(path.relative_to(state)) for path in state.rglob("*")} - {str(path) for path in before}
    made = {name for name in made if not name.endswith(("-wal", "-shm"))}  # of whoever reads a database last
    assert made <= {"keys.db", "lock"}, "no identity, no key and no journal is made anew"
    assert _start(unit) == (code, words), "the second start is refused as the first one was"


@pytest.mark.parametrize("name", ["identity missing", "restore killed late"])
def test_init_makes_no_second_agent_of_half_a_state(name: str, unit: Unit, capsys: pytest.CaptureFixture[str]) -> None:
    damage, said, remedy = DAMAGES[name]
    damage(unit.folder / "state")
    with pytest.raises(typer.Exit) as ended:
        local.init(unit.config, unit.folder / "again.json")
    assert ended.value.exit_code == client.USAGE
    words = capsys.readouterr().err
    assert said in words
    assert remedy in words
    assert not (unit.folder / "again.json").exists()
    assert not (unit.folder / "state/identity").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a file to another user")
@pytest.mark.parametrize("name", ["identity", "keys.db", "agent.db"])
def test_a_file_of_another_user_is_refused_with_its_mend(name: str, unit: Unit) -> None:
    state = unit.folder / "state"
    os.chown(state / name, 12345, 12345)
    with pytest.raises(DamagedStateError) as caught:
        refuse_half_written(state)
    owner = state.stat().st_uid
    assert f"{state / name}: expected a file of uid {owner}, to whom the directory belongs, got one of uid 12345" in (
        str(caught.value)
    )
    assert f"chown --recursive --reference={state} {state}" in str(caught.value)


def test_a_directory_that_nobody_can_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "state").write_bytes(b"no directory")
    with pytest.raises(DamagedStateError, match="state: cannot be read: Not a directory"):
        refuse_half_written(tmp_path / "state")


def test_a_restore_ended_in_its_last_step_leaves_all_whole(unit: Unit) -> None:
    """The identity had its place: only the empty folder was not removed any more."""
    (unit.folder / "state" / UNPACKING).mkdir()
    refuse_half_written(unit.folder / "state")
    refuse_half_written(unit.folder / "no such directory")
