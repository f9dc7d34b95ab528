"""Recordings of real devices in snmpsim's text form: `OID|TAG|VALUE` a line. Pure.

A tag is the number of its ASN.1 tag; `x` behind it: the value is written in hexadecimal digits; `e`: with the escapes
of a Python string. Space at the end of a line is no part of the value, as snmpsim reads it.
"""

from __future__ import annotations

import re
from typing import Final

from lab.snmp import ber, values
from lab.snmp.errors import RecordingError, SnmpValueError
from lab.snmp.values import Value

SUFFIX: Final = ".snmprec"
_TAG: Final = re.compile(r"([0-9]{1,3})([xe]?)")
_ESCAPE: Final = re.compile(rb"\\(x[0-9A-Fa-f]{2}|.)")
_ESCAPED: Final = {
    b"\\": b"\\",
    b"'": b"'",
    b'"': b'"',
    b"a": b"\a",
    b"b": b"\b",
    b"f": b"\f",
    b"n": b"\n",
    b"r": b"\r",
    b"t": b"\t",
    b"v": b"\v",
}
_NUMERIC: Final = (ber.INTEGER, values.COUNTER32, values.GAUGE32, values.TIME_TICKS, values.COUNTER64)
_BYTES: Final = (ber.OCTET_STRING, values.OPAQUE)


def read_recording(data: bytes, name: str) -> dict[bytes, Value]:
    """Return the values of a recording by encoded OID; of two lines for one OID the first counts.

    Args:
        data: the file.
        name: its name in errors.

    Raises:
        RecordingError: a line that is not written as above.
    """
    found: dict[bytes, Value] = {}
    for n, line in enumerate(data.split(b"\n"), 1):
        if not line.strip() or line.startswith(b"#"):
            continue
        try:
            oid, tag, value = line.strip().split(b"|", 2)
            found.setdefault(ber.oid(oid.decode("ascii")), _value(tag.decode("ascii"), value))
        except (ValueError, SnmpValueError) as err:
            raise RecordingError(f"{name} line {n}: expected OID|TAG|VALUE, got {line[:80]!r} ({err})") from err
    return found


def _value(tag_text: str, written: bytes) -> Value:
    match = _TAG.fullmatch(tag_text)
    if not match:
        raise SnmpValueError(f"expected a tag such as 4 or 4x, got {tag_text!r}")
    tag = int(match[1])
    content = written
    if match[2] == "x":
        content = bytes.fromhex(written.decode("ascii"))
    elif match[2] == "e":
        content = _ESCAPE.sub(_unescape, written)
    if tag in _BYTES:
        return Value(tag, content)
    if tag == values.IP_ADDRESS:
        return Value(tag, content) if match[2] and len(content) == 4 else values.ip(written.decode("ascii"))
    if tag in _NUMERIC and not match[2]:
        return values.number(tag, int(written))
    if tag == ber.OID and not match[2]:
        return values.oid(written.decode("ascii"))
    if tag == ber.NULL:
        return values.NOTHING
    raise SnmpValueError(f"expected a type of SNMP, got {tag_text!r}")


def _unescape(match: re.Match[bytes]) -> bytes:
    escape = match[1]
    return bytes((int(escape[1:], 16),)) if len(escape) == 3 else _ESCAPED.get(escape, match[0])
