"""BER: round trips, the standard's forms, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.connectors.snmp import ber
from agent.connectors.snmp.errors import MalformedSnmpError
from agent.connectors.snmp.values import (
    COUNTER32,
    COUNTER64,
    INTEGER,
    NULL,
    OBJECT_IDENTIFIER,
    OCTET_STRING,
    of_parts,
    oid,
)

PART = st.one_of(st.integers(0, 300), st.integers(0, 2**32 - 1))
NAMES = st.tuples(st.integers(0, 1), st.integers(0, 39), PART, PART).flatmap(
    lambda head: st.lists(PART, max_size=30).map(lambda tail: of_parts((*head, *tail)))
)
VALUES = st.one_of(
    st.tuples(st.just(INTEGER), st.integers(-(2**31), 2**31 - 1)),
    st.tuples(st.just(COUNTER32), st.integers(0, 2**32 - 1)),
    st.tuples(st.just(COUNTER64), st.integers(0, 2**64 - 1)),
    st.tuples(st.just(OCTET_STRING), st.binary(max_size=300)),
    st.tuples(st.just(OBJECT_IDENTIFIER), NAMES),
    st.tuples(st.sampled_from([NULL, 0x80, 0x81, 0x82]), st.just(b"")),
)


def bind(name: str, value: str) -> bytes:
    """Return a varbind from the octets of its elements, in hexadecimal."""
    content = bytes.fromhex(name + value)
    return ber.element(ber.SEQUENCE, content)


def decoded(data: bytes) -> list[ber.Varbind]:
    return ber.varbinds_untrusted(data, 0, len(data))


@given(st.lists(st.tuples(NAMES, VALUES), max_size=20))
def test_varbinds_survive(varbinds):
    data = b"".join(ber.varbind_element(name, value) for name, value in varbinds)
    assert decoded(data) == varbinds
    assert ber.varbinds_untrusted(b"\xff" + data + b"\xff", 1, 1 + len(data)) == varbinds


@given(st.lists(st.tuples(NAMES, VALUES), min_size=1, max_size=4), st.data())
def test_a_cut_is_no_varbind(varbinds, data):
    whole = b"".join(ber.varbind_element(name, value) for name, value in varbinds)
    edges, at = {0}, 0
    for name, value in varbinds:
        at += len(ber.varbind_element(name, value))
        edges.add(at)
    cut = data.draw(st.integers(0, len(whole)).filter(lambda at: at not in edges))
    with pytest.raises(MalformedSnmpError):
        decoded(whole[:cut])
    with pytest.raises(MalformedSnmpError):
        ber.varbinds_untrusted(whole, 0, cut)


@pytest.mark.parametrize(
    ("octets", "value"),
    [
        ("020100", 0),
        ("02017f", 127),
        ("02020080", 128),
        ("020180", -128),
        ("0202ff7f", -129),
        ("02047fffffff", 2**31 - 1),
        ("020480000000", -(2**31)),
    ],
)
def test_integers(octets, value):
    assert ber.integer(value).hex() == octets
    assert ber.integer_untrusted(bytes.fromhex(octets), 0, len(octets) // 2) == (value, len(octets) // 2)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("06022b06", "0200", (2, 0)),  # an INTEGER without octets
        ("06022b06", "4104fffffffe", (0x41, 2**32 - 2)),  # a Counter32 without the leading zero
        ("06022b06", "410500fffffffe", (0x41, 2**32 - 2)),
        ("06022b06", "0600", (6, b"\0")),  # an empty OID is 0.0
        ("0682000 22b06".replace(" ", ""), "04820001 41".replace(" ", ""), (4, b"A")),  # lengths longer than needed
        ("06022b06", "0403c328ff", (4, b"\xc3\x28\xff")),
        ("06022b06", "8000", (0x80, b"")),
        ("06022b06", "44079f7804418e6666", (0x44, bytes.fromhex("9f7804418e6666"))),
    ],
)
def test_what_devices_send(name, value, expected):
    assert decoded(bind(name, value)) == [(oid("1.3.6"), expected)]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (bind("0600", "0500"), "expected an object identifier, got "),
        (bind("06022b80", "0500"), "expected an object identifier, got 2b80"),
        (bind("06032b8001", "0500"), "expected an object identifier"),  # a sub-identifier with a leading zero
        (bind("06062b9080808000", "0500"), "expected an object identifier"),  # 2**32
        (bind("0681812b0600", "0500"), "expected 129 octets from octet 5, got 5"),
        (bind("06818c" + "01" * 140, "0500"), "at most 128 sub-identifiers"),
        (bind("06022b06", "020a" + "01" * 10), "at most 9 octets, got 10"),
        (bind("06022b06", "0480"), "expected a length of 1 to 4 octets"),
        (bind("06022b06", "0485" + "00" * 5), "expected a length of 1 to 4 octets"),
        (bind("06022b06", "0484ffffffff"), "expected 4294967295 octets"),
        (bind("04022b06", "0500"), "expected tag 0x06"),
        (b"\x31\x06\x06\x02\x2b\x06\x05\x00", "expected tag 0x30"),
        (b"\x30", "expected an element at octet 0, got the end at 1"),
    ],
)
def test_what_is_malformed(data, why):
    with pytest.raises(MalformedSnmpError, match=why):
        decoded(data)
