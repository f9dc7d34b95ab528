"""The lab on PostgreSQL and MariaDB, and beside a real FreeRADIUS: the same rows, the same answers."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
import trio

from lab import radius_codec
from lab.database import Dsn, Engine, open_database
from lab.isp import Isp
from lab.radius_client import Endpoint
from lab.radius_codec import Code, Packet, attribute
from lab.radius_server import RadiusServer, ServerOptions
from lab.tests.labs import client, dac, named, small_isp, somebody, suspend
from tests.servers import FreeRadius, RadiusDatabase

pytestmark = pytest.mark.servers
Start = Callable[..., FreeRadius]


def dsn(database: RadiusDatabase) -> Dsn:
    return Dsn(
        Engine(database.kind.value),
        path=database.path,
        host=database.host,
        port=database.port,
        user=database.user,
        password=database.password,
        dbname=database.dbname,
    )


async def into_the_garden(isp: Isp) -> None:
    old = somebody(isp)
    nas = isp.nas_of(old.login)
    await suspend(isp, old.login)
    with dac(nas) as c:
        assert (await c.ask(Code.DISCONNECT_REQUEST, *named(old))).code == Code.DISCONNECT_ACK
    with trio.fail_after(60):
        await nas.wait_for(lambda: any(s.session_id != old.session_id for s in nas.sessions(old.login)))
    (new,) = nas.sessions(old.login)
    assert not new.reaches_internet()
    assert new.policy.rate_limit == "64k/64k"


@pytest.mark.parametrize("real", [False, True], ids=["lab server", "freeradius"])
async def test_an_isp_on_that_database(tmp_path, radius_database: RadiusDatabase, freeradius: Start, real):
    radius = None
    if real:
        server = freeradius(radius_database)
        radius = Endpoint(server.host, server.auth_port, server.acct_port, server.secret.encode())
    async with small_isp(tmp_path, dsn=dsn(radius_database), radius=radius) as isp:
        online = {s.login for s in isp.services if s.mapped and s.online}
        assert {s.login for s in isp.sessions()} == online
        rows = await isp.database.fetch("SELECT username FROM radacct WHERE acctstoptime IS NULL")
        assert {r[0] for r in rows} == online
        await into_the_garden(isp)


COLUMNS = (
    "acctsessionid, acctuniqueid, username, realm, nasipaddress, nasportid, nasporttype, acctauthentic, "
    "connectinfo_start, connectinfo_stop, calledstationid, callingstationid, acctterminatecause, servicetype, "
    "framedprotocol, framedipaddress, framedipv6address, framedipv6prefix, framedinterfaceid, delegatedipv6prefix"
)
TIMES = "acctinterval, acctstarttime, acctupdatetime, acctstoptime, acctsessiontime, acctinputoctets, acctoutputoctets"


async def a_days_rows(folder, database: RadiusDatabase, radius: Endpoint | None) -> tuple[list, list]:
    """Three dial in; one has an interim update, one hangs up; the rows, and the types of what time decides."""
    async with small_isp(folder, dsn=dsn(database), radius=radius, nas=1, dial=False) as isp:
        logins = [s.login for s in isp.services if s.mapped][:3]
        for login in logins:
            assert await isp.dial(login)
        (updated,) = isp.sessions(logins[0])
        await isp.nas_of(logins[0])._account(updated, "Interim-Update")
        await isp.hang_up(logins[1])
        rows = await isp.database.fetch(f"SELECT {COLUMNS} FROM radacct ORDER BY username")
        times = await isp.database.fetch(f"SELECT {TIMES} FROM radacct ORDER BY username")
        assert len(rows) == 3
        await isp.database.execute("DELETE FROM radacct")
    return rows, [[type(value) for value in row] for row in times]


async def both_write_the_same(folder, database: RadiusDatabase, freeradius: Start) -> None:
    real = freeradius(database)
    radius = Endpoint(real.host, real.auth_port, real.acct_port, real.secret.encode())
    theirs = await a_days_rows(folder, database, radius)
    assert await a_days_rows(folder, database, None) == theirs


async def test_accounting_rows_are_those_of_freeradius(tmp_path, radius_database, freeradius: Start):
    await both_write_the_same(tmp_path, radius_database, freeradius)


async def test_accounting_rows_are_those_of_freeradius_on_sqlite(tmp_path, sqlite_radius, freeradius: Start):
    await both_write_the_same(tmp_path, sqlite_radius, freeradius)


# --- the same answers ------------------------------------------------------------------------------------------------

REPLY = (
    ("Mikrotik-Rate-Limit", ("1M/1M", "2M/2M", "3M/3M")),
    ("Mikrotik-Address-List", ("suspended", "vip")),
    ("Framed-Pool", ("cgnat", "garden")),
    ("Session-Timeout", ("60", "600", "3600")),
    ("Framed-IP-Address", ("100.64.0.1", "100.64.0.2")),
)
REPLY_OPS = (":=", "=", "+=", "-=", "==", "<=", ">=")
CHECK = (
    ("NAS-Port", ("9", "10", "11")),
    ("NAS-Port-Type", ("Ethernet", "Virtual")),
    ("NAS-Identifier", ("bng-1", "^bng", "other")),
    ("Calling-Station-Id", ("02:1A", "x")),
)
CHECK_OPS = ("==", "!=", "<", ">", "<=", ">=", "=~", "!~", "=*", "!*", ":=", "+=")


def a_check(rng: random.Random) -> tuple[str, str, str]:
    name, values = rng.choice(CHECK)
    return name, rng.choice(CHECK_OPS if name != "NAS-Port-Type" else ("==", "!=", "!*", "=*")), rng.choice(values)


def some_replies(rng: random.Random, most: int) -> list[tuple[str, str, str]]:
    rows = [
        (name, rng.choice(REPLY_OPS[:3] * 3 + REPLY_OPS), rng.choice(values))
        for name, values in rng.choices(REPLY, k=rng.randrange(most + 1))
    ]
    # Bounds are for numbers only
    rows = [(n, op if n == "Session-Timeout" or op not in ("<=", ">=") else ":=", v) for n, op, v in rows]
    if rng.random() < 0.5:
        rows.insert(rng.randrange(len(rows) + 1), ("Fall-Through", rng.choice((":=", "=")), rng.choice(("Yes", "No"))))
    return rows


def fill(database: RadiusDatabase, rng: random.Random, users: int) -> None:
    insert = "INSERT INTO {} ({}, attribute, op, value) VALUES (%s, %s, %s, %s)"
    check, reply, groups, group_check, group_reply = [], [], [], [], []
    for i in range(users):
        user = f"u{i}"
        check.append((user, "Cleartext-Password", ":=", "pw"))
        if rng.random() < 0.3:
            check.append((user, *a_check(rng)))
        reply += [(user, *r) for r in some_replies(rng, 3)]
        for g, priority in enumerate(rng.sample(range(-2, 8), rng.randrange(4))):
            group = f"{user}-g{g}"
            groups.append((user, group, priority))
            if rng.random() < 0.4:
                group_check.append((group, *a_check(rng)))
            group_reply += [(group, *r) for r in some_replies(rng, 4)]
    database.run_many(insert.format("radcheck", "username"), check)
    database.run_many(insert.format("radreply", "username"), reply)
    database.run_many("INSERT INTO radusergroup (username, groupname, priority) VALUES (%s, %s, %s)", groups)
    database.run_many(insert.format("radgroupcheck", "groupname"), group_check)
    database.run_many(insert.format("radgroupreply", "groupname"), group_reply)


def shown(reply: Packet | None) -> object:
    return reply and (reply.code, [(a.name, a.text()) for a in reply.attributes if a.name != "Message-Authenticator"])


async def answer(port: int, secret: bytes, user: str) -> object:
    with client(port, secret) as c:
        authenticator = radius_codec.random_octets()
        attributes = [
            attribute("User-Name", user),
            attribute("User-Password", radius_codec.hide_password(b"pw", secret, authenticator)),
            attribute("NAS-Port", 10),
            attribute("NAS-Port-Type", "Ethernet"),
            attribute("NAS-Identifier", "bng-1"),
        ]
        wire = radius_codec.encode_request(
            Code.ACCESS_REQUEST, 1, attributes, secret, authenticator=authenticator, message_authenticator=True
        )
        return shown(await c.exchange(wire))


async def test_answers_are_those_of_freeradius(postgresql, freeradius: Start):
    database: RadiusDatabase = postgresql.fresh()
    users = 300
    fill(database, random.Random(2865), users)
    real = freeradius(database)
    secret = real.secret.encode()
    async with open_database(dsn(database)) as tables, trio.open_nursery() as nursery:
        ours = RadiusServer(tables, ServerOptions(secret))
        await nursery.start(ours.run)
        different = {}
        for user in (f"u{i}" for i in range(users)):
            mine, theirs = await answer(ours.auth_port, secret, user), await answer(real.auth_port, secret, user)
            if mine != theirs:
                different[user] = (mine, theirs)
        nursery.cancel_scope.cancel()
    assert not different, "\n".join(f"{u}: {a} {b}" for u, (a, b) in different.items())
