"""Rows by their natural key: what makes *before* into *after*, and what is refused."""

from __future__ import annotations

import pytest

from agent.connectors.routeros.addresses import RouterResource, Tables, address, entry_key, member, parse, rows_value
from agent.connectors.routeros.live_sessions import RUNNING, end_of
from agent.connectors.routeros.menus import UnwritableError, menu
from agent.connectors.routeros.rows import KEPT, by_key, value_of, verb_of, words_of
from agent.connectors.routeros.versions import Version
from agent.model import ABSENT, SecretRef, Seen, Transition, Value

VERSIONS = [Version.parse_untrusted(v) for v in ("6.49.18", "7.15.3", "7.20.8", "7.24")]
VERSION = VERSIONS[2]
ENTRY = {
    "address": "192.0.2.7",
    "list": "suspended",
    "disabled": "false",
    "dynamic": "false",
    "comment": "isp:suspended",
}


def change(resource: RouterResource, before: Value, after: Value) -> Transition:
    return Transition(address("routeros/edge-1", resource, "x"), Seen(before, 0), after)


def words(resource: RouterResource, before: Value, after: Value, version: Version = VERSION) -> list[str]:
    return words_of(menu(KEPT[resource].path, version), change(resource, before, after))


@pytest.mark.parametrize("version", VERSIONS, ids=str)
def test_a_new_entry_says_what_the_router_does_not_say_itself(version: Version) -> None:
    said = words(RouterResource.LIST, ABSENT, ENTRY, version)
    assert sorted(said) == ["=address=192.0.2.7", "=comment=isp:suspended", "=list=suspended"]
    assert verb_of(change(RouterResource.LIST, ABSENT, ENTRY)) == "add"


def test_an_entry_is_taken_away() -> None:
    assert words(RouterResource.LIST, ENTRY, ABSENT) == []
    assert verb_of(change(RouterResource.LIST, ENTRY, ABSENT)) == "remove"


def test_only_what_differs_is_written() -> None:
    queue = {"name": "q", "max-limit": "20000000/20000000", "disabled": "false"}
    assert words(RouterResource.QUEUE, queue, {**queue, "max-limit": "5000000/5000000"}) == [
        "=max-limit=5000000/5000000"
    ]
    assert verb_of(change(RouterResource.QUEUE, queue, {**queue, "disabled": "true"})) == "set"


def test_what_a_row_loses() -> None:
    lease = {"mac-address": "02:00:00:00:00:01", "rate-limit": "5M/5M", "comment": "isp:suspended"}
    without = {"mac-address": "02:00:00:00:00:01", "rate-limit": "5M/5M"}
    assert words(RouterResource.LEASE, lease, without) == ["=comment="]
    with pytest.raises(UnwritableError, match="server cannot be taken away"):
        words(RouterResource.LEASE, {**lease, "server": "dhcp1"}, lease)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (ABSENT, ABSENT),
        ({"name": "a"}, {"name": "a"}),
        ({"name": "a", "password": SecretRef("00" * 32)}, {"name": "a", "password": "in-clear"}),
        ({"name": "a", "profile": "x"}, {"name": "a", "profile": ("x", "y")}),
        ({"name": "a"}, {"name": "a", "nobody-knows": "this"}),
    ],
)
def test_what_may_not_be_written(before: Value, after: Value) -> None:
    with pytest.raises(UnwritableError):
        words(RouterResource.SECRET, before, after)


def test_several_rows_of_one_key_are_no_value_to_write_on() -> None:
    rows = [{"name": "a", "profile": "x"}, {"name": "a", "profile": "y"}]
    kept = KEPT[RouterResource.SECRET]
    found = by_key(kept, rows)
    value = value_of(menu(kept.path, VERSION), address("r/e", RouterResource.SECRET, "a"), found["a"], lambda a, b: "")
    assert value == {"copies": "2"}


