"""Updates of an installed agent under a real systemd, with real packages: fetched, installed, put back, and cut."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from agent import daemon
from tests import debian_packages as rig
from tests.builders.update import Shop
from tests.debian_packages import Packages
from tests.debian_root import DebianRoot, fresh_root, in_root, skipped_without_root
from tests.servers import missing
from tests.systemd.booted import Booted, why_not
from tests.systemd.disk import cut_disk

pytestmark = pytest.mark.slow

AGENT, FETCH, RECOVER = "ispagent.service", "ispagent-update.service", "ispagent-update-recover.service"
OFFERED, BROKEN, LARGE, SLOW = (f"0.1.{n}-0ispagents1" for n in (1, 2, 3, 4))
SILENT = "#!/bin/sh\n# Never says READY\nexec sleep infinity\n"
REWRITING = f"""#!/usr/bin/python3
import os, socket, time

systemd = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
systemd.connect(os.environ["NOTIFY_SOCKET"])
for second in range(65):
    systemd.send(b"EXTEND_TIMEOUT_USEC=5000000\\nSTATUS={daemon.MIGRATING}: number 27 of 27")
    time.sleep(1)
systemd.send(b"READY=1\\nSTATUS=FINE")
time.sleep(600)
"""
"""Its start takes longer than the unit and `apply-update` wait for one that says nothing."""
CONFIGURE = """
umask 022
cat >/etc/ispagent/update.toml <<'END'
[update]
source = "/srv/updates"
channel = "stable"
END
umask 027
cat >/etc/ispagent/agent.toml <<'END'
[agent]
name = "noc-1"
END
chgrp ispagent /etc/ispagent/agent.toml
runuser -u ispagent -- ispagent init --enroll /var/lib/ispagent/enroll.json
"""


@dataclass(frozen=True)
class Site:
    """A root with the agent installed and configured, and packages of other versions in /srv."""

    root: DebianRoot
    installed: str
    paths: dict[str, str]
    """Of each version: its package, in the root."""

    @property
    def folders(self) -> tuple[Path, Path]:
        """What a system boots from."""
        return self.root.upper, self.root.folder / "lower"


@pytest.fixture(scope="module")
def site(packages: Packages, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    if problem := why_not():
        missing(f"no systemd can be booted here: {problem}")
    work = tmp_path_factory.mktemp("updates")
    with skipped_without_root(), fresh_root() as root:
        old = packages.get("ispagent")
        offered = rig.repacked(old, work / "offered", {"Version": OFFERED})
        broken = rig.repacked(old, work / "broken", {"Version": BROKEN}, {"usr/bin/ispagent": SILENT})
        slow = rig.repacked(old, work / "slow", {"Version": SLOW}, {"usr/bin/ispagent": REWRITING})
        # It says that it needs no room, and so passes for one that another program takes the room from
        large = rig.repacked(old, work / "large", {"Version": LARGE, "Installed-Size": "1"})
        shop = Shop(work / "shop", old)
        shop.offer_files(offered)
        shop.offer_files(broken, channel="early")
        for package in (old, offered, broken, large, slow):
            root.put(package, f"/srv/{package.name}")
        shutil.copytree(shop.repo, root.upper / "srv/updates")
        in_root(root, f"chmod -R go+rX /srv/updates; dpkg --install /srv/{old.name}")
        root.put(shop.path("root"), "/etc/ispagent/update-root.json")
        in_root(root, CONFIGURE)
        versions = {path.name.split("_")[1]: f"/srv/{path.name}" for path in (old, offered, broken, large, slow)}
        yield Site(root, old.name.split("_")[1], versions)


@pytest.fixture
def system(site: Site) -> Iterator[Booted]:
    with Booted(*site.folders) as booted:
        give_up_soon(booted)
        booted.run(f"systemctl start {AGENT}")
        yield booted


def give_up_soon(system: Booted) -> None:
    """Have a program that is silent given up sooner than after 60 s, and not started anew."""
    system.write(f"/run/systemd/system/{AGENT}.d/90-test.conf", "[Service]\nTimeoutStartSec=20\nRestart=no\n")
    system.run("systemctl daemon-reload")


def version(system: Booted) -> str:
    """Return what dpkg says of the package."""
    return system.run("dpkg-query --show --showformat='${db:Status-Status} ${Version}' ispagent").stdout


def install(system: Booted, path: str) -> str:
    """Return what `apt install` of a package's file says; apt passes what scripts say to its own output."""
    done = system.run(f"apt-get install --yes {path}", env={"DEBIAN_FRONTEND": "noninteractive"})
    return done.stdout + done.stderr


