"""Opens a backup, proves it, and makes a state directory of it that counts as one that was put back.

Nothing is used before all of it was checked: age's own integrity, the SHA-256 of each file, the MAC under the store
key, the database's own check, and the log, with its tree computed anew from its leaves. Only the agent's words tell the
maker of the backup: a person compares them with those in the trust document.
"""

from __future__ import annotations

import hmac
import shutil
import sqlite3
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pyrage import x25519

from agent.store import backup, log_proof, schema
from agent.store.backup import BackupPaths
from agent.store.errors import LogCorruptError, StoreError
from agent.store.identity import FILE_NAME, Identity, load_identity
from agent.store.log_proof import LogProof
from agent.store.state_folder import UNPACKING
from agent.store.vault import Vault, load_store_key
from backups.archive import Unpacked, unpack_untrusted
from backups.errors import BackupStorageError, DamagedBackupError, WrongKeyError
from backups.sealing import opened_untrusted, parse_identities_untrusted
from durable import files
from durable.folders import sync_folder
from trust.checkpoint import encode_vkey, parse_vkey_untrusted
from trust.errors import TrustError
from trust.keys import fingerprint
from trust.moments import moment_text

_KEY_FILES: Final = (backup.STORE_KEY, backup.DATA_IDENTITY, FILE_NAME, backup.KEYS)
_DATA_FILES: Final = (backup.CONFIG, backup.DATABASE)


@dataclass(frozen=True, slots=True)
class ProvenBackup:
    """A backup that was proven. `since_s`: since when the keys open data; `keys_made_s`: when the keys were copied."""

    name: str
    agent: str
    words: str
    version: str
    made_s: int
    keys_made_s: int
    since_s: int
    subjects: int
    proof: LogProof
    names: tuple[str, ...]


def unpack_proven(
    paths: BackupPaths, identities: Sequence[x25519.Identity], folder: Path, *, older_keys: bool = False
) -> ProvenBackup:
    """Unpack both files into an empty folder and prove them.

    Args:
        paths: the two files; they need not have been made together.
        identities: of the operator, for the keys.
        folder: an empty one of mode 0700; its caller removes it where this raises.
        older_keys: take keys that are older than the data: subjects that came since have no key.

    Raises:
        WrongKeyError: a file is sealed to somebody else, or the keys do not fit the data.
        DamagedBackupError: a file is no backup, was cut, altered, or made by a newer program.
        BackupStorageError: a file cannot be read, or there is no room.
    """
    with opened_untrusted(paths.keys, identities) as stream:
        keys = unpack_untrusted(stream, folder, backup.KEYS_FORMAT, _KEY_FILES, [backup.CLOUD])
    since_s = keys.number("since")
    data = _unpack_data(paths, folder, since_s)
    identity = _prove_keys(folder, keys, data)
    for name in ("agent", "origin"):
        if keys.text(name) != data.text(name):
            raise WrongKeyError(
                f"{paths.keys.name} and {paths.data.name} do not belong together: expected one {name}, got"
                f" {keys.text(name)} and {data.text(name)}"
            )
    if keys.number("log_size") < data.number("log_size") and not older_keys:
        raise WrongKeyError(
            f"{paths.keys.name} is older than {paths.data.name}: subscribers that came in between have no key in it,"
            " and their records could never be read: take the keys that were made with the data, or later ones"
            " (--older-keys takes these)"
        )
    return ProvenBackup(
        keys.text("name"),
        identity.agent,
        fingerprint(identity.plan_key.public, identity.log_key.public),
        data.text("version"),
        data.number("made"),
        keys.number("made"),
        since_s,
        keys.number("subjects"),
        _prove_database(folder, data, identity),
        tuple(sorted(path.name for path in folder.iterdir())),
    )


def _unpack_data(paths: BackupPaths, folder: Path, since_s: int) -> Unpacked:
    """Unpack the data by the identity that came with the keys, of which nothing stays."""
    inner = folder / backup.DATA_IDENTITY
    identities = parse_identities_untrusted(inner.read_bytes())
    inner.unlink()
    try:
        with opened_untrusted(paths.data, identities) as stream:
            return unpack_untrusted(stream, folder, backup.DATA_FORMAT, _DATA_FILES, [backup.SERIES])
    except WrongKeyError as err:
        raise WrongKeyError(
            f"{paths.data.name}: the keys in {paths.keys.name} do not open it: it is another agent's, or older than"
            f" {moment_text(since_s)}, since when they open data (an erasure ends the keys of all data before it): take"
            " the keys that were made with it"
        ) from err


