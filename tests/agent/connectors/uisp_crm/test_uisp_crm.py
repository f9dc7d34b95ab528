"""UISP CRM against a lab that keeps its books; each request is compared with the published description."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import trio

from agent.billing_model.account import Account, PaymentState
from agent.billing_model.errors import BillingState, MalformedHookError, SourceError
from agent.billing_model.hooks import HookCall
from agent.billing_model.source import SomePaymentsError
from agent.connectors.uisp_crm import SPEC
from lab.billing.server import BillingServer, WebReply, WebRequest
from lab.billing.uisp import DRAFT, PROCESSED, VOID, Uisp
from tests.agent.connectors.api_description import described
from tests.builders.web import NOW_S, Book, QuickClock, behind, made, problems

NOW = datetime.fromtimestamp(NOW_S, UTC)
TODAY, DUE = date(2026, 11, 27), date(2026, 11, 20)
TARGET = "uisp-crm/main"


@dataclass
class Watched:
    """A CRM, and everything that it was asked and answered."""

    books: Uisp
    answered: list[tuple[WebRequest, WebReply]] = field(default_factory=list)

    def answer(self, request: WebRequest) -> WebReply:
        self.answered.append((request, self.books.answer(request)))
        return self.answered[-1][1]


@asynccontextmanager
async def crm(
    crm: Uisp,
    book: Book | None = None,
    clock: QuickClock | None = None,
    tls: bool = False,
    as_described: bool = True,
    **table: Any,
) -> AsyncIterator[tuple[Any, BillingServer]]:
    """Run a lab's CRM with a connector to it; check each request and each answer at the end.

    `as_described`: whether its answers have the described form.
    """
    watched = Watched(crm)
    async with behind(watched, tls=tls) as server:
        if tls:
            table.setdefault("certificate_sha256", server.pin)
        given = {"url": f"{server.url}/crm/api/v1.0", "secret": "billing/uisp", "page": 10, "hook": True, **table}
        yield made(SPEC, given, {"billing/uisp": b"lab-app-key"}, book, clock), server
        api = described("uisp-crm-swagger2-from-apib.json")
        for r in server.requests:
            assert api.problems(r.method, r.path, r.query, r.headers, r.body) == []
            assert r.method == "GET"
        for r, reply in watched.answered if as_described else ():
            assert api.answer_problems(r.method, r.path, reply.status, reply.json) == []


async def accounts(connector: Any) -> Mapping[str, Account]:
    return {account.subscriber: account for account in (await connector.accounts(TARGET)).accounts}


async def test_signs_and_open_invoices() -> None:
    books = Uisp()
    owes = books.add_client("C-1")
    books.add_invoice(owes.id, "34.10", DUE, NOW)
    books.add_invoice(owes.id, "20.00", date(2026, 12, 20), NOW)
    credit = books.add_client("C-2")
    books.pay(credit.id, "15.50", NOW)
    async with crm(books) as (connector, _):
        found = await accounts(connector)
    one, two = found["C-1"], found["C-2"]
    assert (one.key, one.currency, one.balance) == (str(owes.id), "USD", Decimal("54.1"))
    assert [(i.due, i.unpaid) for i in one.invoices] == [(DUE, Decimal("34.1")), (date(2026, 12, 20), Decimal(20))]
    assert one.overdue(TODAY) == Decimal("34.1")
    assert (two.balance, two.credit, two.invoices, two.overdue(TODAY)) == (Decimal("-15.5"), Decimal("15.5"), (), 0)
    assert one.as_of_s == NOW_S


@pytest.mark.parametrize(
    "given", [{"status": DRAFT}, {"status": VOID}, {"status": PROCESSED}, {"proforma": True}, {"uncollectible": True}]
)
async def test_documents_that_ask_for_nothing(given: dict[str, Any]) -> None:
    books = Uisp()
    client = books.add_client("C-1")
    books.add_invoice(client.id, "34.00", DUE, NOW, **given)
    async with crm(books) as (connector, _):
        assert (await accounts(connector))["C-1"].invoices == ()


@pytest.mark.parametrize("zone", ["Pacific/Tongatapu", "America/Los_Angeles", "Europe/Kyiv", "America/Lima"])
async def test_a_due_day_is_a_day_in_the_zone_of_the_crm(zone: str) -> None:
    books = Uisp(zone)
    client = books.add_client("C-1")
    books.add_invoice(client.id, "34.00", TODAY, NOW)
    async with crm(books) as (connector, _):
        account = (await accounts(connector))["C-1"]
        assert connector.zone(TARGET) == ZoneInfo(zone)
    assert [i.due for i in account.invoices] == [TODAY]
    assert account.overdue(TODAY) == 0
    assert account.overdue(date(2026, 11, 28)) == Decimal(34)


@pytest.mark.assumed("uisp-credit-complete")
@pytest.mark.parametrize(("credit_note", "payment"), [("10", ""), ("", "10")])
async def test_what_is_attached_to_nothing_is_credit(credit_note: str, payment: str) -> None:
    books = Uisp()
    client = books.add_client("C-1", credit_notes=Decimal(credit_note or 0))
    books.add_invoice(client.id, "10.00", DUE, NOW)
    if payment:
        books.pay(client.id, payment, NOW, attach=False)
    async with crm(books) as (connector, _):
        account = (await accounts(connector))["C-1"]
    assert (account.credit, account.balance, account.overdue(TODAY)) == (10, 0, 0)


@pytest.mark.assumed("uisp-prepaid-owes-nothing")
async def test_prepaid_services_owe_nothing() -> None:
    """One bought a period of its credit, one has credit left, one has run out: UISP itself ends a prepaid service."""
    books = Uisp()
    bought, left, _ = (books.add_client(name) for name in ("bought", "left", "out"))
    top_up = books.pay(bought.id, "30.00", NOW)
    books.add_invoice(bought.id, "25.00", DUE, NOW)
    books.attach(top_up)
    books.pay(left.id, "25.00", NOW)
    async with crm(books) as (connector, server):
        found = await accounts(connector)
        assert [r.path for r in server.requests if "service" in r.path] == [], "it goes by documents alone"
    assert {name: (a.balance, a.credit, a.invoices, a.exempt) for name, a in found.items()} == {
        "bought": (Decimal(-5), Decimal(5), (), ""),
        "left": (Decimal(-25), Decimal(25), (), ""),
        "out": (Decimal(0), Decimal(0), (), ""),
    }
    assert {a.overdue(date(2030, 1, 1)) for a in found.values()} == {0}


@pytest.mark.assumed("uisp-prepaid-owes-nothing")
@pytest.mark.parametrize(("top_up", "overdue"), [("", "40"), ("15", "25"), ("40", "0"), ("60", "0")])
async def test_credit_for_a_prepaid_service_counts_for_all(top_up: str, overdue: str) -> None:
    """A client with a prepaid and an invoiced service is one account: credit of the one is taken off the other."""
    books = Uisp()
    client = books.add_client("C-1")
    books.add_invoice(client.id, "40.00", DUE, NOW)
    if top_up:
        books.pay(client.id, top_up, NOW, attach=False)
    async with crm(books) as (connector, _):
        assert (await accounts(connector))["C-1"].overdue(TODAY) == Decimal(overdue)


async def test_partly_paid() -> None:
    books = Uisp()
    client = books.add_client("C-1")
    books.add_invoice(client.id, "10.00", DUE, NOW)
    books.pay(client.id, "4.00", NOW)
    async with crm(books) as (connector, _):
        assert (await accounts(connector))["C-1"].overdue(TODAY) == 6


@pytest.mark.parametrize(
    ("client", "options", "exempt", "grace"),
    [
        ({}, {}, "", 0),
        ({"stop_due": None}, {"stopServiceDue": False}, "stopServiceDue", 0),
        ({"stop_due": False}, {}, "stopServiceDue", 0),
        ({"stop_due": True}, {"stopServiceDue": False}, "", 0),
        ({"stop_days": None}, {"stopServiceDueDays": 5}, "", 5),
        ({"stop_days": 0}, {"stopServiceDueDays": 5}, "", 0),
        ({"stop_days": 9}, {"stopServiceDueDays": 5}, "", 9),
        ({}, {"suspendEnabled": False}, "suspendEnabled", 0),
        ({"archived": True}, {}, "archived", 0),
    ],
)
async def test_its_own_rules(client: dict[str, Any], options: dict[str, Any], exempt: str, grace: int) -> None:
    books = Uisp()
    books.options |= options
    books.add_client("C-1", **client)
    async with crm(books) as (connector, _):
        account = (await accounts(connector))["C-1"]
    assert exempt in account.exempt
    assert bool(exempt) == bool(account.exempt)
    assert (account.own_grace_days, account.own_minimum) == (grace, None)


async def test_its_switch_may_be_overridden_and_its_minimum_is_told() -> None:
    books = Uisp()
    books.options |= {"suspendEnabled": False, "suspensionMinimumUnpaidAmount": 5.5}
    books.add_client("C-1")
    async with crm(books, follow_suspend_switch=False) as (connector, _):
        account = (await accounts(connector))["C-1"]
    assert (account.exempt, account.own_minimum) == ("", Decimal("5.5"))


@pytest.mark.parametrize(
    ("sums", "reached"),
    [(["4"], False), (["4", "4"], False), (["4", "5"], True), (["5"], True), (["4", "4", "9"], True)],
)
async def test_its_minimum_is_of_one_invoice_so_small_ones_do_nothing(sums: list[str], reached: bool) -> None:
    books = Uisp()
    books.options["suspensionMinimumUnpaidAmount"] = 5.0
    client = books.add_client("C-1")
    for each in sums:
        books.add_invoice(client.id, each, DUE, NOW)
    async with crm(books) as (connector, _):
        account = (await accounts(connector))["C-1"]
    assert account.own_minimum is not None
    assert (account.overdue(TODAY) >= account.own_minimum) is reached


async def test_an_invoice_in_another_currency_exempts() -> None:
    books = Uisp()
    client = books.add_client("C-1")
    books.add_invoice(client.id, "10.00", DUE, NOW, currency="EUR")
    async with crm(books) as (connector, _):
        assert "another currency" in (await accounts(connector))["C-1"].exempt


@pytest.mark.parametrize(
    ("field", "given", "expected"),
    [
        ("userIdent", {"ident": " C-1 "}, "C-1"),
        ("id", {"ident": "x"}, "1"),
        ("attribute:login", {"ident": "x", "attributes": {"login": "amina", "other": "b"}}, "amina"),
        ("attribute:login", {"ident": "x"}, ""),
        ("userIdent", {"ident": ""}, ""),
    ],
)
async def test_the_name_of_a_subscriber(field: str, given: dict[str, Any], expected: str) -> None:
    books = Uisp()
    books.add_client(**given)
    books.add_client("lead", lead=True)
    async with crm(books, subscriber=field) as (connector, _):
        reading = await connector.accounts(TARGET)
    assert [a.subscriber for a in reading.accounts] == ([expected] if expected else [])
    assert reading.skipped == (not expected)


def filled(count: int = 57) -> Uisp:
    """Return books with `count` clients, each with an overdue invoice and every third with a payment."""
    books = Uisp()
    for number in range(1, count + 1):
        client = books.add_client(f"C-{number}")
        books.add_invoice(client.id, "30.00", DUE, NOW)
        if number % 3 == 0:
            books.pay(client.id, "30.00", NOW)
    return books


@pytest.mark.assumed("billing-equal-rows-any-order")
@pytest.mark.parametrize("most", [0, 3])
async def test_many_pages(most: int) -> None:
    books = filled()
    books.most = most
    async with crm(books) as (connector, _):
        found = await accounts(connector)
    assert len(found) == 57
    assert sum(a.overdue(TODAY) > 0 for a in found.values()) == 38


async def test_an_empty_list_of_clients_is_an_empty_reading() -> None:
    async with crm(filled()) as (connector, server):
        server.play("empty", where="/clients")
        assert (await connector.accounts(TARGET)).accounts == []


async def test_a_slow_crm_is_given_up(autojump_clock: trio.testing.MockClock) -> None:
    async with crm(filled(1)) as (connector, server):
        server.play("slow", value=3600.0, where="/options")
        with pytest.raises(SourceError, match="no whole answer within 30 s") as caught:
            await connector.accounts(TARGET)
    assert caught.value.state is BillingState.UNREACHABLE


@pytest.mark.assumed("uisp-invoices-keep-order")
async def test_invoices_that_are_paid_while_they_are_read() -> None:
    books = filled()
    unpaid = [i for i in books.invoices.values() if i.to_pay]
    async with crm(books) as (connector, server):

        def pay(hit: int) -> None:
            books.pay(unpaid[hit].client, "30.00", NOW)

        server.play("changing", where="/invoices", act=pay)
        found = await accounts(connector)
    paid = {f"C-{books.clients[c].ident.partition('-')[2]}" for c in {p.client for p in books.payments.values()}}
    overdue = {name for name, account in found.items() if account.overdue(TODAY) > 0}
    assert {f"C-{n}" for n in range(1, 58)} - paid <= overdue


async def test_retry_after_is_told() -> None:
    async with crm(filled(1)) as (connector, server):
        server.play("status", value=429, retry_after="4000")
        with pytest.raises(SourceError) as caught:
            await connector.accounts(TARGET)
    assert caught.value.retry_after_s == pytest.approx(4000)


async def test_a_changed_certificate_is_named() -> None:
    async with crm(filled(2), tls=True) as (connector, _):
        assert len(await accounts(connector)) == 2
    async with crm(filled(2), tls=True, certificate_sha256="ab" * 32) as (connector, server):
        with pytest.raises(SourceError, match="the certificate changed") as caught:
            await connector.accounts(TARGET)
        assert "ab" * 32 in str(caught.value)
        assert server.pin in str(caught.value)
        assert server.requests == []
    assert caught.value.state is BillingState.UNREACHABLE


async def test_some_accounts() -> None:
    books = filled(5)
    ids = [str(c.id) for c in books.clients.values()]
    async with crm(books) as (connector, server):
        found = await connector.some_accounts(TARGET, [ids[0], ids[2], "999"])
        assert {a.subscriber: a.overdue(TODAY) for a in found} == {"C-1": 30, "C-3": 0}
        calls = len(server.requests)
        await connector.some_accounts(TARGET, [ids[0]])
        assert len(server.requests) - calls == 2  # the client and its invoices


@pytest.mark.parametrize("fault", [{"kind": "status", "value": 401}, {"kind": "cut", "where": "/clients/"}])
async def test_some_accounts_on_a_bad_day(fault: dict[str, Any]) -> None:
    books = filled(5)
    async with crm(books) as (connector, server):
        server.play(**fault)
        with pytest.raises(SourceError):
            await connector.some_accounts(TARGET, [str(c.id) for c in books.clients.values()])


LOST = ({"kind": "empty", "where": "/invoices"}, {"kind": "page-lost", "where": "/invoices"})


@pytest.mark.parametrize("fault", LOST)
async def test_a_debtor_without_invoices_is_read_again(fault: dict[str, Any]) -> None:
    """The client owes by its balance, so that an empty list of its unpaid invoices was lost on the way."""
    books = filled(5)
    ids = [str(c.id) for c in books.clients.values()]
    async with crm(books) as (connector, server):
        server.play(**fault)
        with pytest.raises(SourceError, match="none is listed, although a client owes") as caught:
            await connector.some_accounts(TARGET, [ids[0]])
        assert caught.value.state is BillingState.PARTIAL
        assert [a.overdue(TODAY) for a in await connector.some_accounts(TARGET, [ids[2]])] == [0], "it owes nothing"
        with pytest.raises(SourceError, match="none is listed, although a client owes"):
            await connector.accounts(TARGET)
        server.play(**fault, times=1)
        assert [a.overdue(TODAY) for a in await connector.some_accounts(TARGET, [ids[0]])] == [30]


async def test_a_payment_between_both_answers_is_no_lost_list() -> None:
    books = filled(1)
    (client,) = books.clients
    async with crm(books) as (connector, server):
        server.play("changing", where="/invoices", act=lambda _: books.pay(client, "30.00", NOW), times=1)
        (found,) = await connector.some_accounts(TARGET, [str(client)])
    assert (found.overdue(TODAY), found.invoices) == (0, ())


@pytest.mark.parametrize("given", [{"archived": True}, {"lead": True}])
async def test_nobody_who_is_never_cut_makes_a_list_partial(given: dict[str, Any]) -> None:
    books = Uisp()
    client = books.add_client("C-1", **given)
    books.add_invoice(client.id, "34.00", DUE, NOW)
    async with crm(books) as (connector, server):
        server.play("empty", where="/invoices")
        assert {a.overdue(TODAY) for a in (await accounts(connector)).values()} <= {0}


# --- payments ---


async def test_payments() -> None:
    books = Uisp()
    client = books.add_client("C-1")
    first = books.pay(client.id, "30.00", NOW, provider_id="WP-1", note="C-1 november")
    unknown = books.pay(None, "5.00", NOW)
    given_back = books.pay(client.id, "7.00", NOW, refunded=Decimal("7.00"))
    part = books.pay(client.id, "9.00", NOW, refunded=Decimal("4.00"))
    async with crm(books) as (connector, _):
        await connector.accounts(TARGET)
        found = {p.id: p for p in await connector.payments(TARGET, NOW_S - 3600)}
    one = found[str(first.id)]
    assert (one.account, one.subscriber, one.amount, one.state) == (str(client.id), "C-1", 30, PaymentState.SETTLED)
    assert (one.provider_reference, one.references) == ("WP-1", ("C-1 november", "WP-1"))
    assert one.paid.first_s == NOW_S
    assert (found[str(unknown.id)].account, found[str(unknown.id)].subscriber) == ("", "")
    assert found[str(given_back.id)].state is PaymentState.REVERSED
    assert (found[str(part.id)].amount, found[str(part.id)].state) == (5, PaymentState.SETTLED)


async def test_payments_that_were_dated_back_and_deleted() -> None:
    books = Uisp()
    client = books.add_client("C-1")
    old = datetime(2025, 1, 1, tzinfo=UTC)
    for _ in range(250):
        books.pay(client.id, "1.00", old)
    for _ in range(30):
        books.pay(client.id, "2.00", NOW)
    async with crm(books) as (connector, server):
        assert len(await connector.payments(TARGET, NOW_S - 3600)) >= 30
        late = books.pay(client.id, "3.00", old)
        gone = books.pay(client.id, "4.00", NOW)
        books.pay(client.id, "5.00", NOW)
        found = {p.id: p for p in await connector.payments(TARGET, NOW_S - 3600)}
        assert {str(late.id), str(gone.id)} <= set(found)
        calls = len(server.requests)
        books.delete_payment(gone.id)
        found = {p.id: p for p in await connector.payments(TARGET, NOW_S - 3600)}
        assert found[str(gone.id)].state is PaymentState.REVERSED
        assert found[str(late.id)].state is PaymentState.SETTLED
        assert len(server.requests) - calls <= 4
        assert [p for p in await connector.payments(TARGET, NOW_S - 3600) if p.id == str(gone.id)] == []


async def test_payment_that_only_slipped_from_list_is_not_deleted() -> None:
    books = Uisp()
    client = books.add_client("C-1")
    for _ in range(5):
        books.pay(client.id, "1.00", NOW)
    async with crm(books) as (connector, server):
        await connector.payments(TARGET, NOW_S - 3600)
        server.play("page-lost", where="/payments", value=0, times=1)
        with pytest.raises(SomePaymentsError):
            await connector.payments(TARGET, NOW_S - 3600)
        found = await connector.payments(TARGET, NOW_S - 3600)
    assert {p.state for p in found} == {PaymentState.SETTLED}


async def test_payments_by_their_ids() -> None:
    books = Uisp()
    client = books.add_client("C-1")
    paid = [books.pay(client.id, "30.00", NOW) for _ in range(200)]
    async with crm(books) as (connector, server):
        ids = [str(paid[0].id), str(paid[150].id)]
        await connector.payments(TARGET, NOW_S - 3600)
        calls = len(server.requests)
        found = {p.id: p for p in await connector.some_payments(TARGET, [*ids, "999999"])}
        assert len(server.requests) - calls == 3
        listed = {p.id: p for p in await connector.payments(TARGET, NOW_S - 3600)}
        assert found == {key: listed[key] for key in ids}
        books.delete_payment(paid[150].id)
        (doubted,) = await connector.some_payments(TARGET, [ids[1]])
        assert (doubted.id, doubted.state) == (ids[1], PaymentState.SETTLED)
        listed = {p.id: p for p in await connector.payments(TARGET, NOW_S - 3600)}
        assert listed[ids[1]].state is PaymentState.REVERSED
        server.play("status", value=500, where="/payments/", times=-1)
        with pytest.raises(SourceError):
            await connector.some_payments(TARGET, ids)


async def test_payments_by_their_ids_are_in_zone_of_the_crm() -> None:
    books = Uisp("Pacific/Auckland")
    paid = books.pay(books.add_client("C-1").id, "30.00", datetime(2026, 11, 27, 12, tzinfo=UTC))
    async with crm(books) as (connector, _):  # nothing else was read before
        (found,) = await connector.some_payments(TARGET, [str(paid.id)])
    assert found.paid.day == date(2026, 11, 28)


# --- webhooks ---


def call(body: Mapping[str, Any] | bytes) -> HookCall:
    return HookCall({}, body if isinstance(body, bytes) else json.dumps(body).encode(), "127.0.0.1")


async def rung(connector: Any, body: Mapping[str, Any]) -> list[Account]:
    heard = connector.hook(TARGET).hear_untrusted(call(body), NOW_S)
    assert heard.event_id == body["uuid"]
    named = await connector.some_payments(TARGET, heard.payment_ids) if heard.payment_ids else ()
    keys = {*heard.accounts, *(p.account for p in named if p.account)}
    return list(await connector.some_accounts(TARGET, keys)) if keys else []


@pytest.mark.assumed("uisp-event-entities")
async def test_a_bell_has_the_account_read_that_its_event_is_about() -> None:
    books = filled(3)
    client = next(iter(books.clients.values()))
    invoice = next(i for i in books.invoices.values() if i.client == client.id)
    payment = books.pay(client.id, "30.00", NOW)
    service = next(s for s, c in books.services.items() if c == client.id)
    async with crm(books) as (connector, _):
        for entity, number in (
            ("payment", payment.id),
            ("invoice", invoice.id),
            ("service", service),
            ("client", client.id),
        ):
            found = await rung(connector, books.event("insert", entity, number, f"{entity}.add"))
            assert [(a.subscriber, a.overdue(TODAY)) for a in found] == [("C-1", 0)], entity
        for entity, number in (("payment", 999), ("ticket", 5), ("client", None)):
            assert await rung(connector, books.event("insert", entity, number, f"{entity}.add")) == []
        heard = connector.hook(TARGET).hear_untrusted(call(books.event("insert", "payment", 9, "payment.add")), NOW_S)
        assert (heard.kind, heard.payment_ids, heard.test) == ("payment.add", ("9",), False)
        assert connector.hook(TARGET).hear_untrusted(call(books.event("test", "webhook", None, "test")), NOW_S).test


async def test_a_forged_bell_reads_nothing() -> None:
    books = filled(3)
    forged = {"uuid": "12345678-1234-4234-8234-123456789abc", "changeType": "insert", "entity": "client", "entityId": 1}
    async with crm(books) as (connector, server):
        assert await rung(connector, forged) == []
        assert [r.path for r in server.requests if "clients" in r.path] == []


async def test_a_bell_for_a_payment_has_it_read_once_and_its_payer() -> None:
    books = filled(1)
    client = next(iter(books.clients.values()))
    payment = books.pay(client.id, "30.00", NOW)
    books.pay(None, "1.00", NOW)
    async with crm(books) as (connector, server):
        await connector.payments(TARGET, NOW_S - 3600)
        for change, overdue in (("insert", 0), ("delete", 30)):
            server.requests.clear()
            found = await rung(connector, books.event(change, "payment", payment.id, f"payment.{change}"))
            assert [a.overdue(TODAY) for a in found] == [overdue]
            paths = sorted(r.path.rpartition("v1.0/")[2] for r in server.requests)
            assert paths == [f"clients/{client.id}", "invoices", f"payments/{payment.id}"]
            if change == "insert":
                books.delete_payment(payment.id)


@pytest.mark.assumed("uisp-postponement-event")
async def test_a_postponement_holds_for_a_day_also_over_a_restart() -> None:
    books, book = filled(2), Book()
    service, client = next(iter(books.services.items()))
    event = books.event("postpone", "service", service, "service.postpone")
    async with crm(books, book) as (connector, _):
        assert [a.hold_until_s for a in await rung(connector, event)] == [NOW_S + 86_400]
    async with crm(books, book) as (connector, _):
        assert {k: a.hold_until_s for k, a in (await accounts(connector)).items()} == {
            "C-1": NOW_S + 86_400,
            "C-2": 0,
        }
    async with crm(books, book, QuickClock(NOW_S + 86_401)) as (connector, _):
        assert (await accounts(connector))["C-1"].hold_until_s == 0
    assert books.clients[client].ident == "C-1"


async def test_another_event_called_a_postponement_postpones_nothing() -> None:
    """Nothing signs a call: what UISP says of the event counts, else whoever knows the path spares a debtor."""
    books = filled(1)
    event = books.event("edit", "service", next(iter(books.services)), "service.edit")
    async with crm(books) as (connector, _):
        forged = {**event, "changeType": "postpone", "eventName": "service.postpone"}
        assert [a.hold_until_s for a in await rung(connector, forged)] == [0]


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"uuid": "x"}', b'{"uuid": 7}', b"\xff"])
async def test_no_event(body: bytes) -> None:
    async with crm(Uisp()) as (connector, _):
        with pytest.raises(MalformedHookError):
            connector.hook(TARGET).hear_untrusted(call(body), NOW_S)


async def test_no_hook_where_none_is_configured() -> None:
    async with crm(Uisp(), hook=False) as (connector, _):
        assert connector.hook(TARGET) is None


# --- what people are told ---


async def test_rights_and_settings() -> None:
    books = Uisp("Africa/Kampala")
    books.options |= {"suspendEnabled": False, "stopServiceDue": False}
    async with crm(books, timezone="Europe/Paris") as (connector, _):
        told = " ".join(await connector.rights(TARGET))
    for text in ("type Read", "Africa/Kampala", "timezone differs", "suspendEnabled", "stopServiceDue", "24 hours"):
        assert text in told


async def test_rights_that_are_missing() -> None:
    async with crm(Uisp()) as (connector, server):
        server.play("status", value=403, where="/payments")
        with pytest.raises(SourceError, match="GET /payments: their right is missing"):
            await connector.rights(TARGET)


@pytest.mark.parametrize(
    ("path", "field", "value"),
    [
        ("/clients", "accountBalance", "much"),
        ("/clients", "id", None),
        ("/invoices", "dueDate", "tomorrow"),
        ("/invoices", "amountToPay", None),
        ("/options", "appTimezone", "Mars/Base"),
        ("/options", "suspendEnabled", "perhaps"),
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
    async with crm(books, as_described=False) as (connector, _):
        with pytest.raises(SourceError, match=f"{field}, got") as caught:
            await connector.accounts(TARGET)
    assert caught.value.state is BillingState.UNREACHABLE


GOOD = {"url": "https://uisp.example.net/crm/api/v1.0", "secret": "billing/uisp"}


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({**GOOD, "url": "http://uisp.example.net"}, "url: expected https://"),
        ({"secret": "a"}, "url: missing"),
        ({"url": GOOD["url"]}, "secret: missing; expected the name of a secret in the vault"),
        ({**GOOD, "certificate_sha256": "abc"}, "64 hex digits"),
        ({**GOOD, "subscriber": "name"}, "expected userIdent, id, or attribute:KEY"),
        ({**GOOD, "page": 1}, "a whole number from 10"),
    ],
)
def test_sections_with_problems(table: dict[str, Any], says: str) -> None:
    (problem,) = problems(SPEC, table)
    assert says in problem
