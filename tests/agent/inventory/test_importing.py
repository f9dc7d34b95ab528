"""The billing file that is read again: what counts while it is broken, and that an older export undoes nothing."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from datetime import UTC, tzinfo
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

from agent.billing_model.errors import BillingState
from agent.inventory import importing, ledger
from agent.inventory.billing import BillingReader, billing_json
from agent.inventory.facts import Billing, BillingTerms, NotOwing, debt, describe, paid_since
from agent.inventory.importing import Importer, ImportRefusedError
from agent.inventory.ledger import BY_HAND, FILE, KeptAccount
from agent.inventory.subscribers_csv import COLUMNS, parse_untrusted
from agent.runtime.outages import Outages
from tests.builders.expect import present
from tests.builders.store import WALL_S, Agent

if TYPE_CHECKING:
    from agent.store.db import Tx

HEADER = ",".join(COLUMNS)
DAY, EARLIER, NOW = "2025-12-31", "2025-12-31T20:00:00Z", "2026-01-01T00:00:00Z"  # WALL_S is the last one


def line(subscriber: str, balance: str = "34.00", as_of: str = NOW, paid_at: str = "", service: str = "home") -> str:
    login = f"{subscriber}.{service}".lower()
    return f"{subscriber},Amina,{service},{login},pppoe,20M,,0,{balance},2025-10-03,{paid_at},{as_of}"


class Desk:
    """A store, a billing file, and the importer that reads it."""

    def __init__(self, folder: Path) -> None:
        self.agent = Agent(folder)
        self.file = folder / "billing.csv"
        self.outages = Outages(lambda: WALL_S)
        self.importer = self.new_importer(self.file)
        self.configured = True

    def new_importer(self, file: Path | None, people: Mapping[int, str] | None = None) -> Importer:
        recorder = self.agent.recorder
        return Importer(
            self.agent.store,
            lambda fields: recorder.record(None, dict(fields)),
            recorder.ensure,
            file,
            (),
            lambda: WALL_S,
            lambda problem: self.outages.note("billing", problem),
            people,
        )

    async def write(self, *lines: str, header: str = HEADER) -> bool:
        """Put a whole new file in the place of the old one, as an export does, and read it."""
        fresh = self.file.with_suffix(".new")
        fresh.write_text("\n".join((header, *lines)) + "\n")
        os.replace(fresh, self.file)
        return await self.importer.refresh()

    async def hand_in(self, *lines: str) -> None:
        await self.importer.run("\n".join((HEADER, *lines)).encode(), "maria", dry_run=False)

    def billing(self, subscriber: str) -> Billing:
        """Return what decides of a subscriber, while the importer has the file that it was made with."""
        reader = BillingReader(BillingTerms(configured=self.configured), self.importer.doubt)
        return reader.of(self.agent.store.query, subscriber, WALL_S)

    def fact(self, subscriber: str) -> KeptAccount:
        return present(self.billing(subscriber).kept)

    def balance(self, subscriber: str) -> str:
        return str(self.fact(subscriber).account.balance)

    def status(self) -> ledger.SourceStatus:
        return ledger.status(self.agent.store.query, FILE)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    yield desk
    desk.agent.close()


async def test_a_whole_file_leaves_no_doubt(desk: Desk) -> None:
    assert desk.importer.billing_problem() == "the billing file was not read yet"
    assert desk.importer.doubt("C-1")
    assert await desk.write(line("C-1"))
    assert desk.importer.billing_problem() == ""
    assert desk.importer.doubt("C-1") == desk.importer.doubt("C-99") == ""
    assert not await desk.importer.refresh()  # unchanged


async def test_without_a_billing_file_nothing_is_in_doubt(desk: Desk) -> None:
    importer = desk.new_importer(None)
    assert not await importer.refresh()
    assert importer.billing_problem() == importer.doubt("C-1") == ""


async def test_good_lines_of_a_broken_file_count_and_no_others_do(desk: Desk) -> None:
    await desk.write(line("C-1"), line("C-2"), line("C-3"))
    assert await desk.write(line("C-1", "0.00", paid_at=NOW), line("C-2", "many"), "C-9,broken line")
    assert desk.balance("C-1") == "0.00"  # the good line's payment is seen
    assert desk.importer.doubt("C-1") == ""
    problem = desk.importer.billing_problem()
    assert "2 broken lines, the first is line 3" in problem
    assert "C-2" not in problem
    assert "many" not in problem
    assert desk.importer.doubtful == {"C-2"}
    assert desk.importer.doubt("C-2") == desk.importer.doubt("C-3") == problem  # C-3 may stand on the unreadable line
    assert await desk.write(line("C-1", "0.00"), line("C-2"))
    assert desk.importer.billing_problem() == desk.importer.doubt("C-3") == ""


@pytest.mark.parametrize(
    ("promise", "code", "says"),
    [
        ("2026-01-01", "promised", "promised to pay until 2026-01-01, billing says"),
        ("2026-01-05T10:00:00Z", "promised", "promised to pay until 2026-01-05, billing says"),
        ("next week", "exempt", "promised to pay until 'next week', which is no date (YYYY-MM-DD expected)"),
        ("2025-12-31", "", ""),
        ("", "", ""),
    ],
)
async def test_a_promise_in_the_file_counts_at_once(desk: Desk, promise: str, code: str, says: str) -> None:
    """Nobody imports the list anew: as a payment does, a promise counts when the file is read again."""
    await desk.write(line("C-1"))
    owes = debt(desk.billing("C-1"))
    assert owes == Decimal("34.00")
    await desk.write(f"{line('C-1')},{promise}", header=f"{HEADER},promise_until")
    now = debt(desk.billing("C-1"))
    assert (now.code.value, says in now.why) == (code, True) if isinstance(now, NotOwing) else not code


async def test_a_subscriber_with_a_good_and_a_broken_line_is_in_doubt(desk: Desk) -> None:
    await desk.write(line("C-1"), line("C-1", "0.00", service="shop"), line("C-2"))
    assert "1 broken line, line 3" in desk.importer.doubt("C-1")
    assert desk.importer.doubt("C-2") == ""


@pytest.mark.parametrize("content", [b"", b"\xff\xfeu\x00", b"id;amount\n1;2\n", HEADER.encode() + b"\n"])
async def test_a_file_that_cannot_be_used_puts_all_in_doubt(desk: Desk, content: bytes) -> None:
    await desk.write(line("C-1"))
    desk.file.write_bytes(content)
    assert not await desk.importer.refresh()
    assert desk.importer.doubt("C-1") == desk.importer.billing_problem() != ""
    assert desk.balance("C-1") == "34.00"


async def test_a_file_that_is_gone_and_comes_back(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    await desk.write(line("C-1"))
    away = desk.file.with_suffix(".away")
    desk.file.rename(away)
    assert not await desk.importer.refresh()
    assert not await desk.importer.refresh()
    assert "No such file" in desk.importer.doubt("C-1")
    assert len(caplog.records) == 1  # said once, not every few seconds
    away.rename(desk.file)
    assert await desk.importer.refresh()
    assert desk.importer.doubt("C-1") == ""
    assert not await desk.importer.refresh()
    assert [r.getMessage() for r in caplog.records] == ["an outage begins", "an outage is over"]


@pytest.mark.parametrize("by_hand", [False, True])
async def test_an_older_export_does_not_undo_a_newer_payment(desk: Desk, by_hand: bool) -> None:
    await desk.write(line("C-1", "0.00", paid_at=NOW), line("C-2", as_of=EARLIER))
    late = line("C-1", as_of=EARLIER), line("C-2", "0.00", as_of=NOW)
    await (desk.hand_in(*late) if by_hand else desk.write(*late))
    assert (desk.balance("C-1"), desk.fact("C-1").read_s) == ("0.00", WALL_S)
    four_h = WALL_S - 4 * 3600
    assert (desk.balance("C-2"), desk.fact("C-2").read_s) == (("34.00", four_h) if by_hand else ("0.00", WALL_S))


async def test_a_hand_imported_file_gives_way_to_the_configured_one(desk: Desk) -> None:
    await desk.hand_in(line("C-1", "0.00", as_of=NOW, paid_at=NOW))
    by_hand = desk.fact("C-1")
    assert (by_hand.source, by_hand.author) == (BY_HAND, "maria")
    assert describe(desk.billing("C-1")).endswith(", imported by hand by maria")
    await desk.write(line("C-1", as_of=EARLIER))
    assert (desk.balance("C-1"), desk.fact("C-1").source) == ("34.00", FILE)


async def test_without_a_configured_source_a_later_file_stands(desk: Desk) -> None:
    desk.importer, desk.configured = desk.new_importer(None), False
    await desk.hand_in(line("C-1", as_of=EARLIER))
    await desk.hand_in(line("C-1", "0.00", as_of=NOW))
    await desk.hand_in(line("C-1", "99.00", as_of=EARLIER))
    assert desk.balance("C-1") == "0.00"


@pytest.mark.parametrize("mode", [0o664, 0o646])
async def test_a_billing_file_that_others_can_write_is_no_evidence(desk: Desk, mode: int) -> None:
    await desk.write(line("C-1"))
    assert desk.fact("C-1").author == ""
    desk.file.chmod(mode)
    assert await desk.importer.refresh()  # nothing else of the file changed
    assert f"mode {mode:04o}" in desk.fact("C-1").author
    assert f"mode {mode:04o}" in desk.importer.billing_problem()
    assert desk.importer.doubt("C-1") == "", "it still says who owes, to people"
    await desk.write(line("C-1", "0.00", paid_at=NOW))
    assert desk.importer.billing_problem() == ""
    assert paid_since(desk.billing("C-1"), 0)
    desk.file.chmod(mode)
    await desk.importer.refresh()
    assert not paid_since(desk.billing("C-1"), 0)


async def test_payment_of_file_that_others_could_write_is_none_later(desk: Desk) -> None:
    """Somebody writes a payment of their own into it; then the file is mended, and the debt is written off."""
    desk.file.touch(0o664)
    desk.file.chmod(0o664)
    await desk.write(line("C-1"))
    desk.file.chmod(0o664)
    forged = "\n".join((HEADER, line("C-1", "0.00", paid_at=NOW))) + "\n"
    desk.file.write_text(forged)
    await desk.importer.refresh()
    await desk.write(line("C-1", "0.00"))
    assert desk.billing("C-1").payments
    assert not paid_since(desk.billing("C-1"), 0)


async def test_a_billing_file_of_a_requester_is_no_evidence(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    await desk.write(line("C-1"))
    if os.geteuid() == 0:
        os.chown(desk.file, 4242, -1)
    else:
        monkeypatch.setattr(importing.os, "geteuid", lambda: -1)  # as if the agent ran under another user
    owner = desk.file.stat().st_uid
    for people, author in (({owner: "maria"}, "maria"), ({owner + 1: "maria"}, "")):
        desk.importer = desk.new_importer(desk.file, people)
        await desk.importer.refresh()
        assert desk.fact("C-1").author == author


async def test_the_file_that_is_looked_at_is_the_one_that_is_read(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A requester who may write the folder puts a file of their own in its place, between the two."""
    await desk.write(line("C-1"))
    fstat, forged = os.fstat, desk.file.with_suffix(".forged")
    forged.write_text("\n".join((HEADER, line("C-1", "0.00", paid_at=NOW))) + "\n")

    def swapped(fd: int) -> os.stat_result:
        info = fstat(fd)
        if forged.exists() and info.st_ino == desk.file.stat().st_ino:
            os.replace(forged, desk.file)
        return info

    monkeypatch.setattr(importing.os, "fstat", swapped)
    desk.importer = desk.new_importer(desk.file)
    await desk.importer.refresh()
    assert desk.balance("C-1") == "34.00"


