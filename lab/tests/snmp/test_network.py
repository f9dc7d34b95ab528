"""A small network: what each device tells of its customers' lines, and how it follows when they break."""

from __future__ import annotations

import json
import tomllib

import pytest
import trio

from lab import files
from lab.control import perform
from lab.errors import LabError
from lab.isp import LabOptions, open_lab
from lab.snmp import ber
from lab.snmp.device import POE_ADMIN, Device
from lab.snmp.errors import NoSuchPartError, SnmpValueError
from lab.snmp.network import CORE, LINES_MAX, OLT, OLT_PORT, TOWERS, Access, Customer, build_network, customers_of
from lab.snmp.server import Layout, open_snmp_lab
from lab.snmp.sets import apply_set
from lab.snmp.tables import numbers
from lab.snmp.values import Value, integer, string
from lab.tests.snmp import netsnmp
from lab.tests.snmp.devices import IF, TestClock

FDB = "1.3.6.1.2.1.17.7.1.2.2.1.2"
AIRMAX_SIGNAL = "1.3.6.1.4.1.41112.1.4.7.1.3"
ONU_STATUS = "1.3.6.1.4.1.2011.6.128.1.1.2.46.1.15"
ONU_RX = "1.3.6.1.4.1.2011.6.128.1.1.2.51.1.4"
LLDP_NAME = "1.0.8802.1.1.2.1.4.1.1.9"


def customers(count: int = 10) -> list[Customer]:
    return [Customer(f"c{n}", f"02:1A:00:00:00:{n:02X}") for n in range(count)]


def below(device: Device, oid: str) -> list[Value | None]:
    return [device.mib.value(o, device.clock()) for o in device.mib.below(ber.oid(oid))]


def at_core(network, mac: str) -> Value | None:
    return network[CORE].get(f"{FDB}.1.{numbers(mac)}")


def test_customers_are_spread_over_all_kinds_of_access():
    network = build_network(customers())
    assert [line.device for line in network.lines.values()] == [*TOWERS, OLT, CORE] * 2
    assert {access: len(network.lines_by(access)) for access in Access} == {
        Access.ETHERNET: 2,
        Access.RADIO: 6,
        Access.FIBER: 2,
    }
    assert all(network.works(login) for login in network.lines)
    for login, port in (("c0", 1), ("c1", 2), ("c2", 3), ("c3", OLT_PORT), ("c4", OLT_PORT + 1)):
        assert at_core(network, network.line(login).mac) == integer(port)
    assert network[CORE].get(f"1.3.6.1.2.1.31.1.1.1.18.{OLT_PORT + 1}") == string("c4")


def test_devices_hear_each_other():
    network = build_network(customers(0))
    assert below(network[CORE], LLDP_NAME) == [string(name) for name in (*TOWERS, OLT)]
    for name in (*TOWERS, OLT):
        assert below(network[name], LLDP_NAME) == [string(CORE)]


def test_a_signal_fades():
    clock = TestClock()
    network = build_network(customers(), clock)
    line = network.line("c0")
    network.fade("c0", -86, over_s=600)
    clock.now += 600
    assert network[line.device].get(f"{AIRMAX_SIGNAL}.1.{numbers(line.mac)}") == integer(-86)
    network.fade("c3", -29, over_s=0)
    onu = network.line("c3").onu
    assert network[OLT].get(f"{ONU_RX}.{onu.row}") == integer(-2900)
    with pytest.raises(NoSuchPartError, match="Ethernet"):
        network.fade("c4", -80, 1)


@pytest.mark.parametrize("login", ["c0", "c1", "c2"])
def test_a_station_that_is_gone_is_in_no_table(login):
    network = build_network(customers())
    line = network.line(login)
    count = network[line.device].get(count_oid(line.device))
    network.cut(login)
    assert not network.works(login)
    assert at_core(network, line.mac) is None
    assert network[line.device].get(f"{FDB}.1.{numbers(line.mac)}") is None
    assert network[line.device].get(count_oid(line.device)).number() == count.number() - 1
    network.mend(login)
    assert network.works(login)
    assert at_core(network, line.mac) == integer(TOWERS.index(line.device) + 1)
    assert network[line.device].get(count_oid(line.device)) == count


def count_oid(tower: str) -> str:
    return {
        "tower-1": "1.3.6.1.4.1.41112.1.4.5.1.15.1",
        "tower-2": "1.3.6.1.4.1.14988.1.1.1.3.1.6.2",
        "tower-3": "1.3.6.1.4.1.17713.21.1.2.10.0",
    }[tower]


def test_an_onu_loses_its_light_and_a_port_its_cable():
    network = build_network(customers())
    onu = network.line("c3").onu
    network.cut("c3")
    assert network[OLT].get(f"{ONU_STATUS}.{onu.row}") == integer(2)
    assert network[OLT].get(f"{ONU_RX}.{onu.row}") == integer(0x7FFFFFFF)
    assert at_core(network, network.line("c3").mac) is None
    network.mend("c3")
    assert network[OLT].get(f"{ONU_RX}.{onu.row}") == integer(onu.rx_power)
    told = []
    network[CORE].notify.append(lambda oid, values: told.append(oid))
    network.cut("c4")
    assert network[CORE].get(f"{IF}.8.{OLT_PORT + 1}") == integer(2)
    assert at_core(network, network.line("c4").mac) is None
    network.mend("c4")
    assert at_core(network, network.line("c4").mac) == integer(OLT_PORT + 1)
    assert told == ["1.3.6.1.6.3.1.1.5.3", "1.3.6.1.6.3.1.1.5.4"]


