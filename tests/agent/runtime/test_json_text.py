"""Strict JSON: totality, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.runtime import json_text
from agent.runtime.errors import MalformedJsonError

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@given(VALUES)
def test_round_trip(value: object) -> None:
    assert json_text.decode_untrusted(json_text.encode(value)) == value


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b'{"a":1,"a":2}', "'a' stands twice"),
        (b"NaN", "NaN is no JSON number"),
        (b"[-Infinity]", "-Infinity is no JSON number"),
        (b"1e999", "out of range"),
        (b"[" * 100_000, "deep"),
        (b"[" * 33 + b"]" * 33, "nested deeper than 32"),
        (b'"\\ud800"', "surrogates"),
        (b'{"\\ud800":1}', "surrogates"),
        (b"\xff", "utf-8"),
        (b"\xef\xbb\xbf{}", "BOM"),
        (b"1" * 5000, "integer string conversion"),
        (b"", "Expecting value"),
        (b"{} {}", "Extra data"),
    ],
)
def test_refused(data: bytes, says: str) -> None:
    with pytest.raises(MalformedJsonError, match=says):
        json_text.decode_untrusted(data)


@given(st.binary(max_size=40))
def test_total(data: bytes) -> None:
    try:
        json_text.decode_untrusted(data)
    except MalformedJsonError:
        pass


@pytest.mark.parametrize("n", [0, 1, json_text.MANY, json_text.MANY + 1, 3 * json_text.MANY])
async def test_in_slices_it_is_the_same_text(n: int) -> None:
    rows = [{"n": k, "name": f"é{k}"} for k in range(n)]
    for value in (rows, {}, {"id": "K7QF", "rows": rows, "none": [], "of": {"rows": rows}}, "text", None):
        assert await json_text.encode_in_slices(value) == json_text.encode(value)


async def test_a_long_text_in_slices_is_the_same_text() -> None:
    value = {"file": 'é\n"' * (json_text.LONG // 3 + 1)}
    assert await json_text.encode_in_slices(value) == json_text.encode(value)
