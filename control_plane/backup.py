"""A backup of the control plane in one file, and a new data directory from it.

The file is a tar of mode 0600: a manifest, the configuration, the keys, and a copy of the database that SQLite made
while the server ran. Whoever has it can issue certificates: keep it as the keys are kept.

What is restored is older than what was lost, so it must not pass for it:

* a new epoch: every reader starts again;
* a new witness key: the old one cosigned what the copy does not know, and with it could cosign a fork;
* no open invitation: a token that was used meanwhile would be good once more.
"""

from __future__ import annotations

import io
import json
import os
import secrets
import shutil
import sqlite3
import tarfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from control_plane import config
from control_plane.config import DataDir
from control_plane.desk import files
from control_plane.errors import InputError, LocalFailureError
from control_plane.store import open_reader, prepare, renew_epoch
from trust.errors import MalformedError
from trust.keys import SigningKey
from trust.strict_json import read_object_untrusted

FORMAT: Final = "ispagents-cloud-backup-v0"
MANIFEST: Final = "manifest.json"
DATABASE: Final = "cloud.db"
_SMALL: Final = ("config.toml", "authority.pem", "authority.key", "witness.key")
_NAMES: Final = (MANIFEST, *_SMALL, DATABASE)


@dataclass(frozen=True, slots=True)
class Restored:
    """A data directory from a backup. `made_s`: when the backup was made; `old_vkey`: the witness that is no more."""

    data: DataDir
    made_s: int
    old_vkey: str


def write(data: DataDir, out: Path, now_s: int) -> None:
    """Write a backup; the server may run.

    Raises:
        InputError: `out` is there.
        LocalFailureError: something cannot be read or written.
    """
    if os.path.lexists(out):
        raise InputError(f"{out}: is there already, and is not overwritten")
    with _scratch(out) as scratch:
        copy = scratch / DATABASE
        _copy_database(data.database, copy)
        manifest = json.dumps({"format": FORMAT, "made": now_s}).encode()
        whole = scratch / "backup.tar"
        with _new_file(whole) as out_file, tarfile.open(fileobj=out_file, mode="w") as tar:
            _add(tar, MANIFEST, manifest)
            for name in _SMALL:
                _add(tar, name, files.read(data.path / name, config.FILE_BYTES, f"the control plane's {name}"))
            tar.add(copy, DATABASE, filter=_plain)
        _sync(whole)
        os.link(whole, out)
        _sync(out.parent)


def _copy_database(source: Path, copy: Path) -> None:
    try:
        with closing(open_reader(source)) as old, closing(sqlite3.connect(copy)) as new:
            old.backup(new)
            new.execute("PRAGMA journal_mode = DELETE")  # one file, no other beside it
    except sqlite3.Error as err:
        raise LocalFailureError(f"{source.name}: cannot be copied: {err}") from err


def _new_file(path: Path) -> BinaryIO:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(data), 0o600
    tar.addfile(info, io.BytesIO(data))


def _plain(info: tarfile.TarInfo) -> tarfile.TarInfo:
    plain = tarfile.TarInfo(info.name)
    plain.size, plain.mode = info.size, 0o600
    return plain


def restore(file: Path, target: Path, now_s: int) -> Restored:
    """Make a data directory of a backup; `target` is missing or empty.

    Raises:
        InputError: there is something in `target`, or the file is no backup.
        LocalFailureError: something cannot be read or written, or a newer program made the backup.
    """
    config.make_empty(target)
    with _scratch(target) as scratch:
        made_s = _unpack_untrusted(file, scratch, now_s)
        old_vkey = config.open_dir(scratch).witness_vkey()
        (scratch / "witness.key").unlink()
        config.write_witness_key(scratch, SigningKey.generate())
        _renew_database(scratch / DATABASE)
        scratch.replace(target)
        _sync(target.parent)
    return Restored(config.open_dir(target), made_s, old_vkey)


def _unpack_untrusted(file: Path, scratch: Path, now_s: int) -> int:
    """Unpack the known names, regular files only, and return when the backup was made."""
    found = set()
    try:
        with tarfile.open(file, "r:") as tar:
            for info in tar:
                if info.name not in _NAMES or info.name in found or not info.isreg():
                    raise InputError(f"{file}: expected a backup of ispcloud, it holds something else")
                if info.name != DATABASE and info.size > config.FILE_BYTES:
                    raise InputError(f"{file}: expected at most {config.FILE_BYTES} bytes of {info.name}")
                found.add(info.name)
                _copy_member(tar, info, scratch / info.name)
    except (tarfile.TarError, EOFError) as err:
        raise InputError(f"{file}: expected a backup of ispcloud, got something else") from err
    except OSError as err:
        raise InputError(f"{file}: expected a backup of ispcloud, it cannot be read: {err.strerror}") from err
    if missing := [n for n in _NAMES if n not in found]:
        raise InputError(f"{file}: expected a backup of ispcloud, {missing[0]} is missing in it")
    return _read_manifest(file, scratch / MANIFEST, now_s)


def _copy_member(tar: tarfile.TarFile, info: tarfile.TarInfo, path: Path) -> None:
    source = tar.extractfile(info)
    if source is None:
        raise InputError(f"{info.name}: expected a file in the backup, got something else")
    with source, _new_file(path) as out:
        shutil.copyfileobj(source, out, 1 << 20)
        out.flush()
        os.fsync(out.fileno())


def _read_manifest(file: Path, manifest: Path, now_s: int) -> int:
    try:
        r = read_object_untrusted(manifest.read_bytes(), config.FILE_BYTES, "manifest")
        form, made_s = r.text("format"), r.integer("made", 0, now_s + 86_400)
    except MalformedError as err:
        raise InputError(f"{file}: expected a backup of ispcloud: {err}") from err
    if form != FORMAT:
        raise InputError(f"{file}: expected a backup of format {FORMAT}, got another")
    manifest.unlink()
    return made_s


def _renew_database(path: Path) -> None:
    try:
        with closing(prepare(path)) as con:
            if con.execute("PRAGMA integrity_check").fetchone()[0] != "ok":
                raise InputError("expected a whole database in the backup, got a damaged one")
            con.execute("DELETE FROM token")
            renew_epoch(con)
            con.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except (sqlite3.Error, LocalFailureError) as err:
        raise InputError(f"expected a database of ispcloud in the backup: {err}") from err


@contextmanager
def _scratch(beside: Path) -> Iterator[Path]:
    """A folder of mode 0700 on the same disk, gone at the end unless it was moved."""
    folder = beside.absolute().with_name(f".{beside.name}.{secrets.token_hex(8)}")
    try:
        folder.mkdir(mode=0o700)
    except OSError as err:
        raise LocalFailureError(f"{folder.parent}: cannot be written: {err.strerror}") from err
    try:
        yield folder
    except OSError as err:
        raise LocalFailureError(f"{beside}: cannot be written: {err.strerror}") from err
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
