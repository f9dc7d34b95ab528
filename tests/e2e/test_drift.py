"""Drift on a network as it is: rows toggled by SQL as daloRADIUS would, sessions that are not as their login, ghosts.

Each difference is found within one round, and nothing else is. On the lab's own RADIUS server, and on the real one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from agent.cpe.reasons import CpeDriftReason
from agent.reasons import DriftReason
from lab.isp import Isp
from lab.population import MARKER_GROUP, LabService
from lab.staff import Staff, write_disabled_group
from tests.e2e.accounting import add_ghost, dial_unknown, mark, unmark, until_known
from tests.e2e.cpe_site import WHO, acs_files, acs_site, name, sent
from tests.e2e.files import dsn_of, ordinary, real_radius, ref_of
from tests.e2e.router_site import billing_row, ref
from tests.e2e.site import END_S, Json, Site, at_work, by_subject, one_round, state_of
from tests.servers import Cluster, FreeRadius

ISP = {"services": 60, "nas": 2}
WAITS = {"within_s": (3, 5)}
R = DriftReason
Scene = Callable[[Isp, Site], Awaitable[None]]


async def redial(isp: Isp, service: LabService) -> None:
    """Let the service's session begin anew, and wait until accounting has it."""
    await isp.hang_up(service.login)
    await isp.dial(service.login)
    await until_known(isp, service)


async def move_to(isp: Isp, service: LabService, group: str) -> None:
    sql = "UPDATE radusergroup SET groupname = ? WHERE username = ? AND groupname <> ?"
    await isp.database.execute(sql, (group, service.login, MARKER_GROUP))


async def remove(isp: Isp, service: LabService) -> None:
    for table in ("radcheck", "radreply", "radusergroup"):
        await isp.database.execute(f"DELETE FROM {table} WHERE username = ?", (service.login,))


async def staff_at_work(isp: Isp, site: Site) -> None:
    """Play a day of staff and lost packets; each difference is listed after one round, and no other."""
    staff = Staff(isp, 1)
    await write_disabled_group(isp)
    names = iter(ordinary(isp, 13))
    gone, marked, off, moved, removed, at_large, walled, ghosted, unknown, fine, away, again, back = names
    cut = (gone, at_large, fine, again)
    for service in cut:
        done = await site.do("suspend", ref_of(service), reason="request")
        assert [item["state"] for item in done["items"]] == ["applied"]
    before = by_subject(await one_round(site))
    assert set(before.values()) <= {R.LOGIN_MISSING}, "only logins that the lab never gave to RADIUS"
    assert set(before) == {ref_of(s) for s in isp.services if not s.mapped}

    await unmark(isp, gone)
    await unmark(isp, again)
    await mark(isp, marked)
    await staff.disable(off.login)
    other = next(s.tariff for s in isp.services if s.tariff.name != moved.tariff.name)
    await move_to(isp, moved, other.group)
    await move_to(isp, back, next(s.tariff for s in isp.services if s.tariff.name != back.tariff.name).group)
    await remove(isp, removed)
    await unmark(isp, at_large)
    await redial(isp, at_large)
    await mark(isp, at_large)  # staff thought again: the session has full service until it ends
    await mark(isp, walled)
    await redial(isp, walled)
    await unmark(isp, walled)
    await add_ghost(isp, ghosted, "127.0.0.1")
    await dial_unknown(isp, unknown)
    await isp.hang_up(away.login)

    found = await one_round(site)
    assert {s: c for s, c in by_subject(found).items() if s not in before} == {
        ref_of(gone): R.SUSPENSION_GONE,
        ref_of(again): R.SUSPENSION_GONE,
        ref_of(marked): R.SUSPENDED_UNRECORDED,
        ref_of(off): R.LOGIN_REJECTED,
        ref_of(moved): R.TARIFF_DIFFERS,
        ref_of(back): R.TARIFF_DIFFERS,
        ref_of(removed): R.LOGIN_MISSING,
        ref_of(at_large): R.SESSION_AT_LARGE,
        ref_of(walled): R.SESSION_SUSPENDED,
    }
    assert found["not_checked"] == []
    counts = found["round"]
    assert counts["checked"] == counts["services"]

    # The network is made as the record again
    await settled(site, "suspend", again, reason="request")
    await settled(site, "set-plan", back, tariff=back.tariff.name)
    for service in (again, back):
        await until_known_again(isp, service)
    # What each ask promises holds; a record that is adopted shows sessions that are not as it says now
    for service, reason in ((gone, "request"), (marked, "abuse"), (moved, "request")):
        await settled(site, "adopt", service, reason=reason)
    for service in (at_large, walled):
        await settled(site, "disconnect", service)
        await until_known_again(isp, service)
    theirs = {ref_of(off): R.LOGIN_REJECTED, ref_of(removed): R.LOGIN_MISSING}
    left = {s: c for s, c in by_subject(await one_round(site)).items() if s not in before}
    assert left == {**theirs, ref_of(gone): R.SESSION_SUSPENDED, ref_of(marked): R.SESSION_AT_LARGE}
    for service in (gone, marked):
        await settled(site, "disconnect", service)
        await until_known_again(isp, service)
    left = {s: c for s, c in by_subject(await one_round(site)).items() if s not in before}
    assert left == theirs


