"""Requests as FreeRADIUS' vectors have them; replies verified, bounded and total on any bytes."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pyrad.packet import CoAPacket

from agent.connectors.radius.codec import (
    Encoded,
    PacketKind,
    decode_reply_untrusted,
    encode_request,
    identifier_untrusted,
)
from agent.connectors.radius.dictionary import IDENTIFICATION, load
from agent.connectors.radius.errors import MalformedReplyError, NotAuthenticReplyError, UnencodableRequestError
from tests.agent.connectors.radius.fakes import (
    SECRET,
    attribute,
    attributes_of,
    authentic_request,
    error_cause,
    reply,
)

SAMPLES = {
    "NAS-IP-Address": "10.0.0.1",
    "NAS-Port": "2147483649",
    "Framed-IP-Address": "100.64.12.9",
    "Acct-Session-Id": "81c0004f",
    "NAS-IPv6-Address": "2001:db8::1",
    "Framed-Interface-Id": "1:2:3:4",
    "Framed-IPv6-Prefix": "2001:db8:1::/64",
    "Chargeable-User-Identity": "65",
    "Service-Type": "2",
    "Mikrotik-Rate-Limit": "5M/20M",
    "Session-Timeout": "3600",
}
"""A value of each type."""
VECTORS = Path(__file__).parents[5] / "shared/data/radius/freeradius-unit/packet_rfc5176.txt"


def request(kind: PacketKind = PacketKind.DISCONNECT, secret: bytes = SECRET, **extra: str) -> Encoded:
    attributes = {"User-Name": "alice", "Acct-Session-Id": "81c0004f", "Framed-IP-Address": "100.64.12.9", **extra}
    return encode_request(
        kind, 7, attributes, secret, load(), message_authenticator=True, event_timestamp_s=1_700_000_000
    )


def test_freeradius_disconnect_vectors_are_encoded_to_the_byte() -> None:
    if not VECTORS.exists():
        if os.environ.get("CI") == "true":
            pytest.fail("CI needs ../shared/data/radius/freeradius-unit")
        pytest.skip("no ../shared/data here: FreeRADIUS' vectors are not compared")
    packets = [
        bytes.fromhex(h) for h in re.findall(r"^decode-proto (28 [0-9a-f ]+)$", VECTORS.read_text(), re.MULTILINE)
    ]
    # The file's CoA-Request has a random Request Authenticator, which no server would take: only this one is whole.
    (packet,) = packets
    made = encode_request(
        PacketKind.DISCONNECT, 1, {}, b"testing123", load(), message_authenticator=True, event_timestamp_s=None
    )
    assert made.data == packet


def by_pyrad(
    kind: PacketKind, attributes: Mapping[str, str], secret: bytes, at_s: int | None, *, signed: bool
) -> bytes:
    """Return the request as pyrad's own packet encodes it: another reading of the RFCs than ours."""
    made = CoAPacket(kind.value, 7, secret, dict=load())  # type: ignore[no-untyped-call]  # pyrad has no types
    if signed:
        made.add_message_authenticator()  # type: ignore[no-untyped-call]  # pyrad has no types
    for name, value in attributes.items():
        known = load().attributes[name]
        made[known.code if known.type == "octets" else name] = [value.encode()] if known.type == "octets" else value
    if at_s is not None:
        made["Event-Timestamp"] = at_s
    return bytes(made.RequestPacket())  # type: ignore[no-untyped-call]  # pyrad has no types


@given(
    login=st.text(max_size=60).filter(lambda text: ":" not in text),
    rest=st.dictionaries(st.sampled_from(sorted(SAMPLES)), st.none()),
    kind=st.sampled_from(PacketKind),
    signed=st.booleans(),
    at_s=st.none() | st.integers(0, 2**32 - 1),
)
def test_requests_are_pyrads_to_the_byte(
    login: str, rest: dict[str, None], kind: PacketKind, signed: bool, at_s: int | None
) -> None:
    names = [name for name in rest if kind is PacketKind.COA or name in IDENTIFICATION]
    attributes = {"User-Name": login, **{name: SAMPLES[name] for name in names}}
    made = encode_request(kind, 7, attributes, SECRET, load(), message_authenticator=signed, event_timestamp_s=at_s)
    assert made.data == by_pyrad(kind, attributes, SECRET, at_s, signed=signed)


