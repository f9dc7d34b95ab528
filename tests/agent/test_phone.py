"""What the person on the phone types: finding somebody, and what the agent then says of them."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.agent.cli_rig import Terminal
from tests.agent.connectors.fake import World
from tests.agent.test_api import agent_in, chain_time

DIRTY = """subscriber,name,service,login,method,tariff,protected,feeds,balance,due,paid_at,as_of,phone,mac
C-1,Амина Хасан,home,u0,fake,20M,,0,34.00,2025-10-03,,{now},+254 712 345 678,4C-5E-0C-AA-BB-01
C-2,João Silva,home,u1,fake,20M,,0,12.50,2025-10-03,,{now},0712 999 000,4c5e.0caa.bb02
C-2,João Silva,shop,u2,fake,20M,,0,,,,,,
C-3,Clinic,home,u3,fake,20M,hospital,0,99.00,2025-10-03,,{now},,
T-7,imported wrongly,home,u0,fake,20M,,0,,,,,,
"""


@pytest.fixture
def world() -> World:
    world = World()
    for n in range(5):
        world.add(f"u{n}")
    return world


@asynccontextmanager
async def desk(folder: Path, world: World, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Terminal]:
    """A terminal of an agent that has the dirty list beside the clean one."""
    async with agent_in(folder, world) as agent:
        csv = DIRTY.format(now=chain_time().decode()).encode()
        body = {"csv": base64.b64encode(csv).decode(), "dry_run": False}
        await agent.call("POST", "/v1/subscribers/import", body)
        yield Terminal(agent, monkeypatch)


async def test_find(tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async with desk(tmp_path, world, monkeypatch) as at:
        said = await at.type("subscriber", "find", "ХАСАН")
        assert said.code == 0
        assert said.lines == [
            "C-1/home             Амина Хасан                  20M            u0",
            "  phone +254 712 345 678 · mac 4C-5E-0C-AA-BB-01",
        ]
        assert "C-2/home" in (await at.type("subscriber", "find", "4c:5e:0c:aa:bb:02")).out
        assert "C-2/home" in (await at.type("subscriber", "find", "0712", "999000")).out
        shared = await at.type("subscriber", "find", "u0")
        assert [line.split()[0] for line in shared.lines if line[0] != " "] == ["C-1/home", "T-7/home"]
        near = await at.type("subscriber", "find", "Silfa")
        assert near.lines[0] == "nothing is called Silfa; near it:"
        some = await at.type("subscriber", "find", "home", "--limit", "2")
        assert some.lines[-1] == "… and 3 more: add a word, or --limit 5"
        nobody = await at.type("subscriber", "find", "Zzyzx")
        assert (nobody.code, nobody.err) == (
            1,
            "nothing is known under Zzyzx: a shorter part of the name may fit\n",
        )
        found = json.loads((await at.type("subscriber", "find", "хасан", "--json")).out)
        assert (found["total"], found["near"], found["services"][0]["ref"]) == (1, False, "C-1/home")
        assert all(len(line) <= 100 for line in [*said.lines, *some.lines])
