"""Callers, by the certificate that TLS verified; first certificates by token, and the next ones.

The database is the only list of members, and a change in it by another process (`ispcloud agents revoke`) is
seen within a second: `PRAGMA data_version` says whether anything changed, and only then is the list read again.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import grpc
import grpc.aio

from control_plane import certificates
from control_plane.certificates import Authority, CertifiedPeer, Issued, Pair
from control_plane.clock import SYSTEM
from control_plane.config import DataDir
from control_plane.errors import (
    AgentTakenError,
    BadCsrError,
    BadTokenError,
    EnrolmentError,
    LocalFailureError,
    MalformedCertificateError,
    MalformedIdentityError,
    NotEnrolledError,
    RevokedError,
    TooManyCertificatesError,
)
from control_plane.members import (
    TOKEN_BYTES,
    IdentityKind,
    MemberIdentity,
    Renew,
    UseToken,
    log_key_of,
    parse_uri_untrusted,
    token_digest,
    token_is_open,
)
from control_plane.refusals import refuse
from control_plane.store import CloudStore, open_reader
from protos.enrolment_pb2 import EnrollReply, EnrollRequest
from protos.enrolment_pb2_grpc import EnrolmentServicer as _EnrolmentServicer
from protos.message_pb2 import Refusal
from trust.checkpoint import VerifierKey

__all__ = ["Auth", "EnrolmentServicer", "IdentityKind", "MemberIdentity", "refusal_of", "server_credentials"]

REREAD_S: Final = 1.0
"""How old the list of members may be: a revocation takes as long to be in force."""

CHECK_S: Final = 3600.0
"""How often a handshake looks at how much of the server certificate's life is left."""

PEERS_MAX: Final = 4096
"""Certificates that are remembered as parsed, so that a call costs a look-up. Chosen arbitrarily."""

_REFUSALS: Final[dict[type[EnrolmentError], Refusal]] = {
    BadTokenError: Refusal.REFUSAL_BAD_TOKEN,
    BadCsrError: Refusal.REFUSAL_BAD_CSR,
    MalformedIdentityError: Refusal.REFUSAL_MALFORMED,
    AgentTakenError: Refusal.REFUSAL_REF_REUSED,
    NotEnrolledError: Refusal.REFUSAL_NOT_ENROLLED,
    RevokedError: Refusal.REFUSAL_REVOKED,
    TooManyCertificatesError: Refusal.REFUSAL_QUOTA,
}


def refusal_of(error: EnrolmentError) -> Refusal:
    """Return the answer to the caller."""
    return _REFUSALS[type(error)]


@dataclass(frozen=True, slots=True)
class _Row:
    name: str
    agent: bytes
    revoked: bool


