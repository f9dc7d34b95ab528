"""Room on the disk: asked for before something is written, and missed by an error that says how much.

The error names the path, the room that is needed, the room that is free and the difference.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from agent.update.errors import HostError

DOCUMENTS_BYTES: Final = 4 << 20
"""For the documents of a repository: limited to 1.2 MB, kept twice, with new versions beside them for a moment."""
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)


def require_room(folder: Path, needed_bytes: int, what: str) -> None:
    """Refuse to begin with something for which the disk has no room.

    Args:
        folder: where it is going to be, or a folder that is not there yet.
        needed_bytes: how much it takes, at most.
        what: its name, for the message.

    Raises:
        HostError: there is less; it names the path, both sizes and the difference.
    """
    free = free_bytes(folder)
    if free < needed_bytes:
        raise HostError(_message(folder, needed_bytes, free, what))


@contextmanager
def room(folder: Path, needed_bytes: int, what: str) -> Iterator[None]:
    """Ask for room, and say the same of a disk that fills up meanwhile. The arguments are those of `require_room`.

    The block removes its half-written files when it fails: the free room is measured after that.

    Raises:
        HostError: as `require_room`.
    """
    require_room(folder, needed_bytes, what)
    try:
        yield
    except (OSError, HostError) as err:
        cause = err if isinstance(err, OSError) else err.__cause__
        if not isinstance(cause, OSError) or cause.errno not in _FULL:
            raise
        raise HostError(_message(folder, needed_bytes, free_bytes(folder), what)) from err


def free_bytes(folder: Path) -> int:
    """Return how much a user that is not root may still write where a folder is, or is going to be.

    Raises:
        OSError: it cannot be looked at.
    """
    for at in (folder, *folder.parents):
        try:
            found = os.statvfs(at)
        except FileNotFoundError:
            continue
        return found.f_bavail * found.f_frsize
    return 0


def _message(folder: Path, needed: int, free: int, what: str) -> str:
    missing = f"{_kib(needed - free)} are missing" if free < needed else "a quota, or another program, takes it"
    told = f"{what} needs {_kib(needed)}, {_kib(free)} are free, {missing}"
    return f"{folder}: the disk is full: {told}; nothing was changed"


def _kib(size: int) -> str:
    return f"{-(-size // 1024):,} KiB"
