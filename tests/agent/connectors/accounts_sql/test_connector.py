"""Accounts and payments from queries on real PostgreSQL and MariaDB servers."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
from datetime import UTC, date
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import trio

from agent.billing_model.account import OpenInvoice, PaymentState
from agent.billing_model.errors import BillingState, SourceError
from agent.billing_model.hooks import HookCall
from agent.config_reader import ConfigReader
from agent.connectors.accounts_sql import SPEC
from agent.connectors.accounts_sql.connector import AccountsSqlConnector
from agent.connectors.base import UnreadableError
from agent.connectors.radius.schema import Database
from agent.reasons import TargetReason
from tests.builders.clock import FakeClock
from tests.builders.expect import present
from tests.servers import PASSWORD, MariaDB, PostgreSQL, RadiusDatabase

SCHEMA = (
    "CREATE TABLE customer (id int PRIMARY KEY, code varchar(64), balance numeric(12,2), cur char(3), hold date)",
    "CREATE TABLE invoice (customer int, no varchar(20), due date, open numeric(12,2))",
    "CREATE TABLE payment (id int, customer int, amount numeric(12,2), at timestamp NULL, txt varchar(40))",
    "INSERT INTO customer VALUES (1, 'C-1', 40.00, 'KES', NULL), (2, 'C-2', 0, 'KES', '2026-12-24')",
    "INSERT INTO customer VALUES (3, NULL, 5.00, 'KES', NULL), (4, 'C-4%%', -7.10, 'KES', NULL)",
    "INSERT INTO invoice VALUES (1, 'I-7', '2026-11-01', 30.00), (1, 'I-8', '2026-12-01', 10.00)",
    "INSERT INTO payment VALUES (1, 1, 10.00, '2026-11-27 09:04:11', 'rent'), (2, 2, 5.00, '2026-01-01 00:00:01', '')",
)
ACCOUNTS = (
    "SELECT c.id AS account, c.code AS subscriber, c.balance AS balance, c.cur AS currency, c.hold AS promise_until,"
    " i.no AS invoice_number, i.due AS due, i.open AS unpaid FROM customer c"
    " LEFT JOIN invoice i ON i.customer = c.id WHERE c.code IS NULL OR c.code LIKE 'C-%'"
)
SINCE = {
    Database.POSTGRESQL: "at > to_timestamp(:since_s) AT TIME ZONE 'UTC'",
    Database.MARIADB: "at > FROM_UNIXTIME(:since_s)",
}
NAIROBI = ZoneInfo("Africa/Nairobi")


@pytest.fixture(scope="module", params=["postgresql", "mariadb"])
def server(request: pytest.FixtureRequest) -> PostgreSQL | MariaDB:
    found: PostgreSQL | MariaDB = request.getfixturevalue(request.param)
    return found


@pytest.fixture(scope="module")
def database(server: PostgreSQL | MariaDB) -> RadiusDatabase:
    made = server.fresh()
    for statement in SCHEMA:
        made.run(statement)
    return made


@pytest.fixture(scope="module")
def reader(server: PostgreSQL | MariaDB, database: RadiusDatabase) -> str:
    """The name of a user that may read, and nothing else."""
    name = f"reader_{database.dbname}"
    if isinstance(server, PostgreSQL):
        with server._superuser(database.dbname) as db:
            db.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{PASSWORD}'")
            db.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {name}")
    else:
        with contextlib.closing(server._superuser()) as db, contextlib.closing(db.cursor()) as cursor:
            cursor.execute(f"CREATE USER {name}@'%' IDENTIFIED BY '{PASSWORD}'")
            cursor.execute(f"GRANT SELECT ON {database.dbname}.* TO {name}@'%'")
    return name


def connector(database: RadiusDatabase, **keys: Any) -> AccountsSqlConnector:
    """Return the connector with a source `main`, configured as from a file."""
    table = {
        "database": database.kind.value,
        "port": database.port,
        "dbname": database.dbname,
        "user": database.user,
        "secret": "a/db",
        "timezone": "Africa/Nairobi",
        "accounts_query": ACCOUNTS,
        **keys,
    }
    config_reader = ConfigReader(Path("/a.toml"), {"accounts-sql": {"main": table}}, SPEC.keys)
    config = SPEC.parse(config_reader)
    assert config_reader.problems == []
    secrets = {"a/db": database.password.encode(), "a/hook": b"s"}

    def secret(name: str) -> bytes:
        if name not in secrets:
            raise UnreadableError(f"secret {name} is not set", reason=TargetReason.MISSING_SECRET)
        return secrets[name]

    return AccountsSqlConnector(config, secret, UTC, FakeClock())


async def failed(made: AccountsSqlConnector) -> SourceError:
    with trio.fail_after(60), pytest.raises(SourceError) as caught:
        await made.accounts("accounts-sql/main")
    assert str(caught.value).startswith("accounts-sql/main: ")
    for word in ("C-1", "40.00", PASSWORD, "customer"):
        assert word not in str(caught.value)
    return caught.value


async def test_all_accounts(database: RadiusDatabase, reader: str) -> None:
    made = connector(database, user=reader)
    reading = await made.accounts("accounts-sql/main")
    found = {account.key: account for account in reading.accounts}
    assert sorted(found) == ["1", "2", "3", "4"]
    assert reading.skipped == 1
    assert found["1"].balance == Decimal("40.00")
    assert set(found["1"].invoices) == {
        OpenInvoice("I-7", date(2026, 11, 1), Decimal("30.00")),
        OpenInvoice("I-8", date(2026, 12, 1), Decimal("10.00")),
    }
    assert (found["2"].promise_until, found["2"].invoices) == (date(2026, 12, 24), ())
    assert (found["3"].subscriber, found["4"].balance) == ("", Decimal("-7.10"))
    assert {account.as_of_s for account in reading.accounts} == {FakeClock().wall_s()}
    assert made.zone("accounts-sql/main") == NAIROBI
    assert await made.rights("accounts-sql/main") == ()


async def test_some_accounts(database: RadiusDatabase) -> None:
    made = connector(database)
    found = await made.some_accounts("accounts-sql/main", ["1", "4", "99", "1' OR 'a'='a"])
    assert sorted((a.key, len(a.invoices)) for a in found) == [("1", 2), ("4", 0)]
    assert await made.some_accounts("accounts-sql/main", []) == ()
    by_name = connector(database, accounts_query="SELECT code AS subscriber, balance FROM customer")
    assert [a.key for a in await by_name.some_accounts("accounts-sql/main", ["C-4%", "c-1"])] == ["C-4%"]


async def test_payments(database: RadiusDatabase, reader: str) -> None:
    query = "SELECT id, amount, at AS paid_at, customer AS account, txt AS reference FROM payment WHERE "
    made = connector(database, user=reader, payments_query=query + SINCE[database.kind])
    (one,) = await made.payments("accounts-sql/main", 1_780_000_000.0)
    assert (one.id, one.account, one.amount, one.state) == ("1", "1", Decimal("10.00"), PaymentState.SETTLED)
    assert one.references == ("rent",)
    assert one.paid.day == date(2026, 11, 27)
    assert await connector(database).payments("accounts-sql/main", 0.0) == ()


async def test_it_cannot_write_whatever_the_query_holds(database: RadiusDatabase) -> None:
    made = connector(database)
    assert "could write" in (await made.rights("accounts-sql/main"))[0]
    if database.kind is Database.POSTGRESQL:
        query = "WITH x AS (DELETE FROM invoice RETURNING customer) SELECT 'a' AS subscriber, 1 AS balance FROM x"
    else:
        database.run("CREATE OR REPLACE FUNCTION empty_it() RETURNS int BEGIN DELETE FROM invoice; RETURN 1; END")
        query = "SELECT 'a' AS subscriber, empty_it() AS balance"
    error = await failed(connector(database, accounts_query=query))
    assert error.state is BillingState.REFUSED
    assert database.run("SELECT count(*) FROM invoice") == [(2,)]


@pytest.mark.parametrize(
    ("query", "message", "state"),
    [
        ("SELECT code AS subscriber FROM customer", "expected a column balance", BillingState.UNREACHABLE),
        ("SELECT code AS subscriber, balance, id FROM customer", "column 3: expected one of", BillingState.UNREACHABLE),
        (
            "SELECT code AS subscriber, balance, code AS due FROM customer WHERE id = 1",
            "row 1, column due: expected YYYY-MM-DD",
            BillingState.UNREACHABLE,
        ),
        ("SELECT code AS subscriber, balance FROM nowhere", "refuses the login or the query", BillingState.REFUSED),
        ("SELECT nothing AS subscriber, balance FROM customer", "refuses", BillingState.REFUSED),
        ("SELECT SELECT", "refuses", BillingState.REFUSED),
    ],
)
async def test_mistakes_in_a_query(database: RadiusDatabase, query: str, message: str, state: BillingState) -> None:
    error = await failed(connector(database, accounts_query=query))
    assert message in str(error)
    assert error.state is state


async def test_a_binary_fraction_is_refused(database: RadiusDatabase) -> None:
    kind = "double precision" if database.kind is Database.POSTGRESQL else "double"
    query = f"SELECT code AS subscriber, CAST(balance AS {kind}) AS balance FROM customer WHERE id = 1"
    assert "row 1, column balance: expected an exact amount such as 34.00, got float" in str(
        await failed(connector(database, accounts_query=query))
    )


async def test_more_rows_than_allowed_are_not_read(database: RadiusDatabase) -> None:
    tables = ", ".join(f"customer t{n}" for n in range(6))
    names = ", ".join(f"t{n}.id" for n in range(6))
    query = f"SELECT concat({names}) AS subscriber, 1 AS balance FROM {tables}"
    reading = await connector(database, accounts_query=query, rows_most=4096).accounts("accounts-sql/main")
    assert len(reading.accounts) == 4096
    assert "at most 3000 rows" in str(await failed(connector(database, accounts_query=query, rows_most=3000)))


async def test_a_query_that_takes_too_long_is_ended(database: RadiusDatabase) -> None:
    tables = ", ".join(f"customer t{n}" for n in range(18))
    query = f"SELECT 'a' AS subscriber, count(*) AS balance FROM {tables}"
    assert (await failed(connector(database, accounts_query=query, timeout_s=1))).state is BillingState.UNREACHABLE


async def test_a_server_that_hangs_is_given_up(server: PostgreSQL | MariaDB, database: RadiusDatabase) -> None:
    made = connector(database, timeout_s=1)
    await made.accounts("accounts-sql/main")
    server.pause()
    try:
        for _ in range(3):
            assert (await failed(made)).state is BillingState.UNREACHABLE
    finally:
        server.resume()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(made.accounts, "accounts-sql/main")


async def test_who_is_refused(database: RadiusDatabase) -> None:
    assert (await failed(connector(database, user="nobody"))).state is BillingState.REFUSED
    assert (await failed(connector(database, dbname="nowhere"))).state is BillingState.REFUSED
    assert (await failed(connector(database, secret="a/none"))).state is BillingState.REFUSED
    assert (await failed(connector(database, port=1))).state is BillingState.UNREACHABLE


async def test_a_login_in_sql_ascii_is_refused_by_name(postgresql: PostgreSQL) -> None:
    database = postgresql.fresh()
    for statement in SCHEMA:
        database.run(statement)
    database.run(f"ALTER DATABASE {database.dbname} SET client_encoding = 'SQL_ASCII'")
    error = await failed(connector(database))
    assert error.state is BillingState.REFUSED
    assert "expected texts in an encoding such as UTF8, got SQL_ASCII" in str(error)
    database.run(str(error).rpartition("UTF-8, ")[2].replace("ROLE radius", f"DATABASE {database.dbname}"))
    assert len((await connector(database).accounts("accounts-sql/main")).accounts) == 4


async def test_a_driver_error_is_told_by_its_number(server: PostgreSQL | MariaDB, database: RadiusDatabase) -> None:
    number = "SQLSTATE 42P01" if isinstance(server, PostgreSQL) else "MariaDB error 1146"
    assert number in str(await failed(connector(database, accounts_query="SELECT code AS subscriber FROM nowhere")))
    assert "Error" not in str(await failed(connector(database, port=1)))


async def test_what_is_old_by_its_own_word_is_stale(database: RadiusDatabase) -> None:
    query = "SELECT code AS subscriber, balance, CAST('2025-12-31 22:59:00' AS {}) AS as_of FROM customer WHERE id = 1"
    kind = "timestamp" if database.kind is Database.POSTGRESQL else "datetime"
    error = await failed(connector(database, accounts_query=query.format(kind), max_age_s=3600, timezone="UTC"))
    assert error.state is BillingState.STALE
    assert "1.0 hours ago" in str(error)
    assert await connector(database, accounts_query=query.format(kind), max_age_s=7200, timezone="UTC").accounts(
        "accounts-sql/main"
    )


async def test_an_empty_table_is_no_account(database: RadiusDatabase) -> None:
    reading = await connector(
        database, accounts_query="SELECT code AS subscriber, balance FROM customer WHERE id = 0"
    ).accounts("accounts-sql/main")
    assert reading.accounts == []


# --- the configuration ------------------------------------------------------------------------------------------------

PLAIN = {"database": "mariadb", "dbname": "b", "user": "u", "secret": "", "accounts_query": "SELECT 1"}


def parse(**keys: Any) -> list[str]:
    reader = ConfigReader(Path("/a.toml"), {"accounts-sql": {"main": {**PLAIN, **keys}}}, SPEC.keys)
    SPEC.parse(reader)
    return [problem.removeprefix("/a.toml accounts-sql.main.") for problem in reader.problems]


def test_mistakes_in_the_configuration() -> None:
    assert parse() == []
    assert parse(hook=True) == ["hook_secret: missing; expected the name of the secret that calls are signed with"]
    (problem,) = parse(accounts_query="DROP TABLE secret")
    assert problem.startswith("accounts_query: expected one statement that begins with SELECT or WITH")
    assert "DROP" not in problem
    unnamed = {name: value for name, value in PLAIN.items() if name != "secret"}
    reader = ConfigReader(Path("/a.toml"), {"accounts-sql": {"main": unnamed}}, SPEC.keys)
    SPEC.parse(reader)
    (problem,) = reader.problems
    assert problem.startswith("/a.toml accounts-sql.main.secret: missing; expected the name of a secret in the vault")
    assert parse(database="sqlite") == ["database: expected one of postgresql, mariadb, got 'sqlite'"]


def test_without_a_query_for_payments_none_are_polled() -> None:
    reader = ConfigReader(Path("/a.toml"), {"accounts-sql": {"main": PLAIN}}, SPEC.keys)
    (terms,) = SPEC.sources(SPEC.parse(reader))
    assert (terms.every_s, terms.payments_every_s) == (900, 0)


def test_calls_are_verified_in_the_configured_style() -> None:
    database = RadiusDatabase(Database.MARIADB, None, "b")  # type: ignore[arg-type]  nothing is asked of it
    made = connector(database, hook=True, hook_secret="a/hook", hook_header="X-Sig", hook_hash="sha512")
    scheme = present(made.hook("accounts-sql/main"))
    signed = hmac.new(b"s", b"body", hashlib.sha512).hexdigest()
    assert scheme.hear_untrusted(HookCall({"x-sig": signed}, b"body", ""), 0.0).payment_ids == ()
    assert connector(database).hook("accounts-sql/main") is None
    with pytest.raises(UnreadableError):
        connector(database, hook=True, hook_secret="a/none").hook("accounts-sql/main")
