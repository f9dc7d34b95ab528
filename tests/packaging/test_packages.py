"""The packages: what is in them, the same bytes from the same commit, and a life on a bare Debian 13.

piuparts (`test_piuparts.py`) knows neither state nor configuration. Here they are kept by a downgrade, a removal and a
purge, nothing of Debian's own changes, and a second life is like the first.
"""

from __future__ import annotations

import os
import re
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent.update import release
from tests import debian_packages as rig
from tests.builders.expect import present
from tests.debian_packages import IMPORT_ALL, OWN, PROGRAMS, ROOT, Packages
from tests.debian_root import DebianRoot, in_root, memory_folder
from tests.servers import ServerMissingError, missing, program

pytestmark = pytest.mark.slow

STATE = {
    "ispagent": ["/var/lib/ispagent", "/var/lib/ispagent-mark"],
    "ispcloud": ["/var/lib/ispcloud", "/var/lib/ispcloud-witness"],
}
# Debian keeps a system's users when a package is purged, since files may still be theirs
USERS = {f"/etc/{name}{old}" for name in ("passwd", "group", "shadow", "gshadow") for old in ("", "-")}
DPKG_OWN = {"/var/lib/dpkg/status", "/var/lib/dpkg/status-old", "/var/log/dpkg.log", "/var/lib/dpkg/lock"}


@contextmanager
def _files(package: Path) -> Iterator[tuple[tarfile.TarFile, dict[str, tarfile.TarInfo]]]:
    """Open a package's files: the archive, and its members by absolute path."""
    with tempfile.TemporaryFile() as plain:
        subprocess.run(["dpkg-deb", "--fsys-tarfile", str(package)], stdout=plain, check=True)
        plain.seek(0)
        with tarfile.open(fileobj=plain) as tar:
            yield tar, {member.name.removeprefix("."): member for member in tar.getmembers()}


