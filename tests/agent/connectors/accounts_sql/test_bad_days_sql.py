"""Accounts and payments by queries, on each bad day of a real server: the table of sources behind a web API, for SQL.

A source is read well once; then somebody pays and the fault is played; then it ends. A fault that is noticed leaves the
ledger as it was. Not here: pages, since a query has none; rows that change meanwhile, since a query reads one snapshot;
and clocks, since the agent takes no time from the server. A server that hangs is in `test_connector`.
"""

from __future__ import annotations

import contextlib
import itertools
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from agent.billing_model.errors import BillingState
from agent.connectors.accounts_sql import SPEC
from agent.connectors.radius.schema import Database
from tests.agent.connectors.bad_days import LATER_S, bad_reading
from tests.agent.runtime.web_server import certificate
from tests.builders.web import QuickClock, made
from tests.servers import PASSWORD, MariaDB, PostgreSQL, RadiusDatabase

TARGET = f"{SPEC.name}/main"
SCHEMA = (
    "CREATE TABLE customer (id int PRIMARY KEY, code varchar(64), balance varchar(20), name varchar(64))",
    "CREATE TABLE payment (id int PRIMARY KEY, customer int, amount numeric(12,2))",
    *(f"INSERT INTO customer VALUES ({n}, 'C-{n}', '40.00', 'Amina')" for n in range(1, 21)),
)
DEBTS = "SELECT id AS account, code AS subscriber, balance FROM customer_now"
PAID = (
    "SELECT p.id AS id, p.amount AS amount, p.customer AS account, '2026-11-27 09:04:11' AS paid_at FROM payment p"
    " JOIN customer_now c ON c.id = p.customer WHERE 0 < :since_s AND c.balance <> 'x'"
)
PLANTED = (PASSWORD, "C-1", "40.00", "Amina", "customer", "SELECT")
U, R, FRESH = BillingState.UNREACHABLE, BillingState.REFUSED, BillingState.FRESH


