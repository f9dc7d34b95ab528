"""What becomes of LibreNMS' rows: compared with our own reading of the same recordings, and where rows contradict."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC
from decimal import Decimal
from functools import cache
from typing import Any

import pytest

from agent.connectors.librenms import rows
from agent.connectors.librenms.rows import ApiRow, DeviceRow, LinkRow, MacRow, PortRow, SensorRow
from agent.connectors.librenms.told import Told, pace_of, place, reading_of
from agent.line_model.reading import MEASURES, DeviceReading, LinkState, Part, PartKind
from tests.agent.connectors.snmp.recordings import NAMES
from tests.agent.connectors.snmp.recordings import reading_of as our_reading_of
from tests.builders.expect import present
from tests.shared_data import shared_file

NOW = 1_796_000_000
TARGET = "librenms/main/sw-3"
RECORDINGS = tuple(name for name in NAMES if name != "edgeswitch_10xp")
DIFFER: Mapping[tuple[str, str], str] = {
    ("openwrt", "clients"): "LibreNMS has the sum of its radios too",
    ("routeros", "frequency_mhz"): "it tells a radio of 60 GHz of which the recording has no other value",
}
"""Measures of radios that we read from another place, and why."""


def device(**fields: object) -> DeviceRow:
    row = {"device_id": 1, "hostname": "sw-3", "status": 1, "last_polled": "2026-11-28 10:00:00", **fields}
    return rows.device_untrusted(ApiRow("a test", row), UTC)


def port(number: int, name: str, **fields: object) -> PortRow:
    row = {"port_id": number, "ifIndex": number, "ifName": name, "ifAdminStatus": "up", "ifOperStatus": "up"}
    return rows.port_untrusted(ApiRow("a test", {**row, "poll_time": NOW - 60, "poll_period": 300, **fields}))


def sensor(number: int, kind: str, label: str, value: object, index: str = "1", **fields: object) -> SensorRow:
    row = {
        "sensor_id": number,
        "device_id": 1,
        "sensor_class": kind,
        "sensor_descr": label,
        "sensor_current": str(value),
    }
    return present(rows.sensor_untrusted(ApiRow("a test", {**row, "sensor_index": index, **fields}), UTC))


def read(told: Told) -> DeviceReading:
    return present(reading_of(told, TARGET, "LibreNMS main", {}, NOW))


# --- recordings -------------------------------------------------------------------------------------------------------


def table(recording: Mapping[str, Any], module: str, name: str) -> list[ApiRow]:
    """Return a table as LibreNMS filled it from a recording: by its poller, or else by its discovery."""
    phases = recording.get(module, {})
    found = next(
        (phases[p][name] for p in ("poller", "discovery") if isinstance(phases.get(p), dict) and name in phases[p]), []
    )
    ids = {"device_id": 1}
    return [ApiRow(name, {**ids, "sensor_id": n, "port_id": n, **row}) for n, row in enumerate(found)]


@cache
def told_of(name: str) -> Told:
    path = shared_file(f"snmp/librenms-expected/{name}.json")
    recording = json.loads(path.read_text(encoding="utf-8"), parse_float=Decimal)
    (os,) = table(recording, "os", "devices")

    def sensors(module: str, what: str) -> list[SensorRow]:
        every = (rows.sensor_untrusted(row, UTC) for row in table(recording, module, what))
        return [one for one in every if one is not None]

    return Told(
        device(**{key: value for key, value in os.fields.items() if key != "device_id"}),
        [rows.port_untrusted(row) for row in table(recording, "ports", "ports")],
        sensors=sensors("sensors", "sensors"),
        wireless=sensors("wireless", "wireless_sensors"),
    )


@pytest.mark.parametrize("name", RECORDINGS)
def test_every_value_of_a_recording_is_told_once(name: str) -> None:
    told = told_of(name)
    found = read(told)
    values = sum(1 for one in (*told.sensors, *told.wireless) if one.value is not None)
    measures = sum(len(part.measures.keys() - {"speed_bps"}) for part in found.parts)
    assert measures + len(found.sensors) == values
    keys = [part.key for part in found.parts] + [one.key for one in found.sensors]
    assert len(set(keys)) == len(keys)
    assert {measure for part in found.parts for measure in part.measures} <= set(MEASURES)
    assert [part.name for part in found.parts if part.kind is PartKind.PORT] == [one.name for one in told.ports]


def compared() -> Iterator[tuple[str, str, float, bool]]:
    """Yield each measure of a radio that LibreNMS tells: recording, measure, value, and whether we read it too."""
    for name in RECORDINGS:
        ours = our_reading_of(name)
        known: dict[str, set[float]] = {}
        for part in ours.parts:
            if part.kind in (PartKind.RADIO, PartKind.CLIENT):
                for measure, value in part.measures.items():
                    known.setdefault(measure, set()).add(round(float(value), 2))
        for part in read(told_of(name)).parts:
            if part.kind is PartKind.RADIO:
                for measure, value in part.measures.items():
                    if measure in known:
                        yield name, measure, value, round(value, 2) in known[measure]


def test_radios_have_the_measures_that_we_read_ourselves() -> None:
    shared_file("snmp/librenms-expected")  # without it there is nothing to compare
    every = list(compared())
    differ = [(name, measure, value) for name, measure, value, same in every if not same]
    assert [one for one in differ if one[:2] not in DIFFER] == []
    assert len(every) >= 100


# --- ports ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("admin", "oper", "state"),
    [
        ("up", "up", LinkState.UP),
        ("up", "down", LinkState.DOWN),
        ("up", "lowerLayerDown", LinkState.DOWN),
        ("up", "notPresent", LinkState.DOWN),
        ("up", "dormant", LinkState.DOWN),
        ("up", "testing", LinkState.UNKNOWN),
        ("up", None, LinkState.UNKNOWN),
        ("down", "down", LinkState.DISABLED),
        ("testing", "up", LinkState.DISABLED),
        (None, "up", LinkState.UP),
    ],
)
def test_states_are_those_of_our_own_profiles(admin: str | None, oper: str | None, state: LinkState) -> None:
    (part,) = read(Told(device(), [port(1, "1", ifAdminStatus=admin, ifOperStatus=oper)])).parts
    assert part.state is state


def test_ports_of_one_name_are_told_apart_by_their_index() -> None:
    found = read(Told(device(), [port(1, "lan"), port(2, "lan"), port(3, "ge-0/0/1"), port(4, "x" * 300)])).parts
    assert [part.key for part in found] == ["port/lan~1", "port/lan~2", "port/ge-0-0-1", f"port/{'x' * 90}"]


@pytest.mark.assumed("librenms-counters-64")
def test_counters_are_the_devices_own() -> None:
    (part,) = read(Told(device(), [port(1, "1", ifInOctets="18446744073709551615", ifOutErrors=7)])).parts
    assert part.counters == {"in_octets": (1 << 64) - 1, "out_errors": 7}


@pytest.mark.parametrize(("periods", "pace_s"), [((302, 299, 60), 300), ((61, 58), 60), ((5,), 60), ((), 300)])
def test_the_pace_is_that_of_most_ports(periods: tuple[int, ...], pace_s: float) -> None:
    assert pace_of(port(n, str(n), poll_period=period) for n, period in enumerate(periods)) == pace_s


def test_optical_levels_belong_to_the_port_they_are_measured_at() -> None:
    at = {"entPhysicalIndex": "7", "entPhysicalIndex_measured": "ports"}
    sensors = [
        sensor(1, "dbm", "xe7 Receive Power", "-8.2", **at),
        sensor(2, "dbm", "xe7 Transmit Power", 0, **at),
        sensor(3, "current", "xe7 Bias Current", "0.00701", **at),
        sensor(4, "temperature", "xe7", 41, **at),
        sensor(5, "dbm", "xe8 Rx", -3),
        sensor(6, "temperature", "a", 1, **at),
    ]
    found = read(Told(device(), [port(7, "xe7")], sensors=sensors))
    assert dict(found.parts[0].measures) == {"rx_power_dbm": -8.2, "bias_ma": 7.01}
    # two temperatures of one port are none of it, and 0 dBm is no light
    assert [one.key for one in found.sensors] == ["value/xe7 Transmit Power", "value/xe8 Rx", "temperature/xe7",
                                                  "temperature/a"]  # fmt: skip


# --- radios -----------------------------------------------------------------------------------------------------------


def radios(*sensors: SensorRow, up: int = 1) -> dict[str, Part]:
    found = read(Told(device(status=up), [port(1, "eth0")], wireless=sensors)).parts
    return {part.key: part for part in found if part.kind is PartKind.RADIO}


def test_several_radios_are_told_apart_by_their_names() -> None:
    found = radios(
        sensor(1, "power", "wlan-5G Rx Level", -60, "1"),
        sensor(2, "snr", "wlan-5G-avg", 25, "3"),
        sensor(3, "power", "wlan-2G Rx Level", -70, "2"),
        sensor(4, "clients", "Clients", 4, "9"),
    )
    assert {key: dict(part.measures) for key, part in found.items()} == {
        "radio/wlan-5G": {"signal_dbm": -60.0, "snr_db": 25.0},
        "radio/wlan-2G": {"signal_dbm": -70.0},
        "radio/9": {"clients": 4.0},
    }
    assert found["radio/wlan-5G"].state is LinkState.UP
    assert found["radio/9"].state is LinkState.UNKNOWN


def test_what_could_be_two_things_is_no_measure_of_a_radio() -> None:
    assert (
        radios(
            sensor(1, "power", "Power", -60),
            sensor(2, "rssi", "RSSI: Chain 1", -60),
            sensor(3, "frequency", "Frequency", 72.4),
            sensor(4, "noise-floor", "Noise", 0),
            sensor(5, "rate", "Rate", 1e6),
            sensor(6, "capacity", "Capacity", 50),
            sensor(7, "snr", "SNR a", 20),
            sensor(8, "snr", "SNR b", 30),
        )
        == {}
    )


def test_a_radio_of_a_device_that_is_down_is_not_up() -> None:
    assert radios(sensor(1, "power", "Rx Level", -60), up=0)["radio/1"].state is LinkState.UNKNOWN


# --- neighbors and addresses ------------------------------------------------------------------------------------------


def test_addresses_and_neighbors_of_unknown_ports_are_of_none() -> None:
    told = Told(
        device(),
        [port(1, "1")],
        bridge=[MacRow("02:00:00:00:00:01", 9), MacRow("", 1), MacRow("02:00:00:00:00:02", 1, 77)],
        arp=[MacRow("02:00:00:00:00:02", 5, address="10.0.0.2"), MacRow("02:00:00:00:00:03", 5, address="10.0.0.3")],
        vlans={77: 300},
        links=[LinkRow(9, 4, "ap-1", "eth0", "", ""), LinkRow(9, 4, "ap-1", "eth0", "", "")],
    )
    found = present(reading_of(told, TARGET, "LibreNMS main", {4: "10.0.0.4"}, NOW))
    assert [(one.mac, one.part, one.vlan, one.address) for one in found.macs] == [
        ("02:00:00:00:00:02", "port/1", 300, "10.0.0.2"),
        ("02:00:00:00:00:03", "", 0, "10.0.0.3"),
    ]
    assert [(one.identity, one.address, one.port) for one in found.neighbors] == [("ap-1", "10.0.0.4", "")]


def test_a_place_of_ipv6_has_brackets() -> None:
    assert (place("2001:db8::1", 161), place("sw-3", 1161)) == ("[2001:db8::1]:161", "sw-3:1161")
