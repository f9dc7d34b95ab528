"""The devices that most tests of the agent have, and an agent that is set up on them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.builders.agent import Agent, agent_in
from tests.builders.world import World


@pytest.fixture
def world() -> World:
    """Return devices with twelve logins, u0 to u11, all of them online."""
    return World.of(*(f"u{n}" for n in range(12)))


@pytest.fixture
async def agent(tmp_path: Path, world: World) -> AsyncIterator[Agent]:
    """Return an agent with its people, its trust document and the list of subscribers."""
    async with agent_in(tmp_path, world) as agent:
        yield agent
