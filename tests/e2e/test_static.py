"""Changes of subscribers with fixed addresses, on two routers: by an address list on one, by a queue on the other."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.files import HURRIED, waits_of
from tests.e2e.router_site import ELSEWHERE, LISTS, LOGIN, OTHER, Static, ref, running, v4, v6
from tests.e2e.site import ApiRefusedError, state_of

FLOWS = "/ip/firewall/connection"


async def test_suspended_by_queue_and_back(tmp_path: Path) -> None:
    async with running(tmp_path, Static) as net:
        done = await net.site.do("suspend", ref(ELSEWHERE))
        assert (state_of(done), done["state"]) == (("applied", "seen"), "done")
        assert net.routers["edge-2"].speed_of(v4(LOGIN)) == (64_000, 64_000)
        assert net.routers["edge-2"].speed_of(v4(OTHER)) == (5_000_000, 20_000_000)
        assert all(verdict.out for verdict in net.verdicts(ELSEWHERE))
        back = await net.site.do("revert", change=done["id"])
        assert (state_of(back), back["state"]) == (("applied", "seen"), "done")
        assert net.routers["edge-2"].speed_of(v4(LOGIN)) == (5_000_000, 20_000_000)


async def test_a_change_of_tariff_is_the_queues_limit(tmp_path: Path) -> None:
    async with running(tmp_path, Static) as net:
        done = await net.site.do("set-plan", ref("user1@edge-2"), tariff="Home 50M")
        assert (state_of(done), done["state"]) == (("applied", "seen"), "done")
        assert net.routers["edge-2"].speed_of(v4(OTHER)) == (10_000_000, 50_000_000)
        with pytest.raises(ApiRefusedError, match="past the queues"):
            await net.site.ask("set-plan", ref(OTHER), tariff="Home 50M")


async def test_a_disconnect_cuts_what_is_open(tmp_path: Path) -> None:
    async with running(tmp_path, Static) as net:
        router = net.routers["edge-1"]
        done = await net.site.do("disconnect", ref(LOGIN))
        assert done["state"] == "accepted, not provable"  # the next packet connects the same ends again
        assert not any(router.gets_out(which).lingers for which in (v4(LOGIN), v6(LOGIN)))
        assert net.gets_out(OTHER)
        assert net.row(LOGIN)["entries"] == []


async def test_what_would_not_take_effect_is_refused(tmp_path: Path) -> None:
    """E20."""
    async with running(tmp_path, Static) as net:
        router = net.routers["edge-1"]
        drop = next(r for r in router.rows("/ipv6/firewall/filter") if r["action"] == "drop")
        router.set("/ipv6/firewall/filter", drop[".id"], disabled="yes")
        with pytest.raises(ApiRefusedError, match=r"IPv6: no rule"):
            await net.site.ask("suspend", ref(LOGIN))
        router.set("/ipv6/firewall/filter", drop[".id"], disabled="no")
        router.add("/ip/pool", name="lan", ranges="192.0.2.2-192.0.2.99")
        with pytest.raises(ApiRefusedError, match="pool lan"):
            await net.site.ask("suspend", ref(LOGIN))
        assert net.row(LOGIN)["entries"] == []
        assert net.gets_out(LOGIN)


@pytest.mark.parametrize("fault", ["reply-lost", "command-lost"])
async def test_a_restore_with_a_fault_on_the_way(tmp_path: Path, fault: str) -> None:
    async with running(tmp_path, Static, waits=waits_of(fault)) as net:
        done = await net.site.do("suspend", ref(LOGIN))
        net.routers["edge-1"].faults.inject(fault, match=f"{LISTS[0]}/remove")
        back = await net.site.do("revert", change=done["id"])
        assert (state_of(back), back["state"]) == (("applied", "seen"), "done")
        assert net.row(LOGIN)["entries"] == []
        assert net.routers["edge-1"].gets_out(v4(LOGIN)).out


async def test_a_connection_that_cannot_be_cut_is_said(tmp_path: Path) -> None:
    """It is fasttracked, so the rule does not see it: set, and not enforced."""
    async with running(tmp_path, Static, waits=HURRIED) as net:
        router = net.routers["edge-1"]
        router.faults.inject("trap:failure: busy", match=f"{FLOWS}/remove", times=100)
        done = await net.site.do("suspend", ref(LOGIN))
        assert state_of(done)[0] == "set-not-enforced"
        assert done["exit"] == 4
        assert router.gets_out(v4(LOGIN)).lingers


@pytest.mark.parametrize(("fasttrack", "state"), [("true", "set-not-enforced"), ("false", "applied")])
async def test_more_connections_than_can_be_cut(tmp_path: Path, fasttrack: str, state: str) -> None:
    """None of them is cut. The rule meets those that are not fasttracked, and only those."""
    async with running(tmp_path, Static, waits=HURRIED) as net:
        router = net.routers["edge-1"]
        (own,) = [row for row in router.store.table(FLOWS) if row.props["src-address"] == f"{v4(LOGIN)}:50000"]
        own.state["fasttrack"] = fasttrack
        for port in range(1, 1001):
            ends = {"src-address": f"{v4(LOGIN)}:{port}", "dst-address": "203.0.113.80:443"}
            row = router.store.insert(FLOWS, {"protocol": "tcp", "tcp-state": "established"} | ends, dynamic=True)
            row.state["fasttrack"] = fasttrack
        done = await net.site.do("suspend", ref(LOGIN))
        assert state_of(done)[0] == state
        assert router.gets_out(v4(LOGIN)).lingers == (fasttrack == "true")
        assert not router.gets_out(v4(LOGIN)).out
