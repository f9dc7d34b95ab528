"""Requests to prepare a device, and their plans. On routers: `test_prepare`, e2e `test_devices`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from agent.changes.journal.request import Ask, RequestError, check_ask
from agent.changes.planning.preparation import _ready_text, terms_of
from agent.connectors.base import AccessMethod, DeviceNeeds, Example, Preparation, PrepareTerms
from agent.model import ABSENT, Address, Seen, Service, Step, Transition, Value
from tests.builders.agent import Agent, agent_in, refused
from tests.builders.world import FakeConnector, FakeMethod, World
from trust.policy import Action, PolicyClass, RiskClass, preset, risk_class


def ask(*refs: str, **settings: str) -> Ask:
    return Ask(Action.PREPARE, refs or ("edge-1",), settings=settings)


def test_terms_are_a_list_a_garden_and_resolvers() -> None:
    found = terms_of(ask(list="held", garden="198.51.100.80, 2001:db8::/64", resolvers="198.51.100.53"))
    assert (found.list_name, found.resolvers) == ("held", ("198.51.100.53",))
    assert found.garden == ("198.51.100.80", "2001:db8::/64")
    assert terms_of(ask()).list_name == "suspended"


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"garden": "example.net"}, "expected addresses or networks"),
        ({"garden": "198.51.100.80/24"}, "expected addresses or networks"),
        ({"resolvers": "198.51.100.0/24"}, "expected addresses, got a network"),
        ({"list": "a,b"}, "expected the name of an address list"),
        ({"chain": "input"}, "expected settings out of garden, list, resolvers"),
    ],
)
def test_other_settings_are_refused(settings: dict[str, str], says: str) -> None:
    with pytest.raises(RequestError, match=says):
        terms_of(ask(**settings))


@pytest.mark.parametrize(
    "wrong",
    [
        Ask(Action.PREPARE, ("edge-1", "edge-2")),
        Ask(Action.PREPARE, ("edge-1",), on_tariff="Home 20M"),
        Ask(Action.PREPARE, ("edge-1",), secrets={"list": "x"}),
    ],
)
def test_one_router_is_asked_for_at_a_time(wrong: Ask) -> None:
    with pytest.raises(RequestError, match="expected one router"):
        check_ask(wrong)
    check_ask(ask(list="held"))


@pytest.mark.parametrize(
    ("settings", "told"),
    [({}, ""), ({"garden": "198.51.100.80", "resolvers": "198.51.100.53"}, "; --garden and --resolver would add to")],
)
def test_of_ready_router_it_is_said_what_was_asked_for_in_vain(settings: dict[str, str], told: str) -> None:
    said = _ready_text(terms_of(ask(**settings)))
    assert said.startswith(
        f"nothing is missing: it has the profile, lists and rules that its access methods need{told}"
    )


def test_by_preset_it_is_of_class_config_and_needs_two_people() -> None:
    assert risk_class(Action.PREPARE, 1, 500, device_config=True) is RiskClass.CONFIG
    (config,) = [one for one in preset() if one.risk_class is RiskClass.CONFIG]
    assert isinstance(config, PolicyClass)
    assert config.approvals == 2
    assert Action.PREPARE in config.actions


# --- planned, and taken back ---

RULE, DROP = Address("fake/d/rule/drop"), {"action": "drop"}


class OnOneDevice(FakeMethod):
    """Acts on `fake/d`, and rests on a list there."""

    def on_devices(self) -> Mapping[str, OnOneDevice]:
        return {self.target: self}

    def without(self, targets: Collection[str]) -> AccessMethod:
        return self

    def example(self) -> Example | None:
        return None

    def needs(self, services: Collection[Service]) -> DeviceNeeds:
        return DeviceNeeds(lists=("suspended",))


class Preparing(FakeConnector):
    """Its devices are ready with one rule."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.access_methods = {"fake": OnOneDevice()}

    def preparation_reads(
        self, target: str, needs: Sequence[DeviceNeeds], terms: PrepareTerms, seen: Mapping[Address, Seen]
    ) -> Collection[Address]:
        return [RULE] if RULE not in seen else []

    def preparation(
        self, target: str, needs: Sequence[DeviceNeeds], terms: PrepareTerms, seen: Mapping[Address, Seen]
    ) -> Preparation:
        missing = seen[RULE].value is ABSENT
        steps = (Step(1, target, (Transition(RULE, seen[RULE], DROP),)),) if missing else ()
        return Preparation(steps, {"after": "a rule"}, rests_on=(RULE,))

    def undo_reads(self, target: str, steps: Sequence[Step]) -> Collection[Address]:
        return []

    def undo_refusal(self, target: str, steps: Sequence[Step], seen: Mapping[Address, Seen]) -> str:
        return ""


@pytest.fixture
async def agent(tmp_path: Path, world: World) -> AsyncIterator[Agent]:
    async with agent_in(tmp_path, world, connector=Preparing(world)) as agent:
        yield agent


async def by_two(agent: Agent, change: Any) -> list[str]:
    for who in ("joseph", "lena"):
        await agent.approve(change, who)
    return [item["state"] for item in (await agent.end(change))["items"]]


async def test_a_device_is_prepared_and_taken_back(agent: Agent, world: World) -> None:
    asked = await agent.ask("prepare-device", "d")
    assert asked["class"] == "config"
    assert (await by_two(agent, asked), world.values[RULE]) == (["applied"], DROP)
    assert "router d: nothing is missing" in str(await refused(agent.ask("prepare-device", "d")))
    back = await agent.ask("revert", change=asked["id"])
    assert (await by_two(agent, back), world.values[RULE]) == (["applied"], ABSENT)


@pytest.mark.parametrize(
    ("now", "why"),
    [
        (ABSENT, "router d: nothing of the change stands on it"),
        ({"action": "accept"}, f"router d: {RULE} was changed since: put it right, or remove it by hand"),
    ],
)
async def test_what_somebody_removed_or_changed_is_not_taken_back(
    agent: Agent, world: World, now: Value, why: str
) -> None:
    asked = await agent.ask("prepare-device", "d")
    await by_two(agent, asked)
    world.values[RULE] = now
    assert why in str(await refused(agent.ask("revert", change=asked["id"])))
    assert world.values[RULE] == now


async def test_a_device_on_which_nobody_is_suspended_is_not_prepared(agent: Agent) -> None:
    told = "no access method is configured on r: nobody is suspended there"
    assert told in str(await refused(agent.ask("prepare-device", "r")))
