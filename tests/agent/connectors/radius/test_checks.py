"""What a check of a RADIUS target finds, on real databases and a NAS: each fault is named, and what mends it does."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from agent.connectors.base import CannotEnforce, Check, CheckResult, Checks, UnreadableError
from agent.connectors.radius.connector import RadiusConnector
from agent.connectors.radius.schema import Database, Method, Nas, RadiusConfig
from agent.connectors.radius.session import RadiusSession
from agent.model import ABSENT, Access, Address, Service, ServiceState, Target
from agent.reasons import TargetReason
from agent.runtime.clock import SystemClock
from tests.agent.connectors.radius.fakes import SECRET, UdpNas, error_cause, reply
from tests.agent.connectors.radius.own_user import DOCUMENT, Server, as_superuser, marker_group_sql, own_user
from tests.agent.connectors.radius.users import amina
from tests.builders.expect import expect
from tests.servers import RadiusDatabase

pytestmark = [pytest.mark.servers, pytest.mark.slow]
OK, WARN, FAIL = CheckResult.OK, CheckResult.WARNING, CheckResult.FAILS
SUSPENDED = {"Mikrotik-Address-List": "suspended", "Mikrotik-Rate-Limit": "64k/64k"}
"""The replies of the marker group that the document shows."""
MAIN = Target("radius/main", "radius")


def not_found(data: bytes) -> list[bytes]:
    return [reply(data, ack=False, attributes=error_cause(503))]


@asynccontextmanager
async def session(
    database: RadiusDatabase, answer: Callable[[bytes], list[bytes]] = not_found, password: str = ""
) -> AsyncIterator[tuple[RadiusSession, RadiusConnector]]:
    with UdpNas(answer).run() as nas:
        config = RadiusConfig(
            (replace(database.target(secret="db"), timeout_s=20.0),),
            (Nas("bng-1", "10.0.0.1", "127.0.0.1", nas.port, "nas", profile="mikrotik"),),
            (Method("pppoe", "radius/main", SUSPENDED, {"Home 20M": "home20"}),),
        )
        secrets = {"db": (password or database.password).encode(), "nas": SECRET}
        made = RadiusConnector(config, secrets.__getitem__, lambda label, value: "0" * 64, clock=SystemClock())
        async with made.dial(MAIN) as opened:
            assert isinstance(opened, RadiusSession)
            assert isinstance(opened, Checks)
            yield opened, made


def ready(server: Server) -> tuple[RadiusDatabase, RadiusDatabase]:
    """Return a database with all that is needed, and as the agent's own user sees it."""
    full = server.fresh()
    amina(full)
    as_superuser(server, full, *marker_group_sql())
    full.add_group("home20", [("Mikrotik-Rate-Limit", ":=", "20M/20M")])
    least = own_user(server, full)
    as_superuser(server, full, *closing_sql(full, least))
    return full, least


def closing_sql(full: RadiusDatabase, least: RadiusDatabase) -> list[str]:
    """Return the statement that the document shows for closing rows of accounting, for another user and database."""
    (block,) = [b for b in re.findall(r"```sql\n(.*?)```", DOCUMENT.read_text("utf-8"), re.DOTALL) if "-- MariaDB" in b]
    word = "-- MariaDB" if full.kind is Database.MARIADB else "-- PostgreSQL"
    (line,) = [line.partition(";")[0] for line in block.splitlines() if word in line]
    return [line.replace("ispagent", least.user).replace("radius.", f"{full.dbname}.")]


async def test_the_privilege_to_close_rows_is_a_warning_of_its_own(server: Server) -> None:
    full, least = ready(server)
    maria = full.kind is Database.MARIADB
    table = f"{full.dbname}.radacct FROM {least.user}@'%'" if maria else f"radacct FROM {least.user}"
    columns = "" if maria else " (acctstoptime, acctterminatecause)"
    as_superuser(server, full, f"REVOKE UPDATE{columns} ON {table}")
    where = Address("radius/main/privileges/close")
    async with session(least) as (opened, made):
        (found,) = failing(list(await opened.check()))
        assert (found.result, found.what) == (CheckResult.WARNING, "closing stale sessions")
        assert "no privilege UPDATE on radacct" in found.detail
        assert (await opened.read([where]))[where].value is not ABSENT
        assert not isinstance(await plan(opened, made), CannotEnforce)
        as_superuser(server, full, found.mend)
        assert failing(list(await opened.check())) == []
        assert (await opened.read([where]))[where].value is ABSENT


def failing(checks: list[Check] | tuple[Check, ...]) -> list[Check]:
    return [check for check in checks if check.result is not OK]


async def test_all_is_well_and_nothing_was_written(server: Server) -> None:
    full, least = ready(server)
    before = full.run("SELECT * FROM radusergroup ORDER BY id")
    async with session(least) as (opened, _):
        checks = await opened.check()
    assert failing(list(checks)) == []
    assert [(c.about, c.what) for c in checks] == [
        ("radius/main", "login"),
        ("radius/main", "schema and privileges"),
        ("radius/main", "marker group suspended, method pppoe"),
        ("radius/main", "tariffs' groups"),
        ("radius/main", "clock"),
        ("nas/bng-1", "disconnect"),
    ]
    assert "answers 503" in checks[-1].detail
    assert full.run("SELECT * FROM radusergroup ORDER BY id") == before


