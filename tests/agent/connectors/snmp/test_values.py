"""Object identifiers: text, bytes, order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.connectors.snmp.errors import NoOidError
from agent.connectors.snmp.values import PART_MAX, dotted, index, of_parts, oid, order, suffix

PART = st.integers(0, PART_MAX)
OIDS = st.one_of(
    st.tuples(st.integers(0, 1), st.integers(0, 39)), st.tuples(st.just(2), st.integers(0, PART_MAX))
).flatmap(lambda head: st.lists(PART, max_size=20).map(lambda tail: (*head, *tail)))


@pytest.mark.parametrize(
    ("text", "octets"),
    [
        ("1.3.6.1.2.1", "2b06010201"),
        (".1.3.6.1.4.1.41112", "2b0601040182c118"),
        ("2.999.3", "883703"),  # X.690, section 8.19.5
        ("0.0", "00"),
        ("1.3.4294967295", "2b8fffffff7f"),
    ],
)
def test_text_and_octets(text, octets):
    assert oid(text).hex() == octets
    assert dotted(oid(text)) == text.removeprefix(".")


@pytest.mark.parametrize(
    "text", ["", "1", "1.", "1..3", "3.1", "1.40", "1.3.-1", "1.3.4294967296", "iso.3", "1.3.٣", "1.3." + "1." * 127]
)
def test_no_oid(text):
    with pytest.raises(NoOidError, match=r"expected an OID such as 1.3.6.1.2.1.1.5.0, got "):
        oid(text)


@given(OIDS)
def test_parts_survive(parts):
    assert tuple(map(int, dotted(of_parts(parts)).split("."))) == parts


@given(OIDS, st.lists(PART, max_size=5).map(tuple))
def test_a_suffix_is_what_parts_add(parts, more):
    assert of_parts(parts) + suffix(more) == of_parts((*parts, *more))
    assert index(suffix(more)) == more


@given(OIDS, OIDS)
def test_order_is_that_of_the_numbers(one, other):
    first, second = of_parts(one), of_parts(other)
    if one[0] == other[0] == 1:
        assert (order(first) < order(second)) == (one < other)
