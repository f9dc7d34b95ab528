"""Profiles of radios: facts that a person would check on the device, of recordings and of tables that they lack."""

from __future__ import annotations

from agent.connectors.snmp import profile_files
from agent.connectors.snmp.recording import read_recording_untrusted
from agent.line_model.reading import DeviceReading, LinkState, Part, PartKind, SeenMac
from tests.agent.connectors.snmp.recordings import READ_S, read_by, reading_of


def parts(reading: DeviceReading) -> dict[str, Part]:
    return {part.key: part for part in reading.parts}


def sensors(reading: DeviceReading) -> dict[str, float | str | None]:
    return {sensor.key: sensor.text if sensor.value is None else sensor.value for sensor in reading.sensors}


def read(name: str, root: str, answers: str) -> DeviceReading:
    """Return the reading of a device that answers lines of `OID below the root|TAG|VALUE`."""
    profile = next(one for one in profile_files.shipped() if one.name == name)
    lines = (f"{root}.{line}" for line in answers.split())
    return read_by(profile, read_recording_untrusted("\n".join(lines)))


def test_ubiquiti_airmax() -> None:
    reading = reading_of("airos")
    assert (reading.profile, reading.hardware) == ("ubiquiti-airos", "Rocket Prism 5AC Gen2")
    assert reading.version == "8.5.1.37185.180307.0931"
    radio = parts(reading)["radio/ath0"]
    assert radio.state is LinkState.UP
    assert radio.measures == {
        "frequency_mhz": 5745,
        "tx_power_dbm": 27,
        "distance_m": 14_400,
        "signal_dbm": -69,
        "noise_dbm": -103,
        "snr_db": 34,
        "ccq_percent": 92,
        "tx_rate_bps": 59_999_000,
        "rx_rate_bps": 37_338_600,
        "clients": 22,
        "quality_percent": 53,
    }
    assert sensors(reading)["temperature/host"] == 66
    assert sensors(reading_of("airos_airos8"))["temperature/host"] == 16  # 160000000


def test_ubiquiti_airmax_stations() -> None:
    station = "7.1.{}.1.4.24.214.10.11.12"
    reading = read(
        "ubiquiti-airos",
        "1.3.6.1.4.1.41112.1.4",
        f"1.1.2.1|2|1 5.1.15.1|66|0 {station.format(2)}|4|barn {station.format(3)}|2|-61 {station.format(4)}|2|-95 "
        f"{station.format(5)}|2|2700 {station.format(6)}|2|980 {station.format(11)}|2|130000000 "
        f"{station.format(13)}|70|7 {station.format(14)}|70|9 {station.format(15)}|67|100000 "
        f"{station.format(18)}|2|90000 {station.format(10)}|64x|0a000003",
    )
    radio, barn = reading.parts
    assert (radio.state, radio.measures["clients"]) == (LinkState.DOWN, 0)  # a station that has no access point
    assert (barn.key, barn.name, barn.kind) == ("client/04:18:d6:0a:0b:0c", "barn", PartKind.CLIENT)
    assert (barn.parent, barn.mac, barn.state) == ("radio/ath0", "04:18:d6:0a:0b:0c", LinkState.UP)
    assert (barn.measures["signal_dbm"], barn.measures["snr_db"], barn.measures["distance_m"]) == (-61, 34, 2700)
    assert (barn.measures["ccq_percent"], barn.measures["capacity_bps"]) == (98, 90_000_000)
    assert reading.macs == (SeenMac("04:18:d6:0a:0b:0c", barn.key, address="10.0.0.3"),)
    assert (barn.counters, barn.since_s) == ({"out_octets": 7, "in_octets": 9}, READ_S - 1000)


