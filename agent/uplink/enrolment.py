"""How an agent gets its certificate: the first with an invitation, the next ones by the one it has.

The invitation came by a way that the operator trusts, and brings the authority that the server must show. The answer is
checked as any other bytes: it must be ours (our key, our name) and of that authority.
"""

from __future__ import annotations

from dataclasses import replace

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from agent.uplink import client, limits
from agent.uplink.client import CloudClient
from agent.uplink.errors import CredentialsError, MalformedInvitationError, RemoteMisbehavedError
from agent.uplink.identity import CloudIdentity
from protos import member_files
from protos.member_files import Invitation
from trust import chance
from trust.errors import MalformedStatementError


def read_invitation_untrusted(data: bytes) -> Invitation:
    """Return the invitation that a file holds, once its authority is a certificate.

    Raises:
        MalformedInvitationError: not an invitation, or one for a person or a service.
    """
    try:
        invitation = member_files.read_invitation_untrusted(data, member_files.AGENTS)
        x509.load_pem_x509_certificate(invitation.ca.encode())
    except (MalformedStatementError, ValueError, UnsupportedAlgorithm) as err:
        detail = str(err) if isinstance(err, MalformedStatementError) else "expected a certificate (PEM) as its ca"
        raise MalformedInvitationError(detail) from err
    return invitation


def new_key() -> tuple[bytes, bytes]:
    """Return a new private key (P-256: gRPC's TLS takes no Ed25519), PEM, and a request for its certificate, DER."""
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    # The subject is empty: who it is for, the token or the present certificate says.
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    return pem, request.public_bytes(serialization.Encoding.DER)


def certificate_untrusted(der: bytes, identity: CloudIdentity, agent: str, now_s: float) -> bytes:
    """Return a certificate that came, PEM, when it is one for us.

    Args:
        der: as it came.
        identity: with the key, operator and authority that it must fit; its own certificate does not matter.
        agent: this agent's id, hex.
        now_s: unix seconds.

    Raises:
        RemoteMisbehavedError: it is not: another key or name, another authority, out of date, or no certificate.
    """
    if len(der) > limits.CERTIFICATE_BYTES:
        raise _wrong(f"at most {limits.CERTIFICATE_BYTES} bytes", str(len(der)))
    try:
        found = x509.load_der_x509_certificate(der)
        found.verify_directly_issued_by(x509.load_pem_x509_certificate(identity.ca))
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
        public = found.public_key()
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm, x509.ExtensionNotFound) as err:
        raise _wrong("one of the invitation's authority with the agent's name", type(err).__name__) from err
    if uris != [f"ispagents://{identity.operator}/agent/{agent}"]:
        raise _wrong("this agent's name", "another")
    if public != serialization.load_pem_private_key(identity.key, None).public_key():
        raise _wrong("this agent's key", "another")
    if not found.not_valid_before_utc.timestamp() <= now_s < found.not_valid_after_utc.timestamp():
        raise _wrong("one that is valid now", "another: compare the clocks")
    return found.public_bytes(serialization.Encoding.PEM)


def _wrong(expected: str, got: str) -> RemoteMisbehavedError:
    return RemoteMisbehavedError("certificate", f"certificate: expected {expected}, got {got}")


def lifetime(identity: CloudIdentity) -> tuple[float, float]:
    """Return from when to when the certificate is valid, unix seconds.

    Raises:
        CredentialsError: it is no certificate.
    """
    try:
        found = x509.load_pem_x509_certificate(identity.certificate)
    except ValueError as err:
        raise CredentialsError("cloud.json: expected a certificate (PEM), got another text") from err
    return found.not_valid_before_utc.timestamp(), found.not_valid_after_utc.timestamp()


async def enroll(invitation: Invitation, agent: str, statement: bytes, now_s: float) -> CloudIdentity:
    """Use an invitation: return the identity to save.

    Args:
        invitation: it is used up by this.
        agent: this agent's id, hex.
        statement: its enrolment statement, a DSSE envelope.
        now_s: unix seconds.

    Raises:
        RemoteUplinkError: refused, out of reach, or what came is not a certificate for us.
    """
    key, csr = new_key()
    der = await client.enroll(invitation.enrolment, invitation.ca.encode(), invitation.token, csr, statement)
    identity = CloudIdentity(
        operator=invitation.operator,
        name=invitation.name,
        server=invitation.server,
        enrolment=chance.token_hex(32),
        ca=invitation.ca.encode(),
        certificate=b"",
        key=key,
    )
    return replace(identity, certificate=certificate_untrusted(der, identity, agent, now_s))


async def renew(connection: CloudClient, identity: CloudIdentity, agent: str, now_s: float) -> CloudIdentity:
    """Return the same identity with a new key and certificate.

    Raises:
        RemoteUplinkError: refused, out of reach, or what came is not a certificate for us.
    """
    key, csr = new_key()
    der = await connection.renew(csr)
    fresh = replace(identity, key=key)
    return replace(fresh, certificate=certificate_untrusted(der, fresh, agent, now_s))
