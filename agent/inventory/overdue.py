"""The proposal of `change suspend --overdue`: the rules of the configuration, over billing's facts. Pure.

* Every service with a subscriber that has something overdue is listed, with the reason why it is left out, if it is.
  Whoever
  owes nothing overdue is counted, and so is whoever is suspended for debt already.
* The one overdue for the longest comes first: where only so many a day are suspended, the others come another day.
* A day without suspensions is one of the operator's zone. It is looked at again before anything is sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, tzinfo
from decimal import Decimal

from agent.billing_model.days import today
from agent.config_billing import DAYS, OverdueRules
from agent.inventory.book import RUN_DAY, Broken, RequirementTest
from agent.inventory.facts import Billing, NotOwing, fact_address
from agent.model import Item, Requirement, Service, SuspensionReason
from agent.reasons import SkipReason
from agent.store.db import Tx


@dataclass(frozen=True, slots=True)
class Candidate:
    """A service with something overdue. `left_out`: why the rules leave it out; None: they do not."""

    service: Service
    left_out: NotOwing | None


@dataclass(frozen=True, slots=True)
class Candidates:
    """The services with something overdue, in the order of their turn, and how many others there are."""

    listed: tuple[Candidate, ...]
    not_overdue: int
    no_data: int
    suspended: int

    def said(self) -> str:
        """Return a line about the others."""
        parts = [f"{self.not_overdue} with nothing overdue"]
        parts += [f"{self.no_data} without billing data"] if self.no_data else []
        parts += [f"{self.suspended} suspended for debt already"] if self.suspended else []
        return f"not listed: {', '.join(parts)}"


def closed(rules: OverdueRules, day: date) -> str:
    """Return why nobody is suspended on a day; "": it is a day for it."""
    if day in rules.holidays:
        return f"{day} is one of [billing] holidays"
    name = DAYS[day.weekday()]
    return (
        "" if name in rules.weekdays else f"{day} is a {name}, and [billing] weekdays has {', '.join(rules.weekdays)}"
    )


def candidates(services: Iterable[Service], billing: Mapping[str, Billing], rules: OverdueRules) -> Candidates:
    """Return the services to look at, the one overdue for the longest first. `billing`: by subscriber, of all."""
    found: list[tuple[date, Decimal, Candidate]] = []
    counts = {"paid": 0, "unknown": 0, "suspended": 0}
    for service in services:
        known = billing[service.subscriber]
        if SuspensionReason.DEBT in service.reasons:
            counts["suspended"] += 1
        elif known.kept is None:
            counts["unknown"] += 1
        elif (late := known.kept.account.overdue(known.today)) <= 0:
            counts["paid"] += 1
        else:
            since = known.kept.account.oldest_due() or date.min
            found.append((since, -late, Candidate(service, _left_out(rules, service))))
    found.sort(key=lambda one: (one[0], one[1], one[2].service.ref))
    return Candidates(tuple(one[2] for one in found), counts["paid"], counts["unknown"], counts["suspended"])


def over_limit(rules: OverdueRules, taken: int) -> NotOwing | None:
    """Return why one more is not suspended today; None: it may be. `taken`: how many are, or are planned to be."""
    if not rules.most_a_day or taken < rules.most_a_day:
        return None
    return NotOwing(SkipReason.DAILY_LIMIT, f"at most {rules.most_a_day} a day: its turn is another day")


def on_run_day(requires: tuple[Requirement, ...], service: Service, source: str) -> tuple[Requirement, ...]:
    """Return requirements with the one that it is a day for suspensions."""
    day = Requirement(fact_address(source, service.subscriber), RUN_DAY, "today is a day for suspensions")
    return (*requires, day)


def run_day_test(rules: OverdueRules, zone: tzinfo) -> RequirementTest:
    """Return the test of the requirement that it is a day for suspensions. `zone`: the operator's."""

    def run_day(tx: Tx, _item: Item, _requirement: Requirement, begun: bool) -> Broken | None:
        why = "" if begun else closed(rules, today(tx.now_s, zone))
        return Broken(f"{why}: nobody is suspended by --overdue") if why else None

    return run_day


def _left_out(rules: OverdueRules, service: Service) -> NotOwing | None:
    names = {service.ref, service.subscriber}
    if names & rules.never:
        return NotOwing(SkipReason.LEFT_OUT, "[billing] overdue_except names it")
    if service.tariff in rules.except_tariffs:
        return NotOwing(SkipReason.LEFT_OUT, f"[billing] overdue_except_tariffs has its tariff, {service.tariff}")
    if rules.only and not names & rules.only:
        return NotOwing(SkipReason.LEFT_OUT, "[billing] overdue_only does not name it")
    if rules.only_tariffs and service.tariff not in rules.only_tariffs:
        return NotOwing(SkipReason.LEFT_OUT, f"[billing] overdue_only_tariffs lacks its tariff, {service.tariff}")
    return None
