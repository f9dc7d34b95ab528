"""Readings by profiles: real recordings, and one table for each thing that a profile can say."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.connectors.snmp import profile_choice, profile_files, profile_reading, values
from agent.connectors.snmp.profile import Conversion, SnmpProfile
from agent.connectors.snmp.recording import read_recording_untrusted
from agent.connectors.snmp.values import OCTET_STRING
from agent.line_model.reading import DeviceReading, LinkState, PartKind
from tests.agent.connectors.snmp.recordings import NAMES, READ_S, read_by, reading_of


def profile(text: str) -> SnmpProfile:
    profiles, problems = profile_files.load({"mine": 'title = "T"\n' + text})
    assert problems == ()
    return next(one for one in profiles if one.name == "mine")


def read(text: str, answers: str) -> DeviceReading:
    return read_by(profile(text), read_recording_untrusted(answers))


@pytest.mark.parametrize("name", NAMES)
def test_every_recording_is_read(name: str) -> None:
    reading = reading_of(name)
    assert reading.description
    assert len({part.key for part in reading.parts}) == len(reading.parts)
    for part in reading.parts:
        kind, _, rest = part.key.partition("/")
        assert (kind, bool(rest), "/" in rest, len(part.key) <= 100) == (part.kind.value, True, False, True)
    assert len({sensor.key for sensor in reading.sensors}) == len(reading.sensors)


def test_interfaces_of_a_switch() -> None:
    reading = reading_of("tplink_sg2008")
    ports = {part.key: part for part in reading.parts}
    assert len(ports) == 11
    port = ports["port/port 5: Gigabit Copper"]
    assert (port.kind, port.state, port.told, port.index) == (PartKind.PORT, LinkState.DOWN, "down(2)", 5)
    assert (port.measures, port.counters["in_octets"]) == ({}, 414_944_563_175)


INTERFACES = 'extends = ["interfaces"]'


def test_counters_of_64_bits_go_first_and_states_are_joined() -> None:
    base, wide = "1.3.6.1.2.1.2.2.1", "1.3.6.1.2.1.31.1.1.1"
    reading = read(
        INTERFACES,
        f"1.3.6.1.2.1.1.3.0|67|600000\n{base}.2.1|4|ge-0/0\n{base}.2.2|4|ge-0/1\n{base}.2.3|4|ge-0/1\n"
        f"{base}.8.1|2|1\n{base}.8.2|2|2\n{base}.7.2|2|2\n{base}.8.3|2|7\n{base}.9.1|67|500000\n{base}.9.2|67|0\n"
        f"{base}.10.1|65|7\n{base}.10.2|65|8\n{wide}.6.1|70|5000000000\n{wide}.15.1|66|1000\n{base}.5.2|66|4294967295\n"
        f"{base}.6.1|4x|02000000000a\n{base}.6.2|4x|000000000000\n",
    )
    up, off, down = reading.parts
    assert (up.key, off.key, down.key) == ("port/ge-0-0", "port/ge-0-1~2", "port/ge-0-1~3")
    assert (up.state, off.state, down.state) == (LinkState.UP, LinkState.DISABLED, LinkState.DOWN)
    assert (off.told, down.told, up.index) == ("down(2)", "lowerLayerDown(7)", 1)
    assert (up.counters, up.narrow) == ({"in_octets": 5_000_000_000}, frozenset())
    assert (off.counters, off.narrow) == ({"in_octets": 8}, frozenset({"in_octets"}))
    assert (up.measures, off.measures) == ({"speed_bps": 1e9}, {})
    assert (up.mac, off.mac) == ("02:00:00:00:00:0a", "")
    assert (up.since_s, off.since_s) == (READ_S - 1000, None)
    assert reading.uptime_s == 6000


def test_width_of_a_counter_is_that_of_its_row() -> None:
    """Some agents have a loopback with Counter32 in a column of Counter64, or the other way around."""
    base, wide = "1.3.6.1.2.1.2.2.1", "1.3.6.1.2.1.31.1.1.1"
    reading = read(
        INTERFACES,
        f"{base}.2.1|4|lo\n{base}.2.2|4|eth0\n{base}.2.3|4|eth1\n{wide}.6.1|65|7\n{wide}.6.2|70|5000000000\n"
        f"{wide}.6.3|70|8\n",
    )
    assert [(part.name, part.narrow) for part in reading.parts] == [
        ("lo", {"in_octets"}),
        ("eth0", frozenset()),
        ("eth1", frozenset()),
    ]


@pytest.mark.parametrize(
    ("ticks", "engine", "uptime"),
    [(100, 1, 1), (100, 42_949_674, 42_949_674), (100, 500_000, 1), (100, 0, 1)],
    ids=["alike", "wrapped", "of another start", "none"],
)
def test_uptime_that_wrapped(ticks: int, engine: int, uptime: float) -> None:
    answers = f"1.3.6.1.2.1.1.3.0|67|{ticks}\n1.3.6.1.6.3.10.2.1.3.0|2|{engine}\n1.3.6.1.6.3.10.2.1.2.0|2|9"
    reading = read('extends = ["system"]', answers)
    assert (reading.uptime_s, reading.boots) == (uptime, 9)


RADIO = """
[table.radio]
kind = "radio"
key = "radio/main"
[table.radio.values]
signal_dbm = { oid = "1.3.9.1.0", as = "number" }
tx_power_dbm = { oid = "1.3.9.2.0", to_dbm = true }
frequency_mhz = { oid = "1.3.9.3.0", drop = [65535], scale = 0.001 }
[table.clients]
kind = "client"
index = ["mac:mac", "radio"]
key = "client/{mac}"
[table.clients.let]
quality = { column = "1.3.9.5.1.3" }
[table.clients.values]
mac = { index = "mac" }
parent = { of = "radio", at = [] }
signal_dbm = { column = "1.3.9.5.1.1", least = -110, most = 0 }
state = "up"
since = { column = "1.3.9.5.1.2", as = "ago" }
[table.clients.facts]
quality = "{quality} of 10"
"""


def test_a_radio_of_scalars_and_clients_by_mac() -> None:
    reading = read(
        RADIO,
        "1.3.9.1.0|4|-65.5 dBm\n1.3.9.2.0|2|100\n1.3.9.3.0|2|5180000\n1.3.9.5.1.1.2.0.0.0.0.1.1|2|-70\n"
        "1.3.9.5.1.1.2.0.0.0.0.2.1|2|-300\n1.3.9.5.1.1.2.0.0|2|-70\n1.3.9.5.1.2.2.0.0.0.0.1.1|2|60\n"
        "1.3.9.5.1.3.2.0.0.0.0.1.1|2|9\n",
    )
    radio, near, far = reading.parts
    assert radio.measures == {"signal_dbm": -65.5, "tx_power_dbm": 20, "frequency_mhz": 5180, "clients": 2}
    assert (near.key, near.mac, near.parent) == ("client/02:00:00:00:00:01", "02:00:00:00:00:01", "radio/main")
    assert (near.measures, near.since_s, near.facts) == ({"signal_dbm": -70}, READ_S - 60, {"quality": "9 of 10"})
    assert (far.measures, far.state) == ({}, LinkState.UP)


def test_a_device_that_answers_no_scalar_has_no_such_part() -> None:
    assert read(RADIO, "1.3.9.1.0|128|").parts == ()


CHAINS = """
[table.radio]
kind = "radio"
key = "radio/main"
[table.radio.let]
chain0 = { oid = "1.3.9.1.0" }
chain1 = { oid = "1.3.9.2.0" }
[table.radio.values]
signal_dbm = { value = "chain0", largest = ["chain1"] }
quality_percent = { value = "chain0", smallest = ["chain1"], offset = 100 }
[table.networks]
kind = "radio"
index = ["network"]
key = "radio/network{network}"
[table.networks.values]
parent = { of = "radio", alone = true }
clients = { column = "1.3.9.3" }
[table.chains]
kind = "radio"
index = ["chain"]
key = "radio/chain{chain}"
[table.chains.values]
parent = { of = "networks", alone = true }
noise_dbm = { column = "1.3.9.4" }
"""


def test_the_stronger_chain_counts_a_radio_has_all_its_clients() -> None:
    reading = read(CHAINS, "1.3.9.1.0|2|-70\n1.3.9.2.0|2|-65\n1.3.9.3.1|2|4\n1.3.9.3.2|2|3\n1.3.9.4.1|2|-95\n")
    radio, one, two, chain = reading.parts
    assert radio.measures == {"signal_dbm": -65, "quality_percent": 30, "clients": 7}
    assert (one.parent, two.parent) == ("radio/main", "radio/main")
    assert (one.measures, chain.parent) == ({"clients": 4}, "")  # of two networks none is the only one
    alone = read(CHAINS, "1.3.9.1.0|2|-70\n1.3.9.3.1|2|4\n1.3.9.4.1|2|-95\n").parts
    assert alone[0].measures == {"signal_dbm": -70, "quality_percent": 30, "clients": 4}
    assert alone[2].parent == "radio/network1"


ONUS = """
[table.pon]
kind = "pon"
index = ["port"]
key = "pon/{name}"
[table.pon.values]
name = { column = "1.3.9.1.1" }
[table.onus]
kind = "onu"
index = ["port", "id"]
key = "onu/{serial}"
where = { serial = [] }
[table.onus.values]
serial = { column = "1.3.9.2.1", as = "serial" }
parent = { of = "pon", at = ["port"] }
rx_power_dbm = { column = "1.3.9.2.2", drop = [65535], scale = 0.01, offset = -100 }
state = { column = "1.3.9.2.3", words = { online = "up", offline = "down" } }
told = { column = "1.3.9.2.3" }
[table.more]
kind = "onu"
index = ["id", "port"]
part = { of = "onus", at = ["port", "id"] }
[table.more.values]
distance_m = { column = "1.3.9.3.1" }
"""


def test_onus_below_their_port_with_values_of_another_table() -> None:
    reading = read(
        ONUS,
        "1.3.9.1.1.7|4|0/1\n1.3.9.2.1.7.1|4x|485754431a2b3c4d\n1.3.9.2.1.7.2|4|\n1.3.9.2.1.7.3|4|ZTEGC0000001\n"
        "1.3.9.2.2.7.1|2|7500\n1.3.9.2.2.7.3|2|65535\n1.3.9.2.3.7.1|4|online\n1.3.9.2.3.7.3|4|offline\n"
        "1.3.9.3.1.1.7|2|850\n1.3.9.3.1.9.7|2|850\n",
    )
    pon, one, other = reading.parts
    assert (pon.key, pon.name, pon.measures) == ("pon/0-1", "0/1", {"clients": 1})
    assert (one.key, one.serial, one.parent, one.state) == (
        "onu/HWTC1A2B3C4D",
        "HWTC1A2B3C4D",
        "pon/0-1",
        LinkState.UP,
    )
    assert one.measures == {"rx_power_dbm": -25, "distance_m": 850}
    assert (other.key, other.measures, other.told) == ("onu/ZTEGC0000001", {}, "offline")


def test_longest_object_id_then_probe_then_description() -> None:
    names = {"plain": "", "probed": 'has = { "1.3.9.1.0" = "^x" }', "told": 'description = "^Linux"'}
    own = {name: f'title = "T"\n[[match]]\nobject_id = ["1.3.6.1.4.1.9999"]\n{more}' for name, more in names.items()}
    own["longer"] = 'title = "T"\n[[match]]\nobject_id = ["1.3.6.1.4.1.9999.5"]'
    profiles, problems = profile_files.load(own)
    assert problems == ()
    probe = values.oid("1.3.9.1.0")

    def chosen(object_id: str, description: str, answer: bytes | None = None) -> str:
        answers = {} if answer is None else {probe: (values.OCTET_STRING, answer)}
        return profile_choice.choose(profiles, values.oid(object_id), description, answers).name

    assert probe in profile_choice.probes(profiles, values.oid("1.3.6.1.4.1.9999.1"), "")
    assert chosen("1.3.6.1.4.1.9999.1", "") == "plain"
    assert chosen("1.3.6.1.4.1.9999.1", "Linux") == "told"
    assert chosen("1.3.6.1.4.1.9999.1", "Linux", b"xy") == "probed"
    assert chosen("1.3.6.1.4.1.9999.1", "Linux", b"y") == "told"
    assert chosen("1.3.6.1.4.1.9999.5.1", "Linux", b"x") == "longer"
    assert chosen("1.3.6.1.4.1.99999", "Linux", b"x") == "standard"


ENTITY = "1.3.6.1.2.1.47.1.1.1.1"


def test_sensors_and_the_chassis_of_entity_mib() -> None:
    sensor = "1.3.6.1.2.1.99.1.1.1"
    reading = read(
        'extends = ["entity"]',
        f"{ENTITY}.5.1|2|9\n{ENTITY}.5.2|2|3\n{ENTITY}.13.1|4|CARD\n{ENTITY}.13.2|4|BOX-9\n{ENTITY}.11.2|4|SN1\n"
        f"{ENTITY}.10.2|4|\n{ENTITY}.9.2|4|1.2.3\n{ENTITY}.7.10|4|Inlet\n"
        f"{sensor}.1.10|2|8\n{sensor}.2.10|2|9\n{sensor}.3.10|2|1\n{sensor}.4.10|2|253\n{sensor}.5.10|2|1\n"
        f"{sensor}.1.11|2|4\n{sensor}.2.11|2|8\n{sensor}.3.11|2|0\n{sensor}.4.11|2|3300\n"
        f"{sensor}.1.12|2|14\n{sensor}.2.12|2|9\n{sensor}.3.12|2|3\n{sensor}.4.12|2|-5123\n"
        f"{sensor}.1.13|2|8\n{sensor}.4.13|2|1\n{sensor}.5.13|2|2\n",
    )
    assert (reading.hardware, reading.serial, reading.version) == ("BOX-9", "SN1", "1.2.3")
    assert [(one.key, one.value, one.unit) for one in reading.sensors] == [
        ("temperature/Inlet", 25.3, "C"),
        ("voltage/11", 3.3, "V"),
        ("value/12", -5.123, "dBm"),
    ]


def test_neighbors_of_lldp() -> None:
    ports, lldp = "1.3.6.1.2.1.31.1.1.1.1", "1.0.8802.1.1.2.1.4.1.1"
    reading = read(
        'extends = ["neighbors"]',
        f"1.3.6.1.2.1.2.2.1.2.7|4|seven\n1.3.6.1.2.1.2.2.1.2.8|4|eight\n{ports}.7|4|ge7\n{ports}.8|4|ge8\n"
        f"1.0.8802.1.1.2.1.3.7.1.3.1|4|ge8\n"
        f"{lldp}.4.0.1.5|2|4\n{lldp}.5.0.1.5|4x|02000000000a\n{lldp}.6.0.1.5|2|5\n{lldp}.7.0.1.5|4|eth0\n"
        f"{lldp}.9.0.1.5|4|core\n{lldp}.10.0.1.5|4|Linux\n"
        f"{lldp}.4.0.7.6|2|7\n{lldp}.5.0.7.6|4|switch\n{lldp}.6.0.7.6|2|3\n{lldp}.7.0.7.6|4x|02000000000b\n"
        "1.0.8802.1.1.2.1.4.2.1.3.0.1.5.1.4.192.0.2.1|2|2\n"
        "1.0.8802.1.1.2.1.4.2.1.3.0.7.6.2.16.32.1.13.184.0.0.0.0.0.0.0.0.0.0.0.1|2|2\n",
    )
    core, other = reading.neighbors
    assert (core.identity, core.mac, core.port, core.interface) == ("core", "02:00:00:00:00:0a", "port/ge8", "ge8")
    assert (core.address, core.platform, core.remote_port) == ("192.0.2.1", "Linux", "eth0")
    assert (other.identity, other.mac, other.port) == ("switch", "", "port/ge7")
    assert (other.address, other.remote_port) == ("2001:db8::1", "02:00:00:00:00:0b")


def test_a_mac_is_learned_on_a_port_and_has_an_address() -> None:
    bridge, tagged = "1.3.6.1.2.1.17.4.3.1", "1.3.6.1.2.1.17.7.1.2.2.1"
    reading = read(
        'extends = ["macs"]',
        "1.3.6.1.2.1.2.2.1.2.101|4|ge1\n1.3.6.1.2.1.2.2.1.2.102|4|ge2\n1.3.6.1.2.1.2.2.1.2.500|4|vlan20\n"
        "1.3.6.1.2.1.17.1.4.1.2.1|2|101\n1.3.6.1.2.1.17.1.4.1.2.2|2|102\n"
        f"{tagged}.2.20.2.0.0.0.0.1|2|1\n{tagged}.3.20.2.0.0.0.0.1|2|3\n{bridge}.2.2.0.0.0.0.1|2|1\n"
        f"{bridge}.2.2.0.0.0.0.2|2|2\n{bridge}.2.2.0.0.0.0.3|2|1\n{bridge}.3.2.0.0.0.0.3|2|4\n"
        f"{bridge}.2.2.0.0.0.0.4|2|0\n{bridge}.2.2.0.0.0.0.5|2|99\n"
        "1.3.6.1.2.1.4.22.1.2.500.192.0.2.1|4x|020000000001\n1.3.6.1.2.1.4.22.1.2.500.192.0.2.9|4x|020000000009\n"
        "1.3.6.1.2.1.4.22.1.4.500.192.0.2.8|2|2\n1.3.6.1.2.1.4.22.1.2.500.192.0.2.8|4x|020000000008\n",
    )
    assert [(seen.mac[-2:], seen.part, seen.vlan, seen.address) for seen in reading.macs] == [
        ("01", "port/ge1", 20, "192.0.2.1"),
        ("02", "port/ge2", 0, ""),
        ("09", "port/vlan20", 0, "192.0.2.9"),
    ]


def test_memory_of_net_snmp_is_without_its_cache() -> None:
    storage, ram = "1.3.6.1.2.1.25.2.3.1", "1.3.6.1.2.1.25.2.1.2"
    rows = {1: ("Physical memory", 1000, 800), 6: ("Memory buffers", 1000, 100), 7: ("Cached memory", 300, 300)}
    answers = "\n".join(
        f"{storage}.2.{row}|6|{ram}\n{storage}.3.{row}|4|{name}\n{storage}.5.{row}|2|{size}\n{storage}.6.{row}|2|{used}"
        for row, (name, size, used) in rows.items()
    )
    reading = read('extends = ["host-resources"]', answers)
    assert [(one.label, one.value) for one in reading.sensors] == [
        ("Physical memory", 40),
        ("Memory buffers", 10),
        ("Cached memory", 30),
    ]


numbers = st.integers(-(1 << 64), 1 << 64) | st.sampled_from([0, 1, 2, 65535, 0x7FFFFFFF, 0xFFFFFFFF])
octets = st.binary(max_size=40) | st.sampled_from(
    [b"-65 dBm", b"\x00" * 8, b"9" * 400, b"1e999", b"HWTC1A2B3C4D", b"\xff" * 6]
)
anything = st.one_of(
    st.tuples(st.sampled_from(sorted(values.NUMERIC)), numbers),
    st.tuples(st.sampled_from(sorted({4, 5, 6, 0x40, 0x44, 0x80, 0x81, 0x82, 0x99})), octets),
)


@pytest.mark.parametrize("of", profile_files.shipped(), ids=lambda of: of.name)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(data=st.data())
def test_no_device_makes_a_shipped_profile_raise(of: SnmpProfile, data: st.DataObject) -> None:
    """Values of any type and length, in rows of any index, of which some columns have them all."""
    wanted = profile_choice.wanted(of)
    suffixes = st.binary(max_size=3) | st.sampled_from(
        [b"\x01", b"\x07", b"\x01\x01", b"\x02\x00\x00\x00\x00\x01", b"\x81"]
    )
    tails = data.draw(st.lists(suffixes, max_size=4))
    cells = data.draw(st.lists(anything, min_size=5, max_size=9))
    rows = iter(itertools.cycle(cells))
    columns = {column: {tail: next(rows) for tail in tails} for group in wanted.columns for column in group}
    scalars = {oid: next(rows) for oid in wanted.scalars}
    reading = profile_reading.read(of, "t", READ_S, scalars, columns)
    for part in reading.parts:
        assert len(part.key) <= 100
        assert all(math.isfinite(number) for number in part.measures.values())
        assert all(type(count) is int and 0 <= count < 1 << 64 for count in part.counters.values())
    assert all(sensor.value is None or math.isfinite(sensor.value) for sensor in reading.sensors)


def test_a_row_is_found_by_a_text_of_another() -> None:
    """OpenWrt names its outputs after radios: `clients-wlan0` belongs to `frequency-wlan0`."""

    def output(name: str, said: str) -> str:
        return f"1.3.6.1.4.1.8072.1.3.2.3.1.1.{len(name)}.{'.'.join(str(ord(letter)) for letter in name)}|4|{said}"

    outputs = {"frequency-wlan0": "5180", "clients-wlan0": "7", "noise-floor-wlan1": "-90", "distro": "OpenWrt 23.05"}
    reading = read('extends = ["openwrt"]', "\n".join(output(name, said) for name, said in outputs.items()))
    assert reading.version == "23.05"
    assert [(part.key, part.measures) for part in reading.parts] == [
        ("radio/wlan0", {"frequency_mhz": 5180, "clients": 7})
    ]


def test_remembered_values_are_bounded() -> None:
    how = Conversion(kind="text", drop=frozenset({"7"}))
    found = [how.first((OCTET_STRING, b"%d" % number)) for number in range(9000)]
    assert found == [None if number == 7 else str(number) for number in range(9000)]
    assert 0 < len(how.known) <= 8192
    assert [how.first((OCTET_STRING, b"%d" % number)) for number in (8999, 7)] == ["8999", None]


def test_thousands_of_onus_are_read() -> None:
    answers = "\n".join(f"1.3.9.2.1.7.{row}|4|ZTEGC{row:07X}" for row in range(9000))
    reading = read(ONUS, answers)
    assert len(reading.parts) == 9000
    assert reading.parts[-1].serial == "ZTEGC0002327"


@pytest.mark.parametrize("name", ["routeros_crs317", "routeros_wifi"])
def test_a_router_says_where_it_hears_a_neighbor(name: str) -> None:
    """Of RouterOS 6, whose rows have an index of one number, and of a later one."""
    neighbors = reading_of(name).neighbors
    assert len(neighbors) >= 2
    assert all(one.port for one in neighbors)


@pytest.mark.parametrize("ends", [("0001", "0002"), ("", "0002")])
def test_long_names_that_begin_alike_are_two_parts(ends: tuple[str, str]) -> None:
    long = "Realtek PCIe GBE Family Controller - an interface description that is long enough to be cut off at some end"
    names = "".join(f"1.3.6.1.2.1.2.2.1.2.{n}|4|{long} {end}\n" for n, end in enumerate(ends, 1))
    states = "".join(f"1.3.6.1.2.1.2.2.1.{at}\n" for at in ("7.1|2|1", "7.2|2|1", "8.1|2|1", "8.2|2|2"))
    found = read_by(
        {one.name: one for one in profile_files.shipped()}["standard"], read_recording_untrusted(names + states)
    )
    assert [part.state for part in found.parts] == [LinkState.UP, LinkState.DOWN]
    assert {part.key[-2:] for part in found.parts} == {"~1", "~2"}
