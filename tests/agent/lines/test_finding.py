"""The part that serves a subscriber: certain, or candidates with how each was found; never a guess."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from agent.line_model.reading import DeviceReading, Neighbor, Part, PartKind, SeenMac
from agent.lines import states
from agent.lines.finding import FoundBy, Hint, HintKind, LineFinder, ServiceLine, hints_of
from agent.lines.mapping import LineMap, read_map_untrusted
from agent.lines.states import RecordDeviceReading
from agent.lines.topology import topology_of
from agent.model import Service
from agent.store.db import Store
from tests.builders.readings import AT, DOWN, onu, opened, port, reading

MAC = "02:00:00:00:00:01"
DIGITS = "020000000001"
ALIAS = re.compile(r"cust[: ]+(?P<service>[A-Za-z0-9/-]+)")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with opened(tmp_path) as store:
        yield store


def service(ref: str = "C-1/home", login: str = "amina", **extra: str) -> Service:
    return Service(ref, ref.partition("/")[0], "Amina", "home", login, "pppoe", "20M", extra=extra or None)


async def keep(store: Store, *readings: DeviceReading) -> None:
    for one in readings:
        await store.run(RecordDeviceReading(one))


def find(store: Store, wanted: Service, *hints: Hint, lines: LineMap | None = None, after_s: int = 0) -> ServiceLine:
    query = store.query
    topology = topology_of(states.devices(query), states.neighbors(query), (), {}, states.targets_of_macs(query), {})
    return LineFinder(query, lines or LineMap(), ALIAS, topology, AT + after_s).find(wanted, hints)


def place(line: ServiceLine) -> str:
    assert line.line is not None, line
    return f"{line.line.part.target} {line.line.part.key}"


def candidates(line: ServiceLine) -> list[str]:
    assert line.line is None
    return [f"{one.part.target} {one.part.key}" for one in line.candidates]


def mapped(text: str) -> LineMap:
    return read_map_untrusted(f"service,device,part\n{text}\n".encode(), "lines.csv")


def learned(target: str, *macs: tuple[str, str], at_s: int = 0, parts: Sequence[Part] = ()) -> DeviceReading:
    keys = dict.fromkeys(key for _, key in macs)
    own = parts or [port(key.partition("/")[2]) for key in keys]
    return reading(at_s, *own, target=target, identity=target, macs=tuple(SeenMac(mac, key) for mac, key in macs))


# --- hints ------------------------------------------------------------------------------------------------------------


def test_the_inventory_knows_addresses_and_serials() -> None:
    found = hints_of(service(login="4C-5E-0C-AA-BB-01", ont="48:57:54:43:1A:2B:3C:4D", phone="+254 712", cpe=MAC))
    assert [(h.kind, h.value, h.how) for h in found] == [
        (HintKind.MAC, "4c5e0caabb01", "login"),
        (HintKind.SERIAL, "48:57:54:43:1A:2B:3C:4D", "column ont"),
        (HintKind.MAC, DIGITS, "column cpe"),
    ]
    assert hints_of(service(login="100.64.0.7/32"))[0].kind is HintKind.ADDRESS
    assert hints_of(service(login="100.64.0.0/24")) == []
    assert hints_of(service(login="2001:DB8::7/128"))[0].value == "2001:db8::7"


# --- one source -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", ["onu/HWTC1A2B3C4D", "HWTC1A2B3C4D", "485754431A2B3C4D", "gpon 0/1/3"])
async def test_the_mapping_file_names_a_part_by_key_name_or_serial(store: Store, part: str) -> None:
    one = Part("onu/HWTC1A2B3C4D", PartKind.ONU, "gpon 0/1/3", serial="HWTC1A2B3C4D")
    await keep(store, reading(0, one, target="snmp/olt-1"))
    line = find(store, service(), lines=mapped(f"C-1/home,olt-1,{part}"))
    assert place(line) == "snmp/olt-1 onu/HWTC1A2B3C4D"
    assert line.line is not None
    assert line.line.how == ("mapping file, line 2",)


async def test_a_mapping_that_leads_nowhere_is_named(store: Store) -> None:
    await keep(store, reading(0, port("1")), reading(0, port("1"), target="other/sw-1"))
    lines = mapped("C-1/home,sw-9,1\nC-1/home,sw-1,1\nC-1/home,snmp/sw-1,77")
    line = find(store, service(), lines=lines)
    assert (line.line, line.candidates) == (None, ())
    assert line.notes == (
        "mapping file, line 2: no device called sw-9: name it as in the configuration",
        "mapping file, line 3: 2 devices called sw-1: name it as in the configuration",
        "mapping file, line 4: snmp/sw-1 has no part called 77: ispagent device show lists its parts",
    )


async def test_a_serial_finds_its_onu_however_it_is_spelled(store: Store) -> None:
    await keep(store, reading(0, onu("HWTC1A2B3C4D", DOWN), target="snmp/olt-1"))
    assert place(find(store, service(ont="1,HWTC1A2B3C4D"))) == "snmp/olt-1 onu/HWTC1A2B3C4D"
    hint = Hint(HintKind.SERIAL, "485754431A2B3C4D", "CPE serial")
    assert place(find(store, service(), hint)) == "snmp/olt-1 onu/HWTC1A2B3C4D"


async def test_an_onu_that_moved_is_where_it_is_now(store: Store) -> None:
    await keep(
        store,
        reading(0, onu("HWTC1A2B3C4D"), target="snmp/olt-1"),
        reading(300, port("1"), target="snmp/olt-1"),
        reading(300, onu("HWTC1A2B3C4D"), target="snmp/olt-2"),
    )
    assert place(find(store, service(ont="HWTC1A2B3C4D"))) == "snmp/olt-2 onu/HWTC1A2B3C4D"


async def test_the_port_of_a_clients_radio_is_no_candidate(store: Store) -> None:
    client = Part(f"client/{MAC}", PartKind.CLIENT, "amina", mac=MAC, parent="radio/wlan1")
    wireless = Part("radio/wlan1", PartKind.RADIO, "wlan1")
    parts = (port("wlan1"), wireless, client)
    await keep(store, learned("snmp/ap", (MAC, "port/wlan1"), parts=parts))
    assert place(find(store, service(mac=MAC))) == f"snmp/ap client/{MAC}"
    await keep(store, learned("snmp/ap", (MAC, "port/wlan1"), at_s=300, parts=parts[:2]))
    assert candidates(find(store, service(mac=MAC), after_s=300)) == [f"snmp/ap client/{MAC}", "snmp/ap port/wlan1"]


async def test_a_client_is_known_by_its_own_address(store: Store) -> None:
    client = Part("client/x", PartKind.CLIENT, "cpe", mac=MAC, parent="radio/1")
    radio = Part("radio/1", PartKind.RADIO, "ath0")
    await keep(store, reading(0, client, radio, target="snmp/ap-1", macs=(SeenMac(MAC, "radio/1"),)))
    assert place(find(store, service(login=MAC))) == "snmp/ap-1 client/x"


async def test_description_names_service_subscriber_or_login(store: Store) -> None:
    await keep(
        store, reading(0, port("1", alias="cust: c-1"), port("2", alias="cust: C-2/home"), port("3", alias="up"))
    )
    assert place(find(store, service())) == "snmp/sw-1 port/1"
    assert place(find(store, service("C-2/home"))) == "snmp/sw-1 port/2"
    assert find(store, service("C-3/home")).line is None


async def test_an_address_leads_over_arp_to_the_port(store: Store) -> None:
    arp = reading(0, port("9"), target="snmp/r-1", macs=(SeenMac(MAC, "", 0, "100.64.0.7"),))
    await keep(store, arp, learned("snmp/sw-1", (MAC, "port/7")))
    line = find(store, service(login="100.64.0.7/32"))
    assert place(line) == "snmp/sw-1 port/7"
    assert line.line is not None
    assert "ARP table of r-1" in line.line.how[0]


# --- MAC addresses on their way ---------------------------------------------------------------------------------------


def others(key: str, count: int) -> list[tuple[str, str]]:
    return [(f"02:00:00:00:01:{n:02x}", key) for n in range(count)]


async def test_the_edge_most_port_is_the_line(store: Store) -> None:
    up = learned("snmp/core", (MAC, "port/1"), *others("port/1", 40))
    await keep(store, up, learned("snmp/sw-1", (MAC, "port/7")))
    assert place(find(store, service(login=MAC))) == "snmp/sw-1 port/7"


async def test_a_subscriber_of_whom_only_a_mac_address_is_known(store: Store) -> None:
    up = learned("snmp/core", (MAC, "port/1"), *others("port/1", 40))
    await keep(store, up, learned("snmp/sw-1", (MAC, "port/7")))
    only = mapped("C-1/home,,02-00-00-00-00-01")
    line = find(store, service(), lines=only)
    assert place(line) == "snmp/sw-1 port/7"
    assert line.line is not None
    assert line.line.how == (f"MAC {MAC} learned there (mapping file, line 2)",)
    assert place(find(store, service(), lines=mapped(f"C-1/home,sw-1,{MAC}"))) == "snmp/sw-1 port/7"
    unknown = find(store, service(), lines=mapped("C-1/home,,02:00:00:00:0f:01"))
    assert (unknown.line, unknown.candidates) == (None, ())
    assert unknown.notes == ("mapping file, line 2: no device knows the MAC address 02:00:00:00:0f:01",)


async def test_a_port_towards_a_known_device_is_no_line(store: Store) -> None:
    up = learned("snmp/core", (MAC, "port/1"))
    neighbor = Neighbor("sw-1", "", "1", "", "", "", port="port/1")
    heard = DeviceReading(up.target, up.read_s, parts=up.parts, macs=up.macs, neighbors=(neighbor,))
    await keep(store, heard, reading(0, port("7"), target="snmp/sw-1", identity="sw-1"))
    line = find(store, service(login=MAC))
    assert (line.line, line.candidates) == (None, ())
    assert [one.part.key for one in line.behind] == ["port/1"]
    assert line.behind[0].how[-1] == "sw-1 is heard there, which sw-1 does not confirm"
    back = Neighbor("core", "", "7", "", "", "", port="port/7", remote_port="1")
    both = replace(heard, identity="core", neighbors=(replace(neighbor, remote_port="7"),))
    await keep(store, both, reading(0, port("7"), target="snmp/sw-1", identity="sw-1", neighbors=(back,)))
    assert find(store, service(login=MAC)).behind[0].how[-1] == "sw-1 is behind it"


async def test_the_cpe_itself_may_announce_itself(store: Store) -> None:
    own = learned("snmp/sw-1", (MAC, "port/7"))
    neighbor = Neighbor("MikroTik", "", "7", "", "", MAC, port="port/7")
    await keep(store, DeviceReading(own.target, own.read_s, parts=own.parts, macs=own.macs, neighbors=(neighbor,)))
    assert place(find(store, service(login=MAC))) == "snmp/sw-1 port/7"


async def test_an_address_on_several_edge_ports_is_nobodys_line(store: Store) -> None:
    await keep(store, learned("snmp/sw-1", (MAC, "port/7"), (MAC, "port/8")), learned("snmp/sw-2", (MAC, "port/1")))
    assert candidates(find(store, service(login=MAC))) == [
        "snmp/sw-1 port/7", "snmp/sw-1 port/8", "snmp/sw-2 port/1",
    ]  # fmt: skip


async def test_where_an_address_was_last_counts_once_it_is_nowhere(store: Store) -> None:
    other = ("02:00:00:00:00:99", "port/1")
    await keep(
        store,
        learned("snmp/sw-1", (MAC, "port/7")),
        learned("snmp/sw-1", other, at_s=300, parts=(port("7", DOWN), port("1"))),
        learned("snmp/sw-1", other, at_s=600, parts=(port("7", DOWN), port("1"))),
    )
    line = find(store, service(login=MAC), after_s=3600)
    assert place(line) == "snmp/sw-1 port/7"
    assert line.line is not None
    assert "last learned 1h ago" in line.line.how[0]
    await keep(store, learned("snmp/sw-2", (MAC, "port/3"), at_s=4000))
    assert place(find(store, service(login=MAC), after_s=4000)) == "snmp/sw-2 port/3", "it moved"


async def test_pon_port_of_many_is_only_what_subscriber_is_behind(store: Store) -> None:
    pon = Part("pon/0-1", PartKind.PON, "0/1")
    two = ((MAC, "pon/0-1"), ("02:00:00:00:00:02", "pon/0-1"))
    await keep(store, learned("snmp/olt-1", *two, parts=(pon,)))
    line = find(store, service(login=MAC))
    assert line.line is None
    assert [one.how[-1] for one in line.behind] == ["2 addresses are behind it"]


async def test_an_onu_beats_the_pon_port_that_it_hangs_on(store: Store) -> None:
    pon = Part("pon/0-1", PartKind.PON, "0/1")
    parts = (pon, onu("HWTC1A2B3C4D", parent="pon/0-1"))
    await keep(store, learned("snmp/olt-1", (MAC, "pon/0-1"), parts=parts))
    line = find(store, service(login=MAC, ont="HWTC1A2B3C4D"))
    assert place(line) == "snmp/olt-1 onu/HWTC1A2B3C4D"
    assert line.line is not None
    assert line.line.source is FoundBy.SERIAL
    assert line.line.how[1].endswith("(login): 0/1")


# --- several sources --------------------------------------------------------------------------------------------------


async def test_sources_that_agree_are_named_together(store: Store) -> None:
    await keep(store, learned("snmp/sw-1", (MAC, "port/7"), parts=(port("7", alias="cust C-1/home"),)))
    line = find(store, service(login=MAC), lines=mapped("C-1/home,sw-1,7"))
    assert place(line) == "snmp/sw-1 port/7"
    assert line.line is not None
    assert line.line.source is FoundBy.MAPPING
    assert len(line.line.how) == 3


async def test_sources_that_contradict_each_other_choose_nothing(store: Store) -> None:
    await keep(store, learned("snmp/sw-1", (MAC, "port/7"), parts=(port("7"), port("8"))))
    line = find(store, service(login=MAC), lines=mapped("C-1/home,sw-1,8"))
    assert candidates(line) == ["snmp/sw-1 port/8", "snmp/sw-1 port/7"], "the strongest source first"


async def test_a_parent_cycle_ends(store: Store) -> None:
    a = Part("port/a", PartKind.PORT, "a", parent="port/b", alias="cust C-1/home")
    b = Part("port/b", PartKind.PORT, "b", parent="port/a", alias="cust C-1/home")
    await keep(store, reading(0, a, b))
    assert find(store, service()).line is not None


async def test_nobody_is_found_by_nothing(store: Store) -> None:
    await keep(store, reading(0, port("1", serial=""), port("2", alias="cust ")))
    assert find(store, service(login="")) == ServiceLine("C-1/home")
