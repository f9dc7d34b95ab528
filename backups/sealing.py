"""Files in age's format (C2SP age v1), to X25519 recipients: written and read as streams, by pyrage.

* The `age` program alone opens them: `age --decrypt --identity KEYFILE FILE`.
* age proves no author of a file: anybody with the recipient can make one. The archive inside is bound to
  its program's keys, and people compare words.
* A file that was cut or altered gives its first chunks before the error: its reader uses nothing before the end.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from io import BufferedIOBase
from pathlib import Path
from typing import BinaryIO, Final, cast

import pyrage
from pyrage import x25519

from backups.errors import AgeKeyError, BackupStorageError, DamagedBackupError, WrongKeyError

RECIPIENTS_MAX: Final = 16
"""Chosen arbitrarily: each can open all of it."""
IDENTITY_BYTES: Final = 64 * 1024
"""Most bytes of a file of identities."""
_SECRET: Final = "AGE-SECRET-KEY-"
_PIPE_BYTES: Final = 1024 * 1024
_HEADER: Final = b"age-encryption.org/v1"
_ARMOR: Final = b"-----BEGIN AGE"


@dataclass(frozen=True, slots=True)
class Recipients:
    """The recipients that can open a file. `texts`: as they are written, `age1…`."""

    texts: tuple[str, ...]
    keys: tuple[x25519.Recipient, ...]


def parse_recipients(texts: Iterable[str]) -> Recipients:
    """Return the recipients that texts name; each counts once.

    Raises:
        AgeKeyError: one is no recipient, there is none, or there are more than `RECIPIENTS_MAX`.
    """
    found: dict[str, x25519.Recipient] = {}
    for number, text in enumerate(texts, start=1):
        clean = text.strip()
        if clean.upper().startswith(_SECRET):
            raise AgeKeyError(
                f"recipient {number}: expected the public half, age1…, got a secret key: it was shown where it should"
                " not be, so make a new one (age-keygen), and give its public half (age-keygen -y KEYFILE)"
            )
        try:
            key = x25519.Recipient.from_str(clean)
        except pyrage.RecipientError as err:
            raise AgeKeyError(
                f"recipient {number}: expected a public key of age-keygen, age1 and 58 characters more, got"
                f" {clean[:72]!r}: is a character missing or wrong?"
            ) from err
        found[str(key)] = key
    if not 1 <= len(found) <= RECIPIENTS_MAX:
        raise AgeKeyError(f"expected 1 to {RECIPIENTS_MAX} recipients, age1…, got {len(found)}")
    return Recipients(tuple(found), tuple(found.values()))


def parse_identities_untrusted(data: bytes) -> list[x25519.Identity]:
    """Return the identities in a file of `age-keygen`: one a line, comments with #.

    Raises:
        AgeKeyError: there is none, or a line is something else.
    """
    if data.startswith((_HEADER, _ARMOR)):
        raise AgeKeyError(
            "the identity is sealed with a passphrase: expected it open: age --decrypt KEYFILE | … --identity -"
        )
    if len(data) > IDENTITY_BYTES:
        raise AgeKeyError(f"expected a file of identities of at most {IDENTITY_BYTES} bytes, got {len(data)}")
    found = []
    for number, line in enumerate(data.decode("ascii", errors="replace").splitlines(), start=1):
        clean = line.strip()
        if not clean or clean.startswith("#"):
            continue
        if clean.startswith("age1"):
            raise AgeKeyError(f"line {number}: expected the secret half, {_SECRET}1…, got a recipient")
        try:
            found.append(x25519.Identity.from_str(clean))
        except pyrage.IdentityError as err:
            raise AgeKeyError(f"line {number}: expected an identity of age-keygen, {_SECRET}1…, got another") from err
    if not found:
        raise AgeKeyError(f"expected an identity of age-keygen, {_SECRET}1…, got none")
    return found


def new_identity() -> str:
    """Return a new identity, as it is written in a file."""
    return str(x25519.Identity.generate())


def recipient_of(identity: str) -> Recipients:
    """Return the public half of an identity."""
    return parse_recipients([str(x25519.Identity.from_str(identity).to_public())])


class _Pulled(BufferedIOBase):
    """Chunks as a file that pyrage reads. `error` is that of the chunks: pyrage makes a text of it."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._rest = memoryview(b"")
        self.error: BaseException | None = None

    def read(self, size: int | None = -1, /) -> bytes:
        try:
            while not self._rest:
                self._rest = memoryview(next(self._chunks))
        except StopIteration:
            return b""
        except BaseException as err:
            self.error = err
            raise
        taken, self._rest = self._rest[:size], self._rest[size:]
        return bytes(taken)