async def test_every_missing_privilege_is_named_with_its_grant(server: Server) -> None:
    full, least = ready(server)
    maria = full.kind is Database.MARIADB
    whose = f"{least.user}@'%'" if maria else least.user
    where = f"{full.dbname}." if maria else ""
    as_superuser(
        server,
        full,
        f"REVOKE INSERT, DELETE ON {where}radusergroup FROM {whose}",
        f"REVOKE SELECT ON {where}radgroupreply FROM {whose}",
    )
    async with session(least) as (opened, made):
        found = failing(list(await opened.check()))
        assert {c.detail.partition(" has ")[2] for c in found} == {
            "no privilege INSERT on radusergroup",
            "no privilege DELETE on radusergroup",
            "no privilege SELECT on radgroupreply",
        }
        seen = await opened.read([Address("radius/main/privileges/write")])
        assert seen[Address("radius/main/privileges/write")].value is not ABSENT
        as_superuser(server, full, *(c.mend for c in found if "radgroupreply" in c.mend))
        refused = expect(CannotEnforce, await plan(opened, made))
        assert refused.reason == "no-privilege"
        assert "GRANT INSERT ON" in refused.detail
        as_superuser(server, full, *(c.mend for c in found))
        assert failing(list(await opened.check())) == []
        assert not isinstance(await plan(opened, made), CannotEnforce)


async def plan(opened: RadiusSession, made: RadiusConnector) -> object:
    """Plan a suspension as a preview does."""
    method = made.access_methods["pppoe"]
    service = Service("C-1/home", "C-1", "Amina", "home", "amina.h", "pppoe", "Home 20M")
    seen: dict[Address, object] = {}
    while more := method.reads(service, seen):  # type: ignore[arg-type]  # as read
        seen.update(await opened.read(more))
    return method.plan(ServiceState(Access.SUSPENDED, "Home 20M"), service, seen)  # type: ignore[arg-type]  # as read


async def test_groups_columns_and_sessions_of_unknown_nas(server: Server) -> None:
    full, least = ready(server)
    full.run("DELETE FROM radgroupreply WHERE attribute = 'Mikrotik-Address-List'")
    full.run("DELETE FROM radgroupreply WHERE groupname = 'home20'")
    columns = "acctsessionid, acctuniqueid, username, nasipaddress, acctstarttime"
    full.run(f"INSERT INTO radacct ({columns}) VALUES ('s', 'u', 'amina.h', '10.9.9.9', now())")
    async with session(least) as (opened, _):
        found = failing(list(await opened.check()))
        assert [(c.what, c.result) for c in found] == [
            ("marker group suspended, method pppoe", FAIL),
            ("tariffs' groups", WARN),
            ("sessions", WARN),
        ]
        assert "1 open in accounting at 10.9.9.9" in found[2].detail
        full.run(found[0].mend)
        full.run("UPDATE radgroupreply SET value = 'other' WHERE attribute = 'Mikrotik-Address-List'")
        (wrong, *_) = failing(list(await opened.check()))
        assert wrong.detail == "Mikrotik-Address-List: expected suspended, got other"
        full.run(wrong.mend)
        assert [c.what for c in failing(list(await opened.check()))] == ["tariffs' groups", "sessions"]
        full.run("UPDATE radgroupreply SET attribute = 'Mikrotik-RateLimit' WHERE attribute = 'Mikrotik-Rate-Limit'")
        (missing, misspelled, *_) = failing(list(await opened.check()))
        assert missing.detail == "Mikrotik-Rate-Limit is missing"
        assert misspelled.what == "group suspended"
        assert misspelled.detail.startswith("radgroupreply: expected Mikrotik-Rate-Limit, got Mikrotik-RateLimit: Free")
        full.run(misspelled.mend)
        assert [c.what for c in failing(list(await opened.check()))] == ["tariffs' groups", "sessions"]
        as_superuser(server, full, "ALTER TABLE radacct DROP COLUMN delegatedipv6prefix")
        assert any("the column delegatedipv6prefix is missing" in c.detail for c in await opened.check())


async def test_a_secret_is_tried_by_what_needs_it(server: Server) -> None:
    _, least = ready(server)
    async with session(least, lambda data: [reply(data, ack=False, secret=b"theirs")], "not it") as (opened, _):
        (login,) = await opened.check("db")
        assert login.detail.startswith(f"wrong password for user {least.user}")
        assert login.mend == "ispagent secret set db"
        (nas,) = await opened.check("nas")
        assert nas.result is FAIL
        assert "its secret is another one" in nas.detail
        assert "not made with our secret" in nas.detail
        assert await opened.check("other") == []


async def test_a_nas_that_acknowledges_nobody(server: Server) -> None:
    _, least = ready(server)
    async with session(least, lambda data: [reply(data, ack=True)]) as (opened, _):
        (nas,) = failing(list(await opened.check()))
    assert (nas.result, nas.about) == (WARN, "nas/bng-1")


async def test_a_nas_without_its_secret_is_mended_by_setting_it(sqlite_radius: RadiusDatabase) -> None:
    amina(sqlite_radius)
    config = RadiusConfig(
        (sqlite_radius.target(secret="db"),), (Nas("bng-1", "10.0.0.1", "127.0.0.1", 1, "nas", profile="mikrotik"),), ()
    )

    def secrets(name: str) -> bytes:
        if name == "nas":
            raise UnreadableError(f"secret {name} is not set", reason=TargetReason.MISSING_SECRET)
        return b"x"

    async with RadiusConnector(config, secrets, lambda label, value: "0" * 64, clock=SystemClock()).dial(
        MAIN
    ) as opened:
        (found,) = [c for c in await opened.check() if c.about == "nas/bng-1"]
    assert (found.result, found.detail, found.mend) == (FAIL, "secret nas is not set", "ispagent secret set nas")
