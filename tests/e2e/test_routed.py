"""PPPoE by RADIUS on BNG that are routers too: their rules count, their lists prove, their API has the last word."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from agent.model import Listed
from lab.faults import parse_fault
from lab.isp import Isp
from lab.population import LabService
from lab.router.device import Router
from lab.routers import PAY_PAGE
from tests.agent.connectors.routeros.readying import exported
from tests.e2e.files import ordinary, ref_of
from tests.e2e.routed_site import ROUTERS, RULES, router_of
from tests.e2e.site import ApiRefusedError, Json, at_work, items_of, state_of
from tests.marks import slow_unless


def sessions_of(isp: Isp, service: LabService) -> list[str]:
    return [r["session-id"] for r in router_of(isp, service).rows("/ppp/active") if r["name"] == service.login]


def gets_out(isp: Isp, service: LabService) -> bool:
    return router_of(isp, service).gets_out(service.login).out


def speed(isp: Isp, service: LabService) -> str:
    (queue,) = [q for q in router_of(isp, service).rows("/queue/simple") if q["name"] == f"<pppoe-{service.login}>"]
    return queue["max-limit"]


def ran(done: Json) -> list[tuple[int, str, str]]:
    return [(s["step"], s["verdict"], s["reason"]) for s in done["steps"]]


def break_nas(isp: Isp, service: LabService, fault: str) -> None:
    isp.nas_of(service.login).faults.set(parse_fault(fault), service.login)


def of_tariff(isp: Isp, name: str) -> LabService:
    return next(s for s in ordinary(isp, 6) if s.tariff.name == name)


def detail(done: Json) -> str:
    (only,) = [i["detail"] for i in done["items"]]
    return str(only)


async def test_a_suspension_is_seen_in_the_routers_list(tmp_path: Path) -> None:
    async with at_work(tmp_path, isp=ROUTERS) as (isp, site):
        (service,) = ordinary(isp, 1)
        assert gets_out(isp, service)
        done = await site.do("suspend", ref_of(service))
        assert state_of(done) == ("applied", "seen")
        assert "in list suspended" in detail(done)
        assert not gets_out(isp, service)
        assert ran(done) == [(1, "applied", "read-back"), (2, "applied", "ack")]  # the last rung was not needed

        back = await site.do("revert", change=done["id"])
        assert state_of(back)[0] == "applied"
        assert gets_out(isp, service)


@pytest.mark.parametrize(
    "fault", slow_unless(lambda fault: fault != "silence", ["ack-without-effect", "nak:503", "silence"])
)
async def test_what_no_disconnect_ends_the_router_does(tmp_path: Path, fault: str) -> None:
    async with at_work(tmp_path, isp=ROUTERS, within_s=(2, 3)) as (isp, site):
        (service,) = ordinary(isp, 1)
        break_nas(isp, service, fault)
        old = sessions_of(isp, service)
        done = await site.do("suspend", ref_of(service))
        assert state_of(done) == ("applied", "seen")
        steps = ran(done)
        assert steps[0] == (1, "applied", "read-back")
        denied = ("applied", "not-there")  # the NAS denies it, and the router shows that it is there
        assert all(n == 2 and (verdict == "not-applied" or (verdict, why) == denied) for n, verdict, why in steps[1:-1])
        assert len(steps) > 2
        assert steps[-1] == (3, "applied", "done")
        assert detail(done).startswith("disconnect: ")
        assert "then disconnect: done" in detail(done)
        assert sessions_of(isp, service) != old
        assert not gets_out(isp, service)

        back = await site.do("revert", change=done["id"])
        assert state_of(back)[0] == "applied"
        assert gets_out(isp, service)


@pytest.mark.assumed("routeros-secret-hides-radius")
async def test_a_secret_on_a_router_hides_radius(tmp_path: Path) -> None:
    """E19."""
    async with at_work(tmp_path, isp=ROUTERS) as (isp, site):
        (service, other) = ordinary(isp, 2)
        name, router = next((n, r) for n, r in isp.routers.items() if r is not router_of(isp, service))
        router.add("/ppp/secret", name=service.login, password="x")  # on a BNG where it is not now: it may roam
        asked = await site.ask("suspend", ref_of(service), ref_of(other))
        found = {i.subject: i for i in items_of(asked)}
        assert found[ref_of(service)].reason == "local-secret"
        assert found[ref_of(other)].listed is Listed.CHANGE
        why = found[ref_of(service)].display["why_not"]
        assert name in why
        assert "hides RADIUS" in why


async def test_a_list_that_no_rule_drops_is_no_suspension(tmp_path: Path) -> None:
    async with at_work(tmp_path, isp=ROUTERS) as (isp, site):
        (service,) = ordinary(isp, 1)
        router = next(r for r in isp.routers.values() if r is not router_of(isp, service))
        (drop,) = [r[".id"] for r in router.rows(RULES) if r.get("action") == "drop"]
        router.remove(RULES, drop)
        with pytest.raises(ApiRefusedError, match="nothing would change") as refused:
            await site.ask("suspend", ref_of(service))
        assert "no rule of chain forward drops all of src-address-list=suspended" in str(refused.value)


async def test_a_drop_below_fasttrack_holds_once_what_was_open_is_cut(tmp_path: Path) -> None:
    """A new connection never gets so far that FastTrack takes it; what was open before would carry on."""
    async with at_work(tmp_path, isp=ROUTERS) as (isp, site):
        (service,) = ordinary(isp, 1)
        for router in isp.routers.values():
            (drop,) = [r[".id"] for r in router.rows(RULES) if r.get("action") == "drop"]
            router.remove(RULES, drop)
            router.add(RULES, chain="forward", action="drop", src_address_list="suspended")
        done = await site.do("suspend", ref_of(service))
        assert state_of(done) == ("applied", "seen")
        verdict = router_of(isp, service).gets_out(service.login)
        assert (verdict.out, verdict.lingers) == (False, False)


async def test_a_tariff_changes_while_the_session_goes_on(tmp_path: Path) -> None:
    async with at_work(tmp_path, isp=ROUTERS) as (isp, site):
        service = of_tariff(isp, "Home 20M")
        old, before = sessions_of(isp, service), speed(isp, service)
        done = await site.do("set-plan", ref_of(service), tariff="Home 50M")
        assert state_of(done) == ("applied", "seen")
        assert ran(done) == [(1, "applied", "read-back"), (2, "applied", "ack")]
        assert sessions_of(isp, service) == old
        assert speed(isp, service) != before

        back = await site.do("revert", change=done["id"])
        assert state_of(back) == ("applied", "seen")
        assert (sessions_of(isp, service), speed(isp, service)) == (old, before)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("ack-without-effect", ["ack", "ack-without-effect", "ack-without-effect"]),
        ("nak:404", ["nak-404", "nak-404"]),
    ],
)
async def test_a_whole_ladder_with_the_result_of_each_rung(tmp_path: Path, fault: str, said: list[str]) -> None:
    """A CoA and a Disconnect that do nothing, whatever they answer; then the router ends the session itself."""
    async with at_work(tmp_path, isp=ROUTERS, within_s=(2, 3)) as (isp, site):
        service = of_tariff(isp, "Home 20M")
        old, before = sessions_of(isp, service), speed(isp, service)
        break_nas(isp, service, fault)
        done = await site.do("set-plan", ref_of(service), tariff="Home 50M")
        assert state_of(done) == ("applied", "seen")
        steps = ran(done)
        assert [n for n, _, _ in steps] == [1, 2, *[3] * (len(said) - 1), 4]
        assert [reason for _, _, reason in steps] == ["read-back", *said, "done"]
        assert f"coa: {said[0]}, then disconnect: {said[1]}, then disconnect: done" in detail(done)
        assert sessions_of(isp, service) != old
        assert speed(isp, service) != before


async def test_a_router_that_is_away_holds_up_no_restore(tmp_path: Path) -> None:
    async with at_work(tmp_path, isp=ROUTERS) as (isp, site):
        here, there = _on_two(isp, ordinary(isp, 6))
        done = await site.do("suspend", ref_of(here), ref_of(there))
        assert [i["state"] for i in done["items"]] == ["applied", "applied"]
        away = router_of(isp, there)
        away.faults.inject("max-sessions")
        for act in tuple(away.on_restart):
            act()  # its API connections are cut; the subscribers' sessions are not
        back = await site.do("restore", ref_of(here))
        assert state_of(back)[0] == "applied"
        assert gets_out(isp, here)


def _on_two(isp: Isp, services: Sequence[LabService]) -> tuple[LabService, LabService]:
    first = services[0]
    second = next(s for s in services if router_of(isp, s) is not router_of(isp, first))
    return first, second


@pytest.mark.assumed("routeros-connections-outlive-sessions")
async def test_no_fasttracked_connection_outlives_a_static_address(tmp_path: Path) -> None:
    async with at_work(tmp_path, isp={**ROUTERS, "services": 20}) as (isp, site):
        service = next(s for s in isp.services if s.static4 and s.online and s.mapped)
        router = router_of(isp, service)
        ends = {"src_address": f"{service.static4}:50001", "dst_address": "203.0.113.200:443"}
        router.add("/ip/firewall/connection", protocol="tcp", fasttrack="true", **ends)
        done = await site.do("suspend", ref_of(service), reason="request")
        assert state_of(done) == ("applied", "seen")
        assert ran(done)[-1] == (4, "applied", "done")
        assert ends["src_address"] not in str(router.rows("/ip/firewall/connection"))
        assert not gets_out(isp, service)


@pytest.mark.assumed("routeros-connections-outlive-sessions")
async def test_fasttracked_flows_of_the_new_address_are_cut_too(tmp_path: Path) -> None:
    """RADIUS gives an address out of a pool: which one is known once the new session is there."""
    async with at_work(tmp_path, isp=ROUTERS) as (isp, site):
        (service,) = ordinary(isp, 1)
        router, (old,) = router_of(isp, service), sessions_of(isp, service)
        asked = await site.ask("suspend", ref_of(service))
        left: list[str] = []

        def somebody_was_here(_: Router) -> None:
            for row in router.rows("/ppp/active"):
                if row["name"] == service.login and row["session-id"] != old and not left:
                    left.append(f"{row['address']}:50001")
                    ends = {"src_address": left[0], "dst_address": "203.0.113.200:443"}
                    router.add("/ip/firewall/connection", protocol="tcp", fasttrack="true", **ends)

        router.faults.inject("drift", match="/ip/firewall/filter/print", times=50, drift=somebody_was_here)
        done = await site.apply(asked)
        assert left
        assert state_of(done) == ("applied", "seen")
        assert left[0] not in str(router.rows("/ip/firewall/connection"))
        assert ran(done)[-1] == (4, "applied", "done")
        assert not router.gets_out(service.login).lingers


async def unknown_to_accounting(isp: Isp, service: LabService) -> None:
    """Let the service's session begin anew, with its Accounting-Start lost."""
    await isp.hang_up(service.login)
    isp.set_fault("start-lost", service.login)
    assert await isp.dial(service.login) is not None
    isp.clear_faults(service.login)


