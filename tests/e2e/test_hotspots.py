"""Changes of hotspot users on two routers: by a suspended profile, and by disabling them where there is none."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab.router.device import Router
from lab.router.hotspot import HotspotClient
from tests.e2e.files import HURRIED, PATIENT, Waits, waits_of
from tests.e2e.router_site import isp_router, killed_with_a_command, served
from tests.e2e.site import ApiRefusedError, Office, check_log, item_states, open_site, state_of
from tests.e2e.test_routers import ROUTERS, ref, until

USERS, COOKIES, ACTIVE = "/ip/hotspot/user", "/ip/hotspot/cookie", "/ip/hotspot/active"
WORD = "of-the-subscriber"
LOGIN, OTHER, ELSEWHERE = "user0@edge-1", "user1@edge-1", "user0@edge-2"


@dataclass
class Hotspots:
    """Two routers with a hotspot each, and an agent in front of them. Logins are `NAME@ROUTER`."""

    site: Office
    routers: dict[str, Router]

    def router(self, login: str) -> Router:
        return self.routers[login.partition("@")[2]]

    def host(self, login: str) -> HotspotClient:
        (found,) = [c for c in self.router(login).hotspot.clients.values() if c.user == login]
        return found

    def gets_out(self, login: str) -> bool:
        verdict = self.router(login).gets_out(login)
        return verdict.out or verdict.lingers

    def user(self, login: str) -> dict[str, str]:
        (found,) = [r for r in self.router(login).rows(USERS) if r["name"] == login]
        return {k: v for k, v in found.items() if k not in ("uptime", "bytes-in", "bytes-out")}

    def cookies(self, login: str) -> int:
        return sum(1 for r in self.router(login).rows(COOKIES) if r["user"] == login)

    def age(self, *logins: str) -> None:
        """Let sessions be a minute old: one is known by its user, its address and when it began, to some seconds."""
        for login in logins:
            session = self.host(login).session
            assert session is not None
            session.started -= 60


def make_router(name: str, logins: list[str], version: str) -> Router:
    router = isp_router(name, version)
    router.add("/ip/pool", name="hs", ranges="10.5.50.2-10.5.50.250")
    router.add("/ip/hotspot/profile", name="hsprof1", login_by="cookie,http-chap")
    router.add("/ip/hotspot", name="hs1", interface="ether4", address_pool="hs", profile="hsprof1", disabled="no")
    router.add(f"{USERS}/profile", name="home20", rate_limit="20M/20M")
    router.add(f"{USERS}/profile", name="home50", rate_limit="50M/50M")
    router.add(f"{USERS}/profile", name="suspended", address_list="suspended")
    for login in logins:
        router.add(USERS, name=login, password=WORD, profile="home20", comment=f"house of {login}")
        router.plug_in_hotspot(user=login, password=WORD, redial_s=0.05)
    return router


def methods(profile: str, waits: Waits) -> str:
    return "".join(
        f'[hotspot.{name}]\ntarget = "routeros/{name}"\nsuspended_profile = "{profile}"\n'
        f"disconnect_within_s = {waits.gone_s}\nredial_within_s = {waits.back_s}\n"
        f'[hotspot.{name}.tariffs]\n"Home 20M" = "home20"\n"Home 50M" = "home50"\n'
        for name in ROUTERS
    )


@asynccontextmanager
async def offices(folder: Path, profile: str, subscribers: int, waits: Waits = PATIENT) -> AsyncIterator[Hotspots]:
    """Two routers, everybody online, and the files of an agent for them; nothing of it runs yet."""
    versions = zip(ROUTERS, ("7.20.8", "7.15.3"), strict=True)
    logins = {name: [f"user{n}@{name}" for n in range(subscribers)] for name in ROUTERS}
    routers = {name: make_router(name, logins[name], version) for name, version in versions}
    everybody = [login for name in ROUTERS for login in logins[name]]
    async with served(
        folder, routers, methods(profile, waits), dict(zip(everybody, everybody, strict=True)), waits
    ) as files:
        net = Hotspots(Office(files), routers)
        net.age(*everybody)
        yield net


@asynccontextmanager
async def hotspots(folder: Path, profile: str, subscribers: int = 2, waits: Waits = PATIENT) -> AsyncIterator[Hotspots]:
    async with offices(folder, profile, subscribers, waits) as net, open_site(net.site.files) as site:
        yield Hotspots(site, net.routers)
        await check_log(site)


COMMANDS = [f"{USERS}/set", f"{COOKIES}/remove", f"{ACTIVE}/remove", "/ip/firewall/connection/remove"]
BOTH_WAYS = pytest.mark.parametrize("profile", ["suspended", ""], ids=["profile", "disabled"])


@pytest.mark.assumed("routeros-hotspot-gate-above")
@BOTH_WAYS
async def test_suspend_keeps_in_and_revert_lets_out(tmp_path: Path, profile: str) -> None:
    async with hotspots(tmp_path, profile) as net:
        before = net.user(LOGIN)
        asked = await net.site.ask("suspend", ref(LOGIN))
        assert (net.user(LOGIN), net.cookies(LOGIN), net.gets_out(LOGIN)) == (before, 1, True)

        done = await net.site.apply(asked)
        assert (state_of(done), done["state"], done["exit"]) == (("applied", "seen"), "done", 0)
        assert not net.gets_out(LOGIN)
        assert net.gets_out(OTHER)
        assert net.user(LOGIN)["comment"] == f"house of {LOGIN} isp:suspended"
        if profile:
            net.age(LOGIN)  # it logged in again, to the garden
        else:
            assert (net.cookies(LOGIN), net.host(LOGIN).refused) == (0, "the user is disabled")

        back = await net.site.do("revert", change=done["id"])
        assert state_of(back)[0] == ("applied" if profile else "set-at-next-login")
        assert net.user(LOGIN) == before
        await until(lambda: net.gets_out(LOGIN))


@BOTH_WAYS
async def test_a_batch_over_both_routers(tmp_path: Path, profile: str) -> None:
    async with hotspots(tmp_path, profile, subscribers=4) as net:
        logins = [f"user{n}@{name}" for name in ROUTERS for n in range(4)]
        done = await net.site.apply(await net.site.ask("suspend", *map(ref, logins)))
        assert done["state"] == "done"
        assert set(item_states(done).values()) == {("applied", "seen")}
        assert not any(map(net.gets_out, logins))


async def test_a_change_of_tariff_is_what_the_session_gets(tmp_path: Path) -> None:
    async with hotspots(tmp_path, "suspended") as net:
        done = await net.site.do("set-plan", ref(ELSEWHERE), tariff="Home 50M")
        assert (state_of(done)[0], done["state"]) == ("applied", "done")
        (queue,) = [q for q in net.router(ELSEWHERE).rows("/queue/simple") if ELSEWHERE in q["name"]]
        assert queue["max-limit"] == "50000000/50000000"
        assert net.gets_out(ELSEWHERE)


@BOTH_WAYS
async def test_a_bypassed_client_is_refused_a_later_binding_is_seen(tmp_path: Path, profile: str) -> None:
    """E18."""
    async with hotspots(tmp_path, profile, waits=HURRIED) as net:
        router, mac = net.router(LOGIN), net.host(LOGIN).mac
        asked = await net.site.ask("suspend", ref(LOGIN))
        router.add("/ip/hotspot/ip-binding", mac_address=mac, type="bypassed")
        done = await net.site.apply(asked)
        assert state_of(done)[0] == "set-not-enforced"
        assert f"an ip-binding lets {mac} by" in done["items"][0]["detail"]
        assert net.gets_out(LOGIN)
        router.add("/ip/hotspot/ip-binding", mac_address=net.host(OTHER).mac, type="bypassed")
        with pytest.raises(ApiRefusedError, match=r"would change|ip-binding"):
            await net.site.ask("suspend", ref(OTHER))


async def test_who_came_after_preview_is_ended_and_not_said_to_be_out(tmp_path: Path) -> None:
    """E18: Its cookie and session go; which connections are its own was not known when the change was approved."""
    async with hotspots(tmp_path, "", waits=HURRIED) as net:
        router = net.router(LOGIN)
        host = net.host(LOGIN)
        router.hotspot.unplug(host)
        for row in router.rows(COOKIES):
            router.remove(COOKIES, row[".id"])
        asked = await net.site.ask("suspend", ref(LOGIN))
        router.hotspot.plug_in(host)
        assert net.cookies(LOGIN) == 1
        net.age(LOGIN)
        done = await net.site.apply(asked)
        assert (net.cookies(LOGIN), net.host(LOGIN).online) == (0, False)
        verdict = net.router(LOGIN).gets_out(LOGIN)
        assert (verdict.out, verdict.lingers) == (False, True)
        assert state_of(done) == ("set-not-enforced", "not-in-effect")


@pytest.mark.assumed("routeros-hotspot-gate-above")
async def test_a_hotspot_that_is_off_lets_everybody_by(tmp_path: Path) -> None:
    async with hotspots(tmp_path, "", waits=HURRIED) as net:
        router = net.router(LOGIN)
        asked = await net.site.ask("suspend", ref(LOGIN))
        (server,) = router.rows("/ip/hotspot")
        router.set("/ip/hotspot", server[".id"], disabled="yes")
        done = await net.site.apply(asked)
        assert (net.gets_out(LOGIN), state_of(done)) == (True, ("set-not-enforced", "not-in-effect"))
        with pytest.raises(ApiRefusedError, match=r"would change|no hotspot"):
            await net.site.ask("suspend", ref(OTHER))


@pytest.mark.assumed("routeros-connections-outlive-sessions")
@BOTH_WAYS
async def test_more_connections_than_are_cut_are_not_said_to_be_gone(tmp_path: Path, profile: str) -> None:
    async with hotspots(tmp_path, profile, waits=HURRIED) as net:
        router, address = net.router(LOGIN), net.host(LOGIN).address
        for n in range(1001):
            ends = {"src-address": f"{address}:{10_000 + n}", "dst-address": "203.0.113.80:443"}
            row = router.store.insert("/ip/firewall/connection", {"protocol": "tcp", **ends}, dynamic=True)
            row.state["fasttrack"] = "true"
        done = await net.site.do("suspend", ref(LOGIN))
        assert router.gets_out(LOGIN).lingers
        assert (state_of(done)[0], done["state"]) == ("set-not-enforced", "finished, needs you")


@pytest.mark.parametrize("fault", ["reply-lost", "command-lost", "cut-before", "cut-after"])
@pytest.mark.parametrize("command", COMMANDS)
async def test_what_is_lost_on_the_way_is_read_back(tmp_path: Path, fault: str, command: str) -> None:
    async with hotspots(tmp_path, "", waits=waits_of(fault)) as net:
        net.router(LOGIN).faults.inject(fault, match=command)
        done = await net.site.do("suspend", ref(LOGIN))
        assert net.router(LOGIN).faults.met
        assert (state_of(done), done["state"]) == (("applied", "seen"), "done")
        assert (net.user(LOGIN)["disabled"], net.cookies(LOGIN), net.gets_out(LOGIN)) == ("true", 0, False)
        assert net.gets_out(OTHER)


@pytest.mark.parametrize("command", [COMMANDS[0], *(pytest.param(c, marks=pytest.mark.slow) for c in COMMANDS[1:])])
async def test_the_agent_is_killed_with_a_command_on_its_way(tmp_path: Path, command: str) -> None:
    """It took effect and nobody was told: the next life reads it back, and does nothing twice."""
    async with offices(tmp_path, "", 2) as net:
        done = await killed_with_a_command(net.site.files, net.router(LOGIN), command, LOGIN)
        assert (state_of(done), done["state"]) == (("applied", "seen"), "done")
        told = [(s["step"], s["attempt"], s["verdict"]) for s in done["steps"]]
        assert told == [(n, 1, "applied") for n in (1, 2, 3, 4)]
        assert not net.gets_out(LOGIN)
        assert net.gets_out(OTHER)
