"""How a person's command finds the agent, and what it says when it may not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from agent.cli import client
from agent.socket_place import CONFIG, SOCKET

ROOT = os.geteuid() == 0
NOBODY = 65534


def test_a_missing_configuration_says_how_to_name_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("ISPAGENT_SOCKET", raising=False)
    monkeypatch.setenv("ISPAGENT_CONFIG", str(tmp_path / "no.toml"))
    with pytest.raises(typer.Exit) as ended:
        client.socket_path()
    assert ended.value.exit_code == client.USAGE
    said = capsys.readouterr().err
    assert "cannot be read: No such file or directory" in said
    assert "--config or ISPAGENT_CONFIG" in said


def test_an_agent_without_the_usual_file_is_not_configured_yet(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not CONFIG.exists(), "these tests want a machine that is no agent's"
    assert not SOCKET.exists()
    monkeypatch.delenv("ISPAGENT_SOCKET", raising=False)
    monkeypatch.delenv("ISPAGENT_CONFIG", raising=False)
    with pytest.raises(typer.Exit) as ended:
        client.socket_path()
    assert ended.value.exit_code == client.USAGE
    said = capsys.readouterr().err
    assert "this agent is not configured yet: /etc/ispagent/agent.toml does not exist" in said


def test_an_empty_name_of_the_configuration_names_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ISPAGENT_CONFIG", "")
    assert client.config_path() == CONFIG


@pytest.mark.parametrize("as_json", [False, True])
def test_nothing_in_an_error_acts_on_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], as_json: bool
) -> None:
    monkeypatch.setattr(sys, "argv", ["ispagent", "status", *(["--json"] if as_json else [])])
    with pytest.raises(typer.Exit):
        client.fail("a file \x9b31m\x1b[2J\nin \u202etwo lines", client.USAGE)
    printed = capsys.readouterr().err
    assert printed.isprintable() or printed.replace("\n", "").isprintable()
    assert printed.count("\n") == (1 if as_json else 2)
    with pytest.raises(typer.Exit):
        client.refuse(403, {"error": {"code": "frozen", "message": "by \x9b\nэxample"}})
    said = capsys.readouterr().err
    assert said.replace("\n", "").isprintable()
    assert said.count("mixed scripts") <= 1, "a message is neutralized once"


def as_nobody(code: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run code as another user; modules are found by file descriptors opened before the change of user."""
    setup = (
        "import os, sys; from agent.cli import client; import agent.config, agent.connectors.registry as r; r.specs()"
    )
    drop = f"os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})"
    kept = {k: v for k, v in os.environ.items() if not k.startswith("ISPAGENT_")}
    return subprocess.run(
        [sys.executable, "-c", f"{setup}\n{drop}\n{code}"],
        env={**kept, **env},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.mark.skipif(not ROOT, reason="only root can become somebody else")
def test_an_unreadable_configuration_leaves_the_usual_socket(tmp_path: Path) -> None:
    secret = tmp_path / "agent.toml"
    secret.write_text('[agent]\nname = "noc-1"\n')
    secret.chmod(0o600)
    done = as_nobody("print(client.socket_path())", ISPAGENT_CONFIG=str(secret))
    assert (done.stdout.strip(), done.stderr) == (str(SOCKET), "")


@pytest.mark.skipif(not ROOT, reason="only root can become somebody else")
@pytest.mark.parametrize(("mode", "says"), [(0o755, "members of the group"), (0o700, "its directory is closed")])
def test_a_user_who_may_not_connect_is_told_so(mode: int, says: str, tmp_path: Path) -> None:
    import socket
    import tempfile

    with tempfile.TemporaryDirectory(prefix="isp-sock-") as home, socket.socket(socket.AF_UNIX) as listener:
        folder = Path(home) / "run"
        Path(home).chmod(0o755)
        folder.mkdir()
        listener.bind(str(folder / "agent.sock"))
        (folder / "agent.sock").chmod(0o660)
        listener.listen()
        folder.chmod(mode)
        code = "try:\n    client.call('GET', '/')\nexcept client.typer.Exit as e:\n    sys.exit(e.exit_code)"
        done = as_nobody(code, ISPAGENT_SOCKET=str(folder / "agent.sock"))
    assert done.returncode == client.REFUSED, done
    assert says in done.stderr
    assert "not running" not in done.stderr
