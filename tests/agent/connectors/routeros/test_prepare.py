"""Preparing a router: on exports of routers, a suspension is kept afterwards, and nothing else changed.

Over the lab's router, loaded from an export, through the connector's own session; its packet view judges who gets out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

import pytest

from agent.connectors.base import (
    AccessPlan,
    CannotEnforce,
    DriftedError,
    NotSentError,
    OnDevices,
    Preparation,
    PrepareTerms,
    Session,
    UnreadableError,
)
from agent.connectors.routeros import prepare
from agent.connectors.routeros.access_methods import access_method_of
from agent.connectors.routeros.addresses import RouterResource, address
from agent.connectors.routeros.placed_rules import OURS
from agent.connectors.routeros.reasons import RouterReason
from agent.connectors.routeros.schema import HotspotMethod
from agent.model import ABSENT, Access, Effect, Seen, ServiceState, Step, Transition
from agent.reasons import MethodReason
from lab.router.device import Router
from lab.router.export import load_export
from tests.agent.connectors.routeros import recorded
from tests.agent.connectors.routeros.preparing import (
    BOTH,
    ELSEWHERE,
    HOST,
    METHODS,
    NEIGHBOR,
    PAY_PAGE,
    PPP,
    RESOLVER,
    SIX,
    STATIC,
    TARGET,
    apply,
    prepared,
    send,
)
from tests.agent.connectors.routeros.readying import exported, readiness
from tests.agent.connectors.routeros.static_site import site

BOTH4 = replace(BOTH, login=HOST)
FILTER = "/ip/firewall/filter"
DEFAULT = (
    {"chain": "input", "action": "accept", "connection_state": "established,related,untracked"},
    {"chain": "input", "action": "drop", "in_interface_list": "!LAN"},
    {"chain": "forward", "action": "accept", "ipsec_policy": "in,ipsec"},
    {"chain": "forward", "action": "fasttrack-connection", "connection_state": "established,related"},
    {"chain": "forward", "action": "accept", "connection_state": "established,related,untracked"},
    {"chain": "forward", "action": "drop", "connection_state": "invalid"},
)
"""MikroTik's default configuration, but for its rules on WAN."""


def at_home(router: Router) -> Router:
    """Give a router the agent's user, tariffs, and a subscriber with a neighbor, of both families."""
    router.add("/user", name="ispagents", password="api-password", group="full")
    router.add("/ip/pool", name="homes", ranges="198.18.8.2-198.18.8.250")
    router.add("/ppp/profile", name="home20", rate_limit="20M/20M", local_address="198.18.8.1", remote_address="homes")
    router.add("/interface/bridge", name="homes")
    router.add("/ip/address", address="198.18.7.1/24", interface="homes")
    router.add("/ipv6/address", address="2001:db8:77::1/64", interface="homes")
    for addresses, name in (([HOST, SIX], "home"), ([NEIGHBOR], "neighbor")):
        router.plug_in_host(addresses, name=name)
    return router


def by_default(version: str = "7.20.8") -> Router:
    router = Router(version)
    router.add("/interface/list", name="LAN")
    for rule in DEFAULT:
        router.add(FILTER, **rule)
    return at_home(router)


async def assert_ready(session: Session) -> None:
    """Check that a suspension by each method would be kept, as readiness and previews have it."""
    for method in METHODS:
        access = access_method_of(method)
        assert isinstance(access, OnDevices)
        part = access.on_devices()[TARGET]
        example = part.example()
        assert example is not None
        service = replace(BOTH, login=HOST) if method is STATIC else example.service
        seen = {where: Seen(value, 0) for where, value in example.assumed.items()}
        while missing := part.reads(service, seen):
            seen |= await session.read(missing)
        plan = part.plan(ServiceState(Access.SUSPENDED, "Home 20M"), service, seen)
        assert isinstance(plan, AccessPlan), plan


def inverse(steps: tuple[Step, ...]) -> tuple[Step, ...]:
    writes = [w for step in reversed(steps) if not isinstance(step.do, Effect) for w in step.do]
    back = [Transition(w.address, Seen(w.after, 0), w.before.value) for w in writes]
    return tuple(Step(n, TARGET, (write,)) for n, write in enumerate(back, start=1))


def ways(router: Router) -> dict[tuple[str, str, str, int], bool]:
    """Return which packets of the neighbor get out."""
    ports = (("tcp", 443), ("udp", 443), ("tcp", 25), ("udp", 53), ("icmp", 0))
    found = {}
    for which in (NEIGHBOR,):
        for to in (ELSEWHERE, PAY_PAGE, RESOLVER):
            for protocol, port in ports:
                verdict = router.gets_out(which, destination=to, protocol=protocol, port=port)
                found[which, to, protocol, port] = verdict.out
    return found