@pytest.mark.parametrize(("kept", "read"), [(NOW, NOW), (DAY, EARLIER), (EARLIER, DAY), (EARLIER, NOW)])
async def test_of_the_same_moment_the_later_read_stands(desk: Desk, kept: str, read: str) -> None:
    await desk.write(line("C-1", as_of=kept))
    await desk.write(line("C-1", "0.00", as_of=read))
    assert desk.balance("C-1") == "0.00"


async def test_an_export_of_the_future_is_not_taken(desk: Desk) -> None:
    future = "2026-01-01T00:05:01Z"
    await desk.write(line("C-1"))
    await desk.write(line("C-1", "99.00", as_of=future), line("C-2", as_of="2026-01-01T00:04:59Z"))
    assert desk.balance("C-1") == "34.00"
    assert desk.importer.doubtful == {"C-1"}
    assert desk.importer.doubt("C-2") == ""
    with pytest.raises(ImportRefusedError, match="as_of lies in the future"):
        await desk.hand_in(line("C-1", as_of=future))


class Keep:
    """Store a fact whatever it says, as an agent did whose clock was wrong."""

    def run(self, tx: Tx) -> None:
        told = parse_untrusted("\n".join((HEADER, line("C-1", as_of="2099-01-01T00:00:00Z"))).encode()).facts["C-1"]
        ledger.write_accounts(tx, [KeptAccount(FILE, told.account, told.read_s)])


