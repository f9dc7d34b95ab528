"""Payments of M-Pesa, read from a small Daraja that keeps 48 hours."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from agent.billing_model.account import Payment, PaymentState
from agent.billing_model.errors import BillingState, MalformedRecordError, SourceError
from agent.billing_model.records import Record
from agent.config_reader import ConfigReader
from agent.connectors.daraja import SPEC
from agent.connectors.daraja.connector import DarajaConnector
from agent.connectors.daraja.transactions import payment_untrusted, rows_untrusted
from tests.agent.connectors.daraja.till import EAT, NOW, Till, row
from tests.agent.connectors.pay_server import PayServer, naps, outcome, pay_server, told
from tests.builders.connector import context
from tests.builders.expect import present
from tests.builders.web import QuickClock

SECRETS = {"till/main": b"key:secret"}


@asynccontextmanager
async def daraja(till: Till, **keys: Any) -> AsyncIterator[tuple[DarajaConnector, PayServer, QuickClock]]:
    async with pay_server(till.answer) as server:
        table = {"url": server.url, "secret": "till/main", "short_code": "600638", **keys}
        reader = ConfigReader(Path("/a.toml"), {"daraja": {"main": table}}, SPEC.keys)
        config, clock = SPEC.parse(reader), naps()
        assert reader.problems == []
        yield DarajaConnector(config, context(SECRETS, clock=clock)), server, clock


async def payments(till: Till, hours: float = 2.0) -> dict[str, Payment]:
    async with daraja(till) as (made, _, _):
        found = await outcome(made.payments("daraja/main", NOW - hours * 3600))
    return {p.id: p for p in told(found)}


@pytest.mark.assumed("daraja-pull")
async def test_all_pages_and_what_the_payer_typed() -> None:
    found = await payments(Till([row(f"RKTQDM7W6{n}") for n in range(5)]))
    assert list(found) == [f"RKTQDM7W6{n}" for n in range(5)]
    one = found["RKTQDM7W60"]
    assert (one.amount, one.currency, one.state) == (Decimal("168.00"), "KES", PaymentState.SETTLED)
    assert (one.references, one.provider_reference, one.subscriber) == (("C-17",), "RKTQDM7W60", "")
    assert "254722000000" not in repr(one), "the payer's number is not kept"
    assert one.paid.first_s == NOW - 3600
    assert one.paid.last_s == NOW - 3600 + EAT.total_seconds(), "Z may be meant"


async def test_no_more_than_48_hours_are_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    found = await payments(Till([row("RKT0000001", 1), row("RKT0000002", 47), row("RKT0000003", 49)]), hours=100)
    assert list(found) == ["RKT0000001", "RKT0000002"]
    assert [r.getMessage() for r in caplog.records] == ["payments-out-of-reach"]


async def test_an_hour_before_is_read_again() -> None:
    """A transaction may show up in the list late."""
    assert list(await payments(Till([row("RKT0000001", 2.5)]), hours=2)) == ["RKT0000001"]


async def test_a_token_is_kept_until_shortly_before_its_end() -> None:
    till = Till([row("RKT0000001")])
    async with daraja(till) as (made, server, clock):
        for _ in range(3):
            await made.payments("daraja/main", NOW - 3600)
        assert till.tokens == 1
        clock.now_s += 3599 - 60
        await made.payments("daraja/main", NOW - 3600)
        assert till.tokens == 2
        assert all("t1" not in asked.path for asked in server.asked)


async def test_a_token_that_is_refused_is_replaced_once() -> None:
    till = Till([row("RKT0000001")])
    async with daraja(till) as (made, _, _):
        await made.payments("daraja/main", NOW - 3600)
        till.refuses = {"t1"}
        assert len(await made.payments("daraja/main", NOW - 3600)) == 1
        till.refuses = {"t2", "t3"}
        with pytest.raises(SourceError) as caught:
            await made.payments("daraja/main", NOW - 3600)
        assert caught.value.state is BillingState.REFUSED
        assert till.tokens == 3


@pytest.mark.parametrize(
    "till", [Till(expires_in=None), Till(expires_in="soon"), Till([row("RKT0000001")], code="500")]
)
async def test_another_answer_is_unreachable(till: Till) -> None:
    with pytest.raises(SourceError, match="daraja/main: ") as caught:
        await payments(till)
    assert caught.value.state is BillingState.UNREACHABLE


@pytest.mark.parametrize(
    ("fields", "is_payment"),
    [
        ({}, True),
        ({"transactiontype": "Customer Pay Bill Online"}, True),
        ({"transactiontype": "Pay Bill"}, True),
        ({"transactiontype": "c2b-buy-goods-debit"}, True),
        ({"transactiontype": "b2c-payment"}, False),
        ({"transactiontype": "reversal"}, False),
        ({"transactiontype": ""}, False),
    ],
)
def test_only_what_was_paid_in_counts(fields: dict[str, Any], is_payment: bool) -> None:
    assert (payment_untrusted(Record("t", row("RKT0000001", **fields)), "KES") is not None) is is_payment


@pytest.mark.parametrize(
    "fields",
    [{"transactionId": ""}, {"transactionId": "a b c d"}, {"amount": 1.5}, {"amount": "0"}, {"trxDate": "x"}]
    + [{"trxDate": ""}, {"amount": "many"}, {"billreference": ["x"]}],
)
def test_other_forms_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(MalformedRecordError):
        payment_untrusted(Record("t", row("RKT0000001", **fields)), "KES")


@pytest.mark.parametrize("response", [None, {}, [[1]], [1], [[{}], {}]])
def test_lists_of_another_form_are_refused(response: object) -> None:
    with pytest.raises(MalformedRecordError):
        rows_untrusted(Record("answer", {"ResponseCode": "1000", "Response": response}))


def test_a_day_is_never_taken_too_early() -> None:
    late = present(payment_untrusted(Record("t", row("RKT0000001", trxDate="2026-11-27T22:30:00Z")), "KES"))
    assert late.paid.day == date(2026, 11, 27)


async def test_rights_and_calls() -> None:
    keys = {"hook": True, "hook_from": ["196.201.214.0/24"]}
    async with daraja(Till(), **keys) as (made, _, _):
        assert "48 hours" in (await made.rights("daraja/main"))[0]
        assert made.hook("daraja/main") is not None
    async with daraja(Till()) as (made, _, _):
        assert made.hook("daraja/main") is None


@pytest.mark.parametrize(
    ("name", "keys", "problem"),
    [
        ("main", {"secret": ""}, "main.secret: expected the name of a secret"),
        ("main", {"hook": True}, "main.hook_from: missing; expected Safaricom's addresses"),
        ("mpesa", {"hook": True, "hook_from": ["196.201.214.0/24"]}, "mpesa: expected a NAME without 'mpesa'"),
        ("main", {"short_code": "12"}, "main.short_code: expected a short code"),
        ("main", {"page": 1000}, "main.page: unknown;"),
    ],
)
def test_mistakes_in_the_configuration(name: str, keys: dict[str, Any], problem: str) -> None:
    table = {"url": "https://a.b", "secret": "s", "short_code": "600638", **keys}
    reader = ConfigReader(Path("/a.toml"), {"daraja": {name: table}}, SPEC.keys)
    assert SPEC.parse(reader).sources == ()
    assert reader.problems[0].removeprefix("/a.toml daraja.").startswith(problem)
