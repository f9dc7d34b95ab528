"""What a CPE is called."""

from __future__ import annotations

import re
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.connectors.cwmp.identity import cpe_id, target_id
from agent.connectors.cwmp.structs import DeviceId
from agent.cpe_model.addresses import name_of

PARTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=64)
OUIS = st.text("0123456789abcdefABCDEF", min_size=6, max_size=6)


def named(oui: str, product_class: str, serial: str) -> str | None:
    return cpe_id(DeviceId("Maker", oui, product_class, serial))


@pytest.mark.parametrize(
    ("oui", "product_class", "serial", "name"),
    [
        ("00259E", "HG8245", "48575443", "00259E-HG8245-48575443"),
        ("00259e", "HG8245", "48575443", "00259E-HG8245-48575443"),
        (" 00259E ", " HG8245 ", " 48575443 ", "00259E-HG8245-48575443"),
        ("00259E", "", "48575443", "00259E-48575443"),
        ("00259E", "A-B", "C", "00259E-A%2DB-C"),
        ("00259E", "A/B", "../..", "00259E-A%2FB-..%2F.."),
        ("00259E", "Größe", "a b~", "00259E-Gr%C3%B6%C3%9Fe-a%20b%7E"),
        ("00259E", "%2D", "_.", "00259E-%252D-_."),
    ],
)
def test_names(oui: str, product_class: str, serial: str, name: str) -> None:
    assert named(oui, product_class, serial) == name


@pytest.mark.parametrize(
    ("oui", "product_class", "serial"),
    [
        ("", "HG8245", "1"),
        ("00259", "HG8245", "1"),
        ("00259EA", "HG8245", "1"),
        ("00259G", "HG8245", "1"),
        ("\u0660\u0660\u0660\u0660\u0660\u0660", "HG8245", "1"),
        ("00259E", "HG8245", ""),
        ("00259E", "HG8245", "   "),
        ("00259E", "\U0001f4f6" * 64, "\U0001f4f6" * 64),
    ],
)
def test_who_says_too_little_has_none(oui: str, product_class: str, serial: str) -> None:
    assert named(oui, product_class, serial) is None


@given(OUIS, PARTS, PARTS)
def test_a_name_is_plain_and_says_who_it_is(oui: str, product_class: str, serial: str) -> None:
    name = named(oui, product_class, serial)
    if name is None:
        assert not serial.strip() or len(f"{product_class}{serial}".encode()) > 100
        return
    assert re.fullmatch(r"[A-Za-z0-9_.%-]{1,400}", name)
    parts = [unquote(part) for part in name.split("-")]
    device = DeviceId("", oui, product_class, serial)
    assert parts == [part for part in device.key if part]
    assert name_of(target_id(name)) == name
    assert target_id(name).count("/") == 1


@given(st.tuples(OUIS, PARTS, PARTS), st.tuples(OUIS, PARTS, PARTS))
def test_two_cpe_never_have_one_name(one: tuple[str, str, str], two: tuple[str, str, str]) -> None:
    name = named(*one)
    same = DeviceId("", *one).key == DeviceId("", *two).key
    assert name is None or (name == named(*two)) == same
