"""Puts a simulated disk below SQLite: a VFS around the system's own, in front of which a `DiskModel` sees each write.

SQLite's files stay on the real file system, where everybody reads them. Only files that the model asks for are watched:
it may refuse an operation, and it says whether a sync is one. No watched file is ever really synced.
"""

from __future__ import annotations

import ctypes
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ctypes import CFUNCTYPE, POINTER, Structure, c_char_p, c_int, c_int64, c_void_p
from pathlib import Path
from typing import Any, Final, Protocol

OK: Final = 0
FULL: Final = sqlite3.SQLITE_FULL
READ_ERROR: Final = sqlite3.SQLITE_IOERR_SHORT_READ
OPEN_ERROR: Final = sqlite3.SQLITE_CANTOPEN


class DiskModel(Protocol):
    """A disk. Each method returns a result code of SQLite; only after `OK` is it done.

    `reads` returns what the disk gives in place of what is in the file, None: an error. It is asked only while
    `look_at_reads` says so: a database is read far more often than written.
    """

    def watches(self, path: Path) -> bool: ...
    def opens(self, path: Path) -> int: ...
    def reads(self, path: Path, offset: int, data: bytes) -> bytes | None: ...
    def writes(self, path: Path, offset: int, data: bytes, old: bytes, size: int) -> int: ...
    def truncates(self, path: Path, to: int, old: bytes, size: int) -> int: ...
    def syncs(self, path: Path) -> int: ...
    def deletes(self, path: Path) -> int: ...
    def randomness(self, size: int) -> bytes: ...


_Close = CFUNCTYPE(c_int, c_void_p)
_Transfer = CFUNCTYPE(c_int, c_void_p, c_void_p, c_int, c_int64)
_Truncate = CFUNCTYPE(c_int, c_void_p, c_int64)
_Sync = CFUNCTYPE(c_int, c_void_p, c_int)
_Size = CFUNCTYPE(c_int, c_void_p, POINTER(c_int64))
_Open = CFUNCTYPE(c_int, c_void_p, c_void_p, c_void_p, c_int, POINTER(c_int))
_Delete = CFUNCTYPE(c_int, c_void_p, c_void_p, c_int)
_Randomness = CFUNCTYPE(c_int, c_void_p, c_int, c_void_p)


class _Methods(Structure):
    """`struct sqlite3_io_methods`, version 3."""

    _fields_ = (
        ("version", c_int),
        *((name, c_void_p) for name in ("close", "read", "write", "truncate", "sync", "size")),
        *((name, c_void_p) for name in ("lock", "unlock", "reserved", "control", "sector", "device")),
        *((name, c_void_p) for name in ("shm_map", "shm_lock", "shm_barrier", "shm_unmap", "fetch", "unfetch")),
    )


class _Vfs(Structure):
    """`struct sqlite3_vfs`, version 3."""

    _fields_ = (
        ("version", c_int),
        ("file_bytes", c_int),
        ("path_bytes", c_int),
        ("next", c_void_p),
        ("name", c_char_p),
        ("data", c_void_p),
        *((name, c_void_p) for name in ("open", "delete", "access", "full_path")),
        *((name, c_void_p) for name in ("dl_open", "dl_error", "dl_sym", "dl_close")),
        *((name, c_void_p) for name in ("randomness", "sleep", "time", "last_error", "time64")),
        *((name, c_void_p) for name in ("set_call", "get_call", "next_call")),
    )


