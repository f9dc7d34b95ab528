"""A backup of the control plane in one file in age's format, and a new data directory from it.

Inside is a tar: a manifest, the configuration, the keys, and the database as it was in one moment while the server
ran. Anybody that opens it can issue certificates, so it is sealed to recipients that may. It is bound to the
authority's
key: that the authority is yours its fingerprint says, which a person compares.

A restored copy is older than the lost original, so it must not pass for it:

* a new epoch: every reader starts again;
* a new witness key: the old one cosigned checkpoints that the copy does not know, and with it could cosign a fork;
* no open invitation: a token that was used meanwhile would be good once more.
"""

from __future__ import annotations

import hashlib
import hmac
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final

from pyrage import x25519

from backups.archive import ArchivedFile, pack, small, unpack_untrusted
from backups.errors import BackupError, BackupStorageError
from backups.new_file import new_file
from backups.private_folder import private_folder
from backups.sealing import Recipients, encrypt, opened_untrusted
from backups.snapshot import snapshot
from control_plane import config
from control_plane.config import DataDir
from control_plane.desk import files
from control_plane.errors import InputError, LocalFailureError
from control_plane.store import damage_of, prepare, renew_epoch
from durable.folders import sync_folder
from trust import chance
from trust.keys import SigningKey

FORMAT: Final = "ispagents-cloud-backup-v1"
DATABASE: Final = "cloud.db"
_KEY: Final = "authority.key"
_SMALL: Final = ("config.toml", "authority.pem", _KEY, "witness.key")


@dataclass(frozen=True, slots=True)
class ProvenCopy:
    """A backup that was proven: when it was made, by which version, and the SHA-256 of its authority's certificate."""

    made_s: int
    version: str
    authority: str


@dataclass(frozen=True, slots=True)
class Restored:
    """A data directory from a backup. `old_vkey`: the witness that is no more."""

    data: DataDir
    proven: ProvenCopy
    old_vkey: str


@contextmanager
def _in_our_words() -> Iterator[None]:
    """Turn errors of backups into those of the control plane."""
    try:
        yield
    except BackupStorageError as err:
        raise LocalFailureError(str(err)) from err
    except BackupError as err:
        raise InputError(str(err)) from err


def _authenticate(key: bytes) -> Callable[[bytes], str]:
    bound = hashlib.sha256(b"ispagents/cloud-backup\n" + key).digest()
    return lambda sums: hmac.new(bound, sums, hashlib.sha256).hexdigest()


def write(data: DataDir, out: Path, recipients: Recipients, now_s: int) -> None:
    """Write a backup; the server may run.

    Raises:
        LocalFailureError: `out` is there, the database is damaged, or something cannot be read or written.
    """
    with _in_our_words(), snapshot(data.database) as database, new_file(out) as file:
        database.refuse_damaged()
        members = [small(name, _read(data, name)) for name in _SMALL]
        members.append(ArchivedFile(DATABASE, database.size_bytes, database.chunks()))
        said = {"format": FORMAT, "version": version("ispagents"), "made": now_s}
        encrypt(pack(said, members, _authenticate(_read(data, _KEY))), file, recipients)


def _read(data: DataDir, name: str) -> bytes:
    path = config.key_file(data.path, name) if name in config.KEYS else data.path / name
    return files.read(path, config.FILE_BYTES, f"the control plane's {name}")


def restore(file: Path, identities: Sequence[x25519.Identity], target: Path) -> Restored:
    """Make a data directory of a backup; `target` is missing or empty.

    Raises:
        InputError: there is something in `target`, or the file is no backup, or another recipient's.
        LocalFailureError: something cannot be read or written.
    """
    config.make_empty(target)
    with _scratch(target) as scratch:
        proven = _unpack_proven(file, identities, scratch)
        old_vkey = config.open_dir(scratch).witness_vkey()
        (scratch / "witness.key").unlink()
        config.write_witness_key(scratch, SigningKey.generate())
        _renew_database(scratch / DATABASE)
        scratch.replace(target)
        sync_folder(target.parent)
    return Restored(config.open_dir(target), proven, old_vkey)


def verify(file: Path, identities: Sequence[x25519.Identity]) -> ProvenCopy:
    """Open a backup and prove it, in a private folder of TMPDIR that is deleted.

    Raises:
        InputError: it is no backup, was cut or altered, or is another recipient's.
        LocalFailureError: it cannot be read, or the folder cannot be written.
    """
    with _in_our_words(), private_folder("ispcloud-verify-") as folder:
        proven = _unpack_proven(file, identities, folder)
        config.open_dir(folder)
        return proven


def _unpack_proven(file: Path, identities: Sequence[x25519.Identity], folder: Path) -> ProvenCopy:
    """Unpack a backup into an empty folder, and prove it."""
    with _in_our_words():
        with opened_untrusted(file, identities) as stream:
            unpacked = unpack_untrusted(stream, folder, FORMAT, (*_SMALL, DATABASE), ())
        unpacked.check_mac(_authenticate((folder / _KEY).read_bytes()))
        _check_database(folder / DATABASE)
        authority = hashlib.sha256((folder / "authority.pem").read_bytes()).hexdigest()
        return ProvenCopy(unpacked.number("made"), unpacked.text("version"), authority)


def _check_database(path: Path) -> None:
    if found := damage_of(path):
        raise InputError(f"expected a whole database in the backup, got a damaged one: {found}")


def _renew_database(path: Path) -> None:
    try:
        with closing(prepare(path)) as con:
            con.execute("DELETE FROM token")
            renew_epoch(con)
            con.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except (sqlite3.Error, LocalFailureError) as err:
        raise InputError(f"expected a database of ispcloud in the backup: {err}") from err


@contextmanager
def _scratch(beside: Path) -> Iterator[Path]:
    """A folder of mode 0700 on the same disk, gone at the end unless it was moved."""
    folder = beside.absolute().with_name(f".{beside.name}.{chance.token_hex(8)}")
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
