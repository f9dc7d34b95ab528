"""The oracle by hand: one life, one question."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import pytest

from lab.history import (
    NEVER,
    PastCover,
    PastCreditNote,
    PastInvoice,
    PastPayment,
    PastPromise,
    PayerLife,
    Span,
    books_at,
)
from tests.history.oracle import Back, Cut, Looks, Oracle, Told, day_ends
from tests.history.whole_agent import TOLD

ZONES = {name: ZoneInfo(name) for name in ("Pacific/Pitcairn", "America/Lima", "Asia/Beirut", "Pacific/Tongatapu")}
LIMA = ZONES["America/Lima"]
DUE = date(2026, 3, 10)
ALL = Told()
Document = TypeVar("Document")


def at(text: str, zone: ZoneInfo = LIMA) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()


def invoice(number: str = "1", due: date = DUE, amount: str = "34.00", **fields: object) -> PastInvoice:
    made_s = at("2026-03-01T08:00:00")
    return PastInvoice(number, made_s, due, Decimal(amount), **{"opened_s": made_s, **fields})  # type: ignore[arg-type]  # fields by their names


def paid(paid_at: str, amount: str = "34.00", entered: str = "", settled: str = "", **fields: object) -> PastPayment:
    paid_s = at(paid_at)
    entered_s = at(entered) if entered else paid_s
    settled_s = at(settled) if settled else paid_s
    covers = (PastCover("1", Decimal(amount), max(entered_s, settled_s)),)
    fields = {"covers": covers, **fields}
    worth = Decimal(amount)
    return PastPayment("p", worth, "USD", worth, paid_s, entered_s, settled_s, **fields)  # type: ignore[arg-type]  # fields by their names


def life(*documents: object, zone: ZoneInfo = LIMA, own_grace_days: int | None = None, **spans: object) -> PayerLife:
    def of(kind: type[Document]) -> tuple[Document, ...]:
        return tuple(d for d in documents if isinstance(d, kind))

    given = {"postponements": (), "exemptions": (), "barred": (), **spans}
    return PayerLife(
        "C-1",
        "USD",
        zone,
        own_grace_days,
        of(PastInvoice),
        of(PastPayment),
        of(PastCreditNote),
        of(PastPromise),
        **given,  # type: ignore[arg-type]  # spans by their names
    )


def looks(now: str | float, *polls: str, read: str = "") -> Looks:
    now_s = now if isinstance(now, float) else at(now)
    read_s = at(read) if read else now_s
    asked = [at(poll) for poll in polls] or [now_s - 1]
    return Looks(now_s, read_s, read_s, [at("2020-01-01T00:00:00"), *asked])


def cut(life_: PayerLife, looks_: Looks, told: Told = ALL, grace_days: int = 0, minimum: str = "0") -> Cut:
    return Oracle(life_.zone, told, grace_days, Decimal(minimum)).cut(life_, looks_)


@pytest.mark.parametrize("zone", ZONES.values(), ids=ZONES)
@pytest.mark.parametrize(
    "day", [DUE, date(2026, 3, 28), date(2026, 3, 29), date(2026, 10, 24), date(2026, 10, 25), date(2026, 12, 31)]
)
def test_a_due_day_ends_with_the_local_day(zone: ZoneInfo, day: date) -> None:
    ends_s = day_ends(day, zone)
    assert datetime.fromtimestamp(ends_s, zone).date() > day
    assert datetime.fromtimestamp(ends_s - 1, zone).date() == day
    owing = life(invoice(due=day), zone=zone)
    assert cut(owing, looks(ends_s - 1)) is Cut.NOTHING_OVERDUE
    assert cut(owing, looks(ends_s)) is Cut.MAY


def test_a_day_of_beirut_that_begins_at_one_is_a_day() -> None:
    leap, zone = date(2026, 3, 29), ZONES["Asia/Beirut"]
    assert day_ends(leap, zone) - day_ends(date(2026, 3, 28), zone) == 23 * 3600
    assert datetime.fromtimestamp(day_ends(date(2026, 3, 28), zone), zone).hour == 1


def test_grace_minimum_and_the_source_s_own_delay() -> None:
    owing = life(invoice(), own_grace_days=3)
    assert cut(owing, looks("2026-03-13T23:59:59")) is Cut.GRACE
    assert cut(owing, looks("2026-03-14T00:00:00")) is Cut.MAY
    assert cut(owing, looks("2026-03-13T12:00:00"), Told(own_grace=False)) is Cut.MAY
    assert cut(owing, looks("2026-03-14T12:00:00"), grace_days=5) is Cut.GRACE
    assert cut(owing, looks("2026-03-14T12:00:00"), minimum="34.01") is Cut.MINIMUM


def test_who_is_promised_postponed_or_exempt_is_not_cut_off() -> None:
    promised = life(invoice(), PastPromise(at("2026-03-11T09:00:00"), date(2026, 3, 20)))
    assert cut(promised, looks("2026-03-20T23:59:59")) is Cut.PROMISED
    assert cut(promised, looks("2026-03-21T00:00:00")) is Cut.MAY
    postponed = life(invoice(), postponements=(Span(at("2026-03-12T09:00:00"), at("2026-03-13T09:00:00")),))
    assert cut(postponed, looks("2026-03-13T08:59:59")) is Cut.POSTPONED
    assert cut(postponed, looks("2026-03-13T09:00:01")) is Cut.MAY
    by_day = Told(holds_by_day=True)
    assert cut(postponed, looks("2026-03-13T22:00:00", read="2026-03-13T08:00:00"), by_day) is Cut.POSTPONED
    exempt = life(invoice(), exemptions=(Span(0.0, NEVER, "school"),))
    assert cut(exempt, looks("2026-04-13T22:00:00")) is Cut.EXEMPT


@pytest.mark.parametrize(
    "given",
    [
        {"opened_s": NEVER},
        {"opened_s": NEVER, "proforma": True},
        {"void_s": at("2026-03-15T09:00:00")},
        {"uncollectible_s": at("2026-03-15T09:00:00")},
    ],
    ids=["draft", "proforma", "void", "uncollectible"],
)
def test_documents_that_ask_for_nothing(given: dict[str, Any]) -> None:
    assert cut(life(invoice(**given)), looks("2026-03-15T09:00:00")) is Cut.NOTHING_OVERDUE


def test_money_that_is_on_its_way_protects() -> None:
    debit = life(invoice(), paid("2026-03-11T09:00:00", settled="2026-03-16T09:00:00"))
    assert cut(debit, looks("2026-03-12T09:00:00")) is Cut.MONEY_ON_ITS_WAY
    assert cut(debit, looks("2026-03-12T09:00:00"), Told(pending=False)) is Cut.MAY
    read_before = looks("2026-03-12T09:00:00", "2026-03-12T08:59:00", read="2026-03-12T08:50:00")
    late = life(invoice(), paid("2026-03-09T09:00:00", entered="2026-03-12T08:55:00"))
    assert cut(late, read_before) is Cut.MONEY_ON_ITS_WAY
    counted = life(invoice(), paid("2026-03-09T09:00:00", amount="10.00", entered="2026-03-12T08:40:00"))
    told = looks("2026-03-12T09:00:00", "2026-03-12T08:45:00", read="2026-03-12T08:50:00")
    assert cut(counted, told) is Cut.MAY


def test_who_paid_is_back_whatever_came_first() -> None:
    oracle, cut_s = Oracle(LIMA), at("2026-03-12T09:00:00")
    late = life(invoice(), paid("2026-03-09T09:00:00", entered="2026-03-12T09:05:00"))
    polls = ("2026-03-12T08:59:00", "2026-03-12T09:06:00")
    assert oracle.back(late, looks("2026-03-12T09:07:00", *polls), cut_s) is Back.BY_ITSELF
    barred = life(*late.invoices, *late.payments, barred=(Span(0.0, NEVER, "abuse"),))
    assert oracle.back(barred, looks("2026-03-12T09:07:00", *polls), cut_s) is Back.BARRED
    known = life(invoice(), paid("2026-03-09T09:00:00", entered="2026-03-11T09:05:00"))
    assert oracle.back(known, looks("2026-03-12T09:07:00", *polls), cut_s) is Back.WAITS


def test_part_payments_and_credit_notes_bring_nobody_back() -> None:
    oracle, cut_s, polls = Oracle(LIMA), at("2026-03-12T09:00:00"), ("2026-03-12T08:59:00", "2026-03-20T09:00:00")
    asked = looks("2026-03-20T09:07:00", *polls)
    part = life(invoice(), paid("2026-03-13T09:00:00", amount="33.99"))
    assert oracle.back(part, asked, cut_s) is Back.OWES
    back = life(invoice(), paid("2026-03-13T09:00:00", taken_back_s=at("2026-03-15T09:00:00")))
    assert oracle.back(back, asked, cut_s) is Back.OWES
    covers = (PastCover("1", Decimal("34.00"), at("2026-03-14T09:00:00")),)
    forgiven = life(invoice(), PastCreditNote("n", at("2026-03-14T09:00:00"), Decimal("34.00"), covers))
    assert oracle.back(forgiven, asked, cut_s) is Back.WAITS


def test_the_oracle_s_sums_are_those_of_the_books() -> None:
    covers = (PastCover("1", Decimal("34.00"), at("2026-03-13T09:00:00")),)
    both = life(
        invoice(),
        invoice("2", date(2026, 4, 10)),
        paid("2026-03-12T09:00:00", amount="50.00", covers=covers),
    )
    for now, overdue, balance in (
        ("2026-03-11T09:00:00", 34_000, "68.00"),
        ("2026-03-12T10:00:00", 0, "18.00"),
        ("2026-04-11T10:00:00", 18_000, "18.00"),
    ):
        assert Oracle(LIMA).overdue(both, looks(now)) == overdue
        assert books_at(both, at(now)).balance == Decimal(balance)


def test_a_crm_with_an_agent_tells_when_payments_were_made() -> None:
    partly = paid("2026-03-20T08:00:00", "10.00", day_only=True)
    now_s = at("2026-03-20T20:00:00")
    looks = Looks(now_s, now_s, now_s, [at("2026-03-01T00:00:00"), now_s - 3600])
    assert Oracle(LIMA, TOLD).cut(life(invoice(), partly), looks) is Cut.MAY
    assert Oracle(LIMA, Told()).cut(life(invoice(), partly), looks) is Cut.MONEY_ON_ITS_WAY
