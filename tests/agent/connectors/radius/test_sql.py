"""FreeRADIUS' database, on each kind: bulk reads as it compares, conditional writes, races, and lost answers."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from agent.connectors.base import LostError, NotSentError, UnreadableError
from agent.connectors.radius import rowset
from agent.connectors.radius.addresses import Accounted, session_fields, session_value
from agent.connectors.radius.connector import RadiusConnector
from agent.connectors.radius.rowset import Table, UserRow
from agent.connectors.radius.schema import Database, RadiusConfig
from agent.connectors.radius.sql import KEYS_PER_READ, Drift, SqlAuthority
from agent.connectors.radius.sql_connection import Connection
from agent.model import ABSENT, SecretRef, Value
from agent.runtime.clock import SystemClock
from tests.agent.connectors.radius.fakes import TcpCutter
from tests.agent.connectors.radius.users import amina, authority, read, value_of, with_marker, write
from tests.builders.connector import commit
from tests.builders.expect import expect
from tests.servers import Cluster, MariaDB, PostgreSQL, RadiusDatabase, free_port
from tests.sim.sql.database import pools_of, simulated_database

pytestmark = pytest.mark.servers


REAL = ["postgresql", "mariadb", "sqlite"]
SIMULATED = {"simulated postgresql": Database.POSTGRESQL, "simulated mariadb": Database.MARIADB}


@pytest.fixture(params=[*REAL, *SIMULATED])
def database(request: pytest.FixtureRequest) -> RadiusDatabase:
    """Each kind of database, and the simulated servers: these must be as good as the real ones."""
    return fresh(request)


@pytest.fixture(params=REAL)
def real_database(request: pytest.FixtureRequest) -> RadiusDatabase:
    """Each kind of real database, for tests that change its tables: the simulated servers have only FreeRADIUS'."""
    return fresh(request)


def fresh(request: pytest.FixtureRequest) -> RadiusDatabase:
    if request.param in SIMULATED:
        return simulated_database(SIMULATED[request.param])
    if request.param == "sqlite":
        found: RadiusDatabase = request.getfixturevalue("sqlite_radius")
        return found
    cluster: Cluster = request.getfixturevalue(request.param)
    return cluster.fresh()


# --- reading --------------------------------------------------------------------------------------------------------


async def test_users_and_groups_are_read_in_bulk_in_databases_order(database: RadiusDatabase) -> None:
    amina(database)
    database.add_group("home20", [("Mikrotik-Rate-Limit", ":=", "20M/20M"), ("Framed-Pool", ":=", "cgnat")])
    many = [f"user-{n}" for n in range(KEYS_PER_READ + 7)]
    database.run_many(
        "INSERT INTO radcheck (username, attribute, op, value) VALUES (%s, 'Auth-Type', ':=', 'Reject')",
        [(m,) for m in many],
    )
    async with authority(database) as sql:
        users = await sql.read_users(["amina.h", "nobody", *many, "amina.h"])
        groups = await sql.read_groups(["home20", "home50"])
    assert value_of(users["amina.h"].rows) == {
        "check:Cleartext-Password": SecretRef(commit("check:Cleartext-Password :=", "wonder")),
        "reply:Framed-IP-Address": (":= 100.64.1.7",),
        "group:home20": "1",
    }
    assert users["nobody"].rows == ()
    assert all([r.name for r in users[m].rows] == ["Auth-Type"] for m in many)
    assert [(r.table, r.name) for r in groups["home20"]] == [
        (Table.REPLY, "Mikrotik-Rate-Limit"),
        (Table.REPLY, "Framed-Pool"),
    ]
    assert groups["home50"] == ()


async def test_a_read_that_was_given_up_answers_no_later_one(database: RadiusDatabase) -> None:
    amina(database)
    amina(database, "basim.k")
    async with authority(database) as sql:
        expected = {login: await read(sql, login) for login in ("amina.h", "basim.k")}
        for turns in range(12):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(read, sql, "amina.h")
                for _ in range(turns):
                    await trio.lowlevel.checkpoint()
                nursery.cancel_scope.cancel()
            assert await read(sql, "basim.k") == expected["basim.k"]
        assert expected["amina.h"] != ABSENT


