"""Makes a backup of a running agent: two files in age's format, which go to two places.

* The *data*: `agent.db`, the configuration, the series where wanted. It may be kept for years.
* The *keys*: `keys.db` with each subject's key, the store key, the identity, the enrolment, and the identity (age)
  that alone opens the data. They are sealed to the operator's recipients, and kept for 30 days at most.

So nothing opens without the keys. An erasure ends the identity of the data (a trigger in `keys.db`), and the next
backup has another: with keys that were made after an erasure no data from before it opens, whatever its tables hold
in clear.

* Reading needs the state directory and nothing of the daemon: whoever may read the one may make the other, and nobody
  can ask for a backup over the socket.
* The moment of the data comes before that of the keys: a subject's key is durable before the row that needs it, so
  each row has its key, unless the subject was erased in between.
* Neither file holds the mark file, the socket or the lock.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final

from agent.store import log_proof
from agent.store.identity import FILE_NAME, load_identity
from agent.store.last_backup import LastBackup, write_last
from agent.store.vault import BackupKey, Vault, load_store_key
from backups.archive import ArchivedFile, pack, small
from backups.errors import BackupStorageError
from backups.new_file import new_file
from backups.sealing import Recipients, encrypt, new_identity, recipient_of
from backups.snapshot import Snapshot, snapshot
from durable import files
from trust import chance
from trust.keys import fingerprint

DATA_FORMAT: Final = "ispagents-agent-data-v1"
KEYS_FORMAT: Final = "ispagents-agent-keys-v1"
DATABASE, KEYS, SERIES = "agent.db", "keys.db", "series.db"
CONFIG: Final = "agent.toml"
STORE_KEY: Final = "store.key"
CLOUD: Final = "cloud.json"
DATA_IDENTITY: Final = "data.identity"
SPARE_BYTES: Final = 512 * 1024 * 1024
"""Left free on the disk that a backup is written to: it may be the agent's, which a full disk stops."""
CONFIG_BYTES: Final = 4 * 1024 * 1024
MAC: Final = b"ispagents/backup\n"
"""Before the sums that are bound to the store key: a mark of the log is no backup."""
_TRIES: Final = 5


@dataclass(frozen=True, slots=True)
class BackupSource:
    """Where an agent's files are. `origin`: the log's name in the configuration; `series`: back it up, too."""

    state_dir: Path
    key_file: Path
    config: Path
    name: str
    origin: str
    series: bool = False


@dataclass(frozen=True, slots=True)
class BackupPaths:
    """The two files of a backup."""

    data: Path
    keys: Path


def keys_beside(data: Path) -> Path:
    """Return where the keys are when nobody says: `noc-1.age` has `noc-1.keys.age` beside it."""
    return data.with_name(f"{data.stem}.keys{data.suffix}") if data.suffix == ".age" else Path(f"{data}.keys")


def make(source: BackupSource, to: BackupPaths, recipients: Recipients, now_s: int) -> LastBackup:
    """Make both files; the keys have their name before the data has.

    Raises:
        StoreError: the store key or the identity is missing, or the log is corrupt.
        BackupError: a file is there already, a database is damaged, or something cannot be read or written.
    """
    key = load_store_key(source.key_file)
    identity = load_identity(source.state_dir, key)
    with ExitStack() as opened:
        vault = opened.enter_context(closing(Vault(key, source.state_dir / KEYS)))
        vault.ensure_backup_key(new_identity(), now_s)
        data = opened.enter_context(snapshot(source.state_dir / DATABASE))
        data.refuse_damaged()
        log_size, root = log_proof.head(data.con)
        about: dict[str, object] = {
            "version": version("ispagents"),
            "agent": identity.agent,
            "name": source.name,
            "origin": identity.origin(source.origin),
            "words": fingerprint(identity.plan_key.public, identity.log_key.public),
            "made": now_s,
            "pair": chance.token_hex(16),
            "log_size": log_size,
        }

        def bind(sums: bytes) -> str:
            return vault.authenticate(MAC + sums)

        copied, backup_key, subjects = _keys_at_one_moment(source, vault, now_s)
        with new_file(to.keys) as out:
            said = {"format": KEYS_FORMAT, **about, "subjects": subjects, "since": backup_key.made_s}
            encrypt(pack(said, _key_files(source, key, copied, backup_key), bind), out, recipients)
        with new_file(to.data) as out:
            members = _data_files(source, data, opened)
            _refuse_without_room(to.data, sum(one.size_bytes for one in members))
            said = {
                "format": DATA_FORMAT,
                **about,
                "database_version": int(data.con.execute("PRAGMA user_version").fetchone()[0]),
                "log_root": root.hex(),
            }
            encrypt(pack(said, members, bind), out, recipient_of(backup_key.identity))
    _take_in_the_journal(source.state_dir / DATABASE)
    last = LastBackup(
        now_s,
        str(about["pair"]),
        log_size,
        str(to.data.absolute()),
        str(to.keys.absolute()),
        to.data.stat().st_size,
        recipients.texts,
    )
    write_last(source.state_dir, last)
    return last


