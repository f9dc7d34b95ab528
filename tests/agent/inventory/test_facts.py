"""Who may be suspended for debt, and whose payment lifts that, in tables; and what a line for people says."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from agent.billing_model import days
from agent.billing_model.account import OpenInvoice, PaymentState
from agent.billing_model.terms import OwnRule
from agent.changes.paid import doubtful
from agent.inventory.facts import (
    BOOKED_S,
    PENDING_S,
    Billing,
    BillingTerms,
    NotOwing,
    debt,
    describe,
    fact_address,
    paid_since,
    subscriber_of,
)
from agent.inventory.ledger import BY_HAND, KeptPayment
from tests.builders.expect import present
from tests.builders.facts import LONG, at, billing, payment

AS_OF = "2026-10-15T09:00:00Z"
OWING, PAID, NOT_OVERDUE, DOUBT = "owing", "paid", "not-overdue", "billing-in-doubt"


def judged(known: Billing, promise: str = "") -> str:
    owed = debt(known, promise)
    return owed.code if isinstance(owed, NotOwing) else OWING


@pytest.mark.parametrize(
    ("balance", "due", "paid_at", "as_of", "expected"),
    [
        ("34.00", "2026-10-03", "", AS_OF, OWING),
        ("34.00", "", "", AS_OF, OWING),
        ("0.01", "2026-10-14", "", AS_OF, OWING),
        ("0.00", "2026-10-03", "", AS_OF, PAID),
        ("-5", "2026-10-03", "", AS_OF, PAID),
        # not due yet, or only today
        ("34.00", "2026-10-15", "", AS_OF, NOT_OVERDUE),
        ("34.00", "2026-10-28", "", AS_OF, NOT_OVERDUE),
        # the balance counts what was paid before the export, also after the due day
        ("34.00", "2026-10-03", "2026-09-02T10:00:00Z", AS_OF, OWING),
        ("34.00", "2026-10-03", "2026-10-04T10:00:00Z", AS_OF, OWING),
        # it may not count what was paid since; of a day alone the last moment is meant
        ("34.00", "2026-10-03", "2026-10-15T09:02:00Z", AS_OF, PAID),
        ("34.00", "2026-10-03", AS_OF, AS_OF, PAID),
        ("34.00", "2026-10-03", "2026-10-15", AS_OF, PAID),
        ("34.00", "2026-10-03", "2026-10-14", AS_OF, OWING),
        ("34.00", "", "2026-10-15T10:59:59+02:00", AS_OF, OWING),
    ],
)
def test_who_owes(balance: str, due: str, paid_at: str, as_of: str, expected: str) -> None:
    assert judged(billing(balance, due, paid_at, as_of)) == expected


# --- F1, F2: days -----------------------------------------------------------------------------------------------------

ZONES = ("Pacific/Pitcairn", "America/Lima", "Africa/Cairo", "Pacific/Tongatapu")  # UTC-8, -5, +2 with daylight, +13


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("text", ["2026-11-27", "2026-11-27T00:00:00{offset}", "2026-11-27T00:00:00"])
@pytest.mark.parametrize(
    ("now", "expected"),
    [
        ("2026-11-27T00:00:00", NOT_OVERDUE),
        ("2026-11-27T08:00:00", NOT_OVERDUE),
        ("2026-11-27T19:30:00", NOT_OVERDUE),
        ("2026-11-27T23:59:59", NOT_OVERDUE),
        ("2026-11-28T00:00:00", OWING),
    ],
)
def test_F1_F2_the_due_day_ends_with_the_operators_day(zone: str, text: str, now: str, expected: str) -> None:
    """UISP writes the 27th as 00:00 with an offset, and `today` is the operator's day, wherever it is."""
    here = ZoneInfo(zone)
    hours = int(at("2026-11-27T00:00:00Z") - at("2026-11-27T00:00:00", here)) // 3600
    due = text.format(offset=f"{hours:+03d}00")
    assert judged(billing("34.00", due, "", now, terms=replace(LONG, zone=here))) == expected


