"""The judge on suspension designs as whole exports: read from a router, planned, and tried with packets.

Each design is loaded on the lab's router, and its suspension planned through the connector's own session. Then the
subscriber is suspended behind the agent's back, and the lab's packets say who gets out: they share no code with the
judge.
"""

from __future__ import annotations

from itertools import product
from textwrap import dedent

import pytest
import trio

from agent.connectors.base import AccessPlan, CannotEnforce, Enforced, Judgment, OnDevices, Preparation, PrepareTerms
from agent.connectors.routeros.access_methods import access_method_of
from agent.connectors.routeros.schema import DhcpMethod, PppMethod, RouterMethod, StaticMethod
from agent.model import Access, Address, Seen, Service, ServiceState
from agent.reasons import ProofReason
from lab.router.device import Router
from lab.router.export import load_export
from tests.agent.connectors.routeros.designs import Label
from tests.agent.connectors.routeros.exported_designs import EXPORTED, SITE, Exported, Kind
from tests.agent.connectors.routeros.preparing import apply, prepared, send
from tests.agent.connectors.routeros.static_site import site

TARGET = "routeros/edge-1"
HOST, MAC = "192.0.2.7", "02:00:00:00:77:01"
REFUSED_MAX = 0.1
PACKETS = [*product(("tcp", "udp"), (22, 80, 123, 443, 8080, 8291, 40000)), ("gre", 0)]


def method_of(design: Exported) -> tuple[RouterMethod, str]:
    """Return the access method of a design, and its subscriber's login."""
    if design.kind is Kind.PPP:
        return PppMethod("m", TARGET, "suspended", {"Home 20M": "home20"}), "amina"
    if design.kind is Kind.DHCP:
        return DhcpMethod("m", TARGET, {"Home 20M": ""}, suspended_list=design.listed), MAC
    return StaticMethod("m", TARGET, {"Home 20M": ""}, suspended_list=design.listed), HOST


def loaded(design: Exported) -> Router:
    text = "\n".join(line.strip() for line in dedent(design.text).splitlines())
    router = load_export(f"{SITE}{text}", design.version).router
    if design.kind is Kind.PPP:
        router.plug_in("amina", "x")
    elif design.kind is Kind.DHCP:
        router.plug_in_dhcp(MAC)
    else:
        router.plug_in_host([HOST], name="home")
    return router


async def suspend_by_hand(design: Exported, router: Router) -> None:
    """Suspend the subscriber as its method would, and wait until it is online again."""
    if design.kind is Kind.LIST:
        router.add("/ip/firewall/address-list", list=design.listed, address=HOST)
        return
    if design.kind is Kind.DHCP:
        (lease,) = [row for row in router.rows("/ip/dhcp-server/lease") if row.get("mac-address") == MAC]
        router.set("/ip/dhcp-server/lease", lease[".id"], address_lists=design.listed)
        for client in list(router.dhcp.clients.values()):
            router.dhcp.unplug(client)
        router.plug_in_dhcp(MAC)
        return
    (session,) = router.rows("/ppp/active")
    router.set("/ppp/secret", "amina", profile="suspended")
    router.remove("/ppp/active", session[".id"])
    with trio.fail_after(30):
        await again(router, session[".id"])


async def again(router: Router, before: str) -> None:
    """Wait until the CPE has another session."""
    while not [row for row in router.rows("/ppp/active") if row[".id"] != before]:  # noqa: ASYNC110  the lab has no event for it
        await trio.sleep(0.01)


async def judged(design: Exported, *, packets: bool = True) -> tuple[AccessPlan | CannotEnforce, list[tuple[str, int]]]:
    """Return the plan of a suspension, and the packets that get out once it is done by hand."""
    router = loaded(design)
    method, login = method_of(design)
    service = Service("C-7/home", "C-7", "Amina", "home", login, "m", "Home 20M")
    access = access_method_of(method)
    assert isinstance(access, OnDevices)
    part, seen = access.on_devices()[TARGET], dict[Address, Seen]()
    async with site(router) as there:
        while missing := part.reads(service, seen):
            seen |= await there.session.read(missing)
        plan = part.plan(ServiceState(Access.SUSPENDED, "Home 20M"), service, seen)
        if not packets:
            return plan, []
        await suspend_by_hand(design, router)
        assert router.gets_out(login).online
        return plan, [one for one in PACKETS if router.gets_out(login, protocol=one[0], port=one[1]).out]