async def test_where_accounting_knows_no_session_the_router_does(tmp_path: Path) -> None:
    """No NAS is asked by User-Name: the list of sessions of each router is read, before a restore too."""
    async with at_work(tmp_path, isp=ROUTERS) as (isp, site):
        (service,) = ordinary(isp, 1)
        await unknown_to_accounting(isp, service)
        old = sessions_of(isp, service)
        done = await site.do("suspend", ref_of(service))
        assert state_of(done) == ("applied", "seen")
        assert sessions_of(isp, service) != old
        assert not gets_out(isp, service)

        await unknown_to_accounting(isp, service)
        assert not gets_out(isp, service)
        back = await site.do("restore", ref_of(service))
        assert state_of(back)[0] == "applied"
        assert gets_out(isp, service)
        assert [r for nas in isp.nas.values() for r in nas.received if not r.session_id] == []


@pytest.mark.slow
async def test_an_absent_router_leaves_an_offline_restore_unproven(tmp_path: Path) -> None:
    async with at_work(tmp_path, isp=ROUTERS, within_s=(1, 1)) as (isp, site):
        (service,) = ordinary(isp, 1)
        await site.do("suspend", ref_of(service))
        await isp.hang_up(service.login)
        away = router_of(isp, service)
        away.faults.inject("max-sessions")
        for act in tuple(away.on_restart):
            act()
        back = await site.do("restore", ref_of(service))
        assert state_of(back) == ("set-not-enforced", "not-proven")
        assert detail(back).startswith("not proven: ")


