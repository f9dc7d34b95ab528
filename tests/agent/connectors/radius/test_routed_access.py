"""RADIUS with its routers: what is refused, which rungs there are, and what a router's lists and queues prove. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network

import pytest

from agent.connectors.base import OPEN, AccessPlan, CannotEnforce, Enforced, Judgment
from agent.connectors.radius.routed_access import RoutedAccess
from agent.connectors.radius.routed_ways import RoutedWays, with_routers
from agent.connectors.radius.schema import Nas, RadiusConfig
from agent.connectors.radius.schema import SessionKind as Kind
from agent.connectors.routeros.addresses import rows_value
from agent.model import ABSENT, Access, Address, Effect, Enforcement, Seen, Service, ServiceState
from agent.reasons import ProofReason
from tests.agent.connectors.answers import plan_of, refused
from tests.agent.connectors.radius.routed import (
    DROP,
    FAST,
    HOSTS,
    LOGIN,
    METHOD,
    RESTORE,
    ROUTERS,
    SERVICE,
    SESSION,
    SUSPEND,
    SUSPENDED_ONE,
    WHERE,
    Inner,
    recipe,
    seen_of,
)

# --- reads ---


def test_every_router_that_may_serve_it_is_read() -> None:
    found = set(recipe().reads(SERVICE, {}))
    assert {Address(f"routeros/{r}/ip/filter/all") for r in ("bng-1", "bng-2")} < found
    assert {Address(f"routeros/{r}/ppp/secret/{LOGIN}") for r in ("bng-1", "bng-2")} < found
    assert recipe().reads(SERVICE, seen_of()) == []


def test_a_restore_needs_no_router() -> None:
    assert list(recipe().reads(SUSPENDED_ONE, {})) == [WHERE]
    seen = {a: s for a, s in seen_of([SESSION]).items() if a.startswith("radius/")}
    assert len(plan_of(recipe().plan(RESTORE, SUSPENDED_ONE, seen)).steps) == 3


# --- refusals ---


def test_a_secret_on_any_router_hides_radius() -> None:
    """E19."""
    refused(recipe().plan(SUSPEND, SERVICE, seen_of(secret_on="bng-2")), "local-secret", "bng-2")


@pytest.mark.parametrize("rules", [[], [FAST], [FAST, DROP]])
def test_a_list_that_no_rule_drops(rules: list[dict[str, str]]) -> None:
    refused(recipe().plan(SUSPEND, SERVICE, seen_of(rules=rules)), "list-without-rule")


@pytest.mark.parametrize("field", ["ip6", "pd"])
def test_ipv6_that_nothing_holds(field: str) -> None:
    """E16."""
    dual = {**SESSION, field: "2001:db8::/56"}
    refused(recipe().plan(SUSPEND, SERVICE, seen_of([dual])), "ipv6-not-held")
    plan_of(recipe().plan(RESTORE, SERVICE, seen_of([dual])))


def test_what_radius_refuses_is_refused() -> None:
    class No(Inner):
        def plan(self, *_: object) -> CannotEnforce:  # type: ignore[override]  # it refuses whatever it is asked
            return CannotEnforce("no-such-login", "no user")

    refused(recipe(No()).plan(SUSPEND, SERVICE, seen_of()), "no-such-login")


# --- the ladder ---


def test_the_last_rung_is_at_the_router_that_has_the_session() -> None:
    steps = plan_of(recipe().plan(SUSPEND, SERVICE, seen_of([SESSION]))).steps
    assert [(s.n, s.target, s.after, s.fallback_for) for s in steps[1:]] == [
        (2, "radius/main", (1,), ()),
        (3, "routeros/bng-1", (1,), (2,)),
        (4, "routeros/bng-1", (1,), ()),
    ]
    rung, cut = steps[2:]
    assert isinstance(cut.do, Effect)
    assert (cut.do.verb, cut.do.address) == ("cut", f"routeros/bng-1/ppp/flows/{LOGIN}")
    assert isinstance(rung.do, Effect)
    assert rung.do.address == f"routeros/bng-1/ppp/active/{LOGIN}"
    assert [e.address for e in rung.on_revert] == [rung.do.address]


def test_it_stands_behind_all_rungs_before_it() -> None:
    steps = plan_of(recipe(Inner(coa=True)).plan(RESTORE, SERVICE, seen_of([SESSION]))).steps
    assert [(s.n, s.fallback_for) for s in steps] == [(1, ()), (2, ()), (3, (2,)), (4, (2, 3))]


def test_sessions_on_two_routers_and_none() -> None:
    other = {**SESSION, "nas": "10.0.0.2"}
    two = plan_of(recipe().plan(SUSPEND, SERVICE, seen_of([SESSION, other]))).steps
    there = ["routeros/bng-1", "routeros/bng-2"]
    assert [(s.target, s.fallback_for) for s in two[2:]] == [*((t, (2,)) for t in there), *((t, ()) for t in there)]
    assert len(plan_of(recipe().plan(SUSPEND, SERVICE, seen_of())).steps) == 2
    assert len(plan_of(recipe().plan(SUSPEND, SERVICE, seen_of([{**SESSION, "nas": "10.9.9.9"}]))).steps) == 2


def test_a_kick_and_a_hotspot() -> None:
    hotspot = replace(METHOD, sessions=Kind.HOTSPOT)
    steps = plan_of(recipe(method=hotspot).disconnect(SERVICE, seen_of([SESSION]))).steps
    assert [(s.n, s.fallback_for, s.after) for s in steps] == [(1, (), ()), (2, (1,), ())]
    assert isinstance(steps[1].do, Effect)
    assert steps[1].do.address == f"routeros/bng-1/hotspot/active/{LOGIN}"


def test_a_user_of_the_hotspot_itself_hides_radius_there() -> None:
    user = Address(f"routeros/bng-2/hotspot/user/{LOGIN}")
    of = recipe(method=replace(METHOD, sessions=Kind.HOTSPOT))
    assert user in of.reads(SERVICE, {})
    nobody = {Address(f"routeros/{r}/hotspot/user/{LOGIN}"): Seen(ABSENT, 1_700_000_000) for r in ("bng-1", "bng-2")}
    seen = {a: s for a, s in seen_of(secret_on="bng-1").items() if "/ppp/" not in a} | nobody
    plan_of(of.plan(SUSPEND, SERVICE, seen))
    found = of.plan(SUSPEND, SERVICE, seen | {user: Seen({"name": LOGIN}, 1_700_000_000)})
    assert refused(found, "local-secret") == f"bng-2 has a hotspot user {LOGIN}: it hides RADIUS there"


# --- judgment ---


def judged(
    wanted: ServiceState,
    seen: dict[Address, Seen],
    verdict: Judgment | None = None,
    **expect: str,
) -> tuple[Enforced, str]:
    of = recipe(Inner(verdict))
    enforce = plan_of(of.plan(wanted, SERVICE, seen_of([SESSION]))).enforce
    assert enforce is not None
    enforce = replace(enforce, expect={**enforce.expect, **expect})
    assert not [a for a in of.enforcement_reads(enforce, seen) if a not in seen]
    found = of.judge(enforce, seen, ())
    return found.enforced, found.how


YES = Judgment(Enforced.YES, "inferred")
OLD = Judgment(Enforced.NO, "old-session")


@pytest.mark.parametrize(
    ("wanted", "listed", "verdict", "expected"),
    [
        (SUSPEND, ["100.64.0.9"], YES, (Enforced.YES, "seen")),
        (SUSPEND, ["100.64.0.0/10"], YES, (Enforced.YES, "seen")),
        (SUSPEND, [], YES, (Enforced.NO, "not-in-effect")),
        (SUSPEND, ["100.64.0.8"], YES, (Enforced.NO, "not-in-effect")),
        (SUSPEND, [], OLD, (Enforced.NO, "not-in-effect")),
        (SUSPEND, ["100.64.0.9"], OLD, (Enforced.YES, "seen")),
        (SUSPEND, ["100.64.0.9"], Judgment(Enforced.NO, "still-online"), (Enforced.NO, "still-online")),
        (SUSPEND, [], Judgment(Enforced.PENDING, "offline"), (Enforced.PENDING, "offline")),
        (SUSPEND, ["100.64.0.9"], Judgment(Enforced.NO, "not-in-effect"), (Enforced.NO, "not-in-effect")),
        (RESTORE, [], YES, (Enforced.YES, "inferred")),
        (RESTORE, ["100.64.0.9"], YES, (Enforced.NO, "not-in-effect")),
        (RESTORE, ["100.64.0.0/10"], YES, (Enforced.NO, "not-in-effect")),
    ],
)
def test_lists(wanted: ServiceState, listed: list[str], verdict: Judgment, expected: tuple[Enforced, str]) -> None:
    assert judged(wanted, seen_of([SESSION], listed=listed), verdict) == expected


def test_a_rule_that_went_meanwhile() -> None:
    assert judged(SUSPEND, seen_of([SESSION], listed=["100.64.0.9"], rules=[])) == (Enforced.NO, "not-in-effect")


@pytest.mark.parametrize("field", ["ip6", "pd"])
def test_a_list_of_ipv4_says_nothing_of_a_sessions_ipv6(field: str) -> None:
    """E16: Who was offline when it was previewed may come back with a prefix that no list holds."""
    dual = {**SESSION, field: "2001:db8::/56"}
    assert judged(SUSPEND, seen_of([dual], listed=["100.64.0.9"])) == (Enforced.NO, "not-in-effect")
    assert judged(SUSPEND, seen_of([dual], listed=["100.64.0.9"]), garden6="2001:db8::/32") == (Enforced.YES, "seen")
    outside = seen_of([dual], listed=["100.64.0.9"])
    assert judged(SUSPEND, outside, OLD, garden6="2001:db9::/32") == (Enforced.NO, "old-session")
    assert judged(RESTORE, seen_of([dual])) == (Enforced.YES, "inferred")


def test_session_on_nas_that_is_no_router_is_radius_to_judge() -> None:
    away = {**SESSION, "nas": "10.9.9.9"}
    assert judged(SUSPEND, seen_of([away])) == (Enforced.YES, "inferred")
    assert judged(SUSPEND, seen_of([away, SESSION], listed=["100.64.0.9"])) == (Enforced.YES, "inferred")
    assert judged(SUSPEND, seen_of([away, SESSION])) == (Enforced.NO, "not-in-effect")


QUEUE = {"name": f"<pppoe-{LOGIN}>", "dynamic": "true", "max-limit": "10000000/20000000"}


@pytest.mark.parametrize(
    ("queues", "verdict", "expected"),
    [
        ([QUEUE], OLD, (Enforced.YES, "seen")),
        ([QUEUE], YES, (Enforced.YES, "seen")),
        ([{**QUEUE, "max-limit": "5000000/20000000"}], YES, (Enforced.NO, "not-in-effect")),
        ([{**QUEUE, "max-limit": "5000000/20000000"}], OLD, (Enforced.NO, "not-in-effect")),
        ([{**QUEUE, "name": f"<pppoe-{LOGIN}2>"}], OLD, (Enforced.NO, "old-session")),
        ([{**QUEUE, "name": f"<pppoe-{LOGIN}-1>"}], OLD, (Enforced.NO, "old-session")),  # of whom is not known
        ([{**QUEUE, "dynamic": "false"}], OLD, (Enforced.NO, "old-session")),
        ([QUEUE, {**QUEUE, "name": f"<pppoe-{LOGIN}-1>", "max-limit": "1/1"}], OLD, (Enforced.YES, "seen")),
        ([], YES, (Enforced.YES, "inferred")),
    ],
)
def test_a_changed_speed_is_seen_in_the_sessions_queue(
    queues: list[dict[str, str]], verdict: Judgment, expected: tuple[Enforced, str]
) -> None:
    found = judged(RESTORE, seen_of([SESSION], queues=queues), verdict, rate="10M/20M 15M/30M 8M/16M 16/16")
    assert found == expected


def test_one_speed_is_that_of_both_ways() -> None:
    """Mikrotik-Rate-Limit is `rx[/tx]`; where tx is left out, it is as rx."""
    both = seen_of([SESSION], queues=[{**QUEUE, "max-limit": "20000000/20000000"}])
    assert judged(RESTORE, both, YES, rate="20M") == (Enforced.YES, "seen")
    assert judged(RESTORE, seen_of([SESSION], queues=[QUEUE]), YES, rate="20M") == (Enforced.NO, "not-in-effect")


# --- sessions that accounting lost ---

LOST = {"bng-2": [("0x82", {"login": LOGIN, "address": "100.64.7.7"})]}


def test_a_session_that_only_its_router_knows_is_ended_there() -> None:
    found = plan_of(recipe().plan(SUSPEND, SERVICE, seen_of(only_here=LOST)))
    assert [(s.n, s.target, s.after, s.fallback_for) for s in found.steps] == [
        (1, "radius/main", (), ()),
        (2, "radius/main", (1,), ()),
        (3, "routeros/bng-2", (1,), ()),  # whatever became of a Disconnect that knows of no session
        (4, "routeros/bng-2", (1,), ()),
    ]
    assert found.display["now"] == "online on bng-2 · 100.64.7.7, which accounting does not tell of"
    both = plan_of(recipe().plan(SUSPEND, SERVICE, seen_of([SESSION], only_here=LOST)))
    assert [(s.target, s.fallback_for) for s in both.steps[2:4]] == [("routeros/bng-1", (2,)), ("routeros/bng-2", ())]
    assert [(s.target, s.do.verb) for s in both.steps[4:] if isinstance(s.do, Effect)] == [
        ("routeros/bng-1", "cut"),
        ("routeros/bng-2", "cut"),
    ]


@pytest.mark.parametrize(
    ("listed", "expected"),
    [([], (Enforced.NO, "not-in-effect")), (["100.64.7.7"], (Enforced.YES, "seen"))],
)
def test_offline_by_accounting_is_not_offline_by_the_router(listed: list[str], expected: tuple[Enforced, str]) -> None:
    offline = Judgment(Enforced.PENDING, "offline")
    assert judged(SUSPEND, seen_of(only_here=LOST, listed=listed), offline) == expected
    assert judged(SUSPEND, seen_of(), offline) == (Enforced.PENDING, "offline")


@pytest.mark.parametrize(
    ("here", "listed", "expected"),
    [
        ({}, ["100.64.0.9"], (Enforced.UNPROVEN, "not-proven")),  # the address may be another subscriber's by now
        (LOST, [], (Enforced.NO, "not-in-effect")),
        (LOST, ["100.64.7.7"], (Enforced.YES, "seen")),
    ],
    ids=["it shows none", "out of the list", "in the list"],
)
def test_of_a_session_that_may_be_over_the_router_is_asked(
    here: Mapping[str, Sequence[tuple[str, Mapping[str, str]]]], listed: list[str], expected: tuple[Enforced, str]
) -> None:
    unsure, garden = Judgment(Enforced.UNPROVEN, "not-proven"), "100.64.0.0/24"
    over = {**SESSION, "may-be-over": "1700000000"}
    seen = seen_of([over], only_here=here, listed=listed)
    assert judged(SUSPEND, seen, unsure, garden4=garden) == expected
    elsewhere = seen_of([{**over, "nas": "10.0.0.9"}], only_here=here, listed=listed)
    unread = (Enforced.UNPROVEN, "not-proven") if expected[0] is Enforced.YES else expected
    assert judged(SUSPEND, elsewhere, unsure, garden4=garden) == unread, "nobody reads what follows it there"


HERE = {"bng-1": [("0x81", {"login": LOGIN, "address": "100.64.0.9"})]}
"""The router shows the session of accounting."""


@pytest.mark.parametrize(
    ("here", "listed", "lists", "expected"),
    [
        ({}, ["100.64.0.9"], "suspended", (Enforced.UNPROVEN, "not-proven")),  # it may be another subscriber's by now
        (HERE, [], "suspended", (Enforced.YES, "seen")),
        (HERE, ["100.64.0.9"], "suspended", (Enforced.NO, "not-in-effect")),
        (HERE, [], "", (Enforced.YES, "seen")),  # else the last rung would throw a payer out
        (LOST, [], "", (Enforced.NO, "not-in-effect")),
    ],
)
def test_of_a_restored_session_maybe_over_the_router_is_asked(
    here: Mapping[str, Sequence[tuple[str, Mapping[str, str]]]],
    listed: list[str],
    lists: str,
    expected: tuple[Enforced, str],
) -> None:
    unsure, over = Judgment(Enforced.UNPROVEN, "not-proven"), {**SESSION, "may-be-over": "1700000000"}
    seen = seen_of([over], only_here=here, listed=listed)
    enforce = plan_of(recipe().plan(RESTORE, SERVICE, seen)).enforce
    assert enforce is not None
    enforce = replace(enforce, expect={**enforce.expect, "router-lists": lists})
    missing = recipe().enforcement_reads(enforce, {WHERE: seen[WHERE]})
    assert [a for a in missing if "/ppp/active/" in a] == [f"routeros/bng-{n}/ppp/active/{LOGIN}" for n in (1, 2)]
    got = recipe(Inner(unsure)).judge(enforce, seen, ())
    assert (got.enforced, got.how) == expected


@pytest.mark.parametrize(("garden", "asked"), [("100.64.0.0/24", [1, 2]), ("100.127.0.0/16", [])])
def test_every_router_is_asked_of_a_garden_session_maybe_over(garden: str, asked: list[int]) -> None:
    """One outside of the garden is told by accounting alone: mostly its Stop is only late."""
    seen = seen_of([{**SESSION, "may-be-over": "1700000000"}])
    enforce = plan_of(recipe().plan(SUSPEND, SERVICE, seen)).enforce
    assert enforce is not None
    enforce = replace(enforce, expect={**enforce.expect, "garden4": garden})
    missing = recipe().enforcement_reads(enforce, {WHERE: seen[WHERE]})
    assert [a for a in missing if "/ppp/active/" in a] == [f"routeros/bng-{n}/ppp/active/{LOGIN}" for n in asked]


def test_the_routers_own_lists_prove_that_nobody_is_online() -> None:
    none = Judgment(Enforced.PENDING, "none-known", "accounting has none")
    of = recipe(Inner(none))
    enforce = plan_of(of.plan(SUSPEND, SERVICE, seen_of([SESSION]))).enforce
    assert enforce is not None
    found = of.judge(enforce, seen_of(), ())
    assert (found.enforced, found.how) == (Enforced.PENDING, "offline")
    assert found.detail == "accounting has none; bng-1, bng-2 listed no session of it"
    partly = RoutedAccess(Inner(none), METHOD, ROUTERS, HOSTS, ["bng-9"])
    assert partly.judge(enforce, seen_of(), ()).how == "none-known", "nobody reads the sessions of bng-9"


# --- an address of its own ---

FLOWS = Address("routeros/bng-1/ip/flows/100.64.0.9")
SESSION_FLOWS = Address(f"routeros/bng-1/ppp/flows/{LOGIN}")
FLOW = "tcp 100.64.0.9:50000 203.0.113.80:443"


class Pinned(Inner):
    """RADIUS gives the login the same address at every login."""

    def plan(self, wanted: ServiceState, service: Service, seen: Mapping[Address, Seen]) -> AccessPlan:
        plan = super().plan(wanted, service, seen)
        assert plan.enforce is not None
        expect = {**plan.enforce.expect, "own-address": "100.64.0.9"}
        return replace(plan, enforce=replace(plan.enforce, expect=expect))


def test_connections_of_an_address_that_comes_again_are_cut() -> None:
    plan = plan_of(recipe(Pinned()).plan(SUSPEND, SERVICE, seen_of([SESSION])))
    cut = plan.steps[-1]
    assert isinstance(cut.do, Effect)
    assert (cut.n, cut.target, cut.after, cut.fallback_for) == (4, "routeros/bng-1", (1,), ())
    assert (cut.do.verb, cut.do.address) == ("cut", FLOWS)
    offline = plan_of(recipe(Pinned()).plan(SUSPEND, SERVICE, seen_of()))
    assert [s.n for s in offline.steps] == [1, 2]  # nobody had a connection


def test_e1_routers_a_login_may_roam_to_are_named_if_uncut() -> None:
    both = RoutedAccess(Pinned(), METHOD, ROUTERS, HOSTS)  # type: ignore[arg-type]  # Inner has no example
    told = plan_of(both.plan(SUSPEND, SERVICE, seen_of([SESSION]))).display[OPEN]
    assert told == "not checked: connections that its address has on bng-2, if it logs in there next"
    assert OPEN not in plan_of(both.plan(SUSPEND, SERVICE, seen_of())).display  # nobody had a connection
    assert OPEN not in plan_of(both.plan(RESTORE, SERVICE, seen_of([SESSION]))).display


@pytest.mark.parametrize(
    ("flows", "expected"),
    [
        ([], Enforced.YES),
        ([(FLOW, {"fasttrack": "true"})], Enforced.NO),
        ([(FLOW, {})], Enforced.NO),
        ([(FLOW, {"fasttrack": "false"})], Enforced.YES),
        ([("tcp 100.64.0.9:50001 192.0.2.1:443", {"fasttrack": "true"})], Enforced.NO),
    ],
)
@pytest.mark.parametrize("ended", [True, False])
@pytest.mark.parametrize(("inner", "where"), [(Pinned, FLOWS), (Inner, SESSION_FLOWS)])
def test_what_is_left_of_them_is_no_suspension(
    flows: list[tuple[str, dict[str, str]]], ended: bool, inner: type[Inner], where: Address, expected: Enforced
) -> None:
    """Of an address that comes again by itself, and of whatever address a pool gave."""
    of = recipe(inner())
    enforce = plan_of(of.plan(SUSPEND, SERVICE, seen_of([SESSION]))).enforce
    assert enforce is not None
    seen = seen_of([SESSION], listed=["100.64.0.9"])
    del seen[SESSION_FLOWS]
    assert [a for a in of.enforcement_reads(enforce, seen) if a not in seen] == [where]
    seen[where] = Seen(rows_value(flows), 0)
    gone = [Address(f"routeros/bng-1/ip/flow/{FLOW}")] if ended else []
    found = of.judge(enforce, seen, gone)
    assert (found.enforced, found.again) == (expected, (where,) if expected is Enforced.NO else ())
    if expected is Enforced.NO:
        assert (found.how, found.detail) == ("still-online", f"1 connection of {LOGIN} on bng-1 carries on as before")


def test_an_accept_above_the_drop_is_kept_and_its_flows_are_cut() -> None:
    rules = ({"chain": "forward", "action": "accept", "connection-state": "established,related"}, DROP)
    plan = plan_of(recipe().plan(SUSPEND, SERVICE, seen_of([SESSION], rules=rules)))
    assert "bng-1: open connections are cut: rule 0 (" in plan.display["after"]
    assert plan.enforce is not None
    seen = seen_of([SESSION], listed=["100.64.0.9"], rules=rules)
    seen[SESSION_FLOWS] = Seen(rows_value([(FLOW, {"fasttrack": "false", "seen-reply": "true"})]), 0)
    assert recipe().judge(plan.enforce, seen, ()).enforced is Enforced.NO
    seen[SESSION_FLOWS] = Seen(ABSENT, 0)
    assert recipe().judge(plan.enforce, seen, ()).enforced is Enforced.YES


def test_a_restore_looks_at_no_connection() -> None:
    plan = plan_of(recipe().plan(RESTORE, SERVICE, seen_of([SESSION])))
    assert "cut" not in [s.do.verb for s in plan.steps if isinstance(s.do, Effect)]
    assert plan.enforce is not None
    seen = seen_of([SESSION])
    del seen[SESSION_FLOWS]
    assert recipe().enforcement_reads(plan.enforce, seen) == []


# --- where it comes from ---


def test_only_methods_with_routers_are_completed() -> None:
    nas = Nas("bng-1", "10.0.0.1", "10.0.0.1", 3799, "nas/bng-1", router="bng-1")
    inner = Inner()
    config = RadiusConfig((), (nas,), (METHOD,))
    found = with_routers({"pppoe": inner}, config, HOSTS)
    assert isinstance(found["pppoe"], RoutedWays)
    assert with_routers({"pppoe": inner}, replace(config, nas=(replace(nas, router=""),)), HOSTS)["pppoe"] is inner
    assert with_routers({"pppoe": inner}, config, {})["pppoe"] is inner


# --- what the network reads now ---


def test_a_routers_lists_say_which_policy_a_session_carries() -> None:
    """Of a session that accounting tells of, and of one that only the router has."""
    state = recipe().network_state(SERVICE, seen_of([SESSION], listed=["100.64.0.9"]))
    (told,) = state.sessions
    assert (told.carries, told.how, told.source) == (Access.SUSPENDED, "seen", "accounting")
    assert state.not_checked == ()
    (told,) = recipe().network_state(SERVICE, seen_of([SESSION])).sessions
    assert (told.carries, told.how) == (Access.ACTIVE, "seen")
    row = {"address": "100.64.0.7", "login": LOGIN}
    (told,) = recipe().network_state(SERVICE, seen_of(only_here={"bng-2": [("*1", row)]})).sessions
    assert (told.place, told.source, told.address, told.carries) == (
        "bng-2",
        "router bng-2",
        "100.64.0.7",
        Access.ACTIVE,
    )


def test_a_list_that_no_rule_drops_says_nothing_of_a_session() -> None:
    (told,) = recipe().network_state(SERVICE, seen_of([SESSION], listed=["100.64.0.9"], rules=())).sessions
    assert (told.carries, told.how) == (None, "not-told")


def test_an_entry_that_hides_radius_leaves_the_next_login_open() -> None:
    state = recipe().network_state(SERVICE, seen_of(secret_on="bng-2"))
    assert state.access is None
    assert "bng-2 has a PPP secret of that name: it hides RADIUS there" in state.unknown


def test_routers_that_were_not_read_are_named() -> None:
    """The state of a suspended service can be read while a router is away."""
    seen = {WHERE: seen_of([SESSION])[WHERE]}
    state = recipe().network_state(SUSPENDED_ONE, seen)
    assert state.access is Access.ACTIVE
    assert [told.carries for told in state.sessions] == [None]
    assert state.not_checked == (
        "sessions, rules and entries on bng-1 were not read",
        "sessions, rules and entries on bng-2 were not read",
    )


def test_a_good_session_only_a_router_knows_is_not_ended_again() -> None:
    """A second reason for somebody who is suspended, and sits in the garden: nothing is sent."""
    inner = Inner()
    inner.as_wanted = True
    only = {"bng-2": [("*1", {"address": "100.64.0.7", "login": LOGIN})]}
    held = plan_of(recipe(inner).plan(SUSPEND, SERVICE, seen_of(only_here=only, listed=["100.64.0.7"])))
    assert (held.steps, held.rests_on) == ((), (WHERE,))
    loose = plan_of(recipe(inner).plan(SUSPEND, SERVICE, seen_of(only_here=only)))
    assert [step.target for step in loose.steps] == ["routeros/bng-2"]


def test_no_router_speaks_for_a_nas_that_is_not_configured() -> None:
    inner = Inner(Judgment(Enforced.UNPROVEN, ProofReason.NOT_PROVEN, "not proven: online on 10.9.9.9"))
    enforce = Enforcement("radius/main", WHERE, {"method": "pppoe", "state": "active", "router-lists": "suspended"}, 60)
    only = {"bng-2": [("*1", {"address": "100.64.0.7", "login": LOGIN})]}
    assert recipe(inner).judge(enforce, seen_of(only_here=only), {}).enforced is Enforced.YES
    stray = seen_of([{**SESSION, "nas": "10.9.9.9"}], only_here=only)
    assert recipe(inner).judge(enforce, stray, {}) == inner.verdict


def test_a_session_on_a_router_contradicts_a_rejected_login() -> None:
    inner = Inner(Judgment(Enforced.YES, ProofReason.STAYS_REJECTED, "the login stays rejected"))
    enforce = Enforcement(
        "radius/main", WHERE, {"method": "pppoe", "state": "suspended", "router-lists": "suspended"}, 60
    )
    assert recipe(inner).judge(enforce, seen_of(), {}).how == "stays-rejected"
    only = {"bng-2": [("*1", {"address": "100.64.0.7", "login": LOGIN})]}
    found = recipe(inner).judge(enforce, seen_of(only_here=only), {})
    assert (found.enforced, found.how) == (Enforced.NO, "not-in-effect")


def test_on_one_router_alone_only_its_rules_count() -> None:
    seen = seen_of()
    seen[Address("routeros/bng-2/ip/filter/all")] = Seen(rows_value([("0", FAST)]), 0)
    both = RoutedAccess(Inner(), METHOD, ROUTERS, HOSTS)  # type: ignore[arg-type]  # Inner has no example
    assert isinstance(both.plan(SUSPEND, SERVICE, seen), CannotEnforce)
    alone = {target: part.plan(SUSPEND, SERVICE, seen) for target, part in both.on_devices().items()}
    assert isinstance(alone["routeros/bng-1"], AccessPlan)
    assert isinstance(refused := alone["routeros/bng-2"], CannotEnforce)
    assert refused == both.plan(SUSPEND, SERVICE, seen)
    assert not any("bng-2" in a for a in both.on_devices()["routeros/bng-1"].reads(SERVICE, {}))


# --- a suspension by an address of the garden, without any list ---

GARDEN = replace(METHOD, suspended_reply={"Framed-Pool": "garden"}, garden4=(IPv4Network("100.127.0.0/16"),))
GARDEN_DROP = {"chain": "forward", "action": "drop", "src-address": "100.127.0.0/16"}
ACCEPT = {"chain": "forward", "action": "accept"}


@pytest.mark.parametrize(
    ("rules", "why"),
    [
        ((ACCEPT,), "bng-1: rule 0 (action=accept) may let it out"),
        ((), "no rule of chain forward drops all of src-address=100.127.0.0/16"),
        (({**GARDEN_DROP, "src-address": "100.127.0.0/17"},), "no rule of chain forward drops all"),
        (({**GARDEN_DROP, "in-interface": "all-ppp"},), ""),
        (({"chain": "forward", "action": "accept", "src-address": "10.0.0.0/24"}, GARDEN_DROP, ACCEPT), ""),
    ],
)
def test_e2_a_garden_without_a_list_is_judged_by_its_addresses(rules: Sequence[Mapping[str, str]], why: str) -> None:
    found = recipe(method=GARDEN).plan(SUSPEND, SERVICE, seen_of(rules=rules))
    if why:
        assert isinstance(found, CannotEnforce)
        assert why in found.detail
        return
    assert isinstance(found, AccessPlan)
    assert "rules above FastTrack checked: bng-1 bng-2" in found.display["after"]
    in_garden = {**SESSION, "ip": "100.127.0.9"}
    by_radius = Judgment(Enforced.YES, "garden", "100.127.0.9 in the garden")
    proven = recipe(Inner(by_radius), GARDEN)
    assert found.enforce is not None
    assert proven.judge(found.enforce, seen_of([in_garden], rules=rules), {}) == by_radius
    for gone in ((), (ACCEPT, *rules)):  # the rules of when it was planned are no longer there
        assert proven.judge(found.enforce, seen_of([in_garden], rules=gone), {}).enforced is Enforced.NO


def test_the_rules_of_ipv6_count_for_a_garden_of_ipv6() -> None:
    method = replace(GARDEN, garden6=(IPv6Network("2001:db8:ff00::/40"),))
    drop6 = {"chain": "forward", "action": "drop", "src-address": "2001:db8:ff00::/40"}
    for rules6, planned in (((drop6,), True), ((ACCEPT, drop6), False), ((), False)):
        seen = seen_of(rules=(GARDEN_DROP,))
        for router in ("bng-1", "bng-2"):
            value = rows_value((str(n), rule) for n, rule in enumerate(rules6))
            seen[Address(f"routeros/{router}/ipv6/filter/all")] = Seen(value, 0)
        assert isinstance(recipe(method=method).plan(SUSPEND, SERVICE, seen), AccessPlan) is planned


def test_a_policy_without_list_and_garden_checks_no_rules() -> None:
    found = recipe(method=replace(GARDEN, garden4=())).plan(SUSPEND, SERVICE, seen_of(rules=(ACCEPT,)))
    assert isinstance(found, AccessPlan)
    assert "not checked: the routers' rules" in found.display["after"]
    assert found.enforce is not None
    inferred = recipe(method=replace(GARDEN, garden4=()))
    assert inferred.judge(found.enforce, seen_of([SESSION], rules=(ACCEPT,)), {}).enforced is Enforced.NO
