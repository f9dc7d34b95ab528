"""A backup is one moment of a working agent, in two files; with later keys nothing of somebody erased opens."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from agent.store import backup
from agent.store.backup import keys_beside
from agent.store.errors import MissingKeyError
from agent.store.last_backup import read_last
from agent.store.restoring import ProvenBackup, unpack_proven
from agent.store.vault import Vault
from backups.errors import BackupStorageError, WrongKeyError
from tests.agent.store.backup_site import CANARY, NOW, Site
from tests.builders.age_files import needs_age
from tests.builders.expect import present
from tests.builders.store import STORE_KEY


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.close()


def rows(data: bytes, path: Path, sql: str) -> list[tuple[object, ...]]:
    path.write_bytes(data)
    with closing(sqlite3.connect(f"file:{path}?immutable=1", uri=True)) as con:
        return [tuple(row) for row in con.execute(sql)]


async def test_two_files_and_what_is_in_them(site: Site, tmp_path: Path) -> None:
    await site.work(3, "C-1")
    (site.state / "cloud.json").write_text("{}")
    (site.state / "series.db").write_bytes(b"not asked for")
    last = site.back_up("one")
    paths = site.paths("one")
    assert [stat.S_IMODE(path.stat().st_mode) for path in (paths.data, paths.keys)] == [0o600, 0o600]
    keys, data = site.clear_keys("one"), site.clear_data("one")
    sums = {"SHA256SUMS", "SHA256SUMS.mac", "manifest.json"}
    assert set(keys) == {"store.key", "data.identity", "identity", "cloud.json", "keys.db"} | sums
    assert set(data) == {"agent.toml", "agent.db"} | sums
    assert keys["store.key"] == STORE_KEY
    said_keys, said = json.loads(keys["manifest.json"]), json.loads(data["manifest.json"])
    assert (said["log_size"], said["name"], said["made"]) == (3, "noc-1", NOW)
    assert said["log_root"] == site.agent.evidence.head()[1].hex()
    assert said_keys["pair"] == said["pair"] == last.pair
    assert read_last(site.state) == last
    assert (last.log_size, last.recipients, last.data) == (3, (site.owner.public,), str(paths.data))
    assert len(rows(data["agent.db"], tmp_path / "copy.db", "SELECT seq FROM event")) == 3


async def test_series_come_along_where_wanted(site: Site) -> None:
    await site.work()
    source = replace(site.source, series=True)
    with closing(sqlite3.connect(site.state / "series.db")) as con:
        con.execute("CREATE TABLE t (n)")
    backup.make(source, site.paths("one"), site.owner.recipients, NOW)
    assert "series.db" in site.clear_data("one")
    assert open_in(site, "one", site.folder / "out").names[-2:] == ("series.db", "store.key")


def open_in(site: Site, name: str, folder: Path, keys: str | None = None) -> ProvenBackup:
    folder.mkdir(mode=0o700)
    return unpack_proven(site.pair(name, keys or name), site.owner.identities, folder)


@needs_age
async def test_the_age_program_alone_opens_both(site: Site, tmp_path: Path) -> None:
    await site.work(2, "C-1")
    site.back_up("one")
    by_hand(site, tmp_path / "out")
    with closing(sqlite3.connect(tmp_path / "out" / "agent.db")) as con:
        assert con.execute("SELECT count(*) FROM event").fetchone()[0] == 2


def by_hand(site: Site, out: Path) -> None:
    """Unpack a backup as the documents show it, with age, tar and sha256sum."""
    paths = site.paths("one")
    out.mkdir()
    keys = site.owner.opened_by_age(paths.keys, site.folder)
    subprocess.run(["tar", "-x", "-C", out], input=keys, check=True, timeout=60)
    command = ["age", "--decrypt", "--identity", out / "data.identity", paths.data]
    clear = subprocess.run(command, check=True, capture_output=True, timeout=60).stdout
    subprocess.run(["tar", "-x", "-C", out], input=clear, check=True, timeout=60)
    subprocess.run(["sha256sum", "--check", "SHA256SUMS"], cwd=out, check=True, capture_output=True, timeout=60)


async def test_each_row_has_its_key_while_subscribers_come(site: Site, tmp_path: Path) -> None:
    """The agent goes on to write: of each copy the keys are later than the rows."""
    await site.work()
    stop = False

    async def write() -> None:
        number = 0
        while not stop:
            await site.work(1, f"C-{number}")
            number += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write)
        for number in range(6):
            await trio.to_thread.run_sync(site.back_up, f"b{number}")
        stop = True
    sizes = []
    for number in range(6):
        events = rows(site.clear_data(f"b{number}")["agent.db"], tmp_path / "d.db", "SELECT seq, subject FROM event")
        keys = rows(site.clear_keys(f"b{number}")["keys.db"], tmp_path / "k.db", "SELECT id FROM subject")
        assert {subject for _, subject in events} <= {key for (key,) in keys}
        assert [seq for seq, _ in events] == list(range(1, len(events) + 1))
        sizes.append(len(events))
    assert sizes == sorted(sizes)
    assert sizes[-1] > 1


# --- an erased subscriber ---


async def test_an_erased_subscriber_opens_in_no_old_backup(site: Site, tmp_path: Path) -> None:
    await site.work(2, "C-1")
    await site.name_in_clear("C-1")
    await site.work(2, "C-2")
    site.back_up("old")
    assert CANARY.encode() in site.clear_data("old")["agent.db"], "the tables name them in clear: the test has teeth"
    site.erase("C-1")
    site.back_up("new", NOW + 60)
    with pytest.raises(WrongKeyError, match=r"the keys in new\.keys\.age do not open it") as found:
        open_in(site, "old", tmp_path / "out", keys="new")
    assert "2026-11-28" in str(found.value)
    assert [path.name for path in (tmp_path / "out").iterdir()] != ["agent.db"]
    with pytest.raises(WrongKeyError):
        site.clear_data("old", keys="new")


async def test_the_records_of_somebody_erased_open_with_no_later_keys(site: Site, tmp_path: Path) -> None:
    """Even where the data opens: the subject's own key is not in later keys, nor in a free page of them."""
    await site.work(2, "C-1")
    subject = present(site.agent.vault.subject_id("C-1"))
    site.back_up("old")
    sealed_key = rows(site.clear_keys("old")["keys.db"], tmp_path / "k.db", "SELECT id, key FROM subject")
    (old_key,) = [key for id_, key in sealed_key if id_ == subject]
    site.erase("C-1")
    site.back_up("new", NOW + 60)
    new = site.clear_keys("new")["keys.db"]
    assert subject not in new
    assert old_key not in new  # type: ignore[operator]  # a column of bytes
    (tmp_path / "keys.db").write_bytes(new)
    with closing(Vault(STORE_KEY, tmp_path / "keys.db")) as vault:
        record = rows(site.clear_data("old")["agent.db"], tmp_path / "d.db", "SELECT record FROM event LIMIT 1")[0][0]
        assert vault.open_record(subject, record) is None  # type: ignore[arg-type]  # a column of bytes


