"""Payments of Stripe, read from a small Stripe that holds charges, disputes and events."""

from __future__ import annotations

import re
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
from agent.billing_model.source import SomePaymentsError
from agent.config_reader import ConfigReader
from agent.connectors.stripe_payments import SPEC
from agent.connectors.stripe_payments.charges import charge_untrusted
from agent.connectors.stripe_payments.connector import StripeConnector
from tests.agent.connectors.pay_server import PayServer, naps, outcome, pay_server, told
from tests.agent.connectors.stripe_payments.books import NOW, Books, charge
from tests.builders.connector import context
from tests.builders.expect import present
from tests.shared_data import shared_json


@asynccontextmanager
async def stripe(books: Books, **keys: Any) -> AsyncIterator[tuple[StripeConnector, PayServer]]:
    async with pay_server(books.answer) as server:
        table = {"url": f"{server.url}/v1", "secret": "stripe/main", "page": 10, **keys}
        reader = ConfigReader(Path("/a.toml"), {"stripe": {"main": table}}, SPEC.keys)
        config = SPEC.parse(reader)
        assert reader.problems == []
        yield StripeConnector(config, context(SECRETS, clock=naps())), server


SECRETS = {"stripe/main": b"rk_live_1", "stripe/hook": b"whsec_1"}


async def payments(books: Books, since_s: float = NOW - 3600, **keys: Any) -> dict[str, Payment]:
    async with stripe(books, **keys) as (made, server):
        found = await outcome(made.payments("stripe/main", since_s))
        for asked in server.asked:
            assert asked.headers["authorization"] == "Bearer rk_live_1"
            assert re.fullmatch(r"\d{4}-\d\d-\d\d", asked.headers["stripe-version"])
            assert asked.method == "GET"
    return {payment.id: payment for payment in told(found)}


async def test_all_pages_of_new_charges() -> None:
    books = Books([charge(f"ch_{n}") for n in range(25)] + [charge("ch_old", created=NOW - 7200)])
    assert list(await payments(books)) == [f"ch_{n}" for n in range(25)]


async def test_older_charge_is_read_again_when_event_tells_of_it() -> None:
    old = charge("ch_old", created=NOW - 86_400, amount_refunded=1099, refunded=True)
    other = charge("ch_other", created=NOW - 86_400, amount_refunded=99)
    events = [
        {"id": "evt_1", "created": NOW, "data": {"object": old}},
        {"id": "evt_2", "created": NOW, "data": {"object": {"id": "re_1", "object": "refund", "charge": "ch_other"}}},
        {"id": "evt_3", "created": NOW - 9000, "data": {"object": charge("ch_unasked")}},
    ]
    found = await payments(Books([old, other], events))
    assert {name: (p.state, p.amount) for name, p in found.items()} == {
        "ch_old": (PaymentState.REVERSED, Decimal("10.99")),
        "ch_other": (PaymentState.SETTLED, Decimal("10.00")),
    }


@pytest.mark.parametrize(
    ("fields", "state"),
    [
        ({}, PaymentState.SETTLED),
        ({"status": "pending"}, PaymentState.PENDING),
        ({"captured": False, "amount_captured": 0}, PaymentState.PENDING),
        ({"status": "failed"}, None),
        ({"refunded": True, "amount_refunded": 1099}, PaymentState.REVERSED),
        ({"amount_refunded": 1}, PaymentState.SETTLED),
    ],
)
async def test_states(fields: dict[str, Any], state: PaymentState | None) -> None:
    found = await payments(Books([charge("ch_1", **fields)]))
    assert (found["ch_1"].state if found else None) is state