EXPORTS: Mapping[str, str] = {
    "rsc/routeros-diff-verbose_export-6.48.1.rsc": "6.49.18",
    "oxidized/routeros__CHR_7.10.1__output.txt": "7.15.3",
    "oxidized/routeros__L009UiGS_7.15.2__output.txt": "7.15.3",
    "rsc-parse/amm0__topic-163038-router-dies-after-10-exact-minutes__post-0011-snippet-01.rsc": "6.49.18",
    "rsc-parse/rextended__topic-148996-post-0004-snippet-03.rsc": "7.20.8",
    "rsc-parse/rextended__topic-148996-post-0004-snippet-04.rsc": "7.20.8",
    "rsc/synthetic-wisp-v6.rsc": "",
    "rsc/synthetic-wisp-v7.rsc": "",
}
"""All exports with filter rules that were recorded, and a CHR's: the first six are of real routers, the last two were
made up. Each with the release that it is loaded as: its own (""), or a table's where nothing is placed on that.
"""


def from_export(name: str) -> Router:
    recorded.needed()
    text = (recorded.DATA / name).read_text("utf-8", "surrogateescape")
    text = re.sub(r"(?m)^\[erased .*\]$", "", text)  # by who published it
    return at_home(load_export(text, EXPORTS[name]).router)


@pytest.mark.parametrize("name", ["default", *EXPORTS])
async def test_afterwards_suspension_is_kept_and_nothing_else_changed(name: str) -> None:
    router = by_default() if name == "default" else from_export(name)
    before, out_before = exported(router), ways(router)
    async with site(router) as there:
        found = await prepared(there.session)
        assert isinstance(found, Preparation), found
        assert found.steps
        await apply(there.session, found.steps)
        after = exported(router)
        ours = [line for line in after if OURS in line]
        assert len(ours) == len(found.steps)
        assert [line for line in after if line not in ours] == before
        assert not any("chain=input" in line or "chain=output" in line for line in ours)
        assert ways(router) == out_before
        again = await prepared(there.session)
        assert isinstance(again, Preparation)
        assert again.steps == ()
        await assert_ready(there.session)

        # Of release 6 the lab has no /ipv6/pool, which a subscriber with IPv6 is looked up in
        six = not router.version.startswith("6.")
        service = BOTH if six else replace(BOTH, login=HOST)
        plan = await there.plan(Access.SUSPENDED, STATIC, service)
        assert isinstance(plan, AccessPlan), plan
        for step in plan.steps:
            await send(there.session, step.do)
        for which, elsewhere in ((HOST, ""), (SIX, "2001:db8:ffff::1"))[: 1 + six]:
            verdict = router.gets_out(which, destination=elsewhere)
            assert (verdict.out, verdict.lingers) == (False, False), (which, verdict)
        assert ways(router) == out_before
        back = await there.plan(Access.ACTIVE, STATIC, replace(service, reasons=frozenset({"debt"})))
        assert isinstance(back, AccessPlan)
        for step in back.steps:
            await send(there.session, step.do)

        await apply(there.session, inverse(found.steps))
        assert exported(router) == before


async def test_prepared_router_is_ready_and_unprepared_one_is_not() -> None:
    router = by_default()
    before = await readiness({"edge-1": router}, METHODS, (BOTH,))
    assert {one.state.value for one in before.values()} == {"refused"}
    async with site(router) as there:
        found = await prepared(there.session)
        assert isinstance(found, Preparation)
        await apply(there.session, found.steps)
        await assert_ready(there.session)


async def test_pay_page_and_resolver_stay_open_and_nothing_else() -> None:
    router = by_default()
    async with site(router) as there:
        found = await prepared(there.session)
        assert isinstance(found, Preparation)
        await apply(there.session, found.steps)
        router.add("/ip/firewall/address-list", list="suspended", address=HOST)
    open_to = {
        (to, protocol, port)
        for to in (PAY_PAGE, RESOLVER, ELSEWHERE)
        for protocol, port in (("tcp", 443), ("udp", 53), ("tcp", 53), ("udp", 443))
        if router.gets_out(HOST, destination=to, protocol=protocol, port=port).out
    }
    assert open_to == {
        (RESOLVER, "udp", 53),
        (RESOLVER, "tcp", 53),
        *((PAY_PAGE, protocol, port) for protocol, port in (("tcp", 443), ("udp", 53), ("tcp", 53), ("udp", 443))),
    }


