"""People who go on with a suspension late: its subscriber has paid since, and the agent has restored the service."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final, cast

import trio

from tests.e2e.site import Json
from tests.sim.part import WorldAct
from tests.sim.people import RETRIED, Desk, find_late, go_on

if TYPE_CHECKING:
    from tests.sim.parts.billing import BillingPart

OVER_S: Final = 150.0
FAULTS: Final = ("ack-without-effect", "nak:504", "silence")
"""Of a NAS that does not end sessions: a suspension is then set and not enforced."""
PAID_S: Final = 420.0
"""How long a payer may wait to be restored: payments are read every 300 s."""


async def _paid_retry(desk: Desk, dice: random.Random, within_s: float) -> None:
    """Let a suspension not be enforced, let its subscriber pay, and retry it at any time after that."""
    await trio.sleep(dice.uniform(0, 0.1) * within_s)  # while most are not suspended yet
    world = desk.world
    part = cast("BillingPart", next(part for part in world.parts if part.name == "billing"))
    nas = world.isp.nas_of
    for service in dice.sample(sorted(world.logins), len(world.logins)):
        login = world.logins[service]
        nas(login).set_fault(dice.choice(FAULTS), login)
        found = await _suspended(desk, service)
        if found is not None or dice.random() < 0.5:
            nas(login).faults.clear(login)
        if found is not None:
            break
    else:
        found = await find_late(desk, dice, RETRIED)
    for item in found["items"] if found is not None else ():
        if dice.random() < 0.8 and item["service"]:
            part.pay(item["service"])
    await trio.sleep(dice.uniform(0, PAID_S))
    for login in world.logins.values():
        nas(login).faults.clear(login)
    over = None if found is None else await desk.over(found, OVER_S)
    if over is not None:
        await go_on(desk, over, dice)


async def _suspended(desk: Desk, service: str) -> Json | None:
    """Return the suspension of a service that was not enforced; None: there is none of it."""
    change: Json | None = await desk.calmly(lambda: desk.world.office.ask("suspend", service))
    if change is None:
        return None
    await desk.approve(change, "suspend")
    found = await desk.over(change, OVER_S)
    return found if found is not None and any(item["state"] in RETRIED for item in found["items"]) else None


ACTS: Final = (WorldAct("billing paid retry", _paid_retry, "billing"),)
