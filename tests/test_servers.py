"""The servers that the other tests stand on do what their descriptions say."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest

from agent.connectors.radius.schema import Database, TableSet
from tests.builders.expect import present
from tests.servers import FreeRadius, MariaDB, PostgreSQL, RadiusDatabase, ServerMissingError, program

pytestmark = pytest.mark.servers
Start = Callable[..., FreeRadius]
ALICE = (("User-Name", "alice"), ("User-Password", 'won"der\\'))


def _fill(database: RadiusDatabase) -> None:
    database.add_group("home20", [("Mikrotik-Rate-Limit", ":=", "20M/20M")])
    database.add_user("alice", 'won"der\\\\', {"home20": 1}, [("Framed-Pool", "=", "pool-cgnat")])


def test_login_accounting_and_dynauth(radius_database: RadiusDatabase, freeradius: Start) -> None:
    _fill(radius_database)
    server = freeradius(radius_database, coa=True)
    reply = present(server.radclient("auth", *ALICE))
    assert reply.code == "Access-Accept"
    assert reply.attributes == (("Framed-Pool", "pool-cgnat"), ("Mikrotik-Rate-Limit", "20M/20M"))
    wrong = present(server.radclient("auth", ALICE[0], ("CHAP-Password", "x")))
    assert wrong.code == "Access-Reject"
    session = (("User-Name", "alice"), ("Acct-Session-Id", "81c0"), ("NAS-IP-Address", "127.0.0.1"))
    present(server.radclient("acct", *session, ("Acct-Status-Type", "Start")))
    assert radius_database.run("SELECT acctsessionid FROM radacct WHERE acctstoptime IS NULL") == [("81c0",)]
    nak = present(server.radclient("disconnect", ("User-Name", "nak-503"), ("Acct-Session-Id", "81c0")))
    assert (nak.code, nak.get("Error-Cause")) == ("Disconnect-NAK", ("Session-Context-Not-Found",))
    ack = present(server.radclient("coa", ("User-Name", "alice"), ("Mikrotik-Rate-Limit", "64k/64k")))
    assert ack.code == "CoA-ACK"
    assert [(r["type"], r["user"], r["rate"]) for r in server.dynauth_requests()] == [
        ("Disconnect-Request", "nak-503", ""),
        ("CoA-Request", "alice", "64k/64k"),
    ]


def test_a_wrong_secret_gets_no_reply(radius_database: RadiusDatabase, freeradius: Start) -> None:
    _fill(radius_database)
    assert freeradius(radius_database).radclient("auth", *ALICE, secret="another-secret", timeout_s=0.5) is None


def test_sqlite(sqlite_radius: RadiusDatabase, freeradius: Start) -> None:
    _fill(sqlite_radius)
    reply = present(freeradius(sqlite_radius).radclient("auth", *ALICE))
    assert reply.get("Framed-Pool") == ("pool-cgnat",)


def test_databases_are_fresh_and_have_the_tables_asked_for(postgresql: PostgreSQL, mariadb: MariaDB) -> None:
    for cluster in (postgresql, mariadb):
        _fill(cluster.fresh())
        fresh = cluster.fresh(TableSet.DALORADIUS)
        assert fresh.run("SELECT count(*) FROM radcheck") == [(0,)]
        fresh.run("INSERT INTO userinfo (username) VALUES (%s)", "alice")
        assert fresh.run("SELECT username FROM userinfo") == [("alice",)]
        target = fresh.target("main", marker_group="pay")
        assert (target.database, target.port, target.tables) == (cluster.kind, cluster.port, TableSet.DALORADIUS)
    assert mariadb.kind is Database.MARIADB


def test_the_database_wants_its_password(postgresql: PostgreSQL) -> None:
    database = postgresql.fresh()
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(
            host=database.host, port=database.port, dbname=database.dbname, user=database.user, password="x"
        )


def test_a_program_that_is_not_installed_is_named() -> None:
    with pytest.raises(ServerMissingError, match="no-such-program is not installed \\(package nothing"):
        program("no-such-program", "nothing", "usr/lib/nothing/*/bin/no-such-program")
