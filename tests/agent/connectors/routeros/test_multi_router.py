"""One recipe on several routers: all of them must hold, and one that does not know the login is left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from agent.connectors.base import CLOCK_SET, AccessPlan, CannotEnforce, Enforced, NetworkState
from agent.connectors.routeros import multi_router
from agent.connectors.routeros.access_methods import access_method_of
from agent.model import ABSENT, Access, Address, Effect, Enforcement, Seen, ServiceState, Value
from tests.agent.connectors.answers import plan_of
from tests.agent.connectors.routeros.ppp_recipe import (
    METHOD,
    NOW_S,
    ONLINE,
    RESTORE,
    SECRET,
    SERVICE,
    SESSION,
    SUSPEND,
    SUSPENDED,
    seen_of,
)
from tests.agent.connectors.routeros.ways import closed_ways

BOTH = replace(METHOD, also_on=("routeros/edge-2",))
HERE: dict[str, object] = {}
NOT: dict[str, object] = {"secret": ABSENT}


def on_both(first: Mapping[str, object] = HERE, second: Mapping[str, object] = HERE) -> dict[Address, Seen]:
    """What both routers read: of the second, what the first would read, under its name."""
    seen = seen_of(**first) | closed_ways(NOW_S)  # type: ignore[arg-type]  # as seen_of takes them
    other = seen_of(**second) | closed_ways(NOW_S)  # type: ignore[arg-type]  # as seen_of takes them
    return seen | {Address(a.replace("edge-1", "edge-2", 1)): value for a, value in other.items()}


def plan(wanted: ServiceState, seen: Mapping[Address, Seen]) -> AccessPlan | CannotEnforce:
    return access_method_of(BOTH).plan(wanted, SERVICE, seen)


def test_reads_of_both() -> None:
    recipe = access_method_of(BOTH)
    found = list(recipe.reads(SERVICE, {}))
    assert {a.split("/")[1] for a in found} == {"edge-1", "edge-2"}
    assert recipe.reads(SERVICE, on_both()) == []
    assert recipe.target == "routeros/edge-1"


def test_steps_on_both_each_ladder_on_its_own() -> None:
    found = plan_of(plan(SUSPEND, on_both({"sessions": ONLINE})))
    assert [(s.n, s.target, s.after) for s in found.steps] == [
        (1, "routeros/edge-1", ()),
        (2, "routeros/edge-1", (1,)),
        (3, "routeros/edge-1", (1,)),
        (4, "routeros/edge-2", ()),
        (5, "routeros/edge-2", (4,)),
        (6, "routeros/edge-2", (4,)),
    ]
    assert found.display["online"] == "online"
    assert found.display["nas"] == "edge-1"
    assert found.display["now"] == "edge-1: online 6d on edge-1 · 100.64.12.9; edge-2: offline"
    assert found.display["sessions"] == "1"


def test_a_router_that_does_not_know_the_login_is_left_out() -> None:
    found = plan_of(plan(SUSPEND, on_both(HERE, NOT)))
    assert {s.target for s in found.steps} == {"routeros/edge-1"}
    found = plan_of(plan(SUSPEND, on_both(NOT, HERE)))
    assert {s.target for s in found.steps} == {"routeros/edge-2"}
    refused = plan(SUSPEND, on_both(NOT, NOT))
    assert isinstance(refused, CannotEnforce)
    assert refused.reason == "no-such-login"


def test_a_suspension_rests_on_routers_without_the_login() -> None:
    """Staff may add the login there before the suspension runs: nothing is written nor judged on that router."""
    suspended = plan_of(plan(SUSPEND, on_both(HERE, NOT)))
    assert suspended.rests_on == (Address("routeros/edge-2/ppp/secret/amina.h"),)
    assert plan_of(plan(RESTORE, on_both({"secret": SUSPENDED}, NOT))).rests_on == ()


def test_one_that_refuses_refuses_all() -> None:
    """A list without a rule on the second router: suspended on the first only would be no suspension."""
    refused = plan(SUSPEND, on_both(HERE, {"rules": []}))
    assert isinstance(refused, CannotEnforce)
    assert refused.reason == "list-without-rule"


def test_what_is_so_already_on_one_is_done_on_the_other() -> None:
    found = plan_of(plan(SUSPEND, on_both({"secret": SUSPENDED}, {"secret": SECRET})))
    assert {s.target for s in found.steps} == {"routeros/edge-2"}
    assert plan_of(plan(RESTORE, on_both())).steps == ()
    assert plan_of(plan(RESTORE, on_both())).enforce is None


def test_kick_is_where_the_sessions_are() -> None:
    found = plan_of(access_method_of(BOTH).disconnect(SERVICE, on_both({}, {"sessions": ONLINE})))
    assert [(s.n, s.target) for s in found.steps] == [(1, "routeros/edge-2")]
    assert isinstance(found.steps[0].do, Effect)


def enforcement(wanted: ServiceState = SUSPEND) -> Enforcement:
    found = plan_of(plan(wanted, on_both({"sessions": ONLINE}, {"sessions": ONLINE}))).enforce
    assert found is not None
    return found


NEW: dict[Address, Value] = {}


def judged(
    first: Mapping[str, object],
    second: Mapping[str, object],
    clock_set: int = 0,
    enforce: Enforcement | None = None,
) -> tuple[Enforced, str, str]:
    seen = on_both(first, second)
    for router in ("edge-1", "edge-2"):  # sessions of after the preview
        began = Address(f"routeros/{router}/ppp/began/amina.h")
        value = seen[began].value
        if value is not ABSENT:
            seen[began] = Seen(dict.fromkeys(value, str(NOW_S + 30 + clock_set)), NOW_S + clock_set)
    recipe, enforce = access_method_of(BOTH), enforce or enforcement()
    if clock_set:
        enforce = replace(enforce, expect={**enforce.expect, CLOCK_SET: str(clock_set)})
    assert not [a for a in recipe.enforcement_reads(enforce, seen) if a not in seen]
    found = recipe.judge(enforce, seen, ())
    return found.enforced, found.how, found.detail


OFF = {"secret": SUSPENDED}
HELD = {"secret": SUSPENDED, "sessions": [("0x82", SESSION)], "lists": ("suspended",)}
LOOSE = {"secret": SUSPENDED, "sessions": [("0x82", SESSION)]}
OPEN = {"secret": SECRET, "sessions": [("0x82", SESSION)]}
DISABLED = {"secret": {**SECRET, "disabled": "true"}}


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (OFF, OFF, (Enforced.PENDING, "offline")),
        (HELD, OFF, (Enforced.YES, "seen")),
        (OFF, HELD, (Enforced.YES, "seen")),
        (HELD, HELD, (Enforced.YES, "seen")),
        (HELD, LOOSE, (Enforced.NO, "not-in-effect")),
        (LOOSE, HELD, (Enforced.NO, "not-in-effect")),
        (OFF, LOOSE, (Enforced.NO, "not-in-effect")),
    ],
)
def test_all_routers_must_hold(
    first: Mapping[str, object], second: Mapping[str, object], expected: tuple[Enforced, str]
) -> None:
    assert judged(first, second)[:2] == expected


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (DISABLED, DISABLED, (Enforced.YES, "stays-rejected")),
        (DISABLED, OPEN, (Enforced.YES, "seen")),
        (OPEN, DISABLED, (Enforced.YES, "seen")),
        (DISABLED, HERE, (Enforced.PENDING, "offline")),
    ],
)
def test_a_login_is_rejected_where_all_routers_reject_it(
    first: Mapping[str, object], second: Mapping[str, object], expected: tuple[Enforced, str]
) -> None:
    asked = [{"secret": {**SUSPENDED, "disabled": "true" if one is DISABLED else "false"}} for one in (first, second)]
    enforce = plan_of(plan(RESTORE, on_both(*asked))).enforce
    assert enforce is not None
    assert judged(first, second, enforce=enforce)[:2] == expected


def test_each_router_is_told_that_our_clock_was_set() -> None:
    assert judged(HELD, HELD, clock_set=-400)[:2] == (Enforced.YES, "seen")


def test_every_judgment_of_a_router_has_its_place_of_several() -> None:
    """Seed 30202 of the simulation: a judgment without one ended the change as a fault of the agent's own."""
    assert set(multi_router._WORST) == set(Enforced)


