"""Dumps of a CPE's parameters, as operators have them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.cpe_model.dumps import BadDumpError, read_dump
from agent.cpe_model.known import CachedParameter

SSID = "Device.WiFi.SSID.1.SSID"
KEY = "Device.WiFi.AccessPoint.1.Security.KeyPassphrase"


CSV = f"""Parameter,Object,Writable,Value,Value type
Device,true,false,,
Device.IP.,false,,,
{SSID},false,true,home,xsd:string
{KEY},false,true,in clear,
"""
NESTED = st.recursive(
    st.none() | st.booleans() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (
            json.dumps(
                [
                    {"path": SSID, "value": "home", "type": "string", "before_reset": False},
                    {"path": KEY, "value": None, "type": "string"},
                    {"path": "Device.Old", "value": "x", "type": "string", "before_reset": True},
                ]
            ),
            {SSID: CachedParameter("home", "string", 0), KEY: CachedParameter(None, "string", 0)},
        ),
        (json.dumps({SSID: "home"}), {SSID: CachedParameter("home", "string", 0)}),
        (
            json.dumps(
                {
                    "_id": "000000-x",
                    "Device": {
                        "_object": True,
                        "UpTime": {"_value": 7, "_type": "xsd:unsignedInt", "_writable": False},
                        "WiFi": {"SSID": {"1": {"SSID": {"_value": "home", "_writable": True}}}},
                    },
                }
            ),
            {
                "Device.UpTime": CachedParameter("7", "unsignedInt", 0, writable=False),
                SSID: CachedParameter("home", "string", 0, writable=True),
            },
        ),
        (
            CSV,
            {
                SSID: CachedParameter("home", "string", 0, writable=True),
                KEY: CachedParameter(None, "string", 0, writable=True),
            },
        ),
    ],
    ids=["cpe get", "paths", "GenieACS", "genieacs-sim"],
)
def test_each_kind_of_dump_is_read_without_its_secrets(text: str, found: dict[str, CachedParameter]) -> None:
    assert read_dump(text) == found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "without the column Parameter"),
        ("{}", "a file without parameters"),
        ("[1]", "entry 1: expected an object with a path"),
        ("{", "expected what `cpe get --json` prints"),
        ("name,value\na,b\n", "without the column Parameter"),
        ('{"a":' * 50 + "1" + "}" * 50, "at most 40 objects inside each other"),
        ('{"a":' * 5000 + "1" + "}" * 5000, "expected "),
        (f'Parameter,Value\n"{"x" * 200_000}",y\n', "line 2: expected CSV"),
    ],
)
def test_what_is_no_dump_is_told(text: str, said: str) -> None:
    with pytest.raises(BadDumpError) as caught:
        read_dump(text)
    assert said in str(caught.value)


@given(text=st.text() | NESTED.map(json.dumps))
def test_any_text_is_a_dump_or_an_error(text: str) -> None:
    try:
        assert read_dump(text)
    except BadDumpError:
        pass


def test_a_byte_order_mark_is_no_part_of_a_dump() -> None:
    """Spreadsheets write one before the CSV that they save, and editors of Windows before JSON."""
    assert read_dump(f"\ufeff{CSV}") == read_dump(CSV)
    assert read_dump('\ufeff{"Device.X": "1"}') == {"Device.X": CachedParameter("1", "string", 0)}


@pytest.mark.parametrize("value", ["two\nlines", "two\r\nlines", "next\x85line", "a\u2028b"])
def test_a_value_in_quotes_may_have_line_ends(value: str) -> None:
    found = read_dump(f'Parameter,Value\nDevice.A,"{value}"\nDevice.B,2\n')
    assert {path: known.value for path, known in found.items()} == {"Device.A": value, "Device.B": "2"}


def test_a_first_line_that_is_no_csv_is_said() -> None:
    with pytest.raises(BadDumpError, match="line 1: expected CSV"):
        read_dump("x" * 200_000)
