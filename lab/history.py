"""A billing system's records about its subscribers, and its accounts at any moment.

A history is a list of documents, each with the moments at which something happened to it; `books_at` gives the state in
between. Nothing here decides on suspensions: that is for the tests to know. Moments are unix seconds; a due day is
one in the billing system's zone. Amounts are exact.

* An invoice asks for money from `opened_s` on, until it is void or uncollectible. A draft is one that is not opened
  yet; a proforma never asks.
* A payment is held from `entered_s` on, which may be days after it was made. It counts from `settled_s` on, and no
  longer once it is taken back.
* The part of a payment or of a credit note that stands on no invoice is credit. If an invoice becomes void, the money
  that stood on it is credit again.
"""

from __future__ import annotations

import bisect
import enum
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Final
from zoneinfo import ZoneInfo

NEVER: Final = math.inf
MINOR_DIGITS: Final[Mapping[str, int]] = {"UGX": 0, "JPY": 0, "CLP": 0, "KWD": 3, "TND": 3}
"""Decimal digits of the minor unit where they are not two (ISO 4217)."""


def rounded(amount: Decimal, currency: str) -> Decimal:
    """Return an amount in whole minor units."""
    return amount.quantize(Decimal(1).scaleb(-MINOR_DIGITS.get(currency, 2)))


@dataclass(frozen=True, slots=True)
class PastInvoice:
    """An invoice from its making to its end."""

    number: str
    made_s: float
    due: date
    amount: Decimal
    opened_s: float
    proforma: bool = False
    void_s: float = NEVER
    uncollectible_s: float = NEVER


@dataclass(frozen=True, slots=True)
class PastCover:
    """So much of a payment or of a credit note stands on an invoice from a moment on."""

    number: str
    amount: Decimal
    at_s: float


@dataclass(frozen=True, slots=True)
class PastPayment:
    """A payment from its making to its end.

    `worth`: the amount in the books, in the account's currency. `day_only`: the system keeps its day and no time.
    `deleted`: taken back means that the system does not hold it any more.
    """

    id: str
    amount: Decimal
    currency: str
    worth: Decimal
    paid_s: float
    entered_s: float
    settled_s: float
    covers: tuple[PastCover, ...]
    taken_back_s: float = NEVER
    deleted: bool = False
    day_only: bool = False

    @property
    def counts_from_s(self) -> float:
        """When the books begin to count it."""
        return max(self.entered_s, self.settled_s)


@dataclass(frozen=True, slots=True)
class PastCreditNote:
    """A credit note: the operator forgives so much. Nobody paid."""

    number: str
    at_s: float
    amount: Decimal
    covers: tuple[PastCover, ...]


@dataclass(frozen=True, slots=True)
class PastPromise:
    """A promise to pay until the end of a day, made at a moment."""

    made_s: float
    until: date


@dataclass(frozen=True, slots=True)
class Span:
    """Something that held from a moment until another one, exclusive: a postponement, an exemption, a bar."""

    from_s: float
    until_s: float
    what: str = ""

    def holds(self, at_s: float) -> bool:
        """Return whether it holds at a moment."""
        return self.from_s <= at_s < self.until_s


@dataclass(frozen=True, slots=True)
class PayerLife:
    """Two years of one subscriber. `barred`: for another reason than debt, which no payment lifts."""

    subscriber: str
    currency: str
    zone: ZoneInfo
    own_grace_days: int | None
    invoices: tuple[PastInvoice, ...]
    payments: tuple[PastPayment, ...]
    credit_notes: tuple[PastCreditNote, ...]
    promises: tuple[PastPromise, ...]
    postponements: tuple[Span, ...]
    exemptions: tuple[Span, ...]
    barred: tuple[Span, ...]


class HeldStatus(enum.Enum):
    """The state of an invoice at a moment."""

    DRAFT = "draft"
    PROFORMA = "proforma"
    UNPAID = "unpaid"
    PARTLY = "partly"
    PAID = "paid"
    VOID = "void"
    UNCOLLECTIBLE = "uncollectible"


ASKING: Final = frozenset({HeldStatus.UNPAID, HeldStatus.PARTLY})


@dataclass(frozen=True, slots=True)
class HeldInvoice:
    """An invoice as the system holds it at a moment. `unpaid` is told of all, also of those that ask for nothing."""

    number: str
    made_s: float
    due: date
    amount: Decimal
    unpaid: Decimal
    status: HeldStatus


@dataclass(frozen=True, slots=True)
class HeldPayment:
    """A payment as the system holds it at a moment. `free`: the part on no invoice."""

    past: PastPayment
    state: str
    """`pending`, `settled` or `reversed`."""
    covers: Sequence[PastCover]
    free: Decimal

    @property
    def by_invoice(self) -> Mapping[str, Decimal]:
        """The amounts on invoices, by their numbers: a payment may cover parts of one invoice at several times."""
        found: dict[str, Decimal] = {}
        _put(found, self.covers)
        return found


@dataclass(frozen=True, slots=True)
class HeldNote:
    """A credit note as the system holds it at a moment. `free`: the part on no invoice."""

    past: PastCreditNote
    covers: Sequence[PastCover]
    free: Decimal


