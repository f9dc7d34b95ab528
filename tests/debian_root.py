"""A Debian 13 root directory, for the tests that install packages or start a systemd in it.

mmdebstrap makes it once a machine, from this machine's own package sources, and it is kept in the user's cache
directory under a name that says what is in it. No test writes to that one: each has an overlay on it, which takes no
time and shows afterwards what was changed. Whoever needs another package in it adds its name to `PACKAGES`: one root
for all, since making a second would cost CI another minute.

A command in a root has no network but a loopback of its own, sees no process of this machine, and everything that it
started ends with it. It has no systemd either: `dpkg` then starts no service. Needs root, mmdebstrap and unshare.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.servers import ServerMissingError, missing, program

SUITE = "trixie"
PACKAGES = ("dbus", "iproute2", "passwd", "python3", "systemd", "systemd-sysv")
"""What is in the root beside Debian's essential packages and apt."""

_FASTER = (
    "--dpkgopt=force-unsafe-io",  # no fsync for a root that can be made again
    '--aptopt=Acquire::Languages "none"',
    '--aptopt=Acquire::Check-Valid-Until "false"',  # mirrors that stand still are usual in CI
)
_MEMORY_BYTES = 6 << 30
_UNUSED_S = 7 * 86_400
_MAKE_S = 600  # 52 s on two busy cores
MOUNT = (
    'mount -t overlay overlay -o "lowerdir=$folder/lower,upperdir=$folder/upper,workdir=$folder/work" "$folder/root"'
)
"""Puts a root together, by a shell in a namespace of mounts of its own; `$folder` is `DebianRoot.folder`."""
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
# In new namespaces of mounts, processes and names: nobody else sees what is mounted here, and it ends with the command.
_ENTER = f"""
set -eu
folder=$1; shift
root=$folder/root
mount --make-rprivate /
{MOUNT}
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for device in {" ".join(_DEVICES)}; do
    touch "$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir "$root/dev/shm"
mount -t tmpfs tmpfs "$root/dev/shm"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
ip link set lo up
exec chroot "$root" "$@"
"""


