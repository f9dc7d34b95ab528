"""Two folders change places."""

from __future__ import annotations

from pathlib import Path

import pytest

from durable.folders import swap, sync_folder


def test_two_folders_change_places(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for folder in (one, other):
        folder.mkdir()
        (folder / folder.name).touch()
    swap(one, other)
    sync_folder(tmp_path)
    assert [path.name for path in (*one.iterdir(), *other.iterdir())] == ["other", "one"]


def test_one_of_them_is_missing(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    with pytest.raises(FileNotFoundError, match="other"):
        swap(tmp_path / "one", tmp_path / "other")
    assert (tmp_path / "one").is_dir()
