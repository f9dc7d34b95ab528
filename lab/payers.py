"""Makes up two years of people that pay, or do not: early, on the last minute, late, in parts, too much, in cash that
is entered days later, by bank debits that bounce, in another currency, or by a promise.

Everything follows from the seed. The moments lie where mistakes are made: the last and the first minutes of a local
day, the days on which clocks change, the minute of the next one's invoice.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Final
from zoneinfo import ZoneInfo

from lab.history import (
    NEVER,
    PastCover,
    PastCreditNote,
    PastInvoice,
    PastPayment,
    PastPromise,
    PayerLife,
    Span,
    rounded,
)

_DAY: Final = 86_400.0
_PRICES: Final = {"USD": "34.00", "EUR": "29.90", "UGX": "120000", "KWD": "8.500", "CLP": "19990"}
_CURRENCIES: Final = ("USD", "USD", "EUR", "UGX", "KWD", "CLP")
_HABITS: Final[tuple[tuple[str, int], ...]] = (
    ("early", 30),
    ("last-minute", 8),
    ("after-midnight", 8),
    ("late", 14),
    ("nothing", 10),
    ("all", 26),
    ("part", 8),
    ("excess", 5),
    ("cash", 6),
    ("debit", 6),
    ("bounces", 5),
    ("deleted", 3),
    ("foreign", 3),
    ("forgiven", 4),
    ("voided", 4),
    ("written-off", 3),
    ("promises", 6),
    ("postpones", 4),
)
"""The ways to treat an invoice, and how often of 153."""


@dataclass(slots=True)
class _Payment:
    """A payment that somebody means to make; how much it is shows when it is entered."""

    id: str
    how: str
    number: str
    paid_s: float
    entered_s: float
    settled_s: float
    taken_back_s: float = NEVER
    deleted: bool = False
    day_only: bool = False
    currency: str = ""
    attached_after_s: float = 0.0
    amount: Decimal = Decimal(0)
    covers: list[PastCover] = field(default_factory=list)


@dataclass(slots=True)
class _Note:
    number: str
    invoice: str
    at_s: float
    covers: list[PastCover] = field(default_factory=list)


@dataclass(slots=True)
class _Life:
    random: random.Random
    currency: str
    zone: ZoneInfo
    price: Decimal
    invoices: list[PastInvoice] = field(default_factory=list)
    payments: list[_Payment] = field(default_factory=list)
    notes: list[_Note] = field(default_factory=list)
    promises: list[PastPromise] = field(default_factory=list)
    postponements: list[Span] = field(default_factory=list)

    def at(self, day: date, clock: time) -> float:
        """Return the moment of a local time; in an hour that clocks leap over, the moment of the leap."""
        return datetime.combine(day, clock, self.zone).timestamp()

    def some_time(self, day: date) -> float:
        return self.at(day, time(self.random.randrange(24), self.random.randrange(60), self.random.randrange(60)))


def payers(seed: int, count: int, zone: ZoneInfo, first: date, months: int = 24, prefix: str = "C") -> list[PayerLife]:
    """Return the lives of subscribers `C-10000` and following.

    Args:
        seed: of all that follows.
        count: how many subscribers.
        zone: of the billing system.
        first: the first day of the history.
        months: how many invoices each gets, one every 30 days and a half on average.
        prefix: of their names.
    """
    names = [f"{prefix}-{10_000 + n}" for n in range(count)]
    return [_payer(random.Random(f"{seed}/{name}"), name, zone, first, months) for name in names]


def _payer(rng: random.Random, name: str, zone: ZoneInfo, first: date, months: int) -> PayerLife:
    currency = rng.choice(_CURRENCIES)
    life = _Life(rng, currency, zone, rounded(Decimal(_PRICES[currency]) * rng.choice((1, 1, 2, 3)), currency))
    usual = _habit(rng)
    all_by_day = rng.random() < 0.25
    offset, terms = rng.randrange(30), rng.choice((0, 7, 14, 14, 30))
    for month in range(months):
        made = first + timedelta(days=offset + month * 61 // 2)
        _month(life, f"{name}-{month + 1:02}", made, made + timedelta(days=terms), usual)
    _put_in_order(life)
    start_s, end_s = life.at(first, time()), life.at(first + timedelta(days=months * 61 // 2), time())
    return PayerLife(
        name,
        currency,
        zone,
        rng.choice((None, None, None, 0, 3, 10)),
        tuple(life.invoices),
        tuple(_done(p, currency, all_by_day) for p in life.payments),
        tuple(PastCreditNote(n.number, n.at_s, _amount_of(life, n.invoice), tuple(n.covers)) for n in life.notes),
        tuple(life.promises),
        tuple(life.postponements),
        tuple(_spans(rng, start_s, end_s, 0.08, ("school", "staff", "contract"))),
        tuple(_spans(rng, start_s, end_s, 0.15, ("abuse", "request"))),
    )


def _habit(rng: random.Random) -> str:
    return rng.choices([habit for habit, _ in _HABITS], [weight for _, weight in _HABITS])[0]


def _spans(rng: random.Random, start_s: float, end_s: float, share: float, what: Sequence[str]) -> Iterator[Span]:
    if rng.random() < share:
        from_s = rng.uniform(start_s, end_s)
        yield Span(from_s, from_s + rng.uniform(5, 200) * _DAY, rng.choice(what))


def _month(life: _Life, number: str, made: date, due: date, usual: str) -> None:
    rng = life.random
    habit = usual if usual != "nothing" and rng.random() < 0.4 else _habit(rng)
    made_s = life.some_time(made)
    drafted_s = made_s - rng.choice((0, 0, 0, 3600, 2 * _DAY))
    void_s = life.some_time(due + timedelta(days=rng.randrange(1, 30))) if habit == "voided" else NEVER
    written_off_s = life.some_time(due + timedelta(days=rng.randrange(40, 120))) if habit == "written-off" else NEVER
    if rng.random() < 0.05:
        life.invoices.append(PastInvoice(f"P{number}", made_s, due, life.price, NEVER, proforma=True))
    if rng.random() < 0.02:
        life.invoices.append(PastInvoice(f"D{number}", made_s, due, life.price, NEVER))
    life.invoices.append(
        PastInvoice(number, drafted_s, due, life.price, made_s, void_s=void_s, uncollectible_s=written_off_s)
    )
    if habit == "forgiven":
        life.notes.append(_Note(f"N{number}", number, life.some_time(due + timedelta(days=rng.randrange(-3, 40)))))
    if habit == "promises":
        told = life.some_time(due + timedelta(days=rng.randrange(0, 4)))
        life.promises.append(PastPromise(told, due + timedelta(days=rng.randrange(4, 20))))
    if habit == "postpones":
        told = life.some_time(due + timedelta(days=rng.randrange(1, 12)))
        life.postponements.append(Span(told, told + _DAY))
    for n, payment in enumerate(_paid(life, habit, number, made, due, made_s)):
        payment.id = f"{number}.{n}"
        life.payments.append(payment)


def _paid(life: _Life, habit: str, number: str, made: date, due: date, made_s: float) -> Iterator[_Payment]:
    rng = life.random

    def payment(how: str, paid_s: float, entered_s: float = 0.0, settled_s: float = 0.0) -> _Payment:
        paid_s = max(paid_s, made_s + 60)
        entered_s = max(entered_s, paid_s + rng.choice((0, 0, 5, 90)))
        one = _Payment("", how, number, paid_s, entered_s, max(settled_s, paid_s))
        if rng.random() < 0.1:  # unattached at first
            one.attached_after_s = rng.uniform(600, 6 * _DAY)
        return one

    def after_due(least: int, most: int) -> date:
        return due + timedelta(days=rng.randrange(least, most))

    match habit:
        case "early":
            yield payment("invoice", life.some_time(made + timedelta(days=rng.randrange(max((due - made).days, 1)))))
        case "last-minute":
            yield payment("invoice", life.at(due, time(23, 59, rng.randrange(60))))
        case "after-midnight":
            yield payment("invoice", life.at(due + timedelta(days=1), time(0, 0, rng.randrange(60))))
        case "late" | "promises" | "postpones":
            yield payment("invoice", life.some_time(after_due(1, 26)))
        case "all":
            yield payment("all", life.some_time(after_due(0, 40)))
        case "part":
            yield payment("part", life.some_time(after_due(-3, 10)))
            if rng.random() < 0.7:
                yield payment("invoice", life.some_time(after_due(10, 40)))
        case "excess":
            yield payment("excess", life.some_time(after_due(-3, 30)))
        case "cash":
            paid = life.some_time(after_due(-2, 10))
            one = payment("invoice", paid, paid + rng.uniform(0.1, 6) * _DAY)
            one.day_only = rng.random() < 0.5
            yield one
        case "debit":
            paid = life.some_time(after_due(-2, 5))
            yield payment("invoice", paid, paid, paid + rng.uniform(0.5, 6) * _DAY)
        case "bounces" | "deleted":
            paid = life.some_time(after_due(-4, 10))
            one = payment("invoice", paid, 0.0, paid + rng.choice((0, 3 * _DAY)))
            one.taken_back_s = max(one.entered_s, one.settled_s) + rng.uniform(0.2, 12) * _DAY
            one.deleted = habit == "deleted"
            yield one
        case "foreign":
            one = payment("invoice", life.some_time(after_due(-3, 20)))
            one.currency = "ZAR" if life.currency != "ZAR" else "USD"
            yield one
        case "voided" | "written-off":
            if rng.random() < 0.3:
                yield payment("part", life.some_time(after_due(-3, 20)))
        case _:
            return


# --- whose money stands where -----------------------------------------------------------------------------------------


def _put_in_order(life: _Life) -> None:
    """Say how much each payment is, and on which invoices it stands from when on: the oldest first."""
    happened: list[tuple[float, int, str, object]] = []

    def note(at_s: float, what: str, whom: object) -> None:
        if at_s < NEVER:
            happened.append((at_s, len(happened), what, whom))

    for invoice in life.invoices:
        note(invoice.opened_s, "opened", invoice)
        note(invoice.void_s, "void", invoice)
    for payment in life.payments:
        note(payment.entered_s, "entered", payment)
        counts_s = max(payment.entered_s, payment.settled_s)
        note(counts_s + payment.attached_after_s, "attached", payment)
        note(payment.taken_back_s, "taken back", payment)
    for credit in life.notes:
        note(credit.at_s, "forgiven", credit)
    books = _OpenBooks(life)
    for at_s, _, what, whom in sorted(happened, key=lambda each: each[:2]):
        books.happens(at_s, what, whom)


class _OpenBooks:
    """The unpaid sums while a history is made up."""

    def __init__(self, life: _Life) -> None:
        self._life = life
        self._unpaid: dict[str, Decimal] = {}
        self._over: set[str] = set()
        self._ended: dict[str, float] = {}

    def happens(self, at_s: float, what: str, whom: object) -> None:
        match whom:
            case PastInvoice() if what == "opened":
                if whom.void_s > at_s:
                    self._unpaid[whom.number] = whom.amount
                    self._use_credit(at_s)
            case PastInvoice():
                self._unpaid.pop(whom.number, None)
                self._over.add(whom.number)
            case _Payment() if what == "entered":
                whom.amount = self._amount(whom)
            case _Payment() if what == "attached":
                if whom.taken_back_s > at_s:
                    self._stand(whom.covers, whom.amount, at_s)
            case _Payment():
                for cover in whom.covers:
                    if cover.number in self._unpaid:
                        self._unpaid[cover.number] += cover.amount
            case _Note():
                self._stand(whom.covers, min(_amount_of(self._life, whom.invoice), self._open()), at_s)
            case _:
                raise TypeError(f"nothing happens to {type(whom).__name__}")

    def _open(self) -> Decimal:
        return sum(self._unpaid.values(), Decimal(0))

    def _amount(self, payment: _Payment) -> Decimal:
        price = _amount_of(self._life, payment.number)
        match payment.how:
            case "all":
                amount = self._open() or price
            case "part":
                amount = price / self._life.random.choice((2, 3, 5))
            case "excess":
                amount = price * self._life.random.choice((2, 3)) / self._life.random.choice((1, 2)) + price
            case _:
                amount = price
        return rounded(amount, self._life.currency)

    def _stand(self, covers: list[PastCover], amount: Decimal, at_s: float) -> None:
        left = amount - sum((c.amount for c in covers if c.number not in self._over), Decimal(0))
        for number, unpaid in self._unpaid.items():
            part = min(unpaid, left)
            if part > 0:
                covers.append(PastCover(number, part, at_s))
                self._unpaid[number] -= part
                left -= part

    def _use_credit(self, at_s: float) -> None:
        """Put older payments' credit on the invoice that was just opened; two systems in three do."""
        if self._life.random.random() < 0.67:
            for payment in self._life.payments:
                counts_s = max(payment.entered_s, payment.settled_s) + payment.attached_after_s
                if counts_s <= at_s < payment.taken_back_s and payment.covers:
                    self._stand(payment.covers, payment.amount, at_s)


def _amount_of(life: _Life, number: str) -> Decimal:
    return next(i.amount for i in life.invoices if i.number == number)


def _done(p: _Payment, currency: str, by_day: bool) -> PastPayment:
    foreign = bool(p.currency)
    return PastPayment(
        id=p.id,
        amount=rounded(p.amount * 18, p.currency) if foreign else p.amount,
        currency=p.currency or currency,
        worth=p.amount,
        paid_s=p.paid_s,
        entered_s=p.entered_s,
        settled_s=p.settled_s,
        covers=tuple(p.covers),
        taken_back_s=p.taken_back_s,
        deleted=p.deleted,
        day_only=p.day_only or by_day,
    )
