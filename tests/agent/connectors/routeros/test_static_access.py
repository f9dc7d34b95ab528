"""The recipe for fixed addresses: entries and queues, what is refused and why, and what proves that it holds. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from agent.connectors.base import AccessMethod, AccessPlan, CannotEnforce, Enforced, NetworkState
from agent.connectors.routeros.access_methods import access_method_of
from agent.connectors.routeros.addresses import rows_value
from agent.connectors.routeros.schema import StaticMethod
from agent.connectors.routeros.static_access import StaticAccess
from agent.model import ABSENT, Access, Address, Effect, ProofKind, Seen, Service, ServiceState, Step, Value
from tests.agent.connectors.answers import effects_of, plan_of, refused
from tests.agent.connectors.routeros.static_recipe import (
    DROP,
    ENTRY,
    ENTRY6,
    FAST,
    FLOW,
    LISTED,
    NOW_S,
    OURS,
    QUEUE,
    RESTORE,
    SERVICE,
    SLOW,
    SLOWED,
    SUSPEND,
    UPGRADE,
    V4,
    V6,
    World,
    at,
    entry,
    writes,
)


def test_it_is_an_access_recipe() -> None:
    made: AccessMethod = StaticAccess(LISTED)
    assert made.target == "routeros/edge-1"
    assert access_method_of(LISTED).target == "routeros/edge-1"
    assert access_method_of(replace(LISTED, also_on=("routeros/edge-2",))).target == "routeros/edge-1"


# --- by list ---


def test_suspend_enters_every_address_and_cuts_what_is_open() -> None:
    world = World()
    world.rules = [DROP, FAST]
    plan = plan_of(world.plan(SUSPEND))
    assert [(w.address, w.before.value, w.after) for w in writes(plan)] == [
        (ENTRY, ABSENT, entry(V4)),
        (ENTRY6, ABSENT, entry(V6)),
    ]
    assert [(s.n, s.after) for s in plan.steps] == [(1, ()), (2, (1,)), (3, (2,)), (4, (2,))]
    assert [(e.address, e.verb, e.proof) for e in effects_of(plan)] == [
        (at("ip/flows", V4), "cut", ProofKind.GONE),
        (at("ipv6/flows", V6), "cut", ProofKind.GONE),
    ]
    assert len({e.key for e in effects_of(plan)}) == 2
    assert plan.display["now"] == (
        f"{V4} not in list suspended · {V6} not in list suspended · queue home at 5M/20M · on edge-1"
    )
    assert plan.display["after"].startswith("pay page only: IPv4 rule 0 (action=drop src-address-list=suspended)")
    assert "IPv6 rule 0" in plan.display["after"]
    assert "connections from outside are not dropped" in plan.display["after"]
    assert plan.display["proof"].startswith(
        "its addresses in list suspended, its rule above FastTrack, what was fasttracked cut within 20 s · written if"
    )


def test_it_is_said_where_the_other_way_is_dropped_too() -> None:
    world = World()
    world.rules = [DROP, {"chain": "forward", "action": "drop", "dst-address-list": "suspended"}]
    after = plan_of(world.plan(SUSPEND, service=replace(SERVICE, login=V4))).display["after"]
    assert "outside" not in after
    assert "IPv4 only" in after


def test_suspended_and_active_are_opposites() -> None:
    """To the letter, whatever was there: nothing, or an entry that somebody had disabled."""
    for comment in ("", "Av. 12", "Av. 12 isp:other"):
        world = World()
        world.entries = {ENTRY6: entry(V6, comment, disabled="true")}
        before = dict(world.entries)
        world.write(plan_of(world.plan(SUSPEND)))
        assert world.entries[ENTRY6] == entry(V6, f"{comment} isp:enabled isp:suspended".strip())
        assert plan_of(world.plan(SUSPEND)).steps == ()
        world.write(plan_of(world.plan(RESTORE)))
        assert world.entries == before
        assert plan_of(world.plan(RESTORE)).steps == ()


@pytest.mark.parametrize(
    "comment", ["Av. 12 isp:enabled isp:suspended isp:suspended", "isp:suspended Av. 12 isp:enabled"]
)
def test_entry_whose_marks_colleague_doubled_is_disabled_again(comment: str) -> None:
    """Not removed: it was there before us."""
    world = World()
    world.entries = {ENTRY: entry(V4, ""), ENTRY6: entry(V6, comment)}
    world.write(plan_of(world.plan(RESTORE)))
    assert world.entries == {ENTRY6: entry(V6, "Av. 12", disabled="true")}


def test_an_entry_of_somebody_elses_is_lifted_and_said() -> None:
    world = World()
    world.entries = {ENTRY: entry(V4, "by hand"), ENTRY6: entry(V6, "")}
    plan = plan_of(world.plan(RESTORE))
    assert [w.after for w in writes(plan)] == [ABSENT, ABSENT]
    assert f"{V4} in list suspended, NOT made by us: by hand" in plan.display["now"]
    assert f"{V6} in list suspended, NOT made by us ·" in plan.display["now"]
    assert plan.display["after"] == "in no entry of list suspended · queue home at 5M/20M"
    assert plan_of(world.plan(SUSPEND)).steps == ()


def test_a_restore_cuts_redirected_flows_and_does_not_hang() -> None:
    world = World()
    world.entries = dict(OURS)
    plan = plan_of(world.plan(RESTORE))
    assert [e.within_s for e in effects_of(plan)] == [3, 3]
    world.write(plan)
    world.flows = {FLOW: "true"}
    assert world.judged(plan, FLOW)[:2] == (Enforced.YES, "seen")


def test_what_is_at_large_is_cut_though_the_entries_are_there() -> None:
    world = World()
    world.entries = dict(OURS)
    for fast, many in (("false", 0), ("true", 2), ("", 2)):
        world.flows = {FLOW: fast}
        plan = plan_of(world.plan(SUSPEND))
        assert (len(effects_of(plan)), writes(plan)) == (many, [])
        assert plan.enforce is not None, "the rules are looked at again before it is recorded alone"
        assert plan.rests_on, "no write would tell that somebody restored it meanwhile"


def test_no_suspension_without_rules_of_both_families() -> None:
    """E15: each family of a fixed address is judged by its own rules."""
    world = World()
    world.rules6 = []
    refused(world.plan(SUSPEND), "list-without-rule", "IPv6", "no rule")
    assert plan_of(world.plan(SUSPEND, service=replace(SERVICE, login=V4))).steps
    world.entries = dict(OURS)
    assert plan_of(world.plan(RESTORE)).steps


@pytest.mark.parametrize("above", [FAST, {**FAST, "action": "accept"}], ids=["fasttrack", "accept"])
def test_e1_what_carries_on_above_the_drop_is_cut_to_the_last(above: dict[str, str]) -> None:
    """MikroTik's default configuration. DNS, the pay page, and what nobody answered do not count."""
    world = World()
    pay = {"chain": "forward", "action": "accept", "src-address-list": "suspended", "dst-address": "198.51.100.80"}
    world.rules = [above, pay, DROP]
    plan = plan_of(world.plan(SUSPEND))
    assert "open connections are cut: rule 0" in plan.display["after"]
    assert "not checked: connections from outside, opened later" in plan.display["after"]
    assert [e.address for e in effects_of(plan)] == [at("ip/flows", V4), at("ipv6/flows", V6)]
    world.write(plan)
    assert world.judged(plan, FLOW)[:2] == (Enforced.YES, "seen")
    for other in ("tcp 192.0.2.7:50000 198.51.100.80:443", "udp 192.0.2.7:50000 9.9.9.9:53"):
        world.flows = {other: "false"}
        assert world.judged(plan, FLOW)[:2] == (Enforced.YES, "seen")
    for left in (FLOW, "tcp 192.0.2.7:50009 203.0.113.81:443", "tcp 203.0.113.80:443 192.0.2.7:22"):
        world.flows = {left: "false"}
        found = world.judged(plan, FLOW)
        assert found == (Enforced.NO, "still-online", "1 connection carries on as before")
        assert [e.address for e in effects_of(plan_of(world.plan(SUSPEND)))] == [
            at("ip/flows", V4),
            at("ipv6/flows", V6),
        ]
    world.rules = [pay, DROP]
    assert world.judged(plan, FLOW)[:2] == (Enforced.YES, "seen")  # each packet of it meets the drop


