"""The root that the package and unit tests work in: a Debian 13, fresh for each, closed to the outside."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests import debian_root as rig
from tests.debian_root import DebianRoot, in_root
from tests.servers import ServerMissingError

pytestmark = pytest.mark.slow


def test_it_is_debian_13_with_its_own_python(debian_root: DebianRoot) -> None:
    assert in_root(debian_root, ". /etc/os-release; echo $ID $VERSION_ID").strip() == "debian 13"
    assert (
        debian_root.run("/usr/bin/python3", "-IS", "-c", "import sys; print(sys.version_info[:2])").stdout
        == "(3, 13)\n"
    )
    for package in rig.PACKAGES:
        assert "install ok installed" in debian_root.run("dpkg-query", "--show", "-f=${Status}", package).stdout


def test_it_has_no_network_no_process_of_ours_and_another_user(debian_root: DebianRoot) -> None:
    assert in_root(debian_root, "ip -oneline link | cut -d: -f2").split() == ["lo"]
    assert str(os.getpid()) not in in_root(debian_root, "ls /proc").split()
    assert debian_root.run("id", "-un", user="nobody").stdout == "nobody\n"


def test_what_a_test_writes_is_told_and_stays_in_its_copy(debian_root: DebianRoot) -> None:
    in_root(
        debian_root,
        "echo changed > /etc/hostname; cat /etc/passwd > /etc/x; mv /etc/x /etc/passwd; rm /etc/issue;"
        "chmod 600 /etc/group;"
        "touch /run/x /dev/y; mkdir -m 700 -p /srv/z; echo new > /srv/z/new; echo gone > /srv/gone; rm /srv/gone",
    )
    assert debian_root.changes() == {
        "/etc/group": "changed",
        "/etc/hostname": "changed",
        "/etc/issue": "removed",
        "/srv/z": "added",
    }
    assert (rig.kept_root() / "etc/hostname").read_text() != "changed\n"


def test_nothing_stays_mounted(debian_root: DebianRoot) -> None:
    in_root(debian_root, "test -e /proc/self/status")
    assert str(debian_root.folder) not in Path("/proc/self/mounts").read_text()
    assert list((debian_root.folder / "root").iterdir()) == []


def test_a_file_that_is_put_there_is_read_by_all(debian_root: DebianRoot, tmp_path: Path) -> None:
    (tmp_path / "source").write_text("put")
    debian_root.put(tmp_path / "source", "/srv/deep/target")
    assert debian_root.run("cat", "/srv/deep/target", user="nobody").stdout == "put"


def test_a_command_that_fails_says_what_it_said(debian_root: DebianRoot) -> None:
    with pytest.raises(AssertionError, match=r"exit code 3, it said\nno such thing"):
        in_root(debian_root, "echo no such thing >&2; exit 3")
    assert debian_root.run("sh", "-c", "exit 3", check=False).returncode == 3


def test_a_root_that_no_test_used_for_a_week_is_removed(tmp_path: Path) -> None:
    used, unused = tmp_path / "debian-13-a", tmp_path / "debian-13-b"
    for folder in (used, unused):
        folder.mkdir()
    os.utime(unused, (0, 0))
    rig._remove_unused(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["debian-13-a"]


def test_who_is_not_root_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(ServerMissingError, match="needs root"):
        rig.kept_root()
