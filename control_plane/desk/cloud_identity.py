"""The identity of a desk towards the control plane: an invitation, then a TLS key and a short certificate of its own.

This identity opens the connection and nothing else: agents count only statements that people sign with their own keys.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from control_plane.desk import files
from control_plane.desk.errors import UnexpectedAnswerError
from protos import member_files
from protos.member_files import Invitation, MemberCredentials
from trust.errors import MalformedStatementError


def load(path: Path) -> MemberCredentials:
    """Return the credentials of this desk.

    Raises:
        InputError: the file cannot be read.
        MalformedStatementError: it holds no credentials of a desk.
    """
    data = files.read(path, member_files.FILE_BYTES, "a desk's cloud identity")
    return member_files.read_credentials_untrusted(data, member_files.AT_DESKS, "cloud identity")


@dataclass(frozen=True, slots=True)
class CertificateRequest:
    """A new TLS key (PEM, and its public half) and the request for its certificate (PKCS #10, DER)."""

    csr: bytes
    public: bytes
    key: str = field(repr=False)


def new_request(name: str) -> CertificateRequest:
    """Return a new key and its request for a certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    csr = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return CertificateRequest(csr.public_bytes(serialization.Encoding.DER), _public(key.public_key()), pem.decode())


def _public(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def chain_untrusted(request: CertificateRequest, certificate: bytes, issuer: bytes) -> str:
    """Return the PEM chain that the control plane answered, once the certificate is for the key that asked.

    Args:
        request: as it was sent.
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


def enrolled(invitation: Invitation, request: CertificateRequest, chain: str) -> MemberCredentials:
    """Return the credentials that an invitation became."""
    return MemberCredentials(
        operator=invitation.operator,
        kind=invitation.kind,
        name=invitation.name,
        server=invitation.server,
        ca=invitation.ca,
        certificate=chain,
        key=request.key,
    )


def renewed(identity: MemberCredentials, request: CertificateRequest, chain: str) -> MemberCredentials:
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


def life(identity: MemberCredentials) -> Life:
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
