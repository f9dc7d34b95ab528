"""Many CPE at once: who they are, when they call, what they cost."""

from __future__ import annotations

import contextlib
import tracemalloc
from collections import Counter

import pytest
import trio
import trio.testing

from lab.cpe.fleet import KINDS, Fleet, make_devices
from lab.cpe.http import HttpSession, Network
from lab.cpe.quirks import Quirks
from lab.cpe.transfers import firmware
from lab.tests.cpe import acs
from lab.tests.cpe.acs import URL, Acs, listening


@contextlib.asynccontextmanager
async def fleet_of(server: Acs, devices, *, spread_s: float = 0.0, within_s: float = 1e6, **options):
    with trio.fail_after(within_s):
        async with trio.open_nursery() as nursery:

            async def connect(host: str, port: int):
                near, far = trio.testing.memory_stream_pair()
                nursery.start_soon(server.serve, far)
                return near

            options.setdefault("network", Network(connect))
            fleet = Fleet(devices, **options)
            await nursery.start(lambda task_status: fleet.run(spread_s=spread_s, task_status=task_status))
            yield fleet
            nursery.cancel_scope.cancel()


def test_the_same_seed_gives_the_same_cpe():
    first, again, other = (make_devices(50, URL, seed=seed, username="acs-{serial}") for seed in (1, 1, 2))
    assert [one.identity for one in first] == [one.identity for one in again]
    assert [one.identity for one in first] != [one.identity for one in other]
    assert len({one.identity.serial for one in first}) == 50
    assert {one.identity.product_class for one in make_devices(300, URL)} == {kind.product_class for kind in KINDS}
    assert first[0].server("Username") == f"acs-{first[0].identity.serial}"


async def test_a_storm_is_bounded_and_everybody_gets_through(autojump_clock):
    server = Acs()
    async with fleet_of(server, make_devices(200, URL, interval_s=0), at_once=20) as fleet:
        await fleet.wait_sessions(200)
        assert (fleet.failed, fleet.most <= 20, fleet.talking) == (0, True, 0)
        assert all(one.codes == ["0 BOOTSTRAP", "1 BOOT"] for one in server.informs)
        fleet.power_cut()
        await fleet.wait_sessions(400)
        assert all(one.codes == ["1 BOOT"] for one in server.informs[200:])
        assert {one.boots for one in fleet.devices} == {2}


async def test_periodic_informs_keep_the_spread_they_began_with(autojump_clock):
    server = Acs()
    start = trio.current_time()
    async with fleet_of(server, make_devices(60, URL, interval_s=300), spread_s=300) as fleet:
        await fleet.wait_sessions(60)
        assert 200 < trio.current_time() - start <= 300
        await fleet.wait_sessions(60 * 13)
        assert trio.current_time() - start < 300 * 14
    counts = Counter(one.text("DeviceId/SerialNumber") for one in server.informs)
    assert len(counts) == 60
    assert min(counts.values()) >= 12
    assert Counter(code for one in server.informs for code in one.codes)["2 PERIODIC"] >= 60 * 12


async def test_busy_acs_and_the_back_off_of_many(autojump_clock):
    busy = acs.deque([(503, [("Retry-After", "600")], b"")] * 30)
    server = Acs(answers=busy)
    async with fleet_of(server, make_devices(30, URL, interval_s=0)) as fleet:
        await fleet.wait_sessions(30)
        assert fleet.failed == 30
        before = trio.current_time()
        await fleet.wait_sessions(60)
        assert (fleet.failed, trio.current_time() - before >= 599) == (30, True)


async def test_reboots_and_firmware_in_a_fleet(autojump_clock):
    server = Acs(files={"/files/fw": firmware("9.9")})
    devices = make_devices(5, URL, interval_s=60)
    async with fleet_of(server, devices, boot_s=30) as fleet:
        await fleet.wait_sessions(5)
        server.queue.extend([acs.download("http://acs.test/files/fw", "k"), acs.reboot("r")])
        while not any(one.software == "9.9" for one in devices) or sum(one.boots for one in devices) < 7:
            await fleet.wait_sessions(fleet.sessions + 1)
        assert fleet.failed == 0
    events = [event for one in server.informs for event in one.events]
    assert ("M Download", "k") in events
    assert ("M Reboot", "r") in events


async def test_a_power_cut_ends_the_sessions_there_are(autojump_clock):
    class Stuck(Acs):
        stuck = True

        async def serve(self, stream):
            if self.stuck:
                await trio.sleep_forever()
            await super().serve(stream)

    server = Stuck()
    async with fleet_of(server, make_devices(3, URL, interval_s=0)) as fleet:
        await trio.testing.wait_all_tasks_blocked()
        assert fleet.talking == 3
        server.stuck = False
        fleet.power_cut()
        await fleet.wait_sessions(6)
        assert (fleet.failed, fleet.talking) == (3, 0)


async def test_one_listener_for_all_their_connection_requests():
    server = Acs()
    async with listening(server) as base:
        devices = make_devices(5, f"{base}/acs", interval_s=0)
        async with fleet_of(server, devices, network=Network(), listens=True, within_s=20) as fleet:
            await fleet.wait_sessions(5)
            urls = [one.server("ConnectionRequestURL") for one in devices]
            assert len({url.rpartition("/")[0] for url in urls}) == 1
            http = HttpSession(urls[3], "", "", Network())
            assert (await http.request("GET", [], b"")).status == 200
            await http.aclose()
            await fleet.wait_sessions(6)
    assert server.informs[-1].codes == ["6 CONNECTION REQUEST"]
    assert server.informs[-1].text("DeviceId/SerialNumber") == devices[3].identity.serial


async def test_a_looping_cpe_does_not_stop_the_others(autojump_clock):
    server = Acs()
    devices = make_devices(10, URL, interval_s=60)
    devices[0].quirks = Quirks(cut_on=("Reboot",), loses_answer_on=("Reboot",))
    async with fleet_of(server, devices, boot_s=1) as fleet:
        server.queue.append(acs.reboot())
        await fleet.wait_sessions(100)
    assert {one.boots for one in devices} <= {1, 2}


def test_what_a_cpe_costs():
    make_devices(10, URL)
    tracemalloc.start()
    devices = make_devices(1000, URL)
    for one in devices:
        one.boot()
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size / len(devices) < 10_000


@pytest.mark.parametrize("count", [0, 1])
async def test_a_fleet_of_none_or_one(count, autojump_clock):
    server = Acs()
    async with fleet_of(server, make_devices(count, URL, interval_s=0)) as fleet:
        await fleet.wait_sessions(count)
        await trio.testing.wait_all_tasks_blocked()
    assert len(server.informs) == count
