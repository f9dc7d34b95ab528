"""The questions for connections, against the lab router's own reading of query words. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.connectors.routeros.connection_query import can_be_asked, ids_words, words_of
from lab.router.query import ids_asked, parse_query

ROWS = [
    {"protocol": "tcp", "src-address": "100.64.12.9:50000", "dst-address": "203.0.113.80:443"},
    {"protocol": "icmp", "src-address": "100.64.12.9", "dst-address": "203.0.113.80"},
    {"protocol": "udp", "src-address": "203.0.113.80:53", "dst-address": "100.64.12.9:1024"},
    {"protocol": "tcp", "src-address": "192.0.2.7:1", "dst-address": "1.2.3.4:80", "reply-src-address": "100.64.12.9"},
    {"protocol": "tcp", "src-address": "100.64.12.90:50000", "dst-address": "203.0.113.80:443"},
    {"protocol": "tcp", "src-address": "100.64.12.8:50000", "dst-address": "100.64.12.99:443"},
    {"protocol": "tcp", "src-address": "10.0.0.5:40000", "dst-address": "10.0.0.1:8729"},
    {"protocol": "udp", "src-address": "10.0.0.5:40001", "dst-address": "10.0.0.1:161"},
]  # fmt: skip


def asked(places: Sequence[str], known: Sequence[str] = ()) -> list[int]:
    test = parse_query([word.removeprefix("?") for word in words_of(places, known)])
    return [n for n, row in enumerate(ROWS) if test(row)]


@pytest.mark.parametrize(
    ("places", "known", "expected"),
    [
        (["100.64.12.9"], [], [0, 1, 2, 3]),
        (["100.64.12.9"], ["10.0.0.5"], [0, 1, 2, 3, 6]),  # an API session's, and no other of its host
        (["100.64.12.8/30"], [], [0, 1, 2, 3, 5]),
        (["100.64.12.0/24"], [], [0, 1, 2, 3, 4, 5]),
        (["100.64.12.9", "100.64.12.90/32"], [], [0, 1, 2, 3, 4]),
        (["198.51.100.1"], ["10.0.0.5"], [6]),
    ],
)
def test_what_the_words_find(places: list[str], known: list[str], expected: list[int]) -> None:
    assert asked(places, known) == expected


@given(st.integers(0, 2**32 - 1), st.integers(8, 32), st.integers(0, 2**32 - 1), st.booleans())
def test_no_connection_of_a_network_is_missed(address: int, length: int, other: int, inside: bool) -> None:
    network = ip_network((address, length), strict=False)
    one = network[other % network.num_addresses] if inside else ip_address(other)
    test = parse_query([word.removeprefix("?") for word in words_of([str(network)], [])])
    if one in network:
        for text in (str(one), f"{one}:443"):
            assert test({"dst-address": text, "src-address": "0.0.0.0:1"} if other % 2 else {"src-address": text})
    elif network.num_addresses <= 8:
        assert not test({"src-address": f"{one}:443"})


def test_what_can_be_asked() -> None:
    assert [can_be_asked(text) for text in ("100.64.0.1", "10.0.0.0/8", "10.0.0.0/7", "2001:db8::/64", "", "name")] == [
        True, True, False, False, False, False,
    ]  # fmt: skip


def test_rows_by_their_ids() -> None:
    assert ids_words(["*1"]) == ["?.id=*1"]
    words = ids_words(["*1", "*A", "*2"])
    test = parse_query([word.removeprefix("?") for word in words])
    assert [test({".id": id_}) for id_ in ("*1", "*A", "*2", "*3")] == [True, True, True, False]
    assert ids_asked([word.removeprefix("?") for word in words]) == ["*1", "*A", "*2"]
