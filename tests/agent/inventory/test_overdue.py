"""Whom `change suspend --overdue` proposes: rules, order and days, in tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from agent.config_billing import DAYS, OverdueRules
from agent.inventory import overdue
from agent.inventory.facts import Billing, BillingTerms
from agent.model import Service, SuspensionReason
from tests.builders.facts import at, billing

FRIDAY = date(2026, 11, 27)
NOW = "2026-11-27T09:00:00Z"


def service(subscriber: str, tariff: str = "20M", name: str = "home", reasons: tuple[str, ...] = ()) -> Service:
    suspended = frozenset(map(SuspensionReason, reasons))
    return Service(
        f"{subscriber}/{name}", subscriber, "A", name, subscriber.lower(), "pppoe", tariff, reasons=suspended
    )


def known(**due: str) -> Mapping[str, Billing]:
    """Return what billing says by subscriber: `C1="2026-11-01 34.00"` owes that since then."""
    told = {name: text.split() for name, text in due.items()}
    return {name.replace("C", "C-"): billing(text[1], text[0], as_of=NOW) for name, text in told.items()}


def refs(found: overdue.Candidates) -> list[str]:
    return [one.service.subscriber for one in found.listed]


def test_the_longest_overdue_come_first_the_rest_are_counted() -> None:
    said = dict(
        known(
            C1="2026-11-20 34.00", C2="2026-10-01 5.00", C3="2026-11-20 90.00", C4="2026-12-01 34.00", C5="2026-01-01 0"
        )
    )
    said |= {"C-6": Billing(None, (), BillingTerms(), at(NOW)), **known(C7="2026-01-01 34.00")}
    services = [service(name) for name in ("C-1", "C-2", "C-3", "C-4", "C-5", "C-6")]
    found = overdue.candidates([*services, service("C-7", reasons=("debt",))], said, OverdueRules())
    assert refs(found) == ["C-2", "C-3", "C-1"]
    assert found.said() == "not listed: 2 with nothing overdue, 1 without billing data, 1 suspended for debt already"
    assert all(one.left_out is None for one in found.listed)


def test_one_suspended_for_another_reason_is_listed() -> None:
    found = overdue.candidates([service("C-1", reasons=("abuse",))], known(C1="2026-11-20 34.00"), OverdueRules())
    assert refs(found) == ["C-1"]


@pytest.mark.parametrize(
    ("rules", "why"),
    [
        (OverdueRules(), ""),
        (OverdueRules(only=frozenset({"C-1"})), ""),
        (OverdueRules(only=frozenset({"C-1/home"})), ""),
        (OverdueRules(only=frozenset({"C-1/shop"})), "overdue_only does not name it"),
        (OverdueRules(never=frozenset({"C-1"})), "overdue_except names it"),
        (OverdueRules(never=frozenset({"C-1/home"})), "overdue_except names it"),
        (OverdueRules(never=frozenset({"C-1/shop"})), ""),
        (OverdueRules(only=frozenset({"C-1"}), never=frozenset({"C-1"})), "overdue_except names it"),
        (OverdueRules(only_tariffs=frozenset({"20M"})), ""),
        (OverdueRules(only_tariffs=frozenset({"50M"})), "overdue_only_tariffs lacks its tariff, 20M"),
        (OverdueRules(except_tariffs=frozenset({"20M"})), "overdue_except_tariffs has its tariff, 20M"),
    ],
)
def test_segments(rules: OverdueRules, why: str) -> None:
    (one,) = overdue.candidates([service("C-1")], known(C1="2026-11-20 34.00"), rules).listed
    assert ("" if one.left_out is None else one.left_out.why.removeprefix("[billing] ")) == why
    assert one.left_out is None or one.left_out.code == "left-out"


@pytest.mark.parametrize(
    ("rules", "why"),
    [
        (OverdueRules(), ""),
        (OverdueRules(weekdays=("mon", "fri")), ""),
        (OverdueRules(weekdays=DAYS[:4]), "2026-11-27 is a fri, and [billing] weekdays has mon, tue, wed, thu"),
        (OverdueRules(holidays=frozenset({FRIDAY})), "2026-11-27 is one of [billing] holidays"),
        (OverdueRules(holidays=frozenset({date(2026, 11, 28)})), ""),
    ],
)
def test_days(rules: OverdueRules, why: str) -> None:
    assert overdue.closed(rules, FRIDAY) == why


@pytest.mark.parametrize(("most", "taken", "out"), [(0, 10_000, False), (3, 2, False), (3, 3, True), (3, 4, True)])
def test_so_many_a_day(most: int, taken: int, out: bool) -> None:
    found = overdue.over_limit(OverdueRules(most_a_day=most), taken)
    assert (found is not None) is out
    assert found is None or (found.code, found.why) == ("daily-limit", "at most 3 a day: its turn is another day")


class Moment:
    """Stands for the transaction of an about-to: the test of the day reads nothing but its time."""

    def __init__(self, text: str) -> None:
        self.now_s = at(text)


@pytest.mark.parametrize(
    ("zone", "now", "begun", "broken"),
    [
        ("UTC", "2026-11-26T23:59:59Z", False, False),
        ("UTC", "2026-11-27T00:00:00Z", False, True),
        ("UTC", "2026-11-27T00:00:00Z", True, False),  # it is finished
        ("America/Lima", "2026-11-27T04:59:59Z", False, False),
        ("America/Lima", "2026-11-27T05:00:00Z", False, True),
        ("America/Lima", "2026-11-28T04:59:59Z", False, True),
    ],
)
def test_the_day_is_looked_at_again_before_anything_is_sent(zone: str, now: str, begun: bool, broken: bool) -> None:
    test = overdue.run_day_test(OverdueRules(holidays=frozenset({FRIDAY})), ZoneInfo(zone))
    found = test(Moment(now), None, None, begun)  # type: ignore[arg-type]  # see Moment
    assert (found is not None) is broken
    assert found is None or found.why == "2026-11-27 is one of [billing] holidays: nobody is suspended by --overdue"


def test_requirements_keep_those_that_were_there() -> None:
    (day,) = overdue.on_run_day((), service("C-1"), "main")
    assert (day.address, day.test) == ("billing/main/C-1", "suspension-day")
    assert overdue.on_run_day((day,), service("C-1"), "main") == (day, day)


def test_terms_are_the_ones_that_every_suspension_has() -> None:
    """Grace and minimum are no rules of --overdue: who is within them is listed, and left out by the verb."""
    said = {"C-1": replace(known(C1="2026-11-26 1.00")["C-1"], terms=BillingTerms(grace_days=9, minimum=Decimal(5)))}
    assert refs(overdue.candidates([service("C-1")], said, OverdueRules())) == ["C-1"]
    assert said["C-1"].terms.zone is UTC
