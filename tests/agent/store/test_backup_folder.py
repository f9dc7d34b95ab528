"""Which backups stay in a folder and which go."""

from __future__ import annotations

import fcntl
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agent.store.backup import BackupPaths
from agent.store.backup_folder import dated, prune
from backups.errors import BackupStorageError

NOW = int(datetime(2026, 11, 28, 2, tzinfo=UTC).timestamp())
DAY_S = 86_400


def made(folder: Path, day: int, name: str = "noc-1") -> BackupPaths:
    """Make a backup `day` days from now, keys in a folder of their own."""
    for part in ("data", "keys"):
        (folder / part).mkdir(exist_ok=True)
    paths = dated(name, folder / "data", folder / "keys", NOW + day * DAY_S)
    for path in (paths.data, paths.keys):
        path.write_text("sealed")
    return paths


def days(folder: Path) -> list[int]:
    return sorted(int(path.name.split("-")[2][6:8]) for path in folder.glob("noc-1-*"))


def test_their_names(tmp_path: Path) -> None:
    paths = dated("noc-1", tmp_path / "a", tmp_path / "b", NOW)
    assert paths.data == tmp_path / "a" / "noc-1-20261128T020000Z.age"
    assert paths.keys == tmp_path / "b" / "noc-1-20261128T020000Z.keys.age"


def test_data_goes_by_number_and_keys_by_age(tmp_path: Path) -> None:
    for day in range(-12, 0):
        made(tmp_path, day)
    newest = made(tmp_path, 0)
    gone = prune("noc-1", newest, 3, 5, NOW)
    assert days(tmp_path / "data") == [26, 27, 28]
    assert days(tmp_path / "keys") == [23, 24, 25, 26, 27, 28]
    assert len(gone) == 10 + 7
    assert prune("noc-1", newest, 3, 5, NOW) == []


def test_in_one_folder(tmp_path: Path) -> None:
    for day in range(-5, 1):
        paths = made(tmp_path, day)
        paths.keys.rename(paths.data.with_name(paths.keys.name))
    newest = BackupPaths(paths.data, paths.data.with_name(paths.keys.name))
    prune("noc-1", newest, 2, 30, NOW)
    assert len(list((tmp_path / "data").glob("*Z.age"))) == 2
    assert len(list((tmp_path / "data").glob("*.keys.age"))) == 6


def test_the_newest_keys_stay_at_any_age(tmp_path: Path) -> None:
    old = made(tmp_path, -90)
    assert prune("noc-1", old, 1, 30, NOW) == []


def test_what_is_not_ours_stays(tmp_path: Path) -> None:
    newest = made(tmp_path, 0)
    others = [made(tmp_path, -50, "noc-2").data, made(tmp_path, -50, "noc-1-b").data]
    for name in ("noc-1-notes.age", "noc-1-20261301T000000Z.age", "noc-1.age", "noc-1-20200101T000000Z.age.txt"):
        others.append(tmp_path / "data" / name)
        others[-1].write_text("somebody's")
    assert prune("noc-1", newest, 1, 1, NOW) == []
    assert all(path.exists() for path in others)


def test_a_backup_from_the_future_stops_all_deleting(tmp_path: Path) -> None:
    """The clock went back, or was ahead: the newest by name are not the newest."""
    for day in (-3, -2, 2):
        made(tmp_path, day)
    newest = made(tmp_path, 0)
    with pytest.raises(BackupStorageError, match="is dated after now: look at the clock"):
        prune("noc-1", newest, 1, 1, NOW)
    assert len(list((tmp_path / "data").iterdir())) == 4


def test_halves_of_killed_runs_go_those_of_running_ones_stay(tmp_path: Path) -> None:
    newest = made(tmp_path, 0)
    left, runs = (newest.data.with_name(f"noc-1-2026112{n}T000000Z.age.part") for n in (6, 7))
    left.write_text("half")
    with runs.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert prune("noc-1", newest, 1, 1, NOW) == [left]
    assert runs.exists()


def test_one_that_cannot_be_deleted(tmp_path: Path) -> None:
    old = made(tmp_path, -3)
    old.data.unlink()
    old.data.mkdir()
    with pytest.raises(BackupStorageError, match="cannot be deleted"):
        prune("noc-1", made(tmp_path, 0), 1, 30, NOW)