@dataclass(frozen=True, slots=True)
class Books:
    """All that a system holds of one subscriber at a moment. `balance`: above zero, so much is owed."""

    invoices: Sequence[HeldInvoice]
    payments: Sequence[HeldPayment]
    credit_notes: Sequence[HeldNote]
    credit: Decimal
    balance: Decimal
    promise_until: date | None
    hold_until_s: float
    exempt: str

    @property
    def asking(self) -> list[HeldInvoice]:
        """The invoices that ask for money, the one that is due first at the front."""
        return sorted((i for i in self.invoices if i.status in ASKING), key=lambda i: (i.due, i.number))


def books_at(life: PayerLife, at_s: float) -> Books:
    """Return the account of a subscriber at a moment."""
    gone = {i.number for i in life.invoices if i.void_s <= at_s}
    covered: dict[str, Decimal] = {}
    payments, notes = [], []
    for payment in life.payments:
        if payment.entered_s > at_s or (payment.deleted and payment.taken_back_s <= at_s):
            continue
        state = "reversed" if payment.taken_back_s <= at_s else "settled" if payment.settled_s <= at_s else "pending"
        covers = _standing(payment.covers, at_s, gone) if state == "settled" else []
        free = payment.worth - _sum(covers) if state == "settled" else Decimal(0)
        payments.append(HeldPayment(payment, state, covers, free))
        _put(covered, covers)
    for note in life.credit_notes:
        if note.at_s <= at_s:
            covers = _standing(note.covers, at_s, gone)
            notes.append(HeldNote(note, covers, note.amount - _sum(covers)))
            _put(covered, covers)
    zero = Decimal(0)
    invoices = [_held(i, covered.get(i.number, zero), at_s) for i in life.invoices if i.made_s <= at_s]
    credit = sum((p.free for p in payments), zero) + sum((n.free for n in notes), zero)
    owed = sum((i.unpaid for i in invoices if i.status in ASKING), zero)
    return Books(
        invoices,
        payments,
        notes,
        credit,
        owed - credit,
        max((p.until for p in life.promises if p.made_s <= at_s), default=None),
        max((s.until_s for s in life.postponements if s.holds(at_s)), default=0.0),
        next((s.what for s in life.exemptions if s.holds(at_s)), ""),
    )


def changes_of(life: PayerLife) -> Iterator[float]:
    """Yield the moments at which the books of a life change, in no order; some come twice, some never (`NEVER`)."""
    for i in life.invoices:
        yield from (i.made_s, i.opened_s, i.void_s, i.uncollectible_s)
    for p in life.payments:
        yield from (p.entered_s, p.settled_s, p.taken_back_s, *(c.at_s for c in p.covers))
    for n in life.credit_notes:
        yield from (n.at_s, *(c.at_s for c in n.covers))
    yield from (p.made_s for p in life.promises)
    for span in (*life.postponements, *life.exemptions):
        yield from (span.from_s, span.until_s)


class ChangedLives:
    """Finds the lives whose books changed, so that a system of many need not make all of its books anew."""

    def __init__(self, lives: Sequence[PayerLife]) -> None:
        """Begin before all moments: at the first one all lives are new."""
        self._lives = lives
        self._changes = sorted((at_s, n) for n, life in enumerate(lives) for at_s in {*changes_of(life)} - {NEVER})
        self._place = -1
        """How many changes lie before the last moment; -1: there was none."""

    def go_to(self, at_s: float) -> list[PayerLife]:
        """Return the lives whose books may differ from those of the last moment, which may be a later one."""
        was, self._place = self._place, bisect.bisect_right(self._changes, (at_s, len(self._lives)))
        if was < 0:
            return list(self._lives)
        between = self._changes[min(was, self._place) : max(was, self._place)]
        return [self._lives[n] for n in sorted({n for _, n in between})]


def _standing(covers: Sequence[PastCover], at_s: float, gone: set[str]) -> list[PastCover]:
    return [cover for cover in covers if cover.at_s <= at_s and cover.number not in gone]


def _put(covered: dict[str, Decimal], covers: Sequence[PastCover]) -> None:
    for cover in covers:
        covered[cover.number] = covered.get(cover.number, Decimal(0)) + cover.amount


def _sum(covers: Sequence[PastCover]) -> Decimal:
    return sum((cover.amount for cover in covers), Decimal(0))


def _held(past: PastInvoice, covered: Decimal, at_s: float) -> HeldInvoice:
    unpaid = past.amount - covered
    if past.void_s <= at_s:
        status = HeldStatus.VOID
    elif past.proforma:
        status = HeldStatus.PROFORMA
    elif past.opened_s > at_s:
        status = HeldStatus.DRAFT
    elif past.uncollectible_s <= at_s and unpaid > 0:
        status = HeldStatus.UNCOLLECTIBLE
    elif unpaid <= 0:
        status = HeldStatus.PAID
    else:
        status = HeldStatus.PARTLY if covered > 0 else HeldStatus.UNPAID
    return HeldInvoice(past.number, past.made_s, past.due, past.amount, unpaid, status)
