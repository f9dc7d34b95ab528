"""The archive inside a backup: a plain tar, so that `tar` alone unpacks it, and `sha256sum --check` checks it.

`manifest.json` comes first, the files in the order that it says, then `SHA256SUMS` and `SHA256SUMS.mac`, with which the
program that made it bound all of it to its own key. Names, order and sizes are known before anything is unpacked.
"""

from __future__ import annotations

import hashlib
import hmac
import io
import json
import os
import tarfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from backups.errors import BackupStorageError, DamagedBackupError
from backups.sealing import OpenedBackup

MANIFEST: Final = "manifest.json"
SUMS: Final = "SHA256SUMS"
MAC: Final = "SHA256SUMS.mac"
SMALL_BYTES: Final = 1024 * 1024
"""Most bytes of the manifest and of the sums."""
_BLOCK: Final = tarfile.BLOCKSIZE
_CHUNK: Final = 1024 * 1024
_END: Final = bytes(2 * _BLOCK)

Authenticate = Callable[[bytes], str]
"""Returns a MAC, hex, of bytes under the key of the program that made the backup."""


@dataclass(frozen=True, slots=True)
class ArchivedFile:
    """One file to archive: its name, its size and its bytes."""

    name: str
    size_bytes: int
    chunks: Iterable[bytes]


def small(name: str, data: bytes) -> ArchivedFile:
    """Return a file that is in memory."""
    return ArchivedFile(name, len(data), (data,))


def pack(manifest: Mapping[str, object], files: Iterable[ArchivedFile], authenticate: Authenticate) -> Iterator[bytes]:
    """Give the bytes of the archive. `manifest`: its content beside the names and sizes of the files.

    Raises:
        BackupStorageError: a file gave more or fewer bytes than its size.
    """
    files = list(files)
    said = {**manifest, "files": [[one.name, one.size_bytes] for one in files]}
    sums: list[str] = []
    for one in (small(MANIFEST, json.dumps(said, indent=1).encode() + b"\n"), *files):
        yield from _member(one, sums)
    listed = "".join(sums).encode()
    mac = authenticate(listed).encode()
    for one in (small(SUMS, listed), small(MAC, mac + b"\n")):
        yield from _member(one, sums)
    yield _END


def _member(file: ArchivedFile, sums: list[str]) -> Iterator[bytes]:
    info = tarfile.TarInfo(file.name)
    info.size, info.mode = file.size_bytes, 0o600
    yield info.tobuf(tarfile.GNU_FORMAT)
    digest, given = hashlib.sha256(), 0
    for chunk in file.chunks:
        digest.update(chunk)
        given += len(chunk)
        yield chunk
    if given != file.size_bytes:
        raise BackupStorageError(f"{file.name}: expected {file.size_bytes} bytes, got {given}")
    yield bytes(-given % _BLOCK)
    sums.append(f"{digest.hexdigest()}  {file.name}\n")


@dataclass(frozen=True, slots=True)
class Unpacked:
    """An archive that was whole. `sums` are bound by `mac` to the key of the program that is said to have made it."""

    name: str
    manifest: Mapping[str, object]
    sums: bytes
    mac: str

    def check_mac(self, authenticate: Authenticate) -> None:
        """Check that the program with this key made it.

        Raises:
            DamagedBackupError: another did.
        """
        if not hmac.compare_digest(authenticate(self.sums), self.mac):
            raise DamagedBackupError(f"{self.name}: it was not made with the keys that it came with: expected another")

    def text(self, name: str) -> str:
        """Return a text of the manifest.

        Raises:
            DamagedBackupError: it has none of that name.
        """
        value = self.manifest.get(name)
        if not isinstance(value, str) or not value.isprintable() or len(value) > 200:
            raise DamagedBackupError(f"{self.name}: expected a text as {name} in its manifest, got another")
        return value

    def number(self, name: str) -> int:
        """Return a number of the manifest.

        Raises:
            DamagedBackupError: it has none of that name.
        """
        value = self.manifest.get(name)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 62:
            raise DamagedBackupError(f"{self.name}: expected a number as {name} in its manifest, got another")
        return value


