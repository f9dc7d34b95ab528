"""Any bytes are met with an answer or silence; OIDs sort as OIDs do, whatever their encoding."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.snmp import ber, usm, v3, values
from lab.snmp.agent import Agent
from lab.snmp.errors import MalformedSnmpError, SnmpValueError
from lab.snmp.messages import Kind, Version, encode_pdu
from lab.snmp.mib import Mib
from lab.snmp.notifications import discovery
from lab.snmp.usm import USERS, User
from lab.snmp.v3 import AUTH, PRIV, REPORTABLE, Envelope
from lab.tests.snmp.devices import IF, SYS, TestClock, request, switch

CLOCK = TestClock()
DEVICE = switch(clock=CLOCK)
AGENT = Agent([DEVICE], USERS, CLOCK)
BULK = request(Kind.GET_BULK, f"{SYS}.5", f"{IF}.8", first=1, second=10)


def sealed(flags: int = AUTH | PRIV | REPORTABLE) -> bytes:
    engine = DEVICE.engine
    envelope = Envelope(1, flags, engine.engine_id, engine.boots, engine.time(CLOCK()), USERS[0])
    return v3.seal(envelope, engine.engine_id, "", encode_pdu(Kind.GET, 5, 0, 0, []))


GOOD = (BULK, sealed(), discovery(3))


def test_the_good_ones_are_answered():
    assert all(AGENT.receive(datagram) for datagram in GOOD)


@given(st.binary(max_size=200))
def test_any_bytes(data):
    AGENT.receive(data)


@given(st.sampled_from(GOOD), st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=4))
def test_a_message_with_wrong_octets(good, changes):
    damaged = bytearray(good)
    for at, octet in changes:
        damaged[at % len(good)] = octet
    AGENT.receive(bytes(damaged))


@given(st.sampled_from(GOOD), st.data())
def test_a_message_that_is_cut_is_met_with_silence(good, data):
    assert AGENT.receive(good[: data.draw(st.integers(0, len(good) - 1))]) is None


OIDS = st.builds(
    lambda first, rest: (first, *rest),
    st.integers(0, 2),
    st.lists(st.integers(0, 39) | st.integers(0, 2**32 - 1), min_size=1, max_size=12),
).filter(lambda parts: parts[0] == 2 or parts[1] < 40)


@given(st.lists(OIDS, min_size=1, max_size=20, unique=True))
def test_a_walk_is_in_the_order_of_oids(oids):
    texts = [".".join(map(str, parts)) for parts in oids]
    mib = Mib({ber.oid(text): values.string(text) for text in texts})
    for text in texts:
        assert ber.dotted(ber.oid(text)) == text
    want = [".".join(map(str, parts)) for parts in sorted(oids)]
    seen, at = [], ber.oid("0.0")
    if "0.0" in texts:
        seen.append("0.0")
    while (bind := mib.next_bind(at, 0.0)) is not None:
        start, stop = ber.expect_untrusted(bind, 0, len(bind), ber.SEQUENCE)
        name, end = ber.expect_untrusted(bind, start, stop, ber.OID)
        at = bind[name:end]
        seen.append(ber.dotted(at))
    assert seen == want


@pytest.mark.parametrize("encoded", [b"", b"\x81", b"\x2b\x90\x80\x80\x80\x00", b"\x2b" * 200])
def test_octets_that_are_no_oid(encoded):
    with pytest.raises(MalformedSnmpError):
        ber.key_untrusted(encoded)


@pytest.mark.parametrize("text", ["", "1", "3.1", "1.40", "1.3.x", "1.3.4294967296", "1." * 130 + "1", "1.-3"])
def test_a_text_that_is_no_oid(text):
    with pytest.raises(SnmpValueError, match="OID"):
        ber.oid(text)


@pytest.mark.parametrize(
    "make",
    [
        lambda: values.integer(2**31),
        lambda: values.counter32(-1),
        lambda: values.number(4, 1),
        lambda: values.mac("02:00:00"),
        lambda: values.mac("zz:00:00:00:00:00"),
        lambda: values.ip("1.2.3"),
        lambda: values.string("x").number(),
        lambda: User("x", "MD6", "password"),
        lambda: User("x", "MD5", "password", "ROT-13", "password"),
    ],
)
def test_a_value_that_cannot_be(make):
    with pytest.raises(SnmpValueError, match="expected"):
        make()


def test_a_key_is_as_the_rfc_says():
    # RFC 3414 appendix A.3.1 and A.3.2
    engine = bytes.fromhex("000000000000000000000002")
    assert usm._key("md5", "maplesyrup", engine).hex() == "526f5eed9fcce26f8964c2930787d82b"
    assert usm._key("sha1", "maplesyrup", engine).hex() == "6695febc9288e36282235fc7151f128497b38f3f"


def test_a_message_of_v3_is_of_one_user_and_engine():
    engine = DEVICE.engine
    read = v3.read_untrusted(sealed())
    assert usm.proves(USERS[0], engine.engine_id, read.datagram, *read.digest_at)
    assert not usm.proves(USERS[2], engine.engine_id, read.datagram, *read.digest_at)
    assert v3.open_untrusted(read, USERS[0]).pdu.request_id == 5
    with pytest.raises(MalformedSnmpError):
        v3.open_untrusted(read, USERS[1])
    with pytest.raises(MalformedSnmpError):
        v3.read_untrusted(BULK)
    assert Version.V3 == 3
