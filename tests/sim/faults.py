"""What goes wrong in a world: the faults of all its parts, drawn by seed, each with a beginning and an end.

A seed draws one to four of them. Its first two follow from its number, so that consecutive seeds go through all pairs
before they repeat one, and a seed alone says what happens. The parts that these faults need are in its world; each
other part is there or not by the seed.
"""

from __future__ import annotations

import functools
import itertools
import math
import random
from collections.abc import Iterable, Sequence
from typing import Final

import trio

from tests.sim.all_parts import PARTS
from tests.sim.part import DidNothingError, Part, WorldFault
from tests.sim.world import World

ALONE_PERCENT: Final = 15
"""How many seeds have one fault only."""
SIZES: Final = (0.2, 0.2, 0.3, 0.3, 0.5, 1.0)
"""Most worlds are small: what goes wrong mostly takes a fault or two and a few asks, and more asks only cost time. Each
fault has its part and all its occurrences in a world of any size.
"""


async def _kill(world: World, dice: random.Random) -> None:
    """Kill the agent at any time, or while it does something to a line."""
    if dice.random() < 0.7:
        await world.until_acting(within_s=60)
        await trio.sleep(dice.choice((0.0, dice.uniform(0, 0.01), dice.uniform(0, 3))))
    world.kill()


async def _kill_at_command(world: World, dice: random.Random) -> None:
    """Kill the agent when it writes its log, just before or just after the commit."""
    if dice.random() < 0.7:
        await world.until_acting(within_s=60)
    world.kill_at_command(dice.randrange(1, 12), durable=dice.random() < 0.5)


async def _late_answers(world: World, dice: random.Random) -> None:
    world.pace.after_s = lambda: dice.choice((0.0, 0.0, 5.0, 60.0))
    await trio.sleep(dice.uniform(20, 120))
    world.pace.after_s = lambda: 0.0


async def _unplug(world: World, dice: random.Random) -> None:
    """Let the agent's machine have no network towards devices, billing and databases by TCP for a while."""
    if dice.random() < 0.7:
        await world.until_acting(within_s=60)
    world.network.unplugged = world.machine.name
    await trio.sleep(dice.choice((dice.uniform(0, 5), dice.uniform(5, 90))))
    world.network.unplugged = ""


FAULTS: Final[tuple[WorldFault, ...]] = (
    WorldFault("agent-unplugged", _unplug, 3),
    WorldFault("agent-killed", _kill, 3),
    WorldFault("agent-killed-writing", _kill_at_command, 4),
    WorldFault("answers-late", _late_answers),
    *(fault for part in PARTS for fault in part.faults),
)
PAIRS: Final = tuple(itertools.combinations(FAULTS, 2))


@functools.cache
def _faults_of(parts: tuple[type[Part], ...]) -> tuple[WorldFault, ...]:
    names = {"", *(part.name for part in parts)}
    return tuple(fault for fault in FAULTS if fault.part in names)


@functools.cache
def _pairs_of(faults: tuple[WorldFault, ...]) -> tuple[tuple[WorldFault, WorldFault], ...]:
    return tuple(itertools.combinations(faults, 2))


def drawn(seed: int, parts: Sequence[type[Part]] = PARTS) -> tuple[WorldFault, ...]:
    """Return the faults of a seed, one to four, that a world of these parts can have."""
    dice = random.Random(f"faults {seed}")
    faults = _faults_of(tuple(parts))
    pairs = _pairs_of(faults)
    stride = next(n for n in itertools.count(61) if math.gcd(n, len(pairs)) == 1)  # goes through all pairs
    first, second = pairs[seed * stride % len(pairs)]
    if dice.randrange(100) < ALONE_PERCENT:
        return (dice.choice((first, second)),)
    others = [fault for fault in faults if fault not in (first, second)]
    return (first, second, *dice.sample(others, dice.choice((0, 0, 1, 2))))


def size_of(seed: int) -> float:
    """Return the size of a seed's world: the share of people's work, devices and further parts that it has."""
    return random.Random(f"size {seed}").choice(SIZES)


def parts_of(seed: int, faults: Sequence[WorldFault], size: float = 1.0) -> tuple[type[Part], ...]:
    """Return the parts of a seed's world. RADIUS is in each; those of a small world are all in the largest one too."""

    def by_chance(part: type[Part]) -> bool:
        percent = part.percent if part.name == "sql" else part.percent * size
        return random.Random(f"{part.name} {seed}").randrange(100) < percent

    needed = {"radius", *(fault.part for fault in faults)}
    limits = [part.beside for part in PARTS if part.name in needed and part.beside is not None]

    def may_join(part: type[Part]) -> bool:
        return all(part.name in limit for limit in limits)

    return tuple(part for part in PARTS if part.name in needed or (by_chance(part) and may_join(part)))


def pairs_of(faults: Iterable[str]) -> set[tuple[str, str]]:
    """Return the pairs that some faults make, by name."""
    return set(itertools.combinations(sorted(faults), 2))


async def play(world: World, faults: Sequence[WorldFault], within_s: float) -> None:
    """Let the faults happen, each at moments of its own; returns once all of them are over."""

    async def one(fault: WorldFault, n: int) -> None:
        dice = random.Random(f"{world.options.seed} {fault.name} {n}")
        await trio.sleep(dice.uniform(0, within_s))
        world.trace(f"fault: {fault.name}")
        try:
            await fault.act(world, dice)
        except DidNothingError:
            world.trace(f"fault did nothing: {fault.name}")
        else:
            world.acted.add(fault.name)
            world.trace(f"fault over: {fault.name}")

    async with trio.open_nursery() as nursery:
        for fault in faults:
            for n in range(fault.times):
                if world.happens(f"{fault.name} {n}"):
                    nursery.start_soon(one, fault, n)
