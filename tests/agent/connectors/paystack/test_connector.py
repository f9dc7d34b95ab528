"""Payments of Paystack, read from a small Paystack; requests are those of the published description."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from agent.billing_model.account import Payment, PaymentState
from agent.billing_model.errors import BillingState, MalformedRecordError, SourceError
from agent.billing_model.records import Record
from agent.config_reader import ConfigReader
from agent.connectors.paystack import SPEC
from agent.connectors.paystack.connector import PaystackConnector
from agent.connectors.paystack.transactions import dispute_untrusted, refund_untrusted, transaction_untrusted
from tests.agent.connectors.api_description import described
from tests.agent.connectors.pay_server import Answer, Asked, PayServer, naps, outcome, pay_server, told
from tests.agent.connectors.paystack.books import NOW, Books, ago, transaction
from tests.builders.connector import context
from tests.builders.expect import present

SECRETS = {"pay/main": b"sk_live_1", "pay/old": b"sk_live_0"}


@asynccontextmanager
async def paystack(
    books: Books, as_described: bool = True, **keys: Any
) -> AsyncIterator[tuple[PaystackConnector, PayServer]]:
    """Run a small Paystack with a connector to it; check each request and each answer at the end.

    `as_described`: whether its answers have the described form.
    """
    answered: list[tuple[Asked, Answer]] = []

    def answer(asked: Asked) -> Answer:
        answered.append((asked, books.answer(asked)))
        return answered[-1][1]

    async with pay_server(answer) as server:
        table = {"url": server.url, "secret": "pay/main", "page": 10, **keys}
        reader = ConfigReader(Path("/a.toml"), {"paystack": {"main": table}}, SPEC.keys)
        config = SPEC.parse(reader)
        assert reader.problems == []
        yield PaystackConnector(config, context(SECRETS, clock=naps())), server
    api = described("paystack-openapi.yaml")
    for asked, (status, value) in answered:
        assert asked.method == "GET"
        assert api.problems(asked.method, asked.path, asked.query.items(), asked.headers, asked.body) == []
        if as_described and not books.failing:
            assert api.answer_problems(asked.method, asked.path, status, value) == []


async def payments(books: Books, **keys: Any) -> dict[str, Payment]:
    async with paystack(books, **keys) as (made, _):
        found = await outcome(made.payments("paystack/main", NOW.timestamp() - 3600))
    return {payment.id: payment for payment in told(found)}


async def test_every_request_is_described() -> None:
    refunds = [{"id": 5, "status": "processed", "transaction_reference": "ref-99", "amount": 1, "createdAt": ago(1)}]
    rows = [transaction(n) for n in range(25)] + [transaction(99, created_at=ago(900))]
    async with paystack(Books(rows, [{**refunds[0], "currency": "NGN"}])) as (made, server):
        found = await made.payments("paystack/main", NOW.timestamp() - 3600)
        await made.rights("paystack/main")
        assert sorted(int(p.id) for p in found) == [*range(25), 99]
        assert [a.path for a in server.asked].count("/transaction") == 4
        assert "/transaction/verify/ref-99" in [a.path for a in server.asked]
        assert {a.headers["authorization"] for a in server.asked} == {"Bearer sk_live_1"}


@pytest.mark.parametrize(
    ("fields", "state"),
    [
        ({}, PaymentState.SETTLED),
        ({"status": "pending", "paid_at": None}, PaymentState.PENDING),
        ({"status": "reversed"}, PaymentState.REVERSED),
        ({"status": "failed"}, None),
        ({"status": "abandoned"}, None),
        ({"status": "ongoing"}, None),
    ],
)
async def test_states(fields: dict[str, Any], state: PaymentState | None) -> None:
    found = await payments(Books([transaction(1, **fields)]))
    assert (found["1"].state if found else None) is state


@pytest.mark.parametrize(
    ("refunded", "status", "state", "amount"),
    [
        (150_000, "processed", PaymentState.REVERSED, "1500.00"),
        (150_000, "pending", PaymentState.REVERSED, "1500.00"),
        (150_000, "failed", PaymentState.SETTLED, "1500.00"),
        (50_000, "processed", PaymentState.SETTLED, "1000.00"),
    ],
)
async def test_refunds_take_back(refunded: int, status: str, state: PaymentState, amount: str) -> None:
    refund = {
        "id": 1,
        "status": status,
        "transaction_reference": "ref-1",
        "amount": refunded,
        "currency": "NGN",
        "createdAt": ago(0.5),
    }
    found = await payments(Books([transaction(1)], [refund]))
    assert (found["1"].state, found["1"].amount) == (state, Decimal(amount))


@pytest.mark.parametrize(
    ("status", "resolution", "state"),
    [
        ("awaiting-merchant-feedback", None, PaymentState.REVERSED),
        ("resolved", "merchant-accepted", PaymentState.REVERSED),
        ("resolved", "declined", PaymentState.SETTLED),
    ],
)
async def test_disputes_take_back_unless_declined(status: str, resolution: str | None, state: PaymentState) -> None:
    """Also of a transaction that is too old for the list."""
    old = transaction(7, created_at=ago(24 * 30), paid_at=ago(24 * 30))
    dispute = {
        "id": 1,
        "status": status,
        "resolution": resolution,
        "transaction": {"reference": "ref-7"},
        "createdAt": ago(24 * 20),
    }
    assert (await payments(Books([old], disputes=[dispute])))["7"].state is state


async def test_a_transaction_that_is_not_there_any_more_is_left_out() -> None:
    dispute = {"id": 1, "status": "pending", "transaction": {"reference": "gone"}, "createdAt": ago(1)}
    assert await payments(Books(disputes=[dispute])) == {}


@pytest.mark.parametrize(("currency", "paid"), [("NGN", "1500.00"), ("KES", "1500.00"), ("XOF", "1500.00")])
async def test_amounts_are_hundredths_of_every_currency(currency: str, paid: str) -> None:
    found = await payments(Books([transaction(1, currency=currency)]))
    assert (found["1"].amount, found["1"].currency) == (Decimal(paid), currency)


async def test_what_a_payment_may_be_matched_by() -> None:
    metadata = {
        "login": "C-17",
        "cart": 3,
        "custom_fields": [{"display_name": "Account", "variable_name": "account", "value": "house 9"}, 7],
    }
    found = (await payments(Books([transaction(1, metadata=metadata)]), subscriber_metadata="login"))["1"]
    assert (found.account, found.subscriber, found.provider_reference) == ("CUS_1", "C-17", "ref-1")
    assert found.references == ("ref-1", "C-17", "house 9")
    text = (await payments(Books([transaction(1, metadata='{"login": "C-17"}')]), as_described=False))["1"]
    assert (text.references, text.subscriber) == (("ref-1", "C-17"), "")
    for nothing in ("", "no JSON", 0, None, "[1]"):
        assert (await payments(Books([transaction(1, metadata=nothing)]), as_described=False))["1"].references == (
            "ref-1",
        )


@pytest.mark.parametrize(
    ("status", "state"), [(401, BillingState.REFUSED), (403, BillingState.REFUSED), (502, BillingState.UNREACHABLE)]
)
async def test_errors_are_states(status: int, state: BillingState) -> None:
    with pytest.raises(SourceError, match="paystack/main: GET /transaction: ") as caught:
        await payments(Books(failing=status))
    assert caught.value.state is state


@pytest.mark.parametrize(
    "fields",
    [{"amount": 1.5}, {"amount": -1}, {"reference": "a b"}, {"reference": None}, {"currency": "Naira"}, {"id": ""}]
    + [{"paid_at": None, "created_at": None}, {"paid_at": "yesterday"}, {"customer": 7}],
)
def test_other_forms_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(MalformedRecordError):
        transaction_untrusted(Record("t", transaction(1, **fields)), UTC, "", Decimal(0), is_disputed=False)
    with pytest.raises(MalformedRecordError):
        refund_untrusted(Record("refund", {"status": "processed", "amount": "1", "currency": "NGN"}))
    with pytest.raises(MalformedRecordError):
        dispute_untrusted(Record("dispute", {"status": "pending"}))


async def test_rights_and_calls() -> None:
    async with paystack(Books(), hook=True, secret_before="pay/old") as (made, _):
        (sentence,) = await made.rights("paystack/main")
        assert "may do everything" in sentence
        scheme = present(made.hook("paystack/main"))
        assert list(getattr(scheme, "secrets")) == [b"sk_live_1", b"sk_live_0"]  # noqa: B009  not of the protocol
    async with paystack(Books()) as (made, _):
        assert made.hook("paystack/main") is None


async def test_a_payer_cannot_put_half_a_character_into_the_books() -> None:
    """Payers choose the metadata. A text that no database takes would end each reading, and so all restores."""
    texts = [r'{"subscriber": "\ud800"}', r'{"note": "\ud800"}', r'{"subscriber": ["\ud800"]}']
    rows = [transaction(n, metadata=text) for n, text in enumerate(texts)]
    found = await payments(Books(rows), as_described=False, subscriber_metadata="subscriber")
    assert len(found) == len(texts)
    for payment in found.values():
        assert (payment.subscriber, payment.references) == ("", (payment.provider_reference,))
