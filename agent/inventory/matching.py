"""Which subscriber a payment is of, and how it counts. Pure.

* The source's own word comes first: its account, or another source that tells of the same payment. Only then counts the
  text that the payer typed: the number of an open invoice, or a name, and only if it fits exactly one subscriber.
* In doubt a payment is nobody's: it waits for a person (`ispagent billing match`). A wrong match restores nobody by
  itself, for that the account must have nothing overdue; but the payer would wait.
* A payment of which several sources tell is one: they give the same reference of the provider. It was learned when the
  first of them told of it.
"""

from __future__ import annotations

import enum
import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from agent.billing_model.account import Account, Payment, PaymentState
from agent.model import Service
from agent.spelling import fold, phone_of

_NOISE: Final = re.compile(r"[\W_]+")
_WORDS: Final = re.compile(r"[\s,;:|]+")
_DIGITS_MIN: Final = 4
"""Shorter numbers, and words as invoice numbers, are house numbers and amounts."""
_TYPED_CHARS: Final = 200
_WORDS_MOST: Final = 20
"""Characters of a payer's text that are read."""


class MatchedBy(enum.Enum):
    """How a payment was brought to its subscriber."""

    SOURCE = "source"
    """The source names the account, or the subscriber."""
    INVOICE = "invoice"
    PROVIDER = "provider-reference"
    """Another source tells of the same payment, and knows the payer."""
    TYPED = "typed"
    PERSON = "person"


class PaymentCase(enum.Enum):
    """How a payment counts, the one word that lists and reviews say."""

    COUNTS = "counts"
    """Settled, in the account's currency, and nothing is overdue."""
    EXCESS = "excess"
    """As `COUNTS`, and the account has credit since."""
    PART = "part"
    """Settled, and something is overdue still: nobody is restored by it."""
    FOREIGN = "foreign-currency"
    """In another currency than the account: the source decides its worth by its account."""
    PENDING = "pending"
    REVERSED = "reversed"
    """Taken back, refunded, or deleted in the source."""
    UNMATCHED = "unmatched"


@dataclass(frozen=True, slots=True)
class PaymentMatch:
    """The payer of a payment. `subscriber` "": nobody knows; `why` says it in a line without data of any subscriber."""

    subscriber: str
    by: MatchedBy | None = None
    why: str = ""


