"""The control plane's own certificate authority: X.509 (RFC 5280) on P-256. Bytes in, bytes out, `now_s` a parameter.

gRPC's TLS (BoringSSL) takes no Ed25519 certificates in its default signature algorithms, so everything here is ECDSA
with SHA-256 on P-256 (measured: an Ed25519 server certificate ends the handshake). A client's certificate says one
thing only: the URI that names its identity. Of its request (PKCS #10, RFC 2986) nothing is taken but the key.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from control_plane.errors import BadCsrError, MalformedCertificateError, ServerConfigError

SERVER_NAME: Final = "ispcloud"
"""The name that clients check in the server's certificate, for any host that they dial: the authority is ours alone."""

CSR_BYTES: Final = 2048
"""A P-256 request has some 300 bytes. Chosen arbitrarily."""

AUTHORITY_LIFE: Final = timedelta(days=3650)
"""Every client has pinned it: it outlives the machines. A new one means inviting everybody again."""

SERVER_LIFE: Final = timedelta(days=90)
CLIENT_LIFE: Final = timedelta(days=7)
"""How long a copied key is of use when nobody notices; renewed at two thirds, over the stream."""

BACKDATED: Final = timedelta(hours=1)
"""How far another machine's clock may be behind ours."""

SEALED: Final = "a sealed key is opened for the service alone (docs/operations.md, Seal the keys)"
"""Of an error: the reason why a key may be missing."""

