"""One spelling for the serial number of an ONU (ITU-T G.984.3, section 9.2.4.1): four letters, eight hex digits.

Devices, labels and billing systems write the same eight octets as `HWTC1A2B3C4D`, `485754431A2B3C4D`,
`HWTC-1A2B3C4D`, `48:57:54:43:1A:2B:3C:4D` or `1,HWTC1A2B3C4D`. All of them have one key.
"""

from __future__ import annotations

import re
from typing import Final

_NAMED: Final = re.compile(r"([A-Z0-9]{4})([-:. ]?)([0-9A-F]{8})")
_OCTETS: Final = re.compile(r"(?:0X)?([0-9A-F]{2}(?:[-:. ]?[0-9A-F]{2}){7})")
_HEX: Final = re.compile(r"[0-9A-F]+")
_MAKER: Final = re.compile(r"[A-Z0-9]{4}")
_REGISTERED_BY: Final = re.compile(r"[0-9],")
"""ZTE writes the way of registration before the serial: 1 is by serial number."""
_LENGTH_MAX: Final = 64
"""Characters of a text that may be a serial; the longest spelling has 38."""


def onu_serial(told: str) -> str:
    """Return an ONU's serial as `HWTC1A2B3C4D`, or "" where the text is none.

    Twelve hex digits without a mark between maker and number are a MAC address, not a serial: "". Where a device
    writes both spellings, `485754431A2B3C4D (HWTC-1A2B3C4D)`, they must agree.
    """
    text = told.strip("\0 \t\r\n\"'").upper()
    if len(text) > _LENGTH_MAX or not text.isascii():
        return ""
    first, bracket, second = text.removesuffix(")").partition("(")
    if not bracket:
        return _one(_REGISTERED_BY.sub("", text, count=1) if _REGISTERED_BY.match(text) else text)
    serial = _one(first.strip())
    return serial if serial and serial == _one(second.strip()) else ""


def onu_serial_untrusted(octets: bytes) -> str:
    """Return the serial that a device tells as eight octets or as a text, as `HWTC1A2B3C4D`; "": it is none."""
    if len(octets) == 8:
        return _of_octets(octets)
    return onu_serial(octets.decode("latin-1"))


def _one(text: str) -> str:
    if octets := _OCTETS.fullmatch(text):
        return _of_octets(bytes.fromhex(re.sub(r"[-:. ]", "", octets[1])))
    named = _NAMED.fullmatch(text)
    if named is None or (not named[2] and _HEX.fullmatch(named[1])):
        return ""
    return named[1] + named[3]


def _of_octets(octets: bytes) -> str:
    maker = octets[:4].decode("latin-1").upper()
    return maker + octets[4:].hex().upper() if maker.isascii() and _MAKER.fullmatch(maker) else ""
