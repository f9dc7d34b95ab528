"""The newest backup that was made on this machine, and whether it is too old: `status` and `doctor` say so."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from durable.folders import sync_folder
from trust.moments import moment_text

FILE_NAME: Final = "backup.json"
HOUR_S: Final = 3600
AHEAD_S: Final = 300
"""A backup that is dated later than this after now shows that the clock went back."""


@dataclass(frozen=True, slots=True)
class LastBackup:
    """The newest backup that was made here. `pair`: the common id of its two files; times are unix seconds."""

    made_s: int
    pair: str
    log_size: int
    data: str
    keys: str
    data_bytes: int
    recipients: tuple[str, ...]


def read_last(state_dir: Path) -> LastBackup | None:
    """Return the newest backup that was made here; None: there was none, or the note of it cannot be read."""
    try:
        said = json.loads((state_dir / FILE_NAME).read_bytes())
        return LastBackup(**{**said, "made_s": int(said["made_s"]), "recipients": tuple(said["recipients"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None


def write_last(state_dir: Path, last: LastBackup) -> None:
    """Keep a note of the newest backup, durably.

    Raises:
        OSError: it cannot be written.
    """
    part = state_dir / f"{FILE_NAME}.new"
    fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(json.dumps(asdict(last)).encode())
        file.flush()
        os.fsync(file.fileno())
    part.replace(state_dir / FILE_NAME)
    sync_folder(state_dir)


class BackupAge:
    """How old the newest backup is, and whether that is too old."""

    def __init__(self, state_dir: Path, max_age_h: int, wall_s: Callable[[], float], *, wanted: bool) -> None:
        """Take the state directory. `max_age_h` 0: no age is too old. `wanted`: backups are configured."""
        self._state_dir, self._max_age_h, self._wall_s = state_dir, max_age_h, wall_s
        self.wanted = wanted

    def last(self) -> LastBackup | None:
        """Return the newest backup that was made here; None: there was none."""
        return read_last(self._state_dir)

    def check(self) -> tuple[str, str, str]:
        """Return the result of a check (ok, warning, fails or not-checked), its detail, and its mend."""
        last = self.last()
        if problem := self.problem():
            if self.wanted:
                mend = "systemctl status ispagent-backup.timer ispagent-backup.service; ispagent backup"
                return "fails", problem, mend
            return "warning", problem, "ispagent backup --to FILE --recipient age1…"
        if last is None:
            return "not-checked", "none was made here, and none is expected", ""
        return "ok", f"the newest was made {moment_text(last.made_s)}, of {last.log_size} leaves", ""

    def problem(self) -> str:
        """Return why a person should see to backups, "" where nobody need."""
        if not self._max_age_h:
            return ""
        last = self.last()
        if last is None:
            return "no backup was ever made here"
        age_s = self._wall_s() - last.made_s
        if age_s < -AHEAD_S:
            return f"the newest backup is dated {moment_text(last.made_s)}, after now: look at the clock"
        if age_s <= self._max_age_h * HOUR_S:
            return ""
        return f"the newest backup is {int(age_s // HOUR_S)} h old, expected at most {self._max_age_h} h"
