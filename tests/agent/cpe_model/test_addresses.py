"""Addresses of what a CPE has."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.cpe_model.addresses import (
    BOOTS,
    FIRMWARE,
    PATH_CHARS,
    RESETS,
    RUN,
    TableRow,
    address,
    is_path,
    row_address,
    what_of,
)
from agent.cpe_model.errors import BadAddressError
from agent.model import Address

NAME = "02AC5F-Box-S1"
TARGET = f"cwmp/{NAME}"
FIELDS = st.from_regex(r"[A-Za-z_][A-Za-z0-9_-]{0,10}", fullmatch=True)
TEXTS = st.text(st.characters(exclude_characters="[](),=", exclude_categories=("Cs",)), min_size=1, max_size=20)
TABLES = st.lists(FIELDS | st.integers(1, 99).map(str), max_size=4).map(
    lambda parts: ".".join(["Device", *parts]) + "."
)
ROWS = st.builds(
    TableRow, TABLES, st.dictionaries(FIELDS, TEXTS, min_size=1, max_size=3), st.lists(FIELDS, max_size=3).map(tuple)
)


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("Device.WiFi.SSID.1.SSID", True),
        ("Device.", True),
        ("InternetGatewayDevice.X_00259E_Vendor.A-b", True),
        ("", False),
        (".", False),
        ("Device..A", False),
        ("Device.0.A", False),
        ("Device.01.A", False),
        ("1.Device", False),
        ("Device.A b", False),
        ("Device.A\n", False),
        ("Device.[A=1].B", False),
        ("Device./etc/passwd", False),
        ("D" * PATH_CHARS, True),
        ("D" * (PATH_CHARS + 1), False),
    ],
)
def test_paths(text: str, good: bool) -> None:
    assert is_path(text) is good


@pytest.mark.parametrize(
    "what", ["Device.WiFi.SSID.1.SSID", BOOTS, RESETS, FIRMWARE, RUN + "Device.IP.Diagnostics.IPPing."]
)
def test_what_an_address_names(what: str) -> None:
    assert what_of(address(TARGET, what)) == what


def test_a_row() -> None:
    row = TableRow("Device.NAT.PortMapping.", {"ExternalPort": "8080", "Protocol": "TCP"}, ("Enable", "InternalPort"))
    addr = row_address(TARGET, row)
    assert addr == f"cwmp/{NAME}/Device.NAT.PortMapping.[ExternalPort=8080,Protocol=TCP](Enable,InternalPort)"
    assert what_of(addr) == row
    assert row.names == ("ExternalPort", "Protocol", "Enable", "InternalPort")


@given(ROWS)
def test_rows_and_back(row: TableRow) -> None:
    assert what_of(row_address(TARGET, row)) == row


@pytest.mark.parametrize(
    "row",
    [
        TableRow("Device.T.", {}, ("A",)),
        TableRow("Device.T.", {"A": ""}, ()),
        TableRow("Device.T.", {"A b": "1"}, ()),
        *(TableRow("Device.T.", {"A": f"1{c}"}, ()) for c in "[](),="),
        TableRow("Device.T.", {"A": "1"}, ("B,C",)),
        TableRow("Device.T.", {"A": "1"}, ("",)),
        TableRow("Device T.", {"A": "1"}, ()),
        TableRow("", {"A": "1"}, ()),
    ],
)
def test_rows_that_no_address_can_hold(row: TableRow) -> None:
    with pytest.raises(BadAddressError):
        row_address(TARGET, row)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "cwmp",
        f"cwmp/{NAME}",
        f"cwmp/{NAME}/",
        f"cwmp/{NAME}/@other",
        f"cwmp/{NAME}/@run:",
        f"cwmp/{NAME}/Device.A B",
        f"cwmp/{NAME}/Device.T.[A]()",
        f"cwmp/{NAME}/Device.T.[A=]()",
        f"cwmp/{NAME}/Device.T.[=1]()",
        f"cwmp/{NAME}/Device.T.[]()",
        f"cwmp/{NAME}/Device.T.[A=1,A=2]()",
        f"cwmp/{NAME}/Device.T.[A=1,]()",
        f"cwmp/{NAME}/Device.T.[A=1](B,)",
        f"cwmp/{NAME}/Device.T.[A=1](B C)",
        f"cwmp/{NAME}/Device.T[A=1](B)",
        f"cwmp/{NAME}/Device.T.[A=1](B)more",
        f"cwmp/{NAME}/Device.T.[A=1]",
    ],
)
def test_what_is_no_address_of_ours(text: str) -> None:
    with pytest.raises(BadAddressError):
        what_of(Address(text))


@given(st.text("D.[]=(),1A/@-", max_size=30) | st.text(max_size=30))
def test_any_text_names_something_or_is_refused(text: str) -> None:
    addr = Address(f"cwmp/{NAME}/{text}")
    try:
        what = what_of(addr)
    except BadAddressError:
        return
    assert (row_address(TARGET, what) if isinstance(what, TableRow) else address(TARGET, what)) == addr
