"""The clocks of the agent's machine: set forward or back, slewed, and of a machine that was suspended.

The clocks of all other machines are right, and people sign by theirs. A person who sees that the agent halted looks at
the machine's clock, sets it right, and accepts it, as docs/operations.md says.
"""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import ClassVar, Final

import trio

from tests.e2e.site import ApiRefusedError
from tests.sim.judge import Evidence, Verdict
from tests.sim.machine import MachineClock
from tests.sim.part import Declared, Part, WorldFault
from tests.sim.people import Desk
from tests.sim.world import AgentAwayError, World

JUMP_S: Final = 300.0
"""By docs/ARCHITECTURE.md a clock that moved by more than this halts the agent."""
NOTICED_S: Final = 5.0
"""How often the agent compares its clocks."""
LOOK_S: Final = 20.0
"""How often a person looks at the agent's state."""


@dataclass(slots=True)
class Jump:
    """The wall clock was set by more than the agent takes. `accepted_at`: when a person said that it is right.

    `seen`: whether the agent must know it: a boot hides it, as nobody can tell how long the machine was off.
    """

    at: float
    accepted_at: float = float("inf")
    seen: bool = True


def jumps_of(clock: MachineClock, accepted: Sequence[float]) -> list[Jump]:
    """Return the jumps of a clock. Settings add up, until a person accepts the clock or the machine boots.

    At a boot the agent knows only that time does not go back: from its last look on, some seconds before the end.
    """
    events = [(at, 0, by_s) for at, by_s in clock.settings[1:]]
    events += [(on, 1, off) for off, on in clock.offs]
    events += [(at, 2, 0.0) for at in accepted]
    found: list[Jump] = []
    known_s = before_s = wrong_s = 0.0
    for at, kind, value in sorted(events):
        jump = found[-1] if found and found[-1].seen and found[-1].accepted_at > at else None
        if kind == 0:
            last_s, wrong_s = wrong_s, value
            if jump is None and abs(wrong_s - known_s) > JUMP_S:
                found.append(Jump(at))
                before_s = last_s
            elif jump is not None and abs(wrong_s - known_s) <= JUMP_S and at - jump.at <= NOTICED_S:
                jump.seen = False
        elif kind == 1 and (jump is None or jump.at > value - NOTICED_S):
            looked = [before_s] if jump is not None else clock.wrong_during(value - NOTICED_S, value)
            if jump is None and wrong_s - max(looked) < value - at:
                found.append(jump := Jump(at))
            if jump is not None:
                jump.seen = wrong_s - min(looked) < value - at - NOTICED_S
            known_s = wrong_s
        elif kind == 2:
            known_s = wrong_s
            if jump is not None:
                jump.accepted_at = at
    return found


async def _step(world: World, dice: random.Random) -> None:
    """Set the machine's wall clock an hour back, or a day ahead; now and then the agent dies in the halt."""
    part = world.part(ClockPart)
    if dice.random() < 0.7:
        await world.until_acting(within_s=60)
        await trio.sleep(dice.choice((0.0, dice.uniform(0, 0.01), dice.uniform(0, 3))))
    part.step(dice.choice((-3600.0, 86_400.0, -400.0, 400.0)))
    if dice.random() < 0.5:
        await trio.sleep(dice.uniform(0, 30))
        world.kill()


async def _nudge(world: World, dice: random.Random) -> None:
    """Set the wall clock by less than the agent minds, there and back."""
    clock = world.machine.clock
    by_s = dice.choice((-1, 1)) * dice.uniform(10, 120)
    clock.step(by_s)
    await trio.sleep(dice.uniform(20, 200))
    clock.step(-by_s)


async def _slew(world: World, dice: random.Random) -> None:
    """Let the wall clock drift, as fast as NTP slews one."""
    world.machine.clock.slew(dice.choice((-1, 1)) * 0.0005)
    await trio.sleep(dice.uniform(100, 300))
    world.machine.clock.slew(0.0)


async def _suspend(world: World, dice: random.Random) -> None:
    """Let much time pass in which nothing happened anywhere: both clocks of each machine are ahead at once."""
    if dice.random() < 0.7:
        await world.until_acting(within_s=60)
    world.part(ClockPart).suspend(dice.choice((200.0, 1900.0, 4000.0)))


