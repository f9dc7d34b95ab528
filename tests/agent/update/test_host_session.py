"""This machine, by its own dpkg: its package, the order of versions, and packages' own words."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from agent.update import host_session
from agent.update.errors import ChannelRefusedError, HostError
from tests.builders.update import HERE, NEXT, deb


def test_the_order_of_versions_is_dpkg_s() -> None:
    assert host_session.newer("0.10.0", "0.9.1")
    assert not host_session.newer("0.2.0~rc1", "0.2.0")
    assert not host_session.newer("0.2.0", "0.2.0")


def test_a_package_says_itself_what_it_is(tmp_path: Path) -> None:
    host_session.check_package(deb(tmp_path, NEXT), NEXT)
    with pytest.raises(ChannelRefusedError, match=r"the package ispagent 0\.2\.0 amd64, got ispagent 0\.1\.0"):
        host_session.check_package(deb(tmp_path, NEXT, inside=HERE), NEXT)
    with pytest.raises(ChannelRefusedError, match=r"got ispcloud 0\.2\.0 amd64"):
        host_session.check_package(deb(tmp_path, NEXT, inside=replace(NEXT, product="ispcloud")), NEXT)
    (tmp_path / "text.deb").write_text("no package")
    with pytest.raises(ChannelRefusedError, match="is no package that dpkg can read"):
        host_session.check_package(tmp_path / "text.deb", NEXT)


def test_where_it_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    release = tmp_path / "os-release"
    monkeypatch.setattr(host_session, "OS_RELEASE", release)
    with pytest.raises(HostError, match="cannot be read: No such file"):
        host_session.installed()
    release.write_text('PRETTY_NAME="Fedora Linux 44"\nID=fedora\nVERSION_ID=44\n')
    with pytest.raises(HostError, match="expected a release of Debian, got 'Fedora Linux 44'"):
        host_session.installed()
    release.write_text('# a line\nID=debian\nVERSION_ID="13"\n')
    said = programs(tmp_path, monkeypatch, "dpkg-query", 'echo "installed 0.1.0 amd64"')
    assert host_session.installed() == HERE
    said.write_text('#!/bin/sh\necho "config-files 0.1.0 amd64"\n')
    with pytest.raises(HostError, match=r"was not installed from a package here \(dpkg says config-files\)"):
        host_session.installed()
    said.write_text('#!/bin/sh\necho "half-configured 0.1.0 amd64"\n')
    with pytest.raises(HostError, match=r"ispagent is half-configured: .* `dpkg --configure -a`"):
        host_session.installed()
    said.write_text("#!/bin/sh\nexit 1\n")
    with pytest.raises(HostError, match="dpkg says not-installed"):
        host_session.installed()
    said.unlink()
    with pytest.raises(HostError, match="dpkg-query is missing"):
        host_session.installed()


def test_a_dpkg_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_session, "DPKG_S", 0.05)
    programs(tmp_path, monkeypatch, "dpkg", "exec sleep 60")
    with pytest.raises(HostError, match="timed out"):
        host_session.newer("1", "2")


def test_the_script_takes_the_place_of_the_command(tmp_path: Path) -> None:
    told = tmp_path / "told"
    script = tmp_path / "apply-update"
    with pytest.raises(HostError, match="missing; it belongs to the package"):
        host_session.apply(tmp_path / "new.deb", None, script)
    script.write_text(f'echo "$@" >{told}\n')
    for old in (None, tmp_path / "old.deb"):
        child = os.fork()
        if not child:
            host_session.apply(tmp_path / "new.deb", old, script)
        assert os.waitpid(child, 0)[1] == 0
        wanted = [tmp_path / "new.deb", *([old] if old else [])]
        assert told.read_text() == " ".join(map(str, wanted)) + "\n"


def programs(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, body: str) -> Path:
    """Put a program before all others of its name; return its file."""
    home = folder / "bin"
    home.mkdir(exist_ok=True)
    (home / name).write_text(f"#!/bin/sh\n{body}\n")
    (home / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(home))
    return home / name
