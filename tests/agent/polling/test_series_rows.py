"""Rows of the series file: packing, and buckets of buckets."""

from __future__ import annotations

import math
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.polling.series_rows import NAN, WIDTH, Bucket, Gathered, decimal, merged, one_of, packed, unpacked
from tests.builders.expect import present

FLOATS = st.floats(width=32, allow_infinity=False, allow_nan=True)


def same(a: array[float], b: array[float]) -> bool:
    return a.tobytes() == b.tobytes()


@given(st.lists(FLOATS, max_size=WIDTH), st.integers(1, 5))
def test_a_row_comes_back(values: list[float], count: int) -> None:
    means = array("f", values)
    row = Bucket(count, means, means[::-1], means)
    if count == 1:
        row = Bucket(1, means, means, means)
    back = unpacked(count, packed(row))
    assert back.count == count
    assert same(back.means, row.means)
    assert same(back.lows, row.lows)
    assert same(back.highs, row.highs)


@given(st.binary(max_size=200), st.integers(1, 3))
def test_bytes_that_are_no_row(data: bytes, count: int) -> None:
    with pytest.raises(ValueError, match="expected a row"):
        unpacked(count, data)


def test_means_weigh_by_readings() -> None:
    one = array("f", [10.0, NAN])
    many = Bucket(3, array("f", [20.0, 5.0, 7.0]), array("f", [15.0, 5.0, 7.0]), array("f", [30.0, 5.0, 7.0]))
    found = merged([Bucket(1, one, one, one), many])
    assert (found.count, list(found.means)) == (4, [17.5, 5.0, 7.0])
    assert one_of(found, 0) == (10.0, 17.5, 30.0)
    assert one_of(found, 3) is None
    nothing = array("f", [NAN])
    assert one_of(merged([Bucket(1, nothing, nothing, nothing)]), 0) is None


@given(st.lists(st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=6), min_size=1, max_size=4))
def test_gathering_is_the_arithmetic_of_lists(series: list[list[float]]) -> None:
    gathered = Gathered()
    gathered.grow(len(series))
    for slot, values in enumerate(series):
        for value in values:
            assert not gathered.add({"a": slot}, {"a": value})
    bucket = present(gathered.block(0))
    for slot, values in enumerate(series):
        found = present(one_of(bucket, slot))
        assert found[1] == pytest.approx(sum(values) / len(values), rel=1e-5, abs=1e-3)
        if bucket.count > 1:
            assert (found[0], found[2]) == (decimal(min(values)), decimal(max(values)))
        assert gathered.newest[slot] == values[-1]
    gathered.end()
    assert gathered.block(0) is None
    assert gathered.block(1) is None
    assert not any(math.isnan(value) for value in gathered.newest)