_CURVE: Final = ec.SECP256R1
_NONE: Final = dict.fromkeys(
    (
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    ),
    False,
)


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate that was just signed. `serial`: hex; `der` and `pem`: the same certificate."""

    der: bytes
    pem: bytes
    serial: str
    not_after_s: int


@dataclass(frozen=True, slots=True)
class CertifiedPeer:
    """The fields of a client's certificate. Its chain was verified by TLS; whether it is revoked, the database says."""

    uri: str
    serial: str
    not_after_s: int


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its private key, PEM."""

    certificate: bytes
    key: bytes


def new_key() -> ec.EllipticCurvePrivateKey:
    """Return a new private key."""
    return ec.generate_private_key(_CURVE())


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return a private key as PKCS #8, PEM, not encrypted: a file of mode 0600 holds it."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


class Authority:
    """The certificate authority: its certificate, and its key in memory, unless that is sealed for the server alone."""

    def __init__(self, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey | None) -> None:
        self.certificate: Final = certificate
        self._sealed_key = key

    @classmethod
    def create(cls, now_s: int) -> Authority:
        """Return a new authority. Its name holds a part of its key's digest, so that two are never mixed up."""
        key = new_key()
        digest = x509.SubjectKeyIdentifier.from_public_key(key.public_key()).digest
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"ispcloud authority {digest[:8].hex()}")])
        builder = _builder(name, name, key.public_key(), now_s, AUTHORITY_LIFE)
        usage = x509.KeyUsage(digital_signature=False, **{**_NONE, "key_cert_sign": True, "crl_sign": True})
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        builder = builder.add_extension(usage, critical=True)
        return cls(builder.sign(key, hashes.SHA256()), key)

    @classmethod
    def load(cls, pair: Pair) -> Authority:
        """Return the authority that two files hold.

        Raises:
            ServerConfigError: they hold something else, or do not belong together.
        """
        certificate, key = _load(pair, "authority")
        return cls(certificate, key)

    @classmethod
    def load_without_key(cls, certificate: bytes) -> Authority:
        """Return the authority that a certificate is of, PEM: it can be shown, and issues nothing.

        Raises:
            ServerConfigError: it holds something else.
        """
        try:
            return cls(x509.load_pem_x509_certificate(certificate), None)
        except ValueError as err:
            raise ServerConfigError("expected the authority's certificate as PEM, got something else") from err

    def need_key(self) -> ec.EllipticCurvePrivateKey:
        """Return the authority's key.

        Raises:
            ServerConfigError: it is not here.
        """
        if self._sealed_key is None:
            raise ServerConfigError(f"expected the authority's key, it is not here: {SEALED}")
        return self._sealed_key

    @property
    def pem(self) -> bytes:
        """The authority's certificate, PEM; an invitation carries it."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def der(self) -> bytes:
        """The authority's certificate, DER."""
        return self.certificate.public_bytes(serialization.Encoding.DER)

    def pair(self) -> Pair:
        """Return certificate and key, for the data directory."""
        return Pair(self.pem, key_pem(self.need_key()))

    def issue_server(self, now_s: int) -> Pair:
        """Return a new key and certificate for the server, 90 days."""
        key = new_key()
        san = x509.SubjectAlternativeName([x509.DNSName(SERVER_NAME)])
        issued = self._issue(SERVER_NAME, key.public_key(), san, ExtendedKeyUsageOID.SERVER_AUTH, now_s, SERVER_LIFE)
        return Pair(issued.pem, key_pem(key))

    def issue_client_untrusted(self, csr: bytes, uri: str, now_s: int) -> Issued:
        """Return a certificate of 7 days for the key of a request, naming the identity `uri`.

        Args:
            csr: PKCS #10, DER. Its subject and extensions are passed over; its own signature proves the key.
            uri: the identity, ASCII.
            now_s: unix seconds.

        Raises:
            BadCsrError: not a request, its signature is bad, or its key is none of P-256.
        """
        key = _key_of_csr_untrusted(csr)
        san = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)])
        return self._issue("ispcloud client", key, san, ExtendedKeyUsageOID.CLIENT_AUTH, now_s, CLIENT_LIFE)

    def _issue(
        self,
        name: str,
        key: ec.EllipticCurvePublicKey,
        san: x509.SubjectAlternativeName,
        purpose: x509.ObjectIdentifier,
        now_s: int,
        life: timedelta,
    ) -> Issued:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.need_key().public_key())
        certificate = (
            _builder(subject, self.certificate.subject, key, now_s, life)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.KeyUsage(digital_signature=True, **_NONE), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
            .add_extension(san, critical=False)
            .add_extension(issuer, critical=False)
            .sign(self.need_key(), hashes.SHA256())
        )
        return Issued(
            certificate.public_bytes(serialization.Encoding.DER),
            certificate.public_bytes(serialization.Encoding.PEM),
            f"{certificate.serial_number:x}",
            int(certificate.not_valid_after_utc.timestamp()),
        )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now_s: int, life: timedelta
) -> x509.CertificateBuilder:
    now = datetime.fromtimestamp(now_s, UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + life)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _load(pair: Pair, what: str) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    try:
        certificate = x509.load_pem_x509_certificate(pair.certificate)
        key = serialization.load_pem_private_key(pair.key, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as err:
        raise ServerConfigError(f"expected the {what}'s certificate and key as PEM, got something else") from err
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        raise ServerConfigError(f"expected the {what}'s certificate to be that of its P-256 key, it is another's")
    return certificate, key


def needs_renewal(pair: Pair, authority: Authority, now_s: int) -> bool:
    """Return whether under a third of the server certificate's life is left, or another authority signed it.

    Raises:
        ServerConfigError: the pair holds something else.
    """
    certificate, _ = _load(pair, "server")
    if certificate.issuer != authority.certificate.subject:
        return True
    return int(certificate.not_valid_after_utc.timestamp()) - now_s < SERVER_LIFE.total_seconds() / 3


def _key_of_csr_untrusted(csr: bytes) -> ec.EllipticCurvePublicKey:
    if len(csr) > CSR_BYTES:
        raise BadCsrError(f"expected a certificate request of at most {CSR_BYTES} bytes, got {len(csr)}")
    try:
        request = x509.load_der_x509_csr(csr)
        key = request.public_key()
        valid = request.is_signature_valid
    except (ValueError, TypeError, x509.InvalidVersion, UnsupportedAlgorithm) as err:
        raise BadCsrError("expected a certificate request (PKCS #10, DER), got something else") from err
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, _CURVE):
        raise BadCsrError("expected a certificate request for a P-256 key, got another kind of key")
    if not valid:
        raise BadCsrError("expected a certificate request signed by its own key, its signature is bad")
    return key


def read_peer_untrusted(pem: bytes) -> CertifiedPeer:
    """Return the fields of a client's certificate.

    Raises:
        MalformedCertificateError: no certificate, or not with exactly one URI.
    """
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        san = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = san.get_values_for_type(x509.UniformResourceIdentifier)
    except (
        ValueError,
        x509.InvalidVersion,
        x509.ExtensionNotFound,
        x509.DuplicateExtension,
        x509.UnsupportedGeneralNameType,
    ) as err:
        raise MalformedCertificateError("expected a client's certificate that names an identity, got another") from err
    if len(uris) != 1:
        raise MalformedCertificateError(f"expected a certificate with one identity, got {len(uris)}")
    not_after_s = int(certificate.not_valid_after_utc.timestamp())
    return CertifiedPeer(uris[0], f"{certificate.serial_number:x}", not_after_s)
