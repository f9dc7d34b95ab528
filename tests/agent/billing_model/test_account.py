"""What is overdue of an account on a day: invoices past their due day and grace, never more than the balance."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from agent.billing_model.account import Account, OpenInvoice

DUE = date(2026, 11, 27)


def account(*invoices: OpenInvoice, balance: str = "1000", credit: str = "0") -> Account:
    return Account("7", "C-1", "USD", Decimal(balance), invoices, 0.0, Decimal(credit))


def invoice(due: date | None = DUE, unpaid: str = "34") -> OpenInvoice:
    return OpenInvoice("1", due, Decimal(unpaid))


def test_not_on_the_due_day() -> None:
    assert account(invoice()).overdue(DUE) == 0
    assert account(invoice()).overdue(DUE + timedelta(days=1)) == 34


def test_grace_days_follow_the_due_day() -> None:
    # due on the 27th with three days of grace: from the 1st on
    assert account(invoice()).overdue(date(2026, 11, 30), 3) == 0
    assert account(invoice()).overdue(date(2026, 12, 1), 3) == 34


def test_next_invoice_is_not_overdue() -> None:
    # F4: who paid the overdue invoice and has the next one open owes nothing that is due
    later = account(invoice(DUE + timedelta(days=30)), balance="34")
    assert later.overdue(DUE + timedelta(days=1)) == 0
    assert later.oldest_due() == DUE + timedelta(days=30)


def test_credit_and_balance_bound_it() -> None:
    day = DUE + timedelta(days=9)
    assert account(invoice(), credit="30").overdue(day) == 4
    assert account(invoice(), balance="5").overdue(day) == 5
    assert account(invoice(), balance="-5").overdue(day) == 0
    assert account(invoice(None), balance="34").overdue(DUE) == 34
    assert account(balance="34").oldest_due() is None


@given(
    st.lists(st.tuples(st.integers(-90, 90), st.integers(1, 500)), max_size=6),
    st.integers(-1000, 3000),
    st.integers(0, 500),
    st.integers(0, 60),
)
def test_more_grace_and_earlier_days_never_owe_more(
    invoices: list[tuple[int, int]], balance: int, credit: int, grace: int
) -> None:
    found = account(
        *(OpenInvoice(str(n), DUE + timedelta(days=d), Decimal(a)) for n, (d, a) in enumerate(invoices)),
        balance=str(balance),
        credit=str(credit),
    )
    assert 0 <= found.overdue(DUE, grace + 1) <= found.overdue(DUE, grace) <= max(balance, 0)
    assert found.overdue(DUE, grace) <= found.overdue(DUE + timedelta(days=1), grace)
