"""Paystack's transactions as payments. Pure.

* Amounts are hundredths of every currency, also of XOF, which has none (Paystack's list of currencies).
* A refund, also one under way, takes its amount back; a dispute takes all of it back until it was declined.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import tzinfo
from decimal import Decimal
from typing import Final

from agent.billing_model.account import Payment, PaymentState
from agent.billing_model.errors import MalformedAmountError, MalformedHookError, MalformedRecordError
from agent.billing_model.hmac_hooks import object_untrusted
from agent.billing_model.money import from_minor_untrusted, minor_digits
from agent.billing_model.records import Record, record_untrusted

_STATES: Final = {
    "success": PaymentState.SETTLED,
    "pending": PaymentState.PENDING,
    "processing": PaymentState.PENDING,
    "queued": PaymentState.PENDING,
    "reversed": PaymentState.REVERSED,
}
"""Others (failed, abandoned, ongoing) are no payments."""
_FAILED: Final = frozenset({"failed"})
_REFERENCE: Final = re.compile(r"[A-Za-z0-9.=_-]{1,200}", re.ASCII)
_HUNDREDTHS: Final = 2
_TEXT_MOST: Final = 200
_REFERENCES_MOST: Final = 20


def transaction_untrusted(
    found: Record, zone: tzinfo, metadata_field: str, taken_back: Decimal, *, is_disputed: bool
) -> Payment | None:
    """Return a transaction as a payment; None: nothing was paid by it.

    Args:
        found: as the API has it.
        zone: in which days are meant.
        metadata_field: the metadata that names the subscriber; "": none.
        taken_back: by refunds.
        is_disputed: whether a dispute takes it back.

    Raises:
        MalformedRecordError: it is of another form.
    """
    state = _STATES.get(found.text("status"))
    if state is None:
        return None
    whole = _amount(found, "amount")
    left = whole - taken_back
    if state is PaymentState.SETTLED and (is_disputed or left <= 0):
        state = PaymentState.REVERSED
    metadata = _metadata(found.fields.get("metadata"))
    customer = record_untrusted(found.fields.get("customer") or {}, "transaction: customer")
    reference = reference_untrusted(found, "reference")
    return Payment(
        id=found.id("id"),
        account=customer.id_or_none("customer_code"),
        subscriber=str(metadata.get(metadata_field, ""))[:_TEXT_MOST] if metadata_field else "",
        amount=whole if state is PaymentState.REVERSED else left,
        currency=found.currency("currency"),
        paid=found.when_or_none("paid_at", zone) or found.when("created_at", zone),
        state=state,
        references=tuple(dict.fromkeys([reference, *_texts(metadata)])),
        provider_reference=reference,
    )


def refund_untrusted(refund: Record) -> tuple[str, Decimal]:
    """Return the reference of a refund's transaction, and how much it takes back: zero where it failed.

    Raises:
        MalformedRecordError: it is of another form.
    """
    amount = Decimal(0) if refund.text("status") in _FAILED else _amount(refund, "amount")
    return reference_untrusted(refund, "transaction_reference"), amount


def dispute_untrusted(dispute: Record) -> tuple[str, bool]:
    """Return the reference of a dispute's transaction, and whether it takes it back.

    Raises:
        MalformedRecordError: it is of another form.
    """
    transaction = record_untrusted(dispute.fields.get("transaction"), "dispute: transaction")
    is_declined = dispute.text("status") == "resolved" and dispute.text("resolution") == "declined"
    return reference_untrusted(transaction, "reference"), not is_declined


def reference_untrusted(record: Record, name: str) -> str:
    """Return the reference of a transaction.

    Raises:
        MalformedRecordError: it has characters that Paystack does not allow in one.
    """
    found = record.text(name)
    if not _REFERENCE.fullmatch(found):
        raise MalformedRecordError(f"{record.kind}: expected a reference in {name}, got something else")
    return found


def _amount(record: Record, name: str) -> Decimal:
    currency = record.currency("currency")
    try:
        found = from_minor_untrusted(record.fields.get(name), currency)
    except MalformedAmountError as err:
        raise MalformedRecordError(f"{record.kind}: expected a whole number in {name}, got something else") from err
    if found < 0:
        raise MalformedRecordError(f"{record.kind}: expected zero or more in {name}, got less")
    return found.scaleb(minor_digits(currency) - _HUNDREDTHS)


def _metadata(value: object) -> Mapping[str, object]:
    """Return what a merchant attached: an object, one as a text, or nothing."""
    if isinstance(value, str):
        try:
            return object_untrusted(value.encode())  # payers choose it: half a character must reach nothing
        except (MalformedHookError, UnicodeEncodeError):
            return {}
    return value if isinstance(value, Mapping) else {}


def _texts(metadata: Mapping[str, object]) -> list[str]:
    """Return the texts of metadata, those of `custom_fields` too."""
    fields = metadata.get("custom_fields")
    customs = [field.get("value") for field in fields if isinstance(field, Mapping)] if isinstance(fields, list) else []
    given = [value for value in (*metadata.values(), *customs) if isinstance(value, str) and value.strip()]
    return [value.strip()[:_TEXT_MOST] for value in given[:_REFERENCES_MOST]]
