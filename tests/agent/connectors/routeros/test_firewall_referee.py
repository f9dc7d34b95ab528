"""The judge against an independent referee: the lab's own packets, through rules that nobody wrote by hand.

Whenever the judge says that the rules keep a subscriber in, no packet of a new connection to the internet may get
through the lab's firewall, which shares no code with the judge; and where no connection of before is said to pass, none
of those either. What the lab cannot judge (a limit, the time) is tried both ways.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from agent.connectors.routeros.firewall import KeptIn, keeps_in
from agent.connectors.routeros.matching import Confined, Rule, Ruleset
from tests.agent.connectors.routeros.lab_referee import SESSION, UNSURE, packets, referee

POOL = "10.255.0.0/22"
LISTED: Final = {
    "suspended": (POOL,),
    "noc": ("10.0.0.0/24",),
    "pool": (POOL,),
    "half": ("10.255.0.0/23", "10.1.0.0/16"),
    "garden": ("198.51.100.0/24",),
    "wide": ("0.0.0.0/1", "128.0.0.0/1"),
    "empty": (),
}
WAYS: Final = ("ether1", "ether2")
HOST: Final = Confined(frozenset({"suspended"}), (POOL,))
"""A subscriber without a session, to whom the route leads by ether5."""
SUBSCRIBER: Final = Confined(frozenset({"suspended"}), (POOL,), "ppp", frozenset({"PPP"}))


def ruleset(rules: Sequence[Rule], raw: Sequence[Rule], mangle: Sequence[Rule] = ()) -> Ruleset:
    held = {"LAN": {"ether5"}, "WAN": {"ether1", "ether2"}, "PPP": {"<ppp>"}, "MIXED": {"ether1"}, "all-ppp": set()}
    return Ruleset(
        filter=rules,
        raw=raw,
        interface_lists={name: frozenset(one) for name, one in held.items()},
        members={name: dict.fromkeys(entries, "static") for name, entries in LISTED.items()},
        ways_out=frozenset(WAYS),
        tracking={"enabled": "auto", "loose-tcp-tracking": "true"},
        tunnels=frozenset(),
        mangle=mangle,
        routes={POOL: frozenset({"ether5"}), "0.0.0.0/0": frozenset(WAYS)},
    )


def agree(
    rules: Sequence[Rule],
    raw: Sequence[Rule] = (),
    mangle: Sequence[Rule] = (),
    who: Confined = SUBSCRIBER,
) -> bool:
    """Check a verdict by the referee; tell whether the judge says that they are kept in."""
    wide, wide_mangle = (
        [{**r, "dst-address-list-wide": "true"} if "wide" in r.get("dst-address-list", "") else r for r in some]
        for some in (rules, mangle)
    )
    found = keeps_in(ruleset(wide, raw, wide_mangle), who)
    if not isinstance(found, KeptIn):
        assert found.mend
        return False
    states = ["new"] if found.open_flows else ["new", "established", "related"]
    for unsure in (False, True):
        lab = referee(ruleset(rules, raw, mangle), unsure=unsure)
        interface = SESSION if who is SUBSCRIBER else "ether5"
        for packet in packets(("10.255.0.5", "10.255.2.5"), states, WAYS, interface):
            walk = lab.judge(packet)
            assert not walk.out, f"{found} but {packet} passes by {walk}"
    return True


# --- rules ---


def either(*texts: str) -> st.SearchStrategy[str]:
    return st.sampled_from([*texts, *(f"!{text}" for text in texts)])


MATCHERS: Final = {
    "src-address-list": either(*sorted(set(LISTED) - {"wide"})),
    "src-address": either(POOL, "10.255.0.0/23", "10.255.2.0/23", "10.0.0.0/24", "10.255.0.5"),
    "in-interface": either("all-ppp", "ether5", "ether1"),
    "in-interface-list": either("LAN", "WAN", "PPP", "all", "dynamic", "static"),
    "connection-state": either("new", "established,related", "established,related,untracked", "invalid"),
    "protocol": either("tcp", "udp", "gre", "icmp"),
    "dst-port": either("80", "53", "80,443", "1-1024"),
    "dst-address": either("192.0.2.0/24", "0.0.0.0/0", "128.0.0.0/1"),
    "dst-address-list": either("garden", "wide", "suspended"),
    "dst-address-type": either("local", "unicast"),
    "connection-nat-state": either("dstnat"),
    "ipsec-policy": st.sampled_from(["in,ipsec", "out,ipsec", "in,none", "out,none"]),
    "out-interface": either("ether1", "ether2", "ether5"),
    "out-interface-list": either("WAN", "LAN", "MIXED"),
    **dict.fromkeys(UNSURE[:2], st.just("5")),
}
DROP: Final = {"chain": "forward", "action": "drop", "src-address-list": "suspended"}
BACK: Final = {"chain": "one", "action": "return", "src-address-list": "half"}
ACTIONS: Final = ("drop", "drop", "accept", "reject", "jump", "return", "fasttrack-connection", "log")
NOT_IN_RAW: Final = ("connection-state", "connection-nat-state", "out-interface", "out-interface-list")


@st.composite
def narrowed(draw: st.DrawFn, rule: st.SearchStrategy[Rule], leave_out: Sequence[str] = ()) -> Rule:
    """Return a rule with up to two matchers more."""
    names = sorted(set(MATCHERS) - set(leave_out))
    made = {**draw(rule)} | {name: draw(MATCHERS[name]) for name in draw(st.lists(st.sampled_from(names), max_size=2))}
    return made | ({"protocol": "tcp"} if "dst-port" in made else {})


def rules_of(chains: Sequence[str], actions: Sequence[str]) -> st.SearchStrategy[Rule]:
    made = st.fixed_dictionaries(
        {"chain": st.sampled_from(chains), "action": st.sampled_from(actions)},
        optional={"src-address-list": st.just("suspended"), "disabled": st.just("true")},
    )
    target = st.sampled_from(["one", "two"])
    return st.tuples(made, target).map(lambda one: {**one[0], "jump-target": one[1]})


RULES: Final = st.lists(narrowed(rules_of(("forward", "forward", "one", "two", "input"), ACTIONS)), max_size=7)
LAST: Final = st.lists(narrowed(st.just(DROP)), max_size=2)
RAW: Final = st.lists(
    narrowed(
        rules_of(("prerouting", "prerouting", "one"), ("drop", "accept", "notrack", "jump", "return")), NOT_IN_RAW
    ),
    max_size=2,
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(RULES, LAST, RAW)
@example([{**DROP, "protocol": "tcp"}], [{**DROP, "protocol": "!tcp"}], [])
@example([{"chain": "forward", "action": "jump", "jump-target": "one"}, BACK], [{**DROP, "chain": "one"}], [])
@example(
    [{"chain": "forward", "action": "accept", "connection-state": "untracked"}],
    [DROP],
    [{"chain": "prerouting", "action": "notrack"}],
)
def test_nobody_gets_out_who_is_said_to_be_kept_in(rules: list[Rule], last: list[Rule], raw: list[Rule]) -> None:
    agree([*rules, *last], raw)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(RULES, LAST, RAW)
@example([{"chain": "forward", "action": "accept", "in-interface": "ether5"}], [DROP], [])
def test_nobody_gets_out_by_the_interface_that_the_route_names(
    rules: list[Rule], last: list[Rule], raw: list[Rule]
) -> None:
    agree([*rules, *last], raw, who=HOST)


@pytest.mark.slow
@settings(max_examples=1_000, deadline=None, suppress_health_check=list(HealthCheck))
@given(RULES, LAST, RAW)
def test_nobody_gets_out_by_that_interface_and_many_more_rules(
    rules: list[Rule], last: list[Rule], raw: list[Rule]
) -> None:
    agree([*rules, *last], raw, who=HOST)


MARKS: Final = {"packet-mark": either("cut", "other", "no-mark"), "connection-mark": either("cut", "other", "no-mark")}


@st.composite
def marking(draw: st.DrawFn) -> Rule:
    """Return a rule of mangle."""
    kind = draw(st.sampled_from(["packet", "packet", "connection", "routing"]))
    action = draw(st.sampled_from([f"mark-{kind}"] * 5 + ["accept", "return", "jump", "jump", "change-dscp"]))
    made = {"chain": draw(st.sampled_from(["prerouting", "prerouting", "forward", "one", "one"])), "action": action}
    made |= {f"new-{kind}-mark": draw(st.sampled_from(["cut", "cut", "cut", "other"])), "jump-target": "one"}
    made |= draw(st.sampled_from([{}, {}, {"passthrough": "false"}]))
    made |= draw(st.sampled_from([{}, {"src-address-list": "suspended"}, {"src-address-list": "suspended"}]))
    names = draw(st.lists(st.sampled_from([*MATCHERS, *MARKS]), max_size=1))
    made |= {name: draw((MATCHERS | MARKS)[name]) for name in names}
    if made["chain"] != "forward":
        made = {name: text for name, text in made.items() if not name.startswith("out-interface")}
    return made | ({"protocol": "tcp"} if "dst-port" in made else {})


def of_marks(rules: list[Rule], drops: list[Rule], mangle: list[Rule], raw: list[Rule]) -> bool:
    return agree([*rules, *drops], raw, mangle)


DROPS_OF_MARKS: Final = st.lists(
    st.sampled_from(
        [
            {"chain": "forward", "action": "drop", "packet-mark": "cut"},
            {"chain": "forward", "action": "drop", "packet-mark": "!other"},
            {"chain": "forward", "action": "drop", "connection-mark": "cut"},
        ]
    ),
    min_size=1,
    max_size=2,
)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(narrowed(rules_of(("forward", "one"), ACTIONS)), max_size=2),
    DROPS_OF_MARKS,
    st.lists(marking(), max_size=4),
    RAW,
)
def test_nobody_gets_out_whose_packets_are_said_to_be_marked(
    rules: list[Rule], drops: list[Rule], mangle: list[Rule], raw: list[Rule]
) -> None:
    of_marks(rules, drops, mangle, raw)


@pytest.mark.slow
@settings(max_examples=1_000, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(narrowed(rules_of(("forward", "one"), ACTIONS)), max_size=2),
    DROPS_OF_MARKS,
    st.lists(marking(), max_size=4),
    RAW,
)
def test_nobody_gets_out_by_many_more_marks(
    rules: list[Rule], drops: list[Rule], mangle: list[Rule], raw: list[Rule]
) -> None:
    of_marks(rules, drops, mangle, raw)


MARK: Final = {
    "chain": "prerouting",
    "action": "mark-packet",
    "new-packet-mark": "cut",
    "src-address-list": "suspended",
}
JUMP: Final = {"chain": "prerouting", "action": "jump", "jump-target": "one"}
OF_CONNECTIONS: Final = {
    "chain": "prerouting",
    "action": "mark-connection",
    "new-connection-mark": "cut",
    "src-address-list": "suspended",
}


@pytest.mark.parametrize(
    ("mangle", "kept"),
    [
        ([MARK], True),
        ([{**MARK, "passthrough": "false"}], True),
        ([{**MARK, "dst-address-list": "!garden"}], True),
        ([{**MARK, "dst-address-list": "!wide"}], False),
        ([{**MARK, "chain": "forward"}], True),
        ([{**MARK, "chain": "input"}], False),
        ([{**MARK, "disabled": "true"}], False),
        ([{**MARK, "protocol": "tcp"}], False),
        ([MARK, {**MARK, "new-packet-mark": "other"}], False),
        ([{**MARK, "new-packet-mark": "other"}, MARK], True),
        ([MARK, {**MARK, "chain": "forward", "new-packet-mark": "queue", "src-address-list": ""}], False),
        ([{"chain": "prerouting", "action": "accept"}, MARK], False),
        ([{**MARK, "new-packet-mark": "other", "passthrough": "false"}, MARK], False),
        ([{"chain": "prerouting", "action": "accept", "in-interface": "ether1"}, MARK], True),
        ([MARK, JUMP, {**MARK, "chain": "one", "new-packet-mark": "other"}], False),
        ([MARK, JUMP, {**MARK, "chain": "one", "new-packet-mark": "other", "src-address-list": "noc"}], True),
        ([JUMP, MARK], False),
        ([{"chain": "prerouting", "action": "change-dscp", "passthrough": "false"}, MARK], False),
        ([{"chain": "prerouting", "action": "change-dscp"}, MARK], True),
        ([{"chain": "prerouting", "action": "route"}, MARK], False),
    ],
)
def test_a_drop_of_marked_packets_keeps_in_whom_mangle_marks(mangle: list[Rule], *, kept: bool) -> None:
    drop = {"chain": "forward", "action": "drop", "packet-mark": "cut"}
    assert agree([drop], mangle=mangle) is kept
    lets = [{"chain": "forward", "action": "accept", "packet-mark": "!cut"}, {**DROP, "packet-mark": "cut"}]
    assert agree(lets, mangle=mangle) is kept


@pytest.mark.assumed("routeros-marks-each-packet")
def test_drop_of_marked_connections_keeps_in_new_ones_at_least() -> None:
    drop = {"chain": "forward", "action": "drop", "connection-mark": "cut"}
    for more, flows in (({}, ""), ({"connection-state": "new"}, "the end of chain forward")):
        mangle = [{**OF_CONNECTIONS, **more}]
        assert agree([drop], mangle=mangle)
        found = keeps_in(ruleset([drop], [], mangle), SUBSCRIBER)
        assert isinstance(found, KeptIn)
        assert found.open_flows == flows
        assert not agree([drop], [{"chain": "prerouting", "action": "notrack"}], mangle)


@pytest.mark.slow
@settings(max_examples=1_000, deadline=None, suppress_health_check=list(HealthCheck))
@given(RULES, LAST, RAW)
def test_nobody_gets_out_by_many_more_rules(rules: list[Rule], last: list[Rule], raw: list[Rule]) -> None:
    agree([*rules, *last], raw)


@pytest.mark.parametrize(
    "lines",
    [
        ({},),
        ({"protocol": "tcp"}, {"protocol": "udp"}, {"protocol": "!tcp"}),
        ({"src-address-list": "half"}, {"src-address-list": "", "src-address": "10.255.2.0/23"}),
        ({"out-interface": "ether1"}, {"out-interface": "ether2"}),
        ({"out-interface-list": "WAN", "in-interface": "all-ppp"},),
        ({"in-interface-list": "PPP", "src-address-list": ""},),
        ({"dst-address-list": "!garden"},),
        ({"connection-state": "new"}, {"connection-state": "!new"}),
        ({"protocol": "tcp", "dst-port": "1-1024"}, {"protocol": "tcp", "dst-port": "!1-1024"}, {"protocol": "!tcp"}),
    ],
)
def test_what_is_dropped_in_parts_is_dropped(lines: Sequence[Rule]) -> None:
    """The referee must not be right because the judge never says so."""
    assert agree([{name: text for name, text in {**DROP, **line}.items() if text} for line in lines])
    assert not agree([{name: text for name, text in {**DROP, **line}.items() if text} for line in lines][1:])
