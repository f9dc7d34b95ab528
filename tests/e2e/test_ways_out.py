"""Ways out beside the rules, with the agent at work: what a preview says, what waits, and what drift finds later."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from agent.changes.engine import item
from agent.connectors.routeros import line
from agent.model import Listed
from agent.reasons import DriftReason
from lab.router.device import Router
from lab.tests.router.routers import logged_in
from tests.e2e.files import ordinary, ref_of
from tests.e2e.routed_site import ROUTERS as ISP
from tests.e2e.routed_site import RULES, router_of
from tests.e2e.router_site import (
    ELSEWHERE,
    FILTER,
    LOGIN,
    OTHER,
    ROUTERS,
    Hotspots,
    Leases,
    Network,
    Ppp,
    Static,
    ref,
    running,
    typed,
    v4,
)
from tests.e2e.site import ApiRefusedError, Json, at_work, by_subject, items_of, one_round, state_of


async def test_a_rule_removed_or_overtaken_later_is_listed_by_drift(tmp_path: Path) -> None:
    """E13, and A4 of the issue: what was enforced is judged again by the rules of today."""
    async with running(tmp_path, Ppp) as net:
        router = net.router(LOGIN)
        for login in (LOGIN, OTHER):
            assert state_of(await net.site.do("suspend", ref(login))) == ("applied", "seen")
        assert by_subject(await one_round(net.site)) == {}

        (drop,) = [row for row in router.rows(FILTER) if row["action"] == "drop"]
        above = router.add(FILTER, chain="forward", action="accept", place_before=router.rows(FILTER)[0][".id"])
        assert net.gets_out(LOGIN)
        found = await one_round(net.site)
        assert by_subject(found) == dict.fromkeys(map(ref, (LOGIN, OTHER)), DriftReason.SUSPENSION_NOT_HELD)
        assert all("may let it out before it is dropped" in one["reads"] for one in found["differences"])
        router.remove(FILTER, above)
        assert by_subject(await one_round(net.site)) == {}

        router.remove(FILTER, drop[".id"])
        assert net.gets_out(LOGIN)
        assert set(by_subject(await one_round(net.site)).values()) == {DriftReason.SUSPENSION_NOT_HELD}
        shown = await typed(net, "drift")
        assert ref(LOGIN) in shown.out
        assert "suspension-not-held" in shown.out


@pytest.mark.assumed("routeros-safe-mode-print")
@pytest.mark.slow
async def test_e12_a_change_waits_for_a_colleagues_safe_mode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Written meanwhile, it would be undone when he leaves."""
    monkeypatch.setattr(item, "SPARE_S", 0.1)
    monkeypatch.setattr(line, "SPARED_S", 0.0)
    async with running(tmp_path, Ppp) as net:
        router = net.router(LOGIN)
        joe = logged_in(router)
        joe.ask("/safe-mode/take")
        asked = await net.site.ask("suspend", ref(LOGIN))
        shown = await typed(net, "change", "show", asked["id"])
        assert "open: a safe mode is open" in " ".join(shown.out.split())
        await net.site.approve(asked, "joseph")
        seen: list[object] = []
        router.faults.inject("drift", match="/safe-mode/print", times=4, drift=seen.append)
        with trio.fail_after(60):
            while len(seen) < 4:  # noqa: ASYNC110  the lab's router tells nobody
                await trio.sleep(0.02)
        assert net.row(LOGIN)["profile"] == "home20"
        joe.session.close()  # undone, and with it nothing of ours
        assert state_of(await net.site.wait_end(asked)) == ("applied", "seen")
        assert not net.gets_out(LOGIN)


@pytest.mark.slow
async def test_a_batch_names_them_once_and_reads_each_menu_once(tmp_path: Path) -> None:
    """E9 and E11."""
    async with running(tmp_path, Ppp, subscribers=8) as net:
        asked_for: list[object] = []
        for router in net.routers.values():
            router.set("/ip/socks", enabled="yes")
            router.faults.inject("drift", match="/ip/socks/print", times=99, drift=asked_for.append)
        asked = await net.site.ask("suspend", *(ref(f"user{n}@{name}") for name in ROUTERS for n in range(8)))
        assert len(asked_for) == len(ROUTERS)
        shown = " ".join((await typed(net, "change", "show", asked["id"])).out.split())
        assert "8: not checked: the router's own SOCKS server (chain input is not judged)" in shown
        assert "not checked: other routers that serve this login (only edge-1 is looked at)" in shown


@pytest.mark.assumed("routeros-offload-shown")
@pytest.mark.slow
async def test_e3_offload_refuses_a_suspension_also_if_it_comes_late(tmp_path: Path) -> None:
    async with running(tmp_path, Static) as net:
        router = net.routers["edge-1"]
        assert state_of(await net.site.do("suspend", ref(LOGIN)))[0] == "applied"
        assert net.kept_in(LOGIN)
        router.add("/interface/ethernet/switch", name="switch1", l3_hw_offloading="yes")
        assert router.gets_out(v4(LOGIN)).menu == "/interface/ethernet/switch"
        assert by_subject(await one_round(net.site)) == {ref(LOGIN): DriftReason.SUSPENSION_NOT_HELD}
        with pytest.raises(ApiRefusedError, match=r"L3 hardware offload is on \(switch1\)"):
            await net.site.ask("suspend", ref(OTHER))


