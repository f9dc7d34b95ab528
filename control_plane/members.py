"""Operators and their members (agents, people, services): names, invitations, certificates, revocation.

Commands run in the store's one writer (`store.CloudStore.run`), or in a transaction of the administrator's command in
another process. Reads take any connection. A token is kept as its SHA-256 only.
"""

from __future__ import annotations

import enum
import hashlib
import re
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from control_plane import queues
from control_plane.certificates import Issued
from control_plane.errors import (
    AgentTakenError,
    BadTokenError,
    InputError,
    MalformedCertificateError,
    MalformedIdentityError,
    NotEnrolledError,
    RevokedError,
    TooManyCertificatesError,
)
from control_plane.limits import CERTIFICATES_PER_MEMBER
from control_plane.store import CloudTx
from trust import envelope as envelopes
from trust import limits, verify
from trust.checkpoint import VerifierKey, parse_vkey_untrusted
from trust.errors import MalformedError, RefusedError
from trust.statements import Enroll

TOKEN_BYTES: Final = 32
TOKEN_LIFE_S: Final = 86_400
"""A day: an invitation travels by hand; one that is found later is of no use."""

OPERATOR_BYTES: Final = 16

_HANDLE: Final = re.compile(rf"[a-z0-9-]{{1,{limits.HANDLE_CHARS}}}", re.ASCII)
_URI: Final = re.compile(r"ispagents://(?P<operator>[0-9a-f]{32})/(?P<kind>agent|person|service)/(?P<who>[0-9a-z-]+)")


class IdentityKind(enum.Enum):
    """The kind of a member."""

    AGENT = "agent"
    PERSON = "person"
    SERVICE = "service"


@dataclass(frozen=True, slots=True)
class MemberIdentity:
    """A caller: proven by a certificate of ours.

    `operator`: 16 bytes. `name`: the handle. `agent`: 16 bytes of an agent, else empty. `serial`: of the certificate
    by which it came, hex; two calls by one member are the same identity, whichever certificate they came with.
    """

    operator: bytes
    kind: IdentityKind
    name: str
    agent: bytes = b""
    serial: str = field(default="", compare=False)

    @property
    def who(self) -> str:
        """The last part of its URI: the agent's id in hex, or the handle."""
        return self.agent.hex() or self.name

    @property
    def uri(self) -> str:
        """The fields of its certificates."""
        return f"ispagents://{self.operator.hex()}/{self.kind.value}/{self.who}"


def parse_uri_untrusted(uri: str) -> tuple[bytes, IdentityKind, str]:
    """Return operator, kind and the agent's id in hex or the handle.

    Raises:
        MalformedCertificateError: not such a URI.
    """
    found = _URI.fullmatch(uri)
    if found is None or len(found["who"]) > limits.HANDLE_CHARS:
        raise MalformedCertificateError("expected a certificate that names an identity of ours, got another URI")
    return bytes.fromhex(found["operator"]), IdentityKind(found["kind"]), found["who"]


def check_handle(name: str, what: str) -> None:
    """Refuse a text that is no handle.

    Raises:
        InputError: it is none.
    """
    if _HANDLE.fullmatch(name) is None:
        raise InputError(f"{what}: expected 1 to {limits.HANDLE_CHARS} of a-z, 0-9 and -, got {name!r}")


def token_digest(token: bytes) -> bytes:
    """Return the digest under which a token is kept: SHA-256, 32 bytes."""
    return hashlib.sha256(token).digest()


# --- commands -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AddOperator:
    """A new operator; `operator`: 16 random bytes."""

    operator: bytes
    handle: str

    def run(self, tx: CloudTx) -> None:
        if tx.one("SELECT 1 FROM operator WHERE handle = ?", (self.handle,)):
            raise InputError(f"operator {self.handle!r} is there already")
        tx.run("INSERT INTO operator (id, handle) VALUES (?, ?)", (self.operator, self.handle))


@dataclass(frozen=True, slots=True)
class Invite:
    """A token for a member, in the place of any that it has not used."""

    operator: bytes
    kind: IdentityKind
    name: str
    token_sha256: bytes
    now_s: int

    def run(self, tx: CloudTx) -> None:
        tx.run("DELETE FROM token WHERE expires_s <= ?", (self.now_s,))
        tx.run(
            "DELETE FROM token WHERE operator = ? AND kind = ? AND name = ? AND used_s IS NULL",
            (self.operator, self.kind.value, self.name),
        )
        tx.run(
            "INSERT INTO token (sha256, operator, kind, name, expires_s, used_s) VALUES (?, ?, ?, ?, ?, NULL)",
            (self.token_sha256, self.operator, self.kind.value, self.name, self.now_s + TOKEN_LIFE_S),
        )


