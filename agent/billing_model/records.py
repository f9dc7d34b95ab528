"""Fields of a source's records, each read in the form that its description says. Pure.

A message names the kind of record and the field, and never a value: there are subscribers in it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from decimal import Decimal
from functools import lru_cache
from typing import Final, NoReturn

from agent.billing_model.days import When, when_untrusted
from agent.billing_model.errors import MalformedAmountError, MalformedDayError, MalformedRecordError
from agent.billing_model.money import amount_untrusted, currency_untrusted

_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", re.ASCII)
_ID_MOST: Final = 10**64
_TEXT_MOST: Final = 1000
"""Characters of a text that are kept. Chosen arbitrarily."""
_when: Final = lru_cache(maxsize=1024)(when_untrusted)
_currency: Final = lru_cache(maxsize=64)(currency_untrusted)
"""Few days are due days of many invoices, and few currencies are theirs."""
_NO_DAY: Final = ("", "0000-00-00")


@dataclass(frozen=True, slots=True)
class Record:
    """A JSON object of a source. `kind`: such as `invoice`, for messages."""

    kind: str
    fields: Mapping[str, object]

    def id(self, name: str) -> str:
        """Return an id, which may be a whole number or a text.

        Raises:
            MalformedRecordError: it is missing or none.
        """
        value = self.fields.get(name)
        if type(value) is int and 0 <= value < _ID_MOST:
            return str(value)
        text = value if isinstance(value, str) else ""
        return text if _ID.fullmatch(text) else self._wrong(name, "an id")

    def id_or_none(self, name: str) -> str:
        """Return an id; "" where there is none.

        Raises:
            MalformedRecordError: it is another thing.
        """
        return "" if self.fields.get(name) in (None, "") else self.id(name)

    def text(self, name: str) -> str:
        """Return a text; a number as it is written; "" where there is none.

        Raises:
            MalformedRecordError: it is another thing.
        """
        value = self.fields.get(name)
        if value is None:
            return ""
        if type(value) is str and len(value) <= _TEXT_MOST:
            return value
        if type(value) is int:
            return str(value)[:_TEXT_MOST]
        if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
            return self._wrong(name, "a text")
        return str(value)[:_TEXT_MOST]

    def number(self, name: str) -> int | None:
        """Return a whole number up to a million, which may be written as a text; None: there is none.

        Raises:
            MalformedRecordError: it is another thing.
        """
        value = self.fields.get(name)
        if value is None or value == "":
            return None
        if isinstance(value, str) and re.fullmatch(r"[0-9]{1,7}", value, re.ASCII):
            return int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 1_000_000:
            return self._wrong(name, "a whole number")
        return value

    def flag(self, name: str) -> bool | None:
        """Return true or false, also of 1 and 0; None: there is none.

        Raises:
            MalformedRecordError: it is another thing.
        """
        value = self.fields.get(name)
        if value is None or value is True or value is False:
            return value
        found = {"0": False, "1": True}.get(str(value)) if isinstance(value, int | str) else None
        return self._wrong(name, "true or false") if found is None else found

    def amount(self, name: str) -> Decimal:
        """Return a sum of money.

        Raises:
            MalformedRecordError: it is missing or none.
        """
        try:
            return amount_untrusted(self.fields.get(name))
        except MalformedAmountError as err:
            return self._wrong(name, "a sum", err)

    def currency(self, name: str) -> str:
        """Return an ISO 4217 code; "" where there is none.

        Raises:
            MalformedRecordError: it is another thing.
        """
        value = self.fields.get(name)
        if value is None or value == "":
            return ""
        try:
            return _currency(value) if type(value) is str else currency_untrusted(value)
        except MalformedAmountError as err:
            return self._wrong(name, "a currency code", err)

    def when(self, name: str, zone: tzinfo) -> When:
        """Return a day or moment.

        Raises:
            MalformedRecordError: it is missing or none.
        """
        return self.when_or_none(name, zone) or self._wrong(name, "a day")

    def when_or_none(self, name: str, zone: tzinfo) -> When | None:
        """Return a day or moment; None where there is none.

        Raises:
            MalformedRecordError: it is another thing.
        """
        value = self.fields.get(name)
        if value is None or value in _NO_DAY:
            return None
        if type(value) is not str:
            return self._wrong(name, "a day")
        try:
            return _when(value, zone)
        except MalformedDayError as err:
            return self._wrong(name, "a day", err)

    def records(self, name: str, kind: str) -> Sequence[Record]:
        """Return the objects of a list; none where it is missing.

        Raises:
            MalformedRecordError: it is no list of objects.
        """
        value = self.fields.get(name)
        return () if value is None else records_untrusted(value, kind)

    def _wrong(self, name: str, expected: str, cause: Exception | None = None) -> NoReturn:
        raise MalformedRecordError(f"{self.kind}: expected {expected} in {name}, got something else") from cause


def record_untrusted(value: object, kind: str) -> Record:
    """Return a JSON value as a record.

    Raises:
        MalformedRecordError: it is no object.
    """
    if not isinstance(value, dict):
        raise MalformedRecordError(f"{kind}: expected a JSON object, got {type(value).__name__}")
    return Record(kind, value)


def records_untrusted(value: object, kind: str) -> Sequence[Record]:
    """Return a JSON value as a list of records.

    Raises:
        MalformedRecordError: it is no list of objects.
    """
    if not isinstance(value, list):
        raise MalformedRecordError(f"{kind}: expected a JSON list, got {type(value).__name__}")
    return [Record(kind, each) if type(each) is dict else record_untrusted(each, kind) for each in value]
