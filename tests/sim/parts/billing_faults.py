"""Faults of a billing system behind a web API: bad days of its server, and of the way to it."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

import trio

from lab.billing.server import WebFault
from tests.sim.part import Act, WorldFault
from tests.sim.weather import Rule, Weather
from tests.sim.world import World

if TYPE_CHECKING:
    from tests.sim.parts.billing import BillingPart


def _part(world: World) -> BillingPart:
    from tests.sim.parts.billing import BillingPart

    return world.part(BillingPart)


def _play(kind: str, **given: float) -> Act:
    """Return a fault of the server, for some minutes."""

    async def act(world: World, dice: random.Random) -> None:
        server = _part(world).server
        fault = WebFault(kind, where=dice.choice(("", "", "invoices", "payments", "clients")), **given)  # type: ignore[arg-type]  # value
        server.faults.append(fault)
        await trio.sleep(dice.uniform(60, 300))
        server.faults.remove(fault)

    return act


async def _away(world: World, dice: random.Random) -> None:
    rule = world.network.air.add(Rule(Weather(cut=True), port=_part(world).server.port, kind="tcp"))
    await trio.sleep(dice.uniform(60, 300))
    world.network.air.rules.remove(rule)


FAULTS: Final[tuple[WorldFault, ...]] = (
    WorldFault("billing-away", _away, part="billing"),
    WorldFault("billing-refuses", _play("status", value=500), part="billing"),
    WorldFault("billing-unauthorized", _play("status", value=401), part="billing"),
    WorldFault("billing-busy", _play("status", value=429), part="billing"),
    WorldFault("billing-cut", _play("cut"), part="billing"),
    WorldFault("billing-slow", _play("slow", value=20), part="billing"),
    WorldFault("billing-empty", _play("empty"), part="billing"),
    WorldFault("billing-page-lost", _play("page-lost", value=0), part="billing"),
    WorldFault("billing-login-page", _play("type"), part="billing"),
    WorldFault("billing-clock-wrong", _play("clock", value=86400), part="billing"),
)
