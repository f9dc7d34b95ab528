"""The vault: keys at rest, records per subject, and the mark by which a restored database is noticed."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from nacl.secret import SecretBox
from trio.testing import MockClock

from agent.changes.auditlog import recovery
from agent.changes.journal import commands
from agent.changes.journal.machine import Gate
from agent.model import ItemState
from agent.runtime.clock import now_of
from agent.store.errors import (
    DamagedStateError,
    DamagedValueError,
    ErasedSubjectError,
    MissingKeyError,
    RefusedCommandError,
    StoreFailedError,
)
from agent.store.mark_file import LogMark
from agent.store.vault import NOBODY, StoredSealing, Vault, create_store_key, load_store_key
from tests.builders.clock import FakeClock
from tests.builders.expect import present
from tests.builders.job import Rig, item
from tests.builders.store import STORE_KEY, Agent, Put
from tests.builders.world import World
from trust import proof
from trust.leaf import LeafKind, commitment

# --- the store key ---


def test_store_key_is_made_once_and_private(tmp_path: Path) -> None:
    path = tmp_path / "store.key"
    create_store_key(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(load_store_key(path)) == 32
    with pytest.raises(MissingKeyError, match="File exists"):
        create_store_key(path)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_store_key_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "store.key"
    create_store_key(path)
    path.chmod(mode)
    with pytest.raises(MissingKeyError, match=f"got {mode:04o}"):
        load_store_key(path)
    path.chmod(0o400)
    load_store_key(path)


def test_a_credential_of_systemd_is_read_by_an_acl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "store-key"
    create_store_key(path)
    path.chmod(0o440)  # the mask of the ACL by which the service's user reads it
    with pytest.raises(MissingKeyError):
        load_store_key(path)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert len(load_store_key(path)) == 32
    path.chmod(0o444)
    with pytest.raises(MissingKeyError):
        load_store_key(path)


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_store_key_of_another_length_is_refused(tmp_path: Path, size: int) -> None:
    path = tmp_path / "store.key"
    path.write_bytes(os.urandom(size))
    path.chmod(0o600)
    with pytest.raises(MissingKeyError, match=f"expected 32 bytes, got {size}"):
        load_store_key(path)


def test_no_store_key(tmp_path: Path) -> None:
    with pytest.raises(MissingKeyError, match="cannot be read"):
        load_store_key(tmp_path / "store.key")
    with pytest.raises(MissingKeyError, match="cannot be created"):
        create_store_key(tmp_path / "missing" / "store.key")


# --- keys of subjects ---


def test_another_store_key_is_refused(tmp_path: Path) -> None:
    vault = Vault(STORE_KEY, tmp_path / "keys.db")
    vault.ensure_subjects(["C-1"])
    vault.close()
    with pytest.raises(MissingKeyError, match="another agent"):
        Vault(bytes(32), tmp_path / "keys.db")


def test_an_unusable_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "keys.db").write_bytes(b"this is no database" * 100)
    with pytest.raises(DamagedStateError, match=r"keys\.db: it is damaged"):
        Vault(STORE_KEY, tmp_path / "keys.db")


@pytest.mark.parametrize(
    ("table", "to"),
    [
        ("mark", "size = x'a3c6'"),
        ("mark", "root = 1000000000000"),
        ("subject", "id = 7"),
        ("subject", "name = 'a text'"),
        ("sealing", "not_after_s = 'never'"),
        ("sealing", "private = 7"),
        ("backup_key", "made_s = x'00ff'"),
        ("backup_key", "identity = 7"),
    ],
)
def test_a_row_that_no_vault_writes_is_a_damage(tmp_path: Path, table: str, to: str) -> None:
    path = tmp_path / "keys.db"
    vault = Vault(STORE_KEY, path)
    vault.ensure_subjects(["C-1"])
    vault.keep_sealing(StoredSealing(bytes(32), bytes(32), 1, 2))
    vault.ensure_backup_key("AGE-SECRET-KEY-1", 1)
    vault.raise_mark(LogMark(3, bytes(32)))
    vault.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as con:
        con.execute(f"UPDATE {table} SET {to}")
        with pytest.raises(DamagedValueError, match=rf"keys\.db, table {table}: a row does not have the form"):
            read_all(path, con)


def read_all(path: Path, con: sqlite3.Connection) -> None:
    with closing(Vault(STORE_KEY, path)) as vault:
        vault.mark()
        vault.sealing_keys()
        vault.backup_key(con)


def test_records_open_after_a_restart_bound_to_their_subject(tmp_path: Path) -> None:
    vault = Vault(STORE_KEY, tmp_path / "keys.db")
    vault.ensure_subjects(["C-1", "C-2"])
    sealed = vault.seal_record("C-1", b"paid")
    other = vault.seal_record("C-2", b"paid")
    vault.close()
    assert (tmp_path / "keys.db").stat().st_mode & 0o777 == 0o600
    vault = Vault(STORE_KEY, tmp_path / "keys.db")
    opened = present(vault.open_record(sealed.subject, sealed.ciphertext))
    assert opened[1] == b"paid"
    assert commitment(*opened) == sealed.commitment
    assert sealed.commitment != other.commitment  # salted: equal records do not look equal
    with pytest.raises(MissingKeyError, match="damaged"):
        vault.open_record(other.subject, sealed.ciphertext)
    assert vault.open_record(bytes(16), sealed.ciphertext) is None
    vault.close()


def test_each_record_has_a_salt_and_a_nonce_of_its_own(tmp_path: Path) -> None:
    vault = Vault(STORE_KEY, tmp_path / "keys.db")
    vault.ensure_subjects(["C-1"])
    sealed = [vault.seal_record("C-1", b"paid") for _ in range(500)]
    assert len({s.ciphertext[: SecretBox.NONCE_SIZE] for s in sealed}) == 500
    salts = [opened[0] for s in sealed if (opened := vault.open_record(s.subject, s.ciphertext)) is not None]
    assert len({*salts}) == 500
    assert all(len(salt) == 32 for salt in salts)
    vault.close()


def test_names_and_keys_are_not_in_the_file(tmp_path: Path) -> None:
    vault = Vault(STORE_KEY, tmp_path / "keys.db")
    vault.ensure_subjects(["Alice-Wonder"])
    vault.close()
    data = b"".join(p.read_bytes() for p in tmp_path.iterdir())
    assert b"Alice-Wonder" not in data
    assert STORE_KEY not in data


def test_J8_subject_keys_are_durable_before_rows_use_them(tmp_path: Path) -> None:
    """A record can only be sealed once its subject's key is in the file: another connection sees it."""
    vault = Vault(STORE_KEY, tmp_path / "keys.db")
    with pytest.raises(ErasedSubjectError):
        vault.seal_record("C-1", b"x")
    vault.ensure_subjects(["C-1"])
    sealed = vault.seal_record("C-1", b"x")
    with closing(sqlite3.connect(tmp_path / "keys.db")) as other:
        assert (sealed.subject,) in other.execute("SELECT id FROM subject").fetchall()
        assert other.execute("PRAGMA synchronous").fetchone() is not None
    assert vault._con.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL: the commit returns after fsync
    vault.close()