def test_an_upstream_that_restarts_takes_all_behind_it_along():
    clock = TestClock()
    network = build_network(customers(), clock)
    network.reboot(CORE, takes_s=60)
    assert not any(network.works(login) for login in network.lines)
    clock.now += 61
    run_due(network)
    # the switch feeds tower-1: it boots when the switch has booted
    assert [d.name for d in network.devices if not d.reachable()] == [TOWERS[0]]
    clock.now += 2
    run_due(network)
    assert all(network.works(login) for login in network.lines)
    ticks = {d.name: d.uptime_ticks() for d in network.devices}
    assert ticks[CORE] == 300
    assert ticks[TOWERS[0]] == 100
    assert ticks[OLT] > 8_640_000


def test_a_tower_that_restarts_takes_its_own_customers():
    clock = TestClock()
    network = build_network(customers(), clock)
    network.reboot(TOWERS[1], takes_s=30)
    assert {login for login in network.lines if not network.works(login)} == {"c1", "c6"}
    assert network[CORE].get(f"{IF}.8.2") == integer(2)
    clock.now += 30
    run_due(network)
    assert all(network.works(login) for login in network.lines)


def test_power_that_is_cut_and_given_back_restarts_a_tower():
    clock = TestClock()
    network = build_network(customers(), clock)
    core, tower = network[CORE], network[TOWERS[0]]
    power = ber.oid(f"{POE_ADMIN}.1.1")
    apply_set(core.mib, core.writable, [(power, integer(2))], clock())
    clock.now += 100
    assert not tower.reachable()
    assert at_core(network, network.line("c0").mac) is None
    apply_set(core.mib, core.writable, [(power, integer(1))], clock())
    assert not tower.reachable()
    clock.now += 3
    run_due(network)
    assert tower.reachable()
    assert tower.uptime_ticks() == 100
    assert at_core(network, network.line("c0").mac) == integer(1)


def run_due(network) -> None:
    for device in network.devices:
        device.run_due()


async def test_each_device_walks_whole():
    network = build_network(customers(), TestClock())
    async with open_snmp_lab(network.devices, layout=Layout.ADDRESSES) as lab:
        for name, device in lab.devices.items():
            assert len(await netsnmp.walk(["-v2c", "-c", name], lab.where(name))) == len(device.mib)
        # as LLDP tells of them
        assert [lab.where(name)[0] for name in lab.devices] == [f"127.77.0.{n}" for n in range(1, 6)]


def test_customers_that_cannot_be():
    for wrong in (customers(LINES_MAX) + [Customer("x", "02:00:00:00:00:01")], customers(1) * 2):
        with pytest.raises(SnmpValueError, match="customers"):
            build_network(wrong)
    assert len(build_network([Customer(f"c{n}", f"02:1a:00:00:01:{n:02x}") for n in range(LINES_MAX)]).lines) == 200
    network = build_network(customers(1))
    for ask in (lambda: network.line("nobody"), lambda: network["core-2"]):
        with pytest.raises(NoSuchPartError):
            ask()


async def test_an_isp_with_an_access_network(tmp_path):
    async with open_lab(LabOptions(tmp_path, services=12, nas=1, redial_delay_s=0.01, snmp=True)) as isp:
        login = isp.sessions()[0].login
        line = isp.network.line(login)
        mapping, told = tomllib.loads(files.mapping_toml(isp)), json.loads(files.lab_json(isp))
        for name in isp.snmp.devices:
            section = mapping["snmp"][name]
            credential = mapping["snmp-credential"][section["credential"]]
            secret = ["-v2c", "-c", told["secrets"][credential["community"]]]
            at = (section["address"], section["port"])
            assert f"{name.encode().hex(' ').upper()}" in await netsnmp.ask("snmpget", secret, at, "1.3.6.1.2.1.1.5.0")
        assert {ln["login"]: ln["device"] for ln in told["lines"]}[login] == line.device
        stop = trio.Event()
        await perform(isp, {"do": "break-line", "login": login}, stop)
        assert not isp.network.works(login)
        assert isp.sessions(login) == ()
        await perform(isp, {"do": "mend-line", "login": login}, stop)
        assert isp.network.works(login)
        assert len(isp.sessions(login)) == 1
        asked = await perform(isp, {"do": "snmp", "what": {"do": "lines"}}, stop)
        assert len(asked["lines"]) == len(isp.sessions())
        with pytest.raises(LabError, match="expected"):
            await perform(isp, {"do": "snmp", "what": []}, stop)
        isp.network = None
        with pytest.raises(LabError, match="access network"):
            await isp.break_line(login)


async def test_the_lab_isp_s_subscribers_are_on_it(tmp_path):
    async with open_lab(LabOptions(tmp_path, services=20, nas=1)) as isp:
        network = build_network(customers_of(isp.services))
        online = {s.login for s in isp.sessions()}
        assert set(network.lines) == online
        rows = await isp.database.fetch("SELECT username, callingstationid FROM radacct WHERE acctstoptime IS NULL")
        assert {login: mac.lower() for login, mac in rows} == {ln.login: ln.mac for ln in network.lines.values()}
