"""Deleted payments take two proofs, and a list that lost rows is partial; its payments count all the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal

import pytest

from agent.billing_model.account import Payment, PaymentState
from agent.billing_model.days import When
from agent.billing_model.records import Record, records_untrusted
from agent.billing_model.source import SomePaymentsError
from agent.connectors.new_payments_session import NewPayments

NEW, OLD = When(9000.0, 9000.0, date(2026, 10, 15)), When(1000.0, 1000.0, date(2025, 10, 15))
SINCE_S = 5000.0
SETTLED, REVERSED = PaymentState.SETTLED, PaymentState.REVERSED


def payment(key: str, paid: When = NEW) -> Payment:
    return Payment(key, "7", "C-1", Decimal(1), "USD", paid, SETTLED)


@dataclass
class Books:
    """A source. `hidden`: payments that its list lacks; `not_found`: those that its API answers with 404.

    `old`: ids up to this one were paid long ago. `lost`: the offset from which on a page of the list is lost.
    """

    ids: set[int]
    hidden: set[int] = field(default_factory=set)
    not_found: set[int] = field(default_factory=set)
    old: int = 0
    lost: int = 1_000_000
    pages: int = 0
    asked: list[str] = field(default_factory=list)
    newest: NewPayments = field(default_factory=lambda: NewPayments("billing/main: payments"))

    def take(self, row: Record) -> Payment:
        return payment(row.id("id"), OLD if int(row.id("id")) <= self.old else NEW)

    async def page(self, offset: int, limit: int) -> Sequence[Record]:
        self.pages += 1
        listed = sorted(self.ids - self.hidden, reverse=True)
        offset += limit if offset >= self.lost else 0
        return records_untrusted([{"id": n} for n in listed[offset : offset + limit]], "payment")

    async def look_up(self, key: str) -> Payment | None:
        self.asked.append(key)
        return payment(key) if int(key) in self.ids - self.not_found else None

    async def read(self) -> dict[str, PaymentState]:
        found = await self.newest.read(self.page, self.take, self.look_up, SINCE_S)
        return {p.id: p.state for p in found}

    async def one(self, key: str) -> PaymentState | None:
        found = await self.newest.one(self.look_up, key)
        return None if found is None else found.state


async def test_a_deleted_payment_is_taken_back() -> None:
    books = Books({1, 2, 3})
    await books.read()
    books.ids.remove(2)
    assert (await books.read())["2"] is REVERSED
    assert "2" not in await books.read()


async def test_the_oldest_payment_of_all_may_be_deleted() -> None:
    books = Books({1, 2, 3})
    await books.read()
    books.ids.remove(1)
    assert await books.one("1") is SETTLED
    assert (await books.read())["1"] is REVERSED


async def test_an_empty_list_deletes_nothing() -> None:
    books = Books({1, 2, 3})
    await books.read()
    books.ids.clear()
    assert await books.read() == {}
    assert len(books.asked) == 1
    books.ids, books.hidden = {1, 2, 3}, {1, 2, 3}
    with pytest.raises(SomePaymentsError, match="missing in the list"):
        await books.read()
    books.hidden = set()
    assert await books.read() == {"1": SETTLED, "2": SETTLED, "3": SETTLED}


async def test_a_404_alone_deletes_nothing() -> None:
    """A proxy answers so during an update."""
    books = Books({1, 2, 3}, not_found={2})
    await books.read()
    assert await books.one("2") is SETTLED
    assert (await books.read())["2"] is SETTLED
    books.not_found.clear()
    assert await books.one("2") is SETTLED
    assert (await books.read())["2"] is SETTLED


async def test_a_404_of_an_unknown_payment_tells_nothing() -> None:
    assert await Books({1}).one("2") is None


async def test_missing_newest_payment_waits_for_a_newer_one() -> None:
    """A list that lags behind lacks it too, and its system answers with 404."""
    books = Books({1, 2, 3})
    await books.read()
    books.ids.remove(3)
    assert await books.one("3") is SETTLED
    assert await books.read() == {"1": SETTLED, "2": SETTLED}
    books.asked.clear()
    assert await books.read() == {"1": SETTLED, "2": SETTLED}
    assert books.asked == ["3"], "it is asked for by each reading"
    books.ids.add(4)
    assert (await books.read())["3"] is REVERSED


async def test_newest_payment_that_was_missing_comes_again() -> None:
    books = Books({1, 2, 3})
    await books.read()
    books.ids.remove(3)
    assert await books.one("3") is SETTLED
    await books.read()
    books.ids.add(3)
    assert (await books.read())["3"] is SETTLED
    books.ids.add(4)
    assert (await books.read())["3"] is SETTLED


async def test_a_404_has_the_list_read_back_to_that_payment() -> None:
    books = Books(set(range(1, 501)))
    await books.read()
    books.old = 500
    books.pages = 0
    await books.read()
    assert books.pages == 1
    books.ids.remove(120)
    assert await books.one("120") is SETTLED
    assert (await books.read())["120"] is REVERSED
    books.pages = 0
    await books.read()
    assert books.pages == 1


async def test_a_payment_that_the_list_lost_makes_it_partial() -> None:
    """It is there: so the list is not whole, and others may be missing. That is said once of each."""
    books = Books({1, 2, 3, 4})
    await books.read()
    books.hidden, books.ids = {2}, books.ids | {5}
    with pytest.raises(SomePaymentsError, match=r"billing/main: payments: .*missing in the list") as caught:
        await books.read()
    assert sorted(p.id for p in caught.value.payments) == ["1", "2", "3", "4", "5"]
    assert await books.read() == dict.fromkeys("1345", SETTLED)
    books.hidden = set()
    assert await books.read() == dict.fromkeys("12345", SETTLED)


async def test_a_list_that_lost_its_newest_rows_is_partial() -> None:
    books = Books({1, 2, 3})
    await books.read()
    books.hidden = {3}
    with pytest.raises(SomePaymentsError):
        await books.read()


async def test_a_lost_page_of_payments_is_partial() -> None:
    books = Books(set(range(1, 501)), lost=99)
    with pytest.raises(SomePaymentsError, match=r"billing/main: payments: page [0-9]+ did not fit") as caught:
        await books.read()
    assert {f"{n}" for n in range(401, 501)} <= {p.id for p in caught.value.payments}
    books.lost = 1_000_000
    assert len(await books.read()) == 500


async def test_payments_deleted_while_pages_are_read_lose_none() -> None:
    books = Books(set(range(1, 501)))
    read = books.page

    async def page(offset: int, limit: int) -> Sequence[Record]:
        found = await read(offset, limit)
        if books.pages in (1, 3):
            books.ids -= {500 - books.pages, 490 - books.pages}
        return found

    found = await books.newest.read(page, books.take, books.look_up, SINCE_S)
    assert {int(p.id) for p in found} >= books.ids


async def test_payments_that_come_while_pages_are_read_lose_none() -> None:
    """Every row moves by one meanwhile, the last one behind the place where the list ended."""
    books = Books({1, 2, 3})
    read = books.page

    async def page(offset: int, limit: int) -> Sequence[Record]:
        found = await read(offset, limit)
        books.ids.add(max(books.ids) + 1)
        return found

    found = await books.newest.read(page, books.take, books.look_up, SINCE_S)
    assert {"1", "2", "3"} <= {p.id for p in found}
    assert books.pages <= 5


async def test_an_edit_that_was_looked_up_is_what_is_known() -> None:
    books = Books({1, 2, 3})
    await books.read()

    async def edited(key: str) -> Payment | None:
        return Payment(key, "8", "C-2", Decimal(2), "USD", NEW, SETTLED)

    async def gone(key: str) -> Payment | None:
        del key
        return None

    assert await books.newest.one(edited, "2") == await books.newest.one(gone, "2")
