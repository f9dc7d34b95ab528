"""Menus and arguments of each version."""

from __future__ import annotations

import json

import pytest

from lab.router.device import Router
from lab.router.errors import UnknownVersionError
from lab.router.facts import HARDWARE, facts_of, parse_version
from lab.tests.router.data import recorded

TREES = ("7.15.3", "7.20.8", "7.24")


@pytest.mark.parametrize("version", TREES)
def test_menus_verbs_and_arguments_are_the_recorded_ones(version):
    tree = json.loads(recorded(f"restraml/inspect-{version}.json").read_text("utf-8"))
    facts = facts_of(version)
    seen = 0

    def compare(node, path):
        nonlocal seen
        menu = facts.menu(path)
        children = {k: v for k, v in node.items() if isinstance(v, dict)}
        verbs = {k: v for k, v in children.items() if v["_type"] == "cmd"}
        virtual = path in HARDWARE  # the trees are a virtual router's, which has no sensors
        assert virtual or set(menu.verbs) == set(verbs), path
        for verb, command in verbs.items():
            if verb != "reset" and not virtual:  # its arguments are set's
                assert menu.verbs[verb] == {k for k, v in command.items() if isinstance(v, dict)}, (path, verb)
                seen += 1
        for name, child in children.items():
            if child["_type"] in ("dir", "path"):
                compare(child, f"{path}/{name}")

    compare(tree, "")
    assert seen > 3000


def test_versions_differ_as_recorded():
    adds = {v: facts_of(v).menu("/ip/dhcp-server/lease").verbs["add"] for v in TREES}
    assert len({frozenset(a) for a in adds.values()}) > 1
    assert facts_of("7.15.3").menu("/safe-mode") is None
    assert facts_of("7.20.8").menu("/safe-mode").verbs.keys() >= {"take", "release", "unroll"}


def test_a_version_between_recordings_is_taken_for_the_older():
    assert facts_of("7.18.2").menu("/ppp/secret") == facts_of("7.15.3").menu("/ppp/secret")
    assert facts_of("7.24.4").menu("/ppp/secret") == facts_of("7.24").menu("/ppp/secret")
    assert facts_of("7.9").menu("/ppp/secret") == facts_of("7.15.3").menu("/ppp/secret")


def test_version_six_goes_as_far_as_the_list_of_its_menus():
    six = facts_of("6.49.18")
    assert six.menu("/routing/bgp/peer") is not None
    assert facts_of("7.20.8").menu("/routing/bgp/peer") is None
    lease = six.menu("/ip/dhcp-server/lease").verbs
    assert "routes" not in lease["add"]
    assert {"block-access", "rate-limit"} <= lease["add"]  # which the manual of its time has
    assert "make-static" in lease
    assert six.menu("/ip/firewall/filter").ordered
    assert not six.menu("/ppp/secret").ordered
    assert six.menu("/ppp/active").verbs.keys() >= {"print", "remove"}
    assert six.menu("/system/identity").single


@pytest.mark.parametrize(
    "menu", ["/interface/bridge/host", "/ip/dns/cache", "/ip/ipsec/active-peers", "/ipv6/neighbor"]
)
@pytest.mark.parametrize("version", ["6.49.18", "7.15.3", "7.20.8", "7.24"])
def test_collectors_find_the_menus_of_what_a_router_sees(version, menu):
    """Version 6 had them all; no project lists them for it, since nothing in them is configured."""
    assert Router(version).rows(menu) == []


def test_folders():
    facts = facts_of("7.20.8")
    assert facts.is_folder("/ip")
    assert not facts.is_folder("/ipx")


@pytest.mark.parametrize(
    ("text", "numbers"), [("7.20.8", (7, 20, 8)), ("7.24", (7, 24, 0)), ("6.49.18 (long-term)", (6, 49, 18))]
)
def test_parse_version(text, numbers):
    assert parse_version(text) == numbers


@pytest.mark.parametrize("text", ["", "seven", "7", "7.x", "1234.1", "7.20.8888"])
def test_no_version(text):
    with pytest.raises(UnknownVersionError, match=r"7\.20\.8"):
        parse_version(text)
