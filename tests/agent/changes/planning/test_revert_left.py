"""A revert that people ask for: what a change could not take back by itself, and nothing that is another change's."""

from __future__ import annotations

from tests.builders.agent import Agent, done, refused, states, suspended_for
from tests.builders.world import World


async def test_what_a_failed_revert_left_is_taken_back(agent: Agent, world: World) -> None:
    world.faults.update(u0=["", "", "refused"], u1=["refused"])
    first = await done(agent, "suspend", "C-1", "C-2/home", on_failure="revert")
    assert await states(agent, first) == ["needs-a-person", "not-applied"]
    assert ("suspended" in world.values[world.user("u0")], await suspended_for(agent, "C-1")) == (True, ["debt"])
    back = await done(agent, "revert", change=first["id"], on_failure="continue")
    assert await states(agent, back) == ["applied"]
    assert ("suspended" in world.values[world.user("u0")], await suspended_for(agent, "C-1")) == (False, [])


async def test_what_another_change_did_again_is_not_taken_back(agent: Agent) -> None:
    """Lifted and suspended again since: its own revert would undo what somebody else asked for."""
    first = await done(agent, "suspend", "C-1", reason="abuse")
    await done(agent, "restore", "C-1", reason="abuse")
    again = await done(agent, "suspend", "C-1", reason="abuse")
    why = str(await refused(agent.ask("revert", change=first["id"], on_failure="continue")))
    assert f"change {again['id']} did the same to it since" in why
    assert await suspended_for(agent, "C-1") == ["abuse"]
    await done(agent, "revert", change=again["id"], on_failure="continue")
    assert await suspended_for(agent, "C-1") == []


async def test_a_tariff_that_another_change_set_again_stays(agent: Agent, world: World) -> None:
    first = await done(agent, "set-plan", "C-1", tariff="50M")
    for tariff in ("20M", "50M"):
        await done(agent, "set-plan", "C-1", tariff=tariff)
    assert "did the same to it since" in str(await refused(agent.ask("revert", change=first["id"])))
    assert world.values[world.user("u0")] == {"plan": "50M"}


async def test_what_was_done_beside_it_since_does_not_matter(agent: Agent, world: World) -> None:
    first = await done(agent, "set-plan", "C-1", tariff="50M")
    await done(agent, "suspend", "C-1", reason="abuse")
    await done(agent, "restore", "C-1", reason="abuse")
    await done(agent, "revert", change=first["id"], on_failure="continue")
    assert world.values[world.user("u0")] == {"plan": "20M"}


async def test_what_is_no_longer_judged_did_nothing_since(agent: Agent, world: World) -> None:
    del world.sessions["u0"]
    first = await done(agent, "suspend", "C-1", reason="abuse")
    restored = await done(agent, "restore", "C-1", reason="abuse")
    await agent.daemon.judging.round()
    shown = await agent.call("GET", f"/v1/changes/{first['id']}")
    assert shown["items"][0]["reason"] == "overtaken"
    await done(agent, "revert", change=restored["id"], on_failure="continue")
    assert await suspended_for(agent, "C-1") == ["abuse"]


async def test_a_tariff_that_a_revert_set_again_stays(agent: Agent, world: World) -> None:
    first = await done(agent, "set-plan", "C-1", tariff="50M")
    back = await done(agent, "revert", change=first["id"], on_failure="continue")
    again = await done(agent, "revert", change=back["id"], on_failure="continue")
    assert f"change {again['id']} did the same to it since" in str(
        await refused(agent.ask("revert", change=first["id"]))
    )
    assert world.values[world.user("u0")] == {"plan": "50M"}


async def test_what_was_done_again_before_the_revert_began_stays(agent: Agent) -> None:
    """The entry reads as in the revert's preview: an approval may take hours."""
    first = await done(agent, "suspend", "C-1", reason="abuse")
    asked = await agent.ask("revert", change=first["id"], on_failure="continue")
    await done(agent, "restore", "C-1", reason="abuse")
    again = await done(agent, "suspend", "C-1", reason="abuse")
    await agent.approve(asked, "joseph")
    (item,) = (await agent.end(asked))["items"]
    assert (item["state"], item["detail"]) == ("stale", f"change {again['id']} did the same to the service since")
    assert (await states(agent, again), await suspended_for(agent, "C-1")) == (["applied"], ["abuse"])


async def test_an_entry_that_was_written_again_since_stays(agent: Agent, world: World) -> None:
    world.add("u9")
    first = await done(agent, "rename-login", "C-1", settings={"login": "u9"})
    for login in ("u0", "u9"):
        again = await done(agent, "rename-login", "C-1", settings={"login": login})
    why = str(await refused(agent.ask("revert", change=first["id"], on_failure="continue")))
    assert f"change {again['id']} wrote it since" in why


async def test_a_revert_of_something_else_set_no_tariff(agent: Agent, world: World) -> None:
    """Nor does it keep another change, which waits for its approval meanwhile, from being taken back."""
    world.add("u9")
    first = await done(agent, "set-plan", "C-1", tariff="50M")
    renamed = await done(agent, "rename-login", "C-1", settings={"login": "u9"})
    back = await done(agent, "revert", change=renamed["id"], on_failure="continue")
    again = await done(agent, "revert", change=back["id"], on_failure="continue")
    await done(agent, "revert", change=again["id"], on_failure="continue")
    await done(agent, "revert", change=first["id"], on_failure="continue")
    assert world.values[world.user("u0")] == {"plan": "20M"}


async def test_an_entry_that_was_removed_again_stays_out(agent: Agent) -> None:
    first = await done(agent, "remove", "C-2/shop")
    await done(agent, "revert", change=first["id"], on_failure="continue")
    again = await done(agent, "remove", "C-2/shop")
    why = str(await refused(agent.ask("revert", change=first["id"], on_failure="continue")))
    assert f"change {again['id']} removed it since" in why
    back = await done(agent, "revert", change=again["id"], on_failure="continue")
    assert await states(agent, back) == ["applied"]