async def test_logins_are_compared_as_the_database_compares_them(database: RadiusDatabase) -> None:
    amina(database, "Amina.H")
    async with authority(database) as sql:
        users = await sql.read_users(["amina.h", "AMINA.H ", "Amina.H", "other"])
    if database.kind is Database.MARIADB:
        assert users["amina.h"].same_as == ("AMINA.H ", "Amina.H")
        assert users["amina.h"].rows == users["Amina.H"].rows != ()
    else:
        assert [bool(users[u].rows) for u in ("amina.h", "AMINA.H ", "Amina.H")] == [False, False, True]
        assert users["Amina.H"].same_as == ()
    assert users["other"].same_as == ()


async def test_texts_are_never_sql(database: RadiusDatabase) -> None:
    evil = "x' OR '1'='1' -- %s ? ; DROP TABLE radcheck"
    amina(database)
    async with authority(database) as sql:
        assert (await sql.read_users([evil]))[evil].rows == ()
        after: Value = {"group:home20": "1", "reply:Reply-Message": (f":= {evil}",)}
        assert await write(sql, ABSENT, after, evil) is None
        assert await read(sql, evil) == after
        assert len(await sql.read_users(["amina.h"])) == 1


INSERT_SESSION = (
    "INSERT INTO radacct (acctsessionid, acctuniqueid, username, nasipaddress, framedipaddress, framedipv6prefix,"
    " delegatedipv6prefix, callingstationid, acctstarttime, acctstoptime)"
    " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, {0}, {1})"
)


def add_session(database: RadiusDatabase, unique: str, login: str, *, open_: bool = True, **fields: str) -> None:
    time_of = {
        Database.POSTGRESQL: "to_timestamp(1700000000)",
        Database.MARIADB: "from_unixtime(1700000000)",
        Database.SQLITE: "1700000000",
    }[database.kind]
    sql = INSERT_SESSION.format(time_of, "NULL" if open_ else time_of)
    empty = None if database.kind is Database.POSTGRESQL else ""
    columns = [fields.get(k) or empty for k in ("ip", "ip6", "pd")]
    database.run(
        sql,
        fields.get("sid", unique[:8]),
        unique,
        login,
        fields.get("nas", "10.0.0.1"),
        *columns,
        fields.get("mac", ""),
    )


async def test_who_has_an_address(database: RadiusDatabase) -> None:
    add_session(database, "u1", "amina.h", ip="100.64.12.9")
    add_session(database, "u2", "bob", ip="100.64.12.90")
    add_session(database, "u3", "carl", ip="100.64.12.9", open_=False)
    add_session(database, "u4", "dora", ip="100.64.12.9", nas="10.0.0.2")  # a ghost, or a reused address: both are told
    async with authority(database) as sql:
        found = await sql.read_holders(["100.64.12.9", "100.64.99.99"])
    assert {ip: [s.login for s in sessions] for ip, sessions in found.items()} == {
        "100.64.12.9": ["amina.h", "dora"],
        "100.64.99.99": [],
    }


async def test_open_sessions(database: RadiusDatabase) -> None:
    add_session(
        database, "u1", "amina.h", ip="100.64.12.9", ip6="2001:db8:1::/64", pd="2001:db8:4a00::/56", mac="AA-BB"
    )
    database.run("UPDATE radacct SET framedipv6address = '2001:db8:2::5' WHERE acctuniqueid = 'u1'")
    add_session(database, "u2", "amina.h", open_=False)
    add_session(database, "u3", "amina.h", nas="10.0.0.2")
    add_session(database, "u4", "bob")
    async with authority(database) as sql:
        found = await sql.read_sessions(["amina.h", "bob", "carl"])
        by_id = await sql.read_session(["u1", "u2", "nope"])
        online = await sql.read_online()
    assert [s.unique_id for s in found["amina.h"]] == ["u1", "u3"]
    first = found["amina.h"][0]
    assert (first.nas, first.ip, first.ip6, first.delegated, first.mac, first.session_id, first.since_s) == (
        "10.0.0.1", "100.64.12.9", "2001:db8:1::/64", "2001:db8:4a00::/56", "AA-BB", "u1", 1_700_000_000,
    )  # fmt: skip
    assert (found["amina.h"][1].ip, found["amina.h"][1].ip6, found["amina.h"][1].address6) == ("", "", "")
    assert found["carl"] == ()
    assert first.address6 == "2001:db8:2::5"
    assert by_id["u1"] == first
    assert by_id["u2"] is None
    assert by_id["nope"] is None
    assert online == {"amina.h": 2, "bob": 1}


