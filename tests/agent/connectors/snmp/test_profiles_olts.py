"""OLTs by their profiles: facts of real recordings, and of recordings that were written from MIBs."""

from __future__ import annotations

import pytest

from agent.connectors.snmp.recording import read_recording_untrusted
from agent.line_model.reading import LinkState, PartKind
from agent.line_model.serials import onu_serial
from tests.agent.connectors.snmp.assumed import NAMES, assumed, parts, sensors, text_of, values
from tests.agent.connectors.snmp.recordings import READ_S, reading_of

UP, DOWN, DISABLED, UNKNOWN = LinkState.UP, LinkState.DOWN, LinkState.DISABLED, LinkState.UNKNOWN


@pytest.mark.parametrize("name", NAMES)
def test_an_assumed_recording_says_so_and_is_sorted(name: str) -> None:
    text = text_of(name)
    assert text.startswith("# Assumed: no device was recorded.")
    oids = [line.partition("|")[0] for line in text.splitlines() if not line.startswith("#")]
    assert oids == sorted(oids, key=lambda oid: [int(part) for part in oid.split(".")])
    assert len(read_recording_untrusted(text)) == len(oids)
    assert assumed(name).profile not in ("standard", "")


@pytest.mark.parametrize("name", NAMES)
def test_parents_are_parts_of_the_device_keys_hold_one_serial(name: str) -> None:
    reading = assumed(name)
    keys = {part.key for part in reading.parts}
    for part in reading.parts:
        assert part.parent == "" or part.parent in keys
        if part.serial:
            assert part.key == f"onu/{part.serial}"
            assert onu_serial(part.serial) == part.serial
        elif part.kind is PartKind.ONU and part.mac:
            assert part.key == f"onu/{part.mac}"


# --- Huawei ---


def test_huawei_ma5603t() -> None:
    reading = reading_of("smartax")
    assert reading.profile == "huawei-smartax"
    assert (reading.hardware, reading.version, reading.serial) == (
        "MA5603T",
        "MA5603V800R018C10B085",
        "020LGJT0G4020681",
    )
    pons = parts(reading, PartKind.PON)
    assert len(pons) == 32
    assert len(parts(reading, PartKind.PORT)) == 10  # no PON port among them
    pon = pons["pon/GPON 0-0-15"]
    assert (pon.name, pon.index, pon.facts["onts"]) == ("GPON 0/0/15", 4_194_307_840, "11")
    first = pons["pon/GPON 0-0-0"]
    optics = {name: value for name, value in first.measures.items() if name != "speed_bps"}
    assert optics == {"temperature_c": 28, "voltage_v": 3.22, "bias_ma": 32, "tx_power_dbm": 7.11}
    assert first.alias == ""  # "Huawei-MA5600-V800R018-GPON_UNI" is no description of staff
    found = values(reading)
    assert found["temperature/board 0-7"] == 22
    assert found["state/slot 0-7"] == "normal"
    assert "load/board 0-8" not in found  # -1: it has no processor


@pytest.mark.assumed("snmp-huawei-olt-reading", "snmp-onu-tables")
def test_huawei_onts_with_optics_of_both_ends() -> None:
    onus = parts(assumed("huawei_ma5800"), PartKind.ONU)
    onu = onus["onu/HWTC1A2B3C4D"]
    assert (onu.name, onu.alias, onu.state, onu.told) == ("GPON 0/1/0:0", "C-10482 Amina", UP, "up(1)")
    assert (onu.parent, onu.facts["model"]) == ("pon/GPON 0-1-0", "HG8245H")
    assert onu.measures == {
        "distance_m": 3124,
        "temperature_c": 47,
        "bias_ma": 12,
        "tx_power_dbm": 2.31,
        "rx_power_dbm": -19.87,
        "voltage_v": 3.29,
        "olt_rx_power_dbm": -23.5,  # 7650: hundredths, and 10000 added
    }
    assert onu.counters == {"in_octets": 1_000_000_000, "out_octets": 42_000_000_000}
    dark = onus["onu/HWTC99887766"]
    assert (dark.state, dark.told, dark.measures) == (DOWN, "down(2), dying gasp: power is off", {})
    assert onus["onu/ZTEGC0FFEE12"].state is DISABLED
    assert onus["onu/ALCLF00DCAFE"].measures["olt_rx_power_dbm"] == -28.42  # -2842, as the MIB says
    epon = onus["onu/02:25:9e:00:00:01"]
    assert (epon.name, epon.state, epon.parent) == ("EPON 0/2/0:0", UP, "pon/EPON 0-2-0")
    assert (epon.measures["rx_power_dbm"], epon.measures["olt_rx_power_dbm"]) == (-18.44, -22.1)


