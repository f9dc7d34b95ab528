"""The agent's own SQL code on a simulated server: each fault gives the meaning that the connector promises."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock

from agent.connectors.base import LostError, NotSentError, UnreadableError
from agent.connectors.radius import rowset
from agent.connectors.radius.connector import RadiusConnector
from agent.connectors.radius.rowset import to_value
from agent.connectors.radius.schema import Database, RadiusConfig, SqlTarget
from agent.connectors.radius.sql import Drift, SqlAuthority
from agent.model import Value
from agent.runtime.clock import SystemClock
from lab.database import Cursor
from tests.sim.sql.database import simulated_database
from tests.sim.sql.lab import SimulatedLabDatabase
from tests.sim.sql.plan import FaultPlan, Mishap, SqlMishap, drawn
from tests.sim.sql.pool import pools
from tests.sim.sql.server import SqlServer

KINDS = pytest.mark.parametrize("kind", [Database.POSTGRESQL, Database.MARIADB], ids=lambda kind: kind.value)
TIMEOUT_S = 5.0
GROUPS = "SELECT groupname FROM radusergroup WHERE username = 'amina' ORDER BY id"
THEIRS = (("UPDATE radusergroup SET groupname = 'home50' WHERE username = 'amina'", ()),)


def commit(label: str, value: str) -> str:
    return f"{label} {value}"


async def read(sql: SqlAuthority) -> Value:
    return to_value((await sql.read_users(["amina"]))["amina"].rows, commit)


async def suspend(sql: SqlAuthority, before: Value) -> Drift | None:
    after = {**rowset.fields_of(before), "group:suspended": "-1"}
    return await sql.write_user("amina", before, rowset.changes(before, after), lambda rows: to_value(rows, commit))


@asynccontextmanager
async def world(kind: Database, window: int = 4) -> AsyncIterator[tuple[SqlServer, SqlAuthority, Value]]:
    server = SqlServer(kind)
    simulated_database(kind, server).add_user("amina", "wonder", {"home20": 1})
    sql = SqlAuthority(SqlTarget("main", kind, timeout_s=TIMEOUT_S), lambda: b"", window, pools=pools(server))
    try:
        yield server, sql, await read(sql)
    finally:
        await sql.aclose()


def groups(server: SqlServer) -> list[str]:
    return [name for (name,) in server.look(GROUPS)]


@KINDS
@pytest.mark.parametrize(("what", "done"), [
    (Mishap.CUT_BEFORE, False), (Mishap.CUT_AFTER, True), (Mishap.HANG_BEFORE, False), (Mishap.HANG_AFTER, True),
    (Mishap.RESTART, True), (Mishap.FAILOVER, True),
])  # fmt: skip
async def test_a_commit_answer_that_never_comes_is_lost(
    kind: Database, what: Mishap, done: bool, autojump_clock: MockClock
) -> None:
    async with world(kind) as (server, sql, before):
        server.plan.add(SqlMishap(what))
        with pytest.raises(LostError):
            await suspend(sql, before)
        assert groups(server) == (["home20", "suspended"] if done else ["home20"])
        assert [fault.what for fault in server.plan.struck] == [what]


@KINDS
async def test_a_failover_forgets_commits_and_reuses_their_row_ids(kind: Database, autojump_clock: MockClock) -> None:
    async with world(kind) as (server, sql, before):
        await suspend(sql, before)
        (_, (ours,)) = server.look("SELECT id FROM radusergroup ORDER BY id")
        server.plan.add(SqlMishap(Mishap.FAILOVER, "SELECT", forget=1))
        assert await read(sql) == before, "the agent reads again on a new connection, and finds the older state"
        await server.write([("INSERT INTO radusergroup (username, groupname, priority) VALUES ('bob', 'vip', 1)", ())])
        assert server.look("SELECT username FROM radusergroup WHERE id = %s", ours) == [("bob",)]


@KINDS
@pytest.mark.parametrize("verb", ["BEGIN", "SELECT", "INSERT"])
@pytest.mark.parametrize("what", [Mishap.CUT_BEFORE, Mishap.CUT_AFTER, Mishap.HANG_BEFORE, Mishap.HANG_AFTER])
async def test_what_breaks_before_commit_was_not_sent(
    kind: Database, what: Mishap, verb: str, autojump_clock: MockClock
) -> None:
    async with world(kind) as (server, sql, before):
        for nth in (1, 2):  # a kept connection that breaks is no news: the next one breaks too
            server.plan.add(SqlMishap(what, verb, nth))
        with pytest.raises(NotSentError):
            await suspend(sql, before)
        assert groups(server) == ["home20"]


@KINDS
@pytest.mark.parametrize("verb", ["SELECT", "INSERT", "COMMIT"])
async def test_a_transaction_that_loses_to_others_is_run_again(
    kind: Database, verb: str, autojump_clock: MockClock
) -> None:
    async with world(kind) as (server, sql, before):
        server.plan.add(SqlMishap(Mishap.CONFLICT, verb))
        assert await suspend(sql, before) is None
        assert groups(server) == ["home20", "suspended"]


@KINDS
@pytest.mark.parametrize(("what", "reason"), [(Mishap.TIMEOUT, "timeout"), (Mishap.READ_ONLY, "refused")])
async def test_a_server_that_will_not(kind: Database, what: Mishap, reason: str, autojump_clock: MockClock) -> None:
    async with world(kind) as (server, sql, before):
        for verb in ("BEGIN", "INSERT"):
            server.plan.add(SqlMishap(what, verb, for_s=60))
            with pytest.raises(NotSentError) as caught:
                await suspend(sql, before)
            assert caught.value.reason == reason
            assert what is Mishap.TIMEOUT or "is read-only" in str(caught.value)
            await trio.sleep(60)
        assert await suspend(sql, before) is None


@KINDS
async def test_another_writer_between_our_read_and_our_write_is_drift(
    kind: Database, autojump_clock: MockClock
) -> None:
    async with world(kind) as (server, sql, before):
        server.plan.add(SqlMishap(Mishap.OTHER, "BEGIN", statements=THEIRS))
        assert isinstance(await suspend(sql, before), Drift)
        assert groups(server) == ["home50"]


@KINDS
async def test_a_login_that_is_refused_and_a_server_that_is_away(kind: Database, autojump_clock: MockClock) -> None:
    async with world(kind) as (server, sql, before):
        server.restart(30)
        with pytest.raises(UnreadableError) as caught:
            await read(sql)
        assert caught.value.reason == "unreachable"
        await trio.sleep(30)
        server.restart()
        server.refuse(30)
        with pytest.raises(UnreadableError) as caught:
            await read(sql)
        assert caught.value.reason == "refused"
        await trio.sleep(30)
        assert await read(sql) == before


@KINDS
async def test_a_dead_client_keeps_rows_until_its_transaction_ends(kind: Database, autojump_clock: MockClock) -> None:
    async with world(kind) as (server, sql, before):
        await suspend(sql, before)
        after = await read(sql)
        server.plan.add(SqlMishap(Mishap.HANG_AFTER, "DELETE"))
        with pytest.raises(NotSentError):
            await sql.write_user("amina", after, rowset.changes(after, before), lambda rows: to_value(rows, commit))
        hung_at = trio.current_time()
        await server.write([("DELETE FROM radusergroup WHERE groupname = 'suspended'", ())])
        assert trio.current_time() - hung_at <= 4 * TIMEOUT_S
        assert groups(server) == ["home20"]


@KINDS
async def test_the_labs_jobs_wait_for_rows_that_the_agent_holds(kind: Database, autojump_clock: MockClock) -> None:
    server = SqlServer(kind)
    simulated_database(kind, server).add_user("amina", "wonder", {"home20": 1})
    lab = SimulatedLabDatabase(server)
    holder = server.client()
    await holder.ask("BEGIN")
    await holder.ask("UPDATE radusergroup SET priority = 7 WHERE username = 'amina'")

    def job(cursor: Cursor) -> int:
        return cursor.execute("UPDATE radusergroup SET priority = priority + 1 WHERE username = ?", ("amina",))

    async with trio.open_nursery() as nursery:

        async def release() -> None:
            await trio.sleep(3)
            await holder.ask("COMMIT")

        nursery.start_soon(release)
        assert await lab.write(job) == 1
    assert server.look("SELECT priority FROM radusergroup") == [(8,)]
    assert await lab.fetch("SELECT username FROM radusergroup WHERE priority = ?", (8,)) == [("amina",)]


@KINDS
async def test_the_connector_takes_the_pool_that_it_is_given(kind: Database, autojump_clock: MockClock) -> None:
    async with world(kind) as (server, _, _):
        config = RadiusConfig((SqlTarget("main", kind),), (), ())
        connector = RadiusConnector(config, {}.__getitem__, commit, clock=SystemClock(), pools=pools(server))
        assert await connector.password_of("radius/main", "amina") == "wonder"


async def history(kind: Database, seed: int) -> list[str]:
    """Play two agents and another writer under drawn faults; return what each was told, and the rows at the end."""
    rng = random.Random(seed)
    server = SqlServer(kind, plan=FaultPlan(), whole=rng.random() < 0.5, latency_s=lambda: rng.uniform(0, 0.02))
    database = simulated_database(kind, server)
    for login in ("amina", "bob"):
        database.add_user(login, "wonder", {"home20": 1})
    for _ in range(3):
        server.plan.add(drawn(rng, [THEIRS]))
    log: list[str] = []

    async def one(name: str) -> None:
        target = SqlTarget("main", kind, timeout_s=TIMEOUT_S)
        sql = SqlAuthority(target, lambda: b"", 2, pools=pools(server))
        for n in range(4):
            await trio.sleep(n)
            try:
                log.append(f"{trio.current_time():.3f} {name} {await suspend(sql, await read(sql))}")
            except (NotSentError, LostError, UnreadableError) as err:
                log.append(f"{trio.current_time():.3f} {name} {type(err).__name__} {err.reason}")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(one, "A")
        await trio.sleep(0.001)
        nursery.start_soon(one, "B")
    rows = server.look("SELECT id, username, groupname, priority FROM radusergroup ORDER BY id")
    suspended = [row for row in rows if row[1:3] == ("amina", "suspended")]
    assert len(suspended) <= 1, "a conditional write adds its row once"
    return [*log, str(rows), str(server.plan.struck)]


@KINDS
async def test_the_agents_writes_stay_conditional_under_any_faults(kind: Database, autojump_clock: MockClock) -> None:
    for seed in range(60):
        assert await history(kind, seed)
