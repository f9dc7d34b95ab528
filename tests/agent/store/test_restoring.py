"""What a backup must prove before anything of it is used; a directory that it is restored into counts as put back."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import trio

from agent.store import restoring, schema
from agent.store.backup import BackupPaths
from agent.store.identity import create_identity
from agent.store.restoring import UNPACKING, restore
from agent.store.vault import Vault
from backups.errors import AgeKeyError, BackupStorageError, DamagedBackupError, WrongKeyError
from tests.agent.store.backup_site import NOW, ORIGIN, Site
from tests.builders.age_files import Owner
from tests.builders.store import STORE_KEY
from trust import merkle
from trust.checkpoint import Checkpoint, sign_checkpoint


async def _work(site: Site) -> None:
    await site.work(3, "C-1")
    await site.sign()
    await site.work(2, "C-2")
    site.back_up("one")
    await site.work(2, "C-3")
    site.back_up("two", NOW + 3600)


@pytest.fixture(scope="module")
def worked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("site"))
    trio.run(_work, site)
    yield site
    site.close()


def restored(site: Site, paths: BackupPaths, into: Path, **more: bool) -> restoring.ProvenBackup:
    return restore(paths, site.owner.identities, into, **more)


def refused(site: Site, paths: BackupPaths, into: Path, error: type[Exception], says: str) -> None:
    """Restoring raises, and the directory is as empty as it was."""
    with pytest.raises(error, match=says):
        restored(site, paths, into)
    assert not into.exists() or list(into.iterdir()) == []


def test_a_new_state_directory(worked: Site, tmp_path: Path) -> None:
    into = tmp_path / "deep" / "new"
    proven = restored(worked, worked.paths("one"), into)
    assert sorted(path.name for path in into.iterdir()) == [
        "agent.db",
        "agent.toml",
        "identity",
        "keys.db",
        "store.key",
    ]
    assert {stat.S_IMODE(path.stat().st_mode) for path in into.iterdir()} == {0o600}
    assert stat.S_IMODE(into.stat().st_mode) == 0o700
    for name in ("identity", "store.key"):
        assert (into / name).read_bytes() == (worked.state / name).read_bytes()
    assert (proven.name, proven.agent, proven.made_s, proven.subjects) == ("noc-1", worked.identity.agent, NOW, 3)
    assert (proven.proof.size, proven.proof.signed) == (6, 3)
    assert proven.words.count("-") > 4
    with closing(Vault(STORE_KEY, into / "keys.db")) as vault:
        mark = vault.mark()
        assert vault.subject_id("C-2") is not None
    assert mark is not None
    assert mark[1] != worked.agent.evidence.head()[1], "the mark fits no log: the next start takes it for restored"


def test_an_empty_directory_and_one_of_a_restore_killed(worked: Site, tmp_path: Path) -> None:
    into = tmp_path / "new"
    into.mkdir(mode=0o755)
    restored(worked, worked.paths("one"), into)
    assert stat.S_IMODE(into.stat().st_mode) == 0o700
    again = tmp_path / "again"
    (again / UNPACKING).mkdir(parents=True)
    (again / UNPACKING / "keys.db").write_text("half")
    restored(worked, worked.paths("one"), again)
    assert UNPACKING not in [path.name for path in again.iterdir()]


def test_a_directory_in_which_there_is_something(worked: Site, tmp_path: Path) -> None:
    with pytest.raises(BackupStorageError, match=r"expected an empty directory, there is agent\.db in it"):
        restored(worked, worked.paths("one"), worked.state)
    (tmp_path / "file").write_text("")
    with pytest.raises(BackupStorageError, match="expected an empty directory"):
        restored(worked, worked.paths("one"), tmp_path / "file")
    assert (worked.state / "agent.db").exists()


def test_the_identity_gets_its_name_last(worked: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a restore that is killed while it gives names no agent starts: it has no identity."""
    rename, given = Path.rename, []

    def killed(path: Path, to: Path) -> Path:
        if len(given) == 3:
            raise KeyboardInterrupt
        given.append(path.name)
        return rename(path, to)

    monkeypatch.setattr(Path, "rename", killed)
    with pytest.raises(KeyboardInterrupt):
        restored(worked, worked.paths("one"), tmp_path / "new")
    assert "identity" not in [path.name for path in (tmp_path / "new").iterdir()]


# --- the wrong files at night ---