async def test_an_id_that_is_used_again_tells_no_address(database: RadiusDatabase) -> None:
    """FreeRADIUS' Start dates the row of an earlier session anew, and its addresses stay until the next update."""
    add_session(database, "u1", "amina.h", ip="100.64.12.9", pd="2001:db8:4a00::/56", mac="AA-BB", sid="s1")
    database.run("UPDATE radacct SET acctsessiontime = 86000, acctupdatetime = acctstarttime")
    async with authority(database) as sql:
        (found,) = (await sql.read_sessions(["amina.h"]))["amina.h"]
        assert (found.session_id, found.ip, found.delegated, found.mac) == ("s1", "", "", "")
        database.run("UPDATE radacct SET acctsessiontime = 0")
        (found,) = (await sql.read_sessions(["amina.h"]))["amina.h"]
        assert found.ip == "100.64.12.9", "a session that has just begun"


async def test_two_rows_of_one_session_are_one(radius_database: RadiusDatabase) -> None:
    """An older table has no unique index: a Start that came twice is two rows, or an id that a NAS gave again."""
    database = radius_database
    database.run(
        {
            Database.POSTGRESQL: "ALTER TABLE radacct DROP CONSTRAINT radacct_acctuniqueid_key",
            Database.MARIADB: "ALTER TABLE radacct DROP INDEX acctuniqueid",
        }[database.kind]
    )
    for ip in ("100.64.12.9", "100.127.0.9"):
        add_session(database, "u1", "amina.h", ip=ip)
    add_session(database, "u2", "bob", ip="100.64.1.1")
    add_session(database, "u2", "bob", ip="100.64.1.1")
    async with authority(database) as sql:
        found = await sql.read_sessions(["amina.h", "bob"])
        assert [(s.unique_id, s.ip) for s in found["amina.h"]] == [("u1", "")], "either may be the one that it has"
        assert [(s.unique_id, s.ip) for s in found["bob"]] == [("u2", "100.64.1.1")]
        assert (await sql.read_session(["u1"]))["u1"] == found["amina.h"][0]
        assert await sql.read_online() == {"amina.h": 1, "bob": 1}
        row = session_fields(session_value(found["amina.h"][0]))
        assert await sql.write_session("u1", row, closes=True) is None
        assert (await sql.read_session(["u1"]))["u1"] is None
        assert await sql.write_session("u1", row, closes=False) is None
        assert (await sql.read_session(["u1"]))["u1"] == found["amina.h"][0]


async def test_the_clock_of_the_databases_server(real_database: RadiusDatabase) -> None:
    async with authority(real_database) as sql:
        found = await sql.read_clock()
    if real_database.kind is Database.SQLITE:
        assert found is None
    else:
        now_s, zone_s = expect(tuple, found)
        assert abs(now_s - time.time()) < 5
        assert zone_s % 900 == 0


async def test_what_a_nas_told_of_a_sessions_end_and_length(database: RadiusDatabase) -> None:
    add_session(database, "u1", "amina.h")
    add_session(database, "u2", "amina.h", nas="10.0.0.2", open_=False)
    database.run("UPDATE radacct SET acctsessiontime = 86000 WHERE acctuniqueid = 'u2'")
    async with authority(database) as sql:
        found = await sql.read_accounted(["u1", "u2", "nope"])
    assert found["u1"] == Accounted("10.0.0.1", 0, 0)
    assert found["u2"] == Accounted("10.0.0.2", 1_700_000_000, 86_000)
    assert found["nope"] is None


async def test_a_zero_date_is_an_open_session_on_mariadb(mariadb: MariaDB) -> None:
    database = mariadb.fresh()
    add_session(database, "u1", "amina.h")
    with contextlib.closing(database.connect()) as connection, contextlib.closing(connection.cursor()) as cursor:
        cursor.execute("SET sql_mode=''")
        cursor.execute("UPDATE radacct SET acctstoptime = '0000-00-00 00:00:00', acctstarttime = '0000-00-00 00:00:00'")
    async with authority(database) as sql:
        (session,) = (await sql.read_sessions(["amina.h"]))["amina.h"]
    assert session.since_s == 0


async def test_text_dates_in_sqlite(sqlite_radius: RadiusDatabase) -> None:
    add_session(sqlite_radius, "u1", "amina.h")
    sqlite_radius.run("UPDATE radacct SET acctstarttime = '2023-11-14 22:13:20'")
    async with authority(sqlite_radius) as sql:
        (session,) = (await sql.read_sessions(["amina.h"]))["amina.h"]
    assert session.since_s == 1_700_000_000