class _Written(BufferedIOBase):
    """A file that pyrage writes. `error` is its own."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self.error: BaseException | None = None

    def write(self, data: bytes, /) -> int:  # type: ignore[override]  # pyrage gives bytes
        try:
            return self._out.write(data)
        except BaseException as err:
            self.error = err
            raise


def encrypt(chunks: Iterable[bytes], out: BinaryIO, recipients: Recipients) -> None:
    """Write chunks, sealed to the recipients. Errors of the chunks or the file are raised here."""
    source, target = _Pulled(chunks), _Written(out)
    try:
        pyrage.encrypt_io(source, target, recipients.keys)
    except (pyrage.EncryptError, OSError) as err:
        raise source.error or target.error or BackupStorageError(f"a backup cannot be sealed: {err}") from err


class OpenedBackup:
    """The clear bytes of a file, one chunk after another. `finish` says whether the file was whole."""

    def __init__(self, name: str, file: BufferedIOBase, identities: Sequence[x25519.Identity]) -> None:
        """Begin to decrypt in a thread. `name`: of the file, for errors."""
        self.name = name
        self._file, self._identities = file, identities
        self._error: Exception | None = None
        read_end, write_end = os.pipe()
        self._clear = os.fdopen(read_end, "rb", buffering=_PIPE_BYTES)
        self._thread = threading.Thread(target=self._decrypt, args=(write_end,), daemon=True)
        self._thread.start()

    def _decrypt(self, write_end: int) -> None:
        with suppress(BrokenPipeError), os.fdopen(write_end, "wb", buffering=_PIPE_BYTES) as out:
            try:
                pyrage.decrypt_io(self._file, cast("BufferedIOBase", out), self._identities)
            except (pyrage.DecryptError, OSError) as err:
                self._error = err

    def read(self, size: int) -> bytes:
        """Return as many bytes, fewer only at the end."""
        return self._clear.read(size)

    def read_exactly(self, size: int) -> bytes:
        """Return as many bytes.

        Raises:
            WrongKeyError: no identity opens the file.
            DamagedBackupError: it ends before, was altered, or is no file of age.
        """
        data = self.read(size)
        if len(data) != size:
            self.finish()
            raise DamagedBackupError(f"{self.name}: expected {size} bytes more, it ends after {len(data)} of them")
        return data

    def finish(self) -> None:
        """Check that the file was whole and that nothing of it is left to read.

        Raises:
            WrongKeyError: no identity opens it.
            DamagedBackupError: it was cut or altered, or is no file of age, or more follows.
        """
        if self._clear.read(1):
            raise DamagedBackupError(f"{self.name}: expected its end, more follows")
        self._thread.join()
        if self._error is None:
            return
        if "No matching keys" in str(self._error):
            raise WrongKeyError(f"{self.name}: it is sealed to another recipient: no given identity opens it")
        raise DamagedBackupError(
            f"{self.name}: it was cut or altered, or is no file of age ({self._error}): take another copy of it"
        ) from self._error

    def close(self) -> None:
        """End the thread, whatever is left to read."""
        self._clear.close()
        self._thread.join()


@contextmanager
def opened_untrusted(path: Path, identities: Sequence[x25519.Identity]) -> Iterator[OpenedBackup]:
    """Give the clear bytes of a file; at the end of the block it was whole.

    Raises:
        WrongKeyError: no identity opens it.
        DamagedBackupError: it was cut or altered, is no file of age, or the block left something.
        BackupStorageError: it cannot be read.
    """
    try:
        file = path.open("rb")
    except OSError as err:
        raise BackupStorageError(f"{path}: cannot be read: {err.strerror}") from err
    with file, closing(OpenedBackup(path.name, file, identities)) as stream:
        yield stream
        stream.finish()
