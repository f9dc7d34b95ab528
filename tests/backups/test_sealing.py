"""Files in age's format: the `age` program opens ours, we open its; and everything that is not one is refused."""

from __future__ import annotations

import errno
import io
import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from backups.errors import AgeKeyError, BackupError, BackupStorageError, DamagedBackupError, WrongKeyError
from backups.sealing import (
    RECIPIENTS_MAX,
    encrypt,
    new_identity,
    opened_untrusted,
    parse_identities_untrusted,
    parse_recipients,
    recipient_of,
)
from tests.builders.age_files import Owner, needs_age

DATA = random.Random(7).randbytes(200_000)
"""Four chunks of age."""


def sealed(path: Path, *owners: Owner, data: bytes = DATA) -> Path:
    with path.open("wb") as out:
        encrypt(iter([data[:10], b"", data[10:]]), out, parse_recipients(o.public for o in owners))
    return path


def opened(path: Path, owner: Owner) -> bytes:
    with opened_untrusted(path, owner.identities) as stream:
        found = b""
        while chunk := stream.read(4096):
            found += chunk
        return found


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 65_537, 200_000])
def test_there_and_back(tmp_path: Path, size: int) -> None:
    owner = Owner()
    assert opened(sealed(tmp_path / "f", owner, data=DATA[:size]), owner) == DATA[:size]


@needs_age
def test_the_age_program_opens_it_for_each_recipient(tmp_path: Path) -> None:
    owners = [Owner(), Owner()]
    file = sealed(tmp_path / "f", *owners)
    assert [owner.opened_by_age(file, tmp_path) for owner in owners] == [DATA, DATA]


@needs_age
def test_we_open_what_the_age_program_wrote(tmp_path: Path) -> None:
    keys = subprocess.run(["age-keygen"], check=True, capture_output=True, timeout=60).stdout
    (identity,) = parse_identities_untrusted(keys)
    command = ["age", "--recipient", str(identity.to_public()), "--output", str(tmp_path / "f")]
    subprocess.run(command, input=DATA, check=True, capture_output=True, timeout=60)
    with opened_untrusted(tmp_path / "f", [identity]) as stream:
        assert stream.read_exactly(len(DATA)) == DATA


def test_another_recipient(tmp_path: Path) -> None:
    file = sealed(tmp_path / "f", Owner())
    with pytest.raises(WrongKeyError, match="f: it is sealed to another recipient"):
        opened(file, Owner())


def test_cut_at_any_place(tmp_path: Path) -> None:
    owner = Owner()
    whole = sealed(tmp_path / "f", owner).read_bytes()
    header = len(whole) - len(DATA) - 4 * 16 - 16
    for size in {0, 1, header, header + 16, header + 16 + 65_552, len(whole) - 1, *range(7, len(whole), 9973)}:
        (tmp_path / "cut").write_bytes(whole[:size])
        with pytest.raises(DamagedBackupError, match="cut"):
            opened(tmp_path / "cut", owner)


def test_altered_at_any_place(tmp_path: Path) -> None:
    owner = Owner()
    whole = sealed(tmp_path / "f", owner).read_bytes()
    for place in [*range(0, 260, 3), *range(261, len(whole), 9973), len(whole) - 1]:
        (tmp_path / "bad").write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises((DamagedBackupError, WrongKeyError)):
            opened(tmp_path / "bad", owner)
    (tmp_path / "bad").write_bytes(whole + b"x")
    with pytest.raises(DamagedBackupError):
        opened(tmp_path / "bad", owner)


def test_what_is_left_unread_is_refused(tmp_path: Path) -> None:
    owner = Owner()
    file = sealed(tmp_path / "f", owner)
    with (
        pytest.raises(DamagedBackupError, match="expected its end"),
        opened_untrusted(file, owner.identities) as stream,
    ):
        stream.read_exactly(10)
    with pytest.raises(DamagedBackupError, match="it ends after"), opened_untrusted(file, owner.identities) as stream:
        stream.read_exactly(len(DATA) + 1)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(BackupStorageError, match="No such file"), opened_untrusted(tmp_path / "none", []):
        pass


def test_an_error_of_the_chunks_is_the_error() -> None:
    class MyError(Exception):
        pass

    def chunks() -> Iterator[bytes]:
        yield bytes(100_000)
        raise MyError

    with pytest.raises(MyError):
        encrypt(chunks(), io.BytesIO(), Owner().recipients)


def test_an_error_of_the_file_is_the_error() -> None:
    class Full(io.BytesIO):
        def write(self, data: object) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OSError, match="No space left"):
        encrypt([DATA], Full(), Owner().recipients)


def test_recipients_count_once_and_are_few() -> None:
    owner = Owner()
    assert parse_recipients([owner.public, f" {owner.public}\n"]).texts == (owner.public,)
    for texts in ([], [Owner().public for _ in range(RECIPIENTS_MAX + 1)]):
        with pytest.raises(AgeKeyError, match="1 to 16 recipients"):
            parse_recipients(texts)


def test_what_is_no_recipient() -> None:
    good = Owner().public
    for text in ("", "age1", good[:-1], good[:-1] + ("q" if good[-1] != "q" else "p"), "ssh-ed25519 AAAA", "x" * 500):
        with pytest.raises(AgeKeyError, match="recipient 1: expected a public key of age-keygen") as found:
            parse_recipients([text])
        assert len(str(found.value)) < 300


def test_a_secret_key_as_recipient_is_not_repeated() -> None:
    secret = new_identity()
    for text in (secret, secret.lower()):
        with pytest.raises(AgeKeyError, match="got a secret key") as found:
            parse_recipients([text])
        assert secret[20:] not in str(found.value).upper()


def test_identities_are_one_a_line() -> None:
    first, second = Owner(), Owner()
    found = parse_identities_untrusted(f"# mine\n\n{first.secret}\r\n  {second.secret}".encode())
    assert [str(one.to_public()) for one in found] == [first.public, second.public]
    assert recipient_of(first.secret).texts == (first.public,)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "got none"),
        (b"# only a comment\n", "got none"),
        (b"age1qqq\n", "line 1: expected the secret half"),
        (b"\n-----BEGIN OPENSSH PRIVATE KEY-----\n", "line 2: expected an identity of age-keygen"),
        (b"\xff\xfe", "line 1: expected an identity"),
        (b"age-encryption.org/v1\n-> scrypt", "sealed with a passphrase"),
        (b"-----BEGIN AGE ENCRYPTED FILE-----\n", "sealed with a passphrase"),
        (b"#" * 70_000, "at most 65536 bytes"),
    ],
)
def test_what_is_no_identity(data: bytes, says: str) -> None:
    with pytest.raises(AgeKeyError, match=says):
        parse_identities_untrusted(data)


def test_an_altered_secret_is_not_repeated() -> None:
    secret = new_identity()
    wrong = secret[:-1] + ("Q" if secret[-1] != "Q" else "P")
    with pytest.raises(AgeKeyError) as found:
        parse_identities_untrusted(wrong.encode())
    assert secret[20:40] not in str(found.value)
    assert isinstance(found.value, BackupError)