@pytest.mark.assumed("snmp-onu-tables")
def test_huawei_pon_port_counts_its_onts_that_are_up() -> None:
    pons = parts(assumed("huawei_ma5800"), PartKind.PON)
    assert pons["pon/GPON 0-1-0"].measures["clients"] == 1  # of three: one is down, one is disabled
    assert pons["pon/GPON 0-1-1"].alias == "Kibera north"
    assert "temperature_c" not in pons["pon/GPON 0-1-1"].measures  # 2147483647


# --- ZTE ---


def test_zte_c320() -> None:
    reading = reading_of("zxa10_c320")
    assert (reading.profile, reading.hardware, reading.version) == ("zte-zxa10", "C320", "V2.1.0")
    pons = parts(reading, PartKind.PON)
    assert len(pons) == 8
    pon = pons["pon/1-1-3"]
    assert (pon.name, pon.alias, pon.state, pon.index) == ("gpon_1/1/3", "OLT-3", UP, 268_435_968)
    onus = parts(reading, PartKind.ONU)
    assert len(onus) == 125
    # ifIndex counts from 0 (0x10000200), the GPON MIB from 1 (0x10010300): both are port 1/1/3
    assert {onu.parent for onu in onus.values()} <= pons.keys()
    assert (onus["onu/1-1-3:1"].parent, onus["onu/1-1-3:1"].measures) == ("pon/1-1-3", {"distance_m": 2278})
    found = values(reading)
    assert found["temperature/card 1-1-1"] == 38
    assert (found["power/card 1-1-1"], found["voltage/card 1-1-1"]) == (26.895, 50.938)
    assert found["fan/1-1-2"] == 3210
    assert (found["load/card 1-1-4"], found["memory/card 1-1-4"]) == (8, 25)
    assert "memory/card 1-1-3" not in found  # a supply has none


def test_zte_finds_ports_of_macs_by_their_packed_number() -> None:
    seen = {one.mac: (one.part, one.vlan) for one in reading_of("zxa10_c320").macs}
    assert seen["a0:f3:e4:05:e4:01"] == ("port/xgei_1-4-2", 2001)  # 285279234 is 0x11010402


@pytest.mark.assumed("snmp-onu-tables", "snmp-zte-onu-power")
def test_zte_onus_of_the_gpon_mib() -> None:
    onus = parts(assumed("zte_c300"), PartKind.ONU)
    onu = onus["onu/ZTEGC0FFEE12"]
    assert (onu.name, onu.alias, onu.state, onu.told) == ("1/1/2:1", "Wanjiru, plot 4", UP, "working(3)")
    assert onu.measures == {
        "distance_m": 4312,
        "rx_power_dbm": -21.5,  # 4250 * 0.002 - 30
        "tx_power_dbm": 2.42,
        "voltage_v": 3.28,
        "bias_ma": 11.8,
        "temperature_c": 47.5,
        "olt_rx_power_dbm": -22.757,
    }
    dark = onus["onu/ZTEGC0FFEE34"]
    assert (dark.alias, dark.state, dark.told, dark.measures) == ("C-20002", DOWN, "los(1)", {})
    by_place = onus["onu/1-1-2:9"]
    assert (by_place.serial, by_place.told) == ("", "offline(6)")
    assert (by_place.measures["rx_power_dbm"], by_place.measures["temperature_c"]) == (-30.5, -5)  # 16 bits with a sign
    assert "olt_rx_power_dbm" not in by_place.measures  # 65535000: not in service


@pytest.mark.assumed("snmp-zte-newer-tree")
def test_zte_onus_of_the_newer_tree() -> None:
    reading = assumed("zte_c600")
    assert (reading.hardware, reading.version) == ("C600", "V1.2.2P3")
    onus = parts(reading, PartKind.ONU)
    onu = onus["onu/HWTC7C9A0A9B"]  # told as 1,HWTC7C9A0A9B
    assert (onu.name, onu.alias, onu.parent, onu.told) == ("1/2/3:1", "Njeri", "pon/1-2-3", "working(4)")
    assert onu.measures == {
        "distance_m": 2750,
        "rx_power_dbm": -19.8,
        "tx_power_dbm": 2.2,
        "olt_rx_power_dbm": -21.049,
    }
    assert onus["onu/ZTEGD0000001"].told == "dyingGasp(5)"


