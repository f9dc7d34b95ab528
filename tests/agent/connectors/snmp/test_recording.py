"""Recordings: tags, forms, and lines that are none."""

from __future__ import annotations

import pytest

from agent.connectors.snmp import values
from agent.connectors.snmp.errors import MalformedRecordingError
from agent.connectors.snmp.recording import read_recording_untrusted, scalars_and_columns


def one(line: str) -> values.Value:
    (value,) = read_recording_untrusted(line).values()
    return value


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("1.3.6.1|2|-65", (values.INTEGER, -65)),
        ("1.3.6.1|70|18446744073709551615", (values.COUNTER64, 2**64 - 1)),
        ("1.3.6.1|4|a|b", (values.OCTET_STRING, b"a|b")),
        ("1.3.6.1|4|", (values.OCTET_STRING, b"")),
        ("1.3.6.1|4x|00ff", (values.OCTET_STRING, b"\x00\xff")),
        (r"1.3.6.1|4e|(\x00\n\\", (values.OCTET_STRING, b"(\x00\n\\")),
        ("1.3.6.1|6|1.3.6", (values.OBJECT_IDENTIFIER, b"\x2b\x06")),
        ("1.3.6.1|64|192.0.2.1", (values.IP_ADDRESS, b"\xc0\x00\x02\x01")),
        ("1.3.6.1|64x|c0000201", (values.IP_ADDRESS, b"\xc0\x00\x02\x01")),
        ("1.3.6.1|128|", (values.NO_SUCH_OBJECT, b"")),
    ],
)
def test_values(line: str, value: values.Value) -> None:
    assert one(line) == value


@pytest.mark.parametrize(
    "line",
    [
        "1.3.6.1",
        "1.3.6.1|2",
        "1.3.6.1|x|1",
        "one|2|1",
        "1.3.6.1|2|1.5",
        "1.3.6.1|65|-1",
        "1.3.6.1|65|4294967296",
        "1.3.6.1|3|1",
        "1.3.6.1|64|192.0.2.256",
        "1.3.6.1|4x|0g",
        "1.3.6.1|6|a.b",
    ],
)
def test_a_line_that_is_none_is_named(line: str) -> None:
    with pytest.raises(MalformedRecordingError if "a.b" not in line else Exception, match="expected"):
        read_recording_untrusted(f"# comment\n\n{line}")


def test_columns_are_cut_by_index() -> None:
    recorded = read_recording_untrusted("1.3.1.1.7|2|1\n1.3.1.1.300|2|2\n1.3.1.2.7|2|3\n1.3.2.0|2|4\n1.3.1.10.7|2|5\n")
    column, other = values.oid("1.3.1.1"), values.oid("1.3.1.2")
    scalar = values.oid("1.3.2.0")
    scalars, columns = scalars_and_columns(recorded, (scalar,), ((column, other),))
    assert scalars == {scalar: (values.INTEGER, 4)}
    assert columns == {
        column: {b"\x07": (values.INTEGER, 1), b"\x82\x2c": (values.INTEGER, 2)},
        other: {b"\x07": (values.INTEGER, 3)},
    }