def test_a_mac_and_an_entry_have_one_spelling() -> None:
    lease, entry = KEPT[RouterResource.LEASE], KEPT[RouterResource.LIST6]
    assert lease.key_of({"mac-address": "aa:bb:cc:dd:ee:ff"}) == "AA:BB:CC:DD:EE:FF"
    assert entry.key_of({"address": "2001:DB8:0::/56", "list": "a b"}) == "2001:db8::/56 a b"
    assert entry.queried("2001:db8::/56 a b") == "a b"
    assert entry_key("192.0.2.7/32", "suspended") == "192.0.2.7 suspended"


@pytest.mark.parametrize(
    ("entries", "asked", "how"),
    [
        ({"192.0.2.7": "static"}, "192.0.2.7", "static"),
        ({"192.0.2.7": "dynamic"}, "192.0.2.7/32", "dynamic"),
        ({"192.0.2.0/24": "static"}, "192.0.2.7", "static"),
        ({"192.0.2.1-192.0.2.9": "static"}, "192.0.2.7", "static"),
        ({"192.0.2.1-192.0.2.6": "static"}, "192.0.2.7", ""),
        ({"192.0.2.7": "static"}, "192.0.2.0/24", ""),
        ({"2001:db8::/48": "static"}, "2001:db8:0:1::/64", "static"),
        ({"2001:db8::/48": "static"}, "192.0.2.7", ""),
        ({"pay.example": "static", "1-2": "static", "9.9.9.9-1.1.1.1": "static"}, "192.0.2.7", ""),
        ({"0.0.0.0/0": "static"}, "not an address", ""),
    ],
)
def test_who_is_in_a_list(entries: dict[str, str], asked: str, how: str) -> None:
    assert member(entries, asked) == how


def test_addresses_and_back() -> None:
    for resource in RouterResource:
        for key in ("a", "a/b c", "2001:db8::/56 x/y"):
            assert parse("routeros/edge-1", address("routeros/edge-1", resource, key)) == (resource, key)
    for text in ("routeros/edge-2/ppp/secret/a", "routeros/edge-1/ppp/secret", "routeros/edge-1/ppp/secret/", "x"):
        assert parse("routeros/edge-1", text) is None


def test_rows_taken_apart_are_those_that_were_read_last() -> None:
    tables, where = Tables(), address("routeros/edge-1", RouterResource.QUEUES, "all")
    rows = [{"name": "home", "target": "192.0.2.7/32"}, {"name": "next"}]
    seen = {where: Seen(rows_value((str(n), row) for n, row in enumerate(rows)), 0)}
    assert list(tables.rows(where, seen)) == rows
    assert tables.rows(where, seen) is tables.rows(where, dict(seen))
    assert list(tables.rows(where, {where: Seen(rows_value([("0", rows[1])]), 1)})) == rows[1:]
    assert list(tables.rows(where, {where: Seen(ABSENT, 2)})) == []


def test_what_is_running_is_ended_by_its_own_verb() -> None:
    target = "routeros/edge-1"
    verbs = {owner: end_of(address(target, owner, "x"), "key", 7).verb for owner in RUNNING}
    assert verbs[RouterResource.ACTIVE] == verbs[RouterResource.HOTSPOT_ACTIVE] == "disconnect"
    assert (verbs[RouterResource.COOKIES], verbs[RouterResource.FLOWS], verbs[RouterResource.FLOWS6]) == (
        "forget",
        "cut",
        "cut",
    )
    effect = end_of(address(target, RouterResource.FLOWS, "192.0.2.7"), "key", 7, now="3 connections")
    assert (effect.key, effect.within_s, effect.args) == ("key", 7, {"now": "3 connections"})
    for wrong in (address(target, RouterResource.SECRET, "x"), address(target, RouterResource.FLOWS, "")):
        with pytest.raises(ValueError, match="expected the address of an owner"):
            end_of(wrong, "key", 7)