async def test_a_row_deleted_by_hand_is_in_no_free_page_of_the_keys(site: Site) -> None:
    await site.work(1, "C-1")
    with closing(sqlite3.connect(site.state / "keys.db")) as con:
        con.execute("PRAGMA secure_delete = OFF")
        (key,) = con.execute("SELECT key FROM subject WHERE id = ?", (site.agent.vault.subject_id("C-1"),)).fetchone()
        con.execute("DELETE FROM subject WHERE id = ?", (site.agent.vault.subject_id("C-1"),))
        con.commit()
    site.back_up("one")
    assert key not in site.clear_keys("one")["keys.db"]


async def test_without_an_erasure_old_data_opens_with_later_keys(site: Site, tmp_path: Path) -> None:
    await site.work(2, "C-1")
    site.back_up("old")
    await site.work(2, "C-2")
    site.back_up("new", NOW + 60)
    proven = open_in(site, "old", tmp_path / "out", keys="new")
    assert (proven.proof.size, proven.made_s, proven.keys_made_s) == (2, NOW, NOW + 60)


async def test_somebody_who_is_erased_during_the_copy(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The key of the data ends between its making and the moment of the keys: another is made."""
    await site.work(1, "C-1")
    ensure, done = backup.Vault.ensure_backup_key, threading.Event()

    def then_erase(vault: backup.Vault, identity: str, now_s: int) -> None:
        ensure(vault, identity, now_s)
        if not done.is_set():
            done.set()
            site.erase("C-1")

    monkeypatch.setattr(backup.Vault, "ensure_backup_key", then_erase)
    site.back_up("one")
    assert "agent.db" in site.clear_data("one")

    def always_erase(vault: backup.Vault, identity: str, now_s: int) -> None:
        with closing(sqlite3.connect(site.state / "keys.db")) as con:
            con.execute("DELETE FROM backup_key")
            con.commit()

    monkeypatch.setattr(backup.Vault, "ensure_backup_key", always_erase)
    with pytest.raises(BackupStorageError, match="subjects are erased while it is copied"):
        site.back_up("two")
    assert not site.paths("two").keys.exists()


# --- what goes wrong ---


async def test_nothing_is_overwritten_and_nothing_is_left(site: Site) -> None:
    await site.work()
    site.back_up("one")
    for there in (site.paths("two").keys, site.paths("two").data):
        there.write_text("somebody's")
        with pytest.raises(BackupStorageError, match="is there already"):
            site.back_up("two")
        assert there.read_text() == "somebody's"
        for path in (site.paths("two").keys, site.paths("two").data):
            path.unlink(missing_ok=True)
    assert [path.name for path in site.folder.iterdir() if "part" in path.name] == []


async def test_a_disk_that_is_nearly_full(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    await site.work()
    monkeypatch.setattr(backup, "SPARE_BYTES", 1 << 60)
    with pytest.raises(BackupStorageError, match="make room, or keep fewer backups"):
        site.back_up("one")
    assert not site.paths("one").data.exists()
    assert read_last(site.state) is None


async def test_a_damaged_database_makes_no_backup(site: Site) -> None:
    for number in range(300):
        await site.work(1, f"C-{number % 3}")
    path = site.state / "agent.db"
    with closing(sqlite3.connect(path)) as con:
        con.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        page = con.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'event'").fetchone()[0]
    with path.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\xff" * 4096)
    with pytest.raises(BackupStorageError, match=r"agent\.db: it is damaged"):
        site.back_up("one")
    assert not site.paths("one").keys.exists()


async def test_damaged_keys_make_no_backup(site: Site) -> None:
    """Keys are kept for 30 days: after that nothing would open the data."""
    await site.work()
    with closing(sqlite3.connect(site.state / "keys.db")) as con, con:
        con.execute("PRAGMA ignore_check_constraints = ON")
        con.execute("INSERT INTO mark VALUES (2, 0, x'')")
    with pytest.raises(BackupStorageError, match=r"keys\.db: it is damaged"):
        site.back_up("one")
    assert not site.paths("one").keys.exists()


async def test_files_that_are_missing(site: Site) -> None:
    await site.work()
    (site.folder / "agent.toml").unlink()
    with pytest.raises(BackupStorageError, match=r"agent\.toml: cannot be read"):
        site.back_up("one")
    (site.folder / "agent.toml").write_bytes(b"#" * (backup.CONFIG_BYTES + 1))
    with pytest.raises(BackupStorageError, match="at most"):
        site.back_up("two")
    (site.state / "store.key").chmod(0o644)
    with pytest.raises(MissingKeyError, match="others can read it"):
        site.back_up("three")


async def test_the_journal_is_taken_in_at_the_end(site: Site) -> None:
    """What came during the backup is not left for the daemon's next commit: all of it is in the file itself."""
    await site.work(200)
    site.back_up("one")
    copy = site.folder / "without-journal.db"
    copy.write_bytes((site.state / "agent.db").read_bytes())
    assert rows(copy.read_bytes(), copy, "SELECT count(*) FROM event") == [(200,)]


def test_where_the_keys_go(tmp_path: Path) -> None:
    assert keys_beside(Path("/b/noc-1.age")) == Path("/b/noc-1.keys.age")
    assert keys_beside(Path("/b/copy")) == Path("/b/copy.keys")
    assert os.fspath(keys_beside(Path("a.b.age"))) == "a.b.keys.age"


KILLED = """
import os, sys
from pathlib import Path
from agent.store import backup
from backups import new_file
from backups.sealing import parse_recipients
write = new_file._Pieces.write
def die(self, data):
    write(self, data[:100])
    if Path(sys.argv[2] + ".part").exists():
        os.kill(os.getpid(), 9)
    return write(self, data[100:]) + 100
new_file._Pieces.write = die
state, part, data, keys, config, recipient = sys.argv[1:]
source = backup.BackupSource(Path(state), Path(state, "store.key"), Path(config), "noc-1", "test.local/agent/a")
backup.make(source, backup.BackupPaths(Path(data), Path(keys)), parse_recipients([recipient]), 7)
"""


@pytest.mark.parametrize("which", ["keys", "data"])
def test_killed_in_the_middle(site: Site, which: str) -> None:
    """Nothing unfinished has its final name, and the next run goes through."""
    trio.run(site.work, 20, "C-1")
    paths = site.paths("one")
    args = [site.state, getattr(paths, which), paths.data, paths.keys, site.source.config, site.owner.public]
    died = subprocess.run([sys.executable, "-c", KILLED, *map(str, args)], check=False, timeout=120)
    assert died.returncode == -signal.SIGKILL
    assert not paths.data.exists()
    assert paths.keys.exists() is (which == "data")
    assert paths.data.with_name(f"{getattr(paths, which).name}.part").exists()
    if which == "keys":
        site.back_up("one")
        assert not paths.keys.with_name(f"{paths.keys.name}.part").exists()
    site.back_up("two")
    assert len(site.clear_data("two")) == 5
