"""The note of the newest backup, and when its age is a problem."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.store.last_backup import FILE_NAME, HOUR_S, BackupAge, LastBackup, read_last, write_last

NOW = 1_795_860_000
LAST = LastBackup(NOW - 47 * HOUR_S, "ab" * 16, 7, "/b/noc-1.age", "/k/noc-1.keys.age", 4096, ("age1x",))


def age(folder: Path, now_s: float = NOW, max_age_h: int = 48) -> BackupAge:
    return BackupAge(folder, max_age_h, lambda: now_s, wanted=True)


def test_there_and_back(tmp_path: Path) -> None:
    assert read_last(tmp_path) is None
    for last in (LAST, LastBackup(NOW, "cd" * 16, 9, "a", "b", 1, ())):
        write_last(tmp_path, last)
        assert read_last(tmp_path) == age(tmp_path).last() == last
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]
    assert (tmp_path / FILE_NAME).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"made_s": 1}', '{"made_s": "soon", "recipients": []}', "\xff"])
def test_a_note_that_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE_NAME).write_text(text)
    assert read_last(tmp_path) is None
    assert age(tmp_path).problem() == "no backup was ever made here"


def test_when_its_age_is_a_problem(tmp_path: Path) -> None:
    assert age(tmp_path, max_age_h=0).problem() == ""
    write_last(tmp_path, LAST)
    assert age(tmp_path).problem() == ""
    assert age(tmp_path, NOW + HOUR_S).problem() == ""
    assert age(tmp_path, NOW + 2 * HOUR_S).problem() == "the newest backup is 49 h old, expected at most 48 h"
    assert age(tmp_path, NOW + 999 * HOUR_S, 0).problem() == ""
    assert age(tmp_path, LAST.made_s - 60).problem() == ""
    assert "after now: look at the clock" in age(tmp_path, LAST.made_s - HOUR_S).problem()