def test_entries_that_are_not_to_be_worked_with() -> None:
    """E17: one with a timeout is dynamic; a wider one holds others too."""
    world = World()
    for wanted in (SUSPEND, RESTORE):
        world.entries = {ENTRY: entry(V4, dynamic="true")}
        refused(world.plan(wanted), "dynamic-entry", V4)
        world.entries = {ENTRY: {"copies": "2"}}
        refused(world.plan(wanted), "ambiguous-entry", "2")
    world.entries = dict(OURS)
    for family, text in (("ip", "192.0.2.0/24"), ("ip", "192.0.2.0-192.0.2.9"), ("ipv6", "2001:db8:7:1::/64")):
        world.other = {f"{family} suspended": {text: "static"}}
        refused(world.plan(RESTORE), "wider-entry", text)
        assert plan_of(world.plan(SUSPEND)).steps == ()
        world.entries = {}
        assert len(writes(plan_of(world.plan(SUSPEND)))) == 2  # an entry of its own stays when that one goes
        refused(world.plan(RESTORE), "wider-entry")
        world.entries = dict(OURS)


def test_logins_that_are_no_fixed_addresses() -> None:
    world = World()
    recipe = StaticAccess(LISTED)
    nobody = replace(SERVICE, login="amina.h")
    assert recipe.reads(nobody, {}) == []
    refused(recipe.plan(SUSPEND, nobody, {}), "not-an-address", "amina.h")
    refused(recipe.disconnect(nobody, {}), "not-an-address")
    world.more = {at("ip/pools", "all"): {"cgnat": "192.0.2.2-192.0.2.250"}}
    refused(world.plan(SUSPEND), "pool-address", "cgnat")
    refused(world.plan(UPGRADE), "pool-address")
    refused(recipe.disconnect(SERVICE, world.seen(recipe, SERVICE)), "pool-address")