def test_zte_onus_of_epon() -> None:
    reading = assumed("zte_c220")
    assert (reading.profile, reading.hardware, reading.version) == ("zte-zxa10", "C220", "V2.8.01A.21")
    onus = parts(reading, PartKind.ONU)
    assert set(onus) == {"onu/c4:c9:ec:00:09:28", "onu/e0:67:b3:df:22:f7", "onu/0-3-4:6"}
    onu = onus["onu/c4:c9:ec:00:09:28"]  # 807077120
    assert (onu.name, onu.alias, onu.mac, onu.parent) == (
        "0/3/4:5",
        "Achieng, plot 9",
        "c4:c9:ec:00:09:28",
        "pon/0-3-4",
    )
    assert (onu.state, onu.told, onu.facts) == (UP, "online(3)", {"model": "F401", "version": "V2.0.1"})
    assert onu.measures == {
        "distance_m": pytest.approx(2000, abs=1),  # 1223 round trips of 16 ns
        "rx_power_dbm": -21.55,
        "tx_power_dbm": 1.9,
        "bias_ma": 11.2,
        "voltage_v": 3.26,
        "temperature_c": 41.53,
    }
    dark = onus["onu/e0:67:b3:df:22:f7"]  # 811089920; it has not registered, and is known by what was provisioned
    assert (dark.name, dark.alias, dark.mac) == ("0/11/1:64", "C-30064", "e0:67:b3:df:22:f7")
    assert (dark.state, dark.told, dark.measures) == (DOWN, "poweroff(1)", {})
    never = onus["onu/0-3-4:6"]
    assert (never.alias, never.state, never.told, never.mac, never.measures) == (
        "C-30006",
        DISABLED,
        "offline(2)",
        "",
        {},
    )
    pons = parts(reading, PartKind.PON)
    assert {key: pon.measures["clients"] for key, pon in pons.items()} == {"pon/0-3-4": 1, "pon/0-11-1": 0}


@pytest.mark.assumed("snmp-zte-epon-type-9")
def test_zte_onus_of_epon_with_the_newer_index() -> None:
    reading = assumed("zte_c320_epon")
    assert reading.hardware == "C320"
    onus = parts(reading, PartKind.ONU)
    assert {key: (onu.name, onu.parent, onu.state) for key, onu in onus.items()} == {
        "onu/02:ac:5f:00:00:07": ("1/2/3:7", "pon/1-2-3", UP),
        "onu/02:ac:5f:00:00:08": ("1/2/3:8", "pon/1-2-3", DOWN),
    }
    assert onus["onu/02:ac:5f:00:00:07"].measures["rx_power_dbm"] == -19.4
    assert parts(reading, PartKind.PON)["pon/1-2-3"].alias == "Umoja"


# --- V-SOL ---


def test_vsol_v1600d() -> None:
    reading = reading_of("vsolution_v1600d")
    assert (reading.profile, reading.hardware, reading.version) == ("vsol-olt", "V1600D2", "V2.03.74R")
    pons, onus = parts(reading, PartKind.PON), parts(reading, PartKind.ONU)
    assert pons["pon/EPON0-1"].measures["tx_power_dbm"] == 6.56
    assert (pons["pon/EPON0-1"].state, pons["pon/EPON0-2"].state) == (UP, DOWN)
    assert len(onus) == 16
    onu = onus["onu/24:fd:0d:20:30:d9"]  # its place EPON0/1:1 joins ifTable and the table of optics
    assert (onu.name, onu.alias, onu.mac) == ("EPON0/1:1", "AAAAAA", "24:fd:0d:20:30:d9")
    assert (onu.state, onu.parent, onu.index) == (UP, "pon/EPON0-1", 8)
    assert onu.measures["rx_power_dbm"] == -14.61  # of "0.03 mW (-14.61 dBm)"
    assert onu.measures["tx_power_dbm"] == 3.77
    assert (onu.measures["temperature_c"], onu.measures["bias_ma"]) == (30.67, 11.65)
    assert values(reading) == {"load/cpu": 26, "memory/system": 18, "temperature/system": 40}


def test_vsol_knows_which_onu_a_router_is_behind() -> None:
    seen = {one.mac: (one.part, one.vlan) for one in reading_of("vsolution_v1600d").macs}
    # The index of these rows has the length of the MAC address, and their port is an ifIndex: 18 is EPON0/1:11
    assert len(seen) == 28
    assert seen["00:e0:4c:81:96:c9"] == ("onu/c4:70:0b:25:4a:40", 1)
    assert seen["48:8f:5a:6a:c4:99"] == ("port/GE0-3", 1)


