"""The history through the billing file: the text of each export is read as the agent reads it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import trio

from agent.billing_model.account import PaymentState
from agent.inventory.facts import Billing
from agent.inventory.ledger import BY_SOURCE, FILE, KeptAccount, KeptPayment
from agent.inventory.subscribers_csv import SubscriberRow, parse_untrusted
from agent.model import Service, SuspensionReason
from lab.export_csv import csv_of, says_day_only
from lab.history import PayerLife
from tests.history.oracle import Told, day_begins
from tests.history.replay import Operator


class ThroughCsv:
    """A billing file that is exported at each moment."""

    told = Told(pending=False, own_grace=False, holds_by_day=True, together=True, reversals=False, latest_only=True)
    source = FILE

    def __init__(self, operator: Operator, lives: Sequence[PayerLife]) -> None:
        """Export nothing yet."""
        self._operator = operator
        self._lives = lives
        self.terms = operator.terms(FILE)
        self._rows: dict[str, SubscriberRow] = {}
        self._payments: dict[str, dict[str, KeptPayment]] = {}
        self._began_s = 0.0

    async def read(self, books_s: float, _polled_s: float, now_s: float) -> None:
        """Export, and read it.

        Raises:
            AssertionError: a line of the export was refused.
        """
        await trio.lowlevel.checkpoint()
        parsed = parse_untrusted(csv_of(self._lives, books_s), now_s, self._operator.billing_zone)
        assert not parsed.problems, parsed.problems[:3]
        self._began_s = self._began_s or books_s
        self._rows = {row.service.subscriber: row for row in parsed.rows}
        for name, told in parsed.facts.items():
            if told.payment is not None:
                known = self._payments.setdefault(name, {})
                last_s = told.payment.paid.last_s
                heard_s = last_s if last_s < self._began_s else books_s
                settled = told.payment.state is PaymentState.SETTLED
                one = KeptPayment(FILE, told.payment, heard_s, heard_s if settled else 0.0, name, BY_SOURCE)
                known.setdefault(told.payment.id, one)

    def surely_s(self, life: PayerLife, books_s: float) -> float:
        """Return the moment of the export, or the beginning of its day where it says no time."""
        return day_begins(books_s, self._operator.billing_zone) if says_day_only(life) else books_s

    def service(self, life: PayerLife, reasons: frozenset[SuspensionReason]) -> Service:
        """Return the service as the line has it; the list was imported once, so that promises come by the export."""
        return replace(self._rows[life.subscriber].service, reasons=reasons, extra=None)

    def billing(self, life: PayerLife, now_s: float) -> Billing:
        """Return what the file says."""
        told = self._rows[life.subscriber].fact
        kept = None if told is None else KeptAccount(FILE, told.account, told.read_s)
        payments = self._payments.get(life.subscriber, {})
        return Billing(kept, tuple(payments.values()), self.terms, now_s)


@asynccontextmanager
async def through_csv(operator: Operator, lives: Sequence[PayerLife]) -> AsyncIterator[ThroughCsv]:
    """Open the source."""
    await trio.lowlevel.checkpoint()
    yield ThroughCsv(operator, lives)