# --- the password of a login ------------------------------------------------------------------------------------------


async def password_of(database: RadiusDatabase, login: str) -> str:
    target = database.target(secret="db")
    secrets = {"db": database.password.encode()}
    config = RadiusConfig((target,), (), ())
    connector = RadiusConnector(config, secrets.__getitem__, commit, clock=SystemClock(), pools=pools_of(database))
    return await connector.password_of(target.id, login)


async def test_the_password_of_a_login(database: RadiusDatabase) -> None:
    amina(database)
    assert await password_of(database, "amina.h") == "wonder"
    with pytest.raises(UnreadableError, match="expected one Cleartext-Password of nobody, got 0"):
        await password_of(database, "nobody")
    database.run("UPDATE radcheck SET attribute = 'MD5-Password'")
    with pytest.raises(UnreadableError, match="got 0"):
        await password_of(database, "amina.h")


async def test_which_of_two_passwords_it_is_nobody_says(database: RadiusDatabase) -> None:
    amina(database)
    database.run(
        "INSERT INTO radcheck (username, attribute, op, value) VALUES ('amina.h', 'Cleartext-Password', ':=', 'other')"
    )
    with pytest.raises(UnreadableError, match="got 2"):
        await password_of(database, "amina.h")


async def test_a_password_that_is_another_persons_too_is_nobodys(mariadb: MariaDB) -> None:
    database = mariadb.fresh()
    amina(database, "josé")
    with pytest.raises(UnreadableError, match="jose is also josé there"):
        await password_of(database, "jose")
    assert await password_of(database, "josé") == "wonder"


# --- writing --------------------------------------------------------------------------------------------------------


async def test_a_marker_is_added_and_taken_back_to_the_same_rows(database: RadiusDatabase) -> None:
    amina(database)
    rows_before = database.run("SELECT id, username, groupname, priority FROM radusergroup ORDER BY id")
    async with authority(database) as sql:
        before = await read(sql)
        assert await write(sql, before, with_marker(before)) is None
        assert await read(sql) == with_marker(before)
        assert await write(sql, with_marker(before), before) is None
        assert await read(sql) == before
    assert database.run("SELECT id, username, groupname, priority FROM radusergroup ORDER BY id") == rows_before


async def test_updates_and_deletes_touch_only_their_rows(database: RadiusDatabase) -> None:
    amina(database)
    amina(database, "bob")
    async with authority(database) as sql:
        before, bob = await read(sql), await read(sql, "bob")
        after = {
            **rowset.fields_of(before),
            "reply:Framed-IP-Address": (":= 100.64.1.8",),
            "check:Simultaneous-Use": (":= 1",),
            "group:home50": "1",
        }
        del after["group:home20"]
        assert await write(sql, before, after) is None
        assert await read(sql) == after
        assert await read(sql, "bob") == bob


async def test_drift_tells_what_is_there_and_writes_nothing(database: RadiusDatabase) -> None:
    amina(database)
    async with authority(database) as sql:
        before = await read(sql)
        database.run("UPDATE radusergroup SET groupname = 'home50' WHERE username = 'amina.h'")
        now = await read(sql)
        assert await write(sql, before, with_marker(before)) == Drift(now)
        assert await read(sql) == now
        assert await write(sql, now, with_marker(now)) is None, "the connection is as good as before"


async def test_a_given_up_write_is_whole_or_nothing(
    database: RadiusDatabase,
) -> None:
    amina(database)
    amina(database, "basim.k")
    async with authority(database) as sql:
        before, basim = await read(sql), await read(sql, "basim.k")
        for steps in range(12):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(write, sql, before, with_marker(before))
                for _ in range(steps):
                    await trio.sleep(0.001)
                nursery.cancel_scope.cancel()
            assert await read(sql, "basim.k") == basim
            with trio.fail_after(60):
                while (now := await read(sql)) == before and (
                    await write(sql, before, with_marker(before))
                ) is not None:
                    pass  # the server was still at it: then the next look tells
            assert now in (before, with_marker(before))
            assert await write(sql, with_marker(before), before) is None


async def test_a_changed_password_is_drift(database: RadiusDatabase) -> None:
    amina(database)
    async with authority(database) as sql:
        before = await read(sql)
        database.run("UPDATE radcheck SET value = 'other' WHERE username = 'amina.h'")
        assert isinstance(await write(sql, before, with_marker(before)), Drift)


