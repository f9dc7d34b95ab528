"""The user-based security model, both ways (RFC 3414, RFC 7860, RFC 3826). Pure.

AES-192 and AES-256 extend a short key as draft-blumenthal-aes-usm-04 section 3.1.2.1 says, and as Net-SNMP does.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from cryptography.hazmat.decrepit.ciphers.modes import CFB
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms

from lab.snmp.errors import SnmpValueError

# name: hash, octets of the digest in a message
_AUTH: Final = {
    "MD5": ("md5", 12),
    "SHA": ("sha1", 12),
    "SHA-224": ("sha224", 16),
    "SHA-256": ("sha256", 24),
    "SHA-384": ("sha384", 32),
    "SHA-512": ("sha512", 48),
}
_PRIV_KEY_BYTES: Final = {"AES-128": 16, "AES-192": 24, "AES-256": 32}
_PASSWORD_BYTES: Final = 1 << 20  # RFC 3414 appendix A.2
TIME_WINDOW_S: Final = 150  # RFC 3414 section 2.2.3


@dataclass(frozen=True, slots=True)
class User:
    """A user of SNMPv3. Without `priv` it has authNoPriv; `writes`: it may SET."""

    name: str
    auth: str
    auth_password: str
    priv: str = ""
    priv_password: str = ""
    writes: bool = False

    def __post_init__(self) -> None:
        if self.auth not in _AUTH or (self.priv and self.priv not in _PRIV_KEY_BYTES):
            raise SnmpValueError(
                f"user {self.name}: expected one of {', '.join(_AUTH)} and of {', '.join(_PRIV_KEY_BYTES)} or none, "
                f"got {self.auth!r} and {self.priv!r}"
            )

    @property
    def digest_bytes(self) -> int:
        """Octets of its digest in a message."""
        return _AUTH[self.auth][1]


USERS: Final = (
    User("labpriv", "SHA-256", "labauthpass", "AES-128", "labprivpass"),
    User("labauth", "SHA-512", "labauthpass"),
    User("labwrite", "SHA-256", "labwriteauth", "AES-128", "labwritepriv", writes=True),
)
"""Two users that read, one that writes; the passwords are no secrets."""


@lru_cache(1024)
def _key(hash_name: str, password: str, engine_id: bytes) -> bytes:
    """Return a password's key at an engine (RFC 3414 appendix A.2)."""
    octets = password.encode()
    repeated = octets * (_PASSWORD_BYTES // len(octets) + 1)
    plain = hashlib.new(hash_name, repeated[:_PASSWORD_BYTES]).digest()
    return hashlib.new(hash_name, plain + engine_id + plain).digest()


def digest(user: User, engine_id: bytes, message: bytes) -> bytes:
    """Return the digest of a message that has zeros as its own digest (RFC 7860 section 4.2.1)."""
    hash_name, octets = _AUTH[user.auth]
    return hmac.digest(_key(hash_name, user.auth_password, engine_id), message, hash_name)[:octets]


def proves(user: User, engine_id: bytes, message: bytes, start: int, stop: int) -> bool:
    """Tell whether the digest that stands at `start` to `stop` of a message is the user's."""
    blank = message[:start] + bytes(stop - start) + message[stop:]
    return hmac.compare_digest(digest(user, engine_id, blank), message[start:stop])


def _cipher(user: User, engine_id: bytes, boots: int, engine_time: int, salt: bytes) -> Cipher[CFB]:
    hash_name, wanted = _AUTH[user.auth][0], _PRIV_KEY_BYTES[user.priv]
    key = _key(hash_name, user.priv_password, engine_id)
    while len(key) < wanted:
        key += hashlib.new(hash_name, key).digest()
    iv = boots.to_bytes(4, "big") + engine_time.to_bytes(4, "big") + salt
    return Cipher(algorithms.AES(key[:wanted]), CFB(iv))


def encrypt(user: User, engine_id: bytes, boots: int, engine_time: int, salt: bytes, plain: bytes) -> bytes:
    """Return a scoped PDU encrypted (RFC 3826 section 3.1.3); `salt` has 8 octets."""
    cipher = _cipher(user, engine_id, boots, engine_time, salt).encryptor()
    return cipher.update(plain) + cipher.finalize()


def decrypt(user: User, engine_id: bytes, boots: int, engine_time: int, salt: bytes, hidden: bytes) -> bytes:
    """Return a scoped PDU decrypted; with a wrong key it is noise."""
    cipher = _cipher(user, engine_id, boots, engine_time, salt).decryptor()
    return cipher.update(hidden) + cipher.finalize()
