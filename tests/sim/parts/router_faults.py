"""Faults of routers: of the way to them, of single commands, of the whole router, of its staff and its subscribers."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, cast

import trio

from lab.router.errors import Trap
from tests.sim.part import Act, WorldFault
from tests.sim.parts.router_access import (
    ACTIVE,
    FLOWS,
    LEASES,
    LISTS,
    LOGGED_IN,
    QUEUES,
    SECRETS,
    SUSPENDED,
    USERS,
    Access,
    api_password,
)
from tests.sim.parts.router_record import AGENT, RecordedRouter
from tests.sim.weather import Rule, Weather
from tests.sim.world import World

if TYPE_CHECKING:
    from tests.sim.parts.routers import RouterPart

COMMANDS: Final = {
    SECRETS: (f"{SECRETS}/set", f"{ACTIVE}/remove", f"{FLOWS[0]}/remove"),
    LEASES: (f"{LEASES}/set", f"{FLOWS[0]}/remove"),
    USERS: (f"{USERS}/set", f"{LOGGED_IN}/remove", "/ip/hotspot/cookie/remove", f"{FLOWS[0]}/remove"),
    QUEUES: (f"{QUEUES}/set", f"{LISTS[0]}/", f"{LISTS[1]}/", f"{FLOWS[0]}/remove", f"{FLOWS[1]}/remove"),
}
"""What changes something, by the menu of a subscriber's own row."""
STAFF: Final = "*staff"
"""The session that holds a safe mode."""


def routers_of(world: World) -> RouterPart:
    """Return the routers of a world that has some."""
    return cast("RouterPart", next(part for part in world.parts if part.name == "routers"))


def _one(world: World, dice: random.Random) -> tuple[str, RecordedRouter, Access]:
    part = routers_of(world)
    name = dice.choice(sorted(part.routers))
    return name, part.routers[name], part.access[name]


# --- the way to a router ----------------------------------------------------------------------------------------------


def _path(weather: Weather, least_s: float, most_s: float) -> Act:
    async def act(world: World, dice: random.Random) -> None:
        name, _, _ = _one(world, dice)
        rule = world.network.air.add(Rule(weather, host=routers_of(world).hosts[name], kind="tcp"))
        await trio.sleep(dice.uniform(least_s, most_s))
        world.network.air.rules.remove(rule)

    return act


async def _half_open(world: World, dice: random.Random) -> None:
    """Let the router's side of each connection be gone without a word, as when something on the way forgot it."""
    name, _, _ = _one(world, dice)
    await world.until_acting(within_s=dice.uniform(5, 60))
    world.network.forget_connections(routers_of(world).hosts[name])


# --- single commands --------------------------------------------------------------------------------------------------


def _commands(fault: str, *, any_command: bool = False) -> Act:
    """Return a fault of `lab.router.faults` that some commands meet. `any_command`: those that read, too."""

    async def act(world: World, dice: random.Random) -> None:
        _, router, access = _one(world, dice)
        for _ in range(dice.choice((1, 2, 3))):
            match = "" if any_command and dice.random() < 0.3 else dice.choice(COMMANDS[access.own])
            router.faults.inject(fault, match=match, times=dice.choice((1, 1, 2, 5)))
        await trio.sleep(dice.uniform(60, 250))
        router.faults.clear()

    return act


async def _flows_stay(world: World, dice: random.Random) -> None:
    """Let no router remove a connection: it says that it did, or that it is busy."""
    routers = [router for _, router in sorted(routers_of(world).routers.items())]
    for router in routers:
        for flows in FLOWS:
            router.faults.inject(dice.choice(("no-effect", "trap:failure: busy")), match=f"{flows}/remove", times=1000)
    await trio.sleep(dice.uniform(60, 250))
    for router in routers:
        router.faults.clear()


