"""The SQL server of RADIUS: a PostgreSQL or a MariaDB in memory. Where a world has none, RADIUS is on an SQLite file.

Agent, RADIUS server and staff are its clients. Their statements take time, and others' come in between.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import trio

from agent.connectors.radius.schema import Database
from agent.connectors.radius.spec import SPEC, make
from agent.connectors.spec import ConnectorSpec
from lab.isp import LabOptions
from tests.sim.part import Act, Part, WorldFault
from tests.sim.parts import sql_faults
from tests.sim.parts.radius_rules import STANDS, UNSENT
from tests.sim.sql.lab import SimulatedLabDatabase
from tests.sim.sql.pool import pools
from tests.sim.sql.server import SqlServer
from tests.sim.world import World

LATENCY_S = (0.0002, 0.003)
"""How long a statement is under way, each way."""
LOOK_S = 0.5


def _at_server(act: sql_faults.SqlAct) -> Act:
    async def at_server(world: World, dice: random.Random) -> None:
        await act(world.part(SqlPart).server, list(world.logins.values()), dice)

    return at_server


async def _until_a_batch_stands(world: World, within_s: float) -> None:
    """Return when a batch has an item that is set and others that are not over, or after some time."""
    with trio.move_on_after(within_s):
        while True:
            states: dict[str, dict[int, str]] = {}
            for move in world.witness.seen.moves:
                states.setdefault(move.plan, {})[move.item] = move.state
            if any({*items.values()} & {*STANDS} and {*items.values()} & {*UNSENT} for items in states.values()):
                return
            await trio.sleep(LOOK_S)


async def _failover(world: World, dice: random.Random) -> None:
    """Fail over at any time, or in the middle of a batch, so that rows may be forgotten that it has read back."""
    if dice.random() < 0.5:
        await _until_a_batch_stands(world, within_s=300)
        await trio.sleep(dice.uniform(0, 5))
    await _at_server(sql_faults.failover)(world, dice)


class SqlPart(Part):
    """The server; a seed says which, and whether its tables are so small that they are read from end to end."""

    name = "sql"
    percent = 85
    faults: ClassVar[tuple[WorldFault, ...]] = (
        *(WorldFault(one.name, _at_server(one.act), one.times, "sql") for one in sql_faults.FAULTS),
        WorldFault("sql-failover", _failover, 2, "sql"),
    )
    server: SqlServer
    slow_s: float
    """How much longer a statement may take now, each way."""
    rows: SimulatedLabDatabase
    """For whoever looks."""

    def database(self, options: LabOptions) -> SimulatedLabDatabase:
        """Start the server."""
        dice = random.Random(f"sql {options.seed}")
        kind, whole = dice.choice((Database.POSTGRESQL, Database.MARIADB)), dice.random() < 0.5
        self.slow_s = 0.0
        self._dice = dice
        self.server = SqlServer(kind, whole=whole, latency_s=self._latency_s, now_s=options.clock)
        self.rows = SimulatedLabDatabase(self.server)
        return self.rows

    def _latency_s(self) -> float:
        return self._dice.uniform(*LATENCY_S) + self._dice.uniform(0, self.slow_s)

    def specs(self, specs: Sequence[ConnectorSpec[Any]]) -> Sequence[ConnectorSpec[Any]]:
        """Let the agent's connections go to the server."""
        ours = replace(SPEC, make=functools.partial(make, pools=pools(self.server)))
        return [ours if one is SPEC else one for one in specs]

    async def settle(self, world: World) -> None:
        """Let nothing more happen to it."""
        self.server.plan.clear()
