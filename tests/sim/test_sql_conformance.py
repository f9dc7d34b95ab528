"""The simulated SQL server answers as PostgreSQL and MariaDB do: one table of histories, played on both."""

from __future__ import annotations

import pytest

from agent.connectors.radius.schema import Database
from tests.servers import Cluster, RadiusDatabase
from tests.sim.sql.cases import BOTH, CASES, SqlCase
from tests.sim.sql.playbook import play, real, simulated

PLAYED = [
    pytest.param(kind, case, id=f"{kind.value}: {case.name}") for case in CASES for kind in BOTH if kind in case.kinds
]


@pytest.mark.parametrize(("kind", "case"), PLAYED)
async def test_the_simulated_server(kind: Database, case: SqlCase, autojump_clock: object) -> None:
    async with simulated(kind, whole=case.whole, timeout_s=case.timeout_s) as player:
        assert await play(player, case.lines(kind)) == case.lines(kind)


@pytest.fixture(scope="module")
def databases(request: pytest.FixtureRequest) -> dict[Database, RadiusDatabase]:
    return {}


@pytest.fixture
def database(
    kind: Database, databases: dict[Database, RadiusDatabase], request: pytest.FixtureRequest
) -> RadiusDatabase:
    """One database for all histories: each fills its tables anew."""
    if kind not in databases:
        cluster: Cluster = request.getfixturevalue(kind.value)
        databases[kind] = cluster.fresh()
    return databases[kind]


@pytest.mark.servers
@pytest.mark.parametrize(("kind", "case"), PLAYED)
async def test_the_real_server(kind: Database, case: SqlCase, database: RadiusDatabase) -> None:
    async with real(database, whole=case.whole, timeout_s=case.timeout_s) as player:
        assert await play(player, case.lines(kind)) == case.lines(kind)
