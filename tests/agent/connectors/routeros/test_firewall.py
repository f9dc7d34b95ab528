"""Whether an address list's members are kept in: rules as operators write them, and what lets somebody out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.connectors.routeros.firewall import KeptIn, LetOut, garden_lists, keeps_in, keeps_out, without_cuts
from agent.connectors.routeros.matching import Confined, Rule, Ruleset, is_wide


def rules(*lines: str) -> list[Rule]:
    """Return rules out of `action=drop src-address-list=suspended`; the chain is forward unless it says otherwise."""
    return [{"chain": "forward"} | dict(word.split("=", 1) for word in line.split()) for line in lines]


def judged(filter_rules: list[Rule]) -> KeptIn | LetOut:
    return keeps_in(Ruleset(filter_rules), Confined(frozenset({"suspended"})))


DROP = "action=drop src-address-list=suspended"
FASTTRACK = "action=fasttrack-connection connection-state=established,related"
ACCEPT_OPEN = "action=accept connection-state=established,related,untracked"


GARDEN = "action=accept dst-address-list=garden"


@pytest.mark.parametrize(
    "lines",
    [
        (DROP,),
        (DROP, FASTTRACK, ACCEPT_OPEN),
        ("action=reject src-address-list=suspended reject-with=icmp-admin-prohibited",),
        (f"{DROP} dst-address-list=!garden",),
        (f"{DROP} dst-address=!10.99.0.0/16",),
        (f"{GARDEN} src-address-list=suspended", DROP),
        (GARDEN, DROP),
        ("action=accept dst-address=10.99.0.5", DROP),
        ("action=accept protocol=udp dst-port=53", DROP),
        ("action=accept protocol=icmp", DROP),
        ("action=accept protocol=icmpv6", DROP),
        (f"{FASTTRACK} src-address-list=!suspended", DROP),
        ("action=passthrough dynamic=true", DROP),
        ("action=accept disabled=true", DROP),
        ("action=accept invalid=true", DROP),
        ("action=accept chain=input", DROP),
        ("action=add-src-to-address-list address-list=seen", DROP),
        ("action=drop connection-state=invalid", DROP),
        ("action=jump jump-target=customers", "action=drop chain=customers src-address-list=suspended"),
        ("action=jump jump-target=c src-address-list=suspended", f"{GARDEN} chain=c", "action=drop chain=c"),
        ("action=jump jump-target=empty", "action=return chain=empty", DROP),
        ("action=jump jump-target=some", "action=return chain=some in-interface=all-ppp", DROP),
        ("action=jump jump-target=some protocol=tcp", "action=drop chain=some", DROP),
        ("action=drop",),
    ],
)
def test_kept_in(lines: tuple[str, ...]) -> None:
    found = judged(rules(*lines))
    assert isinstance(found, KeptIn), found
    assert "rule " in found.text


@pytest.mark.parametrize(
    "lines",
    [
        (),
        ("action=drop src-address-list=blocked",),
        ("action=drop src-address-list=!paid",),
        (f"{DROP} disabled=true",),
        (f"{DROP} invalid=true",),
        (f"{DROP} chain=input",),
        ("action=drop src-address-list=!suspended",),
        (f"{DROP} protocol=tcp",),
        (f"{DROP} dst-port=80",),
        (f"{DROP} connection-state=established",),
        (f"{DROP} in-interface=ether2",),
        (f"{DROP} dst-address=10.0.0.0/8",),
        (f"{DROP} dst-address=!0.0.0.0/0",),
        (f"{DROP} dst-limit=!10,5",),
        (f"{DROP} out-interface=wan1",),
        (f"{DROP} out-interface=!wan",),
        (f"{DROP} out-interface-list=WAN",),
        ("action=jump jump-target=forward",),
        ("action=jump jump-target=customers protocol=tcp", "action=drop chain=customers"),
        ("action=jump jump-target=c", "action=return chain=c in-interface=all-ppp", "action=drop chain=c"),
        ("action=jump jump-target=c", "action=return chain=c", "action=drop chain=c"),
    ],
)
def test_no_rule_drops_them_all(lines: tuple[str, ...]) -> None:
    found = judged(rules(*lines))
    assert isinstance(found, LetOut), found
    assert "no rule of chain forward drops all" in found.text or "8 deep" in found.text


@pytest.mark.parametrize(
    "above",
    [
        "action=accept",
        "action=accept src-address-list=suspended",
        "action=accept src-address-list=suspended protocol=tcp",
        "action=accept src-address-list=suspended out-interface=wan",
        "action=accept src-address-list=customers",
        "action=accept src-address-list=!vip",
        "action=accept in-interface-list=LAN",
        "action=accept out-interface=wan",
        "action=accept src-address=100.64.0.0/10",
        "action=accept protocol=tcp",
        "action=accept protocol=tcp dst-port=80,443",
        "action=accept ipsec-policy=in,none",
        "action=accept dst-address=0.0.0.0/0",
        "action=accept dst-address=!10.0.0.0/8",
        "action=accept dst-address=128.0.0.0/1",
        "action=accept dst-address=1.0.0.0-223.255.255.255",
        "action=accept dst-address-list=!blocked",
        "action=accept connection-mark=no-mark",
        "action=accept connection-nat-state=!dstnat",
        "action=accept dst-address-type=!local",
        "action=accept random=99",
        "action=accept limit=10,5:packet",
        "action=return",
        "action=return in-interface=all-ppp",
        "action=teleport",
        "action=jump jump-target=out",
        "action=jump jump-target=out out-interface=wan",
        "action=jump jump-target=out protocol=tcp",
    ],
)
def test_what_stands_above_lets_them_out(above: str) -> None:
    found = judged(rules(above, "action=accept chain=out", DROP))
    assert isinstance(found, LetOut), found
    assert "may let it out" in found.text
    assert (found.rule, "rule " in found.mend) == (found.text.partition(" (")[0], True)


@pytest.mark.parametrize(
    ("lines", "flows", "mend"),
    [
        ((FASTTRACK, DROP), "rule 0", "move rule 1 above rule 0"),
        ((f"{FASTTRACK} hw-offload=true", DROP), "rule 0", "move rule 1 above rule 0"),
        ((ACCEPT_OPEN, DROP), "rule 0", "move rule 1 above rule 0"),
        ((f"{DROP} connection-state=new",), "the end", "remove connection-state=new from rule 0"),
        ((f"{DROP} connection-state=new", ACCEPT_OPEN), "rule 1", "remove connection-state=new from rule 0"),
    ],
)
def test_only_connections_that_were_open_before_pass(lines: tuple[str, ...], flows: str, mend: str) -> None:
    found = judged(rules(*lines))
    assert isinstance(found, KeptIn)
    assert (found.open_flows.startswith(flows), found.mend) == (True, mend)
    refused = without_cuts(found)
    assert isinstance(refused, LetOut)
    assert (refused.rule, refused.mend) == (flows if flows.startswith("rule") else "", mend)


def test_what_comes_from_outside() -> None:
    back = "action=drop dst-address-list=suspended"
    assert isinstance(keeps_out(rules(DROP, back, FASTTRACK), "suspended"), KeptIn)
    assert isinstance(keeps_out(rules(DROP, f"{back} src-address-list=!garden", FASTTRACK), "suspended"), KeptIn)
    assert isinstance(keeps_out(rules(DROP, FASTTRACK, back), "suspended"), LetOut)
    assert isinstance(keeps_out(rules(DROP, FASTTRACK), "suspended"), LetOut)
    assert isinstance(keeps_out(rules(DROP), "suspended"), LetOut)


WORDS = st.sampled_from(
    [
        "accept",
        "drop",
        "jump",
        "return",
        "fasttrack-connection",
        "passthrough",
        "suspended",
        "!suspended",
        "",
        "forward",
    ]
)
NAMES = st.sampled_from(["chain", "action", "src-address-list", "jump-target", "protocol", "connection-state", "x"])


@given(st.lists(st.dictionaries(NAMES, WORDS), max_size=8))
def test_any_rules_give_an_answer(found: list[dict[str, str]]) -> None:
    answer = judged(found)
    assert isinstance(answer, KeptIn | LetOut)
    if not any(r.get("action") in ("drop", "reject", "tarpit") for r in found):
        assert isinstance(answer, LetOut)


# --- what a garden's list holds ---

GARDEN_RULES = [
    {"chain": "forward", "action": "accept", "src-address-list": "suspended", "dst-address-list": "pay"},
    {"chain": "forward", "action": "drop", "src-address-list": "suspended"},
]


@pytest.mark.parametrize(
    ("entries", "wide"),
    [
        ([], False),
        (["192.0.2.1", "198.51.100.0/24", "pay.example"], False),
        (["10.0.0.0/8"], False),
        (["0.0.0.0/0"], True),
        (["0.0.0.0/1", "128.0.0.0/1"], True),
        (["1.0.0.0/8", "2.0.0.0/8"], True),  # each may be a place, together they are no pay page
        (["1.0.0.0-223.255.255.255"], True),
        (["2001:db8::/32"], False),
        (["2000::/3"], True),
        (["::/0"], True),
    ],
)
def test_e4_a_list_that_holds_the_internet_is_no_garden(entries: list[str], wide: bool) -> None:
    assert is_wide(entries) is wide
    accept, drop = GARDEN_RULES
    told = {**accept, "dst-address-list-wide": "true"} if wide else accept
    assert isinstance(judged([told, drop]), LetOut) is wide


def test_all_but_a_wide_list_is_not_all() -> None:
    drop = {"chain": "forward", "action": "drop", "src-address-list": "suspended", "dst-address-list": "!pay"}
    assert isinstance(judged([drop]), KeptIn)
    assert isinstance(judged([{**drop, "dst-address-list-wide": "true"}]), LetOut)


def test_lists_to_look_at() -> None:
    assert garden_lists([*GARDEN_RULES, {"dst-address-list": "!other"}, {}]) == {"pay", "other"}


@pytest.mark.parametrize("place", ["2a00::/12", "2001::/16", "2600::/31"])
def test_a_large_part_of_ipv6_is_no_pay_page(place: str) -> None:
    assert isinstance(judged(rules(f"action=accept dst-address={place}", DROP)), LetOut)
    assert isinstance(judged(rules(f"{DROP} dst-address=!{place}")), LetOut)


def test_a_providers_own_ipv6_may_hold_its_pay_page() -> None:
    assert isinstance(judged(rules("action=accept dst-address=2001:db8::/32", DROP)), KeptIn)
