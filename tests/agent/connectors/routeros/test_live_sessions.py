"""Whose a connection is: of both its ends, in every way that releases of RouterOS write it."""

from __future__ import annotations

import pytest

from agent.connectors.routeros.addresses import RouterResource
from agent.connectors.routeros.live_sessions import RUNNING, by_owner

HOME, NET, NET6 = "192.0.2.7", "192.0.2.0/29", "2001:db8:7::/56"


def owners(row: dict[str, str], *keys: str) -> set[str]:
    found = by_owner(RUNNING[RouterResource.FLOWS], [{"protocol": "tcp"} | row], keys or (HOME, NET, NET6), 0)
    return {owner for owner, rows in found.items() if rows}


@pytest.mark.parametrize(
    ("row", "whose"),
    [
        ({"src-address": "192.0.2.7:50000", "dst-address": "203.0.113.80:443"}, {HOME, NET}),
        ({"src-address": "192.0.2.7", "src-port": "50000", "dst-address": "203.0.113.80"}, {HOME, NET}),
        ({"src-address": "192.0.2.6:1", "dst-address": "203.0.113.80:443"}, {NET}),
        ({"src-address": "192.0.2.8:1", "dst-address": "203.0.113.80:443"}, set()),
        ({"src-address": "192.0.2.70:1", "dst-address": "203.0.113.80:443"}, set()),
        # from outside: to the address itself, or to one of ours that is its own behind a dst-nat
        ({"src-address": "203.0.113.80:1", "dst-address": "192.0.2.7:443"}, {HOME, NET}),
        (
            {"src-address": "203.0.113.80:1", "dst-address": "198.51.100.1:443", "reply-src-address": "192.0.2.7:443"},
            {HOME, NET},
        ),
        # where it goes is nobody's: a masquerade's address is the router's own
        (
            {"src-address": "10.0.0.9:1", "dst-address": "203.0.113.80:443", "reply-dst-address": "192.0.2.7:1"},
            set(),
        ),
        ({"src-address": "[2001:db8:7:1::9]:50000", "dst-address": "[2001:db8:ffff::80]:443"}, {NET6}),
        ({"src-address": "2001:db8:7:1::9", "src-port": "1", "dst-address": "2001:db8:ffff::80"}, {NET6}),
        ({"src-address": "2001:db8:7:1::9/128", "dst-address": "odd"}, set()),
        ({"src-address": "fe80::1%ether1", "dst-address": "ff02::1"}, set()),
        ({}, set()),
    ],
)
def test_whose_a_connection_is(row: dict[str, str], whose: set[str]) -> None:
    assert owners(row) == whose


def test_keys_that_are_no_addresses_own_nothing() -> None:
    row = {"src-address": "192.0.2.7:1", "dst-address": "203.0.113.80:443"}
    assert owners(row, "amina.h", "", "192.0.2.7/33", HOME) == {HOME}
    assert owners(row, "0.0.0.0/0", "::/0") == {"0.0.0.0/0"}


def test_sessions_are_their_users() -> None:
    rows = [{"name": "amina.h", "session-id": "0x81"}, {"name": "bob", "session-id": "0x82"}, {"session-id": "0x83"}]
    found = by_owner(RUNNING[RouterResource.ACTIVE], rows, ["amina.h", "eve"], 0)
    assert {owner: list(of) for owner, of in found.items()} == {"amina.h": ["0x81"], "eve": []}
