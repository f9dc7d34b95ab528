"""The network is read before anything is decided: what the agent remembers of a suspension answers for nothing."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import trio

from agent.connectors.base import AccessPlan, Enforced, Judgment, NetworkState
from agent.model import Access, Address, Enforcement, Seen, Service, ServiceState
from tests.builders.agent import Agent, agent_in, done, item_of, refused, states, suspended_for
from tests.builders.world import FakeConnector, FakeMethod, World

ACTIVE = {"plan": "20M"}
SUSPENDED = {"plan": "20M", "suspended": "yes"}


def by_hand(world: World, row: Mapping[str, str]) -> None:
    """Somebody edits C-1's row in another tool."""
    world.values[world.user("u0")] = dict(row)
    world.kicks.clear()
    world.writes.clear()


async def outcome_of(agent: Agent, change: Any) -> tuple[str, str]:
    shown = await agent.call("GET", f"/v1/changes/{change['id']}")
    return shown["items"][0]["state"], shown["items"][0]["reason"]


# --- a suspension that somebody took away by hand ---


async def test_only_what_was_recorded_is_called_enforced_again(agent: Agent) -> None:
    assert "again" not in item_of(await agent.ask("suspend", "C-1"))["display"].get("why", "")


async def test_a_recorded_reason_is_enforced_again_when_asked_again(agent: Agent, world: World) -> None:
    await done(agent, "suspend", "C-1")
    by_hand(world, ACTIVE)
    again = await agent.ask("suspend", "C-1")
    item = item_of(again)
    assert item["display"]["why"] == (
        "already suspended for debt: the network does not read so, and it is enforced again"
    )
    await agent.approve(again, "joseph")
    await agent.end(again)
    assert await states(agent, again) == ["applied"]
    assert (world.values[world.user("u0")], world.kicks) == (SUSPENDED, ["u0"])
    assert await suspended_for(agent, "C-1") == ["debt"]


async def test_already_suspended_is_said_only_where_network_reads_so(agent: Agent, world: World) -> None:
    await done(agent, "suspend", "C-1")
    assert "already suspended for debt, and the network reads so" in str(await refused(agent.ask("suspend", "C-1")))
    world.dead.add("fake/d")
    assert "fake/d is dead" in str(await refused(agent.ask("suspend", "C-1")))


class Unasked(FakeMethod):
    """A NAS without an API may hold a session of which accounting never heard."""

    def network_state(self, service: Service, seen: Mapping[Address, Seen]) -> NetworkState:
        return replace(super().network_state(service, seen), unasked=("bng-2",), sessions_by="accounting")


async def test_already_is_not_proven_where_an_unknown_session_may_be(tmp_path: Path, world: World) -> None:
    connector = FakeConnector(world)
    connector.access_methods = {"fake": Unasked()}
    async with agent_in(tmp_path, world, connector=connector) as agent:
        await done(agent, "suspend", "C-1")
        session = world.sessions.pop("u0")
        told = str(await refused(agent.ask("suspend", "C-1")))
        unproven = "as far as was read; not proven: no session by accounting, and bng-2 was not asked"
        assert f"already suspended for debt, {unproven}" in told
        assert "the network reads so" not in told
        await done(agent, "restore", "C-1")
        assert f"the network already is as wanted, {unproven}" in str(await refused(agent.ask("restore", "C-1")))
        world.sessions["u0"] = session
        assert "not proven" not in str(await refused(agent.ask("restore", "C-1")))


class EndAskedFor(FakeMethod):
    """Nobody knows whether its sessions go on: their end was asked for."""

    def network_state(self, service: Service, seen: Mapping[Address, Seen]) -> NetworkState:
        state = super().network_state(service, seen)
        return replace(state, sessions=tuple(replace(one, unsure="its end was asked for") for one in state.sessions))


