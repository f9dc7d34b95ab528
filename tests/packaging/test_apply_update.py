"""`apply-update` with programs in the place of dpkg and systemctl: what it leaves, says, and its exit codes."""

from __future__ import annotations

import os
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "packaging" / "apply-update"
PATH_LINE = "PATH=/usr/sbin:/usr/bin:/sbin:/bin"

DPKG = """
for deb; do :; done
[ ! -e busy ] || { echo "dpkg: error: frontend lock was locked" >&2; exit 2; }
[ ! -e cut ] || kill -s "$(cat cut)" "$PPID"
[ ! -e broken-"$(basename "$deb")" ] || { echo half-configured >status; echo "dpkg: broken" >&2; exit 1; }
basename "$deb" .deb >version; echo installed >status
[ "$ISPAGENTS_RESTART" != no ] && [ ! -e policy ] && [ "$(cat state)" != inactive ] || exit 0
[ "$(cat starts-"$(cat version)")" = active ] || sleep 300 # postinst waits for READY
cat version >invocation
cat starts-"$(cat version)" >state
"""
SYSTEMCTL = """
case $1 in
is-active) cat state ;;
show) cat invocation ;;
stop) echo inactive >state ;;
start) echo "$(cat version)-again" >invocation; cat starts-"$(cat version)" >state ;;
reset-failed) ;;
esac
"""


@dataclass
class Machine:
    """A machine with version `old`. `new` starts, and `old` too, unless a test says otherwise."""

    folder: Path

    def put(self, name: str, text: str) -> None:
        (self.folder / name).write_text(f"{text}\n")

    def get(self, name: str) -> str:
        return (self.folder / name).read_text().strip()

    def program(self, name: str, body: str) -> None:
        self.put(f"bin/{name}", f"#!/bin/sh\ncd {self.folder}\n{body}")
        (self.folder / "bin" / name).chmod(0o755)

    def run(self, *debs: str) -> tuple[int, str, str]:
        paths = [str(self.folder / "pool" / f"{deb}.deb") for deb in debs]
        done = subprocess.run(
            ["sh", str(self.folder / "apply-update"), *paths], capture_output=True, text=True, timeout=120, check=False
        )
        return done.returncode, done.stdout, done.stderr


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    made = Machine(tmp_path)
    (tmp_path / "bin").mkdir()
    (tmp_path / "pool").mkdir()
    made.program("dpkg", DPKG)
    made.program("systemctl", SYSTEMCTL)
    made.program("dpkg-query", 'echo "$(cat status) ispagent $(cat version)"')
    made.program("sleep", "exit 0")
    for name, text in (("version", "old"), ("status", "installed"), ("state", "active"), ("invocation", "first")):
        made.put(name, text)
    made.put("starts-old", "active")
    made.put("starts-new", "active")
    script = SCRIPT.read_text()
    assert PATH_LINE in script
    made.put("apply-update", script.replace(PATH_LINE, f"PATH={tmp_path}/bin:{os.defpath}"))
    return made


def test_a_new_version_that_starts(machine: Machine) -> None:
    assert machine.run("new", "old") == (0, "installed ispagent new\n", "")
    assert machine.get("state") == "active"


def test_a_new_version_that_does_not_start_is_put_back(machine: Machine) -> None:
    machine.put("starts-new", "activating")
    code, _, said = machine.run("new", "old")
    assert (code, machine.get("version"), machine.get("state")) == (1, "old", "active")
    assert "the new version did not start in 60 s" in said
    assert "put back: installed ispagent old; it runs" in said


def test_neither_starts(machine: Machine) -> None:
    machine.put("starts-new", "failed")
    machine.put("starts-old", "failed")
    code, _, said = machine.run("new", "old")
    assert (code, "does not start either" in said) == (4, True)
    machine.put("state", "active")
    assert machine.run("new")[0] == 4


def test_dpkg_is_busy(machine: Machine) -> None:
    """Somebody else's apt holds the lock: the old version was never touched, and nothing is put back."""
    machine.put("busy", "")
    code, _, said = machine.run("new", "old")
    assert (code, machine.get("version")) == (1, "old")
    assert said == (
        "dpkg: error: frontend lock was locked\ndpkg did not install it, and changed nothing: installed ispagent old\n"
    )


def test_a_package_that_dpkg_leaves_half_configured(machine: Machine) -> None:
    machine.put("broken-new.deb", "")
    code, _, said = machine.run("new", "old")
    assert (code, "dpkg: broken" in said, "put back: installed ispagent old" in said) == (1, True, True)
    machine.put("broken-old.deb", "")
    code, _, said = machine.run("new", "old")
    assert (code, "dpkg does not put the old version back" in said) == (4, True)


def test_dpkg_does_not_wait_for_a_daemon_that_never_is_ready(machine: Machine) -> None:
    """The minute is counted from the start of the new version; what postinst waits for comes on top of it."""
    machine.put("starts-new", "activating")
    machine.program("sleep", 'echo "$1" >>slept')
    assert machine.run("new", "old")[0] == 1
    assert set(machine.get("slept").split()) == {"1"}


def test_the_old_program_still_runs(machine: Machine) -> None:
    """policy-rc.d forbids postinst to restart units: the old process is active, and is not the new version."""
    machine.put("policy", "")
    machine.put("starts-new", "failed")
    assert machine.run("new", "old")[0] == 1
    machine.put("starts-new", "active")
    assert machine.run("new", "old")[0] == 0
    assert machine.get("invocation") == "new-again"


def test_a_daemon_that_was_stopped_stays_so(machine: Machine) -> None:
    machine.put("state", "inactive")
    code, said, _ = machine.run("new", "old")
    assert (code, machine.get("state"), machine.get("version")) == (0, "inactive", "new")
    assert "the daemon did not run before, and was not started" in said


def test_an_update_of_a_daemon_that_crashes_again_and_again(machine: Machine) -> None:
    machine.put("state", "activating")
    machine.put("starts-new", "activating")
    machine.put("starts-old", "activating")
    assert machine.run("new", "old")[0] == 4


@pytest.mark.parametrize("name", ["HUP", "INT", "QUIT"])
def test_the_end_of_the_session_does_not_end_it(machine: Machine, name: str) -> None:
    machine.put("cut", name)
    machine.put("starts-new", "failed")
    assert machine.run("new", "old")[0] == 1
    assert machine.get("version") == "old"


def test_nobody_reads_what_it_says(machine: Machine) -> None:
    """The terminal is gone: each write fails, and the old version is put back all the same."""
    machine.put("starts-new", "failed")
    reader, writer = os.pipe()
    os.close(reader)
    debs = [str(machine.folder / "pool" / f"{name}.deb") for name in ("new", "old")]
    try:
        done = subprocess.run(
            ["sh", str(machine.folder / "apply-update"), *debs],
            stdout=writer,
            stderr=writer,
            timeout=120,
            check=False,
            preexec_fn=lambda: signal.signal(signal.SIGPIPE, signal.SIG_DFL),
        )
    finally:
        os.close(writer)
    assert (done.returncode, machine.get("version"), machine.get("state")) == (1, "old", "active")


def test_no_room_for_the_log(machine: Machine) -> None:
    (machine.folder / "pool" / "apply.log").mkdir()
    assert machine.run("new", "old")[0] == 1
    assert machine.get("version") == "old"
