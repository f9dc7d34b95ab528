"""Files that a billing system leaves in a folder: never half, never by somebody who may ask for changes."""

from __future__ import annotations

import hashlib
import os
from datetime import UTC
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from agent.billing_model.account import PaymentState
from agent.billing_model.errors import BillingState, SourceError
from agent.config_reader import ConfigReader
from agent.connectors.drop_folder import SPEC, files_session
from agent.connectors.drop_folder.connector import DropFolderConnector
from tests.builders.clock import FakeClock

ACCOUNTS = "subscriber,balance,due\nC-1,34.00,2026-11-27\nC-2,0,\n"
PAYMENTS = "id,amount,paid_at,subscriber,state\n1,34.00,2026-11-27,C-1,settled\n"


class Drop:
    """A folder with the connector on it. Files are of now by FakeClock, unless they are given an age."""

    def __init__(self, folder: Path, **keys: Any) -> None:
        self.folder = folder
        folder.mkdir(mode=0o755, exist_ok=True)
        reader = ConfigReader(
            Path("/a.toml"),
            {"drop-folder": {"main": {"folder": str(folder), **keys}}, "people": {"1": "maria"}},
            SPEC.keys,
        )
        self.config = SPEC.parse(reader)
        self.problems = [problem.removeprefix("/a.toml drop-folder.main.") for problem in reader.problems]
        self.clock = FakeClock()
        self.connector = DropFolderConnector(self.config, UTC, self.clock)

    def put(self, name: str, text: str | bytes, *, mode: int = 0o644) -> Path:
        path = self.folder / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        path.chmod(mode)
        self.clock.start_wall_s = max(path.stat().st_mtime, path.stat().st_ctime) + 60
        return path

    async def accounts(self) -> dict[str, Decimal]:
        reading = await self.connector.accounts("drop-folder/main")
        return {account.key: account.balance for account in reading.accounts}

    async def refused(self) -> SourceError:
        with pytest.raises(SourceError) as caught:
            await self.connector.accounts("drop-folder/main")
        assert str(caught.value).startswith("drop-folder/main: ")
        assert "C-1" not in str(caught.value)
        return caught.value


@pytest.fixture
def drop(tmp_path: Path) -> Drop:
    return Drop(tmp_path / "drop")


async def test_the_last_file_counts_and_stays(drop: Drop) -> None:
    drop.put("accounts-2026-11-26.csv", "subscriber,balance\nC-9,1\n")
    path = drop.put("accounts-2026-11-27.csv", ACCOUNTS)
    assert await drop.accounts() == {"C-1": Decimal("34.00"), "C-2": Decimal(0)}
    assert path.read_text() == ACCOUNTS
    assert len(os.listdir(drop.folder)) == 2
    (found,) = await drop.connector.some_accounts("drop-folder/main", ["C-1", "C-7"])
    assert found.as_of_s == pytest.approx(drop.clock.wall_s() - 60, abs=1), "it is of when the file was"


@pytest.mark.parametrize("name", ["accounts.csv.tmp", ".accounts.csv", "accounts.csv.part", "other.csv", "accounts"])
async def test_under_another_name_a_file_is_not_whole(drop: Drop, name: str) -> None:
    drop.put(name, ACCOUNTS)
    error = await drop.refused()
    assert (error.state, "expected a whole file accounts*.csv" in str(error)) == (BillingState.UNREACHABLE, True)
    (drop.folder / name).rename(drop.folder / "accounts.csv")
    assert await drop.accounts()


async def test_with_manifests_a_file_counts_once_its_own_agrees(tmp_path: Path) -> None:
    drop = Drop(tmp_path / "drop", whole_by="manifest")
    drop.put("accounts-1.csv", "subscriber,balance\nC-9,1\n")
    old = hashlib.sha256(b"subscriber,balance\nC-9,1\n").hexdigest()
    drop.put("accounts-1.csv.manifest", f"sha256={old}\nrows=1\n")
    drop.put("accounts-2.csv", ACCOUNTS)
    new = hashlib.sha256(ACCOUNTS.encode()).hexdigest()
    for manifest in (None, "", f"sha256={old}\nrows=2\n", f"sha256={new}\nrows=3\n", f"sha256={new}\n", "rows=2\n"):
        if manifest is not None:
            drop.put("accounts-2.csv.manifest", manifest)
        assert list(await drop.accounts()) == ["C-9"], "the file before it is the last whole one"
    drop.put("accounts-2.csv.manifest", f"sha256: {new.upper()}\nrows: 2\n")
    assert list(await drop.accounts()) == ["C-1", "C-2"]


async def test_a_file_that_changes_while_it_is_read_is_not_taken(drop: Drop, monkeypatch: pytest.MonkeyPatch) -> None:
    path = drop.put("accounts.csv", ACCOUNTS)
    check = files_session.FolderFiles._check_writer

    def check_and_write(self: files_session.FolderFiles, what: str, info: os.stat_result) -> None:
        check(self, what, info)
        if what == "a file":
            with path.open("a") as more:
                more.write("C-3,1,\n")

    monkeypatch.setattr(files_session.FolderFiles, "_check_writer", check_and_write)
    assert (await drop.refused()).state is BillingState.PARTIAL


@pytest.mark.parametrize("mode", [0o664, 0o646, 0o666])
async def test_a_file_that_others_can_write_is_no_evidence(drop: Drop, mode: int) -> None:
    drop.put("accounts.csv", ACCOUNTS, mode=mode)
    error = await drop.refused()
    assert error.state is BillingState.REFUSED
    assert f"got mode {mode:04o}" in str(error)