async def test_already_is_not_proven_by_a_session_that_may_be_over(tmp_path: Path, world: World) -> None:
    connector = FakeConnector(world)
    connector.access_methods = {"fake": EndAskedFor()}
    async with agent_in(tmp_path, world, connector=connector) as agent:
        told = str(await refused(agent.ask("restore", "C-1")))
        assert "the network already is as wanted, as far as was read; not proven: its end was asked for" in told


class Walled(FakeMethod):
    """A session is suspended that nobody can end: its NAS is not configured."""

    def network_state(self, service: Service, seen: Mapping[Address, Seen]) -> NetworkState:
        state = super().network_state(service, seen)
        return replace(state, sessions=tuple(replace(one, carries=Access.SUSPENDED) for one in state.sessions))


async def test_already_is_not_proven_by_a_session_with_another_policy(tmp_path: Path, world: World) -> None:
    connector = FakeConnector(world)
    connector.access_methods = {"fake": Walled()}
    async with agent_in(tmp_path, world, connector=connector) as agent:
        told = str(await refused(agent.ask("restore", "C-1")))
        assert "as far as was read; not proven: a session on bng is suspended" in told


async def test_a_second_reason_puts_a_removed_suspension_back(agent: Agent, world: World) -> None:
    await done(agent, "suspend", "C-1")
    by_hand(world, ACTIVE)
    second = await done(agent, "suspend", "C-1", reason="abuse")
    assert await outcome_of(agent, second) == ("applied", "seen")
    assert (world.values[world.user("u0")], world.kicks) == (SUSPENDED, ["u0"])
    assert await suspended_for(agent, "C-1") == ["abuse", "debt"]


async def test_a_second_reason_is_recorded_alone_if_all_is_as_wanted(agent: Agent, world: World) -> None:
    await done(agent, "suspend", "C-1")
    world.writes.clear()
    second = await done(agent, "suspend", "C-1", reason="abuse")
    assert await outcome_of(agent, second) == ("applied", "recorded")
    assert world.writes == []


async def test_a_change_after_the_preview_is_not_recorded_as_enforced(agent: Agent, world: World) -> None:
    """Staff remove the marker after the preview of an item that only records: it is stale, and so is its claim."""
    await done(agent, "suspend", "C-1")
    second = await agent.ask("suspend", "C-1", reason="abuse")
    by_hand(world, ACTIVE)
    await agent.approve(second, "joseph")
    await agent.end(second)
    assert await outcome_of(agent, second) == ("stale", "stale")
    assert await suspended_for(agent, "C-1") == ["debt"]


async def test_an_absent_target_leaves_a_reason_unrecorded_until_back(agent: Agent, world: World) -> None:
    await done(agent, "suspend", "C-1")
    second = await agent.ask("suspend", "C-1", reason="abuse")
    world.dead.add("fake/d")
    assert "fake/d is dead" in str(await refused(agent.ask("suspend", "C-1", reason="request")))
    await agent.approve(second, "joseph")
    with trio.fail_after(60):
        while (await outcome_of(agent, second))[0] != "waiting":
            await trio.lowlevel.checkpoint()
    assert await suspended_for(agent, "C-1") == ["debt"]
    world.dead.discard("fake/d")
    await agent.end(second)
    assert await outcome_of(agent, second) == ("applied", "recorded")
    assert await suspended_for(agent, "C-1") == ["abuse", "debt"]


# --- restore, revert, set-plan ---


async def test_lifting_one_of_two_reasons_enforces_the_other_again(agent: Agent, world: World) -> None:
    """It suspends somebody, so neither a payment nor one's own change of just now covers it."""
    await done(agent, "suspend", "C-1")
    second = await done(agent, "suspend", "C-1", reason="abuse")
    by_hand(world, ACTIVE)
    restore = await agent.ask("restore", "C-1")
    assert item_of(restore)["display"]["why"] == (
        "stays suspended for abuse: only debt is lifted: the network does not read so, and it is enforced again"
    )
    alone = await refused(agent.ask("revert", change=second["id"], alone=True))
    assert "this is class low: ask without it" in str(alone)
    await agent.approve(restore, "joseph")
    await agent.end(restore)
    assert await states(agent, restore) == ["applied"]
    assert (world.values[world.user("u0")], world.kicks) == (SUSPENDED, ["u0"])
    assert await suspended_for(agent, "C-1") == ["abuse"]


