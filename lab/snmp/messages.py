"""Messages of v1 and v2c, and the PDUs that v3 carries too (RFC 1157 section 4, RFC 1901, RFC 3416 section 3). Pure.

    Message ::= SEQUENCE { version INTEGER, community OCTET STRING, data PDU }
    PDU ::= [tag] { request-id, error-status, error-index, SEQUENCE OF SEQUENCE { name OID, value } }

GETBULK has non-repeaters and max-repetitions where others have error-status and error-index.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Final, NamedTuple

from lab.snmp import ber
from lab.snmp.errors import MalformedSnmpError
from lab.snmp.values import Value

DATAGRAM_BYTES_MAX: Final = 65_507  # UDP over IPv4
_VARBINDS_MAX: Final = 4096  # 65,507 octets hold more; chosen arbitrarily above what anybody asks


class Version(enum.IntEnum):
    """The number in a message."""

    V1 = 0
    V2C = 1
    V3 = 3


class Kind(enum.IntEnum):
    """Tags of PDUs."""

    GET = 0xA0
    GET_NEXT = 0xA1
    RESPONSE = 0xA2
    SET = 0xA3
    TRAP_V1 = 0xA4
    GET_BULK = 0xA5
    INFORM = 0xA6
    TRAP = 0xA7
    REPORT = 0xA8


class Status(enum.IntEnum):
    """error-status (RFC 3416 section 3)."""

    NO_ERROR = 0
    TOO_BIG = 1
    NO_SUCH_NAME = 2
    BAD_VALUE = 3
    READ_ONLY = 4
    GEN_ERR = 5
    NO_ACCESS = 6
    WRONG_TYPE = 7
    WRONG_LENGTH = 8
    WRONG_VALUE = 10
    INCONSISTENT_VALUE = 12
    RESOURCE_UNAVAILABLE = 13
    COMMIT_FAILED = 14
    UNDO_FAILED = 15
    AUTHORIZATION_ERROR = 16
    NOT_WRITABLE = 17


class Pdu(NamedTuple):
    """A PDU; `first` and `second` are error-status and error-index, or non-repeaters and max-repetitions."""

    kind: int
    request_id: int
    first: int
    second: int
    binds: tuple[tuple[bytes, Value], ...]


class Message(NamedTuple):
    """A message of v1 or v2c."""

    version: Version
    community: bytes
    pdu: Pdu


def encode_pdu(kind: int, request_id: int, first: int, second: int, binds: Sequence[bytes]) -> bytes:
    """Return a PDU of varbinds that are encoded already."""
    head = ber.integer(request_id) + ber.integer(first) + ber.integer(second)
    return ber.tlv(kind, head + ber.tlv(ber.SEQUENCE, b"".join(binds)))


def encode_message(version: Version, community: bytes, pdu: bytes) -> bytes:
    """Return a message of v1 or v2c."""
    return ber.tlv(ber.SEQUENCE, ber.integer(version) + ber.octets(community) + pdu)


def version_untrusted(datagram: bytes) -> int:
    """Return the version number of a message of any version.

    Raises:
        MalformedSnmpError: it is no message.
    """
    start, stop = ber.expect_untrusted(datagram, 0, len(datagram), ber.SEQUENCE)
    return ber.integer_untrusted(datagram, start, stop)[0]


def decode_untrusted(datagram: bytes) -> Message:
    """Read a message of v1 or v2c.

    Raises:
        MalformedSnmpError: it is none.
    """
    at, end = ber.expect_untrusted(datagram, 0, len(datagram), ber.SEQUENCE)
    version, at = ber.integer_untrusted(datagram, at, end)
    if version not in (Version.V1, Version.V2C):
        raise MalformedSnmpError(f"expected version 0 or 1, got {version}")
    community, at = ber.octets_untrusted(datagram, at, end)
    return Message(Version(version), community, pdu_untrusted(datagram, at, end))


def pdu_untrusted(data: bytes, at: int, end: int) -> Pdu:
    """Read the PDU at `at`; a v1 trap is none that anybody asks a device.

    Raises:
        MalformedSnmpError: there is none.
    """
    kind, at, end = ber.read_untrusted(data, at, end)
    if not Kind.GET <= kind <= Kind.REPORT or kind == Kind.TRAP_V1:
        raise MalformedSnmpError(f"expected a PDU, got tag {kind:#04x}")
    request_id, at = ber.integer_untrusted(data, at, end)
    first, at = ber.integer_untrusted(data, at, end)
    second, at = ber.integer_untrusted(data, at, end)
    at, end = ber.expect_untrusted(data, at, end, ber.SEQUENCE)
    binds: list[tuple[bytes, Value]] = []
    while at < end:
        start, stop = ber.expect_untrusted(data, at, end, ber.SEQUENCE)
        name, value_at = ber.expect_untrusted(data, start, stop, ber.OID)
        tag, value_start, value_stop = ber.read_untrusted(data, value_at, stop)
        binds.append((data[name:value_at], Value(tag, data[value_start:value_stop])))
        at = stop
        if len(binds) > _VARBINDS_MAX:
            raise MalformedSnmpError(f"expected at most {_VARBINDS_MAX} varbinds, got more")
    return Pdu(kind, request_id, first, second, tuple(binds))
