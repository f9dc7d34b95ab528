"""Rows of a CPE's tables, by their keys."""

from __future__ import annotations

from agent.cpe_model import rows
from agent.cpe_model.addresses import TableRow
from agent.cpe_model.known import CachedParameter
from agent.model import ABSENT

TABLE = "Device.NAT.PortMapping."


def found(**values: str | None) -> dict[str, CachedParameter]:
    """`_1_ExternalPort="80"` is field ExternalPort of row 1."""
    kinds = {"ExternalPort": "unsignedInt", "Enable": "boolean"}
    known = {}
    for name, value in values.items():
        _, number, field = name.split("_", 2)
        known[f"{TABLE}{number}.{field}"] = CachedParameter(value, kinds.get(field, "string"), 1)
    return known


def row(key: dict[str, str], *fields: str) -> TableRow:
    return TableRow(TABLE, key, fields)


def test_instances_are_rows_and_nothing_below_them() -> None:
    known = found(_1_Enable="1", _12_Enable="0")
    known[f"{TABLE}1.Stats.Bytes"] = CachedParameter("7", "unsignedInt", 1)
    known[f"{TABLE}NumberOfEntries"] = CachedParameter("2", "unsignedInt", 1)
    known["Device.NAT.PortMappingOther.1.Enable"] = CachedParameter("1", "boolean", 1)
    known[f"{TABLE}1."] = CachedParameter("", "string", 1)
    assert {n: list(fields) for n, fields in rows.instances(TABLE, known).items()} == {1: ["Enable"], 12: ["Enable"]}


def test_a_number_in_other_digits_is_no_row() -> None:
    known = found(_1_Enable="1")
    for odd in ("²", "①", "١"):  # each is a digit to `str.isdigit`
        known[f"{TABLE}{odd}.Enable"] = CachedParameter("1", "boolean", 1)
    assert set(rows.instances(TABLE, known)) == {1}


def test_a_row_is_found_by_its_key_in_whatever_spelling() -> None:
    known = found(_3_ExternalPort="0080", _3_Enable="1", _7_ExternalPort="8080", _7_Enable="true")
    assert rows.number_of(row({"ExternalPort": "80"}), known) == 3
    assert rows.number_of(row({"ExternalPort": "8080", "Enable": "1"}), known) == 7
    assert rows.number_of(row({"ExternalPort": "80", "Enable": "false"}), known) is None
    assert rows.number_of(row({"NoSuch": "80"}), known) is None


def test_a_key_that_several_have_is_ambiguous() -> None:
    known = found(_9_ExternalPort="80", _3_ExternalPort="80", _4_ExternalPort="81")
    assert rows.is_ambiguous(row({"ExternalPort": "80"}), known)
    assert rows.number_of(row({"ExternalPort": "80"}), known) == 3
    assert not rows.is_ambiguous(row({"ExternalPort": "81"}), known)
    assert not rows.is_ambiguous(row({"ExternalPort": "1"}), known)


def test_a_secret_is_no_key() -> None:
    assert rows.number_of(row({"Password": ""}), found(_1_Password=None)) is None


def test_a_rows_value_is_its_key_and_the_fields_that_matter() -> None:
    known = found(_3_ExternalPort="80", _3_Enable="1", _3_Other="x", _3_Password=None)
    key = {"ExternalPort": "80"}
    assert rows.value(row(key, "Enable", "Missing", "Password"), known) == {**key, "Enable": "true", "Password": ""}
    assert rows.value(row({"ExternalPort": "81"}, "Enable"), known) is ABSENT