@pytest.mark.parametrize(("now", "code"), [("2026-11-27T19:30:00", "promised"), ("2026-11-28T00:00:00", OWING)])
def test_F2_promise_until_today_lasts_until_local_day_ends(now: str, code: str) -> None:
    lima = replace(LONG, zone=ZoneInfo("America/Lima"))
    assert judged(billing("34.00", "2026-10-01", "", now, terms=lima), "2026-11-27") == code
    told = billing("34.00", "2026-10-01", "", now, terms=lima, promise_until=date(2026, 11, 27))
    assert judged(told) == code


@pytest.mark.parametrize(("now", "code"), [("2026-11-01T23:30:00", "in-grace"), ("2026-11-02T00:00:00", OWING)])
def test_grace_ends_with_the_local_day_across_daylight_saving(now: str, code: str) -> None:
    chicago = replace(LONG, zone=ZoneInfo("America/Chicago"), grace_days=3)  # the clock goes back on November 1
    assert judged(billing("34.00", "2026-10-29", "", now, terms=chicago)) == code


# --- F5: several invoices ---------------------------------------------------------------------------------------------


def test_F5_payment_after_due_day_does_not_clear_rest_for_ever() -> None:
    assert judged(billing("68.00", "2026-08-28", "2026-09-19")) == OWING


@pytest.mark.parametrize(
    ("invoices", "credit", "balance", "expected"),
    [
        ((("2026-10-01", "30"), ("2026-11-01", "30")), "0", "60", "30"),
        ((("2026-10-01", "30"), ("2026-11-01", "30")), "30", "30", NOT_OVERDUE),
        ((("2026-10-01", "30"), ("2026-10-02", "30")), "20", "40", "40"),
        ((("2026-11-01", "30"),), "0", "30", NOT_OVERDUE),
        ((("2026-10-01", "30"),), "0", "0", PAID),  # its invoices and its balance disagree
    ],
)
def test_what_is_overdue_of_several_invoices(
    invoices: tuple[tuple[str, str], ...], credit: str, balance: str, expected: str
) -> None:
    opened = tuple(OpenInvoice(due, date.fromisoformat(due), Decimal(unpaid)) for due, unpaid in invoices)
    owed = debt(billing(balance, invoices=opened, credit=Decimal(credit)))
    assert str(owed if isinstance(owed, Decimal) else owed.code) == expected


# --- F6: age ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("max_age_s", "as_of", "now", "expected"),
    [
        (7200, AS_OF, "2026-10-15T11:00:00Z", OWING),
        (7200, AS_OF, "2026-10-15T11:00:01Z", DOUBT),
        (86_400, AS_OF, "2026-10-16T09:00:00Z", OWING),
        (60, AS_OF, "2026-10-15T09:01:01Z", DOUBT),
        (7200, "2025-12-15T09:00:00Z", AS_OF, DOUBT),  # ten months
        (7200, "2026-10-15", "2026-10-15T23:00:00Z", OWING),  # a day alone may be its last moment
        (7200, "2026-10-14", "2026-10-15T02:30:00Z", DOUBT),
    ],
)
def test_F6_age_limit_is_configured_one_and_old_data_is_doubt(
    max_age_s: int, as_of: str, now: str, expected: str
) -> None:
    known = billing("34.00", "2025-10-03", "", as_of, now=now, terms=replace(LONG, max_age_s=max_age_s))
    assert judged(known) == expected
    owed = debt(known)
    assert isinstance(owed, Decimal) or owed.blocked


@pytest.mark.parametrize(
    ("as_of", "expected"),
    [
        (AS_OF, OWING),
        ("2026-10-15T09:05:00Z", OWING),  # clocks differ
        ("2026-10-15T09:05:01Z", DOUBT),
        ("2026-10-15T12:05:01+03:00", DOUBT),
        ("2099-01-01T00:00:00Z", DOUBT),
    ],
)
def test_an_export_from_the_future_says_of_nobody_that_they_owe(as_of: str, expected: str) -> None:
    assert judged(billing("34.00", "2019-10-03", "", as_of, now=AS_OF)) == expected


def test_doubt_and_no_data_suspend_nobody() -> None:
    assert judged(billing("34.00", doubt="the billing file has 1 broken line")) == DOUBT
    assert judged(Billing(None, (), LONG, at(AS_OF))) == "no-billing-data"
    assert judged(Billing(None, (), LONG, at(AS_OF), "main is empty")) == DOUBT


