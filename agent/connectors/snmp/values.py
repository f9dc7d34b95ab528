"""Object identifiers and values as they stand in a message (RFC 3416, section 3).

* An `Oid` is the content of its BER encoding, without tag and length: a prefix of sub-identifiers is a prefix of bytes,
  so that tables are cut by slicing. Its order is not that of the bytes: compare by `order`.
* A `Value` is a pair `(tag, content)`: an integer for the numeric types, bytes for all others. The exceptions of a
  varbind (RFC 3416, section 2.3) are values too.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NewType

from agent.connectors.snmp.errors import NoOidError

Oid = NewType("Oid", bytes)
Value = tuple[int, int | bytes]

INTEGER: Final = 0x02
OCTET_STRING: Final = 0x04
NULL: Final = 0x05
OBJECT_IDENTIFIER: Final = 0x06
IP_ADDRESS: Final = 0x40
COUNTER32: Final = 0x41
GAUGE32: Final = 0x42
TIME_TICKS: Final = 0x43
OPAQUE: Final = 0x44
COUNTER64: Final = 0x46
NO_SUCH_OBJECT: Final = 0x80
NO_SUCH_INSTANCE: Final = 0x81
END_OF_MIB_VIEW: Final = 0x82

NUMERIC: Final = frozenset({INTEGER, COUNTER32, GAUGE32, TIME_TICKS, COUNTER64})
MISSING: Final = frozenset({NULL, NO_SUCH_OBJECT, NO_SUCH_INSTANCE, END_OF_MIB_VIEW})
"""Tags of values that say that there is none."""
PARTS_MAX: Final = 128
"""Sub-identifiers of an OID (RFC 3416, section 4.1)."""
PART_MAX: Final = (1 << 32) - 1


@lru_cache(65_536)
def oid(text: str) -> Oid:
    """Return the OID that is written as `1.3.6.1.2.1`, with or without a leading dot.

    Raises:
        NoOidError: it is none: 2 to 128 numbers of 0 to 4294967295, of which the first two stand for one.
    """
    words = text.removeprefix(".").split(".")
    if not all(word.isascii() and word.isdigit() and len(word) <= 10 for word in words):
        raise NoOidError(text)
    return of_parts(tuple(map(int, words)))


def of_parts(parts: tuple[int, ...]) -> Oid:
    """Return the OID of these sub-identifiers.

    Raises:
        NoOidError: they are none.
    """
    shown = ".".join(map(str, parts))
    if not 2 <= len(parts) <= PARTS_MAX or parts[0] > 2 or (parts[0] < 2 and parts[1] >= 40):
        raise NoOidError(shown)  # X.690, section 8.19.4
    if max(parts) > PART_MAX:
        raise NoOidError(shown)
    return Oid(suffix((parts[0] * 40 + parts[1], *parts[2:])))


def suffix(parts: tuple[int, ...]) -> bytes:
    """Return the octets of sub-identifiers, as an OID has them (X.690 8.19).

    Raises:
        NoOidError: one is over 4294967295 (the first one of an OID: over 80 more).
    """
    out = bytearray()
    for part in parts:
        if not 0 <= part <= PART_MAX + 80:
            raise NoOidError(".".join(map(str, parts)))
        septets = [part & 127]
        while part := part >> 7:
            septets.append(part & 127 | 128)
        out += bytes(reversed(septets))
    return bytes(out)


def index(tail: bytes) -> tuple[int, ...]:
    """Return the sub-identifiers of the end of an OID, such as the index of a row."""
    parts, part = [], 0
    for octet in tail:
        part = part << 7 | octet & 127
        if octet < 128:
            parts.append(part)
            part = 0
    return tuple(parts)


@lru_cache(65_536)
def order(of: bytes) -> tuple[int, ...]:
    """Return a key by which OIDs sort as RFC 3416 orders them."""
    return index(of)


def dotted(of: Oid) -> str:
    """Return an OID as `1.3.6.1.2.1`."""
    first, *others = index(of)
    head = min(first // 40, 2)
    return ".".join(map(str, (head, first - 40 * head, *others)))
