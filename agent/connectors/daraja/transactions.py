"""Rows of the Pull Transactions API as payments. Pure.

* `trxDate` ends in Z, and whether that is meant is not said: Safaricom writes East African time elsewhere without a
  zone. So a payment was made between the two moments.
* `billreference` is the payer's text. Names and numbers of payers are not kept.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, timedelta, timezone
from typing import Final

from agent.billing_model.account import Payment, PaymentState
from agent.billing_model.days import When, when_untrusted
from agent.billing_model.errors import MalformedDayError, MalformedRecordError
from agent.billing_model.records import Record, records_untrusted
from agent.connectors.daraja.hooks import TRANSACTION

EAST_AFRICA: Final = timezone(timedelta(hours=3))
"""Kenya has no daylight saving."""
_SUCCESS: Final = "1000"
_NOTHING: Final = "1001"
"""No transactions in that time."""
_PAID_IN: Final = re.compile(r"c2b[ _-].*|(customer )?(pay ?bill|buy ?goods).*", re.ASCII | re.IGNORECASE)
_TEXT_MOST: Final = 200


def rows_untrusted(answer: Record) -> Sequence[Record]:
    """Return the rows of an answer, which may stand in a list inside the list.

    Raises:
        MalformedRecordError: it is of another form, or says that it failed.
    """
    code = answer.text("ResponseCode")
    if code == _NOTHING:
        return ()
    if code != _SUCCESS:
        raise MalformedRecordError("answer: expected ResponseCode 1000 or 1001, got another")
    found = answer.fields.get("Response")
    if isinstance(found, list) and all(isinstance(part, list) for part in found):
        found = [row for part in found for row in part]
    return records_untrusted(found, "transaction")


def name_untrusted(row: Record) -> str:
    """Return the id of a transaction.

    Raises:
        MalformedRecordError: there is none.
    """
    name = row.text("transactionId").upper()
    if not TRANSACTION.fullmatch(name):
        raise MalformedRecordError("transaction: expected a transactionId, got something else")
    return name


def payment_untrusted(row: Record, currency: str) -> Payment | None:
    """Return a row as a payment; None: it paid nothing in.

    Raises:
        MalformedRecordError: it is of another form.
    """
    name = name_untrusted(row)
    if not _PAID_IN.fullmatch(row.text("transactiontype").strip()):
        return None
    amount = row.amount("amount")
    if amount <= 0:
        raise MalformedRecordError("transaction: expected an amount above zero, got another")
    reference = row.text("billreference").strip()[:_TEXT_MOST]
    return Payment(
        id=name,
        account="",
        subscriber="",
        amount=amount,
        currency=currency,
        paid=_when(row),
        state=PaymentState.SETTLED,
        references=(reference,) if reference else (),
        provider_reference=name,
    )


def _when(row: Record) -> When:
    text = row.text("trxDate").strip()
    try:
        here = when_untrusted(text.removesuffix("Z").removesuffix("z"), EAST_AFRICA)
        there = when_untrusted(text, UTC)
    except MalformedDayError as err:
        raise MalformedRecordError("transaction: expected a time in trxDate, got something else") from err
    return replace(here, last_s=max(here.last_s, there.last_s), day=max(here.day, there.day))
