"""Writes the file that a billing system exports: one line a subscriber, as different systems write days and moments.

Its balance is the late part, where there is one, and else the whole debt: credit stands on the oldest invoice first.
Its payment is the one that was entered last.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, time
from decimal import Decimal
from zoneinfo import ZoneInfo

from lab.history import Books, HeldPayment, PayerLife, books_at

HEADER = "subscriber,name,service,login,method,tariff,protected,feeds,balance,due,paid_at,as_of,promise_until"


def says_day_only(life: PayerLife) -> bool:
    """Return whether a subscriber's lines say the day of the export and no time."""
    return _style(life) % 7 == 0


def csv_of(lives: Iterable[PayerLife], at_s: float) -> bytes:
    """Return the export of a moment, whole seconds."""
    return "\n".join([HEADER, *(_line(life, at_s) for life in lives), ""]).encode()


def _line(life: PayerLife, at_s: float) -> str:
    books, zone, style = books_at(life, at_s), life.zone, _style(life)
    owed, due = _owed(books, datetime.fromtimestamp(at_s, zone).date())
    last = max(
        (p for p in books.payments if p.state == "settled"),
        key=lambda p: (p.past.counts_from_s, p.past.id),
        default=None,
    )
    held = [] if not books.hold_until_s else [datetime.fromtimestamp(books.hold_until_s, zone).date()]
    promise = max([*held, *([books.promise_until] if books.promise_until else [])], default=None)
    as_of = datetime.fromtimestamp(at_s, zone).date().isoformat() if says_day_only(life) else _moment(at_s, zone, style)
    cells = [life.subscriber, "", "main", life.subscriber.lower(), "pppoe", "Home", books.exempt, "0", str(owed)]
    cells += ["" if due is None else _day(due, zone, style), "" if last is None else _paid(last, zone, style), as_of]
    return ",".join([*cells, "" if promise is None else promise.isoformat()])


def _owed(books: Books, today: date) -> tuple[Decimal, date | None]:
    left, rests = books.credit, []
    for invoice in books.asking:
        put = min(left, invoice.unpaid)
        left -= put
        if invoice.unpaid > put:
            rests.append((invoice.due, invoice.unpaid - put))
    if not rests:
        return -left, None
    late = [rest for due, rest in rests if due < today]
    return sum(late or [rest for _, rest in rests], Decimal(0)), rests[0][0]


def _style(life: PayerLife) -> int:
    return int(life.subscriber.rpartition("-")[2])


def _day(day: date, zone: ZoneInfo, style: int) -> str:
    return datetime.combine(day, time(), zone).isoformat() if style % 3 == 1 else day.isoformat()


def _paid(payment: HeldPayment, zone: ZoneInfo, style: int) -> str:
    paid_s = payment.past.paid_s
    if payment.past.day_only:
        return datetime.fromtimestamp(paid_s, zone).date().isoformat()
    return _moment(paid_s, zone, style)


def _moment(at_s: float, zone: ZoneInfo, style: int) -> str:
    if style % 2:
        return datetime.fromtimestamp(at_s, UTC).isoformat().replace("+00:00", "Z")
    return datetime.fromtimestamp(at_s, zone).isoformat()
