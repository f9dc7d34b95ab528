"""The RADIUS server: PAP, CHAP, Message-Authenticator, accounting rows as FreeRADIUS writes them, duplicates."""

from __future__ import annotations

import hashlib
from contextlib import asynccontextmanager

import pytest
import trio

from lab import accounting, radius_codec
from lab.database import Dsn, Engine, create_sqlite, open_database, parse_dsn
from lab.errors import LabDatabaseError
from lab.radius_codec import Code, attribute
from lab.radius_server import RadiusServer, ServerOptions
from lab.tests.labs import QUIET_S, client

SECRET, NOW = b"server-secret-0123", 1_795_000_000
USER = ("User-Name", "alice")


@asynccontextmanager
async def server(folder, **options):
    create_sqlite(folder / "radius.db")
    async with open_database(Dsn(Engine.SQLITE, path=str(folder / "radius.db"))) as database:
        for table, key, rows in (
            ("radcheck", "username", [("alice", "Cleartext-Password", ":=", "wönder")]),
            ("radgroupreply", "groupname", [("plan", "Mikrotik-Rate-Limit", ":=", "20M/20M")]),
        ):
            await database.write(
                lambda c, t=table, k=key, r=rows: c.execute_many(
                    f"INSERT INTO {t} ({k}, attribute, op, value) VALUES (?, ?, ?, ?)", r
                )
            )
        await database.execute("INSERT INTO radusergroup (username, groupname) VALUES ('alice', 'plan')")
        async with trio.open_nursery() as nursery:
            running = RadiusServer(database, ServerOptions(SECRET, **options), clock=lambda: NOW)
            await nursery.start(running.run)
            yield running, database
            nursery.cancel_scope.cancel()


def access(c, *extra, password=b"w\xc3\xb6nder", ma=True):
    c.next_id += 1
    hidden = radius_codec.hide_password(password, SECRET, bytes(range(16)))
    return radius_codec.encode_request(
        Code.ACCESS_REQUEST,
        c.next_id,
        [attribute(*USER), attribute("User-Password", hidden), *(attribute(n, v) for n, v in extra)],
        SECRET,
        authenticator=bytes(range(16)),
        message_authenticator=ma,
    )


async def test_pap_accept_with_message_authenticator_first(tmp_path):
    async with server(tmp_path) as (running, database):
        with client(running.auth_port, SECRET) as c:
            reply = await c.exchange(access(c, ("Proxy-State", b"hop")))
        assert reply.code == Code.ACCESS_ACCEPT
        assert [a.name for a in reply.attributes] == ["Message-Authenticator", "Mikrotik-Rate-Limit", "Proxy-State"]
        assert await database.fetch("SELECT username, pass, reply FROM radpostauth") == [("alice", "", "Access-Accept")]


async def test_a_wrong_password_is_rejected_with_little(tmp_path):
    async with server(tmp_path) as (running, database):
        await database.execute(
            "INSERT INTO radreply (username, attribute, op, value) VALUES ('alice', 'Reply-Message', '=', 'hello')"
        )
        with client(running.auth_port, SECRET) as c:
            reply = await c.exchange(access(c, password=b"wrong"))
            assert reply.code == Code.ACCESS_REJECT
            assert [a.name for a in reply.attributes] == ["Message-Authenticator", "Reply-Message"]
            await database.execute("DELETE FROM radcheck")
            await database.execute("DELETE FROM radusergroup")
            await database.execute("DELETE FROM radreply")
            assert (await c.exchange(access(c, ("NAS-Port", 1)))).code == Code.ACCESS_REJECT


@pytest.mark.parametrize("challenge", [b"", b"0123456789abcdef"])
async def test_chap_over_challenge_or_authenticator(tmp_path, challenge):
    async with server(tmp_path) as (running, _):
        auth = bytes(range(16))
        with client(running.auth_port, SECRET) as c:
            for password, code in ((b"w\xc3\xb6nder", Code.ACCESS_ACCEPT), (b"wrong", Code.ACCESS_REJECT)):
                hashed = radius_codec.chap_password(5, password, challenge or auth)
                attributes = [attribute(*USER), attribute("CHAP-Password", hashed)]
                attributes += [attribute("CHAP-Challenge", challenge)] if challenge else []
                c.next_id += 1
                wire = radius_codec.encode_request(
                    Code.ACCESS_REQUEST, c.next_id, attributes, SECRET, authenticator=auth, message_authenticator=True
                )
                assert (await c.exchange(wire)).code == code


