"""A CPE that is new, or was reset, gets its declared baseline: by a standing authority, or once people approve it."""

from __future__ import annotations

from pathlib import Path

import trio

from lab.cpe.client import Cpe
from tests.e2e.cpe_site import ACS, SHARED, SSID, WHO, CpeSite, accept, acs_site, changes, name, standing, until
from tests.e2e.files import lab_mapping, lab_secrets, make_files, ordinary, ref_of, small_isp
from tests.e2e.router_site import ref

BASELINE = """
[baseline.gate]
oui = ["02AC5F"]
product_class = "Lab"
[baseline.gate.values]
"inform.interval" = "900"
"wan.ppp.username" = "{login}"
"""


async def installed(at: CpeSite, serial: str, service: str) -> Cpe:
    """Return a new CPE that was accepted for a service, and called in when it was asked to."""
    cpe = await at.plug_in(serial)
    await accept(at.site, name(serial), service)
    await until(lambda: at.calls_for(name(serial)))
    await cpe.call_in("2 PERIODIC")
    return cpe


async def test_a_new_cpe_gets_its_baseline_by_standing_authority(tmp_path: Path) -> None:
    async with acs_site(tmp_path, BASELINE) as at:
        (answer,) = await at.site.hand_in(standing(at))
        assert answer["accepted"], answer
        cpe = await installed(at, "LAB0001", ref(WHO))
        await until(lambda: bool(cpe.executed("SetParameterValues")))
        tree = cpe.device.tree
        assert tree.get("Device.PPP.Interface.1.Username") == WHO
        assert tree.get("Device.ManagementServer.PeriodicInformInterval") == "900"
        assert cpe.device.server("Password") != SHARED
        (change,) = await changes(at)
        assert change["class"] == "provision"
        assert change["requester"] == at.site.daemon.config.name
        await at.site.wait_end(change)
        # Reset by its owner: it comes with what all share, and nobody is fooled by that until a person accepts it
        cpe.device.reset_later()
        await cpe.call_in("2 PERIODIC")
        await until(lambda: cpe.device.boots == 2)
        await until(lambda: not cpe.device.wants_session)
        assert tree.get("Device.PPP.Interface.1.Username") != WHO
        shown = await at.site.call("GET", f"/v1/cpes/{name('LAB0001')}")
        assert "many share" in shown["why"]
        await accept(at.site, name("LAB0001"))
        before = len(cpe.executed("SetParameterValues"))
        await cpe.call_in("0 BOOTSTRAP")
        await until(lambda: len(cpe.executed("SetParameterValues")) > before)
        assert tree.get("Device.PPP.Interface.1.Username") == WHO


SECRETS = """
[baseline.gate]
oui = ["02AC5F"]
[baseline.gate.values]
"wan.ppp.username" = "{login}"
"wan.ppp.password" = "{password}"
"wifi.1.key" = "{secret:cpe/wifi}"
"""


async def test_passwords_and_secrets_are_set_and_never_shown(tmp_path: Path) -> None:
    async with small_isp(tmp_path) as isp:
        service, other = ordinary(isp, 2)
        wifi = "correct horse battery staple"
        kept = {**lab_secrets(isp), "cwmp/shared": SHARED, "cpe/wifi": wifi}
        files = make_files(tmp_path, lab_mapping(isp) + ACS + SECRETS, isp.services, kept)
        async with acs_site(tmp_path, files=files) as at:
            (answer,) = await at.site.hand_in(standing(at))
            assert answer["accepted"], answer
            cpe = await installed(at, "LAB0001", ref_of(service))
            await until(lambda: bool(cpe.executed("SetParameterValues")))
            assert cpe.device.tree.get("Device.PPP.Interface.1.Username") == service.login
            assert cpe.device.tree.get("Device.PPP.Interface.1.Password") == service.password
            assert cpe.device.tree.get("Device.WiFi.AccessPoint.1.Security.KeyPassphrase") == wifi
            (change,) = await changes(at)
            done = await at.site.wait_end(change)
            shown = await at.site.call("GET", f"/v1/cpes/{name('LAB0001')}")
            for text in (service.password, wifi):
                assert text not in str(done) + str(shown) + str(await at.site.call("GET", "/v1/audit"))
                assert all(text.encode() not in path.read_bytes() for path in files.state.rglob("*") if path.is_file())
            # Of a login that RADIUS has no password for, nothing is set, and it is said why
            await isp.database.execute("DELETE FROM radcheck WHERE username = ?", (other.login,))
            cpe = await installed(at, "LAB0002", ref_of(other))
            await until(lambda: bool(at.site.daemon.provisioner.problems.get(name("LAB0002"))))  # type: ignore[union-attr]  # there is one
            shown = await at.site.call("GET", f"/v1/cpes/{name('LAB0002')}")
            assert "expected one Cleartext-Password" in shown["not_provisioned"]
            assert cpe.executed("SetParameterValues") == []


async def test_without_authority_the_baseline_waits_for_people(tmp_path: Path) -> None:
    async with acs_site(tmp_path, BASELINE) as at:
        cpe = await at.plug_in("LAB0001")
        before = cpe.device.tree.get(SSID)
        await at.accept("LAB0001", ref(WHO))
        await cpe.call_in("2 PERIODIC")
        while not (found := await changes(at)):
            await cpe.call_in("2 PERIODIC")
        assert found[0]["state"] == "waiting for approval"
        assert found[0]["class"] == "low"
        assert cpe.executed("SetParameterValues") == []
        assert cpe.device.tree.get(SSID) == before
        provisioner = at.site.daemon.provisioner
        assert provisioner is not None
        provisioner._tries.clear()  # as an agent that was started anew has none
        await cpe.call_in("2 PERIODIC")
        await until(lambda: [t.plan for t in provisioner._tries.values()] not in ([], [None]))
        assert len(await changes(at)) == 1, "it is not asked for twice"
        cpe.device.reset_later()  # by its owner, having no credentials of its own yet
        await cpe.call_in("2 PERIODIC")
        await until(lambda: cpe.device.boots == 2 and not cpe.device.wants_session)
        with trio.fail_after(60):
            while len(found := await changes(at)) < 2:
                await cpe.call_in("2 PERIODIC")
        states = sorted(change["state"] for change in found)
        assert states == ["expired", "waiting for approval"], "nobody is to look at what it was before"