def test_keys_that_are_not_of_the_data(worked: Site, tmp_path: Path) -> None:
    into = tmp_path / "new"
    one, two = worked.paths("one"), worked.paths("two")
    refused(worked, BackupPaths(two.data, one.keys), into, WrongKeyError, "one.keys.age is older than two.age")
    refused(worked, BackupPaths(one.keys, one.data), into, WrongKeyError, "one.age: it is sealed to another recipient")
    refused(worked, BackupPaths(one.data, one.data), into, WrongKeyError, "one.age: it is sealed to another recipient")
    refused(worked, BackupPaths(one.keys, one.keys), into, WrongKeyError, "do not open it: it is another agent's, or")
    refused(worked, BackupPaths(one.data, tmp_path / "none"), into, BackupStorageError, "none: cannot be read")
    with pytest.raises(WrongKeyError, match="sealed to another recipient"):
        restore(one, Owner().identities, into)
    with pytest.raises(AgeKeyError):
        restore(one, restoring.parse_identities_untrusted(b""), into)
    assert not list(into.iterdir())


def test_older_keys_are_taken_where_somebody_says_so(worked: Site, tmp_path: Path) -> None:
    paths = BackupPaths(worked.paths("two").data, worked.paths("one").keys)
    proven = restored(worked, paths, tmp_path / "new", older_keys=True)
    assert (proven.proof.size, proven.subjects) == (8, 3)
    with closing(Vault(STORE_KEY, tmp_path / "new" / "keys.db")) as vault:
        assert vault.subject_id("C-3") is None


def test_later_keys_open_older_data(worked: Site, tmp_path: Path) -> None:
    paths = BackupPaths(worked.paths("one").data, worked.paths("two").keys)
    assert restored(worked, paths, tmp_path / "new").proof.size == 6


def test_files_of_another_agent(worked: Site, tmp_path: Path) -> None:
    other = Site(tmp_path)
    try:
        trio.run(other.work, 2)
        other.owner = worked.owner
        other.back_up("one")
        mixed = BackupPaths(other.paths("one").data, worked.paths("one").keys)
        refused(worked, mixed, tmp_path / "new", WrongKeyError, "another agent's")
    finally:
        other.close()


# --- cut, altered, forged ---


@pytest.mark.parametrize("which", ["data", "keys"])
def test_cut_or_altered(worked: Site, tmp_path: Path, which: str) -> None:
    good = worked.paths("one")
    whole = getattr(good, which).read_bytes()
    paths = BackupPaths(Path(shutil.copy(good.data, tmp_path / "d")), Path(shutil.copy(good.keys, tmp_path / "k")))
    for place in (0, 100, 250, 5000, len(whole) // 2, len(whole) - 1):
        getattr(paths, which).write_bytes(whole[:place])
        refused(worked, paths, tmp_path / "new", DamagedBackupError, "cut or altered")
        getattr(paths, which).write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        with pytest.raises((DamagedBackupError, WrongKeyError)):
            restored(worked, paths, tmp_path / "new")
        assert list((tmp_path / "new").iterdir()) == []


def test_made_without_the_store_key(worked: Site, tmp_path: Path) -> None:
    """Who knows the recipient can seal a file: it is not bound to the store key in it."""
    paths = worked.forge("one", bound=False)
    refused(worked, paths, tmp_path / "new", DamagedBackupError, "not made with the keys that it came with")


def test_another_identity(worked: Site, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    create_identity(tmp_path / "other", STORE_KEY)
    other = (tmp_path / "other" / "identity").read_bytes()
    paths = worked.forge("one", keys=lambda files: {**files, "identity": other})
    refused(worked, paths, tmp_path / "new", DamagedBackupError, "expected the identity of agent")
    paths = worked.forge("one", keys=lambda files: {**files, "identity": b"rubbish"})
    refused(worked, paths, tmp_path / "new", DamagedBackupError, "the store key does not open")
    paths = worked.forge("one", keys=lambda files: {**files, "store.key": bytes(32)})
    refused(worked, paths, tmp_path / "new", DamagedBackupError, "its files do not fit")


def changed(sql: str) -> object:
    """Return a change of `agent.db`, as somebody with the store key could make it."""

    def change(files: dict[str, bytes]) -> dict[str, bytes]:
        with closing(sqlite3.connect(":memory:", isolation_level=None)) as con:
            con.deserialize(files["agent.db"][:18] + b"\x01\x01" + files["agent.db"][20:])
            for name in ("event_keep", "event_fixed"):
                con.execute(f"DROP TRIGGER {name}")
            con.execute("PRAGMA foreign_keys = OFF")
            con.executescript(sql)
            return {**files, "agent.db": con.serialize()}

    return change


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        ("UPDATE event SET leaf = zeroblob(98) WHERE seq = 2", "leaves do not hash to the root of the stored tree"),
        ("DELETE FROM event WHERE seq = 3", "expected events 1 to 6, got 5"),
        ("DELETE FROM event WHERE seq = 6", "its log"),
        ("UPDATE event SET seq = 60 WHERE seq = 6", "its log does not hold"),
        ("DELETE FROM node WHERE level = 1", "the tree lacks node"),
        ("UPDATE node SET hash = zeroblob(32) WHERE level = 2", "do not hash to the root of the stored tree"),
        (
            "UPDATE checkpoint SET note = CAST(replace(note, '\n3\n', '\n2\n') AS BLOB)",
            "is not signed by the log's key",
        ),
        ("DROP TABLE event", "its log does not hold"),
    ],
)
def test_a_log_that_does_not_hold(worked: Site, tmp_path: Path, sql: str, says: str) -> None:
    paths = worked.forge("one", data=changed(sql))  # type: ignore[arg-type]  # a change of files
    refused(worked, paths, tmp_path / "new", DamagedBackupError, says)


