"""Changes of subscribers with fixed addresses, on two routers: by an address list on one, by a queue on the other."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import trio

from lab.router.device import Router
from lab.router.server import Endpoint, serve
from tests.e2e.files import HURRIED, PATIENT, Files, Waits, make_files, waits_of
from tests.e2e.site import AgentProgram, ApiRefusedError, Office, check_log, item_states, open_site, state_of
from tests.e2e.test_routers import PASSWORD, billing_row, ref, until

ROUTERS = ("edge-1", "edge-2")
LISTS = ("/ip/firewall/address-list", "/ipv6/firewall/address-list")
FLOWS, FLOWS6 = "/ip/firewall/connection", "/ipv6/firewall/connection"


@dataclass
class Network:
    """`edge-1` suspends by list, `edge-2` by queue. Subscriber n has the addresses .10 + n, of both families."""

    site: Office
    routers: dict[str, Router]

    def gets_out(self, name: str, n: int) -> bool:
        router = self.routers[name]
        found = [router.gets_out(which) for which in (v4(n), v6(n))]
        return all(one.out or one.lingers for one in found)

    def is_out(self, name: str, n: int) -> bool:
        """Tell whether nothing of a subscriber's gets out, of either family, old or new."""
        router = self.routers[name]
        return not any(one.out or one.lingers for one in (router.gets_out(which) for which in (v4(n), v6(n))))

    def entries(self) -> list[str]:
        return [row["address"] for path in LISTS for row in self.routers["edge-1"].rows(path)]

    def limit(self, n: int) -> str:
        (found,) = [q for q in self.routers["edge-2"].rows("/queue/simple") if q["name"] == f"home{n}"]
        return found["max-limit"]


def v4(n: int) -> str:
    return f"192.0.2.{10 + n}"


def v6(n: int) -> str:
    return f"2001:db8:7:{n}::9"


def login(n: int) -> str:
    return f"{v4(n)},2001:db8:7:{n}::/64"


def who(name: str, n: int) -> str:
    return ref(f"user{n}@{name}")


def make_router(name: str, subscribers: int, version: str) -> Router:
    router = Router(version, identity=name, serial=f"SERIAL-{name}")
    router.add("/ip/address", address="192.0.2.1/24", interface="ether5")
    router.add("/ip/pool", name="cgnat", ranges="100.64.0.2-100.64.3.250")
    for family in ("/ip", "/ipv6"):
        rules = f"{family}/firewall/filter"
        router.add(rules, chain="forward", action="accept", src_address_list="suspended", dst_address_list="pay-page")
        router.add(rules, chain="forward", action="drop", src_address_list="suspended")
    if name == "edge-1":
        fast = {"chain": "forward", "action": "fasttrack-connection", "connection_state": "established,related"}
        router.add("/ip/firewall/filter", **fast)
    for n in range(subscribers):
        router.add("/queue/simple", name=f"home{n}", target=f"{v4(n)}/32,2001:db8:7:{n}::/64", max_limit="5M/20M")
        router.plug_in_host([v4(n), v6(n)], name=f"user{n}")
    router.add("/user/group", name="ispagents", policy="read,write,api")
    router.add("/user", name="ispagents", password=PASSWORD, group="ispagents")
    return router


def mapping(endpoints: dict[str, Endpoint], waits: Waits) -> str:
    text = ""
    for name, endpoint in endpoints.items():
        suspended = 'suspended_list = "suspended"' if name == "edge-1" else 'suspended_limit = "64k/64k"'
        text += (
            f'[routeros.{name}]\nhost = "{endpoint.host}"\nport = {endpoint.port}\nuser = "ispagents"\n'
            f'secret = "routeros/{name}"\nfingerprint = "{endpoint.fingerprint}"\nserial = "SERIAL-{name}"\n'
            f"timeout_s = {waits.answer_s}\n"
            f'[static.{name}]\ntarget = "routeros/{name}"\n{suspended}\ncut_within_s = {waits.gone_s}\n'
            f'[static.{name}.tariffs]\n"Home 20M" = "5M/20M"\n"Home 50M" = "10M/50M"\n'
        )
    return text


