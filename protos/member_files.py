"""The files that give a member its place at a control plane. Standard library only, and no gRPC.

* An invitation, `ispagents-invitation-v0`: written by `ispcloud`, read once by the agent or the desk that it is for.
* Credentials, the `cloud.json` that an enrolment leaves: `ispagents-cloud-v0` of an agent (its private key is sealed
  under the store key), `ispcloud-desk-v0` of a person or a service (the key is in clear, the file has mode 0600).

Both are JSON and strict: an unknown field, or one twice, refuses the file. Certificates are not parsed here.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Final

from trust.strict_json import Reader, read_object_untrusted

FILE_BYTES: Final = 65_536
"""An invitation, or credentials: a few PEM blocks. Chosen arbitrarily."""

AGENTS: Final = frozenset({"agent"})
AT_DESKS: Final = frozenset({"person", "service"})
"""The kinds of members that work from a desk."""

_INVITATION: Final = "ispagents-invitation-v0"
_OF_AGENT: Final = "ispagents-cloud-v0"
_OF_DESK: Final = "ispcloud-desk-v0"
_PEM_BYTES: Final = 16_384
_ADDRESS: Final = re.compile(r"(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\]):([1-9][0-9]{0,4})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Invitation:
    """Where a control plane is, which authority to trust there, and a one-time token.

    `operator` is 16 bytes, hex; `server` and `enrolment` are `host:port`; `ca` is PEM; `token` has 32 bytes.
    """

    operator: str
    kind: str
    name: str
    server: str
    enrolment: str
    ca: str
    token: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class MemberCredentials:
    """A member's certificate and key. `ca` and `certificate` (with its issuer) are PEM.

    `key` is the private key: PEM, or sealed by an agent's vault, base64. `enrolment` is 32 random bytes, hex, new
    with each enrolment of an agent; desks have none.
    """

    operator: str
    kind: str
    name: str
    server: str
    ca: str
    certificate: str
    key: str = field(repr=False)
    enrolment: str = ""


def encode_invitation(invitation: Invitation) -> bytes:
    """Return the file's bytes; it holds a secret."""
    return _file(
        {
            "format": _INVITATION,
            "operator": invitation.operator,
            "kind": invitation.kind,
            "name": invitation.name,
            "server": invitation.server,
            "enrolment": invitation.enrolment,
            "ca": invitation.ca,
            "token": invitation.token.hex(),
        }
    )


def read_invitation_untrusted(data: bytes, kinds: frozenset[str]) -> Invitation:
    """Return the invitation that a file holds.

    Args:
        data: the file's bytes.
        kinds: of its owners: `AGENTS` or `AT_DESKS`.

    Raises:
        MalformedStatementError: not an invitation, or one for another kind of member.
    """
    r = _open_untrusted(data, _INVITATION, "invitation")
    invitation = Invitation(
        operator=r.hex("operator", 16),
        kind=_kind(r, kinds),
        name=r.handle("name"),
        server=_address(r, "server"),
        enrolment=_address(r, "enrolment"),
        ca=r.text("ca", _PEM_BYTES),
        token=bytes.fromhex(r.hex("token", 32)),
    )
    r.done()
    return invitation


def encode_credentials(credentials: MemberCredentials) -> bytes:
    """Return the file's bytes; those of a desk hold a secret."""
    mine = {"sealed_key": credentials.key, "enrolment": credentials.enrolment}
    theirs = {"key": credentials.key, "kind": credentials.kind}
    of_agent = credentials.kind in AGENTS
    return _file(
        {
            "format": _OF_AGENT if of_agent else _OF_DESK,
            "operator": credentials.operator,
            "name": credentials.name,
            "server": credentials.server,
            "ca": credentials.ca,
            "certificate": credentials.certificate,
            **(mine if of_agent else theirs),
        }
    )


def read_credentials_untrusted(data: bytes, kinds: frozenset[str], what: str) -> MemberCredentials:
    """Return the credentials that a file holds.

    Args:
        data: the file's bytes.
        kinds: of their owners: `AGENTS` or `AT_DESKS`.
        what: the name of the file, for messages.

    Raises:
        MalformedStatementError: not such a file, or one of another kind of member.
    """
    of_agent = kinds == AGENTS
    r = _open_untrusted(data, _OF_AGENT if of_agent else _OF_DESK, what)
    credentials = MemberCredentials(
        operator=r.hex("operator", 16),
        kind="agent" if of_agent else _kind(r, kinds),
        name=r.handle("name"),
        server=_address(r, "server"),
        ca=r.text("ca", _PEM_BYTES),
        certificate=r.text("certificate", _PEM_BYTES),
        key=r.text("sealed_key" if of_agent else "key", _PEM_BYTES),
        enrolment=r.hex("enrolment", 32) if of_agent else "",
    )
    r.done()
    return credentials


def _open_untrusted(data: bytes, form: str, what: str) -> Reader:
    r = read_object_untrusted(data, FILE_BYTES, what)
    if r.text("format") != form:
        raise r.error("format", f"should be {form}")
    return r


def _kind(r: Reader, kinds: frozenset[str]) -> str:
    kind = r.text("kind")
    if kind not in kinds:
        raise r.error("kind", f"should be {' or '.join(sorted(kinds))}: the file is for another kind of member")
    return kind


def _address(r: Reader, name: str) -> str:
    value = r.text(name, 300)
    found = _ADDRESS.fullmatch(value)
    if found is None or int(found[1]) > 65_535:
        raise r.error(name, "should be host:port")
    return value


def _file(document: dict[str, str]) -> bytes:
    return json.dumps(document, indent=1).encode() + b"\n"