def accept_established(router: Router, *families: str) -> None:
    """Let a rule above all others accept what is open, as MikroTik's default configuration has it."""
    for family in families:
        first = router.rows(f"{family}/firewall/filter")[0][".id"]
        more = {"connection_state": "established,related,untracked", "place_before": first}
        router.add(f"{family}/firewall/filter", chain="forward", action="accept", **more)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [Static, Leases, Hotspots])
async def test_e1_open_flows_are_cut_where_a_rule_lets_them_go_on(tmp_path: Path, kind: type[Network]) -> None:
    """Refused until now: the router's rules keep in whoever opens a connection anew."""
    async with running(tmp_path, kind) as net:
        accept_established(net.router(LOGIN), *(("/ip", "/ipv6") if kind is Static else ("/ip",)))
        assert net.gets_out(LOGIN)
        assert state_of(await net.site.do("suspend", ref(LOGIN))) == ("applied", "seen")
        assert (net.kept_in(LOGIN), net.gets_out(OTHER)) == (True, True)
        assert by_subject(await one_round(net.site)) == {}


def reads(found: Json) -> str:
    """Return what drift says of the one service that is let out, with its mend."""
    (one,) = found["differences"]
    assert one["code"] == DriftReason.SUSPENSION_NOT_HELD
    return f"{one['reads']} | {one['known']}"


@pytest.mark.slow
async def test_e13_a_queue_that_lets_more_through_is_listed_by_drift(tmp_path: Path) -> None:
    """A burst limit, and FastTrack past the queues: as the preview of a suspension would refuse them."""
    async with running(tmp_path, Static) as net:
        router, queues = net.routers["edge-2"], "/queue/simple"
        assert state_of(await net.site.do("suspend", ref(ELSEWHERE)))[0] == "applied"
        assert by_subject(await one_round(net.site)) == {}
        (queue,) = [row for row in router.rows(queues) if row["name"] == "home0"]
        router.set(queues, queue[".id"], burst_limit="1M/5M", burst_threshold="1M/4M", burst_time="8s/8s")
        assert "queue home0 has a burst-limit" in (told := reads(await one_round(net.site)))
        assert "Remove the burst limit." in told
        router.set(queues, queue[".id"], burst_limit="0/0", burst_threshold="0/0", burst_time="0s/0s")
        assert by_subject(await one_round(net.site)) == {}
        router.add(FILTER, chain="forward", action="fasttrack-connection", connection_state="established,related")
        assert "may take its connections past the queues" in reads(await one_round(net.site))
        shown = await typed(net, "subscriber", "show", ref(ELSEWHERE))
        assert "may take its connections past the queues" in (told := " ".join(shown.out.split()))
        assert "now fixed address, no session to see: queue home0 at 64k/64k" in told
        assert "offline" not in told
        assert "next login suspended, and LET OUT: IPv4 rule" in told
        assert "Exclude the addresses from FastTrack." in told


@pytest.mark.slow
async def test_e13_an_ip_binding_that_comes_later_is_listed_by_drift(tmp_path: Path) -> None:
    async with running(tmp_path, Hotspots) as net:
        assert state_of(await net.site.do("suspend", ref(LOGIN)))[0] == "applied"
        assert by_subject(await one_round(net.site)) == {}
        net.router(LOGIN).add("/ip/hotspot/ip-binding", mac_address=net.host(LOGIN).mac, type="bypassed")
        assert "an ip-binding lets" in (told := reads(await one_round(net.site)))
        assert "Remove the ip-binding." in told


@pytest.mark.slow
async def test_e13_a_rule_a_radius_suspension_rests_on_is_in_drift(tmp_path: Path) -> None:
    """Disabled on a router that the login may roam to, read beside one that is away; a restore asks none of them."""
    async with at_work(tmp_path, isp=ISP) as (isp, site):
        (service,) = ordinary(isp, 1)
        assert state_of(await site.do("suspend", ref_of(service)))[0] == "applied"
        mine = ref_of(service)
        assert mine not in by_subject(await one_round(site))
        name, router = next((n, r) for n, r in isp.routers.items() if r is not router_of(isp, service))
        (drop,) = [row for row in router.rows(RULES) if row.get("action") == "drop"]
        router.set(RULES, drop[".id"], disabled="yes")
        found = await one_round(site)
        assert by_subject(found)[mine] == DriftReason.SUSPENSION_NOT_HELD
        (one,) = [one for one in found["differences"] if one["subject"] == mine]
        assert f"{name}: " in one["reads"]
        assert "enable rule" in one["reads"]

        for away in isp.routers.values():
            if away is not router:
                away.faults.inject("max-sessions", times=99)
                for act in tuple(away.on_restart):
                    act()
        assert by_subject(await one_round(site))[mine] == DriftReason.SUSPENSION_NOT_HELD
        router.set(RULES, drop[".id"], disabled="no")
        shown = await trio.to_thread.run_sync(site.files.cli, "subscriber", "show", mine)
        away_name = next(n for n, r in isp.routers.items() if r is router_of(isp, service))
        assert "not checked whether it is kept in:" in (told := " ".join(shown.out.split()))
        assert away_name in told
        found = await one_round(site)
        assert mine not in by_subject(found)
        (unread,) = [one for one in found["not_checked"] if one["subject"] == mine]
        assert next(n for n, r in isp.routers.items() if r is router_of(isp, service)) in unread["why"]
        (only,) = items_of(await site.ask("restore", mine))
        assert only.listed is Listed.CHANGE