@pytest.mark.parametrize("name", ["User-Name", "Chargeable-User-Identity", "Mikrotik-Rate-Limit"])
def test_longest_value_of_an_attribute(name: str) -> None:
    kind = PacketKind.COA if name.startswith("Mikrotik") else PacketKind.DISCONNECT
    most = 247 if kind is PacketKind.COA else 253

    def encode(length: int) -> bytes:
        value = {name: "a" * length}
        return encode_request(kind, 1, value, SECRET, load(), message_authenticator=True, event_timestamp_s=None).data

    assert encode(most)[-most:] == b"a" * most
    with pytest.raises(UnencodableRequestError, match="ValueError in the codec"):
        encode(most + 1)


def test_B4_B6_only_the_two_requests_of_rfc_5176_are_made() -> None:
    """Answers to an Access-Request and proxied requests are what Blast-RADIUS forges: the agent makes neither."""
    assert {kind.value for kind in PacketKind} == {40, 43}
    assert 33 not in {code for code, _ in attributes_of(request().data)}, "Proxy-State"


@pytest.mark.parametrize("secret", [SECRET, b"nul\0inside", "schlüssel-ß".encode(), b"x"])
def test_B5_B12_a_request_is_authentic_under_any_secret(secret: bytes) -> None:
    made = request(secret=secret)
    assert authentic_request(made.data, secret)
    assert not authentic_request(made.data, secret + b"x")
    assert attributes_of(made.data)[0][0] == 80, "Message-Authenticator comes first"
    assert (55, (1_700_000_000).to_bytes(4, "big")) in attributes_of(made.data)
    assert decode_reply_untrusted(made, reply(made.data, ack=True, secret=secret)).ack


def test_texts_pyrad_reads_as_numbers_or_hex_stay_texts() -> None:
    made = request(**{"Chargeable-User-Identity": "65", "NAS-Port": "3"})
    assert (89, b"65") in attributes_of(made.data)
    assert (5, b"\0\0\0\3") in attributes_of(made.data)
    assert (89, b"0x41") in attributes_of(request(**{"Chargeable-User-Identity": "0x41"}).data)


@pytest.mark.parametrize(
    ("kind", "extra", "told"),
    [
        (PacketKind.DISCONNECT, {"Mikrotik-Rate-Limit": "1M/1M"}, "identification attributes only"),
        (PacketKind.DISCONNECT, {"Framed-IP-Address": "not-an-address"}, "in the codec"),
        (PacketKind.COA, {"No-Such-Attribute": "x"}, "KeyError"),
        (PacketKind.COA, {"Mikrotik-Address-List": "x" * 300}, "ValueError"),
        (PacketKind.COA, {"Session-Timeout": "99999999999"}, "in the codec"),
    ],
)
def test_B8_what_cannot_be_sent_is_refused_without_values(kind: PacketKind, extra: dict[str, str], told: str) -> None:
    with pytest.raises(UnencodableRequestError, match=told) as caught:
        request(kind, **extra)
    assert not any(value in str(caught.value) for value in extra.values())


def test_an_empty_secret_is_refused() -> None:
    with pytest.raises(UnencodableRequestError, match="shared secret"):
        request(secret=b"")


@pytest.mark.parametrize("with_ma", [False, True])
@pytest.mark.parametrize(
    ("kind", "ack", "attributes", "cause"),
    [
        (PacketKind.DISCONNECT, True, b"", None),
        (PacketKind.DISCONNECT, True, error_cause(201), 201),
        (PacketKind.DISCONNECT, False, error_cause(503), 503),
        (PacketKind.DISCONNECT, False, b"", None),
        (PacketKind.COA, True, b"", None),
        (PacketKind.COA, False, error_cause(401), 401),
        (PacketKind.COA, False, error_cause(777), 777),
    ],
)
def test_authentic_replies_are_read(
    kind: PacketKind, ack: bool, attributes: bytes, cause: int | None, with_ma: bool
) -> None:
    made = request(kind)
    data = reply(made.data, ack=ack, attributes=attributes, message_authenticator=with_ma)
    for padding in (b"", b"\0" * 9):
        got = decode_reply_untrusted(made, data + padding)
        assert (got.ack, got.cause) == (ack, cause)


