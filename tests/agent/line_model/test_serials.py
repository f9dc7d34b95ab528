"""The serial of an ONU has one spelling, however a device, a label or a billing system writes it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.line_model.serials import onu_serial, onu_serial_untrusted

MAKERS = st.text("GHIJKLMNOPQRSTUVWXYZ", min_size=4, max_size=4)
NUMBERS = st.binary(min_size=4, max_size=4)


@pytest.mark.parametrize(
    "told",
    [
        "HWTC1A2B3C4D",
        "hwtc1a2b3c4d",
        "HWTC-1A2B3C4D",
        "HWTC:1A2B3C4D",
        " HWTC1A2B3C4D\0",
        '"HWTC1A2B3C4D"',
        "485754431A2B3C4D",
        "485754431a2b3c4d",
        "0x485754431A2B3C4D",
        "48:57:54:43:1A:2B:3C:4D",
        "48 57 54 43 1A 2B 3C 4D",
        "48-57-54-43-1a-2b-3c-4d",
        "485754431A2B3C4D (HWTC-1A2B3C4D)",
        "1,HWTC1A2B3C4D",
    ],
)
def test_every_spelling_of_one_serial_is_one_key(told: str) -> None:
    assert onu_serial(told) == "HWTC1A2B3C4D"


@pytest.mark.parametrize(
    "told",
    [
        "",
        "C-10482",
        "HWTC",
        "HWTC1A2B3C4",
        "HWTC1A2B3C4D5",
        "HWTC1A2B3C4G",
        "00112233445566FF",  # eight octets whose first four are no letters
        "001122AABBCC",  # a MAC address
        "AABBCCDDEEFF",  # one that looks like a maker and a number
        "AA:BB:CC:DD:EE:FF",
        "485754431A2B3C4D (HWTC-1A2B3C4E)",  # two serials
        "HWTC١A2B3C4D",
        "HWTC1A2B3C4D" * 100,
    ],
)
def test_other_texts_are_no_serial(told: str) -> None:
    assert onu_serial(told) == ""


def test_a_maker_of_hex_letters_needs_a_mark_or_all_its_octets() -> None:
    assert onu_serial("ABCD-12345678") == onu_serial("4142434412345678") == "ABCD12345678"


def test_octets_and_text_of_a_device_are_one_key() -> None:
    octets = b"HWTC\x1a\x2b\x3c\x4d"
    assert onu_serial_untrusted(octets) == onu_serial_untrusted(b"485754431A2B3C4D") == "HWTC1A2B3C4D"
    assert onu_serial_untrusted(b"UBNTb36ff4b5") == "UBNTB36FF4B5"
    assert onu_serial_untrusted(b"\0" * 8) == onu_serial_untrusted(b"\x80\x2a\xa8\x00\x00\x01") == ""


@given(MAKERS, NUMBERS)
def test_every_serial_reads_alike_in_every_spelling(maker: str, number: bytes) -> None:
    serial, octets = maker + number.hex().upper(), maker.encode() + number
    for told in (serial, serial.lower(), f"{maker}-{number.hex()}", octets.hex(), octets.hex(":"), octets.hex(" ")):
        assert onu_serial(told) == serial
    assert onu_serial_untrusted(octets) == onu_serial_untrusted(octets.hex().encode()) == serial
    assert onu_serial(onu_serial(serial)) == serial


@given(st.binary(max_size=80))
def test_any_octets_give_a_serial_or_nothing(octets: bytes) -> None:
    told = onu_serial_untrusted(octets)
    assert told == "" or (len(told) == 12 and onu_serial(told) in (told, ""))