def test_what_became_a_pools_since_is_given_back() -> None:
    """Our entry holds back whoever has the address now: to refuse the restore would leave two households cut off."""
    world = World()
    world.entries = dict(OURS)
    world.more = {at("ip/pools", "all"): {"cgnat": "192.0.2.2-192.0.2.250"}}
    plan = plan_of(world.plan(RESTORE))
    assert [change.after for change in writes(plan)] == [ABSENT, ABSENT]
    world.queues, world.entries = [SLOW], {}
    assert writes(plan_of(world.plan(RESTORE, SLOWED)))[0].address == at("queue/simple", "home")


def test_a_suspension_by_list_hangs_on_no_queue() -> None:
    """Nor does a restore: what is odd is said."""
    for queues in ([], [{**QUEUE, "max-limit": "1000/1000"}], [QUEUE, {**QUEUE, "name": "again"}]):
        world = World()
        world.queues = list(queues)
        assert len(writes(plan_of(world.plan(SUSPEND)))) == 2
        world.entries = dict(OURS)
        plan = plan_of(world.plan(RESTORE))
        assert len(writes(plan)) == 2
        assert "LOOK" in plan.display["after"]
    unmapped = replace(SERVICE, tariff="Gold")
    assert plan_of(World().plan(replace(SUSPEND, tariff="Gold"), service=unmapped)).steps


# --- judging by list ---


def suspended_world() -> tuple[World, AccessPlan]:
    world = World()
    plan = plan_of(world.plan(SUSPEND))
    world.write(plan)
    return world, plan


