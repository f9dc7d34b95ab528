"""An evening on the lab: a radio fades, its upstream restarts, an ONU loses its light; each reading is right."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from agent.config import parse_untrusted
from agent.connectors.base import UnreadableError
from agent.connectors.snmp.connector import SnmpConnector
from agent.connectors.snmp.spec import SPEC
from agent.line_model.reading import DeviceReading, LinkState, Part, PartKind
from agent.runtime.clock import SystemClock
from lab import files
from lab.isp import Isp, LabOptions, open_lab
from lab.snmp.network import CORE, Access, Line
from lab.tests.snmp.devices import TestClock


def connector_of(isp: Isp, **patience: float) -> SnmpConnector:
    """Return a connector that is configured by the lab's mapping, as the agent reads it."""
    text = f'[agent]\nname = "evening"\nstate_dir = "/nowhere"\n{files.mapping_toml(isp)}'
    config = parse_untrusted(text.encode(), Path("/nowhere/agent.toml"), {}).of(SPEC)
    devices = tuple(replace(device, **patience) for device in config.devices)
    secrets = json.loads(files.lab_json(isp))["secrets"]
    return SnmpConnector(replace(config, devices=devices), lambda name: str(secrets[name]).encode(), SystemClock())


async def read(made: SnmpConnector, device: str) -> DeviceReading:
    return await made.poll(next(target for target in made.targets if target.id == f"snmp/{device}"))


def part_of(reading: DeviceReading, line: Line) -> Part:
    """Return the part that a line is on: by the station's MAC address, the ONU's serial number, or the port's alias."""
    if line.station is not None:
        mac = line.station.mac
        found = [part for part in reading.parts if part.kind is PartKind.CLIENT and part.mac == mac]
    elif line.onu is not None:
        serial = line.onu.serial
        found = [part for part in reading.parts if part.kind is PartKind.ONU and part.serial == serial]
    else:
        found = [part for part in reading.parts if part.kind is PartKind.PORT and part.alias == line.login]
    (one,) = found
    return one


async def test_each_reading_is_right(tmp_path):
    clock = TestClock()
    async with open_lab(LabOptions(tmp_path, services=20, nas=1, snmp=True, clock=clock)) as isp:
        made, network = connector_of(isp), isp.network
        for device in network.devices:
            reading = await read(made, device.name)
            for line in (ln for ln in network.lines.values() if ln.device == device.name):
                assert part_of(reading, line).state is LinkState.UP
        radio, fiber, cable = (network.lines_by(a)[0] for a in (Access.RADIO, Access.FIBER, Access.ETHERNET))

        network.fade(radio.login, -88, over_s=600)
        clock.now += 600
        assert part_of(await read(made, radio.device), radio).measures["signal_dbm"] == -88

        await isp.break_line(fiber.login)
        await isp.break_line(cable.login)
        dark = part_of(await read(made, fiber.device), fiber)
        assert dark.state is LinkState.DOWN
        assert "rx_power_dbm" not in dark.measures
        assert part_of(await read(made, cable.device), cable).state is LinkState.DOWN

        neighbors = {n.identity: n.port for n in (await read(made, CORE)).neighbors}
        assert neighbors.keys() == {d.name for d in network.devices} - {CORE}
        before = (await read(made, radio.device)).uptime_s
        network.reboot(CORE, takes_s=60)
        with pytest.raises(UnreadableError, match="unreachable, or wrong secret"):
            await read(connector_of(isp, timeout_s=0.2, retries=1), radio.device)
        clock.now += 70
        for device in network.devices:
            device.run_due()
        after = await read(made, radio.device)
        assert part_of(after, radio).measures["signal_dbm"] == -88
        # the switch feeds this tower with power
        assert after.uptime_s < 10 < before
