"""Stripe's charges as payments. Pure.

* Amounts are whole numbers of a currency's minor unit as Stripe counts it: ISK and UGX have no decimals and are written
  with two zeros all the same, MGA has none (Stripe's documentation, "Currencies", "Special cases").
* A charge that was refunded in part counts with the rest. Refunded whole, or disputed: taken back; a dispute that was
  won, or is an inquiry only, takes nothing back.
* An authorization that is not captured, and a bank debit under way, are pending.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import tzinfo
from decimal import Decimal
from typing import Final

from agent.billing_model.account import Payment, PaymentState
from agent.billing_model.days import When, today
from agent.billing_model.errors import MalformedAmountError, MalformedRecordError
from agent.billing_model.money import currency_untrusted, from_minor_untrusted, minor_digits
from agent.billing_model.records import Record, record_untrusted

_DIGITS: Final = {"ISK": 2, "UGX": 2, "MGA": 0}
_STANDING: Final = frozenset({"won", "warning_needs_response", "warning_under_review", "warning_closed"})
"""Of disputes that leave the money where it is."""
_TEXT_MOST: Final = 200
_REFERENCES_MOST: Final = 20
_SECONDS_MOST: Final = 10**11


def charge_untrusted(charge: Record, zone: tzinfo, metadata_field: str, disputes: Collection[str]) -> Payment | None:
    """Return a charge as a payment; None: it failed.

    Args:
        charge: as the API has it.
        zone: in which days are meant.
        metadata_field: the metadata that names the subscriber; "": none.
        disputes: the status of each of its disputes.

    Raises:
        MalformedRecordError: it is of another form.
    """
    status = charge.text("status")
    if status not in ("succeeded", "pending", "failed"):
        raise MalformedRecordError("charge: expected status succeeded, pending or failed, got another")
    if status == "failed":
        return None
    is_captured = charge.flag("captured") is True
    currency = _currency(charge)
    whole = _amount(charge, "amount_captured" if is_captured else "amount", currency)
    left = whole - _amount(charge, "amount_refunded", currency)
    if charge.flag("refunded") or left <= 0 or any(one not in _STANDING for one in disputes):
        state, amount = PaymentState.REVERSED, whole
    else:
        state, amount = PaymentState.SETTLED if status == "succeeded" and is_captured else PaymentState.PENDING, left
    metadata = record_untrusted(charge.fields.get("metadata") or {}, "charge: metadata")
    return Payment(
        id=charge.id("id"),
        account=_id_of(charge, "customer"),
        subscriber=metadata.text(metadata_field)[:_TEXT_MOST] if metadata_field else "",
        amount=amount,
        currency=currency,
        paid=_when(charge, zone),
        state=state,
        references=_references(charge, metadata.fields),
        provider_reference=_id_of(charge, "payment_intent") or charge.id("id"),
    )


def charge_of_untrusted(event: Record) -> str:
    """Return the id of the charge that an event `charge.*` is about; "": it names none.

    Raises:
        MalformedRecordError: it is no event.
    """
    data = record_untrusted(event.fields.get("data"), "event: data")
    thing = record_untrusted(data.fields.get("object"), "event: object")
    return thing.id("id") if thing.text("object") == "charge" else _id_of(thing, "charge")


def _currency(charge: Record) -> str:
    try:
        return currency_untrusted(charge.fields.get("currency"))
    except MalformedAmountError as err:
        raise MalformedRecordError("charge: expected a currency code in currency, got something else") from err


def _amount(charge: Record, name: str, currency: str) -> Decimal:
    try:
        found = from_minor_untrusted(charge.fields.get(name), currency)
    except MalformedAmountError as err:
        raise MalformedRecordError(f"charge: expected a whole number in {name}, got something else") from err
    if found < 0:
        raise MalformedRecordError(f"charge: expected zero or more in {name}, got less")
    return found.scaleb(minor_digits(currency) - _DIGITS.get(currency, minor_digits(currency)))


def _when(charge: Record, zone: tzinfo) -> When:
    created = charge.fields.get("created")
    if isinstance(created, bool) or not isinstance(created, int) or not 0 < created < _SECONDS_MOST:
        raise MalformedRecordError("charge: expected unix seconds in created, got something else")
    return When(float(created), float(created), today(created, zone))


def _id_of(record: Record, name: str) -> str:
    """Return the id of another object, which may stand there itself; "": there is none."""
    value = record.fields.get(name)
    return Record(record.kind, value).id_or_none("id") if isinstance(value, Mapping) else record.id_or_none(name)


def _references(charge: Record, metadata: Mapping[str, object]) -> tuple[str, ...]:
    """Return texts by which a payment may be matched: of the checkout, and ids; no name and no address."""
    given = [charge.fields.get("description"), *metadata.values(), charge.fields.get("receipt_number")]
    texts = [text.strip()[:_TEXT_MOST] for text in given if isinstance(text, str) and text.strip()]
    ids = [_id_of(charge, "invoice"), _id_of(charge, "payment_intent")]
    return tuple(dict.fromkeys([*texts[:_REFERENCES_MOST], *filter(None, ids)]))
