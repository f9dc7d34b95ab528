"""The access recipe: what is written, what is refused and why, and what proves that it holds. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from agent.connectors.base import CLOCK_SET, IN_FORCE, AccessMethod, Enforced, NetworkState
from agent.connectors.routeros.access import PppAccess
from agent.connectors.routeros.addresses import rows_value
from agent.connectors.routeros.matching import Ruleset
from agent.connectors.routeros.rulesets import ruleset_value
from agent.connectors.routeros.schema import PppMethod
from agent.model import (
    ABSENT,
    Access,
    Address,
    Effect,
    Enforcement,
    ProofKind,
    Replay,
    SecretRef,
    Seen,
    ServiceState,
    Value,
)
from tests.agent.connectors.answers import plan_of, refused
from tests.agent.connectors.routeros.ppp_recipe import (
    METHOD,
    NOW_S,
    ONLINE,
    PROFILES,
    RESTORE,
    RULES,
    SECRET,
    SERVICE,
    SESSION,
    SUSPEND,
    SUSPENDED,
    UPGRADE,
    at,
    members,
    planned,
    seen_of,
)


def test_it_is_an_access_recipe() -> None:
    made: AccessMethod = PppAccess(METHOD)
    assert made.target == "routeros/edge-1"


def test_reads_in_two_rounds() -> None:
    recipe, seen = PppAccess(METHOD), seen_of(sessions=ONLINE)
    first = list(recipe.reads(SERVICE, {}))
    second = list(recipe.reads(SERVICE, {where: seen[where] for where in first}))
    assert second == [at("ip/members", "suspended")]
    assert {*first, *second} <= set(seen)
    assert recipe.reads(SERVICE, seen) == []


def test_suspension_writes_the_profile_and_ends_the_sessions() -> None:
    plan = plan_of(planned(sessions=ONLINE))
    write, drop, cut = plan.steps
    assert isinstance(write.do, tuple)
    assert write.do[0].address == at("ppp/secret", "amina.h")
    assert (write.do[0].before.value, write.do[0].after) == (SECRET, SUSPENDED)
    assert isinstance(drop.do, Effect)
    assert (drop.do.verb, drop.do.proof, drop.do.replay) == ("disconnect", ProofKind.GONE, Replay.IF_UNPROVEN)
    assert drop.after == (1,)
    assert [e.verb for e in drop.on_revert] == ["disconnect"]
    assert isinstance(cut.do, Effect)
    assert (cut.do.verb, cut.do.address, cut.after, cut.on_revert) == ("cut", at("ppp/flows", "amina.h"), (1,), ())
    assert plan.display["now"] == "online 6d on edge-1 · 100.64.12.9"
    after = "pay page only: profile suspended, rule 0 (action=drop src-address-list=suspended) drops list suspended"
    assert plan.display["after"] == after
    assert plan.enforce is not None
    assert plan.enforce.expect["lists"] == "suspended"


POOLED = {**PROFILES, "suspended": {"name": "suspended", "remote-address": "garden"}}
BY_POOL = [("1", {"chain": "forward", "action": "drop", "src-address": "10.9.0.0/24"})]


@pytest.mark.parametrize(("ranges", "kept"), [("10.9.0.10-10.9.0.99", True), ("10.9.0.10-10.9.1.99", False)])
def test_a_profile_without_a_list_is_judged_by_its_pool(ranges: str, kept: bool) -> None:
    recipe, seen = PppAccess(METHOD), seen_of(profiles=POOLED, rules=BY_POOL)
    assert list(recipe.reads(SERVICE, seen)) == [at("ip/pools", "all")]
    seen[at("ip/pools", "all")] = Seen({"garden": ranges}, NOW_S)
    found = recipe.plan(SUSPEND, SERVICE, seen)
    if kept:
        assert "rule 0 (action=drop src-address=10.9.0.0/24)" in plan_of(found).display["after"]
    else:
        refused(found, "no-list", f"no rule of chain forward drops all of src-address={ranges}")


@pytest.mark.parametrize(("place", "verdict"), [("10.9.0.17", Enforced.YES), ("100.64.0.9", Enforced.NO)])
def test_a_session_without_a_list_is_judged_by_its_address(place: str, verdict: Enforced) -> None:
    seen = seen_of(profiles=POOLED, rules=BY_POOL)
    seen[at("ip/pools", "all")] = Seen({"garden": "10.9.0.10-10.9.0.99"}, NOW_S)
    plan = plan_of(PppAccess(METHOD).plan(SUSPEND, SERVICE, seen))
    assert plan.enforce is not None
    now = seen_of(SUSPENDED, [("0x82", {**SESSION, "address": place})], POOLED, BY_POOL)
    now[at("ppp/began", "amina.h")] = Seen({"0x82": str(NOW_S + 5)}, NOW_S)
    assert PppAccess(METHOD).judge(plan.enforce, now, []).enforced is verdict


# --- judging ---


def enforce_of(wanted: ServiceState, method: PppMethod = METHOD) -> Enforcement:
    secret, lists = (SECRET, ()) if wanted.access is Access.SUSPENDED else (SUSPENDED, ("suspended",))
    found = plan_of(planned(wanted, method, secret=secret, sessions=ONLINE, lists=lists)).enforce
    assert found is not None
    return found


NOTHING_TOLD: Mapping[str, str] = {}


def judged(
    wanted: ServiceState,
    address: str = "100.64.12.9",
    lists: tuple[str, ...] = (),
    *,
    sid: str = "0x82",
    secret: Value | None = None,
    began: Value | None = None,
    ended: tuple[str, ...] = ("0x81",),
    online: bool = True,
    clock_set: int = 0,
    told: Mapping[str, str] = NOTHING_TOLD,
    rules: list[tuple[str, dict[str, str]]] | None = None,
    asks_radius: str = "false",
    **more: str,
) -> tuple[Enforced, str]:
    enforce, recipe, now_s = enforce_of(wanted), PppAccess(METHOD), NOW_S + 30 + clock_set
    enforce = replace(enforce, expect={**enforce.expect, **told})
    if clock_set:
        enforce = replace(enforce, expect={**enforce.expect, CLOCK_SET: str(clock_set)})
    sessions = rows_value([(sid, SESSION | {"address": address} | more)] if online else [])
    become = SUSPENDED if wanted.access is Access.SUSPENDED else SECRET
    values = {where: seen.value for where, seen in seen_of(rules=rules, radius=asks_radius).items()}
    values |= {
        at("ppp/active", "amina.h"): sessions,
        at("ppp/secret", "amina.h"): become if secret is None else secret,
        at("ppp/began", "amina.h"): {sid: str(now_s - 3)} if began is None else began,
        **members(lists, [address]),
    }
    seen: dict[Address, Seen] = {}
    while missing := recipe.enforcement_reads(enforce, seen):
        seen |= {where: Seen(values[where], now_s) for where in missing}
    found = recipe.judge(enforce, seen, [at("ppp/session", s) for s in ended])
    return found.enforced, found.how


def test_judged_by_the_routers_lists() -> None:
    assert judged(SUSPEND, lists=("suspended",)) == (Enforced.YES, "seen")
    assert judged(SUSPEND, lists=()) == (Enforced.NO, "not-in-effect")
    assert judged(SUSPEND, lists=("other",)) == (Enforced.NO, "not-in-effect")
    assert judged(RESTORE, lists=()) == (Enforced.YES, "seen")
    assert judged(RESTORE, lists=("suspended",)) == (Enforced.NO, "garden")


def test_judged_by_what_is_not_so() -> None:
    assert judged(SUSPEND, sid="0x81") == (Enforced.NO, "still-online")
    assert judged(SUSPEND, online=False) == (Enforced.PENDING, "offline")
    assert judged(SUSPEND, secret=SECRET) == (Enforced.NO, "not-in-effect")
    assert judged(SUSPEND, secret={"copies": "2"}) == (Enforced.NO, "not-in-effect")
    assert judged(SUSPEND, secret=ABSENT) == (Enforced.NO, "not-in-effect")


@pytest.mark.parametrize("ended", [(), ("0x81",)])
def test_an_old_session_or_one_of_unknown_age_is_no_proof(ended: tuple[str, ...]) -> None:
    """E19."""
    old: Value = {"0x82": str(NOW_S - 6 * 86_400)}
    for wanted, lists in ((SUSPEND, ("suspended",)), (RESTORE, ())):
        assert judged(wanted, lists=lists, ended=ended, began=old) == (Enforced.NO, "old-session")
        assert judged(wanted, lists=lists, ended=ended, began=ABSENT) == (Enforced.NO, "old-session")
        assert judged(wanted, lists=lists, ended=ended) == (Enforced.YES, "seen")


@pytest.mark.parametrize("clock_set", [-400, 86_400])
def test_a_clock_that_was_set_makes_no_session_older_or_newer(clock_set: int) -> None:
    """Seed 4000025: our clock was set back, and a session of after the change seemed to be from before it."""
    since: Value = {"0x82": str(NOW_S + 20 + clock_set)}
    before: Value = {"0x82": str(NOW_S - 60 + clock_set)}
    for wanted, lists in ((SUSPEND, ("suspended",)), (RESTORE, ())):
        assert judged(wanted, lists=lists, began=since, clock_set=clock_set) == (Enforced.YES, "seen")
        assert judged(wanted, lists=lists, began=before, clock_set=clock_set) == (Enforced.NO, "old-session")


@pytest.mark.parametrize(
    ("began_s", "unlooked"), [(16, "old-session"), (17, "not-proven"), (26, "not-proven"), (27, "seen")]
)
def test_a_tariff_counts_from_its_write_where_nobody_looked(began_s: int, unlooked: str) -> None:
    """No list tells a tariff: who logged in before the write has the former one, and nothing was to end that session.

    Where a list tells what is wanted it is believed.
    """
    began: Value = {"0x82": str(NOW_S + began_s)}
    told = {IN_FORCE: str(NOW_S + 22)}
    assert judged(UPGRADE, began=began, secret={**SECRET, "profile": "home50"})[1] == "seen"
    assert judged(UPGRADE, began=began, secret={**SECRET, "profile": "home50"}, told=told)[1] == unlooked
    assert judged(RESTORE, began=began, told=told) == (Enforced.YES, "seen")
    assert judged(RESTORE, lists=("suspended",), began=began, told=told)[1] == "garden"
    assert judged(SUSPEND, lists=("suspended",), began=began, told=told) == (Enforced.YES, "seen")
    pooled = seen_of(SUSPENDED, ONLINE, POOLED, BY_POOL)
    pooled[at("ip/pools", "all")] = Seen({"garden": "10.9.0.10-10.9.0.99"}, NOW_S)
    enforce = plan_of(PppAccess(METHOD).plan(RESTORE, SERVICE, pooled)).enforce
    assert enforce is not None
    now = seen_of(SECRET, [("0x82", SESSION)], POOLED, BY_POOL) | {at("ppp/began", "amina.h"): Seen(began, NOW_S)}
    found = PppAccess(METHOD).judge(replace(enforce, expect={**enforce.expect, **told}), now, {})
    assert found.how == unlooked.replace("seen", "inferred"), "no list tells the garden's session either"


def test_a_session_that_outlasted_a_suspension_is_good() -> None:
    """The router's lists told at the preview that it never was in the garden: a refused disconnect changes nothing."""

    def found(wanted: ServiceState, lists: tuple[str, ...] = ()) -> tuple[Enforced, str]:
        enforce = plan_of(planned(wanted, secret=SUSPENDED, sessions=ONLINE)).enforce
        assert enforce is not None
        secret = {**SECRET, "profile": enforce.expect["profile"]}
        seen = seen_of(secret, ONLINE, lists=lists)
        judgment = PppAccess(METHOD).judge(enforce, seen, [at("ppp/session", sid) for sid, _ in ONLINE])
        return judgment.enforced, judgment.how

    assert found(RESTORE) == (Enforced.YES, "seen")
    assert found(RESTORE, ("suspended",)) == (Enforced.NO, "garden")
    assert found(UPGRADE) == (Enforced.NO, "still-online"), "it has the speed of its former tariff"


