"""Faults of the disk below the agent's files, and of those who put copies of it back."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

import trio

from tests.sim.part import WorldFault

if TYPE_CHECKING:
    from tests.sim.parts.disk import DiskPart
    from tests.sim.world import World

ARRIVES_S: Final = 1.5
"""Within how long after a program's end all arrives that it sent, where nothing is slow."""
KINDS: Final = ("database", "directory", "machine", "mark-lost")
"""What is put back: agent.db alone; the state directory; with the mark file, as a snapshot of the machine is, and
people say so (`ispagent init --restored`); the state directory on a machine without the mark file, where people type
the words of the trust document."""


def _part(world: World) -> DiskPart:
    from tests.sim.parts.disk import DiskPart

    return world.part(DiskPart)


def arrives_s(world: World, least_s: float) -> float:
    """Return within how long all arrives that the agent has sent, as its ways are now; at least `least_s`."""
    return max(least_s, *(rule.weather.delay_s[1] for rule in world.network.air.rules), 0.0)


async def _cut(world: World, dice: random.Random) -> None:
    """Cut the power at some operation of the disk, often while the agent does something to a line."""
    part = _part(world)
    if dice.random() < 0.7:
        await world.until_acting(within_s=60)
    before = len(part.cuts)
    part.disk.after_operations(dice.choice((1, 2, 3, dice.randrange(1, 40), dice.randrange(1, 400))), part.disk.cut)
    with trio.move_on_after(60):
        while len(part.cuts) == before or not part.disk.powered:  # noqa: ASYNC110  a callback of SQLite's ends it
            await trio.sleep(1)
    part.disk.forget(part.disk.cut)


async def _lie(world: World, dice: random.Random) -> None:
    """Let the disk of the state directory lie about syncs for a time, and then lose its power."""
    part = _part(world)
    part.disk.lies = lambda path: path.parent == part.state
    await trio.sleep(dice.choice((dice.uniform(0, 5), dice.uniform(0, 60))))
    await _cut(world, dice)
    part.disk.lies = lambda path: False


async def _fill(world: World, dice: random.Random) -> None:
    """Let the disk be full from some write on, and make room later."""
    part = _part(world)
    if dice.random() < 0.7:
        await world.until_acting(within_s=60)
    began: list[float] = []

    def fill() -> None:
        part.disk.full = True
        began.append(trio.current_time())

    part.disk.after_operations(dice.randrange(1, 60), fill)
    await trio.sleep(dice.uniform(10, 120))
    part.disk.forget(fill)
    part.disk.full = False
    if began:
        part.full.append((began[0], trio.current_time()))


async def _restore(world: World, dice: random.Random) -> None:
    """Put back what was copied earlier, and do what docs/operations.md says of it."""
    part = _part(world)
    if dice.random() < 0.5:
        await world.until_acting(within_s=60)
        await trio.sleep(dice.uniform(0, 3))
    await part.running()
    copy = part.copy()
    await trio.sleep(dice.choice((dice.uniform(1, 20), dice.uniform(20, 200))))
    kind = dice.choice(KINDS)
    await part.while_stopped(lambda: part.restore(copy, kind), after_s=arrives_s(world, 0.0))
    if kind == "mark-lost":
        await part.accept_trust(world, dice.uniform(5, 120))


async def _flip(world: World, dice: random.Random) -> None:
    """Let a page of a database come back from the disk as something else at the agent's next start."""
    part = _part(world)
    if dice.random() < 0.7:
        await world.until_acting(within_s=60)
    await part.running()
    # What the agent sent before its end is announced in the log, which is read here when it arrives
    await part.while_stopped(lambda: part.flip(dice), after_s=arrives_s(world, ARRIVES_S))


async def _rot(world: World, dice: random.Random) -> None:
    """Let a page of a database that is in use read as something else, or not at all; end the agent in the end."""
    part = _part(world)
    if dice.random() < 0.7:
        await world.until_acting(within_s=60)
    await part.running()
    part.rot(dice)
    await trio.sleep(dice.choice((dice.uniform(0, 5), dice.uniform(5, 120))))
    part.disk.tell_reads(None)
    if part.disk.rot is not None:  # nobody has read it, or it damages nothing
        await part.while_stopped(lambda: None)


FAULTS: Final[tuple[WorldFault, ...]] = (
    WorldFault("power-cut", _cut, 3, "disk"),
    WorldFault("disk-lies", _lie, 1, "disk"),
    WorldFault("disk-full", _fill, 2, "disk"),
    WorldFault("copy-put-back", _restore, 1, "disk"),
    WorldFault("page-flipped", _flip, 2, "disk"),
    WorldFault("page-rots", _rot, 3, "disk"),
)
