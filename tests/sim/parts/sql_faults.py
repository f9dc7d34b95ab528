"""Faults of the SQL server of RADIUS: at statements of the agent's, and of the server as a whole."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import trio

from agent.connectors.radius.sql_connection import Query
from lab.population import MARKER_GROUP, MARKER_PRIORITY, TARIFFS
from tests.sim.sql.plan import Mishap, SqlMishap
from tests.sim.sql.server import SqlServer

SqlAct = Callable[[SqlServer, list[str], random.Random], Awaitable[None]]
NEVER_S: Final = 120.0
"""How long a fault waits for the statement at which it strikes."""
READS_AND_WRITES: Final = ("BEGIN", "SELECT", "INSERT", "UPDATE", "DELETE", "COMMIT")


@dataclass(frozen=True, slots=True)
class SqlFault:
    """A fault of the server; `act` is given the server, all logins, and dice. `times`: as in `WorldFault`."""

    name: str
    act: SqlAct
    times: int = 1


def _at_statement(*what: Mishap, verbs: tuple[str, ...] = READS_AND_WRITES) -> SqlAct:
    """Return a fault that strikes at one of the agent's next statements."""

    async def act(server: SqlServer, logins: list[str], dice: random.Random) -> None:
        await _strike(server, SqlMishap(dice.choice(what), dice.choice(verbs), dice.randint(1, 8)))

    return act


async def _strike(server: SqlServer, fault: SqlMishap) -> None:
    """Let a fault strike, and return when it is over; one whose statement never comes is taken back."""
    server.plan.add(fault)
    until = trio.current_time() + NEVER_S
    while trio.current_time() < until and not server.plan.has_struck(fault):  # noqa: ASYNC110  the plan's, no event
        await trio.sleep(1)
    server.plan.drop(fault)


async def _read_only(server: SqlServer, logins: list[str], dice: random.Random) -> None:
    for_s = dice.choice((0.5, 10.0, dice.uniform(60, 200)))
    server.be_read_only(for_s)
    await trio.sleep(for_s)


async def _restart(server: SqlServer, logins: list[str], dice: random.Random) -> None:
    away_s = dice.choice((0.0, 3.0, dice.uniform(0, 5)))
    server.restart(away_s)
    await trio.sleep(away_s)


async def _away(server: SqlServer, logins: list[str], dice: random.Random) -> None:
    away_s = dice.uniform(60, 400)
    server.restart(away_s)
    await trio.sleep(away_s)


async def failover(server: SqlServer, logins: list[str], dice: random.Random) -> None:
    """Fail over just after a commit of the agent's, or at any time; the last commits are lost, whoever did them."""
    away_s, forget = dice.choice((0.0, 3.0, 20.0)), dice.randint(1, 4)
    if dice.random() < 0.6:
        await _strike(server, SqlMishap(Mishap.FAILOVER, "COMMIT", dice.randint(1, 6), for_s=away_s, forget=forget))
    else:
        server.restart(away_s, forget=forget)
    await trio.sleep(away_s)


async def _refused(server: SqlServer, logins: list[str], dice: random.Random) -> None:
    """Let somebody change the password, and change it back."""
    for_s = dice.choice((2.0, dice.uniform(10, 120)))
    server.restart()
    server.refuse(for_s)
    await trio.sleep(for_s)


async def _other_writer(server: SqlServer, logins: list[str], dice: random.Random) -> None:
    """Let somebody write between the agent's reading and its writing, mostly just before its transaction begins."""
    login, tariff = dice.choice(logins), dice.choice(TARIFFS)
    groups = [t.group for t in TARIFFS]
    marks = ", ".join(["%s"] * len(groups))
    move: Query = (
        f"UPDATE radusergroup SET groupname = %s WHERE username = %s AND groupname IN ({marks})",
        (tariff.group, login, *groups),
    )
    unmark: Query = ("DELETE FROM radusergroup WHERE username = %s AND groupname = %s", (login, MARKER_GROUP))
    mark: Query = (
        "INSERT INTO radusergroup (username, groupname, priority) VALUES (%s, %s, %s)",
        (login, MARKER_GROUP, MARKER_PRIORITY),
    )
    statements = dice.choice(((move,), (move,), (unmark,), (unmark, mark), (unmark, move)))
    await _strike(server, SqlMishap(Mishap.OTHER, "BEGIN", dice.randint(1, 4), statements=statements))


FAULTS: Final = (
    SqlFault("sql-commit-cut", _at_statement(Mishap.CUT_BEFORE, Mishap.CUT_AFTER, verbs=("COMMIT",)), 4),
    SqlFault("sql-cut", _at_statement(Mishap.CUT_BEFORE, Mishap.CUT_AFTER), 4),
    SqlFault("sql-hangs", _at_statement(Mishap.HANG_BEFORE, Mishap.HANG_AFTER, verbs=(*READS_AND_WRITES, "COMMIT")), 3),
    SqlFault("sql-conflict", _at_statement(Mishap.CONFLICT), 6),
    SqlFault("sql-fails", _at_statement(Mishap.TIMEOUT, Mishap.FULL), 4),
    SqlFault("sql-read-only", _read_only),
    SqlFault("sql-restart", _restart, 3),
    SqlFault("sql-away", _away),
    SqlFault("sql-refused", _refused),
    SqlFault("sql-other-writer", _other_writer, 10),
)