def test_a_garden_session_that_outlasted_a_restore_is_held() -> None:
    """The lists told at the preview that it is in the garden, and tell it now: a refused disconnect changes nothing."""

    def found(before: tuple[str, ...], now: tuple[str, ...], **more: object) -> tuple[Enforced, str]:
        enforce = plan_of(planned(sessions=ONLINE, lists=before)).enforce
        assert enforce is not None
        seen = seen_of(SUSPENDED, ONLINE, lists=now, **more)  # type: ignore[arg-type]  # as seen_of takes them
        judgment = PppAccess(METHOD).judge(enforce, seen, [at("ppp/session", sid) for sid, _ in ONLINE])
        return judgment.enforced, judgment.how

    garden = ("suspended",)
    assert found(garden, garden) == (Enforced.YES, "seen")
    assert found(garden, ()) == (Enforced.NO, "not-in-effect")
    assert found(garden, garden, rules=[]) == (Enforced.NO, "not-in-effect")
    assert found(garden, garden, flows=[(FLOW, {"fasttrack": "true"})]) == (Enforced.NO, "still-online")
    assert found((), garden) == (Enforced.NO, "still-online"), "it was at large at the preview"
    proof = plan_of(planned(sessions=ONLINE, lists=garden)).display["proof"]
    assert proof.startswith("each session in the suspended profile's lists; or none yet")