def test_judged_in_the_list() -> None:
    world, plan = suspended_world()
    assert world.judged(plan, FLOW)[:2] == (Enforced.YES, "seen")
    assert world.judged(plan)[:2] == (Enforced.PENDING, "offline")
    world.flows = {FLOW: "false"}
    assert world.judged(plan, FLOW)[:2] == (Enforced.YES, "seen")  # the rule drops each of its packets
    for fast in ("true", ""):
        world.flows = {FLOW: fast}
        assert world.judged(plan, FLOW)[:2] == (Enforced.NO, "still-online")
    world.flows = {"udp 192.0.2.7:1 192.0.2.53:53": "true"}  # opened since: by the rule's leave
    assert world.judged(plan, FLOW)[:2] == (Enforced.YES, "seen")


def test_what_could_not_be_bound_is_not_taken_for_gone() -> None:
    """A thousand connections cannot be told apart from none by what was set out to be cut."""
    world, plan = suspended_world()
    others = ("tcp 203.0.113.9:1 198.51.100.1:443", "tcp 192.0.2.70:1 203.0.113.80:443", "icmp odd")
    for ended in ((), others):
        world.flows = {FLOW: "true"}
        assert world.judged(plan, *ended)[:2] == (Enforced.NO, "still-online")
        world.flows = {FLOW: "false"}
        assert world.judged(plan, *ended)[:2] == (Enforced.YES, "seen")


@pytest.mark.parametrize("where", [ENTRY, ENTRY6])
def test_judged_not_in_the_list(where: Address) -> None:
    world, plan = suspended_world()
    there = world.entries.pop(where)
    assert world.judged(plan, FLOW)[:2] == (Enforced.NO, "not-in-effect")
    assert isinstance(there, Mapping)
    world.entries[where] = {**there, "disabled": "true"}
    assert world.judged(plan, FLOW)[:2] == (Enforced.NO, "not-in-effect")


def test_judged_by_rules_of_now() -> None:
    world, plan = suspended_world()
    world.rules6 = [{**FAST, "connection-state": "new"}, DROP]
    assert world.judged(plan, FLOW)[:2] == (Enforced.NO, "not-in-effect")
    world.rules6 = [FAST, DROP]
    assert world.judged(plan, FLOW)[:2] == (Enforced.YES, "seen")
    key = "tcp [2001:db8:7::9]:50000 [2001:db8:ffff::80]:443"
    world.more[at("ipv6/flows", V6)] = rows_value([(key, {"fasttrack": "false"})])
    assert world.judged(plan, FLOW)[:2] == (Enforced.NO, "still-online")


def test_judged_out_of_the_list() -> None:
    world = World()
    world.entries = dict(OURS)
    plan = plan_of(world.plan(RESTORE))
    assert world.judged(plan)[:2] == (Enforced.NO, "garden")
    world.write(plan)
    assert world.judged(plan)[:2] == (Enforced.YES, "seen")
    world.other = {"ipv6 suspended": {"2001:db8:7:1::/64": "static"}}
    assert world.judged(plan)[:2] == (Enforced.NO, "garden")


def test_judged_by_the_list_of_the_plan_and_by_nothing_else() -> None:
    world, plan = suspended_world()
    renamed = replace(LISTED, suspended_list="others")
    assert world.judged(plan, FLOW, method=renamed)[:2] == (Enforced.YES, "seen")
    assert plan.enforce is not None
    nothing = replace(plan.enforce, expect={**plan.enforce.expect, "list": ""})
    assert world.judged(replace(plan, enforce=nothing))[:2] == (Enforced.NO, "not-in-effect")
    nobody = replace(plan.enforce, expect={**plan.enforce.expect, "addresses": ""})
    assert world.judged(replace(plan, enforce=nobody))[:2] == (Enforced.NO, "not-in-effect")


# --- by queue ---


def test_suspend_is_a_limit_and_the_subscriber_stays_online() -> None:
    world = World()
    before = list(world.queues)
    plan = plan_of(world.plan(SUSPEND, SLOWED))
    assert [w.after for w in writes(plan)] == [SLOW]
    assert effects_of(plan) == []
    assert plan.display["after"] == "stays ONLINE at 64k/64k (queue home)"
    assert plan.display["now"] == "queue home at 5M/20M · on edge-1"
    assert world.judged(plan, method=SLOWED)[:2] == (Enforced.NO, "not-in-effect")
    world.write(plan)
    assert world.judged(plan, method=SLOWED)[:2] == (Enforced.YES, "seen")
    assert plan_of(world.plan(SUSPEND, SLOWED)).steps == ()
    back = plan_of(world.plan(RESTORE, SLOWED))
    world.write(back)
    assert world.queues == before
    assert world.judged(back, method=SLOWED)[:2] == (Enforced.YES, "seen")
    assert plan_of(world.plan(RESTORE, SLOWED)).steps == ()