async def test_message_authenticator_is_demanded_by_option(tmp_path):
    async with server(tmp_path) as (running, _):
        with client(running.auth_port, SECRET) as c:
            assert await c.exchange(access(c, ma=False), QUIET_S) is None
            wrong = bytearray(access(c))
            wrong[25] ^= 1
            assert await c.exchange(bytes(wrong), QUIET_S) is None


async def test_without_the_option_it_may_be_missing(tmp_path):
    async with server(tmp_path, require_message_authenticator=False) as (running, _):
        with client(running.auth_port, SECRET) as c:
            assert (await c.exchange(access(c, ma=False))).code == Code.ACCESS_ACCEPT


@pytest.mark.parametrize(
    ("rows", "code"),
    [
        ([("Auth-Type", ":=", "Reject")], Code.ACCESS_REJECT),
        ([("Expiration", ":=", "01 Jan 2020 00:00:00")], Code.ACCESS_REJECT),
        ([("Expiration", ":=", str(NOW + 90))], Code.ACCESS_ACCEPT),
        ([("No-Such-Attribute", ":=", "1")], Code.ACCESS_REJECT),
        ([("NAS-Port", "==", "77")], Code.ACCESS_REJECT),
    ],
)
async def test_check_rows_decide(tmp_path, rows, code):
    async with server(tmp_path) as (running, database):
        for row in rows:
            await database.execute(
                "INSERT INTO radcheck (username, attribute, op, value) VALUES ('alice', ?, ?, ?)", row
            )
        with client(running.auth_port, SECRET) as c:
            reply = await c.exchange(access(c))
        assert reply.code == code
        if code == Code.ACCESS_ACCEPT:
            assert reply.text("Session-Timeout") == "90"


async def test_status_server_on_both_ports(tmp_path):
    async with server(tmp_path) as (running, _):
        for port, code in ((running.auth_port, Code.ACCESS_ACCEPT), (running.acct_port, Code.ACCOUNTING_RESPONSE)):
            with client(port, SECRET) as c:
                wire = radius_codec.encode_request(
                    Code.STATUS_SERVER, 1, [], SECRET, authenticator=bytes(16), message_authenticator=True
                )
                assert (await c.exchange(wire)).code == code


SESSION = (
    USER,
    ("Acct-Session-Id", "8101"),
    ("NAS-IP-Address", "10.255.0.1"),
    ("NAS-Identifier", "bng-1"),
    ("NAS-Port-Id", "ether1"),
    ("NAS-Port", 7),
    ("Framed-IP-Address", "100.64.0.7"),
    ("Framed-IPv6-Prefix", "2001:db8::/64"),
    ("Service-Type", "Framed-User"),
    ("Framed-Protocol", "PPP"),
    ("NAS-Port-Type", "Ethernet"),
)
UNIQUE = hashlib.md5(b"alice,8101,10.255.0.1,bng-1,ether1,7").hexdigest()


async def test_a_session_in_radacct_from_start_to_stop(tmp_path):
    async with server(tmp_path) as (running, database):
        with client(running.acct_port, SECRET) as c:

            async def report(status, *pairs):
                reply = await c.ask(Code.ACCOUNTING_REQUEST, ("Acct-Status-Type", status), *SESSION, *pairs)
                assert reply.code == Code.ACCOUNTING_RESPONSE
                return (
                    await database.fetch(
                        "SELECT acctuniqueid, acctstarttime, acctupdatetime, acctstoptime, acctsessiontime, "
                        "acctinputoctets, acctterminatecause FROM radacct"
                    )
                )[0]

            assert await report("Start", ("Event-Timestamp", NOW)) == (UNIQUE, NOW, NOW, None, 0, 0, "")
            gigawords = (("Acct-Input-Gigawords", 3), ("Acct-Input-Octets", 300), ("Acct-Session-Time", 60))
            moved = await report("Interim-Update", ("Event-Timestamp", NOW + 60), *gigawords)
            assert moved == (UNIQUE, NOW, NOW + 60, None, 60, 12884902188, "")
            ended = await report("Stop", ("Event-Timestamp", NOW + 61), ("Acct-Terminate-Cause", "Admin-Reset"))
            assert ended == (UNIQUE, NOW, NOW + 60, NOW + 61, 0, 0, "Admin-Reset")
            again = await report("Start", ("Event-Timestamp", NOW + 99))
            assert again[1:4] == (NOW + 99, NOW + 99, NOW + 61)
        assert await database.fetch(
            "SELECT nasportid, nasporttype, framedipaddress, framedipv6prefix, servicetype, framedprotocol FROM radacct"
        ) == [("ether1", "Ethernet", "100.64.0.7", "2001:db8::/64", "Framed-User", "PPP")]


