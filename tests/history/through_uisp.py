"""The history through a UISP CRM that keeps the same books."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal

from agent.connectors.uisp_crm import SPEC
from lab.billing.uisp import DRAFT, PAID, PARTLY, UNPAID, VOID, LabInvoice, LabPayment, Uisp
from lab.history import ChangedLives, HeldPayment, HeldStatus, PayerLife, books_at
from tests.builders.web import behind, made
from tests.history.oracle import Told
from tests.history.replay import Operator
from tests.history.through_source import ThroughSource, VirtualClock, ledger_folder

_STATUS = {
    HeldStatus.DRAFT: DRAFT,
    HeldStatus.PROFORMA: UNPAID,
    HeldStatus.UNPAID: UNPAID,
    HeldStatus.PARTLY: PARTLY,
    HeldStatus.PAID: PAID,
    HeldStatus.VOID: VOID,
    HeldStatus.UNCOLLECTIBLE: PARTLY,
}


TOLD = Told(pending=False, times=True)
"""The times of all payments; a CRM knows no payments that are pending."""


class UispOfLives:
    """A CRM whose books are those of the lives at a moment. Promises are none of its documents."""

    def __init__(self, zone: str, lives: Sequence[PayerLife]) -> None:
        """Add a client for each life."""
        self.crm = Uisp(zone)
        self._lives = ChangedLives(lives)
        self._clients = {
            life.subscriber: self.crm.add_client(life.subscriber, currency=life.currency, stop_days=life.own_grace_days)
            for life in lives
        }
        self._postponed = sorted((span.from_s, life.subscriber) for life in lives for span in life.postponements)
        invoices = sorted((i.made_s, i.number) for life in lives for i in life.invoices)
        self._invoice_ids = {number: 10_000_000 + n for n, (_, number) in enumerate(invoices)}
        payments = sorted((p.counts_from_s, p.id) for life in lives for p in life.payments)
        self._payment_ids = {ident: 20_000_000 + n for n, (_, ident) in enumerate(payments)}

    def go_to(self, at_s: float) -> None:
        """Have the books of a moment."""
        for life in self._lives.go_to(at_s):
            client, books = self._clients[life.subscriber], books_at(life, at_s)
            for invoice in life.invoices:
                self.crm.invoices.pop(self._invoice_ids[invoice.number], None)
            for payment in life.payments:
                self.crm.payments.pop(self._payment_ids[payment.id], None)
            client.stop_due = False if books.exempt else None
            client.credit_notes = sum((note.free for note in books.credit_notes), Decimal(0))
            for held in books.invoices:
                number = self._invoice_ids[held.number]
                self.crm.invoices[number] = LabInvoice(
                    number,
                    client.id,
                    held.number,
                    held.amount,
                    held.due,
                    datetime.fromtimestamp(held.made_s, UTC),
                    held.amount - held.unpaid,
                    _STATUS[held.status],
                    proforma=held.status is HeldStatus.PROFORMA,
                    uncollectible=held.status is HeldStatus.UNCOLLECTIBLE,
                    currency=life.currency,
                )
            for paid in books.payments:
                if paid.past.counts_from_s <= at_s:
                    self._pay(client.id, paid)

    def _pay(self, client: int, held: HeldPayment) -> None:
        ident = self._payment_ids[held.past.id]
        self.crm.payments[ident] = LabPayment(
            ident,
            client,
            held.past.worth,
            datetime.fromtimestamp(held.past.paid_s, UTC),
            {self._invoice_ids[number]: amount for number, amount in held.by_invoice.items()},
            held.past.worth if held.state == "reversed" else Decimal(0),
            currency=held.past.currency,
        )

    def postponed(self, from_s: float, to_s: float) -> list[tuple[float, str]]:
        """Return the postponements of a time, and the keys of their events."""
        found = []
        for at_s, subscriber in self._postponed:
            if from_s < at_s <= to_s:
                service = self._clients[subscriber].id + 1_000_000
                event = self.crm.event("postpone", "service", service, "service.postpone")
                found.append((at_s, f"postponed/{event['uuid']}"))
        return found


@asynccontextmanager
async def through_uisp(operator: Operator, lives: Sequence[PayerLife]) -> AsyncIterator[ThroughSource]:
    """Run the CRM with a connector to it."""
    zone = operator.billing_zone.key
    system = UispOfLives(zone, lives)
    clock = VirtualClock()
    async with behind(system.crm) as server, ledger_folder() as folder:
        table = {"url": f"{server.url}/crm/api/v1.0", "secret": "billing/uisp", "hook": True}
        connector = made(SPEC, table, {"billing/uisp": b"lab-app-key"}, clock=clock)
        target = "uisp-crm/main"
        through = ThroughSource(operator, folder, clock, connector, target, system.go_to, TOLD)
        heard_s = 0.0

        async def hear(until_s: float) -> None:
            nonlocal heard_s
            for at_s, key in system.postponed(heard_s, until_s):
                clock.now_s = at_s  # the books may be older: only the event and whose service it is are kept
                await connector.some_accounts(target, {key})
            heard_s = until_s

        through.before = hear
        yield through
