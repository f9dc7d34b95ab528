"""What is asked of a LibreNMS, and what becomes of its answers: ages, what is new, and every bad day."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest

from agent.connectors.librenms import librenms_session
from agent.line_model.reading import LinkState, ToldDown
from agent.reasons import TargetReason
from lab.billing.server import WebFault
from lab.librenms.network import CORE as CORE_HOST
from lab.librenms.network import TOWER as TOWER_HOST
from lab.librenms.system import COMMUNITY
from tests.agent.connectors.librenms.rig import CORE, SOURCE, TOWER, Behind, librenms
from tests.builders.web import NOW_S


@pytest.fixture
async def nms() -> AsyncIterator[Behind]:
    async with librenms() as made:
        yield made


async def test_reading_is_as_old_as_poll_and_has_words_of_our_own(nms: Behind) -> None:
    nms.system.poll(ago_s=70)
    found = await nms.gather()
    core, tower = sorted(found.readings, key=lambda reading: reading.target)
    assert (found.target, found.devices, found.not_read) == (SOURCE, {CORE, TOWER}, ())
    assert (core.target, core.read_s, core.every_s) == (CORE, int(NOW_S) - 70, 300.0)
    assert (core.source, core.places) == ("LibreNMS main", ("10.9.0.1:161", "core-1.example.net:161"))
    assert (core.identity, core.hardware, core.serial) == ("core-1", "Switch 48", "SN-CORE")
    assert (core.object_id, core.uptime_s) == ("1.3.6.1.4.1.99999.1", 899_930)
    ports = {part.key: part for part in core.parts}
    subscriber = ports["port/ge-0-0-5"]
    assert (subscriber.name, subscriber.alias, subscriber.state) == ("ge-0/0/5", "sub C-1", LinkState.UP)
    assert (subscriber.index, subscriber.told, subscriber.mac) == (5, "up", "00:00:5e:00:01:05")
    assert ports["port/ge-0-0-1"].alias == ""
    assert ports["port/ge-0-0-1"].measures == {"speed_bps": 1e9, "rx_power_dbm": -7.25, "tx_power_dbm": -2.5}
    assert next((m.mac, m.part, m.vlan, m.address) for m in core.macs) == (
        "02:00:00:00:00:01",
        "port/ge-0-0-5",
        10,
        "10.80.0.5",
    )
    (heard,) = core.neighbors
    assert (heard.identity, heard.address, heard.port, heard.remote_port) == (
        "tower-1",
        "10.9.0.11",
        "port/ge-0-0-1",
        "eth0",
    )
    (radio,) = [part for part in tower.parts if part.key == "radio/1"]
    assert (radio.state, dict(radio.measures)) == (
        LinkState.UP,
        {
            "signal_dbm": -61.0,
            "tx_power_dbm": 24.0,
            "noise_dbm": -96.0,
            "frequency_mhz": 5745.0,
            "distance_m": 4400.0,
            "clients": 7.0,
            "rx_rate_bps": 86e6,
            "tx_rate_bps": 78e6,
        },
    )
    assert [(s.key, s.value, s.unit) for s in core.sensors] == [("temperature/Chassis", 41.5, "C")]


@pytest.mark.assumed("librenms-numbers")
async def test_an_older_release_tells_its_numbers_as_texts() -> None:
    async with librenms() as new, librenms(texts=True) as old:
        assert await old.readings() == await new.readings()


async def test_a_device_is_asked_for_only_once_it_was_polled_again() -> None:
    async with librenms(wireless=False) as nms:
        assert set(await nms.readings()) == {CORE, TOWER}
        first = nms.paths()
        assert sorted(first) == sorted(
            ["/devices", "/resources/sensors", "/resources/vlans"]
            + [f"/devices/{n}/{what}" for n in (1, 2) for what in ("ports", "fdb", "links")]
            + ["/resources/ip/arp/all"] * 2
        )
        assert await nms.readings() == {}
        assert nms.paths() == ["/devices"]
        nms.clock.now_s += 300
        nms.system.poll(TOWER_HOST)
        assert {reading.read_s for reading in (await nms.readings()).values()} == {int(NOW_S) + 300}
        assert nms.paths() == ["/devices", "/resources/sensors", "/devices/2/ports"]
        nms.clock.now_s += librenms_session.SLOW_S
        nms.system.poll(TOWER_HOST)
        await nms.gather()
        assert "/devices/2/fdb" in nms.paths()


async def test_values_of_radios_are_asked_one_by_one_the_list_rarely(nms: Behind) -> None:
    await nms.gather()
    listed = [path for path in nms.paths() if "wireless" in path]
    assert "/devices/2/wireless" in listed
    assert "/devices/2/wireless/device_wireless_noise-floor" in listed
    nms.clock.now_s += 300
    nms.system.poll(TOWER_HOST)
    signal = next(iter(nms.system.named(TOWER_HOST).sensors.values()))
    signal.value = -75.0
    (tower,) = (await nms.readings()).values()
    assert len([path for path in nms.paths() if "wireless" in path]) == 8
    parts = {part.key: part for part in tower.parts}
    assert set(parts) == {"port/eth0", "port/ath0", "radio/1"}
    assert parts["radio/1"].measures["signal_dbm"] == -75.0


async def test_a_poller_that_stands_still_makes_its_values_old(nms: Behind) -> None:
    await nms.gather()
    assert nms.findings() == {}
    nms.system.stopped = True
    nms.clock.now_s += 47 * 60
    nms.system.poll()
    assert await nms.readings() == {}
    assert nms.findings() == {
        "late-poller": "2 of 2 devices were polled late, the oldest 47m ago: core-1.example.net, tower-1.example.net"
    }
    assert nms.report(CORE).read_s == int(NOW_S)


@pytest.mark.assumed("librenms-outage-open", "librenms-status-reason")
async def test_down_is_what_librenms_says_not_silence_to_snmp(nms: Behind) -> None:
    await nms.gather()
    nms.system.goes_down(TOWER_HOST, "icmp", ago_s=120)
    nms.system.goes_down(CORE_HOST, "snmp", ago_s=60)
    found = await nms.gather()
    assert found.readings == ()
    assert found.down == (
        ToldDown(CORE, int(NOW_S) - 60, "LibreNMS main: it answers ping, and not SNMP", silent=False),
        ToldDown(TOWER, int(NOW_S) - 120, "no answer to ping"),
    )
    assert nms.report(TOWER).problem == "down according to LibreNMS main (icmp)"
    nms.paths()
    assert (await nms.gather()).down == found.down
    assert nms.paths() == ["/devices"]
    nms.system.comes_up(TOWER_HOST)
    again = await nms.gather()
    assert [reading.target for reading in again.readings] == [TOWER]
    assert [down.target for down in again.down] == [CORE]


async def test_without_a_word_it_is_down_since_its_last_poll(nms: Behind) -> None:
    nms.system.poll(ago_s=400)
    nms.system.goes_down(TOWER_HOST)
    nms.system.named(TOWER_HOST).outages.clear()
    (down,) = (await nms.gather()).down
    assert (down.target, down.since_s) == (TOWER, int(NOW_S) - 400)


async def test_devices_ignored_or_disabled_there_are_no_outage(nms: Behind) -> None:
    nms.system.goes_down(TOWER_HOST)
    nms.system.named(TOWER_HOST).ignore = 1
    found = await nms.gather()
    assert (found.down, len(found.readings)) == ((), 2)
    assert "ignored there" in nms.report(TOWER).facts["told by"]
    nms.system.named(TOWER_HOST).disabled = 1
    found = await nms.gather()
    assert (found.devices, found.down) == ({CORE}, ())
    assert nms.findings() == {"left-out": "1 devices are disabled there"}


async def test_ports_that_are_deleted_or_not_polled_say_nothing(nms: Behind) -> None:
    core = nms.system.named(CORE_HOST)
    by_index = {port.index: port for port in core.ports.values()}
    by_index[2].deleted = 1
    by_index[3].disabled = 1
    nms.system.poll(ago_s=3600)
    by_index[4].disabled = 1  # from now on
    nms.system.poll()
    by_index[4].disabled = 0
    parts = {part.name: part for part in (await nms.readings())[CORE].parts}
    assert set(parts) == {"ge-0/0/1", "ge-0/0/4", "ge-0/0/5", "ge-0/0/6"}
    assert (parts["ge-0/0/4"].state, parts["ge-0/0/4"].told) == (
        LinkState.UNKNOWN,
        "polled 60 min before the others",
    )


async def test_a_device_renumbered_keeps_the_keys_of_its_ports(nms: Behind) -> None:
    before = {part.key: part.index for part in (await nms.readings())[CORE].parts}
    for port in nms.system.named(CORE_HOST).ports.values():
        port.index += 100
    nms.clock.now_s += 300
    nms.system.poll()
    after = {part.key: part.index for part in (await nms.readings())[CORE].parts}
    assert after == {key: index + 100 for key, index in before.items()}


async def test_a_device_that_was_removed_is_no_longer_listed(nms: Behind) -> None:
    await nms.gather()
    del nms.system.devices[2]
    assert (await nms.gather()).devices == {CORE}
    nms.system.devices.clear()
    err = await nms.refused()
    assert (str(err), err.reason) == (
        "librenms/main: expected 1 devices, got none: see the rights of the token's user",
        TargetReason.REFUSED,
    )


async def test_another_time_zone_is_noticed_and_ages_stay_right() -> None:
    async with librenms(zone="Africa/Kampala") as nms:
        assert (await nms.readings())[CORE].read_s == int(NOW_S)
        assert set(nms.findings()) == {"clock-differs"}
    async with librenms(zone="Africa/Kampala", timezone="Africa/Kampala") as nms:
        await nms.gather()
        assert nms.findings() == {}


async def test_no_reading_is_of_the_future(nms: Behind) -> None:
    nms.system.poll(ago_s=-900)
    assert {reading.read_s for reading in (await nms.readings()).values()} == {int(NOW_S)}


async def test_device_without_ports_is_as_old_as_its_last_whole_poll(nms: Behind) -> None:
    nms.system.named(TOWER_HOST).ports.clear()
    nms.system.poll(ago_s=30)
    assert (await nms.readings())[TOWER].read_s == int(NOW_S) - 30
    nms.system.named(CORE_HOST).polled = None
    nms.clock.now_s += 1
    assert await nms.readings() == {}


@pytest.mark.assumed("librenms-arp-403")
async def test_a_token_without_global_read_is_named_the_rest_is_read() -> None:
    async with librenms(global_read=False) as nms:
        core = (await nms.readings())[CORE]
        assert [seen.address for seen in core.macs] == ["", ""]
        assert core.not_read == ("ARP table: GET /resources/ip/arp/all: their right is missing (status 403)",)
        assert set(nms.findings(CORE)) == {"not-all-told"}


async def test_it_goes_over_tls_with_pin_and_token_is_in_header_alone() -> None:
    async with librenms(tls=True) as nms:
        assert set(await nms.readings()) == {CORE, TOWER}
        assert {request.method for request in nms.server.requests} == {"GET"}
        assert all(nms.system.token not in request.path for request in nms.server.requests)


async def test_no_community_of_a_device_is_kept_or_told(nms: Behind) -> None:
    found = await nms.gather()
    assert COMMUNITY not in repr((found, nms.connector.reports(), nms.connector._readers[SOURCE].known))


# --- bad days ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "reason", "says"),
    [
        ({"kind": "status", "value": 401}, TargetReason.REFUSED, "refused (status 401): see secret in [librenms.main]"),
        ({"kind": "status", "value": 403}, TargetReason.REFUSED, "right is missing (status 403)"),
        ({"kind": "status", "value": 500}, TargetReason.UNREACHABLE, "GET /devices: status 500"),
        ({"kind": "status", "value": 429, "retry_after": "4000"}, TargetReason.UNREACHABLE, "status 429"),
        ({"kind": "cut"}, TargetReason.UNREACHABLE, "GET /devices: the connection ended in the middle"),
        ({"kind": "type"}, TargetReason.MALFORMED, "expected JSON (content-type application/json)"),
        ({"kind": "encoding"}, TargetReason.MALFORMED, "expected strict JSON in UTF-8"),
        ({"kind": "endless"}, TargetReason.MALFORMED, "expected at most 1048576 bytes, got more"),
    ],
)
async def test_a_bad_day_is_named_and_says_nothing_of_devices(
    fault: dict[str, object], reason: TargetReason, says: str
) -> None:
    async with librenms(reading_mib=1) as nms:
        nms.server.faults = [WebFault(**fault)]  # type: ignore[arg-type]  # arguments of a dataclass
        err = await nms.refused()
        assert err.reason is reason
        assert says in str(err)
        assert str(err).startswith("librenms/main: ")
        assert nms.report(SOURCE).problem == str(err)
        nms.server.faults = []
        nms.clock.now_s += 5000
        assert set(await nms.readings()) == {CORE, TOWER}
        assert nms.report(SOURCE).problem == ""


async def test_a_wrong_token_is_refused() -> None:
    async with librenms(key=b"another") as nms:
        err = await nms.refused()
        assert err.reason is TargetReason.REFUSED
        assert "another" not in str(err)


async def test_a_short_pause_that_it_asks_for_is_kept(nms: Behind) -> None:
    nms.server.play("status", value=429, retry_after="7", times=1)
    assert set(await nms.readings()) == {CORE, TOWER}
    assert sum(nms.clock.slept) >= 7


async def test_one_device_that_cannot_be_read_costs_no_other(nms: Behind) -> None:
    nms.server.play("status", value=500, where="/devices/1/ports")
    assert set(await nms.readings()) == {TOWER}
    assert nms.findings()["devices-unread"] == "core-1.example.net: GET /devices/{}/ports: status 500"
    assert "core-1" not in nms.findings(TOWER)
    nms.server.faults = []
    assert set(await nms.readings()) == {CORE}
    assert nms.findings() == {}


async def test_when_nothing_answers_any_more_the_reading_ends(nms: Behind) -> None:
    for n in range(3, 9):
        device = nms.system.named(TOWER_HOST)
        nms.system.devices[n] = type(device)(n, f"sw-{n}", f"10.9.1.{n}", polled=int(NOW_S))
    nms.server.play("status", value=503, where="/devices/")
    err = await nms.refused()
    assert "GET /devices/{}/ports: status 503" in str(err)
    assert len({path for path in nms.paths() if path.endswith("/ports")}) < 8


Bend = Callable[[dict[str, object]], object]


@pytest.mark.parametrize(
    ("path", "name", "bend", "says"),
    [
        ("/devices", "devices", lambda row: row.pop("device_id"), "row 1: expected an id in device_id"),
        ("/devices", "devices", lambda row: row.update(status="up"), "row 1: expected 0 or 1 in status"),
        ("/devices", "devices", lambda row: row.update(last_polled=5), "row 1: expected a time such as"),
        ("/devices", "devices", lambda row: row.update(hostname=[]), "row 1: expected a text in hostname"),
        ("/devices/1/ports", "ports", lambda row: row.update(ifIndex="x"), "row 1: expected a whole number in ifIndex"),
        ("/devices/1/ports", "ports", lambda row: row.update(ifSpeed="fast"), "row 1: expected a number in ifSpeed"),
    ],
)
async def test_field_of_another_form_is_named_with_what_was_expected(
    nms: Behind, path: str, name: str, bend: Bend, says: str
) -> None:
    answer = nms.system.answer

    def bent(request):  # type: ignore[no-untyped-def]  # of the lab's protocol
        reply = answer(request)
        if request.path.endswith(path):
            bend(reply.json[name][0])
        return reply

    nms.system.answer = bent  # type: ignore[method-assign]  # the lab answers so
    if path == "/devices":
        err = await nms.refused()
        told, reason = str(err), err.reason
        assert reason is TargetReason.MALFORMED
    else:
        assert set(await nms.readings()) == {TOWER}
        told = nms.findings()["devices-unread"]
    assert says in told
    assert "got something else" in told


async def test_health_sensors_not_understood_are_left_out_and_named(nms: Behind) -> None:
    nms.server.play("type", where="/resources/sensors")
    core = (await nms.readings())[CORE]
    assert core.sensors == ()
    assert core.not_read[0].startswith("health sensors: GET /resources/sensors: expected JSON")


@pytest.mark.assumed("librenms-fdb-updated")
async def test_a_bridge_row_missed_by_two_readings_is_not_there(nms: Behind) -> None:
    core = nms.system.named(CORE_HOST)
    mac, port, vlan, seen = core.fdb[0]
    core.fdb[0] = (mac, port, vlan, seen - 14 * 3600)
    macs = {seen.mac: seen.part for seen in (await nms.readings())[CORE].macs}
    assert macs == {"02:00:00:00:00:01": "", "02:00:00:00:00:02": "port/ge-0-0-6"}


async def test_a_slow_reading_has_the_next_begin_with_the_unread(nms: Behind, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(librenms_session, "AT_ONCE", 1)
    answer = nms.system.answer

    def slow(request):  # type: ignore[no-untyped-def]  # of the lab's protocol
        nms.clock.now_s += 111 if request.path.endswith("/1/ports") else 0
        return answer(request)

    nms.system.answer = slow  # type: ignore[method-assign]  # the lab answers so
    first = await nms.readings()
    nms.system.answer = answer  # type: ignore[method-assign]  # the lab answers so
    second = await nms.readings()
    assert (set(first), set(second)) == ({CORE}, {TOWER})


@pytest.mark.assumed("librenms-empty-404")
async def test_an_answer_as_php_writes_a_list_with_gaps_is_a_list(nms: Behind) -> None:
    answer = nms.system.answer

    def gaps(request):  # type: ignore[no-untyped-def]  # of the lab's protocol
        reply = answer(request)
        if request.path.endswith("/devices"):
            reply.json["devices"] = {str(n * 2): row for n, row in enumerate(reply.json["devices"])}
        return reply

    nms.system.answer = gaps  # type: ignore[method-assign]  # the lab answers so
    assert set(await nms.readings()) == {CORE, TOWER}


async def test_a_probe_asks_the_librenms_and_no_device(nms: Behind) -> None:
    report = await nms.connector.probe(CORE)
    assert (report.target, report.address, report.identity) == (CORE, "10.9.0.1", "core-1")