class Auth:
    """The members in force. One in a process; its methods belong to the event loop's thread."""

    def __init__(
        self,
        store: CloudStore,
        authority: Authority,
        wall_s: Callable[[], float] = SYSTEM.wall_s,
        monotonic: Callable[[], float] = SYSTEM.monotonic_s,
    ) -> None:
        """Open a reader of its own on the store's file.

        Raises:
            LocalFailureError: it cannot be opened.
        """
        self._store = store
        self._authority = authority
        self._wall_s = wall_s
        self._monotonic = monotonic
        self._reader = open_reader(store.path)
        self._version: int | None = None
        self._read_at = float("-inf")
        self._rows: dict[tuple[bytes, IdentityKind, str], _Row] = {}
        self._agents: dict[bytes, tuple[bytes, ...]] = {}
        self._ended: frozenset[str] = frozenset()

    def close(self) -> None:
        """Close its reader."""
        self._reader.close()

    async def identify(self, context: grpc.aio.ServicerContext[Any, Any]) -> MemberIdentity:
        """Return the caller; one that is no member is refused, and this does not return."""
        pem = b"".join(context.auth_context().get("x509_pem_cert", ()))
        try:
            return self.identity_of_untrusted(pem)
        except EnrolmentError as err:
            await refuse(context, refusal_of(err))

    def identity_of_untrusted(self, pem: bytes) -> MemberIdentity:
        """Return the member that has this certificate; TLS has verified its chain and that the peer has its key.

        Raises:
            NotEnrolledError: it names no member, or its date is past: a connection outlives its certificate.
            RevokedError: the member, or this certificate, was revoked.
        """
        try:
            peer = _read_peer_untrusted(pem)
            operator, kind, who = parse_uri_untrusted(peer.uri)
        except MalformedCertificateError as err:
            raise NotEnrolledError(str(err)) from err
        if self._wall_s() > peer.not_after_s:
            raise NotEnrolledError("expected a certificate in date, got one that is past it")
        self._reread()
        row = self._rows.get((operator, kind, who))
        if row is None:
            raise NotEnrolledError("expected a member, got one that is not")
        if row.revoked or peer.serial in self._ended:
            raise RevokedError("expected a member in force, got one that was revoked")
        return MemberIdentity(operator, kind, row.name, row.agent, peer.serial)

    def revoked(self, identity: MemberIdentity) -> bool:
        """Return whether a caller that `identify` let in is no member any more: its streams should end."""
        self._reread()
        row = self._rows.get((identity.operator, identity.kind, identity.who))
        return row is None or row.revoked or identity.serial in self._ended

    def agents_of(self, operator: bytes) -> tuple[bytes, ...]:
        """Return the ids of an operator's agents that are in force, in order."""
        self._reread()
        return self._agents.get(operator, ())

    def log_key(self, identity: MemberIdentity) -> VerifierKey | None:
        """Return the key of an agent's log, out of the enrolment statement that came with its token; None: no agent."""
        return log_key_of(self._reader, identity)

    async def enroll_untrusted(self, token: bytes, csr: bytes, statement: bytes) -> tuple[bytes, bytes]:
        """Return a first certificate and its issuer's, DER; the token is used then.

        Args:
            token: as it was given out.
            csr: PKCS #10, DER.
            statement: of an agent, its enrolment statement in its envelope; else empty.

        Raises:
            BadTokenError: unknown, used, out of date.
            BadCsrError: no request for a P-256 key.
            MalformedIdentityError: the statement is missing or not signed by its keys.
            AgentTakenError: another agent has its id or name. After these three the token can be used again.
            LocalFailureError: the database cannot be written.
        """
        now_s = int(self._wall_s())
        digest = token_digest(token)
        # A look before the writer is asked: strangers reach this, and a wrong token should cost nothing
        if len(token) != TOKEN_BYTES or not token_is_open(self._reader, digest, now_s):
            raise BadTokenError("expected a token that was given out, is not used and is in date, got another")
        issued = await self._store.run(UseToken(digest, statement, self._issue(csr, now_s), now_s))
        self._read_at = float("-inf")  # it will connect at once
        return issued.der, self._authority.der

    async def renew(self, identity: MemberIdentity, csr: bytes) -> tuple[bytes, bytes]:
        """Return the next certificate of a member, and its issuer's, DER. The one before stays good to its end.

        Raises:
            BadCsrError: no request for a P-256 key.
            NotEnrolledError: not a member.
            RevokedError: it was revoked meanwhile.
            TooManyCertificatesError: it has renewed again and again.
            LocalFailureError: the database cannot be written.
        """
        now_s = int(self._wall_s())
        issued = await self._store.run(Renew(identity, self._issue(csr, now_s), now_s))
        return issued.der, self._authority.der

    def _issue(self, csr: bytes, now_s: int) -> Callable[[str], Issued]:
        return lambda uri: self._authority.issue_client_untrusted(csr, uri, now_s)

    def _reread(self) -> None:
        now = self._monotonic()
        if now - self._read_at < REREAD_S:
            return
        # Before the rows: what is committed between the two is read again next time
        version: int = self._reader.execute("PRAGMA data_version").fetchone()[0]
        self._read_at = now
        if version == self._version:
            return
        rows: dict[tuple[bytes, IdentityKind, str], _Row] = {}
        agents: dict[bytes, list[bytes]] = {}
        for row in self._reader.execute("SELECT operator, kind, name, agent, revoked_s FROM member ORDER BY agent"):
            operator, kind, agent = bytes(row["operator"]), IdentityKind(row["kind"]), bytes(row["agent"] or b"")
            rows[operator, kind, agent.hex() or row["name"]] = _Row(row["name"], agent, row["revoked_s"] is not None)
            if agent and row["revoked_s"] is None:
                agents.setdefault(operator, []).append(agent)
        ended = self._reader.execute("SELECT serial FROM certificate WHERE revoked_s IS NOT NULL")
        self._ended = frozenset(row["serial"] for row in ended)
        self._rows = rows
        self._agents = {operator: tuple(ids) for operator, ids in agents.items()}
        self._version = version


@functools.lru_cache(PEERS_MAX)
def _read_peer_untrusted(pem: bytes) -> CertifiedPeer:
    return certificates.read_peer_untrusted(pem)


class EnrolmentServicer(_EnrolmentServicer):
    """The service that strangers reach: a token for a certificate."""

    def __init__(self, auth: Auth) -> None:
        self._auth = auth

    async def Enroll(  # noqa: N802 # the name is that of the proto
        self, request: EnrollRequest, context: grpc.aio.ServicerContext[EnrollRequest, EnrollReply]
    ) -> EnrollReply:
        try:
            certificate, issuer = await self._auth.enroll_untrusted(request.token, request.csr, request.identity)
        except EnrolmentError as err:
            await refuse(context, refusal_of(err))
        except LocalFailureError:
            await refuse(context, Refusal.REFUSAL_INTERNAL)
        return EnrollReply(certificate=certificate, issuer=issuer)


def server_credentials(
    data: DataDir, *, clients: bool, wall_s: Callable[[], float] = SYSTEM.wall_s
) -> grpc.ServerCredentials:
    """Return TLS for a port; the server's certificate is made anew when it is due, while the server runs.

    Args:
        data: the data directory.
        clients: whether a client must have a certificate of ours (all ports but enrolment's).
        wall_s: the clock.

    Raises:
        ServerConfigError: the server's certificate file holds something else.
        LocalFailureError: it cannot be written.
    """
    lock = threading.Lock()
    checked_at = wall_s()
    current = data.server_pair(int(checked_at))

    def configuration(pair: Pair) -> grpc.ServerCertificateConfiguration:
        roots = data.authority.pem if clients else None
        return grpc.ssl_server_certificate_configuration([(pair.key, pair.certificate)], roots)

    def fetch() -> grpc.ServerCertificateConfiguration | None:
        """Asked at every handshake, on threads of gRPC's; None: as before."""
        nonlocal checked_at, current
        with lock:
            if abs(wall_s() - checked_at) < CHECK_S:
                return None
            checked_at = wall_s()
            pair = data.server_pair(int(checked_at))
            changed, current = pair != current, pair
        return configuration(pair) if changed else None

    return grpc.dynamic_ssl_server_credentials(configuration(current), fetch, clients)  # type: ignore[arg-type] # None is documented: unchanged
