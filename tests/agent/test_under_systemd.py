"""The daemon as a service: what it tells systemd and when, on a socket that stands for systemd's own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from agent.cli import local
from agent.runtime import http_client

WAIT_S = 60.0
PROGRAM = "from agent.cli import main; main()"
STARTED = f"import os, sys; os.environ['LISTEN_PID'] = str(os.getpid()); os.dup2(int(sys.argv.pop(1)), 3); {PROGRAM}"
"""As systemd starts a program: file descriptor 3 is the first socket that it passes."""


class Unit:
    """What systemd has of a service: the notification socket, and the socket that it opened for it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.notified = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notified.settimeout(WAIT_S)
        self.notified.bind(str(folder / "notify"))
        self.api = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.api.bind(str(folder / "agent.sock"))
        self.api.listen(8)
        self.config = folder / "agent.toml"
        self.write("")
        for name in ("state", "state-mark"):
            (folder / name).mkdir(mode=0o700)
        local.init(self.config, folder / "enroll.json")

    def write(self, more: str) -> None:
        where = f'state_dir = "{self.folder / "state"}"\nsocket = "{self.folder / "agent.sock"}"\n'
        self.config.write_text(f'[agent]\nname = "noc-1"\n{where}{more}')

    @contextmanager
    def started(self, *, passed: int, **environ: str) -> Iterator[subprocess.Popen[str]]:
        with subprocess.Popen(
            [sys.executable, "-c", STARTED, str(passed), "run", "--config", str(self.config)],
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
                "PYTHONDONTWRITEBYTECODE": "1",
                "NOTIFY_SOCKET": str(self.folder / "notify"),
                "LISTEN_FDS": "1",
                **environ,
            },
            pass_fds=(passed,),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def told(self, wanted: str) -> list[str]:
        """Return the message that has the line `wanted`, once it came; those before it are dropped."""
        while wanted not in (lines := self.notified.recv(4096).decode().split("\n")):
            pass
        return lines

    def close(self) -> None:
        self.notified.close()
        self.api.close()


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


def test_a_socket_for_another_path_is_a_mistake_in_the_configuration(unit: Unit) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(unit.folder / "other.sock"))
        other.listen(1)
        with unit.started(passed=other.fileno()) as process:
            _, errors = process.communicate(timeout=WAIT_S)
    assert process.returncode == 2
    assert f"agent.socket: {unit.folder}/agent.sock is configured, and systemd listens on {unit.folder}/other.sock" in (
        errors
    )
