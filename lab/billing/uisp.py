"""The books of a UISP CRM, and its API as Ubiquiti's blueprint describes it. No I/O.

Amounts are floats in JSON, as in the original. Payments go to the oldest unpaid invoices unless they are unattached;
the rest of them, and of credit notes, is credit.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from lab.billing.server import WebReply, WebRequest

DRAFT, UNPAID, PARTLY, PAID, VOID, PROCESSED = range(6)
PREFIX = "/crm/api/v1.0"
T = TypeVar("T")


@dataclass
class LabInvoice:
    """An invoice; `paid` of `total`."""

    id: int
    client: int
    number: str
    total: Decimal
    due: date
    created: datetime
    paid: Decimal = Decimal(0)
    status: int = UNPAID
    proforma: bool = False
    uncollectible: bool = False
    currency: str = "USD"

    @property
    def to_pay(self) -> Decimal:
        """The unpaid part."""
        return Decimal(0) if self.status in (PAID, VOID, PROCESSED) else self.total - self.paid


@dataclass
class LabPayment:
    """A payment; `covers`: amounts by invoice. `refunded`: given back."""

    id: int
    client: int | None
    amount: Decimal
    created: datetime
    covers: dict[int, Decimal] = field(default_factory=dict)
    refunded: Decimal = Decimal(0)
    provider_id: str = ""
    note: str = ""
    currency: str = "USD"

    @property
    def credit(self) -> Decimal:
        """The part that covers nothing."""
        return self.amount - sum(self.covers.values(), Decimal(0)) - self.refunded


@dataclass
class LabClient:
    """A client. `stop_due`, `stop_days` None: the options count."""

    id: int
    ident: str
    stop_due: bool | None = None
    stop_days: int | None = None
    lead: bool = False
    archived: bool = False
    currency: str = "USD"
    attributes: dict[str, str] = field(default_factory=dict)
    credit_notes: Decimal = Decimal(0)


class Uisp:
    """A CRM. `most`: rows that its server gives at once, whatever is asked for; 0: no limit of its own."""

    def __init__(self, zone: str = "Europe/Amsterdam", key: str = "lab-app-key", most: int = 0) -> None:
        self.zone = ZoneInfo(zone)
        self.key, self.most = key, most
        self.clients: dict[int, LabClient] = {}
        self.invoices: dict[int, LabInvoice] = {}
        self.payments: dict[int, LabPayment] = {}
        self.services: dict[int, int] = {}
        """Clients of services, by the service's id."""
        self.events: dict[str, dict[str, Any]] = {}
        self.options: dict[str, Any] = {
            "appTimezone": zone,
            "suspendEnabled": True,
            "stopServiceDue": True,
            "stopServiceDueDays": 0,
            "suspensionEnablePostpone": True,
            "suspensionMinimumUnpaidAmount": 0.0,
        }
        self._ids = 0

    # --- the books ---

    def _id(self) -> int:
        self._ids += 1
        return self._ids

    def add_client(self, ident: str, **given: Any) -> LabClient:
        """Add a client with one service."""
        client = LabClient(self._id(), ident, **given)
        self.clients[client.id] = client
        self.services[client.id + 1_000_000] = client.id
        return client

    def add_invoice(self, client: int, total: str, due: date, now: datetime, **given: Any) -> LabInvoice:
        """Issue an invoice."""
        number = self._id()
        given.setdefault("currency", self.clients[client].currency)
        invoice = LabInvoice(number, client, f"{now:%Y}{number:07}", Decimal(total), due, now, **given)
        self.invoices[number] = invoice
        return invoice

    def pay(self, client: int | None, amount: str, now: datetime, *, attach: bool = True, **given: Any) -> LabPayment:
        """Take a payment."""
        payment = LabPayment(self._id(), client, Decimal(amount), now, **given)
        self.payments[payment.id] = payment
        if attach and client is not None:
            self.attach(payment)
        return payment

    def attach(self, payment: LabPayment) -> None:
        """Let a payment cover the oldest unpaid invoices."""
        mine = [i for i in self.invoices.values() if i.client == payment.client and i.status in (UNPAID, PARTLY)]
        for invoice in sorted(mine, key=lambda i: (i.due, i.id)):
            part = min(payment.credit, invoice.to_pay)
            if part <= 0 or invoice.proforma:
                continue
            payment.covers[invoice.id] = payment.covers.get(invoice.id, Decimal(0)) + part
            self._cover(invoice, part)

    def _cover(self, invoice: LabInvoice, part: Decimal) -> None:
        invoice.paid += part
        invoice.status = PAID if invoice.paid >= invoice.total else PARTLY if invoice.paid > 0 else UNPAID

    def delete_payment(self, payment: int) -> None:
        """Delete a payment: the invoices that it covered are unpaid again."""
        for invoice, part in self.payments.pop(payment).covers.items():
            self._cover(self.invoices[invoice], -part)

    def event(self, change: str, entity: str, entity_id: int | None, name: str) -> dict[str, Any]:
        """Record an event; return the body of its webhook."""
        key = str(uuid.UUID(int=len(self.events) + (4 << 76) + (8 << 60)))
        self.events[key] = {"uuid": key, "changeType": change, "entity": entity, "entityId": entity_id}
        return {**self.events[key], "eventName": name, "extraData": {}}

    def balance(self, client: int) -> tuple[Decimal, Decimal]:
        """Return the outstanding amount and the credit."""
        mine = [i for i in self.invoices.values() if i.client == client]
        outstanding = sum((i.to_pay for i in mine if i.status != DRAFT and not i.proforma), Decimal(0))
        credit = sum((p.credit for p in self.payments.values() if p.client == client), Decimal(0))
        return outstanding, credit + self.clients[client].credit_notes

    # --- the API ---

    def answer(self, request: WebRequest) -> WebReply:
        """Return the answer to a request."""
        if request.headers.get("x-auth-app-key") != self.key:
            return WebReply(401, {"code": 401, "message": "Unauthorized"})
        if request.method != "GET":
            return WebReply(403, {"code": 403, "message": "Forbidden"})
        if not request.path.startswith(PREFIX + "/"):
            return WebReply(404, {"code": 404, "message": "Not found"})
        match request.path.removeprefix(PREFIX + "/").split("/"):
            case ["version"]:
                return WebReply(200, {"version": "4.4.0"})
            case ["options"]:
                return WebReply(200, self.options)
            case ["clients"]:
                page = _page(request, self.clients.values(), {"client.id": "id"}, "id", self.most)
                balances = self._balances()
                return WebReply(200, [self._client(c.id, *balances[c.id]) for c in page])
            case ["clients", "services", number]:
                owner = self.services.get(_number(number))
                return _or_404(None if owner is None else {"id": _number(number), "clientId": owner})
            case ["clients", number]:
                client = self.clients.get(_number(number))
                return _or_404(None if client is None else self._client(client.id, *self.balance(client.id)))
            case ["invoices"]:
                found = _page(request, self._invoices(request), {"number": "number"}, "created", self.most)
                return WebReply(200, [self._invoice(i) for i in found])
            case ["invoices", number]:
                invoice = self.invoices.get(_number(number))
                return _or_404(None if invoice is None else self._invoice(invoice))
            case ["payments"]:
                paid = _page(request, self.payments.values(), {"id": "id"}, "created", self.most)
                return WebReply(200, [self._payment(p) for p in paid])
            case ["payments", number]:
                payment = self.payments.get(_number(number))
                return _or_404(None if payment is None else self._payment(payment))
            case ["webhook-events", key]:
                return _or_404(self.events.get(key))
        return WebReply(404, {"code": 404, "message": "Not found"})

    def _balances(self) -> dict[int, tuple[Decimal, Decimal]]:
        """Return the same as `balance`, of everybody in one walk."""
        found = {c.id: (Decimal(0), c.credit_notes) for c in self.clients.values()}
        for i in self.invoices.values():
            if i.status != DRAFT and not i.proforma and i.client in found:
                found[i.client] = found[i.client][0] + i.to_pay, found[i.client][1]
        for p in self.payments.values():
            if p.client in found:
                found[p.client] = found[p.client][0], found[p.client][1] + p.credit
        return found

    def _invoices(self, request: WebRequest) -> list[LabInvoice]:
        only, statuses = request.one("clientId"), request.every("statuses[]")
        return [
            i
            for i in self.invoices.values()
            if (not only or i.client == int(only)) and (not statuses or str(i.status) in statuses)
        ]

    def _at(self, moment: datetime) -> str:
        return moment.astimezone(self.zone).strftime("%Y-%m-%dT%H:%M:%S%z")

    def _midnight(self, day: date) -> str:
        return datetime.combine(day, time.min, self.zone).strftime("%Y-%m-%dT%H:%M:%S%z")

    def _client(self, number: int, outstanding: Decimal, credit: Decimal) -> dict[str, Any]:
        c = self.clients[number]
        return {
            "id": c.id,
            "userIdent": c.ident or None,
            "isLead": c.lead,
            "isArchived": c.archived,
            "firstName": f"First {c.id}",
            "lastName": f"Last {c.id}",
            "fullAddress": f"{c.id} Orchard Pkwy, San Jose, CA, United States of America",
            "note": "",
            "stopServiceDue": c.stop_due,
            "stopServiceDueDays": c.stop_days,
            "accountBalance": float(credit - outstanding),
            "accountCredit": float(credit),
            "accountOutstanding": float(outstanding),
            "currencyCode": c.currency,
            "contacts": [{"id": c.id, "clientId": c.id, "email": f"c{c.id}@example.com", "phone": "", "types": []}],
            "attributes": [
                {"id": place, "clientId": c.id, "key": key, "name": key, "value": value}
                for place, (key, value) in enumerate(c.attributes.items())
            ],
        }

    def _invoice(self, i: LabInvoice) -> dict[str, Any]:
        return {
            "id": i.id,
            "clientId": i.client,
            "number": i.number if i.status != DRAFT else None,
            "createdDate": self._at(i.created),
            "dueDate": self._midnight(i.due),
            "clientFirstName": f"First {i.client}",
            "clientLastName": f"Last {i.client}",
            "items": [{"id": i.id, "label": "Internet", "price": float(i.total), "quantity": 1}],
            "total": float(i.total),
            "amountPaid": float(i.paid),
            "amountToPay": float(i.to_pay),
            "currencyCode": i.currency,
            "status": i.status,
            "proforma": i.proforma,
            "uncollectible": i.uncollectible,
            "paymentCovers": [],
        }

    def _payment(self, p: LabPayment) -> dict[str, Any]:
        covers = [{"invoiceId": i, "refundId": None, "amount": float(a)} for i, a in p.covers.items()]
        if p.refunded:
            covers.append({"invoiceId": None, "refundId": 1, "amount": float(p.refunded)})
        return {
            "id": p.id,
            "clientId": p.client,
            "methodId": "6efe0fa8-36b2-4dd1-b049-427bffc7d369",
            "checkNumber": None,
            "createdDate": self._at(p.created),
            "amount": float(p.amount),
            "currencyCode": p.currency,
            "note": p.note,
            "providerName": "lab" if p.provider_id else None,
            "providerPaymentId": p.provider_id or None,
            "creditAmount": float(p.credit),
            "paymentCovers": covers,
        }


def _page(request: WebRequest, rows: Iterable[T], orders: dict[str, str], default: str, most: int) -> list[T]:
    """Return the rows that a request asks for. Rows that are equal in the order come as they like."""
    key = orders.get(request.one("order"), default)
    ordered = sorted(rows, key=lambda row: getattr(row, key), reverse=request.one("direction") == "DESC")
    limit, offset = int(request.one("limit", "0")) or len(ordered), int(request.one("offset", "0"))
    return ordered[offset : offset + min(limit, most or limit)]


def _number(text: str) -> int:
    return int(text) if text.isdecimal() else -1


def _or_404(found: Any) -> WebReply:
    return WebReply(404, {"code": 404, "message": "Not found"}) if found is None else WebReply(200, found)
