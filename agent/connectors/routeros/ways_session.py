"""Reads the menus of the ways out, all of them at once: a preview waits for the slowest one, not for their sum."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING

import trio

from agent.connectors.routeros.addresses import rows_value
from agent.connectors.routeros.errors import NO_MENU, RouterError, TrapError
from agent.connectors.routeros.ways_out import MENUS, UNREAD, Way, WayMenu
from agent.connectors.routeros.words import presentable

if TYPE_CHECKING:
    from agent.connectors.routeros.api_session import RouterAnswer
    from agent.model import Value

Ask = Callable[..., Awaitable["RouterAnswer"]]
"""Sends the words of a command, and returns its answer."""
_Rows = Sequence[Mapping[str, str]]


async def read_ways(ask: Ask, keys: Collection[str]) -> dict[str, Value]:
    """Return the value of each way's address, by its last word: one command a menu.

    Raises:
        RouterError: the router cannot be asked.
    """
    wanted = {way.value: MENUS[way] for way in Way if way.value in keys}
    printed: dict[WayMenu, _Rows] = {}
    failed: list[RouterError] = []

    async def read(menu: WayMenu) -> None:
        try:
            printed[menu] = await _rows_or_why(ask, menu)
        except RouterError as err:
            failed.append(err)

    async with trio.open_nursery() as nursery:
        for menu in dict.fromkeys(menu for menus in wanted.values() for menu in menus):
            nursery.start_soon(read, menu)
    if failed:
        raise failed[0]
    return {
        key: rows_value((f"{menu.path} {n}", row) for menu in menus for n, row in enumerate(printed[menu]))
        for key, menus in wanted.items()
    }


async def _rows_or_why(ask: Ask, menu: WayMenu) -> _Rows:
    """Return a menu's rows; none where the router has no such menu, or why it does not show it."""
    try:
        answer = await ask(f"{menu.path}/print", f"=.proplist={','.join(menu.props)}", *menu.query)
    except TrapError as err:
        return () if NO_MENU in err.message else ({UNREAD: presentable(err.message)},)
    return tuple({name: row[name] for name in menu.props if name in row} for row in answer.rows)
