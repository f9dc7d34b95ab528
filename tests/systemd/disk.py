"""A small disk whose power can be cut: what was not written through to it is lost, as on a real one.

It is an ext4 file system on a loop device. `cut` shuts it down without its journal (EXT4_IOC_SHUTDOWN, which the
file system tests of the kernel use): of all that was written, what nobody synced is gone. `power_on` mounts it again,
and ext4 replays its journal, as after a reboot.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.debian_root import memory_folder
from tests.servers import ServerMissingError, program

_SHUTDOWN = 0x8004587D
"""EXT4_IOC_SHUTDOWN, _IOR('X', 125, __u32): include/uapi/linux/ext4.h."""
_NO_LOG_FLUSH = 2
_UNMOUNT_S = 30.0


@dataclass(frozen=True, slots=True)
class CutDisk:
    """A disk, mounted at `folder`."""

    image: Path
    folder: Path

    def power_on(self) -> None:
        """Mount it."""
        subprocess.run(["mount", "-o", "loop", self.image, self.folder], check=True)

    def cut(self) -> None:
        """Cut its power: from now on nothing is read from it or written to it, and what was not synced is lost."""
        handle = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(handle, _SHUTDOWN, struct.pack("I", _NO_LOG_FLUSH))
        finally:
            os.close(handle)

    def power_off(self) -> None:
        """Unmount it, once the processes of a system that used it are gone.

        Another system that boots meanwhile has a copy of each mount of the machine for a moment. While one has this
        disk's, the next mount would be the same one: without power, and not replayed.
        """
        deadline = time.monotonic() + _UNMOUNT_S
        while subprocess.run(["umount", self.folder], capture_output=True, check=False).returncode != 0:
            self._wait(deadline)
        looking = ["losetup", "--noheadings", "--associated", self.image]
        while subprocess.run(looking, capture_output=True, check=True).stdout:
            self._wait(deadline)

    def _wait(self, deadline_s: float) -> None:
        if time.monotonic() > deadline_s:
            raise AssertionError(f"{self.folder} is still in use after {_UNMOUNT_S:.0f} s")
        time.sleep(0.1)


@contextmanager
def cut_disk(folder: Path, size_mib: int = 1024) -> Iterator[CutDisk]:
    """Lend an empty disk, mounted; it is removed at the end.

    Raises:
        ServerMissingError: the program that makes its file system is not installed, or it cannot be mounted.
    """
    mkfs = program("mkfs.ext4", "e2fsprogs")
    image = Path(memory_folder() or folder, f"{folder.name}-{os.getpid()}.ext4")
    (folder / "disk").mkdir()
    disk = CutDisk(image, folder / "disk")
    try:
        with image.open("wb") as file:
            file.truncate(size_mib << 20)
        subprocess.run([mkfs, "-q", image], check=True)
        try:
            disk.power_on()
        except subprocess.CalledProcessError as err:
            raise ServerMissingError(f"no ext4 file system can be mounted from a file here: {err}") from err
        try:
            yield disk
        finally:
            if disk.folder.is_mount():
                disk.power_off()
    finally:
        image.unlink(missing_ok=True)
        shutil.rmtree(disk.folder, ignore_errors=True)