@asynccontextmanager
async def served(
    folder: Path, subscribers: int, versions: Sequence[str] = ("7.20.8", "7.15.3"), waits: Waits = PATIENT
) -> AsyncIterator[tuple[dict[str, Router], Files]]:
    routers = {name: make_router(name, subscribers, version) for name, version in zip(ROUTERS, versions, strict=True)}
    async with trio.open_nursery() as nursery:
        endpoints: dict[str, Endpoint] = {
            name: await nursery.start(partial(serve, router, tls=True)) for name, router in routers.items()
        }
        files = make_files(folder, mapping(endpoints, waits), [], {f"routeros/{name}": PASSWORD for name in ROUTERS})
        for name in ROUTERS:
            for n in range(subscribers):
                files.billing.rows[who(name, n)] = billing_row(f"user{n}@{name}") | {"login": login(n)}
        files.billing.write()
        yield routers, files
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def network(
    folder: Path, subscribers: int = 3, versions: Sequence[str] = ("7.20.8", "7.15.3"), waits: Waits = PATIENT
) -> AsyncIterator[Network]:
    async with served(folder, subscribers, versions, waits) as (routers, files), open_site(files) as site:
        yield Network(site, routers)
        await check_log(site)


@pytest.mark.parametrize("version", ["7.15.3", "7.20.8", "7.24"])
async def test_suspended_by_list_and_back(tmp_path: Path, version: str) -> None:
    async with network(tmp_path, versions=(version, version)) as net:
        assert net.routers["edge-1"].gets_out(v4(0)).fasttracked
        asked = await net.site.ask("suspend", who("edge-1", 0))
        assert (asked["state"], asked["class"]) == ("waiting for approval", "low")
        assert net.entries() == []

        done = await net.site.apply(asked)
        assert (state_of(done), done["state"], done["exit"]) == (("applied", "seen"), "done", 0)
        assert net.is_out("edge-1", 0)
        assert net.gets_out("edge-1", 1)
        assert net.entries() == [v4(0), "2001:db8:7::/64"]

        back = await net.site.do("revert", change=done["id"])
        assert (state_of(back), back["state"]) == (("applied", "seen"), "done")
        assert net.routers["edge-1"].gets_out(v4(0)).out
        assert net.routers["edge-1"].gets_out(v6(0)).out
        assert net.entries() == []


async def test_suspended_by_queue_and_back(tmp_path: Path) -> None:
    async with network(tmp_path) as net:
        done = await net.site.do("suspend", who("edge-2", 0))
        assert (state_of(done), done["state"]) == (("applied", "seen"), "done")
        assert net.routers["edge-2"].speed_of(v4(0)) == (64_000, 64_000)
        assert net.routers["edge-2"].speed_of(v4(1)) == (5_000_000, 20_000_000)
        assert net.gets_out("edge-2", 0)
        back = await net.site.do("revert", change=done["id"])
        assert (state_of(back), back["state"]) == (("applied", "seen"), "done")
        assert net.routers["edge-2"].speed_of(v4(0)) == (5_000_000, 20_000_000)


async def test_a_batch_over_both_routers(tmp_path: Path) -> None:
    async with network(tmp_path, subscribers=8) as net:
        everybody = [who(name, n) for name in ROUTERS for n in range(8)]
        done = await net.site.apply(await net.site.ask("suspend", *everybody), "joseph", "lena")
        assert done["state"] == "done"
        assert set(item_states(done).values()) == {("applied", "seen")}
        assert all(net.is_out("edge-1", n) for n in range(8))
        assert {net.limit(n) for n in range(8)} == {"64000/64000"}
        restored = await net.site.apply(await net.site.ask("restore", *everybody), "joseph", "lena")
        assert restored["state"] == "done"
        assert all(net.routers["edge-1"].gets_out(which).out for n in range(8) for which in (v4(n), v6(n)))
        assert {net.limit(n) for n in range(8)} == {"5000000/20000000"}
        assert net.entries() == []