def test_the_rule_that_was_there_at_the_preview_must_still_be() -> None:
    assert judged(SUSPEND, lists=("suspended",), rules=[]) == (Enforced.NO, "not-in-effect")
    assert judged(RESTORE, rules=[]) == (Enforced.YES, "seen")


def test_a_session_without_an_address_or_by_radius_is_no_proof() -> None:
    """E19: the secret says nothing of a session by RADIUS."""
    assert judged(SUSPEND, "", ("suspended",)) == (Enforced.NO, "not-in-effect")
    assert judged(SUSPEND, lists=("suspended",), radius="true") == (Enforced.NO, "not-in-effect")
    assert judged(RESTORE, radius="true") == (Enforced.NO, "not-in-effect")


# --- an address of its own ---

OWN: Mapping[str, str | SecretRef] = {**SECRET, "remote-address": "100.64.12.9"}
FLOWS = at("ip/flows", "100.64.12.9")
FLOW = "tcp 100.64.12.9:50000 203.0.113.80:443"


@pytest.mark.parametrize(
    ("flows", "expected"),
    [
        ([], Enforced.YES),
        ([(FLOW, {"fasttrack": "true"})], Enforced.NO),
        ([("tcp 100.64.12.9:50001 192.0.2.1:443", {"fasttrack": "true"})], Enforced.NO),
        ([(FLOW, {})], Enforced.NO),
        ([(FLOW, {"fasttrack": "false"})], Enforced.YES),  # it meets the rule with every packet
    ],
)
@pytest.mark.parametrize("cut", [True, False])
@pytest.mark.parametrize("own", [True, False])
def test_no_connection_is_left_that_passes_by_the_rule(
    flows: list[tuple[str, dict[str, str]]], cut: bool, own: bool, expected: Enforced
) -> None:
    """Whether it was cut and is back, was never cut, or began since: the judgment names the cut that mends it."""
    secret, where = (OWN, FLOWS) if own else (SECRET, at("ppp/flows", "amina.h"))
    enforce = plan_of(planned(secret=secret, sessions=ONLINE)).enforce
    assert enforce is not None
    seen = seen_of(secret={**secret, "profile": "suspended"}, sessions=[("0x99", SESSION)], lists=("suspended",))
    seen[at("ppp/began", "amina.h")] = Seen({"0x99": str(NOW_S + 30)}, NOW_S + 31)
    seen.pop(at("ppp/flows", "amina.h"))
    recipe = PppAccess(METHOD)
    assert list(recipe.enforcement_reads(enforce, seen)) == [where]
    seen[where] = Seen(rows_value(flows), NOW_S)
    ended = [at("ppp/session", "0x81"), *([at("ip/flow", FLOW)] if cut else [])]
    found = recipe.judge(enforce, seen, ended)
    assert (found.enforced, found.again) == (expected, (where,) if expected is Enforced.NO else ())
    if expected is Enforced.NO:
        assert (found.how, found.detail) == ("still-online", "1 connection of 100.64.12.9 carries on as before")


