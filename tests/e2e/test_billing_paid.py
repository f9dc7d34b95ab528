"""A payment in UISP, its webhook, and the subscriber back online: the lab's CRM, a whole lab ISP, a real FreeRADIUS."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from lab.isp import Isp
from lab.population import LabService
from tests.e2e.files import dsn_of, ordinary, real_radius, ref_of, small_isp
from tests.e2e.paid import Crm, paid_site, ring, until, walled
from tests.e2e.site import END_S, Site, state_of
from tests.servers import Cluster, FreeRadius


async def one_debtor(isp: Isp, site: Site, crm: Crm, service: LabService, other: LabService) -> None:
    """Cut two who owe; one pays: that one is back, the other is not."""
    for each in (service, other):
        assert state_of(await site.do("suspend", ref_of(each)))[0] == "applied"
        await until(lambda each=each: len(isp.sessions(each.login)) == 1 and walled(isp, each))  # type: ignore[misc]  # bound now
    await ring(site, crm.pays(service))
    await until(lambda: len(isp.sessions(service.login)) == 1 and not walled(isp, service))
    assert walled(isp, other)
    found = await site.call("GET", "/v1/billing")
    assert [s["state"] for s in found["sources"] if s["authority"]] == ["fresh"]
    await until(lambda: not site.daemon.job.restores.queue())
    made = [c for c in await site.call("GET", "/v1/changes") if c["action"] == "restore"]
    assert [c["requester"] for c in made] == [site.daemon.config.name]
    await listed(site)


async def listed(site: Site) -> None:
    """Look at reports and lists after one payer is back."""
    with trio.fail_after(END_S):
        while not (report := (await site.call("GET", "/v1/report"))["billing"])["payers_restored"]:  # noqa: ASYNC110  as people look
            await trio.sleep(0.05)
    assert (report["payers_restored"], report["waiting"], report["unmatched"]) == (1, 0, 0)
    said = (await site.files.type("report")).out
    assert "payers restored by the agent: 1 · now 0 wait, 0 are in doubt\n" in said
    assert "main           fresh, read" in said
    told = await site.call("GET", "/v1/billing/payments")
    assert [(p["source"], p["case"]) for p in told] == [("main", "counts")]
    everything = await site.call("GET", "/v1/billing/payments?all=1")
    assert len(everything) > len(told)
    assert {p["source"] for p in everything} > {"main"}


async def test_a_payer_in_uisp_is_back(tmp_path: Path) -> None:
    crm = Crm()
    async with small_isp(tmp_path) as isp:
        service, other = ordinary(isp, 2)
        for each in (service, other):
            crm.owes(each)
        async with paid_site(tmp_path, isp, crm) as site:
            await one_debtor(isp, site, crm, service, other)


async def test_who_paid_in_uisp_is_not_cut(tmp_path: Path) -> None:
    """Paid between the approval and the first byte: the account is read again, and the item is skipped."""
    crm = Crm()
    async with small_isp(tmp_path) as isp:
        (service,) = ordinary(isp, 1)
        crm.owes(service)
        async with paid_site(tmp_path, isp, crm) as site:
            site.daemon.job.sources.rules = type(site.daemon.job.sources.rules)("main", 0)
            asked = await site.ask("suspend", ref_of(service))
            crm.pays(service)
            state, reason = state_of(await site.apply(asked))
            assert (state, reason) == ("skipped", "not-required")
            assert not walled(isp, service)


@pytest.mark.servers
async def test_a_payer_in_uisp_is_back_with_a_real_freeradius(
    tmp_path: Path, cluster: Cluster, freeradius: Callable[..., FreeRadius]
) -> None:
    crm, database = Crm(), cluster.fresh()
    server = freeradius(database)
    async with small_isp(tmp_path, dsn=dsn_of(database), radius=real_radius(server)) as isp:
        service, other = ordinary(isp, 2)
        for each in (service, other):
            crm.owes(each)
        async with paid_site(tmp_path, isp, crm, tables=database.tables.value) as site:
            await one_debtor(isp, site, crm, service, other)
