"""The recipe for fixed addresses against the lab's router: what is written, what then reads so, and who gets out.

Over RouterOS 7.15, 7.20 and 7.24, and over generated rows: a plan that was carried out leaves nothing to plan, and its
opposite gives back every row to the letter.
"""

from __future__ import annotations

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.connectors.base import AccessPlan, CannotEnforce, Enforced
from agent.connectors.routeros.schema import StaticMethod
from agent.model import Access, Service
from lab.router.device import Router
from tests.agent.connectors.routeros.static_site import LISTED, TARIFFS, V4, V6, site

VERSIONS = ["7.15.3", "7.20.8", "7.24"]
HOST6 = "2001:db8:7::9"
SLOWED = StaticMethod("static", "routeros/edge-1", TARIFFS, suspended_limit="64k/64k")
NEXT = Service("C-10483/home", "C-10483", "Bob", "home", "192.0.2.8", "static", "Home 20M")
SUSPENDED, ACTIVE = Access.SUSPENDED, Access.ACTIVE
LIST, LIST6 = "/ip/firewall/address-list", "/ipv6/firewall/address-list"
KEPT = (LIST, LIST6, "/queue/simple")


def make_router(version: str, *, fasttrack: bool = True) -> Router:
    router = Router(version)
    router.add("/user", name="ispagents", password="api-password", group="full")
    router.add("/ip/address", address="192.0.2.1/24", interface="ether5")
    router.add("/ip/pool", name="cgnat", ranges="100.64.0.2-100.64.3.250")
    for family in ("/ip", "/ipv6"):
        router.add(f"{family}/firewall/filter", chain="forward", action="drop", src_address_list="suspended")
    if fasttrack:
        rule = {"chain": "forward", "action": "fasttrack-connection", "connection_state": "established,related"}
        for family in ("/ip", "/ipv6"):
            router.add(f"{family}/firewall/filter", **rule)
    router.add("/queue/simple", name="home", target=f"{V4}/32,{V6}", max_limit="5M/20M")
    router.add("/queue/simple", name="town", target="192.0.2.0/24", max_limit="1G/1G")
    router.plug_in_host([V4, HOST6], name="home")
    router.plug_in_host(["192.0.2.8"], name="next")
    return router


def kept(router: Router) -> dict[str, list[dict[str, str]]]:
    """Return every row that a recipe may write; its `.id` and age go with it when it is made again."""
    leave = (".id", "creation-time")
    return {path: [{k: v for k, v in row.items() if k not in leave} for row in router.rows(path)] for path in KEPT}


@pytest.mark.parametrize("version", VERSIONS)
async def test_suspended_by_list_nobody_gets_out_and_nothing_lingers(version: str) -> None:
    """E15: what FastTrack took is cut, of IPv4 and of IPv6."""
    router = make_router(version)
    before = kept(router)
    assert all(router.gets_out(which).out for which in (V4, HOST6, "192.0.2.8"))
    assert all(router.gets_out(which).fasttracked for which in (V4, HOST6))
    async with site(router) as there:
        assert await there.do(SUSPENDED) is Enforced.YES
        for which in (V4, HOST6):
            verdict = router.gets_out(which)
            assert (verdict.out, verdict.lingers) == (False, False), which
        neighbor = router.gets_out("192.0.2.8")
        assert (neighbor.out, neighbor.lingers) == (True, True)
        assert await there.do(SUSPENDED) is Enforced.PENDING  # nothing is sent, and nobody is seen online
        assert await there.do(ACTIVE) is Enforced.YES
        assert router.gets_out(V4).out
        assert router.gets_out(HOST6).out
        assert await there.do(ACTIVE) is None
    assert kept(router) == before


@pytest.mark.parametrize("version", VERSIONS)
async def test_suspended_by_queue_is_slow_and_online(version: str) -> None:
    router = make_router(version, fasttrack=False)
    before = kept(router)
    async with site(router) as there:
        assert await there.do(SUSPENDED, SLOWED) is Enforced.YES
        assert router.speed_of("home") == (64_000, 64_000)
        assert router.gets_out("home").out
        assert router.speed_of("next") == (10**9, 10**9)
        assert await there.do(ACTIVE, SLOWED) is Enforced.YES
        assert router.speed_of("home") == (5_000_000, 20_000_000)
        assert kept(router) == before
        assert await there.do(ACTIVE, tariff="Home 50M") is Enforced.YES
        assert router.speed_of("home") == (10_000_000, 50_000_000)


