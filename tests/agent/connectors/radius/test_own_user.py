"""The user that the documents give the agent can do everything that it needs, and no more."""

from __future__ import annotations

from typing import Any

import pytest

from agent.connectors.radius.sql import SqlAuthority
from agent.model import ABSENT
from tests.agent.connectors.radius.own_user import Server, own_user
from tests.agent.connectors.radius.users import amina, read, with_marker, write
from tests.servers import RadiusDatabase

pytestmark = [pytest.mark.servers, pytest.mark.slow]


async def test_it_suspends_and_restores_and_may_write_nothing_else(server: Server) -> None:
    full = server.fresh()
    amina(full)
    full.add_group("suspended", [("Mikrotik-Address-List", ":=", "suspended")])
    least = own_user(server, full)
    sql = SqlAuthority(least.target(secret="db"), lambda: least.password.encode(), 2)
    try:
        before = await read(sql)
        assert before is not ABSENT
        assert await write(sql, before, with_marker(before)) is None
        assert await read(sql) == with_marker(before)
        assert await write(sql, with_marker(before), before) is None
        assert (await sql.read_groups(["suspended"]))["suspended"]
        assert (await sql.read_sessions(["amina.h"]))["amina.h"] == ()
        assert await sql.read_online() == {}
    finally:
        await sql.aclose()
    for table in ("radcheck", "radgroupreply", "radacct"):
        with pytest.raises(Exception, match=r"denied|command denied"):
            run(least, f"DELETE FROM {table}")


def run(database: RadiusDatabase, sql: str) -> Any:
    return database.run(sql)