async def test_a_change_of_tariff_is_the_queues_limit(tmp_path: Path) -> None:
    async with network(tmp_path) as net:
        done = await net.site.do("set-plan", who("edge-2", 1), tariff="Home 50M")
        assert (state_of(done), done["state"]) == (("applied", "seen"), "done")
        assert net.routers["edge-2"].speed_of(v4(1)) == (10_000_000, 50_000_000)
        with pytest.raises(ApiRefusedError, match="past the queues"):
            await net.site.ask("set-plan", who("edge-1", 1), tariff="Home 50M")


async def test_a_disconnect_cuts_what_is_open(tmp_path: Path) -> None:
    async with network(tmp_path) as net:
        router = net.routers["edge-1"]
        done = await net.site.do("disconnect", who("edge-1", 0))
        assert done["state"] == "accepted, not provable"  # the next packet connects the same ends again
        assert not any(router.gets_out(which).lingers for which in (v4(0), v6(0)))
        assert net.gets_out("edge-1", 1)
        assert net.entries() == []


async def test_what_would_not_take_effect_is_refused(tmp_path: Path) -> None:
    """E20."""
    async with network(tmp_path) as net:
        router = net.routers["edge-1"]
        drop = next(r for r in router.rows("/ipv6/firewall/filter") if r["action"] == "drop")
        router.set("/ipv6/firewall/filter", drop[".id"], disabled="yes")
        with pytest.raises(ApiRefusedError, match=r"IPv6: no rule"):
            await net.site.ask("suspend", who("edge-1", 0))
        router.set("/ipv6/firewall/filter", drop[".id"], disabled="no")
        router.add("/ip/pool", name="lan", ranges="192.0.2.2-192.0.2.99")
        with pytest.raises(ApiRefusedError, match="pool lan"):
            await net.site.ask("suspend", who("edge-1", 0))
        assert net.entries() == []
        assert net.gets_out("edge-1", 0)


async def test_P2_somebody_else_was_there_between(tmp_path: Path) -> None:
    async with network(tmp_path) as net:
        asked = await net.site.ask("suspend", who("edge-1", 0))
        net.routers["edge-1"].add(LISTS[0], list="suspended", address=v4(0), comment="by hand", disabled="yes")
        done = await net.site.apply(asked)
        assert state_of(done)[0] == "stale"
        assert net.entries() == [v4(0)]
        assert net.gets_out("edge-1", 0)


@pytest.mark.parametrize("fault", ["reply-lost", "command-lost", "cut-before", "cut-after"])
@pytest.mark.parametrize("command", [f"{LISTS[0]}/add", f"{LISTS[1]}/add", f"{FLOWS}/remove", f"{FLOWS6}/remove"])
async def test_what_is_lost_on_the_way_is_read_back(tmp_path: Path, fault: str, command: str) -> None:
    async with network(tmp_path, waits=waits_of(fault)) as net:
        net.routers["edge-1"].faults.inject(fault, match=command)
        done = await net.site.do("suspend", who("edge-1", 0))
        assert net.routers["edge-1"].faults.met
        assert (state_of(done), done["state"]) == (("applied", "seen"), "done")
        assert len(net.entries()) == 2
        assert net.is_out("edge-1", 0)
        assert net.gets_out("edge-1", 1)