def test_ubiquiti_airfiber_tells_kilohertz_or_megahertz() -> None:
    reading = reading_of("airos-af")
    assert (reading.profile, reading.version) == ("ubiquiti-airfiber", "v4.0.3")
    radio = parts(reading)["radio/air0"]
    assert (radio.measures["frequency_mhz"], radio.measures["rx_frequency_mhz"]) == (11_485, 10_995)
    assert (radio.measures["signal_dbm"], radio.measures["distance_m"]) == (-42, 11_450)
    assert radio.counters["in_octets"] == 1_995_629_150_125
    link = read(
        "ubiquiti-airfiber",
        "1.3.6.1.4.1.41112.1.3",
        "1.1.5.1|2|5790 2.1.26.1|2|0 2.1.11.1|2|-70 2.1.12.1|2|2 2.1.14.1|2|-75 2.1.45.1|4|04:18:D6:00:00:01",
    ).parts[0]
    assert (link.state, link.measures) == (LinkState.DOWN, {"frequency_mhz": 5790, "signal_dbm": -75})
    assert link.facts["peer"] == "04:18:d6:00:00:01"


def test_airfibers_data_port_is_told_apart_from_management() -> None:
    known = parts(reading_of("airos-af"))
    data, management = known["port/data"], known["port/eth0"]
    assert (data.kind, data.name, data.state) == (PartKind.PORT, "data", LinkState.UNKNOWN)  # this release tells none
    assert data.counters == {
        "in_octets": 23_669_076_995_688,
        "out_octets": 1_844_894_475_537,
        "in_packets": 18_006_635_030,
        "out_packets": 11_854_374_797,
        "in_errors": 55,
        "out_errors": 24,
    }
    assert (management.state, management.counters["in_octets"]) == (LinkState.DOWN, 0)
    told = read("ubiquiti-airfiber", "1.3.6.1.4.1.41112.1.3", "2.1.27.1|2|0 3.1.6.1|70|7").parts
    assert [(p.state, p.told, p.counters) for p in told if p.key == "port/data"] == [
        (LinkState.DOWN, "down(0)", {"out_octets": 7})
    ]
    ltu = parts(reading_of("airos-af-ltu"))
    assert (ltu["port/data"].state, ltu["port/data"].told) == (LinkState.UP, "connected(1)")


def test_ubiquiti_ltu() -> None:
    reading = reading_of("airos-af-ltu")
    assert (reading.profile, reading.hardware) == ("ubiquiti-ltu", "airFiber 5XHD")
    radio, peer = parts(reading)["radio/ath0"], parts(reading)["client/18:e8:29:1e:30:de"]
    assert (radio.measures["frequency_mhz"], radio.measures["clients"]) == (5840, 1)
    assert (peer.parent, peer.measures["signal_dbm"], peer.measures["distance_m"]) == ("radio/ath0", -47, 10_955)
    assert (peer.measures["tx_rate_bps"], peer.measures["rx_rate_bps"]) == (63_488_000, 161_280_000)


def test_ubiquiti_wave() -> None:
    reading = reading_of("airos-af60_v3.4")
    assert (reading.profile, reading.hardware, reading.version) == ("ubiquiti-af60", "Wave Long-Range", "v3.4.0")
    assert parts(reading)["radio/wlan0"].measures == {"frequency_mhz": 70_560, "width_mhz": 540}
    mac = "4.24.214.10.11.12"
    peer = parts(
        read(
            "ubiquiti-af60",
            "1.3.6.1.4.1.41112.1.11.1",
            f"1.2.1|2|60480 3.1.3.{mac}|2|-52 3.1.7.{mac}|2|1950000 3.1.9.{mac}|70|5 3.1.14.{mac}|4|mill "
            f"3.1.15.{mac}|2|812 3.1.18.{mac}|2|-54 3.1.20.{mac}|64x|0a000001",
        )
    )["client/04:18:d6:0a:0b:0c"]
    assert (peer.name, peer.parent, peer.facts["address"]) == ("mill", "radio/wlan0", "10.0.0.1")
    assert peer.measures == {
        "signal_dbm": -52,
        "remote_signal_dbm": -54,
        "tx_rate_bps": 1_950_000_000,
        "distance_m": 812,
    }


