"""Words and the values that RouterOS makes of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.router.script import literals


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("007", "7"), ("-1", "-1"), ("0xff", "255"), ("123456789012345678901", "9223372036854775807"), ("yes", "true"),
        ("false", "false"), ("1s", "00:00:01"), ("90m", "01:30:00"), ("10ms", "00:00:00.010"), ("1w", "1w00:00:00"),
        ("1d2h", "1d02:00:00"), ("8d", "1w1d00:00:00"), ("00:05:00", "00:05:00"), ("1us", "00:00:00.000001"),
        ("1.1", "1.0.0.1"), ("1.2.3.4", "1.2.3.4"), ("1.2.3.256", "1.2.3.256"), ("1.0.0.0/8", "1.0.0.0/8"),
        ("1::1/69", "1::/69"), ("::ffff:0.0.0.0/96", "::ffff:0.0.0.0/96"), ("json.pretty", "json.pretty"), ("", ""),
        ("s", "s"), (":", ":"), ("-", "-"),
    ],
)  # fmt: skip
def test_folded(word, value):
    assert literals.folded(word) == value


def test_a_number_where_a_time_is_expected_is_seconds():
    assert literals.seconds("3") == "00:00:03"
    assert literals.seconds("0.5") == "00:00:00.500"
    assert literals.seconds("3s") is None


@given(st.text(st.sampled_from("0123456789.:/wdhmsun-xaf"), max_size=30))
def test_total_and_settled(word):
    value = literals.folded(word)
    assert literals.folded(value) == value
