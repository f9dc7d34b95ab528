"""The image of the control plane: the same bytes, after the specification, and alive under crun without any right."""

from __future__ import annotations

import fcntl
import gzip
import hashlib
import json
import os
import pwd
import re
import select
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from tests import debian_packages as rig
from tests.builders.expect import expect
from tests.debian_packages import IMPORT_ALL, OWN, ROOT, Packages
from tests.debian_root import memory_folder
from tests.servers import ServerMissingError, missing, program

LOCK = "packaging/ispcloud/image-amd64.lock"
MOVED_ON = "commit the lock that packaging/image --lock writes"
"""What the program says where Debian has other versions than the lock."""
STATE = "/var/lib/ispcloud"
WAIT_S = 60.0
_BUILD_S = 600
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_CAPABILITIES = ("bounding", "effective", "inheritable", "permitted", "ambient")


def _run(*command: str | Path, check: bool = True, **more: Any) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [str(word) for word in command],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=_BUILD_S,
        **more,
    )
    if check and done.returncode != 0:
        raise AssertionError(f"{command}: exit code {done.returncode}, it said\n{(done.stdout + done.stderr)[-4000:]}")
    return done


def _need(name: str, package: str) -> str:
    try:
        return program(name, package)
    except ServerMissingError as err:
        missing(str(err))
        raise


def _environment(folder: Path, **more: str) -> dict[str, str]:
    """Return a build's environment, with temporary files in `folder`; mirrors that stand still are usual in CI."""
    configuration = folder / "apt.conf"
    configuration.write_text('Acquire::Check-Valid-Until "false";\n')
    return {**os.environ, "APT_CONFIG": str(configuration), "TMPDIR": str(folder), **more}


# --- what it is told -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words", [("ispcloud",), ("--out",), ("--lock", "--out", "x"), ("--package",), ("--lock-file",)]
)
def test_wrong_words_are_told_how_it_is_used(words: tuple[str, ...]) -> None:
    done = _run(ROOT / "packaging/image", *words, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "usage: packaging/image [--package FILE] [--out DIR]" in done.stderr


def test_the_lock_names_each_package_once_with_its_hash() -> None:
    comment, *lines = (ROOT / LOCK).read_text().splitlines()
    assert comment.startswith("# ")
    names = [re.fullmatch(r"[0-9a-f]{64}  ([a-z0-9.+-]+)_[^_/]+_(?:amd64|all)\.deb", line) for line in lines]
    found = [name[1] for name in names if name]
    assert len(found) == len(lines) == len(set(found))
    assert {"libc6", "python3.13-minimal", "libssl3t64", "tzdata"} < set(found)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (r"(?m)^[0-9a-f]{8}(.*  netbase)", r"00000000\1", "expected packages of the SHA-256 in"),
        (r"netbase_[0-9.]+_", "netbase_0.1_", MOVED_ON),
    ],
)
def test_a_package_of_another_hash_or_version_is_refused(
    old: str, new: str, said: str, layout: Path, tmp_path: Path
) -> None:
    lock = lock_of(layout).read_text()
    assert re.sub(old, new, lock) != lock
    (tmp_path / "lock").write_text(re.sub(old, new, lock))
    words = (ROOT / "packaging/image", "--package", tmp_path / "none", "--out", tmp_path / "out")
    words = (*words, "--lock-file", tmp_path / "lock")
    done = _run(*words, check=False, env=_environment(tmp_path))
    assert (done.returncode, done.stdout) == (1, "")
    assert said in done.stderr
    assert not (tmp_path / "out").exists()


# --- the same bytes --------------------------------------------------------------------------------------------------


