"""Who a desk is towards the control plane: an invitation, then a TLS key and a short certificate of its own.

This identity opens the connection and nothing else: what counts with agents is what people sign with their own keys.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from control_plane.desk.errors import UnexpectedAnswerError
from control_plane.errors import InputError
from trust.errors import MalformedStatementError
from trust.strict_json import Reader, read_object_untrusted

FILE_BYTES: Final = 65_536
"""An invitation or an identity: a few PEM blocks. Chosen arbitrarily."""

INVITATION_FORMAT: Final = "ispagents-invitation-v0"
IDENTITY_FORMAT: Final = "ispcloud-desk-v0"
_PEM_BYTES: Final = 16_384
_ADDRESS: Final = re.compile(r"(?:[A-Za-z0-9.-]{1,253}|\[[0-9a-fA-F:.]{2,45}\]):[0-9]{1,5}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Invitation:
    """What an operator's cloud admin hands to a person or a service: where, under which CA, and a one-time token."""

    operator: str
    kind: str
    name: str
    server: str
    enrolment: str
    ca: str
    token: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class CloudIdentity:
    """An enrolled desk. `ca` and `certificate` (with its issuer) are PEM, `key` the TLS key's PEM."""

    operator: str
    kind: str
    name: str
    server: str
    ca: str
    certificate: str
    key: str = field(repr=False)


def _address(r: Reader, name: str) -> str:
    value = r.text(name, 300)
    if not _ADDRESS.fullmatch(value):
        raise r.error(name, "should be HOST:PORT")
    return value


def parse_invitation_untrusted(data: bytes) -> Invitation:
    """Return what an invitation file says.

    Raises:
        MalformedStatementError: not such a file.
        InputError: it invites an agent, which enrols by itself.
    """
    r = read_object_untrusted(data, FILE_BYTES, "invitation")
    if r.text("format") != INVITATION_FORMAT:
        raise r.error("format", f"should be {INVITATION_FORMAT}")
    invitation = Invitation(
        operator=r.hex("operator", 16),
        kind=r.text("kind"),
        name=r.handle("name"),
        server=_address(r, "server"),
        enrolment=_address(r, "enrolment"),
        ca=r.text("ca", _PEM_BYTES),
        token=bytes.fromhex(r.hex("token", 32)),
    )
    r.done()
    if invitation.kind not in ("person", "service"):
        raise InputError(f"expected the invitation of a person or a service, got one of kind {invitation.kind[:20]!r}")
    return invitation


def encode(identity: CloudIdentity) -> bytes:
    """Return the file of an identity; it holds a secret."""
    names = ("operator", "kind", "name", "server", "ca", "certificate", "key")
    document = {"format": IDENTITY_FORMAT, **{name: getattr(identity, name) for name in names}}
    return json.dumps(document, indent=1).encode() + b"\n"


def decode_untrusted(data: bytes) -> CloudIdentity:
    """Read what `encode` wrote.

    Raises:
        MalformedStatementError: not such a file.
    """
    r = read_object_untrusted(data, FILE_BYTES, "cloud identity")
    if r.text("format") != IDENTITY_FORMAT:
        raise r.error("format", f"should be {IDENTITY_FORMAT}")
    identity = CloudIdentity(
        operator=r.hex("operator", 16),
        kind=r.text("kind"),
        name=r.handle("name"),
        server=_address(r, "server"),
        ca=r.text("ca", _PEM_BYTES),
        certificate=r.text("certificate", _PEM_BYTES),
        key=r.text("key", _PEM_BYTES),
    )
    r.done()
    return identity


# --- keys and certificates ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Request:
    """A new TLS key (PEM, and its public half) and the request for its certificate (PKCS #10, DER)."""

    csr: bytes
    public: bytes
    key: str = field(repr=False)


def new_request(name: str) -> Request:
    """Return a new key and its request for a certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    csr = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return Request(csr.public_bytes(serialization.Encoding.DER), _public(key.public_key()), pem.decode())


def _public(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def chain_untrusted(request: Request, certificate: bytes, issuer: bytes) -> str:
    """Return the PEM chain that the control plane answered, once the certificate is for the key that asked.

    Args:
        request: what was asked.
        certificate: X.509, DER.
        issuer: X.509, DER.

    Raises:
        UnexpectedAnswerError: not certificates, or for another key.
    """
    try:
        parsed = [x509.load_der_x509_certificate(der) for der in (certificate, issuer)]
        key = parsed[0].public_key()
    except (ValueError, UnsupportedAlgorithm) as err:
        raise UnexpectedAnswerError("expected two X.509 certificates from the control plane, got others") from err
    if not isinstance(key, ec.EllipticCurvePublicKey) or _public(key) != request.public:
        raise UnexpectedAnswerError("expected a certificate of this desk's new key, got one of another")
    return "".join(c.public_bytes(serialization.Encoding.PEM).decode() for c in parsed)


def enrolled(invitation: Invitation, request: Request, chain: str) -> CloudIdentity:
    """Return the identity that an invitation became."""
    return CloudIdentity(
        operator=invitation.operator,
        kind=invitation.kind,
        name=invitation.name,
        server=invitation.server,
        ca=invitation.ca,
        certificate=chain,
        key=request.key,
    )


def renewed(identity: CloudIdentity, request: Request, chain: str) -> CloudIdentity:
    """Return the identity with its next key and certificate."""
    return replace(identity, certificate=chain, key=request.key)


@dataclass(frozen=True, slots=True)
class Life:
    """From when until when a certificate holds, unix seconds."""

    begins_s: int
    ends_s: int

    def renewal_due(self, now_s: int) -> bool:
        """Return whether two thirds of the life are over."""
        return 3 * (now_s - self.begins_s) >= 2 * (self.ends_s - self.begins_s)


def life(identity: CloudIdentity) -> Life:
    """Return from when until when the identity's certificate holds.

    Raises:
        MalformedStatementError: it holds no certificate.
    """
    try:
        certificate = x509.load_pem_x509_certificate(identity.certificate.encode())
    except ValueError as err:
        raise MalformedStatementError("cloud identity: its certificate is none") from err
    return Life(
        int(certificate.not_valid_before_utc.timestamp()),
        int(certificate.not_valid_after_utc.timestamp()),
    )


def until(at_s: int) -> str:
    """Return a time as people read it."""
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%d %H:%M UTC")