# --- the operator's and the source's rules ----------------------------------------------------------------------------

LATE = {"due": "2026-10-10", "as_of": AS_OF}  # five days


@pytest.mark.parametrize(
    ("terms", "fields", "expected"),
    [
        ({"grace_days": 5}, {}, "in-grace"),
        ({"grace_days": 4}, {}, OWING),
        ({"minimum": Decimal("34.01")}, {}, "below-minimum"),
        ({"minimum": Decimal("34.00")}, {}, OWING),
        ({}, {"own_grace_days": 5}, "in-grace"),
        ({"grace_days": 5}, {"own_grace_days": 2}, "in-grace"),
        ({"own_rules": {OwnRule.MINIMUM}}, {"own_grace_days": 5}, OWING),
        ({}, {"own_minimum": Decimal(50)}, "below-minimum"),
        ({"own_rules": {OwnRule.GRACE}}, {"own_minimum": Decimal(50)}, OWING),
        ({}, {"exempt": "staff"}, "exempt"),
        ({"own_rules": {OwnRule.HOLD}}, {"exempt": "staff"}, OWING),
        ({}, {"promise_until": date(2026, 10, 15)}, "promised"),
        ({}, {"promise_until": date(2026, 10, 14)}, OWING),
        ({}, {"hold_until_s": at(AS_OF) + 1}, "promised"),
        ({}, {"hold_until_s": at(AS_OF)}, OWING),
        ({"own_rules": {OwnRule.EXEMPT}}, {"promise_until": date(2026, 10, 15)}, OWING),
    ],
)
def test_rules(terms: dict[str, object], fields: dict[str, object], expected: str) -> None:
    own = replace(LONG, **terms)  # type: ignore[arg-type]  # the table names fields of the terms
    assert judged(billing("34.00", terms=own, **LATE, **fields)) == expected  # type: ignore[arg-type]  # and of accounts


@pytest.mark.parametrize(
    ("paid", "expected"),
    [
        (payment("2026-10-14T09:00:00Z", source="main"), OWING),
        (payment(AS_OF, source="main"), PAID),
        # entered late: the account was read before anybody knew
        (payment("2026-10-14T09:00:00Z", source="main", learned_s=at(AS_OF) + 30), PAID),
        (payment("2026-10-14", source="main", state=PaymentState.PENDING), PAID),
        (payment("2026-10-07T09:00:00Z", source="main", state=PaymentState.PENDING), OWING),  # eight days
        (payment(AS_OF, source="main", state=PaymentState.REVERSED), OWING),
    ],
)
def test_payment_that_account_cannot_have_counted_is_doubt(paid: KeptPayment, expected: str) -> None:
    assert PENDING_S == 7 * 86_400
    assert judged(billing("34.00", payments=[paid], source="main")) == expected


@pytest.mark.parametrize(
    ("amount", "age_s", "more", "expected"),
    [
        ("34.00", 1800, {}, PAID),  # billing books it at night
        ("33.99", 1800, {}, OWING),  # a part
        ("34.00", 1800, {"currency": "KES"}, OWING),
        ("34.00", BOOKED_S + 1, {}, OWING),
        ("34.00", 1800, {"state": PaymentState.REVERSED}, OWING),
    ],
)
def test_a_payment_that_billing_did_not_book_yet_is_doubt(
    amount: str, age_s: int, more: dict[str, object], expected: str
) -> None:
    told = payment(AS_OF, source="till", learned_s=at(AS_OF) - age_s)
    made = days.When(at(AS_OF) - age_s, at(AS_OF) - age_s, date(2026, 10, 14))
    paid = replace(told.payment, amount=Decimal(amount), paid=made, provider_reference="NLJ7", **more)  # type: ignore[arg-type]  # its fields
    elsewhere = replace(told, payment=paid)
    said = billing("34.00", payments=[elsewhere], source="main", currency="USD")
    assert judged(said) == expected
    booked = replace(elsewhere, source="main", payment=replace(paid, id="7"))
    assert judged(replace(said, payments=(elsewhere, booked))) == OWING, "another debt is left"


