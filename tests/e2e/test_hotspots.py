"""Changes of hotspot users on two routers: by a suspended profile, and by disabling them where there is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.files import HURRIED
from tests.e2e.router_site import COOKIES, LOGIN, OTHER, WORD, DisabledHotspots, Hotspots, ref, running
from tests.e2e.site import ApiRefusedError, state_of

BOTH_WAYS = pytest.mark.parametrize("kind", [Hotspots, DisabledHotspots])


@BOTH_WAYS
async def test_a_bypassed_client_is_refused_a_later_binding_is_seen(tmp_path: Path, kind: type[Hotspots]) -> None:
    """E18."""
    async with running(tmp_path, kind, waits=HURRIED) as net:
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
    """E18: Its cookie and session go; nobody approved to cut its connections."""
    async with running(tmp_path, DisabledHotspots, waits=HURRIED) as net:
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
        assert state_of(done) == ("set-not-enforced", "still-online")


@pytest.mark.assumed("routeros-connections-outlive-sessions")
@pytest.mark.parametrize("then", ["set-plan", "restore, suspend", "suspend"])
async def test_who_came_after_preview_is_known_to_the_next_change(tmp_path: Path, then: str) -> None:
    """The simulation's seed 28005014: a new tariff of such a user was called applied, and suspended."""
    async with running(tmp_path, DisabledHotspots, waits=HURRIED) as net:
        router, host = net.router(LOGIN), net.host(LOGIN)
        router.hotspot.unplug(host)
        for row in router.rows(COOKIES):
            router.remove(COOKIES, row[".id"])
        asked = await net.site.ask("suspend", ref(LOGIN))
        router.hotspot.plug_in(host)
        net.age(LOGIN)
        assert state_of(await net.site.apply(asked)) == ("set-not-enforced", "still-online")
        host.password = "forgotten"
        if then == "restore, suspend":
            assert state_of(await net.site.do("restore", ref(LOGIN))) == ("set-at-next-login", "offline")
        assert router.gets_out(LOGIN).lingers
        done = await net.site.do(then.split()[-1], ref(LOGIN), tariff="Home 50M" if then == "set-plan" else "")
        assert (router.gets_out(LOGIN).lingers, state_of(done)) == (False, ("applied", "seen"))


@pytest.mark.assumed("routeros-hotspot-gate-above")
async def test_a_hotspot_that_is_off_lets_everybody_by(tmp_path: Path) -> None:
    async with running(tmp_path, DisabledHotspots, waits=HURRIED) as net:
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
async def test_more_connections_than_are_cut_are_not_said_to_be_gone(tmp_path: Path, kind: type[Hotspots]) -> None:
    async with running(tmp_path, kind, waits=HURRIED) as net:
        router, address = net.router(LOGIN), net.host(LOGIN).address
        for n in range(1001):
            ends = {"src-address": f"{address}:{10_000 + n}", "dst-address": "203.0.113.80:443"}
            row = router.store.insert("/ip/firewall/connection", {"protocol": "tcp", **ends}, dynamic=True)
            row.state["fasttrack"] = "true"
        done = await net.site.do("suspend", ref(LOGIN))
        assert router.gets_out(LOGIN).lingers
        assert (state_of(done)[0], done["state"]) == ("set-not-enforced", "finished, needs you")
        # Its settings read as suspended and its session is over, but it is not "already" suspended
        for row in list(router.store.table("/ip/firewall/connection"))[500:]:
            router.store.remove("/ip/firewall/connection", row)
        again = await net.site.do("suspend", ref(LOGIN))
        assert f"change {done['id']} is set-not-enforced for it" in again["documents"][1]
        assert (router.gets_out(LOGIN).lingers, state_of(again)[0]) == (False, "applied")


CUT = "/ip/firewall/connection/remove"


@pytest.mark.assumed("routeros-connections-outlive-sessions")
@pytest.mark.parametrize("kind", [pytest.param(Hotspots, marks=pytest.mark.slow), DisabledHotspots])
async def test_a_restore_forgets_no_client_of_unproven_suspensions(tmp_path: Path, kind: type[Hotspots]) -> None:
    """The simulation's seed 1453: the next suspension met nobody online, and said so of a client that got out."""
    async with running(tmp_path, kind, waits=HURRIED) as net:
        router = net.router(LOGIN)
        net.host(LOGIN).password = "forgotten"
        router.faults.inject("no-effect", match=CUT, times=1000)
        for _ in range(2):
            done = await net.site.do("suspend", ref(LOGIN))
            assert (router.gets_out(LOGIN).lingers, state_of(done)[0]) == (True, "set-not-enforced")
            assert state_of(await net.site.do("restore", ref(LOGIN))) == ("set-at-next-login", "offline")
        router.faults.clear()
        again = await net.site.do("suspend", ref(LOGIN))
        assert not router.gets_out(LOGIN).lingers
        assert state_of(again)[0] == ("applied" if kind is DisabledHotspots else "set-at-next-login")


@pytest.mark.assumed("routeros-connections-outlive-sessions")
@BOTH_WAYS
async def test_a_client_that_has_another_login_is_left_alone(tmp_path: Path, kind: type[Hotspots]) -> None:
    async with running(tmp_path, kind, waits=HURRIED) as net:
        router, client = net.router(LOGIN), net.host(LOGIN)
        client.password = "forgotten"
        router.faults.inject("no-effect", match=CUT, times=1000)
        assert state_of(await net.site.do("suspend", ref(LOGIN)))[0] == "set-not-enforced"
        router.faults.clear()
        await net.site.do("restore", ref(LOGIN))
        router.hotspot.unplug(net.host(OTHER))
        client.user, client.password = OTHER, WORD
        router.hotspot.log_in(client)
        assert router.gets_out(client.mac).out
        again = await net.site.do("suspend", ref(LOGIN))
        assert router.gets_out(client.mac).lingers, "the connections are the other subscriber's"
        assert state_of(again)[0] == ("applied" if kind is DisabledHotspots else "set-at-next-login")
