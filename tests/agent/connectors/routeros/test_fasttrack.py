"""Whether FastTrack may take somebody's connections past the queues: one way of two is enough."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.connectors.routeros.fasttrack import lists_asked, takes
from agent.connectors.routeros.matching import Rule

MINE = [ip_network("192.0.2.7")]
FAST = "action=fasttrack-connection connection-state=established,related"
OPEN = "action=accept connection-state=established,related,untracked"


def rules(*lines: str) -> list[Rule]:
    return [{"chain": "forward"} | dict(word.split("=", 1) for word in line.split()) for line in lines]


def taken(*lines: str) -> str:
    return takes(rules(*lines), MINE, lambda name: name == "shaped")


@pytest.mark.parametrize(
    "lines",
    [
        (),
        (OPEN,),
        (f"{FAST} disabled=true",),
        (f"{FAST} invalid=true",),
        (f"{FAST} src-address-list=!shaped dst-address-list=!shaped",),
        (f"{FAST} src-address=198.51.100.0/24 dst-address=198.51.100.0/24",),
        (f"{FAST} src-address=!192.0.2.0/24 dst-address-list=!shaped",),
        (f"{OPEN} src-address-list=shaped", f"{OPEN} dst-address-list=shaped", FAST),
        (f"{OPEN} src-address=192.0.2.0/24", f"{OPEN} dst-address=192.0.2.0-192.0.2.99", FAST),
        (f"{OPEN} src-address-list=shaped", f"{FAST} dst-address-list=!shaped"),
        (OPEN, FAST),
        ("action=accept", FAST),
        (f"{FAST} in-interface=ether1 src-address-list=!shaped dst-address-list=!shaped",),
        ("action=accept in-interface=ether1", f"{FAST} in-interface=ether1"),
    ],
)
def test_it_is_spared(lines: tuple[str, ...]) -> None:
    assert taken(*lines) == ""


@pytest.mark.parametrize(
    "lines",
    [
        (FAST,),
        (f"{FAST} in-interface=ether9",),
        (f"{FAST} chain=customers",),
        (f"{FAST} src-address-list=!shaped",),
        (f"{FAST} dst-address-list=!shaped",),
        (f"{FAST} src-address-list=!others dst-address-list=!others",),
        (f"{FAST} src-address=198.51.100.0/24",),
        (f"{FAST} src-address=192.0.2.0/24 dst-address=192.0.2.0/24",),
        (f"{FAST} src-address=!192.0.2.128/25 dst-address=!192.0.2.128/25",),
        (f"{FAST} src-address=nonsense dst-address=nonsense",),
        (f"{OPEN} src-address-list=shaped", FAST),
        (f"{OPEN} src-address-list=!shaped", f"{OPEN} dst-address-list=!shaped", FAST),
        (f"{OPEN} src-address-list=shaped disabled=true", f"{OPEN} dst-address-list=shaped", FAST),
        (f"{OPEN} chain=input", FAST),
        ("action=accept connection-state=established", FAST),
        ("action=accept connection-state=!new", FAST),
        ("action=accept protocol=tcp", FAST),
        ("action=passthrough", FAST),
        (FAST, OPEN),
    ],
)
def test_it_may_be_taken(lines: tuple[str, ...]) -> None:
    assert taken(*lines).startswith("rule ")


def test_on_which_lists_it_hangs() -> None:
    found = rules(f"{OPEN} src-address-list=shaped", "action=drop src-address-list=bad chain=input", FAST)
    assert lists_asked(found) == {"shaped"}
    assert lists_asked(rules("action=drop src-address-list=bad")) == frozenset()
    assert lists_asked(rules(f"{FAST} dst-address-list=!shaped")) == {"shaped"}


WORDS = st.sampled_from(["accept", "fasttrack-connection", "drop", "!shaped", "shaped", "", "forward", "192.0.2.0/24"])
NAMES = st.sampled_from(["chain", "action", "src-address-list", "dst-address", "connection-state", "protocol"])


@given(st.lists(st.dictionaries(NAMES, WORDS), max_size=6))
def test_any_rules_give_an_answer(found: list[dict[str, str]]) -> None:
    answer = takes(found, MINE, lambda name: name == "shaped")
    if not any(rule.get("action") == "fasttrack-connection" for rule in found):
        assert answer == ""
