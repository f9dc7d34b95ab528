"""The User-based Security Model: authentic and secret messages, and the time window (RFC 3414, section 3)."""

from __future__ import annotations

import hmac
from dataclasses import dataclass, replace
from typing import Final

from agent.connectors.snmp import ber, usm_ciphers, v3_messages
from agent.connectors.snmp.credential import SnmpCredential
from agent.connectors.snmp.errors import MalformedSnmpError
from agent.connectors.snmp.limits import BOOTS_MAX, TIME_WINDOW_S
from agent.connectors.snmp.usm_keys import HASHES, UserKeys
from agent.connectors.snmp.v3_messages import AUTH_FLAG, PRIV_FLAG, V3Header, V3Message
from agent.connectors.snmp.values import OCTET_STRING, Oid, oid

UNSUPPORTED_SEC_LEVELS: Final = oid("1.3.6.1.6.3.15.1.1.1.0")
NOT_IN_TIME_WINDOWS: Final = oid("1.3.6.1.6.3.15.1.1.2.0")
UNKNOWN_USER_NAMES: Final = oid("1.3.6.1.6.3.15.1.1.3.0")
UNKNOWN_ENGINE_IDS: Final = oid("1.3.6.1.6.3.15.1.1.4.0")
WRONG_DIGESTS: Final = oid("1.3.6.1.6.3.15.1.1.5.0")
DECRYPTION_ERRORS: Final = oid("1.3.6.1.6.3.15.1.1.6.0")
UNAUTHENTICATED_REPORTS: Final[frozenset[Oid]] = frozenset(
    {UNSUPPORTED_SEC_LEVELS, UNKNOWN_USER_NAMES, UNKNOWN_ENGINE_IDS, WRONG_DIGESTS}
)
"""Reports that an engine sends without authentication, since it has no key for it (RFC 3414, section 3.2)."""


def level(credential: SnmpCredential) -> int:
    """Return the flags of messages of a user."""
    return (AUTH_FLAG if credential.auth else 0) | (PRIV_FLAG if credential.priv else 0)


def seal(credential: SnmpCredential, keys: UserKeys, header: V3Header, scoped: bytes, counter: int) -> bytes:
    """Return a message, encrypted and authenticated as its flags say (RFC 3414, section 3.1).

    Args:
        credential: of the user.
        keys: the user's, at the authoritative engine.
        header: without authentication and privacy parameters.
        scoped: the encoded scoped PDU.
        counter: differs from that of every other message under this key.
    """
    payload = scoped
    if header.flags & PRIV_FLAG and credential.priv:
        salt = usm_ciphers.salt(credential.priv, header.boots, counter)
        now = (header.boots, header.time_s)
        payload = ber.element(OCTET_STRING, usm_ciphers.encrypt(credential.priv, keys.priv, now, salt, scoped))
        header = replace(header, priv=salt)
    if not header.flags & AUTH_FLAG or credential.auth is None:
        return v3_messages.encode(header, payload)[0]
    name, size = HASHES[credential.auth]
    whole, at = v3_messages.encode(replace(header, auth=bytes(size)), payload)
    return whole[:at] + hmac.digest(keys.auth, whole, name)[:size] + whole[at + size :]


def is_authentic_untrusted(message: V3Message, credential: SnmpCredential, keys: UserKeys) -> bool:
    """Return whether a message carries the digest that only the holders of the key can make."""
    if credential.auth is None or not message.header.flags & AUTH_FLAG:
        return False
    name, size = HASHES[credential.auth]
    if len(message.header.auth) != size:
        return False
    whole, at = message.whole, message.auth_at
    expected = hmac.digest(keys.auth, whole[:at] + bytes(size) + whole[at + size :], name)[:size]
    return hmac.compare_digest(expected, message.header.auth)


def scoped_octets_untrusted(message: V3Message, credential: SnmpCredential, keys: UserKeys) -> bytes:
    """Return the octets of the scoped PDU of a message, decrypted where it is encrypted.

    Raises:
        MalformedSnmpError: it cannot be decrypted.
    """
    header = message.header
    if not header.flags & PRIV_FLAG:
        return message.scoped
    if credential.priv is None:
        raise MalformedSnmpError("expected no encryption for a user without a key for it, got an encrypted message")
    now = (header.boots, header.time_s)
    return usm_ciphers.decrypt_untrusted(credential.priv, keys.priv, now, header.priv, message.scoped)


@dataclass(slots=True)
class EngineTime:
    """Our notion of the boots and the time of another engine (RFC 3414, section 2.3)."""

    boots: int
    time_s: int
    """When it was last told, in seconds since the engine's boot."""
    at: float
    """When that was, by our own clock."""

    def now_s(self, now: float) -> int:
        """Return its time by our clock."""
        return min(BOOTS_MAX, self.time_s + int(now - self.at))

    def admits(self, header: V3Header, now: float) -> bool:
        """Return whether an authentic message is inside of the time window; learn from it (section 3.2, step 7 b)."""
        if header.boots > self.boots or (header.boots == self.boots and header.time_s > self.time_s):
            self.boots, self.time_s, self.at = header.boots, header.time_s, now
        return (
            self.boots < BOOTS_MAX and header.boots == self.boots and header.time_s >= self.now_s(now) - TIME_WINDOW_S
        )
