"""A real file system of a few KiB, for tests of a full disk. It needs root, and a process of its own."""

from __future__ import annotations

import ctypes
import os
import pickle
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.servers import missing

PAGE: Final = 4096
_CLONE_NEWNS: Final = 0x00020000


class SmallDisk:
    """A disk that is mounted at `folder`, in the process that `with_small_disk` makes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self._mount("tmpfs", "size=100%")

    def _mount(self, *words: str) -> None:
        subprocess.run(["mount", "-t", words[0], "-o", words[1], "tmpfs", str(self.folder)], check=True)

    def leave(self, pages: int) -> None:
        """Let so many pages be free; 0 or more."""
        used = os.statvfs(self.folder)
        size = (used.f_blocks - used.f_bfree) * used.f_frsize + pages * PAGE
        self._mount("tmpfs", f"remount,size={max(size, PAGE)}")

    def grow(self) -> None:
        """Let there be room for everything."""
        self._mount("tmpfs", "remount,size=64m")


def with_small_disk(folder: Path, work: Callable[[SmallDisk], object]) -> None:
    """Run `work` in a process with mounts of its own, which end with it; what it raises is raised here, as a text.

    Raises:
        AssertionError: `work` failed.
    """
    if os.geteuid() != 0:
        missing("a small disk is mounted by root alone")
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        try:
            libc = ctypes.CDLL(None, use_errno=True)
            if libc.unshare(_CLONE_NEWNS) != 0:
                raise OSError(ctypes.get_errno(), "unshare")
            subprocess.run(["mount", "--make-rprivate", "/"], check=True)
            work(SmallDisk(folder))
            said = b""
        except BaseException as err:  # noqa: BLE001  # it goes to the process that asked
            said = pickle.dumps(f"{type(err).__name__}: {err}")
        finally:
            os.write(writer, said)
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as told:
        text = told.read()
    os.waitpid(child, 0)
    if text:
        raise AssertionError(pickle.loads(text))
