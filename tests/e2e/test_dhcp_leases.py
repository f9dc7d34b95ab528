"""Changes of DHCP leases on two routers: what is written holds at once on one, and at the next renewal on the other."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from agent.reasons import DriftReason
from lab.router.device import Router
from lab.router.dhcp import DhcpClient
from tests.e2e.files import HURRIED, PATIENT, Waits, waits_of
from tests.e2e.router_site import isp_router, killed_with_a_command, served
from tests.e2e.site import ApiRefusedError, Office, check_log, item_states, open_site, state_of
from tests.e2e.test_drift import by_subject, one_round
from tests.e2e.test_routers import ROUTERS, ref, until

LEASES, LISTS = "/ip/dhcp-server/lease", "/ip/firewall/address-list"
WHO, OTHER, LATER = "user0@edge-1", "user1@edge-1", "user0@edge-2"
"""The last one's router lets a change hold only when the client renews."""


@dataclass
class Leases:
    """Two routers with a DHCP server each, and an agent in front of them. Subscribers are `userN@ROUTER`."""

    site: Office
    routers: dict[str, Router]

    def router(self, who: str) -> Router:
        return self.routers[who.partition("@")[2]]

    def client(self, who: str) -> DhcpClient:
        return self.router(who).dhcp.clients[mac(who)]

    def gets_out(self, who: str) -> bool:
        verdict = self.router(who).gets_out(mac(who))
        return verdict.out or verdict.lingers

    def lease(self, who: str) -> dict[str, str]:
        """What somebody wrote to it."""
        (found,) = [r for r in self.router(who).rows(LEASES) if r["mac-address"] == mac(who)]
        written = ("address", "address-lists", "rate-limit", "block-access", "comment", "server", "disabled")
        return {"block-access": "false"} | {k: v for k, v in found.items() if k in written}

    def renews(self, who: str) -> None:
        self.router(who).dhcp.ask(self.client(who))


def run_out(router: Router, client: DhcpClient) -> None:
    """End the lease of a client that is gone, as ten minutes would."""
    router.dhcp._end(router.dhcp._of_client[client.mac])


def mac(who: str) -> str:
    name, _, router = who.partition("@")
    return f"02:00:00:00:{ROUTERS.index(router):02d}:{int(name.removeprefix('user')):02d}"


def make_router(name: str, subscribers: int, version: str) -> Router:
    router = isp_router(name, version)
    router.add("/ip/pool", name="lan", ranges="10.1.0.10-10.1.0.19")
    router.add("/ip/dhcp-server", name="d1", interface="ether3", address_pool="lan", lease_time="10m", disabled="no")
    router.dhcp.applies = "at-once" if name == "edge-1" else "at-renewal"
    for n in range(subscribers):
        own = {"mac_address": mac(f"user{n}@{name}"), "address": f"10.1.0.{50 + n}", "rate_limit": "20M/20M"}
        router.add(LEASES, **own, server="d1", address_lists="shops", comment=f"house {n}")
        router.plug_in_dhcp(own["mac_address"])
    return router


def methods(suspended_list: str, waits: Waits) -> str:
    return "".join(
        f'[dhcp.{name}]\ntarget = "routeros/{name}"\nsuspended_list = "{suspended_list}"\n'
        f"cut_within_s = {waits.gone_s}\nrenew_within_s = {waits.gone_s}\n"
        f'[dhcp.{name}.tariffs]\n"Home 20M" = "20M/20M"\n"Home 50M" = "50M/50M"\n'
        for name in ROUTERS
    )


@asynccontextmanager
async def offices(folder: Path, suspended_list: str, subscribers: int, waits: Waits = PATIENT) -> AsyncIterator[Leases]:
    """Two routers, everybody online, and the files of an agent for them; nothing of it runs yet."""
    versions = zip(ROUTERS, ("7.20.8", "7.15.3"), strict=True)
    routers = {name: make_router(name, subscribers, version) for name, version in versions}
    # As people write a MAC
    logins = {
        who: mac(who).replace(":", "-").lower()
        for name in ROUTERS
        for n in range(subscribers)
        for who in [f"user{n}@{name}"]
    }
    async with served(folder, routers, methods(suspended_list, waits), logins, waits) as files:
        yield Leases(Office(files), routers)