async def test_a_revert_of_a_second_reason_enforces_the_first_again(agent: Agent, world: World) -> None:
    await done(agent, "suspend", "C-1")
    second = await done(agent, "suspend", "C-1", reason="abuse")
    by_hand(world, ACTIVE)
    await done(agent, "revert", change=second["id"])
    assert (world.values[world.user("u0")], world.kicks) == (SUSPENDED, ["u0"])
    assert await suspended_for(agent, "C-1") == ["debt"]


async def test_tariff_that_somebody_changed_by_hand_is_written_again(agent: Agent, world: World) -> None:
    assert "already on 20M" in str(await refused(agent.ask("set-plan", "C-1", tariff="20M")))
    by_hand(world, {"plan": "50M"})
    again = await agent.ask("set-plan", "C-1", tariff="20M")
    shown = item_of(again)["display"]
    assert shown["now"].startswith("the network reads tariff 50M, and 20M is recorded")
    assert shown["why"] == "already on 20M: the network does not read so, and it is enforced again"
    await agent.approve(again, "joseph")
    await agent.end(again)
    assert world.values[world.user("u0")] == ACTIVE


# --- a login that staff disabled ---


async def test_a_suspension_lets_nobody_in_whom_staff_disabled(tmp_path: Path, world: World) -> None:
    """The reason is recorded, nothing is written, and both ways back are open."""
    disabled = {"plan": "20M", "rejected": "disabled by staff"}
    async with agent_in(tmp_path, world) as agent:
        by_hand(world, disabled)
        suspend = await agent.ask("suspend", "C-1")
        shown = item_of(suspend)["display"]
        assert shown["now"] == "login is rejected today: disabled by staff"
        assert shown["after"] == "the login stays rejected: disabled by staff"
        await agent.approve(suspend, "joseph")
        await agent.end(suspend)
        assert await outcome_of(agent, suspend) == ("applied", "stays-rejected")
        detail = (await agent.call("GET", f"/v1/changes/{suspend['id']}"))["items"][0]["detail"]
        assert detail == "the login stays rejected: disabled by staff"
        assert (world.writes, await suspended_for(agent, "C-1")) == ([], ["debt"])
        undo = await done(agent, "revert", change=suspend["id"])
        assert await outcome_of(agent, undo) == ("applied", "stays-rejected")
        assert (world.values[world.user("u0")], await suspended_for(agent, "C-1")) == (disabled, [])


async def test_login_that_staff_disable_after_preview_is_not_let_in(agent: Agent, world: World) -> None:
    suspend = await agent.ask("suspend", "C-1")
    by_hand(world, {"plan": "20M", "rejected": "disabled by staff"})
    await agent.approve(suspend, "joseph")
    await agent.end(suspend)
    assert (await outcome_of(agent, suspend))[0] == "stale"
    assert (world.writes, await suspended_for(agent, "C-1")) == ([], [])


# --- what an item rests on without writing it ---

GROUP = Address("fake/r/group/home20")


class Grouped(FakeMethod):
    """A user's reply hangs on a group, which is on another target."""

    def reads(self, service: Service, seen: Mapping[Address, Seen]) -> Collection[Address]:
        return [*super().reads(service, seen), *([] if GROUP in seen else [GROUP])]

    def plan(self, wanted: ServiceState, service: Service, seen: Mapping[Address, Seen]) -> AccessPlan:
        return replace(super().plan(wanted, service, seen), rests_on=(GROUP,))


