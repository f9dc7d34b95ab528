"""The values of parameters: which texts a type takes, and how it is written.

A boolean is kept as `1` or `0`; every other value is kept as it was sent.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Final

# the types of TR-106 and the XML Schema type that each is sent with
TYPES: Final = {
    "string": "string",
    "boolean": "boolean",
    "int": "int",
    "unsignedInt": "unsignedInt",
    "unsignedLong": "unsignedLong",
    "dateTime": "dateTime",
    "base64": "base64",
    "hexBinary": "hexBinary",
    "IPAddress": "string",
    "MACAddress": "string",
    "URL": "string",
}
_RANGES: Final = {
    "int": (-(1 << 31), (1 << 31) - 1),
    "unsignedInt": (0, (1 << 32) - 1),
    "unsignedLong": (0, (1 << 64) - 1),
}
_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,20}")
_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,9})?(Z|[+-]\d{2}:\d{2})?", re.ASCII)
_HEX: Final = re.compile(r"([0-9A-Fa-f]{2})*")
_BASE64: Final = re.compile(r"[A-Za-z0-9+/\s]*={0,2}")
_MAC: Final = re.compile(r"([0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5})?")
_TRUTH: Final = {"1": "1", "true": "1", "0": "0", "false": "0"}
# TR-106: the unknown time
UNKNOWN_TIME: Final = "0001-01-01T00:00:00Z"


def first_value(kind: str, low: int | None, choices: tuple[str, ...]) -> str:
    """The value of a parameter when nothing else is said."""
    if choices:
        return choices[0]
    if kind in _RANGES:
        return str(max(low or 0, _RANGES[kind][0]))
    return {"boolean": "0", "dateTime": UNKNOWN_TIME}.get(kind, "")


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return text == ""
    return True


def _fits(kind: str, text: str) -> bool:
    if kind == "dateTime":
        return _DATE.fullmatch(text) is not None
    if kind == "hexBinary":
        return _HEX.fullmatch(text) is not None
    if kind == "base64":
        return _BASE64.fullmatch(text) is not None
    if kind == "MACAddress":
        return _MAC.fullmatch(text) is not None
    return _is_address(text) if kind == "IPAddress" else True


def canonical(kind: str, text: str, low: int | None, high: int | None, choices: tuple[str, ...]) -> str | None:
    """A value as it is kept, None when the parameter cannot have it (fault 9007)."""
    if kind == "boolean":
        return _TRUTH.get(text.strip())
    if kind in _RANGES:
        stripped = text.strip()
        if _NUMBER.fullmatch(stripped) is None:
            return None
        least, most = _RANGES[kind]
        number = int(stripped)
        inside = max(least, least if low is None else low) <= number <= min(most, most if high is None else high)
        return str(number) if inside else None
    if choices and text not in choices:
        return None
    if (low is not None and len(text) < low) or (high is not None and len(text) > high):
        return None
    return text if _fits(kind, text) else None
