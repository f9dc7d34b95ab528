"""Invitations and credentials: one format each, read by both sides, total on any bytes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protos import member_files
from protos.member_files import AGENTS, AT_DESKS, FILE_BYTES, Invitation, MemberCredentials
from tests.protos.members import NORTH, OF_LENA, OF_NORTH, PERSON, WHOLE
from trust.errors import MalformedStatementError


@pytest.mark.parametrize(("invitation", "kinds"), [(PERSON, AT_DESKS), (NORTH, AGENTS)])
def test_an_invitation_there_and_back(invitation: Invitation, kinds: frozenset[str]) -> None:
    data = member_files.encode_invitation(invitation)
    assert member_files.read_invitation_untrusted(data, kinds) == invitation
    assert repr(invitation.token) not in repr(invitation)
    other = AGENTS if kinds == AT_DESKS else AT_DESKS
    with pytest.raises(MalformedStatementError, match="for another kind of member"):
        member_files.read_invitation_untrusted(data, other)


@pytest.mark.parametrize(("credentials", "kinds"), [(OF_LENA, AT_DESKS), (OF_NORTH, AGENTS)])
def test_credentials_there_and_back(credentials: MemberCredentials, kinds: frozenset[str]) -> None:
    data = member_files.encode_credentials(credentials)
    assert member_files.read_credentials_untrusted(data, kinds, "cloud.json") == credentials
    assert credentials.key not in repr(credentials)
    with pytest.raises(MalformedStatementError, match=r"cloud\.json: field 'format'"):
        member_files.read_credentials_untrusted(data, AGENTS if kinds == AT_DESKS else AT_DESKS, "cloud.json")


# The files of earlier versions, byte for byte: they must be read for ever.
RECORDED = {
    "invitation": b'{"format": "ispagents-invitation-v0", "operator": "%s", "kind": "person", "name": "lena", '
    b'"server": "cloud.example:8443", "enrolment": "[2001:db8::1]:8444", "ca": "-----BEGIN CERTIFICATE-----\\n", '
    b'"token": "%s"}' % (b"0b" * 16, PERSON.token.hex().encode()),
    "agent": b'{"format": "ispagents-cloud-v0", "operator": "%s", "name": "noc-1", "server": "cloud.example:8443", '
    b'"enrolment": "%s", "ca": "CA", "certificate": "CERTIFICATE", "sealed_key": "SEALED"}' % (b"0b" * 16, b"ee" * 32),
    "desk": b'{"format": "ispcloud-desk-v0", "operator": "%s", "kind": "person", "name": "lena", '
    b'"server": "cloud.example:8443", "ca": "CA", "certificate": "CERTIFICATE", "key": "PRIVATE"}' % (b"0b" * 16),
}


def test_recorded_files_are_read() -> None:
    assert member_files.read_invitation_untrusted(RECORDED["invitation"], AT_DESKS) == PERSON
    assert member_files.read_credentials_untrusted(RECORDED["agent"], AGENTS, "cloud.json") == OF_NORTH
    assert member_files.read_credentials_untrusted(RECORDED["desk"], AT_DESKS, "cloud identity") == OF_LENA


@pytest.mark.parametrize(
    "change",
    [
        {"format": "ispagents-invitation-v1"},
        {"kind": "root"},
        {"kind": 7},
        {"name": "../../etc"},
        {"operator": "0b"},
        {"server": "unix:/run/x"},
        {"server": "host"},
        {"server": "host:0"},
        {"server": "host:65536"},
        {"server": "dns:///host:1"},
        {"enrolment": "a:1,b:2"},
        {"ca": "x" * 16_385},
        {"token": "00"},
        {"more": 1},
    ],
    ids=repr,
)
def test_what_is_no_invitation(change: dict[str, object]) -> None:
    document = {**json.loads(member_files.encode_invitation(PERSON)), **change}
    with pytest.raises(MalformedStatementError):
        member_files.read_invitation_untrusted(json.dumps(document).encode(), AT_DESKS)


@pytest.mark.parametrize("change", [{"enrolment": "zz"}, {"key": "x"}, {"kind": "agent"}, {"server": 7}], ids=repr)
def test_what_is_no_file_of_an_agent(change: dict[str, object]) -> None:
    document = {**json.loads(member_files.encode_credentials(OF_NORTH)), **change}
    with pytest.raises(MalformedStatementError):
        member_files.read_credentials_untrusted(json.dumps(document).encode(), AGENTS, "cloud.json")


def test_a_file_that_is_too_large() -> None:
    with pytest.raises(MalformedStatementError, match=f"at most {FILE_BYTES} bytes"):
        member_files.read_invitation_untrusted(b" " * (FILE_BYTES + 1), AT_DESKS)


VALUES = st.none() | st.booleans() | st.integers() | st.text(max_size=30) | st.lists(st.integers(), max_size=2)


@given(data=st.binary(max_size=200))
def test_total_on_bytes(data: bytes) -> None:
    check_total(data)


@given(whole=st.sampled_from(WHOLE), name=st.sampled_from(["format", "kind", "name", "server", "key"]), value=VALUES)
def test_total_on_wrong_fields(whole: bytes, name: str, value: object) -> None:
    check_total(json.dumps({**json.loads(whole), name: value}).encode())


@given(whole=st.sampled_from(WHOLE), at=st.integers(0, 2000), byte=st.binary(min_size=1, max_size=1))
def test_total_on_a_changed_byte(whole: bytes, at: int, byte: bytes) -> None:
    at %= len(whole)
    check_total(whole[:at] + byte + whole[at + 1 :])


def check_total(data: bytes) -> None:
    for kinds in (AGENTS, AT_DESKS):
        try:
            found = member_files.read_invitation_untrusted(data, kinds)
            assert found.kind in kinds
        except MalformedStatementError:
            pass
        try:
            assert member_files.read_credentials_untrusted(data, kinds, "cloud.json").kind in kinds
        except MalformedStatementError:
            pass


def test_it_is_read_without_grpc_or_other_packages() -> None:
    code = (
        "import sys, protos.member_files; "
        "print(*sorted({'grpc', 'google', 'nacl', 'cryptography', 'trio'} & {m.split('.')[0] for m in sys.modules}))"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
