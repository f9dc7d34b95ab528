"""The file that a new agent, person or service is given: where the control plane is, whom to trust there, a token."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final

from control_plane.config import Address
from control_plane.members import IdentityKind

FORMAT: Final = "ispagents-invitation-v0"


@dataclass(frozen=True, slots=True)
class Invitation:
    """What an invitation says. `authority`: the certificate to trust, PEM."""

    operator: bytes
    kind: IdentityKind
    name: str
    server: Address
    enrolment: Address
    authority: bytes
    token: bytes


def encode(invitation: Invitation) -> bytes:
    """Return the file's bytes, JSON."""
    document = {
        "format": FORMAT,
        "operator": invitation.operator.hex(),
        "kind": invitation.kind.value,
        "name": invitation.name,
        "server": str(invitation.server),
        "enrolment": str(invitation.enrolment),
        "ca": invitation.authority.decode("ascii"),
        "token": invitation.token.hex(),
    }
    return json.dumps(document, indent=1).encode() + b"\n"