async def test_a_user_that_is_gone_is_drift(database: RadiusDatabase) -> None:
    amina(database)
    async with authority(database) as sql:
        before = await read(sql)
        for table in ("radcheck", "radreply", "radusergroup"):
            database.run(f"DELETE FROM {table}")
        assert await write(sql, before, with_marker(before)) == Drift(ABSENT)


async def test_of_many_writers_with_one_before_exactly_one_wins(database: RadiusDatabase) -> None:
    amina(database)
    results: list[Drift | None] = []
    async with authority(database) as one, authority(database) as two:
        before = await read(one)

        async def race(sql: SqlAuthority, priority: int) -> None:
            after = {**rowset.fields_of(before), "group:suspended": str(-priority)}
            results.append(await write(sql, before, after))

        async with trio.open_nursery() as nursery:
            for n in range(1, 7):
                nursery.start_soon(race, one if n % 2 else two, n)
        now = await read(one)
    assert results.count(None) == 1
    assert all(r == Drift(now) for r in results if r is not None)
    assert len(database.run("SELECT * FROM radusergroup")) == 2


async def test_of_two_that_read_same_before_either_writes_one_wins(database: RadiusDatabase) -> None:
    """Both hold what they read until the other has read too, or is seen to wait for us to end."""
    amina(database)
    both_read = threading.Barrier(2)

    def slowly(rows: Iterable[UserRow]) -> Value:
        with contextlib.suppress(threading.BrokenBarrierError):
            both_read.wait(0.5)
        return value_of(rows)

    results: list[Drift | None] = []
    async with authority(database) as one, authority(database) as two:
        before = await read(one)

        async def race(sql: SqlAuthority, priority: str) -> None:
            after = {**rowset.fields_of(before), "group:suspended": priority}
            results.append(await sql.write_user("amina.h", before, rowset.changes(before, after), slowly))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(race, one, "-1")
            nursery.start_soon(race, two, "-2")
        now = await read(one)
    assert results.count(None) == 1
    assert Drift(now) in results
    assert len(database.run("SELECT * FROM radusergroup")) == 2


async def test_many_users_written_at_once_all_arrive(database: RadiusDatabase) -> None:
    logins = [f"user-{n}" for n in range(24)]
    for login in logins:
        amina(database, login)
    async with authority(database) as sql:
        users = {u: value_of(r.rows) for u, r in (await sql.read_users(logins)).items()}

        async def one(login: str) -> None:
            assert await write(sql, users[login], with_marker(users[login]), login) is None

        async with trio.open_nursery() as nursery:
            for login in logins:
                nursery.start_soon(one, login)
    assert len(database.run("SELECT * FROM radusergroup WHERE groupname = 'suspended'")) == 24


async def test_the_rows_spelling_of_the_login_is_kept_on_mariadb(mariadb: MariaDB) -> None:
    database = mariadb.fresh()
    amina(database, "Amina.H")
    async with authority(database) as sql:
        before = await read(sql, "amina.h")
        assert await write(sql, before, with_marker(before), "amina.h") is None
    assert database.run("SELECT DISTINCT BINARY username FROM radusergroup") == [(b"Amina.H",)]


async def test_anothers_rows_of_an_equal_collation_are_never_written(mariadb: MariaDB) -> None:
    database = mariadb.fresh()
    amina(database, "josé")
    rows = database.run("SELECT id, BINARY username, groupname, priority FROM radusergroup ORDER BY id")
    async with authority(database) as sql:
        only = (await sql.read_users(["jose"]))["jose"]
        assert (bool(only.rows), only.same_as) == (True, ("josé",))
        before = value_of(only.rows)
        drift = await write(sql, before, with_marker(before), "jose")
        assert drift == Drift({**rowset.fields_of(before), "same-as": ("josé",)})
        own = value_of((await sql.read_users(["josé"]))["josé"].rows)
        assert await write(sql, own, own, "josé") is None, "a person's own login is as good as any"
        amina(database, "jose")
        both = await sql.read_users(["jose"])
        assert both["jose"].same_as == ("josé",)
        assert (await sql.read_users(["josé"]))["josé"].same_as == ("jose",)
        before = value_of(both["jose"].rows)
        assert isinstance(await write(sql, before, with_marker(before), "jose"), Drift)
    now = database.run("SELECT id, BINARY username, groupname, priority FROM radusergroup ORDER BY id")
    assert now[: len(rows)] == rows
    assert len(now) == len(rows) + 1, "only what the test itself added"


