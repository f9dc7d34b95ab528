"""An ISP that polls nothing itself: what LibreNMS knows of ports and radios answers for its lines, with its ages."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import trio

from agent.config import load
from lab.billing.server import BillingServer, serve_billing
from lab.isp import Isp
from lab.librenms.network import CORE, TOWER, LabLine, fill
from lab.librenms.system import COMMUNITY, PREFIX, TOKEN, Librenms
from lab.snmp.network import Access
from tests.e2e.files import Files, lab_mapping, lab_secrets, make_files, ordinary, small_isp
from tests.e2e.site import MovableClock, Site, open_site

Json = dict[str, Any]
SECTION = """
[librenms.{name}]
url = "{url}"
secret = "librenms/{name}"
certificate_sha256 = "{pin}"
every_s = 3600

"""
LINES = """
[lines]
roots = ["core-1"]
alias = "sub (?P<service>.+)"
"""


@dataclass
class Noc:
    """A site, the LibreNMS systems that it reads, and where its subscribers are."""

    site: Site
    systems: dict[str, tuple[Librenms, BillingServer]]
    lines: list[LabLine]

    @property
    def main(self) -> Librenms:
        return self.systems["main"][0]

    def ref(self, line: LabLine) -> str:
        """Return the service whose line it is."""
        return next(ref for ref, row in self.site.files.billing.rows.items() if row["login"] == line.login)

    async def read(self, name: str = "main") -> Json:
        """Have a LibreNMS read now, as its schedule would."""
        found: Json = await self.site.call("POST", f"/v1/devices/{name}/probe", {})
        return found

    async def device(self, name: str) -> Json:
        found: Json = await self.site.call("GET", f"/v1/devices/{quote(name, safe='')}")
        return found

    async def outage(self) -> Json:
        """Return the outages as they are now: the answer before was given to everybody for two seconds."""
        self.passes(5)
        found: Json = await self.site.call("GET", "/v1/outage")
        return found

    async def said(self, *args: str) -> str:
        """Return what a command prints, without its line feeds."""
        done = await self.site.files.type(*args)
        return " ".join(done.out.split())

    def passes(self, seconds: float) -> None:
        self.site.clock.pass_s(seconds)


def site_of(folder: Path, isp: Isp, servers: dict[str, BillingServer]) -> Files:
    mapping = lab_mapping(isp) + LINES
    for name, server in servers.items():
        mapping += SECTION.format(name=name, url=f"{server.url}{PREFIX}", pin=server.pin)
    secrets = lab_secrets(isp) | {f"librenms/{name}": TOKEN for name in servers}
    return make_files(folder, mapping, isp.services, secrets)


@asynccontextmanager
async def noc(folder: Path, *names: str) -> AsyncIterator[Noc]:
    """Run an ISP, a LibreNMS for each name with the same network, and an agent that has read them all."""
    clock = MovableClock()
    async with small_isp(folder, nas=1) as isp, trio.open_nursery():
        people = [(service.login, service.mac) for service in ordinary(isp, 3)]
        systems = {name: Librenms(clock=clock.wall_s) for name in names}
        filled = {name: fill(system, people) for name, system in systems.items()}
        lines = filled[names[0]]
        async with _served(systems) as servers:
            files = site_of(folder, isp, servers)
            async with open_site(files, clock=clock) as site:
                made = Noc(site, {name: (systems[name], servers[name]) for name in names}, list(lines))
                for name in names:
                    assert (await made.read(name))["problem"] == ""
                yield made


@asynccontextmanager
async def _served(systems: dict[str, Librenms]) -> AsyncIterator[dict[str, BillingServer]]:
    from contextlib import AsyncExitStack

    async with AsyncExitStack() as stack:
        yield {
            name: await stack.enter_async_context(serve_billing(system, tls=True)) for name, system in systems.items()
        }


async def test_lines_and_outages_of_an_isp_polled_by_librenms_alone(tmp_path: Path) -> None:
    async with noc(tmp_path, "main") as made:
        amina = made.lines[0]
        made.passes(100)
        page = await made.said("subscriber", "show", made.ref(amina))
        assert f"port {amina.port} on main/{CORE}: up at least since" in page
        assert "LibreNMS main polled it 1m ago" in page
        assert f"description 'sub {amina.login}'" in page
        shown = await made.said("device", "show", CORE)
        assert "what follows is what LibreNMS main tells: LibreNMS main polled it 1m ago" in shown
        assert "Chassis 41.5 C (1m ago)" in shown
        tower = await made.said("device", "show", "tower-1.example.net")
        assert "radio 1: up" in tower
        assert "signal -61.0 dBm" in tower
        assert (await made.outage())["causes"] == []

        made.passes(200)
        core = made.main.named(CORE)
        port = next(port for port in core.ports.values() if port.name == amina.port)
        port.oper = "down"
        made.main.goes_down(TOWER, "icmp", ago_s=90)
        made.main.poll()
        await made.read()
        made.passes(60)
        found = await made.outage()
        causes = {cause["kind"]: cause for cause in found["causes"]}
        assert set(causes) == {"down", "silent"}
        assert causes["down"]["services"] == [made.ref(amina)]
        assert (causes["silent"]["device"], causes["silent"]["source"]) == (f"main/{TOWER}", "LibreNMS main")
        assert causes["silent"]["upstream"] == f"main/{CORE}"
        text = await made.said("outage")
        assert f"main/{TOWER}: DOWN according to LibreNMS main since" in text
        assert "(no answer to ping; it polled it last 6m ago)" in text
        assert "wrong secret" not in text
        page = await made.said("subscriber", "show", made.ref(amina))
        assert "DOWN since" in page
        assert "LibreNMS main polled it 1m ago" in page
        series = await made.site.call("GET", f"/v1/devices/{quote(f'main/{TOWER}', safe='')}/series")
        assert ("radio/1", "signal_dbm") in {(one["of"], one["name"]) for one in series["series"]}

        made.main.comes_up(TOWER)
        await made.read()
        assert {cause["kind"] for cause in (await made.outage())["causes"]} == {"down"}
        assert COMMUNITY not in await made.said("device", "show", f"main/{TOWER}", "--json")


async def test_poller_that_stands_still_makes_lines_old_and_no_outage(tmp_path: Path) -> None:
    async with noc(tmp_path, "main") as made:
        made.main.stopped = True
        made.passes(47 * 60)
        await made.read()
        page = await made.said("subscriber", "show", made.ref(made.lines[0]))
        assert "LibreNMS main polled it 47m ago · OLD" in page
        found = await made.outage()
        assert (found["causes"], found["old"]) == ([], [f"main/{CORE}", f"main/{TOWER}"])
        assert "2 of 2 devices were polled late, the oldest 47m ago" in await made.said("device", "show", "main")


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ({"kind": "status", "value": 401}, "the credentials are refused (status 401)"),
        ({"kind": "cut"}, "the connection ended in the middle of the answer"),
    ],
)
async def test_an_unreadable_librenms_says_nothing_of_its_devices(tmp_path: Path, fault: Json, says: str) -> None:
    async with noc(tmp_path, "main") as made:
        made.systems["main"][1].play(**fault)
        await made.read()
        (cause,) = (await made.outage())["causes"]
        assert (cause["device"], cause["kind"], cause["subscribers"]) == ("main", "unread", 3)
        assert says in cause["detail"]
        page = await made.said("subscriber", "show", made.ref(made.lines[0]))
        assert ": up at least since" in page
        made.systems["main"][1].faults = []
        await made.read()
        assert (await made.outage())["causes"] == []


async def test_what_leaves_librenms_is_forgotten_renumbered_is_not(tmp_path: Path) -> None:
    async with noc(tmp_path, "main") as made:
        del made.main.devices[2]
        for port in made.main.named(CORE).ports.values():
            port.index += 500
        made.passes(300)
        made.main.poll()
        await made.read()
        assert {one["name"] for one in await made.site.call("GET", "/v1/devices") if "example" in one["name"]} == {
            f"main/{CORE}"
        }
        found = await made.outage()
        assert (found["causes"], found["devices"], found["found"]) == ([], 2, 3)
        page = await made.said("subscriber", "show", made.ref(made.lines[0]))
        assert ": up at least since" in page


async def test_two_librenms_with_the_same_devices_are_one_network(tmp_path: Path) -> None:
    async with noc(tmp_path, "main", "west") as made:
        found = await made.outage()
        assert (found["devices"], found["found"]) == (4, 3)  # two systems, two devices
        for system, _ in made.systems.values():
            system.goes_down(TOWER)
        for name in made.systems:
            await made.read(name)
        (cause,) = (await made.outage())["causes"]
        assert cause["device"] in (f"main/{TOWER}", f"west/{TOWER}")
        (west,) = (await made.device(f"main/{CORE}"))["lines"]["same"] or (None,)
        assert west is not None
        assert west["name"] == f"west/{CORE}"
        series = [
            (await made.site.call("GET", f"/v1/devices/{quote(f'{name}/{CORE}', safe='')}/series"))["series"]
            for name in made.systems
        ]
        assert sorted(map(bool, series)) == [False, True]
        # the first stops polling, the second goes on
        made.main.stopped = True
        made.passes(1000)
        made.systems["west"][0].poll()
        for name in made.systems:
            await made.read(name)
        page = await made.said("subscriber", "show", made.ref(made.lines[0]))
        assert f"on west/{CORE}: up" in page
        assert "NOT CERTAIN" not in page


@pytest.mark.slow
async def test_a_device_polled_twice_is_one_and_ours_counts(tmp_path: Path) -> None:
    clock = MovableClock()
    async with small_isp(tmp_path, services=24, nas=1, snmp=True) as isp:
        assert isp.network is not None
        line = next(iter(isp.network.lines_by(Access.ETHERNET)))
        system = Librenms(clock=clock.wall_s)
        (told, *_) = fill(system, [(line.login, line.mac)])
        async with _served({"main": system}) as servers:
            files = site_of(tmp_path, isp, servers)
            ours = load(files.config).connectors
            (core,) = [one for part in ours for one in getattr(part.config, "devices", ()) if one.name == "core-1"]
            device = system.named(CORE)
            device.ip, device.port = core.address, core.port
            system.poll()
            async with open_site(files, clock=clock) as site:
                made = Noc(site, {"main": (system, servers["main"])}, [told])
                await made.read()
                await made.read("core-1")
                await made.read()
                page = await made.said("subscriber", "show", made.ref(told))
                assert "on core-1: up" in page
                assert "NOT CERTAIN" not in page
                found = await made.device(f"main/{CORE}")
                assert found["lines"]["hidden_by"] == "core-1"
                assert [one["name"] for one in found["lines"]["same"]] == ["core-1"]
                path = f"/v1/devices/{quote(f'main/{CORE}', safe='')}/series"
                drawn_at = (await site.call("GET", path))["read_at"]
                made.passes(60)
                await made.read("core-1")
                system.poll()
                await made.read()
                assert (await site.call("GET", path))["read_at"] == drawn_at
                assert (await site.call("GET", "/v1/devices/core-1/series"))["series"]
                await site.set_secret(core.access.community, "wrong")
                for _ in range(2):
                    await made.read("core-1")
                made.passes(60)
                system.poll()
                await made.read()
                page = await made.said("subscriber", "show", made.ref(told))
                assert f"on main/{CORE}: up" in page
                assert "LibreNMS main polled it" in page
                assert not [one for one in (await made.outage())["causes"] if "core-1" in one["device"]]
                shown = await made.said("device", "show", "core-1")
                assert f"the same device is main/{CORE}: LibreNMS main polled it" in shown
                assert "it counts in outages and for lines" in shown