@pytest.mark.parametrize(("status", "stop"), [("Interim-Update", None), ("Stop", NOW - 5)])
async def test_a_session_whose_start_was_lost(tmp_path, status, stop):
    async with server(tmp_path) as (running, database):
        with client(running.acct_port, SECRET) as c:
            late = (("Acct-Session-Time", 100), ("Acct-Delay-Time", 5))
            assert await c.ask(Code.ACCOUNTING_REQUEST, ("Acct-Status-Type", status), *SESSION, *late)
        assert await database.fetch("SELECT acctstarttime, acctstoptime FROM radacct") == [(NOW - 105, stop)]


async def test_forged_or_senseless_accounting_is_not_answered(tmp_path):
    async with server(tmp_path) as (running, database):
        with client(running.acct_port, b"another") as c:
            assert (
                await c.ask(Code.ACCOUNTING_REQUEST, ("Acct-Status-Type", "Start"), *SESSION, timeout_s=QUIET_S) is None
            )
        with client(running.acct_port, SECRET) as c:
            assert await c.ask(Code.ACCOUNTING_REQUEST, *SESSION, timeout_s=QUIET_S) is None
        assert await database.fetch("SELECT COUNT(*) FROM radacct") == [(0,)]


async def test_a_duplicate_is_answered_from_memory(tmp_path):
    async with server(tmp_path) as (running, database):
        with client(running.auth_port, SECRET) as c:
            wire = access(c)
            first, second = await c.exchange(wire), await c.exchange(wire)
        assert first.wire == second.wire
        assert await database.fetch("SELECT COUNT(*) FROM radpostauth") == [(1,)]


async def test_a_request_that_could_not_be_stored_is_tried_again(tmp_path):
    async with server(tmp_path) as (running, database):
        await database.execute("ALTER TABLE radacct RENAME TO away")
        with client(running.acct_port, SECRET) as c:
            wire = c.request(Code.ACCOUNTING_REQUEST, ("Acct-Status-Type", "Start"), *SESSION)
            assert await c.exchange(wire, QUIET_S) is None
            await database.execute("ALTER TABLE away RENAME TO radacct")
            assert (await c.exchange(wire)).code == Code.ACCOUNTING_RESPONSE


def test_the_unique_id_prefers_a_class_of_the_servers_own():
    def unique(klass):
        pairs = [("User-Name", "a"), ("Acct-Session-Id", "1"), ("Class", klass)]
        wire = radius_codec.encode_request(Code.ACCOUNTING_REQUEST, 1, [attribute(*p) for p in pairs], SECRET)
        return accounting.unique_id(radius_codec.decode_untrusted(wire))

    assert unique(b"ai:" + b"0f" * 16) == hashlib.md5(b"0f" * 16 + b",1").hexdigest()
    assert unique(b"ai:short") == unique(b"other") == hashlib.md5(b"a,1,,,,").hexdigest()


def test_dsn():
    assert parse_dsn("sqlite:////srv/r.db") == Dsn(Engine.SQLITE, path="//srv/r.db")
    full = parse_dsn("postgresql://us%40er:p%3Aw@db:6543/acme?socket=/run/pg")
    assert full == Dsn(Engine.POSTGRESQL, "", "db", 6543, "us@er", "p:w", "acme", "/run/pg")
    assert parse_dsn("mysql://h").port == 3306
    for bad in ("oracle://x", "postgresql://h:port/x", ""):
        with pytest.raises(LabDatabaseError):
            parse_dsn(bad)


async def test_a_database_that_is_not_there_or_not_radius(tmp_path):
    with pytest.raises(LabDatabaseError, match="sqlite"):
        create_sqlite(tmp_path / "missing" / "radius.db")
    for dsn in (
        Dsn(Engine.SQLITE, path=str(tmp_path / "empty.db")),
        Dsn(Engine.POSTGRESQL, port=1),
        Dsn(Engine.MARIADB, port=1),
    ):
        with pytest.raises(LabDatabaseError, match=dsn.engine.value):
            async with open_database(dsn):
                pass


async def test_a_failed_job_leaves_nothing_behind(tmp_path):
    async with server(tmp_path) as (_, database):

        def job(cursor):
            cursor.execute("DELETE FROM radcheck")
            cursor.execute("DELETE FROM nowhere")

        with pytest.raises(LabDatabaseError):
            await database.write(job)
        assert await database.fetch("SELECT COUNT(*) FROM radcheck") == [(1,)]
