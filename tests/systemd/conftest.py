"""Debian with both packages and both programs configured, made once; and systems that boot it."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.debian_root import DebianRoot, fresh_root, in_root, kept_root, skipped_without_root
from tests.repo import tree
from tests.servers import missing
from tests.systemd.booted import Booted, why_not
from tests.systemd.site import CONFIGURE, INSIDE, OUTSIDE

CODE = "usr/lib/ispagents"
PROGRAMS = {"ispagent": "agent.cli", "ispcloud": "control_plane.cli"}


def install(root: DebianRoot) -> None:
    """Put both programs, what they import, and the units into the root, as docs/operations.md does without a package.

    Raises:
        AssertionError: pip could not get what they import.
    """
    code = root.upper / CODE
    code.mkdir(parents=True)
    subprocess.run(["cp", "-a", f"{_libraries()}/.", str(code)], check=True)
    project = tomllib.loads((tree.ROOT / "pyproject.toml").read_text())
    for name in set(project["tool"]["importlinter"]["root_packages"]) - {"lab"}:
        shutil.copytree(tree.ROOT / name, code / name, ignore=shutil.ignore_patterns("__pycache__"))
    about = code / "ispagents-0.1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: ispagents\nVersion: 0.1.0\n")
    for program, module in PROGRAMS.items():
        path = root.upper / "usr/bin" / program
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/usr/bin/python3 -IS\n{_LAUNCHER.format(code=f'/{CODE}', module=module)}")
        path.chmod(0o755)
        for kind in ("sysusers", "tmpfiles"):
            root.put(tree.ROOT / "systemd" / f"{program}.{kind}", f"/usr/lib/{kind}.d/{program}.conf")
    units = tree.ROOT / "systemd"
    for unit in (*units.glob("*.service"), *units.glob("*.socket"), *units.glob("*.d/*.conf")):
        root.put(unit, f"/usr/lib/systemd/system/{unit.relative_to(units)}")
    in_root(root, f"python3 -m compileall -q -j 2 --invalidation-mode unchecked-hash /{CODE}")


_LAUNCHER = """\
import sys

sys.path.append("{code}")
from {module} import main

sys.exit(main())
"""


def _libraries() -> Path:
    """Return a folder with the libraries of both programs, for Python 3.13; pip fills it once a machine and lock."""
    locks = [tree.ROOT / "requirements" / f"{name}.txt" for name in ("agent", "control-plane")]
    inside = hashlib.sha256(b"".join(lock.read_bytes() for lock in locks)).hexdigest()[:16]
    kept = kept_root().with_name(f"python-3.13-{inside}")
    with kept.with_name("python-3.13.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.exists():
            making = kept.with_name("python-3.13.making")
            shutil.rmtree(making, ignore_errors=True)
            for number, wanted in enumerate(locks):  # both pin some libraries, and pip overwrites none
                done = subprocess.run(
                    [sys.executable, "-m", "pip", "install", "--quiet", "--no-compile", "--require-hashes"]
                    + ["--python-version=3.13", "--implementation=cp", "--only-binary=:all:"]
                    + [f"--target={making / str(number)}", "-r", str(wanted)],
                    capture_output=True,
                    text=True,
                    check=False,
                )
                if done.returncode != 0:
                    raise AssertionError(f"pip could not install {wanted.name}:\n{done.stderr[-3000:]}")
            shutil.copytree(making / "1", making / "0", dirs_exist_ok=True)
            (making / "0").rename(kept)
            shutil.rmtree(making)
    return kept


@pytest.fixture(scope="session")
def installed() -> Iterator[DebianRoot]:
    """A root where an administrator has installed and configured both programs, and started none."""
    if problem := why_not():
        missing(f"no systemd can be booted here: {problem}")
    with skipped_without_root(), fresh_root() as root:
        install(root)
        in_root(root, CONFIGURE)
        yield root


def boot(installed: DebianRoot) -> Booted:
    system = Booted(installed.upper, installed.folder / "lower")
    for address in (OUTSIDE, INSIDE):
        system.run(f"ip address add {address}/32 dev lo")
    return system


@pytest.fixture
def system(installed: DebianRoot) -> Iterator[Booted]:
    """A booted system of a test's own; neither program runs."""
    with boot(installed) as booted:
        yield booted


@pytest.fixture(scope="module")
def serving(installed: DebianRoot) -> Iterator[Booted]:
    """A booted system that the tests of a module share; both programs run, and are left running."""
    with boot(installed) as booted:
        booted.run("systemctl start ispagent.service ispcloud.service")
        yield booted