@pytest.mark.parametrize("fault", ["reply-lost", "command-lost"])
async def test_a_restore_with_a_fault_on_the_way(tmp_path: Path, fault: str) -> None:
    async with network(tmp_path, waits=waits_of(fault)) as net:
        done = await net.site.do("suspend", who("edge-1", 0))
        net.routers["edge-1"].faults.inject(fault, match=f"{LISTS[0]}/remove")
        back = await net.site.do("revert", change=done["id"])
        assert (state_of(back), back["state"]) == (("applied", "seen"), "done")
        assert net.entries() == []
        assert net.routers["edge-1"].gets_out(v4(0)).out


async def test_a_connection_that_cannot_be_cut_is_said(tmp_path: Path) -> None:
    """It is fasttracked, so the rule does not see it: set, and not enforced."""
    async with network(tmp_path, waits=HURRIED) as net:
        router = net.routers["edge-1"]
        router.faults.inject("trap:failure: busy", match=f"{FLOWS}/remove", times=100)
        done = await net.site.do("suspend", who("edge-1", 0))
        assert state_of(done)[0] == "set-not-enforced"
        assert done["exit"] == 4
        assert router.gets_out(v4(0)).lingers


@pytest.mark.parametrize(("fasttrack", "state"), [("true", "set-not-enforced"), ("false", "applied")])
async def test_more_connections_than_can_be_cut(tmp_path: Path, fasttrack: str, state: str) -> None:
    """None of them is cut. The rule meets those that are not fasttracked, and only those."""
    async with network(tmp_path, waits=HURRIED) as net:
        router = net.routers["edge-1"]
        (own,) = [row for row in router.store.table(FLOWS) if row.props["src-address"] == f"{v4(0)}:50000"]
        own.state["fasttrack"] = fasttrack
        for port in range(1, 1001):
            ends = {"src-address": f"{v4(0)}:{port}", "dst-address": "203.0.113.80:443"}
            row = router.store.insert(FLOWS, {"protocol": "tcp", "tcp-state": "established"} | ends, dynamic=True)
            row.state["fasttrack"] = fasttrack
        done = await net.site.do("suspend", who("edge-1", 0))
        assert state_of(done)[0] == state
        assert router.gets_out(v4(0)).lingers == (fasttrack == "true")
        assert not router.gets_out(v4(0)).out


async def test_somebody_who_is_switched_off_is_suspended_all_the_same(tmp_path: Path) -> None:
    async with network(tmp_path) as net:
        router = net.routers["edge-1"]
        host = next(h for h in router.hosts._by.values() if h.name == "user0")
        router.hosts.unplug(host)
        done = await net.site.do("suspend", who("edge-1", 0))
        assert state_of(done) == ("set-at-next-login", "offline")
        router.plug_in_host([v4(0), v6(0)], name="user0")
        assert net.is_out("edge-1", 0)


@pytest.mark.parametrize("command", [pytest.param(f"{LISTS[0]}/add", marks=pytest.mark.slow), f"{FLOWS}/remove"])
async def test_the_agent_is_killed_with_a_command_on_its_way(tmp_path: Path, command: str) -> None:
    async with served(tmp_path, 2) as (routers, files):
        net = Network(Office(files), routers)
        programs = [AgentProgram(files)]
        try:
            await trio.to_thread.run_sync(programs[0].wait_ready)
            await net.site.install()
            asked = await net.site.ask("suspend", who("edge-1", 0))
            routers["edge-1"].faults.inject("drift", match=command, drift=lambda _: programs[0].kill())
            await net.site.approve(asked, "joseph")
            await until(lambda: programs[0].ended)
            programs.append(AgentProgram(files))
            await trio.to_thread.run_sync(programs[1].wait_ready)
            done = await net.site.wait_end(asked)
        finally:
            for program in programs:
                program.stop()
        assert (state_of(done), done["state"]) == (("applied", "seen"), "done")
        assert {(s["step"], s["attempt"], s["verdict"]) for s in done["steps"]} == {
            (n, 1, "applied") for n in range(1, 5)
        }
        assert len(net.entries()) == 2
        assert net.is_out("edge-1", 0)
        assert net.gets_out("edge-1", 1)