class PayerIndex:
    """Finds subscribers by the texts of sources and payers. Made once for many payments."""

    def __init__(self, services: Iterable[Service], accounts: Mapping[str, Sequence[Account]]) -> None:
        """Read the names.

        Args:
            services: of the inventory.
            accounts: of each source that tells accounts, as they are kept. The account of a payment of another source
                is the provider's name of a payer, of which nobody here knows: such a payment is matched by its texts.
        """
        self._telling = frozenset(accounts)
        self._accounts: dict[tuple[str, str], str] = {}
        self._invoices: dict[str, set[str]] = {}
        self._names: dict[str, set[str]] = {}
        self._digits: dict[str, set[str]] = {}
        self._phones: dict[str, set[str]] = {}
        for service in services:
            for text in (service.subscriber, service.ref, service.login):
                self._name(text, service.subscriber)
            for value in (service.extra or {}).values():
                if phone := phone_of(value):
                    self._phones.setdefault(phone, set()).add(service.subscriber)
        for source, kept in accounts.items():
            for account in kept:
                if account.subscriber:
                    self._accounts[source, account.key] = account.subscriber
                    for invoice in account.invoices:
                        if key := _squeezed(invoice.number):
                            self._invoices.setdefault(key, set()).add(account.subscriber)

    def _name(self, text: str, subscriber: str) -> None:
        if key := _squeezed(text):
            self._names.setdefault(key, set()).add(subscriber)
            if len(digits := _digits(key)) >= _DIGITS_MIN:
                self._digits.setdefault(digits, set()).add(subscriber)

    def of(self, source: str, payment: Payment, told: Iterable[str] = ()) -> PaymentMatch:
        """Return the subscriber that made a payment, or why none is known.

        Args:
            source: that told of it.
            payment: as told.
            told: subscribers of the payments of other sources with the same reference of the provider.
        """
        if payment.subscriber:
            return PaymentMatch(payment.subscriber, MatchedBy.SOURCE)
        if payment.account and source in self._telling:
            subscriber = self._accounts.get((source, payment.account), "")
            if subscriber:
                return PaymentMatch(subscriber, MatchedBy.SOURCE)
            # its account is somebody's of whom the inventory does not know: a text must not give it to another
            return PaymentMatch("", why="the source's account of it is no subscriber's")
        others = {name for name in told if name}
        if len(others) > 1:
            return PaymentMatch("", why="two sources tell of it, for different subscribers")
        if others:
            return PaymentMatch(others.pop(), MatchedBy.PROVIDER)
        return self._by_texts(payment.references)

    def _by_texts(self, references: Sequence[str]) -> PaymentMatch:
        texts = [text[:_TYPED_CHARS] for text in references if text.strip()]
        if not texts:
            return PaymentMatch("", why="it has no reference")
        wholes, words = [_squeezed(text) for text in texts], [word for text in texts for word in _words(text)]
        numbers = [*wholes, *(word for word in words if len(word) >= _DIGITS_MIN)]
        invoices = _found(self._invoices, numbers)
        typed = self._named(texts, wholes, words)
        found = invoices | typed
        if len(found) == 1:
            return PaymentMatch(found.pop(), MatchedBy.INVOICE if invoices else MatchedBy.TYPED)
        if found:
            return PaymentMatch("", why=f"its reference fits {len(found)} subscribers")
        return PaymentMatch("", why="its reference fits no subscriber")

    def _named(self, texts: Sequence[str], wholes: Sequence[str], words: Sequence[str]) -> set[str]:
        """Return the subscribers that texts name: as a whole before by their words, by names before by mere digits.

        `10482` may be a name, and a part of another one.
        """
        for index, keys in (
            (self._names, wholes),
            (self._names, words),
            (self._digits, [key for key in wholes if key.isdecimal()]),
            (self._phones, [phone_of(text) for text in texts]),
        ):
            if found := _found(index, keys):
                return found
        return set()


def same_payment(one: Payment, other: Payment) -> bool:
    """Return whether two sources tell of one payment: the provider's reference, the amount and the currency agree."""
    if not one.provider_reference or one.provider_reference != other.provider_reference:
        return False
    currencies = {one.currency, other.currency} - {""}
    return one.amount == other.amount and len(currencies) <= 1


def case_of(payment: Payment, subscriber: str, account: Account | None, overdue: Decimal) -> PaymentCase:
    """Return how a payment counts.

    Args:
        payment: as its source told it last.
        subscriber: the payer; "": nobody knows.
        account: of that subscriber at the authority, as kept; None: there is none.
        overdue: of that account on the operator's day.
    """
    if payment.state is PaymentState.REVERSED:
        return PaymentCase.REVERSED
    if not subscriber:
        return PaymentCase.UNMATCHED
    if payment.state is PaymentState.PENDING:
        return PaymentCase.PENDING
    if account is None:
        return PaymentCase.COUNTS
    if payment.currency and account.currency and payment.currency != account.currency:
        return PaymentCase.FOREIGN
    if overdue > 0:
        return PaymentCase.PART
    return PaymentCase.EXCESS if account.balance < 0 else PaymentCase.COUNTS


def _squeezed(text: str) -> str:
    """Return a text without anything but letters and digits, in which case and look-alikes make no difference."""
    return _NOISE.sub("", fold(text))


def _words(text: str) -> list[str]:
    """Return the words of a text, squeezed, and two that follow each other as one (`C 10482`)."""
    words = [word for word in (_squeezed(each) for each in _WORDS.split(text)) if word][:_WORDS_MOST]
    return [*(a + b for a, b in itertools.pairwise(words)), *words]


def _digits(key: str) -> str:
    return "".join(c for c in key if c.isdecimal())


def _found(index: Mapping[str, set[str]], keys: Iterable[str]) -> set[str]:
    return {subscriber for key in keys if key for subscriber in index.get(key, ())}
