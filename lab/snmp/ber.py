"""BER as SNMP uses it: definite lengths, low tag numbers (RFC 3417 section 8). Pure.

OIDs have two forms here: `encoded`, the content octets of BER, and `key`, each sub-identifier as four octets, which
sorts as OIDs do.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import Final

from lab.snmp.errors import MalformedSnmpError, SnmpValueError

INTEGER: Final = 0x02
OCTET_STRING: Final = 0x04
NULL: Final = 0x05
OID: Final = 0x06
SEQUENCE: Final = 0x30

_PARTS_MAX: Final = 128  # RFC 3416 section 4.1
_PART_MAX: Final = (1 << 32) - 1
_LENGTH_OCTETS_MAX: Final = 4


def header(tag: int, length: int) -> bytes:
    """Return tag and length."""
    if length < 0x80:
        return bytes((tag, length))
    if length < 0x100:
        return bytes((tag, 0x81, length))
    if length < 0x10000:
        return bytes((tag, 0x82, length >> 8, length & 0xFF))
    return bytes((tag, 0x83)) + length.to_bytes(3, "big")


def tlv(tag: int, content: bytes) -> bytes:
    """Return one element."""
    return header(tag, len(content)) + content


def signed(value: int) -> bytes:
    """Return the content of an integer, in as few octets as hold it (X.690 section 8.3.2)."""
    return value.to_bytes((value + (value < 0)).bit_length() // 8 + 1, "big", signed=True)


def integer(value: int) -> bytes:
    """Return an INTEGER element."""
    return tlv(INTEGER, signed(value))


def octets(value: bytes) -> bytes:
    """Return an OCTET STRING element."""
    return tlv(OCTET_STRING, value)


def read_untrusted(data: bytes, at: int, end: int) -> tuple[int, int, int]:
    """Return the tag of the element at `at`, and where its content begins and ends.

    Raises:
        MalformedSnmpError: it does not end before `end`, or its length is indefinite or too long.
    """
    if at + 2 > end:
        raise MalformedSnmpError(f"expected an element at octet {at}, got the end at {end}")
    tag, length = data[at], data[at + 1]
    at += 2
    if length >= 0x80:
        count = length & 0x7F
        if not 1 <= count <= _LENGTH_OCTETS_MAX or at + count > end:
            raise MalformedSnmpError(f"expected a length of 1 to {_LENGTH_OCTETS_MAX} octets, got {count}")
        length = int.from_bytes(data[at : at + count], "big")
        at += count
    if at + length > end:
        raise MalformedSnmpError(f"expected {length} octets of content at {at}, got {end - at}")
    return tag, at, at + length


def expect_untrusted(data: bytes, at: int, end: int, tag: int) -> tuple[int, int]:
    """Return where the content of the element of that tag begins and ends.

    Raises:
        MalformedSnmpError: there is no element, or one of another tag.
    """
    found, start, stop = read_untrusted(data, at, end)
    if found != tag:
        raise MalformedSnmpError(f"expected tag {tag:#04x} at octet {at}, got {found:#04x}")
    return start, stop


def integer_untrusted(data: bytes, at: int, end: int) -> tuple[int, int]:
    """Return the INTEGER at `at`, and where it ends.

    Raises:
        MalformedSnmpError: there is none, or one of no octet or over eight.
    """
    start, stop = expect_untrusted(data, at, end, INTEGER)
    if not 1 <= stop - start <= 8:
        raise MalformedSnmpError(f"expected an integer of 1 to 8 octets at {at}, got {stop - start}")
    return int.from_bytes(data[start:stop], "big", signed=True), stop


def octets_untrusted(data: bytes, at: int, end: int) -> tuple[bytes, int]:
    """Return the OCTET STRING at `at`, and where it ends.

    Raises:
        MalformedSnmpError: there is none.
    """
    start, stop = expect_untrusted(data, at, end, OCTET_STRING)
    return data[start:stop], stop


# --- object identifiers -----------------------------------------------------------------------------------------------


def _part(value: int) -> bytes:
    out = bytes((value & 0x7F,))
    while value := value >> 7:
        out = bytes((0x80 | value & 0x7F,)) + out
    return out


@lru_cache(65_536)
def oid(text: str) -> bytes:
    """Return the encoded form of an OID that is written with dots.

    Raises:
        SnmpValueError: it is none.
    """
    words = text.removeprefix(".").split(".")
    if not all(w.isascii() and w.isdigit() for w in words) or not 2 <= len(words) <= _PARTS_MAX:
        raise SnmpValueError(f"expected an OID such as 1.3.6.1.2.1.1.5.0, got {text[:80]!r}")
    first, second, *rest = map(int, words)
    if first > 2 or (first < 2 and second > 39) or max((second, *rest)) > _PART_MAX:
        raise SnmpValueError(f"expected an OID with sub-identifiers to {_PART_MAX}, got {text[:80]!r}")
    return b"".join(map(_part, (first * 40 + second, *rest)))


@lru_cache(262_144)
def key_untrusted(encoded: bytes) -> bytes:
    """Return the key of an encoded OID: it sorts as OIDs do.

    Raises:
        MalformedSnmpError: it is empty, ends within a sub-identifier, or has one beyond 32 bits.
    """
    parts: list[int] = []
    value = 0
    for octet in encoded:
        value = value << 7 | octet & 0x7F
        if octet < 0x80:
            parts.append(value)
            value = 0
    if not parts or encoded[-1] >= 0x80 or len(parts) >= _PARTS_MAX or max(parts[1:], default=0) > _PART_MAX:
        raise MalformedSnmpError("expected an OID of whole sub-identifiers to 4294967295, got another")
    first = min(parts[0] // 40, 2)
    second = parts[0] - 40 * first
    if second > _PART_MAX:
        raise MalformedSnmpError(f"expected a second sub-identifier to {_PART_MAX}, got {second}")
    return struct.pack(f">{len(parts) + 1}I", first, second, *parts[1:])


def dotted(encoded: bytes) -> str:
    """Return an encoded OID as text.

    Raises:
        MalformedSnmpError: it is none.
    """
    key = key_untrusted(encoded)
    return ".".join(map(str, struct.unpack(f">{len(key) // 4}I", key)))
