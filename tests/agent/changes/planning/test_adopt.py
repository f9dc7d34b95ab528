"""Adopting: an approver reads what the network says and what the record will say; nothing is sent."""

from __future__ import annotations

from agent.connectors.spec import AccessMap
from agent.model import Absent
from tests.builders.agent import Agent, done, item_of, refused, states, suspended_for
from tests.builders.world import World
from trust.policy import Action

MAPPED = (AccessMap("fake", "fake/d", frozenset({"20M", "30M"})),)


def marked(world: World, login: str, **fields: str) -> None:
    """Change a login's row, as other people do."""
    value = world.values[world.user(login)]
    assert not isinstance(value, Absent)
    world.values[world.user(login)] = {**value, **fields}


async def test_what_the_network_says_is_recorded_and_taken_back(agent: Agent, world: World) -> None:
    marked(world, "u0", suspended="yes")
    asked = await agent.ask("adopt", "C-1", reason="abuse")
    shown = item_of(asked)["display"]
    assert shown["now"] == "fake/d reads: suspended at the next login, tariff 20M"
    assert shown["after"] == "the record says: suspended for abuse; nothing is sent"
    await agent.approve(asked, "joseph")
    await agent.end(asked)
    assert (await states(agent, asked), await suspended_for(agent, "C-1")) == (["applied"], ["abuse"])
    back = await agent.ask("revert", change=asked["id"])
    assert item_of(back)["display"]["after"] == "the record says: no longer suspended for abuse; nothing is sent"
    await agent.approve(back, "joseph")
    await agent.end(back)
    assert await suspended_for(agent, "C-1") == []
    assert world.writes == []


async def test_what_another_change_recorded_since_is_not_taken_back(agent: Agent, world: World) -> None:
    marked(world, "u0", suspended="yes")
    adopted = await done(agent, "adopt", "C-1", reason="abuse")
    await done(agent, "restore", "C-1", reason="abuse")
    again = await done(agent, "suspend", "C-1", reason="abuse")
    why = str(await refused(agent.ask("revert", change=adopted["id"])))
    assert f"change {again['id']} did the same to it since" in why
    assert await suspended_for(agent, "C-1") == ["abuse"]


async def test_another_tariff_is_told_with_the_one_before(agent: Agent, world: World) -> None:
    adopter = agent.daemon.job.intake.planners[Action.ADOPT]
    object.__setattr__(adopter, "access", MAPPED)  # the connector of these tests declares none
    marked(world, "u0", plan="30M")
    change = await done(agent, "adopt", "C-1")
    shown = item_of(change)["display"]
    assert shown["now"] == "fake/d reads: full service at the next login, tariff 30M"
    assert shown["after"] == "the record says: tariff 30M instead of 20M; nothing is sent"
    (service,) = (await agent.call("GET", "/v1/subscribers/C-1"))["services"]
    assert (service["tariff"], world.writes) == ("30M", [])
