"""Checks of an installation, with programs in the place of systemctl, dpkg and timedatectl."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from durable import files, installation
from durable.installation import (
    FAIL,
    NOT_CHECKED,
    OK,
    WARN,
    clock_check,
    database_check,
    disk_checks,
    key_check,
    unit_checks,
)

V1, V2 = "CREATE TABLE a (n INTEGER);", "ALTER TABLE a ADD COLUMN m INTEGER;"
LOADED = """LoadState=loaded
ActiveState=active
UnitFileState=enabled
FragmentPath=/usr/lib/systemd/system/ispagent.service
DropInPaths=/usr/lib/systemd/system/ispagent.service.d/10.conf /etc/systemd/system/ispagent.service.d/override.conf"""


class Tools:
    """Tools of the system, found before all others."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder / "bin"
        self.folder.mkdir()
        self.say("dpkg-query", "ispagent 0.1.0")
        monkeypatch.setenv("PATH", str(self.folder))

    def say(self, name: str, text: str, code: int = 0) -> None:
        """Let a tool print a text."""
        said = self.folder / f"{name}.said"
        said.write_text(text)
        (self.folder / name).write_text(f'#!/bin/sh\nwhile read -r line; do echo "$line"; done <{said}\nexit {code}\n')
        (self.folder / name).chmod(0o755)


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tools:
    return Tools(tmp_path, monkeypatch)


def of_unit() -> list[tuple[str, str, str]]:
    return [(c.what, c.result, c.detail) for c in unit_checks("ispagent.service", "ispagent")]


def test_a_unit_that_runs_as_shipped(tools: Tools) -> None:
    tools.say("systemctl", LOADED + "\n")
    tools.say("dpkg", "??5?????? c /etc/ispagent/agent.toml\n", 1)
    assert of_unit() == [
        ("unit", OK, "it runs, and starts with the machine"),
        ("as shipped", OK, "with your /etc/systemd/system/ispagent.service.d/override.conf"),
    ]


@pytest.mark.parametrize(
    ("was", "now", "found"),
    [
        ("=active", "=failed", ("unit", FAIL, "it failed")),
        ("=active", "=inactive", ("unit", FAIL, "it is inactive")),
        ("=enabled", "=disabled", ("unit", WARN, "it runs, and does not start with the machine")),
        ("=active", "=activating", ("unit", WARN, "it is starting; if it stays so, it fails each time")),
        ("=active", "=reloading", ("unit", OK, "it runs, and starts with the machine")),
        ("=enabled", "=enabled-runtime", ("unit", WARN, "it runs, and does not start with the machine")),
        ("=loaded", "=masked", ("unit", FAIL, "it is masked: nothing can start it")),
        ("=loaded", "=bad-setting", ("unit", FAIL, "systemd cannot use it: bad-setting")),
        ("=loaded", "=not-found", ("unit", NOT_CHECKED, "no unit of this machine: not from a package")),
    ],
)
def test_a_unit_that_does_not_run(tools: Tools, was: str, now: str, found: tuple[str, str, str]) -> None:
    tools.say("systemctl", LOADED.replace(was, now) + "\n")
    tools.say("dpkg", "")
    assert of_unit()[0] == found


def test_a_unit_that_is_not_as_shipped(tools: Tools) -> None:
    tools.say("systemctl", LOADED + "\n")
    tools.say("dpkg", "??5??????   /usr/lib/systemd/system/ispagent.service\nmissing     /usr/bin/ispagent\n", 1)
    text = "not as the package brought them: /usr/lib/systemd/system/ispagent.service, /usr/bin/ispagent"
    assert of_unit()[1] == ("as shipped", WARN, text)
    tools.say("systemctl", LOADED.replace("FragmentPath=/usr/lib", "FragmentPath=/etc") + "\n")
    assert of_unit()[1][:2] == ("as shipped", WARN)


def test_a_drop_in_until_the_next_boot(tools: Tools) -> None:
    tools.say("systemctl", LOADED.replace("/etc/", "/run/") + "\n")
    tools.say("dpkg", "")
    assert of_unit()[1] == ("as shipped", OK, "with your /run/systemd/system/ispagent.service.d/override.conf")


@pytest.mark.parametrize("missing", ["dpkg", "dpkg-query"])
def test_a_dpkg_that_does_not_know_the_package(tools: Tools, missing: str) -> None:
    """`dpkg --verify` prints nothing of a package that it does not know: that is no sign of unchanged files."""
    tools.say("systemctl", LOADED + "\n")
    tools.say("dpkg", "", 1)
    (tools.folder / missing).unlink()
    assert of_unit()[1] == ("as shipped", NOT_CHECKED, "dpkg does not say it of the package ispagent")


def test_a_machine_without_systemd(tools: Tools) -> None:
    assert of_unit() == [("unit", NOT_CHECKED, "systemd does not answer here")]
    assert clock_check().result == NOT_CHECKED


