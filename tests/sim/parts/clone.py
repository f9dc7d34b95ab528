"""A copy of the agent's machine that runs beside it: a snapshot that somebody started, with the keys and all plans.

People talk to the original alone, and the copy goes on with what it finds begun or approved. What it shares with the
original are the lines: `twice` and the other rules of `tests.sim.judge` hold for both together.
"""

from __future__ import annotations

import random
import shutil
from dataclasses import replace
from typing import ClassVar, Final

import trio

from tests.sim.judge import Evidence
from tests.sim.machine import Machine, MachineClock
from tests.sim.part import Declared, DidNothingError, Part, WorldFault
from tests.sim.world import BACK_S, World

BESIDE: Final = frozenset({"radius", "sql", "routers", "clone"})
"""The parts whose devices tell of two machines which one did something. Beside others no copy is started."""
MIDDLE_S: Final = 150.0
"""How long a copy waits for the middle of a batch."""
MANY: Final = 3
"""At least so many items of a batch at work are not begun when it is copied: the copy goes on with these."""
LEFT: Final = (
    "SELECT count(*) FROM item JOIN plan USING (plan_id) WHERE state = 'planned'"
    " AND consumed_seq IS NOT NULL AND finished_seq IS NULL"
)
"""How many items of changes at work are not begun yet."""


async def _clone(world: World, dice: random.Random) -> None:
    """Start a copy of the machine, often from the middle of a batch, and stop it after some time."""
    part = world.part(ClonePart)
    if not {one.name for one in world.parts} <= BESIDE:
        raise DidNothingError
    if dice.random() < 0.8:
        await _in_the_middle(world)
        await trio.sleep(dice.choice((0.0, dice.uniform(0, 0.01), dice.uniform(0, 3))))
    while world.life is None or world.life.process.dead:
        await world.machine.started.wait()
        await trio.sleep(1)
    machine = part.copy()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.live, machine)
        await trio.sleep(dice.uniform(20, 250))
        if machine.life is not None:
            machine.life.kill()
        await trio.sleep(BACK_S / 2)
        nursery.cancel_scope.cancel()
    world.trace(f"{machine.name} is switched off")


async def _in_the_middle(world: World) -> None:
    """Return when the agent does something and has more to do of that change, or after some time."""
    with trio.move_on_after(MIDDLE_S):
        while True:
            await world.until_acting(within_s=MIDDLE_S)
            log = world.witness.agent_log.log()
            if log is not None and log.execute(LEFT).fetchone()[0] >= MANY:
                return


class ClonePart(Part):
    """The copies. `copied`: when each was made."""

    name = "clone"
    percent: ClassVar[int] = 0
    beside: ClassVar[frozenset[str] | None] = BESIDE
    faults: ClassVar[tuple[WorldFault, ...]] = (WorldFault("machine-cloned", _clone, 1, "clone"),)

    async def open(self, world: World, nursery: trio.Nursery) -> Declared:
        """Know no copy yet."""
        self._world = world
        self.copied: list[float] = []
        return Declared()

    def copy(self) -> Machine:
        """Return a machine with everything that the agent's has on its disk at this instant."""
        world, files = self._world, self._world.files
        self.copied.append(trio.current_time())
        home = files.folder.with_name(f"site-copy-{len(self.copied)}")
        shutil.copytree(files.folder, home, ignore=shutil.ignore_patterns("*-shm", "*.sock"))
        billing = home / files.billing.path.name
        billing.unlink()
        billing.symlink_to(files.billing.path)
        machine = Machine(f"copy-{len(self.copied)}", replace(files, folder=home, config=home / files.config.name),
                          MachineClock(world.clock))  # fmt: skip
        world.witness.add_log(machine.name, home / "state" / "agent.db")
        world.trace(f"the machine is copied, as {machine.name}")
        return machine

    def judge(self, evidence: Evidence) -> tuple[()]:
        """Return nothing: the rules for all see both."""
        return ()
