"""Deleted payments: missing among the others and not there when asked for; a list that is empty deletes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from decimal import Decimal

from agent.billing_model.account import Payment, PaymentState
from agent.billing_model.days import When
from agent.billing_model.records import Record, records_untrusted
from agent.connectors.new_payments_session import NewPayments

PAID = When(1000.0, 1000.0, date(2026, 10, 15))


def take(row: Record) -> Payment:
    return Payment(row.id("id"), "7", "C-1", Decimal(1), "USD", PAID, PaymentState.SETTLED)


async def not_there(_payment: str) -> None:
    """Know no payment."""


async def read(newest: NewPayments, *ids: int) -> dict[str, PaymentState]:
    rows = records_untrusted([{"id": n} for n in sorted(ids, reverse=True)], "payment")

    async def page(offset: int, limit: int) -> Sequence[Record]:
        return rows[offset : offset + limit]

    return {p.id: p.state for p in await newest.read(page, take, not_there, 0.0)}


async def test_a_deleted_payment_is_taken_back() -> None:
    newest = NewPayments()
    await read(newest, 1, 2, 3)
    assert (await read(newest, 1, 3))["2"] is PaymentState.REVERSED


async def test_an_empty_list_deletes_nothing() -> None:
    newest = NewPayments()
    await read(newest, 1, 2, 3)
    assert await read(newest) == {}
