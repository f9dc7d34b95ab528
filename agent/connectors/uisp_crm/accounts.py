"""Clients, invoices, payments and options of UISP CRM as accounts and payments. Pure.

Source: Ubiquiti's description of the API (blueprint "UISP CRM"). Its traps:

* `accountBalance` above zero is credit; ours above zero is debt.
* Only invoices of status 1 (unpaid) and 2 (partly paid) ask for money. Drafts (0), paid (3), void (4) and processed
  proforma (5) do not, nor do proforma invoices and those marked uncollectible, whatever their status.
* Days are midnights in the zone of the CRM, with an offset: `2026-11-27T00:00:00+0200` is the 27th.
* `stopServiceDue` and `stopServiceDueDays` of a client may be null: then the options count.
* A delay of 3 days and an invoice due on the 17th: the description of clients says "from 20th March", that of options
  says 0 means "the day after the due date", so 3 would mean the 21st. The agent waits until the 21st.
* `suspensionMinimumUnpaidAmount` is compared with each invoice, not with their sum.
* A postponement is no field. Nor can be seen whether an app key may write.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import tzinfo
from decimal import Decimal
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from agent.billing_model.account import Account, OpenInvoice, Payment, PaymentState
from agent.billing_model.errors import MalformedRecordError
from agent.billing_model.records import Record, record_untrusted
from agent.config_schema import time_zone

_LEAST: Final = Decimal("0.01")
UNPAID: Final = ("1", "2")
"""Statuses of invoices that ask for money."""


@dataclass(frozen=True, slots=True)
class CrmOptions:
    """The options of a CRM that decide who is suspended. `minimum`: least unpaid amount of an invoice."""

    zone: ZoneInfo
    suspends: bool
    stop_service: bool
    delay_days: int
    minimum: Decimal
    postpones: bool


@dataclass(frozen=True, slots=True)
class CrmClient:
    """A client: its account without invoices. `subscriber` "": its field is empty. `lead`: no customer yet."""

    key: str
    subscriber: str
    currency: str
    balance: Decimal
    credit: Decimal
    lead: bool
    archived: bool
    stop_service: bool | None
    delay_days: int | None


class CrmInvoice(NamedTuple):
    """An invoice. `open`: None where it does not ask for money."""

    client: str
    currency: str
    open: OpenInvoice | None


def options_untrusted(value: object) -> CrmOptions:
    """Return UISP's options on time zone and suspensions.

    Raises:
        MalformedRecordError: one is missing, or has another form.
    """
    record = record_untrusted(value, "options")
    try:
        zone = time_zone(record.text("appTimezone"))
    except ValueError as err:
        raise MalformedRecordError("options: expected a time zone in appTimezone, got something else") from err
    suspends, stop_service = record.flag("suspendEnabled"), record.flag("stopServiceDue")
    if suspends is None or stop_service is None:
        raise MalformedRecordError("options: expected true or false in suspendEnabled and stopServiceDue, got neither")
    given = record.fields.get("suspensionMinimumUnpaidAmount") is not None
    return CrmOptions(
        zone,
        suspends,
        stop_service,
        record.number("stopServiceDueDays") or 0,
        record.amount("suspensionMinimumUnpaidAmount") if given else Decimal(0),
        bool(record.flag("suspensionEnablePostpone")),
    )


def client_untrusted(record: Record, field: str) -> CrmClient:
    """Return a client from UISP's record.

    Args:
        record: as the API tells it.
        field: `userIdent`, `id` or `attribute:KEY`, which is the subscriber of the inventory.

    Raises:
        MalformedRecordError: a field is missing, or has another form.
    """
    return CrmClient(
        record.id("id"),
        _subscriber(record, field),
        record.currency("currencyCode"),
        -record.amount("accountBalance"),
        max(record.amount("accountCredit"), Decimal(0)),
        bool(record.flag("isLead")),
        bool(record.flag("isArchived")),
        record.flag("stopServiceDue"),
        record.number("stopServiceDueDays"),
    )


def _subscriber(record: Record, field: str) -> str:
    kind, _, key = field.partition(":")
    if kind != "attribute":
        return record.text(kind).strip()
    values = [each.text("value") for each in record.records("attributes", "attribute") if each.text("key") == key]
    return values[0].strip() if len(values) == 1 else ""


def invoice_untrusted(record: Record, zone: tzinfo) -> CrmInvoice:
    """Return an invoice. `zone`: of the CRM.

    Raises:
        MalformedRecordError: a field is missing, or has another form.
    """
    unpaid = record.amount("amountToPay")
    asks = record.text("status") in UNPAID and unpaid > 0
    if not asks or record.flag("proforma") or record.flag("uncollectible"):
        return CrmInvoice(record.id("clientId"), record.currency("currencyCode"), None)
    due = record.when_or_none("dueDate", zone)
    return CrmInvoice(
        record.id("clientId"),
        record.currency("currencyCode"),
        OpenInvoice(record.text("number"), None if due is None else due.day, unpaid),
    )


def payment_untrusted(record: Record, zone: tzinfo, subscriber: str = "") -> Payment:
    """Return a payment, without the refunded part.

    Args:
        record: as the API tells it.
        zone: of the CRM.
        subscriber: of its client, where that is known.

    Raises:
        MalformedRecordError: a field is missing, or has another form.
    """
    covers = record.records("paymentCovers", "payment cover")
    refunded = sum((c.amount("amount") for c in covers if c.id_or_none("refundId") and not _invoiced(c)), Decimal(0))
    amount = record.amount("amount")
    provider = record.text("providerPaymentId")
    texts = (record.text("note"), record.text("checkNumber"), provider)
    return Payment(
        record.id("id"),
        record.id_or_none("clientId"),
        subscriber,
        max(amount - refunded, Decimal(0)) or amount,
        record.currency("currencyCode"),
        record.when("createdDate", zone),
        PaymentState.REVERSED if refunded >= amount else PaymentState.SETTLED,
        tuple(text for text in texts if text),
        provider,
    )


def _invoiced(cover: Record) -> bool:
    return bool(cover.id_or_none("invoiceId"))


def account(
    client: CrmClient,
    invoices: Sequence[CrmInvoice],
    options: CrmOptions,
    as_of_s: float,
    *,
    postponed_until_s: float = 0.0,
    follow_switch: bool = True,
) -> Account:
    """Return a client's account.

    Args:
        client: one that is no lead.
        invoices: all of its unpaid ones.
        options: of the CRM.
        as_of_s: when the first of all this was asked for, unix seconds.
        postponed_until_s: end of a postponement that was heard of, unix seconds; 0: none.
        follow_switch: whether `suspendEnabled` counts.
    """
    asking = [invoice for invoice in invoices if invoice.open is not None]
    foreign = any(invoice.currency not in ("", client.currency) for invoice in asking)
    return Account(
        client.key,
        client.subscriber,
        client.currency,
        client.balance,
        tuple(invoice.open for invoice in asking if invoice.open is not None),
        as_of_s,
        client.credit,
        hold_until_s=postponed_until_s,
        exempt=_exempt(client, options, foreign=foreign, follow_switch=follow_switch),
        own_grace_days=options.delay_days if client.delay_days is None else client.delay_days,
        own_minimum=_minimum(asking, options),
    )


def _minimum(asking: Sequence[CrmInvoice], options: CrmOptions) -> Decimal | None:
    """Return the least sum for which UISP would cut: it compares each invoice, so small ones never add up to it."""
    if options.minimum <= 0:
        return None
    unpaid = [invoice.open.unpaid for invoice in asking if invoice.open is not None]
    small = sum((each for each in unpaid if each < options.minimum), Decimal(0))
    return options.minimum if small < options.minimum else small + _LEAST


def _exempt(client: CrmClient, options: CrmOptions, *, foreign: bool, follow_switch: bool) -> str:
    if client.archived:
        return "the client is archived in UISP"
    if foreign:
        return "an invoice is in another currency than the account"
    if follow_switch and not options.suspends:
        return "suspension is switched off in UISP (suspendEnabled)"
    stops = options.stop_service if client.stop_service is None else client.stop_service
    return "" if stops else "suspension is switched off for it in UISP (stopServiceDue)"
