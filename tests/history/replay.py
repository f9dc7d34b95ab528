"""Plays a history on a virtual clock: at each moment a source is read, the agent decides, and the oracle is asked.

Where both say that somebody may be cut off, most are; the agent's word then stands for what happens, so that each cut
is followed until the payment, the person or the end of the history lifts it. What the two disagree on is a finding.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Protocol
from zoneinfo import ZoneInfo

from agent.inventory.facts import Billing, BillingTerms, paid_since
from agent.model import Access, ReasonChange, Service, SuspensionReason
from agent.services.verbs import Params, Wish, decide
from lab.history import NEVER, PayerLife
from tests.history.oracle import Back, Cut, Looks, Oracle, Told, day_ends
from trust.policy import Action

_CLOCKS = (time(0, 0, 30), time(12, 0, 0), time(23, 59, 30))


@dataclass(frozen=True, slots=True)
class Operator:
    """An operator: its zone, its billing system's, and its rules."""

    zone: ZoneInfo
    billing_zone: ZoneInfo
    grace_days: int = 0
    minimum: Decimal = Decimal(0)

    def terms(self, authority: str) -> BillingTerms:
        """Return its terms as the agent has them."""
        return BillingTerms(authority, zone=self.zone, grace_days=self.grace_days, minimum=self.minimum)


def _operator(zone: str, billing_zone: str = "", grace_days: int = 0, minimum: str = "0") -> Operator:
    return Operator(ZoneInfo(zone), ZoneInfo(billing_zone or zone), grace_days, Decimal(minimum))


OPERATORS: Mapping[str, Operator] = {
    "-8": _operator("Pacific/Pitcairn"),
    "-5": _operator("America/Lima", grace_days=5),
    "+2 with daylight saving": _operator("Asia/Beirut", minimum="50"),
    "+13": _operator("Pacific/Tongatapu", grace_days=2),
    "-5, billed in +2": _operator("America/Lima", "Asia/Beirut"),
}
"""In Beirut the clocks leap over midnight: there are days that begin at one o'clock."""


class Through(Protocol):
    """A source that the history is read through."""

    told: Told
    source: str

    async def read(self, books_s: float, polled_s: float, now_s: float) -> None:
        """Read the accounts as of a moment, and the payments as of another one; both not after `now_s`."""
        ...

    def surely_s(self, life: PayerLife, books_s: float) -> float:
        """Return of which moment at least the source says that its word on an account is."""
        ...

    def service(self, life: PayerLife, reasons: frozenset[SuspensionReason]) -> Service:
        """Return the service as the inventory has it."""
        ...

    def billing(self, life: PayerLife, now_s: float) -> Billing:
        """Return what the agent knows of a subscriber."""
        ...


@dataclass(slots=True)
class Replayed:
    """What a replay showed. `differ`: where the agent and the oracle disagree, one line each."""

    decisions: int = 0
    seen: Counter[str] = field(default_factory=Counter)
    differ: list[str] = field(default_factory=list)

    def add(self, other: Replayed) -> None:
        """Add another replay's."""
        self.decisions += other.decisions
        self.seen += other.seen
        self.differ += other.differ


def moments(zone: ZoneInfo, first: date, days: int, every: int) -> Iterator[float]:
    """Yield moments at the beginning, in the middle and at the end of local days: every so many days, and each day on
    which clocks change, with the day after it."""
    for n in range(days):
        day = first + timedelta(days=n)
        if n % every == 0 or _hours(day, zone) != 24 or _hours(day - timedelta(days=1), zone) != 24:
            yield from (datetime.combine(day, clock, zone).timestamp() for clock in _CLOCKS)


