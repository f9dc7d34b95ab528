"""Protocol data units (RFC 3416, section 3; RFC 1157, section 4.1.6 for the trap of version 1)."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from agent.connectors.snmp import ber
from agent.connectors.snmp.ber import SEQUENCE, Varbind
from agent.connectors.snmp.bulk_rows import NO_ROWS, BulkRows, rows_untrusted
from agent.connectors.snmp.errors import MalformedSnmpError
from agent.connectors.snmp.values import IP_ADDRESS, TIME_TICKS, Oid


class PduKind(enum.IntEnum):
    """The kinds, by their tags."""

    GET = 0xA0
    GET_NEXT = 0xA1
    RESPONSE = 0xA2
    SET = 0xA3
    TRAP_V1 = 0xA4
    GET_BULK = 0xA5
    INFORM = 0xA6
    TRAP = 0xA7
    REPORT = 0xA8


ERROR_STATUS: Final = (
    "noError", "tooBig", "noSuchName", "badValue", "readOnly", "genErr", "noAccess", "wrongType", "wrongLength",
    "wrongEncoding", "wrongValue", "noCreation", "inconsistentValue", "resourceUnavailable", "commitFailed",
    "undoFailed", "authorizationError", "notWritable", "inconsistentName",
)  # fmt: skip
"""Names of error-status by number (RFC 3416, section 3)."""
TOO_BIG: Final = 1
NO_SUCH_NAME: Final = 2


def status_name(status: int) -> str:
    """Return the standard's name of an error-status."""
    return ERROR_STATUS[status] if 0 <= status < len(ERROR_STATUS) else f"error-status {status}"


@dataclass(frozen=True, slots=True)
class Pdu:
    """Any PDU but the trap of version 1.

    `status` and `index` are error-status and error-index; of a GETBULK non-repeaters and max-repetitions. `rows` stand
    before `varbinds`.
    """

    kind: PduKind
    request_id: int
    status: int
    index: int
    varbinds: Sequence[Varbind]
    rows: BulkRows = NO_ROWS


@dataclass(frozen=True, slots=True)
class TrapV1:
    """The trap of version 1. `address` is the agent's own, in dots; `ticks` its sysUpTime in 1/100 s."""

    enterprise: Oid
    address: str
    generic: int
    specific: int
    ticks: int
    varbinds: Sequence[Varbind]


def encode_question(kind: PduKind, request_id: int, names: Iterable[Oid], repetitions: int = 0) -> bytes:
    """Return a request without values: GET, GETNEXT, or GETBULK with so many repetitions of all names."""
    return _encode(kind, request_id, 0, repetitions, b"".join(map(ber.question_element, names)))


def encode(pdu: Pdu) -> bytes:
    """Return a PDU with values."""
    body = b"".join(ber.varbind_element(name, value) for name, value in pdu.varbinds)
    return _encode(pdu.kind, pdu.request_id, pdu.status, pdu.index, body)


def _encode(kind: PduKind, request_id: int, status: int, index: int, varbinds: bytes) -> bytes:
    numbers = ber.integer(request_id) + ber.integer(status) + ber.integer(index)
    return ber.element(kind, numbers + ber.element(SEQUENCE, varbinds))


def pdu_untrusted(data: bytes, at: int, end: int, columns: tuple[Oid, ...] = ()) -> Pdu | TrapV1:
    """Return the PDU at `at`. `columns`: it may have rows of these.

    Raises:
        MalformedSnmpError: there is none.
    """
    tag, start, stop = ber.header_untrusted(data, at, end)
    if tag == PduKind.TRAP_V1:
        return _trap_v1(data, start, stop)
    if not 0xA0 <= tag <= 0xA8:
        raise MalformedSnmpError(f"expected a PDU at octet {at}, got tag {tag:#04x}")
    request_id, start = ber.integer_untrusted(data, start, stop)
    status, start = ber.integer_untrusted(data, start, stop)
    index, start = ber.integer_untrusted(data, start, stop)
    start, stop = ber.content_untrusted(data, start, stop, SEQUENCE)
    rows, start = rows_untrusted(data, start, stop, columns)
    return Pdu(PduKind(tag), request_id, status, index, ber.varbinds_untrusted(data, start, stop), rows)


def _trap_v1(data: bytes, at: int, end: int) -> TrapV1:
    enterprise, at = ber.oid_untrusted(data, at, end)
    address, at = ber.octets_untrusted(data, at, end, IP_ADDRESS)
    generic, at = ber.integer_untrusted(data, at, end)
    specific, at = ber.integer_untrusted(data, at, end)
    ticks, at = ber.integer_untrusted(data, at, end, TIME_TICKS)
    start, stop = ber.content_untrusted(data, at, end, SEQUENCE)
    found = ber.varbinds_untrusted(data, start, stop)
    return TrapV1(enterprise, ".".join(map(str, address)), generic, specific, ticks, found)