def test_ubiquiti_unifi() -> None:
    reading = reading_of("unifi_nanohd")
    assert (reading.profile, reading.hardware, reading.version) == ("ubiquiti-unifi", "UAP-nanoHD", "5.43.36.12724")
    radios = parts(reading)
    assert radios["radio/na"].measures == {
        "frequency_mhz": 5785,  # channel 157
        "tx_power_dbm": 26,
        "utilization_percent": 0,
        "clients": 14,
    }
    assert radios["radio/ng"].measures["frequency_mhz"] == 2437
    assert radios["radio/na homewifi_ac"].measures == {"frequency_mhz": 5785, "tx_power_dbm": 26, "clients": 14}
    assert reading_of("unifi").profile == "ubiquiti-unifi"  # the sysObjectID of airOS


def test_cambium_epmp() -> None:
    reading = reading_of("epmp")
    assert (reading.profile, reading.version, reading.serial) == ("cambium-epmp", "4.5.6", "E2NF3572D8XT")
    assert parts(reading)["radio/wlan"].measures == {"frequency_mhz": 5210, "snr_db": 34, "clients": 1}
    assert sensors(reading)["load/cpu"] == 42


def test_cambium_epmp_subscribers() -> None:
    entry = "1.2.30.1"
    reading = read(
        "cambium-epmp",
        "1.3.6.1.4.1.17713.21",
        f"1.2.1.0|2|5320 1.2.2.0|2|2 1.2.10.0|2|1 {entry}.1.1|4|58:C1:7A:01:02:03 {entry}.4.1|2|-58 {entry}.5.1|2|-60 "
        f"{entry}.6.1|2|33 {entry}.18.1|4|farm {entry}.28.1|4|117.5 {entry}.10.1|64x|0a000002 "
        "1.2.40.1.2.9|4|02:00:00:00:00:07 1.2.40.1.4.9|4|58:c1:7a:01:02:03",
    )
    radio, farm = reading.parts
    assert reading.macs == (
        SeenMac("02:00:00:00:00:07", farm.key),  # the subscriber's router
        SeenMac("58:c1:7a:01:02:03", farm.key, address="10.0.0.2"),
    )
    assert (radio.measures["width_mhz"], radio.state) == (40, LinkState.UP)
    assert (farm.key, farm.name, farm.parent) == ("client/58:c1:7a:01:02:03", "farm", "radio/wlan")
    assert farm.measures == {
        "signal_dbm": -58,
        "remote_signal_dbm": -60,
        "snr_db": 33,
        "tx_rate_bps": 117_500_000,
    }


def test_cambium_epmp_subscriber_module_that_scans() -> None:
    answers = "1.2.1.0|2|5320 1.2.16.0|2|1 1.2.3.0|2|-64 1.2.12.0|4|4.5 1.2.6.0|2|15 1.2.101.0|2|5600 1.2.103.0|2|-70"
    one, two = read("cambium-epmp", "1.3.6.1.4.1.17713.21", answers).parts
    assert (one.state, one.told) == (LinkState.DOWN, "scanning(1)")
    assert one.measures == {"frequency_mhz": 5320, "signal_dbm": -64, "distance_m": 4500}
    assert (two.key, two.measures) == ("radio/wlan2", {"frequency_mhz": 5600, "signal_dbm": -70})


def test_cambium_pmp_subscriber_module() -> None:
    answers = (
        "2.2.1.0|4|REGISTERED 2.2.8.0|4|-58.5 2.2.95.0|2|31 2.2.106.0|2|29 2.2.67.0|66|5490000 3.1.233.0|2|2150 "
        "2.2.36.0|67|360000 2.2.117.0|4|-61.2"
    )
    reading = read("cambium-pmp", "1.3.6.1.4.1.161.19.3", answers)
    (radio,) = reading.parts
    assert (radio.state, radio.since_s) == (LinkState.UP, READ_S - 3600)
    assert radio.measures == {"frequency_mhz": 5490, "signal_dbm": -58.5, "snr_db": 29, "tx_power_dbm": 21.5}
    assert sensors(reading)["value/rx horizontal"] == -61.2


