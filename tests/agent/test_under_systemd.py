"""The daemon as a service: what it tells systemd and when, on a socket that stands for systemd's own."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent import daemon
from agent.runtime import http_client
from tests.agent.units import WAIT_S, Unit


@pytest.fixture
def unit(tmp_path: Path) -> Iterator[Unit]:
    made = Unit(tmp_path)
    yield made
    made.close()


def test_the_daemon_says_that_it_serves_works_reloads_and_ends(unit: Unit) -> None:
    with unit.started(passed=unit.api.fileno(), WATCHDOG_USEC="1500000") as process:
        first = unit.notified.recv(4096).decode().split("\n")
        assert first == ["READY=1", "STATUS=FINE · no trust document · log 1 leaves"]
        answer: Any = http_client.request(unit.folder / "agent.sock", "GET", "/v1/status", None, timeout_s=WAIT_S).json
        assert answer["condition"] == "fine"
        for _ in range(3):
            assert unit.told("WATCHDOG=1")
        process.send_signal(signal.SIGHUP)
        unit.told("RELOADING=1")
        assert unit.told("READY=1")
        process.send_signal(signal.SIGTERM)
        assert unit.told("STOPPING=1")
        assert process.wait(WAIT_S) == 0
    assert (unit.folder / "agent.sock").exists()  # it is systemd's: those who call meanwhile wait


def test_a_start_that_rewrites_database_asks_for_more_time(unit: Unit) -> None:
    few_steps = "from durable import files; files.MIGRATION_STEPS = 50; "  # the new database is small
    with unit.started(passed=unit.api.fileno(), before=few_steps):
        more, status = unit.notified.recv(4096).decode().split("\n")
        assert more == f"EXTEND_TIMEOUT_USEC={daemon.MIGRATION_S * 1e6:.0f}"
        assert status.startswith(f"STATUS={daemon.MIGRATING}: number ")
        assert unit.told("READY=1")


def test_a_status_that_changed_is_told(unit: Unit) -> None:
    with unit.started(passed=unit.api.fileno()) as process:
        unit.told("READY=1")
        unit.write("no_such_key = 1\n")
        process.send_signal(signal.SIGHUP)
        unit.told("RELOADING=1")
        _, status = unit.told("READY=1")
        assert status.startswith("STATUS=DEGRADED: configuration: ")
        assert "no_such_key" in status


def test_a_mistake_in_the_configuration_is_told_to_who_waits(unit: Unit) -> None:
    unit.write("no_such_key = 1\n")
    with socket.socket(socket.AF_UNIX) as caller:
        caller.settimeout(WAIT_S)
        caller.connect(str(unit.folder / "agent.sock"))
        with unit.started(passed=unit.api.fileno()) as process:
            _, errors = process.communicate(timeout=WAIT_S)
        assert process.returncode == 2
        assert "no_such_key" in errors
        assert caller.recv(4096).startswith(b"HTTP/1.1 503 ")


def test_socket_for_another_path_is_mistake_in_configuration(unit: Unit) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(unit.folder / "other.sock"))
        other.listen(1)
        with unit.started(passed=other.fileno()) as process:
            _, errors = process.communicate(timeout=WAIT_S)
    assert process.returncode == 2
    assert f"agent.socket: {unit.folder}/agent.sock is configured, and systemd listens on {unit.folder}/other.sock" in (
        errors
    )