def _keys_at_one_moment(source: BackupSource, vault: Vault, now_s: int) -> tuple[bytes, BackupKey, int]:
    """Return `keys.db` without its free pages, the key of the data that is in it, and how many subjects have a key.

    Raises:
        BackupStorageError: it is damaged, cannot be read, or subjects are erased again and again.
    """
    for _ in range(_TRIES):
        with snapshot(source.state_dir / KEYS) as keys:
            keys.refuse_damaged()
            if (found := vault.backup_key(keys.con)) is not None:
                subjects = int(keys.con.execute("SELECT count(*) FROM subject").fetchone()[0])
                with closing(sqlite3.connect(":memory:", isolation_level=None)) as copy:
                    keys.con.backup(copy)
                    copy.execute("VACUUM")  # nothing of an erased key is left in a free page
                    return copy.serialize(), found, subjects
        vault.ensure_backup_key(new_identity(), now_s)  # somebody was erased just now
    raise BackupStorageError(f"{KEYS}: subjects are erased while it is copied: try again")


def _key_files(source: BackupSource, key: bytes, keys: bytes, backup_key: BackupKey) -> Iterator[ArchivedFile]:
    yield small(STORE_KEY, key)
    yield small(DATA_IDENTITY, f"{backup_key.identity}\n".encode())
    yield small(FILE_NAME, _read(source.state_dir / FILE_NAME))
    if (source.state_dir / CLOUD).exists():
        yield small(CLOUD, _read(source.state_dir / CLOUD))
    yield small(KEYS, keys)


def _data_files(source: BackupSource, data: Snapshot, opened: ExitStack) -> list[ArchivedFile]:
    found = [small(CONFIG, _read(source.config)), ArchivedFile(DATABASE, data.size_bytes, data.chunks())]
    if source.series and (source.state_dir / SERIES).exists():
        series = opened.enter_context(snapshot(source.state_dir / SERIES))
        found.append(ArchivedFile(SERIES, series.size_bytes, series.chunks()))
    return found


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(CONFIG_BYTES + 1)
    except OSError as err:
        raise BackupStorageError(f"{path}: cannot be read: {err.strerror}") from err
    if len(data) > CONFIG_BYTES:
        raise BackupStorageError(f"{path}: expected at most {CONFIG_BYTES} bytes, it has more")
    return data


def _refuse_without_room(path: Path, needed: int) -> None:
    space = os.statvfs(path.parent)
    free = space.f_bavail * space.f_frsize
    if free < needed + SPARE_BYTES:
        raise BackupStorageError(
            f"{path.parent}: expected {needed + SPARE_BYTES >> 20} MiB free, for the backup and a rest that keeps the"
            f" agent going, got {free >> 20} MiB: make room, or keep fewer backups ([backup] keep)"
        )


def _take_in_the_journal(database: Path) -> None:
    """Write the later commits into the database: its journal grew, and the daemon's next commit would have to."""
    with suppress(sqlite3.Error), closing(files.connect(database, readonly=False)) as con:  # the backup is made
        con.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