def test_cambium_pmp() -> None:
    reading = reading_of("pmp_450m")
    assert (reading.profile, reading.hardware, reading.version) == ("cambium-pmp", "PMP 450m", "16.0.0.1")
    assert parts(reading)["radio/rf1"].measures == {
        "frequency_mhz": 5785,
        "clients": 34,
        "utilization_percent": 18,
        "up_utilization_percent": 16,
    }
    module = parts(reading)["client/luid 2"]
    assert module.measures == {"signal_dbm": -62.8, "snr_db": 24}
    assert module.facts["SNR horizontal"] == "30"
    assert sensors(reading)["state/gps"] == "gpsSynchronized(1)"


def test_cambium_pmp_modules() -> None:
    link = "1.4.1"
    reading = read(
        "cambium-pmp",
        "1.3.6.1.4.1.161.19.3",
        f"1.7.1.0|66|1 {link}.3.2|4x|0a003e000001 {link}.19.2|2|1 {link}.33.2|4|dairy {link}.66.2|2|10000 "
        f"{link}.7.2|65|5 {link}.3.3|4x|0a003e000002 {link}.19.3|2|0 {link}.19.4|2|6 {link}.35.4|4|-60 "
        "3.4.1.2.2.0.0.0.0.7|2|2",
    )
    _, dairy, idle = reading.parts
    assert reading.macs == (SeenMac("02:00:00:00:00:07", dairy.key),)  # the subscriber's router
    assert (dairy.name, dairy.mac, dairy.state, dairy.told) == (
        "dairy",
        "0a:00:3e:00:00:01",
        LinkState.UP,
        "inSession(1)",
    )
    assert (dairy.measures, dairy.narrow) == ({"distance_m": 1498.96229}, {"in_octets"})
    assert (idle.key, idle.state) == ("client/0a:00:3e:00:00:02", LinkState.DOWN)


def test_cambium_cnwave() -> None:
    reading = reading_of("cnwave60")
    assert (reading.profile, reading.hardware, reading.version) == ("cambium-cnwave60", "V3000", "1.2.2.1")
    assert parts(reading)["radio/link 1"].measures == {"signal_dbm": -64, "snr_db": 10}


def test_cambium_cmm4_feeds_six_of_eight_ports() -> None:
    reading = reading_of("cmm4")
    assert (reading.profile, reading.serial) == ("cambium-cmm4", "0a-00-3e-e8-12-20")
    off = [part.name for part in reading.parts if part.state is LinkState.DISABLED]
    assert (off, len(reading.parts)) == (["port2", "port7"], 8)


def test_mimosa() -> None:
    reading = reading_of("mimosa_b5")
    assert (reading.profile, reading.hardware, reading.version) == ("mimosa", "B5c", "2.3.3")
    chain = parts(reading)["radio/chain3"]
    assert chain.measures == {
        "frequency_mhz": 5630,
        "tx_power_dbm": 21,
        "signal_dbm": -59.2,
        "noise_dbm": -89.9,
        "snr_db": 30.7,
    }
    assert parts(reading)["radio/wireless"].measures["error_percent"] == 0.22
    assert parts(reading)["radio/stream4"].measures["rx_rate_bps"] == 180_000_000
    assert sensors(reading)["temperature/internal"] == 45


def test_mimosa_clients_are_joined_by_address() -> None:
    client = parts(
        read(
            "mimosa",
            "1.3.6.1.4.1.43356.2.1.2.9",
            "3.3.1.2.1|4|5GHz 3.3.1.7.1|66|5500 5.1.1.2.7|4x|20b5c6000001 5.1.1.3.7|4|loft "
            "6.1.1.2.9|4x|20b5c6000001 6.1.1.11.9|2|-587 6.1.1.4.9|70|12",
        )
    )["client/20:b5:c6:00:00:01"]
    assert (client.name, client.parent, client.measures) == ("loft", "radio/5GHz", {"signal_dbm": -58.7})
    assert client.counters == {"in_octets": 12}


