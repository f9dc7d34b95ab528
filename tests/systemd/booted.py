"""A Debian system with a real systemd as PID 1, in namespaces of its own: what the tests of the units run in.

Nothing of it outlives `close`: its PID 1 is killed, with it go its processes and mounts, then its control group. It
dies as well when the process that booted it does.
"""

from __future__ import annotations

import os
import secrets
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self, TypeVar

T = TypeVar("T")

BOOT = Path(__file__).with_name("boot")
BOOT_S = 120.0
WAIT_S = 90.0
"""How long a state is waited for before a test has failed. On a quiet machine none takes a third of it."""
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class CannotBootError(Exception):
    """Why no systemd can be booted here."""


def why_not() -> str:
    """Return why a system cannot be booted on this machine; "": it can."""
    if os.geteuid() != 0:
        return "a system is booted by root alone"
    for program in ("unshare", "nsenter", "setpriv", "pivot_root"):
        if shutil.which(program) is None:
            return f"there is no {program}"
    try:
        _cgroup2()
    except CannotBootError as err:
        return str(err)
    return forbidden()


def forbidden(*run_by: str) -> str:
    """Return which step of `boot` the kernel forbids here; "": none. `run_by`: a command that runs the steps."""
    with tempfile.TemporaryDirectory(prefix="ispagents-booted-") as folder:
        tried = subprocess.run(
            [*run_by, "unshare", "--mount", "--pid", "--fork", "--uts", "--ipc", "--net", "--cgroup", "--kill-child"]
            + ["sh", "-eu", "-c", _STEPS, "sh", folder],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
    return "" if tried.returncode == 0 else f"the kernel forbids {tried.stdout.strip() or 'namespaces'}"


_STEPS = """
try() { "$@" || { echo "($*)"; exit 1; }; }
try mount --make-rprivate /
try mount -t tmpfs tmpfs "$1"
cd "$1"
mkdir lower upper work root
try mount -t overlay -o "lowerdir=$1/lower,upperdir=$1/upper,workdir=$1/work" overlay root
cd root
mkdir proc sys cgroup pts old
: >null
try mount -t proc proc proc
try mount -t sysfs -o ro sysfs sys
try mount -t cgroup2 cgroup2 cgroup
try mount --bind /dev/null null
try mount -t devpts -o newinstance,ptmxmode=0666 devpts pts
try hostname tried
try pivot_root . old
"""


def _cgroup2() -> Path:
    """Return where the host's cgroup2 is mounted."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        if after.split()[0] == "cgroup2" and before.split()[3] == "/":
            return Path(before.split()[4])
    raise CannotBootError("no cgroup2 is mounted")


class Booted:
    """A booted system. Its root is only read, so each system starts as that is.

    `root`: folders, the upper one first, as overlayfs puts them together. `kept`: a folder whose `upper` keeps what
    the system writes; without it, that goes to memory, and is gone at the end.
    """

    def __init__(self, *root: Path, kept: Path | None = None) -> None:
        self._scratch = Path(tempfile.mkdtemp(prefix="ispagents-booted-"))
        self._cgroup = _cgroup2() / f"ispagents-test-{os.getpid()}-{secrets.token_hex(4)}"
        self._unshare: subprocess.Popen[bytes] | None = None
        self.pid = 0
        """Of its PID 1, on the host."""
        try:
            self._boot(root, kept)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _boot(self, root: Sequence[Path], kept: Path | None) -> None:
        self._cgroup.mkdir()
        mount = self._scratch / "mount"
        mount.mkdir()
        with (self._scratch / "console").open("wb") as console:
            self._unshare = subprocess.Popen(
                [BOOT, ":".join(map(str, root)), mount, self._cgroup, *([kept] if kept else [])],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + BOOT_S
        while not self._is_up():
            if self._unshare.poll() is not None or time.monotonic() > deadline:
                raise CannotBootError(f"systemd did not come up: {self.console()[-2000:]}")
            time.sleep(0.05)
        self.run("systemctl log-target journal")  # until now there was no journal

    def _is_up(self) -> bool:
        """Return whether it is booted. A system without networking is degraded for ever, and good enough."""
        if not self.pid:
            self.pid = _child(self._unshare.pid) if self._unshare else 0
            return False
        done = self.run("systemctl is-system-running", check=False)
        return done.stdout.strip() in ("running", "degraded")

    def console(self) -> str:
        """Return what systemd printed."""
        path = self._scratch / "console"
        return path.read_text(errors="replace") if path.exists() else ""

    def close(self) -> None:
        """End everything in it; a second time nothing happens."""
        if self._unshare is not None:
            with suppress(ProcessLookupError):
                os.kill(self.pid or self._unshare.pid, signal.SIGKILL)
            self._unshare.kill()
            self._unshare.wait(30)
        if self._cgroup.exists():
            (self._cgroup / "cgroup.kill").write_text("1")
            folders = sorted((path for path in self._cgroup.rglob("*") if path.is_dir()), reverse=True)
            for folder in (*folders, self._cgroup):
                _remove(folder)
        shutil.rmtree(self._scratch, ignore_errors=True)

    # --- in the system ---

    def run(
        self,
        command: str | Sequence[str],
        *,
        user: str = "",
        env: Mapping[str, str] | None = None,
        stdin: str = "",
        check: bool = True,
        timeout_s: float = WAIT_S,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in it, through a shell where it is a text; `user`: as that user, with all of its groups."""
        words = ["sh", "-c", command] if isinstance(command, str) else list(command)
        whose = ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups", "--"] if user else []
        done = subprocess.run(
            [*self._inside(env), *whose, *words],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        if check and done.returncode != 0:
            raise AssertionError(f"{shlex.join(words)}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def _inside(self, env: Mapping[str, str] | None = None) -> list[str]:
        """Return what runs the command that follows in it."""
        variables = [f"{name}={value}" for name, value in {"PATH": PATH, "LC_ALL": "C.UTF-8", **(env or {})}.items()]
        return ["nsenter", f"--target={self.pid}", *_NAMESPACES, "--", "env", "-i", *variables]

    def put(self, source: Path, path: str) -> None:
        """Copy a file of this machine into it."""
        with source.open("rb") as file:
            subprocess.run([*self._inside(), "sh", "-c", f"cat > {shlex.quote(path)}"], stdin=file, check=True)

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """Write a file in it; folders are made."""
        quoted = shlex.quote(path)
        self.run(f"mkdir -p $(dirname {quoted}) && cat > {quoted} && chmod {mode:o} {quoted}", stdin=text)

    def show(self, unit: str, name: str) -> str:
        """Return a property of a unit."""
        return self.run(["systemctl", "show", unit, f"--property={name}", "--value"]).stdout.strip()

    def journal(self, unit: str) -> str:
        """Return what a unit, and systemd about it, said so far."""
        return self.run(["journalctl", "--no-pager", "--output=cat", f"--unit={unit}"]).stdout

    def main_pid(self, unit: str) -> int:
        """Return the pid, on the host, of a unit's main process."""
        return self._host_pid(int(self.show(unit, "MainPID")))

    def _host_pid(self, pid: int) -> int:
        for entry in Path("/proc").iterdir():
            with suppress(OSError, ValueError):
                if not entry.name.isdigit() or not os.path.samefile(entry / "ns/pid", f"/proc/{self.pid}/ns/pid"):
                    continue
                (line,) = (one for one in (entry / "status").read_text().splitlines() if one.startswith("NSpid:"))
                if int(line.split()[-1]) == pid:
                    return int(entry.name)
        raise AssertionError(f"no process {pid} in the booted system")

    def wait(self, what: str, get: Callable[[], T], wanted: Callable[[T], bool] = bool, unit: str = "") -> T:
        """Return what `get` returns once it is `wanted`; `unit`: whose state and journal tell why it never was."""
        deadline = time.monotonic() + WAIT_S
        while not wanted(found := get()):
            if time.monotonic() > deadline:
                told = self.run(f"systemctl status {unit}", check=False).stdout + self.journal(unit) if unit else ""
                raise AssertionError(f"expected {what} within {WAIT_S:.0f} s, got {found!r}\n{told[-6000:]}")
            time.sleep(0.1)
        return found

    def wait_restarted(self, unit: str) -> None:
        """Wait until systemd has started a unit anew by itself, and it is active."""
        self.wait(f"{unit} started anew", lambda: int(self.show(unit, "NRestarts")), unit=unit)
        self.wait_active(unit)

    def wait_active(self, unit: str) -> None:
        """Wait until a unit is active."""
        self.wait(f"{unit} active", lambda: self.show(unit, "ActiveState"), lambda state: state == "active", unit)


_NAMESPACES = ("--mount", "--pid", "--uts", "--ipc", "--net", "--cgroup", "--root", "--wd")


def _child(pid: int) -> int:
    """Return the first child of a process that is in a pid namespace of its own, or 0."""
    with suppress(OSError):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            if not os.path.samefile(f"/proc/{child}/ns/pid", "/proc/self/ns/pid"):
                return int(child)
    return 0


def _remove(folder: Path) -> None:
    """Remove a control group once the kernel has buried its processes."""
    deadline = time.monotonic() + 30
    while True:
        try:
            folder.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return
