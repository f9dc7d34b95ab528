"""The mark file: two slots in turn, each of this agent's own key; a torn write leaves the mark before."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.store.errors import StoreFailedError
from agent.store.mark_file import SLOT_BYTES, LogMark, MarkFile
from agent.store.vault import Vault
from tests.builders.store import STORE_KEY

MARKS = [LogMark(n, bytes([n]) * 32, n, doubt) for n, doubt in ((3, None), (7, 0), (9, 12))]


@pytest.fixture(scope="module")
def vault(tmp_path_factory: pytest.TempPathFactory) -> Vault:
    return Vault(STORE_KEY, tmp_path_factory.mktemp("vault") / "keys.db")


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory, vault: Vault) -> MarkFile:
    return MarkFile(tmp_path_factory.mktemp("mark") / "mark", vault.authenticate)


def test_the_newest_mark_is_read_again(tmp_path: Path, vault: Vault) -> None:
    path = tmp_path / "beside" / "mark"
    for n, mark in enumerate(MARKS):
        with closing(MarkFile(path, vault.authenticate)) as file:
            assert (file.mark, file.written) == ((MARKS[n - 1], True) if n else (None, False))
            file.write(mark)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert path.stat().st_size == 2 * SLOT_BYTES


def test_a_torn_write_leaves_the_mark_before(tmp_path: Path, vault: Vault) -> None:
    path = tmp_path / "mark"
    with closing(MarkFile(path, vault.authenticate)) as file:
        for mark in MARKS:
            file.write(mark)
    whole = path.read_bytes()
    for end in range(0, 150, 7):  # the third mark stands in the slot of the first
        path.write_bytes(whole[:SLOT_BYTES] + b"\0" * end + whole[SLOT_BYTES + end :] if end else whole)
        with closing(MarkFile(path, vault.authenticate)) as file:
            assert file.mark == (MARKS[1] if end else MARKS[2])


def test_another_agents_mark_is_none_of_ours(tmp_path: Path, vault: Vault) -> None:
    path = tmp_path / "mark"
    with closing(Vault(bytes(32), tmp_path / "keys.db")) as other, closing(MarkFile(path, other.authenticate)) as file:
        file.write(MARKS[0])
    with closing(MarkFile(path, vault.authenticate)) as file:
        assert (file.mark, file.written) == (None, True)


@given(st.binary(max_size=SLOT_BYTES + 10))
def test_any_bytes_are_no_mark(file: MarkFile, data: bytes) -> None:
    assert file._read_untrusted(data) == (0, None)


def test_a_place_that_cannot_be_written_says_what_mends_it(tmp_path: Path, vault: Vault) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreFailedError, match=r"cannot be written: .*StateDirectory=file in the unit"):
        MarkFile(tmp_path / "file" / "mark", vault.authenticate)
    (tmp_path / "mark").mkdir()
    with pytest.raises(StoreFailedError, match=r"agent\.mark_file"):
        MarkFile(tmp_path / "mark", vault.authenticate)
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreFailedError, match="cannot be written"):
        MarkFile(tmp_path / "link", vault.authenticate)
    file = MarkFile(tmp_path / "good", vault.authenticate)
    os.close(file._fd)
    with pytest.raises(StoreFailedError, match=r"mark file .*good: cannot be written"):
        file.write(MARKS[0])
