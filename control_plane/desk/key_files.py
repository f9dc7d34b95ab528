"""Key files: an Ed25519 key under a passphrase. The passphrase comes from the terminal or from a file."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from control_plane.desk import files
from control_plane.errors import InputError
from trust import keys, limits
from trust.errors import MalformedKeyError
from trust.keys import SigningKey

PASSPHRASE_CHARS_MIN: Final = 8
"""Characters of a new passphrase; argon2id makes each guess cost about a second. Chosen arbitrarily."""

_PASSPHRASE_BYTES: Final = 1024


def read_passphrase(path: Path) -> bytes:
    """Return the passphrase that a file holds: its bytes without one trailing newline.

    Raises:
        InputError: the file cannot be read, or is empty.
    """
    data = files.read(path, _PASSPHRASE_BYTES, "a passphrase").removesuffix(b"\n").removesuffix(b"\r")
    if not data:
        raise InputError(f"{path}: expected a passphrase, the file is empty")
    return data


def check_new_passphrase(passphrase: bytes) -> None:
    """Refuse a passphrase that is too short to protect a key.

    Raises:
        InputError: fewer than `PASSPHRASE_CHARS_MIN` characters.
    """
    chars = len(passphrase.decode("utf-8", "replace"))
    if chars < PASSPHRASE_CHARS_MIN:
        raise InputError(f"expected a passphrase of at least {PASSPHRASE_CHARS_MIN} characters, got {chars}")


def create(path: Path, passphrase: bytes, ops: int = keys.OPS_MODERATE, mem: int = keys.MEM_MODERATE) -> SigningKey:
    """Write a new key's file and return the key; `ops` and `mem` are those of `trust.keys.seal_key`.

    Raises:
        InputError: the file is there already.
        LocalFailureError: it cannot be written.
    """
    key = SigningKey.generate()
    files.write_new(path, keys.seal_key(key.seed, passphrase, ops, mem))
    return key


def read_public(path: Path) -> bytes:
    """Return the public key that a key file names, without its passphrase.

    Raises:
        InputError: the file cannot be read.
        MalformedKeyError: it is no key file.
    """
    try:
        return keys.sealed_public_untrusted(_read(path))
    except MalformedKeyError as err:
        raise MalformedKeyError(f"{path}: {err}") from err


def open_key(path: Path, passphrase: bytes) -> SigningKey:
    """Return the key that a file holds.

    Raises:
        InputError: the file cannot be read.
        MalformedKeyError: it is no key file.
        WrongPassphraseError: the passphrase does not open it.
    """
    return keys.open_key_untrusted(_read(path), passphrase)


def _read(path: Path) -> bytes:
    return files.read(path, limits.KEY_FILE_BYTES, "a key file")
