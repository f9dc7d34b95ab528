"""Amounts are exact, and nothing but an amount becomes one."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.billing_model.errors import MalformedAmountError
from agent.billing_model.money import amount_untrusted, currency_untrusted, from_minor_untrusted, minor_digits


@pytest.mark.parametrize(
    ("value", "amount"),
    [("34.00", "34.00"), (" -5 ", "-5"), (0, "0"), (Decimal("1E+3"), "1000"), (Decimal("0.000001"), "0.000001")]
    + [(Decimal(text), text) for text in ("-999999999999.99", "999999999999.99", "-0.00", "0.1")],
)
def test_amount(value: object, amount: str) -> None:
    assert amount_untrusted(value) == Decimal(amount)


@pytest.mark.parametrize(
    "value",
    [
        34.1,
        True,
        None,
        "",
        "1,5",
        "1e3",
        "NaN",
        Decimal("NaN"),
        Decimal("1E+400"),
        Decimal("sNaN"),
        Decimal("1000000000000.00"),
        Decimal("-1000000000000.00"),
        "1" * 13,
        10**12,
        "1.0000001",
        "١",
        [],
    ],
)
def test_no_amount(value: object) -> None:
    with pytest.raises(MalformedAmountError, match="expected"):
        amount_untrusted(value)


@pytest.mark.parametrize(
    ("minor", "currency", "amount"),
    [(1099, "USD", "10.99"), (500, "UGX", "500"), (1234, "KWD", "1.234"), (-1, "EUR", "-0.01")],
)
def test_minor_units(minor: int, currency: str, amount: str) -> None:
    assert from_minor_untrusted(minor, currency) == Decimal(amount)


@pytest.mark.parametrize("value", ["10", 1.5, True, None, 10**16])
def test_no_minor_units(value: object) -> None:
    with pytest.raises(MalformedAmountError, match="whole number"):
        from_minor_untrusted(value, "USD")


@pytest.mark.parametrize("value", ["US", "USDT", "", None, 5, "U$D"])
def test_no_currency(value: object) -> None:
    with pytest.raises(MalformedAmountError, match="currency code"):
        currency_untrusted(value)


def test_currency() -> None:
    assert currency_untrusted(" usd ") == "USD"


@given(st.integers(-(10**14), 10**14), st.sampled_from(("USD", "UGX", "BHD")))
def test_minor_units_are_exact(minor: int, currency: str) -> None:
    amount = from_minor_untrusted(minor, currency)
    assert amount.scaleb(minor_digits(currency)) == minor
