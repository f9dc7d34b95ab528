"""Keys of the User-based Security Model: from a passphrase to the keys of one engine.

RFC 3414, sections 2.6 and A.2, with the hashes of RFC 7860. Keys that are longer than a digest: see `_extended`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from agent.connectors.snmp.credential import AuthProtocol, PrivProtocol, SnmpCredential

HASHES: Final = {
    AuthProtocol.MD5: ("md5", 12),
    AuthProtocol.SHA: ("sha1", 12),
    AuthProtocol.SHA_224: ("sha224", 16),
    AuthProtocol.SHA_256: ("sha256", 24),
    AuthProtocol.SHA_384: ("sha384", 32),
    AuthProtocol.SHA_512: ("sha512", 48),
}
"""Hash, and octets of its HMAC that a message carries (RFC 3414, sections 6 and 7; RFC 7860, section 4)."""
_KEY_OCTETS: Final = {
    PrivProtocol.DES: 16,
    PrivProtocol.AES_128: 16,
    PrivProtocol.AES_192: 24,
    PrivProtocol.AES_256: 32,
    PrivProtocol.AES_192_CISCO: 24,
    PrivProtocol.AES_256_CISCO: 32,
}
_CISCO: Final = frozenset({PrivProtocol.AES_192_CISCO, PrivProtocol.AES_256_CISCO})
_STRETCHED_OCTETS: Final = 1 << 20
"""RFC 3414, section A.2.1."""


@dataclass(frozen=True, slots=True)
class UserKeys:
    """The keys of one user at one engine. Never shown."""

    auth: bytes = field(repr=False)
    priv: bytes = field(repr=False)


def keys_at(credential: SnmpCredential, engine_id: bytes) -> UserKeys:
    """Return the keys of a user at an engine; an empty one where the user has no such protocol."""
    if credential.auth is None:
        return UserKeys(b"", b"")
    auth = localized(credential.auth, credential.auth_key, engine_id)
    if credential.priv is None:
        return UserKeys(auth, b"")
    return UserKeys(auth, privacy_key(credential.auth, credential.priv, credential.priv_key, engine_id))


@lru_cache(256)
def password_to_key(auth: AuthProtocol, passphrase: bytes) -> bytes:
    """Return the digest of a passphrase that is repeated up to 1 MiB.

    It takes about a millisecond, and a fleet shares few passphrases: hence the cache.
    """
    repeated = passphrase * (_STRETCHED_OCTETS // len(passphrase) + 1)
    return hashlib.new(HASHES[auth][0], repeated[:_STRETCHED_OCTETS], usedforsecurity=False).digest()


def localized(auth: AuthProtocol, passphrase: bytes, engine_id: bytes) -> bytes:
    """Return the key of a passphrase at an engine (RFC 3414, section 2.6)."""
    key = password_to_key(auth, passphrase)
    return hashlib.new(HASHES[auth][0], key + engine_id + key, usedforsecurity=False).digest()


def privacy_key(auth: AuthProtocol, priv: PrivProtocol, passphrase: bytes, engine_id: bytes) -> bytes:
    """Return the key of encryption at an engine: of DES with the part that its initialization vector comes from."""
    key = localized(auth, passphrase, engine_id)
    size = _KEY_OCTETS[priv]
    while len(key) < size:
        key = _extended(auth, key, engine_id, cisco=priv in _CISCO)
    return key[:size]


def _extended(auth: AuthProtocol, key: bytes, engine_id: bytes, *, cisco: bool) -> bytes:
    """Return a longer key. Two drafts differ, and neither became an RFC.

    draft-blumenthal-aes-usm-04, section 3.1.2.1: append the digest of all so far. draft-reeder-snmpv3-usm-3desede-00,
    section 2.1: append the key at this engine of the key so far, taken for a passphrase.
    """
    if cisco:
        return key + localized(auth, key, engine_id)
    return key + hashlib.new(HASHES[auth][0], key, usedforsecurity=False).digest()