@pytest.mark.assumed("snmp-onu-tables")
def test_vsol_gpon() -> None:
    onus = parts(assumed("vsol_v1600g"), PartKind.ONU)
    onu = onus["onu/VSOL12AB34CD"]
    assert (onu.name, onu.alias, onu.state, onu.parent) == ("GPON0/1:1", "C-40001 Baraka", UP, "pon/GPON0-1")
    assert (onu.measures["rx_power_dbm"], onu.measures["tx_power_dbm"]) == (-19.87, 2.14)
    dark = onus["onu/HWTCDEADBEEF"]
    assert (dark.state, dark.told, dark.measures) == (DOWN, "dyingGasp(4)", {})  # N/A
    assert (onus["onu/GPON00A1B2C3"].state, onus["onu/GPON00A1B2C3"].measures) == (DISABLED, {})


# --- Ubiquiti ---


def test_ufiber_olt() -> None:
    reading = reading_of("edgeosolt")
    assert (reading.profile, reading.hardware, reading.serial) == ("ubiquiti-ufiber", "UFiber OLT", "B4FBE41B4808")
    pons, onus = parts(reading, PartKind.PON), parts(reading, PartKind.ONU)
    assert sorted(pons) == [f"pon/pon{number}" for number in range(1, 9)]
    assert len(onus) == 29
    onu = onus["onu/UBNT20731888"]
    assert (onu.alias, onu.state, onu.parent, onu.facts["model"]) == ("36602_profil_5", UP, "pon/pon2", "NanoG")
    assert onu.measures == {"tx_power_dbm": 2.28, "rx_power_dbm": -24.81}
    assert onu.counters == {"in_octets": 21_372_976_157, "out_octets": 374_022_085_508}  # as the OLT counts them
    assert onu.since_s == READ_S - 3_023_252
    off = onus["onu/UBNTE4EB528A"]  # told in small letters
    assert (off.state, off.measures, off.since_s) == (DOWN, {}, None)  # 0 dBm of an ONU that is off is no power
    found = values(reading)
    assert (found["temperature/0"], found["fan/0"], found["value/onus"]) == (47.25, 6852, 29)


def test_a_router_of_the_same_object_id_is_no_olt() -> None:
    assert reading_of("edgeos").profile != "ubiquiti-ufiber"


# --- C-Data ---


@pytest.mark.assumed("snmp-cdata-by-mib")
def test_cdata_epon() -> None:
    reading = assumed("cdata_fd1208_epon")
    onus = parts(reading, PartKind.ONU)
    onu = onus["onu/02:c0:ff:ee:00:01"]
    assert (onu.name, onu.alias, onu.state, onu.parent) == ("1/2:1", "C-50001", UP, "pon/1-2")
    assert onu.measures == {
        "distance_m": 733,
        "rx_power_dbm": -21.78,
        "tx_power_dbm": 1.87,
        "temperature_c": 41.25,
        "olt_rx_power_dbm": -23.45,
    }
    assert onu.since_s == READ_S - 86_400
    assert (onus["onu/02:c0:ff:ee:00:02"].state, onus["onu/02:c0:ff:ee:00:02"].measures) == (DOWN, {})
    assert parts(reading, PartKind.PON)["pon/1-2"].measures == {
        "clients": 1,
        "voltage_v": 3.31,
        "bias_ma": 15.9,
        "tx_power_dbm": 6.12,
    }


@pytest.mark.assumed("snmp-cdata-by-mib")
def test_cdata_gpon_in_two_ways_of_indexing() -> None:
    onus = parts(assumed("cdata_fd1608_gpon"), PartKind.ONU)
    named = onus["onu/CDTCAF00B1C2"]
    assert (named.name, named.alias, named.parent) == ("0/3:5", "C-60001 Mwangi", "pon/0-3")
    assert (named.measures["rx_power_dbm"], named.measures["distance_m"]) == (-18.54, 2210)
    off = onus["onu/HWTC0A0B0C0D"]
    assert (off.alias, off.state, off.facts["last down"]) == ("", DOWN, "dying-gasp")
    packed = onus["onu/0-3:7"]  # its serial is all zeros
    assert (packed.name, packed.alias, packed.state, packed.parent) == ("0/3:7", "C-60003", DISABLED, "pon/0-3")


# --- BDCOM, FiberHome, Calix ---


