"""Query words, with the examples of MikroTik's manual."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.router.errors import Trap
from lab.router.query import looked_up, parse_query

ETHER = {"name": "ether1", "type": "ether", "mtu": "1500"}
VLAN = {"name": "vlan9", "type": "vlan", "mtu": "900", "comment": "x"}
BRIDGE = {"name": "br", "type": "bridge", "mtu": "10000"}


def shown(*words):
    test = parse_query(words)
    return [row["name"] for row in (ETHER, VLAN, BRIDGE) if test(row)]


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ((), ["ether1", "vlan9", "br"]),
        (("type=vlan",), ["vlan9"]),
        (("=type=vlan",), ["vlan9"]),
        (("comment",), ["vlan9"]),
        (("-comment",), ["ether1", "br"]),
        ((">mtu=1000",), ["ether1", "br"]),
        (("<mtu=1500",), ["vlan9"]),
        (("type=ether", "type=vlan", "#|"), ["ether1", "vlan9"]),
        (("type=ether", "type=vlan", "#|!"), ["br"]),
        (("type=ether", "mtu=1500"), ["ether1"]),
        (("type=ether", "type=vlan", "type=bridge", "#||"), ["ether1", "vlan9", "br"]),
        (("type=ether", "#.!|"), ["ether1", "vlan9", "br"]),
        (("type=ether", "type=vlan", "#1."), ["ether1"]),
        (("type=ether", "type=vlan", "#1|&"), ["ether1"]),
        (("name=a=b",), []),
    ],
)
def test_queries(words, names):
    assert shown(*words) == names


@pytest.mark.parametrize("words", [("#|",), ("a=1", "#&"), ("a=1", "#9"), ("#x",), ("a=1", "#1.")])
def test_no_query(words):
    with pytest.raises(Trap, match="invalid query") as refused:
        parse_query(words)
    assert refused.value.category == 5


@given(st.lists(st.text(max_size=6) | st.from_regex(r"#[0-9.|&!]{0,6}", fullmatch=True), max_size=5))
def test_total(words):
    try:
        test = parse_query(words)
    except Trap:
        return
    assert test({"a": "1"}) in (True, False)


def test_a_question_of_thousands_of_words_is_answered():
    many = [f"mtu={n}" for n in range(3000)]
    assert shown(*many, *["#|"] * 2999) == ["ether1", "vlan9"]
    assert shown(*many, "#" + "|" * 2999) == ["ether1", "vlan9"]
    assert shown(many[0], *(word for one in many[1:] for word in (one, "#|"))) == ["ether1", "vlan9"]


def test_looked_up_is_only_what_every_row_must_equal():
    assert looked_up(("name=x", "=type=y")) == {"name": "x", "type": "y"}
    assert looked_up(("name=x", "name=y", "#|")) == {}
    assert looked_up(("name", "-name", ">name=1")) == {}