ESTABLISHED = ("1", {"chain": "forward", "action": "accept", "connection-state": "established,related"})
KNOWN = {"fasttrack": "false", "seen-reply": "true"}


def test_an_accept_above_the_drop_is_kept_and_its_flows_are_cut() -> None:
    rules = [ESTABLISHED, ("2", RULES[0][1])]
    plan = plan_of(planned(sessions=ONLINE, rules=rules))
    assert (
        "open connections are cut: rule 0 (action=accept connection-state=established,related)" in plan.display["after"]
    )
    assert [s.do.verb for s in plan.steps if isinstance(s.do, Effect)] == ["disconnect", "cut"]
    assert plan.enforce is not None
    seen = seen_of(secret=SUSPENDED, sessions=[("0x99", SESSION)], lists=("suspended",), rules=rules)
    seen[at("ppp/began", "amina.h")] = Seen({"0x99": str(NOW_S + 30)}, NOW_S + 31)
    recipe, where = PppAccess(METHOD), at("ppp/flows", "amina.h")
    for flows, expected in (([(FLOW, KNOWN)], Enforced.NO), ([(FLOW, {**KNOWN, "seen-reply": "false"})], Enforced.YES)):
        seen[where] = Seen(rows_value(flows), NOW_S)
        found = recipe.judge(plan.enforce, seen, ())
        assert (found.enforced, found.again) == (expected, (where,) if expected is Enforced.NO else ())


