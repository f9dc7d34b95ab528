"""The disk of a machine: what was written and not synced may be lost with the power; it may be full, and it may lie.

* Every write, truncation and sync of SQLite to a watched file comes by here (`tests.sim.disk_vfs`), and those of the
  mark file, which the agent writes by itself. So a program that forgets a sync loses what it wrote.
* A power cut happens at one of these operations. Of what was not synced each write is there, is not, or is there in
  part or as garbage, in sectors of 512 bytes; what was synced is there.
* A disk that lies says that it synced, and did not.
* A full disk writes what has its place already, and nothing more.
* A page that rots reads as something else, or not at all, until it is written again.
"""

from __future__ import annotations

import errno
import functools
import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from unittest import mock

from tests.sim.disk_vfs import FULL, OK, below_sqlite, look_at_reads

IO_ERROR: Final = 10
SECTOR: Final = 512
HEADER: Final = 100
"""Bytes that a new connection reads of a file at first, for the page size. SQLite judges page 1 alone, which it reads
from the write-ahead log if it is there."""
SHARED_MEMORY: Final = "-shm"
"""How a file ends that is memory in truth: it does not outlast the power."""
_is_series = functools.lru_cache(64)(lambda path: path.name.startswith("series."))
"""Tells the files of plots, at each write."""
Image = dict[Path, bytes | None]
"""What is on a disk: the content of each file; None: there is no such file."""


@dataclass(frozen=True, slots=True)
class Change:
    """A change of a file that is not synced yet. `old` was there before, in a file of `size`; `new` None: truncated."""

    offset: int
    new: bytes | None
    old: bytes
    size: int

    def undo(self, content: bytearray) -> None:
        content[self.offset : self.offset + len(self.old)] = self.old
        del content[self.size :]

    def redo(self, content: bytearray) -> None:
        if self.new is None:
            del content[self.offset :]
            return
        content.extend(bytes(max(0, self.offset - len(content))))
        content[self.offset : self.offset + len(self.new)] = self.new

    def torn(self, dice: random.Random) -> Change:
        """Return what a disk wrote of it that lost its power meanwhile: some sectors, or garbage in them."""
        if self.new is None:
            return self
        new, kept = bytearray(self.new), bytearray(self.old.ljust(len(self.new), b"\0"))
        for at in range(0, len(new), SECTOR):
            size = len(new[at : at + SECTOR])
            sector = dice.choice((new[at : at + size], kept[at : at + size], dice.randbytes(size)))
            new[at : at + size] = sector
        return Change(self.offset, bytes(new), self.old, self.size)


@dataclass(slots=True)
class Rot:
    """A page of a file that is in use reads as something else. `given`: the bytes read; None: an error."""

    path: Path
    offset: int
    given: bytes | None
    size: int

    def over(self, offset: int, data: bytes) -> bytes | None:
        """Return the bytes read in place of the file's own; None: an error."""
        first, last = max(offset, self.offset), min(offset + len(data), self.offset + self.size)
        if first >= last:
            return data
        if self.given is None:
            return None
        rotten = self.given[first - self.offset : last - self.offset]
        return data[: first - offset] + rotten + data[last - offset :]