def test_bdcom_epon() -> None:
    onus = parts(assumed("bdcom_p3310"), PartKind.ONU)
    onu = onus["onu/02:bd:c0:00:00:01"]
    assert (onu.name, onu.alias, onu.parent, onu.index) == ("EPON0/1:1", "C-70001", "pon/EPON0-1", 23)
    assert onu.measures == {
        "distance_m": 1402,
        "rx_power_dbm": -20.7,
        "tx_power_dbm": 2.1,
        "olt_rx_power_dbm": -23.8,
        "temperature_c": 44,  # 11264 / 256
        "voltage_v": 3.28,
        "bias_ma": 12.2,
        "speed_bps": 1_000_000_000,
    }
    lost = onus["onu/02:bd:c0:00:00:02"]
    assert (lost.state, lost.told, lost.measures) == (DOWN, "lost(4)", {"speed_bps": 1_000_000_000})


@pytest.mark.assumed("snmp-bdcom-gpon-units")
def test_bdcom_gpon_knows_serials_in_both_spellings() -> None:
    onus = parts(assumed("bdcom_gp3600"), PartKind.ONU)
    assert onus["onu/BDCM1234ABCD"].measures["rx_power_dbm"] == -19.2
    assert (onus["onu/ZTEG5678EF01"].state, onus["onu/ZTEG5678EF01"].told) == (DOWN, "deregistered(2)")


def test_fiberhome() -> None:
    reading = reading_of("fiberhome")
    assert (reading.profile, reading.hardware, reading.version) == ("fiberhome-an5516", "AN5516-01", "RP0700")
    assert values(reading) == {
        "temperature/system": 45,
        "load/card 9": 4.58,
        "load/card 10": 1.04,
        "memory/card 9": 59.45,
        "memory/card 10": 59.07,
        "state/card 9": "normal",
        "state/card 10": "normal",
        "state/power supply 1": "normal",
        "state/power supply 2": "fault",
        "state/fan 21": "normal",
        "state/fan 22": "normal",
        "state/fan 23": "normal",
    }


@pytest.mark.assumed("snmp-onu-tables")
def test_fiberhome_onus() -> None:
    reading = assumed("fiberhome_an5516")
    onus = parts(reading, PartKind.ONU)
    onu = onus["onu/FHTT1234ABCD"]
    assert (onu.name, onu.alias, onu.state, onu.parent) == ("11/2:1", "C-80001", UP, "pon/11-2")
    assert (onu.measures["rx_power_dbm"], onu.measures["olt_rx_power_dbm"]) == (-20.12, -23.3)
    assert [onus[key].told for key in ("onu/FHTT1234ABCE", "onu/02:f1:be:00:00:03")] == ["power cut(2)", "fiber cut(0)"]
    assert parts(reading, PartKind.PON)["pon/11-2"].alias == "Lakeside"


def test_calix_ont_without_the_garbage_behind_its_texts() -> None:
    reading = reading_of("calix_716ge")
    assert (reading.profile, reading.hardware) == ("calix-ont", "716GE")
    assert (reading.version, reading.serial) == ("10.7.110.17", "CXNK0006E6A1")
    port = parts(reading, PartKind.PORT)["port/eth-0"]
    assert (port.name, port.alias, port.state) == ("eth-0", "", UP)


@pytest.mark.assumed("snmp-calix-e7-step")
def test_calix_e7_in_steps_of_0_002_dbm() -> None:
    reading = assumed("calix_e7")
    assert (reading.hardware, reading.version, reading.serial) == ("E7-2", "3.1.10.2", "071409876543")
    onus = parts(reading, PartKind.ONU)
    assert onus["onu/101"].measures == {"rx_power_dbm": -19.7, "tx_power_dbm": 2.4, "olt_rx_power_dbm": -22.21}
    assert (onus["onu/102"].state, onus["onu/102"].told) == (DOWN, "systemDisabled(3), dying gasp: power is off")
    pon = parts(reading, PartKind.PON)["pon/1-1-4"]
    assert (pon.state, pon.measures["tx_power_dbm"], pon.measures["bias_ma"]) == (UP, 5, 15.2)  # 31623: 3.16 mW


@pytest.mark.assumed("snmp-calix-axos")
def test_calix_axos_in_milliwatts() -> None:
    onus = parts(assumed("calix_axos"), PartKind.ONU)
    onu = onus["onu/CXNK00A1B2C3"]
    assert onu.measures == {"rx_power_dbm": -19.59, "tx_power_dbm": 2.3, "olt_rx_power_dbm": -22.01}
    assert (onus["onu/house-17"].state, onus["onu/house-17"].serial) == (DOWN, "")


def test_sensors_of_an_olt_have_labels() -> None:
    found = sensors(reading_of("zxa10_c320"))
    assert found["temperature/card 1-1-1"].label == "GTGOG 1/1/1"