async def test_rules_stand_below_what_operator_accepts_for_list() -> None:
    router = by_default()
    router.add("/ip/firewall/address-list", list="office", address="203.0.113.99")
    first = router.rows(FILTER)[2][".id"]
    rule = {"chain": "forward", "action": "accept", "src_address_list": "suspended", "dst_address_list": "office"}
    router.add(FILTER, place_before=first, **rule)
    async with site(router) as there:
        found = await prepared(there.session)
        assert isinstance(found, Preparation)
        await apply(there.session, found.steps)
    router.add("/ip/firewall/address-list", list="suspended", address=HOST)
    assert router.gets_out(HOST, destination=ELSEWHERE).out
    assert not router.gets_out(HOST).out


@pytest.mark.parametrize("at", range(8))
async def test_no_half_done_state_cuts_off_or_lets_out_anybody_more(at: int) -> None:
    router = by_default()
    out_before = ways(router)
    async with site(router) as there:
        found = await prepared(there.session)
        assert isinstance(found, Preparation)
        await apply(there.session, found.steps[:at])
        assert ways(router) == out_before
        assert router.gets_out(HOST).out


async def test_P18_an_inserted_rule_is_drift_a_moved_one_is_changed() -> None:
    router = by_default()
    async with site(router) as there:
        found = await prepared(there.session)
        assert isinstance(found, Preparation)
        for row in router.rows(FILTER):
            if row["action"] == "fasttrack-connection":
                router.remove(FILTER, row[".id"])
        rules = [step for step in found.steps if "/ip/rule/" in step.do[0].address]  # type: ignore[index]  # writes
        with pytest.raises(NotSentError, match="expected one rule"):
            await send(there.session, rules[0].do)
    router = by_default()
    async with site(router) as there:
        found = await prepared(there.session)
        assert isinstance(found, Preparation)
        await apply(there.session, found.steps)
        (drop,) = [r for r in router.rows(FILTER) if r.get("comment") == f"{OURS}drop suspended"]
        router.set(FILTER, drop[".id"], disabled="yes")
        (back,) = [
            step
            for step in inverse(found.steps)
            if step.do[0].address.endswith("ip/rule/ispagents: drop suspended") and "ipv6" not in step.do[0].address
        ]  # type: ignore[index]  # writes
        with pytest.raises(DriftedError):
            await send(there.session, back.do)
        assert any(r.get("comment") == f"{OURS}drop suspended" for r in router.rows(FILTER))


async def test_e4_members_of_today_are_named_and_wide_list_is_refused() -> None:
    router = by_default()
    router.add("/ip/firewall/address-list", list="suspended", address="198.18.7.9")
    async with site(router) as there:
        found = await prepared(there.session)
        assert isinstance(found, Preparation)
        assert found.look == "list suspended (IPv4) has 1 member now: they are cut off at once"
        router.add("/ip/firewall/address-list", list="suspended", address="0.0.0.0/0")
        refused = await prepared(there.session)
    assert isinstance(refused, CannotEnforce)
    assert refused.reason == RouterReason.WIDER_ENTRY


async def test_what_the_operator_leaves_open_below_is_named() -> None:
    router = by_default()
    open_below = {"chain": "forward", "action": "accept", "src_address_list": "suspended", "dst_address": PAY_PAGE}
    router.add(FILTER, **open_below)
    router.add(FILTER, chain="forward", action="drop", src_address_list="suspended", dst_address="!198.51.100.81")
    async with site(router) as there:
        found = await prepared(there.session)
    assert isinstance(found, Preparation)
    assert "no longer reached: rule 6 (action=accept" in found.look
    assert "rule 7 (action=drop" in found.look
    assert "--garden" in found.look


@pytest.mark.parametrize(
    ("which", "edit", "says"),
    [
        ("drop suspended", {"disabled": "yes"}, "disabled is true, expected it not to be set"),
        ("drop suspended", {"src_address_list": "other"}, "src-address-list is other, expected suspended"),
        ("drop suspended", {"protocol": "tcp"}, "protocol is tcp, expected it not to be set"),
        ("drop suspended", None, "is missing"),
        ("no FastTrack to suspended", {"comment": "joe was here"}, ""),
    ],
)
async def test_a_changed_rule_of_ours_is_named_with_the_property(
    which: str, edit: dict[str, str] | None, says: str
) -> None:
    """`device prepare` once said that the rule is there, and `device ready` to prepare."""
    router = by_default()
    async with site(router) as there:
        found = await prepared(there.session, (STATIC,))
        assert isinstance(found, Preparation)
        await apply(there.session, found.steps)
        (rule,) = [r for r in router.rows(FILTER) if r.get("comment") == f"{OURS}{which}"]
        if edit is None:
            router.remove(FILTER, rule[".id"])
        else:
            router.set(FILTER, rule[".id"], **edit)
        again = await prepared(there.session, (STATIC,))
    if not says:  # the list is kept in still
        assert isinstance(again, Preparation)
        assert again.steps == ()
        return
    assert isinstance(again, CannotEnforce), again
    assert again.reason == RouterReason.OTHER_RULE
    assert again.detail == (
        f"somebody changed the agent's rules of list suspended (IPv4): '{OURS}{which}': {says}. By hand: put that "
        "right on the router, or remove these rules there and ask for the preparation again"
    )