def test_mikrotik_wireless() -> None:
    reading = reading_of("routeros")
    assert (reading.profile, reading.version, reading.serial) == ("mikrotik-routeros", "6.40.5", "71B1060EE89D")
    radio = parts(reading)["radio/wlan1"]
    assert (radio.measures["clients"], radio.measures["noise_dbm"], radio.measures["width_mhz"]) == (7, -117, 20)
    client = parts(reading)["client/00:66:65:2d:e4:2e"]
    assert (client.parent, client.measures) == ("radio/wlan1", {"signal_dbm": -82})
    virtual = parts(reading)["radio/wlan4"]
    assert virtual.measures == {"clients": 4, "ccq_percent": 0}  # neither 0 MHz nor 0 dBm
    optics = parts(reading)["port/sfp1"]
    assert (optics.measures["rx_power_dbm"], optics.measures["voltage_v"]) == (-5.673, 3.302)


def test_mikrotik_60_ghz() -> None:
    reading = reading_of("routeros_wifi")
    assert (reading.hardware, reading.version) == ("RBLHGG-60ad", "6.44")
    radio = parts(reading)["radio/wlan60-1"]
    assert (radio.state, radio.told) == (LinkState.UP, "connected(1)")
    assert radio.measures["frequency_mhz"] == 58_320
    assert radio.measures["signal_dbm"] == -54
    peer = parts(reading)["client/b8:69:f4:7f:41:70"]
    assert (peer.name, peer.parent) == ("wlan60-station-1", "radio/wlan60-1")
    assert (peer.measures["distance_m"], peer.measures["tx_rate_bps"]) == (185.45, 2_310_000_000)


def test_mikrotik_lte() -> None:
    lte = parts(reading_of("routeros_ltap-mini"))["radio/lte1"]
    assert lte.measures == {"rsrq_db": -10, "rsrp_dbm": -105, "snr_db": 11}  # its RSSI is 0: not told
    assert lte.facts["access technology"] == "Evolved 3G (LTE)"


def test_mikrotik_wifi_and_capsman() -> None:
    mac, other = "4.24.214.10.11.12.5", "4.24.214.10.11.13.6"
    reading = read(
        "mikrotik-routeros",
        "1.3.6.1.4.1.14988.1.1",
        f"21.5.1.2.5|4|wifi1 21.5.1.4.5|4|5180/ax/Ceee 21.4.1.6.{mac}|2|-63 21.4.1.9.{mac}|66|866700000 "
        f"21.4.1.14.{mac}|70|4 1.7.1.2.6|65|1 1.7.1.5.6|4|2412/20-Ce/gn(17dBm) 14.1.1.2.6|4|cap1 "
        f"1.5.1.11.{other}|2|-71 1.5.1.5.{other}|65|3",
    )
    found = parts(reading)
    assert found["radio/wifi1"].measures == {"frequency_mhz": 5180, "clients": 1}
    assert found["client/04:18:d6:0a:0b:0c"].measures == {"signal_dbm": -63, "tx_rate_bps": 866_700_000}
    cap = {"clients": 1, "frequency_mhz": 2412, "width_mhz": 20, "tx_power_dbm": 17}
    assert found["radio/cap1"].measures == cap
    assert (found["client/04:18:d6:0a:0b:0d"].parent, found["client/04:18:d6:0a:0b:0d"].narrow) == (
        "radio/cap1",
        {"in_octets"},
    )


