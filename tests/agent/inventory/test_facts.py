"""Who owes, in a table; and what a line for people says."""

from __future__ import annotations

import pytest

from agent.inventory.facts import BillingFact, describe, earliest, fact_address, in_future, latest, owes

AS_OF = "2026-10-15T09:00:00Z"


@pytest.mark.parametrize(
    ("balance", "due", "paid_at", "as_of", "expected"),
    [
        ("34.00", "2026-10-03", "", AS_OF, True),
        ("34.00", "", "", AS_OF, True),
        ("0.01", "2026-10-14", "", AS_OF, True),
        ("0.00", "2026-10-03", "", AS_OF, False),
        ("-5", "2026-10-03", "", AS_OF, False),
        # not due yet, or only today
        ("34.00", "2026-10-15", "", AS_OF, False),
        ("34.00", "2026-10-28", "", AS_OF, False),
        # an older payment does not count
        ("34.00", "2026-10-03", "2026-09-02T10:00:00Z", AS_OF, True),
        ("34.00", "2026-10-03", "2026-10-02", AS_OF, True),
        # since the due date it does, whatever the balance says; a day alone may be its last moment
        ("34.00", "2026-10-03", "2026-10-03", AS_OF, False),
        ("34.00", "2026-10-03", "2026-10-03T00:00:00Z", AS_OF, False),
        ("34.00", "2026-10-03", "2026-10-02T23:59:59Z", AS_OF, True),
        ("34.00", "2026-10-03", "2026-10-15T09:02:00Z", AS_OF, False),
        # without a due date: since the export
        ("34.00", "", "2026-10-14", AS_OF, True),
        ("34.00", "", "2026-10-15", AS_OF, False),
        ("34.00", "", "2026-10-15T08:59:59Z", AS_OF, True),
        ("34.00", "", "2026-10-15T10:59:59+02:00", AS_OF, True),
        ("34.00", "", AS_OF, AS_OF, False),
    ],
)
def test_owes(balance: str, due: str, paid_at: str, as_of: str, expected: bool) -> None:
    assert owes(BillingFact("C-1", balance, due, paid_at, as_of)) is expected


@pytest.mark.parametrize(
    ("balance", "due", "paid_at", "says"),
    [
        ("34.00", "2026-10-03", "", f"34.00 due 2026-10-03, 12 days late, as of {AS_OF}"),
        ("34.00", "2026-10-14", "", f"34.00 due 2026-10-14, 1 day late, as of {AS_OF}"),
        ("34.00", "2026-10-15", "", f"34.00 due 2026-10-15, due today, as of {AS_OF}"),
        ("34.00", "2026-10-17", "", f"34.00 due 2026-10-17, in 2 days, as of {AS_OF}"),
        ("34.00", "", "2026-09-01", f"34.00, last paid 2026-09-01, as of {AS_OF}"),
        ("0.00", "2026-10-03", "2026-10-05", f"balance 0.00, last paid 2026-10-05, as of {AS_OF}"),
    ],
)
def test_describe(balance: str, due: str, paid_at: str, says: str) -> None:
    assert describe(BillingFact("C-1", balance, due, paid_at, AS_OF)) == says


def test_address() -> None:
    assert fact_address("C-10482") == "billing/file/C-10482"


def test_a_day_has_two_ends() -> None:
    assert earliest("2026-10-15").isoformat() == "2026-10-15T00:00:00+00:00"
    assert latest("2026-10-15").isoformat() == "2026-10-15T23:59:59.999999+00:00"
    assert latest("2026-10-15T01:00:00+02:00") == earliest("2026-10-14T23:00:00Z")


@pytest.mark.parametrize(
    "text", ["", "15.10.2026", "2026-13-01", "2026-10-15T09:00:00", "2026-10-15T09", "20261015T090000Z"]
)
def test_what_is_no_date(text: str) -> None:
    with pytest.raises(ValueError):
        earliest(text)


NOW_S = earliest(AS_OF).timestamp()


@pytest.mark.parametrize(
    ("as_of", "future"),
    [
        (AS_OF, False),
        ("2026-10-15T09:05:00Z", False),  # clocks differ
        ("2026-10-15T09:05:01Z", True),
        ("2026-10-15T12:05:01+03:00", True),
        ("2099-01-01T00:00:00Z", True),
        ("2026-10-15", False),
        ("2026-10-16", True),  # nowhere on earth is it the 16th
        ("2020-01-01", False),
    ],
)
def test_an_export_from_the_future_says_of_nobody_that_they_owe(as_of: str, future: bool) -> None:
    assert in_future(as_of, NOW_S) is future
    fact = BillingFact("C-1", "34.00", "2019-10-03", "", as_of)
    assert owes(fact, NOW_S) is not future
    assert owes(fact)


def test_a_day_alone_may_have_begun_further_east() -> None:
    evening = earliest("2026-10-15T09:55:00Z").timestamp()
    assert not in_future("2026-10-16", evening)