class ClockPart(Part):
    """The clocks, and a person who looks at them."""

    name = "clock"
    faults: ClassVar[tuple[WorldFault, ...]] = (
        WorldFault("clock-stepped", _step, 1, "clock"),
        WorldFault("clock-nudged", _nudge, 1, "clock"),
        WorldFault("clock-slewed", _slew, 1, "clock"),
        WorldFault("machine-suspended", _suspend, 1, "clock"),
    )

    async def open(self, world: World, nursery: trio.Nursery) -> Declared:
        """Let a person look at the agent's state, again and again."""
        self._world = world
        self._dice = random.Random(f"clock {world.options.seed}")
        self.accepted: list[float] = []
        """When a person set the clock right and accepted it."""
        self.leaps: list[tuple[float, float]] = []
        return Declared()

    async def install(self, world: World) -> None:
        """Remember when the world's clocks read what."""
        self._began = world.clock.wall_s() - trio.current_time()

    async def work(self, world: World, desk: Desk, within_s: float) -> None:
        """See to a clock that halts the agent."""
        with trio.move_on_after(within_s + 60):
            while True:
                await self.see_to_it(world)
                await trio.sleep(self._dice.uniform(LOOK_S / 2, LOOK_S))

    async def settle(self, world: World) -> None:
        """See to the clock until nothing is halted."""
        world.machine.clock.set_right()
        for _ in range(20):
            await self.see_to_it(world)
            await trio.sleep(LOOK_S)

    async def see_to_it(self, world: World) -> None:
        """Set the clock right and accept it, if the agent says that it halted for it."""
        with suppress(ApiRefusedError, AgentAwayError):
            if (await world.office.call("GET", "/v1/status"))["clock_halt"] is None:
                return
            await trio.sleep(self._dice.uniform(5, 90))
            world.machine.clock.set_right()
            self.accepted.append(trio.current_time())
            await world.office.call("POST", "/v1/clock/accept", {})
            world.trace("people: set the clock right, and accept it")

    def step(self, by_s: float) -> None:
        """Set the wall clock."""
        self._world.machine.clock.step(by_s)
        self._world.trace(f"the clock is set by {by_s:.0f} s")

    def suspend(self, for_s: float) -> None:
        """Let time pass."""
        self._world.clock.start_wall_s += for_s
        self._world.clock.start_boot_s += for_s
        self.leaps.append((trio.current_time(), for_s))
        self._world.bill()
        if not any(part.name == "sql" for part in self._world.parts):
            self._keep_reported(for_s)
        self._world.trace(f"{for_s:.0f} s pass, and nothing happens in them")

    def _keep_reported(self, for_s: float) -> None:
        """Let the sessions that go on be reported as they were before, and not be taken for dead.

        One that is gone was not heard of in that time, though its row may be open still.
        """
        path = self._world.options.folder / "radius.db"
        online = [(for_s, one.session_id, one.login) for one in self._world.isp.sessions()]
        with closing(sqlite3.connect(path)) as radius, radius:
            radius.executemany(
                "UPDATE radacct SET acctupdatetime = acctupdatetime + ?"
                " WHERE acctstoptime IS NULL AND acctsessionid = ? AND username = ?",
                online,
            )

    # --- judgment ----------------------------------------------------------------------------------------------------

    def _right_s(self, at: float) -> float:
        """Return the right time at an instant of trio's clock, unix seconds."""
        return self._began + at + sum(for_s for leapt_at, for_s in self.leaps if leapt_at <= at)

    def judge(self, evidence: Evidence) -> Iterable[Verdict]:
        """Return what must not be.

        | rule | what must hold |
        |---|---|
        | `halted` | after its clock was set by much, nothing is announced until a person accepted the clock |
        | `outside` | only declared reverts are announced after the end of their change's window, by the right time |
        | `halts-for-nothing` | a clock that is right, or slewed, halts nothing |
        | `early` | no item stops as expired before the end of its change's window, by a clock that was never ahead |
        """
        with closing(sqlite3.connect(f"file:{self._world.files.state / 'agent.db'}?mode=ro", uri=True)) as log:
            found = log.execute("SELECT plan_id, run_until_s, made_s FROM plan").fetchall()
            halts = log.execute("SELECT count(*) FROM event WHERE kind = 22").fetchone()[0]
        until = {row[0].hex(): row[1] for row in found}
        clock = self._world.machine.clock
        jumps = jumps_of(clock, self.accepted)
        for deed in evidence.acted:
            for step in deed.open:
                for jump in jumps:
                    # A disk that lied may lose the halt, and the boot after that hides the jump
                    booted = any(jump.at < on <= step.about_at for _, on in clock.offs)
                    lost = booted and evidence.forgot(jump.at + NOTICED_S, step.about_at, first=jump.at)
                    if jump.seen and not lost and jump.at < step.about_at < jump.accepted_at:
                        late_s = step.about_at - jump.at
                        said = f"{deed.what} by {deed.by}, announced {late_s:.3f} s after the clock was set"
                        yield Verdict("halted", deed.at, deed.subject, said)
                ends = step.plan in until and step.direction == "forward"
                if ends and (late_s := self._right_s(step.about_at) - until[step.plan]) > JUMP_S:
                    yield Verdict("outside", deed.at, deed.subject, f"announced {late_s:.0f} s after its window")
        for move in evidence.seen.moves:
            if move.reason != "expired" or move.plan not in until:
                continue
            if max(clock.wrong_during(float("-inf"), move.at)) > JUMP_S:
                continue
            if (left_s := until[move.plan] - self._right_s(move.at)) > JUMP_S:
                yield Verdict("early", move.at, move.service, f"{move.state} as expired {left_s:.0f} s before it is")
        if halts and not jumps:
            yield Verdict("halts-for-nothing", evidence.ended_at, "", "the clock was never set by much")