def test_mikrotik_gauges() -> None:
    found = sensors(reading_of("routeros_crs317"))
    assert (found["temperature/temperature"], found["temperature/processor"]) == (45, 44)
    assert (found["state/psu1-state"], found["state/psu2-state"]) == ("ok(0)", "fail(1)")
    gauges = "3.100.1.2.13|4|voltage 3.100.1.3.13|66|242 3.100.1.4.13|2|3"
    assert sensors(read("mikrotik-routeros", "1.3.6.1.4.1.14988.1.1", gauges)) == {"voltage/voltage": 24.2}


def test_siklu_etherhaul() -> None:
    reading = reading_of("siklu")
    assert (reading.profile, reading.hardware, reading.serial) == ("siklu-etherhaul", "EH-1200TL", "F410060602")
    radio = parts(reading)["radio/rf1"]
    assert radio.measures == {"frequency_mhz": 72_375, "tx_power_dbm": 5, "signal_dbm": -38, "snr_db": 23}
    assert radio.counters["in_octets"] == 268_957_906_527
    muted = read("siklu-etherhaul", "1.3.6.1.4.1.31926", "2.1.1.17.1|2|2 2.1.1.34.1|2|1 2.1.1.3.1|2|2").parts[0]
    assert (muted.state, muted.measures) == (LinkState.DISABLED, {"width_mhz": 500})


def test_siklu_multihaul() -> None:
    reading = reading_of("siklu-mhtg_mh-t265")
    assert (reading.profile, reading.hardware) == ("siklu-multihaul", "MH-T265-CCP-PoE-MWB")
    peer = parts(reading)["radio/rf-peer1"]
    assert (peer.alias, peer.state) == ("", LinkState.UP), "the other end's name describes nothing of this one"
    assert peer.facts["remote name"] == "peer1"
    assert peer.measures == {
        "signal_dbm": -60,
        "snr_db": 13,
        "error_percent": 3.5,
        "remote_error_percent": 6.3,
        "rx_rate_bps": 2_050_000_000,
        "tx_rate_bps": 3_800_000_000,
    }


def test_ceragon() -> None:
    reading = reading_of("ceraos")
    assert (reading.profile, reading.hardware, reading.version) == ("ceragon-ceraos", "IP-20C", "9.0.0.0.0.295")
    radio = parts(reading)["radio/Radio: Slot 3, Port 1"]
    assert radio.state is LinkState.UP
    assert radio.measures == {
        "frequency_mhz": 6840,
        "rx_frequency_mhz": 6500,
        "tx_power_dbm": 30,
        "signal_dbm": -45,
        "mse_db": -38.28,
        "tx_rate_bps": 258_624_000,
        "rx_rate_bps": 258_624_000,
        "temperature_c": 44,
    }
    assert "mse_db" not in parts(reading)["radio/Radio: Slot 1, port 2"].measures  # -99.00: not locked
    assert "value/xpi Radio: Slot 3, Port 1" not in sensors(reading)  # 4294957397: none is measured
    assert sensors(reading)["state/remote Radio: Slot 3, Port 1"] == "up(1)"


def test_radwin() -> None:
    reading = reading_of("radwin_5200-0150")
    assert (reading.profile, reading.serial) == ("radwin", "P10700I500F00005")
    assert parts(reading)["radio/air"].measures == {"tx_power_dbm": 3, "signal_dbm": -67, "distance_m": 300}
    assert "value/management wifi rssi" not in sensors(reading)  # -150: nobody is connected


def test_radwin_subscriber_units() -> None:
    links = "3.1.7.2.1"
    unit = parts(
        read(
            "radwin",
            "1.3.6.1.4.1.4458.1000",
            f"3.1.1.0|2|7 1.5.16.0|2|5780 {links}.2.1|2|4 {links}.3.1|2|1 {links}.9.1|2|-71 {links}.11.1|2|-70 "
            f"{links}.19.1|4|00:15:67:00:00:01 3.1.6.2.1.4.4|4|school",
        )
    )["client/00:15:67:00:00:01"]
    assert (unit.name, unit.state, unit.told) == ("school", LinkState.DOWN, "noSync(1)")
    assert unit.measures == {"signal_dbm": -71, "remote_signal_dbm": -70}


