"""Invitations and credentials of two members."""

from __future__ import annotations

from dataclasses import replace

from protos import member_files
from protos.member_files import Invitation, MemberCredentials

PERSON = Invitation(
    operator="0b" * 16,
    kind="person",
    name="lena",
    server="cloud.example:8443",
    enrolment="[2001:db8::1]:8444",
    ca="-----BEGIN CERTIFICATE-----\n",
    token=bytes(range(32)),
)


NORTH = replace(PERSON, kind="agent", name="noc-1")


OF_LENA = MemberCredentials("0b" * 16, "person", "lena", "cloud.example:8443", "CA", "CERTIFICATE", "PRIVATE")


OF_NORTH = MemberCredentials(
    "0b" * 16, "agent", "noc-1", "cloud.example:8443", "CA", "CERTIFICATE", "SEALED", "ee" * 32
)


WHOLE = [member_files.encode_invitation(PERSON), *map(member_files.encode_credentials, (OF_LENA, OF_NORTH))]