class _Shim:
    """The VFS of ours. It lives as long as the process: a connection may outlast the block in which it was opened."""

    def __init__(self) -> None:
        self.model: DiskModel | None = None
        self.failed: list[BaseException] = []
        self._lib = ctypes.CDLL("libsqlite3.so.0")  # loaded already, by Python's own module
        self._lib.sqlite3_libversion.restype = c_char_p
        if self._lib.sqlite3_libversion().decode() != sqlite3.sqlite_version:
            raise RuntimeError("Python has an SQLite of its own: the disk below it cannot be simulated")
        self._lib.sqlite3_vfs_find.restype = c_void_p
        self._lib.sqlite3_vfs_register.argtypes = (c_void_p, c_int)
        self._lib.sqlite3_vfs_unregister.argtypes = (c_void_p,)
        self._real_address: int = self._lib.sqlite3_vfs_find(None)
        self._real = _Vfs.from_address(self._real_address)
        self._vfs = _Vfs.from_buffer_copy(self._real)
        self._vfs.name = b"simulated"
        self._vfs.next = None
        self._real_open, self._real_delete = _Open(self._real.open), _Delete(self._real.delete)
        self._paths: dict[int, Path] = {}
        self._tables: dict[int, tuple[_Methods, _Methods]] = {}
        self._kept: list[Any] = []
        self._readers: list[tuple[_Methods, int, int]] = []
        """Tables of ours, each with the addresses of the system's way to read and of ours."""
        self._looks_at_reads = False
        self._put(self._vfs, "open", _Open, self._open)
        self._put(self._vfs, "delete", _Delete, self._delete)
        self._put(self._vfs, "randomness", _Randomness, self._randomness)

    def install(self) -> None:
        """Let every connection that is opened from now on go through it, with new salts."""
        self._lib.sqlite3_vfs_register(ctypes.addressof(self._vfs), 1)
        self._lib.sqlite3_randomness(0, None)

    def remove(self) -> None:
        """Let new connections use the system's again."""
        self._lib.sqlite3_vfs_register(self._real_address, 1)
        self._lib.sqlite3_vfs_unregister(ctypes.addressof(self._vfs))
        self._lib.sqlite3_randomness(0, None)

    def look_at_reads(self, on: bool) -> None:
        """Let the model see each read from now on, or none."""
        self._looks_at_reads = on
        for table, real, ours in self._readers:
            table.read = ours if on else real

    def _put(self, table: Structure, name: str, kind: Any, method: Callable[..., int]) -> None:
        def called(*args: Any) -> int:
            try:
                return method(*args)
            except BaseException as err:  # noqa: BLE001  # one that leaves a callback of C is printed, and forgotten
                self.failed.append(err)
                return sqlite3.SQLITE_IOERR

        callback = kind(called)
        self._kept.append(callback)
        setattr(table, name, ctypes.cast(callback, c_void_p))

    # --- of the VFS ---

    def _open(self, vfs: int, name: int | None, file: int, flags: int, out: Any) -> int:
        path = Path(ctypes.string_at(name).decode()) if name else None
        model = self.model
        if path is None or model is None or not model.watches(path):
            return int(self._real_open(self._real_address, name, file, flags, out))
        if (refused := model.opens(path)) != OK:
            return refused
        done = int(self._real_open(self._real_address, name, file, flags, out))
        methods = c_void_p.from_address(file)
        if done == OK and methods.value:
            _, ours = self._table(methods.value)
            self._paths[file] = path
            methods.value = ctypes.addressof(ours)
        return done

    def _delete(self, vfs: int, name: int, sync: int) -> int:
        path, model = Path(ctypes.string_at(name).decode()), self.model
        if model is not None and model.watches(path) and (refused := model.deletes(path)) != OK:
            return refused
        return int(self._real_delete(self._real_address, name, 0))

    def _randomness(self, vfs: int, size: int, to: int) -> int:
        data = bytes(size) if self.model is None else self.model.randomness(size)
        ctypes.memmove(to, data, size)
        return size

    # --- of a file ---

    def _table(self, address: int) -> tuple[_Methods, _Methods]:
        """Return a table of the system's methods, and ours in its place."""
        if address not in self._tables:
            real = _Methods.from_address(address)
            ours = _Methods.from_buffer_copy(real)
            self._tables[address] = real, ours
            close, read, size = _Close(real.close), _Transfer(real.read), _Size(real.size)
            write, truncate = _Transfer(real.write), _Truncate(real.truncate)

            def size_of(file: int) -> int:
                found = c_int64()
                size(file, ctypes.byref(found))
                return found.value

            def content(file: int, offset: int, count: int, end: int) -> bytes:
                count = max(0, min(count, end - offset))
                buffer = ctypes.create_string_buffer(count)
                if count:
                    read(file, ctypes.addressof(buffer), count, offset)
                return buffer.raw

            def on_write(file: int, data: int, count: int, offset: int) -> int:
                if (model := self.model) is None:
                    return int(write(file, data, count, offset))
                end = size_of(file)
                new = ctypes.string_at(data, count)
                done = model.writes(self._paths[file], offset, new, content(file, offset, count, end), end)
                return int(write(file, data, count, offset)) if done == OK else done

            def on_read(file: int, to: int, count: int, offset: int) -> int:
                done = int(read(file, to, count, offset))
                if (model := self.model) is None or done not in (OK, READ_ERROR):
                    return done
                given = model.reads(self._paths[file], offset, ctypes.string_at(to, count))
                if given is None:
                    return sqlite3.SQLITE_IOERR_READ
                ctypes.memmove(to, given, count)
                return done

            def on_truncate(file: int, to: int) -> int:
                if (model := self.model) is None:
                    return int(truncate(file, to))
                end = size_of(file)
                done = model.truncates(self._paths[file], to, content(file, to, end - to, end), end)
                return int(truncate(file, to)) if done == OK else done

            def on_sync(file: int, flags: int) -> int:
                return OK if self.model is None else self.model.syncs(self._paths[file])

            def on_close(file: int) -> int:
                self._paths.pop(file, None)
                return int(close(file))

            self._put(ours, "read", _Transfer, on_read)
            self._readers.append((ours, real.read, ours.read))
            self.look_at_reads(self._looks_at_reads)
            self._put(ours, "write", _Transfer, on_write)
            self._put(ours, "truncate", _Truncate, on_truncate)
            self._put(ours, "sync", _Sync, on_sync)
            self._put(ours, "close", _Close, on_close)
        return self._tables[address]


_shims: list[_Shim] = []


@contextmanager
def below_sqlite(model: DiskModel) -> Iterator[None]:
    """Let connections that are opened in the block write to a simulated disk, as far as it watches their files.

    Raises:
        BaseException: an error of the model.
    """
    if not _shims:
        _shims.append(_Shim())
    (shim,) = _shims
    shim.model = model
    shim.install()
    try:
        yield
    finally:
        shim.remove()
        shim.look_at_reads(False)
        shim.model = None
        failed, shim.failed = shim.failed, []
    if failed:
        raise failed[0]


def look_at_reads(on: bool) -> None:
    """Let the model that is below SQLite now see each read, or none."""
    for shim in _shims:
        shim.look_at_reads(on)
