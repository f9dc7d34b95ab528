"""Changes on two routers without RADIUS: a suspension is a profile, and the packet view says who gets out."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.files import HURRIED
from tests.e2e.router_site import ELSEWHERE, LOGIN, OTHER, Ppp, ref, running, until
from tests.e2e.site import ApiRefusedError, state_of


async def test_a_disconnect_changes_nothing_else(tmp_path: Path) -> None:
    async with running(tmp_path, Ppp) as net:
        (old,) = net.sessions(LOGIN)
        done = await net.site.do("disconnect", ref(LOGIN))
        assert done["state"] == "done"
        assert old not in net.sessions(LOGIN)
        assert net.row(LOGIN)["profile"] == "home20"
        await until(lambda: net.gets_out(LOGIN))  # it dials again


async def test_P15_another_router_answers(tmp_path: Path) -> None:
    async with running(tmp_path, Ppp) as net:
        net.router(LOGIN).serial = "ANOTHER"
        with pytest.raises(ApiRefusedError, match="another router answers"):
            await net.site.ask("suspend", ref(LOGIN))
        asked = await net.site.ask("suspend", ref(ELSEWHERE))  # the other one is as before
        assert asked["state"] == "waiting for approval"


async def test_a_garden_that_holds_the_internet_is_none(tmp_path: Path) -> None:
    """E4: An accept towards a list is the way to a pay page only as long as somebody looks at what is in the list."""
    async with running(tmp_path, Ppp) as net:
        router = net.router(LOGIN)
        router.add("/ip/firewall/address-list", list="pay-page", address="0.0.0.0/1")
        router.add("/ip/firewall/address-list", list="pay-page", address="128.0.0.0/1")
        with pytest.raises(ApiRefusedError, match="may let it out before it is dropped"):
            await net.site.ask("suspend", ref(LOGIN))


@pytest.mark.assumed("routeros-connections-outlive-sessions")
async def test_no_fasttracked_connection_outlives_its_session(tmp_path: Path) -> None:
    async with running(tmp_path, Ppp) as net:
        router, own = net.router(LOGIN), "100.64.3.251"
        router.set("/ppp/secret", LOGIN, remote_address=own)
        ends = {"src_address": f"{own}:50001", "dst_address": "203.0.113.80:443"}
        router.add("/ip/firewall/connection", protocol="tcp", fasttrack="true", **ends)
        done = await net.site.do("suspend", ref(LOGIN))
        assert (state_of(done), done["state"]) == (("applied", "seen"), "done")
        assert [s["step"] for s in done["steps"]] == [1, 2, 3]
        assert own not in str(router.rows("/ip/firewall/connection"))
        assert net.kept_in(LOGIN)
        back = await net.site.do("revert", change=done["id"])
        assert state_of(back)[0] == "applied"
        assert net.gets_out(LOGIN)


@pytest.mark.assumed("routeros-connections-outlive-sessions", "routeros-pool-same-address")
async def test_a_pool_that_repeats_an_address_saves_no_connection(tmp_path: Path) -> None:
    """FastTrack took it before the suspension, so no rule sees it: it is cut, and read back gone."""
    async with running(tmp_path, Ppp) as net:
        router = net.router(LOGIN)

        def flows() -> set[str]:
            rows = router.rows("/ip/firewall/connection")
            return {r["src-address"] for r in rows if r["src-address"].startswith("100.64.")}

        known = flows()
        before = [r["address"] for r in router.rows("/ppp/active") if r["name"] == LOGIN]
        assert router.gets_out(LOGIN).fasttracked
        done = await net.site.do("suspend", ref(LOGIN))
        assert (state_of(done), done["state"]) == (("applied", "seen"), "done")
        assert [r["address"] for r in router.rows("/ppp/active") if r["name"] == LOGIN] == before
        assert not router.gets_out(LOGIN).lingers
        assert flows() == known - {f"{before[0]}:50000"}  # nobody else's
        assert router.gets_out(OTHER).lingers


@pytest.mark.assumed("routeros-connections-outlive-sessions")
async def test_what_former_owner_left_at_new_address_is_cut_as_well(tmp_path: Path) -> None:
    """The address is known only once the new session is there: what is open from it then, FastTrack carries."""
    async with running(tmp_path, Ppp) as net:
        router, new = net.router(LOGIN), "10.255.0.9"
        (old,) = [r["address"] for r in router.rows("/ppp/active") if r["name"] == LOGIN]
        router.add("/ip/pool", name="walled", ranges=new)
        router.set("/ppp/profile", "suspended", remote_address="walled")
        ends = {"protocol": "tcp", "dst_address": "203.0.113.80:443", "fasttrack": "true"}
        router.add("/ip/firewall/connection", src_address=f"{new}:50001", **ends)
        router.set("/ppp/secret", OTHER, remote_address=old)  # somebody else has the old one by then
        done = await net.site.do("suspend", ref(LOGIN))
        assert (state_of(done), done["state"]) == (("applied", "seen"), "done")
        sources = [f["src-address"].partition(":")[0] for f in router.rows("/ip/firewall/connection")]
        assert (new in sources, old in sources) == (False, True)


@pytest.mark.assumed("routeros-connections-outlive-sessions")
async def test_connections_that_cannot_be_cut_are_counted(tmp_path: Path) -> None:
    async with running(tmp_path, Ppp, waits=HURRIED) as net:
        router = net.router(LOGIN)
        router.faults.inject("trap:failure: busy", match="/ip/firewall/connection/remove", times=1000)
        done = await net.site.do("suspend", ref(LOGIN))
        assert router.gets_out(LOGIN).lingers
        assert state_of(done)[0] == "set-not-enforced"
        (item,) = done["items"]
        assert "1 connection of 100.64." in item["detail"]
        assert "carries on as before" in item["detail"]


async def test_an_accept_of_established_above_the_drop_saves_none(tmp_path: Path) -> None:
    """MikroTik's default configuration with the drop appended: refused before, since what was open carried on."""
    async with running(tmp_path, Ppp) as net:
        router, menu = net.router(LOGIN), "/ip/firewall/filter"
        for row in router.rows(menu):
            router.remove(menu, row[".id"])
        router.add(menu, chain="forward", action="accept", connection_state="established,related")
        router.add(menu, chain="forward", action="drop", src_address_list="suspended")
        for row in router.rows("/ip/firewall/connection"):  # none that FastTrack took
            router.store.table("/ip/firewall/connection").get(row[".id"]).state["fasttrack"] = "false"
        assert router.gets_out(LOGIN).lingers
        done = await net.site.do("suspend", ref(LOGIN))
        assert (state_of(done), done["state"]) == (("applied", "seen"), "done")
        verdict = router.gets_out(LOGIN)
        assert (verdict.out, verdict.lingers) == (False, False)
        assert router.gets_out(OTHER).lingers
