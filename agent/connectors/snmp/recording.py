"""Reads a recording of a device: `.snmprec`, one line `OID|TAG|VALUE` a value, as snmpsim writes them.

The tag is the number of the value's BER tag; behind it, `x` says that the value is written in hexadecimal digits, and
`e` that it is a Python bytes literal with escapes. A line that starts with `#` is a comment.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from agent.connectors.snmp import values
from agent.connectors.snmp.errors import MalformedRecordingError, NoOidError
from agent.connectors.snmp.values import Oid, Value

_TAG: Final = re.compile(r"([0-9]{1,3})([ex]?)(?::[a-z]+)?", re.ASCII)
_WHOLE: Final = re.compile(r"[-+]?[0-9]{1,20}", re.ASCII)
_ESCAPES: Final = re.compile(r"\\(?:x([0-9A-Fa-f]{2})|(.))", re.DOTALL)
_LETTERS: Final = MappingProxyType({"n": "\n", "r": "\r", "t": "\t", "0": "\x00"})
_BITS: Final = MappingProxyType(
    {
        values.INTEGER: (-(1 << 63), 1 << 63),
        values.COUNTER32: (0, 1 << 32),
        values.GAUGE32: (0, 1 << 32),
        values.TIME_TICKS: (0, 1 << 32),
        values.COUNTER64: (0, 1 << 64),
    }
)
"""Ranges of numbers; some real agents send an Integer32 that has more bits."""


def read_recording_untrusted(text: str) -> dict[Oid, Value]:
    """Return the values of a recording, in its order.

    Raises:
        MalformedRecordingError: a line is none.
    """
    found: dict[Oid, Value] = {}
    for at, line in enumerate(text.split("\n"), 1):
        line = line.removesuffix("\r")
        if not line or line.startswith("#"):
            continue
        words = line.split("|", 2)
        tag = _TAG.fullmatch(words[1]) if len(words) == 3 else None
        if tag is None:
            raise MalformedRecordingError(at, "OID|TAG|VALUE, the tag a number, perhaps with e or x behind it", line)
        try:
            found[values.oid(words[0])] = _value(int(tag[1]), tag[2], words[2], at)
        except NoOidError as err:
            raise MalformedRecordingError(at, "an OID", words[0]) from err
    return found


def _value(tag: int, form: str, written: str, at: int) -> Value:
    if tag in _BITS:
        return tag, _number(tag, written, at)
    if tag == values.OBJECT_IDENTIFIER:
        return tag, values.oid(written) if written else b""
    if tag in values.MISSING:
        return tag, b""
    if tag not in (values.OCTET_STRING, values.IP_ADDRESS, values.OPAQUE):
        raise MalformedRecordingError(at, "the tag of a value of SNMP", str(tag))
    octets = _octets(form, written, at)
    if tag == values.IP_ADDRESS and not form and len(octets) != 4:
        try:
            octets = ipaddress.IPv4Address(written.strip()).packed
        except ValueError as err:
            raise MalformedRecordingError(at, "an IPv4 address", written) from err
    return tag, octets


def _number(tag: int, written: str, at: int) -> int:
    low, high = _BITS[tag]
    number = int(written) if _WHOLE.fullmatch(written) else None
    if number is None or not low <= number < high:
        raise MalformedRecordingError(at, f"a whole number of {low} to {high - 1}", written)
    return number


def _octets(form: str, written: str, at: int) -> bytes:
    if form == "x":
        try:
            return bytes.fromhex(written.removeprefix("0x"))
        except ValueError as err:
            raise MalformedRecordingError(at, "hexadecimal digits", written) from err
    if form == "e":
        written = _ESCAPES.sub(
            lambda found: chr(int(found[1], 16)) if found[1] else _LETTERS.get(found[2], found[2]), written
        )
        return b"".join(letter.encode("latin-1" if ord(letter) < 256 else "utf-8") for letter in written)
    return written.encode("utf-8")


def scalars_and_columns(
    recorded: Mapping[Oid, Value], scalars: tuple[Oid, ...], columns: tuple[tuple[Oid, ...], ...]
) -> tuple[dict[Oid, Value], dict[Oid, dict[bytes, Value]]]:
    """Return the answers of a device of this recording, in the shapes that `profile_reading.read` takes."""
    wanted = {column for group in columns for column in group}
    lengths = sorted({len(column) for column in wanted})
    found: dict[Oid, dict[bytes, Value]] = {column: {} for column in wanted}
    for oid, value in recorded.items():
        for length in lengths:
            rows = found.get(Oid(oid[:length]))
            if rows is not None and len(oid) > length:
                rows[oid[length:]] = value
    return {oid: recorded[oid] for oid in scalars if oid in recorded}, found
