"""Amounts of money: exact decimals, never binary fractions.

* An amount comes from text, from JSON that was read with `parse_float=Decimal`, or from an integer of minor units.
* A currency is an ISO 4217 code in capital letters, or "" where a source does not say. Amounts of different currencies
  are never added or compared.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final

from agent.billing_model.errors import MalformedAmountError

_AMOUNT: Final = re.compile(r"-?[0-9]{1,12}(\.[0-9]{1,6})?", re.ASCII)
_CURRENCY: Final = re.compile(r"[A-Z]{3}", re.ASCII)
_CENT: Final = Decimal("0.01")
_WHOLE_MOST: Final = 10**12
_MINOR_MAX: Final = 10**15
_DIGITS_MAX: Final = 18
_NO_MINOR: Final = frozenset(
    ("BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI", "VND", "VUV", "XAF", "XOF", "XPF")
)
"""Currencies without minor units (ISO 4217 list one)."""
_THREE: Final = frozenset(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"))
"""Currencies with a thousand minor units."""


def amount_untrusted(value: object) -> Decimal:
    """Return an amount from text, a decimal or a whole number.

    Args:
        value: `-34.00`, `Decimal("34.00")` or `34`. A float is refused: the source wrote no such number.

    Raises:
        MalformedAmountError: anything else, over twelve digits before the point or six after it.
    """
    if type(value) is Decimal and value.same_quantum(_CENT) and -_WHOLE_MOST < value < _WHOLE_MOST:
        return value  # nearly always: it is written with two digits behind the point
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise MalformedAmountError(f"expected an amount such as 34.00, got {_kind(value)}")
    if isinstance(value, int):
        if abs(value) >= _WHOLE_MOST:
            raise MalformedAmountError("expected an amount of at most twelve digits, got a longer one")
        return Decimal(value)
    if isinstance(value, Decimal):
        if not value.is_finite() or abs(value.adjusted()) > _DIGITS_MAX:
            raise MalformedAmountError("expected an amount such as 34.00, got a number beyond twelve digits")
        if _AMOUNT.fullmatch(str(value)):
            return value
        text = format(value, "f")
    else:
        text = value.strip()
    if not _AMOUNT.fullmatch(text):
        raise MalformedAmountError(f"expected an amount such as 34.00, got {text[:40]!a}")
    return Decimal(text)


def minor_digits(currency: str) -> int:
    """Return how many decimal digits the minor unit of a currency has: 2 for most, 0 or 3 for some (ISO 4217)."""
    return 0 if currency in _NO_MINOR else 3 if currency in _THREE else 2


def from_minor_untrusted(value: object, currency: str) -> Decimal:
    """Return an amount from a whole number of minor units, such as cents.

    Raises:
        MalformedAmountError: it is no whole number, or over 10^15.
    """
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) > _MINOR_MAX:
        raise MalformedAmountError(f"expected a whole number of minor units, got {_kind(value)}")
    return Decimal(value).scaleb(-minor_digits(currency))


def currency_untrusted(value: object) -> str:
    """Return an ISO 4217 code in capital letters.

    Raises:
        MalformedAmountError: it is none.
    """
    text = value.strip().upper() if isinstance(value, str) else ""
    if not _CURRENCY.fullmatch(text):
        raise MalformedAmountError(f"expected a currency code such as USD, got {_kind(value)}")
    return text


def _kind(value: object) -> str:
    return ascii(value[:40]) if isinstance(value, str) else type(value).__name__
