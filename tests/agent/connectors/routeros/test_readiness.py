"""Readiness: each access method tried on the lab's routers says what its preview says, and writes nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent.connectors.base import AccessPlan, CannotEnforce
from agent.connectors.routeros.readiness import MADE_UP
from agent.connectors.routeros.schema import StaticMethod
from agent.model import Access, Service, ServiceState
from agent.reasons import MethodReason, TargetReason
from agent.runtime.clock import SystemClock
from agent.services.readiness import TRIED_MAX, ReadinessReader, TrialState
from lab.router.device import Router
from tests.agent.connectors.routeros.readying import DHCP, PPP, STATIC, network, readiness

KEPT, REFUSED, UNREAD = TrialState.KEPT, TrialState.REFUSED, TrialState.UNREAD
AMINA = Service("C-1/home", "C-1", "Amina", "home", "amina", "ppp", "Home 20M")
FILTER = "/ip/firewall/filter"


def make_router(*, drop: bool = True, fasttrack: bool = True) -> Router:
    router = Router("7.20.8")
    router.add("/user", name="ispagents", password="api-password", group="full")
    router.add("/ip/pool", name="cgnat", ranges="100.64.0.2-100.64.3.250")
    for menu in ("/ppp/profile", "/ip/hotspot/user/profile"):
        router.add(menu, name="home20", rate_limit="20M/20M")
        router.add(menu, name="suspended", address_list="suspended")
    router.add("/ppp/secret", name="amina", password="x", profile="home20", service="pppoe")
    router.add("/ip/hotspot", name="hs1", interface="ether4", address_pool="cgnat", disabled="no")
    if drop:
        router.add(FILTER, chain="forward", action="drop", src_address_list="suspended")
    if fasttrack:
        router.add(FILTER, chain="forward", action="fasttrack-connection", connection_state="established,related")
    return router


async def test_with_the_rule_above_fasttrack_every_method_is_ready() -> None:
    found = await readiness({"edge-1": make_router()})
    assert {method: one.state for (_, method), one in found.items()} == dict.fromkeys(
        ("dhcp", "hotspot", "ppp", "static"), KEPT
    )
    for one in found.values():
        (trial,) = one.trials
        assert "drops list suspended" in trial.text
        assert trial.ref == ""


@pytest.mark.parametrize("kwargs", [{"drop": False}, {"drop": False, "fasttrack": False}])
async def test_without_a_rule_each_refusal_has_its_code_and_mend(kwargs: dict[str, bool]) -> None:
    found = await readiness({"edge-1": make_router(**kwargs)})
    assert len(found) == 4
    for one in found.values():
        (trial,) = one.trials
        assert (one.state, trial.code) == (REFUSED, MethodReason.LIST_WITHOUT_RULE)
        assert trial.mend == MethodReason.LIST_WITHOUT_RULE.remedy


async def test_a_rule_below_fasttrack_is_as_a_preview_has_it() -> None:
    router = make_router(drop=False)
    router.add(FILTER, chain="forward", action="drop", src_address_list="suspended")
    async with network({"edge-1": router}, (PPP,)) as reader:
        read = await reader.read([AMINA])
        preview = reader.access_methods["ppp"].plan(ServiceState(Access.SUSPENDED, "Home 20M"), AMINA, read.seen)
        (one,) = await ReadinessReader(reader, SystemClock()).read([AMINA])
    for trial in one.trials:
        if isinstance(preview, CannotEnforce):
            assert (trial.state, trial.text, trial.code) == (REFUSED, preview.detail, preview.reason)
        else:
            assert (trial.state, trial.text) == (KEPT, preview.display["after"])


async def test_ready_router_says_what_preview_of_subscriber_says() -> None:
    async with network({"edge-1": make_router()}, (PPP,)) as reader:
        read = await reader.read([AMINA])
        preview = reader.access_methods["ppp"].plan(ServiceState(Access.SUSPENDED, "Home 20M"), AMINA, read.seen)
        (one,) = await ReadinessReader(reader, SystemClock()).read([AMINA])
    assert isinstance(preview, AccessPlan)
    assert [(trial.ref, trial.text) for trial in one.trials] == [
        ("C-1/home", preview.display["after"]),
        ("", preview.display["after"]),
    ]


async def test_each_router_is_told_by_itself() -> None:
    method = replace(PPP, also_on=("routeros/edge-2",))
    routers = {"edge-1": make_router(), "edge-2": make_router(drop=False)}
    found = await readiness(routers, (method,))
    assert [found[name, "ppp"].state for name in ("edge-1", "edge-2")] == [KEPT, REFUSED]
    only = await readiness(routers, (method,), device="routeros/edge-1")
    assert list(only) == [("edge-1", "ppp")]


async def test_a_router_that_is_away_was_not_read_and_hides_no_other() -> None:
    method = replace(PPP, also_on=("routeros/edge-2",))
    routers = {"edge-1": make_router(), "edge-2": make_router()}
    found = await readiness(routers, (method,), away=("routeros/edge-2",))
    assert [found[name, "ppp"].state for name in ("edge-1", "edge-2")] == [KEPT, UNREAD]
    (trial,) = found["edge-2", "ppp"].trials
    assert (trial.code, trial.text) == (TargetReason.UNREACHABLE, "routeros/edge-2: no connection")


async def test_subscribers_are_tried_too_and_one_refusal_is_enough() -> None:
    router = make_router()
    router.add("/ppp/secret", name="bob", password="x", profile="default", service="pppoe")
    bob = replace(AMINA, ref="C-2/home", login="bob")
    stranger = replace(AMINA, ref="C-3/home", login="nobody-of-that-name")
    suspended = replace(AMINA, ref="C-4/home", reasons=frozenset({"debt"}))
    one = (await readiness({"edge-1": router}, (PPP,), (AMINA, bob, stranger, suspended)))["edge-1", "ppp"]
    assert one.state is REFUSED
    assert one.services == 3
    assert {trial.ref: trial.state for trial in one.trials} == {"C-1/home": KEPT, "C-2/home": REFUSED, "": KEPT}


async def test_a_few_subscribers_are_tried_one_of_each_tariff_first() -> None:
    router = make_router()
    many = [replace(AMINA, ref=f"C-{n:03}/home", login=f"sub{n:03}") for n in range(40)]
    many[30] = replace(many[30], tariff="Home 50M")
    for service in many:
        router.add("/ppp/secret", name=service.login, password="x", profile="home20", service="pppoe")
    one = (await readiness({"edge-1": router}, (PPP,), tuple(many)))["edge-1", "ppp"]
    assert [trial.ref for trial in one.trials] == [
        "C-000/home",
        "C-030/home",
        "C-001/home",
        "C-002/home",
        "C-003/home",
        "",
    ]
    assert one.trials[1].code == MethodReason.UNMAPPED_TARIFF
    assert len(one.trials) == TRIED_MAX + 1


async def test_a_made_up_address_is_named_and_counts_for_nothing() -> None:
    router = make_router()
    found = await readiness({"edge-1": router}, (STATIC, DHCP))
    for one in found.values():
        assert any(MADE_UP in text for trial in one.trials for text in trial.ways_out)
    real = Service("C-9/home", "C-9", "Zoe", "home", "192.0.2.77", "static", "Home 20M")
    one = (await readiness({"edge-1": router}, (STATIC,), (real,)))["edge-1", "static"]
    assert [(trial.ref, trial.ways_out) for trial in one.trials] == [("C-9/home", ())]


async def test_a_suspension_by_queue_can_only_be_tried_on_subscribers() -> None:
    slowed = StaticMethod("slow", "routeros/edge-1", {"Home 20M": "5M/20M"}, suspended_limit="64k/64k")
    (one,) = (await readiness({"edge-1": make_router()}, (slowed,))).values()
    assert (one.state, one.trials) == (TrialState.NOT_CHECKED, ())
