"""`apply-update` with programs in the place of dpkg and systemctl: what it leaves, says, and its exit codes."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from agent import daemon

SCRIPT = Path(__file__).parents[2] / "packaging" / "apply-update"
PATH_LINE = "PATH=/usr/sbin:/usr/bin:/sbin:/bin"

# The power is cut before a step, or after it: everything that runs is killed at once, nothing tidies up
STEP = """
step() {
    steps=$(($(cat steps) + 1))
    echo $steps >steps
    [ "$steps" != "$(cat cut-at)" ] || kill -s KILL 0
}
"""
DPKG = """
for deb; do :; done
[ ! -e busy ] || { echo "dpkg: error: frontend lock was locked" >&2; exit 2; }
[ ! -e cut ] || kill -s "$(cat cut)" "$PPID"
step
echo half-installed >status; echo mixed >version
step
[ ! -e broken-"$(basename "$deb")" ] || { echo half-configured >status; echo "dpkg: broken" >&2; exit 1; }
basename "$deb" .deb >version; echo unpacked >status
step
echo installed >status
step
[ "$ISPAGENTS_RESTART" != no ] && [ ! -e policy ] && [ "$(cat state)" != inactive ] || exit 0
[ "$(cat starts-"$(cat version)")" = active ] || sleep 300 # postinst waits for READY
cat version >invocation
cat starts-"$(cat version)" >state
"""
SYSTEMCTL = """
step
case $1 in
is-active) cat state ;;
show)
    case $2 in
    --property=StatusText) if [ -e status-text ]; then sed -n 1p status-text; sed -i 1d status-text; fi ;;
    *) cat invocation ;;
    esac
    ;;
