"""The STUN server: the vectors of RFC 5769, CPE of both standards, what is refused, and that no reply grows."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.connectors.cwmp import limits, stun
from agent.connectors.cwmp.stun import CLASSIC, MODERN, Binding, Form, MalformedStunError, StunServer, read_untrusted
from tests.agent.connectors.cwmp.stun_messages import (
    COOKIE,
    LISTENS,
    MODERN_CLAIM,
    REQUEST,
    attribute,
    message,
)
from tests.builders.expect import present

NOW = 77.0
SOURCE = ("203.0.113.7", 40001)
PASSWORDS = {"cpe-1": "s3cret-canary", "empty": ""}


def proven(data: bytes, password: str, form: Form = MODERN) -> bytes:
    """A request with its MESSAGE-INTEGRITY, computed here by hand."""
    length = len(data) - 20
    text = data[:2] + (length + 24 if form.counted else length).to_bytes(2, "big") + data[4:]
    if form.padded and len(text) % 64:
        text += b"\0" * (64 - len(text) % 64)
    mac = hmac.new(password.encode(), text, hashlib.sha1).digest()
    return data[:2] + (length + 24).to_bytes(2, "big") + data[4:] + attribute(8, mac)


def reply_of(data: bytes, source: tuple[str, int] = SOURCE, server: StunServer | None = None) -> stun.Message:
    reply, _ = (server or StunServer()).receive_untrusted(data, source, NOW)
    assert reply is not None
    assert reply[4:20] == data[4:20]
    return read_untrusted(reply)


def values(got: stun.Message) -> dict[int, bytes]:
    return {each.type: each.value for each in got.attributes}


# --- vectors ----------------------------------------------------------------------------------------------------------

RESPONSE = bytes.fromhex(
    "0101003c 2112a442 b7e7a701bc34d686fa87dfae 8022000b 7465737420766563746f7220 00200008 0001a147e112a643"
    "00080014 2b91f599fd9e90c38c7489f92af9ba53f06be7d7 80280004 c07d4c96"
)
RESPONSE_V6 = bytes.fromhex(
    "01010048 2112a442 b7e7a701bc34d686fa87dfae 8022000b 7465737420766563746f7220"
    "00200014 0002a1470113a9faa5d3f179bc25f4b5bed2b9d9 00080014 a382954e4be67bf11784c97c8292c275bfe3ed41"
    "80280004 c8fb0b4c"
)
LONG_TERM = bytes.fromhex(
    "00010060 2112a442 78ad3433c6ad72c029da412e 00060012 e3839ee38388e383aae38383e382afe382b90000"
    "0015001c 662f2f3439396b39353464364f4c33346f4c39465354767936347341 0014000b 6578616d706c652e6f726700"
    "00080014 f67024656dd64a3e02b8e0712e85c9a28ca89666"
)
PASSWORD = b"VOkJxbRl1RmTxUk/WvJxBt"


@pytest.mark.parametrize("data", [REQUEST, RESPONSE, RESPONSE_V6])
def test_rfc_5769_sections_2_1_to_2_3(data: bytes) -> None:
    assert stun.proven_untrusted(read_untrusted(data), PASSWORD) == MODERN
    assert stun.proven_untrusted(read_untrusted(data), PASSWORD + b"x") is None


def test_rfc_5769_section_2_4_of_long_term_credentials() -> None:
    """Annex G has none; the computation is the same with another key."""
    key = hashlib.md5("マトリックス:example.org:TheMatrIX".encode()).digest()
    assert stun.proven_untrusted(read_untrusted(LONG_TERM), key) == MODERN


@pytest.mark.parametrize(
    ("vector", "source"),
    [(RESPONSE, ("192.0.2.1", 32853)), (RESPONSE_V6, ("2001:db8:1234:5678:11:2233:4455:6677", 32853))],
)
def test_the_addresses_of_rfc_5769(vector: bytes, source: tuple[str, int]) -> None:
    got = reply_of(message(transaction=vector[4:20]), source)
    assert values(got)[0x20] == values(read_untrusted(vector))[0x20]


def test_a_request_of_ice_asks_for_more_than_there_is() -> None:
    got = reply_of(REQUEST)
    assert got.type == 0x0111
    assert values(got) == {9: b"\0\0\4\x14Unknown Attribute", 10: b"\0\x24"}


# --- what a CPE learns ------------------------------------------------------------------------------------------------


def test_classic_stun_gets_mapped_address_alone() -> None:
    got = reply_of(message())
    assert got.type == 0x0101
    assert values(got) == {1: bytes((0, 1)) + (40001).to_bytes(2, "big") + bytes((203, 0, 113, 7))}


def test_stun_with_a_cookie_gets_both() -> None:
    got = reply_of(message(transaction=bytes.fromhex(COOKIE) + bytes(12)))
    assert set(values(got)) == {1, 0x20}
    v6 = reply_of(message(transaction=bytes.fromhex(COOKIE) + bytes(12)), ("2001:db8::1", 9))
    assert set(values(v6)) == {0x20}, "both would be more than three times the request"


def test_an_ipv4_source_of_a_socket_of_both_kinds() -> None:
    assert values(reply_of(message(), ("::ffff:203.0.113.7", 40001))) == values(reply_of(message()))


def test_response_address_is_ignored_and_no_change_is_asked_for() -> None:
    elsewhere = bytes((0, 1, 0, 53, 8, 8, 8, 8))
    got = reply_of(message(attribute(2, elsewhere), attribute(3, bytes(4))))
    assert values(got) == values(reply_of(message()))


def test_change_request_needs_two_addresses() -> None:
    got = reply_of(message(attribute(3, bytes((0, 0, 0, 6)))))
    assert got.type == 0x0111
    assert values(got) == {9: b"\0\0\4\x14Unknown Attribute   ", 10: b"\0\3\0\3"}


@pytest.mark.parametrize("kind", [0x0002, 0x0011, 0x0101, 0x0111, 0x3FFF])
def test_only_binding_requests_are_answered(kind: int) -> None:
    assert StunServer().receive_untrusted(message(kind=kind), SOURCE, NOW) == (None, None)


# --- where a CPE listens ----------------------------------------------------------------------------------------------


def binding_of(data: bytes, server: StunServer | None = None) -> Binding | None:
    return (server or StunServer()).receive_untrusted(data, SOURCE, NOW)[1]


def test_a_binding_is_what_connection_request_binding_says() -> None:
    assert binding_of(message()) is None
    assert binding_of(message(attribute(0xC001, b"something else"))) is None
    got = binding_of(message(attribute(0xC001, LISTENS), attribute(0xC002), attribute(6, b"cpe-1")))
    assert got == Binding("cpe-1", ipaddress.ip_address("203.0.113.7"), 40001, changed=True, proven=False, at=NOW)
    got = binding_of(message(attribute(0xC001, LISTENS[:-1])))
    assert got == Binding("", ipaddress.ip_address("203.0.113.7"), 40001, changed=False, proven=False, at=NOW)


@pytest.mark.parametrize("name", [b"cpe-1", b"cpe-1\0\0\0", b"cpe-1   "])
def test_padding_is_no_part_of_a_name(name: bytes) -> None:
    got = present(binding_of(message(attribute(0xC001, LISTENS), attribute(6, name))))
    assert got.username == "cpe-1"


def test_the_last_attribute_may_lack_its_padding() -> None:
    body = attribute(0xC001, LISTENS) + attribute(6, b"cpe-1")[:-3]
    got = present(binding_of(message(body)))
    assert got.username == "cpe-1"


LOCKED = StunServer(PASSWORDS.get)
CLAIM = message(attribute(0xC001, LISTENS), attribute(6, b"cpe-1"))


def code(got: stun.Message) -> int:
    assert got.type == 0x0111
    value = values(got)[9]
    return value[2] * 100 + value[3]


@pytest.mark.parametrize("form", CLASSIC)
def test_a_cpe_proves_itself_in_each_form_and_so_does_the_reply(form: Form) -> None:
    data = proven(CLAIM, "s3cret-canary", form)
    reply, got = LOCKED.receive_untrusted(data, SOURCE, NOW)
    assert got == Binding("cpe-1", ipaddress.ip_address("203.0.113.7"), 40001, changed=False, proven=True, at=NOW)
    assert reply is not None
    assert proven(reply[:2] + b"\0\x0c" + reply[4:-24], "s3cret-canary", form) == reply


def test_a_request_with_a_cookie_proves_itself_in_one_form() -> None:
    for form in CLASSIC:
        reply, got = LOCKED.receive_untrusted(proven(MODERN_CLAIM, "s3cret-canary", form), SOURCE, NOW)
        assert reply is not None
        assert (got is not None) == (form == MODERN)
        assert form == MODERN or code(read_untrusted(reply)) == 401


@pytest.mark.parametrize(
    "data", [message(attribute(0xC001, LISTENS)), CLAIM, proven(message(attribute(0xC001, LISTENS)), "")]
)
def test_who_proves_nothing_is_asked_to(data: bytes) -> None:
    assert code(reply_of(data, server=LOCKED)) == 401
    assert binding_of(data, LOCKED) is None


@pytest.mark.parametrize(
    ("user", "password"), [(b"cpe-1", "other"), (b"cpe-2", "s3cret-canary"), (b"cpe-2", ""), (b"empty", "")]
)
def test_wrong_proof_unknown_user_and_empty_password_are_alike(user: bytes, password: str) -> None:
    data = proven(message(attribute(0xC001, LISTENS), attribute(6, user)), password)
    assert code(reply_of(data, server=LOCKED)) == 431
    assert binding_of(data, LOCKED) is None


def test_what_stands_behind_the_proof_is_not_covered_by_it() -> None:
    data = proven(message(attribute(6, b"cpe-1")), "s3cret-canary") + attribute(0xC001, LISTENS)
    data = data[:2] + (len(data) - 20).to_bytes(2, "big") + data[4:]
    reply, got = LOCKED.receive_untrusted(data, SOURCE, NOW)
    assert got is None
    assert reply is not None


def test_a_proof_of_another_length_is_none() -> None:
    assert (
        code(reply_of(message(attribute(0xC001, LISTENS), attribute(6, b"cpe-1"), attribute(8, b"x")), server=LOCKED))
        == 431
    )


def test_who_asks_only_for_his_address_need_not_prove_anything() -> None:
    assert reply_of(message(), server=LOCKED).type == 0x0101


# --- any bytes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        b"",
        bytes(19),
        b"\x40" + bytes(19),
        b"\x80" + bytes(19),
        b"GET http://10.1.1.1:8080?ts=1 HTTP/1.1",
        message()[:-1],
        message() + b"x",
        message(b"\0\6\0\1"),
        message(b"\0\6\0"),
        message(attribute(6, b"a" * 300)),
        message(attribute(6, b"\xff\xff")),
        message(*[attribute(0x8000)] * (limits.STUN_ATTRIBUTES + 1)),
        message(attribute(0x8000, bytes(limits.STUN_BYTES))),
    ],
)
def test_what_is_no_stun(data: bytes) -> None:
    with pytest.raises(MalformedStunError):
        StunServer().receive_untrusted(data, SOURCE, NOW)


def test_a_source_that_is_none() -> None:
    with pytest.raises(MalformedStunError):
        StunServer().receive_untrusted(message(), ("nowhere", 1), NOW)


KINDS = st.one_of(st.sampled_from([1, 2, 3, 6, 8, 9, 0xA, 0x14, 0x15, 0x20, 0xC001, 0xC002]), st.integers(0, 0xFFFF))
VALUES = st.one_of(st.binary(max_size=24), st.sampled_from([LISTENS, b"cpe-1", bytes(20)]))
MESSAGES = st.builds(
    lambda attributes, transaction: message(*attributes, transaction=transaction),
    st.lists(st.builds(attribute, KINDS, VALUES), max_size=10),
    st.one_of(st.binary(min_size=16, max_size=16), st.just(bytes.fromhex(COOKIE) + bytes(12))),
)


@given(st.one_of(st.binary(max_size=600), MESSAGES), st.sampled_from(["203.0.113.7", "2001:db8::1"]), st.booleans())
def test_any_bytes_give_a_value_or_our_error_and_no_reply_grows(data: bytes, host: str, locked: bool) -> None:
    server = LOCKED if locked else StunServer()
    try:
        reply, binding = server.receive_untrusted(data, (host, 9), NOW)
    except MalformedStunError:
        return
    assert reply is None or len(reply) <= 3 * len(data)
    assert reply is None or read_untrusted(reply).type in (0x0101, 0x0111)
    assert binding is None or (not locked and not binding.proven)


@given(MESSAGES, st.sampled_from(CLASSIC))
def test_whatever_is_proven_is_taken_for_proven(data: bytes, form: Form) -> None:
    got = read_untrusted(data)
    if not got.classic and form != MODERN:
        return
    if got.first(8) is None:
        # Not `== form`: padding changes nothing where the length is a multiple of 64 already
        assert stun.proven_untrusted(read_untrusted(proven(data, "pässword", form)), "pässword".encode()) is not None
    assert stun.proven_untrusted(got, b"another") is None
