"""Debian's own judge of packages: piuparts installs, removes, upgrades and purges each, and compares what is left.

It works on a copy of the root that the tests share, in place of one that it would make itself. The version from before
comes from an archive beside it, as an operator's own.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.debian_packages import PROGRAMS, Packages, repacked
from tests.debian_root import kept_root, memory_folder, skipped_without_root
from tests.servers import ServerMissingError, missing, program

pytestmark = pytest.mark.slow

NEWER = "0.1.1-0ispagents1"
_RUN_S = 280  # 150 s at a load of 12
# What it mounts in its copy ends with it
_APART = 'mount --make-rprivate /; exec "$@"'


@pytest.mark.parametrize(
    ("without", "passed"),
    [
        ("--no-upgrade-test", "PASS: Installation and purging test."),
        ("--no-install-purge-test", "PASS: Installation, upgrade and purging tests."),
    ],
)
@pytest.mark.parametrize("name", PROGRAMS)
def test_it_is_installed_upgraded_and_purged_clean(
    name: str, without: str, passed: str, packages: Packages, tmp_path: Path
) -> None:
    try:
        piuparts, scan = program("piuparts", "piuparts"), program("dpkg-scanpackages", "dpkg-dev")
    except ServerMissingError as err:
        missing(str(err))
    with skipped_without_root(), tempfile.TemporaryDirectory(prefix="piuparts-", dir=memory_folder()) as work:
        root, archive = kept_root(), Path(work, "archive")
        archive.mkdir()
        old = packages.get(name)
        (archive / old.name).write_bytes(old.read_bytes())
        listed = subprocess.run([scan, "."], cwd=archive, capture_output=True, text=True, check=True).stdout
        (archive / "Packages").write_text(listed)
        new = repacked(old, tmp_path / "new", {"Version": NEWER})
        done = subprocess.run(
            ["unshare", "--mount", "sh", "-c", _APART, "sh", piuparts, f"--existing-chroot={root}", "-d", "trixie"]
            + ["--no-eatmydata", "--pedantic-purge-test", "--scriptsdir=/etc/piuparts/scripts"]
            + [f"--bindmount={archive}", f"--extra-repo=deb [trusted=yes] file:{archive} ./", f"--tmpdir={work}"]
            + [without, str(new)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_RUN_S,
            check=False,
        )
    told = [line for line in done.stdout.splitlines() if "DEBUG:" not in line]
    assert done.returncode == 0, "\n".join(told)[-6000:]
    assert passed in done.stdout