def test_it_is_said_where() -> None:
    assert judged(HELD, LOOSE)[2].startswith("edge-2: ")


def test_what_was_planned_on_one_router_before_there_were_two() -> None:
    """The agent was started anew with another configuration while the change ran."""
    own = plan_of(access_method_of(METHOD).plan(SUSPEND, SERVICE, seen_of(sessions=ONLINE))).enforce
    assert own is not None
    seen, both = on_both(OFF, NOT), access_method_of(BOTH)
    assert not [a for a in both.enforcement_reads(own, seen) if a not in seen]
    assert both.judge(own, seen, ()).how == "offline"


def test_router_that_method_has_no_more_is_not_said_to_hold() -> None:
    seen = on_both(HELD, HELD)
    for also_on in (("routeros/edge-3",), ("routeros/edge-3", "routeros/edge-4")):
        other = access_method_of(replace(METHOD, target="routeros/edge-1", also_on=also_on))
        found = other.judge(enforcement(), seen, {})
        assert (found.enforced, found.how) == (Enforced.NO, "unmapped-method")
        assert "edge-2" in found.detail
    none = access_method_of(replace(METHOD, target="routeros/edge-3", also_on=("routeros/edge-4",)))
    assert none.judge(enforcement(), seen, {}).how == "unmapped-method"