@pytest.mark.parametrize(
    ("statuses", "state"),
    [
        (["needs_response"], PaymentState.REVERSED),
        (["under_review"], PaymentState.REVERSED),
        (["lost"], PaymentState.REVERSED),
        (["won"], PaymentState.SETTLED),
        (["warning_closed"], PaymentState.SETTLED),
        (["won", "lost"], PaymentState.REVERSED),
    ],
)
async def test_a_dispute_takes_back_unless_it_was_won(statuses: list[str], state: PaymentState) -> None:
    disputes = [{"id": f"dp_{n}", "charge": "ch_1", "status": s} for n, s in enumerate(statuses)]
    found = await payments(Books([charge("ch_1", disputed=True)], disputes=disputes))
    assert found["ch_1"].state is state


async def test_a_dispute_that_is_not_shown_takes_nothing_back() -> None:
    """Nothing says whether it is an inquiry or was won: the charge stays as it was, and is asked for again."""
    books = Books([charge("ch_1", disputed=True), charge("ch_2")])
    with pytest.raises(SomePaymentsError, match="a charge is disputed, and the list of disputes has none") as caught:
        await payments(books)
    assert [p.id for p in caught.value.payments] == ["ch_2"]


@pytest.mark.parametrize(
    ("currency", "amount", "paid"),
    [
        ("usd", 1099, "10.99"),
        ("kes", 100, "1.00"),
        ("rwf", 500, "500"),
        ("jpy", 500, "500"),
        ("mga", 500, "500"),
        ("ugx", 50_000, "500.00"),
        ("isk", 500, "5.00"),
        ("kwd", 5120, "5.120"),
    ],
)
async def test_minor_units_are_stripes_own(currency: str, amount: int, paid: str) -> None:
    found = await payments(Books([charge("ch_1", currency=currency, amount=amount, amount_captured=amount)]))
    assert (found["ch_1"].currency, found["ch_1"].amount) == (currency.upper(), Decimal(paid))


async def test_what_a_payment_may_be_matched_by() -> None:
    one = charge(
        "ch_1",
        customer="cus_7",
        description="Internet November",
        metadata={"login": "C-17", "order": "A 9"},
        payment_intent={"id": "pi_3", "object": "payment_intent"},
        billing_details={"email": "amina@example.org", "name": "Amina"},
    )
    found = (await payments(Books([one]), subscriber_metadata="login"))["ch_1"]
    assert (found.account, found.subscriber, found.provider_reference) == ("cus_7", "C-17", "pi_3")
    assert found.references == ("Internet November", "C-17", "A 9", "pi_3")
    assert found.paid.first_s == found.paid.last_s == NOW - 60
    assert (await payments(Books([one])))["ch_1"].subscriber == ""


def test_stripes_own_fixture_is_understood() -> None:
    """The documentation's charge is authorized and not captured."""
    thing = shared_json("billing/stripe-fixtures3.json")["resources"]["charge"]
    found = present(charge_untrusted(Record("charge", thing), UTC, "", ()))
    assert (found.id, found.amount, found.currency) == (thing["id"], Decimal("1.00"), "USD")
    assert found.state is PaymentState.PENDING
    assert found.references == ("My First Test Charge (created for API docs)",)


@pytest.mark.parametrize(
    "fields",
    [
        {"status": "new"},
        {"currency": "Dollar"},
        {"amount_captured": 1.5},
        {"amount_captured": "10"},
        {"amount_captured": -1},
        {"amount_refunded": None},
        {"created": "now"},
        {"created": 10**12},
        {"metadata": "x"},
        {"id": None},
        {"captured": "perhaps"},
    ],
)
def test_other_forms_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(MalformedRecordError):
        charge_untrusted(Record("charge", charge("ch_1", **fields)), UTC, "", ())


@pytest.mark.parametrize(
    ("status", "state"), [(401, BillingState.REFUSED), (403, BillingState.REFUSED), (500, BillingState.UNREACHABLE)]
)
async def test_errors_are_states(status: int, state: BillingState) -> None:
    with pytest.raises(SourceError, match=r"stripe/main: GET /charges: ") as caught:
        await payments(Books(failing=status))
    assert caught.value.state is state


