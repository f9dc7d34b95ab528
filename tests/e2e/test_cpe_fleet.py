"""CPE behind NAT, and several of them at once: a canary that fails spares the rest, a storm is told to come again."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from agent.connectors.cwmp import limits
from lab.cpe.client import Cpe
from lab.cpe.fleet import Fleet, make_devices
from lab.cpe.quirks import Quirks
from lab.cpe.transfers import firmware
from tests.e2e.cpe_site import SHARED, WHO, CpeSite, acs_site, at_home, device, free_port, name, sent, until
from tests.e2e.router_site import ref
from tests.e2e.site import state_of


async def test_a_cpe_behind_nat_is_called_by_udp(tmp_path: Path) -> None:
    async with acs_site(tmp_path, f"stun_port = {free_port()}\n") as at:
        made = device(at.url, "LAB0001")
        cpe = at.cpes["LAB0001"] = Cpe(made, boot_s=0.0, backoff_scale=0.01, listens=False, udp=True)
        assert cpe.udp is not None
        cpe.udp.keep_alive_s = 0.05
        await at.nursery.start(lambda task_status: cpe.run(task_status=task_status))
        await cpe.wait_sessions(1)
        await at.accept("LAB0001", ref(WHO))
        names = [f"stun.{n}" for n in ("enabled", "server", "port", "username", "password")]
        await at.refresh("LAB0001", *names, "acs.username", "acs.password", "request.username", "request.password")
        change = await at.site.ask("cpe-set", "LAB0001", settings={"@rotate": "new credentials"})
        assert state_of(await sent(at, cpe, change))[0] == "accepted"
        assert made.server("STUNEnable") == "1"
        await until(lambda: bool(at.acs.fleet.bindings))
        done = await at.site.do("cpe-set", "LAB0001", settings={"wifi.1.ssid": "Through NAT"})
        assert state_of(done) == ("applied", "read-back")
        matrix = {row["workflow"]: row["state"] for row in await at.site.call("GET", "/v1/cpe-matrix")}
        assert matrix["connection-request"].startswith("proven")


async def at_homes(at: CpeSite, count: int, quirks: Quirks) -> list[Cpe]:
    """Return CPE that are accepted and read, and serve nobody."""
    cpes = []
    for n in range(count):
        cpes.append(await at.plug_in(f"LAB{n:04}", quirks=quirks))
        await at.accept(f"LAB{n:04}")
    return cpes


@pytest.mark.slow
async def test_a_firmware_that_fails_on_the_canary_spares_the_rest(tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    (images / "gate.bin").write_bytes(firmware("2.0.0"))
    async with acs_site(tmp_path, f'files = "{images}"\n') as at:
        cpes = await at_homes(at, 4, Quirks(firmware="faults"))
        settings = {"file": "gate.bin", "version": "2.0.0"}
        refs = [name(f"LAB{n:04}") for n in range(4)]
        change = await at.site.ask("cpe-firmware", *refs, settings=settings)
        await at.site.approve(change, "joseph", "lena")
        ended = trio.Event()

        async def call_in(cpe: Cpe) -> None:
            while not ended.is_set():
                await cpe.call_in("2 PERIODIC")
                await trio.sleep(0.05)

        async with trio.open_nursery() as nursery:
            for cpe in cpes:
                nursery.start_soon(call_in, cpe)
            done = await at.site.wait_end(change)
            ended.set()
            nursery.cancel_scope.cancel()
        states = sorted(item["state"] for item in done["items"])
        assert states == ["cancelled", "cancelled", "cancelled", "not-applied"]
        assert len([cpe for cpe in cpes if cpe.executed("Download")]) == 1


@pytest.mark.slow
async def test_a_storm_is_told_to_come_again_and_nobody_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "RETRY_AFTER_S", 1)
    async with acs_site(tmp_path, "sessions = 5\n") as at:
        devices = make_devices(60, at.url, seed=1, username="cpe", password=SHARED)
        fleet = Fleet(devices, at_once=60, backoff_scale=0.001)
        await at.nursery.start(lambda task_status: fleet.run(task_status=task_status))
        await until(lambda: at.site.daemon.files.store.query("SELECT count(*) AS n FROM cpe")[0]["n"] == 60, 30)
        assert at.acs.acs.refused > 0
        assert at.acs.acs.sessions <= 5


async def test_what_is_known_of_a_cpe_is_shown_with_its_subscriber(tmp_path: Path) -> None:
    async with acs_site(tmp_path) as at:
        await at_home(at)
        shown = await at.site.call("GET", f"/v1/subscribers/{ref(WHO).replace('/', '%2F')}")
        (cpe,) = shown["cpes"]
        assert cpe["name"] == name("LAB0001")
        named = {v["name"]: v["shown"] for v in cpe["named"]}
        assert named["optical.rx"].endswith("dBm")
        assert "wan.uptime" in cpe["missing"]
