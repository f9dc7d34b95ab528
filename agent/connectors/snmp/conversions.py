"""Converts single values of a device into numbers and texts, as a profile asks for it.

* Every converter is total: any value gives a number, a text, or None where it does not fit.
* Texts of devices are UTF-8, or else Latin-1; NULs and control characters go, and the rest is cut at `TEXT_MAX`.
"""

from __future__ import annotations

import ipaddress
import math
import re
import struct
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from agent.connectors.snmp import values
from agent.connectors.snmp.values import Oid, Value
from agent.line_model.serials import onu_serial_untrusted

Result = int | float | str
Converter = Callable[[Value], Result | None]

TEXT_MAX: Final = 255
"""Characters; SnmpAdminString and DisplayString have at most as many (RFC 3411)."""
_UNSEEN: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]+")
_FIRST: Final = re.compile(r"[-+]?[0-9]{1,18}(?:\.[0-9]{1,18})?", re.ASCII)
_WHOLE: Final = re.compile(r"[-+]?[0-9]{1,20}", re.ASCII)
_MAC_TEXT: Final = re.compile(
    r"[0-9A-Fa-f]{2}(?:[: -][0-9A-Fa-f]{2}){5}|(?:[0-9A-Fa-f]{4}[.-]){2}[0-9A-Fa-f]{4}|[0-9A-Fa-f]{12}"
)
_OPAQUE_FLOAT: Final = b"\x9f\x78\x04"
_OPAQUE_DOUBLE: Final = b"\x9f\x79\x08"
"""Tags of floating point numbers in an Opaque, as Net-SNMP sends them."""


@lru_cache(16_384)
def decoded(octets: bytes) -> str:
    """Return the text of an OCTET STRING, without white space around it."""
    octets = octets[: 4 * TEXT_MAX].rstrip(b"\x00")
    try:
        found = octets.decode("utf-8")
    except UnicodeDecodeError:
        found = octets.decode("latin-1")
    if found.isprintable():  # as it mostly is
        return found.strip()[:TEXT_MAX]
    return _UNSEEN.sub(" ", found).strip()[:TEXT_MAX]


def plain(value: Value) -> Result | None:
    """Return a number for the numeric types, an address or OID in dots, and the text of everything else."""
    tag, content = value
    if isinstance(content, int):
        return None if tag in values.MISSING else content
    if tag == values.OCTET_STRING:
        return decoded(content)
    if tag == values.OBJECT_IDENTIFIER:
        return values.dotted(Oid(content)) if content and content[-1] < 128 else None  # else its end is missing
    if tag == values.IP_ADDRESS:
        return address(value)
    if tag == values.OPAQUE:
        return _floating(content)
    return None


def _floating(content: bytes) -> float | None:
    if content[:3] == _OPAQUE_FLOAT and len(content) == 7:
        number = float(struct.unpack(">f", content[3:])[0])
    elif content[:3] == _OPAQUE_DOUBLE and len(content) == 11:
        number = float(struct.unpack(">d", content[3:])[0])
    else:
        return None
    return number if math.isfinite(number) else None


def text(value: Value) -> str | None:
    """Return a value as a text; an empty one is none."""
    tag, content = value
    if tag == values.OCTET_STRING and isinstance(content, bytes):
        return decoded(content) or None
    found = plain(value)
    return None if found is None or found == "" else str(found)


def integer(value: Value) -> int | None:
    """Return a number, or a text that is a whole number and nothing else."""
    found = plain(value)
    if isinstance(found, str):
        return int(found) if _WHOLE.fullmatch(found) else None
    return int(found) if found is not None else None


def number(value: Value) -> float | int | None:
    """Return a number, or the first one in a text, such as -65 of "-65 dBm"."""
    found = plain(value)
    if not isinstance(found, str):
        return found
    first = _FIRST.search(found)
    return None if first is None else float(first[0])


def mac(value: Value) -> str | None:
    """Return a MAC address in lower case with colons, from six octets or a text; one of zeros alone is none."""
    content = value[1]
    if value[0] != values.OCTET_STRING or isinstance(content, int):
        return None
    if len(content) == 6:
        return content.hex(":") if any(content) else None
    written = _MAC_TEXT.fullmatch(decoded(content))
    if written is None:
        return None
    digits = re.sub(r"[^0-9A-Fa-f]", "", written[0]).lower()
    return None if digits == "000000000000" else ":".join(digits[at : at + 2] for at in range(0, 12, 2))


def hexadecimal(value: Value) -> str | None:
    """Return octets as hexadecimal digits."""
    content = value[1]
    return None if isinstance(content, int) or not content else content[:TEXT_MAX].hex()


def address(value: Value) -> str | None:
    """Return an IPv4 or IPv6 address, from 4 or 16 octets or a text; one of zeros alone is none."""
    content = value[1]
    if isinstance(content, int):
        return None
    try:
        if len(content) in (4, 16) and value[0] in (values.IP_ADDRESS, values.OCTET_STRING):
            found = ipaddress.ip_address(content)
        else:
            found = ipaddress.ip_address(decoded(content))
    except ValueError:
        return None
    return None if found.is_unspecified else str(found)


def inet(value: Value) -> str | None:
    """Return an address that stands behind its type and its length, as in an index (RFC 4001)."""
    content = value[1]
    if isinstance(content, int) or len(content) < 6 or content[1] != len(content) - 2:
        return None
    return address((values.OCTET_STRING, content[2:])) if content[1] in (4, 16) else None


def serial(value: Value) -> str | None:
    """Return the serial number of an ONU as `HWTC1A2B3C4D`, from 8 octets or any of its spellings."""
    content = value[1]
    return None if isinstance(content, int) else onu_serial_untrusted(content) or None


def date(value: Value) -> int | None:
    """Return unix seconds of a DateAndTime (RFC 2579), 8 or 11 octets.

    The 8 octets are local time without an offset, and no object tells the device's zone: they are taken for UTC.
    """
    content = value[1]
    if isinstance(content, int) or len(content) not in (8, 11):
        return None
    year, month, day, hour, minute, second = struct.unpack(">HBBBBB", content[:7])
    zone: timezone = UTC
    try:
        if len(content) == 11:
            sign = -1 if content[8:9] == b"-" else 1
            zone = timezone(sign * timedelta(hours=content[9], minutes=content[10]))
        return int(datetime(year, month, day, hour, minute, min(second, 59), tzinfo=zone).timestamp())
    except (ValueError, OverflowError):
        return None


AS: Final[Mapping[str, Converter]] = MappingProxyType(
    {
        "": plain,
        "text": text,
        "int": integer,
        "number": number,
        "mac": mac,
        "hex": hexadecimal,
        "ip": address,
        "inet": inet,
        "serial": serial,
        "date": date,
        "ago": number,
        "ticks": integer,
    }
)
"""Converters by the word that a profile writes behind `as`."""


def dbm(milliwatts: float) -> float | None:
    """Return a power in dBm; none has none."""
    return round(10 * math.log10(milliwatts), 2) if milliwatts > 0 else None
