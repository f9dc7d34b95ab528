"""Power gear and small gear by their profiles: facts that a person would check."""

from __future__ import annotations

import pytest

from agent.connectors.snmp.recording import read_recording_untrusted
from agent.line_model.reading import LinkState, PartKind
from tests.agent.connectors.snmp.assumed import assumed, parts, sensors, values
from tests.agent.connectors.snmp.recordings import profile_of, read_by, reading_of


def test_powerwalker_ups() -> None:
    reading = reading_of("powerwalker")
    assert (reading.profile, reading.version) == ("powerwalker", "3.1.0.0")
    assert values(reading) == {
        "state/UPS": "line",
        "state/battery": "normal",
        "temperature/UPS": 30.8,
        "runtime/battery": 600,
        "battery/battery": 100,
        "voltage/battery": 108.9,
        "value/input 1 frequency": 49.9,
        "voltage/input 1": 238.2,
        "value/output 1 frequency": 49.9,
        "voltage/output 1": 230,
        "load/output 1": 27,
    }  # -1 stands for what this UPS does not tell: currents, powers, the room
    assert sensors(reading)["value/input 1 frequency"].unit == "Hz"


@pytest.mark.assumed("snmp-apc-by-mib")
def test_apc_ups_on_its_battery() -> None:
    reading = assumed("apc_smartups")
    assert (reading.profile, reading.hardware, reading.serial) == ("apc", "Smart-UPS 1500", "AS1234567890")
    found = values(reading)
    assert (found["state/UPS"], found["state/battery replacement"]) == ("on battery", "needed")
    assert (found["battery/battery"], found["runtime/battery"]) == (78.4, 49)  # tenths go before whole ones
    assert (found["voltage/battery"], found["voltage/input"], found["load/output"]) == (26.1, 0, 35.4)


def test_netonix_switch() -> None:
    reading = reading_of("netonix_wispswitch")
    assert (reading.profile, reading.hardware, reading.version) == ("netonix", "WS-12-250-AC", "1.3.9")
    ports = parts(reading, PartKind.PORT)
    assert len(ports) == 14
    assert (ports["port/Port 1"].alias, ports["port/Port 1"].state) == ("EdgeRouter Uplink", LinkState.UP)
    assert [ports[f"port/Port {number}"].facts["poe"] for number in (1, 2, 3)] == ["off", "48VH", "24V"]
    found = values(reading)
    assert (found["temperature/CPU Temp"], found["voltage/Board 48V"], found["power/total"]) == (81, 49.8, 33)


def test_ict_distribution_panel() -> None:
    reading = reading_of("ict-pdu")
    assert (reading.profile, reading.hardware, reading.version) == ("ict-pdu", "ICT180S-12BRCP", "2.08")
    found = sensors(reading)
    assert found["current/output 9"].value == 0.2
    assert found["current/output 9"].label == "Camera #9"
    assert (found["voltage/system"].value, found["current/system"].value) == (46, 0.2)
    assert (found["state/fuse 9"].text, found["state/output 3"].text) == ("ok", "disabled")


def test_tycon_monitor() -> None:
    reading = reading_of("tpdin3")
    assert (reading.profile, reading.version) == ("tycon-tpdin", "2.2.5")
    found = values(reading)
    assert [found[f"voltage/{number}"] for number in range(1, 5)] == [55.3, 55.5, 54.6, 0]
    assert (found["current/4"], found["temperature/internal"]) == (-0.1, 52.9)


def test_packetflux_inputs_of_each_module() -> None:
    reading = reading_of("sitemonitor3")
    assert reading.profile == "packetflux-sitemonitor"
    found = sensors(reading)
    assert (found["voltage/0-1"].label, found["voltage/0-1"].value, found["voltage/0-1"].unit) == ("VinA", 53.5896, "V")
    assert found["voltage/0-4"].value == -0.000283
    assert found["voltage/2-2"].value == 5.440031
    assert (found["temperature/0-1"].label, found["temperature/0-1"].value) == ("Board Temperature", 11.23)


