"""Staff at routers: they set values back and again, and disable logins that RADIUS has too."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

import trio

from lab.router.errors import Trap
from lab.router.ppp import Accepted, Cpe, Session
from tests.sim.part import WorldAct
from tests.sim.parts.router_access import AAA, LISTS, SECRETS, TARIFFS, Access, PppSubscribers
from tests.sim.parts.router_faults import routers_of
from tests.sim.people import RETRIED, Desk

if TYPE_CHECKING:
    from tests.sim.parts.routers import Line

OVER_S: Final = 150.0
"""How long people wait for the end of their change before staff touch its rows."""
Rows = Mapping[tuple[str, str], Mapping[str, str]]
"""Rows by menu and by what names one there: a row that was made again has another id."""
_OF_ROUTER: Final = frozenset({"active-address"})


# --- a value back and again -------------------------------------------------------------------------------------------


def _rows(line: Line) -> Rows:
    """Return the rows by which a subscriber is set: its own, and its entries in address lists."""
    store, found = line.access.router.store, dict[tuple[str, str], Mapping[str, str]]()
    for menu in (line.access.own, *LISTS):
        for row in store.table(menu) if store.find_model(menu) else ():
            if not row.dynamic and line.access.owner(menu, row.props) == line.who:
                name = row.props.get("address", "") if menu in LISTS else ""
                found[menu, name] = {n: v for n, v in row.props.items() if n not in _OF_ROUTER}
    return found


def _set_as(line: Line, wanted: Rows) -> str:
    """Give a subscriber's rows the values that they had at another time; return what changed."""
    router, now, told = line.access.router, _rows(line), []
    try:
        for (menu, name), props in now.items():
            where = _id_of(line, menu, name)
            if (menu, name) not in wanted:
                router.remove(menu, where)
                told.append(f"removes {name or 'its row'}")
                continue
            then, shown = wanted[menu, name], router.store.model(menu).shown
            others = {n: then.get(n, shown.get(n, "")) for n in {**props, **then} if props.get(n) != then.get(n)}
            if others:
                router.set(menu, where, **_named(others))
                told.append(f"sets {others}")
        for (menu, name), props in wanted.items():
            if (menu, name) not in now:
                router.add(menu, **_named(props))
                told.append(f"adds {name or 'its row'}")
    except Trap as err:
        told.append(f"refused: {err}")
    return ", ".join(told) or "nothing to set"


def _named(props: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("-", "_"): value for name, value in props.items()}


def _id_of(line: Line, menu: str, name: str) -> str:
    rows = line.access.router.store.table(menu)
    mine = (row for row in rows if not row.dynamic and line.access.owner(menu, row.props) == line.who)
    return next(row.id for row in mine if not name or row.props.get("address") == name)


async def _set_again(desk: Desk, dice: random.Random, within_s: float) -> None:
    """Let a change be done, let staff set its values back and again, and then let somebody ask for its revert."""
    await trio.sleep(dice.uniform(0, within_s))
    part, world = routers_of(desk.world), desk.world
    line = part.lines[dice.choice(sorted(part.lines))]
    action = dice.choice(("suspend", "set-plan", "set-plan", "restore"))
    tariff = dice.choice(TARIFFS) if action == "set-plan" else ""
    before = _rows(line)
    change = await part.change(desk, action, (line.service,), tariff)
    if change is None or await desk.over(change, OVER_S) is None:
        return
    after = _rows(line)
    for rows in dice.choice(((before, after), (before, after), (before, after, before), (before,))):
        await trio.sleep(dice.uniform(0.5, 40))
        world.trace(f"staff: {line.service}, by hand: {_set_as(line, rows)}")
        if dice.random() < 0.3:
            line.access.restart(line.who)
    await trio.sleep(dice.uniform(0.5, 40))
    await part.change(desk, "revert", (), "", change["id"])


# --- a login that is disabled beside RADIUS ---------------------------------------------------------------------------


class BesideRadius:
    """RADIUS, as a PPP router asks it: it lets everybody in whom it knows, in no garden."""

    def __init__(self, access: PppSubscribers) -> None:
        """Answer for the logins that it has too."""
        self._access = access

    def ask(self, cpe: Cpe, number: int) -> None:
        """Answer at once."""
        if cpe.login in self._access.radius:
            self._access.router.access.admit(cpe, number, Accepted(group="home20"))
        else:
            self._access.router.access.refuse(cpe, number, "no such user")

    def ended(self, cpe: Cpe, session: Session, reason: str) -> None:
        """Take note of nothing: nobody accounts here."""


async def _beside_radius(desk: Desk, dice: random.Random, within_s: float) -> None:
    """Let staff disable a subscriber's row, ask for a change of it, and let staff enable it again.

    Where it is a PPP secret, the router asks RADIUS about its login, which may have it as well.
    """
    await trio.sleep(dice.uniform(0, within_s))
    part, world = routers_of(desk.world), desk.world
    names = sorted(part.routers, key=lambda name: (part.access[name].own != SECRETS, name))
    access = part.access[names[0] if dice.random() < 0.6 else dice.choice(names)]
    router, who = part.routers[access.name], dice.choice(sorted(access.logins))
    service = f"C-{access.name}-{who}/home"
    if dice.random() < 0.5:
        await part.change(desk, "suspend", (service,), "")
    asks_radius = isinstance(access, PppSubscribers) and dice.random() < 0.8
    if isinstance(access, PppSubscribers) and asks_radius:
        access.radius = frozenset({access.logins[who], dice.choice(sorted(access.logins.values()))})
        router.access.aaa = BesideRadius(access)
        if not router.rows("/radius"):
            router.add("/radius", service="ppp", address="198.51.100.1", secret="of-the-isp")
        router.set(AAA, use_radius="yes")
    _disable(world.trace, access, who, "yes")
    if dice.random() < 0.7:
        access.restart(who)
    await trio.sleep(dice.uniform(0.5, 60))
    action = dice.choice(("suspend", "suspend", "restore", "set-plan"))
    tariff = dice.choice(TARIFFS) if action == "set-plan" else ""
    change = await part.change(desk, action, (service,), tariff)
    await trio.sleep(dice.uniform(0.5, 60))
    if change is not None and dice.random() < 0.4:
        await part.change(desk, "revert", (), "", change["id"])
    _disable(world.trace, access, who, "no")
    if asks_radius:
        router.set(AAA, use_radius="no")
    over = None if change is None else await desk.over(change, OVER_S)
    if over is not None and any(item["state"] in RETRIED for item in over["items"]):
        await part.change(desk, over["action"], (service,), tariff)


def _disable(trace: Callable[[str], None], access: Access, who: str, word: str) -> None:
    row = access.row(who)
    if row is None:
        return
    try:
        access.router.set(access.own, row.id, disabled=word)
    except Trap as err:
        trace(f"staff: {who} on {access.name}: refused: {err}")
    else:
        trace(f"staff: {who} on {access.name}: disabled={word}")


ACTS: Final = (
    WorldAct("routers set again", _set_again, "routers", times=2),
    WorldAct("routers beside radius", _beside_radius, "routers"),
)
