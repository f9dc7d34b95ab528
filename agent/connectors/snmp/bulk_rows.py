"""Whole rows of an answer to GETBULK, one match of a regular expression for each: half the price of single varbinds.

* A row has one varbind of each column that was asked, in their order, and all of them have the same index.
* Only the plain form matches: lengths of one octet that fit into each other, numbers of at most nine octets, other
  values of at most `OCTETS_MOST`, and no type whose content needs a check. `ber.varbinds_untrusted` reads the rest, and
  both give the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import repeat
from typing import Final, cast

from agent.connectors.snmp import ber
from agent.connectors.snmp.values import INTEGER, Oid, Value

OCTETS_MOST: Final = 48
"""Of a value, in a row that matches: names and descriptions of ports are shorter. Each length costs time to compile."""
INDEX_OCTETS_MOST: Final = 16
"""Of an index, in a row that matches. Each length has a pattern of its own."""
WORTH_OCTETS: Final = 1_024
"""A shorter answer does not pay for a pattern, which takes some 10 ms to compile."""
_SHORT: Final = 128
"""The first length that takes more than one octet."""
_TIER: Final = 6
"""Lengths that are looked for together. Chosen by measurement."""


@dataclass(frozen=True, slots=True)
class BulkRows:
    """Rows at the beginning of an answer: their indexes, and the values of each column in the same order."""

    indexes: Sequence[bytes]
    columns: Sequence[Sequence[Value]]


NO_ROWS: Final = BulkRows((), ())


def rows_untrusted(data: bytes, at: int, end: int, columns: tuple[Oid, ...]) -> tuple[BulkRows, int]:
    """Return the plain whole rows that stand at the beginning of varbinds, and the index behind them.

    Args:
        data: the message.
        at: first index of its varbinds.
        end: last index (exclusive) of its varbinds.
        columns: as they were asked; none: no rows are looked for.

    Raises:
        MalformedSnmpError: an index is none.
    """
    if len(columns) < 2 or end - at < WORTH_OCTETS:
        return NO_ROWS, at
    found: list[tuple[bytes, ...]] = []
    fixed, size = len(columns[0]), -1
    match = None
    while at + 4 <= end:
        if match is None or data[at + 3] != size:
            size = data[at + 3]
            if not 1 <= size - fixed <= INDEX_OCTETS_MOST:
                break
            match = _pattern(columns, size - fixed)
        row = match(data, at, end)
        if row is None:
            break
        found.append(row.groups())
        at = row.end()
    if not found:
        return NO_ROWS, at
    indexes, *cells = zip(*found, strict=True)
    if not b"".join(indexes).isascii():
        for index in indexes:
            ber.checked_name_untrusted(columns[0] + index)
    return BulkRows(indexes, [_values(*pair) for pair in zip(cells[::2], cells[1::2], strict=True)]), at


def _values(tags: Sequence[bytes], contents: Sequence[bytes]) -> Sequence[Value]:
    """Return the values of a column; nearly always they have one type."""
    first = tags[0]
    if tags.count(first) != len(tags):
        return [ber.checked_value_untrusted(tag[0], content) for tag, content in zip(tags, contents, strict=True)]
    tag = first[0]
    if tag == INTEGER:
        return list(map(_integer, contents))
    if tag in ber.UNSIGNED:
        return list(zip(repeat(tag), map(int.from_bytes, contents), strict=False))
    return list(zip(repeat(tag), contents, strict=False))


@lru_cache(4_096)
def _integer(content: bytes) -> Value:
    """Return an INTEGER. States, types and sizes come again and again: one pair stands for all of them."""
    return INTEGER, int.from_bytes(content, "big", signed=True)


@lru_cache(64)
def _pattern(columns: tuple[Oid, ...], index: int) -> Callable[[bytes, int, int], re.Match[bytes] | None]:
    """Return a matcher of rows whose index has so many octets: groups of the index, of tag and content of each cell.

    A length is fixed where the root of the column and the index are. Only that of the value is not, and each of its
    lengths has an alternative that looks back at both lengths around it. Backtracking is bounded: in no place can two
    alternatives match.
    """
    row = []
    for number, column in enumerate(columns):
        size = len(column) + index
        there = b"(.{%d})" % index if number == 0 else rb"\1"
        name = b"0.\x06" + re.escape(bytes((size,)) + column) + there
        row.append(name + rb"([\x02\x04\x40-\x44\x46])[\x00-\x7f](" + _contents(size) + b")")
    return cast("Callable[[bytes, int, int], re.Match[bytes] | None]", re.compile(b"".join(row), re.DOTALL).match)


def _contents(name: int) -> bytes:
    """Return a pattern for the content of a value behind a name of so many octets."""

    def one(size: int) -> bytes:
        # The octets between the two lengths: tag and length of the name, the name, and the tag of the value
        between = b".{%d}" % (name + 3) if size <= ber.NUMBER_OCTETS_MAX else rb".{%d}[\x04\x40\x44]" % (name + 2)
        return b"(?<=%b%b%b).{%d}" % (_octet(4 + name + size), between, _octet(size), size)

    most = min(OCTETS_MOST, _SHORT - 5 - name)
    some = [one(size) for size in range(min(most, ber.NUMBER_OCTETS_MAX) + 1)]
    for least in range(ber.NUMBER_OCTETS_MAX + 1, most + 1, _TIER):
        tier = range(least, min(least + _TIER, most + 1))
        these = b"|".join(map(one, tier))
        some.append(b"(?<=[%b-%b])(?:%b)" % (_octet(tier[0]), _octet(tier[-1]), these))
    return b"|".join(some)


def _octet(number: int) -> bytes:
    return re.escape(bytes((number,)))
