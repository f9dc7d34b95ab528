"""The control plane as a service: what it tells systemd, and the keys that systemd unseals for it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from control_plane import backup, config
from control_plane.errors import InputError, ServerConfigError
from tests.builders.age_files import Owner
from tests.control_plane.cloud import ROOT, Cloud

WAIT_S = 60.0
NOW = 1_780_000_000


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    return Cloud.create(tmp_path / "data")


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.settimeout(WAIT_S)
        sock.bind(str(tmp_path / "notify"))
        yield sock


@contextmanager
def served(cloud: Cloud, **environ: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-m", "control_plane.cli", "serve", "--dir", str(cloud.data.path)],
        cwd=ROOT,
        env={
            "PATH": os.environ["PATH"],
            "PYTHONDONTWRITEBYTECODE": "1",
            "NOTIFY_SOCKET": str(cloud.data.path.parent / "notify"),
            **environ,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def told(sock: socket.socket, wanted: str) -> list[str]:
    """Return the message that has the line `wanted`, once it came; those before it are dropped."""
    while wanted not in (lines := sock.recv(4096).decode().split("\n")):
        pass
    return lines


def seal(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put both keys where systemd would, which no administrator's shell sees; return that folder."""
    folder = cloud.data.path.parent / "credentials"
    folder.mkdir()
    for name in config.KEYS:
        path = (cloud.data.path / name).rename(folder / f"ispcloud.{name}")
        path.chmod(0o440)
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    return folder


def test_the_server_says_that_it_serves_works_and_ends(cloud: Cloud, systemd: socket.socket) -> None:
    with served(cloud, WATCHDOG_USEC="1500000") as process:
        first = systemd.recv(4096).decode().split("\n")
        assert first == ["READY=1", "STATUS=serving · streams: 0 agent · 0 person · 0 service"]
        for _ in range(3):
            assert told(systemd, "WATCHDOG=1")
        process.send_signal(signal.SIGTERM)
        assert told(systemd, "STOPPING=1")
        assert process.wait(WAIT_S) == 0


def test_sealed_keys_are_for_the_server_alone(
    cloud: Cloud, systemd: socket.socket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    vkey, owner = cloud.data.witness_vkey(), Owner()
    folder = seal(cloud, monkeypatch)
    data = config.open_dir(cloud.data.path)  # enough for operators, invitations, revocations
    assert data.authority.pem == cloud.data.authority.pem
    with pytest.raises(ServerConfigError, match="expected the authority's key, it is not here: a sealed key"):
        data.authority.issue_server(NOW)
    with pytest.raises(ServerConfigError, match="expected the witness's key, it is not here: a sealed key"):
        data.witness_vkey()
    with pytest.raises(InputError, match=r"authority\.key, it cannot be read"):
        backup.write(data, tmp_path / "backup", owner.recipients, NOW)
    with served(cloud) as process:
        _, errors = process.communicate(timeout=WAIT_S)
    assert process.returncode == 2
    assert "expected the authority's key, it is not here" in errors
    with served(cloud, CREDENTIALS_DIRECTORY=str(folder)) as process:
        assert told(systemd, "READY=1")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(folder))
    opened = config.open_dir(cloud.data.path)
    assert opened.witness_vkey() == vkey
    backup.write(opened, tmp_path / "backup", owner.recipients, NOW)
    monkeypatch.delenv("CREDENTIALS_DIRECTORY")
    assert backup.restore(tmp_path / "backup", owner.identities, tmp_path / "again").old_vkey == vkey


@pytest.mark.parametrize("name", config.KEYS)
def test_a_key_that_others_can_read_is_refused(cloud: Cloud, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    path = cloud.data.path / name
    path.chmod(0o640)
    with pytest.raises(ServerConfigError, match=f"{name}: expected mode 0600 or 0400, got 0640: others can read it"):
        config.open_dir(cloud.data.path)
    path.chmod(0o600)
    sealed = seal(cloud, monkeypatch) / f"ispcloud.{name}"
    sealed.chmod(0o444)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(sealed.parent))
    with pytest.raises(ServerConfigError, match="got 0444: others can read it"):
        config.open_dir(cloud.data.path)


def test_certificate_that_is_none_is_refused_without_key_too(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    seal(cloud, monkeypatch)
    (cloud.data.path / "authority.pem").write_bytes(b"rubbish")
    with pytest.raises(ServerConfigError, match="expected the authority's certificate as PEM"):
        config.open_dir(cloud.data.path)
