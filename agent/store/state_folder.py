"""Refuses a state directory that is not whole: by its names, kinds and owners, before anything in it is opened or made.

Its files belong together: `identity` and `store.key` open `keys.db`, `keys.db` opens `agent.db`. A daemon that made a
missing file anew would go on as another agent, or with a log that forgot everything.
"""

from __future__ import annotations

import sqlite3
import stat
from pathlib import Path
from typing import Final

from agent.store.errors import DamagedStateError, StoreFailedError

DATABASE: Final = "agent.db"
KEYS: Final = "keys.db"
IDENTITY: Final = "identity"
UNPACKING: Final = ".restoring"
"""Folder inside a new state directory, until all of a backup was proven and has its place."""

PUT_BACK: Final = "put the state directory back from a backup (docs/operations.md, Back up and restore)"
"""Advice of an error: what to do about a damaged file."""

_DAMAGED: Final = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


def refuse_half_written(folder: Path) -> None:
    """Refuse a directory in which files are missing, are no files, or belong to another user than the directory.

    Raises:
        DamagedStateError: it is not whole; the message has the advice.
    """
    try:
        owner = folder.stat().st_uid
        found = {path.name: path.lstat() for path in folder.iterdir()}
    except FileNotFoundError:
        return  # no state at all is another error, which names the command that makes one
    except OSError as err:
        raise DamagedStateError(f"{folder}: cannot be read: {err.strerror}: run this as the daemon's user") from err
    if UNPACKING in found and IDENTITY not in found:
        raise DamagedStateError(
            f"{folder}: a restore into it was ended before its end: remove what is in it, {UNPACKING} too, and type"
            " ispagent restore again"
        )
    held = [name for name in (KEYS, DATABASE) if name in found]
    if IDENTITY not in found and held:
        raise DamagedStateError(
            f"{folder / IDENTITY}: expected the keys of the agent whose {held[0]} lies there, got none: {PUT_BACK}; a"
            " new agent begins in an empty directory"
        )
    for name in filter(found.__contains__, (IDENTITY, KEYS, DATABASE)):
        if not stat.S_ISREG(found[name].st_mode):
            raise DamagedStateError(f"{folder / name}: expected a file, got something else: {PUT_BACK}")
        if found[name].st_uid != owner:
            raise DamagedStateError(
                f"{folder / name}: expected a file of uid {owner}, to whom the directory belongs, got one of uid"
                f" {found[name].st_uid}: chown --recursive --reference={folder} {folder}"
            )


def refuse_without_database(folder: Path, *, has_keys: bool) -> None:
    """Refuse keys without the database that they open: a new one would be a log that forgot everything.

    Args:
        folder: the state directory.
        has_keys: whether there are keys of subjects: an agent that ever ran has at least its own.

    Raises:
        DamagedStateError: it is missing or empty.
    """
    path = folder / DATABASE
    if has_keys and not (path.exists() and path.stat().st_size):
        got = "an empty file" if path.exists() else "none"
        raise DamagedStateError(
            f"{path}: expected the database that {KEYS} has the keys of, got {got}: {PUT_BACK}; a new agent begins in"
            " an empty directory"
        )


def opening_error(name: str, err: sqlite3.Error | OSError) -> DamagedStateError | StoreFailedError:
    """Return the error of a database that cannot be opened: damaged for good, or in want of a disk that works."""
    if getattr(err, "sqlite_errorcode", 0) & 0xFF in _DAMAGED:
        return DamagedStateError(f"{name}: it is damaged: {err}: {PUT_BACK}, and look at the disk")
    return StoreFailedError(f"{name}: cannot be opened: {err}")
