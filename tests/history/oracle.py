"""Who may be cut off for debt, and who is back by itself: written apart from the agent, from what happened alone.

It knows the documents and the operator's promises to subscribers, nothing of the agent's accounts, ledger or verbs.
Sums are whole thousandths, and a local day ends where the calendar of its zone turns, found by search.

The promises:

* Nobody is cut off for an invoice before the local day after its due day and the days of grace has begun.
* A promise, a postponement or an exemption protects; and so does money on its way: pending for less than a week, or
  told by the source so late that its word on the account may not count it.
* A subscriber with nothing overdue any more, of whose payment the agent hears after the cut, is back by itself.
  Everybody else waits for a person, or still owes.
"""

from __future__ import annotations

import bisect
import enum
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cache
from zoneinfo import ZoneInfo

from lab.history import PastPayment, PayerLife, Span

WEEK_S = 7 * 86_400


class Cut(enum.Enum):
    """Whether somebody may be cut off for debt now, and what forbids it."""

    MAY = "may"
    PROMISED = "promised"
    POSTPONED = "postponed"
    EXEMPT = "exempt"
    NOTHING_OVERDUE = "nothing overdue"
    GRACE = "in grace"
    MINIMUM = "below the minimum"
    MONEY_ON_ITS_WAY = "money on its way"


class Back(enum.Enum):
    """What becomes of somebody who is cut off for debt."""

    BY_ITSELF = "by itself"
    BARRED = "the debt is lifted by itself, another reason stays"
    WAITS = "waits for a person"
    OWES = "owes"


@dataclass(frozen=True, slots=True)
class Told:
    """How much a source can tell.

    `pending`: payments that are not settled yet. `times`: when payments were made; None: of some their
    days only. `own_grace`: its own delay for an account. `holds_by_day`: of a
    postponement its last day only. `together`: payments come in one word with the account that counts them.
    `reversals`: that a payment was taken back. `latest_only`: of all payments the one that it counted last.
    """

    pending: bool = True
    times: bool | None = None
    own_grace: bool = True
    holds_by_day: bool = False
    together: bool = False
    reversals: bool = True
    latest_only: bool = False


@dataclass(frozen=True, slots=True)
class Looks:
    """When the agent looked. All moments are unix seconds.

    `now_s`: it decides. `read_s`: of this moment are the books that it read. `surely_s`: the source says that they are
    of this moment at least. `polls`: when it asked for payments, ascending, the last one not after `now_s`.
    """

    now_s: float
    read_s: float
    surely_s: float
    polls: Sequence[float]