@pytest.mark.slow
async def test_each_router_of_a_radius_method_is_prepared_and_back(tmp_path: Path) -> None:
    """A suspended reply names the list; whether it holds is each router's own matter."""
    async with at_work(tmp_path, isp=ROUTERS) as (isp, site):
        (service,) = ordinary(isp, 1)
        for router in isp.routers.values():
            for row in router.rows(RULES):
                if "suspended" in row.get("comment", ""):
                    router.remove(RULES, row[".id"])
        before = {name: exported(router) for name, router in isp.routers.items()}
        with pytest.raises(ApiRefusedError, match="no rule of chain forward"):
            await site.ask("suspend", ref_of(service))

        made = {}
        for name, router in isp.routers.items():
            with pytest.raises(ApiRefusedError, match="no rule of chain forward"):
                await site.ask("suspend", ref_of(service))  # the last router is not ready yet
            settings = {"garden": PAY_PAGE}
            asked = await site.ask("prepare-device", name, settings=settings)
            assert asked["class"] == "config"
            made[name] = await site.apply(asked, "joseph", "lena")
            assert [item["state"] for item in made[name]["items"]] == ["applied"], made[name]["items"]
            ours = [line for line in exported(router) if line not in before[name]]
            assert all("ispagents: " in line for line in ours)
            assert [line for line in exported(router) if line not in ours] == before[name]
        assert {one["state"] for one in await site.call("GET", "/v1/readiness") if one["device"]} == {"kept"}

        done = await site.do("suspend", ref_of(service))
        assert state_of(done) == ("applied", "seen")
        assert not gets_out(isp, service)
        assert router_of(isp, service).gets_out(service.login, destination=PAY_PAGE).out
        name = isp.nas_of(service.login).options.name
        with pytest.raises(ApiRefusedError, match="is suspended there: restore it first"):
            await site.ask("revert", change=made[name]["id"])

        assert state_of(await site.do("restore", ref_of(service)))[0] == "applied"
        for name, router in isp.routers.items():
            back = await site.apply(await site.ask("revert", change=made[name]["id"]), "joseph", "lena")
            assert [item["state"] for item in back["items"]] == ["applied"], back["items"]
            assert exported(router) == before[name]