@pytest.fixture
def layout(packages: Packages) -> Path:
    """The image layout of this checkout, made once a session.

    It is that of the committed lock, where Debian still has those versions; otherwise that of the versions of today,
    by a lock beside it. The checkout is only read.
    """
    package = packages.get("ispcloud")
    folder = packages.folder / "image"
    with (packages.folder / "image.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "out").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            shutil.copyfile(ROOT / LOCK, folder / "lock")
            with tempfile.TemporaryDirectory(dir=memory_folder()) as work:
                environment = _environment(Path(work))
                image = (ROOT / "packaging/image", "--lock-file", folder / "lock")
                words = ("--package", package, "--out", folder / "making")
                if MOVED_ON in _run(*image, *words, check=False, env=environment).stderr:
                    _run(*image, "--lock", env=environment)
                if not (folder / "making").exists():
                    _run(*image, *words, env=environment)
            (folder / "making").rename(folder / "out")
    return next((folder / "out").iterdir())


def lock_of(layout: Path) -> Path:
    """Return the lock that the image was made by."""
    return layout.parents[1] / "lock"


@pytest.mark.slow
def test_another_lock_takes_the_place_of_the_committed_one(tmp_path: Path) -> None:
    committed = (ROOT / LOCK).read_bytes()
    missing_file = _run(ROOT / "packaging/image", "--lock-file", tmp_path / "lock", check=False)
    assert (missing_file.returncode, f"expected a file {tmp_path}/lock" in missing_file.stderr) == (1, True)
    words = (ROOT / "packaging/image", "--lock", "--lock-file", tmp_path / "lock")
    _run(*words, env=_environment(tmp_path))
    assert (ROOT / LOCK).read_bytes() == committed

    def names(lock: bytes) -> list[str]:
        return re.findall(r"(?m)^[0-9a-f]{64}  ([^_]+)_", lock.decode())

    written = (tmp_path / "lock").read_bytes()
    assert names(written) == names(committed)
    assert written.splitlines()[0] == committed.splitlines()[0]


def _tree(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path.relative_to(folder)): (path.stat().st_mode, path.read_bytes() if path.is_file() else b"")
        for path in folder.rglob("*")
    }


