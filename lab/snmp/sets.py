"""SET: all of a PDU's varbinds or none (RFC 3416 section 4.2.5). Pure.

A device names the OIDs that may be written; each has a rule for its values and an effect.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from lab.snmp import ber
from lab.snmp.messages import Status
from lab.snmp.mib import Mib
from lab.snmp.values import Value


class Refused(Exception):
    """A varbind that cannot be set; `index` from 1."""

    def __init__(self, status: Status, index: int) -> None:
        super().__init__(f"varbind {index}: {status.name}")
        self.status, self.index = status, index


@dataclass(frozen=True, slots=True)
class Column:
    """A column that may be written.

    `tag`: of its values; `least`, `most`: the lowest and highest number, or the least and most octets; `wrote`: called
    with the index (dots), the value and the time once all is checked; it puts the value itself.
    """

    tag: int
    least: int
    most: int
    wrote: Callable[[str, Value, float], None]


Writable = Mapping[str, Column]
"""Columns by OID with dots."""


def apply_set(mib: Mib, writable: Writable, binds: Sequence[tuple[bytes, Value]], now: float) -> None:
    """Write all of the varbinds.

    Raises:
        Refused: one cannot be written; then none is.
        MalformedSnmpError: an OID is none.
    """
    todo: list[tuple[Column, str, Value]] = []
    for n, (oid, value) in enumerate(binds, 1):
        name = ber.dotted(oid)
        column, index = next(
            ((c, name[len(root) + 1 :]) for root, c in writable.items() if name.startswith(root + ".")), (None, "")
        )
        if column is None:
            raise Refused(Status.NOT_WRITABLE if oid in mib else Status.NO_ACCESS, n)
        if oid not in mib:
            raise Refused(Status.NO_ACCESS, n)
        _check(column, value, n)
        todo.append((column, index, value))
    for column, index, value in todo:
        column.wrote(index, value, now)


def _check(column: Column, value: Value, n: int) -> None:
    if value.tag != column.tag:
        raise Refused(Status.WRONG_TYPE, n)
    if value.tag == ber.INTEGER:
        if not 1 <= len(value.content) <= 4:
            raise Refused(Status.WRONG_LENGTH, n)
        if not column.least <= value.number() <= column.most:
            raise Refused(Status.WRONG_VALUE, n)
    elif not column.least <= len(value.content) <= column.most:
        raise Refused(Status.WRONG_LENGTH, n)
