"""Rows of SQL and CSV: how they are joined, what each type becomes, and errors that hold no data."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.billing_model.account import Account, OpenInvoice, PaymentState
from agent.billing_model.errors import MalformedTableError
from agent.billing_model.tables import ACCOUNT_COLUMNS, PAYMENT_COLUMNS, accounts_untrusted, payments_untrusted

NAIROBI = ZoneInfo("Africa/Nairobi")
READ_S = 1_800_000_000.0


def accounts(columns: str, *rows: tuple[object, ...]) -> list[Account]:
    return accounts_untrusted(columns.split(), rows, NAIROBI, READ_S)[0]


def wrong(columns: str, *rows: tuple[object, ...]) -> str:
    with pytest.raises(MalformedTableError) as caught:
        accounts(columns, *rows)
    return str(caught.value)


def test_rows_of_one_account_are_joined() -> None:
    (one, two) = accounts(
        "subscriber balance currency invoice_number due unpaid",
        ("C-1", Decimal("40.00"), "kes", 7, date(2026, 11, 1), Decimal("30.00")),
        ("C-2", 0, "KES", None, None, None),
        ("C-1", Decimal("40.00"), "KES", "8", "2026-12-01", "10.00"),
    )
    assert one == Account(
        "C-1",
        "C-1",
        "KES",
        Decimal("40.00"),
        (
            OpenInvoice("7", date(2026, 11, 1), Decimal("30.00")),
            OpenInvoice("8", date(2026, 12, 1), Decimal("10.00")),
        ),
        READ_S,
    )
    assert (two.balance, two.invoices) == (Decimal(0), ())


def test_a_balance_alone_is_one_invoice() -> None:
    (due, none, credit) = accounts(
        "subscriber balance due", ("a", "3.00", "2026-11-01"), ("b", "3.00", ""), ("c", "-3.00", "2026-11-01")
    )
    assert due.invoices == (OpenInvoice("", date(2026, 11, 1), Decimal("3.00")),)
    assert none.invoices == (OpenInvoice("", None, Decimal("3.00")),)
    assert credit.invoices == ()


def test_an_invoice_with_nothing_unpaid_is_none() -> None:
    (one,) = accounts("subscriber balance unpaid due", ("a", 5, 0, None), ("a", 5, "-1.00", None))
    assert one.invoices == ()


def test_a_due_day_is_a_day_of_the_source() -> None:
    """A time of the database with a zone is a moment: the later of its days counts."""
    midnight_in_kenya = datetime(2026, 11, 26, 21, 0, tzinfo=UTC)
    (one,) = accounts("subscriber balance due", ("a", 1, midnight_in_kenya))
    assert one.oldest_due() == date(2026, 11, 27)
    (two,) = accounts("subscriber balance due", ("a", 1, datetime(2026, 11, 27)))  # noqa: DTZ001  as drivers give it
    assert two.oldest_due() == date(2026, 11, 27)


def test_further_columns() -> None:
    (one, two, three) = accounts(
        "ACCOUNT Subscriber balance credit promise_until exempt as_of",
        (17, "C-1", "1.00", "0.50", "2026-12-24", "hospital", datetime(2026, 1, 1, tzinfo=UTC)),
        ("18", "C-2", "1.00", None, None, True, "2100-01-01T00:00:00Z"),
        ("19", "C-3", "1.00", None, None, "No", datetime(2026, 1, 1, 3, tzinfo=timezone(timedelta(hours=3)))),
    )
    assert (one.key, one.credit, one.promise_until, one.exempt) == (
        "17",
        Decimal("0.50"),
        date(2026, 12, 24),
        "hospital",
    )
    assert one.as_of_s == three.as_of_s == datetime(2026, 1, 1, tzinfo=UTC).timestamp()
    assert (two.exempt, two.as_of_s) == ("exempt", READ_S), "nothing is of later than the reading"
    assert three.exempt == ""


def test_an_account_without_a_subscriber_is_kept_and_counted() -> None:
    found, skipped = accounts_untrusted(
        ["account", "subscriber", "balance"], [("7", None, 1), (None, "", 1)], UTC, READ_S
    )
    assert [(a.key, a.subscriber) for a in found] == [("7", "")]
    assert skipped == 2


@pytest.mark.parametrize(
    ("columns", "row", "message"),
    [
        ("subscriber", ("a",), "expected a column balance, got none"),
        ("subscriber balance Balance", ("a", 1, 1), "expected the column balance once, got it twice"),
        ("subscriber balance name", ("a", 1, "Amina"), "column 3: expected one of subscriber, balance"),
        ("subscriber balance", ("a", 1.5), "row 1, column balance: expected an exact amount such as 34.00, got float"),
        ("subscriber balance", ("a", None), "row 1, column balance: expected an exact amount"),
        ("subscriber balance", ("a", "Amina"), "row 1, column balance: expected an exact amount such as 34.00, got an"),
        ("subscriber balance", ("a", True), "row 1, column balance"),
        ("subscriber balance", ("a", 1, 2), "row 1: expected 2 cells, got 3"),
        ("subscriber balance", (b"a", 1), "row 1, column subscriber: expected a text, got bytes"),
        ("subscriber balance", ("a" * 201, 1), "row 1, column subscriber: expected a text of at most 200"),
        ("subscriber balance due", ("a", 1, "27/11/2026"), "row 1, column due: expected YYYY-MM-DD"),
        ("subscriber balance due", ("a", 1, 20261127), "row 1, column due: expected a day or a time, got int"),
        ("subscriber balance currency", ("a", 1, "Shilling"), "row 1, column currency: expected a code such as USD"),
        ("subscriber balance credit", ("a", 1, -1), "row 1, column credit: expected zero or more"),
        ("subscriber balance exempt", ("a", 1, 1.5), "row 1, column exempt: expected a text, got float"),
    ],
)
def test_mistakes(columns: str, row: tuple[object, ...], message: str) -> None:
    told = wrong(columns, row)
    assert told.startswith(message)
    assert "Amina" not in told


def test_rows_that_contradict_each_other_are_refused() -> None:
    assert wrong("subscriber balance unpaid", ("a", 1, 1), ("a", 2, 1)) == (
        "row 2: expected the rows of one account to differ in their invoice only, got another value"
    )


def test_payments() -> None:
    columns = [
        "id",
        "amount",
        "paid_at",
        "subscriber",
        "account",
        "currency",
        "state",
        "reference",
        "provider_reference",
    ]
    paid = datetime(2026, 11, 27, 9, 4, 11, tzinfo=UTC)
    rows: list[tuple[object, ...]] = [
        (7, Decimal("10.00"), paid, "C-1", 9, "KES", "Pending", "rent nov", "RKT1"),
        (8, "5.00", "2026-11-27", None, None, None, None, None, None),
        (7, Decimal("10.00"), paid, "C-1", 9, "KES", "reversed", "rent nov", "RKT1"),
    ]
    (first, second) = payments_untrusted(columns, rows, NAIROBI)
    assert (first.id, first.state, first.references, first.account) == ("7", PaymentState.REVERSED, ("rent nov",), "9")
    assert first.paid.first_s == first.paid.last_s == paid.timestamp()
    assert (second.state, second.references, second.paid.day) == (PaymentState.SETTLED, (), date(2026, 11, 27))
    assert second.paid.last_s - second.paid.first_s == 86_399


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ((None, 1, "2026-11-27", ""), "row 1, column id: expected an id, got nothing"),
        ((1, 0, "2026-11-27", ""), "row 1, column amount: expected more than zero"),
        ((1, 1, None, ""), "row 1, column paid_at: expected a day or a time, got nothing"),
        ((1, 1, "2026-11-27", "Amina"), "row 1, column state: expected pending or settled or reversed, got another"),
    ],
)
def test_mistakes_of_payments(row: tuple[object, ...], message: str) -> None:
    with pytest.raises(MalformedTableError) as caught:
        payments_untrusted(["id", "amount", "paid_at", "state"], [row], UTC)
    assert str(caught.value).startswith(message)


CELLS: Any = st.none() | st.text(max_size=12) | st.integers() | st.decimals() | st.floats() | st.booleans()
CELLS = CELLS | st.dates() | st.datetimes() | st.binary(max_size=3)


@given(st.data())
def test_any_cells_give_rows_or_our_error(data: st.DataObject) -> None:
    for columns, read in ((ACCOUNT_COLUMNS, accounts_untrusted), (PAYMENT_COLUMNS, payments_untrusted)):
        rows = data.draw(st.lists(st.tuples(*[CELLS] * len(columns)), max_size=3))
        args = (READ_S,) if read is accounts_untrusted else ()
        try:
            read(columns, rows, NAIROBI, *args)  # type: ignore[operator]  two readers, one call
        except MalformedTableError:
            continue