@dataclass(frozen=True, slots=True)
class UseToken:
    """The first certificate: the token is used, the member is there, the certificate is known; all of it or nothing.

    A member that was invited again (its key is lost, its certificate ran out, it was revoked) comes back, and its
    former certificates end. An agent comes back with the plan key that it had; its log key may be a new one (`ispagent
    init --new-log-key`), which the old plan key has signed. `envelope`: an agent's enrolment statement as it came, else
    empty. `issue`: URI to certificate.
    """

    token_sha256: bytes
    envelope: bytes
    issue: Callable[[str], Issued]
    now_s: int

    def run(self, tx: CloudTx) -> Issued:
        row = tx.one(
            "SELECT operator, kind, name FROM token WHERE sha256 = ? AND used_s IS NULL AND expires_s > ?",
            (self.token_sha256, self.now_s),
        )
        if row is None:
            raise BadTokenError("expected a token that was given out, is not used and is in date, got another")
        operator, kind, name = bytes(row[0]), IdentityKind(row[1]), str(row[2])
        enroll = _read_enroll(kind, self.envelope)
        agent = bytes.fromhex(enroll.agent) if enroll else b""
        if enroll:
            _check_same_agent(tx, operator, name, enroll)
        tx.run("UPDATE token SET used_s = ? WHERE sha256 = ?", (self.now_s, self.token_sha256))
        _end_certificates(tx, operator, kind, name, self.now_s)
        tx.run("DELETE FROM member WHERE operator = ? AND kind = ? AND name = ?", (operator, kind.value, name))
        tx.run(
            "INSERT INTO member (operator, kind, name, agent, identity, revoked_s) VALUES (?, ?, ?, ?, ?, NULL)",
            (operator, kind.value, name, agent, self.envelope),
        )
        if agent:
            queues.catch_up(tx, operator, agent)
        return _issue(tx, MemberIdentity(operator, kind, name, agent), self.issue)


@dataclass(frozen=True, slots=True)
class Renew:
    """The next certificate of a member that is in force."""

    identity: MemberIdentity
    issue: Callable[[str], Issued]
    now_s: int

    def run(self, tx: CloudTx) -> Issued:
        who = (self.identity.operator, self.identity.kind.value, self.identity.name)
        row = tx.one("SELECT revoked_s, agent FROM member WHERE operator = ? AND kind = ? AND name = ?", who)
        if row is None or bytes(row[1]) != self.identity.agent:
            raise NotEnrolledError("expected a member, got one that is not")
        ended = tx.one("SELECT 1 FROM certificate WHERE serial = ? AND revoked_s IS NOT NULL", (self.identity.serial,))
        if row[0] is not None or ended:
            raise RevokedError("expected a member in force, got one that was revoked")
        tx.run(
            "DELETE FROM certificate WHERE operator = ? AND kind = ? AND name = ? AND not_after_s < ?",
            (*who, self.now_s),
        )
        counted = "SELECT count(*) FROM certificate WHERE operator = ? AND kind = ? AND name = ? AND revoked_s IS NULL"
        in_date = tx.one(counted, who)
        if in_date is not None and in_date[0] >= CERTIFICATES_PER_MEMBER:
            raise TooManyCertificatesError(f"expected fewer than {CERTIFICATES_PER_MEMBER} certificates in date")
        return _issue(tx, self.identity, self.issue)


@dataclass(frozen=True, slots=True)
class Revoke:
    """Take a member out: its certificates end, its open invitation too. Returns whether there was anything."""

    operator: bytes
    kind: IdentityKind
    name: str
    now_s: int

    def run(self, tx: CloudTx) -> bool:
        who = (self.operator, self.kind.value, self.name)
        members = tx.run(
            "UPDATE member SET revoked_s = ? WHERE operator = ? AND kind = ? AND name = ? AND revoked_s IS NULL",
            (self.now_s, *who),
        )
        _end_certificates(tx, self.operator, self.kind, self.name, self.now_s)
        tokens = tx.run("DELETE FROM token WHERE operator = ? AND kind = ? AND name = ? AND used_s IS NULL", who)
        return members + tokens > 0


def _read_enroll(kind: IdentityKind, envelope: bytes) -> Enroll | None:
    if kind is not IdentityKind.AGENT:
        if envelope:
            raise MalformedIdentityError(f"expected no enrolment statement of a {kind.value}, got one")
        return None
    try:
        return verify.verify_enroll(envelopes.decode_untrusted(envelope))
    except (MalformedError, RefusedError) as err:
        raise MalformedIdentityError(f"expected an agent's enrolment statement: {err}") from err


