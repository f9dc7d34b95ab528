"""`python -m tests.history.tryton_books --subscribers 20`: the history through a query on a real accounting system.

A new Tryton (Debian's `tryton-server`, `tryton-modules-account-invoice`, `tryton-proteus`) on a PostgreSQL of its own
posts the documents of the history, up to a day and then up to a later one; a connector reads its tables by the query
of docs/connectors/accounts-sql.md, and the agent's decisions are compared with the oracle's. Its database takes half a
minute of computing to be made, and each order a quarter of a second.
"""

from __future__ import annotations

import argparse
import functools
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import trio

from agent.connectors.accounts_sql import SPEC
from lab.history import NEVER, PayerLife
from lab.payers import payers
from tests.builders.web import made
from tests.history.oracle import Told
from tests.history.replay import OPERATORS, Operator, Replay, Replayed
from tests.history.through_source import ThroughSource, VirtualClock
from tests.servers import PASSWORD, PostgreSQL, program

FIRST = date(2025, 1, 1)
DAYS = (75, 95)
"""The days of the history at which the books are read."""
READER = "ispagent_reader"
_PAGE = Path(__file__).parents[2] / "docs/connectors/accounts-sql.md"
_CLERK = Path(__file__).with_name("tryton_clerk.py")
_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}
Order = dict[str, str]


def documented(name: str) -> str:
    """Return a query for Tryton as the documentation has it. `name`: `accounts_query` or `payments_query`."""
    text = _PAGE.read_text()
    found = re.search(rf'{name} = """\n(.*?)"""', text[text.index("## Example: Tryton") :], re.DOTALL)
    if found is None:
        raise ValueError(f"{_PAGE.name}: expected {name} under Example: Tryton")
    return found[1]


def make_books(server: PostgreSQL, folder: Path) -> Path:
    """Make Tryton's database `books`, and who may read it; return the configuration of Tryton.

    Raises:
        ServerMissingError: Tryton is not installed.
    """
    admin_program = program("trytond-admin", "tryton-server")
    with server._superuser("postgres") as db:
        db.execute("CREATE DATABASE books OWNER radius")
    config, password = folder / "trytond.conf", folder / "password"
    config.write_text(f"[database]\nuri = postgresql://radius:{PASSWORD}@127.0.0.1:{server.port}/\n")
    password.write_text("of-nobody-9x\n")
    admin = [admin_program, "-c", str(config), "-d", "books", "--email", "a@example.org"]
    command = [*admin, "-u", "account_invoice", "--activate-dependencies"]
    subprocess.run(command, env={**_ENVIRONMENT, "TRYTONPASSFILE": str(password)}, check=True, capture_output=True)
    with server._superuser("books") as db:
        db.execute(f"CREATE ROLE {READER} LOGIN PASSWORD '{PASSWORD}'")
        db.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {READER}")
    return config