def test_a_change_of_tariff_is_the_queues_limit() -> None:
    world = World()
    plan = plan_of(world.plan(UPGRADE))
    assert [w.after for w in writes(plan)] == [{**QUEUE, "max-limit": "10000000/50000000"}]
    assert plan.display["after"] == "in no entry of list suspended · queue home at 10M/50M"
    assert plan.display["proof"].startswith("the queue at its limit, and no other queue or FastTrack takes the traffic")
    assert "list suspended" not in plan.display["proof"]
    assert effects_of(plan) == []
    world.write(plan)
    assert world.judged(plan)[:2] == (Enforced.YES, "seen")
    assert plan_of(world.plan(UPGRADE)).steps == ()
    slowed = World()
    slowed.queues = [SLOW]
    assert plan_of(slowed.plan(ServiceState(Access.SUSPENDED, "Home 50M"), SLOWED)).steps == ()


def test_change_of_tariff_of_somebody_suspended_stays_suspended() -> None:
    world = World()
    world.entries = dict(OURS)
    plan = plan_of(world.plan(ServiceState(Access.SUSPENDED, "Home 50M")))
    assert [w.address for w in writes(plan)] == [at("queue/simple", "home")]
    lifted = plan_of(world.plan(UPGRADE))
    assert [w.address for w in writes(lifted)] == [at("queue/simple", "home"), ENTRY, ENTRY6]
    world.write(lifted)
    assert world.judged(lifted)[:2] == (Enforced.YES, "seen")
    world.entries = dict(OURS)
    assert world.judged(lifted)[:2] == (Enforced.NO, "garden")


@pytest.mark.parametrize(
    ("queues", "reason"),
    [
        ([], "no-queue"),
        ([QUEUE, {**QUEUE, "name": "again"}], "several-queues"),
        ([{**QUEUE, "disabled": "true"}], "disabled-queue"),
        ([{**QUEUE, "dynamic": "true"}], "dynamic-queue"),
        ([{"name": "all", "target": "0.0.0.0/0"}, QUEUE], "queue-behind"),
        ([{**QUEUE, "max-limit": "1000000/1000000"}], "other-limit"),
        ([{**QUEUE, "max-limit": "0/0"}], "other-limit"),
        ([{**QUEUE, "burst-limit": "40M/40M"}], "queue-burst"),
        ([{**QUEUE, "limit-at": "11M/11M"}], "queue-guaranteed"),
        ([{**QUEUE, "limit-at": "odd"}], "queue-guaranteed"),
    ],
)
def test_queues_that_would_not_hold_it(queues: list[dict[str, str]], reason: str) -> None:
    """E20: burst and guaranteed rates too."""
    world = World()
    world.queues = queues
    refused(world.plan(UPGRADE), reason)
    refused(world.plan(SUSPEND, SLOWED), reason)


def test_a_limit_that_another_tariff_has_is_not_overwritten() -> None:
    world = World()
    world.queues = [{**QUEUE, "max-limit": "10000000/50000000"}]
    refused(world.plan(SUSPEND, SLOWED), "other-limit", "10M/50M", "Home 20M is 5M/20M")