@pytest.mark.parametrize("design", EXPORTED, ids=lambda design: design.name)
async def test_a_design_is_judged_by_what_it_does_on_a_router(design: Exported) -> None:
    plan, out = await judged(design)
    if not design.unseen:
        assert bool(out) is (design.label is Label.LEAKS), out
    if design.label is Label.KEEPS and not design.refused:
        assert isinstance(plan, AccessPlan), plan
        return
    assert isinstance(plan, CannotEnforce), plan
    if "nothing keeps anybody in" not in plan.detail:
        mends = (
            "add a rule",
            "move rule",
            "remove ",
            "add src-address-list=",
            "give the suspended profile an address list",
        )
        assert any(f": {mend}" in plan.detail for mend in mends)


def test_few_exported_designs_that_hold_are_refused() -> None:
    working = [design for design in EXPORTED if design.label is Label.KEEPS]
    refused = [design.name for design in working if design.refused]
    assert len(refused) <= REFUSED_MAX * len(working), refused
    assert (len(EXPORTED), len({design.name for design in EXPORTED})) == (90, 90)


NEIGHBOR = "192.0.2.8"
REFUSED = [one for one in EXPORTED if one.refused or one.label is Label.LEAKS]


@pytest.mark.parametrize("design", REFUSED, ids=lambda design: design.name)
async def test_a_design_that_is_refused_is_made_ready(design: Exported) -> None:
    """`device prepare`, twice; the suspension is then kept, and a neighbor's packets go the way that they went."""
    router = loaded(design)
    router.plug_in_host([NEIGHBOR], name="neighbor")
    method, login = method_of(design)
    service = Service("C-7/home", "C-7", "Amina", "home", login, "m", "Home 20M")
    part = access_method_of(method).on_devices()[TARGET]  # type: ignore[union-attr]  # a method on a router
    terms = PrepareTerms("suspended", ("198.51.100.10",), ("198.51.100.53",))

    def neighbors() -> list[bool]:
        return [router.gets_out(NEIGHBOR, protocol=one, port=port).out for one, port in PACKETS]

    before = neighbors()
    async with site(router) as there:
        found = await prepared(there.session, (method,), terms)
        assert isinstance(found, Preparation), found
        await apply(there.session, found.steps)
        again_found = await prepared(there.session, (method,), terms)
        assert isinstance(again_found, Preparation)
        assert again_found.steps == ()
        seen = dict[Address, Seen]()
        while missing := part.reads(service, seen):
            seen |= await there.session.read(missing)
        plan = part.plan(ServiceState(Access.SUSPENDED, "Home 20M"), service, seen)
        assert isinstance(plan, AccessPlan), plan
        await suspend_by_hand(design, router)
        assert not [one for one in PACKETS if router.gets_out(login, protocol=one[0], port=one[1]).out]
    assert neighbors() == before


BY_INTERFACE = [
    one for one in EXPORTED if one.name in ("ppp interface list only, same pool", "ppp incoming-filter chain")
]


@pytest.mark.assumed("routeros-login-joins-list", "routeros-login-jumps")
@pytest.mark.parametrize("design", BY_INTERFACE, ids=lambda design: design.name)
async def test_without_an_own_address_a_session_shows_by_its_login(design: Exported) -> None:
    """The address list or the pool of a profile tells its sessions; else its interface must be seen in what it made."""
    router = loaded(design)
    method, login = method_of(design)
    service = Service("C-7/home", "C-7", "Amina", "home", login, "m", "Home 20M")
    part = access_method_of(method).on_devices()[TARGET]  # type: ignore[union-attr]  # a method on a router
    wanted = ServiceState(Access.SUSPENDED, "Home 20M")

    async with site(router) as there:

        async def planned() -> AccessPlan:
            seen = dict[Address, Seen]()
            while missing := part.reads(service, seen):
                seen |= await there.session.read(missing)
            plan = part.plan(wanted, service, seen)
            assert isinstance(plan, AccessPlan), plan
            return plan

        async def verdict(plan: AccessPlan) -> Judgment:
            assert plan.enforce is not None
            seen = dict(await there.session.read([plan.enforce.address]))
            while missing := part.enforcement_reads(plan.enforce, seen):
                seen |= await there.session.read(missing)
            return part.judge(plan.enforce, seen, {})

        (before,) = router.rows("/ppp/active")
        plan = await planned()
        for step in plan.steps:
            await send(there.session, step.do)
        with trio.fail_after(30):
            await again(router, before[".id"])
        found = await verdict(plan)
        assert (found.enforced, found.how) == (Enforced.YES, ProofReason.SEEN), found
        assert (await planned()).steps == ()

        for path in ("/interface/list/member", "/ip/firewall/filter"):
            for row in router.rows(path):
                if row.get("dynamic") == "true":
                    router.store.remove(path, router.store.table(path).get(row[".id"]))  # type: ignore[arg-type]  # it is there
        found = await verdict(plan)
        assert found.enforced is Enforced.NO
        assert "<pppoe-amina> is not seen to have profile suspended" in found.detail
        assert (await planned()).steps  # it is ended, and dials in anew