@dataclass(frozen=True)
class SqlSite:
    """A database with a login of its own for the agent. The agent reads views, which a fault replaces."""

    server: PostgreSQL | MariaDB
    database: RadiusDatabase
    login: str

    @property
    def is_postgresql(self) -> bool:
        return self.database.kind is Database.POSTGRESQL

    def as_root(self, *statements: str) -> None:
        made: Any = (
            self.server._superuser(self.database.dbname)
            if isinstance(self.server, PostgreSQL)
            else self.server._superuser()
        )
        with contextlib.closing(made) as db, contextlib.closing(db.cursor()) as cursor:
            for statement in statements:
                cursor.execute(statement)

    def password(self, given: str) -> None:
        """Change the password of the agent's login."""
        if self.is_postgresql:
            self.as_root(f"ALTER ROLE {self.login} PASSWORD '{given}'")
        else:
            self.as_root(f"ALTER USER {self.login}@'%' IDENTIFIED BY '{given}'")

    def mend(self, *, keep: bool = False) -> None:
        """Have all be well; `keep`: the books stay as they are."""
        self.password(PASSWORD)
        self.view()
        if not keep:
            self.database.run("DELETE FROM payment")
            self.database.run("INSERT INTO payment VALUES (1, 1, 40), (2, 2, 40), (3, 3, 5)")
            self.database.run("UPDATE customer SET balance = '40.00'")

    def view(self, balance: str = "balance", code: str = "code", rest: str = "") -> None:
        """Replace the view that the query reads."""
        self.database.run("DROP VIEW IF EXISTS customer_now")
        columns = f"id, {code} AS code, {balance} AS balance"
        self.database.run(f"CREATE VIEW customer_now AS SELECT {columns} FROM customer {rest}")
        if self.is_postgresql:
            self.as_root(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {self.login}")


@dataclass(frozen=True)
class SqlFault:
    """A bad day: it begins, and the reading ends so."""

    name: str
    begin: Callable[[SqlSite], object]
    state: BillingState
    says: str


def slow(site: SqlSite) -> None:
    if site.is_postgresql:
        site.view("balance || pg_sleep(9)::text")
    else:
        site.view("concat(balance, left(sleep(9), 0))")


def cut(site: SqlSite) -> None:
    """Have the server end the connection in the middle of the query."""
    if site.is_postgresql:
        site.view("balance || pg_terminate_backend(pg_backend_pid())::text")
        return
    body = "BEGIN KILL CONNECTION CONNECTION_ID(); RETURN ''; END"
    site.database.run(f"CREATE OR REPLACE FUNCTION cut() RETURNS varchar(9) {body}")
    site.view("concat(balance, cut())")


def binary(site: SqlSite) -> None:
    site.view(code="convert_to(code, 'LATIN1')" if site.is_postgresql else "CAST(code AS BINARY)")


def fraction(site: SqlSite) -> None:
    site.view(f"CAST(balance AS double {'precision' if site.is_postgresql else ''})")


FAULTS = (
    SqlFault("login", lambda site: site.password("another"), R, "it refuses the login or the query: expected a user"),
    SqlFault("table", lambda site: site.database.run("DROP VIEW customer_now"), R, "it refuses the login or the query"),
    SqlFault("cut", cut, U, "expected a whole answer, and the connection or the query failed"),
    SqlFault("slow", slow, U, "no whole answer within 1 s|the connection or the query failed"),
    SqlFault("type", fraction, U, "row 1, column balance: expected an exact amount such as 34.00, got float"),
    SqlFault("encoding", binary, U, "row 1, column subscriber: expected a text, got bytes"),
    SqlFault("no-amount", lambda site: site.view("'much'"), U, "row 1, column balance: .* got another text"),
    SqlFault(
        "endless",
        lambda site: site.view(rest="UNION ALL SELECT a.id * 100, 'x', '1' FROM customer a, customer b, customer c"),
        U,
        r"expected at most 100 rows \(rows_most\), got more",
    ),
    SqlFault(
        "doubled",
        lambda site: site.view(rest="UNION ALL SELECT id, code, '7' FROM customer"),
        U,
        "row [0-9]+: expected the rows of one account to differ",
    ),
    SqlFault("empty", lambda site: site.view(rest="WHERE id < 0"), BillingState.EMPTY, "the source has no account"),
    SqlFault("shrunk", lambda site: site.view(rest="WHERE id < 5"), BillingState.SHRUNK, "accounts: 20 before, 4 now"),
)
OF_PAYMENTS = ("login", "table", "cut", "slow")
"""Faults of the server; the others are of the accounts that it tells."""
_logins = itertools.count(1)


@pytest.fixture(scope="module", params=["postgresql", "mariadb"])
def site(request: pytest.FixtureRequest) -> SqlSite:
    server: PostgreSQL | MariaDB = request.getfixturevalue(request.param)
    found = SqlSite(server, server.fresh(), f"billing_{next(_logins)}")
    server.add_login(found.login)
    for statement in SCHEMA:
        found.database.run(statement)
    return found


def table_of(site: SqlSite, **keys: Any) -> dict[str, Any]:
    return {
        "database": site.database.kind.value,
        "port": site.database.port,
        "dbname": site.database.dbname,
        "user": site.login,
        "secret": "billing/db",
        "timezone": "Africa/Nairobi",
        "rows_most": 100,
        "accounts_query": DEBTS,
        "payments_query": PAID,
        **keys,
    }


@pytest.mark.parametrize(
    ("fault", "lane"),
    [
        pytest.param(fault, lane, id=f"{fault.name}-{lane}")
        for fault in FAULTS
        for lane in ("accounts", "payments")
        if lane == "accounts" or fault.name in OF_PAYMENTS
    ],
)
async def test_a_bad_day_of_a_server(site: SqlSite, fault: SqlFault, lane: str, tmp_path: Path) -> None:
    clock = QuickClock()
    site.mend()
    connector = made(SPEC, table_of(site, timeout_s=1), {"billing/db": PASSWORD.encode()}, clock=clock)
    with bad_reading(tmp_path, TARGET, connector, clock, lane, PLANTED) as reading:
        assert (await reading.read()).state is FRESH
        held = reading.payments, reading.accounts
        assert [len(one) for one in held] == ([0, 20] if lane == "accounts" else [3, 0])
        site.database.run("INSERT INTO payment VALUES (4, 4, 40)")
        site.database.run("UPDATE customer SET balance = '0' WHERE id = 4")
        fault.begin(site)
        await reading.fails(fault.state, fault.says)
        site.mend(keep=True)
        clock.now_s += LATER_S
        assert (await reading.read()).state is FRESH
        if lane == "payments":
            assert held[0].items() <= reading.payments.items()
            assert sorted(reading.payments) == ["1", "2", "3", "4"]
        else:
            assert {key for key, one in reading.accounts.items() if one.balance == 0} == {"4"}


@contextlib.contextmanager
def certified(site: SqlSite, file: Path) -> Iterator[None]:
    """Have PostgreSQL show a certificate. MariaDB has one of its own making."""
    if not isinstance(site.server, PostgreSQL):
        yield
        return
    own = site.server.home / "server.pem"
    own.write_bytes(file.read_bytes())
    shutil.chown(own, site.server.home.owner())
    own.chmod(0o600)
    names = {"ssl_cert_file": f"'{own}'", "ssl_key_file": f"'{own}'", "ssl": "on"}
    site.as_root(*(f"ALTER SYSTEM SET {name} = {value}" for name, value in names.items()), "SELECT pg_reload_conf()")
    try:
        while site.database.run("SHOW ssl") != [("on",)]:
            time.sleep(0.02)
        yield
    finally:
        site.as_root(*(f"ALTER SYSTEM RESET {name}" for name in names), "SELECT pg_reload_conf()")


async def test_another_certificate_than_the_configured(site: SqlSite, tmp_path: Path) -> None:
    site.mend()
    own, other, clock = certificate(tmp_path, "own"), certificate(tmp_path, "other"), QuickClock()
    with certified(site, tmp_path / "own-both.pem"):
        for ca_file in (own.file, other.file) if site.is_postgresql else (other.file,):
            connector = made(SPEC, table_of(site, ca_file=str(ca_file)), {"billing/db": PASSWORD.encode()}, clock=clock)
            (tmp_path / ca_file.stem).mkdir()
            with bad_reading(tmp_path / ca_file.stem, TARGET, connector, clock, "accounts", PLANTED) as reading:
                if ca_file == own.file:
                    assert (await reading.read()).state is FRESH
                else:
                    await reading.fails(U, r"its certificate is not trusted: see ca_file in \[accounts-sql.main\]")
