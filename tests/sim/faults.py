"""What goes wrong in a world: a table of faults, each with a beginning and an end.

A seed draws one to four of them. Its first two follow from its number, so that consecutive seeds go through all pairs
before they repeat one, and a seed alone says what happens.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import trio

from lab.errors import LabError
from lab.nas import Nas
from lab.staff import Staff
from tests.sim.weather import Rule, Weather
from tests.sim.world import World

STAFF_ACTS: Final = (
    Staff.disable,
    Staff.enable,
    Staff.reject,
    Staff.unmark,
    Staff.mark,
    Staff.move,
    Staff.power_cycle,
    Staff.leave,
)
Act = Callable[[World, random.Random], Awaitable[None]]
ALONE_PERCENT: Final = 15
"""How many seeds have one fault only."""


@dataclass(frozen=True, slots=True)
class WorldFault:
    """A fault: `act` begins it, lets it last, and takes it back. It may happen `times` times in a world."""

    name: str
    act: Act
    times: int = 1


def _nas(world: World, dice: random.Random) -> Nas:
    return world.isp.nas[dice.choice(sorted(world.isp.nas))]


def _path(weather: Weather, least_s: float, most_s: float, *, radius: bool = False) -> Act:
    """Return a fault of the way to a NAS, or with `radius` to the RADIUS server."""

    async def act(world: World, dice: random.Random) -> None:
        ports = [world.isp.radius.auth_port, world.isp.radius.acct_port] if radius else [_nas(world, dice).dynauth_port]
        rules = [world.network.air.add(Rule(weather, port=port, kind="udp")) for port in ports]
        await trio.sleep(dice.uniform(least_s, most_s))
        for rule in rules:
            world.network.air.rules.remove(rule)

    return act


def _at_nas(text: str) -> Act:
    """Return a fault of `lab.faults`, at one NAS or for one login."""

    async def act(world: World, dice: random.Random) -> None:
        login = dice.choice(["", *world.logins.values()])
        nas = world.isp.nas_of(login) if login else _nas(world, dice)
        nas.set_fault(text, login)
        await trio.sleep(dice.uniform(20, 200))
        nas.faults.clear(login)

    return act


async def _lose_session(world: World, dice: random.Random) -> None:
    login = dice.choice(list(world.logins.values()))
    world.isp.nas_of(login).set_fault("stale-session", login)
    await trio.sleep(dice.uniform(5, 60))
    with suppress(LabError):
        await world.isp.dial(login)


async def _reboot(world: World, dice: random.Random) -> None:
    with suppress(LabError):
        await world.staff.reboot(dice.choice(sorted(world.isp.nas)), announced=dice.random() < 0.5)


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


async def _staff(world: World, dice: random.Random) -> None:
    act: Callable[[Staff, str], Awaitable[str]] = dice.choice(
        [
            Staff.disable,
            Staff.enable,
            Staff.reject,
            Staff.unmark,
            Staff.mark,
            Staff.move,
            Staff.power_cycle,
            Staff.leave,
        ]
    )
    login = dice.choice(list(world.logins.values()))
    with suppress(LabError):
        world.trace(f"staff: {login}: {await act(world.staff, login)}")


async def _slow_database(world: World, dice: random.Random) -> None:
    world.pace.before_s = lambda: dice.uniform(0, 12)
    await trio.sleep(dice.uniform(20, 120))
    world.pace.before_s = lambda: 0.0


async def _late_answers(world: World, dice: random.Random) -> None:
    world.pace.after_s = lambda: dice.choice((0.0, 0.0, 5.0, 60.0))
    await trio.sleep(dice.uniform(20, 120))
    world.pace.after_s = lambda: 0.0


FAULTS: Final[tuple[WorldFault, ...]] = (
    WorldFault("coa-lost", _path(Weather(delay_s=(0.001, 0.01), loss=0.6), 60, 200)),
    WorldFault("coa-doubled", _path(Weather(delay_s=(0.001, 0.5), duplicate=0.9), 60, 300)),
    WorldFault("coa-late", _path(Weather(delay_s=(0.5, 9.0)), 60, 200)),
    WorldFault("nas-cut", _path(Weather(cut=True), 20, 150)),
    WorldFault("radius-lossy", _path(Weather(delay_s=(0.001, 1.0), loss=0.5), 60, 300, radius=True)),
    WorldFault("radius-cut", _path(Weather(cut=True), 20, 120, radius=True)),
    WorldFault("start-lost", _at_nas("start-lost")),
    WorldFault("stop-lost", _at_nas("stop-lost")),
    WorldFault("accounting-lossy", _at_nas("accounting-lost:50")),
    WorldFault("reply-lost", _at_nas("reply-lost")),
    WorldFault("ack-without-effect", _at_nas("ack-without-effect")),
    WorldFault("nas-silent", _at_nas("silence")),
    WorldFault("nas-slow", _at_nas("slow:7")),
    WorldFault("nas-refuses", _at_nas("nak:504")),
    WorldFault("replies-doubled", _at_nas("duplicate-replies")),
    WorldFault("no-redial", _at_nas("no-redial")),
    WorldFault("session-vanishes", _lose_session, 3),
    WorldFault("nas-reboots", _reboot, 2),
    WorldFault("agent-killed", _kill, 3),
    WorldFault("agent-killed-writing", _kill_at_command, 4),
    WorldFault("staff", _staff, 4),
    WorldFault("database-slow", _slow_database),
    WorldFault("answers-late", _late_answers),
)
PAIRS: Final = tuple(itertools.combinations(range(len(FAULTS)), 2))


def drawn(seed: int) -> tuple[WorldFault, ...]:
    """Return the faults of a seed, one to four."""
    dice = random.Random(f"faults {seed}")
    first, second = PAIRS[seed * 61 % len(PAIRS)]
    if dice.randrange(100) < ALONE_PERCENT:
        return (FAULTS[dice.choice((first, second))],)
    others = [n for n in range(len(FAULTS)) if n not in (first, second)]
    more = dice.sample(others, dice.choice((0, 0, 1, 2)))
    return tuple(FAULTS[n] for n in (first, second, *more))


def pairs_of(faults: Sequence[WorldFault]) -> set[tuple[str, str]]:
    """Return the pairs that some faults make."""
    return set(itertools.combinations(sorted(f.name for f in faults), 2))


async def play(world: World, faults: Sequence[WorldFault], within_s: float) -> None:
    """Let the faults happen, each at moments of its own; returns once all of them are over."""

    async def one(fault: WorldFault, n: int) -> None:
        dice = random.Random(f"{world.options.seed} {fault.name} {n}")
        await trio.sleep(dice.uniform(0, within_s))
        world.trace(f"fault: {fault.name}")
        await fault.act(world, dice)
        world.trace(f"fault over: {fault.name}")

    async with trio.open_nursery() as nursery:
        for fault in faults:
            for n in range(fault.times):
                nursery.start_soon(one, fault, n)
