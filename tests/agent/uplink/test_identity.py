"""`cloud.json`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.store.vault import Vault
from agent.uplink import identity as identities
from agent.uplink.errors import CredentialsError
from agent.uplink.identity import CloudIdentity

FOUND = CloudIdentity("0b" * 16, "agent-1", "cloud.example:8443", "ee" * 32, b"CA", b"CERTIFICATE", b"PRIVATE KEY")


@pytest.fixture
def vault(tmp_path: Path) -> Iterator[Vault]:
    vault = Vault(bytes(32), tmp_path / "keys.db")
    yield vault
    vault.close()


def test_what_was_saved_is_loaded_and_its_key_is_sealed(tmp_path: Path, vault: Vault) -> None:
    assert identities.load(tmp_path, vault) is None
    assert identities.stamp(tmp_path) is None
    identities.save(tmp_path, vault, FOUND)
    path = tmp_path / identities.FILE_NAME
    assert path.stat().st_mode & 0o777 == 0o600
    assert b"PRIVATE KEY" not in path.read_bytes()
    assert identities.load(tmp_path, vault) == FOUND
    assert "PRIVATE" not in repr(FOUND)
    before = identities.stamp(tmp_path)
    identities.save(tmp_path, vault, FOUND)
    assert identities.stamp(tmp_path) != before
    assert sorted(p.name for p in tmp_path.iterdir() if "cloud" in p.name) == [identities.FILE_NAME]
    assert identities.remove(tmp_path)
    assert not identities.remove(tmp_path)
    assert identities.load(tmp_path, vault) is None


def test_another_store_key_does_not_open_it(tmp_path: Path, vault: Vault) -> None:
    identities.save(tmp_path, vault, FOUND)
    other = Vault(bytes([1]) * 32, tmp_path / "other.db")
    with pytest.raises(CredentialsError, match="enrol again"):
        identities.load(tmp_path, other)
    other.close()


@pytest.mark.parametrize(
    "change",
    [
        {"format": "ispagents-cloud-v1"},
        {"operator": "0b"},
        {"name": "UPPER"},
        {"server": 7},
        {"enrolment": "zz" * 32},
        {"sealed_key": "!!"},
        {"sealed_key": ""},
        {"more": 1},
    ],
)
def test_a_file_that_is_not_one_of_ours(tmp_path: Path, vault: Vault, change: dict[str, object]) -> None:
    identities.save(tmp_path, vault, FOUND)
    path = tmp_path / identities.FILE_NAME
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(CredentialsError):
        identities.load(tmp_path, vault)


def test_files_that_cannot_be_used(tmp_path: Path, vault: Vault) -> None:
    (tmp_path / identities.FILE_NAME).mkdir()
    with pytest.raises(CredentialsError, match="cannot be read"):
        identities.load(tmp_path, vault)
    with pytest.raises(CredentialsError, match="cannot be written"):
        identities.save(tmp_path, vault, FOUND)
    with pytest.raises(CredentialsError, match="cannot be deleted"):
        identities.remove(tmp_path)