@asynccontextmanager
async def leases(
    folder: Path, suspended_list: str = "suspended", subscribers: int = 2, waits: Waits = PATIENT
) -> AsyncIterator[Leases]:
    async with offices(folder, suspended_list, subscribers, waits) as net, open_site(net.site.files) as site:
        yield Leases(site, net.routers)
        await check_log(site)


@pytest.mark.assumed("routeros-lease-applies")
async def test_suspend_keeps_in_and_revert_lets_out(tmp_path: Path) -> None:
    async with leases(tmp_path) as net:
        before = net.lease(WHO)
        asked = await net.site.ask("suspend", ref(WHO))
        assert (net.lease(WHO), net.gets_out(WHO)) == (before, True)

        done = await net.site.apply(asked)
        assert (state_of(done), done["state"], done["exit"]) == (("applied", "seen"), "done", 0)
        assert (net.gets_out(WHO), net.gets_out(OTHER)) == (False, True)
        assert net.lease(WHO) == before | {"address-lists": "shops,suspended", "comment": "house 0 isp:suspended"}
        assert net.client(WHO).online

        back = await net.site.do("revert", change=done["id"])
        assert (state_of(back), back["state"]) == (("applied", "seen"), "done")
        assert (net.lease(WHO), net.gets_out(WHO)) == (before, True)


@pytest.mark.assumed("routeros-lease-applies")
async def test_what_holds_only_at_renewal_is_not_said_to_hold_before(tmp_path: Path) -> None:
    async with leases(tmp_path, waits=HURRIED) as net:
        done = await net.site.do("suspend", ref(LATER))
        assert state_of(done) == ("set-not-enforced", "not-in-effect")
        assert "is not in list suspended yet: its lease runs out in 9m" in done["items"][0]["detail"]
        assert net.gets_out(LATER)

        net.renews(LATER)
        again = await net.site.ask("restore", ref(LATER))
        assert not net.router(LATER).gets_out(mac(LATER)).out
        done = await net.site.apply(again)
        # It has paid, and is in the garden until it renews: that is said
        assert state_of(done) == ("set-not-enforced", "garden")
        net.renews(LATER)
        assert net.gets_out(LATER)


@pytest.mark.assumed("routeros-lease-applies")
async def test_a_renewal_in_time_is_waited_for(tmp_path: Path) -> None:
    """Also where no connection was open, so that nothing was there to be cut."""
    async with leases(tmp_path) as net:
        router = net.router(LATER)
        router.flows.close(net.client(LATER).flows[0])
        asked = await net.site.ask("suspend", ref(LATER))
        router.faults.inject("drift", match="/ip/firewall/address-list/print", drift=lambda _: net.renews(LATER))
        done = await net.site.apply(asked)
        assert (state_of(done), net.gets_out(LATER)) == (("applied", "seen"), False)


@pytest.mark.assumed("routeros-connections-outlive-sessions", "routeros-lease-applies")
async def test_a_retry_cuts_what_came_between_the_cut_and_the_renewal(tmp_path: Path) -> None:
    async with leases(tmp_path, waits=HURRIED) as net:
        router, client = net.router(LATER), net.client(LATER)
        done = await net.site.do("suspend", ref(LATER))
        line = router.dhcp.line(client.mac)
        assert line is not None
        router.flows.go_on(client.flows, line, client.address)  # FastTrack carries it, past the list
        net.renews(LATER)
        verdict = router.gets_out(client.mac)
        assert (verdict.out, verdict.lingers) == (False, True)
        assert state_of(await net.site.show(done))[0] == "set-not-enforced"

        await net.site.call("POST", f"/v1/changes/{done['id']}/retry", {})
        assert state_of(await net.site.wait_end(done)) == ("applied", "seen")
        assert not net.gets_out(LATER)