async def test_rows_of_another_person_after_the_preview_are_drift(mariadb: MariaDB) -> None:
    database = mariadb.fresh()
    amina(database, "jose")
    async with authority(database) as sql:
        before = await read(sql, "jose")
        database.run("INSERT INTO radusergroup (username, groupname, priority) VALUES ('josé', 'vip', 3)")
        drift = await write(sql, before, with_marker(before), "jose")
    assert drift == Drift({**rowset.fields_of(before), "group:vip": "3", "same-as": ("josé",)})
    assert database.run("SELECT count(*) FROM radusergroup WHERE groupname = 'suspended'") == [(0,)]


async def test_rows_in_two_cases_are_one_user_as_the_database_says(mariadb: MariaDB) -> None:
    database = mariadb.fresh()
    amina(database, "Alice")
    async with authority(database) as sql:
        before = await read(sql, "alice")
        database.run("UPDATE radusergroup SET username = 'alice'")
        assert await read(sql, "alice") == before
        assert (await sql.read_users(["alice"]))["alice"].same_as == ()
        assert await write(sql, before, with_marker(before), "alice") is None


# --- conflicts ------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def held(database: RadiusDatabase, *statements: str) -> Iterator[threading.Event]:
    """Another writer's transaction with these statements done, committed once the event is set."""
    ready, release = threading.Event(), threading.Event()

    def hold() -> None:
        with contextlib.closing(database.connect(autocommit=False)) as connection:
            with contextlib.closing(connection.cursor()) as cursor:
                for statement in statements:
                    cursor.execute(statement)
                ready.set()
                release.wait(60)
            connection.commit()

    thread = threading.Thread(target=hold)
    thread.start()
    ready.wait(60)
    try:
        yield release
    finally:
        release.set()
        thread.join()


async def test_a_row_another_changes_is_waited_for_and_is_drift(radius_database: RadiusDatabase) -> None:
    amina(radius_database)
    async with authority(radius_database) as sql:
        before = await read(sql)
        after = {**rowset.fields_of(before), "group:home20": "5"}
        results: list[Drift | None] = []

        async def ours() -> None:
            results.append(await write(sql, before, after))

        with held(radius_database, "UPDATE radusergroup SET priority = 3 WHERE username = 'amina.h'") as release:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ours)
                await wait_until_blocked(radius_database)
                assert results == []
                release.set()
        assert results == [Drift({**rowset.fields_of(before), "group:home20": "3"})]


async def test_transaction_that_loses_to_another_keeps_its_connection(postgresql: PostgreSQL) -> None:
    database = postgresql.fresh()
    amina(database)

    def connections() -> list[int]:
        return [pid for (pid,) in database.run("SELECT pid FROM pg_stat_activity WHERE application_name = 'ispagent'")]

    async with authority(database) as sql:
        before = await read(sql)
        first = connections()
        results: list[Drift | None] = []

        async def ours() -> None:
            results.append(await write(sql, before, {**rowset.fields_of(before), "group:home20": "5"}))

        with held(database, "UPDATE radusergroup SET priority = 3 WHERE username = 'amina.h'") as release:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ours)
                await wait_until_blocked(database)
                release.set()  # 40001: ours is rolled back, and run again
        changed = {**rowset.fields_of(before), "group:home20": "3"}
        assert results == [Drift(changed)]
        assert await write(sql, changed, with_marker(changed)) is None
        assert await read(sql) == with_marker(changed)
        assert connections() == first
    assert len(first) == 1


async def wait_until_blocked(database: RadiusDatabase) -> None:
    question = {
        Database.POSTGRESQL: "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'",
        Database.MARIADB: "SELECT count(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'",
    }[database.kind]
    with trio.fail_after(60):
        while database.run(question)[0][0] == 0:  # noqa: ASYNC110  the state is the server's
            await trio.sleep(0.15)  # MariaDB tells the same for 0.1 s


async def test_a_lock_held_too_long_is_not_sent(radius_database: RadiusDatabase) -> None:
    amina(radius_database)
    async with authority(radius_database, timeout_s=2.0) as sql:
        before = await read(sql)
        after = {**rowset.fields_of(before), "group:home20": "5"}
        with (
            held(radius_database, "UPDATE radusergroup SET priority = 3 WHERE username = 'amina.h'"),
            trio.fail_after(50),  # it is held for 60 s
            pytest.raises(NotSentError) as caught,
        ):
            await write(sql, before, after)
        assert caught.value.reason in ("timeout", "busy")
        assert await read(sql) == {**rowset.fields_of(before), "group:home20": "3"}