async def test_a_kept_fact_of_the_future_owes_and_keeps_out_nothing(desk: Desk) -> None:
    await desk.agent.store.run(Keep())
    shown = present(billing_json(desk.billing("C-1")))
    assert shown["owes"] is False
    await desk.write(line("C-1", "12.00"))
    assert desk.balance("C-1") == "12.00"


async def test_the_state_of_the_file_is_kept(desk: Desk) -> None:
    assert desk.status().state is BillingState.NEVER
    await desk.write(line("C-1"), line("C-2"))
    assert (desk.status().state, desk.status().accounts, desk.status().read_s) == (BillingState.FRESH, 2, WALL_S)
    await desk.write(line("C-1"), line("C-2", "many"))
    assert (desk.status().state, desk.status().detail) == (BillingState.PARTIAL, desk.importer.billing_problem())
    desk.file.write_text(f"{HEADER}\n")
    await desk.importer.refresh()
    assert desk.status().state is BillingState.EMPTY
    desk.file.unlink()
    await desk.importer.refresh()
    assert (desk.status().state, desk.status().read_s) == (BillingState.UNREACHABLE, WALL_S)


async def test_who_asks_while_the_file_is_read_waits_for_its_facts(desk: Desk) -> None:
    await desk.write(line("C-1"))
    desk.file.write_text("\n".join((HEADER, line("C-1", "0.00"))) + "\n")
    seen: list[str] = []

    async def about_to() -> None:
        await desk.importer.refresh()
        seen.append(desk.balance("C-1"))

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(about_to)
    assert seen == ["0.00"] * 5


async def test_a_long_file_is_read_in_a_thread(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of lines take longer than any other task should wait."""
    threads: list[bool] = []
    parse, here = importing.parse_untrusted, threading.get_ident()

    def watched(data: bytes, now_s: float | None = None, zone: tzinfo = UTC) -> importing.Parsed:
        threads.append(threading.get_ident() != here)
        return parse(data, now_s, zone)

    monkeypatch.setattr(importing, "parse_untrusted", watched)
    lines = [line(f"L-{n}") for n in range(1000)]
    done = await desk.importer.run("\n".join([HEADER, *lines]).encode(), "maria", dry_run=False)
    assert (done.answer["rows"], done.answer["added"]) == (1000, 1000)
    await desk.importer.run("\n".join([HEADER, lines[0]]).encode(), "maria", dry_run=False)
    assert threads == [True, False]