async def test_a_change_of_tariff_is_what_the_client_gets(tmp_path: Path) -> None:
    async with leases(tmp_path, waits=HURRIED) as net:
        for who in (WHO, LATER):
            net.router(who).flows.close(net.client(who).flows[0])  # FastTrack would take it by the queue
        done = await net.site.do("set-plan", ref(WHO), tariff="Home 50M")
        assert (state_of(done), done["state"]) == (("applied", "seen"), "done")
        assert net.router(WHO).speed_of(mac(WHO)) == (50_000_000, 50_000_000)
        done = await net.site.do("set-plan", ref(LATER), tariff="Home 50M")
        assert state_of(done) == ("set-not-enforced", "not-in-effect")
        assert net.router(LATER).speed_of(mac(LATER)) == (20_000_000, 20_000_000)


async def test_a_batch_over_both_routers(tmp_path: Path) -> None:
    async with leases(tmp_path, subscribers=3, waits=HURRIED) as net:
        everybody = [f"user{n}@{name}" for name in ROUTERS for n in range(3)]
        done = await net.site.apply(await net.site.ask("suspend", *map(ref, everybody), on_failure="continue"))
        states = item_states(done)
        for who in everybody:
            held = who.endswith("edge-1")
            assert states[ref(who)] == (("applied", "seen") if held else ("set-not-enforced", "not-in-effect"))
            assert net.gets_out(who) is not held


async def test_blocking_holds_when_the_lease_runs_out(tmp_path: Path) -> None:
    async with leases(tmp_path, "", waits=HURRIED) as net:
        before = net.lease(WHO)
        done = await net.site.do("suspend", ref(WHO))
        assert state_of(done)[0] == "set-not-enforced"
        assert "keeps 10.1.0.50 meanwhile" in done["items"][0]["detail"]
        assert net.gets_out(WHO)
        assert net.lease(WHO)["block-access"] == "true"

        back = await net.site.do("revert", change=done["id"])
        assert (state_of(back), net.lease(WHO)) == (("applied", "seen"), before)

        router, client = net.router(WHO), net.client(WHO)
        router.dhcp.unplug(client)
        run_out(router, client)
        done = await net.site.do("suspend", ref(WHO))
        assert state_of(done) == ("applied", "inferred")
        router.dhcp.plug_in(client)
        assert (client.refused, net.gets_out(WHO)) == ("the lease is blocked", False)


async def test_subscriber_without_address_is_suspended_with_next_one(tmp_path: Path) -> None:
    async with leases(tmp_path, waits=HURRIED) as net:
        router, client = net.router(WHO), net.client(WHO)
        router.dhcp.unplug(client)
        run_out(router, client)
        done = await net.site.do("suspend", ref(WHO))
        assert state_of(done) == ("set-at-next-login", "offline")
        router.dhcp.plug_in(client)
        await until(lambda: net.client(WHO).online)
        assert not net.gets_out(WHO)


@pytest.mark.slow
async def test_a_lease_that_is_not_bound_has_nothing_to_end(tmp_path: Path) -> None:
    async with leases(tmp_path) as net:
        router, client = net.router(WHO), net.client(WHO)
        router.dhcp.unplug(client)
        run_out(router, client)
        with pytest.raises(ApiRefusedError, match="there is nothing to end: it is not online"):
            await net.site.ask("disconnect", ref(WHO))


@pytest.mark.assumed("routeros-lease-applies")
@pytest.mark.slow
async def test_drift_advises_no_disconnect_where_a_client_must_renew(tmp_path: Path) -> None:
    """Its connections may be cut again and again, and its lease gives what it gave."""
    async with leases(tmp_path) as net:
        await net.site.do("suspend", ref(LATER))
        (one,) = (await one_round(net.site))["differences"]
        assert (one["subject"], one["code"], one["asks"]) == (ref(LATER), DriftReason.SESSION_AT_LARGE, [])
        assert "nobody can end it: its lease runs out in 9m" in one["known"]
        net.renews(LATER)
        assert by_subject(await one_round(net.site)) == {}