# --- who paid, in both orders: the table of orders --------------------------------------------------------------------

CUT = at("2026-10-15T09:03:30Z")
LATER = {"as_of": "2026-10-15T09:05:00Z"}


def known(paid: str, learned: str, **more: object) -> Billing:
    balance = str(more.pop("balance", "0.00"))
    one = payment(paid, source="main", learned_s=at(learned), **{k: more.pop(k) for k in ("state",) if k in more})  # type: ignore[arg-type]  # its state
    return billing(balance, payments=[one], source=str(more.pop("source", "main")), **{**LATER, **more})  # type: ignore[arg-type]  # fields of `billing`


@pytest.mark.parametrize(
    ("said", "restores"),
    [
        # made before the cut and heard of after it: the cut was a mistake (F3)
        (known("2026-10-15T09:03:00Z", "2026-10-15T09:04:30Z"), True),
        (known("2026-10-15", "2026-10-15T09:04:30Z"), True),
        (known("2026-10-10T00:00:00Z", "2026-10-15T09:04:30Z"), True),
        # heard of while it was being cut
        (known("2026-10-15T09:03:00Z", "2026-10-15T09:03:30Z"), True),
        # after it
        (known("2026-10-15T09:04:00Z", "2026-10-15T09:04:01Z"), True),
        # known at the last look: a person says why it was cut all the same
        (known("2026-10-15T09:03:00Z", "2026-10-15T09:03:29Z"), False),
        # the next invoice is open, and not due (F4)
        (known("2026-10-15T09:04:00Z", "2026-10-15T09:04:01Z", balance="34.00", due="2026-11-01"), True),
        (known("2026-10-15T09:04:00Z", "2026-10-15T09:04:01Z", balance="4.00"), False),  # part of it
        (known("2026-10-15T09:04:00Z", "2026-10-15T09:04:01Z", balance="-3.00"), True),
        (known("2026-10-15T09:04:00Z", "2026-10-15T09:04:01Z", state=PaymentState.PENDING), False),
        (known("2026-10-15T09:04:00Z", "2026-10-15T09:04:01Z", state=PaymentState.REVERSED), False),
        (known("2026-10-15T10:00:00Z", "2026-10-15T09:04:01Z"), False),  # made in the future
        (known("2026-10-15T09:04:00Z", "2026-10-15T09:04:01Z", doubt="partial"), False),
        (known("2026-10-15T09:04:00Z", "2026-10-15T09:04:01Z", author="maria"), False),
        (known("2026-10-15T09:04:00Z", "2026-10-15T09:04:01Z", source=BY_HAND), False),
        (known("2026-10-15T09:04:00Z", "2026-10-15T09:04:01Z", now="2026-10-25T09:00:00Z"), False),  # old
        (known("2026-10-15T09:04:00Z", "2026-10-15T09:04:01Z", now="2026-10-15T08:00:00Z"), False),  # of the future
        (billing("0.00", **LATER), False),  # a credit note, or a write-off
        (Billing(None, (), LONG, at(AS_OF)), False),
    ],
)
def test_F3_F4_whose_payment_restores_without_a_person(said: Billing, restores: bool) -> None:
    assert paid_since(said, CUT) is restores


def test_a_debt_without_an_invoice_restores_nobody() -> None:
    said = known("2026-10-15T09:04:00Z", "2026-10-15T09:04:01Z", balance="24.00")
    kept = present(said.kept)
    said = replace(said, kept=replace(kept, account=replace(kept.account, invoices=())))
    assert not paid_since(said, CUT)
    assert doubtful(said, CUT) == "it paid, and 24.00 are owed of which billing lists no invoice"


@pytest.mark.parametrize(("grace_days", "restores"), [(9, False), (10, True), (30, True)])
def test_an_invoice_in_its_days_of_grace_keeps_nobody_suspended(grace_days: int, restores: bool) -> None:
    said = known("2026-10-15T09:04:00Z", "2026-10-15T09:04:01Z", balance="34.00", due="2026-10-05")
    assert paid_since(replace(said, terms=replace(said.terms, grace_days=grace_days)), CUT) is restores


