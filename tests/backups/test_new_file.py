"""A new file is whole or not there, whatever ends the run that writes it."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from pathlib import Path

import pytest

from backups import new_file as new_files
from backups.errors import BackupStorageError
from backups.new_file import PIECE_BYTES, new_file


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_it_has_its_name_at_the_end(tmp_path: Path) -> None:
    with new_file(tmp_path / "f") as out:
        out.write(b"x" * (PIECE_BYTES + 1))
        out.write(b"y")
        assert names(tmp_path) == ["f.part"]
        assert stat.S_IMODE((tmp_path / "f.part").stat().st_mode) == 0o600
    assert names(tmp_path) == ["f"]
    assert (tmp_path / "f").read_bytes() == b"x" * (PIECE_BYTES + 1) + b"y"
    assert stat.S_IMODE((tmp_path / "f").stat().st_mode) == 0o600


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("before")
    with pytest.raises(BackupStorageError, match="is there already"), new_file(tmp_path / "f"):
        pass
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(BackupStorageError, match="is there already"), new_file(tmp_path / "link"):
        pass
    with pytest.raises(BackupStorageError, match="is there already"), new_file(tmp_path / "g"):
        (tmp_path / "g").write_text("somebody was faster")
    assert (tmp_path / "f").read_text() == "before"
    assert (tmp_path / "g").read_text() == "somebody was faster"
    assert "g.part" not in names(tmp_path)


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_nothing_is_left_of_a_run_that_ends(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error), new_file(tmp_path / "f"):
        raise error
    assert names(tmp_path) == []


@pytest.mark.parametrize("call", ["write", "fdatasync", "fsync"])
def test_a_full_disk_at_each_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(new_files.os, call, full)
    with (
        pytest.raises(BackupStorageError, match="f: cannot be written: No space left"),
        new_file(tmp_path / "f") as out,
    ):
        out.write(b"whole")
    assert names(tmp_path) == []


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BackupStorageError, match="No such file"), new_file(tmp_path / "none" / "f"):
        pass


def test_two_runs_at_once(tmp_path: Path) -> None:
    with new_file(tmp_path / "f") as out:
        out.write(b"first")
        with pytest.raises(BackupStorageError, match="another run is writing it"), new_file(tmp_path / "f"):
            pass
    assert (tmp_path / "f").read_bytes() == b"first"


def test_what_a_killed_run_left_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "f.part").write_bytes(b"half of an earlier one")
    (tmp_path / "f.part").chmod(0o644)
    with new_file(tmp_path / "f") as out:
        out.write(b"new")
    assert (tmp_path / "f").read_bytes() == b"new"
    assert stat.S_IMODE((tmp_path / "f").stat().st_mode) == 0o600


def test_a_part_that_just_got_its_name_is_not_truncated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another run ends between our opening of its part and our lock: the file that we hold is its whole one."""
    (tmp_path / "f.part").write_bytes(b"whole")
    lock = fcntl.flock

    def late(fd: int, how: int) -> None:
        (tmp_path / "f.part").rename(tmp_path / "f")
        lock(fd, how)

    monkeypatch.setattr(new_files.fcntl, "flock", late)
    with pytest.raises(BackupStorageError, match="another run"), new_file(tmp_path / "f"):
        pass
    assert (tmp_path / "f").read_bytes() == b"whole"


def test_a_part_that_somebody_else_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a folder that others may write: they would hold it open, and could change what we write."""
    (tmp_path / "f.part").write_text("theirs")
    monkeypatch.setattr(new_files.os, "geteuid", lambda: 4242)
    with pytest.raises(BackupStorageError, match="belongs to somebody else"), new_file(tmp_path / "f"):
        pass
    assert (tmp_path / "f.part").read_text() == "theirs"