@dataclass(frozen=True, slots=True)
class Oracle:
    """Judges one operator's subscribers. `minimum`: in the account's currency."""

    zone: ZoneInfo
    told: Told = Told()
    grace_days: int = 0
    minimum: Decimal = Decimal(0)

    def cut(self, life: PayerLife, looks: Looks) -> Cut:
        """Return whether somebody may be cut off for debt now."""
        read_s, now_s = looks.read_s, looks.now_s
        if any(span.holds(read_s) for span in life.exemptions):
            return Cut.EXEMPT
        if any(p.made_s <= read_s and now_s < day_ends(p.until, self.zone) for p in life.promises):
            return Cut.PROMISED
        if any(span.holds(read_s) and now_s < self._held_until(span, life.zone) for span in life.postponements):
            return Cut.POSTPONED
        if self.overdue(life, looks) <= 0:
            return Cut.NOTHING_OVERDUE
        late = self.overdue(life, looks, self._grace(life))
        if late <= 0:
            return Cut.GRACE
        if late < _mils(self.minimum):
            return Cut.MINIMUM
        if any(self._on_its_way(life, payment, looks) for payment in life.payments):
            return Cut.MONEY_ON_ITS_WAY
        return Cut.MAY

    def back(self, life: PayerLife, looks: Looks, cut_s: float) -> Back:
        """Return what becomes of somebody who was cut off at a moment, after a last look at the account."""
        if self.overdue(life, looks, self._grace(life)) > 0:
            return Back.OWES
        polls = looks.polls
        for payment in life.payments:
            heard_s = self._heard(life, payment, payment.counts_from_s, polls)
            if heard_s is not None and heard_s >= cut_s and not self._known_taken_back(payment, polls[-1]):
                return Back.BARRED if any(span.holds(looks.now_s) for span in life.barred) else Back.BY_ITSELF
        return Back.WAITS

    def _grace(self, life: PayerLife) -> int:
        return max(self.grace_days, life.own_grace_days or 0 if self.told.own_grace else 0)

    def overdue(self, life: PayerLife, looks: Looks, grace_days: int = 0) -> int:
        """Return what is overdue in thousandths: late invoices less credit, and never more than is owed in all."""
        at_s = looks.read_s
        open_, paid = {}, 0
        for invoice in life.invoices:
            asks = invoice.opened_s <= at_s and not invoice.proforma
            if asks and invoice.void_s > at_s:
                open_[invoice.number] = (_mils(invoice.amount), invoice.due, invoice.uncollectible_s <= at_s)
        free = 0
        put = dict.fromkeys(open_, 0)
        for worth, covers in _money(life, at_s):
            paid += worth
            free += worth
            for number, amount, since_s in covers:
                if since_s <= at_s and number in put:
                    put[number] += amount
                    free -= amount
        late = owed = 0
        for number, (amount, due, given_up) in open_.items():
            rest = amount - put[number]
            if given_up or rest <= 0:
                continue
            owed += rest
            if looks.now_s >= day_ends(due + timedelta(days=grace_days), self.zone):
                late += rest
        return max(min(late - free, owed - free), 0)

    def _held_until(self, span: Span, zone: ZoneInfo) -> float:
        if not self.told.holds_by_day:
            return span.until_s
        return day_ends(datetime.fromtimestamp(span.until_s, zone).date(), self.zone)

    def _on_its_way(self, life: PayerLife, payment: PastPayment, looks: Looks) -> bool:
        polled_s = looks.polls[-1]
        if payment.entered_s > polled_s or self._known_taken_back(payment, polled_s):
            return False
        pending = payment.settled_s > polled_s
        if pending and not self.told.pending:
            return False
        last_s = self._last_s(payment, life.zone)
        if pending and last_s > looks.now_s - WEEK_S:
            return True
        begins_s = payment.entered_s if self.told.pending else payment.counts_from_s
        if last_s >= looks.surely_s:
            return self._heard(life, payment, begins_s, looks.polls) is not None
        if self.told.together:
            return False
        heard_s = self._heard(life, payment, begins_s, looks.polls)
        return heard_s is not None and heard_s >= looks.surely_s

    def _known_taken_back(self, payment: PastPayment, polled_s: float) -> bool:
        return self.told.reversals and payment.taken_back_s <= polled_s

    def _last_s(self, payment: PastPayment, zone: ZoneInfo) -> float:
        """Return the last moment at which a payment can have been made, by what its system says."""
        told = not payment.day_only if self.told.times is None else self.told.times
        if told:
            return payment.paid_s
        return day_ends(datetime.fromtimestamp(payment.paid_s, zone).date(), zone) - 1

    def _heard(self, life: PayerLife, payment: PastPayment, from_s: float, polls: Sequence[float]) -> float | None:
        """Return when the agent heard of something that the source tells from a moment on; None: it did not."""
        n = bisect.bisect_left(polls, from_s)
        if self.told.latest_only:
            while n < len(polls) and not _is_latest(life, payment, polls[n]):
                n += 1
        elif n < len(polls) and payment.deleted and payment.taken_back_s <= polls[n]:
            return None
        if n == len(polls):
            return None
        last_s = self._last_s(payment, life.zone)
        return last_s if last_s < polls[0] else polls[n]


def _is_latest(life: PayerLife, payment: PastPayment, at_s: float) -> bool:
    """Return whether a payment is the one that counts since the latest moment."""
    counting = [p for p in life.payments if p.counts_from_s <= at_s < p.taken_back_s]
    return bool(counting) and max(counting, key=lambda p: (p.counts_from_s, p.id)) is payment


def day_ends(day: date, zone: ZoneInfo) -> float:
    """Return the first whole second at which a zone's calendar shows a later day."""
    return _day_ends(day, zone.key)


def day_begins(at_s: float, zone: ZoneInfo) -> float:
    """Return the first whole second of the day in which a moment lies."""
    return day_ends(datetime.fromtimestamp(at_s, zone).date() - timedelta(days=1), zone)


@cache
def _day_ends(day: date, key: str) -> float:
    zone = ZoneInfo(key)
    early = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) - 2 * 86_400
    late = early + 6 * 86_400
    while late - early > 1:
        middle = (early + late) // 2
        if datetime.fromtimestamp(middle, zone).date() > day:
            late = middle
        else:
            early = middle
    return float(late)


def _money(life: PayerLife, at_s: float) -> Iterator[tuple[int, list[tuple[str, int, float]]]]:
    for payment in life.payments:
        if payment.entered_s <= at_s and payment.settled_s <= at_s < payment.taken_back_s:
            yield _mils(payment.worth), [(c.number, _mils(c.amount), c.at_s) for c in payment.covers]
    for note in life.credit_notes:
        if note.at_s <= at_s:
            yield _mils(note.amount), [(c.number, _mils(c.amount), c.at_s) for c in note.covers]


def _mils(amount: Decimal) -> int:
    return int(amount * 1000)