def test_connections_are_not_read_while_something_else_is_wrong() -> None:
    enforce = plan_of(planned(sessions=ONLINE)).enforce
    assert enforce is not None
    seen = seen_of(secret=SUSPENDED, sessions=ONLINE, lists=())
    seen.pop(at("ppp/flows", "amina.h"))
    assert list(PppAccess(METHOD).enforcement_reads(enforce, seen)) == []
    offline = seen_of(secret=SUSPENDED)
    offline.pop(at("ppp/flows", "amina.h"))
    assert list(PppAccess(METHOD).enforcement_reads(enforce, offline)) == []
    assert PppAccess(METHOD).judge(enforce, offline, ()).enforced is Enforced.PENDING


# --- what the router reads now ---


def state_of(**seen: object) -> NetworkState:
    return PppAccess(METHOD).network_state(SERVICE, seen_of(**seen))  # type: ignore[arg-type]  # as seen_of takes them


def test_an_active_secret_and_its_session() -> None:
    state = state_of(sessions=ONLINE)
    assert (state.access, state.refused, state.unknown, state.absent) == (Access.ACTIVE, "", "", False)
    assert (state.tariff, state.groups, state.reply) == ("Home 20M", ("home20",), {"profile": "home20"})
    (session,) = state.sessions
    assert (session.place, session.source, session.address) == ("edge-1", "router edge-1", "100.64.12.9")
    assert (session.since_s, session.facts["caller-id"]) == (NOW_S - 6 * 86_400, "AA:BB")
    assert (session.carries, session.how) == (Access.ACTIVE, "seen")


def test_a_suspended_secret_and_a_session_in_its_list() -> None:
    state = state_of(secret=SUSPENDED, sessions=ONLINE, lists=("suspended",))
    assert (state.access, state.tariff, state.groups) == (Access.SUSPENDED, "", ("suspended", "suspended"))
    assert [one.carries for one in state.sessions] == [Access.SUSPENDED]


def test_a_staff_disabled_secret_is_refused_in_any_profile() -> None:
    for secret in (SECRET, SUSPENDED):
        state = state_of(secret={**secret, "disabled": "true"})
        assert (state.access, state.refused) == (None, "its PPP secret is disabled")


@pytest.mark.parametrize(
    ("seen", "says"),
    [
        ({"secret": {**SECRET, "profile": "vip"}}, "its profile is vip, which no tariff is mapped to"),
        ({"secret": {**SECRET, "copies": "2"}}, "has 2 PPP secrets amina.h"),
    ],
)
def test_what_a_secret_lets_its_subscriber_have_cannot_be_told(seen: dict[str, object], says: str) -> None:
    state = state_of(**seen)
    assert (state.access, state.refused) == (None, "")
    assert says in state.unknown


def test_a_suspended_secret_stands_whatever_the_rules_do() -> None:
    """Whether that keeps anybody in is the plan's to judge."""
    assert state_of(secret=SUSPENDED, rules=[]).access is Access.SUSPENDED


def test_a_list_without_a_rule_says_nothing_of_a_session() -> None:
    state = state_of(secret=SUSPENDED, sessions=ONLINE, lists=("suspended",), rules=[])
    assert [(one.carries, str(one.how)) for one in state.sessions] == [(None, "not-told")]


def test_a_login_that_the_router_does_not_know_is_absent() -> None:
    state = state_of(secret=ABSENT, sessions=ONLINE)
    assert (state.absent, state.access, state.unknown) == (True, None, "edge-1 has no PPP secret amina.h")
    assert len(state.sessions) == 1


# --- without a session ---


