"""Rows of a CPE's tables: found by the fields that tell them apart, whatever number the CPE gave them. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from agent.cpe_model.addresses import TableRow
from agent.cpe_model.known import CachedParameter
from agent.cpe_model.profiles import normalize
from agent.cpe_model.sensitivity import Sensitivity, classify
from agent.model import ABSENT, SecretRef, Value


def instances(table: str, found: Mapping[str, CachedParameter]) -> dict[int, dict[str, CachedParameter]]:
    """Return the rows of a table by their number: field -> known value. `table` ends in a dot."""
    rows: dict[int, dict[str, CachedParameter]] = {}
    for path, known in found.items():
        number, dot, field = path.removeprefix(table).partition(".")
        is_row = number.isascii() and number.isdigit()  # the name is the CPE's: "²" is a digit that no int() reads
        if path.startswith(table) and dot and is_row and field and "." not in field:
            rows.setdefault(int(number), {})[field] = known
    return rows


def secrets(row: TableRow) -> tuple[str, ...]:
    """Return which fields of a row are secrets, of which only that they are there is known."""
    return tuple(field for field in row.fields if classify(f"{row.table}1.{field}") is Sensitivity.SECRET)


def number_of(row: TableRow, found: Mapping[str, CachedParameter]) -> int | None:
    """Return the number of a row, the lowest where several have its key; None: there is none.

    A reading needs one answer; a write of a row that `is_ambiguous` is refused.
    """
    return min(_matching(row, found), default=None)


def is_ambiguous(row: TableRow, found: Mapping[str, CachedParameter]) -> bool:
    """Return whether several rows have a row's key."""
    return len(list(_matching(row, found))) > 1


def _matching(row: TableRow, found: Mapping[str, CachedParameter]) -> Iterator[int]:
    for number, fields in instances(row.table, found).items():
        if all(_text(fields.get(field), text) == text for field, text in row.key.items()):
            yield number


def _text(known: CachedParameter | None, wanted: str) -> str | None:
    if known is None or known.value is None or known.unreadable:
        return None
    text = normalize(known.type, known.value)  # "0080" and "80" are one port, "1" and "true" one boolean
    return wanted if text == normalize(known.type, wanted) else text


def unreadable(row: TableRow, found: Mapping[str, CachedParameter], *, whole: bool) -> tuple[str, ...]:
    """Return the parameters that cannot be decoded, of those that a write of a row rests on.

    Those are the key fields of every row, since one of them may be this row, and the row's own fields that are written.

    Args:
        row: that is to be written.
        found: the known values below its table.
        whole: all of its fields are lost by the write, not only those that it names.
    """
    number = number_of(row, found)
    return tuple(
        f"{row.table}{each}.{field}"
        for each, fields in instances(row.table, found).items()
        for field, known in fields.items()
        if known.unreadable and (field in row.key or (each == number and (whole or field in row.fields)))
    )


def value(row: TableRow, found: Mapping[str, CachedParameter]) -> Value:
    """Return the value of a row, in the fields that matter; ABSENT where there is none with its key."""
    number = number_of(row, found)
    if number is None:
        return ABSENT
    fields = instances(row.table, found)[number]
    read: dict[str, str | SecretRef] = dict(row.key)
    for name in row.fields:
        known = fields.get(name)
        if known is not None:
            read[name] = "" if known.value is None else normalize(known.type, known.value)
    return read