async def test_a_limit_that_would_not_be_felt_is_not_written() -> None:
    """E20: for FastTrack, a queue above, a parent, a burst and a guaranteed rate."""
    router = make_router("7.20.8")
    async with site(router) as there:
        found = await there.plan(SUSPENDED, SLOWED)
        assert isinstance(found, CannotEnforce)
        assert found.reason == "fasttrack-bypasses-queues"
        assert router.speed_of("home") is None  # so it is
    router = make_router("7.20.8", fasttrack=False)
    (first,) = [row for row in router.rows("/queue/simple") if row["name"] == "home"]
    router.add("/queue/simple", name="wide", target="192.0.2.0/25", max_limit="1G/1G", place_before=first[".id"])
    async with site(router) as there:
        found = await there.plan(SUSPENDED, SLOWED)
        assert isinstance(found, CannotEnforce)
        assert found.reason == "queue-behind"
        assert router.speed_of("home") == (10**9, 10**9)
        router.remove("/queue/simple", router.rows("/queue/simple")[0][".id"])
        assert isinstance(await there.plan(SUSPENDED, SLOWED), AccessPlan)
        beyond = {"burst_limit": "40M/40M", "limit_at": "11M/11M", "parent": "town"}
        for prop, value in beyond.items():
            router.set("/queue/simple", "home", **{prop: value})
            found = await there.plan(SUSPENDED, SLOWED)
            assert isinstance(found, CannotEnforce), prop
            assert found.reason in ("queue-burst", "queue-guaranteed", "queue-parent")
            router.set("/queue/simple", "home", **{prop: "none" if prop == "parent" else "0/0"})


async def test_a_pool_or_a_lease_has_the_address() -> None:
    router = make_router("7.20.8")
    router.add("/ip/pool", name="lan", ranges="192.0.2.2-192.0.2.7")
    async with site(router) as there:
        found = await there.plan(SUSPENDED)
        assert isinstance(found, CannotEnforce)
        assert found.reason == "pool-address"
        assert await there.do(SUSPENDED, service=NEXT) is Enforced.YES


@pytest.mark.parametrize(
    ("row", "reason"),
    [({"address": V4, "timeout": "1h"}, "dynamic-entry"), ({"address": "192.0.2.0/28"}, "wider-entry")],
)
async def test_e17_a_shared_or_fading_entry_is_not_taken_for_ours(row: dict[str, str], reason: str) -> None:
    """Both keep the subscriber in now; neither can be lifted for this subscriber alone."""
    router = make_router("7.20.8")
    router.add(LIST, list="suspended", **row)
    assert not router.gets_out(V4).out
    async with site(router) as there:
        found = await there.plan(ACTIVE)
        assert isinstance(found, CannotEnforce)
        assert found.reason == reason
        found = await there.plan(SUSPENDED)
        if reason == "dynamic-entry":
            assert isinstance(found, CannotEnforce)
            assert found.reason == reason
        else:  # an entry of its own stays when the wider one goes
            assert isinstance(found, AccessPlan)


ROWS = st.fixed_dictionaries(
    {},
    optional={
        "comment": st.sampled_from(["Av. 12", "isp:another", "x isp:one", "isp:other "]),
        "disabled": st.just("yes"),
    },
)


@pytest.mark.parametrize("version", VERSIONS)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(entry=st.none() | ROWS, entry6=st.none() | ROWS, queue=ROWS, others=st.booleans())
def test_planned_and_done_there_is_nothing_left_to_do(
    version: str, entry: dict[str, str] | None, entry6: dict[str, str] | None, queue: dict[str, str], others: bool
) -> None:
    """Whatever stood there, without marks of ours: what was not in the list reads as before once it is restored."""
    router = make_router(version, fasttrack=False)
    for path, address, row in ((LIST, V4, entry), (LIST6, V6, entry6)):
        if row is not None:
            router.add(path, list="suspended", address=address, **row)
        if others:
            router.add(path, list="others", address=address)
            router.add(path, list="suspended", address=address.replace("7", "9"), comment="a neighbor")
    router.set("/queue/simple", "home", **{k: v for k, v in queue.items() if k == "comment"})
    before = kept(router)

    async def main() -> None:
        async with site(router) as there:
            for method in (LISTED, SLOWED):
                for access in (SUSPENDED, ACTIVE, SUSPENDED, ACTIVE):
                    assert await there.do(access, method) in (Enforced.YES, Enforced.PENDING, None)

    trio.run(main)
    lifted = {(LIST, V4): entry, (LIST6, V6): entry6}
    for path, rows in before.items():
        # One that was in force at first is not in the list any more; all others are as they were
        was_on = [a for (p, a), row in lifted.items() if p == path and row is not None and "disabled" not in row]
        left = [row for row in rows if row.get("list") != "suspended" or row["address"] not in was_on]
        assert sorted(map(str, kept(router)[path])) == sorted(map(str, left))
