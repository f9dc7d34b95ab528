"""Owners and staff of CPE beside the agent's people: they set values back and again, and carry CPE to other houses."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final, cast

import trio

from tests.e2e.site import Json
from tests.sim.part import WorldAct
from tests.sim.parts.cpe_device import Home
from tests.sim.people import Desk

if TYPE_CHECKING:
    from tests.sim.parts.cpe import CpePart

OVER_S: Final = 330.0
"""How long people wait for the end of a change: a CPE that is not called comes by itself every 150 s."""
TABLE: Final = "Device.NAT.PortMapping."
"""A table of the CPE with TR-181."""


def _part(desk: Desk) -> CpePart:
    return cast("CpePart", next(part for part in desk.world.parts if part.name == "cpe"))


def _subjects(change: Json) -> frozenset[str]:
    return frozenset(item["cpe"] for item in change["items"] if item["state"] == "planned")


async def _change(desk: Desk, dice: random.Random, action: str, *names: str, **fields: object) -> Json | None:
    """Ask for a change and see it through; return its preview."""
    change: Json | None = await desk.calmly(lambda: desk.world.office.ask(action, *names, **fields))
    if change is not None:
        await desk.see_through(change, "cpe-set" if action == "revert" else action, _subjects(change), dice)
    return change


async def _renamed(desk: Desk, dice: random.Random, *homes: Home) -> Json | None:
    """Let the networks of some homes have another name, by a change."""
    ssid = {"wifi.1.ssid": f"our {dice.randrange(10**6)}"}
    return await _change(desk, dice, "cpe-set", *(home.device.name for home in homes), settings=ssid)


async def _set_again(desk: Desk, dice: random.Random, within_s: float) -> None:
    """Let a change be done, let the owner set its value back and again, and then let somebody ask for its revert."""
    await trio.sleep(dice.uniform(60, within_s))
    home = dice.choice(list(_part(desk).homes.values()))
    name, device = home.wifi_names[0], home.device
    before = device.tree.get(name)
    change = await _renamed(desk, dice, home)
    if change is None or await desk.over(change, OVER_S) is None:
        return
    after = device.tree.get(name)
    for value in dice.choice(((before, after), (before, after), (before, after, before), (before,))):
        await trio.sleep(dice.uniform(0.5, 60))
        device.put(name, value)
        desk.world.trace(f"{device.identity.serial}: its owner sets {value!r}")
    await trio.sleep(dice.uniform(0.5, 60))
    await _change(desk, dice, "revert", change=change["id"])


async def _swap(desk: Desk, dice: random.Random, within_s: float) -> None:
    """Carry two CPE to each other's house, and accept each for its new subscriber; a change of before is reverted."""
    await trio.sleep(dice.uniform(60, within_s))
    part = _part(desk)
    two = dice.sample(list(part.homes.values()), 2)
    change = await _renamed(desk, dice, *two) if dice.random() < 0.7 else None
    if change is not None and dice.random() < 0.7:
        await desk.over(change, OVER_S)
    part.carry(*two)
    async with trio.open_nursery() as nursery:
        for home in two:
            home.power_cut(dice.uniform(10, 90))
            nursery.start_soon(part.accept, desk, home, random.Random(dice.random()))
    if change is not None:
        await trio.sleep(dice.uniform(0, 60))
        await _change(desk, dice, "revert", change=change["id"])


async def _row(desk: Desk, dice: random.Random, within_s: float) -> None:
    """Read a table of a CPE and add a row to it; then somebody asks for the revert, which deletes the row."""
    await trio.sleep(dice.uniform(60, within_s))
    with_it = [home for home in _part(desk).homes.values() if not home.old]
    if not with_it:
        return
    name, office = dice.choice(with_it).device.name, desk.world.office
    body = {"names": [TABLE], "timeout_s": 60}
    await desk.calmly(lambda: office.call("POST", f"/v1/cpes/{name}/refresh", body))
    row = {f"+{TABLE}[ExternalPort={dice.randrange(2000, 9000)}]": "InternalClient=192.168.1.20,Protocol=TCP"}
    change = await _change(desk, dice, "cpe-set", name, settings=row, on_failure=dice.choice(("stop", "revert")))
    if change is None or await desk.over(change, OVER_S) is None:
        return
    await trio.sleep(dice.uniform(0, 60))
    await _change(desk, dice, "revert", change=change["id"])


ACTS: Final = (
    WorldAct("cpe set again", _set_again, "cpe"),
    WorldAct("cpe swap", _swap, "cpe"),
    WorldAct("cpe row", _row, "cpe", times=2),
)