def test_tariffs_that_are_not_shaped_or_not_mapped() -> None:
    world = World()
    refused(world.plan(ServiceState(Access.ACTIVE, "Radio")), "not-shaped", "Radio")
    refused(world.plan(ServiceState(Access.ACTIVE, "Gold")), "unmapped-tariff", "Gold")
    radio = replace(SERVICE, tariff="Radio")
    suspend = ServiceState(Access.SUSPENDED, "Radio")
    refused(world.plan(suspend, SLOWED, radio), "not-shaped")
    assert plan_of(world.plan(suspend, service=radio)).steps
    refused(world.plan(UPGRADE, service=radio), "other-limit", "not shaped")
    none = replace(LISTED, tariffs={"Radio": ""})
    assert not [a for a in StaticAccess(none).reads(radio, {}) if "queue" in a]
    world.entries = dict(OURS)
    assert plan_of(world.plan(ServiceState(Access.ACTIVE, "Radio"), none, radio)).display["after"] == (
        "in no entry of list suspended"
    )


def test_fasttrack_passes_queues_by() -> None:
    """E15 and E20: of either family."""
    world = World()
    for rules, rules6 in (([FAST], []), ([], [FAST])):
        world.rules, world.rules6 = rules, rules6
        refused(world.plan(UPGRADE), "fasttrack-bypasses-queues", "rule 0")
        refused(world.plan(SUSPEND, SLOWED), "fasttrack-bypasses-queues")
    both = {"src-address-list": "!shaped", "dst-address-list": "!shaped"}
    world.rules, world.rules6 = [FAST | both], [FAST | both]
    refused(world.plan(UPGRADE), "fasttrack-bypasses-queues")
    world.other = {"ip shaped": {"192.0.2.0/24": "static"}, "ipv6 shaped": {V6: "static"}}
    plan = plan_of(world.plan(UPGRADE))
    world.write(plan)
    assert world.judged(plan)[:2] == (Enforced.YES, "seen")
    world.other = {"ip shaped": {"192.0.2.0/24": "static"}}
    assert world.judged(plan)[:2] == (Enforced.NO, "not-in-effect")


def test_what_fasttrack_took_before_it_spared_address_is_cut() -> None:
    both = {"src-address-list": "!shaped", "dst-address-list": "!shaped"}
    world = World()
    world.rules = [FAST | both]
    world.other = {"ip shaped": {V4: "static"}}
    for wanted, method in ((UPGRADE, LISTED), (SUSPEND, SLOWED)):
        world.flows = {}
        assert effects_of(plan_of(world.plan(wanted, method))) == []
        world.flows = {FLOW: "true"}
        plan = plan_of(world.plan(wanted, method))
        assert [e.address for e in effects_of(plan)] == [at("ip/flows", V4), at("ipv6/flows", V6)]
        assert plan.steps[1].after == (1,)
        assert plan.enforce is not None
        assert plan.enforce.expect["list"] == ""
        queues, world.queues = world.queues, [{**QUEUE, "max-limit": plan.enforce.expect["limit"]}]
        assert world.judged(plan, FLOW, method=method)[:2] == (Enforced.NO, "still-online")
        world.flows = {FLOW: "false"}
        assert world.judged(plan, FLOW, method=method)[:2] == (Enforced.YES, "seen")
        world.queues = queues
    world.queues, world.flows = [SLOW], {FLOW: "true"}
    assert effects_of(plan_of(world.plan(RESTORE, SLOWED))) == []


def test_a_restore_of_a_limit_is_refused_for_less() -> None:
    """It gives back what was there; but where another queue takes the traffic it would not be felt."""
    world = World()
    world.rules = [FAST]
    world.queues = [{**SLOW, "burst-limit": "1M/1M"}]
    plan = plan_of(world.plan(RESTORE, SLOWED))
    world.write(plan)
    assert world.judged(plan, method=SLOWED)[:2] == (Enforced.YES, "seen")
    world.queues.insert(0, {"name": "all", "target": "0.0.0.0/0"})
    assert world.judged(plan, method=SLOWED)[:2] == (Enforced.NO, "not-in-effect")
    world.queues[1] = SLOW
    refused(world.plan(RESTORE, SLOWED), "queue-behind")


