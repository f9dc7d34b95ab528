"""Backup while the database is written, and restore: what was lost must not pass for what is restored."""

import asyncio
import io
import json
import sqlite3
import stat
import tarfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from control_plane import backup, config, members
from control_plane.auth import Auth, IdentityKind
from control_plane.errors import BadTokenError, InputError, LocalFailureError, RevokedError
from control_plane.members import Revoke
from control_plane.store import CloudStore
from tests.control_plane.enrolling import NOW, Cloud, csr, in_cloud

PERSON = IdentityKind.PERSON


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
        backup.write(cloud.data, out, NOW)

    in_cloud(tmp_path, before)
    done = backup.restore(out, target, NOW + 60)
    old = config.open_dir(tmp_path / "cloud")

    assert done.made_s == NOW
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


def test_a_backup_while_the_server_writes_is_one_moment(tmp_path: Path) -> None:
    """Tokens are numbered as they are written: a copy holds the first so many, whole and without holes."""

    async def test(cloud: Cloud) -> None:
        async def write(number: int) -> None:
            await cloud.store.run(members.Invite(cloud.operator, PERSON, f"p{number}", b"%032d" % number, NOW))

        async def copy(number: int) -> int:
            out = tmp_path / f"backup-{number}"
            await asyncio.to_thread(backup.write, cloud.data, out, NOW)
            target = tmp_path / f"copy-{number}"
            with tarfile.open(out) as tar:
                tar.extract("cloud.db", target, filter="data")
            with closing(sqlite3.connect(target / "cloud.db")) as con:
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

    in_cloud(tmp_path, test)


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    async def test(cloud: Cloud) -> None:
        out = tmp_path / "backup"
        backup.write(cloud.data, out, NOW)
        with pytest.raises(InputError, match="is there already"):
            backup.write(cloud.data, out, NOW)
        with pytest.raises(InputError, match="expected an empty or a new folder"):
            backup.restore(out, cloud.data.path, NOW)
        with pytest.raises(LocalFailureError, match="cannot be written"):
            backup.write(cloud.data, tmp_path / "none" / "backup", NOW)

    in_cloud(tmp_path, test)


def test_a_data_directory_without_its_files(tmp_path: Path) -> None:
    data = config.create(tmp_path / "cloud", config.DEFAULT.format(
        listen="127.0.0.1:0", enrolment_listen="127.0.0.1:0", metrics_listen="", public_host="h", witness_name="w",
        quotas=""), NOW)  # fmt: skip
    with pytest.raises(LocalFailureError, match="cannot be"):
        backup.write(data, tmp_path / "backup", NOW)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cloud"]


Files = dict[str, bytes]


def _without(name: str) -> Callable[[Files], Files]:
    return lambda files: {n: data for n, data in files.items() if n != name}


def _with(name: str, data: bytes) -> Callable[[Files], Files]:
    return lambda files: {**files, name: data}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_without("manifest.json"), "manifest.json is missing"),
        (_without("cloud.db"), "cloud.db is missing"),
        (_without("witness.key"), "witness.key is missing"),
        (_with("../evil", b"x"), "holds something else"),
        (_with("server.pem", b"x"), "holds something else"),
        (_with("manifest.json", b"rubbish"), "expected a backup of ispcloud"),
        (_with("manifest.json", json.dumps({"format": "other", "made": NOW}).encode()), "got another"),
        (_with("manifest.json", json.dumps({"format": backup.FORMAT, "made": NOW * 2}).encode()), "manifest"),
        (_with("config.toml", b"#" * 70_000), "at most 65536 bytes of config.toml"),
        (_with("config.toml", b"rubbish"), "expected TOML"),
        (_with("authority.key", b"rubbish"), "authority"),
        (_with("cloud.db", b"rubbish" * 1000), "expected a database of ispcloud"),
    ],
)
def test_files_that_are_no_backup(tmp_path: Path, change: Callable[[Files], Files], says: str) -> None:
    async def test(cloud: Cloud) -> None:
        backup.write(cloud.data, tmp_path / "good", NOW)

    in_cloud(tmp_path, test)
    with tarfile.open(tmp_path / "good") as tar:
        files = {info.name: _read(tar, info) for info in tar}
    with tarfile.open(tmp_path / "bad", "w") as tar:
        for name, data in change(files).items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    _refused(tmp_path, says)
    # An honest backup into the folder that a bad one did not fill
    backup.restore(tmp_path / "good", tmp_path / "target", NOW)


def _read(tar: tarfile.TarFile, info: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(info)
    assert file is not None
    return file.read()


def _refused(folder: Path, says: str) -> None:
    with pytest.raises(InputError, match=says):
        backup.restore(folder / "bad", folder / "target", NOW)
    assert list((folder / "target").iterdir()) == []
    assert not [p for p in folder.iterdir() if p.name.startswith(".")]


def test_links_twice_the_same_and_half_a_file(tmp_path: Path) -> None:
    async def test(cloud: Cloud) -> None:
        backup.write(cloud.data, tmp_path / "good", NOW)

    in_cloud(tmp_path, test)
    whole = (tmp_path / "good").read_bytes()
    link = tarfile.TarInfo("witness.key")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
    for info, before in ((link, b""), (tarfile.TarInfo("config.toml"), whole)):
        (tmp_path / "bad").write_bytes(before)
        with tarfile.open(tmp_path / "bad", "a" if before else "w") as tar:
            tar.addfile(info)
        _refused(tmp_path, "holds something else")
    for half in (whole[: len(whole) // 2], whole[:700], b"", b"\x1f\x8b" + whole):
        (tmp_path / "bad").write_bytes(half)
        _refused(tmp_path, "expected a backup")
    (tmp_path / "bad").unlink()
    _refused(tmp_path, "cannot be read")
