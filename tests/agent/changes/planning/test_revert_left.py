"""A change that could not take back an item by itself: a revert that people ask for does."""

from __future__ import annotations

from tests.builders.agent import Agent, done, states, suspended_for
from tests.builders.world import World


async def test_what_a_failed_revert_left_is_taken_back(agent: Agent, world: World) -> None:
    world.faults.update(u0=["", "", "refused"], u1=["refused"])
    first = await done(agent, "suspend", "C-1", "C-2/home", on_failure="revert")
    assert await states(agent, first) == ["needs-a-person", "not-applied"]
    assert ("suspended" in world.values[world.user("u0")], await suspended_for(agent, "C-1")) == (True, ["debt"])
    back = await done(agent, "revert", change=first["id"], on_failure="continue")
    assert await states(agent, back) == ["applied"]
    assert ("suspended" in world.values[world.user("u0")], await suspended_for(agent, "C-1")) == (False, [])
