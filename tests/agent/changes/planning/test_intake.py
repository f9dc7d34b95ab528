"""From a request to a plan: restore against suspension, reverts that would suspend, what is left alone."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from agent.connectors.base import AccessPlan, NetworkState
from agent.connectors.spec import AccessMap
from agent.model import Address, Effect, Seen, Service, ServiceState, Ticket
from agent.runtime.clock import SystemClock
from agent.runtime.errors import HttpError
from tests.builders.agent import Agent, agent_in, done, item_of, refused, states, suspended_for
from tests.builders.subscribers import bring
from tests.builders.world import FakeConnector, FakeMethod, World

# --- a restore supersedes what would undo it, and nothing else ---


async def test_restore_supersedes_only_suspensions_for_its_own_reason(agent: Agent) -> None:
    abuse, debt = await agent.ask("suspend", "C-1", reason="abuse"), await agent.ask("suspend", "C-1")
    restore = await agent.ask("restore", "C-1")
    assert debt["id"] in item_of(restore)["display"]["why"]
    assert abuse["id"] not in item_of(restore)["display"]["why"]
    await agent.approve(restore, "joseph")
    await agent.end(restore)
    assert await states(agent, debt) == ["superseded"]
    assert await states(agent, abuse) == ["planned"]


async def test_item_that_restore_cannot_enforce_supersedes_nothing(agent: Agent) -> None:
    await done(agent, "suspend", "C-2/home", reason="request")
    unsent = await agent.ask("suspend", "C-1", reason="request")
    await bring(agent, b"C-1,Amina Hassan,home,u0,gone,20M,,0,,,,")  # no access mapping for it any more
    restore = await agent.ask("restore", "C-1", "C-2/home", reason="request")
    listed = {item_of(restore, n)["subject"]: item_of(restore, n)["listed"] for n in (1, 2)}
    assert listed == {"C-2/home": "change", "C-1/home": "blocked"}
    await agent.approve(restore, "joseph")
    await agent.end(restore)
    assert await states(agent, unsent) == ["planned"]


async def test_a_restore_supersedes_an_unsent_revert_to_suspension(agent: Agent) -> None:
    await done(agent, "suspend", "C-1")
    restored = await done(agent, "restore", "C-1")
    again = await agent.ask("revert", change=restored["id"])
    restore = await agent.ask("restore", "C-1")
    assert again["id"] in item_of(restore)["display"]["why"]
    await agent.approve(restore, "joseph")
    await agent.end(restore)
    assert await states(agent, again) == ["superseded"]


# --- the services that decide on an answer ---


@pytest.mark.parametrize("named", ["C-1/home", "u0"])
async def test_others_count_however_a_service_is_named(agent: Agent, named: str) -> None:
    await bring(agent, b"C-1,Amina Hassan,shop,u9,fake,20M,,0,,,,")
    asked = await agent.ask("suspend", named, reason="request")
    assert item_of(asked)["display"]["other_services"] == "other services stay as they are: u9"
    await bring(agent, b"C-7,Joao Silva,home,u9,fake,20M,,0,,,,")
    access = (AccessMap("fake", "fake/d", frozenset({"20M"})),)
    object.__setattr__(agent.daemon.job.intake, "access", access)  # the connector of these tests declares none
    err = await refused(agent.ask("suspend", "C-1/shop" if "/" in named else "C-7", reason="request"))
    assert "the login u9 is also that of C-" in str(err)


# --- one device that is away ---


class Elsewhere(FakeMethod):
    """The same on another target, by one write."""

    target = "fake/r"

    def reads(self, service: Service, seen: Mapping[Address, Seen]) -> Collection[Address]:
        return [a for a in (Address(f"fake/r/user/{service.login}"),) if a not in seen]

    def network_state(self, service: Service, seen: Mapping[Address, Seen]) -> NetworkState:
        return super().network_state(service, self._here(service, seen))

    def _here(self, service: Service, seen: Mapping[Address, Seen]) -> Mapping[Address, Seen]:
        here = {Address(a.replace("fake/r", "fake/d")): value for a, value in seen.items()}
        return {Address(f"fake/d/sessions/{service.login}"): Seen({}, 0)} | here

    def plan(self, wanted: ServiceState, service: Service, seen: Mapping[Address, Seen]) -> AccessPlan:
        step = super().plan(wanted, service, self._here(service, seen)).steps[0]
        assert not isinstance(step.do, Effect)
        there = tuple(replace(t, address=Address(t.address.replace("fake/d", "fake/r"))) for t in step.do)
        return AccessPlan((replace(step, target="fake/r", do=there),), None, {})


async def test_a_revert_goes_on_where_one_device_is_away(tmp_path: Path, world: World) -> None:
    connector = FakeConnector(world)
    connector.access_methods = {"fake": FakeMethod(), "there": Elsewhere()}
    world.values[Address("fake/r/user/u1")] = {"plan": "20M"}
    async with agent_in(tmp_path, world, connector=connector) as agent:
        await bring(agent, b"C-2,Joao Silva,home,u1,there,20M,,0,12.50,2025-10-03,,%(now)s")
        suspended = await done(agent, "suspend", "C-1", "C-2/home")
        assert await states(agent, suspended) == ["applied", "applied"]
        world.dead.add("fake/r")
        back = await agent.ask("revert", change=suspended["id"])
        listed = {item_of(back, n)["subject"]: item_of(back, n) for n in (1, 2)}
        assert listed["C-1/home"]["listed"] == "change"
        assert (listed["C-2/home"]["listed"], listed["C-2/home"]["reason"]) == ("blocked", "unreachable")
        await agent.approve(back, "joseph")
        await agent.end(back)
        assert await suspended_for(agent, "C-1") == []
        world.dead.add("fake/d")
        assert "is dead" in str(await refused(agent.ask("revert", change=suspended["id"])))


# --- a revert that ends in a suspension is one ---


async def test_suspending_again_by_revert_takes_two_people_and_a_debt(agent: Agent) -> None:
    suspended = await done(agent, "suspend", "C-1")
    assert (await agent.ask("revert", change=suspended["id"], alone=True))["class"] == "alone"
    restored = await done(agent, "restore", "C-1")
    with pytest.raises(HttpError, match=r"--alone covers .* that suspends nobody; this is class low: ask without"):
        await agent.ask("revert", change=restored["id"], alone=True)
    again = await agent.ask("revert", change=restored["id"])
    assert again["class"] == "low"
    assert "owes" in [r["test"] for r in item_of(again)["requires"]]
    own = await agent.approve(again, "maria")
    assert (own["accepted"], own["reason"]) == (False, "requester-approves")
    await bring(agent, b"C-1,Amina Hassan,home,u0,fake,20M,,0,0.00,2025-10-03,%(now)s,%(now)s")
    await agent.approve(again, "joseph")
    assert [i["state"] for i in (await agent.end(again))["items"]] == ["skipped"]
    assert await suspended_for(agent, "C-1") == []


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"C-1,Amina Hassan,home,u0,fake,20M,,0,0.00,2025-10-03,%(now)s,%(now)s", "paid"),
        (b"C-1,Amina Hassan,home,u0,fake,20M,hospital,0,34.00,2025-10-03,,%(now)s", "hospital"),
        (b"C-1,Amina Hassan,home,u0,fake,20M,,31,34.00,2025-10-03,,%(now)s", "feeds 31 other subscribers"),
    ],
)
async def test_a_revert_suspends_nobody_whom_a_suspension_would_not(agent: Agent, line: bytes, why: str) -> None:
    await done(agent, "suspend", "C-1")
    restored = await done(agent, "restore", "C-1")
    await bring(agent, line)
    err = await refused(agent.ask("revert", change=restored["id"]))
    assert (err.status, err.code) == (409, "nothing-to-do")
    assert why in str(err)


async def test_revert_that_rests_on_old_billing_data_suspends_nobody(agent: Agent) -> None:
    restored: list[Any] = []
    for reason in ("debt", "abuse"):
        await done(agent, "suspend", "C-1", reason=reason)
        restored.append(await done(agent, "restore", "C-1", reason=reason))
    intake = agent.daemon.api.parts.intake
    agent.daemon.api.parts = replace(agent.daemon.api.parts, intake=replace(intake, clock=Later()))
    err = await refused(agent.ask("revert", change=restored[0]["id"]))
    assert (err.code, "its billing data is 3 h old" in str(err)) == ("nothing-to-do", True)
    assert (await agent.ask("revert", change=restored[1]["id"]))["class"] == "low"


async def test_the_age_at_which_billing_data_is_old_is_configured(tmp_path: Path, world: World) -> None:
    for name, max_age_s in (("a", 7200), ("b", 300)):
        (tmp_path / name).mkdir()
        async with agent_in(tmp_path / name, world, more=f"[billing]\nmax_age_s = {max_age_s}\n") as agent:
            intake = agent.daemon.api.parts.intake
            soon = replace(intake, clock=Later(by_s=600))
            agent.daemon.api.parts = replace(agent.daemon.api.parts, intake=soon)
            if max_age_s > 600:
                assert (await agent.ask("suspend", "C-1"))["class"] == "low"
            else:
                err = await refused(agent.ask("suspend", "C-1"))
                assert "its billing data is 10 min old, at most 5 min counts" in str(err)


@dataclass(frozen=True)
class Later(SystemClock):
    """A clock that is ahead, by three hours unless told."""

    by_s: float = 3 * 3600

    def wall_s(self) -> float:
        return super().wall_s() + self.by_s


# --- what a revert took back ---


async def test_a_changes_state_follows_its_revert(tmp_path: Path, world: World) -> None:
    """An item needed a person; its revert was applied, so that nobody has to look any more."""
    world.add("u1", online=True)
    world.faults["u1"] = ["", *["nak"] * 20]
    async with agent_in(tmp_path, world) as agent:
        first = await done(agent, "suspend", "C-1", "C-2/home", reason="abuse", on_failure="continue")
        assert first["state"] == "finished, needs you"
        world.faults.clear()
        back = await done(agent, "revert", change=first["id"], on_failure="continue")
        after = await agent.call("GET", f"/v1/changes/{first['id']}")
        assert (after["state"], after["exit"]) == ("reverted", 1)
        assert after["reverted_by"] == {str(i["n"]): back["id"] for i in first["items"]}
        (listed,) = await agent.call("GET", "/v1/changes?state=reverted")
        assert listed["id"] == first["id"]
        again = await done(agent, "revert", change=back["id"], on_failure="continue")
        assert again["state"] == "done"
        assert (await agent.call("GET", f"/v1/changes/{back['id']}"))["state"] == "reverted"
        stands = await agent.call("GET", f"/v1/changes/{first['id']}")
        assert (stands["state"], stands["reverted_by"]) == (first["state"], {}), "its revert does not stand"


async def test_a_change_names_what_acted_on_its_unproven_items_since(tmp_path: Path, world: World) -> None:
    """Their retry is refused, so that none is offered."""
    world.add("u1", online=True)
    world.faults["u1"] = ["", *["nak"] * 20]
    async with agent_in(tmp_path, world) as agent:
        first = await done(agent, "suspend", "C-2/home", reason="abuse")
        assert (first["items"][0]["state"], first["items"][0]["overtaken"]) == ("set-not-enforced", "")
        world.faults.clear()
        by = await done(agent, "restore", "C-2/home", reason="abuse")
        (item,) = (await agent.call("GET", f"/v1/changes/{first['id']}"))["items"]
        assert item["overtaken"] == f"change {by['id']} acted on the service since"
        err = await refused(agent.call("POST", f"/v1/changes/{first['id']}/retry", {}))
        assert err.code == "nothing-to-retry"


# --- in doubt nobody is cut off ---


async def test_billing_data_in_doubt_suspends_nobody(agent: Agent) -> None:
    intake = agent.daemon.api.parts.intake
    billing = replace(intake.billing, doubt=lambda subscriber: "1 broken line" if subscriber == "C-1" else "")
    doubting = replace(intake, billing=billing)
    agent.daemon.api.parts = replace(agent.daemon.api.parts, intake=doubting)
    err = await refused(agent.ask("suspend", "C-1"))
    assert err.code == "nothing-to-do"
    assert "1 broken line" in str(err)
    assert item_of(await agent.ask("suspend", "C-2/home"))["listed"] == "change"
    assert item_of(await agent.ask("suspend", "C-1", reason="abuse"))["listed"] == "change"


async def test_what_hangs_on_a_service_is_left_alone_or_said(agent: Agent) -> None:
    await bring(agent, b"C-2,Joao Silva,home,u1,fake,20M,,31,,,,")
    change = await agent.ask("disconnect", "C-1", "C-2/home", "C-3")
    found = {item_of(change, n)["subject"]: item_of(change, n) for n in (1, 2, 3)}
    assert [found[r]["listed"] for r in ("C-1/home", "C-2/home", "C-3/home")] == ["change", "excluded", "excluded"]
    assert found["C-2/home"]["display"]["why_not"] == "feeds 31 other subscribers"
    assert found["C-3/home"]["display"]["why_not"] == "protected: hospital"
    change = await agent.ask("set-plan", "C-1", "C-2/home", "C-3", tariff="50M")
    assert json.loads(change["documents"][0])["display"]["look"] == "2 protected, or feeding others"
    whys = {item_of(change, n)["subject"]: item_of(change, n)["display"]["why"] for n in (1, 2, 3)}
    assert whys["C-3/home"] == "20M to 50M · protected: hospital"


async def test_the_preview_says_when_it_ends_and_by_which_clock(agent: Agent) -> None:
    display = json.loads((await agent.ask("suspend", "C-1"))["documents"][0])["display"]
    assert " UTC" in display["until"]
    assert " UTC" in display["ends"]
    assert "window" not in display  # the policy here has none


# --- what the network reads today ---


async def test_a_login_that_is_rejected_today_is_shown_so(agent: Agent, world: World) -> None:
    """Staff disabled it in another tool: the preview says so before anything else of its present state."""
    world.values[world.user("u0")] = {"plan": "20M", "rejected": "disabled by staff"}
    plan = await agent.ask("set-plan", "C-1", tariff="50M")
    assert item_of(plan)["display"]["now"] == "login is rejected today: disabled by staff"


# --- what stands, and was not recorded ---


async def test_a_revert_takes_back_what_nobody_recorded(tmp_path: Path, world: World) -> None:
    """The run of the item crashed behind its write: a person looks, and the revert goes by the row as it stands.

    That revert is not taken back: it recorded nothing, and to write the row again would suspend.
    """
    row = Address("fake/r/user/u1")
    world.values[row] = {"plan": "20M"}
    connector = FakeConnector(world)
    connector.access_methods = {"fake": FakeMethod(), "there": Elsewhere()}

    def crash(ticket: Ticket) -> None:
        world.on_took = lambda ticket: None
        raise KeyError("u1")

    async with agent_in(tmp_path, world, connector=connector) as agent:
        await bring(agent, b"C-2,Joao Silva,home,u1,there,20M,,0,12.50,2025-10-03,,%(now)s")
        world.on_took = crash
        suspended = await done(agent, "suspend", "C-2/home")
        assert await states(agent, suspended) == ["needs-a-person"]
        assert world.values[row] == {"plan": "20M", "suspended": "yes"}
        back = await agent.ask("revert", change=suspended["id"])
        assert "its writes stand, and nothing was recorded of them" in item_of(back)["display"]["why"]
        await agent.approve(back, "joseph")
        await agent.end(back)
        assert (await states(agent, back), world.values[row]) == (["applied"], {"plan": "20M"})
        for alone in (False, True):  # nobody suspends by that, least of all alone
            err = await refused(agent.ask("revert", change=back["id"], alone=alone))
            assert "it recorded no state to go back to: it cannot be taken back" in str(err)
        assert world.values[row] == {"plan": "20M"}