stop) echo "$*" >>stopped; echo inactive >state ;;
start) echo "$(cat version)-again" >invocation; cat starts-"$(cat version)" >state ;;
reset-failed) ;;
esac
"""


def test_it_waits_for_ready_as_long_as_the_unit_does() -> None:
    """Else systemd would go on with a start that counts as failed, or end one that still counts."""
    unit = (SCRIPT.parents[1] / "systemd/ispagent.service").read_text()
    (start,) = re.findall(r"(?m)^TimeoutStartSec=(\d+)$", unit)
    (ready,) = re.findall(r"(?m)^ready_s=(\d+)$", SCRIPT.read_text())
    assert start == ready


def test_it_knows_status_of_a_start_that_rewrites_database() -> None:
    assert re.findall(r"(?m)^migrating='(.+)'$", SCRIPT.read_text()) == [daemon.MIGRATING]


@dataclass
class Machine:
    """A machine with version `old`. `new` starts, and `old` too, unless a test says otherwise."""

    folder: Path

    def put(self, name: str, text: str) -> None:
        (self.folder / name).write_text(f"{text}\n")

    def get(self, name: str) -> str:
        return (self.folder / name).read_text().strip()

    def program(self, name: str, body: str) -> None:
        self.put(f"bin/{name}", f"#!/bin/sh\nhere=$PWD\ncd {self.folder}\n{STEP}\n{body}")
        (self.folder / "bin" / name).chmod(0o755)

    def run(self, *words: str) -> tuple[int, str, str]:
        paths = [word if word.startswith("-") else str(self.deb(word)) for word in words]
        done = subprocess.run(
            ["sh", str(self.folder / "apply-update"), *paths],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            start_new_session=True,
        )
        return done.returncode, done.stdout, done.stderr

    def deb(self, name: str) -> Path:
        path = self.folder / "pool" / f"{name}.deb"
        path.touch()
        return path

    def mark(self) -> Path:
        return self.folder / "applied" / "under-way"


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    made = Machine(tmp_path)
    (tmp_path / "bin").mkdir()
    (tmp_path / "pool").mkdir()
    made.program("dpkg", DPKG)
    made.program("systemctl", SYSTEMCTL)
    made.program("dpkg-query", 'echo "$(cat status) ispagent $(cat version)"')
    made.program("sleep", "exit 0")
    made.program("dpkg-deb", 'echo "$(cat size)"')
    made.program("df", 'echo Avail; echo "   $(cat free)"')
    made.put("size", "100000")
    made.put("free", "116384")
    for name in ("mv", "rm", "sync"):
        made.program(name, f'step; cd "$here"; {shutil.which(name)} "$@" || exit; cd {tmp_path}; step')
    made.put("steps", "0")
    made.put("cut-at", "0")
    made.put("boot_id", "this-boot")
    for name, text in (("version", "old"), ("status", "installed"), ("state", "active"), ("invocation", "first")):
        made.put(name, text)
    made.put("starts-old", "active")
    made.put("starts-new", "active")
    script = SCRIPT.read_text()
    for line, instead in (
        (PATH_LINE, f"PATH={tmp_path}/bin:{os.defpath}"),
        ("code=/usr/lib/ispagents", f"code={tmp_path}/code"),
        ("folder=/var/lib/ispagent-update-applied", f"folder={tmp_path}/applied"),
        ("boot=/proc/sys/kernel/random/boot_id", f"boot={tmp_path}/boot_id"),
    ):
        assert f"\n{line}\n" in script
        script = script.replace(f"\n{line}\n", f"\n{instead}\n")
    made.put("apply-update", script)
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
    machine.program("sleep", "echo >>slept")
    code, _, said = machine.run("new", "old")
    assert (code, "dpkg does not put the old version back" in said) == (4, True)
    assert not (machine.folder / "slept").exists(), "a broken package is not tried again"


def test_dpkg_is_busy_when_the_old_version_is_put_back(machine: Machine) -> None:
    """apt came in between: it is waited for."""
    machine.put("starts-new", "failed")
    machine.program("systemctl", f'[ "$1" != is-active ] || [ "$(cat version)" != new ] || : >busy\n{SYSTEMCTL}')
    machine.program("sleep", "rm -f busy")
    assert machine.run("new", "old")[0] == 1
    assert machine.get("version") == "old"


def test_dpkg_does_not_wait_for_a_daemon_that_never_is_ready(machine: Machine) -> None:
    """The minute is counted from the start of the new version; what postinst waits for comes on top of it."""
    machine.put("starts-new", "activating")
    machine.program("sleep", 'echo "$1" >>slept')
    assert machine.run("new", "old")[0] == 1
    assert set(machine.get("slept").split()) == {"1"}


def test_a_database_that_is_rewritten_has_more_than_the_minute(machine: Machine) -> None:
    """Copying its largest tables takes minutes on a slow disk, and put the old version back each time."""
    machine.put("starts-new", "activating")
    machine.put("status-text", "\n".join([*[f"{daemon.MIGRATING}: number 27 of 27"] * 70, *["checking"] * 20]))
    machine.program("sleep", "if [ -s status-text ]; then exit 0; fi; echo active >state")
    assert machine.run("new", "old")[0] == 0
    assert machine.get("version") == "new"


def test_one_that_is_rewritten_for_ever_is_put_back(machine: Machine) -> None:
    machine.put("starts-new", "activating")
    machine.put("status-text", "")
    machine.program("sleep", f"echo '{daemon.MIGRATING}' >status-text; echo x >>slept")
    script = machine.folder / "apply-update"
    (line,) = re.findall(r"(?m)^migrating_s=\d+$", text := script.read_text())
    script.write_text(text.replace(line, "migrating_s=90"))
    assert machine.run("new", "old")[0] == 1
    assert machine.get("version") == "old"
    assert len(machine.get("slept").split()) == 90


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
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGPIPE, signal.SIG_DFL),
        )
    finally:
        os.close(writer)
    assert (done.returncode, machine.get("version"), machine.get("state")) == (1, "old", "active")


def test_no_room_for_the_package(machine: Machine) -> None:
    machine.put("free", "116000")
    code, _, said = machine.run("new", "old")
    assert (code, machine.get("version"), machine.mark().exists()) == (1, "old", False)
    assert said == (
        f"{machine.folder}/code: the disk is full: 116384 KiB are needed, 116000 KiB are free, 384 KiB are missing;"
        " nothing was changed\n"
    )


def test_no_room_for_the_log(machine: Machine) -> None:
    (machine.folder / "pool" / "apply.log").mkdir()
    assert machine.run("new", "old")[0] == 1
    assert machine.get("version") == "old"


# --- an update that is cut --------------------------------------------------------------------------------------------


def boot(machine: Machine) -> None:
    """Let the machine boot: systemd starts the daemon, with whatever program is there, once the recovery is over."""
    machine.put("boot_id", "next-boot")
    machine.put("state", "inactive")


@pytest.mark.parametrize("starts", ["active", "failed"])
@pytest.mark.parametrize("debs", [("new", "old"), ("new",)])
def test_the_power_is_cut_at_each_step(debs: tuple[str, ...], starts: str, tmp_path: Path, machine: Machine) -> None:
    """After the next boot one whole version is there: the old one, where there is a package of it."""
    seen = []
    while True:
        for name, text in (("version", "old"), ("status", "installed"), ("state", "active"), ("invocation", "first")):
            machine.put(name, text)
        machine.put("starts-new", starts)
        machine.put("steps", "0")
        machine.put("cut-at", str(len(seen) + 1))
        machine.mark().unlink(missing_ok=True)
        code, _, _ = machine.run(*debs)
        if code != -signal.SIGKILL:
            break
        marked, begun = machine.mark().exists(), machine.get("version") != "old" or machine.get("status") != "installed"
        machine.put("cut-at", "0")
        boot(machine)
        assert marked or machine.get("status") == "installed", "without a mark nobody would mend it"
        code, said, _ = machine.run("--recover", "--before-start")
        assert (code, machine.get("status"), machine.mark().exists()) == (0, "installed", False)
        assert machine.get("version") == ("old" if "old" in debs or not begun else "new") or not marked
        assert machine.get("state") == "inactive", "systemd starts it, and it may be disabled"
        assert ("an update was cut" in said) == marked, said
        seen.append((marked, begun))
    assert len(seen) > 15
    assert {(False, False), (True, False), (True, True)} <= set(seen)


def test_the_recovery_is_cut_too(machine: Machine) -> None:
    step = 0
    while True:
        step += 1
        machine.put("version", "mixed")
        machine.put("status", "half-installed")
        leave_mark(machine)
        machine.put("steps", "0")
        machine.put("cut-at", str(step))
        code, _, _ = machine.run("--recover", "--before-start")
        if code != -signal.SIGKILL:
            break
        machine.put("cut-at", "0")
        assert machine.run("--recover", "--before-start")[0] == 0
        assert (machine.get("version"), machine.get("status"), machine.mark().exists()) == ("old", "installed", False)
    assert step > 5


def leave_mark(machine: Machine, **words: str) -> None:
    lines = {"new": machine.deb("new"), "old": machine.deb("old"), "had": "installed ispagent old", "wanted": "yes"}
    machine.mark().parent.mkdir(exist_ok=True)
    machine.mark().write_text("".join(f"{name}={value}\n" for name, value in {**lines, "boot": "x", **words}.items()))


def test_the_script_alone_was_killed(machine: Machine) -> None:
    """The machine did not boot: whoever recovers has the daemon started anew, since it ran before."""
    machine.put("version", "new")
    machine.put("state", "failed")
    leave_mark(machine, boot="this-boot")
    code, said, _ = machine.run("new", "old")
    assert (code, machine.get("version")) == (1, "new")
    code, said, _ = machine.run("--recover")
    assert (code, machine.get("version"), machine.get("state")) == (0, "old", "active")
    assert said == "an update was cut (dpkg said installed ispagent new); put back: installed ispagent old\n"
    assert machine.run("--recover")[:2] == (0, "no update was cut\n")
    machine.put("version", "new")
    machine.put("starts-old", "failed")
    leave_mark(machine, boot="this-boot")
    assert machine.run("--recover")[0] == 4


def test_what_cannot_be_recovered_is_not_started(machine: Machine) -> None:
    """Half of each version: what it would do to a network, nobody knows. The next boot tries once more."""
    machine.put("broken-old.deb", "")
    machine.put("version", "mixed")
    machine.put("status", "half-installed")
    leave_mark(machine)
    code, said, _ = machine.run("--recover", "--before-start")
    assert (code, machine.mark().exists()) == (4, True)
    assert "dpkg can neither undo nor finish it" in said
    assert machine.get("stopped") == "stop --no-block ispagent.service ispagent.socket"
    (machine.folder / "broken-old.deb").unlink()
    assert machine.run("--recover", "--before-start")[0] == 0


def test_an_update_that_is_under_way_is_no_cut_one(machine: Machine) -> None:
    """systemd asks before each start of the daemon, and this script itself starts it."""
    leave_mark(machine)
    with (machine.folder / "applied" / "apply-update.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert machine.run("--recover", "--before-start")[:2] == (0, "an update is under way: wait for its end\n")
        assert machine.run("--recover")[0] == 1
        code, _, said = machine.run("new", "old")
        assert (code, "another update is under way" in said) == (1, True)
    assert (machine.mark().exists(), machine.get("version")) == (True, "old")


def test_a_lock_that_cannot_be_opened(machine: Machine) -> None:
    (machine.folder / "applied" / "apply-update.lock").mkdir(parents=True)
    code, _, said = machine.run("new", "old")
    assert (code, machine.get("version"), "applied cannot be written: nothing was changed" in said) == (1, "old", True)


def test_no_room_for_the_mark(machine: Machine) -> None:
    """Without it a cut could not be undone, so dpkg does not run."""
    (machine.folder / "applied" / "under-way.new").mkdir(parents=True)
    code, _, said = machine.run("new", "old")
    assert (code, machine.get("version"), machine.get("steps") < "9") == (1, "old", True)
    assert "under-way cannot be written: 8 KiB are needed, 116384 KiB are free; nothing was changed" in said
