"""The ledger: what stands of accounts, payments and webhooks that come twice, late, or in another order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date
from decimal import Decimal
from pathlib import Path

import pytest

from agent.billing_model.account import Account, OpenInvoice, Payment, PaymentState
from agent.billing_model.days import when_untrusted
from agent.billing_model.errors import BillingState
from agent.billing_model.hooks import Heard
from agent.inventory import ledger
from agent.inventory.ledger import (
    BY_SOURCE,
    HeardDone,
    KeepHeard,
    KeptAccount,
    MatchPayment,
    RecordPayments,
    RecordReading,
    RecordSome,
    SetStatus,
    SourceStatus,
)
from agent.store.db import Store
from agent.store.log_store import Sealed
from tests.builders.expect import present
from tests.builders.store import TRANSITIONS, WALL_S

NOW = "2026-01-01T00:00:00Z"  # WALL_S
FULL = Account(
    "17",
    "C-1",
    "KES",
    Decimal("34.00"),
    (OpenInvoice("F-1", date(2025, 12, 3), Decimal("30.5")), OpenInvoice("F-2", None, Decimal("3.50"))),
    WALL_S,
    credit=Decimal("1.25"),
    promise_until=date(2026, 1, 9),
    hold_until_s=WALL_S + 60.5,
    exempt="staff",
    own_grace_days=3,
    own_minimum=Decimal("5.00"),
)
PAID = Payment(
    "p-1", "17", "C-1", Decimal("34.00"), "KES", when_untrusted(NOW, UTC), PaymentState.SETTLED, ("C1",), "pi_9"
)


class Book:
    """A store whose clock the test moves."""

    def __init__(self, folder: Path) -> None:
        self.now_s = WALL_S
        self.store = Store(folder, TRANSITIONS, lambda: self.now_s)

    async def pay(self, *told: Payment, source: str = "main") -> list[ledger.KeptPayment]:
        return await self.store.run(RecordPayments(source, told))

    async def reading(self, *told: Account, read_s: float = WALL_S) -> None:
        await self.store.run(RecordReading("main", told, fresh(read_s)))

    def keys(self) -> list[str]:
        return list(ledger.accounts(self.store.query, "main"))


def fresh(read_s: float = WALL_S, state: BillingState = BillingState.FRESH) -> SourceStatus:
    return SourceStatus("main", state, "", read_s, read_s, read_s, 1, 1)


def named(key: str, as_of_s: float = WALL_S, balance: str = "34.00") -> Account:
    return replace(FULL, key=key, subscriber=key, as_of_s=as_of_s, balance=Decimal(balance))


@pytest.fixture
def at(tmp_path: Path) -> Iterator[Book]:
    made = Book(tmp_path)
    yield made
    made.store.close()


async def test_an_account_is_kept_as_told(at: Book) -> None:
    await at.reading(FULL, replace(named("18"), own_grace_days=None, own_minimum=None, promise_until=None))
    kept = ledger.account_of(at.store.query, "main", "C-1")
    assert kept == KeptAccount("main", FULL, WALL_S)
    assert ledger.account_of(at.store.query, "other", "C-1") is None
    assert at.keys() == ["17", "18"]
    assert ledger.accounts(at.store.query, "main")["18"].account.own_minimum is None


async def test_of_two_accounts_of_one_subscriber_none_is_taken(at: Book) -> None:
    await at.reading(FULL, replace(FULL, key="18"), replace(FULL, key="19", subscriber=""))
    assert ledger.account_of(at.store.query, "main", "C-1") is None
    assert ledger.account_of(at.store.query, "main", "") is None


async def test_a_full_reading_replaces_all_of_its_source(at: Book) -> None:
    await at.reading(named("1"), named("2"))
    await at.store.run(RecordReading("other", [named("9")], replace(fresh(), source="other")))
    await at.reading(named("2"), named("3"))
    assert at.keys() == ["2", "3"]
    assert list(ledger.accounts(at.store.query, "other")) == ["9"]


async def test_a_reading_does_not_undo_what_was_told_after_it_began(at: Book) -> None:
    await at.reading(named("1"), named("2"))
    await at.store.run(
        RecordSome("main", ["1", "3"], [named("1", WALL_S + 20, "0"), named("3", WALL_S + 20)], WALL_S + 20)
    )
    at.now_s += 30
    await at.reading(named("1", WALL_S + 10), named("2", WALL_S + 10), read_s=WALL_S + 10)
    assert at.keys() == ["1", "2", "3"]
    assert ledger.accounts(at.store.query, "main")["1"].account.balance == 0
    at.now_s += 30
    await at.reading(named("1", WALL_S + 40), read_s=WALL_S + 40)
    assert at.keys() == ["1"]
    assert ledger.accounts(at.store.query, "main")["1"].account.balance == 34


async def test_the_future_keeps_nothing_out(at: Book) -> None:
    await at.reading(named("1", WALL_S + 86_400))
    await at.reading(named("1", balance="12.00"))
    assert ledger.accounts(at.store.query, "main")["1"].account.balance == 12


async def test_an_account_that_was_asked_for_and_is_gone_is_dropped(at: Book) -> None:
    await at.reading(named("1"), named("2"))
    await at.store.run(RecordSome("main", ["1"], [], WALL_S))
    assert at.keys() == ["2"]


async def test_a_payment_is_kept_once_and_news_once(at: Book) -> None:
    [new] = await at.pay(PAID)
    assert (new.payment, new.subscriber, new.matched_by) == (PAID, "C-1", BY_SOURCE)
    at.now_s += 60
    assert await at.pay(PAID) == []
    assert ledger.payments_of(at.store.query, "C-1") == [new]
    assert [k.source for k in await at.pay(PAID, source="other")] == ["other"]
    assert len(ledger.payments_of(at.store.query, "C-1")) == 2


async def test_what_a_source_tells_first_is_no_news(at: Book) -> None:
    old = replace(PAID, paid=when_untrusted("2025-11-30", UTC))
    [first] = await at.pay(old)
    assert first.learned_s == first.settled_s == old.paid.last_s < WALL_S
    at.now_s += 60
    [page_two] = await at.pay(replace(old, id="p-2"))
    assert page_two.learned_s == old.paid.last_s, "the agent did not know the source when it was made"
    at.now_s += 600
    since = replace(old, id="p-3", paid=when_untrusted("2026-01-01T00:01:00Z", UTC))
    [late] = await at.pay(since)
    assert late.learned_s == late.settled_s == WALL_S + 660


async def test_when_a_payment_settles_is_kept_beside_when_heard_of(at: Book) -> None:
    await at.pay(replace(PAID, id="first"))
    [pending] = await at.pay(replace(PAID, state=PaymentState.PENDING))
    assert (pending.learned_s, pending.settled_s) == (WALL_S, 0.0)
    at.now_s += 60
    [settled] = await at.pay(PAID)
    assert (settled.learned_s, settled.settled_s) == (WALL_S, WALL_S + 60)


@pytest.mark.parametrize(
    ("before", "told", "then"),
    [
        (PaymentState.SETTLED, PaymentState.PENDING, PaymentState.SETTLED),
        (PaymentState.SETTLED, PaymentState.REVERSED, PaymentState.REVERSED),
        (PaymentState.REVERSED, PaymentState.SETTLED, PaymentState.REVERSED),
        (PaymentState.REVERSED, PaymentState.PENDING, PaymentState.REVERSED),
        (PaymentState.PENDING, PaymentState.REVERSED, PaymentState.REVERSED),
    ],
)
async def test_a_payment_does_not_go_back(
    at: Book, before: PaymentState, told: PaymentState, then: PaymentState
) -> None:
    await at.pay(replace(PAID, state=before))
    await at.pay(replace(PAID, state=told))
    assert [k.payment.state for k in ledger.payments_of(at.store.query, "C-1")] == [then]


async def test_a_payment_twice_in_one_answer_is_one(at: Book) -> None:
    found = await at.pay(replace(PAID, state=PaymentState.PENDING), PAID)
    assert [k.payment.state for k in found] == [PaymentState.SETTLED]


def cut_at(at: Book, subscriber: str, looked_s: float | None) -> None:
    """Record a service as cut off for a debt, by a look at its account at a moment; None: at leaf 1."""
    con, ref = at.store._con, f"{subscriber}/home"
    con.execute("INSERT INTO service VALUES (?, ?, '', 'home', 'u0', 'fake', '20M', '', 0, '{}')", (ref, subscriber))
    con.execute("INSERT INTO reason (service, reason, seq, looked_s) VALUES (?, 'debt', 1, ?)", (ref, looked_s))
    con.commit()


@pytest.mark.parametrize("looked_s", [WALL_S, None])
async def test_a_clock_set_back_makes_no_payment_older_than_the_cut(at: Book, looked_s: float | None) -> None:
    """Seed 4000062: the suspension was taken to have known of a payment that was heard of after it."""
    await at.store.run(RecordReading("main", (), fresh(), Sealed(bytes(16), b"x", bytes(32))))  # leaf 1
    await at.pay(replace(PAID, id="before"), replace(PAID, id="waits", state=PaymentState.PENDING))
    at.now_s += 10
    cut_at(at, "C-1", None if looked_s is None else looked_s + 10)
    least_s = WALL_S if looked_s is None else WALL_S + 10
    at.now_s -= 400
    await at.pay(PAID, replace(PAID, id="waits"), replace(PAID, id="other", subscriber="C-2"))
    nobodys = replace(PAID, id="nobody's", subscriber="")
    await at.pay(nobodys)
    matched = present(await at.store.run(MatchPayment("main", "nobody's", "C-1", "a rule")))
    found = {k.payment.id: k.settled_s for k in ledger.payments_of(at.store.query, "C-1")}
    assert found == {"before": WALL_S, "waits": least_s, "p-1": least_s, "nobody's": least_s}
    assert matched.settled_s == least_s
    [other] = ledger.payments_of(at.store.query, "C-2")
    assert other.settled_s == other.learned_s == WALL_S - 390, "nobody cut it off"


async def test_a_match_after_the_cut_makes_no_payment_newer(at: Book) -> None:
    await at.store.run(RecordReading("main", (), fresh(), Sealed(bytes(16), b"x", bytes(32))))  # leaf 1
    await at.pay(replace(PAID, subscriber=""))
    at.now_s += 10
    cut_at(at, "C-1", at.now_s)
    at.now_s += 10
    matched = present(await at.store.run(MatchPayment("main", "p-1", "C-1", "maria")))
    assert matched.settled_s == WALL_S


async def test_a_match_stands_until_the_source_says_whose_it_is(at: Book) -> None:
    nobody = replace(PAID, subscriber="")
    await at.pay(nobody)
    assert [k.payment.id for k in ledger.unmatched(at.store.query)] == ["p-1"]
    matched = present(await at.store.run(MatchPayment("main", "p-1", "C-2", "maria")))
    assert (matched.subscriber, matched.matched_by) == ("C-2", "maria")
    await at.pay(replace(nobody, references=("again",)))
    assert [k.matched_by for k in ledger.payments_of(at.store.query, "C-2")] == ["maria"]
    assert ledger.unmatched(at.store.query) == []
    await at.pay(PAID)
    assert [k.matched_by for k in ledger.payments_of(at.store.query, "C-1")] == [BY_SOURCE]
    assert await at.store.run(MatchPayment("main", "p-9", "C-2", "maria")) is None


async def test_one_taken_back_waits_for_nobody(at: Book) -> None:
    await at.pay(replace(PAID, subscriber="", state=PaymentState.REVERSED))
    assert ledger.unmatched(at.store.query) == []


async def test_the_state_of_a_source(at: Book) -> None:
    assert ledger.status(at.store.query, "main").state is BillingState.NEVER
    await at.store.run(SetStatus(fresh()))
    await at.store.run(SetStatus(fresh(WALL_S + 60)))
    same = ledger.status(at.store.query, "main")
    assert (same.state, same.since_s, same.read_s) == (BillingState.FRESH, WALL_S, WALL_S + 60)
    await at.store.run(SetStatus(replace(fresh(WALL_S + 90, BillingState.REFUSED), detail="401")))
    other = ledger.status(at.store.query, "main")
    assert (other.state, other.since_s, other.detail) == (BillingState.REFUSED, WALL_S + 90, "401")


async def test_a_webhook_counts_once_and_is_open_until_done(at: Book) -> None:
    heard = Heard("e-1", "invoice.paid", ("17",), ("p-1",), PAID)
    assert await at.store.run(KeepHeard("main", "e-1", heard))
    assert not await at.store.run(KeepHeard("main", "e-1", heard))
    assert await at.store.run(KeepHeard("other", "e-1", Heard("e-1", "ping", test=True)))
    open_ = ledger.heard_open(at.store.query)
    assert [(o.source, o.heard, o.at_s) for o in open_] == [
        ("main", heard, WALL_S),
        ("other", Heard("e-1", "ping", test=True), WALL_S),
    ]
    await at.store.run(HeardDone("main", ["e-1"]))
    assert [o.source for o in ledger.heard_open(at.store.query)] == ["other"]
    assert not await at.store.run(KeepHeard("main", "e-1", heard))
    assert at.store.query("SELECT 1 FROM heard WHERE payment IS NOT NULL") == []
    at.now_s += ledger.HEARD_KEPT_S + 1
    await at.store.run(HeardDone("other", ["e-1"]))
    assert [r["source"] for r in at.store.query("SELECT source FROM heard")] == ["other"]


async def test_events_are_logged_where_something_is_new(at: Book) -> None:
    sealed = Sealed(bytes(16), b"x", bytes(32))
    size = at.store.size
    await at.store.run(RecordPayments("main", [PAID], sealed))
    assert at.store.size == size + 1
    await at.store.run(RecordPayments("main", [PAID], sealed))
    assert at.store.size == size + 1