async def test_our_rules_below_what_lets_out_are_named_as_they_are() -> None:
    router = by_default()
    async with site(router) as there:
        found = await prepared(there.session, (STATIC,))
        assert isinstance(found, Preparation)
        await apply(there.session, found.steps)
        first = router.rows(FILTER)[2][".id"]
        router.add(FILTER, place_before=first, chain="forward", action="accept", src_port="1-9000")
        again = await prepared(there.session, (STATIC,))
        assert isinstance(again, CannotEnforce), again
        router.add(FILTER, place_before=router.rows(FILTER)[2][".id"], chain="forward", action="accept")
        again = await prepared(there.session, (STATIC,))
    assert isinstance(again, CannotEnforce), again
    assert "are as it made them, and do not keep it in: rule 2 (action=accept) may let it out" in again.detail
    assert "By hand: " in again.detail


@pytest.mark.parametrize("held", ["127.0.0.1", "127.0.0.0/8", "127.0.0.1-127.0.0.9"])
async def test_a_list_that_holds_the_agents_own_address_is_refused(held: str) -> None:
    router = by_default()
    async with site(router) as there:
        ready = await prepared(there.session, (STATIC,))
        assert isinstance(ready, Preparation)
        assert "no confirmed commit" in ready.display["guard"]
        where = address(TARGET, RouterResource.CLIENTS, "suspended")
        assert where in ready.rests_on
        assert (await there.session.read([where]))[where].value == ABSENT
        router.add("/ip/firewall/address-list", list="suspended", address=held)
        refused = await prepared(there.session, (STATIC,))
        seen = await there.session.read([where])
    assert isinstance(refused, CannotEnforce)
    assert refused.reason == RouterReason.AGENT_IN_LIST
    assert "holds 127.0.0.1, from which the API is used now" in refused.detail
    assert seen[where].value == {"127.0.0.1": "in suspended"}  # so a plan that was approved before is stale


async def test_what_is_left_to_people_does_not_hold_up_the_rest() -> None:
    router = by_default()
    router.add("/ip/hotspot/user/profile", name="held-back")
    hotspot = HotspotMethod("hotspot", TARGET, {"Home 20M": ""}, "held-back")
    async with site(router) as there:
        alone = await prepared(there.session, (hotspot,))
        assert isinstance(alone, CannotEnforce)
        assert alone.reason == MethodReason.NO_LIST
        assert "hotspot user profile held-back has no address-list: set it by hand" in alone.detail
        both = await prepared(there.session, (hotspot, STATIC))
        assert isinstance(both, Preparation)
        assert f"not prepared: {alone.detail}" in both.look
        await apply(there.session, both.steps)
        assert not any("hotspot" in step.do[0].address for step in both.steps)  # type: ignore[index]  # writes
        router.set("/ip/hotspot/user/profile", "held-back", address_list="hot-held")
        later = await prepared(there.session, (hotspot, STATIC))
        assert isinstance(later, Preparation)
        assert "list hot-held (IPv4) is dropped" in later.display["after"]
        assert "list suspended" not in later.display["after"]
        await apply(there.session, later.steps)


async def test_a_pool_that_is_not_there_is_told() -> None:
    router = by_default()
    pool = {"name": "of-old", "ranges": "198.18.9.2-198.18.9.9"}
    router.add("/ip/pool", **pool)
    router.add("/ppp/profile", name="held-back", local_address="198.18.8.1", remote_address="of-old")
    router.remove("/ip/pool", "of-old")
    async with site(router) as there:
        found = await prepared(there.session, (PPP,))
        assert isinstance(found, Preparation)
        assert re.search(r"profile held-back takes its addresses from pool \S+, which is not there", found.look)
        router.add("/ip/pool", **pool)
        router.set("/ppp/profile", "held-back", remote_address="of-old")
        found = await prepared(there.session, (PPP,))
        assert isinstance(found, Preparation)
        assert "pool" not in found.look


