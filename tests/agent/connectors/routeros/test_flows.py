"""Which connections a suspension must not leave: FastTracked ones, but those to the garden."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from agent.connectors.routeros.addresses import rows_value
from agent.connectors.routeros.firewall import KeptIn, keeps_in
from agent.connectors.routeros.flows import Garden, cut_text, garden_of, left_text, passing
from agent.connectors.routeros.matching import Confined, Ruleset

FAST, SLOW = {"fasttrack": "true"}, {"fasttrack": "false"}
OUT, PAY = "tcp 100.64.12.9:50000 203.0.113.80:443", "tcp 100.64.12.9:50001 192.0.2.1:443"
IN_PAY = "tcp 192.0.2.1:55 100.64.12.9:8080"
DNS, PING = "udp 100.64.12.9:5353 203.0.113.53:53", "icmp 100.64.12.9: 203.0.113.80:"
ACCEPT = {"chain": "forward", "action": "accept", "src-address-list": "suspended"}
DROP = {"chain": "forward", "action": "drop", "src-address-list": "suspended"}


def left(*rules: Mapping[str, str], rows: Mapping[str, Mapping[str, str]], **members: Mapping[str, str]) -> set[str]:
    garden = garden_of(Ruleset(rules, members=members), ["suspended"])
    return set(passing(rows_value(rows.items()), garden, mine=["100.64.12.9"]))


@pytest.mark.assumed("routeros-fasttrack-shown")
def test_what_says_that_it_is_not_fasttracked_meets_the_rules() -> None:
    rows = {OUT: FAST, PAY: {}, DNS: SLOW}
    assert left(DROP, rows=rows) == {OUT, PAY}


ROWS = dict.fromkeys((OUT, PAY, IN_PAY, DNS, PING), FAST)


@pytest.mark.parametrize(
    ("rule", "held"),
    [
        ({**ACCEPT, "dst-address": "192.0.2.1"}, {PAY, IN_PAY}),
        ({**ACCEPT, "dst-address-list": "pay-page"}, {PAY, IN_PAY}),
        ({**ACCEPT, "dst-address-list": "nothing-read"}, set()),
        ({**ACCEPT, "dst-address": "192.0.2.0/24", "protocol": "tcp", "dst-port": "80,443"}, {PAY}),
        ({**ACCEPT, "dst-address": "192.0.2.1", "protocol": "udp"}, set()),
        ({**ACCEPT, "dst-address": "192.0.2.1", "src-address-list": "vip"}, set()),
        ({**ACCEPT, "dst-address": "192.0.2.1", "chain": "input"}, set()),
        ({**ACCEPT, "dst-address": "192.0.2.1", "disabled": "true"}, set()),
        ({**ACCEPT, "dst-address": "!192.0.2.1"}, set()),
        ({"chain": "forward", "action": "accept", "protocol": "udp", "dst-port": "53"}, {DNS}),
        ({"chain": "forward", "action": "accept", "protocol": "icmp"}, {PING}),
        ({"chain": "forward", "action": "accept"}, set()),  # refused before anything is planned
        ({**DROP, "dst-address-list": "!pay-page"}, {PAY, IN_PAY}),
        ({**DROP, "dst-address-list": "pay-page"}, set()),
    ],
)
def test_where_the_rules_let_it_go(rule: Mapping[str, str], held: set[str]) -> None:
    members = {"pay-page": {"192.0.2.1": "static"}}
    assert set(ROWS) - left(rule, DROP, rows=ROWS, **members) == held


def test_a_page_behind_a_redirect_is_known_by_who_answers() -> None:
    rows = {OUT: {**FAST, "reply-src-address": "192.0.2.1:443"}, PAY: {**FAST, "reply-src-address": "203.0.113.9:443"}}
    assert left({**ACCEPT, "dst-address": "192.0.2.1"}, DROP, rows={OUT: rows[OUT]}) == set()
    assert not Garden().holds(OUT, rows[OUT])


def test_what_is_said() -> None:
    assert left_text(2, "100.64.12.9") == "2 connections of 100.64.12.9 carry on as before"


RULE = "rule 0 (action=accept connection-state=established,related)"


def test_where_old_flows_may_pass_each_answered_one_counts() -> None:
    known = {**SLOW, "seen-reply": "true"}
    rows = {
        OUT: known,
        "tcp 203.0.113.9:4000 100.64.12.9:22": {**SLOW, "seen-reply": "false"},  # somebody knocks, nobody answers
        PAY: known,
        DNS: known,
        PING: known,
        "udp 100.64.12.9:5 203.0.113.7:123": SLOW,  # it does not say
    }
    garden = garden_of(Ruleset(({**ACCEPT, "dst-address": "192.0.2.1"}, DROP)), ["suspended"])
    assert passing(rows_value(rows.items()), garden, RULE) == {OUT, "udp 100.64.12.9:5 203.0.113.7:123"}
    assert passing(rows_value(rows.items()), garden) == frozenset()


@pytest.mark.parametrize("mine", [(), ("100.64.12.9",)])
@pytest.mark.parametrize("listed", [{}, {"suspended": {"100.64.12.9": "dynamic"}}])
@pytest.mark.parametrize("where", [{"dst-address-list": "suspended"}, {"dst-address": "100.64.0.0/10"}])
def test_a_rule_about_what_comes_to_the_subscriber_is_no_garden(
    where: Mapping[str, str], listed: Mapping[str, Mapping[str, str]], mine: tuple[str, ...]
) -> None:
    """`device prepare` adds one: it keeps the answers to suspended subscribers out of FastTrack."""
    rule = {"chain": "forward", "action": "accept", "connection-state": "established,related", **where}
    garden = garden_of(Ruleset((rule, DROP), members=listed), ["suspended"])
    assert passing(rows_value({OUT: FAST}.items()), garden, mine=mine) == {OUT}
    if listed or mine:
        inwards = "tcp 203.0.113.80:443 100.64.12.9:8080"
        assert passing(rows_value({inwards: FAST}.items()), garden, mine=mine) == {inwards}


def test_the_preview_says_what_is_cut_and_what_is_not_looked_at() -> None:
    twice = "walks its connection table a second time to read back that none is left"
    assert cut_text(KeptIn("kept")) == ""
    above = cut_text(KeptIn("kept", RULE, fasttracks=True))
    assert above.startswith(f"open connections are cut: {RULE} lets them pass")
    assert twice in above
    assert "not checked: connections from outside" in above
    below = cut_text(KeptIn("kept", fasttracks=True))
    assert below.startswith("open connections that FastTrack took are cut; if there are any, the router")
    assert twice in below


@pytest.mark.parametrize(("disabled", "says"), [("false", True), ("true", False)])
def test_rules_with_fasttrack_below_the_drop_warn_of_old_flows(disabled: str, says: bool) -> None:
    fasttrack = {"chain": "forward", "action": "fasttrack-connection", "connection-state": "established,related"}
    kept = keeps_in(Ruleset((DROP, {**fasttrack, "disabled": disabled})), Confined(frozenset({"suspended"})))
    assert isinstance(kept, KeptIn)
    assert (kept.open_flows, kept.fasttracks, bool(cut_text(kept))) == ("", says, says)
