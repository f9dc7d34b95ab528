"""The agent's decisions on two years of history agree with the oracle's."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC

import pytest
import trio

from lab.history import PayerLife, Span, books_at
from lab.payers import payers
from tests.history.campaign import FIRST, MONTHS, campaign
from tests.history.oracle import Back, Cut, Told
from tests.history.replay import OPERATORS, Operator, Replay
from tests.history.through_csv import ThroughCsv, through_csv
from tests.history.through_splynx import through_splynx
from tests.history.through_sql import through_sql
from tests.history.through_uisp import UispOfLives, through_uisp
from tests.servers import PostgreSQL


class Noted:
    """A source of nobody. `books`: the moments whose accounts were read."""

    told, source = Told(), "main"

    def __init__(self) -> None:
        self.books: list[float] = []

    async def read(self, books_s: float, polled_s: float, now_s: float) -> None:
        await trio.lowlevel.checkpoint()
        assert max(books_s, polled_s) <= now_s
        self.books.append(books_s)


async def test_no_accounts_are_read_of_before_the_last_ones() -> None:
    noted = Noted()
    replay = Replay(OPERATORS["-5"], [], noted)  # type: ignore[arg-type]  # nobody is judged
    for n in range(200):
        await replay.at(1_756_661_876.0 + n * 62)
    assert noted.books == sorted(noted.books)
    assert len(set(noted.books)) > 100


async def test_csv_agrees_with_the_oracle() -> None:
    seen = await campaign(through_csv, 60, every=180, hot=60)
    assert not seen.differ, "\n".join(seen.differ[:20])
    assert {f"back: {each.value}" for each in Back} <= set(seen.seen)
    assert {f"cut: {each.value}" for each in Cut} <= set(seen.seen)


@pytest.mark.slow
async def test_csv_agrees_with_the_oracle_on_many() -> None:
    seen = await campaign(through_csv, 120, every=120, seed=2)
    assert not seen.differ, "\n".join(seen.differ[:20])


async def test_uisp_agrees_with_the_oracle() -> None:
    few = {name: OPERATORS[name] for name in ("-8", "-5, billed in +2")}
    seen = await campaign(through_uisp, 24, every=1000, hot=14, operators=few)
    assert not seen.differ, "\n".join(seen.differ[:20])
    assert {"cut: may", "back: by itself"} <= set(seen.seen)


@pytest.mark.slow
async def test_uisp_agrees_with_the_oracle_in_all_zones() -> None:
    seen = await campaign(through_uisp, 60, every=1000, hot=20, seed=2)
    assert not seen.differ, "\n".join(seen.differ[:20])


def test_the_crm_has_the_sums_of_the_books() -> None:
    zone = OPERATORS["-5"].billing_zone
    lives = payers(1, 18, zone, FIRST, MONTHS, prefix="B1200")
    assert any(len({c.number for c in p.covers}) < len(p.covers) for life in lives for p in life.payments)
    system = UispOfLives(zone.key, lives)
    for at_s in range(1_735_800_000, 1_799_000_000, 2_000_000):
        system.go_to(at_s)
        for life, client in zip(lives, system.crm.clients.values(), strict=True):
            books = books_at(life, at_s)
            assert system.crm.balance(client.id) == (books.balance + books.credit, books.credit), (life, at_s)


async def test_the_crm_tells_a_postponement_in_time() -> None:
    at_s, operator = 1_749_716_968.0, OPERATORS["+13"]
    (life,) = payers(1, 1, operator.billing_zone, FIRST, MONTHS)
    postponed = replace(life, postponements=(Span(at_s, at_s + 86_400),))
    async with through_uisp(operator, [postponed]) as through:
        await through.read(at_s, at_s - 2, at_s + 1)
        kept = through.billing(postponed, at_s + 1).kept
    assert kept is not None
    assert kept.account.hold_until_s == at_s + 86_400


async def test_splynx_agrees_with_the_oracle() -> None:
    few = {name: OPERATORS[name] for name in ("-5", "+13")}
    seen = await campaign(through_splynx, 24, every=1000, hot=14, operators=few)
    assert not seen.differ, "\n".join(seen.differ[:20])
    assert {"cut: may", "back: by itself"} <= set(seen.seen)


@pytest.mark.slow
async def test_splynx_agrees_with_the_oracle_in_all_zones() -> None:
    seen = await campaign(through_splynx, 40, every=1000, hot=10, seed=2)
    assert not seen.differ, "\n".join(seen.differ[:20])


async def test_a_query_agrees_with_the_oracle(postgresql: PostgreSQL) -> None:
    few = {name: OPERATORS[name] for name in ("-8", "+13")}
    seen = await campaign(through_sql(postgresql), 24, every=1000, hot=10, operators=few)
    assert not seen.differ, "\n".join(seen.differ[:20])
    assert {"cut: may", "back: by itself"} <= set(seen.seen)


@pytest.mark.slow
async def test_a_query_agrees_with_the_oracle_in_all_zones(postgresql: PostgreSQL) -> None:
    seen = await campaign(through_sql(postgresql), 40, every=1000, hot=10, seed=2)
    assert not seen.differ, "\n".join(seen.differ[:20])


async def test_the_oracle_notices_days_of_another_zone() -> None:
    @asynccontextmanager
    async def in_utc(operator: Operator, lives: Sequence[PayerLife]) -> AsyncIterator[ThroughCsv]:
        await trio.lowlevel.checkpoint()
        through = ThroughCsv(operator, lives)
        through.terms = replace(through.terms, zone=UTC)
        yield through

    only = {name: OPERATORS[name] for name in ("-8", "+13")}
    seen = await campaign(in_utc, 20, every=365, hot=120, operators=only)
    assert any("oracle: cut nothing overdue; agent: cuts it off" in line for line in seen.differ)
