"""The meter in the simulated world. In the repository it would be `tests/sim/parts/meter.py`."""

from __future__ import annotations

import random
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import ClassVar

import trio

from tests.e2e.site import ApiRefusedError
from tests.sim.judge import Evidence, Verdict
from tests.sim.part import Declared, Part, WorldFault
from tests.sim.people import Desk
from tests.sim.world import AgentAwayError, World

EVERY_S = 20
LATE_S = 5.0
"""How much older than its age a value may be: whole seconds, and a reading under way."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A value that the agent showed at trio's time `at`, and how old it said that it is."""

    at: float
    value: float
    age_s: float


async def _away(world: World, dice: random.Random) -> None:
    """Take the meter's file away for a while."""
    part = world.part(MeterPart)
    part.works = False
    part.file.unlink()
    await trio.sleep(dice.uniform(10, 200))
    part.works = True
    part.write()


class MeterPart(Part):
    """A meter. `truth`: what it measured, and since when; `shown`: what the agent said of it."""

    name = "meter"
    faults: ClassVar[tuple[WorldFault, ...]] = (WorldFault("meter-away", _away, part="meter"),)

    async def open(self, world: World, nursery: trio.Nursery) -> Declared:
        """Let the meter write its file, and name it in the agent's configuration."""
        self._world, self._dice = world, random.Random(f"meter {world.options.seed}")
        self.file, self.works = world.options.folder / "hill.txt", True
        self.truth: list[tuple[float, float]] = []
        self.shown: list[Shown] = []
        self._measure()
        config = f'[meter.hill]\nfile = "{self.file}"\nsecret = "meter/hill"\nevery_s = {EVERY_S}\n'
        return Declared(config, {"meter/hill": "pass"})

    def _measure(self) -> None:
        self.truth.append((trio.current_time(), round(self._dice.uniform(11, 13), 2)))
        self.write()

    def write(self) -> None:
        """Write the newest value, while the meter works."""
        if self.works:
            self.file.write_text(f"volts={self.truth[-1][1]}\n", encoding="utf-8")

    async def work(self, world: World, desk: Desk, within_s: float) -> None:
        """Measure again and again, and look at what the agent shows."""
        with trio.move_on_after(within_s):
            while True:
                await trio.sleep(self._dice.uniform(1, 30))
                self._measure()
                await self._look()

    async def _look(self) -> None:
        with suppress(AgentAwayError, ApiRefusedError):
            device = await self._world.office.call("GET", "/v1/devices/hill")
            for sensor in device["sensors"]:
                self.shown.append(Shown(trio.current_time(), sensor["value"], sensor["age_s"]))

    async def settle(self, world: World) -> None:
        """Look once more, when the meter has worked for a while."""
        await trio.sleep(3 * EVERY_S)
        await self._look()

    def judge(self, evidence: Evidence) -> Iterable[Verdict]:
        """Return each value that was shown and had not been true at its age; `told` is the rule's name."""
        for shown in self.shown:
            since = shown.at - shown.age_s - LATE_S
            ends = [at for at, _ in self.truth[1:]] + [float("inf")]
            if not any(value == shown.value and end >= since for (_, value), end in zip(self.truth, ends, strict=True)):
                yield Verdict("told", shown.at, "hill", f"{shown.value} V, {shown.age_s:.0f} s old")
        if not self.shown or self.shown[-1].value not in [value for _, value in self.truth[-2:]]:
            yield Verdict("told", evidence.ended_at, "hill", "its newest value is not shown when all is at rest")
