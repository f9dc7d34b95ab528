"""Files of the desk: read with a limit, written whole or not at all, for their owner only."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from control_plane.errors import InputError, LocalFailureError
from durable.folders import sync_folder
from trust import chance

_MODE: Final = 0o600


def read(path: Path, max_bytes: int, what: str) -> bytes:
    """Return a file's bytes.

    Args:
        path: the file.
        max_bytes: the largest acceptable size.
        what: the name of the document, for messages ("the plan").

    Raises:
        InputError: it cannot be read, or it is larger.
    """
    try:
        with path.open("rb") as file:
            data = file.read(max_bytes + 1)
    except OSError as err:
        raise InputError(f"{path}: expected {what}, it cannot be read: {err.strerror}") from err
    if len(data) > max_bytes:
        raise InputError(f"{path}: expected {what} of at most {max_bytes} bytes, it is larger")
    return data


def read_if_there(path: Path, max_bytes: int, what: str) -> bytes | None:
    """Return a file's bytes, or None where there is none.

    Raises:
        InputError: it is there and cannot be read, or is larger than `max_bytes`.
    """
    return read(path, max_bytes, what) if os.path.lexists(path) else None


def write_new(path: Path, data: bytes) -> None:
    """Write a file of mode 0600 that must not be there yet.

    Raises:
        InputError: it is there.
        LocalFailureError: it cannot be written.
    """
    temporary = _write_temporary(path, data)
    try:
        # link refuses an existing name, and the name shows up with all its bytes behind it
        os.link(temporary, path)
    except FileExistsError as err:
        raise InputError(f"{path}: is there already, and is not overwritten") from err
    except OSError as err:
        raise LocalFailureError(f"{path}: cannot be written: {err.strerror}") from err
    finally:
        temporary.unlink(missing_ok=True)


def write(path: Path, data: bytes) -> None:
    """Write a file of mode 0600, replacing the one before as a whole.

    Raises:
        LocalFailureError: it cannot be written; the one before is as it was.
    """
    temporary = _write_temporary(path, data)
    try:
        temporary.replace(path)
        # A power cut could bring the old file back otherwise, and a witness must not forget what it cosigned
        sync_folder(path.parent)
    except OSError as err:
        temporary.unlink(missing_ok=True)
        raise LocalFailureError(f"{path}: cannot be written: {err.strerror}") from err


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a file of this person's against other commands of theirs, while it is read, changed and written.

    Raises:
        LocalFailureError: the lock beside it cannot be made.
    """
    make_private_folder(path.parent)
    try:
        fd = os.open(path.with_name(f".{path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _MODE)
    except OSError as err:
        raise LocalFailureError(f"{path}: cannot be locked: {err.strerror}") from err
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _write_temporary(path: Path, data: bytes) -> Path:
    temporary = path.with_name(f".{path.name}.{chance.token_hex(8)}")
    try:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE)
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError as err:
        temporary.unlink(missing_ok=True)
        raise LocalFailureError(f"{path}: cannot be written: {err.strerror}") from err
    return temporary


def make_private_folder(path: Path) -> None:
    """Make a folder of mode 0700 where there is none.

    Raises:
        LocalFailureError: it cannot be made.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as err:
        raise LocalFailureError(f"{path}: cannot be made: {err.strerror}") from err
