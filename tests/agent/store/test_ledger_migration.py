"""Billing facts of an older database become accounts and payments that decide the same, and never a day earlier."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import date
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from agent.inventory import ledger
from agent.inventory.billing import BillingReader
from agent.inventory.facts import BillingTerms, NotOwing, debt, paid_since
from agent.inventory.ledger import BY_HAND, FILE
from agent.inventory.subscribers_csv import COLUMNS, parse_untrusted
from agent.store import schema
from agent.store.db import Store
from tests.builders.expect import present
from tests.builders.facts import at
from tests.builders.store import open_store

BEFORE = 17
"""The version that had facts."""
READ_S = int(at("2026-10-15T09:10:00Z"))
AS_OF = "2026-10-15T09:00:00Z"
FACTS = [
    # subscriber, balance, due, paid_at, as_of, source, author
    ("C-1", "34.00", "2026-10-03", "2026-10-04T10:00:00Z", AS_OF, "billing", ""),
    ("C-2", "34.00", "2026-10-15T00:00:00+0200", "", AS_OF, "billing", ""),
    ("C-3", "34.00", "2026-10-14T22:00:00Z", "", "2026-10-15T11:00:00+0200", "billing", ""),
    ("C-4", "-5", "2026-10-03", "2026-10-14", AS_OF, "billing", ""),
    ("C-5", "0.00", "", "2026-10-15", "2026-10-15", "import", "maria"),
    ("C-6", "12.5", "", "", "2026-10-15T09:00:00.25+02:00", "", ""),
    ("C-7", "12.5", "2026-10-03", "", "2026-10-15T09:00:00+02", "billing", ""),  # SQLite reads no such offset
]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(sqlite3.connect(tmp_path / "agent.db")) as con:
        for script in schema.MIGRATIONS[:BEFORE]:
            con.executescript(script)
        rows = [(*fact[:5], READ_S, *fact[5:]) for fact in FACTS]
        con.executemany(
            "INSERT INTO fact (subscriber, balance, due, paid_at, as_of, read_s, source, author)"
            " VALUES (?,?,?,?,?,?,?,?)",
            rows,
        )
        con.execute(f"PRAGMA user_version = {BEFORE}")
        con.commit()
    opened = open_store(tmp_path)
    yield opened
    opened.close()


def test_each_fact_is_an_account_of_its_source(store: Store) -> None:
    assert store.query("SELECT name FROM sqlite_master WHERE name = 'fact'") == []
    of_file, by_hand = (ledger.by_subscriber(store.query, source) for source in (FILE, BY_HAND))
    assert (of_file.keys(), by_hand.keys()) == ({"C-1", "C-2", "C-3", "C-4"}, {"C-5", "C-6"})
    account = of_file["C-1"].account
    assert (account.balance, account.oldest_due(), account.as_of_s) == (Decimal("34.00"), date(2026, 10, 3), at(AS_OF))
    assert of_file["C-1"].read_s == of_file["C-3"].read_s == at(AS_OF)
    assert by_hand["C-5"].author == "maria"
    assert by_hand["C-5"].read_s == READ_S, "a day alone may have been its last moment, but it was read then"
    assert by_hand["C-6"].account.invoices[0].due is None
    assert of_file["C-4"].account.invoices == ()


@pytest.mark.parametrize(("subscriber", "due"), [("C-2", date(2026, 10, 15)), ("C-3", date(2026, 10, 15))])
def test_a_due_day_with_an_offset_is_never_an_earlier_day(store: Store, subscriber: str, due: date) -> None:
    """The zone of the billing system is not known to the migration: of the days that it can be the last one counts."""
    kept = present(ledger.account_of(store.query, FILE, subscriber))
    assert kept.account.oldest_due() == due
    cairo = BillingReader(BillingTerms(zone=ZoneInfo("Africa/Cairo"), max_age_s=86_400))
    assert isinstance(debt(cairo.of(store.query, subscriber, at("2026-10-15T20:59:00Z"))), NotOwing)
    assert debt(cairo.of(store.query, subscriber, at("2026-10-15T21:00:00Z"))) == 34


def test_a_payment_was_heard_of_when_it_was_made_and_is_no_news(store: Store) -> None:
    (paid,) = ledger.payments_of(store.query, "C-4")
    assert (paid.payment.id, paid.payment.paid.day, paid.source) == ("C-4 2026-10-14", date(2026, 10, 14), FILE)
    known = BillingReader(BillingTerms(max_age_s=86_400)).of(store.query, "C-4", READ_S + 60)
    assert not paid_since(known, at("2026-10-14T00:00:00Z")), "it may have been made before that suspension"
    assert paid_since(known, at("2026-10-13T00:00:00Z")), "as before: it was made after that suspension"


async def test_the_same_payment_in_the_file_afterwards_is_no_news(store: Store) -> None:
    line = "C-4,A,home,a,pppoe,20M,,0,-5,2026-10-03,2026-10-14,2026-10-15T09:30:00Z"
    parsed = parse_untrusted(f"{','.join(COLUMNS)}\n{line}\n".encode())
    told = present(parsed.facts["C-4"].payment)
    await store.run(ledger.RecordPayments(FILE, [told]))
    (paid,) = ledger.payments_of(store.query, "C-4")
    assert paid.settled_s < at("2026-10-14T00:00:00Z")
    assert paid.payment == told, "its day is one of a known zone now"
