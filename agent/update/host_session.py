"""This machine, as dpkg and os-release describe it; packages' own words; and the hand-over to the installing script."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NoReturn

from agent.update.errors import ChannelRefusedError, HostError
from agent.update.offers import Package

PRODUCT: Final = "ispagent"
OS_RELEASE: Final = Path("/etc/os-release")
APPLY: Final = Path("/usr/lib/ispagents/apply-update")
UNDER_WAY: Final = Path("/var/lib/ispagent-update-applied/under-way")
"""The place of the script's notes, for any folders of the channel."""
DPKG_S: Final = 60.0
"""How long dpkg may take to say something. Chosen arbitrarily."""


def installed() -> Package:
    """Return the package that is installed here.

    Raises:
        HostError: the program was not installed from a package, or this is no Debian.
    """
    words = _os_release()
    if words.get("ID") != "debian" or not words.get("VERSION_ID"):
        raise HostError(f"{OS_RELEASE}: expected a release of Debian, got {words.get('PRETTY_NAME') or 'none'!r}")
    status = _dpkg("dpkg-query", "--show", "--showformat=${db:Status-Status} ${Version} ${Architecture}", PRODUCT)
    state, version, arch = (status or "not-installed - -").split(" ")
    if state not in ("installed", "not-installed", "config-files"):
        raise HostError(
            f"{PRODUCT} is {state}: dpkg was interrupted, or failed: run `dpkg --configure -a`, then try again"
        )
    if state != "installed":
        raise HostError(
            f"{PRODUCT} was not installed from a package here (dpkg says {state}): updates are for packages; update a"
            " checkout with git"
        )
    return Package(PRODUCT, version, words["VERSION_ID"], arch)


def newer(a: str, b: str) -> bool:
    """Return whether version `a` is newer than `b`, as dpkg orders versions."""
    return _run("dpkg", "--compare-versions", a, "gt", b).returncode == 0


def check_package(path: Path, expected: Package) -> None:
    """Compare a package's own fields with its signed ones.

    Raises:
        ChannelRefusedError: it is no package, or another one.
    """
    said = _dpkg("dpkg-deb", "--field", str(path), "Package", "Version", "Architecture")
    if said is None:
        raise ChannelRefusedError(f"{expected.target}: the file is signed, and is no package that dpkg can read")
    fields = dict(line.partition(": ")[::2] for line in said.splitlines())
    found = tuple(fields.get(name, "") for name in ("Package", "Version", "Architecture"))
    wanted = (expected.product, expected.version, expected.arch)
    if found != wanted:
        raise ChannelRefusedError(f"{expected.target}: expected the package {' '.join(wanted)}, got {' '.join(found)}")


def refuse_if_cut(script: Path = APPLY) -> None:
    """Refuse to go on after an update that was cut: the packages that undo it must stay, and come first.

    Raises:
        HostError: as above.
    """
    if UNDER_WAY.exists():
        raise HostError(f"{UNDER_WAY}: an update was cut on this machine: first, as root: {script} --recover")


def apply(new: Path, old: Path | None, script: Path = APPLY) -> NoReturn:
    """Become the script that installs `new`, and puts `old` back if it does not start. It does not return.

    The script takes this process's place: the files of this program are replaced while it runs.

    Raises:
        HostError: the script is missing.
    """
    if not script.exists():
        raise HostError(f"{script}: missing; it belongs to the package: reinstall it")
    shell = shutil.which("sh") or "/bin/sh"
    os.execv(shell, [shell, str(script), str(new), *([str(old)] if old else [])])  # noqa: S606  # our own script


def _os_release() -> Mapping[str, str]:
    try:
        lines = OS_RELEASE.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as err:
        raise HostError(f"{OS_RELEASE}: cannot be read: {err.strerror}") from err
    pairs = (line.partition("=") for line in lines if "=" in line and not line.startswith("#"))
    return {name: value.strip("\"'") for name, _, value in pairs}


def _dpkg(*command: str) -> str | None:
    """Return the output of a command of dpkg, None where it says that it does not know."""
    done = _run(*command)
    return done.stdout.strip() if done.returncode == 0 else None


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which(command[0])
    if program is None:
        raise HostError(f"{command[0]} is missing: updates are installed by dpkg, on Debian")
    try:
        return subprocess.run(
            [program, *command[1:]], capture_output=True, text=True, timeout=DPKG_S, check=False, env={"LC_ALL": "C"}
        )
    except (OSError, subprocess.TimeoutExpired) as err:
        raise HostError(f"{command[0]}: {err}") from err