def test_a_checkpoint_that_the_key_signed_of_another_log(worked: Site, tmp_path: Path) -> None:
    """Whoever has the log key signs another history: the leaves do not hash to it."""
    note = sign_checkpoint(Checkpoint(ORIGIN, 3, merkle.leaf_hash(b"other")), worked.identity.log_key, ORIGIN)
    sql = f"UPDATE checkpoint SET note = x'{note.hex()}'"
    paths = worked.forge("one", data=changed(sql))  # type: ignore[arg-type]  # a change of files
    refused(worked, paths, tmp_path / "new", DamagedBackupError, "first 3 leaves do not hash to the root of the signed")


def test_a_checkpoint_of_the_log_before_this_one_is_passed_over(worked: Site, tmp_path: Path) -> None:
    note = sign_checkpoint(Checkpoint("test.local/other", 6, bytes(32)), worked.identity.log_key, "test.local/other")
    sql = f"INSERT INTO checkpoint VALUES (6, x'{note.hex()}', 0)"
    paths = worked.forge("one", data=changed(sql))  # type: ignore[arg-type]  # a change of files
    assert restored(worked, paths, tmp_path / "new").proof.signed == 3


def test_a_manifest_that_names_another_log(worked: Site, tmp_path: Path) -> None:
    paths = worked.forge("one", manifest={"log_root": "00" * 32})
    refused(worked, paths, tmp_path / "new", DamagedBackupError, "its log is not the one that its manifest names")


def test_a_newer_program_made_it(worked: Site, tmp_path: Path) -> None:
    newer = len(schema.MIGRATIONS) + 1
    paths = worked.forge("one", manifest={"database_version": newer, "version": "9.1"})
    refused(worked, paths, tmp_path / "new", DamagedBackupError, rf"got {newer}: ispagent 9\.1 made it: install")


def test_a_damaged_database(worked: Site, tmp_path: Path) -> None:
    def damage(files: dict[str, bytes]) -> dict[str, bytes]:
        data = files["agent.db"]
        return {**files, "agent.db": data[: 4096 * 3] + b"\xff" * 4096 + data[4096 * 4 :]}

    refused(worked, worked.forge("one", data=damage), tmp_path / "new", DamagedBackupError, r"one-forged\.age: its")
    rubbish = worked.forge("one", data=lambda files: {**files, "agent.db": b"rubbish" * 1000})
    refused(worked, rubbish, tmp_path / "new", DamagedBackupError, "is damaged: file is not a database")


def test_keys_without_keys(worked: Site, tmp_path: Path) -> None:
    with closing(Vault(STORE_KEY, tmp_path / "keys.db")):
        pass
    empty = (tmp_path / "keys.db").read_bytes()
    paths = worked.forge("one", keys=lambda files: {**files, "keys.db": empty})
    refused(worked, paths, tmp_path / "new", DamagedBackupError, "expected keys of subjects, got none")


def test_a_full_disk(worked: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    for name in ("fsync", "rename"):
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full) if name == "fsync" else patch.setattr(Path, "rename", full)
            with pytest.raises(BackupStorageError, match="No space left"):
                restored(worked, worked.paths("one"), tmp_path / name)
        assert list((tmp_path / name).iterdir()) == []
