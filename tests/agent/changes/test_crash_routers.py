"""The crash suite over routers: the same cases and invariants, with `RouterosConnector` and the lab's faults.

Beside the durable commands, each command that changes something on a router is a boundary: the agent dies before it
leaves, and after it left, with what it had sent still on its way.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from agent.changes.journal import plans
from agent.connectors.base import Reach
from agent.model import ItemState, Verdict
from tests.agent.changes.crash import Case, becomes, cases, die_everywhere, name
from tests.builders.clock import FakeClock
from tests.builders.router import RouterWorld
from tests.marks import slow_unless
from trust.statements import OnFailure

pytestmark = pytest.mark.virtual_time

S = ItemState

OWN = [Case((fault, fault)) for fault in ("late", "cut-after")]
OWN += [Case((fault, "", fault)) for fault in ("cut-before", "reboot")]
"""A write and a disconnect, each met by what only a router does; the second two have a write sent once more."""


def shared() -> list[Case]:
    """Cases of the suite: all of one item, some of several, so that it does not take minutes."""
    all_of_one = [c for c in cases() if c.reach is Reach.DIAL and c.items == 1]
    several = [c for c in cases() if c.reach is Reach.DIAL and c.items > 1]
    chosen = [c for c in several if c.canary and not c.refused]
    chosen += [c for c in several if c.on_failure is OnFailure.STOP and c.faults == ("reply-lost",)]
    chosen += [c for c in several if c.on_failure is OnFailure.REVERT and c.faults == ("", "", "reply-lost")]
    return [*all_of_one, *chosen]


@pytest.mark.parametrize("case", slow_unless(lambda case: case == Case(), [*shared(), *OWN]), ids=name)
async def test_P4_dies_at_every_boundary_on_routers(case: Case, tmp_path: Path) -> None:
    end = await die_everywhere(tmp_path, case, lambda clock, case: RouterWorld(clock))
    assert end.states[0] is becomes(case)


BOTH: list[tuple[Case, tuple[str, ...], ItemState]] = [
    (Case(), (), S.APPLIED),
    (Case(("reply-lost", "reply-lost")), ("late", "late"), S.APPLIED),
    (Case(), ("refused",) * 10, S.NEEDS_A_PERSON),
    (Case(("refused",) * 10, refused="u0"), (), S.NOT_APPLIED),
]
"""What the first router's commands meet, what the second's, and what becomes of who is on both."""


@pytest.mark.slow
@pytest.mark.parametrize(("case", "second", "state"), BOTH, ids=("well", "lost", "second-refuses", "first-refuses"))
async def test_steps_on_two_routers(case: Case, second: tuple[str, ...], state: ItemState, tmp_path: Path) -> None:
    def make(clock: FakeClock, case: Case) -> RouterWorld:
        world = RouterWorld(clock, on_both=True)
        world.fault("u0@routeros/edge-1", second)
        return world

    end = await die_everywhere(tmp_path, case, make)
    assert end.states == (state,)


@pytest.mark.parametrize("faults", [("slow",), ("", "slow"), ("reply-lost",), ("", "reply-lost")], ids="+".join)
async def test_stopped_agent_records_what_is_on_its_way(faults: tuple[str, ...], tmp_path: Path) -> None:
    """A step that was begun is read to its end before its session closes: the next life has nothing to find out."""
    world = RouterWorld(FakeClock())
    world.add("u0", online=True)
    async with world.running():
        items = [await world.item(1, "u0")]
        world.fault("u0", faults)
        rig = world.rig(tmp_path)
        plan_id = await rig.consumed(items)
        with trio.CancelScope() as agent:
            world.on_fault = agent.cancel
            await rig.apply(plan_id)
        assert agent.cancelled_caught
        rows = plans.steps(rig.store.reader, plan_id)
        assert len(rows) == len(faults)
        assert {row.verdict for row in rows} == {Verdict.APPLIED}
        rig.close()
        rig = world.rig(tmp_path)
        await rig.apply(plan_id)
        assert rig.states(plan_id) == [S.APPLIED]
        assert len(world.writes()) == len(world.kicks()) == 1
        rig.close()