def test_raisecom_optics_belong_to_their_ports() -> None:
    reading = reading_of("raisecom-ros")
    assert (reading.profile, reading.hardware) == ("raisecom-ros", "RAX711-C-R P100R001C00")
    assert (reading.version, reading.serial) == ("ROS_6.2.0_20200614", "103002031910S20907S0003G")
    port = parts(reading, PartKind.PORT)["port/tengigabitethernet1-1-1"]
    assert port.alias == "to_goe-0-service-rt-a:1/6/10"
    assert (port.measures["rx_power_dbm"], port.measures["tx_power_dbm"]) == (-2.716, -3.316)
    assert (port.measures["temperature_c"], port.measures["bias_ma"]) == (36.125, 32.494)
    found = values(reading)
    assert (found["load/cpu 0"], found["state/alarm level"]) == (21, "warning")
    assert round(float(found["memory/system"]), 1) == 50.3


def read(text: str) -> dict[str, float | str]:
    found = read_recording_untrusted(text)
    return values(read_by(profile_of(found), found))


@pytest.mark.assumed("snmp-devices-by-mib")
def test_older_relatives_by_their_mibs() -> None:
    tycon = "1.3.6.1.4.1.45621.2"
    assert read(f"1.3.6.1.2.1.1.2.0|6|{tycon}\n{tycon}.2.5.0|2|124\n{tycon}.2.14.0|2|310\n{tycon}.2.1.0|2|1") == {
        "voltage/1": 12.4,
        "temperature/internal": 31,
        "state/relay 1": "on",
    }
    card = "1.3.6.1.4.1.935.1.1.1"
    assert read(
        f"1.3.6.1.2.1.1.2.0|6|1.3.6.1.4.1.935\n{card}.2.2.1.0|2|98\n{card}.2.2.4.0|2|1800\n{card}.3.2.1.0|2|2310\n"
        f"{card}.4.1.1.0|2|3"
    ) == {"battery/battery": 98, "runtime/battery": 30, "voltage/input 1": 231, "state/UPS": "on battery"}
    ict = "1.3.6.1.4.1.39145"
    assert read(f"1.3.6.1.2.1.1.2.0|6|{ict}.11\n{ict}.11.7.0|4|54.1\n{ict}.11.12.0|2|1000\n{ict}.11.13.0|2|87") == {
        "voltage/output": 54.1,
        "battery/battery": 87,
    }
    assert read(f"1.3.6.1.2.1.1.2.0|6|{ict}.13\n{ict}.13.10.1.2.1|2|2\n{ict}.13.10.1.13.1|2|5389") == {
        "state/module 1": "ok",
        "voltage/module 1": 53.89,
    }
    ros = "1.3.6.1.4.1.8886"
    assert read(f"1.3.6.1.2.1.1.2.0|6|{ros}.6.166\n{ros}.1.1.4.2.1.0|2|41\n{ros}.1.1.4.3.1.1.3.1|2|3301") == {
        "temperature/system": 41,
        "voltage/supply 1": 3.301,
    }


@pytest.mark.assumed("snmp-devices-by-mib")
def test_a_ups_of_three_phases() -> None:
    apc = "1.3.6.1.4.1.318.1.1.1.9"
    found = read(
        f"1.3.6.1.2.1.1.2.0|6|1.3.6.1.4.1.318.1.3.13.3\n{apc}.2.3.1.3.1.1.1|2|231\n{apc}.2.3.1.3.1.1.2|2|-1\n"
        f"{apc}.3.3.1.4.1.1.1|2|105\n{apc}.3.3.1.10.1.1.1|2|40"
    )
    assert found == {
        "voltage/input phase 1.1.1": 231,
        "current/output phase 1.1.1": 10.5,
        "load/output phase 1.1.1": 40,
    }
