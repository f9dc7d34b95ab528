"""Acts: what people do in some worlds, beside the asks of every world. The seed draws them.

Each act has dice and a name of its own, as an ask has, so that a world without any is the one that it was before there
were acts, and a failing seed is cut by leaving some out.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Final

import trio

from tests.sim.all_parts import PARTS
from tests.sim.part import Part, WorldAct
from tests.sim.people import RETRY_LATE, Desk

SHARE: Final = 0.25
"""In how many worlds of full size that have its part an act happens; a smaller world has it more seldom."""
ACTS: Final[tuple[WorldAct, ...]] = (RETRY_LATE, *(act for part in PARTS for act in part.acts))


def drawn_acts(seed: int, parts: Sequence[type[Part]], size: float) -> tuple[WorldAct, ...]:
    """Return the acts of a seed, in a world of these parts and that size."""
    return tuple(
        act for act in possible(parts, ACTS) if random.Random(f"act {act.name} {seed}").random() < SHARE * size
    )


def possible(parts: Sequence[type[Part]], acts: Sequence[WorldAct]) -> tuple[WorldAct, ...]:
    """Return those of some acts that a world of these parts can have."""
    names = {"", *(part.name for part in parts)}
    return tuple(act for act in acts if act.part in names)


async def play(desk: Desk, acts: Sequence[WorldAct], within_s: float) -> None:
    """Let the acts happen, each with its own dice; returns when all are over."""
    async with trio.open_nursery() as nursery:
        for act in acts:
            for n in range(act.times):
                name = f"{act.name} {n}"
                if desk.world.happens(name):
                    nursery.start_soon(act.act, desk, random.Random(f"{desk.world.options.seed} {name}"), within_s)
