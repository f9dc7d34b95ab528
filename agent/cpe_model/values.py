"""The lexical forms of CWMP's simple types (TR-106 annex A.2, XML Schema part 2), read liberally, checked exactly.

A parameter's value stays the device's own string with its type beside it: nothing here turns `true` into `1`.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final

from agent.cpe_model import limits

UNREADABLE: Final = "\ufdd0"
"""Marks a place of a value that could not be decoded. A noncharacter, which texts are not to have (Unicode 23.7)."""

UNSIGNED_INT: Final = (1 << 32) - 1
INT: Final = (1 << 31) - 1

_NUMBER: Final = re.compile(r"[+-]?[0-9]+", re.ASCII)
_TIME: Final = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})(\.[0-9]+)?(Z|[+-][0-9]{2}:[0-9]{2})?", re.ASCII
)
_HEX: Final = re.compile(r"([0-9A-Fa-f]{2})*", re.ASCII)
_ZONE_MOST: Final = timedelta(hours=14)


# --- read -----------------------------------------------------------------------------------------------------------


def moment(text: str, local: tzinfo | None = None) -> datetime | None:
    """Return the moment that a dateTime names, None where it names none.

    None: the unknown time, a time since boot (a CPE without a clock says year 1; TR-106 annex A.2.2), `0000-00-00…`,
    and anything that is no dateTime.

    Args:
        text: a device's own string.
        local: the zone of a time that has none. TR-106 would have UTC, CPE send local time: unknown without it.

    Returns:
        An aware datetime in UTC.
    """
    read = _parsed(text.strip())
    if read is None or read.year <= 1:
        return None
    if read.tzinfo is None:
        if local is None:
            return None
        read = read.replace(tzinfo=local)
    try:
        return read.astimezone(UTC)
    except OverflowError:  # within a zone of the year 9999's end
        return None


def _parsed(text: str) -> datetime | None:
    """Return a dateTime of the years 1 to 9999, aware if it has a zone; None where it is none."""
    if len(text) > 64 or (found := _TIME.fullmatch(text)) is None:
        return None
    fraction, zone = found[7] or "", found[8]
    try:
        if zone not in (None, "Z"):
            away = timedelta(hours=int(zone[1:3]), minutes=int(zone[4:6]))
            if away > _ZONE_MOST or int(zone[4:6]) > 59:
                return None
        return datetime.fromisoformat(f"{text[:19]}{fraction[:7].ljust(7, '0') if fraction else ''}{zone or ''}")
    except ValueError:
        return None


def shown_text(text: str) -> str:
    """Return a text for people, with U+FFFD for each place that could not be decoded."""
    return text.replace(UNREADABLE, "\ufffd")


# --- check ----------------------------------------------------------------------------------------------------------


def is_number(text: str, least: int, most: int) -> bool:
    """Return whether a text is a number of XML Schema in a range, both ends included."""
    return len(text) <= limits.NUMBER_CHARS and _NUMBER.fullmatch(text) is not None and least <= int(text) <= most


def is_time(text: str) -> bool:
    """Return whether a text is a dateTime of XML Schema, in the years 1 to 9999."""
    return _parsed(text) is not None


def _is_base64(text: str) -> bool:
    try:
        base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        return False
    return True


TYPES: Final[Mapping[str, Callable[[str], bool]]] = {
    "string": lambda _: True,
    "int": lambda text: is_number(text, -INT - 1, INT),
    "unsignedInt": lambda text: is_number(text, 0, UNSIGNED_INT),
    "long": lambda text: is_number(text, -(1 << 63), (1 << 63) - 1),
    "unsignedLong": lambda text: is_number(text, 0, (1 << 64) - 1),
    "boolean": lambda text: text in ("0", "1", "true", "false"),
    "dateTime": is_time,
    "base64": _is_base64,
    "base64Binary": _is_base64,
    "hexBinary": lambda text: _HEX.fullmatch(text) is not None,
}
"""Types of a parameter's value (TR-106 annex A.2): name -> whether a text is one. `base64` is SOAP's own type."""

_SPELLINGS: Final = {name.lower(): name for name in TYPES}


def read_type(text: str) -> str:
    """Return the type that an `xsi:type` names, without its prefix: `xsd:string`, `xs:String`, `string` -> `string`.

    One that is not known stays as it came.
    """
    return _SPELLINGS.get(text.strip().rpartition(":")[2].lower(), text)