def test_without_a_session_the_secret_and_the_rules_decide() -> None:
    """Staff gave the profile back while the old session carried on, and it ended by itself: nothing holds then."""
    offline = (Enforced.PENDING, "offline")
    not_so = (Enforced.NO, "not-in-effect")
    assert judged(SUSPEND, online=False) == offline
    assert judged(SUSPEND, online=False, secret=SECRET) == not_so
    assert judged(SUSPEND, online=False, secret=ABSENT) == not_so
    assert judged(SUSPEND, online=False, secret={**SUSPENDED, "disabled": "true"}) == offline
    assert judged(SUSPEND, online=False, secret={**SUSPENDED, "disabled": "true"}, asks_radius="true") == not_so
    assert judged(SUSPEND, online=False, rules=[]) == not_so
    assert judged(RESTORE, online=False) == offline
    assert judged(RESTORE, online=False, rules=[]) == offline
    assert judged(RESTORE, online=False, secret=SUSPENDED) == not_so
    assert judged(RESTORE, online=False, secret={**SECRET, "disabled": "true"}) == not_so
    assert judged(RESTORE, secret={**SECRET, "disabled": "true"}) == not_so  # its session is the last one


@pytest.mark.parametrize(("place", "ends"), [("10.9.0.17", 1), ("100.64.0.9", 0)])
def test_a_session_in_the_gardens_pool_is_not_active_already(place: str, ends: int) -> None:
    seen = seen_of(SECRET, [("0x82", {**SESSION, "address": place})], POOLED, BY_POOL)
    seen[at("ip/pools", "all")] = Seen({"garden": "10.9.0.10-10.9.0.99"}, NOW_S)
    assert len(plan_of(PppAccess(METHOD).plan(RESTORE, SERVICE, seen)).steps) == ends


# --- a secret that staff disabled ---


@pytest.mark.parametrize(
    ("wanted", "seen", "since_s"),
    [
        (SUSPEND, {"secret": SUSPENDED}, NOW_S),
        (RESTORE, {"lists": ("suspended",)}, NOW_S),
        (SUSPEND, {"secret": SUSPENDED, "age_s": 1}, NOW_S + 9),
        (SUSPEND, {"secret": SUSPENDED, "age_s": None}, None),
        (SUSPEND, {"secret": {**SUSPENDED, "disabled": "true"}}, None),
        (UPGRADE, {"secret": {**SECRET, "profile": "home50"}}, None),
    ],
    ids=["at-large", "garden", "just-begun", "of-unknown-age", "disabled", "tariff"],
)
def test_what_logs_in_to_a_row_as_wanted_is_not_ended(
    wanted: ServiceState, seen: dict[str, object], since_s: int | None
) -> None:
    """No write precedes the disconnect: who came after the preview has the row's profile, where a list tells that."""
    age_s = seen.get("age_s", 6 * 86_400)
    values = seen_of(sessions=ONLINE, **{k: v for k, v in seen.items() if k != "age_s"})  # type: ignore[arg-type]  # as seen_of takes them
    began: Value = {"0x81": str(NOW_S - age_s)} if isinstance(age_s, int) else ABSENT
    values[at("ppp/began", "amina.h")] = Seen(began, NOW_S)
    plan = plan_of(PppAccess(METHOD).plan(wanted, SERVICE, values))
    drop, *cuts = [step.do for step in plan.steps if isinstance(step.do, Effect)]
    assert (drop.verb, drop.args.get("since")) == ("disconnect", None if since_s is None else str(since_s))
    assert [cut.args.get("since") for cut in cuts] == [None] * len(cuts)


