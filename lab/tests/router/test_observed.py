"""What a router tells of itself beside its configuration, in the names that recorded answers have."""

from __future__ import annotations

import pytest

from lab.router.device import Router
from lab.router.export import export, load_export

BOTH_WAYS = [f"{way}-{what}" for way in ("rx", "tx") for what in ("byte", "packet", "drop", "error")]
COUNTERS = {*BOTH_WAYS, "tx-queue-drop", "fp-rx-byte", "fp-tx-byte", "fp-rx-packet", "fp-tx-packet"}


@pytest.mark.parametrize("version", ["6.49.18", "7.15.3", "7.20.8"])
def test_an_interface_shows_what_recorded_ones_do(version: str) -> None:
    router = Router(version, ports=2)
    (first, second) = router.rows("/interface")
    told = {"actual-mtu", "default-name", "l2mtu", "max-l2mtu", "last-link-up-time", "link-downs", "mac-address"}
    assert first.keys() >= COUNTERS | told
    assert first["mac-address"] != second["mac-address"]
    assert ("fast-path" in first) == version.startswith("6")
    assert "slave" not in first


def test_a_port_of_a_bridge_is_a_slave_and_a_bridge_has_a_mac() -> None:
    router = Router(ports=2)
    router.add("/interface/bridge", name="lan")
    router.add("/interface/bridge/port", bridge="lan", interface="ether2")
    shown = {row["name"]: row for row in router.rows("/interface")}
    assert shown["ether2"]["slave"] == "true"
    assert "slave" not in shown["ether1"]
    assert len(shown["lan"]["mac-address"].split(":")) == 6
    assert "default-name" not in shown["lan"]


def test_the_interface_of_a_session_has_counters_and_no_mac() -> None:
    router = Router()
    router.add("/ppp/secret", name="amina", password="x", remote_address="10.0.0.2", local_address="10.0.0.1")
    router.plug_in("amina", "x")
    shown = {row["name"]: row for row in router.rows("/interface")}
    session = shown["<pppoe-amina>"]
    assert session.keys() >= COUNTERS
    assert "mac-address" not in session


def test_size_is_printed_as_number_and_exported_with_its_unit() -> None:
    router = Router()
    assert router.rows("/ip/dns")[0]["cache-size"] == "2048"
    assert router.rows("/tool/sniffer")[0]["memory-limit"] == "100"
    assert router.rows("/ip/proxy")[0]["max-cache-size"] == "unlimited"
    router.set("/ip/dns", cache_size="8MiB")
    assert router.rows("/ip/dns")[0]["cache-size"] == "8192"
    text = export(router)
    assert "cache-size=8192KiB" in text
    assert load_export(text).router.rows("/ip/dns")[0]["cache-size"] == "8192"


def test_health_cpu_engine_and_version() -> None:
    router = Router("7.20.8")
    router.cpu_load = 23
    assert [row["cpu"] for row in router.rows("/system/resource/cpu")] == ["cpu0", "cpu1", "cpu2", "cpu3"]
    assert {row["load"] for row in router.rows("/system/resource/cpu")} == {"23"}
    assert {row["name"] for row in router.rows("/system/health")} >= {"cpu-temperature", "fan1-speed"}
    assert router.rows("/snmp")[0]["engine-id"]
    assert router.rows("/system/package/update")[0]["installed-version"] == "7.20.8"


def test_version_6_has_health_in_one_row_a_virtual_router_none() -> None:
    assert "voltage" in Router("6.49.18").rows("/system/health")[0]
    assert Router(board="CHR").rows("/system/health") == []


def test_neighbors_are_told_on_both_versions() -> None:
    for version in ("6.49.18", "7.20.8"):
        router = Router(version)
        router.add("/ip/neighbor", interface="ether3", address="10.0.0.9", identity="edge-9", platform="MikroTik")
        (row,) = router.rows("/ip/neighbor")
        assert row["identity"] == "edge-9"
