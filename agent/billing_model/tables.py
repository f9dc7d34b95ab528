"""Accounts and payments from rows with named columns, as an SQL query or a CSV file gives them. Pure.

* Rows of one account are joined: each may bring an invoice, and everything else must be the same in all of them.
* Columns are those named here and no others: a misspelled one must not be taken for an absent one.
* An error names the column and the row, counted from 1, and nothing of the data.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time, tzinfo
from decimal import Decimal
from typing import Final, NoReturn

from agent.billing_model.account import Account, OpenInvoice, Payment, PaymentState
from agent.billing_model.days import When, when_untrusted
from agent.billing_model.errors import MalformedAmountError, MalformedDayError, MalformedTableError
from agent.billing_model.money import amount_untrusted, currency_untrusted

ACCOUNT_COLUMNS: Final = (
    "subscriber",
    "balance",
    "account",
    "currency",
    "invoice_number",
    "due",
    "unpaid",
    "credit",
    "promise_until",
    "exempt",
    "as_of",
)
"""The first two must be there."""
PAYMENT_COLUMNS: Final = (
    "id",
    "amount",
    "paid_at",
    "subscriber",
    "account",
    "currency",
    "state",
    "reference",
    "provider_reference",
)
"""The first three must be there."""
_NEEDED: Final = {ACCOUNT_COLUMNS: 2, PAYMENT_COLUMNS: 3}
_TEXT_MOST: Final = 200
_NO: Final = frozenset({"", "0", "no", "false", "f", "n"})


def column_places(given: Sequence[str], known: tuple[str, ...]) -> Mapping[str, int]:
    """Return where each column stands.

    Args:
        given: names as the table has them; case does not matter.
        known: ACCOUNT_COLUMNS or PAYMENT_COLUMNS.

    Raises:
        MalformedTableError: a column is missing, unknown, or there twice.
    """
    names = [name.strip().lower() for name in given]
    missing = [name for name in known[: _NEEDED[known]] if name not in names]
    if missing:
        raise MalformedTableError(f"expected a column {missing[0]}, got none")
    for place, name in enumerate(names, start=1):
        if name not in known:
            raise MalformedTableError(f"column {place}: expected one of {', '.join(known)}, got another name")
        if names.index(name) != place - 1:
            raise MalformedTableError(f"expected the column {name} once, got it twice")
    return {name: place for place, name in enumerate(names)}


@dataclass(frozen=True, slots=True)
class _Row:
    """The cells of one row by column; `number`: from 1."""

    cells: Sequence[object]
    places: Mapping[str, int]
    number: int
    zone: tzinfo

    def cell(self, column: str) -> object:
        """Return a cell; None: it is empty, or there is no such column."""
        place = self.places.get(column)
        value = None if place is None else self.cells[place]
        return None if isinstance(value, str) and not value.strip() else value

    def text(self, column: str) -> str:
        value = self.cell(column)
        if value is None:
            return ""
        if isinstance(value, bool) or not isinstance(value, str | int):
            return self.wrong(column, "a text", value)
        text = str(value).strip()
        if len(text) > _TEXT_MOST or not text.isprintable():
            return self.wrong(column, f"a text of at most {_TEXT_MOST} printable characters", value)
        return text

    def amount(self, column: str) -> Decimal:
        try:
            return amount_untrusted(self.cell(column))
        except MalformedAmountError as err:
            return self.wrong(column, "an exact amount such as 34.00", self.cell(column), err)

    def amount_or_none(self, column: str) -> Decimal | None:
        return None if self.cell(column) is None else self.amount(column)

    def currency(self) -> str:
        value = self.cell("currency")
        try:
            return "" if value is None else currency_untrusted(value)
        except MalformedAmountError as err:
            return self.wrong("currency", "a code such as USD", value, err)

    def when(self, column: str) -> When | None:
        """Return a day or a moment of a text, or of a date or time of the database."""
        value = self.cell(column)
        match value:
            case None:
                return None
            case datetime() if value.tzinfo is None and value.time() == time.min and column != "as_of":
                text = value.date().isoformat()  # a day that the database keeps as a time
            case datetime() | date():
                text = value.isoformat()
            case str():
                text = value.strip()
            case _:
                return self.wrong(column, "a day or a time", value)
        try:
            return when_untrusted(text, self.zone)
        except MalformedDayError as err:
            return self.wrong(column, "YYYY-MM-DD, or a time such as 2026-10-15T09:04:11Z", value, err)

    def day(self, column: str) -> date | None:
        found = self.when(column)
        return None if found is None else found.day

    def exempt(self) -> str:
        value = self.cell("exempt")
        if isinstance(value, bool):
            return "exempt" if value else ""
        text = self.text("exempt")
        return "" if text.lower() in _NO else text

    def wrong(self, column: str, expected: str, value: object, cause: Exception | None = None) -> NoReturn:
        got = "nothing" if value is None else "another text" if isinstance(value, str) else type(value).__name__
        raise MalformedTableError(f"row {self.number}, column {column}: expected {expected}, got {got}") from cause


def accounts_untrusted(
    columns: Sequence[str], rows: Iterable[Sequence[object]], zone: tzinfo, read_s: float
) -> tuple[list[Account], int]:
    """Return the accounts of a table, and how many of its rows have no subscriber.

    Where there is no column `unpaid`, a balance above zero is one invoice of it, due on `due` if that is given.

    Args:
        columns: their names.
        rows: their cells.
        zone: in which days are meant, and times without a zone.
        read_s: when reading began, unix seconds: a fact without `as_of` was true then or later.

    Raises:
        MalformedTableError: a column or a cell is not as expected, or rows of one account contradict each other.
    """
    places = column_places(columns, ACCOUNT_COLUMNS)
    found: dict[str, Account] = {}
    invoices: dict[str, list[OpenInvoice]] = {}
    skipped = 0
    for row in _rows(rows, places, zone):
        subscriber = row.text("subscriber")
        key = row.text("account") or subscriber
        if not key:
            skipped += 1
            continue
        account = _account(row, key, subscriber, read_s)
        if found.setdefault(key, account) != account:
            raise MalformedTableError(
                f"row {row.number}: expected the rows of one account to differ in their invoice only, got another value"
            )
        invoices.setdefault(key, []).extend(_invoices(row, account))
        skipped += not subscriber
    return [replace(account, invoices=tuple(invoices[key])) for key, account in found.items()], skipped


def _account(row: _Row, key: str, subscriber: str, read_s: float) -> Account:
    as_of = row.when("as_of")
    credit = row.amount_or_none("credit") or Decimal(0)
    if credit < 0:
        row.wrong("credit", "zero or more", credit)
    return Account(
        key=key,
        subscriber=subscriber,
        currency=row.currency(),
        balance=row.amount("balance"),
        invoices=(),
        as_of_s=read_s if as_of is None else min(as_of.first_s, read_s),
        credit=credit,
        promise_until=row.day("promise_until"),
        exempt=row.exempt(),
    )


def _invoices(row: _Row, account: Account) -> list[OpenInvoice]:
    unpaid = row.amount_or_none("unpaid") if "unpaid" in row.places else account.balance
    if unpaid is None or unpaid <= 0:
        return []
    return [OpenInvoice(row.text("invoice_number"), row.day("due"), unpaid)]


def payments_untrusted(columns: Sequence[str], rows: Iterable[Sequence[object]], zone: tzinfo) -> list[Payment]:
    """Return the payments of a table; one without a state is settled. An id that comes twice counts as it came last.

    Raises:
        MalformedTableError: a column or a cell is not as expected.
    """
    places = column_places(columns, PAYMENT_COLUMNS)
    found = {payment.id: payment for row in _rows(rows, places, zone) for payment in (_payment(row),)}
    return list(found.values())


def _payment(row: _Row) -> Payment:
    name, paid, state = row.text("id"), row.when("paid_at"), row.text("state").lower()
    if not name:
        row.wrong("id", "an id", None)
    if paid is None:
        row.wrong("paid_at", "a day or a time", None)
    if state and state not in {known.value for known in PaymentState}:
        row.wrong("state", " or ".join(known.value for known in PaymentState), state)
    amount = row.amount("amount")
    if amount <= 0:
        row.wrong("amount", "more than zero (what was taken back has the state reversed)", amount)
    return Payment(
        id=name,
        account=row.text("account"),
        subscriber=row.text("subscriber"),
        amount=amount,
        currency=row.currency(),
        paid=paid,
        state=PaymentState(state) if state else PaymentState.SETTLED,
        references=(reference,) if (reference := row.text("reference")) else (),
        provider_reference=row.text("provider_reference"),
    )


def _rows(rows: Iterable[Sequence[object]], places: Mapping[str, int], zone: tzinfo) -> Iterable[_Row]:
    for number, cells in enumerate(rows, start=1):
        if len(cells) != len(places):
            raise MalformedTableError(f"row {number}: expected {len(places)} cells, got {len(cells)}")
        yield _Row(cells, places, number, zone)
