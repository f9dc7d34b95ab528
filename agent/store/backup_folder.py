"""The folders to which backups are made by themselves: their names, and which of them go.

* Data is bounded by number: the newest `keep` stay.
* Keys are bounded by age, since as long as they lie there an erased subscriber's data can be opened. The newest stay,
  whatever their age: without them nothing opens.
* Where a backup is dated after now, the clock is wrong or was: nothing goes, and it is said.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from agent.store.backup import BackupPaths
from backups.errors import BackupStorageError

_STAMP: Final = "%Y%m%dT%H%M%SZ"
_DATED: Final = re.compile(r"-(\d{8}T\d{6}Z)\.(keys\.)?age(\.part)?", re.ASCII)


def dated(name: str, to: Path, keys_to: Path, now_s: int) -> BackupPaths:
    """Return where a backup of agent `name` goes: `noc-1-20261128T020000Z.age`, its keys `….keys.age`."""
    stem = f"{name}-{datetime.fromtimestamp(now_s, UTC).strftime(_STAMP)}"
    return BackupPaths(to / f"{stem}.age", keys_to / f"{stem}.keys.age")


def prune(name: str, made: BackupPaths, keep: int, keys_days: int, now_s: int) -> list[Path]:
    """Delete the backups of agent `name` beside the one just made that are too many or too old; return them.

    Raises:
        BackupStorageError: one cannot be deleted, or one is dated after now: then none was.
    """
    now = datetime.fromtimestamp(now_s, UTC)
    data = sorted(_found(made.data.parent, name, ".age"))
    keys = sorted(_found(made.keys.parent, name, ".keys.age"))
    for day, path in (*data, *keys):
        if day > now:
            raise BackupStorageError(
                f"{path}: is dated after now: look at the clock; no older backup was deleted before that is mended"
            )
    old = [path for _, path in data[:-keep]]
    old += [path for day, path in keys[:-1] if day < now - timedelta(days=keys_days)]
    old += [path for folder in {made.data.parent, made.keys.parent} for path in _left_over(folder, name)]
    try:
        for path in old:
            path.unlink()
    except OSError as err:
        raise BackupStorageError(f"{path}: cannot be deleted: {err.strerror}: the folder fills up") from err
    return old


def _found(folder: Path, name: str, ending: str) -> Iterator[tuple[datetime, Path]]:
    for path in folder.glob(f"{name}-*{ending}"):
        match = _DATED.fullmatch(path.name.removeprefix(name))
        if match is not None and f".{match[2] or ''}age" == ending and match[3] is None:
            with suppress(ValueError):
                yield datetime.strptime(match[1], _STAMP).replace(tzinfo=UTC), path


def _left_over(folder: Path, name: str) -> Iterator[Path]:
    """Give the halves that killed runs left; of a run that goes on the file is locked."""
    for path in folder.glob(f"{name}-*.part"):
        if _DATED.fullmatch(path.name.removeprefix(name)) is None:
            continue
        with suppress(OSError):
            fd = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                yield path
            finally:
                os.close(fd)
