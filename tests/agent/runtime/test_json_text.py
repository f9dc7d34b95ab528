"""Strict JSON: totality, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.runtime import json_text
from agent.runtime.errors import MalformedJsonError
from tests.builders.expect import expect

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
        (b'["]]","",' * 33 + b"1" + b"]" * 33, "nested deeper than 32"),
        (b'{"}\\"}":' * 33 + b"1" + b"}" * 33, "nested deeper than 32"),
        (b'"\\ud800"', "surrogates"),
        (b'{"\\ud800":1}', "surrogates"),
        (b"\xff", "utf-8"),
        (b"\xef\xbb\xbf{}", "BOM"),
        (b"1" * 5000, "integer string conversion"),
        (b"", "Expecting value"),
        (b"{} {}", "Extra data"),
    ],
)
@pytest.mark.parametrize("decode", [json_text.decode_untrusted, json_text.decode_exact_untrusted])
def test_refused(data: bytes, says: str, decode: Callable[[bytes], object]) -> None:
    with pytest.raises(MalformedJsonError, match=says):
        decode(data)


@given(st.binary(max_size=40) | st.text('[]{}"\\,:1', max_size=40).map(str.encode))
def test_total(data: bytes) -> None:
    found = []
    for decode in (json_text.decode_untrusted, json_text.decode_exact_untrusted):
        try:
            found.append(str(decode(data)))
        except MalformedJsonError:
            found.append("refused")
    assert found[0] == found[1] or Decimal(found[0]) == Decimal(found[1])


@given(VALUES)
def test_both_read_the_same(value: object) -> None:
    data = json_text.encode([value, "]}\\", '\\"[{'])
    assert repr(json_text.decode_exact_untrusted(data)).count("[") >= 1
    assert json_text.decode_exact_untrusted(data) == json.loads(data, parse_float=Decimal)


@pytest.mark.parametrize(
    ("text", "number"),
    [(b"12.10", "12.10"), (b"-0.1", "-0.1"), (b"1.5e3", "1.5E+3"), (b"0." + b"1" * 40, "0." + "1" * 40)],
)
def test_amounts_are_exact(text: bytes, number: str) -> None:
    found = expect(Decimal, json_text.decode_exact_untrusted(text))
    assert str(found) == number


@pytest.mark.parametrize("text", [b"1.5e999", b"1e-99999999999999999999", b"0." + b"1" * 60, b"1." + b"0" * 70])
def test_numbers_that_are_not_amounts(text: bytes) -> None:
    try:
        json_text.decode_exact_untrusted(text)
    except MalformedJsonError:
        return
    assert len(text) <= json_text.EXACT_DIGITS


def test_brackets_in_texts_are_no_depth() -> None:
    assert json_text.decode_exact_untrusted(json_text.encode(["[" * 99, '"{' * 99, "\\" * 7 + "["])) == [
        "[" * 99,
        '"{' * 99,
        "\\" * 7 + "[",
    ]


def test_bytes_of_a_device_that_are_no_utf8_are_shown() -> None:
    text = json.dumps({"comment": b"\xe4\xee\xec 5".decode("utf-8", "surrogateescape")}, ensure_ascii=False)
    assert json_text.decode_untrusted(json_text.as_utf8(text)) == {"comment": r"\xe4\xee\xec 5"}
    assert json_text.as_utf8('{"comment":"дом"}') == '{"comment":"дом"}'.encode()