async def test_a_list_without_a_rule_suspends_nobody(tmp_path: Path) -> None:
    async with leases(tmp_path) as net:
        router, before = net.router(WHO), net.lease(WHO)
        drop = next(r for r in router.rows("/ip/firewall/filter") if r["action"] == "drop")
        router.remove("/ip/firewall/filter", drop[".id"])
        with pytest.raises(ApiRefusedError, match=r"would change|no rule"):
            await net.site.ask("suspend", ref(WHO))
        assert (net.gets_out(WHO), net.lease(WHO)) == (True, before)


async def test_another_administrator_was_faster(tmp_path: Path) -> None:
    async with leases(tmp_path) as net:
        asked = await net.site.ask("suspend", ref(WHO))
        (row,) = [r for r in net.router(WHO).rows(LEASES) if r["mac-address"] == mac(WHO)]
        net.router(WHO).set(LEASES, row[".id"], rate_limit="1M/1M")
        done = await net.site.apply(asked)
        assert (state_of(done)[0], net.lease(WHO)["rate-limit"], net.gets_out(WHO)) == ("stale", "1M/1M", True)


COMMANDS = [f"{LEASES}/set", "/ip/firewall/connection/remove"]


@pytest.mark.parametrize("fault", ["reply-lost", "command-lost", "cut-before", "cut-after"])
@pytest.mark.parametrize("command", COMMANDS)
async def test_what_is_lost_on_the_way_is_read_back(tmp_path: Path, fault: str, command: str) -> None:
    async with leases(tmp_path, waits=waits_of(fault)) as net:
        net.router(WHO).faults.inject(fault, match=command)
        done = await net.site.do("suspend", ref(WHO))
        assert net.router(WHO).faults.met
        assert (state_of(done), done["state"]) == (("applied", "seen"), "done")
        assert (net.gets_out(WHO), net.gets_out(OTHER)) == (False, True)


@pytest.mark.parametrize("command", [COMMANDS[0], *(pytest.param(c, marks=pytest.mark.slow) for c in COMMANDS[1:])])
async def test_the_agent_is_killed_with_a_command_on_its_way(tmp_path: Path, command: str) -> None:
    """It took effect and nobody was told: the next life reads it back, and does nothing twice."""
    async with offices(tmp_path, "suspended", 2) as net:
        done = await killed_with_a_command(net.site.files, net.router(WHO), command, WHO)
        assert (state_of(done), done["state"]) == (("applied", "seen"), "done")
        told = [(s["step"], s["attempt"], s["verdict"]) for s in done["steps"]]
        assert told == [(1, 1, "applied"), (2, 1, "applied")]
        assert (net.gets_out(WHO), net.gets_out(OTHER)) == (False, True)


@pytest.mark.assumed("routeros-lease-last-seen")
async def test_a_client_of_a_lease_made_again_is_not_offline(tmp_path: Path) -> None:
    async with leases(tmp_path, waits=HURRIED) as net:
        router = net.router(WHO)
        table = router.store.table(LEASES)
        row = next(row for row in table if row.props["mac-address"] == net.client(WHO).mac)
        again = {name.replace("-", "_"): text for name, text in row.props.items()}
        router.store.remove(LEASES, row)
        router.add(LEASES, **again)
        assert net.gets_out(WHO)
        done = await net.site.do("suspend", ref(WHO))
        assert state_of(done) == ("set-not-enforced", "not-proven")
        assert "edge-1 has not seen its client since the lease was made" in done["items"][0]["detail"]
        router.dhcp.ask(net.client(WHO))  # it renews
        assert not net.gets_out(WHO)
        done = await net.site.wait_for(done, lambda change: change["items"][0]["state"] == "applied")
        assert state_of(done) == ("applied", "seen")
