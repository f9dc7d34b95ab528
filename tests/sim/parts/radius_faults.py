"""Faults of lines by RADIUS: of the way to NAS and server, of NAS, of sessions, of staff, of the database."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import trio

from lab.errors import LabError
from lab.nas import Nas
from lab.staff import Staff
from tests.sim.part import Act, WorldFault
from tests.sim.parts.sql import SqlPart
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


async def _staff(world: World, dice: random.Random) -> None:
    act: Callable[[Staff, str], Awaitable[str]] = dice.choice(STAFF_ACTS)
    login = dice.choice(list(world.logins.values()))
    with suppress(LabError):
        world.trace(f"staff: {login}: {await act(world.staff, login)}")


async def _slow_database(world: World, dice: random.Random) -> None:
    sql = world.find(SqlPart)
    if sql is not None:
        sql.slow_s = dice.uniform(0.5, 2)
    world.pace.before_s = lambda: dice.uniform(0, 12)
    for_s = dice.uniform(20, 120)
    if sql is not None:
        sql.server.note_trouble(for_s)
    await trio.sleep(for_s)
    world.pace.before_s = lambda: 0.0
    if sql is not None:
        sql.slow_s = 0.0


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
    WorldFault("staff", _staff, 4),
    WorldFault("database-slow", _slow_database),
)
