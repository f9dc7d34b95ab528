"""Debian with both packages installed and both programs configured, made once; and systems that boot it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.debian_packages import PROGRAMS, Packages
from tests.debian_root import DebianRoot, fresh_root, skipped_without_root
from tests.servers import missing
from tests.systemd.booted import Booted, why_not
from tests.systemd.site import CONFIGURE, INSIDE, OUTSIDE


@pytest.fixture(scope="session")
def debs(packages: Packages) -> dict[str, Path]:
    """The package of each program, both built at once."""
    with ThreadPoolExecutor(len(PROGRAMS)) as builders:
        return dict(zip(PROGRAMS, builders.map(packages.get, PROGRAMS), strict=True))


@pytest.fixture(scope="session")
def bootable() -> None:
    """Skip the test, or fail it where CI=true, when no systemd can be booted here."""
    if problem := why_not():
        missing(f"no systemd can be booted here: {problem}")


@pytest.fixture(scope="session")
def installed(bootable: None, debs: dict[str, Path]) -> Iterator[DebianRoot]:
    """A root where an administrator has installed both packages under a running systemd, and configured both programs.

    Neither was started since; the next boot starts both.
    """
    with skipped_without_root(), fresh_root() as root:
        with Booted(root.folder / "lower", kept=root.folder) as system:
            install(system, *debs.values())
            system.run(["sh", "-eu", "-c", CONFIGURE])
        shutil.rmtree(root.upper / "var/log/journal", ignore_errors=True)  # each system has a journal of its own
        yield root


def install(system: Booted, *packages: Path) -> None:
    """Install packages by dpkg, all with one command, over whatever version is there; nothing is asked."""
    there = [f"/srv/{package.name}" for package in packages]
    for package, path in zip(packages, there, strict=True):
        system.put(package, path)
    system.run(["dpkg", "--force-downgrade", "--install", *there])
    system.run(["rm", *there])


def boot(installed: DebianRoot) -> Booted:
    system = Booted(installed.upper, installed.folder / "lower")
    for address in (OUTSIDE, INSIDE):
        system.run(f"ip address add {address}/32 dev lo")
    return system


@pytest.fixture
def system(installed: DebianRoot) -> Iterator[Booted]:
    """A booted system of a test's own; both programs run since its boot."""
    with boot(installed) as booted:
        yield booted


@pytest.fixture(scope="module")
def serving(installed: DebianRoot) -> Iterator[Booted]:
    """A booted system that the tests of a module share; both programs run, and are left running."""
    with boot(installed) as booted:
        yield booted
