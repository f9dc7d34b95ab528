"""TLS to web APIs: verified by the system's certificate authorities, by a configured file of them, or by a pin.

* Nothing comes from the environment: neither SSL_CERT_FILE nor SSLKEYLOGFILE is read.
* A pin is the SHA-256 fingerprint of the certificate itself. It is compared at the end of the handshake, before the
  first byte of a request, and in the place of names, dates and authorities: self-signed certificates are pinned.
"""

from __future__ import annotations

import hmac
import re
import ssl
from hashlib import sha256
from pathlib import Path
from typing import Final, Self

from agent.runtime.errors import LocalWebError, WebCertificateError

_FINGERPRINT: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)


def fingerprint(text: object) -> str:
    """Return a SHA-256 fingerprint as 64 small hex digits; colons between them are taken.

    Raises:
        ValueError: it is none.
    """
    found = text.replace(":", "").lower() if isinstance(text, str) else ""
    if not _FINGERPRINT.fullmatch(found):
        raise ValueError
    return found


def tls_context(ca_file: Path | None, pin: str) -> ssl.SSLContext:
    """Return how the other end of a connection is verified.

    Args:
        ca_file: certificate authorities in PEM; None: those of the system.
        pin: SHA-256 of the certificate, 64 hex digits; "": it is verified by its authority.

    Raises:
        LocalWebError: the file cannot be read, or holds no certificate.
    """
    if pin:
        return _PinnedContext(pin)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        if ca_file is not None:
            context.load_verify_locations(cafile=ca_file)
        else:
            _take_authorities_of_system(context)
    except (OSError, ssl.SSLError) as err:
        raise LocalWebError(f"{ca_file or 'the system'}: expected a file of certificates in PEM") from err
    return context


def _take_authorities_of_system(context: ssl.SSLContext) -> None:
    """Load where OpenSSL was built to look; `load_default_certs` would follow SSL_CERT_FILE."""
    paths = ssl.get_default_verify_paths()
    if Path(paths.openssl_cafile).is_file():
        context.load_verify_locations(cafile=paths.openssl_cafile)
    if Path(paths.openssl_capath).is_dir():
        context.load_verify_locations(capath=paths.openssl_capath)


class _PinnedObject(ssl.SSLObject):
    """A connection with a handshake that ends only with the pinned certificate."""

    def do_handshake(self) -> None:
        super().do_handshake()
        context = self.context
        expected = context.pin if isinstance(context, _PinnedContext) else ""
        found = sha256(self.getpeercert(binary_form=True) or b"").hexdigest()
        if not hmac.compare_digest(found, expected):
            raise WebCertificateError(
                f"the certificate changed: SHA-256 {expected} is configured, it has {found}; "
                f"if its owner says that this one is right, configure it"
            )


class _PinnedContext(ssl.SSLContext):
    """A context that takes one certificate and no other."""

    pin: str
    sslobject_class = _PinnedObject

    def __new__(cls, pin: str) -> Self:
        made = super().__new__(cls, ssl.PROTOCOL_TLS_CLIENT)
        made.pin = pin
        made.minimum_version = ssl.TLSVersion.TLSv1_2
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE  # the pin is stronger: it is checked in the handshake
        return made