async def settled(site: Site, action: str, service: LabService, **fields: object) -> None:
    """Settle a difference by a change."""
    done = await site.do(action, ref_of(service), **fields)
    assert [item["state"] for item in done["items"]] == ["applied"], (action, done["items"])


async def until_known_again(isp: Isp, service: LabService) -> None:
    """Wait until the CPE has dialed in again, and accounting knows it."""
    with trio.fail_after(END_S):
        while not isp.sessions(service.login):  # noqa: ASYNC110  another task dials
            await trio.sleep(0.02)
    await until_known(isp, service)


async def next_logins(isp: Isp, site: Site) -> None:
    """Judge again what is set for a next login until the login comes."""
    (service,) = ordinary(isp, 1)
    await isp.hang_up(service.login)
    change = await site.do("suspend", ref_of(service), reason="request")
    assert [item["state"] for item in change["items"]] == ["set-at-next-login"]
    assert (await site.daemon.judging.round()).moved == 0
    await isp.dial(service.login)
    await until_known(isp, service)
    assert (await site.daemon.judging.round()).moved == 1
    change = await site.show(change)
    assert (change["state"], change["items"][0]["state"], change["items"][0]["reason"]) == ("done", "applied", "garden")


async def adopted_too_late(isp: Isp, site: Site) -> None:
    """Record nothing that the network no longer reads when it is to be recorded."""
    (service,) = ordinary(isp, 1)
    await mark(isp, service)
    change = await site.ask("adopt", ref_of(service), reason="request")
    await unmark(isp, service)
    done = await site.apply(change)
    assert [item["state"] for item in done["items"]] == ["stale"]
    shown = await site.call("GET", f"/v1/subscribers/{service.subscriber}")
    assert [s["suspended_for"] for s in shown["services"] if s["ref"] == ref_of(service)] == [[]]


SCENES = (staff_at_work, next_logins, adopted_too_late)


@pytest.mark.slow
@pytest.mark.parametrize("scene", SCENES)
async def test_on_the_lab(tmp_path: Path, scene: Scene) -> None:
    async with at_work(tmp_path, isp=ISP, **WAITS) as (isp, site):
        await scene(isp, site)


@pytest.mark.slow
@pytest.mark.servers
@pytest.mark.parametrize("scene", SCENES)
async def test_on_freeradius(
    tmp_path: Path, cluster: Cluster, freeradius: Callable[..., FreeRadius], scene: Scene
) -> None:
    database = cluster.fresh()
    options: dict[str, Any] = {**ISP, "dsn": dsn_of(database), "radius": real_radius(freeradius(database))}
    async with at_work(tmp_path, isp=options, **WAITS) as (isp, site):
        await scene(isp, site)


SSID = "Device.WiFi.SSID.1.SSID"