@pytest.mark.parametrize(
    "queues",
    [
        [],
        [{"name": "all", "target": "192.0.2.0/24"}, SLOW],
        [QUEUE],
        [{**SLOW, "burst-limit": "20M/20M"}],
        [{**SLOW, "disabled": "true"}],
    ],
)
def test_judged_by_the_queue_of_now(queues: list[dict[str, str]]) -> None:
    world = World()
    plan = plan_of(world.plan(SUSPEND, SLOWED))
    world.queues = queues
    assert world.judged(plan, method=SLOWED)[:2] == (Enforced.NO, "not-in-effect")


def test_a_row_that_went_between_two_reads() -> None:
    world = World()
    gone: dict[str, Value] = {"no-queue": ABSENT, "several-queues": {"copies": "2"}}
    for reason, value in gone.items():
        world.more = {at("queue/simple", "home"): value}
        refused(world.plan(UPGRADE), reason)


def test_two_routers_hold_or_it_does_not() -> None:
    """Both have all of the subscriber's entries; one that does not suspends nobody."""
    world, recipe = World(), access_method_of(replace(LISTED, also_on=("routeros/edge-2",)))
    plan = plan_of(recipe.plan(SUSPEND, SERVICE, seen_all(world, recipe)))
    assert [s.target for s in plan.steps] == ["routeros/edge-1"] * 4 + ["routeros/edge-2"] * 4
    assert [s.after for s in plan.steps] == [(), (1,), (2,), (2,), (), (5,), (6,), (6,)]
    enforce = plan.enforce
    assert enforce is not None
    world.entries = dict(OURS)
    world.entries |= {Address(where.replace("edge-1", "edge-2")): row for where, row in OURS.items()}
    seen = {enforce.address: Seen(world.value(enforce.address), NOW_S)}
    while missing := recipe.enforcement_reads(enforce, seen):
        seen |= {where: Seen(world.value(where), NOW_S) for where in missing}
    assert recipe.judge(enforce, seen, [at("ip/flow", FLOW)]).enforced is Enforced.YES
    nobody = {where: Seen(ABSENT, NOW_S) if "edge-2/ip/members" in where else one for where, one in seen.items()}
    assert recipe.judge(enforce, nobody, [at("ip/flow", FLOW)]).enforced is Enforced.NO
    without = {where: Seen(ABSENT, NOW_S) if "edge-2/ipv6/filter" in where else one for where, one in seen.items()}
    refused(recipe.plan(SUSPEND, SERVICE, {**seen_all(world, recipe), **without}), "list-without-rule")


def seen_all(world: World, recipe: AccessMethod) -> dict[Address, Seen]:
    seen: dict[Address, Seen] = {}
    while missing := recipe.reads(SERVICE, seen):
        seen |= {where: Seen(world.value(where), NOW_S) for where in missing}
    return seen


# --- kick ---


def test_a_kick_cuts_what_is_open_and_changes_nothing() -> None:
    world, recipe = World(), StaticAccess(LISTED)
    plan = plan_of(recipe.disconnect(SERVICE, world.seen(recipe, SERVICE)))
    assert [(s.n, s.after) for s in plan.steps] == [(1, ()), (2, ())]
    assert all(isinstance(s, Step) and isinstance(s.do, Effect) and s.do.proof is None for s in plan.steps)
    assert plan.enforce is None


# --- a list of before ---


def test_who_is_held_by_another_list_too_is_not_restored() -> None:
    """The list was renamed since: what is lifted now would let nobody out, and the old entry would stay for ever."""
    world = World()
    world.entries = {at("ip/list", f"{V4} unpaid"): {**entry(V4), "list": "unpaid"}}
    world.rules = [DROP, {**DROP, "src-address-list": "unpaid"}]
    found = world.plan(RESTORE)
    assert isinstance(found, CannotEnforce)
    assert (found.reason, "unpaid" in found.detail) == ("other-list", True)
    slowed = world.plan(RESTORE, SLOWED)  # suspended by a limit since
    assert isinstance(slowed, CannotEnforce)
    world.rules = [DROP]  # a list that no rule drops holds nobody
    assert isinstance(world.plan(RESTORE), AccessPlan)


