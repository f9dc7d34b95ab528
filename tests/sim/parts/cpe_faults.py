"""Faults of CPE: of the way between them and the ACS, of the devices, of their owners, of whoever copies one."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, cast

import trio

from lab.cpe.quirks import Quirks
from tests.sim.part import Act, DidNothingError, WorldFault
from tests.sim.parts.cpe_device import PORT, Home
from tests.sim.weather import Rule, Weather
from tests.sim.world import World

if TYPE_CHECKING:
    from tests.sim.parts.cpe import CpePart

PART: Final = "cpe"
TAKES: Final = ("SetParameterValues", "AddObject", "DeleteObject", "Reboot", "FactoryReset", "Download")


def _part(world: World) -> CpePart:
    return cast("CpePart", next(part for part in world.parts if part.name == PART))


def _some(world: World, dice: random.Random, most: int) -> Sequence[Home]:
    homes = list(_part(world).homes.values())
    return dice.sample(homes, dice.randint(1, min(most, len(homes))))


def _path(weather: Weather, least_s: float, most_s: float, *, one: bool = False) -> Act:
    """Return a fault of the way to the ACS, or with `one` of that of one CPE."""

    async def act(world: World, dice: random.Random) -> None:
        (home,) = _some(world, dice, 1)
        where = {"host": home.address} if one else {"port": PORT}
        rule = world.network.air.add(Rule(weather, kind="tcp", **where))
        await trio.sleep(dice.uniform(least_s, most_s))
        world.network.air.rules.remove(rule)

    return act


def _habit(draw: Callable[[random.Random, Home], dict[str, Any]], least_s: float, most_s: float) -> Act:
    """Return a fault that is a habit of some CPE for a while."""

    async def act(world: World, dice: random.Random) -> None:
        homes = _some(world, dice, 4)
        for home in homes:
            home.device.quirks = replace(home.quirks, **draw(dice, home))
            home.device._lost = 0  # how many answers it lost already, in an earlier time like this
        await trio.sleep(dice.uniform(least_s, most_s))
        for home in homes:
            home.device.quirks = home.quirks

    return act


def _strike(act: Callable[[World, random.Random, Home], None], within_s: float) -> Act:
    """Return a fault that strikes when a CPE has done something, before its answer is sent."""

    async def wait(world: World, dice: random.Random) -> None:
        part, after = _part(world), dice.choice((0, 0, 1, 2))

        def strike(home: Home) -> None:
            nonlocal after
            if after:
                after -= 1
                return
            part.strikes.remove(strike)
            world.trace(f"strikes: {home.device.identity.serial}")
            act(world, dice, home)

        part.strikes.append(strike)
        await trio.sleep(within_s)
        if strike in part.strikes:
            part.strikes.remove(strike)

    return wait


def _cut_now(world: World, dice: random.Random, home: Home) -> None:
    rule = world.network.air.add(Rule(Weather(cut=True), host=home.address, kind="tcp"))
    world.network.after(dice.uniform(5, 90), lambda: world.network.air.rules.remove(rule))


async def _owner_edits(world: World, dice: random.Random) -> None:
    (home,) = _some(world, dice, 1)
    name = dice.choice(home.wifi_names)
    value = str(dice.choice((1, 6, 11))) if name.endswith("Channel") else f"mine {dice.randrange(10**6)}"
    home.device.put(name, value)


def reset(home: Home) -> None:
    """Let an owner push the button that resets a CPE."""
    home.device.reset_later()
    if not home.device.in_session:
        home.device.reboot_when_idle()


async def _owner_resets(world: World, dice: random.Random) -> None:
    (home,) = _some(world, dice, 1)
    reset(home)


async def _off(world: World, dice: random.Random) -> None:
    for home in _some(world, dice, 2):
        home.power_cut(dice.uniform(20, 250))
    await trio.sleep(1)


async def _boots(world: World, dice: random.Random) -> None:
    (home,) = _some(world, dice, 1)
    home.power_cut(dice.uniform(2, 10))
    if dice.random() < 0.4:  # and once more, as power comes back
        await trio.sleep(dice.uniform(5, 30))
        home.power_cut(dice.uniform(2, 10))


async def _in_1970(world: World, dice: random.Random) -> None:
    (home,) = _some(world, dice, 1)
    right, began = home.device.clock, trio.current_time()
    home.device.clock = lambda: trio.current_time() - began
    home.power_cut(5.0)
    await trio.sleep(dice.uniform(30, 200))
    home.device.clock = right
    home.power_cut(5.0)


async def _informs_twice(world: World, dice: random.Random) -> None:
    for home in _some(world, dice, 4):
        home.device.informs_to_lose = dice.choice((1, 2))
    await trio.sleep(100)
    for home in _part(world).homes.values():
        home.device.informs_to_lose = 0


async def _doorbells_cut(world: World, dice: random.Random) -> None:
    ports = {home.doorbell_port for home in _some(world, dice, 4)}
    ports.discard(0)  # it has not been on yet, and a rule for 0 is one for all ports
    if not ports:
        raise DidNothingError
    rules = [world.network.air.add(Rule(Weather(cut=True), port=port, kind="tcp")) for port in sorted(ports)]
    await trio.sleep(dice.uniform(60, 200))
    for rule in rules:
        world.network.air.rules.remove(rule)


async def _clone(world: World, dice: random.Random) -> None:
    (home,) = _some(world, dice, 1)
    clone = _part(world).clone(home)
    await trio.sleep(dice.uniform(40, 250))
    clone.scope.cancel()


def _firmware(dice: random.Random, home: Home) -> dict[str, Any]:
    return {"firmware": dice.choice(("silent", "stall", "faults"))}


def _ignores(dice: random.Random, home: Home) -> dict[str, Any]:
    name = dice.choice(home.wifi_names)
    return {"writes_ignored": (name,)} if dice.random() < 0.6 else {"writes_coerced": ((name, "3"),)}


def _loses_answers(dice: random.Random, home: Home) -> dict[str, Any]:
    return {"loses_answer_on": TAKES, "loses": dice.choice((1, 1, 2, 3))}


def _hangs_up(dice: random.Random, home: Home) -> dict[str, Any]:
    return {"cut_on": dice.choice((TAKES, ("GetParameterValues",)))}


def _fault(name: str, act: Act, times: int = 1) -> WorldFault:
    return WorldFault(name, act, times, PART)


FAULTS: Final[tuple[WorldFault, ...]] = (
    _fault("cpe-cut", _path(Weather(cut=True), 20, 120)),
    _fault("cpe-lossy", _path(Weather(delay_s=(0.01, 0.5), loss=0.3), 60, 250)),
    _fault("cpe-slow", _path(Weather(delay_s=(1.0, 9.0)), 60, 250, one=True), 3),
    _fault("cpe-loses-answers", _habit(_loses_answers, 60, 250), 2),
    _fault("cpe-hangs-up", _habit(_hangs_up, 30, 150), 2),
    _fault("cpe-refuses", _habit(lambda dice, home: {"fails_on": TAKES}, 30, 200), 2),
    _fault("cpe-ignores-writes", _habit(_ignores, 60, 250), 2),
    _fault("cpe-firmware-fails", _habit(_firmware, 150, 300), 2),
    _fault("cpe-not-called", _habit(lambda dice, home: {dice.choice(("busy", "deaf")): True}, 60, 250), 2),
    _fault("cpe-doorbells-cut", _doorbells_cut),
    _fault("cpe-power-cut-in-session", _strike(lambda world, dice, home: home.power_cut(dice.uniform(2, 60)), 200), 2),
    _fault("cpe-cut-in-session", _strike(_cut_now, 200), 2),
    _fault("acs-killed-in-session", _strike(lambda world, dice, home: world.kill(), 200), 2),
    _fault("cpe-boots", _boots, 5),
    _fault("cpe-off", _off, 2),
    _fault("cpe-owner-edits", _owner_edits, 6),
    _fault("cpe-owner-resets", _owner_resets, 2),
    _fault("cpe-clock-1970", _in_1970),
    _fault("cpe-informs-twice", _informs_twice, 2),
    _fault("cpe-cloned", _clone),
)
ALWAYS: Final = (
    Quirks(),
    Quirks(),
    Quirks(truth=("true", "false")),
    Quirks(status_1=True),
    Quirks(no_cookies=True, chunked=True),
    Quirks(id_not_echoed=True, blank_names=True),
    Quirks(names_max=3),
    Quirks(asks_methods=True, no_id=True),
)
"""Habits of models: a device has one of these always."""