@pytest.mark.parametrize("shift", [-10, -1, 1, 10])
@pytest.mark.parametrize("kind", ["charges", "events"])
async def test_a_page_that_is_lost_or_doubled_is_partial(shift: int, kind: str) -> None:
    """Each page has to begin with the last row of the one before. Payments of a partial list count."""
    charges = [charge(f"ch_{n}") for n in range(25)]
    events = [{"id": f"evt_{n}", "created": NOW, "data": {"object": charges[n]}} for n in range(25)]
    books = Books(charges, shift=shift) if kind == "charges" else Books(charges[:9], events, shift=shift)
    with pytest.raises(SomePaymentsError, match=rf"list of {kind}: a page does not begin with the last") as caught:
        await payments(books)
    assert caught.value.state is BillingState.PARTIAL
    assert {f"ch_{n}" for n in range(9)} <= {p.id for p in caught.value.payments}


async def test_a_charge_that_the_list_lost_makes_it_partial() -> None:
    """The newest one too, where no page is missed. It is said once of each."""
    books = Books([charge(f"ch_{n}") for n in range(5)])
    async with stripe(books) as (made, _):

        async def read() -> list[str]:
            found = told(await outcome(made.payments("stripe/main", NOW - 3600)))
            return sorted(p.id for p in found)

        assert len(await read()) == 5
        books.hidden = {"ch_0"}
        with pytest.raises(SomePaymentsError, match=r"charges: one that was read before .* missing") as caught:
            await read()
        assert len(caught.value.payments) == 5
        assert await read() == ["ch_1", "ch_2", "ch_3", "ch_4"]
        books.hidden = set()
        assert len(await read()) == 5


async def test_a_charge_out_of_the_window_is_not_missed() -> None:
    books = Books([charge("ch_1"), charge("ch_2", created=NOW - 1800)])
    async with stripe(books) as (made, _):
        assert len(told(await outcome(made.payments("stripe/main", NOW - 3600)))) == 2
        assert len(told(await outcome(made.payments("stripe/main", NOW - 600)))) == 1


async def test_deleted_data_of_test_mode_is_forgotten() -> None:
    event = {"id": "evt_1", "created": NOW, "data": {"object": charge("ch_1")}}
    books = Books([charge("ch_1")], [event])
    async with stripe(books) as (made, _):
        assert len(told(await outcome(made.payments("stripe/main", NOW - 3600)))) == 1
        books.charges.clear()
        assert told(await outcome(made.payments("stripe/main", NOW - 3600))) == []


@pytest.mark.parametrize("value", [[], {"data": []}, {"data": {}, "has_more": False}, {"data": [], "has_more": True}])
async def test_another_answer_is_unreachable(value: object) -> None:
    async with pay_server(lambda _: (200, value)) as server:
        table = {"url": server.url, "secret": "stripe/main"}
        config = SPEC.parse(ConfigReader(Path("/a.toml"), {"stripe": {"main": table}}, SPEC.keys))
        made = StripeConnector(config, context(SECRETS, clock=naps()))
        with pytest.raises(SourceError) as caught:
            await made.payments("stripe/main", NOW)
        assert caught.value.state is BillingState.UNREACHABLE


async def test_rights_and_calls() -> None:
    async with stripe(Books(), hook=True, hook_secret="stripe/hook") as (made, _):
        assert await made.rights("stripe/main") == []
        scheme = present(made.hook("stripe/main"))
        assert scheme.body_most > 100_000
    async with stripe(Books()) as (made, _):
        assert made.hook("stripe/main") is None


def test_mistakes_in_the_configuration() -> None:
    reader = ConfigReader(Path("/a.toml"), {"stripe": {"main": {"url": "https://a.b", "hook": True}}}, SPEC.keys)
    assert SPEC.parse(reader).sources == ()
    assert [problem.removeprefix("/a.toml stripe.main.").partition(":")[0] for problem in reader.problems] == [
        "secret",
        "hook_secret",
    ]
