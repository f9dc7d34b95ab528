"""Makes the entries of a folder survive a power cut, and replaces a whole folder in one step."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import Final

_AT_FDCWD: Final = -100
_RENAME_EXCHANGE: Final = 2


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable: each created, replaced or deleted file.

    Raises:
        OSError: the folder cannot be opened or synced.
    """
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def swap(one: Path, other: Path) -> None:
    """Exchange two files or folders in one step: each name leads to the one or to the other, at every moment.

    Two renames would leave a moment, and after a power cut a state, in which one of the names leads nowhere.

    Source: renameat2(2), RENAME_EXCHANGE.

    Raises:
        OSError: one of them is missing; the file system cannot do it (EINVAL), such as FAT and NFS.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), str(one), None, str(other))
