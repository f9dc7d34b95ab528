"""Which files may hold a key, by their mode and by who made them."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from durable.credentials import credential, mode_problem


def test_a_credential_is_found_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "ispagent.store-key").write_bytes(b"k")
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert credential("ispagent.store-key", environ) == tmp_path / "ispagent.store-key"
    assert credential("other", environ) is None
    assert credential("ispagent.store-key", {}) is None
    assert credential("ispagent.store-key", {"CREDENTIALS_DIRECTORY": ""}) is None


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_file_of_its_owner_alone(tmp_path: Path, mode: int) -> None:
    assert mode_problem(tmp_path / "key", stat.S_IFREG | mode, {}) == ""


@pytest.mark.parametrize("mode", [0o640, 0o440, 0o604, 0o620, 0o601])
def test_a_file_that_others_can_read(tmp_path: Path, mode: int) -> None:
    expected = f"expected mode 0600 or 0400, got {mode:04o}: others can read it"
    assert mode_problem(tmp_path / "key", stat.S_IFREG | mode, {}) == expected
    elsewhere = {"CREDENTIALS_DIRECTORY": str(tmp_path / "credentials")}
    assert mode_problem(tmp_path / "key", stat.S_IFREG | mode, elsewhere) == expected


@pytest.mark.parametrize(("mode", "fine"), [(0o400, True), (0o440, True), (0o444, False), (0o460, False)])
def test_a_credential_may_have_the_bits_of_an_acl(tmp_path: Path, mode: int, fine: bool) -> None:
    problem = mode_problem(tmp_path / "key", stat.S_IFREG | mode, {"CREDENTIALS_DIRECTORY": str(tmp_path)})
    assert (problem == "") is fine
    assert fine or problem.endswith(f"got {mode:04o}: others can read it")