def _check_same_agent(tx: CloudTx, operator: bytes, name: str, enroll: Enroll) -> None:
    """Refuse a second agent: another one under this id, or under the name of one that is in force."""
    rows = tx.all(
        "SELECT name, agent, identity, revoked_s FROM member "
        "WHERE operator = ? AND kind = 'agent' AND (name = ? OR agent = ?)",
        (operator, name, bytes.fromhex(enroll.agent)),
    )
    for other, agent, identity, revoked_s in rows:
        same_id = bytes(agent).hex() == enroll.agent
        if not same_id and revoked_s is not None:
            continue
        before = _read_enroll(IdentityKind.AGENT, bytes(identity))
        if not same_id or other != name or before is None or before.plan_key != enroll.plan_key:
            raise AgentTakenError("expected an agent that is not there yet, got the id or the name of another")


def _end_certificates(tx: CloudTx, operator: bytes, kind: IdentityKind, name: str, now_s: int) -> None:
    tx.run(
        "UPDATE certificate SET revoked_s = ? WHERE operator = ? AND kind = ? AND name = ? AND revoked_s IS NULL",
        (now_s, operator, kind.value, name),
    )


def _issue(tx: CloudTx, identity: MemberIdentity, issue: Callable[[str], Issued]) -> Issued:
    issued = issue(identity.uri)
    tx.run(
        "INSERT INTO certificate (serial, operator, kind, name, not_after_s, revoked_s) VALUES (?, ?, ?, ?, ?, NULL)",
        (issued.serial, identity.operator, identity.kind.value, identity.name, issued.not_after_s),
    )
    return issued


# --- reads ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RegisteredOperator:
    """One operator, as administrators see it."""

    operator: bytes
    handle: str


class MemberStanding(enum.Enum):
    """How a member stands."""

    INVITED = "invited"
    ENROLLED = "enrolled"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class Member:
    """One member, as administrators see it. `until_s`: its newest certificate's end, or its invitation's; 0: none."""

    operator: str
    kind: IdentityKind
    name: str
    agent: bytes
    standing: MemberStanding
    until_s: int


def token_is_open(con: sqlite3.Connection, token_sha256: bytes, now_s: int) -> bool:
    """Return whether an invitation's token is neither used nor expired. `token_sha256`: 32 bytes."""
    sql = "SELECT 1 FROM token WHERE sha256 = ? AND used_s IS NULL AND expires_s > ?"
    return con.execute(sql, (token_sha256, now_s)).fetchone() is not None


def log_key_of(con: sqlite3.Connection, identity: MemberIdentity) -> VerifierKey | None:
    """Return the key of an agent's log as its enrolment statement says; None: no agent of ours."""
    sql = "SELECT identity FROM member WHERE operator = ? AND kind = 'agent' AND agent = ?"
    row = con.execute(sql, (identity.operator, identity.agent)).fetchone() if identity.agent else None
    enroll = _read_enroll(IdentityKind.AGENT, bytes(row[0])) if row else None
    return parse_vkey_untrusted(enroll.log_key) if enroll else None


def operators(con: sqlite3.Connection) -> list[RegisteredOperator]:
    """Return all operators."""
    return [
        RegisteredOperator(bytes(i), str(h)) for i, h in con.execute("SELECT id, handle FROM operator ORDER BY handle")
    ]


def find_operator(con: sqlite3.Connection, handle: str) -> RegisteredOperator:
    """Return an operator.

    Raises:
        InputError: there is none of this handle.
    """
    for operator in operators(con):
        if operator.handle == handle:
            return operator
    raise InputError(f"expected an operator of this control plane, got {handle!r}: ispcloud operators list")


def members(con: sqlite3.Connection, kind: IdentityKind, now_s: int, operator: bytes | None = None) -> list[Member]:
    """Return the members of a kind, those with an open invitation included, of one operator or of all."""
    found: list[Member] = []
    for one in operators(con):
        if operator in (None, one.operator):
            rows = con.execute(_MEMBERS, {"operator": one.operator, "kind": kind.value, "now": now_s})
            for name, agent, standing, until_s in rows:
                found.append(Member(one.handle, kind, name, bytes(agent), MemberStanding(standing), until_s))
    return found


_MEMBERS: Final = """
SELECT m.name, m.agent, CASE WHEN m.revoked_s IS NULL THEN 'enrolled' ELSE 'revoked' END,
       coalesce((SELECT max(c.not_after_s) FROM certificate c WHERE c.operator = m.operator AND c.kind = m.kind
                 AND c.name = m.name AND c.revoked_s IS NULL), 0)
  FROM member m WHERE m.operator = :operator AND m.kind = :kind
UNION ALL
SELECT t.name, x'', 'invited', t.expires_s
  FROM token t WHERE t.operator = :operator AND t.kind = :kind AND t.used_s IS NULL AND t.expires_s > :now
ORDER BY 1, 3
"""
