"""BER as SNMP uses it (RFC 3417, section 8; X.690): a few encoders, and decoders that are total.

* Nothing is read behind the end of the element around it.
* Lengths take at most four octets; the indefinite form does not exist in SNMP.
* Numbers that are wider than the standard allows are kept as they came, up to nine octets: real devices send them.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, cast

from agent.connectors.snmp.errors import MalformedSnmpError
from agent.connectors.snmp.values import (
    COUNTER32,
    COUNTER64,
    GAUGE32,
    INTEGER,
    OBJECT_IDENTIFIER,
    OCTET_STRING,
    PARTS_MAX,
    TIME_TICKS,
    Oid,
    Value,
)

Varbind = tuple[Oid, Value]

SEQUENCE: Final = 0x30
UNSIGNED: Final = frozenset({COUNTER32, GAUGE32, TIME_TICKS, COUNTER64})
NUMBER_OCTETS_MAX: Final = 9
_OID: Final = re.compile(
    rb"(?:[\x00-\x7f]|[\x81-\xff][\x80-\xff]{0,2}[\x00-\x7f]|[\x81-\x8f][\x80-\xff]{3}[\x00-\x7f])+"
)
"""Sub-identifiers below 2**32 in the fewest octets (X.690, section 8.19.2)."""


def element(tag: int, content: bytes) -> bytes:
    """Return an element: tag, length and content."""
    size = len(content)
    if size < 128:
        return bytes((tag, size)) + content
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 128 | len(octets))) + octets + content


def integer(value: int) -> bytes:
    """Return an INTEGER."""
    return element(INTEGER, _octets(value))


def _octets(value: int) -> bytes:
    """Return a number in the fewest octets, with room for its sign."""
    return value.to_bytes((value if value >= 0 else ~value).bit_length() // 8 + 1, "big", signed=True)


def value_element(value: Value) -> bytes:
    """Return a value as it stands in a varbind."""
    tag, content = value
    if isinstance(content, int):
        content = _octets(content)
    return element(tag, content)


def varbind_element(name: Oid, value: Value) -> bytes:
    """Return one varbind."""
    return element(SEQUENCE, element(OBJECT_IDENTIFIER, name) + value_element(value))


@lru_cache(8_192)
def question_element(name: Oid) -> bytes:
    """Return a varbind without a value, for questions."""
    return element(SEQUENCE, element(OBJECT_IDENTIFIER, name) + b"\x05\x00")


def header_untrusted(data: bytes, at: int, end: int) -> tuple[int, int, int]:
    """Return tag, first and last index (exclusive) of the content of the element at `at`.

    Raises:
        MalformedSnmpError: no whole element is there before `end`.
    """
    if at + 2 > end:
        raise MalformedSnmpError(f"expected an element at octet {at}, got the end at {end}")
    tag, size = data[at], data[at + 1]
    at += 2
    if size & 128:
        octets = size & 127
        if not 1 <= octets <= 4 or at + octets > end:
            raise MalformedSnmpError(f"expected a length of 1 to 4 octets at octet {at - 1}, got {size:#04x}")
        size = int.from_bytes(data[at : at + octets], "big")
        at += octets
    if size > end - at:
        raise MalformedSnmpError(f"expected {size} octets from octet {at}, got {end - at}")
    return tag, at, at + size


def content_untrusted(data: bytes, at: int, end: int, tag: int) -> tuple[int, int]:
    """Return first and last index (exclusive) of the content of the element at `at`, which has this tag.

    Raises:
        MalformedSnmpError: there is none, or it has another tag.
    """
    found, start, stop = header_untrusted(data, at, end)
    if found != tag:
        raise MalformedSnmpError(f"expected tag {tag:#04x} at octet {at}, got {found:#04x}")
    return start, stop


def integer_untrusted(data: bytes, at: int, end: int, tag: int = INTEGER) -> tuple[int, int]:
    """Return the number at `at`, and the index behind it. INTEGER has a sign, other tags have none.

    Raises:
        MalformedSnmpError: there is none, or it has more than nine octets.
    """
    start, stop = content_untrusted(data, at, end, tag)
    return _number(data[start:stop], signed=tag == INTEGER), stop


def octets_untrusted(data: bytes, at: int, end: int, tag: int = OCTET_STRING) -> tuple[bytes, int]:
    """Return the octet string at `at`, and the index behind it.

    Raises:
        MalformedSnmpError: there is none.
    """
    start, stop = content_untrusted(data, at, end, tag)
    return data[start:stop], stop


def oid_untrusted(data: bytes, at: int, end: int) -> tuple[Oid, int]:
    """Return the object identifier at `at`, and the index behind it.

    Raises:
        MalformedSnmpError: there is none.
    """
    start, stop = content_untrusted(data, at, end, OBJECT_IDENTIFIER)
    return checked_name_untrusted(data[start:stop]), stop


def _number(octets: bytes, *, signed: bool) -> int:
    if len(octets) > NUMBER_OCTETS_MAX:
        raise MalformedSnmpError(f"expected a number of at most {NUMBER_OCTETS_MAX} octets, got {len(octets)}")
    return int.from_bytes(octets, "big", signed=signed)


@lru_cache(65_536)
def checked_name_untrusted(octets: bytes) -> Oid:
    """Return octets as an OID. The names of a fleet repeat: cached, the check costs a tenth, and copies go.

    Raises:
        MalformedSnmpError: they are none.
    """
    if len(octets) > PARTS_MAX and sum(octet < 128 for octet in octets) > PARTS_MAX:
        raise MalformedSnmpError(f"expected at most {PARTS_MAX} sub-identifiers, got more in {len(octets)} octets")
    if _OID.fullmatch(octets) is None:
        raise MalformedSnmpError(f"expected an object identifier, got {octets[:24].hex()}")
    return Oid(octets)


def checked_value_untrusted(tag: int, content: bytes) -> Value:
    """Return the value of a tag and its content.

    Raises:
        MalformedSnmpError: the content is none of that type.
    """
    if tag == INTEGER or tag in UNSIGNED:
        return tag, _number(content, signed=tag == INTEGER)
    if tag == OBJECT_IDENTIFIER:
        # An empty one is the zeroDotZero of agents that cannot encode it
        return tag, checked_name_untrusted(content) if content else b"\x00"
    return tag, content


def varbinds_untrusted(data: bytes, at: int, end: int) -> list[Varbind]:
    """Return the varbinds that stand between two indexes.

    Nearly all of them have short lengths: those are read in place, where the three lengths, taken as short ones, fit
    into each other. Others go through `header_untrusted` at three times the price.

    Raises:
        MalformedSnmpError: there is anything else.
    """
    found: list[tuple[bytes, Value]] = []
    add = found.append
    number = int.from_bytes
    while at < end:
        size = data[at + 1] if at + 8 <= end else 0
        behind = at + 2 + size
        stop = at + 4 + data[at + 3] if 6 <= size < 128 and behind <= end else behind
        if stop + 2 <= behind and stop + 2 + data[stop + 1] == behind and data[at] == SEQUENCE and data[at + 2] == 6:
            name = data[at + 4 : stop]
            if not name or not name.isascii():
                name = checked_name_untrusted(name)
            tag = data[stop]
            if tag == 4:
                add((name, (4, data[stop + 2 : behind])))
            elif behind - stop > 10:
                add((name, checked_value_untrusted(tag, data[stop + 2 : behind])))
            elif tag == 2:
                add((name, (2, number(data[stop + 2 : behind], "big", signed=True))))
            elif tag in UNSIGNED:
                add((name, (tag, number(data[stop + 2 : behind], "big"))))
            else:
                add((name, checked_value_untrusted(tag, data[stop + 2 : behind])))
            at = behind
        else:
            start, behind = content_untrusted(data, at, end, SEQUENCE)
            name, start = oid_untrusted(data, start, behind)
            tag, first, stop = header_untrusted(data, start, behind)
            add((name, checked_value_untrusted(tag, data[first:stop])))
            at = behind
    return cast("list[Varbind]", found)  # one call for all of them
