"""Backup while the database is written, and restore: what was lost must not pass for what is restored."""

import asyncio
import io
import json
import sqlite3
import stat
import subprocess
import tarfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from backups.archive import MAC, SUMS, pack, small
from backups.sealing import encrypt, opened_untrusted
from control_plane import backup, config, members
from control_plane.auth import Auth, IdentityKind
from control_plane.errors import BadTokenError, InputError, LocalFailureError, RevokedError
from control_plane.members import Revoke
from control_plane.store import CloudStore
from tests.builders.age_files import Owner, needs_age
from tests.control_plane.enrolling import NOW, Cloud, csr, in_cloud, with_cloud

PERSON = IdentityKind.PERSON
OWNER = Owner()


def _epoch(path: Path) -> bytes:
    with closing(sqlite3.connect(path)) as con:
        return bytes(con.execute("SELECT value FROM meta WHERE key = 'epoch'").fetchone()[0])


def test_there_and_back(tmp_path: Path) -> None:
    lena, maria, token = b"", b"", b""
    out, target = tmp_path / "backup", tmp_path / "restored"

    async def before(cloud: Cloud) -> None:
        nonlocal lena, maria, token
        lena, maria = await cloud.enroll("lena"), await cloud.enroll("maria")
        await cloud.store.run(Revoke(cloud.operator, PERSON, "maria", NOW))
        token = await cloud.invite("joseph")
        backup.write(cloud.data, out, OWNER.recipients, NOW)

    asyncio.run(with_cloud(tmp_path, before))
    done = backup.restore(out, OWNER.identities, target)
    old = config.open_dir(tmp_path / "cloud")

    assert done.proven.made_s == NOW
    assert backup.verify(out, OWNER.identities) == done.proven
    assert done.data.authority.pem == old.authority.pem
    assert done.data.config == old.config
    assert done.old_vkey == old.witness_vkey() != done.data.witness_vkey()
    assert done.data.witness_key.public != old.witness_key.public
    assert _epoch(done.data.database) != _epoch(old.database)
    for path in (out, *target.iterdir()):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    assert stat.S_IMODE(target.stat().st_mode) == 0o700
    assert sorted(p.name for p in tmp_path.iterdir()) == ["backup", "cloud", "restored"], "nothing is left beside"

    async def after() -> None:
        store = CloudStore(done.data.database)
        auth = Auth(store, done.data.authority, lambda: NOW)
        try:
            assert auth.identity_of_untrusted(lena).name == "lena"
            with pytest.raises(RevokedError):
                auth.identity_of_untrusted(maria)
            with pytest.raises(BadTokenError):
                await auth.enroll_untrusted(token, csr(), b"")
        finally:
            auth.close()
            store.close()

    asyncio.run(after())


@in_cloud
async def test_a_backup_while_the_server_writes_is_one_moment(cloud: Cloud, tmp_path: Path) -> None:
    """Tokens are numbered as they are written: a copy holds the first so many, whole and without holes."""

    async def write(number: int) -> None:
        await cloud.store.run(members.Invite(cloud.operator, PERSON, f"p{number}", b"%032d" % number, NOW))

    async def copy(number: int) -> int:
        out = tmp_path / f"backup-{number}"
        await asyncio.to_thread(backup.write, cloud.data, out, OWNER.recipients, NOW)
        target = tmp_path / f"copy-{number}.db"
        target.write_bytes(clear(out)["cloud.db"])
        with closing(sqlite3.connect(f"file:{target}?immutable=1", uri=True)) as con:
            assert con.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
            numbers = [int(bytes(r[0])) for r in con.execute("SELECT sha256 FROM token ORDER BY sha256")]
        assert numbers == list(range(len(numbers)))
        return len(numbers)

    async def writing() -> None:
        for number in range(300):
            await write(number)

    writer = asyncio.create_task(writing())
    sizes = [await copy(number) for number in range(5)]
    await writer
    assert sizes == sorted(sizes)
    assert await copy(5) == 300


@in_cloud
async def test_nothing_is_overwritten(cloud: Cloud, tmp_path: Path) -> None:
    out = tmp_path / "backup"
    backup.write(cloud.data, out, OWNER.recipients, NOW)
    with pytest.raises(LocalFailureError, match="is there already"):
        backup.write(cloud.data, out, OWNER.recipients, NOW)
    with pytest.raises(InputError, match="expected an empty or a new folder"):
        backup.restore(out, OWNER.identities, cloud.data.path)
    with pytest.raises(LocalFailureError, match="cannot be written"):
        backup.write(cloud.data, tmp_path / "none" / "backup", OWNER.recipients, NOW)


