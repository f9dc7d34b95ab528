"""A day of polls of the lab's network: radios fade, devices restart, one is silent, and memory stays flat."""

from __future__ import annotations

import gc
import tracemalloc
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing

from agent.connectors.snmp.configuration import SnmpAccess, SnmpConfig, SnmpDevice
from agent.connectors.snmp.connector import SnmpConnector
from agent.connectors.snmp.credential import AuthProtocol, PrivProtocol, SnmpVersion
from agent.line_model.reading import DeviceReading
from agent.lines import states
from agent.lines.keeping import LineKeeper, ShownKeeper
from agent.polling.poller import Poller
from agent.polling.series import SeriesStore
from agent.polling.series_sql import DAY_S
from lab.snmp.network import CORE, OLT, TOWERS, Customer, Network, build_network
from lab.snmp.server import Layout, SnmpLab, open_snmp_lab
from lab.snmp.usm import USERS
from tests.builders.clock import START, FakeClock
from tests.builders.readings import opened

EVERY_S = 300
SETTLED = 50
"""Turns until everything that is kept of a device is there: profiles, patterns, sizes of tables, series."""
SILENT = "lost"


class CountingKeeper(LineKeeper):
    """Counts the readings and failures that it keeps."""

    kept = failures = 0

    async def keep(self, reading: DeviceReading) -> None:
        await super().keep(reading)
        self.kept += 1

    async def failed(self, target: str, why: str, at_s: int, *, silent: bool) -> None:
        await super().failed(target, why, at_s, silent=silent)
        self.failures += 1


def configured(lab: SnmpLab) -> SnmpConfig:
    """Return each device, the OLT by version 3; and one that nobody serves."""
    user = USERS[0]
    accesses = [SnmpAccess(name, SnmpVersion.V2C, name) for name in (*lab.devices, SILENT) if name != OLT]
    accesses.append(
        SnmpAccess(
            OLT, SnmpVersion.V3, user=user.name, auth=AuthProtocol(user.auth), auth_secret=user.auth_password,
            priv=PrivProtocol.AES_128, priv_secret=user.priv_password, context=OLT,
        )
    )  # fmt: skip
    patience = {True: (0.05, 0), False: (20.0, 2)}
    devices = [
        SnmpDevice(one.name, lab.address, lab.port, one, timeout_s=wait_s, retries=retries)
        for one in accesses
        for wait_s, retries in [patience[one.name == SILENT]]
    ]
    return SnmpConfig(tuple(devices), tuple(accesses))


def happen(network: Network, turn: int) -> None:
    """Let a cable be cut and mended, a radio fade, and devices restart and be replaced."""
    lines = list(network.lines.values())
    line = lines[turn // 2 % len(lines)]
    (network.cut, network.mend)[turn % 2](line.login)
    if turn % 20 == 0:
        network[TOWERS[turn // 20 % len(TOWERS)]].reboot()
    if turn % 30 == 0:
        network[OLT].reboot()
    if turn % 40 == 0:
        network[CORE].wrap_counters("0/1")


@pytest.mark.slow
async def test_memory_is_flat_over_a_day_of_polls(tmp_path: Path, mock_clock: trio.testing.MockClock) -> None:
    mock_clock.rate = 1.0  # answers come in real time; between two turns it jumps
    clock, held = FakeClock(start_wall_s=float(START)), list[int]()
    network = build_network([Customer(f"c{n}", f"02:1a:00:00:00:{n:02x}") for n in range(20)], clock.wall_s)
    with opened(tmp_path) as store, closing(SeriesStore(tmp_path / "series.db", 1 << 30, clock)) as series:
        async with open_snmp_lab(network.devices, layout=Layout.SHARED, clock=clock.wall_s) as lab:
            made = SnmpConnector(configured(lab), str.encode, clock)
            keeper = CountingKeeper(store)
            poller = Poller({"snmp": made}, clock, [keeper, ShownKeeper(store, series)])
            tracemalloc.start()
            try:
                for turn in range(DAY_S // EVERY_S):
                    happen(network, turn)
                    async with trio.open_nursery() as nursery:
                        for target in made.targets:
                            nursery.start_soon(partial(poller.poll_now, target.id))
                    await series.flush(int(clock.wall_s()) // EVERY_S * EVERY_S)
                    mock_clock.jump(EVERY_S)
                    if turn % 10 == 0:
                        gc.collect()
                        held.append(tracemalloc.get_traced_memory()[0])
            finally:
                tracemalloc.stop()
        assert keeper.kept + keeper.failures == len(made.targets) * (DAY_S // EVERY_S)
        assert keeper.failures == DAY_S // EVERY_S, "of the one that is silent"
        assert states.devices(store.query)[f"snmp/{SILENT}"].silent
    assert max(held[SETTLED // 10 :]) - held[SETTLED // 10] < 64 << 10, "a leak of 60 octets a poll"
