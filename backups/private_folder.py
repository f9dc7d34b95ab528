"""A folder for clear data that is gone at the end, however the program ends, but for SIGKILL."""

from __future__ import annotations

import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType

from backups.errors import BackupStorageError

_SIGNALS = (signal.SIGTERM, signal.SIGHUP)


@contextmanager
def private_folder(prefix: str) -> Iterator[Path]:
    """Give a new folder of mode 0700 in TMPDIR, deleted at the end; signals that end a program run through that.

    Raises:
        BackupStorageError: it cannot be made.
    """
    with ExitStack() as undo:
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                undo.callback(signal.signal, number, signal.signal(number, _leave))
        try:
            folder = Path(tempfile.mkdtemp(prefix=prefix))
        except OSError as err:
            raise BackupStorageError(f"{tempfile.gettempdir()}: no folder can be made: {err.strerror}") from err
        undo.callback(shutil.rmtree, folder, ignore_errors=True)
        yield folder


def _leave(number: int, _: FrameType | None) -> None:
    sys.exit(128 + number)
