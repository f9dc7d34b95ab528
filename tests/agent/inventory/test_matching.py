"""Whose a payment is: by the source's word, an invoice, another source, else by what was typed if one fits."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.billing_model.account import Account, OpenInvoice, Payment, PaymentState
from agent.billing_model.days import When
from agent.inventory.matching import MatchedBy, PayerIndex, PaymentCase, PaymentMatch, case_of, same_payment
from agent.model import Service
from tests.builders.expect import expect

DAY = date(2026, 11, 27)
PAID = When(1_795_000_000.0, 1_795_000_000.0, DAY)


def service(ref: str, login: str, **extra: str) -> Service:
    subscriber, _, name = ref.partition("/")
    return Service(ref, subscriber, "Amina", name, login, "pppoe", "Home 20M", extra=extra)


SERVICES = [
    service("C-10482/home", "amina.h", phone="+256 772 123456"),
    service("C-10482/office", "amina.o"),
    service("C-20001/home", "joseph"),
    service("D-20001/home", "peter"),
    service("10777", "олена"),
]


def account(key: str, subscriber: str, *numbers: str, balance: str = "0", currency: str = "UGX") -> Account:
    invoices = tuple(OpenInvoice(n, DAY, Decimal(34)) for n in numbers)
    return Account(key, subscriber, currency, Decimal(balance), invoices, 0.0)


ACCOUNTS = {
    "main": [account("7", "C-10482", "INV-0815"), account("8", "C-20001", "60601"), account("9", "")],
    "other": [account("7", "D-20001", "F-1")],
}
INDEX = PayerIndex(SERVICES, ACCOUNTS)


def payment(*references: str, account: str = "", subscriber: str = "", provider: str = "", **more: object) -> Payment:
    state = expect(PaymentState, more.get("state", PaymentState.SETTLED))
    amount, currency = Decimal(str(more.get("amount", "34"))), str(more.get("currency", "UGX"))
    return Payment("p1", account, subscriber, amount, currency, PAID, state, references, provider)


@pytest.mark.parametrize(
    ("told", "subscriber", "by"),
    [
        (payment(account="7"), "C-10482", MatchedBy.SOURCE),
        (payment("C-20001", account="7"), "C-10482", MatchedBy.SOURCE),
        (payment(subscriber="C-20001"), "C-20001", MatchedBy.SOURCE),
        (payment("INV-0815"), "C-10482", MatchedBy.INVOICE),
        (payment("invoice inv-0815, thanks"), "C-10482", MatchedBy.INVOICE),
        (payment("inv 0815"), "C-10482", MatchedBy.INVOICE),
        (payment("INV-0815", "c-10482"), "C-10482", MatchedBy.INVOICE),
        (payment("c-10482"), "C-10482", MatchedBy.TYPED),
        (payment(" C 10482 "), "C-10482", MatchedBy.TYPED),
        (payment("internet c10482 november"), "C-10482", MatchedBy.TYPED),
        (payment("С-20001"), "C-20001", MatchedBy.TYPED),  # a Cyrillic С
        (payment("0772123456"), "", None),  # a phone is written with its country here, and nobody's here without
        (payment("+256772123456"), "C-10482", MatchedBy.TYPED),
        (payment("10777"), "10777", MatchedBy.TYPED),
        (payment("ОЛЕНА"), "10777", MatchedBy.TYPED),
    ],
)
def test_match(told: Payment, subscriber: str, by: MatchedBy | None) -> None:
    match = INDEX.of("main", told)
    assert (match.subscriber, match.by) == (subscriber, by)
    assert bool(match.why) is not bool(subscriber)


@pytest.mark.parametrize(
    ("told", "others", "subscriber", "by"),
    [
        (payment("C-10482", account="CUS_1"), (), "C-10482", MatchedBy.TYPED),
        (payment("INV-0815", account="CUS_1"), (), "C-10482", MatchedBy.INVOICE),
        (payment("x", account="CUS_1", provider="pi_1"), ("C-20001",), "C-20001", MatchedBy.PROVIDER),
    ],
)
def test_payers_name_at_provider_of_payments_hides_no_reference(
    told: Payment, others: tuple[str, ...], subscriber: str, by: MatchedBy
) -> None:
    """Paystack and Stripe name each payer `CUS_1`, which no account here has: none of them would be back."""
    assert INDEX.of("paystack", told, others) == PaymentMatch(subscriber, by)


@pytest.mark.parametrize(
    ("told", "why"),
    [
        (payment(), "it has no reference"),
        (payment("20001"), "its reference fits 2 subscribers"),
        (payment("C-10482", "C-20001"), "its reference fits 2 subscribers"),
        (payment("C 10482 and D-20001"), "its reference fits 2 subscribers"),
        (payment("C 10482 / 60601"), "its reference fits 2 subscribers"),  # an invoice of one, the name of another
        (payment("thanks for november"), "its reference fits no subscriber"),
        (payment("елена"), "its reference fits no subscriber"),  # another name than олена
        (payment("C-10482", account="9"), "the source's account of it is no subscriber's"),
        (payment("C-10482", account="404"), "the source's account of it is no subscriber's"),
    ],
)
def test_unmatched_says_why(told: Payment, why: str) -> None:
    match = INDEX.of("main", told)
    assert (match.subscriber, match.by, match.why) == ("", None, why)


def test_another_sources_word() -> None:
    told = payment("C-20001", provider="QK7")
    assert INDEX.of("mpesa", told, ["C-10482", ""]).by is MatchedBy.PROVIDER
    assert INDEX.of("mpesa", told, ["C-10482"]).subscriber == "C-10482"
    assert INDEX.of("mpesa", told, ["C-10482", "D-20001"]).why == "two sources tell of it, for different subscribers"


def test_accounts_of_another_source_do_not_match() -> None:
    assert INDEX.of("other", payment(account="7")).subscriber == "D-20001"
    assert INDEX.of("mpesa", payment(account="7")).subscriber == ""


NOISE = st.text(" -./#:_", max_size=3)


@given(st.sampled_from(["C-10482", "C-20001", "D-20001"]), st.data())
def test_noise_and_case_make_no_difference(name: str, data: st.DataObject) -> None:
    letter, number = name.split("-")
    letter = data.draw(st.sampled_from([letter, letter.lower()]))
    typed = data.draw(NOISE) + letter + data.draw(NOISE) + number + data.draw(NOISE)
    assert INDEX.of("main", payment(typed)).subscriber == name


@given(st.lists(st.text(max_size=300), max_size=4))
def test_any_text_gives_one_subscriber_or_a_reason(texts: list[str]) -> None:
    match = INDEX.of("main", payment(*texts))
    assert (match.subscriber in {s.subscriber for s in SERVICES}) is (match.by is not None)
    assert bool(match.subscriber) is not bool(match.why)


@given(st.lists(st.from_regex(r"[A-C]-?[0-9]{1,5}", fullmatch=True), min_size=1, max_size=6), st.data())
def test_what_fits_two_subscribers_fits_none(names: list[str], data: st.DataObject) -> None:
    services = [service(name, f"login-{n}-{name}") for n, name in enumerate(names)]
    typed = data.draw(st.sampled_from(names))
    same = {s.subscriber for s in services if s.subscriber.replace("-", "") == typed.replace("-", "")}
    match = PayerIndex(services, {}).of("main", payment(typed))
    assert match.subscriber == (same.pop() if len(same) == 1 else "")


def test_one_payment_of_two_sources() -> None:
    one, other = payment(provider="QK7"), payment("C-10482", provider="QK7", currency="")
    assert same_payment(one, other)
    assert not same_payment(one, payment(provider="QK8"))
    assert not same_payment(payment(), payment())
    assert not same_payment(one, payment(provider="QK7", amount="35"))
    assert not same_payment(one, payment(provider="QK7", currency="USD"))


@pytest.mark.parametrize(
    ("told", "subscriber", "kept", "overdue", "case"),
    [
        (payment(), "C-10482", account("7", "C-10482"), "0", PaymentCase.COUNTS),
        (payment(), "C-10482", None, "0", PaymentCase.COUNTS),
        (payment(), "C-10482", account("7", "C-10482", balance="-5"), "0", PaymentCase.EXCESS),
        (payment(), "C-10482", account("7", "C-10482", balance="12"), "12", PaymentCase.PART),
        (payment(currency="USD"), "C-10482", account("7", "C-10482"), "0", PaymentCase.FOREIGN),
        (payment(currency=""), "C-10482", account("7", "C-10482"), "0", PaymentCase.COUNTS),
        (payment(state=PaymentState.PENDING), "C-10482", account("7", "C-10482"), "0", PaymentCase.PENDING),
        (payment(state=PaymentState.REVERSED), "C-10482", account("7", "C-10482"), "0", PaymentCase.REVERSED),
        (payment(state=PaymentState.REVERSED), "", None, "0", PaymentCase.REVERSED),
        (payment(), "", None, "0", PaymentCase.UNMATCHED),
    ],
)
def test_case(told: Payment, subscriber: str, kept: Account | None, overdue: str, case: PaymentCase) -> None:
    assert case_of(told, subscriber, kept, Decimal(overdue)) is case
