"""People who ask for contradicting things on the same line at the same time."""

from __future__ import annotations

import random

import trio

from tests.e2e.site import ApiRefusedError, Json
from tests.sim.people import Desk

GAPS_S = (0.02, 1.0, 1.0)
"""How much later, at most, the second of two is approved that contradict each other: a batch begins one item a second
at each NAS in some worlds, and what it only records comes last."""


async def dispute(desk: Desk, dice: random.Random, within_s: float) -> None:
    """Let a batch come to suspend a line that a restore lifts at the same moment.

    The line is suspended for abuse. A batch would suspend it for debt too, which only records that; meanwhile it is
    recorded by another change. Then a restore lifts the debt while the batch begins.
    """
    await trio.sleep(dice.uniform(0, within_s))
    line, *others = dice.sample(desk.world.services, len(desk.world.services))
    if (first := await _asked(desk, "suspend", line, reason="abuse")) is None:
        return
    await desk.approve(first, "suspend", "abuse")
    await trio.sleep(dice.uniform(10, 40))
    batch = await _asked(desk, "suspend", *others, line)
    again = await _asked(desk, "suspend", line)
    if batch is None or again is None:
        return
    await desk.approve(again, "suspend")
    await trio.sleep(dice.uniform(2, 20))
    if (lifts := await _asked(desk, "restore", line)) is None:
        return
    gap_s = dice.uniform(0, dice.choice(GAPS_S))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(desk.approve, batch, "suspend")
        await trio.sleep(gap_s)
        nursery.start_soon(desk.approve, lifts, "restore")


async def _asked(desk: Desk, action: str, *services: str, reason: str = "debt") -> Json | None:
    try:
        change: Json | None = await desk.patiently(lambda: desk.world.office.ask(action, *services, reason=reason))
    except ApiRefusedError as err:
        desk.refused.append(err.code)
        desk.world.trace(f"people: {action} {' '.join(services)} is refused: {err}")
        return None
    return change
