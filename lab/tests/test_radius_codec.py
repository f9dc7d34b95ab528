"""The lab's own codec: the RFC's examples, truncation, round trip, any bytes."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab import dictionary, radius_codec
from lab.errors import AttributeValueError, MalformedPacketError, UnknownAttributeError
from lab.radius_codec import Attribute, Code, Packet, attribute

SECRET = b"xyzzy5461"

# RFC 2865 section 7.1: nemo, password "arctangent", telnet to 192.168.1.3
NEMO = bytes.fromhex(
    "010000380f403f9473978057bd83d5cb98f4227a01066e656d6f02120dbe708d93d413ce3196e43f782a0aee0406c0a80110050600000003"
)
NEMO_ACCEPT = bytes.fromhex("0200002686fe220e7624ba2a1005f6bf9b55e0b20606000000010f06000000000e06c0a80103")
# RFC 2865 section 7.2: flopsy, by CHAP
FLOPSY = bytes.fromhex(
    "010100472aee86f08d0d55969ca5978e0d3367a20108666c6f7073790313"
    "16e97557c316185895f293ff634407727504"
    "06c0a80110050600000014060600000002070600000001"
)
FLOPSY_ACCEPT = bytes.fromhex(
    "0201003815efbc7dab26cfa3dc34d9c03c8601a40606000000020706000000010806fffffffe0a06000000020d06000000010c06000005dc"
)


def test_the_rfc_example_of_a_password_reads_and_writes():
    packet = radius_codec.decode_untrusted(NEMO)
    assert (packet.code, packet.id, packet.text("User-Name")) == (1, 0, "nemo")
    assert (packet.text("NAS-IP-Address"), packet.text("NAS-Port")) == ("192.168.1.16", "3")
    hidden = packet.data("User-Password")
    assert radius_codec.reveal_password_untrusted(hidden, SECRET, packet.authenticator) == b"arctangent"
    assert radius_codec.hide_password(b"arctangent", SECRET, packet.authenticator) == hidden
    assert radius_codec.encode(packet) == NEMO


def test_rfc_example_of_accept_is_authentic_and_reproduced():
    request, accept = radius_codec.decode_untrusted(NEMO), radius_codec.decode_untrusted(NEMO_ACCEPT)
    assert radius_codec.reply_is_authentic(accept, request, SECRET)
    assert not radius_codec.reply_is_authentic(accept, request, b"xyzzy5462")
    attributes = [
        attribute("Service-Type", "Login-User"),
        attribute("Login-Service", 0),
        attribute("Login-IP-Host", "192.168.1.3"),
    ]
    assert radius_codec.encode_reply(2, request, attributes, SECRET) == NEMO_ACCEPT


def test_the_rfc_example_of_chap():
    request, accept = radius_codec.decode_untrusted(FLOPSY), radius_codec.decode_untrusted(FLOPSY_ACCEPT)
    assert (request.text("Service-Type"), request.text("Framed-Protocol")) == ("Framed-User", "PPP")
    assert radius_codec.reply_is_authentic(accept, request, SECRET)
    assert accept.text("Framed-IP-Address") == "255.255.255.254"
    assert accept.text("Framed-Compression") == "Van-Jacobson-TCP-IP"


def test_chap_is_md5_of_identifier_password_challenge():
    # RFC 1994 section 4.1; the digest computed with openssl: printf '\x16secretchallenge' | openssl md5
    assert radius_codec.chap_password(0x16, b"secret", b"challenge").hex() == "164b95382f3ceb8e87696c2f4749bcb482"


@pytest.mark.parametrize("code", [Code.ACCOUNTING_REQUEST, Code.DISCONNECT_REQUEST, Code.COA_REQUEST])
@pytest.mark.parametrize("with_ma", [False, True])
def test_keyed_requests_are_authentic_under_their_secret_only(code, with_ma):
    wire = radius_codec.encode_request(code, 7, [attribute("User-Name", "a")], SECRET, message_authenticator=with_ma)
    packet = radius_codec.decode_untrusted(wire)
    assert radius_codec.request_is_authentic(packet, SECRET)
    assert not radius_codec.request_is_authentic(packet, b"another")
    assert radius_codec.message_authenticator_fits(packet, SECRET) is (True if with_ma else None)
    assert radius_codec.message_authenticator_fits(packet, b"another") is (False if with_ma else None)
    if with_ma:
        assert packet.attributes[0].name == "Message-Authenticator"


def test_the_authenticator_covers_every_octet():
    wire = radius_codec.encode_request(
        Code.COA_REQUEST, 7, [attribute("User-Name", "alice"), attribute("Mikrotik-Rate-Limit", "1M/1M")], SECRET
    )
    for i in range(len(wire)):
        changed = wire[:i] + bytes((wire[i] ^ 1,)) + wire[i + 1 :]
        with contextlib.suppress(MalformedPacketError):
            assert not radius_codec.request_is_authentic(radius_codec.decode_untrusted(changed), SECRET)


def test_two_message_authenticators_or_a_short_one_are_wrong():
    for attributes in ([Attribute(0, 80, bytes(16))] * 2, [Attribute(0, 80, bytes(15))]):
        packet = radius_codec.decode_untrusted(radius_codec.encode(Packet(1, 1, bytes(16), tuple(attributes))))
        assert radius_codec.message_authenticator_fits(packet, SECRET) is False


def test_every_truncation_is_refused_and_padding_is_ignored():
    for end in range(len(NEMO)):
        with pytest.raises(MalformedPacketError):
            radius_codec.decode_untrusted(NEMO[:end])
    padded = radius_codec.decode_untrusted(NEMO + b"padding")
    assert padded == radius_codec.decode_untrusted(NEMO)
    assert padded.wire == NEMO


@pytest.mark.parametrize("body", [b"\x01", b"\x01\x01", b"\x01\x00abc", b"\x01\x09abc"])
def test_an_attribute_that_overruns_is_refused(body):
    with pytest.raises(MalformedPacketError, match="attribute"):
        radius_codec.decode_untrusted(b"\x01\x01" + (20 + len(body)).to_bytes(2, "big") + bytes(16) + body)


def test_vendor_attributes_in_one_or_several_type_26():
    two = bytes.fromhex("00003a8c") + b"\x08\x05a/b" + b"\x13\x03x"
    wire = b"\x01\x01" + (22 + len(two)).to_bytes(2, "big") + bytes(16) + bytes((26, len(two) + 2)) + two
    packet = radius_codec.decode_untrusted(wire)
    assert [(a.name, a.text()) for a in packet.attributes] == [
        ("Mikrotik-Rate-Limit", "a/b"),
        ("Mikrotik-Address-List", "x"),
    ]
    odd = radius_codec.decode_untrusted(b"\x01\x01\x00\x1b" + bytes(16) + b"\x1a\x07\x00\x00\x3a\x8c\x08")
    assert odd.attributes == (Attribute(0, 26, b"\x00\x00\x3a\x8c\x08"),)


@pytest.mark.parametrize(
    ("name", "text", "octets"),
    [
        ("Framed-IPv6-Prefix", "2001:db8:1::/64", "00402001 0db8 0001 0000"),
        ("Delegated-IPv6-Prefix", "2001:db8:4200:100::/56", "0038 2001 0db8 4200 01"),
        ("Acct-Status-Type", "Interim-Update", "00000003"),
        ("Error-Cause", "Session-Context-Not-Found", "000001f7"),
        ("Event-Timestamp", "1795567894", "6b063116"),
        ("Class", "0x6169", "6169"),
        ("Framed-Interface-Id", "0:0:0:1", "0000000000000001"),
    ],
)
def test_values_by_hand(name, text, octets):
    made = attribute(name, text)
    assert made.data == bytes.fromhex(octets)
    assert made.text() == text


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("NAS-IP-Address", "300.1.1.1"),
        ("NAS-Port", "-1"),
        ("NAS-Port", "4294967296"),
        ("NAS-Port", "٣"),
        ("Framed-IPv6-Prefix", "2001:db8::/129"),
        ("Framed-Interface-Id", "x"),
        ("Class", "0xzz"),
        ("User-Name", "é" * 127),
        ("Mikrotik-Group", "a" * 248),
        ("Fall-Through", "Yes"),
    ],
)
def test_values_that_do_not_fit_are_refused(name, text):
    with pytest.raises(AttributeValueError):
        attribute(name, text)


def test_unknown_names_and_long_things_are_refused():
    with pytest.raises(UnknownAttributeError):
        attribute("No-Such", "x")
    with pytest.raises(AttributeValueError):
        radius_codec.encode(Packet(1, 1, bytes(16), tuple([attribute("Filter-Id", "f" * 253)] * 17)))
    for bad in (Attribute(0, 1, bytes(254)), Attribute(14988, 1, bytes(248))):
        with pytest.raises(AttributeValueError):
            radius_codec.encode(Packet(1, 1, bytes(16), (bad,)))
    with pytest.raises(AttributeValueError):
        radius_codec.hide_password(bytes(129), SECRET, bytes(16))
    for hidden in (b"", bytes(15), bytes(144)):
        with pytest.raises(MalformedPacketError):
            radius_codec.reveal_password_untrusted(hidden, SECRET, bytes(16))


_attributes = st.one_of(
    st.builds(Attribute, st.just(0), st.integers(0, 255).filter(lambda c: c != 26), st.binary(max_size=253)),
    st.builds(Attribute, st.integers(1, 2**32 - 1), st.integers(0, 255), st.binary(max_size=247)),
)


@given(
    st.integers(0, 255), st.integers(0, 255), st.binary(min_size=16, max_size=16), st.lists(_attributes, max_size=12)
)
def test_round_trip(code, ident, authenticator, attributes):
    packet = Packet(code, ident, authenticator, tuple(attributes))
    assert radius_codec.decode_untrusted(radius_codec.encode(packet)) == packet


@given(
    st.binary(max_size=128).filter(lambda p: not p.endswith(b"\0")),
    st.binary(min_size=1),
    st.binary(min_size=16, max_size=16),
)
def test_password_round_trip(password, secret, authenticator):
    hidden = radius_codec.hide_password(password, secret, authenticator)
    assert len(hidden) % 16 == 0
    assert radius_codec.reveal_password_untrusted(hidden, secret, authenticator) == password


def _touch(packet: Packet) -> None:
    radius_codec.request_is_authentic(packet, SECRET)
    radius_codec.message_authenticator_fits(packet, SECRET)
    radius_codec.reply_is_authentic(packet, packet, SECRET)
    for a in packet.attributes:
        with contextlib.suppress(AttributeValueError):
            a.text()


@given(st.binary(max_size=200))
def test_total_on_any_bytes(datagram):
    with contextlib.suppress(MalformedPacketError):
        _touch(radius_codec.decode_untrusted(datagram))


@given(st.binary(max_size=120))
def test_total_on_any_attributes(body):
    with contextlib.suppress(MalformedPacketError):
        _touch(radius_codec.decode_untrusted(b"\x28\x01" + (20 + len(body)).to_bytes(2, "big") + bytes(16) + body))


@given(st.sampled_from(dictionary.DEFINITIONS), st.text(max_size=40))
def test_values_are_total_and_stable(definition, text):
    with contextlib.suppress(AttributeValueError):
        data = dictionary.pack(definition, text)
        assert dictionary.pack(definition, dictionary.unpack(definition, data)) == data
