"""Splynx against a lab that keeps its books and its nonces."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import trio

from agent.billing_model.account import Account, PaymentState
from agent.billing_model.days import end_of, start_of
from agent.billing_model.errors import BillingState, ForgedHookError, MalformedHookError, SourceError
from agent.billing_model.hooks import HookCall
from agent.connectors.splynx import SPEC
from agent.connectors.splynx.signing import Nonces, authorization
from lab.billing.server import BillingServer, WebFault
from lab.billing.splynx import Splynx
from tests.builders.web import NOW_S, Book, QuickClock, behind, made, problems
from tests.shared_data import shared_json

TODAY, DUE = date(2026, 11, 27), date(2026, 11, 20)
TARGET = "splynx/main"
SECRETS = {"billing/splynx": b"lab-api-secret", "billing/hook": b"s3cr3t-splynx", "billing/old": b"other"}


def connector(server: BillingServer, book: Book | None = None, clock: QuickClock | None = None, **table: Any) -> Any:
    given = {
        "url": f"{server.url}/api/2.0",
        "key": "labkey0123456789",
        "secret": "billing/splynx",
        "page": 10,
        "hook": True,
        "hook_secret": "billing/hook",
        "currency": "USD",
    }
    return made(SPEC, {**given, **table}, SECRETS, book, clock)


@asynccontextmanager
async def splynx(
    books: Splynx, book: Book | None = None, clock: QuickClock | None = None, **table: Any
) -> AsyncIterator[tuple[Any, BillingServer]]:
    async with behind(books) as server:
        yield connector(server, book, clock, **table), server
        assert {request.method for request in server.requests} <= {"GET"}


async def accounts(connector: Any) -> Mapping[str, Account]:
    return {account.subscriber: account for account in (await connector.accounts(TARGET)).accounts}


# --- signatures ---


@pytest.mark.parametrize("vector", range(3))
def test_signatures_as_published(vector: int) -> None:
    v = shared_json("billing/splynx-signature-vectors.json")[vector]
    told = authorization(v["key"], v["secret"].encode(), v["nonce"])
    assert told == f"Splynx-EA (key={v['key']}&nonce={v['nonce']}&signature={v['signature']})"


def test_nonces_only_go_up() -> None:
    nonces = Nonces(0)
    found = []
    for now_s in (100.0, 100.0, 100.001, 50.0, 200.0):
        found.append(nonces.next(now_s))
        nonces.take(found[-1])
    assert found == [10_000, 10_001, 10_002, 10_003, 20_000]


async def test_nonces_go_up_over_restarts_and_clock_that_was_set_back() -> None:
    books, book = filled(3), Book()
    async with behind(books) as server:
        for wall_s in (NOW_S, NOW_S - 86_400 * 400, NOW_S + 10, NOW_S):
            one = connector(server, book, QuickClock(wall_s))
            assert len((await one.accounts(TARGET)).accounts) == 3
            await one.some_accounts(TARGET, ["1"])
    assert book.writes == 4  # not once a request


async def test_requests_go_one_at_a_time() -> None:
    async with splynx(filled(30)) as (one, _), trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(one.some_accounts, TARGET, ["1", "2"])
            nursery.start_soon(one.payments, TARGET, NOW_S)
        nursery.start_soon(one.accounts, TARGET)


@pytest.mark.assumed("splynx-nonce")
async def test_a_second_user_of_the_key_has_us_refused() -> None:
    books = filled(3)
    books.last_nonce = 10**15
    async with splynx(books) as (one, _):
        with pytest.raises(SourceError, match="the credentials are refused") as caught:
            await one.accounts(TARGET)
    assert caught.value.state is BillingState.REFUSED


# --- accounts ---


async def test_deposits_and_invoices() -> None:
    books = Splynx()
    owes = books.add_customer("amina")
    books.bill(owes.id, "34.10", DUE)
    books.bill(owes.id, "20.00", date(2026, 12, 20))
    paid = books.add_customer("hassan")
    books.bill(paid.id, "10.00", DUE)
    books.pay(paid.id, "25.00", TODAY)
    async with splynx(books) as (one, _):
        found = await accounts(one)
    account = found["amina"]
    assert (account.key, account.currency, account.balance, account.credit) == ("1", "USD", Decimal("54.1"), 0)
    assert [(i.due, i.unpaid) for i in account.invoices] == [(DUE, Decimal("34.1")), (date(2026, 12, 20), 20)]
    assert account.overdue(TODAY) == Decimal("34.1")
    assert (found["hassan"].overdue(TODAY), found["hassan"].invoices) == (0, ())


async def test_a_deposit_pays_what_its_invoice_does_not_show_yet() -> None:
    books = Splynx()
    customer = books.add_customer("amina")
    books.bill(customer.id, "34.00", DUE)
    customer.deposit = Decimal("5.00")
    async with splynx(books) as (one, _):
        account = (await accounts(one))["amina"]
    assert (account.balance, account.credit, account.overdue(TODAY)) == (-5, 39, 0)


async def test_an_unattached_payment_counts_beside_a_later_invoice() -> None:
    books = Splynx()
    customer = books.add_customer("amina")
    books.pay(customer.id, "34.00", TODAY)
    books.bill(customer.id, "34.00", DUE)
    books.bill(customer.id, "20.00", date(2026, 12, 20))
    async with splynx(books) as (one, _):
        account = (await accounts(one))["amina"]
    assert (account.balance, account.credit, account.overdue(TODAY)) == (20, 34, 0)
    assert account.overdue(date(2026, 12, 21)) == 20


async def test_a_debt_is_told_though_the_list_of_invoices_is_lost() -> None:
    books = Splynx()
    customer = books.add_customer("amina")
    books.bill(customer.id, "34.00", DUE)
    books.pay(customer.id, "10.00", TODAY)
    async with splynx(books) as (one, server):
        server.faults.append(WebFault("empty", where="invoices"))
        (whole,), (again,) = (await one.accounts(TARGET)).accounts, await one.some_accounts(TARGET, ["1"])
    assert [(a.balance, a.invoices) for a in (whole, again)] == [(24, ()), (24, ())]


@pytest.mark.parametrize("status", ["paid", "pending", "deleted"])
async def test_invoices_that_ask_for_nothing(status: str) -> None:
    books = Splynx()
    books.bill(books.add_customer("amina").id, "34.00", DUE, status=status)
    async with splynx(books) as (one, _):
        assert (await accounts(one))["amina"].invoices == ()


@pytest.mark.assumed("splynx-blocking-period")
@pytest.mark.parametrize(
    ("given", "exempt", "grace", "minimum"),
    [
        ({}, "", 0, None),
        ({"status": "blocked"}, "", 0, None),
        ({"status": "disabled"}, "inactive", 0, None),
        ({"enabled": False}, "switched off", 0, None),
        ({"blocking_period": 5}, "", 5, None),
        ({"min_balance": Decimal("-12.50")}, "", 0, Decimal("12.5")),
        ({"min_balance": Decimal(10)}, "", 0, None),
    ],
)
async def test_its_own_rules(given: dict[str, Any], exempt: str, grace: int, minimum: Decimal | None) -> None:
    books = Splynx()
    books.bill(books.add_customer("amina", **given).id, "34.00", DUE)
    async with splynx(books) as (one, _):
        account = (await accounts(one))["amina"]
    assert bool(exempt) == bool(account.exempt)
    assert exempt in account.exempt
    assert (account.own_grace_days, account.own_minimum) == (grace, minimum)


@pytest.mark.parametrize(("days", "asked"), [(-1, True), (0, True), (1, True), (2, False)])
async def test_only_the_soon_overdue_are_asked_for_their_deposit(days: int, asked: bool) -> None:
    books = Splynx()
    books.bill(books.add_customer("amina").id, "34.00", TODAY + timedelta(days=days))
    async with splynx(books) as (one, server):
        account = (await accounts(one))["amina"]
        assert any("customer-billing" in r.path for r in server.requests) is asked
    assert account.balance == 34


@pytest.mark.parametrize(
    ("field", "given", "expected"),
    [
        ("login", {}, "amina"),
        ("id", {}, "1"),
        ("attribute:contract", {"extra": {"contract": "C-7"}}, "C-7"),
        ("attribute:contract", {}, ""),
    ],
)
async def test_the_name_of_a_subscriber(field: str, given: dict[str, Any], expected: str) -> None:
    books = Splynx()
    books.add_customer("amina", **given)
    books.add_customer("gone", deleted=True)
    async with splynx(books, subscriber=field) as (one, _):
        reading = await one.accounts(TARGET)
    assert [a.subscriber for a in reading.accounts] == ([expected] if expected else [])
    assert reading.skipped == (not expected)


def filled(count: int = 57) -> Splynx:
    books = Splynx()
    for number in range(1, count + 1):
        customer = books.add_customer(f"c{number}")
        books.bill(customer.id, "30.00", DUE)
        if number % 3 == 0:
            books.pay(customer.id, "30.00", TODAY)
    return books


@pytest.mark.assumed("billing-equal-rows-any-order", "splynx-lists-by-id")
@pytest.mark.parametrize("most", [0, 3])
async def test_many_pages(most: int) -> None:
    books = filled()
    books.most = most
    async with splynx(books) as (one, _):
        found = await accounts(one)
    assert len(found) == 57
    assert sum(a.overdue(TODAY) > 0 for a in found.values()) == 38


@pytest.mark.assumed("splynx-lists-by-id")
async def test_invoices_that_are_paid_while_they_are_read() -> None:
    books = filled()
    unpaid = [b.customer for b in books.bills.values() if b.due]
    async with splynx(books) as (one, server):

        def pay(hit: int) -> None:
            books.pay(unpaid[hit], "30.00", TODAY)

        server.play("changing", where="/invoices", act=pay)
        found = await accounts(one)
    paid = {receipt.customer for receipt in books.receipts.values()}
    owing = {c.login for c in books.customers.values() if c.id not in paid}
    assert owing <= {name for name, account in found.items() if account.overdue(TODAY) > 0}


async def test_a_changed_certificate_is_named() -> None:
    async with behind(filled(2), tls=True) as server:
        one = connector(server, certificate_sha256=server.pin)
        assert len((await one.accounts(TARGET)).accounts) == 2
        other = connector(server, certificate_sha256="ab" * 32)
        with pytest.raises(SourceError, match="the certificate changed") as caught:
            await other.accounts(TARGET)
    assert {"ab" * 32, server.pin} <= set(re.findall("[0-9a-f]{64}", str(caught.value)))
    assert caught.value.state is BillingState.UNREACHABLE


async def test_some_accounts() -> None:
    books = filled(5)
    first, third = (str(c.id) for c in list(books.customers.values())[::2][:2])
    async with splynx(books) as (one, _):
        found = await one.some_accounts(TARGET, [first, third, "999"])
    assert {a.subscriber: a.overdue(TODAY) for a in found} == {"c1": 30, "c3": 0}


async def test_a_slow_splynx_is_given_up(autojump_clock: trio.testing.MockClock) -> None:
    async with splynx(filled(1)) as (one, server):
        server.play("slow", value=3600.0)
        with pytest.raises(SourceError, match="no whole answer within 30 s") as caught:
            await one.some_accounts(TARGET, ["1"])
    assert caught.value.state is BillingState.UNREACHABLE


# --- payments ---


async def test_payments_have_a_day_and_no_time() -> None:
    books = Splynx()
    customer = books.add_customer("amina")
    receipt = books.pay(customer.id, "15.50", TODAY, "K-9")
    back = books.pay(customer.id, "-3.00", TODAY)
    async with splynx(books) as (one, _):
        await one.accounts(TARGET)
        found = {p.id: p for p in await one.payments(TARGET, NOW_S - 3600)}
        zone = one.zone(TARGET)
    payment = found[str(receipt.id)]
    assert (payment.account, payment.subscriber, payment.amount, payment.currency) == (
        "1",
        "amina",
        Decimal("15.5"),
        "USD",
    )
    assert (payment.state, payment.provider_reference, payment.references) == (PaymentState.SETTLED, "K-9", ("K-9",))
    assert (payment.paid.first_s, payment.paid.last_s) == (start_of(TODAY, zone), end_of(TODAY, zone) - 1)
    assert found[str(back.id)].state is PaymentState.REVERSED


async def test_a_deleted_payment_is_seen() -> None:
    books = filled(3)
    async with splynx(books) as (one, _):
        gone = books.pay(books.customers[1].id, "30.00", TODAY)
        await one.payments(TARGET, NOW_S - 3600)
        books.delete_payment(gone.id)
        books.pay(books.customers[1].id, "30.00", TODAY)
        found = {p.id: p.state for p in await one.payments(TARGET, NOW_S - 3600)}
        assert found[str(gone.id)] is PaymentState.REVERSED


async def test_payments_by_their_ids() -> None:
    books = filled(3)
    async with splynx(books) as (one, _):
        paid = [books.pay(books.customers[1].id, "30.00", TODAY) for _ in range(3)]
        listed = {p.id: p for p in await one.payments(TARGET, NOW_S - 3600)}
        ids = [str(p.id) for p in paid[:2]]
        assert await one.some_payments(TARGET, [*ids, "999999"]) == [listed[key] for key in ids]
        books.delete_payment(paid[0].id)
        found = {p.id: p.state for p in await one.some_payments(TARGET, ids)}
        assert found == {ids[0]: PaymentState.SETTLED, ids[1]: PaymentState.SETTLED}, "a proxy may answer with 404 too"
        found = {p.id: p.state for p in await one.payments(TARGET, NOW_S - 3600)}
        assert (found[ids[0]], found[ids[1]]) == (PaymentState.REVERSED, PaymentState.SETTLED)


# --- webhooks ---


@pytest.mark.parametrize("vector", range(7))
def test_webhooks_as_published(vector: int) -> None:
    from agent.connectors.splynx.hooks import SplynxScheme

    v = shared_json("billing/splynx-webhook-vectors.json")[vector]
    scheme = SplynxScheme([v["secret"].encode()])
    call = HookCall({"x-splynx-signature": v["header"]}, v["body"].encode(), "192.0.2.1")
    if not v["valid"]:
        with pytest.raises(ForgedHookError):
            scheme.hear_untrusted(call, NOW_S)
        return
    heard = scheme.hear_untrusted(call, NOW_S)
    assert heard.test is (v["name"] == "ping")
    if "Payments" in v["body"]:
        assert (heard.kind, heard.accounts, heard.payment_ids) == ("Payments.create", ("42",), ("9",))


@pytest.mark.assumed("splynx-webhook-models")
@pytest.mark.parametrize(
    ("model", "attributes", "accounts", "payments"),
    [
        ("models\\admin\\finance\\Payments", {"id": "9", "customer_id": "42"}, ("42",), ("9",)),
        ("Customers", {"id": 7}, ("7",), ()),
        ("Invoices", {"id": 7, "customer_id": 42}, ("42",), ()),
        ("Tariffs", {"id": 7}, (), ()),
        ("Payments", {"id": True, "customer_id": "../1"}, (), ()),
    ],
)
async def test_what_a_bell_rings_for(
    model: str, attributes: dict[str, Any], accounts: tuple[str, ...], payments: tuple[str, ...]
) -> None:
    body, signature = Splynx().hook(SECRETS["billing/old"], "edit", model, attributes)
    async with splynx(Splynx(), hook_secret_before="billing/old") as (one, _):
        heard = one.hook(TARGET).hear_untrusted(HookCall({"x-splynx-signature": signature}, body, "::1"), NOW_S)
    assert (heard.accounts, heard.payment_ids, heard.payment) == (accounts, payments, None)


async def test_signed_and_no_event() -> None:
    async with splynx(Splynx(), hook_secret="billing/old") as (one, _):
        style = Splynx().hook(SECRETS["billing/old"], "e", "m", {})[0]
        body = json.dumps({**json.loads(style), "type": "other"}).encode()
        import hashlib
        import hmac

        signature = hmac.new(SECRETS["billing/old"], body, hashlib.sha1).hexdigest()
        with pytest.raises(MalformedHookError):
            one.hook(TARGET).hear_untrusted(HookCall({"x-splynx-signature": signature}, body, "::1"), NOW_S)


async def test_no_hook_where_none_is_configured() -> None:
    async with splynx(Splynx(), hook=False) as (one, _):
        assert one.hook(TARGET) is None


async def test_rights() -> None:
    async with splynx(Splynx(), timezone="Africa/Kampala") as (one, server):
        assert "Africa/Kampala" in " ".join(await one.rights(TARGET))
        server.play("status", value=403, where="/payments")
        with pytest.raises(SourceError, match="GET /admin/finance/payments: their right is missing"):
            await one.rights(TARGET)


@pytest.mark.parametrize(
    ("path", "field", "value"),
    [
        ("/customer", "id", None),
        ("/invoices", "date_till", "soon"),
        ("/invoices", "due", []),
        ("/customer-billing/1", "deposit", "much"),
    ],
)
async def test_a_record_of_another_form(path: str, field: str, value: Any) -> None:
    books = filled(2)
    answer = books.answer

    def bent(request: Any) -> Any:
        reply = answer(request)
        if request.path.endswith(path):
            (reply.json[0] if isinstance(reply.json, list) else reply.json)[field] = value
        return reply

    books.answer = bent
    async with splynx(books) as (one, _):
        with pytest.raises(SourceError, match=f"{field}, got") as caught:
            await one.accounts(TARGET)
    assert caught.value.state is BillingState.UNREACHABLE


GOOD = {"url": "https://splynx.example.net/api/2.0", "key": "a" * 16, "secret": "billing/splynx"}


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({**GOOD, "key": "a b"}, "key: expected an API key"),
        ({**GOOD, "secret": ""}, "secret: expected the name of a secret in the vault"),
        ({**GOOD, "hook": True}, "hook_secret: missing"),
        ({**GOOD, "currency": "dollars"}, "a currency code"),
        ({**GOOD, "provider_reference": "note"}, "receipt_number, field_1 to field_5"),
        ({**GOOD, "subscriber": "name"}, "login, id, or attribute:NAME"),
    ],
)
def test_sections_with_problems(table: dict[str, Any], says: str) -> None:
    (problem,) = problems(SPEC, table)
    assert says in problem


def test_the_day_of_the_lab_is_the_day_of_the_clock() -> None:
    assert datetime.fromtimestamp(NOW_S, UTC).date() == TODAY