def unpack_untrusted(
    stream: OpenedBackup, folder: Path, form: str, required: Collection[str], may: Collection[str]
) -> Unpacked:
    """Unpack an archive into a folder that has nothing of it yet; each file has mode 0600 and is durable.

    Args:
        stream: the clear bytes; they are read to their end.
        folder: where the files are written.
        form: the format that its manifest must name.
        required: names of files that must be in it.
        may: names of files that may be in it.

    Raises:
        WrongKeyError: no identity opens it.
        DamagedBackupError: it is no archive of that format, or was cut or altered.
        BackupStorageError: there is no room for it, or it cannot be written.
    """
    found: dict[str, str] = {}
    data = _read_small(stream, MANIFEST, found)
    manifest = _manifest(stream.name, data, form)
    files = _files(stream.name, manifest)
    names = [name for name, _ in files]
    if len(set(names)) != len(names) or not set(required) <= set(names) <= {*required, *may}:
        raise DamagedBackupError(f"{stream.name}: expected the files {', '.join(required)}, its manifest names others")
    _refuse_without_room(stream.name, folder, sum(size for _, size in files))
    for name, size in files:
        _unpack_file(stream, folder / name, size, found)
    listed = "".join(f"{digest}  {name}\n" for name, digest in found.items()).encode()
    sums, mac = _read_small(stream, SUMS, {}), _read_small(stream, MAC, {})
    if not hmac.compare_digest(sums, listed):
        raise DamagedBackupError(f"{stream.name}: its files are not those that {SUMS} lists")
    if stream.read_exactly(len(_END)) != _END:
        raise DamagedBackupError(f"{stream.name}: expected its end, more follows")
    stream.finish()
    return Unpacked(stream.name, manifest, sums, mac.decode("ascii", errors="replace").strip())


def _refuse_without_room(name: str, folder: Path, needed: int) -> None:
    try:
        space = os.statvfs(folder)
    except OSError as err:
        raise BackupStorageError(f"{folder}: cannot be looked at: {err.strerror}") from err
    free = space.f_bavail * space.f_frsize
    if free < needed:
        raise BackupStorageError(f"{name}: it needs {needed >> 20} MiB in {folder}, {free >> 20} MiB are free")


def _manifest(name: str, data: bytes, form: str) -> Mapping[str, object]:
    try:
        manifest = json.loads(data)
    except (ValueError, RecursionError) as err:
        raise DamagedBackupError(f"{name}: expected a manifest in JSON, got another") from err
    got = manifest.get("format") if isinstance(manifest, dict) else None
    if got != form:
        shown = got if isinstance(got, str) and got.isprintable() and len(got) < 80 else "another"
        raise DamagedBackupError(f"{name}: expected a backup of format {form}, got {shown}")
    return dict(manifest)


def _files(name: str, manifest: Mapping[str, object]) -> list[tuple[str, int]]:
    listed = manifest.get("files")
    if isinstance(listed, list):
        found = [tuple(one) for one in listed if isinstance(one, list) and [*map(type, one)] == [str, int]]
        if len(found) == len(listed) and all(0 <= size < 1 << 50 for _, size in found):
            return found
    raise DamagedBackupError(f"{name}: expected names and sizes of files in its manifest, got another")


def _header(stream: OpenedBackup, name: str) -> int:
    """Return the size of the member that comes next, which must be a file of this name."""
    try:
        info = tarfile.TarInfo.frombuf(stream.read_exactly(_BLOCK), "utf-8", "strict")
    except (tarfile.HeaderError, ValueError) as err:
        raise DamagedBackupError(f"{stream.name}: expected {name} in its archive, got no header of a file") from err
    if info.name != name or info.type != tarfile.REGTYPE or info.size < 0:
        raise DamagedBackupError(f"{stream.name}: expected the file {name} in its archive, got another")
    return info.size


def _read_small(stream: OpenedBackup, name: str, found: dict[str, str]) -> bytes:
    size = _header(stream, name)
    if size > SMALL_BYTES:
        raise DamagedBackupError(f"{stream.name}: expected at most {SMALL_BYTES} bytes of {name}, got {size}")
    out = io.BytesIO()
    found[name] = _copy(stream, size, out.write)
    return out.getvalue()


def _unpack_file(stream: OpenedBackup, path: Path, size: int, found: dict[str, str]) -> None:
    if (got := _header(stream, path.name)) != size:
        raise DamagedBackupError(f"{stream.name}: expected {size} bytes of {path.name}, got {got}")
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb") as out:
            found[path.name] = _copy(stream, size, out.write)
            out.flush()
            os.fsync(out.fileno())
    except OSError as err:
        raise BackupStorageError(f"{path}: cannot be written: {err.strerror or err}") from err


def _copy(stream: OpenedBackup, size: int, write: Callable[[bytes], int]) -> str:
    """Copy a member to its end; return the SHA-256 of its bytes, hex."""
    digest, left = hashlib.sha256(), size
    while left:
        chunk = stream.read_exactly(min(left, _CHUNK))
        digest.update(chunk)
        write(chunk)
        left -= len(chunk)
    stream.read_exactly(-size % _BLOCK)
    return digest.hexdigest()
