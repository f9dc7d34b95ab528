"""Reads of a router's connection tables: by address, and row by row once they are known.

A busy router has hundreds of thousands of connections, and walks through all of them for each question. So it is asked
for a few addresses at a time, and rows that were found are asked for by their `.id`: whether such a row is still the
same connection is told by its protocol and ends, never by the `.id`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from agent.connectors.routeros.connection_query import (
    PLACES_MAX,
    can_be_asked,
    counted_words,
    ids_words,
    words_of,
)
from agent.connectors.routeros.errors import TrapError
from agent.connectors.routeros.live_sessions import Running, by_owner

if TYPE_CHECKING:
    from agent.connectors.routeros.api_session import RouterAnswer, RouterApi

IDS_MAX: Final = 20_000
"""Connections to remember the `.id` of; chosen arbitrarily, above the most that an item may end of many subscribers."""
IDS_ASKED: Final = 64
"""`.id`s in one question; chosen arbitrarily."""
_TABLE_6: Final = "/ipv6/firewall/connection"
_Row = Mapping[str, str]


class Connections:
    """The connections of one router. `whole`: why its tables were read whole the last time, "" if they were not."""

    def __init__(self, timeout_s: float) -> None:
        """Take how long a command may take."""
        self.whole = ""
        self._timeout_s = timeout_s
        self._ids: dict[tuple[str, str], str] = {}
        self._compares_6 = False

    async def of(self, api: RouterApi, running: Running, places: Sequence[str]) -> dict[str, dict[str, dict[str, str]]]:
        """Return the open connections of each address or network: its text -> a connection's key -> its fields."""
        return by_owner(running, await self._found(api, running, places), places, 0)

    async def rows(self, api: RouterApi, running: Running, keys: Collection[str]) -> list[_Row]:
        """Return the rows of connections that are known by their keys, with their `.id`; of one that is gone none."""
        ids = [self._ids.get((running.path, key), "") for key in keys]
        found: list[_Row] = []
        if all(ids):
            for start in range(0, len(ids), IDS_ASKED):
                found += await self._print(api, running, ids_words(ids[start : start + IDS_ASKED]))
        else:  # found by an earlier life of the agent: asked for by the end that they share
            source, destination = ({key.split(" ")[n].rpartition(":")[0] for key in keys} for n in (1, 2))
            fewer = source if len(source) <= len(destination) else destination
            found += await self._found(api, running, sorted(fewer))
        return [row for row in found if running.key_of(row, 0) in keys]

    async def _found(self, api: RouterApi, running: Running, places: Sequence[str]) -> list[_Row]:
        """Return the rows that places have, and others; all of the table where the router cannot be asked for them."""
        rows = list((await self._asked(api, running, places) if places else {}).values())
        if len(self._ids) + len(rows) > IDS_MAX:
            self._ids.clear()
        wanted, own = running.owners(places), await self._own(api, places) if rows else frozenset()
        mine = [row for row in rows if wanted(row) and row.get("dst-address", "").partition(":")[0] not in own]
        self._ids.update({(running.path, running.key_of(row, 0)): row[".id"] for row in mine if ".id" in row})
        return mine

    async def _asked(self, api: RouterApi, running: Running, places: Sequence[str]) -> dict[str, _Row]:
        self.whole = ""
        if running.path == _TABLE_6:
            return await self._asked_6(api, running, places)
        if not all(map(can_be_asked, places)):
            return await self._whole(api, running, "so large a network cannot be asked for by address")
        known = await self._api_clients(api)
        found: dict[str, _Row] = {}
        most = PLACES_MAX[4]
        for start in range(0, len(places), most):
            rows = await self._print(api, running, words_of(places[start : start + most], known)) if known else ()
            ends = running.owners(known)
            if not any(ends(row) for row in rows):
                return await self._whole(api, running, "asked by address, it does not show its own API's connection")
            found |= {row.get(".id", f"{n}"): row for n, row in enumerate(rows, start=len(found))}
        return found

    async def _asked_6(self, api: RouterApi, running: Running, places: Sequence[str]) -> dict[str, _Row]:
        """Return the rows of IPv6 places. Whether the router can be asked so is looked at once."""
        if not all(can_be_asked(place, 6) for place in places):
            return await self._whole(api, running, "so large a network cannot be asked for by address")
        if not self._compares_6:
            inside = await self._count(api, running, counted_words())
            others = [await self._count(api, running, counted_words(**{how: True})) for how in ("outside", "never")]
            if not inside and not await self._count(api, running, ()):
                return {}
            if not inside or any(others):
                return await self._whole(api, running, "its IPv6 connections cannot be asked for by address")
            self._compares_6 = True
        found: dict[str, _Row] = {}
        for start in range(0, len(places), PLACES_MAX[6]):
            rows = await self._print(api, running, words_of(places[start : start + PLACES_MAX[6]], ()))
            found |= {row.get(".id", f"{n}"): row for n, row in enumerate(rows, start=len(found))}
        return found

    async def _count(self, api: RouterApi, running: Running, query: Sequence[str]) -> int:
        """Return how many connections a query chooses; where the router does not count, at least one."""
        answer = await self._call(api, f"{running.path}/print", "=count-only=", *query)
        told = answer.done.get("ret", "")
        return int(told) if told.isdecimal() else 1

    async def _own(self, api: RouterApi, places: Sequence[str]) -> frozenset[str]:
        """Return the router's own addresses towards these: connections to them are not forwarded, and no rule's."""
        alone = [place for place in places if can_be_asked(place) and "/" not in place][: PLACES_MAX[4]]
        query = ["?dynamic=true", "?#!", *(word for place in alone for word in (f"?network={place}", "?#|"))]
        answer = await self._call(api, "/ip/address/print", "=.proplist=address", *query)
        return frozenset(row.get("address", "").partition("/")[0] for row in answer.rows)

    async def _whole(self, api: RouterApi, running: Running, why: str) -> dict[str, _Row]:
        self.whole = why
        return {row.get(".id", f"{n}"): row for n, row in enumerate(await self._print(api, running, ()))}

    async def _api_clients(self, api: RouterApi) -> list[str]:
        """Return an address from which an API session is open, if the router tells of one: mostly ours."""
        try:
            answer = await self._call(api, "/user/active/print", "=.proplist=address,via")
        except TrapError:
            return []
        clients = {row.get("address", "") for row in answer.rows if row.get("via", "").startswith("api")}
        return sorted(filter(can_be_asked, clients))[:1]

    async def _print(self, api: RouterApi, running: Running, query: Sequence[str]) -> Sequence[_Row]:
        proplist = f"=.proplist={','.join(('.id', *running.props))}"
        return (await self._call(api, f"{running.path}/print", proplist, *query)).rows

    async def _call(self, api: RouterApi, *words: str) -> RouterAnswer:
        return await api.call(*words, timeout_s=self._timeout_s)
