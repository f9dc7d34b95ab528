"""A PDU in, the response out (RFC 3416 section 4.2; for v1 RFC 1157 section 4.1 and RFC 3584 section 4). Pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Final, NamedTuple

from lab.snmp import ber, values
from lab.snmp.faults import Faults
from lab.snmp.messages import Kind, Pdu, Status, Version, encode_pdu
from lab.snmp.mib import Mib, varbind
from lab.snmp.sets import Refused, Writable, apply_set
from lab.snmp.values import COUNTER64, END

_HEAD_BYTES_MAX: Final = 32
"""The PDU's and the list's headers, request-id, error-status and error-index."""
_REPETITIONS_MAX: Final = 1000
"""Of one GETBULK; a datagram of 65,507 octets holds fewer rows of more than a few varbinds. Chosen arbitrarily."""
_V1_STATUS: Final = {
    Status.NO_ACCESS: Status.NO_SUCH_NAME,
    Status.NOT_WRITABLE: Status.NO_SUCH_NAME,
    Status.AUTHORIZATION_ERROR: Status.NO_SUCH_NAME,
    Status.WRONG_TYPE: Status.BAD_VALUE,
    Status.WRONG_LENGTH: Status.BAD_VALUE,
    Status.WRONG_VALUE: Status.BAD_VALUE,
    Status.INCONSISTENT_VALUE: Status.BAD_VALUE,
    Status.COMMIT_FAILED: Status.GEN_ERR,
    Status.UNDO_FAILED: Status.GEN_ERR,
    Status.RESOURCE_UNAVAILABLE: Status.GEN_ERR,
}
"""RFC 3584 section 4.4."""


class Asked(NamedTuple):
    """How a PDU was asked: version, whether its secret may write, and how many octets the response may have."""

    version: Version
    writes: bool
    room: int


class _Error(Exception):
    """The response is an error; `index` from 1, 0: of the whole."""

    def __init__(self, status: Status, index: int = 0) -> None:
        super().__init__(status.name)
        self.status, self.index = status, index


def answer(mib: Mib, writable: Writable, pdu: Pdu, asked: Asked, faults: Faults, now: float) -> bytes | None:
    """Return the response PDU; None: this PDU gets none.

    Raises:
        MalformedSnmpError: an OID in it is none.
    """
    request_id = pdu.request_id + 1 if faults.wrong_request_id else pdu.request_id
    request_id = (request_id + 2**31) % 2**32 - 2**31
    try:
        binds = _binds(mib, writable, pdu, asked, faults, now)
    except _Error as err:
        status = _V1_STATUS.get(err.status, err.status) if asked.version is Version.V1 else err.status
        # RFC 3416 section 4.2.1: of tooBig the list is empty; in v1 all errors have the list of the request
        empty = err.status is Status.TOO_BIG and asked.version is not Version.V1
        binds = [] if empty else [varbind(oid, value) for oid, value in pdu.binds]
        return encode_pdu(Kind.RESPONSE, request_id, status, err.index, binds)
    if binds is None:
        return None
    return encode_pdu(Kind.RESPONSE, request_id, 0, 0, binds)


def _binds(mib: Mib, writable: Writable, pdu: Pdu, asked: Asked, faults: Faults, now: float) -> Sequence[bytes] | None:
    if faults.broken_below:
        root = ber.oid(faults.broken_below)
        for n, (oid, _) in enumerate(pdu.binds, 1):
            if oid.startswith(root):
                raise _Error(Status.GEN_ERR, n)
    room = asked.room - _HEAD_BYTES_MAX
    match pdu.kind:
        case Kind.GET:
            binds = _get(mib, pdu, asked.version, faults, now)
        case Kind.GET_NEXT:
            binds = _get_next(mib, pdu, asked.version, faults, now)
        case Kind.GET_BULK if asked.version is not Version.V1:
            binds = _get_bulk(mib, pdu, faults, now)
            if faults.too_big and len(binds) > faults.too_big:
                raise _Error(Status.TOO_BIG)
            return binds if sum(map(len, binds)) <= room else _cut(binds, room)
        case Kind.SET:
            return _set(mib, writable, pdu, asked, faults, now)
        case _:
            return None
    if sum(map(len, binds)) > room or (faults.too_big and len(binds) > faults.too_big):
        raise _Error(Status.TOO_BIG)
    return binds


def _get(mib: Mib, pdu: Pdu, version: Version, faults: Faults, now: float) -> list[bytes]:
    found = []
    for n, (oid, _) in enumerate(pdu.binds, 1):
        value = mib.value(oid, now)
        if version is Version.V1 and (value is None or value.tag == COUNTER64):
            raise _Error(Status.NO_SUCH_NAME, n)
        if value is None:
            value = values.ABSENT_INSTANCE if mib.has_object(oid) else values.ABSENT_OBJECT
        found.append(varbind(oid[:-1] + bytes((oid[-1] ^ 1,)) if faults.wrong_oid else oid, value))
    return found


def _get_next(mib: Mib, pdu: Pdu, version: Version, faults: Faults, now: float) -> list[bytes]:
    found = []
    for n, (oid, _) in enumerate(pdu.binds, 1):
        bind = (
            mib.run(oid, 1, now, faults.loop)[0]
            if faults.loop
            else mib.next_bind(oid, now, narrow=version is Version.V1)
        )
        if bind is None and version is Version.V1:
            raise _Error(Status.NO_SUCH_NAME, n)
        found.append(varbind(oid, END) if bind is None else bind)
    return _in_pairs(found) if faults.unsorted else found


def _get_bulk(mib: Mib, pdu: Pdu, faults: Faults, now: float) -> list[bytes]:
    once = min(max(pdu.first, 0), len(pdu.binds))
    repetitions = min(max(pdu.second, 0), _REPETITIONS_MAX)
    found = [mib.run(oid, 1, now, faults.loop)[0] for oid, _ in pdu.binds[:once]]
    columns = [mib.run(oid, repetitions, now, faults.loop) for oid, _ in pdu.binds[once:]]
    if faults.unsorted:
        columns = [_in_pairs(column) for column in columns]
    if len(columns) == 1:
        return found + _until_ended(columns[0])
    return found + list(chain.from_iterable(zip(*columns, strict=True)))


def _until_ended(column: list[bytes]) -> list[bytes]:
    """Return a single column up to its first endOfMibView, as agents do (RFC 3416 section 4.2.3)."""
    if not column or not column[-1].endswith(b"\x82\x00"):
        return column
    last = column[-1]
    return column[: column.index(last) + 1]


def _cut(binds: list[bytes], room: int) -> list[bytes]:
    """Return as many varbinds as fit.

    Raises:
        _Error: not even one does.
    """
    used = 0
    for n, bind in enumerate(binds):
        used += len(bind)
        if used > room:
            if not n:
                raise _Error(Status.TOO_BIG)
            return binds[:n]
    return binds


def _in_pairs(binds: list[bytes]) -> list[bytes]:
    swapped = list(binds)
    for i in range(0, len(binds) - 1, 2):
        swapped[i], swapped[i + 1] = binds[i + 1], binds[i]
    return swapped


def _set(mib: Mib, writable: Writable, pdu: Pdu, asked: Asked, faults: Faults, now: float) -> list[bytes] | None:
    if not asked.writes:
        raise _Error(Status.NO_ACCESS, 1)
    if faults.too_big and len(pdu.binds) > faults.too_big:
        raise _Error(Status.TOO_BIG)
    if faults.set_error and not faults.set_done:
        raise _Error(Status(faults.set_error), 1)
    if not faults.set_ignored:
        try:
            apply_set(mib, writable, pdu.binds, now)
        except Refused as err:
            raise _Error(err.status, err.index) from err
    if faults.set_error:
        raise _Error(Status(faults.set_error), 1)
    return None if faults.set_lost else [varbind(oid, value) for oid, value in pdu.binds]