def test_a_data_directory_without_its_files(tmp_path: Path) -> None:
    data = config.create(tmp_path / "cloud", config.DEFAULT.format(
        listen="127.0.0.1:0", enrolment_listen="127.0.0.1:0", metrics_listen="", public_host="h", witness_name="w",
        quotas=""), NOW)  # fmt: skip
    with pytest.raises(LocalFailureError, match="expected a database, there is none"):
        backup.write(data, tmp_path / "backup", OWNER.recipients, NOW)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cloud"]


def clear(path: Path) -> dict[str, bytes]:
    """Return the files in a backup, by the standard library's tar."""
    with opened_untrusted(path, OWNER.identities) as stream:
        data = stream.read(1 << 30)
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {info.name: file.read() for info in tar if (file := tar.extractfile(info)) is not None}


def forged(path: Path, files: dict[str, bytes], *, bound_to: bytes | None = None) -> Path:
    """Write a backup of other files, as its own program could, or as somebody with another key."""
    said = json.loads(files["manifest.json"])
    inner = [small(name, data) for name, data in files.items() if name not in ("manifest.json", SUMS, MAC)]
    mac = backup._authenticate(files["authority.key"] if bound_to is None else bound_to)
    with path.open("wb") as out:
        encrypt(pack(said, inner, mac), out, OWNER.recipients)
    return path


Change = Callable[[dict[str, bytes]], dict[str, bytes]]


def _without(name: str) -> Change:
    return lambda files: {n: data for n, data in files.items() if n != name}


def _with(name: str, data: bytes) -> Change:
    return lambda files: {**files, name: data}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_without("cloud.db"), "its manifest names others"),
        (_without("witness.key"), "its manifest names others"),
        (_with("../evil", b"x"), "its manifest names others"),
        (_with("server.pem", b"x"), "its manifest names others"),
        (_with("manifest.json", json.dumps({"format": "other", "made": NOW}).encode()), "got other"),
        (_with("manifest.json", json.dumps({"format": backup.FORMAT, "made": "now"}).encode()), "number as made"),
        (_with("config.toml", b"rubbish"), "expected TOML"),
        (_with("authority.key", b"rubbish"), "authority"),
        (_with("cloud.db", b"rubbish" * 1000), "got a damaged one: file is not a database"),
    ],
)
def test_files_that_are_no_backup(good: Path, tmp_path: Path, change: Change, says: str) -> None:
    _refused(forged(tmp_path / "bad", change(clear(good))), tmp_path, says)
    # An honest backup into the folder that a bad one did not fill
    backup.restore(good, OWNER.identities, tmp_path / "target")


@pytest.fixture
def good(tmp_path: Path) -> Path:
    async def test(cloud: Cloud) -> None:
        backup.write(cloud.data, tmp_path / "good", OWNER.recipients, NOW)

    asyncio.run(with_cloud(tmp_path, test))
    return tmp_path / "good"


def _refused(bad: Path, folder: Path, says: str, owner: Owner | None = None) -> None:
    identities = (owner or OWNER).identities
    with pytest.raises(InputError, match=says):
        backup.restore(bad, identities, folder / "target")
    assert list((folder / "target").iterdir()) == []
    assert not [p for p in folder.iterdir() if p.name.startswith(".")]


def test_cut_altered_forged_or_for_another(good: Path, tmp_path: Path) -> None:
    whole, bad = good.read_bytes(), tmp_path / "bad"
    for half in (whole[: len(whole) // 2], whole[:700], whole[:100], b"", b"\x1f\x8b" + whole, whole[:-9] + bytes(9)):
        bad.write_bytes(half)
        _refused(bad, tmp_path, "cut or altered")
    _refused(good, tmp_path, "sealed to another recipient", Owner())
    forged(bad, clear(good), bound_to=b"another authority's key")
    _refused(bad, tmp_path, "not made with the keys that it came with")
    with pytest.raises(LocalFailureError, match="cannot be read"):
        backup.restore(tmp_path / "none", OWNER.identities, tmp_path / "target")


def test_verifying_leaves_nothing(good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))
    assert backup.verify(good, OWNER.identities).made_s == NOW
    files = clear(good)
    damaged = {**files, "cloud.db": files["cloud.db"][:4096] + b"\xff" * 8192 + files["cloud.db"][12288:]}
    with pytest.raises(InputError, match="database"):
        backup.verify(forged(tmp_path / "bad", damaged), OWNER.identities)
    assert list((tmp_path / "scratch").iterdir()) == []


@needs_age
def test_the_age_program_alone_opens_it(good: Path, tmp_path: Path) -> None:
    subprocess.run(["tar", "-x", "-C", tmp_path], input=OWNER.opened_by_age(good, tmp_path), check=True, timeout=60)
    subprocess.run(["sha256sum", "--check", SUMS], cwd=tmp_path, check=True, capture_output=True, timeout=60)
