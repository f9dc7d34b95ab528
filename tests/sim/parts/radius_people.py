"""People at lines by RADIUS: they ask for contradicting things at the same time, and staff set rows back and again."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final, cast

import trio

from lab.database import Cursor, Database
from lab.errors import LabDatabaseError, LabError
from tests.e2e.site import ApiRefusedError, Json
from tests.sim.part import WorldAct
from tests.sim.parts.radius_rules import EDIT
from tests.sim.people import Desk

if TYPE_CHECKING:
    from tests.sim.parts.radius import RadiusPart
    from tests.sim.parts.radius_rules import Rows

GAPS_S = (0.02, 1.0, 1.0)
"""How much later, at most, the second of two is approved that contradict each other: a batch begins one item a second
at each NAS in some worlds, and what it only records comes last."""


OVER_S: Final = 150.0
"""How long people wait for the end of their change before staff touch its rows."""
COLUMNS: Final = {
    "radcheck": ("username", "attribute", "op", "value"),
    "radreply": ("username", "attribute", "op", "value"),
    "radusergroup": ("username", "groupname", "priority"),
}


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


def _part(desk: Desk) -> RadiusPart:
    return cast("RadiusPart", next(part for part in desk.world.parts if part.name == "radius"))


# --- rows back and again ----------------------------------------------------------------------------------------------


async def _set_again(desk: Desk, dice: random.Random, within_s: float) -> None:
    """Let a change be done, let staff set its rows back and again, and then let somebody ask for its revert."""
    await trio.sleep(dice.uniform(0, within_s))
    world = desk.world
    part = _part(desk)
    service = dice.choice(sorted(world.logins))
    action, before = dice.choice(("suspend", "suspend", "restore")), part.rows_of(service)
    change = await _asked(desk, action, service)
    if change is None:
        return
    await desk.approve(change, action)
    if await desk.over(change, OVER_S) is None:
        return
    after = part.rows_of(service)
    for rows in dice.choice(((before, after), (before, after), (before, after, before), (before,))):
        await trio.sleep(dice.uniform(0.5, 40))
        with suppress(LabDatabaseError):
            await _write(world.isp.database, part.logins.now(service), part.rows_of(service), rows)
            world.trace(f"staff: {service}: rows {'back' if rows == before else 'again'}")
        if dice.random() < 0.3:
            with suppress(LabError):
                await world.staff.power_cycle(part.logins.now(service))
    await trio.sleep(dice.uniform(0.5, 40))
    back = await desk.calmly(lambda: world.office.ask("revert", change=change["id"]))
    if back is not None:
        await desk.see_through(back, "revert", _planned(back), dice)


def _planned(change: Json) -> frozenset[str]:
    return frozenset(item["service"] for item in change["items"] if item["state"] == "planned")


async def _write(database: Database, login: str, now: Rows, wanted: Rows) -> None:
    """Write the rows of a login as they were at another time, in one transaction."""

    def write(cursor: Cursor) -> None:
        for table, *row in (one for one in now if one not in wanted):
            columns, values = COLUMNS[str(table)], (login, *row)
            where = " AND ".join(f"{column} = ?" for column in columns)
            cursor.execute(f"DELETE FROM {table} WHERE {where}", values[: len(columns)])  # only names
        for table, *row in (one for one in wanted if one not in now):
            columns, values = COLUMNS[str(table)], (login, *row)
            names, marks = ", ".join(columns), ", ".join("?" * len(columns))
            insert = f"INSERT INTO {table} ({names}) VALUES ({marks})"  # only names
            cursor.execute(insert, values[: len(columns)])

    await database.write(write)


# --- a login that another customer takes over -------------------------------------------------------------------------


async def _take_over(desk: Desk, dice: random.Random, within_s: float) -> None:
    """Import a list in which two customers have each other's login, approve it, and revert a change of before it."""
    await trio.sleep(dice.uniform(0, within_s))
    world, part = desk.world, _part(desk)
    one, other = dice.sample(sorted(world.logins), 2)
    change = await _asked(desk, dice.choice(("suspend", "restore")), one) if dice.random() < 0.5 else None
    if change is not None:
        await desk.see_through(change, change["action"], frozenset({one}), dice, "debt")
    if dice.random() < 0.7:  # the login of a suspended customer is not given away: most are restored first
        for reason in ("debt", "abuse"):
            lifted = await _asked(desk, "restore", one, other, reason=reason)
            if lifted is not None:
                await desk.approve(lifted, "restore", reason)
                await desk.over(lifted, OVER_S)
    logins = {one: part.logins.now(other), other: part.logins.now(one)}
    edit = await _imported(desk, logins)
    edits = {item["service"]: logins[item["service"]] for item in _items(edit) if item["state"] == "planned"}
    if edit is None or edits.keys() != logins.keys():
        world.trace(f"people: {one} and {other} cannot have each other's login")
        return  # of one alone the preview says that neither could be changed then
    part.logins.edits[edit["plan_id"]] = edits
    await trio.sleep(dice.choice((0.0, dice.uniform(0, 60))))
    await desk.see_through(edit, EDIT, frozenset(edits), dice)
    await trio.sleep(dice.uniform(0, 60))
    if change is not None:
        back = await desk.calmly(lambda: world.office.ask("revert", change=change["id"]))
        if back is not None:
            await desk.see_through(back, "revert", _planned(back), dice)


async def _imported(desk: Desk, logins: Mapping[str, str]) -> Json | None:
    """Import a list in which services have other logins; return the change that it asks for.

    It names no other service: of those, billing has the tariff that was sold first, whatever was set since.
    """
    office, billing = desk.world.office, desk.world.files.billing
    rows = {service: {**billing.rows[service], "login": login} for service, login in logins.items()}
    imported = await desk.calmly(lambda: office.import_csv(replace(billing, rows=rows)))
    if not imported or "change" not in imported:
        return None
    edit: Json | None = await desk.calmly(lambda: office.show(imported["change"]))
    return edit


def _items(change: Json | None) -> Sequence[Json]:
    return [] if change is None else change["items"]


ACTS: Final = (
    WorldAct("radius set again", _set_again, "radius", times=2),
    WorldAct("radius take over", _take_over, "radius"),
)