def test_our_profile_comes_and_goes_on_a_disabled_secret() -> None:
    off = {**SECRET, "disabled": "true"}
    suspend = plan_of(planned(secret=off))
    ((write,),) = [step.do for step in suspend.steps if isinstance(step.do, tuple)]
    assert write.after == {**off, "profile": "suspended", "comment": "isp:suspended"}
    assert suspend.display["after"].startswith(
        "the login stays rejected: its PPP secret is disabled · once that ends: pay"
    )
    restore = plan_of(planned(RESTORE, secret={**SUSPENDED, "disabled": "true"}, sessions=ONLINE))
    ((write,),) = [step.do for step in restore.steps if isinstance(step.do, tuple)]
    assert write.after == off
    assert restore.display["after"].startswith("the login stays rejected: its PPP secret is disabled")
    for plan, after, carries_on in [
        (suspend, {**SUSPENDED, "disabled": "true"}, (Enforced.NO, "old-session")),
        (restore, off, (Enforced.YES, "stays-rejected")),  # it never was in the garden, and nothing ends it
    ]:
        assert plan.enforce is not None
        recipe = PppAccess(METHOD)
        where = at("ppp/active", "amina.h")
        assert at("ppp/secret", "amina.h") in recipe.enforcement_reads(plan.enforce, {where: Seen(ABSENT, NOW_S)})
        judged = recipe.judge(plan.enforce, seen_of(secret=after), [at("ppp/session", "0x81")])
        assert (judged.enforced, judged.how) == (Enforced.YES, "stays-rejected")
        assert judged.detail == "the login stays rejected: its PPP secret is disabled"
        online = recipe.judge(plan.enforce, seen_of(secret=after, sessions=ONLINE), [])
        assert (online.enforced, online.how) == carries_on
        moved = recipe.judge(plan.enforce, seen_of(secret={**after, "profile": "vip"}), [])
        assert (moved.enforced, moved.how) == (Enforced.NO, "not-in-effect")
        enabled = recipe.judge(plan.enforce, seen_of(secret={**after, "disabled": "false"}), [])
        assert (enabled.enforced, enabled.how) == (Enforced.PENDING, "offline")


def test_a_garden_session_of_a_disabled_secret_is_as_wanted() -> None:
    """Seed 29522061 of the simulation: it was said to carry on as before, and only its connections had."""
    disabled = {**SUSPENDED, "disabled": "true"}
    held = seen_of(secret=disabled, sessions=ONLINE, lists=("suspended",))
    plan = plan_of(PppAccess(METHOD).plan(SUSPEND, SERVICE, held))
    assert plan.steps == ()
    assert plan.enforce is not None
    found = PppAccess(METHOD).judge(plan.enforce, held, [])
    assert (found.enforced, found.how, found.detail) == (Enforced.YES, "seen", "100.64.12.9 in list suspended")
    asks = seen_of(secret=disabled, sessions=ONLINE, lists=("suspended",), radius="true")
    found = PppAccess(METHOD).judge(plan.enforce, asks, [])  # the next login may be let in
    assert (found.enforced, found.how) == (Enforced.NO, "not-in-effect")


def test_open_flows_count_where_the_profiles_list_is_dropped() -> None:
    profiles = {**PROFILES, "suspended": {**PROFILES["suspended"], "interface-list": "HELD"}}  # type: ignore[dict-item]  # a row
    drop = {"chain": "forward", "action": "drop", "in-interface-list": "HELD"}
    value = ruleset_value(Ruleset([ESTABLISHED[1], drop], (), {"HELD": frozenset({"<ppp>"}), "all-ppp": frozenset()}))
    rules = Seen(value, NOW_S)
    recipe, filters = PppAccess(METHOD), at("ip/filter", "all")
    plan = plan_of(recipe.plan(SUSPEND, SERVICE, {**seen_of(sessions=ONLINE, profiles=profiles), filters: rules}))
    assert plan.enforce is not None
    seen = seen_of(SUSPENDED, [("0x99", SESSION)], profiles, lists=("suspended",)) | {filters: rules}
    seen[at("ppp/began", "amina.h")] = Seen({"0x99": str(NOW_S + 30)}, NOW_S + 31)
    seen[at("ppp/flows", "amina.h")] = Seen(rows_value([(FLOW, KNOWN)]), NOW_S)
    assert recipe.judge(plan.enforce, seen, ()).enforced is Enforced.NO


@pytest.mark.parametrize("sessions", [None, ONLINE], ids=["offline", "online"])
def test_a_reason_recorded_alone_waits_for_the_rules(sessions: object) -> None:
    """The row of a suspended subscriber reads as before when somebody disables the rule that keeps it in."""
    recipe = PppAccess(METHOD)
    there = {"secret": SUSPENDED, "sessions": sessions or {}, "lists": ["suspended"] if sessions else []}
    plan = plan_of(planned(**there))
    assert (plan.steps, plan.rests_on) == ((), (at("ppp/secret", "amina.h"),))
    assert plan.enforce is not None
    assert recipe.judge(plan.enforce, seen_of(**there), {}).enforced is not Enforced.NO
    off = [(key, {**rule, "disabled": "true"}) for key, rule in RULES]
    left = recipe.judge(plan.enforce, seen_of(**there, rules=off), {})
    assert (left.enforced, left.how) == (Enforced.NO, "not-in-effect")