async def _faster(world: World, dice: random.Random) -> None:
    """Let another administrator change a row in the instant before the agent's command."""
    _, router, access = _one(world, dice)
    act, who = dice.choice(STAFF_ACTS), dice.choice(sorted(access.logins))

    def drift(_: object) -> None:
        world.trace(f"staff, just before: {who} on {access.name}: {act(router, access, who)}")

    router.faults.inject("drift", match=dice.choice(COMMANDS[access.own]), drift=drift)
    await trio.sleep(dice.uniform(100, 300))
    router.faults.clear()


# --- the whole router -------------------------------------------------------------------------------------------------


async def _reboot(world: World, dice: random.Random) -> None:
    _, router, _ = _one(world, dice)
    if dice.random() < 0.5:
        await world.until_acting(within_s=60)
        await trio.sleep(dice.choice((0.0, 0.001, 0.01, 1.0)))
    router.down_s = dice.choice((0.0, 5.0, 45.0))
    router.reboot()


async def _reuse_ids(world: World, dice: random.Random) -> None:
    """Give freed ids out again, as after a restart: who remembers an id writes to another row."""
    _, router, _ = _one(world, dice)
    router.faults.inject("reuse-ids")
    await trio.sleep(dice.uniform(100, 300))
    router.faults.clear()


async def _upgrade(world: World, dice: random.Random) -> None:
    """Install another patch release, and restart."""
    _, router, _ = _one(world, dice)
    router.version = {"7.20.8": "7.20.9", "7.15.3": "7.15.4", "7.24": "7.24.1"}.get(router.version, router.version)
    router.down_s = 30.0
    router.reboot()


async def _end_of_safe_mode(router: RecordedRouter) -> None:
    """Wait until nobody holds a safe mode. An unrolled safe mode also takes back what others set in its time."""
    while router.safe_mode.held_by:  # noqa: ASYNC110  a router wakes no task
        await trio.sleep(1)


async def _refuse_login(world: World, dice: random.Random) -> None:
    """Change the password of the agent's user, or disable it; connections that it has are closed."""
    _, router, _ = _one(world, dice)
    if dice.random() < 0.5:
        router.set("/user", AGENT, password="changed by somebody")
    else:
        router.set("/user", AGENT, disabled="yes")
    for close in tuple(router.on_restart):
        close()
    await trio.sleep(dice.uniform(20, 120))
    await _end_of_safe_mode(router)
    router.set("/user", AGENT, password=api_password(router), disabled="no")


async def _full(world: World, dice: random.Random) -> None:
    """Let others take every API session."""
    _, router, _ = _one(world, dice)
    router.faults.inject("max-sessions")
    for close in tuple(router.on_restart):
        close()
    await trio.sleep(dice.uniform(20, 120))
    router.faults.clear()


async def _rule_off(world: World, dice: random.Random) -> None:
    """Let somebody disable the rule that keeps suspended subscribers in, for a while."""
    _, router, _ = _one(world, dice)
    await world.until_acting(within_s=100)
    menus = [menu for menu in ("/ip/firewall/filter", "/ipv6/firewall/filter") if router.store.find_model(menu)]
    drops = [(menu, row.id) for menu in menus for row in router.store.table(menu) if row.props.get("action") == "drop"]
    for menu, which in drops:
        router.set(menu, which, disabled="yes")
    await trio.sleep(dice.uniform(20, 200))
    await _end_of_safe_mode(router)
    for menu, which in drops:
        router.set(menu, which, disabled="no")


async def _safe_mode(world: World, dice: random.Random) -> None:
    """Let a colleague hold a safe mode, change something, and end it: kept, or undone."""
    _, router, access = _one(world, dice)
    if router.safe_mode.held_by:
        return
    if dice.random() < 0.5:
        await world.until_acting(within_s=60)
    router.safe_mode.take(STAFF)
    act, who = dice.choice(STAFF_ACTS), dice.choice(sorted(access.logins))
    world.trace(f"staff in safe mode: {who} on {access.name}: {act(router, access, who)}")
    await trio.sleep(dice.uniform(1, 60))
    if dice.random() < 0.5:
        router.safe_mode.release()
    else:
        router.safe_mode.ended(STAFF)
        await trio.sleep(3)