def test_keys_that_cannot_be_written_are_not_used(tmp_path: Path) -> None:
    vault = Vault(STORE_KEY, tmp_path / "keys.db")
    with closing(sqlite3.connect(tmp_path / "keys.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")  # somebody holds the file
        vault._con.execute("PRAGMA busy_timeout = 10")
        with pytest.raises(StoreFailedError, match="cannot be written"):
            vault.ensure_subjects(["C-1"])
        with pytest.raises(ErasedSubjectError):
            vault.seal_record("C-1", b"x")
        other.execute("ROLLBACK")
    vault.ensure_subjects(["C-1"])
    vault.seal_record("C-1", b"x")
    vault.close()


def test_commitments_of_device_secrets(tmp_path: Path) -> None:
    vault = Vault(STORE_KEY, tmp_path / "keys.db")
    assert vault.commit("radius/main/user/a", "pw") == vault.commit("radius/main/user/a", "pw")
    assert len({vault.commit(c, s) for c in ("a", "b") for s in ("x", "y")}) == 4
    assert vault.commit("ab", "c") != vault.commit("a", "bc")
    vault.close()


async def test_L8_an_erased_subject_leaves_log_and_proofs_valid(tmp_path: Path) -> None:
    agent = Agent(tmp_path)
    agent.vault.ensure_subjects(["C-1", "C-2"])
    for n in range(5):
        await agent.store.run(Put(f"k{n}", sealed=agent.recorder.record(f"C-{1 + n % 2}/home", {"n": n})))
    agent.close()
    with closing(sqlite3.connect(tmp_path / "keys.db")) as con, con:
        erased = agent.vault._ids["C-1"]
        con.execute("DELETE FROM subject WHERE id = ?", (erased,))
    agent = Agent(tmp_path)
    assert agent.evidence.verify() == 5
    events = list(agent.evidence.events())
    assert [e.record is None for e in events] == [True, False, True, False, True]
    for seq in range(1, 6):
        report = proof.verify_file_untrusted(await agent.evidence.prove(seq, opened=True), agent.evidence.vkey)
        assert report.ok, report
    agent.close()


# --- a restored database ---


def test_the_mark_survives(tmp_path: Path) -> None:
    vault = Vault(STORE_KEY, tmp_path / "keys.db")
    assert vault.mark() is None
    vault.raise_mark(LogMark(3, bytes(32)))
    vault.raise_mark(LogMark(5, b"r" * 32))
    vault.close()
    vault = Vault(STORE_KEY, tmp_path / "keys.db")
    assert vault.mark() == (5, b"r" * 32)
    vault.close()


@pytest.mark.parametrize("whole", [False, True], ids=["the database alone", "the whole state directory"])
async def test_J4_C2_database_from_backup_cannot_run_its_plans_again(
    tmp_path: Path, autojump_clock: MockClock, *, whole: bool
) -> None:
    """The mark in a backup of the whole directory fits it, so a person says that it was put back."""
    world, clock = World(), FakeClock()
    for n in range(3):
        world.add(f"u{n}")
    rig = Rig(tmp_path, world, clock)
    used, unused = [await rig.save_plan([item(1, f"u{n}", world)]) for n in range(2)]
    await rig.consume(unused_started := await rig.save_plan([item(1, "u2", world)]))
    record = rig.recorder.record(None, {})
    await rig.store.run(commands.SetGate(used, Gate.APPROVED, LeafKind.APPROVAL, record))
    rig.close()
    shutil.copy(tmp_path / "agent.db", tmp_path / "backup")
    shutil.copy(tmp_path / "keys.db", tmp_path / "backup-keys")

    rig = Rig(tmp_path, world, clock)
    assert await recovery.void_if_restored(rig.store, rig.vault, rig.recorder) is None
    await rig.store.run(commands.Consume(used, now_of(clock), lambda tx, kept: None, lambda tx: None, 99, record))
    await rig.apply(used)
    await rig.apply(unused_started)
    assert rig.states(used) == rig.states(unused_started) == [ItemState.APPLIED]
    rig.close()
    shutil.copy(tmp_path / "backup", tmp_path / "agent.db")  # the old copy comes back, without its WAL
    if whole:
        shutil.copy(tmp_path / "backup-keys", tmp_path / "keys.db")
        with closing(Vault(STORE_KEY, tmp_path / "keys.db")) as vault:
            vault.distrust_mark()  # ispagent init --restored

    rig = Rig(tmp_path, world, clock)
    assert await recovery.void_if_restored(rig.store, rig.vault, rig.recorder) == 3
    assert await recovery.void_if_restored(rig.store, rig.vault, rig.recorder) is None  # said once
    rig.evidence.verify()
    for plan_id in (used, unused):
        assert rig.loaded(plan_id).row.gate is Gate.VOID
        with pytest.raises(RefusedCommandError, match="void"):
            await rig.store.run(
                commands.Consume(plan_id, now_of(clock), lambda tx, kept: None, lambda tx: None, 99, record)
            )
    await rig.apply(unused_started)  # it was started when the backup was taken: nobody knows how far it came
    assert rig.states(unused_started) == [ItemState.NEEDS_A_PERSON]
    assert len(world.writes) == len(world.kicks) == 2
    rig.close()


async def test_another_log_of_the_same_length_is_noticed(tmp_path: Path) -> None:
    agent = Agent(tmp_path)
    await agent.store.run(Put("a", high=True))
    agent.close()
    (tmp_path / "agent.db").unlink()
    agent = Agent(tmp_path)
    await agent.store.run(Put("a", also=lambda tx: tx.run("UPDATE meta SET value = x'00'")))
    assert recovery.check_mark(agent.store, agent.vault) is None  # the very same leaf: the same log
    agent.close()
    (tmp_path / "agent.db").unlink()
    agent = Agent(tmp_path)
    await agent.store.run(Put("a", sealed=agent.recorder.record(None, {"other": 1})))
    assert recovery.check_mark(agent.store, agent.vault) == (1, 1)
    agent.close()


async def test_each_start_raises_the_mark(tmp_path: Path) -> None:
    agent = Agent(tmp_path)
    await recovery.note_start(agent.store, agent.recorder, recovery.Build("0.1.0", "00" * 32))
    mark = present(agent.vault.mark())
    assert mark[0] == 1
    await recovery.note_stop(agent.store, agent.recorder)
    assert [e.kind for e in agent.evidence.events()] == ["start", "stop"]
    agent.close()


def test_records_about_nobody_have_a_key(tmp_path: Path) -> None:
    agent = Agent(tmp_path)
    sealed = agent.recorder.record(None, {"what": "start"})
    assert agent.vault._ids[NOBODY] == sealed.subject
    agent.close()