def test_a_tool_that_hangs(tools: Tools, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installation, "TOOL_S", 0.05)
    (tools.folder / "timedatectl").write_text("#!/bin/sh\nwhile :; do :; done\n")
    (tools.folder / "timedatectl").chmod(0o755)
    assert clock_check().result == NOT_CHECKED


def test_the_clock(tools: Tools) -> None:
    tools.say("timedatectl", "yes\n")
    assert clock_check().result == OK
    tools.say("timedatectl", "no\n")
    assert clock_check().result == WARN


def test_where_a_key_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sealed, clear = tmp_path / "sealed", tmp_path / "store.key"
    sealed.mkdir()
    monkeypatch.setattr(installation, "CREDENTIALS", sealed)

    def found() -> tuple[str, str]:
        check = key_check("store key", clear, "ispagent.store-key")
        return check.result, check.detail

    assert found() == (FAIL, f"expected {clear}, or {sealed}/ispagent.store-key; got neither")
    clear.write_bytes(bytes(32))
    clear.chmod(0o640)
    assert found() == (FAIL, f"{clear}: expected mode 0600, got 0640: others can read it")
    clear.chmod(0o600)
    assert found()[0] == WARN
    assert "systemd-creds encrypt --name=ispagent.store-key" in key_check("", clear, "ispagent.store-key").mend
    (sealed / "ispagent.store-key").write_text("sealed")
    assert found() == (WARN, f"sealed in {sealed}/ispagent.store-key, and in the clear in {clear} too")
    clear.unlink()
    assert found()[0] == OK


def test_a_key_in_a_folder_that_this_user_may_not_look_into(tmp_path: Path) -> None:
    clear = tmp_path / "file" / "store.key"
    clear.parent.write_text("no folder")
    assert key_check("store key", clear, "x").result == NOT_CHECKED


def test_a_sealed_key_that_this_user_may_not_see(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """/etc/credstore.encrypted is root's alone: a plain user neither sees a sealed key nor that there is none."""
    sealed = tmp_path / "sealed"
    monkeypatch.setattr(installation, "CREDENTIALS", sealed)
    look = Path.stat

    def stat(path: Path, *, follow_symlinks: bool = True) -> os.stat_result:
        if path.is_relative_to(sealed):
            raise PermissionError(13, "Permission denied")
        return look(path, follow_symlinks=follow_symlinks)

    monkeypatch.setattr(Path, "stat", stat)
    check = key_check("store key", tmp_path / "store.key", "ispagent.store-key")
    assert (check.result, check.mend) == (NOT_CHECKED, "run this as root")


def test_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def found() -> list[tuple[str, str]]:
        return [(c.what, c.result) for c in disk_checks(tmp_path)]

    monkeypatch.setattr(installation, "FREE_LEAST", 1)
    monkeypatch.setattr(installation, "SYNC_SLOW_S", 1e9)
    assert found() == [("room", OK), ("fsync", OK)]
    monkeypatch.setattr(installation, "SYNC_SLOW_S", -1.0)
    monkeypatch.setattr(installation, "FREE_LEAST", 1 << 62)
    assert found() == [("room", FAIL), ("fsync", WARN)]
    assert [c.result for c in disk_checks(tmp_path / "none")] == [NOT_CHECKED]


@pytest.mark.parametrize(("error", "result"), [(PermissionError(13, "no"), NOT_CHECKED), (OSError(28, "full"), FAIL)])
def test_a_disk_that_takes_no_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError, result: str
) -> None:
    def refuse(fd: int) -> None:
        raise error

    monkeypatch.setattr(os, "fsync", refuse)
    assert [c.result for c in disk_checks(tmp_path)][1] == result


def test_the_versions_of_database_and_program(tmp_path: Path) -> None:
    path = tmp_path / "a.db"

    def found(known: int, oldest: int = 1) -> tuple[str, str]:
        check = database_check(path, known, oldest)
        return check.result, check.detail

    assert found(1) == (NOT_CHECKED, "there is none yet: it was never started")
    files.open_database(path, [V1], 1).close()
    assert found(1) == (OK, "version 1, of this program")
    assert found(2) == (OK, "version 1; the next start makes 2 of it, to which programs from 1 on may write")
    files.open_database(path, [V1, V2], 1).close()
    assert found(1) == (OK, "version 2 of a newer program; this one may write to it")
    with closing(sqlite3.connect(path)) as con:
        con.execute("UPDATE schema_writers SET oldest = 2")
        con.commit()
    assert found(1) == (FAIL, "version 2, to which programs of version 2 or newer may write; this one is of 1")
    path.write_bytes(b"no database" * 100)
    assert found(1)[0] == FAIL


def test_a_database_that_somebody_else_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A person who restored a backup over a database that was only in use would lose the log."""
    path = tmp_path / "a.db"
    monkeypatch.setattr(files, "LOCKED_S", 0.0)
    with closing(sqlite3.connect(path, isolation_level=None)) as con:
        con.execute("CREATE TABLE a (n INTEGER)")
        con.execute("BEGIN EXCLUSIVE")
        check = database_check(path, 1, 1)
    assert (check.result, check.mend) == (NOT_CHECKED, "try again, as root")
