"""Encryption of scoped PDUs: CBC-DES (RFC 3414, section 8) and CFB-AES (RFC 3826, section 3)."""

from __future__ import annotations

import struct

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.decrepit.ciphers.modes import CFB
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC

from agent.connectors.snmp.credential import PrivProtocol
from agent.connectors.snmp.errors import MalformedSnmpError

SALT_OCTETS = 8
_DES_BLOCK = 8


def salt(priv: PrivProtocol, boots: int, counter: int) -> bytes:
    """Return the privacy parameters of a message: DES has the boots of the engine in it, AES a number of 64 bits."""
    if priv is PrivProtocol.DES:
        return struct.pack("!II", boots, counter & 0xFFFFFFFF)
    return struct.pack("!Q", counter & 0xFFFFFFFFFFFFFFFF)


def encrypt(priv: PrivProtocol, key: bytes, engine_time: tuple[int, int], salted: bytes, plain: bytes) -> bytes:
    """Return encrypted octets. `engine_time`: boots and time of the authoritative engine, as in the message."""
    if priv is PrivProtocol.DES:
        plain += bytes(-len(plain) % _DES_BLOCK)
    return _cipher(priv, key, engine_time, salted).encryptor().update(plain)


def decrypt_untrusted(
    priv: PrivProtocol, key: bytes, engine_time: tuple[int, int], salted: bytes, data: bytes
) -> bytes:
    """Return decrypted octets; a wrong key gives any octets.

    Raises:
        MalformedSnmpError: the salt, or the length of the data, cannot be.
    """
    if len(salted) != SALT_OCTETS:
        raise MalformedSnmpError(f"expected privacy parameters of {SALT_OCTETS} octets, got {len(salted)}")
    if priv is PrivProtocol.DES and len(data) % _DES_BLOCK:
        raise MalformedSnmpError(f"expected a multiple of {_DES_BLOCK} encrypted octets, got {len(data)}")
    return _cipher(priv, key, engine_time, salted).decryptor().update(data)


def _cipher(priv: PrivProtocol, key: bytes, engine_time: tuple[int, int], salted: bytes) -> Cipher[CBC | CFB]:
    if priv is PrivProtocol.DES:
        vector = bytes(a ^ b for a, b in zip(key[8:16], salted, strict=True))
        # Triple DES with one key three times is DES, which the library no longer has by itself
        return Cipher(TripleDES(key[:8] * 3), CBC(vector))
    return Cipher(AES(key), CFB(struct.pack("!II", *engine_time) + salted))
