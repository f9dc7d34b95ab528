"""Customers, invoices, billing settings and payments of Splynx as accounts and payments. Pure.

Source: the description of Splynx' API 2.0. Its traps:

* `deposit` above zero is credit; ours above zero is debt. It stands in a customer's billing settings, which are asked
  for one by one: only for customers with an invoice that is due.
* Numbers come as texts (`"7412.0000"`), ids as numbers or texts. "No day" is `0000-00-00`.
* A charge lowers the deposit, with its invoice or without one, and a payment raises it, whether it stands on an invoice
  or not. So the sum of unpaid invoices and the deposit is the paid amount that stands on none of them, less charges
  without an invoice: whether those are due nothing tells.
* Invoices are asked for while they are `not_paid`; `due` is the part that is unpaid. `pending` ones wait for a payment
  that was made, and ask for nothing; proforma invoices are another list.
* Payments have a day and no time.
* `blocked` is Splynx' own enforcement. It says nothing of debts.
* Customers of a prepaid type have no invoices: nothing of theirs is ever overdue.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import tzinfo
from decimal import Decimal
from typing import Final

from agent.billing_model.account import Account, OpenInvoice, Payment, PaymentState
from agent.billing_model.records import Record, record_untrusted

NOT_PAID: Final = "not_paid"
_GONE: Final = ("disabled", "inactive")
"""Statuses of closed customers."""


@dataclass(frozen=True, slots=True)
class SplynxCustomer:
    """A customer. `subscriber` "": its field is empty. `closed`: has no service any more. `deleted`: is none."""

    key: str
    subscriber: str
    closed: bool
    deleted: bool


@dataclass(frozen=True, slots=True)
class SplynxInvoice:
    """An invoice. `open`: None where it does not ask for money."""

    customer: str
    open: OpenInvoice | None


@dataclass(frozen=True, slots=True)
class SplynxBilling:
    """A customer's billing settings. `grace_days`: before it is blocked. `minimum`: the debt that is tolerated."""

    deposit: Decimal
    enabled: bool
    grace_days: int
    minimum: Decimal | None


def customer_untrusted(record: Record, field: str) -> SplynxCustomer:
    """Return a customer from Splynx' record.

    Args:
        record: as the API tells it.
        field: `login`, `id` or `attribute:NAME`, which is the subscriber of the inventory.

    Raises:
        MalformedRecordError: a field is missing, or has another form.
    """
    kind, _, name = field.partition(":")
    if kind == "attribute":
        extra = record.fields.get("additional_attributes")
        # PHP writes an empty array where there are no fields
        subscriber = record_untrusted(extra, "additional_attributes").text(name) if extra else ""
    else:
        subscriber = record.text(kind)
    status = record.text("status")
    return SplynxCustomer(record.id("id"), subscriber.strip(), status in _GONE, bool(record.flag("deleted")))


def invoice_untrusted(record: Record, zone: tzinfo) -> SplynxInvoice:
    """Return an invoice. `zone`: of the Splynx.

    Raises:
        MalformedRecordError: a field is missing, or has another form.
    """
    customer, unpaid = record.id("customer_id"), record.amount("due")
    if record.text("status") != NOT_PAID or unpaid <= 0:
        return SplynxInvoice(customer, None)
    due = record.when_or_none("date_till", zone)
    return SplynxInvoice(customer, OpenInvoice(record.text("number"), None if due is None else due.day, unpaid))


def billing_untrusted(value: object) -> SplynxBilling:
    """Return a customer's billing settings.

    Raises:
        MalformedRecordError: a field is missing, or has another form.
    """
    record = record_untrusted(value, "customer billing")
    lowest = record.amount("min_balance") if record.text("min_balance") else Decimal(0)
    return SplynxBilling(
        record.amount("deposit"),
        record.flag("enabled") is not False,
        record.number("blocking_period") or 0,
        -lowest if lowest < 0 else None,
    )


def payment_untrusted(record: Record, zone: tzinfo, currency: str, provider: str, subscriber: str = "") -> Payment:
    """Return a payment. One of less than zero is money that was given back.

    Args:
        record: as the API tells it.
        zone: of the Splynx.
        currency: the configured one.
        provider: the field with the provider's reference; "": none.
        subscriber: of its customer, where that is known.

    Raises:
        MalformedRecordError: a field is missing, or has another form.
    """
    amount, customer = record.amount("amount"), record.id_or_none("customer_id")
    texts = [record.text(name) for name in ("receipt_number", *(f"field_{n}" for n in range(1, 6)), "comment")]
    return Payment(
        record.id("id"),
        "" if customer == "0" else customer,
        subscriber,
        abs(amount),
        currency,
        record.when("date", zone),
        PaymentState.SETTLED if amount > 0 else PaymentState.REVERSED,
        tuple(dict.fromkeys(text for text in texts if text)),
        record.text(provider) if provider else "",
    )


def account(
    customer: SplynxCustomer,
    invoices: Sequence[SplynxInvoice],
    billing: SplynxBilling | None,
    currency: str,
    as_of_s: float,
) -> Account:
    """Return a customer's account.

    Args:
        customer: one that is not deleted.
        invoices: all of its unpaid ones.
        billing: its settings; None: nothing of it is due, so that they were not asked for.
        currency: the configured one.
        as_of_s: when the first of all this was asked for, unix seconds.
    """
    asking = tuple(invoice.open for invoice in invoices if invoice.open is not None)
    owed = sum((invoice.unpaid for invoice in asking), Decimal(0))
    return Account(
        customer.key,
        customer.subscriber,
        currency,
        owed if billing is None else -billing.deposit,
        asking,
        as_of_s,
        Decimal(0) if billing is None else max(owed + billing.deposit, Decimal(0)),
        exempt=_exempt(customer, billing),
        own_grace_days=None if billing is None else billing.grace_days,
        own_minimum=None if billing is None else billing.minimum,
    )


def _exempt(customer: SplynxCustomer, billing: SplynxBilling | None) -> str:
    if customer.closed:
        return "the customer is inactive in Splynx"
    if billing is not None and not billing.enabled:
        return "billing is switched off for it in Splynx"
    return ""