async def test_a_group_changed_after_the_preview_stops_the_item(tmp_path: Path, world: World) -> None:
    connector = FakeConnector(world)
    connector.access_methods = {"fake": Grouped()}
    world.values[GROUP] = {"reply": "20M"}
    async with agent_in(tmp_path, world, connector=connector) as agent:
        both = await agent.ask("suspend", "C-1", "C-2/home", reason="abuse")
        assert [r["test"] for r in item_of(both)["requires"]].count("as-read") == 1
        world.values[GROUP] = {"check": "Auth-Type := Reject"}
        await agent.approve(both, "joseph")
        await agent.end(both)
        assert set(await states(agent, both)) == {"stale"}
        detail = (await agent.call("GET", f"/v1/changes/{both['id']}"))["items"][0]["detail"]
        assert detail == "fake/r/group/home20 no longer reads as in the preview"
        assert world.writes == []
        other = await done(agent, "suspend", "C-1")
        assert await states(agent, other) == ["applied"]
        world.values[GROUP] = {"reply": "50M"}
        back = await agent.ask("revert", change=other["id"])
        assert item_of(back)["listed"] == "change", "what the agent set can be taken back, whatever the group is"


async def test_a_batch_says_how_many_logins_are_rejected_today(tmp_path: Path, world: World) -> None:
    by_hand(world, {"plan": "20M", "rejected": "disabled by staff"})
    async with agent_in(tmp_path, world) as agent:
        both = await agent.ask("suspend", "C-1", "C-2/home", reason="abuse")
        head = json.loads(both["documents"][0])
        assert "1 rejected today by what is not the agent's: C-1/home" in head["display"]["notes"]


async def test_a_restore_of_a_rejected_login_is_not_as_wanted(agent: Agent, world: World) -> None:
    by_hand(world, {**ACTIVE, "rejected": "disabled by staff"})
    told = str(await refused(agent.ask("restore", "C-1")))
    assert "nothing of this agent's holds it back; the login is rejected today: disabled by staff" in told
    assert "as wanted" not in told
    by_hand(world, ACTIVE)
    assert "the network already is as wanted" in str(await refused(agent.ask("restore", "C-1")))


# --- a second look before a reason alone is recorded ---


class Fenced(FakeMethod):
    """A rule on another target keeps a suspended user in. The row of the user does not show that rule."""

    def plan(self, wanted: ServiceState, service: Service, seen: Mapping[Address, Seen]) -> AccessPlan:
        planned = super().plan(wanted, service, seen)
        if planned.steps:
            return planned
        return replace(
            planned, enforce=Enforcement("fake/r", GROUP, {"method": "fake", "state": wanted.access.value}, 5)
        )

    def judge(self, enforce: Enforcement, seen: Mapping[Address, Seen], ended: Collection[Address]) -> Judgment:
        if enforce.address != GROUP:
            return super().judge(enforce, seen, ended)
        on = seen[GROUP].value == {"rule": "on"}
        return (
            Judgment(Enforced.YES, "seen", "in the list") if on else Judgment(Enforced.NO, "not-in-effect", "no rule")
        )


async def test_a_second_reason_waits_for_who_keeps_the_login_in(tmp_path: Path, world: World) -> None:
    """A rule that is off by then makes it stale; a target that cannot tell is waited for."""
    connector = FakeConnector(world)
    connector.access_methods = {"fake": Fenced()}
    world.values[GROUP] = {"rule": "on"}
    async with agent_in(tmp_path, world, connector=connector) as agent:
        await done(agent, "suspend", "C-1")
        second = await agent.ask("suspend", "C-1", reason="abuse")
        world.dead.add("fake/r")
        await agent.approve(second, "joseph")
        with trio.fail_after(60):
            while (await outcome_of(agent, second))[0] != "waiting":
                await trio.lowlevel.checkpoint()
        world.dead.discard("fake/r")
        await agent.end(second)
        assert await outcome_of(agent, second) == ("applied", "recorded")
        third = await agent.ask("suspend", "C-1", reason="request")
        world.values[GROUP] = {"rule": "off"}
        await agent.approve(third, "joseph")
        await agent.end(third)
        assert await outcome_of(agent, third) == ("stale", "stale")
        assert await suspended_for(agent, "C-1") == ["abuse", "debt"]