def post(config: Path, orders: Sequence[Order]) -> None:
    """Have the clerk do orders, in the order of their days."""
    text = json.dumps(sorted(orders, key=lambda order: order["day"]))
    command = ["/usr/bin/python3", "-W", "ignore", "-I", str(_CLERK), str(config), "books"]
    done = subprocess.run(command, input=text, text=True, env=_ENVIRONMENT, capture_output=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the clerk failed:\n{done.stderr[-2000:]}")


def orders_of(life: PayerLife, after_s: float, until_s: float) -> list[Order]:
    """Return what a clerk books of a life in a time. `until_s`: the moment at which the books are to be right."""

    def day(at_s: float) -> str:
        return datetime.fromtimestamp(at_s, life.zone).date().isoformat()

    party, found = life.subscriber, list[Order]()
    asked = {i.number for i in life.invoices if i.opened_s <= until_s and not i.proforma}
    for i in life.invoices:
        if i.number not in asked:
            continue
        if i.opened_s > after_s:
            made = {"do": "invoice", "number": i.number, "party": party, "day": day(i.opened_s)}
            found.append({**made, "due": i.due.isoformat(), "amount": str(i.amount)})
        if after_s < i.void_s <= until_s:
            found.append({"do": "void", "number": i.number, "day": day(i.void_s)})
    for p in life.payments:
        if not after_s < p.counts_from_s <= until_s:
            if p.taken_back_s <= until_s and p.counts_from_s <= after_s < p.taken_back_s:
                found.append({"do": "take back", "id": p.id, "day": day(p.taken_back_s)})
            continue
        covers = [] if p.taken_back_s < NEVER else [c for c in p.covers if c.at_s <= until_s]
        found += [{"do": "pay", "number": c.number, "day": day(c.at_s), "amount": str(c.amount)} for c in covers]
        free = p.worth - sum((c.amount for c in covers), Decimal(0))
        if free > 0:
            made = {"do": "deposit", "id": p.id, "party": party, "day": day(p.counts_from_s)}
            found.append({**made, "amount": str(free)})
        if p.taken_back_s <= until_s:
            found.append({"do": "take back", "id": p.id, "day": day(p.taken_back_s)})
    for n in life.credit_notes:
        if after_s < n.at_s <= until_s:
            made = {"do": "forgive", "id": n.number, "party": party, "day": day(n.at_s)}
            found.append({**made, "amount": str(n.amount)})
    return found


def fit_for_tryton(life: PayerLife) -> bool:
    """Return whether the clerk can book a life: nothing is written off, and nothing void was paid in part."""
    last_s = datetime.combine(FIRST + timedelta(days=DAYS[-1] + 1), datetime.min.time(), life.zone).timestamp()
    ended = {i.number for i in life.invoices if min(i.void_s, i.uncollectible_s) <= last_s}
    paid = {c.number for p in life.payments for c in p.covers}
    given_up = any(i.uncollectible_s <= last_s for i in life.invoices)
    return not given_up and not ended & paid


async def replay(
    server: PostgreSQL,
    folder: Path,
    operator: Operator,
    count: int,
    seed: int = 1,
    say: Callable[[str], None] = lambda _: None,
) -> Replayed:
    """Return what was seen of an operator's subscribers on both days, by the books of a new Tryton.

    Args:
        server: where its database is made.
        folder: for its configuration, and the agent's ledger.
        operator: its zones and rules.
        count: how many subscribers.
        seed: of everything.
        say: is told how far it is.

    Raises:
        ServerMissingError: Tryton is not installed.
    """
    config = await trio.to_thread.run_sync(make_books, server, folder)
    (folder / "ledger").mkdir()
    found = payers(seed, count * 2, operator.billing_zone, FIRST, 4, prefix="T")
    lives = [replace(life, exemptions=(), own_grace_days=None) for life in found if fit_for_tryton(life)][:count]
    clock = VirtualClock()
    table = {
        "database": "postgresql",
        "port": server.port,
        "dbname": "books",
        "user": READER,
        "secret": "a/db",
        "timezone": operator.billing_zone.key,
        "accounts_query": documented("accounts_query"),
        "payments_query": documented("payments_query"),
    }
    connector = made(SPEC, table, {"a/db": PASSWORD.encode()}, clock=clock)
    told = Told(pending=False, times=False, own_grace=False, holds_by_day=True)
    through = ThroughSource(
        operator, folder / "ledger", clock, connector, "accounts-sql/main", lambda _at_s: None, told
    )
    one = Replay(operator, lives, through, seed)
    after_s = 0.0
    for n in DAYS:
        day = FIRST + timedelta(days=n)
        now_s = datetime(day.year, day.month, day.day, 12, 0, 0, tzinfo=operator.zone).timestamp()
        orders = [order for life in lives for order in orders_of(life, after_s, now_s - 30)]
        await trio.to_thread.run_sync(post, config, orders)
        await one.at(now_s)
        say(f"day {n}: {len(orders)} orders, {dict(one.replayed.seen)}")
        after_s = now_s - 30
    return one.replayed


def main(argv: list[str]) -> int:
    """Return 0 where the agent and the oracle agree on everything."""
    parser = argparse.ArgumentParser(prog="python -m tests.history.tryton_books")
    parser.add_argument("--subscribers", type=int, default=20)
    parser.add_argument("--operator", choices=tuple(OPERATORS), default="-5, billed in +2")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args(argv)
    operator = OPERATORS[args.operator]
    say = functools.partial(print, file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(prefix="isp-tryton-") as name, PostgreSQL() as server:
        seen = trio.run(replay, server, Path(name), operator, args.subscribers, args.seed, say)
    print(json.dumps({"decisions": seen.decisions, "seen": dict(seen.seen), "differ": seen.differ}, indent=1))
    return 1 if seen.differ else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
