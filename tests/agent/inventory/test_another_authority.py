"""Subscribers move to another billing system: from then on its accounts decide, and payments of both count."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from agent.billing_model.account import Account, OpenInvoice, Payment, PaymentState
from agent.billing_model.days import when_untrusted
from agent.billing_model.errors import BillingState
from agent.inventory import book
from agent.inventory.billing import BillingReader
from agent.inventory.book import OWES
from agent.inventory.facts import Billing, BillingTerms, NotOwing, debt, fact_address, paid_since
from agent.inventory.ledger import RecordPayments, RecordReading, SourceStatus
from agent.model import Item, Requirement
from agent.store.db import Store, Tx
from tests.builders.store import TRANSITIONS, WALL_S

HOUR_S = 3600.0
OLD, NEW = "uisp", "splynx"
OWING = Account("7", "C-1", "KES", Decimal(34), (OpenInvoice("F-1", date(2025, 12, 3), Decimal(34)),), WALL_S)
EVEN = replace(OWING, key="70", balance=Decimal(0), invoices=())


def paid(at_s: float, ident: str) -> Payment:
    when = when_untrusted(datetime.fromtimestamp(at_s, UTC).isoformat(), UTC)
    return Payment(ident, "7", "C-1", Decimal(34), "KES", when, PaymentState.SETTLED)


class Office:
    """A ledger that knows a subscriber of the former system, and terms by which the later one decides."""

    def __init__(self, folder: Path) -> None:
        self.now_s = WALL_S
        self.store = Store(folder, TRANSITIONS, lambda: self.now_s)
        self.reader = BillingReader(BillingTerms(NEW))

    async def read(self, source: str, *told: Account) -> None:
        status = SourceStatus(source, BillingState.FRESH, "", self.now_s, self.now_s, self.now_s, len(told), 0)
        await self.store.run(RecordReading(source, [replace(one, as_of_s=self.now_s) for one in told], status))

    async def pay(self, source: str, *told: Payment) -> None:
        await self.store.run(RecordPayments(source, told))

    def billing(self) -> Billing:
        one = self.reader.of(self.store.query, "C-1", self.now_s)
        many = self.reader.of_many(self.store.query, ["C-1", *(f"X-{n}" for n in range(30))], self.now_s)["C-1"]
        assert debt(one) == debt(many)
        return one


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    office = Office(tmp_path)
    yield office
    office.store.close()


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [(OWING, EVEN, "paid"), (EVEN, OWING, ""), (OWING, OWING, ""), (OWING, None, "no-billing-data")],
)
async def test_the_later_system_decides_alone(office: Office, old: Account, new: Account | None, code: str) -> None:
    await office.read(OLD, old)
    await office.read(NEW, *filter(None, [new]))
    found = debt(office.billing())
    assert (found.code.value if isinstance(found, NotOwing) else "") == code


async def test_nobody_is_cut_off_before_the_later_system_was_read(office: Office) -> None:
    await office.read(OLD, OWING)
    found = debt(office.billing())
    assert isinstance(found, NotOwing)
    assert (found.code.value, found.blocked) == ("billing-in-doubt", True)
    assert "splynx is never" in found.why


@pytest.mark.parametrize(("new", "says"), [(EVEN, "no longer owes"), (None, "its billing data is gone"), (OWING, None)])
async def test_a_plan_of_before_is_tested_by_the_later_system(
    office: Office, new: Account | None, says: str | None
) -> None:
    """The preview was by the former one; what is read before its first byte is by the later one."""
    await office.read(OLD, OWING)
    await office.read(NEW, *filter(None, [new]))
    test = book.requirement_tests(office.reader)[OWES]

    class Ask:
        """Tests a requirement in a transaction."""

        def run(self, tx: Tx) -> book.Broken | None:
            required = Requirement(fact_address(OLD, "C-1"), OWES, "owes")
            return test(tx, Item(0, "C-1/home", (), "", "", (), ()), required, False)

    broken = await office.store.run(Ask())
    assert (broken is None) is (says is None)
    assert says is None or (broken is not None and broken.why.startswith(says))


@pytest.mark.parametrize(
    ("source", "hours", "back"),
    [
        (OLD, 1.0, True),  # paid after the cut, and the former system told it
        (NEW, 1.0, True),  # the same, and the later one told it with its first reading
        (NEW, -1.0, False),  # an old payment that came along: the cut knew it
    ],
)
async def test_who_paid_before_the_move_comes_back_after_it(
    office: Office, source: str, hours: float, back: bool
) -> None:
    await office.read(OLD, OWING)
    await office.pay(OLD)
    cut_s = office.now_s
    office.now_s += 2 * HOUR_S
    told = paid(cut_s + hours * HOUR_S, "p-1")
    if source == OLD:
        await office.pay(OLD, told)
    office.now_s += HOUR_S
    await office.read(NEW, EVEN)
    await office.pay(NEW, *([told] if source == NEW else []))
    assert paid_since(office.billing(), cut_s) is back