@pytest.mark.parametrize("version", ["6.43.16", "6.45.9", "6.48.6", "7.19"])
async def test_a_release_without_a_table_has_nothing_placed_and_told(version: str) -> None:
    router = by_default(version)
    async with site(router) as there:
        with pytest.raises(UnreadableError, match=f"RouterOS {version} is not known here .* add them by hand"):
            await prepared(there.session, (STATIC,))
    (one,) = (await readiness({"edge-1": router}, (STATIC,), (BOTH4,))).values()
    assert (one.state.value, one.trials[0].code) == ("refused", MethodReason.LIST_WITHOUT_RULE)
    first = router.rows(FILTER)[2][".id"]
    router.add(FILTER, place_before=first, chain="forward", action="drop", src_address_list="suspended")
    (one,) = (await readiness({"edge-1": router}, (STATIC,), (BOTH4,))).values()
    assert one.state.value == "kept"


async def test_a_profile_without_a_list_gets_one_but_not_a_hotspots() -> None:
    router = by_default()
    router.add("/ppp/profile", name="held-back", local_address="198.18.8.1", remote_address="homes")
    async with site(router) as there:
        found = await prepared(there.session, (PPP,), PrepareTerms("held"))
        assert isinstance(found, Preparation)
        await apply(there.session, found.steps)
        (profile,) = [row for row in router.rows("/ppp/profile") if row["name"] == "held-back"]
        assert profile["address-list"] == "held"
        await apply(there.session, inverse(found.steps))
    (profile,) = [row for row in router.rows("/ppp/profile") if row["name"] == "held-back"]
    assert profile.get("address-list", "") == ""


@pytest.mark.parametrize(
    ("profile", "rules"),
    [
        ({"remote_address": "held"}, [{"chain": "forward", "action": "drop", "src_address": "198.18.9.0/24"}]),
        (
            {"remote_address": "homes", "interface_list": "HELD"},
            [{"chain": "forward", "action": "drop", "in_interface_list": "HELD"}],
        ),
        (
            {"remote_address": "homes", "incoming_filter": "held"},
            [
                {"chain": "forward", "action": "jump", "jump_target": "ppp"},
                {"chain": "held", "action": "accept", "dst_address": PAY_PAGE},
                {"chain": "held", "action": "drop"},
            ],
        ),
    ],
    ids=["pool", "interface-list", "incoming-filter"],
)
async def test_a_profile_that_holds_without_a_list_is_left_as_it_is(
    profile: dict[str, str], rules: list[dict[str, str]]
) -> None:
    """A router that is ready is not changed: it once got a list and rules beside its own design."""
    router = by_default()
    first = router.rows(FILTER)[2][".id"]
    router.add("/ip/pool", name="held", ranges="198.18.9.2-198.18.9.99")
    router.add("/interface/list", name="HELD")
    router.add("/ppp/profile", name="held-back", local_address="198.18.8.1", **profile)
    for rule in rules:
        router.add(FILTER, place_before=first, **rule)
    async with site(router) as there:
        found = await prepared(there.session, (PPP,))
        assert isinstance(found, Preparation)
        assert (found.steps, found.display["after"]) == ((), "")
        assert found.display["now"].startswith("profile held-back: rule ")
        for row in router.rows(FILTER):
            if row["action"] == "drop" and row["chain"] != "input":
                router.remove(FILTER, row[".id"])
        found = await prepared(there.session, (PPP,))
        assert isinstance(found, Preparation)
        assert "puts its sessions into list suspended" in found.display["after"]


async def test_without_a_profile_to_take_addresses_from_it_is_refused() -> None:
    router = by_default()
    async with site(router) as there:
        lost = replace(PPP, tariffs={"Home 20M": "gone"})
        refused = await prepared(there.session, (lost,))
    assert isinstance(refused, CannotEnforce)
    assert refused.reason == MethodReason.NO_SUCH_PROFILE


async def test_it_is_not_taken_back_while_somebody_is_kept_in() -> None:
    router = by_default()
    async with site(router) as there:
        found = await prepared(there.session)
        assert isinstance(found, Preparation)
        await apply(there.session, found.steps)
        wanted = prepare.undo_reads(TARGET, found.steps)
        assert prepare.undo_refusal(TARGET, found.steps, await there.session.read(wanted)) == ""
        router.add("/ip/firewall/address-list", list="suspended", address=HOST)
        seen = await there.session.read(wanted)
    assert "has 1 members" in prepare.undo_refusal(TARGET, found.steps, seen)
    assert ABSENT not in [one.value for one in seen.values()][:1]
