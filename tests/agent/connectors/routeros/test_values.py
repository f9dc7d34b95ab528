"""One spelling per value: idempotent and total on any text, equal exactly when RouterOS means the same."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agent.connectors.routeros.menus import menus
from agent.connectors.routeros.values import RouterKind, normalize
from agent.connectors.routeros.versions import RECORDED
from tests.agent.connectors.routeros.make_tables import Json, sources
from tests.agent.connectors.routeros.recorded import export, needed
from tests.agent.connectors.routeros.spellings import MEANINGS, spell

ALPHABETS = (
    "0123456789wdhmsun:.",
    "0123456789kKMG/ ",
    "0123456789./-,!",
    "0123456789abcdefABCDEF:/%-.",
    "yesnotrufal,! ",
)
"""What values are written with: any text would seldom come near to being understood."""

texts = st.one_of(st.text(max_size=40), *(st.text(alphabet, max_size=40) for alphabet in ALPHABETS))


@pytest.mark.parametrize("kind", RouterKind)
@given(text=texts)
@example("9" * 5000)
@example("1" * 5000 + ":00:00")
@example("10.0.0.1/" + "9" * 5000)
@example("٣s")
@example("٣/٣")
@example("10.0.0.٣")
@example("::1%")
@example("::%2/64")
@example("fe80::1%ether1/64")
@example("\ud800")
@example("10.0.0.9-10.0.0.1")
@example("10.0.0.1/0.0.0.255")
@example("0.0.0.0-255.255.255.254")
@example("!!10.0.0.1")
@example("!")
@example(",")
def test_any_text_has_one_spelling_and_that_is_its_own(kind: RouterKind, text: str) -> None:
    once = normalize(kind, text)
    assert normalize(kind, once) == once


@pytest.mark.parametrize("kind", RouterKind)
@given(data=st.data())
def test_P17_texts_are_equal_exactly_when_they_mean_the_same(kind: RouterKind, data: st.DataObject) -> None:
    one = data.draw(MEANINGS[kind])
    other = data.draw(st.one_of(st.just(one), MEANINGS[kind]))
    ours, theirs = data.draw(spell(kind, one)), data.draw(spell(kind, other))
    assert (normalize(kind, ours) == normalize(kind, theirs)) == (one == other), (ours, theirs)


@pytest.mark.parametrize(
    ("kind", "text", "printed"),
    [
        # [tree] bounds of time arguments, as RouterOS prints them itself.
        (RouterKind.DURATION, "35w3d13h13m56s", "35w3d13h13m56s"),
        (RouterKind.DURATION, "00:00:00.200", "200ms"),
        (RouterKind.DURATION, "1d00:00:00", "1d"),
        (RouterKind.DURATION, "24:00:00", "1d"),
        (RouterKind.DURATION, "86400", "1d"),
        (RouterKind.DURATION, "none", "none"),
        (RouterKind.DURATION, "0", "0s"),
        (RouterKind.DURATION, "", ""),
        (RouterKind.DURATION, "1d1w", "1d1w"),
        (RouterKind.DURATION, "05:30", "05:30"),
        (RouterKind.DURATION, "00:90:00", "00:90:00"),
        # A queue's burst-time that a router printed, and its max-limit.
        (RouterKind.DURATION_PAIR, "1653w3d1h46m43s/1653w3d1h46m43s", "1653w3d1h46m43s/1653w3d1h46m43s"),
        (RouterKind.DURATION_PAIR, "10s", "10s"),
        (RouterKind.RATE_PAIR, "10M/20M", "10000000/20000000"),
        (RouterKind.RATE_PAIR, "256K/512k", "256000/512000"),
        (RouterKind.RATE_PAIR, "10M", "10M"),
        (RouterKind.RATE_PAIR, "unlimited/1G", "unlimited/1000000000"),
        (RouterKind.RATE, "010M", "010M"),
        (RouterKind.RATE_LIMIT, "2M", "2000000/2000000"),
        (
            RouterKind.RATE_LIMIT,
            "2M/5M  4M/10M",
            "2000000/5000000 4000000/10000000 2000000/5000000 1s/1s 8 2000000/5000000",
        ),
        (RouterKind.RATE_LIMIT, "2M/5M 4M/10M 2M/5M 16/16 9", "2M/5M 4M/10M 2M/5M 16/16 9"),
        (RouterKind.RATE_LIMIT, "", ""),
        (RouterKind.RATE_LIMIT, "1M/1M/1M", "1M/1M/1M"),
        (RouterKind.BOOL, "yes", "true"),
        (RouterKind.ENUM, "true", "yes"),
        (RouterKind.SWITCH, "", "true"),
        (RouterKind.LIST, "mschap2,pap", "mschap2,pap"),
        (RouterKind.LIST, "pap,mschap2", "mschap2,pap"),
        (RouterKind.LIST, "local,,api", "local,,api"),
        (RouterKind.LIST, "local,!ftp", "!ftp,local"),
        (RouterKind.MATCH_LIST, "!related,established", "!established,related"),
        (RouterKind.MATCH_LIST, "new,!invalid", "new,!invalid"),
        (RouterKind.MATCH_LIST, "", ""),
        (RouterKind.ADDRESS, "pool-cgnat", "pool-cgnat"),
        (RouterKind.ADDRESS, "2001:DB8::0001", "2001:db8::1"),
        (RouterKind.ADDRESS, "10.0.0.1/32", "10.0.0.1/32"),
        (RouterKind.ADDRESSES, "8.8.8.8,1.1.1.1", "8.8.8.8,1.1.1.1"),
        (RouterKind.INTERFACE_ADDRESS, "192.168.1.1/255.255.255.0", "192.168.1.1/24"),
        (RouterKind.INTERFACE_ADDRESS, "192.168.1.1", "192.168.1.1"),
        (RouterKind.PREFIX, "10.30.0.3", "10.30.0.3/32"),
        (RouterKind.PREFIX, "10.0.0.0/0.0.0.255", "10.0.0.0/0.0.0.255"),
        (RouterKind.PREFIX_LIST, "10.30.0.0/22,100.64.0.0/20", "10.30.0.0/22,100.64.0.0/20"),
        (RouterKind.PREFIX_LIST, "ether2,10.30.0.3", "10.30.0.3/32,ether2"),
        # [cli, address-list], its own examples.
        (RouterKind.RANGE, "203.0.113.77/24", "203.0.113.0/24"),
        (RouterKind.RANGE, "198.51.100.0-198.51.100.255", "198.51.100.0/24"),
        (RouterKind.RANGE, "203.0.113.1-254", "203.0.113.1-254"),
        (RouterKind.RANGE, "10.0.0.1/32", "10.0.0.1"),
        (RouterKind.RANGE, "2001:db8::1", "2001:db8::1/128"),
        (RouterKind.RANGE, "!10.0.0.1-10.0.0.9", "!10.0.0.1-10.0.0.9"),
        (RouterKind.RANGE, "example.com", "example.com"),
        (RouterKind.RANGES, "10.0.0.9,10.0.0.1-10.0.0.3", "10.0.0.9,10.0.0.1-10.0.0.3"),
        (RouterKind.MAC, "f0-18-98-6b-f8-ce", "F0:18:98:6B:F8:CE"),
        (RouterKind.MAC, "f0-18:98-6b-f8-ce", "f0-18:98-6b-f8-ce"),
        (RouterKind.CLIENT_ID, "01:00:11:32:9E:7F:63", "1:0:11:32:9e:7f:63"),
        (RouterKind.CLIENT_ID, "client", "client"),
        (RouterKind.TEXT, "true", "true"),
        (RouterKind.TEXT, "001-gomez casa ", "001-gomez casa "),
        (RouterKind.INTEGER, "010", "010"),
    ],
)
def test_a_value_is_spelled_as_routeros_prints_it(kind: RouterKind, text: str, printed: str) -> None:
    assert normalize(kind, text) == printed


def _descriptions(tree: Json) -> Iterator[str]:
    for name, inside in tree.items():
        if name == "desc" and isinstance(inside, str):
            yield inside
        elif isinstance(inside, dict):
            yield from _descriptions(inside)


def test_durations_that_routeros_prints_are_spelled_its_way() -> None:
    needed()
    found = {
        bound
        for tree in sources().trees.values()
        for text in _descriptions(tree)
        if text.endswith("(time interval)")
        for bound in re.split(r"\.\.| ", text.removesuffix("(time interval)").strip())
        if re.fullmatch(r"(?:\d+(?:w|d|h|m|s|ms|us))+", bound)
    }
    assert len(found) > 20
    assert {text for text in found if normalize(RouterKind.DURATION, text) != text} == set()


def test_what_an_export_has_means_something_to_its_kind() -> None:
    """A kind that is the wrong one would not understand what routers write: what it leaves as it is, is looked at."""
    needed()
    release = RECORDED[0]
    odd: dict[str, set[str]] = {}
    spelled = {
        RouterKind.RATE_PAIR: r"\d+/\d+",
        RouterKind.DURATION: r"none|(?:\d+[a-z]+)+",
        RouterKind.BOOL: "true|false",
    }
    spelled |= {RouterKind.MAC: r"(?:[0-9A-F]{2}:){5}[0-9A-F]{2}", RouterKind.INTERFACE_ADDRESS: r"[\d.]+/\d+"}
    spelled |= {RouterKind.DURATION_PAIR: r"(?:\d+[a-z]+)+/(?:\d+[a-z]+)+", RouterKind.CLIENT_ID: "[0-9a-f:]+"}
    spelled |= {RouterKind.RATE_LIMIT: r"|\d+/\d+(?: \d+/\d+ \d+/\d+ \S+s/\S+s \d \d+/\d+)?"}
    for file in ("routeros-diff-verbose_export-6.48.1.rsc", "synthetic-wisp-v6.rsc", "synthetic-wisp-v7.rsc"):
        for line in export(file):
            menu = menus(release).get(line.path)
            for name, text in line.values.items() if menu else ():
                kind = menu.properties[name].kind if menu else RouterKind.TEXT
                if not re.fullmatch(spelled.get(kind, ".*"), normalize(kind, text), re.DOTALL):
                    odd.setdefault(f"{line.path} {name}", set()).add(text)
    assert odd == {}
