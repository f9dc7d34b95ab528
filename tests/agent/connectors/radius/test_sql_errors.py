"""What a database's refusals are called: on the real servers, and never by the driver's own words."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import sqlite3
from dataclasses import replace

import psycopg
import pymysql
import pytest

from agent.connectors.base import NotSentError, UnreadableError
from agent.connectors.radius.schema import Database, SqlTarget
from agent.connectors.radius.sql import SqlAuthority
from agent.connectors.radius.sql_errors import explained
from tests.agent.connectors.radius.own_user import Server, as_superuser, own_user
from tests.agent.connectors.radius.users import amina, read, with_marker, write
from tests.servers import PostgreSQL, RadiusDatabase, free_port

TARGET = SqlTarget("main", Database.MARIADB, host="db.example", secret="radius/main")


@pytest.mark.parametrize(
    ("err", "says"),
    [
        (socket.gaierror(-2, "Name or service not known"), "there is no host db.example"),
        (ConnectionRefusedError(111, "Connection refused"), "nothing listens on db.example:3306"),
        (TimeoutError(), "no answer from db.example:3306 in 5 s"),
        (OSError(113, "No route to host"), "there is no route to db.example:3306"),
        (pymysql.err.OperationalError(3159, "insecure"), "wants TLS"),
        (pymysql.err.OperationalError(1130, "Host 'x' is not allowed"), "lets in no user radius from this machine"),
        (pymysql.err.OperationalError(1290, "--read-only"), "db.example:3306 is read-only: is it a replica?"),
        (pymysql.err.OperationalError(2013, "Lost connection"), "the connection to db.example:3306 broke"),
        (
            pymysql.err.ProgrammingError(1064, "near 'alice'"),
            "refuses the SELECT with MariaDB error 1064: the",
        ),
        (
            psycopg.errors.IndeterminateDatatype("near 'alice'"),
            "refuses the SELECT with SQLSTATE 42P18: the",
        ),
        (pymysql.err.OperationalError(0, ""), "the connection to db.example:3306 broke"),
        (sqlite3.ProgrammingError("near 'alice'"), "refuses the SELECT with an unknown error"),
    ],
)
def test_a_sentence_for(err: BaseException, says: str) -> None:
    said = explained(err, TARGET)
    assert says in said
    assert "alice" not in said
    assert type(err).__name__ not in said


async def reads(database: RadiusDatabase, password: str = "", **changed: object) -> str:
    """Return what is said when a user cannot be read."""
    fields = {"timeout_s": 20.0, **changed}
    target = replace(database.target(secret="radius/main"), **fields)  # type: ignore[arg-type]  # fields by name
    sql = SqlAuthority(target, lambda: (password or database.password).encode(), 1)
    try:
        await sql.read_users(["amina.h"])
        await sql.read_sessions(["amina.h"])
    except UnreadableError as err:
        return str(err)
    finally:
        await sql.aclose()
    pytest.fail("everything was read")


@pytest.mark.slow
@pytest.mark.servers
async def test_what_stands_between_the_agent_and_the_database(server: Server) -> None:
    database = server.fresh()
    said = await reads(database, "not it")
    assert "wrong password for user radius at 127.0.0.1:" in said
    assert "ispagent secret set radius/main" in said
    assert "not it" not in said
    assert "there is no host no-such-host.invalid" in await reads(database, host="no-such-host.invalid")
    port = free_port()
    assert f"nothing listens on 127.0.0.1:{port} (connection refused)" in await reads(database, port=port)
    said = await reads(own_user(server, database), dbname="no_such")
    assert "no_such" in said
    assert "there is no database" in said or "or there is none" in said
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        said = await reads(database, port=silent.getsockname()[1], timeout_s=2.0)
    assert "no answer" in said


@pytest.mark.slow
@pytest.mark.servers
async def test_what_is_missing_in_the_database_is_named(server: Server) -> None:
    database = server.fresh()
    as_superuser(server, database, "ALTER TABLE radacct DROP COLUMN delegatedipv6prefix")
    assert "the column delegatedipv6prefix is missing" in await reads(database)
    as_superuser(server, database, "ALTER TABLE radusergroup DROP COLUMN id")
    assert "the column id is missing" in await reads(database)
    as_superuser(server, database, "DROP TABLE radusergroup")
    assert "the table radusergroup is missing" in await reads(database)


@pytest.mark.slow
@pytest.mark.servers
async def test_a_privilege_that_is_missing_is_named_with_its_grant(server: Server) -> None:
    database = server.fresh()
    amina(database)
    least = own_user(server, database)
    whose = f"{least.user}@'%'" if database.kind is Database.MARIADB else least.user
    where = f"{least.dbname}.radusergroup" if database.kind is Database.MARIADB else "radusergroup"
    as_superuser(server, database, f"REVOKE INSERT ON {where} FROM {whose}")
    sql = SqlAuthority(least.target(secret="db"), lambda: least.password.encode(), 1)
    try:
        before = await read(sql)
        with pytest.raises(NotSentError) as caught:
            await write(sql, before, with_marker(before))
        assert f"user {least.user} has no privilege INSERT on radusergroup: GRANT INSERT ON {where} TO" in str(
            caught.value
        )
        assert await read(sql) == before
        if database.kind is Database.POSTGRESQL:  # which reads the row that it closes FOR UPDATE
            with pytest.raises(NotSentError) as caught:
                await sql.write_session("nobody", {}, closes=True)
            assert "has no privilege UPDATE on radacct: GRANT UPDATE ON radacct TO" in str(caught.value)
    finally:
        await sql.aclose()
    as_superuser(server, database, f"REVOKE SELECT ON {where} FROM {whose}")
    assert "has no privilege SELECT on radusergroup" in await reads(least)


@pytest.mark.slow
@pytest.mark.servers
async def test_a_sequence_that_may_not_be_used_is_named(postgresql: Server) -> None:
    database = postgresql.fresh()
    amina(database)
    least = own_user(postgresql, database)
    as_superuser(postgresql, database, f"REVOKE USAGE ON SEQUENCE radusergroup_id_seq FROM {least.user}")
    sql = SqlAuthority(least.target(secret="db"), lambda: least.password.encode(), 1)
    try:
        before = await read(sql)
        with pytest.raises(NotSentError, match="GRANT USAGE ON SEQUENCE radusergroup_id_seq TO isp_"):
            await write(sql, before, with_marker(before))
    finally:
        await sql.aclose()


@pytest.mark.slow
@pytest.mark.servers
async def test_tls_that_the_server_does_not_have(postgresql: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    database = postgresql.fresh()
    monkeypatch.setitem(os.environ, "PGSSLMODE", "require")
    assert "TLS is wanted, and 127.0.0.1:" in await reads(database)


@pytest.mark.slow
@pytest.mark.servers
@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
async def test_a_server_that_takes_no_writes_is_called_read_only(request: pytest.FixtureRequest, kind: str) -> None:
    server: Server = request.getfixturevalue(kind)
    with contextlib.ExitStack() as stack:
        if isinstance(server, PostgreSQL):  # a standby cannot be made of the session's own
            server = stack.enter_context(PostgreSQL())
        database = server.fresh()
        amina(database)
        least = own_user(server, database)
        if isinstance(server, PostgreSQL):
            server.stop()
            (server.home / "data/standby.signal").touch()
            shutil.chown(server.home / "data/standby.signal", (server.home / "data").owner())
            server.start_again()
        else:
            as_superuser(server, database, "SET GLOBAL read_only = 1")
            stack.callback(as_superuser, server, database, "SET GLOBAL read_only = 0")
        sql = SqlAuthority(replace(least.target(secret="db"), timeout_s=20.0), lambda: least.password.encode(), 1)
        before = await read(sql)
        with pytest.raises(NotSentError) as caught:
            await write(sql, before, with_marker(before))
        await sql.aclose()
        assert caught.value.reason == "refused"
        assert "is read-only" in str(caught.value)