@pytest.mark.slow
async def test_a_parameter_that_the_agent_set_and_somebody_changed(tmp_path: Path) -> None:
    async with acs_site(tmp_path) as at:
        cpe = await at.plug_in("LAB0001")
        await at.accept("LAB0001", ref(WHO))
        change = await at.site.ask("cpe-set", ref(WHO), settings={"wifi.1.ssid": "Amina at home"})
        await at.site.approve(change, "joseph")
        await at.site.wait_for(change, lambda c: c["items"][0]["state"] == "waiting")
        await cpe.call_in("2 PERIODIC")
        assert state_of(await at.site.wait_end(change))[0] == "applied"
        subject = f"CPE {name('LAB0001')}"
        assert subject not in by_subject(await one_round(at.site))
        cpe.device.put(SSID, "by the subscriber")
        assert subject not in by_subject(await one_round(at.site)), "nobody read it since"
        await at.refresh("LAB0001", "wifi.1.ssid")
        found = await one_round(at.site)
        (one,) = [d for d in found["differences"] if d["subject"] == subject]
        assert one["code"] == CpeDriftReason.CPE_DIFFERS
        assert one["wanted"] == f"{SSID} = Amina at home (change {change['id']} of maria)"
        assert one["reads"] == f"{SSID} = by the subscriber"
        assert one["asks"][-1]["command"] == (f"ispagent cpe set {name('LAB0001')} --value '{SSID}=Amina at home'")


@pytest.mark.slow
async def test_the_newest_change_of_a_parameter_counts(tmp_path: Path) -> None:
    """A batch that waits for another CPE set it first, and ends last; then one that waits sets it last."""
    async with acs_site(tmp_path) as at:
        cpes = [await at.plug_in(serial) for serial in ("LAB0001", "LAB0002")]
        for serial in ("LAB0001", "LAB0002"):
            await at.accept(serial)

        async def batch(ssid: str) -> Json:
            """Set it at both; the second does not call in yet."""
            change = await at.site.ask("cpe-set", "LAB0001", "LAB0002", settings={"wifi.1.ssid": ssid})
            await at.site.approve(change, "joseph")
            await at.site.wait_for(change, lambda c: {i["state"] for i in c["items"]} == {"waiting"})
            await cpes[0].call_in("2 PERIODIC")
            return await at.site.wait_for(change, lambda c: "applied" in {i["state"] for i in c["items"]})

        async def differs() -> bool:
            return f"CPE {name('LAB0001')}" in by_subject(await one_round(at.site))

        first = await batch("old")
        assert state_of(
            await sent(at, cpes[0], await at.site.ask("cpe-set", "LAB0001", settings={"wifi.1.ssid": "new"}))
        )
        await cpes[1].call_in("2 PERIODIC")
        await at.site.wait_end(first)
        assert not await differs()
        last = await batch("newest")
        assert not await differs()
        await cpes[1].call_in("2 PERIODIC")
        await at.site.wait_end(last)
        assert not await differs()


OTHER = "brian@ppp"


@pytest.mark.parametrize("how", ["moves", "forgotten"])
async def test_a_cpe_of_another_house_differs_from_nothing_before(tmp_path: Path, how: str) -> None:
    files = acs_files(tmp_path)
    files.billing.rows[ref(OTHER)] = billing_row(OTHER)
    files.billing.write()
    async with acs_site(tmp_path, files=files) as at:
        cpe = await at.plug_in("LAB0001")
        await at.accept("LAB0001", ref(WHO))
        change = await at.site.ask("cpe-set", ref(WHO), settings={"wifi.1.ssid": "Amina at home"})
        assert state_of(await sent(at, cpe, change))[0] == "applied"
        cpe.device.put(SSID, "Brian's")
        if how == "forgotten":
            await at.site.call("POST", f"/v1/cpes/{name('LAB0001')}/decide", {"trust": "", "forget": True})
            await cpe.call_in("1 BOOT")
        await at.accept("LAB0001", ref(WHO if how == "forgotten" else OTHER))
        await at.refresh("LAB0001", "wifi.1.ssid")
        assert f"CPE {name('LAB0001')}" not in by_subject(await one_round(at.site))
