"""The Debian packages of this checkout, built once a test session for all who install them.

What lies here is built, uncommitted files too: the builds are made from a snapshot, whose objects stand beside it. The
repository is only read.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.debian_root import memory_folder
from tests.servers import ServerMissingError, missing, program

ROOT = Path(__file__).resolve().parents[1]
PROGRAMS = ("ispagent", "ispcloud")
_BUILD_S = 900  # 25 s of CPU
_NOBODY = {f"GIT_{who}_{what}": "test" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}


def git(*words: str, folder: Path = ROOT, environment: Mapping[str, str] | None = None) -> str:
    """Return what git says; a command that fails raises."""
    return subprocess.run(
        ["git", "-c", "safe.directory=*", "-C", str(folder), *words],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, **(environment or {})},
    ).stdout.strip()


def snapshot(folder: Path, like: Path | None = None) -> Path:
    """Return a clean checkout in a new folder: of HEAD with what was changed here since, or of another snapshot.

    Args:
        folder: the new folder. Objects that git makes for it stand beside it.
        like: a snapshot; the new one has its commit.
    """
    folder.mkdir(parents=True)
    git("init", "--quiet", folder=folder)
    alternates = folder / ".git/objects/info/alternates"
    if like is not None:
        commit = git("rev-parse", "HEAD", folder=like)
        alternates.write_text((like / ".git/objects/info/alternates").read_text())
    else:
        objects, own = Path(ROOT, git("rev-parse", "--git-common-dir"), "objects").resolve(), Path(f"{folder}.objects")
        own.mkdir()
        commit = _commit(Path(f"{folder}.index"), objects, own)
        alternates.write_text(f"{objects}\n{own}\n")
    git("checkout", "--quiet", "--detach", commit, folder=folder)
    return folder


def _commit(index: Path, objects: Path, own: Path) -> str:
    """Return HEAD, or a commit of what lies here, whose objects are written to `own` and not to the repository."""
    if not git("--no-optional-locks", "status", "--porcelain"):
        return git("rev-parse", "HEAD")
    apart = {
        "GIT_INDEX_FILE": str(index),
        "GIT_OBJECT_DIRECTORY": str(own),
        "GIT_ALTERNATE_OBJECT_DIRECTORIES": str(objects),
    }
    git("read-tree", "HEAD", environment=apart)
    git("add", "--all", environment=apart)
    date = git("log", "-1", "--format=%cI")
    dates = {"GIT_AUTHOR_DATE": date, "GIT_COMMITTER_DATE": date}
    tree = git("write-tree", environment=apart)
    return git("commit-tree", tree, "-p", "HEAD", "-m", "tests: snapshot", environment=_NOBODY | dates | apart)


def build(checkout: Path, name: str, out: Path, environment: Mapping[str, str] | None = None, *before: str) -> Path:
    """Return the package that a checkout's `packaging/build` makes of a program.

    Args:
        checkout: a clean checkout.
        name: the program.
        out: the folder for the package.
        environment: what is added to this process' environment.
        before: a command that runs the build, such as faketime.

    Raises:
        AssertionError: it failed; the message has what it said.
        ServerMissingError: no Python 3.13 or pip of Debian's is here.
    """
    python = program("/usr/bin/python3", "python3")
    pip = subprocess.run([python, "-c", "import sys, pip; sys.exit(sys.version_info[:2] != (3, 13))"], check=False)
    if pip.returncode != 0:
        raise ServerMissingError("packages are built with Debian 13's /usr/bin/python3 and python3-pip")
    memory = {"TMPDIR": folder} if (folder := memory_folder()) else {}
    done = subprocess.run(
        [*before, str(checkout / "packaging/build"), name, "--out", str(out)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=_BUILD_S,
        env={**os.environ, **memory, **(environment or {})},
    )
    if done.returncode != 0:
        raise AssertionError(f"packaging/build {name}: exit code {done.returncode}, it said\n{done.stderr[-4000:]}")
    return Path(done.stdout.splitlines()[-1])


def repacked(package: Path, folder: Path, control: Mapping[str, str], files: Mapping[str, str] | None = None) -> Path:
    """Return a copy of a package, in a new folder, with other fields in its control file, and so another name.

    `files`: what it holds in the place of the package's own files, by their paths.
    """
    folder.mkdir()
    with tempfile.TemporaryDirectory(dir=memory_folder()) as name:
        inside = Path(name, "inside")
        subprocess.run(["dpkg-deb", "--raw-extract", str(package), str(inside)], check=True)
        lines = (inside / "DEBIAN/control").read_text().splitlines()
        changed = [f"{key}: {control[key]}" if (key := line.partition(":")[0]) in control else line for line in lines]
        (inside / "DEBIAN/control").write_text("\n".join(changed) + "\n")
        for path, text in (files or {}).items():
            (inside / path.lstrip("/")).write_text(text)
        subprocess.run(
            ["dpkg-deb", "--root-owner-group", "-Zgzip", "-z1", "--build", str(inside), str(folder)],
            check=True,
            capture_output=True,
        )
    return next(folder.glob("*.deb"))


@dataclass(frozen=True, slots=True)
class Packages:
    """The packages of this session, each built when it is first asked for, whichever worker asks."""

    folder: Path

    def get(self, name: str) -> Path:
        """Return the package of a program; skips the test, or fails it where CI=true, when none can be built here."""
        with (self.folder / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if built := sorted(self.folder.glob(f"{name}_*.deb")):
                return built[0]
            checkout = snapshot(self.folder / f"{name}-checkout")
            try:
                return build(checkout, name, self.folder)
            except ServerMissingError as err:
                shutil.rmtree(checkout)
                missing(str(err))
                raise


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Packages:
    """The packages of this checkout, shared by all workers of the session."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "debian-packages"
    folder.mkdir(exist_ok=True)
    return Packages(folder)


OWN = {
    "ispagent": {"agent", "durable", "protos", "trust"},
    "ispcloud": {"control_plane", "durable", "protos", "trust"},
}


IMPORT_ALL = """
import importlib, pkgutil, sys
code = "/usr/lib/ispagents/" + sys.argv[1]
sys.path.append(code)
count = 0
for top in sys.argv[2:]:
    package = importlib.import_module(top)
    for found in pkgutil.walk_packages(package.__path__, top + "."):
        if not found.name.endswith("__main__") and not found.name.startswith("agent.update.release"):
            importlib.import_module(found.name)
            count += 1
elsewhere = {m.__file__ for m in list(sys.modules.values()) if getattr(m, "__file__", None)
    and not m.__file__.startswith((code, "/usr/lib/python3.13/"))}
assert not elsewhere, elsewhere
print(count)
"""
