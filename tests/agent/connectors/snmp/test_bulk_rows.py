"""Whole rows by a pattern: the same as varbind by varbind, on any octets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.connectors.snmp import ber
from agent.connectors.snmp.ber import Varbind
from agent.connectors.snmp.bulk_rows import INDEX_OCTETS_MOST, OCTETS_MOST, WORTH_OCTETS, BulkRows, rows_untrusted
from agent.connectors.snmp.errors import MalformedSnmpError
from agent.connectors.snmp.values import (
    COUNTER32,
    COUNTER64,
    END_OF_MIB_VIEW,
    GAUGE32,
    INTEGER,
    IP_ADDRESS,
    OBJECT_IDENTIFIER,
    OCTET_STRING,
    OPAQUE,
    TIME_TICKS,
    Oid,
    Value,
    oid,
    suffix,
)  # fmt: skip

# A dot, a bracket and a backslash in the first one: a pattern must not take them for its own
COLUMNS = (oid("1.3.6.1.46.91.92.2"), oid("1.3.6.1.2.1.31.1.1.1.6"), oid("1.3.6.1.4.1.41112.1.4.300"))
PARTS = st.one_of(st.integers(0, 127), st.integers(128, 300), st.integers(0, 2**32 - 1))
INDEXES = st.lists(PARTS, min_size=1, max_size=3).map(lambda parts: suffix(tuple(parts)))
PLAIN: tuple[st.SearchStrategy[Value], ...] = (
    st.tuples(st.just(INTEGER), st.integers(-(2**31), 2**31 - 1)),
    st.tuples(st.sampled_from([COUNTER32, GAUGE32, TIME_TICKS]), st.integers(0, 2**32 - 1)),
    st.tuples(st.just(COUNTER64), st.integers(0, 2**64 - 1)),
    st.tuples(st.just(OCTET_STRING), st.binary(max_size=OCTETS_MOST)),
    st.tuples(st.sampled_from([IP_ADDRESS, OPAQUE]), st.binary(max_size=12)),
)
OTHERS: tuple[st.SearchStrategy[Value], ...] = (
    st.tuples(st.just(OCTET_STRING), st.binary(min_size=OCTETS_MOST + 1, max_size=300)),
    st.tuples(st.just(OBJECT_IDENTIFIER), st.just(COLUMNS[1])),
    st.just((END_OF_MIB_VIEW, b"")),
)
ROWS = st.lists(st.tuples(INDEXES, st.tuples(*[st.one_of(*PLAIN, *PLAIN, *OTHERS)] * len(COLUMNS))), max_size=4)
FILLING = [(suffix((n,)), ((INTEGER, n), (COUNTER64, 2**40 + n), (OCTET_STRING, b"ge-0/0/1"))) for n in range(1, 25)]


def encoded(rows: list[tuple[bytes, tuple[Value, ...]]]) -> bytes:
    return b"".join(
        ber.varbind_element(Oid(column + index), value)
        for index, cells in rows
        for column, value in zip(COLUMNS, cells, strict=True)
    )


def in_order(rows: BulkRows) -> list[Varbind]:
    return [
        (Oid(column + index), found[number])
        for number, index in enumerate(rows.indexes)
        for column, found in zip(COLUMNS, rows.columns, strict=True)
    ]


def by_rows(data: bytes) -> list[Varbind] | None:
    """Return all varbinds; None: they are malformed."""
    try:
        rows, behind = rows_untrusted(b"\xff" + data + b"\xff", 1, 1 + len(data), COLUMNS)
        return in_order(rows) + ber.varbinds_untrusted(b"\xff" + data + b"\xff", behind, 1 + len(data))
    except MalformedSnmpError:
        return None


def one_by_one(data: bytes) -> list[Varbind] | None:
    try:
        return ber.varbinds_untrusted(data, 0, len(data))
    except MalformedSnmpError:
        return None


@given(ROWS, ROWS, st.integers(0, 40))
def test_rows_are_what_their_varbinds_are(before, behind, cut):
    data = encoded([*before, *FILLING, *behind])
    assert by_rows(data) == one_by_one(data) is not None
    shorter = data[: len(data) - cut]
    assert by_rows(shorter) == one_by_one(shorter)


@given(st.data())
def test_changed_octets_read_alike(data):
    whole = bytearray(encoded(FILLING[:1] + data.draw(ROWS) + FILLING))
    for at in data.draw(st.lists(st.integers(0, len(whole) - 1), min_size=1, max_size=3)):
        whole[at] = data.draw(
            st.one_of(st.integers(0, 255), st.integers(max(0, whole[at] - 2), min(255, whole[at] + 2)))
        )
    assert by_rows(bytes(whole)) == one_by_one(bytes(whole))


def test_plain_rows_are_read_whole():
    rows = [(suffix((n,)), (value, value, value)) for n, value in enumerate(_each_plain_value(), 100)]
    data = encoded(rows)
    found, behind = rows_untrusted(data, 0, len(data), COLUMNS)
    assert behind == len(data)
    assert [*found.indexes] == [index for index, _ in rows]
    assert {len(index) for index in found.indexes} == {1, 2}
    assert in_order(found) == one_by_one(data)


def _each_plain_value() -> list[Value]:
    numbers = [(INTEGER, n) for n in (0, 127, -1, -129, 2**31 - 1)]
    more: list[Value] = [(tag, n) for tag in (COUNTER32, GAUGE32, TIME_TICKS) for n in (0, 2**16, 2**32 - 1)]
    counters = [(COUNTER64, 256**n - 1) for n in range(9)]
    texts = [(OCTET_STRING, b"\n" * size) for size in range(OCTETS_MOST + 1)]
    return [*numbers, *more, *counters, *texts, (IP_ADDRESS, b"\xc0\0\2\1"), (OPAQUE, b"\x9f\x78\4abcd")]


@pytest.mark.parametrize(
    ("index", "cell"),
    [
        (suffix((5,)), (OCTET_STRING, b"x" * (OCTETS_MOST + 1))),
        (suffix((5,)), (OBJECT_IDENTIFIER, COLUMNS[0])),
        (suffix((5,)), (END_OF_MIB_VIEW, b"")),
        (b"\1" * (INDEX_OCTETS_MOST + 1), (INTEGER, 1)),
        (b"", (INTEGER, 1)),
    ],
)
def test_rows_end_before_one_that_is_not_plain(index, cell):
    plain, odd = encoded(FILLING), encoded([(index, ((INTEGER, 1), cell, (INTEGER, 1)))])
    data = plain + odd + plain
    found, behind = rows_untrusted(data, 0, len(data), COLUMNS)
    assert len(found.indexes) == len(FILLING)
    assert behind == len(plain)
    assert by_rows(data) == one_by_one(data)


def test_a_row_has_one_index():
    data = encoded(FILLING)
    first = len(ber.varbind_element(Oid(COLUMNS[0] + b"\1"), FILLING[0][1][0]))
    assert rows_untrusted(data[first:], 0, len(data) - first, COLUMNS)[0].indexes == ()
    swapped = encoded(FILLING[:3]) + data[:first] + data[first:].replace(COLUMNS[1] + b"\1", COLUMNS[1] + b"\2", 1)
    assert len(rows_untrusted(swapped, 0, len(swapped), COLUMNS)[0].indexes) == 3


def test_an_index_that_is_none_is_malformed():
    data = encoded([*FILLING, (b"\x80", FILLING[0][1])])
    with pytest.raises(MalformedSnmpError, match="expected an object identifier"):
        rows_untrusted(data, 0, len(data), COLUMNS)


def test_rows_of_a_short_answer_or_of_one_column():
    data = encoded(FILLING)
    assert len(data) > WORTH_OCTETS > len(encoded(FILLING[:3]))
    assert rows_untrusted(data, 0, len(encoded(FILLING[:3])), COLUMNS)[1] == 0
    assert rows_untrusted(data, 0, len(data), COLUMNS[:1])[1] == 0
    assert rows_untrusted(data, 0, len(data), ())[1] == 0