def test_B1_B2_forged_and_replayed_replies_are_not_authentic() -> None:
    made, other = request(), request(PacketKind.DISCONNECT, **{"Calling-Station-Id": "aa"})
    good = reply(made.data, ack=True)
    forged = [
        reply(made.data, ack=True, secret=b"guessed"),
        reply(other.data, ack=True),
        good[:4] + bytes(16) + good[20:],
        bytes((41, 7)) + (20).to_bytes(2, "big") + made.data[4:20],
    ]
    for data in forged:
        with pytest.raises(NotAuthenticReplyError):
            decode_reply_untrusted(made, data)


def test_a_wrong_message_authenticator_is_refused_by_itself() -> None:
    made = request()
    for mac in (bytes(16), b"x" * 16, b"short", b""):
        with pytest.raises((NotAuthenticReplyError, MalformedReplyError)):
            decode_reply_untrusted(made, reply(made.data, ack=True, attributes=attribute(80, mac)))


@pytest.mark.parametrize(
    "attributes",
    [
        b"\x65",  # no length
        b"\x65\x00",  # length 0
        b"\x65\x01",  # length 1
        b"\x65\x07\0\0\1\xf7",  # past the end
        attribute(26, b"\0\0:"),  # a vendor's number cut short
        attribute(101, b"\1\xf7"),  # two octets
        error_cause(503) + error_cause(503),
        attribute(80, bytes(16)) + attribute(80, bytes(16)),
        error_cause(201),  # "removed", in a NAK
    ],
)
def test_B11_malformed_attributes_are_refused_though_authentic(attributes: bytes) -> None:
    made = request()
    with pytest.raises(MalformedReplyError):
        decode_reply_untrusted(made, reply(made.data, ack=False, attributes=attributes))


def test_an_ack_that_says_not_found_is_refused() -> None:
    made = request()
    with pytest.raises(MalformedReplyError, match="does not belong in an ACK"):
        decode_reply_untrusted(made, reply(made.data, ack=True, attributes=error_cause(503)))


@pytest.mark.parametrize("code", [2, 3, 40, 42 + 1, 44, 45, 0, 255])
def test_a_packet_of_another_kind_is_no_reply(code: int) -> None:
    made = request()
    with pytest.raises(MalformedReplyError, match="expected code 41 or 42"):
        decode_reply_untrusted(made, reply(made.data, ack=True, code=code))


def test_another_identifier_is_no_reply() -> None:
    made = request()
    with pytest.raises(MalformedReplyError):
        decode_reply_untrusted(made, reply(made.data, ack=True, identifier=8))


MADE = request()


@given(st.binary(max_size=80))
@example(b"")
@example(b"\x29\x07\x00\x14")
def test_any_bytes_are_malformed_or_not_authentic(data: bytes) -> None:
    with pytest.raises((MalformedReplyError, NotAuthenticReplyError)):
        decode_reply_untrusted(MADE, data)
    try:
        assert identifier_untrusted(data) == data[1]
    except MalformedReplyError:
        pass


@given(
    st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=20)), max_size=6), st.booleans(), st.binary(max_size=3)
)
def test_any_attributes_under_a_right_authenticator_are_total(
    pairs: list[tuple[int, bytes]], ack: bool, tail: bytes
) -> None:
    data = reply(MADE.data, ack=ack, attributes=b"".join(attribute(c, v) for c, v in pairs) + tail)
    try:
        assert decode_reply_untrusted(MADE, data).ack is ack
    except (MalformedReplyError, NotAuthenticReplyError):
        assert tail or any(code in (26, 80, 101) for code, _ in pairs)