@dataclass(frozen=True, slots=True)
class DebianRoot:
    """A Debian 13: what one test writes, in a folder of its own, over the root that is kept.

    `folder` holds `lower`, a link to the kept root; `upper`, what was written; and `root`, where `MOUNT` puts the two
    together, in a namespace of mounts that ends with the command: on this machine itself it is always empty.
    """

    folder: Path

    @property
    def upper(self) -> Path:
        """What was written. Put files here only while no command runs in the root."""
        return self.folder / "upper"

    def run(
        self,
        *command: str,
        user: str | None = None,
        environment: Mapping[str, str] | None = None,
        check: bool = True,
        timeout_s: float = 120,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the root, without network, as root or as `user` of the root; returns its output.

        What it writes to `/run` and `/dev` is gone afterwards.

        Raises:
            AssertionError: it failed, and `check` is set; the message has its output.
        """
        as_user = ["runuser", "--user", user, "--"] if user else []
        done = subprocess.run(
            ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--ipc", "--uts", "--net"]
            + ["sh", "-c", _ENTER, "sh", str(self.folder), *as_user, *command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout_s,
            env={
                "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
                "LC_ALL": "C.UTF-8",
                "DEBIAN_FRONTEND": "noninteractive",
                "HOME": "/",
                **(environment or {}),
            },
        )
        if check and done.returncode != 0:
            said = (done.stdout + done.stderr)[-4000:]
            raise AssertionError(f"{' '.join(command)}: exit code {done.returncode}, it said\n{said}")
        return done

    def put(self, source: Path, target: str) -> None:
        """Copy a file into the root, readable by all of its users."""
        there = self.upper / target.lstrip("/")
        there.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, there)
        there.chmod(0o644)

    def changes(self) -> dict[str, str]:
        """Return the paths that differ from a fresh Debian: added, changed or removed.

        An added folder stands for the files in it.
        """
        return dict(self._changes(self.upper))

    def _changes(self, folder: Path) -> Iterator[tuple[str, str]]:
        for path in sorted(folder.iterdir()):
            inside = path.relative_to(self.upper)
            fresh = self.folder / "lower" / inside
            state = path.lstat()
            if stat.S_ISCHR(state.st_mode):  # a whiteout: overlayfs' sign for a path of the lower that was removed
                if fresh.is_symlink() or fresh.exists():
                    yield f"/{inside}", "removed"
            elif not (fresh.is_symlink() or fresh.exists()):
                yield f"/{inside}", "added"
            elif path.is_dir() and not path.is_symlink():
                yield from self._changes(path)
            elif not _same(path, fresh):
                yield f"/{inside}", "changed"


def _same(one: Path, other: Path) -> bool:
    a, b = one.lstat(), other.lstat()
    if (a.st_mode, a.st_uid, a.st_gid) != (b.st_mode, b.st_uid, b.st_gid):
        return False
    if one.is_symlink():
        return one.readlink() == other.readlink()
    return one.read_bytes() == other.read_bytes()


def _sources() -> list[str]:
    """Return this machine's files of package sources that have the suite; none where it is no Debian 13."""
    candidates = [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*"))]
    files = [p for p in candidates if p.suffix in (".list", ".sources") and p.is_file()]
    return [str(p) for p in files if re.search(rf"\b{SUITE}\b", p.read_text())]


def _cache() -> Path:
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "ispagents-tests"


def _make(folder: Path) -> None:
    """Make the root in a new folder, or raise `AssertionError` with the end of what mmdebstrap said."""
    made = subprocess.run(
        ["mmdebstrap", "--variant=apt", "--mode=root", "--format=directory", *_FASTER]
        + [f"--include={','.join(PACKAGES)}", SUITE, str(folder), *_sources()],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=_MAKE_S,
    )
    if made.returncode != 0:
        raise AssertionError(f"mmdebstrap could not make a Debian 13:\n{made.stdout[-3000:]}")


def _remove_unused(cache: Path) -> None:
    """Remove the roots that no test used for a week; another branch may have one with other packages in use."""
    for old in cache.glob("debian-13-*"):
        if old.stat().st_mtime < time.time() - _UNUSED_S:
            shutil.rmtree(old)


def kept_root() -> Path:
    """Return the root that is kept on this machine; it is made where there is none yet, by one process at a time.

    Raises:
        ServerMissingError: we are not root, or mmdebstrap or unshare is not installed.
    """
    if os.geteuid() != 0:
        raise ServerMissingError("a Debian root needs root: to make it, to mount in it and to install packages in it")
    for name, package in (("mmdebstrap", "mmdebstrap"), ("unshare", "util-linux"), ("ip", "iproute2")):
        program(name, package)
    sources = [Path(p).read_text() for p in _sources()]
    inside = hashlib.sha256("\0".join([SUITE, *PACKAGES, *_FASTER, *sources]).encode()).hexdigest()[:16]
    cache = _cache()
    cache.mkdir(parents=True, exist_ok=True)
    kept = cache / f"debian-13-{inside}"
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.exists():
            _remove_unused(cache)
            making = cache / "making"
            shutil.rmtree(making, ignore_errors=True)
            _make(making)
            making.rename(kept)
        os.utime(kept)
    return kept


def memory_folder() -> str | None:
    """Return a folder in memory, where there is one with room; None: the usual temporary folder.

    What is removed minutes later need not wait for a disk that others keep busy: a build took 25 s in place of 190 s.
    """
    shared = Path("/dev/shm")  # it is no name that others could guess: files in it have random ones
    if shared.is_mount() and os.access(shared, os.W_OK) and shutil.disk_usage(shared).free > _MEMORY_BYTES:
        return str(shared)
    return None


@contextmanager
def fresh_root() -> Iterator[DebianRoot]:
    """Give a root of its own to one test or module; it is removed at the end.

    Raises:
        ServerMissingError: see `kept_root`.
    """
    kept = kept_root()
    with tempfile.TemporaryDirectory(prefix="ispagents-debian-", dir=memory_folder()) as name:
        folder = Path(name)
        (folder / "lower").symlink_to(kept)
        for part in ("upper", "work", "root"):
            (folder / part).mkdir()
        for part in ("", "upper"):  # others than root go through them
            (folder / part).chmod(0o755)
        yield DebianRoot(folder)


@contextmanager
def skipped_without_root() -> Iterator[None]:
    """Skip the test, or fail it where CI=true, when no root can be had here."""
    try:
        yield
    except ServerMissingError as err:
        missing(str(err))


@pytest.fixture
def debian_root() -> Iterator[DebianRoot]:
    """A fresh Debian 13 for one test."""
    with skipped_without_root(), fresh_root() as root:
        yield root


def in_root(root: DebianRoot, script: str) -> str:
    """Return what a shell script says that runs in the root; it ends at its first failing command."""
    return root.run("sh", "-eu", "-c", script).stdout