def hot_moments(lives: Sequence[PayerLife], zone: ZoneInfo, count: int, seed: int) -> list[float]:
    """Return moments just before or after something happened to somebody, picked by chance; `zone`: the operator's.

    Half of them are minutes after payments that are pending, or of which only the day is told.
    """
    happened = []
    slow = []
    for life in lives:
        slow += [
            p.counts_from_s if p.day_only else p.entered_s
            for p in life.payments
            if p.day_only or p.settled_s > p.paid_s
        ]
        for payment in life.payments:
            happened += [payment.entered_s, payment.settled_s, payment.taken_back_s]
        happened += [day_ends(i.due, zone) for i in life.invoices]
        happened += [p.made_s for p in life.promises] + [day_ends(p.until, zone) for p in life.promises]
        happened += [at_s for span in (*life.postponements, *life.exemptions) for at_s in (span.from_s, span.until_s)]
    rng = random.Random(f"hot/{seed}")
    picked, soon = (
        rng.sample(times, min(count // 2, len(times)))
        for times in (sorted({at_s for at_s in each if at_s < NEVER}) for each in (happened, slow))
    )
    return [*(float(int(s)) + rng.choice((-1, 1, 10, 600)) for s in picked), *(float(int(s)) + 60 for s in soon)]


def _hours(day: date, zone: ZoneInfo) -> float:
    begin, end = (datetime.combine(day + timedelta(days=n), time(), zone).timestamp() for n in (0, 1))
    return (end - begin) / 3600


class Replay:
    """One operator's subscribers, read through one source."""

    def __init__(self, operator: Operator, lives: Sequence[PayerLife], through: Through, seed: int = 1) -> None:
        """Begin with nobody cut off."""
        self._lives = lives
        self._through = through
        self._random = random.Random(f"replay/{seed}")
        self._oracle = Oracle(operator.zone, through.told, operator.grace_days, operator.minimum)
        self._polls: list[float] = []
        self._books_s = 0.0
        self._cut: dict[str, float] = {}
        self.replayed = Replayed()

    async def at(self, now_s: float) -> None:
        """Read and decide at a moment. One reading in four is overtaken by payments that are asked for after it."""
        polled_s = now_s - 3.0
        race = not self._through.told.together and self._random.random() < 0.25
        overtaken_s = float(int(polled_s - self._random.uniform(60, 900))) if race else polled_s + 2
        books_s = self._books_s = max(overtaken_s, self._books_s)  # the agent keeps the later of two readings
        await self._through.read(books_s, books_s if self._through.told.together else polled_s, now_s)
        self._polls.append(books_s if self._through.told.together else polled_s)
        for life in self._lives:
            looks = Looks(now_s, books_s, self._through.surely_s(life, books_s), self._polls)
            self.replayed.decisions += 1
            if life.subscriber in self._cut:
                self._lift(life, looks)
            else:
                self._suspend(life, looks)

    def _suspend(self, life: PayerLife, looks: Looks) -> None:
        billing = self._through.billing(life, looks.now_s)
        found = decide(Params(Action.SUSPEND, looks.now_s), self._service(life, looks), billing)
        ours = isinstance(found, Wish) and ReasonChange(SuspensionReason.DEBT, added=True) in found.desired
        theirs = self._oracle.cut(life, looks)
        self.replayed.seen[f"cut: {theirs.value}"] += 1
        if ours is not (theirs is Cut.MAY):
            said = "cuts it off" if ours else getattr(found, "why", "")
            self._differ(life, looks, f"cut {theirs.value}", said)
        elif ours and self._random.random() < 0.7:
            self._cut[life.subscriber] = looks.now_s

    def _lift(self, life: PayerLife, looks: Looks) -> None:
        billing = self._through.billing(life, looks.now_s)
        cut_s = self._cut[life.subscriber]
        ours = paid_since(billing, cut_s)
        theirs = self._oracle.back(life, looks, cut_s)
        self.replayed.seen[f"back: {theirs.value}"] += 1
        lifts = theirs in {Back.BY_ITSELF, Back.BARRED}
        if ours is not lifts:
            return self._differ(life, looks, f"back {theirs.value}", "lifts it" if ours else "lifts nothing")
        found = decide(Params(Action.RESTORE, looks.now_s), self._service(life, looks), billing)
        if not isinstance(found, Wish) or found.state is None:
            return self._differ(life, looks, "back", f"refuses to lift the debt: {found}")
        online = found.state.access is Access.ACTIVE
        if lifts and online is not (theirs is Back.BY_ITSELF):
            return self._differ(life, looks, f"back {theirs.value}", f"then it is {found.state.access.value}")
        if lifts or (theirs is Back.WAITS and self._random.random() < 0.3):  # a person's leave
            del self._cut[life.subscriber]
        return None

    def _service(self, life: PayerLife, looks: Looks) -> Service:
        barred = {SuspensionReason(span.what) for span in life.barred if span.holds(looks.now_s)}
        debt = {SuspensionReason.DEBT} if life.subscriber in self._cut else set()
        return self._through.service(life, frozenset(barred | debt))

    def _differ(self, life: PayerLife, looks: Looks, oracle: str, agent: str) -> None:
        at = datetime.fromtimestamp(looks.now_s, self._oracle.zone).isoformat()
        self.replayed.differ.append(f"{life.subscriber} at {at}: oracle: {oracle}; agent: {agent}")
