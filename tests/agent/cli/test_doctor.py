"""`ispagent doctor` where no agent runs: what can be said without it is said."""

from __future__ import annotations

import json
import pwd
import socket
import threading
from pathlib import Path
from typing import NoReturn

import pytest
from typer.testing import CliRunner

from agent.cli import app
from agent.config import ConfigUnreadableError
from agent.host_check import socket_check
from agent.runtime.errors import MayNotConnectError
from agent.runtime.unix_socket import turn_away
from agent.socket_place import SOCKET
from durable.service_manager import PassedSocket


def checks(monkeypatch: pytest.MonkeyPatch, config: Path, exit_code: int = 5) -> dict[tuple[str, str], dict[str, str]]:
    monkeypatch.setenv("ISPAGENT_CONFIG", str(config))
    done = CliRunner().invoke(app, ["doctor", "--json"])
    assert done.exit_code == exit_code, done.output
    return {(c["about"], c["what"]): c for c in json.loads(done.stdout)["checks"]}


def test_an_agent_that_does_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "agent.toml"
    config.write_text(
        f'[agent]\nname = "noc-1"\nstate_dir = "{tmp_path}"\nsocket = "{tmp_path}/agent.sock"\nmark_file = "off"\n'
        'timezone = "Africa/Kampala"\n'
    )
    monkeypatch.setenv("ISPAGENT_SOCKET", str(tmp_path / "agent.sock"))
    found = checks(monkeypatch, config)
    daemon = found["agent", "daemon"]
    assert (daemon["result"], "it does not run" in daemon["detail"]) == ("fails", True)
    assert "systemctl start ispagent" in daemon["mend"]
    assert found["socket", "people"]["result"] == "fails"
    assert found["key", "store key"]["result"] == "fails"
    assert found["database", "agent.db"]["result"] == "not-checked"


def test_a_configuration_with_a_mistake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "agent.toml"
    config.write_text("[agent]\nnmae = 1\n")
    monkeypatch.setenv("ISPAGENT_SOCKET", str(tmp_path / "agent.sock"))
    found = checks(monkeypatch, config)
    assert found["configuration", "file"]["result"] == "fails"
    assert ("agent", "daemon") in found


def test_plain_user_is_not_told_to_restart_agent_that_may_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user who may not read the configuration cannot know its socket: silence at the usual one proves nothing."""
    config = tmp_path / "agent.toml"

    def closed(path: Path) -> NoReturn:
        raise ConfigUnreadableError(path, PermissionError(13, "Permission denied"))

    monkeypatch.setattr("agent.config.load", closed)
    monkeypatch.delenv("ISPAGENT_SOCKET", raising=False)
    found = checks(monkeypatch, config, exit_code=0)
    file, daemon = found["configuration", "file"], found["agent", "daemon"]
    assert (file["result"], file["mend"]) == ("not-checked", "run this as root")
    assert "Permission denied: run this as root, or as the user that the agent runs as" in file["detail"]
    assert "--config" not in file["detail"], "another file is no remedy for rights"
    assert (daemon["result"], daemon["mend"]) == ("not-checked", "run this as root")
    assert f"no agent listens on {SOCKET}" in daemon["detail"]


def test_user_who_may_not_connect_learns_nothing_of_daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(*given: object, **more: object) -> NoReturn:
        raise MayNotConnectError("it is for members of the group noc")

    monkeypatch.setattr("agent.runtime.http_client.request", closed)
    config = tmp_path / "agent.toml"
    config.write_text(
        f'[agent]\nname = "noc-1"\nstate_dir = "{tmp_path}"\nsocket = "{tmp_path}/agent.sock"\nmark_file = "off"\n'
    )
    monkeypatch.delenv("ISPAGENT_SOCKET", raising=False)
    daemon = checks(monkeypatch, config)["agent", "daemon"]
    assert (daemon["result"], daemon["mend"]) == ("not-checked", "run this as root")
    assert "members of the group noc" in daemon["detail"]


def test_an_agent_that_systemd_cannot_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The socket is there and each caller is turned away: the mistake is named all the same."""
    config = tmp_path / "agent.toml"
    config.write_text("[agent]\nnmae = 1\n")
    path = tmp_path / "agent.sock"
    monkeypatch.setenv("ISPAGENT_SOCKET", str(path))
    done = threading.Event()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def answer() -> None:
            while not done.wait(0.05):
                turn_away((PassedSocket("api", listener.fileno()),))

        thread = threading.Thread(target=answer)
        thread.start()
        try:
            found = checks(monkeypatch, config)
        finally:
            done.set()
            thread.join()
    assert found["configuration", "file"]["result"] == "fails"
    assert "the agent does not start" in found["agent", "daemon"]["detail"]


def test_who_may_connect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "agent.sock"
    assert socket_check(path).result == "fails"
    path.write_text("")
    path.chmod(0o666)
    assert "everybody here may connect" in socket_check(path).detail
    path.chmod(0o660)

    class Group:
        gr_name = "ispagent-noc"
        gr_mem: tuple[str, ...] = ()

    monkeypatch.setattr("grp.getgrgid", lambda gid: Group)
    monkeypatch.setattr("pwd.getpwall", list)
    found = socket_check(path)
    assert (found.result, found.mend) == ("warning", "usermod --append --groups ispagent-noc USER")
    path.chmod(0o640)
    assert (socket_check(path).result, "only" in socket_check(path).detail) == ("fails", True)
    path.chmod(0o660)
    here = pwd.getpwuid(path.stat().st_uid)
    lucy = pwd.struct_passwd(("lucy", "x", 4_000_000, path.stat().st_gid, "", "/", "/bin/sh"))
    monkeypatch.setattr("pwd.getpwall", lambda: [here, lucy])
    assert socket_check(path).detail.startswith("lucy (ispagent-noc) and "), "it is her first group"
    monkeypatch.setattr("pwd.getpwall", lambda: [here])
    Group.gr_mem = ("joseph", "maria")
    assert socket_check(path).detail.startswith("joseph, maria (ispagent-noc) and ")
    assert socket_check(path).result == "ok"

    def unknown(gid: int) -> Group:
        raise KeyError(gid)

    monkeypatch.setattr("grp.getgrgid", unknown)
    assert socket_check(path).result == "not-checked"
