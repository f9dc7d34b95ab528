"""The history through a query on PostgreSQL tables, as an operator of a home-grown billing system would write it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, closing
from datetime import UTC, date, datetime
from decimal import Decimal

from agent.connectors.accounts_sql import SPEC
from lab.history import ChangedLives, PastPayment, PayerLife, books_at
from tests.builders.web import made
from tests.history.campaign import Opens
from tests.history.oracle import Told
from tests.history.replay import Operator
from tests.history.through_source import ThroughSource, VirtualClock, ledger_folder
from tests.servers import PASSWORD, PostgreSQL, RadiusDatabase

TABLES = (
    """CREATE TABLE customer (code text PRIMARY KEY, cur char(3), balance numeric(14,3), credit numeric(14,3),
    hold date, spared text)""",
    "CREATE TABLE invoice (no text PRIMARY KEY, customer text, due date, unpaid numeric(14,3), status text)",
    """CREATE TABLE payment (id text PRIMARY KEY, customer text, amount numeric(14,3), cur char(3), paid_at text,
    state text, changed timestamptz)""",
)
ACCOUNTS = """SELECT c.code AS subscriber, c.balance, c.cur AS currency, c.credit, c.hold AS promise_until,
    c.spared AS exempt, i.no AS invoice_number, i.due, i.unpaid
    FROM customer c LEFT JOIN invoice i ON i.customer = c.code AND i.status IN ('unpaid', 'partly')"""
PAYMENTS = """SELECT id, amount, cur AS currency, paid_at, customer AS subscriber, state
    FROM payment WHERE changed > to_timestamp(:since_s)"""


WRITES = {
    "customer": ("DELETE FROM customer WHERE code = ANY(%s)", "INSERT INTO customer VALUES (%s, %s, %s, %s, %s, %s)"),
    "invoice": ("DELETE FROM invoice WHERE no = ANY(%s)", "INSERT INTO invoice VALUES (%s, %s, %s, %s, %s)"),
    "payment": ("DELETE FROM payment WHERE id = ANY(%s)", "INSERT INTO payment VALUES (%s, %s, %s, %s, %s, %s, %s)"),
}
Row = tuple[str, tuple[object, ...]]
"""A table, and a row of it; the key is its first column."""


class TablesOfLives:
    """Tables whose rows are the books of the lives at a moment. A deleted payment stays, as one that was taken back."""

    def __init__(self, database: RadiusDatabase, lives: Sequence[PayerLife]) -> None:
        """Make the tables."""
        self._lives = ChangedLives(lives)
        self._rows: dict[str, set[Row]] = {}
        """By subscriber, as the tables have them."""
        self._connection = database.connect()
        for statement in TABLES:
            self._connection.execute(statement)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def go_to(self, at_s: float) -> None:
        """Have the books of a moment: write the rows that differ, in one transaction."""
        gone, new = set[Row](), set[Row]()
        for life in self._lives.go_to(at_s):
            was, now = self._rows.get(life.subscriber, set()), set(_rows(life, at_s))
            gone |= was - now
            new |= now - was
            self._rows[life.subscriber] = now
        with self._connection.transaction(), self._connection.cursor() as cursor:
            for table, (delete, insert) in WRITES.items():
                cursor.execute(delete, ([row[0] for name, row in gone if name == table],))
                cursor.executemany(insert, [row for name, row in new if name == table])


def _rows(life: PayerLife, at_s: float) -> Iterator[Row]:
    books, name = books_at(life, at_s), life.subscriber
    held = [datetime.fromtimestamp(books.hold_until_s, life.zone).date()] if books.hold_until_s else []
    hold: date | None = max([*held, *filter(None, [books.promise_until])], default=None)
    yield "customer", (name, life.currency, books.balance, books.credit, hold, books.exempt)
    for i in books.invoices:
        yield "invoice", (i.number, name, i.due, i.unpaid, i.status.value)
    for p in life.payments:
        if p.entered_s <= at_s:
            yield "payment", _row(p, life, at_s)


def _row(past: PastPayment, life: PayerLife, at_s: float) -> tuple[str, str, Decimal, str, str, str, datetime]:
    paid = datetime.fromtimestamp(past.paid_s, life.zone)
    text = paid.date().isoformat() if past.day_only else paid.isoformat()
    state = "reversed" if past.taken_back_s <= at_s else "settled" if past.settled_s <= at_s else "pending"
    changed_s = max(s for s in (past.entered_s, past.settled_s, past.taken_back_s) if s <= at_s)
    changed = datetime.fromtimestamp(changed_s, UTC)
    return past.id, life.subscriber, past.amount, past.currency, text, state, changed


def through_sql(server: PostgreSQL) -> Opens:
    """Return what opens sources that are queries on a server, each in a database of its own."""

    @asynccontextmanager
    async def opened(operator: Operator, lives: Sequence[PayerLife]) -> AsyncIterator[ThroughSource]:
        database = server.fresh()
        table = {
            "database": "postgresql",
            "port": database.port,
            "dbname": database.dbname,
            "user": database.user,
            "secret": "a/db",
            "timezone": operator.billing_zone.key,
            "accounts_query": ACCOUNTS,
            "payments_query": PAYMENTS,
        }
        clock = VirtualClock()
        told = Told(own_grace=False, holds_by_day=True)
        async with ledger_folder() as folder:
            with closing(TablesOfLives(database, lives)) as tables:
                connector = made(SPEC, table, {"a/db": PASSWORD.encode()}, clock=clock)
                yield ThroughSource(operator, folder, clock, connector, "accounts-sql/main", tables.go_to, told)

    return opened