@dataclass
class SimulatedDisk:
    """The disk with a machine's files, those in `folders`. `dice` say what a power cut leaves.

    `lies`: which files' syncs are none; `full`: no file grows. `on_cut` is called when the power goes.
    """

    folders: tuple[Path, ...]
    dice: random.Random
    on_cut: Callable[[], None] = lambda: None
    powered: bool = True
    full: bool = False
    lies: Callable[[Path], bool] = lambda path: False
    on_refused: Callable[[Path], None] = lambda path: None
    """Called with a file that could not grow."""
    on_rotten: Callable[[], None] = lambda: None
    """Called when a page that rots was read as a page, or gave an error."""
    rot: Rot | None = None
    """The page that rots; None: none does. `let_rot` sets it."""
    on_read: Callable[[Path, int, int], None] | None = None
    """Called before each read with the file, the offset and the size; None: nobody is told. `tell_reads` sets it."""
    left: Image = field(default_factory=dict)
    """What is on the disk, after the power was cut."""
    _unsynced: dict[Path, list[Change]] = field(default_factory=dict)
    _new: set[Path] = field(default_factory=set)
    _until: dict[Callable[[], None], int] = field(default_factory=dict)

    def after_operations(self, count: int, act: Callable[[], None]) -> None:
        """Let something happen at the operation that comes after so many; series are not counted."""
        self._until[act] = count

    def forget(self, act: Callable[[], None]) -> None:
        """Let something not happen any more that was to happen at an operation."""
        self._until.pop(act, None)

    def cut(self) -> None:
        """Cut the power, now."""
        if self.powered:
            self.powered = False
            self.left = self.image(crash=True)
            self.on_cut()

    def keep_all(self) -> None:
        """Take all that was written as written for good."""
        self._unsynced.clear()
        self._new.clear()

    def let_rot(self, rot: Rot | None) -> None:
        """Let a page rot from now on; None: none does any more."""
        self.rot = rot
        look_at_reads(rot is not None or self.on_read is not None)

    def tell_reads(self, told: Callable[[Path, int, int], None] | None) -> None:
        """Tell somebody of each read from now on; None: nobody any more."""
        self.on_read = told
        look_at_reads(self.rot is not None or told is not None)

    def image(self, *, crash: bool = False) -> Image:
        """Return what all files have now. `crash`: after the power was cut at this instant."""
        found: Image = {}
        paths = [p for folder in self.folders if folder.is_dir() for p in sorted(folder.iterdir())]
        for path in paths:
            if not path.is_file() or path.name.endswith(SHARED_MEMORY):
                continue
            content = bytearray(path.read_bytes())
            if crash and (changes := self._unsynced.get(path)):
                self._lose(content, changes)
            found[path] = bytes(content) if not (crash and path in self._new and not content) else None
        return found

    def _lose(self, content: bytearray, changes: list[Change]) -> None:
        for change in reversed(changes):
            change.undo(content)
        many = self.dice.choice((0, self.dice.randrange(len(changes) + 1), len(changes)))
        in_order = self.dice.random() < 0.5
        for n, change in enumerate(changes):
            if (n < many) if in_order else (self.dice.random() < 0.5):
                change.redo(content)
            elif self.dice.random() < 0.5 and (n == many or not in_order):
                change.torn(self.dice).redo(content)

    def put(self, image: Image) -> None:
        """Put these files in the place of those that are there, and give the machine its power."""
        for folder in self.folders:
            for path in sorted(folder.iterdir()) if folder.is_dir() else ():
                if path.is_file() and path not in image:
                    path.unlink()
        for path, content in image.items():
            if content is None:
                path.unlink(missing_ok=True)
                continue
            draft = path.with_name("draft")
            draft.write_bytes(content)
            draft.chmod(0o600)
            draft.replace(path)
        self.keep_all()
        self._until.clear()
        self.left = {}
        self.powered = True

    @contextmanager
    def attached(self) -> Iterator[None]:
        """Let this disk have the files for the block."""
        with (
            below_sqlite(self),
            mock.patch.object(os, "pwrite", self._pwrite(os.pwrite)),
            mock.patch.object(os, "fdatasync", self._fdatasync(os.fdatasync)),
        ):
            yield

    # --- what programs do with it -------------------------------------------------------------------------------------

    def watches(self, path: Path) -> bool:
        """Tell whether it has this file."""
        return path.parent in self.folders

    def opens(self, path: Path) -> int:
        """Note that a file may be made."""
        if not self.powered:
            return IO_ERROR
        if not path.exists():
            self._new.add(path)
        return OK

    def reads(self, path: Path, offset: int, data: bytes) -> bytes | None:
        """Return what the disk gives for what a file has there; None: an error."""
        if self.on_read is not None:
            self.on_read(path, offset, len(data))
        if self.rot is None or path != self.rot.path:
            return data
        given = self.rot.over(offset, data)
        if given is None or (given != data and len(data) > HEADER):
            self.on_rotten()
        return given

    def writes(self, path: Path, offset: int, data: bytes, old: bytes, size: int) -> int:
        """Note a write, or refuse it."""
        if self._count(path) and self.full and offset + len(data) > size:
            self.on_refused(path)
            return FULL
        if self.rot is not None and (path, offset) == (self.rot.path, self.rot.offset):
            self.let_rot(None)
        return self._change(path, Change(offset, data, old, size))

    def truncates(self, path: Path, to: int, old: bytes, size: int) -> int:
        """Note a truncation."""
        self._count(path)
        if self.rot is not None and path == self.rot.path and to <= self.rot.offset:
            self.let_rot(None)
        return self._change(path, Change(to, None, old, size))

    def syncs(self, path: Path) -> int:
        """Take what was written to a file as written for good, unless the disk lies."""
        self._count(path)
        if not self.powered:
            return IO_ERROR
        if not self.lies(path):
            self._unsynced.pop(path, None)
            self._new.discard(path)
        return OK

    def deletes(self, path: Path) -> int:
        """Forget a file."""
        if not self.powered:
            return IO_ERROR
        self._unsynced.pop(path, None)
        self._new.discard(path)
        return OK

    def randomness(self, size: int) -> bytes:
        """Return what SQLite makes its salts of."""
        return random.Random(f"salts {self.folders[0].name}").randbytes(size)

    def _change(self, path: Path, change: Change) -> int:
        if not self.powered:
            return IO_ERROR
        if not _is_series(path):  # its plots may be lost
            self._unsynced.setdefault(path, []).append(change)
        return OK

    def _count(self, path: Path) -> bool:
        """Let what waits for this operation happen; return True."""
        if _is_series(path) or not self.powered:
            return True
        for act in list(self._until):
            self._until[act] -= 1
            if self._until[act] <= 0:
                del self._until[act]
                act()
        return True

    def _path_of(self, fd: int) -> Path | None:
        path = Path(os.readlink(f"/proc/self/fd/{fd}"))
        return path if self.watches(path) else None

    def _pwrite(self, real: Callable[..., int]) -> Callable[..., int]:
        def pwrite(fd: int, data: bytes, offset: int) -> int:
            if (path := self._path_of(fd)) is None:
                return real(fd, data, offset)
            size = os.fstat(fd).st_size
            done = self.writes(path, offset, data, os.pread(fd, len(data), offset), size)
            if done != OK:
                number = errno.ENOSPC if done == FULL else errno.EIO
                raise OSError(number, os.strerror(number))
            return real(fd, data, offset)

        return pwrite

    def _fdatasync(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def fdatasync(fd: int) -> None:
            if (path := self._path_of(fd)) is None:
                real(fd)
            elif self.syncs(path) != OK:
                raise OSError(errno.EIO, os.strerror(errno.EIO))

        return fdatasync