def test_planned_on_two_and_judged_by_one_and_other_way_round() -> None:
    """The configuration changed while the change ran: it is said, and no run falls over it."""
    one, both = access_method_of(METHOD), access_method_of(BOTH)
    two = enforcement()
    assert one.judge(two, on_both(HELD, HELD), ()).how == "unmapped-method"
    assert list(one.enforcement_reads(two, {}))
    single = plan_of(one.plan(SUSPEND, SERVICE, seen_of(sessions=ONLINE))).enforce
    assert single is not None
    assert not any(" " in key for key in single.expect)
    assert list(both.enforcement_reads(single, {})) == list(one.enforcement_reads(single, {}))


# --- what the routers read now ---


def state_of(seen: Mapping[Address, Seen]) -> NetworkState:
    return access_method_of(BOTH).network_state(SERVICE, seen)


def test_routers_that_agree_are_one_state_with_sessions_of_both() -> None:
    state = state_of(on_both({"sessions": ONLINE}, {"sessions": ONLINE}))
    assert (state.access, state.tariff, [one.place for one in state.sessions]) == (
        Access.ACTIVE,
        "Home 20M",
        ["edge-1", "edge-2"],
    )
    assert state_of(on_both(NOT, {"secret": SUSPENDED})).access is Access.SUSPENDED
    assert state_of(on_both(NOT, NOT)).absent


def test_routers_that_differ_leave_it_open_and_are_both_named() -> None:
    state = state_of(on_both({"secret": SUSPENDED}, HERE))
    assert state.access is None
    assert state.unknown == "edge-1: suspended; edge-2: active on Home 20M"
    state = state_of(on_both(HERE, {"secret": {**SECRET, "disabled": "true"}}))
    assert (state.access, state.refused) == (None, "")
    assert "edge-2: its PPP secret is disabled" in state.unknown


def test_a_router_that_was_not_read_leaves_it_open() -> None:
    here = {where: one for where, one in on_both().items() if "edge-1" in where}
    state = state_of(here)
    assert (state.access, state.not_checked) == (None, ("edge-2 was not read",))
    assert state.unknown == "edge-1: active on Home 20M; edge-2 was not read"
    assert state_of({}).unknown == "edge-1 was not read; edge-2 was not read"