async def test_rows_that_we_hold_are_freed_when_we_are_cut_off(radius_database: RadiusDatabase) -> None:
    """A server keeps a connection whose other end is gone for two hours. It must not keep the rows."""
    amina(radius_database)
    connection = Connection(replace(radius_database.target(secret="db"), timeout_s=0.25), radius_database.password)
    try:
        connection.run("BEGIN")
        connection.run("SELECT id FROM radusergroup WHERE username = 'amina.h' FOR UPDATE")
        await trio.to_thread.run_sync(
            radius_database.run, "UPDATE radusergroup SET priority = 3 WHERE username = 'amina.h'"
        )
    finally:
        connection.close()
    assert radius_database.run("SELECT priority FROM radusergroup WHERE username = 'amina.h'") == [(3,)]


async def test_a_deadlock_is_run_again(radius_database: RadiusDatabase) -> None:
    """They hold what we need second and want what we hold first: the server kills one of us, and ours comes through."""
    amina(radius_database)
    radius_database.run("INSERT INTO radcheck (username, attribute, op, value) VALUES ('zed', 'X', ':=', '1')")
    theirs = "UPDATE radusergroup SET priority = 1 WHERE username = 'amina.h'"  # locks, changes nothing
    crossing = "UPDATE radreply SET value = value WHERE username = 'amina.h'"
    outcome: list[Drift | None] = []
    async with authority(radius_database) as sql:
        before = await read(sql)
        after = {**rowset.fields_of(before), "reply:Framed-IP-Address": (":= 100.64.1.9",), "group:home20": "5"}

        def cross() -> None:
            with contextlib.closing(radius_database.connect(autocommit=False)) as connection:
                # The server may kill either of the two.
                with contextlib.closing(connection.cursor()) as cursor, contextlib.suppress(Exception):
                    cursor.execute(theirs)
                    ready.set()
                    go.wait(60)
                    cursor.execute(crossing)
                connection.rollback()

        ready, go = threading.Event(), threading.Event()
        thread = threading.Thread(target=cross)
        thread.start()
        ready.wait(60)

        async def ours() -> None:
            outcome.append(await write(sql, before, after))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ours)
            await wait_until_blocked(radius_database)
            go.set()
        await trio.to_thread.run_sync(thread.join)
        assert outcome == [None]
        assert await read(sql) == after


# --- what is not there ----------------------------------------------------------------------------------------------


async def test_a_database_that_is_down(radius_database: RadiusDatabase) -> None:
    async with authority(radius_database, port=free_port()) as sql:
        with pytest.raises(UnreadableError) as caught:
            await read(sql)
        assert caught.value.reason == "unreachable"
        with pytest.raises(NotSentError) as not_sent:
            await write(sql, ABSENT, {"group:x": "1"})
        assert not_sent.value.reason == "unreachable"


async def test_a_wrong_password_is_refused_and_not_told(radius_database: RadiusDatabase) -> None:
    async with authority(radius_database, password="wrong-secret-9") as sql:
        with pytest.raises(UnreadableError) as caught:
            await read(sql)
        assert caught.value.reason == "refused"
        assert "wrong-secret-9" not in str(caught.value)
        with pytest.raises(NotSentError) as not_sent:
            await write(sql, ABSENT, {"group:x": "1"})
        assert not_sent.value.reason == "refused"


async def test_a_missing_table_is_refused_without_sql_or_values(real_database: RadiusDatabase) -> None:
    amina(real_database)
    real_database.run("DROP TABLE radusergroup")
    async with authority(real_database) as sql:
        with pytest.raises(UnreadableError) as caught:
            await read(sql)
        assert caught.value.reason == "refused"
        assert caught.value.__cause__ is None
        assert "the table radusergroup is missing" in str(caught.value)
        for word in ("SELECT", "UNION", "amina"):
            assert word not in str(caught.value)


async def test_a_missing_sqlite_file_is_not_made(sqlite_radius: RadiusDatabase) -> None:
    missing = replace(sqlite_radius, path=sqlite_radius.path + ".nope")
    async with authority(missing) as sql:
        with pytest.raises(UnreadableError):
            await read(sql)


