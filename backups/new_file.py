"""A file that appears under its name whole and durable, or not at all.

* It is written beside its name, as `NAME.part`, and locked: two runs never write the same one. The next run writes over
  the rest of a killed one.
* Nothing is overwritten: a file of that name is refused.
* It is made durable in small pieces: one large fsync at the end would hold up the commits of a database on the disk.
"""

from __future__ import annotations

import fcntl
import io
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO, Final, cast

from backups.errors import BackupStorageError
from durable.folders import sync_folder

PIECE_BYTES: Final = 4 * 1024 * 1024
"""Made durable at a time."""


class _Pieces(io.RawIOBase):
    """Writes a file and makes it durable piece by piece, out of the page cache."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._synced = self._size = 0

    def write(self, data: bytes, /) -> int:  # type: ignore[override]  # its one writer gives bytes
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._fd, rest) :]
        self._size += len(data)
        if self._size - self._synced >= PIECE_BYTES:
            self.sync()
        return len(data)

    def sync(self) -> None:
        os.fdatasync(self._fd)
        os.posix_fadvise(self._fd, self._synced, self._size - self._synced, os.POSIX_FADV_DONTNEED)
        self._synced = self._size


@contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """Give a file to write, mode 0600. It has its name once the block has ended well; else nothing is left.

    Raises:
        BackupStorageError: it is there already, another run writes it, the disk is full, or it cannot be written.
    """
    _refuse_existing(path)
    part = path.with_name(f"{path.name}.part")
    try:
        fd = _locked(path, part)
        try:
            out = _Pieces(fd)
            yield cast("BinaryIO", out)
            out.sync()
            os.fsync(fd)
            _refuse_existing(path)
            part.rename(path)
            sync_folder(path.parent)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        finally:
            os.close(fd)
    except OSError as err:
        raise BackupStorageError(f"{path}: cannot be written: {err.strerror or err}") from err


def _refuse_existing(path: Path) -> None:
    if os.path.lexists(path):
        raise BackupStorageError(f"{path}: is there already, and is not overwritten")


def _locked(path: Path, part: Path) -> int:
    fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with ExitStack() as undo:
        undo.callback(os.close, fd)
        if os.fstat(fd).st_uid != os.geteuid():
            raise BackupStorageError(f"{part}: belongs to somebody else: expected a folder that is ours alone")
        if not _is_ours(fd, part):
            raise BackupStorageError(f"{path}: another run is writing it: wait for its end")
        os.ftruncate(fd, 0)
        os.fchmod(fd, 0o600)
        undo.pop_all()
    return fd


def _is_ours(fd: int, part: Path) -> bool:
    """Return whether the file is locked by us, and still the one beside its name: another run may have renamed it."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.fstat(fd).st_ino == part.lstat().st_ino
    except (BlockingIOError, FileNotFoundError):
        return False
