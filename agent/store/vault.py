"""Secrets at rest: the store key, sealed passwords, and the key of each subject.

The store key comes from a systemd credential or a 0600 file. Subject keys stand in a file of their own (`keys.db`),
sealed under the store key: deleting a subject's row makes every record about them unreadable while each leaf and proof
stays valid. A subject's key is durable before the row that uses it. The same file keeps the high-water mark of the
log, so that a database restored from a backup is noticed.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import sqlite3
import threading
from collections.abc import Iterable
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import nacl.exceptions
from nacl.bindings import crypto_secretbox_easy, crypto_secretbox_open_easy
from nacl.secret import SecretBox

from agent.runtime.random_blocks import random_bytes
from agent.store.errors import ErasedSubjectError, MissingKeyError, StoreFailedError
from agent.store.log_store import Sealed
from agent.store.mark_file import LogMark
from agent.store.state_folder import KEYS, PUT_BACK, opening_error
from agent.store.stored import reads_row_of
from durable.credentials import mode_problem
from trust import chance
from trust.leaf import SALT_BYTES, commitment

KEY_BYTES = SecretBox.KEY_SIZE
KEYS_SCHEMA = """
CREATE TABLE IF NOT EXISTS subject (id BLOB PRIMARY KEY, name BLOB NOT NULL, key BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS mark (one INTEGER PRIMARY KEY CHECK (one = 1), size INTEGER, root BLOB);
CREATE TABLE IF NOT EXISTS sealing (
    public BLOB PRIMARY KEY, private BLOB NOT NULL, not_before_s INTEGER NOT NULL, not_after_s INTEGER NOT NULL
);
-- Data of backups is sealed to it. Whoever deletes a subject's key ends it: an older backup opens with no later keys.
CREATE TABLE IF NOT EXISTS backup_key (
    one INTEGER PRIMARY KEY CHECK (one = 1), identity BLOB NOT NULL, made_s INTEGER NOT NULL
);
CREATE TRIGGER IF NOT EXISTS backup_key_over AFTER DELETE ON subject BEGIN DELETE FROM backup_key; END;
"""
SEALED = "a sealed key is opened for the service alone (docs/operations.md, Seal the keys)"
"""Of an error: the reason why the key may be missing."""
NOBODY = ""
"""The subject of records that are about no subscriber."""


@dataclass(frozen=True, slots=True)
class StoredSealing:
    """A sealing key (X25519, both halves 32 bytes) and its dates, unix seconds."""

    public: bytes
    private: bytes = field(repr=False)
    not_before_s: int
    not_after_s: int


@dataclass(frozen=True, slots=True)
class BackupKey:
    """The identity (age) that opens data of backups which were made since `made_s`, unix seconds."""

    identity: str = field(repr=False)
    made_s: int


def create_store_key(path: Path) -> None:
    """Write a new store key, 32 random bytes, mode 0600; refuses to overwrite.

    Raises:
        MissingKeyError: the file is already there or cannot be written.
    """
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as err:
        raise MissingKeyError(f"store key {path.name}: cannot be created: {err.strerror}") from err
    with os.fdopen(fd, "wb") as file:
        file.write(chance.token_bytes(KEY_BYTES))
        file.flush()
        os.fsync(file.fileno())


def load_store_key(path: Path) -> bytes:
    """Return the store key.

    Raises:
        MissingKeyError: no such file, readable by others, or not 32 bytes.
    """
    try:
        info = path.stat()
        data = path.read_bytes()
    except OSError as err:
        sealed = f": {SEALED}" if isinstance(err, FileNotFoundError) else ""
        raise MissingKeyError(f"store key {path.name}: cannot be read: {err.strerror}{sealed}") from err
    if problem := mode_problem(path, info.st_mode, os.environ):
        raise MissingKeyError(f"store key {path.name}: {problem}")
    if len(data) != KEY_BYTES:
        raise MissingKeyError(f"store key {path.name}: expected {KEY_BYTES} bytes, got {len(data)}: {PUT_BACK}")
    return data


def _derive(key: bytes, purpose: bytes) -> bytes:
    return hmac.new(key, b"ispagents/" + purpose, hashlib.sha256).digest()


class Vault:
    """Seals and opens under the store key, and under subjects' keys."""

    def __init__(self, store_key: bytes, keys_path: Path) -> None:
        """Open or create `keys_path`.

        Raises:
            MissingKeyError: the store key does not open the keys that are there.
            DamagedStateError: the file is damaged.
            DamagedValueError: a row is none that an ispagent writes.
            StoreFailedError: the file cannot be opened.
        """
        self._box = SecretBox(_derive(store_key, b"seal"))
        # To be copied for each secret: made anew, it takes three times as long
        self._committing = hmac.new(_derive(store_key, b"commit"), digestmod="sha256")
        self._mark_key = _derive(store_key, b"mark")
        self._lock = threading.Lock()
        self._ids: dict[str, bytes] = {}
        self._keys: dict[bytes, bytes] = {}
        with ExitStack() as undo:
            try:
                con = sqlite3.connect(keys_path, isolation_level=None, check_same_thread=False)
                self._con = undo.enter_context(closing(con))
                self._con.execute("PRAGMA journal_mode = WAL")
                self._con.execute("PRAGMA synchronous = FULL")
                self._con.execute("PRAGMA secure_delete = ON")
                self._con.executescript(KEYS_SCHEMA)
                keys_path.chmod(0o600)
                rows = self._con.execute("SELECT id, name, key FROM subject").fetchall()
            except (sqlite3.Error, OSError) as err:
                raise opening_error(keys_path.name, err) from err
            for row in rows:
                subject, name, key = _subject(row)
                self._remember(subject, self.open(name).decode(), self.open(key))
            undo.pop_all()

    def close(self) -> None:
        """Close the file."""
        self._con.close()

    def _remember(self, subject: bytes, name: str, key: bytes) -> None:
        self._ids[name] = subject
        self._keys[subject] = key

    # --- under the store key ---

    def seal(self, secret: bytes) -> bytes:
        """Return `secret` sealed under the store key."""
        return bytes(self._box.encrypt(secret, chance.token_bytes(SecretBox.NONCE_SIZE)))

    def open(self, sealed: bytes) -> bytes:
        """Return the content that was sealed under the store key.

        Raises:
            MissingKeyError: another store key sealed it, or it was damaged.
        """
        try:
            return self._box.decrypt(sealed)
        except (nacl.exceptions.CryptoError, ValueError) as err:
            raise MissingKeyError("this store key does not open what is stored: is it another agent's?") from err

    def has_keys(self) -> bool:
        """Tell whether there are keys of subjects: an agent that ever ran has at least its own."""
        return bool(self._keys)

    def commit(self, context: str, secret: str) -> str:
        """Return a keyed commitment to a device's secret, 64 hex digits: equal secrets in one context compare equal."""
        mac = self._committing.copy()
        mac.update(context.encode() + b"\x00" + secret.encode())
        return mac.hexdigest()

    def authenticate(self, data: bytes) -> str:
        """Return a MAC, 64 hex digits, of a mark that stands outside the state directory."""
        return hmac.digest(self._mark_key, data, "sha256").hex()

    # --- under subjects' keys ---

    def ensure_subjects(self, names: Iterable[str]) -> None:
        """Make the missing subjects' keys, durably, in one transaction.

        Raises:
            StoreFailedError: they could not be written.
        """
        missing = [n for n in dict.fromkeys(names) if n not in self._ids]
        if not missing:
            return
        made = [(chance.token_bytes(16), name, chance.token_bytes(KEY_BYTES)) for name in missing]
        rows = [(subject, self.seal(name.encode()), self.seal(key)) for subject, name, key in made]
        try:
            with self._lock:
                self._con.execute("BEGIN IMMEDIATE")
                self._con.executemany("INSERT INTO subject (id, name, key) VALUES (?,?,?)", rows)
                self._con.execute("COMMIT")
        except sqlite3.Error as err:
            raise StoreFailedError(f"the store cannot be written: the subjects' keys: {err}") from err
        for subject, name, key in made:
            self._remember(subject, name, key)

    def subject_id(self, name: str) -> bytes | None:
        """Return the random bytes that name a subject beside the log; None: it has no key, or its key was erased."""
        return self._ids.get(name)

    def seal_record(self, name: str, record: bytes) -> Sealed:
        """Return the record sealed under the subject's key, with its salt and commitment.

        Raises:
            ErasedSubjectError: the subject has no key (any more).
        """
        try:
            subject = self._ids[name]
        except KeyError:
            raise ErasedSubjectError("the subscriber's key is gone: they were erased, or keys.db is another") from None
        drawn = random_bytes(SALT_BYTES + SecretBox.NONCE_SIZE)
        salt, nonce = drawn[:SALT_BYTES], drawn[SALT_BYTES:]
        # The salt is sealed too: erasing the key leaves the leaf's commitment unlinkable to a guessed record. The
        # bytes are those of a `SecretBox`, which makes three more objects and copies for each record.
        ciphertext = nonce + crypto_secretbox_easy(salt + record, nonce, self._keys[subject])
        return Sealed(subject, ciphertext, commitment(salt, record))

    def open_record(self, subject: bytes, ciphertext: bytes) -> tuple[bytes, bytes] | None:
        """Return (salt, record), or None when the subject's key was erased.

        Raises:
            MissingKeyError: the record was damaged.
        """
        key = self._keys.get(subject)
        if key is None:
            return None
        try:
            nonce, rest = ciphertext[: SecretBox.NONCE_SIZE], ciphertext[SecretBox.NONCE_SIZE :]
            clear = crypto_secretbox_open_easy(rest, nonce, key)
        except (nacl.exceptions.CryptoError, ValueError) as err:
            raise MissingKeyError("a record does not open under its subject's key: it was damaged") from err
        return clear[:SALT_BYTES], clear[SALT_BYTES:]

    # --- sealing keys: what is sealed to the agent ---

    def keep_sealing(self, key: StoredSealing) -> None:
        """Keep a sealing key, durably; its private half sealed under the store key.

        Raises:
            StoreFailedError: it could not be written.
        """
        row = (key.public, self.seal(key.private), key.not_before_s, key.not_after_s)
        try:
            with self._lock:
                self._con.execute(
                    "INSERT INTO sealing (public, private, not_before_s, not_after_s) VALUES (?,?,?,?)", row
                )
        except sqlite3.Error as err:
            raise StoreFailedError(f"a sealing key cannot be written: {err}") from err

    def sealing_keys(self) -> list[StoredSealing]:
        """Return the sealing keys that are kept, the newest first; of two until the same second, the one made later."""
        with self._lock:
            rows = self._con.execute(
                "SELECT public, private, not_before_s, not_after_s FROM sealing ORDER BY not_after_s DESC, rowid DESC"
            ).fetchall()
        found = [_sealing(row) for row in rows]
        return [replace(key, private=self.open(key.private)) for key in found]

    def drop_sealing(self, before_s: float) -> int:
        """Delete the keys with a last moment before `before_s`; return how many. Nothing of them stays on disk.

        Raises:
            StoreFailedError: it could not be written.
        """
        try:
            with self._lock:
                dropped = self._con.execute("DELETE FROM sealing WHERE not_after_s < ?", (before_s,)).rowcount
                if dropped:  # secure_delete clears the page; the log of writes still holds the page as it was
                    self._con.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except sqlite3.Error as err:
            raise StoreFailedError(f"sealing keys cannot be deleted: {err}") from err
        return dropped

    # --- the key of backups' data ---

    def ensure_backup_key(self, identity: str, now_s: int) -> None:
        """Keep this identity durably as the key of backups' data, where there is none.

        Raises:
            StoreFailedError: it could not be written.
        """
        row = (self.seal(identity.encode()), now_s)
        try:
            with self._lock:
                self._con.execute("INSERT OR IGNORE INTO backup_key (one, identity, made_s) VALUES (1, ?, ?)", row)
        except sqlite3.Error as err:
            raise StoreFailedError(f"the key of backups cannot be written: {err}") from err

    def backup_key(self, con: sqlite3.Connection) -> BackupKey | None:
        """Return the key of backups' data in one moment of the file that a connection reads; None: it has ended."""
        row = con.execute("SELECT identity, made_s FROM backup_key").fetchone()
        if row is None:
            return None
        identity, made_s = _backup_key(row)
        return BackupKey(self.open(identity).decode(), made_s)

    # --- the log's high-water mark ---

    def raise_mark(self, mark: LogMark) -> None:
        """Remember durably how long the log was, and its root (called by the writer's thread)."""
        with self._lock:
            row = (mark.size, mark.root)
            self._con.execute("INSERT OR REPLACE INTO mark (one, size, root) VALUES (1, ?, ?)", row)

    def distrust_mark(self) -> None:
        """Remember, durably, a log that never was: at its next start the agent takes its database for a restored one.

        A backup of the whole state directory has the mark that fits it, and looks as if nothing had been done since.
        """
        size, _ = self.mark() or (1, b"")
        self.raise_mark(LogMark(size, chance.token_bytes(32)))

    def mark(self) -> tuple[int, bytes] | None:
        """Return the remembered (size, root) of the log, or None.

        Raises:
            DamagedValueError: the row is none that an ispagent writes.
        """
        row = self._con.execute("SELECT size, root FROM mark").fetchone()
        return None if row is None else _mark(row)


@reads_row_of("subject", KEYS)
def _subject(row: tuple[Any, ...]) -> tuple[bytes, bytes, bytes]:
    subject, name, key = row
    return _blob(subject), _blob(name), _blob(key)


@reads_row_of("sealing", KEYS)
def _sealing(row: tuple[Any, ...]) -> StoredSealing:
    """Return a key with its private half still sealed."""
    public, private, not_before_s, not_after_s = row
    return StoredSealing(_blob(public), _blob(private), int(not_before_s), int(not_after_s))


@reads_row_of("backup_key", KEYS)
def _backup_key(row: tuple[Any, ...]) -> tuple[bytes, int]:
    identity, made_s = row
    return _blob(identity), int(made_s)


@reads_row_of("mark", KEYS)
def _mark(row: tuple[Any, ...]) -> tuple[int, bytes]:
    size, root = row
    return int(size), _blob(root)


def _blob(value: object) -> bytes:
    """Return a column's bytes; `bytes` of a damaged one may be as many zeros as a number says."""
    if not isinstance(value, bytes):
        raise TypeError("expected bytes")
    return value