@pytest.mark.parametrize("state", [PaymentState.SETTLED, PaymentState.PENDING])
def test_a_payment_dated_far_ahead_spares_nobody_until_that_day(state: PaymentState) -> None:
    heard = at("2026-10-01T09:00:00Z")
    ahead = payment("2090-01-01T00:00:00Z", source="main", learned_s=heard, state=state)
    said = billing("34.00", payments=[ahead], source="main")
    assert debt(said) == 34
    soon = payment("2026-10-16T09:00:00Z", source="main", learned_s=heard, state=state)  # a zone, or a clock
    assert isinstance(debt(replace(said, payments=(soon,))), NotOwing)


def test_what_settled_after_the_last_look_is_news() -> None:
    settled = payment("2026-10-10T00:00:00Z", source="main", learned_s=CUT - 600, settled_s=CUT + 60)
    assert paid_since(billing("0.00", payments=[settled], source="main", as_of="2026-10-15T09:05:00Z"), CUT)


def test_list_imported_by_hand_tells_no_evidence_beside_source() -> None:
    by_hand = payment("2026-10-15T09:04:00Z", source=BY_HAND, learned_s=CUT + 60)
    assert not paid_since(billing("0.00", payments=[by_hand], source="main", as_of="2026-10-15T09:05:00Z"), CUT)


# --- for people -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("balance", "due", "paid_at", "says"),
    [
        ("34.00", "2026-10-03", "", "34.00 due 2026-10-03, 12 days late, as of 2026-10-15 09:00 UTC"),
        ("34.00", "2026-10-14", "", "34.00 due 2026-10-14, 1 day late, as of 2026-10-15 09:00 UTC"),
        ("34.00", "2026-10-15", "", "34.00 due 2026-10-15, due today, as of 2026-10-15 09:00 UTC"),
        ("34.00", "2026-10-17", "", "34.00 due 2026-10-17, in 2 days, as of 2026-10-15 09:00 UTC"),
        ("34.00", "", "2026-09-01", "34.00, last paid 2026-09-01, as of 2026-10-15 09:00 UTC"),
        (
            "0.00",
            "2026-10-03",
            "2026-10-05T01:00:00+01:00",
            "balance 0.00, last paid 2026-10-05 00:00 UTC, as of 2026-10-15 09:00 UTC",
        ),
    ],
)
def test_describe(balance: str, due: str, paid_at: str, says: str) -> None:
    assert describe(billing(balance, due, paid_at)) == says


def test_describe_more() -> None:
    two = (OpenInvoice("A", date(2026, 10, 3), Decimal(30)), OpenInvoice("B", date(2026, 11, 3), Decimal(30)))
    many = billing("60", invoices=two, currency="KES", source="main")
    assert describe(many) == "30 of 60 KES overdue due 2026-10-03, 12 days late, as of 2026-10-15 09:00 UTC"
    assert describe(billing("0", as_of="2026-10-15")) == "balance 0, as of 2026-10-15"
    by_hand = describe(billing("0", source=BY_HAND, author="maria"))
    assert by_hand.endswith(", imported by hand by maria")
    assert describe(billing("0", author="maria")).endswith(", maria can write that file")
    assert describe(Billing(None, (), BillingTerms(), 0.0)) == "no billing data"


def test_address() -> None:
    assert fact_address("main", "C-10482") == "billing/main/C-10482"
    assert subscriber_of(fact_address("main", "C-10482")) == "C-10482"


def test_payment_that_another_source_told_of_before_is_no_news() -> None:
    def one(source: str, settled_s: float, reference: str = "QK7") -> KeptPayment:
        kept = payment("2026-10-14T09:00:00Z", source=source, learned_s=settled_s, settled_s=settled_s)
        return replace(kept, payment=replace(kept.payment, provider_reference=reference))

    def paid(*payments: KeptPayment) -> bool:
        said = billing("0.00", payments=payments, source="main", as_of="2026-10-15T09:05:00Z")
        return paid_since(said, CUT)

    assert paid(one("main", CUT + 60))
    assert not paid(one("mpesa", CUT - 60), one("main", CUT + 60))
    assert paid(one("mpesa", CUT - 60, "QK8"), one("main", CUT + 60))
    assert paid(one("mpesa", CUT - 60, ""), one("main", CUT + 60, ""))