async def test_a_folder_in_which_others_can_write_is_no_evidence(drop: Drop) -> None:
    drop.put("accounts.csv", ACCOUNTS)
    drop.folder.chmod(0o775)
    assert "the folder is no evidence" in str(await drop.refused())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
async def test_whose_file_it_is_counts(tmp_path: Path) -> None:
    drop = Drop(tmp_path / "drop")
    os.chown(drop.put("accounts.csv", ACCOUNTS), 65_534, -1)
    assert "got uid 65534" in str(await drop.refused())
    owned = Drop(tmp_path / "drop", owner="nobody")
    owned.clock = drop.clock
    owned.connector = DropFolderConnector(owned.config, UTC, drop.clock)
    assert await owned.accounts()


async def test_a_link_and_a_pipe_are_not_read(drop: Drop) -> None:
    path = drop.put("elsewhere", ACCOUNTS)
    (drop.folder / "accounts.csv").symlink_to(path)
    assert (await drop.refused()).state is BillingState.UNREACHABLE
    (drop.folder / "accounts.csv").unlink()
    os.mkfifo(drop.folder / "accounts.csv", 0o600)
    assert "a device or a pipe" in str(await drop.refused())


async def test_an_old_file_is_stale(tmp_path: Path) -> None:
    drop = Drop(tmp_path / "drop", max_age_s=3600)
    drop.put("accounts.csv", ACCOUNTS)
    drop.clock.step_wall(3500)
    assert await drop.accounts()
    drop.clock.step_wall(600)
    error = await drop.refused()
    assert (error.state, "got 1.2 hours ago" in str(error) or "got 1.1 hours ago" in str(error)) == (
        BillingState.STALE,
        True,
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("subscriber,balance\nC-1,Amina\n", "row 1, column balance: expected an exact amount"),
        ("subscriber,balance\nC-1\n", "row 1: expected 2 cells, got 1"),
        ("subscriber\nC-1\n", "expected a column balance"),
        ("", "expected a line of column names"),
        (b"subscriber,balance\n\xff\n", "expected CSV in UTF-8"),
        ('subscriber,balance\n"C-1,1\n', "expected CSV in UTF-8"),
    ],
)
async def test_broken_files_are_told_without_their_data(drop: Drop, content: str | bytes, message: str) -> None:
    drop.put("accounts.csv", content)
    error = await drop.refused()
    assert message in str(error)
    assert "'accounts.csv'" in str(error)
    assert "Amina" not in str(error)


async def test_a_byte_order_mark_and_windows_line_ends_are_read(drop: Drop) -> None:
    drop.put("accounts.csv", b"\xef\xbb\xbf" + ACCOUNTS.replace("\n", "\r\n").encode())
    assert len(await drop.accounts()) == 2


async def test_a_file_is_bounded(tmp_path: Path) -> None:
    drop = Drop(tmp_path / "drop", file_mib=1)
    drop.put("accounts.csv", ACCOUNTS + "C-3,1,\n" * 200_000)
    assert "at most 1048576 bytes" in str(await drop.refused())


async def test_a_missing_folder_is_unreachable(tmp_path: Path) -> None:
    drop = Drop(tmp_path / "drop")
    drop.folder.rmdir()
    assert (await drop.refused()).state is BillingState.UNREACHABLE


async def test_payments_of_all_new_files(drop: Drop) -> None:
    drop.put("payments-1.csv", PAYMENTS)
    os.utime(drop.folder / "payments-1.csv", (1e9, 1e9))
    drop.put("payments-2.csv", PAYMENTS.replace("settled", "reversed") + "2,5.00,2026-11-27,,pending\n")
    found = await drop.connector.payments("drop-folder/main", drop.clock.wall_s() - 3600)
    assert [(p.id, p.state) for p in found] == [("1", PaymentState.REVERSED), ("2", PaymentState.PENDING)]
    assert await drop.connector.payments("drop-folder/main", drop.clock.wall_s()) == ()
    drop.put("payments-3.csv", "id,amount\n1,1\n")
    with pytest.raises(SourceError, match=r"'payments-3\.csv': expected a column paid_at"):
        await drop.connector.payments("drop-folder/main", 0.0)


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({"owner": "no-such-user-here"}, "owner: expected a local user, there is no no-such-user-here"),
        ({"owner": "daemon"}, "owner: expected a user who may not ask for changes, daemon stands in [people]"),
        ({"payments": "accounts-paid"}, "accounts: expected another beginning than that of `payments`"),
        ({"accounts": "payments"}, "payments: expected another beginning than that of `accounts`"),
        ({"whole_by": "size"}, "whole_by: expected one of rename, manifest, got 'size'"),
        ({"secret": "a"}, "secret: unknown"),
    ],
)
def test_mistakes_in_the_configuration(tmp_path: Path, keys: dict[str, Any], problem: str) -> None:
    assert Drop(tmp_path / "drop", **keys).problems[0].startswith(problem)


def test_its_sources(drop: Drop) -> None:
    (terms,) = SPEC.sources(drop.config)
    assert (terms.target, terms.every_s, terms.payments_every_s, terms.secret) == ("drop-folder/main", 900, 60, "")
    assert drop.connector.zone("drop-folder/main") is UTC