@pytest.mark.slow
def test_the_same_commit_gives_the_same_bytes(layout: Path, packages: Packages) -> None:
    """Another folder, another time and time zone, another umask, another user, who is not root: the same image."""
    faketime = _need("faketime", "faketime")
    with tempfile.TemporaryDirectory(prefix="another-name-", dir=memory_folder()) as name:
        work = Path(name)
        work.chmod(0o755)
        checkout = rig.snapshot(work / "a longer name", packages.folder / "ispcloud-checkout")
        shutil.copyfile(lock_of(layout), work / "lock")
        shutil.copyfile(packages.get("ispcloud"), work / "package.deb")
        # faketime would move the times of files as well, which another clock does not
        environment = _environment(work, TZ="Pacific/Kiritimati", LC_ALL="C.UTF-8", HOME="/", NO_FAKE_STAT="1")
        (work / "tmp").mkdir()
        environment["TMPDIR"] = str(work / "tmp")
        (work / "out").mkdir()
        as_user = []
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            for folder in ("tmp", "out"):
                os.chown(work / folder, nobody.pw_uid, nobody.pw_gid)
            as_user = ["setpriv", f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups", "--"]
        words = (checkout / "packaging/image", "--package", work / "package.deb", "--out", work / "out")
        words = (*words, "--lock-file", work / "lock")
        _run(*as_user, "sh", "-c", 'umask 077; exec "$@"', "sh", faketime, "-f", "+2d", *words, env=environment)
        assert list((work / "tmp").iterdir()) == [], "it leaves nothing behind"
        (second,) = (work / "out").iterdir()
        assert second.name == layout.name
        assert _tree(second) == _tree(layout)


# --- after the specification -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LayoutReader:
    """Reads an image layout as the specification says, and believes nothing that it does not compute."""

    folder: Path

    def document(self, descriptor: dict[str, Any], media_type: str) -> Any:
        """Return what a descriptor points to, JSON."""
        assert descriptor["mediaType"] == media_type
        return json.loads(self.blob(descriptor))

    def blob(self, descriptor: dict[str, Any]) -> bytes:
        """Return what a descriptor points to, of that size and digest."""
        assert _DIGEST.fullmatch(descriptor["digest"])
        data = (self.folder / "blobs" / descriptor["digest"].replace(":", "/")).read_bytes()
        assert len(data) == descriptor["size"]
        assert f"sha256:{hashlib.sha256(data).hexdigest()}" == descriptor["digest"]
        return data

    def index(self) -> dict[str, Any]:
        """Return the index' only manifest's descriptor."""
        assert json.loads((self.folder / "oci-layout").read_bytes()) == {"imageLayoutVersion": "1.0.0"}
        index = json.loads((self.folder / "index.json").read_bytes())
        assert (index["schemaVersion"], index["mediaType"]) == (2, "application/vnd.oci.image.index.v1+json")
        (found,) = index["manifests"]
        assert isinstance(found, dict)
        return found

    def manifest(self) -> dict[str, Any]:
        """Return the manifest."""
        found = self.document(self.index(), "application/vnd.oci.image.manifest.v1+json")
        assert (found["schemaVersion"], found["mediaType"]) == (2, "application/vnd.oci.image.manifest.v1+json")
        assert isinstance(found, dict)
        return found

    def config(self) -> dict[str, Any]:
        """Return the configuration."""
        return expect(dict, self.document(self.manifest()["config"], "application/vnd.oci.image.config.v1+json"))

    @contextmanager
    def layers(self) -> Iterator[list[tarfile.TarFile]]:
        """Open the layers, each of the digest that the configuration has of it before it was compressed."""
        with ExitStack() as undo:
            opened = []
            descriptors, diff_ids = self.manifest()["layers"], self.config()["rootfs"]["diff_ids"]
            for descriptor, diff_id in zip(descriptors, diff_ids, strict=True):
                assert descriptor["mediaType"] == "application/vnd.oci.image.layer.v1.tar+gzip"
                data = gzip.decompress(self.blob(descriptor))
                assert f"sha256:{hashlib.sha256(data).hexdigest()}" == diff_id
                opened.append(undo.enter_context(tarfile.open(fileobj=BytesIO(data))))
            yield opened


@pytest.mark.slow
def test_the_layout_follows_the_specification(layout: Path) -> None:
    image = LayoutReader(layout)
    index, manifest, config = image.index(), image.manifest(), image.config()
    # OCI image specification 1.1: annotations.md has the grammar of a name; a registry's tag is narrower
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", index["annotations"]["org.opencontainers.image.ref.name"])
    assert index["platform"] == {"architecture": config["architecture"], "os": "linux"}
    named = {index["digest"], manifest["config"]["digest"], *(one["digest"] for one in manifest["layers"])}
    assert {f"sha256:{path.name}" for path in (layout / "blobs/sha256").iterdir()} == named
    assert {path.name for path in layout.iterdir()} == {"oci-layout", "index.json", "blobs"}

    assert (config["architecture"], config["os"], config["rootfs"]["type"]) == ("amd64", "linux", "layers")
    seconds = int(rig.git("log", "-1", "--format=%ct"))
    assert config["created"] == _run("date", "-u", f"--date=@{seconds}", "+%FT%TZ").stdout.strip()
    assert len([one for one in config["history"] if not one.get("empty_layer")]) == len(manifest["layers"])
    inside = config["config"]
    known = {"User", "ExposedPorts", "Env", "Entrypoint", "Cmd", "Volumes", "WorkingDir", "Labels", "StopSignal"}
    assert set(inside) == {*known, "Healthcheck"}
    assert re.fullmatch(r"([1-9][0-9]*):\1", inside["User"]), "numbers, so that an engine sees that it is not root"
    assert inside["Volumes"] == {STATE: {}}
    assert all(re.fullmatch(r"[A-Z_]+=.+", variable) for variable in inside["Env"])
    assert inside["Healthcheck"]["Test"] == ["CMD", "/usr/bin/ispcloud", "health"]
    assert inside["Healthcheck"]["Timeout"] > 5 * 10**9, "the command waits for 5 s"
    assert manifest["annotations"]["org.opencontainers.image.revision"].startswith(
        rig.git("rev-parse", "HEAD", folder=layout.parents[2] / "ispcloud-checkout")
    )


@pytest.mark.slow
def test_the_layers_hold_the_package_and_what_it_needs(layout: Path, packages: Packages) -> None:
    image = LayoutReader(layout)
    user = int(image.config()["config"]["User"].partition(":")[0])
    with image.layers() as (debian, own), tempfile.TemporaryFile() as plain:
        members = [member for layer in (debian, own) for member in layer.getmembers()]
        assert not [m.name for m in members if not (m.isreg() or m.isdir() or m.issym() or m.islnk())]
        assert not [
            m.name for m in members if m.name != "." and not re.fullmatch(r"\./(?!.*(?:^|/)\.\.(?:/|$)).+", m.name)
        ]
        assert not [m.name for m in members if m.mode & 0o6000], "nothing raises rights"
        writable = {m.name for m in members if not m.issym() and m.mode & 0o022}
        assert writable == {"./tmp", "./var/lock", "./var/tmp"}, "nobody but root changes a file of it"
        owners = {(m.name, m.uid, m.gid, m.mode) for m in members if (m.uid, m.gid) != (0, 0)}
        assert owners == {(f".{STATE}", user, user, 0o700)}
        names = {m.name for m in members}
        assert not names & {f"./usr/bin/{name}" for name in ("sh", "bash", "dash", "dpkg", "apt", "mount", "su")}

        # Ours: the package's files byte for byte, but for the manual and the units, which nobody reads here
        subprocess.run(["dpkg-deb", "--fsys-tarfile", str(packages.get("ispcloud"))], stdout=plain, check=True)
        plain.seek(0)
        with tarfile.open(fileobj=plain) as package:
            for member in package.getmembers():
                if member.isreg() and member.name.startswith(("./usr/lib/ispagents/", "./usr/bin/")):
                    assert _content(own, member.name) == _content(package, member.name), member.name
        # Scanners of images look here for what has a hole
        lock = lock_of(layout).read_text()
        locked = {line.split()[1].partition("_")[0] for line in lock.splitlines() if line[0] != "#"}
        status = "./var/lib/dpkg/status.d/"
        assert {name.removeprefix(status) for name in names if name.startswith(status)} == {*locked, "ispcloud"}
        for name in locked:
            assert f"Package: {name}\n" in _content(debian, f"{status}{name}").decode()
            assert _has_license(names, debian, f"./usr/share/doc/{name}")
        assert "./usr/share/doc/ispcloud/copyright" in names
        # Python takes what was compiled without a look at the source, and root is not there to compile it
        for layer in (debian, own):
            compiled = [m for m in layer.getmembers() if m.name.endswith(".pyc")]
            assert len(compiled) > 400
            for member in compiled:
                assert _content(layer, member.name)[4:8] == b"\x01\0\0\0", member.name


def _content(tar: tarfile.TarFile, name: str) -> bytes:
    held = tar.extractfile(name)
    assert held is not None, name
    return held.read()


def _has_license(names: set[str], tar: tarfile.TarFile, folder: str) -> bool:
    member = tar.getmember(folder)
    if member.issym():  # packages of one source share a folder
        return f"./usr/share/doc/{member.linkname}/copyright" in names
    return f"{folder}/copyright" in names


@pytest.mark.slow
def test_other_programs_read_it_likewise(layout: Path, tmp_path: Path) -> None:
    """Skopeo lists the same layers and labels; umoci unpacks it, and makes a configuration for a runtime of it."""
    skopeo, umoci = _need("skopeo", "skopeo"), _need("umoci", "umoci")
    image = LayoutReader(layout)
    config = image.config()
    name = f"{layout}:{image.index()['annotations']['org.opencontainers.image.ref.name']}"
    seen = json.loads(_run(skopeo, "inspect", f"oci:{name}").stdout)
    assert seen["Layers"] == [one["digest"] for one in image.manifest()["layers"]]
    assert seen["Labels"] == config["config"]["Labels"]
    assert (seen["Created"], seen["Architecture"], seen["Os"]) == (config["created"], "amd64", "linux")
    if os.geteuid() != 0:
        missing("umoci unpacks files of root as root alone")
    _run(umoci, "unpack", "--image", name, tmp_path / "bundle")
    made = json.loads((tmp_path / "bundle/config.json").read_bytes())["process"]
    user = int(config["config"]["User"].partition(":")[0])
    assert made["args"] == ["/usr/bin/ispcloud", "serve"]
    assert (made["user"]["uid"], made["user"]["gid"], made["cwd"]) == (user, user, STATE)
    assert (tmp_path / "bundle/rootfs/usr/bin/ispcloud").stat().st_mode & 0o777 == 0o755
    state = (tmp_path / f"bundle/rootfs{STATE}").stat()
    assert (state.st_uid, state.st_gid, state.st_mode & 0o7777) == (user, user, 0o700)


# --- alive -----------------------------------------------------------------------------------------------------------

# crun knows cgroups of version 2 alone; a machine that mounts others too shows it a mount of this process' own
_CGROUP = """
set -eu
mount --make-rprivate /
[ "$(stat -f -c %T /sys/fs/cgroup)" = cgroup2fs ] || mount -t cgroup2 cgroup2 /sys/fs/cgroup
exec "$@"
"""


@dataclass(frozen=True, slots=True)
class CrunRig:
    """Runs commands of the image under crun, as the image's configuration says, with a read-only root and no right."""

    folder: Path
    image: dict[str, Any]

    def crun(self, *words: str) -> list[str]:
        """Return the command that runs crun with these words."""
        state = str(self.folder / "containers")
        crun = ["crun", "--root", state, "--cgroup-manager=disabled", *words]
        return ["unshare", "--mount", "sh", "-c", _CGROUP, "sh", *crun]

    def bundle(self, name: str, *args: str) -> Path:
        """Make a bundle of the unpacked root: what an engine would run with these words after the image's name."""
        inside = self.image["config"]
        uid, gid = map(int, inside["User"].split(":"))
        options = ["nosuid", "nodev", "noexec"]
        runtime = {
            "ociVersion": "1.0.2",
            "process": {
                "user": {"uid": uid, "gid": gid},
                "args": [*inside["Entrypoint"], *(args or inside["Cmd"])],
                "env": inside["Env"],
                "cwd": inside["WorkingDir"],
                "noNewPrivileges": True,
                "capabilities": {of: [] for of in _CAPABILITIES},
            },
            "root": {"path": str(self.folder / "root"), "readonly": True},
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc"},
                {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
                *(
                    {
                        "destination": at,
                        "type": "bind",
                        "source": str(self.folder / "state"),
                        "options": ["bind", *options],
                    }
                    for at in inside["Volumes"]
                ),
            ],
            "linux": {"namespaces": [{"type": of} for of in ("pid", "mount", "ipc", "uts", "network")]},
        }
        made = self.folder / name
        made.mkdir()
        (made / "config.json").write_text(json.dumps(runtime))
        return made

    def run(self, name: str, *args: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command of the image in a container of its own, until it ends."""
        return _run(*self.crun("run", "--bundle", str(self.bundle(name, *args)), name), check=check)

    def inside(self, name: str, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a program in a container that runs, as an engine does for a health check."""
        return _run(*self.crun("exec", name, *command), check=check)

    @contextmanager
    def serving(self, name: str) -> Iterator[None]:
        """Run the image as it is started; afterwards it ends by the image's signal, with exit code 0."""
        command = self.crun("run", "--bundle", str(self.bundle(name)), name)
        with (self.folder / f"{name}.log").open("w") as log:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        said = self.folder / f"{name}.log"
        try:
            assert process.stdout is not None
            ready, _, _ = select.select([process.stdout], [], [], WAIT_S)
            line = process.stdout.readline() if ready else ""
            assert line == "ispcloud: listening on 0.0.0.0:7443, enrolment on 0.0.0.0:7444\n", (line, said.read_text())
            yield
            _run(*self.crun("kill", name, self.image["config"]["StopSignal"]))
            assert process.wait(WAIT_S) == 0, said.read_text()
        finally:
            _run(*self.crun("delete", "--force", name), check=False)
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()


@pytest.fixture
def rig_of_crun(layout: Path) -> Iterator[CrunRig]:
    """The image unpacked beside an empty folder for its state, owned as the volume in the image."""
    _need("crun", "crun")
    if os.geteuid() != 0:
        missing("crun needs root to make a container for another user")
    image = LayoutReader(layout)
    with tempfile.TemporaryDirectory(prefix="ispcloud-image-", dir=memory_folder()) as name, image.layers() as layers:
        folder = Path(name)
        folder.chmod(0o755)
        for part in ("root", "containers"):
            (folder / part).mkdir()
        for layer in layers:
            layer.extractall(folder / "root", filter="fully_trusted")
        volume = (folder / f"root{STATE}").stat()
        (folder / "state").mkdir(mode=volume.st_mode & 0o777)
        os.chown(folder / "state", volume.st_uid, volume.st_gid)
        yield CrunRig(folder, image.config())


_ATTEMPTS = """
import os, sys
print(os.getuid(), os.getgid(), os.getgroups())
status = dict(line.rstrip().split(":", 1) for line in open("/proc/1/status"))
print(status["CapEff"].strip(), status["CapBnd"].strip(), status["NoNewPrivs"].strip())
for folder in ("/", "/usr", "/etc", "/tmp", "/var/lib", "/usr/lib/ispagents/ispcloud"):
    try:
        open(f"{folder}/new", "w")
    except OSError as err:
        print(folder, err.strerror)
"""


@pytest.mark.slow
def test_it_runs_under_crun_as_nobody_and_answers_its_check(rig_of_crun: CrunRig) -> None:
    runs = rig_of_crun
    test, *check = runs.image["config"]["Healthcheck"]["Test"]
    assert test == "CMD"
    early = runs.run("early", check=False)
    assert early.returncode == 2
    assert f"{STATE}/config.toml" in early.stderr
    made = runs.run("init", "init", "--public-host", "cloud.example.net").stdout
    (vkey,) = re.findall(r"(?m)^witness (\S+)$", made)
    # Nobody serves: the same check says so
    away = runs.run("away", *check[1:], check=False)
    assert (away.returncode, away.stdout) == (1, "")
    assert "127.0.0.1:7444: expected this control plane to answer in 5 s, got UNAVAILABLE" in away.stderr

    with runs.serving("first"):
        assert runs.inside("first", *check).stdout == "serving on 127.0.0.1:7444\n"
        seen = runs.inside("first", "/usr/bin/python3", "-IS", "-c", _ATTEMPTS).stdout.splitlines()
        user = runs.image["config"]["User"].partition(":")[0]
        assert seen[0] == f"{user} {user} []"
        assert seen[1] == f"{'0' * 16} {'0' * 16} 1"
        assert {line.partition(" ")[2] for line in seen[2:]} == {"Read-only file system"}
        assert len(seen) == 8
        # Everything that the programs import is there, compiled modules of the standard library too
        words = ("/usr/bin/python3", "-IS", "-W", "ignore", "-c", IMPORT_ALL, "ispcloud", *sorted(OWN["ispcloud"]))
        assert int(runs.inside("first", *words).stdout) > 60
        runs.inside("first", "/usr/bin/ispcloud", "operators", "add", "hill-isp")
    # A new container on the same volume goes on with what the first one left
    with runs.serving("second"):
        assert runs.inside("second", *check).returncode == 0
        assert "hill-isp" in runs.inside("second", "/usr/bin/ispcloud", "operators", "list").stdout
        assert vkey  # the witness's name and key
