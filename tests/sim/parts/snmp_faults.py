"""Faults of switches: of the way to them, of their agents, their counters and links, and of those who forge traps."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, Final

import trio

from lab.snmp import values
from lab.snmp.device import LINK_DOWN
from lab.snmp.links import IF_INDEX, IF_OPER
from lab.snmp.messages import Version
from lab.snmp.notifications import EngineTime, Notification, Sink, message
from tests.sim.part import Act, WorldFault
from tests.sim.parts.snmp_device import OTHER_WAY, PORTS, WAY, WatchedSwitch
from tests.sim.weather import Rule, Weather

if TYPE_CHECKING:
    from tests.sim.parts.snmp import SnmpPart
    from tests.sim.world import World

LISTEN_PORT: Final = 10162


def _part(world: World) -> SnmpPart:
    from tests.sim.parts.snmp import SnmpPart

    return world.part(SnmpPart)


def _switch(world: World, dice: random.Random) -> WatchedSwitch:
    return dice.choice(list(_part(world).switches.values()))


def _port(dice: random.Random) -> str:
    """Return a port of a subscriber, on any switch."""
    return f"ge-{dice.randrange(3, PORTS)}"


def _habits(*draws: dict[str, Any]) -> Act:
    """Return a fault that is a habit of a switch's agent for a while."""

    async def act(world: World, dice: random.Random) -> None:
        switch, habit = _switch(world, dice), dice.choice(draws)
        for name, value in habit.items():
            setattr(switch.faults, name, dice.uniform(*value) if isinstance(value, tuple) else value)
        await trio.sleep(dice.uniform(20, 200))
        for name in habit:
            setattr(switch.faults, name, type(getattr(switch.faults, name))())

    return act


async def _reboot(world: World, dice: random.Random) -> None:
    """Restart a switch, often while something is done to it.

    Half of the times its ports have other numbers then, and half of the times each feeds power, as it was saved.
    """
    if dice.random() < 0.6:
        await world.until_acting(within_s=60)
    switch, takes_s = _switch(world, dice), dice.uniform(2, 90)
    switch.reboot(takes_s)
    world.trace(f"{switch.name} restarts, for {takes_s:.0f} s")
    if dice.random() < 0.5:
        switch.number_anew(dice.choice((100, 7)))
    if dice.random() < 0.5:
        switch.feed_all()
    await trio.sleep(takes_s)


async def _wrap(world: World, dice: random.Random) -> None:
    """Let counters wrap, and some be cleared."""
    switch = _switch(world, dice)
    for _ in range(dice.randint(1, 4)):
        (switch.wrap_counters if dice.random() < 0.7 else switch.reset_counters)(_port(dice))
        await trio.sleep(dice.uniform(1, 60))


async def _flap(world: World, dice: random.Random) -> None:
    """Let a cable be loose; those towards other switches too."""
    switch, port = _switch(world, dice), dice.choice((_port(dice), _port(dice), "ge-2"))
    for _ in range(dice.randint(1, 5)):
        switch.set_link(port, up=False)
        await trio.sleep(dice.choice((dice.uniform(0, 2), dice.uniform(2, 40))))
        switch.set_link(port, up=True)
        await trio.sleep(dice.uniform(0, 30))


def _traps(weather: Weather) -> Act:
    async def act(world: World, dice: random.Random) -> None:
        rule = world.network.air.add(Rule(weather, port=LISTEN_PORT, kind="udp"))
        await trio.sleep(dice.uniform(100, 300))
        world.network.air.rules.remove(rule)

    return act


async def _forge(world: World, dice: random.Random) -> None:
    """Send traps and informs of links that went down: by somebody who knows a community, or copied one of a user."""
    part = _part(world)
    for _ in range(dice.randint(3, 10)):
        await trio.sleep(dice.uniform(1, 40))
        switch = _switch(world, dice)
        host, _ = part.lab.where(switch.name)
        copies = part.notifiers[switch.name].kept
        with trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM) as udp:
            await udp.bind((host, 0))
            data = dice.choice(copies) if copies and dice.random() < 0.5 else _made_up(switch, dice)
            await udp.sendto(data, ("127.0.0.1", LISTEN_PORT))
        world.trace(f"somebody forges a notification of {switch.name}")


def _made_up(switch: WatchedSwitch, dice: random.Random) -> bytes:
    """Return a trap or inform by which a port that is up went down."""
    index = switch.index_of(_port(dice))
    told = ((f"{IF_INDEX}.{index}", values.integer(index)), (f"{IF_OPER}.{index}", values.integer(2)))
    note = Notification(LINK_DOWN, switch.uptime_ticks(), told, dice.randrange(1, 10**6))
    community = dice.choice((switch.community, "public"))
    sink = Sink("127.0.0.1", LISTEN_PORT, Version.V2C, community, inform=dice.random() < 0.5)
    return message(sink, note, EngineTime(), EngineTime(), "127.0.0.1")


async def _by_hand(world: World, dice: random.Random) -> None:
    """Let another administrator describe and switch ports, and switch them on again."""
    for _ in range(dice.randint(1, 4)):
        if dice.random() < 0.6:
            await world.until_acting(within_s=30)
        switch, port = _switch(world, dice), _port(dice)
        if dice.random() < 0.5:
            switch.by_hand(port, alias=f"by hand {dice.randrange(100)}")
        else:
            on = not switch.states[port][-1].on
            switch.by_hand(port, on=on)
        world.trace(f"staff change {switch.name} {port}")
        await trio.sleep(dice.uniform(0, 60))


async def _move_way(world: World, dice: random.Random) -> None:
    """Let the agent's own way lead over a port of a subscriber for a while."""
    part = _part(world)
    part.move_way(OTHER_WAY)
    await trio.sleep(dice.uniform(60, 250))
    part.move_way(WAY)


FAULTS: Final[tuple[WorldFault, ...]] = tuple(
    WorldFault(f"snmp-{name}", act, times, "snmp")
    for name, act, times in (
        ("reboots", _reboot, 2),
        ("wraps", _wrap, 2),
        ("flaps", _flap, 3),
        ("silent", _habits({"silence": True}), 2),
        ("lossy", _habits({"loss_percent": (5, 60), "jitter_s": (0, 0.5)}, {"duplicate": True, "jitter_s": (0, 1)}), 2),
        (
            "answers-wrong",
            _habits(
                {"wrong_request_id": True},
                {"truncate": 3},
                {"lie": 4},
                {"too_big": 3},
                {"loop": 4},
                {"unsorted": True},
                {"other_port": True},
                {"other_address": True},
                {"wrong_oid": True},
            ),
            2,
        ),
        ("set-unanswered", _habits({"set_lost": True}, {"set_dropped": True}, {"set_late": (0.1, 3.5)}), 2),
        (
            "set-refused",
            _habits({"set_ignored": True}, {"set_error": 5}, {"set_error": 17}, {"set_error": 5, "set_done": True}),
            2,
        ),
        ("traps-lost", _traps(Weather(loss=0.7)), 1),
        ("traps-twice", _traps(Weather((0.0, 5.0), duplicate=0.8)), 1),
        ("traps-forged", _forge, 1),
        ("staff", _by_hand, 2),
        ("way-moves", _move_way, 1),
    )
)