# --- fetching ---------------------------------------------------------------------------------------------------------


def test_what_the_unit_fetched_is_installed(site: Site, system: Booted) -> None:
    assert system.run("systemctl is-enabled ispagent-update.timer", check=False).stdout == "disabled\n"
    system.run(f"systemctl start {FETCH}")
    assert f"fetched and verified: ispagent {OFFERED}; installed: {site.installed}" in system.journal(FETCH)
    owners = system.run("find /var/lib/ispagent-update -printf '%u\\n' | sort -u").stdout
    assert owners == "ispagent-update\n"
    done = system.run("ispagent update apply --yes", check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith(f"installed ispagent {OFFERED}\n")
    assert (version(system), system.show(AGENT, "ActiveState")) == (f"installed {OFFERED}", "active")
    assert system.run("ls /var/lib/ispagent-previous", check=False).stdout == "", (
        "its package is among the verified ones"
    )


PROBE = """
import os, socket
def tried(what, work):
    try:
        work()
    except OSError as err:
        print(what, err.strerror)
    else:
        print(what, "done")
tried("own folder", lambda: open("/var/lib/ispagent-update/x", "w"))
for folder in ("/etc", "/usr", "/var/lib", "/var/lib/ispagent-update-applied", "/run", "/home"):
    tried("write", lambda: open(f"{folder}/x", "w"))
for path in ("/var/lib/ispagent", "/var/lib/ispagent-mark", "/run/ispagent", "/root"):
    tried("read", lambda: os.listdir(path))
tried("read", lambda: open("/etc/ispagent/agent.toml"))
tried("socket", lambda: socket.socket(socket.AF_UNIX))
tried("packet", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW))
os.chmod("/var/lib/ispagent-update/x", 0o755)
tried("run", lambda: os.execv("/var/lib/ispagent-update/x", ["x"]))
"""


def test_the_unit_that_fetches_may_do_nothing_else(system: Booted) -> None:
    system.write("/srv/probe", PROBE)
    system.write(
        f"/run/systemd/system/{FETCH}.d/90-test.conf",
        "[Service]\nExecStart=\nExecStart=/usr/bin/python3 -IS /srv/probe\n",
    )
    system.run("systemctl daemon-reload")
    system.run(f"systemctl start {FETCH}")
    said = [line for line in system.journal(FETCH).splitlines() if re.match("own|write|read|socket|packet|run", line)]
    assert said[0] == "own folder done"
    assert len(said) == 15
    assert [line for line in said[1:] if line.endswith("done")] == []
    told = system.run(["systemd-analyze", "--no-pager", "security", FETCH], check=False).stdout
    (exposure,) = re.findall(r"Overall exposure level for \S+: ([0-9.]+)", told)
    assert float(exposure) <= 1.5


# --- a version that does not run --------------------------------------------------------------------------------------


def test_a_version_of_the_channel_that_does_not_run_is_put_back(site: Site, system: Booted) -> None:
    system.run("sed -i s/stable/early/ /etc/ispagent/update.toml")
    system.run(f"systemctl start {FETCH}")
    done = system.run("ispagent update apply --yes", check=False)
    assert done.returncode == 1
    assert f"put back: installed ispagent {site.installed}; it runs" in done.stderr
    assert (version(system), system.show(AGENT, "ActiveState")) == (f"installed {site.installed}", "active")


def test_version_that_rewrites_its_database_is_waited_for(site: Site, system: Booted) -> None:
    done = system.run(f"/usr/lib/ispagents/apply-update {site.paths[SLOW]} {site.paths[site.installed]}")
    assert (done.returncode, version(system)) == (0, f"installed {SLOW}")
    assert (system.show(AGENT, "ActiveState"), system.show(AGENT, "NRestarts")) == ("active", "0")


def test_apt_tells_way_back_from_version_that_does_not_run(site: Site, system: Booted) -> None:
    said = install(system, site.paths[BROKEN])
    assert version(system) == f"installed {BROKEN}"
    assert f"VERSION {BROKEN} DOES NOT RUN: it did not say READY. See: journalctl -u {AGENT}" in said
    # The package that was installed from a file is made again; nobody needs that file
    system.run(f"rm {site.paths[site.installed]}")
    (back,) = re.findall(r"To go back: (apt install --allow-downgrades /\S+)\n", said)
    system.run(f"{back} --yes")
    assert version(system) == f"installed {site.installed}"
    system.run(f"systemctl start {AGENT}")
    system.wait_active(AGENT)
    assert system.run("dpkg --verify ispagent").stdout == "", "every file is as it was packed"


def test_apt_says_nothing_of_a_version_that_runs_or_never_ran(site: Site, system: Booted) -> None:
    said = install(system, site.paths[OFFERED])
    assert ("DOES NOT RUN" in said, system.show(AGENT, "ActiveState")) == (False, "active")
    kept = system.run("ls /var/lib/ispagent-previous").stdout
    assert kept == f"ispagent_{site.installed}_amd64.deb\n"
    system.run(f"systemctl stop {AGENT}")
    said = install(system, site.paths[BROKEN])
    assert ("DOES NOT RUN" in said, system.show(AGENT, "ActiveState")) == (False, "inactive")
    assert system.run("ls /var/lib/ispagent-previous").stdout == f"ispagent_{OFFERED}_amd64.deb\n"


# --- an update that is cut --------------------------------------------------------------------------------------------


def begin(site: Site, system: Booted, to: str, at: str) -> None:
    """Begin an update, and return in the middle of it: once dpkg says `at` of the package."""
    target = f"{at} {to}" if at != "half-installed" else at
    new, old = site.paths[to], site.paths[site.installed]
    system.run(f"systemd-run --unit=cut /usr/lib/ispagents/apply-update {new} {old}")
    system.wait(f"dpkg says {target}", lambda: version(system), lambda said: said.startswith(target))


def leave_cut(site: Site, system: Booted, to: str, at: str) -> None:
    """Kill dpkg and all else of an update at once, in the middle of it."""
    was = system.show(AGENT, "InvocationID")
    begin(site, system, to, at)
    if at == "installed":
        # Killed before this start has passed the unit that undoes, the update is undone by this start, not by the next
        system.wait("a new start", lambda: system.show(AGENT, "InvocationID"), lambda said: said not in {"", was})
        system.wait("past what undoes", lambda: system.show(AGENT, "SubState"), lambda said: said == "start")
    system.run("systemctl kill --signal=KILL cut.service")
    # Not "deactivating": a process of it may live then, and hold the lock
    system.wait("the update is dead", lambda: system.show("cut", "ActiveState"), lambda said: said == "failed")
    assert version(system) != f"installed {site.installed}"


@pytest.mark.parametrize("at", ["half-installed", "half-configured", "installed"])
def test_an_update_that_is_cut_is_undone_before_the_next_start(at: str, site: Site, system: Booted) -> None:
    """Everything of the update is killed in the middle of it; then the daemon is started anew."""
    leave_cut(site, system, BROKEN, at)
    new, old = site.paths[BROKEN], site.paths[site.installed]

    def again() -> subprocess.CompletedProcess[str]:
        return system.run(f"/usr/lib/ispagents/apply-update {new} {old}", check=False)

    # systemd calls the unit failed while a killed process of it still ends, and holds the lock for a moment
    refused = system.wait("the lock to be free", again, lambda done: "another update is under way" not in done.stderr)
    assert (refused.returncode, "an update was cut before" in refused.stderr) == (1, True), refused.stderr
    system.run(f"systemctl stop {AGENT}")
    system.run(f"systemctl start {AGENT}")
    assert (version(system), system.show(AGENT, "ActiveState")) == (f"installed {site.installed}", "active")
    said = system.journal(RECOVER)
    assert f"put back: installed ispagent {site.installed}" in said
    assert system.run("dpkg --verify ispagent; dpkg --audit").stdout == ""
    system.run("test ! -e /var/lib/ispagent-update-applied/under-way")
    assert system.run("/usr/lib/ispagents/apply-update --recover").stdout == "no update was cut\n"


def test_a_program_of_two_versions_is_not_started(site: Site, system: Booted) -> None:
    """dpkg can neither undo nor finish it: the unit, closed as it is, calls the start off."""
    leave_cut(site, system, BROKEN, "half-installed")
    for path in (site.paths[BROKEN], site.paths[site.installed]):
        system.run(f"truncate --size=1M {path}")
    system.run(f"systemctl stop {AGENT}; systemctl start {AGENT}", check=False)
    assert "dpkg can neither undo nor finish it" in system.journal(RECOVER)
    states = {unit: system.show(unit, "ActiveState") for unit in (AGENT, "ispagent.socket")}
    assert "active" not in states.values(), states


@pytest.mark.parametrize("at", ["marked", "half-installed", "half-configured", "installed", "put back", "recovery"])
def test_power_is_cut_and_next_boot_has_one_whole_version(at: str, site: Site, tmp_path: Path) -> None:
    """A disk whose power is cut loses what dpkg did not sync; every file is whole again once the machine has booted."""
    with skipped_without_root(), cut_disk(tmp_path) as disk:
        with Booted(*site.folders, kept=disk.folder) as system:
            system.run("rm -f /etc/dpkg/dpkg.cfg.d/*")  # the root was made without syncs
            if at == "marked":
                words = f"{site.paths[BROKEN]} {site.paths[site.installed]}"
                system.run(f"systemd-run --unit=cut /usr/lib/ispagents/apply-update {words}")
                mark = disk.folder / "upper/var/lib/ispagent-update-applied/under-way"
                system.wait("the mark", mark.exists)
            elif at == "put back":
                give_up_soon(system)
                begin(site, system, BROKEN, "installed")
                system.run(f"systemctl kill --signal=KILL {AGENT}")  # it counts as a version that does not start
                system.wait("it is put back", lambda: version(system), lambda said: said.startswith("half-installed"))
            elif at == "recovery":
                leave_cut(site, system, BROKEN, "half-configured")
                system.run(f"systemctl stop {AGENT}; systemctl start --no-block {AGENT}")
                system.wait("it is undone", lambda: version(system), lambda said: said.startswith("half-installed"))
            else:
                begin(site, system, BROKEN, at)
            disk.cut()
        disk.power_off()
        disk.power_on()
        with Booted(*site.folders, kept=disk.folder) as system:
            assert (version(system), system.show(AGENT, "ActiveState")) == (f"installed {site.installed}", "active")
            assert system.run("dpkg --verify ispagent; dpkg --audit").stdout == ""
            system.run("test ! -e /var/lib/ispagent-update-applied/under-way")
            print(system.journal(RECOVER))


# A package of somebody else's whose script fails when dpkg tells it of new manual pages
TRIGGERED = """
mkdir -p /tmp/other/DEBIAN
cat >/tmp/other/DEBIAN/control <<'END'
Package: other
Version: 1
Architecture: all
Maintainer: nobody <nobody@example.net>
Description: fails at each trigger
END
echo 'interest-noawait /usr/share/man' >/tmp/other/DEBIAN/triggers
printf '#!/bin/sh\\n[ "$1" != triggered ]\\n' >/tmp/other/DEBIAN/postinst
chmod 755 /tmp/other/DEBIAN/postinst
dpkg-deb --build /tmp/other /tmp/other.deb
dpkg --install /tmp/other.deb
"""


def test_scripts_of_other_packages_do_not_stop_it(site: Site, system: Booted) -> None:
    """It is too closed for most of what they do; dpkg runs them the next time."""
    system.run(TRIGGERED)
    leave_cut(site, system, BROKEN, "half-installed")
    system.run(f"systemctl stop {AGENT}; systemctl start {AGENT}")
    assert (version(system), system.show(AGENT, "ActiveState")) == (f"installed {site.installed}", "active")
    assert f"put back: installed ispagent {site.installed}" in system.journal(RECOVER)
    waiting = system.run("dpkg-query --show --showformat='${db:Status-Status}' other").stdout
    assert waiting == "triggers-pending"


PROBE_OF_ROOT = """
import os, socket, subprocess
def tried(what, work):
    try:
        work()
    except OSError as err:
        print(what, err.strerror)
    else:
        print(what, "done")
print("root", os.getuid(), len(os.listdir("/var/lib/ispagent")), len(os.listdir("/var/lib/ispagent-mark")))
tried("own folder", lambda: open("/var/lib/ispagent-update-applied/x", "w").close())
for folder in ("/", "/boot", "/root", "/home", "/run", "/srv", "/opt", "/proc/sys/kernel", "/sys"):
    tried(f"write {folder}", lambda: open(f"{folder}/x", "w"))
for path in ("/etc/credstore", "/etc/credstore.encrypted", "/var/lib/systemd/credential.secret", "/home", "/root"):
    tried(f"read {path}", lambda: os.listdir(path) if os.path.isdir(path) else open(path))
tried("packet", lambda: socket.socket(socket.AF_INET))
tried("packet", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW))
tried("netlink", lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW))
tried("device", lambda: os.mknod("/var/lib/ispagent-update-applied/d", 0o60666, 0x0800))
tried("suid", lambda: os.chmod("/var/lib/ispagent-update-applied/x", 0o4755))
tried("signal", lambda: os.kill(1, 0))
tried("process", lambda: os.listdir("/proc/1/root"))
os.chmod("/var/lib/ispagent-update-applied/x", 0o755)
tried("run", lambda: os.execv("/var/lib/ispagent-update-applied/x", ["x"]))
"""


def test_the_unit_that_undoes_may_do_nothing_else(system: Booted) -> None:
    """It is root, and dpkg would not run without; but neither keys nor devices nor packets are for it."""
    system.run("mkdir -p -m 0700 /etc/credstore /etc/credstore.encrypted; systemd-creds setup")
    system.write("/srv/probe", PROBE_OF_ROOT)
    system.write(
        f"/run/systemd/system/{RECOVER}.d/90-test.conf",
        "[Unit]\nConditionPathExists=\n[Service]\nExecStart=\nExecStart=/usr/bin/python3 -IS /srv/probe\n",
    )
    system.run("systemctl daemon-reload")
    system.run(f"systemctl start {RECOVER}")
    words = "root|own|write|read|packet|netlink|device|suid|signal|process|run"
    said = [line for line in system.journal(RECOVER).splitlines() if re.match(words, line)]
    assert said[:2] == ["root 0 0 0", "own folder done"]
    assert len(said) == 2 + 9 + 5 + 8
    assert [line for line in said[2:] if line.endswith("done")] == []


# --- a full disk ------------------------------------------------------------------------------------------------------


def test_a_disk_on_which_the_new_version_has_no_room(site: Site, system: Booted) -> None:
    """The code lies on a small disk of its own. dpkg is not run, or gives up in the middle and tidies up."""
    code, apply, old = "/usr/lib/ispagents", "/usr/lib/ispagents/apply-update", site.paths[site.installed]
    size = f"$(($(du -sk {code} | cut -f1) + 20000))k"
    small = f"mount -t tmpfs -o mode=755,size={size} tmpfs {code}"
    system.run(f"set -e; cp -a {code} /srv/code; {small}; cp -a /srv/code/. {code}/")
    done = system.run(f"{apply} {site.paths[OFFERED]} {old}", check=False)
    sizes = r"(\d+) KiB are needed, (\d+) KiB are free, (\d+) KiB are missing"
    told = re.fullmatch(rf"{code}: the disk is full: {sizes}; nothing was changed\n", done.stderr)
    assert told, done.stderr
    assert (done.returncode, int(told[1]) - int(told[2])) == (1, int(told[3]))
    done = system.run(f"{apply} {site.paths[LARGE]}", check=False)  # the old one's size would say no before
    assert done.returncode == 1
    assert re.search(rf"{code}/\S+.*No space left on device", done.stderr), done.stderr
    assert f"dpkg did not install it, and changed nothing: installed ispagent {site.installed}" in done.stderr
    assert (version(system), system.show(AGENT, "ActiveState")) == (f"installed {site.installed}", "active")
    assert system.run(f"dpkg --verify ispagent; dpkg --audit; find {code} -name '*.dpkg-*'").stdout == ""
    assert system.run(f"{apply} --recover").stdout == "no update was cut\n"