def test_our_entry_is_taken_back_beside_another_lists() -> None:
    world = World()
    world.rules = [DROP, {**DROP, "src-address-list": "blocked"}]
    world.entries = {**OURS, at("ip/list", f"{V4} blocked"): {**entry(V4, comment="staff"), "list": "blocked"}}
    plan = plan_of(world.plan(RESTORE))
    assert plan.display["after"].startswith(f"the login stays rejected: {V4} is also in list blocked")
    world.write(plan)
    assert ENTRY not in world.entries
    assert world.judged(plan) == (Enforced.YES, "stays-rejected", world.judged(plan)[2])
    assert f"{V4} is also in list blocked" in world.judged(plan)[2]
    del world.entries[at("ip/list", f"{V4} blocked")]
    assert world.judged(plan)[:2] == (Enforced.YES, "seen")


# --- what the router reads now ---


def state_of(world: World, method: StaticMethod = LISTED, service: Service = SERVICE) -> NetworkState:
    made = StaticAccess(method)
    return made.network_state(service, world.seen(made, service))


def test_addresses_in_no_list_are_active_at_their_queues_limit() -> None:
    state = state_of(World())
    assert (state.access, state.refused, state.unknown, state.tariff) == (Access.ACTIVE, "", "", "Home 20M")
    assert (state.reply, state.groups, state.sessions) == ({"queue": "queue home at 5M/20M"}, (), ())
    assert state.not_checked == ("connections that are open were not looked at",)


def test_addresses_in_list_are_suspended_whoever_put_them_there() -> None:
    world = World()
    world.entries = dict(OURS)
    assert (state_of(world).access, state_of(world).groups) == (Access.SUSPENDED, ("suspended",))
    world.entries = {ENTRY: entry(V4, comment="by hand"), ENTRY6: entry(V6, comment="")}
    assert state_of(world).access is Access.SUSPENDED


def test_fixed_address_has_no_session_and_is_not_called_offline() -> None:
    world = World()
    world.entries = dict(OURS)
    told = state_of(world).sessionless
    assert told.startswith(f"fixed address, no session to see: {V4} in list suspended")
    assert "queue home at 5M/20M" in told


def test_one_of_two_addresses_in_the_list_is_neither() -> None:
    world = World()
    world.entries = {ENTRY: entry(V4)}
    assert state_of(world).access is None
    assert state_of(world).unknown == f"{V4} is in list suspended, and {V6} is not"
    world.entries = {ENTRY: entry(V4, disabled="true")}
    assert state_of(world).access is Access.ACTIVE


def test_another_list_that_keeps_an_address_in_is_not_ours() -> None:
    world = World()
    world.rules = [DROP, {**DROP, "src-address-list": "blocked"}]
    world.entries = {at("ip/list", f"{V4} blocked"): {**entry(V4), "list": "blocked"}}
    state = state_of(world)
    assert state.access is None
    assert f"{V4} is also in list blocked" in state.refused


def test_queues_limit_is_suspension_where_method_says_so() -> None:
    world = World()
    assert state_of(world, SLOWED).access is Access.ACTIVE
    world.queues = [SLOW]
    assert (state_of(world, SLOWED).access, state_of(world, SLOWED).tariff) == (Access.SUSPENDED, "")
    world.queues = [{**QUEUE, "max-limit": "1/1"}]
    assert "which no tariff is mapped to" in state_of(world, SLOWED).unknown
    world.queues = []
    assert (state_of(world, SLOWED).access, state_of(world).access) == (None, Access.ACTIVE)


def test_addresses_that_are_not_theirs_for_good_cannot_be_told() -> None:
    world = World()
    world.more = {at("ip/pools", "all"): {"dhcp": "192.0.2.1-192.0.2.9"}}
    assert "is in pool dhcp" in state_of(world).unknown
    other = replace(SERVICE, login="nonsense")
    assert "expected addresses" in state_of(world, service=other).unknown


def test_a_method_that_shapes_nobody_is_active_without_a_tariff() -> None:
    state = state_of(World(), replace(LISTED, tariffs={"Home 20M": "", "Radio": ""}))
    assert (state.access, state.tariff, state.reply) == (Access.ACTIVE, "", {})
