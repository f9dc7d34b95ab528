"""Each billing source behind a web API on each bad day: its state, its words, and a ledger that loses nothing.

One table of faults, one runner. A source is read well once; then somebody pays, and the fault is played; then it ends.
During a fault that is noticed the ledger keeps everything as it was. Afterwards each payment is there, once.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from trio.testing import MockClock

from agent.billing_model.account import PaymentState
from agent.billing_model.errors import BillingState
from agent.connectors.daraja import SPEC as DARAJA
from agent.connectors.paystack import SPEC as PAYSTACK
from agent.connectors.spec import ConnectorSpec
from agent.connectors.splynx import SPEC as SPLYNX
from agent.connectors.stripe_payments import SPEC as STRIPE
from agent.connectors.uisp_crm import SPEC as UISP
from lab.billing.server import BillingServer, System, serve_billing
from lab.billing.splynx import Splynx
from lab.billing.uisp import Uisp
from tests.agent.connectors.bad_days import LATER_S, BadReading, bad_reading
from tests.agent.connectors.daraja.till import NOW as PAY_NOW_S
from tests.agent.connectors.daraja.till import Till, row
from tests.agent.connectors.pay_server import PaySystem, outcome, told
from tests.agent.connectors.paystack import books as paystack_books
from tests.agent.connectors.stripe_payments import books as stripe_books
from tests.builders.web import NOW_S, QuickClock, made

NOW, TODAY, DUE = datetime.fromtimestamp(NOW_S, UTC), date(2026, 11, 27), date(2026, 11, 20)
SECRET = b"lab-api-secret"
U, R, P, FRESH = BillingState.UNREACHABLE, BillingState.REFUSED, BillingState.PARTIAL, BillingState.FRESH


# --- the sources ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Playing:
    """A source's system with its books.

    `pay`: books one more payment. `shift`: moves the pages behind the first one by so many rows.
    """

    system: System
    pay: Callable[[], object]
    shift: Callable[[int], object] | None = None


@dataclass(frozen=True)
class Source:
    """A source of the table.

    `list_path`: a part of the path of the list that is spoiled. `page`: its rows. `base`: of the list of accounts, "":
    it has none. `but`: faults, by their names, that end in another way here, and why. `spared`: faults that cannot
    befall it, and why. `nothing`: the answer of its API without a row.
    """

    name: str
    spec: ConnectorSpec[Any]
    play: Callable[[], Playing]
    path: str
    list_path: str
    table: Mapping[str, Any]
    lane: str = "payments"
    page: int = 10
    now_s: float = PAY_NOW_S
    nothing: Any = None
    base: str = ""
    but: Mapping[str, End] = field(default_factory=dict)
    spared: Mapping[str, str] = field(default_factory=dict)

    @property
    def target(self) -> str:
        return f"{self.spec.name}/main"


@dataclass(frozen=True)
class End:
    """How a reading on a bad day ends. `lacks`: rows may be missing until the next one. `why`: of another end.

    `more`: payments that a partial list tells count.
    """

    state: BillingState
    says: str = ""
    lacks: bool = False
    more: bool = False
    why: str = ""


def uisp() -> Playing:
    books = Uisp(key=SECRET.decode())
    for number in range(1, 31):
        client = books.add_client(f"C-{number}")
        books.add_invoice(client.id, "30.00", DUE, NOW)
    ids = iter(list(books.clients) * 20)
    for _ in range(5):
        books.pay(next(ids), "30.00", NOW)
    return Playing(books, lambda: books.pay(next(ids), "30.00", NOW))


def splynx() -> Playing:
    books = Splynx(secret=SECRET)
    for number in range(1, 31):
        books.bill(books.add_customer(f"C-{number}").id, "30.00", DUE)
    ids = iter(list(books.customers) * 20)
    for _ in range(5):
        books.pay(next(ids), "30.00", TODAY)
    return Playing(books, lambda: books.pay(next(ids), "30.00", TODAY))


def many(play: Callable[[], Playing]) -> Callable[[], Playing]:
    """Return books with more payments than a page of them has."""

    def played() -> Playing:
        books = play()
        for _ in range(250):
            books.pay()
        return books

    return played


def stripe() -> Playing:
    books = stripe_books.Books()

    def pay() -> None:
        one = stripe_books.charge(f"ch_{len(books.charges)}", metadata={"login": "C-17"})
        books.charges.insert(0, one)

    return Playing(PaySystem(books.answer), paid(pay), lambda rows: setattr(books, "shift", rows))


def paystack() -> Playing:
    books = paystack_books.Books()

    def pay() -> None:
        one = paystack_books.transaction(len(books.transactions) + 1, metadata={"login": "C-17"})
        books.transactions.insert(0, one)

    return Playing(PaySystem(books.answer), paid(pay), lambda rows: setattr(books, "shift", rows))


def daraja() -> Playing:
    till = Till()
    return Playing(
        PaySystem(till.answer),
        paid(lambda: till.rows.append(row(f"RKT00000{len(till.rows):02}"))),
        lambda rows: setattr(till, "shift", rows),
    )


def paid(pay: Callable[[], object]) -> Callable[[], object]:
    """Book payments of three pages and return the way to book another one."""
    for _ in range(25):
        pay()
    return pay


POST = "the list is asked for by a POST, which is sent once"
HEALS = "rows that a page lacks are found by the next reading, which begins earlier"
LAB = {"secret": "billing/key", "reading_mib": 1}
SPLYNX_TABLE = {**LAB, "key": "labkey0123456789", "currency": "USD"}
NO_DEBT = {"empty": End(BillingState.SHRUNK, "overdue accounts: 25 before, 0 now: less than half")}
PAYMENTS_ONLY = {"no-account": "it has no list of accounts", "page-lost-once": "its lists are not read again at once"}
NO_LIST = {"no-account": "its list of accounts is another source of this table"}
LOST = End(FRESH, lacks=True, why=HEALS)
MISSED = End(P, "one that was read before and is still there is missing")
COUNTS = "payments of a partial list were made, whatever it lacks"
UNFIT = End(P, "payments: page [0-9]+ did not fit the pages before it", more=True, why=COUNTS)
NO_FIT = End(P, "list of charges: a page does not begin with the last row of the page before", more=True, why=COUNTS)
NEWEST_FIRST = {"page-lost": UNFIT, "page-doubled": UNFIT, "empty": MISSED}
SOURCES = (
    Source(
        "uisp", UISP, uisp, "/crm/api/v1.0", "/invoices", {**LAB, "page": 10}, "accounts", now_s=NOW_S,
        base="/clients", but={"empty": End(P, "invoices: none is listed, although a client owes")},
    ),
    Source(
        "uisp-payments", UISP, many(uisp), "/crm/api/v1.0", "/payments", LAB, page=100, now_s=NOW_S,
        spared=NO_LIST, but=NEWEST_FIRST,
    ),
    Source(
        "splynx", SPLYNX, splynx, "/api/2.0", "/invoices", {**SPLYNX_TABLE, "page": 10}, "accounts", now_s=NOW_S,
        base="/customers/customer", but=NO_DEBT,
    ),
    Source(
        "splynx-payments", SPLYNX, many(splynx), "/api/2.0", "/payments", SPLYNX_TABLE, page=100, now_s=NOW_S,
        spared=NO_LIST, but=NEWEST_FIRST,
    ),
    Source(
        "stripe", STRIPE, stripe, "/v1", "/charges", {**LAB, "page": 10},
        nothing={"object": "list", "data": [], "has_more": False},
        spared=PAYMENTS_ONLY, but={
            "page-lost": NO_FIT,
            "page-doubled": NO_FIT,
            "empty": End(U, "charge: expected an id in id", why="one that is missed is asked for, in vain here too"),
        },
    ),
    Source(
        "paystack", PAYSTACK, paystack, "", "/transaction", {**LAB, "page": 10},
        nothing={"status": True, "data": [], "meta": {"total": 0, "pageCount": 0}},
        spared=PAYMENTS_ONLY, but={
            "page-lost": End(P, "list of transactions: expected 26 rows, got 16"),
            "page-doubled": End(P, "list of transactions: expected 26 rows, got 20"),
            "empty": LOST,
        },
    ),
    Source(
        "daraja", DARAJA, daraja, "", "/pulltransactions", {**LAB, "short_code": "600638"}, page=2,
        nothing={"ResponseRefID": "1", "ResponseCode": "1001", "ResponseMessage": "none"},
        spared=PAYMENTS_ONLY, but={
            "429-once": End(U, "status 429", why=POST),
            "500-once": End(U, "status 500", why=POST),
            "cut-once": End(U, "middle of the answer", why=POST),
            "slow-once": End(U, "no whole answer within 30 s", why=POST),
            "empty": LOST,
        },
    ),
)  # fmt: skip


# --- the faults -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fault:
    """A bad day, by the arguments of `BillingServer.play`. `listed`: it befalls the source's list only.

    `of_accounts`: it befalls the list of accounts.
    """

    name: str
    played: Mapping[str, Any]
    end: End
    listed: bool = True
    of_accounts: bool = False


WHOLE = End(FRESH)
FAULTS = (
    Fault("401", {"kind": "status", "value": 401}, End(R, "credentials are refused .*: see secret in"), listed=False),
    Fault("403", {"kind": "status", "value": 403}, End(R, "their right is missing .*: see secret in")),
    Fault("429", {"kind": "status", "value": 429, "retry_after": "4000"}, End(U, "status 429")),
    Fault("429-once", {"kind": "status", "value": 429, "retry_after": "7", "times": 1}, WHOLE),
    Fault("500", {"kind": "status", "value": 500}, End(U, "status 500")),
    Fault("500-once", {"kind": "status", "value": 500, "times": 1}, WHOLE),
    Fault("404", {"kind": "status", "value": 404}, End(U, "expected status 200, got 404: see url in")),
    Fault("cut", {"kind": "cut"}, End(U, "middle of the answer")),
    Fault("cut-once", {"kind": "cut", "times": 1}, WHOLE),
    Fault("slow", {"kind": "slow", "value": 3600.0}, End(U, "no whole answer within 30 s")),
    Fault("slow-once", {"kind": "slow", "value": 3600.0, "times": 1}, WHOLE),
    Fault("type", {"kind": "type"}, End(U, r"expected JSON \(content-type application/json\), got another type")),
    Fault("encoding", {"kind": "encoding"}, End(U, "expected strict JSON in UTF-8, got something else")),
    Fault("endless", {"kind": "endless"}, End(U, "expected (a reading of )?at most 1048576 bytes, got more")),
    Fault("empty", {"kind": "empty"}, WHOLE),
    Fault("no-account", {"kind": "empty"}, End(BillingState.EMPTY, "the source has no account"), of_accounts=True),
    Fault("page-lost", {"kind": "page-lost"}, End(P, "page [0-9]+ did not fit the pages before it")),
    Fault("page-lost-once", {"kind": "page-lost", "times": 2}, WHOLE),
    Fault("page-doubled", {"kind": "page-doubled"}, End(P, "page [0-9]+ did not fit the pages before it")),
    Fault("changing", {"kind": "changing"}, WHOLE),
    Fault("clock", {"kind": "clock", "value": 86_400.0 * 400}, WHOLE, listed=False),
)


@dataclass
class BadDay:
    """A source at its lab."""

    source: Source
    books: Playing
    server: BillingServer
    clock: QuickClock
    reading: BadReading

    def play(self, fault: Fault, mock_clock: MockClock) -> None:
        """Have a fault begin."""
        path = self.source.base if fault.of_accounts else self.source.list_path
        played = {"where": path if fault.listed else "", **fault.played}
        match fault.name:
            case "page-lost" | "page-doubled" if self.books.shift is not None:
                self.books.shift(self.source.page if fault.name == "page-lost" else -self.source.page)
                return
            case "page-lost" | "page-lost-once":
                played["value"] = self.source.page - 1
            case "page-doubled":
                played["value"] = 2 * self.source.page - 2
            case "slow" | "slow-once":
                played["act"] = lambda _: mock_clock.jump(31.0)
            case "changing":
                played["act"] = lambda hit: self.books.pay() if hit <= 3 else None
            case "empty":
                played["json"] = self.source.nothing
        self.server.play(**played)

    def end(self) -> None:
        """Have it end, and as much time go by as it may have asked for."""
        self.server.faults = []
        if self.books.shift is not None:
            self.books.shift(0)
        self.clock.now_s += LATER_S


@asynccontextmanager
async def at_its_lab(source: Source, folder: Path, **given: Any) -> AsyncIterator[BadDay]:
    books, clock = source.play(), QuickClock(source.now_s)
    async with serve_billing(books.system, **given) as server:
        table = {**source.table, "url": f"{server.url}{source.path}", "certificate_sha256": server.pin}
        secret = b"key:secret" if source.spec is DARAJA else SECRET
        connector = made(source.spec, table, {"billing/key": secret}, clock=clock)
        planted = (secret.decode(), "C-1", "ch_1", "ref-1", "RKT", "254722", "amina", "30.00")
        with bad_reading(folder, source.target, connector, clock, source.lane, planted) as reading:
            yield BadDay(source, books, server, clock, reading)


def in_books(day: BadDay) -> int:
    """Return how many payments the books hold."""
    match day.books.system:
        case Uisp(payments=found):
            return len(found)
        case Splynx(receipts=found):
            return len(found)
        case PaySystem(answer_of=answer):
            books = getattr(answer, "__self__")  # noqa: B009  a bound method's own
            name = {"stripe": "charges", "paystack": "transactions", "daraja": "rows"}[day.source.name]
            return len(getattr(books, name))
    raise AssertionError(day.source.name)


@pytest.mark.assumed("daraja-pull")
@pytest.mark.parametrize(
    ("source", "fault"),
    [
        pytest.param(source, fault, id=f"{source.name}-{fault.name}")
        for source in SOURCES
        for fault in FAULTS
        if fault.name not in source.spared
    ],
)
async def test_a_bad_day(source: Source, fault: Fault, tmp_path: Path, mock_clock: MockClock) -> None:
    end = source.but.get(fault.name, fault.end)
    async with at_its_lab(source, tmp_path) as day:
        assert (await day.reading.read()).state is FRESH
        before = day.reading.payments
        day.books.pay()
        day.play(fault, mock_clock)
        sent = day.server.sent
        if end.state is not FRESH:
            await day.reading.fails(end.state, end.says, more=end.more)
        else:
            assert (await day.reading.read()).state is FRESH
            assert before.items() <= day.reading.payments.items()
            if source.lane == "payments" and not end.lacks:
                assert len(day.reading.payments) > len(before)
        assert all(played.hits for played in day.server.faults), "it befell nothing"
        assert day.server.sent - sent < 16 << 20
        day.end()
        assert (await day.reading.read()).state is FRESH
        assert before.items() <= day.reading.payments.items()
        if source.lane == "payments":
            assert len(day.reading.payments) == in_books(day)
            assert {p.state for p in day.reading.payments.values()} == {PaymentState.SETTLED}
        else:
            owing = [key for key, account in day.reading.accounts.items() if account.overdue(TODAY) > 0]
            assert len(owing) == 30 - in_books(day)


@pytest.mark.assumed("daraja-pull")
@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
async def test_a_certificate_that_changed(source: Source, tmp_path: Path) -> None:
    async with at_its_lab(source, tmp_path, tls=True) as day:
        assert (await day.reading.read()).state is FRESH
        day.books.pay()
        configured, asked = day.server.pin, len(day.server.requests)
        day.server.renew()
        await day.reading.fails(U, f"the certificate changed: SHA-256 {configured} is .* {day.server.pin}")
        assert len(day.server.requests) == asked, "nothing is sent to it, no secret either"


@pytest.mark.parametrize("name", ["uisp-payments", "splynx-payments"])
async def test_a_404_of_a_proxy_takes_no_payment_away(name: str, tmp_path: Path) -> None:
    """A webhook names a known payment, and whoever stands in front of an API that is updated has nothing there."""
    (source,) = (one for one in SOURCES if one.name == name)
    async with at_its_lab(source, tmp_path) as day:
        assert (await day.reading.read()).state is FRESH
        before = day.reading.payments
        key = sorted(before, key=int)[10]
        day.server.play("status", value=404, where=f"/payments/{key}")
        looked_up = await outcome(day.reading.reader.look_up_payments([key]))
        assert [p.state for p in told(looked_up) or ()] == [PaymentState.SETTLED]
        day.server.play("status", value=404, where="/payments")
        await day.reading.fails(U, "expected status 200, got 404")
        day.end()
        assert (await day.reading.read()).state is FRESH
        assert day.reading.payments == before


@pytest.mark.assumed("daraja-pull")
async def test_payments_of_a_list_that_does_not_fit_count(tmp_path: Path) -> None:
    """How Daraja pages is assumed. Were it otherwise, nobody who pays would ever be back."""
    (source,) = (one for one in SOURCES if one.spec is DARAJA)
    async with at_its_lab(source, tmp_path) as day:
        getattr(day.books.system.answer_of, "__self__").whole = True  # noqa: B009  a bound method's own
        day.books.pay()
        judged = await day.reading.read()
        assert (judged.state, "did not fit the pages before it" in judged.detail) == (P, True)
        assert len(day.reading.payments) == in_books(day)
