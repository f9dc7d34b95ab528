"""The agent's own keys at rest."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from nacl.secret import SecretBox

from agent.store.errors import MissingKeyError
from agent.store.identity import FILE_NAME, create_identity, load_identity, renew_log_key
from tests.builders.store import STORE_KEY
from trust import verify
from trust.checkpoint import parse_vkey_untrusted


def test_identity_is_read_back(tmp_path: Path) -> None:
    made = create_identity(tmp_path, STORE_KEY)
    read = load_identity(tmp_path, STORE_KEY)
    assert read.agent == made.agent
    assert len(bytes.fromhex(read.agent)) == 16
    assert read.plan_key.public == made.plan_key.public
    assert read.log_key.public == made.log_key.public
    assert read.plan_key.public != read.log_key.public


def test_file_is_private_and_sealed(tmp_path: Path) -> None:
    made = create_identity(tmp_path, STORE_KEY)
    path = tmp_path / FILE_NAME
    assert path.stat().st_mode & 0o777 == 0o600
    data = path.read_bytes()
    assert made.plan_key.seed not in data
    assert made.agent.encode() not in data


def test_an_identity_is_never_overwritten(tmp_path: Path) -> None:
    made = create_identity(tmp_path, STORE_KEY)
    with pytest.raises(MissingKeyError, match="cannot be created"):
        create_identity(tmp_path, STORE_KEY)
    assert load_identity(tmp_path, STORE_KEY).agent == made.agent


def test_no_identity(tmp_path: Path) -> None:
    with pytest.raises(MissingKeyError, match="ispagent init"):
        load_identity(tmp_path, STORE_KEY)


@pytest.mark.parametrize("data", [b"", b"x" * 10, b"x" * 200])
def test_a_damaged_file_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / FILE_NAME).write_bytes(data)
    with pytest.raises(MissingKeyError, match="does not open"):
        load_identity(tmp_path, STORE_KEY)


@pytest.mark.parametrize("fields", [{}, {"agent": "1", "plan": "zz", "log": "00"}, {"agent": "1", "plan": "00"}, []])
def test_sealed_nonsense_is_refused(tmp_path: Path, fields: object) -> None:
    (tmp_path / FILE_NAME).write_bytes(SecretBox(STORE_KEY).encrypt(json.dumps(fields).encode()))
    with pytest.raises(MissingKeyError, match="does not open"):
        load_identity(tmp_path, STORE_KEY)


def test_another_store_key_is_refused(tmp_path: Path) -> None:
    create_identity(tmp_path, STORE_KEY)
    with pytest.raises(MissingKeyError, match="does not open"):
        load_identity(tmp_path, bytes(32))


def test_a_new_log_key_is_another_log_of_the_same_agent(tmp_path: Path) -> None:
    made = create_identity(tmp_path, STORE_KEY)
    renewed = renew_log_key(tmp_path, STORE_KEY)
    assert (renewed.agent, renewed.plan_key.public) == (made.agent, made.plan_key.public)
    assert renewed.log_key.public != made.log_key.public
    assert (made.origin("x/a"), renewed.origin("x/a")) == ("x/a", "x/a/2")
    again = load_identity(tmp_path, STORE_KEY)
    assert (again.log_key.public, again.log_n) == (renewed.log_key.public, 2)


def test_the_enrolment_names_the_log_key_that_is_in_force(tmp_path: Path) -> None:
    create_identity(tmp_path, STORE_KEY)
    renewed = renew_log_key(tmp_path, STORE_KEY)
    enroll = verify.verify_enroll(renewed.enrolment("noc-1", "x/a"))
    vkey = parse_vkey_untrusted(enroll.log_key)
    assert (vkey.name, vkey.public) == ("x/a/2", renewed.log_key.public)
