"""The state table: what readings, silences and notifications leave in the database, within bounds and with few rows."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from agent.line_model.reading import EventKind, Neighbor, Part, PartKind, SeenMac
from agent.lines import limits, states
from agent.lines.known import SinceHow
from agent.lines.states import ForgetOthers, RecordDeviceReading, RecordEvent, RecordUnread
from tests.builders.expect import present
from tests.builders.readings import AT, DOWN, UP, Store, event, onu, opened, port, reading

SW = "snmp/sw-1"
MAC = "02:00:00:00:00:01"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with opened(tmp_path) as made:
        yield made


async def test_a_reading_is_kept_and_the_same_one_writes_no_part(tmp_path: Path) -> None:
    parts = (
        port("1", alias="C-1", mac=MAC, index=3, measures={"speed_bps": 1e9}, counters={"in_errors": 2}),
        onu("HWTC1A2B3C4D", parent="pon/0-1", facts={"model": "HG8010"}, told="online(1)"),
    )
    with opened(tmp_path) as store:
        assert await store.run(RecordDeviceReading(reading(0, *parts, identity="sw", hardware="X", uptime_s=50.0))) == 2
        assert (
            await store.run(RecordDeviceReading(reading(300, *parts, identity="sw", hardware="X", uptime_s=350.0))) == 0
        )
        device = present(states.device(store.query, SW))
        assert (device.identity, device.read_s, device.booted_s) == ("sw", AT + 300, AT - 50)
        known = {part.key: part for part in states.parts(store.query, SW)}
    with opened(tmp_path) as store:
        assert {part.key: part for part in states.parts(store.query, SW)} == known
        assert states.part(store.query, SW, "port/1") == known["port/1"]
        assert states.part(store.query, SW, "port/2") is None
        assert states.devices(store.query) == {SW: device}
        assert states.part_counts(store.query) == {("onu", "up"): 1, ("port", "up"): 1}
    assert known["port/1"].alias == "C-1"
    assert known["port/1"].errors["in_errors"].total == 2
    assert known["onu/HWTC1A2B3C4D"].facts == {"model": "HG8010"}


async def test_a_part_that_disappears_is_gone_and_forgotten_at_last(store: Store) -> None:
    await store.run(RecordDeviceReading(reading(0, port("1"), onu("HWTC1A2B3C4D"))))
    await store.run(RecordDeviceReading(reading(300, port("1"))))
    (gone,) = (part for part in states.parts(store.query, SW) if part.gone)
    assert (gone.key, gone.state, gone.since_s, gone.seen_s) == ("onu/HWTC1A2B3C4D", DOWN, AT + 300, AT)
    await store.run(RecordDeviceReading(reading(limits.GONE_KEPT_S + 600, port("1"))))
    assert [part.key for part in states.parts(store.query, SW)] == ["port/1"]


async def test_a_table_that_was_not_read_takes_no_part_away(store: Store) -> None:
    await store.run(RecordDeviceReading(reading(0, port("1"), onu("HWTC1A2B3C4D"))))
    await store.run(RecordDeviceReading(reading(300, port("1"), not_read=("ONU table: no answer in 10 s",))))
    known = {part.key: part for part in states.parts(store.query, SW)}
    assert (known["onu/HWTC1A2B3C4D"].state, known["onu/HWTC1A2B3C4D"].gone) == (UP, False)
    assert known["onu/HWTC1A2B3C4D"].seen_s == AT
    device = present(states.device(store.query, SW))
    assert device.not_read == ("ONU table: no answer in 10 s",)


async def test_silence_keeps_what_was_read_and_an_answer_ends_it(store: Store) -> None:
    await store.run(RecordUnread("snmp/new", "unreachable, or wrong secret", AT, silent=True))
    await store.run(RecordDeviceReading(reading(0, port("1"), identity="sw")))
    for n in (1, 2):
        await store.run(RecordUnread(SW, "unreachable, or wrong secret", AT + 300 * n, silent=True))
    device = present(states.device(store.query, SW))
    assert (device.silent, device.unread_s, device.read_s, device.identity) == (True, AT + 300, AT, "sw")
    assert states.part(store.query, SW, "port/1") is not None
    await store.run(RecordDeviceReading(reading(900, port("1"), identity="sw")))
    device = present(states.device(store.query, SW))
    assert (device.silent, device.unread_s, device.why, device.fails) == (False, 0, "", 0)
    never = present(states.device(store.query, "snmp/new"))
    assert (never.read_s, never.silent, never.unread_s) == (0, False, AT), "one lost packet is no silence yet"


async def test_a_notification_counts_once_and_changes_its_part(store: Store) -> None:
    await store.run(RecordDeviceReading(reading(0, port("1", index=7), port("2", index=8))))
    down = event(60, EventKind.PART_DOWN, "id-1", index=7, told="linkDown: ifIndex 7", authenticated=True)
    assert await store.run(RecordEvent(down)) == "port/1"
    assert await store.run(RecordEvent(down)) is None
    part = present(states.part(store.query, SW, "port/1"))
    assert (part.state, part.since_s, part.since_how, part.told) == (
        DOWN, AT + 60, SinceHow.SEEN, "linkDown: ifIndex 7",
    )  # fmt: skip
    assert await store.run(RecordEvent(event(61, EventKind.PART_UP, "id-2", part="port/1"))) == "port/1"
    assert await store.run(RecordEvent(event(62, EventKind.PART_DOWN, "id-3", index=99))) == ""
    assert await store.run(RecordEvent(event(63, EventKind.RESTARTED, "id-4"))) == ""
    assert await store.run(RecordEvent(event(64, EventKind.OTHER, "id-1", target=""))) == "", "of a stranger"
    heard = states.events(store.query, SW)
    assert [one.heard_s - AT for one in heard] == [63, 62, 61, 60]
    assert [one.kind for one in states.events(store.query, SW, "port/1")] == [
        EventKind.PART_UP, EventKind.PART_DOWN,
    ]  # fmt: skip


async def test_a_storm_of_notifications_fills_a_ring(store: Store) -> None:
    for n in range(limits.EVENTS_MAX + 50):
        await store.run(RecordEvent(event(n, EventKind.OTHER, f"id-{n}")))
    heard = states.events(store.query, SW, limit=10_000)
    assert [one.heard_s - AT for one in heard] == list(range(limits.EVENTS_MAX + 49, 49, -1))


async def test_two_parts_of_one_number_are_nobodys(store: Store) -> None:
    await store.run(RecordDeviceReading(reading(0, port("1", index=7), port("1.1", index=7))))
    assert await store.run(RecordEvent(event(60, EventKind.PART_DOWN, "id-1", index=7))) == ""
    assert {part.state for part in states.parts(store.query, SW)} == {UP}


async def test_mac_addresses_are_known_where_they_were(tmp_path: Path) -> None:
    here = SeenMac(MAC, "port/1", 10)
    with opened(tmp_path) as store:
        await store.run(RecordDeviceReading(reading(0, port("1"), macs=(here, SeenMac("no mac", "port/1")))))
        await store.run(RecordDeviceReading(reading(300, port("1"))))
        (known,) = states.macs(store.query, "020000000001")
        assert (known.part, known.vlan, known.seen_s) == ("port/1", 10, 0), "an empty table is none that was read"
        other = SeenMac("02:00:00:00:00:02", "port/2", 10, "10.0.0.2")
        await store.run(RecordDeviceReading(reading(600, port("1"), macs=(other,))))
        (known,) = states.macs(store.query, "020000000001")
        assert known.seen_s == AT + 300
        assert states.macs_behind(store.query, SW, "port/2") == 1
        assert states.macs_behind(store.query, SW, "port/1") == 0
        await store.run(RecordDeviceReading(reading(limits.MAC_KEPT_S + 900, port("1"), macs=(other,))))
        assert states.macs(store.query, "020000000001") == []


async def test_a_switch_of_a_million_addresses_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(states, "MACS_MAX", 10)

    def macs(first: int, count: int) -> tuple[SeenMac, ...]:
        return tuple(SeenMac(f"02:00:00:00:00:{n:02x}", "port/1") for n in range(first, first + count))

    with opened(tmp_path) as store:
        await store.run(RecordDeviceReading(reading(0, macs=macs(0, 8))))
        await store.run(RecordDeviceReading(reading(300, macs=macs(8, 6))))
        await store.run(RecordDeviceReading(reading(600, macs=macs(14, 30))))
        rows = store.query("SELECT seen_s FROM line_mac")
        assert len(rows) == 10
        assert all(r["seen_s"] == 0 for r in rows)


async def test_parts_beyond_the_bound_are_left_out_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(states, "PARTS_MAX", 2)
    with opened(tmp_path) as store:
        await store.run(RecordDeviceReading(reading(0, *(port(str(n)) for n in range(5)))))
        assert [part.key for part in states.parts(store.query, SW)] == ["port/0", "port/1"]
        device = present(states.device(store.query, SW))
        assert device.not_read == ("3 of 5 parts: 2 are kept of a device",)


def neighbor(identity: str, at: str, address: str = "") -> Neighbor:
    return Neighbor(identity, address, at, "", "", "02:aa:00:00:00:01", port=f"port/{at}")


async def test_a_silent_neighbor_stays_known_until_another_is_there(store: Store) -> None:
    await store.run(RecordDeviceReading(reading(0, neighbors=(neighbor("core", "1"), neighbor("ap", "2")))))
    await store.run(RecordDeviceReading(reading(300, neighbors=(neighbor("core", "1"),))))
    known = {one.identity: one.seen_s for one in states.neighbors(store.query, SW)}
    assert known == {"core": 0, "ap": AT}
    await store.run(RecordDeviceReading(reading(600, neighbors=(neighbor("core", "1"), neighbor("new-ap", "2")))))
    assert [one.identity for one in states.neighbors(store.query)] == ["core", "new-ap"]


async def test_another_device_behind_the_address_clears_its_tables(tmp_path: Path) -> None:
    first = reading(0, port("1"), port("9"), serial="S1", macs=(SeenMac(MAC, "port/1"),))
    second = reading(300, port("1"), serial="S2", macs=(SeenMac("02:00:00:00:00:02", "port/1"),))
    with opened(tmp_path) as store:
        await store.run(RecordDeviceReading(first))
        await store.run(RecordDeviceReading(second))
        assert [part.key for part in states.parts(store.query, SW)] == ["port/1"]
        assert states.macs(store.query, "020000000001") == []
        device = present(states.device(store.query, SW))
        assert device.replaced == "serial number was S1, is S2"


async def test_a_device_that_left_the_configuration_is_forgotten(store: Store) -> None:
    for name in ("snmp/a", "snmp/b"):
        macs, near = (SeenMac(MAC, "port/1"),), (neighbor("core", "1"),)
        await store.run(RecordDeviceReading(reading(0, port("1"), target=name, macs=macs, neighbors=near)))
        await store.run(RecordEvent(event(0, EventKind.OTHER, "id", target=name)))
    assert await store.run(ForgetOthers(frozenset({"snmp/b"}))) == 1
    for table in ("line_device", "line_part", "line_mac", "line_neighbor", "line_event", "line_event_count"):
        assert [r["target"] for r in store.query(f"SELECT target FROM {table}")] == ["snmp/b"]  # constants


async def test_serials_and_own_addresses_find_their_parts(tmp_path: Path) -> None:
    client = Part("client/02-00-00-00-00-01", port("1").kind, "cpe", mac=MAC)
    with opened(tmp_path) as store:
        await store.run(RecordDeviceReading(reading(0, onu("HWTC1A2B3C4D"), client)))
        assert [p.key for p in states.parts_of_serial(store.query, "hwtc1a2b3c4d")] == ["onu/HWTC1A2B3C4D"]
        assert [p.key for p in states.parts_of_mac(store.query, MAC)] == ["client/02-00-00-00-00-01"]


async def test_questions_about_one_subscriber_scan_no_table(store: Store) -> None:
    plans: list[str] = []

    def query(sql: str, args: Sequence[object]) -> Sequence[sqlite3.Row]:
        plans.extend(str(r["detail"]) for r in store.query(f"EXPLAIN QUERY PLAN {sql}", args))
        return store.query(sql, args)

    states.parts_of_serial(query, "HWTC1A2B3C4D")
    states.parts_of_mac(query, MAC)
    states.macs(query, "020000000001")
    states.macs_of_address(query, "10.0.0.1")
    states.macs_behind(query, SW, "port/1")
    states.part(query, SW, "port/1")
    assert plans
    assert not [plan for plan in plans if plan.startswith("SCAN")]


async def test_numbers_beyond_the_database_stop_no_reading(tmp_path: Path) -> None:
    huge = (1 << 64) - 1
    with opened(tmp_path) as store:
        parts = (port("1", index=huge, since_s=huge), port("2", index=-huge))
        macs = (SeenMac(MAC, "port/1", vlan=huge),)
        await store.run(RecordDeviceReading(reading(0, *parts, macs=macs, boots=huge, uptime_s=-1e300)))
        assert [(part.key, part.index) for part in states.parts(store.query, SW)] == [
            ("port/1", None),
            ("port/2", None),
        ]
        assert [(row.part, row.vlan) for row in states.macs(store.query, MAC.replace(":", ""))] == [("port/1", 0)]


async def test_device_that_shows_no_part_at_all_says_nothing_of_them(store: Store) -> None:
    await store.run(RecordDeviceReading(reading(0, port("1"), onu("HWTC1A2B3C4D"))))
    await store.run(RecordDeviceReading(reading(300)))  # another view, or its subagent ended: all tables are empty
    known = {part.key: part for part in states.parts(store.query, SW)}
    assert [(part.state, part.gone, part.seen_s) for part in known.values()] == [(UP, False, AT)] * 2


async def test_parts_beyond_the_limit_are_not_taken_for_gone(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    await store.run(RecordDeviceReading(reading(0, port("1"), port("2"))))
    monkeypatch.setattr(states, "PARTS_MAX", 2)
    await store.run(RecordDeviceReading(reading(300, port("0"), port("1"), port("2"))))
    known = {part.key: part for part in states.parts(store.query, SW)}
    assert (known["port/2"].state, known["port/2"].gone) == (UP, False)


async def test_a_part_whose_name_is_taken_a_second_time_is_not_down(store: Store) -> None:
    await store.run(RecordDeviceReading(reading(0, port("1"), port("uplink"))))
    both = (port("1"), port("uplink~2"), port("uplink~3", DOWN))
    await store.run(RecordDeviceReading(reading(300, *both)))
    assert [part.key for part in states.parts(store.query, SW)] == ["port/1", "port/uplink~2", "port/uplink~3"]
    await store.run(RecordDeviceReading(reading(600, port("1"), port("uplink"))))
    assert [part.key for part in states.parts(store.query, SW)] == ["port/1", "port/uplink"]


async def test_a_notification_that_comes_again_later_is_another(store: Store) -> None:
    """Agents that send no time, and those that start with the same trap at each boot, repeat it to the octet."""
    await store.run(RecordDeviceReading(reading(0, port("1", index=3))))
    down = event(10, EventKind.PART_DOWN, "a", index=3)
    assert await store.run(RecordEvent(down)) == "port/1"
    assert await store.run(RecordEvent(event(20, EventKind.PART_DOWN, "a", index=3))) is None
    await store.run(RecordDeviceReading(reading(300, port("1", index=3))))
    again = event(10 + limits.SAME_EVENT_S + 1, EventKind.PART_DOWN, "a", index=3, authenticated=True)
    assert await store.run(RecordEvent(again)) == "port/1"
    (known,) = states.parts(store.query, SW)
    assert known.state is DOWN
    assert len(states.events(store.query, SW)) == 1


async def test_new_parts_and_neighbors_at_each_reading_fill_no_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(states, "PARTS_KEPT", 30)
    monkeypatch.setattr(states, "NEIGHBORS_KEPT", 30)
    with opened(tmp_path) as store:
        for n in range(20):
            parts = tuple(Part(f"client/{n}-{i}", PartKind.CLIENT, f"{n}-{i}", state=UP) for i in range(10))
            heard = tuple(Neighbor(f"{n}-{i}", "", f"eth{n}-{i}", "", "", "") for i in range(10))
            await store.run(RecordDeviceReading(reading(300 * n, port("1"), *parts, neighbors=heard)))
            await store.run(RecordDeviceReading(reading(300 * n + 9, port("1"), not_read=(f"table {n}: silent",))))
        known = states.parts(store.query, SW)
        assert len(known) <= 30
        assert {f"client/19-{i}" for i in range(10)} <= {part.key for part in known}
        assert len(states.neighbors(store.query, SW)) <= 30


async def test_one_table_of_two_that_was_not_read_takes_no_part_away(store: Store) -> None:
    await store.run(RecordDeviceReading(reading(0, onu("GPON1"), onu("EPON1"), not_read=("LLDP: refused",))))
    for n, why in ((1, "no answer in 10 s"), (2, "asked again within the hour")):
        silent = ("LLDP: refused", f"EPON: {why}")
        await store.run(RecordDeviceReading(reading(300 * n, onu("GPON1"), not_read=silent)))
        known = present(states.part(store.query, SW, "onu/EPON1"))
        assert (known.state, known.gone, known.seen_s) == (UP, False, AT)
    await store.run(RecordDeviceReading(reading(900, onu("GPON1"), onu("EPON1"), not_read=("LLDP: refused",))))
    await store.run(RecordDeviceReading(reading(1200, onu("GPON1"), not_read=("LLDP: refused",))))
    known = present(states.part(store.query, SW, "onu/EPON1"))
    assert (known.state, known.gone) == (DOWN, True)