def _prove_keys(folder: Path, keys: Unpacked, data: Unpacked) -> Identity:
    """Check that the holder of the store key made both files; return its identity."""
    try:
        key = load_store_key(folder / backup.STORE_KEY)
        identity = load_identity(folder, key)
        with closing(Vault(key, folder / backup.KEYS)) as vault:
            for unpacked in (keys, data):
                unpacked.check_mac(lambda sums: vault.authenticate(backup.MAC + sums))
            if not vault.has_keys():
                raise DamagedBackupError(f"{keys.name}: expected keys of subjects, got none")
    except StoreError as err:
        raise DamagedBackupError(f"{keys.name}: its files do not fit: {err}") from err
    if not hmac.compare_digest(identity.agent, keys.text("agent")):
        raise DamagedBackupError(f"{keys.name}: expected the identity of agent {keys.text('agent')}, got another")
    return identity


def _prove_database(folder: Path, data: Unpacked, identity: Identity) -> LogProof:
    if (made := data.number("database_version")) > (known := len(schema.MIGRATIONS)):
        raise DamagedBackupError(
            f"{data.name}: expected database version {known} or older, got {made}: ispagent {data.text('version')} made"
            " it: install that, or a newer one"
        )
    try:
        vkey = parse_vkey_untrusted(encode_vkey(data.text("origin"), identity.log_key.public))
        if found := files.damage(folder / backup.DATABASE):
            raise DamagedBackupError(f"{data.name}: its database is damaged: {found}")
        # Immutable: nobody writes it, and no file of a journal is made beside it
        uri = f"{(folder / backup.DATABASE).absolute().as_uri()}?mode=ro&immutable=1"
        with closing(sqlite3.connect(uri, uri=True)) as con:
            proof = log_proof.prove(con, vkey)
    except (sqlite3.Error, LogCorruptError, TrustError) as err:
        raise DamagedBackupError(f"{data.name}: its log does not hold: {err}") from err
    if (proof.size, proof.root.hex()) != (data.number("log_size"), data.text("log_root")):
        raise DamagedBackupError(f"{data.name}: its log is not the one that its manifest names")
    return proof


def refuse_filled(target: Path) -> None:
    """Refuse a directory in which there is something: it may be the state of an agent.

    Raises:
        BackupStorageError: it is no directory, cannot be read, or is not empty.
    """
    try:
        found = sorted(path.name for path in target.iterdir() if path.name != UNPACKING)
    except FileNotFoundError:
        return
    except OSError as err:
        raise BackupStorageError(f"{target}: expected an empty directory: {err.strerror}") from err
    if found:
        raise BackupStorageError(
            f"{target}: expected an empty directory, there is {found[0]} in it: move what is there to another place"
        )


def restore(
    paths: BackupPaths, identities: Sequence[x25519.Identity], target: Path, *, older_keys: bool = False
) -> ProvenBackup:
    """Make a state directory of a backup, which counts as put back: unused changes will be void at the next start.

    `target` is missing or empty; it stays so where this raises. `older_keys`: as in `unpack_proven`.

    Raises:
        WrongKeyError: a file is sealed to somebody else, or the keys do not fit the data.
        DamagedBackupError: a file is no backup, was cut, altered, or made by a newer program.
        BackupStorageError: there is something in `target`, a file cannot be read or written, or there is no room.
    """
    refuse_filled(target)
    folder = target / UNPACKING
    try:
        target.mkdir(mode=0o700, parents=True, exist_ok=True)
        shutil.rmtree(folder, ignore_errors=True)  # a restore that was killed
        folder.mkdir(mode=0o700)
        with ExitStack() as undo:
            undo.callback(shutil.rmtree, folder, ignore_errors=True)
            proven = unpack_proven(paths, identities, folder, older_keys=older_keys)
            with closing(Vault(load_store_key(folder / backup.STORE_KEY), folder / backup.KEYS)) as vault:
                vault.distrust_mark()
            _move_in(folder, target)
    except (OSError, StoreError) as err:
        raise BackupStorageError(f"{target}: cannot be restored into: {err}") from err
    return proven


def _move_in(folder: Path, target: Path) -> None:
    """Give each file its name, the identity last: without it no agent starts, so none starts on half of a backup."""
    target.chmod(0o700)
    sync_folder(folder)
    names = sorted((path.name for path in folder.iterdir()), key=lambda name: name == FILE_NAME)
    for name in names:
        (folder / name).rename(target / name)
    folder.rmdir()
    sync_folder(target)