def _read(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    held = present(tar.extractfile(member))
    return held.read()


@pytest.fixture(params=PROGRAMS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


# --- the same bytes --------------------------------------------------------------------------------------------------


def test_the_same_commit_gives_the_same_bytes(packages: Packages, tmp_path: Path) -> None:
    """Another folder, another time and time zone, another umask, another home: the same package."""
    first = packages.get("ispagent")
    try:
        faketime = program("faketime", "faketime")
    except ServerMissingError as err:
        missing(str(err))
    checkout = rig.snapshot(tmp_path / "elsewhere" / "a longer name", packages.folder / "ispagent-checkout")
    with tempfile.TemporaryDirectory(prefix="another-name-", dir=memory_folder()) as work:
        second = rig.build(
            checkout,
            "ispagent",
            tmp_path / "out",
            {"TMPDIR": work, "TZ": "Pacific/Kiritimati", "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "7"},
            *("sh", "-c", 'umask 077; exec "$@"', "sh", faketime, "-f", "+2d"),
        )
        assert list(Path(work).iterdir()) == [], "the build leaves nothing behind"
    assert first.name == second.name
    assert first.read_bytes() == second.read_bytes()


# --- what is in it ---------------------------------------------------------------------------------------------------


def test_it_holds_the_program_and_nothing_else_of_ours(name: str, packages: Packages) -> None:
    code = f"/usr/lib/ispagents/{name}"
    with _files(packages.get(name)) as (tar, files):
        paths = set(files)
        top = {path.split("/")[5] for path in paths if path.startswith(f"{code}/")}
        assert {"agent", "control_plane", "durable", "lab", "protos", "tests", "trust"} & top == OWN[name]
        assert not {"pip", "bin", "docs", "example", "tzdata", "setuptools"} & top
        assert not [p for p in paths if re.search(r"/(tests|direct_url\.json|INSTALLER|REQUESTED|\.gitignore)$", p)]

        # All that git has of the import packages, read-only data included, byte for byte
        tracked = rig.git("ls-files", "--cached", "--others", "--exclude-standard", "-z", *sorted(OWN[name]))
        wanted = [p for p in tracked.split("\0") if p and not p.endswith((".md", ".proto", ".pyi"))]
        assert {Path(p).suffix for p in wanted} >= (
            {".py", ".toml", ".json", ".ispagents"} if name == "ispagent" else {".py"}
        )
        for path in wanted:
            assert _read(tar, files[f"{code}/{path}"]) == (ROOT / path).read_bytes(), path

        # Everybody may read everything, only root may write
        wrong = [
            (path, oct(file.mode), file.uname)
            for path, file in files.items()
            if (file.uname, file.gname) != ("root", "root")
            or file.mode
            != (0o755 if file.isdir() or path.startswith("/usr/bin/") or path.endswith("apply-update") else 0o644)
        ]
        assert wrong == []
        assert {int(file.mtime) for file in files.values()} == {int(rig.git("log", "-1", "--format=%ct"))}

        # Bytecode that Python takes without a look at the source (flags 1), and no folder of the build in it
        modules = [p for p in paths if p.startswith(code) and p.endswith(".py")]
        for path in modules:
            compiled = f"{Path(path).parent}/__pycache__/{Path(path).stem}.cpython-313.pyc"
            data = _read(tar, files[compiled])
            assert data[4:8] == b"\x01\0\0\0", compiled
            assert path.encode() in data, "tracebacks name the file, and not where it was built"

        # Each line of a RECORD names a file that is there
        for path in (p for p in paths if p.endswith(".dist-info/RECORD")):
            held = _read(tar, files[path])
            named = {line.partition(",")[0] for line in held.decode().splitlines()}
            assert {n for n in named if f"{code}/{n}" not in paths} == set(), path


def test_it_says_what_it_is_and_what_it_needs(name: str, packages: Packages) -> None:
    said = subprocess.run(["dpkg-deb", "--field", str(packages.get(name))], capture_output=True, text=True, check=True)
    fields = dict(line.split(": ", 1) for line in said.stdout.splitlines() if not line.startswith(" "))
    assert fields["Package"] == name
    assert fields["Architecture"] != "all", "compiled modules are for one architecture"
    # Bytecode and compiled modules are for one Python: another release of Debian has another, and dpkg refuses
    assert {"python3 (>= 3.13~)", "python3 (<< 3.14~)"} < set(fields["Depends"].split(", "))
    commit = rig.git("log", "-1", "--format=%cd", "--date=format-local:%Y%m%d%H%M%S", environment={"TZ": "UTC"})
    assert re.fullmatch(rf"0\.1\.0~git{commit}\.[0-9a-f]{{12}}-0ispagents1", fields["Version"])
    with _files(packages.get(name)) as (tar, files):
        size = sum(f.size for f in files.values()) // 1024
        assert 0.9 * size < int(fields["Installed-Size"]) < 1.3 * size + 6000
        for path in ("copyright", "changelog.gz", "changelog.Debian.gz", "install.md.gz"):
            assert f"/usr/share/doc/{name}/{path}" in files
        held = _read(tar, files[f"/usr/share/doc/{name}/copyright"])
        copyright_of = held.decode()
        for path in files:  # each library is named with its license
            if re.fullmatch(rf"/usr/lib/ispagents/{name}/[^/]*\.dist-info", path) and "/ispagents-" not in path:
                assert f"Files: {path[1:]}/*\n" in copyright_of
        assert not re.search(r"^License: of-[^\n]*-$", copyright_of, re.MULTILINE)


def test_the_signers_tool_reads_it(name: str, packages: Packages) -> None:
    """A package as it is built, with a revision in its version: what machines compare with what dpkg says of it."""
    built = packages.get(name)
    described, lowest = release.described(built)
    assert f"{described.product}_{described.version}_{described.arch}.deb" == built.name
    assert (described.product, described.release, lowest) == (name, "13", "0.1.0~")


def test_lintian_has_nothing_to_say_but_what_is_overridden(name: str, packages: Packages) -> None:
    try:
        lintian = program("lintian", "lintian")
    except ServerMissingError as err:
        missing(str(err))
    done = subprocess.run(
        [lintian, "--allow-root", "--fail-on", "error,warning", "--tag-display-limit", "5", str(packages.get(name))],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
        env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "TMPDIR": memory_folder() or ""},
    )
    assert (done.returncode, [line for line in done.stdout.splitlines() if not line.startswith("N:")]) == (0, [])


# --- a life on a bare Debian -----------------------------------------------------------------------------------------


def _install(root: DebianRoot, package: Path, *options: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    root.put(package, f"/srv/{package.name}")
    return root.run("dpkg", *options, "--install", f"/srv/{package.name}", check=check, timeout_s=300)


def test_it_runs_for_a_plain_user_and_says_what_is_to_be_done(debian_root: DebianRoot, packages: Packages) -> None:
    """Both packages beside each other, on a Debian that has nothing but Python and systemd."""
    for name in PROGRAMS:
        _install(debian_root, packages.get(name))
    installed = debian_root.changes()
    for name in PROGRAMS:
        assert f"Usage: {name} " in debian_root.run(name, "--help", user="nobody").stdout
        assert debian_root.run(name, "--version", user="nobody").stdout == f"{name} 0.1.0\n"
    # Every module of ours and what it imports is there; nothing comes from another folder
    for name in PROGRAMS:
        done = debian_root.run(
            "/usr/bin/python3", "-IS", "-W", "ignore", "-c", IMPORT_ALL, name, *sorted(OWN[name]), user="nobody"
        )
        assert int(done.stdout) > 60
    # Not configured yet: a command says so, and so does the daemon, with the exit code that ends restarts
    status = debian_root.run("ispagent", "status", user="nobody", check=False)
    assert (status.returncode, status.stdout) == (2, "")
    assert "this agent is not configured yet: /etc/ispagent/agent.toml does not exist" in status.stderr
    assert debian_root.run("ispagent", "run", user="ispagent", check=False).returncode == 2
    debian_root.run("test", "-r", "/usr/share/doc/ispagent/examples/agent.toml", user="nobody")
    # Users, folders and units
    assert in_root(debian_root, "id -un ispagent; id -un ispcloud; getent group ispagent-noc").split()[:2] == list(
        PROGRAMS
    )
    owners = in_root(
        debian_root,
        "cd /var/lib; stat -c '%U %a %n' ispagent ispagent-mark ispagent-update ispagent-update-applied ispcloud"
        " /etc/ispagent",
    )
    assert owners.splitlines() == [
        "ispagent 700 ispagent",
        "ispagent 700 ispagent-mark",
        "ispagent-update 755 ispagent-update",
        "root 755 ispagent-update-applied",
        "ispcloud 700 ispcloud",
        "root 755 /etc/ispagent",
    ]
    units = [
        "ispagent.socket",
        "ispagent.service",
        "ispcloud.service",
        "ispagent-backup.timer",
        "ispagent-update.timer",
    ]
    enabled = debian_root.run("systemctl", "is-enabled", *units, check=False)
    assert enabled.stdout.split() == ["enabled", "enabled", "enabled", "disabled", "disabled"]
    # TAB knows the commands
    for name, noun in (("ispagent", "subscriber"), ("ispcloud", "trust")):
        words = debian_root.run(
            "bash",
            "-c",
            f". /usr/share/bash-completion/completions/{name}; COMP_WORDS=({name} ''); COMP_CWORD=1;"
            f" _{name}_completion {name}; echo ${{COMPREPLY[@]}}",
            user="nobody",
        )
        assert noun in words.stdout.split()
    # Root ran it as well: nobody wrote bytecode or anything else
    for name in PROGRAMS:
        debian_root.run(name, "--version")
    assert debian_root.changes() == installed


def test_upgrade_downgrade_removal_and_purge(
    name: str, debian_root: DebianRoot, packages: Packages, tmp_path: Path
) -> None:
    old = packages.get(name)
    new = rig.repacked(old, tmp_path / "new", {"Version": "0.1.1-0ispagents1"})
    state = STATE[name][0]

    _install(debian_root, old)
    in_root(debian_root, f"echo kept > {state}/state")
    in_root(debian_root, f"mkdir -p /etc/{name}; echo x > /etc/{name}/agent.toml; systemctl disable {name}.service")
    own = {"ispagent": "ispagent-backup.timer", "ispcloud": "ispcloud-witness@hill.service"}[name]
    in_root(debian_root, f"systemctl enable {own}")
    _install(debian_root, new)
    assert debian_root.run("dpkg-query", "--show", "-f=${Version}", name).stdout == "0.1.1-0ispagents1"
    assert debian_root.run(name, "--version", user="nobody").stdout == f"{name} 0.1.0\n"
    disabled = debian_root.run("systemctl", "is-enabled", f"{name}.service", check=False)
    assert disabled.stdout == "disabled\n", "whoever disabled a unit keeps it so through an upgrade"
    assert in_root(debian_root, f"systemctl is-enabled {own}") == "enabled\n", "and whoever enabled one"
    _install(debian_root, old, "--force-downgrade")
    assert in_root(debian_root, f"cat {state}/state /etc/{name}/agent.toml") == "kept\nx\n"

    debian_root.run("dpkg", "--remove", name)
    assert in_root(debian_root, f"cat {state}/state /etc/{name}/agent.toml") == "kept\nx\n"
    assert "/usr/lib/ispagents" not in debian_root.changes()
    said = debian_root.run("dpkg", "--purge", name)
    assert f"{name}: {state} is kept" in said.stdout + said.stderr
    assert set(_left(debian_root)) == {state}, "the state, and nothing else"

    # A second life begins where the first one ended; this time the state goes too, since it is asked for
    _install(debian_root, old)
    assert in_root(debian_root, f"cat {state}/state") == "kept\n"
    debian_root.run("dpkg", "--purge", name, environment={"ISPAGENTS_PURGE_STATE": "yes"})
    assert _left(debian_root) == {}
    assert debian_root.run("dpkg", "--audit").stdout == ""


def _left(root: DebianRoot) -> dict[str, str]:
    """Return what a purge left, but for users, dpkg's own books and the packages that the test put there."""
    return {p: what for p, what in root.changes().items() if p not in USERS | DPKG_OWN and not p.startswith("/srv")}


def test_a_version_that_is_too_old_is_not_replaced(debian_root: DebianRoot, packages: Packages, tmp_path: Path) -> None:
    new = packages.get("ispcloud")
    old = rig.repacked(new, tmp_path / "old", {"Version": "0.0.9-0ispagents1"})
    _install(debian_root, old)
    before = debian_root.changes()
    refused = _install(debian_root, new, check=False)
    assert refused.returncode == 1
    assert "may be installed over 0.1.0~ and newer, and this machine has 0.0.9-0ispagents1.\nNothing" in refused.stderr
    shown = debian_root.run("dpkg-query", "--show", "-f=${db:Status-Status} ${Version}", "ispcloud").stdout
    assert shown == "installed 0.0.9-0ispagents1"
    changed = before.keys() ^ debian_root.changes().keys()
    assert {path for path in changed if path not in DPKG_OWN and not path.startswith("/srv")} == set()


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("Architecture", "arm64", "package architecture (arm64) does not match system"),
        ("Depends", "python3 (>= 3.14~), python3 (<< 3.15~)", "depends on python3 (>= 3.14~)"),
    ],
)
def test_a_package_for_another_machine_or_release_is_refused(
    field: str, value: str, said: str, debian_root: DebianRoot, packages: Packages, tmp_path: Path
) -> None:
    other = rig.repacked(packages.get("ispcloud"), tmp_path / "other", {field: value})
    refused = _install(debian_root, other, check=False)
    assert refused.returncode == 1
    assert said in refused.stderr
    assert (
        "installed"
        not in debian_root.run("dpkg-query", "--show", "-f=${db:Status-Status}", "ispcloud", check=False).stdout.split()
    )
