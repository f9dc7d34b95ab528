"""The one reader of what the network says of services: many at once, and what cannot be read stops nobody else."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

import pytest

from agent.connectors.base import (
    AccessPlan,
    CannotEnforce,
    DeviceMethod,
    NetworkState,
    ReadSession,
    UnreadableError,
)
from agent.model import Access, Address, Seen, Service, ServiceState, Target
from agent.reasons import MethodReason, TargetReason
from agent.services.network import ROUNDS_MAX, NetworkReader
from tests.builders.expect import expect
from tests.builders.world import FakeMethod, FakeSession, World

ALICE = Service("C-1/home", "C-1", "Alice", "home", "alice", "fake", "20M")
BOB = replace(ALICE, ref="C-2/home", login="bob")


class Dialed:
    """Opens sessions to the world, and counts the reads."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.reads: list[list[Address]] = []

    async def dialed(self, target: str) -> ReadSession:
        counted = self

        class Counted(FakeSession):
            async def read(self, addresses: Collection[Address]) -> Mapping[Address, Seen]:
                counted.reads.append(list(addresses))
                return await super().read(addresses)

        return Counted(self.world, Target(target, "fake"))


class There(FakeMethod):
    """Hangs on another target beside its own."""

    def __init__(self, target: str) -> None:
        self.target = target

    def reads(self, service: Service, seen: Mapping[Address, Seen]) -> Collection[Address]:
        other = Address("fake/r/user/x")
        return [*super().reads(service, seen), *([] if other in seen else [other])]


class Loose(There):
    """Rests on a device that lets its subscribers out; `why`: its refusal of a suspension."""

    def __init__(self, why: CannotEnforce, *, alone: bool = False) -> None:
        super().__init__("fake/d")
        self.why, self.alone = why, alone

    def reads(self, service: Service, seen: Mapping[Address, Seen]) -> Collection[Address]:
        return FakeMethod.reads(self, service, seen) if self.alone else super().reads(service, seen)

    def plan(self, wanted: ServiceState, service: Service, seen: Mapping[Address, Seen]) -> AccessPlan | CannotEnforce:
        assert not self.reads(service, seen), "planned from what was never read"
        return self.why

    def on_devices(self) -> Mapping[str, DeviceMethod]:
        raise NotImplementedError

    def without(self, targets: Collection[str]) -> Loose:
        assert set(targets) == {"fake/r"}
        return Loose(self.why, alone=True)


class Endless(FakeMethod):
    """Always wants one address more."""

    def reads(self, service: Service, seen: Mapping[Address, Seen]) -> Collection[Address]:
        return [Address(f"fake/d/user/{len(seen)}")]


@pytest.fixture
def world() -> World:
    world = World.of("alice")
    world.add("bob", online=False)
    return world


def state_of(found: NetworkState | UnreadableError) -> NetworkState:
    assert isinstance(found, NetworkState), found
    return found


async def test_many_services_are_read_at_once_and_never_from_memory(world: World) -> None:
    """The inventory has a reason for both; the network has one suspended, one rejected by somebody else."""
    world.values[world.user("alice")] = {"plan": "20M", "suspended": "yes"}
    world.values[world.user("bob")] = {"plan": "20M", "rejected": "disabled by staff"}
    targets = Dialed(world)
    kept = [replace(one, reasons=frozenset({"debt"})) for one in (ALICE, BOB)]
    found = await NetworkReader(targets, {"fake": FakeMethod()}).read_states(kept)
    alice, bob = state_of(found["C-1/home"]), state_of(found["C-2/home"])
    assert (alice.access, len(alice.sessions)) == (Access.SUSPENDED, 1)
    assert (bob.access, bob.refused, bob.sessions) == (None, "disabled by staff", ())
    assert len(targets.reads) == 1


async def test_a_target_that_is_away_stops_only_who_hangs_on_it(world: World) -> None:
    world.dead.add("fake/r")
    methods = {"fake": FakeMethod(), "home": There("fake/d"), "away": There("fake/r")}
    services = [ALICE, replace(BOB, method="home"), replace(BOB, ref="C-3/home", method="away")]
    reader = NetworkReader(Dialed(world), methods)
    found = await reader.read_states(services)
    assert state_of(found["C-1/home"]).access is Access.ACTIVE
    assert state_of(found["C-2/home"]).access is Access.ACTIVE  # the state says itself what it lacks
    away = expect(UnreadableError, found["C-3/home"])
    assert away.reason == "unreachable"
    read = await reader.read(services)
    assert [read.missing(one) for one in services] == ["", "fake/r is dead", "fake/r is dead"]


LET_OUT = CannotEnforce(MethodReason.LIST_WITHOUT_RULE, "no rule drops it: enable rule 3")


async def test_e13_a_suspended_one_is_judged_by_a_suspensions_plan(world: World) -> None:
    """Whatever a preview would refuse; and nobody is judged who is active, or whom somebody else rejects."""
    world.values[world.user("alice")] = {"plan": "20M", "suspended": "yes"}
    reader = NetworkReader(Dialed(world), {"fake": Loose(LET_OUT)})
    recorded = replace(BOB, reasons=frozenset({"debt"}))
    found = await reader.read_states([ALICE, recorded])
    alice = state_of(found["C-1/home"])
    assert (alice.access, alice.unknown, alice.not_held) == (None, LET_OUT.detail, LET_OUT.detail)
    assert (alice.mend, alice.unjudged) == (MethodReason.LIST_WITHOUT_RULE.remedy, "")
    assert state_of(found["C-2/home"]).access is Access.ACTIVE  # it has full service, and that is all there is to say
    world.values[world.user("bob")] = {"plan": "20M", "rejected": "disabled by staff"}
    assert state_of((await reader.read_states([recorded]))["C-2/home"]).not_held == ""


async def test_e13_refusal_that_says_nothing_of_rules_is_not_judged(world: World) -> None:
    world.values[world.user("alice")] = {"plan": "20M", "suspended": "yes"}
    other = CannotEnforce(MethodReason.UNMAPPED_TARIFF, "method fake maps nothing to 20M")
    found = await NetworkReader(Dialed(world), {"fake": Loose(other)}).read_states([ALICE])
    alice = state_of(found["C-1/home"])
    assert (alice.access, alice.not_held, alice.unjudged) == (Access.SUSPENDED, "", other.detail)


async def test_e13_device_that_is_away_is_named_and_others_are_judged(world: World) -> None:
    world.values[world.user("alice")] = {"plan": "20M", "suspended": "yes"}
    world.dead.add("fake/r")
    found = await NetworkReader(Dialed(world), {"fake": Loose(LET_OUT)}).read_states([ALICE])
    alice = state_of(found["C-1/home"])
    assert (alice.not_held, alice.unjudged) == (LET_OUT.detail, "fake/r is dead")


async def test_a_method_that_nobody_configured_is_named(world: World) -> None:
    found = await NetworkReader(Dialed(world), {}).read_states([ALICE])
    answer = expect(UnreadableError, found["C-1/home"])
    assert answer.reason is MethodReason.UNMAPPED_METHOD
    assert "no access mapping for method fake" in str(answer)


async def test_questions_without_an_end_are_refused(world: World) -> None:
    with pytest.raises(UnreadableError, match=f"more than {ROUNDS_MAX} rounds") as refused:
        await NetworkReader(Dialed(world), {"fake": Endless()}).read([ALICE])
    assert refused.value.reason is TargetReason.ENDLESS
