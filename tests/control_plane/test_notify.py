"""`watch --exec`: what a command is given, and what becomes of one that fails."""

from pathlib import Path

import pytest

from control_plane.desk import notify
from control_plane.desk.notify import FeedEvent
from control_plane.errors import InputError

EVENT = FeedEvent("change", "ab" * 32, "waiting", "low")


def test_no_shell_reads_the_command(tmp_path: Path) -> None:
    assert notify.command("notify-send 'a plan; waits' $HOME") == ("notify-send", "a plan; waits", "$HOME")
    for text in ("", "  ", "'open"):
        with pytest.raises(InputError):
            notify.command(text)


def test_its_environment_is_short(tmp_path: Path) -> None:
    out = tmp_path / "env"
    script = tmp_path / "hook"
    script.write_text(f"#!/bin/sh\nenv > {out}\n")
    script.chmod(0o700)
    given = {"PATH": "/usr/bin:/bin", "ISPCLOUD_PASSPHRASE_FILE": "/secret", "OTHER": "x"}
    assert notify.run((str(script),), EVENT, given) is None
    found = dict(line.split("=", 1) for line in out.read_text().splitlines())
    for name in ("PWD", "SHLVL", "_", "OLDPWD"):
        found.pop(name, None)
    assert found == {
        "PATH": "/usr/bin:/bin",
        "ISPCLOUD_EVENT": "change",
        "ISPCLOUD_ID": "ab" * 32,
        "ISPCLOUD_STATE": "waiting",
        "ISPCLOUD_CLASS": "low",
    }


def test_commands_that_fail_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    assert notify.run(("false",), EVENT, {"PATH": "/usr/bin:/bin"}) == "--exec: expected exit code 0, got 1"
    assert "cannot be run" in str(notify.run(("/no/such/thing",), EVENT, {}))
    monkeypatch.setattr(notify, "RUN_S", 0.05)
    assert "was killed" in str(notify.run(("sleep", "60"), EVENT, {"PATH": "/usr/bin:/bin"}))
