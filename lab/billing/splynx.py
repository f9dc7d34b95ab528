"""The books of a Splynx, and its API 2.0 as its description has it. No I/O.

Numbers are texts, as in the original. A nonce that is not above the last one is refused, and so is a second request
while one is under way, since its nonce might arrive first.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any

from lab.billing.server import WebReply, WebRequest

PREFIX = "/api/2.0/admin/"
_AUTHORIZATION = re.compile(r"Splynx-EA \(key=(\w+)&nonce=(\d+)&signature=([0-9A-F]{64})\)")


@dataclass
class LabCustomer:
    """A customer; `deposit` above zero is credit."""

    id: int
    login: str
    status: str = "active"
    deposit: Decimal = Decimal(0)
    enabled: bool = True
    blocking_period: int = 0
    min_balance: Decimal = Decimal(0)
    deleted: bool = False
    extra: dict[str, str] = field(default_factory=dict)


@dataclass
class LabBill:
    """An invoice; `due` is unpaid."""

    id: int
    customer: int
    total: Decimal
    due: Decimal
    till: date
    status: str = "not_paid"


@dataclass
class LabReceipt:
    """A payment, of a day. `bills`: amounts by invoice."""

    id: int
    customer: int
    amount: Decimal
    day: date
    receipt: str
    bills: dict[int, Decimal] = field(default_factory=dict)


class Splynx:
    """A Splynx. `most`: rows that its server gives at once, whatever is asked for; 0: no limit of its own."""

    def __init__(self, key: str = "labkey0123456789", secret: bytes = b"lab-api-secret", most: int = 0) -> None:
        self.key, self.secret, self.most = key, secret, most
        self.customers: dict[int, LabCustomer] = {}
        self.bills: dict[int, LabBill] = {}
        self.receipts: dict[int, LabReceipt] = {}
        self.last_nonce = 0
        self._ids = 0

    # --- the books ---

    def _id(self) -> int:
        self._ids += 1
        return self._ids

    def add_customer(self, login: str, **given: Any) -> LabCustomer:
        """Add a customer."""
        customer = LabCustomer(self._id(), login, **given)
        self.customers[customer.id] = customer
        return customer

    def bill(self, customer: int, total: str, till: date, **given: Any) -> LabBill:
        """Issue an invoice: the deposit goes down by it."""
        made = LabBill(self._id(), customer, Decimal(total), Decimal(total), till, **given)
        self.bills[made.id] = made
        self.customers[customer].deposit -= made.total
        return made

    def pay(self, customer: int, amount: str, day: date, receipt: str = "") -> LabReceipt:
        """Take a payment: the deposit goes up by it, and it pays the oldest invoices."""
        made = LabReceipt(self._id(), customer, Decimal(amount), day, receipt)
        made.receipt = receipt or f"{day.isoformat()}-{made.id}"
        self.receipts[made.id] = made
        self.customers[customer].deposit += made.amount
        left = made.amount
        mine = [b for b in self.bills.values() if b.customer == customer and b.status == "not_paid"]
        for bill in sorted(mine, key=lambda b: (b.till, b.id)):
            part = min(left, bill.due)
            if part > 0:
                bill.due, left = bill.due - part, left - part
                made.bills[bill.id] = part
                bill.status = "not_paid" if bill.due else "paid"
        return made

    def delete_payment(self, number: int) -> None:
        """Delete a payment: its invoices are unpaid again."""
        receipt = self.receipts.pop(number)
        self.customers[receipt.customer].deposit -= receipt.amount
        for bill, part in receipt.bills.items():
            self.bills[bill].due += part
            self.bills[bill].status = "not_paid"

    def hook(self, secret: bytes, event: str, model: str, attributes: dict[str, Any]) -> tuple[bytes, str]:
        """Return the body of a webhook and its signature."""
        body = json.dumps(
            {"type": "event", "data": {"event": event, "model": model, "attributes": attributes}}
        ).encode()
        return body, hmac.new(secret, body, hashlib.sha1).hexdigest()

    # --- the API ---

    def answer(self, request: WebRequest) -> WebReply:
        """Return the answer to a request."""
        if not self._proven(request):
            return WebReply(401, {"error": {"message": "Unauthorized", "code": 401, "internal_code": "UNAUTHORIZED"}})
        if request.method != "GET":
            return WebReply(403, {"error": {"message": "Forbidden", "code": 403, "internal_code": "FORBIDDEN"}})
        match request.path.removeprefix(PREFIX).split("/"):
            case ["customers", "customer"]:
                return WebReply(200, [_customer(c) for c in self._page(request, list(self.customers.values()))])
            case ["customers", "customer", number]:
                customer = self.customers.get(_number(number))
                return _or_404(None if customer is None else _customer(customer))
            case ["customers", "customer-billing", number]:
                customer = self.customers.get(_number(number))
                return _or_404(None if customer is None else _billing(customer))
            case ["finance", "invoices"]:
                only, status = request.one("main_attributes[customer_id]"), request.one("main_attributes[status]")
                bills = [
                    b
                    for b in self.bills.values()
                    if (not only or b.customer == int(only)) and (not status or b.status == status)
                ]
                return WebReply(200, [_bill(b) for b in self._page(request, bills)])
            case ["finance", "payments"]:
                return WebReply(200, [_receipt(r) for r in self._page(request, list(self.receipts.values()))])
            case ["finance", "payments", number]:
                receipt = self.receipts.get(_number(number))
                return _or_404(None if receipt is None else _receipt(receipt))
        return _or_404(None)

    def _proven(self, request: WebRequest) -> bool:
        found = _AUTHORIZATION.fullmatch(request.headers.get("authorization", ""))
        if found is None or found[1] != self.key:
            return False
        signature = hmac.new(self.secret, f"{found[2]}{found[1]}".encode(), hashlib.sha256).hexdigest().upper()
        nonce = int(found[2])
        if not hmac.compare_digest(signature, found[3]) or nonce <= self.last_nonce:
            return False
        self.last_nonce = nonce
        return True

    def _page(self, request: WebRequest, rows: list[Any]) -> list[Any]:
        rows.sort(key=lambda row: row.id, reverse=request.one("order[id]") == "DESC")
        limit, offset = int(request.one("limit", "0")) or len(rows), int(request.one("offset", "0"))
        return rows[offset : offset + min(limit, self.most or limit)]


def _customer(c: LabCustomer) -> dict[str, Any]:
    return {
        "id": str(c.id),
        "login": c.login,
        "status": c.status,
        "name": f"Name {c.id}",
        "email": f"c{c.id}@example.com",
        "billing_type": "recurring",
        "deleted": "1" if c.deleted else "0",
        "additional_attributes": c.extra or [],
    }


def _billing(c: LabCustomer) -> dict[str, Any]:
    return {
        "customer_id": c.id,
        "enabled": int(c.enabled),
        "type": "1",
        "deposit": f"{c.deposit:.4f}",
        "billing_due": "15",
        "blocking_period": str(c.blocking_period),
        "grace_period": "3",
        "min_balance": f"{c.min_balance:.4f}",
    }


def _bill(b: LabBill) -> dict[str, Any]:
    return {
        "id": b.id,
        "customer_id": b.customer,
        "number": f"2026{b.id:08}",
        "date_created": "2026-11-01",
        "date_till": b.till.isoformat(),
        "date_payment": "0000-00-00",
        "status": b.status,
        "total": f"{b.total:.4f}",
        "due": f"{b.due:.4f}",
    }


def _receipt(r: LabReceipt) -> dict[str, Any]:
    return {
        "id": r.id,
        "customer_id": r.customer,
        "invoice_id": next(iter(r.bills), None),
        "payment_type": "1",
        "receipt_number": r.receipt,
        "date": r.day.isoformat(),
        "amount": f"{r.amount:.4f}",
        "comment": "",
        "field_1": "",
    }


def _number(text: str) -> int:
    return int(text) if text.isdecimal() else -1


def _or_404(found: Any) -> WebReply:
    missing = {"error": {"message": "Not found", "code": 404, "internal_code": "NOT_FOUND"}}
    return WebReply(404, missing) if found is None else WebReply(200, found)