@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
async def test_a_server_that_hangs_is_given_up(request: pytest.FixtureRequest, kind: str) -> None:
    server: PostgreSQL | MariaDB = request.getfixturevalue(kind)
    database = server.fresh()
    amina(database)
    async with authority(database, timeout_s=2.0) as sql:
        before = await read(sql)
        pids = backends(database, server)
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            await until_stopped(pids)
            with pytest.raises(UnreadableError) as caught:
                await read(sql)
            assert caught.value.reason in ("timeout", "unreachable")
            with pytest.raises(NotSentError):
                await write(sql, before, with_marker(before))
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)
        assert await read(sql) == before, "it is asked again on a new connection"


async def until_stopped(pids: list[int]) -> None:
    """Return once every thread has stopped: a signal is only under way when `kill` returns."""
    threads = [task for pid in pids for task in Path(f"/proc/{pid}/task").iterdir()]
    with trio.fail_after(60):
        while any(  # noqa: ASYNC110  the kernel sets no event
            (t / "stat").read_text().rpartition(")")[2].split()[0] not in "Tt" for t in threads
        ):
            await trio.sleep(0.01)


def backends(database: RadiusDatabase, server: PostgreSQL | MariaDB) -> list[int]:
    """The server's process, and for PostgreSQL those of the connections too: stopping the parent stops no child."""
    if database.kind is Database.POSTGRESQL:
        children = [
            int(row[0])
            for row in database.run(
                "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
            )
        ]
        return [server.pid, *children]
    return [server.pid]


@pytest.mark.parametrize("deliver", [True, False])
async def test_a_lost_answer_to_commit_is_lost_and_never_a_failure(
    radius_database: RadiusDatabase, deliver: bool
) -> None:
    amina(radius_database)
    with TcpCutter(radius_database.port, b"COMMIT", deliver=deliver) as cutter:
        cutter.armed = False
        async with authority(radius_database, port=cutter.port, timeout_s=20.0) as sql:
            before = await read(sql)
            cutter.armed = True
            with pytest.raises(LostError) as caught:
                await write(sql, before, with_marker(before))
            assert caught.value.reason == "commit-lost"
            cutter.armed = False
            assert cutter.cuts == 1, "a lost COMMIT is not sent again"
            now = await read(sql)
    assert now == (with_marker(before) if deliver else before)


async def test_a_connection_cut_before_commit_is_not_sent(radius_database: RadiusDatabase) -> None:
    amina(radius_database)
    with TcpCutter(radius_database.port, b"INSERT INTO radusergroup", deliver=True) as cutter:
        async with authority(radius_database, port=cutter.port, timeout_s=20.0) as sql:
            before = await read(sql)
            # The first connection was used before and is taken to be stale: the new one is cut too, and that counts.
            with pytest.raises(NotSentError) as caught:
                await write(sql, before, with_marker(before))
            assert caught.value.reason == "unreachable"
            assert await read(sql) == before


async def test_connections_that_died_are_replaced_silently(radius_database: RadiusDatabase) -> None:
    amina(radius_database)
    with TcpCutter(radius_database.port, b"\0never\0", deliver=True) as cutter:
        async with authority(radius_database, port=cutter.port) as sql:
            before = await read(sql)
            for sock in cutter._sockets:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
            assert await read(sql) == before
            for sock in cutter._sockets:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
            assert await write(sql, before, with_marker(before)) is None


async def test_a_change_that_counts_no_row_is_not_committed(real_database: RadiusDatabase) -> None:
    """A trigger (or a rule) that swallows the change: the database says 0 rows, and everything is rolled back."""
    if real_database.kind is Database.MARIADB:
        return  # it has nothing that swallows a row's change silently
    amina(real_database)
    match real_database.kind:
        case Database.POSTGRESQL:
            real_database.run("CREATE RULE nothing AS ON DELETE TO radusergroup DO INSTEAD NOTHING")
        case Database.SQLITE:
            real_database.run("CREATE TRIGGER swallow BEFORE DELETE ON radusergroup BEGIN SELECT RAISE(IGNORE); END")
    async with authority(real_database) as sql:
        before = await read(sql)
        after: Value = {k: v for k, v in rowset.fields_of(before).items() if k != "group:home20"}
        after = {**after, "reply:Framed-IP-Address": (":= 100.64.1.9",)}
        with pytest.raises(NotSentError) as caught:
            await write(sql, before, after)
        assert caught.value.reason == "row-count"
        assert await read(sql) == before
