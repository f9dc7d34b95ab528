"""Accepting a CPE for a service: somebody else approves it, and without that no secret goes into the CPE."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from lab.cpe.client import Cpe
from tests.e2e.cpe_site import (
    ACS,
    SHARED,
    SSID,
    WHO,
    CpeSite,
    accept,
    acs_site,
    admit,
    changes,
    name,
    preview_of,
    standing,
    until,
)
from tests.e2e.files import Files, make_files
from tests.e2e.router_site import billing_row, ref
from tests.e2e.site import ApiRefusedError, Json, state_of

KEY = "Device.WiFi.AccessPoint.1.Security.KeyPassphrase"
WIFI = "correct horse battery staple"
BASELINE = """
[baseline.gate]
oui = ["02AC5F"]
rotate = false
[baseline.gate.values]
"wan.ppp.username" = "{login}"
"wifi.1.key" = "{secret:cpe/wifi}"
"""
ONE, TWO, THREE = (name(f"LAB000{n}") for n in (1, 2, 3))


def with_secret(folder: Path) -> Files:
    """Return the files of an agent whose baseline sets one of its own secrets."""
    files = make_files(folder, ACS + BASELINE, [], {"cwmp/shared": SHARED, "cpe/wifi": WIFI})
    files.billing.rows[ref(WHO)] = billing_row(WHO)
    files.billing.write()
    return files


async def shown(at: CpeSite, cpe: str) -> Json:
    found: Json = await at.site.call("GET", f"/v1/cpes/{cpe}")
    return found


async def acceptance_check(at: CpeSite) -> Json | None:
    """Return what `doctor` says of acceptances."""
    found: list[Json] = (await at.site.call("GET", "/v1/doctor"))["checks"]
    return next((check for check in found if check["about"] == "cpe"), None)


async def calls_until_not_provisioned(at: CpeSite, cpe: Cpe, why: str) -> None:
    """Have a CPE call in until the agent says that it gets no baseline for this reason."""
    with trio.fail_after(60):
        while why not in str((await shown(at, ONE))["not_provisioned"]):
            await cpe.call_in("2 PERIODIC")


async def test_x23_one_operator_gets_no_secret_into_his_own_cpe(tmp_path: Path) -> None:
    """M8: he bound it to somebody's service, and the standing authority for baselines sent it the agent's secret."""
    async with acs_site(tmp_path, files=with_secret(tmp_path)) as at:
        (answer,) = await at.site.hand_in(standing(at))
        assert answer["accepted"], answer
        cpe = await at.plug_in("LAB0001")
        bind = {"trust": "accepted", "forget": False, "service": ref(WHO)}
        with pytest.raises(ApiRefusedError, match="bound to a service by a change that somebody else approves"):
            await at.site.call("POST", f"/v1/cpes/{ONE}/decide", bind)
        assert (await shown(at, ONE))["trust"] == "quarantined"
        # He lets it in, as one person may, and asks for the rest, which he cannot approve himself
        await admit(at.site, ONE)
        asked = await at.site.ask("cpe-accept", ONE, settings={"service": ref(WHO)})
        assert (asked["class"], asked["requester"], asked["gate"]) == ("provision", "maria", "open")
        (own,) = await at.site.hand_in(at.site.approval(asked, "maria"), asked["id"])
        assert not own["accepted"]
        await calls_until_not_provisioned(at, cpe, "no secret goes into it")
        assert (await at.site.show(asked))["gate"] == "open"
        assert await changes(at) == []
        assert cpe.executed("SetParameterValues") == []
        assert WIFI not in str(cpe.device.tree.get(KEY))
        # Once somebody else approves it, the baseline goes by the standing authority, as before
        await at.site.approve(asked, "joseph")
        done = await at.site.wait_end(asked)
        assert state_of(done) == ("applied", "recorded")
        await until(lambda: at.calls_for(ONE), 60)
        with trio.fail_after(60):
            while not cpe.executed("SetParameterValues"):
                await cpe.call_in("2 PERIODIC")
        assert cpe.device.tree.get(KEY) == WIFI
        now = await shown(at, ONE)
        assert (now["service"], now["takes_secrets"]) == (ref(WHO), True)


async def test_many_are_accepted_by_one_change_as_after_an_update(tmp_path: Path) -> None:
    async with acs_site(tmp_path) as at:
        for n in (1, 2, 3):
            await at.plug_in(f"LAB000{n}")
            await admit(at.site, name(f"LAB000{n}"))
        await accept(at.site, THREE, ref(WHO))
        assert await acceptance_check(at) == {
            "about": "cpe",
            "what": "acceptance",
            "result": "warning",
            "detail": "2 that were let in get no secrets before a change accepts them",
            "mend": "ispagent cpe accept --where state=accepted",
        }
        change = await at.site.ask("cpe-accept", ONE, TWO, THREE)
        assert (change["class"], change["gate"]) == ("provision", "open")
        assert {i["cpe"]: (i["state"], i["reason"]) for i in change["items"]}[THREE] == ("excluded", "already")
        await at.site.approve(change, "joseph")
        done = await at.site.wait_end(change)
        assert {i["cpe"]: i["state"] for i in done["items"]} == {ONE: "applied", TWO: "applied", THREE: "excluded"}
        assert [(await shown(at, cpe))["takes_secrets"] for cpe in (ONE, TWO, THREE)] == [True, True, True]
        assert await acceptance_check(at) is None
        with pytest.raises(ApiRefusedError, match="one CPE for one service"):
            await at.site.ask("cpe-accept", ONE, TWO, settings={"service": ref(WHO)})
        with pytest.raises(ApiRefusedError, match="nothing would change"):
            await at.site.ask("cpe-accept", ONE, TWO, THREE)


async def test_who_unbinds_or_refuses_a_cpe_ends_its_approvals(tmp_path: Path) -> None:
    """Also between preview and sending: the change is not sent, and nothing of the secret reaches the CPE."""
    async with acs_site(tmp_path) as at:
        cpe = await at.plug_in("LAB0001")
        await at.accept("LAB0001", ref(WHO))
        before = cpe.device.tree.get(KEY)
        secret = {"wifi.1.key": "not for everybody"}
        change = await at.site.ask("cpe-set", ref(WHO), secrets=secret)
        await at.site.approve(change, "joseph")
        await at.site.wait_for(change, lambda c: c["items"][0]["state"] == "waiting")
        await at.site.call("POST", f"/v1/cpes/{ONE}/decide", {"trust": "", "forget": False, "service": ""})
        await cpe.call_in("2 PERIODIC")
        assert state_of(await at.site.wait_end(change)) == ("stale", "stale")
        assert cpe.device.tree.get(KEY) == before
        assert (await shown(at, ONE))["takes_secrets"] is False
        for fields in ({"secrets": secret}, {"settings": {"@rotate": "new credentials"}}):
            with pytest.raises(ApiRefusedError, match=f"no secret goes into it.*ispagent cpe accept {ONE} --service"):
                await at.site.ask("cpe-set", ONE, **fields)
        # What is no secret goes on as before
        plain = await at.site.ask("cpe-set", ONE, settings={"wifi.1.ssid": "Plain"})
        await at.site.approve(plain, "joseph")
        await at.site.wait_for(plain, lambda c: c["items"][0]["state"] == "waiting")
        await cpe.call_in("2 PERIODIC")
        assert state_of(await at.site.wait_end(plain)) == ("applied", "read-back")
        assert cpe.device.tree.get(SSID) == "Plain"
        await at.site.call("POST", f"/v1/cpes/{ONE}/decide", {"trust": "refused", "forget": False})
        await accept(at.site, ONE, WHO)
        assert (await shown(at, ONE))["takes_secrets"] is True


async def test_an_acceptance_is_of_the_cpe_that_was_previewed(tmp_path: Path) -> None:
    async with acs_site(tmp_path) as at:
        await at.plug_in("LAB0001")
        change = await at.site.ask("cpe-accept", ONE, settings={"service": WHO})
        assert "never seen before" in preview_of(change)
        assert f"+ {ONE} serves {ref(WHO)}: secrets may go into it" in preview_of(change)
        await at.site.call("POST", f"/v1/cpes/{ONE}/decide", {"trust": "refused", "forget": False})
        await at.site.approve(change, "joseph")
        assert state_of(await at.site.wait_end(change)) == ("stale", "stale")
        now = await shown(at, ONE)
        assert (now["trust"], now["service"], now["takes_secrets"]) == ("refused", "", False)


async def test_an_acceptance_is_taken_back_by_no_change(tmp_path: Path) -> None:
    async with acs_site(tmp_path) as at:
        await at.plug_in("LAB0001")
        change = await accept(at.site, ONE, ref(WHO))
        with pytest.raises(ApiRefusedError, match="is taken back by no change: ispagent cpe refuse"):
            await at.site.ask("revert", change=change["id"])
