"""What an item rests on is read again before its first byte, once a second for all items of a run."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import cast

import pytest
from trio.testing import MockClock

from agent.changes.engine.reads import FRESH_S, RecentReads
from agent.changes.engine.sessions import ItemSessions
from agent.connectors.base import UnreadableError
from agent.inventory.book import AS_READ
from agent.model import Address, Item, Listed, Requirement, Seen, Value
from agent.services.network import as_read
from tests.builders.clock import FakeClock

GROUP, USER = Address("radius/main/group/home20"), Address("radius/main/user/alice")
BEFORE: Value = {"reply:Framed-Pool": (":= cgnat",)}
AFTER: Value = {"check:Auth-Type": (":= Reject",)}


class Database:
    """One target, which counts the addresses that it is asked for; as the sessions of a run, and as its session."""

    def __init__(self) -> None:
        self.values: dict[Address, Value] = {GROUP: BEFORE, USER: BEFORE}
        self.asked: list[list[Address]] = []
        self.away = False

    async def at(self, target: str) -> Database:
        assert target == "radius/main"
        if self.away:
            raise UnreadableError("radius/main is away", reason="unreachable")
        return self

    async def read(self, addresses: Collection[Address]) -> Mapping[Address, Seen]:
        self.asked.append(list(addresses))
        return {where: Seen(self.values[where], 0) for where in addresses}


def item(*rests_on: Address) -> Item:
    requires = (Requirement(Address("inventory/C-1"), "as-previewed", "shown"),)
    return Item(
        n=1, salt="", subject="C-1", listed=Listed.CHANGE, reason="", display={},
        requires=(*requires, *(as_read(where, BEFORE) for where in rests_on)),
    )  # fmt: skip


async def test_a_resource_that_changed_since_the_preview_is_named() -> None:
    database, clock, recent = Database(), FakeClock(), RecentReads()
    sessions = cast("ItemSessions", database)
    assert [r.test for r in item(GROUP).requires][-1] == AS_READ
    assert await recent.broken(item(GROUP, USER), sessions, clock) == ""
    database.values[GROUP] = AFTER
    assert (
        await RecentReads().broken(item(GROUP, USER), sessions, clock) == f"{GROUP} no longer reads as in the preview"
    )
    assert await RecentReads().broken(item(), sessions, clock) == ""


async def test_items_of_a_run_share_a_reading_for_a_second(autojump_clock: MockClock) -> None:
    database, clock, recent = Database(), FakeClock(), RecentReads()
    sessions = cast("ItemSessions", database)
    for _ in range(3):
        assert await recent.broken(item(GROUP), sessions, clock) == ""
    assert database.asked == [[GROUP]]
    assert await recent.broken(item(GROUP, USER), sessions, clock) == ""
    assert database.asked == [[GROUP], [USER]]
    database.values[GROUP] = AFTER
    await clock.sleep(FRESH_S)
    assert await recent.broken(item(GROUP), sessions, clock)
    assert database.asked[2:] == [[GROUP]]


async def test_a_target_that_is_away_is_no_answer() -> None:
    database = Database()
    database.away = True
    with pytest.raises(UnreadableError, match="away"):
        await RecentReads().broken(item(GROUP), cast("ItemSessions", database), FakeClock())
