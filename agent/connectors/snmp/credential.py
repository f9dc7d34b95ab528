"""How we prove to a device who asks: a community, or a user with keys. Never shown: secrets have no repr."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Final

from agent.connectors.snmp.errors import UnusableCredentialError

PASSPHRASE_OCTETS_MIN: Final = 8
"""RFC 3414, section 11.2; net-snmp's agent refuses shorter ones."""
USER_OCTETS_MAX: Final = 32
"""RFC 3414, section 2.4."""


class SnmpVersion(enum.Enum):
    """Versions of the protocol, as people write them."""

    V1 = "1"
    V2C = "2c"
    V3 = "3"


class AuthProtocol(enum.Enum):
    """Authentication of USM (RFC 3414; RFC 7860), as tools name it."""

    MD5 = "MD5"
    SHA = "SHA"
    SHA_224 = "SHA-224"
    SHA_256 = "SHA-256"
    SHA_384 = "SHA-384"
    SHA_512 = "SHA-512"


class PrivProtocol(enum.Enum):
    """Encryption of USM (RFC 3414; RFC 3826). Keys beyond 128 bits are in drafts only, and vendors follow two."""

    DES = "DES"
    AES_128 = "AES"
    AES_192 = "AES-192"
    """Keys extended as in draft-blumenthal-aes-usm-04: net-snmp, Juniper, MikroTik."""
    AES_256 = "AES-256"
    AES_192_CISCO = "AES-192-C"
    """Keys extended as in draft-reeder-snmpv3-usm-3desede-00: Cisco and others."""
    AES_256_CISCO = "AES-256-C"


@dataclass(frozen=True, slots=True)
class SnmpCredential:
    """How a device is asked.

    Args:
        version: of the protocol.
        community: of versions 1 and 2c.
        user: name of the user of version 3, at most 32 octets.
        auth: authentication of version 3; None: noAuthNoPriv.
        auth_key: its passphrase, at least 8 octets.
        priv: encryption of version 3; None: none. Needs `auth`.
        priv_key: its passphrase, at least 8 octets.
        context: name of the context of version 3; mostly "".

    Raises:
        UnusableCredentialError: something lacks, or does not belong together.
    """

    version: SnmpVersion
    community: bytes = field(default=b"", repr=False)
    user: str = ""
    auth: AuthProtocol | None = None
    auth_key: bytes = field(default=b"", repr=False)
    priv: PrivProtocol | None = None
    priv_key: bytes = field(default=b"", repr=False)
    context: str = ""

    def __post_init__(self) -> None:
        if self.version is not SnmpVersion.V3:
            if self.user or self.auth or self.priv or self.context:
                raise UnusableCredentialError(
                    f"version {self.version.value} has a community only: take user, auth, priv and context off, "
                    "or say version 3"
                )
            return
        if self.community:
            raise UnusableCredentialError("version 3 has users, no community: take the community off")
        if not 1 <= len(self.user.encode()) <= USER_OCTETS_MAX:
            raise UnusableCredentialError(
                f"user: expected 1 to {USER_OCTETS_MAX} octets, got {len(self.user.encode())}"
            )
        if self.priv and not self.auth:
            raise UnusableCredentialError("priv needs auth: SNMPv3 has no encryption without authentication")
        for name, protocol, key in (("auth", self.auth, self.auth_key), ("priv", self.priv, self.priv_key)):
            if protocol and len(key) < PASSPHRASE_OCTETS_MIN:
                raise UnusableCredentialError(
                    f"{name}_key: expected a passphrase of at least {PASSPHRASE_OCTETS_MIN} octets, got {len(key)}"
                )
            if key and not protocol:
                raise UnusableCredentialError(f"{name}_key without {name}: name the protocol of the key")