# --- staff and subscribers --------------------------------------------------------------------------------------------

StaffAct = Callable[[RecordedRouter, Access, str], str]


def _edit(**props: str) -> StaffAct:
    def act(router: RecordedRouter, access: Access, who: str) -> str:
        row = access.row(who)
        if row is None:
            return "nothing: it has no row"
        try:
            router.set(access.own, row.id, **props)
        except Trap as err:
            return f"refused: {err}"
        return f"sets {props}"

    return act


def _other_plan(router: RecordedRouter, access: Access, who: str) -> str:
    return _edit(**access.by_hand("Home 50M"))(router, access, who)


def _suspend_by_hand(router: RecordedRouter, access: Access, who: str) -> str:
    return _edit(**access.by_hand(SUSPENDED))(router, access, who)


def _remove(router: RecordedRouter, access: Access, who: str) -> str:
    row = access.row(who)
    if row is None:
        return "nothing: it has no row"
    router.remove(access.own, row.id)
    return "removes its row"


STAFF_ACTS: Final[tuple[StaffAct, ...]] = (
    _other_plan,
    _suspend_by_hand,
    _remove,
    _edit(comment="called on Monday"),
    _edit(comment="moved house"),
    _edit(disabled="yes"),
    _edit(disabled="no"),
)


async def _staff(world: World, dice: random.Random) -> None:
    """Let somebody edit a subscriber's row; one that was removed is added again later."""
    _, router, access = _one(world, dice)
    act, who = dice.choice(STAFF_ACTS), dice.choice(sorted(access.logins))
    row = access.row(who)
    kept = dict(row.props) if row is not None else {}
    world.trace(f"staff: {who} on {access.name}: {act(router, access, who)}")
    if access.row(who) is None and kept:
        await trio.sleep(dice.uniform(5, 100))
        if access.row(who) is None:
            router.add(access.own, **{name: value for name, value in kept.items() if name != "active-address"})


async def _come_and_go(world: World, dice: random.Random) -> None:
    _, _, access = _one(world, dice)
    who, away = dice.choice(sorted(access.logins)), dice.random() < 0.5
    if dice.random() < 0.4:
        await world.until_acting(within_s=60)
    access.restart(who, away=away)
    if away:
        await trio.sleep(dice.uniform(5, 120))
        access.back(who)


FAULTS: Final[tuple[WorldFault, ...]] = tuple(
    WorldFault(f"router-{name}", act, times, "routers")
    for name, act, times in (
        ("cut", _path(Weather(cut=True), 20, 150), 1),
        ("lossy", _path(Weather(delay_s=(0.001, 0.05), loss=0.3), 60, 250), 1),
        ("far", _path(Weather(delay_s=(0.3, 4.0)), 60, 200), 1),
        ("half-open", _half_open, 2),
        ("reply-lost", _commands("reply-lost", any_command=True), 1),
        ("command-lost", _commands("command-lost", any_command=True), 1),
        ("cut-before", _commands("cut-before", any_command=True), 1),
        ("cut-after", _commands("cut-after", any_command=True), 1),
        ("slow", _commands("slow:12", any_command=True), 1),
        ("no-effect", _commands("no-effect"), 1),
        ("refuses", _commands("trap:failure: busy"), 1),
        ("flows-stay", _flows_stay, 1),
        ("reboots-instead", _commands("reboot"), 1),
        ("other-admin", _faster, 2),
        ("reboots", _reboot, 2),
        ("ids-again", _reuse_ids, 1),
        ("upgraded", _upgrade, 1),
        ("login-refused", _refuse_login, 1),
        ("full", _full, 1),
        ("rule-off", _rule_off, 2),
        ("safe-mode", _safe_mode, 2),
        ("staff", _staff, 4),
        ("redials", _come_and_go, 4),
    )
)
