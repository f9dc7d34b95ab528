"""The lab's LibreNMS answers as its documentation says."""

from __future__ import annotations

from typing import Any

import pytest

from lab.billing.server import WebRequest
from lab.librenms.command import told
from lab.librenms.network import CORE, TOWER, fill
from lab.librenms.system import PREFIX, TOKEN, Librenms

NOW = 1_795_860_000.0  # 2026-11-28T10:00:00Z


def made(**given: Any) -> Librenms:
    system = Librenms(clock=lambda: NOW, **given)
    fill(system, [("C-1", "02:00:00:00:00:01")])
    return system


def ask(system: Librenms, path: str, token: str = TOKEN, method: str = "GET", **query: str) -> tuple[int, Any]:
    request = WebRequest(method, f"{PREFIX}{path}", tuple(query.items()), {"x-auth-token": token}, b"")
    reply = system.answer(request)
    return reply.status, reply.json


def test_devices_are_listed_with_zoneless_times_and_community() -> None:
    status, answer = ask(made(zone="Africa/Kampala"), "/devices")
    core = answer["devices"][0]
    assert (status, answer["status"], answer["count"]) == (200, "ok", 2)
    assert (core["hostname"], core["status"], core["last_polled"]) == (CORE, 1, "2026-11-28 13:00:00")
    assert core["community"]
    assert core["uptime"] == 900_000


def test_ports_come_with_the_columns_that_are_asked_for() -> None:
    system = made()
    _, answer = ask(system, "/devices/1/ports", columns="ifName,poll_time")
    assert answer["ports"][0] == {"ifName": "ge-0/0/1", "poll_time": int(NOW)}
    assert ask(system, f"/devices/{CORE}/ports") == (200, {"status": "ok", "ports": [
        {"ifName": port.name} for port in system.devices[1].ports.values()
    ], "count": 5})  # fmt: skip
    assert ask(system, "/devices/1/ports", columns="ifNoSuch")[0] == 400


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/devices/99/ports", 404),
        ("/resources/nothing", 404),
        ("/devices/2/links", 200),
        ("/resources/ip/arp/all", 400),
        ("/devices/2/wireless/device_wireless_rate", 200),
    ],
)
def test_statuses(path: str, status: int) -> None:
    assert ask(made(), path)[0] == status


def test_empty_lists_are_not_found() -> None:
    system = Librenms(clock=lambda: NOW)
    fill(system, [])
    for device in system.devices.values():
        device.links.clear()
        device.sensors.clear()
    for path in ("/devices/1/links", "/resources/sensors", "/resources/vlans"):
        assert ask(system, path)[0] == 404


def test_a_wrong_token_and_a_write_change_nothing() -> None:
    system = made()
    assert ask(system, "/devices", token="wrong")[0] == 401
    assert ask(system, "/devices/1", method="DELETE")[0] == 404
    assert len(system.devices) == 2


def test_a_device_that_is_down_is_not_polled() -> None:
    system = made()
    system.goes_down(TOWER, ago_s=60)
    system.clock = lambda: NOW + 300
    system.poll()
    down, up = system.named(TOWER), system.named(CORE)
    assert (down.polled, up.polled) == (int(NOW), int(NOW) + 300)
    assert ask(system, "/devices/2/outages")[1]["outages"] == [{"going_down": int(NOW) - 60, "up_again": None}]
    system.comes_up(TOWER)
    assert down.polled == int(NOW) + 300
    assert down.outages[0]["up_again"] == int(NOW) + 300


def test_an_older_release_has_texts_for_numbers() -> None:
    _, answer = ask(made(texts=True), "/devices/1/ports", columns="ifIndex,ifSpeed")
    assert answer["ports"][0] == {"ifIndex": "1", "ifSpeed": "1000000000"}


def test_the_command_prints_the_section_of_the_configuration() -> None:
    from lab.billing.server import BillingServer

    system = made()
    text = told(system, BillingServer(system, port=4711))
    assert '[librenms.lab]\nurl = "http://127.0.0.1:4711/api/v0"\nsecret = "librenms/lab"\n' in text
    assert TOKEN in text