def test_huawei_rtn() -> None:
    reading = reading_of("huawei-optixrtn_optixrtn905")
    assert (reading.profile, reading.hardware, reading.serial) == ("huawei-optix-rtn", "RTN 905", "215241417")
    assert parts(reading)["radio/23-odu"].measures == {
        "frequency_mhz": 23_138.5,
        "rx_frequency_mhz": 22_130.5,
        "tx_power_dbm": 9.3,
        "signal_dbm": -55,
        "temperature_c": 24.5,
    }
    assert sensors(reading)["state/board 9-mp1"] == "work(1)"


def test_aprisa() -> None:
    radio = parts(reading_of("aprisa"))["radio/link"]
    assert radio.measures == {
        "frequency_mhz": 1448.25,
        "rx_frequency_mhz": 1513.25,
        "tx_power_dbm": 35,
        "signal_dbm": -68.4,
        "snr_db": 30.64,
    }
    assert radio.counters["fec_uncorrected"] == 558_800


def test_saf_integra() -> None:
    reading = reading_of("saf-integra-x")
    assert (reading.profile, reading.hardware, reading.version) == ("saf-integra-x", "Integra-X", "3.19.6")
    radio = parts(reading)["radio/radio-B"]
    assert (radio.measures["mse_db"], radio.measures["rx_rate_bps"]) == (-45.5, 769_076_000)
    assert sensors(reading)["power/psu"] == 87.49
    first = read("saf-integra", "1.3.6.1.4.1.7571.100.1.1.7.1", "2.1.0|2|18 3.1.0|2|1 3.2.0|2|-321").parts[0]
    assert (first.state, first.measures) == (LinkState.DOWN, {"tx_power_dbm": 18, "mse_db": -32.1})


def test_saf_integra_e_and_w() -> None:
    root, answers = "1.3.6.1.4.1.7571.100.1.1.7", "2.8.0|2|412 3.2.0|2|-385 3.7.0|2|56000 3.11.0|2|310000 4.5.0|2|48100"
    radio = read("saf-integra-e", f"{root}.9", answers).parts[0]
    assert radio.measures == {"mse_db": -38.5, "width_mhz": 56, "rx_rate_bps": 310_000_000, "temperature_c": 41.2}
    assert read("saf-integra-w", f"{root}.2", "2.3.0|2|-41").parts[0].measures == {"signal_dbm": -41}


def test_racom_ray() -> None:
    reading = reading_of("ray_ray")
    assert (reading.profile, reading.hardware, reading.serial) == ("racom-ray", "RAy2-17", "9879730")
    radio = parts(reading)["radio/air"]
    assert (radio.measures["frequency_mhz"], radio.measures["signal_dbm"]) == (17_213.5, -53.8)
    assert (radio.measures["capacity_bps"], radio.measures["tx_rate_bps"]) == (359_000_000, 337_670_000)
    third = read("racom-ray3", "1.3.6.1.4.1.33555.4", "1.3.8.0|2|3 3.2.1.0|2|-611 3.2.12.0|2|-287").parts[0]
    assert (third.state, third.told) == (LinkState.DOWN, "connecting(3)")
    assert third.measures == {"signal_dbm": -61.1, "mse_db": -28.7}


def test_horizon_compact() -> None:
    reading = reading_of("horizon-compactplus")
    assert (reading.profile, reading.version) == ("horizon-compactplus", "1.4.1")
    radio = parts(reading)["radio/wireless-port-1"]
    assert (radio.state, radio.measures) == (
        LinkState.UP,
        {"signal_dbm": -43.3, "snr_db": 38.4, "tx_power_dbm": 23},
    )
    assert [part.state for part in reading.parts if part.kind is PartKind.PORT] == [LinkState.UP, LinkState.DOWN]
    assert sensors(reading)["state/alarm tempOutOfLimits 1"] == "off(1)"
