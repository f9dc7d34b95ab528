"""The agent dies at every durable command of a run: nothing is sent twice, nothing is missing, the log verifies."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from agent.connectors.base import Reach
from agent.model import Address, Item
from tests.agent.changes.crash import Case, S, becomes, cases, die_everywhere, name
from tests.agent.changes.worlds import FakeWorld
from tests.builders.job import Rig, SeenRecipe, told_first, with_fallback
from tests.marks import slow_unless
from trust.statements import OnFailure

pytestmark = pytest.mark.virtual_time


def plain(case: Case) -> bool:
    """Choose what the quick suite runs of the cases."""
    return case.items == 1 and case.reach is Reach.DIAL and case.faults in ((), ("reply-lost",))


@pytest.mark.parametrize("case", slow_unless(plain, cases()), ids=name)
async def test_P4_dies_at_every_boundary(case: Case, tmp_path: Path) -> None:
    end = await die_everywhere(tmp_path, case, lambda clock, case: FakeWorld(clock, case.reach))
    assert end.states[0] is becomes(case)


class LadderWorld(FakeWorld):
    """Its items have a disconnect at another target, in case the first one comes to nothing."""

    async def item(self, n: int, login: str) -> Item:
        return replace(with_fallback(login, self.world), n=n)


LADDERS = (
    Case(("", "nak")),
    Case(("", "ack-without-effect", "ack-without-effect")),
    Case(("", "command-lost", "command-lost")),
    Case(("", "reply-lost")),
    Case(("", "nak", "", "nak"), items=2, on_failure=OnFailure.REVERT, refused="u1"),
)


@pytest.mark.parametrize("case", slow_unless(lambda case: case is LADDERS[0], LADDERS), ids=name)
async def test_dies_on_a_ladder(case: Case, tmp_path: Path) -> None:
    end = await die_everywhere(tmp_path, case, lambda clock, case: LadderWorld(clock))
    assert end.states[0] is (S.REVERTED if case.refused else S.APPLIED)  # the second rung saw to it


class ToldWorld(FakeWorld):
    """Its items change the running session, which proves nothing by itself, and end it in case that did not work."""

    async def item(self, n: int, login: str) -> Item:
        return replace(told_first(login, self.world), n=n)

    def rig(self, folder: Path) -> Rig:
        rig = super().rig(folder)
        rig.connector.access_methods = {"fake": SeenRecipe()}
        return rig

    def at_large(self, login: str) -> bool:
        told = self.world.values.get(Address(f"fake/r/policy/{login}")) is not None
        return super().at_large(login) and not told


TOLD = (Case(), Case(("", "reply-lost")), Case(("", "command-lost")))


@pytest.mark.parametrize("case", slow_unless(lambda case: case is TOLD[0], TOLD), ids=name)
async def test_dies_on_what_proves_nothing(case: Case, tmp_path: Path) -> None:
    end = await die_everywhere(tmp_path, case, lambda clock, case: ToldWorld(clock))
    assert end.states == (S.APPLIED,)


class HalfWorld(FakeWorld):
    """Its items write somebody else's resource too, in a second step, which is refused."""

    def add(self, login: str, *, online: bool) -> None:
        super().add(login, online=online)
        super().add("other", online=online)

    async def item(self, n: int, login: str) -> Item:
        first, second = await super().item(n, login), await super().item(n, "other")
        steps = (first.steps[0], replace(second.steps[0], n=2))
        return replace(first, steps=steps, enforce=None)


@pytest.mark.parametrize("reach", slow_unless(lambda r: r is Reach.DIAL, Reach), ids=lambda reach: reach.value)
async def test_dies_while_a_half_is_taken_back(reach: Reach, tmp_path: Path) -> None:
    case = Case(reach=reach, on_failure=OnFailure.REVERT, refused="other")
    end = await die_everywhere(tmp_path, case, lambda clock, case: HalfWorld(clock, case.reach))
    assert end.states == (S.REVERTED,)
    assert [login for login, _ in end.writes] == ["u0", "u0"]
