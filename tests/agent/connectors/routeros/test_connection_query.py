"""The questions for connections, against the lab router's own reading of query words. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv6Address, IPv6Network, ip_address, ip_network

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agent.connectors.routeros.connection_query import SIDES, can_be_asked, counted_words, ids_words, words_of
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


@pytest.mark.assumed("routeros-ends-as-texts")
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


@pytest.mark.assumed("routeros-ends-as-texts")
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


GROUPS = st.lists(st.sampled_from([0, 0, 0, 1, 0x20, 0x20B, 0xABCD, 0xFFFF]), min_size=8, max_size=8)


@pytest.mark.assumed("routeros-ends-as-texts", "routeros-ipv6-ends-short")
@given(groups=GROUPS, length=st.integers(32, 128), other=GROUPS, inside=st.booleans(), side=st.sampled_from(SIDES))
@example(
    groups=[0x2001, 0xDB8, 7, 0, 0, 0, 0, 0], length=56, other=[0, 0, 0, 0, 0, 0, 0, 1], inside=True, side="src-address"
)
@example(
    groups=[0x2001, 0, 0, 1, 0, 0, 0, 0], length=64, other=[0, 0, 0, 0, 1, 1, 1, 1], inside=True, side="dst-address"
)
@example(
    groups=[0x2001, 0xDB8, 0, 0, 0, 0, 0, 0], length=64, other=[0, 0, 0, 0, 1, 1, 1, 1], inside=True, side="dst-address"
)
def test_no_connection_of_an_ipv6_network_is_missed(
    groups: list[int], length: int, other: list[int], inside: bool, side: str
) -> None:
    def number(of: list[int]) -> int:
        return sum(group << 112 - 16 * n for n, group in enumerate(of))

    network = IPv6Network((number(groups), length), strict=False)
    within = number(other) & int(network.hostmask)
    one = IPv6Address(int(network.network_address) | within) if inside else IPv6Address(number(other))
    test = parse_query([word.removeprefix("?") for word in words_of([str(network)], [])])
    if one in network:
        for text in (str(one), f"[{one}]:443", f"[{one}]"):
            assert test({side: text}), (network, one)


@pytest.mark.assumed("routeros-ends-as-texts")
def test_few_ipv6_connections_of_others_are_told() -> None:
    test = parse_query([word.removeprefix("?") for word in words_of(["2001:db8:7:ab00::/56", "2001:db8:9::/64"], [])])
    for mine in ("2001:db8:7:ab12::5", "2001:db8:9::1", "2001:db8:9:0:1:2:3:4"):
        assert test({"src-address": f"[{mine}]:443"})
    for other in ("2001:db8:7:ac12::5", "2001:db8:8::1", "2001:db8:90::1", "2001:db8:9:1:1:2:3:4"):
        assert not test({"src-address": f"[{other}]:443"})


@pytest.mark.assumed("routeros-ends-as-texts")
def test_how_ends_begin_is_counted() -> None:
    inside, outside, never = (
        parse_query([word.removeprefix("?") for word in words])
        for words in (counted_words(), counted_words(outside=True), counted_words(never=True))
    )
    for text in ("2001:db8::1", "[2001:db8::1]:443", "fe80::1", "::1", "[::1]:5"):
        row = {"src-address": text}
        assert (inside(row), outside(row), never(row)) == (True, False, False)
    for text in ("x", "A::1", "", "zone"):
        assert outside({"src-address": text})
    assert never({"src-address": "zone"})


def test_what_can_be_asked() -> None:
    assert [can_be_asked(text) for text in ("100.64.0.1", "10.0.0.0/8", "10.0.0.0/7", "2001:db8::/64", "", "name")] == [
        True, True, False, False, False, False,
    ]  # fmt: skip
    assert [can_be_asked(text, 6) for text in ("2001:db8::/32", "2001:d00::/24", "::1", "100.64.0.1")] == [
        True, False, True, False,
    ]  # fmt: skip


def test_rows_by_their_ids() -> None:
    assert ids_words(["*1"]) == ["?.id=*1"]
    words = ids_words(["*1", "*A", "*2"])
    test = parse_query([word.removeprefix("?") for word in words])
    assert [test({".id": id_}) for id_ in ("*1", "*A", "*2", "*3")] == [True, True, True, False]
    assert ids_asked([word.removeprefix("?") for word in words]) == ["*1", "*A", "*2"]
