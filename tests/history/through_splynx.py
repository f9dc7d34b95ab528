"""The history through a Splynx that keeps the same books, as far as it has such documents."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from decimal import Decimal

from agent.connectors.splynx import SPEC
from lab.billing.splynx import LabBill, LabReceipt, Splynx
from lab.history import ASKING, ChangedLives, HeldStatus, PayerLife, books_at
from tests.builders.web import behind, made
from tests.history.oracle import Told
from tests.history.replay import Operator
from tests.history.through_source import ThroughSource, VirtualClock, ledger_folder

_NOT_LISTED = frozenset({HeldStatus.DRAFT, HeldStatus.PROFORMA, HeldStatus.UNCOLLECTIBLE, HeldStatus.VOID})
"""Splynx has other lists for the first two; the others are deleted there."""


class SplynxOfLives:
    """A Splynx whose books are those of the lives at a moment. A payment that was taken back is deleted there."""

    def __init__(self, lives: Sequence[PayerLife]) -> None:
        """Add a customer for each life."""
        self.system = Splynx()
        self._lives = ChangedLives(lives)
        self._customers = {
            life.subscriber: self.system.add_customer(life.subscriber, blocking_period=life.own_grace_days or 0)
            for life in lives
        }
        invoices = sorted((i.made_s, i.number) for life in lives for i in life.invoices)
        self._bills = {number: 10_000_000 + n for n, (_, number) in enumerate(invoices)}
        payments = sorted((p.counts_from_s, p.id) for life in lives for p in life.payments)
        self._receipts = {ident: 20_000_000 + n for n, (_, ident) in enumerate(payments)}

    def go_to(self, at_s: float) -> None:
        """Have the books of a moment."""
        for life in self._lives.go_to(at_s):
            customer, books = self._customers[life.subscriber], books_at(life, at_s)
            for invoice in life.invoices:
                self.system.bills.pop(self._bills[invoice.number], None)
            for payment in life.payments:
                self.system.receipts.pop(self._receipts[payment.id], None)
            customer.enabled = not books.exempt
            customer.deposit = -books.balance
            for held in books.invoices:
                if held.status not in _NOT_LISTED:
                    number, asks = self._bills[held.number], held.status in ASKING
                    status = "not_paid" if asks else "paid"
                    unpaid = held.unpaid if asks else Decimal(0)
                    self.system.bills[number] = LabBill(number, customer.id, held.amount, unpaid, held.due, status)
            for paid in books.payments:
                if paid.state == "settled":
                    number = self._receipts[paid.past.id]
                    day = datetime.fromtimestamp(paid.past.paid_s, life.zone).date()
                    covers = {self._bills[held_on]: amount for held_on, amount in paid.by_invoice.items()}
                    self.system.receipts[number] = LabReceipt(
                        number, customer.id, paid.past.worth, day, f"{day}-{number}", covers
                    )


@asynccontextmanager
async def through_splynx(operator: Operator, lives: Sequence[PayerLife]) -> AsyncIterator[ThroughSource]:
    """Run the Splynx with a connector to it."""
    system = SplynxOfLives(lives)
    told = Told(pending=False, times=False, holds_by_day=True)
    clock = VirtualClock()
    async with behind(system.system) as server, ledger_folder() as folder:
        table = {
            "url": f"{server.url}/api/2.0",
            "key": "labkey0123456789",
            "secret": "billing/splynx",
            "currency": "USD",
            "timezone": operator.billing_zone.key,
        }
        connector = made(SPEC, table, {"billing/splynx": b"lab-api-secret"}, clock=clock)
        yield ThroughSource(operator, folder, clock, connector, "splynx/main", system.go_to, told)
